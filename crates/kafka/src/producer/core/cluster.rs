//! What the producer knows of the cluster: topics, leaders, and its own id.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_response::{LeaderIdAndEpoch, NodeEndpoint};
use kafka_protocol::messages::{
    InitProducerIdRequest, MetadataRequest, MetadataResponse, ProducerId, RequestKind, ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::partition::Partition;
use super::verdict::delivery_error;
use super::{Asked, Effect, ProducerCore};
use crate::consumer::TopicPartition;
use crate::error::KafkaError;
use crate::net::TransportError;
use crate::net::{Broker, Target, finds_broker};
use crate::producer::DeliveryError;
use crate::producer::partitioner::Sticky;

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) node: i32,
    /// Grows with every change of leader; negative if the broker does not say.
    epoch: i32,
}

#[derive(Debug, Default)]
pub(super) struct Topic {
    /// How many partitions; none before metadata said.
    pub(super) partitions: Option<i32>,
    pub(super) leaders: BTreeMap<i32, Leader>,
    /// Nil if the broker does not say.
    id: Uuid,
    pub(super) sticky: Sticky,
    /// When a record for it last came, or somebody asked for it.
    used_at: Duration,
    /// Where each partition is kept that has had records.
    pub(super) places: Vec<Option<usize>>,
    /// Since when records wait for it.
    pub(super) unknown_since: Option<Duration>,
    /// Since when a record waits for a partition that it does not have.
    pub(super) narrow_since: Option<Duration>,
    /// Why nothing can be sent there.
    pub(super) refused: Option<DeliveryError>,
}

impl Topic {
    /// Somebody has to do with it. Whether nobody had for longer than `max_idle`: what was known then counts no more.
    pub(super) fn used(&mut self, now: Duration, max_idle: Duration) -> bool {
        let was_idle = now.saturating_sub(self.used_at) >= max_idle;
        self.used_at = now;
        if was_idle {
            (self.partitions, self.unknown_since, self.narrow_since, self.refused) = (None, None, None, None);
        }
        was_idle
    }
}

impl ProducerCore {
    pub(super) fn want_metadata(&mut self, now: Duration) {
        if !self.metadata_wanted {
            self.metadata_wanted = true;
            self.metadata_at = self.metadata_at.max(now);
        }
    }

    pub(super) fn ask_metadata(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let due = (self.metadata_wanted && self.metadata_at <= now) || self.metadata_stale_at <= now;
        if !due || self.asked.values().any(|asked| matches!(asked, Asked::Metadata)) {
            return;
        }
        // Asking for a topic may create it; one that was deleted shall not come back because records went there once.
        let in_use = self.topics.iter().filter(|(_, topic)| self.is_in_use(now, topic));
        let topics: Vec<_> = in_use
            .map(|(topic, _)| {
                MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_string(topic.to_string()))))
            })
            .collect();
        if topics.is_empty() {
            self.metadata_wanted = false;
            self.metadata_stale_at = Duration::MAX;
            return;
        }
        let request = MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(true);
        self.request(Asked::Metadata, Target::Any, RequestKind::Metadata(request), None, effects);
    }

    /// Whether records came for a topic of late, or wait.
    fn is_in_use(&self, now: Duration, topic: &Topic) -> bool {
        let waits = |place: &usize| self.partitions[*place].queue() > 0;
        now.saturating_sub(topic.used_at) < self.settings.metadata_max_idle || topic.places.iter().flatten().any(waits)
    }

    pub(super) fn metadata_answered(
        &mut self,
        now: Duration,
        response: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) {
        let mut complete = false;
        match response {
            Ok(ResponseKind::Metadata(response)) => {
                self.figures.metadata(now);
                complete = self.learn(now, &response, effects);
            }
            Err(TransportError::Refused(error)) => {
                for topic in self.topics.values_mut().filter(|topic| topic.partitions.is_none()) {
                    topic.refused = Some(DeliveryError { class: error.class, message: error.message.clone() });
                }
            }
            _ => {}
        }
        if complete {
            self.metadata_wanted = false;
            self.metadata_failures = 0;
            self.metadata_at = now.saturating_add(self.settings.retry_backoff);
            self.metadata_stale_at = now.saturating_add(self.settings.metadata_max_age);
        } else {
            self.metadata_wanted = true;
            self.metadata_at = now.saturating_add(self.backoff(self.metadata_failures));
            self.metadata_failures = self.metadata_failures.saturating_add(1);
        }
        effects.push(Effect::Wake);
    }

    /// Takes metadata in; false if something is missing that may appear soon.
    fn learn(&mut self, now: Duration, response: &MetadataResponse, effects: &mut Vec<Effect>) -> bool {
        let brokers = response.brokers.iter().filter_map(|broker| {
            let port = u16::try_from(broker.port).ok()?;
            Some((broker.node_id.0, Broker { node: broker.node_id.0, host: broker.host.to_string(), port }))
        });
        self.brokers = brokers.collect();
        self.tell_brokers(effects);
        let mut complete = true;
        for answered in &response.topics {
            let Some(name) = &answered.name else { continue };
            let Some(topic) = self.topics.get_mut(name.as_str()) else { continue };
            match ResponseError::try_from_code(answered.error_code) {
                None => {
                    topic.refused = None;
                    topic.unknown_since = None;
                    topic.partitions = i32::try_from(answered.partitions.len()).ok().filter(|count| *count > 0);
                    // What is newer stays: a broker that lags behind may still name a leader of an epoch that has passed.
                    let mut before = std::mem::take(&mut topic.leaders);
                    if topic.id != answered.topic_id {
                        before.clear();
                    }
                    topic.id = answered.topic_id;
                    for partition in &answered.partitions {
                        let (at, epoch) = (partition.partition_index, partition.leader_epoch);
                        let known = before.get(&at).filter(|known| known.epoch >= 0 && epoch >= 0);
                        let leader = match known {
                            Some(known) if known.epoch > epoch => *known,
                            _ => Leader { node: partition.leader_id.0, epoch },
                        };
                        if leader.node < 0 {
                            complete = false;
                            continue;
                        }
                        topic.leaders.insert(at, leader);
                        let place = topic.places.get(at.unsigned_abs() as usize).copied().flatten();
                        if known.is_some_and(|known| known.epoch < leader.epoch)
                            && let Some(place) = place
                        {
                            // There is somebody else to ask at once.
                            self.partitions[place].retry_at = now;
                        }
                    }
                    complete &= topic.partitions.is_some();
                }
                Some(error @ (ResponseError::TopicAuthorizationFailed | ResponseError::InvalidTopicException)) => {
                    topic.refused = Some(delivery_error(error, name));
                }
                Some(_) => complete = false,
            }
        }
        complete
    }

    /// Takes what a broker said of the leader beside a refusal (KIP-951). Whether it is news.
    pub(super) fn moved(&mut self, place: &TopicPartition, to: &LeaderIdAndEpoch, at: &[NodeEndpoint]) -> bool {
        let topic = self.topics.get_mut(&place.topic);
        let Some(leader) = topic.and_then(|topic| topic.leaders.get_mut(&place.partition)) else { return false };
        let node = to.leader_id.0;
        let ends = at.iter().map(|end| (end.node_id.0, end.host.as_str(), end.port));
        if to.leader_epoch <= leader.epoch || !finds_broker(&mut self.brokers, node, ends) {
            return false;
        }
        *leader = Leader { node, epoch: to.leader_epoch };
        true
    }

    pub(super) fn tell_brokers(&self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Brokers(self.brokers.values().cloned().collect()));
    }

    /// Whether the producer id cannot be used any longer.
    pub(super) fn renews(&self) -> bool {
        self.settings.idempotent
            && self.transaction.is_none()
            && self.producer.is_some()
            && self.partitions.values().any(|partition| partition.broken)
    }

    pub(super) fn needs_id(&self) -> bool {
        self.settings.idempotent && self.transaction.is_none() && self.producer.is_none() && !self.partitions.is_empty()
    }

    pub(super) fn ask_id(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.renews() && !self.partitions.values().any(Partition::is_unsure) {
            // Nothing waits that may have arrived under the old epoch: all of it is sent under the next one, with new numbers. What the network still
            // carries under the old one is refused from then on.
            tracing::warn!(
                "the producer takes a new epoch: records were given up, or the broker has forgotten the old one"
            );
            let next = |(id, epoch): (i64, i16)| epoch.checked_add(1).map(|epoch| (id, epoch));
            self.producer = if self.fenced { None } else { self.producer.and_then(next) };
            self.fenced = false;
            for partition in self.partitions.values_mut() {
                partition.next_sequence = 0;
                partition.broken = false;
                partition.introduced = false;
                for packed in &mut partition.ready {
                    (packed.sequence, packed.alone) = (None, false);
                }
            }
        }
        let asks = self.asked.values().any(|asked| matches!(asked, Asked::ProducerId));
        if self.needs_id() && self.id_at <= now && !asks {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_transaction_timeout_ms(i32::MAX)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1);
            self.request(Asked::ProducerId, Target::Any, RequestKind::InitProducerId(request), None, effects);
        }
    }

    pub(super) fn id_answered(
        &mut self,
        now: Duration,
        response: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) {
        match response {
            Ok(ResponseKind::InitProducerId(response)) if response.error_code == 0 => {
                self.producer = Some((response.producer_id.0, response.producer_epoch));
                self.id_failures = 0;
            }
            other => {
                let error = match other {
                    Ok(ResponseKind::InitProducerId(response)) => KafkaError::from_code(response.error_code),
                    Err(TransportError::Refused(error)) => Some(error),
                    _ => None,
                };
                if let Some(error) = error {
                    if error.retriable {
                        tracing::warn!("the broker gives no producer id for now: {error}");
                    } else {
                        // Nothing can be sent before somebody mends it. Records that come later try again.
                        self.give_up_all(&DeliveryError { class: error.class, message: error.message });
                        effects.push(Effect::Wake);
                    }
                }
                self.id_at = now.saturating_add(self.backoff(self.id_failures));
                self.id_failures = self.id_failures.saturating_add(1);
            }
        }
    }
}
