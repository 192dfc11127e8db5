//! The producer as its user has it: the core behind its driver.
//!
//! Records are packed on the user's thread, without a hop. Sending goes on in the driver's task whatever the user does.
#![expect(clippy::disallowed_methods, reason = "driver: reads the clock, waits")]

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::ResponseKind;

use super::core::{Appended, Effect, Input, Operation, ProducerCore};
use super::waits::Waits;
use super::{Delivery, DeliveryError, ProduceBatch, ProducerConfig, ProducerError, Settings};
use crate::consumer::Offsets;
use crate::error::KafkaError;
use crate::group::{GroupMetadata, RequestId};
use crate::metrics::Metric;
use crate::net::{Core, Driver, Groups, Outbox, TcpTransport, Transport, TransportError};

/// Sends records. Its user gives every record a ticket and takes the deliveries; whoever never does lets them pile up.
///
/// Dropping a producer ends it: what is under way may or may not arrive, and nobody is told.
pub struct Producer {
    shared: Arc<Driver<ProducerCore>>,
    transport: Arc<dyn Transport>,
    client_id: String,
    max_block: Duration,
    waits: Waits,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl Core for ProducerCore {
    type Effect = Effect;

    fn next_deadline(&self, now: Duration) -> Option<Duration> {
        self.next_deadline(now)
    }

    fn tick(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.step(now, Input::Tick, effects);
    }

    fn answer(
        &mut self,
        now: Duration,
        id: RequestId,
        response: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(TransportError::Refused(reason)) = &response {
            tracing::error!("the broker cannot be spoken with: {reason}");
        }
        self.step(now, Input::Answer { id, response }, effects);
    }

    fn pass_on(&mut self, effect: Effect, outbox: &mut Outbox) {
        match effect {
            Effect::Send { id, to, request, highest, timeout } => {
                outbox.send_at_most(id, to, request, highest, timeout);
            }
            Effect::Brokers(brokers) => outbox.brokers(brokers),
            Effect::Wake => outbox.wake(),
        }
    }
}

impl Producer {
    /// A producer over TCP; its task runs on the tokio runtime that this is called in. Nothing is connected before there is something to send.
    pub fn new(config: ProducerConfig) -> Self {
        // A new hasher has keys of its own; that is chance enough.
        let settings = Settings { seed: RandomState::new().hash_one(0_u8), ..config.settings };
        let client_id = config.net.client_id.clone();
        let mut producer = Self::with_transport(settings, Arc::new(TcpTransport::new(config.net)));
        producer.client_id = client_id;
        producer
    }

    /// A producer over any transport; its task runs on the tokio runtime that this is called in.
    pub fn with_transport(settings: Settings, transport: Arc<dyn Transport>) -> Self {
        let (max_block, waits) = (settings.max_block, Waits::new(settings.metrics));
        let shared = Driver::start(ProducerCore::new(settings), Arc::clone(&transport));
        Self { shared, transport, client_id: String::new(), max_block, waits }
    }

    /// Takes a batch, in order behind those before; waits while the buffer is full or a topic is not known yet. The batch is empty afterwards.
    ///
    /// Dropping the future leaves the records that were taken taken, and the batch as it was.
    pub async fn send(&self, batch: &mut ProduceBatch) -> Result<(), ProducerError> {
        let mut from = 0;
        let mut waiting = None;
        let look = || {
            // What it waited for may be another thing from now on.
            drop(waiting.take());
            let taken = self.shared.with_open(|core, now, effects| {
                let appended = core.append(now, wall_ms(), batch, from, effects);
                (appended, core.next_deadline(now))
            });
            match taken {
                None => ControlFlow::Break(Err(ProducerError::Closed)),
                Some((Appended::All, _)) => ControlFlow::Break(Ok(())),
                Some((Appended::UpTo(at, awaited), again)) => {
                    from = at;
                    waiting = Some(self.waits.wait(awaited));
                    // Besides room and metadata, time alone can end the wait: a topic that stays unknown is given up.
                    ControlFlow::Continue(again.and_then(|at| self.shared.instant(at)))
                }
            }
        };
        let sent = self.shared.until(look).await;
        if sent.is_ok() {
            batch.clear();
        }
        sent
    }

    /// What has become of records since the last call; waits until `deadline` for the first. Dropping the future loses nothing.
    pub async fn deliveries(&self, deadline: Instant) -> Vec<Delivery> {
        let look = || {
            let (deliveries, ended) = self.shared.look(|core, ended| (core.take_deliveries(), ended));
            if !deliveries.is_empty() || ended || Instant::now() >= deadline {
                return ControlFlow::Break(deliveries);
            }
            ControlFlow::Continue(Some(deadline))
        };
        self.shared.until(look).await
    }

    /// What has become of records since the last call, without waiting.
    pub fn take_deliveries(&self) -> Vec<Delivery> {
        self.shared.look(|core, _| core.take_deliveries())
    }

    /// Sends all that was taken before without lingering, and waits until it has been told of; [`Self::deliveries`] has the outcomes. Dropping the
    /// future only ends the wait. Ends when the producer is closed.
    pub async fn flush(&self) {
        let _going = self.waits.flush.begin();
        let mark = self.shared.with(|core, now, effects| core.flush(now, effects));
        let look = || match self.shared.look(|core, ended| ended || core.is_flushed(mark)) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(None),
        };
        self.shared.until(look).await;
    }

    /// How many partitions a topic has; waits for that no longer than `max.block.ms`. A topic that is not there may be created by asking.
    pub async fn partitions_for(&self, topic: &str) -> Result<i32, DeliveryError> {
        let topic: Arc<str> = topic.into();
        let look = || match self.shared.with(|core, now, effects| core.partitions_of(now, &topic, effects)) {
            Some(known) => ControlFlow::Break(known),
            None => ControlFlow::Continue(None),
        };
        let patience = self.max_block;
        tokio::time::timeout(patience, self.shared.until(look)).await.unwrap_or_else(|_| {
            Err(DeliveryError {
                class: "org.apache.kafka.common.errors.TimeoutException",
                message: format!("Topic {topic} not present in metadata after {} ms.", patience.as_millis()),
            })
        })
    }

    /// Gets the producer id of `transactional.id`: whoever has it is fenced, and its transaction aborted. Once, before anything else.
    ///
    /// This and the others of a transaction wait no longer than `max.block.ms`. What they began goes on then: call the same again to go on waiting. The same
    /// holds for a future that is dropped.
    ///
    /// # Errors
    /// Java's: `ProducerFencedException` means that another producer has the transactional id; nothing but closing this one is left then.
    pub async fn init_transactions(&self) -> Result<(), KafkaError> {
        self.operate(Operation::InitTransactions, |core, now, effects| core.init_transactions(now, effects)).await
    }

    /// Begins a transaction, to which everything sent from now on belongs.
    ///
    /// # Errors
    /// Java's, if this is not the moment.
    pub fn begin(&self) -> Result<(), KafkaError> {
        let _going = self.waits.begin.begin();
        self.shared.with_open(|core, _, _| core.begin_transaction()).unwrap_or_else(|| Err(closed()))
    }

    /// Makes offsets of a group part of the transaction: they are committed with it, or not at all (KIP-447).
    ///
    /// # Errors
    /// As [`Self::init_transactions`]; after others than a time-out, only [`Self::abort`] is left.
    pub async fn send_offsets(&self, offsets: &Offsets, group: &GroupMetadata) -> Result<(), KafkaError> {
        self.operate(Operation::SendOffsets, |core, now, effects| core.send_offsets(now, offsets, group, effects)).await
    }

    /// Sends all that was taken and commits the transaction. It fails if a record of it failed.
    ///
    /// # Errors
    /// As [`Self::send_offsets`]. After a time-out the transaction may be committed: call this again to know.
    pub async fn commit(&self) -> Result<(), KafkaError> {
        self.operate(Operation::Commit, |core, now, effects| core.commit_transaction(now, effects)).await
    }

    /// Aborts the transaction; records that were not sent yet are given up.
    ///
    /// # Errors
    /// As [`Self::init_transactions`].
    pub async fn abort(&self) -> Result<(), KafkaError> {
        self.operate(Operation::Abort, |core, now, effects| core.abort_transaction(now, effects)).await
    }

    async fn operate(
        &self,
        operation: Operation,
        begin: impl FnOnce(&mut ProducerCore, Duration, &mut Vec<Effect>) -> Result<(), KafkaError>,
    ) -> Result<(), KafkaError> {
        let _going = self.waits.of(operation).begin();
        self.shared.with_open(begin).unwrap_or_else(|| Err(closed()))?;
        let look = || match self.shared.look(|core, ended| (core.take_outcome(operation), ended)) {
            (Some(outcome), _) => ControlFlow::Break(outcome),
            (None, true) => ControlFlow::Break(Err(closed())),
            (None, false) => ControlFlow::Continue(None),
        };
        let outcome = tokio::time::timeout(self.max_block, self.shared.until(look)).await;
        outcome.unwrap_or_else(|_| Err(operation.timed_out(self.max_block)))
    }

    /// Flushes for so long, gives up what is left then, and ends. Every record has been told of afterwards: the deliveries can still be taken.
    pub async fn shutdown(&self, timeout: Duration) {
        let flushed = tokio::time::timeout(timeout, self.flush()).await;
        if flushed.is_err() {
            tracing::warn!("the producer is closed before all records are acknowledged; {timeout:?} are over");
            self.shared.with(|core, _, _| core.abort());
        }
        self.shared.end(|_| ());
    }

    /// What this producer and its connections count, under the names of Java's producer.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut out = Vec::new();
        self.shared.with(|core, now, _| core.metrics(now, &self.client_id, &mut out));
        self.waits.gather(&self.client_id, &mut out);
        let groups = Groups { client: "producer-metrics", node: "producer-node-metrics" };
        self.transport.metrics(&self.client_id, groups, &mut out);
        out
    }

    /// Ends at once. What is under way may or may not arrive.
    pub fn close(&self) {
        self.shared.end(|_| ());
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.end(|_| ());
    }
}

fn closed() -> KafkaError {
    KafkaError::illegal_state(ProducerError::Closed.to_string())
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
