//! Producer ids and transactions.
//!
//! A transaction's state is in the journal, its records are in the partitions. Its end is decided by one journal entry (`PrepareCommit`,
//! `PrepareAbort`); markers and group offsets follow and can be repeated, so that a crash between them is made good at the next start.
//! Whoever takes over a transactional id gets a higher epoch, and older ones are refused from then on.
//! The protocol of Kafka before KIP-890: partitions are added before they are written to. Counterpart of Apache Kafka's `TransactionCoordinator`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::list_transactions_response::TransactionState as ListedTransaction;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    DescribeTransactionsRequest, DescribeTransactionsResponse, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
    InitProducerIdResponse, ListTransactionsRequest, ListTransactionsResponse, ProducerId, TopicName, TransactionalId,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kurier_kafka::batch::{BatchHeader, MarkerKind};

use super::{Broker, code};
use crate::groups::{Committer, result_code};
use crate::journal::{Entry, TransactionEntry};
use crate::re2::Pattern;

/// The last epoch that is given out; after it comes a new producer id.
const LAST_EPOCH: i16 = i16::MAX - 1;
/// How long to wait before markers that could not be written are tried again.
const MARKER_RETRY: Duration = Duration::from_secs(1);
/// How long an unused transactional id is remembered, as in Apache Kafka.
const ID_EXPIRATION_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// Where a transaction is. The numbers go into the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Empty = 0,
    Ongoing = 1,
    PrepareCommit = 2,
    PrepareAbort = 3,
    CompleteCommit = 4,
    CompleteAbort = 5,
}

impl Phase {
    const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

    fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    /// How the transaction ends, once that is decided.
    fn decided(self) -> Option<MarkerKind> {
        match self {
            Self::PrepareCommit => Some(MarkerKind::Commit),
            Self::PrepareAbort => Some(MarkerKind::Abort),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
struct Transaction {
    producer_id: i64,
    epoch: i16,
    timeout_ms: i32,
    phase: Phase,
    started_ms: i64,
    updated_ms: i64,
    partitions: BTreeSet<(String, i32)>,
    groups: BTreeSet<String>,
    /// When an open transaction is rolled back, or the end of a decided one is tried again.
    deadline: Option<Duration>,
}

impl Transaction {
    fn entry(&self, id: &str) -> Entry {
        Entry::Transaction(TransactionEntry {
            id: id.to_owned(),
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            timeout_ms: self.timeout_ms,
            phase: self.phase as u8,
            started_ms: self.started_ms,
            updated_ms: self.updated_ms,
            partitions: self.partitions.iter().cloned().collect(),
            groups: self.groups.iter().cloned().collect(),
        })
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.timeout_ms).unwrap_or(0))
    }

    /// Whether this producer is the one that owns the transactional id.
    fn check_owner(&self, producer_id: i64, epoch: i16) -> Result<(), ResponseError> {
        if producer_id != self.producer_id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if epoch != self.epoch {
            return Err(ResponseError::ProducerFenced);
        }
        Ok(())
    }
}

/// All transactional ids.
#[derive(Default)]
pub(super) struct Transactions {
    by_id: BTreeMap<String, Transaction>,
}

impl Transactions {
    /// Plays an entry of the journal.
    pub(super) fn play(&mut self, entry: Entry) {
        match entry {
            Entry::Transaction(entry) => {
                let Some(phase) = Phase::of(entry.phase) else { return };
                let transaction = Transaction {
                    producer_id: entry.producer_id,
                    epoch: entry.producer_epoch,
                    timeout_ms: entry.timeout_ms,
                    phase,
                    started_ms: entry.started_ms,
                    updated_ms: entry.updated_ms,
                    partitions: entry.partitions.into_iter().collect(),
                    groups: entry.groups.into_iter().collect(),
                    deadline: None,
                };
                self.by_id.insert(entry.id, transaction);
            }
            Entry::TransactionRemoved { id } => {
                self.by_id.remove(&id);
            }
            _ => {}
        }
    }

    /// Everything worth remembering, as journal entries.
    pub(super) fn snapshot(&self, entries: &mut Vec<Entry>) {
        entries.extend(self.by_id.iter().map(|(id, transaction)| transaction.entry(id)));
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.by_id.values().filter_map(|transaction| transaction.deadline).min()
    }

    /// Whether a transactional batch may be appended to a partition.
    pub(super) fn check_write(
        &self,
        id: Option<&str>,
        header: &BatchHeader,
        topic: &str,
        partition: i32,
    ) -> Result<(), ResponseError> {
        let transaction = id.and_then(|id| self.by_id.get(id)).ok_or(ResponseError::InvalidTxnState)?;
        match transaction.check_owner(header.producer_id, header.producer_epoch) {
            // Tells the producer to roll back and to ask for its epoch, where it learns whether it is fenced.
            Err(ResponseError::ProducerFenced) => return Err(ResponseError::InvalidProducerEpoch),
            checked => checked?,
        }
        let added = transaction.partitions.iter().any(|(name, index)| name == topic && *index == partition);
        if transaction.phase == Phase::Ongoing && added { Ok(()) } else { Err(ResponseError::InvalidTxnState) }
    }

    fn owned(&self, id: &str, producer_id: i64, epoch: i16) -> Result<&Transaction, ResponseError> {
        let transaction = self.by_id.get(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        transaction.check_owner(producer_id, epoch)?;
        Ok(transaction)
    }
}

impl Broker {
    pub(super) fn init_producer_id(&mut self, request: InitProducerIdRequest) -> InitProducerIdResponse {
        let result = match &request.transactional_id {
            None => self.fresh_producer_id().map(|id| (id, 0)),
            Some(id) => self.init_transactional(id.as_str(), &request),
        };
        let response = InitProducerIdResponse::default();
        match result {
            Ok((id, epoch)) => response.with_producer_id(ProducerId(id)).with_producer_epoch(epoch),
            Err(error) => {
                response.with_error_code(code(error)).with_producer_id(ProducerId(-1)).with_producer_epoch(-1)
            }
        }
    }

    fn init_transactional(&mut self, id: &str, request: &InitProducerIdRequest) -> Result<(i64, i16), ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let longest = i32::try_from(self.config.transaction_max_timeout.as_millis()).unwrap_or(i32::MAX);
        if request.transaction_timeout_ms <= 0 || request.transaction_timeout_ms > longest {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        let fresh = Transaction {
            producer_id: -1,
            epoch: -1,
            timeout_ms: request.transaction_timeout_ms,
            phase: Phase::Empty,
            started_ms: -1,
            updated_ms: self.now.unix_ms,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            deadline: None,
        };
        let Some(known) = self.transactions.by_id.get(id) else {
            let next = Transaction { producer_id: self.fresh_producer_id()?, epoch: 0, ..fresh };
            return self.save(id, next).map(|saved| (saved.producer_id, saved.epoch));
        };
        if request.producer_id.0 != -1 {
            // A producer that wants a higher epoch of its own: it must still be the owner.
            known
                .check_owner(request.producer_id.0, request.producer_epoch)
                .map_err(|_| ResponseError::ProducerFenced)?;
        }
        if known.phase == Phase::Ongoing {
            self.roll_back(id)?;
        } else if known.phase.decided().is_some() {
            self.complete(id)?;
        }
        let known = self.transactions.by_id.get(id).ok_or(ResponseError::UnknownServerError)?;
        let next = if known.epoch >= LAST_EPOCH {
            Transaction { producer_id: self.fresh_producer_id()?, epoch: 0, ..fresh }
        } else {
            Transaction { producer_id: known.producer_id, epoch: known.epoch + 1, ..fresh }
        };
        self.save(id, next).map(|saved| (saved.producer_id, saved.epoch))
    }

    /// Writes a transaction's state down, then takes it.
    fn save(&mut self, id: &str, transaction: Transaction) -> Result<&Transaction, ResponseError> {
        self.record(&[transaction.entry(id)])?;
        let slot = self.transactions.by_id.entry(id.to_owned());
        Ok(slot.insert_entry(transaction).into_mut())
    }

    /// The transaction to which its owner adds something; begins it where none is open.
    fn opened(&self, id: &str, producer_id: i64, epoch: i16) -> Result<Transaction, ResponseError> {
        let mut transaction = self.transactions.owned(id, producer_id, epoch)?.clone();
        if transaction.phase.decided().is_some() {
            return Err(ResponseError::ConcurrentTransactions);
        }
        if transaction.phase != Phase::Ongoing {
            transaction.phase = Phase::Ongoing;
            transaction.started_ms = self.now.unix_ms;
            transaction.deadline = Some(self.now.elapsed + transaction.timeout());
            transaction.partitions.clear();
            transaction.groups.clear();
        }
        transaction.updated_ms = self.now.unix_ms;
        Ok(transaction)
    }

    pub(super) fn add_partitions_to_txn(&mut self, request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse {
        let topics = &request.v3_and_below_topics;
        let is_known = |name: &str, partition: i32| {
            self.topics.get(name).is_some_and(|topic| (0..topic.partition_count()).contains(&partition))
        };
        let all_known =
            topics.iter().all(|topic| topic.partitions.iter().all(|partition| is_known(&topic.name, *partition)));
        if !all_known {
            // All or none: those that exist are told that nothing was tried.
            let results = each_partition(topics, |name, partition| {
                let known = is_known(name, partition);
                code(if known { ResponseError::OperationNotAttempted } else { ResponseError::UnknownTopicOrPartition })
            });
            return AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results);
        }
        let id = request.v3_and_below_transactional_id.to_string();
        let result = self
            .opened(&id, request.v3_and_below_producer_id.0, request.v3_and_below_producer_epoch)
            .and_then(|mut transaction| {
                let before = transaction.partitions.len();
                let was_open = self.transactions.by_id.get(&id).is_some_and(|known| known.phase == Phase::Ongoing);
                for topic in topics {
                    transaction
                        .partitions
                        .extend(topic.partitions.iter().map(|index| (topic.name.to_string(), *index)));
                }
                if was_open && transaction.partitions.len() == before {
                    return Ok(());
                }
                self.save(&id, transaction).map(|_| ())
            });
        let error = result_code(result);
        let results = each_partition(topics, |_, _| error);
        AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results)
    }

    pub(super) fn add_offsets_to_txn(&mut self, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
        let id = request.transactional_id.to_string();
        let result = self.opened(&id, request.producer_id.0, request.producer_epoch).and_then(|mut transaction| {
            transaction.groups.insert(request.group_id.to_string());
            self.save(&id, transaction).map(|_| ())
        });
        AddOffsetsToTxnResponse::default().with_error_code(result_code(result))
    }

    pub(super) fn txn_offset_commit(
        &mut self,
        version: i16,
        request: TxnOffsetCommitRequest,
    ) -> TxnOffsetCommitResponse {
        let group = request.group_id.to_string();
        let committer = Committer {
            group: &group,
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            generation: request.generation_id,
        };
        let allowed = self
            .transactions
            .owned(&request.transactional_id, request.producer_id.0, request.producer_epoch)
            .and_then(|transaction| {
                let open = transaction.phase == Phase::Ongoing && transaction.groups.contains(&group);
                if open { Ok(()) } else { Err(ResponseError::InvalidTxnState) }
            })
            .and_then(|()| self.groups.check_commit(self.now.elapsed, &committer, true, version));
        let mut accepted = Vec::new();
        let mut results = Vec::new();
        for topic in request.topics {
            for partition in topic.partitions {
                let index = partition.partition_index;
                let (offset, epoch) = (partition.committed_offset, partition.committed_leader_epoch);
                let metadata = partition.committed_metadata;
                let checked = allowed
                    .and_then(|()| self.checked_offset(&committer, &topic.name, index, (offset, epoch), metadata));
                let result = checked.map(|offset| accepted.push(offset));
                results.push((topic.name.clone(), index, result));
            }
        }
        let producer_id = request.producer_id.0;
        let written = if accepted.is_empty() {
            Ok(())
        } else {
            let offsets = accepted.clone();
            self.record(&[Entry::PendingOffsets { group: group.clone(), producer_id, offsets }])
        };
        if written.is_ok() && !accepted.is_empty() {
            self.groups.add_pending_offsets(self.now.unix_ms, &group, producer_id, accepted);
        }
        let mut topics: Vec<TxnOffsetCommitResponseTopic> = Vec::new();
        for (name, index, result) in results {
            let partition = TxnOffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(result_code(result.and(written)));
            match topics.last_mut() {
                Some(topic) if topic.name == name => topic.partitions.push(partition),
                _ => topics
                    .push(TxnOffsetCommitResponseTopic::default().with_name(name).with_partitions(vec![partition])),
            }
        }
        TxnOffsetCommitResponse::default().with_topics(topics)
    }

    pub(super) fn end_txn(&mut self, request: EndTxnRequest) -> EndTxnResponse {
        let id = request.transactional_id.to_string();
        let result = self.try_end(&id, request.producer_id.0, request.producer_epoch, request.committed);
        EndTxnResponse::default().with_error_code(result_code(result))
    }

    fn try_end(&mut self, id: &str, producer_id: i64, epoch: i16, commit: bool) -> Result<(), ResponseError> {
        let transaction = self.transactions.owned(id, producer_id, epoch)?;
        match (transaction.phase, commit) {
            (Phase::Ongoing, _) => {
                let phase = if commit { Phase::PrepareCommit } else { Phase::PrepareAbort };
                let decided = Transaction { phase, updated_ms: self.now.unix_ms, ..transaction.clone() };
                self.save(id, decided)?;
                self.complete(id)
            }
            (Phase::PrepareCommit, true) | (Phase::PrepareAbort, false) => self.complete(id),
            // The answer was lost and the producer asks again.
            (Phase::CompleteCommit, true) | (Phase::CompleteAbort, false) => Ok(()),
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Rolls an open transaction back and shuts its producer out.
    fn roll_back(&mut self, id: &str) -> Result<(), ResponseError> {
        let Some(transaction) = self.transactions.by_id.get(id) else {
            return Ok(());
        };
        let epoch = transaction.epoch.saturating_add(1);
        let decided =
            Transaction { phase: Phase::PrepareAbort, epoch, updated_ms: self.now.unix_ms, ..transaction.clone() };
        self.save(id, decided)?;
        self.complete(id)
    }

    /// Writes what a decided transaction still lacks: markers, group offsets, and that it is complete.
    fn complete(&mut self, id: &str) -> Result<(), ResponseError> {
        let Some((transaction, kind)) =
            self.transactions.by_id.get(id).and_then(|known| Some((known.clone(), known.phase.decided()?)))
        else {
            return Ok(());
        };
        let result = self.write_end(id, &transaction, kind);
        if result.is_err()
            && let Some(known) = self.transactions.by_id.get_mut(id)
        {
            known.deadline = Some(self.now.elapsed + MARKER_RETRY);
        }
        // The producer asks again until the rest is written.
        result.map_err(|_| ResponseError::ConcurrentTransactions)
    }

    fn write_end(&mut self, id: &str, transaction: &Transaction, kind: MarkerKind) -> Result<(), ResponseError> {
        for (name, partition) in &transaction.partitions {
            self.write_marker(name, *partition, transaction, kind)?;
        }
        let commit = kind == MarkerKind::Commit;
        for group in &transaction.groups {
            let producer_id = transaction.producer_id;
            self.record(&[Entry::PendingOffsetsEnded { group: group.clone(), producer_id, commit }])?;
            self.groups.end_pending_offsets(group, producer_id, commit);
        }
        let complete = Transaction {
            phase: if commit { Phase::CompleteCommit } else { Phase::CompleteAbort },
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            deadline: None,
            updated_ms: self.now.unix_ms,
            ..transaction.clone()
        };
        self.save(id, complete).map(|_| ())
    }

    fn write_marker(
        &mut self,
        name: &str,
        partition: i32,
        transaction: &Transaction,
        kind: MarkerKind,
    ) -> Result<(), ResponseError> {
        let Some(topic) = self.topics.get_mut(name) else {
            return Ok(()); // Deleted since: there is nothing left to end.
        };
        let topic_id = topic.id;
        let Some((log, config)) = topic.log(partition) else {
            return Ok(());
        };
        if !log.has_open_transaction(transaction.producer_id) {
            return Ok(()); // Nothing was written, or the marker was written before a crash.
        }
        let before = log.size();
        let appended = log.append_marker(
            &*self.store,
            &config.log,
            self.now.unix_ms,
            transaction.producer_id,
            transaction.epoch,
            kind,
        );
        appended.map_err(|error| {
            tracing::error!(
                topic = name,
                partition,
                "cannot write the end of a transaction, it is tried again: {error}"
            );
            ResponseError::KafkaStorageError
        })?;
        let grown = usize::try_from(log.size().saturating_sub(before)).unwrap_or(usize::MAX);
        let flush_ms = config.log.flush_ms;
        self.schedule_flush(flush_ms);
        self.awakened.extend(self.fetches.appended(topic_id, partition, grown));
        Ok(())
    }

    /// After a start: what was decided is completed, what was open goes on with all of its time.
    pub(super) fn resume_transactions(&mut self) {
        for transaction in self.transactions.by_id.values_mut() {
            if transaction.phase == Phase::Ongoing {
                transaction.deadline = Some(self.now.elapsed + transaction.timeout());
            } else if transaction.phase.decided().is_some() {
                transaction.deadline = Some(self.now.elapsed);
            }
        }
        self.expire_transactions();
    }

    /// Rolls back transactions that were open for too long, and goes on with the end of decided ones.
    pub(super) fn expire_transactions(&mut self) {
        let due: Vec<String> = self
            .transactions
            .by_id
            .iter()
            .filter(|(_, transaction)| transaction.deadline.is_some_and(|deadline| deadline <= self.now.elapsed))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            let open = self.transactions.by_id.get(&id).is_some_and(|known| known.phase == Phase::Ongoing);
            let result = if open {
                tracing::info!(
                    transactional_id = id,
                    "transaction is rolled back: it was open for longer than its timeout"
                );
                self.roll_back(&id)
            } else {
                self.complete(&id)
            };
            if result.is_err()
                && let Some(known) = self.transactions.by_id.get_mut(&id)
            {
                known.deadline = Some(self.now.elapsed + MARKER_RETRY);
            }
        }
    }

    /// Forgets transactional ids that nobody has used for a long time.
    pub(super) fn forget_transactional_ids(&mut self) {
        let before = self.now.unix_ms.saturating_sub(ID_EXPIRATION_MS);
        let entries: Vec<Entry> = self
            .transactions
            .by_id
            .iter()
            .filter(|(_, known)| known.deadline.is_none() && known.updated_ms < before)
            .map(|(id, _)| Entry::TransactionRemoved { id: id.clone() })
            .collect();
        if self.record(&entries).is_ok() {
            entries.into_iter().for_each(|entry| self.transactions.play(entry));
        }
    }

    pub(super) fn describe_transactions(&self, request: DescribeTransactionsRequest) -> DescribeTransactionsResponse {
        let states = request
            .transactional_ids
            .into_iter()
            .map(|id| match self.transactions.by_id.get(id.as_str()) {
                None => TransactionState::default()
                    .with_transactional_id(id)
                    .with_error_code(code(ResponseError::TransactionalIdNotFound)),
                Some(known) => {
                    let mut topics: Vec<TopicData> = Vec::new();
                    for (name, partition) in &known.partitions {
                        match topics.last_mut() {
                            Some(topic) if topic.topic.as_str() == name => topic.partitions.push(*partition),
                            _ => topics.push(
                                TopicData::default()
                                    .with_topic(TopicName(name.clone().into()))
                                    .with_partitions(vec![*partition]),
                            ),
                        }
                    }
                    let open = known.phase == Phase::Ongoing || known.phase.decided().is_some();
                    TransactionState::default()
                        .with_transactional_id(id)
                        .with_transaction_state(known.phase.name().into())
                        .with_transaction_timeout_ms(known.timeout_ms)
                        .with_transaction_start_time_ms(if open { known.started_ms } else { -1 })
                        .with_producer_id(ProducerId(known.producer_id))
                        .with_producer_epoch(known.epoch)
                        .with_topics(topics)
                }
            })
            .collect();
        DescribeTransactionsResponse::default().with_transaction_states(states)
    }

    pub(super) fn list_transactions(&self, request: ListTransactionsRequest) -> ListTransactionsResponse {
        let unknown = request
            .state_filters
            .iter()
            .filter(|name| Phase::ALL.iter().all(|phase| phase.name() != name.as_str()))
            .cloned()
            .collect();
        // Not there, and empty, ask for all.
        let pattern =
            request.transactional_id_pattern.as_deref().filter(|pattern| !pattern.is_empty()).map(Pattern::new);
        let pattern = match pattern.transpose() {
            Ok(pattern) => pattern,
            Err(reason) => {
                tracing::debug!("a pattern of transactional ids is none: {reason}");
                let error = code(ResponseError::InvalidRegularExpression);
                return ListTransactionsResponse::default().with_error_code(error);
            }
        };
        let wanted = |id: &str, known: &Transaction| {
            let by_id = pattern.as_ref().is_none_or(|pattern| pattern.matches(id));
            let by_state = request.state_filters.is_empty()
                || request.state_filters.iter().any(|name| name.as_str() == known.phase.name());
            let by_producer = request.producer_id_filters.is_empty()
                || request.producer_id_filters.contains(&ProducerId(known.producer_id));
            let by_duration = request.duration_filter < 0
                || (known.phase == Phase::Ongoing
                    && self.now.unix_ms.saturating_sub(known.started_ms) > request.duration_filter);
            by_id && by_state && by_producer && by_duration
        };
        let listed = self
            .transactions
            .by_id
            .iter()
            .filter(|(id, known)| wanted(id, known))
            .map(|(id, known)| {
                ListedTransaction::default()
                    .with_transactional_id(TransactionalId(id.clone().into()))
                    .with_producer_id(ProducerId(known.producer_id))
                    .with_transaction_state(known.phase.name().into())
            })
            .collect();
        ListTransactionsResponse::default().with_unknown_state_filters(unknown).with_transaction_states(listed)
    }
}

/// The same kind of answer for every partition.
fn each_partition(
    topics: &[AddPartitionsToTxnTopic],
    error: impl Fn(&str, i32) -> i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    topics
        .iter()
        .map(|topic| {
            let partitions = topic
                .partitions
                .iter()
                .map(|index| {
                    AddPartitionsToTxnPartitionResult::default()
                        .with_partition_index(*index)
                        .with_partition_error_code(error(&topic.name, *index))
                })
                .collect();
            AddPartitionsToTxnTopicResult::default().with_name(topic.name.clone()).with_results_by_partition(partitions)
        })
        .collect()
}
