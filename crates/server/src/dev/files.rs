//! The connector files of a command line: files as they are, folders by what is in them.

use crate::cli::Failure;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// All of them in the order in which they are named; those of a folder by name.
pub(super) fn connectors(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let cannot_read = |error| Failure::new(format!("cannot read {}: {error}", path.display()));
        if !std::fs::metadata(path).map_err(cannot_read)?.is_dir() {
            files.push(path.clone());
            continue;
        }
        let inside = folder(path).map_err(cannot_read)?;
        if inside.is_empty() {
            return Err(Failure::new(format!("{} holds no .properties and no .json file", path.display())));
        }
        files.extend(inside);
    }
    Ok(files)
}

fn folder(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let is_config = matches!(file.extension().and_then(OsStr::to_str), Some("properties" | "json"));
        if is_config && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
