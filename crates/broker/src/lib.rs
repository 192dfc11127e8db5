//! A single-node Kafka broker: for `kurier dev`, for tests and for simulation.
//!
//! [`Broker::step`] decides: a request and the time go in, replies come out, records go to a [`Store`]. It knows no socket, no clock and no
//! randomness, so a simulator can drive it, crash it and open it again over what was stored. The `server` module is the rim: it
//! makes the same broker a TCP server ([`Broker::start`]).
//!
//! One node is all there ever is: no replication, no controller, no quorum; replication factors above one are refused. Read on in
//! `broker` (dispatch), `log` (how a partition is kept), `groups` (membership and offsets) and `journal` (everything else that is kept).
//!
//! # What is other than in Apache Kafka
//!
//! Its answers are held against Apache Kafka's by `tests/conformance`. Known to be different, on purpose:
//!
//! - Users may have to say who they are (SASL), and whoever does may do everything: no access control, no quotas. It listens on the loopback
//!   unless told otherwise.
//! - There are no share groups and no streams groups.
//! - A consumer group (KIP-848) computes targets and resolves patterns at once, without `consumer.assignment.interval.ms`; members of the
//!   classic protocol cannot be in it, so that a group changes its protocol only while it is empty.
//! - Compressed records are not opened to see whether they can be read, except in compacted topics, where each must have a key, and where
//!   a topic has a compression of its own.
//! - Compaction works on closed segments, and looks every [`BrokerConfig::housekeeping_interval`].
//! - Configs of replication and tiered storage, of indexes, `preallocate`, `compression.lz4.level` and the delays of
//!   deletion can be set and are shown, and change nothing. Configs of the broker are shown, and cannot be changed while it runs.
//!
//! # Driving it by hand
//!
//! ```
//! use std::time::Duration;
//!
//! use kafka_protocol::messages::{MetadataRequest, RequestKind};
//! use kurier_broker::{Broker, BrokerConfig, ConnectionId, MemoryStore, Now, Reply, Request};
//!
//! let store = MemoryStore::new();
//! let now = Now { elapsed: Duration::ZERO, unix_ms: 1_700_000_000_000 };
//! let mut next_id = 0;
//! let ids = Box::new(move || { next_id += 1; next_id });
//! let mut broker = Broker::open(BrokerConfig::default(), Box::new(store.clone()), ids, now)?;
//!
//! let request = Request {
//!     correlation_id: 7,
//!     api_version: 12,
//!     client_id: "by-hand".to_owned(),
//!     client_host: "/sim".to_owned(),
//!     body: RequestKind::Metadata(MetadataRequest::default()),
//! };
//! let mut replies = Vec::new();
//! broker.step(now, ConnectionId(1), request, &mut replies);
//! assert!(matches!(replies[..], [Reply::Answer { correlation_id: 7, .. }]));
//!
//! // Time passes only when it is told to; a crash is a new broker over the same store.
//! let later = Now { elapsed: broker.next_deadline(), ..now };
//! broker.tick(later, &mut replies);
//! drop(broker);
//! store.crash_machine(|_path, at_risk| at_risk / 2);
//! # Ok::<(), kurier_broker::OpenError>(())
//! ```

mod broker;
mod codec;
mod config;
mod group_config;
mod groups;
mod journal;
mod log;
mod properties;
mod re2;
mod sasl;
mod server;
mod store;
mod topic_config;

pub use broker::{Broker, ConnectionId, IdSource, Now, OpenError, Reply, Request};
pub use config::{BrokerConfig, Data, MigrationPolicy};
pub use sasl::SaslConfig;
pub use server::{Listener, RunningBroker, StartError};
#[cfg(feature = "planted")]
pub use store::PlantedStore;
pub use store::{DiskError, DiskStore, MemoryStore, Store, StoreFile};
