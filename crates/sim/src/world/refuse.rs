//! Answers of a broker that is not the right one: not the coordinator, still loading, not the leader.
//!
//! The broker under test is alone and always right, so what clients meet in a cluster is answered here, without the broker.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnResponse, ConsumerGroupHeartbeatResponse, EndTxnResponse, FetchResponse,
    FindCoordinatorResponse, HeartbeatResponse, InitProducerIdResponse, JoinGroupResponse, LeaveGroupResponse,
    ListOffsetsResponse, OffsetCommitResponse, OffsetFetchResponse, ProduceResponse, RequestKind, ResponseKind,
    SyncGroupResponse, TxnOffsetCommitResponse, find_coordinator_response,
};

/// What the broker is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is the coordinator, and has not read what it has to know.
    Loading,
    /// Somebody else is the coordinator, and nobody knows who.
    NotCoordinator,
    /// Somebody else leads the partitions.
    NotLeader,
}

/// The answer to a request; none if the refusal does not concern it.
pub(super) fn answer(refusal: Refusal, request: &RequestKind) -> Option<ResponseKind> {
    let code = match refusal {
        Refusal::Loading => ResponseError::CoordinatorLoadInProgress,
        Refusal::NotCoordinator => ResponseError::NotCoordinator,
        Refusal::NotLeader => return not_leader(request),
    }
    .code();
    Some(match request {
        RequestKind::FindCoordinator(request) if refusal == Refusal::NotCoordinator => {
            let code = ResponseError::CoordinatorNotAvailable.code();
            let entry = |key: &kafka_protocol::protocol::StrBytes| {
                find_coordinator_response::Coordinator::default()
                    .with_key(key.clone())
                    .with_node_id((-1).into())
                    .with_port(-1)
                    .with_error_code(code)
            };
            let entries = request.coordinator_keys.iter().map(entry).collect();
            ResponseKind::FindCoordinator(FindCoordinatorResponse::default().with_coordinators(entries))
        }
        RequestKind::JoinGroup(request) => ResponseKind::JoinGroup(
            JoinGroupResponse::default()
                .with_error_code(code)
                .with_generation_id(-1)
                .with_protocol_name(None)
                .with_member_id(request.member_id.clone()),
        ),
        RequestKind::SyncGroup(_) => ResponseKind::SyncGroup(SyncGroupResponse::default().with_error_code(code)),
        RequestKind::Heartbeat(_) => ResponseKind::Heartbeat(HeartbeatResponse::default().with_error_code(code)),
        RequestKind::ConsumerGroupHeartbeat(_) => ResponseKind::ConsumerGroupHeartbeat(
            ConsumerGroupHeartbeatResponse::default().with_error_code(code).with_heartbeat_interval_ms(1_000),
        ),
        RequestKind::InitProducerId(request) if request.transactional_id.is_some() => ResponseKind::InitProducerId(
            InitProducerIdResponse::default()
                .with_error_code(code)
                .with_producer_id((-1).into())
                .with_producer_epoch(-1),
        ),
        RequestKind::AddOffsetsToTxn(_) => {
            ResponseKind::AddOffsetsToTxn(AddOffsetsToTxnResponse::default().with_error_code(code))
        }
        RequestKind::EndTxn(_) => ResponseKind::EndTxn(
            EndTxnResponse::default().with_error_code(code).with_producer_id((-1).into()).with_producer_epoch(-1),
        ),
        RequestKind::AddPartitionsToTxn(request) => {
            let topics = request.v3_and_below_topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|partition| {
                    AddPartitionsToTxnPartitionResult::default()
                        .with_partition_index(*partition)
                        .with_partition_error_code(code)
                });
                AddPartitionsToTxnTopicResult::default()
                    .with_name(topic.name.clone())
                    .with_results_by_partition(partitions.collect())
            });
            ResponseKind::AddPartitionsToTxn(
                AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics.collect()),
            )
        }
        RequestKind::TxnOffsetCommit(request) => {
            let topics = request.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|partition| {
                    TxnOffsetCommitResponsePartition::default()
                        .with_partition_index(partition.partition_index)
                        .with_error_code(code)
                });
                TxnOffsetCommitResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions.collect())
            });
            ResponseKind::TxnOffsetCommit(TxnOffsetCommitResponse::default().with_topics(topics.collect()))
        }
        RequestKind::LeaveGroup(_) => ResponseKind::LeaveGroup(LeaveGroupResponse::default().with_error_code(code)),
        RequestKind::OffsetCommit(request) => {
            let topics = request.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|partition| {
                    OffsetCommitResponsePartition::default()
                        .with_partition_index(partition.partition_index)
                        .with_error_code(code)
                });
                OffsetCommitResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_topic_id(topic.topic_id)
                    .with_partitions(partitions.collect())
            });
            ResponseKind::OffsetCommit(OffsetCommitResponse::default().with_topics(topics.collect()))
        }
        RequestKind::OffsetFetch(request) => {
            let groups = request.groups.iter().map(|group| {
                OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone()).with_error_code(code)
            });
            ResponseKind::OffsetFetch(OffsetFetchResponse::default().with_groups(groups.collect()))
        }
        _ => return None,
    })
}

fn not_leader(request: &RequestKind) -> Option<ResponseKind> {
    let code = ResponseError::NotLeaderOrFollower.code();
    Some(match request {
        RequestKind::Produce(request) => {
            let topics = request.topic_data.iter().map(|topic| {
                let partitions = topic.partition_data.iter().map(|data| {
                    PartitionProduceResponse::default()
                        .with_index(data.index)
                        .with_error_code(code)
                        .with_base_offset(-1)
                        .with_log_append_time_ms(-1)
                });
                TopicProduceResponse::default()
                    .with_name(topic.name.clone())
                    .with_topic_id(topic.topic_id)
                    .with_partition_responses(partitions.collect())
            });
            ResponseKind::Produce(ProduceResponse::default().with_responses(topics.collect()))
        }
        RequestKind::Fetch(request) => {
            let topics = request.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|partition| {
                    PartitionData::default()
                        .with_partition_index(partition.partition)
                        .with_error_code(code)
                        .with_high_watermark(-1)
                        .with_records(Some(bytes::Bytes::new()))
                });
                FetchableTopicResponse::default()
                    .with_topic(topic.topic.clone())
                    .with_topic_id(topic.topic_id)
                    .with_partitions(partitions.collect())
            });
            ResponseKind::Fetch(FetchResponse::default().with_responses(topics.collect()))
        }
        RequestKind::ListOffsets(request) => {
            let topics = request.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|partition| {
                    ListOffsetsPartitionResponse::default()
                        .with_partition_index(partition.partition_index)
                        .with_error_code(code)
                        .with_offset(-1)
                        .with_timestamp(-1)
                });
                ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
            });
            ResponseKind::ListOffsets(ListOffsetsResponse::default().with_topics(topics.collect()))
        }
        _ => return None,
    })
}
