//! How long a broker wants to be left in peace (KIP-219).
//!
//! A broker answers at once also when a quota is exceeded, and says how long it will not read on. Who sent more meanwhile would only find its requests
//! timed out. So the connection is mute for so long. Counterpart of `NetworkClient.maybeThrottle`.

use std::time::Duration;

use kafka_protocol::messages::ResponseKind;

macro_rules! throttle_times {
    ($response:expr; $($kind:ident),+) => {
        match $response {
            $(ResponseKind::$kind(response) => response.throttle_time_ms,)+
            _ => 0,
        }
    };
}

/// What an answer says; zero for most.
pub(super) fn throttle_time(response: &ResponseKind) -> Duration {
    let ms = throttle_times!(response;
        ApiVersions, Metadata, Fetch, ListOffsets, OffsetFetch, OffsetCommit, FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup,
        Produce, InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn, CreateTopics, DeleteTopics, CreatePartitions,
        DescribeConfigs, IncrementalAlterConfigs, DeleteRecords, DescribeCluster, DescribeGroups, ListGroups, DeleteGroups, OffsetDelete,
        DescribeAcls, CreateAcls, DeleteAcls, OffsetForLeaderEpoch, ConsumerGroupHeartbeat, ConsumerGroupDescribe, DescribeProducers,
        DescribeTransactions, ListTransactions, DescribeLogDirs, UpdateFeatures, ListConfigResources, DescribeUserScramCredentials,
        AlterUserScramCredentials);
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{ProduceResponse, SaslHandshakeResponse};

    use super::*;

    #[test]
    fn a_throttle_time_is_found() {
        let produce = |ms| ResponseKind::Produce(ProduceResponse::default().with_throttle_time_ms(ms));
        let handshake = ResponseKind::SaslHandshake(SaslHandshakeResponse::default());
        for (response, ms) in [(produce(7), 7), (produce(0), 0), (produce(-1), 0), (handshake, 0)] {
            assert_eq!(throttle_time(&response), Duration::from_millis(ms), "{response:?}");
        }
    }
}
