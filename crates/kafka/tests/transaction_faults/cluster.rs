//! A cluster with a coordinator of transactions, as strict as Apache Kafka in what a committed transaction rests upon: sequence numbers, epochs, partitions and
//! groups that belong to the transaction. All brokers share one state; who may answer what moves around.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::api_versions_response::FinalizedFeatureKey;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnResponse, ApiVersionsResponse, BrokerId, EndTxnResponse,
    FindCoordinatorResponse, InitProducerIdResponse, MetadataResponse, ProduceResponse, ProducerId, RequestKind,
    ResponseKind, TopicName, TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::StrBytes;
use kurier_kafka::batch::{Batches, Scratch, sequence_after};

use crate::simulated::Rng;

const NODES: i32 = 3;
pub(crate) const TOPIC: &str = "t";
pub(crate) const PARTITIONS: i32 = 3;
pub(crate) const ID: &str = "transfers";
/// How many batches of a producer a broker recognises.
const REMEMBERED: usize = 5;
const NOT_LEADER: i16 = 6;
const REQUEST_TIMED_OUT: i16 = 7;
const LOADING: i16 = 14;
const NOT_COORDINATOR: i16 = 16;
const OUT_OF_ORDER_SEQUENCE: i16 = 45;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const INVALID_TXN_STATE: i16 = 48;
const CONCURRENT_TRANSACTIONS: i16 = 51;
const INVALID_RECORD: i16 = 87;
const PRODUCER_FENCED: i16 = 90;
const TRANSACTION_ABORTABLE: i16 = 120;

/// How bad it is, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) breaks: u64,
    pub(crate) refusals: u64,
    pub(crate) moves: u64,
    /// Records that no broker takes.
    pub(crate) invalid: u64,
    /// Batches that a broker answers with TRANSACTION_ABORTABLE.
    pub(crate) abortable: u64,
}

/// What a broker knows of the producer in a partition.
#[derive(Default)]
struct Known {
    epoch: i16,
    batches: VecDeque<(i32, i32, i64)>,
}

#[derive(Default)]
pub(crate) struct Log {
    leader: i32,
    /// Tickets, each with the number of the transaction that it was written in.
    pub(crate) records: Vec<(u64, u64)>,
    known: HashMap<i64, Known>,
}

/// What the coordinator knows.
#[derive(Default)]
struct Coordinated {
    producer: Option<(i64, i16)>,
    /// The epoch before the last one that was given out, whose owner may ask again.
    last_epoch: Option<i16>,
    ongoing: bool,
    partitions: BTreeSet<i32>,
    has_group: bool,
    /// How the last one ended, for who asks again.
    last_end: Option<bool>,
    /// Markers are written until then.
    completing_until: Duration,
}

pub(crate) struct Cluster {
    pub(crate) is_v2: bool,
    pub(crate) weather: Weather,
    pub(crate) logs: Vec<Log>,
    coordinator: i32,
    group_coordinator: i32,
    state: Coordinated,
    /// Counts transactions on the coordinator's side.
    pub(crate) number: u64,
    /// How each of those ended.
    pub(crate) ends: BTreeMap<u64, bool>,
    pending_offset: Option<i64>,
    pub(crate) offset: Option<i64>,
    /// How often each of the rarer answers was given.
    pub(crate) told: BTreeMap<i16, u64>,
}

impl Cluster {
    pub(crate) fn new(rng: &mut Rng, is_v2: bool, weather: Weather) -> Self {
        let mut node = || rng.below(NODES as u64) as i32;
        Self {
            is_v2,
            weather,
            logs: (0..PARTITIONS).map(|_| Log { leader: node(), ..Log::default() }).collect(),
            coordinator: node(),
            group_coordinator: node(),
            state: Coordinated::default(),
            number: 0,
            ends: BTreeMap::new(),
            pending_offset: None,
            offset: None,
            told: BTreeMap::new(),
        }
    }

    /// Somebody else takes the transactional id.
    pub(crate) fn fence(&mut self) {
        self.end(false, Duration::ZERO);
        if let Some((id, epoch)) = self.state.producer {
            self.state.producer = Some((id, epoch + 1));
            self.state.last_epoch = None;
            self.state.last_end = None;
        }
    }

    pub(crate) fn stir(&mut self, rng: &mut Rng) {
        let moves = self.weather.moves;
        for log in &mut self.logs {
            if rng.chance(moves) {
                log.leader = rng.below(NODES as u64) as i32;
            }
        }
        if rng.chance(moves) {
            self.coordinator = rng.below(NODES as u64) as i32;
        }
        if rng.chance(moves) {
            self.group_coordinator = rng.below(NODES as u64) as i32;
        }
    }

    fn tell(&mut self, code: i16) -> i16 {
        *self.told.entry(code).or_default() += 1;
        code
    }

    pub(crate) fn answer(
        &mut self,
        rng: &mut Rng,
        now: Duration,
        node: Option<i32>,
        request: &RequestKind,
        highest: Option<i16>,
    ) -> ResponseKind {
        match request {
            RequestKind::Metadata(_) => ResponseKind::Metadata(self.metadata(rng)),
            RequestKind::ApiVersions(_) => {
                let level = if self.is_v2 { 2 } else { 1 };
                let feature = FinalizedFeatureKey::default()
                    .with_name("transaction.version".into())
                    .with_min_version_level(level)
                    .with_max_version_level(level);
                ResponseKind::ApiVersions(ApiVersionsResponse::default().with_finalized_features(vec![feature]))
            }
            RequestKind::FindCoordinator(request) => {
                let (node, key) = match request.key_type {
                    1 => (self.coordinator, ID),
                    _ => (self.group_coordinator, "g"),
                };
                let code = if rng.chance(self.weather.refusals) { 15 } else { 0 };
                let found = Coordinator::default()
                    .with_key(key.into())
                    .with_node_id(BrokerId(node))
                    .with_host("h".into())
                    .with_port(1 + node)
                    .with_error_code(code);
                ResponseKind::FindCoordinator(FindCoordinatorResponse::default().with_coordinators(vec![found]))
            }
            RequestKind::InitProducerId(request) => {
                let asked = (request.producer_id.0, request.producer_epoch);
                let code = self.init(rng, now, node, asked);
                let (id, epoch) = self.state.producer.filter(|_| code == 0).unwrap_or((-1, -1));
                let response = InitProducerIdResponse::default().with_producer_id(ProducerId(id));
                ResponseKind::InitProducerId(response.with_producer_epoch(epoch).with_error_code(code))
            }
            RequestKind::AddPartitionsToTxn(request) => {
                assert!(!self.is_v2, "version 2 adds partitions by itself");
                let topic = &request.v3_and_below_topics[0];
                let asked = (request.v3_and_below_producer_id.0, request.v3_and_below_producer_epoch);
                let code = self.join(rng, now, node, asked);
                if code == 0 {
                    self.state.partitions.extend(topic.partitions.iter());
                }
                let results = topic.partitions.iter().map(|partition| {
                    AddPartitionsToTxnPartitionResult::default()
                        .with_partition_index(*partition)
                        .with_partition_error_code(code)
                });
                let result = AddPartitionsToTxnTopicResult::default()
                    .with_name(topic.name.clone())
                    .with_results_by_partition(results.collect());
                ResponseKind::AddPartitionsToTxn(
                    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(vec![result]),
                )
            }
            RequestKind::AddOffsetsToTxn(request) => {
                assert!(!self.is_v2, "version 2 adds groups by itself");
                let code = self.join(rng, now, node, (request.producer_id.0, request.producer_epoch));
                self.state.has_group |= code == 0;
                ResponseKind::AddOffsetsToTxn(AddOffsetsToTxnResponse::default().with_error_code(code))
            }
            RequestKind::TxnOffsetCommit(request) => {
                assert_eq!(highest, (!self.is_v2).then_some(4));
                let committed = &request.topics[0].partitions[0];
                let asked = (request.producer_id.0, request.producer_epoch);
                let code = self.commit_offset(rng, now, node, asked, committed.committed_offset);
                let result = TxnOffsetCommitResponsePartition::default().with_error_code(code);
                let topic = TxnOffsetCommitResponseTopic::default()
                    .with_name(request.topics[0].name.clone())
                    .with_partitions(vec![result.with_partition_index(committed.partition_index)]);
                ResponseKind::TxnOffsetCommit(TxnOffsetCommitResponse::default().with_topics(vec![topic]))
            }
            RequestKind::EndTxn(request) => {
                assert_eq!(highest, (!self.is_v2).then_some(4));
                let asked = (request.producer_id.0, request.producer_epoch);
                let code = self.end_txn(rng, now, node, asked, request.committed);
                let (id, epoch) = self.state.producer.filter(|_| code == 0 && self.is_v2).unwrap_or((-1, -1));
                let response = EndTxnResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(epoch);
                ResponseKind::EndTxn(response.with_error_code(code))
            }
            RequestKind::Produce(request) => {
                assert_eq!(highest, (!self.is_v2).then_some(11));
                let topic = &request.topic_data[0];
                let mut results = Vec::new();
                for data in &topic.partition_data {
                    let (code, offset) = self.append(rng, now, node, data.index, data.records.clone().unwrap());
                    let result = PartitionProduceResponse::default().with_index(data.index).with_base_offset(offset);
                    results.push(result.with_error_code(code));
                }
                let topic = TopicProduceResponse::default().with_name(topic.name.clone());
                let responses = vec![topic.with_partition_responses(results)];
                ResponseKind::Produce(ProduceResponse::default().with_responses(responses))
            }
            other => panic!("a producer asked {other:?}"),
        }
    }

    fn metadata(&mut self, rng: &mut Rng) -> MetadataResponse {
        let brokers = (0..NODES).map(|node| {
            MetadataResponseBroker::default().with_node_id(BrokerId(node)).with_host("h".into()).with_port(1 + node)
        });
        let refusals = self.weather.refusals;
        let partitions = self.logs.iter().zip(0..).map(|(log, partition)| {
            let leader = if rng.chance(refusals) { -1 } else { log.leader };
            MetadataResponsePartition::default().with_partition_index(partition).with_leader_id(BrokerId(leader))
        });
        let name = Some(TopicName(StrBytes::from_static_str(TOPIC)));
        let topic = MetadataResponseTopic::default().with_name(name).with_partitions(partitions.collect());
        MetadataResponse::default().with_brokers(brokers.collect()).with_topics(vec![topic])
    }

    /// What the coordinator says before it looks at what is asked.
    fn door(&mut self, rng: &mut Rng, now: Duration, node: Option<i32>, coordinator: i32) -> i16 {
        if node != Some(coordinator) {
            return self.tell(NOT_COORDINATOR);
        }
        if rng.chance(self.weather.refusals) {
            return self.tell(LOADING);
        }
        if now < self.state.completing_until {
            return self.tell(CONCURRENT_TRANSACTIONS);
        }
        0
    }

    fn init(&mut self, rng: &mut Rng, now: Duration, node: Option<i32>, asked: (i64, i16)) -> i16 {
        let code = self.door(rng, now, node, self.coordinator);
        if code != 0 {
            return code;
        }
        let Some((id, epoch)) = self.state.producer else {
            self.state.producer = Some((7, 0));
            return 0;
        };
        if asked.0 >= 0 && asked != (id, epoch) {
            // Who asks again because the answer was lost has it already.
            let is_again = asked.0 == id && self.state.last_epoch == Some(asked.1);
            return if is_again { 0 } else { self.tell(PRODUCER_FENCED) };
        }
        if self.state.ongoing {
            self.end(false, now + rng.millis(20));
            self.state.producer = Some((id, epoch + 1));
            self.state.last_epoch = None;
            return self.tell(CONCURRENT_TRANSACTIONS);
        }
        self.state.last_epoch = Some(epoch);
        self.state.producer = Some((id, epoch + 1));
        0
    }

    fn join(&mut self, rng: &mut Rng, now: Duration, node: Option<i32>, asked: (i64, i16)) -> i16 {
        let code = self.door(rng, now, node, self.coordinator);
        if code != 0 {
            return code;
        }
        if Some(asked) != self.state.producer {
            return self.tell(PRODUCER_FENCED);
        }
        self.begin();
        0
    }

    fn begin(&mut self) {
        if !self.state.ongoing {
            self.number += 1;
            self.state.ongoing = true;
            self.state.last_end = None;
        }
    }

    fn end(&mut self, commits: bool, completing_until: Duration) {
        if self.state.ongoing {
            self.ends.insert(self.number, commits);
        }
        let offset = self.pending_offset.take();
        if commits {
            self.offset = offset.or(self.offset);
        }
        self.state.ongoing = false;
        self.state.partitions.clear();
        self.state.has_group = false;
        self.state.last_end = Some(commits);
        self.state.completing_until = completing_until;
    }

    fn end_txn(&mut self, rng: &mut Rng, now: Duration, node: Option<i32>, asked: (i64, i16), commits: bool) -> i16 {
        if node == Some(self.coordinator) && self.state.last_end == Some(commits) && !self.state.ongoing {
            // The answer was lost.
            let of_last = self.state.producer.map(|(id, epoch)| (id, epoch - i16::from(self.is_v2)));
            if Some(asked) == of_last {
                return 0;
            }
        }
        let code = self.door(rng, now, node, self.coordinator);
        if code != 0 {
            return code;
        }
        if Some(asked) != self.state.producer {
            return self.tell(PRODUCER_FENCED);
        }
        if !self.state.ongoing && (commits || !self.is_v2) {
            return self.tell(INVALID_TXN_STATE);
        }
        self.end(commits, now + rng.millis(20));
        if self.is_v2 {
            self.state.producer = Some((asked.0, asked.1 + 1));
        }
        0
    }

    fn commit_offset(
        &mut self,
        rng: &mut Rng,
        now: Duration,
        node: Option<i32>,
        asked: (i64, i16),
        offset: i64,
    ) -> i16 {
        let code = self.door(rng, now, node, self.group_coordinator);
        if code != 0 {
            return code;
        }
        if Some(asked) != self.state.producer {
            return self.tell(PRODUCER_FENCED);
        }
        if self.is_v2 {
            self.begin();
            self.state.has_group = true;
        }
        assert!(self.state.has_group, "the group is not part of the transaction");
        self.pending_offset = Some(offset);
        0
    }

    fn append(&mut self, rng: &mut Rng, now: Duration, node: Option<i32>, at: i32, bytes: Bytes) -> (i16, i64) {
        let weather = self.weather;
        if node != Some(self.logs[at as usize].leader) {
            return (self.tell(NOT_LEADER), -1);
        }
        if rng.chance(weather.refusals) {
            return (self.tell(REQUEST_TIMED_OUT), -1);
        }
        if rng.chance(weather.abortable) {
            return (self.tell(TRANSACTION_ABORTABLE), -1);
        }
        let batch = Batches::new(bytes).next().unwrap().unwrap();
        let header = batch.header().clone();
        assert!(header.is_transactional());
        let log = &self.logs[at as usize];
        let (first, last, epoch) = (header.base_sequence, header.last_sequence(), header.producer_epoch);
        let known = log.known.get(&header.producer_id);
        if known.is_some_and(|known| epoch < known.epoch) || self.state.producer.is_some_and(|(_, now)| epoch < now) {
            return (self.tell(INVALID_PRODUCER_EPOCH), -1);
        }
        match known.filter(|known| known.epoch == epoch) {
            Some(known) => {
                if let Some((.., offset)) = known.batches.iter().find(|batch| (batch.0, batch.1) == (first, last)) {
                    return (0, *offset);
                }
                if known.batches.back().map(|batch| sequence_after(batch.1, 1)) != Some(first) {
                    return (self.tell(OUT_OF_ORDER_SEQUENCE), -1);
                }
            }
            None if known.is_some() && first != 0 => return (self.tell(OUT_OF_ORDER_SEQUENCE), -1),
            None => {}
        }
        if now < self.state.completing_until {
            return (self.tell(CONCURRENT_TRANSACTIONS), -1);
        }
        if self.is_v2 {
            self.begin();
            self.state.partitions.insert(at);
        } else if !self.state.partitions.contains(&at) {
            // Late, from a transaction that is over.
            return (self.tell(INVALID_TXN_STATE), -1);
        }
        let records = batch.records(&mut Scratch::default()).unwrap();
        let ticket = |value: Option<&[u8]>| u64::from_be_bytes(value.unwrap()[..8].try_into().unwrap());
        let tickets: Vec<u64> = records.iter().map(|record| ticket(record.unwrap().value)).collect();
        if tickets.iter().any(|ticket| Rng(*ticket).chance(weather.invalid)) {
            return (self.tell(INVALID_RECORD), -1);
        }
        let log = &mut self.logs[at as usize];
        let offset = log.records.len() as i64;
        log.records.extend(tickets.into_iter().map(|ticket| (ticket, self.number)));
        let known = log.known.entry(header.producer_id).or_default();
        if known.epoch != epoch {
            *known = Known { epoch, batches: VecDeque::new() };
        }
        known.batches.push_back((first, last, offset));
        if known.batches.len() > REMEMBERED {
            known.batches.pop_front();
        }
        (0, offset)
    }
}
