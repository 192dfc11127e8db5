//! What the cluster is killed under: numbered records, all of them at once or in transactions of which a tenth is aborted.
//!
//! The same for every client: it is told what to send and when to commit, and what it answers is noted. Every number is sent once, so that a transaction
//! that fails is begun again with other numbers.

use super::clients::{Client, Failure};
use crate::Rng;
use anyhow::Result;
use parking_lot::{Condvar, Mutex};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Length of a value: a number and what follows from it.
pub(super) const VALUE_BYTES: usize = 100;
/// So many records in a row go to the same partition.
const RUN_LENGTH: u64 = 16;
/// Records handed to the client at a time.
const HANDFUL: u64 = 500;
/// Transactions have at least this many records and less than twice as many.
const TRANSACTION: u64 = 1_000;
/// One transaction of so many is aborted.
const ABORTED: u64 = 10;

/// What is sent, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// All records at once, idempotent.
    Idempotent,
    /// In transactions, a tenth of which is aborted.
    Transactional,
}

/// What a transactional producer is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Between,
    Sending,
    Committing,
    Aborting,
}

/// What the client is at, and the stage that somebody waits for.
#[derive(Debug)]
struct Aim {
    stage: Stage,
    wanted: Option<Wanted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Coming(Stage),
    /// It has begun, and the client waits until that is noticed.
    Begun,
}

/// A run's work and how far it is.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) scenario: Scenario,
    pub(super) topic: String,
    pub(super) records: u64,
    pub(super) partitions: i32,
    seed: u64,
    taken: AtomicU64,
    acknowledged: AtomicU64,
    aim: Mutex<Aim>,
    aim_changed: Condvar,
    stop: AtomicBool,
    ends: Mutex<Ends>,
}

/// How transactions ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    pub(super) committed: Vec<Range<u64>>,
    pub(super) aborted: u64,
    /// Transactions that failed and were aborted for it, with the reason of the first.
    pub(super) failed: u64,
    pub(super) reason: Option<String>,
}

impl Work {
    pub(super) fn new(scenario: Scenario, topic: String, records: u64, partitions: i32, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            scenario,
            topic,
            records,
            partitions,
            seed,
            taken: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            aim: Mutex::new(Aim { stage: Stage::Between, wanted: None }),
            aim_changed: Condvar::new(),
            stop: AtomicBool::new(false),
            ends: Mutex::default(),
        })
    }

    pub(super) fn partition_of(&self, number: u64) -> i32 {
        (number / RUN_LENGTH % self.partitions as u64) as i32
    }

    /// The whole value follows from the number: a damaged one is seen.
    pub(super) fn write_value(number: u64, into: &mut Vec<u8>) {
        let end = into.len() + VALUE_BYTES;
        into.extend_from_slice(&number.to_be_bytes());
        let mut at = number;
        while into.len() < end {
            at = at.wrapping_mul(31).wrapping_add(7);
            into.push(at as u8);
        }
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub(super) fn stage(&self) -> Stage {
        self.aim.lock().stage
    }

    /// Waits until a stage begins, no longer than `patience`. The client does not go on before it has been noticed: stages of a few milliseconds would be over
    /// before somebody wakes on a machine that does other things as well.
    pub(super) fn wait_for(&self, stage: Stage, patience: Duration) -> bool {
        let (mut aim, deadline) = (self.aim.lock(), Instant::now() + patience);
        aim.wanted = Some(Wanted::Coming(stage));
        while aim.wanted != Some(Wanted::Begun) {
            if self.aim_changed.wait_until(&mut aim, deadline).timed_out() {
                break;
            }
        }
        let has_begun = aim.wanted.take() == Some(Wanted::Begun);
        self.aim_changed.notify_all();
        has_begun
    }

    pub(super) fn ends(&self) -> Ends {
        self.ends.lock().clone()
    }

    /// The client shall give up.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn go_on(&self) -> Result<()> {
        anyhow::ensure!(!self.stop.load(Ordering::Relaxed), "stopped");
        Ok(())
    }

    fn enter(&self, stage: Stage) {
        let mut aim = self.aim.lock();
        aim.stage = stage;
        if aim.wanted == Some(Wanted::Coming(stage)) {
            aim.wanted = Some(Wanted::Begun);
            self.aim_changed.notify_all();
            self.aim_changed.wait_while(&mut aim, |aim| aim.wanted == Some(Wanted::Begun));
        }
    }

    /// Does all of it.
    ///
    /// # Errors
    /// If the client gives up a record or cannot go on.
    pub(super) fn run(&self, client: &mut dyn Client) -> Result<()> {
        match self.scenario {
            Scenario::Idempotent => self.send_all(client),
            Scenario::Transactional => self.transact(client),
        }
    }

    fn send_all(&self, client: &mut dyn Client) -> Result<()> {
        self.send(client, 0..self.records)?;
        while self.note(client)? < self.records {
            self.go_on()?;
            client.wait();
        }
        self.ends.lock().committed.push(0..self.records);
        Ok(())
    }

    fn send(&self, client: &mut dyn Client, numbers: Range<u64>) -> Result<()> {
        let mut next = numbers.start;
        while next < numbers.end {
            self.go_on()?;
            let end = numbers.end.min(next + HANDFUL);
            client.send(self, next..end)?;
            self.taken.store(end, Ordering::Relaxed);
            self.note(client)?;
            next = end;
        }
        Ok(())
    }

    fn note(&self, client: &mut dyn Client) -> Result<u64> {
        let (acknowledged, given_up) = client.told();
        self.acknowledged.store(acknowledged, Ordering::Relaxed);
        match given_up {
            Some(reason) if self.scenario == Scenario::Idempotent => anyhow::bail!("records were given up: {reason}"),
            _ => Ok(acknowledged),
        }
    }

    fn transact(&self, client: &mut dyn Client) -> Result<()> {
        let mut rng = Rng::seeded(self.seed);
        client.init_transactions()?;
        let mut next = 0;
        while next < self.records {
            let numbers = next..self.records.min(next + TRANSACTION + rng.below(TRANSACTION));
            next = numbers.end;
            client.begin()?;
            self.enter(Stage::Sending);
            self.send(client, numbers.clone())?;
            if rng.below(ABORTED) == 0 {
                // Mostly what is aborted has been written before.
                if rng.below(4) > 0 {
                    client.flush();
                }
                self.enter(Stage::Aborting);
                client.abort()?;
                self.ends.lock().aborted += 1;
            } else {
                self.enter(Stage::Committing);
                match client.commit() {
                    Ok(()) => self.ends.lock().committed.push(numbers),
                    Err(Failure::Final(reason)) => anyhow::bail!("a commit failed for good: {reason}"),
                    Err(Failure::Abortable(reason)) => {
                        client.abort()?;
                        let mut ends = self.ends.lock();
                        ends.failed += 1;
                        ends.reason.get_or_insert(reason);
                    }
                }
            }
            self.note(client)?;
            self.enter(Stage::Between);
        }
        Ok(())
    }
}
