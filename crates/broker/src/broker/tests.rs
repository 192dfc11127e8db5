//! The core, driven by requests: what a client is told, what is there after a crash.

mod consumer_groups;
mod crash;
mod damage;
mod groups;
mod migration;
mod model;
mod records;
mod transactions;
mod versions;

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    CreateTopicsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest, RequestKind, ResponseKind, TopicName,
    TransactionalId,
};
use kurier_kafka::batch::{Batches, Builder, BuilderOptions, Scratch, Stamp};
use kurier_kafka::wire::encode_response;

use super::{Broker, ConnectionId, Now, OpenError, Reply, Request};
use crate::config::BrokerConfig;
use crate::store::MemoryStore;

/// A broker in memory with a clock that moves only when told to.
struct Rig {
    broker: Broker,
    store: MemoryStore,
    config: BrokerConfig,
    now: Now,
    replies: Vec<Reply>,
    next_correlation: i32,
}

const CLIENT: ConnectionId = ConnectionId(1);

impl Rig {
    fn new(config: BrokerConfig) -> Self {
        Self::over(MemoryStore::new(), config)
    }

    fn over(store: MemoryStore, config: BrokerConfig) -> Self {
        let now = Now { elapsed: Duration::from_secs(1), unix_ms: 1_700_000_000_000 };
        let broker = open(&store, &config, now);
        Self { broker, store, config, now, replies: Vec::new(), next_correlation: 0 }
    }

    /// Ends the process without a word and starts it again over the same files.
    fn kill(&mut self) {
        self.broker = open(&self.store, &self.config, self.now);
        self.replies.clear();
    }

    /// Ends the process as it should end and starts it again.
    fn restart(&mut self) {
        self.broker.close().unwrap();
        self.kill();
    }

    fn send(&mut self, connection: ConnectionId, version: i16, body: RequestKind) -> i32 {
        self.next_correlation += 1;
        let request = Request {
            correlation_id: self.next_correlation,
            api_version: version,
            client_id: "rig".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            body,
        };
        self.broker.step(self.now, connection, request, &mut self.replies);
        self.next_correlation
    }

    /// The answer to a request, if it has come.
    fn take(&mut self, correlation: i32) -> Option<ResponseKind> {
        let index = self.replies.iter().position(
            |reply| matches!(reply, Reply::Answer { correlation_id, .. } if *correlation_id == correlation),
        )?;
        match self.replies.remove(index) {
            Reply::Answer { response, api_version, correlation_id, .. } => {
                let encoded = encode_response(correlation_id, api_version, &response);
                assert!(encoded.is_ok(), "version {api_version} of {response:?}: {encoded:?}");
                Some(*response)
            }
            _ => None,
        }
    }

    /// Sends a request that is answered at once.
    fn ask(&mut self, version: i16, body: RequestKind) -> ResponseKind {
        let correlation = self.send(CLIENT, version, body);
        self.take(correlation).expect("the request is answered at once")
    }

    /// Lets time pass, with every tick that falls into it.
    fn pass(&mut self, time: Duration) {
        let end = self.now.elapsed + time;
        let mut ticks = 0;
        loop {
            let next = self.broker.next_deadline().max(self.now.elapsed).min(end);
            self.now.unix_ms += i64::try_from((next - self.now.elapsed).as_millis()).unwrap();
            self.now.elapsed = next;
            self.broker.tick(self.now, &mut self.replies);
            if next == end {
                return;
            }
            // A deadline that ticks do not move would be a busy loop.
            ticks += 1;
            assert!(ticks < 1000, "ticks change nothing");
        }
    }

    fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> i16 {
        let configs = configs
            .iter()
            .map(|(name, value)| {
                CreatableTopicConfig::default()
                    .with_name((*name).to_owned().into())
                    .with_value(Some((*value).to_owned().into()))
            })
            .collect();
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        match self.ask(7, RequestKind::CreateTopics(request)) {
            ResponseKind::CreateTopics(response) => response.topics[0].error_code,
            other => panic!("{other:?}"),
        }
    }

    fn produce(&mut self, topic: &str, partition: i32, batch: Bytes) -> PartitionProduceResponse {
        self.produce_as(None, topic, partition, batch)
    }

    fn produce_as(
        &mut self,
        transaction: Option<&str>,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> PartitionProduceResponse {
        let request = produce_request(transaction, topic, partition, batch);
        match self.ask(9, RequestKind::Produce(request)) {
            ResponseKind::Produce(mut response) => response.responses.remove(0).partition_responses.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn fetch(&mut self, topic: &str, partition: i32, offset: i64, isolation: i8) -> PartitionData {
        let request = fetch_request(topic, partition, offset).with_isolation_level(isolation);
        match self.ask(12, RequestKind::Fetch(request)) {
            ResponseKind::Fetch(mut response) => response.responses.remove(0).partitions.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// The offset that a time stands for.
    fn list_offset(&mut self, topic: &str, partition: i32, time: i64) -> i64 {
        self.offset_and_time(topic, partition, time).0
    }

    fn offset_and_time(&mut self, topic: &str, partition: i32, time: i64) -> (i64, i64) {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(time)
            .with_current_leader_epoch(-1);
        let topic = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![asked]);
        let request = ListOffsetsRequest::default().with_topics(vec![topic]);
        match self.ask(7, RequestKind::ListOffsets(request)) {
            ResponseKind::ListOffsets(response) => {
                let partition = &response.topics[0].partitions[0];
                (partition.offset, partition.timestamp)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Offsets and values of all records from the start of the log on.
    fn read_all(&mut self, topic: &str, partition: i32) -> Vec<(i64, String)> {
        let mut records = Vec::new();
        let mut offset = self.list_offset(topic, partition, -2);
        loop {
            let data = self.fetch(topic, partition, offset, 0);
            assert_eq!(data.error_code, 0, "fetching {topic}-{partition} at {offset}");
            let bytes = data.records.unwrap_or_default();
            if bytes.is_empty() {
                return records;
            }
            for batch in Batches::new(bytes) {
                let batch = batch.unwrap();
                let found = batch.records(&mut Scratch::default()).unwrap();
                for record in &found {
                    let record = record.unwrap();
                    if record.offset >= offset && !batch.header().is_control() {
                        let value = record
                            .value
                            .map_or_else(|| "null".to_owned(), |value| String::from_utf8_lossy(value).into_owned());
                        records.push((record.offset, value));
                    }
                }
                offset = offset.max(batch.header().next_offset());
            }
        }
    }
}

fn open(store: &MemoryStore, config: &BrokerConfig, now: Now) -> Broker {
    try_open(store, config, now).unwrap()
}

fn try_open(store: &MemoryStore, config: &BrokerConfig, now: Now) -> Result<Broker, OpenError> {
    let mut next = store.files().iter().map(|(_, len)| u128::from(*len)).sum::<u128>() << 64;
    let ids = Box::new(move || {
        next += 1;
        next.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    });
    Broker::open(config.clone(), Box::new(store.clone()), ids, now)
}

fn topic_name(name: &str) -> TopicName {
    TopicName(name.to_owned().into())
}

fn produce_request(transaction: Option<&str>, topic: &str, partition: i32, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_acks(-1)
        .with_transactional_id(transaction.map(|id| TransactionalId(id.to_owned().into())))
        .with_topic_data(vec![topic])
}

fn fetch_request(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
    FetchRequest::default().with_max_bytes(1 << 20).with_max_wait_ms(0).with_min_bytes(1).with_topics(vec![topic])
}

/// A batch of records without keys.
fn batch(values: &[&str]) -> Bytes {
    stamped(values, Stamp::NONE)
}

fn stamped(values: &[&str], stamp: Stamp) -> Bytes {
    let records: Vec<_> = values.iter().map(|value| (None, Some(*value))).collect();
    keyed(&records, 1_700_000_000_000, stamp)
}

fn keyed(records: &[(Option<&str>, Option<&str>)], timestamp: i64, stamp: Stamp) -> Bytes {
    let mut builder = Builder::new(BuilderOptions::default());
    for (key, value) in records {
        assert!(builder.try_push(timestamp, key.map(str::as_bytes), value.map(str::as_bytes), &[]));
    }
    let mut batch = builder.finish().unwrap();
    batch.stamp(stamp);
    batch.seal()
}

/// The stamp of an idempotent producer's batch.
fn sequence(producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Stamp {
    Stamp { producer_id, producer_epoch, base_sequence, ..Stamp::NONE }
}
