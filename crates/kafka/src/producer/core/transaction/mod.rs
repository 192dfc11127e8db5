//! Where a transactional producer is in its transaction, and what its user may do there.
//!
//! The states are those of Java's `TransactionManager`, and so are the words of its refusals. An operation that takes requests is begun by a call and
//! ends with an outcome that is fetched once; whoever stops waiting calls again and goes on waiting. An error is abortable (only an abort is left) or
//! fatal (nothing is). One request of a transaction is under way at a time: which one is decided from the state alone ([`Transaction::next_step`]), so
//! that nothing queued outlives what it was queued for. `asking` makes the requests, `answers` reads what comes back.
//!
//! Both versions of the protocol (KIP-98 with 360 and 447, and KIP-890) are spoken. Which one is settled when a producer id is given out: by the
//! cluster's feature `transaction.version`, asked of the coordinator. In version 2 brokers add partitions and groups to the transaction by themselves,
//! and the end of a transaction brings the next epoch; in version 1 the producer adds them, and asks for the next epoch if records were given up.

mod answers;
mod asking;

pub(super) use asking::TransactionAsked;

use std::fmt;
use std::time::Duration;

use super::{Effect, ProducerCore};
use crate::consumer::Offsets;
use crate::error::{KafkaError, code};
use crate::group::{Coordinator, GroupMetadata};
use crate::producer::DeliveryError;

/// What the user of a transactional producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`ProducerCore::init_transactions`].
    InitTransactions,
    /// [`ProducerCore::send_offsets`].
    SendOffsets,
    /// [`ProducerCore::commit_transaction`].
    Commit,
    /// [`ProducerCore::abort_transaction`].
    Abort,
}

impl Operation {
    /// The method of Java's `KafkaProducer`.
    fn name(self) -> &'static str {
        match self {
            Self::InitTransactions => "initTransactions",
            Self::SendOffsets => "sendOffsetsToTransaction",
            Self::Commit => "commitTransaction",
            Self::Abort => "abortTransaction",
        }
    }

    /// What is said to whoever waited too long. The operation goes on, and may be waited for again.
    pub fn timed_out(self, patience: Duration) -> KafkaError {
        let patience = patience.as_millis();
        KafkaError::timeout(format!("Timeout expired after {patience}ms while awaiting {}", self.awaits()))
    }

    /// What Java says that it waits for.
    fn awaits(self) -> &'static str {
        match self {
            Self::InitTransactions => "InitProducerId",
            Self::SendOffsets => "AddOffsetsToTxn",
            Self::Commit => "EndTxn(true)",
            Self::Abort => "EndTxn(false)",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Without a producer id.
    Uninitialized,
    /// Getting a producer id, or the next epoch.
    Initializing,
    Ready,
    InTransaction,
    Committing,
    Aborting,
    /// Something failed: only an abort is left.
    AbortableError,
    /// Something failed for good.
    FatalError,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uninitialized => "UNINITIALIZED",
            Self::Initializing => "INITIALIZING",
            Self::Ready => "READY",
            Self::InTransaction => "IN_TRANSACTION",
            Self::Committing => "COMMITTING_TRANSACTION",
            Self::Aborting => "ABORTING_TRANSACTION",
            Self::AbortableError => "ABORTABLE_ERROR",
            Self::FatalError => "FATAL_ERROR",
        })
    }
}

/// Whether a partition is part of the transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Membership {
    #[default]
    Out,
    /// It has records; the coordinator does not know it yet.
    New,
    In,
}

/// The next thing that a transaction needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    FindCoordinator,
    FindGroupCoordinator,
    Versions,
    InitProducerId,
    AddPartitions,
    AddOffsets,
    CommitOffsets,
    EndTxn,
    /// It ends without anybody being told, because nobody was told of its beginning.
    End,
}

#[derive(Debug)]
pub(super) struct Transaction {
    id: String,
    timeout: Duration,
    state: State,
    /// Why it is in one of the states of error.
    error: Option<KafkaError>,
    coordinator: Option<Coordinator>,
    /// Whether the coordinator said that the cluster speaks version 2.
    finalized_v2: Option<bool>,
    /// Whether this producer does; it changes with the producer's epoch only.
    is_v2: bool,
    /// The coordinator knows of the transaction.
    started: bool,
    /// The next transaction needs another epoch, of which the end of this one says nothing by itself.
    needs_epoch: bool,
    /// Places of partitions that are to be added.
    news: Vec<usize>,
    /// Places of partitions that were to be added without an answer. The coordinator may think that the transaction has begun, and would fence a producer
    /// that never ends it; so they are added again even before an abort.
    unsure: Vec<usize>,
    /// The same of a group.
    unsure_group: Option<String>,
    offsets: Option<PendingOffsets>,
    offsets_outcome: Option<Result<(), KafkaError>>,
    /// What the user began last, and how it ended if it did.
    pending: Option<(Operation, Option<Result<(), KafkaError>>)>,
    /// A request is under way.
    busy: bool,
    ask_at: Duration,
    failures: u32,
}

/// Offsets that are to be part of the transaction.
#[derive(Debug)]
struct PendingOffsets {
    group: GroupMetadata,
    offsets: Offsets,
    /// The transaction's coordinator knows of the group.
    announced: bool,
    coordinator: Option<Coordinator>,
    /// There are others than those under way.
    changed: bool,
}

impl Transaction {
    pub(super) fn new(id: String, timeout: Duration) -> Self {
        Self {
            id,
            timeout,
            state: State::Uninitialized,
            error: None,
            coordinator: None,
            finalized_v2: None,
            is_v2: false,
            started: false,
            needs_epoch: false,
            news: Vec::new(),
            unsure: Vec::new(),
            unsure_group: None,
            offsets: None,
            offsets_outcome: None,
            pending: None,
            busy: false,
            ask_at: Duration::ZERO,
            failures: 0,
        }
    }

    /// When the next request leaves that had to wait.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        (!self.busy && self.ask_at > Duration::ZERO).then_some(self.ask_at)
    }

    /// Whether what was never sent shall not be sent any more.
    pub(super) fn drops_unsent(&self) -> bool {
        matches!(self.state, State::Aborting | State::AbortableError)
    }

    pub(super) fn error(&self) -> Option<&KafkaError> {
        self.error.as_ref()
    }

    /// A partition has its first records of this transaction.
    pub(super) fn join(&mut self, place: usize) -> Membership {
        if self.is_v2 {
            self.started = true;
            return Membership::In;
        }
        self.news.push(place);
        Membership::New
    }

    fn next_step(&self, is_flushed: bool) -> Option<Step> {
        let with_coordinator = |step| Some(if self.coordinator.is_some() { step } else { Step::FindCoordinator });
        match self.state {
            State::Initializing if self.coordinator.is_some() && self.finalized_v2.is_none() => Some(Step::Versions),
            State::Initializing => with_coordinator(Step::InitProducerId),
            State::InTransaction | State::Committing | State::Aborting
                if !self.news.is_empty() || !self.unsure.is_empty() =>
            {
                with_coordinator(Step::AddPartitions)
            }
            State::InTransaction | State::Committing if let Some(offsets) = &self.offsets => {
                match (self.is_v2 || offsets.announced, &offsets.coordinator) {
                    (false, _) => with_coordinator(Step::AddOffsets),
                    (true, None) => Some(Step::FindGroupCoordinator),
                    (true, Some(_)) => Some(Step::CommitOffsets),
                }
            }
            State::Aborting if self.unsure_group.is_some() => with_coordinator(Step::AddOffsets),
            State::Committing | State::Aborting if !is_flushed => None,
            // Another coordinator may know of another version, which the next transaction then speaks.
            State::Committing | State::Aborting if self.coordinator.is_some() && self.finalized_v2.is_none() => {
                Some(Step::Versions)
            }
            State::Committing | State::Aborting if self.started && !self.is_unknown() => with_coordinator(Step::EndTxn),
            State::Committing | State::Aborting => Some(Step::End),
            _ => None,
        }
    }

    /// The coordinator knows nothing of the producer id, so it takes no end of a transaction: only the next epoch helps.
    fn is_unknown(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.is(code::INVALID_PRODUCER_ID_MAPPING))
    }

    fn go_to(&mut self, state: State, from: &[State]) -> Result<(), KafkaError> {
        if !from.contains(&self.state) {
            return Err(KafkaError::illegal_state(format!(
                "TransactionalId {}: Invalid transition attempted from state {} to state {state}",
                self.id, self.state
            )));
        }
        tracing::debug!(id = self.id, from = %self.state, to = %state, "a producer's transaction");
        self.state = state;
        Ok(())
    }

    /// Java's `maybeFailWithError`.
    fn fail_with_error(&self, producer: Option<(i64, i16)>) -> Result<(), KafkaError> {
        let Some(error) = self.error.as_ref().filter(|_| self.has_error()) else { return Ok(()) };
        let (id, epoch) = producer.unwrap_or((-1, -1));
        let who = format!("Producer with transactionalId '{}' and (producerId={id}, epoch={epoch})", self.id);
        let mut told = error.clone();
        if error.is(code::PRODUCER_FENCED) {
            told.message = format!("{who} has been fenced by another producer with the same transactionalId");
        } else if error.is(code::INVALID_PRODUCER_EPOCH) {
            told.message = format!("{who} attempted to produce with an old epoch");
        } else {
            told = KafkaError::other(format!(
                "Cannot execute transactional method because we are in an error state: {}: {}",
                error.class, error.message
            ));
        }
        Err(told)
    }

    fn has_error(&self) -> bool {
        matches!(self.state, State::AbortableError | State::FatalError)
    }

    /// Java's `throwIfPendingState`: an operation that was begun and not fetched has to be called again before another.
    fn fail_if_pending(&self, operation: &str) -> Result<(), KafkaError> {
        match &self.pending {
            None => Ok(()),
            Some((pending, _)) => Err(KafkaError::illegal_state(format!(
                "Cannot attempt operation `{operation}` because the previous call to `{}` timed out and must be retried",
                pending.name()
            ))),
        }
    }

    /// Tells whoever waits.
    fn finish(&mut self, outcome: Result<(), KafkaError>) {
        if let Some((_, pending @ None)) = &mut self.pending {
            *pending = Some(outcome);
        }
    }

    fn finish_offsets(&mut self, outcome: Result<(), KafkaError>) {
        if self.offsets.take().is_some() {
            self.offsets_outcome = Some(outcome);
        }
    }

    /// Only an abort is left, unless that has begun or nothing is left at all.
    fn abortable(&mut self, error: KafkaError) {
        if matches!(self.state, State::Aborting | State::AbortableError | State::FatalError) {
            return;
        }
        tracing::info!(id = self.id, %error, "a producer's transaction can only be aborted");
        self.state = State::AbortableError;
        self.error = Some(error.clone());
        self.news.clear();
        self.finish_offsets(Err(error.clone()));
        self.finish(Err(error));
    }

    /// Nothing is left. [`ProducerCore::transaction_is_fatal`] gives up the records as well.
    fn fatal(&mut self, error: KafkaError) {
        tracing::warn!(id = self.id, %error, "a transactional producer cannot go on");
        self.state = State::FatalError;
        self.error = Some(error.clone());
        self.news.clear();
        self.finish_offsets(Err(error.clone()));
        self.finish(Err(error));
    }
}

/// What the user of a transactional producer calls. Each of the four that take requests has an outcome ([`ProducerCore::take_outcome`]).
impl ProducerCore {
    /// Gets the producer id of the transactional id: whoever has it is fenced, and its transaction aborted.
    ///
    /// # Errors
    /// Java's, if this is not the moment.
    pub fn init_transactions(&mut self, now: Duration, effects: &mut Vec<Effect>) -> Result<(), KafkaError> {
        let transaction = self.transaction.as_mut().ok_or_else(not_transactional)?;
        if transaction.begin(Operation::InitTransactions)? {
            transaction.fail_with_error(self.producer)?;
            transaction.go_to(State::Initializing, &[State::Uninitialized])?;
            transaction.pending = Some((Operation::InitTransactions, None));
            transaction.error = None;
        }
        self.advance(now, effects);
        Ok(())
    }

    /// Begins a transaction; no request is needed for that.
    ///
    /// # Errors
    /// Java's, if this is not the moment.
    pub fn begin_transaction(&mut self) -> Result<(), KafkaError> {
        let transaction = self.transaction.as_mut().ok_or_else(not_transactional)?;
        transaction.fail_if_pending("beginTransaction")?;
        transaction.fail_with_error(self.producer)?;
        transaction.go_to(State::InTransaction, &[State::Ready])
    }

    /// Makes offsets of a group part of the transaction (KIP-447).
    ///
    /// # Errors
    /// Java's, if this is not the moment or the group's metadata make no sense.
    pub fn send_offsets(
        &mut self,
        now: Duration,
        offsets: &Offsets,
        group: &GroupMetadata,
        effects: &mut Vec<Effect>,
    ) -> Result<(), KafkaError> {
        if group.generation > 0 && group.member_id.is_empty() {
            return Err(KafkaError::illegal_argument(format!(
                "Passed in group metadata {group} has generationId > 0 but member.id is unknown"
            )));
        }
        let transaction = self.transaction.as_mut().ok_or_else(not_transactional)?;
        transaction.fail_if_pending(Operation::SendOffsets.name())?;
        transaction.fail_with_error(self.producer)?;
        if transaction.state != State::InTransaction {
            return Err(KafkaError::illegal_state(format!(
                "Cannot send offsets if a transaction is not in progress (currentState= {})",
                transaction.state
            )));
        }
        transaction.offsets_outcome = None;
        match &mut transaction.offsets {
            _ if offsets.is_empty() => transaction.offsets_outcome = Some(Ok(())),
            // Whoever stopped waiting for others and calls again waits for all.
            Some(pending) if pending.group.group_id == group.group_id => {
                pending.offsets.extend(offsets.clone());
                pending.group = group.clone();
                pending.changed = true;
            }
            Some(_) => {
                return Err(KafkaError::illegal_state(
                    "Cannot send offsets of a group while those of another one are under way",
                ));
            }
            None => {
                let (group, offsets) = (group.clone(), offsets.clone());
                let pending = PendingOffsets { group, offsets, announced: false, coordinator: None, changed: false };
                transaction.offsets = Some(pending);
                transaction.started |= transaction.is_v2;
            }
        }
        self.advance(now, effects);
        Ok(())
    }

    /// Sends all that was taken, and ends the transaction once it is acknowledged. A record that fails makes this fail.
    ///
    /// # Errors
    /// Java's, if this is not the moment.
    pub fn commit_transaction(&mut self, now: Duration, effects: &mut Vec<Effect>) -> Result<(), KafkaError> {
        let transaction = self.transaction.as_mut().ok_or_else(not_transactional)?;
        if transaction.begin(Operation::Commit)? {
            transaction.fail_with_error(self.producer)?;
            transaction.go_to(State::Committing, &[State::InTransaction])?;
            transaction.pending = Some((Operation::Commit, None));
            self.finish_all();
        }
        self.advance(now, effects);
        Ok(())
    }

    /// Gives up what was not sent yet, and ends the transaction as if it had never been.
    ///
    /// # Errors
    /// Java's, if this is not the moment.
    pub fn abort_transaction(&mut self, now: Duration, effects: &mut Vec<Effect>) -> Result<(), KafkaError> {
        let transaction = self.transaction.as_mut().ok_or_else(not_transactional)?;
        if transaction.begin(Operation::Abort)? {
            if transaction.state != State::AbortableError {
                transaction.fail_with_error(self.producer)?;
            }
            transaction.go_to(State::Aborting, &[State::InTransaction, State::AbortableError])?;
            transaction.news.clear();
            transaction.offsets = None;
            transaction.pending = Some((Operation::Abort, None));
        }
        self.advance(now, effects);
        Ok(())
    }

    /// How an operation ended; none as long as it has not. Fetched once.
    pub fn take_outcome(&mut self, operation: Operation) -> Option<Result<(), KafkaError>> {
        let transaction = self.transaction.as_mut()?;
        if operation == Operation::SendOffsets {
            return transaction.offsets_outcome.take();
        }
        let (_, outcome) = transaction.pending.take_if(|pending| pending.0 == operation && pending.1.is_some())?;
        outcome
    }

    /// Why records are not taken now: a transaction has to be open.
    pub(super) fn closed_to_records(&self) -> Option<DeliveryError> {
        let transaction = self.transaction.as_ref()?;
        let error = match transaction.state {
            State::InTransaction => return None,
            State::AbortableError | State::FatalError => transaction.fail_with_error(self.producer).err()?,
            _ if self.producer.is_none() => KafkaError::illegal_state(
                "Cannot add a partition to transaction before completing a call to initTransactions",
            ),
            state => {
                KafkaError::illegal_state(format!("Cannot add a partition to transaction while in state  {state}"))
            }
        };
        Some(DeliveryError { class: error.class, message: error.message })
    }

    /// Records were given up: their transaction cannot be committed. `code` is that of the broker that refused them.
    pub(super) fn records_failed(&mut self, reason: &DeliveryError, code: Option<i16>) {
        let Some(transaction) = &mut self.transaction else { return };
        let DeliveryError { class, message } = reason.clone();
        let error = KafkaError { class, message, retriable: false, code };
        let is_fatal = code.is_some_and(|code| FATAL_FOR_RECORDS.contains(&code));
        // What is missing leaves a gap in the numbers of its partition; under the next epoch they begin anew.
        transaction.needs_epoch = true;
        if is_fatal {
            self.transaction_is_fatal(error);
        } else {
            transaction.abortable(error);
        }
    }

    fn transaction_is_fatal(&mut self, error: KafkaError) {
        let reason = DeliveryError { class: error.class, message: error.message.clone() };
        if let Some(transaction) = &mut self.transaction {
            transaction.fatal(error);
        }
        self.give_up_all(&reason);
    }
}

impl Transaction {
    /// Whether an operation is begun now, rather than waited for again.
    fn begin(&self, operation: Operation) -> Result<bool, KafkaError> {
        if self.pending.as_ref().is_some_and(|(pending, _)| *pending == operation) {
            return Ok(false);
        }
        self.fail_if_pending(operation.name()).map(|()| true)
    }
}

/// What no abort mends if a broker says it of records.
const FATAL_FOR_RECORDS: [i16; 5] = [
    code::CLUSTER_AUTHORIZATION_FAILED,
    code::UNSUPPORTED_VERSION,
    code::INVALID_PRODUCER_ID_MAPPING,
    code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    code::PRODUCER_FENCED,
];

fn not_transactional() -> KafkaError {
    KafkaError::illegal_state("Transactional method invoked on a non-transactional producer.")
}
