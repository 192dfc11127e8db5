//! The rest of what an admin client does: every call against Apache Kafka, and against our broker those that it serves.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, ProduceRequest, ProducerId, RequestKind,
    ResponseKind, TopicName, TransactionalId,
};
use kurier_broker::{Broker, BrokerConfig};
use kurier_harness::{ApacheKafka, BrokerOptions, skip_without_java};
use kurier_kafka::admin::{
    Acl, AclFilter, AclOperation, Admin, AdminConfig, AdminError, ClusterOptions, ConfigChange, ConfigOptions,
    ConfigResource, ConfigSource, ConfigType, GroupFilter, HangingTransaction, MemberToRemove, MorePartitions,
    Outcomes, PatternType, Permission, ResourceType, ScramChange, ScramCredentialInfo, TopicLayout, TopicToCreate,
    TransactionFilter, UpgradeType,
};
use kurier_kafka::batch::{Builder, BuilderOptions, Stamp};
use kurier_kafka::consumer::{
    Consumer, ConsumerConfig, Isolation, OffsetAndMetadata, OffsetSpec, Offsets, Subscription, TopicPartition,
};
use kurier_kafka::error::KafkaError;
use kurier_kafka::group::Coordinator;
use kurier_kafka::net::{Target, TcpTransport, Transport};
use kurier_kafka::security::sasl::scram::ScramHash;

const PATIENCE: Duration = Duration::from_secs(60);

/// Of the record that [`batch`] has.
const TIMESTAMP: i64 = 1_700_000_000_000;

fn properties(broker: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let given = [("bootstrap.servers", broker)];
    given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The answer to a request that no client sends by itself.
async fn raw(broker: &str, to: Target, request: RequestKind) -> ResponseKind {
    let net = AdminConfig::parse(&properties(broker, &[])).unwrap().net;
    let highest = matches!(request, RequestKind::Produce(_)).then_some(11);
    TcpTransport::new(net).send(to, Box::new(request), highest, PATIENCE).await.unwrap()
}

/// A batch of one record.
fn batch(stamp: Stamp) -> Bytes {
    let mut builder = Builder::new(BuilderOptions::default());
    assert!(builder.try_push(TIMESTAMP, None, Some(b"value"), &[]));
    let mut batch = builder.finish().unwrap();
    batch.stamp(stamp);
    batch.seal()
}

/// A broker that is asked.
struct Side {
    admin: Admin,
    address: String,
    apache: bool,
}

impl Side {
    fn new(address: &str, apache: bool) -> Self {
        let admin = Admin::new(AdminConfig::parse(&properties(address, &[])).unwrap());
        Self { admin, address: address.to_owned(), apache }
    }

    /// The answer, unless the broker does not serve the call: that only ours may.
    fn served<T>(&self, call: &str, result: Result<T, AdminError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(AdminError::Refused { error, .. }) if error.is_unsupported() && !self.apache => {
                println!("our broker does not serve {call}");
                None
            }
            Err(error) => panic!("{call}: {error}"),
        }
    }
}

/// The outcome of a call that named one thing, with Java's class for an error.
fn only<K: Ord, T>(outcomes: Outcomes<K, T>) -> Result<T, &'static str> {
    assert_eq!(outcomes.len(), 1);
    outcomes.into_values().next().unwrap().map_err(|error| error.simple_class())
}

/// Asks until the answer is as it shall be: brokers learn of changes a little later than whoever made them.
macro_rules! in_time {
    ($answer:expr, $is:expr) => {{
        let start = Instant::now();
        loop {
            let answer = $answer;
            if $is(&answer) {
                break answer;
            }
            assert!(start.elapsed() < PATIENCE, "{answer:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }};
}

fn topic(name: &str, layout: TopicLayout) -> TopicToCreate {
    TopicToCreate { name: name.to_owned(), layout, config: BTreeMap::new() }
}

async fn check_topics(side: &Side) {
    let admin = &side.admin;
    let node = admin.describe_cluster().await.unwrap().nodes[0].id;
    let counted = |partitions| TopicLayout::Counted { partitions: Some(partitions), replicas: None };
    let tried = admin.create_topics(&[topic("tried", counted(2))], true).await.unwrap();
    assert_eq!(only(tried).map(|made| (made.partitions, made.replicas)), Ok((Some(2), Some(1))));
    assert_eq!(admin.partitions("tried").await.unwrap(), None, "only tried");
    let assigned = TopicLayout::Assigned(BTreeMap::from([(0, vec![node]), (1, vec![node])]));
    let elsewhere = TopicLayout::Assigned(BTreeMap::from([(0, vec![node + 70])]));
    let mut bad = topic("bad-config", counted(1));
    bad.config.insert("retention.ms".to_owned(), "soon".to_owned());
    let wanted = [
        topic("counted", TopicLayout::default()),
        topic("assigned", assigned),
        topic("elsewhere", elsewhere),
        topic("no topic!", counted(1)),
        topic("too-many", TopicLayout::Counted { partitions: Some(1), replicas: Some(9) }),
        bad,
    ];
    let made = admin.create_topics(&wanted, false).await.unwrap();
    let classes: BTreeMap<&str, &str> = made
        .iter()
        .map(|(name, outcome)| (name.as_str(), outcome.as_ref().map_or_else(|error| error.simple_class(), |_| "made")))
        .collect();
    let expected = [
        ("assigned", "made"),
        ("bad-config", "InvalidConfigurationException"),
        ("counted", "made"),
        ("elsewhere", "InvalidReplicaAssignmentException"),
        ("no topic!", "InvalidTopicException"),
        ("too-many", "InvalidReplicationFactorException"),
    ];
    assert_eq!(classes, BTreeMap::from(expected));
    assert!(!made["assigned"].as_ref().unwrap().id.is_nil());
    let again = admin.create_topics(&wanted[..1], false).await.unwrap();
    assert_eq!(only(again).map(|_| ()), Err("TopicExistsException"));

    in_time!(admin.partitions("assigned").await.unwrap(), |found: &Option<usize>| *found == Some(2));
    let described = admin.describe_topics_with(&["assigned"], true).await.unwrap();
    let described = only(described).unwrap();
    assert!(described.partitions.iter().all(|partition| partition.offline.is_empty()));
    if side.apache {
        let operations = described.authorized_operations.unwrap();
        assert!(operations.contains(&AclOperation::Read) && operations.contains(&AclOperation::AlterConfigs));
    }
    let listed = admin.list_topics().await.unwrap();
    assert!(listed.iter().any(|topic| topic.name == "assigned" && topic.id == described.id), "{listed:?}");

    let more = |total, assignments| MorePartitions { total, assignments };
    let wanted = BTreeMap::from([
        ("assigned".to_owned(), more(3, Some(vec![vec![node]]))),
        ("counted".to_owned(), more(3, Some(vec![vec![node]]))),
        ("none".to_owned(), more(3, None)),
    ]);
    for validate_only in [true, false] {
        let outcomes = admin.widen_topics(&wanted, validate_only).await.unwrap();
        let class = |topic: &str| outcomes[topic].as_ref().map_err(|error| error.simple_class());
        assert_eq!(class("assigned"), Ok(&()));
        assert_eq!(class("counted"), Err("InvalidReplicaAssignmentException"));
        assert_eq!(class("none"), Err("UnknownTopicOrPartitionException"));
    }
    in_time!(admin.partitions("assigned").await.unwrap(), |found: &Option<usize>| *found == Some(3));
}

async fn check_configs(side: &Side) {
    let admin = &side.admin;
    let node = admin.describe_cluster().await.unwrap().nodes[0].id;
    let set = |key: &str, value: &str| ConfigChange::Set(key.to_owned(), value.to_owned());
    let (assigned, none) = (ConfigResource::Topic("assigned".to_owned()), ConfigResource::Topic("none".to_owned()));
    let changes = BTreeMap::from([
        (assigned.clone(), vec![set("retention.ms", "1000"), set("max.message.bytes", "2000")]),
        (none.clone(), vec![set("retention.ms", "1000")]),
    ]);
    for validate_only in [true, false] {
        let outcomes = admin.incremental_alter_configs(&changes, validate_only).await.unwrap();
        assert_eq!(outcomes[&assigned], Ok(()));
        assert_eq!(outcomes[&none].as_ref().unwrap_err().simple_class(), "UnknownTopicOrPartitionException");
    }
    let options = ConfigOptions { synonyms: true, documentation: true };
    let entry = in_time!(
        {
            let resources = [assigned.clone(), ConfigResource::Broker(node)];
            let mut found = admin.describe_configs_of(&resources, options).await.unwrap();
            assert!(found[&resources[1]].as_ref().is_ok_and(|entries| !entries.is_empty()));
            let entries = found.remove(&assigned).unwrap().unwrap();
            entries.into_iter().find(|entry| entry.name == "max.message.bytes").unwrap()
        },
        |entry: &kurier_kafka::admin::ConfigEntry| entry.value.as_deref() == Some("2000")
    );
    assert_eq!((entry.source, entry.sensitive, entry.read_only), (ConfigSource::Topic, false, false));
    if side.apache {
        assert_eq!(entry.kind, ConfigType::Int);
        let sources: Vec<_> = entry.synonyms.iter().map(|synonym| synonym.source).collect();
        assert_eq!(sources, [ConfigSource::Topic, ConfigSource::Default]);
        assert_eq!(entry.synonyms[1].name, "message.max.bytes");
        assert!(entry.documentation.is_some_and(|text| text.len() > 20));
        check_other_resources(admin, node).await;
    }
}

/// Of Apache Kafka only: groups, loggers, all brokers, metrics of clients.
async fn check_other_resources(admin: &Admin, node: i32) {
    let set = |key: &str, value: &str| vec![ConfigChange::Set(key.to_owned(), value.to_owned())];
    let group = ConfigResource::Group("with-settings".to_owned());
    let logger = ConfigResource::BrokerLogger(node);
    let metrics = ConfigResource::ClientMetrics("all".to_owned());
    let changes = BTreeMap::from([
        (group.clone(), set("consumer.session.timeout.ms", "46000")),
        (logger.clone(), set("kafka.server.KafkaApis", "ERROR")),
        (ConfigResource::AllBrokers, set("log.cleaner.threads", "2")),
        (metrics.clone(), set("interval.ms", "60000")),
    ]);
    let altered = admin.incremental_alter_configs(&changes, false).await.unwrap();
    assert!(altered.len() == 4 && altered.values().all(Result::is_ok), "{altered:?}");
    let resources: Vec<_> = changes.keys().cloned().collect();
    let value = |found: &Outcomes<ConfigResource, Vec<kurier_kafka::admin::ConfigEntry>>, of: &ConfigResource| {
        let (ConfigChange::Set(key, _) | ConfigChange::Delete(key)) = &changes[of][0] else { unreachable!() };
        let entries = found[of].as_ref().unwrap();
        let entry = entries.iter().find(|entry| entry.name == *key);
        entry.map(|entry| (entry.value.clone().unwrap_or_default(), entry.source))
    };
    let expected = [
        (ConfigResource::AllBrokers, "2", ConfigSource::AllBrokers),
        (logger.clone(), "ERROR", ConfigSource::BrokerLogger),
        (metrics.clone(), "60000", ConfigSource::ClientMetrics),
        (group.clone(), "46000", ConfigSource::Group),
    ];
    in_time!(
        {
            let found = admin.describe_configs_of(&resources, ConfigOptions::default()).await.unwrap();
            expected.iter().map(|(of, ..)| value(&found, of)).collect::<Vec<_>>()
        },
        |found: &Vec<_>| {
            *found == expected.iter().map(|(_, value, source)| Some(((*value).to_owned(), *source))).collect::<Vec<_>>()
        }
    );
    let listed = admin.list_config_resources(&[]).await.unwrap();
    assert!([&group, &metrics, &logger].iter().all(|wanted| listed.contains(wanted)), "{listed:?}");
    assert_eq!(admin.list_config_resources(std::slice::from_ref(&metrics)).await.unwrap(), [metrics]);
}

async fn check_cluster(side: &Side) {
    let admin = &side.admin;
    let options = ClusterOptions { authorized_operations: true, fenced_brokers: false };
    let cluster = admin.describe_cluster_with(options).await.unwrap();
    if side.apache {
        let operations = cluster.authorized_operations.unwrap();
        assert!(operations.contains(&AclOperation::Alter) && operations.contains(&AclOperation::DescribeConfigs));
    }
    assert_eq!((cluster.nodes.len(), cluster.nodes[0].fenced), (1, false));
    let node = cluster.nodes[0].id;
    if let Some(dirs) = side.served("DescribeLogDirs", admin.describe_log_dirs(&[node]).await) {
        let dirs = only(dirs).unwrap();
        let (_, dir) = dirs.first_key_value().unwrap();
        assert!(dir.error.is_none() && dir.replicas.contains_key(&TopicPartition::new("assigned", 2)), "{dir:?}");
        assert!(!side.apache || dir.total_bytes >= dir.usable_bytes && dir.usable_bytes.is_some());
    }
    let features = admin.describe_features().await.unwrap();
    if side.apache {
        let (least, most) = features.supported["metadata.version"];
        let level = features.finalized["metadata.version"].1;
        assert!(least <= level && level <= most && features.epoch.is_some(), "{features:?}");
        let update = |name: &str, level, kind| BTreeMap::from([(name.to_owned(), (level, kind))]);
        let tried = update("transaction.version", 1, UpgradeType::SafeDowngrade);
        assert_eq!(only(admin.update_features(&tried, true).await.unwrap()), Ok(()));
        let beyond = update("metadata.version", 999, UpgradeType::Upgrade);
        assert_eq!(only(admin.update_features(&beyond, true).await.unwrap()), Err("InvalidUpdateVersionException"));
        let quorum = admin.describe_quorum().await.unwrap();
        assert_eq!((quorum.leader, quorum.voters.len(), quorum.voters[0].id), (node, 1, node));
        assert!(quorum.high_watermark > 0 && quorum.epoch > 0);
    }
}

async fn write(side: &Side, place: &TopicPartition, transaction: Option<TransactionalId>, stamp: Stamp) {
    let data = PartitionProduceData::default().with_index(place.partition).with_records(Some(batch(stamp)));
    let name = TopicName(place.topic.to_string().into());
    let topic = TopicProduceData::default().with_name(name).with_partition_data(vec![data]);
    let produce = ProduceRequest::default()
        .with_transactional_id(transaction)
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic]);
    let answer = raw(&side.address, Target::Any, RequestKind::Produce(produce)).await;
    let ResponseKind::Produce(written) = answer else { panic!("{answer:?}") };
    assert_eq!(written.responses[0].partition_responses[0].error_code, 0, "{written:?}");
}

/// Writes a record of a transaction that nobody will end.
async fn leave_a_transaction_open(side: &Side, id: &str, place: &TopicPartition) -> (i64, i16) {
    let transaction = TransactionalId(id.to_owned().into());
    let find = FindCoordinatorRequest::default().with_key_type(1).with_coordinator_keys(vec![id.to_owned().into()]);
    let coordinator = loop {
        let answer = raw(&side.address, Target::Any, RequestKind::FindCoordinator(find.clone())).await;
        let ResponseKind::FindCoordinator(found) = answer else { panic!("{answer:?}") };
        let found = &found.coordinators[0];
        if found.error_code == 0 {
            break Coordinator { node: found.node_id.0, host: found.host.to_string(), port: found.port as u16 };
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let coordinator = || Target::Coordinator(coordinator.clone());
    let init = InitProducerIdRequest::default()
        .with_transactional_id(Some(transaction.clone()))
        .with_transaction_timeout_ms(60_000)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    let (id, epoch) = loop {
        let answer = raw(&side.address, coordinator(), RequestKind::InitProducerId(init.clone())).await;
        let ResponseKind::InitProducerId(made) = answer else { panic!("{answer:?}") };
        if made.error_code == 0 {
            break (made.producer_id, made.producer_epoch);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let name = TopicName(place.topic.to_string().into());
    let topic = AddPartitionsToTxnTopic::default().with_name(name).with_partitions(vec![place.partition]);
    let add = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(transaction.clone())
        .with_v3_and_below_producer_id(id)
        .with_v3_and_below_producer_epoch(epoch)
        .with_v3_and_below_topics(vec![topic]);
    let answer = raw(&side.address, coordinator(), RequestKind::AddPartitionsToTxn(add)).await;
    let ResponseKind::AddPartitionsToTxn(added) = answer else { panic!("{answer:?}") };
    assert_eq!(added.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code, 0);
    let stamp = Stamp { producer_id: id.0, producer_epoch: epoch, base_sequence: 0, transactional: true };
    write(side, place, Some(transaction), stamp).await;
    (id.0, epoch)
}

async fn check_transactions(side: &Side) {
    let admin = &side.admin;
    let place = TopicPartition::new("assigned", 1);
    let (id, epoch) = leave_a_transaction_open(side, "open", &place).await;
    let Some(described) = side.served("DescribeTransactions", admin.describe_transactions(&["open", "none"]).await)
    else {
        return;
    };
    let open = described["open"].as_ref().unwrap();
    assert_eq!((open.state.as_str(), open.producer_id, open.epoch), ("Ongoing", id, epoch));
    assert_eq!((open.timeout, open.partitions.contains(&place)), (Duration::from_secs(60), true));
    assert!(open.started.is_some());
    let class = described["none"].as_ref().unwrap_err().simple_class();
    assert_eq!(class, "TransactionalIdNotFoundException");

    let filter = |states: &[&str], producers: &[i64]| TransactionFilter {
        states: states.iter().map(|state| (*state).to_owned()).collect(),
        producers: producers.to_vec(),
        ..TransactionFilter::default()
    };
    let filters = [
        (filter(&["Ongoing"], &[]), true),
        (filter(&["Empty"], &[]), false),
        (filter(&[], &[id]), true),
        (filter(&[], &[id + 70]), false),
        (TransactionFilter { longer_than: Some(Duration::from_secs(3_600)), ..filter(&[], &[]) }, false),
        (TransactionFilter { id_pattern: Some("o.*n".to_owned()), ..filter(&[], &[]) }, true),
    ];
    for (filter, expected) in filters {
        let Some(listed) = side.served("ListTransactions", admin.list_transactions(&filter).await) else { continue };
        let found = listed.iter().any(|listed| listed.transactional_id == "open" && listed.producer_id == id);
        assert_eq!(found, expected, "{filter:?}: {listed:?}");
    }

    let producers = async || only(admin.describe_producers(std::slice::from_ref(&place)).await.unwrap()).unwrap();
    let state = producers().await[0];
    assert_eq!((state.producer_id, state.epoch, state.last_sequence), (id, i32::from(epoch), 0));
    let start = state.transaction_start.unwrap();
    let ends = async |isolation| {
        let wanted = BTreeMap::from([(place.clone(), OffsetSpec::End)]);
        only(admin.list_offsets(&wanted, isolation).await.unwrap()).unwrap().offset
    };
    assert_eq!(ends(Isolation::ReadCommitted).await, start);
    let hanging = HangingTransaction { partition: place.clone(), producer_id: id, epoch, coordinator_epoch: 0 };
    if side.served("WriteTxnMarkers", admin.abort_transaction(&hanging).await).is_some() {
        in_time!(producers().await, |states: &Vec<kurier_kafka::admin::ProducerState>| {
            states.iter().all(|state| state.transaction_start.is_none())
        });
        assert_eq!(ends(Isolation::ReadCommitted).await, ends(Isolation::ReadUncommitted).await);
    }
    let fenced = admin.fence_producers(&["open", "never-there"]).await.unwrap();
    assert_eq!(fenced["open"].as_ref().unwrap().0, id);
    assert!(fenced["open"].as_ref().unwrap().1 > epoch, "{fenced:?}");
    assert!(fenced["never-there"].as_ref().is_ok_and(|(_, epoch)| *epoch == 0), "{fenced:?}");
    let none = only(admin.describe_producers(&[TopicPartition::new("counted", 0)]).await.unwrap());
    assert_eq!(none, Ok(Vec::new()));
}

async fn check_offsets(side: &Side) {
    let place = TopicPartition::new("assigned", 2);
    write(side, &place, None, Stamp::NONE).await;
    let list = async |spec| {
        let wanted = BTreeMap::from([(place.clone(), spec)]);
        only(side.admin.list_offsets(&wanted, Isolation::ReadUncommitted).await.unwrap())
    };
    let latest = list(OffsetSpec::MaxTimestamp).await.unwrap();
    assert_eq!((latest.offset, latest.timestamp), (0, TIMESTAMP));
    if side.apache {
        assert_eq!(list(OffsetSpec::EarliestLocal).await.map(|found| found.offset), Ok(0));
        assert_eq!(list(OffsetSpec::LatestTiered).await.map(|found| found.offset), Ok(-1));
        assert_eq!(list(OffsetSpec::Beginning).await.unwrap().leader_epoch, Some(0));
    }
}

async fn check_groups(side: &Side) {
    let admin = &side.admin;
    let more = [("group.id", "classic"), ("group.instance.id", "one"), ("client.id", "reader")];
    let consumer = Consumer::new(ConsumerConfig::parse(&properties(&side.address, &more)).unwrap());
    consumer.subscribe(Subscription::Topics(vec!["assigned".to_owned()])).unwrap();
    let start = Instant::now();
    while consumer.assignment().len() < 3 {
        assert!(start.elapsed() < PATIENCE, "the group was not joined");
        consumer.poll(Instant::now() + Duration::from_millis(100)).await.unwrap();
    }
    let filter = |states: &[&str], types: &[&str], protocols: &[&str]| GroupFilter {
        states: states.iter().map(|state| (*state).to_owned()).collect(),
        types: types.iter().map(|kind| (*kind).to_owned()).collect(),
        protocol_types: protocols.iter().map(|kind| (*kind).to_owned()).collect(),
    };
    let filters = [
        (filter(&["Stable"], &[], &[]), true),
        (filter(&["Empty"], &[], &[]), false),
        (filter(&[], &["classic"], &[]), true),
        (filter(&[], &["consumer"], &[]), false),
        (filter(&[], &[], &["consumer"]), true),
        (filter(&[], &[], &["connect"]), false),
    ];
    for (filter, expected) in filters {
        let Some(listed) = side.served("ListGroups by type", admin.list_groups_with(&filter).await) else { continue };
        assert_eq!(listed.iter().any(|group| group.group_id == "classic"), expected, "{filter:?}: {listed:?}");
    }
    let described = admin.describe_groups(&["classic", "none"], true).await.unwrap();
    let group = described["classic"].as_ref().unwrap();
    assert_eq!((group.members.len(), group.members[0].instance_id.as_deref()), (1, Some("one")));
    if side.apache {
        assert!(group.authorized_operations.as_ref().unwrap().contains(&AclOperation::Delete));
        let class = described["none"].as_ref().unwrap_err().simple_class();
        assert_eq!(class, "GroupIdNotFoundException");
    }
    let members = [MemberToRemove::Instance("one".to_owned()), MemberToRemove::Instance("two".to_owned())];
    let removed = admin.remove_members("classic", &members, "no longer needed").await.unwrap();
    assert_eq!(removed[&members[0]], Ok(()));
    assert_eq!(removed[&members[1]].as_ref().unwrap_err().simple_class(), "UnknownMemberIdException");
    drop(consumer);

    let places: Vec<_> = (0..2).map(|partition| TopicPartition::new("assigned", partition)).collect();
    let offsets: Offsets = places.iter().cloned().map(|place| (place, OffsetAndMetadata::new(1))).collect();
    admin.alter_group_offsets("kept", &offsets).await.unwrap();
    let one = BTreeSet::from([places[0].clone(), TopicPartition::new("assigned", 2)]);
    let found = admin.group_offsets_of("kept", &one, true).await.unwrap();
    assert_eq!(found.into_keys().collect::<Vec<_>>(), [places[0].clone()]);
    let deleted = admin.delete_groups(&["kept", "none"]).await.unwrap();
    assert_eq!(deleted["kept"], Ok(()));
    assert_eq!(deleted["none"].as_ref().unwrap_err().simple_class(), "GroupIdNotFoundException");
    let Some(described) =
        side.served("ConsumerGroupDescribe", admin.describe_consumer_groups(&["classic"], false).await)
    else {
        return;
    };
    assert_eq!(only(described).map(|_| ()), Err("GroupIdNotFoundException"));
}

/// A group of the consumer protocol, with a member.
async fn check_consumer_groups(side: &Side) {
    let admin = &side.admin;
    let more = [("group.id", "newer"), ("group.protocol", "consumer"), ("client.id", "reader"), ("client.rack", "r")];
    let consumer = Consumer::new(ConsumerConfig::parse(&properties(&side.address, &more)).unwrap());
    consumer.subscribe(Subscription::Topics(vec!["assigned".to_owned()])).unwrap();
    let start = Instant::now();
    while consumer.assignment().len() < 3 {
        assert!(start.elapsed() < PATIENCE, "the group was not joined");
        consumer.poll(Instant::now() + Duration::from_millis(100)).await.unwrap();
    }
    let places: BTreeSet<_> = (0..3).map(|partition| TopicPartition::new("assigned", partition)).collect();
    let described = only(admin.describe_consumer_groups(&["newer"], false).await.unwrap()).unwrap();
    let member = &described.members[0];
    assert_eq!((member.client_id.as_str(), member.rack.as_deref(), member.classic), ("reader", Some("r"), Some(false)));
    assert_eq!((&member.target, member.topics.as_slice()), (&places, ["assigned".to_owned()].as_slice()));
    assert!(described.epoch > 0 && described.assignor == "uniform", "{described:?}");
    let only_newer = GroupFilter { types: vec!["consumer".to_owned()], ..GroupFilter::default() };
    let listed = admin.list_groups_with(&only_newer).await.unwrap();
    assert!(listed.iter().any(|group| group.group_id == "newer" && group.group_type.eq_ignore_ascii_case("consumer")));
    assert_eq!(only(admin.delete_groups(&["newer"]).await.unwrap()), Err("GroupNotEmptyException"));
    consumer.close(PATIENCE).await.unwrap();
    let deleted = in_time!(only(admin.delete_groups(&["newer"]).await.unwrap()), |gone: &Result<(), _>| gone.is_ok());
    assert_eq!(deleted, Ok(()));
}

async fn check_acls(admin: &Admin) {
    let acl = |name: &str, pattern, operation| Acl {
        resource: ResourceType::Topic,
        name: name.to_owned(),
        pattern,
        principal: "User:alice".to_owned(),
        host: "*".to_owned(),
        operation,
        permission: Permission::Allow,
    };
    let acls = [
        acl("orders", PatternType::Literal, AclOperation::Read),
        acl("ord", PatternType::Prefixed, AclOperation::Write),
        Acl { permission: Permission::Deny, ..acl("other", PatternType::Literal, AclOperation::All) },
    ];
    let nameless = acl("", PatternType::Literal, AclOperation::Read);
    let all: Vec<Acl> = acls.iter().cloned().chain([nameless.clone()]).collect();
    let made = admin.create_acls(&all).await.unwrap();
    assert!(acls.iter().all(|acl| made[acl].is_ok()), "{made:?}");
    assert_eq!(made[&nameless].as_ref().unwrap_err().simple_class(), "InvalidRequestException");
    let mut expected = acls.to_vec();
    expected.sort();
    in_time!(admin.describe_acls(&AclFilter::ANY).await.unwrap(), |found: &Vec<Acl>| *found == expected);
    let matching = AclFilter {
        resource: ResourceType::Topic,
        name: Some("orders".to_owned()),
        pattern: PatternType::Match,
        ..AclFilter::ANY
    };
    let found = admin.describe_acls(&matching).await.unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    let nobody = AclFilter { principal: Some("User:bob".to_owned()), ..AclFilter::ANY };
    let deleted = admin.delete_acls(&[matching.clone(), nobody.clone()]).await.unwrap();
    let of = deleted[&matching].as_ref().unwrap();
    assert!(of.len() == 2 && of.iter().all(Result::is_ok), "{deleted:?}");
    assert_eq!(deleted[&nobody], Ok(Vec::new()));
    in_time!(admin.describe_acls(&AclFilter::ANY).await.unwrap(), |found: &Vec<Acl>| *found == acls[2..]);
}

async fn check_scram_credentials(admin: &Admin) {
    let set = |user: &str, hash, iterations| ScramChange::Set {
        user: user.to_owned(),
        hash,
        iterations,
        password: "secret".into(),
    };
    let changes = [
        set("alice", ScramHash::Sha256, 4_096),
        set("bob", ScramHash::Sha256, 100),
        ScramChange::Delete { user: "carol".to_owned(), hash: ScramHash::Sha256 },
    ];
    let class = |error: &KafkaError| error.simple_class();
    let altered = admin.alter_scram_credentials(&changes).await.unwrap();
    assert_eq!(altered["alice"], Ok(()));
    let more = [set("alice", ScramHash::Sha512, 8_192)];
    assert_eq!(only(admin.alter_scram_credentials(&more).await.unwrap()), Ok(()));
    assert_eq!(altered["bob"].as_ref().map_err(class), Err("UnacceptableCredentialException"));
    assert_eq!(altered["carol"].as_ref().map_err(class), Err("ResourceNotFoundException"));
    let info = |hash, iterations| ScramCredentialInfo { hash, iterations };
    let both = vec![info(ScramHash::Sha256, 4_096), info(ScramHash::Sha512, 8_192)];
    in_time!(admin.describe_scram_credentials(&[]).await.unwrap(), |all: &Outcomes<_, _>| {
        all.get("alice") == Some(&Ok(both.clone()))
    });
    let found = admin.describe_scram_credentials(&["bob"]).await.unwrap();
    assert_eq!(found["bob"].as_ref().map_err(class), Err("ResourceNotFoundException"));
    assert!(!format!("{changes:?}").contains("secret"));
    let delete = [ScramChange::Delete { user: "alice".to_owned(), hash: ScramHash::Sha256 }];
    assert_eq!(only(admin.alter_scram_credentials(&delete).await.unwrap()), Ok(()));
}

async fn check_all(side: &Side) {
    check_topics(side).await;
    check_configs(side).await;
    check_cluster(side).await;
    check_transactions(side).await;
    check_offsets(side).await;
    check_groups(side).await;
    check_consumer_groups(side).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_broker_does_what_it_serves() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let side = Side::new(broker.address(), false);
    check_all(&side).await;
    let refused = side.admin.describe_acls(&AclFilter::ANY).await.unwrap_err();
    assert_eq!(refused.into_kafka().simple_class(), "SecurityDisabledException");
}

#[test]
fn apache_kafka_does_everything() {
    let Some(java) = skip_without_java("apache_kafka_does_everything") else { return };
    let properties =
        ["authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS"];
    let properties = properties.map(str::to_owned).to_vec();
    let kafka = ApacheKafka::start_with(&java, BrokerOptions { properties, ..BrokerOptions::default() }).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let side = Side::new(&kafka.address(), true);
        check_all(&side).await;
        check_acls(&side.admin).await;
        check_scram_credentials(&side.admin).await;
    });
}
