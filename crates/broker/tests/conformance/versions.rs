//! What each broker says that it serves: the same, but for what is listed here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};

/// APIs that Apache Kafka serves and this broker does not, and why.
const NOT_SERVED: &[(&str, &[ApiKey])] = &[
    (
        "there are no delegation tokens, which need a store of secrets",
        &[
            ApiKey::CreateDelegationToken,
            ApiKey::RenewDelegationToken,
            ApiKey::ExpireDelegationToken,
            ApiKey::DescribeDelegationToken,
        ],
    ),
    ("nothing is limited", &[ApiKey::AlterClientQuotas]),
    (
        "there is one node, one folder, and no quorum",
        &[
            ApiKey::AlterReplicaLogDirs,
            ApiKey::AlterPartitionReassignments,
            ApiKey::DescribeQuorum,
            ApiKey::UpdateFeatures,
            ApiKey::UnregisterBroker,
            ApiKey::AddRaftVoter,
            ApiKey::RemoveRaftVoter,
            ApiKey::WriteTxnMarkers,
        ],
    ),
    (
        "share groups are not offered",
        &[
            ApiKey::ShareGroupHeartbeat,
            ApiKey::ShareGroupDescribe,
            ApiKey::ShareFetch,
            ApiKey::ShareAcknowledge,
            ApiKey::InitializeShareGroupState,
            ApiKey::ReadShareGroupState,
            ApiKey::WriteShareGroupState,
            ApiKey::DeleteShareGroupState,
            ApiKey::ReadShareGroupStateSummary,
        ],
    ),
];
/// The same for APIs that are too new for the generated messages, by number.
const NOT_KNOWN: &[(i16, &str)] = &[
    (88, "StreamsGroupHeartbeat: streams groups are not offered"),
    (89, "StreamsGroupDescribe"),
    (90, "DescribeShareGroupOffsets"),
    (91, "AlterShareGroupOffsets"),
    (92, "DeleteShareGroupOffsets"),
];
/// APIs of which this broker serves less: (which, up to which version, why).
const LESS: &[(ApiKey, i16, &str)] = &[
    (ApiKey::ListOffsets, 10, "version 11 asks for uploads to tiered storage"),
    (ApiKey::AddPartitionsToTxn, 3, "version 4 and later are for brokers"),
    (ApiKey::DescribeLogDirs, 4, "version 5 tells of cordoned folders"),
];
/// APIs that this broker serves from a later version on: (which, from which version, why).
const LATER: &[(ApiKey, i16, &str)] = &[(
    ApiKey::SaslHandshake,
    1,
    "version 0 is followed by messages without headers, which clients since 1.0 do not send",
)];
/// Features that this broker does not have, or has at another level.
const FEATURES: &[(&str, &str)] = &[
    ("eligible.leader.replicas.version", "there are no replicas"),
    ("share.version", "share groups are not offered"),
    ("streams.version", "streams groups are not offered"),
];

/// Every difference that is not listed, and every listed one that is none.
pub(crate) fn compared(ours: &ApiVersionsResponse, theirs: &ApiVersionsResponse) -> String {
    let ranges = |response: &ApiVersionsResponse| -> BTreeMap<i16, (i16, i16)> {
        response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect()
    };
    let (ours_by_key, theirs_by_key) = (ranges(ours), ranges(theirs));
    let mut report = String::new();
    let listed = |key: i16| {
        NOT_SERVED.iter().flat_map(|(_, apis)| *apis).any(|api| *api as i16 == key)
            || NOT_KNOWN.iter().any(|(number, _)| *number == key)
    };
    for (key, range) in &theirs_by_key {
        let name = ApiKey::try_from(*key).map_or_else(|_| key.to_string(), |api| format!("{api:?}"));
        let less = LESS.iter().find(|(api, _, _)| *api as i16 == *key).map(|(_, max, _)| *max);
        let later = LATER.iter().find(|(api, _, _)| *api as i16 == *key).map(|(_, min, _)| *min);
        let expected = (!listed(*key)).then_some((later.unwrap_or(range.0), less.unwrap_or(range.1)));
        let served = ours_by_key.get(key).copied();
        if served != expected {
            let _ = writeln!(report, "{name}: Apache Kafka serves {range:?}, we serve {served:?}, not {expected:?}");
        }
    }
    for key in ours_by_key.keys().filter(|key| !theirs_by_key.contains_key(key)) {
        let _ = writeln!(report, "API {key} is served by us alone");
    }
    let features = |response: &ApiVersionsResponse| -> BTreeMap<String, i16> {
        response.finalized_features.iter().map(|found| (found.name.to_string(), found.max_version_level)).collect()
    };
    let (ours, mut theirs) = (features(ours), features(theirs));
    for (name, _) in FEATURES {
        if theirs.remove(*name).is_none() {
            let _ = writeln!(report, "feature {name} is listed as a difference and is none");
        }
    }
    if ours != theirs {
        let _ = writeln!(report, "features of Apache Kafka are {theirs:?}, ours are {ours:?}");
    }
    report
}
