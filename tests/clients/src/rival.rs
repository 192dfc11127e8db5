//! The work done by librdkafka, through the crate `rdkafka`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value as Json, json};

use crate::task::{Action, Stopwatch, Task, memory_and_threads};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(task: &Task) -> Result<Json> {
    match task.action {
        Action::Produce => produce(task),
        Action::Consume => consume(task),
        Action::Idle => idle(task),
    }
}

fn config(task: &Task) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &task.bootstrap);
    for (key, value) in &task.properties {
        config.set(key, value);
    }
    config
}

/// Counts what became of records.
#[derive(Default)]
struct Counts {
    arrived: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Counts {}

impl ProducerContext for Counts {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() { &self.arrived } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn produce(task: &Task) -> Result<Json> {
    let mut config = config(task);
    config.set("queue.buffering.max.messages", "1000000").set("queue.buffering.max.kbytes", "131072");
    let producer: BaseProducer<Counts> = config.create_with_context(Counts::default())?;
    producer.client().fetch_metadata(Some(&task.topic), PATIENCE)?;
    let values = task.values();
    let mut next = values.iter().cycle();
    let watch = Stopwatch::start();
    for _ in 0..task.records {
        let value = next.next().context("a cycle does not end")?;
        let mut record = BaseRecord::<(), _>::to(&task.topic).payload(value);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
    producer.flush(PATIENCE)?;
    let counts = producer.context();
    let (arrived, failed) = (counts.arrived.load(Ordering::Relaxed), counts.failed.load(Ordering::Relaxed));
    if failed > 0 || arrived < task.records {
        bail!("{arrived} of {} records arrived, {failed} failed", task.records);
    }
    Ok(watch.stop(arrived, arrived * task.size as u64))
}

fn at(task: &Task, offset: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&task.topic, 0, offset)?;
    Ok(list)
}

fn consume(task: &Task) -> Result<Json> {
    let consumer: BaseConsumer = config(task).set("group.id", "bench").set("enable.auto.commit", "false").create()?;
    consumer.fetch_metadata(Some(&task.topic), PATIENCE)?;
    let watch = Stopwatch::start();
    consumer.assign(&at(task, Offset::Beginning)?)?;
    let (mut records, mut bytes, mut look) = (0_u64, 0_u64, 0_u8);
    while records < task.records {
        let Some(message) = consumer.poll(Duration::from_secs(1)) else { continue };
        let message = message?;
        let value = message.payload().unwrap_or_default();
        records += 1;
        bytes += value.len() as u64;
        look ^= value.last().copied().unwrap_or_default();
    }
    let figures = watch.stop(records, bytes);
    std::hint::black_box(look);
    Ok(figures)
}

fn idle(task: &Task) -> Result<Json> {
    let mut consumers: Vec<BaseConsumer> = Vec::new();
    for _ in 0..task.clients {
        let consumer: BaseConsumer =
            config(task).set("group.id", "bench").set("enable.auto.commit", "false").create()?;
        consumer.assign(&at(task, Offset::End)?)?;
        consumers.push(consumer);
    }
    let until = Instant::now() + task.idle;
    let watch = Stopwatch::start();
    while Instant::now() < until {
        for consumer in &consumers {
            if let Some(message) = consumer.poll(Duration::ZERO) {
                message?;
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut figures = watch.stop(0, 0);
    let (memory, threads) = memory_and_threads()?;
    figures["resident_bytes"] = json!(memory);
    figures["threads"] = json!(threads);
    Ok(figures)
}
