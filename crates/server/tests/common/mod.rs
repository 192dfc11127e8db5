//! Starts the binary that these tests were built with.
#![allow(dead_code, reason = "each test file uses its share")]

use kurier_harness::Guarded;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long anything here may take on a busy machine; nothing waits that long for its own sake.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A folder that is gone at the end.
pub(crate) struct Dir(tempfile::TempDir);

impl Dir {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file and tells its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> String {
        self.path().join(name).display().to_string()
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The exit code.
    pub(crate) code: i32,
    /// What it answered.
    pub(crate) stdout: String,
    /// What it said on the way.
    pub(crate) stderr: String,
}

/// Runs a command to its end.
pub(crate) fn run(args: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_kurier"))
        .args(args)
        .env_remove("KURIER_URL")
        .env_remove("KURIER_BOOTSTRAP_SERVERS")
        .env_remove("KURIER_LOG")
        .output()
        .unwrap();
    Answer {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A command that runs until it is told to stop.
pub(crate) struct Running(Guarded);

/// Starts one.
pub(crate) fn kurier(dir: &Dir, name: &str, args: &[&str]) -> Running {
    let command = [&[env!("CARGO_BIN_EXE_kurier")], args].concat();
    Running(Guarded::start(dir.path(), name, &command, &[]).unwrap())
}

impl Running {
    /// One that was started in another way.
    pub(crate) fn of(process: Guarded) -> Self {
        Self(process)
    }

    /// Waits until the output holds a text, and returns the line.
    pub(crate) fn wait_for_output(&mut self, needle: &str, timeout: Duration) -> anyhow::Result<String> {
        let mut line = None;
        kurier_harness::wait_for(needle, timeout, || {
            line = self.0.output().lines().find(|line| line.contains(needle)).map(str::to_owned);
            if line.is_none()
                && let Some(status) = self.0.ended()?
            {
                anyhow::bail!("kurier ended with {status}: {}", self.0.output());
            }
            Ok(line.is_some())
        })?;
        Ok(line.unwrap())
    }

    /// The process.
    pub(crate) fn process(&mut self) -> &mut Guarded {
        &mut self.0
    }
}
