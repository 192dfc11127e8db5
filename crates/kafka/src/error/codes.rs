//! The numbers of errors in answers, with class, retriability and text of Java's exception for each, as of Apache Kafka 4.3.

/// Class, whether it is retriable, and message.
pub(super) type Meaning = (&'static str, bool, &'static str);

const AGAIN: bool = true;
const FINAL: bool = false;

/// What a number means that nobody knows.
pub(super) const UNKNOWN: Meaning = TABLE[0].1;

/// The meaning of a number.
pub(super) fn find(code: i16) -> Option<Meaning> {
    let at = TABLE.binary_search_by_key(&code, |(code, _)| *code).ok()?;
    Some(TABLE[at].1)
}

macro_rules! table {
    ($($code:literal $class:literal $retriable:ident $message:literal;)*) => {
        &[$(($code, (concat!("org.apache.kafka.", $class), $retriable, $message)),)*]
    };
}

/// Ascending by number.
const TABLE: &[(i16, Meaning)] = table! {
    -1 "common.errors.UnknownServerException" FINAL "The server experienced an unexpected error when processing the request.";
    1 "common.errors.OffsetOutOfRangeException" FINAL "The requested offset is not within the range of offsets maintained by the server.";
    2 "common.errors.CorruptRecordException" AGAIN "This message has failed its CRC checksum, exceeds the valid size, has a null key for a compacted topic, or is otherwise corrupt.";
    3 "common.errors.UnknownTopicOrPartitionException" AGAIN "This server does not host this topic-partition.";
    4 "common.errors.InvalidFetchSizeException" FINAL "The requested fetch size is invalid.";
    5 "common.errors.LeaderNotAvailableException" AGAIN "There is no leader for this topic-partition as we are in the middle of a leadership election.";
    6 "common.errors.NotLeaderOrFollowerException" AGAIN "For requests intended only for the leader, this error indicates that the broker is not the current leader. For requests intended for any replica, this error indicates that the broker is not a replica of the topic partition.";
    7 "common.errors.TimeoutException" AGAIN "The request timed out.";
    8 "common.errors.BrokerNotAvailableException" FINAL "The broker is not available.";
    9 "common.errors.ReplicaNotAvailableException" AGAIN "The replica is not available for the requested topic-partition. Produce/Fetch requests and other requests intended only for the leader or follower return NOT_LEADER_OR_FOLLOWER if the broker is not a replica of the topic-partition.";
    10 "common.errors.RecordTooLargeException" FINAL "The request included a message larger than the max message size the server will accept.";
    11 "common.errors.ControllerMovedException" FINAL "The controller moved to another broker.";
    12 "common.errors.OffsetMetadataTooLarge" FINAL "The metadata field of the offset request was too large.";
    13 "common.errors.NetworkException" AGAIN "The server disconnected before a response was received.";
    14 "common.errors.CoordinatorLoadInProgressException" AGAIN "The coordinator is loading and hence can't process requests.";
    15 "common.errors.CoordinatorNotAvailableException" AGAIN "The coordinator is not available.";
    16 "common.errors.NotCoordinatorException" AGAIN "This is not the correct coordinator.";
    17 "common.errors.InvalidTopicException" FINAL "The request attempted to perform an operation on an invalid topic.";
    18 "common.errors.RecordBatchTooLargeException" FINAL "The request included message batch larger than the configured segment size on the server.";
    19 "common.errors.NotEnoughReplicasException" AGAIN "Messages are rejected since there are fewer in-sync replicas than required.";
    20 "common.errors.NotEnoughReplicasAfterAppendException" AGAIN "Messages are written to the log, but to fewer in-sync replicas than required.";
    21 "common.errors.InvalidRequiredAcksException" FINAL "Produce request specified an invalid value for required acks.";
    22 "common.errors.IllegalGenerationException" FINAL "Specified group generation id is not valid.";
    23 "common.errors.InconsistentGroupProtocolException" FINAL "The group member's supported protocols are incompatible with those of existing members or first group member tried to join with empty protocol type or empty protocol list.";
    24 "common.errors.InvalidGroupIdException" FINAL "The group id is invalid.";
    25 "common.errors.UnknownMemberIdException" FINAL "The coordinator is not aware of this member.";
    26 "common.errors.InvalidSessionTimeoutException" FINAL "The session timeout is not within the range allowed by the broker (as configured by group.min.session.timeout.ms and group.max.session.timeout.ms).";
    27 "common.errors.RebalanceInProgressException" FINAL "The group is rebalancing, so a rejoin is needed.";
    28 "common.errors.InvalidCommitOffsetSizeException" FINAL "The committing offset data size is not valid.";
    29 "common.errors.TopicAuthorizationException" FINAL "Topic authorization failed.";
    30 "common.errors.GroupAuthorizationException" FINAL "Group authorization failed.";
    31 "common.errors.ClusterAuthorizationException" FINAL "Cluster authorization failed.";
    32 "common.errors.InvalidTimestampException" FINAL "The timestamp of the message is out of acceptable range.";
    33 "common.errors.UnsupportedSaslMechanismException" FINAL "The broker does not support the requested SASL mechanism.";
    34 "common.errors.IllegalSaslStateException" FINAL "Request is not valid given the current SASL state.";
    35 "common.errors.UnsupportedVersionException" FINAL "The version of API is not supported.";
    36 "common.errors.TopicExistsException" FINAL "Topic with this name already exists.";
    37 "common.errors.InvalidPartitionsException" FINAL "Number of partitions is below 1.";
    38 "common.errors.InvalidReplicationFactorException" FINAL "Replication factor is below 1 or larger than the number of available brokers.";
    39 "common.errors.InvalidReplicaAssignmentException" FINAL "Replica assignment is invalid.";
    40 "common.errors.InvalidConfigurationException" FINAL "Configuration is invalid.";
    41 "common.errors.NotControllerException" AGAIN "This is not the correct controller for this cluster.";
    42 "common.errors.InvalidRequestException" FINAL "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.";
    43 "common.errors.UnsupportedForMessageFormatException" FINAL "The message format version on the broker does not support the request.";
    44 "common.errors.PolicyViolationException" FINAL "Request parameters do not satisfy the configured policy.";
    45 "common.errors.OutOfOrderSequenceException" FINAL "The broker received an out of order sequence number.";
    46 "common.errors.DuplicateSequenceException" FINAL "The broker received a duplicate sequence number.";
    47 "common.errors.InvalidProducerEpochException" FINAL "Producer attempted to produce with an old epoch.";
    48 "common.errors.InvalidTxnStateException" FINAL "The producer attempted a transactional operation in an invalid state.";
    49 "common.errors.InvalidPidMappingException" FINAL "The producer attempted to use a producer id which is not currently assigned to its transactional id.";
    50 "common.errors.InvalidTxnTimeoutException" FINAL "The transaction timeout is larger than the maximum value allowed by the broker (as configured by transaction.max.timeout.ms).";
    51 "common.errors.ConcurrentTransactionsException" AGAIN "The producer attempted to update a transaction while another concurrent operation on the same transaction was ongoing.";
    52 "common.errors.TransactionCoordinatorFencedException" FINAL "Indicates that the transaction coordinator sending a WriteTxnMarker is no longer the current coordinator for a given producer.";
    53 "common.errors.TransactionalIdAuthorizationException" FINAL "Transactional Id authorization failed.";
    54 "common.errors.SecurityDisabledException" FINAL "Security features are disabled.";
    55 "common.errors.OperationNotAttemptedException" FINAL "The broker did not attempt to execute this operation. This may happen for batched RPCs where some operations in the batch failed, causing the broker to respond without trying the rest.";
    56 "common.errors.KafkaStorageException" AGAIN "Disk error when trying to access log file on the disk.";
    57 "common.errors.LogDirNotFoundException" FINAL "The user-specified log directory is not found in the broker config.";
    58 "common.errors.SaslAuthenticationException" FINAL "SASL Authentication failed.";
    59 "common.errors.UnknownProducerIdException" FINAL "This exception is raised by the broker if it could not locate the producer metadata associated with the producerId in question. This could happen if, for instance, the producer's records were deleted because their retention time had elapsed. Once the last records of the producerId are removed, the producer's metadata is removed from the broker, and future appends by the producer will return this exception.";
    60 "common.errors.ReassignmentInProgressException" FINAL "A partition reassignment is in progress.";
    61 "common.errors.DelegationTokenDisabledException" FINAL "Delegation Token feature is not enabled.";
    62 "common.errors.DelegationTokenNotFoundException" FINAL "Delegation Token is not found on server.";
    63 "common.errors.DelegationTokenOwnerMismatchException" FINAL "Specified Principal is not valid Owner/Renewer.";
    64 "common.errors.UnsupportedByAuthenticationException" FINAL "Delegation Token requests are not allowed on PLAINTEXT/1-way SSL channels and on delegation token authenticated channels.";
    65 "common.errors.DelegationTokenAuthorizationException" FINAL "Delegation Token authorization failed.";
    66 "common.errors.DelegationTokenExpiredException" FINAL "Delegation Token is expired.";
    67 "common.errors.InvalidPrincipalTypeException" FINAL "Supplied principalType is not supported.";
    68 "common.errors.GroupNotEmptyException" FINAL "The group is not empty.";
    69 "common.errors.GroupIdNotFoundException" FINAL "The group id does not exist.";
    70 "common.errors.FetchSessionIdNotFoundException" AGAIN "The fetch session ID was not found.";
    71 "common.errors.InvalidFetchSessionEpochException" AGAIN "The fetch session epoch is invalid.";
    72 "common.errors.ListenerNotFoundException" AGAIN "There is no listener on the leader broker that matches the listener on which metadata request was processed.";
    73 "common.errors.TopicDeletionDisabledException" FINAL "Topic deletion is disabled.";
    74 "common.errors.FencedLeaderEpochException" AGAIN "The leader epoch in the request is older than the epoch on the broker.";
    75 "common.errors.UnknownLeaderEpochException" AGAIN "The leader epoch in the request is newer than the epoch on the broker.";
    76 "common.errors.UnsupportedCompressionTypeException" FINAL "The requesting client does not support the compression type of given partition.";
    77 "common.errors.StaleBrokerEpochException" FINAL "Broker epoch has changed.";
    78 "common.errors.OffsetNotAvailableException" AGAIN "The leader high watermark has not caught up from a recent leader election so the offsets cannot be guaranteed to be monotonically increasing.";
    79 "common.errors.MemberIdRequiredException" FINAL "The group member needs to have a valid member id before actually entering a consumer group.";
    80 "common.errors.PreferredLeaderNotAvailableException" AGAIN "The preferred leader was not available.";
    81 "common.errors.GroupMaxSizeReachedException" FINAL "The group has reached its maximum size.";
    82 "common.errors.FencedInstanceIdException" FINAL "The broker rejected this static consumer since another consumer with the same group.instance.id has registered with a different member.id.";
    83 "common.errors.EligibleLeadersNotAvailableException" AGAIN "Eligible topic partition leaders are not available.";
    84 "common.errors.ElectionNotNeededException" AGAIN "Leader election not needed for topic partition.";
    85 "common.errors.NoReassignmentInProgressException" FINAL "No partition reassignment is in progress.";
    86 "common.errors.GroupSubscribedToTopicException" FINAL "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it.";
    87 "common.InvalidRecordException" FINAL "This record has failed the validation on broker and hence will be rejected.";
    88 "common.errors.UnstableOffsetCommitException" AGAIN "There are unstable offsets that need to be cleared.";
    89 "common.errors.ThrottlingQuotaExceededException" AGAIN "The throttling quota has been exceeded.";
    90 "common.errors.ProducerFencedException" FINAL "There is a newer producer with the same transactionalId which fences the current one.";
    91 "common.errors.ResourceNotFoundException" FINAL "A request illegally referred to a resource that does not exist.";
    92 "common.errors.DuplicateResourceException" FINAL "A request illegally referred to the same resource twice.";
    93 "common.errors.UnacceptableCredentialException" FINAL "Requested credential would not meet criteria for acceptability.";
    94 "common.errors.InconsistentVoterSetException" FINAL "Indicates that the either the sender or recipient of a voter-only request is not one of the expected voters.";
    95 "common.errors.InvalidUpdateVersionException" FINAL "The given update version was invalid.";
    96 "common.errors.FeatureUpdateFailedException" FINAL "Unable to update finalized features due to an unexpected server error.";
    97 "common.errors.PrincipalDeserializationException" FINAL "Request principal deserialization failed during forwarding. This indicates an internal error on the broker cluster security setup.";
    98 "common.errors.SnapshotNotFoundException" FINAL "Requested snapshot was not found.";
    99 "common.errors.PositionOutOfRangeException" FINAL "Requested position is not greater than or equal to zero, and less than the size of the snapshot.";
    100 "common.errors.UnknownTopicIdException" AGAIN "This server does not host this topic ID.";
    101 "common.errors.DuplicateBrokerRegistrationException" FINAL "This broker ID is already in use.";
    102 "common.errors.BrokerIdNotRegisteredException" FINAL "The given broker ID was not registered.";
    103 "common.errors.InconsistentTopicIdException" AGAIN "The log's topic ID did not match the topic ID in the request.";
    104 "common.errors.InconsistentClusterIdException" FINAL "The clusterId in the request does not match that found on the server.";
    105 "common.errors.TransactionalIdNotFoundException" FINAL "The transactionalId could not be found.";
    106 "common.errors.FetchSessionTopicIdException" AGAIN "The fetch session encountered inconsistent topic ID usage.";
    107 "common.errors.IneligibleReplicaException" FINAL "The new ISR contains at least one ineligible replica.";
    108 "common.errors.NewLeaderElectedException" FINAL "The AlterPartition request successfully updated the partition state but the leader has changed.";
    109 "common.errors.OffsetMovedToTieredStorageException" FINAL "The requested offset is moved to tiered storage.";
    110 "common.errors.FencedMemberEpochException" FINAL "The member epoch is fenced by the group coordinator. The member must abandon all its partitions and rejoin.";
    111 "common.errors.UnreleasedInstanceIdException" FINAL "The instance ID is still used by another member in the consumer group. That member must leave first.";
    112 "common.errors.UnsupportedAssignorException" FINAL "The assignor or its version range is not supported by the consumer group.";
    113 "common.errors.StaleMemberEpochException" FINAL "The member epoch is stale. The member must retry after receiving its updated member epoch via the ConsumerGroupHeartbeat API.";
    114 "common.errors.MismatchedEndpointTypeException" FINAL "The request was sent to an endpoint of the wrong type.";
    115 "common.errors.UnsupportedEndpointTypeException" FINAL "This endpoint type is not supported yet.";
    116 "common.errors.UnknownControllerIdException" FINAL "This controller ID is not known.";
    117 "common.errors.UnknownSubscriptionIdException" FINAL "Client sent a push telemetry request with an invalid or outdated subscription ID.";
    118 "common.errors.TelemetryTooLargeException" FINAL "Client sent a push telemetry request larger than the maximum size the broker will accept.";
    119 "common.errors.InvalidRegistrationException" FINAL "The controller has considered the broker registration to be invalid.";
    120 "common.errors.TransactionAbortableException" FINAL "The server encountered an error with the transaction. The client can abort the transaction to continue using this transactional ID.";
    121 "common.errors.InvalidRecordStateException" FINAL "The record state is invalid. The acknowledgement of delivery could not be completed.";
    122 "common.errors.ShareSessionNotFoundException" AGAIN "The share session was not found.";
    123 "common.errors.InvalidShareSessionEpochException" AGAIN "The share session epoch is invalid.";
    124 "common.errors.FencedStateEpochException" FINAL "The share coordinator rejected the request because the share-group state epoch did not match.";
    125 "common.errors.InvalidVoterKeyException" FINAL "The voter key doesn't match the receiving replica's key.";
    126 "common.errors.DuplicateVoterException" FINAL "The voter is already part of the set of voters.";
    127 "common.errors.VoterNotFoundException" FINAL "The voter is not part of the set of voters.";
    128 "common.errors.InvalidRegularExpression" FINAL "The regular expression is not valid.";
    129 "common.errors.RebootstrapRequiredException" FINAL "Client metadata is stale. The client should rebootstrap to obtain new metadata.";
    130 "common.errors.StreamsInvalidTopologyException" FINAL "The supplied topology is invalid.";
    131 "common.errors.StreamsInvalidTopologyEpochException" FINAL "The supplied topology epoch is invalid.";
    132 "common.errors.StreamsTopologyFencedException" FINAL "The supplied topology epoch is outdated.";
    133 "common.errors.ShareSessionLimitReachedException" AGAIN "The limit of share sessions has been reached.";
};

#[cfg(test)]
mod tests {
    use super::TABLE;

    #[test]
    fn the_table_is_sorted() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
    }
}
