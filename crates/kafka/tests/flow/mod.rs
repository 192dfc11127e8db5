//! Records that flow for a while, for tests of what happens meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{Consumer, ConsumerConfig, TopicPartition};
use kurier_kafka::producer::{Destination, ProduceBatch, Producer, ProducerConfig};

const PATIENCE: Duration = Duration::from_secs(60);

/// Produces to a topic of one partition and consumes from it with clients of these properties for so long; answers how many records came, in order and once.
pub(crate) async fn flow(properties: &BTreeMap<String, String>, topic: &str, time: Duration) -> u64 {
    let end = Instant::now() + time;
    let producer = Producer::new(ProducerConfig::parse(properties).unwrap());
    let producing = {
        let topic = topic.to_owned();
        tokio::spawn(async move { produce_until(producer, &topic, end).await })
    };
    let consumer = Consumer::new(ConsumerConfig::parse(properties).unwrap());
    consumer.assign([TopicPartition::new(topic, 0)]);
    let (mut read, mut scratch, mut total) = (0_u64, Scratch::default(), u64::MAX);
    let mut producing = Some(producing);
    while read < total {
        if producing.as_ref().is_some_and(tokio::task::JoinHandle::is_finished) {
            total = producing.take().unwrap().await.unwrap();
        }
        assert!(Instant::now() < end + PATIENCE, "{read} of {total} are read");
        for batch in &consumer.poll(Instant::now() + Duration::from_millis(200)).await.unwrap().batches {
            for record in &batch.open(&mut scratch).unwrap() {
                let value = std::str::from_utf8(record.unwrap().value.unwrap()).unwrap().parse::<u64>().unwrap();
                assert_eq!(value, read, "in order and once");
                read += 1;
            }
        }
    }
    read
}

/// Sends a record with each ticket, one batch after another, until `end`; answers how many were acknowledged.
async fn produce_until(producer: Producer, topic: &str, end: Instant) -> u64 {
    let topic: Arc<str> = Arc::from(topic);
    let (mut sent, mut told) = (0_u64, 0_u64);
    while told < sent || Instant::now() < end {
        if Instant::now() < end {
            let mut batch = ProduceBatch::default();
            for ticket in sent..sent + 10 {
                let mut draft = batch.draft();
                draft
                    .value(|bytes| {
                        bytes.extend_from_slice(ticket.to_string().as_bytes());
                        Ok::<_, ()>(true)
                    })
                    .unwrap();
                draft.finish(ticket, Destination { topic: &topic, partition: Some(0), timestamp: None });
            }
            sent += 10;
            producer.send(&mut batch).await.unwrap();
        }
        assert!(Instant::now() < end + PATIENCE, "{told} of {sent} are told of");
        for delivery in producer.deliveries(Instant::now() + Duration::from_millis(20)).await {
            assert!(delivery.outcome.is_ok(), "{:?}", delivery.outcome);
            assert_eq!(delivery.tickets.start, told, "in order");
            told = delivery.tickets.end;
        }
    }
    told
}
