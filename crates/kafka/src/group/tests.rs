//! Single steps by table, whole groups by seed.
//!
//! [`FakeGroup`] is a coordinator of one group, as small as it can be and still follow the rules of the classic protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator as CoordinatorEntry;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{
    BrokerId, FindCoordinatorResponse, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupResponse,
    RequestKind, ResponseKind, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::*;
use crate::net::TransportError;

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn config() -> GroupConfig {
    GroupConfig {
        group_id: "g".into(),
        instance_id: None,
        protocol_type: "test".into(),
        session_timeout: ms(10_000),
        rebalance_timeout: ms(60_000),
        heartbeat_interval: ms(3_000),
        request_timeout: ms(30_000),
        retry_backoff: ms(100),
        retry_backoff_max: ms(1_000),
    }
}

/// A small deterministic generator (splitmix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Whom an answer goes to: a process and its request.
pub(crate) type Token = (usize, RequestId);

#[derive(Default)]
struct FakeMember {
    session: Duration,
    last_seen: Duration,
    metadata: Bytes,
    join: Option<Token>,
    sync: Option<Token>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum FakeState {
    #[default]
    Stable,
    Preparing,
    Completing,
}

/// One group on its coordinator.
#[derive(Default)]
pub(crate) struct FakeGroup {
    pub(crate) generation: i32,
    state: FakeState,
    deadline: Duration,
    members: BTreeMap<String, FakeMember>,
    promised: BTreeSet<String>,
    leader: String,
    protocol: StrBytes,
    assignments: BTreeMap<String, Bytes>,
    named: u32,
    /// Answers to deliver.
    pub(crate) out: Vec<(Token, ResponseKind)>,
}

impl FakeGroup {
    pub(crate) fn knows(&self, member: &str) -> bool {
        self.members.contains_key(member)
    }

    pub(crate) fn size(&self) -> usize {
        self.members.len()
    }

    /// Whether this member is in this generation, and it is the current one.
    pub(crate) fn has(&self, generation: i32, member: &str) -> bool {
        self.verify(generation, member).is_none()
    }

    /// Whether a commit with this identity is accepted.
    pub(crate) fn check(&mut self, now: Duration, generation: i32, member: &str) -> i16 {
        if let Some(known) = self.members.get_mut(member) {
            known.last_seen = now;
        }
        self.verify(generation, member).map_or(0, |error| error.code())
    }

    fn verify(&self, generation: i32, member: &str) -> Option<ResponseError> {
        if !self.members.contains_key(member) {
            Some(ResponseError::UnknownMemberId)
        } else if generation != self.generation {
            Some(ResponseError::IllegalGeneration)
        } else {
            None
        }
    }

    pub(crate) fn handle(&mut self, now: Duration, token: Token, request: RequestKind) {
        match request {
            RequestKind::FindCoordinator(request) => {
                let entry = CoordinatorEntry::default()
                    .with_key(request.coordinator_keys[0].clone())
                    .with_node_id(BrokerId(1))
                    .with_port(9092);
                let response = FindCoordinatorResponse::default().with_coordinators(vec![entry]);
                self.out.push((token, ResponseKind::FindCoordinator(response)));
            }
            RequestKind::JoinGroup(request) => self.join(now, token, request),
            RequestKind::SyncGroup(request) => {
                let member = request.member_id.to_string();
                let refusal = self
                    .verify(request.generation_id, &member)
                    .or((self.state == FakeState::Preparing).then_some(ResponseError::RebalanceInProgress));
                if let Some(error) = refusal {
                    let response = SyncGroupResponse::default().with_error_code(error.code());
                    return self.out.push((token, ResponseKind::SyncGroup(response)));
                }
                let known = self.members.get_mut(&member).unwrap();
                known.last_seen = now;
                known.sync = Some(token);
                if self.state == FakeState::Completing && member == self.leader {
                    self.state = FakeState::Stable;
                    let given = request.assignments.into_iter();
                    self.assignments = given.map(|entry| (entry.member_id.to_string(), entry.assignment)).collect();
                }
                self.answer_syncs();
            }
            RequestKind::Heartbeat(request) => {
                let mut code = self.check(now, request.generation_id, &request.member_id);
                if code == 0 && self.state == FakeState::Preparing {
                    code = ResponseError::RebalanceInProgress.code();
                }
                let response = HeartbeatResponse::default().with_error_code(code);
                self.out.push((token, ResponseKind::Heartbeat(response)));
            }
            RequestKind::LeaveGroup(request) => {
                for member in request.members {
                    self.remove(now, &member.member_id);
                }
                self.out.push((token, ResponseKind::LeaveGroup(LeaveGroupResponse::default())));
            }
            other => panic!("not a group request: {other:?}"),
        }
        self.complete_join(now);
    }

    fn join(&mut self, now: Duration, token: Token, request: JoinGroupRequest) {
        let mut member = request.member_id.to_string();
        if member.is_empty() {
            self.named += 1;
            member = format!("m{}", self.named);
            self.promised.insert(member.clone());
            let response = JoinGroupResponse::default()
                .with_error_code(ResponseError::MemberIdRequired.code())
                .with_member_id(StrBytes::from_string(member));
            return self.out.push((token, ResponseKind::JoinGroup(response)));
        }
        if !self.promised.remove(&member) && !self.members.contains_key(&member) {
            let response = JoinGroupResponse::default().with_error_code(ResponseError::UnknownMemberId.code());
            return self.out.push((token, ResponseKind::JoinGroup(response)));
        }
        let known = self.members.entry(member).or_default();
        known.session = ms(request.session_timeout_ms as u64);
        known.last_seen = now;
        known.metadata = request.protocols[0].metadata.clone();
        known.join = Some(token);
        known.sync = None;
        self.protocol = request.protocols[0].name.clone();
        self.start_round(now, ms(request.rebalance_timeout_ms as u64));
    }

    fn start_round(&mut self, now: Duration, wait: Duration) {
        if self.state != FakeState::Preparing {
            self.state = FakeState::Preparing;
            self.deadline = now + wait;
            for member in self.members.values_mut() {
                if let Some(token) = member.sync.take() {
                    let code = ResponseError::RebalanceInProgress.code();
                    self.out.push((token, ResponseKind::SyncGroup(SyncGroupResponse::default().with_error_code(code))));
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, now: Duration, member: &str) {
        if self.members.remove(member).is_some() && !self.members.is_empty() {
            self.start_round(now, ms(60_000));
        }
    }

    pub(crate) fn tick(&mut self, now: Duration) {
        let silent = |member: &FakeMember| member.join.is_none() && member.last_seen + member.session <= now;
        let expired: Vec<_> = self.members.iter().filter(|(_, m)| silent(m)).map(|(id, _)| id.clone()).collect();
        for member in expired {
            self.remove(now, &member);
        }
        if self.state == FakeState::Preparing && self.deadline <= now {
            self.members.retain(|_, member| member.join.is_some());
        }
        self.complete_join(now);
    }

    fn complete_join(&mut self, now: Duration) {
        if self.state != FakeState::Preparing || self.members.values().any(|member| member.join.is_none()) {
            return;
        }
        self.generation += 1;
        self.state = FakeState::Completing;
        self.assignments.clear();
        let Some(leader) = self.members.keys().next().cloned() else { return };
        self.leader = leader;
        let everybody: Vec<_> = self
            .members
            .iter()
            .map(|(id, member)| {
                JoinGroupResponseMember::default()
                    .with_member_id(StrBytes::from_string(id.clone()))
                    .with_metadata(member.metadata.clone())
            })
            .collect();
        for (id, member) in &mut self.members {
            member.last_seen = now;
            let response = JoinGroupResponse::default()
                .with_generation_id(self.generation)
                .with_protocol_type(Some(StrBytes::from_static_str("test")))
                .with_protocol_name(Some(self.protocol.clone()))
                .with_leader(StrBytes::from_string(self.leader.clone()))
                .with_member_id(StrBytes::from_string(id.clone()))
                .with_members(if *id == self.leader { everybody.clone() } else { Vec::new() });
            let token = member.join.take().expect("everybody has joined");
            self.out.push((token, ResponseKind::JoinGroup(response)));
        }
    }

    fn answer_syncs(&mut self) {
        if self.state != FakeState::Stable {
            return;
        }
        for (id, member) in &mut self.members {
            if let Some(token) = member.sync.take() {
                let assignment = self.assignments.get(id).cloned().unwrap_or_default();
                let response = SyncGroupResponse::default().with_assignment(assignment);
                self.out.push((token, ResponseKind::SyncGroup(response)));
            }
        }
    }
}

/// A group of processes over a network that delays, loses and repeats nothing twice; each owns numbers out of `0..PARTITIONS`.
struct World {
    rng: Rng,
    now: Duration,
    group: FakeGroup,
    members: Vec<Process>,
    /// Messages on their way, with the time they arrive.
    wire: Vec<(Duration, Message)>,
    faults: bool,
}

struct Process {
    member: GroupMember,
    owned: BTreeSet<u8>,
    /// Got ready and not given anything since.
    preparing: bool,
    lost_seen: u32,
}

enum Message {
    Request(Token, RequestKind),
    Answer(Token, Result<ResponseKind, TransportError>),
}

const PARTITIONS: u8 = 7;

impl World {
    fn new(seed: u64, size: usize) -> Self {
        let member =
            || Process { member: GroupMember::new(config()), owned: BTreeSet::new(), preparing: false, lost_seen: 0 };
        Self {
            rng: Rng(seed),
            now: ms(1),
            group: FakeGroup::default(),
            members: (0..size).map(|_| member()).collect(),
            wire: Vec::new(),
            faults: true,
        }
    }

    fn input(&mut self, index: usize, input: Input) {
        let mut effects = Vec::new();
        self.members[index].member.step(self.now, input, &mut effects);
        for effect in effects {
            self.perform(index, effect);
        }
    }

    fn perform(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Send { id, request, .. } => {
                let token = (index, id);
                let arrival = self.now + ms(1 + self.rng.below(50));
                match self.rng.below(if self.faults { 20 } else { u64::MAX }) {
                    0 => {} // Lost: the member's own deadline ends it.
                    1 => self.wire.push((arrival, Message::Answer(token, Err(TransportError::Unanswered)))),
                    2 => {
                        // The coordinator takes it, but the connection breaks before the answer.
                        self.wire.push((arrival, Message::Request((usize::MAX, id), *request)));
                        self.wire.push((arrival + ms(1), Message::Answer(token, Err(TransportError::Unanswered))));
                    }
                    _ => self.wire.push((arrival, Message::Request(token, *request))),
                }
            }
            Effect::Prepare => {
                let process = &mut self.members[index];
                process.preparing = true;
                process.owned.clear();
                let protocols = vec![Protocol { name: "p".into(), metadata: Bytes::from_static(b"m") }];
                self.input(index, Input::Prepared { protocols });
            }
            Effect::Assign(request) => {
                let mut shares: Vec<(String, Vec<u8>)> =
                    request.members.iter().map(|member| (member.member_id.clone(), Vec::new())).collect();
                let members = shares.len();
                for partition in 0..PARTITIONS {
                    shares[usize::from(partition) % members].1.push(partition);
                }
                let assignments = shares.into_iter().map(|(member, share)| (member, Bytes::from(share))).collect();
                self.input(index, Input::Assigned { generation: request.generation, assignments });
            }
            Effect::Joined(membership) => {
                let process = &mut self.members[index];
                assert!(process.preparing, "an assignment comes only after getting ready");
                process.preparing = false;
                process.owned = membership.assignment.iter().copied().collect();
            }
            Effect::Lost => {
                let process = &mut self.members[index];
                process.owned.clear();
                process.lost_seen += 1;
            }
            Effect::Left | Effect::Leading(_) | Effect::Coordinator(_) => {}
            Effect::Target(_) | Effect::Refused(_) => panic!("of another protocol"),
            Effect::Failed(error) => panic!("{error}"),
        }
    }

    /// Nobody whom the coordinator counts as a member owns what another such member owns.
    fn check(&self) {
        let mut owners: BTreeMap<u8, usize> = BTreeMap::new();
        for (index, process) in self.members.iter().enumerate() {
            let (generation, id) = process.member.identity();
            if !self.group.knows(id) {
                continue; // It was thrown out and has not noticed yet.
            }
            assert!(generation <= self.group.generation);
            for partition in &process.owned {
                if let Some(other) = owners.insert(*partition, index) {
                    panic!("members {other} and {index} both own {partition}");
                }
            }
        }
    }

    fn run(&mut self, until: Duration) {
        while self.now < until {
            let mut next = until;
            for (arrival, _) in &self.wire {
                next = next.min(*arrival);
            }
            for process in &self.members {
                if let Some(deadline) = process.member.next_deadline() {
                    assert!(deadline > self.now, "a deadline was not acted upon");
                    next = next.min(deadline);
                }
            }
            self.now = next.min(self.now + ms(500)); // The coordinator's own clock.
            self.group.tick(self.now);
            self.collect_answers();
            let due = |(arrival, _): &(Duration, Message)| *arrival <= self.now;
            let (arrived, waiting) = std::mem::take(&mut self.wire).into_iter().partition(due);
            self.wire = waiting;
            let arrived: Vec<_> = arrived;
            for (_, message) in arrived {
                match message {
                    Message::Request(token, request) => {
                        self.group.handle(self.now, token, request);
                        self.collect_answers();
                    }
                    Message::Answer((index, id), response) => self.input(index, Input::Answer { id, response }),
                }
                self.check();
            }
            for index in 0..self.members.len() {
                self.input(index, Input::Tick);
                if self.faults && self.rng.one_in(400) {
                    self.disturb(index);
                }
            }
            self.check();
        }
    }

    fn disturb(&mut self, index: usize) {
        match self.rng.below(5) {
            0 => self.input(index, Input::CoordinatorLost { node: 1 }),
            1 => self.input(index, Input::Rejoin { reason: "topics changed".into() }),
            2 => self.input(index, Input::Busy),
            3 => self.input(index, Input::Idle),
            _ => {
                let id = self.members[index].member.identity().1.to_owned();
                self.group.remove(self.now, &id); // As if its session had ended.
            }
        }
    }

    fn collect_answers(&mut self) {
        for (token, response) in std::mem::take(&mut self.group.out) {
            let arrival = self.now + ms(1 + self.rng.below(50));
            if token.0 != usize::MAX && !(self.faults && self.rng.one_in(30)) {
                self.wire.push((arrival, Message::Answer(token, Ok(response))));
            }
        }
    }
}

#[test]
fn groups_share_without_overlap_and_settle_when_the_faults_end() {
    for seed in 0..200 {
        let size = 1 + (seed as usize % 4);
        let mut world = World::new(seed, size);
        for index in 0..size {
            world.input(index, Input::Subscribe);
        }
        world.run(ms(300_000));
        world.faults = false;
        for index in 0..size {
            world.input(index, Input::Idle);
        }
        // Long enough for every JoinGroup whose answer was lost to time out and for every forgotten member to expire.
        world.run(ms(600_000));
        let owned: Vec<u8> = world.members.iter().flat_map(|process| process.owned.iter().copied()).collect();
        assert_eq!(owned.len(), usize::from(PARTITIONS), "seed {seed}: {owned:?}");
        assert!(world.members.iter().all(|process| process.member.is_stable()), "seed {seed}");
        assert_eq!(world.group.size(), size, "seed {seed}");
    }
}

/// A member in its group alone, stable, with its assignment.
fn stable() -> (GroupMember, FakeGroup, Duration) {
    let mut world = World::new(0, 1);
    world.faults = false;
    world.input(0, Input::Subscribe);
    world.run(ms(2_000));
    let process = world.members.pop().unwrap();
    assert!(process.member.is_stable());
    (process.member, world.group, world.now)
}

fn names(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .map(|effect| match effect {
            Effect::Send { request, .. } => match &**request {
                RequestKind::FindCoordinator(_) => "find".into(),
                RequestKind::JoinGroup(request) => format!("join {:?}", request.member_id.as_str()),
                RequestKind::SyncGroup(_) => "sync".into(),
                RequestKind::Heartbeat(_) => "beat".into(),
                RequestKind::LeaveGroup(_) => "leave".into(),
                other => format!("{other:?}"),
            },
            Effect::Coordinator(found) => if found.is_some() { "found" } else { "no coordinator" }.into(),
            Effect::Prepare => "prepare".into(),
            Effect::Assign(_) => "assign".into(),
            Effect::Leading(_) => "lead".into(),
            Effect::Target(_) | Effect::Refused(_) => panic!("of another protocol"),
            Effect::Joined(_) => "joined".into(),
            Effect::Lost => "lost".into(),
            Effect::Left => "left".into(),
            Effect::Failed(error) => format!("failed: {error}"),
        })
        .collect()
}

fn step(member: &mut GroupMember, now: Duration, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    member.step(now, input, &mut effects);
    effects
}

fn beat(member: &mut GroupMember, now: &mut Duration) -> RequestId {
    *now += ms(3_000);
    let effects = step(member, *now, Input::Tick);
    match &effects[..] {
        [Effect::Send { id, request, .. }] if matches!(**request, RequestKind::Heartbeat(_)) => *id,
        other => panic!("not a heartbeat: {:?}", names(other)),
    }
}

#[test]
fn a_heartbeats_answer_decides_what_follows() {
    let cases: [(ResponseError, &[&str]); 7] = [
        (ResponseError::RebalanceInProgress, &["prepare"]),
        (ResponseError::UnknownMemberId, &["lost", "prepare"]),
        (ResponseError::IllegalGeneration, &["lost", "prepare"]),
        (ResponseError::NotCoordinator, &["no coordinator", "find"]),
        (ResponseError::CoordinatorNotAvailable, &["no coordinator", "find"]),
        (ResponseError::CoordinatorLoadInProgress, &[]),
        (
            ResponseError::GroupAuthorizationFailed,
            &[
                "lost",
                "failed: the coordinator of group `g` refused this member in Heartbeat: GroupAuthorizationFailed",
            ],
        ),
    ];
    for (error, expected) in cases {
        let (mut member, _, mut now) = stable();
        let id = beat(&mut member, &mut now);
        let response = Ok(ResponseKind::Heartbeat(HeartbeatResponse::default().with_error_code(error.code())));
        let effects = step(&mut member, now + ms(5), Input::Answer { id, response });
        assert_eq!(names(&effects), expected, "{error}");
    }
}

#[test]
fn the_member_id_outlives_a_generation_but_not_its_own_refusal() {
    for (error, expected) in [(ResponseError::IllegalGeneration, "m1"), (ResponseError::UnknownMemberId, "")] {
        let (mut member, _, mut now) = stable();
        let id = beat(&mut member, &mut now);
        let response = Ok(ResponseKind::Heartbeat(HeartbeatResponse::default().with_error_code(error.code())));
        step(&mut member, now, Input::Answer { id, response });
        let protocols = vec![Protocol { name: "p".into(), metadata: Bytes::new() }];
        let effects = step(&mut member, now, Input::Prepared { protocols });
        assert_eq!(names(&effects), [format!("join {expected:?}")]);
    }
}

#[test]
fn a_late_heartbeat_of_an_older_generation_means_nothing() {
    let (mut member, _, mut now) = stable();
    let id = beat(&mut member, &mut now);
    step(&mut member, now, Input::Rejoin { reason: String::new() });
    let protocols = vec![Protocol { name: "p".into(), metadata: Bytes::new() }];
    step(&mut member, now, Input::Prepared { protocols });
    let code = ResponseError::UnknownMemberId.code();
    let response = Ok(ResponseKind::Heartbeat(HeartbeatResponse::default().with_error_code(code)));
    assert!(step(&mut member, now, Input::Answer { id, response }).is_empty());
}

#[test]
fn an_application_that_takes_too_long_leaves_and_joins_when_it_is_back() {
    let (mut member, mut group, mut now) = stable();
    step(&mut member, now, Input::Busy);
    let gone = now + ms(60_000);
    while now + ms(3_000) < gone {
        let id = beat(&mut member, &mut now);
        group.handle(now, (0, id), RequestKind::Heartbeat(Default::default()));
        let response = Ok(ResponseKind::Heartbeat(HeartbeatResponse::default()));
        step(&mut member, now, Input::Answer { id, response });
    }
    assert_eq!(names(&step(&mut member, gone, Input::Tick)), ["leave", "lost"]);
    assert_eq!(names(&step(&mut member, gone + ms(90_000), Input::Tick)), Vec::<String>::new());
    assert_eq!(names(&step(&mut member, gone + ms(90_001), Input::Idle)), ["prepare"]);
}

#[test]
fn silence_of_the_coordinator_means_looking_for_it_again() {
    let (mut member, _, mut now) = stable();
    beat(&mut member, &mut now);
    let effects = step(&mut member, now + ms(10_000), Input::Tick);
    assert_eq!(names(&effects), ["no coordinator", "find"]);
    assert!(member.identity().0 > 0, "the generation may still be good");
}

#[test]
fn leaving_ends_with_the_answer_or_without_one() {
    for answered in [true, false] {
        let (mut member, _, now) = stable();
        let effects = step(&mut member, now, Input::Leave { reason: "bye".into() });
        assert_eq!(names(&effects), ["leave"]);
        let Effect::Send { id, .. } = effects[0] else { unreachable!() };
        let effects = if answered {
            let response = Ok(ResponseKind::LeaveGroup(LeaveGroupResponse::default()));
            step(&mut member, now, Input::Answer { id, response })
        } else {
            step(&mut member, now + ms(30_000), Input::Tick)
        };
        assert_eq!(names(&effects), ["left"]);
        assert_eq!(member.next_deadline(), None);
    }
}

#[test]
fn a_static_member_stays_when_it_stops() {
    let mut member = GroupMember::new(GroupConfig { instance_id: Some("i".into()), ..config() });
    step(&mut member, ms(1), Input::Subscribe);
    assert_eq!(names(&step(&mut member, ms(2), Input::Leave { reason: String::new() })), ["left"]);
}

#[test]
fn the_coordinator_is_found_for_somebody_who_only_commits() {
    let mut member = GroupMember::new(config());
    assert_eq!(member.next_deadline(), None);
    let effects = step(&mut member, ms(1), Input::NeedCoordinator);
    assert_eq!(names(&effects), ["find"]);
    let Effect::Send { id, .. } = effects[0] else { unreachable!() };
    let effects = step(&mut member, ms(2), Input::Answer { id, response: Err(TransportError::Unanswered) });
    assert!(effects.is_empty());
    assert_eq!(member.next_deadline(), Some(ms(102)));
    assert_eq!(names(&step(&mut member, ms(102), Input::Tick)), ["find"]);
}
