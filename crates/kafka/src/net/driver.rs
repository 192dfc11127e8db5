//! What drives a core: a task that sends what it wants sent and tells it answers and time.
//!
//! Core and user share a lock: what the user asks for is decided on the user's own thread, without a hop. Sending goes on in the task whatever the
//! user does. Which effects a core has beside those that reach brokers is its own affair ([`Core::pass_on`]).
#![expect(clippy::disallowed_methods, reason = "driver: reads the clock, starts the task, waits")]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use kafka_protocol::messages::{RequestKind, ResponseKind};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Broker, Target, Transport, TransportError};
use crate::group::RequestId;

/// A client's decisions, as its driver sees them. Times are counted from the driver's start.
pub(crate) trait Core: Send + 'static {
    /// What it wants done.
    type Effect: Send;

    /// When it wants to be told of time; a moment in the past means now.
    fn next_deadline(&self, now: Duration) -> Option<Duration>;

    /// Time passed.
    fn tick(&mut self, now: Duration, effects: &mut Vec<Self::Effect>);

    /// A request ended.
    fn answer(
        &mut self,
        now: Duration,
        id: RequestId,
        answer: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Self::Effect>,
    );

    /// Puts an effect where it belongs.
    fn pass_on(&mut self, effect: Self::Effect, outbox: &mut Outbox);
}

/// A request on its way to the transport.
struct Asked {
    id: RequestId,
    to: Target,
    request: Box<RequestKind>,
    highest: Option<i16>,
    timeout: Duration,
}

/// What a core wants of its driver.
#[derive(Default)]
pub(crate) struct Outbox {
    requests: Vec<Asked>,
    brokers: Option<Vec<Broker>>,
    /// Something has come for the task since it was last woken.
    work: bool,
    wake: bool,
}

impl Outbox {
    /// Sends a request; its end comes back to [`Core::answer`] under this id.
    pub(crate) fn send(&mut self, id: RequestId, to: Target, request: Box<RequestKind>, timeout: Duration) {
        self.send_at_most(id, to, request, None, timeout);
    }

    /// As [`Self::send`], in no higher version than `highest`.
    pub(crate) fn send_at_most(
        &mut self,
        id: RequestId,
        to: Target,
        request: Box<RequestKind>,
        highest: Option<i16>,
        timeout: Duration,
    ) {
        self.requests.push(Asked { id, to, request, highest, timeout });
        self.work = true;
    }

    /// Tells the transport of the cluster's brokers.
    pub(crate) fn brokers(&mut self, brokers: Vec<Broker>) {
        self.brokers = Some(brokers);
        self.work = true;
    }

    /// Lets those who wait look again.
    pub(crate) fn wake(&mut self) {
        self.wake = true;
    }
}

/// A core with its task and those who wait for it.
pub(crate) struct Driver<C: Core> {
    state: Mutex<State<C>>,
    /// There may be something for those who wait.
    wake: Notify,
    /// There is something for the task to do.
    work: Notify,
    origin: Instant,
}

struct State<C: Core> {
    core: C,
    effects: Vec<C::Effect>,
    /// What the task has not taken yet.
    outbox: Outbox,
    /// When the task looks again by itself.
    armed: Option<Duration>,
    ended: bool,
}

impl<C: Core> Driver<C> {
    /// Starts the task on the tokio runtime that this is called in.
    pub(crate) fn start(core: C, transport: Arc<dyn Transport>) -> Arc<Self> {
        let state = State { core, effects: Vec::new(), outbox: Outbox::default(), armed: None, ended: false };
        let driver = Arc::new(Self {
            state: Mutex::new(state),
            wake: Notify::new(),
            work: Notify::new(),
            origin: Instant::now(),
        });
        tokio::spawn(run(Arc::clone(&driver), transport));
        driver
    }

    /// Lets the core do something, and passes on what it wants done.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut C, Duration, &mut Vec<C::Effect>) -> T) -> T {
        let now = self.origin.elapsed();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let result = act(&mut state.core, now, &mut state.effects);
        self.pass_on(state, now);
        result
    }

    /// As [`Self::with`], unless all is over.
    pub(crate) fn with_open<T>(&self, act: impl FnOnce(&mut C, Duration, &mut Vec<C::Effect>) -> T) -> Option<T> {
        let now = self.origin.elapsed();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.ended {
            return None;
        }
        let result = act(&mut state.core, now, &mut state.effects);
        self.pass_on(state, now);
        Some(result)
    }

    /// Looks at the core or takes something out of it, which makes nothing to be done; also says whether all is over.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut C, bool) -> T) -> T {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        look(&mut state.core, state.ended)
    }

    fn pass_on(&self, state: &mut State<C>, now: Duration) {
        for effect in state.effects.drain(..) {
            state.core.pass_on(effect, &mut state.outbox);
        }
        if std::mem::take(&mut state.outbox.wake) {
            self.wake.notify_waiters();
        }
        let next = state.core.next_deadline(now);
        let sooner = next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed));
        if std::mem::take(&mut state.outbox.work) || sooner || state.ended {
            self.work.notify_one();
        }
    }

    /// Looks, and looks again whenever the core wakes those who wait and at the moment that the last look named, until a look ends it.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut() -> ControlFlow<T, Option<Instant>>) -> T {
        loop {
            let wake = self.wake.notified();
            tokio::pin!(wake);
            // From here on no wake is missed.
            wake.as_mut().enable();
            let again = match look() {
                ControlFlow::Break(found) => return found,
                ControlFlow::Continue(again) => again,
            };
            tokio::select! {
                () = wake => {}
                () = sleep_until(again) => {}
            }
        }
    }

    /// A time of the core's on the clock; one beyond the clock's range never comes.
    pub(crate) fn instant(&self, at: Duration) -> Option<Instant> {
        self.origin.checked_add(at)
    }

    /// Lets the task end. Nothing more is sent; `last` is for what then concerns nobody.
    pub(crate) fn end(&self, last: impl FnOnce(&mut C)) {
        let mut state = self.state.lock();
        state.ended = true;
        last(&mut state.core);
        self.work.notify_one();
        self.wake.notify_waiters();
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn run<C: Core>(driver: Arc<Driver<C>>, transport: Arc<dyn Transport>) {
    let mut in_flight = FuturesUnordered::new();
    loop {
        let armed = {
            let now = driver.origin.elapsed();
            let mut guard = driver.state.lock();
            let state = &mut *guard;
            if state.ended {
                return;
            }
            // Also what has become due since somebody else looked.
            if state.core.next_deadline(Duration::ZERO).is_some_and(|at| at <= now) {
                state.core.tick(now, &mut state.effects);
                driver.pass_on(state, now);
            }
            if let Some(brokers) = state.outbox.brokers.take() {
                transport.brokers(&brokers);
            }
            for Asked { id, to, request, highest, timeout } in state.outbox.requests.drain(..) {
                let answer = transport.send(to, request, highest, timeout);
                in_flight.push(async move { (id, answer.await) });
            }
            state.armed = state.core.next_deadline(now);
            state.armed
        };
        tokio::select! {
            Some((id, answer)) = in_flight.next(), if !in_flight.is_empty() => {
                driver.with(|core, now, effects| core.answer(now, id, answer, effects));
            }
            () = driver.work.notified() => {}
            () = sleep_until(armed.and_then(|at| driver.instant(at))) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;
    use kafka_protocol::messages::{MetadataRequest, MetadataResponse};

    use super::*;

    /// Asks when it is told to, and never wants to be told of time.
    #[derive(Default)]
    struct Asking {
        answered: Vec<RequestId>,
    }

    impl Core for Asking {
        type Effect = RequestId;

        fn next_deadline(&self, _: Duration) -> Option<Duration> {
            Some(Duration::MAX)
        }

        fn tick(&mut self, _: Duration, _: &mut Vec<RequestId>) {
            panic!("it is not time");
        }

        fn answer(
            &mut self,
            _: Duration,
            id: RequestId,
            _: Result<ResponseKind, TransportError>,
            _: &mut Vec<RequestId>,
        ) {
            self.answered.push(id);
        }

        fn pass_on(&mut self, id: RequestId, outbox: &mut Outbox) {
            let request = Box::new(RequestKind::Metadata(MetadataRequest::default()));
            outbox.send(id, Target::Any, request, Duration::MAX);
        }
    }

    struct Echo;

    impl Transport for Echo {
        fn send(
            &self,
            _: Target,
            _: Box<RequestKind>,
            _: Option<i16>,
            _: Duration,
        ) -> BoxFuture<'static, Result<ResponseKind, TransportError>> {
            Box::pin(async { Ok(ResponseKind::Metadata(MetadataResponse::default())) })
        }

        fn brokers(&self, _: &[Broker]) {}
    }

    #[test]
    fn a_time_beyond_the_clock_never_comes_and_answers_do() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let driver = Driver::start(Asking::default(), Arc::new(Echo));
            for id in [1, 2] {
                driver.with(|_, _, effects| effects.push(RequestId(id)));
            }
            while driver.look(|core, _| core.answered.len()) < 2 {
                tokio::task::yield_now().await;
            }
            driver.end(|core| core.answered.clear());
            assert_eq!(driver.with_open(|_, _, _| ()), None);
        });
    }
}
