//! What both brokers are asked.

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_producers_request::TopicRequest as DescribeProducersTopic;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as IncrementalResource, AlterableConfig as IncrementalConfig,
};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use kurier_kafka::batch::{Builder, BuilderOptions, Compression, Stamp};
use uuid::Uuid;

use crate::side::Known;

/// One request.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) request: Box<dyn Fn(&Known) -> RequestKind>,
    pub(crate) repeatable: bool,
    /// Fields of the answer that may differ: texts for people, times.
    pub(crate) ignored: &'static [&'static str],
}

fn step(name: &'static str, api: ApiKey, version: i16, request: impl Fn(&Known) -> RequestKind + 'static) -> Step {
    let ignored = &[
        "error_message",
        "batch_index_error_message",
        "throttle_time_ms",
        "last_timestamp",
        "transaction_start_time_ms",
    ];
    Step { name, api, version, request: Box::new(request), repeatable: false, ignored }
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
    steps.extend(records());
    steps.extend(versions());
    steps.extend(groups());
    steps.extend(transactions());
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
        create("create by hand", 7, vec![manual(&[(0, &[1]), (1, &[1])])]),
        create("create by hand with a gap", 7, vec![manual(&[(0, &[1]), (2, &[1])]).with_name(topic("gap"))]),
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
        metadata("metadata after growing", 12, &["t"]),
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
        change_configs("an unknown operation", "t", &[("retention.ms", 9, Some("1"))]),
        step("alter all configs", ApiKey::AlterConfigs, 1, |_| {
            let config = AlterableConfig::default().with_name(text("segment.bytes")).with_value(Some(text("2097152")));
            let resource = AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("old"))
                .with_configs(vec![config]);
            RequestKind::AlterConfigs(AlterConfigsRequest::default().with_resources(vec![resource]))
        }),
        describe_configs("configs after altering all", 4, 2, "old", None),
    ]
}

fn batch(values: &[(Option<&str>, Option<&str>)], compression: Compression, stamp: Stamp) -> Bytes {
    let mut builder = Builder::new(BuilderOptions { compression, ..BuilderOptions::default() });
    for (delta, (key, value)) in (0..).zip(values) {
        assert!(builder.try_push(TIME + delta, key.map(str::as_bytes), value.map(str::as_bytes), &[]));
    }
    let mut batch = builder.finish().expect("small batches are built");
    batch.stamp(stamp);
    batch.seal()
}

fn plain(values: &[&str]) -> Bytes {
    let records: Vec<_> = values.iter().map(|value| (None, Some(*value))).collect();
    batch(&records, Compression::None, Stamp::NONE)
}

fn produce(
    name: &'static str,
    version: i16,
    to: &'static str,
    partition: i32,
    acks: i16,
    records: Option<Bytes>,
) -> Step {
    step(name, ApiKey::Produce, version, move |known| {
        let data = PartitionProduceData::default().with_index(partition).with_records(records.clone());
        let data = TopicProduceData::default().with_partition_data(vec![data]);
        let data = if version >= 13 {
            data.with_topic_id(known.topics.get(to).copied().unwrap_or(Uuid::from_u128(99)))
        } else {
            data.with_name(topic(to))
        };
        RequestKind::Produce(
            ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![data]),
        )
    })
}

struct Read {
    of: &'static str,
    partition: i32,
    offset: i64,
    max_bytes: i32,
    isolation: i8,
    epoch: i32,
}

const READ: Read = Read { of: "t", partition: 0, offset: 0, max_bytes: 1 << 20, isolation: 0, epoch: -1 };

fn fetch(name: &'static str, version: i16, read: Read) -> Step {
    step(name, ApiKey::Fetch, version, move |known| {
        let partition = FetchPartition::default()
            .with_partition(read.partition)
            .with_fetch_offset(read.offset)
            .with_current_leader_epoch(read.epoch)
            .with_partition_max_bytes(read.max_bytes);
        let wanted = FetchTopic::default().with_partitions(vec![partition]);
        let wanted = if version >= 13 {
            wanted.with_topic_id(known.topics.get(read.of).copied().unwrap_or(Uuid::from_u128(99)))
        } else {
            wanted.with_topic(topic(read.of))
        };
        let request = FetchRequest::default().with_max_wait_ms(100).with_min_bytes(1).with_max_bytes(1 << 20);
        RequestKind::Fetch(
            request.with_isolation_level(read.isolation).with_session_epoch(-1).with_topics(vec![wanted]),
        )
    })
    .repeatable()
}

fn list_offsets(name: &'static str, version: i16, of: &'static str, partition: i32, time: i64) -> Step {
    step(name, ApiKey::ListOffsets, version, move |_| {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(time)
            .with_current_leader_epoch(-1);
        let wanted = ListOffsetsTopic::default().with_name(topic(of)).with_partitions(vec![partition]);
        RequestKind::ListOffsets(ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![wanted]))
    })
    .repeatable()
}

fn records() -> Vec<Step> {
    let good = plain(&["a", "b"]);
    let mut flipped = good.to_vec();
    let last = flipped.len() - 2;
    flipped[last] ^= 1;
    let mut old = good.to_vec();
    old[16] = 1;
    let producer =
        |sequence: i32| Stamp { producer_id: 4000, producer_epoch: 0, base_sequence: sequence, transactional: false };
    let numbered = |sequence: i32| batch(&[(None, Some("x"))], Compression::None, producer(sequence));
    let mut steps = vec![
        produce("produce", 3, "t", 0, -1, Some(good.clone())),
        produce("produce with version 9", 9, "t", 0, 1, Some(good.clone())),
        produce("produce by id", 13, "t", 0, -1, Some(good.clone())),
        produce("produce to an unknown id", 13, "missing", 0, -1, Some(good.clone())),
        produce("produce to a missing topic", 9, "missing", 0, -1, Some(good.clone())),
        produce("produce to a missing partition", 9, "t", 77, -1, Some(good.clone())),
        produce("produce with acks of 5", 9, "t", 0, 5, Some(good.clone())),
        produce("produce a changed byte", 9, "t", 0, -1, Some(flipped.into())),
        produce("produce two batches", 9, "t", 0, -1, Some([&good[..], &good[..]].concat().into())),
        produce("produce without a key to a table", 9, "table", 0, -1, Some(good.clone())),
        produce("produce too much", 9, "t", 0, -1, Some(plain(&[&"x".repeat(1_100_000)]))),
        produce("produce with a sequence", 9, "t", 1, -1, Some(numbered(0))),
        produce("produce the next sequence", 9, "t", 1, -1, Some(numbered(1))),
        produce("repeat a sequence", 9, "t", 1, -1, Some(numbered(0))),
        produce("leave a sequence out", 9, "t", 1, -1, Some(numbered(5))),
        produce(
            "produce to a table",
            9,
            "table",
            0,
            -1,
            Some(batch(&[(Some("k"), Some("v")), (Some("k"), None)], Compression::None, Stamp::NONE)),
        ),
        fetch("fetch", 4, READ),
        fetch("fetch with version 12", 12, READ),
        fetch("fetch by id", 13, READ),
        fetch("fetch by id, version 17", 17, READ),
        fetch("fetch an unknown id", 13, Read { of: "missing", ..READ }),
        fetch("fetch a missing topic", 12, Read { of: "missing", ..READ }),
        fetch("fetch a missing partition", 12, Read { partition: 44, ..READ }),
        fetch("fetch from within a batch", 12, Read { offset: 3, ..READ }),
        fetch("fetch one byte", 12, Read { max_bytes: 1, ..READ }),
        fetch("fetch at the end", 12, Read { offset: 6, ..READ }),
        fetch("fetch beyond the end", 12, Read { offset: 7, ..READ }),
        fetch("fetch before the start", 12, Read { offset: -5, ..READ }),
        fetch("fetch committed", 12, Read { isolation: 1, ..READ }),
        fetch("fetch of a newer leader", 12, Read { epoch: 9, ..READ }),
        list_offsets("latest", 1, "t", 0, -1),
        list_offsets("latest, version 7", 7, "t", 0, -1),
        list_offsets("earliest", 7, "t", 0, -2),
        list_offsets("largest time", 7, "t", 0, -3),
        list_offsets("earliest local", 8, "t", 0, -4),
        list_offsets("latest tiered", 9, "t", 0, -5),
        list_offsets("no such time", 7, "t", 0, -9),
        list_offsets("a time before all", 7, "t", 0, 0),
        list_offsets("a time of a record", 7, "t", 0, TIME + 1),
        list_offsets("a time after all", 7, "t", 0, TIME + 2),
        list_offsets("a time in an empty partition", 7, "t", 2, TIME),
        list_offsets("offsets of a missing partition", 7, "t", 9, -1),
        step("offset for an epoch", ApiKey::OffsetForLeaderEpoch, 4, |_| {
            let partition = |current: i32, asked: i32| {
                OffsetForLeaderPartition::default()
                    .with_partition(0)
                    .with_current_leader_epoch(current)
                    .with_leader_epoch(asked)
            };
            let missing = OffsetForLeaderPartition::default().with_partition(50).with_current_leader_epoch(-1);
            let wanted = OffsetForLeaderTopic::default().with_topic(topic("t")).with_partitions(vec![
                partition(-1, 0),
                partition(0, 3),
                partition(4, 0),
                missing,
            ]);
            RequestKind::OffsetForLeaderEpoch(
                OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![wanted]),
            )
        }),
        step("describe producers", ApiKey::DescribeProducers, 0, |_| {
            let wanted = DescribeProducersTopic::default().with_name(topic("t")).with_partition_indexes(vec![1, 0, 60]);
            RequestKind::DescribeProducers(DescribeProducersRequest::default().with_topics(vec![wanted]))
        }),
        delete_records("delete records", "t", 0, 2),
        delete_records("delete records again", "t", 0, 1),
        delete_records("delete records beyond the end", "t", 0, 99),
        delete_records("delete records of a table", "table", 0, 1),
        delete_records("delete records of a missing partition", "t", 70, 1),
        fetch("fetch what is deleted", 12, READ),
        list_offsets("earliest after deleting", 7, "t", 0, -2),
        delete_records("delete all records", "t", 0, -1),
        list_offsets("earliest after deleting all", 7, "t", 0, -2),
    ];
    for compression in Compression::ALL {
        let records = batch(&[(Some("k"), Some("v")), (Some("l"), Some("w"))], compression, Stamp::NONE);
        steps.push(produce("produce compressed", 9, "manual", 0, -1, Some(records)));
    }
    steps.push(fetch("fetch compressed", 12, Read { of: "manual", ..READ }));
    steps.push(list_offsets("a time in compressed records", 7, "manual", 0, TIME + 1));
    steps
}

fn delete_records(name: &'static str, of: &'static str, partition: i32, offset: i64) -> Step {
    step(name, ApiKey::DeleteRecords, 2, move |_| {
        let partition = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
        let wanted = DeleteRecordsTopic::default().with_name(topic(of)).with_partitions(vec![partition]);
        RequestKind::DeleteRecords(DeleteRecordsRequest::default().with_topics(vec![wanted]).with_timeout_ms(10_000))
    })
}

/// The common questions in every version that this broker serves.
fn versions() -> Vec<Step> {
    let mut steps = Vec::new();
    for version in 0..=13 {
        steps.push(metadata("metadata in every version", version, &["t", "table"]));
    }
    for version in 3..=13 {
        steps.push(produce("produce in every version", version, "old", 0, -1, Some(plain(&["a"]))));
    }
    for version in 4..=17 {
        steps.push(fetch("fetch in every version", version, Read { of: "old", ..READ }));
        steps.push(fetch("fetch beyond the end in every version", version, Read { of: "old", offset: 99, ..READ }));
    }
    for version in 1..=10 {
        for time in [-1, -2, TIME] {
            steps.push(list_offsets("offsets in every version", version, "old", 0, time));
        }
    }
    for version in 0..=6 {
        steps.push(find_coordinator("coordinator in every version", version, 0, "g"));
    }
    for version in 1..=4 {
        steps.push(describe_configs("configs in every version", version, 2, "old", None));
    }
    for version in 2..=4 {
        steps.push(step("offset for an epoch in every version", ApiKey::OffsetForLeaderEpoch, version, |_| {
            let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(-1).with_leader_epoch(0);
            let wanted = OffsetForLeaderTopic::default().with_topic(topic("old")).with_partitions(vec![partition]);
            RequestKind::OffsetForLeaderEpoch(OffsetForLeaderEpochRequest::default().with_topics(vec![wanted]))
        }));
    }
    steps
}

fn group(name: &str) -> GroupId {
    GroupId(name.to_owned().into())
}

fn find_coordinator(name: &'static str, version: i16, kind: i8, key: &'static str) -> Step {
    step(name, ApiKey::FindCoordinator, version, move |_| {
        let request = FindCoordinatorRequest::default().with_key_type(kind);
        let request =
            if version >= 4 { request.with_coordinator_keys(vec![text(key)]) } else { request.with_key(text(key)) };
        RequestKind::FindCoordinator(request)
    })
    .repeatable()
}

fn join(name: &'static str, version: i16, protocols: &'static [&'static str], session_timeout_ms: i32) -> Step {
    step(name, ApiKey::JoinGroup, version, move |known| {
        let protocols = protocols
            .iter()
            .map(|name| {
                JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(Bytes::from_static(b"meta"))
            })
            .collect();
        RequestKind::JoinGroup(
            JoinGroupRequest::default()
                .with_group_id(group("g"))
                .with_session_timeout_ms(session_timeout_ms)
                .with_rebalance_timeout_ms(10_000)
                .with_member_id(text(&known.member))
                .with_protocol_type(text("connect"))
                .with_protocols(protocols),
        )
    })
}

fn sync(name: &'static str, generation: i32, protocol: &'static str) -> Step {
    step(name, ApiKey::SyncGroup, 5, move |known| {
        let assignment = SyncGroupRequestAssignment::default()
            .with_member_id(text(&known.member))
            .with_assignment(Bytes::from_static(b"mine"));
        RequestKind::SyncGroup(
            SyncGroupRequest::default()
                .with_group_id(group("g"))
                .with_generation_id(generation)
                .with_member_id(text(&known.member))
                .with_protocol_type(Some(text("connect")))
                .with_protocol_name(Some(text(protocol)))
                .with_assignments(vec![assignment]),
        )
    })
}

fn heartbeat(name: &'static str, of: &'static str, generation: i32, member: Option<&'static str>) -> Step {
    step(name, ApiKey::Heartbeat, 4, move |known| {
        let member = member.unwrap_or(&known.member);
        RequestKind::Heartbeat(
            HeartbeatRequest::default()
                .with_group_id(group(of))
                .with_generation_id(generation)
                .with_member_id(text(member)),
        )
    })
}

fn commit(
    name: &'static str,
    version: i16,
    of: &'static str,
    generation: i32,
    to: &'static str,
    partition: i32,
    metadata: &str,
) -> Step {
    let metadata = metadata.to_owned();
    step(name, ApiKey::OffsetCommit, version, move |known| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(5)
            .with_committed_metadata(Some(text(&metadata)));
        let wanted = OffsetCommitRequestTopic::default().with_name(topic(to)).with_partitions(vec![partition]);
        let member = if generation < 0 { "" } else { known.member.as_str() };
        RequestKind::OffsetCommit(
            OffsetCommitRequest::default()
                .with_group_id(group(of))
                .with_generation_id_or_member_epoch(generation)
                .with_member_id(text(member))
                .with_topics(vec![wanted]),
        )
    })
}

fn offsets(name: &'static str, of: &'static str, partitions: Option<&'static [i32]>) -> Step {
    step(name, ApiKey::OffsetFetch, 8, move |_| {
        let topics = partitions.map(|partitions| {
            vec![OffsetFetchRequestTopics::default().with_name(topic("t")).with_partition_indexes(partitions.to_vec())]
        });
        let wanted = OffsetFetchRequestGroup::default().with_group_id(group(of)).with_topics(topics);
        RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![wanted]))
    })
}

fn describe_group(name: &'static str, version: i16, of: &'static str) -> Step {
    step(name, ApiKey::DescribeGroups, version, move |_| {
        RequestKind::DescribeGroups(DescribeGroupsRequest::default().with_groups(vec![group(of)]))
    })
}

fn groups() -> Vec<Step> {
    vec![
        find_coordinator("coordinator of a group", 0, 0, "g"),
        find_coordinator("coordinator of a group, version 4", 4, 0, "g"),
        join("join without an id", 7, &["sessioned", "compatible"], 10_000),
        join("join", 7, &["sessioned", "compatible"], 10_000),
        heartbeat("beat before the assignment", "g", 1, None),
        commit("commit before the assignment", 8, "g", 1, "t", 0, ""),
        sync("sync with another protocol", 1, "eager"),
        sync("sync with another generation", 7, "sessioned"),
        sync("sync", 1, "sessioned"),
        sync("sync again", 1, "sessioned"),
        heartbeat("beat", "g", 1, None),
        heartbeat("beat with another generation", "g", 3, None),
        heartbeat("beat as somebody else", "g", 1, Some("nobody")),
        heartbeat("beat in an unknown group", "h", 1, None),
        describe_group("describe a stable group", 5, "g"),
        describe_group("describe an unknown group", 5, "unknown"),
        describe_group("describe an unknown group, version 6", 6, "unknown"),
        commit("commit", 8, "g", 1, "t", 0, "note"),
        commit("commit with another generation", 8, "g", 2, "t", 0, ""),
        commit("commit without a generation in a group with members", 8, "g", -1, "t", 0, ""),
        commit("commit for a missing topic", 8, "g", 1, "missing", 0, ""),
        commit("commit for a missing partition", 8, "g", 1, "t", 55, ""),
        commit("commit with a long text", 8, "g", 1, "t", 0, &"x".repeat(5000)),
        commit("commit by an unknown group with a generation", 8, "solo", 3, "t", 0, ""),
        commit("commit by an unknown group", 8, "solo", -1, "t", 1, "alone"),
        offsets("offsets", "g", Some(&[0, 1, 99])),
    ]
    .into_iter()
    .chain((2..=9).map(|version| commit("commit in every version", version, "g", 1, "t", 2, "note")))
    .chain((1..=7).map(|version| {
        step("offsets in every version of one group", ApiKey::OffsetFetch, version, |_| {
            let wanted = OffsetFetchRequestTopic::default().with_name(topic("t")).with_partition_indexes(vec![1, 2]);
            RequestKind::OffsetFetch(
                OffsetFetchRequest::default().with_group_id(group("g")).with_topics(Some(vec![wanted])),
            )
        })
    }))
    .chain((0..=6).map(|version| describe_group("describe in every version", version, "g")))
    .chain((0..=5).map(|version| {
        step("list groups in every version", ApiKey::ListGroups, version, |_| {
            RequestKind::ListGroups(ListGroupsRequest::default())
        })
    }))
    .chain(more_groups())
    .collect()
}

fn more_groups() -> Vec<Step> {
    vec![
        offsets("all offsets", "solo", None),
        offsets("all offsets of an unknown group", "unknown", None),
        step("offsets of one group, version 5", ApiKey::OffsetFetch, 5, |_| {
            let wanted = OffsetFetchRequestTopic::default().with_name(topic("t")).with_partition_indexes(vec![0, 1]);
            RequestKind::OffsetFetch(
                OffsetFetchRequest::default().with_group_id(group("g")).with_topics(Some(vec![wanted])),
            )
        }),
        step("list groups", ApiKey::ListGroups, 4, |_| RequestKind::ListGroups(ListGroupsRequest::default())),
        step("list groups by state", ApiKey::ListGroups, 4, |_| {
            RequestKind::ListGroups(ListGroupsRequest::default().with_states_filter(vec![text("empty")]))
        }),
        join("join again with a short session", 7, &["sessioned"], 10),
        join("join again with no protocol", 7, &[], 10_000),
        join("lead again", 7, &["sessioned", "compatible"], 10_000),
        sync("sync the next generation", 2, "sessioned"),
        delete_offsets("delete offsets of a group with members", "g"),
        delete_group("delete a group with members", "g"),
        step("leave", ApiKey::LeaveGroup, 4, |known| {
            let me = MemberIdentity::default().with_member_id(text(&known.member));
            let other = MemberIdentity::default().with_member_id(text("nobody"));
            RequestKind::LeaveGroup(
                LeaveGroupRequest::default().with_group_id(group("g")).with_members(vec![other, me]),
            )
        }),
        describe_group("describe an empty group", 5, "g"),
        delete_offsets("delete offsets", "g"),
        delete_offsets("delete offsets of an unknown group", "unknown"),
        offsets("offsets after deleting", "g", Some(&[0])),
        delete_group("delete a group", "g"),
        delete_group("delete a group again", "g"),
        describe_group("describe a deleted group", 5, "g"),
    ]
}

fn delete_offsets(name: &'static str, of: &'static str) -> Step {
    step(name, ApiKey::OffsetDelete, 0, move |_| {
        let partition = OffsetDeleteRequestPartition::default();
        let wanted = OffsetDeleteRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
        RequestKind::OffsetDelete(OffsetDeleteRequest::default().with_group_id(group(of)).with_topics(vec![wanted]))
    })
}

fn delete_group(name: &'static str, of: &'static str) -> Step {
    step(name, ApiKey::DeleteGroups, 2, move |_| {
        RequestKind::DeleteGroups(DeleteGroupsRequest::default().with_groups_names(vec![group(of)]))
    })
}

fn tx() -> TransactionalId {
    TransactionalId("tx".into())
}

fn init(name: &'static str, timeout_ms: i32) -> Step {
    let mut step = step(name, ApiKey::InitProducerId, 4, move |_| {
        RequestKind::InitProducerId(
            InitProducerIdRequest::default()
                .with_transactional_id(Some(tx()))
                .with_transaction_timeout_ms(timeout_ms)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        )
    });
    step.ignored = &["throttle_time_ms", "producer_epoch"];
    step
}

fn add(name: &'static str, to: &'static str, partitions: &'static [i32], older: i16) -> Step {
    step(name, ApiKey::AddPartitionsToTxn, 3, move |known| {
        let wanted = AddPartitionsToTxnTopic::default().with_name(topic(to)).with_partitions(partitions.to_vec());
        RequestKind::AddPartitionsToTxn(
            AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(tx())
                .with_v3_and_below_producer_id(ProducerId(known.producer.0))
                .with_v3_and_below_producer_epoch(known.producer.1 - older)
                .with_v3_and_below_topics(vec![wanted]),
        )
    })
}

fn write(name: &'static str, partition: i32, sequence: i32, older: i16) -> Step {
    step(name, ApiKey::Produce, 9, move |known| {
        let stamp = Stamp {
            producer_id: known.producer.0,
            producer_epoch: known.producer.1 - older,
            base_sequence: sequence,
            transactional: true,
        };
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch(
            &[(None, Some("in a transaction"))],
            Compression::None,
            stamp,
        )));
        let data = TopicProduceData::default().with_name(topic("old")).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![data]);
        RequestKind::Produce(request.with_transactional_id(Some(tx())))
    })
}

fn end(name: &'static str, committed: bool, older: i16) -> Step {
    step(name, ApiKey::EndTxn, 3, move |known| {
        RequestKind::EndTxn(
            EndTxnRequest::default()
                .with_transactional_id(tx())
                .with_producer_id(ProducerId(known.producer.0))
                .with_producer_epoch(known.producer.1 - older)
                .with_committed(committed),
        )
    })
}

fn offsets_in(name: &'static str, of: &'static str) -> Step {
    step(name, ApiKey::TxnOffsetCommit, 3, move |known| {
        let partition =
            TxnOffsetCommitRequestPartition::default().with_committed_offset(8).with_committed_metadata(None);
        let wanted = TxnOffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
        RequestKind::TxnOffsetCommit(
            TxnOffsetCommitRequest::default()
                .with_transactional_id(tx())
                .with_group_id(group(of))
                .with_producer_id(ProducerId(known.producer.0))
                .with_producer_epoch(known.producer.1)
                .with_generation_id(-1)
                .with_topics(vec![wanted]),
        )
    })
}

/// The positions of the log, without the records: their producer ids differ.
fn positions(name: &'static str, isolation: i8) -> Step {
    let mut step = fetch(name, 12, Read { of: "old", isolation, ..READ });
    step.ignored = &["throttle_time_ms", "records"];
    step
}

fn transactions() -> Vec<Step> {
    vec![
        find_coordinator("coordinator of a transaction", 4, 1, "tx"),
        find_coordinator("coordinator of something else", 4, 7, "tx"),
        init("begin with too long a timeout", i32::MAX),
        init("begin with no timeout", 0),
        init("begin", 60_000),
        write("write without adding", 0, 0, 0),
        end("end nothing", true, 0),
        add("add", "old", &[0], 0),
        add("add what is not there", "old", &[0, 4], 0),
        write("write", 0, 0, 0),
        write("write the next", 0, 1, 0),
        positions("an open transaction", 1),
        positions("an open transaction, uncommitted", 0),
        end("commit", true, 0),
        positions("a committed transaction", 1),
        end("commit again", true, 0),
        end("roll back what is committed", false, 0),
        add("add to the next", "old", &[0], 0),
        write("write in the next", 0, 2, 0),
        end("roll back", false, 0),
        positions("a rolled back transaction", 1),
        offsets_in("offsets without adding the group", "tg"),
        step("add offsets", ApiKey::AddOffsetsToTxn, 3, |known| {
            RequestKind::AddOffsetsToTxn(
                AddOffsetsToTxnRequest::default()
                    .with_transactional_id(tx())
                    .with_producer_id(ProducerId(known.producer.0))
                    .with_producer_epoch(known.producer.1)
                    .with_group_id(group("tg")),
            )
        }),
        offsets_in("offsets", "tg"),
        offsets("offsets while the transaction is open", "tg", Some(&[0])),
        step("stable offsets while the transaction is open", ApiKey::OffsetFetch, 8, |_| {
            let wanted = OffsetFetchRequestTopics::default().with_name(topic("t")).with_partition_indexes(vec![0]);
            let wanted = OffsetFetchRequestGroup::default().with_group_id(group("tg")).with_topics(Some(vec![wanted]));
            RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![wanted]).with_require_stable(true))
        }),
        end("commit offsets", true, 0),
        {
            let mut step = offsets("offsets after the commit", "tg", Some(&[0]));
            step.repeatable = true;
            step
        },
        add("add before somebody else begins", "old", &[0], 0),
        write("write before somebody else begins", 0, 3, 0),
        init("begin again", 60_000),
        add("add with the epoch of before", "old", &[0], 1),
        write("write with the epoch of before", 0, 4, 1),
        end("end with the epoch of before", true, 1),
        positions("a fenced transaction", 1),
        step("describe transactions", ApiKey::DescribeTransactions, 0, |_| {
            let ids = vec![tx(), TransactionalId("unknown".into())];
            RequestKind::DescribeTransactions(DescribeTransactionsRequest::default().with_transactional_ids(ids))
        }),
    ]
}

fn endings() -> Vec<Step> {
    let delete = |name: &'static str, of: &'static [&'static str]| {
        step(name, ApiKey::DeleteTopics, 6, move |_| {
            let topics = of.iter().map(|name| DeleteTopicState::default().with_name(Some(topic(name)))).collect();
            RequestKind::DeleteTopics(DeleteTopicsRequest::default().with_topics(topics).with_timeout_ms(10_000))
        })
    };
    vec![
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
