//! The producer's rim: a task that sends what the core wants sent and tells it answers and time.
//!
//! Core and user share a lock: records are packed on the user's thread, without a hop. Sending goes on in the task whatever the user does.
#![expect(clippy::disallowed_methods, reason = "driver: reads the clock, starts the task, waits")]

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::stream::{FuturesUnordered, StreamExt};
use kafka_protocol::messages::RequestKind;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::core::{Appended, Effect, Input, ProducerCore};
use super::{Delivery, DeliveryError, ProduceBatch, ProducerConfig, ProducerError, Settings};
use crate::group::{RequestId, Unanswered};
use crate::net::{Broker, Target, TcpTransport, Transport, TransportError};

/// Sends records. Its user gives every record a ticket and takes the deliveries; whoever never does lets them pile up.
///
/// Dropping a producer ends it: what is under way may or may not arrive, and nobody is told.
pub struct Producer {
    shared: Arc<Shared>,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

struct Shared {
    state: Mutex<State>,
    /// There may be room, or deliveries.
    wake: Notify,
    /// There is something for the task to do.
    work: Notify,
    origin: Instant,
    max_block: Duration,
}

struct State {
    core: ProducerCore,
    effects: Vec<Effect>,
    /// Requests not yet taken by the task.
    outbox: Vec<(RequestId, Target, Box<RequestKind>, Duration)>,
    brokers: Option<Vec<Broker>>,
    /// When the task looks again by itself.
    armed: Option<Duration>,
    ended: bool,
}

impl Producer {
    /// A producer over TCP; its task runs on the tokio runtime that this is called in. Nothing is connected before there is something to send.
    pub fn new(config: ProducerConfig) -> Self {
        Self::with_transport(config.settings, Arc::new(TcpTransport::new(config.net)))
    }

    /// A producer over any transport; its task runs on the tokio runtime that this is called in.
    pub fn with_transport(settings: Settings, transport: Arc<dyn Transport>) -> Self {
        let max_block = settings.max_block;
        let state = State {
            core: ProducerCore::new(settings),
            effects: Vec::new(),
            outbox: Vec::new(),
            brokers: None,
            armed: None,
            ended: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            wake: Notify::new(),
            work: Notify::new(),
            origin: Instant::now(),
            max_block,
        });
        tokio::spawn(run(Arc::clone(&shared), transport));
        Self { shared }
    }

    /// Takes a batch, in order behind those before; waits while the buffer is full or a topic is not known yet. The batch is empty afterwards.
    ///
    /// Dropping the future leaves the records that were taken taken, and the batch as it was.
    pub async fn send(&self, batch: &mut ProduceBatch) -> Result<(), ProducerError> {
        let mut from = 0;
        loop {
            let wake = self.shared.wake.notified();
            tokio::pin!(wake);
            wake.as_mut().enable();
            let (appended, retry_at) = {
                let now = self.shared.origin.elapsed();
                let mut guard = self.shared.state.lock();
                let state = &mut *guard;
                if state.ended {
                    return Err(ProducerError::Closed);
                }
                let appended = state.core.append(now, wall_ms(), batch, from, &mut state.effects);
                self.shared.pass_on(state, now);
                (appended, state.core.next_deadline(now))
            };
            match appended {
                Appended::All => {
                    batch.clear();
                    return Ok(());
                }
                Appended::UpTo(at) => from = at,
            }
            // Besides room and metadata, time alone can end the wait: a topic that stays unknown is given up.
            let alarm = async {
                match retry_at {
                    Some(at) => tokio::time::sleep_until((self.shared.origin + at).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wake => {}
                () = alarm => {}
            }
        }
    }

    /// What has become of records since the last call; waits until `deadline` for the first. Dropping the future loses nothing.
    pub async fn deliveries(&self, deadline: Instant) -> Vec<Delivery> {
        loop {
            let wake = self.shared.wake.notified();
            tokio::pin!(wake);
            wake.as_mut().enable();
            let (deliveries, ended) = {
                let mut state = self.shared.state.lock();
                (state.core.take_deliveries(), state.ended)
            };
            if !deliveries.is_empty() || ended || Instant::now() >= deadline {
                return deliveries;
            }
            tokio::select! {
                () = wake => {}
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
        }
    }

    /// What has become of records since the last call, without waiting.
    pub fn take_deliveries(&self) -> Vec<Delivery> {
        self.shared.state.lock().core.take_deliveries()
    }

    /// Sends all that was taken before without lingering, and waits until it has been told of; [`Self::deliveries`] has the outcomes. Dropping the
    /// future only ends the wait. Ends when the producer is closed.
    pub async fn flush(&self) {
        let mark = self.shared.with(|core, now, effects| core.flush(now, effects));
        loop {
            let wake = self.shared.wake.notified();
            tokio::pin!(wake);
            wake.as_mut().enable();
            {
                let state = self.shared.state.lock();
                if state.ended || state.core.is_flushed(mark) {
                    return;
                }
            }
            wake.await;
        }
    }

    /// How many partitions a topic has; waits for that no longer than `max.block.ms`. A topic that is not there may be created by asking.
    pub async fn partitions_for(&self, topic: &str) -> Result<i32, DeliveryError> {
        let topic: Arc<str> = topic.into();
        let asked = async {
            loop {
                let wake = self.shared.wake.notified();
                tokio::pin!(wake);
                wake.as_mut().enable();
                if let Some(known) = self.shared.with(|core, now, effects| core.partitions_of(now, &topic, effects)) {
                    return known;
                }
                wake.await;
            }
        };
        let patience = self.shared.max_block;
        tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| {
            Err(DeliveryError {
                class: "org.apache.kafka.common.errors.TimeoutException",
                message: format!("Topic {topic} not present in metadata after {} ms.", patience.as_millis()),
            })
        })
    }

    /// Flushes for so long, gives up what is left then, and ends. Every record has been told of afterwards: the deliveries can still be taken.
    pub async fn shutdown(&self, timeout: Duration) {
        let flushed = tokio::time::timeout(timeout, self.flush()).await;
        if flushed.is_err() {
            tracing::warn!("the producer is closed before all records are acknowledged; {timeout:?} are over");
            self.shared.with(|core, _, _| core.abort());
        }
        self.shared.end();
    }

    /// Ends at once. What is under way may or may not arrive.
    pub fn close(&self) {
        self.shared.end();
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl Shared {
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
            }
        }
        let next = state.core.next_deadline(now);
        if work || next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed)) {
            self.work.notify_one();
        }
    }

    /// Lets the core do something, and passes on what it wants done.
    fn with<T>(&self, act: impl FnOnce(&mut ProducerCore, Duration, &mut Vec<Effect>) -> T) -> T {
        let now = self.origin.elapsed();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let result = act(&mut state.core, now, &mut state.effects);
        self.pass_on(state, now);
        result
    }

    fn end(&self) {
        self.state.lock().ended = true;
        self.work.notify_one();
        self.wake.notify_waiters();
    }
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
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
            // Also what has become due since somebody else looked.
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
            match armed {
                Some(at) => tokio::time::sleep_until((shared.origin + at).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((id, answer)) = in_flight.next(), if !in_flight.is_empty() => {
                let response = answer.map_err(|error| {
                    if let TransportError::Refused(reason) = error {
                        tracing::error!("the broker cannot be spoken with: {reason}");
                    }
                    Unanswered
                });
                shared.with(|core, now, effects| core.step(now, Input::Answer { id, response }, effects));
            }
            () = shared.work.notified() => {}
            () = sleep => {}
        }
    }
}
