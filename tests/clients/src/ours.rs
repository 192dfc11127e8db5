//! The work done by Kurier's client.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{Consumer, ConsumerConfig, TopicPartition};
use kurier_kafka::producer::{Delivery, Destination, ProduceBatch, Producer, ProducerConfig};
use serde_json::{Value as Json, json};

use crate::task::{Action, Stopwatch, Task, memory_and_threads};

/// Bytes that are handed over at a time: they are still in the processor's nearest memory when the producer takes them.
const HANDED_OVER: usize = 64 << 10;

pub(crate) fn run(task: &Task) -> Result<Json> {
    // One thread: what is sent then is still in the processor's nearest memory, and a client is not more than it needs.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match task.action {
            Action::Produce => produce(task).await,
            Action::Consume => consume(task).await,
            Action::Idle => idle(task).await,
        }
    })
}

fn properties(task: &Task, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut properties = task.properties.clone();
    properties.insert("bootstrap.servers".to_owned(), task.bootstrap.clone());
    properties.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    properties
}

fn count(deliveries: Vec<Delivery>, told: &mut u64) -> Result<()> {
    for delivery in deliveries {
        delivery.outcome?;
        *told += delivery.tickets.end - delivery.tickets.start;
    }
    Ok(())
}

async fn produce(task: &Task) -> Result<Json> {
    let producer = Producer::new(ProducerConfig::parse(&properties(task, &[]))?);
    let topic: Arc<str> = task.topic.as_str().into();
    producer.partitions_for(&topic).await?;
    let values = task.values();
    let mut next = values.iter().cycle();
    let watch = Stopwatch::start();
    let (mut batch, mut sent, mut told) = (ProduceBatch::default(), 0, 0);
    while sent < task.records {
        for (ticket, value) in (sent..task.records).zip(&mut next) {
            let mut draft = batch.draft();
            draft.value(|bytes| {
                bytes.extend_from_slice(value);
                Ok::<_, Infallible>(true)
            })?;
            draft.finish(ticket, Destination { topic: &topic, partition: None, timestamp: None });
            if batch.bytes() >= HANDED_OVER {
                break;
            }
        }
        sent += batch.len() as u64;
        producer.send(&mut batch).await?;
        count(producer.take_deliveries(), &mut told)?;
    }
    while told < task.records {
        count(producer.deliveries(Instant::now() + Duration::from_secs(1)).await, &mut told)?;
    }
    Ok(watch.stop(told, told * task.size as u64))
}

async fn consume(task: &Task) -> Result<Json> {
    let more = [("auto.offset.reset", "earliest"), ("max.poll.records", "100000")];
    let consumer = Consumer::new(ConsumerConfig::parse(&properties(task, &more))?);
    let partitions = consumer.partitions_for(&task.topic).await?;
    let watch = Stopwatch::start();
    consumer.assign(partitions);
    let mut scratch = Scratch::default();
    let (mut records, mut bytes, mut look) = (0_u64, 0_u64, 0_u8);
    while records < task.records {
        let polled = consumer.poll(Instant::now() + Duration::from_secs(1)).await?;
        for batch in &polled.batches {
            for record in &batch.open(&mut scratch)? {
                let value = record?.value.unwrap_or_default();
                records += 1;
                bytes += value.len() as u64;
                look ^= value.last().copied().unwrap_or_default();
            }
        }
    }
    let figures = watch.stop(records, bytes);
    std::hint::black_box(look);
    consumer.close(Duration::from_secs(5)).await?;
    Ok(figures)
}

async fn idle(task: &Task) -> Result<Json> {
    let mut consumers = Vec::new();
    for _ in 0..task.clients {
        let consumer = Consumer::new(ConsumerConfig::parse(&properties(task, &[("auto.offset.reset", "latest")]))?);
        consumer.assign(vec![TopicPartition { topic: task.topic.as_str().into(), partition: 0 }]);
        consumers.push(consumer);
    }
    let until = Instant::now() + task.idle;
    let watch = Stopwatch::start();
    while Instant::now() < until {
        for consumer in &consumers {
            consumer.poll(Instant::now()).await?;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut figures = watch.stop(0, 0);
    let (memory, threads) = memory_and_threads()?;
    figures["resident_bytes"] = json!(memory);
    figures["threads"] = json!(threads);
    Ok(figures)
}
