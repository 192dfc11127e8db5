//! The traits that plugins implement, from [`Source`] and [`Sink`] to [`ConfigProvider`].
//!
//! A plugin *type* ([`Source`], [`Sink`], [`ConverterType`], …) describes itself and makes instances; whoever hands out an instance has configured
//! and started it, so wrong orders of calls do not compile. Values of [`SourceTask`] and [`SinkTask`] are running tasks. Records come in batches;
//! awaits and virtual calls are per batch. Connectors whose client blocks implement the twins in [`blocking`].

pub mod blocking;
mod connector;
mod groups;
mod sink;
mod source;
mod stage;

pub use connector::{
    Connector, ConnectorContext, Descriptor, ExactlyOnceSupport, PluginKind, SameTasks, TransactionBoundaries,
};
pub use groups::group_partitions;
pub use sink::{ErrantRecordReporter, Offsets, Sink, SinkTask, SinkTaskContext};
pub use source::{AckedRecord, Source, SourceOffsets, SourceTask, SourceTaskContext};
pub use stage::{
    ConfigProvider, ConfigProviderType, Converter, ConverterRole, ConverterType, Fate, HeaderConverter,
    HeaderConverterType, PlainConverter, Predicate, PredicateType, Presence, ProvidedConfig, Transform, TransformType,
    Verdict,
};
