//! The requests of a transaction, made from its state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiVersionsRequest, EndTxnRequest, GroupId,
    InitProducerIdRequest, ProducerId, RequestKind, TopicName, TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::{PendingOffsets, State, Step, Transaction};
use crate::consumer::Offsets;
use crate::group::coordinator::{GROUP_KEY, TRANSACTION_KEY, question};
use crate::net::Target;
use crate::producer::DeliveryError;
use crate::producer::core::{Asked, Effect, Mark, ProducerCore};

/// The highest versions of version 1 of the protocol: from the next ones on a broker does what version 2 says.
const PRODUCE_V1: i16 = 11;
const TXN_OFFSET_COMMIT_V1: i16 = 4;
const END_TXN_V1: i16 = 4;

/// What a request of a transaction was for, kept until its answer.
#[derive(Debug)]
pub(in crate::producer::core) enum TransactionAsked {
    Coordinator,
    GroupCoordinator,
    Versions,
    ProducerId,
    /// With their places.
    Partitions(Vec<usize>),
    /// By its name.
    Group(String),
    /// What was sent; more may have come since.
    Offsets(Offsets),
    End,
}

impl Transaction {
    /// The highest version of Produce under this version of the protocol.
    pub(in crate::producer::core) fn highest_produce(&self) -> Option<i16> {
        (!self.is_v2).then_some(PRODUCE_V1)
    }

    fn highest(&self, of_version_1: i16) -> Option<i16> {
        (!self.is_v2).then_some(of_version_1)
    }
}

impl ProducerCore {
    /// Does the next thing that the transaction needs.
    pub(in crate::producer::core) fn advance_transaction(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Some(transaction) = &self.transaction else { return };
        if transaction.drops_unsent() {
            let reason = transaction.error().map_or_else(
                || DeliveryError {
                    class: "org.apache.kafka.common.errors.TransactionAbortedException",
                    message: "Failing batch since transaction was aborted".to_owned(),
                },
                |error| DeliveryError { class: error.class, message: error.message.clone() },
            );
            self.give_up_unsent(&reason);
        }
        // Only to end it, the records have to be looked at.
        let ends = |transaction: &&Transaction| matches!(transaction.state, State::Committing | State::Aborting);
        let is_flushed = self.transaction.as_ref().filter(ends).is_some_and(|_| self.is_flushed(Mark::ALL));
        let Some(transaction) = &mut self.transaction else { return };
        if transaction.busy {
            return;
        }
        let Some(step) = transaction.next_step(is_flushed) else { return };
        if step == Step::End {
            self.transaction_ended(None);
            effects.push(Effect::Wake);
            // The next epoch may be needed all the same.
            return self.advance_transaction(now, effects);
        }
        if transaction.ask_at > now {
            return;
        }
        transaction.busy = true;
        transaction.ask_at = Duration::ZERO;
        self.ask_transaction(step, effects);
    }

    fn ask_transaction(&mut self, step: Step, effects: &mut Vec<Effect>) {
        let (producer_id, epoch) = self.producer.unwrap_or((-1, -1));
        let producer_id = ProducerId(producer_id);
        let Some(transaction) = &mut self.transaction else { return };
        let id = || TransactionalId(StrBytes::from_string(transaction.id.clone()));
        let here = transaction.coordinator.clone().map_or(Target::Any, Target::Coordinator);
        let (asked, to, request, highest) = match step {
            Step::FindCoordinator => {
                let request = RequestKind::FindCoordinator(question(TRANSACTION_KEY, &transaction.id));
                (TransactionAsked::Coordinator, Target::Any, request, None)
            }
            Step::FindGroupCoordinator => {
                let group = transaction.offsets.as_ref().map_or("", |offsets| &offsets.group.group_id);
                let request = RequestKind::FindCoordinator(question(GROUP_KEY, group));
                (TransactionAsked::GroupCoordinator, Target::Any, request, None)
            }
            Step::Versions => {
                let request = ApiVersionsRequest::default()
                    .with_client_software_name(StrBytes::from_static_str(crate::net::SOFTWARE))
                    .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
                (TransactionAsked::Versions, here, RequestKind::ApiVersions(request), None)
            }
            Step::InitProducerId => {
                let timeout_ms = i32::try_from(transaction.timeout.as_millis()).unwrap_or(i32::MAX);
                let request = InitProducerIdRequest::default()
                    .with_transactional_id(Some(id()))
                    .with_transaction_timeout_ms(timeout_ms)
                    .with_producer_id(producer_id)
                    .with_producer_epoch(epoch);
                (TransactionAsked::ProducerId, here, RequestKind::InitProducerId(request), None)
            }
            Step::AddPartitions => {
                let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
                let mut places = std::mem::take(&mut transaction.unsure);
                places.append(&mut transaction.news);
                for (place, _) in places.iter().filter_map(|at| self.partitions.get_index(*at)) {
                    topics.entry(Arc::clone(&place.topic)).or_default().push(place.partition);
                }
                let topics = topics.into_iter().map(|(topic, partitions)| {
                    AddPartitionsToTxnTopic::default().with_name(topic_name(&topic)).with_partitions(partitions)
                });
                let request = AddPartitionsToTxnRequest::default()
                    .with_v3_and_below_transactional_id(id())
                    .with_v3_and_below_producer_id(producer_id)
                    .with_v3_and_below_producer_epoch(epoch)
                    .with_v3_and_below_topics(topics.collect());
                (TransactionAsked::Partitions(places), here, RequestKind::AddPartitionsToTxn(request), None)
            }
            Step::AddOffsets => {
                let unsure = transaction.unsure_group.as_deref();
                let group = transaction.offsets.as_ref().map(|offsets| &*offsets.group.group_id).or(unsure);
                let group = group.unwrap_or_default();
                let request = AddOffsetsToTxnRequest::default()
                    .with_transactional_id(id())
                    .with_producer_id(producer_id)
                    .with_producer_epoch(epoch)
                    .with_group_id(GroupId(StrBytes::from_string(group.to_owned())));
                (TransactionAsked::Group(group.to_owned()), here, RequestKind::AddOffsetsToTxn(request), None)
            }
            Step::CommitOffsets => {
                let (id, highest) = (id(), transaction.highest(TXN_OFFSET_COMMIT_V1));
                let Some(pending) = &mut transaction.offsets else { return };
                pending.changed = false;
                let to = pending.coordinator.clone().map_or(Target::Any, Target::Coordinator);
                let request = offset_commit(pending)
                    .with_transactional_id(id)
                    .with_producer_id(producer_id)
                    .with_producer_epoch(epoch);
                let asked = TransactionAsked::Offsets(pending.offsets.clone());
                (asked, to, RequestKind::TxnOffsetCommit(request), highest)
            }
            Step::EndTxn => {
                let request = EndTxnRequest::default()
                    .with_transactional_id(id())
                    .with_producer_id(producer_id)
                    .with_producer_epoch(epoch)
                    .with_committed(transaction.state == State::Committing);
                (TransactionAsked::End, here, RequestKind::EndTxn(request), transaction.highest(END_TXN_V1))
            }
            Step::End => return,
        };
        self.request(Asked::Transaction(asked), to, request, highest, effects);
    }

    /// The transaction is over; an answer may have brought the next producer id and epoch.
    pub(super) fn transaction_ended(&mut self, renewed: Option<(i64, i16)>) {
        if let Some(renewed) = renewed {
            self.take_identity(renewed);
        }
        for partition in self.partitions.values_mut() {
            partition.membership = super::Membership::Out;
        }
        let Some(transaction) = &mut self.transaction else { return };
        transaction.needs_epoch &= renewed.is_none();
        // Another version of the protocol begins with another epoch.
        transaction.needs_epoch |= transaction.finalized_v2.is_some_and(|v2| v2 != transaction.is_v2);
        transaction.started = false;
        transaction.news.clear();
        transaction.unsure.clear();
        transaction.unsure_group = None;
        transaction.error = None;
        if self.producer.is_none() {
            transaction.state = State::Uninitialized;
            transaction.finish(Ok(()));
        } else if transaction.needs_epoch {
            transaction.state = State::Initializing;
        } else {
            transaction.state = State::Ready;
            transaction.finish(Ok(()));
        }
    }

    /// Goes on under another producer id or epoch; nothing is under way under the old one.
    pub(super) fn take_identity(&mut self, identity: (i64, i16)) {
        if self.producer == Some(identity) {
            return;
        }
        self.producer = Some(identity);
        for partition in self.partitions.values_mut() {
            partition.next_sequence = 0;
            partition.broken = false;
            partition.introduced = false;
        }
    }
}

fn offset_commit(pending: &PendingOffsets) -> TxnOffsetCommitRequest {
    let mut topics: BTreeMap<Arc<str>, Vec<TxnOffsetCommitRequestPartition>> = BTreeMap::new();
    for (place, offset) in &pending.offsets {
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(place.partition)
            .with_committed_offset(offset.offset)
            .with_committed_leader_epoch(offset.leader_epoch.unwrap_or(-1))
            .with_committed_metadata(Some(StrBytes::from_string(offset.metadata.clone())));
        topics.entry(Arc::clone(&place.topic)).or_default().push(partition);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        TxnOffsetCommitRequestTopic::default().with_name(topic_name(&topic)).with_partitions(partitions)
    });
    let group = &pending.group;
    TxnOffsetCommitRequest::default()
        .with_group_id(GroupId(StrBytes::from_string(group.group_id.clone())))
        .with_generation_id(group.generation)
        .with_member_id(StrBytes::from_string(group.member_id.clone()))
        .with_group_instance_id(group.instance_id.clone().map(StrBytes::from_string))
        .with_topics(topics.collect())
}

fn topic_name(topic: &Arc<str>) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_string()))
}
