//! Sources: connectors that read an outside system into Kafka.

use super::connector::{Connector, ConnectorContext, Descriptor, ExactlyOnceSupport, TransactionBoundaries};
use crate::config::{ConfigDef, ConfigValue, Props};
use crate::error::ConnectError;
use crate::record::{SourceOffset, SourcePartition, SourceRecord};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Instant;

/// A kind of source connector. Counterpart of Java's `SourceConnector` class (not of its instances).
#[async_trait]
pub trait Source: Send + Sync {
    /// Class name and version.
    fn descriptor(&self) -> Descriptor;

    /// The settings it takes, beside those of every source connector.
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
        context: Arc<dyn SourceTaskContext>,
    ) -> Result<Box<dyn SourceTask>, ConnectError>;

    /// Whether these settings allow exactly once; none if the connector does not say.
    fn exactly_once_support(&self, _props: &Props) -> Option<ExactlyOnceSupport> {
        None
    }

    /// Whether a task of these settings can say where transactions end.
    fn can_define_transaction_boundaries(&self, _props: &Props) -> TransactionBoundaries {
        TransactionBoundaries::Unsupported
    }

    /// Checks offsets that an operator wants to set (none: forget) and tells the outside system; answers whether it did anything.
    ///
    /// # Errors
    /// Offsets that the connector cannot start from.
    async fn alter_offsets(
        &self,
        _props: &Props,
        _offsets: &[(SourcePartition, Option<SourceOffset>)],
    ) -> Result<bool, ConnectError> {
        Ok(false)
    }
}

/// The newest committed offset of every partition that moved.
pub type SourceOffsets = [(SourcePartition, SourceOffset)];

/// A record that Kafka has acknowledged, or that was dropped on the way.
#[derive(Clone, Debug)]
pub struct AckedRecord {
    /// The record as the task returned it, before transforms.
    pub record: SourceRecord,
    /// Topic, partition and offset in Kafka; none if it was dropped.
    pub delivered: Option<(crate::TopicPartition, i64)>,
}

/// Reads one share of an outside system. A value of this type is a running task. Counterpart of Java's `SourceTask`.
#[async_trait]
pub trait SourceTask: Send {
    /// Waits for the next batch until `deadline`; an empty one means "nothing yet", never "finished".
    ///
    /// The runtime never drops this future while the task lives: it calls `committed`, `acked` and `stop` between polls. A poll returns at its
    /// deadline, which is at most a second away.
    ///
    /// # Errors
    /// [`crate::NextStep::Retry`] counts as an empty batch; anything else fails the task.
    async fn poll(&mut self, deadline: Instant) -> Result<Vec<SourceRecord>, ConnectError>;

    /// Everything up to `offsets` is durable in Kafka: the outside system may forget it.
    ///
    /// # Errors
    /// They are logged.
    async fn committed(&mut self, _offsets: &SourceOffsets) -> Result<(), ConnectError> {
        Ok(())
    }

    /// Whether [`Self::acked`] shall be called: it costs a copy of every record.
    fn wants_acks(&self) -> bool {
        false
    }

    /// These records are acknowledged or dropped. Java's `commitRecord`, by the batch.
    ///
    /// # Errors
    /// They are logged.
    async fn acked(&mut self, _records: &[AckedRecord]) -> Result<(), ConnectError> {
        Ok(())
    }

    /// Whether the outside system has nothing more for now, as far as the task knows: lets `kurier dev --until-idle` end. None: it cannot say.
    fn is_idle(&self) -> Option<bool> {
        None
    }

    /// Ends the task. Nothing is called afterwards.
    ///
    /// # Errors
    /// They are logged.
    async fn stop(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }
}

/// What a source task may ask of the worker.
#[async_trait]
pub trait SourceTaskContext: Send + Sync {
    /// The connector's name.
    fn connector(&self) -> &str;

    /// The task's number, from 0.
    fn task(&self) -> u32;

    /// The committed offsets of these partitions, in the same order; none where nothing is committed.
    ///
    /// # Errors
    /// If the offset store cannot be read.
    async fn offsets(&self, partitions: &[SourcePartition]) -> Result<Vec<Option<SourceOffset>>, ConnectError>;

    /// Waits: the way for an asynchronous task to reach its poll deadline without knowing the worker's runtime. Returns early when the task is
    /// asked to stop, to pause or to go on.
    async fn sleep_until(&self, deadline: Instant);
}
