//! The machine: `step` takes one input, then does whatever has become due; every wait is a deadline that [`GroupMember::next_deadline`] shows.
//!
//! What the coordinator's answers mean is in `answers`, what it is asked in `requests`.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::RequestKind;
use kafka_protocol::protocol::StrBytes;

use super::finder::Finder;
use super::{Coordinator, Effect, GroupConfig, GroupError, Input, Protocol, RequestId, Target};
use crate::backoff::Backoff;
use crate::net::TransportError;

/// Generation of a member that has none.
pub(super) const NO_GENERATION: i32 = -1;
/// What the broker may take beyond the rebalance timeout before a JoinGroup counts as unanswered, as in Java.
const JOIN_GRACE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
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
pub(super) struct InFlight {
    pub(super) id: RequestId,
    deadline: Duration,
    /// Generation that the request carried: an answer about an older one means nothing.
    pub(super) generation: i32,
}

/// A member of a group, or a process that wants to be one.
#[derive(Debug)]
pub struct GroupMember {
    pub(super) config: GroupConfig,
    pub(super) phase: Phase,
    pub(super) next_id: u64,

    pub(super) finder: Finder,

    pub(super) member_id: StrBytes,
    pub(super) generation: i32,
    pub(super) leader: StrBytes,
    pub(super) protocol: StrBytes,
    /// The application was given an assignment and not told since that it is lost.
    pub(super) holding: bool,

    pub(super) protocols: Vec<Protocol>,
    pub(super) assignments: Vec<(String, Bytes)>,
    /// JoinGroup, SyncGroup or LeaveGroup.
    pub(super) joining: Option<InFlight>,
    pub(super) join_at: Duration,
    pub(super) join_backoff: Backoff,
    /// Why to join again as soon as this round is over.
    pub(super) rejoin: Option<String>,
    pub(super) reason: String,

    pub(super) beat: Option<InFlight>,
    pub(super) beat_at: Duration,
    pub(super) beat_backoff: Backoff,
    pub(super) last_contact: Duration,
    pub(super) busy_since: Option<Duration>,
}

impl GroupMember {
    /// Not a member yet.
    pub fn new(config: GroupConfig) -> Self {
        let backoff = Backoff::new(config.retry_backoff, config.retry_backoff_max);
        Self {
            finder: Finder::new(&config),
            config,
            phase: Phase::Out,
            next_id: 0,
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
        self.finder.known()
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

    /// Whether a round is under way that this member has got ready for: what it asks for in the name of its old generation comes too late.
    pub fn is_joining(&self) -> bool {
        matches!(self.phase, Phase::Joining | Phase::Assigning | Phase::Syncing)
    }

    /// When `step` has something to do though nothing happens.
    pub fn next_deadline(&self) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        let mut at = |deadline: Duration| next = Some(next.map_or(deadline, |next| next.min(deadline)));
        for in_flight in [self.joining, self.beat].into_iter().flatten() {
            at(in_flight.deadline);
        }
        if let Some(deadline) = self.finder.next_deadline(self.needs_coordinator()) {
            at(deadline);
        }
        let is_found = self.coordinator().is_some();
        if is_found && matches!(self.phase, Phase::Joining | Phase::Syncing) && self.joining.is_none() {
            at(self.join_at);
        }
        if self.beats() && is_found {
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
            // The consumer protocol's.
            Input::Tick | Input::Wanted(_) | Input::Owned(_) => {}
            Input::NeedCoordinator => self.finder.wanted = true,
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
            Input::Answer { id, response } => self.answered(now, id, response, effects),
            Input::CoordinatorLost { node } => {
                if self.coordinator().is_some_and(|coordinator| coordinator.node == node) {
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
        self.is_member() && self.phase != Phase::Expired
    }

    fn poll_deadline(&self) -> Option<Duration> {
        let in_round = !matches!(self.phase, Phase::Out | Phase::Expired | Phase::Leaving | Phase::Failed);
        self.busy_since.filter(|_| in_round).map(|since| since + self.config.rebalance_timeout)
    }

    /// Does everything that is due.
    fn advance(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        for in_flight in [self.joining, self.beat].into_iter().flatten() {
            if in_flight.deadline <= now {
                self.answered(now, in_flight.id, Err(TransportError::Unanswered), effects);
            }
        }
        if self.poll_deadline().is_some_and(|deadline| deadline <= now) {
            self.expire(now, effects);
        }
        if self.beats() && self.coordinator().is_some() && self.last_contact + self.config.session_timeout <= now {
            // The broker may have given this member up. Whether it did, the next heartbeat's answer says.
            self.lose_coordinator(now, effects);
        }
        if self.phase == Phase::Stable && self.rejoin.is_some() {
            self.prepare(effects);
        }
        let needed = self.needs_coordinator();
        self.finder.advance(now, needed, &mut self.next_id, effects);
        let Some(coordinator) = self.coordinator().cloned() else { return };
        if matches!(self.phase, Phase::Joining | Phase::Syncing) && self.joining.is_none() && self.join_at <= now {
            let (request, timeout) = if self.phase == Phase::Joining {
                (RequestKind::JoinGroup(self.join_request()), self.join_timeout())
            } else {
                (RequestKind::SyncGroup(self.sync_request()), self.join_timeout())
            };
            self.joining = Some(self.send(now, Target::Coordinator(coordinator.clone()), request, timeout, effects));
        }
        if self.beats() && self.beat.is_none() && self.beat_at <= now {
            let request = self.heartbeat_request();
            self.beat_at = now + self.config.heartbeat_interval;
            let request = RequestKind::Heartbeat(request);
            let timeout = self.config.request_timeout.min(self.config.session_timeout);
            self.beat = Some(self.send(now, Target::Coordinator(coordinator), request, timeout, effects));
        }
    }

    pub(super) fn send(
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

    /// Drops the generation; the next step is to get ready and join.
    pub(super) fn lose(&mut self, effects: &mut Vec<Effect>) {
        self.generation = NO_GENERATION;
        self.beat = None;
        if std::mem::take(&mut self.holding) {
            effects.push(Effect::Lost);
        }
        if self.is_member() && !matches!(self.phase, Phase::Preparing | Phase::Expired) {
            self.prepare(effects);
        }
    }

    pub(super) fn prepare(&mut self, effects: &mut Vec<Effect>) {
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

    pub(super) fn retry_join(&mut self, now: Duration) {
        self.join_at = now + self.join_backoff.fail();
    }

    pub(super) fn lose_coordinator(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.finder.lose(now, effects) {
            self.beat = None;
            if matches!(self.phase, Phase::Joining | Phase::Syncing) && self.joining.take().is_some() {
                self.phase = Phase::Joining;
                self.retry_join(now);
            }
        }
    }

    /// The application took too long: others get its share.
    fn expire(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if let Some(request) = self.leave_request("consumer poll timeout has expired.")
            && let Some(coordinator) = self.coordinator().cloned()
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
        match (request, self.coordinator().cloned()) {
            (Some(request), Some(coordinator)) => {
                self.phase = Phase::Leaving;
                let request = RequestKind::LeaveGroup(request);
                let timeout = self.config.request_timeout;
                self.joining = Some(self.send(now, Target::Coordinator(coordinator), request, timeout, effects));
            }
            _ => self.left(effects),
        }
    }

    pub(super) fn left(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Out;
        self.forget();
        effects.push(Effect::Left);
    }

    pub(super) fn fail(&mut self, error: GroupError, effects: &mut Vec<Effect>) {
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

    pub(super) fn error(&self, api: &'static str, error: ResponseError) -> GroupError {
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
}
