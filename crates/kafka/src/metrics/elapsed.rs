//! How long callers waited, in all: Java's `*-time-ns-total`.
#![expect(clippy::disallowed_methods, reason = "driver: reads the clock")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time of all calls of a kind. Calls may run at the same time, and one whose future is dropped counts until then.
#[derive(Debug, Default)]
pub(crate) struct Elapsed(AtomicU64);

/// A call that goes on; it ends with its drop.
#[derive(Debug)]
pub(crate) struct Going<'a> {
    of: &'a Elapsed,
    since: Instant,
}

impl Elapsed {
    /// A call begins.
    #[must_use]
    pub(crate) fn begin(&self) -> Going<'_> {
        Going { of: self, since: Instant::now() }
    }

    /// Adds what was measured elsewhere.
    pub(crate) fn add(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Nanoseconds of all calls that have ended.
    pub(crate) fn nanos(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64
    }
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        self.of.add(self.since.elapsed());
    }
}
