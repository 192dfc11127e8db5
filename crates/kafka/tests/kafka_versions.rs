//! The client against the versions of Apache Kafka that it has to get along with: produce in every codec, read in a group, commit, administer.
#![expect(clippy::disallowed_methods, reason = "reads the clock, waits")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kurier_harness::{ApacheKafka, BrokerOptions, Java, skip_without_java};
use kurier_kafka::admin::{Admin, AdminConfig};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{Consumer, ConsumerConfig, Subscription, TopicPartition};
use kurier_kafka::producer::{Destination, ProduceBatch, Producer, ProducerConfig};
use kurier_kafka::topic_log::NewTopic;

const TOPIC: &str = "smoke";
const PARTITIONS: i32 = 3;
const EACH: u64 = 50;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const PATIENCE: Duration = Duration::from_secs(60);

fn properties(broker: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = [("bootstrap.servers", broker), ("auto.offset.reset", "earliest")];
    pairs.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn produce(broker: &str, codec: &str, tickets: std::ops::Range<u64>) {
    let producer = Producer::new(ProducerConfig::parse(&properties(broker, &[("compression.type", codec)])).unwrap());
    let (mut batch, topic): (_, Arc<str>) = (ProduceBatch::default(), TOPIC.into());
    let count = tickets.end - tickets.start;
    for ticket in tickets {
        let mut draft = batch.draft();
        draft
            .value(|bytes| {
                bytes.extend_from_slice(&ticket.to_be_bytes());
                Ok::<_, ()>(true)
            })
            .unwrap();
        let partition = Some((ticket % PARTITIONS as u64) as i32);
        draft.finish(ticket, Destination { topic: &topic, partition, timestamp: None });
    }
    producer.send(&mut batch).await.unwrap();
    producer.flush().await;
    let deliveries = producer.take_deliveries();
    let told: u64 = deliveries.iter().map(|delivery| delivery.tickets.end - delivery.tickets.start).sum();
    assert!(deliveries.iter().all(|delivery| delivery.outcome.is_ok()), "{codec}: {deliveries:?}");
    assert_eq!(told, count, "{codec}");
}

/// Reads as a member of a group until so many records have come, then commits.
async fn read(broker: &str, count: usize) -> BTreeSet<u64> {
    let more = [("group.id", "g"), ("isolation.level", "read_committed")];
    let consumer = Consumer::new(ConsumerConfig::parse(&properties(broker, &more)).unwrap());
    consumer.subscribe(Subscription::Topics(vec![TOPIC.to_owned()])).unwrap();
    let (mut seen, start, mut scratch) = (BTreeSet::new(), Instant::now(), Scratch::default());
    while seen.len() < count {
        assert!(start.elapsed() < PATIENCE, "{} of {count} records are read", seen.len());
        for batch in &consumer.poll(Instant::now() + Duration::from_millis(200)).await.unwrap().batches {
            for record in &batch.open(&mut scratch).unwrap() {
                let value = record.unwrap().value.unwrap().try_into().unwrap();
                assert!(seen.insert(u64::from_be_bytes(value)), "a record came twice");
            }
        }
    }
    consumer.commit_positions().await.unwrap();
    let all: Vec<_> = (0..PARTITIONS).map(|partition| TopicPartition::new(TOPIC, partition)).collect();
    let committed = consumer.committed(all.clone()).await.unwrap();
    let ends = consumer.end_offsets(all.clone()).await.unwrap();
    assert!(all.iter().all(|partition| committed[partition].offset == ends[partition]), "{committed:?} {ends:?}");
    let first = consumer.offsets_for_times(all.iter().map(|partition| (partition.clone(), 0))).await.unwrap();
    assert!(first.values().all(|found| found.is_some_and(|found| found.offset == 0)), "{first:?}");
    consumer.close(PATIENCE).await.unwrap();
    seen
}

fn check(test: &str, version: &str) {
    let Some(newest) = skip_without_java(test) else { return };
    let java = if newest.version() == version { newest } else { Java::fetch(version).unwrap() };
    let options = BrokerOptions { heap_mb: 256, ..BrokerOptions::default() };
    let broker = ApacheKafka::start_with(&java, options).unwrap();
    let address = broker.address();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let admin = Admin::new(AdminConfig::parse(&properties(&address, &[])).unwrap());
        let topic =
            NewTopic { name: TOPIC.to_owned(), partitions: PARTITIONS, replication_factor: 1, config: BTreeMap::new() };
        admin.create_topic(&topic).await.unwrap();
        for (turn, codec) in (0..).zip(CODECS) {
            produce(&address, codec, turn * EACH..(turn + 1) * EACH).await;
        }
        let count = EACH * CODECS.len() as u64;
        assert_eq!(read(&address, count as usize).await, (0..count).collect());
    });
}

#[test]
fn kafka_3_9() {
    check("kafka_3_9", "3.9.1");
}

#[test]
fn kafka_4_0() {
    check("kafka_4_0", "4.0.0");
}

#[test]
fn kafka_4_3() {
    check("kafka_4_3", "4.3.1");
}
