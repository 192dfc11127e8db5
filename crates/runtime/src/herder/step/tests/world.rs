//! The worker and the driver of the tests, in one thread and without a clock.

use super::*;
use std::collections::VecDeque;

/// How the worker's plugins behave.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mood {
    pub(super) connectors_fail_on_config: bool,
    pub(super) connectors_fail: bool,
    pub(super) tasks_fail_on_config: bool,
    pub(super) tasks_fail: bool,
    pub(super) generation_fails: bool,
    pub(super) too_many_tasks: bool,
    pub(super) slow_offsets: bool,
    /// Units do and say nothing.
    pub(super) frozen: bool,
    pub(super) secrets_hold_for: Option<Duration>,
}

impl Mood {
    pub(super) fn from_bits(bits: u16) -> Self {
        let bit = |n: u16| bits & (1 << n) != 0 && bits & (1 << (n + 8)) != 0;
        Self {
            connectors_fail_on_config: bit(0),
            connectors_fail: bit(1),
            tasks_fail_on_config: bit(2),
            tasks_fail: bit(3),
            generation_fails: bit(4),
            too_many_tasks: bit(5),
            slow_offsets: bit(6),
            frozen: false,
            secrets_hold_for: bit(7).then_some(Duration::from_secs(5)),
        }
    }
}

/// A life as the worker sees it.
#[derive(Clone, Debug)]
struct Running {
    epoch: Epoch,
    tasks: usize,
    stopping: bool,
    failed: bool,
}

/// Something that is not done yet: an input that the herder is to get. Those of one unit come in order, others in any.
#[derive(Clone, Debug)]
struct Job {
    unit: Option<UnitId>,
    input: Input,
}

pub(super) struct World {
    pub(super) herder: Herder,
    pub(super) mood: Mood,
    pub(super) ended: bool,
    pub(super) starts: usize,
    /// How often connectors were asked for their tasks.
    pub(super) questions: usize,
    now: Duration,
    running: BTreeMap<UnitId, Running>,
    jobs: VecDeque<Job>,
    answers: BTreeMap<RequestId, Result<Response, HerderError>>,
    asked: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let settings = Settings {
            worker_id: "w:1".into(),
            registry: Arc::new(Registry::new()),
            server_info: ServerInfo { version: "4.3.1", commit: String::new(), kafka_cluster_id: String::new() },
            topic_tracking: true,
            topic_tracking_reset: true,
        };
        Self {
            herder: Herder::new(settings),
            mood: Mood::default(),
            ended: false,
            starts: 0,
            questions: 0,
            now: Duration::ZERO,
            running: BTreeMap::new(),
            jobs: VecDeque::new(),
            answers: BTreeMap::new(),
            asked: 0,
        }
    }

    pub(super) fn send(&mut self, request: Request) -> RequestId {
        self.asked += 1;
        let id = RequestId(self.asked);
        self.step(Input::Request { id, request });
        id
    }

    /// Asks and lets the world settle.
    pub(super) fn ask(&mut self, request: Request) -> Result<Response, HerderError> {
        let id = self.send(request);
        self.settle();
        self.answer(id).expect("a settled world has answered")
    }

    pub(super) fn answer(&mut self, id: RequestId) -> Option<Result<Response, HerderError>> {
        self.answers.get(&id).cloned()
    }

    pub(super) fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.herder.step(self.now, input, &mut effects);
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Start(start) => self.start(start),
            Effect::SetTarget { unit, epoch, target } => {
                if !self.living(&unit, epoch).failed {
                    self.report_target(&unit, target);
                }
            }
            Effect::Stop { unit, epoch } => {
                self.living(&unit, epoch).stopping = true;
                self.job(Some(unit.clone()), Input::Unit(UnitEvent::Ended { unit, epoch }));
            }
            Effect::Generate { connector, epoch, .. } => {
                self.questions += 1;
                let unit = UnitId::Connector(connector.clone());
                let tasks = self.living(&unit, epoch).tasks;
                let generated = if self.mood.generation_fails {
                    Generated::Failed(ConnectError::connect("no tasks"))
                } else if self.mood.too_many_tasks {
                    Generated::TooMany(ConnectError::connect("too many"))
                } else {
                    let task = |n: usize| Arc::new(RawConfig::from([("task".to_owned(), Some(n.to_string()))]));
                    let configs = (0..tasks).map(task).collect();
                    Generated::Configs { configs, holds_for: self.mood.secrets_hold_for }
                };
                self.job(Some(unit), Input::Generated { connector, epoch, generated });
            }
            Effect::Validate { id, .. } => {
                let infos =
                    ConfigInfos { name: String::new(), error_count: 0, groups: Vec::new(), configs: Vec::new() };
                self.job(None, Input::Validated { id, outcome: Ok(infos) });
            }
            Effect::ShowValidation { id, .. } | Effect::ReadOffsets { id, .. } => {
                self.job(None, Input::Answered { id, answer: Ok(Response::Offsets(Vec::new())) });
            }
            Effect::ChangeOffsets { id, name, .. } => {
                let of = |unit: &&UnitId| matches!(unit, UnitId::Task(task) if task.connector == name);
                assert_eq!(self.running.keys().find(of), None, "offsets of {name} change while it lives");
                self.job(None, Input::Answered { id, answer: Ok(Response::Message("changed".to_owned())) });
            }
            Effect::Reply { id, answer } => {
                let before = self.answers.insert(id, answer);
                assert!(before.is_none(), "{id:?} is answered twice, first with {before:?}");
            }
            Effect::Ended => {
                assert!(!self.ended && self.running.is_empty(), "{:?} live on", self.running);
                self.ended = true;
            }
        }
    }

    fn start(&mut self, start: Start) {
        self.starts += 1;
        let tasks = start.connector.get("tasks").cloned().flatten().and_then(|n| n.parse().ok()).unwrap_or(0);
        let Start { unit, epoch, target, .. } = start;
        let before = self.running.insert(unit.clone(), Running { epoch, tasks, stopping: false, failed: false });
        assert!(before.is_none(), "{unit:?} has two lives: {before:?} and {epoch:?}");
        let (fails_on_config, fails) = match unit {
            UnitId::Connector(_) => (self.mood.connectors_fail_on_config, self.mood.connectors_fail),
            UnitId::Task(_) => (self.mood.tasks_fail_on_config, self.mood.tasks_fail),
        };
        if fails_on_config {
            self.report(&unit, State::Failed, Some(ConnectError::config("bad config")));
            return;
        }
        let made = UnitEvent::Instantiated { unit: unit.clone(), epoch, version: "1".into() };
        self.job(Some(unit.clone()), Input::Unit(made));
        if fails && target == TargetState::Started {
            self.report(&unit, State::Failed, Some(ConnectError::connect("failed")));
        } else {
            self.report_target(&unit, target);
        }
    }

    fn living(&mut self, unit: &UnitId, epoch: Epoch) -> &mut Running {
        let life = self.running.get_mut(unit).unwrap_or_else(|| panic!("{unit:?} does not live"));
        assert!(life.epoch == epoch && !life.stopping, "an order for {epoch:?} of {unit:?}, but {life:?}");
        life
    }

    fn report_target(&mut self, unit: &UnitId, target: TargetState) {
        let state = match target {
            TargetState::Started => State::Running,
            TargetState::Paused => State::Paused,
            TargetState::Stopped => State::Stopped,
        };
        self.report(unit, state, None);
    }

    fn report(&mut self, unit: &UnitId, state: State, error: Option<ConnectError>) {
        let life = self.running.get_mut(unit).expect("only what runs reports");
        life.failed |= error.is_some();
        let epoch = life.epoch;
        self.job(Some(unit.clone()), Input::Unit(UnitEvent::State { unit: unit.clone(), epoch, state, error }));
    }

    fn job(&mut self, unit: Option<UnitId>, input: Input) {
        self.jobs.push_back(Job { unit, input });
    }

    /// The jobs that may be done now.
    fn next_jobs(&self) -> Vec<usize> {
        let mut seen = BTreeSet::new();
        let may_be_done = |(_, job): &(usize, &Job)| {
            let slow = self.mood.slow_offsets && matches!(job.input, Input::Answered { .. });
            let frozen = self.mood.frozen && job.unit.is_some();
            job.unit.as_ref().is_none_or(|unit| seen.insert(unit.clone())) && !slow && !frozen
        };
        self.jobs.iter().enumerate().filter(may_be_done).map(|(index, _)| index).collect()
    }

    /// Does one job, any that may be done.
    pub(super) fn work(&mut self, which: usize) {
        let next = self.next_jobs();
        let Some(index) = next.get(which % next.len().max(1)) else { return };
        let job = self.jobs.remove(*index).expect("it was just found");
        if let Input::Unit(UnitEvent::Ended { unit, .. }) = &job.input {
            self.running.remove(unit);
        }
        self.step(job.input);
    }

    /// Does all jobs that may be done.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            if self.next_jobs().is_empty() {
                return;
            }
            self.work(0);
        }
        panic!("the world does not come to rest: {:?}", self.jobs);
    }

    /// Lets time pass, in the herder's own steps, doing all jobs between.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        while let Some(next) = self.herder.next_deadline().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.step(Input::Tick);
            self.settle();
        }
        self.now = end;
        self.step(Input::Tick);
        self.settle();
    }

    /// Lets time pass and nothing else happen.
    pub(super) fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.step(Input::Tick);
    }

    fn pick(&self, which: usize, connectors: bool) -> Option<(UnitId, Epoch)> {
        let fits = |unit: &UnitId| !connectors || matches!(unit, UnitId::Connector(_));
        let all: Vec<_> = self.running.iter().filter(|(unit, life)| !life.stopping && fits(unit)).collect();
        let (unit, life) = all.get(which % all.len().max(1))?;
        Some(((*unit).clone(), life.epoch))
    }

    /// A connector asks to be asked for its tasks.
    pub(super) fn reconfigure(&mut self, which: usize) {
        if let Some((UnitId::Connector(connector), epoch)) = self.pick(which, true) {
            self.step(Input::Unit(UnitEvent::ReconfigurationRequested { connector, epoch }));
        }
    }

    /// Something that runs fails.
    pub(super) fn fail(&mut self, which: usize) {
        if let Some((unit, _)) = self.pick(which, false) {
            let said = |job: &Job| matches!(&job.input, Input::Unit(UnitEvent::State { unit: u, .. }) if *u == unit);
            self.jobs.retain(|job| !said(job));
            self.report(&unit, State::Failed, Some(ConnectError::connect("out of the blue")));
        }
    }

    /// Everything that is configured has reached what is wanted of it or has failed, and nothing else runs.
    pub(super) fn check_at_rest(&self) {
        let configured: BTreeSet<_> = self.herder.cluster.units().collect();
        let running: BTreeSet<_> = self.running.keys().cloned().collect();
        assert_eq!(configured, running);
        for (unit, life) in self.herder.units.lives() {
            assert!(life.is_settled() || matches!(life.phase, Phase::Failed(_)), "{unit:?} rests as {life:?}");
            assert!(self.herder.units.status(unit).is_some(), "{unit:?} has no status");
        }
    }
}
