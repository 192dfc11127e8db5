//! What is configured: connectors, their target states and their tasks.
//!
//! A fold of [`ConfigRecord`]s. A standalone worker applies its own records at once and forgets them when it ends, as Java's
//! `MemoryConfigBackingStore` does; a distributed one applies those of the config topic. Nothing here knows what runs.

use super::request::RawConfig;
use crate::unit::{ConnectorName, TargetState, TaskId, UnitId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One change of what is configured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ConfigRecord {
    /// A connector is created or gets another config.
    Connector { name: ConnectorName, config: Arc<RawConfig> },
    /// A connector is deleted, with its target state and its tasks.
    ConnectorRemoved { name: ConnectorName },
    /// What the operator wants of a connector. Kept for one that is not created yet: its initial state.
    Target { name: ConnectorName, target: TargetState },
    /// The tasks of a connector, in the order of their numbers.
    Tasks { name: ConnectorName, configs: Vec<Arc<RawConfig>> },
    /// These units shall be started anew.
    Restart { units: Vec<UnitId> },
}

/// Which version of itself a unit shall run. A unit whose running life has another one is stopped and started anew: a changed config and a restart
/// are the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Revision(u64);

/// What is configured of one connector.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    pub(crate) config: Arc<RawConfig>,
    pub(crate) revision: Revision,
    pub(crate) target: TargetState,
    pub(crate) tasks: Vec<Task>,
    /// The connector config that the tasks were made from: with another one they are made anew even if their own configs are the same (converters,
    /// transforms and client overrides stand in the connector's config).
    tasks_made_from: Option<Arc<RawConfig>>,
}

/// What is configured of one task.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) config: Arc<RawConfig>,
    pub(crate) revision: Revision,
}

impl Connector {
    /// Whether tasks of these configs would differ from those that there are.
    pub(crate) fn tasks_would_change(&self, configs: &[Arc<RawConfig>]) -> bool {
        configs.len() != self.tasks.len()
            || configs.iter().zip(&self.tasks).any(|(new, task)| *new != task.config)
            || self.tasks_made_from.as_ref().is_some_and(|config| *config != self.config)
    }
}

/// What is configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterState {
    connectors: BTreeMap<ConnectorName, Connector>,
    /// Target states of connectors that are not there yet.
    initial_targets: BTreeMap<ConnectorName, TargetState>,
    revisions: u64,
}

impl ClusterState {
    /// Takes one change in.
    pub(crate) fn apply(&mut self, record: ConfigRecord) {
        match record {
            ConfigRecord::Connector { name, config } => {
                let revision = self.next_revision();
                match self.connectors.get_mut(&name) {
                    Some(connector) => (connector.config, connector.revision) = (config, revision),
                    None => {
                        let target = self.initial_targets.remove(&name).unwrap_or_default();
                        let connector =
                            Connector { config, revision, target, tasks: Vec::new(), tasks_made_from: None };
                        self.connectors.insert(name, connector);
                    }
                }
            }
            ConfigRecord::ConnectorRemoved { name } => {
                self.connectors.remove(&name);
                self.initial_targets.remove(&name);
            }
            ConfigRecord::Target { name, target } => match self.connectors.get_mut(&name) {
                Some(connector) => connector.target = target,
                None => {
                    self.initial_targets.insert(name, target);
                }
            },
            ConfigRecord::Tasks { name, configs } => {
                let revision = self.next_revision();
                if let Some(connector) = self.connectors.get_mut(&name) {
                    connector.tasks = configs.into_iter().map(|config| Task { config, revision }).collect();
                    connector.tasks_made_from = Some(connector.config.clone());
                }
            }
            ConfigRecord::Restart { units } => {
                for unit in units {
                    let revision = self.next_revision();
                    match unit {
                        UnitId::Connector(name) => {
                            if let Some(connector) = self.connectors.get_mut(&name) {
                                connector.revision = revision;
                            }
                        }
                        UnitId::Task(id) => {
                            let connector = self.connectors.get_mut(&id.connector);
                            if let Some(task) = connector.and_then(|c| c.tasks.get_mut(id.task as usize)) {
                                task.revision = revision;
                            }
                        }
                    }
                }
            }
        }
    }

    fn next_revision(&mut self) -> Revision {
        self.revisions += 1;
        Revision(self.revisions)
    }

    /// A connector.
    pub(crate) fn connector(&self, name: &str) -> Option<&Connector> {
        self.connectors.get(name)
    }

    /// All connectors by name.
    pub(crate) fn connectors(&self) -> impl Iterator<Item = (&ConnectorName, &Connector)> {
        self.connectors.iter()
    }

    /// A task.
    pub(crate) fn task(&self, id: &TaskId) -> Option<&Task> {
        self.connector(&id.connector)?.tasks.get(id.task as usize)
    }

    /// Every connector and task.
    pub(crate) fn units(&self) -> impl Iterator<Item = UnitId> {
        self.connectors.iter().flat_map(|(name, connector)| {
            let tasks = (0..connector.tasks.len() as u32).map(|task| TaskId { connector: name.clone(), task });
            std::iter::once(UnitId::Connector(name.clone())).chain(tasks.map(UnitId::Task))
        })
    }

    /// What a unit shall run as; none if it is not configured.
    pub(crate) fn revision(&self, unit: &UnitId) -> Option<Revision> {
        match unit {
            UnitId::Connector(name) => self.connector(name).map(|connector| connector.revision),
            UnitId::Task(id) => self.task(id).map(|task| task.revision),
        }
    }
}
