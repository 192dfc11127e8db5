//! Groups of the consumer protocol (KIP-848).

use super::groups::{delete_group, delete_offsets_of, describe_group, group};
use super::*;
use bytes::Bytes;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::*;

/// A heartbeat with nothing but who sends it.
pub(super) fn beat(of: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group(of))
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_subscribed_topic_regex(None)
        .with_topic_partitions(None)
}

/// The first heartbeat of a member.
pub(super) fn joining(of: &str, member: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    beat(of, member, 0)
        .with_rebalance_timeout_ms(30_000)
        .with_subscribed_topic_names(Some(topics.iter().copied().map(topic).collect()))
        .with_topic_partitions(Some(Vec::new()))
}

pub(super) fn send(name: &'static str, request: ConsumerGroupHeartbeatRequest) -> Step {
    step(name, ApiKey::ConsumerGroupHeartbeat, 1, move |_| RequestKind::ConsumerGroupHeartbeat(request.clone()))
}

/// A heartbeat that says which partitions of `t` are owned.
fn owning(name: &'static str, member: &'static str, epoch: i32, partitions: &'static [i32]) -> Step {
    step(name, ApiKey::ConsumerGroupHeartbeat, 1, move |known| {
        let owned = TopicPartitions::default().with_topic_id(known.topics["t"]).with_partitions(partitions.to_vec());
        RequestKind::ConsumerGroupHeartbeat(beat("cg", member, epoch).with_topic_partitions(Some(vec![owned])))
    })
}

pub(super) fn describe(name: &'static str, version: i16, of: &'static [&'static str]) -> Step {
    step(name, ApiKey::ConsumerGroupDescribe, version, move |_| {
        let ids = of.iter().copied().map(group).collect();
        RequestKind::ConsumerGroupDescribe(ConsumerGroupDescribeRequest::default().with_group_ids(ids))
    })
}

fn commit(name: &'static str, version: i16, member: &'static str, epoch: i32) -> Step {
    step(name, ApiKey::OffsetCommit, version, move |_| {
        let partition =
            OffsetCommitRequestPartition::default().with_committed_offset(7).with_committed_leader_epoch(-1);
        let wanted = OffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
        RequestKind::OffsetCommit(
            OffsetCommitRequest::default()
                .with_group_id(group("cg"))
                .with_generation_id_or_member_epoch(epoch)
                .with_member_id(text(member))
                .with_topics(vec![wanted]),
        )
    })
}

fn fetch_offsets(name: &'static str, member: Option<&'static str>, epoch: i32) -> Step {
    step(name, ApiKey::OffsetFetch, 9, move |_| {
        let topics = OffsetFetchRequestTopics::default().with_name(topic("t")).with_partition_indexes(vec![0]);
        let wanted = OffsetFetchRequestGroup::default()
            .with_group_id(group("cg"))
            .with_member_id(member.map(text))
            .with_member_epoch(epoch)
            .with_topics(Some(vec![topics]));
        RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![wanted]))
    })
}

fn classic_join(name: &'static str, of: &'static str, member: &'static str) -> Step {
    step(name, ApiKey::JoinGroup, 3, move |_| {
        let protocol =
            JoinGroupRequestProtocol::default().with_name(text("one")).with_metadata(Bytes::from_static(b"m"));
        RequestKind::JoinGroup(
            JoinGroupRequest::default()
                .with_group_id(group(of))
                .with_session_timeout_ms(10_000)
                .with_rebalance_timeout_ms(10_000)
                .with_member_id(text(member))
                .with_protocol_type(text("connect"))
                .with_protocols(vec![protocol]),
        )
    })
}

pub(super) fn consumers() -> Vec<Step> {
    let mut steps = refusals();
    steps.extend(rebalancing());
    steps.extend(offsets());
    steps.extend(static_members());
    steps.extend(patterns());
    steps.extend(endings());
    steps.extend(configs());
    steps
}

fn refusals() -> Vec<Step> {
    let static_leave = beat("cg", "m1", -2);
    vec![
        send("beat in no group", joining("", "m1", &["t"])),
        send("beat without an id", joining("cg", "", &["t"])),
        send("join without a rebalance timeout", joining("cg", "m1", &["t"]).with_rebalance_timeout_ms(-1)),
        send("join with partitions", joining("cg", "m1", &["t"]).with_topic_partitions(None)),
        send("join without a subscription", joining("cg", "m1", &[]).with_subscribed_topic_names(None)),
        send("join with an unknown assignor", joining("cg", "m1", &["t"]).with_server_assignor(Some(text("odd")))),
        send("join with an empty instance", joining("cg", "m1", &["t"]).with_instance_id(Some(text("")))),
        send("beat with an impossible epoch", beat("cg", "m1", -3)),
        send("leave for now without an instance", static_leave),
        send("beat in a group that is not there", beat("cg", "m1", 1)),
        send("leave a group that is not there", beat("cg", "m1", -1)),
        describe("describe a consumer group that is not there", 1, &["cg"]),
    ]
}

fn rebalancing() -> Vec<Step> {
    vec![
        send("join a consumer group", joining("cg", "m1", &["t"])),
        send("beat at once", beat("cg", "m1", 2)),
        send("join again as the answer was lost", joining("cg", "m1", &["t"])),
        send("beat of the future", beat("cg", "m1", 5)),
        send("beat as an unknown member", beat("cg", "nobody", 1)),
        describe("describe a consumer group", 1, &["cg"]),
        describe("describe a consumer group, version 0", 0, &["cg"]),
        send("a second member joins", joining("cg", "m2", &["t"])),
        describe("describe while partitions move", 1, &["cg"]),
        owning("the first still owns everything", "m1", 2, &[0, 1, 2]),
        send("the second waits", beat("cg", "m2", 3)),
        owning("the first gives up", "m1", 2, &[0, 1]),
        owning("the answer was lost and the first asks again", "m1", 2, &[0, 1]),
        send("the second takes", beat("cg", "m2", 3)),
        describe("describe after partitions moved", 1, &["cg"]),
        send("join again much later", joining("cg", "m1", &["t"])),
        describe_group("describe a consumer group as a classic one", 6, "cg"),
        describe_group("describe a consumer group as a classic one, version 5", 5, "cg"),
        step("list consumer groups", ApiKey::ListGroups, 5, |_| {
            RequestKind::ListGroups(ListGroupsRequest::default().with_types_filter(vec![text("Consumer")]))
        }),
        step("list stable groups", ApiKey::ListGroups, 5, |_| {
            RequestKind::ListGroups(ListGroupsRequest::default().with_states_filter(vec![text("Stable")]))
        }),
        classic_join("join a consumer group by the classic protocol of others", "cg", ""),
        classic_join("join classically", "classic", ""),
        send("join a classic group", joining("classic", "m1", &["t"])),
        describe("describe a classic group as a consumer group", 1, &["classic"]),
    ]
}

fn offsets() -> Vec<Step> {
    vec![
        commit("commit in the member's epoch", 9, "m1", 3),
        commit("commit since the partition was assigned", 9, "m1", 2),
        commit("commit in an older epoch", 9, "m1", 1),
        commit("commit in an epoch to come", 9, "m1", 4),
        commit("commit by an old version", 8, "m1", 2),
        commit("commit as an unknown member", 9, "nobody", 2),
        commit("commit as nobody", 9, "", -1),
        fetch_offsets("offsets for a member", Some("m1"), 3),
        fetch_offsets("offsets for a member of an old epoch", Some("m1"), 2),
        fetch_offsets("offsets for an unknown member", Some("nobody"), 2),
        fetch_offsets("offsets for an administrator", None, -1),
        delete_offsets_of("delete offsets of a topic that is read", "cg", "t"),
        delete_offsets_of("delete offsets of a topic that is not read", "cg", "table"),
        delete_group("delete a consumer group with members", "cg"),
    ]
}

fn static_members() -> Vec<Step> {
    let with_instance =
        |request: ConsumerGroupHeartbeatRequest, instance: &str| request.with_instance_id(Some(text(instance)));
    vec![
        send("a static member joins", with_instance(joining("sg", "s1", &["t"]), "i1")),
        send("another takes its instance", with_instance(joining("sg", "s2", &["t"]), "i1")),
        send("a static member beats", with_instance(beat("sg", "s1", 2), "i1")),
        send("another beats for it", with_instance(beat("sg", "s2", 2), "i1")),
        send("an unknown instance beats", with_instance(beat("sg", "s1", 1), "i2")),
        send("a static member leaves for now", with_instance(beat("sg", "s1", -2), "i1")),
        describe("describe a group with a member that left for now", 1, &["sg"]),
        send("it comes back", with_instance(joining("sg", "s2", &["t"]), "i1")),
        describe("describe a group with a member that came back", 1, &["sg"]),
        send("its old self is fenced", with_instance(beat("sg", "s1", 1), "i1")),
        send("a static member leaves for good", with_instance(beat("sg", "s2", -1), "i1")),
        send("an unknown instance leaves", with_instance(beat("sg", "s2", -1), "i1")),
        describe("describe an empty consumer group", 1, &["sg"]),
        send("join an empty consumer group", joining("sg", "s3", &["table"])),
        send("leave it again", beat("sg", "s3", -1)),
        send("leave twice", beat("sg", "s3", -1)),
    ]
}

fn patterns() -> Vec<Step> {
    let by = |pattern: &str| {
        joining("rg", "r1", &[]).with_subscribed_topic_names(None).with_subscribed_topic_regex(Some(text(pattern)))
    };
    vec![
        send("join by what is no pattern", by("t(")),
        send("join by a pattern", by("ta.*")).only_shows(&["error_code", "heartbeat_interval_ms"]),
        send("join for nothing", joining("ng", "n1", &[])),
        send("another joins for nothing", joining("ng", "n2", &[]).with_subscribed_topic_regex(Some(text("")))),
        describe("describe a group that reads nothing", 1, &["ng"]),
        send("join for a topic that is not there", joining("mg", "n1", &["missing", "t"])),
    ]
}

fn endings() -> Vec<Step> {
    vec![
        send("one of two leaves", beat("cg", "m2", -1)),
        describe("describe a consumer group that one left", 1, &["cg"]),
        send("the other beats", beat("cg", "m1", 3)),
        send("the other beats again", beat("cg", "m1", 4)),
        send("the other leaves", beat("cg", "m1", -1)),
        commit("commit in an empty consumer group", 9, "", -1),
        delete_group("delete an empty consumer group", "cg"),
        delete_group("delete a consumer group again", "cg"),
    ]
}

fn configs() -> Vec<Step> {
    let change = |name: &'static str, config: &'static str, operation: i8, value: Option<&'static str>| {
        step(name, ApiKey::IncrementalAlterConfigs, 1, move |_| {
            let config = IncrementalConfig::default().with_name(text(config)).with_config_operation(operation);
            let resource = IncrementalResource::default()
                .with_resource_type(32)
                .with_resource_name(text("configured"))
                .with_configs(vec![config.with_value(value.map(text))]);
            let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
            RequestKind::IncrementalAlterConfigs(request)
        })
    };
    let keys: &[&str] = &["consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"];
    vec![
        change("set a group's session timeout", "consumer.session.timeout.ms", 0, Some("50000")),
        change("set a group's heartbeat interval", "consumer.heartbeat.interval.ms", 0, Some("6000")),
        describe_configs("configs of a group", 4, 32, "configured", Some(keys)),
        change("set a group's session timeout too low", "consumer.session.timeout.ms", 0, Some("10")),
        change("set an unknown config of a group", "no.such", 0, Some("10")),
        change("remove a group's session timeout", "consumer.session.timeout.ms", 1, None),
        describe_configs("configs of a group after removing one", 4, 32, "configured", Some(keys)),
        send("join a group with configs", joining("configured", "m1", &["t"])),
        step("list groups with configs", ApiKey::ListConfigResources, 1, |_| {
            RequestKind::ListConfigResources(ListConfigResourcesRequest::default().with_resource_types(vec![32]))
        }),
    ]
}
