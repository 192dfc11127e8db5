//! The producer's core on a cluster that loses, delays, repeats and refuses, with leaders that move: nothing is lost, nothing doubled, order is kept.
//!
//! Cluster, network and clock are simulated in one thread; a seed says all. The cluster checks sequence numbers as Apache Kafka does, its kindness to
//! producers that it does not know included: their first batch may have any number. A connection that breaks leaves behind what it carried, some of
//! which arrives later, beside what is sent again.

mod simulated;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    BrokerId, InitProducerIdResponse, MetadataResponse, ProduceResponse, ProducerId, RequestKind, ResponseKind,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kurier_kafka::batch::{Batches, Compression, Scratch, sequence_after};
use kurier_kafka::consumer::core::Target;
use kurier_kafka::group::RequestId;
use kurier_kafka::net::TransportError;
use kurier_kafka::producer::core::{Appended, Effect, Input, ProducerCore};
use kurier_kafka::producer::{Destination, ProduceBatch, Settings};
use simulated::{Queue, Rng};

const NODES: i32 = 3;
const TOPICS: [&str; 2] = ["a", "b"];
const PARTITIONS: i32 = 2;
/// How many batches of a producer a broker recognises.
const REMEMBERED: usize = 5;
const NOT_LEADER: i16 = 6;
const REQUEST_TIMED_OUT: i16 = 7;
const MESSAGE_TOO_LARGE: i16 = 10;
const NOT_ENOUGH_REPLICAS: i16 = 19;
const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i16 = 20;
const OUT_OF_ORDER_SEQUENCE: i16 = 45;
const UNKNOWN_PRODUCER_ID: i16 = 59;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const INVALID_RECORD: i16 = 87;

/// How bad it is.
#[derive(Clone, Copy, Debug)]
struct Weather {
    breaks: u64,
    refusals: u64,
    moves: u64,
    /// How many records in a thousand a broker never takes.
    invalid: u64,
    /// Whether what a broken connection carried may arrive after its end was noticed.
    late: bool,
    /// How often in a thousand handfuls brokers forget all producers, once nothing is under way: their records were deleted.
    forgets: u64,
}

#[derive(Default)]
struct Log {
    leader: i32,
    /// Grows with every change of leader.
    epoch: i32,
    /// Who led before.
    former: i32,
    /// The value of each record, which is its ticket.
    tickets: Vec<u64>,
    producers: HashMap<i64, Known>,
}

/// What a broker knows of a producer in a partition: its epoch, and first number, last number and offset of its last batches.
#[derive(Default)]
struct Known {
    epoch: i16,
    batches: VecDeque<(i32, i32, i64)>,
}

type Place = (String, i32);

struct Cluster {
    logs: BTreeMap<Place, Log>,
    max_batch: usize,
    next_producer: i64,
    /// How often a producer was told that it is not known.
    told_unknown: u64,
    weather: Weather,
}

impl Cluster {
    fn answer(&mut self, rng: &mut Rng, node: Option<i32>, request: &RequestKind) -> ResponseKind {
        match request {
            RequestKind::Metadata(_) => ResponseKind::Metadata(self.metadata(rng)),
            RequestKind::InitProducerId(_) => {
                self.next_producer += 1;
                let response = InitProducerIdResponse::default().with_producer_id(ProducerId(self.next_producer));
                ResponseKind::InitProducerId(if rng.chance(100) { response.with_error_code(14) } else { response })
            }
            RequestKind::Produce(request) => {
                let responses = request.topic_data.iter().map(|topic| {
                    let partitions = topic.partition_data.iter().map(|data| {
                        let place = (topic.name.to_string(), data.index);
                        let (code, offset) = self.append(rng, node, &place, data.records.clone().unwrap());
                        let log = &self.logs[&place];
                        // Who refuses may know who leads, or who led when it last heard (KIP-951).
                        let leader = match rng.below(3) {
                            0 if code == NOT_LEADER => (log.leader, log.epoch),
                            1 if code == NOT_LEADER && log.epoch > 0 => (log.former, log.epoch - 1),
                            _ => (-1, -1),
                        };
                        let leader =
                            LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader.0)).with_leader_epoch(leader.1);
                        PartitionProduceResponse::default()
                            .with_current_leader(leader)
                            .with_index(data.index)
                            .with_error_code(code)
                            .with_base_offset(offset)
                    });
                    TopicProduceResponse::default()
                        .with_name(topic.name.clone())
                        .with_partition_responses(partitions.collect())
                });
                ResponseKind::Produce(ProduceResponse::default().with_responses(responses.collect()))
            }
            other => panic!("a producer asked {other:?}"),
        }
    }

    fn metadata(&mut self, rng: &mut Rng) -> MetadataResponse {
        let brokers = (0..NODES).map(|node| {
            MetadataResponseBroker::default().with_node_id(BrokerId(node)).with_host("h".into()).with_port(1 + node)
        });
        let topics = TOPICS.iter().map(|topic| {
            let name = Some(TopicName(StrBytes::from_static_str(topic)));
            if rng.chance(self.weather.refusals) {
                return MetadataResponseTopic::default().with_name(name).with_error_code(3);
            }
            let partitions = (0..PARTITIONS).map(|partition| {
                let log = &self.logs[&((*topic).to_owned(), partition)];
                // Sometimes none leads yet, or the broker that is asked does not know yet who leads now.
                let (leader, epoch) = if rng.chance(self.weather.refusals) {
                    (-1, log.epoch)
                } else if log.epoch > 0 && rng.chance(self.weather.refusals) {
                    (log.former, log.epoch - 1)
                } else {
                    (log.leader, log.epoch)
                };
                MetadataResponsePartition::default()
                    .with_partition_index(partition)
                    .with_leader_id(BrokerId(leader))
                    .with_leader_epoch(epoch)
            });
            MetadataResponseTopic::default().with_name(name).with_partitions(partitions.collect())
        });
        MetadataResponse::default().with_brokers(brokers.collect()).with_topics(topics.collect())
    }

    fn append(&mut self, rng: &mut Rng, node: Option<i32>, place: &Place, bytes: Bytes) -> (i16, i64) {
        let weather = self.weather;
        let log = self.logs.get_mut(place).unwrap();
        if node != Some(log.leader) {
            return (NOT_LEADER, -1);
        }
        if rng.chance(weather.refusals) {
            return (if rng.chance(500) { NOT_ENOUGH_REPLICAS } else { REQUEST_TIMED_OUT }, -1);
        }
        let mut batches = Batches::new(bytes.clone());
        let batch = batches.next().unwrap().unwrap();
        assert!(batches.next().is_none(), "one batch a partition");
        let header = batch.header().clone();
        let (first, last) = (header.base_sequence, header.last_sequence());
        let known = log.producers.get(&header.producer_id).filter(|_| header.has_producer());
        // As brokers did before Apache Kafka 2.4.
        if weather.forgets > 0 && known.is_none() && first != 0 {
            self.told_unknown += 1;
            return (UNKNOWN_PRODUCER_ID, -1);
        }
        if let Some(known) = known {
            if header.producer_epoch < known.epoch {
                return (INVALID_PRODUCER_EPOCH, -1);
            }
            if header.producer_epoch > known.epoch && first != 0 {
                return (OUT_OF_ORDER_SEQUENCE, -1);
            }
            if header.producer_epoch == known.epoch {
                if let Some((.., offset)) = known.batches.iter().find(|batch| (batch.0, batch.1) == (first, last)) {
                    return (0, *offset);
                }
                let expected = known.batches.back().map(|batch| sequence_after(batch.1, 1));
                if expected != Some(first) {
                    return (OUT_OF_ORDER_SEQUENCE, -1);
                }
            }
        }
        if bytes.len() > self.max_batch {
            return (MESSAGE_TOO_LARGE, -1);
        }
        let offset = log.tickets.len() as i64;
        let records = batch.records(&mut Scratch::default()).unwrap();
        let ticket = |value: Option<&[u8]>| u64::from_be_bytes(value.unwrap()[..8].try_into().unwrap());
        let tickets: Vec<u64> = records.iter().map(|record| ticket(record.unwrap().value)).collect();
        if tickets.iter().any(|ticket| Rng(*ticket).chance(weather.invalid)) {
            return (INVALID_RECORD, -1);
        }
        log.tickets.extend(tickets);
        let known = log.producers.entry(header.producer_id).or_default();
        if known.epoch != header.producer_epoch {
            *known = Known { epoch: header.producer_epoch, batches: VecDeque::new() };
        }
        known.batches.push_back((first, last, offset));
        if known.batches.len() > REMEMBERED {
            known.batches.pop_front();
        }
        if rng.chance(weather.refusals) {
            return (NOT_ENOUGH_REPLICAS_AFTER_APPEND, -1);
        }
        (0, offset)
    }
}

/// What happens at a time.
enum Event {
    /// A request arrives at a broker, over a connection with this number.
    Arrives { id: RequestId, node: Option<i32>, connection: u64, request: Box<RequestKind> },
    /// An answer arrives, or its absence is noticed.
    Answered { id: RequestId, response: Box<Result<ResponseKind, TransportError>> },
}

struct World {
    rng: Rng,
    now: Duration,
    core: ProducerCore,
    cluster: Cluster,
    effects: Vec<Effect>,
    queue: Queue<Event>,
    /// The connection to each broker: its number, when the last request on it arrives and the last answer is there, and who waits for answers.
    connections: HashMap<Option<i32>, Connection>,
    next_connection: u64,
    /// By partition, the latest leader that an answer has named, and its epoch.
    named: HashMap<Place, (i32, i32)>,
    /// How often a refusal named a leader that was not known yet.
    told_leaders: u64,
    told: BTreeMap<u64, Result<(Place, i64), String>>,
}

#[derive(Default)]
struct Connection {
    number: u64,
    arrival: Duration,
    waiting: Vec<RequestId>,
}

impl World {
    fn send(&mut self, id: RequestId, to: &Target, request: Box<RequestKind>) {
        let node = match to {
            Target::Node(node) => Some(*node),
            _ => None,
        };
        if !self.connections.contains_key(&node) {
            self.next_connection += 1;
            let number = self.next_connection;
            self.connections.insert(node, Connection { number, ..Connection::default() });
        }
        let latency = self.rng.millis(10);
        let connection = self.connections.get_mut(&node).unwrap();
        connection.arrival = connection.arrival.max(self.now + latency);
        connection.waiting.push(id);
        let (at, connection) = (connection.arrival, connection.number);
        self.queue.schedule(at, Event::Arrives { id, node, connection, request });
        if self.rng.chance(self.cluster.weather.breaks) {
            self.break_connection(node);
        }
    }

    /// Nothing more is answered on it; of what is under way a first part arrives all the same, perhaps late.
    fn break_connection(&mut self, node: Option<i32>) {
        let Some(broken) = self.connections.remove(&node) else { return };
        let carries =
            |event: &Event| matches!(event, Event::Arrives { connection, .. } if *connection == broken.number);
        let mut carried: Vec<_> = self.queue.events.extract_if(|_, event| carries(event)).collect();
        carried.sort_unstable_by_key(|(number, _)| *number);
        let arrive = self.rng.below(carried.len() as u64 + 1) as usize;
        // What is in a broker's buffers may be read long after.
        let (late, steps) = if self.cluster.weather.late && self.rng.chance(300) { (2_000, 5) } else { (1, 1) };
        let mut at = self.now + self.rng.millis(late);
        for (_, event) in carried.into_iter().take(arrive) {
            at += self.rng.millis(steps);
            self.queue.schedule(at, event);
        }
        for id in broken.waiting {
            let noticed = self.now + self.rng.millis(30);
            let noticed = if self.cluster.weather.late { noticed } else { noticed.max(at) };
            self.queue.schedule(noticed, Event::Answered { id, response: Box::new(Err(TransportError::Unanswered)) });
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrives { id, node, connection, request } => {
                let response = self.cluster.answer(&mut self.rng, node, &request);
                let open = self.connections.get_mut(&node).filter(|open| open.number == connection);
                if let Some(open) = open {
                    open.waiting.retain(|waiting| *waiting != id);
                    // Answers may overtake one another: the core has to put them in order.
                    let at = self.now + self.rng.millis(10);
                    self.queue.schedule(at, Event::Answered { id, response: Box::new(Ok(response)) });
                }
            }
            Event::Answered { id, response } => {
                self.note_leaders(&response);
                self.core.step(self.now, Input::Answer { id, response: *response }, &mut self.effects);
            }
        }
    }

    /// What an answer says of leaders, as far as it is new.
    fn note_leaders(&mut self, response: &Result<ResponseKind, TransportError>) {
        let named = &mut self.named;
        match response {
            Ok(ResponseKind::Metadata(response)) => {
                for topic in response.topics.iter().filter(|topic| topic.error_code == 0) {
                    let name = topic.name.as_ref().unwrap();
                    for partition in &topic.partitions {
                        let named = named.entry((name.to_string(), partition.partition_index)).or_insert((-1, -1));
                        let (node, epoch) = (partition.leader_id.0, partition.leader_epoch);
                        if epoch >= named.1 {
                            // Without a leader nothing is remembered.
                            *named = if node < 0 { (-1, -1) } else { (node, epoch) };
                        }
                    }
                }
            }
            Ok(ResponseKind::Produce(response)) => {
                for topic in &response.responses {
                    for partition in &topic.partition_responses {
                        let named = named.entry((topic.name.to_string(), partition.index)).or_insert((-1, -1));
                        let leader = &partition.current_leader;
                        if named.1 >= 0 && leader.leader_epoch > named.1 {
                            *named = (leader.leader_id.0, leader.leader_epoch);
                            self.told_leaders += 1;
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn pass_on(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            if let Effect::Send { id, to, request, .. } = effect {
                if let (Target::Node(node), RequestKind::Produce(request)) = (&to, &*request) {
                    for topic in &request.topic_data {
                        for data in &topic.partition_data {
                            let named = self.named[&(topic.name.to_string(), data.index)];
                            assert_eq!(named.0, *node, "it goes to the latest leader that was named");
                        }
                    }
                }
                self.send(id, &to, request);
            }
        }
        for delivery in self.core.take_deliveries() {
            for ticket in delivery.tickets.clone() {
                let behind = (ticket - delivery.tickets.start) as i64;
                let outcome = match &delivery.outcome {
                    Ok((place, -1)) => Ok(((place.topic.to_string(), place.partition), -1)),
                    Ok((place, base)) => Ok(((place.topic.to_string(), place.partition), base + behind)),
                    Err(error) => Err(error.to_string()),
                };
                assert!(self.told.insert(ticket, outcome).is_none(), "{ticket} is told of twice");
            }
        }
    }

    /// Goes on to the next thing that happens, no further than `until`.
    fn advance(&mut self, until: Duration) {
        let event = self.queue.next_at();
        let deadline = self.core.next_deadline(self.now);
        let next = [event, deadline, Some(until)].into_iter().flatten().min().unwrap();
        self.now = self.now.max(next);
        if event.is_some_and(|at| at <= self.now) {
            if let Some(event) = self.queue.pop() {
                self.happen(event);
            }
        } else if deadline.is_some_and(|at| at <= self.now) {
            self.core.step(self.now, Input::Tick, &mut self.effects);
        }
        let moves = self.cluster.weather.moves;
        for log in self.cluster.logs.values_mut() {
            if self.rng.chance(moves) {
                (log.former, log.epoch) = (log.leader, log.epoch + 1);
                log.leader = self.rng.below(NODES as u64) as i32;
            }
        }
        self.pass_on();
    }
}

fn record(batch: &mut ProduceBatch, rng: &mut Rng, ticket: u64, topics: &[Arc<str>]) {
    let mut draft = batch.draft();
    let padding = rng.below(60) as usize;
    draft
        .value(|bytes| {
            bytes.extend_from_slice(&ticket.to_be_bytes());
            bytes.resize(bytes.len() + padding, b'x');
            Ok::<_, ()>(true)
        })
        .unwrap();
    let topic = Arc::clone(&topics[rng.below(topics.len() as u64) as usize]);
    let partition = rng.chance(500).then(|| rng.below(PARTITIONS as u64) as i32);
    draft.finish(ticket, Destination { topic: &topic, partition, timestamp: Some(1) });
}

/// How often a run met what is rare.
#[derive(Clone, Copy, Debug)]
struct Met {
    /// A producer was told that it is not known.
    told_unknown: u64,
    /// A refusal named a leader that was not known yet.
    told_leaders: u64,
}

fn check(seed: u64, weather: Weather, settings: Settings, records: u64) -> Met {
    let mut rng = Rng(seed);
    let logs = TOPICS.iter().flat_map(|topic| (0..PARTITIONS).map(|partition| ((*topic).to_owned(), partition)));
    let idempotent = settings.idempotent;
    let logs = logs.map(|place| (place, Log { leader: rng.below(NODES as u64) as i32, ..Log::default() })).collect();
    // Some batches turn out too large; a single record never does.
    let cluster =
        Cluster { logs, max_batch: 300 + rng.below(1_000) as usize, next_producer: 0, told_unknown: 0, weather };
    let mut world = World {
        rng,
        now: Duration::from_secs(1),
        core: ProducerCore::new(settings),
        cluster,
        effects: Vec::new(),
        queue: Queue::new(),
        connections: HashMap::new(),
        next_connection: 0,
        named: HashMap::new(),
        told_leaders: 0,
        told: BTreeMap::new(),
    };
    let topics: Vec<Arc<str>> = TOPICS.iter().map(|topic| (*topic).into()).collect();
    let mut sent = 0;
    while sent < records {
        let mut batch = ProduceBatch::default();
        for _ in 0..1 + world.rng.below(40).min(records - sent - 1) {
            record(&mut batch, &mut world.rng, sent, &topics);
            sent += 1;
        }
        let mut from = 0;
        loop {
            let taken = world.core.append(world.now, 0, &batch, from, &mut world.effects);
            world.pass_on();
            match taken {
                Appended::All => break,
                Appended::UpTo(at, _) => from = at,
            }
            let until = world.now + Duration::from_millis(50);
            world.advance(until);
        }
        if world.rng.chance(weather.forgets) {
            while (world.told.len() as u64) < sent || world.queue.next_at().is_some() {
                let until = world.now + Duration::from_secs(1);
                world.advance(until);
            }
            world.cluster.logs.values_mut().for_each(|log| log.producers.clear());
        }
        let until = world.now + world.rng.millis(20);
        while world.now < until {
            world.advance(until);
        }
    }
    // The weather clears; all is told of in the end.
    world.cluster.weather = Weather { breaks: 0, refusals: 0, moves: 0, ..weather };
    let end = world.now + Duration::from_secs(3_600);
    while (world.told.len() as u64) < records {
        assert!(world.now < end, "seed {seed}: {} of {records} records are told of", world.told.len());
        world.advance(end);
    }
    assert_eq!(world.core.buffered(), 0, "seed {seed}: room is given back");
    // What was left behind on broken connections arrives.
    while world.queue.next_at().is_some() {
        world.advance(end);
    }
    let mut places = BTreeMap::new();
    for (place, log) in &mut world.cluster.logs {
        if !idempotent {
            // Whoever sends again without numbers doubles records; what counts is where each one is first.
            let mut seen = BTreeSet::new();
            log.tickets.retain(|ticket| seen.insert(*ticket));
        }
        assert!(log.tickets.is_sorted_by(|a, b| a < b), "seed {seed}: {place:?} is out of order: {:?}", log.tickets);
        for (offset, ticket) in log.tickets.iter().enumerate() {
            let earlier = places.insert(*ticket, (place.clone(), offset as i64));
            assert!(earlier.is_none(), "seed {seed}: {ticket} is doubled");
        }
    }
    for (ticket, outcome) in &world.told {
        if let Ok((place, offset)) = outcome {
            let found = places.get(ticket);
            let is_there = |found: i64| *offset == -1 || found == *offset || !idempotent;
            let right = found.is_some_and(|found| found.0 == *place && is_there(found.1));
            assert!(right, "seed {seed}: {ticket} is said to be at {place:?} {offset}, and is at {found:?}");
        }
    }
    if weather.invalid == 0 {
        let failed = world.told.iter().find(|(_, outcome)| outcome.is_err());
        assert_eq!(failed, None, "seed {seed}: nothing was given up");
    }
    Met { told_unknown: world.cluster.told_unknown, told_leaders: world.told_leaders }
}

fn settings(seed: u64) -> Settings {
    Settings {
        batch_bytes: 400,
        backlog_batch_bytes: [0, 0, 700, 2_000][seed as usize / 4 % 4],
        linger: Duration::from_millis(2),
        buffer_bytes: 20_000,
        retry_backoff: Duration::from_millis(5),
        retry_backoff_max: Duration::from_millis(100),
        delivery_timeout: Duration::from_secs(100_000),
        max_block: Duration::from_secs(100_000),
        ..Settings::default()
    }
}

/// `KURIER_SEEDS` makes more runs than the few of every test run.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let seeds = std::env::var("KURIER_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    0..seeds.unwrap_or(usual)
}

#[test]
fn every_record_arrives_once_and_in_order() {
    let mut told_leaders = 0;
    for seed in seeds(60) {
        let breaks = [0, 20, 100, 300][seed as usize % 4];
        let weather = Weather {
            breaks,
            refusals: [0, 30, 150][seed as usize % 3],
            moves: seed % 5 * 4,
            invalid: 0,
            late: true,
            forgets: 0,
        };
        let compression = if seed % 7 == 0 { Compression::Lz4 } else { Compression::None };
        told_leaders += check(seed, weather, Settings { compression, ..settings(seed) }, 600).told_leaders;
    }
    assert!(told_leaders > 0, "no refusal ever named the leader");
}

#[test]
fn records_that_are_given_up_harm_no_others() {
    for seed in seeds(60) {
        let breaks = [0, 20, 100, 300][seed as usize % 4];
        let weather = Weather {
            breaks,
            refusals: [0, 30, 150][seed as usize % 3],
            moves: seed % 5 * 4,
            invalid: 4,
            late: false,
            forgets: 0,
        };
        let delivery_timeout = Duration::from_millis([30, 100, 1_000][seed as usize % 3]);
        check(seed, weather, Settings { delivery_timeout, ..settings(seed) }, 600);
    }
}

#[test]
fn a_producer_that_brokers_have_forgotten_goes_on() {
    let mut told_unknown = 0;
    for seed in seeds(40) {
        let breaks = [0, 20, 100, 300][seed as usize % 4];
        let refusals = [0, 30, 150][seed as usize % 3];
        let weather = Weather { breaks, refusals, moves: seed % 5 * 4, invalid: 0, late: false, forgets: 200 };
        told_unknown += check(seed, weather, settings(seed), 600).told_unknown;
    }
    assert!(told_unknown > 0, "no producer was ever told that it is not known");
}

#[test]
fn without_numbers_nothing_is_lost_and_order_is_kept() {
    for seed in seeds(40) {
        let breaks = [0, 20, 100, 300][seed as usize % 4];
        let refusals = [0, 30, 150][seed as usize % 3];
        let weather = Weather { breaks, refusals, moves: seed % 5 * 4, invalid: 0, late: false, forgets: 0 };
        check(seed, weather, Settings { idempotent: false, max_in_flight: 1, ..settings(seed) }, 600);
    }
}

#[test]
fn who_may_not_have_a_producer_id_is_told_so() {
    const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;
    let weather = Weather { breaks: 0, refusals: 0, moves: 0, invalid: 0, late: false, forgets: 0 };
    let logs = TOPICS.iter().flat_map(|topic| (0..PARTITIONS).map(|partition| ((*topic).to_owned(), partition)));
    let logs = logs.map(|place| (place, Log::default())).collect();
    let mut cluster = Cluster { logs, max_batch: 1_000, next_producer: 0, told_unknown: 0, weather };
    let (mut rng, mut core, mut effects) = (Rng(1), ProducerCore::new(settings(0)), Vec::new());
    let (mut batch, now) = (ProduceBatch::default(), Duration::from_secs(1));
    record(&mut batch, &mut rng, 0, &["a".into()]);
    let mut from = 0;
    loop {
        let taken = core.append(now, 0, &batch, from, &mut effects);
        while !effects.is_empty() {
            for effect in std::mem::take(&mut effects) {
                let Effect::Send { id, request, .. } = effect else { continue };
                let response = match cluster.answer(&mut rng, None, &request) {
                    ResponseKind::InitProducerId(response) => {
                        ResponseKind::InitProducerId(response.with_error_code(CLUSTER_AUTHORIZATION_FAILED))
                    }
                    other => other,
                };
                core.step(now, Input::Answer { id, response: Ok(response) }, &mut effects);
            }
        }
        match taken {
            Appended::All => break,
            Appended::UpTo(at, _) => from = at,
        }
    }
    let told = core.take_deliveries();
    assert_eq!(told.len(), 1);
    let error = told[0].outcome.clone().unwrap_err();
    assert_eq!(error.class, "org.apache.kafka.common.errors.ClusterAuthorizationException");
    assert_eq!(core.buffered(), 0);
}
