//! kill -9 at random moments, and the count taken at the destination.
//!
//! A run starts the real binary, lets it work, kills it without warning, starts it again and waits until everything has arrived; then it counts.
//! [`worker`] kills `kurier standalone` between a growing file and the file its sink writes; [`broker`] kills `kurier broker` under an idempotent
//! producer and reads back what was acknowledged; [`cluster`] kills leaders among three Java brokers. `cargo xtask kill` runs hundreds; the tests here run a few. A tally says which phases the kills
//! hit, so that a reader sees that the interesting moments were met. A seed repeats a run's plan; the machine's own timing differs.
#![allow(clippy::disallowed_methods, reason = "driver: kills processes at moments of the clock")]

pub mod broker;
pub mod cluster;
mod load;
mod rng;
pub mod worker;

pub use rng::Rng;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Ends a run early, from another thread. A run that was stopped counts for nothing.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Says that it is time to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.is_set(), "interrupted");
        Ok(())
    }

    /// [`Self::check`] for when something went wrong: Ctrl-C goes to the children as well, and their end may be seen before the order to stop.
    fn check_late(&self) -> anyhow::Result<()> {
        std::thread::sleep(Duration::from_millis(100));
        self.check()
    }

    /// Waits for the order to stop, which comes back as the error that it is.
    async fn wait(&self) -> anyhow::Error {
        loop {
            if let Err(stopped) = self.check() {
                return stopped;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What many runs came to.
#[derive(Debug)]
pub struct Tally {
    /// Runs that came to their end.
    pub runs: u64,
    /// How often each phase was hit, never or not. A run may kill more than once.
    pub phases: Vec<(&'static str, u64)>,
    /// Batches that a kill had cut in two, and the next start removed.
    pub cut_writes: u64,
    /// What was lost, doubled or otherwise not as promised.
    pub violations: Vec<String>,
    /// Runs in which the producer gave up records and said so: nothing is lost unheard, yet nothing in a run entitles it to.
    pub refused: Vec<String>,
    /// Records delivered more than once where that is allowed.
    pub repeated: u64,
    /// Records counted at the destinations.
    pub records: u64,
    /// Transactions that could not be committed, were aborted and begun again, with the reason of the first.
    pub failed_transactions: (u64, String),
}

impl Tally {
    /// Nothing yet, for kills that may hit these phases.
    pub fn new(phases: &[&'static str]) -> Self {
        Self {
            runs: 0,
            phases: phases.iter().map(|phase| (*phase, 0)).collect(),
            cut_writes: 0,
            violations: Vec::new(),
            refused: Vec::new(),
            repeated: 0,
            records: 0,
            failed_transactions: (0, String::new()),
        }
    }

    /// How many kills there were.
    pub fn kills(&self) -> u64 {
        self.phases.iter().map(|(_, hits)| hits).sum()
    }

    /// Whether nothing was found.
    pub fn is_sound(&self) -> bool {
        self.violations.is_empty() && self.refused.is_empty()
    }

    fn note_failed(&mut self, transactions: u64, reason: String) {
        if self.failed_transactions.0 == 0 {
            self.failed_transactions.1 = reason;
        }
        self.failed_transactions.0 += transactions;
    }

    fn count(&mut self, phases: impl IntoIterator<Item = &'static str>) {
        self.runs += 1;
        for phase in phases {
            match self.phases.iter_mut().find(|(name, _)| *name == phase) {
                Some((_, hits)) => *hits += 1,
                None => self.phases.push((phase, 1)),
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (phase, hits) in &self.phases {
            writeln!(f, "  {hits:>5} × killed while {phase}")?;
        }
        if self.cut_writes > 0 {
            writeln!(f, "  {:>5} × a batch was cut in two, and the next start removed the half", self.cut_writes)?;
        }
        if self.failed_transactions.0 > 0 {
            let (count, reason) = &self.failed_transactions;
            writeln!(f, "  {count:>5} × a transaction failed, was aborted and begun again, the first: {reason}")?;
        }
        for violation in &self.violations {
            writeln!(f, "  VIOLATION {violation}")?;
        }
        for refused in &self.refused {
            writeln!(f, "  GIVEN UP {refused}")?;
        }
        write!(
            f,
            "{} runs, {} kills, {} records at the destination, {} repeated, {} violations",
            self.runs,
            self.kills(),
            self.records,
            self.repeated,
            self.violations.len() + self.refused.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_worker_loses_nothing() {
        let mut bed = worker::Bed::start(kurier_harness::kurier_binary(), Stop::default()).unwrap();
        let mut tally = Tally::new(&worker::PHASES);
        // Seeds whose kills come early, late and twice.
        for seed in 20..24 {
            bed.run(seed, &mut tally).unwrap();
        }
        println!("{tally}");
        assert!(tally.is_sound(), "{tally}");
    }

    #[test]
    fn killed_leaders_lose_nothing() {
        let Some(java) = kurier_harness::skip_without_java("killed_leaders_lose_nothing") else { return };
        for (scenario, runs) in [(cluster::Scenario::Idempotent, 2), (cluster::Scenario::Transactional, 2)] {
            let mut tally = Tally::new(cluster::Bed::phases(scenario));
            let mut bed =
                cluster::Bed::start(&java, scenario, cluster::Which::Kurier, 20_000, Stop::default()).unwrap();
            for seed in 0..runs {
                bed.run(seed, &mut tally).unwrap();
            }
            println!("{tally}");
            assert!(tally.is_sound(), "{tally}");
        }
    }

    #[test]
    fn a_killed_broker_keeps_what_it_acknowledged() {
        let mut bed = broker::Bed::new(kurier_harness::kurier_binary(), Stop::default()).unwrap();
        let mut tally = Tally::new(&broker::PHASES);
        for seed in 0..8 {
            bed.run(seed, &mut tally).unwrap();
        }
        println!("{tally}");
        assert!(tally.is_sound(), "{tally}");
    }
}
