//! Classic consumer groups: who is a member, which generation it is, what each member was assigned, which offsets are committed.
//!
//! Pure: requests and time come in, answers and journal entries go out; nothing here looks at a protocol's metadata, so that groups of
//! any protocol type (`consumer`, `connect`, …) are served alike. A join or a sync that has to wait for other members is kept as a
//! [`Ticket`] with the member and answered later. Members live in memory: after a restart of the broker they join again, and the generation,
//! which is kept, goes on from where it was, so that a member of before is never taken for one of now.
//! Counterpart of Apache Kafka's `GroupCoordinator`. Read on in `member` (joining and leaving) and `offsets`.

mod member;
mod offsets;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ResponseKind;

use crate::broker::{Ticket, code};
use crate::config::BrokerConfig;
use crate::journal::{CommittedOffset, Entry};

pub(crate) use member::JoinerInfo;
pub(crate) use offsets::{Committer, MAX_OFFSET_METADATA};

/// A member whose join has been answered with nothing but its id, or who waits for a join, is given up after this time.
const NEW_MEMBER_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Bounds on what members may ask for.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) initial_delay: Duration,
    pub(crate) min_session_timeout: Duration,
    pub(crate) max_session_timeout: Duration,
    pub(crate) max_size: usize,
    pub(crate) offsets_retention: Duration,
}

impl From<&BrokerConfig> for Limits {
    fn from(config: &BrokerConfig) -> Self {
        Self {
            initial_delay: config.group_initial_rebalance_delay,
            min_session_timeout: config.group_min_session_timeout,
            max_session_timeout: config.group_max_session_timeout,
            max_size: config.group_max_size,
            offsets_retention: config.offsets_retention,
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
#[derive(Debug)]
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
    pub(crate) offsets: BTreeMap<(String, i32), CommittedOffset>,
    /// Offsets of open transactions, by producer id.
    pub(crate) pending_offsets: BTreeMap<i64, BTreeMap<(String, i32), CommittedOffset>>,
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
            offsets: BTreeMap::new(),
            pending_offsets: BTreeMap::new(),
            changed_ms: now_ms,
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let members = self.members.values().filter(|member| !member.is_waiting()).map(|member| member.expires);
        let pending = self.pending.values().copied();
        members.chain(pending).chain(self.rebalance_ends).chain(self.sync_ends).min()
    }

    fn entry(&self, group: &str) -> Entry {
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
    deadline: Option<Duration>,
}

impl Groups {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, groups: BTreeMap::new(), deadline: None }
    }

    /// The group of that name.
    pub(crate) fn get(&self, group: &str) -> Option<&Group> {
        self.groups.get(group)
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
            }
            Entry::GroupRemoved { group } => {
                self.groups.remove(&group);
            }
            Entry::OffsetCommitted { group, offset } => {
                let group = self.groups.entry(group).or_insert_with(|| Group::new(offset.committed_ms));
                group.changed_ms = group.changed_ms.max(offset.committed_ms);
                group.offsets.insert((offset.topic.clone(), offset.partition), offset);
            }
            Entry::OffsetRemoved { group, topic, partition } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.offsets.remove(&(topic, partition));
                }
            }
            Entry::PendingOffsets { group, producer_id, offsets } => {
                let group = self.groups.entry(group).or_insert_with(|| Group::new(0));
                let pending = group.pending_offsets.entry(producer_id).or_default();
                for offset in offsets {
                    pending.insert((offset.topic.clone(), offset.partition), offset);
                }
            }
            Entry::PendingOffsetsEnded { group, producer_id, commit } => {
                self.end_pending_offsets(&group, producer_id, commit);
            }
            _ => {}
        }
    }

    /// Everything worth remembering, as journal entries.
    pub(crate) fn snapshot(&self, entries: &mut Vec<Entry>) {
        for (name, group) in &self.groups {
            entries.push(group.entry(name));
            for offset in group.offsets.values() {
                entries.push(Entry::OffsetCommitted { group: name.clone(), offset: offset.clone() });
            }
            for (producer_id, offsets) in &group.pending_offsets {
                entries.push(Entry::PendingOffsets {
                    group: name.clone(),
                    producer_id: *producer_id,
                    offsets: offsets.values().cloned().collect(),
                });
            }
        }
    }

    /// Does what time asks for: members and ids lapse, rebalances end.
    pub(crate) fn expire(&mut self, now: Duration, now_ms: i64, effects: &mut Effects) {
        let due: Vec<String> = self
            .groups
            .iter()
            .filter(|(_, group)| group.deadline().is_some_and(|deadline| deadline <= now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.expire_group(&name, now, now_ms, effects);
        }
        self.reschedule();
    }
}

/// An error as a number of the protocol; zero for none.
pub(crate) fn result_code(result: Result<(), ResponseError>) -> i16 {
    result.map_or_else(code, |()| 0)
}
