//! What members of a consumers' group tell each other: Java's `ConsumerProtocol`, and the user data of its sticky assignors.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment::{
    ConsumerProtocolAssignment, TopicPartition as AssignedTopic,
};
use kafka_protocol::messages::consumer_protocol_subscription::{
    ConsumerProtocolSubscription, TopicPartition as OwnedTopic,
};
use kafka_protocol::protocol::StrBytes;

use super::sticky::Claim;
use super::{Assignor, TopicPartition};
use crate::wire::{WireError, decode_consumer_assignment, encode_consumer_assignment, encode_consumer_subscription};

/// The versions that Java's clients write since Kafka 3.5.
const SUBSCRIPTION_VERSION: i16 = 3;
const ASSIGNMENT_VERSION: i16 = 3;
/// Generation of a member that was never in one.
const NO_GENERATION: i32 = -1;

/// What a member tells the leader.
#[derive(Clone, Copy, Debug)]
pub(in crate::consumer) struct Told<'a> {
    pub(in crate::consumer) topics: &'a BTreeSet<String>,
    /// What it keeps while the group rebalances.
    pub(in crate::consumer) owned: &'a BTreeSet<TopicPartition>,
    /// What it was assigned last, and in which generation.
    pub(in crate::consumer) last: Option<(&'a BTreeSet<TopicPartition>, i32)>,
    /// The generation that it is in.
    pub(in crate::consumer) generation: i32,
    /// `client.rack`.
    pub(in crate::consumer) rack: Option<&'a str>,
}

impl Told<'_> {
    /// As bytes, for one assignor.
    pub(in crate::consumer) fn encode(&self, assignor: Assignor) -> Result<Bytes, WireError> {
        let topics = self.topics.iter().map(|topic| StrBytes::from_string(topic.clone())).collect();
        let owned = by_topic(self.owned).into_iter().map(|(topic, partitions)| {
            OwnedTopic::default().with_topic(StrBytes::from_string(topic.to_owned()).into()).with_partitions(partitions)
        });
        let subscription = ConsumerProtocolSubscription::default()
            .with_topics(topics)
            .with_user_data(self.user_data(assignor))
            .with_owned_partitions(owned.collect())
            .with_generation_id(self.generation)
            .with_rack_id(self.rack.map(|rack| StrBytes::from_string(rack.to_owned())));
        encode_consumer_subscription(&subscription, SUBSCRIPTION_VERSION)
    }

    fn user_data(&self, assignor: Assignor) -> Option<Bytes> {
        match assignor {
            Assignor::Range | Assignor::RoundRobin => None,
            Assignor::Sticky => {
                let (partitions, generation) = self.last?;
                let mut bytes = BytesMut::new();
                put_topics(&mut bytes, partitions);
                bytes.put_i32(generation);
                Some(bytes.freeze())
            }
            Assignor::CooperativeSticky => {
                let generation = self.last.map_or(NO_GENERATION, |(_, generation)| generation);
                Some(Bytes::copy_from_slice(&generation.to_be_bytes()))
            }
        }
    }
}

fn by_topic<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Vec<(&'a str, Vec<i32>)> {
    let mut topics: Vec<(&str, Vec<i32>)> = Vec::new();
    for partition in partitions {
        match topics.last_mut() {
            Some((topic, numbers)) if *topic == &*partition.topic => numbers.push(partition.partition),
            _ => topics.push((&partition.topic, vec![partition.partition])),
        }
    }
    topics
}

/// Lengths are those of what a broker told in one message, so they fit.
fn put_topics(bytes: &mut BytesMut, partitions: &BTreeSet<TopicPartition>) {
    let topics = by_topic(partitions);
    bytes.put_i32(i32::try_from(topics.len()).unwrap_or(i32::MAX));
    for (topic, numbers) in topics {
        bytes.put_i16(i16::try_from(topic.len()).unwrap_or(i16::MAX));
        bytes.put_slice(topic.as_bytes());
        bytes.put_i32(i32::try_from(numbers.len()).unwrap_or(i32::MAX));
        for number in numbers {
            bytes.put_i32(number);
        }
    }
}

/// Reads the user data of Java's `StickyAssignor`, with a generation since Kafka 2.3. What cannot be read is no claim.
pub(super) fn sticky_claim(mut bytes: Bytes) -> Claim {
    if bytes.is_empty() {
        return Claim::default();
    }
    match read_topics(&mut bytes) {
        Some(owned) => Claim { owned, generation: bytes.try_get_i32().ok() },
        None => Claim { owned: Vec::new(), generation: Some(NO_GENERATION) },
    }
}

fn read_topics(bytes: &mut Bytes) -> Option<Vec<TopicPartition>> {
    let mut partitions = Vec::new();
    // Lengths are believed one element at a time: what is not there ends the loop.
    for _ in 0..bytes.try_get_i32().ok()? {
        let len = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        if bytes.remaining() < len {
            return None;
        }
        let topic: Arc<str> = std::str::from_utf8(&bytes.split_to(len)).ok()?.into();
        for _ in 0..bytes.try_get_i32().ok()? {
            partitions.push(TopicPartition::new(Arc::clone(&topic), bytes.try_get_i32().ok()?));
        }
    }
    Some(partitions)
}

/// Reads the user data of Java's `CooperativeStickyAssignor`, which matters for members that do not put their generation into the subscription.
pub(super) fn cooperative_generation(mut bytes: Bytes) -> i32 {
    bytes.try_get_i32().unwrap_or(NO_GENERATION)
}

/// What the leader tells a member.
pub(in crate::consumer) fn encode_assignment(partitions: &[TopicPartition]) -> Result<Bytes, WireError> {
    let mut sorted = partitions.to_vec();
    sorted.sort();
    let topics = by_topic(&sorted).into_iter().map(|(topic, partitions)| {
        AssignedTopic::default().with_topic(StrBytes::from_string(topic.to_owned()).into()).with_partitions(partitions)
    });
    encode_consumer_assignment(
        &ConsumerProtocolAssignment::default().with_assigned_partitions(topics.collect()),
        ASSIGNMENT_VERSION,
    )
}

/// Reads what the leader told this member; no bytes are no partitions.
pub(in crate::consumer) fn decode_assignment(bytes: Bytes) -> Result<BTreeSet<TopicPartition>, WireError> {
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
    use super::super::Subscriber;
    use super::*;
    use crate::group::MemberMetadata;

    fn set(partitions: &[(&str, i32)]) -> BTreeSet<TopicPartition> {
        partitions.iter().map(|(topic, partition)| TopicPartition::new(*topic, *partition)).collect()
    }

    #[test]
    fn what_a_member_tells_is_read_by_the_leader() {
        let (topics, owned) = (BTreeSet::from(["t".to_owned(), "u".to_owned()]), set(&[("t", 3), ("t", 4), ("u", 0)]));
        let last = set(&[("t", 3)]);
        let told = Told { topics: &topics, owned: &owned, last: Some((&last, 6)), generation: 7, rack: Some("r") };
        let read = |told: Told<'_>, assignor| {
            let metadata = told.encode(assignor).unwrap();
            Subscriber::read(&MemberMetadata { member_id: "m".into(), instance_id: None, metadata }).unwrap()
        };
        let member = read(told, Assignor::Range);
        assert_eq!((member.topics, member.generation, member.rack.as_deref()), (topics.clone(), Some(7), Some("r")));
        assert_eq!(member.owned, owned.iter().cloned().collect::<Vec<_>>());
        assert_eq!(member.user_data, None);
        let claim = sticky_claim(read(told, Assignor::Sticky).user_data.unwrap());
        assert_eq!((claim.owned, claim.generation), (last.iter().cloned().collect(), Some(6)));
        let data = read(told, Assignor::CooperativeSticky).user_data.unwrap();
        assert_eq!(cooperative_generation(data), 6);
        // A member that was never assigned anything.
        let new = Told { last: None, generation: -1, rack: None, ..told };
        assert_eq!(read(new, Assignor::Sticky).user_data, None);
        let member = read(new, Assignor::CooperativeSticky);
        assert_eq!(
            (member.generation, member.rack, cooperative_generation(member.user_data.unwrap())),
            (None, None, -1)
        );
    }

    #[test]
    fn malformed_user_data_is_no_claim() {
        let cases: [&[u8]; 5] = [
            &[0],
            &[0x7f, 0xff, 0xff, 0xff],
            &[0, 0, 0, 1, 0, 9, b't'],
            &[0, 0, 0, 1, 0xff, 0xff],
            &[0, 0, 0, 1, 0, 1, b't', 0x7f, 0xff, 0xff, 0xff, 0],
        ];
        for bytes in cases {
            let claim = sticky_claim(Bytes::from_static(bytes));
            assert_eq!((claim.owned, claim.generation), (Vec::new(), Some(-1)), "{bytes:?}");
        }
        assert_eq!(cooperative_generation(Bytes::from_static(&[1])), -1);
    }

    #[test]
    fn an_assignment_comes_back() {
        let share = [("u", 1), ("t", 0), ("u", 0)].map(|(topic, partition)| TopicPartition::new(topic, partition));
        assert_eq!(decode_assignment(encode_assignment(&share).unwrap()).unwrap(), share.into_iter().collect());
        assert_eq!(decode_assignment(Bytes::new()).unwrap(), BTreeSet::new());
        decode_assignment(Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff])).unwrap_err();
    }
}
