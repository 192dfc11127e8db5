//! A cluster in memory, a virtual clock, consumers that poll when they like: what must hold, by seed.

mod log;
mod sessions;
mod truncation;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::AbortedTransaction;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{
    BrokerId, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, ProducerId, RequestKind, ResponseKind,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use self::log::{Log, set_leader_epoch};
use self::sessions::Sessions;
use super::*;
use crate::batch::{
    Batch, Builder, BuilderOptions, Compression, Filtered, MarkerKind, Stamp, encode_marker, filter, set_base_offset,
};
use crate::consumer::{Assignor, FetchedBatch, Isolation, OffsetAndMetadata, OffsetReset};
use crate::group::tests::{FakeGroup, Rng, config, ms};

fn topic_id(name: &str) -> Uuid {
    Uuid::from_u128(name.bytes().fold(1, |id, byte| id * 256 + u128::from(byte)))
}

/// Brokers 1 and 2; broker 1 coordinates.
struct Cluster {
    logs: BTreeMap<TopicPartition, Log>,
    leaders: BTreeMap<TopicPartition, i32>,
    /// How often each has had another leader.
    epochs: BTreeMap<TopicPartition, i32>,
    /// Fetches that a follower was sent to answer, and those that it did.
    followed: (u32, u32),
    committed: BTreeMap<TopicPartition, i64>,
    group: FakeGroup,
    sessions: Sessions,
}

impl Cluster {
    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let mut topics: BTreeMap<String, MetadataResponseTopic> = BTreeMap::new();
        for topic in request.topics.iter().flatten() {
            let name = topic.name.clone().unwrap();
            let unknown = ResponseError::UnknownTopicOrPartition.code();
            let topic = MetadataResponseTopic::default().with_name(Some(name.clone())).with_error_code(unknown);
            topics.insert(name.to_string(), topic);
        }
        for (partition, leader) in &self.leaders {
            let name = StrBytes::from_string(partition.topic.to_string());
            if request.topics.is_some() && !topics.contains_key(name.as_str()) {
                continue;
            }
            let topic = topics.entry(name.to_string()).or_default();
            topic.topic_id = topic_id(&name);
            topic.name = Some(name.into());
            topic.error_code = 0;
            topic.partitions.push(
                MetadataResponsePartition::default()
                    .with_partition_index(partition.partition)
                    .with_leader_id(BrokerId(*leader))
                    .with_leader_epoch(self.epoch(partition)),
            );
        }
        let broker = |id| MetadataResponseBroker::default().with_node_id(BrokerId(id)).with_port(9092);
        MetadataResponse::default().with_brokers(vec![broker(1), broker(2)]).with_topics(topics.into_values().collect())
    }

    fn epoch(&self, partition: &TopicPartition) -> i32 {
        self.epochs.get(partition).copied().unwrap_or_default()
    }

    /// Lets a partition have another leader, or the same one again.
    fn elect(&mut self, partition: &TopicPartition, node: i32) {
        self.leaders.insert(partition.clone(), node);
        *self.epochs.entry(partition.clone()).or_default() += 1;
    }

    fn log(&self, node: i32, topic: &str, partition: i32) -> Result<&Log, ResponseError> {
        let partition = TopicPartition::new(topic, partition);
        let log = self.logs.get(&partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
        if self.leaders[&partition] == node { Ok(log) } else { Err(ResponseError::NotLeaderOrFollower) }
    }

    fn list_offsets(&self, node: i32, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let answer = ListOffsetsPartitionResponse::default().with_partition_index(wanted.partition_index);
                match self.log(node, &topic.name, wanted.partition_index) {
                    Err(error) => answer.with_error_code(error.code()),
                    Ok(log) if wanted.timestamp == -2 => answer.with_offset(log.start),
                    Ok(log) => answer.with_offset(log.end),
                }
            });
            let partitions = partitions.collect();
            ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    fn end_of_epoch(&self, node: i32, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let partition = TopicPartition::new(topic.topic.as_str(), wanted.partition);
                let answer = EpochEndOffset::default().with_partition(wanted.partition);
                match self.log(node, &topic.topic, wanted.partition) {
                    Err(error) => answer.with_error_code(error.code()),
                    Ok(_) if wanted.current_leader_epoch != self.epoch(&partition) => {
                        answer.with_error_code(ResponseError::FencedLeaderEpoch.code())
                    }
                    Ok(log) => {
                        let later = |batch: &&Batch| batch.header().leader_epoch > wanted.leader_epoch;
                        let end = log.batches.iter().find(later).map_or(log.end, |batch| batch.header().base_offset);
                        let known = log.batches.iter().map(|batch| batch.header().leader_epoch);
                        let epoch = known.filter(|epoch| *epoch <= wanted.leader_epoch).max();
                        answer.with_end_offset(epoch.map_or(-1, |_| end)).with_leader_epoch(epoch.unwrap_or(-1))
                    }
                }
            });
            let partitions = partitions.collect();
            OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions)
        });
        OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
    }

    fn offset_fetch(&self, request: OffsetFetchRequest) -> OffsetFetchResponse {
        let group = request.groups[0].clone();
        let topics = group.topics.unwrap().into_iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|partition| {
                let committed = self.committed.get(&TopicPartition::new(topic.name.as_str(), *partition));
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(*partition)
                    .with_committed_offset(committed.copied().unwrap_or(-1))
            });
            let partitions = partitions.collect();
            OffsetFetchResponseTopics::default().with_name(topic.name.clone()).with_partitions(partitions)
        });
        let group = OffsetFetchResponseGroup::default().with_group_id(group.group_id).with_topics(topics.collect());
        OffsetFetchResponse::default().with_groups(vec![group])
    }

    fn commit(&mut self, now: Duration, request: OffsetCommitRequest) -> OffsetCommitResponse {
        let code = match request.generation_id_or_member_epoch {
            -1 => 0,
            generation => self.group.check(now, generation, &request.member_id),
        };
        let mut topics = Vec::new();
        for topic in request.topics {
            let mut partitions = Vec::new();
            for partition in &topic.partitions {
                if code == 0 {
                    let key = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                    self.committed.insert(key, partition.committed_offset);
                }
                partitions.push(
                    OffsetCommitResponsePartition::default()
                        .with_partition_index(partition.partition_index)
                        .with_error_code(code),
                );
            }
            topics.push(OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions));
        }
        OffsetCommitResponse::default().with_topics(topics)
    }
}

enum Message {
    Request(usize, RequestId, Target, RequestKind),
    Answer(usize, RequestId, Result<ResponseKind, TransportError>),
}

/// A process with a consumer.
struct Process {
    core: ConsumerCore,
    /// Records handed over, by partition.
    seen: BTreeMap<TopicPartition, Vec<i64>>,
    next_poll: Duration,
    /// Revoked partitions whose commit is under way.
    committing: Option<(CallId, Vec<TopicPartition>)>,
    /// Where each owned partition was read to.
    progress: BTreeMap<TopicPartition, i64>,
    calls: u64,
    done: Vec<(CallId, Result<Outcome, ConsumerError>)>,
    errors: Vec<ConsumerError>,
    alive: bool,
}

struct World {
    rng: Rng,
    now: Duration,
    cluster: Cluster,
    processes: Vec<Process>,
    wire: Vec<(Duration, Message)>,
    faults: bool,
}

fn settings() -> Settings {
    Settings { offset_reset: OffsetReset::Earliest, ..Settings::default() }
}

fn in_group() -> Settings {
    Settings { group: Some(config()), ..settings() }
}

impl World {
    fn new(seed: u64, logs: &[(&str, i32)], transactions: bool) -> Self {
        let mut rng = Rng(seed);
        let mut cluster = Cluster {
            logs: BTreeMap::new(),
            leaders: BTreeMap::new(),
            epochs: BTreeMap::new(),
            followed: (0, 0),
            committed: BTreeMap::new(),
            group: FakeGroup::default(),
            sessions: Sessions::default(),
        };
        for (topic, partitions) in logs {
            for partition in 0..*partitions {
                let key = TopicPartition::new(*topic, partition);
                let size = rng.below(60);
                cluster.logs.insert(key.clone(), Log::random(&mut rng, size, transactions));
                cluster.leaders.insert(key, 1 + rng.below(2) as i32);
            }
        }
        Self { rng, now: ms(1), cluster, processes: Vec::new(), wire: Vec::new(), faults: false }
    }

    fn start(&mut self, settings: Settings) -> usize {
        self.processes.push(Process {
            core: ConsumerCore::new(settings),
            seen: BTreeMap::new(),
            next_poll: self.now,
            committing: None,
            progress: BTreeMap::new(),
            calls: 0,
            done: Vec::new(),
            errors: Vec::new(),
            alive: true,
        });
        self.processes.len() - 1
    }

    fn with<T>(&mut self, index: usize, act: impl FnOnce(&mut ConsumerCore, Duration, &mut Vec<Effect>) -> T) -> T {
        let mut effects = Vec::new();
        let process = &mut self.processes[index];
        let result = act(&mut process.core, self.now, &mut effects);
        for effect in effects {
            match effect {
                Effect::Send { id, to, request, timeout } => {
                    let lost = self.faults && self.rng.one_in(20);
                    let message = if lost {
                        (
                            self.now + timeout.min(ms(30_000)),
                            Message::Answer(index, id, Err(TransportError::Unanswered)),
                        )
                    } else {
                        (self.now + ms(1 + self.rng.below(20)), Message::Request(index, id, to, *request))
                    };
                    self.wire.push(message);
                }
                Effect::Done { call, outcome } => process.done.push((call, outcome)),
                Effect::Brokers(_) => {}
                Effect::Wake => process.next_poll = process.next_poll.min(self.now + ms(1)),
            }
        }
        result
    }

    fn call(&mut self, index: usize, call: Call) -> CallId {
        self.processes[index].calls += 1;
        let id = CallId(self.processes[index].calls);
        self.with(index, |core, now, effects| {
            core.step(now, Input::Call { id, call, timeout: ms(60_000) }, effects);
        });
        id
    }

    fn serve(&mut self, index: usize, id: RequestId, to: Target, request: RequestKind) {
        let node = match &to {
            Target::Any => 1,
            Target::Node(node) => *node,
            Target::Coordinator(coordinator) => coordinator.node,
        };
        let response = match request {
            RequestKind::Metadata(request) => ResponseKind::Metadata(self.cluster.metadata(&request)),
            RequestKind::Fetch(request) => ResponseKind::Fetch(self.cluster.fetch(&mut self.rng, node, request)),
            RequestKind::ListOffsets(request) => ResponseKind::ListOffsets(self.cluster.list_offsets(node, request)),
            RequestKind::OffsetForLeaderEpoch(request) => {
                ResponseKind::OffsetForLeaderEpoch(self.cluster.end_of_epoch(node, request))
            }
            RequestKind::OffsetFetch(request) => ResponseKind::OffsetFetch(self.cluster.offset_fetch(request)),
            RequestKind::OffsetCommit(request) => ResponseKind::OffsetCommit(self.cluster.commit(self.now, request)),
            request => return self.cluster.group.handle(self.now, (index, id), request),
        };
        // An empty fetch waits, as a broker does.
        let empty = matches!(&response, ResponseKind::Fetch(fetch) if fetch.responses.iter().all(|topic| topic
            .partitions.iter().all(|data| data.error_code == 0 && data.records.as_ref().is_none_or(Bytes::is_empty))));
        let wait = if empty { 500 } else { 1 + self.rng.below(20) };
        let lost = self.faults && self.rng.one_in(30);
        let response = if lost { Err(TransportError::Unanswered) } else { Ok(response) };
        self.wire.push((self.now + ms(wait), Message::Answer(index, id, response)));
    }

    /// Lets time pass until the next thing happens.
    fn advance(&mut self) {
        let deadlines = self.processes.iter().filter(|process| process.alive).map(|process| {
            process.core.next_deadline(self.now).map_or(process.next_poll, |at| at.min(process.next_poll))
        });
        let next = deadlines.chain(self.wire.iter().map(|(at, _)| *at)).min().unwrap().max(self.now + ms(1));
        self.now = next.min(self.now + ms(200));
        if self.faults && self.rng.one_in(50) {
            let count = self.cluster.leaders.len() as u64;
            let index = self.rng.below(count) as usize;
            let node = 1 + self.rng.below(2) as i32;
            let partition = self.cluster.leaders.keys().nth(index).unwrap().clone();
            self.cluster.elect(&partition, node);
        }
        self.cluster.group.tick(self.now);
        for ((index, id), response) in std::mem::take(&mut self.cluster.group.out) {
            self.wire.push((self.now + ms(1), Message::Answer(index, id, Ok(response))));
        }
        let now = self.now;
        let due: Vec<Message> = self.wire.extract_if(.., |(at, _)| *at <= now).map(|(_, message)| message).collect();
        for message in due {
            match message {
                Message::Request(index, id, to, request) => self.serve(index, id, to, request),
                Message::Answer(index, id, response) => {
                    if self.processes[index].alive {
                        self.with(index, |core, now, effects| {
                            core.step(now, Input::Answer { id, response }, effects);
                        });
                    }
                }
            }
        }
        for index in 0..self.processes.len() {
            if !self.processes[index].alive {
                continue;
            }
            self.with(index, |core, now, effects| core.step(now, Input::Tick, effects));
            if self.processes[index].next_poll <= self.now {
                self.poll(index);
            }
        }
    }

    /// At no time do two members of a generation own a partition.
    fn check_owners(&self) {
        let mut owners: BTreeMap<TopicPartition, usize> = BTreeMap::new();
        for (index, process) in self.processes.iter().enumerate() {
            let Some((generation, id)) = process.core.membership() else { continue };
            if !process.alive || !self.cluster.group.has(generation, &id) {
                continue;
            }
            for partition in process.core.assignment() {
                if let Some(other) = owners.insert(partition.clone(), index) {
                    panic!("{partition} is owned by {other} and {index} in generation {generation}");
                }
            }
        }
    }

    fn poll(&mut self, index: usize) {
        self.finish_revocation(index);
        let polled = self.with(index, |core, now, effects| {
            let polled = core.poll(now, effects);
            core.working(now, effects);
            polled
        });
        let work = if self.rng.one_in(10) { self.rng.below(3_000) } else { self.rng.below(30) };
        self.processes[index].next_poll = self.now + ms(1 + work);
        let polled = match polled {
            Err(error) => return self.processes[index].errors.push(error),
            Ok(polled) => polled.unwrap_or_default(),
        };
        assert!(polled.events.is_empty() || polled.batches.is_empty());
        let opened = |batch: &FetchedBatch| batch.open(&mut Scratch::default()).unwrap().iter().count();
        let records: usize = polled.batches.iter().map(opened).sum();
        assert!(records <= self.processes[index].core.settings().max_poll_records, "{records}");
        for batch in &polled.batches {
            self.take(index, batch);
        }
        for event in polled.events {
            match event {
                RebalanceEvent::Assigned(partitions) => {
                    for partition in partitions {
                        self.processes[index].progress.remove(&partition);
                    }
                }
                RebalanceEvent::Revoked(partitions) => {
                    let call = self.commit_progress(index);
                    assert!(self.processes[index].committing.is_none(), "one revocation at a time");
                    self.processes[index].committing = Some((call, partitions));
                }
                RebalanceEvent::Lost(partitions) => {
                    for partition in partitions {
                        self.processes[index].progress.remove(&partition);
                    }
                }
            }
        }
        if self.processes[index].committing.is_none() && self.rng.one_in(5) {
            self.commit_progress(index);
        }
    }

    fn take(&mut self, index: usize, batch: &FetchedBatch) {
        let process = &mut self.processes[index];
        let opened = batch.open(&mut Scratch::default()).unwrap();
        let seen = process.seen.entry(batch.partition().clone()).or_default();
        for record in &opened {
            let record = record.unwrap();
            assert_eq!(record.value, Some(&record.offset.to_be_bytes()[..]), "the value says its offset");
            assert!(record.offset >= batch.from_offset() && record.offset < batch.next_offset());
            seen.push(record.offset);
        }
        process.progress.insert(batch.partition().clone(), batch.next_offset());
    }

    fn commit_progress(&mut self, index: usize) -> CallId {
        let progress = &self.processes[index].progress;
        let offsets = progress.iter().map(|(partition, at)| (partition.clone(), OffsetAndMetadata::new(*at))).collect();
        self.call(index, Call::Commit(offsets))
    }

    fn finish_revocation(&mut self, index: usize) {
        let process = &mut self.processes[index];
        if let Some((call, partitions)) = &process.committing
            && process.done.iter().any(|(id, _)| id == call)
        {
            process.progress.retain(|partition, _| !partitions.contains(partition));
            process.committing = None;
            self.with(index, |core, now, effects| core.ack_revoked(now, effects));
        }
    }

    fn run(&mut self, until: Duration, ready: impl Fn(&Self) -> bool) -> bool {
        while self.now < until {
            if ready(self) {
                return true;
            }
            self.advance();
            self.check_owners();
        }
        ready(self)
    }
}

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new("t", index)
}

/// Every record that must be seen is seen once, in order, whatever the cuts, gaps, control batches, aborted transactions and faults.
#[test]
fn assigned_partitions_are_read_once_and_in_order() {
    let (mut incremental, mut lost, mut followed) = (0, 0, (0, 0));
    for seed in 0..150 {
        let committed = seed % 2 == 0;
        let mut world = World::new(seed, &[("t", 3)], true);
        world.faults = seed % 3 != 0;
        let max_poll_records = 1 + world.rng.below(20) as usize;
        let isolation = if committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
        let client_rack = if seed % 5 < 2 { "second".to_owned() } else { String::new() };
        let index = world.start(Settings { isolation, max_poll_records, client_rack, ..settings() });
        world.with(index, |core, now, effects| core.assign(now, (0..3).map(partition).collect(), effects));
        let mut until = ms(0);
        for _ in 0..40 {
            // Seeing nothing of a paused partition is checked by the order; here it is only disturbed.
            until += ms(100);
            world.run(until, |_| false);
            let some = [partition(world.rng.below(3) as i32)];
            if world.rng.one_in(2) {
                world.processes[index].core.pause(&some).unwrap();
            } else {
                world.with(index, |core, now, effects| core.resume(now, &some, effects)).unwrap();
            }
        }
        world.faults = false;
        let everything: Vec<_> = (0..3).map(partition).collect();
        world.with(index, |core, now, effects| core.resume(now, &everything, effects)).unwrap();
        let done = world.run(ms(600_000), |world| world.processes[index].core.caught_up());
        assert!(done, "seed {seed}: {:?}", world.processes[index].core);
        for (partition, log) in &world.cluster.logs {
            let expected = if committed { &log.visible } else { &log.all };
            let seen = world.processes[index].seen.get(partition).cloned().unwrap_or_default();
            assert_eq!(&seen, expected, "seed {seed} {partition}");
            assert_eq!(world.processes[index].core.position(partition), Some(log.end), "seed {seed}");
        }
        assert!(world.processes[index].errors.is_empty(), "seed {seed}: {:?}", world.processes[index].errors);
        incremental += world.cluster.sessions.incremental;
        lost += world.cluster.sessions.lost;
        followed = (followed.0 + world.cluster.followed.0, followed.1 + world.cluster.followed.1);
    }
    assert!(followed.0 > 100 && followed.1 > 500, "{followed:?} sent to a follower and answered by it");
    assert!(incremental > 1_000 && lost > 50, "{incremental} fetches in a session, {lost} sessions lost");
}

/// A group shares the partitions of a topic, members come, die and leave: every record is seen, and without faults only once.
#[test]
fn a_group_sees_every_record() {
    for seed in 0..150 {
        let assignors = match seed % 5 {
            0 => Settings::default().assignors,
            1 => vec![Assignor::RoundRobin, Assignor::Range],
            2 => vec![Assignor::Sticky],
            _ => vec![Assignor::CooperativeSticky],
        };
        let settings = Settings { assignors, ..in_group() };
        let mut world = World::new(seed, &[("t", 4), ("u", 2), ("other", 1)], false);
        world.faults = seed % 2 == 0;
        let crashes = world.faults;
        for _ in 0..3 {
            let index = world.start(settings.clone());
            let subscription = if world.rng.one_in(2) {
                Subscription::Topics(vec!["t".into(), "u".into()])
            } else {
                Subscription::Matching(Arc::new(|topic: &str| topic.len() == 1))
            };
            world.with(index, |core, now, effects| core.subscribe(now, subscription, effects)).unwrap();
            let until = world.now + ms(world.rng.below(10_000));
            world.run(until, |_| false);
        }
        if crashes {
            world.processes[0].alive = false;
        } else {
            // A member that leaves in good order commits first.
            let call = world.commit_progress(0);
            let until = world.now + ms(60_000);
            assert!(world.run(until, |world| world.processes[0].done.iter().any(|(id, _)| *id == call)));
            // What it was handed while its commit was under way is committed as well.
            while world.processes[0].committing.is_some() {
                world.advance();
            }
            let call = world.commit_progress(0);
            world.processes[0].next_poll = ms(1 << 40);
            let until = world.now + ms(60_000);
            assert!(world.run(until, |world| world.processes[0].done.iter().any(|(id, _)| *id == call)));
            let call = world.call(0, Call::Close);
            let until = world.now + ms(60_000);
            assert!(world.run(until, |world| world.processes[0].done.iter().any(|(id, _)| *id == call)));
            world.processes[0].alive = false;
        }
        world.faults = false;
        let done = world.run(world.now + ms(900_000), |world| {
            world.processes[1..].iter().all(|process| process.core.membership().is_some())
                && world.cluster.group.size() == 2
                && world.processes[1..].iter().map(|process| process.core.assignment().len()).sum::<usize>() == 6
                && world.cluster.logs.iter().filter(|(partition, _)| partition.topic.len() == 1).all(
                    |(partition, log)| {
                        // What compaction emptied at the end is passed over without being handed over.
                        log.all.last().is_none_or(|last| Some(last) < world.cluster.committed.get(partition))
                    },
                )
        });
        assert!(done, "seed {seed}: {:?} of {:?}", world.cluster.committed, ends(&world.cluster));
        for (partition, log) in &world.cluster.logs {
            let mut seen: Vec<i64> = world
                .processes
                .iter()
                .flat_map(|process| process.seen.get(partition).cloned().unwrap_or_default())
                .collect();
            seen.sort_unstable();
            if crashes {
                seen.dedup();
            }
            let expected = if partition.topic.len() == 1 { log.all.clone() } else { Vec::new() };
            assert_eq!(seen, expected, "seed {seed} {partition}");
        }
        let owned: Vec<usize> = world.processes[1..].iter().map(|process| process.core.assignment().len()).collect();
        assert_eq!(owned.iter().sum::<usize>(), 6, "seed {seed}");
    }
}

fn ends(cluster: &Cluster) -> BTreeMap<&TopicPartition, i64> {
    cluster.logs.iter().map(|(partition, log)| (partition, log.end)).collect()
}

fn one_partition(settings: Settings) -> (World, usize) {
    let mut world = World::new(7, &[("t", 1)], false);
    world.cluster.logs.insert(partition(0), Log::random(&mut Rng(5), 40, false));
    let index = world.start(settings);
    (world, index)
}

#[test]
fn without_an_offset_and_without_a_policy_there_is_an_error() {
    for group in [None, Some(config())] {
        let (mut world, index) = one_partition(Settings { offset_reset: OffsetReset::None, group, ..settings() });
        world.with(index, |core, now, effects| core.assign(now, vec![partition(0)], effects));
        assert!(world.run(ms(5_000), |world| !world.processes[index].errors.is_empty()));
        assert_eq!(
            world.processes[index].errors[0].to_string(),
            "Undefined offset with no reset policy for partitions: [t-0]"
        );
        // A seek mends it.
        world.with(index, |core, now, effects| core.seek(now, &partition(0), 0, effects)).unwrap();
        assert!(world.run(ms(60_000), |world| world.processes[index].core.caught_up()));
        assert_eq!(world.processes[index].seen[&partition(0)], world.cluster.logs[&partition(0)].all);
    }
}

#[test]
fn a_position_out_of_range_is_reset_or_reported() {
    for policy in [OffsetReset::Earliest, OffsetReset::Latest, OffsetReset::None] {
        let (mut world, index) = one_partition(Settings { offset_reset: policy, ..settings() });
        world.with(index, |core, now, effects| core.assign(now, vec![partition(0)], effects));
        world.with(index, |core, now, effects| core.seek(now, &partition(0), 1_000_000, effects)).unwrap();
        if policy == OffsetReset::None {
            assert!(world.run(ms(5_000), |world| !world.processes[index].errors.is_empty()));
            assert_eq!(
                world.processes[index].errors[0].to_string(),
                "Offsets out of range with no configured reset policy for partitions: {t-0=1000000}"
            );
            continue;
        }
        assert!(world.run(ms(60_000), |world| world.processes[index].core.caught_up()));
        let seen = world.processes[index].seen.get(&partition(0)).map_or(0, Vec::len);
        let all = world.cluster.logs[&partition(0)].all.len();
        assert_eq!(seen, if policy == OffsetReset::Earliest { all } else { 0 });
    }
}

#[test]
fn corrupt_bytes_are_reported_after_what_precedes_them() {
    let (mut world, index) = one_partition(settings());
    let log = world.cluster.logs.get_mut(&partition(0)).unwrap();
    let broken = log.batches[3].clone();
    let mut bytes = BytesMut::from(&broken.bytes()[..]);
    *bytes.last_mut().unwrap() ^= 1;
    let at = broken.header().base_offset;
    let mut all: Vec<Batch> = log.batches.clone();
    let bytes = bytes.freeze();
    // The header alone is looked at when the batch is put into the log.
    let mut unchecked = crate::batch::Batches::without_crc_check(bytes);
    all[3] = unchecked.next().unwrap().unwrap();
    log.batches = all;
    world.with(index, |core, now, effects| core.assign(now, vec![partition(0)], effects));
    assert!(world.run(ms(20_000), |world| !world.processes[index].errors.is_empty()));
    let process = &world.processes[index];
    assert!(
        matches!(&process.errors[0], ConsumerError::Corrupt { offset, .. } if *offset == at),
        "{:?}",
        process.errors
    );
    assert_eq!(process.core.position(&partition(0)), Some(at));
    let before: Vec<i64> =
        world.cluster.logs[&partition(0)].all.iter().copied().filter(|offset| *offset < at).collect();
    assert_eq!(process.seen.get(&partition(0)).cloned().unwrap_or_default(), before);
}

#[test]
fn calls_without_a_group_say_so() {
    let (mut world, index) = one_partition(settings());
    for call in [Call::Commit(Offsets::new()), Call::Committed(vec![partition(0)])] {
        world.call(index, call);
        let (_, outcome) = world.processes[index].done.pop().unwrap();
        assert!(matches!(outcome, Err(ConsumerError::NoGroup)), "{outcome:?}");
    }
    let subscription = Subscription::Topics(vec!["t".into()]);
    let refused = world.with(index, |core, now, effects| core.subscribe(now, subscription, effects));
    assert!(matches!(refused, Err(ConsumerError::NoGroup)));
}

#[test]
fn a_commit_under_way_does_not_ask_to_be_told_of_time_at_once() {
    let mut core = ConsumerCore::new(in_group());
    let offsets = Offsets::from([(partition(0), OffsetAndMetadata::new(3))]);
    let call = Input::Call { id: CallId(1), call: Call::Commit(offsets), timeout: ms(60_000) };
    core.step(ms(5), call, &mut Vec::new());
    // The driver would come back without a pause until the coordinator is found.
    assert!(core.next_deadline(ms(5)).is_some_and(|at| at > ms(5)));
}

#[test]
fn offsets_are_committed_and_found_again() {
    let (mut world, index) = one_partition(in_group());
    let offsets = Offsets::from([(partition(0), OffsetAndMetadata::new(3))]);
    let calls = [
        Call::Commit(offsets.clone()),
        Call::Find(BTreeMap::from([(partition(0), OffsetSpec::End)])),
        Call::Partitions("t".into()),
    ];
    let mut calls: Vec<CallId> = calls.into_iter().map(|call| world.call(index, call)).collect();
    let answered = |calls: &[CallId], world: &World| {
        calls.iter().all(|call| world.processes[index].done.iter().any(|(id, _)| id == call))
    };
    assert!(world.run(ms(60_000), |world| answered(&calls, world)));
    calls.push(world.call(index, Call::Committed(vec![partition(0)])));
    assert!(world.run(ms(120_000), |world| answered(&calls, world)));
    let end = world.cluster.logs[&partition(0)].end;
    let place = Some(OffsetAndTimestamp { offset: end, timestamp: -1 });
    let expected = [
        Outcome::Done,
        Outcome::Found(BTreeMap::from([(partition(0), place)])),
        Outcome::Partitions(1),
        Outcome::Committed(offsets),
    ];
    for (call, expected) in calls.iter().zip(expected) {
        let (_, outcome) = world.processes[index].done.iter().find(|(id, _)| id == call).unwrap();
        assert_eq!(outcome.as_ref().unwrap(), &expected);
    }
}

/// A slow application keeps its place up to `max.poll.interval.ms`, and loses it then.
#[test]
fn a_member_that_does_not_poll_in_time_leaves() {
    let (mut world, index) = one_partition(in_group());
    let subscription = Subscription::Topics(vec!["t".into()]);
    world.with(index, |core, now, effects| core.subscribe(now, subscription, effects)).unwrap();
    assert!(world.run(ms(30_000), |world| world.processes[index].core.caught_up()));
    world.poll(index);
    let interval = config().rebalance_timeout;
    let last = world.now;
    world.processes[index].next_poll = ms(1 << 40);
    while world.now < last + interval - ms(1_000) {
        world.advance();
        world.processes[index].next_poll = ms(1 << 40);
    }
    assert!(world.processes[index].core.membership().is_some());
    let until = last + interval + ms(5_000);
    while world.now < until {
        world.advance();
        world.processes[index].next_poll = ms(1 << 40);
    }
    assert_eq!(world.cluster.group.size(), 0);
    let polled = world.with(index, |core, now, effects| core.poll(now, effects)).unwrap().unwrap();
    assert_eq!(polled.events, [RebalanceEvent::Lost(vec![partition(0)])]);
    world.processes[index].next_poll = world.now;
    assert!(world.run(ms(600_000), |world| world.processes[index].core.membership().is_some()));
}

/// Unsubscribing leaves; subscribing again, even before the answer to that, joins again and reads on at the committed offset.
#[test]
fn a_member_may_leave_and_come_back() {
    let (mut world, index) = one_partition(in_group());
    let subscribe = |world: &mut World| {
        let subscription = Subscription::Topics(vec!["t".into()]);
        world.with(index, |core, now, effects| core.subscribe(now, subscription, effects)).unwrap();
    };
    subscribe(&mut world);
    assert!(world.run(ms(30_000), |world| world.processes[index].core.caught_up()));
    let commit = world.commit_progress(index);
    assert!(world.run(ms(60_000), |world| world.processes[index].done.iter().any(|(id, _)| *id == commit)));
    let (_, first) = world.processes[index].core.membership().unwrap();
    world.with(index, |core, now, effects| core.unsubscribe(now, effects));
    assert!(world.processes[index].core.assignment().is_empty());
    subscribe(&mut world);
    let back = world.run(ms(200_000), |world| {
        world.processes[index].core.caught_up()
            && world.processes[index].core.membership().is_some_and(|(_, member)| member != first)
    });
    assert!(back);
    assert_eq!(world.cluster.group.size(), 1);
    assert_eq!(world.processes[index].seen[&partition(0)], world.cluster.logs[&partition(0)].all);
}
