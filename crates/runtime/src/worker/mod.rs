//! The worker: starts connectors and tasks, holds them apart, and ends them.
//!
//! [`LocalWorker`] does what a herder says ([`crate::unit::Worker`]) and decides nothing. Every life of a unit runs on the threads of [`pool`], under a
//! guard that turns a panic into a failure. A life that does not end within `task.shutdown.graceful.timeout.ms` is abandoned: nothing of it is
//! committed afterwards, its clients are closed with it, and its last words name an epoch that nobody listens to.
//!
//! Read [`connector`](self) for a connector's life and `task` for how a pipeline is put together; [`crate::pipeline`] moves the records.

pub mod assemble;
pub mod clients;
mod connector;
pub(crate) mod guard;
mod kafka;
mod limits;
pub mod pool;
mod reports;
mod task;

pub use kafka::KafkaClients;
pub use limits::raise_open_files;
pub use reports::Reports;

use crate::herder::ConfigResolver;
use crate::pipeline::control::{Control, Order, Orders, orders};
use crate::pipeline::topics::TopicGroups;
use crate::registry::{ConnectorPlugin, Registry};
use crate::store::OffsetStore;
use crate::unit::{ConnectorName, Epoch, Start, State, TargetState, TaskCounters, TaskId, UnitEvents, UnitId, Worker};
use async_trait::async_trait;
use connector::{ConnectorHandle, connector_orders};
use futures::FutureExt;
use kurier_api::ConnectError;
use kurier_api::config::Props;
use parking_lot::Mutex;
use pool::{Pool, Spawned};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How long a connector may take to say what its tasks shall do.
const TASK_CONFIGS_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connector may take to stop. Java's `CONNECTOR_GRACEFUL_SHUTDOWN_TIMEOUT_MS`.
const CONNECTOR_STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// `task.shutdown.graceful.timeout.ms` unless set.
const TASK_STOP_TIMEOUT_MS: u64 = 5_000;

/// What a worker is made of.
pub struct WorkerParts {
    /// The plugins.
    pub registry: Arc<Registry>,
    /// What replaces references in configs.
    pub resolver: Arc<ConfigResolver>,
    /// The worker's settings, as in its properties file.
    pub props: Props,
    /// Where source offsets are kept.
    pub offsets: Arc<dyn OffsetStore>,
    /// What makes Kafka clients.
    pub clients: Arc<dyn clients::Clients>,
    /// The control runtime: sockets and timers.
    pub runtime: Handle,
    /// How many threads run plugins.
    pub threads: usize,
    /// Where it reports.
    pub events: UnitEvents,
}

/// Runs units in this process. Cheap to clone.
#[derive(Clone)]
pub struct LocalWorker(Arc<Inner>);

struct Inner {
    parts: WorkerParts,
    pool: Pool,
    task_stop_timeout: Duration,
    lives: Mutex<BTreeMap<UnitId, Life>>,
}

/// One life of a unit.
struct Life {
    epoch: Epoch,
    orders: Orders,
    connector: Option<ConnectorHandle>,
    counters: Arc<TaskCounters>,
    reports: Reports,
    spawned: Spawned,
    over: watch::Receiver<bool>,
}

impl LocalWorker {
    /// A worker that runs nothing yet.
    ///
    /// # Errors
    /// `ConfigException` for a setting that cannot be read; and if the system gives no threads.
    pub fn new(parts: WorkerParts) -> Result<Self, ConnectError> {
        let stop_ms = assemble::number(&parts.props, "task.shutdown.graceful.timeout.ms", TASK_STOP_TIMEOUT_MS)?;
        let pool = Pool::start(parts.threads, parts.runtime.clone())?;
        let lives = Mutex::default();
        Ok(Self(Arc::new(Inner { parts, pool, task_stop_timeout: Duration::from_millis(stop_ms), lives })))
    }

    /// What a task of this worker counts; none if it has no life here.
    pub fn counters(&self, task: &TaskId) -> Option<Arc<TaskCounters>> {
        self.0.lives.lock().get(&UnitId::Task(task.clone())).map(|life| life.counters.clone())
    }

    /// What all tasks of this worker count.
    pub fn all_counters(&self) -> Vec<(TaskId, Arc<TaskCounters>)> {
        let lives = self.0.lives.lock();
        lives
            .iter()
            .filter_map(|(unit, life)| match unit {
                UnitId::Task(task) => Some((task.clone(), life.counters.clone())),
                UnitId::Connector(_) => None,
            })
            .collect()
    }

    /// Whether anything has a life here.
    pub fn is_empty(&self) -> bool {
        self.0.lives.lock().is_empty()
    }
}

fn order_for(target: TargetState) -> Order {
    match target {
        TargetState::Started => Order::Run,
        TargetState::Paused => Order::Pause,
        TargetState::Stopped => Order::Stop,
    }
}

#[async_trait]
impl Worker for LocalWorker {
    fn start(&self, start: Start) {
        let Start { unit, epoch, target, .. } = start.clone();
        let inner = self.0.clone();
        let reports = Reports::new(unit.clone(), epoch, inner.parts.events.clone());
        let (orders, control) = orders(order_for(target), inner.parts.runtime.clone());
        let counters = Arc::new(TaskCounters::default());
        let (ended, over) = watch::channel(false);
        let (connector, life): (_, futures::future::BoxFuture<'static, Result<(), ConnectError>>) = match &unit {
            UnitId::Connector(name) => {
                let (handle, orders) = connector_orders(target);
                let life = connector_life(inner.clone(), name.clone(), start, orders, control, reports.clone());
                (Some(handle), life.boxed())
            }
            UnitId::Task(task) => {
                let place =
                    task::Place { task: task.clone(), control, reports: reports.clone(), counters: counters.clone() };
                (None, task_life(inner.clone(), start, place).boxed())
            }
        };
        let name: Arc<str> = match &unit {
            UnitId::Connector(name) => name.clone(),
            UnitId::Task(task) => task.to_string().into(),
        };
        let watched = orders.clone();
        let guarded = {
            let (name, reports, orders) = (name.clone(), reports.clone(), orders.clone());
            async move {
                let outcome = AssertUnwindSafe(life).catch_unwind().await;
                let outcome = outcome.unwrap_or_else(|panic| Err(guard::panicked(orders.activity().words(), &*panic)));
                if let Err(error) = outcome {
                    tracing::error!("{name} has failed: {}", error.trace());
                    reports.state(State::Failed, Some(error));
                }
                ended.send_replace(true);
            }
        };
        let spawned = inner.pool.spawn(name, move || watched.activity().words(), guarded);
        let life = Life { epoch, orders, connector, counters, reports, spawned, over };
        let before = inner.lives.lock().insert(unit, life);
        if let Some(before) = before {
            // A herder that keeps its word never starts a life beside another.
            debug_assert!(false, "a unit has two lives");
            self.end(before);
        }
    }

    fn set_target(&self, unit: &UnitId, epoch: Epoch, target: TargetState) {
        let lives = self.0.lives.lock();
        let Some(life) = lives.get(unit).filter(|life| life.epoch == epoch) else { return };
        match &life.connector {
            Some(connector) => connector.set_target(target),
            None => life.orders.give(order_for(target)),
        }
    }

    fn stop(&self, unit: &UnitId, epoch: Epoch) {
        let life = {
            let mut lives = self.0.lives.lock();
            if lives.get(unit).is_none_or(|life| life.epoch != epoch) {
                return;
            }
            lives.remove(unit)
        };
        if let Some(life) = life {
            self.end(life);
        }
    }

    async fn task_configs(
        &self,
        connector: &ConnectorName,
        epoch: Epoch,
        max: usize,
    ) -> Result<Vec<Props>, ConnectError> {
        let asked = {
            let lives = self.0.lives.lock();
            let life = lives.get(&UnitId::Connector(connector.clone())).filter(|life| life.epoch == epoch);
            life.and_then(|life| life.connector.as_ref()).map(|connector| connector.ask(max))
        };
        let gone = || ConnectError::not_found(format!("Connector {connector} not found in this worker."));
        let asked = asked.ok_or_else(gone)?;
        match tokio::time::timeout(TASK_CONFIGS_TIMEOUT, asked).await {
            Ok(configs) => configs,
            Err(_) => Err(ConnectError::connect(format!(
                "Connector {connector} has not said within {} s what its tasks shall do",
                TASK_CONFIGS_TIMEOUT.as_secs()
            ))),
        }
    }
}

impl LocalWorker {
    /// Tells a life to end, waits for it as long as it may take, abandons it then.
    fn end(&self, life: Life) {
        let is_connector = life.connector.is_some();
        life.orders.give(Order::Stop);
        if let Some(connector) = &life.connector {
            connector.stop();
        }
        let patience = if is_connector { CONNECTOR_STOP_TIMEOUT } else { self.0.task_stop_timeout };
        self.0.parts.runtime.spawn(async move {
            let Life { orders, reports, spawned, mut over, connector: _connector, .. } = life;
            let ended = tokio::time::timeout(patience, over.wait_for(|over| *over)).await.is_ok();
            if !ended {
                tracing::error!(
                    "Graceful stop of {} failed: it was {} for {} s; it is abandoned",
                    reports.name(),
                    orders.activity().words(),
                    patience.as_secs_f32()
                );
                orders.abandon().await;
                spawned.abandon();
            }
            reports.ended();
        });
    }
}

async fn connector_life(
    inner: Arc<Inner>,
    name: ConnectorName,
    start: Start,
    orders: connector::ConnectorOrders,
    control: Control,
    reports: Reports,
) -> Result<(), ConnectError> {
    let parts = &inner.parts;
    let props = parts.resolver.resolved(&start.connector).await?.props()?;
    let plugin = parts.registry.connector(connector_class(&props)?)?;
    if matches!(plugin, ConnectorPlugin::Source(_)) && assemble::flag(&parts.props, "topic.creation.enable", true)? {
        TopicGroups::parse(&props)?; // Java reads the whole config before it makes the connector.
    }
    reports.instantiated(plugin.descriptor().version);
    connector::run(plugin, props, parts.offsets.clone(), name, orders, control, reports).await
}

async fn task_life(inner: Arc<Inner>, start: Start, place: task::Place) -> Result<(), ConnectError> {
    let parts = &inner.parts;
    let connector = parts.resolver.resolved(&start.connector).await?.props()?;
    let raw = start.task.unwrap_or_else(|| start.connector.clone());
    let task = parts.resolver.resolved(&raw).await?.props()?;
    task::run(parts, &connector, &task, place).await
}

fn connector_class(props: &Props) -> Result<&str, ConnectError> {
    let class = props.get("connector.class").map(|class| class.trim()).filter(|class| !class.is_empty());
    class.ok_or_else(|| {
        ConnectError::config("Missing required configuration \"connector.class\" which has no default value.")
    })
}

#[cfg(test)]
mod tests;
