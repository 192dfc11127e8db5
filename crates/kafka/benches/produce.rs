//! What a record costs on its way from a batch of the application into a request: partitioned, encoded, packed, checksummed.
//!
//! Without a network: the core runs against a cluster that takes everything at once. `cargo bench -p kurier-kafka --bench produce`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    BrokerId, InitProducerIdResponse, MetadataResponse, ProduceResponse, RequestKind, ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kurier_kafka::batch::Compression;
use kurier_kafka::producer::core::{Appended, Effect, Input, ProducerCore};
use kurier_kafka::producer::{Destination, ProduceBatch, Settings};

const RECORDS: u64 = 500;
const PARTITIONS: i32 = 4;
const TOPIC: &str = "orders";

fn batch(value: &[u8], keyed: bool) -> ProduceBatch {
    let (mut batch, topic) = (ProduceBatch::default(), Arc::from(TOPIC));
    for ticket in 0..RECORDS {
        let mut draft = batch.draft();
        let write = |part: &[u8], bytes: &mut Vec<u8>| {
            bytes.extend_from_slice(part);
            Ok::<_, ()>(true)
        };
        if keyed {
            draft.key(|bytes| write(&ticket.to_be_bytes(), bytes)).expect("copying does not fail");
        }
        draft.value(|bytes| write(value, bytes)).expect("copying does not fail");
        draft.finish(ticket, Destination { topic: &topic, partition: None, timestamp: None });
    }
    batch
}

/// A cluster of one that takes everything.
fn answer(request: &RequestKind) -> ResponseKind {
    match request {
        RequestKind::Metadata(_) => {
            let partitions = (0..PARTITIONS).map(|partition| {
                MetadataResponsePartition::default().with_partition_index(partition).with_leader_id(BrokerId(0))
            });
            let topic = MetadataResponseTopic::default()
                .with_name(Some(TopicName(StrBytes::from_static_str(TOPIC))))
                .with_partitions(partitions.collect());
            ResponseKind::Metadata(MetadataResponse::default().with_topics(vec![topic]))
        }
        RequestKind::Produce(request) => {
            let topics = request.topic_data.iter().map(|topic| {
                let partitions = topic.partition_data.iter().map(|data| {
                    black_box(&data.records);
                    PartitionProduceResponse::default().with_index(data.index)
                });
                TopicProduceResponse::default()
                    .with_name(topic.name.clone())
                    .with_partition_responses(partitions.collect())
            });
            ResponseKind::Produce(ProduceResponse::default().with_responses(topics.collect()))
        }
        _ => ResponseKind::InitProducerId(InitProducerIdResponse::default()),
    }
}

/// Lets the cluster answer all that was asked.
fn settle(core: &mut ProducerCore, now: Duration, effects: &mut Vec<Effect>) {
    while !effects.is_empty() {
        for effect in std::mem::take(effects) {
            if let Effect::Send { id, request, .. } = effect {
                core.step(now, Input::Answer { id, response: Ok(answer(&request)) }, effects);
            }
        }
    }
    core.take_deliveries();
}

fn send(core: &mut ProducerCore, now: &mut Duration, batch: &ProduceBatch, effects: &mut Vec<Effect>) {
    let mut from = 0;
    loop {
        let appended = core.append(*now, 1, batch, from, effects);
        settle(core, *now, effects);
        *now += Duration::from_millis(1);
        match appended {
            Appended::All => break,
            Appended::UpTo(at, _) => from = at,
        }
    }
}

fn produce(c: &mut Criterion) {
    let mut group = c.benchmark_group("produce");
    group.throughput(Throughput::Elements(RECORDS));
    let text: Vec<u8> = (0..1_000).map(|n| b"earthquakes of magnitude "[n % 25]).collect();
    let cases = [
        ("100_bytes", 100, false, Compression::None),
        ("100_bytes_keyed", 100, true, Compression::None),
        ("1_000_bytes", 1_000, false, Compression::None),
        ("100_bytes_lz4", 100, false, Compression::Lz4),
    ];
    for (name, size, keyed, compression) in cases {
        let batch = batch(&text[..size], keyed);
        let mut core = ProducerCore::new(Settings { compression, ..Settings::default() });
        let (mut now, mut effects) = (Duration::from_secs(1), Vec::new());
        group.bench_function(name, |b| b.iter(|| send(&mut core, &mut now, black_box(&batch), &mut effects)));
    }
    group.finish();
}

criterion_group!(benches, produce);
criterion_main!(benches);
