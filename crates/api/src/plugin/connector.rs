//! What source and sink connectors share.

use crate::config::Props;
use crate::error::ConnectError;
use crate::record::{SourceOffset, SourcePartition};
use async_trait::async_trait;

/// The kinds of plugins, in the order in which Java sorts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum PluginKind {
    Source,
    Sink,
    Converter,
    HeaderConverter,
    Transformation,
    Predicate,
    ConfigProvider,
    RestExtension,
    OverridePolicy,
}

impl PluginKind {
    /// The name that REST shows as `type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sink => "sink",
            Self::Converter => "converter",
            Self::HeaderConverter => "header_converter",
            Self::Transformation => "transformation",
            Self::Predicate => "predicate",
            Self::ConfigProvider => "configprovider",
            Self::RestExtension => "rest_extension",
            Self::OverridePolicy => "connector_client_config_override_policy",
        }
    }
}

/// Who a plugin is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Descriptor {
    /// The Java class name that it answers to.
    pub class: &'static str,
    /// Its version as REST shows it.
    pub version: &'static str,
}

/// A running connector: decides what its tasks do, moves no records.
#[async_trait]
pub trait Connector: Send {
    /// The settings of at most `max` tasks, in the order of their numbers.
    ///
    /// # Errors
    /// Whatever keeps the connector from knowing; the worker tries again.
    async fn task_configs(&mut self, max: usize) -> Result<Vec<Props>, ConnectError>;

    /// Ends whatever the connector does beside its tasks.
    ///
    /// # Errors
    /// They are shown in the connector's status; it counts as stopped all the same.
    async fn stop(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }
}

/// A running connector that has nothing to decide: its tasks get its own settings.
#[derive(Clone, Debug)]
pub struct SameTasks {
    props: Props,
    most: usize,
}

impl SameTasks {
    /// One task, however many are allowed: for what cannot be shared.
    pub fn one(props: &Props) -> Box<dyn Connector> {
        Box::new(Self { props: props.clone(), most: 1 })
    }

    /// As many tasks as are allowed: for sinks, whose tasks share the partitions of their topics.
    pub fn as_allowed(props: &Props) -> Box<dyn Connector> {
        Box::new(Self { props: props.clone(), most: usize::MAX })
    }
}

#[async_trait]
impl Connector for SameTasks {
    async fn task_configs(&mut self, max: usize) -> Result<Vec<Props>, ConnectError> {
        Ok(vec![self.props.clone(); max.min(self.most)])
    }
}

/// What a connector may ask of the worker.
#[async_trait]
pub trait ConnectorContext: Send + Sync {
    /// The connector's name.
    fn connector(&self) -> &str;

    /// Asks the worker to call [`Connector::task_configs`] again.
    fn request_task_reconfiguration(&self);

    /// Fails the connector from a thread or task of its own; its tasks go on.
    fn raise_error(&self, error: ConnectError);

    /// The committed offsets of these partitions, in the same order; none where nothing is committed. Empty for sinks.
    ///
    /// # Errors
    /// If the offset store cannot be read.
    async fn offsets(&self, partitions: &[SourcePartition]) -> Result<Vec<Option<SourceOffset>>, ConnectError>;
}

/// Whether a source can be exactly once. Java's `ExactlyOnceSupport`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ExactlyOnceSupport {
    Supported,
    Unsupported,
}

/// Whether a source can say where transactions end. Java's `ConnectorTransactionBoundaries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TransactionBoundaries {
    Supported,
    Unsupported,
}
