//! kill -9 at random moments, and the count taken at the destination.
//!
//! A run starts the real binary, lets it work, kills it without warning, starts it again and waits until everything has arrived; then it counts.
//! [`worker`] kills `kurier standalone` between a growing file and the file its sink writes. `cargo xtask kill` runs hundreds; the test here runs a
//! few. A run prints the phase that the kill hit, so that a reader sees that the interesting moments were met. The broker is killed in its own
//! crate's tests.
#![allow(clippy::disallowed_methods, reason = "driver: kills processes at moments of the clock")]

mod rng;
pub mod worker;

pub use rng::Rng;

use std::collections::BTreeMap;
use std::fmt;

/// What many runs came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often each phase was hit.
    pub phases: BTreeMap<&'static str, u32>,
    /// What was lost or doubled, a line a run.
    pub violations: Vec<String>,
    /// Records delivered more than once where that is allowed.
    pub repeated: u64,
    /// Records counted at the destinations.
    pub records: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (phase, hits) in &self.phases {
            writeln!(f, "  {hits:>5} × killed while {phase}")?;
        }
        for violation in &self.violations {
            writeln!(f, "  VIOLATION {violation}")?;
        }
        let runs: u32 = self.phases.values().sum();
        write!(
            f,
            "{runs} runs, {} records at the destination, {} repeated, {} violations",
            self.records,
            self.repeated,
            self.violations.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_worker_loses_nothing() {
        let mut bed = worker::Bed::start().unwrap();
        let mut tally = Tally::default();
        for seed in 0..3 {
            bed.run(seed, &mut tally).unwrap();
        }
        println!("{tally}");
        assert!(tally.violations.is_empty(), "{tally}");
    }
}
