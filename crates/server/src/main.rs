//! The `kurier` binary: the program with the plugins that it ships.

use std::process::ExitCode;

/// Values are made and dropped by the million a second; the C library's allocator takes a third of a source's time for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    kurier::main(kurier::catalogue())
}
