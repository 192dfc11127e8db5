//! Logs and consumers on our own broker: no JDK, a second.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock and start tasks")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kurier_broker::{Broker, BrokerConfig, RunningBroker};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{Consumer, ConsumerConfig, FetchedBatch, RebalanceEvent, Subscription, TopicPartition};
use kurier_kafka::topic_log::{
    KafkaLogClient, LogClient, LogRecord, NewTopic, TopicLog, TopicLogConfig, TopicLogError,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn run<T>(test: impl AsyncFnOnce(RunningBroker) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { test(Broker::start(BrokerConfig::default()).await.unwrap()).await })
}

fn consumer(broker: &str, properties: &[(&str, &str)]) -> Consumer {
    let given = [("bootstrap.servers", broker), ("auto.offset.reset", "earliest")];
    let all = given.iter().chain(properties).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Consumer::new(ConsumerConfig::parse(&all.collect::<BTreeMap<_, _>>()).unwrap())
}

fn client(broker: &str) -> Arc<KafkaLogClient> {
    Arc::new(KafkaLogClient::new(&BTreeMap::from([("bootstrap.servers".to_owned(), broker.to_owned())])).unwrap())
}

fn log_config(topic: &str, partitions: i32, single_partition: bool) -> TopicLogConfig {
    TopicLogConfig {
        topic: NewTopic { name: topic.into(), partitions, replication_factor: 1, config: BTreeMap::new() },
        property: "config.storage.topic".into(),
        purpose: "connector configurations".into(),
        single_partition,
        create_timeout: PATIENCE,
        retry_backoff: Duration::from_millis(100),
    }
}

/// The last value of each key.
fn fold(table: &mut BTreeMap<String, String>, batches: &[FetchedBatch]) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    for batch in batches {
        for record in &batch.open(&mut Scratch::default()).unwrap() {
            let record = record.unwrap();
            match record.value {
                Some(value) => table.insert(text(record.key.unwrap()), text(value)),
                None => table.remove(&text(record.key.unwrap())),
            };
        }
    }
}

fn put(key: &str, value: Option<&str>) -> LogRecord {
    let bytes = |text: &str| Bytes::from(text.to_owned());
    LogRecord { key: Some(bytes(key)), value: value.map(bytes) }
}

#[test]
fn a_log_is_made_read_to_its_end_and_followed() {
    run(async |broker| {
        let client = client(broker.address());
        let open = async || {
            let consumer = consumer(broker.address(), &[]);
            TopicLog::open(log_config("table", 3, false), consumer, client.clone()).await.unwrap()
        };
        let writer = open().await;
        assert_eq!(writer.partitions(), 3);
        let mut table = BTreeMap::new();
        writer.read_to_end(|batches| fold(&mut table, &batches)).await.unwrap();
        assert!(table.is_empty());
        for round in 0..50 {
            let value = round.to_string();
            writer
                .append(vec![put("a", Some(&value)), put("b", Some(&value)), put("c", Some("gone")), put("c", None)])
                .await
                .unwrap();
            // One's own appends are read back.
            writer.read_to_end(|batches| fold(&mut table, &batches)).await.unwrap();
            let expected = [("a".to_owned(), value.clone()), ("b".to_owned(), value)];
            assert_eq!(table, expected.into());
        }
        // The topic is there and compacted, so another one opens it and finds the same.
        let reader = open().await;
        let mut copy = BTreeMap::new();
        reader.read_to_end(|batches| fold(&mut copy, &batches)).await.unwrap();
        assert_eq!(copy, table);
        writer.append(vec![put("d", Some("new"))]).await.unwrap();
        let start = Instant::now();
        while !copy.contains_key("d") {
            assert!(start.elapsed() < PATIENCE);
            fold(&mut copy, &reader.poll(Instant::now() + Duration::from_millis(200)).await.unwrap());
        }
        reader.close(PATIENCE).await.unwrap();
    });
}

#[test]
fn a_topic_that_would_lose_records_is_refused_in_javas_words() {
    run(async |broker| {
        let client = client(broker.address());
        let config = BTreeMap::from([("cleanup.policy".to_owned(), "delete".to_owned())]);
        let topic = |name: &str, config| NewTopic { name: name.into(), partitions: 2, replication_factor: 1, config };
        client.create_topic(topic("deleting", config)).await.unwrap();
        let compact = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        client.create_topic(topic("two", compact)).await.unwrap();
        let cases = [
            (
                "deleting",
                "Topic 'deleting' supplied via the 'config.storage.topic' property is required to have 'cleanup.policy=compact' to guarantee consistency and durability of connector configurations, but found the topic currently has 'cleanup.policy=delete'. Continuing would likely result in eventually losing connector configurations and problems restarting this Connect cluster in the future. Change the 'config.storage.topic' property in the Connect worker configurations to use a topic with 'cleanup.policy=compact'.",
            ),
            (
                "two",
                "Topic 'two' supplied via the 'config.storage.topic' property is required to have a single partition in order to guarantee consistency of connector configurations, but found 2 partitions.",
            ),
        ];
        for (topic, expected) in cases {
            let consumer = consumer(broker.address(), &[]);
            let error: TopicLogError =
                TopicLog::open(log_config(topic, 1, true), consumer, client.clone()).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    });
}

/// Two members on our own broker; the second takes over all when the first leaves.
#[test]
fn a_group_on_our_broker_passes_its_share_on() {
    run(async |broker| {
        let client = client(broker.address());
        let topic = NewTopic { name: "work".into(), partitions: 2, replication_factor: 1, config: BTreeMap::new() };
        client.create_topic(topic).await.unwrap();
        client.append("work", vec![put("a", Some("1")), put("b", Some("2"))]).await.unwrap();
        let group = [("group.id", "crew"), ("heartbeat.interval.ms", "100")];
        let member = || {
            let consumer = consumer(broker.address(), &group);
            consumer.subscribe(Subscription::Topics(vec!["work".into()])).unwrap();
            consumer
        };
        let (first, second) = (member(), member());
        let mut table = BTreeMap::new();
        let start = Instant::now();
        let turn = async |consumer: &Consumer, table: &mut BTreeMap<String, String>| {
            assert!(start.elapsed() < PATIENCE);
            let polled = consumer.poll(Instant::now() + Duration::from_millis(50)).await.unwrap();
            fold(table, &polled.batches);
            if polled.events.iter().any(|event| matches!(event, RebalanceEvent::Revoked(_))) {
                consumer.commit_positions().await.unwrap();
                consumer.ack_revoked();
            }
        };
        while table.len() < 2 || first.assignment().len() != 1 || second.assignment().len() != 1 {
            turn(&first, &mut table).await;
            turn(&second, &mut table).await;
        }
        first.close(PATIENCE).await.unwrap();
        while second.assignment().len() != 2 {
            turn(&second, &mut table).await;
        }
        client.append("work", vec![put("a", Some("3")), put("b", Some("4"))]).await.unwrap();
        while table.values().cloned().collect::<String>() != "34" {
            turn(&second, &mut table).await;
        }
        let all = [TopicPartition::new("work", 0), TopicPartition::new("work", 1)];
        second.commit_positions().await.unwrap();
        let committed = second.committed(all).await.unwrap();
        assert_eq!(committed.values().map(|offset| offset.offset).sum::<i64>(), 4);
    });
}

#[test]
fn brokers_are_waited_for_while_there_are_too_few_and_a_bad_setting_is_refused_at_once() {
    run(async |broker| {
        let client = client(broker.address());
        let mut lonely = log_config("lonely", 1, true);
        lonely.topic.replication_factor = 3;
        lonely.create_timeout = Duration::from_millis(300);
        let error = TopicLog::open(lonely, consumer(broker.address(), &[]), client.clone()).await.unwrap_err();
        assert!(matches!(error, TopicLogError::CreateTimeout(_)), "{error}");
        let mut wrong = log_config("wrong", 1, true);
        wrong.topic.config.insert("segment.bytes".into(), "many".into());
        let error = TopicLog::open(wrong, consumer(broker.address(), &[]), client).await.unwrap_err();
        assert!(matches!(error, TopicLogError::Create { .. }), "{error}");
    });
}
