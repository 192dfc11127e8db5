//! The `kurier` binary as a process.

use crate::{Guarded, wait_for};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// The workspace's folder.
///
/// # Panics
/// Never: this crate lies two folders below it.
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/harness lies in the workspace")
}

/// The binary of the profile that the calling test was built with, brought up to date; `$KURIER_BIN` names another one.
///
/// # Panics
/// If it does not build.
pub fn kurier_binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY
        .get_or_init(|| {
            if let Some(path) = std::env::var_os("KURIER_BIN") {
                return path.into();
            }
            let exe = std::env::current_exe().expect("a running program has a path");
            // target/<profile>/deps/test-… or target/<profile>/tool
            let folder =
                exe.ancestors().skip(1).find(|dir| dir.file_name().is_some_and(|n| n != "deps" && n != "examples"));
            let folder = folder.expect("a test lies in a target folder").to_owned();
            let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            build.args(["build", "--quiet", "--package", "kurier", "--bin", "kurier"]).current_dir(workspace_root());
            build.arg("--target-dir").arg(folder.parent().expect("a profile folder lies in the target folder"));
            if folder.file_name().is_some_and(|n| n == "release") {
                build.arg("--release");
            }
            assert!(build.status().expect("cargo runs").success(), "kurier does not build");
            folder.join("kurier")
        })
        .clone()
}

/// A running `kurier`.
#[derive(Debug)]
pub struct Kurier {
    process: Guarded,
}

impl Kurier {
    /// Starts the binary in `dir` with these arguments; output goes to `dir/name.log`.
    ///
    /// # Errors
    /// If it cannot start.
    pub fn start(dir: &Path, name: &str, args: &[&str]) -> Result<Self> {
        let binary = kurier_binary().display().to_string();
        let mut command = vec![binary.as_str()];
        command.extend(args);
        Ok(Self { process: Guarded::start(dir, name, &command, &[])? })
    }

    /// Waits until the output holds a text, and returns the line.
    ///
    /// # Errors
    /// If it does not, or the process ends before.
    pub fn wait_for_output(&mut self, needle: &str, timeout: Duration) -> Result<String> {
        let mut line = None;
        wait_for(needle, timeout, || {
            line = self.process.output().lines().find(|l| l.contains(needle)).map(str::to_owned);
            if line.is_none()
                && let Some(status) = self.process.ended()?
            {
                anyhow::bail!("kurier ended with {status}: {}", self.process.output());
            }
            Ok(line.is_some())
        })
        .with_context(|| self.process.output())?;
        Ok(line.expect("waited for it"))
    }

    /// The process.
    pub fn process(&mut self) -> &mut Guarded {
        &mut self.process
    }
}
