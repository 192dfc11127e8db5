//! Fetch sessions (KIP-227) on real brokers: what is read is whole, and brokers are told only what is new.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock and start tasks")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use kurier_broker::{Broker, BrokerConfig};
use kurier_harness::{ApacheKafka, skip_without_java};
use kurier_kafka::admin::{Admin, AdminConfig};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{Consumer, ConsumerConfig, TopicPartition};
use kurier_kafka::net::{Broker as Node, Target, TcpTransport, Transport, TransportError};
use kurier_kafka::producer::{Destination, ProduceBatch, Producer, ProducerConfig};
use kurier_kafka::topic_log::NewTopic;
use parking_lot::Mutex;

const PATIENCE: Duration = Duration::from_secs(30);
const PARTITIONS: i32 = 30;
const TOPIC: &str = "sessions";

/// Notes of each fetch its session's epoch, how many partitions it names and how many it forgets.
struct Watched {
    inner: TcpTransport,
    fetches: Arc<Mutex<Vec<(i32, usize, usize)>>>,
}

impl Transport for Watched {
    fn send(
        &self,
        to: Target,
        request: Box<RequestKind>,
        highest: Option<i16>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<ResponseKind, TransportError>> {
        if let RequestKind::Fetch(fetch) = &*request {
            let named = fetch.topics.iter().map(|topic| topic.partitions.len()).sum();
            let forgotten = fetch.forgotten_topics_data.iter().map(|topic| topic.partitions.len()).sum();
            self.fetches.lock().push((fetch.session_epoch, named, forgotten));
        }
        self.inner.send(to, request, highest, timeout)
    }

    fn brokers(&self, brokers: &[Node]) {
        self.inner.brokers(brokers);
    }
}

fn properties(broker: &str) -> BTreeMap<String, String> {
    [("bootstrap.servers", broker), ("auto.offset.reset", "earliest"), ("fetch.max.wait.ms", "100")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Writes a record with the ticket as its value to a partition.
async fn write(producer: &Producer, tickets: std::ops::Range<u64>, partition: impl Fn(u64) -> i32) {
    let (mut batch, topic, count) = (ProduceBatch::default(), Arc::from(TOPIC), tickets.end - tickets.start);
    for ticket in tickets {
        let mut draft = batch.draft();
        draft
            .value(|bytes| {
                bytes.extend_from_slice(&ticket.to_be_bytes());
                Ok::<_, ()>(true)
            })
            .unwrap();
        let partition = Some(partition(ticket));
        draft.finish(ticket, Destination { topic: &topic, partition, timestamp: None });
    }
    producer.send(&mut batch).await.unwrap();
    let (mut told, start) = (0, Instant::now());
    while told < count {
        assert!(start.elapsed() < PATIENCE, "{told} of {count} are told of");
        for delivery in producer.deliveries(Instant::now() + Duration::from_secs(1)).await {
            delivery.outcome.unwrap();
            told += delivery.tickets.end - delivery.tickets.start;
        }
    }
}

/// Reads until so many records are there, or for 0 until there is nothing more; none may come twice.
async fn read(consumer: &Consumer, count: usize) -> BTreeSet<u64> {
    let (mut values, start, mut scratch) = (BTreeSet::new(), Instant::now(), Scratch::default());
    while values.len() < count || (count == 0 && !consumer.caught_up()) {
        assert!(start.elapsed() < PATIENCE, "{} of {count} records are read", values.len());
        for batch in &consumer.poll(Instant::now() + Duration::from_millis(200)).await.unwrap().batches {
            for record in &batch.open(&mut scratch).unwrap() {
                let value = record.unwrap().value.unwrap().try_into().unwrap();
                assert!(values.insert(u64::from_be_bytes(value)), "a record came twice");
            }
        }
    }
    values
}

/// Answers the fetches that were sent.
async fn check(broker: &str) -> Vec<(i32, usize, usize)> {
    let admin = Admin::new(AdminConfig::parse(&properties(broker)).unwrap());
    let topic =
        NewTopic { name: TOPIC.to_owned(), partitions: PARTITIONS, replication_factor: 1, config: BTreeMap::new() };
    admin.create_topic(&topic).await.unwrap();
    let producer = Producer::new(ProducerConfig::parse(&properties(broker)).unwrap());
    let config = ConsumerConfig::parse(&properties(broker)).unwrap();
    let fetches = Arc::<Mutex<Vec<_>>>::default();
    let watched = Watched { inner: TcpTransport::new(config.net), fetches: Arc::clone(&fetches) };
    let consumer = Consumer::with_transport(config.settings, Arc::new(watched));
    let all = consumer.partitions_for(TOPIC).await.unwrap();
    consumer.assign(all.iter().cloned());
    write(&producer, 0..300, |ticket| ticket as i32 % PARTITIONS).await;
    assert_eq!(read(&consumer, 300).await, (0..300).collect());
    // One busy partition among many idle ones.
    for round in 0..10 {
        let tickets = 300 + round * 10..310 + round * 10;
        write(&producer, tickets.clone(), |_| 7).await;
        assert_eq!(read(&consumer, 10).await, tickets.collect());
    }
    // A place sought is a place told, also where nothing is new for the broker.
    let (seven, eight) = (TopicPartition::new(TOPIC, 7), TopicPartition::new(TOPIC, 8));
    consumer.seek(&seven, 10).unwrap();
    consumer.seek(&eight, 10).unwrap();
    assert_eq!(read(&consumer, 100).await, (300..400).collect());
    // Partitions that are paused, given up and taken again.
    consumer.pause(std::slice::from_ref(&eight)).unwrap();
    write(&producer, 400..410, |ticket| if ticket % 2 == 0 { 7 } else { 8 }).await;
    assert_eq!(read(&consumer, 5).await, (400..410).step_by(2).collect());
    consumer.resume(std::slice::from_ref(&eight)).unwrap();
    assert_eq!(read(&consumer, 5).await, (401..410).step_by(2).collect());
    consumer.assign([seven.clone()]);
    write(&producer, 410..420, |_| 7).await;
    assert_eq!(read(&consumer, 10).await, (410..420).collect());
    consumer.assign([seven.clone(), eight.clone()]);
    consumer.seek(&eight, 15).unwrap();
    assert_eq!(read(&consumer, 0).await, BTreeSet::new(), "both are at their end, and that is known");
    write(&producer, 420..430, |_| 8).await;
    assert_eq!(read(&consumer, 10).await, (420..430).collect());
    std::mem::take(&mut *fetches.lock())
}

/// What a broker that keeps sessions was asked.
fn check_that_only_what_is_new_was_told(fetches: &[(i32, usize, usize)]) {
    let (full, incremental): (Vec<_>, Vec<_>) = fetches.iter().partition(|(epoch, ..)| *epoch == 0);
    assert!(!full.is_empty() && full.len() < 10 && incremental.len() > 15, "{fetches:?}");
    // The busy partition's offset is told, and nothing else of thirty.
    assert!(incremental.iter().filter(|(_, named, _)| *named == 1).count() >= 10, "{fetches:?}");
    let forgotten: usize = incremental.iter().map(|(_, _, forgotten)| forgotten).sum();
    assert!(forgotten >= PARTITIONS as usize - 1, "{fetches:?}");
}

#[test]
fn our_broker_is_told_only_what_is_new() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fetches = runtime.block_on(async {
        let broker = Broker::start(BrokerConfig::default()).await.unwrap();
        check(broker.address()).await
    });
    check_that_only_what_is_new_was_told(&fetches);
}

#[test]
fn apache_kafka_is_told_only_what_is_new() {
    let Some(java) = skip_without_java("apache_kafka_is_told_only_what_is_new") else { return };
    let broker = ApacheKafka::start(&java).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    check_that_only_what_is_new_was_told(&runtime.block_on(check(&broker.address())));
}
