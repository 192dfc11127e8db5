//! What the answers to a transaction's requests mean: the tables of Java's handlers in `TransactionManager`.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    AddPartitionsToTxnResponse, ApiVersionsResponse, EndTxnResponse, FindCoordinatorResponse, InitProducerIdResponse,
    ResponseKind, TxnOffsetCommitResponse,
};

use super::asking::TransactionAsked;
use super::{Membership, State, Transaction};
use crate::consumer::Offsets;
use crate::error::{KafkaError, code};
use crate::group::coordinator::{Found, answer};
use crate::net::TransportError;
use crate::producer::core::{Effect, ProducerCore};

/// How soon the first partitions of a transaction are added again while the one before is still being completed.
const CONCURRENT_RETRY: Duration = Duration::from_millis(20);

/// What an error in an answer comes to.
#[derive(Debug)]
enum Meaning {
    /// Ask again.
    Again,
    /// Ask another broker.
    Moved,
    Abortable(KafkaError),
    /// The coordinator has lost the producer id: after the abort another epoch is needed.
    Lost(KafkaError),
    Fatal(KafkaError),
}

/// What all requests of a transaction share; `unexpected` begins what is said of an error that none of them expects.
fn meaning(error: ResponseError, unexpected: &str) -> Meaning {
    use ResponseError::*;
    let told = known(error);
    match error {
        NotCoordinator | CoordinatorNotAvailable => Meaning::Moved,
        InvalidProducerEpoch | ProducerFenced => Meaning::Fatal(known(ProducerFenced)),
        TransactionalIdAuthorizationFailed | InvalidTxnState => Meaning::Fatal(told),
        UnknownProducerId | InvalidProducerIdMapping => Meaning::Lost(told),
        TransactionAbortable => Meaning::Abortable(told),
        _ if told.retriable => Meaning::Again,
        _ => Meaning::Fatal(KafkaError::other(format!("{unexpected}{}", told.message))),
    }
}

fn known(error: ResponseError) -> KafkaError {
    KafkaError::from_code(error.code()).unwrap_or_else(|| KafkaError::other(error.to_string()))
}

fn group_denied(group: &str) -> KafkaError {
    KafkaError {
        message: format!("Not authorized to access group: {group}"),
        ..known(ResponseError::GroupAuthorizationFailed)
    }
}

impl ProducerCore {
    pub(in crate::producer::core) fn transaction_answered(
        &mut self,
        now: Duration,
        asked: TransactionAsked,
        response: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) {
        effects.push(Effect::Wake);
        let first = self.settings.retry_backoff;
        let failed = self.transaction.as_ref().map_or(0, |transaction| transaction.failures);
        let wait = self.backoff(failed);
        let Some(transaction) = &mut self.transaction else { return };
        transaction.busy = false;
        if transaction.state == State::FatalError {
            return;
        }
        // Whoever has to ask again waits this long; an answer that leads on takes it back.
        let failures = std::mem::take(&mut transaction.failures);
        let led_on = match (asked, response) {
            (TransactionAsked::Coordinator, Ok(ResponseKind::FindCoordinator(response))) => {
                self.coordinator_answered(&response)
            }
            (TransactionAsked::GroupCoordinator, Ok(ResponseKind::FindCoordinator(response))) => {
                transaction.group_coordinator_answered(&response)
            }
            (TransactionAsked::Versions, Ok(ResponseKind::ApiVersions(response))) => {
                transaction.versions_answered(&response)
            }
            (TransactionAsked::ProducerId, Ok(ResponseKind::InitProducerId(response))) => self.init_answered(&response),
            (TransactionAsked::Partitions(places), Ok(ResponseKind::AddPartitionsToTxn(response))) => {
                self.partitions_answered(places, &response)
            }
            (TransactionAsked::Group(group), Ok(ResponseKind::AddOffsetsToTxn(response))) => {
                self.group_answered(group, response.error_code)
            }
            (TransactionAsked::Offsets(sent), Ok(ResponseKind::TxnOffsetCommit(response))) => {
                self.offsets_answered(&sent, &response)
            }
            (TransactionAsked::End, Ok(ResponseKind::EndTxn(response))) => self.end_answered(&response),
            (_, Err(TransportError::Refused(error))) => {
                self.transaction_is_fatal(error);
                Some(Pace::Now)
            }
            (asked, _) => {
                transaction.unanswered(asked);
                None
            }
        };
        let Some(transaction) = &mut self.transaction else { return };
        if led_on.is_none() {
            transaction.failures = failures.saturating_add(1);
            transaction.ask_at = now.saturating_add(wait);
        } else if led_on == Some(Pace::Soon) {
            transaction.ask_at = now.saturating_add(first.min(CONCURRENT_RETRY));
        }
    }

    fn coordinator_answered(&mut self, response: &FindCoordinatorResponse) -> Option<Pace> {
        let transaction = self.transaction.as_mut()?;
        match answer(&transaction.id, response) {
            Found::Yes(coordinator) => {
                tracing::info!(
                    id = transaction.id,
                    node = coordinator.node,
                    "found the coordinator of a transactional id"
                );
                transaction.coordinator = Some(coordinator);
                transaction.finalized_v2 = None;
                Some(Pace::Now)
            }
            Found::NotYet => None,
            Found::Refused(error) => {
                let fatal = match error {
                    ResponseError::TransactionalIdAuthorizationFailed => known(error),
                    ResponseError::TransactionAbortable => {
                        transaction.abortable(known(error));
                        return Some(Pace::Now);
                    }
                    error => KafkaError::other(format!(
                        "Could not find a coordinator with type TRANSACTION with key {} due to unexpected error: {}",
                        transaction.id,
                        known(error).message
                    )),
                };
                self.transaction_is_fatal(fatal);
                Some(Pace::Now)
            }
        }
    }

    fn init_answered(&mut self, response: &InitProducerIdResponse) -> Option<Pace> {
        use ResponseError::*;
        let Some(error) = ResponseError::try_from_code(response.error_code) else {
            self.take_identity((response.producer_id.0, response.producer_epoch));
            let transaction = self.transaction.as_mut()?;
            transaction.state = State::Ready;
            transaction.error = None;
            transaction.needs_epoch = false;
            transaction.is_v2 = transaction.finalized_v2 == Some(true);
            tracing::info!(
                id = transaction.id,
                producer_id = response.producer_id.0,
                epoch = response.producer_epoch,
                version = if transaction.is_v2 { 2 } else { 1 },
                "a transactional producer has its id"
            );
            transaction.finish(Ok(()));
            return Some(Pace::Now);
        };
        let transaction = self.transaction.as_mut()?;
        match error {
            // Somebody may allow it: the user may try again.
            TransactionalIdAuthorizationFailed | ClusterAuthorizationFailed if self.producer.is_none() => {
                transaction.state = State::Uninitialized;
                transaction.finish(Err(known(error)));
                Some(Pace::Now)
            }
            TransactionalIdAuthorizationFailed | ClusterAuthorizationFailed => {
                transaction.abortable(known(error));
                Some(Pace::Now)
            }
            error => self.refused(meaning(error, "Unexpected error in InitProducerIdResponse; ")),
        }
    }

    fn partitions_answered(&mut self, places: Vec<usize>, response: &AddPartitionsToTxnResponse) -> Option<Pace> {
        let results = response
            .results_by_topic_v3_and_below
            .iter()
            .flat_map(|topic| topic.results_by_partition.iter().map(|result| (topic.name.as_str(), result)));
        let (mut denied, mut others) = (BTreeSet::new(), Vec::new());
        for (topic, result) in results {
            let Some(error) = ResponseError::try_from_code(result.partition_error_code) else { continue };
            match meaning(error, "") {
                _ if error == ResponseError::TopicAuthorizationFailed => {
                    denied.insert(topic.to_owned());
                }
                // What is not of the transaction's but of the partition's; the others were not tried then.
                Meaning::Fatal(_) if !is_final(error) => {
                    others.push(format!("{topic}-{}={error:?}", result.partition_index));
                }
                meaning => {
                    let is_first = self.transaction.as_ref().is_some_and(|transaction| !transaction.started);
                    if matches!(meaning, Meaning::Again | Meaning::Moved) {
                        self.transaction.as_mut()?.unsure = places;
                    }
                    if is_first && error == ResponseError::ConcurrentTransactions {
                        return Some(Pace::Soon);
                    }
                    return self.refused(meaning);
                }
            }
        }
        let transaction = self.transaction.as_mut()?;
        if !denied.is_empty() {
            let topics: Vec<_> = denied.into_iter().collect();
            let message = format!("Not authorized to access topics: [{}]", topics.join(", "));
            transaction.abortable(KafkaError { message, ..known(ResponseError::TopicAuthorizationFailed) });
        } else if !others.is_empty() {
            let errors = others.join(", ");
            transaction.abortable(KafkaError::other(format!(
                "Could not add partitions to transaction due to errors: {{{errors}}}"
            )));
        } else {
            transaction.started = true;
            for at in places {
                if let Some((_, partition)) = self.partitions.get_index_mut(at) {
                    partition.membership = Membership::In;
                }
            }
        }
        Some(Pace::Now)
    }

    fn group_answered(&mut self, group: String, code: i16) -> Option<Pace> {
        let transaction = self.transaction.as_mut()?;
        transaction.unsure_group = None;
        let Some(error) = ResponseError::try_from_code(code) else {
            transaction.started = true;
            if let Some(offsets) = &mut transaction.offsets {
                offsets.announced = true;
            }
            return Some(Pace::Now);
        };
        if error == ResponseError::GroupAuthorizationFailed {
            transaction.abortable(group_denied(&group));
            return Some(Pace::Now);
        }
        let meaning = meaning(error, "Unexpected error in AddOffsetsToTxnResponse: ");
        if matches!(meaning, Meaning::Again | Meaning::Moved) {
            transaction.unsure_group = Some(group);
        }
        self.refused(meaning)
    }

    fn offsets_answered(&mut self, sent: &Offsets, response: &TxnOffsetCommitResponse) -> Option<Pace> {
        use ResponseError::*;
        let transaction = self.transaction.as_mut()?;
        // Nobody waits any more: the transaction failed or is aborted.
        let Some(pending) = &mut transaction.offsets else { return Some(Pace::Now) };
        let group = pending.group.group_id.clone();
        let mut again = false;
        let results = response.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |p| (&topic.name, p)));
        for (topic, result) in results {
            let Some(error) = ResponseError::try_from_code(result.error_code) else {
                let found = sent
                    .iter()
                    .find(|(place, _)| *place.topic == *topic.as_str() && place.partition == result.partition_index);
                // Another offset may have been asked for since.
                if let Some((place, offset)) = found
                    && pending.offsets.get(place) == Some(offset)
                {
                    pending.offsets.remove(place);
                }
                continue;
            };
            let failed = match error {
                NotCoordinator | CoordinatorNotAvailable | RequestTimedOut => {
                    pending.coordinator = None;
                    again = true;
                    continue;
                }
                GroupAuthorizationFailed => Meaning::Abortable(group_denied(&group)),
                FencedInstanceId => Meaning::Abortable(known(error)),
                UnknownMemberId | IllegalGeneration | StaleMemberEpoch => Meaning::Abortable(KafkaError {
                    class: "org.apache.kafka.clients.consumer.CommitFailedException",
                    message: format!(
                        "Transaction offset Commit failed due to consumer group metadata mismatch: {}",
                        known(error).message
                    ),
                    retriable: false,
                    code: Some(error.code()),
                }),
                UnsupportedForMessageFormat => Meaning::Fatal(known(error)),
                error => meaning(error, "Unexpected error in TxnOffsetCommitResponse: "),
            };
            if matches!(failed, Meaning::Again) {
                again = true;
                continue;
            }
            return self.refused(failed);
        }
        if pending.offsets.is_empty() {
            transaction.finish_offsets(Ok(()));
            return Some(Pace::Now);
        }
        (pending.changed && !again).then_some(Pace::Now)
    }

    fn end_answered(&mut self, response: &EndTxnResponse) -> Option<Pace> {
        match ResponseError::try_from_code(response.error_code) {
            None => {
                let transaction = self.transaction.as_ref()?;
                let renewed = (response.producer_id.0, response.producer_epoch);
                let renewed = Some(renewed).filter(|(id, _)| transaction.is_v2 && *id >= 0);
                self.transaction_ended(renewed);
                Some(Pace::Now)
            }
            Some(error) => self.refused(meaning(error, "Unhandled error in EndTxnResponse: ")),
        }
    }

    /// Does what an error demands; whether the transaction goes on without a pause.
    fn refused(&mut self, meaning: Meaning) -> Option<Pace> {
        let transaction = self.transaction.as_mut()?;
        match meaning {
            Meaning::Again => return None,
            Meaning::Moved => {
                transaction.coordinator = None;
                return None;
            }
            // The abort itself is refused: there is nothing else to do, and no end either.
            Meaning::Abortable(error) | Meaning::Lost(error)
                if transaction.state == State::Aborting && !error.is(code::INVALID_PRODUCER_ID_MAPPING) =>
            {
                self.transaction_is_fatal(error);
            }
            Meaning::Lost(error) => {
                transaction.needs_epoch = true;
                if transaction.state == State::Aborting {
                    transaction.error = Some(error);
                } else {
                    transaction.abortable(error);
                }
            }
            Meaning::Abortable(error) => transaction.abortable(error),
            Meaning::Fatal(error) => self.transaction_is_fatal(error),
        }
        Some(Pace::Now)
    }
}

/// When the next request leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Now,
    Soon,
}

/// Whether Java takes it for fatal wherever a transaction meets it.
fn is_final(error: ResponseError) -> bool {
    use ResponseError::*;
    matches!(error, InvalidProducerEpoch | ProducerFenced | TransactionalIdAuthorizationFailed | InvalidTxnState)
}

impl Transaction {
    fn versions_answered(&mut self, response: &ApiVersionsResponse) -> Option<Pace> {
        if response.error_code != 0 {
            return None;
        }
        let feature = response.finalized_features.iter().find(|feature| feature.name.as_str() == "transaction.version");
        self.finalized_v2 = Some(feature.is_some_and(|feature| feature.max_version_level >= 2));
        Some(Pace::Now)
    }

    fn group_coordinator_answered(&mut self, response: &FindCoordinatorResponse) -> Option<Pace> {
        let Some(pending) = &mut self.offsets else { return Some(Pace::Now) };
        let group = pending.group.group_id.clone();
        match answer(&group, response) {
            Found::Yes(coordinator) => pending.coordinator = Some(coordinator),
            Found::NotYet => return None,
            Found::Refused(ResponseError::GroupAuthorizationFailed) => self.abortable(group_denied(&group)),
            Found::Refused(error) => self.abortable(known(error)),
        }
        Some(Pace::Now)
    }

    /// Nothing came back: the coordinator may have moved, and what was asked may have been done.
    fn unanswered(&mut self, asked: TransactionAsked) {
        match asked {
            TransactionAsked::Coordinator | TransactionAsked::GroupCoordinator => {}
            TransactionAsked::Offsets(_) => {
                if let Some(pending) = &mut self.offsets {
                    pending.coordinator = None;
                }
            }
            TransactionAsked::Partitions(places) => {
                self.unsure = places;
                self.coordinator = None;
            }
            TransactionAsked::Group(group) => {
                self.unsure_group = Some(group);
                self.coordinator = None;
            }
            TransactionAsked::Versions | TransactionAsked::ProducerId | TransactionAsked::End => {
                self.coordinator = None;
            }
        }
    }
}
