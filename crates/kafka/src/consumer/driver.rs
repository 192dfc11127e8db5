//! The consumer's rim: a task that sends what the core wants sent and tells it answers and time.
//!
//! Core and application share a lock: what the application asks for is decided on its own thread, and records are handed over without a hop.
//! Heartbeats, fetches and rebalances go on in the task whatever the application does.
#![expect(clippy::disallowed_methods, reason = "driver: reads the clock, starts the task, waits")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use kafka_protocol::messages::RequestKind;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::core::{Call, CallId, ConsumerCore, Effect, Input, Outcome};
use super::{ConsumerError, Polled, Settings};
use crate::group::{RequestId, Unanswered};
use crate::net::{Broker, Target, Transport, TransportError};

/// A consumer's core with those who wait for it.
pub(super) struct Shared {
    state: Mutex<State>,
    /// There may be something to poll.
    wake: Notify,
    /// There is something for the task to do.
    work: Notify,
    origin: Instant,
}

struct State {
    core: ConsumerCore,
    effects: Vec<Effect>,
    /// Requests not yet taken by the task.
    outbox: Vec<(RequestId, Target, Box<RequestKind>, Duration)>,
    brokers: Option<Vec<Broker>>,
    calls: HashMap<CallId, oneshot::Sender<Result<Outcome, ConsumerError>>>,
    next_call: u64,
    /// When the task looks again by itself.
    armed: Option<Duration>,
    /// Nobody will poll any more.
    ended: bool,
}

impl Shared {
    pub(super) fn start(settings: Settings, transport: Arc<dyn Transport>) -> Arc<Self> {
        let state = State {
            core: ConsumerCore::new(settings),
            effects: Vec::new(),
            outbox: Vec::new(),
            brokers: None,
            calls: HashMap::new(),
            next_call: 0,
            armed: None,
            ended: false,
        };
        let shared = Arc::new(Self {
            state: Mutex::new(state),
            wake: Notify::new(),
            work: Notify::new(),
            origin: Instant::now(),
        });
        tokio::spawn(run(Arc::clone(&shared), transport));
        shared
    }

    /// Lets the core do something, and passes on what it wants done.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut ConsumerCore, Duration, &mut Vec<Effect>) -> T) -> T {
        let now = self.origin.elapsed();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let result = act(&mut state.core, now, &mut state.effects);
        self.pass_on(state, now);
        result
    }

    fn pass_on(&self, state: &mut State, now: Duration) {
        let mut work = state.ended;
        for effect in state.effects.drain(..) {
            match effect {
                Effect::Send { id, to, request, timeout } => {
                    state.outbox.push((id, to, request, timeout));
                    work = true;
                }
                Effect::Brokers(brokers) => {
                    state.brokers = Some(brokers);
                    work = true;
                }
                Effect::Wake => self.wake.notify_waiters(),
                Effect::Done { call, outcome } => {
                    if let Some(waiting) = state.calls.remove(&call) {
                        // Whoever asked may have gone; the outcome then concerns nobody.
                        let _ = waiting.send(outcome);
                    }
                }
            }
        }
        let next = state.core.next_deadline(now);
        if work || next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed)) {
            self.work.notify_one();
        }
    }

    /// Asks the cluster, through the core.
    pub(super) async fn call(&self, call: Call, timeout: Duration) -> Result<Outcome, ConsumerError> {
        let (sender, receiver) = oneshot::channel();
        {
            let now = self.origin.elapsed();
            let mut guard = self.state.lock();
            let state = &mut *guard;
            if state.ended {
                return Err(ConsumerError::Closed);
            }
            state.next_call += 1;
            let id = CallId(state.next_call);
            state.calls.insert(id, sender);
            state.core.step(now, Input::Call { id, call, timeout }, &mut state.effects);
            self.pass_on(state, now);
        }
        receiver.await.unwrap_or(Err(ConsumerError::Closed))
    }

    pub(super) async fn poll(&self, deadline: Instant) -> Result<Polled, ConsumerError> {
        // Also when the future is dropped: the application is off to other things then.
        let _working = Working(self);
        loop {
            let wake = self.wake.notified();
            tokio::pin!(wake);
            // From here on no wake is missed.
            wake.as_mut().enable();
            let last = Instant::now() >= deadline;
            match self.with(|core, now, effects| core.poll(now, effects))? {
                Some(polled) => return Ok(polled),
                None if last => return Ok(Polled::default()),
                None => {}
            }
            tokio::select! {
                () = wake => {}
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
        }
    }

    /// Waits until `ready` holds; `false` if it did not before the deadline. Looks whenever a fetch or a look-up was answered.
    pub(super) async fn wait_until(&self, deadline: Instant, ready: impl Fn(&ConsumerCore) -> bool) -> bool {
        loop {
            let wake = self.wake.notified();
            tokio::pin!(wake);
            wake.as_mut().enable();
            if self.with(|core, _, _| ready(core)) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            tokio::select! {
                () = wake => {}
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
        }
    }

    /// Lets the task end. Nothing more is sent.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.calls.clear();
        self.work.notify_one();
        self.wake.notify_waiters();
    }
}

/// Says at the end of a poll that the application is at work.
struct Working<'a>(&'a Shared);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.with(|core, now, effects| core.working(now, effects));
    }
}

async fn run(shared: Arc<Shared>, transport: Arc<dyn Transport>) {
    let mut in_flight = FuturesUnordered::new();
    loop {
        let armed = {
            let now = shared.origin.elapsed();
            let mut guard = shared.state.lock();
            let state = &mut *guard;
            if state.ended {
                return;
            }
            if state.core.next_deadline(Duration::ZERO).is_some_and(|at| at <= now) {
                state.core.step(now, Input::Tick, &mut state.effects);
                shared.pass_on(state, now);
            }
            if let Some(brokers) = state.brokers.take() {
                transport.brokers(&brokers);
            }
            for (id, to, request, timeout) in state.outbox.drain(..) {
                let answer = transport.send(to, request, timeout);
                in_flight.push(async move { (id, answer.await) });
            }
            state.armed = state.core.next_deadline(now);
            state.armed
        };
        let sleep = async {
            // A time beyond the clock's range never comes.
            match armed.and_then(|at| shared.origin.checked_add(at)) {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((id, answer)) = in_flight.next(), if !in_flight.is_empty() => shared.with(|core, now, effects| {
                let response = answer.map_err(|error| {
                    if let TransportError::Refused(reason) = error {
                        core.report(ConsumerError::Config(reason), effects);
                    }
                    Unanswered
                });
                core.step(now, Input::Answer { id, response }, effects);
            }),
            () = shared.work.notified() => {}
            () = sleep => {}
        }
    }
}
