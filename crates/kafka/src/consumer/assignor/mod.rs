//! How the leader of a group shares partitions out, as Java's consumers do, so that both can be in one group.
//!
//! [`Assignor::assign`] gives what Java's assignor of the same name gives: for `range` see `range`, for the sticky ones `sticky`. What members tell each other
//! is in `protocol`. Bytes of other members are checked where they are decoded; a member whose bytes are malformed gets nothing.

mod general;
mod java_map;
mod protocol;
mod racks;
mod range;
mod sticky;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use self::sticky::Claim;
use super::TopicPartition;
use crate::group::MemberMetadata;
use crate::wire::{WireError, decode_consumer_subscription};
pub(super) use protocol::{Told, decode_assignment, encode_assignment};

/// A way to share partitions out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Assignor {
    /// Per topic, a run of partitions for each member: Java's `RangeAssignor`.
    Range,
    /// All partitions of all topics in turn: Java's `RoundRobinAssignor`.
    RoundRobin,
    /// Even shares that change as little as possible; everything is given up before a rebalance: Java's `StickyAssignor`.
    Sticky,
    /// The same shares, and only what moves is given up: Java's `CooperativeStickyAssignor`.
    CooperativeSticky,
}

/// All of them.
const ALL: [Assignor; 4] = [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky];

/// What there is of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TopicLayout {
    /// How many partitions it has.
    pub partitions: i32,
    /// By partition, the racks of its replicas; nothing where they are not known.
    pub racks: Vec<BTreeSet<Arc<str>>>,
}

static NO_RACKS: BTreeSet<Arc<str>> = BTreeSet::new();

impl TopicLayout {
    /// A topic whose racks are not known.
    pub fn of(partitions: i32) -> Self {
        Self { partitions, racks: Vec::new() }
    }

    fn count(&self) -> usize {
        usize::try_from(self.partitions).unwrap_or(0)
    }

    fn racks(&self, partition: usize) -> &BTreeSet<Arc<str>> {
        self.racks.get(partition).unwrap_or(&NO_RACKS)
    }
}

impl Assignor {
    /// Its name in the group protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// By its name in the group protocol.
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// By a value of `partition.assignment.strategy`: Java's class name.
    pub fn from_class(class: &str) -> Option<Self> {
        match class.strip_prefix("org.apache.kafka.clients.consumer.")? {
            "RangeAssignor" => Some(Self::Range),
            "RoundRobinAssignor" => Some(Self::RoundRobin),
            "StickyAssignor" => Some(Self::Sticky),
            "CooperativeStickyAssignor" => Some(Self::CooperativeSticky),
            _ => None,
        }
    }

    /// Whether members may keep what they have while the group rebalances (KIP-429).
    pub fn is_cooperative(self) -> bool {
        self == Self::CooperativeSticky
    }

    /// Shares out what `members` subscribe to, of the topics that exist. Members come in the order of the JoinGroup answer; no two have the same id.
    pub fn assign(
        self,
        members: &[Subscriber],
        layout: &BTreeMap<String, TopicLayout>,
    ) -> BTreeMap<String, Vec<TopicPartition>> {
        let wanted: BTreeSet<&String> = members.iter().flat_map(|member| &member.topics).collect();
        let exists = |topic: &String| {
            let (name, layout) = layout.get_key_value(topic)?;
            (layout.partitions > 0).then_some((name.as_str(), layout))
        };
        let topics: Vec<(&str, &TopicLayout)> = wanted.into_iter().filter_map(exists).collect();
        let names: Vec<Arc<str>> = topics.iter().map(|(name, _)| (*name).into()).collect();
        let mut sorted: Vec<&Subscriber> = members.iter().collect();
        sorted.sort_by(|a, b| a.order().cmp(&b.order()));
        let by_member: Vec<(&Subscriber, Vec<(usize, usize)>)> = match self {
            Self::Range => sorted.iter().copied().zip(range::assign(&sorted, &topics)).collect(),
            Self::RoundRobin => sorted.iter().copied().zip(in_turn(&sorted, &topics)).collect(),
            Self::Sticky | Self::CooperativeSticky => {
                let claims: Vec<Claim> = members.iter().map(|member| member.claim(self)).collect();
                members.iter().zip(sticky::assign(members, &topics, &claims, self.is_cooperative())).collect()
            }
        };
        let share = |places: Vec<(usize, usize)>| {
            let place = |(topic, partition): (usize, usize)| {
                // Partitions are counted by an i32.
                TopicPartition::new(Arc::clone(&names[topic]), i32::try_from(partition).unwrap_or(i32::MAX))
            };
            places.into_iter().map(place).collect()
        };
        by_member.into_iter().map(|(member, places)| (member.member_id.clone(), share(places))).collect()
    }
}

/// Java's `RoundRobinAssignor`.
fn in_turn(members: &[&Subscriber], topics: &[(&str, &TopicLayout)]) -> Vec<Vec<(usize, usize)>> {
    let mut shares = vec![Vec::new(); members.len()];
    let mut turn = (0..members.len()).cycle();
    for (topic, (name, layout)) in topics.iter().enumerate() {
        for partition in 0..layout.count() {
            // Somebody subscribes to the topic, so the search ends within one round.
            if let Some(reader) = turn.by_ref().find(|member| members[*member].topics.contains(*name)) {
                shares[reader].push((topic, partition));
            }
        }
    }
    shares
}

/// A member of the group as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Subscriber {
    /// Its id in this generation.
    pub member_id: String,
    /// Its static id.
    pub instance_id: Option<String>,
    /// What it wants to read.
    pub topics: BTreeSet<String>,
    /// What it keeps while the group rebalances.
    pub owned: Vec<TopicPartition>,
    /// The generation in which it was assigned that.
    pub generation: Option<i32>,
    /// Where it is.
    pub rack: Option<String>,
    /// Whatever its assignor adds.
    pub user_data: Option<Bytes>,
}

impl Subscriber {
    /// Reads what a member told the leader.
    pub fn read(member: &MemberMetadata) -> Result<Self, WireError> {
        let subscription = decode_consumer_subscription(member.metadata.clone())?;
        let mut owned = Vec::new();
        for topic in &subscription.owned_partitions {
            let name: Arc<str> = topic.topic.as_str().into();
            owned.extend(topic.partitions.iter().map(|partition| TopicPartition::new(Arc::clone(&name), *partition)));
        }
        Ok(Self {
            member_id: member.member_id.clone(),
            instance_id: member.instance_id.clone(),
            topics: subscription.topics.iter().map(ToString::to_string).collect(),
            owned,
            generation: Some(subscription.generation_id).filter(|generation| *generation >= 0),
            rack: subscription.rack_id.map(|rack| rack.to_string()).filter(|rack| !rack.is_empty()),
            user_data: subscription.user_data,
        })
    }

    /// Java's order of members: static ones first, by their static ids, then the others by their member ids.
    fn order(&self) -> (bool, &str) {
        match &self.instance_id {
            Some(id) => (false, id),
            None => (true, &self.member_id),
        }
    }

    fn rack(&self) -> Option<&str> {
        self.rack.as_deref().filter(|rack| !rack.is_empty())
    }

    /// What it says it had, in the form of a sticky assignor.
    fn claim(&self, assignor: Assignor) -> Claim {
        if assignor == Assignor::Sticky {
            // It gives everything up before it joins, so what it had is in the user data.
            return self.user_data.clone().map(protocol::sticky_claim).unwrap_or_default();
        }
        let generation = self.generation.or_else(|| self.user_data.clone().map(protocol::cooperative_generation));
        Claim { owned: self.owned.clone(), generation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, instance: Option<&str>, topics: &[&str]) -> Subscriber {
        Subscriber {
            member_id: id.into(),
            instance_id: instance.map(Into::into),
            topics: topics.iter().map(ToString::to_string).collect(),
            ..Subscriber::default()
        }
    }

    fn check_assign(assignor: Assignor, members: &[Subscriber], topics: &[(&str, i32)], expected: &str) {
        let layout = topics.iter().map(|(topic, count)| ((*topic).to_owned(), TopicLayout::of(*count))).collect();
        let shares: Vec<String> = assignor
            .assign(members, &layout)
            .into_iter()
            .map(|(member, share)| {
                let share: Vec<String> = share.iter().map(ToString::to_string).collect();
                format!("{member}={}", share.join(","))
            })
            .collect();
        assert_eq!(shares.join(" "), expected, "{assignor:?}");
    }

    #[test]
    fn shares_are_those_of_java() {
        let two = [member("b", None, &["t", "u"]), member("a", None, &["t", "u"])];
        check_assign(Assignor::Range, &two, &[("t", 3), ("u", 3)], "a=t-0,t-1,u-0,u-1 b=t-2,u-2");
        check_assign(Assignor::RoundRobin, &two, &[("t", 3), ("u", 3)], "a=t-0,t-2,u-1 b=t-1,u-0,u-2");
        // Static members come first, by their static ids.
        let mixed = [member("a", None, &["t"]), member("z", Some("1"), &["t"]), member("y", Some("2"), &["t"])];
        check_assign(Assignor::Range, &mixed, &[("t", 4)], "a=t-3 y=t-2 z=t-0,t-1");
        check_assign(Assignor::RoundRobin, &mixed, &[("t", 4)], "a=t-2 y=t-1 z=t-0,t-3");
        // Different wishes; a topic that does not exist.
        let apart = [member("a", None, &["t"]), member("b", None, &["t", "u", "none"]), member("c", None, &[])];
        check_assign(Assignor::Range, &apart, &[("t", 2), ("u", 2)], "a=t-0 b=t-1,u-0,u-1 c=");
        check_assign(Assignor::RoundRobin, &apart, &[("t", 2), ("u", 2)], "a=t-0 b=t-1,u-0,u-1 c=");
        check_assign(Assignor::Range, &[], &[("t", 2)], "");
    }

    #[test]
    fn strategies_are_known_by_class_and_by_name() {
        for assignor in ALL {
            assert_eq!(Assignor::from_name(assignor.name()), Some(assignor));
        }
        let class = |name: &str| Assignor::from_class(&format!("org.apache.kafka.clients.consumer.{name}"));
        assert_eq!(class("RangeAssignor"), Some(Assignor::Range));
        assert_eq!(class("RoundRobinAssignor"), Some(Assignor::RoundRobin));
        assert_eq!(class("StickyAssignor"), Some(Assignor::Sticky));
        assert_eq!(class("CooperativeStickyAssignor"), Some(Assignor::CooperativeSticky));
        assert_eq!(class("Other"), None);
    }
}
