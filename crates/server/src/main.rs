//! The `kurier` binary: the program with the plugins that it ships.

use std::process::ExitCode;

fn main() -> ExitCode {
    kurier::main(kurier::catalogue())
}
