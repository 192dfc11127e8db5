//! The consumer against Apache Kafka, beside Java's own clients. Skips, saying so, where there is no JDK or Maven.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock and start tasks")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kurier_harness::{ApacheKafka, skip_without_java};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{
    Consumer, ConsumerConfig, ConsumerError, OffsetAndMetadata, Offsets, RebalanceEvent, Subscription, TopicPartition,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn consumer(broker: &str, properties: &[(&str, &str)]) -> Consumer {
    let mut all = BTreeMap::from([
        ("bootstrap.servers".to_owned(), broker.to_owned()),
        ("auto.offset.reset".to_owned(), "earliest".to_owned()),
    ]);
    all.extend(properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    Consumer::new(ConsumerConfig::parse(&all).unwrap())
}

/// A record as text: partition, key, value, headers.
type Line = (i32, Option<String>, Option<String>, Vec<(String, String)>);

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Polls once; acknowledges revocations after committing.
async fn poll(consumer: &Consumer, lines: &mut Vec<Line>, events: &mut Vec<RebalanceEvent>) {
    let polled = consumer.poll(Instant::now() + Duration::from_millis(500)).await.unwrap();
    let mut scratch = Scratch::default();
    for batch in &polled.batches {
        for record in &batch.open(&mut scratch).unwrap() {
            let record = record.unwrap();
            let headers = record.headers.map(|header| (text(header.key), text(header.value.unwrap_or_default())));
            lines.push((batch.partition().partition, record.key.map(text), record.value.map(text), headers.collect()));
        }
    }
    for event in polled.events {
        if matches!(event, RebalanceEvent::Revoked(_)) {
            consumer.commit_positions().await.unwrap();
            consumer.ack_revoked();
        }
        events.push(event);
    }
}

async fn read(consumer: &Consumer, count: usize) -> Vec<Line> {
    let (mut lines, mut events, start) = (Vec::new(), Vec::new(), Instant::now());
    while lines.len() < count {
        assert!(start.elapsed() < PATIENCE, "{} of {count} records came", lines.len());
        poll(consumer, &mut lines, &mut events).await;
    }
    lines
}

#[test]
fn beside_javas_clients_on_apache_kafka() {
    let Some(java) = skip_without_java("beside_javas_clients_on_apache_kafka") else { return };
    let mut broker = ApacheKafka::start(&java).unwrap();
    runtime().block_on(async {
        each_compression(&broker).await;
        offsets_and_seeks(&broker).await;
        a_group_shares_and_commits(&broker, &java).await;
        only_committed_records(&broker, &java).await;
        a_group_is_shared_with_java(&broker, &java, false).await;
        a_group_is_shared_with_java(&broker, &java, true).await;
        a_restart_is_survived(&mut broker).await;
    });
}

async fn each_compression(broker: &ApacheKafka) {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("in-{codec}");
        let lines: String = (0..2_000).map(|index| format!("h:{index}\tkey{index}\tvalue {index}\n")).collect();
        let codec_option = format!("compression.type={codec}");
        let options =
            ["--property", "parse.key=true", "--property", "parse.headers=true", "--producer-property", &codec_option];
        broker.console_produce(&topic, &lines, &options).unwrap();
        let consumer = consumer(&broker.address(), &[("max.poll.records", "77")]);
        consumer.assign([TopicPartition::new(topic.as_str(), 0)]);
        let read = read(&consumer, 2_000).await;
        for (index, line) in read.into_iter().enumerate() {
            let header = ("h".to_owned(), index.to_string());
            let expected = (0, Some(format!("key{index}")), Some(format!("value {index}")), vec![header]);
            assert_eq!(line, expected, "{codec}");
        }
        assert!(consumer.caught_up());
        consumer.close(PATIENCE).await.unwrap();
    }
}

async fn offsets_and_seeks(broker: &ApacheKafka) {
    let here = TopicPartition::new("in-none", 0);
    let consumer = consumer(&broker.address(), &[("auto.offset.reset", "none")]);
    assert_eq!(consumer.beginning_offsets([here.clone()]).await.unwrap()[&here], 0);
    assert_eq!(consumer.end_offsets([here.clone()]).await.unwrap()[&here], 2_000);
    let found = consumer.offsets_for_times([(here.clone(), 1)]).await.unwrap()[&here].unwrap();
    assert_eq!(found.offset, 0);
    assert!(found.timestamp > 1_600_000_000_000);
    assert_eq!(consumer.offsets_for_times([(here.clone(), i64::MAX)]).await.unwrap()[&here], None);
    assert_eq!(consumer.partitions_for("in-none").await.unwrap(), std::slice::from_ref(&here));

    consumer.assign([here.clone()]);
    let error = consumer.poll(Instant::now() + PATIENCE).await.unwrap_err();
    assert_eq!(error.to_string(), "Undefined offset with no reset policy for partitions: [in-none-0]");
    consumer.seek(&here, 1_500).unwrap();
    assert_eq!(read(&consumer, 500).await[0].2.as_deref(), Some("value 1500"));
    assert_eq!(consumer.position(&here), Some(2_000));
    consumer.seek(&here, 5_000_000).unwrap();
    let error = consumer.poll(Instant::now() + PATIENCE).await.unwrap_err();
    assert!(matches!(error, ConsumerError::OffsetOutOfRange { offset: 5_000_000, .. }), "{error}");
}

/// Two of our members; commits are where Java's tool looks for them.
async fn a_group_shares_and_commits(broker: &ApacheKafka, java: &kurier_harness::Java) {
    broker.create_topic("shared", 4).unwrap();
    let lines: String = (0..4_000).map(|index| format!("key{index}\tvalue {index}\n")).collect();
    broker.console_produce("shared", &lines, &["--property", "parse.key=true"]).unwrap();
    let group = [("group.id", "crew"), ("heartbeat.interval.ms", "300"), ("session.timeout.ms", "10000")];
    let subscription = || Subscription::Topics(vec!["shared".to_owned()]);

    let first = consumer(&broker.address(), &group);
    first.subscribe(subscription()).unwrap();
    let (mut lines, mut events) = (Vec::new(), Vec::new());
    let start = Instant::now();
    while lines.len() < 4_000 {
        assert!(start.elapsed() < PATIENCE, "{} records came", lines.len());
        poll(&first, &mut lines, &mut events).await;
    }
    let all: Vec<TopicPartition> = (0..4).map(|partition| TopicPartition::new("shared", partition)).collect();
    assert_eq!(events, [RebalanceEvent::Assigned(all.clone())]);

    // A second member takes half, and nothing is read twice: the first commits when it gives up.
    let second = consumer(&broker.address(), &group);
    second.subscribe(subscription()).unwrap();
    let (mut second_lines, mut second_events) = (Vec::new(), Vec::new());
    while second.assignment().len() != 2 || first.assignment().len() != 2 {
        assert!(start.elapsed() < 2 * PATIENCE, "{:?} {:?}", first.assignment(), second.assignment());
        tokio::join!(poll(&first, &mut lines, &mut events), poll(&second, &mut second_lines, &mut second_events));
    }
    assert_eq!(events[1], RebalanceEvent::Revoked(all.clone()));
    let more: String = (0..400).map(|index| format!("key{index}\tmore {index}\n")).collect();
    broker.console_produce("shared", &more, &["--property", "parse.key=true"]).unwrap();
    while lines.len() + second_lines.len() < 4_400 {
        assert!(start.elapsed() < 3 * PATIENCE, "{} and {} records came", lines.len(), second_lines.len());
        tokio::join!(poll(&first, &mut lines, &mut events), poll(&second, &mut second_lines, &mut second_events));
    }
    assert!(!second_lines.is_empty());
    let mut values: Vec<String> = lines.iter().chain(&second_lines).filter_map(|line| line.2.clone()).collect();
    values.sort();
    values.dedup();
    assert_eq!((lines.len() + second_lines.len(), values.len()), (4_400, 4_400));

    // Leaving gives the share back; metadata of a commit comes back.
    second.commit_positions().await.unwrap();
    second.close(PATIENCE).await.unwrap();
    while first.assignment().len() != 4 {
        assert!(start.elapsed() < 4 * PATIENCE);
        poll(&first, &mut lines, &mut events).await;
    }
    let offset = OffsetAndMetadata { offset: 7, leader_epoch: None, metadata: "why not".into() };
    first.commit(Offsets::from([(all[0].clone(), offset.clone())])).await.unwrap();
    assert_eq!(first.committed([all[0].clone()]).await.unwrap()[&all[0]], offset);
    first.commit_positions().await.unwrap();

    let address = broker.address();
    let args = ["--bootstrap-server", &address, "--describe", "--group", "crew"];
    let table = java.run("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &args, b"").unwrap();
    let lags: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("crew"))
        .map(|line| line.split_whitespace().nth(5).unwrap())
        .collect();
    assert_eq!(lags, ["0"; 4], "{table}");
    first.close(PATIENCE).await.unwrap();
}

/// One of Java's members and one of ours, whoever leads: each gets its half, and everything is read once.
async fn a_group_is_shared_with_java(broker: &ApacheKafka, java: &kurier_harness::Java, java_first: bool) {
    let topic: &'static str = if java_first { "java-leads" } else { "java-follows" };
    broker.create_topic(topic, 4).unwrap();
    let group = [("group.id", topic), ("heartbeat.interval.ms", "300"), ("max.poll.records", "10")];
    let java_reads = || {
        let (java, address) = (java.clone(), broker.address());
        let options = ["--group", topic, "--consumer-property", "heartbeat.interval.ms=300"];
        std::thread::spawn(move || kurier_harness::console_consume(&java, &address, topic, 50, &options).unwrap())
    };
    let subscribed = || {
        let ours = consumer(&broker.address(), &group);
        ours.subscribe(Subscription::Matching(std::sync::Arc::new(move |name: &str| name == topic))).unwrap();
        ours
    };
    let (mut lines, mut events, start) = (Vec::new(), Vec::new(), Instant::now());
    let (ours, theirs);
    if java_first {
        theirs = java_reads();
        let args = ["--bootstrap-server", &broker.address(), "--describe", "--members", "--group", topic];
        kurier_harness::wait_for("Java's member", PATIENCE, || {
            let table = java.run("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &args, b"");
            Ok(table.is_ok_and(|table| table.lines().any(|line| line.starts_with(topic))))
        })
        .unwrap();
        ours = subscribed();
    } else {
        ours = subscribed();
        while ours.assignment().len() != 4 {
            assert!(start.elapsed() < PATIENCE);
            poll(&ours, &mut lines, &mut events).await;
        }
        theirs = java_reads();
    }
    while ours.assignment().len() != 2 {
        assert!(start.elapsed() < 2 * PATIENCE, "{:?}", ours.assignment());
        poll(&ours, &mut lines, &mut events).await;
    }
    let more: String = (0..400).map(|index| format!("key{index}\tvalue {index}\n")).collect();
    broker.console_produce(topic, &more, &["--property", "parse.key=true"]).unwrap();
    // Java's member ends after its fifty records and commits exactly these; the rest is ours.
    while lines.len() < 350 {
        assert!(start.elapsed() < 3 * PATIENCE, "{} records came", lines.len());
        poll(&ours, &mut lines, &mut events).await;
    }
    let theirs = theirs.join().unwrap().into_iter().filter(|line| line.starts_with("value")); // Its log comes along.
    let mut values: Vec<String> = lines.iter().filter_map(|line| line.2.clone()).chain(theirs).collect();
    values.sort();
    values.dedup();
    assert_eq!((lines.len(), values.len()), (350, 400));
    ours.close(PATIENCE).await.unwrap();
}

/// What a producer aborted is not seen, and what it committed is, with Java's transactional producer.
async fn only_committed_records(broker: &ApacheKafka, java: &kurier_harness::Java) {
    let config = format!("bootstrap.servers={}", broker.address());
    let args = ["--topic", "transactional", "--num-records", "1000", "--record-size", "50", "--throughput", "-1"];
    let transactional = ["--transactional-id", "t1", "--transaction-duration-ms", "1", "--producer-props", &config];
    let args: Vec<&str> = args.into_iter().chain(transactional).collect();
    java.run("org.apache.kafka.tools.ProducerPerformance", &args, b"").unwrap();
    let here = TopicPartition::new("transactional", 0);
    let consumer = consumer(&broker.address(), &[("isolation.level", "read_committed")]);
    consumer.assign([here.clone()]);
    assert_eq!(read(&consumer, 1_000).await.len(), 1_000);
    // Markers lie between the records, and behind the last.
    let end = consumer.end_offsets([here.clone()]).await.unwrap()[&here];
    assert!(end > 1_000);
    let start = Instant::now();
    while consumer.position(&here) != Some(end) {
        assert!(start.elapsed() < PATIENCE);
        let polled = consumer.poll(Instant::now() + Duration::from_millis(200)).await.unwrap();
        assert!(polled.batches.is_empty());
    }
    assert!(consumer.caught_up());
}

/// A broker that goes away and comes back is an interruption, not an error.
async fn a_restart_is_survived(broker: &mut ApacheKafka) {
    let group = [("group.id", "patient"), ("request.timeout.ms", "5000")];
    let ours = consumer(&broker.address(), &group);
    ours.subscribe(Subscription::Topics(vec!["in-lz4".to_owned()])).unwrap();
    assert_eq!(read(&ours, 2_000).await.len(), 2_000);
    ours.commit_positions().await.unwrap();
    broker.restart().unwrap();
    broker
        .console_produce(
            "in-lz4",
            "h:1\tkey\tafter\n",
            &["--property", "parse.key=true", "--property", "parse.headers=true"],
        )
        .unwrap();
    let after = read(&ours, 1).await;
    assert_eq!(after[0].2.as_deref(), Some("after"));
    ours.commit_positions().await.unwrap();
    let here = TopicPartition::new("in-lz4", 0);
    assert_eq!(ours.committed([here.clone()]).await.unwrap()[&here].offset, 2_001);
    ours.close(PATIENCE).await.unwrap();
}
