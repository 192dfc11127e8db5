//! Transactions: who is in one, which hang, and how they are ended from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, InitProducerIdRequest, ListTransactionsRequest, ProducerId,
    TopicName, TransactionalId, WriteTxnMarkersRequest,
};

use super::cluster::TRANSACTION;
use super::{Admin, AdminError, Failure, Open, Outcomes, Patience, ask, coordinator, text, until_done};
use crate::consumer::TopicPartition;
use crate::error::KafkaError;
use crate::net::Target;

/// What a producer has written to a partition, as its leader remembers it: Java's `ProducerState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// The producer.
    pub producer_id: i64,
    /// Its epoch.
    pub epoch: i32,
    /// The sequence number of its last record; −1 if there is none.
    pub last_sequence: i32,
    /// When that was; −1 if there is none.
    pub last_timestamp: i64,
    /// The epoch of the coordinator that ended its last transaction.
    pub coordinator_epoch: Option<i32>,
    /// Where its transaction begins that is open here.
    pub transaction_start: Option<i64>,
}

/// A transaction in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransactionListing {
    /// `transactional.id`.
    pub transactional_id: String,
    /// The producer that has it.
    pub producer_id: i64,
    /// `Ongoing`, `CompleteCommit` and so on.
    pub state: String,
}

/// Which transactions are listed. Nothing means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    /// In one of these states.
    pub states: Vec<String>,
    /// Of one of these producers.
    pub producers: Vec<i64>,
    /// Open for longer than this.
    pub longer_than: Option<Duration>,
    /// With an id that this regular expression matches whole.
    pub id_pattern: Option<String>,
}

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    /// The broker that coordinates it.
    pub coordinator: i32,
    /// `Ongoing`, `CompleteCommit` and so on.
    pub state: String,
    /// The producer that has it.
    pub producer_id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// `transaction.timeout.ms`.
    pub timeout: Duration,
    /// When it began, in milliseconds since 1970, if it is open.
    pub started: Option<i64>,
    /// The partitions in it.
    pub partitions: BTreeSet<TopicPartition>,
}

/// A transaction that hangs in a partition: Java's `AbortTransactionSpec`, whose parts come from [`Admin::describe_producers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HangingTransaction {
    /// Where.
    pub partition: TopicPartition,
    /// Whose.
    pub producer_id: i64,
    /// Of which epoch.
    pub epoch: i16,
    /// The epoch of its coordinator.
    pub coordinator_epoch: i32,
}

impl Admin {
    /// Takes transactional ids away from whoever has them: what is open is aborted, and nothing more can be written. Answers producer id and epoch.
    pub async fn fence_producers(&self, ids: &[&str]) -> Result<Outcomes<String, (i64, i16)>, AdminError> {
        let mut patience = self.patience(format!("the fencing of producers {}", ids.join(", ")));
        let mut open = Open::new(ids.iter().map(|id| (*id).to_owned()));
        let end = until_done!(patience, patience.fence(&mut open));
        open.close(end)
    }

    /// The producers that the leaders of partitions remember.
    pub async fn describe_producers(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Outcomes<TopicPartition, Vec<ProducerState>>, AdminError> {
        let mut patience = self.patience("a description of producers");
        let mut open = Open::new(partitions.iter().cloned());
        let end = until_done!(patience, patience.producers(&mut open));
        open.close(end)
    }

    /// Transactions by `transactional.id`. One that is not there is `TransactionalIdNotFoundException`.
    pub async fn describe_transactions(
        &self,
        ids: &[&str],
    ) -> Result<Outcomes<String, TransactionDescription>, AdminError> {
        let mut patience = self.patience(format!("a description of transactions {}", ids.join(", ")));
        let mut open = Open::new(ids.iter().map(|id| (*id).to_owned()));
        let end = until_done!(patience, patience.transactions(&mut open));
        open.close(end)
    }

    /// The transactions that all brokers know, by id.
    pub async fn list_transactions(&self, filter: &TransactionFilter) -> Result<Vec<TransactionListing>, AdminError> {
        let mut patience = self.patience("the list of transactions");
        until_done!(patience, patience.list_transactions(filter))
    }

    /// Ends a transaction in one partition, which its coordinator has forgotten there.
    pub async fn abort_transaction(&self, hanging: &HangingTransaction) -> Result<(), AdminError> {
        let mut patience = self.patience(format!("the end of a transaction in {}", hanging.partition));
        until_done!(patience, patience.abort(hanging))
    }
}

impl Patience<'_> {
    async fn fence(&self, open: &mut Open<String, (i64, i16)>) -> Result<(), Failure> {
        for id in open.left.clone() {
            let found = match self.coordinators(TRANSACTION, std::slice::from_ref(&id)).await?.pop() {
                Some((_, Ok(found))) => found,
                Some((_, Err(error))) => {
                    open.settle(&id, Err(error));
                    continue;
                }
                None => return Err(Failure::Unanswered),
            };
            // The time that the transaction may take which nobody will begin: as long as the request, as in Java.
            let request = InitProducerIdRequest::default()
                .with_transactional_id(Some(TransactionalId(text(&id))))
                .with_transaction_timeout_ms(self.admin.timeout_ms())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1);
            let response = ask!(self, coordinator(found), InitProducerId(request));
            let outcome = KafkaError::from_code(response.error_code)
                .map_or(Ok((response.producer_id.0, response.producer_epoch)), Err);
            open.settle(&id, outcome);
        }
        open.remaining()
    }

    async fn producers(&self, open: &mut Open<TopicPartition, Vec<ProducerState>>) -> Result<(), Failure> {
        let asked = open.left.clone();
        let leaders = self.by_leader(&asked, |partition, error| open.settle(partition, Err(error))).await?;
        for (leader, partitions) in leaders {
            let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for partition in &partitions {
                topics.entry(&partition.topic).or_default().push(partition.partition);
            }
            let topics = topics.into_iter().map(|(topic, partitions)| {
                TopicRequest::default().with_name(TopicName(text(topic))).with_partition_indexes(partitions)
            });
            let request = DescribeProducersRequest::default().with_topics(topics.collect());
            let response = ask!(self, Target::Node(leader), DescribeProducers(request));
            for topic in &response.topics {
                for found in &topic.partitions {
                    let states = found.active_producers.iter().map(|state| ProducerState {
                        producer_id: state.producer_id.0,
                        epoch: state.producer_epoch,
                        last_sequence: state.last_sequence,
                        last_timestamp: state.last_timestamp,
                        coordinator_epoch: (state.coordinator_epoch >= 0).then_some(state.coordinator_epoch),
                        transaction_start: (state.current_txn_start_offset >= 0)
                            .then_some(state.current_txn_start_offset),
                    });
                    let error = KafkaError::from_answer(found.error_code, found.error_message.as_deref());
                    let place = TopicPartition::new(topic.name.as_str(), found.partition_index);
                    open.settle(&place, error.map_or_else(|| Ok(states.collect()), Err));
                }
            }
        }
        open.remaining()
    }

    async fn transactions(&self, open: &mut Open<String, TransactionDescription>) -> Result<(), Failure> {
        for (node, ids) in self.by_coordinator(TRANSACTION, open).await? {
            let asked = ids.iter().map(|id| TransactionalId(text(id))).collect();
            let request = DescribeTransactionsRequest::default().with_transactional_ids(asked);
            let coordinating = node.node;
            let response = ask!(self, coordinator(node), DescribeTransactions(request));
            for state in &response.transaction_states {
                let mut partitions = BTreeSet::new();
                for topic in &state.topics {
                    let name = topic.topic.as_str();
                    partitions.extend(topic.partitions.iter().map(|partition| TopicPartition::new(name, *partition)));
                }
                let described = TransactionDescription {
                    coordinator: coordinating,
                    state: state.transaction_state.to_string(),
                    producer_id: state.producer_id.0,
                    epoch: state.producer_epoch,
                    timeout: Duration::from_millis(u64::try_from(state.transaction_timeout_ms).unwrap_or_default()),
                    started: (state.transaction_start_time_ms >= 0).then_some(state.transaction_start_time_ms),
                    partitions,
                };
                let outcome = KafkaError::from_code(state.error_code).map_or(Ok(described), Err);
                open.settle(&state.transactional_id.to_string(), outcome);
            }
        }
        open.remaining()
    }

    async fn list_transactions(&self, filter: &TransactionFilter) -> Result<Vec<TransactionListing>, Failure> {
        let longer_than = filter.longer_than.map_or(-1, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        let request = ListTransactionsRequest::default()
            .with_state_filters(filter.states.iter().map(|state| text(state)).collect())
            .with_producer_id_filters(filter.producers.iter().copied().map(ProducerId).collect())
            .with_duration_filter(longer_than)
            .with_transactional_id_pattern(filter.id_pattern.as_deref().map(text));
        let mut listed = BTreeSet::new();
        for broker in self.metadata(Some(&[])).await?.brokers {
            let response = ask!(self, Target::Node(broker.node_id.0), ListTransactions(request.clone()));
            Failure::check(response.error_code, None)?;
            listed.extend(response.transaction_states.into_iter().map(|state| TransactionListing {
                transactional_id: state.transactional_id.to_string(),
                producer_id: state.producer_id.0,
                state: state.transaction_state.to_string(),
            }));
        }
        Ok(listed.into_iter().collect())
    }

    async fn abort(&self, hanging: &HangingTransaction) -> Result<(), Failure> {
        let mut refused = None;
        let partition = std::slice::from_ref(&hanging.partition);
        let leaders = self.by_leader(partition, |_, error| refused = Some(error)).await?;
        if let Some(error) = refused {
            return Err(Failure::Refused(error));
        }
        let leader = leaders.into_keys().next().ok_or(Failure::Unanswered)?;
        let topic = WritableTxnMarkerTopic::default()
            .with_name(TopicName(text(&hanging.partition.topic)))
            .with_partition_indexes(vec![hanging.partition.partition]);
        let marker = WritableTxnMarker::default()
            .with_producer_id(ProducerId(hanging.producer_id))
            .with_producer_epoch(hanging.epoch)
            .with_coordinator_epoch(hanging.coordinator_epoch)
            .with_transaction_result(false)
            .with_topics(vec![topic]);
        let request = WriteTxnMarkersRequest::default().with_markers(vec![marker]);
        let response = ask!(self, Target::Node(leader), WriteTxnMarkers(request));
        let results = response.markers.iter().flat_map(|marker| &marker.topics).flat_map(|topic| &topic.partitions);
        let result = results.into_iter().next().ok_or(Failure::Unanswered)?;
        Failure::check(result.error_code, None)
    }
}
