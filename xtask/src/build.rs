//! Builds that commands need: by the cargo that runs this one, into the folder that it uses.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use kurier_harness::workspace_root;

/// Cargo with `args`, in the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(workspace_root());
    command
}

/// Builds the program with what the benches need.
pub(crate) fn build_release() -> Result<()> {
    let mut build = cargo(&["build", "--release", "--locked", "--quiet", "--package", "kurier", "--bin", "kurier"]);
    ensure!(build.args(["--features", "bench"]).status()?.success(), "the release build failed");
    Ok(())
}

/// Where builds go.
pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace_root().join("target"), PathBuf::from)
}

/// Where the release build puts its programs.
pub(crate) fn release_folder() -> PathBuf {
    target_folder().join("release")
}
