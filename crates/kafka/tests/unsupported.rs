//! A broker that does not offer what is asked of it: Java's clients then fail at once with `UnsupportedVersionException`, and so do these, instead of asking for ever.
#![expect(clippy::disallowed_methods, reason = "opens sockets, reads the clock, waits")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, MetadataResponse, RequestKind, ResponseKind, api_versions_response,
};
use kafka_protocol::protocol::StrBytes;
use kurier_kafka::consumer::{Consumer, ConsumerConfig, Subscription};
use kurier_kafka::producer::{DeliveryError, Destination, ProduceBatch, Producer, ProducerConfig};
use kurier_kafka::wire::{FrameReader, decode_request, encode_response};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

const UNSUPPORTED: &str = "org.apache.kafka.common.errors.UnsupportedVersionException";
/// Far beyond "at once", on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers ApiVersions and Metadata, and offers nothing else; every topic has one partition, led by itself.
async fn serve(listener: TcpListener, port: u16) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, port));
    }
}

async fn converse(stream: TcpStream, port: u16) {
    let (reader, mut writer) = stream.into_split();
    let mut frames = FrameReader::new(reader, 1 << 20);
    while let Ok(Some(frame)) = frames.next().await {
        let request = decode_request(frame).unwrap();
        let response = match request.body {
            RequestKind::ApiVersions(_) => {
                let metadata = api_versions_response::ApiVersion::default()
                    .with_api_key(ApiKey::Metadata as i16)
                    .with_max_version(12);
                ResponseKind::ApiVersions(ApiVersionsResponse::default().with_api_keys(vec![metadata]))
            }
            RequestKind::Metadata(asked) => {
                let broker = MetadataResponseBroker::default()
                    .with_node_id(BrokerId(1))
                    .with_host(StrBytes::from_static_str("127.0.0.1"))
                    .with_port(port.into());
                let topics = asked.topics.unwrap_or_default().into_iter().map(|topic| {
                    let partition = MetadataResponsePartition::default().with_leader_id(BrokerId(1));
                    MetadataResponseTopic::default().with_name(topic.name).with_partitions(vec![partition])
                });
                let response = MetadataResponse::default().with_brokers(vec![broker]).with_topics(topics.collect());
                ResponseKind::Metadata(response)
            }
            other => panic!("asked for {other:?}, which is not offered"),
        };
        let header = &request.header;
        let frame = encode_response(header.correlation_id, header.request_api_version, &response).unwrap();
        if writer.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Runs a test against such a broker.
fn run<T: Future<Output = ()>>(test: impl FnOnce(String) -> T) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(serve(listener, port));
        tokio::time::timeout(PATIENCE, test(format!("127.0.0.1:{port}"))).await.expect("it fails at once");
        server.abort();
    });
}

fn properties(address: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let all = [("bootstrap.servers", address), ("max.block.ms", "3600000"), ("delivery.timeout.ms", "3600000")];
    let all = all.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    all.collect()
}

/// Sends one record; answers why it was given up.
async fn refused_record(producer: &Producer) -> DeliveryError {
    let topic: Arc<str> = "t".into();
    let mut batch = ProduceBatch::default();
    batch.draft().finish(1, Destination { topic: &topic, partition: None, timestamp: None });
    producer.send(&mut batch).await.unwrap();
    producer.flush().await;
    producer.take_deliveries().remove(0).outcome.unwrap_err()
}

#[test]
fn a_producer_tells_of_the_request_that_is_not_offered() {
    for (settings, missing) in
        [(&[("enable.idempotence", "true")][..], "InitProducerId"), (&[("acks", "1")][..], "Produce")]
    {
        run(async |address| {
            let producer = Producer::new(ProducerConfig::parse(&properties(&address, settings)).unwrap());
            let error = refused_record(&producer).await;
            assert_eq!(error.class, UNSUPPORTED, "{error}");
            assert!(error.message.contains(missing), "{error}");
        });
    }
}

#[test]
fn a_transactional_producer_does_not_look_for_its_coordinator_for_ever() {
    run(async |address| {
        let settings = [("transactional.id", "t")];
        let producer = Producer::new(ProducerConfig::parse(&properties(&address, &settings)).unwrap());
        let error = producer.init_transactions().await.unwrap_err();
        assert_eq!(error.class, UNSUPPORTED, "{error}");
        assert!(error.message.contains("FindCoordinator"), "{error}");
    });
}

#[test]
fn a_member_does_not_look_for_its_coordinator_for_ever() {
    run(async |address| {
        let all = [("bootstrap.servers", &*address), ("group.id", "g"), ("auto.offset.reset", "earliest")];
        let all = all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let consumer = Consumer::new(ConsumerConfig::parse(&all).unwrap());
        consumer.subscribe(Subscription::Topics(vec!["t".to_owned()])).unwrap();
        let error = consumer.poll(Instant::now() + PATIENCE).await.unwrap_err();
        let expected = "the coordinator of group `g` refused this member in FindCoordinator: UnsupportedVersion";
        assert_eq!(error.to_string(), expected);
    });
}
