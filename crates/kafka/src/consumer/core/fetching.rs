//! Fetches: whom to ask for what, and what the answers mean.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{BrokerId, FetchRequest, RequestKind, ResponseKind, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::super::figures::{Haul, Progress};
use super::partition::{Arrival, Partition, Position};
use super::session::{Session, Wanted};
use super::validation::Doubt;
use super::{ConsumerCore, Effect, PREFETCH_BYTES, Pending, Target};
use crate::consumer::{ConsumerError, FetchedBatch, Isolation, TopicPartition};
use crate::net::TransportError;

/// Replica id of a consumer.
const CONSUMER: BrokerId = BrokerId(-1);

/// A broker that is fetched from.
#[derive(Debug, Default)]
pub(super) struct Node {
    busy: bool,
    session: Session,
    failures: u32,
    pub(super) retry_at: Duration,
}

/// A place that a fetch asks for.
#[derive(Debug)]
pub(super) struct Fetching {
    partition: TopicPartition,
    topic_id: Uuid,
    offset: i64,
}

impl ConsumerCore {
    /// Takes records from what was fetched, partition after partition in order of arrival.
    pub(super) fn take_batches(&mut self, now: Duration) -> Result<Vec<FetchedBatch>, ConsumerError> {
        let mut out: Vec<FetchedBatch> = Vec::new();
        let mut room = self.settings.max_poll_records;
        while room > 0
            && let Some(partition) = self.ready.pop_front()
        {
            let Some(state) = self.partitions.get_mut(&partition) else { continue };
            if state.paused || state.revoked {
                continue; // `resume` puts it back.
            }
            let before = (state.buffered(), out.len());
            let result = state.take(&partition, room, &mut self.scratch, &mut out);
            self.buffered -= before.0 - state.buffered();
            let more = state.has_data();
            if let Err(error) = result {
                // What came before the error is handed over first; the error comes back when this place is fetched again.
                if out.is_empty() {
                    return Err(error);
                }
                return Ok(out);
            }
            let (lag, lead) = (state.lag(), state.lead());
            let taken = out[before.1..].iter().fold(Haul::default(), |haul, batch| Haul {
                bytes: haul.bytes + batch.size_bytes(),
                records: haul.records + batch.max_records(),
            });
            self.figures.consumed(now, &partition, taken, Progress { lag, lead });
            room = room.saturating_sub(taken.records);
            if more {
                // The next batch does not fit any more; it is the first of the next poll.
                self.ready.push_front(partition);
                break;
            }
        }
        Ok(out)
    }

    /// Sends a fetch to every broker that has none under way and all of whose partitions can be asked for.
    pub(super) fn send_fetches(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.partitions.is_empty() {
            return;
        }
        // What is paused waits for the application, and nothing more of it comes; it must not keep the rest from being read.
        let idle = self.partitions.values().filter(|state| state.paused).map(Partition::buffered).sum();
        if self.buffered.saturating_sub(idle) >= PREFETCH_BYTES {
            return;
        }
        // With none allowed a broker still sends a batch at a time.
        let limit = self.settings.max_partition_fetch_bytes.max(1).unsigned_abs() as usize;
        let mut by_node: BTreeMap<i32, Option<Vec<Wanted>>> = BTreeMap::new();
        let mut doubts: BTreeMap<i32, Vec<Doubt>> = BTreeMap::new();
        let mut leaderless = false;
        for (partition, state) in &mut self.partitions {
            let Position::At(position) = state.position else { continue };
            if state.paused || state.revoked || state.in_flight || state.validating || state.retry_at > now {
                continue;
            }
            let Some(leader) = self.cluster.leader(partition) else {
                leaderless = true;
                continue;
            };
            if state.is_doubtful(leader.epoch) {
                // What was fetched ahead may be what was cut.
                self.buffered -= state.buffered();
                state.drop_buffer();
                state.validating = true;
                let (partition, epoch) = (partition.clone(), state.epoch.unwrap_or_default());
                let doubt = Doubt { partition, offset: position, epoch, leader_epoch: leader.epoch };
                doubts.entry(leader.node).or_default().push(doubt);
                continue;
            }
            let node = match state.preferred {
                Some((node, until)) if until > now && self.cluster.is_online(partition, node) => node,
                preferred => {
                    state.preferred = None;
                    leaderless |= preferred.is_some_and(|(_, until)| until > now);
                    leader.node
                }
            };
            if self.fetching.get(&node).is_some_and(|node| node.busy || node.retry_at > now) {
                continue;
            }
            let list = by_node.entry(node).or_insert_with(|| Some(Vec::new()));
            match (list.as_mut(), state.fetch_offset()) {
                (Some(wanted), Some(offset)) if state.buffered() < limit => wanted.push(Wanted {
                    partition: partition.clone(),
                    name: state.name.clone(),
                    topic_id: leader.topic_id,
                    offset,
                    leader_epoch: leader.epoch,
                    is_unseen: state.end.is_none(),
                }),
                _ => *list = None,
            }
        }
        if leaderless {
            self.cluster.want(now);
        }
        self.send_validations(doubts, effects);
        for (node, wanted) in by_node {
            if let Some(wanted) = wanted {
                self.send_fetch(node, wanted, effects);
            }
        }
    }

    fn send_fetch(&mut self, node: i32, mut wanted: Vec<Wanted>, effects: &mut Vec<Effect>) {
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn % wanted.len();
        wanted.rotate_left(turn);
        let asked: Vec<_> = wanted
            .iter()
            .map(|Wanted { partition, topic_id, offset, .. }| Fetching {
                partition: partition.clone(),
                topic_id: *topic_id,
                offset: *offset,
            })
            .collect();
        for Fetching { partition, .. } in &asked {
            if let Some(state) = self.partitions.get_mut(partition) {
                state.in_flight = true;
            }
        }
        let broker = self.fetching.entry(node).or_default();
        broker.busy = true;
        let asking = broker.session.ask(&mut wanted);
        let mut topics: Vec<FetchTopic> = Vec::new();
        for Wanted { partition, name, topic_id, offset, leader_epoch, .. } in wanted {
            if topics.last().is_none_or(|topic| topic.topic.0 != name) {
                topics.push(FetchTopic::default().with_topic(name.into()).with_topic_id(topic_id));
            }
            let topic = topics.last_mut().expect("one was pushed");
            topic.partitions.push(
                FetchPartition::default()
                    .with_partition(partition.partition)
                    .with_current_leader_epoch(leader_epoch)
                    .with_fetch_offset(offset)
                    .with_partition_max_bytes(self.settings.max_partition_fetch_bytes),
            );
        }
        let mut forgotten: Vec<ForgottenTopic> = Vec::new();
        for (partition, topic_id) in asking.forgotten {
            if forgotten
                .last()
                .is_none_or(|topic| topic.topic.as_str() != &*partition.topic || topic.topic_id != topic_id)
            {
                let name = TopicName(StrBytes::from_string(partition.topic.to_string()));
                forgotten.push(ForgottenTopic::default().with_topic(name).with_topic_id(topic_id));
            }
            forgotten.last_mut().expect("one was pushed").partitions.push(partition.partition);
        }
        let settings = &self.settings;
        let wait = i32::try_from(settings.fetch_max_wait.as_millis()).unwrap_or(i32::MAX);
        let request = FetchRequest::default()
            .with_replica_id(CONSUMER)
            .with_max_wait_ms(wait)
            .with_min_bytes(settings.fetch_min_bytes)
            .with_max_bytes(settings.fetch_max_bytes)
            .with_isolation_level(settings.isolation.code())
            .with_session_id(asking.session)
            .with_session_epoch(asking.epoch)
            .with_topics(topics)
            .with_forgotten_topics_data(forgotten)
            .with_rack_id(StrBytes::from_string(settings.client_rack.clone()));
        let timeout = settings.request_timeout.max(settings.fetch_max_wait.saturating_mul(2));
        self.send(Target::Node(node), RequestKind::Fetch(request), timeout, Pending::Fetch { node, asked }, effects);
    }

    pub(super) fn fetch_answered(
        &mut self,
        now: Duration,
        node: i32,
        asked: Vec<Fetching>,
        response: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) {
        for Fetching { partition, .. } in &asked {
            if let Some(state) = self.partitions.get_mut(partition) {
                state.in_flight = false;
            }
        }
        let state = self.fetching.entry(node).or_default();
        state.busy = false;
        let response = match response {
            Ok(ResponseKind::Fetch(response)) if response.error_code == 0 => response,
            other => {
                let error = match other {
                    Ok(ResponseKind::Fetch(response)) => ResponseError::try_from_code(response.error_code),
                    _ => None,
                };
                if state.session.failed(error) {
                    return;
                }
                // Away, or it refuses the request as a whole: perhaps the partitions have moved.
                for Fetching { partition, .. } in &asked {
                    if let Some(state) = self.partitions.get_mut(partition) {
                        state.preferred = None;
                    }
                }
                let wait = super::lookup::backoff(&self.settings, state.failures);
                state.failures = state.failures.saturating_add(1);
                state.retry_at = now + wait;
                return self.cluster.want(now);
            }
        };
        state.failures = 0;
        state.session.answered(response.session_id);
        // Brokers answer in an order of their own that seldom changes, and leave out what is not new: the next one is searched for from the last one on.
        let mut cursor = 0;
        let mut woken = false;
        let mut hauls: BTreeMap<Arc<str>, Haul> = BTreeMap::new();
        for topic in response.responses {
            for data in topic.partitions {
                // By id from version 13 on, by name before.
                let named = |asked: &Fetching| {
                    asked.partition.partition == data.partition_index
                        && match topic.topic_id.is_nil() {
                            true => *asked.partition.topic == *topic.topic.as_str(),
                            false => asked.topic_id == topic.topic_id,
                        }
                };
                let (before, behind) = asked.split_at(cursor);
                let found = behind.iter().position(named).map(|at| cursor + at);
                let Some(index) = found.or_else(|| before.iter().position(named)) else { continue };
                cursor = index + 1;
                let Fetching { partition, offset, .. } = &asked[index];
                let moved = self.cluster.moved(partition, &data.current_leader, &response.node_endpoints);
                if moved {
                    effects.push(Effect::Brokers(self.cluster.brokers()));
                }
                let bytes = data.records.as_ref().map_or(0, bytes::Bytes::len);
                woken |= self.partition_fetched(now, partition, *offset, data, effects);
                if bytes > 0 {
                    let haul = hauls.entry(Arc::clone(&partition.topic)).or_default();
                    haul.bytes += bytes;
                    haul.records += self.partitions.get(partition).map_or(0, |state| state.arrived);
                }
                if moved && let Some(state) = self.partitions.get_mut(partition) {
                    // There is somebody else to ask at once.
                    state.retry_at = now;
                }
            }
        }
        if !hauls.is_empty() {
            self.figures.fetched(now, &hauls);
        }
        if woken {
            effects.push(Effect::Wake);
        }
    }

    /// Whether there is something to hand over.
    fn partition_fetched(
        &mut self,
        now: Duration,
        partition: &TopicPartition,
        offset: i64,
        data: PartitionData,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let reset = self.reset_position(now);
        let Some(state) = self.partitions.get_mut(partition) else { return false };
        // An answer about another place than the one that is read now says nothing.
        if state.fetch_offset() != Some(offset) {
            return false;
        }
        let settings = &self.settings;
        let Some(error) = ResponseError::try_from_code(data.error_code) else {
            state.end = Some(match settings.isolation {
                Isolation::ReadCommitted if data.last_stable_offset >= 0 => data.last_stable_offset,
                _ => data.high_watermark,
            });
            if data.preferred_read_replica.0 >= 0 {
                // Asked for again from time to time: the leader knows best.
                state.preferred = Some((data.preferred_read_replica.0, now.saturating_add(settings.metadata_max_age)));
            }
            let aborted = data
                .aborted_transactions
                .map(|list| list.into_iter().map(|aborted| (aborted.producer_id.0, aborted.first_offset)).collect());
            state.start = (data.log_start_offset >= 0).then_some(data.log_start_offset);
            let bytes = data.records.unwrap_or_default();
            let before = state.buffered();
            let arrival = state.store(offset, bytes, aborted, settings.isolation, settings.check_crcs);
            self.buffered += state.buffered() - before;
            return match arrival {
                Arrival::Stored => {
                    self.make_ready(partition.clone());
                    true
                }
                // Also wakes whoever waits to learn that it has caught up.
                Arrival::Nothing => true,
                Arrival::Partial => {
                    state.retry_at = now + settings.retry_backoff_max;
                    let limit = settings.max_partition_fetch_bytes;
                    let partition = partition.clone();
                    self.fail(ConsumerError::BatchTooLarge { partition, offset, limit }, effects);
                    false
                }
            };
        };
        state.retry_at = now + settings.retry_backoff;
        match error {
            ResponseError::OffsetOutOfRange => {
                // What was handed over stays; what was fetched before the error is still good.
                if state.has_data() {
                    return false;
                }
                // A follower may lag behind, and not have what has just been written.
                if state.preferred.take().is_some() {
                    state.retry_at = now;
                } else if reset == Position::Committed {
                    state.retry_at = now + settings.retry_backoff_max;
                    self.fail(ConsumerError::OffsetOutOfRange { partition: partition.clone(), offset }, effects);
                } else {
                    tracing::info!(%partition, offset, "the offset is out of range; it is reset");
                    state.move_to(reset);
                }
            }
            ResponseError::TopicAuthorizationFailed => {
                state.retry_at = now + settings.retry_backoff_max;
                self.fail(ConsumerError::TopicAuthorization(vec![partition.topic.to_string()]), effects);
            }
            ResponseError::CorruptMessage | ResponseError::UnsupportedCompressionType => {
                state.retry_at = now + settings.retry_backoff_max;
                let what = format!("fetching offset {offset} of {partition}");
                self.fail(ConsumerError::Refused { what, error }, effects);
            }
            // The leader moved, the topic went away, or something passing: ask who leads, then again.
            _ => {
                state.preferred = None;
                self.cluster.want(now);
            }
        }
        false
    }

    /// Tells brokers that their sessions are over, so that they need not remember them.
    pub(super) fn close_sessions(&mut self, now: Duration, deadline: Duration, effects: &mut Vec<Effect>) {
        let open: Vec<_> =
            self.fetching.iter_mut().filter_map(|(node, broker)| Some((*node, broker.session.close()?))).collect();
        let timeout = self.settings.request_timeout.min(deadline.saturating_sub(now));
        for (node, (session, epoch)) in open {
            let request =
                FetchRequest::default().with_replica_id(CONSUMER).with_session_id(session).with_session_epoch(epoch);
            self.closing_sessions += 1;
            self.send(Target::Node(node), RequestKind::Fetch(request), timeout, Pending::SessionEnd, effects);
        }
    }
}
