//! Logs and consumers on our own broker: no JDK, a second.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock and start tasks")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    CreateTopicsRequest, DescribeConfigsRequest, ProduceRequest, RequestKind, ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kurier_broker::{Broker, BrokerConfig, RunningBroker};
use kurier_kafka::batch::{Builder, BuilderOptions, Scratch};
use kurier_kafka::consumer::core::Target;
use kurier_kafka::consumer::{
    Consumer, ConsumerConfig, FetchedBatch, NetSettings, RebalanceEvent, Subscription, TcpTransport, TopicPartition,
    Transport,
};
use kurier_kafka::topic_log::{
    Creation, LogClient, LogClientError, LogRecord, NewTopic, TopicLog, TopicLogConfig, TopicLogError,
};

const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC_EXISTS: i16 = 36;

fn run<T>(test: impl AsyncFnOnce(RunningBroker) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { test(Broker::start(BrokerConfig::default()).await.unwrap()).await })
}

fn consumer(broker: &str, properties: &[(&str, &str)]) -> Consumer {
    let given = [("bootstrap.servers", broker), ("auto.offset.reset", "earliest")];
    let all = given.iter().chain(properties).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Consumer::new(ConsumerConfig::parse(&all.collect::<BTreeMap<_, _>>()).unwrap())
}

fn name(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Plain requests to the only broker. The first byte of a key names the partition.
struct Client {
    transport: TcpTransport,
    partitions: i32,
}

impl Client {
    fn new(address: &str, partitions: i32) -> Arc<Self> {
        let (host, port) = address.rsplit_once(':').unwrap();
        let net = NetSettings::new(vec![(host.to_owned(), port.parse().unwrap())]);
        Arc::new(Self { transport: TcpTransport::new(net), partitions })
    }

    async fn ask(&self, request: RequestKind) -> Result<ResponseKind, LogClientError> {
        let answer = self.transport.send(Target::Any, Box::new(request), PATIENCE).await;
        answer.map_err(|error| LogClientError { message: error.to_string(), retriable: true })
    }
}

impl LogClient for Client {
    fn create_topic(&self, topic: NewTopic) -> BoxFuture<'_, Result<Creation, LogClientError>> {
        Box::pin(async move {
            let config = |(key, value): (&String, &String)| {
                CreatableTopicConfig::default().with_name(name(key)).with_value(Some(name(value)))
            };
            let wanted = CreatableTopic::default()
                .with_name(TopicName(name(&topic.name)))
                .with_num_partitions(topic.partitions)
                .with_replication_factor(topic.replication_factor)
                .with_configs(topic.config.iter().map(config).collect());
            let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(30_000);
            let ResponseKind::CreateTopics(response) = self.ask(RequestKind::CreateTopics(request)).await? else {
                panic!("another answer")
            };
            match response.topics[0].error_code {
                0 => Ok(Creation::Created),
                TOPIC_EXISTS => Ok(Creation::Exists),
                code => Err(LogClientError { message: format!("error {code}"), retriable: false }),
            }
        })
    }

    fn cleanup_policy(&self, topic: &str) -> BoxFuture<'_, Result<Option<String>, LogClientError>> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(name(topic))
            .with_configuration_keys(None);
        Box::pin(async move {
            let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
            let ResponseKind::DescribeConfigs(response) = self.ask(RequestKind::DescribeConfigs(request)).await? else {
                panic!("another answer")
            };
            let policy = response.results[0].configs.iter().find(|config| config.name.as_str() == "cleanup.policy");
            Ok(policy.and_then(|config| config.value.as_ref()).map(ToString::to_string))
        })
    }

    fn append(&self, topic: &str, records: Vec<LogRecord>) -> BoxFuture<'_, Result<(), LogClientError>> {
        let topic = TopicName(name(topic));
        Box::pin(async move {
            for record in records {
                let mut builder = Builder::new(BuilderOptions::default());
                assert!(builder.try_push(1, record.key.as_deref(), record.value.as_deref(), &[]));
                let first = record.key.as_ref().map_or(0, |key| i32::from(key[0]));
                let data = PartitionProduceData::default()
                    .with_index(first % self.partitions)
                    .with_records(Some(builder.finish().unwrap().seal()));
                let data = TopicProduceData::default().with_name(topic.clone()).with_partition_data(vec![data]);
                let request =
                    ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![data]);
                let ResponseKind::Produce(response) = self.ask(RequestKind::Produce(request)).await? else {
                    panic!("another answer")
                };
                assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
            }
            Ok(())
        })
    }
}

fn log_config(topic: &str, partitions: i32, single_partition: bool) -> TopicLogConfig {
    TopicLogConfig {
        topic: NewTopic { name: topic.into(), partitions, replication_factor: 1, config: BTreeMap::new() },
        property: "config.storage.topic".into(),
        purpose: "connector configurations".into(),
        single_partition,
        create_timeout: PATIENCE,
        retry_backoff: Duration::from_millis(100),
    }
}

/// The last value of each key.
fn fold(table: &mut BTreeMap<String, String>, batches: &[FetchedBatch]) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    for batch in batches {
        for record in &batch.open(&mut Scratch::default()).unwrap() {
            let record = record.unwrap();
            match record.value {
                Some(value) => table.insert(text(record.key.unwrap()), text(value)),
                None => table.remove(&text(record.key.unwrap())),
            };
        }
    }
}

fn put(key: &str, value: Option<&str>) -> LogRecord {
    let bytes = |text: &str| Bytes::from(text.to_owned());
    LogRecord { key: Some(bytes(key)), value: value.map(bytes) }
}

#[test]
fn a_log_is_made_read_to_its_end_and_followed() {
    run(async |broker| {
        let client = Client::new(broker.address(), 3);
        let open = async || {
            let consumer = consumer(broker.address(), &[]);
            TopicLog::open(log_config("table", 3, false), consumer, client.clone()).await.unwrap()
        };
        let writer = open().await;
        assert_eq!(writer.partitions(), 3);
        let mut table = BTreeMap::new();
        writer.read_to_end(|batches| fold(&mut table, &batches)).await.unwrap();
        assert!(table.is_empty());
        for round in 0..50 {
            let value = round.to_string();
            writer
                .append(vec![put("a", Some(&value)), put("b", Some(&value)), put("c", Some("gone")), put("c", None)])
                .await
                .unwrap();
            // One's own appends are read back.
            writer.read_to_end(|batches| fold(&mut table, &batches)).await.unwrap();
            let expected = [("a".to_owned(), value.clone()), ("b".to_owned(), value)];
            assert_eq!(table, expected.into());
        }
        // The topic is there and compacted, so another one opens it and finds the same.
        let reader = open().await;
        let mut copy = BTreeMap::new();
        reader.read_to_end(|batches| fold(&mut copy, &batches)).await.unwrap();
        assert_eq!(copy, table);
        writer.append(vec![put("d", Some("new"))]).await.unwrap();
        let start = Instant::now();
        while !copy.contains_key("d") {
            assert!(start.elapsed() < PATIENCE);
            fold(&mut copy, &reader.poll(Instant::now() + Duration::from_millis(200)).await.unwrap());
        }
        reader.close(PATIENCE).await.unwrap();
    });
}

#[test]
fn a_topic_that_would_lose_records_is_refused_in_javas_words() {
    run(async |broker| {
        let client = Client::new(broker.address(), 2);
        let config = BTreeMap::from([("cleanup.policy".to_owned(), "delete".to_owned())]);
        let topic = |name: &str, config| NewTopic { name: name.into(), partitions: 2, replication_factor: 1, config };
        client.create_topic(topic("deleting", config)).await.unwrap();
        let compact = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        client.create_topic(topic("two", compact)).await.unwrap();
        let cases = [
            (
                "deleting",
                "Topic 'deleting' supplied via the 'config.storage.topic' property is required to have 'cleanup.policy=compact' to guarantee consistency and durability of connector configurations, but found the topic currently has 'cleanup.policy=delete'. Continuing would likely result in eventually losing connector configurations and problems restarting this Connect cluster in the future. Change the 'config.storage.topic' property in the Connect worker configurations to use a topic with 'cleanup.policy=compact'.",
            ),
            (
                "two",
                "Topic 'two' supplied via the 'config.storage.topic' property is required to have a single partition in order to guarantee consistency of connector configurations, but found 2 partitions.",
            ),
        ];
        for (topic, expected) in cases {
            let consumer = consumer(broker.address(), &[]);
            let error: TopicLogError =
                TopicLog::open(log_config(topic, 1, true), consumer, client.clone()).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    });
}

/// Two members on our own broker; the second takes over all when the first leaves.
#[test]
fn a_group_on_our_broker_passes_its_share_on() {
    run(async |broker| {
        let client = Client::new(broker.address(), 2);
        let topic = NewTopic { name: "work".into(), partitions: 2, replication_factor: 1, config: BTreeMap::new() };
        client.create_topic(topic).await.unwrap();
        client.append("work", vec![put("a", Some("1")), put("b", Some("2"))]).await.unwrap();
        let group = [("group.id", "crew"), ("heartbeat.interval.ms", "100")];
        let member = || {
            let consumer = consumer(broker.address(), &group);
            consumer.subscribe(Subscription::Topics(vec!["work".into()])).unwrap();
            consumer
        };
        let (first, second) = (member(), member());
        let mut table = BTreeMap::new();
        let start = Instant::now();
        let turn = async |consumer: &Consumer, table: &mut BTreeMap<String, String>| {
            assert!(start.elapsed() < PATIENCE);
            let polled = consumer.poll(Instant::now() + Duration::from_millis(50)).await.unwrap();
            fold(table, &polled.batches);
            if polled.events.iter().any(|event| matches!(event, RebalanceEvent::Revoked(_))) {
                consumer.commit_positions().await.unwrap();
                consumer.ack_revoked();
            }
        };
        while table.len() < 2 || first.assignment().len() != 1 || second.assignment().len() != 1 {
            turn(&first, &mut table).await;
            turn(&second, &mut table).await;
        }
        first.close(PATIENCE).await.unwrap();
        while second.assignment().len() != 2 {
            turn(&second, &mut table).await;
        }
        client.append("work", vec![put("a", Some("3")), put("b", Some("4"))]).await.unwrap();
        while table.values().cloned().collect::<String>() != "34" {
            turn(&second, &mut table).await;
        }
        let all = [TopicPartition::new("work", 0), TopicPartition::new("work", 1)];
        second.commit_positions().await.unwrap();
        let committed = second.committed(all).await.unwrap();
        assert_eq!(committed.values().map(|offset| offset.offset).collect::<Vec<_>>(), [2, 2]);
    });
}
