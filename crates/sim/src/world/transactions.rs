//! Transactional producers: transaction after transaction under one transactional id, over deaths and frozen predecessors.
//!
//! Each writes some records, sometimes an offset of a group of its own, and commits or aborts. What the end of a transaction is known to be, is in the
//! ledger; a frozen producer whose successor has begun must find itself fenced.

use std::time::Duration;

use kurier_kafka::consumer::{OffsetAndMetadata, Offsets, TopicPartition};
use kurier_kafka::error::KafkaError;
use kurier_kafka::group::GroupMetadata;
use kurier_kafka::producer::core::{Appended, Operation};

use super::{Body, Event, ProcessId, Role, World};
use crate::ledger::{Checked, Ending};
use crate::plan::{PLAIN, TOPICS};
use crate::tally::State;

/// Where a transactional producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Idle,
    /// So many batches are still to be sent.
    Sending(u64),
    Waiting(Operation),
}

/// What a transactional producer has beside the others.
pub(super) struct TransactionalApp {
    /// Which transactional id.
    pub(super) id: usize,
    phase: Phase,
    /// The transaction that is open, in the ledger.
    pub(super) open: Option<usize>,
}

impl TransactionalApp {
    pub(super) fn new(id: usize) -> Self {
        Self { id, phase: Phase::New, open: None }
    }
}

/// The group whose offsets a transactional id's transactions carry.
pub(super) fn group_of(id: usize) -> String {
    format!("of-x{id}")
}

impl World {
    fn transactional(&mut self, process: ProcessId) -> &mut TransactionalApp {
        self.producer(process).transactional.as_mut().expect("only those of transactional producers come here")
    }

    /// Whether a process has what [`Self::transactional`] gives.
    pub(super) fn is_transactional(&self, process: ProcessId) -> bool {
        matches!(&self.processes[process].body, Body::Producer(app) if app.transactional.is_some())
    }

    /// Does what comes next.
    pub(super) fn transactional_turn(&mut self, process: ProcessId) -> Checked {
        let phase = self.transactional(process).phase;
        match phase {
            Phase::New => self.operate(process, Operation::InitTransactions),
            Phase::Idle if self.is_calm() => Ok(()),
            Phase::Idle => {
                if let Err(error) = self.producer(process).core.begin_transaction() {
                    return self.transaction_failed(process, &error);
                }
                let id = self.transactional(process).id;
                let open = self.ledger.begin(id);
                let batches = self.rng.between(1, 4);
                self.log(|| format!("process {process} begins transaction {open} of x{id}"));
                let app = self.transactional(process);
                app.open = Some(open);
                app.phase = Phase::Sending(batches);
                self.plan_app(process, 0);
                Ok(())
            }
            Phase::Sending(0) => self.end_sending(process),
            Phase::Sending(batches) => self.send_batch(process, batches),
            Phase::Waiting(_) => Ok(()),
        }
    }

    fn send_batch(&mut self, process: ProcessId, batches: u64) -> Checked {
        if self.producer(process).batch.is_empty() {
            self.make_records(process);
        }
        let (now, wall_ms) = (self.now, self.wall_ms(process));
        let mut effects = Vec::new();
        let app = self.producer(process);
        let is_taken = match app.core.append(now, wall_ms, &app.batch, app.taken, &mut effects) {
            Appended::All => {
                app.batch.clear();
                app.taken = 0;
                true
            }
            Appended::UpTo(at, _) => {
                app.taken = at;
                false
            }
        };
        if is_taken {
            self.transactional(process).phase = Phase::Sending(batches - 1);
        }
        self.producer_effects(process, effects)?;
        let pause = if is_taken { self.plan.pause } else { 2_000 };
        let pause = self.rng.below(pause);
        self.plan_app(process, pause);
        Ok(())
    }

    fn end_sending(&mut self, process: ProcessId) -> Checked {
        let open = self.transactional(process).open;
        let carries = open.is_some_and(|open| self.ledger.offset_of(open).is_some());
        if !carries && self.rng.one_in(3) {
            return self.operate(process, Operation::SendOffsets);
        }
        let operation = if self.rng.one_in(5) { Operation::Abort } else { Operation::Commit };
        self.operate(process, operation)
    }

    fn operate(&mut self, process: ProcessId, operation: Operation) -> Checked {
        self.log(|| format!("process {process}: {operation:?}"));
        let now = self.now;
        let mut effects = Vec::new();
        self.transactional(process).phase = Phase::Waiting(operation);
        let open = self.transactional(process).open;
        let id = self.transactional(process).id;
        let core = &mut self.producer(process).core;
        let begun = match operation {
            Operation::InitTransactions => core.init_transactions(now, &mut effects),
            Operation::SendOffsets => {
                let offset = open.map_or(0, |open| open as i64);
                let partition = TopicPartition::new(TOPICS[PLAIN].name, 0);
                let offsets: Offsets = [(partition, OffsetAndMetadata::new(offset))].into();
                core.send_offsets(now, &offsets, &GroupMetadata::of_group(group_of(id)), &mut effects)
            }
            Operation::Commit => core.commit_transaction(now, &mut effects),
            Operation::Abort => core.abort_transaction(now, &mut effects),
        };
        if let (Ok(()), Some(open)) = (&begun, open) {
            match operation {
                Operation::SendOffsets => self.ledger.carry_offset(open),
                Operation::Commit => self.ledger.end(open, Ending::MayBeCommitted),
                Operation::Abort if self.ledger.ending(open) != Ending::MayBeCommitted => {
                    self.ledger.end(open, Ending::Aborted);
                }
                _ => {}
            }
        }
        self.producer_effects(process, effects)?;
        match begun {
            Ok(()) => Ok(()),
            Err(error) => self.transaction_failed(process, &error),
        }
    }

    /// Looks whether the operation that is waited for has ended.
    pub(super) fn look_for_outcome(&mut self, process: ProcessId) -> Checked {
        let Phase::Waiting(operation) = self.transactional(process).phase else { return Ok(()) };
        let Some(outcome) = self.producer(process).core.take_outcome(operation) else { return Ok(()) };
        self.log(|| format!("process {process}: {operation:?} ends with {outcome:?}"));
        if let Err(error) = outcome {
            return self.transaction_failed(process, &error);
        }
        let app = self.transactional(process);
        match operation {
            Operation::SendOffsets => {
                app.phase = Phase::Sending(0);
                self.tally.state(State::OffsetsInTransaction);
            }
            Operation::InitTransactions => app.phase = Phase::Idle,
            Operation::Commit | Operation::Abort => {
                app.phase = Phase::Idle;
                let open = app.open.take();
                let (ending, state) = match operation {
                    Operation::Commit => (Ending::Committed, State::TransactionCommitted),
                    _ => (Ending::Aborted, State::TransactionAborted),
                };
                self.tally.state(state);
                if let Some(open) = open {
                    self.ledger.end(open, ending);
                }
            }
        }
        let pause = self.plan.pause;
        let pause = self.rng.below(pause);
        self.plan_app(process, pause);
        Ok(())
    }

    /// An operation failed: abort if that is possible, else it is over with this producer.
    fn transaction_failed(&mut self, process: ProcessId, error: &KafkaError) -> Checked {
        self.log(|| format!("process {process}: its transaction fails: {}: {error}", error.class));
        let now = self.now;
        let was_aborting = self.transactional(process).phase == Phase::Waiting(Operation::Abort);
        let mut effects = Vec::new();
        let app = self.producer(process);
        app.batch.clear();
        app.taken = 0;
        let aborts = if was_aborting { Err(error.clone()) } else { app.core.abort_transaction(now, &mut effects) };
        self.producer_effects(process, effects)?;
        if !matches!(self.processes[process].body, Body::Producer(_)) {
            return Ok(());
        }
        if aborts.is_ok() {
            self.tally.state(State::TransactionFailed);
            let app = self.transactional(process);
            app.phase = Phase::Waiting(Operation::Abort);
            if let Some(open) = app.open
                && self.ledger.ending(open) != Ending::MayBeCommitted
            {
                self.ledger.end(open, Ending::Aborted);
            }
            return self.look_for_outcome(process);
        }
        self.tally.state(State::TransactionalFenced);
        let id = self.transactional(process).id;
        self.kill_producer(process);
        let has_successor = self.living(
            |body| matches!(body, Body::Producer(app) if app.transactional.as_ref().is_some_and(|app| app.id == id)),
        );
        if has_successor.is_empty() && !self.is_calm() {
            self.at(self.now + Duration::from_secs(1), Event::Spawn(Role::Transactional { id }));
        }
        Ok(())
    }

    /// A transaction whose producer has not ended it.
    pub(super) fn open_transaction(&self) -> Option<String> {
        self.processes.iter().enumerate().find_map(|(process, state)| match &state.body {
            Body::Producer(app) => {
                let open = app.transactional.as_ref()?.open?;
                Some(format!("transaction {open} of process {process} is open"))
            }
            _ => None,
        })
    }
}
