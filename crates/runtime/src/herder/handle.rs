//! The way in: one async method per request, answered by the herder's driver.

use super::request::{
    ConfigInfos, ConfigKeyInfo, ConnectorInfo, ConnectorOffset, ConnectorStatus, ExpandedConnector, HerderError,
    PluginInfo, PutResult, RawConfig, Request, Response, ServerInfo, TaskInfo, TaskStatus,
};
use crate::unit::{ConnectorName, TargetState};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A request on its way to the driver.
#[derive(Debug)]
pub(crate) struct Call {
    /// What is asked.
    pub(crate) request: Request,
    /// Where the answer goes.
    pub(crate) reply: oneshot::Sender<Result<Response, HerderError>>,
}

/// Requests waiting for the driver; it takes them at once, so more than a few means that it is gone.
pub(crate) const QUEUED_REQUESTS: usize = 1_000;

/// Asks a herder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HerderHandle {
    calls: mpsc::Sender<Call>,
}

/// The herder ended before it answered. Java's text.
fn shutting_down() -> HerderError {
    HerderError::internal("Worker is shutting down")
}

macro_rules! typed {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $answer:ty {
        $request:expr => $pattern:pat => $value:expr
    })*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// As REST shows them.
        pub async fn $name(&self, $($arg: $type),*) -> Result<$answer, HerderError> {
            match self.request($request).await? {
                $pattern => Ok($value),
                other => unreachable!("a herder answers every request in kind, not with {other:?}"),
            }
        }
    )*};
}

impl HerderHandle {
    /// A handle and the end from which the driver takes calls.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Call>) {
        let (calls, receiver) = mpsc::channel(QUEUED_REQUESTS);
        (Self { calls }, receiver)
    }

    /// Asks anything.
    ///
    /// # Errors
    /// As REST shows them; at the latest after 90 seconds.
    pub async fn request(&self, request: Request) -> Result<Response, HerderError> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(Call { request, reply }).await.map_err(|_| shutting_down())?;
        answer.await.map_err(|_| shutting_down())?
    }

    typed! {
        /// Names of all connectors.
        connectors() -> Vec<ConnectorName> { Request::ListConnectors => Response::Names(names) => names }
        /// All connectors with status, info, or both; those without a status are left out.
        expand_connectors(status: bool, info: bool) -> Vec<ExpandedConnector> {
            Request::ExpandConnectors { status, info } => Response::Expanded(all) => all
        }
        /// Creates a connector, or replaces one if `replace` is said.
        put_connector(
            name: ConnectorName, config: RawConfig, initial_state: Option<TargetState>, replace: bool
        ) -> PutResult {
            Request::CreateConnector { name, config, initial_state, replace } => Response::Put(result) => result
        }
        /// Sets some settings of a connector and removes those that are null.
        patch_connector(name: ConnectorName, patch: RawConfig) -> ConnectorInfo {
            Request::PatchConnector { name, patch } => Response::Put(result) => result.info
        }
        /// Name, config, tasks, type.
        connector_info(name: ConnectorName) -> ConnectorInfo {
            Request::ConnectorInfo { name } => Response::Info(info) => info
        }
        /// The raw config.
        connector_config(name: ConnectorName) -> RawConfig {
            Request::ConnectorConfig { name } => Response::Config(config) => config
        }
        /// The raw configs of the tasks.
        task_configs(name: ConnectorName) -> Vec<TaskInfo> {
            Request::TaskConfigs { name } => Response::Tasks(tasks) => tasks
        }
        /// Stops and forgets a connector; its offsets stay.
        delete_connector(name: ConnectorName) -> () { Request::DeleteConnector { name } => Response::Done => () }
        /// The status of a connector and its tasks.
        connector_status(name: ConnectorName) -> ConnectorStatus {
            Request::ConnectorStatus { name } => Response::Status(status) => status
        }
        /// The status of one task.
        task_status(name: ConnectorName, task: i32) -> TaskStatus {
            Request::TaskStatus { name, task } => Response::TaskStatus(status) => status
        }
        /// Connector and tasks stay in place and do nothing.
        pause(name: ConnectorName) -> () { Request::Pause { name } => Response::Done => () }
        /// Connector and tasks run.
        resume(name: ConnectorName) -> () { Request::Resume { name } => Response::Done => () }
        /// No tasks; the connector rests.
        stop(name: ConnectorName) -> () { Request::Stop { name } => Response::Done => () }
        /// Restarts the connector, its tasks, or both; answers the plan unless both flags are false.
        restart_connector(name: ConnectorName, include_tasks: bool, only_failed: bool) -> Option<ConnectorStatus> {
            Request::RestartConnector { name, include_tasks, only_failed } => Response::Restart(plan) => plan
        }
        /// Restarts one task.
        restart_task(name: ConnectorName, task: i32) -> () {
            Request::RestartTask { name, task } => Response::Done => ()
        }
        /// The committed offsets.
        offsets(name: ConnectorName) -> Vec<ConnectorOffset> {
            Request::Offsets { name } => Response::Offsets(offsets) => offsets
        }
        /// Changes some committed offsets of a stopped connector; answers what to tell the operator.
        alter_offsets(name: ConnectorName, offsets: Vec<ConnectorOffset>) -> String {
            Request::AlterOffsets { name, offsets } => Response::Message(text) => text
        }
        /// Forgets all committed offsets of a stopped connector; answers what to tell the operator.
        reset_offsets(name: ConnectorName) -> String {
            Request::ResetOffsets { name } => Response::Message(text) => text
        }
        /// The topics that the connector has read or written.
        active_topics(name: ConnectorName) -> Vec<Arc<str>> {
            Request::ActiveTopics { name } => Response::Topics(topics) => topics
        }
        /// Forgets those topics.
        reset_active_topics(name: ConnectorName) -> () {
            Request::ResetActiveTopics { name } => Response::Done => ()
        }
        /// The plugins of this worker.
        plugins(connectors_only: bool) -> Vec<PluginInfo> {
            Request::ListPlugins { connectors_only } => Response::Plugins(plugins) => plugins
        }
        /// The settings of a plugin.
        plugin_config(plugin: String, version: Option<String>) -> Vec<ConfigKeyInfo> {
            Request::PluginConfig { plugin, version } => Response::ConfigKeys(keys) => keys
        }
        /// Checks a connector's config without using it.
        validate(plugin: String, config: RawConfig) -> ConfigInfos {
            Request::ValidateConfig { plugin, config } => Response::Validation(infos) => infos
        }
        /// Version and cluster.
        server_info() -> ServerInfo { Request::ServerInfo => Response::Server(info) => info }
        /// Answers when the herder is alive.
        health() -> () { Request::Health => Response::Done => () }
    }
}
