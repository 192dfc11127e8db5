//! Groups on their way from the classic to the consumer protocol and back (KIP-848's online upgrade and downgrade).

use super::consumers::{beat, describe, joining, send};
use super::groups::{delete_group, describe_group, group};
use super::transactions::{end, init, tx};
use super::*;
use bytes::Bytes;
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use kafka_protocol::messages::consumer_protocol_subscription::TopicPartition as OwnedTopic;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kurier_kafka::wire::{encode_consumer_assignment, encode_consumer_subscription};

/// What a consumer says of itself when it joins: it reads `t`.
fn said(version: i16, owned: &[i32]) -> Bytes {
    said_of("t", version, owned)
}

fn said_of(name: &str, version: i16, owned: &[i32]) -> Bytes {
    let mut subscription = ConsumerProtocolSubscription::default().with_topics(vec![text(name)]);
    if version >= 1 && !owned.is_empty() {
        let owned = OwnedTopic::default().with_topic(topic(name)).with_partitions(owned.to_vec());
        subscription = subscription.with_owned_partitions(vec![owned]);
    }
    encode_consumer_subscription(&subscription, version).unwrap()
}

/// A member of the classic protocol that joins.
#[derive(Clone)]
struct Joiner {
    of: &'static str,
    /// Without one it is the member that was told its id last.
    id: Option<&'static str>,
    instance: Option<&'static str>,
    protocol_type: &'static str,
    protocols: Vec<(&'static str, Bytes)>,
}

impl Joiner {
    fn new(of: &'static str, metadata: Bytes) -> Self {
        Self { of, id: None, instance: None, protocol_type: "consumer", protocols: vec![("range", metadata)] }
    }

    fn with_id(self, id: &'static str) -> Self {
        Self { id: Some(id), ..self }
    }

    fn step(self, name: &'static str, version: i16) -> Step {
        step(name, ApiKey::JoinGroup, version, move |known| {
            let protocols = self.protocols.iter().map(|(name, metadata)| {
                JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(metadata.clone())
            });
            RequestKind::JoinGroup(
                JoinGroupRequest::default()
                    .with_group_id(group(self.of))
                    .with_session_timeout_ms(30_000)
                    .with_rebalance_timeout_ms(30_000)
                    .with_member_id(text(self.id.unwrap_or(&known.member)))
                    .with_group_instance_id(self.instance.map(text))
                    .with_protocol_type(text(self.protocol_type))
                    .with_protocols(protocols.collect()),
            )
        })
    }
}

/// Asks for an assignment, and brings that of the member itself in case it leads.
fn sync(
    name: &'static str,
    of: &'static str,
    id: Option<&'static str>,
    generation: i32,
    assignment: Bytes,
    protocol: (&'static str, &'static str),
) -> Step {
    step(name, ApiKey::SyncGroup, 5, move |known| {
        let id = id.unwrap_or(&known.member);
        let mine = SyncGroupRequestAssignment::default().with_member_id(text(id)).with_assignment(assignment.clone());
        RequestKind::SyncGroup(
            SyncGroupRequest::default()
                .with_group_id(group(of))
                .with_generation_id(generation)
                .with_member_id(text(id))
                .with_protocol_type(Some(text(protocol.0)))
                .with_protocol_name(Some(text(protocol.1)))
                .with_assignments(vec![mine]),
        )
    })
}

fn asks(name: &'static str, of: &'static str, id: Option<&'static str>, generation: i32) -> Step {
    sync(name, of, id, generation, Bytes::new(), ("consumer", "range"))
}

/// What a leader hands out of `t`.
fn handed(version: i16, partitions: &[i32], user_data: Option<Bytes>) -> Bytes {
    let mine = AssignedTopic::default().with_topic(topic("t")).with_partitions(partitions.to_vec());
    let assignment = ConsumerProtocolAssignment::default().with_assigned_partitions(vec![mine]);
    encode_consumer_assignment(&assignment.with_user_data(user_data), version).unwrap()
}

fn heartbeat(name: &'static str, of: &'static str, id: Option<&'static str>, generation: i32) -> Step {
    heartbeat_of(name, of, id, None, generation)
}

fn heartbeat_of(
    name: &'static str,
    of: &'static str,
    id: Option<&'static str>,
    instance: Option<&'static str>,
    generation: i32,
) -> Step {
    step(name, ApiKey::Heartbeat, 4, move |known| {
        RequestKind::Heartbeat(
            HeartbeatRequest::default()
                .with_group_id(group(of))
                .with_generation_id(generation)
                .with_group_instance_id(instance.map(text))
                .with_member_id(text(id.unwrap_or(&known.member))),
        )
    })
}

fn commit(name: &'static str, version: i16, of: &'static str, id: Option<&'static str>, generation: i32) -> Step {
    step(name, ApiKey::OffsetCommit, version, move |known| {
        let partition =
            OffsetCommitRequestPartition::default().with_committed_offset(7).with_committed_leader_epoch(-1);
        let wanted = OffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
        RequestKind::OffsetCommit(
            OffsetCommitRequest::default()
                .with_group_id(group(of))
                .with_generation_id_or_member_epoch(generation)
                .with_member_id(text(id.unwrap_or(&known.member)))
                .with_topics(vec![wanted]),
        )
    })
}

fn fetch_offsets(name: &'static str, of: &'static str, epoch: i32) -> Step {
    step(name, ApiKey::OffsetFetch, 9, move |known| {
        let topics = OffsetFetchRequestTopics::default().with_name(topic("t")).with_partition_indexes(vec![0]);
        let wanted = OffsetFetchRequestGroup::default()
            .with_group_id(group(of))
            .with_member_id(Some(text(&known.member)))
            .with_member_epoch(epoch)
            .with_topics(Some(vec![topics]));
        RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![wanted]))
    })
}

fn leave(name: &'static str, of: &'static str, who: &'static [(&'static str, Option<&'static str>)]) -> Step {
    step(name, ApiKey::LeaveGroup, 5, move |_| {
        let members = who.iter().map(|(id, instance)| {
            MemberIdentity::default().with_member_id(text(id)).with_group_instance_id(instance.map(text))
        });
        RequestKind::LeaveGroup(LeaveGroupRequest::default().with_group_id(group(of)).with_members(members.collect()))
    })
}

/// What a broker is asked whose `group.consumer.migration.policy` is not the usual one.
pub(crate) fn one_way() -> Vec<Step> {
    let of = "way";
    let classic = |metadata| Joiner::new(of, metadata);
    vec![
        create("create", 7, vec![creatable("t", 3, &[])]).repeatable(),
        metadata("metadata", 12, &["t"]),
        super::groups::find_coordinator("coordinator", 4, 0, of),
        classic(said(1, &[])).with_id("").step("join classically", 3),
        sync("lead", of, None, 1, handed(1, &[0, 1, 2], None), ("consumer", "range")),
        send("join in the consumer protocol", joining(of, "m1", &["t"])),
        heartbeat("beat classically", of, None, 1),
        describe("describe the group", 1, &["way"]),
        describe_group("describe the group as a classic one", 6, of),
        send("leave in the consumer protocol", beat(of, "m1", -1)),
        describe("describe the group after that", 1, &["way"]).only_shows(&[
            "error_code",
            "group_state",
            "group_epoch",
        ]),
        describe_group("describe the group as a classic one after that", 6, of),
        classic(said(1, &[])).step("join again", 5),
    ]
}

/// A group that a member of the classic protocol begins to form, and what a member of the consumer protocol is told that joins it.
pub(crate) fn forming() -> [Step; 3] {
    let of = "form";
    [
        Joiner::new(of, said(1, &[])).with_id("").step("form a group", 3),
        describe_group("describe a group that forms", 6, of).only_shows(&["group_state"]),
        send("join a group that forms", joining(of, "m1", &["t"])).only_shows(&["error_code"]),
    ]
}

pub(super) fn migration() -> Vec<Step> {
    let mut steps = upgrade();
    steps.extend(mixed());
    steps.extend(downgrade());
    steps.extend(instances());
    steps.extend(refusals());
    steps
}

fn upgrade() -> Vec<Step> {
    let of = "mig";
    let classic = || Joiner::new(of, said(1, &[]));
    vec![
        classic().with_id("").step("a consumer joins classically", 3),
        sync("it leads and takes all", of, None, 1, handed(1, &[0, 1, 2], None), ("consumer", "range")),
        heartbeat("it beats", of, None, 1),
        commit("it commits", 8, of, None, 1),
        send("a member of the consumer protocol joins", joining(of, "m1", &["t"])),
        describe("describe an upgraded group", 1, &["mig"]),
        describe("describe an upgraded group, version 0", 0, &["mig"]),
        describe_group("describe an upgraded group as a classic one", 6, of),
        step("list groups with an upgraded one", ApiKey::ListGroups, 5, |_| {
            RequestKind::ListGroups(ListGroupsRequest::default().with_states_filter(vec![text("reconciling")]))
        }),
        heartbeat("the classic member is told to join", of, None, 1),
        asks("it asks for an assignment instead", of, None, 1),
        commit("it commits in its generation", 8, of, None, 1),
        commit("it commits in a generation to come", 8, of, None, 2),
        commit("it commits in a generation of before", 8, of, None, 0),
        fetch_offsets("it reads its offsets", of, 1),
        fetch_offsets("it reads offsets in another generation", of, 5),
        Joiner::new(of, said(1, &[0, 1, 2])).step("it joins with all that it has", 5),
        heartbeat("it is to give up", of, None, 1),
        asks("it is handed less", of, None, 1),
        describe("describe while it gives up", 1, &["mig"]),
        send("the other waits", beat(of, "m1", 2)),
        Joiner::new(of, said(1, &[0])).step("it joins with less than it may keep", 5),
        asks("it is handed what it may keep", of, None, 2),
        heartbeat("it beats in the next generation", of, None, 2),
        heartbeat("it beats in the generation before", of, None, 1),
        send("the other takes", beat(of, "m1", 2)),
        commit("it commits in the next generation", 8, of, None, 2),
        commit("it commits for what it has kept in the generation before", 8, of, None, 1),
        describe("describe after partitions moved to the consumer protocol", 1, &["mig"]),
    ]
}

fn mixed() -> Vec<Step> {
    let of = "mig";
    // What it reads nobody else does: so it does not depend on the order of ids who has how much.
    let classic = || Joiner::new(of, said_of("table", 0, &[]));
    let other = |protocols| Joiner { protocols, ..classic() };
    vec![
        Joiner { protocol_type: "connect", ..classic() }.with_id("second").step("join as something else", 5),
        other(vec![("roundrobin", said_of("table", 0, &[]))]).with_id("second").step("join with no common protocol", 5),
        other(Vec::new()).with_id("second").step("join with no protocol", 5),
        other(vec![("range", Bytes::from_static(b"m"))]).with_id("second").step("join with what cannot be read", 5),
        other(vec![("roundrobin", said_of("table", 0, &[])), ("range", said_of("table", 0, &[]))])
            .with_id("second")
            .step("a second one joins", 5),
        asks("it asks by a protocol that is not its first", of, Some("second"), 3),
        sync("it asks", of, Some("second"), 3, Bytes::new(), ("consumer", "roundrobin")),
        sync("it asks as something else", of, Some("second"), 3, Bytes::new(), ("connect", "roundrobin")),
        asks("it asks in another generation", of, Some("second"), 1),
        asks("a stranger asks", of, Some("nobody"), 3),
        asks("a member of the consumer protocol asks", of, Some("m1"), 3),
        heartbeat("it beats in its generation", of, Some("second"), 3),
        heartbeat("a stranger beats", of, Some("nobody"), 3),
        heartbeat("a member of the consumer protocol beats classically", of, Some("m1"), 3),
        commit("a member of the consumer protocol commits by an old version", 8, of, Some("m1"), 2),
        describe("describe a mixed group", 1, &["mig"]),
        leave("some leave", of, &[("nobody", None), ("second", None), ("", Some("no-instance"))]),
        leave("some leave again", of, &[("second", None)]),
        describe("describe a mixed group that one left", 1, &["mig"]),
        step("leave by an old version", ApiKey::LeaveGroup, 2, move |_| {
            RequestKind::LeaveGroup(
                LeaveGroupRequest::default().with_group_id(group(of)).with_member_id(text("second")),
            )
        }),
        Joiner { instance: Some("i"), ..classic() }.with_id("third").step("an unknown instance has an id", 5),
        Joiner::new(of, said(0, &[])).step("join again for the newest epoch", 5),
        asks("sync in the newest epoch", of, None, 4),
        delete_group("delete a mixed group", of),
    ]
}

fn downgrade() -> Vec<Step> {
    let of = "mig";
    vec![
        send("the member of the consumer protocol leaves", beat(of, "m1", -1)),
        describe_group("describe a downgraded group", 6, of),
        describe("describe a downgraded group as a consumer group", 1, &["mig"]),
        heartbeat("who is left is told to join", of, None, 4),
        send("who has left beats", beat(of, "m1", 3)),
        Joiner::new(of, said(1, &[])).step("who is left joins", 5),
        sync("who is left leads again", of, None, 5, handed(1, &[0, 1, 2], None), ("consumer", "range")),
        heartbeat("who is left beats", of, None, 5),
        describe_group("describe a group that is classic again", 6, of),
        send("a member of the consumer protocol comes again", joining(of, "m2", &["t"])),
        describe("describe a group that was upgraded again", 1, &["mig"]),
        leave("a member of the consumer protocol leaves classically", of, &[("m2", None)]),
        describe_group("describe a group that was downgraded again", 6, of),
    ]
}

fn instances() -> Vec<Step> {
    let of = "mis";
    let named = |metadata: Bytes| Joiner { instance: Some("i"), ..Joiner::new(of, metadata) };
    let with_instance = |request: ConsumerGroupHeartbeatRequest| request.with_instance_id(Some(text("i")));
    vec![
        named(said(1, &[])).with_id("").step("an instance joins classically", 5),
        sync("the instance takes all", of, None, 1, handed(1, &[0, 1, 2], None), ("consumer", "range")),
        send("the instance comes in the consumer protocol", with_instance(joining(of, "s1", &["t"]))),
        describe("describe an instance that was upgraded", 1, &["mis"]),
        heartbeat_of("its old self beats", of, None, Some("i"), 1),
        named(said(1, &[])).step("its old self joins", 5),
        asks("its old self asks", of, None, 1),
        send("the instance beats", with_instance(beat(of, "s1", 2))),
        named(said(1, &[])).with_id("").step("the instance comes classically", 5),
        describe_group("describe an instance that was downgraded", 6, of),
        asks("the instance asks", of, None, 2),
        heartbeat_of("the instance beats classically", of, None, Some("i"), 2),
        send("the instance comes in the consumer protocol again", with_instance(joining(of, "s2", &["t"]))),
        send("the instance leaves for now", with_instance(beat(of, "s2", -2))),
        named(said_of("table", 1, &[])).with_id("").step("the instance comes classically for something else", 5),
        describe_group("describe an instance that reads something else", 6, of),
        named(said_of("table", 1, &[])).step("the instance joins again", 5),
        asks("the instance asks for something else", of, None, 4),
        describe_group("describe an instance that reads something else after all", 6, of),
        send("another comes in the consumer protocol", joining(of, "s3", &["t"])),
        leave("an administrator removes the instance", of, &[("", Some("i"))]),
        leave("an administrator removes another of the consumer protocol", of, &[("s3", None)]),
        describe("describe a group that all have left", 1, &["mis"]),
    ]
}

/// Offsets within a transaction, of the members of a mixed group and of nobody.
pub(super) fn in_transactions() -> Vec<Step> {
    let of = "mit";
    // Without a member, it is the one that was told its id last.
    let offsets = |name: &'static str, id: Option<&'static str>, generation: i32| {
        step(name, ApiKey::TxnOffsetCommit, 3, move |known| {
            let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(8);
            let wanted = TxnOffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
            RequestKind::TxnOffsetCommit(
                TxnOffsetCommitRequest::default()
                    .with_transactional_id(tx())
                    .with_group_id(group(of))
                    .with_producer_id(ProducerId(known.producer.0))
                    .with_producer_epoch(known.producer.1)
                    .with_generation_id(generation)
                    .with_member_id(text(id.unwrap_or(&known.member)))
                    .with_topics(vec![wanted]),
            )
        })
    };
    vec![
        Joiner::new(of, said(1, &[])).with_id("").step("join classically for transactions", 3),
        sync("lead for transactions", of, None, 1, handed(1, &[0, 1, 2], None), ("consumer", "range")),
        send("join in the consumer protocol for transactions", joining(of, "m1", &["t"])),
        init("begin for a mixed group", 60_000),
        step("add offsets of a mixed group", ApiKey::AddOffsetsToTxn, 3, move |known| {
            RequestKind::AddOffsetsToTxn(
                AddOffsetsToTxnRequest::default()
                    .with_transactional_id(tx())
                    .with_producer_id(ProducerId(known.producer.0))
                    .with_producer_epoch(known.producer.1)
                    .with_group_id(group(of)),
            )
        }),
        offsets("offsets of a classic member in a transaction", None, 1),
        offsets("offsets of a classic member of before in a transaction", None, 0),
        offsets("offsets of a classic member to come in a transaction", None, 2),
        offsets("offsets of a member in a transaction", Some("m1"), 2),
        offsets("offsets of a member to come in a transaction", Some("m1"), 3),
        offsets("offsets of a stranger in a transaction", Some("nobody"), 2),
        offsets("offsets of nobody in a transaction", Some(""), -1),
        end("roll back for a mixed group", false, 0),
    ]
}

fn refusals() -> Vec<Step> {
    let join = |of, metadata| Joiner::new(of, metadata).with_id("");
    let lead = |of, assignment| sync("lead it", of, None, 1, assignment, ("consumer", "range"));
    vec![
        join("mal", Bytes::from_static(b"m")).step("make a group that says nothing that can be read", 3),
        send("upgrade what cannot be read", joining("mal", "m1", &["t"])),
        lead("mal", Bytes::from_static(b"m")),
        send("upgrade what cannot be read after all", joining("mal", "m1", &["t"])),
        heartbeat("nothing has changed", "mal", None, 1),
        join("cus", said(1, &[])).step("make a group with an assignor of its own", 3),
        lead("cus", handed(1, &[0], Some(Bytes::from_static(b"u")))),
        send("upgrade an assignor of its own", joining("cus", "m1", &["t"])),
        heartbeat("nothing has changed here either", "cus", None, 1),
        join("new", said(1, &[])).step("make a group without assignments", 3),
        send("upgrade it", joining("new", "m1", &["t"])).only_shows(&["error_code", "member_epoch"]),
        lead("new", handed(1, &[0], None)),
        describe("describe a group that was upgraded before its assignments", 1, &["new"]).only_shows(&[
            "group_state",
            "group_epoch",
            "assignment_epoch",
            "member_epoch",
            "member_type",
        ]),
        send("upgrade by what is no pattern", {
            joining("mal", "m1", &[]).with_subscribed_topic_names(None).with_subscribed_topic_regex(Some(text("t(")))
        }),
        join("pen", said(1, &[])).step("ask for an id", 5),
        send("join before the id is used", joining("pen", "m1", &["t"])),
        Joiner::new("pen", said(1, &[])).step("use the id", 5),
        asks("ask with it", "pen", None, 3),
        join("cgj", said(1, &[])).step("ask for an id of a group that comes", 5),
    ]
}
