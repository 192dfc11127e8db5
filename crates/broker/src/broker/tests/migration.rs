//! Groups whose members are moved from the classic to the consumer protocol and back while they read (KIP-848).

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use kafka_protocol::messages::consumer_protocol_subscription::TopicPartition as OwnedTopic;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatResponse, ConsumerProtocolAssignment,
    ConsumerProtocolSubscription, DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, SyncGroupRequest,
};
use kurier_kafka::wire::{
    decode_consumer_assignment, decode_consumer_subscription, encode_consumer_assignment, encode_consumer_subscription,
};

use super::consumer_groups::Consumer;
use super::*;
use crate::config::MigrationPolicy;

const PARTITIONS: i32 = 6;
const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 20_000;

/// A request that has not been answered.
#[derive(Debug, Clone, Copy)]
enum Open {
    Join(i32),
    Sync(i32),
}

/// A consumer of the classic protocol, as Java's: it joins when told to, assigns if it leads, and does what it is told.
#[derive(Debug, Clone)]
struct Classic {
    connection: ConnectionId,
    id: String,
    instance: Option<String>,
    /// Whether it keeps what it reads while it joins.
    cooperative: bool,
    topics: Vec<&'static str>,
    /// None: it has to join.
    generation: Option<i32>,
    owned: BTreeSet<i32>,
    open: Option<Open>,
    /// Somebody else has its instance: it has stopped for good.
    fenced: bool,
}

impl Classic {
    fn new(connection: u64) -> Self {
        Self {
            connection: ConnectionId(100 + connection), // The first is the rig's own.
            id: String::new(),
            instance: None,
            cooperative: false,
            topics: vec!["t"],
            generation: None,
            owned: BTreeSet::new(),
            open: None,
            fenced: false,
        }
    }

    fn protocol(&self) -> &'static str {
        if self.cooperative { "cooperative-sticky" } else { "range" }
    }

    fn metadata(&self) -> Bytes {
        let owned = OwnedTopic::default().with_topic(topic_name("t"));
        let owned = owned.with_partitions(self.owned.iter().copied().collect());
        let topics = self.topics.iter().map(|name| (*name).into()).collect();
        let said = ConsumerProtocolSubscription::default().with_topics(topics).with_owned_partitions(vec![owned]);
        encode_consumer_subscription(&said, 1).unwrap()
    }

    fn join(&mut self, rig: &mut Rig) {
        if !self.cooperative {
            self.owned.clear();
        }
        let protocol =
            JoinGroupRequestProtocol::default().with_name(self.protocol().into()).with_metadata(self.metadata());
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId("g".into()))
            .with_session_timeout_ms(SESSION_MS)
            .with_rebalance_timeout_ms(REBALANCE_MS)
            .with_member_id(self.id.clone().into())
            .with_group_instance_id(self.instance.clone().map(Into::into))
            .with_protocol_type("consumer".into())
            .with_protocols(vec![protocol]);
        self.open = Some(Open::Join(rig.send(self.connection, 7, RequestKind::JoinGroup(request))));
    }

    /// Who reads what: as even as it goes; what another still has is left out until it has given it up.
    fn assigned(&self, members: &[JoinGroupResponseMember]) -> Vec<SyncGroupRequestAssignment> {
        let has: Vec<BTreeSet<i32>> = members
            .iter()
            .map(|member| {
                let said = decode_consumer_subscription(member.metadata.clone()).unwrap();
                said.owned_partitions.into_iter().flat_map(|topic| topic.partitions).collect()
            })
            .collect();
        let shares = (0..members.len()).map(|index| {
            let mine = (0..PARTITIONS).filter(|partition| *partition as usize % members.len() == index);
            let is_free =
                |partition: &i32| !has.iter().enumerate().any(|(other, has)| other != index && has.contains(partition));
            let topic = AssignedTopic::default().with_topic(topic_name("t"));
            let topic = topic.with_partitions(mine.filter(is_free).collect());
            encode_consumer_assignment(&ConsumerProtocolAssignment::default().with_assigned_partitions(vec![topic]), 1)
                .unwrap()
        });
        members
            .iter()
            .zip(shares)
            .map(|(member, share)| {
                SyncGroupRequestAssignment::default().with_member_id(member.member_id.clone()).with_assignment(share)
            })
            .collect()
    }

    fn sync(&mut self, rig: &mut Rig, generation: i32, assignments: Vec<SyncGroupRequestAssignment>) {
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId("g".into()))
            .with_generation_id(generation)
            .with_member_id(self.id.clone().into())
            .with_group_instance_id(self.instance.clone().map(Into::into))
            .with_protocol_type(Some("consumer".into()))
            .with_protocol_name(Some(self.protocol().into()))
            .with_assignments(assignments);
        self.open = Some(Open::Sync(rig.send(self.connection, 5, RequestKind::SyncGroup(request))));
    }

    fn heartbeat(&self, rig: &mut Rig, generation: i32) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId("g".into()))
            .with_generation_id(generation)
            .with_member_id(self.id.clone().into())
            .with_group_instance_id(self.instance.clone().map(Into::into));
        let correlation = rig.send(self.connection, 4, RequestKind::Heartbeat(request));
        match rig.take(correlation).expect("a heartbeat is answered at once") {
            ResponseKind::Heartbeat(response) => response.error_code,
            other => panic!("{other:?}"),
        }
    }

    fn leave(&self, rig: &mut Rig) -> i16 {
        let me = MemberIdentity::default().with_member_id(self.id.clone().into());
        let request = LeaveGroupRequest::default().with_group_id(GroupId("g".into())).with_members(vec![me]);
        let correlation = rig.send(self.connection, 4, RequestKind::LeaveGroup(request));
        match rig.take(correlation).expect("a leave is answered at once") {
            ResponseKind::LeaveGroup(response) => response.error_code,
            other => panic!("{other:?}"),
        }
    }

    /// What Java's client does about an error.
    fn despair(&mut self, error: i16) {
        let is = |other: ResponseError| error == other.code();
        if is(ResponseError::RebalanceInProgress) || is(ResponseError::NotCoordinator) {
            return;
        }
        // What it read is lost.
        self.owned.clear();
        if is(ResponseError::FencedInstanceId) {
            self.fenced = true;
        } else if is(ResponseError::UnknownMemberId) {
            self.id.clear();
        } else {
            assert!(is(ResponseError::IllegalGeneration), "{error} to {self:?}");
        }
    }

    /// One look at the network: takes an answer, or beats, or joins.
    fn step(&mut self, rig: &mut Rig) {
        if self.fenced {
            return;
        }
        match self.open.take() {
            None => match self.generation {
                None => self.join(rig),
                Some(generation) => match self.heartbeat(rig, generation) {
                    0 => {}
                    error => {
                        self.despair(error);
                        self.generation = None;
                    }
                },
            },
            Some(Open::Join(correlation)) => match rig.take(correlation) {
                None => self.open = Some(Open::Join(correlation)),
                Some(ResponseKind::JoinGroup(joined)) if joined.error_code == 0 => {
                    self.id = joined.member_id.to_string();
                    let leads = joined.leader == joined.member_id;
                    let assignments = if leads { self.assigned(&joined.members) } else { Vec::new() };
                    self.generation = Some(joined.generation_id);
                    self.sync(rig, joined.generation_id, assignments);
                }
                Some(ResponseKind::JoinGroup(joined)) => {
                    if joined.error_code == ResponseError::MemberIdRequired.code() {
                        self.id = joined.member_id.to_string();
                    } else {
                        self.despair(joined.error_code);
                    }
                    self.generation = None;
                }
                Some(other) => panic!("{other:?}"),
            },
            Some(Open::Sync(correlation)) => match rig.take(correlation) {
                None => self.open = Some(Open::Sync(correlation)),
                Some(ResponseKind::SyncGroup(synced)) if synced.error_code == 0 => {
                    let assignment = decode_consumer_assignment(synced.assignment).unwrap();
                    let topics = assignment.assigned_partitions.into_iter();
                    let mine: BTreeSet<i32> = topics.flat_map(|topic| topic.partitions).collect();
                    if self.cooperative && !self.owned.is_subset(&mine) {
                        // It gives up, and joins again so that others get it.
                        self.generation = None;
                    }
                    self.owned = mine;
                }
                Some(ResponseKind::SyncGroup(synced)) => {
                    self.despair(synced.error_code);
                    self.generation = None;
                }
                Some(other) => panic!("{other:?}"),
            },
        }
    }
}

/// A member of either protocol.
#[derive(Debug, Clone)]
enum Member {
    Classic(Classic),
    Consumer(Consumer),
}

impl Member {
    fn step(&mut self, rig: &mut Rig) {
        match self {
            Self::Classic(classic) => classic.step(rig),
            Self::Consumer(consumer) => match consumer.beat(rig) {
                0 => {}
                error if error == ResponseError::NotCoordinator.code() => {}
                error => {
                    let fenced = [ResponseError::FencedMemberEpoch, ResponseError::UnknownMemberId];
                    let unreleased = error == ResponseError::UnreleasedInstanceId.code();
                    assert!(
                        unreleased || fenced.iter().any(|fenced| fenced.code() == error),
                        "{error} to {consumer:?}"
                    );
                    consumer.begin_anew();
                }
            },
        }
    }

    fn owned(&self) -> Vec<i32> {
        match self {
            Self::Classic(classic) => classic.owned.iter().copied().collect(),
            Self::Consumer(consumer) => consumer.owned.iter().map(|(_, partition)| *partition).collect(),
        }
    }
}

fn rig_with(policy: MigrationPolicy) -> Rig {
    let mut rig = Rig::new(BrokerConfig { group_consumer_migration_policy: policy, ..BrokerConfig::default() });
    rig.create_topic("t", PARTITIONS, &[]);
    rig
}

fn check_owners(members: &[Member], what: &str) {
    let mut owners = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        for partition in member.owned() {
            let before = owners.insert(partition, index);
            assert_eq!(before, None, "{what}: {partition} is read by two: {members:#?}");
        }
    }
}

/// Steps of all members, a second apart, until they read everything and nothing changes; no partition is read by two on the way.
fn settle(rig: &mut Rig, members: &mut [Member], what: &str) {
    let mut quiet = 0;
    for _ in 0..200 {
        let before: Vec<Vec<i32>> = members.iter().map(Member::owned).collect();
        for index in 0..members.len() {
            members[index].step(rig);
            check_owners(members, what);
        }
        rig.pass(Duration::from_secs(1));
        let after: Vec<Vec<i32>> = members.iter().map(Member::owned).collect();
        let all = after.iter().map(Vec::len).sum::<usize>() == PARTITIONS as usize;
        quiet = if all && before == after { quiet + 1 } else { 0 };
        if quiet == 5 {
            return;
        }
    }
    panic!("{what}: it does not come to rest: {members:#?}");
}

fn classic_state(rig: &mut Rig) -> String {
    let request = DescribeGroupsRequest::default().with_groups(vec![GroupId("g".into())]);
    match rig.ask(5, RequestKind::DescribeGroups(request)) {
        ResponseKind::DescribeGroups(described) => described.groups[0].group_state.to_string(),
        other => panic!("{other:?}"),
    }
}

/// State of a consumer group, and the types of its members.
fn consumer_state(rig: &mut Rig) -> (String, Vec<i8>) {
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId("g".into())]);
    match rig.ask(1, RequestKind::ConsumerGroupDescribe(request)) {
        ResponseKind::ConsumerGroupDescribe(described) => {
            let group = &described.groups[0];
            (group.group_state.to_string(), group.members.iter().map(|member| member.member_type).collect())
        }
        other => panic!("{other:?}"),
    }
}

/// Members of the classic protocol, eager or cooperative, that read everything.
fn classics(rig: &mut Rig, count: u64, cooperative: bool) -> Vec<Member> {
    let mut members: Vec<Member> =
        (1..=count).map(|number| Member::Classic(Classic { cooperative, ..Classic::new(number) })).collect();
    settle(rig, &mut members, "before");
    members
}

#[test]
fn a_group_is_rolled_to_the_consumer_protocol_and_back() {
    for cooperative in [false, true] {
        for kill in [false, true] {
            let what = format!("cooperative {cooperative}, killed {kill}");
            let mut rig = rig_with(MigrationPolicy::Bidirectional);
            let mut members = classics(&mut rig, 3, cooperative);
            for (index, id) in ["a", "b", "c"].into_iter().enumerate() {
                if let Member::Classic(classic) = &members[index] {
                    assert_eq!(classic.leave(&mut rig), 0);
                }
                members[index] = Member::Consumer(Consumer::new(id, &["t"]));
                settle(&mut rig, &mut members, &what);
                let mut types = vec![1; index + 1];
                types.resize(3, 0);
                types.sort_unstable();
                let (state, mut found) = consumer_state(&mut rig);
                found.sort_unstable();
                assert_eq!((state.as_str(), found), ("Stable", types), "{what}");
                if kill {
                    rig.kill();
                    settle(&mut rig, &mut members, &what);
                }
            }
            for index in 0..3 {
                if let Member::Consumer(consumer) = &members[index] {
                    assert_eq!(consumer.send(&mut rig, -1).error_code, 0);
                }
                let id = 10 + index as u64;
                members[index] = Member::Classic(Classic { cooperative, ..Classic::new(id) });
                if index == 2 && kill {
                    // It is a classic group that prepares a rebalance.
                    rig.kill();
                }
                settle(&mut rig, &mut members, &what);
            }
            assert_eq!(classic_state(&mut rig), "Stable", "{what}");
        }
    }
}

#[test]
fn members_come_and_go_in_both_protocols_and_no_partition_has_two_readers() {
    for seed in 0..400_u64 {
        let what = format!("seed {seed}");
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let kills = next(2) == 0;
        let statics = next(3) == 0;
        // What a cooperative member keeps while a classic rebalance runs is forgotten with the rebalance when the broker is killed; and
        // leaders here believe what an instance said that is gone.
        let cooperative = !kills && !statics && next(2) == 0;
        let mut rig = rig_with(MigrationPolicy::Bidirectional);
        let mut count = 0;
        let mut new = |place: usize, consumer: bool| {
            count += 1;
            let instance = statics.then(|| format!("i{place}"));
            if consumer {
                let id: &'static str = format!("m{count}").leak();
                let mut consumer = Consumer::new(id, &["t"]);
                consumer.instance = instance;
                Member::Consumer(consumer)
            } else {
                Member::Classic(Classic { instance, cooperative, ..Classic::new(count) })
            }
        };
        let mut members: Vec<Member> = (0..3).map(|place| new(place, next(2) == 0)).collect();
        for event in 0..60 {
            let index = next(3) as usize;
            match next(12) {
                0 => {
                    let (says, consumer) = (next(3) > 0, next(2) == 0);
                    // Whoever says nothing has died.
                    match &members[index] {
                        Member::Classic(classic) if says && !statics && classic.open.is_none() => {
                            classic.leave(&mut rig);
                        }
                        Member::Consumer(consumer) if statics || says => {
                            consumer.send(&mut rig, if statics { -2 } else { -1 });
                        }
                        _ => {}
                    }
                    members[index] = new(index, consumer);
                }
                1 if kills => {
                    rig.kill();
                    // The ids that the rig gives out after a start depend on how much is written.
                    rig.create_topic(&format!("after-kill-{event}"), 1, &[]);
                    for member in &mut members {
                        if let Member::Classic(classic) = member {
                            // The connection is gone, and the question with it.
                            if classic.open.take().is_some() {
                                classic.generation = None;
                            }
                        }
                    }
                }
                2 => {
                    // Nobody who lives is silent for so long that it is given up without knowing.
                    rig.pass(Duration::from_secs(next(3)));
                    for index in 0..members.len() {
                        members[index].step(&mut rig);
                        check_owners(&members, &what);
                    }
                }
                _ => {
                    members[index].step(&mut rig);
                    check_owners(&members, &what);
                }
            }
        }
        settle(&mut rig, &mut members, &what);
    }
}

fn refused(rig: &mut Rig, consumer: &Consumer) -> ConsumerGroupHeartbeatResponse {
    let response = consumer.send(rig, 0);
    assert_ne!(response.error_code, 0, "{response:?}");
    response
}

#[test]
fn the_policy_says_which_way_a_group_may_go() {
    use MigrationPolicy::{Bidirectional, Disabled, Downgrade, Upgrade};
    // policy, whether it upgrades, whether it downgrades
    for (policy, upgrades, downgrades) in
        [(Disabled, false, false), (Upgrade, true, false), (Downgrade, false, true), (Bidirectional, true, true)]
    {
        let mut rig = rig_with(policy);
        let mut members = classics(&mut rig, 1, false);
        let newcomer = Consumer::new("a", &["t"]);
        if upgrades {
            assert_eq!(newcomer.send(&mut rig, 0).error_code, 0, "{policy:?}");
            assert_eq!(consumer_state(&mut rig).1.len(), 2, "{policy:?}");
        } else {
            let response = refused(&mut rig, &newcomer);
            assert_eq!(response.error_code, ResponseError::GroupIdNotFound.code(), "{policy:?}");
            let reason = "Cannot upgrade classic group g to consumer group because online upgrade is disabled.";
            assert_eq!(response.error_message.as_deref(), Some(reason), "{policy:?}");
            assert_eq!(classic_state(&mut rig), "Stable", "{policy:?}");
            // An empty group may change in any case.
            let Member::Classic(classic) = &members[0] else { unreachable!("all are classic") };
            assert_eq!(classic.leave(&mut rig), 0);
            members = vec![Member::Consumer(newcomer.clone())];
            settle(&mut rig, &mut members, "a consumer group");
            members.push(Member::Classic(Classic::new(9)));
            settle(&mut rig, &mut members, "a mixed group");
            members.remove(0);
        }
        assert_eq!(newcomer.send(&mut rig, -1).error_code, 0, "{policy:?}");
        let is_consumer = consumer_state(&mut rig).0 != "Dead" && classic_state(&mut rig) == "Dead";
        assert_eq!(is_consumer, !downgrades, "{policy:?}");
        settle(&mut rig, &mut members, "the classic member goes on");
    }
}

#[test]
fn a_group_has_no_more_members_than_its_protocol_allows() {
    // Sizes of classic and of consumer groups, members, the error of a newcomer of the consumer protocol, whether the group is classic when it has gone
    let full = ResponseError::GroupMaxSizeReached.code();
    let cannot = ResponseError::GroupIdNotFound.code();
    for (classic_size, size, count, error, is_classic) in
        [(9, 9, 2, 0, true), (9, 2, 2, full, true), (9, 1, 2, cannot, true), (2, 9, 2, 0, true), (1, 9, 1, 0, false)]
    {
        let what = format!("{classic_size} and {size}");
        let mut rig = Rig::new(BrokerConfig {
            group_max_size: classic_size,
            group_consumer_max_size: size,
            ..BrokerConfig::default()
        });
        rig.create_topic("t", PARTITIONS, &[]);
        let mut members = classics(&mut rig, count, false);
        let newcomer = Consumer::new("a", &["t"]);
        let response = newcomer.send(&mut rig, 0);
        assert_eq!(response.error_code, error, "{what}: {response:?}");
        if error == 0 {
            // One more of the classic protocol than a classic group takes, in the last case.
            if !is_classic {
                members.push(Member::Classic(Classic::new(9)));
                members[1].step(&mut rig);
                members[1].step(&mut rig);
                members[1].step(&mut rig);
            }
            assert_eq!(newcomer.send(&mut rig, -1).error_code, 0, "{what}");
        }
        assert_eq!(classic_state(&mut rig) != "Dead", is_classic, "{what}");
        settle(&mut rig, &mut members, &what);
    }
}

#[test]
fn a_group_that_is_forming_is_upgraded_with_those_who_wait() {
    let mut rig = rig_with(MigrationPolicy::Bidirectional);
    let mut members = classics(&mut rig, 2, false);
    // A rebalance runs: one has joined and waits for the other.
    members.push(Member::Classic(Classic::new(3)));
    for _ in 0..2 {
        members[2].step(&mut rig);
        let Member::Classic(waiting) = &mut members[2] else { unreachable!("all are classic") };
        if let Some(Open::Join(_)) = waiting.open {
            waiting.step(&mut rig);
        }
    }
    members[2].step(&mut rig);
    assert_eq!(classic_state(&mut rig), "PreparingRebalance");
    members.push(Member::Consumer(Consumer::new("a", &["t"])));
    members[3].step(&mut rig);
    members[2].step(&mut rig);
    let Member::Classic(waiting) = &members[2] else { unreachable!("all are classic") };
    assert!(waiting.open.is_none() && waiting.generation.is_none(), "it is told to join again: {waiting:?}");
    settle(&mut rig, &mut members, "all of them");
    assert_eq!(consumer_state(&mut rig), ("Stable".to_owned(), vec![1, 0, 0, 0]));
}

#[test]
fn classic_members_of_a_consumer_group_are_given_up_in_time() {
    // What it does no more after the group was upgraded: anything; joining; asking for its assignment.
    for (name, patience_s) in [("beat", 10), ("join", 20), ("sync", 20)] {
        let mut rig = rig_with(MigrationPolicy::Bidirectional);
        let mut members = classics(&mut rig, 2, false);
        members.push(Member::Consumer(Consumer::new("a", &["t"])));
        members[2].step(&mut rig);
        let Member::Classic(idle) = members.remove(0) else { unreachable!("all are classic") };
        let mut idle = idle;
        if name == "sync" {
            idle.join(&mut rig);
        }
        let mut lasted = 0;
        while consumer_state(&mut rig).1.len() == 3 {
            if name != "beat" {
                let generation = idle.generation.unwrap() + i32::from(name == "sync");
                idle.heartbeat(&mut rig, generation);
            }
            rig.pass(Duration::from_secs(1));
            lasted += 1;
            members.iter_mut().for_each(|member| member.step(&mut rig));
            assert!(lasted < 60, "{name}");
        }
        assert_eq!(lasted, patience_s, "{name}");
        settle(&mut rig, &mut members, name);
    }
}

#[test]
fn what_cannot_be_written_down_of_a_change_of_protocol_has_not_happened() {
    for room in (0..2_500).step_by(61) {
        let what = format!("room for {room} bytes");
        let mut rig = rig_with(MigrationPolicy::Bidirectional);
        let mut members = classics(&mut rig, 2, false);
        rig.store.limit_room(Some(room));
        members.push(Member::Consumer(Consumer::new("a", &["t"])));
        for round in 0..30 {
            if round == 20 {
                rig.store.limit_room(None);
            }
            for index in 0..3 {
                members[index].step(&mut rig);
                check_owners(&members, &what);
            }
            rig.pass(Duration::from_millis(700));
            let mut again = Rig::over(rig.store.duplicate(), rig.config.clone());
            again.now = rig.now;
            let (mine, kept) = (consumer_state(&mut rig), consumer_state(&mut again));
            assert_eq!(mine.1, kept.1, "{what}: the journal knows other members");
        }
        settle(&mut rig, &mut members, &what);
        // And back.
        rig.store.limit_room(Some(0));
        let Member::Consumer(last) = &members[2] else { unreachable!("the last one is") };
        assert_eq!(last.send(&mut rig, -1).error_code, ResponseError::NotCoordinator.code(), "{what}");
        assert_eq!(consumer_state(&mut rig).1.len(), 3, "{what}");
        rig.store.limit_room(None);
        assert_eq!(last.send(&mut rig, -1).error_code, 0, "{what}");
        members.remove(2);
        settle(&mut rig, &mut members, &what);
        assert_eq!(classic_state(&mut rig), "Stable", "{what}");
    }
}
