//! Groups: who is a member, which generation it is, what each member was assigned, which offsets are committed.
//!
//! Pure: requests and time come in, answers and journal entries go out; nothing here looks at a protocol's metadata, so that groups of
//! any protocol type (`consumer`, `connect`, …) are served alike. A join or a sync that has to wait for other members is kept as a
//! [`Ticket`] with the member and answered later. Members of a stable generation are kept, so that a restart of the broker goes by unnoticed;
//! a rebalance that was under way is forgotten, and its members are told to join again.
//! Counterpart of Apache Kafka's `GroupCoordinator`. Read on in `member` (the classic protocol's joining and leaving), `consumer` (the newer
//! protocol of KIP-848), `offsets`, which groups of both have, and `undo`, which takes changes back that cannot be written. An empty group becomes
//! one of the protocol in which a member joins next; one with members is converted, where `group.consumer.migration.policy` allows it.

mod consumer;
mod member;
mod offsets;
mod undo;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ResponseKind;

use crate::broker::{Ticket, code};
use crate::config::{BrokerConfig, MigrationPolicy};
use crate::journal::{CommittedOffset, Entry, MemberEntry};
use crate::topic_config::Overrides;

pub(crate) use consumer::{Beat, ConsumerGroup, ConsumerMember, TopicDirectory};
pub(crate) use member::JoinerInfo;
use offsets::PendingOffsets;
pub(crate) use offsets::{Committer, MAX_OFFSET_METADATA};
use undo::Before;

/// A member whose join has been answered with nothing but its id, or who waits for a join, is given up after this time.
const NEW_MEMBER_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Bounds on what members may ask for.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) initial_delay: Duration,
    pub(crate) min_session_timeout: Duration,
    pub(crate) max_session_timeout: Duration,
    pub(crate) max_size: usize,
    pub(crate) consumer_max_size: usize,
    pub(crate) offsets_retention: Duration,
    pub(crate) consumer_session_timeout: Duration,
    pub(crate) consumer_heartbeat_interval: Duration,
    pub(crate) migration: MigrationPolicy,
}

impl From<&BrokerConfig> for Limits {
    fn from(config: &BrokerConfig) -> Self {
        Self {
            initial_delay: config.group_initial_rebalance_delay,
            min_session_timeout: config.group_min_session_timeout,
            max_session_timeout: config.group_max_session_timeout,
            max_size: config.group_max_size,
            consumer_max_size: config.group_consumer_max_size,
            offsets_retention: config.offsets_retention,
            consumer_session_timeout: config.group_consumer_session_timeout,
            consumer_heartbeat_interval: config.group_consumer_heartbeat_interval,
            migration: config.group_consumer_migration_policy,
        }
    }
}

/// What comes of an input.
#[derive(Default)]
pub(crate) struct Effects {
    /// Answers, in order.
    pub(crate) answers: Vec<(Ticket, ResponseKind)>,
    /// Changes worth remembering.
    pub(crate) entries: Vec<Entry>,
    /// What the changes replace, in their order.
    before: Vec<Before>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A member of a group.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    session_timeout: Duration,
    rebalance_timeout: Duration,
    /// Protocols that the member speaks, best first, each with its metadata.
    protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    /// When the member is taken for dead.
    expires: Duration,
    /// A join that waits for the others, and the version it came in.
    joining: Option<Ticket>,
    /// A sync that waits for the leader.
    syncing: Option<Ticket>,
    /// Members are listed, and the leader is chosen, in the order in which they came.
    order: u64,
}

impl Member {
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }

    fn is_waiting(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }
}

/// A group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) state: State,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    leader: Option<String>,
    pub(crate) members: BTreeMap<String, Member>,
    /// Ids that were given out and not yet used to join, with the time at which they lapse.
    pending: BTreeMap<String, Duration>,
    static_members: BTreeMap<String, String>,
    next_order: u64,
    /// When the running rebalance goes on without those who have not joined.
    rebalance_ends: Option<Duration>,
    /// While the first members of an empty group gather: the time at which gathering ends in any case.
    gathering_until: Option<Duration>,
    /// When members that have not asked for their assignment are given up.
    sync_ends: Option<Duration>,
    /// A change could not be written: when it is tried again. Nothing else happens of itself until then.
    retry_at: Option<Duration>,
    pub(crate) offsets: BTreeMap<(String, i32), CommittedOffset>,
    /// Set when the group is one of the consumer protocol: then its members are there, and the classic fields are empty.
    pub(crate) consumer: Option<ConsumerGroup>,
    /// Offsets of open transactions, by producer id.
    pub(crate) pending_offsets: BTreeMap<i64, PendingOffsets>,
    /// When the group last lost its members or changed its offsets, in Unix milliseconds.
    changed_ms: i64,
}

impl Group {
    fn new(now_ms: i64) -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            pending: BTreeMap::new(),
            static_members: BTreeMap::new(),
            next_order: 0,
            rebalance_ends: None,
            gathering_until: None,
            sync_ends: None,
            retry_at: None,
            offsets: BTreeMap::new(),
            consumer: None,
            pending_offsets: BTreeMap::new(),
            changed_ms: now_ms,
        }
    }

    /// Whether the group has no members, of whatever protocol.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.consumer.as_ref().is_none_or(|consumer| consumer.members.is_empty())
    }

    /// The group's state by its Kafka name.
    pub(crate) fn state_name(&self) -> &'static str {
        self.consumer.as_ref().map_or_else(|| self.state.name(), ConsumerGroup::state_name)
    }

    fn deadline(&self) -> Option<Duration> {
        if self.retry_at.is_some() {
            return self.retry_at;
        }
        let members = self.members.values().filter(|member| !member.is_waiting()).map(|member| member.expires);
        let pending = self.pending.values().copied();
        let consumers = self.consumer.as_ref().and_then(ConsumerGroup::deadline);
        members.chain(pending).chain(self.rebalance_ends).chain(self.sync_ends).chain(consumers).min()
    }

    /// The members of a stable generation, for the journal.
    fn members_entry(&self, group: &str) -> Option<Entry> {
        (self.state == State::Stable).then(|| self.members_led_by(group, self.leader.clone().unwrap_or_default()))
    }

    /// The members, for the journal. Without a leader, all have to join again before anybody reads.
    fn members_led_by(&self, group: &str, leader: String) -> Entry {
        let mut members: Vec<(&String, &Member)> = self.members.iter().collect();
        members.sort_by_key(|(_, member)| member.order);
        let members = members
            .into_iter()
            .map(|(id, member)| MemberEntry {
                id: id.clone(),
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                session_timeout_ms: i64::try_from(member.session_timeout.as_millis()).unwrap_or(i64::MAX),
                rebalance_timeout_ms: i64::try_from(member.rebalance_timeout.as_millis()).unwrap_or(i64::MAX),
                protocols: member.protocols.clone(),
                assignment: member.assignment.clone(),
            })
            .collect();
        let protocol = self.protocol.clone().unwrap_or_default();
        Entry::Members { group: group.to_owned(), protocol, leader, members }
    }

    fn forget_members(&mut self) {
        self.state = State::Empty;
        self.protocol = None;
        self.leader = None;
        self.members.clear();
        self.static_members.clear();
    }

    /// Takes members from the journal.
    fn remember(&mut self, protocol: String, leader: String, members: Vec<MemberEntry>) {
        self.forget_members();
        if members.is_empty() {
            return;
        }
        self.state = if leader.is_empty() { State::PreparingRebalance } else { State::Stable };
        self.protocol = Some(protocol);
        self.leader = Some(leader).filter(|leader| !leader.is_empty());
        let millis = |value: i64| Duration::from_millis(u64::try_from(value).unwrap_or(0));
        for entry in members {
            if let Some(instance) = &entry.instance_id {
                self.static_members.insert(instance.clone(), entry.id.clone());
            }
            let member = Member {
                instance_id: entry.instance_id,
                client_id: entry.client_id,
                client_host: entry.client_host,
                session_timeout: millis(entry.session_timeout_ms),
                rebalance_timeout: millis(entry.rebalance_timeout_ms),
                protocols: entry.protocols,
                assignment: entry.assignment,
                expires: Duration::ZERO,
                joining: None,
                syncing: None,
                order: self.next_order,
            };
            self.next_order += 1;
            self.members.insert(entry.id, member);
        }
    }

    fn entry(&self, group: &str) -> Entry {
        if let Some(consumer) = &self.consumer {
            return consumer.entry(group, self.changed_ms);
        }
        Entry::Group {
            group: group.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            changed_ms: self.changed_ms,
        }
    }
}

/// All groups.
pub(crate) struct Groups {
    limits: Limits,
    groups: BTreeMap<String, Group>,
    /// Configs of groups, which need not exist.
    configs: BTreeMap<String, Overrides>,
    deadline: Option<Duration>,
}

impl Groups {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, groups: BTreeMap::new(), configs: BTreeMap::new(), deadline: None }
    }

    /// The group of that name.
    pub(crate) fn get(&self, group: &str) -> Option<&Group> {
        self.groups.get(group)
    }

    /// What was set for the group of that name.
    pub(crate) fn configs_of(&self, group: &str) -> Option<&Overrides> {
        self.configs.get(group)
    }

    /// Names of groups for which something was set.
    pub(crate) fn configured(&self) -> impl Iterator<Item = &String> {
        self.configs.keys()
    }

    /// All groups by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Group)> {
        self.groups.iter()
    }

    /// When [`Self::expire`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// To be called after every change.
    fn reschedule(&mut self) {
        self.deadline = self.groups.values().filter_map(Group::deadline).min();
    }

    /// Plays an entry of the journal.
    pub(crate) fn play(&mut self, entry: Entry) {
        match entry {
            Entry::Group { group, generation, protocol_type, changed_ms } => {
                let group = self.groups.entry(group).or_insert_with(|| Group::new(changed_ms));
                group.generation = generation;
                group.protocol_type = protocol_type;
                group.changed_ms = changed_ms;
                group.consumer = None;
                group.forget_members();
            }
            Entry::ConsumerGroup { group, epoch, target_epoch, changed_ms } => {
                let group = self.groups.entry(group).or_insert_with(|| Group::new(changed_ms));
                group.changed_ms = changed_ms;
                group.forget_members();
                let consumer = group.consumer.get_or_insert_default();
                (consumer.epoch, consumer.target_epoch) = (epoch, target_epoch);
            }
            Entry::ConsumerMember { group, member } => {
                if let Some(consumer) = self.groups.get_mut(&group).and_then(|group| group.consumer.as_mut()) {
                    consumer.play_member(*member);
                }
            }
            Entry::ConsumerMemberRemoved { group, member } => {
                if let Some(consumer) = self.groups.get_mut(&group).and_then(|group| group.consumer.as_mut()) {
                    consumer.forget(&member);
                }
            }
            Entry::GroupConfigs { group, configs } => {
                let configs = Overrides(configs.into_iter().collect());
                if configs.0.is_empty() {
                    self.configs.remove(&group);
                } else {
                    self.configs.insert(group, configs);
                }
            }
            Entry::Members { group, protocol, leader, members } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.remember(protocol, leader, members);
                }
            }
            Entry::GroupRemoved { group } => {
                self.groups.remove(&group);
            }
            Entry::OffsetCommitted { group, offset } => {
                let group = self.groups.entry(group).or_insert_with(|| Group::new(offset.committed_ms));
                group.changed_ms = group.changed_ms.max(offset.committed_ms);
                group.put_offset(offset);
            }
            Entry::OffsetRemoved { group, topic, partition } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.remove_offset(topic, partition);
                }
            }
            Entry::PendingOffsets { group, producer_id, offsets } => {
                let group = self.groups.entry(group).or_insert_with(|| Group::new(0));
                group.put_pending_offsets(producer_id, offsets);
            }
            Entry::PendingOffsetsEnded { group, producer_id, commit } => {
                self.end_pending_offsets(&group, producer_id, commit);
            }
            _ => {}
        }
    }

    /// Everything worth remembering, as journal entries.
    pub(crate) fn snapshot(&self, entries: &mut Vec<Entry>) {
        for (group, configs) in &self.configs {
            entries.push(Entry::GroupConfigs { group: group.clone(), configs: configs.pairs() });
        }
        for (name, group) in &self.groups {
            entries.push(group.entry(name));
            entries.extend(group.members_entry(name));
            if let Some(consumer) = &group.consumer {
                consumer.snapshot(name, entries);
            }
            group.snapshot_offsets(name, entries);
        }
    }

    /// After the journal was played: members that are remembered have all of their time to be heard of again.
    pub(crate) fn resume(&mut self, now: Duration) {
        for group in self.groups.values_mut() {
            for member in group.members.values_mut() {
                member.expires = now + member.session_timeout;
            }
            if group.state == State::PreparingRebalance {
                group.rebalance_ends = Some(now + group.longest_rebalance_timeout());
            }
        }
        let timeouts: Vec<(String, Duration)> =
            self.groups.keys().map(|name| (name.clone(), self.consumer_session_timeout(name))).collect();
        for (name, timeout) in timeouts {
            if let Some(consumer) = self.groups.get_mut(&name).and_then(|group| group.consumer.as_mut()) {
                consumer.resume(now, timeout);
            }
        }
        self.reschedule();
    }

    /// Groups for which [`Self::expire`] has something to do.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<String> {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return Vec::new();
        }
        // Heartbeats put deadlines off without a word.
        self.reschedule();
        let due = self.groups.iter().filter(|(_, group)| group.deadline().is_some_and(|deadline| deadline <= now));
        due.map(|(name, _)| name.clone()).collect()
    }

    /// Does what time asks for: members and ids lapse, rebalances end.
    pub(crate) fn expire(
        &mut self,
        name: &str,
        now: Duration,
        now_ms: i64,
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) {
        self.expire_group(name, now, now_ms, effects);
        self.expire_consumers(name, (now, now_ms), topics, effects);
        self.reschedule();
    }
}

/// An error as a number of the protocol; zero for none.
pub(crate) fn result_code(result: Result<(), ResponseError>) -> i16 {
    result.map_or_else(code, |()| 0)
}
