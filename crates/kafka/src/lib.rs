//! How Kurier speaks to a Kafka broker: connections, metadata, record batches, producer, consumer, groups, administration.
//!
//! Decisions are plain state machines (`producer::core`, `group`, …); sockets, clocks and randomness live in the drivers beside them. The crate
//! knows nothing of connectors. Property names and defaults are those of Apache Kafka's Java clients. Start reading at [`wire`] for bytes, at
//! [`net`] and [`security`] for connections, at [`config`] for settings and at [`producer`] for the path of a record.

pub mod admin;
mod backoff;
pub mod batch;
pub mod config;
pub mod consumer;
pub mod error;
pub mod group;
pub mod metrics;
pub mod net;
pub mod producer;
pub mod properties;
pub mod security;
pub mod topic_log;
pub mod wire;
