//! What the coordinator's answers mean to a member.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{HeartbeatResponse, JoinGroupResponse, ResponseKind, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::member::{GroupMember, InFlight, Phase};
use super::{AssignmentRequest, Effect, GroupError, MemberMetadata, Membership, RequestId};
use crate::net::TransportError;

impl GroupMember {
    pub(super) fn answered(
        &mut self,
        now: Duration,
        id: RequestId,
        response: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) {
        match self.finder.answered(now, id, &response, effects) {
            Ok(true) => {
                if self.coordinator().is_some() {
                    self.last_contact = now;
                }
                return;
            }
            Ok(false) => {}
            Err(error) => return self.fail(self.error("FindCoordinator", error), effects),
        }
        let is_unsupported = response.as_ref().is_err_and(TransportError::is_unsupported);
        if take(&mut self.joining, id).is_some() {
            match (&self.phase, response) {
                (Phase::Leaving, _) => self.left(effects),
                (Phase::Joining, Ok(ResponseKind::JoinGroup(response))) => self.join_answered(now, response, effects),
                (Phase::Syncing, Ok(ResponseKind::SyncGroup(response))) => self.sync_answered(now, response, effects),
                (phase, _) if is_unsupported => {
                    let api = if *phase == Phase::Syncing { "SyncGroup" } else { "JoinGroup" };
                    self.fail(self.error(api, ResponseError::UnsupportedVersion), effects);
                }
                _ => {
                    self.phase = Phase::Joining;
                    self.lose_coordinator(now, effects);
                    self.retry_join(now);
                }
            }
        } else if let Some(beat) = take(&mut self.beat, id) {
            match response {
                Ok(ResponseKind::Heartbeat(response)) if beat.generation == self.generation => {
                    self.beat_answered(now, &response, effects);
                }
                Ok(ResponseKind::Heartbeat(_)) => {}
                _ if is_unsupported => self.fail(self.error("Heartbeat", ResponseError::UnsupportedVersion), effects),
                _ => {
                    self.beat_at = now + self.beat_backoff.fail();
                    self.lose_coordinator(now, effects);
                }
            }
        }
        // Anything else is a late answer to a question we no longer ask.
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
        if self.leader == self.member_id {
            let members = response.members.into_iter().map(|member| MemberMetadata {
                member_id: member.member_id.to_string(),
                instance_id: member.group_instance_id.map(|id| id.to_string()),
                metadata: member.metadata,
            });
            let request = AssignmentRequest {
                generation: self.generation,
                protocol: self.protocol.to_string(),
                leader: self.leader.to_string(),
                members: members.collect(),
            };
            if !response.skip_assignment {
                self.phase = Phase::Assigning;
                return effects.push(Effect::Assign(request));
            }
            effects.push(Effect::Leading(request));
        }
        self.phase = Phase::Syncing;
        self.join_at = now;
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
    pub(super) fn refused(&mut self, error: ResponseError, effects: &mut Vec<Effect>) {
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
}

fn take(slot: &mut Option<InFlight>, id: RequestId) -> Option<InFlight> {
    slot.take_if(|in_flight| in_flight.id == id)
}
