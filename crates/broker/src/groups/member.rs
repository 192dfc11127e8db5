//! Joining, syncing, beating and leaving.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ResponseKind,
    SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::consumer::{Timeouts, TopicDirectory};
use super::{Effects, Group, Groups, Member, NEW_MEMBER_TIMEOUT, State, result_code};
use crate::broker::{Ticket, code};

/// First version of JoinGroup in which a new member is first told its id and has to come back with it.
pub(super) const KNOWN_MEMBER_VERSION: i16 = 4;
/// First version of JoinGroup in which a leader can be told to leave the assignment as it is.
const SKIP_ASSIGNMENT_VERSION: i16 = 9;

/// Who asks to join, beside what the request says.
pub(crate) struct JoinerInfo {
    pub(crate) ticket: Ticket,
    pub(crate) version: i16,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    /// A fresh random number, for the id of a new member.
    pub(crate) fresh_id: u128,
}

impl Groups {
    /// A member joins, or joins again.
    pub(crate) fn join(
        &mut self,
        now: Duration,
        now_ms: i64,
        info: JoinerInfo,
        request: JoinGroupRequest,
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) {
        let ticket = info.ticket;
        let member_id = request.member_id.to_string();
        let name = request.group_id.to_string();
        if let Err(error) = self.try_join(now, now_ms, info, request, topics, effects) {
            // As Apache Kafka has it: a consumer group does not say whom it refuses.
            let of_consumers = |group: &Group| group.consumer.as_ref().is_some_and(|group| !group.members.is_empty());
            let member_id = if self.groups.get(&name).is_some_and(of_consumers) { String::new() } else { member_id };
            let response = JoinGroupResponse::default()
                .with_error_code(code(error))
                .with_generation_id(-1)
                .with_protocol_name(None)
                .with_member_id(member_id.into());
            effects.answers.push((ticket, ResponseKind::JoinGroup(response)));
        }
        self.reschedule();
    }

    fn try_join(
        &mut self,
        now: Duration,
        now_ms: i64,
        info: JoinerInfo,
        request: JoinGroupRequest,
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) -> Result<(), ResponseError> {
        let name = request.group_id.to_string();
        if name.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let session_timeout = millis(request.session_timeout_ms);
        if session_timeout < self.limits.min_session_timeout || session_timeout > self.limits.max_session_timeout {
            return Err(ResponseError::InvalidSessionTimeout);
        }
        let rebalance_timeout = if info.version >= 1 { millis(request.rebalance_timeout_ms) } else { session_timeout };
        let member_id = request.member_id.to_string();
        if !member_id.is_empty() && !self.groups.contains_key(&name) {
            return Err(ResponseError::UnknownMemberId);
        }
        let limits = self.limits.clone();
        let group = self.groups.entry(name.clone()).or_insert_with(|| Group::new(now_ms));
        if let Some(consumer) = &group.consumer {
            if !consumer.members.is_empty() {
                let timeouts = Timeouts { session: session_timeout, rebalance: rebalance_timeout };
                return self.join_consumers((now, now_ms), &info, request, &timeouts, topics, effects);
            }
            // An empty group takes the protocol of whoever joins; it counts from the beginning again.
            group.consumer = None;
            group.generation = 0;
        }
        let protocol_type = request.protocol_type.to_string();
        let protocols: Vec<(String, Bytes)> =
            request.protocols.into_iter().map(|protocol| (protocol.name.to_string(), protocol.metadata)).collect();
        if !group.accepts(&member_id, &protocol_type, &protocols) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        let instance_id = request.group_instance_id.as_ref().map(|id| id.to_string());
        let joiner = Joiner {
            ticket: info.ticket,
            version: info.version,
            protocol_type,
            member: Member {
                instance_id: instance_id.clone(),
                client_id: info.client_id.clone(),
                client_host: info.client_host,
                session_timeout,
                rebalance_timeout,
                protocols,
                assignment: Bytes::new(),
                expires: now + session_timeout,
                joining: None,
                syncing: None,
                order: 0,
            },
        };
        let mut context = Context { name: &name, now, now_ms, limits: &limits, effects };
        if !member_id.is_empty() {
            group.check_identity(&member_id, instance_id.as_deref())?;
            return group.rejoin(&mut context, member_id, joiner);
        }
        let uuid = uuid::Uuid::from_u128(info.fresh_id);
        match instance_id {
            Some(instance) => {
                let id = format!("{instance}-{uuid}");
                match group.static_members.get(&instance).cloned() {
                    Some(old_id) => group.replace_static(&mut context, &old_id, id, joiner),
                    None => group.add(&mut context, id, joiner),
                }
            }
            None => {
                let id = format!("{}-{uuid}", info.client_id);
                if group.members.len() + group.pending.len() >= limits.max_size {
                    return Err(ResponseError::GroupMaxSizeReached);
                }
                if info.version >= KNOWN_MEMBER_VERSION {
                    group.pending.insert(id.clone(), now + session_timeout);
                    let response = JoinGroupResponse::default()
                        .with_error_code(code(ResponseError::MemberIdRequired))
                        .with_generation_id(-1)
                        .with_protocol_name(None)
                        .with_member_id(id.into());
                    context.effects.answers.push((info.ticket, ResponseKind::JoinGroup(response)));
                    Ok(())
                } else {
                    group.add(&mut context, id, joiner)
                }
            }
        }
    }

    /// A member asks for its assignment; the leader brings everybody's.
    pub(crate) fn sync(
        &mut self,
        now: Duration,
        ticket: Ticket,
        request: SyncGroupRequest,
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) {
        let group = self.groups.get(request.group_id.as_str());
        let result = if group.is_some_and(|group| group.consumer.is_some()) {
            self.sync_consumers(now, ticket, request, topics, effects)
        } else {
            self.try_sync(now, ticket, request, effects)
        };
        if let Err(error) = result {
            let response = SyncGroupResponse::default().with_error_code(code(error));
            effects.answers.push((ticket, ResponseKind::SyncGroup(response)));
        }
        self.reschedule();
    }

    fn try_sync(
        &mut self,
        now: Duration,
        ticket: Ticket,
        request: SyncGroupRequest,
        effects: &mut Effects,
    ) -> Result<(), ResponseError> {
        let member_id = request.member_id.to_string();
        let group = self.groups.get_mut(request.group_id.as_str()).ok_or(ResponseError::UnknownMemberId)?;
        group.check_member(&member_id, request.group_instance_id.as_deref(), request.generation_id)?;
        let differs = |asked: &Option<StrBytes>, is: &Option<String>| {
            asked.as_ref().is_some_and(|asked| Some(asked.as_str()) != is.as_deref())
        };
        if differs(&request.protocol_type, &group.protocol_type) || differs(&request.protocol_name, &group.protocol) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        match group.state {
            State::Empty => Err(ResponseError::UnknownMemberId),
            State::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            State::CompletingRebalance => {
                let is_leader = group.leader.as_deref() == Some(member_id.as_str());
                if is_leader {
                    effects.keep_unassigned(&request.group_id, group, ticket);
                }
                let member = group.members.get_mut(&member_id).ok_or(ResponseError::UnknownMemberId)?;
                if let Some(old) = member.syncing.replace(ticket) {
                    effects.answers.push((old, sync_error(ResponseError::RebalanceInProgress)));
                }
                if is_leader {
                    let mut assignments: std::collections::BTreeMap<String, Bytes> = request
                        .assignments
                        .into_iter()
                        .map(|assignment| (assignment.member_id.to_string(), assignment.assignment))
                        .collect();
                    for (id, member) in &mut group.members {
                        member.assignment = assignments.remove(id).unwrap_or_default();
                    }
                    group.become_stable(now, effects);
                    effects.entries.extend(group.members_entry(&request.group_id));
                }
                Ok(())
            }
            State::Stable => {
                let answer = group.assignment_of(&member_id);
                group.touch(&member_id, now);
                effects.answers.push((ticket, answer));
                Ok(())
            }
        }
    }

    /// A member says that it lives.
    pub(crate) fn heartbeat(&mut self, now: Duration, request: &HeartbeatRequest) -> Result<(), ResponseError> {
        let member_id = request.member_id.as_str();
        let group = self.groups.get_mut(request.group_id.as_str()).ok_or(ResponseError::UnknownMemberId)?;
        if group.consumer.is_some() {
            return self.heartbeat_consumers(now, request);
        }
        group.check_member(member_id, request.group_instance_id.as_deref(), request.generation_id)?;
        // No deadline moves forward by this, so the earliest one may stay as it is.
        group.touch(member_id, now);
        match group.state {
            State::Empty => Err(ResponseError::UnknownMemberId),
            State::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// Members leave.
    pub(crate) fn leave(
        &mut self,
        now: Duration,
        now_ms: i64,
        version: i16,
        request: LeaveGroupRequest,
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) -> LeaveGroupResponse {
        let name = request.group_id.to_string();
        if self.groups.get(&name).is_some_and(|group| group.consumer.is_some()) {
            let leaving = if version <= 2 {
                vec![MemberIdentity::default().with_member_id(request.member_id)]
            } else {
                request.members
            };
            let results = self.leave_consumers((now, now_ms), &name, &leaving, topics, effects);
            self.reschedule();
            if version <= 2 {
                let result = results.into_iter().next().unwrap_or(Ok(()));
                return LeaveGroupResponse::default().with_error_code(result_code(result));
            }
            let members = leaving.into_iter().zip(results).map(|(member, result)| {
                MemberResponse::default()
                    .with_member_id(member.member_id)
                    .with_group_instance_id(member.group_instance_id)
                    .with_error_code(result_code(result))
            });
            return LeaveGroupResponse::default().with_members(members.collect());
        }
        let limits = self.limits.clone();
        let group = self.groups.get_mut(&name);
        let response = if version <= 2 {
            let result = match group {
                None => Err(ResponseError::UnknownMemberId),
                Some(group) => {
                    let mut context = Context { name: &name, now, now_ms, limits: &limits, effects };
                    group.leave(&mut context, &request.member_id, None)
                }
            };
            LeaveGroupResponse::default().with_error_code(result_code(result))
        } else {
            let members = match group {
                None => request
                    .members
                    .into_iter()
                    .map(|member| {
                        MemberResponse::default()
                            .with_member_id(member.member_id)
                            .with_group_instance_id(member.group_instance_id)
                            .with_error_code(code(ResponseError::UnknownMemberId))
                    })
                    .collect(),
                Some(group) => {
                    let mut context = Context { name: &name, now, now_ms, limits: &limits, effects };
                    request
                        .members
                        .into_iter()
                        .map(|member| {
                            let result =
                                group.leave(&mut context, &member.member_id, member.group_instance_id.as_deref());
                            MemberResponse::default()
                                .with_member_id(member.member_id)
                                .with_group_instance_id(member.group_instance_id)
                                .with_error_code(result_code(result))
                        })
                        .collect()
                }
            };
            LeaveGroupResponse::default().with_members(members)
        };
        self.reschedule();
        response
    }

    pub(super) fn expire_group(&mut self, name: &str, now: Duration, now_ms: i64, effects: &mut Effects) {
        let limits = self.limits.clone();
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let mut context = Context { name, now, now_ms, limits: &limits, effects };
        let tries_again = group.retry_at.take().is_some();
        let lapsed = group.pending.len();
        group.pending.retain(|_, lapses| *lapses > now);
        let dead: Vec<String> = group
            .members
            .iter()
            .filter(|(_, member)| !member.is_waiting() && member.expires <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in &dead {
            tracing::info!(group = name, member = %id, "member is removed: no heartbeat within its session timeout");
            group.remove(&mut context, id);
        }
        if group.sync_ends.is_some_and(|ends| ends <= now) {
            group.sync_ends = None;
            let silent: Vec<String> =
                group.members.iter().filter(|(_, member)| member.syncing.is_none()).map(|(id, _)| id.clone()).collect();
            for id in &silent {
                tracing::info!(group = name, member = %id, "member is removed: it did not ask for its assignment in time");
                group.remove(&mut context, id);
            }
        }
        if group.rebalance_ends.is_some_and(|ends| ends <= now) {
            group.end_rebalance(&mut context);
        } else if tries_again || lapsed != group.pending.len() {
            group.end_rebalance_if_complete(&mut context);
        }
    }
}

/// What every change of a group needs to know.
pub(super) struct Context<'a> {
    pub(super) name: &'a str,
    pub(super) now: Duration,
    pub(super) now_ms: i64,
    pub(super) limits: &'a super::Limits,
    pub(super) effects: &'a mut Effects,
}

struct Joiner {
    ticket: Ticket,
    version: i16,
    protocol_type: String,
    member: Member,
}

impl Group {
    /// Whether a member with these protocols can be in the group.
    fn accepts(&self, member_id: &str, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        let mut others = self.members.iter().filter(|(id, _)| *id != member_id).map(|(_, member)| member).peekable();
        if self.members.is_empty() {
            return true;
        }
        if self.protocol_type.as_deref() != Some(protocol_type) {
            return false;
        }
        if others.peek().is_none() {
            return true;
        }
        let others: Vec<&Member> = others.collect();
        protocols
            .iter()
            .any(|(name, _)| others.iter().all(|other| other.protocols.iter().any(|(known, _)| known == name)))
    }

    /// A static member whose id has been replaced is fenced; an unknown one is told so.
    fn check_identity(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ResponseError> {
        match instance_id {
            None => Ok(()),
            Some(instance) => match self.static_members.get(instance) {
                None => Err(ResponseError::UnknownMemberId),
                Some(known) if known != member_id => Err(ResponseError::FencedInstanceId),
                Some(_) => Ok(()),
            },
        }
    }

    /// Checks that a member speaks for itself and for the present generation.
    pub(super) fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        self.check_identity(member_id, instance_id)?;
        if !self.members.contains_key(member_id) {
            return Err(ResponseError::UnknownMemberId);
        }
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        Ok(())
    }

    pub(super) fn touch(&mut self, member_id: &str, now: Duration) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.expires = now + member.session_timeout;
        }
    }

    /// A new member comes in: there has to be a rebalance.
    fn add(&mut self, context: &mut Context<'_>, id: String, joiner: Joiner) -> Result<(), ResponseError> {
        if self.members.len() >= context.limits.max_size {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        if self.members.is_empty() {
            self.protocol_type = Some(joiner.protocol_type);
        }
        let mut member = joiner.member;
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        member.joining = Some(joiner.ticket);
        member.expires = context.now + member.session_timeout.max(NEW_MEMBER_TIMEOUT);
        member.order = self.next_order;
        self.next_order += 1;
        self.pending.remove(&id);
        self.leader.get_or_insert_with(|| id.clone());
        self.members.insert(id, member);
        self.rebalance(context);
        Ok(())
    }

    /// A member that has an id joins.
    fn rejoin(&mut self, context: &mut Context<'_>, id: String, joiner: Joiner) -> Result<(), ResponseError> {
        if self.pending.contains_key(&id) {
            return self.add(context, id, joiner);
        }
        let Some(member) = self.members.get(&id) else {
            return Err(ResponseError::UnknownMemberId);
        };
        let unchanged = member.protocols == joiner.member.protocols;
        let is_leader = self.leader.as_deref() == Some(id.as_str());
        let answer_now = match self.state {
            State::Empty => return Err(ResponseError::UnknownMemberId),
            State::PreparingRebalance => false,
            // It has not heard the answer to its join.
            State::CompletingRebalance => unchanged,
            // A leader that joins again wants a new assignment.
            State::Stable => unchanged && !is_leader,
        };
        self.update(context, &id, joiner.member);
        if answer_now {
            self.touch(&id, context.now);
            let response = self.join_answer(&id);
            context.effects.answers.push((joiner.ticket, response));
            return Ok(());
        }
        let member = self.members.get_mut(&id).expect("looked up above");
        if let Some(old) = member.joining.replace(joiner.ticket) {
            context.effects.answers.push((old, join_error(ResponseError::UnknownMemberId, &id)));
        }
        self.rebalance(context);
        Ok(())
    }

    /// A static member has been restarted: it takes the place of the one before.
    fn replace_static(
        &mut self,
        context: &mut Context<'_>,
        old_id: &str,
        id: String,
        joiner: Joiner,
    ) -> Result<(), ResponseError> {
        if self.members.contains_key(old_id) {
            context.effects.keep_replaced(context.name, self, joiner.ticket);
        }
        let Some(mut member) = self.members.remove(old_id) else {
            return self.add(context, id, joiner);
        };
        for (waiting, response) in [
            (member.joining.take(), join_error(ResponseError::FencedInstanceId, old_id)),
            (member.syncing.take(), sync_error(ResponseError::FencedInstanceId)),
        ] {
            if let Some(ticket) = waiting {
                context.effects.answers.push((ticket, response));
            }
        }
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        let was_leader = self.leader.as_deref() == Some(old_id);
        if was_leader {
            self.leader = Some(id.clone());
        }
        self.members.insert(id.clone(), member);
        self.update(context, &id, joiner.member);
        // As in Apache Kafka, what it wants may have changed: that is seen at the next rebalance.
        let protocol_stays = self.select_protocol() == self.protocol;
        if self.state == State::Stable && protocol_stays {
            self.touch(&id, context.now);
            // Nothing changes for the group: the member goes on with the assignment of the one before.
            context.effects.entries.extend(self.members_entry(context.name));
            let mut response = self.join_response(&id);
            if was_leader {
                if joiner.version >= SKIP_ASSIGNMENT_VERSION {
                    response = response.with_skip_assignment(true);
                } else {
                    // Named leader, it would assign anew; so it is shown the leader of before.
                    response = response.with_leader(old_id.to_owned().into()).with_members(Vec::new());
                }
            }
            context.effects.answers.push((joiner.ticket, ResponseKind::JoinGroup(response)));
            return Ok(());
        }
        let member = self.members.get_mut(&id).expect("inserted above");
        member.joining = Some(joiner.ticket);
        self.rebalance(context);
        Ok(())
    }

    fn update(&mut self, context: &Context<'_>, id: &str, from: Member) {
        if let Some(member) = self.members.get_mut(id) {
            member.client_id = from.client_id;
            member.client_host = from.client_host;
            member.session_timeout = from.session_timeout;
            member.rebalance_timeout = from.rebalance_timeout;
            member.protocols = from.protocols;
            member.expires = context.now + member.session_timeout;
        }
    }

    /// Starts a rebalance, or goes on with the one that runs.
    pub(super) fn rebalance(&mut self, context: &mut Context<'_>) {
        let longest = self.longest_rebalance_timeout();
        match self.state {
            State::PreparingRebalance => {
                if let Some(until) = self.gathering_until {
                    // Somebody else came while members gather: wait for more, but not beyond the longest rebalance timeout.
                    self.rebalance_ends = Some((context.now + context.limits.initial_delay).min(until));
                }
            }
            State::Empty => {
                self.state = State::PreparingRebalance;
                let delay = context.limits.initial_delay.min(longest);
                if delay.is_zero() {
                    self.rebalance_ends = Some(context.now + longest);
                } else {
                    self.gathering_until = Some(context.now + longest);
                    self.rebalance_ends = Some(context.now + delay);
                }
            }
            State::CompletingRebalance | State::Stable => {
                self.cancel_syncs(context, ResponseError::RebalanceInProgress);
                self.state = State::PreparingRebalance;
                self.rebalance_ends = Some(context.now + longest);
            }
        }
        self.end_rebalance_if_complete(context);
    }

    /// Those who wait for an assignment that will not come join again.
    fn cancel_syncs(&mut self, context: &mut Context<'_>, error: ResponseError) {
        self.sync_ends = None;
        for member in self.members.values_mut() {
            if self.state == State::CompletingRebalance {
                member.assignment = Bytes::new();
            }
            if let Some(ticket) = member.syncing.take() {
                member.expires = context.now + member.session_timeout;
                context.effects.answers.push((ticket, sync_error(error)));
            }
        }
    }

    /// The assignments that its leader brought with the request `ticket` cannot be kept: all have to join again.
    pub(super) fn refuse_assignments(&mut self, context: &mut Context<'_>, ticket: Ticket, error: ResponseError) {
        context.effects.answers.push((ticket, sync_error(error)));
        self.cancel_syncs(context, error);
        self.rebalance(context);
    }

    fn end_rebalance_if_complete(&mut self, context: &mut Context<'_>) {
        let complete = self.state == State::PreparingRebalance
            && self.gathering_until.is_none()
            && self.pending.is_empty()
            && self.members.values().all(|member| member.joining.is_some());
        if complete {
            self.end_rebalance(context);
        }
    }

    /// The next generation begins with those who have joined.
    fn end_rebalance(&mut self, context: &mut Context<'_>) {
        if self.state != State::PreparingRebalance {
            self.rebalance_ends = None;
            return;
        }
        context.effects.keep(context.name, self);
        self.gathering_until = None;
        let missing: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.joining.is_none() && member.instance_id.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in missing {
            tracing::info!(group = context.name, member = %id, "member is removed: it did not join again in time");
            self.forget(&id);
        }
        let leader_joined = self
            .leader
            .as_ref()
            .and_then(|leader| self.members.get(leader))
            .is_some_and(|leader| leader.joining.is_some());
        if !leader_joined && !self.members.is_empty() {
            let next = self
                .members
                .iter()
                .filter(|(_, member)| member.joining.is_some())
                .min_by_key(|(_, member)| member.order)
                .map(|(id, _)| id.clone());
            if next.is_none() {
                // Only static members are left and none has come back yet: go on waiting.
                self.rebalance_ends = Some(context.now + self.longest_rebalance_timeout());
                return;
            }
            self.leader = next;
        }
        self.rebalance_ends = None;
        // Never negative: a member would take that for "no generation".
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.changed_ms = context.now_ms;
        if self.members.is_empty() {
            self.become_empty(context);
            return;
        }
        self.protocol = self.select_protocol();
        self.state = State::CompletingRebalance;
        context.effects.entries.push(self.entry(context.name));
        let ids: Vec<String> = self.in_order().map(|(id, _)| id.clone()).collect();
        for id in ids {
            let response = self.join_answer(&id);
            let member = self.members.get_mut(&id).expect("listed above");
            if let Some(ticket) = member.joining.take() {
                member.expires = context.now + member.session_timeout;
                context.effects.answers.push((ticket, response));
            }
        }
        self.sync_ends = Some(context.now + self.longest_rebalance_timeout());
    }

    fn become_empty(&mut self, context: &mut Context<'_>) {
        self.state = State::Empty;
        self.protocol = None;
        self.leader = None;
        self.rebalance_ends = None;
        self.sync_ends = None;
        self.gathering_until = None;
        self.changed_ms = context.now_ms;
        context.effects.entries.push(self.entry(context.name));
    }

    fn become_stable(&mut self, now: Duration, effects: &mut Effects) {
        self.state = State::Stable;
        self.sync_ends = None;
        let waiting: Vec<(String, Ticket)> = self
            .members
            .iter_mut()
            .filter_map(|(id, member)| member.syncing.take().map(|ticket| (id.clone(), ticket)))
            .collect();
        for (id, ticket) in waiting {
            self.touch(&id, now);
            effects.answers.push((ticket, self.assignment_of(&id)));
        }
    }

    /// A member goes of its own will.
    fn leave(
        &mut self,
        context: &mut Context<'_>,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ResponseError> {
        let id = match instance_id {
            Some(instance) => {
                let known = self.static_members.get(instance).ok_or(ResponseError::UnknownMemberId)?;
                // An administrator names the instance only.
                if !member_id.is_empty() && known != member_id {
                    return Err(ResponseError::FencedInstanceId);
                }
                known.clone()
            }
            None => member_id.to_owned(),
        };
        if self.pending.remove(&id).is_some() {
            self.end_rebalance_if_complete(context);
            return Ok(());
        }
        if !self.members.contains_key(&id) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.remove(context, &id);
        Ok(())
    }

    /// Takes a member out of the group; the others share what it had.
    fn remove(&mut self, context: &mut Context<'_>, id: &str) {
        let Some(member) = self.forget(id) else {
            return;
        };
        if let Some(ticket) = member.joining {
            context.effects.answers.push((ticket, join_error(ResponseError::UnknownMemberId, id)));
        }
        if let Some(ticket) = member.syncing {
            context.effects.answers.push((ticket, sync_error(ResponseError::UnknownMemberId)));
        }
        match self.state {
            State::Empty => {}
            State::PreparingRebalance => self.end_rebalance_if_complete(context),
            State::CompletingRebalance | State::Stable => self.rebalance(context),
        }
    }

    fn forget(&mut self, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        if let Some(instance) = &member.instance_id
            && self.static_members.get(instance).is_some_and(|known| known == id)
        {
            self.static_members.remove(instance);
        }
        if self.leader.as_deref() == Some(id) {
            let eldest = self.in_order().next().map(|(id, _)| id.clone());
            self.leader = eldest;
        }
        Some(member)
    }

    fn in_order(&self) -> impl Iterator<Item = (&String, &Member)> {
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(_, member)| member.order);
        members.into_iter()
    }

    pub(super) fn longest_rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// The protocol that all members speak and most of them like best.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let common =
            |name: &String| self.members.values().all(|member| member.protocols.iter().any(|(known, _)| known == name));
        let mut votes: Vec<(&String, usize)> = Vec::new();
        for (_, member) in self.in_order() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common(name)) {
                match votes.iter_mut().find(|(candidate, _)| *candidate == name) {
                    Some((_, count)) => *count += 1,
                    None => votes.push((name, 1)),
                }
            }
        }
        let most = votes.iter().map(|(_, count)| *count).max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }

    fn join_response(&self, id: &str) -> JoinGroupResponse {
        let is_leader = self.leader.as_deref() == Some(id);
        let protocol = self.protocol.clone().unwrap_or_default();
        let members = if is_leader {
            self.in_order()
                .map(|(id, member)| {
                    JoinGroupResponseMember::default()
                        .with_member_id(id.clone().into())
                        .with_group_instance_id(member.instance_id.clone().map(StrBytes::from))
                        .with_metadata(member.metadata(&protocol))
                })
                .collect()
        } else {
            Vec::new()
        };
        JoinGroupResponse::default()
            .with_generation_id(self.generation)
            .with_protocol_type(self.protocol_type.clone().map(StrBytes::from))
            .with_protocol_name(Some(protocol.into()))
            .with_leader(self.leader.clone().unwrap_or_default().into())
            .with_member_id(id.to_owned().into())
            .with_members(members)
    }

    fn join_answer(&self, id: &str) -> ResponseKind {
        ResponseKind::JoinGroup(self.join_response(id))
    }

    fn assignment_of(&self, id: &str) -> ResponseKind {
        let assignment = self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default();
        ResponseKind::SyncGroup(
            SyncGroupResponse::default()
                .with_protocol_type(self.protocol_type.clone().map(StrBytes::from))
                .with_protocol_name(self.protocol.clone().map(StrBytes::from))
                .with_assignment(assignment),
        )
    }
}

pub(super) fn join_error(error: ResponseError, member_id: &str) -> ResponseKind {
    ResponseKind::JoinGroup(
        JoinGroupResponse::default()
            .with_error_code(code(error))
            .with_generation_id(-1)
            .with_protocol_name(None)
            .with_member_id(member_id.to_owned().into()),
    )
}

pub(super) fn sync_error(error: ResponseError) -> ResponseKind {
    ResponseKind::SyncGroup(SyncGroupResponse::default().with_error_code(code(error)))
}

fn millis(value: i32) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or(0))
}
