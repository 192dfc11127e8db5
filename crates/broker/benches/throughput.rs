//! Bytes a second through the server over the loopback, with clients that do nothing but send and take bytes: the broker is the limit.
//!
//! `cargo bench -p kurier-broker` prints produce and fetch, on disk and in memory, and what copying the same bytes through a socket
//! costs without a broker.

#![expect(clippy::disallowed_methods, reason = "driver: measures time with real sockets")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, FetchRequest, MetadataRequest, ProduceRequest, RequestKind, ResponseKind, TopicName,
};
use kurier_broker::{Broker, BrokerConfig};
use kurier_kafka::batch::{Builder, BuilderOptions};
use kurier_kafka::wire::{decode_response_kind, encode_request_kind};

/// Bytes that go through in one measurement.
const TOTAL: usize = 1 << 28;
/// Requests that are under way at a time, as a producer's `max.in.flight.requests.per.connection`.
const IN_FLIGHT: usize = 5;
const TOPIC: &str = "bench";

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts");
    let folder = tempfile::tempdir().expect("there is room for a folder");
    report("socket alone", TOTAL, socket_alone());
    for (name, config) in [("memory", BrokerConfig::default()), ("disk", BrokerConfig::in_dir(folder.path()))] {
        for batch_bytes in [16 << 10, 512 << 10] {
            let topic_config = ("max.message.bytes".to_owned(), "2000000".to_owned());
            let config = BrokerConfig { topic_defaults: vec![topic_config], ..config.clone() };
            let broker = runtime.block_on(Broker::start(config)).expect("the broker starts");
            let topic = format!("{TOPIC}-{batch_bytes}");
            let start = Instant::now();
            let batches = produce(broker.local_addr(), &topic, batch_bytes);
            report(&format!("{name}, produce in batches of {batch_bytes}"), TOTAL, start.elapsed());
            let start = Instant::now();
            fetch(broker.local_addr(), &topic, batches);
            report(&format!("{name}, fetch"), TOTAL, start.elapsed());
            runtime.block_on(broker.stop()).expect("the broker stops");
        }
    }
}

fn report(what: &str, bytes: usize, time: Duration) {
    println!("{what:<45} {:>8.0} MB/s", bytes as f64 / 1e6 / time.as_secs_f64());
}

/// The same bytes through a socket and nothing else.
fn socket_alone() -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    let start = Instant::now();
    let writer = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("the listener is there");
        let chunk = vec![7; 512 << 10];
        (0..TOTAL / chunk.len()).for_each(|_| stream.write_all(&chunk).expect("the reader reads"));
    });
    let (mut stream, _) = listener.accept().expect("the writer connects");
    let mut buffer = vec![0; 512 << 10];
    while stream.read(&mut buffer).expect("the writer writes") > 0 {}
    writer.join().expect("the writer ends");
    start.elapsed()
}

fn batch(bytes: usize) -> Bytes {
    let mut builder = Builder::new(BuilderOptions { target_bytes: bytes, ..BuilderOptions::default() });
    let value = [b'v'; 100];
    while builder.try_push(-1, None, Some(&value), &[]) {}
    builder.finish().expect("a batch without compression is built").seal()
}

/// Returns the offset after the last record.
fn produce(address: SocketAddr, topic: &str, batch_bytes: usize) -> i64 {
    let mut stream = connect(address);
    let named = MetadataRequestTopic::default().with_name(Some(TopicName(topic.to_owned().into())));
    let create = MetadataRequest::default().with_topics(Some(vec![named])).with_allow_auto_topic_creation(true);
    send(&mut stream, ApiKey::Metadata, 9, RequestKind::Metadata(create));
    receive(&mut stream, ApiKey::Metadata, 9);
    let batch = batch(batch_bytes);
    let data = PartitionProduceData::default().with_index(0).with_records(Some(batch.clone()));
    let data =
        TopicProduceData::default().with_name(TopicName(topic.to_owned().into())).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![data]);
    let frame =
        encode_request_kind(None, 1, ApiKey::Produce, 9, &RequestKind::Produce(request)).expect("it is encodable");
    let count = TOTAL / batch.len();
    let mut answered = 0;
    let mut last = 0;
    for sent in 0..count {
        stream.write_all(&frame).expect("the broker reads");
        while sent + 1 - answered >= IN_FLIGHT {
            last = offset_of(receive(&mut stream, ApiKey::Produce, 9));
            answered += 1;
        }
    }
    while answered < count {
        last = offset_of(receive(&mut stream, ApiKey::Produce, 9));
        answered += 1;
    }
    last
}

fn offset_of(response: ResponseKind) -> i64 {
    let ResponseKind::Produce(response) = response else { panic!("{response:?}") };
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, 0, "{partition:?}");
    partition.base_offset
}

fn fetch(address: SocketAddr, topic: &str, last: i64) {
    let mut stream = connect(address);
    let mut offset = 0;
    while offset <= last {
        let partition = FetchPartition::default()
            .with_fetch_offset(offset)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(1 << 20);
        let wanted =
            FetchTopic::default().with_topic(TopicName(topic.to_owned().into())).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_bytes(50 << 20)
            .with_min_bytes(1)
            .with_max_wait_ms(500)
            .with_topics(vec![wanted]);
        send(&mut stream, ApiKey::Fetch, 12, RequestKind::Fetch(request));
        let ResponseKind::Fetch(response) = receive(&mut stream, ApiKey::Fetch, 12) else { panic!("a fetch was sent") };
        let records = response.responses[0].partitions[0].records.clone().expect("records, if none");
        for frame in kurier_kafka::batch::Frames::new(&records) {
            let (header, _) = frame.expect("batches are sound");
            offset = header.next_offset();
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the broker listens");
    stream.set_nodelay(true).expect("a connected socket takes options");
    stream
}

fn send(stream: &mut TcpStream, api: ApiKey, version: i16, request: RequestKind) {
    let frame = encode_request_kind(None, 1, api, version, &request).expect("it is encodable");
    stream.write_all(&frame).expect("the broker reads");
}

fn receive(stream: &mut TcpStream, api: ApiKey, version: i16) -> ResponseKind {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("the broker answers");
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).expect("the broker answers");
    decode_response_kind(api, frame.into(), version).expect("the answer is readable").1
}
