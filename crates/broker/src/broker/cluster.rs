//! What the broker says about itself: versions, address, metadata, coordinators.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, DescribeClusterRequest, DescribeClusterResponse,
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::topics::{NewTopic, Topic};
use super::{Broker, MALFORMED, code};
use crate::log::LEADER_EPOCH;

/// Everything that this broker answers, and in which versions.
pub(super) static SERVED: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 3, 13),
    (ApiKey::Fetch, 4, 18),
    (ApiKey::ListOffsets, 1, 10),
    (ApiKey::Metadata, 0, 13),
    (ApiKey::OffsetCommit, 2, 10),
    (ApiKey::OffsetFetch, 1, 10),
    (ApiKey::FindCoordinator, 0, 6),
    (ApiKey::JoinGroup, 0, 9),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::LeaveGroup, 0, 5),
    (ApiKey::SyncGroup, 0, 5),
    (ApiKey::DescribeGroups, 0, 6),
    (ApiKey::ListGroups, 0, 5),
    // Version 0 is followed by messages without headers, which no client sends that can do without.
    (ApiKey::SaslHandshake, 1, 1),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 6),
    (ApiKey::DeleteRecords, 0, 2),
    (ApiKey::InitProducerId, 0, 5),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::AddPartitionsToTxn, 0, 3),
    (ApiKey::AddOffsetsToTxn, 0, 4),
    (ApiKey::EndTxn, 0, 5),
    (ApiKey::TxnOffsetCommit, 0, 5),
    (ApiKey::DescribeAcls, 1, 3),
    (ApiKey::CreateAcls, 1, 3),
    (ApiKey::DeleteAcls, 1, 3),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::AlterConfigs, 0, 2),
    (ApiKey::DescribeLogDirs, 1, 4),
    (ApiKey::SaslAuthenticate, 0, 2),
    (ApiKey::CreatePartitions, 0, 3),
    (ApiKey::DeleteGroups, 0, 2),
    (ApiKey::ElectLeaders, 0, 2),
    (ApiKey::IncrementalAlterConfigs, 0, 1),
    (ApiKey::ListPartitionReassignments, 0, 0),
    (ApiKey::OffsetDelete, 0, 0),
    (ApiKey::DescribeClientQuotas, 0, 1),
    (ApiKey::DescribeUserScramCredentials, 0, 0),
    (ApiKey::AlterUserScramCredentials, 0, 0),
    (ApiKey::DescribeCluster, 0, 2),
    (ApiKey::DescribeProducers, 0, 0),
    (ApiKey::DescribeTransactions, 0, 0),
    (ApiKey::ListTransactions, 0, 2),
    (ApiKey::ConsumerGroupHeartbeat, 0, 1),
    (ApiKey::ConsumerGroupDescribe, 0, 1),
    (ApiKey::ListConfigResources, 0, 1),
    (ApiKey::DescribeTopicPartitions, 0, 0),
];
/// Features that are in force: name, lowest and highest level known, level. Clients choose by them how they behave.
static FEATURES: &[(&str, i16, i16, i16)] = &[
    // The consumer protocol of KIP-848.
    ("group.version", 0, 1, 1),
    // Transactions of KIP-890.
    ("transaction.version", 0, 2, 2),
    // Apache Kafka 4.3's.
    ("metadata.version", 7, 30, 30),
];
/// "Not asked for", where authorized operations would be told: there is no authorization to tell about.
const NO_OPERATIONS: i32 = i32::MIN;
/// Every operation on a topic, as bits: without authorization, everybody may do everything.
const ALL_TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// Every operation on the cluster.
const ALL_CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
/// Most partitions in one answer to `DescribeTopicPartitions`.
const MAX_DESCRIBED_PARTITIONS: usize = 2_000;
/// The kind of endpoint that `DescribeCluster` can be asked for, beside controllers.
const BROKER_ENDPOINTS: i8 = 1;

/// The answer to `ApiVersions`.
pub(super) fn api_versions() -> ApiVersionsResponse {
    let api_keys = SERVED
        .iter()
        .map(|(key, min, max)| {
            // librdkafka compresses only for brokers that name Produce from version 0; nobody still sends those.
            let min = if *key == ApiKey::Produce { 0 } else { *min };
            ApiVersion::default().with_api_key(*key as i16).with_min_version(min).with_max_version(*max)
        })
        .collect();
    let known = FEATURES.iter().map(|(name, min, max, _)| {
        SupportedFeatureKey::default().with_name((*name).into()).with_min_version(*min).with_max_version(*max)
    });
    let in_force = FEATURES.iter().map(|(name, _, _, level)| {
        FinalizedFeatureKey::default()
            .with_name((*name).into())
            .with_min_version_level(*level)
            .with_max_version_level(*level)
    });
    ApiVersionsResponse::default()
        .with_api_keys(api_keys)
        .with_supported_features(known.collect())
        .with_finalized_features(in_force.collect())
        .with_finalized_features_epoch(0)
}

impl Broker {
    fn node(&self) -> BrokerId {
        BrokerId(self.config.node_id)
    }

    fn host(&self) -> StrBytes {
        self.address.0.clone().into()
    }

    fn port(&self) -> i32 {
        i32::from(self.address.1)
    }

    pub(super) fn metadata(&mut self, version: i16, request: MetadataRequest) -> MetadataResponse {
        let may_create = version < 4 || request.allow_auto_topic_creation;
        let (tells_topics, tells_cluster) =
            (request.include_topic_authorized_operations, request.include_cluster_authorized_operations);
        // An empty list meant "all" in version 0.
        let asked = request.topics.filter(|topics| version > 0 || !topics.is_empty());
        let mut topics: Vec<MetadataResponseTopic> = match asked {
            None => self.topics.iter().map(|topic| self.described(topic)).collect(),
            Some(asked) => asked
                .into_iter()
                .map(|asked| match asked.name {
                    Some(name) => self.metadata_by_name(name, may_create),
                    None => self.metadata_by_id(asked.topic_id),
                })
                .collect(),
        };
        for topic in topics.iter_mut().filter(|topic| tells_topics && topic.error_code == 0) {
            topic.topic_authorized_operations = ALL_TOPIC_OPERATIONS;
        }
        let broker =
            MetadataResponseBroker::default().with_node_id(self.node()).with_host(self.host()).with_port(self.port());
        let operations = if tells_cluster { ALL_CLUSTER_OPERATIONS } else { NO_OPERATIONS };
        MetadataResponse::default()
            .with_cluster_authorized_operations(operations)
            .with_brokers(vec![broker])
            .with_cluster_id(Some(self.cluster_id.clone().into()))
            .with_controller_id(self.node())
            .with_topics(topics)
    }

    fn metadata_by_name(&mut self, name: TopicName, may_create: bool) -> MetadataResponseTopic {
        if let Some(topic) = self.topics.get(&name) {
            return self.described(topic);
        }
        let creates = may_create && self.config.auto_create_topics && self.topics.colliding(&name).is_none();
        let created = if creates {
            let topic = NewTopic { name: name.to_string(), partitions: None, configs: Default::default() };
            self.create_topic(topic).map_err(|(error, _)| error)
        } else if super::topics::is_legal_name(&name) {
            Err(ResponseError::UnknownTopicOrPartition)
        } else {
            Err(ResponseError::InvalidTopicException)
        };
        match (created, self.topics.get(&name)) {
            (Ok(_), Some(topic)) => self.described(topic),
            (created, _) => MetadataResponseTopic::default()
                .with_name(Some(name))
                .with_error_code(code(created.err().unwrap_or(ResponseError::UnknownTopicOrPartition))),
        }
    }

    fn metadata_by_id(&self, id: Uuid) -> MetadataResponseTopic {
        match self.topics.by_id(id) {
            Some(topic) => self.described(topic),
            None => MetadataResponseTopic::default()
                .with_name(None)
                .with_topic_id(id)
                .with_error_code(code(ResponseError::UnknownTopicId)),
        }
    }

    fn described(&self, topic: &Topic) -> MetadataResponseTopic {
        let partitions = (0..topic.partition_count())
            .map(|index| {
                MetadataResponsePartition::default()
                    .with_partition_index(index)
                    .with_leader_id(self.node())
                    .with_leader_epoch(LEADER_EPOCH)
                    .with_replica_nodes(vec![self.node()])
                    .with_isr_nodes(vec![self.node()])
            })
            .collect();
        MetadataResponseTopic::default()
            .with_name(Some(topic.wire_name()))
            .with_topic_id(topic.id)
            .with_partitions(partitions)
    }

    pub(super) fn describe_topic_partitions(
        &self,
        request: DescribeTopicPartitionsRequest,
    ) -> DescribeTopicPartitionsResponse {
        let limit = usize::try_from(request.response_partition_limit)
            .ok()
            .filter(|limit| *limit > 0)
            .map_or(MAX_DESCRIBED_PARTITIONS, |limit| limit.min(MAX_DESCRIBED_PARTITIONS));
        let mut names: Vec<TopicName> = if request.topics.is_empty() {
            self.topics.iter().map(Topic::wire_name).collect()
        } else {
            request.topics.into_iter().map(|topic| topic.name).collect()
        };
        names.sort_by(|left, right| left.as_str().cmp(right.as_str()));
        names.dedup();
        let (first, mut skip) = request
            .cursor
            .map_or((String::new(), 0), |cursor| (cursor.topic_name.to_string(), cursor.partition_index.max(0)));
        let mut left = limit;
        let mut described = Vec::new();
        let mut next_cursor = None;
        for name in names {
            if name.as_str() < first.as_str() {
                continue;
            }
            let from = if name.as_str() == first { std::mem::take(&mut skip) } else { 0 };
            let Some(topic) = self.topics.get(&name) else {
                let error = if super::topics::is_legal_name(&name) {
                    ResponseError::UnknownTopicOrPartition
                } else {
                    ResponseError::InvalidTopicException
                };
                let unknown = DescribeTopicPartitionsResponseTopic::default()
                    .with_name(Some(name))
                    .with_error_code(code(error))
                    .with_topic_authorized_operations(ALL_TOPIC_OPERATIONS);
                described.push(unknown);
                continue;
            };
            if left == 0 {
                next_cursor = Some(Cursor::default().with_topic_name(name).with_partition_index(from));
                break;
            }
            let count = topic.partition_count();
            let to = count.min(from.saturating_add(i32::try_from(left).unwrap_or(i32::MAX)));
            let partitions = (from..to)
                .map(|index| {
                    DescribeTopicPartitionsResponsePartition::default()
                        .with_partition_index(index)
                        .with_leader_id(self.node())
                        .with_leader_epoch(LEADER_EPOCH)
                        .with_replica_nodes(vec![self.node()])
                        .with_isr_nodes(vec![self.node()])
                        .with_eligible_leader_replicas(Some(Vec::new()))
                        .with_last_known_elr(Some(Vec::new()))
                })
                .collect();
            left -= usize::try_from(to - from).unwrap_or(0).min(left);
            described.push(
                DescribeTopicPartitionsResponseTopic::default()
                    .with_name(Some(name.clone()))
                    .with_topic_id(topic.id)
                    .with_partitions(partitions)
                    .with_topic_authorized_operations(ALL_TOPIC_OPERATIONS),
            );
            if to < count {
                next_cursor = Some(Cursor::default().with_topic_name(name).with_partition_index(to));
                break;
            }
        }
        DescribeTopicPartitionsResponse::default().with_topics(described).with_next_cursor(next_cursor)
    }

    pub(super) fn describe_cluster(&self, version: i16, request: DescribeClusterRequest) -> DescribeClusterResponse {
        let tells = request.include_cluster_authorized_operations;
        let response = DescribeClusterResponse::default()
            .with_cluster_id(self.cluster_id.clone().into())
            .with_controller_id(self.node())
            .with_cluster_authorized_operations(if tells { ALL_CLUSTER_OPERATIONS } else { NO_OPERATIONS });
        if version >= 1 && request.endpoint_type != BROKER_ENDPOINTS {
            return response
                .with_error_code(code(ResponseError::MismatchedEndpointType))
                .with_error_message(Some("This endpoint serves brokers, not controllers.".into()))
                .with_endpoint_type(BROKER_ENDPOINTS);
        }
        let broker =
            DescribeClusterBroker::default().with_broker_id(self.node()).with_host(self.host()).with_port(self.port());
        response.with_brokers(vec![broker])
    }

    pub(super) fn find_coordinator(&self, version: i16, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
        // Groups and transactions; share groups have no coordinator here.
        let known_kind = matches!(request.key_type, 0 | 1);
        let error = if known_kind { 0 } else { code(ResponseError::InvalidRequest) };
        if version >= 4 {
            let coordinators = request
                .coordinator_keys
                .into_iter()
                .map(|key| {
                    let coordinator = Coordinator::default().with_key(key).with_error_code(error);
                    if known_kind {
                        coordinator.with_node_id(self.node()).with_host(self.host()).with_port(self.port())
                    } else {
                        let coordinator = coordinator.with_error_message(Some(MALFORMED.into()));
                        coordinator.with_node_id(BrokerId(-1)).with_port(-1)
                    }
                })
                .collect();
            return FindCoordinatorResponse::default().with_coordinators(coordinators);
        }
        let response = FindCoordinatorResponse::default().with_error_code(error);
        let response = match (version, known_kind) {
            (0, _) => response,
            // The name of no error is told as well.
            (_, true) => response.with_error_message(Some("NONE".into())),
            (_, false) => response.with_error_message(Some(MALFORMED.into())),
        };
        if known_kind {
            response.with_node_id(self.node()).with_host(self.host()).with_port(self.port())
        } else {
            response.with_node_id(BrokerId(-1)).with_port(-1)
        }
    }
}
