//! The path of a record into Kafka: `poll` → transforms → converters → topic → ledger → send → acknowledgement → commit.
//!
//! [`SourcePipeline::run`] is one loop over one task, and every turn is the same: follow orders, take acknowledgements, commit if it is time, poll,
//! send. Offsets go one way only: a record's offset is committable once Kafka has the record and all before it ([`super::ledger`]); it is then written
//! to the offset store, and only when that is durable does the task hear of it. Counterpart of Apache Kafka's `WorkerSourceTask`.
//!
//! `poll` is never dropped while the task lives, for a task that has advanced its position in a dropped poll would have lost that batch. So orders and
//! commits wait for a poll to return, at most [`LONGEST_POLL`]. An abandoned task commits nothing ([`Control::permit`]).
#![expect(clippy::disallowed_methods, reason = "driver: polls and commits by the clock")]

use super::control::{Activity, Control, Order};
use super::encode::{Encoder, check_timestamp};
use super::errors::{ErrorReporter, source_text};
use super::ledger::{Ledger, Ticket};
use super::outlet::{Acknowledgement, Outlet, ProduceBatch};
use super::stages::Failures;
use super::tolerance::{Failure, Stage, ToleranceLevel};
use super::topics::TopicCreator;
use crate::store::OffsetStore;
use crate::unit::{State, TaskCounters, TaskId};
use crate::worker::Reports;
use crate::worker::guard::panicked;
use futures::FutureExt;
use kurier_api::plugin::{AckedRecord, Fate, SourceTask};
use kurier_api::record::{SourceOffset, SourcePartition};
use kurier_api::{ConnectError, NextStep, Record, SourceRecord, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The longest wait of a poll.
pub const LONGEST_POLL: Duration = Duration::from_secs(1);
/// The wait after a poll that failed for now, and before a batch that could not be sent is sent again.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// The class that failures of the producer name.
const WORKER_SOURCE_TASK: &str = "org.apache.kafka.connect.runtime.WorkerSourceTask";

/// When a source task commits.
#[derive(Clone, Copy, Debug)]
pub struct SourceSettings {
    /// `offset.flush.interval.ms`.
    pub commit_interval: Duration,
    /// `offset.flush.timeout.ms`.
    pub commit_timeout: Duration,
}

/// One running source task with all that belongs to it.
pub struct SourcePipeline {
    /// Which task.
    pub id: TaskId,
    /// The task, started.
    pub task: Box<dyn SourceTask>,
    /// Transforms and converters.
    pub encoder: Encoder,
    /// What makes topics before the first record goes there; none if that is the broker's matter.
    pub topics: Option<TopicCreator>,
    /// The producer.
    pub outlet: Box<dyn Outlet>,
    /// Where offsets are committed.
    pub offsets: Arc<dyn OffsetStore>,
    /// The log of failures.
    pub errors: Arc<ErrorReporter>,
    /// What the worker wants.
    pub control: Control,
    /// What the herder is told.
    pub reports: Reports,
    /// What is counted.
    pub counters: Arc<TaskCounters>,
    /// When to commit.
    pub settings: SourceSettings,
}

/// What changes while the loop turns.
struct Run {
    ledger: Ledger,
    /// Used again for every batch.
    batch: ProduceBatch,
    /// Copies of records that the task wants to hear of, until they are acknowledged.
    unheard: BTreeMap<Ticket, SourceRecord>,
    /// Records in the ledger that Kafka has refused or never got.
    lost: u64,
    /// The topic of the record before: nearly always that of the next one.
    recent_topic: Option<Arc<str>>,
    /// What the task has not heard of yet.
    heard: Vec<AckedRecord>,
    /// The order that is followed.
    order: Order,
    next_commit: Instant,
}

impl SourcePipeline {
    /// Moves records until the task is told to stop or fails; then waits for what is under way, commits, and stops the task.
    ///
    /// # Errors
    /// What fails the task.
    pub async fn run(mut self) -> Result<(), ConnectError> {
        let mut run = Run {
            ledger: Ledger::new(),
            batch: ProduceBatch::default(),
            unheard: BTreeMap::new(),
            heard: Vec::new(),
            lost: 0,
            recent_topic: None,
            order: Order::Run,
            next_commit: Instant::now() + self.settings.commit_interval,
        };
        let moved = AssertUnwindSafe(self.move_records(&mut run)).catch_unwind().await;
        let moved = match moved {
            Ok(moved) => {
                self.drain(&mut run).await;
                self.commit(&mut run).await;
                moved
            }
            // A transform or converter, but it may be we ourselves: then what we know of offsets is not to be trusted.
            Err(panic) => {
                let error = panicked(self.control.activity().words(), &*panic);
                run.lost += run.batch.len() as u64;
                self.drain(&mut run).await;
                Err(error)
            }
        };
        self.stop().await;
        moved
    }

    async fn move_records(&mut self, run: &mut Run) -> Result<(), ConnectError> {
        loop {
            self.follow_orders(run);
            if run.order == Order::Stop {
                return Ok(());
            }
            self.take_acknowledgements(run, Duration::ZERO).await?;
            if Instant::now() >= run.next_commit {
                self.commit(run).await;
                run.next_commit = Instant::now() + self.settings.commit_interval;
            }
            if run.order == Order::Pause {
                self.rest(run).await;
                continue;
            }
            let records = self.poll(run).await?;
            self.show_idleness(run, records.is_empty());
            self.send(run, records).await?;
        }
    }

    /// Takes note of what the worker wants.
    fn follow_orders(&self, run: &mut Run) {
        let order = self.control.order();
        if order != run.order {
            run.order = order;
            match order {
                Order::Stop => {}
                Order::Pause => self.reports.state(State::Paused, None),
                Order::Run => self.reports.state(State::Running, None),
            }
        }
    }

    /// Waits while the task is paused, until there is something to do.
    async fn rest(&mut self, run: &Run) {
        self.control.enter(Activity::Waiting);
        // While records are under way their acknowledgements have to be looked at.
        let busy = run.ledger.in_flight() > 0;
        let until_commit = run.next_commit.saturating_duration_since(Instant::now());
        let wait = if busy { until_commit.min(RETRY_DELAY) } else { until_commit };
        let _ = tokio::time::timeout(wait, self.control.changed_from(Order::Pause)).await;
    }

    /// Asks the task for records.
    async fn poll(&mut self, run: &Run) -> Result<Vec<SourceRecord>, ConnectError> {
        self.control.enter(Activity::Polling);
        let deadline = run.next_commit.min(Instant::now() + LONGEST_POLL);
        match self.task.poll(deadline).await {
            Ok(records) => {
                self.counters.records_in.fetch_add(records.len() as u64, Relaxed);
                Ok(records)
            }
            Err(error) if error.next_step() == NextStep::Retry => {
                tracing::warn!("{}: poll will be tried again: {}", self.reports.name(), error.trace());
                self.control.wait(RETRY_DELAY).await;
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// Transforms, converts and sends records. If one of them ends the task, those before it are sent first, as in Java.
    async fn send(&mut self, run: &mut Run, records: Vec<SourceRecord>) -> Result<(), ConnectError> {
        if records.is_empty() {
            return Ok(());
        }
        while !run.ledger.has_room(records.len()) {
            self.control.enter(Activity::Producing);
            self.take_acknowledgements(run, LONGEST_POLL).await?;
            if self.control.is_stopping() {
                return Ok(()); // Neither sent nor committed: the next life of the task reads them again.
            }
        }
        let keeps_originals = self.task.wants_acks() || self.errors.logs_messages();
        let originals = if keeps_originals { records.clone() } else { Vec::new() };
        let (mut records, places): (Vec<Record>, Vec<_>) =
            records.into_iter().map(|r| (r.record, (r.source_partition, r.source_offset))).unzip();
        let mut fates: Vec<Fate> = Vec::new();
        fates.resize_with(records.len(), Fate::default);
        let mut failures = Failures::default();
        self.encoder.transform(&mut records, &mut fates, &self.control, &mut failures).await;

        self.control.enter(Activity::Converting);
        let mut dropped = 0;
        let mut at = 0;
        while at < failures.end(records.len()) {
            let ticket = run.ledger.next_ticket();
            let encoded = match &fates[at] {
                Fate::Live => self.encode(run, &mut records[at], ticket, at, &mut failures).await,
                _ => false,
            };
            if failures.end(records.len()) <= at {
                break; // It ends the task, so it must not count as given up: its offset stays uncommitted.
            }
            let (partition, offset) = &places[at];
            run.ledger.submit(partition.as_ref(), offset.as_ref());
            if self.task.wants_acks() {
                run.unheard.insert(ticket, originals[at].clone());
            }
            if !encoded {
                dropped += 1;
                run.settle(ticket..ticket + 1, None);
            }
            at += 1;
        }
        failures.records.sort_by_key(|(at, _)| *at);
        for (at, failure) in &failures.records {
            self.errors.report_source(failure, || source_text(&originals[*at]));
        }
        let given_up = failures.records.iter().filter(|(at, _)| *at < failures.end(records.len())).count() as u64;
        self.counters.dropped.fetch_add(dropped - given_up, Relaxed);

        self.control.enter(Activity::Producing);
        self.counters.bytes.fetch_add(run.batch.bytes() as u64, Relaxed);
        if !run.batch.is_empty() {
            drop(self.control.permit().await?); // What an abandoned task comes back with, its successor has read too.
            self.outlet
                .send(&mut run.batch)
                .await
                .map_err(|error| ConnectError::connect("Unrecoverable exception trying to send").with_cause(error))?;
        }
        match failures.last {
            Some((_, Some(error))) => Err(error),
            Some((_, None)) | None => Ok(()), // A record is left to the next life only by a task that stops.
        }
    }

    /// Writes one record into the batch, its topic being there; false if it is not in the batch, for which `failures` has the reason.
    async fn encode(
        &mut self,
        run: &mut Run,
        record: &mut Record,
        ticket: Ticket,
        at: usize,
        failures: &mut Failures,
    ) -> bool {
        let mut possible = check_timestamp(record);
        if let (Ok(()), Some(topics)) = (&possible, &mut self.topics) {
            possible = topics.ensure(&record.topic, &self.control).await;
        }
        if let Err(error) = possible {
            failures.end_at(at, Some(error));
            return false;
        }
        match self.encoder.encode(record, ticket, &mut run.batch, &self.control).await {
            Ok(()) => {
                if !run.recent_topic.as_ref().is_some_and(|recent| Arc::ptr_eq(recent, &record.topic)) {
                    self.reports.topic(&record.topic);
                    run.recent_topic = Some(record.topic.clone());
                }
                true
            }
            Err(failure) => {
                failures.add(at, failure, self.encoder.tolerance(), &self.control);
                false
            }
        }
    }

    /// Takes the acknowledgements that have come, and tells the task of them if it wants to hear.
    async fn take_acknowledgements(&mut self, run: &mut Run, wait: Duration) -> Result<(), ConnectError> {
        let mut failed = None;
        for Acknowledgement { tickets, outcome } in self.outlet.acknowledged(wait).await {
            match outcome {
                Ok(place) => {
                    self.counters.records_out.fetch_add(tickets.end - tickets.start, Relaxed);
                    run.settle(tickets, Some(place));
                }
                Err(error) => match self.judge_send_error(error) {
                    Ok(()) => run.settle(tickets, None),
                    Err(error) => {
                        // Not settled: neither its offset nor a later one of its partition is ever committed.
                        run.lost += tickets.end - tickets.start;
                        failed.get_or_insert(error);
                    }
                },
            }
        }
        if !run.heard.is_empty() {
            let heard = std::mem::take(&mut run.heard);
            if let Err(error) = self.task.acked(&heard).await {
                tracing::error!("{}: the task failed on acknowledgements: {}", self.reports.name(), error.trace());
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// What it means that Kafka has not taken a record: it is given up, or it fails the task.
    fn judge_send_error(&self, error: ConnectError) -> Result<(), ConnectError> {
        if self.encoder.tolerance().level == ToleranceLevel::None {
            let message = "Unrecoverable exception from producer send callback";
            return Err(ConnectError::connect(message).with_cause(error));
        }
        let failure = Failure { stage: Stage::KafkaProduce, class: WORKER_SOURCE_TASK.into(), error };
        self.errors.report_source(&failure, || "(it was sent and is no longer at hand)".to_owned());
        Ok(())
    }

    /// Commits what is committable: offset store, durable, then the task. What fails is tried again with the next commit.
    async fn commit(&mut self, run: &mut Run) {
        self.control.enter(Activity::Committing);
        let Ok(permit) = self.control.permit().await else { return };
        let offsets = run.ledger.committable();
        if !offsets.is_empty() {
            let stored = self.offsets.set(&self.id.connector, &offsets);
            let problem = match tokio::time::timeout(self.settings.commit_timeout, stored).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.trace()),
                Err(_) => Some(format!("not within {} ms", self.settings.commit_timeout.as_millis())),
            };
            if let Some(problem) = problem {
                tracing::error!("{}: Failed to commit offsets: {problem}", self.reports.name());
                run.ledger.restore(offsets);
                return;
            }
        }
        drop(permit); // What follows is the task's own, and may hang.
        let durable: Vec<(SourcePartition, SourceOffset)> =
            offsets.into_iter().filter_map(|(partition, offset)| Some((partition, offset?))).collect();
        if let Err(error) = self.task.committed(&durable).await {
            tracing::error!("{}: the task failed on a commit: {}", self.reports.name(), error.trace());
        }
    }

    /// At the end of the task, also of one that failed, what is under way may still arrive.
    async fn drain(&mut self, run: &mut Run) {
        self.control.enter(Activity::Stopping);
        let deadline = Instant::now() + self.settings.commit_timeout;
        while run.ledger.in_flight() as u64 > run.lost {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(error) = self.take_acknowledgements(run, left).await {
                tracing::error!(
                    "{}: records were lost at the end, and are read again: {}",
                    self.reports.name(),
                    error.trace()
                );
            }
            if left.is_zero() {
                tracing::warn!("{}: {} records may not have arrived", self.reports.name(), run.ledger.in_flight());
                break;
            }
        }
    }

    async fn stop(&mut self) {
        self.control.enter(Activity::Stopping);
        if let Err(error) = self.task.stop().await {
            tracing::warn!("{}: the task failed to stop: {}", self.reports.name(), error.trace());
        }
        self.outlet.close().await;
    }

    fn show_idleness(&self, run: &Run, read_nothing: bool) {
        let all_safe = run.ledger.in_flight() == 0 && !run.ledger.has_committable();
        let said = self.task.is_idle();
        self.counters.idle.store((read_nothing && all_safe && said == Some(true)).into(), Relaxed);
        self.counters.idle_unknown.store(said.is_none().into(), Relaxed);
    }
}

impl Run {
    /// Records are safe, or given up (`place` is none).
    fn settle(&mut self, tickets: Range<Ticket>, place: Option<(TopicPartition, i64)>) {
        self.ledger.ack(tickets.clone());
        if self.unheard.is_empty() {
            return;
        }
        for ticket in tickets.clone() {
            if let Some(record) = self.unheard.remove(&ticket) {
                let behind = (ticket - tickets.start) as i64;
                let delivered = place.clone().map(|(partition, offset)| (partition, offset + behind));
                self.heard.push(AckedRecord { record, delivered });
            }
        }
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
