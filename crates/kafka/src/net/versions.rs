//! Which requests clients send, and in which versions: what the cores fill and read, whatever brokers know beside it.

use kafka_protocol::messages::{ApiKey, RequestKind};

/// The highest version whose fields the core fills and reads, and the lowest.
pub(super) fn versions(api: ApiKey, request: &RequestKind) -> (i16, i16) {
    let all = api.valid_versions();
    match api {
        // From version 13 on topics have ids instead of names.
        ApiKey::Fetch if has_topic_ids(request) => (all.min, all.max),
        ApiKey::Fetch | ApiKey::Produce => (all.min, 12),
        ApiKey::OffsetCommit => (all.min, 9),
        // From version 4 on it is brokers that ask.
        ApiKey::AddPartitionsToTxn => (all.min, 3),
        // From version 6 on they are named in another field.
        ApiKey::DeleteTopics => (all.min, 5),
        // Before version 1 the mechanism's messages follow without any header.
        ApiKey::SaslHandshake => (1, 1),
        // Groups and coordinators come in lists.
        ApiKey::OffsetFetch => (8, 9),
        ApiKey::FindCoordinator => (4, 6),
        _ => (all.min, all.max),
    }
}

/// Whether a fetch can name all its topics by id.
fn has_topic_ids(request: &RequestKind) -> bool {
    let RequestKind::Fetch(fetch) = request else { return false };
    fetch.topics.iter().all(|topic| !topic.topic_id.is_nil())
        && fetch.forgotten_topics_data.iter().all(|topic| !topic.topic_id.is_nil())
}

/// Whether a request may wait at the broker for records. The end of a fetch session does not.
pub(super) fn waits_for_records(request: &RequestKind) -> bool {
    matches!(request, RequestKind::Fetch(fetch) if fetch.session_epoch >= 0 || !fetch.topics.is_empty())
}

/// Whether a broker answers a request. A Produce with `acks=0` it does not answer, not even if it refuses it: it closes the connection then.
pub(super) fn is_answered(request: &RequestKind) -> bool {
    !matches!(request, RequestKind::Produce(produce) if produce.acks == 0)
}

macro_rules! api_keys {
    ($request:expr; $($kind:ident),+) => {
        match $request {
            $(RequestKind::$kind(_) => Some(ApiKey::$kind),)+
            _ => None,
        }
    };
}

/// The kind of a request, of those that clients send.
pub(super) fn api_key(request: &RequestKind) -> Option<ApiKey> {
    api_keys!(request;
        ApiVersions, Metadata, Fetch, ListOffsets, OffsetFetch, OffsetCommit, FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup,
        ConsumerGroupHeartbeat, Produce, InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn, CreateTopics, DeleteTopics, CreatePartitions,
        DescribeConfigs, IncrementalAlterConfigs, DeleteRecords, DescribeCluster, DescribeGroups, ListGroups, DeleteGroups, OffsetDelete,
        DescribeAcls, CreateAcls, DeleteAcls, ConsumerGroupDescribe, DescribeProducers, DescribeTransactions, ListTransactions,
        WriteTxnMarkers, DescribeLogDirs, UpdateFeatures, DescribeQuorum, ListConfigResources, DescribeUserScramCredentials,
        AlterUserScramCredentials, OffsetForLeaderEpoch, SaslHandshake, SaslAuthenticate)
}

/// The kind of a request, with the lowest and the highest version that clients send it in; none where they do not. For transports without sockets.
pub fn spoken(request: &RequestKind) -> Option<(ApiKey, i16, i16)> {
    let api = api_key(request)?;
    let (min, max) = versions(api, request);
    Some((api, min, max))
}
