//! Sinks: connectors that write from Kafka to an outside system.

use super::connector::{Connector, ConnectorContext, Descriptor};
use crate::config::{ConfigDef, ConfigValue, Props};
use crate::error::ConnectError;
use crate::record::{SinkRecord, TopicPartition};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Per partition the offset of the next record to read.
pub type Offsets = BTreeMap<TopicPartition, i64>;

/// A kind of sink connector. Counterpart of Java's `SinkConnector` class (not of its instances).
#[async_trait]
pub trait Sink: Send + Sync {
    /// Class name and version.
    fn descriptor(&self) -> Descriptor;

    /// The settings it takes, beside those of every sink connector.
    fn config(&self) -> &ConfigDef;

    /// Checks settings; may look at the outside system. Every key of [`Self::config`] is in the answer.
    async fn validate(&self, props: &Props) -> Vec<ConfigValue> {
        self.config().validate(props)
    }

    /// Starts a connector.
    ///
    /// # Errors
    /// The connector's status becomes FAILED with them.
    async fn connect(
        &self,
        props: &Props,
        context: Arc<dyn ConnectorContext>,
    ) -> Result<Box<dyn Connector>, ConnectError>;

    /// The Java class name of its tasks, shown as `task.class` in their configs: by default that of the connector with the other ending.
    fn task_class(&self) -> String {
        let class = self.descriptor().class;
        format!("{}Task", class.strip_suffix("Connector").unwrap_or(class))
    }

    /// Starts a task with settings that [`Connector::task_configs`] gave.
    ///
    /// # Errors
    /// The task's status becomes FAILED with them.
    async fn start_task(
        &self,
        props: &Props,
        context: Arc<dyn SinkTaskContext>,
    ) -> Result<Box<dyn SinkTask>, ConnectError>;

    /// Checks offsets that an operator wants to set (none: forget) and tells the outside system; answers whether it did anything.
    ///
    /// # Errors
    /// Offsets that the connector cannot start from.
    async fn alter_offsets(
        &self,
        _props: &Props,
        _offsets: &[(TopicPartition, Option<i64>)],
    ) -> Result<bool, ConnectError> {
        Ok(false)
    }
}

/// Writes the records of some partitions. A value of this type is a running task. Counterpart of Java's `SinkTask`.
#[async_trait]
pub trait SinkTask: Send {
    /// These partitions are now this task's.
    ///
    /// # Errors
    /// They fail the task.
    async fn open(&mut self, _partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        Ok(())
    }

    /// Takes a batch, in order per partition; empty from time to time so that a task can act on its clock.
    ///
    /// # Errors
    /// [`crate::NextStep::Retry`] pauses all partitions and brings the same batch again; anything else fails the task.
    async fn put(&mut self, records: &[SinkRecord]) -> Result<(), ConnectError>;

    /// Makes everything put so far safe and says which offsets may be committed, at most `offsets`. By default all.
    ///
    /// # Errors
    /// Reading goes back to the last committed offsets.
    async fn pre_commit(&mut self, offsets: &Offsets) -> Result<Offsets, ConnectError> {
        Ok(offsets.clone())
    }

    /// These partitions are no longer this task's.
    ///
    /// # Errors
    /// They fail the task.
    async fn close(&mut self, _partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        Ok(())
    }

    /// Ends the task. Nothing is called afterwards.
    ///
    /// # Errors
    /// They are logged.
    async fn stop(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }
}

/// What a sink task may ask of the worker. Requests take effect before the next batch.
pub trait SinkTaskContext: Send + Sync {
    /// The connector's name.
    fn connector(&self) -> &str;

    /// The task's number, from 0.
    fn task(&self) -> u32;

    /// The partitions that are this task's now.
    fn assignment(&self) -> Vec<TopicPartition>;

    /// Goes on reading a partition at this offset.
    fn offset(&self, partition: &TopicPartition, offset: i64);

    /// Waits at most this long before the next call of `put`, once.
    fn timeout(&self, wait: Duration);

    /// Stops reading these partitions until they are resumed.
    ///
    /// # Errors
    /// `IllegalWorkerStateException` if one is not assigned.
    fn pause(&self, partitions: &[TopicPartition]) -> Result<(), ConnectError>;

    /// Goes on reading these partitions.
    ///
    /// # Errors
    /// `IllegalWorkerStateException` if one is not assigned.
    fn resume(&self, partitions: &[TopicPartition]) -> Result<(), ConnectError>;

    /// Asks for a commit soon.
    fn request_commit(&self);

    /// Where to report records that the task cannot write; none if the connector has neither a dead letter queue nor error logging.
    fn reporter(&self) -> Option<Arc<dyn ErrantRecordReporter>>;
}

/// Takes records that a sink task could not write (KIP-610).
#[async_trait]
pub trait ErrantRecordReporter: Send + Sync {
    /// Returns once the report is safe (in the dead letter queue, in the log).
    ///
    /// # Errors
    /// `Tolerance exceeded in error handler` if `errors.tolerance` is `none`; the task fails then even if it swallows this.
    async fn report(&self, record: &SinkRecord, error: ConnectError) -> Result<(), ConnectError>;
}
