//! The requests that a member sends.

use std::time::Duration;

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use kafka_protocol::protocol::StrBytes;

use super::member::GroupMember;

/// Longest reason that brokers take.
const MAX_REASON: usize = 255;

impl GroupMember {
    pub(super) fn group_id(&self) -> GroupId {
        GroupId(text(&self.config.group_id))
    }

    pub(super) fn instance_id(&self) -> Option<StrBytes> {
        self.config.instance_id.as_deref().map(text)
    }

    pub(super) fn join_request(&self) -> JoinGroupRequest {
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

    pub(super) fn sync_request(&self) -> SyncGroupRequest {
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

    pub(super) fn heartbeat_request(&self) -> HeartbeatRequest {
        HeartbeatRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id(self.generation)
            .with_member_id(self.member_id.clone())
            .with_group_instance_id(self.instance_id())
    }

    /// `None` when there is nothing to leave, or when a static member keeps its place.
    pub(super) fn leave_request(&self, reason: &str) -> Option<LeaveGroupRequest> {
        if self.member_id.as_str().is_empty() || self.config.instance_id.is_some() {
            return None;
        }
        let identity =
            MemberIdentity::default().with_member_id(self.member_id.clone()).with_reason(Some(reason_text(reason)));
        Some(LeaveGroupRequest::default().with_group_id(self.group_id()).with_members(vec![identity]))
    }
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn reason_text(reason: &str) -> StrBytes {
    let end = reason.floor_char_boundary(MAX_REASON);
    text(&reason[..end])
}

pub(super) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
