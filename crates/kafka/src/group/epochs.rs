//! Membership in a group of the consumer protocol (KIP-848): the coordinator shares out, members follow at their own pace.
//!
//! One request says everything: a heartbeat carries the member's epoch, what it wants and what it owns, and its answer the next epoch and, when it
//! has changed, the assignment. Nobody waits for anybody: a member that is told to give partitions up says when it has, by owning them no more, and
//! only then does another get them. What does not change is left out of a heartbeat; after a failure everything is said again.
//!
//! Pure, as [`super::GroupMember`] is. Counterpart of Java's `ConsumerMembershipManager` and `ConsumerHeartbeatRequestManager`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, GroupId, RequestKind, ResponseKind, TopicName,
};
use uuid::Uuid;

use super::finder::Finder;
use super::requests::{millis, text};
use super::{Coordinator, Effect, GroupConfig, GroupError, Input, RequestId, Target};
use crate::backoff::Backoff;
use crate::net::TransportError;

/// Epoch of a member that wants to join.
const JOIN: i32 = 0;
/// Epoch that says goodbye.
const LEAVE: i32 = -1;
/// Epoch of a static member that says it will be back.
const LEAVE_FOR_NOW: i32 = -2;
/// A heartbeat interval below this is not believed.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

/// Partitions by topic id.
pub type OwnedPartitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// What a member of this protocol is told about itself once, beside [`GroupConfig`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochConfig {
    /// Chosen by the process and kept for its lifetime (KIP-1082). Empty until the driver has chosen one: randomness is its matter.
    pub member_id: String,
    /// `client.rack`.
    pub rack: Option<String>,
    /// `group.remote.assignor`.
    pub assignor: Option<String>,
}

/// What a member wants to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Topics by name.
    pub topics: BTreeSet<String>,
    /// Topics by a regular expression of the coordinator's (RE2J).
    pub pattern: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not a member, not wanting to be.
    Out,
    /// Wants to be one.
    Joining,
    /// Is one.
    In,
    /// Left because the application took too long; joins when it is back.
    Expired,
    /// Said goodbye.
    Leaving,
    /// Ended by an error.
    Failed,
}

/// What the coordinator was told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    wanted: Wanted,
    owned: OwnedPartitions,
}

#[derive(Debug)]
struct Beat {
    id: RequestId,
    deadline: Duration,
    told: Told,
}

/// A member of a group of the consumer protocol, or a process that wants to be one.
#[derive(Debug)]
pub struct EpochMember {
    config: GroupConfig,
    own: EpochConfig,
    finder: Finder,
    phase: Phase,
    epoch: i32,
    wanted: Wanted,
    owned: OwnedPartitions,
    /// What the coordinator assigned last.
    target: OwnedPartitions,
    /// `None` when everything is to be said again.
    told: Option<Told>,
    beat: Option<Beat>,
    beat_at: Duration,
    interval: Duration,
    backoff: Backoff,
    busy_since: Option<Duration>,
    next_id: u64,
}

impl EpochMember {
    /// Not a member yet.
    pub fn new(config: GroupConfig, own: EpochConfig) -> Self {
        Self {
            finder: Finder::new(&config),
            backoff: Backoff::new(config.retry_backoff, config.retry_backoff_max),
            interval: config.heartbeat_interval,
            config,
            own,
            phase: Phase::Out,
            epoch: JOIN,
            wanted: Wanted::default(),
            owned: OwnedPartitions::new(),
            target: OwnedPartitions::new(),
            told: None,
            beat: None,
            beat_at: Duration::ZERO,
            busy_since: None,
            next_id: 0,
        }
    }

    /// The settings.
    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// The coordinator, if known.
    pub fn coordinator(&self) -> Option<&Coordinator> {
        self.finder.known()
    }

    /// Epoch and member id that requests in the name of this member carry: -1 and an empty id without membership.
    pub fn identity(&self) -> (i32, &str) {
        if self.is_in() { (self.epoch, &self.own.member_id) } else { (-1, "") }
    }

    /// Whether the coordinator knows this member.
    pub fn is_in(&self) -> bool {
        self.phase == Phase::In
    }

    /// Whether membership is wanted: asked for, and neither left nor failed.
    pub fn is_member(&self) -> bool {
        matches!(self.phase, Phase::Joining | Phase::In | Phase::Expired)
    }

    /// When `step` has something to do though nothing happens.
    pub fn next_deadline(&self) -> Option<Duration> {
        let beat = match &self.beat {
            Some(beat) => Some(beat.deadline),
            None => (self.beats() && self.coordinator().is_some()).then_some(self.beat_at),
        };
        [beat, self.finder.next_deadline(self.needs_coordinator()), self.poll_deadline()].into_iter().flatten().min()
    }

    /// Takes one input and appends what is to be done.
    pub fn step(&mut self, now: Duration, input: Input, effects: &mut Vec<Effect>) {
        match input {
            // The coordinator rebalances when it wants to; what it said of a commit, the next heartbeat says too.
            Input::Tick | Input::Rejoin { .. } | Input::Refused { .. } => {}
            // Of classic groups.
            Input::Prepared { .. } | Input::Assigned { .. } => {}
            Input::NeedCoordinator => self.finder.wanted = true,
            Input::Subscribe => {
                if matches!(self.phase, Phase::Out | Phase::Failed) {
                    self.join(now);
                }
            }
            Input::Wanted(wanted) => {
                if self.wanted != wanted {
                    self.wanted = wanted;
                    self.beat_soon(now);
                }
            }
            Input::Owned(owned) => {
                if self.is_in() {
                    let before = self.claims();
                    self.owned = owned;
                    if self.claims() != before {
                        self.beat_soon(now);
                    }
                }
            }
            Input::Busy => {
                self.busy_since.get_or_insert(now);
            }
            Input::Idle => {
                self.busy_since = None;
                if self.phase == Phase::Expired {
                    self.join(now);
                }
            }
            Input::Answer { id, response } => self.answered(now, id, response, effects),
            Input::CoordinatorLost { node } => {
                if self.coordinator().is_some_and(|coordinator| coordinator.node == node) {
                    self.finder.lose(now, effects);
                }
            }
            Input::Leave { .. } => self.leave(now, effects),
        }
        self.advance(now, effects);
    }

    /// What the coordinator must not give to others: what this member owns, and what it is about to take. Without the latter, a heartbeat on the way
    /// would say that it has no part in what it takes a moment later.
    fn claims(&self) -> OwnedPartitions {
        let mut claims = self.owned.clone();
        for (topic, partitions) in &self.target {
            claims.entry(*topic).or_default().extend(partitions);
        }
        claims.retain(|_, partitions| !partitions.is_empty());
        claims
    }

    fn needs_coordinator(&self) -> bool {
        matches!(self.phase, Phase::Joining | Phase::In)
    }

    fn beats(&self) -> bool {
        matches!(self.phase, Phase::Joining | Phase::In)
    }

    fn poll_deadline(&self) -> Option<Duration> {
        self.busy_since.filter(|_| self.beats()).map(|since| since + self.config.rebalance_timeout)
    }

    fn join(&mut self, now: Duration) {
        self.phase = Phase::Joining;
        self.forget();
        self.beat_at = now;
    }

    fn forget(&mut self) {
        self.epoch = JOIN;
        self.owned.clear();
        self.target.clear();
        self.told = None;
        self.beat = None;
        self.backoff.reset();
    }

    /// Something is new: the coordinator is told at once, unless it must not be asked yet.
    fn beat_soon(&mut self, now: Duration) {
        if self.told.is_some() {
            self.beat_at = now;
        }
    }

    /// Does everything that is due.
    fn advance(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if let Some(beat) = &self.beat
            && beat.deadline <= now
        {
            self.answered(now, beat.id, Err(TransportError::Unanswered), effects);
        }
        if self.poll_deadline().is_some_and(|deadline| deadline <= now) {
            self.expire(now, effects);
        }
        let needed = self.needs_coordinator();
        self.finder.advance(now, needed, &mut self.next_id, effects);
        if self.beats() && self.beat.is_none() && self.beat_at <= now {
            self.send_beat(now, effects);
        }
    }

    fn send_beat(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Some(coordinator) = self.coordinator().cloned() else { return };
        let request = RequestKind::ConsumerGroupHeartbeat(self.request());
        self.beat_at = now + self.interval;
        let told = Told { wanted: self.wanted.clone(), owned: self.claims() };
        let (id, deadline) = self.send(now, coordinator, request, effects);
        self.beat = Some(Beat { id, deadline, told });
    }

    fn send(
        &mut self,
        now: Duration,
        coordinator: Coordinator,
        request: RequestKind,
        effects: &mut Vec<Effect>,
    ) -> (RequestId, Duration) {
        self.next_id += 1;
        let (id, timeout) = (RequestId(self.next_id), self.config.request_timeout);
        effects.push(Effect::Send { id, to: Target::Coordinator(coordinator), request: Box::new(request), timeout });
        (id, now + timeout)
    }

    /// The next heartbeat: who it is, and what the coordinator does not know yet.
    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let mut request = self.bare_request(self.epoch);
        let told = self.told.as_ref();
        if told.is_none() {
            request = request
                .with_rebalance_timeout_ms(millis(self.config.rebalance_timeout))
                .with_rack_id(self.own.rack.as_deref().map(text))
                .with_server_assignor(self.own.assignor.as_deref().map(text));
        }
        if told.is_none_or(|told| told.wanted.topics != self.wanted.topics) {
            let names = self.wanted.topics.iter().map(|topic| TopicName(text(topic)));
            request = request.with_subscribed_topic_names(Some(names.collect()));
        }
        let told_pattern = told.and_then(|told| told.wanted.pattern.as_ref());
        if told_pattern != self.wanted.pattern.as_ref() {
            // An empty one takes an earlier one back.
            request = request.with_subscribed_topic_regex(Some(text(self.wanted.pattern.as_deref().unwrap_or(""))));
        }
        let claims = self.claims();
        if told.is_none_or(|told| told.owned != claims) {
            let topic = |(id, partitions): (&Uuid, &BTreeSet<i32>)| {
                TopicPartitions::default().with_topic_id(*id).with_partitions(partitions.iter().copied().collect())
            };
            request = request.with_topic_partitions(Some(claims.iter().map(topic).collect()));
        }
        request
    }

    fn bare_request(&self, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(text(&self.config.group_id)))
            .with_member_id(text(&self.own.member_id))
            .with_member_epoch(epoch)
            .with_instance_id(self.config.instance_id.as_deref().map(text))
            .with_rebalance_timeout_ms(-1)
    }

    fn answered(
        &mut self,
        now: Duration,
        id: RequestId,
        response: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) {
        match self.finder.answered(now, id, &response, effects) {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => return self.fail(self.error("FindCoordinator", error), effects),
        }
        let Some(beat) = self.beat.take_if(|beat| beat.id == id) else { return };
        match response {
            _ if self.phase == Phase::Leaving => self.left(effects),
            Ok(ResponseKind::ConsumerGroupHeartbeat(response)) => self.beat_answered(now, beat, response, effects),
            Err(error) if error.is_unsupported() => {
                self.fail(self.error("ConsumerGroupHeartbeat", ResponseError::UnsupportedVersion), effects);
            }
            _ => {
                self.retry(now);
                self.finder.lose(now, effects);
            }
        }
    }

    fn retry(&mut self, now: Duration) {
        self.told = None;
        self.beat_at = now + self.backoff.fail();
    }

    fn beat_answered(
        &mut self,
        now: Duration,
        beat: Beat,
        response: ConsumerGroupHeartbeatResponse,
        effects: &mut Vec<Effect>,
    ) {
        let Some(error) = ResponseError::try_from_code(response.error_code) else {
            return self.beat_accepted(now, beat, response, effects);
        };
        match error {
            ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable => {
                self.retry(now);
                self.beat_at = now;
                self.finder.lose(now, effects);
            }
            ResponseError::FencedMemberEpoch | ResponseError::UnknownMemberId => {
                self.lose(effects);
                self.join(now);
            }
            ResponseError::CoordinatorLoadInProgress | ResponseError::TopicAuthorizationFailed => self.retry(now),
            error => self.fail(self.error("ConsumerGroupHeartbeat", error), effects),
        }
        if error == ResponseError::TopicAuthorizationFailed {
            effects.push(Effect::Refused(error));
        }
    }

    fn beat_accepted(
        &mut self,
        now: Duration,
        beat: Beat,
        response: ConsumerGroupHeartbeatResponse,
        effects: &mut Vec<Effect>,
    ) {
        if response.member_epoch <= 0 {
            let group = self.config.group_id.clone();
            let what = "an epoch that no member has";
            return self.fail(GroupError::BadAnswer { group, api: "ConsumerGroupHeartbeat", what }, effects);
        }
        if let Some(id) = response.member_id.filter(|id| !id.is_empty()) {
            // Version 0: the coordinator chooses.
            self.own.member_id = id.to_string();
        }
        self.backoff.reset();
        self.phase = Phase::In;
        self.epoch = response.member_epoch;
        self.interval = Duration::from_millis(response.heartbeat_interval_ms.unsigned_abs().into()).max(LEAST_INTERVAL);
        if let Some(assignment) = response.assignment {
            self.target.clear();
            for topic in assignment.topic_partitions {
                self.target.entry(topic.topic_id).or_default().extend(topic.partitions);
            }
            effects.push(Effect::Target(self.target.clone()));
        }
        let is_news = beat.told.wanted != self.wanted || beat.told.owned != self.claims();
        self.beat_at = if is_news { now } else { now + self.interval };
        self.told = Some(beat.told);
    }

    /// The group has gone on without this member.
    fn lose(&mut self, effects: &mut Vec<Effect>) {
        if self.phase == Phase::In {
            effects.push(Effect::Lost);
        }
    }

    /// The application took too long: others get its share.
    fn expire(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if let Some((request, coordinator)) = self.goodbye() {
            // Nothing depends on the answer: without it the session ends by itself.
            self.send(now, coordinator, request, effects);
        }
        self.lose(effects);
        self.phase = Phase::Expired;
        self.forget();
    }

    fn goodbye(&self) -> Option<(RequestKind, Coordinator)> {
        // A heartbeat whose answer was lost may have made it a member.
        if self.phase != Phase::In && self.beat.is_none() {
            return None;
        }
        let epoch = if self.config.instance_id.is_some() { LEAVE_FOR_NOW } else { LEAVE };
        Some((RequestKind::ConsumerGroupHeartbeat(self.bare_request(epoch)), self.coordinator()?.clone()))
    }

    fn leave(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Leaving {
            return;
        }
        let Some((request, coordinator)) = self.goodbye().filter(|_| self.beats()) else { return self.left(effects) };
        self.phase = Phase::Leaving;
        self.forget();
        let told = Told { wanted: Wanted::default(), owned: OwnedPartitions::new() };
        let (id, deadline) = self.send(now, coordinator, request, effects);
        self.beat = Some(Beat { id, deadline, told });
    }

    fn left(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Out;
        self.forget();
        effects.push(Effect::Left);
    }

    fn fail(&mut self, error: GroupError, effects: &mut Vec<Effect>) {
        self.lose(effects);
        self.phase = Phase::Failed;
        self.forget();
        effects.push(Effect::Failed(error));
    }

    fn error(&self, api: &'static str, error: ResponseError) -> GroupError {
        let group = self.config.group_id.clone();
        match (error, &self.config.instance_id) {
            (ResponseError::FencedInstanceId | ResponseError::UnreleasedInstanceId, Some(instance)) => {
                GroupError::Fenced { group, instance: instance.clone() }
            }
            _ => GroupError::Refused { group, api, error },
        }
    }
}
