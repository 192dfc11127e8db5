//! The machine. `step` takes one input, then does whatever has become due; every wait is a deadline that [`GroupMember::next_deadline`] shows.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, RequestKind,
    ResponseKind, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::Coordinator;
use super::coordinator::{self, Found};
use crate::backoff::Backoff;

/// Generation of a member that has none.
const NO_GENERATION: i32 = -1;
/// What the broker may take beyond the rebalance timeout before a JoinGroup counts as unanswered, as in Java.
const JOIN_GRACE: Duration = Duration::from_secs(5);
/// Longest reason that brokers take.
const MAX_REASON: usize = 255;

/// What a member is told about itself once.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// `group.id`.
    pub group_id: String,
    /// `group.instance.id`: a member with one keeps its place over a restart and does not leave.
    pub instance_id: Option<String>,
    /// `consumer`, `connect`, …: groups of different types do not mix.
    pub protocol_type: String,
    /// `session.timeout.ms`.
    pub session_timeout: Duration,
    /// Longest time between two signs of life of the application, and longest a rebalance waits for it: `max.poll.interval.ms` of a
    /// consumer, `rebalance.timeout.ms` of a worker.
    pub rebalance_timeout: Duration,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
}

/// A protocol that this member speaks, with what it wants to tell the leader in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name, for example `range` or `sessioned`.
    pub name: String,
    /// Its metadata.
    pub metadata: Bytes,
}

/// Names a request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Any broker that answers.
    Any,
    /// This broker. A JoinGroup blocks its connection until the rebalance is over, so it must not share one with fetches.
    Coordinator(Coordinator),
}

/// A request ended without an answer: no connection, connection lost, time-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered;

/// What happens to a member.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "moved once a request, never stored")]
pub enum Input {
    /// Time passed.
    Tick,
    /// Somebody needs to know the coordinator, membership or not.
    NeedCoordinator,
    /// Become a member. Also after a failure, to try again.
    Subscribe,
    /// What this member told the leader is no longer true: join again.
    Rejoin {
        /// For the broker's log.
        reason: String,
    },
    /// The answer to [`Effect::Prepare`]: whatever had to be given up is given up.
    Prepared {
        /// In order of preference.
        protocols: Vec<Protocol>,
    },
    /// The answer to [`Effect::Assign`].
    Assigned {
        /// Generation that was asked about.
        generation: i32,
        /// Assignment by member id.
        assignments: Vec<(String, Bytes)>,
    },
    /// The application took work and will be back for more: its time runs.
    Busy,
    /// The application is back, or waits for work.
    Idle,
    /// The end of a request.
    Answer {
        /// Which.
        id: RequestId,
        /// Its answer.
        response: Result<ResponseKind, Unanswered>,
    },
    /// A request that somebody else sent to the coordinator found it gone, or no coordinator any more.
    CoordinatorLost {
        /// Broker id it was sent to.
        node: i32,
    },
    /// The coordinator refused a request that somebody else sent in the name of this member.
    Refused {
        /// Generation that the request carried.
        generation: i32,
        /// The coordinator's error.
        error: ResponseError,
    },
    /// Stop being a member.
    Leave {
        /// For the broker's log.
        reason: String,
    },
}

/// What a member wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send a request; its end comes back as [`Input::Answer`].
    Send {
        /// Names it.
        id: RequestId,
        /// To whom.
        to: Target,
        /// What.
        request: Box<RequestKind>,
        /// When to give up.
        timeout: Duration,
    },
    /// The coordinator was found, or is unknown from now on.
    Coordinator(Option<Coordinator>),
    /// Get ready to join: commit, give up what the protocol demands, then answer [`Input::Prepared`]. Heartbeats go on meanwhile.
    Prepare,
    /// This member leads the generation: answer [`Input::Assigned`].
    Assign(AssignmentRequest),
    /// This member has an assignment.
    Joined(Membership),
    /// The group went on without this member: what it was assigned may already be another's. [`Effect::Prepare`] follows when it can join.
    Lost,
    /// Membership ended as asked.
    Left,
    /// Membership ended; trying again would end the same way until somebody changes something.
    Failed(GroupError),
}

/// The question to the leader of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignmentRequest {
    /// The generation.
    pub generation: i32,
    /// The protocol that all members speak.
    pub protocol: String,
    /// The leader's member id.
    pub leader: String,
    /// All members.
    pub members: Vec<MemberMetadata>,
}

/// What a member told the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Its id in this generation.
    pub member_id: String,
    /// Its static id.
    pub instance_id: Option<String>,
    /// Its metadata in the chosen protocol.
    pub metadata: Bytes,
}

/// A place in a generation of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The generation.
    pub generation: i32,
    /// This member's id.
    pub member_id: String,
    /// The leader's member id.
    pub leader: String,
    /// The protocol that all members speak.
    pub protocol: String,
    /// What the leader assigned.
    pub assignment: Bytes,
}

/// Why membership failed for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Another process uses the same static id.
    #[error("another member of group `{group}` uses `group.instance.id={instance}`; give each process its own")]
    Fenced {
        /// The group.
        group: String,
        /// The static id.
        instance: String,
    },
    /// The coordinator does not want this member as it is.
    #[error("the coordinator of group `{group}` refused this member in {api}: {error}")]
    Refused {
        /// The group.
        group: String,
        /// The request.
        api: &'static str,
        /// The coordinator's error.
        error: ResponseError,
    },
    /// The answer is not one of the protocol.
    #[error("the coordinator of group `{group}` answered {api} with {what}")]
    BadAnswer {
        /// The group.
        group: String,
        /// The request.
        api: &'static str,
        /// What was wrong.
        what: &'static str,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Not a member, not wanting to be.
    Out,
    /// Waiting for the application to get ready.
    Preparing,
    /// JoinGroup is to be sent, or sent.
    Joining,
    /// Waiting for the application's assignment, as leader.
    Assigning,
    /// SyncGroup is to be sent, or sent.
    Syncing,
    /// A member with an assignment.
    Stable,
    /// Left because the application took too long; joins when it is back.
    Expired,
    /// LeaveGroup was sent.
    Leaving,
    /// Ended by an error.
    Failed,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    id: RequestId,
    deadline: Duration,
    /// Generation that the request carried: an answer about an older one means nothing.
    generation: i32,
}

/// A member of a group, or a process that wants to be one.
#[derive(Debug)]
pub struct GroupMember {
    config: GroupConfig,
    phase: Phase,
    next_id: u64,

    coordinator: Option<Coordinator>,
    coordinator_wanted: bool,
    finding: Option<InFlight>,
    find_at: Duration,
    find_backoff: Backoff,

    member_id: StrBytes,
    generation: i32,
    leader: StrBytes,
    protocol: StrBytes,
    /// The application was given an assignment and not told since that it is lost.
    holding: bool,

    protocols: Vec<Protocol>,
    assignments: Vec<(String, Bytes)>,
    /// JoinGroup, SyncGroup or LeaveGroup.
    joining: Option<InFlight>,
    join_at: Duration,
    join_backoff: Backoff,
    /// Why to join again as soon as this round is over.
    rejoin: Option<String>,
    reason: String,

    beat: Option<InFlight>,
    beat_at: Duration,
    beat_backoff: Backoff,
    last_contact: Duration,
    busy_since: Option<Duration>,
}

impl GroupMember {
    /// Not a member yet.
    pub fn new(config: GroupConfig) -> Self {
        let backoff = Backoff::new(config.retry_backoff, config.retry_backoff_max);
        Self {
            config,
            phase: Phase::Out,
            next_id: 0,
            coordinator: None,
            coordinator_wanted: false,
            finding: None,
            find_at: Duration::ZERO,
            find_backoff: backoff.clone(),
            member_id: StrBytes::new(),
            generation: NO_GENERATION,
            leader: StrBytes::new(),
            protocol: StrBytes::new(),
            holding: false,
            protocols: Vec::new(),
            assignments: Vec::new(),
            joining: None,
            join_at: Duration::ZERO,
            join_backoff: backoff.clone(),
            rejoin: None,
            reason: String::new(),
            beat: None,
            beat_at: Duration::ZERO,
            beat_backoff: backoff,
            last_contact: Duration::ZERO,
            busy_since: None,
        }
    }

    /// The settings.
    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// The coordinator, if known.
    pub fn coordinator(&self) -> Option<&Coordinator> {
        self.coordinator.as_ref()
    }

    /// Generation and member id that requests in the name of this member carry: -1 and an empty id without membership.
    pub fn identity(&self) -> (i32, &str) {
        (self.generation, self.member_id.as_str())
    }

    /// Whether this member has an assignment and no rebalance is under way.
    pub fn is_stable(&self) -> bool {
        self.phase == Phase::Stable
    }

    /// Whether membership is wanted: asked for, and neither left nor failed.
    pub fn is_member(&self) -> bool {
        !matches!(self.phase, Phase::Out | Phase::Leaving | Phase::Failed)
    }

    /// Whether a rebalance is under way in which this member may still commit: it has been asked to prepare.
    pub fn is_preparing(&self) -> bool {
        self.phase == Phase::Preparing
    }

    /// When `step` has something to do though nothing happens.
    pub fn next_deadline(&self) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        let mut at = |deadline: Duration| next = Some(next.map_or(deadline, |next| next.min(deadline)));
        for in_flight in [self.finding, self.joining, self.beat].into_iter().flatten() {
            at(in_flight.deadline);
        }
        if self.coordinator.is_none() {
            if self.needs_coordinator() && self.finding.is_none() {
                at(self.find_at);
            }
        } else if matches!(self.phase, Phase::Joining | Phase::Syncing) && self.joining.is_none() {
            at(self.join_at);
        }
        if self.beats() && self.coordinator.is_some() {
            at(self.last_contact + self.config.session_timeout);
            if self.beat.is_none() {
                at(self.beat_at);
            }
        }
        if let Some(deadline) = self.poll_deadline() {
            at(deadline);
        }
        next
    }

    /// Takes one input and appends what is to be done.
    pub fn step(&mut self, now: Duration, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Tick => {}
            Input::NeedCoordinator => self.coordinator_wanted = true,
            Input::Subscribe => {
                if matches!(self.phase, Phase::Out | Phase::Failed) {
                    self.prepare(effects);
                }
            }
            Input::Rejoin { reason } => self.request_rejoin(reason),
            Input::Prepared { protocols } => {
                if self.phase == Phase::Preparing {
                    self.protocols = protocols;
                    self.reason = self.rejoin.take().unwrap_or_default();
                    self.phase = Phase::Joining;
                    self.join_at = now;
                    // The broker counts the time from the JoinGroup on; no heartbeat is due until it answers.
                    self.beat = None;
                }
            }
            Input::Assigned { generation, assignments } => {
                if self.phase == Phase::Assigning && generation == self.generation {
                    self.assignments = assignments;
                    self.phase = Phase::Syncing;
                    self.join_at = now;
                }
            }
            Input::Busy => {
                self.busy_since.get_or_insert(now);
            }
            Input::Idle => {
                self.busy_since = None;
                if self.phase == Phase::Expired {
                    self.prepare(effects);
                }
            }
            Input::Answer { id, response } => self.answered(now, id, response.ok(), effects),
            Input::CoordinatorLost { node } => {
                if self.coordinator.as_ref().is_some_and(|coordinator| coordinator.node == node) {
                    self.lose_coordinator(now, effects);
                }
            }
            Input::Refused { generation, error } => {
                if generation == self.generation && generation != NO_GENERATION {
                    self.refused(error, effects);
                }
            }
            Input::Leave { reason } => self.leave(now, &reason, effects),
        }
        self.advance(now, effects);
    }

    /// Whether heartbeats keep this member's place: it has a generation, and no JoinGroup is asking for another.
    fn beats(&self) -> bool {
        self.generation != NO_GENERATION
            && matches!(self.phase, Phase::Preparing | Phase::Assigning | Phase::Syncing | Phase::Stable)
    }

    fn needs_coordinator(&self) -> bool {
        self.coordinator_wanted || (self.is_member() && self.phase != Phase::Expired)
    }

    fn poll_deadline(&self) -> Option<Duration> {
        let in_round = !matches!(self.phase, Phase::Out | Phase::Expired | Phase::Leaving | Phase::Failed);
        self.busy_since.filter(|_| in_round).map(|since| since + self.config.rebalance_timeout)
    }

    /// Does everything that is due.
    fn advance(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        for in_flight in [self.finding, self.joining, self.beat].into_iter().flatten() {
            if in_flight.deadline <= now {
                self.answered(now, in_flight.id, None, effects);
            }
        }
        if self.poll_deadline().is_some_and(|deadline| deadline <= now) {
            self.expire(now, effects);
        }
        if self.beats() && self.coordinator.is_some() && self.last_contact + self.config.session_timeout <= now {
            // The broker may have given this member up. Whether it did, the next heartbeat's answer says.
            self.lose_coordinator(now, effects);
        }
        if self.phase == Phase::Stable && self.rejoin.is_some() {
            self.prepare(effects);
        }
        let Some(coordinator) = self.coordinator.clone() else {
            if self.needs_coordinator() && self.finding.is_none() && self.find_at <= now {
                let request = RequestKind::FindCoordinator(coordinator::question(&self.config.group_id));
                self.finding = Some(self.send(now, Target::Any, request, self.config.request_timeout, effects));
            }
            return;
        };
        if matches!(self.phase, Phase::Joining | Phase::Syncing) && self.joining.is_none() && self.join_at <= now {
            let (request, timeout) = if self.phase == Phase::Joining {
                (RequestKind::JoinGroup(self.join_request()), self.join_timeout())
            } else {
                (RequestKind::SyncGroup(self.sync_request()), self.join_timeout())
            };
            self.joining = Some(self.send(now, Target::Coordinator(coordinator.clone()), request, timeout, effects));
        }
        if self.beats() && self.beat.is_none() && self.beat_at <= now {
            let request = HeartbeatRequest::default()
                .with_group_id(self.group_id())
                .with_generation_id(self.generation)
                .with_member_id(self.member_id.clone())
                .with_group_instance_id(self.instance_id());
            self.beat_at = now + self.config.heartbeat_interval;
            let request = RequestKind::Heartbeat(request);
            let timeout = self.config.request_timeout.min(self.config.session_timeout);
            self.beat = Some(self.send(now, Target::Coordinator(coordinator), request, timeout, effects));
        }
    }

    fn send(
        &mut self,
        now: Duration,
        to: Target,
        request: RequestKind,
        timeout: Duration,
        effects: &mut Vec<Effect>,
    ) -> InFlight {
        self.next_id += 1;
        let id = RequestId(self.next_id);
        effects.push(Effect::Send { id, to, request: Box::new(request), timeout });
        InFlight { id, deadline: now + timeout, generation: self.generation }
    }

    fn answered(&mut self, now: Duration, id: RequestId, response: Option<ResponseKind>, effects: &mut Vec<Effect>) {
        if take(&mut self.finding, id).is_some() {
            self.found(now, response, effects);
        } else if take(&mut self.joining, id).is_some() {
            match (&self.phase, response) {
                (Phase::Leaving, _) => self.left(effects),
                (Phase::Joining, Some(ResponseKind::JoinGroup(response))) => self.join_answered(now, response, effects),
                (Phase::Syncing, Some(ResponseKind::SyncGroup(response))) => self.sync_answered(now, response, effects),
                _ => {
                    self.phase = Phase::Joining;
                    self.lose_coordinator(now, effects);
                    self.retry_join(now);
                }
            }
        } else if let Some(beat) = take(&mut self.beat, id) {
            match response {
                Some(ResponseKind::Heartbeat(response)) if beat.generation == self.generation => {
                    self.beat_answered(now, &response, effects);
                }
                Some(ResponseKind::Heartbeat(_)) => {}
                _ => {
                    self.beat_at = now + self.beat_backoff.fail();
                    self.lose_coordinator(now, effects);
                }
            }
        }
        // Anything else is a late answer to a question we no longer ask.
    }

    fn found(&mut self, now: Duration, response: Option<ResponseKind>, effects: &mut Vec<Effect>) {
        let found = match response {
            Some(ResponseKind::FindCoordinator(response)) => coordinator::answer(&self.config.group_id, &response),
            _ => Found::NotYet,
        };
        match found {
            Found::Yes(coordinator) => {
                self.find_backoff.reset();
                self.last_contact = now;
                self.coordinator = Some(coordinator.clone());
                effects.push(Effect::Coordinator(Some(coordinator)));
            }
            Found::NotYet => self.find_at = now + self.find_backoff.fail(),
            Found::Refused(error) => {
                self.coordinator_wanted = false;
                self.fail(self.error("FindCoordinator", error), effects);
            }
        }
    }

    fn join_answered(&mut self, now: Duration, response: JoinGroupResponse, effects: &mut Vec<Effect>) {
        let Some(error) = ResponseError::try_from_code(response.error_code) else {
            return self.join_accepted(now, response, effects);
        };
        match error {
            ResponseError::MemberIdRequired => {
                self.member_id = response.member_id;
                self.join_at = now;
            }
            ResponseError::CoordinatorLoadInProgress | ResponseError::RebalanceInProgress => self.retry_join(now),
            ResponseError::CoordinatorNotAvailable | ResponseError::NotCoordinator => {
                self.lose_coordinator(now, effects);
                self.retry_join(now);
            }
            ResponseError::UnknownMemberId | ResponseError::IllegalGeneration => self.refused(error, effects),
            error => self.fail(self.error("JoinGroup", error), effects),
        }
    }

    fn join_accepted(&mut self, now: Duration, response: JoinGroupResponse, effects: &mut Vec<Effect>) {
        let protocol = response.protocol_name.unwrap_or_default();
        let bad = |what| GroupError::BadAnswer { group: self.config.group_id.clone(), api: "JoinGroup", what };
        if response.protocol_type.is_some_and(|kind| kind.as_str() != self.config.protocol_type) {
            return self.fail(bad("another protocol type"), effects);
        }
        if !self.protocols.iter().any(|offered| offered.name == protocol.as_str()) {
            return self.fail(bad("a protocol that was not offered"), effects);
        }
        if response.generation_id < 0 {
            return self.fail(bad("a negative generation"), effects);
        }
        self.join_backoff.reset();
        self.beat_backoff.reset();
        self.generation = response.generation_id;
        self.member_id = response.member_id;
        self.leader = response.leader;
        self.protocol = protocol;
        self.last_contact = now;
        self.beat_at = now + self.config.heartbeat_interval;
        self.assignments.clear();
        if self.leader == self.member_id && !response.skip_assignment {
            self.phase = Phase::Assigning;
            let members = response.members.into_iter().map(|member| MemberMetadata {
                member_id: member.member_id.to_string(),
                instance_id: member.group_instance_id.map(|id| id.to_string()),
                metadata: member.metadata,
            });
            effects.push(Effect::Assign(AssignmentRequest {
                generation: self.generation,
                protocol: self.protocol.to_string(),
                leader: self.leader.to_string(),
                members: members.collect(),
            }));
        } else {
            self.phase = Phase::Syncing;
            self.join_at = now;
        }
    }

    fn sync_answered(&mut self, now: Duration, response: SyncGroupResponse, effects: &mut Vec<Effect>) {
        let Some(error) = ResponseError::try_from_code(response.error_code) else {
            self.phase = Phase::Stable;
            self.holding = true;
            self.last_contact = now;
            effects.push(Effect::Joined(Membership {
                generation: self.generation,
                member_id: self.member_id.to_string(),
                leader: self.leader.to_string(),
                protocol: self.protocol.to_string(),
                assignment: response.assignment,
            }));
            return;
        };
        match error {
            ResponseError::RebalanceInProgress => self.prepare(effects),
            ResponseError::CoordinatorLoadInProgress => self.retry_join(now),
            ResponseError::CoordinatorNotAvailable | ResponseError::NotCoordinator => {
                self.phase = Phase::Joining;
                self.lose_coordinator(now, effects);
                self.retry_join(now);
            }
            ResponseError::UnknownMemberId | ResponseError::IllegalGeneration => self.refused(error, effects),
            error => self.fail(self.error("SyncGroup", error), effects),
        }
    }

    fn beat_answered(&mut self, now: Duration, response: &HeartbeatResponse, effects: &mut Vec<Effect>) {
        let Some(error) = ResponseError::try_from_code(response.error_code) else {
            self.last_contact = now;
            self.beat_backoff.reset();
            return;
        };
        match error {
            ResponseError::CoordinatorLoadInProgress => self.beat_at = now + self.beat_backoff.fail(),
            ResponseError::CoordinatorNotAvailable | ResponseError::NotCoordinator => {
                self.beat_at = now + self.beat_backoff.fail();
                self.lose_coordinator(now, effects);
            }
            ResponseError::RebalanceInProgress => {
                self.last_contact = now;
                self.refused(error, effects);
            }
            ResponseError::UnknownMemberId | ResponseError::IllegalGeneration => self.refused(error, effects),
            error => self.fail(self.error("Heartbeat", error), effects),
        }
    }

    /// The coordinator disowned this member's generation, or asks it to join again.
    fn refused(&mut self, error: ResponseError, effects: &mut Vec<Effect>) {
        match error {
            ResponseError::UnknownMemberId => {
                self.member_id = StrBytes::new();
                self.lose(effects);
            }
            ResponseError::IllegalGeneration => self.lose(effects),
            ResponseError::FencedInstanceId => self.fail(self.error("OffsetCommit", error), effects),
            // While a round is under way this is no news.
            ResponseError::RebalanceInProgress if self.phase == Phase::Stable => self.prepare(effects),
            _ => {}
        }
    }

    /// Drops the generation; the next step is to get ready and join.
    fn lose(&mut self, effects: &mut Vec<Effect>) {
        self.generation = NO_GENERATION;
        self.beat = None;
        if std::mem::take(&mut self.holding) {
            effects.push(Effect::Lost);
        }
        if self.is_member() && !matches!(self.phase, Phase::Preparing | Phase::Expired) {
            self.prepare(effects);
        }
    }

    fn prepare(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Preparing;
        self.joining = None;
        effects.push(Effect::Prepare);
    }

    fn request_rejoin(&mut self, reason: String) {
        // In `Preparing` the protocols are asked for anew anyway; the reason is kept for the JoinGroup.
        if self.is_member() && self.phase != Phase::Expired {
            self.rejoin = Some(reason);
        }
    }

    fn retry_join(&mut self, now: Duration) {
        self.join_at = now + self.join_backoff.fail();
    }

    fn lose_coordinator(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.coordinator.take().is_some() {
            self.find_at = now;
            self.beat = None;
            if matches!(self.phase, Phase::Joining | Phase::Syncing) && self.joining.take().is_some() {
                self.phase = Phase::Joining;
                self.retry_join(now);
            }
            effects.push(Effect::Coordinator(None));
        }
    }

    /// The application took too long: others get its share.
    fn expire(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if let Some(request) = self.leave_request("consumer poll timeout has expired.")
            && let Some(coordinator) = self.coordinator.clone()
        {
            let request = RequestKind::LeaveGroup(request);
            // Nothing depends on the answer: without it the session ends by itself.
            self.send(now, Target::Coordinator(coordinator), request, self.config.request_timeout, effects);
        }
        self.phase = Phase::Expired;
        self.joining = None;
        self.member_id = StrBytes::new();
        self.lose(effects);
    }

    fn leave(&mut self, now: Duration, reason: &str, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Leaving => return,
            Phase::Out | Phase::Failed | Phase::Expired => return self.left(effects),
            _ => {}
        }
        self.joining = None;
        let request = self.leave_request(reason);
        match (request, self.coordinator.clone()) {
            (Some(request), Some(coordinator)) => {
                self.phase = Phase::Leaving;
                let request = RequestKind::LeaveGroup(request);
                let timeout = self.config.request_timeout;
                self.joining = Some(self.send(now, Target::Coordinator(coordinator), request, timeout, effects));
            }
            _ => self.left(effects),
        }
    }

    fn left(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Out;
        self.forget();
        effects.push(Effect::Left);
    }

    fn fail(&mut self, error: GroupError, effects: &mut Vec<Effect>) {
        if std::mem::take(&mut self.holding) {
            effects.push(Effect::Lost);
        }
        self.phase = Phase::Failed;
        self.forget();
        effects.push(Effect::Failed(error));
    }

    fn forget(&mut self) {
        self.generation = NO_GENERATION;
        self.member_id = StrBytes::new();
        self.holding = false;
        self.joining = None;
        self.beat = None;
        self.rejoin = None;
        self.join_backoff.reset();
    }

    fn error(&self, api: &'static str, error: ResponseError) -> GroupError {
        let group = self.config.group_id.clone();
        match (error, &self.config.instance_id) {
            (ResponseError::FencedInstanceId, Some(instance)) => {
                GroupError::Fenced { group, instance: instance.clone() }
            }
            _ => GroupError::Refused { group, api, error },
        }
    }

    fn join_timeout(&self) -> Duration {
        self.config.request_timeout.max(self.config.rebalance_timeout + JOIN_GRACE)
    }

    fn group_id(&self) -> GroupId {
        GroupId(text(&self.config.group_id))
    }

    fn instance_id(&self) -> Option<StrBytes> {
        self.config.instance_id.as_deref().map(text)
    }

    fn join_request(&self) -> JoinGroupRequest {
        let protocols = self.protocols.iter().map(|protocol| {
            JoinGroupRequestProtocol::default().with_name(text(&protocol.name)).with_metadata(protocol.metadata.clone())
        });
        JoinGroupRequest::default()
            .with_group_id(self.group_id())
            .with_session_timeout_ms(millis(self.config.session_timeout))
            .with_rebalance_timeout_ms(millis(self.config.rebalance_timeout))
            .with_member_id(self.member_id.clone())
            .with_group_instance_id(self.instance_id())
            .with_protocol_type(text(&self.config.protocol_type))
            .with_protocols(protocols.collect())
            .with_reason(Some(reason_text(&self.reason)))
    }

    fn sync_request(&self) -> SyncGroupRequest {
        let assignments = self.assignments.iter().map(|(member, assignment)| {
            SyncGroupRequestAssignment::default().with_member_id(text(member)).with_assignment(assignment.clone())
        });
        SyncGroupRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id(self.generation)
            .with_member_id(self.member_id.clone())
            .with_group_instance_id(self.instance_id())
            .with_protocol_type(Some(text(&self.config.protocol_type)))
            .with_protocol_name(Some(self.protocol.clone()))
            .with_assignments(assignments.collect())
    }

    /// `None` when there is nothing to leave, or when a static member keeps its place.
    fn leave_request(&self, reason: &str) -> Option<LeaveGroupRequest> {
        if self.member_id.as_str().is_empty() || self.config.instance_id.is_some() {
            return None;
        }
        let identity =
            MemberIdentity::default().with_member_id(self.member_id.clone()).with_reason(Some(reason_text(reason)));
        Some(LeaveGroupRequest::default().with_group_id(self.group_id()).with_members(vec![identity]))
    }
}

fn take(slot: &mut Option<InFlight>, id: RequestId) -> Option<InFlight> {
    slot.take_if(|in_flight| in_flight.id == id)
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn reason_text(reason: &str) -> StrBytes {
    let end = reason.floor_char_boundary(MAX_REASON);
    text(&reason[..end])
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
