//! Kurier as a program: worker modes, the embedded broker, REST and the command line, around whatever plugins it is given.
//!
//! [`main`] reads the command line and ends in exit codes; everything else is reached from there. What is asked for goes to stdout, everything said
//! on the way to stderr. The `kurier` binary is this with [`catalogue`]; a program with further natives is this with a larger one.

mod catalogue;
mod cli;
mod dev;
mod logging;
mod process;
mod rest;
mod screen;
mod standalone;

pub use catalogue::catalogue;
pub use cli::main;
