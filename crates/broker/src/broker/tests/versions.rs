//! Every API in every version that is served: the answer to a full request can be encoded in it.
//!
//! A field that a version lacks makes the encoder refuse the answer, and the client would see its connection close.

use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::*;

use super::*;
use crate::broker::cluster::SERVED;

fn group() -> GroupId {
    GroupId("g".into())
}

/// A request to which the answer has as much in it as can be.
fn full_request(api: ApiKey, version: i16, topic_id: uuid::Uuid) -> RequestKind {
    let name = || topic_name("t");
    let one = || batch(&["one"]);
    match api {
        ApiKey::Produce => {
            let mut request = produce_request(None, "t", 0, one());
            // The second partition is refused with a reason.
            request.topic_data[0]
                .partition_data
                .push(PartitionProduceData::default().with_index(1).with_records(Some(one().slice(..70))));
            request.topic_data[0].topic_id = topic_id;
            RequestKind::Produce(request)
        }
        ApiKey::Fetch => {
            let mut request = fetch_request("t", 0, 0).with_isolation_level(1);
            request.topics[0].topic_id = topic_id;
            RequestKind::Fetch(request)
        }
        ApiKey::ListOffsets => {
            let partitions = [-1, -2, 0]
                .map(|time| ListOffsetsPartition::default().with_timestamp(time).with_current_leader_epoch(-1));
            let topic = ListOffsetsTopic::default().with_name(name()).with_partitions(partitions.to_vec());
            RequestKind::ListOffsets(ListOffsetsRequest::default().with_topics(vec![topic]))
        }
        ApiKey::Metadata => {
            let known = MetadataRequestTopic::default().with_name(Some(name()));
            let unknown = MetadataRequestTopic::default().with_name(Some(topic_name("a b")));
            RequestKind::Metadata(MetadataRequest::default().with_topics(Some(vec![known, unknown])))
        }
        ApiKey::OffsetCommit => {
            let partition =
                OffsetCommitRequestPartition::default().with_committed_offset(1).with_committed_leader_epoch(0);
            let topic = OffsetCommitRequestTopic::default().with_partitions(vec![partition]);
            let topic = if version >= 10 { topic.with_topic_id(topic_id) } else { topic.with_name(name()) };
            let request = OffsetCommitRequest::default().with_group_id(group()).with_generation_id_or_member_epoch(-1);
            RequestKind::OffsetCommit(request.with_topics(vec![topic]))
        }
        ApiKey::OffsetFetch => {
            let topic = OffsetFetchRequestTopic::default().with_name(name()).with_partition_indexes(vec![0, 1]);
            let topics = OffsetFetchRequestTopics::default().with_partition_indexes(vec![0, 1]);
            let topics = if version >= 10 { topics.with_topic_id(topic_id) } else { topics.with_name(name()) };
            let of = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![topics]));
            let request = OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic]));
            RequestKind::OffsetFetch(request.with_groups(vec![of]))
        }
        ApiKey::FindCoordinator => RequestKind::FindCoordinator(
            FindCoordinatorRequest::default().with_key("g".into()).with_coordinator_keys(vec!["g".into()]),
        ),
        ApiKey::JoinGroup => {
            let protocol = JoinGroupRequestProtocol::default().with_name("p".into());
            let request =
                JoinGroupRequest::default().with_group_id(GroupId("joined".into())).with_session_timeout_ms(10_000);
            RequestKind::JoinGroup(request.with_protocol_type("connect".into()).with_protocols(vec![protocol]))
        }
        ApiKey::SyncGroup => RequestKind::SyncGroup(SyncGroupRequest::default().with_group_id(group())),
        ApiKey::Heartbeat => RequestKind::Heartbeat(HeartbeatRequest::default().with_group_id(group())),
        ApiKey::LeaveGroup => {
            let member = MemberIdentity::default().with_member_id("m".into());
            RequestKind::LeaveGroup(LeaveGroupRequest::default().with_group_id(group()).with_members(vec![member]))
        }
        ApiKey::DescribeGroups => RequestKind::DescribeGroups(DescribeGroupsRequest::default().with_groups(vec![
            group(),
            GroupId("unknown".into()),
            GroupId("joined".into()),
        ])),
        ApiKey::ListGroups => RequestKind::ListGroups(ListGroupsRequest::default()),
        ApiKey::ApiVersions => RequestKind::ApiVersions(ApiVersionsRequest::default()),
        ApiKey::CreateTopics => {
            let topic = |name: &str| {
                CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(1).with_replication_factor(1)
            };
            let fresh = format!("fresh-{version}");
            RequestKind::CreateTopics(CreateTopicsRequest::default().with_topics(vec![topic("t"), topic(&fresh)]))
        }
        ApiKey::DeleteTopics => {
            let state = DeleteTopicState::default().with_name(Some(topic_name("missing")));
            let request = DeleteTopicsRequest::default().with_topic_names(vec![topic_name("missing")]);
            RequestKind::DeleteTopics(request.with_topics(vec![state]))
        }
        ApiKey::DeleteRecords => {
            let partition = DeleteRecordsPartition::default().with_offset(0);
            let topic = DeleteRecordsTopic::default().with_name(name()).with_partitions(vec![partition]);
            RequestKind::DeleteRecords(DeleteRecordsRequest::default().with_topics(vec![topic]))
        }
        ApiKey::InitProducerId => {
            RequestKind::InitProducerId(InitProducerIdRequest::default().with_transactional_id(None))
        }
        ApiKey::OffsetForLeaderEpoch => {
            let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(-1).with_leader_epoch(0);
            let topic = OffsetForLeaderTopic::default().with_topic(name()).with_partitions(vec![partition]);
            RequestKind::OffsetForLeaderEpoch(OffsetForLeaderEpochRequest::default().with_topics(vec![topic]))
        }
        ApiKey::AddPartitionsToTxn => RequestKind::AddPartitionsToTxn(AddPartitionsToTxnRequest::default()),
        ApiKey::AddOffsetsToTxn => RequestKind::AddOffsetsToTxn(AddOffsetsToTxnRequest::default()),
        ApiKey::EndTxn => RequestKind::EndTxn(EndTxnRequest::default()),
        ApiKey::TxnOffsetCommit => RequestKind::TxnOffsetCommit(TxnOffsetCommitRequest::default()),
        ApiKey::DescribeConfigs => {
            let resource = |kind: i8, name: &str| {
                DescribeConfigsResource::default()
                    .with_resource_type(kind)
                    .with_resource_name(name.to_owned().into())
                    .with_configuration_keys(None)
            };
            let resources = vec![resource(2, "t"), resource(2, "missing"), resource(4, "1")];
            RequestKind::DescribeConfigs(
                DescribeConfigsRequest::default().with_resources(resources).with_include_synonyms(true),
            )
        }
        ApiKey::AlterConfigs => {
            let config = AlterableConfig::default().with_name("no.such".into()).with_value(Some("1".into()));
            let resource = AlterConfigsResource::default().with_resource_type(2).with_resource_name("t".into());
            RequestKind::AlterConfigs(
                AlterConfigsRequest::default().with_resources(vec![resource.with_configs(vec![config])]),
            )
        }
        ApiKey::IncrementalAlterConfigs => {
            let config =
                incremental::AlterableConfig::default().with_name("no.such".into()).with_value(Some("1".into()));
            let resource =
                incremental::AlterConfigsResource::default().with_resource_type(2).with_resource_name("t".into());
            RequestKind::IncrementalAlterConfigs(
                IncrementalAlterConfigsRequest::default().with_resources(vec![resource.with_configs(vec![config])]),
            )
        }
        ApiKey::DescribeLogDirs => RequestKind::DescribeLogDirs(DescribeLogDirsRequest::default().with_topics(None)),
        ApiKey::CreatePartitions => {
            let topic = CreatePartitionsTopic::default().with_name(name()).with_count(1).with_assignments(None);
            RequestKind::CreatePartitions(CreatePartitionsRequest::default().with_topics(vec![topic]))
        }
        ApiKey::DeleteGroups => {
            RequestKind::DeleteGroups(DeleteGroupsRequest::default().with_groups_names(vec![GroupId("unknown".into())]))
        }
        ApiKey::ListPartitionReassignments => {
            RequestKind::ListPartitionReassignments(ListPartitionReassignmentsRequest::default())
        }
        ApiKey::OffsetDelete => {
            let partition = OffsetDeleteRequestPartition::default().with_partition_index(1);
            let topic = OffsetDeleteRequestTopic::default().with_name(name()).with_partitions(vec![partition]);
            RequestKind::OffsetDelete(OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![topic]))
        }
        ApiKey::DescribeCluster => {
            RequestKind::DescribeCluster(DescribeClusterRequest::default().with_endpoint_type(1))
        }
        ApiKey::DescribeProducers => {
            let topic = TopicRequest::default().with_name(name()).with_partition_indexes(vec![0, 9]);
            RequestKind::DescribeProducers(DescribeProducersRequest::default().with_topics(vec![topic]))
        }
        ApiKey::DescribeTransactions => {
            let ids = vec![TransactionalId("unknown".into())];
            RequestKind::DescribeTransactions(DescribeTransactionsRequest::default().with_transactional_ids(ids))
        }
        ApiKey::SaslHandshake => {
            RequestKind::SaslHandshake(SaslHandshakeRequest::default().with_mechanism("PLAIN".into()))
        }
        ApiKey::SaslAuthenticate => RequestKind::SaslAuthenticate(Default::default()),
        ApiKey::DescribeUserScramCredentials => {
            let user = describe_user_scram_credentials_request::UserName::default().with_name("ada".into());
            RequestKind::DescribeUserScramCredentials(
                DescribeUserScramCredentialsRequest::default().with_users(Some(vec![user])),
            )
        }
        ApiKey::AlterUserScramCredentials => {
            let deletion = alter_user_scram_credentials_request::ScramCredentialDeletion::default()
                .with_name("ada".into())
                .with_mechanism(1);
            RequestKind::AlterUserScramCredentials(
                AlterUserScramCredentialsRequest::default().with_deletions(vec![deletion]),
            )
        }
        ApiKey::ListTransactions => RequestKind::ListTransactions(ListTransactionsRequest::default()),
        ApiKey::DescribeTopicPartitions => RequestKind::DescribeTopicPartitions(
            DescribeTopicPartitionsRequest::default().with_response_partition_limit(1).with_cursor(None),
        ),
        ApiKey::DescribeAcls => RequestKind::DescribeAcls(DescribeAclsRequest::default()),
        ApiKey::CreateAcls => {
            RequestKind::CreateAcls(CreateAclsRequest::default().with_creations(vec![Default::default()]))
        }
        ApiKey::DeleteAcls => {
            RequestKind::DeleteAcls(DeleteAclsRequest::default().with_filters(vec![Default::default()]))
        }
        ApiKey::DescribeClientQuotas => RequestKind::DescribeClientQuotas(DescribeClientQuotasRequest::default()),
        ApiKey::ElectLeaders => {
            let topic =
                elect_leaders_request::TopicPartitions::default().with_topic(name()).with_partitions(vec![0, 9]);
            RequestKind::ElectLeaders(ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic])))
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let request = ConsumerGroupHeartbeatRequest::default().with_group_id(GroupId("modern".into()));
            RequestKind::ConsumerGroupHeartbeat(
                request
                    .with_member_id(format!("m{version}").into())
                    .with_rebalance_timeout_ms(1000)
                    .with_subscribed_topic_names(Some(vec![name()]))
                    .with_topic_partitions(Some(Vec::new())),
            )
        }
        ApiKey::ConsumerGroupDescribe => RequestKind::ConsumerGroupDescribe(
            ConsumerGroupDescribeRequest::default().with_group_ids(vec![group(), GroupId("modern".into())]),
        ),
        ApiKey::ListConfigResources => RequestKind::ListConfigResources(ListConfigResourcesRequest::default()),
        other => panic!("{other:?} is served and has no request here"),
    }
}

#[test]
fn every_answer_can_be_encoded_in_every_version_that_is_served() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 2, &[]);
    let ResponseKind::Metadata(metadata) =
        rig.ask(12, RequestKind::Metadata(MetadataRequest::default().with_topics(None)))
    else {
        panic!("metadata")
    };
    let topic_id = metadata.topics[0].topic_id;
    for (api, min, max) in SERVED.iter().copied() {
        for version in min..=max {
            // Encodes the answer; a connection for each, for some answers wait.
            let connection = ConnectionId(1000 + u64::try_from(api as i16 * 100 + version).unwrap());
            let correlation = rig.send(connection, version, full_request(api, version, topic_id));
            let answered = rig.take(correlation).is_some();
            assert!(
                answered || api == ApiKey::JoinGroup,
                "{api:?} version {version} is not answered: {:?}",
                rig.replies
            );
        }
    }
    rig.pass(Duration::from_secs(100));
    let left: Vec<i32> = rig
        .replies
        .iter()
        .filter_map(|reply| match reply {
            Reply::Answer { correlation_id, .. } => Some(*correlation_id),
            _ => None,
        })
        .collect();
    for correlation in left {
        rig.take(correlation);
    }
}
