//! What one may ask of a herder and what it answers: the vocabulary of REST, command line and console.
//!
//! Plain data; texts and JSON are made where it is shown. Answers show *raw* configs, with references to config providers unresolved, so that no
//! secret leaves the worker. [`super::HerderHandle`] has a typed method for every [`Request`].

use crate::unit::{ConnectorName, State, TargetState, TaskId};
use indexmap::IndexMap;
use kurier_api::ConnectError;
use kurier_api::plugin::PluginKind;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A config as it was given: keys in order, references unresolved. A null value is kept where validation lets it pass, as in Java.
pub type RawConfig = IndexMap<String, Option<String>>;

/// What one may ask of a herder.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Names of all connectors.
    ListConnectors,
    /// All connectors with what is asked for.
    ExpandConnectors {
        /// With their statuses.
        status: bool,
        /// With their infos.
        info: bool,
    },
    /// Creates a connector.
    CreateConnector {
        /// Its name.
        name: ConnectorName,
        /// Its config, `name` included.
        config: RawConfig,
        /// Running, if none is said.
        initial_state: Option<TargetState>,
        /// Whether an existing one is replaced; else that is a conflict.
        replace: bool,
    },
    /// Sets some settings of a connector and removes those that are null.
    PatchConnector {
        /// Which.
        name: ConnectorName,
        /// The changes.
        patch: RawConfig,
    },
    /// Name, config, tasks, type.
    ConnectorInfo {
        /// Which.
        name: ConnectorName,
    },
    /// The config alone.
    ConnectorConfig {
        /// Which.
        name: ConnectorName,
    },
    /// The configs of the tasks.
    TaskConfigs {
        /// Which connector.
        name: ConnectorName,
    },
    /// Stops and forgets a connector; its offsets stay.
    DeleteConnector {
        /// Which.
        name: ConnectorName,
    },
    /// The status of a connector and its tasks.
    ConnectorStatus {
        /// Which.
        name: ConnectorName,
    },
    /// The status of one task; any number is asked for, as in Java.
    TaskStatus {
        /// Which connector.
        name: ConnectorName,
        /// The task's number as it was given.
        task: i32,
    },
    /// Connector and tasks stay in place and do nothing.
    Pause {
        /// Which.
        name: ConnectorName,
    },
    /// Connector and tasks run.
    Resume {
        /// Which.
        name: ConnectorName,
    },
    /// No tasks; the connector rests.
    Stop {
        /// Which.
        name: ConnectorName,
    },
    /// Restarts the connector, its tasks, or both (KIP-745).
    RestartConnector {
        /// Which.
        name: ConnectorName,
        /// The tasks too.
        include_tasks: bool,
        /// Only what has failed.
        only_failed: bool,
    },
    /// Restarts one task.
    RestartTask {
        /// Which connector.
        name: ConnectorName,
        /// The task's number as it was given.
        task: i32,
    },
    /// The committed offsets.
    Offsets {
        /// Which connector.
        name: ConnectorName,
    },
    /// Changes some committed offsets of a stopped connector.
    AlterOffsets {
        /// Which connector.
        name: ConnectorName,
        /// The new ones; null offsets forget.
        offsets: Vec<ConnectorOffset>,
    },
    /// Forgets all committed offsets of a stopped connector.
    ResetOffsets {
        /// Which connector.
        name: ConnectorName,
    },
    /// The topics that the connector has read or written.
    ActiveTopics {
        /// Which connector.
        name: ConnectorName,
    },
    /// Forgets those topics.
    ResetActiveTopics {
        /// Which connector.
        name: ConnectorName,
    },
    /// The plugins of this worker.
    ListPlugins {
        /// Only sinks and sources.
        connectors_only: bool,
    },
    /// The settings of a plugin.
    PluginConfig {
        /// Class name or alias.
        plugin: String,
        /// A version or a Maven range of versions; none and `latest` take what is there.
        version: Option<String>,
    },
    /// Checks a connector's config without using it.
    ValidateConfig {
        /// Class or alias of the path, only compared with the one in the config.
        plugin: String,
        /// The config.
        config: RawConfig,
    },
    /// Version and cluster.
    ServerInfo,
    /// Answered by a herder that is alive and has created the connectors of its command line.
    Health,
}

/// The answer to a [`Request`]. [`super::HerderHandle`] unwraps it; one variant a kind of answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// Done, nothing to say.
    Done,
    /// Names of connectors.
    Names(Vec<ConnectorName>),
    /// Connectors with what was asked for.
    Expanded(Vec<ExpandedConnector>),
    /// A connector was created or changed.
    Put(PutResult),
    /// A connector's info.
    Info(ConnectorInfo),
    /// A config.
    Config(RawConfig),
    /// Task configs.
    Tasks(Vec<TaskInfo>),
    /// A connector's status.
    Status(ConnectorStatus),
    /// A task's status.
    TaskStatus(TaskStatus),
    /// What a restart does: none for the plain form, which is done by now.
    Restart(Option<ConnectorStatus>),
    /// Committed offsets.
    Offsets(Vec<ConnectorOffset>),
    /// A sentence about what was done.
    Message(String),
    /// Names of topics.
    Topics(Vec<Arc<str>>),
    /// Plugins.
    Plugins(Vec<PluginInfo>),
    /// The settings of a plugin.
    ConfigKeys(Vec<ConfigKeyInfo>),
    /// What validation says.
    Validation(ConfigInfos),
    /// Version and cluster.
    Server(ServerInfo),
}

/// Whether a connector is a source or a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectorType {
    /// Reads an outside system.
    Source,
    /// Writes to one.
    Sink,
    /// Its class is not installed, or its config is gone.
    Unknown,
}

impl ConnectorType {
    /// The name that REST shows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sink => "sink",
            Self::Unknown => "unknown",
        }
    }
}

/// A connector as `GET /connectors/{name}` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectorInfo {
    /// Its name.
    pub name: ConnectorName,
    /// Its raw config.
    pub config: RawConfig,
    /// Its tasks by number.
    pub tasks: Vec<TaskId>,
    /// Source or sink.
    pub kind: ConnectorType,
}

/// A connector was created or changed.
#[derive(Clone, Debug, PartialEq)]
pub struct PutResult {
    /// Whether it is new: 201 instead of 200.
    pub created: bool,
    /// What it is now.
    pub info: ConnectorInfo,
}

/// A task's raw config.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskInfo {
    /// Which.
    pub id: TaskId,
    /// Its config.
    pub config: RawConfig,
}

/// The status of a connector instance or of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitStatus {
    /// The state.
    pub state: State,
    /// The worker that said so.
    pub worker_id: Arc<str>,
    /// The version of its plugin; none if it was never instantiated.
    pub version: Option<String>,
    /// Why it failed.
    pub trace: Option<String>,
}

/// The status of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStatus {
    /// Its number.
    pub id: u32,
    /// Its status.
    pub status: UnitStatus,
}

/// A connector's status as `GET /connectors/{name}/status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorStatus {
    /// Its name.
    pub name: ConnectorName,
    /// The connector itself.
    pub connector: UnitStatus,
    /// Its tasks by number.
    pub tasks: Vec<TaskStatus>,
    /// Source or sink.
    pub kind: ConnectorType,
}

/// A connector with what `expand` asks for; the outer option is none where it was not asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpandedConnector {
    /// Its name.
    pub name: ConnectorName,
    /// Its status.
    pub status: Option<ConnectorStatus>,
    /// Its info.
    pub info: Option<ConnectorInfo>,
}

/// A partition with its offset, both as JSON objects or null.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectorOffset {
    /// The partition.
    pub partition: serde_json::Value,
    /// The offset.
    pub offset: serde_json::Value,
}

/// A plugin as `GET /connector-plugins` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginInfo {
    /// The class name.
    pub class: String,
    /// What it is.
    pub kind: PluginKind,
    /// Its version.
    pub version: String,
}

/// The definition of a setting as REST shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigKeyInfo {
    /// The key.
    pub name: String,
    /// Java's name of the type: `STRING`.
    pub kind: &'static str,
    /// Whether it has no default.
    pub required: bool,
    /// The default as text; passwords are hidden.
    pub default_value: Option<String>,
    /// `HIGH`, `MEDIUM`, `LOW`.
    pub importance: &'static str,
    /// What it means.
    pub documentation: String,
    /// The group in a form.
    pub group: Option<String>,
    /// The place in the group, or −1.
    pub order_in_group: i32,
    /// `NONE`, `SHORT`, `MEDIUM`, `LONG`.
    pub width: &'static str,
    /// The name in a form.
    pub display_name: String,
    /// Keys whose values depend on this one.
    pub dependents: Vec<String>,
}

/// The value of a setting as REST shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigValueInfo {
    /// The key.
    pub name: String,
    /// The value as text; passwords are hidden.
    pub value: Option<String>,
    /// What a form would offer.
    pub recommended_values: Vec<String>,
    /// Every problem.
    pub errors: Vec<String>,
    /// Whether a form shows it.
    pub visible: bool,
}

/// One setting with what validation says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigInfo {
    /// None for a value that nobody defines.
    pub definition: Option<ConfigKeyInfo>,
    /// The value.
    pub value: Option<ConfigValueInfo>,
}

/// What validation says of a connector config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigInfos {
    /// The connector class as it was given.
    pub name: String,
    /// How many errors there are, counted as Java counts.
    pub error_count: usize,
    /// The groups of a form.
    pub groups: Vec<String>,
    /// Every setting in order.
    pub configs: Vec<ConfigInfo>,
}

impl ConfigInfos {
    /// Every error text in order.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        self.configs.iter().filter_map(|config| config.value.as_ref()).flat_map(|v| v.errors.iter().map(String::as_str))
    }
}

/// What `GET /` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// The version of Apache Kafka Connect that we answer like.
    pub version: &'static str,
    /// Ours.
    pub commit: String,
    /// The cluster that the worker uses.
    pub kafka_cluster_id: String,
}

/// What REST makes of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// 400
    BadRequest,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 409
    Conflict,
    /// 500
    Internal,
}

/// Why a request was not answered: Java's text, and what REST makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HerderError {
    kind: ErrorKind,
    class: Cow<'static, str>,
    message: String,
}

impl HerderError {
    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadRequest, "org.apache.kafka.connect.runtime.rest.errors.BadRequestException", message)
    }

    /// The worker's settings forbid it.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, "org.apache.kafka.connect.runtime.rest.errors.ConnectRestException", message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, "org.apache.kafka.connect.errors.NotFoundException", message)
    }

    /// It is there already, or cannot be done now.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, "org.apache.kafka.connect.errors.AlreadyExistsException", message)
    }

    /// Anything else.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, "org.apache.kafka.connect.errors.ConnectException", message)
    }

    fn new(kind: ErrorKind, class: &'static str, message: impl Into<String>) -> Self {
        Self { kind, class: class.into(), message: message.into() }
    }

    /// What REST makes of it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The HTTP status, which is also the `error_code`.
    pub fn status(&self) -> u16 {
        match self.kind {
            ErrorKind::BadRequest => 400,
            ErrorKind::Forbidden => 403,
            ErrorKind::NotFound => 404,
            ErrorKind::Conflict => 409,
            ErrorKind::Internal => 500,
        }
    }

    /// Java's message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The 500 that Java makes of an exception of its validation thread: the message behind the name of its class.
    #[must_use]
    pub fn as_uncaught(self) -> Self {
        Self::internal(format!("{}: {}", self.class, self.message))
    }
}

impl fmt::Display for HerderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for HerderError {}

impl From<ConnectError> for HerderError {
    /// Java's exception mapper: the class decides the status.
    fn from(error: ConnectError) -> Self {
        let kind = match error.class() {
            "org.apache.kafka.connect.errors.NotFoundException" => ErrorKind::NotFound,
            "org.apache.kafka.connect.errors.AlreadyExistsException" => ErrorKind::Conflict,
            "org.apache.kafka.connect.runtime.rest.errors.BadRequestException" => ErrorKind::BadRequest,
            _ => ErrorKind::Internal,
        };
        Self { kind, class: Cow::Owned(error.class().to_owned()), message: error.to_string() }
    }
}
