//! Groups of the consumer protocol (KIP-848): the broker assigns partitions, members follow by their heartbeats.
//!
//! A group has an epoch that grows with every change of members or subscriptions; of each epoch there is a target, what everybody is to read;
//! each member goes towards it at its own pace (`reconcile`). Pure, like the rest of [`super`]; every change of a member or group is a journal
//! entry, so that after a restart members go on with the epochs they have. Targets are computed at once, and regular expressions are
//! resolved at once; Apache Kafka may answer first and do that a little later. Members that
//! still speak the classic protocol may be in the group too, and are assigned like the others. Read on in `heartbeat`, `assign` and `reconcile`, and for
//! groups on their way from one protocol to the other in `classic` and `convert`.
//! Counterpart of Apache Kafka's `ConsumerGroup`.

mod assign;
mod classic;
mod convert;
mod heartbeat;
mod reconcile;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use assign::ASSIGNORS;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::Groups;
use crate::journal::{ClassicMemberEntry, ConsumerMemberEntry, Entry};

pub(super) use classic::Timeouts;
pub(crate) use heartbeat::Beat;

/// Partitions by the ids of their topics.
pub(crate) type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;
/// Partitions that a member has, each with the epoch in which it got them.
pub(crate) type Held = BTreeMap<Uuid, BTreeMap<i32, i32>>;
/// Why a member is refused, for it and for people.
pub(crate) type Refusal = (ResponseError, String);

/// The epoch of a static member that has left and will come back.
const GONE_FOR_NOW: i32 = -2;

/// The topics that there are.
pub(crate) trait TopicDirectory {
    /// Id and number of partitions.
    fn find(&self, name: &str) -> Option<(Uuid, i32)>;

    /// The name of the topic of that id.
    fn name(&self, id: Uuid) -> Option<&str>;

    /// Calls `visit` with the name of every topic.
    fn each_name(&self, visit: &mut dyn FnMut(&str));

    /// A number that grows whenever topics or partitions come or go.
    fn changes(&self) -> u64;
}

/// How far a member is on its way to the target. The numbers go into the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It reads what the target of its epoch says.
    Stable = 0,
    /// It must give up partitions first.
    Unrevoked = 1,
    /// It waits for partitions that others have not yet given up.
    Unreleased = 2,
}

/// What a member has besides that speaks the classic protocol: it joins, syncs and beats as in a classic group.
#[derive(Debug, Clone, PartialEq)]
struct ClassicSide {
    session_timeout: Duration,
    /// Protocols that it speaks, best first, each with its subscription.
    protocols: Vec<(String, Bytes)>,
    /// When it must have joined again, once it was told to.
    join_ends: Option<Duration>,
    /// When it must have asked for its assignment, once it has joined.
    sync_ends: Option<Duration>,
}

/// A member.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ConsumerMember {
    pub(crate) instance_id: Option<String>,
    pub(crate) rack_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    rebalance_timeout: Duration,
    server_assignor: Option<String>,
    /// Topics it wants to read, by name.
    pub(crate) topics: BTreeSet<String>,
    /// Topics it wants to read, by pattern; empty for none.
    pub(crate) regex: String,
    pub(crate) epoch: i32,
    previous_epoch: i32,
    state: MemberState,
    /// What it may read.
    pub(crate) assigned: Held,
    /// What it must give up.
    revoking: Held,
    /// What it is to read in the end.
    pub(crate) target: Partitions,
    /// When it is taken for dead.
    expires: Duration,
    /// When it must have given up what it is to give up.
    revocation_ends: Option<Duration>,
    /// There if it speaks the classic protocol.
    classic: Option<ClassicSide>,
}

impl ConsumerMember {
    fn new() -> Self {
        Self {
            instance_id: None,
            rack_id: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout: Duration::ZERO,
            server_assignor: None,
            topics: BTreeSet::new(),
            regex: String::new(),
            epoch: 0,
            previous_epoch: 0,
            state: MemberState::Stable,
            assigned: Held::new(),
            revoking: Held::new(),
            target: Partitions::new(),
            expires: Duration::ZERO,
            revocation_ends: None,
            classic: None,
        }
    }

    /// What others cannot have: what it may read, and what it has yet to give up.
    pub(crate) fn has(&self) -> Partitions {
        let mut partitions = Partitions::new();
        for (topic, list) in self.assigned.iter().chain(&self.revoking) {
            partitions.entry(*topic).or_default().extend(list.keys());
        }
        partitions
    }

    /// Whether it speaks the classic protocol.
    pub(crate) fn is_classic(&self) -> bool {
        self.classic.is_some()
    }

    /// The error for an epoch that the member does not have, which to the classic protocol is a generation.
    fn wrong_epoch(&self) -> ResponseError {
        if self.is_classic() { ResponseError::IllegalGeneration } else { ResponseError::StaleMemberEpoch }
    }

    /// When something about it is overdue: silence, partitions to give up, a join or a sync.
    fn deadlines(&self) -> impl Iterator<Item = Duration> {
        let classic = self.classic.iter().flat_map(|classic| [classic.join_ends, classic.sync_ends]);
        [Some(self.expires), self.revocation_ends].into_iter().chain(classic).flatten()
    }

    fn move_to(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }

    fn is_at(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }

    /// Whether everything that the journal keeps of two members is the same.
    fn is_same(&self, other: &Self) -> bool {
        let timeless = |member: &Self| {
            let classic = member.classic.clone();
            let classic = classic.map(|classic| ClassicSide { join_ends: None, sync_ends: None, ..classic });
            Self { expires: Duration::ZERO, revocation_ends: None, classic, ..member.clone() }
        };
        timeless(self) == timeless(other)
    }

    fn entry(&self, group: &str, id: &str) -> Entry {
        Entry::ConsumerMember {
            group: group.to_owned(),
            member: Box::new(ConsumerMemberEntry {
                id: id.to_owned(),
                instance_id: self.instance_id.clone(),
                rack_id: self.rack_id.clone(),
                client_id: self.client_id.clone(),
                client_host: self.client_host.clone(),
                rebalance_timeout_ms: i64::try_from(self.rebalance_timeout.as_millis()).unwrap_or(i64::MAX),
                server_assignor: self.server_assignor.clone(),
                topics: self.topics.clone(),
                regex: self.regex.clone(),
                epoch: self.epoch,
                previous_epoch: self.previous_epoch,
                state: self.state as u8,
                assigned: self.assigned.clone(),
                revoking: self.revoking.clone(),
                target: self.target.clone(),
                classic: self.classic.as_ref().map(|classic| ClassicMemberEntry {
                    session_timeout_ms: i64::try_from(classic.session_timeout.as_millis()).unwrap_or(i64::MAX),
                    protocols: classic.protocols.clone(),
                }),
            }),
        }
    }

    fn of_entry(entry: ConsumerMemberEntry) -> Self {
        Self {
            instance_id: entry.instance_id,
            rack_id: entry.rack_id,
            client_id: entry.client_id,
            client_host: entry.client_host,
            rebalance_timeout: Duration::from_millis(u64::try_from(entry.rebalance_timeout_ms).unwrap_or(0)),
            server_assignor: entry.server_assignor,
            topics: entry.topics,
            regex: entry.regex,
            epoch: entry.epoch,
            previous_epoch: entry.previous_epoch,
            state: match entry.state {
                1 => MemberState::Unrevoked,
                2 => MemberState::Unreleased,
                _ => MemberState::Stable,
            },
            assigned: entry.assigned,
            revoking: entry.revoking,
            target: entry.target,
            expires: Duration::ZERO,
            revocation_ends: None,
            classic: entry.classic.map(|classic| ClassicSide {
                session_timeout: Duration::from_millis(u64::try_from(classic.session_timeout_ms).unwrap_or(0)),
                protocols: classic.protocols,
                join_ends: None,
                sync_ends: None,
            }),
        }
    }
}

/// What makes a group one of the consumer protocol.
#[derive(Debug, Default, Clone)]
pub(crate) struct ConsumerGroup {
    pub(crate) epoch: i32,
    /// The epoch that the members' targets are of.
    pub(crate) target_epoch: i32,
    pub(crate) members: BTreeMap<String, ConsumerMember>,
    static_members: BTreeMap<String, String>,
    /// Topics that each pattern of a member stands for.
    resolved: BTreeMap<String, BTreeSet<String>>,
    /// Topics that are read, as they were when last looked at: id and number of partitions.
    topics: BTreeMap<Uuid, i32>,
    /// The state of the directory then.
    seen_changes: Option<u64>,
}

impl ConsumerGroup {
    /// The group's state by its Kafka name.
    pub(crate) fn state_name(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self.members.values().all(|member| member.is_at(self.target_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// The assignor that most members ask for.
    pub(crate) fn assignor(&self) -> &str {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for name in self.members.values().filter_map(|member| member.server_assignor.as_deref()) {
            *votes.entry(name).or_default() += 1;
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map_or(ASSIGNORS[0], |(name, _)| name)
    }

    /// Whether a member reads the topic, by name or by pattern.
    pub(crate) fn reads(&self, topic: &str) -> bool {
        self.members.values().any(|member| self.topics_of(member).any(|name| name == topic))
    }

    fn topics_of<'a>(&'a self, member: &'a ConsumerMember) -> impl Iterator<Item = &'a String> {
        let by_pattern = self.resolved.get(&member.regex);
        member.topics.iter().chain(by_pattern.into_iter().flatten())
    }

    /// The member of that id, if it knows its epoch.
    pub(crate) fn check_epoch(&self, member_id: &str, epoch: i32) -> Result<(), ResponseError> {
        let member = self.members.get(member_id).ok_or(ResponseError::UnknownMemberId)?;
        if member.epoch == epoch { Ok(()) } else { Err(member.wrong_epoch()) }
    }

    /// Whether a member may commit for a partition: in its epoch, or in one before if it has had the partition since then.
    pub(crate) fn check_commit(
        &self,
        member_id: &str,
        epoch: i32,
        topic: Uuid,
        partition: i32,
    ) -> Result<(), ResponseError> {
        let member = self.members.get(member_id).ok_or(ResponseError::UnknownMemberId)?;
        if epoch == member.epoch {
            return Ok(());
        }
        let since = [&member.assigned, &member.revoking].into_iter().find_map(|held| held.get(&topic)?.get(&partition));
        match since {
            Some(since) if epoch < member.epoch && epoch >= *since => Ok(()),
            _ => Err(member.wrong_epoch()),
        }
    }

    fn is_taken(&self, topic: Uuid, partition: i32) -> bool {
        self.members.values().any(|member| {
            reconcile::holds(&member.assigned, topic, partition) || reconcile::holds(&member.revoking, topic, partition)
        })
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.members.values().flat_map(ConsumerMember::deadlines).min()
    }

    /// After the journal was played: members have all of their time to be heard of again.
    pub(super) fn resume(&mut self, now: Duration, session_timeout: Duration) {
        for member in self.members.values_mut() {
            let session_timeout = member.classic.as_ref().map_or(session_timeout, |classic| classic.session_timeout);
            member.expires = now + session_timeout;
            // Every partition that is read is somebody's target: so this is what was read when they were computed.
            for (topic, partitions) in &member.target {
                *self.topics.entry(*topic).or_default() += i32::try_from(partitions.len()).unwrap_or(i32::MAX);
            }
            let revokes = member.state == MemberState::Unrevoked && !member.is_classic();
            member.revocation_ends = revokes.then_some(now + member.rebalance_timeout);
        }
    }

    pub(super) fn entry(&self, group: &str, changed_ms: i64) -> Entry {
        Entry::ConsumerGroup { group: group.to_owned(), epoch: self.epoch, target_epoch: self.target_epoch, changed_ms }
    }

    pub(super) fn snapshot(&self, group: &str, entries: &mut Vec<Entry>) {
        entries.extend(self.members.iter().map(|(id, member)| member.entry(group, id)));
    }

    pub(super) fn play_member(&mut self, entry: ConsumerMemberEntry) {
        let id = entry.id.clone();
        let member = ConsumerMember::of_entry(entry);
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        self.members.insert(id, member);
    }

    /// Takes a member out; the group's epoch is the caller's.
    pub(super) fn forget(&mut self, id: &str) -> Option<ConsumerMember> {
        let member = self.members.remove(id)?;
        if let Some(instance) = &member.instance_id
            && self.static_members.get(instance).is_some_and(|known| known == id)
        {
            self.static_members.remove(instance);
        }
        Some(member)
    }
}

impl Groups {
    /// How long members of a consumer group may be silent.
    pub(crate) fn consumer_session_timeout(&self, group: &str) -> Duration {
        self.consumer_setting(group, "consumer.session.timeout.ms").unwrap_or(self.limits.consumer_session_timeout)
    }

    /// How often members of a consumer group are told to beat.
    pub(crate) fn consumer_heartbeat_interval(&self, group: &str) -> Duration {
        self.consumer_setting(group, "consumer.heartbeat.interval.ms")
            .unwrap_or(self.limits.consumer_heartbeat_interval)
    }

    fn consumer_setting(&self, group: &str, name: &str) -> Option<Duration> {
        let value = self.configs.get(group)?.0.get(name)?;
        value.trim().parse().ok().map(Duration::from_millis)
    }
}
