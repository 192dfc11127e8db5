//! The producer's decisions: which records form a batch, what is sent when, and what an answer means. No IO.
//!
//! Records wait per partition: in an open batch, in finished ones, and in those that fly. Up to [`Settings::max_in_flight`] batches of a partition fly at
//! once. Order is kept like this: once a batch has to be sent again, nothing new of its partition leaves; when all answers are in, what is to be sent
//! again goes first, one at a time, under its old sequence numbers, so that the broker knows it again if it has it already. A batch that is given up
//! leaves a gap that no later sequence number may follow; the producer then takes a new id and counts from 0, but not before everything that may have
//! arrived under the old one is answered for.
//!
//! What comes out: [`Effect`]s for the driver, [`Delivery`]s for the user. Bounded by [`Settings::buffer_bytes`]: [`ProducerCore::append`] takes
//! nothing while that is full.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    InitProducerIdRequest, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, ProducerId, RequestKind,
    ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::partitioner::{Sticky, partition_of};
use super::{Delivery, DeliveryError, Outgoing, ProduceBatch, Settings, Ticket};
use crate::batch::{
    Builder, BuilderOptions, EncodedBatch, HeaderRef, NO_SEQUENCE, Scratch, Stamp, record_size, sequence_after,
};
use crate::consumer::TopicPartition;
use crate::group::{RequestId, Unanswered};
use crate::net::{Broker, Target};

/// Beyond this many failures the wait no longer grows.
const MAX_DOUBLINGS: u32 = 16;
/// Most bytes of one request besides its first batch.
const REQUEST_BYTES: usize = 8 << 20;

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
        response: Result<ResponseKind, Unanswered>,
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
    /// The records before this one were taken; there is no room, or the topic is not known yet.
    UpTo(usize),
}

/// How far records had been taken when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

#[derive(Debug, Default)]
struct Topic {
    /// How many partitions; none before metadata said.
    partitions: Option<i32>,
    leaders: BTreeMap<i32, i32>,
    sticky: Sticky,
    /// Since when records wait for it.
    unknown_since: Option<Duration>,
    /// Since when a record waits for a partition that it does not have.
    narrow_since: Option<Duration>,
    /// Why nothing can be sent there.
    refused: Option<DeliveryError>,
}

#[derive(Debug, Default)]
struct Partition {
    open: Option<Open>,
    ready: VecDeque<Packed>,
    flying: VecDeque<Flying>,
    next_sequence: i32,
    retry_at: Duration,
    failures: u32,
    /// A sequence number is missing at the broker: what comes behind it has to wait for another producer epoch.
    broken: bool,
    /// The broker has taken a batch under this producer epoch. Before that it takes any sequence number, so a second batch could overtake the first.
    introduced: bool,
}

/// A batch that takes records.
#[derive(Debug)]
struct Open {
    serial: u64,
    builder: Builder,
    tickets: Tickets,
    since: Duration,
}

/// A finished batch.
#[derive(Debug)]
struct Packed {
    /// Counts batches in the order in which they were begun.
    serial: u64,
    batch: EncodedBatch,
    tickets: Tickets,
    created: Duration,
    /// Its first sequence number, if it was sent and may have arrived.
    sequence: Option<i32>,
    /// It was sent behind a batch that the broker refused, so it has not arrived and cannot.
    behind_gap: bool,
    /// It was sent again while nothing else of its partition was under way, so that nothing can have overtaken it.
    alone: bool,
}

#[derive(Debug)]
enum Flying {
    /// This request carries it.
    Sent(Packed, RequestId),
    /// It has to be sent again.
    Failed(Packed),
    /// It has arrived before an older one. It keeps its place, so that no more than `max_in_flight` batches ever follow one that may have to be
    /// sent again: the broker recognises only the last five.
    Arrived,
}

/// The tickets of a batch, in order.
type Tickets = Vec<std::ops::Range<Ticket>>;

#[derive(Debug)]
enum Asked {
    Metadata,
    ProducerId,
    Produce(Vec<TopicPartition>),
}

/// A producer without its rim.
#[derive(Debug)]
pub struct ProducerCore {
    settings: Settings,
    topics: HashMap<Arc<str>, Topic>,
    partitions: BTreeMap<TopicPartition, Partition>,
    producer: Option<(i64, i16)>,
    /// A broker knows a later epoch of this producer id, which then is not ours alone.
    fenced: bool,
    asked: BTreeMap<RequestId, Asked>,
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
}

impl ProducerCore {
    /// A producer that knows nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            topics: HashMap::new(),
            partitions: BTreeMap::new(),
            producer: None,
            fenced: false,
            asked: BTreeMap::new(),
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
        let mut headers: Vec<HeaderRef<'_>> = Vec::new();
        let mut touched: Option<TopicPartition> = None;
        let mut taken = Appended::All;
        for (at, record) in batch.iter().enumerate().skip(from) {
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
                taken = Appended::UpTo(at);
                break;
            }
            let Some(partition) = self.partition_for(now, &record, size) else {
                taken = Appended::UpTo(at);
                break;
            };
            let Some(partition) = partition else { continue };
            let known =
                touched.as_ref().is_some_and(|t| t.partition == partition && Arc::ptr_eq(&t.topic, record.topic));
            if !known {
                touched = Some(TopicPartition { topic: record.topic.clone(), partition });
            }
            let Some(place) = &touched else { continue };
            self.push(now, wall_ms, place, &record, &headers);
        }
        self.advance(now, effects);
        taken
    }

    /// The partition of a record; outer none while its topic is unknown, inner none if the record was refused.
    fn partition_for(&mut self, now: Duration, record: &Outgoing<'_>, size: usize) -> Option<Option<i32>> {
        let topic = match self.topics.get_mut(record.topic) {
            Some(topic) => topic,
            None => {
                self.want_metadata(now);
                self.topics.entry(record.topic.clone()).or_default()
            }
        };
        if let Some(error) = topic.refused.clone() {
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
            (None, _) => Some(Some(topic.sticky.next(count, size, self.settings.batch_bytes))),
        }
    }

    fn push(
        &mut self,
        now: Duration,
        wall_ms: i64,
        place: &TopicPartition,
        record: &Outgoing<'_>,
        headers: &[HeaderRef<'_>],
    ) {
        let partition = match self.partitions.get_mut(place) {
            Some(partition) => partition,
            None => self.partitions.entry(place.clone()).or_default(),
        };
        let timestamp = record.timestamp.unwrap_or(wall_ms);
        loop {
            let open = partition.open.get_or_insert_with(|| Open {
                builder: Builder::new(BuilderOptions {
                    compression: self.settings.compression,
                    level: self.settings.compression_level,
                    target_bytes: self.settings.batch_bytes,
                    expected_ratio: self.ratio,
                }),
                tickets: Tickets::new(),
                since: now,
                serial: next_after(&mut self.next_serial),
            });
            let before = open.builder.plain_len();
            if open.builder.try_push(timestamp, record.key, record.value, headers) {
                self.buffered += open.builder.plain_len() - before;
                add_ticket(&mut open.tickets, record.ticket);
                return;
            }
            if open.builder.is_empty() {
                // A record that no batch holds; `max.request.size` is checked before, so it has been set beyond all reason.
                partition.open = None;
                self.refuse(
                    record,
                    "org.apache.kafka.common.errors.RecordTooLargeException",
                    "The message is larger than any record batch.".to_owned(),
                );
                return;
            }
            finish(partition, &mut self.ratio, &mut self.buffered, &mut self.deliveries, place);
        }
    }

    fn refuse(&mut self, record: &Outgoing<'_>, class: &'static str, message: String) {
        let outcome = Err(DeliveryError { class, message });
        self.deliveries.push_back(Delivery { tickets: record.ticket..record.ticket + 1, outcome });
    }

    /// What has become of records since the last call.
    pub fn take_deliveries(&mut self) -> Vec<Delivery> {
        self.deliveries.drain(..).collect()
    }

    /// Sends all that was taken so far without lingering, and marks how far that is, for [`Self::is_flushed`].
    pub fn flush(&mut self, now: Duration, effects: &mut Vec<Effect>) -> Mark {
        for (place, partition) in &mut self.partitions {
            finish(partition, &mut self.ratio, &mut self.buffered, &mut self.deliveries, place);
        }
        self.advance(now, effects);
        Mark(self.next_serial)
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
        let reason = DeliveryError {
            class: "org.apache.kafka.common.KafkaException",
            message: "Producer is closed forcefully.".to_owned(),
        };
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
        let (known, failed) = match self.topics.get(topic) {
            Some(topic) => (topic.partitions, topic.refused.clone()),
            None => {
                self.topics.insert(Arc::clone(topic), Topic::default());
                (None, None)
            }
        };
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
                Some(Asked::ProducerId) => self.id_answered(now, response),
                Some(Asked::Produce(places)) => self.produce_answered(now, id, &places, response, effects),
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
        let all = [metadata, id].into_iter().flatten().chain(unknown).chain(partitions);
        all.filter(|at| *at > now && *at < Duration::MAX).min()
    }

    /// Sends what can be sent.
    fn advance(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let before = self.deliveries.len();
        self.expire(now);
        self.ask_metadata(now, effects);
        self.ask_id(now, effects);
        self.produce(now, effects);
        if self.deliveries.len() > before {
            effects.push(Effect::Wake);
        }
    }

    fn request(&mut self, asked: Asked, to: Target, request: RequestKind, effects: &mut Vec<Effect>) -> RequestId {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.asked.insert(id, asked);
        let timeout = self.settings.request_timeout;
        effects.push(Effect::Send { id, to, request: Box::new(request), timeout });
        id
    }

    fn backoff(&self, failures: u32) -> Duration {
        let wait = self.settings.retry_backoff.saturating_mul(1 << failures.min(MAX_DOUBLINGS));
        wait.min(self.settings.retry_backoff_max)
    }

    fn want_metadata(&mut self, now: Duration) {
        if !self.metadata_wanted {
            self.metadata_wanted = true;
            self.metadata_at = self.metadata_at.max(now);
        }
    }

    fn ask_metadata(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let due = (self.metadata_wanted && self.metadata_at <= now) || self.metadata_stale_at <= now;
        if !due || self.topics.is_empty() || self.asked.values().any(|asked| matches!(asked, Asked::Metadata)) {
            return;
        }
        let topics = self.topics.keys().map(|topic| {
            MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_string(topic.to_string()))))
        });
        let request =
            MetadataRequest::default().with_topics(Some(topics.collect())).with_allow_auto_topic_creation(true);
        self.request(Asked::Metadata, Target::Any, RequestKind::Metadata(request), effects);
    }

    fn metadata_answered(
        &mut self,
        now: Duration,
        response: Result<ResponseKind, Unanswered>,
        effects: &mut Vec<Effect>,
    ) {
        let mut complete = false;
        if let Ok(ResponseKind::Metadata(response)) = response {
            complete = self.learn(&response, effects);
        }
        if complete {
            self.metadata_wanted = false;
            self.metadata_failures = 0;
            self.metadata_at = now.saturating_add(self.settings.retry_backoff);
            self.metadata_stale_at = now.saturating_add(self.settings.metadata_max_age);
        } else {
            self.metadata_wanted = true;
            self.metadata_at = now.saturating_add(self.backoff(self.metadata_failures));
            self.metadata_failures = self.metadata_failures.saturating_add(1);
        }
        effects.push(Effect::Wake);
    }

    /// Takes metadata in; false if something is missing that may appear soon.
    fn learn(&mut self, response: &MetadataResponse, effects: &mut Vec<Effect>) -> bool {
        let brokers = response.brokers.iter().filter_map(|broker| {
            let port = u16::try_from(broker.port).ok()?;
            Some(Broker { node: broker.node_id.0, host: broker.host.to_string(), port })
        });
        effects.push(Effect::Brokers(brokers.collect()));
        let mut complete = true;
        for answered in &response.topics {
            let Some(name) = &answered.name else { continue };
            let Some(topic) = self.topics.get_mut(name.as_str()) else { continue };
            match ResponseError::try_from_code(answered.error_code) {
                None => {
                    topic.refused = None;
                    topic.unknown_since = None;
                    topic.partitions = i32::try_from(answered.partitions.len()).ok().filter(|count| *count > 0);
                    topic.leaders.clear();
                    for partition in &answered.partitions {
                        if partition.leader_id.0 >= 0 {
                            topic.leaders.insert(partition.partition_index, partition.leader_id.0);
                        } else {
                            complete = false;
                        }
                    }
                    complete &= topic.partitions.is_some();
                }
                Some(error @ (ResponseError::TopicAuthorizationFailed | ResponseError::InvalidTopicException)) => {
                    topic.refused = Some(delivery_error(error, name));
                }
                Some(_) => complete = false,
            }
        }
        complete
    }

    /// Whether the producer id cannot be used any longer.
    fn renews(&self) -> bool {
        self.settings.idempotent
            && self.producer.is_some()
            && self.partitions.values().any(|partition| partition.broken)
    }

    fn needs_id(&self) -> bool {
        self.settings.idempotent && self.producer.is_none() && !self.partitions.is_empty()
    }

    fn ask_id(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.renews() && !self.partitions.values().any(Partition::is_unsure) {
            // Nothing waits that may have arrived under the old epoch: all of it is sent under the next one, with new numbers. What the network still
            // carries under the old one is refused from then on.
            tracing::warn!(
                "the producer takes a new epoch: records were given up, or the broker has forgotten the old one"
            );
            let next = |(id, epoch): (i64, i16)| epoch.checked_add(1).map(|epoch| (id, epoch));
            self.producer = if self.fenced { None } else { self.producer.and_then(next) };
            self.fenced = false;
            for partition in self.partitions.values_mut() {
                partition.next_sequence = 0;
                partition.broken = false;
                partition.introduced = false;
                for packed in &mut partition.ready {
                    (packed.sequence, packed.alone) = (None, false);
                }
            }
        }
        let asks = self.asked.values().any(|asked| matches!(asked, Asked::ProducerId));
        if self.needs_id() && self.id_at <= now && !asks {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_transaction_timeout_ms(i32::MAX)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1);
            self.request(Asked::ProducerId, Target::Any, RequestKind::InitProducerId(request), effects);
        }
    }

    fn id_answered(&mut self, now: Duration, response: Result<ResponseKind, Unanswered>) {
        match response {
            Ok(ResponseKind::InitProducerId(response)) if response.error_code == 0 => {
                self.producer = Some((response.producer_id.0, response.producer_epoch));
                self.id_failures = 0;
            }
            other => {
                if let Ok(ResponseKind::InitProducerId(response)) = &other {
                    tracing::warn!(
                        error_code = response.error_code,
                        "the broker gives no producer id; it is asked again"
                    );
                }
                self.id_at = now.saturating_add(self.backoff(self.id_failures));
                self.id_failures = self.id_failures.saturating_add(1);
            }
        }
    }

    /// Gives up what has waited too long.
    fn expire(&mut self, now: Duration) {
        let timeout = self.settings.delivery_timeout;
        for (place, partition) in &mut self.partitions {
            if partition.open.as_ref().is_some_and(|open| open.since.saturating_add(timeout) <= now) {
                finish(partition, &mut self.ratio, &mut self.buffered, &mut self.deliveries, place);
            }
            // What was sent and may be in the topic waits for its answer.
            while let Some(packed) =
                partition.ready.pop_front_if(|packed| packed.created.saturating_add(timeout) <= now)
            {
                let count = packed.batch.record_count();
                let message = format!(
                    "Expiring {count} record(s) for {place}:{} ms has passed since batch creation",
                    now.saturating_sub(packed.created).as_millis()
                );
                let class = "org.apache.kafka.common.errors.TimeoutException";
                give_up(packed, DeliveryError { class, message }, &mut self.buffered, &mut self.deliveries);
            }
        }
    }

    fn produce(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.settings.idempotent && self.producer.is_none() {
            return;
        }
        let renews = self.renews();
        loop {
            // One request a broker takes one batch of each of its partitions; as long as something leaves, there may be more.
            let mut requests: BTreeMap<i32, Vec<(TopicPartition, Bytes)>> = BTreeMap::new();
            let mut sizes: BTreeMap<i32, usize> = BTreeMap::new();
            let mut leaving: Vec<(TopicPartition, Packed)> = Vec::new();
            let mut leaderless = false;
            for (place, partition) in &mut self.partitions {
                if !partition.may_send(now, &self.settings) || (renews && !partition.repeats()) {
                    continue;
                }
                let Some(&leader) = self.topics.get(&place.topic).and_then(|topic| topic.leaders.get(&place.partition))
                else {
                    leaderless = true;
                    continue;
                };
                if partition.ready.is_empty() {
                    finish(partition, &mut self.ratio, &mut self.buffered, &mut self.deliveries, place);
                }
                let size = sizes.entry(leader).or_default();
                let fits = |packed: &mut Packed| *size == 0 || *size + packed.batch.len() <= REQUEST_BYTES;
                let Some(mut packed) = partition.ready.pop_front_if(fits) else { continue };
                packed.alone = packed.sequence.is_some();
                let stamp = self.producer.map_or(Stamp::NONE, |(producer_id, producer_epoch)| {
                    let base_sequence = packed.sequence.unwrap_or(partition.next_sequence);
                    Stamp { producer_id, producer_epoch, base_sequence, transactional: false }
                });
                if packed.sequence.is_none() && stamp.base_sequence != NO_SEQUENCE {
                    packed.sequence = Some(stamp.base_sequence);
                    partition.next_sequence = sequence_after(stamp.base_sequence, packed.batch.record_count());
                    packed.batch.stamp(stamp);
                }
                let bytes = packed.batch.seal();
                *size += bytes.len();
                requests.entry(leader).or_default().push((place.clone(), bytes));
                leaving.push((place.clone(), packed));
            }
            if leaderless {
                self.want_metadata(now);
                self.ask_metadata(now, effects);
            }
            if requests.is_empty() {
                return;
            }
            let mut carriers: BTreeMap<TopicPartition, RequestId> = BTreeMap::new();
            for (leader, batches) in requests {
                let places: Vec<_> = batches.iter().map(|(place, _)| place.clone()).collect();
                let request = RequestKind::Produce(produce_request(&self.settings, batches));
                let id = self.request(Asked::Produce(places.clone()), Target::Node(leader), request, effects);
                carriers.extend(places.into_iter().map(|place| (place, id)));
            }
            for (place, packed) in leaving {
                if let (Some(partition), Some(id)) = (self.partitions.get_mut(&place), carriers.get(&place)) {
                    partition.flying.push_back(Flying::Sent(packed, *id));
                }
            }
        }
    }

    fn produce_answered(
        &mut self,
        now: Duration,
        id: RequestId,
        places: &[TopicPartition],
        response: Result<ResponseKind, Unanswered>,
        effects: &mut Vec<Effect>,
    ) {
        let response = match response {
            Ok(ResponseKind::Produce(response)) => Some(response),
            _ => None,
        };
        for place in places {
            let answer = response.as_ref().and_then(|response| find(response, place));
            self.batch_answered(now, id, place, answer);
        }
        effects.push(Effect::Wake);
    }

    /// What became of the batch that request `id` carried to a partition; without an answer it may be there or not.
    fn batch_answered(
        &mut self,
        now: Duration,
        id: RequestId,
        place: &TopicPartition,
        answer: Option<&PartitionProduceResponse>,
    ) {
        let failures = self.partitions.get(place).map_or(0, |partition| partition.failures);
        let retry_at = now.saturating_add(self.backoff(failures));
        let Some(partition) = self.partitions.get_mut(place) else { return };
        let carried = |flying: &Flying| matches!(flying, Flying::Sent(_, request) if *request == id);
        let Some(at) = partition.flying.iter().position(carried) else { return };
        let Some(slot) = partition.flying.get_mut(at) else { return };
        let Flying::Sent(packed, _) = std::mem::replace(slot, Flying::Arrived) else { return };
        let error = match answer {
            Some(answer) => ResponseError::try_from_code(answer.error_code),
            None => Some(ResponseError::NetworkException),
        };
        match verdict(error, packed.alone, packed.batch.record_count()) {
            Verdict::Delivered => {
                partition.failures = 0;
                partition.introduced = true;
                let base = answer.map_or(-1, |answer| answer.base_offset);
                deliver(packed, place, base, &mut self.buffered, &mut self.deliveries);
            }
            Verdict::Retry { metadata } => {
                partition.flying[at] = Flying::Failed(packed);
                partition.retry_at = retry_at;
                partition.failures = partition.failures.saturating_add(1);
                if metadata {
                    self.want_metadata(now);
                }
            }
            Verdict::Renew => {
                // It was sent alone: neither it nor what was sent behind it has arrived.
                let waiting = partition.ready.iter_mut().filter(|waiting| waiting.sequence.is_some());
                waiting.for_each(|waiting| waiting.behind_gap = true);
                partition.flying[at] = Flying::Failed(Packed { behind_gap: true, ..packed });
                partition.retry_at = retry_at;
                partition.failures = partition.failures.saturating_add(1);
                partition.broken = true;
                self.fenced |= error == Some(ResponseError::InvalidProducerEpoch);
            }
            Verdict::Split => {
                let (first, second) = split(packed, self.settings.compression_level);
                partition.flying[at] = Flying::Failed(first);
                if let Some(second) = second {
                    partition.flying.insert(at + 1, Flying::Failed(second));
                }
            }
            Verdict::GiveUp => {
                // Sent for the first time it is not there, and nothing behind it. Otherwise an earlier try may have arrived; the broker will say.
                if !packed.alone {
                    partition.broken = true;
                    for behind in partition.flying.iter_mut().skip(at) {
                        if let Flying::Sent(packed, _) | Flying::Failed(packed) = behind {
                            packed.behind_gap = true;
                        }
                    }
                }
                let mut reason = delivery_error(error.unwrap_or(ResponseError::UnknownServerError), &place.topic);
                if let Some(message) = answer.and_then(|answer| answer.error_message.as_ref()) {
                    reason.message = message.to_string();
                }
                give_up(packed, reason, &mut self.buffered, &mut self.deliveries);
            }
        }
        if let Some(partition) = self.partitions.get_mut(place) {
            partition.land();
        }
    }
}

impl Partition {
    /// Whether an answer is waited for.
    fn is_flying(&self) -> bool {
        self.flying.iter().any(|flying| matches!(flying, Flying::Sent(..)))
    }

    /// Clears what has arrived in order. Once every answer is in, what has to be sent again goes to the front of what waits, in order.
    fn land(&mut self) {
        while let Some(Flying::Arrived) = self.flying.front() {
            self.flying.pop_front();
        }
        if !self.is_flying() {
            while let Some(flying) = self.flying.pop_back() {
                if let Flying::Failed(packed) = flying {
                    self.ready.push_front(packed);
                }
            }
            for packed in self.ready.iter_mut().filter(|packed| packed.behind_gap) {
                (packed.sequence, packed.behind_gap, packed.alone) = (None, false, false);
            }
        }
    }

    /// Whether the next batch to be sent was sent before.
    fn repeats(&self) -> bool {
        self.ready.front().is_some_and(|packed| packed.sequence.is_some())
    }

    /// Whether something may have arrived under the present producer id, or may still.
    fn is_unsure(&self) -> bool {
        self.is_flying() || self.repeats()
    }

    fn may_send(&self, now: Duration, settings: &Settings) -> bool {
        if self.retry_at > now || self.flying.iter().any(|flying| matches!(flying, Flying::Failed(_))) {
            return false;
        }
        // What is sent again goes alone: if the broker has it already, it says so before anything else arrives.
        let alone = self.repeats() || (settings.idempotent && !self.introduced);
        let limit = if alone { 1 } else { settings.max_in_flight };
        if self.flying.len() >= limit {
            return false;
        }
        if self.flying.iter().any(|flying| matches!(flying, Flying::Sent(packed, _) if packed.alone)) {
            return false;
        }
        let lingered = self
            .open
            .as_ref()
            .is_some_and(|open| open.builder.is_full() || open.since.saturating_add(settings.linger) <= now);
        !self.ready.is_empty() || lingered
    }
}

fn next_after(counter: &mut u64) -> u64 {
    *counter += 1;
    *counter
}

fn add_ticket(tickets: &mut Tickets, ticket: Ticket) {
    match tickets.last_mut() {
        Some(range) if range.end == ticket => range.end += 1,
        _ => tickets.push(ticket..ticket + 1),
    }
}

/// Finishes the open batch of a partition.
fn finish(
    partition: &mut Partition,
    ratio: &mut f32,
    buffered: &mut usize,
    deliveries: &mut VecDeque<Delivery>,
    place: &TopicPartition,
) {
    let Some(Open { builder, tickets, since, serial }) = partition.open.take() else { return };
    if builder.is_empty() {
        return;
    }
    let plain = builder.plain_len();
    match builder.finish() {
        Ok(batch) => {
            // Moves towards what is seen, as a batch that turns out too large has to be split.
            let seen = batch.len() as f32 / batch.plain_len().max(1) as f32;
            *ratio = if seen > *ratio { seen } else { (*ratio * 0.9 + seen * 0.1).max(0.01) };
            partition.ready.push_back(Packed {
                serial,
                batch,
                tickets,
                created: since,
                sequence: None,
                behind_gap: false,
                alone: false,
            });
        }
        Err(error) => {
            *buffered = buffered.saturating_sub(plain);
            let reason = DeliveryError {
                class: "org.apache.kafka.common.KafkaException",
                message: format!("records for {place} cannot be packed: {error}"),
            };
            deliveries.extend(tickets.into_iter().map(|tickets| Delivery { tickets, outcome: Err(reason.clone()) }));
        }
    }
}

fn deliver(
    packed: Packed,
    place: &TopicPartition,
    base_offset: i64,
    buffered: &mut usize,
    deliveries: &mut VecDeque<Delivery>,
) {
    *buffered = buffered.saturating_sub(packed.batch.plain_len());
    let mut offset = base_offset;
    for tickets in packed.tickets {
        let count = (tickets.end - tickets.start) as i64;
        deliveries.push_back(Delivery { tickets, outcome: Ok((place.clone(), offset)) });
        // A batch that the broker knew already comes without an offset.
        offset = if base_offset < 0 { base_offset } else { offset + count };
    }
}

fn give_up(packed: Packed, reason: DeliveryError, buffered: &mut usize, deliveries: &mut VecDeque<Delivery>) {
    *buffered = buffered.saturating_sub(packed.batch.plain_len());
    deliveries.extend(packed.tickets.into_iter().map(|tickets| Delivery { tickets, outcome: Err(reason.clone()) }));
}

/// Divides a batch that the broker finds too large.
fn split(mut packed: Packed, level: Option<i32>) -> (Packed, Option<Packed>) {
    let half = packed.batch.record_count() / 2;
    match packed.batch.split(level, &mut Scratch::default()) {
        Ok((first, second)) => {
            let later = split_tickets(&mut packed.tickets, half.unsigned_abs().into());
            let sequence = packed.sequence.map(|sequence| sequence_after(sequence, half));
            let second = Packed { batch: second, tickets: later, sequence, ..packed };
            (Packed { batch: first, ..packed }, Some(second))
        }
        Err(error) => {
            tracing::error!("a batch that the broker finds too large cannot be divided: {error}");
            (packed, None)
        }
    }
}

/// Cuts tickets after the first `count`; answers the rest.
fn split_tickets(tickets: &mut Tickets, count: u64) -> Tickets {
    let (mut left, mut kept, mut rest) = (count, Tickets::new(), Tickets::new());
    for range in tickets.drain(..) {
        let cut = range.start + left.min(range.end - range.start);
        left -= cut - range.start;
        if cut > range.start {
            kept.push(range.start..cut);
        }
        if cut < range.end {
            rest.push(cut..range.end);
        }
    }
    *tickets = kept;
    rest
}

fn produce_request(settings: &Settings, batches: Vec<(TopicPartition, Bytes)>) -> ProduceRequest {
    let mut topics: Vec<TopicProduceData> = Vec::new();
    let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
    for (place, bytes) in batches {
        let data = PartitionProduceData::default().with_index(place.partition).with_records(Some(bytes));
        // Partitions come in the order of their topics.
        if names.insert(place.topic.clone()) {
            let name = TopicName(StrBytes::from_string(place.topic.to_string()));
            topics.push(TopicProduceData::default().with_name(name));
        }
        if let Some(topic) = topics.last_mut() {
            topic.partition_data.push(data);
        }
    }
    let timeout_ms = i32::try_from(settings.request_timeout.as_millis()).unwrap_or(i32::MAX);
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(settings.acks)
        .with_timeout_ms(timeout_ms)
        .with_topic_data(topics)
}

fn find<'a>(response: &'a ProduceResponse, place: &TopicPartition) -> Option<&'a PartitionProduceResponse> {
    let topic = response.responses.iter().find(|topic| topic.name.as_str() == &*place.topic)?;
    topic.partition_responses.iter().find(|partition| partition.index == place.partition)
}

/// What the answer to a batch means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Delivered,
    /// The same batch is sent again.
    Retry {
        /// After asking who leads the partition.
        metadata: bool,
    },
    /// It is sent again under a new producer id: the broker has forgotten the old one.
    Renew,
    /// It is sent again as two.
    Split,
    GiveUp,
}

fn verdict(error: Option<ResponseError>, alone: bool, records: i32) -> Verdict {
    use ResponseError::*;
    match error {
        None | Some(DuplicateSequenceNumber) => Verdict::Delivered,
        Some(
            NotLeaderOrFollower
            | LeaderNotAvailable
            | UnknownTopicOrPartition
            | FencedLeaderEpoch
            | UnknownLeaderEpoch
            | NetworkException
            | ReplicaNotAvailable
            | KafkaStorageError
            | UnknownTopicId,
        ) => Verdict::Retry { metadata: true },
        Some(
            NotEnoughReplicas
            | NotEnoughReplicasAfterAppend
            | RequestTimedOut
            | CorruptMessage
            | ThrottlingQuotaExceeded
            | CoordinatorLoadInProgress
            | ConcurrentTransactions,
        ) => Verdict::Retry { metadata: false },
        // One before it has not arrived, or it has overtaken one; they are sent again, in order.
        Some(OutOfOrderSequenceNumber | UnknownProducerId | InvalidProducerEpoch) if !alone => {
            Verdict::Retry { metadata: false }
        }
        Some(OutOfOrderSequenceNumber | UnknownProducerId | InvalidProducerEpoch) => Verdict::Renew,
        Some(MessageTooLarge | RecordListTooLarge) if records > 1 => Verdict::Split,
        Some(_) => Verdict::GiveUp,
    }
}

fn delivery_error(error: ResponseError, topic: &str) -> DeliveryError {
    use ResponseError::*;
    let (class, message) = match error {
        TopicAuthorizationFailed => (
            "org.apache.kafka.common.errors.TopicAuthorizationException",
            format!("Not authorized to access topics: [{topic}]"),
        ),
        InvalidTopicException => {
            ("org.apache.kafka.common.errors.InvalidTopicException", format!("Invalid topics: [{topic}]"))
        }
        MessageTooLarge | RecordListTooLarge => (
            "org.apache.kafka.common.errors.RecordTooLargeException",
            "The request included a message larger than the max message size the server will accept.".to_owned(),
        ),
        other => ("org.apache.kafka.common.KafkaException", format!("the broker refused records for {topic}: {other}")),
    };
    DeliveryError { class, message }
}
