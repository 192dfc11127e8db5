//! What a cluster of one node without an authorizer says to its administrators: there are no access rules, no quotas and no elections.
//!
//! Answers are those of Apache Kafka in the same place, so that tools say what they would say there. Nothing here changes anything.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsResponse,
    DescribeClientQuotasResponse, ElectLeadersRequest, ElectLeadersResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{Broker, code};

/// Why access rules can be neither asked for nor changed.
const NO_AUTHORIZER: &str = "No Authorizer is configured.";

/// The answer to `DescribeAcls`.
pub(super) fn describe_acls() -> DescribeAclsResponse {
    DescribeAclsResponse::default()
        .with_error_code(code(ResponseError::SecurityDisabled))
        .with_error_message(Some(StrBytes::from_static_str("No Authorizer is configured on the broker")))
}

/// The answer to `CreateAcls`.
pub(super) fn create_acls(request: &CreateAclsRequest) -> CreateAclsResponse {
    let refused = AclCreationResult::default()
        .with_error_code(code(ResponseError::SecurityDisabled))
        .with_error_message(Some(StrBytes::from_static_str(NO_AUTHORIZER)));
    CreateAclsResponse::default().with_results(vec![refused; request.creations.len()])
}

/// The answer to `DeleteAcls`.
pub(super) fn delete_acls(request: &DeleteAclsRequest) -> DeleteAclsResponse {
    let refused = DeleteAclsFilterResult::default()
        .with_error_code(code(ResponseError::SecurityDisabled))
        .with_error_message(Some(StrBytes::from_static_str(NO_AUTHORIZER)));
    DeleteAclsResponse::default().with_filter_results(vec![refused; request.filters.len()])
}

/// The answer to `DescribeClientQuotas`: nothing was ever limited.
pub(super) fn describe_client_quotas() -> DescribeClientQuotasResponse {
    DescribeClientQuotasResponse::default().with_error_message(Some(StrBytes::new())).with_entries(Some(Vec::new()))
}

impl Broker {
    /// Leaders are where they should be: there is nowhere else to be.
    pub(super) fn elect_leaders(&self, request: ElectLeadersRequest) -> ElectLeadersResponse {
        // Of all partitions, only those whose leader changed are told; their topics are named in any case.
        let asked = request.topic_partitions.unwrap_or_else(|| {
            self.topics.iter().map(|topic| TopicPartitions::default().with_topic(topic.wire_name())).collect()
        });
        let results = asked
            .into_iter()
            .map(|topic| {
                let count = self.topics.get(&topic.topic).map(|known| known.partition_count());
                let partitions = topic
                    .partitions
                    .into_iter()
                    .map(|index| {
                        let (error, message) = match count {
                            None => (
                                ResponseError::UnknownTopicOrPartition,
                                format!("No such topic as {}", topic.topic.as_str()),
                            ),
                            Some(count) if !(0..count).contains(&index) => (
                                ResponseError::UnknownTopicOrPartition,
                                format!("No such partition as {}-{index}", topic.topic.as_str()),
                            ),
                            Some(_) => (
                                ResponseError::ElectionNotNeeded,
                                "Leader election not needed for topic partition.".to_owned(),
                            ),
                        };
                        PartitionResult::default()
                            .with_partition_id(index)
                            .with_error_code(code(error))
                            .with_error_message(Some(message.into()))
                    })
                    .collect();
                ReplicaElectionResult::default().with_topic(topic.topic).with_partition_result(partitions)
            })
            .collect();
        ElectLeadersResponse::default().with_replica_election_results(results)
    }
}
