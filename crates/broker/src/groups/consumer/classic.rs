//! Members of a consumer group that speak the classic protocol: they join, sync, beat and leave as in a classic group.
//!
//! Nobody waits for anybody here. A join is answered at once, with the member's epoch as the generation and without a leader; a sync hands out what the
//! broker has assigned; a heartbeat says when to join again. Counterpart of the `classicGroup…ToConsumerGroup` of Apache Kafka's `GroupMetadataManager`.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, ResponseKind, SyncGroupRequest, SyncGroupResponse,
};
use kurier_kafka::wire::decode_consumer_subscription;

use super::super::member::{Context, JoinerInfo, KNOWN_MEMBER_VERSION};
use super::super::{Effects, Group, Groups, Limits};
use super::convert::{CONSUMER, by_id, in_bytes, read_by};
use super::heartbeat::{Found, check_instance};
use super::reconcile::holds;
use super::{ClassicSide, ConsumerGroup, ConsumerMember, MemberState, Partitions, TopicDirectory};
use crate::broker::{Ticket, code};

/// How long a member of the classic protocol may be silent, and how long it may take to join and to sync.
pub(in crate::groups) struct Timeouts {
    pub(in crate::groups) session: Duration,
    pub(in crate::groups) rebalance: Duration,
}

impl Groups {
    /// A member of the classic protocol joins a consumer group that has members.
    pub(in crate::groups) fn join_consumers(
        &mut self,
        (now, now_ms): (Duration, i64),
        info: &JoinerInfo,
        request: JoinGroupRequest,
        timeouts: &Timeouts,
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) -> Result<(), ResponseError> {
        let name = request.group_id.to_string();
        let limits = self.limits.clone();
        let group = self.groups.get_mut(&name).ok_or(ResponseError::UnknownMemberId)?;
        let consumer = group.consumer.as_ref().ok_or(ResponseError::UnknownMemberId)?;
        let has_no_id = request.member_id.is_empty();
        let id =
            if has_no_id { uuid::Uuid::from_u128(info.fresh_id).to_string() } else { request.member_id.to_string() };
        if consumer.members.len() >= limits.consumer_max_size && !consumer.members.contains_key(&id) {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        let protocols: Vec<(String, Bytes)> =
            request.protocols.into_iter().map(|protocol| (protocol.name.to_string(), protocol.metadata)).collect();
        let Some((protocol, metadata)) = protocols.first().cloned().filter(|_| {
            request.protocol_type.as_str() == CONSUMER && protocols.iter().any(|(name, _)| consumer.speaks(name))
        }) else {
            return Err(ResponseError::InconsistentGroupProtocol);
        };
        let instance = request.group_instance_id.as_ref().map(|id| id.to_string());
        if instance.is_none() && has_no_id && info.version >= KNOWN_MEMBER_VERSION {
            let response = JoinGroupResponse::default()
                .with_error_code(code(ResponseError::MemberIdRequired))
                .with_generation_id(-1)
                .with_protocol_name(None)
                .with_member_id(id.into());
            effects.answers.push((info.ticket, ResponseKind::JoinGroup(response)));
            return Ok(());
        }
        let before = consumer.find_classic(&id, instance.as_deref(), has_no_id)?;
        // All protocols say the same; one that says nothing is an error that Apache Kafka does not expect.
        let subscription = decode_consumer_subscription(metadata).map_err(|_| ResponseError::UnknownServerError)?;
        // From here on nothing is refused.
        effects.keep_replaced(&name, group, info.ticket);
        let owned = subscription.owned_partitions.iter();
        let owned = by_id(owned.map(|topic| (topic.topic.as_str(), topic.partitions.as_slice())), topics);
        let mut member = before.member.clone();
        member.instance_id = instance.clone().or(member.instance_id);
        let rack = subscription.rack_id.filter(|rack| !rack.is_empty());
        member.rack_id = rack.map(|rack| rack.to_string()).or(member.rack_id);
        member.rebalance_timeout = timeouts.rebalance;
        member.topics = subscription.topics.iter().map(|name| name.to_string()).collect();
        member.regex = String::new();
        member.client_id.clone_from(&info.client_id);
        member.client_host.clone_from(&info.client_host);
        member.expires = now + timeouts.session;
        member.revocation_ends = None;
        let sync_ends = Some(now + timeouts.rebalance);
        member.classic = Some(ClassicSide { session_timeout: timeouts.session, protocols, join_ends: None, sync_ends });
        let epoch = if group.is_last_consumer(&name, instance.as_deref(), &limits) {
            let mut context = Context { name: &name, now, now_ms, limits: &limits, effects };
            group.replace_last_consumer(&mut context, &id, before, member, &owned, topics)
        } else {
            let advanced = self.advance((now, now_ms), (&name, &id), before, (member, Some(owned)), topics, effects);
            advanced.map_err(|(error, _)| error)?.member.epoch
        };
        let response = JoinGroupResponse::default()
            .with_generation_id(epoch)
            .with_protocol_type(Some(CONSUMER.into()))
            .with_protocol_name(Some(protocol.into()))
            .with_member_id(id.into());
        effects.answers.push((info.ticket, ResponseKind::JoinGroup(response)));
        Ok(())
    }

    /// A member of the classic protocol asks for what it may read.
    pub(in crate::groups) fn sync_consumers(
        &mut self,
        now: Duration,
        ticket: Ticket,
        request: SyncGroupRequest,
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) -> Result<(), ResponseError> {
        let name = request.group_id.as_str();
        let (_, group) = self.known_consumer_group(name).map_err(|_| ResponseError::UnknownMemberId)?;
        let epoch = group.epoch;
        let member = group.classic_member(&request.member_id, request.group_instance_id.as_deref())?;
        let read = read_by(member);
        let ConsumerMember { classic: Some(classic), expires, .. } = member else {
            return Err(ResponseError::UnknownMemberId);
        };
        if member.epoch != request.generation_id {
            return Err(ResponseError::IllegalGeneration);
        }
        let (protocol, metadata) = classic.protocols.first().ok_or(ResponseError::UnknownServerError)?;
        let differs = |asked: Option<&str>, is: &str| asked.is_some_and(|asked| asked != is);
        if differs(request.protocol_type.as_deref(), CONSUMER) || differs(request.protocol_name.as_deref(), protocol) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        // One that has to give up partitions does so first, and joins again when it has.
        if epoch > member.epoch && member.state != MemberState::Unrevoked {
            classic.join_ends.get_or_insert(now + member.rebalance_timeout);
            return Err(ResponseError::RebalanceInProgress);
        }
        classic.sync_ends = None;
        *expires = now + classic.session_timeout;
        let response = SyncGroupResponse::default()
            .with_assignment(in_bytes(Some(&read), metadata, topics))
            .with_protocol_type(request.protocol_type)
            .with_protocol_name(request.protocol_name);
        effects.answers.push((ticket, ResponseKind::SyncGroup(response)));
        Ok(())
    }

    /// A member of the classic protocol says that it lives; the error says that it has to join again.
    pub(in crate::groups) fn heartbeat_consumers(
        &mut self,
        now: Duration,
        request: &HeartbeatRequest,
    ) -> Result<(), ResponseError> {
        let known = self.known_consumer_group(&request.group_id);
        let (_, group) = known.map_err(|_| ResponseError::UnknownMemberId)?;
        let epoch = group.epoch;
        let waits = group.members.get(request.member_id.as_str()).is_some_and(|member| group.waits_for_others(member));
        let member = group.classic_member(&request.member_id, request.group_instance_id.as_deref())?;
        let ConsumerMember { classic: Some(classic), expires, .. } = member else {
            return Err(ResponseError::UnknownMemberId);
        };
        if member.epoch != request.generation_id {
            return Err(ResponseError::IllegalGeneration);
        }
        *expires = now + classic.session_timeout;
        let joins = match member.state {
            _ if member.epoch < epoch => true,
            MemberState::Stable => false,
            // It gives up what it was not handed out again, and says so when it joins.
            MemberState::Unrevoked => true,
            MemberState::Unreleased => !waits,
        };
        if !joins {
            return Ok(());
        }
        classic.join_ends.get_or_insert(now + member.rebalance_timeout);
        self.reschedule();
        Err(ResponseError::RebalanceInProgress)
    }

    /// Members of a consumer group leave by the means of the classic protocol, whichever they speak; returns what becomes of each.
    pub(in crate::groups) fn leave_consumers(
        &mut self,
        (now, now_ms): (Duration, i64),
        name: &str,
        leaving: &[MemberIdentity],
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) -> Vec<Result<(), ResponseError>> {
        let mut ids = BTreeSet::new();
        let results = leaving
            .iter()
            .map(|leaving| {
                let (_, group) = self.known_consumer_group(name).map_err(|_| ResponseError::UnknownMemberId)?;
                let id = match leaving.group_instance_id.as_deref() {
                    None => leaving.member_id.to_string(),
                    Some(instance) => {
                        let known = group.static_member(instance).map_err(|(error, _)| error)?;
                        // An administrator names the instance only.
                        if !leaving.member_id.is_empty() {
                            check_instance(&known, &leaving.member_id, instance).map_err(|(error, _)| error)?;
                        }
                        known
                    }
                };
                if !group.members.contains_key(&id) {
                    return Err(ResponseError::UnknownMemberId);
                }
                ids.insert(id);
                Ok(())
            })
            .collect();
        if !ids.is_empty() {
            self.keep(name, effects);
            self.remove_consumers(name, &ids, (now, now_ms), topics, effects);
        }
        results
    }
}

impl Group {
    /// Whether the instance that joins in the classic protocol takes the place of the last member of the consumer protocol.
    fn is_last_consumer(&self, name: &str, instance: Option<&str>, limits: &Limits) -> bool {
        let known = |consumer: &ConsumerGroup| consumer.static_members.get(instance?).cloned();
        self.consumer.as_ref().and_then(|consumer| Some((consumer, known(consumer)?))).is_some_and(
            |(consumer, known)| {
                consumer.members.get(&known).is_some_and(|member| !member.is_classic())
                    && consumer.may_downgrade(name, consumer.members.len(), limits, |id| id == known)
            },
        )
    }

    /// Takes in the member that replaces the last one of the consumer protocol; all of them are a classic group then. Returns its epoch.
    fn replace_last_consumer(
        &mut self,
        context: &mut Context<'_>,
        id: &str,
        before: Found,
        member: ConsumerMember,
        owned: &Partitions,
        topics: &dyn TopicDirectory,
    ) -> i32 {
        let Some(consumer) = &mut self.consumer else { return member.epoch };
        let subscribes = member.topics != before.member.topics || member.regex != before.member.regex;
        if let Some(old_id) = &before.replaces {
            consumer.forget(old_id);
        }
        consumer.take(id, member);
        if !subscribes {
            let member = consumer.reconcile(context.now, id, Some(owned));
            consumer.take(id, member);
        }
        let epoch = consumer.members.get(id).map_or(0, |member| member.epoch);
        // Members that are not yet where they were to be would never hear of it: they join again. (Apache Kafka leaves them.)
        let rebalances = subscribes || !consumer.members.values().all(|member| member.is_at(consumer.epoch));
        self.downgrade(context, rebalances, topics);
        epoch
    }
}

impl ConsumerGroup {
    /// Whether all members of the classic protocol speak the protocol of that name.
    fn speaks(&self, protocol: &str) -> bool {
        let mut classic = self.members.values().filter_map(|member| member.classic.as_ref());
        classic.all(|classic| classic.protocols.iter().any(|(name, _)| name == protocol))
    }

    /// The member that joins in the classic protocol, as it was. One with an id that nobody has is taken in.
    fn find_classic(&self, id: &str, instance: Option<&str>, has_no_id: bool) -> Result<Found, ResponseError> {
        let known = |id: &str| self.members.get(id);
        let Some(instance) = instance else {
            return Ok(known(id).map_or_else(Found::newcomer, Found::same));
        };
        match self.static_members.get(instance) {
            None if has_no_id => Ok(Found::newcomer()),
            None => Err(ResponseError::UnknownMemberId),
            Some(other) => {
                let member = known(other).ok_or(ResponseError::UnknownMemberId)?;
                if has_no_id {
                    Ok(Found::successor(other.clone(), member))
                } else if other == id {
                    Ok(Found::same(member))
                } else {
                    Err(ResponseError::FencedInstanceId)
                }
            }
        }
    }

    /// The member, if the instance that it says to be is its own.
    fn classic_member(&mut self, id: &str, instance: Option<&str>) -> Result<&mut ConsumerMember, ResponseError> {
        if let Some(instance) = instance {
            let known = self.static_member(instance).map_err(|(error, _)| error)?;
            check_instance(&known, id, instance).map_err(|(error, _)| error)?;
        }
        self.members.get_mut(id).ok_or(ResponseError::UnknownMemberId)
    }

    /// Whether others have not yet given up what the member is to read.
    fn waits_for_others(&self, member: &ConsumerMember) -> bool {
        member.target.iter().any(|(topic, list)| {
            list.iter()
                .any(|partition| !holds(&member.assigned, *topic, *partition) && self.is_taken(*topic, *partition))
        })
    }
}
