//! What runs on this worker, and what the statuses say: the other half of what reconciliation compares.
//!
//! A [`Life`] begins when the worker is told to start a unit and ends with the worker's [`UnitEvent::Ended`](crate::unit::UnitEvent::Ended). A unit
//! has one life at a time: the map of lives cannot hold two.

use super::cluster::Revision;
use super::request::UnitStatus;
use crate::unit::{ConnectorName, Epoch, State, TargetState, TaskId, UnitId};
use kurier_api::ConnectError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One run of a unit, from the order to start it until nothing of it runs any more.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) epoch: Epoch,
    /// What it was started as.
    pub(crate) revision: Revision,
    /// What it was last told to be.
    pub(crate) target: TargetState,
    pub(crate) phase: Phase,
    /// The version of its plugin, once that was made.
    pub(crate) version: Option<Arc<str>>,
    /// Of connectors: whether their tasks' configs are known.
    pub(crate) generation: Generation,
    /// How often in a row the connector could not say.
    pub(crate) failed_generations: u32,
    /// When a secret ends that the config refers to.
    pub(crate) reload_at: Option<Duration>,
}

/// Where a life is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    /// The worker was told to start it and has not said more.
    Starting,
    /// It has reached a state.
    Up(State),
    /// It has failed. The worker may still hold it; nothing starts it again but another revision.
    Failed(ConnectError),
    /// The worker was told to stop it.
    Stopping,
}

/// Whether the task configs of a running connector are known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Generation {
    /// The connector shall be asked as soon as it runs.
    Wanted,
    /// It was asked. `again` if it shall be asked once more after the answer.
    Asked { again: bool },
    /// They are known.
    Done,
    /// The connector could not say. It is asked again.
    Failed { error: ConnectError, retry_at: Duration },
}

impl Life {
    /// Whether it has reached what it was told to be.
    pub(crate) fn is_settled(&self) -> bool {
        self.phase
            == Phase::Up(match self.target {
                TargetState::Started => State::Running,
                TargetState::Paused => State::Paused,
                TargetState::Stopped => State::Stopped,
            })
    }
}

/// What runs here, and all statuses.
#[derive(Clone, Debug)]
pub(crate) struct Units {
    worker_id: Arc<str>,
    lives: BTreeMap<UnitId, Life>,
    statuses: BTreeMap<UnitId, UnitStatus>,
    epochs: u64,
}

impl Units {
    pub(crate) fn new(worker_id: Arc<str>) -> Self {
        Self { worker_id, lives: BTreeMap::new(), statuses: BTreeMap::new(), epochs: 0 }
    }

    /// Begins a life.
    pub(crate) fn begin(&mut self, unit: UnitId, revision: Revision, target: TargetState) -> Epoch {
        self.epochs += 1;
        let epoch = Epoch(self.epochs);
        let life = Life {
            epoch,
            revision,
            target,
            phase: Phase::Starting,
            version: None,
            generation: Generation::Wanted,
            failed_generations: 0,
            reload_at: None,
        };
        let before = self.lives.insert(unit, life);
        assert!(before.is_none(), "a unit has one life at a time: reconciliation begins one only where there is none");
        epoch
    }

    /// The life of a unit.
    pub(crate) fn life(&self, unit: &UnitId) -> Option<&Life> {
        self.lives.get(unit)
    }

    /// The life of a unit, to be changed.
    pub(crate) fn life_mut(&mut self, unit: &UnitId) -> Option<&mut Life> {
        self.lives.get_mut(unit)
    }

    /// The life of this epoch, to be changed; none if it is over, so that words of abandoned lives fall on deaf ears.
    pub(crate) fn life_of(&mut self, unit: &UnitId, epoch: Epoch) -> Option<&mut Life> {
        self.lives.get_mut(unit).filter(|life| life.epoch == epoch)
    }

    /// All lives.
    pub(crate) fn lives(&self) -> &BTreeMap<UnitId, Life> {
        &self.lives
    }

    /// Ends the life of this epoch; false if it is over already.
    pub(crate) fn end(&mut self, unit: &UnitId, epoch: Epoch) -> bool {
        let ends = self.lives.get(unit).is_some_and(|life| life.epoch == epoch);
        if ends {
            self.lives.remove(unit);
        }
        ends
    }

    /// Whether a task of a connector lives.
    pub(crate) fn has_tasks(&self, connector: &ConnectorName) -> bool {
        self.tasks_of(connector, &self.lives).next().is_some()
    }

    /// Every life of a connector, its own and those of its tasks.
    pub(crate) fn lives_of(&self, connector: &ConnectorName) -> Vec<(UnitId, Epoch)> {
        let unit = UnitId::Connector(connector.clone());
        let own = self.lives.get(&unit).map(|life| (unit, life.epoch));
        let tasks = self.tasks_of(connector, &self.lives).map(|(id, life)| (UnitId::Task(id.clone()), life.epoch));
        own.into_iter().chain(tasks).collect()
    }

    /// Says what state a unit has reached.
    pub(crate) fn set_status(&mut self, unit: UnitId, state: State, error: Option<&ConnectError>) {
        let version = self.lives.get(&unit).and_then(|life| life.version.as_deref()).map(str::to_owned);
        let trace = error.map(ConnectError::trace);
        self.statuses.insert(unit, UnitStatus { state, worker_id: self.worker_id.clone(), version, trace });
    }

    /// The status of a unit.
    pub(crate) fn status(&self, unit: &UnitId) -> Option<&UnitStatus> {
        self.statuses.get(unit)
    }

    /// The statuses of a connector's tasks, by number.
    pub(crate) fn task_statuses<'a>(
        &'a self,
        connector: &'a ConnectorName,
    ) -> impl Iterator<Item = (&'a TaskId, &'a UnitStatus)> {
        self.tasks_of(connector, &self.statuses)
    }

    /// Keeps the statuses that the predicate accepts.
    pub(crate) fn retain_statuses(&mut self, keep: impl Fn(&UnitId) -> bool) {
        let lives = &self.lives;
        self.statuses.retain(|unit, _| lives.contains_key(unit) || keep(unit));
    }

    fn tasks_of<'a, T>(
        &'a self,
        connector: &'a ConnectorName,
        map: &'a BTreeMap<UnitId, T>,
    ) -> impl Iterator<Item = (&'a TaskId, &'a T)> {
        let first = UnitId::Task(TaskId { connector: connector.clone(), task: 0 });
        map.range(first..).map_while(move |(unit, value)| match unit {
            UnitId::Task(id) if id.connector == *connector => Some((id, value)),
            _ => None,
        })
    }
}
