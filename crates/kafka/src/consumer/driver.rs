//! The consumer's rim: its core with the calls that wait for an outcome.
//!
//! Heartbeats, fetches and rebalances go on in the driver's task whatever the application does; [`crate::net`] has that task.
#![expect(clippy::disallowed_methods, reason = "driver: reads the clock, chooses member ids")]

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::ResponseKind;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::core::{Call, CallId, ConsumerCore, Effect, Input, Outcome};
use super::{ConsumerError, Polled, Settings};
use crate::group::RequestId;
use crate::net::{Core, Driver, Outbox, Transport, TransportError};

/// A consumer's core with those who wait for it.
pub(super) struct Shared(Arc<Driver<Consuming>>);

struct Consuming {
    core: ConsumerCore,
    calls: HashMap<CallId, oneshot::Sender<Result<Outcome, ConsumerError>>>,
    next_call: u64,
}

impl Core for Consuming {
    type Effect = Effect;

    fn next_deadline(&self, now: Duration) -> Option<Duration> {
        self.core.next_deadline(now)
    }

    fn tick(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.core.step(now, Input::Tick, effects);
    }

    fn answer(
        &mut self,
        now: Duration,
        id: RequestId,
        response: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) {
        self.core.step(now, Input::Answer { id, response }, effects);
    }

    fn pass_on(&mut self, effect: Effect, outbox: &mut Outbox) {
        match effect {
            Effect::Send { id, to, request, timeout } => outbox.send(id, to, request, timeout),
            Effect::Brokers(brokers) => outbox.brokers(brokers),
            Effect::Wake => outbox.wake(),
            Effect::Done { call, outcome } => {
                if let Some(waiting) = self.calls.remove(&call) {
                    // Whoever asked may have gone; the outcome then concerns nobody.
                    let _ = waiting.send(outcome);
                }
            }
        }
    }
}

impl Shared {
    pub(super) fn start(mut settings: Settings, transport: Arc<dyn Transport>) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        settings.wall_origin_ms = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
        if let Some(own) = settings.epochs.as_mut().filter(|own| own.member_id.is_empty()) {
            own.member_id = Uuid::new_v4().to_string();
        }
        let core = Consuming { core: ConsumerCore::new(settings), calls: HashMap::new(), next_call: 0 };
        Self(Driver::start(core, transport))
    }

    /// Lets the core do something, and passes on what it wants done.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut ConsumerCore, Duration, &mut Vec<Effect>) -> T) -> T {
        self.0.with(|consuming, now, effects| act(&mut consuming.core, now, effects))
    }

    /// Asks the cluster, through the core.
    pub(super) async fn call(&self, call: Call, timeout: Duration) -> Result<Outcome, ConsumerError> {
        let (sender, receiver) = oneshot::channel();
        let asked = self.0.with_open(|consuming, now, effects| {
            consuming.next_call += 1;
            let id = CallId(consuming.next_call);
            consuming.calls.insert(id, sender);
            consuming.core.step(now, Input::Call { id, call, timeout }, effects);
        });
        asked.ok_or(ConsumerError::Closed)?;
        receiver.await.unwrap_or(Err(ConsumerError::Closed))
    }

    pub(super) async fn poll(&self, deadline: Instant) -> Result<Polled, ConsumerError> {
        // Also when the future is dropped: the application is off to other things then.
        let _working = Working(self);
        let look = || {
            let last = Instant::now() >= deadline;
            match self.with(|core, now, effects| core.poll(now, effects)) {
                Err(error) => ControlFlow::Break(Err(error)),
                Ok(Some(polled)) => ControlFlow::Break(Ok(polled)),
                Ok(None) if last => ControlFlow::Break(Ok(Polled::default())),
                Ok(None) => ControlFlow::Continue(Some(deadline)),
            }
        };
        self.0.until(look).await
    }

    /// Waits until `ready` holds; `false` if it did not before the deadline. Looks whenever a fetch or a look-up was answered.
    pub(super) async fn wait_until(&self, deadline: Instant, ready: impl Fn(&ConsumerCore) -> bool) -> bool {
        let look = || {
            let is_ready = self.with(|core, _, _| ready(core));
            match is_ready || Instant::now() >= deadline {
                true => ControlFlow::Break(is_ready),
                false => ControlFlow::Continue(Some(deadline)),
            }
        };
        self.0.until(look).await
    }

    /// Lets the task end. Nothing more is sent.
    pub(super) fn end(&self) {
        self.0.end(|consuming| consuming.calls.clear());
    }
}

/// Says at the end of a poll that the application is at work.
struct Working<'a>(&'a Shared);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.with(|core, now, effects| core.working(now, effects));
    }
}
