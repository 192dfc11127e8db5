//! The disk's bad days: no room, and a process that is killed while it writes.
//!
//! The broker is this very program, started once more by the test: see `child`.

#![cfg(target_os = "linux")] // Limits of another process can be set there only.
#![expect(clippy::disallowed_methods, reason = "driver: starts, limits and kills processes")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, FetchRequest, MetadataRequest, ProduceRequest, RequestKind, ResponseKind, TopicName,
};
use kurier_broker::{Broker, BrokerConfig};
use kurier_kafka::batch::{Batches, Builder, BuilderOptions, Scratch};
use kurier_kafka::wire::{decode_response_kind, encode_request_kind};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

const FOLDER: &str = "KURIER_TEST_BROKER_FOLDER";
const READY: &str = "listening on ";
/// `KAFKA_STORAGE_ERROR`.
const STORAGE_ERROR: i16 = 56;
const RECORDS_IN_BATCH: usize = 10;

/// Not a test of its own: the broker of the tests below, when the environment says so.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let broker = runtime.block_on(Broker::start(BrokerConfig::in_dir(folder))).unwrap();
    println!("{READY}{}", broker.address());
    // Until the parent is gone, or ends this process.
    let _ = std::io::stdin().read(&mut [0; 1]);
    runtime.block_on(broker.stop()).unwrap();
}

struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let address = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_once(READY).map(|(_, address)| address.to_owned()))
            .expect("the child says where it listens");
        Self { child, address }
    }

    fn limit_files(&self, bytes: Option<u64>) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        let maximum = getrlimit(Resource::Fsize).maximum;
        prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Client(TcpStream);

impl Client {
    fn connect(process: &Process) -> Self {
        let stream = TcpStream::connect(&process.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut client = Self(stream);
        let topic = MetadataRequestTopic::default().with_name(Some(name()));
        let request = MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(true);
        client.ask(ApiKey::Metadata, 9, RequestKind::Metadata(request)).expect("the broker answers");
        client
    }

    fn send(&mut self, api: ApiKey, version: i16, request: RequestKind) -> std::io::Result<()> {
        self.0.write_all(&encode_request_kind(None, 1, api, version, &request).unwrap())
    }

    fn receive(&mut self, api: ApiKey, version: i16) -> std::io::Result<ResponseKind> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame)?;
        Ok(decode_response_kind(api, frame.into(), version).unwrap().1)
    }

    fn ask(&mut self, api: ApiKey, version: i16, request: RequestKind) -> std::io::Result<ResponseKind> {
        self.send(api, version, request)?;
        self.receive(api, version)
    }

    /// Error and base offset of a batch.
    fn produce(&mut self, batch: Bytes) -> std::io::Result<(i16, i64)> {
        match self.ask(ApiKey::Produce, 9, RequestKind::Produce(produce_request(batch)))? {
            ResponseKind::Produce(response) => {
                let partition = &response.responses[0].partition_responses[0];
                Ok((partition.error_code, partition.base_offset))
            }
            other => panic!("{other:?}"),
        }
    }

    /// The numbers in all records.
    fn read_all(&mut self) -> Vec<u64> {
        let mut numbers = Vec::new();
        let mut offset = 0;
        loop {
            let partition = FetchPartition::default()
                .with_fetch_offset(offset)
                .with_current_leader_epoch(-1)
                .with_partition_max_bytes(1 << 20);
            let topic = FetchTopic::default().with_topic(name()).with_partitions(vec![partition]);
            let request = FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![topic]);
            let response = self.ask(ApiKey::Fetch, 12, RequestKind::Fetch(request)).expect("the broker answers");
            let ResponseKind::Fetch(response) = response else { panic!("a fetch was sent") };
            let partition = &response.responses[0].partitions[0];
            assert_eq!(partition.error_code, 0);
            let records = partition.records.clone().unwrap_or_default();
            if records.is_empty() {
                return numbers;
            }
            for batch in Batches::new(records) {
                let batch = batch.expect("batches are sound");
                for record in &batch.records(&mut Scratch::default()).unwrap() {
                    let value = record.unwrap().value.unwrap();
                    numbers.push(u64::from_be_bytes(value[..8].try_into().unwrap()));
                }
                offset = batch.header().next_offset();
            }
        }
    }
}

fn name() -> TopicName {
    TopicName("numbers".into())
}

fn produce_request(batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(name()).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic])
}

/// Records that count on from a number, of some length.
fn batch(first: u64) -> Bytes {
    let mut builder = Builder::new(BuilderOptions::default());
    for number in (first..).take(RECORDS_IN_BATCH) {
        let mut value = number.to_be_bytes().to_vec();
        value.resize(500, 0);
        assert!(builder.try_push(-1, None, Some(&value), &[]));
    }
    builder.finish().unwrap().seal()
}

#[test]
fn a_full_disk_is_an_error_of_the_write_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let mut client = Client::connect(&process);
    process.limit_files(Some(100_000));
    let mut acknowledged = 0;
    let mut next = || {
        acknowledged += RECORDS_IN_BATCH as u64;
        batch(acknowledged - RECORDS_IN_BATCH as u64)
    };
    let refused = loop {
        let batch = next();
        let (error, _) = client.produce(batch.clone()).unwrap();
        if error != 0 {
            assert_eq!(error, STORAGE_ERROR);
            break batch;
        }
    };
    let before = client.read_all();
    assert!(before.len() > 100 && before.iter().copied().eq(0..before.len() as u64), "{} records", before.len());
    assert_eq!(client.produce(refused.clone()).unwrap().0, STORAGE_ERROR);
    assert_eq!(client.read_all(), before);

    process.limit_files(None);
    assert_eq!(client.produce(refused).unwrap(), (0, before.len() as i64));
    assert_eq!(client.produce(next()).unwrap().0, 0);
    let after = client.read_all();
    assert!(after.iter().copied().eq(0..after.len() as u64) && after.len() == before.len() + 2 * RECORDS_IN_BATCH);
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    let mut complete = true;
    for round in 0..5 {
        let mut process = Process::start(folder.path());
        let mut client = Client::connect(&process);
        let found: std::collections::BTreeSet<u64> = client.read_all().into_iter().collect();
        complete &= (0..acknowledged).all(|number| found.contains(&number));
        if !complete {
            break;
        }
        // Whatever was in doubt at the kill is sent again: this producer is not idempotent, so repeats are its own.
        let mut writer = Client(client.0.try_clone().unwrap());
        let first = acknowledged;
        let sender = std::thread::spawn(move || {
            for index in 0.. {
                let request = produce_request(batch(first + index * RECORDS_IN_BATCH as u64));
                if writer.send(ApiKey::Produce, 9, RequestKind::Produce(request)).is_err() {
                    return;
                }
            }
        });
        for _ in 0..50 + round * 37 {
            match client.receive(ApiKey::Produce, 9).unwrap() {
                ResponseKind::Produce(response) => {
                    assert_eq!(response.responses[0].partition_responses[0].error_code, 0)
                }
                other => panic!("{other:?}"),
            }
            acknowledged += RECORDS_IN_BATCH as u64;
        }
        process.kill();
        // Answers that were already on their way count as well.
        while client.receive(ApiKey::Produce, 9).is_ok() {
            acknowledged += RECORDS_IN_BATCH as u64;
        }
        sender.join().unwrap();
    }
    if cfg!(feature = "planted-ack-before-write") {
        assert!(!complete, "the planted mistake is not noticed");
    } else {
        assert!(complete, "acknowledged records are missing");
    }
}
