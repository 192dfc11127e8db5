//! Where records without a key go, by the producer's core alone: partitions without a leader and slow brokers get fewer, and a batch stays together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    BrokerId, InitProducerIdResponse, MetadataResponse, ProduceRequest, ProduceResponse, RequestKind, ResponseKind,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kurier_kafka::net::Target;
use kurier_kafka::producer::core::{Appended, Effect, Input, ProducerCore};
use kurier_kafka::producer::{Destination, ProduceBatch, Settings};

const TOPIC: &str = "orders";
/// The broker that never answers a produce request.
const SLOW: i32 = 9;

/// Metadata with a leader for each partition; -1 is none.
fn metadata(leaders: &[i32]) -> ResponseKind {
    let partitions = (0..).zip(leaders).map(|(partition, leader)| {
        MetadataResponsePartition::default().with_partition_index(partition).with_leader_id(BrokerId(*leader))
    });
    let topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str(TOPIC))))
        .with_partitions(partitions.collect());
    ResponseKind::Metadata(MetadataResponse::default().with_topics(vec![topic]))
}

fn taken(request: &ProduceRequest) -> ResponseKind {
    let topics = request.topic_data.iter().map(|topic| {
        let partitions =
            topic.partition_data.iter().map(|data| PartitionProduceResponse::default().with_index(data.index));
        TopicProduceResponse::default().with_name(topic.name.clone()).with_partition_responses(partitions.collect())
    });
    ResponseKind::Produce(ProduceResponse::default().with_responses(topics.collect()))
}

/// Sends so many records of 100 bytes, ten at a time, and answers the partitions that they went to, in order.
fn sent(settings: Settings, leaders: &[i32], records: u64) -> Vec<i32> {
    let mut core = ProducerCore::new(settings);
    let (mut now, mut effects, topic) = (Duration::ZERO, Vec::new(), Arc::from(TOPIC));
    let mut places = BTreeMap::new();
    for first in (0..records).step_by(10) {
        let mut batch = ProduceBatch::default();
        for ticket in first..records.min(first + 10) {
            let mut draft = batch.draft();
            draft
                .value(|bytes| {
                    bytes.extend_from_slice(&[b'x'; 100]);
                    Ok::<_, ()>(true)
                })
                .unwrap();
            draft.finish(ticket, Destination { topic: &topic, partition: None, timestamp: None });
        }
        let mut from = 0;
        loop {
            let appended = core.append(now, 1, &batch, from, &mut effects);
            while !effects.is_empty() {
                for effect in std::mem::take(&mut effects) {
                    let Effect::Send { id, to, request, .. } = effect else { continue };
                    let response = match &*request {
                        RequestKind::Metadata(_) => metadata(leaders),
                        RequestKind::Produce(_) if to == Target::Node(SLOW) => continue,
                        RequestKind::Produce(request) => taken(request),
                        _ => ResponseKind::InitProducerId(InitProducerIdResponse::default()),
                    };
                    core.step(now, Input::Answer { id, response: Ok(response) }, &mut effects);
                }
            }
            now += Duration::from_millis(1);
            match appended {
                Appended::All => break,
                Appended::UpTo(at, _) => from = at,
            }
        }
        for delivery in core.take_deliveries() {
            let (place, _) = delivery.outcome.unwrap();
            places.extend(delivery.tickets.map(|ticket| (ticket, place.partition)));
        }
    }
    places.into_values().collect()
}

/// How many records each partition got.
fn counts(sent: &[i32]) -> BTreeMap<i32, usize> {
    let mut counts = BTreeMap::new();
    sent.iter().for_each(|partition| *counts.entry(*partition).or_default() += 1);
    counts
}

#[test]
fn a_partition_without_a_leader_gets_nothing_and_the_others_equal_shares() {
    let settings = Settings { batch_bytes: 1_000, linger: Duration::ZERO, ..Settings::default() };
    let counts = counts(&sent(settings, &[0, 0, -1, 0], 12_000));
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [0, 1, 3]);
    assert!(counts.values().all(|count| (3_000..5_000).contains(count)), "{counts:?}");
}

#[test]
fn a_batch_stays_together() {
    let sent = sent(Settings::default(), &[0, 0, 0, 0], 2_000);
    let turns: Vec<usize> = sent.chunk_by(|a, b| a == b).map(<[i32]>::len).collect();
    // What fits into a batch goes to one partition; the same one may have the next turn too. The last turn is under way.
    let (_, whole) = turns.split_last().unwrap();
    let batch = whole.iter().min().unwrap();
    assert!(*batch >= 16_000 / 110 && whole.iter().all(|turn| turn % batch == 0), "{turns:?}");
}

#[test]
fn a_broker_that_lags_behind_gets_less_unless_all_shall_be_alike() {
    let share = |adaptive| {
        let settings = Settings { batch_bytes: 1_000, linger: Duration::ZERO, adaptive, ..Settings::default() };
        // What the slow broker has is never told of, so it is what is missing.
        12_000 - sent(settings, &[0, SLOW], 12_000).len()
    };
    let (adaptive, alike) = (share(true), share(false));
    assert!(adaptive < 4_500 && (5_000..7_000).contains(&alike), "{adaptive} and {alike} of 12000");
}

#[test]
fn the_seed_says_where_it_begins() {
    let first = |seed| sent(Settings { seed, linger: Duration::ZERO, ..Settings::default() }, &[0; 8], 1)[0];
    let counts = counts(&(0..80).map(first).collect::<Vec<_>>());
    assert_eq!(counts.len(), 8, "{counts:?}");
    assert_eq!(first(3), first(3));
}

#[test]
fn round_robin_takes_turns_record_by_record() {
    let settings = Settings { round_robin: true, ignore_keys: true, linger: Duration::ZERO, ..Settings::default() };
    assert_eq!(sent(settings, &[0, -1, 0, 0], 7), [0, 2, 3, 0, 2, 3, 0]);
}
