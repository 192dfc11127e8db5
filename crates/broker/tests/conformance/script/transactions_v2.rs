//! Transactions of KIP-890: what is written adds its partition, and every end brings a new epoch.

use super::groups::{group, offsets};
use super::records::*;
use super::transactions::positions;
use super::*;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kurier_kafka::batch::{Compression, Stamp};

fn tx2() -> TransactionalId {
    TransactionalId("tx2".into())
}

/// Asks for an epoch; with the one that is had, where `expects` is.
fn init(name: &'static str, expects: Option<i16>) -> Step {
    step(name, ApiKey::InitProducerId, 5, move |known| {
        let request = InitProducerIdRequest::default().with_transactional_id(Some(tx2()));
        let (id, epoch) = expects.map_or((-1, -1), |older| (known.producer.0, known.producer.1 - older));
        let request = request.with_producer_id(ProducerId(id)).with_producer_epoch(epoch);
        RequestKind::InitProducerId(request.with_transaction_timeout_ms(60_000))
    })
}

fn write(name: &'static str, version: i16, sequence: i32, older: i16) -> Step {
    step(name, ApiKey::Produce, version, move |known| {
        let stamp = Stamp {
            producer_id: known.producer.0,
            producer_epoch: known.producer.1 - older,
            base_sequence: sequence,
            transactional: true,
        };
        let records = batch(&[(None, Some("second version"))], Compression::None, stamp);
        let data = PartitionProduceData::default().with_index(0).with_records(Some(records));
        let data = TopicProduceData::default().with_name(topic("old")).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![data]);
        RequestKind::Produce(request.with_transactional_id(Some(tx2())))
    })
}

fn end(name: &'static str, committed: bool, older: i16) -> Step {
    step(name, ApiKey::EndTxn, 5, move |known| {
        RequestKind::EndTxn(
            EndTxnRequest::default()
                .with_transactional_id(tx2())
                .with_producer_id(ProducerId(known.producer.0))
                .with_producer_epoch(known.producer.1 - older)
                .with_committed(committed),
        )
    })
}

fn commit_offset(name: &'static str, version: i16) -> Step {
    step(name, ApiKey::TxnOffsetCommit, version, move |known| {
        let partition =
            TxnOffsetCommitRequestPartition::default().with_committed_offset(9).with_committed_metadata(None);
        let wanted = TxnOffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
        RequestKind::TxnOffsetCommit(
            TxnOffsetCommitRequest::default()
                .with_transactional_id(tx2())
                .with_group_id(group("tg2"))
                .with_producer_id(ProducerId(known.producer.0))
                .with_producer_epoch(known.producer.1)
                .with_generation_id(-1)
                .with_topics(vec![wanted]),
        )
    })
}

fn describe(name: &'static str) -> Step {
    step(name, ApiKey::DescribeTransactions, 0, |_| {
        RequestKind::DescribeTransactions(DescribeTransactionsRequest::default().with_transactional_ids(vec![tx2()]))
    })
    .repeatable()
}

fn list(name: &'static str, pattern: &'static str) -> Step {
    step(name, ApiKey::ListTransactions, 2, move |_| {
        let request = ListTransactionsRequest::default().with_duration_filter(-1);
        RequestKind::ListTransactions(request.with_transactional_id_pattern(Some(text(pattern))))
    })
}

pub(super) fn transactions_v2() -> Vec<Step> {
    vec![
        write("write as an unknown transactional id", 12, 0, 0),
        init("begin the second version", None),
        describe("describe before anything is written"),
        write("write without adding, version 10", 10, 0, 0),
        write("write without adding, version 11", 11, 0, 0),
        write("write, which adds", 12, 0, 0),
        write("write on", 12, 1, 0),
        write("write on again", 12, 1, 0),
        describe("describe an open transaction"),
        end("commit with a new epoch", true, 0),
        end("commit again in the old epoch", true, 1),
        end("roll back what is committed in the old epoch", false, 1),
        write("write in the old epoch", 12, 2, 1),
        write("write in the new epoch with an old sequence", 12, 2, 0),
        describe("describe after a commit"),
        end("commit nothing", true, 0),
        write("write in the new epoch", 12, 0, 0),
        end("roll back with a new epoch", false, 0),
        end("roll back again in the old epoch", false, 1),
        end("roll back nothing", false, 0),
        describe("describe after rolling back nothing"),
        commit_offset("commit offsets without adding, version 3", 3),
        commit_offset("commit offsets without adding, version 4", 4),
        commit_offset("commit offsets, which adds", 5),
        end("commit offsets with a new epoch", true, 0),
        {
            let mut step = offsets("offsets after the second version", "tg2", Some(&[0]));
            step.repeatable = true;
            step
        },
        init("ask for a higher epoch", Some(0)),
        init("ask again, as the answer was lost", Some(1)),
        init("ask with an old epoch", Some(3)),
        list("list by a pattern", "tx[0-9]"),
        list("list by what is no pattern", "tx("),
        positions("the log after the second version", 1),
        write("write for somebody else to roll back", 12, 0, 0),
        {
            let mut step = init("somebody else begins", None);
            step.ignored = &["throttle_time_ms", "producer_epoch"];
            step
        },
        positions("the log after somebody else began", 1),
    ]
}
