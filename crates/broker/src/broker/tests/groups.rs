//! Groups as their members see them.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    ListGroupsRequest, SyncGroupRequest, SyncGroupResponse,
};

use super::*;

/// A member with a connection of its own.
#[derive(Debug, Clone)]
struct Joiner {
    connection: ConnectionId,
    id: String,
    instance: Option<&'static str>,
    metadata: &'static str,
}

impl Joiner {
    fn new(connection: u64) -> Self {
        Self { connection: ConnectionId(connection), id: String::new(), instance: None, metadata: "m" }
    }

    /// Asks for an id and sends the join that waits for others.
    fn join(&mut self, rig: &mut Rig) -> i32 {
        if self.id.is_empty() && self.instance.is_none() {
            let first = self.send_join(rig);
            let answer = join_answer(rig, first).expect("a new member is told its id at once");
            assert_eq!(answer.error_code, ResponseError::MemberIdRequired.code());
            self.id = answer.member_id.to_string();
        }
        self.send_join(rig)
    }

    fn send_join(&self, rig: &mut Rig) -> i32 {
        let protocol = |name: &str| {
            JoinGroupRequestProtocol::default()
                .with_name(name.to_owned().into())
                .with_metadata(Bytes::copy_from_slice(self.metadata.as_bytes()))
        };
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId("g".into()))
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(60_000)
            .with_member_id(self.id.clone().into())
            .with_group_instance_id(self.instance.map(Into::into))
            .with_protocol_type("connect".into())
            .with_protocols(vec![protocol("sessioned"), protocol("compatible")]);
        rig.send(self.connection, 7, RequestKind::JoinGroup(request))
    }

    fn sync(&self, rig: &mut Rig, generation: i32, assignments: &[(&str, &'static str)]) -> i32 {
        let assignments = assignments
            .iter()
            .map(|(member, assignment)| {
                SyncGroupRequestAssignment::default()
                    .with_member_id((*member).to_owned().into())
                    .with_assignment(Bytes::from_static(assignment.as_bytes()))
            })
            .collect();
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId("g".into()))
            .with_generation_id(generation)
            .with_member_id(self.id.clone().into())
            .with_group_instance_id(self.instance.map(Into::into))
            .with_assignments(assignments);
        rig.send(self.connection, 4, RequestKind::SyncGroup(request))
    }

    fn beat(&self, rig: &mut Rig, generation: i32) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId("g".into()))
            .with_generation_id(generation)
            .with_member_id(self.id.clone().into())
            .with_group_instance_id(self.instance.map(Into::into));
        let correlation = rig.send(self.connection, 4, RequestKind::Heartbeat(request));
        match rig.take(correlation) {
            Some(ResponseKind::Heartbeat(response)) => response.error_code,
            other => panic!("{other:?}"),
        }
    }
}

fn join_answer(rig: &mut Rig, correlation: i32) -> Option<JoinGroupResponse> {
    match rig.take(correlation)? {
        ResponseKind::JoinGroup(response) => Some(response),
        other => panic!("{other:?}"),
    }
}

fn sync_answer(rig: &mut Rig, correlation: i32) -> Option<SyncGroupResponse> {
    match rig.take(correlation)? {
        ResponseKind::SyncGroup(response) => Some(response),
        other => panic!("{other:?}"),
    }
}

/// Two members of a stable group: the leader first.
fn pair(rig: &mut Rig) -> (Joiner, Joiner, i32) {
    let (mut leader, mut other) = (Joiner::new(10), Joiner::new(11));
    let first = leader.join(rig);
    assert_eq!(join_answer(rig, first).expect("alone, it need not wait").generation_id, 1);
    let second = other.join(rig);
    assert!(join_answer(rig, second).is_none(), "the leader has not joined again");
    assert_eq!(leader.beat(rig, 1), ResponseError::RebalanceInProgress.code());
    let again = leader.join(rig);
    let led = join_answer(rig, again).expect("all have joined");
    let followed = join_answer(rig, second).expect("all have joined");
    assert_eq!((led.generation_id, followed.generation_id), (2, 2));
    assert_eq!((led.leader.as_str(), led.members.len(), followed.members.len()), (leader.id.as_str(), 2, 0));
    assert_eq!(led.protocol_name.as_deref(), Some("sessioned"));

    let waiting = other.sync(rig, 2, &[]);
    assert!(sync_answer(rig, waiting).is_none(), "the leader has not assigned yet");
    let assigned = leader.sync(rig, 2, &[(&leader.id.clone(), "left"), (&other.id.clone(), "right")]);
    assert_eq!(sync_answer(rig, assigned).unwrap().assignment, "left");
    assert_eq!(sync_answer(rig, waiting).unwrap().assignment, "right");
    assert_eq!((leader.beat(rig, 2), other.beat(rig, 2)), (0, 0));
    (leader, other, 2)
}

#[test]
fn members_share_and_a_silent_one_is_given_up() {
    let mut rig = Rig::new(BrokerConfig::default());
    let (mut leader, other, generation) = pair(&mut rig);
    assert_eq!(other.beat(&mut rig, generation - 1), ResponseError::IllegalGeneration.code());
    rig.pass(Duration::from_secs(6));
    assert_eq!(leader.beat(&mut rig, generation), 0);
    // Ten seconds after its last word the other one is out.
    rig.pass(Duration::from_secs(5));
    assert_eq!(leader.beat(&mut rig, generation), ResponseError::RebalanceInProgress.code());
    assert_eq!(other.beat(&mut rig, generation), ResponseError::UnknownMemberId.code());
    let alone = leader.join(&mut rig);
    let answer = join_answer(&mut rig, alone).expect("nobody else is left");
    assert_eq!((answer.generation_id, answer.members.len()), (3, 1));
}

#[test]
fn a_rebalance_does_not_wait_for_ever() {
    let mut rig = Rig::new(BrokerConfig::default());
    let (leader, other, generation) = pair(&mut rig);
    let mut third = Joiner::new(12);
    let joined = third.join(&mut rig);
    // Both old members go on beating, but only one joins.
    let mut rejoined = None;
    for _ in 0..12 {
        rig.pass(Duration::from_secs(5));
        if rejoined.is_none() {
            assert_eq!(leader.beat(&mut rig, generation), ResponseError::RebalanceInProgress.code());
            rejoined = Some(leader.clone().join(&mut rig));
        }
        let _ = other.beat(&mut rig, generation);
    }
    let answer = join_answer(&mut rig, joined).expect("the rebalance timeout is over");
    assert_eq!(answer.generation_id, 3);
    assert_eq!(join_answer(&mut rig, rejoined.unwrap()).unwrap().members.len(), 2);
    assert_eq!(other.beat(&mut rig, generation), ResponseError::UnknownMemberId.code());
}

/// The only member of the group, with an instance id, in its first generation.
fn static_member(rig: &mut Rig) -> Joiner {
    let mut member = Joiner { instance: Some("one"), ..Joiner::new(20) };
    let joined = member.join(rig);
    member.id = join_answer(rig, joined).unwrap().member_id.to_string();
    let assigned = member.sync(rig, 1, &[(&member.id.clone(), "all")]);
    assert_eq!(sync_answer(rig, assigned).unwrap().assignment, "all");
    member
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_fences_its_twin() {
    let mut rig = Rig::new(BrokerConfig::default());
    let member = static_member(&mut rig);

    // What it wants may have changed: that is seen at the next rebalance.
    let mut twin = Joiner { instance: Some("one"), metadata: "something else", ..Joiner::new(21) };
    let joined = twin.join(&mut rig);
    let answer = join_answer(&mut rig, joined).expect("there is nobody to wait for");
    assert_eq!((answer.error_code, answer.generation_id), (0, 1));
    twin.id = answer.member_id.to_string();
    assert_ne!(twin.id, member.id);
    let assigned = twin.sync(&mut rig, 1, &[]);
    assert_eq!(sync_answer(&mut rig, assigned).unwrap().assignment, "all");
    assert_eq!(member.beat(&mut rig, 1), ResponseError::FencedInstanceId.code());
}

#[test]
fn members_leave_and_the_group_is_told_of() {
    let mut rig = Rig::new(BrokerConfig::default());
    let (leader, other, generation) = pair(&mut rig);
    let ResponseKind::ListGroups(listed) = rig.ask(4, RequestKind::ListGroups(ListGroupsRequest::default())) else {
        panic!("a list")
    };
    let group = &listed.groups[0];
    assert_eq!(
        (group.group_id.as_str(), group.group_state.as_str(), group.protocol_type.as_str()),
        ("g", "Stable", "connect")
    );
    let request = DescribeGroupsRequest::default().with_groups(vec![GroupId("g".into()), GroupId("none".into())]);
    let ResponseKind::DescribeGroups(described) = rig.ask(5, RequestKind::DescribeGroups(request)) else {
        panic!("a description")
    };
    assert_eq!(described.groups[0].members.len(), 2);
    assert!(
        described.groups[0]
            .members
            .iter()
            .any(|member| member.member_assignment == "right" && member.client_host.as_str() == "/127.0.0.1")
    );
    assert_eq!(described.groups[1].group_state.as_str(), "Dead");

    let identity = MemberIdentity::default().with_member_id(other.id.clone().into());
    let request = LeaveGroupRequest::default().with_group_id(GroupId("g".into())).with_members(vec![identity]);
    let ResponseKind::LeaveGroup(left) = rig.ask(4, RequestKind::LeaveGroup(request)) else { panic!("an answer") };
    assert_eq!((left.error_code, left.members[0].error_code), (0, 0));
    assert_eq!(leader.beat(&mut rig, generation), ResponseError::RebalanceInProgress.code());
}

#[test]
fn a_restart_of_the_broker_goes_by_unnoticed() {
    let mut rig = Rig::new(BrokerConfig::default());
    let (leader, other, generation) = pair(&mut rig);
    for _ in 0..2 {
        rig.kill();
        assert_eq!((leader.beat(&mut rig, generation), other.beat(&mut rig, generation)), (0, 0));
        let asked = other.sync(&mut rig, generation, &[]);
        assert_eq!(sync_answer(&mut rig, asked).unwrap().assignment, "right");
        rig.pass(Duration::from_secs(9));
    }
    // Whoever does not come back is given up as ever, and generations go on.
    rig.kill();
    rig.pass(Duration::from_secs(30));
    rig.kill();
    assert_eq!(leader.beat(&mut rig, generation), ResponseError::UnknownMemberId.code());
    let mut member = Joiner::new(30);
    let joined = member.join(&mut rig);
    let next = join_answer(&mut rig, joined).expect("the members of before are gone").generation_id;
    assert!(next > generation, "{next}");
}

#[test]
fn a_restart_within_a_rebalance_lets_members_join_again() {
    let mut rig = Rig::new(BrokerConfig::default());
    let (mut leader, mut other, generation) = pair(&mut rig);
    let first = leader.join(&mut rig);
    let second = other.join(&mut rig);
    assert_eq!(join_answer(&mut rig, first).unwrap().generation_id, generation + 1);
    assert_eq!(join_answer(&mut rig, second).unwrap().generation_id, generation + 1);
    rig.kill();
    let lost = other.sync(&mut rig, generation + 1, &[]);
    assert_eq!(sync_answer(&mut rig, lost).unwrap().error_code, ResponseError::UnknownMemberId.code());
    other.id.clear();
    let joined = other.join(&mut rig);
    assert!(join_answer(&mut rig, joined).unwrap().generation_id > generation + 1);
}

/// The disk is full for as long as `during` lasts.
fn without_room<T>(rig: &mut Rig, during: impl FnOnce(&mut Rig) -> T) -> T {
    rig.store.limit_room(Some(0));
    let result = during(rig);
    rig.store.limit_room(None);
    result
}

const NOT_COORDINATOR: i16 = 16;

#[test]
fn a_place_that_cannot_be_written_down_stays_with_its_owner() {
    let mut rig = Rig::new(BrokerConfig::default());
    let member = static_member(&mut rig);

    let mut twin = Joiner { instance: Some("one"), ..Joiner::new(21) };
    let refused = without_room(&mut rig, |rig| twin.join(rig));
    let answer = join_answer(&mut rig, refused).expect("it is refused at once");
    assert_eq!((answer.error_code, answer.member_id.as_str()), (NOT_COORDINATOR, ""));
    for _ in 0..2 {
        assert_eq!(member.beat(&mut rig, 1), 0);
        rig.kill();
    }
    let joined = twin.join(&mut rig);
    twin.id = join_answer(&mut rig, joined).unwrap().member_id.to_string();
    for _ in 0..2 {
        assert_eq!(member.beat(&mut rig, 1), ResponseError::FencedInstanceId.code());
        assert_eq!(twin.beat(&mut rig, 1), 0);
        rig.kill();
    }
}

#[test]
fn assignments_that_cannot_be_written_down_are_refused_to_all() {
    let mut rig = Rig::new(BrokerConfig::default());
    let (mut leader, mut other, generation) = pair(&mut rig);
    for (left, right) in [("1", "2"), ("3", "4")] {
        let (first, second) = (leader.join(&mut rig), other.join(&mut rig));
        let next = join_answer(&mut rig, first).unwrap().generation_id;
        assert_eq!(join_answer(&mut rig, second).unwrap().generation_id, next);
        let assignments = [(leader.id.as_str(), left), (other.id.as_str(), right)];
        let waiting = other.sync(&mut rig, next, &[]);
        if left == "1" {
            let refused = without_room(&mut rig, |rig| leader.sync(rig, next, &assignments));
            for sync in [refused, waiting] {
                let answer = sync_answer(&mut rig, sync).expect("nobody waits for it");
                assert_eq!((answer.error_code, answer.assignment.len()), (NOT_COORDINATOR, 0));
            }
            assert_eq!(other.beat(&mut rig, next), ResponseError::RebalanceInProgress.code());
            // A restart now forgets the rebalance, not the group.
            let after = Rig::over(rig.store.duplicate(), BrokerConfig::default());
            assert!(after.broker.groups.get("g").is_some_and(|group| group.generation == next));
        } else {
            let assigned = leader.sync(&mut rig, next, &assignments);
            assert_eq!(sync_answer(&mut rig, assigned).unwrap().assignment, left);
            assert_eq!(sync_answer(&mut rig, waiting).unwrap().assignment, right);
            assert_eq!(next, generation + 2);
        }
    }
}

#[test]
fn a_rebalance_ends_when_its_generation_can_be_written_down() {
    let mut rig = Rig::new(BrokerConfig::default());
    let (mut leader, mut other, generation) = pair(&mut rig);
    let (first, second) = without_room(&mut rig, |rig| {
        let joins = (leader.join(rig), other.join(rig));
        rig.pass(Duration::from_secs(30));
        assert!(join_answer(rig, joins.0).is_none() && join_answer(rig, joins.1).is_none());
        joins
    });
    rig.pass(Duration::from_secs(1));
    for joined in [first, second] {
        let answer = join_answer(&mut rig, joined).expect("it is tried again");
        assert_eq!((answer.error_code, answer.generation_id), (0, generation + 1));
    }
    // All fall silent, and that cannot be written down for a while either.
    without_room(&mut rig, |rig| rig.pass(Duration::from_secs(400)));
    assert_eq!(leader.beat(&mut rig, generation + 1), ResponseError::UnknownMemberId.code());
    rig.pass(Duration::from_secs(1));
    for _ in 0..2 {
        let group = rig.broker.groups.get("g").unwrap();
        assert_eq!((group.state_name(), group.generation), ("Empty", generation + 2));
        rig.kill();
    }
}
