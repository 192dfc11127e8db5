//! Requests that only ask: answered from what the herder knows, changing nothing.

use super::cluster::Connector;
use super::pending::connector_not_found;
use super::request::{
    ConnectorInfo, ConnectorStatus, ConnectorType, ExpandedConnector, HerderError, Request, Response, TaskInfo,
    TaskStatus,
};
use super::step::Herder;
use super::validate;
use crate::unit::{ConnectorName, TaskId, UnitId};
use kurier_api::plugin::PluginKind;

impl Herder {
    /// The answer to a request that changes nothing and needs nobody else.
    pub(super) fn look_up(&self, request: Request) -> Result<Response, HerderError> {
        Ok(match request {
            Request::ListConnectors => {
                Response::Names(self.cluster.connectors().map(|(name, _)| name.clone()).collect())
            }
            Request::ExpandConnectors { status, info } => Response::Expanded(self.expanded(status, info)),
            Request::ConnectorInfo { name } => {
                Response::Info(self.connector_info(&name).ok_or_else(|| connector_not_found(&name))?)
            }
            Request::ConnectorConfig { name } => Response::Config((*self.configured(&name)?.config).clone()),
            Request::TaskConfigs { name } => {
                let tasks = (0..).zip(&self.configured(&name)?.tasks);
                let info = |(task, config): (u32, &super::cluster::Task)| TaskInfo {
                    id: TaskId { connector: name.clone(), task },
                    config: (*config.config).clone(),
                };
                Response::Tasks(tasks.map(info).collect())
            }
            Request::ConnectorStatus { name } => Response::Status(
                self.connector_status(&name)
                    .ok_or_else(|| HerderError::not_found(format!("No status found for connector {name}")))?,
            ),
            Request::TaskStatus { name, task } => {
                let id = u32::try_from(task).ok().map(|task| TaskId { connector: name.clone(), task });
                let status = id.and_then(|id| Some((id.task, self.units.status(&UnitId::Task(id))?.clone())));
                let (id, status) =
                    status.ok_or_else(|| HerderError::not_found(format!("No status found for task {name}-{task}")))?;
                Response::TaskStatus(TaskStatus { id, status })
            }
            Request::ActiveTopics { name } => {
                self.topics_tracked()?;
                let topics = self.active_topics.get(&name);
                Response::Topics(topics.map(|topics| topics.iter().cloned().collect()).unwrap_or_default())
            }
            Request::ListPlugins { connectors_only } => Response::Plugins(self.settings.registry.list(connectors_only)),
            Request::PluginConfig { plugin, version } => {
                Response::ConfigKeys(validate::plugin_config(&self.settings.registry, &plugin, version.as_deref())?)
            }
            Request::ServerInfo => Response::Server(self.settings.server_info.clone()),
            other => unreachable!("`decide` looks up only what changes nothing, not {other:?}"),
        })
    }

    /// A connector, or the 404 of most requests.
    pub(super) fn configured(&self, name: &ConnectorName) -> Result<&Connector, HerderError> {
        self.cluster.connector(name).ok_or_else(|| connector_not_found(name))
    }

    /// The 403 of requests about topics.
    pub(super) fn topics_tracked(&self) -> Result<(), HerderError> {
        if self.settings.topic_tracking { Ok(()) } else { Err(HerderError::forbidden("Topic tracking is disabled.")) }
    }

    pub(super) fn connector_info(&self, name: &ConnectorName) -> Option<ConnectorInfo> {
        let connector = self.cluster.connector(name)?;
        let tasks = (0..).zip(&connector.tasks).map(|(task, _)| TaskId { connector: name.clone(), task }).collect();
        let (config, kind) = ((*connector.config).clone(), self.kind_of(Some(connector)));
        Some(ConnectorInfo { name: name.clone(), config, tasks, kind })
    }

    /// A status; none before the connector has reached its first state. Shown until the last life of a deleted connector has ended.
    pub(super) fn connector_status(&self, name: &ConnectorName) -> Option<ConnectorStatus> {
        let connector = self.units.status(&UnitId::Connector(name.clone()))?.clone();
        let tasks = self.units.task_statuses(name);
        let tasks = tasks.map(|(id, status)| TaskStatus { id: id.task, status: status.clone() }).collect();
        let kind = self.kind_of(self.cluster.connector(name));
        Some(ConnectorStatus { name: name.clone(), connector, tasks, kind })
    }

    fn expanded(&self, status: bool, info: bool) -> Vec<ExpandedConnector> {
        let expand = |name: &ConnectorName| {
            let with_status = if status { Some(self.connector_status(name)?) } else { None };
            let with_info = if info { self.connector_info(name) } else { None };
            Some(ExpandedConnector { name: name.clone(), status: with_status, info: with_info })
        };
        self.cluster.connectors().filter_map(|(name, _)| expand(name)).collect()
    }

    fn kind_of(&self, connector: Option<&Connector>) -> ConnectorType {
        let class = connector.and_then(|connector| connector.config.get("connector.class")).and_then(Option::as_deref);
        match class.and_then(|class| self.settings.registry.connector(class).ok()).map(|plugin| plugin.kind()) {
            Some(PluginKind::Source) => ConnectorType::Source,
            Some(PluginKind::Sink) => ConnectorType::Sink,
            _ => ConnectorType::Unknown,
        }
    }
}
