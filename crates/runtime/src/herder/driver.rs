//! The herder's rim: performs what [`Herder::step`] says and feeds back what comes of it.
//!
//! It knows no rule of Connect. Whatever calls a plugin or the brokers runs beside the loop, so that a request is never held up by another; work
//! that panics or never ends still leaves its request with an answer, the latter after 90 seconds.
#![expect(clippy::disallowed_methods, reason = "driver: reads the clock, starts tasks, waits")]

use super::handle::{Call, HerderHandle};
use super::misspelt::misspelt;
use super::offsets::{Offsets, SinkGroups};
use super::pending::{REQUEST_TIMEOUT, RequestId};
use super::request::{HerderError, Response, ServerInfo};
use super::resolve::ConfigResolver;
use super::step::{Effect, Herder, Input, Settings};
use super::tasks;
use super::validate::Validation;
use crate::registry::Registry;
use crate::store::OffsetStore;
use crate::unit::{UnitEvent, Worker};
use crate::worker::guard::panicked;
use futures::FutureExt;
use kurier_api::config::Props;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// What a herder is made of.
pub struct HerderParts {
    /// `host:port` of this worker, as statuses show it.
    pub worker_id: Arc<str>,
    /// The plugins.
    pub registry: Arc<Registry>,
    /// What replaces references in configs.
    pub resolver: Arc<ConfigResolver>,
    /// What `GET /` says.
    pub server_info: ServerInfo,
    /// The worker's settings, as in its properties file.
    pub props: Props,
    /// Where source offsets are kept.
    pub offsets: Arc<dyn OffsetStore>,
    /// The consumer groups of sinks.
    pub sink_groups: Arc<dyn SinkGroups>,
    /// What runs connectors and tasks.
    pub worker: Arc<dyn Worker>,
    /// What it reports.
    pub events: mpsc::UnboundedReceiver<UnitEvent>,
}

/// A herder at work. Dropping it leaves it running; [`Self::shutdown`] ends it with all that it runs.
#[derive(Debug)]
pub struct RunningHerder {
    handle: HerderHandle,
    inputs: mpsc::UnboundedSender<Input>,
    ended: JoinHandle<()>,
}

impl RunningHerder {
    /// Starts a herder.
    pub fn start(parts: HerderParts, runtime: &Handle) -> Self {
        let (handle, calls) = HerderHandle::new();
        let (inputs, fed_back) = mpsc::unbounded_channel();
        let driver = Driver::new(parts, inputs.clone(), runtime.clone());
        let ended = runtime.spawn(driver.run(calls, fed_back));
        Self { handle, inputs, ended }
    }

    /// The way to ask it.
    pub fn handle(&self) -> HerderHandle {
        self.handle.clone()
    }

    /// Says that the connectors of the command line are created: health checks answer from now on.
    pub fn ready(&self) {
        // A herder that has ended is told nothing any more.
        let _ = self.inputs.send(Input::Ready);
    }

    /// Stops all connectors and tasks, each within its time, and ends.
    pub async fn shutdown(self) {
        let _ = self.inputs.send(Input::Shutdown);
        if let Err(error) = self.ended.await {
            tracing::error!("the herder ended badly: {error}");
        }
    }
}

/// Threads that plugins' validations and offset changes may hold; one that hangs keeps its place.
const PLUGIN_CALLS: usize = 64;

/// Requests that wait for their answers at the same time; more of them wait in line.
const WAITING_REQUESTS: usize = 1_000;

/// Whoever waits for an answer.
type Waiting = BTreeMap<RequestId, tokio::sync::oneshot::Sender<Result<Response, HerderError>>>;

struct Driver {
    herder: Herder,
    worker: Arc<dyn Worker>,
    events: mpsc::UnboundedReceiver<UnitEvent>,
    registry: Arc<Registry>,
    resolver: Arc<ConfigResolver>,
    validation: Arc<Validation>,
    offsets: Arc<Offsets>,
    inputs: mpsc::UnboundedSender<Input>,
    runtime: Handle,
    places: Arc<Semaphore>,
    waiting: Waiting,
    next_request: u64,
    /// The time since the epoch when the driver started, and the clock that counts from there: it never runs backwards.
    started: (Duration, Instant),
}

fn setting(props: &Props, key: &str) -> bool {
    props.get(key).is_none_or(|text| !text.trim().eq_ignore_ascii_case("false"))
}

impl Driver {
    fn new(parts: HerderParts, inputs: mpsc::UnboundedSender<Input>, runtime: Handle) -> Self {
        let herder = Herder::new(Settings {
            worker_id: parts.worker_id,
            registry: parts.registry.clone(),
            server_info: parts.server_info,
            topic_tracking: setting(&parts.props, "topic.tracking.enable"),
            topic_tracking_reset: setting(&parts.props, "topic.tracking.allow.reset"),
        });
        let offsets = Offsets {
            registry: parts.registry.clone(),
            resolver: parts.resolver.clone(),
            sources: parts.offsets,
            sinks: parts.sink_groups,
        };
        let validation =
            Validation { registry: parts.registry.clone(), resolver: parts.resolver.clone(), worker: parts.props };
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            herder,
            worker: parts.worker,
            events: parts.events,
            registry: parts.registry,
            resolver: parts.resolver,
            validation: Arc::new(validation),
            offsets: Arc::new(offsets),
            inputs,
            runtime,
            places: Arc::new(Semaphore::new(PLUGIN_CALLS)),
            waiting: Waiting::new(),
            next_request: 0,
            started: (since_epoch, Instant::now()),
        }
    }

    fn now(&self) -> Duration {
        self.started.0 + self.started.1.elapsed()
    }

    async fn run(mut self, mut calls: mpsc::Receiver<Call>, mut fed_back: mpsc::UnboundedReceiver<Input>) {
        let mut effects = Vec::new();
        loop {
            let due = self.herder.next_deadline().map(|at| at.saturating_sub(self.now()));
            let tick = async {
                match due {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            let input = tokio::select! {
                biased;
                Some(event) = self.events.recv() => Input::Unit(event),
                Some(input) = fed_back.recv() => input,
                Some(call) = calls.recv(), if self.waiting.len() < WAITING_REQUESTS => self.number(call),
                () = tick => Input::Tick,
            };
            self.herder.step(self.now(), input, &mut effects);
            for effect in effects.drain(..) {
                if let Effect::Ended = effect {
                    return;
                }
                perform(
                    effect,
                    &Rim {
                        worker: &self.worker,
                        registry: &self.registry,
                        resolver: &self.resolver,
                        validation: &self.validation,
                        offsets: &self.offsets,
                        inputs: &self.inputs,
                        runtime: &self.runtime,
                        places: &self.places,
                    },
                    &mut self.waiting,
                );
            }
        }
    }

    fn number(&mut self, call: Call) -> Input {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.waiting.insert(id, call.reply);
        Input::Request { id, request: call.request }
    }
}

/// What effects are performed with.
struct Rim<'a> {
    worker: &'a Arc<dyn Worker>,
    registry: &'a Arc<Registry>,
    resolver: &'a Arc<ConfigResolver>,
    validation: &'a Arc<Validation>,
    offsets: &'a Arc<Offsets>,
    inputs: &'a mpsc::UnboundedSender<Input>,
    runtime: &'a Handle,
    places: &'a Arc<Semaphore>,
}

impl Rim<'_> {
    /// Does work beside the loop; its result comes back as an input. Work that panics or takes too long has `otherwise` for a result.
    fn beside(
        &self,
        work: impl Future<Output = Input> + Send + 'static,
        otherwise: impl FnOnce(String) -> Input + Send + 'static,
    ) {
        let inputs = self.inputs.clone();
        self.runtime.spawn(async move {
            // A herder that has ended waits for nothing.
            let _ = inputs.send(bounded(work, otherwise).await);
        });
    }

    /// The same on a thread that the work may hold for as long as it likes: a plugin's validation.
    fn beside_blocking(
        &self,
        work: impl Future<Output = Input> + Send + 'static,
        otherwise: impl FnOnce(String) -> Input + Send + 'static,
    ) {
        let (inputs, runtime, places) = (self.inputs.clone(), self.runtime.clone(), self.places.clone());
        self.runtime.spawn(async move {
            // Whoever waits in vain for a place is answered by the request's own time-out.
            let Ok(place) = places.acquire_owned().await else { return };
            tokio::task::spawn_blocking(move || {
                let _ = inputs.send(runtime.block_on(bounded(work, otherwise)));
                drop(place);
            });
        });
    }
}

/// Work with an end.
async fn bounded(work: impl Future<Output = Input>, otherwise: impl FnOnce(String) -> Input) -> Input {
    match tokio::time::timeout(REQUEST_TIMEOUT, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(input)) => input,
        Ok(Err(panic)) => otherwise(panicked("asked by the herder", &*panic).message().unwrap_or_default().to_owned()),
        Err(_) => otherwise("A plugin or the brokers did not answer in time".to_owned()),
    }
}

fn perform(effect: Effect, rim: &Rim<'_>, waiting: &mut Waiting) {
    match effect {
        Effect::Start(start) => rim.worker.start(start),
        Effect::SetTarget { unit, epoch, target } => rim.worker.set_target(&unit, epoch, target),
        Effect::Stop { unit, epoch } => rim.worker.stop(&unit, epoch),
        Effect::Generate { connector, epoch, config } => {
            let (registry, resolver, worker) = (rim.registry.clone(), rim.resolver.clone(), rim.worker.clone());
            let name = connector.clone();
            let work = async move {
                let generated = tasks::generate(&registry, &resolver, &*worker, &connector, epoch, &config).await;
                Input::Generated { connector, epoch, generated }
            };
            rim.beside(work, move |panic| Input::Generated {
                connector: name,
                epoch,
                generated: super::step::Generated::Failed(kurier_api::ConnectError::connect(panic)),
            });
        }
        Effect::Validate { id, config } => {
            let validation = rim.validation.clone();
            let work = async move {
                let outcome = validation.validate(&config).await;
                if let Some(infos) = outcome.as_ref().ok().filter(|infos| infos.error_count == 0) {
                    let connector = config.get("name").cloned().flatten().unwrap_or_default();
                    for hint in misspelt(&config, infos) {
                        tracing::warn!("connector {connector}: {hint}");
                    }
                }
                Input::Validated { id, outcome }
            };
            rim.beside_blocking(work, move |panic| Input::Validated { id, outcome: Err(HerderError::internal(panic)) });
        }
        Effect::ShowValidation { id, plugin, config } => {
            let validation = rim.validation.clone();
            let work = async move {
                let answer = validation.show(&plugin, &config).await.map(Response::Validation);
                Input::Answered { id, answer }
            };
            rim.beside_blocking(work, move |panic| failed(id, panic));
        }
        Effect::ReadOffsets { id, name, config } => {
            let offsets = rim.offsets.clone();
            let work = async move { Input::Answered { id, answer: offsets.read(&name, &config).await } };
            rim.beside(work, move |panic| failed(id, panic));
        }
        Effect::ChangeOffsets { id, name, config, change } => {
            let offsets = rim.offsets.clone();
            let work = async move { Input::Answered { id, answer: offsets.change(&name, &config, &change).await } };
            rim.beside_blocking(work, move |panic| failed(id, panic));
        }
        Effect::Reply { id, answer } => {
            if let Some(reply) = waiting.remove(&id) {
                // Whoever asked may have gone away.
                let _ = reply.send(answer);
            }
        }
        Effect::Ended => {}
    }
}

fn failed(id: RequestId, panic: String) -> Input {
    Input::Answered { id, answer: Err(HerderError::internal(panic)) }
}

#[cfg(test)]
mod tests;
