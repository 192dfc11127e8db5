//! The herder: what shall run, what runs, and the requests about it.
//!
//! [`Herder::step`] is all there is: an input comes in, effects go out, time is an argument, nothing blocks. Every input changes what is *wanted*
//! ([`ClusterState`]) or what *is* ([`Units`]); then one [`Herder::reconcile`] compares the two and gives the orders that lead from one to the other.
//! A changed config, a restart, a pause, a stop, a deletion, a crash and the end of the worker are that comparison, not code of their own. A standalone
//! worker is a group of one: everything configured is wanted here.
//!
//! Times are since the Unix epoch and never run backwards. Read [`super::pending`] for when requests are answered, `answers` for those that only ask.

use super::cluster::{ClusterState, ConfigRecord, Revision};
use super::pending::{OffsetsChange, Outside, Pending, Put, REQUEST_TIMEOUT, RequestId, WaitsFor, connector_not_found};
use super::request::{ConfigInfos, HerderError, RawConfig, Request, Response, ServerInfo};
use super::units::{Generation, Life, Phase, Units};
use super::{restart, validate};
use crate::registry::Registry;
use crate::unit::{ConnectorName, Epoch, Start, State, TargetState, TaskId, UnitEvent, UnitId};
use kurier_api::ConnectError;
use kurier_api::data::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What comes in.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// Somebody asks.
    Request { id: RequestId, request: Request },
    /// What validation says of the config of a request.
    Validated { id: RequestId, outcome: Result<ConfigInfos, HerderError> },
    /// What the driver found out for a request.
    Answered { id: RequestId, answer: Result<Response, HerderError> },
    /// What the worker reports.
    Unit(UnitEvent),
    /// What a connector says of its tasks.
    Generated { connector: ConnectorName, epoch: Epoch, generated: Generated },
    /// The connectors of the command line are created.
    Ready,
    /// Time has passed.
    Tick,
    /// Everything shall end.
    Shutdown,
}

/// What a connector says of its tasks.
#[derive(Clone, Debug)]
pub(crate) enum Generated {
    /// Their raw configs in the order of their numbers, and how long the secrets hold that the connector's config refers to.
    Configs { configs: Vec<Arc<RawConfig>>, holds_for: Option<Duration> },
    /// More than `tasks.max`: the connector fails.
    TooMany(ConnectError),
    /// It could not say; it is asked again.
    Failed(ConnectError),
}

/// What goes out.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Orders to the worker.
    Start(Start),
    SetTarget {
        unit: UnitId,
        epoch: Epoch,
        target: TargetState,
    },
    Stop {
        unit: UnitId,
        epoch: Epoch,
    },
    /// Ask the connector for its tasks; answered by [`Input::Generated`].
    Generate {
        connector: ConnectorName,
        epoch: Epoch,
        config: Arc<RawConfig>,
    },
    /// Answered by [`Input::Validated`].
    Validate {
        id: RequestId,
        config: Arc<RawConfig>,
    },
    /// Answered by [`Input::Answered`].
    ShowValidation {
        id: RequestId,
        plugin: String,
        config: RawConfig,
    },
    /// Answered by [`Input::Answered`].
    ReadOffsets {
        id: RequestId,
        name: ConnectorName,
        config: Arc<RawConfig>,
    },
    /// Answered by [`Input::Answered`], in any case: until then no task of the connector starts.
    ChangeOffsets {
        id: RequestId,
        name: ConnectorName,
        config: Arc<RawConfig>,
        change: OffsetsChange,
    },
    Reply {
        id: RequestId,
        answer: Result<Response, HerderError>,
    },
    /// Nothing runs any more after [`Input::Shutdown`]; the last effect.
    Ended,
}

/// What a herder knows from the start.
pub(crate) struct Settings {
    pub(crate) worker_id: Arc<str>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) server_info: ServerInfo,
    /// `topic.tracking.enable`
    pub(crate) topic_tracking: bool,
    /// `topic.tracking.allow.reset`
    pub(crate) topic_tracking_reset: bool,
}

/// Whether the herder has created what its command line names, and whether it is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Ready,
    ShuttingDown,
    Ended,
}

/// See the module.
pub(crate) struct Herder {
    pub(super) settings: Settings,
    pub(super) cluster: ClusterState,
    pub(super) units: Units,
    pub(super) active_topics: BTreeMap<ConnectorName, BTreeSet<Arc<str>>>,
    pending: BTreeMap<RequestId, Pending>,
    /// Connectors whose offsets are being changed, by which request. That may time out before its work is done.
    changing_offsets: BTreeMap<ConnectorName, RequestId>,
    stage: Stage,
}

/// How long to wait before a connector that failed to say what its tasks are is asked again: this, doubled each time, at most a minute. As in Java's
/// distributed worker (its standalone one gives up).
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

impl Herder {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            units: Units::new(settings.worker_id.clone()),
            settings,
            cluster: ClusterState::default(),
            active_topics: BTreeMap::new(),
            pending: BTreeMap::new(),
            changing_offsets: BTreeMap::new(),
            stage: Stage::Starting,
        }
    }

    /// Takes an input in and says what is to be done.
    pub(crate) fn step(&mut self, now: Duration, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Request { id, request } => self.requested(now, id, request, effects),
            Input::Validated { id, outcome } => self.validated(now, id, outcome, effects),
            Input::Answered { id, answer } => self.answered(id, answer, effects),
            Input::Unit(event) => self.reported(event),
            Input::Generated { connector, epoch, generated } => self.generated(now, connector, epoch, generated),
            Input::Ready if self.stage == Stage::Starting => self.stage = Stage::Ready,
            Input::Shutdown if self.stage != Stage::Ended => self.stage = Stage::ShuttingDown,
            Input::Ready | Input::Shutdown | Input::Tick => {}
        }
        self.reload_expired_secrets(now);
        self.reconcile(now, effects);
        self.answer_pending(now, effects);
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }

    /// When the next step is due even if nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let requests = self.pending.values().map(|pending| pending.deadline);
        let lives = self.units.lives().values().filter(|life| life.phase == Phase::Up(State::Running));
        let retries = lives.clone().filter_map(|life| match life.generation {
            Generation::Failed { retry_at, .. } => Some(retry_at),
            _ => None,
        });
        let reloads = lives.filter_map(|life| life.reload_at);
        requests.chain(retries).chain(reloads).min()
    }

    // ---- What is asked -------------------------------------------------------------------------------------------------------------------

    fn requested(&mut self, now: Duration, id: RequestId, request: Request, effects: &mut Vec<Effect>) {
        if matches!(self.stage, Stage::ShuttingDown | Stage::Ended) {
            effects.push(Effect::Reply { id, answer: Err(shutting_down()) });
            return;
        }
        match self.decide(id, request, effects) {
            Ok(Decision::Answer(response)) => effects.push(Effect::Reply { id, answer: Ok(response) }),
            Ok(Decision::Wait(waits_for)) => self.wait(now, id, now + REQUEST_TIMEOUT, waits_for),
            Err(error) => effects.push(Effect::Reply { id, answer: Err(error) }),
        }
    }

    fn wait(&mut self, now: Duration, id: RequestId, deadline: Duration, waits_for: WaitsFor) {
        let before = self.pending.insert(id, Pending { deadline, since: now, waits_for });
        assert!(before.is_none(), "the driver numbers requests, so none comes twice");
    }

    /// What a request changes, and whether it has its answer.
    fn decide(&mut self, id: RequestId, request: Request, effects: &mut Vec<Effect>) -> Result<Decision, HerderError> {
        use Decision::{Answer, Wait};
        Ok(match request {
            Request::CreateConnector { name, config, initial_state, replace } => {
                let config = Arc::new(config);
                effects.push(Effect::Validate { id, config: config.clone() });
                let put = if replace { Put::Replace } else { Put::Create };
                Wait(WaitsFor::Validation { name, config, initial_state, put })
            }
            Request::PatchConnector { name, patch } => {
                let config = Arc::new(patched(&self.configured(&name)?.config, patch));
                effects.push(Effect::Validate { id, config: config.clone() });
                Wait(WaitsFor::Validation { name, config, initial_state: None, put: Put::Patch })
            }
            Request::DeleteConnector { name } => {
                self.configured(&name)?;
                let lives = self.units.lives_of(&name);
                self.cluster.apply(ConfigRecord::ConnectorRemoved { name });
                Wait(WaitsFor::Ends { lives })
            }
            Request::Pause { name } => self.retarget(name, TargetState::Paused)?,
            Request::Resume { name } => self.retarget(name, TargetState::Started)?,
            Request::Stop { name } => {
                if self.cluster.connector(&name).is_none() {
                    // Standalone Java runs into an IllegalArgumentException here, a distributed worker says 404.
                    return Err(HerderError::internal(format!("No connector `{name}` configured")));
                }
                let connector = UnitId::Connector(name.clone());
                let mut lives = self.units.lives_of(&name);
                lives.retain(|(unit, _)| *unit != connector);
                self.cluster.apply(ConfigRecord::Tasks { name: name.clone(), configs: Vec::new() });
                self.cluster.apply(ConfigRecord::Target { name, target: TargetState::Stopped });
                // A connector that failed while it ran can rest; one that could not be made stays FAILED, as in Java.
                let life = self.units.life(&connector);
                if life.is_some_and(|life| matches!(life.phase, Phase::Failed(_)) && life.version.is_some()) {
                    self.cluster.apply(ConfigRecord::Restart { units: vec![connector] });
                }
                Wait(WaitsFor::Ends { lives })
            }
            Request::RestartConnector { name, include_tasks: false, only_failed: false } => {
                if self.cluster.connector(&name).is_none() {
                    // 500 as in standalone Java, which dereferences null.
                    return Err(HerderError::internal(format!("Connector {name} not found")));
                }
                let connector = UnitId::Connector(name.clone());
                self.cluster.apply(ConfigRecord::Restart { units: vec![connector.clone()] });
                Wait(WaitsFor::ConnectorRestart { name, revision: self.revision(&connector) })
            }
            Request::RestartConnector { name, include_tasks, only_failed } => {
                if self.cluster.connector(&name).is_none() {
                    return Err(HerderError::not_found(format!("Unknown connector: {name}")));
                }
                let status = self
                    .connector_status(&name)
                    .ok_or_else(|| HerderError::not_found(format!("Status for connector {name} not found")))?;
                let plan = restart::plan(status, include_tasks, only_failed);
                let units = restart::units(&plan);
                for unit in &units {
                    self.units.set_status(unit.clone(), State::Restarting, None);
                }
                self.cluster.apply(ConfigRecord::Restart { units });
                Answer(Response::Restart(Some(plan)))
            }
            Request::RestartTask { name, task } => {
                if self.cluster.connector(&name).is_none() {
                    return Err(HerderError::internal(format!(
                        "Failed to start task {name}-{task} since it is not a recognizable type (source or sink)"
                    )));
                }
                let id = u32::try_from(task).ok().map(|task| TaskId { connector: name.clone(), task });
                let Some(id) = id.filter(|id| self.cluster.task(id).is_some()) else {
                    return Err(HerderError::not_found(format!("Task {name}-{task} not found")));
                };
                let unit = UnitId::Task(id.clone());
                self.cluster.apply(ConfigRecord::Restart { units: vec![unit.clone()] });
                Wait(WaitsFor::TaskRestart { id, revision: self.revision(&unit) })
            }
            Request::Offsets { name } => {
                let config = self.configured(&name)?.config.clone();
                effects.push(Effect::ReadOffsets { id, name: name.clone(), config });
                Wait(WaitsFor::Outside { what: Outside::ReadOffsets(name) })
            }
            Request::AlterOffsets { name, offsets } => {
                if offsets.is_empty() {
                    return Err(HerderError::bad_request(
                        "Partitions / offsets need to be provided for an alter offsets request",
                    ));
                }
                self.offsets_may_change(&name)?;
                Wait(WaitsFor::OffsetsTurn { name, change: OffsetsChange::Alter(offsets) })
            }
            Request::ResetOffsets { name } => {
                self.offsets_may_change(&name)?;
                Wait(WaitsFor::OffsetsTurn { name, change: OffsetsChange::Reset })
            }
            Request::ValidateConfig { plugin, config } => {
                effects.push(Effect::ShowValidation { id, plugin, config });
                Wait(WaitsFor::Outside { what: Outside::Validation })
            }
            Request::ResetActiveTopics { name } => {
                self.topics_tracked()?;
                if !self.settings.topic_tracking_reset {
                    return Err(HerderError::forbidden("Topic tracking reset is disabled."));
                }
                self.active_topics.remove(&name);
                Answer(Response::Done)
            }
            Request::Health if self.stage == Stage::Starting => Wait(WaitsFor::Readiness),
            Request::Health => Answer(Response::Done),
            Request::ListConnectors
            | Request::ExpandConnectors { .. }
            | Request::ConnectorInfo { .. }
            | Request::ConnectorConfig { .. }
            | Request::TaskConfigs { .. }
            | Request::ConnectorStatus { .. }
            | Request::TaskStatus { .. }
            | Request::ActiveTopics { .. }
            | Request::ListPlugins { .. }
            | Request::PluginConfig { .. }
            | Request::ServerInfo => Answer(self.look_up(request)?),
        })
    }

    fn retarget(&mut self, name: ConnectorName, target: TargetState) -> Result<Decision, HerderError> {
        if self.cluster.connector(&name).is_none() {
            return Err(HerderError::not_found(format!("Unknown connector {name}")));
        }
        self.cluster.apply(ConfigRecord::Target { name, target });
        Ok(Decision::Answer(Response::Done))
    }

    fn offsets_may_change(&self, name: &ConnectorName) -> Result<(), HerderError> {
        let connector = self.configured(name)?;
        if connector.target == TargetState::Stopped && connector.tasks.is_empty() {
            return Ok(());
        }
        Err(HerderError::bad_request(format!(
            "Connectors must be in the STOPPED state before their offsets can be modified. This can be done for the \
             specified connector by issuing a 'PUT' request to the '/connectors/{name}/stop' endpoint"
        )))
    }

    fn revision(&self, unit: &UnitId) -> Revision {
        self.cluster.revision(unit).expect("the caller has just found it in the config")
    }

    fn validated(
        &mut self,
        now: Duration,
        id: RequestId,
        outcome: Result<ConfigInfos, HerderError>,
        effects: &mut Vec<Effect>,
    ) {
        // Not there if the request has timed out: then nothing is stored.
        let Some(Pending { deadline, waits_for: WaitsFor::Validation { name, config, initial_state, put }, .. }) =
            self.pending.remove(&id)
        else {
            return;
        };
        let known = self.cluster.connector(&name).is_some();
        let refused = match outcome {
            Err(error) => Some(error),
            Ok(infos) => validate::refusal(&config, &infos).or_else(|| match put {
                Put::Create if known => Some(HerderError::conflict(format!("Connector {name} already exists"))),
                Put::Patch if !known => Some(connector_not_found(&name)),
                _ => None,
            }),
        };
        if let Some(error) = refused {
            effects.push(Effect::Reply { id, answer: Err(error) });
            return;
        }
        if let Some(target) = initial_state {
            if target == TargetState::Stopped {
                self.cluster.apply(ConfigRecord::Tasks { name: name.clone(), configs: Vec::new() });
            }
            self.cluster.apply(ConfigRecord::Target { name: name.clone(), target });
        }
        self.cluster.apply(ConfigRecord::Connector { name: name.clone(), config });
        let revision = self.revision(&UnitId::Connector(name.clone()));
        self.wait(now, id, deadline, WaitsFor::Connector { name, revision, created: !known });
    }

    fn answered(&mut self, id: RequestId, answer: Result<Response, HerderError>, effects: &mut Vec<Effect>) {
        self.changing_offsets.retain(|_, changing| *changing != id);
        if self.pending.remove(&id).is_some() {
            effects.push(Effect::Reply { id, answer });
        }
    }

    // ---- What is reported ----------------------------------------------------------------------------------------------------------------

    fn reported(&mut self, event: UnitEvent) {
        match event {
            UnitEvent::Instantiated { unit, epoch, version } => {
                if let Some(life) = self.units.life_of(&unit, epoch) {
                    life.version = Some(version);
                }
            }
            UnitEvent::State { unit, epoch, state, error } => {
                let Some(life) = self.units.life_of(&unit, epoch).filter(|life| life.phase != Phase::Stopping) else {
                    return; // A life that was told to stop has nothing to say but that it ended.
                };
                let error = match (state, error) {
                    (State::Failed, None) => Some(ConnectError::connect("It failed without saying why")),
                    (_, error) => error,
                };
                life.phase = match &error {
                    Some(error) => Phase::Failed(error.clone()),
                    None => Phase::Up(state),
                };
                self.units.set_status(unit, if error.is_some() { State::Failed } else { state }, error.as_ref());
            }
            UnitEvent::Ended { unit, epoch } => {
                let status = self.units.status(&unit).map(|status| status.state);
                if self.units.end(&unit, epoch) && !matches!(status, None | Some(State::Failed | State::Restarting)) {
                    self.units.set_status(unit, State::Unassigned, None);
                }
            }
            UnitEvent::ReconfigurationRequested { connector, epoch } => {
                if let Some(life) = self.units.life_of(&UnitId::Connector(connector), epoch) {
                    life.generation = match life.generation {
                        Generation::Asked { .. } => Generation::Asked { again: true },
                        Generation::Failed { .. } => return, // It is asked again in any case, and not sooner for asking.
                        Generation::Wanted | Generation::Done => Generation::Wanted,
                    };
                }
            }
            UnitEvent::TopicActive { task, topic } => {
                if self.settings.topic_tracking {
                    self.active_topics.entry(task.connector).or_default().insert(topic);
                }
            }
        }
    }

    fn generated(&mut self, now: Duration, name: ConnectorName, epoch: Epoch, generated: Generated) {
        let unit = UnitId::Connector(name.clone());
        let wanted = self.wanted(&unit);
        let Some(life) = self.units.life_of(&unit, epoch) else { return };
        let Generation::Asked { again } = life.generation else { return };
        if life.phase != Phase::Up(State::Running) || wanted != Some((life.revision, TargetState::Started)) {
            // It failed, is no longer to run, or is about to be another one. Should it run again, it is asked again.
            life.generation = Generation::Wanted;
            return;
        }
        match generated {
            Generated::Configs { configs, holds_for } => {
                life.generation = if again { Generation::Wanted } else { Generation::Done };
                life.reload_at = holds_for.map(|ttl| now + ttl);
                life.failed_generations = 0;
                if self.cluster.connector(&name).is_some_and(|connector| connector.tasks_would_change(&configs)) {
                    self.cluster.apply(ConfigRecord::Tasks { name, configs });
                }
            }
            Generated::TooMany(error) => {
                life.generation = Generation::Done;
                life.phase = Phase::Failed(error.clone());
                self.units.set_status(unit, State::Failed, Some(&error));
            }
            Generated::Failed(error) => {
                let pause = FIRST_RETRY.saturating_mul(1 << life.failed_generations.min(16)).min(LONGEST_RETRY);
                life.failed_generations += 1;
                life.generation = Generation::Failed { error, retry_at: now + pause };
            }
        }
    }

    /// A connector whose config refers to secrets that hold for a while is restarted when they end (`config.action.reload`).
    fn reload_expired_secrets(&mut self, now: Duration) {
        let expired = |(_, life): &(&UnitId, &Life)| life.reload_at.is_some_and(|at| at <= now);
        let units: Vec<_> = self.units.lives().iter().filter(expired).map(|(unit, _)| unit.clone()).collect();
        for unit in &units {
            if let Some(life) = self.units.life_mut(unit) {
                life.reload_at = None;
            }
        }
        if !units.is_empty() {
            self.cluster.apply(ConfigRecord::Restart { units });
        }
    }

    // ---- What follows --------------------------------------------------------------------------------------------------------------------

    /// What a unit shall run as and do here; none if it shall not live here.
    fn wanted(&self, unit: &UnitId) -> Option<(Revision, TargetState)> {
        if matches!(self.stage, Stage::ShuttingDown | Stage::Ended) {
            return None;
        }
        let (UnitId::Connector(name) | UnitId::Task(TaskId { connector: name, .. })) = unit;
        Some((self.cluster.revision(unit)?, self.cluster.connector(name)?.target))
    }

    /// Gives the orders that lead from what is to what is wanted. Whatever happened, this is the only place that starts and stops.
    fn reconcile(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.end_or_retarget_lives(effects);
        self.begin_offset_changes(effects);
        self.begin_lives(effects);
        self.ask_connectors(now, effects);
        let configured: BTreeSet<_> = self.cluster.units().collect();
        self.units.retain_statuses(|unit| configured.contains(unit));
        if self.stage == Stage::ShuttingDown && self.units.lives().is_empty() {
            self.stage = Stage::Ended;
            effects.push(Effect::Ended);
        }
    }

    fn end_or_retarget_lives(&mut self, effects: &mut Vec<Effect>) {
        let alive = self.units.lives().iter().filter(|(_, life)| life.phase != Phase::Stopping);
        let alive: Vec<_> = alive.map(|(unit, life)| (unit.clone(), life.epoch, life.revision)).collect();
        for (unit, epoch, revision) in alive {
            let wanted = self.wanted(&unit);
            let life = self.units.life_mut(&unit).expect("it was just listed, and nothing ended since");
            match wanted {
                Some((wanted, target)) if wanted == revision => {
                    if life.target != target {
                        life.target = target;
                        // Whatever it said before it rested may be out of date.
                        life.generation = Generation::Wanted;
                        effects.push(Effect::SetTarget { unit, epoch, target });
                    }
                }
                _ => {
                    life.phase = Phase::Stopping;
                    effects.push(Effect::Stop { unit, epoch });
                }
            }
        }
    }

    /// Offsets of a connector are changed by one request after the other, and only while none of its tasks lives.
    fn begin_offset_changes(&mut self, effects: &mut Vec<Effect>) {
        let waiting = self.pending.iter().filter_map(|(id, pending)| match &pending.waits_for {
            WaitsFor::OffsetsTurn { name, change } => Some((*id, name.clone(), change.clone())),
            _ => None,
        });
        for (id, name, change) in waiting.collect::<Vec<_>>() {
            if let Err(error) = self.offsets_may_change(&name) {
                self.pending.remove(&id);
                effects.push(Effect::Reply { id, answer: Err(error) });
            } else if !self.changing_offsets.contains_key(&name) && !self.units.has_tasks(&name) {
                self.changing_offsets.insert(name.clone(), id);
                if let Some(pending) = self.pending.get_mut(&id) {
                    pending.waits_for = WaitsFor::Outside { what: Outside::ChangeOffsets(name.clone()) };
                }
                let config = self.cluster.connector(&name).expect("it may be changed, so it is there").config.clone();
                effects.push(Effect::ChangeOffsets { id, name, config, change });
            }
        }
    }

    fn begin_lives(&mut self, effects: &mut Vec<Effect>) {
        let missing: Vec<_> = self.cluster.units().filter(|unit| self.units.life(unit).is_none()).collect();
        for unit in missing {
            let Some((revision, target)) = self.wanted(&unit) else { continue };
            let (connector, task) = match &unit {
                UnitId::Connector(name) => (self.cluster.connector(name), None),
                UnitId::Task(id) if self.changing_offsets.contains_key(&id.connector) => continue,
                UnitId::Task(id) => {
                    (self.cluster.connector(&id.connector), self.cluster.task(id).map(|task| task.config.clone()))
                }
            };
            let connector = connector.expect("the config names it").config.clone();
            let epoch = self.units.begin(unit.clone(), revision, target);
            effects.push(Effect::Start(Start { unit, epoch, target, connector, task }));
        }
    }

    fn ask_connectors(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let connectors: Vec<_> =
            self.cluster.connectors().map(|(name, connector)| (name.clone(), connector.config.clone())).collect();
        for (connector, config) in connectors {
            let Some(life) = self.units.life_mut(&UnitId::Connector(connector.clone())) else { continue };
            let due = match &life.generation {
                Generation::Wanted => true,
                Generation::Failed { retry_at, .. } => *retry_at <= now,
                Generation::Asked { .. } | Generation::Done => false,
            };
            if due && life.is_settled() && life.target == TargetState::Started {
                life.generation = Generation::Asked { again: false };
                effects.push(Effect::Generate { connector, epoch: life.epoch, config });
            }
        }
    }

    /// Answers the requests whose wish has come true, and those that waited too long.
    fn answer_pending(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let ready = self.stage != Stage::Starting;
        let (cluster, units) = (&self.cluster, &self.units);
        let mut answers = Vec::new();
        for (id, pending) in &self.pending {
            let answer = match self.stage {
                Stage::ShuttingDown | Stage::Ended => Some(Err(shutting_down())),
                Stage::Starting | Stage::Ready => match &pending.waits_for {
                    WaitsFor::Readiness => ready.then_some(Ok(Response::Done)),
                    waits_for => waits_for.answer(cluster, units, |name| self.connector_info(name)),
                },
            };
            let late = || (pending.deadline <= now).then(|| Err(pending.timed_out()));
            if let Some(answer) = answer.or_else(late) {
                answers.push((*id, answer));
            }
        }
        for (id, answer) in answers {
            self.pending.remove(&id);
            effects.push(Effect::Reply { id, answer });
        }
    }

    /// What holds after every step.
    ///
    /// # Panics
    /// If it does not hold.
    pub(crate) fn check_invariants(&self) {
        for (unit, life) in self.units.lives() {
            let wanted = self.wanted(unit);
            let right = wanted == Some((life.revision, life.target));
            assert!(right || life.phase == Phase::Stopping, "{unit:?} lives as {life:?} but {wanted:?} is wanted");
        }
        for unit in self.cluster.units() {
            let held = matches!(&unit, UnitId::Task(id) if self.changing_offsets.contains_key(&id.connector));
            let lives = self.units.life(&unit).is_some();
            assert!(lives || held || self.wanted(&unit).is_none(), "{unit:?} is wanted but does not live");
        }
        for (name, connector) in self.cluster.connectors() {
            let stopped = connector.target == TargetState::Stopped;
            assert!(!stopped || connector.tasks.is_empty(), "{name} is stopped but has tasks");
            let asked = self.units.life(&UnitId::Connector(name.clone()));
            let waits = asked.is_some_and(|life| life.is_settled() && life.generation == Generation::Wanted);
            assert!(!waits || connector.target != TargetState::Started, "{name} runs and nobody asks for its tasks");
        }
        for (name, id) in &self.changing_offsets {
            assert!(!self.units.has_tasks(name), "a task of {name} lives while request {id:?} changes its offsets");
        }
        let ended = matches!(self.stage, Stage::ShuttingDown | Stage::Ended);
        assert!(!ended || self.pending.is_empty(), "a worker that ends has answered every request");
    }
}

/// A config with some settings set and those that are null removed. Java makes a `HashMap` of it, whose order is seen where the config is printed.
fn patched(config: &RawConfig, patch: RawConfig) -> RawConfig {
    let text = |value: &Option<String>| value.as_deref().map_or(Value::Null, Value::text);
    let mut linked = Map::linked();
    for (key, value) in config {
        linked.insert(key.as_str(), text(value));
    }
    let mut map = linked.copy_as_hash();
    for (key, value) in &patch {
        match value {
            Some(value) => drop(map.insert(key.as_str(), Value::text(value))),
            None => drop(map.remove(&Value::text(key))),
        }
    }
    let pair = |(key, value): (&Value, &Value)| Some((key.as_text()?.to_owned(), value.as_text().map(str::to_owned)));
    map.iter().filter_map(pair).collect()
}

/// What a request comes to at once.
enum Decision {
    Answer(Response),
    Wait(WaitsFor),
}

/// Java's text.
fn shutting_down() -> HerderError {
    HerderError::internal("Worker is shutting down")
}

#[cfg(test)]
mod tests;
