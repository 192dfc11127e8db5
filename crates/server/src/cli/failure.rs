//! How a command fails: one sentence on stderr and an exit code.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// Something failed.
const FAILED: u8 = 1;
/// The command line is wrong; clap's own code.
const USAGE: u8 = 2;
/// A connector or task has failed.
const CONNECTOR_FAILED: u8 = 3;

/// Why a command ends without having done what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// It failed.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: FAILED }
    }

    /// The command line cannot be right.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: USAGE }
    }

    /// Connectors or tasks have failed.
    pub(crate) fn connector(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: CONNECTOR_FAILED }
    }

    /// Says why, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        use std::io::Write;
        // With stderr gone there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "kurier: {}", self.message);
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Many errors already show their cause.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        Self::new(message)
    }
}
