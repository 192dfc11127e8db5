//! The client against the versions of Apache Kafka that it has to get along with: produce in every codec and in transactions, read in groups of both protocols,
//! commit, administer.
#![expect(clippy::disallowed_methods, reason = "reads the clock, waits")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kurier_harness::{ApacheKafka, BrokerOptions, Java, skip_without_java};
use kurier_kafka::admin::{Admin, AdminConfig};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{Consumer, ConsumerConfig, OffsetAndMetadata, Offsets, Subscription, TopicPartition};
use kurier_kafka::group::GroupMetadata;
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

async fn produce(broker: &str, codec: &str, tickets: Range<u64>) {
    let producer = Producer::new(ProducerConfig::parse(&properties(broker, &[("compression.type", codec)])).unwrap());
    send(&producer, codec, tickets).await;
}

/// Every other transaction is aborted; an offset of a group goes with each. What is not to be seen has the higher tickets.
async fn transact(broker: &str, tickets: Range<u64>) {
    let transactional = properties(broker, &[("transactional.id", "x")]);
    let producer = Producer::new(ProducerConfig::parse(&transactional).unwrap());
    producer.init_transactions().await.unwrap();
    let group = GroupMetadata::of_group("x");
    for first in tickets.clone().step_by(10) {
        let offsets = |offset: u64| {
            Offsets::from([(TopicPartition::new(TOPIC, 0), OffsetAndMetadata::new(i64::try_from(offset).unwrap()))])
        };
        producer.begin().unwrap();
        send(&producer, "committed", first..first + 10).await;
        producer.send_offsets(&offsets(first), &group).await.unwrap();
        producer.commit().await.unwrap();
        producer.begin().unwrap();
        send(&producer, "aborted", first + 1_000_000..first + 1_000_010).await;
        producer.send_offsets(&offsets(first + 1_000_000), &group).await.unwrap();
        producer.abort().await.unwrap();
    }
    let admin = Admin::new(AdminConfig::parse(&properties(broker, &[])).unwrap());
    // Markers are written after the answer; until then an offset is not settled.
    let place = BTreeSet::from([TopicPartition::new(TOPIC, 0)]);
    let offsets = admin.group_offsets_of("x", &place, true).await.unwrap();
    assert_eq!(offsets.into_values().map(|offset| offset.offset).collect::<Vec<_>>(), [tickets.end as i64 - 10]);
}

async fn send(producer: &Producer, codec: &str, tickets: Range<u64>) {
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
    let (consumer, seen) = read_in(broker, "classic", count).await;
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

/// Reads as a member of a group of that protocol until so many records have come.
async fn read_in(broker: &str, protocol: &str, count: usize) -> (Consumer, BTreeSet<u64>) {
    let group = format!("{protocol}-{count}");
    let more = [("group.id", group.as_str()), ("group.protocol", protocol), ("isolation.level", "read_committed")];
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
    (consumer, seen)
}

fn check(test: &str, version: &str) {
    let Some(newest) = skip_without_java(test) else { return };
    let java = if newest.version() == version { newest } else { Java::fetch(version).unwrap() };
    // Before 4.0 the consumer protocol has to be asked for.
    let preview = ["group.coordinator.rebalance.protocols=classic,consumer", "unstable.api.versions.enable=true"];
    let properties_of_broker = if version.starts_with('3') { preview.map(ToOwned::to_owned).to_vec() } else { vec![] };
    let options = BrokerOptions { heap_mb: 256, properties: properties_of_broker, ..BrokerOptions::default() };
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
        let all = count + EACH;
        transact(&address, count..all).await;
        for protocol in ["classic", "consumer"] {
            let (consumer, seen) = read_in(&address, protocol, all as usize).await;
            assert_eq!(seen, (0..all).collect(), "{protocol}");
            consumer.close(PATIENCE).await.unwrap();
        }
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
