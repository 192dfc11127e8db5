//! A single-node Kafka broker: for `kurier dev`, for tests and for simulation.
//!
//! [`Broker::step`] decides: a request and the time go in, replies come out, records go to a [`Store`]. It knows no socket, no clock and no
//! randomness, so a simulator can drive it, crash it and open it again over what was stored. The `server` module is the rim: it
//! makes the same broker a TCP server ([`Broker::start`]).
//!
//! One node is all there ever is: no replication, no controller, no quorum; replication factors above one are refused. Read on in
//! `broker` (dispatch), `log` (how a partition is kept), `groups` (membership and offsets) and `journal` (everything else that is kept).

mod broker;
mod codec;
mod config;
mod groups;
mod journal;
mod log;
mod server;
mod store;
mod topic_config;

pub use broker::{Broker, ConnectionId, IdSource, Now, OpenError, Reply, Request};
pub use config::{BrokerConfig, Data};
pub use server::{RunningBroker, StartError};
pub use store::{DiskError, DiskStore, MemoryStore, Store, StoreFile};
