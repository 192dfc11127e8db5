//! What a task may ask of the worker: the contexts of source and sink tasks.
//!
//! A sink task's requests are collected here and taken by its pipeline before the next batch; nothing takes effect in between.

use super::control::Control;
use crate::store::OffsetStore;
use crate::unit::TaskId;
use async_trait::async_trait;
use kurier_api::plugin::{ErrantRecordReporter, Offsets, SinkTaskContext, SourceTaskContext};
use kurier_api::record::{SourceOffset, SourcePartition};
use kurier_api::{ConnectError, TopicPartition};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The context of a source task.
pub struct SourceContext {
    task: TaskId,
    store: Arc<dyn OffsetStore>,
    control: Control,
}

impl SourceContext {
    /// A context that reads committed offsets from `store`.
    pub fn new(task: TaskId, store: Arc<dyn OffsetStore>, control: Control) -> Self {
        Self { task, store, control }
    }
}

#[async_trait]
impl SourceTaskContext for SourceContext {
    fn connector(&self) -> &str {
        &self.task.connector
    }

    fn task(&self) -> u32 {
        self.task.task
    }

    async fn offsets(&self, partitions: &[SourcePartition]) -> Result<Vec<Option<SourceOffset>>, ConnectError> {
        self.store.get(&self.task.connector, partitions).await
    }

    async fn sleep_until(&self, deadline: Instant) {
        self.control.wait_until(deadline).await;
    }
}

/// The context of a sink task, shared between the task and its pipeline.
pub struct SinkContext {
    task: TaskId,
    reporter: Option<Arc<dyn ErrantRecordReporter>>,
    state: Mutex<SinkState>,
}

#[derive(Default)]
struct SinkState {
    assignment: BTreeSet<TopicPartition>,
    paused: BTreeSet<TopicPartition>,
    requests: SinkRequests,
}

/// What a sink task asked for since its pipeline looked last.
#[derive(Debug, Default, PartialEq)]
pub struct SinkRequests {
    /// Where to read on.
    pub rewinds: Offsets,
    /// How long to wait at most before the next `put`.
    pub timeout: Option<Duration>,
    /// Whether to commit now.
    pub commit: bool,
    /// Whether the partitions that the task wants paused have changed.
    pub paused_changed: bool,
}

impl SinkContext {
    /// A context without partitions.
    pub fn new(task: TaskId, reporter: Option<Arc<dyn ErrantRecordReporter>>) -> Self {
        Self { task, reporter, state: Mutex::default() }
    }

    /// These partitions are the task's now, besides those it has.
    pub fn assigned(&self, partitions: &[TopicPartition]) {
        self.state.lock().assignment.extend(partitions.iter().cloned());
    }

    /// These partitions are no longer the task's: requests about them are void.
    pub fn taken(&self, partitions: &[TopicPartition]) {
        let mut state = self.state.lock();
        for partition in partitions {
            state.assignment.remove(partition);
            state.paused.remove(partition);
            state.requests.rewinds.remove(partition);
        }
    }

    /// Takes what was asked for. Rewinds of partitions that are not assigned stay until they are, as in Java.
    pub fn take_requests(&self) -> SinkRequests {
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut requests = std::mem::take(&mut state.requests);
        let (now, later) =
            std::mem::take(&mut requests.rewinds).into_iter().partition(|(p, _)| state.assignment.contains(p));
        requests.rewinds = now;
        state.requests.rewinds = later;
        requests
    }

    /// The partitions that the task wants paused.
    pub fn paused(&self) -> Vec<TopicPartition> {
        self.state.lock().paused.iter().cloned().collect()
    }

    fn change_paused(
        &self,
        partitions: &[TopicPartition],
        verb: &str,
        change: impl FnOnce(&mut BTreeSet<TopicPartition>),
    ) -> Result<(), ConnectError> {
        let mut state = self.state.lock();
        if !partitions.iter().all(|partition| state.assignment.contains(partition)) {
            return Err(ConnectError::illegal_worker_state(format!(
                "SinkTasks may not {verb} partitions that are not currently assigned to them."
            )));
        }
        change(&mut state.paused);
        state.requests.paused_changed = true;
        Ok(())
    }
}

impl SinkTaskContext for SinkContext {
    fn connector(&self) -> &str {
        &self.task.connector
    }

    fn task(&self) -> u32 {
        self.task.task
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.state.lock().assignment.iter().cloned().collect()
    }

    fn offset(&self, partition: &TopicPartition, offset: i64) {
        self.state.lock().requests.rewinds.insert(partition.clone(), offset);
    }

    fn timeout(&self, wait: Duration) {
        self.state.lock().requests.timeout = Some(wait);
    }

    fn pause(&self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        self.change_paused(partitions, "pause", |paused| paused.extend(partitions.iter().cloned()))
    }

    fn resume(&self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        self.change_paused(partitions, "resume", |paused| paused.retain(|partition| !partitions.contains(partition)))
    }

    fn request_commit(&self) {
        self.state.lock().requests.commit = true;
    }

    fn reporter(&self) -> Option<Arc<dyn ErrantRecordReporter>> {
        self.reporter.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_once_and_only_for_partitions_of_the_task() {
        let context = SinkContext::new(TaskId { connector: "c".into(), task: 0 }, None);
        let (a, b) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        context.assigned(std::slice::from_ref(&a));
        assert_eq!(
            context.pause(&[a.clone(), b.clone()]).unwrap_err().message(),
            Some("SinkTasks may not pause partitions that are not currently assigned to them.")
        );
        context.pause(std::slice::from_ref(&a)).unwrap();
        context.offset(&a, 3);
        context.offset(&b, 4);
        context.timeout(Duration::from_millis(7));
        context.request_commit();
        let requests = context.take_requests();
        let rewinds = Offsets::from([(a.clone(), 3)]);
        let timeout = Some(Duration::from_millis(7));
        assert_eq!(requests, SinkRequests { rewinds, timeout, commit: true, paused_changed: true });
        assert_eq!(context.take_requests(), SinkRequests::default());
        context.assigned(std::slice::from_ref(&b));
        assert_eq!(context.take_requests().rewinds, Offsets::from([(b.clone(), 4)]));
        assert_eq!(context.paused(), std::slice::from_ref(&a));
        context.taken(&[a]);
        assert_eq!((context.paused(), context.assignment()), (vec![], vec![b]));
    }
}
