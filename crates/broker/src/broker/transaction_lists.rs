//! Questions about transactions, for administrators.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::list_transactions_response::TransactionState as ListedTransaction;
use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ListTransactionsRequest, ListTransactionsResponse,
    ProducerId, TopicName, TransactionalId,
};

use super::transactions::{Phase, Transaction};
use super::{Broker, code};
use crate::re2::Pattern;

impl Broker {
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
