//! What comes of an operation under some properties, from our clients and from Java's (`tests/java/clients/ClientVerdicts.java`) in the same words.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kurier_harness::{Java, workspace_root};
use kurier_kafka::admin::{Admin, AdminConfig, AdminError, ConfigResource, Outcomes, TopicLayout, TopicToCreate};
use kurier_kafka::consumer::{
    Consumer, ConsumerConfig, ConsumerError, Isolation, OffsetAndMetadata, OffsetSpec, Subscription, TopicPartition,
};
use kurier_kafka::error::KafkaError;
use kurier_kafka::group::GroupMetadata;
use kurier_kafka::producer::{DeliveryError, Destination, ProduceBatch, Producer, ProducerConfig};

/// How long records are waited for, as in Java's twin.
const PATIENCE: Duration = Duration::from_secs(30);

/// An operation on a topic and in the name of a group.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) operation: &'static str,
    pub(crate) topic: String,
    pub(crate) group: String,
    pub(crate) properties: BTreeMap<String, String>,
}

/// What Java's clients come to.
pub(crate) fn java(java: &Java, attempts: &[Attempt]) -> Vec<String> {
    let lines = attempts.iter().map(|attempt| {
        let properties: String = attempt.properties.iter().map(|(key, value)| format!("\t{key}={value}")).collect();
        format!("{}\t{}\t{}{properties}\n", attempt.operation, attempt.topic, attempt.group)
    });
    let program = workspace_root().join("tests/java/clients/ClientVerdicts.java").display().to_string();
    let printed = java.run(&program, &[], lines.collect::<String>().as_bytes()).unwrap();
    printed.lines().filter_map(|line| line.strip_prefix("verdict\t")).map(str::to_owned).collect()
}

/// What ours come to, all at a time.
pub(crate) async fn ours(attempts: &[Attempt]) -> Vec<String> {
    let running: Vec<_> = attempts.iter().cloned().map(|attempt| tokio::spawn(one(attempt))).collect();
    let mut verdicts = Vec::new();
    for running in running {
        verdicts.push(running.await.unwrap());
    }
    verdicts
}

async fn one(attempt: Attempt) -> String {
    let verdict = match attempt.operation {
        "send" | "partitions" => produce(&attempt).await,
        "transaction" => return transaction(&attempt).await,
        "subscribe" | "assign" | "commit" | "committed" | "end" | "consumer-partitions" => consume(&attempt).await,
        _ => administer(&attempt).await,
    };
    verdict.map_or_else(|error| error, |()| "ok".to_owned())
}

fn told(error: &KafkaError) -> String {
    format!("{}: {error}", error.simple_class())
}

fn not_delivered(error: &DeliveryError) -> String {
    format!("{}: {}", error.class.rsplit('.').next().unwrap(), error.message)
}

fn not_consumed(error: &ConsumerError) -> String {
    format!("{}: {error}", error.class().rsplit('.').next().unwrap())
}

/// Sends a record and waits for what becomes of it.
async fn send(producer: &Producer, topic: &str) -> Result<(), DeliveryError> {
    let topic: Arc<str> = topic.into();
    let mut batch = ProduceBatch::default();
    let mut draft = batch.draft();
    draft
        .value(|bytes| {
            bytes.push(0);
            Ok::<_, ()>(true)
        })
        .unwrap();
    draft.finish(1, Destination { topic: &topic, partition: None, timestamp: None });
    producer.send(&mut batch).await.unwrap();
    producer.flush().await;
    producer.take_deliveries().remove(0).outcome.map(drop)
}

async fn produce(attempt: &Attempt) -> Result<(), String> {
    let producer = Producer::new(ProducerConfig::parse(&attempt.properties).unwrap());
    let verdict = match attempt.operation {
        "send" => send(&producer, &attempt.topic).await,
        _ => producer.partitions_for(&attempt.topic).await.map(drop),
    };
    verdict.map_err(|error| not_delivered(&error))
}

/// The step that failed, why, and whether an abort mends it.
async fn transaction(attempt: &Attempt) -> String {
    let producer = Producer::new(ProducerConfig::parse(&attempt.properties).unwrap());
    let offsets = [(TopicPartition::new(attempt.topic.as_str(), 0), OffsetAndMetadata::new(1))].into();
    let mut step = "init";
    let verdict: Result<(), String> = async {
        producer.init_transactions().await.map_err(|error| told(&error))?;
        producer.begin().map_err(|error| told(&error))?;
        step = "send";
        send(&producer, &attempt.topic).await.map_err(|error| not_delivered(&error))?;
        step = "offsets";
        let group = GroupMetadata::of_group(&*attempt.group);
        producer.send_offsets(&offsets, &group).await.map_err(|error| told(&error))?;
        step = "commit";
        producer.commit().await.map_err(|error| told(&error))
    }
    .await;
    match verdict {
        Ok(()) => "ok".to_owned(),
        Err(why) if step == "init" => format!("{step}: {why}"),
        Err(why) => {
            let is_mended = producer.abort().await.is_ok() && producer.begin().is_ok();
            format!("{step}: {why} ({})", if is_mended { "abortable" } else { "fatal" })
        }
    }
}

async fn consume(attempt: &Attempt) -> Result<(), String> {
    let mut properties = attempt.properties.clone();
    properties.insert("group.id".to_owned(), attempt.group.clone());
    let consumer = Consumer::new(ConsumerConfig::parse(&properties).unwrap());
    let partition = TopicPartition::new(attempt.topic.as_str(), 0);
    let verdict = match attempt.operation {
        "subscribe" => {
            consumer.subscribe(Subscription::Topics(vec![attempt.topic.clone()])).unwrap();
            match read(&consumer).await {
                Ok(()) => consumer.commit_positions().await,
                failed => failed,
            }
        }
        "assign" => {
            consumer.assign([partition]);
            read(&consumer).await
        }
        "commit" => {
            consumer.assign([partition.clone()]);
            consumer.commit([(partition, OffsetAndMetadata::new(1))].into()).await
        }
        "committed" => consumer.committed([partition]).await.map(drop),
        "end" => consumer.end_offsets([partition]).await.map(drop),
        _ => consumer.partitions_for(&attempt.topic).await.map(drop),
    };
    // How it ends is no matter here.
    let _ = consumer.close(Duration::from_secs(1)).await;
    verdict.map_err(|error| not_consumed(&error))
}

/// Polls until records come.
async fn read(consumer: &Consumer) -> Result<(), ConsumerError> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if !consumer.poll(end).await?.batches.is_empty() {
            return Ok(());
        }
    }
    Err(ConsumerError::Timeout { what: "a record came".to_owned(), timeout: PATIENCE })
}

async fn administer(attempt: &Attempt) -> Result<(), String> {
    let admin = Admin::new(AdminConfig::parse(&attempt.properties).unwrap());
    let (topic, group) = (&*attempt.topic, &*attempt.group);
    let partition = TopicPartition::new(topic, 0);
    let outcome = match attempt.operation {
        "list-topics" => admin.list_topics().await.map(drop),
        "describe-topic" => return first(admin.describe_topics(&[topic]).await),
        "create-topic" => {
            let layout = TopicLayout::Counted { partitions: Some(1), replicas: Some(1) };
            let wanted = TopicToCreate { name: topic.to_owned(), layout, config: BTreeMap::new() };
            return first(admin.create_topics(&[wanted], false).await);
        }
        "delete-topic" => return first(admin.delete_topics(&[topic]).await),
        "describe-config" => admin.describe_configs(&ConfigResource::Topic(topic.to_owned()), None).await.map(drop),
        "delete-records" => return first(admin.delete_records(&[(partition, 0)].into()).await),
        "list-offsets" => {
            return first(admin.list_offsets(&[(partition, OffsetSpec::End)].into(), Isolation::ReadUncommitted).await);
        }
        "group-offsets" => admin.group_offsets(group).await.map(drop),
        "alter-group-offsets" => {
            return first(admin.alter_group_offsets(group, &[(partition, OffsetAndMetadata::new(0))].into()).await);
        }
        "describe-group" => admin.describe_group(group).await.map(drop),
        "delete-group" => admin.delete_group(group).await,
        other => panic!("no such operation: {other}"),
    };
    outcome.map_err(|error| told(&error.into_kafka()))
}

/// The outcome of what was asked for alone.
fn first<K, T>(outcomes: Result<Outcomes<K, T>, AdminError>) -> Result<(), String> {
    let outcomes = outcomes.map_err(|error| told(&error.into_kafka()))?;
    outcomes.into_values().next().unwrap().map(drop).map_err(|error| told(&error))
}
