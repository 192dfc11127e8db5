//! Driver of the process: the tokio runtime and the signals that stop it.
#![expect(clippy::disallowed_methods, reason = "driver: starts the runtime, hears signals")]

use crate::cli::Failure;
use std::future::Future;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs a future on a new multi-threaded runtime and waits for it.
///
/// Threads that plugins hang in are not waited for. A file that grows beyond the process's limit (`ulimit -f`) is an error of that write, as on a full
/// disk, and not the end of the process.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("kurier")
        .build()
        .map_err(|error| Failure::new(format!("cannot start threads: {error}")))?;
    let file_too_large = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    let outcome = runtime.block_on(async {
        // That somebody listens is what matters: tokio's handler then stays for good, and the write says the rest.
        let _listening =
            signal(file_too_large).map_err(|error| Failure::new(format!("cannot hear signals: {error}")))?;
        work.await
    });
    runtime.shutdown_background();
    outcome
}

/// Ctrl-C, `SIGTERM` and the end of the terminal: all mean a clean stop. A second one ends the process at once.
#[derive(Debug)]
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

/// What a shell shows for a process that was interrupted.
const INTERRUPTED: i32 = 130;

impl StopSignals {
    /// From now on signals no longer end the process by themselves.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new(format!("cannot hear signals: {error}")));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }

    /// The operator does not want to wait for the stop: a further signal ends the process.
    pub(crate) fn end_at_next(mut self) {
        tokio::spawn(async move {
            self.wait().await;
            std::process::exit(INTERRUPTED);
        });
    }
}
