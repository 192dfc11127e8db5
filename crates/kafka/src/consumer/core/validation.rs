//! Whether a position still lies in the log after the leader has changed (KIP-320).
//!
//! A log may be cut when a replica that lags behind becomes leader. Then the offset that comes next may never have existed there, or belong to another
//! record. So before anything is fetched from a leader of a later epoch, it is asked where the epoch of the last record that was read ends in its log.
//! Counterpart of Java's `OffsetsForLeaderEpochUtils` and `SubscriptionState.maybeCompleteValidation`.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::offset_for_leader_epoch_response::EpochEndOffset;
use kafka_protocol::messages::{BrokerId, OffsetForLeaderEpochRequest, RequestKind, ResponseKind, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::partition::{Partition, Position};
use super::{ConsumerCore, Effect, Pending, Target};
use crate::consumer::{ConsumerError, OffsetAndMetadata, TopicPartition};
use crate::net::TransportError;

/// Replica id of a consumer.
const CONSUMER: BrokerId = BrokerId(-1);

/// A position that a leader is asked about.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    pub(super) partition: TopicPartition,
    pub(super) offset: i64,
    /// Of the record before it.
    pub(super) epoch: i32,
    /// Of the leader that is asked.
    pub(super) leader_epoch: i32,
}

impl Doubt {
    /// Whether it is still the position that is read on from.
    fn concerns(&self, state: &Partition) -> bool {
        state.position == Position::At(self.offset) && state.epoch == Some(self.epoch)
    }
}

impl ConsumerCore {
    /// Asks the leaders; nothing is fetched meanwhile. Partitions come in order.
    pub(super) fn send_validations(&mut self, by_node: BTreeMap<i32, Vec<Doubt>>, effects: &mut Vec<Effect>) {
        for (node, doubts) in by_node {
            let mut topics: Vec<OffsetForLeaderTopic> = Vec::new();
            for doubt in &doubts {
                let (topic, partition) = (&*doubt.partition.topic, doubt.partition.partition);
                if topics.last().is_none_or(|last| last.topic.as_str() != topic) {
                    let name = TopicName(StrBytes::from_string(topic.to_owned()));
                    topics.push(OffsetForLeaderTopic::default().with_topic(name));
                }
                topics.last_mut().expect("one was pushed").partitions.push(
                    OffsetForLeaderPartition::default()
                        .with_partition(partition)
                        .with_current_leader_epoch(doubt.leader_epoch)
                        .with_leader_epoch(doubt.epoch),
                );
            }
            let request = OffsetForLeaderEpochRequest::default().with_replica_id(CONSUMER).with_topics(topics);
            let request = RequestKind::OffsetForLeaderEpoch(request);
            let timeout = self.settings.request_timeout;
            self.send(Target::Node(node), request, timeout, Pending::Validation { doubts }, effects);
        }
    }

    pub(super) fn validation_answered(
        &mut self,
        now: Duration,
        doubts: Vec<Doubt>,
        response: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) {
        let topics = match response {
            Ok(ResponseKind::OffsetForLeaderEpoch(response)) => response.topics,
            _ => Vec::new(),
        };
        for doubt in doubts {
            let answer = topics
                .iter()
                .filter(|topic| topic.topic.as_str() == &*doubt.partition.topic)
                .flat_map(|topic| &topic.partitions)
                .find(|answer| answer.partition == doubt.partition.partition);
            self.validated(now, &doubt, answer, effects);
        }
    }

    fn validated(&mut self, now: Duration, doubt: &Doubt, answer: Option<&EpochEndOffset>, effects: &mut Vec<Effect>) {
        let reset = self.reset_position(now);
        let settings = &self.settings;
        let Some(state) = self.partitions.get_mut(&doubt.partition) else { return };
        state.validating = false;
        if !doubt.concerns(state) {
            return;
        }
        let error = answer.map(|answer| ResponseError::try_from_code(answer.error_code));
        let Some((answer, None)) = answer.zip(error) else {
            state.retry_at = now + settings.retry_backoff;
            if error == Some(Some(ResponseError::TopicAuthorizationFailed)) {
                state.retry_at = now + settings.retry_backoff_max;
                self.fail(ConsumerError::TopicAuthorization(vec![doubt.partition.topic.to_string()]), effects);
            } else {
                self.cluster.want(now);
            }
            return;
        };
        let unknown = answer.end_offset < 0 || answer.leader_epoch < 0;
        if !unknown && answer.end_offset >= doubt.offset {
            state.checked = doubt.leader_epoch;
            return;
        }
        if reset == Position::Committed {
            state.retry_at = now + settings.retry_backoff_max;
            let diverging = (!unknown).then(|| OffsetAndMetadata {
                offset: answer.end_offset,
                leader_epoch: Some(answer.leader_epoch),
                metadata: String::new(),
            });
            let error =
                ConsumerError::LogTruncation { partition: doubt.partition.clone(), offset: doubt.offset, diverging };
            self.fail(error, effects);
        } else if unknown {
            tracing::info!(partition = %doubt.partition, offset = doubt.offset, "the log was cut; the offset is reset");
            state.move_to(reset);
        } else {
            let (partition, offset) = (&doubt.partition, doubt.offset);
            tracing::info!(%partition, offset, end = answer.end_offset, "the log was cut; reading goes on where it was");
            state.move_to(Position::At(answer.end_offset));
            state.epoch = Some(answer.leader_epoch);
            state.checked = doubt.leader_epoch;
            effects.push(Effect::Wake);
        }
    }
}
