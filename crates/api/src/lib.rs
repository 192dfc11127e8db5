//! What a plugin author sees: the data model, records, configuration definitions and the plugin traits.
//!
//! This crate knows no Kafka client, no async runtime and no REST. Connectors, converters and transforms depend on it and on nothing else
//! of Kurier. Read [`plugin`] first for the traits, [`data`] for what flows through them.

pub mod config;
pub mod data;
pub mod error;
pub mod plugin;
pub mod record;
pub mod regex;
pub mod testing;

pub use error::{ConnectError, NextStep};
pub use record::{Headers, Record, SinkRecord, SourceRecord, TopicPartition};
