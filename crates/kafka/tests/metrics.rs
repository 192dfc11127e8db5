//! The figures of all clients, held against the names that Java's clients show.
//!
//! `fixtures/java-metrics.tsv` is what `metrics()` of a producer, a consumer of a group, one of the consumer protocol (`epochs`) and an admin client of
//! Apache Kafka 4.3.1 lists after some records: client, group, name, tags.
#![expect(clippy::disallowed_methods, reason = "reads the clock, waits")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kurier_broker::{Broker, BrokerConfig};
use kurier_harness::{ApacheKafka, skip_without_java};
use kurier_kafka::admin::{Admin, AdminConfig};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{Consumer, ConsumerConfig, RebalanceEvent, Subscription};
use kurier_kafka::metrics::Metric;
use kurier_kafka::producer::{Destination, ProduceBatch, Producer, ProducerConfig};
use kurier_kafka::topic_log::NewTopic;

const TOPIC: &str = "t";
const RECORDS: u64 = 1_000;

/// What Java counts and this client has no counterpart of: its selector's thread, a transaction that is prepared and left (KIP-939), and what goes between the
/// threads of a consumer of the consumer protocol.
fn is_left_out(name: &str) -> bool {
    const OF_THREADS: [&str; 6] = [
        "io-",
        "select-",
        "application-event",
        "background-event",
        "time-between-network-thread-poll-",
        "unsent-requests-",
    ];
    OF_THREADS.iter().any(|begin| name.starts_with(begin)) || name == "txn-prepare-time-ns-total"
}

fn properties(broker: &str) -> BTreeMap<String, String> {
    let pairs =
        [("bootstrap.servers", broker), ("client.id", "c"), ("group.id", "g"), ("auto.offset.reset", "earliest")];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Group, name and names of tags.
fn names(metrics: &[Metric]) -> BTreeSet<(String, String, String)> {
    let of = |metric: &Metric| {
        let mut tags: Vec<&str> = metric.tags.iter().map(|(name, _)| *name).collect();
        tags.sort_unstable();
        (metric.group.to_owned(), metric.name.to_owned(), tags.join(","))
    };
    metrics.iter().map(of).collect()
}

fn javas(client: &str) -> BTreeSet<(String, String, String)> {
    let lines = include_str!("fixtures/java-metrics.tsv").lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let wanted = lines.filter(|line| line[0] == client && line[1] != "app-info" && line[1] != "kafka-metrics-count");
    let wanted = wanted.filter(|line| !is_left_out(line[2]));
    wanted.map(|line| (line[1].to_owned(), line[2].to_owned(), line[3].to_owned())).collect()
}

/// The figure of this name and these tags.
fn figure(metrics: &[Metric], name: &str, tags: &[(&str, &str)]) -> f64 {
    let found = metrics.iter().find(|metric| {
        metric.name == name
            && metric.tags.len() == tags.len() + 1
            && tags.iter().all(|(name, value)| metric.tags.iter().any(|(key, of)| key == name && of == value))
    });
    found.unwrap_or_else(|| panic!("no {name} of {tags:?}")).value
}

/// What a consumer of the consumer protocol counts when it has its share, and a record of it.
async fn of_the_consumer_protocol(broker: &str) -> Vec<Metric> {
    let mut properties = properties(broker);
    properties.extend(
        [("group.id", "epochs"), ("group.protocol", "consumer")].map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let consumer = Consumer::new(ConsumerConfig::parse(&properties).unwrap());
    consumer.subscribe(Subscription::Topics(vec![TOPIC.to_owned()])).unwrap();
    let start = Instant::now();
    while consumer.poll(Instant::now() + Duration::from_millis(200)).await.unwrap().batches.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60));
    }
    consumer.metrics()
}

async fn check(broker: &str) {
    let admin = Admin::new(AdminConfig::parse(&properties(broker)).unwrap());
    let topic = NewTopic { name: TOPIC.to_owned(), partitions: 1, replication_factor: 1, config: BTreeMap::new() };
    admin.create_topic(&topic).await.unwrap();
    // Without room for all at once.
    let mut narrow = properties(broker);
    narrow.extend(
        [("buffer.memory", "4096"), ("batch.size", "1024")].map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let producer = Producer::new(ProducerConfig::parse(&narrow).unwrap());
    let (mut batch, topic): (_, Arc<str>) = (ProduceBatch::default(), TOPIC.into());
    for ticket in 0..RECORDS {
        let mut draft = batch.draft();
        draft
            .value(|bytes| {
                bytes.extend_from_slice(b"value");
                Ok::<_, ()>(true)
            })
            .unwrap();
        draft.finish(ticket, Destination { topic: &topic, partition: None, timestamp: None });
    }
    producer.send(&mut batch).await.unwrap();
    producer.flush().await;
    let consumer = Consumer::new(ConsumerConfig::parse(&properties(broker)).unwrap());
    consumer.subscribe(Subscription::Topics(vec![TOPIC.to_owned()])).unwrap();
    let (mut read, start, mut scratch) = (0, Instant::now(), Scratch::default());
    while read < RECORDS {
        assert!(start.elapsed() < Duration::from_secs(60), "{read} records are read");
        let polled = consumer.poll(Instant::now() + Duration::from_millis(200)).await.unwrap();
        assert!(!polled.events.iter().any(|event| matches!(event, RebalanceEvent::Revoked(_))));
        for batch in &polled.batches {
            read += batch.open(&mut scratch).unwrap().iter().count() as u64;
        }
    }
    consumer.commit_positions().await.unwrap();
    // The heartbeat that comes after three seconds.
    let beats = |consumer: &Consumer| figure(&consumer.metrics(), "heartbeat-total", &[]);
    while beats(&consumer) == 0.0 {
        assert!(start.elapsed() < Duration::from_secs(60));
        consumer.poll(Instant::now() + Duration::from_millis(200)).await.unwrap();
    }

    let other = of_the_consumer_protocol(broker).await;
    assert_eq!((figure(&other, "rebalance-total", &[]), figure(&other, "failed-rebalance-total", &[])), (1.0, 0.0));
    assert!((0.0..60.0).contains(&figure(&other, "last-rebalance-seconds-ago", &[])));

    let all = [
        ("producer", producer.metrics()),
        ("consumer", consumer.metrics()),
        ("admin", admin.metrics()),
        ("epochs", other),
    ];
    for (client, metrics) in &all {
        let (ours, javas) = (names(metrics), javas(client));
        let missing: Vec<_> = javas.difference(&ours).collect();
        let own: Vec<_> = ours.difference(&javas).collect();
        assert!(missing.is_empty() && own.is_empty(), "{client}: missing {missing:#?}, not Java's {own:#?}");
        assert!(figure(metrics, "connection-count", &[]) >= 1.0);
        assert!(figure(metrics, "request-total", &[]) >= figure(metrics, "response-total", &[]));
    }
    let [(_, producer), (_, consumer), ..] = &all;
    let records = RECORDS as f64;
    let topic = [("topic", TOPIC)];
    for tags in [&[][..], &topic] {
        assert_eq!(figure(producer, "record-send-total", tags), records);
        assert_eq!(figure(producer, "record-error-total", tags), 0.0);
        assert_eq!(figure(consumer, "records-consumed-total", tags), records);
        assert!(figure(consumer, "bytes-consumed-total", tags) > records * 5.0);
        assert!(figure(consumer, "fetch-size-max", tags) >= figure(consumer, "fetch-size-avg", tags));
    }
    let partition = [("topic", TOPIC), ("partition", "0")];
    assert_eq!(figure(consumer, "records-lag", &partition), 0.0);
    assert_eq!(figure(consumer, "records-lead", &partition), records);
    assert!(figure(consumer, "records-lag-max", &[]) <= records);
    assert_eq!(figure(consumer, "preferred-read-replica", &partition), -1.0);
    let once = ["assigned-partitions", "commit-total", "rebalance-total", "sync-total", "join-total"];
    for name in once {
        assert_eq!(figure(consumer, name, &[]), 1.0, "{name}");
    }
    assert!(figure(consumer, "last-heartbeat-seconds-ago", &[]) <= 3.0);
    assert!((0.0..=1.0).contains(&figure(consumer, "poll-idle-ratio-avg", &[])));
    assert!(figure(consumer, "fetch-latency-max", &[]) >= 0.0);
    for name in ["bufferpool-wait-time-ns-total", "metadata-wait-time-ns-total", "flush-time-ns-total"] {
        assert!(figure(producer, name, &[]) > 0.0, "{name}");
    }
    assert!((0.0..=1.0).contains(&figure(producer, "bufferpool-wait-ratio", &[])));
    assert_eq!(figure(producer, "waiting-threads", &[]), 0.0);
    assert!(figure(consumer, "commit-sync-time-ns-total", &[]) > 0.0);
    assert_eq!(figure(producer, "buffer-available-bytes", &[]), figure(producer, "buffer-total-bytes", &[]));
}

#[test]
fn figures_have_javas_names_on_our_broker() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = Broker::start(BrokerConfig::default()).await.unwrap();
        check(broker.address()).await;
    });
}

#[test]
fn figures_have_javas_names_on_apache_kafka() {
    let Some(java) = skip_without_java("figures_have_javas_names_on_apache_kafka") else { return };
    let broker = ApacheKafka::start(&java).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(check(&broker.address()));
}
