//! What is known of the cluster: brokers, topics, partitions and who leads them.
//!
//! Metadata is asked for when somebody needs it, at most once per back-off, and again when it grows old. What is newer stays: a broker that lags behind
//! may still name a leader of an epoch that has passed. Pure; `lookup` asks. Counterpart of Java's `Metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::fetch_response::{LeaderIdAndEpoch, NodeEndpoint};
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use uuid::Uuid;

use super::{Broker, Settings};
use crate::consumer::TopicPartition;
use crate::consumer::assignor::TopicLayout;
use crate::net::finds_broker;

/// Who leads a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) node: i32,
    /// Grows with every change of leader; negative if the broker does not say.
    pub(super) epoch: i32,
    /// The topic's id; nil if the broker does not say.
    pub(super) topic_id: Uuid,
    /// Replicas that cannot be reached.
    offline: Vec<i32>,
}

/// Topics, partitions and leaders.
#[derive(Debug)]
pub(super) struct Cluster {
    brokers: BTreeMap<i32, Broker>,
    leaders: BTreeMap<TopicPartition, Leader>,
    pub(super) counts: BTreeMap<String, i32>,
    /// By topic and partition, the racks of the replicas; empty where brokers have none.
    racks: BTreeMap<String, Vec<BTreeSet<Arc<str>>>>,
    ids: BTreeMap<String, Uuid>,
    internal: BTreeSet<String>,
    /// Topics that were asked for and do not exist.
    missing: BTreeSet<String>,
    /// All topics were asked for at least once since a filter was subscribed to.
    knows_all: bool,
    pub(super) wanted: bool,
    pub(super) in_flight: bool,
    pub(super) failures: u32,
    pub(super) retry_at: Duration,
    pub(super) stale_at: Option<Duration>,
    pub(super) max_age: Duration,
}

impl Cluster {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            brokers: BTreeMap::new(),
            leaders: BTreeMap::new(),
            counts: BTreeMap::new(),
            racks: BTreeMap::new(),
            ids: BTreeMap::new(),
            internal: BTreeSet::new(),
            missing: BTreeSet::new(),
            knows_all: false,
            wanted: false,
            in_flight: false,
            failures: 0,
            retry_at: Duration::ZERO,
            stale_at: None,
            max_age: settings.metadata_max_age,
        }
    }

    /// Asks for metadata as soon as the back-off allows.
    pub(super) fn want(&mut self, now: Duration) {
        if !self.wanted {
            self.wanted = true;
            self.retry_at = self.retry_at.max(now);
        }
    }

    /// Asks for metadata at once: the question is a new one.
    pub(super) fn want_now(&mut self, now: Duration) {
        self.wanted = true;
        self.retry_at = now;
    }

    /// Who leads a partition.
    pub(super) fn leader(&self, partition: &TopicPartition) -> Option<&Leader> {
        self.leaders.get(partition)
    }

    /// Whether a replica can be read from: its broker is known and has not lost it.
    pub(super) fn is_online(&self, partition: &TopicPartition, node: i32) -> bool {
        let lost = self.leaders.get(partition).is_some_and(|leader| leader.offline.contains(&node));
        self.brokers.contains_key(&node) && !lost
    }

    /// Partitions by topic, as far as known.
    pub(super) fn counts(&self) -> &BTreeMap<String, i32> {
        &self.counts
    }

    /// What is known of a topic that exists.
    pub(super) fn layout(&self, topic: &str) -> Option<TopicLayout> {
        let partitions = *self.counts.get(topic)?;
        Some(TopicLayout { partitions, racks: self.racks.get(topic).cloned().unwrap_or_default() })
    }

    /// The ids of the topics that are known.
    pub(super) fn topic_ids(&self) -> impl Iterator<Item = (&String, Uuid)> {
        self.ids.iter().map(|(topic, id)| (topic, *id))
    }

    /// Whether it is known if and how the topic exists.
    pub(super) fn knows(&self, topic: &str) -> bool {
        self.counts.contains_key(topic) || self.missing.contains(topic)
    }

    pub(super) fn knows_all(&self) -> bool {
        self.knows_all
    }

    pub(super) fn is_internal(&self, topic: &str) -> bool {
        self.internal.contains(topic)
    }

    pub(super) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        if self.in_flight {
            return None;
        }
        let retry = self.wanted.then_some(self.retry_at);
        [retry, self.stale_at].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// The brokers, as the transport wants them.
    pub(super) fn brokers(&self) -> Vec<Broker> {
        self.brokers.values().cloned().collect()
    }

    /// Forgets the brokers; the next question goes to the bootstrap list.
    pub(super) fn forget_brokers(&mut self) {
        self.brokers.clear();
    }

    /// Takes what a broker said beside a refusal to answer for a partition (KIP-951). Whether it is news.
    pub(super) fn moved(&mut self, partition: &TopicPartition, to: &LeaderIdAndEpoch, at: &[NodeEndpoint]) -> bool {
        let Some(leader) = self.leaders.get_mut(partition) else { return false };
        let node = to.leader_id.0;
        let ends = at.iter().map(|end| (end.node_id.0, end.host.as_str(), end.port));
        if to.leader_epoch <= leader.epoch || !finds_broker(&mut self.brokers, node, ends) {
            return false;
        }
        (leader.node, leader.epoch) = (node, to.leader_epoch);
        true
    }

    /// Takes an answer; `true` if something was missing that may appear soon.
    pub(super) fn update(&mut self, all: bool, asked: &BTreeSet<String>, response: &MetadataResponse) -> bool {
        let brokers = response.brokers.iter().filter_map(|broker| {
            let port = u16::try_from(broker.port).ok()?;
            Some((broker.node_id.0, Broker { node: broker.node_id.0, host: broker.host.to_string(), port }))
        });
        self.brokers = brokers.collect();
        let before = if all {
            self.counts.clear();
            self.racks.clear();
            self.ids.clear();
            self.internal.clear();
            self.missing.clear();
            self.knows_all = true;
            std::mem::take(&mut self.leaders)
        } else {
            let answered: BTreeSet<&str> =
                response.topics.iter().filter_map(|topic| topic.name.as_ref().map(|name| name.as_str())).collect();
            self.leaders.extract_if(.., |partition, _| answered.contains(&*partition.topic)).collect()
        };
        let rack = |broker: &MetadataResponseBroker| Some((broker.node_id, broker.rack.as_ref()?.as_str().into()));
        let racks: BTreeMap<BrokerId, Arc<str>> = response.brokers.iter().filter_map(rack).collect();
        let mut incomplete = false;
        for topic in &response.topics {
            let Some(name) = &topic.name else { continue };
            let name: Arc<str> = name.as_str().into();
            self.counts.remove(&*name);
            self.racks.remove(&*name);
            self.ids.remove(&*name);
            self.missing.remove(&*name);
            if topic.error_code != 0 {
                incomplete = true;
                continue;
            }
            if topic.is_internal {
                self.internal.insert(name.to_string());
            }
            self.counts.insert(name.to_string(), i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX));
            if !topic.topic_id.is_nil() {
                self.ids.insert(name.to_string(), topic.topic_id);
            }
            if !racks.is_empty() {
                self.racks.insert(name.to_string(), racks_of(topic, &racks));
            }
            for answered in &topic.partitions {
                let partition = TopicPartition::new(Arc::clone(&name), answered.partition_index);
                let leader = newer(before.get(&partition), topic.topic_id, answered);
                incomplete |= leader.is_none();
                if let Some(leader) = leader {
                    self.leaders.insert(partition, leader);
                }
            }
        }
        for topic in asked {
            if !self.counts.contains_key(topic) {
                self.missing.insert(topic.clone());
            }
        }
        incomplete
    }
}

/// By partition, the racks of its replicas.
fn racks_of(topic: &MetadataResponseTopic, racks: &BTreeMap<BrokerId, Arc<str>>) -> Vec<BTreeSet<Arc<str>>> {
    let mut of_partitions = vec![BTreeSet::new(); topic.partitions.len()];
    for partition in &topic.partitions {
        let slot = usize::try_from(partition.partition_index).ok().and_then(|index| of_partitions.get_mut(index));
        if let Some(slot) = slot {
            slot.extend(partition.replica_nodes.iter().filter_map(|node| racks.get(node).cloned()));
        }
    }
    of_partitions
}

/// What holds of a partition: the answer, unless an earlier one spoke of a later epoch of the same topic. None without a leader.
fn newer(known: Option<&Leader>, topic_id: Uuid, answered: &MetadataResponsePartition) -> Option<Leader> {
    if let Some(known) = known
        && known.topic_id == topic_id
        && answered.leader_epoch >= 0
        && known.epoch > answered.leader_epoch
    {
        return Some(known.clone());
    }
    let offline = answered.offline_replicas.iter().map(|broker| broker.0).collect();
    let leader = Leader { node: answered.leader_id.0, epoch: answered.leader_epoch, topic_id, offline };
    (leader.node >= 0).then_some(leader)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn answer(id: u128, leader: i32, epoch: i32) -> MetadataResponse {
        let partition = MetadataResponsePartition::default()
            .with_leader_id(BrokerId(leader))
            .with_leader_epoch(epoch)
            .with_offline_replicas(vec![BrokerId(3)]);
        let topic = MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_static_str("t"))))
            .with_topic_id(Uuid::from_u128(id))
            .with_partitions(vec![partition]);
        let broker = |id| MetadataResponseBroker::default().with_node_id(BrokerId(id)).with_port(9092);
        MetadataResponse::default().with_brokers(vec![broker(1), broker(2), broker(3)]).with_topics(vec![topic])
    }

    #[test]
    fn a_leader_of_the_past_does_not_come_back() {
        let mut cluster = Cluster::new(&Settings::default());
        let here = TopicPartition::new("t", 0);
        // Topic id, leader and epoch of an answer, whether it leaves questions open, and who leads then.
        let cases = [
            ((7, 1, 5), false, Some((1, 5))),
            ((7, 2, 4), false, Some((1, 5))),
            ((7, 2, 6), false, Some((2, 6))),
            ((7, -1, 7), true, None),
            ((7, 1, 7), false, Some((1, 7))),
            // Made anew.
            ((8, 2, 0), false, Some((2, 0))),
            ((8, 1, -1), false, Some((1, -1))),
        ];
        for ((id, leader, epoch), incomplete, expected) in cases {
            assert_eq!(cluster.update(false, &BTreeSet::new(), &answer(id, leader, epoch)), incomplete);
            let found = cluster.leader(&here).map(|leader| (leader.node, leader.epoch));
            assert_eq!(found, expected, "after {leader} in epoch {epoch}");
        }
        assert!(cluster.is_online(&here, 1) && !cluster.is_online(&here, 3) && !cluster.is_online(&here, 9));
    }

    #[test]
    fn a_broker_that_refuses_may_say_who_leads() {
        let mut cluster = Cluster::new(&Settings::default());
        let here = TopicPartition::new("t", 0);
        let to = |node, epoch| LeaderIdAndEpoch::default().with_leader_id(BrokerId(node)).with_leader_epoch(epoch);
        let end = NodeEndpoint::default().with_node_id(BrokerId(9)).with_port(9_099);
        assert!(!cluster.moved(&here, &to(9, 6), std::slice::from_ref(&end)), "nothing is known of the partition");
        cluster.update(false, &BTreeSet::new(), &answer(7, 1, 5));
        assert!(!cluster.moved(&here, &to(-1, -1), &[]), "it does not say");
        assert!(!cluster.moved(&here, &to(2, 5), &[]), "it is no news");
        assert!(!cluster.moved(&here, &to(9, 6), &[]), "nobody knows where that is");
        assert!(cluster.moved(&here, &to(9, 6), &[end]));
        assert_eq!(cluster.leader(&here).map(|leader| (leader.node, leader.epoch)), Some((9, 6)));
        assert!(cluster.brokers().iter().any(|broker| broker.port == 9_099));
    }
}
