//! Groups and their offsets.

use super::*;
use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;

pub(super) fn group(name: &str) -> GroupId {
    GroupId(name.to_owned().into())
}

pub(super) fn find_coordinator(name: &'static str, version: i16, kind: i8, key: &'static str) -> Step {
    step(name, ApiKey::FindCoordinator, version, move |_| {
        let request = FindCoordinatorRequest::default().with_key_type(kind);
        let request =
            if version >= 4 { request.with_coordinator_keys(vec![text(key)]) } else { request.with_key(text(key)) };
        RequestKind::FindCoordinator(request)
    })
    .repeatable()
}

pub(super) fn join(
    name: &'static str,
    version: i16,
    protocols: &'static [&'static str],
    session_timeout_ms: i32,
) -> Step {
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

pub(super) fn sync(name: &'static str, generation: i32, protocol: &'static str) -> Step {
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

pub(super) fn heartbeat(name: &'static str, of: &'static str, generation: i32, member: Option<&'static str>) -> Step {
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

pub(super) fn commit(
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

/// A commit without a generation by somebody who gives a name.
fn commit_as(name: &'static str, of: &'static str, member: &'static str, instance: Option<&'static str>) -> Step {
    step(name, ApiKey::OffsetCommit, 8, move |_| {
        let partition = OffsetCommitRequestPartition::default().with_partition_index(1).with_committed_offset(5);
        let wanted = OffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default().with_group_id(group(of)).with_generation_id_or_member_epoch(-1);
        let request = request.with_member_id(text(member)).with_group_instance_id(instance.map(text));
        RequestKind::OffsetCommit(request.with_topics(vec![wanted]))
    })
}

/// A commit of an anonymous client that names topics by id; the last one of `to` need not exist.
fn commit_by_id(name: &'static str, of: &'static str, generation: i32, to: &'static [&'static str]) -> Step {
    step(name, ApiKey::OffsetCommit, 10, move |known| {
        let topics = to.iter().map(|to| {
            let partitions = [1, 77].map(|index| {
                OffsetCommitRequestPartition::default().with_partition_index(index).with_committed_offset(6)
            });
            let id = known.topics.get(*to).copied().unwrap_or(Uuid::from_u128(99));
            OffsetCommitRequestTopic::default().with_topic_id(id).with_partitions(partitions.to_vec())
        });
        let request = OffsetCommitRequest::default().with_group_id(group(of));
        let request = request.with_generation_id_or_member_epoch(generation).with_topics(topics.collect());
        RequestKind::OffsetCommit(request.with_member_id(text(if generation < 0 { "" } else { "stranger" })))
    })
}

fn offsets_by_id(name: &'static str, of: &'static str, topics: Option<&'static [&'static str]>) -> Step {
    step(name, ApiKey::OffsetFetch, 10, move |known| {
        let topics = topics.map(|topics| {
            let named = topics.iter().map(|topic| {
                let id = known.topics.get(*topic).copied().unwrap_or(Uuid::from_u128(99));
                OffsetFetchRequestTopics::default().with_topic_id(id).with_partition_indexes(vec![0, 1, 77])
            });
            named.collect()
        });
        let wanted = OffsetFetchRequestGroup::default().with_group_id(group(of)).with_topics(topics);
        RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![wanted]))
    })
}

pub(super) fn by_id() -> Vec<Step> {
    vec![
        commit_by_id("commit by id", "by-id", -1, &["t", "table", "missing"]).repeatable(),
        commit_by_id("commit by an id that nobody knows", "by-id", -1, &["missing"]),
        commit_by_id("commit by id as a stranger", "by-id", 3, &["t", "missing"]),
        commit("commit by name as a stranger", 9, "by-id", 3, "missing", 0, ""),
        offsets_by_id("offsets by id", "by-id", Some(&["t", "table"])),
        offsets_by_id("offsets of an id that nobody knows", "by-id", Some(&["missing", "t"])),
        offsets_by_id("all offsets by id", "by-id", None),
        offsets_by_id("offsets by id of no group", "no-such-group", Some(&["t"])),
    ]
}

pub(super) fn offsets(name: &'static str, of: &'static str, partitions: Option<&'static [i32]>) -> Step {
    step(name, ApiKey::OffsetFetch, 8, move |_| {
        let topics = partitions.map(|partitions| {
            vec![OffsetFetchRequestTopics::default().with_name(topic("t")).with_partition_indexes(partitions.to_vec())]
        });
        let wanted = OffsetFetchRequestGroup::default().with_group_id(group(of)).with_topics(topics);
        RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![wanted]))
    })
}

pub(super) fn describe_group(name: &'static str, version: i16, of: &'static str) -> Step {
    step(name, ApiKey::DescribeGroups, version, move |_| {
        RequestKind::DescribeGroups(DescribeGroupsRequest::default().with_groups(vec![group(of)]))
    })
}

pub(super) fn groups() -> Vec<Step> {
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
        heartbeat("beat in no group", "", 1, None),
        step("leave no group", ApiKey::LeaveGroup, 4, |_| {
            let member = MemberIdentity::default().with_member_id(text("nobody"));
            RequestKind::LeaveGroup(LeaveGroupRequest::default().with_members(vec![member]))
        }),
        step("describe with what may be done", ApiKey::DescribeGroups, 5, |_| {
            let request = DescribeGroupsRequest::default().with_groups(vec![group("unknown")]);
            RequestKind::DescribeGroups(request.with_include_authorized_operations(true))
        }),
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
        commit_as("commit as a member of a group without any", "solo", "somebody", None),
        commit_as("commit as an instance in a group without any", "solo", "", Some("instance")),
        commit_as("commit as a member without a generation", "g", "somebody", None),
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

pub(super) fn more_groups() -> Vec<Step> {
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

pub(super) fn delete_offsets(name: &'static str, of: &'static str) -> Step {
    delete_offsets_of(name, of, "t")
}

pub(super) fn delete_offsets_of(name: &'static str, of: &'static str, in_topic: &'static str) -> Step {
    step(name, ApiKey::OffsetDelete, 0, move |_| {
        let partition = OffsetDeleteRequestPartition::default();
        let wanted = OffsetDeleteRequestTopic::default().with_name(topic(in_topic)).with_partitions(vec![partition]);
        RequestKind::OffsetDelete(OffsetDeleteRequest::default().with_group_id(group(of)).with_topics(vec![wanted]))
    })
}

pub(super) fn delete_group(name: &'static str, of: &'static str) -> Step {
    step(name, ApiKey::DeleteGroups, 2, move |_| {
        RequestKind::DeleteGroups(DeleteGroupsRequest::default().with_groups_names(vec![group(of)]))
    })
}
