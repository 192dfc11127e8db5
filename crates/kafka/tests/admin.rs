//! Administration of our own broker and of Apache Kafka: both have to give the same answers.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kurier_broker::{Broker, BrokerConfig};
use kurier_harness::{ApacheKafka, skip_without_java};
use kurier_kafka::admin::{Admin, AdminConfig, AdminError, ConfigChange, ConfigResource, ConfigSource, Outcomes};
use kurier_kafka::consumer::{
    Consumer, ConsumerConfig, Isolation, OffsetAndMetadata, OffsetSpec, Offsets, Subscription, TopicPartition,
};
use kurier_kafka::producer::{Destination, ProduceBatch, Producer, ProducerConfig};
use kurier_kafka::topic_log::{Creation, NewTopic};

const PATIENCE: Duration = Duration::from_secs(60);

fn admin(broker: &str, more: &[(&str, &str)]) -> Admin {
    let given = [("bootstrap.servers", broker), ("key.converter", "of the worker, no matter here")];
    let all: BTreeMap<_, _> =
        given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Admin::new(AdminConfig::parse(&all).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_made_once_with_their_settings() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let admin = admin(broker.address(), &[]);
    assert_eq!(admin.partitions("t").await.unwrap(), None, "asking makes no topic");
    let topic = NewTopic {
        name: "t".to_owned(),
        partitions: 3,
        replication_factor: -1,
        config: BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]),
    };
    assert_eq!(admin.create_topic(&topic).await.unwrap(), Creation::Created);
    assert_eq!(admin.create_topic(&topic).await.unwrap(), Creation::Exists);
    assert_eq!(admin.partitions("t").await.unwrap(), Some(3));
    assert_eq!(admin.topic_config("t", "cleanup.policy").await.unwrap().as_deref(), Some("compact"));
    let many = NewTopic { name: "u".to_owned(), replication_factor: 9, ..topic };
    let refused = admin.create_topic(&many).await.unwrap_err();
    assert!(matches!(refused, AdminError::Refused { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_not_there_is_waited_for_and_given_up() {
    // A port that was free a moment ago.
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let address = broker.address().to_owned();
    broker.stop().await.unwrap();
    let admin = admin(&address, &[("default.api.timeout.ms", "300"), ("request.timeout.ms", "100")]);
    let error = admin.partitions("t").await.unwrap_err();
    assert_eq!(error.to_string(), "Timed out waiting for a description of topic t after 300ms");
}

fn properties(broker: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let given = [("bootstrap.servers", broker)];
    given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn produce(broker: &str, topic: &str, count: u64) {
    let producer = Producer::new(ProducerConfig::parse(&properties(broker, &[])).unwrap());
    let (mut batch, topic) = (ProduceBatch::default(), Arc::from(topic));
    for ticket in 0..count {
        let mut draft = batch.draft();
        draft
            .value(|bytes| {
                bytes.extend_from_slice(b"value");
                Ok::<_, ()>(true)
            })
            .unwrap();
        let timestamp = Some(1_000 + ticket as i64);
        draft.finish(ticket, Destination { topic: &topic, partition: Some(0), timestamp });
    }
    producer.send(&mut batch).await.unwrap();
    let (mut told, start) = (0, Instant::now());
    while told < count {
        assert!(start.elapsed() < PATIENCE);
        for delivery in producer.deliveries(Instant::now() + Duration::from_secs(1)).await {
            assert!(delivery.outcome.is_ok(), "{delivery:?}");
            told += delivery.tickets.end - delivery.tickets.start;
        }
    }
}

/// The outcome of a call that named one thing, with Java's class for an error.
fn only<K: Ord, T>(outcomes: Outcomes<K, T>) -> Result<T, &'static str> {
    assert_eq!(outcomes.len(), 1);
    outcomes.into_values().next().unwrap().map_err(|error| error.simple_class())
}

fn class<T>(result: Result<T, AdminError>) -> Result<T, &'static str> {
    result.map_err(|error| error.into_kafka().simple_class())
}

/// Asks until the answer is this one: a broker answers for the metadata it has, and learns of changes a little later than whoever made them.
macro_rules! in_time {
    ($answer:expr, $expected:expr) => {{
        let start = Instant::now();
        loop {
            let (answer, expected) = ($answer, $expected);
            if answer == expected {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "{answer:?} instead of {expected:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }};
}

/// All that an admin client does, on a broker that is alone in its cluster.
async fn check_administration(broker: &str) {
    let admin = admin(broker, &[]);
    let cluster = admin.describe_cluster().await.unwrap();
    assert_eq!(cluster.nodes.len(), 1);
    assert_eq!(format!("{}:{}", cluster.nodes[0].host, cluster.nodes[0].port), broker);
    assert_eq!(cluster.controller, Some(cluster.nodes[0].id));
    check_topics(&admin).await;
    check_records(&admin, broker).await;
    check_groups(&admin, broker).await;
}

async fn check_topics(admin: &Admin) {
    let topic = |name: &str, partitions| NewTopic {
        name: name.to_owned(),
        partitions,
        replication_factor: 1,
        config: BTreeMap::from([("retention.ms".to_owned(), "123456".to_owned())]),
    };
    assert_eq!(admin.create_topic(&topic("a", 2)).await.unwrap(), Creation::Created);
    assert_eq!(admin.create_topic(&topic("b", 1)).await.unwrap(), Creation::Created);
    assert_eq!(class(admin.create_topic(&topic("not a topic", 1)).await), Err("InvalidTopicException"));
    in_time!(admin.partitions("a").await.unwrap(), Some(2));
    let described = admin.describe_topics(&["a", "none"]).await.unwrap();
    let a = described["a"].as_ref().unwrap();
    assert_eq!((a.partitions.len(), a.internal, a.id.is_nil()), (2, false, false));
    assert!(a.partitions.iter().all(|place| place.leader.is_some() && place.replicas == place.in_sync));
    assert_eq!(described["none"].as_ref().unwrap_err().simple_class(), "UnknownTopicOrPartitionException");
    admin.create_partitions("a", 3).await.unwrap();
    in_time!(admin.partitions("a").await.unwrap(), Some(3));
    assert_eq!(class(admin.create_partitions("a", 2).await), Err("InvalidPartitionsException"));

    let resource = ConfigResource::Topic("a".to_owned());
    let set = |key: &str, value: &str| ConfigChange::Set(key.to_owned(), value.to_owned());
    let changes = [
        set("cleanup.policy", "compact"),
        ConfigChange::Append("cleanup.policy".to_owned(), "delete".to_owned()),
        ConfigChange::Delete("retention.ms".to_owned()),
    ];
    let shown = async || {
        let entries = admin.describe_configs(&resource, Some(&["cleanup.policy", "retention.ms"])).await.unwrap();
        let shown = entries.into_iter().map(|entry| (entry.name, entry.value.unwrap_or_default(), entry.source));
        shown.collect::<Vec<_>>()
    };
    let entry = |name: &str, value: &str, source| (name.to_owned(), value.to_owned(), source);
    // One change of a setting in a request.
    admin.alter_configs(&resource, &changes[..1]).await.unwrap();
    let once = entry("retention.ms", "123456", ConfigSource::Topic);
    in_time!(shown().await, [entry("cleanup.policy", "compact", ConfigSource::Topic), once.clone()]);
    admin.alter_configs(&resource, &changes[1..]).await.unwrap();
    let default = entry("retention.ms", "604800000", ConfigSource::Default);
    in_time!(shown().await, [entry("cleanup.policy", "compact,delete", ConfigSource::Topic), default.clone()]);
    let table = ConfigChange::Subtract("cleanup.policy".to_owned(), "compact".to_owned());
    admin.alter_configs(&resource, &[table]).await.unwrap();
    in_time!(shown().await, [entry("cleanup.policy", "delete", ConfigSource::Topic), default.clone()]);
    assert!(admin.describe_configs(&resource, None).await.unwrap().len() > 10);
    let wrong = admin.alter_configs(&resource, &[set("retention.ms", "soon")]).await;
    assert_eq!(class(wrong), Err("InvalidConfigurationException"));
    let node = admin.describe_cluster().await.unwrap().nodes[0].id;
    assert!(!admin.describe_configs(&ConfigResource::Broker(node), None).await.unwrap().is_empty());

    let deleted = admin.delete_topics(&["b", "none"]).await.unwrap();
    assert_eq!(deleted["b"], Ok(()));
    assert_eq!(deleted["none"].as_ref().unwrap_err().simple_class(), "UnknownTopicOrPartitionException");
    let names = async || {
        let topics = admin.list_topics().await.unwrap().into_iter();
        topics.filter(|topic| !topic.internal).map(|topic| topic.name).collect::<Vec<_>>()
    };
    in_time!(names().await, ["a"]);
}

async fn check_records(admin: &Admin, broker: &str) {
    produce(broker, "a", 10).await;
    let place = TopicPartition::new("a", 0);
    let list = async |spec| {
        let wanted = BTreeMap::from([(place.clone(), spec)]);
        only(admin.list_offsets(&wanted, Isolation::ReadCommitted).await.unwrap()).map(|found| found.offset)
    };
    assert_eq!((list(OffsetSpec::Beginning).await, list(OffsetSpec::End).await), (Ok(0), Ok(10)));
    assert_eq!((list(OffsetSpec::LogEnd).await, list(OffsetSpec::Timestamp(1_004)).await), (Ok(10), Ok(4)));
    assert_eq!(list(OffsetSpec::Timestamp(9_999)).await, Ok(-1));
    let before = |offset| BTreeMap::from([(place.clone(), offset)]);
    assert_eq!(only(admin.delete_records(&before(7)).await.unwrap()), Ok(7));
    assert_eq!(list(OffsetSpec::Beginning).await, Ok(7));
    assert_eq!(only(admin.delete_records(&before(70)).await.unwrap()), Err("OffsetOutOfRangeException"));
    assert_eq!(only(admin.delete_records(&before(-1)).await.unwrap()), Ok(10));
}

async fn check_groups(admin: &Admin, broker: &str) {
    let places: Vec<_> = (0..3).map(|partition| TopicPartition::new("a", partition)).collect();
    let offsets: Offsets = places.iter().cloned().map(|place| (place, OffsetAndMetadata::new(5))).collect();
    assert_eq!(admin.group_offsets("g").await.unwrap(), Offsets::new(), "a group that is not there has no offsets");
    let altered = admin.alter_group_offsets("g", &offsets).await.unwrap();
    assert!(altered.len() == 3 && altered.values().all(Result::is_ok), "{altered:?}");
    assert_eq!(admin.group_offsets("g").await.unwrap(), offsets);
    let listed = admin.list_groups().await.unwrap();
    assert!(listed.iter().any(|group| group.group_id == "g" && group.state == "Empty"), "{listed:?}");

    let more = [("group.id", "g"), ("auto.offset.reset", "earliest"), ("client.id", "reader")];
    let consumer = Consumer::new(ConsumerConfig::parse(&properties(broker, &more)).unwrap());
    consumer.subscribe(Subscription::Topics(vec!["a".to_owned()])).unwrap();
    let start = Instant::now();
    while consumer.assignment().len() < 3 {
        assert!(start.elapsed() < PATIENCE, "the group was not joined");
        consumer.poll(Instant::now() + Duration::from_millis(100)).await.unwrap();
    }
    let group = admin.describe_group("g").await.unwrap();
    assert_eq!((group.state.as_str(), group.protocol.as_str(), group.members.len()), ("Stable", "range", 1));
    assert_eq!(group.members[0].client_id, "reader");
    let altered = admin.alter_group_offsets("g", &offsets).await.unwrap();
    assert!(altered.values().all(|outcome| outcome.as_ref().is_err_and(|error| error.is(25))), "{altered:?}");
    let one = BTreeSet::from([places[0].clone()]);
    let deleted = only(admin.delete_group_offsets("g", &one).await.unwrap());
    assert_eq!(deleted, Err("GroupSubscribedToTopicException"));
    assert_eq!(class(admin.delete_group("g").await), Err("GroupNotEmptyException"));
    consumer.close(PATIENCE).await.unwrap();

    assert_eq!(only(admin.delete_group_offsets("g", &one).await.unwrap()), Ok(()));
    assert_eq!(admin.group_offsets("g").await.unwrap().len(), 2);
    admin.delete_group("g").await.unwrap();
    assert_eq!(class(admin.delete_group("g").await), Err("GroupIdNotFoundException"));
    assert_eq!(admin.group_offsets("g").await.unwrap(), Offsets::new());
    assert_eq!(admin.find_coordinator("g").await.unwrap().node, admin.describe_cluster().await.unwrap().nodes[0].id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_broker_is_administered() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    check_administration(broker.address()).await;
}

#[test]
fn apache_kafka_is_administered() {
    let Some(java) = skip_without_java("apache_kafka_is_administered") else { return };
    let kafka = ApacheKafka::start(&java).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(check_administration(&kafka.address()));
}
