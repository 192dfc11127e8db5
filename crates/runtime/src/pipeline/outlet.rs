//! The way out to Kafka, as pipelines see it: batches in, acknowledgements by ticket out.
//!
//! A narrow door in front of the producer, so that a pipeline's order of steps can be tested without a broker. Nothing is decided here.

use super::ledger::Ticket;
use async_trait::async_trait;
use kurier_api::{ConnectError, TopicPartition};
pub use kurier_kafka::producer::{Destination, ProduceBatch};
use std::ops::Range;
use std::time::Duration;

/// What has become of records that were sent.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    /// The records.
    pub tickets: Range<Ticket>,
    /// Where they lie: partition and offset of the first; the others follow it. Or why Kafka has not taken them.
    pub outcome: Result<(TopicPartition, i64), ConnectError>,
}

/// Sends batches to Kafka.
#[async_trait]
pub trait Outlet: Send {
    /// Takes a batch, in order behind those before; waits while too much is under way. The batch is empty afterwards.
    ///
    /// # Errors
    /// What keeps any record from being sent; those of single records come as acknowledgements.
    async fn send(&mut self, batch: &mut ProduceBatch) -> Result<(), ConnectError>;

    /// Acknowledgements that have come; waits at most so long for the first. Every record sent gets one.
    async fn acknowledged(&mut self, wait: Duration) -> Vec<Acknowledgement>;

    /// Ends. What is under way then may or may not arrive, and nobody is told.
    async fn close(&mut self);
}
