//! The words in which herder and worker speak: what runs, what it shall do, what has become of it.
//!
//! A *unit* is a connector or a task. The herder tells the worker to start, pause, resume and stop units; the worker reports with [`UnitEvent`]s.

use crate::herder::request::RawConfig;
use async_trait::async_trait;
use kurier_api::ConnectError;
use kurier_api::config::Props;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::mpsc;

/// A connector's name; any non-empty text, as Java allows.
pub type ConnectorName = Arc<str>;

/// A task of a connector. Java's `ConnectorTaskId`, printed `name-0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The connector.
    pub connector: ConnectorName,
    /// The task's number, from 0.
    pub task: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.connector, self.task)
    }
}

/// What the operator wants of a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TargetState {
    /// Connector and tasks run.
    #[default]
    Started,
    /// They stay in place and do nothing.
    Paused,
    /// There are no tasks, and the connector rests.
    Stopped,
}

/// What a status says of a unit. Java's `AbstractStatus.State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum State {
    Unassigned,
    Running,
    Paused,
    Stopped,
    Failed,
    Restarting,
}

impl State {
    /// The name in REST and in the status topic: `RUNNING`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unassigned => "UNASSIGNED",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Stopped => "STOPPED",
            Self::Failed => "FAILED",
            Self::Restarting => "RESTARTING",
        }
    }
}

/// A connector instance or a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitId {
    /// The connector itself.
    Connector(ConnectorName),
    /// One of its tasks.
    Task(TaskId),
}

/// Tells one life of a unit from the next: events of an abandoned life are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A life that shall begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Of which unit.
    pub unit: UnitId,
    /// Which life of it.
    pub epoch: Epoch,
    /// What it shall do.
    pub target: TargetState,
    /// The connector's raw config; the worker resolves it with [`crate::herder::ConfigResolver`], and a config that cannot be resolved is a failed start.
    pub connector: Arc<RawConfig>,
    /// The task's raw config; none for a connector.
    pub task: Option<Arc<RawConfig>>,
}

/// What a herder may tell a worker. The orders return at once, whatever plugins do; what becomes of them comes back as [`UnitEvent`]s.
///
/// The herder keeps to this: one life of a unit at a time ([`UnitEvent::Ended`] before the next [`Worker::start`]), orders for a life only between its
/// start and its stop, and `stop` once.
#[async_trait]
pub trait Worker: Send + Sync {
    /// Begins a life.
    fn start(&self, start: Start);

    /// Says what a life shall do from now on; the last word counts. Also while it starts, and for one that has failed, where it changes nothing.
    fn set_target(&self, unit: &UnitId, epoch: Epoch, target: TargetState);

    /// Ends a life. [`UnitEvent::Ended`] follows in any case, in bounded time.
    fn stop(&self, unit: &UnitId, epoch: Epoch);

    /// Asks a running connector for the configs of at most `max` tasks. Bounded in time: a hung connector is an error.
    ///
    /// # Errors
    /// Those of the connector; and if this life is over.
    async fn task_configs(
        &self,
        connector: &ConnectorName,
        epoch: Epoch,
        max: usize,
    ) -> Result<Vec<Props>, ConnectError>;
}

/// Where a worker reports. Unbounded, so that reporting never waits; bounded by what is reported: a few events a life, a topic once a life, and one
/// [`UnitEvent::ReconfigurationRequested`] per request, which the worker passes on at most once until [`Worker::task_configs`] was called.
pub type UnitEvents = mpsc::UnboundedSender<UnitEvent>;

/// What the worker reports to the herder.
#[derive(Clone, Debug)]
pub enum UnitEvent {
    /// The unit's plugin was found and made. Comes before the first state, unless the start fails earlier, on the config.
    Instantiated {
        /// Which.
        unit: UnitId,
        /// Which life of it.
        epoch: Epoch,
        /// The version of the plugin, shown in statuses.
        version: Arc<str>,
    },
    /// The unit reached a state: running, paused, stopped (a connector that rests, target state [`TargetState::Stopped`]), or failed with its error.
    State {
        /// Which.
        unit: UnitId,
        /// Which life of it.
        epoch: Epoch,
        /// The state.
        state: State,
        /// Why it failed.
        error: Option<ConnectError>,
    },
    /// The last word of every life that was asked to stop, also of one that failed before: nothing of it runs any more, or it did not end in time,
    /// is abandoned and can do no harm. Only then may the next life of the unit start.
    Ended {
        /// Which.
        unit: UnitId,
        /// Which life of it.
        epoch: Epoch,
    },
    /// A connector asks to be asked for its task configs again.
    ReconfigurationRequested {
        /// Which.
        connector: ConnectorName,
        /// Which life of it.
        epoch: Epoch,
    },
    /// A task read from or wrote to a topic for the first time in its life.
    TopicActive {
        /// Which task.
        task: TaskId,
        /// The topic.
        topic: Arc<str>,
    },
}

/// What a task counts, read by status pages and metrics. Relaxed counters: each is exact, together they are a blurred picture.
#[derive(Debug, Default)]
pub struct TaskCounters {
    /// Records polled by a source or read by a sink.
    pub records_in: AtomicU64,
    /// Records acknowledged by Kafka, or put by the sink task.
    pub records_out: AtomicU64,
    /// Bytes written to or read from Kafka.
    pub bytes: AtomicU64,
    /// Records dropped by transforms.
    pub dropped: AtomicU64,
    /// Records given up under `errors.tolerance`.
    pub failed: AtomicU64,
    /// Records written to the dead letter queue.
    pub dead_letters: AtomicU64,
    /// 1 while the task has nothing to do: a source that read everything and had it acknowledged and committed, a sink that caught up and committed.
    pub idle: AtomicU64,
    /// 1 if a source does not know when it has nothing to do: then it is never idle.
    pub idle_unknown: AtomicU64,
}
