//! A producer that waits for nobody (`acks=0`), on our own broker and on Apache Kafka: no answer comes, records have no offsets, and a broker that refuses some can only
//! hang up.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataResponse, ProduceResponse, RequestKind, ResponseKind};
use kurier_broker::{Broker, BrokerConfig};
use kurier_harness::{ApacheKafka, skip_without_java};
use kurier_kafka::admin::{Admin, AdminConfig};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::core::Target;
use kurier_kafka::consumer::{Consumer, ConsumerConfig, TopicPartition};
use kurier_kafka::group::RequestId;
use kurier_kafka::net::TransportError;
use kurier_kafka::producer::core::{Effect, Input, ProducerCore};
use kurier_kafka::producer::{Destination, ProduceBatch, Producer, ProducerConfig, Settings};
use kurier_kafka::topic_log::NewTopic;

const TOPIC: &str = "t";
const PARTITIONS: i32 = 3;
const RECORDS: u64 = 2_000;
/// What the topic takes.
const MOST: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(60);

fn properties(broker: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let given = [("bootstrap.servers", broker)];
    given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn add(batch: &mut ProduceBatch, ticket: u64, partition: i32, len: usize) {
    let topic: Arc<str> = TOPIC.into();
    let mut draft = batch.draft();
    let written: Result<(), std::convert::Infallible> = draft.value(|bytes| {
        bytes.extend_from_slice(&ticket.to_be_bytes());
        bytes.extend(std::iter::repeat_n(b'x', len));
        Ok(true)
    });
    let Ok(()) = written;
    draft.finish(ticket, Destination { topic: &topic, partition: Some(partition), timestamp: None });
}

/// Sends, and answers how many records were told of; none of them has an offset.
async fn send(producer: &Producer, mut batch: ProduceBatch) -> u64 {
    producer.send(&mut batch).await.unwrap();
    producer.flush().await;
    let told = producer.take_deliveries().into_iter().map(|delivery| {
        assert_eq!(delivery.outcome.unwrap().1, -1);
        delivery.tickets.end - delivery.tickets.start
    });
    told.sum()
}

/// How many connections have ended.
fn ended(producer: &Producer) -> f64 {
    producer.metrics().iter().find(|metric| metric.name == "connection-close-total").unwrap().value
}

/// Reads until so many different records were seen.
async fn read(consumer: &Consumer, seen: &mut BTreeSet<u64>, count: usize) {
    let (deadline, mut scratch) = (Instant::now() + PATIENCE, Scratch::default());
    while seen.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records are there", seen.len());
        for batch in consumer.poll(deadline).await.unwrap().batches {
            for record in &batch.open(&mut scratch).unwrap() {
                let value = record.unwrap().value.unwrap();
                seen.insert(u64::from_be_bytes(*value.first_chunk().unwrap()));
            }
        }
    }
}

async fn check_waiting_for_nobody(broker: &str) {
    let admin = Admin::new(AdminConfig::parse(&properties(broker, &[])).unwrap());
    let config = BTreeMap::from([("max.message.bytes".to_owned(), MOST.to_string())]);
    let new = NewTopic { name: TOPIC.to_owned(), partitions: PARTITIONS, replication_factor: 1, config };
    admin.create_topic(&new).await.unwrap();
    // A broker may tell who leads a new partition before it leads it, and lose what comes between.
    let waiting = Producer::new(ProducerConfig::parse(&properties(broker, &[])).unwrap());
    let mut batch = ProduceBatch::default();
    for partition in 0..PARTITIONS {
        add(&mut batch, RECORDS + 10 + partition as u64, partition, 10);
    }
    waiting.send(&mut batch).await.unwrap();
    waiting.flush().await;
    assert!(waiting.take_deliveries().iter().all(|delivery| delivery.outcome.is_ok()));

    let settings = [("acks", "0"), ("batch.size", "4000"), ("retries", "0")];
    let producer = Producer::new(ProducerConfig::parse(&properties(broker, &settings)).unwrap());
    let mut batch = ProduceBatch::default();
    for ticket in 0..RECORDS {
        add(&mut batch, ticket, (ticket % 3) as i32, 100);
    }
    assert_eq!(send(&producer, batch).await, RECORDS);
    let consumer = [("auto.offset.reset", "earliest")];
    let consumer = Consumer::new(ConsumerConfig::parse(&properties(broker, &consumer)).unwrap());
    consumer.assign((0..PARTITIONS).map(|partition| TopicPartition::new(TOPIC, partition)).collect::<Vec<_>>());
    let mut seen = BTreeSet::new();
    let count = RECORDS as usize + PARTITIONS as usize;
    read(&consumer, &mut seen, count).await;
    // An answer would have ended the connection: nobody waits for it.
    assert_eq!(ended(&producer), 0.0);

    // A record that the broker does not take is told of like any other; the broker hangs up.
    let mut batch = ProduceBatch::default();
    add(&mut batch, RECORDS, 0, 5 * MOST);
    assert_eq!(send(&producer, batch).await, 1);
    let deadline = Instant::now() + PATIENCE;
    while ended(&producer) < 1.0 {
        assert!(Instant::now() < deadline, "the broker does not hang up");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What comes next is neither lost nor given up though nothing is tried again: it had not been sent.
    let mut batch = ProduceBatch::default();
    add(&mut batch, RECORDS + 1, 0, 100);
    assert_eq!(send(&producer, batch).await, 1);
    read(&consumer, &mut seen, count + 1).await;
    assert!(!seen.contains(&RECORDS));
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
}

#[test]
fn our_own_broker_is_not_waited_for() {
    run(async {
        let broker = Broker::start(BrokerConfig::default()).await.unwrap();
        check_waiting_for_nobody(broker.address()).await;
    });
}

#[test]
fn apache_kafka_is_not_waited_for() {
    let Some(java) = skip_without_java("apache_kafka_is_not_waited_for") else { return };
    let broker = ApacheKafka::start(&java).unwrap();
    run(check_waiting_for_nobody(&broker.address()));
}

/// The core with a cluster of one broker, answering its requests by hand.
struct Bench {
    core: ProducerCore,
    now: Duration,
    effects: Vec<Effect>,
}

impl Bench {
    /// The next request.
    fn asked(&mut self) -> (RequestId, RequestKind) {
        loop {
            if let Some(at) = self.effects.iter().position(|effect| matches!(effect, Effect::Send { .. })) {
                let Effect::Send { id, to, request, .. } = self.effects.remove(at) else { unreachable!() };
                assert!(matches!(to, Target::Any | Target::Node(1)));
                return (id, *request);
            }
            self.now = self.core.next_deadline(self.now).expect("there is something to come");
            self.core.step(self.now, Input::Tick, &mut self.effects);
        }
    }

    fn answer(&mut self, id: RequestId, response: Result<ResponseKind, TransportError>) {
        self.core.step(self.now, Input::Answer { id, response }, &mut self.effects);
    }

    fn answers_metadata(&mut self) {
        let (id, request) = self.asked();
        let RequestKind::Metadata(request) = request else { panic!("{request:?}") };
        let partition = MetadataResponsePartition::default().with_leader_id(BrokerId(1));
        let topic = MetadataResponseTopic::default()
            .with_name(request.topics.unwrap().remove(0).name)
            .with_partitions(vec![partition]);
        let broker = MetadataResponseBroker::default().with_node_id(BrokerId(1)).with_port(9092);
        let response = MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic]);
        self.answer(id, Ok(ResponseKind::Metadata(response)));
    }
}

#[test]
fn after_the_end_of_a_connection_the_cluster_is_asked_who_leads() {
    let settings = Settings { acks: 0, idempotent: false, max_in_flight: 1, retries: 0, ..Settings::default() };
    let mut bench = Bench { core: ProducerCore::new(settings), now: Duration::ZERO, effects: Vec::new() };
    let mut batch = ProduceBatch::default();
    add(&mut batch, 7, 0, 10);
    bench.core.append(bench.now, 0, &batch, 0, &mut bench.effects);
    bench.answers_metadata();
    bench.core.append(bench.now, 0, &batch, 0, &mut bench.effects);
    let (id, request) = bench.asked();
    assert!(matches!(request, RequestKind::Produce(produce) if produce.acks == 0));
    bench.answer(id, Err(TransportError::NotSent));
    assert!(bench.core.take_deliveries().is_empty(), "it was not sent, which is no failure");
    bench.answers_metadata();
    let (id, _) = bench.asked();
    bench.answer(id, Ok(ResponseKind::Produce(ProduceResponse::default())));
    let told = bench.core.take_deliveries();
    assert_eq!(told[0].tickets, 7..8);
    assert_eq!(told[0].outcome.as_ref().unwrap().1, -1);
    assert_eq!(bench.core.buffered(), 0);
}
