//! Contexts that stand for a worker.

use crate::error::ConnectError;
use crate::plugin::{ConnectorContext, ErrantRecordReporter, Offsets, SinkTaskContext, SourceTaskContext};
use crate::record::{SinkRecord, SourceOffset, SourcePartition, SourceRecord, TopicPartition};
use async_trait::async_trait;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a task looks for while it sleeps.
const NAP: Duration = Duration::from_millis(2);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connector's context that remembers what was asked.
#[derive(Default)]
pub struct TestConnectorContext {
    asked: Mutex<(u32, Option<ConnectError>)>,
}

impl TestConnectorContext {
    /// A context of a connector named `test` without offsets.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// How often new task configs were asked for.
    pub fn reconfigurations(&self) -> u32 {
        lock(&self.asked).0
    }

    /// The last error that was raised.
    pub fn raised(&self) -> Option<ConnectError> {
        lock(&self.asked).1.clone()
    }
}

#[async_trait]
impl ConnectorContext for TestConnectorContext {
    fn connector(&self) -> &str {
        "test"
    }

    fn request_task_reconfiguration(&self) {
        lock(&self.asked).0 += 1;
    }

    fn raise_error(&self, error: ConnectError) {
        lock(&self.asked).1 = Some(error);
    }

    async fn offsets(&self, partitions: &[SourcePartition]) -> Result<Vec<Option<SourceOffset>>, ConnectError> {
        Ok(vec![None; partitions.len()])
    }
}

/// A source task's context with offsets in memory.
#[derive(Default)]
pub struct TestSourceContext {
    state: Mutex<(HashMap<SourcePartition, SourceOffset>, bool)>,
}

impl TestSourceContext {
    /// A context of task 0 of a connector named `test`; these records count as delivered and committed.
    pub fn after(records: &[SourceRecord]) -> Arc<Self> {
        let context = Self::default();
        for record in records {
            if let (Some(partition), Some(offset)) = (&record.source_partition, &record.source_offset) {
                lock(&context.state).0.insert(partition.clone(), offset.clone());
            }
        }
        Arc::new(context)
    }

    /// Ends every sleep of the task, now and later, as a worker does that wants it to stop.
    pub fn stop(&self) {
        lock(&self.state).1 = true;
    }
}

#[async_trait]
impl SourceTaskContext for TestSourceContext {
    fn connector(&self) -> &str {
        "test"
    }

    fn task(&self) -> u32 {
        0
    }

    async fn offsets(&self, partitions: &[SourcePartition]) -> Result<Vec<Option<SourceOffset>>, ConnectError> {
        let state = lock(&self.state);
        Ok(partitions.iter().map(|partition| state.0.get(partition).cloned()).collect())
    }

    async fn sleep_until(&self, deadline: Instant) {
        while Instant::now() < deadline && !lock(&self.state).1 {
            std::thread::sleep(NAP.min(deadline.saturating_duration_since(Instant::now())));
        }
    }
}

/// A sink task's context that remembers what was asked.
#[derive(Default)]
pub struct TestSinkContext {
    state: Mutex<SinkAsked>,
    reports: Option<Arc<Reports>>,
}

#[derive(Default)]
struct SinkAsked {
    assignment: BTreeSet<TopicPartition>,
    paused: BTreeSet<TopicPartition>,
    rewinds: Offsets,
    timeout: Option<Duration>,
    commits: u32,
}

/// Records that were reported, with their errors.
#[derive(Default)]
struct Reports(Mutex<Vec<(SinkRecord, ConnectError)>>);

impl TestSinkContext {
    /// A context of task 0 of a connector named `test` that takes no reports of errant records.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A context that takes reports of errant records.
    pub fn with_reporter() -> Arc<Self> {
        Arc::new(Self { reports: Some(Arc::default()), ..Self::default() })
    }

    /// Makes these the task's partitions; call it before `open` and after `close`.
    pub fn assign(&self, partitions: impl IntoIterator<Item = TopicPartition>) {
        lock(&self.state).assignment = partitions.into_iter().collect();
    }

    /// Where the task asked to read on.
    pub fn rewinds(&self) -> Offsets {
        lock(&self.state).rewinds.clone()
    }

    /// How long the task asked to wait last.
    pub fn last_timeout(&self) -> Option<Duration> {
        lock(&self.state).timeout
    }

    /// How often the task asked for a commit.
    pub fn commit_requests(&self) -> u32 {
        lock(&self.state).commits
    }

    /// The partitions that the task paused.
    pub fn paused(&self) -> Vec<TopicPartition> {
        lock(&self.state).paused.iter().cloned().collect()
    }

    /// What the task reported.
    pub fn reported(&self) -> Vec<(SinkRecord, ConnectError)> {
        self.reports.as_ref().map(|reports| lock(&reports.0).clone()).unwrap_or_default()
    }

    fn assigned(&self, partitions: &[TopicPartition], verb: &str) -> Result<MutexGuard<'_, SinkAsked>, ConnectError> {
        let state = lock(&self.state);
        if partitions.iter().all(|partition| state.assignment.contains(partition)) {
            return Ok(state);
        }
        Err(ConnectError::illegal_worker_state(format!(
            "SinkTasks may not {verb} partitions that are not currently assigned to them."
        )))
    }
}

impl SinkTaskContext for TestSinkContext {
    fn connector(&self) -> &str {
        "test"
    }

    fn task(&self) -> u32 {
        0
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        lock(&self.state).assignment.iter().cloned().collect()
    }

    fn offset(&self, partition: &TopicPartition, offset: i64) {
        lock(&self.state).rewinds.insert(partition.clone(), offset);
    }

    fn timeout(&self, wait: Duration) {
        lock(&self.state).timeout = Some(wait);
    }

    fn pause(&self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        self.assigned(partitions, "pause")?.paused.extend(partitions.iter().cloned());
        Ok(())
    }

    fn resume(&self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        self.assigned(partitions, "resume")?.paused.retain(|partition| !partitions.contains(partition));
        Ok(())
    }

    fn request_commit(&self) {
        lock(&self.state).commits += 1;
    }

    fn reporter(&self) -> Option<Arc<dyn ErrantRecordReporter>> {
        self.reports.clone().map(|reports| reports as _)
    }
}

#[async_trait]
impl ErrantRecordReporter for Reports {
    async fn report(&self, record: &SinkRecord, error: ConnectError) -> Result<(), ConnectError> {
        lock(&self.0).push((record.clone(), error));
        Ok(())
    }
}
