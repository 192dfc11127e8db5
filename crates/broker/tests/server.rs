//! The server from outside: bytes that are no requests, bounds, and what an operator is told.

#![expect(clippy::disallowed_methods, reason = "driver: clients of the server under test")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreateTopicsRequest, FetchRequest, MetadataRequest, ProduceRequest, RequestKind,
    ResponseKind,
};
use kurier_broker::{Broker, BrokerConfig, Data, RunningBroker};
use kurier_kafka::wire::{decode_response_kind, encode_request_kind};
use proptest::prelude::*;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn start(runtime: &Runtime, config: BrokerConfig) -> RunningBroker {
    runtime.block_on(Broker::start(config)).unwrap()
}

/// A client that says what it likes.
struct Client(TcpStream);

impl Client {
    fn connect(broker: &RunningBroker) -> Self {
        let stream = TcpStream::connect(broker.local_addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(stream)
    }

    fn send(&mut self, api: ApiKey, version: i16, correlation: i32, request: &RequestKind) {
        let frame = encode_request_kind(None, correlation, api, version, request).unwrap();
        self.0.write_all(&frame).unwrap();
    }

    fn receive(&mut self, api: ApiKey, version: i16) -> (i32, ResponseKind) {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).unwrap();
        decode_response_kind(api, frame.into(), version).unwrap()
    }

    fn metadata(&mut self) -> ResponseKind {
        self.send(ApiKey::Metadata, 12, 7, &RequestKind::Metadata(MetadataRequest::default().with_topics(None)));
        self.receive(ApiKey::Metadata, 12).1
    }

    /// True when the server has closed the connection.
    fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0; 1]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn bytes_that_are_no_request_cost_their_sender_the_connection_and_nobody_else() {
    let runtime = runtime();
    let broker = start(&runtime, BrokerConfig { max_request_bytes: 1 << 20, ..BrokerConfig::default() });
    let mut good = Client::connect(&broker);
    let hostile: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 64],
        &[0, 0, 0, 0, 0, 0, 0, 0],
        // A frame of one byte, an unknown API, arrays of two thousand million topics.
        &[0, 0, 0, 1, 0],
        &[0, 0, 0, 10, 0x7f, 0, 0, 0, 0, 0, 0, 1, 0, 0],
        &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0x7f, 0xff, 0xff, 0xff],
        &[0, 0, 0, 20, 0, 1, 0, 4, 0, 0, 0, 1, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0],
    ];
    for bytes in hostile {
        let mut bad = Client::connect(&broker);
        bad.0.write_all(bytes).unwrap();
        assert!(bad.is_closed(), "{bytes:?}");
        assert!(matches!(good.metadata(), ResponseKind::Metadata(_)));
    }
    runtime.block_on(broker.stop()).unwrap();
}

/// Requests with bytes changed anywhere behind the length.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<Vec<u8>> = [
        (ApiKey::Metadata, 12, RequestKind::Metadata(MetadataRequest::default())),
        (ApiKey::Produce, 9, RequestKind::Produce(ProduceRequest::default().with_acks(1))),
        (ApiKey::Fetch, 12, RequestKind::Fetch(FetchRequest::default())),
        (ApiKey::CreateTopics, 7, RequestKind::CreateTopics(CreateTopicsRequest::default())),
        (ApiKey::ApiVersions, 3, RequestKind::ApiVersions(ApiVersionsRequest::default())),
    ]
    .into_iter()
    .map(|(api, version, request)| encode_request_kind(None, 1, api, version, &request).unwrap().to_vec())
    .collect();
    let random = prop::collection::vec(any::<u8>(), 0..200).prop_map(|body| {
        let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        frame.extend(body);
        frame
    });
    let changed =
        (prop::sample::select(seeds), prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8))
            .prop_map(|(mut frame, changes)| {
                let len = frame.len() - 4;
                for (index, byte) in changes {
                    frame[4 + index.index(len)] = byte;
                }
                frame
            });
    prop_oneof![random, changed]
}

#[test]
fn no_frame_harms_the_server() {
    let runtime = runtime();
    let broker = start(&runtime, BrokerConfig { max_request_bytes: 1 << 20, ..BrokerConfig::default() });
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&damaged(), |frame| {
            let mut bad = Client::connect(&broker);
            bad.0.write_all(&frame).unwrap();
            // Some of these are requests, and get an answer; what matters is that the server lives.
            bad.0.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = bad.0.read(&mut [0; 64]);
            Ok(())
        })
        .unwrap();
    assert!(matches!(Client::connect(&broker).metadata(), ResponseKind::Metadata(_)));
    runtime.block_on(broker.stop()).unwrap();
}

#[test]
fn requests_sent_at_once_are_answered_in_their_order() {
    let runtime = runtime();
    let broker = start(&runtime, BrokerConfig::default());
    let mut client = Client::connect(&broker);
    for correlation in 0..100 {
        client.send(ApiKey::ApiVersions, 3, correlation, &RequestKind::ApiVersions(ApiVersionsRequest::default()));
    }
    for correlation in 0..100 {
        assert_eq!(client.receive(ApiKey::ApiVersions, 3).0, correlation);
    }
    runtime.block_on(broker.stop()).unwrap();
}

#[test]
fn idle_and_surplus_connections_are_closed() {
    let runtime = runtime();
    let config = BrokerConfig { max_connections: 2, max_idle: Duration::from_millis(300), ..BrokerConfig::default() };
    let broker = start(&runtime, config);
    let (mut first, mut second) = (Client::connect(&broker), Client::connect(&broker));
    first.metadata();
    second.metadata();
    assert!(Client::connect(&broker).is_closed(), "there are two already");
    assert!(first.is_closed() && second.is_closed(), "they said nothing for too long");
    // Their room is free again, once the server has noticed.
    let free = (0..100).any(|_| {
        let mut next = Client::connect(&broker);
        next.send(ApiKey::ApiVersions, 3, 1, &RequestKind::ApiVersions(ApiVersionsRequest::default()));
        !next.is_closed()
    });
    assert!(free);
    runtime.block_on(broker.stop()).unwrap();
}

#[test]
fn metadata_names_the_address_that_clients_reach() {
    let runtime = runtime();
    for (host, advertised, told) in [
        ("127.0.0.1", None, "127.0.0.1"),
        ("0.0.0.0", None, "127.0.0.1"),
        ("0.0.0.0", Some("kafka.example"), "kafka.example"),
    ] {
        let config = BrokerConfig {
            host: host.to_owned(),
            advertised_host: advertised.map(str::to_owned),
            ..BrokerConfig::default()
        };
        let broker = start(&runtime, config);
        let port = broker.local_addr().port();
        assert_eq!(broker.address(), format!("{told}:{port}"));
        let mut client = Client(TcpStream::connect(("127.0.0.1", port)).unwrap());
        let ResponseKind::Metadata(metadata) = client.metadata() else { panic!("metadata") };
        assert_eq!((metadata.brokers[0].host.as_str(), metadata.brokers[0].port), (told, i32::from(port)));
        runtime.block_on(broker.stop()).unwrap();
    }
}

#[test]
fn an_operator_is_told_why_it_does_not_start() {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let running = start(&runtime, BrokerConfig::in_dir(folder.path()));
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let port = running.local_addr().port();
    let in_folder = |path: &Path| BrokerConfig { data: Data::Dir(path.to_owned()), ..BrokerConfig::default() };
    let cases = [
        (BrokerConfig { port, ..BrokerConfig::default() }, vec![port.to_string(), "another port".to_owned()]),
        (in_folder(folder.path()), vec![folder.path().display().to_string(), "in use by another broker".to_owned()]),
        (in_folder(&file), vec![file.display().to_string(), "choose a folder".to_owned()]),
        (
            BrokerConfig {
                topic_defaults: vec![("retention.ms".to_owned(), "soon".to_owned())],
                ..BrokerConfig::default()
            },
            vec!["retention.ms".to_owned(), "soon".to_owned()],
        ),
    ];
    for (config, parts) in cases {
        let error = runtime.block_on(Broker::start(config)).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(&part), "{part} is missing from: {error}");
        }
    }
    runtime.block_on(running.stop()).unwrap();
    // The folder is free again.
    let again = start(&runtime, BrokerConfig::in_dir(folder.path()));
    runtime.block_on(again.stop()).unwrap();
}
