//! The consumer: assigned partitions or a group's share, handed over as whole batches.

mod assignor;
mod client;
pub mod core;
mod driver;
mod fetched;
pub(crate) mod properties;
mod settings;
mod transport;
mod types;

pub use assignor::{Assignor, Subscriber};
pub use client::Consumer;
pub use driver::{Transport, TransportError};
pub use fetched::{FetchedBatch, OpenBatch, OpenIter, Polled};
pub use properties::ConsumerConfig;
pub use settings::Settings;
pub use transport::{NetSettings, TcpTransport};
pub use types::{
    ConsumerError, Isolation, OffsetAndMetadata, OffsetAndTimestamp, OffsetReset, OffsetSpec, Offsets, RebalanceEvent,
    Subscription, TopicFilter, TopicPartition,
};
