//! The path of a record out of Kafka: poll → converters → transforms → `put` → progress → `pre_commit` → commit.
//!
//! [`SinkPipeline::run`] is one loop over one task, and every turn is the same: follow orders, commit if it is time, do what the task asked for,
//! poll, convert, put. A `put` that fails with a retriable error pauses all partitions and gets the same batch again, while polling (and with it the
//! place in the group) goes on. Counterpart of Apache Kafka's `WorkerSinkTask`.
//!
//! What is committed was put, in the positions of the *original* partitions. A partition that is to be given up is committed and closed first; a lost one
//! is closed only, for it may be another's by now. An abandoned task commits nothing ([`Control::permit`]).
#![expect(clippy::disallowed_methods, reason = "driver: commits by the clock")]

use super::context::SinkContext;
use super::control::{Activity, Control, Order};
use super::decode::{Decoded, Decoder, LifeEnd};
use super::errors::ErrorReporter;
use super::progress::Progress;
use crate::unit::{State, TaskCounters};
use crate::worker::Reports;
use crate::worker::guard::panicked;
use futures::FutureExt;
use kurier_api::plugin::{Offsets, SinkTask};
use kurier_api::{ConnectError, NextStep, SinkRecord, TopicPartition};
use kurier_kafka::consumer::{self, Consumer, ConsumerError, FetchedBatch, OffsetAndMetadata, RebalanceEvent};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The longest wait for records: afterwards the task gets an empty batch and its requests are looked at.
const LONGEST_POLL: Duration = Duration::from_secs(1);

/// How long leaving the group may take; without, the others wait for the session to expire.
pub(crate) const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// When a sink task commits.
#[derive(Clone, Copy, Debug)]
pub struct SinkSettings {
    /// `offset.flush.interval.ms`.
    pub commit_interval: Duration,
    /// `offset.flush.timeout.ms`.
    pub commit_timeout: Duration,
}

/// One running sink task with all that belongs to it.
pub struct SinkPipeline {
    /// The task, started.
    pub task: Box<dyn SinkTask>,
    /// What the task asks for.
    pub context: Arc<SinkContext>,
    /// Subscribed to the connector's topics.
    pub consumer: Arc<Consumer>,
    /// Converters and transforms.
    pub decoder: Decoder,
    /// Log and dead letter queue.
    pub errors: Arc<ErrorReporter>,
    /// What the worker wants.
    pub control: Control,
    /// What the herder is told.
    pub reports: Reports,
    /// What is counted.
    pub counters: Arc<TaskCounters>,
    /// When to commit.
    pub settings: SinkSettings,
}

/// What changes while the loop turns.
struct Run {
    progress: Progress,
    /// What `put` has not taken yet, and where the task will have come to when it has.
    batch: Vec<SinkRecord>,
    reached: Offsets,
    /// Whether `put` has refused the batch for now, so that it comes again.
    redelivering: bool,
    /// The order that is followed.
    order: Order,
    next_commit: Instant,
    /// What the task wants to wait at most before the next `put`.
    timeout: Option<Duration>,
}

impl SinkPipeline {
    /// Moves records until the task is told to stop or fails; then commits what was put, closes partitions, and stops the task.
    ///
    /// # Errors
    /// What fails the task.
    pub async fn run(mut self) -> Result<(), ConnectError> {
        let mut run = Run {
            progress: Progress::new(),
            batch: Vec::new(),
            reached: Offsets::new(),
            redelivering: false,
            order: Order::Run,
            next_commit: Instant::now() + self.settings.commit_interval,
            timeout: None,
        };
        let moved = AssertUnwindSafe(self.move_records(&mut run)).catch_unwind().await;
        let outcome = match moved {
            Ok(moved) => moved.and(self.close(&mut run).await),
            // A transform or converter, but it may be we ourselves: then what we know of offsets is not to be trusted.
            Err(panic) => {
                let error = panicked(self.control.activity().words(), &*panic);
                self.control.enter(Activity::Stopping);
                let all = self.assignment(&run);
                if !all.is_empty()
                    && let Err(also) = self.task.close(&all).await
                {
                    tracing::warn!("{}: the task failed to close after a panic: {}", self.reports.name(), also.trace());
                }
                Err(error)
            }
        };
        self.stop(&run).await;
        let Self { consumer, reports, .. } = self;
        if let Some(consumer) = Arc::into_inner(consumer)
            && let Err(error) = consumer.close(LEAVE_TIMEOUT).await
        {
            tracing::warn!("{}: the consumer could not leave its group: {error}", reports.name());
        }
        outcome
    }

    async fn move_records(&mut self, run: &mut Run) -> Result<(), ConnectError> {
        loop {
            self.follow_orders(run)?;
            if run.order == Order::Stop {
                return Ok(());
            }
            if Instant::now() >= run.next_commit {
                let all = self.assignment(run);
                self.commit(run, &all).await?;
                run.next_commit = Instant::now() + self.settings.commit_interval;
            }
            self.fulfil_requests(run)?;
            let polled = self.poll(run).await?;
            for event in polled.events {
                self.rebalance(run, event).await?;
            }
            if !polled.batches.is_empty() {
                self.take(run, &polled.batches).await?;
            }
            if run.order == Order::Stop {
                return Ok(()); // A record was left to the next life.
            }
            self.put(run).await?;
            self.show_idleness(run);
        }
    }

    /// Pauses, resumes or ends as the worker wants.
    fn follow_orders(&self, run: &mut Run) -> Result<(), ConnectError> {
        let order = self.control.order();
        if order == run.order {
            return Ok(());
        }
        run.order = order;
        match order {
            Order::Stop => {}
            Order::Pause => {
                self.pause_all()?;
                run.next_commit = Instant::now();
                self.reports.state(State::Paused, None);
            }
            Order::Run => {
                if !run.redelivering {
                    self.resume_all()?;
                }
                self.reports.state(State::Running, None);
            }
        }
        Ok(())
    }

    /// Does what the task asked for since last time.
    fn fulfil_requests(&self, run: &mut Run) -> Result<(), ConnectError> {
        let requests = self.context.take_requests();
        for (partition, offset) in &requests.rewinds {
            if_assigned(self.consumer.seek(&kafka(partition), *offset))?;
            run.progress.rewind(partition, *offset);
            run.reached.remove(partition);
        }
        if requests.commit {
            run.next_commit = Instant::now();
        }
        if requests.paused_changed && run.order == Order::Run && !run.redelivering {
            self.resume_all()?;
        }
        run.timeout = requests.timeout;
        Ok(())
    }

    /// Waits for records until the task wants to be called or a commit is due; an order ends the wait.
    async fn poll(&mut self, run: &mut Run) -> Result<consumer::Polled, ConnectError> {
        self.control.enter(Activity::Waiting);
        let until_commit = run.next_commit.saturating_duration_since(Instant::now());
        let wait = until_commit.min(LONGEST_POLL).min(run.timeout.take().unwrap_or(Duration::MAX));
        let deadline = Instant::now() + wait;
        tokio::select! {
            biased;
            polled = self.consumer.poll(deadline) => polled.map_err(consumer_error),
            _ = self.control.changed_from(run.order) => Ok(consumer::Polled::default()),
        }
    }

    /// Converts what a poll brought and adds it to the batch.
    async fn take(&mut self, run: &mut Run, batches: &[FetchedBatch]) -> Result<(), ConnectError> {
        for batch in batches {
            let partition = api(batch.partition());
            self.reports.topic(&partition.topic);
            run.progress.begun(&partition, batch.from_offset());
        }
        let bytes = batches.iter().map(|batch| batch.size_bytes() as u64).sum();
        self.counters.bytes.fetch_add(bytes, Relaxed);
        let Decoded { records, positions, failed, end, read, dropped } =
            self.decoder.decode(batches, &self.control).await?;
        self.counters.records_in.fetch_add(read, Relaxed);
        self.counters.dropped.fetch_add(dropped, Relaxed);
        self.errors.report_all(&failed).await;
        match end {
            Some(LifeEnd::Failed(error)) => return Err(error),
            Some(LifeEnd::Left) => return self.follow_orders(run), // The order is to stop: what was left is neither put nor committed.
            None => {}
        }
        self.errors.remember(batches);
        if run.batch.is_empty() {
            run.batch = records;
        } else {
            run.batch.extend(records);
        }
        run.reached.extend(positions);
        Ok(())
    }

    /// Hands the batch to the task, also an empty one.
    async fn put(&mut self, run: &mut Run) -> Result<(), ConnectError> {
        self.control.enter(Activity::Putting);
        let put = match self.task.put(&run.batch).await {
            Err(error) if error.next_step() != NextStep::Retry => Err(error),
            // The task may have swallowed that it was not to report this record.
            survived => self.errors.exceeded().and(survived),
        };
        match put {
            Ok(()) => {
                self.counters.records_out.fetch_add(run.batch.len() as u64, Relaxed);
                run.batch.clear();
                run.progress.delivered(&std::mem::take(&mut run.reached));
                if std::mem::take(&mut run.redelivering) && run.order == Order::Run {
                    self.resume_all()?;
                }
                Ok(())
            }
            Err(error) if error.next_step() == NextStep::Retry => {
                tracing::warn!("{}: put will be tried again: {}", self.reports.name(), error.trace());
                if !run.redelivering {
                    run.redelivering = true;
                    self.pause_all()?;
                }
                Ok(())
            }
            Err(error) => {
                let message = "Exiting WorkerSinkTask due to unrecoverable exception.";
                Err(ConnectError::connect(message).with_cause(error))
            }
        }
    }

    /// Takes note of partitions that come and go.
    async fn rebalance(&mut self, run: &mut Run, event: RebalanceEvent) -> Result<(), ConnectError> {
        self.control.enter(Activity::Rebalancing);
        match event {
            RebalanceEvent::Assigned(partitions) if !partitions.is_empty() => {
                let partitions = api_all(&partitions);
                for partition in &partitions {
                    run.progress.assigned(partition.clone());
                    if let Some(position) = self.consumer.position(&kafka(partition)) {
                        run.progress.begun(partition, position);
                    }
                }
                self.context.assigned(&partitions);
                if run.redelivering || run.order == Order::Pause {
                    self.pause_all()?;
                }
                self.task.open(&partitions).await
            }
            RebalanceEvent::Assigned(_) => Ok(()),
            RebalanceEvent::Revoked(partitions) => {
                let partitions = api_all(&partitions);
                let closed = self.commit_and_close(run, &partitions).await;
                self.drop_partitions(run, &partitions);
                self.consumer.ack_revoked();
                closed
            }
            RebalanceEvent::Lost(partitions) => {
                let partitions = api_all(&partitions);
                self.drop_partitions(run, &partitions);
                self.task.close(&partitions).await
            }
        }
    }

    /// Forgets partitions with all that was read of them and not put.
    fn drop_partitions(&self, run: &mut Run, partitions: &[TopicPartition]) {
        for partition in partitions {
            run.progress.forget(partition);
            run.reached.remove(partition);
        }
        run.batch.retain(|record| !partitions.contains(&record.origin));
        self.context.taken(partitions);
    }

    /// Commits what the task lets be committed of these partitions.
    async fn commit(&mut self, run: &mut Run, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        self.control.enter(Activity::Committing);
        let offered = run.progress.offer(partitions);
        if offered.is_empty() {
            return Ok(());
        }
        match self.task.pre_commit(&offered).await {
            Ok(answered) => {
                self.commit_answer(run, &offered, &answered).await;
                Ok(())
            }
            Err(error) => {
                tracing::error!(
                    "{}: offset commit failed, reading goes back to the last committed offsets: {}",
                    self.reports.name(),
                    error.trace()
                );
                run.batch.clear();
                run.reached.clear();
                for (partition, offset) in run.progress.go_back(partitions) {
                    if_assigned(self.consumer.seek(&kafka(&partition), offset))?;
                }
                Ok(())
            }
        }
    }

    /// Commits and closes partitions that are to be given up.
    async fn commit_and_close(&mut self, run: &mut Run, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        let offered = run.progress.offer(partitions);
        let answered = if offered.is_empty() { Ok(Offsets::new()) } else { self.task.pre_commit(&offered).await };
        let closed = self.task.close(partitions).await;
        match answered {
            Ok(answered) => self.commit_answer(run, &offered, &answered).await,
            Err(error) => {
                tracing::warn!("{}: the last commit of {partitions:?} failed: {}", self.reports.name(), error.trace());
            }
        }
        closed
    }

    /// Commits what the task answered, if it is still this task's to commit. A commit that fails is made up for by the next.
    async fn commit_answer(&mut self, run: &mut Run, offered: &Offsets, answered: &Offsets) {
        let commit = run.progress.answer(offered, answered);
        for warning in &commit.warnings {
            tracing::warn!("{}: {warning}", self.reports.name());
        }
        if commit.offsets.is_empty() {
            return;
        }
        let Ok(_permit) = self.control.permit().await else { return };
        let offsets = commit.offsets.iter().map(|(p, offset)| (kafka(p), OffsetAndMetadata::new(*offset))).collect();
        match tokio::time::timeout(self.settings.commit_timeout, self.consumer.commit(offsets)).await {
            Ok(Ok(())) => run.progress.committed(&commit.offsets),
            Ok(Err(error)) => tracing::error!("{}: commit of offsets failed: {error}", self.reports.name()),
            Err(_) => tracing::warn!("{}: Commit of offsets timed out", self.reports.name()),
        }
    }

    /// The end of the task, also of one that failed: what was put is committed.
    async fn close(&mut self, run: &mut Run) -> Result<(), ConnectError> {
        self.control.enter(Activity::Stopping);
        let all = self.assignment(run);
        if all.is_empty() { Ok(()) } else { self.commit_and_close(run, &all).await }
    }

    async fn stop(&mut self, run: &Run) {
        self.control.enter(Activity::Stopping);
        self.context.taken(&self.assignment(run));
        if let Err(error) = self.task.stop().await {
            tracing::warn!("{}: the task failed to stop: {}", self.reports.name(), error.trace());
        }
    }

    fn assignment(&self, run: &Run) -> Vec<TopicPartition> {
        run.progress.partitions().cloned().collect()
    }

    fn pause_all(&self) -> Result<(), ConnectError> {
        for partition in self.consumer.assignment() {
            if_assigned(self.consumer.pause(&[partition]))?;
        }
        Ok(())
    }

    /// Resumes all partitions but those that the task wants paused.
    fn resume_all(&self) -> Result<(), ConnectError> {
        let paused: Vec<_> = self.context.paused().iter().map(kafka).collect();
        for partition in self.consumer.assignment() {
            let changed = if paused.contains(&partition) {
                self.consumer.pause(&[partition])
            } else {
                self.consumer.resume(&[partition])
            };
            if_assigned(changed)?;
        }
        Ok(())
    }

    fn show_idleness(&self, run: &Run) {
        let idle = run.batch.is_empty() && run.progress.is_committed() && self.consumer.caught_up();
        self.counters.idle.store(idle.into(), Relaxed);
    }
}

fn kafka(partition: &TopicPartition) -> consumer::TopicPartition {
    consumer::TopicPartition::new(partition.topic.clone(), partition.partition)
}

fn api(partition: &consumer::TopicPartition) -> TopicPartition {
    TopicPartition::new(partition.topic.clone(), partition.partition)
}

fn api_all(partitions: &[consumer::TopicPartition]) -> Vec<TopicPartition> {
    partitions.iter().map(api).collect()
}

/// The group can take a partition away at any moment; what was wanted of it is void then, and the next poll tells of it.
fn if_assigned(done: Result<(), ConsumerError>) -> Result<(), ConnectError> {
    match done {
        Err(ConsumerError::NotAssigned(_)) => Ok(()),
        done => done.map_err(consumer_error),
    }
}

fn consumer_error(error: ConsumerError) -> ConnectError {
    ConnectError::of_class(error.class(), error.to_string())
}
