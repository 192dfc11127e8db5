//! Producer ids and transactions.
//!
//! A transaction's state is in the journal, its records are in the partitions. Its end is decided by one journal entry (`PrepareCommit`,
//! `PrepareAbort`); markers and group offsets follow and can be repeated, so that a crash between them is made good at the next start.
//! Whoever takes over a transactional id gets a higher epoch, and older ones are refused from then on.
//! Two protocols: before KIP-890, partitions are added before they are written to, and the epoch stays from one transaction to the next. In its
//! second version they are added by what is written, and every end brings a new epoch, so that nothing late gets into the next transaction.
//! Questions about transactions are answered in `transaction_lists`. Counterpart of Apache Kafka's `TransactionCoordinator`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ProducerId, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};
use kurier_kafka::batch::{BatchHeader, MarkerKind};

use super::{Broker, code};
use crate::groups::{Committer, result_code};
use crate::journal::{Entry, TransactionEntry};

/// The last epoch that is given out; after it comes a new producer id.
const LAST_EPOCH: i16 = i16::MAX - 1;
/// First version of `Produce` whose records add their partition to the transaction.
pub(super) const PRODUCE_ADDS_VERSION: i16 = 12;
/// First version of `Produce` whose senders know that they can go on after an abort.
const PRODUCE_ABORTABLE_VERSION: i16 = 11;
/// First version of `TxnOffsetCommit` that adds its group to the transaction, and the one before, whose senders know of aborts.
const OFFSETS_ADD_VERSION: i16 = 5;
const OFFSETS_ABORTABLE_VERSION: i16 = 4;
/// First version of `EndTxn` that gives the producer a new epoch.
const END_BUMPS_VERSION: i16 = 5;
/// "None", for producer ids and epochs.
const NO_ID: i64 = -1;
const NO_EPOCH: i16 = -1;
/// How long to wait before markers that could not be written are tried again.
const MARKER_RETRY: Duration = Duration::from_secs(1);

/// Where a transaction is. The numbers go into the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Empty = 0,
    Ongoing = 1,
    PrepareCommit = 2,
    PrepareAbort = 3,
    CompleteCommit = 4,
    CompleteAbort = 5,
}

impl Phase {
    pub(super) const ALL: [Self; 6] = [
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

    pub(super) fn name(self) -> &'static str {
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
    pub(super) fn decided(self) -> Option<MarkerKind> {
        match self {
            Self::PrepareCommit => Some(MarkerKind::Commit),
            Self::PrepareAbort => Some(MarkerKind::Abort),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Transaction {
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
    /// The epoch before, if its owner itself asked for this one: it may have missed the answer.
    last_epoch: i16,
    /// The producer id before, which ran out of epochs.
    previous_producer_id: i64,
    /// The producer id with which the owner goes on once this transaction is complete: its epochs have run out.
    next_producer_id: i64,
    /// Its end came with a new epoch (KIP-890).
    bumped: bool,
    pub(super) timeout_ms: i32,
    pub(super) phase: Phase,
    pub(super) started_ms: i64,
    updated_ms: i64,
    pub(super) partitions: BTreeSet<(String, i32)>,
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
            last_epoch: self.last_epoch,
            previous_producer_id: self.previous_producer_id,
            next_producer_id: self.next_producer_id,
            bumped: self.bumped,
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

/// Whether a partition is one of a transaction's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Membership {
    Added,
    ToBeAdded,
}

/// All transactional ids.
#[derive(Default)]
pub(super) struct Transactions {
    pub(super) by_id: BTreeMap<String, Transaction>,
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
                    last_epoch: entry.last_epoch,
                    previous_producer_id: entry.previous_producer_id,
                    next_producer_id: entry.next_producer_id,
                    bumped: entry.bumped,
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

    /// Whether a transactional batch may be appended to a partition, and whether the partition is to be added first.
    pub(super) fn check_write(
        &self,
        version: i16,
        id: Option<&str>,
        header: &BatchHeader,
        topic: &str,
        partition: i32,
    ) -> Result<Membership, ResponseError> {
        let not_in_it = if version >= PRODUCE_ABORTABLE_VERSION {
            ResponseError::TransactionAbortable
        } else {
            ResponseError::InvalidTxnState
        };
        let transaction = id.and_then(|id| self.by_id.get(id)).ok_or(match version {
            PRODUCE_ADDS_VERSION.. => ResponseError::InvalidProducerIdMapping,
            _ => not_in_it,
        })?;
        match transaction.check_owner(header.producer_id, header.producer_epoch) {
            // Tells the producer to roll back and to ask for its epoch, where it learns whether it is fenced.
            Err(ResponseError::ProducerFenced) => return Err(ResponseError::InvalidProducerEpoch),
            checked => checked?,
        }
        let added = transaction.partitions.iter().any(|(name, index)| name == topic && *index == partition);
        if transaction.phase == Phase::Ongoing && added {
            return Ok(Membership::Added);
        }
        if version < PRODUCE_ADDS_VERSION {
            return Err(not_in_it);
        }
        // The end of the transaction before is not yet written everywhere: the producer tries again.
        if transaction.phase.decided().is_some() {
            Err(ResponseError::NotEnoughReplicas)
        } else {
            Ok(Membership::ToBeAdded)
        }
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
        // An epoch is that of a producer id.
        if id.is_empty() || (request.producer_id.0 == NO_ID) != (request.producer_epoch == NO_EPOCH) {
            return Err(ResponseError::InvalidRequest);
        }
        let longest = i32::try_from(self.config.transaction_max_timeout.as_millis()).unwrap_or(i32::MAX);
        if request.transaction_timeout_ms <= 0 || request.transaction_timeout_ms > longest {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        let fresh = Transaction {
            producer_id: NO_ID,
            epoch: NO_EPOCH,
            last_epoch: NO_EPOCH,
            previous_producer_id: NO_ID,
            next_producer_id: NO_ID,
            bumped: false,
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
        // A producer that wants a higher epoch of its own must still be the owner.
        let expected = (request.producer_id.0 != NO_ID).then_some((request.producer_id.0, request.producer_epoch));
        if let Some((producer_id, epoch)) = expected {
            let replaced = producer_id == known.previous_producer_id && epoch >= LAST_EPOCH;
            if producer_id != known.producer_id && !replaced {
                return Err(ResponseError::ProducerFenced);
            }
            if epoch != known.epoch {
                // It asked before, and the answer was lost.
                return if epoch == known.last_epoch && known.phase != Phase::Ongoing && known.phase.decided().is_none()
                {
                    Ok((known.producer_id, known.epoch))
                } else {
                    Err(ResponseError::ProducerFenced)
                };
            }
        }
        if known.phase == Phase::Ongoing {
            self.roll_back(id)?;
        } else if known.phase.decided().is_some() {
            self.complete(id, false)?;
        }
        let known = self.transactions.by_id.get(id).ok_or(ResponseError::UnknownServerError)?;
        let (producer_id, epoch, previous) = (known.producer_id, known.epoch, known.previous_producer_id);
        let last_epoch = if expected.is_some() { epoch } else { NO_EPOCH };
        let next = if epoch >= LAST_EPOCH {
            let fresh = Transaction { previous_producer_id: producer_id, last_epoch, ..fresh };
            Transaction { producer_id: self.fresh_producer_id()?, epoch: 0, ..fresh }
        } else {
            Transaction { producer_id, epoch: epoch + 1, previous_producer_id: previous, last_epoch, ..fresh }
        };
        self.save(id, next).map(|saved| (saved.producer_id, saved.epoch))
    }

    /// Writes a transaction's state down, then takes it.
    fn save(&mut self, id: &str, transaction: Transaction) -> Result<&Transaction, ResponseError> {
        self.record_as_coordinator(&[transaction.entry(id)])?;
        if self.must_survive(&transaction) {
            // Asked again, it is written again.
            self.sync_journal().map_err(|_| ResponseError::NotCoordinator)?;
        }
        let slot = self.transactions.by_id.entry(id.to_owned());
        Ok(slot.insert_entry(transaction).into_mut())
    }

    /// Whether a transaction's state must survive the loss of power before anything follows from it.
    ///
    /// An epoch that is given out twice makes records of one owner look like repeats of another's. Where records are flushed, a partition that nobody
    /// knows to be in a transaction would keep it open for ever, and an end that is forgotten half-way would be another in the next partition.
    fn must_survive(&self, transaction: &Transaction) -> bool {
        let is_flushed =
            |name: &str| self.topics.get(name).is_some_and(|topic| topic.config.log.flush_messages < i64::MAX);
        transaction.phase == Phase::Empty || transaction.partitions.iter().any(|(name, _)| is_flushed(name))
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
            transaction.bumped = false;
        }
        transaction.updated_ms = self.now.unix_ms;
        Ok(transaction)
    }

    /// Adds the partition that a producer writes to.
    pub(super) fn add_written(
        &mut self,
        id: &str,
        header: &BatchHeader,
        topic: &str,
        index: i32,
    ) -> Result<(), ResponseError> {
        let mut transaction = self.opened(id, header.producer_id, header.producer_epoch)?;
        transaction.partitions.insert((topic.to_owned(), index));
        self.save(id, transaction).map(|_| ())
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
        let id = request.transactional_id.to_string();
        let allowed = self
            .join_with_offsets(version, &id, request.producer_id.0, request.producer_epoch, &group)
            .and_then(|()| self.groups.check_commit(self.now.elapsed, &committer, true, version));
        let mut accepted = Vec::new();
        let mut results = Vec::new();
        for topic in request.topics {
            for partition in topic.partitions {
                let index = partition.partition_index;
                let (offset, epoch) = (partition.committed_offset, partition.committed_leader_epoch);
                let metadata = partition.committed_metadata;
                let checked = self.checked_offset(&committer, allowed, &topic.name, index, (offset, epoch), metadata);
                // As Apache Kafka has it: producers do not know of epochs of members.
                let checked = checked.map_err(|error| match error {
                    ResponseError::StaleMemberEpoch => ResponseError::IllegalGeneration,
                    other => other,
                });
                let result = checked.map(|offset| accepted.push(offset));
                results.push((topic.name.clone(), index, result));
            }
        }
        let producer_id = request.producer_id.0;
        let written = if accepted.is_empty() {
            Ok(())
        } else {
            let offsets = accepted.clone();
            let entry = Entry::PendingOffsets { group: group.clone(), producer_id, offsets };
            let survives = self.transactions.by_id.get(&id).is_some_and(|known| self.must_survive(known));
            self.record_as_coordinator(&[entry]).and_then(|()| match survives {
                true => self.sync_journal().map_err(|_| ResponseError::NotCoordinator),
                false => Ok(()),
            })
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

    /// Sees to it that a group's offsets may be committed in a transaction.
    fn join_with_offsets(
        &mut self,
        version: i16,
        id: &str,
        producer_id: i64,
        epoch: i16,
        group: &str,
    ) -> Result<(), ResponseError> {
        // As in a write to the group's log.
        let transaction = self.transactions.owned(id, producer_id, epoch).map_err(|error| match error {
            ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
            error => error,
        })?;
        if transaction.phase == Phase::Ongoing && transaction.groups.contains(group) {
            return Ok(());
        }
        if version < OFFSETS_ADD_VERSION {
            let abortable = version >= OFFSETS_ABORTABLE_VERSION;
            return Err(if abortable { ResponseError::TransactionAbortable } else { ResponseError::InvalidTxnState });
        }
        let mut transaction = self.opened(id, producer_id, epoch)?;
        transaction.groups.insert(group.to_owned());
        self.save(id, transaction).map(|_| ())
    }

    pub(super) fn end_txn(&mut self, version: i16, request: EndTxnRequest) -> EndTxnResponse {
        let id = request.transactional_id.to_string();
        let bumps = version >= END_BUMPS_VERSION;
        let result = self.try_end(&id, request.producer_id.0, request.producer_epoch, request.committed, bumps);
        let response = EndTxnResponse::default().with_error_code(result_code(result.map(|_| ())));
        if !bumps {
            return response;
        }
        let (producer_id, epoch) = result.unwrap_or((NO_ID, NO_EPOCH));
        response.with_producer_id(ProducerId(producer_id)).with_producer_epoch(epoch)
    }

    /// Ends a transaction; returns the id and epoch with which its producer goes on.
    fn try_end(
        &mut self,
        id: &str,
        producer_id: i64,
        epoch: i16,
        commit: bool,
        bumps: bool,
    ) -> Result<(i64, i16), ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let known = self.transactions.by_id.get(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        let decided = known.phase.decided().is_some();
        let complete = matches!(known.phase, Phase::CompleteCommit | Phase::CompleteAbort);
        // The answer was lost, and the producer asks again in the epoch that it knows.
        let in_old_epoch =
            known.bumped && (decided || complete) && known.producer_id == producer_id && known.epoch - 1 == epoch;
        let with_old_id = known.bumped
            && complete
            && known.previous_producer_id == producer_id
            && epoch == LAST_EPOCH
            && known.epoch == 0;
        let again = in_old_epoch || with_old_id;
        if !again {
            known.check_owner(producer_id, epoch)?;
        }
        let mut first = false;
        match (known.phase, commit) {
            (Phase::Ongoing, _) => {
                self.decide(id, commit, bumps)?;
                first = true;
            }
            (Phase::PrepareCommit, true) | (Phase::PrepareAbort, false) if again || !known.bumped => {}
            (Phase::CompleteCommit, true) | (Phase::CompleteAbort, false) if again || !bumps => {
                return Ok((known.producer_id, known.epoch));
            }
            // A producer that rolls back does not know whether anything was added. It gets its new epoch in any case.
            (Phase::Empty | Phase::CompleteCommit | Phase::CompleteAbort, false) if bumps && !again => {
                self.decide(id, commit, bumps)?;
            }
            (Phase::PrepareCommit | Phase::PrepareAbort, _) if !again && known.bumped => {
                return Err(ResponseError::ConcurrentTransactions);
            }
            _ => return Err(ResponseError::InvalidTxnState),
        }
        self.complete(id, first)?;
        let known = self.transactions.by_id.get(id).ok_or(ResponseError::UnknownServerError)?;
        Ok((known.producer_id, known.epoch))
    }

    /// Writes down how a transaction ends. From then on there is no way back.
    fn decide(&mut self, id: &str, commit: bool, bumps: bool) -> Result<(), ResponseError> {
        let known = self.transactions.by_id.get(id).ok_or(ResponseError::InvalidProducerIdMapping)?.clone();
        let phase = if commit { Phase::PrepareCommit } else { Phase::PrepareAbort };
        let mut decided = Transaction { phase, updated_ms: self.now.unix_ms, bumped: bumps, ..known };
        if bumps {
            decided.last_epoch = decided.epoch;
            if decided.epoch >= LAST_EPOCH {
                decided.next_producer_id = self.fresh_producer_id()?;
            }
            // At most the largest number, which no producer is ever given.
            decided.epoch = decided.epoch.saturating_add(1);
        }
        self.save(id, decided).map(|_| ())
    }

    /// Rolls an open transaction back and shuts its producer out.
    fn roll_back(&mut self, id: &str) -> Result<(), ResponseError> {
        let Some(transaction) = self.transactions.by_id.get(id) else {
            return Ok(());
        };
        let epoch = transaction.epoch.saturating_add(1);
        let decided = Transaction {
            phase: Phase::PrepareAbort,
            epoch,
            last_epoch: NO_EPOCH,
            bumped: false,
            updated_ms: self.now.unix_ms,
            ..transaction.clone()
        };
        self.save(id, decided)?;
        self.complete(id, true)
    }

    /// Writes what a decided transaction still lacks: markers, group offsets, and that it is complete.
    ///
    /// The first time, every partition that was added gets a marker, written to or not; later, those that still have the transaction open.
    fn complete(&mut self, id: &str, first: bool) -> Result<(), ResponseError> {
        let Some((transaction, kind)) =
            self.transactions.by_id.get(id).and_then(|known| Some((known.clone(), known.phase.decided()?)))
        else {
            return Ok(());
        };
        let result = self.write_end(id, &transaction, kind, first);
        if result.is_err()
            && let Some(known) = self.transactions.by_id.get_mut(id)
        {
            known.deadline = Some(self.now.elapsed + MARKER_RETRY);
        }
        // The producer asks again until the rest is written.
        result.map_err(|_| ResponseError::ConcurrentTransactions)
    }

    fn write_end(
        &mut self,
        id: &str,
        transaction: &Transaction,
        kind: MarkerKind,
        first: bool,
    ) -> Result<(), ResponseError> {
        for (name, partition) in &transaction.partitions {
            self.write_marker(name, *partition, transaction, kind, first)?;
        }
        let commit = kind == MarkerKind::Commit;
        for group in &transaction.groups {
            let producer_id = transaction.producer_id;
            self.record(&[Entry::PendingOffsetsEnded { group: group.clone(), producer_id, commit }])?;
            self.groups.end_pending_offsets(group, producer_id, commit);
        }
        let mut complete = Transaction {
            phase: if commit { Phase::CompleteCommit } else { Phase::CompleteAbort },
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            deadline: None,
            updated_ms: self.now.unix_ms,
            ..transaction.clone()
        };
        if complete.next_producer_id != NO_ID {
            complete.previous_producer_id = complete.producer_id;
            complete.producer_id = complete.next_producer_id;
            complete.next_producer_id = NO_ID;
            complete.epoch = 0;
        }
        self.save(id, complete).map(|_| ())
    }

    fn write_marker(
        &mut self,
        name: &str,
        partition: i32,
        transaction: &Transaction,
        kind: MarkerKind,
        first: bool,
    ) -> Result<(), ResponseError> {
        let Some(topic) = self.topics.get_mut(name) else {
            return Ok(()); // Deleted since: there is nothing left to end.
        };
        let topic_id = topic.id;
        let Some((log, config)) = topic.log(partition) else {
            return Ok(());
        };
        let appended = if !first && !log.has_open_transaction(transaction.producer_id) {
            // The marker was written before a crash or a failure, or there was nothing to end.
            log.flush_if_due(&config.log)
        } else {
            let (id, epoch) = (transaction.producer_id, transaction.epoch);
            log.append_marker(&*self.store, &config.log, self.now.unix_ms, id, epoch, kind).map(|_| ())
        };
        appended.map_err(|error| {
            tracing::error!(
                topic = name,
                partition,
                "cannot write the end of a transaction, it is tried again: {error}"
            );
            ResponseError::KafkaStorageError
        })?;
        let flush_ms = config.log.flush_ms;
        self.schedule_flush(flush_ms);
        // To readers of committed records the marker shows all that came before it, however much that is.
        self.awakened.extend(self.fetches.appended(topic_id, partition, usize::MAX));
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
                self.complete(&id, false)
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
        let before =
            self.now.unix_ms.saturating_sub(super::housekeeping::millis(self.config.transactional_id_expiration));
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
