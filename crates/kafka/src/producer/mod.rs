//! Sending records: batches in, acknowledgements by ticket out.
//!
//! [`core`] decides what is sent when, without IO; the driver beside it has the socket and the clock. Idempotent unless it is told otherwise: order is
//! kept and nothing is doubled over retries. With `transactional.id` all that is sent belongs to transactions.

mod batch;
pub mod core;
mod driver;
mod figures;
mod partitioner;
mod settings;
mod waits;

pub use batch::{Destination, Draft, Outgoing, ProduceBatch, Ticket};
pub use driver::Producer;
pub use partitioner::{murmur2, partition_of};
pub use settings::{ProducerConfig, Settings};

use std::ops::Range;

use crate::consumer::TopicPartition;

/// Why a producer cannot be made, or takes nothing any more.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProducerError {
    /// The settings do not let a producer be made.
    #[error("{0}")]
    Config(String),
    /// The producer was closed.
    #[error("Cannot perform operation after producer has been closed")]
    Closed,
}

/// What has become of records that were sent.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The records.
    pub tickets: Range<Ticket>,
    /// Partition and offset of the first; the others follow it. Or why they are not there.
    pub outcome: Result<(TopicPartition, i64), DeliveryError>,
}

/// Why a record is not in its topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DeliveryError {
    /// The class of Java's exception.
    pub class: &'static str,
    /// Its message.
    pub message: String,
}
