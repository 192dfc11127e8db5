//! What one life tells the herder.

use crate::unit::{Epoch, State, UnitEvent, UnitEvents, UnitId};
use kurier_api::ConnectError;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Reports of one life of a unit. Cheap to clone.
#[derive(Clone)]
pub struct Reports(Arc<Inner>);

struct Inner {
    unit: UnitId,
    epoch: Epoch,
    events: UnitEvents,
    topics: Mutex<BTreeSet<Arc<str>>>,
}

impl Reports {
    /// Reports that go to `events`.
    pub fn new(unit: UnitId, epoch: Epoch, events: UnitEvents) -> Self {
        Self(Arc::new(Inner { unit, epoch, events, topics: Mutex::default() }))
    }

    /// The plugin was found and made.
    pub fn instantiated(&self, version: &str) {
        let (unit, epoch) = self.life();
        self.send(UnitEvent::Instantiated { unit, epoch, version: version.into() });
    }

    /// A state was reached; `error` goes with [`State::Failed`].
    pub fn state(&self, state: State, error: Option<ConnectError>) {
        let (unit, epoch) = self.life();
        self.send(UnitEvent::State { unit, epoch, state, error });
    }

    /// Nothing of this life runs any more, or it can do no harm.
    pub fn ended(&self) {
        let (unit, epoch) = self.life();
        self.send(UnitEvent::Ended { unit, epoch });
    }

    /// A connector wants to be asked for its task configs.
    pub fn reconfiguration(&self) {
        if let UnitId::Connector(connector) = &self.0.unit {
            self.send(UnitEvent::ReconfigurationRequested { connector: connector.clone(), epoch: self.0.epoch });
        }
    }

    /// A task uses a topic; told once.
    pub fn topic(&self, topic: &Arc<str>) {
        let UnitId::Task(task) = &self.0.unit else { return };
        if self.0.topics.lock().insert(topic.clone()) {
            self.send(UnitEvent::TopicActive { task: task.clone(), topic: topic.clone() });
        }
    }

    /// The unit's name for the log.
    pub fn name(&self) -> String {
        match &self.0.unit {
            UnitId::Connector(name) => format!("connector {name}"),
            UnitId::Task(task) => format!("task {task}"),
        }
    }

    fn life(&self) -> (UnitId, Epoch) {
        (self.0.unit.clone(), self.0.epoch)
    }

    fn send(&self, event: UnitEvent) {
        // Without a herder nobody needs to know.
        let _ = self.0.events.send(event);
    }
}
