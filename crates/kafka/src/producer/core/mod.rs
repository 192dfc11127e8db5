//! The producer's decisions: which records form a batch, what is sent when, and what an answer means. No IO.
//!
//! Records wait per partition: in an open batch, in finished ones, and in those that fly. Up to [`Settings::max_in_flight`] batches of a partition fly at
//! once. Order is kept like this: once a batch has to be sent again, nothing new of its partition leaves; when all answers are in, what is to be sent
//! again goes first, one at a time, under its old sequence numbers, so that the broker knows it again if it has it already. A batch that is given up
//! leaves a gap that no later sequence number may follow; the producer then takes the next epoch and counts from 0, but not before everything that may
//! have arrived under the old one is answered for. A transactional producer does not do that by itself: its transaction then can only be aborted.
//!
//! What comes out: [`Effect`]s for the driver, [`Delivery`]s for the user. Bounded by [`Settings::buffer_bytes`]: [`ProducerCore::append`] takes
//! nothing while that is full. `partition` has the batches, `sending` what is done with them, `verdict` the errors, `cluster` metadata and
//! producer id, `transaction` what a transactional id adds.

mod alike;
mod cluster;
mod partition;
mod sending;
mod transaction;
mod verdict;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use kafka_protocol::messages::{RequestKind, ResponseKind};

use self::cluster::Topic;
use self::partition::{Flying, Open, Partition, Spare, Tickets, add_ticket, finish, give_up, next_after};
pub use self::transaction::Operation;
use self::transaction::{Membership, Transaction, TransactionAsked};
use super::figures::Figures;
use super::partitioner::{Chance, Leaders, choose, next_in_turn, partition_of};
use super::{Delivery, DeliveryError, Outgoing, ProduceBatch, Settings};
use crate::batch::{Builder, BuilderOptions, Compression, HEADER_LEN, HeaderRef, record_size};
use crate::consumer::TopicPartition;
use crate::group::RequestId;
use crate::metrics::Metric;
use crate::net::TransportError;
use crate::net::{Broker, Target};

/// Most bytes before compression that a batch grows to while it waits.
const MAX_PLAIN_BACKLOG: usize = 1 << 20;
/// Most bytes that a batch takes before there are records for them.
const MAX_FIRST_ALLOCATION: usize = 1 << 20;

/// What happens to a producer.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "moved once a request, never stored")]
pub enum Input {
    /// Time passed.
    Tick,
    /// A request ended.
    Answer {
        /// Which.
        id: RequestId,
        /// Its answer.
        response: Result<ResponseKind, TransportError>,
    },
}

/// What a producer wants done.
#[derive(Debug)]
pub enum Effect {
    /// Send a request; its end comes back as [`Input::Answer`].
    Send {
        /// Names it.
        id: RequestId,
        /// To whom.
        to: Target,
        /// What.
        request: Box<RequestKind>,
        /// The version must not be higher than this.
        highest: Option<i16>,
        /// How long to wait for the answer.
        timeout: Duration,
    },
    /// The brokers are these.
    Brokers(Vec<Broker>),
    /// Whoever waits for room or for deliveries shall look again.
    Wake,
}

/// What [`ProducerCore::append`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The whole batch was taken.
    All,
    /// The records before this one were taken; what it waits for has to come first.
    UpTo(usize, Awaited),
}

/// What a record waits for that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Room within `buffer.memory`.
    Room,
    /// What the cluster says of its topic.
    Metadata,
}

/// How far records had been taken when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    const ALL: Self = Self(u64::MAX);
}

#[derive(Debug)]
enum Asked {
    Metadata,
    ProducerId,
    /// By the broker that was asked.
    Produce(i32, Vec<TopicPartition>),
    Transaction(TransactionAsked),
}

/// A producer without its rim.
#[derive(Debug)]
pub struct ProducerCore {
    settings: Settings,
    /// Nothing is taken out of these two, so places in them stay good.
    topics: IndexMap<Arc<str>, Topic>,
    partitions: IndexMap<TopicPartition, Partition>,
    brokers: BTreeMap<i32, Broker>,
    producer: Option<(i64, i16)>,
    /// A broker knows a later epoch of this producer id, which then is not ours alone.
    fenced: bool,
    /// None without `transactional.id`.
    transaction: Option<Transaction>,
    asked: BTreeMap<RequestId, Asked>,
    pub(super) figures: Figures,
    next_request: u64,
    next_serial: u64,
    buffered: usize,
    deliveries: VecDeque<Delivery>,
    metadata_wanted: bool,
    metadata_at: Duration,
    metadata_failures: u32,
    metadata_stale_at: Duration,
    id_at: Duration,
    id_failures: u32,
    ratio: f32,
    /// Which brokers keep up.
    leaders: Leaders,
    /// Chooses partitions.
    chance: Chance,
    /// Spreads retries.
    jitter: Chance,
    spare: Spare,
    /// What batches grow to while they wait; less where the broker found one too large.
    backlog_bytes: usize,
}

impl ProducerCore {
    /// A producer that knows nothing yet.
    pub fn new(settings: Settings) -> Self {
        let backlog_bytes = settings.backlog_batch_bytes.min(settings.max_request_bytes);
        let chance = Chance::new(settings.seed);
        let figures = Figures::new(settings.metrics);
        let id = settings.transactional_id.clone();
        let transaction = id.map(|id| Transaction::new(id, settings.transaction_timeout));
        Self {
            settings,
            topics: IndexMap::new(),
            partitions: IndexMap::new(),
            brokers: BTreeMap::new(),
            producer: None,
            fenced: false,
            transaction,
            asked: BTreeMap::new(),
            figures,
            next_request: 0,
            next_serial: 0,
            buffered: 0,
            deliveries: VecDeque::new(),
            metadata_wanted: false,
            metadata_at: Duration::ZERO,
            metadata_failures: 0,
            metadata_stale_at: Duration::MAX,
            id_at: Duration::ZERO,
            id_failures: 0,
            ratio: 1.0,
            leaders: Leaders::default(),
            chance,
            jitter: chance,
            backlog_bytes,
            spare: Spare::default(),
        }
    }

    /// Takes the records of a batch from `from` on, as far as there is room. `wall_ms` is the timestamp of records that have none.
    pub fn append(
        &mut self,
        now: Duration,
        wall_ms: i64,
        batch: &ProduceBatch,
        from: usize,
        effects: &mut Vec<Effect>,
    ) -> Appended {
        if let Some(reason) = self.closed_to_records() {
            for record in batch.iter().skip(from) {
                self.tell(&record, reason.clone());
            }
            self.advance(now, effects);
            return Appended::All;
        }
        let mut headers: Vec<HeaderRef<'_>> = Vec::new();
        // Records of one topic come one behind the other; its place is looked up once.
        let mut recent: Option<(&Arc<str>, usize)> = None;
        let mut taken = Appended::All;
        let mut next = from;
        while let Some(record) = batch.get(next) {
            let at = next;
            next += 1;
            headers.clear();
            headers.extend(record.headers().map(|(key, value)| HeaderRef { key, value }));
            let size = record_size(record.key, record.value, &headers);
            if size > self.settings.max_request_bytes {
                let limit = self.settings.max_request_bytes;
                self.refuse(&record, "org.apache.kafka.common.errors.RecordTooLargeException", format!(
                    "The message is {size} bytes when serialized which is larger than {limit}, which is the value of the max.request.size \
                     configuration."
                ));
                continue;
            }
            // A record larger than the whole buffer passes when nothing else is there.
            if self.buffered > 0 && self.buffered + size > self.settings.buffer_bytes {
                taken = Appended::UpTo(at, Awaited::Room);
                break;
            }
            let topic = match recent {
                Some((topic, place)) if Arc::ptr_eq(topic, record.topic) => place,
                _ => self.topic_place(now, record.topic),
            };
            recent = Some((record.topic, topic));
            let Some(partition) = self.partition_for(now, &record, size, topic) else {
                taken = Appended::UpTo(at, Awaited::Metadata);
                break;
            };
            let Some(partition) = partition else { continue };
            let place = self.partition_place(topic, partition);
            let bytes = self.push(now, wall_ms, place, &record, &headers);
            if self.settings.takes_turns(&record) {
                self.topics[topic].sticky.add(bytes);
                next = self.append_alike(wall_ms, batch, next, record.topic, (topic, place));
            }
        }
        self.advance(now, effects);
        taken
    }

    /// The partition of a record; outer none while its topic is unknown, inner none if the record was refused.
    fn partition_for(
        &mut self,
        now: Duration,
        record: &Outgoing<'_>,
        size: usize,
        topic_at: usize,
    ) -> Option<Option<i32>> {
        let topic = &mut self.topics[topic_at];
        if let Some(error) = topic.refused.clone() {
            // Somebody may have mended it since.
            self.want_metadata(now);
            self.refuse(record, error.class, error.message);
            return Some(None);
        }
        let Some(count) = topic.partitions else {
            let since = *topic.unknown_since.get_or_insert(now);
            if now.saturating_sub(since) >= self.settings.max_block {
                let patience = self.settings.max_block.as_millis();
                let message = format!("Topic {} not present in metadata after {patience} ms.", record.topic);
                self.refuse(record, "org.apache.kafka.common.errors.TimeoutException", message);
                return Some(None);
            }
            return None;
        };
        match (record.partition, record.key) {
            (Some(partition), _) if (0..count).contains(&partition) => Some(Some(partition)),
            (Some(partition), _) => {
                // Java waits for a partition that does not exist until `max.block.ms` is over; it may be added.
                let since = *topic.narrow_since.get_or_insert(now);
                if now.saturating_sub(since) < self.settings.max_block {
                    self.want_metadata(now);
                    return None;
                }
                topic.narrow_since = None;
                let patience = self.settings.max_block.as_millis();
                let message = format!(
                    "Partition {partition} of topic {} with partition count {count} is not present in metadata after {patience} ms.",
                    record.topic
                );
                self.refuse(record, "org.apache.kafka.common.errors.TimeoutException", message);
                Some(None)
            }
            (None, Some(key)) if !self.settings.ignore_keys => Some(Some(partition_of(key, count))),
            (None, _) => {
                let stays = topic.sticky.stays(count, size.saturating_sub(HEADER_LEN), self.settings.turn_bytes());
                Some(Some(stays.unwrap_or_else(|| self.turn(now, topic_at, count))))
            }
        }
    }

    /// The next partition of a topic for records without a key.
    #[cold]
    fn turn(&mut self, now: Duration, topic: usize, count: i32) -> i32 {
        let (patience, leaders) = (self.settings.availability_timeout, &self.leaders);
        let (topic, partitions, chance) = (&mut self.topics[topic], &self.partitions, &mut self.chance);
        let is_adaptive = self.settings.adaptive;
        let queue = |partition: i32| {
            let place = topic.places.get(partition.unsigned_abs() as usize).copied().flatten();
            (partition, place.filter(|_| is_adaptive).map_or(0, |place| partitions[place].queue()))
        };
        // Those without a leader have to wait; without any, one is as good as the other.
        let led = topic.leaders.keys().copied().filter(|partition| (0..count).contains(partition));
        let next = if self.settings.round_robin {
            let last = topic.sticky.last();
            next_in_turn(last, led).or_else(|| next_in_turn(last, 0..count))
        } else {
            let is_available = |partition: &i32| {
                patience.is_zero()
                    || topic.leaders.get(partition).is_some_and(|leader| !leaders.is_away(now, leader.node, patience))
            };
            choose(chance, led.clone().filter(is_available).map(queue))
                .or_else(|| choose(chance, led.map(queue)))
                .or_else(|| choose(chance, (0..count).map(queue)))
        };
        topic.sticky.go_to(next.unwrap_or_default())
    }

    /// Where a topic is kept. One that is new, or was for long of no use, is asked about.
    fn topic_place(&mut self, now: Duration, topic: &Arc<str>) -> usize {
        let (place, is_new) = match self.topics.get_index_of(topic) {
            Some(place) => (place, false),
            None => (self.topics.insert_full(Arc::clone(topic), Topic::default()).0, true),
        };
        let was_idle = self.topics[place].used(now, self.settings.metadata_max_idle);
        if is_new || was_idle {
            self.want_metadata(now);
        }
        place
    }

    /// Where a partition is kept: known to its topic once it was looked up.
    fn partition_place(&mut self, topic: usize, partition: i32) -> usize {
        let number = partition.unsigned_abs() as usize;
        if let Some(Some(place)) = self.topics[topic].places.get(number) {
            return *place;
        }
        let (name, topic) = self.topics.get_index_mut(topic).expect("it was looked up, and nothing is taken out");
        let place = place_of(&mut self.partitions, TopicPartition { topic: Arc::clone(name), partition });
        if topic.places.len() <= number {
            topic.places.resize(number + 1, None);
        }
        topic.places[number] = Some(place);
        place
    }

    /// Puts a record into the open batch of a partition; answers what it takes there.
    fn push(
        &mut self,
        now: Duration,
        wall_ms: i64,
        at: usize,
        record: &Outgoing<'_>,
        headers: &[HeaderRef<'_>],
    ) -> usize {
        let (place, partition) = self.partitions.get_index_mut(at).expect("it was looked up, and nothing is taken out");
        let timestamp = record.timestamp.unwrap_or(wall_ms);
        loop {
            let is_held_up = partition.is_held_up(&self.settings);
            if partition.open.is_none()
                && partition.membership == Membership::Out
                && let Some(transaction) = &mut self.transaction
            {
                partition.membership = transaction.join(at);
            }
            let open = partition.open.get_or_insert_with(|| Open {
                builder: builder(
                    &self.settings,
                    self.ratio,
                    if is_held_up { self.backlog_bytes } else { 0 },
                    self.spare.take(),
                ),
                tickets: Tickets::new(),
                since: now,
                serial: next_after(&mut self.next_serial),
            });
            let before = open.builder.plain_len();
            if open.builder.try_push(timestamp, record.key, record.value, headers) {
                let bytes = open.builder.plain_len() - before;
                self.buffered += bytes;
                add_ticket(&mut open.tickets, record.ticket);
                return bytes;
            }
            if open.builder.is_empty() {
                // A record that no batch holds; `max.request.size` is checked before, so it has been set beyond all reason.
                partition.open = None;
                self.refuse(
                    record,
                    "org.apache.kafka.common.errors.RecordTooLargeException",
                    "The message is larger than any record batch.".to_owned(),
                );
                return 0;
            }
            finish(partition, &mut self.ratio, &mut self.buffered, &mut self.deliveries, place);
        }
    }

    /// A record cannot be sent, of which its transaction hears as well.
    fn refuse(&mut self, record: &Outgoing<'_>, class: &'static str, message: String) {
        let reason = DeliveryError { class, message };
        self.records_failed(&reason, None);
        self.tell(record, reason);
    }

    fn tell(&mut self, record: &Outgoing<'_>, reason: DeliveryError) {
        let outcome = Err(reason);
        self.deliveries.push_back(Delivery { tickets: record.ticket..record.ticket + 1, outcome });
    }

    /// What is counted, under Java's names.
    pub fn metrics(&self, now: Duration, client_id: &str, out: &mut Vec<Metric>) {
        self.figures.gather(now, client_id, (self.settings.buffer_bytes, self.buffered), out);
    }

    /// What has become of records since the last call.
    pub fn take_deliveries(&mut self) -> Vec<Delivery> {
        self.deliveries.drain(..).collect()
    }

    /// Sends all that was taken so far without lingering, and marks how far that is, for [`Self::is_flushed`].
    pub fn flush(&mut self, now: Duration, effects: &mut Vec<Effect>) -> Mark {
        self.finish_all();
        self.advance(now, effects);
        Mark(self.next_serial)
    }

    fn finish_all(&mut self) {
        for (place, partition) in &mut self.partitions {
            finish(partition, &mut self.ratio, &mut self.buffered, &mut self.deliveries, place);
        }
    }

    /// Gives up what was never sent; what was, may be in its topic, and is sent again until a broker says.
    fn give_up_unsent(&mut self, reason: &DeliveryError) {
        for (place, partition) in &mut self.partitions {
            finish(partition, &mut self.ratio, &mut self.buffered, &mut self.deliveries, place);
            let sent = std::mem::take(&mut partition.ready).into_iter().filter_map(|packed| {
                if packed.sequence.is_some() {
                    return Some(packed);
                }
                give_up(packed, reason.clone(), &mut self.buffered, &mut self.deliveries);
                None
            });
            partition.ready = sent.collect();
        }
    }

    /// Whether everything before the mark has been told of.
    pub fn is_flushed(&self, mark: Mark) -> bool {
        // A partition's batches are in the order of their numbers.
        let oldest = self.partitions.values().filter_map(|partition| {
            let flying = partition.flying.iter().find_map(|flying| match flying {
                Flying::Sent(packed, _) | Flying::Failed(packed) => Some(packed.serial),
                Flying::Arrived => None,
            });
            let ready = || partition.ready.front().map(|packed| packed.serial);
            flying.or_else(ready).or_else(|| partition.open.as_ref().map(|open| open.serial))
        });
        oldest.min().is_none_or(|oldest| oldest > mark.0)
    }

    /// Gives up all that has not been acknowledged. What is under way may arrive all the same.
    pub fn abort(&mut self) {
        self.give_up_all(&DeliveryError {
            class: "org.apache.kafka.common.KafkaException",
            message: "Producer is closed forcefully.".to_owned(),
        });
    }

    fn give_up_all(&mut self, reason: &DeliveryError) {
        for (place, partition) in &mut self.partitions {
            finish(partition, &mut self.ratio, &mut self.buffered, &mut self.deliveries, place);
            let flying = partition.flying.drain(..).filter_map(|flying| match flying {
                Flying::Sent(packed, _) | Flying::Failed(packed) => Some(packed),
                Flying::Arrived => None,
            });
            for packed in flying.chain(partition.ready.drain(..)) {
                give_up(packed, reason.clone(), &mut self.buffered, &mut self.deliveries);
            }
        }
    }

    /// How many partitions a topic has; none while that is not known, which is asked for then.
    pub fn partitions_of(
        &mut self,
        now: Duration,
        topic: &Arc<str>,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<i32, DeliveryError>> {
        let place = self.topic_place(now, topic);
        let (known, failed) = (self.topics[place].partitions, self.topics[place].refused.clone());
        if let Some(error) = failed {
            return Some(Err(error));
        }
        if known.is_none() {
            self.want_metadata(now);
            self.advance(now, effects);
        }
        known.map(Ok)
    }

    /// Bytes of records that are neither acknowledged nor given up.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// Something happened.
    pub fn step(&mut self, now: Duration, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Tick => {}
            Input::Answer { id, response } => match self.asked.remove(&id) {
                Some(Asked::Metadata) => self.metadata_answered(now, response, effects),
                Some(Asked::ProducerId) => self.id_answered(now, response, effects),
                Some(Asked::Produce(node, places)) => {
                    self.leaders.answered(now, node, response.is_ok());
                    self.produce_answered(now, node, id, &places, response, effects);
                }
                Some(Asked::Transaction(asked)) => self.transaction_answered(now, asked, response, effects),
                None => {}
            },
        }
        self.advance(now, effects);
    }

    /// When [`Input::Tick`] has something to do though nothing happens.
    pub fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let asks = |kind: fn(&Asked) -> bool| self.asked.values().any(kind);
        let metadata_at = if self.metadata_wanted { self.metadata_at } else { self.metadata_stale_at };
        let metadata = (!asks(|a| matches!(a, Asked::Metadata))).then_some(metadata_at);
        let id = (self.needs_id() && !asks(|a| matches!(a, Asked::ProducerId))).then_some(self.id_at);
        let unknown = self.topics.values().flat_map(|topic| [topic.unknown_since, topic.narrow_since]).flatten();
        let unknown = unknown.map(|since| since.saturating_add(self.settings.max_block));
        let partitions = self.partitions.values().flat_map(|partition| {
            let linger = partition.open.as_ref().map(|open| open.since.saturating_add(self.settings.linger));
            let retry = (!partition.ready.is_empty()).then_some(partition.retry_at);
            let expiry = partition.ready.front().map(|p| p.created.saturating_add(self.settings.delivery_timeout));
            [linger, retry, expiry].into_iter().flatten()
        });
        let transaction = self.transaction.as_ref().and_then(Transaction::next_deadline);
        let all = [metadata, id, transaction].into_iter().flatten().chain(unknown).chain(partitions);
        all.filter(|at| *at > now && *at < Duration::MAX).min()
    }

    /// Sends what can be sent.
    fn advance(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let before = self.deliveries.len();
        self.expire(now);
        self.ask_metadata(now, effects);
        self.ask_id(now, effects);
        self.advance_transaction(now, effects);
        self.produce(now, effects);
        if self.deliveries.len() > before {
            effects.push(Effect::Wake);
        }
    }

    fn request(
        &mut self,
        asked: Asked,
        to: Target,
        request: RequestKind,
        highest: Option<i16>,
        effects: &mut Vec<Effect>,
    ) -> RequestId {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.asked.insert(id, asked);
        let timeout = self.settings.request_timeout;
        effects.push(Effect::Send { id, to, request: Box::new(request), highest, timeout });
        id
    }

    /// The wait after so many failures, a fifth shorter or longer by chance (KIP-580), so that producers that failed together do not come back together.
    fn backoff(&mut self, failures: u32) -> Duration {
        let wait = crate::backoff::backoff(self.settings.retry_backoff, self.settings.retry_backoff_max, failures);
        self.jitter.spread(wait).min(self.settings.retry_backoff_max)
    }
}

/// An empty batch of `batch.size`, or of `backlog_bytes` if that is more, in memory that is there already if there is some.
fn builder(settings: &Settings, ratio: f32, backlog_bytes: usize, spare: Option<Vec<u8>>) -> Builder {
    let compressed = settings.compression != Compression::None;
    // What is small only because it is compressed is not let grow beyond all measure: readers unpack whole batches.
    let backlog_bytes =
        if compressed { backlog_bytes.min((MAX_PLAIN_BACKLOG as f32 * ratio) as usize) } else { backlog_bytes };
    let options = BuilderOptions {
        compression: settings.compression,
        level: settings.compression_level,
        target_bytes: settings.batch_bytes.max(backlog_bytes),
        expected_ratio: ratio,
    };
    let fresh = || Vec::with_capacity(settings.batch_bytes.clamp(HEADER_LEN, MAX_FIRST_ALLOCATION));
    Builder::with_buffer(options, spare.unwrap_or_else(fresh))
}

fn place_of(partitions: &mut IndexMap<TopicPartition, Partition>, wanted: TopicPartition) -> usize {
    match partitions.get_index_of(&wanted) {
        Some(place) => place,
        None => partitions.insert_full(wanted, Partition::default()).0,
    }
}
