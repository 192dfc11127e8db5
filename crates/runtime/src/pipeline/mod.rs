//! How records move: from a source task into Kafka, and from Kafka into a sink task.
//!
//! Read [`ledger`] for what may be committed of a source, [`progress`] for what may be committed of a sink, [`tolerance`] for what happens to a record
//! that a stage cannot take, [`dead_letter`] for where it goes, [`topics`] for the topics that a source makes,
//! [`stages`] for transforms and converters, [`control`] for how a task is told to stop.

pub mod context;
pub mod control;
pub mod dead_letter;
pub mod decode;
pub mod encode;
pub mod errors;
pub mod ledger;
pub mod outlet;
pub mod progress;
pub mod sink;
pub mod source;
pub mod stages;
pub mod tolerance;
pub mod topics;
