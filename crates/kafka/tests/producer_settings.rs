//! What settings of a producer mean to its core, where Java's meaning is finer than their names: tries are counted for each batch, a request is no larger than
//! `max.request.size`, and a topic without records is forgotten.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    BrokerId, InitProducerIdResponse, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, RequestKind,
    ResponseKind,
};
use kurier_kafka::group::RequestId;
use kurier_kafka::net::TransportError;
use kurier_kafka::producer::core::{Appended, Effect, Input, ProducerCore};
use kurier_kafka::producer::{Destination, ProduceBatch, Settings};

/// The core with a cluster of one broker, answering its requests by hand.
struct Bench {
    core: ProducerCore,
    now: Duration,
    effects: Vec<Effect>,
    partitions: i32,
    next_ticket: u64,
    metadata: Vec<MetadataRequest>,
}

impl Bench {
    fn new(settings: Settings, partitions: i32) -> Self {
        let core = ProducerCore::new(settings);
        Self {
            core,
            now: Duration::from_secs(1),
            effects: Vec::new(),
            partitions,
            next_ticket: 0,
            metadata: Vec::new(),
        }
    }

    /// Hands one record of `bytes` to each of these partitions, whatever has to be asked for before.
    fn send(&mut self, topic: &str, partitions: std::ops::Range<i32>, bytes: usize) {
        let (topic, mut batch, mut from): (Arc<str>, _, _) = (topic.into(), ProduceBatch::default(), 0);
        for partition in partitions {
            let mut draft = batch.draft();
            let value = draft.value(|value| {
                value.resize(value.len() + bytes, b'x');
                Ok::<_, ()>(true)
            });
            value.unwrap();
            draft.finish(
                self.next_ticket,
                Destination { topic: &topic, partition: Some(partition), timestamp: Some(1) },
            );
            self.next_ticket += 1;
        }
        loop {
            match self.core.append(self.now, 1, &batch, from, &mut self.effects) {
                Appended::All => break,
                Appended::UpTo(at, _) => from = at,
            }
            if self.effects.is_empty() {
                self.tick();
            }
            let produced = self.produced();
            assert!(produced.is_empty(), "nothing is known of the topic yet");
        }
    }

    /// Lets time pass until there is something to do.
    fn tick(&mut self) {
        self.now = self.core.next_deadline(self.now).expect("there is something to come");
        self.core.step(self.now, Input::Tick, &mut self.effects);
    }

    /// The Produce requests that are to be sent; all others are answered.
    fn produced(&mut self) -> Vec<(RequestId, ProduceRequest)> {
        let mut produced = Vec::new();
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                let Effect::Send { id, request, .. } = effect else { continue };
                let response = match *request {
                    RequestKind::Produce(request) => {
                        produced.push((id, request));
                        continue;
                    }
                    RequestKind::Metadata(request) => {
                        let response = self.known(&request);
                        self.metadata.push(request);
                        ResponseKind::Metadata(response)
                    }
                    _ => ResponseKind::InitProducerId(InitProducerIdResponse::default()),
                };
                self.core.step(self.now, Input::Answer { id, response: Ok(response) }, &mut self.effects);
            }
        }
        produced
    }

    fn known(&self, request: &MetadataRequest) -> MetadataResponse {
        let broker = MetadataResponseBroker::default().with_node_id(BrokerId(1)).with_port(9092);
        let partition = |partition| {
            MetadataResponsePartition::default().with_partition_index(partition).with_leader_id(BrokerId(1))
        };
        let topics = request.topics.iter().flatten().map(|topic| {
            let partitions = (0..self.partitions).map(partition).collect();
            MetadataResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
        });
        MetadataResponse::default().with_brokers(vec![broker]).with_topics(topics.collect())
    }

    /// Lets time pass until something is to be sent.
    fn wait(&mut self) -> Vec<(RequestId, ProduceRequest)> {
        loop {
            let produced = self.produced();
            if !produced.is_empty() {
                return produced;
            }
            self.tick();
        }
    }

    fn answer(&mut self, id: RequestId, response: Result<ResponseKind, TransportError>) {
        self.core.step(self.now, Input::Answer { id, response }, &mut self.effects);
    }

    fn take(&mut self, (id, request): &(RequestId, ProduceRequest)) {
        let topics = request.topic_data.iter().map(|topic| {
            let taken =
                topic.partition_data.iter().map(|data| PartitionProduceResponse::default().with_index(data.index));
            TopicProduceResponse::default().with_name(topic.name.clone()).with_partition_responses(taken.collect())
        });
        let response = ProduceResponse::default().with_responses(topics.collect());
        self.answer(*id, Ok(ResponseKind::Produce(response)));
    }

    /// Records that failed.
    fn failed(&mut self) -> Vec<String> {
        self.core.take_deliveries().into_iter().filter_map(|told| Some(told.outcome.err()?.class.to_owned())).collect()
    }
}

/// Five batches in flight are lost together: each is tried as often as `retries` says, and waits as long as one alone would.
#[test]
fn tries_are_counted_for_each_batch() {
    let settings = Settings { linger: Duration::ZERO, retries: 2, ..Settings::default() };
    let backoff = settings.retry_backoff;
    let mut bench = Bench::new(settings, 1);
    // The broker has to know the producer before five may fly.
    bench.send("t", 0..1, 10);
    let first = bench.wait().remove(0);
    bench.take(&first);
    let mut flying = Vec::new();
    for _ in 0..5 {
        bench.send("t", 0..1, 10);
        flying.extend(bench.produced());
    }
    assert_eq!(flying.len(), 5);
    let lost = bench.now;
    for (id, _) in flying {
        bench.answer(id, Err(TransportError::Unanswered));
    }
    // They go again one at a time; the first is lost once more, and then all arrive.
    let again = bench.wait().remove(0);
    assert!(bench.now - lost <= backoff.mul_f64(1.2), "it waited {:?}", bench.now - lost);
    bench.answer(again.0, Err(TransportError::Unanswered));
    for _ in 0..5 {
        let again = bench.wait().remove(0);
        bench.take(&again);
    }
    assert_eq!((bench.failed(), bench.core.buffered()), (vec![], 0));

    // One that is never answered is sent three times.
    bench.send("t", 0..1, 10);
    for _ in 0..3 {
        let (id, _) = bench.wait().remove(0);
        assert!(bench.failed().is_empty());
        bench.answer(id, Err(TransportError::Unanswered));
    }
    assert_eq!(bench.failed(), ["org.apache.kafka.common.errors.NetworkException"]);
}

#[test]
fn a_request_is_no_larger_than_a_producer_may_send() {
    let settings = Settings { linger: Duration::ZERO, max_request_bytes: 10_000, ..Settings::default() };
    let mut bench = Bench::new(settings, 20);
    bench.send("t", 0..20, 3_000);
    let (mut partitions, mut requests) = (0, 0);
    while partitions < 20 {
        for produced in bench.wait() {
            let batches = produced.1.topic_data.iter().flat_map(|topic| &topic.partition_data);
            let sizes: Vec<usize> =
                batches.map(|data| data.records.as_ref().map_or(0, |records| records.len())).collect();
            assert!(sizes.iter().sum::<usize>() <= 10_000, "{sizes:?}");
            partitions += sizes.len();
            requests += 1;
            bench.take(&produced);
        }
    }
    assert_eq!((partitions, requests), (20, 7));
    assert!(bench.failed().is_empty());
}

/// Whoever asks for a topic may create it, so a topic that was deleted would come back for as long as a producer lives that once wrote to it.
#[test]
fn a_topic_without_records_is_asked_about_no_more() {
    let settings = Settings {
        linger: Duration::ZERO,
        metadata_max_age: Duration::from_secs(1),
        metadata_max_idle: Duration::from_secs(5),
        ..Settings::default()
    };
    let mut bench = Bench::new(settings, 1);
    let asked = |bench: &mut Bench| -> Vec<Vec<String>> {
        let names = |request: MetadataRequest| -> Vec<String> {
            request.topics.iter().flatten().map(|topic| topic.name.as_ref().unwrap().to_string()).collect()
        };
        std::mem::take(&mut bench.metadata).into_iter().map(names).collect()
    };
    bench.send("left", 0..1, 10);
    let first = bench.wait().remove(0);
    bench.take(&first);
    let end = bench.now + Duration::from_secs(60);
    while bench.now < end {
        bench.send("kept", 0..1, 10);
        for produced in bench.wait() {
            bench.take(&produced);
        }
        bench.now += Duration::from_millis(700);
    }
    let asked_so_far = asked(&mut bench);
    assert!(asked_so_far.len() > 40, "{asked_so_far:?}");
    let left = asked_so_far.iter().filter(|topics| topics.contains(&"left".to_owned())).count();
    assert!((2..9).contains(&left), "{asked_so_far:?}");
    // With nothing to send to anybody, nothing is asked.
    bench.core.step(bench.now, Input::Tick, &mut bench.effects);
    assert!(bench.produced().is_empty());
    while let Some(at) = bench.core.next_deadline(bench.now) {
        bench.now = at;
        bench.core.step(bench.now, Input::Tick, &mut bench.effects);
        assert!(bench.produced().is_empty());
    }
    asked(&mut bench);
    // A record brings it back.
    bench.send("left", 0..1, 10);
    let again = bench.wait().remove(0);
    bench.take(&again);
    assert_eq!(asked(&mut bench), [["left"]]);
    assert!(bench.failed().is_empty());
}
