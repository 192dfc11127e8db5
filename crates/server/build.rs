//! Links the unwinder into the binary, and tells it from which commit it is built.
//!
//! Rust asks for the shared `libgcc_s` on GNU systems whatever `-static-libgcc` says; `link/libgcc_s.so` is a linker script that answers with the static
//! one. The commit is read from the files of git, whose program need not be there; what is built from something else than a checkout is `unknown`.

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=link/libgcc_s.so");
    let folder = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the crate is"));
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu") {
        println!("cargo:rustc-link-search=native={}/link", folder.display());
    }
    let commit = folder.ancestors().nth(2).and_then(commit);
    println!("cargo:rustc-env=KURIER_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// The commit that is checked out in this folder. Built again when it changes, and for no other file of git.
fn commit(root: &Path) -> Option<String> {
    let dot_git = root.join(".git");
    // In a further work tree of a repository, `.git` is a file that says where its folder is.
    let own = match fs::read_to_string(&dot_git) {
        Ok(text) => root.join(text.strip_prefix("gitdir:")?.trim()),
        Err(_) => dot_git,
    };
    // That folder says in turn where what all work trees share is.
    let shared = fs::read_to_string(own.join("commondir")).map_or_else(|_| own.clone(), |text| own.join(text.trim()));
    let head = watched(&own.join("HEAD"))?;
    let Some(branch) = head.trim().strip_prefix("ref:").map(str::trim) else {
        return hash(head.trim());
    };
    if let Some(commit) = watched(&shared.join(branch)) {
        return hash(commit.trim());
    }
    // A branch without a file of its own is packed; its next commit makes that file, in a folder that changes then.
    let packed = watched(&shared.join("packed-refs"))?;
    println!("cargo:rerun-if-changed={}", shared.join(branch).parent()?.display());
    packed.lines().find_map(|line| hash(line.strip_suffix(branch)?.trim()))
}

/// A file's text. It is built again when the file changes; one that is not there would mean at every time.
fn watched(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    println!("cargo:rerun-if-changed={}", path.display());
    Some(text)
}

/// A SHA-1 or SHA-256 in full.
fn hash(text: &str) -> Option<String> {
    let whole = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    whole.then(|| text.to_owned())
}
