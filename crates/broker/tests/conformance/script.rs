//! What both brokers are asked.

mod alone;
mod compression;
mod consumers;
mod groups;
pub(crate) mod migration;
mod records;
mod sessions;
mod transactions;
mod transactions_v2;

use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as IncrementalResource, AlterableConfig as IncrementalConfig,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::side::Known;
use alone::alone;
use compression::compression;
use consumers::consumers;
use groups::groups;
use migration::migration;
use records::{records, versions};
use sessions::sessions;
use transactions::transactions;
use transactions_v2::transactions_v2;

/// One request.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) request: Box<dyn Fn(&Known) -> RequestKind>,
    pub(crate) repeatable: bool,
    /// Fields of the answer that may differ: texts for people, times.
    pub(crate) ignored: &'static [&'static str],
    /// When there are any: the only fields of the answer that are compared.
    pub(crate) shown: &'static [&'static str],
}

fn step(name: &'static str, api: ApiKey, version: i16, request: impl Fn(&Known) -> RequestKind + 'static) -> Step {
    let ignored = &["batch_index_error_message", "throttle_time_ms", "last_timestamp", "transaction_start_time_ms"];
    Step { name, api, version, request: Box::new(request), repeatable: false, ignored, shown: &[] }
}

fn topic(name: &str) -> TopicName {
    TopicName(name.to_owned().into())
}

fn text(value: &str) -> StrBytes {
    value.to_owned().into()
}

/// The time of all records.
const TIME: i64 = 1_700_000_000_000;

pub(crate) fn script() -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(topics());
    steps.extend(configs());
    steps.extend(alone());
    steps.extend(records());
    steps.extend(versions());
    steps.extend(compression());
    steps.extend(sessions());
    steps.extend(groups());
    steps.extend(groups::by_id());
    steps.extend(consumers());
    steps.extend(migration());
    steps.extend(transactions());
    steps.extend(migration::in_transactions());
    steps.extend(transactions_v2());
    steps.extend(endings());
    steps
}

fn create(name: &'static str, version: i16, topics: Vec<CreatableTopic>) -> Step {
    step(name, ApiKey::CreateTopics, version, move |_| {
        RequestKind::CreateTopics(CreateTopicsRequest::default().with_topics(topics.clone()).with_timeout_ms(10_000))
    })
}

fn creatable(name: &str, partitions: i32, configs: &[(&str, Option<&str>)]) -> CreatableTopic {
    let configs = configs
        .iter()
        .map(|(name, value)| CreatableTopicConfig::default().with_name(text(name)).with_value(value.map(text)))
        .collect();
    CreatableTopic::default()
        .with_name(topic(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs)
}

fn metadata(name: &'static str, version: i16, names: &'static [&'static str]) -> Step {
    step(name, ApiKey::Metadata, version, move |_| {
        let topics = names.iter().map(|name| MetadataRequestTopic::default().with_name(Some(topic(name)))).collect();
        RequestKind::Metadata(
            MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(version < 4),
        )
    })
    .repeatable()
}

fn topics() -> Vec<Step> {
    let manual = |assignments: &[(i32, &[i32])]| {
        let assignments = assignments
            .iter()
            .map(|(index, brokers)| {
                CreatableReplicaAssignment::default()
                    .with_partition_index(*index)
                    .with_broker_ids(brokers.iter().copied().map(BrokerId).collect())
            })
            .collect();
        creatable("manual", -1, &[]).with_replication_factor(-1).with_assignments(assignments)
    };
    let long = "x".repeat(250);
    vec![
        metadata("metadata of the cluster", 12, &[]),
        metadata("metadata of an unknown topic", 9, &["missing"]),
        metadata("metadata of an illegal topic", 9, &["not legal"]),
        create(
            "create",
            7,
            vec![creatable("t", 2, &[("cleanup.policy", Some("delete")), ("segment.bytes", Some("1048576"))])],
        ),
        create("create again", 7, vec![creatable("t", 2, &[])]),
        create("create with version 2", 2, vec![creatable("old", -1, &[])]),
        create(
            "create with version 5",
            5,
            vec![creatable("table", -1, &[("cleanup.policy", Some("compact"))]).with_replication_factor(-1)],
        ),
        create("create with no partitions", 7, vec![creatable("none", 0, &[])]),
        create("create with too many replicas", 7, vec![creatable("none", 1, &[]).with_replication_factor(3)]),
        create("create with replication factor 0", 7, vec![creatable("none", 1, &[]).with_replication_factor(0)]),
        create("create an illegal name", 7, vec![creatable("a b", 1, &[])]),
        create("create an empty name", 7, vec![creatable("", 1, &[])]),
        create("create a dot", 7, vec![creatable(".", 1, &[])]),
        create("create a long name", 7, vec![creatable(&long, 1, &[])]),
        create("create with an unknown config", 7, vec![creatable("none", 1, &[("no.such", Some("1"))])]),
        create("create with a bad config", 7, vec![creatable("none", 1, &[("retention.ms", Some("soon"))])]),
        create("create with a null config", 7, vec![creatable("none", 1, &[("retention.ms", None)])]),
        create("create twice in one request", 7, vec![creatable("none", 1, &[]), creatable("none", 2, &[])]),
        create("create with colliding names", 7, vec![creatable("a.b", 1, &[]), creatable("a_b", 1, &[])]),
        create("create what collides with a topic", 7, vec![creatable("a.b", 1, &[]), creatable("a_b_c", 1, &[])]),
        create("create what collides with the last one", 7, vec![creatable("a.b_c", 1, &[])]),
        create("create by hand", 7, vec![manual(&[(0, &[1]), (1, &[1])])]),
        create("create by hand with a gap", 7, vec![manual(&[(0, &[1]), (2, &[1])]).with_name(topic("gap"))]),
        create(
            "create by hand one partition twice",
            7,
            vec![manual(&[(0, &[1]), (0, &[1])]).with_name(topic("twice"))],
        ),
        create("create by hand at no broker", 7, vec![manual(&[(0, &[])]).with_name(topic("nowhere"))]),
        create("create by hand at one broker twice", 7, vec![manual(&[(0, &[1, 1])]).with_name(topic("twice"))]),
        create("create by hand elsewhere", 7, vec![manual(&[(0, &[9])]).with_name(topic("elsewhere"))]),
        create(
            "create by hand and by number",
            7,
            vec![manual(&[(0, &[1])]).with_name(topic("both")).with_num_partitions(3)],
        ),
        step("only validate", ApiKey::CreateTopics, 6, |_| {
            let request =
                CreateTopicsRequest::default().with_topics(vec![creatable("dry", 4, &[])]).with_validate_only(true);
            RequestKind::CreateTopics(request.with_timeout_ms(10_000))
        }),
        metadata("metadata by name", 12, &["t", "table", "manual", "dry"]),
        metadata("metadata by name, version 1", 1, &["t"]),
        step("metadata by id", ApiKey::Metadata, 12, |known| {
            let known_id = MetadataRequestTopic::default().with_name(None).with_topic_id(known.topics["t"]);
            let unknown = MetadataRequestTopic::default().with_name(None).with_topic_id(Uuid::from_u128(99));
            RequestKind::Metadata(MetadataRequest::default().with_topics(Some(vec![known_id, unknown])))
        })
        .repeatable(),
        create_partitions("grow", "t", 3, false),
        create_partitions("grow to as many", "t", 3, false),
        create_partitions("shrink", "t", 1, false),
        create_partitions("grow to minus one", "t", -1, false),
        create_partitions("grow what is not there", "missing", 3, false),
        create_partitions("only try to grow", "t", 9, true),
        assign_partitions("grow with too few assignments", &[("t", 5, &[&[1]])]),
        assign_partitions("grow elsewhere", &[("t", 4, &[&[9]])]),
        assign_partitions("grow to one broker twice", &[("t", 4, &[&[1, 1]])]),
        assign_partitions("grow to no broker", &[("t", 4, &[&[]])]),
        assign_partitions("grow twice in one request", &[("t", 4, &[&[1]]), ("t", 5, &[&[1], &[1]])]),
        metadata("metadata after growing", 12, &["t"]),
        step("metadata with what may be done", ApiKey::Metadata, 10, |_| {
            let asked = MetadataRequestTopic::default().with_name(Some(topic("t")));
            let request = MetadataRequest::default().with_topics(Some(vec![asked]));
            let request = request.with_include_topic_authorized_operations(true);
            RequestKind::Metadata(request.with_include_cluster_authorized_operations(true))
        })
        .repeatable(),
        step("describe the cluster with what may be done", ApiKey::DescribeCluster, 1, |_| {
            let request = DescribeClusterRequest::default().with_endpoint_type(1);
            RequestKind::DescribeCluster(request.with_include_cluster_authorized_operations(true))
        }),
        describe_partitions("describe partitions", &["t", "missing", "table"], 2000, None),
        describe_partitions("describe partitions by pages", &["t", "table"], 2, None),
        describe_partitions("describe partitions from a cursor", &["t", "table"], 2, Some(("t", 2))),
        step("describe the cluster", ApiKey::DescribeCluster, 1, |_| {
            RequestKind::DescribeCluster(DescribeClusterRequest::default().with_endpoint_type(1))
        }),
    ]
}

fn create_partitions(name: &'static str, of: &'static str, count: i32, validate_only: bool) -> Step {
    step(name, ApiKey::CreatePartitions, 3, move |_| {
        let topic = CreatePartitionsTopic::default().with_name(topic(of)).with_count(count).with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        RequestKind::CreatePartitions(request.with_validate_only(validate_only))
    })
}

type Assigned = (&'static str, i32, &'static [&'static [i32]]);

fn assign_partitions(name: &'static str, of: &'static [Assigned]) -> Step {
    step(name, ApiKey::CreatePartitions, 3, move |_| {
        let topics = of.iter().map(|(name, count, assigned)| {
            let assigned = assigned.iter().map(|brokers| {
                CreatePartitionsAssignment::default().with_broker_ids(brokers.iter().copied().map(BrokerId).collect())
            });
            let topic = CreatePartitionsTopic::default().with_name(topic(name)).with_count(*count);
            topic.with_assignments(Some(assigned.collect()))
        });
        let request = CreatePartitionsRequest::default().with_topics(topics.collect());
        RequestKind::CreatePartitions(request.with_timeout_ms(10_000))
    })
}

fn describe_partitions(
    name: &'static str,
    names: &'static [&'static str],
    limit: i32,
    cursor: Option<(&'static str, i32)>,
) -> Step {
    step(name, ApiKey::DescribeTopicPartitions, 0, move |_| {
        let topics = names.iter().map(|name| TopicRequest::default().with_name(topic(name))).collect();
        let cursor =
            cursor.map(|(name, index)| Cursor::default().with_topic_name(topic(name)).with_partition_index(index));
        let request =
            DescribeTopicPartitionsRequest::default().with_topics(topics).with_response_partition_limit(limit);
        RequestKind::DescribeTopicPartitions(request.with_cursor(cursor))
    })
    .repeatable()
}

fn describe_configs(
    name: &'static str,
    version: i16,
    kind: i8,
    of: &'static str,
    keys: Option<&'static [&'static str]>,
) -> Step {
    step(name, ApiKey::DescribeConfigs, version, move |_| {
        let keys = keys.map(|keys| keys.iter().map(|key| text(key)).collect());
        let resource = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(of))
            .with_configuration_keys(keys);
        RequestKind::DescribeConfigs(DescribeConfigsRequest::default().with_resources(vec![resource]))
    })
    .repeatable()
}

/// Configs of topics, but for `min.insync.replicas`: its default depends on how a cluster was formatted.
const TOPIC_CONFIGS: [&str; 30] = [
    "cleanup.policy",
    "compression.type",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "preallocate",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.zstd.level",
    "local.retention.bytes",
    "local.retention.ms",
    "leader.replication.throttled.replicas",
];

/// The configs of a topic with every place that says something about them.
fn config_synonyms(name: &'static str, of: &'static str) -> Step {
    step(name, ApiKey::DescribeConfigs, 4, move |_| {
        let keys = TOPIC_CONFIGS.map(text);
        let resource = DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(of))
            .with_configuration_keys(Some(keys.to_vec()));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        RequestKind::DescribeConfigs(request.with_include_synonyms(true))
    })
    .repeatable()
}

fn change_configs(
    name: &'static str,
    of: &'static str,
    changes: &'static [(&'static str, i8, Option<&'static str>)],
) -> Step {
    step(name, ApiKey::IncrementalAlterConfigs, 1, move |_| {
        let configs = changes
            .iter()
            .map(|(name, operation, value)| {
                IncrementalConfig::default()
                    .with_name(text(name))
                    .with_config_operation(*operation)
                    .with_value(value.map(text))
            })
            .collect();
        let resource =
            IncrementalResource::default().with_resource_type(2).with_resource_name(text(of)).with_configs(configs);
        RequestKind::IncrementalAlterConfigs(IncrementalAlterConfigsRequest::default().with_resources(vec![resource]))
    })
}

fn configs() -> Vec<Step> {
    vec![
        describe_configs("configs of a topic", 4, 2, "table", None),
        describe_configs("configs of a topic, version 1", 1, 2, "t", None),
        describe_configs("some configs of a topic", 4, 2, "t", Some(&["retention.ms", "no.such", "cleanup.policy"])),
        describe_configs("configs of a missing topic", 4, 2, "missing", None),
        describe_configs("configs of a missing broker", 4, 4, "7", None),
        describe_configs("configs of something else", 4, 99, "x", None),
        change_configs(
            "set and append",
            "t",
            &[("retention.ms", 0, Some("1000")), ("cleanup.policy", 2, Some("compact"))],
        ),
        describe_configs("configs after set and append", 4, 2, "t", Some(&["retention.ms", "cleanup.policy"])),
        change_configs("subtract", "t", &[("cleanup.policy", 3, Some("compact"))]),
        change_configs("delete a config", "t", &[("retention.ms", 1, None)]),
        describe_configs("configs after subtract and delete", 4, 2, "t", Some(&["retention.ms", "cleanup.policy"])),
        change_configs("set a bad value", "t", &[("retention.ms", 0, Some("soon"))]),
        change_configs("set an unknown config", "t", &[("no.such", 0, Some("1"))]),
        change_configs("delete an unknown config", "t", &[("no.such", 1, None)]),
        change_configs("set to null", "t", &[("retention.ms", 0, None)]),
        change_configs("append to a number", "t", &[("retention.ms", 2, Some("1"))]),
        change_configs("change one twice", "t", &[("retention.ms", 0, Some("1")), ("retention.ms", 1, None)]),
        change_configs("configs of a missing topic are changed", "missing", &[("retention.ms", 0, Some("1"))]),
        change_configs("a segment that is too small", "t", &[("segment.bytes", 0, Some("100"))]),
        change_configs("a ratio above one", "t", &[("min.cleanable.dirty.ratio", 0, Some("2"))]),
        change_configs("a ratio that is none", "t", &[("min.cleanable.dirty.ratio", 0, Some("half"))]),
        change_configs("an unknown policy", "t", &[("cleanup.policy", 0, Some("delete,purge"))]),
        change_configs("no policy", "t", &[("cleanup.policy", 0, Some(""))]),
        change_configs("a policy twice", "t", &[("cleanup.policy", 0, Some("delete,delete"))]),
        change_configs("an unknown compression", "t", &[("compression.type", 0, Some("odd"))]),
        change_configs("an unknown kind of timestamp", "t", &[("message.timestamp.type", 0, Some("odd"))]),
        change_configs("neither true nor false", "t", &[("preallocate", 0, Some("maybe"))]),
        change_configs("a retention below minus one", "t", &[("retention.ms", 0, Some("-2"))]),
        change_configs("a retention in bytes below minus one", "t", &[("retention.bytes", 0, Some("-2"))]),
        change_configs("a message size below zero", "t", &[("max.message.bytes", 0, Some("-1"))]),
        change_configs("a message size beyond an int", "t", &[("max.message.bytes", 0, Some("3000000000"))]),
        change_configs("a flush of nothing", "t", &[("flush.messages", 0, Some("0"))]),
        change_configs("a segment of no time", "t", &[("segment.ms", 0, Some("0"))]),
        change_configs("a gzip level", "t", &[("compression.gzip.level", 0, Some("99"))]),
        change_configs("a gzip level of zero", "t", &[("compression.gzip.level", 0, Some("0"))]),
        change_configs("an lz4 level", "t", &[("compression.lz4.level", 0, Some("99"))]),
        change_configs("a zstd level", "t", &[("compression.zstd.level", 0, Some("99"))]),
        change_configs("tiered storage", "t", &[("remote.storage.enable", 0, Some("true"))]),
        change_configs("local retention beyond retention", "t", &[("local.retention.ms", 0, Some("9999999999999"))]),
        change_configs("a lag of no time", "t", &[("max.compaction.lag.ms", 0, Some("0"))]),
        change_configs(
            "a lag beyond the longest",
            "t",
            &[("min.compaction.lag.ms", 0, Some("5")), ("max.compaction.lag.ms", 0, Some("4"))],
        ),
        change_configs("throttled replicas", "t", &[("leader.replication.throttled.replicas", 0, Some("odd"))]),
        change_configs("a number with spaces", "t", &[("retention.ms", 0, Some(" 5 "))]),
        describe_configs("configs after a number with spaces", 4, 2, "t", Some(&["retention.ms"])),
        change_configs("remove it", "t", &[("retention.ms", 1, None)]),
        change_configs("true in capitals", "t", &[("preallocate", 0, Some("TRUE"))]),
        change_configs("remove it, too", "t", &[("preallocate", 1, None)]),
        config_synonyms("synonyms of configs", "table"),
        describe_configs("no configs of a topic", 4, 2, "manual", Some(&[])),
        describe_configs("configs of an illegal topic", 4, 2, "not legal", None),
        change_configs("configs of an illegal topic are changed", "not legal", &[("retention.ms", 0, Some("1"))]),
        change_configs("configs of no topic are changed", "", &[("retention.ms", 0, Some("1"))]),
        step("configs of a topic are changed twice", ApiKey::IncrementalAlterConfigs, 1, |_| {
            let config = IncrementalConfig::default().with_name(text("retention.ms")).with_value(Some(text("1")));
            let resource = IncrementalResource::default().with_resource_type(2).with_resource_name(text("t"));
            let resource = resource.with_configs(vec![config]);
            let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource.clone(), resource]);
            RequestKind::IncrementalAlterConfigs(request)
        }),
        alter_all("alter all configs, one to null", &[("retention.ms", None)]),
        alter_all("alter all configs, one twice", &[("retention.ms", Some("1")), ("retention.ms", Some("2"))]),
        change_configs("an unknown operation", "t", &[("retention.ms", 9, Some("1"))]),
        alter_all("alter all configs", &[("segment.bytes", Some("2097152"))]),
        describe_configs("configs after altering all", 4, 2, "old", None),
    ]
}

fn alter_all(name: &'static str, configs: &'static [(&'static str, Option<&'static str>)]) -> Step {
    step(name, ApiKey::AlterConfigs, 1, move |_| {
        let configs = configs
            .iter()
            .map(|(name, value)| AlterableConfig::default().with_name(text(name)).with_value(value.map(text)))
            .collect();
        let resource =
            AlterConfigsResource::default().with_resource_type(2).with_resource_name(text("old")).with_configs(configs);
        RequestKind::AlterConfigs(AlterConfigsRequest::default().with_resources(vec![resource]))
    })
}

fn delete_as(name: &'static str, of: fn(&Known) -> Vec<DeleteTopicState>) -> Step {
    step(name, ApiKey::DeleteTopics, 6, move |known| {
        RequestKind::DeleteTopics(DeleteTopicsRequest::default().with_topics(of(known)).with_timeout_ms(10_000))
    })
}

fn endings() -> Vec<Step> {
    let delete = |name: &'static str, of: &'static [&'static str]| {
        step(name, ApiKey::DeleteTopics, 6, move |_| {
            let topics = of.iter().map(|name| DeleteTopicState::default().with_name(Some(topic(name)))).collect();
            RequestKind::DeleteTopics(DeleteTopicsRequest::default().with_topics(topics).with_timeout_ms(10_000))
        })
    };
    vec![
        delete("delete a topic twice", &["t", "t"]),
        delete_as("delete by name and by id", |known| {
            let by_id = DeleteTopicState::default().with_name(None).with_topic_id(known.topics["t"]);
            vec![DeleteTopicState::default().with_name(Some(topic("t"))), by_id]
        }),
        delete_as("delete by a name with an id", |known| {
            vec![DeleteTopicState::default().with_name(Some(topic("t"))).with_topic_id(known.topics["t"])]
        }),
        delete_as("delete what has no name", |_| vec![DeleteTopicState::default().with_name(None)]),
        delete("delete a topic", &["t", "missing"]),
        metadata("metadata of a deleted topic", 12, &["t"]),
        step("delete by id", ApiKey::DeleteTopics, 6, |known| {
            let topics = [known.topics["table"], Uuid::from_u128(99)]
                .map(|id| DeleteTopicState::default().with_name(None).with_topic_id(id))
                .to_vec();
            RequestKind::DeleteTopics(DeleteTopicsRequest::default().with_topics(topics).with_timeout_ms(10_000))
        }),
        step("delete with version 1", ApiKey::DeleteTopics, 1, |_| {
            let names = vec![topic("old"), topic("missing")];
            RequestKind::DeleteTopics(DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(10_000))
        }),
    ]
}
