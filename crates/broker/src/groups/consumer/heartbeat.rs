//! A member's heartbeat, in which it joins, follows, says what it reads and leaves; and what happens when none comes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_protocol::protocol::StrBytes;

use super::super::member::Context;
use super::super::{Effects, Group, Groups, State};
use super::assign::{ASSIGNORS, Reader, assign};
use super::reconcile::reconcile;
use super::{ConsumerGroup, ConsumerMember, GONE_FOR_NOW, Held, MemberState, Partitions, Refusal, TopicDirectory};
use crate::journal::Entry;
use crate::re2::Pattern;

/// The epoch of a member that joins, and of one that leaves for good.
const JOINING: i32 = 0;
const LEAVING: i32 = -1;
/// The epoch of a new group.
const FIRST_EPOCH: i32 = 1;
/// First version in which members choose their ids.
const OWN_ID_VERSION: i16 = 1;

/// Who sends a heartbeat and when, beside what the request says.
pub(crate) struct Beat {
    pub(crate) now: Duration,
    pub(crate) now_ms: i64,
    pub(crate) version: i16,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    /// A fresh random number, for the id of a new member.
    pub(crate) fresh_id: u128,
}

impl Groups {
    /// A member beats.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        beat: &Beat,
        request: &ConsumerGroupHeartbeatRequest,
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        check_request(beat.version, request)?;
        let response = if matches!(request.member_epoch, LEAVING | GONE_FOR_NOW) {
            self.consumer_leaves(beat, request, topics, effects)
        } else {
            self.consumer_beats(beat, request, topics, effects)
        };
        if response.is_err() {
            // Whoever was refused has changed nothing.
            self.forget_change(effects);
        }
        self.reschedule();
        response
    }

    fn consumer_beats(
        &mut self,
        beat: &Beat,
        request: &ConsumerGroupHeartbeatRequest,
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let name = request.group_id.to_string();
        let (session_timeout, interval) =
            (self.consumer_session_timeout(&name), self.consumer_heartbeat_interval(&name));
        let max_size = self.limits.consumer_max_size;
        let joins = request.member_epoch == JOINING;
        if self.groups.get(&name).is_none_or(|group| group.consumer.is_none()) {
            self.keep(&name, effects);
        }
        let group = self.consumer_group(beat, &name, joins, topics, effects)?;
        let mut id = request.member_id.to_string();
        if group.members.len() >= max_size && !group.members.contains_key(&id) {
            let reason = format!("The consumer group has reached its maximum capacity of {max_size} members.");
            return Err((ResponseError::GroupMaxSizeReached, reason));
        }
        if id.is_empty() {
            id = uuid::Uuid::from_u128(beat.fresh_id).to_string();
        }
        let owned = request.topic_partitions.as_ref().map(|list| {
            let mut owned = Partitions::new();
            for topic in list {
                owned.entry(topic.topic_id).or_default().extend(&topic.partitions);
            }
            owned
        });
        let before = group.find_member(&name, &id, request, owned.as_ref())?;
        let mut member = before.member.clone();
        update(&mut member, beat, request);
        if member.regex != before.member.regex {
            let pattern = &member.regex;
            Pattern::new(pattern).map_err(|error| {
                let reason = format!("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {error}.");
                (ResponseError::InvalidRegularExpression, reason)
            })?;
        }
        // From here on nothing is refused.
        member.expires = beat.now + session_timeout;
        let at = (beat.now, beat.now_ms);
        let Advanced { member, is_other } = self.advance(at, (&name, &id), before, (member, owned), topics, effects)?;
        let is_full = joins
            || (request.rebalance_timeout_ms != -1
                && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
                && request.topic_partitions.is_some());
        let assignment = (is_full || is_other).then(|| on_the_wire(&member.assigned));
        Ok(ConsumerGroupHeartbeatResponse::default()
            .with_error_message(None)
            .with_member_epoch(member.epoch)
            .with_member_id(Some(id.into()))
            .with_heartbeat_interval_ms(i32::try_from(interval.as_millis()).unwrap_or(i32::MAX))
            .with_assignment(assignment))
    }

    /// Takes `member`, as it wants to be, into its group in the place of what it was, and brings it as far as it can go.
    ///
    /// `owned` is what it says that it reads. For members of both protocols; nothing of it is refused.
    pub(super) fn advance(
        &mut self,
        (now, now_ms): (Duration, i64),
        (name, id): (&str, &str),
        before: Found,
        (member, owned): (ConsumerMember, Option<Partitions>),
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) -> Result<Advanced<'_>, Refusal> {
        let (_, group) = self.known_consumer_group(name)?;
        let subscribes = member.topics != before.member.topics || member.regex != before.member.regex;
        let looks = subscribes || before.is_new || group.seen_changes != Some(topics.changes());
        let is_alone = !looks && group.epoch <= group.target_epoch;
        if !is_alone {
            self.keep(name, effects);
        }
        let (_, group) = self.known_consumer_group(name)?;
        if let Some(old_id) = &before.replaces {
            group.forget(old_id);
            effects.entries.push(Entry::ConsumerMemberRemoved { group: name.to_owned(), member: old_id.clone() });
        }
        group.take(id, member);
        let epochs = (group.epoch, group.target_epoch);
        if looks {
            let changed = group.look_at_topics(topics);
            if subscribes || changed {
                group.epoch += 1;
            }
        }
        if group.epoch > group.target_epoch {
            let changed = group.compute_targets(topics);
            let others = changed.iter().filter(|changed| *changed != id);
            effects.entries.extend(others.filter_map(|other| Some(group.members.get(other)?.entry(name, other))));
        }
        let member = group.reconcile(now, id, owned.as_ref());
        let is_other = partitions_of(&member.assigned) != partitions_of(&before.member.assigned);
        let epochs_changed = epochs != (group.epoch, group.target_epoch);
        if before.is_new || !member.is_same(&before.member) {
            effects.entries.push(member.entry(name, id));
        }
        let is_new = before.is_new;
        if is_alone {
            effects.keep_member(name, id, before.member);
        }
        group.members.insert(id.to_owned(), member);
        if let (true, Some(found)) = (epochs_changed || is_new, self.groups.get_mut(name)) {
            found.changed_ms = now_ms;
            // Said first: the members are those of this group.
            effects.entries.insert(0, found.entry(name));
        }
        let (_, group) = self.known_consumer_group(name)?;
        let member = group.members.get(id).ok_or_else(|| unknown_member(name, id))?;
        Ok(Advanced { member, is_other })
    }

    /// The group, which is made, or made one of this protocol, when a member may join it.
    fn consumer_group(
        &mut self,
        beat: &Beat,
        name: &str,
        joins: bool,
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) -> Result<&mut ConsumerGroup, Refusal> {
        let missing = || (ResponseError::GroupIdNotFound, format!("Consumer group {name} not found."));
        if !self.groups.contains_key(name) && !joins {
            return Err(missing());
        }
        let group = self.groups.entry(name.to_owned()).or_insert_with(|| Group::new(beat.now_ms));
        if group.consumer.is_none() {
            let empty = group.state == State::Empty && group.members.is_empty();
            if !joins {
                return Err((ResponseError::GroupIdNotFound, format!("Group {name} is not a consumer group.")));
            }
            if empty {
                // An id that was given out and not yet used is as good here.
                group.pending.clear();
                group.consumer = Some(ConsumerGroup { epoch: FIRST_EPOCH, ..ConsumerGroup::default() });
            } else {
                group.upgrade(beat.now, name, &self.limits, topics, effects)?;
            }
        }
        group.consumer.as_mut().ok_or_else(missing)
    }

    fn consumer_leaves(
        &mut self,
        beat: &Beat,
        request: &ConsumerGroupHeartbeatRequest,
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let name = request.group_id.to_string();
        let (_, group) = self.known_consumer_group(&name)?;
        let mut id = request.member_id.to_string();
        if let Some(instance) = &request.instance_id {
            let known = group.static_member(instance)?;
            check_instance(&known, &id, instance)?;
            id = known;
        } else if !group.members.contains_key(&id) {
            return Err(unknown_member(&name, &id));
        }
        self.keep(&name, effects);
        if request.member_epoch == GONE_FOR_NOW {
            let (_, group) = self.known_consumer_group(&name)?;
            if let Some(member) = group.members.get_mut(&id) {
                member.epoch = GONE_FOR_NOW;
                member.revoking = Held::new();
                member.revocation_ends = None;
                effects.entries.push(member.entry(&name, &id));
            }
        } else {
            self.remove_consumers(&name, &[id.clone()].into(), (beat.now, beat.now_ms), topics, effects);
        }
        Ok(ConsumerGroupHeartbeatResponse::default()
            .with_error_message(None)
            .with_member_id(Some(id.into()))
            .with_member_epoch(request.member_epoch)
            .with_assignment(None))
    }

    pub(super) fn known_consumer_group(&mut self, name: &str) -> Result<(&mut i64, &mut ConsumerGroup), Refusal> {
        let group = self
            .groups
            .get_mut(name)
            .ok_or_else(|| (ResponseError::GroupIdNotFound, format!("Group {name} not found.")))?;
        match &mut group.consumer {
            Some(consumer) => Ok((&mut group.changed_ms, consumer)),
            None => Err((ResponseError::GroupIdNotFound, format!("Group {name} is not a consumer group."))),
        }
    }

    /// Takes members out; the others learn what becomes of their partitions when they beat.
    ///
    /// When those who are left all speak the classic protocol, the group becomes a classic one and they have to join again.
    pub(super) fn remove_consumers(
        &mut self,
        name: &str,
        ids: &BTreeSet<String>,
        (now, now_ms): (Duration, i64),
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let Some(consumer) = &mut group.consumer else { return };
        let left = consumer.members.len().saturating_sub(ids.len());
        if left > 0 && consumer.may_downgrade(name, left, &self.limits, |id| ids.contains(id)) {
            ids.iter().for_each(|id| drop(consumer.forget(id)));
            let limits = &self.limits;
            group.downgrade(&mut Context { name, now, now_ms, limits, effects }, true, topics);
            return;
        }
        for id in ids {
            if consumer.forget(id).is_some() {
                effects.entries.push(Entry::ConsumerMemberRemoved { group: name.to_owned(), member: id.clone() });
            }
        }
        consumer.epoch += 1;
        group.changed_ms = now_ms;
        effects.entries.push(group.entry(name));
    }

    /// Members that were silent for too long, or do not give up what they must, are taken out.
    pub(in crate::groups) fn expire_consumers(
        &mut self,
        name: &str,
        (now, now_ms): (Duration, i64),
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) {
        let Some(consumer) = self.groups.get(name).and_then(|group| group.consumer.as_ref()) else { return };
        let due: Vec<String> = consumer
            .members
            .iter()
            .filter(|(_, member)| member.deadlines().any(|ends| ends <= now))
            .map(|(id, _)| id.clone())
            .collect();
        if !due.is_empty() {
            self.keep(name, effects);
        }
        for id in due {
            tracing::info!(group = name, member = %id, "member is removed: it did not beat, give up its partitions, join or sync in time");
            self.remove_consumers(name, &[id].into(), (now, now_ms), topics, effects);
        }
    }
}

/// The member that beats or joins, as it was.
pub(super) struct Found {
    pub(super) member: ConsumerMember,
    pub(super) is_new: bool,
    /// The id of the static member whose place it takes.
    pub(super) replaces: Option<String>,
}

impl Found {
    /// The member goes on as what it is.
    pub(super) fn same(member: &ConsumerMember) -> Self {
        Self { member: member.clone(), is_new: false, replaces: None }
    }

    /// Nobody was there before.
    pub(super) fn newcomer() -> Self {
        Self { member: ConsumerMember::new(), is_new: true, replaces: None }
    }

    /// It goes on where `member`, which had that id, was.
    pub(super) fn successor(known: String, member: &ConsumerMember) -> Self {
        let member = ConsumerMember { epoch: 0, previous_epoch: 0, state: MemberState::Stable, ..member.clone() };
        Self { member, is_new: true, replaces: Some(known) }
    }
}

/// A member that has gone as far as it can go.
pub(super) struct Advanced<'a> {
    pub(super) member: &'a ConsumerMember,
    /// Whether it may read other partitions than before.
    is_other: bool,
}

impl ConsumerGroup {
    fn find_member(
        &self,
        name: &str,
        id: &str,
        request: &ConsumerGroupHeartbeatRequest,
        owned: Option<&Partitions>,
    ) -> Result<Found, Refusal> {
        let joins = request.member_epoch == JOINING;
        if let Some(instance) = &request.instance_id {
            let known = match self.static_member(instance) {
                Err(_) if joins => return Ok(Found::newcomer()),
                known => known?,
            };
            let member = self.members.get(&known).ok_or_else(|| unknown_member(name, &known))?;
            if !joins {
                check_instance(&known, id, instance)?;
            } else if known != id || member.epoch == GONE_FOR_NOW || member.is_classic() {
                // One that speaks the classic protocol says nothing when it goes for now.
                if member.epoch != GONE_FOR_NOW && !member.is_classic() {
                    let reason = format!(
                        "Static member {id} with instance id {} cannot join the group because the instance id is owned by {known} member.",
                        instance.as_str()
                    );
                    return Err((ResponseError::UnreleasedInstanceId, reason));
                }
                return Ok(Found::successor(known.clone(), member));
            }
            check_epoch(member, request.member_epoch, owned)?;
            return Ok(Found::same(member));
        }
        match self.members.get(id) {
            Some(member) => {
                check_epoch(member, request.member_epoch, owned)?;
                Ok(Found::same(member))
            }
            None if joins => Ok(Found::newcomer()),
            None => Err(unknown_member(name, id)),
        }
    }

    /// Takes a member in, or in the place of the one that has its id.
    pub(super) fn take(&mut self, id: &str, member: ConsumerMember) {
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), id.to_owned());
        }
        self.members.insert(id.to_owned(), member);
    }

    /// Takes a member out of the group and brings it as far towards its target as it can go.
    pub(super) fn reconcile(&mut self, now: Duration, id: &str, owned: Option<&Partitions>) -> ConsumerMember {
        let mut member = self.members.remove(id).unwrap_or_else(ConsumerMember::new);
        // What it holds itself is not free either: it is counted with that of the others.
        let (held, gives_up) = (member.assigned.clone(), member.revoking.clone());
        let moved = reconcile(&mut member, self.target_epoch, owned, |topic, partition| {
            let of_mine = [&held, &gives_up].iter().any(|mine| super::reconcile::holds(mine, topic, partition));
            of_mine || self.is_taken(topic, partition)
        });
        if moved {
            // One that speaks the classic protocol is given time to join and to sync instead.
            let revokes = member.state == MemberState::Unrevoked && !member.is_classic();
            member.revocation_ends = revokes.then_some(now + member.rebalance_timeout);
        }
        member
    }

    pub(super) fn static_member(&self, instance: &str) -> Result<String, Refusal> {
        let unknown = || (ResponseError::UnknownMemberId, format!("Instance id {instance} is unknown."));
        self.static_members.get(instance).cloned().ok_or_else(unknown)
    }

    /// Resolves patterns and looks up what is read; true when that is other than it was.
    pub(super) fn look_at_topics(&mut self, directory: &dyn TopicDirectory) -> bool {
        let patterns: BTreeSet<&String> =
            self.members.values().map(|member| &member.regex).filter(|regex| !regex.is_empty()).collect();
        let mut resolved = BTreeMap::new();
        for pattern in patterns {
            let mut names = BTreeSet::new();
            // It was compiled before the member was taken.
            if let Ok(compiled) = Pattern::new(pattern) {
                directory.each_name(&mut |name| {
                    if compiled.matches(name) {
                        names.insert(name.to_owned());
                    }
                });
            }
            resolved.insert(pattern.clone(), names);
        }
        self.resolved = resolved;
        let members = self.members.values();
        let read = members.flat_map(|member| self.topics_of(member)).filter_map(|name| directory.find(name)).collect();
        self.seen_changes = Some(directory.changes());
        let changed = self.topics != read;
        self.topics = read;
        changed
    }

    /// Computes what everybody is to read in the group's epoch; returns the members for whom that changed.
    fn compute_targets(&mut self, directory: &dyn TopicDirectory) -> Vec<String> {
        let readers: Vec<Reader> = self
            .members
            .iter()
            .map(|(id, member)| Reader {
                id: id.clone(),
                instance_id: member.instance_id.clone(),
                topics: self.topics_of(member).filter_map(|name| Some(directory.find(name)?.0)).collect(),
                before: member.target.clone(),
            })
            .collect();
        let mut targets = assign(self.assignor(), &readers, &self.topics);
        let mut changed = Vec::new();
        for (id, member) in &mut self.members {
            let target = targets.remove(id).unwrap_or_default();
            if member.target != target {
                member.target = target;
                changed.push(id.clone());
            }
        }
        self.target_epoch = self.epoch;
        changed
    }
}

fn update(member: &mut ConsumerMember, beat: &Beat, request: &ConsumerGroupHeartbeatRequest) {
    let text = |value: &Option<StrBytes>| value.as_ref().map(|value| value.to_string());
    member.instance_id = text(&request.instance_id).or_else(|| member.instance_id.take());
    member.rack_id = text(&request.rack_id).or_else(|| member.rack_id.take());
    if let Ok(timeout) = u64::try_from(request.rebalance_timeout_ms) {
        member.rebalance_timeout = Duration::from_millis(timeout);
    }
    member.server_assignor = text(&request.server_assignor).or_else(|| member.server_assignor.take());
    if let Some(names) = &request.subscribed_topic_names {
        member.topics = names.iter().map(|name| name.to_string()).collect();
    }
    if let Some(regex) = &request.subscribed_topic_regex {
        member.regex = regex.to_string();
    }
    member.client_id.clone_from(&beat.client_id);
    member.client_host.clone_from(&beat.client_host);
    member.classic = None;
}

fn check_request(version: i16, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let invalid = |reason: &str| Err((ResponseError::InvalidRequest, reason.to_owned()));
    let is_empty = |value: &Option<StrBytes>| value.as_ref().is_some_and(|value| value.trim().is_empty());
    let no_id = request.member_id.trim().is_empty();
    if request.group_id.trim().is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if is_empty(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if is_empty(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    if no_id && version >= OWN_ID_VERSION {
        return invalid("MemberId can't be empty.");
    }
    match request.member_epoch {
        JOINING => {
            if request.rebalance_timeout_ms == -1 {
                return invalid("RebalanceTimeoutMs must be provided in first request.");
            }
            if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
                return invalid("TopicPartitions must be empty when (re-)joining.");
            }
            if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
                return invalid(
                    "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
                );
            }
        }
        epoch if epoch < GONE_FOR_NOW => return invalid("MemberEpoch is invalid."),
        _ if no_id => return invalid("MemberId can't be empty."),
        GONE_FOR_NOW if request.instance_id.is_none() => return invalid("InstanceId can't be null."),
        _ => {}
    }
    match &request.server_assignor {
        Some(assignor) if !ASSIGNORS.contains(&assignor.as_str()) => {
            let (asked, known) = (assignor.as_str(), ASSIGNORS.join(", "));
            let reason = format!("ServerAssignor {asked} is not supported. Supported assignors: {known}.");
            Err((ResponseError::UnsupportedAssignor, reason))
        }
        _ => Ok(()),
    }
}

fn check_epoch(member: &ConsumerMember, received: i32, owned: Option<&Partitions>) -> Result<(), Refusal> {
    let fenced = |how: &str| {
        let reason = format!(
            "The consumer group member has a {how} member epoch ({received}) than the one known by the group coordinator ({}). The member must abandon all its partitions and rejoin.",
            member.epoch
        );
        Err((ResponseError::FencedMemberEpoch, reason))
    };
    if received == JOINING {
        return Ok(()); // It begins anew.
    }
    if received > member.epoch {
        return fenced("greater");
    }
    // The answer with its new epoch may have been lost: then it has nothing that it should not have.
    let within = owned.is_some_and(|owned| {
        owned.iter().all(|(topic, list)| {
            list.is_empty()
                || member
                    .assigned
                    .get(topic)
                    .is_some_and(|assigned| list.iter().all(|partition| assigned.contains_key(partition)))
        })
    });
    if received < member.epoch && (received != member.previous_epoch || !within) {
        return fenced("smaller");
    }
    Ok(())
}

pub(super) fn check_instance(known: &str, id: &str, instance: &str) -> Result<(), Refusal> {
    if known == id {
        return Ok(());
    }
    let reason = format!("Static member {id} with instance id {instance} was fenced by member {known}.");
    Err((ResponseError::FencedInstanceId, reason))
}

pub(super) fn unknown_member(group: &str, id: &str) -> Refusal {
    (ResponseError::UnknownMemberId, format!("Member {id} is not a member of group {group}."))
}

fn partitions_of(held: &Held) -> Vec<(uuid::Uuid, Vec<i32>)> {
    held.iter().map(|(topic, list)| (*topic, list.keys().copied().collect())).collect()
}

fn on_the_wire(partitions: &Held) -> Assignment {
    let topics = partitions.iter().map(|(topic, list)| {
        TopicPartitions::default().with_topic_id(*topic).with_partitions(list.keys().copied().collect())
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
