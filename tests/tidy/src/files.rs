//! What no source file may hold.

use std::fs;
use std::path::{Path, PathBuf};

/// Past this a file answers more than one question.
const MAX_LINES: usize = 1200;

/// Texts that never belong into the tree, with what to do instead. Split, so that this file does not find itself.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("todo", "!(", "write it, or leave the whole feature out and say so in the docs"),
    ("unimplemented", "!(", "write it, or leave the whole feature out and say so in the docs"),
    ("FIX", "ME", "mend it now, or open an issue"),
    ("#[ig", "nore", "a test that does not run is no test: mend it or delete it"),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn sources_hold_nothing_unfinished_and_no_file_grows_without_end() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut files = Vec::new();
    sources(root, &mut files);
    assert!(files.len() > 50, "the sources are found");
    let mut problems = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let shown = file.strip_prefix(root).unwrap().display();
        let lines = text.lines().count();
        if lines > MAX_LINES {
            problems.push(format!("{shown}: {lines} lines; split it by the questions it answers"));
        }
        for (first, second, remedy) in FORBIDDEN {
            let needle = format!("{first}{second}");
            for (number, line) in text.lines().enumerate().filter(|(_, line)| line.contains(&needle)) {
                problems.push(format!("{shown}:{}: `{}`; {remedy}", number + 1, line.trim()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
