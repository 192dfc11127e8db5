//! Transactions on our own broker and on Apache Kafka in both versions of the protocol: committed, aborted, fenced, with offsets of a group.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock and wait")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kurier_broker::{Broker, BrokerConfig};
use kurier_harness::{ApacheKafka, BrokerOptions, Java, console_consume, skip_without_java};
use kurier_kafka::admin::{Admin, AdminConfig};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{Consumer, ConsumerConfig, OffsetAndMetadata, Offsets, TopicPartition};
use kurier_kafka::group::GroupMetadata;
use kurier_kafka::producer::{Destination, ProduceBatch, Producer, ProducerConfig};
use kurier_kafka::topic_log::NewTopic;

const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC: &str = "transfers";
const PARTITIONS: i32 = 2;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn properties(broker: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let given = [("bootstrap.servers", broker)];
    given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn producer(broker: &str, id: &str) -> Producer {
    // A linger that no test outlives: it is commits that send what waits.
    let more = [("transactional.id", id), ("linger.ms", "60000"), ("request.timeout.ms", "20000")];
    Producer::new(ProducerConfig::parse(&properties(broker, &more)).unwrap())
}

/// Sends records with these numbers, which say where they go.
async fn send(producer: &Producer, numbers: std::ops::Range<u64>) {
    let (mut batch, topic): (_, Arc<str>) = (ProduceBatch::default(), TOPIC.into());
    for number in numbers {
        let mut draft = batch.draft();
        let value = number.to_string();
        draft
            .value(|bytes| {
                bytes.extend_from_slice(value.as_bytes());
                Ok::<_, ()>(true)
            })
            .unwrap();
        let partition = Some((number % PARTITIONS as u64) as i32);
        draft.finish(number, Destination { topic: &topic, partition, timestamp: None });
    }
    producer.send(&mut batch).await.unwrap();
}

/// How many records were acknowledged, and why the others were not.
fn told(producer: &Producer) -> (u64, Vec<&'static str>) {
    let (mut delivered, mut classes) = (0, Vec::new());
    for delivery in producer.take_deliveries() {
        match delivery.outcome {
            Ok(_) => delivered += delivery.tickets.end - delivery.tickets.start,
            Err(error) => classes.push(error.class.rsplit('.').next().unwrap()),
        }
    }
    classes.dedup();
    (delivered, classes)
}

/// What a reader of what is committed finds, by partition; at least so many records.
async fn found(broker: &str, count: usize) -> BTreeMap<i32, Vec<u64>> {
    let more = [("auto.offset.reset", "earliest"), ("isolation.level", "read_committed")];
    let consumer = Consumer::new(ConsumerConfig::parse(&properties(broker, &more)).unwrap());
    consumer.assign(consumer.partitions_for(TOPIC).await.unwrap());
    let (mut values, mut scratch, start) = (BTreeMap::<i32, Vec<u64>>::new(), Scratch::default(), Instant::now());
    // In version 1 a transaction is committed a moment before its last marker is written.
    while values.values().map(Vec::len).sum::<usize>() < count || !consumer.caught_up() {
        assert!(start.elapsed() < PATIENCE, "not at the end yet: {values:?}");
        for batch in &consumer.poll(Instant::now() + Duration::from_millis(200)).await.unwrap().batches {
            for record in &batch.open(&mut scratch).unwrap() {
                let value = std::str::from_utf8(record.unwrap().value.unwrap()).unwrap().parse().unwrap();
                values.entry(batch.partition().partition).or_default().push(value);
            }
        }
    }
    values
}

fn by_partition(numbers: impl Iterator<Item = u64>) -> BTreeMap<i32, Vec<u64>> {
    let mut values = BTreeMap::<i32, Vec<u64>>::new();
    for number in numbers {
        values.entry((number % PARTITIONS as u64) as i32).or_default().push(number);
    }
    values
}

/// The numbers that are committed.
async fn committed_and_aborted(broker: &str) -> Vec<u64> {
    let admin = Admin::new(AdminConfig::parse(&properties(broker, &[])).unwrap());
    let topic =
        NewTopic { name: TOPIC.to_owned(), partitions: PARTITIONS, replication_factor: 1, config: BTreeMap::new() };
    admin.create_topic(&topic).await.unwrap();
    let transfers = producer(broker, "transfers-1");
    let early = transfers.begin().unwrap_err();
    assert_eq!(early.class, "java.lang.IllegalStateException");
    transfers.init_transactions().await.unwrap();
    let twice = transfers.init_transactions().await.unwrap_err().to_string();
    assert_eq!(
        twice,
        "TransactionalId transfers-1: Invalid transition attempted from state READY to state INITIALIZING"
    );

    transfers.begin().unwrap();
    send(&transfers, 0..100).await;
    transfers.commit().await.unwrap();
    assert_eq!(told(&transfers), (100, vec![]));

    // Sent, and aborted.
    transfers.begin().unwrap();
    send(&transfers, 100..200).await;
    transfers.flush().await;
    assert_eq!(told(&transfers), (100, vec![]));
    transfers.abort().await.unwrap();

    // Aborted before it was sent.
    transfers.begin().unwrap();
    send(&transfers, 200..300).await;
    transfers.abort().await.unwrap();
    assert_eq!(told(&transfers).1, ["TransactionAbortedException"]);

    // Nothing at all, both ways; records outside a transaction.
    transfers.begin().unwrap();
    transfers.commit().await.unwrap();
    transfers.begin().unwrap();
    transfers.abort().await.unwrap();
    send(&transfers, 300..301).await;
    assert_eq!(told(&transfers), (0, vec!["IllegalStateException"]));

    // With offsets of a group, alone and beside records.
    let place = |partition| TopicPartition { topic: TOPIC.into(), partition };
    let group = GroupMetadata::of_group("readers");
    let offsets = |offset| Offsets::from([(place(0), OffsetAndMetadata::new(offset))]);
    transfers.begin().unwrap();
    transfers.send_offsets(&offsets(5), &group).await.unwrap();
    transfers.commit().await.unwrap();
    transfers.begin().unwrap();
    send(&transfers, 400..500).await;
    transfers.send_offsets(&offsets(7), &group).await.unwrap();
    transfers.abort().await.unwrap();
    check_group_offset(&admin, &place(0), 5).await;
    transfers.begin().unwrap();
    send(&transfers, 500..600).await;
    transfers.send_offsets(&offsets(9), &group).await.unwrap();
    transfers.commit().await.unwrap();
    check_group_offset(&admin, &place(0), 9).await;

    // A record that cannot be sent spoils its transaction and no other.
    let _ = told(&transfers);
    transfers.begin().unwrap();
    send(&transfers, 600..650).await;
    too_large(&transfers).await;
    let failed = transfers.commit().await.unwrap_err();
    assert!(failed.to_string().contains("RecordTooLargeException"), "{failed}");
    transfers.abort().await.unwrap();
    for round in 0..5 {
        transfers.begin().unwrap();
        send(&transfers, 700 + 10 * round..710 + 10 * round).await;
        transfers.commit().await.unwrap();
    }

    // Another producer of the same id takes over; what it finds open is aborted.
    transfers.begin().unwrap();
    send(&transfers, 800..900).await;
    transfers.flush().await;
    let heir = producer(broker, "transfers-1");
    heir.init_transactions().await.unwrap();
    heir.begin().unwrap();
    send(&heir, 900..1_000).await;
    heir.commit().await.unwrap();
    for _ in 0..2 {
        let fenced = transfers.commit().await.unwrap_err();
        assert_eq!(fenced.simple_class(), "ProducerFencedException", "{fenced}");
    }
    let fenced = transfers.begin().unwrap_err().to_string();
    assert!(fenced.contains("has been fenced by another producer with the same transactionalId"), "{fenced}");
    (0..100).chain(500..600).chain(700..750).chain(900..1_000).collect()
}

/// The group's offset comes to be this one.
async fn check_group_offset(admin: &Admin, place: &TopicPartition, expected: i64) {
    let start = Instant::now();
    loop {
        let offset = admin.group_offsets("readers").await.unwrap().get(place).map(|found| found.offset);
        if offset == Some(expected) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{offset:?} instead of {expected}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn too_large(producer: &Producer) {
    let mut batch = ProduceBatch::default();
    let mut draft = batch.draft();
    draft
        .value(|bytes| {
            bytes.resize(bytes.len() + (2 << 20), b'x');
            Ok::<_, ()>(true)
        })
        .unwrap();
    draft.finish(u64::MAX - 1, Destination { topic: &TOPIC.into(), partition: Some(0), timestamp: None });
    producer.send(&mut batch).await.unwrap();
}

async fn scenario(broker: &str) -> Vec<u64> {
    let expected = committed_and_aborted(broker).await;
    assert_eq!(found(broker, expected.len()).await, by_partition(expected.iter().copied()));
    expected
}

#[test]
fn transactions_on_our_own_broker() {
    runtime().block_on(async {
        let broker = Broker::start(BrokerConfig::default()).await.unwrap();
        scenario(broker.address()).await;
    });
}

#[test]
fn transactions_of_version_1_on_apache_kafka() {
    let Some(java) = skip_without_java("transactions_of_version_1_on_apache_kafka") else { return };
    on_apache_kafka(&java, 0);
}

#[test]
fn transactions_of_version_2_on_apache_kafka() {
    let Some(java) = skip_without_java("transactions_of_version_2_on_apache_kafka") else { return };
    on_apache_kafka(&java, 2);
}

/// As on our own broker; Java's console consumer reads what is committed as well.
fn on_apache_kafka(java: &Java, transaction_version: i16) {
    let features = vec![format!("transaction.version={transaction_version}")];
    let kafka = ApacheKafka::start_with(java, BrokerOptions { features, ..BrokerOptions::default() }).unwrap();
    let expected = runtime().block_on(scenario(&kafka.address()));
    // Version 2 takes another epoch for every transaction, version 1 only where something went wrong.
    let described = ["--bootstrap-server", &kafka.address(), "describe", "--transactional-id", "transfers-1"];
    let described = java.run("org.apache.kafka.tools.TransactionsCommand", &described, b"").unwrap();
    let rows: Vec<Vec<&str>> = described.lines().map(|line| line.split_whitespace().collect()).collect();
    let column = rows[0].iter().position(|name| *name == "ProducerEpoch").unwrap();
    let epoch: i16 = rows[1][column].parse().unwrap();
    assert_eq!(epoch > 10, transaction_version == 2, "{described}");
    let options = ["--isolation-level", "read_committed"];
    let lines = console_consume(java, &kafka.address(), TOPIC, expected.len(), &options).unwrap();
    assert_eq!(by_partition(lines.iter().map(|line| line.parse().unwrap())), by_partition(expected.iter().copied()));
}
