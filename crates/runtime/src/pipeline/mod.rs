//! How records move: from a source task into Kafka, and from Kafka into a sink task.
//!
//! Read [`ledger`] for what may be committed of a source.

pub mod ledger;
