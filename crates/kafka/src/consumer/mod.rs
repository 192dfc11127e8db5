//! The consumer: assigned partitions or a group's share, handed over as whole batches.

mod assignor;
mod fetched;
mod settings;
mod types;

pub use assignor::{Assignor, Subscriber};
pub use fetched::{FetchedBatch, OpenBatch, OpenIter, Polled};
pub use settings::Settings;
pub use types::{
    ConsumerError, Isolation, OffsetAndMetadata, OffsetAndTimestamp, OffsetReset, OffsetSpec, Offsets, RebalanceEvent,
    Subscription, TopicFilter, TopicPartition,
};
