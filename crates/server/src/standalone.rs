//! A worker on its own: herder, tasks and REST over one offsets file. `kurier standalone` and `kurier dev` both are this.
//!
//! Order matters: the port of REST is taken before the herder starts, because the worker's id is its address, and before it answers, so that a
//! second worker fails at once; the cluster is asked for its id, so that a broker that is away is said at start and not by every task.

use crate::cli::Failure;
use crate::logging;
use crate::rest::{self, Bound, RestConfig, RestServer};
use kurier_api::config::Props;
use kurier_kafka::admin::{Admin, AdminConfig};
use kurier_runtime::config::standalone::StandaloneConfig;
use kurier_runtime::herder::request::ServerInfo;
use kurier_runtime::herder::{
    ConfigResolver, ConnectorFileError, HerderHandle, HerderParts, KafkaSinkGroups, RunningHerder, create_connectors,
};
use kurier_runtime::registry::Registry;
use kurier_runtime::store::FileOffsetStore;
use kurier_runtime::worker::{KafkaClients, LocalWorker, WorkerParts, raise_open_files};
use rustix::fs::Access;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// The version of Apache Kafka Connect that REST states.
const CONNECT_VERSION: &str = "4.3.1";
/// What `GET /` shows as commit: that of Kurier's sources, for there is none of Apache Kafka in it.
const COMMIT: &str = env!("KURIER_COMMIT");
/// What is kept in the offsets file, as in Java whatever the worker's converters are.
const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
/// At least so many threads run plugins, so that one which blocks does not stop the others.
const MIN_PLUGIN_THREADS: usize = 2;

/// A worker at work.
pub(crate) struct Standalone {
    herder: RunningHerder,
    worker: LocalWorker,
    rest: RestServer,
}

impl Standalone {
    /// Starts a worker without connectors.
    pub(crate) async fn start(config: &StandaloneConfig, bound: Bound, plugins: Registry) -> Result<Self, Failure> {
        raise_open_files();
        for (key, meant) in config.unknown_keys() {
            let meant = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
            tracing::warn!("the worker's setting `{key}` is not known{meant}");
        }
        let props = config.props();
        let registry = Arc::new(plugins);
        check_plugins(config, &registry)?;
        let resolver = Arc::new(ConfigResolver::new(&registry, props)?);
        let json = registry.converter(JSON).ok_or_else(|| Failure::new("the JSON converter is not compiled in"))?;
        let offsets = Arc::new(FileOffsetStore::open(config.offsets_file(), &**json)?);
        warn_if_unwritable(&config.offsets_file());
        if !config.parsed().get_list("plugin.path").is_empty() {
            tracing::warn!(
                "`plugin.path`: this version runs native connectors only; Java's plugins there are not loaded"
            );
        }
        let kafka_cluster_id = cluster_id(props).await?;
        let runtime = Handle::current();
        let (reports, events) = mpsc::unbounded_channel();
        let worker = LocalWorker::new(WorkerParts {
            registry: registry.clone(),
            resolver: resolver.clone(),
            props: props.clone(),
            offsets: offsets.clone(),
            clients: Arc::new(KafkaClients),
            runtime: runtime.clone(),
            threads: std::thread::available_parallelism().map_or(1, usize::from).max(MIN_PLUGIN_THREADS),
            events: reports,
        })?;
        let parts = HerderParts {
            worker_id: bound.worker_id().into(),
            registry,
            resolver,
            server_info: ServerInfo { version: CONNECT_VERSION, commit: COMMIT.to_owned(), kafka_cluster_id },
            props: props.clone(),
            offsets,
            sink_groups: Arc::new(KafkaSinkGroups::new(props.clone())),
            worker: Arc::new(worker.clone()),
            events,
        };
        let herder = RunningHerder::start(parts, &runtime);
        let rest = bound.serve(herder.handle(), logging::loggers());
        Ok(Self { herder, worker, rest })
    }

    /// Creates the connectors of the command line; from then on health checks answer.
    pub(crate) async fn create(&self, files: &[PathBuf]) -> Result<(), ConnectorFileError> {
        create_connectors(&self.herder.handle(), files).await?;
        self.herder.ready();
        Ok(())
    }

    /// Where REST answers.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.rest.addresses().first().copied()
    }

    /// Where its separate admin listeners are.
    pub(crate) fn admin_addresses(&self) -> &[SocketAddr] {
        self.rest.admin_addresses()
    }

    /// The way to ask about connectors.
    pub(crate) fn handle(&self) -> HerderHandle {
        self.herder.handle()
    }

    /// What runs the tasks, and counts.
    pub(crate) fn worker(&self) -> &LocalWorker {
        &self.worker
    }

    /// Stops REST, then everything that runs, each within its time.
    pub(crate) async fn stop(self) {
        let herder = self.herder.shutdown();
        tokio::join!(self.rest.stop(), herder);
    }
}

/// Takes the ports of REST.
pub(crate) async fn bind(config: &StandaloneConfig) -> Result<Bound, Failure> {
    Ok(rest::bind(rest_config(config)?).await?)
}

/// The settings of REST among those of a worker.
pub(crate) fn rest_config(config: &StandaloneConfig) -> Result<RestConfig, Failure> {
    Ok(RestConfig::from_settings(|key| config.props().get(key).map(String::as_str))?)
}

/// A worker's converters must be there at start, as in Java.
fn check_plugins(config: &StandaloneConfig, registry: &Registry) -> Result<(), Failure> {
    let parsed = config.parsed();
    let known = [
        ("key.converter", parsed.get_class("key.converter").map(|c| registry.converter(c).is_some())),
        ("value.converter", parsed.get_class("value.converter").map(|c| registry.converter(c).is_some())),
        ("header.converter", parsed.get_class("header.converter").map(|c| registry.header_converter(c).is_some())),
    ];
    for (key, known) in known {
        if known == Some(false) {
            let class = parsed.get_class(key).unwrap_or_default();
            return Err(Failure::new(format!(
                "Invalid value {class} for configuration {key}: Class {class} could not be found."
            )));
        }
    }
    Ok(())
}

/// A worker of sinks alone needs no offsets file, so this is no failure; one with sources would find out late.
fn warn_if_unwritable(offsets: &Path) {
    let folder = offsets.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    if let Err(error) = rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        tracing::warn!(
            "nothing can be written into {} ({error}): sources will not be able to commit their offsets \
             (`offset.storage.file.filename`)",
            folder.display()
        );
    }
}

/// Asks the brokers who they are.
async fn cluster_id(props: &Props) -> Result<String, Failure> {
    let servers = props.get("bootstrap.servers").map_or("localhost:9092", String::as_str);
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(format!(
            "Failed to connect to and describe Kafka cluster at {servers}. Check worker's broker connection and security \
             properties (`bootstrap.servers`): {error}"
        ))
    };
    let config = AdminConfig::parse(props).map_err(|error| failed(&error))?;
    let cluster = Admin::new(config).describe_cluster().await.map_err(|error| failed(&error))?;
    Ok(cluster.id.unwrap_or_default())
}
