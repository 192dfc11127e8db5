//! The `kurier` binary: worker modes, the embedded broker, REST and the command line.
//!
//! [`cli`] reads the command line and ends in exit codes; everything else is reached from there. What is asked for goes to stdout, everything said
//! on the way to stderr.

mod catalogue;
mod cli;
mod dev;
mod logging;
mod process;
mod rest;
mod screen;
mod standalone;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
