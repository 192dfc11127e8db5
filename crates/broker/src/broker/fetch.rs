//! `Fetch`: reads, and waits for more when there is too little.
//!
//! What a client need not say and be told again is the business of `fetch_sessions`.
//! A waiting fetch is counted down by the bytes that are appended to its partitions, so that an append costs it no reading.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ProducerId, ResponseKind, TopicName};
use uuid::Uuid;

use super::topics::Topics;
use super::{Broker, Outcome, Reply, Ticket, code};
use crate::log::LEADER_EPOCH;

/// First version of `Fetch` that names topics by id.
const TOPIC_ID_VERSION: i16 = 13;
/// The isolation level in which open and rolled back transactions are not seen.
const READ_COMMITTED: i8 = 1;
/// "There is no such offset", beside an error.
const NO_OFFSET: i64 = -1;

/// What a client wants to read.
#[derive(Debug)]
struct Plan {
    by_id: bool,
    session: i32,
    /// Whether only what changed is told.
    incremental: bool,
    topics: Vec<PlannedTopic>,
    max_bytes: usize,
    read_committed: bool,
}

#[derive(Debug)]
pub(super) struct PlannedTopic {
    /// Nil when there is no such topic.
    pub(super) id: Uuid,
    pub(super) name: TopicName,
    pub(super) partitions: Vec<PlannedPartition>,
}

#[derive(Debug)]
pub(super) struct PlannedPartition {
    pub(super) index: i32,
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) max_bytes: usize,
}

/// What reading by a plan gave.
struct Found {
    response: FetchResponse,
    bytes: usize,
    has_error: bool,
}

struct Waiting {
    plan: Plan,
    deadline: Duration,
    min_bytes: usize,
    /// Bytes that must still be appended.
    missing: usize,
}

/// Fetches that wait for data.
#[derive(Default)]
pub(super) struct FetchWaiters {
    waiting: BTreeMap<Ticket, Waiting>,
    deadlines: BTreeSet<(Duration, Ticket)>,
    watchers: HashMap<Uuid, BTreeMap<i32, BTreeSet<Ticket>>>,
}

impl FetchWaiters {
    fn insert(&mut self, ticket: Ticket, waiting: Waiting) {
        self.deadlines.insert((waiting.deadline, ticket));
        for topic in &waiting.plan.topics {
            let watchers = self.watchers.entry(topic.id).or_default();
            for partition in &topic.partitions {
                watchers.entry(partition.index).or_default().insert(ticket);
            }
        }
        self.waiting.insert(ticket, waiting);
    }

    /// Forgets a fetch.
    pub(super) fn remove(&mut self, ticket: Ticket) {
        self.take(ticket);
    }

    fn take(&mut self, ticket: Ticket) -> Option<Waiting> {
        let waiting = self.waiting.remove(&ticket)?;
        self.deadlines.remove(&(waiting.deadline, ticket));
        for topic in &waiting.plan.topics {
            let Some(watchers) = self.watchers.get_mut(&topic.id) else { continue };
            for partition in &topic.partitions {
                if let Some(tickets) = watchers.get_mut(&partition.index) {
                    tickets.remove(&ticket);
                    if tickets.is_empty() {
                        watchers.remove(&partition.index);
                    }
                }
            }
            if watchers.is_empty() {
                self.watchers.remove(&topic.id);
            }
        }
        Some(waiting)
    }

    /// Takes note of bytes appended to a partition; returns the fetches that now have enough.
    pub(super) fn appended(&mut self, topic: Uuid, partition: i32, bytes: usize) -> Vec<Ticket> {
        let Some(tickets) = self.watchers.get(&topic).and_then(|watchers| watchers.get(&partition)) else {
            return Vec::new();
        };
        let mut ready = Vec::new();
        for ticket in tickets {
            if let Some(waiting) = self.waiting.get_mut(ticket) {
                waiting.missing = waiting.missing.saturating_sub(bytes);
                if waiting.missing == 0 {
                    ready.push(*ticket);
                }
            }
        }
        ready
    }

    /// Fetches that wait for anything in a topic.
    pub(super) fn watching_topic(&self, topic: Uuid) -> Vec<Ticket> {
        self.watchers.get(&topic).into_iter().flat_map(BTreeMap::values).flatten().copied().collect()
    }

    /// A fetch whose time is up.
    pub(super) fn next_due(&self, now: Duration) -> Option<Ticket> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, ticket)| *ticket)
    }

    /// When the next fetch must be answered.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }
}

impl Broker {
    pub(super) fn fetch(&mut self, ticket: Ticket, version: i16, request: FetchRequest) -> Outcome {
        let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
        let plan = match self.plan_fetch(version, &request) {
            Ok(plan) => plan,
            Err(error) => {
                let response = FetchResponse::default().with_error_code(code(error));
                return Outcome::Answer(ResponseKind::Fetch(response));
            }
        };
        // More than may ever be given would wait for nothing.
        let min_bytes = min_bytes.min(plan.max_bytes);
        let found = read(&mut self.topics, &plan);
        if found.bytes >= min_bytes || found.has_error || max_wait.is_zero() || plan.topics.is_empty() {
            let response = self.fetch_sessions.end(plan.session, plan.incremental, found.response);
            return Outcome::Answer(ResponseKind::Fetch(response));
        }
        let deadline = self.now.elapsed + max_wait;
        let waiting = Waiting { plan, deadline, min_bytes, missing: min_bytes - found.bytes };
        self.fetches.insert(ticket, waiting);
        Outcome::Wait
    }

    fn plan_fetch(&mut self, version: i16, request: &FetchRequest) -> Result<Plan, ResponseError> {
        let by_id = version >= TOPIC_ID_VERSION;
        let mut scope = self.fetch_sessions.begin(self.now.elapsed, by_id, request)?;
        let most = self.config.max_fetch_bytes;
        for topic in &mut scope.topics {
            if !by_id {
                topic.id = self.topics.get(&topic.name).map(|topic| topic.id).unwrap_or_default();
            }
            topic.partitions.iter_mut().for_each(|partition| partition.max_bytes = partition.max_bytes.min(most));
        }
        Ok(Plan {
            by_id,
            session: scope.session,
            incremental: scope.incremental,
            topics: scope.topics,
            max_bytes: usize::try_from(request.max_bytes).unwrap_or(0).min(most),
            read_committed: request.isolation_level == READ_COMMITTED,
        })
    }

    /// Answers a waiting fetch if there is enough now. Bytes of open transactions were counted, and are not there to read.
    pub(super) fn reconsider_fetch(&mut self, ticket: Ticket, replies: &mut Vec<Reply>) {
        let Some(waiting) = self.fetches.take(ticket) else { return };
        let found = read(&mut self.topics, &waiting.plan);
        if found.bytes >= waiting.min_bytes || found.has_error {
            let plan = &waiting.plan;
            let response = self.fetch_sessions.end(plan.session, plan.incremental, found.response);
            self.answer(ticket, ResponseKind::Fetch(response), replies);
        } else {
            let missing = waiting.min_bytes - found.bytes;
            self.fetches.insert(ticket, Waiting { missing, ..waiting });
        }
    }

    /// Answers a waiting fetch with what there is.
    pub(super) fn complete_fetch(&mut self, ticket: Ticket, replies: &mut Vec<Reply>) {
        if let Some(waiting) = self.fetches.take(ticket) {
            let found = read(&mut self.topics, &waiting.plan);
            let plan = &waiting.plan;
            let response = self.fetch_sessions.end(plan.session, plan.incremental, found.response);
            self.answer(ticket, ResponseKind::Fetch(response), replies);
        }
    }
}

fn read(topics: &mut Topics, plan: &Plan) -> Found {
    let mut left = plan.max_bytes;
    let mut found = Found { response: FetchResponse::default(), bytes: 0, has_error: false };
    for topic in &plan.topics {
        let partitions = topic
            .partitions
            .iter()
            .map(|wanted| {
                let mut data = PartitionData::default()
                    .with_partition_index(wanted.index)
                    .with_high_watermark(NO_OFFSET)
                    .with_last_stable_offset(NO_OFFSET)
                    .with_log_start_offset(NO_OFFSET)
                    .with_records(Some(Bytes::new()));
                if let Err(error) = read_partition(topics, plan, topic.id, wanted, left, found.bytes == 0, &mut data) {
                    found.has_error = true;
                    data.error_code = code(error);
                }
                let size = data.records.as_ref().map_or(0, |records| records.len());
                left = left.saturating_sub(size);
                found.bytes += size;
                data
            })
            .collect();
        let response = FetchableTopicResponse::default().with_partitions(partitions);
        let response =
            if plan.by_id { response.with_topic_id(topic.id) } else { response.with_topic(topic.name.clone()) };
        found.response.responses.push(response);
    }
    found
}

fn read_partition(
    topics: &mut Topics,
    plan: &Plan,
    topic_id: Uuid,
    wanted: &PlannedPartition,
    left: usize,
    at_least_one: bool,
    data: &mut PartitionData,
) -> Result<(), ResponseError> {
    let unknown = if plan.by_id { ResponseError::UnknownTopicId } else { ResponseError::UnknownTopicOrPartition };
    let topic = topics.by_id_mut(topic_id).ok_or(unknown)?;
    let (log, _) = topic.log(wanted.index).ok_or(ResponseError::UnknownTopicOrPartition)?;
    data.aborted_transactions = None;
    check_leader_epoch(wanted.leader_epoch)?;
    let (start, end, stable) = (log.start_offset(), log.end_offset(), log.stable_offset());
    if !(start..=end).contains(&wanted.offset) {
        return Err(ResponseError::OffsetOutOfRange);
    }
    data.high_watermark = end;
    data.last_stable_offset = stable;
    data.log_start_offset = start;
    let limit = if plan.read_committed { stable } else { end };
    let slice = log.read(wanted.offset, limit, wanted.max_bytes.min(left), at_least_one);
    if let (true, Ok(slice)) = (plan.read_committed, &slice) {
        let aborted = log.aborted_between(wanted.offset, slice.next_offset).map(|aborted| {
            AbortedTransaction::default()
                .with_producer_id(ProducerId(aborted.producer_id))
                .with_first_offset(aborted.first_offset)
        });
        data.aborted_transactions = Some(aborted.collect());
    }
    match slice {
        Ok(slice) => {
            data.records = Some(slice.bytes);
            Ok(())
        }
        Err(error) => {
            let name = topics.name_of(topic_id).unwrap_or_default();
            tracing::error!(topic = name, partition = wanted.index, offset = wanted.offset, "cannot read: {error}");
            Err(ResponseError::KafkaStorageError)
        }
    }
}

/// Whether a client's idea of the leader's epoch is ours; -1 has none.
pub(super) fn check_leader_epoch(epoch: i32) -> Result<(), ResponseError> {
    match epoch {
        -1 | LEADER_EPOCH => Ok(()),
        epoch if epoch > LEADER_EPOCH => Err(ResponseError::UnknownLeaderEpoch),
        _ => Err(ResponseError::FencedLeaderEpoch),
    }
}
