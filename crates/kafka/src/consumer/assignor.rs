//! How the leader of a group shares partitions out, as Java's consumers do, so that both can be in one group.
//!
//! Range and round robin, both eager: every member gives everything up before it joins again. What members tell each other is Java's
//! `ConsumerProtocol`. Bytes of other members are checked where they are decoded; a member whose bytes are malformed gets nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::consumer_protocol_assignment::{
    ConsumerProtocolAssignment, TopicPartition as AssignedTopic,
};
use kafka_protocol::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use kafka_protocol::protocol::StrBytes;

use super::TopicPartition;
use crate::group::MemberMetadata;
use crate::wire::{
    WireError, decode_consumer_assignment, decode_consumer_subscription, encode_consumer_assignment,
    encode_consumer_subscription,
};

/// The version that eager members of Kafka 2.4 and later write: topics, user data, owned partitions.
const SUBSCRIPTION_VERSION: i16 = 1;
const ASSIGNMENT_VERSION: i16 = 1;

/// A way to share partitions out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Assignor {
    /// Per topic, a run of partitions for each member: Java's `RangeAssignor`.
    Range,
    /// All partitions of all topics in turn: Java's `RoundRobinAssignor`.
    RoundRobin,
}

impl Assignor {
    /// Its name in the group protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
        }
    }

    /// By its name in the group protocol.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Range, Self::RoundRobin].into_iter().find(|assignor| assignor.name() == name)
    }

    /// By a value of `partition.assignment.strategy`: Java's class name.
    pub fn from_class(class: &str) -> Option<Self> {
        match class.strip_prefix("org.apache.kafka.clients.consumer.")? {
            "RangeAssignor" => Some(Self::Range),
            "RoundRobinAssignor" => Some(Self::RoundRobin),
            _ => None,
        }
    }

    /// Shares out what `members` subscribe to. `partitions` knows the number of partitions of each topic that exists.
    pub fn assign(
        self,
        members: &[Subscriber],
        partitions: &BTreeMap<String, i32>,
    ) -> BTreeMap<String, Vec<TopicPartition>> {
        let mut sorted: Vec<&Subscriber> = members.iter().collect();
        sorted.sort_by(|a, b| a.order().cmp(&b.order()));
        let mut assignment: BTreeMap<String, Vec<TopicPartition>> =
            members.iter().map(|member| (member.member_id.clone(), Vec::new())).collect();
        let mut give = |member: &Subscriber, partition: TopicPartition| {
            assignment.entry(member.member_id.clone()).or_default().push(partition);
        };
        let topics: BTreeSet<&String> = members.iter().flat_map(|member| &member.topics).collect();
        let known = topics.into_iter().filter_map(|topic| Some((topic, *partitions.get(topic)?)));
        match self {
            Self::Range => {
                for (topic, count) in known {
                    let readers: Vec<&Subscriber> =
                        sorted.iter().filter(|member| member.topics.contains(topic)).copied().collect();
                    let name: Arc<str> = topic.as_str().into();
                    let count = usize::try_from(count).unwrap_or(0);
                    let (share, extra) = (count / readers.len(), count % readers.len());
                    let mut next = 0;
                    for (index, reader) in readers.into_iter().enumerate() {
                        for _ in 0..share + usize::from(index < extra) {
                            give(reader, TopicPartition::new(Arc::clone(&name), next));
                            next += 1;
                        }
                    }
                }
            }
            Self::RoundRobin => {
                let mut turn = sorted.iter().cycle();
                for (topic, count) in known {
                    let name: Arc<str> = topic.as_str().into();
                    for partition in 0..count {
                        // Somebody subscribes to the topic, so the search ends within one round.
                        if let Some(reader) = turn.by_ref().find(|member| member.topics.contains(topic)) {
                            give(reader, TopicPartition::new(Arc::clone(&name), partition));
                        }
                    }
                }
            }
        }
        assignment
    }
}

/// A member of the group as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Its id in this generation.
    pub member_id: String,
    /// Its static id.
    pub instance_id: Option<String>,
    /// What it wants to read.
    pub topics: BTreeSet<String>,
}

impl Subscriber {
    /// Reads what a member told the leader.
    pub fn read(member: &MemberMetadata) -> Result<Self, WireError> {
        let subscription = decode_consumer_subscription(member.metadata.clone())?;
        Ok(Self {
            member_id: member.member_id.clone(),
            instance_id: member.instance_id.clone(),
            topics: subscription.topics.iter().map(ToString::to_string).collect(),
        })
    }

    /// Java's order of members: static ones first, by their static ids, then the others by their member ids.
    fn order(&self) -> (bool, &str) {
        match &self.instance_id {
            Some(id) => (false, id),
            None => (true, &self.member_id),
        }
    }
}

/// What a member tells the leader.
pub(super) fn encode_subscription(topics: &BTreeSet<String>) -> Result<Bytes, WireError> {
    let topics = topics.iter().map(|topic| StrBytes::from_string(topic.clone())).collect();
    let subscription = ConsumerProtocolSubscription::default().with_topics(topics);
    encode_consumer_subscription(&subscription, SUBSCRIPTION_VERSION)
}

/// What the leader tells a member.
pub(super) fn encode_assignment(partitions: &[TopicPartition]) -> Result<Bytes, WireError> {
    let mut topics: Vec<AssignedTopic> = Vec::new();
    let mut sorted = partitions.to_vec();
    sorted.sort();
    for partition in sorted {
        match topics.last_mut() {
            Some(last) if last.topic.as_str() == &*partition.topic => last.partitions.push(partition.partition),
            _ => topics.push(
                AssignedTopic::default()
                    .with_topic(StrBytes::from_string(partition.topic.to_string()).into())
                    .with_partitions(vec![partition.partition]),
            ),
        }
    }
    encode_consumer_assignment(
        &ConsumerProtocolAssignment::default().with_assigned_partitions(topics),
        ASSIGNMENT_VERSION,
    )
}

/// Reads what the leader told this member; no bytes are no partitions.
pub(super) fn decode_assignment(bytes: Bytes) -> Result<BTreeSet<TopicPartition>, WireError> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut partitions = BTreeSet::new();
    for topic in decode_consumer_assignment(bytes)?.assigned_partitions {
        let name: Arc<str> = topic.topic.as_str().into();
        partitions.extend(topic.partitions.iter().map(|partition| TopicPartition::new(Arc::clone(&name), *partition)));
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, instance: Option<&str>, topics: &[&str]) -> Subscriber {
        Subscriber {
            member_id: id.into(),
            instance_id: instance.map(Into::into),
            topics: topics.iter().map(ToString::to_string).collect(),
        }
    }

    fn check_assign(assignor: Assignor, members: &[Subscriber], topics: &[(&str, i32)], expected: &str) {
        let partitions = topics.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect();
        let shares: Vec<String> = assignor
            .assign(members, &partitions)
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
    fn what_members_tell_each_other_comes_back() {
        let topics: BTreeSet<String> = ["t".to_owned(), "u".to_owned()].into();
        let metadata = encode_subscription(&topics).unwrap();
        let told = MemberMetadata { member_id: "m".into(), instance_id: None, metadata };
        assert_eq!(Subscriber::read(&told).unwrap().topics, topics);
        let share = vec![TopicPartition::new("u", 1), TopicPartition::new("t", 0), TopicPartition::new("u", 0)];
        let bytes = encode_assignment(&share).unwrap();
        assert_eq!(decode_assignment(bytes).unwrap(), share.into_iter().collect());
        assert_eq!(decode_assignment(Bytes::new()).unwrap(), BTreeSet::new());
        decode_assignment(Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff])).unwrap_err();
    }

    #[test]
    fn strategies_are_known_by_class_and_by_name() {
        for assignor in [Assignor::Range, Assignor::RoundRobin] {
            assert_eq!(Assignor::from_name(assignor.name()), Some(assignor));
        }
        let class = |name: &str| Assignor::from_class(&format!("org.apache.kafka.clients.consumer.{name}"));
        assert_eq!(class("RangeAssignor"), Some(Assignor::Range));
        assert_eq!(class("RoundRobinAssignor"), Some(Assignor::RoundRobin));
        assert_eq!(class("Other"), None);
    }
}
