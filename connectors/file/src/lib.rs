//! The file connectors of Apache Kafka, under their Java names: lines of a file into a topic, records of topics into lines of a file.
//!
//! [`FileStreamSource`] reads, [`FileStreamSink`] writes. Settings, offsets and texts are Java's; beyond Java are the keys that begin with
//! `kurier.`, whole-batch writes and failures where Java loses data silently.

mod json_line;
mod lines;
mod reader;
mod settings;
mod sink;
mod source;
mod writer;

pub use sink::FileStreamSink;
pub use source::FileStreamSource;

/// The version that REST shows: that of the Java connectors.
const VERSION: &str = "4.3.1";
