//! Members of the consumer protocol with a coordinator in memory, a network that loses, delays, repeats and reorders, and a virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FindCoordinatorResponse, RequestKind, ResponseKind,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::tests::{Rng, config, ms};
use super::*;
use crate::net::TransportError;

const TOPIC: Uuid = Uuid::from_u128(7);
const PARTITIONS: i32 = 7;
const SESSION: Duration = Duration::from_secs(20);

/// What the coordinator knows of a member.
#[derive(Default)]
struct Known {
    epoch: i32,
    previous: i32,
    /// What it may own.
    assigned: BTreeSet<i32>,
    /// What it was told to give up and may own still.
    leaving: BTreeSet<i32>,
    last_seen: Duration,
}

/// A coordinator that follows KIP-848: nobody is assigned what another may still own.
#[derive(Default)]
struct Coordinator848 {
    epoch: i32,
    members: BTreeMap<String, Known>,
}

impl Coordinator848 {
    fn target(&self, member: &str) -> BTreeSet<i32> {
        let at = self.members.keys().position(|id| id == member).unwrap();
        (0..PARTITIONS).filter(|partition| *partition as usize % self.members.len() == at).collect()
    }

    fn expire(&mut self, now: Duration) {
        let before = self.members.len();
        self.members.retain(|_, member| member.last_seen + SESSION > now);
        self.epoch += i32::from(self.members.len() != before);
    }

    fn handle(&mut self, now: Duration, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let id = request.member_id.to_string();
        let refused = |error: ResponseError| ConsumerGroupHeartbeatResponse::default().with_error_code(error.code());
        let owned: Option<BTreeSet<i32>> = request
            .topic_partitions
            .as_ref()
            .map(|topics| topics.iter().flat_map(|topic| topic.partitions.iter().copied()).collect());
        let is_full = request.rebalance_timeout_ms > 0;
        match request.member_epoch {
            -1 => {
                self.epoch += i32::from(self.members.remove(&id).is_some());
                return ConsumerGroupHeartbeatResponse::default().with_member_epoch(-1);
            }
            0 => {
                assert!(is_full && owned.as_ref().is_some_and(BTreeSet::is_empty), "a member joins with nothing");
                assert!(request.subscribed_topic_names.is_some());
                self.members.insert(id.clone(), Known::default());
                self.epoch += 1;
            }
            epoch => {
                let Some(known) = self.members.get(&id) else { return refused(ResponseError::UnknownMemberId) };
                let is_repeated = epoch == known.previous
                    && owned.as_ref().is_some_and(|owned| owned.is_subset(&(&known.assigned | &known.leaving)));
                if epoch != known.epoch && !is_repeated {
                    return refused(ResponseError::FencedMemberEpoch);
                }
            }
        }
        let target = self.target(&id);
        let taken: BTreeSet<i32> = self
            .members
            .iter()
            .filter(|(other, _)| **other != id)
            .flat_map(|(_, known)| known.assigned.union(&known.leaving).copied())
            .collect();
        let group_epoch = self.epoch;
        let known = self.members.get_mut(&id).unwrap();
        known.last_seen = now;
        let before = known.assigned.clone();
        let gone: BTreeSet<i32> = known.assigned.difference(&target).copied().collect();
        known.leaving.extend(&gone);
        known.assigned.retain(|partition| !gone.contains(partition));
        if let Some(owned) = &owned {
            known.leaving.retain(|partition| owned.contains(partition));
        }
        if known.leaving.is_empty() {
            if known.epoch != group_epoch {
                known.previous = known.epoch;
                known.epoch = group_epoch;
            }
            known.assigned.extend(target.difference(&taken));
        }
        let changed = known.assigned != before || is_full;
        let topic =
            TopicPartitions::default().with_topic_id(TOPIC).with_partitions(known.assigned.iter().copied().collect());
        ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(StrBytes::from_string(id)))
            .with_member_epoch(known.epoch)
            .with_heartbeat_interval_ms(3_000)
            .with_assignment(changed.then(|| Assignment::default().with_topic_partitions(vec![topic])))
    }
}

struct Process {
    member: EpochMember,
    owned: BTreeSet<i32>,
    target: Option<BTreeSet<i32>>,
    /// When the application has given up what it has to.
    given_up_at: Option<Duration>,
    alive: bool,
    lost: u32,
}

enum Message {
    Request(usize, RequestId, Box<RequestKind>),
    Answer(usize, RequestId, Option<Box<ResponseKind>>),
}

struct World {
    rng: Rng,
    now: Duration,
    coordinator: Coordinator848,
    processes: Vec<Process>,
    wire: Vec<(Duration, Message)>,
    faults: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let coordinator = Coordinator848::default();
        Self { rng: Rng(seed), now: ms(1), coordinator, processes: Vec::new(), wire: Vec::new(), faults: true }
    }

    fn start(&mut self) {
        let index = self.processes.len();
        let own = EpochConfig { member_id: format!("m{index}"), ..EpochConfig::default() };
        let member = EpochMember::new(config(), own);
        let owned = BTreeSet::new();
        self.processes.push(Process { member, owned, target: None, given_up_at: None, alive: true, lost: 0 });
        let wanted = Wanted { topics: BTreeSet::from(["t".to_owned()]), pattern: None };
        self.input(index, Input::Wanted(wanted));
        self.input(index, Input::Subscribe);
    }

    fn input(&mut self, index: usize, input: Input) {
        let mut effects = Vec::new();
        self.processes[index].member.step(self.now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Send { id, request, .. } => {
                    let at = self.now + ms(1 + self.rng.below(40));
                    let fate = if self.faults { self.rng.below(12) } else { u64::MAX };
                    match fate {
                        0 => continue, // Lost: the member's own deadline ends it.
                        1 => {
                            // Taken, but the answer is lost.
                            self.wire.push((at, Message::Request(usize::MAX, id, request)));
                            self.wire.push((at + ms(1), Message::Answer(index, id, None)));
                            continue;
                        }
                        _ => {}
                    }
                    self.wire.push((at, Message::Request(index, id, request)));
                }
                Effect::Target(target) => {
                    let process = &mut self.processes[index];
                    process.target = Some(target.into_values().flatten().collect());
                    if process.given_up_at.is_none() {
                        process.given_up_at = Some(self.now + ms(self.rng.below(4_000)));
                    }
                }
                Effect::Lost => {
                    let process = &mut self.processes[index];
                    process.owned.clear();
                    process.target = None;
                    process.given_up_at = None;
                    process.lost += 1;
                }
                Effect::Coordinator(_) | Effect::Left => {}
                other => panic!("{other:?}"),
            }
        }
        self.follow(index);
    }

    /// Takes what is assigned once the application has given up the rest.
    fn follow(&mut self, index: usize) {
        let process = &mut self.processes[index];
        if process.given_up_at.is_none_or(|at| at > self.now) {
            return;
        }
        process.given_up_at = None;
        if let Some(target) = process.target.clone() {
            process.owned = target.clone();
            self.input(index, Input::Owned(OwnedPartitions::from([(TOPIC, target)])));
        }
    }

    fn advance(&mut self) {
        let alive = |process: &&Process| process.alive;
        let members = self.processes.iter().filter(alive);
        let own = members.flat_map(|process| [process.member.next_deadline(), process.given_up_at]).flatten();
        let next = own.chain(self.wire.iter().map(|(at, _)| *at)).min().unwrap_or(self.now + SESSION);
        self.now = next.max(self.now + ms(1));
        self.coordinator.expire(self.now);
        let (due, rest) = std::mem::take(&mut self.wire).into_iter().partition(|(at, _)| *at <= self.now);
        self.wire = rest;
        for (_, message) in due {
            self.deliver(message);
        }
        for index in 0..self.processes.len() {
            if self.processes[index].alive {
                self.input(index, Input::Tick);
            }
        }
        self.check();
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Request(index, id, request) => {
                let answer = match *request {
                    RequestKind::FindCoordinator(_) => ResponseKind::FindCoordinator(
                        FindCoordinatorResponse::default().with_port(9092).with_host(StrBytes::from_static_str("h")),
                    ),
                    RequestKind::ConsumerGroupHeartbeat(request) => {
                        ResponseKind::ConsumerGroupHeartbeat(self.coordinator.handle(self.now, &request))
                    }
                    other => panic!("{other:?}"),
                };
                let (answer, at) = (Box::new(answer), self.now + ms(1 + self.rng.below(40)));
                if index != usize::MAX {
                    if self.faults && self.rng.one_in(8) {
                        // Twice, the second time much later.
                        let later = self.now + ms(self.rng.below(9_000));
                        self.wire.push((later, Message::Answer(index, id, Some(answer.clone()))));
                    }
                    self.wire.push((at, Message::Answer(index, id, Some(answer))));
                }
            }
            Message::Answer(index, id, response) => {
                if self.processes[index].alive {
                    self.input(
                        index,
                        Input::Answer {
                            id,
                            response: response.map(|answer| *answer).ok_or(TransportError::Unanswered),
                        },
                    );
                }
            }
        }
    }

    /// At no time do two members that the coordinator counts on own a partition.
    fn check(&self) {
        let mut owners: BTreeMap<i32, usize> = BTreeMap::new();
        for (index, process) in self.processes.iter().enumerate() {
            let Some(known) = self.coordinator.members.get(&format!("m{index}")) else { continue };
            let (epoch, _) = process.member.identity();
            if !process.alive || (epoch != known.epoch && epoch != known.previous) {
                continue; // It will be fenced: its commits are refused.
            }
            for partition in &process.owned {
                let other = owners.insert(*partition, index);
                assert_eq!(other, None, "{partition} is also owned by {index} at {:?}", self.now);
            }
        }
    }

    fn run(&mut self, time: Duration, ready: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + time;
        while self.now < end && !ready(self) {
            self.advance();
        }
        ready(self)
    }

    fn is_settled(&self) -> bool {
        let alive = self.processes.iter().filter(|process| process.alive);
        let owned: Vec<i32> = alive.clone().flat_map(|process| process.owned.iter().copied()).collect();
        self.coordinator.members.len() == alive.clone().count()
            && alive.clone().all(|process| process.member.is_in())
            && owned.len() == PARTITIONS as usize
            && owned.iter().collect::<BTreeSet<_>>().len() == owned.len()
    }
}

#[test]
fn nobody_owns_what_another_has_and_in_the_end_everything_is_owned() {
    let (mut lost, mut repeated) = (0, 0);
    for seed in 1..=300 {
        let mut world = World::new(seed);
        for _ in 0..2 + world.rng.below(3) {
            world.start();
            let time = ms(world.rng.below(15_000));
            world.run(time, |_| false);
        }
        match world.rng.below(3) {
            0 => world.processes[0].alive = false,
            1 => {
                world.input(0, Input::Leave { reason: String::new() });
                world.run(ms(60_000), |world| !world.processes[0].member.is_member());
                world.processes[0].alive = false;
            }
            _ => {}
        }
        repeated += u32::from(world.run(ms(60_000), World::is_settled));
        world.faults = false;
        assert!(world.run(ms(300_000), World::is_settled), "seed {seed}");
        lost += world.processes.iter().map(|process| process.lost).sum::<u32>();
    }
    assert!(lost > 20 && repeated > 20, "{lost} losses, {repeated} settled despite the faults");
}

/// One member and what it said last.
struct Single {
    member: EpochMember,
    now: Duration,
    id: RequestId,
    effects: Vec<Effect>,
}

impl Single {
    fn new(instance: Option<&str>) -> Self {
        let config = GroupConfig { instance_id: instance.map(Into::into), ..config() };
        let own = EpochConfig { member_id: "m".into(), rack: Some("r".into()), assignor: Some("range".into()) };
        let mut single =
            Self { member: EpochMember::new(config, own), now: ms(1), id: RequestId(0), effects: Vec::new() };
        let wanted = Wanted { topics: BTreeSet::from(["t".to_owned()]), pattern: None };
        single.input(Input::Wanted(wanted));
        single.input(Input::Subscribe);
        single.answer(Some(ResponseKind::FindCoordinator(
            FindCoordinatorResponse::default().with_port(9092).with_host(StrBytes::from_static_str("h")),
        )));
        single
    }

    fn input(&mut self, input: Input) {
        self.member.step(self.now, input, &mut self.effects);
        for effect in &self.effects {
            if let Effect::Send { id, .. } = effect {
                self.id = *id;
            }
        }
    }

    fn answer(&mut self, response: Option<ResponseKind>) {
        let id = self.id;
        self.input(Input::Answer { id, response: response.ok_or(TransportError::Unanswered) });
    }

    fn accept(&mut self, epoch: i32, assigned: Option<&[i32]>) {
        let topic =
            |partitions: &[i32]| TopicPartitions::default().with_topic_id(TOPIC).with_partitions(partitions.to_vec());
        let assignment =
            assigned.map(|partitions| Assignment::default().with_topic_partitions(vec![topic(partitions)]));
        self.answer(Some(ResponseKind::ConsumerGroupHeartbeat(
            ConsumerGroupHeartbeatResponse::default()
                .with_member_epoch(epoch)
                .with_heartbeat_interval_ms(3_000)
                .with_assignment(assignment),
        )));
    }

    fn refuse(&mut self, error: ResponseError) {
        self.answer(Some(ResponseKind::ConsumerGroupHeartbeat(
            ConsumerGroupHeartbeatResponse::default().with_error_code(error.code()),
        )));
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.input(Input::Tick);
    }

    /// What it wanted done since this was asked last.
    fn said(&mut self) -> String {
        let texts = std::mem::take(&mut self.effects).into_iter().filter_map(|effect| match effect {
            Effect::Send { request, .. } => match *request {
                RequestKind::ConsumerGroupHeartbeat(beat) => Some(show(&beat)),
                _ => None,
            },
            Effect::Coordinator(_) => None,
            Effect::Target(target) => Some(format!("target {:?}", target[&TOPIC])),
            Effect::Failed(error) => Some(format!("failed: {error}")),
            other => Some(format!("{other:?}").to_lowercase()),
        });
        texts.collect::<Vec<_>>().join(" | ")
    }
}

fn show(beat: &ConsumerGroupHeartbeatRequest) -> String {
    let mut text = format!("epoch {}", beat.member_epoch);
    if beat.rebalance_timeout_ms != -1 {
        text += &format!(" timeout {}", beat.rebalance_timeout_ms);
    }
    let mut say = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            text += &format!(" {what} {value}");
        }
    };
    say("rack", beat.rack_id.as_ref().map(ToString::to_string));
    say("assignor", beat.server_assignor.as_ref().map(ToString::to_string));
    let names = |names: &Vec<kafka_protocol::messages::TopicName>| {
        names.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(",")
    };
    say("topics", beat.subscribed_topic_names.as_ref().map(names));
    say("pattern", beat.subscribed_topic_regex.as_ref().map(|pattern| format!("{pattern:?}")));
    let owned = beat.topic_partitions.as_ref();
    say(
        "owned",
        owned.map(|topics| format!("{:?}", topics.iter().flat_map(|topic| &topic.partitions).collect::<Vec<_>>())),
    );
    text
}

#[test]
fn heartbeats_say_what_has_changed() {
    const ALL: &str = "timeout 60000 rack r assignor range topics t";
    let mut one = Single::new(None);
    assert_eq!(one.said(), format!("epoch 0 {ALL} owned []"));
    assert_eq!(one.member.identity(), (-1, ""));
    one.accept(3, Some(&[0, 1]));
    assert_eq!(one.said(), "target {0, 1} | epoch 3 owned [0, 1]", "what is about to be taken is claimed");
    assert_eq!(one.member.identity(), (3, "m"));
    one.accept(3, None);
    one.input(Input::Owned(OwnedPartitions::from([(TOPIC, BTreeSet::from([0, 1]))])));
    one.wait(ms(2_999));
    assert_eq!(one.said(), "", "nothing is due");
    one.wait(ms(1));
    assert_eq!(one.said(), "epoch 3");
    // One is taken away: it is claimed until the application has given it up.
    one.accept(3, Some(&[0]));
    assert_eq!(one.said(), "target {0}");
    one.input(Input::Owned(OwnedPartitions::from([(TOPIC, BTreeSet::from([0]))])));
    assert_eq!(one.said(), "epoch 3 owned [0]");
    one.accept(4, None);
    // Other topics, by a pattern, and back.
    one.input(Input::Wanted(Wanted { topics: BTreeSet::new(), pattern: Some("a.*".into()) }));
    assert_eq!(one.said(), "epoch 4 topics  pattern \"a.*\"");
    one.accept(5, None);
    one.input(Input::Wanted(Wanted { topics: BTreeSet::from(["t".to_owned()]), pattern: None }));
    assert_eq!(one.said(), "epoch 5 topics t pattern \"\"");
    // Without an answer everything is said again.
    one.answer(None);
    one.wait(ms(200));
    one.answer(Some(ResponseKind::FindCoordinator(
        FindCoordinatorResponse::default().with_port(9092).with_host(StrBytes::from_static_str("h")),
    )));
    assert_eq!(one.said(), format!("epoch 5 {ALL} owned [0]"));
    // Fenced: what it had is lost, and it joins again with nothing.
    one.refuse(ResponseError::FencedMemberEpoch);
    assert_eq!(one.said(), format!("lost | epoch 0 {ALL} owned []"));
    one.accept(7, Some(&[]));
    one.said();
    // The application is away for too long.
    one.input(Input::Busy);
    one.wait(ms(60_000));
    assert_eq!(one.said(), "epoch -1 | lost");
    one.wait(ms(60_000));
    assert_eq!(one.said(), "");
    one.input(Input::Idle);
    assert_eq!(one.said(), format!("epoch 0 {ALL} owned []"));
    one.accept(9, None);
    one.input(Input::Leave { reason: String::new() });
    assert_eq!(one.said(), "epoch -1");
    one.answer(None);
    assert_eq!(one.said(), "left");
    assert!(!one.member.is_member() && one.member.next_deadline().is_none());
}

#[test]
fn refusals_end_membership_or_are_waited_out() {
    const AGAIN: &str = "epoch 2 timeout 60000 rack r assignor range topics t owned []";
    let fenced = "lost | failed: another member of group `g` uses `group.instance.id=i`; give each process its own";
    let cases = [
        (ResponseError::CoordinatorLoadInProgress, AGAIN),
        (ResponseError::UnreleasedInstanceId, fenced),
        (ResponseError::FencedInstanceId, fenced),
        (
            ResponseError::UnsupportedAssignor,
            "lost | failed: the coordinator of group `g` refused this member in ConsumerGroupHeartbeat: ",
        ),
        (
            ResponseError::GroupMaxSizeReached,
            "lost | failed: the coordinator of group `g` refused this member in ConsumerGroupHeartbeat: ",
        ),
    ];
    for (error, expected) in cases {
        let mut one = Single::new(Some("i"));
        one.accept(2, None);
        one.wait(ms(3_000));
        one.said();
        one.refuse(error);
        one.wait(ms(200));
        let said = one.said();
        assert!(said.starts_with(expected), "{error:?}: {said}");
    }
    // A static member says that it will be back.
    let mut one = Single::new(Some("i"));
    one.accept(2, None);
    one.said();
    one.input(Input::Leave { reason: String::new() });
    assert_eq!(one.said(), "epoch -2");
    // No member has such an epoch.
    let mut one = Single::new(None);
    one.accept(0, None);
    assert!(one.said().contains("failed: the coordinator of group `g` answered ConsumerGroupHeartbeat with an epoch"));
}
