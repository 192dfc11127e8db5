//! An idempotent produce over broker crashes, and a consumer that reads along.
//!
//! What must hold, partition by partition: what is read comes in the order it was sent, nothing twice, and everything that was acknowledged is
//! read at the offset that was acknowledged. The broker's process dies in the middle of a write; what it had written before stays, as under a
//! `kill -9`. Loss of power is not part of it: a single node that does not sync every write promises nothing there.

mod world;

use std::fmt;

use self::world::World;

/// A mistake to make on purpose, to show that it would be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A crash takes what was written and acknowledged but not synced.
    ForgetWrites,
    /// The network delivers produce requests twice, for a producer that is not idempotent.
    DoubleRequests,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What everything that is random comes from.
    pub seed: u64,
    /// Records to send.
    pub records: u64,
    /// Partitions to send them to.
    pub partitions: i32,
    /// Crashes of the broker, at most.
    pub crashes: u32,
    /// A mistake to make.
    pub mistake: Option<Mistake>,
}

impl Scenario {
    /// The usual run.
    pub fn new(seed: u64) -> Self {
        Self { seed, records: 120, partitions: 3, crashes: 6, mistake: None }
    }
}

/// What happened in a run without violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Records that the producer gave up.
    pub given_up: u64,
    /// Records that the consumer read.
    pub read: u64,
    /// Crashes of the broker.
    pub crashes: u32,
    /// Connections that broke, and answers that never came.
    pub faults: u64,
}

/// Something that must not happen.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The seed to see it again.
    pub seed: u64,
    /// What happened.
    pub what: String,
    /// The last events before it.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

impl std::error::Error for Violation {}

/// Runs a scenario to its end.
///
/// # Errors
/// What must not happen and did, with the way there.
pub fn run(scenario: &Scenario) -> Result<Outcome, Box<Violation>> {
    World::new(scenario).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_records_are_there_once_and_in_order() {
        let (mut crashes, mut faults, mut acknowledged) = (0, 0, 0);
        for seed in 0..200 {
            let outcome = run(&Scenario::new(seed)).unwrap_or_else(|violation| panic!("{violation}"));
            crashes += outcome.crashes;
            faults += outcome.faults;
            acknowledged += outcome.acknowledged;
        }
        assert!(crashes > 200 && faults > 200 && acknowledged > 10_000, "{crashes} {faults} {acknowledged}");
    }

    #[test]
    fn a_seed_is_a_run() {
        assert_eq!(run(&Scenario::new(5)).unwrap(), run(&Scenario::new(5)).unwrap());
    }

    #[test]
    fn planted_mistakes_are_noticed() {
        // The words say that it is noticed for what it is.
        for (mistake, words) in
            [(Mistake::ForgetWrites, "acknowledged and not read"), (Mistake::DoubleRequests, "is there twice")]
        {
            let runs = (0..20).map(|seed| run(&Scenario { mistake: Some(mistake), ..Scenario::new(seed) }));
            let found: Vec<String> = runs.filter_map(Result::err).map(|violation| violation.what).collect();
            assert!(found.iter().any(|what| what.contains(words)), "{mistake:?}: {found:#?}");
        }
    }
}
