//! What is sent when, and what an answer means for the batches that it is about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    ProduceRequest, ProduceResponse, RequestKind, ResponseKind, TopicName, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use super::super::figures::{Mishap, Sent};
use super::partition::{Flying, Packed, deliver, finish, give_up, give_up_each, split};
use super::transaction::{Membership, Transaction};
use super::verdict::{Verdict, delivery_error, verdict};
use super::{Asked, Effect, ProducerCore};
use crate::batch::{NO_SEQUENCE, Stamp, sequence_after};
use crate::consumer::TopicPartition;
use crate::group::RequestId;
use crate::net::Target;
use crate::net::TransportError;
use crate::producer::{DeliveryError, Settings};

/// Most bytes of one request besides its first batch, whatever `max.request.size` allows.
const REQUEST_BYTES: usize = 8 << 20;

impl ProducerCore {
    /// Gives up what has waited too long.
    pub(super) fn expire(&mut self, now: Duration) {
        let timeout = self.settings.delivery_timeout;
        let mut expired = None;
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
                let reason = DeliveryError { class, message };
                self.figures.mishap(now, &place.topic, count, Mishap::Error);
                expired.get_or_insert_with(|| reason.clone());
                give_up(packed, reason, &mut self.buffered, &mut self.deliveries);
            }
        }
        if let Some(reason) = expired {
            self.records_failed(&reason, None);
        }
    }

    pub(super) fn produce(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.settings.idempotent && self.producer.is_none() {
            return;
        }
        let renews = self.renews();
        let is_transactional = self.transaction.is_some();
        let most = self.settings.max_request_bytes.min(REQUEST_BYTES);
        loop {
            // One request a broker takes one batch of each of its partitions; as long as something leaves, there may be more.
            let mut requests: BTreeMap<i32, Vec<(TopicPartition, Bytes)>> = BTreeMap::new();
            let mut sizes: BTreeMap<i32, usize> = BTreeMap::new();
            let mut counts: BTreeMap<i32, i32> = BTreeMap::new();
            let mut leaving: Vec<(TopicPartition, Packed)> = Vec::new();
            let mut leaderless = false;
            for (place, partition) in &mut self.partitions {
                let is_out = is_transactional && partition.membership != Membership::In;
                if is_out || !partition.may_send(now, &self.settings) || (renews && !partition.repeats()) {
                    continue;
                }
                let known = self.topics.get(&place.topic).and_then(|topic| topic.leaders.get(&place.partition));
                let Some(leader) = known.map(|leader| leader.node) else {
                    leaderless = true;
                    continue;
                };
                if partition.ready.is_empty() {
                    finish(partition, &mut self.ratio, &mut self.buffered, &mut self.deliveries, place);
                }
                let size = sizes.entry(leader).or_default();
                let fits = |packed: &mut Packed| *size == 0 || *size + packed.batch.len() <= most;
                let Some(mut packed) = partition.ready.pop_front_if(fits) else { continue };
                packed.alone = packed.sequence.is_some();
                let stamp = self.producer.map_or(Stamp::NONE, |(producer_id, producer_epoch)| {
                    let base_sequence = packed.sequence.unwrap_or(partition.next_sequence);
                    Stamp { producer_id, producer_epoch, base_sequence, transactional: is_transactional }
                });
                if packed.sequence.is_none() && stamp.base_sequence != NO_SEQUENCE {
                    packed.sequence = Some(stamp.base_sequence);
                    partition.next_sequence = sequence_after(stamp.base_sequence, packed.batch.record_count());
                    packed.batch.stamp(stamp);
                }
                let bytes = packed.batch.seal();
                *size += bytes.len();
                *counts.entry(leader).or_default() += packed.batch.record_count();
                let waited = now.saturating_sub(packed.created);
                let (records, plain) = (packed.batch.record_count(), packed.batch.plain_len());
                self.figures.sent(now, &place.topic, Sent { records, bytes: bytes.len(), plain, waited });
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
            counts.values().for_each(|records| self.figures.requested(now, *records));
            let mut carriers: BTreeMap<TopicPartition, RequestId> = BTreeMap::new();
            for (leader, batches) in requests {
                let places: Vec<_> = batches.iter().map(|(place, _)| place.clone()).collect();
                let highest = self.transaction.as_ref().and_then(Transaction::highest_produce);
                let request = RequestKind::Produce(produce_request(&self.settings, batches));
                let to = Target::Node(leader);
                self.leaders.asked(now, leader);
                let id = self.request(Asked::Produce(leader, places.clone()), to, request, highest, effects);
                carriers.extend(places.into_iter().map(|place| (place, id)));
            }
            for (place, packed) in leaving {
                if let (Some(partition), Some(id)) = (self.partitions.get_mut(&place), carriers.get(&place)) {
                    partition.flying.push_back(Flying::Sent(packed, *id));
                }
            }
        }
    }

    /// Takes the answer of a broker, the `node`.
    pub(super) fn produce_answered(
        &mut self,
        now: Duration,
        node: i32,
        id: RequestId,
        places: &[TopicPartition],
        response: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(response, Err(TransportError::NotSent)) && self.settings.acks == 0 {
            return self.not_sent(now, id, places);
        }
        // What is true of all its batches alike.
        let alike = match &response {
            Err(TransportError::Refused(error)) if error.is_unsupported() => Some(unsupported(&error.message)),
            Ok(_) if self.settings.acks == 0 => Some(PartitionProduceResponse::default().with_base_offset(-1)),
            _ => None,
        };
        let response = match response {
            Ok(ResponseKind::Produce(response)) => Some(response),
            _ => None,
        };
        let mut news = false;
        for place in places {
            let found = response.as_ref().and_then(|response| Some((response, find(response, place)?)));
            self.batch_answered(now, id, place, found.map(|(_, answer)| answer).or(alike.as_ref()));
            if let Some((response, answer)) = found {
                news |= self.moved(place, &answer.current_leader, &response.node_endpoints);
            }
            let leader = self.topics.get(&place.topic).and_then(|topic| topic.leaders.get(&place.partition));
            if leader.is_some_and(|leader| leader.node != node)
                && let Some(partition) = self.partitions.get_mut(place)
            {
                // There is somebody else to ask at once.
                partition.retry_at = now;
            }
        }
        if news {
            self.tell_brokers(effects);
        }
        if self.buffered == 0 {
            self.spare.clear();
        }
        effects.push(Effect::Wake);
    }

    /// A request that nobody would have answered did not leave, because its connection had ended: the broker may have said so that it does not lead any more.
    fn not_sent(&mut self, now: Duration, id: RequestId, places: &[TopicPartition]) {
        self.want_metadata(now);
        let retry_at = now.saturating_add(self.backoff(0));
        for place in places {
            let Some(partition) = self.partitions.get_mut(place) else { continue };
            let carried = |flying: &Flying| matches!(flying, Flying::Sent(_, request) if *request == id);
            if let Some(at) = partition.flying.iter().position(carried)
                && let Flying::Sent(packed, _) = std::mem::replace(&mut partition.flying[at], Flying::Arrived)
            {
                partition.flying[at] = Flying::Failed(packed);
                partition.retry_at = retry_at;
                partition.land();
            }
        }
    }

    /// What became of the batch that request `id` carried to a partition; without an answer it may be there or not.
    pub(super) fn batch_answered(
        &mut self,
        now: Duration,
        id: RequestId,
        place: &TopicPartition,
        answer: Option<&PartitionProduceResponse>,
    ) {
        let Some(partition) = self.partitions.get(place) else { return };
        let carried = |(at, flying): (usize, &Flying)| match flying {
            Flying::Sent(packed, request) if *request == id => Some((at, packed.attempts)),
            _ => None,
        };
        let Some((at, attempts)) = partition.flying.iter().enumerate().find_map(carried) else { return };
        let retry_at = now.saturating_add(self.backoff(attempts));
        let Some(partition) = self.partitions.get_mut(place) else { return };
        let Some(slot) = partition.flying.get_mut(at) else { return };
        let Flying::Sent(packed, _) = std::mem::replace(slot, Flying::Arrived) else { return };
        let error = match answer {
            Some(answer) => ResponseError::try_from_code(answer.error_code),
            None => Some(ResponseError::NetworkException),
        };
        let mut failed = None;
        let records = packed.batch.record_count();
        match verdict(error, packed.alone, packed.batch.record_count(), self.transaction.is_none()) {
            Verdict::Delivered => {
                partition.introduced = true;
                let base = answer.map_or(-1, |answer| answer.base_offset);
                let batch = deliver(packed, place, base, &mut self.buffered, &mut self.deliveries);
                self.spare.keep(batch, self.settings.buffer_bytes.saturating_sub(self.buffered));
            }
            Verdict::Retry { .. } if attempts >= self.settings.retries => {
                let error = error.unwrap_or(ResponseError::UnknownServerError);
                let reason = delivery_error(error, &place.topic);
                failed = Some(reason.clone());
                give_up(packed, reason, &mut self.buffered, &mut self.deliveries);
            }
            Verdict::Retry { metadata } => {
                self.figures.mishap(now, &place.topic, records, Mishap::Retry);
                partition.flying[at] = Flying::Failed(Packed { attempts: attempts.saturating_add(1), ..packed });
                partition.retry_at = retry_at;
                if metadata {
                    self.want_metadata(now);
                }
            }
            Verdict::Renew => {
                // It was sent alone: neither it nor what was sent behind it has arrived.
                let waiting = partition.ready.iter_mut().filter(|waiting| waiting.sequence.is_some());
                waiting.for_each(|waiting| waiting.behind_gap = true);
                let attempts = attempts.saturating_add(1);
                partition.flying[at] = Flying::Failed(Packed { behind_gap: true, attempts, ..packed });
                partition.retry_at = retry_at;
                partition.broken = true;
                self.fenced |= error == Some(ResponseError::InvalidProducerEpoch);
            }
            Verdict::Split => {
                self.figures.split(now);
                self.backlog_bytes = self.backlog_bytes.min(packed.batch.len() / 2);
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
                failed = Some(reason.clone());
                let wrong = answer.map(|answer| record_errors(answer, &reason)).unwrap_or_default();
                if wrong.is_empty() {
                    give_up(packed, reason, &mut self.buffered, &mut self.deliveries);
                } else {
                    give_up_each(packed, &wrong, &mut self.buffered, &mut self.deliveries);
                }
            }
        }
        if let Some(partition) = self.partitions.get_mut(place) {
            partition.land();
        }
        if let Some(reason) = failed {
            self.figures.mishap(now, &place.topic, records, Mishap::Error);
            self.records_failed(&reason, error.map(|error| error.code()));
        }
    }
}

fn produce_request(settings: &Settings, batches: Vec<(TopicPartition, Bytes)>) -> ProduceRequest {
    let mut topics: BTreeMap<Arc<str>, Vec<PartitionProduceData>> = BTreeMap::new();
    for (place, bytes) in batches {
        let data = PartitionProduceData::default().with_index(place.partition).with_records(Some(bytes));
        topics.entry(place.topic).or_default().push(data);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        let name = TopicName(StrBytes::from_string(topic.to_string()));
        TopicProduceData::default().with_name(name).with_partition_data(partitions)
    });
    let timeout_ms = i32::try_from(settings.request_timeout.as_millis()).unwrap_or(i32::MAX);
    ProduceRequest::default()
        .with_transactional_id(settings.transactional_id.clone().map(|id| TransactionalId(StrBytes::from_string(id))))
        .with_acks(settings.acks)
        .with_timeout_ms(timeout_ms)
        .with_topic_data(topics.collect())
}

/// What a broker would say that knew of a request that it does not offer.
fn unsupported(message: &str) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_error_message(Some(StrBytes::from_string(message.to_owned())))
}

/// The records that are to blame for a batch's refusal, by their place in it, where the broker says so.
fn record_errors(answer: &PartitionProduceResponse, reason: &DeliveryError) -> BTreeMap<u64, DeliveryError> {
    let errors = answer.record_errors.iter().filter_map(|error| {
        let message = error.batch_index_error_message.as_ref().or(answer.error_message.as_ref());
        let message = message.map_or_else(|| reason.message.clone(), ToString::to_string);
        Some((u64::try_from(error.batch_index).ok()?, DeliveryError { class: reason.class, message }))
    });
    errors.collect()
}

fn find<'a>(response: &'a ProduceResponse, place: &TopicPartition) -> Option<&'a PartitionProduceResponse> {
    let topic = response.responses.iter().find(|topic| topic.name.as_str() == &*place.topic)?;
    topic.partition_responses.iter().find(|partition| partition.index == place.partition)
}
