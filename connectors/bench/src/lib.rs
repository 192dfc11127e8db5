//! Connectors that cost next to nothing: what a benchmark of them measures is the worker.
//!
//! Twins of the Java classes of the same names in `tests/java/bench`: same keys, same records, same files. Never for production.

mod generator;
mod null_sink;

pub use generator::GenSource;
pub use null_sink::NullSink;

/// The version that both show, as the Java classes do.
const VERSION: &str = "1";
