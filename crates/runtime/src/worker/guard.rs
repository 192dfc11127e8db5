//! Plugins whose panics are errors of the call they happened in.
//!
//! So a panic has the consequences that Java gives to an `Error` thrown there: one in `poll` or `put` fails the task, which then still commits what it
//! may and is stopped; one in `committed` or `stop` is logged, and so on. What panics outside such a call (a converter, a transform, we ourselves)
//! ends the life: the task is stopped, and nothing more is committed.

use async_trait::async_trait;
use futures::FutureExt;
use kurier_api::ConnectError;
use kurier_api::config::Props;
use kurier_api::plugin::{AckedRecord, Connector, Offsets, SinkTask, SourceOffsets, SourceTask};
use kurier_api::record::{SinkRecord, SourceRecord, TopicPartition};
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

/// Awaits a call of a plugin; `at` says which.
///
/// # Errors
/// The call's own, and its panic.
pub(super) async fn caught<T>(
    at: &str,
    call: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(at, &*panic)))
}

/// What a status says of a plugin that panicked.
pub(crate) fn panicked(at: &str, panic: &(dyn Any + Send)) -> ConnectError {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    ConnectError::connect(format!("A plugin panicked ({at}): {}", text.unwrap_or("it did not say why")))
}

/// A connector.
pub(super) struct GuardedConnector(pub(super) Box<dyn Connector>);

#[async_trait]
impl Connector for GuardedConnector {
    async fn task_configs(&mut self, max: usize) -> Result<Vec<Props>, ConnectError> {
        caught("making task configs", async { self.0.task_configs(max).await }).await
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        caught("stopping", async { self.0.stop().await }).await
    }
}

/// A source task.
pub(super) struct GuardedSource(pub(super) Box<dyn SourceTask>);

#[async_trait]
impl SourceTask for GuardedSource {
    async fn poll(&mut self, deadline: Instant) -> Result<Vec<SourceRecord>, ConnectError> {
        caught("in poll", async { self.0.poll(deadline).await }).await
    }

    async fn committed(&mut self, offsets: &SourceOffsets) -> Result<(), ConnectError> {
        caught("in committed", async { self.0.committed(offsets).await }).await
    }

    fn wants_acks(&self) -> bool {
        self.0.wants_acks()
    }

    async fn acked(&mut self, records: &[AckedRecord]) -> Result<(), ConnectError> {
        caught("in acked", async { self.0.acked(records).await }).await
    }

    fn is_idle(&self) -> Option<bool> {
        self.0.is_idle()
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        caught("stopping", async { self.0.stop().await }).await
    }
}

/// A sink task.
pub(super) struct GuardedSink(pub(super) Box<dyn SinkTask>);

#[async_trait]
impl SinkTask for GuardedSink {
    async fn open(&mut self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        caught("in open", async { self.0.open(partitions).await }).await
    }

    async fn put(&mut self, records: &[SinkRecord]) -> Result<(), ConnectError> {
        caught("in put", async { self.0.put(records).await }).await
    }

    async fn pre_commit(&mut self, offsets: &Offsets) -> Result<Offsets, ConnectError> {
        caught("in pre_commit", async { self.0.pre_commit(offsets).await }).await
    }

    async fn close(&mut self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        caught("in close", async { self.0.close(partitions).await }).await
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        caught("stopping", async { self.0.stop().await }).await
    }
}
