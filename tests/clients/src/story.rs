//! What a program with librdkafka sees of a broker, told in lines: the same story on two brokers has the same lines (`tests/foreign.rs`).

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const TOPIC: &str = "librdkafka";
const GROUP: &str = "librdkafka-readers";
const PATIENCE: Duration = Duration::from_secs(30);

fn client(broker: &str, more: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set("linger.ms", "0").set("topic.metadata.refresh.fast.interval.ms", "20");
    for (key, value) in more {
        config.set(*key, *value);
    }
    config
}

/// The name of an error, without words that hold addresses or times.
fn name(error: &KafkaError) -> String {
    match error {
        KafkaError::Transaction(error) => format!("{:?}", error.code()),
        error => error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| format!("{code:?}")),
    }
}

fn send(producer: &BaseProducer, partition: i32, key: &str, value: &str) -> Result<()> {
    let headers = OwnedHeaders::new()
        .insert(Header { key: "h", value: Some(key) })
        .insert(Header { key: "h", value: None::<&str> });
    let record =
        BaseRecord::to(TOPIC).partition(partition).key(key).payload(value).headers(headers).timestamp(1_000_000);
    producer.send(record).map_err(|(error, _)| error)?;
    Ok(())
}

/// Reads a partition from an offset until its end and tells of each record.
fn read(broker: &str, what: &str, partition: i32, from: i64, isolation: &str) -> Result<()> {
    let config = client(
        broker,
        &[("group.id", "reads-alone"), ("isolation.level", isolation), ("enable.partition.eof", "true")],
    );
    let consumer: BaseConsumer = config.create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, partition, Offset::Offset(from))?;
    consumer.assign(&list)?;
    loop {
        match consumer.poll(PATIENCE).context("nothing comes")? {
            Ok(message) => {
                let headers: Vec<String> = message
                    .headers()
                    .map(|all| {
                        all.iter().map(|h| format!("{}={:?}", h.key, h.value.map(String::from_utf8_lossy))).collect()
                    })
                    .unwrap_or_default();
                let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
                let (key, value) = (text(message.key()), text(message.payload()));
                println!(
                    "{what}: {partition}@{} {key}={value:.30} {} {headers:?} {:?}",
                    message.offset(),
                    value.len(),
                    message.timestamp()
                );
            }
            Err(KafkaError::PartitionEOF(at)) => {
                println!("{what}: end of {at}");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Tells the story.
pub(crate) fn tell(broker: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let admin: AdminClient<DefaultClientContext> = client(broker, &[]).create()?;
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let topic = NewTopic::new(TOPIC, 2, TopicReplication::Fixed(1)).set("max.message.bytes", "1000000");
    println!("created: {:?}", runtime.block_on(admin.create_topics([&topic, &topic], &options))?);
    println!("created again: {:?}", runtime.block_on(admin.create_topics([&topic], &options))?);
    println!("grown: {:?}", runtime.block_on(admin.create_partitions([&NewPartitions::new(TOPIC, 3)], &options))?);

    for (codec, idempotent, acks) in [
        ("none", "true", "all"),
        ("gzip", "false", "1"),
        ("snappy", "true", "all"),
        ("lz4", "false", "0"),
        ("zstd", "true", "all"),
    ] {
        let more = [("compression.type", codec), ("enable.idempotence", idempotent), ("acks", acks)];
        let producer: BaseProducer = client(broker, &more).create()?;
        for number in 0..4 {
            send(&producer, 0, &number.to_string(), &format!("{codec} {}", "value ".repeat(1 + number * 50)))?;
        }
        producer.flush(PATIENCE)?;
    }
    let waits: BaseConsumer = client(broker, &[("group.id", "reads-alone")]).create()?;
    // Records that nobody acknowledges (acks=0) may still be on their way.
    while waits.fetch_watermarks(TOPIC, 0, PATIENCE)?.1 < 20 {}
    println!("offsets: {:?}", waits.fetch_watermarks(TOPIC, 0, PATIENCE)?);
    read(broker, "all", 0, 0, "read_uncommitted")?;

    let more = [
        ("group.id", GROUP),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("partition.assignment.strategy", "cooperative-sticky"),
    ];
    let consumer: BaseConsumer = client(broker, &more).create()?;
    consumer.subscribe(&[TOPIC])?;
    let mut seen = 0;
    while seen < 20 {
        // A poll that served a rebalance brings nothing.
        if let Some(message) = consumer.poll(PATIENCE) {
            message?;
            seen += 1;
        }
    }
    consumer.commit_consumer_state(CommitMode::Sync)?;
    println!(
        "committed: {:?}",
        consumer
            .committed(PATIENCE)?
            .elements_for_topic(TOPIC)
            .iter()
            .map(|e| (e.partition(), e.offset()))
            .collect::<Vec<_>>()
    );
    let groups = consumer.fetch_group_list(Some(GROUP), PATIENCE)?;
    for group in groups.groups() {
        println!(
            "group: {} {} {} {} {}",
            group.name(),
            group.state(),
            group.protocol(),
            group.protocol_type(),
            group.members().len()
        );
    }
    drop(consumer);

    let transactional = client(broker, &[("transactional.id", "librdkafka-transaction")]);
    let older: BaseProducer = transactional.create()?;
    older.init_transactions(PATIENCE)?;
    for commits in [true, false] {
        older.begin_transaction()?;
        send(&older, 1, "t", &format!("transaction {commits}"))?;
        older.flush(PATIENCE)?;
        if commits { older.commit_transaction(PATIENCE)? } else { older.abort_transaction(PATIENCE)? }
    }
    read(broker, "read committed", 1, 0, "read_committed")?;
    read(broker, "read uncommitted", 1, 0, "read_uncommitted")?;
    older.begin_transaction()?;
    let newer: BaseProducer = transactional.create()?;
    newer.init_transactions(PATIENCE)?;
    send(&older, 1, "t", "fenced")?;
    let ended = older.flush(PATIENCE).and_then(|()| older.commit_transaction(PATIENCE));
    println!("fenced: {:?}", ended.as_ref().map_err(name));
    read(broker, "after the fence", 1, 0, "read_uncommitted")?;

    let large: BaseProducer = client(broker, &[("message.max.bytes", "2000000")]).create()?;
    send(&large, 2, "large", &"x".repeat(1_000_001))?;
    large.flush(PATIENCE)?;
    println!("after a record that is too large: {:?}", waits.fetch_watermarks(TOPIC, 2, PATIENCE)?);
    println!("deleted: {:?}", runtime.block_on(admin.delete_groups(&[GROUP, "no-such-group"], &options))?);
    println!("deleted: {:?}", runtime.block_on(admin.delete_topics(&[TOPIC, "no-such-topic"], &options))?);
    match waits.fetch_watermarks("no-such-topic", 0, Duration::from_secs(5)) {
        Err(error) => println!("no such topic: {:?}", error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        Ok(offsets) => println!("no such topic: {offsets:?}"),
    }
    Ok(())
}
