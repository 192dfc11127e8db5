//! Transactions, and what readers see of them.

use super::groups::{find_coordinator, group, offsets};
use super::records::*;
use super::*;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kurier_kafka::batch::{Compression, Stamp};

pub(super) fn tx() -> TransactionalId {
    TransactionalId("tx".into())
}

pub(super) fn init(name: &'static str, timeout_ms: i32) -> Step {
    let mut step = step(name, ApiKey::InitProducerId, 4, move |_| {
        RequestKind::InitProducerId(
            InitProducerIdRequest::default()
                .with_transactional_id(Some(tx()))
                .with_transaction_timeout_ms(timeout_ms)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        )
    });
    step.ignored = &["throttle_time_ms", "producer_epoch"];
    step
}

pub(super) fn add(name: &'static str, to: &'static str, partitions: &'static [i32], older: i16) -> Step {
    step(name, ApiKey::AddPartitionsToTxn, 3, move |known| {
        let wanted = AddPartitionsToTxnTopic::default().with_name(topic(to)).with_partitions(partitions.to_vec());
        RequestKind::AddPartitionsToTxn(
            AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(tx())
                .with_v3_and_below_producer_id(ProducerId(known.producer.0))
                .with_v3_and_below_producer_epoch(known.producer.1 - older)
                .with_v3_and_below_topics(vec![wanted]),
        )
    })
}

pub(super) fn write(name: &'static str, partition: i32, sequence: i32, older: i16) -> Step {
    step(name, ApiKey::Produce, 9, move |known| {
        let stamp = Stamp {
            producer_id: known.producer.0,
            producer_epoch: known.producer.1 - older,
            base_sequence: sequence,
            transactional: true,
        };
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch(
            &[(None, Some("in a transaction"))],
            Compression::None,
            stamp,
        )));
        let data = TopicProduceData::default().with_name(topic("old")).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![data]);
        RequestKind::Produce(request.with_transactional_id(Some(tx())))
    })
}

pub(super) fn end(name: &'static str, committed: bool, older: i16) -> Step {
    step(name, ApiKey::EndTxn, 3, move |known| {
        RequestKind::EndTxn(
            EndTxnRequest::default()
                .with_transactional_id(tx())
                .with_producer_id(ProducerId(known.producer.0))
                .with_producer_epoch(known.producer.1 - older)
                .with_committed(committed),
        )
    })
}

pub(super) fn offsets_in(name: &'static str, of: &'static str) -> Step {
    step(name, ApiKey::TxnOffsetCommit, 3, move |known| {
        let partition =
            TxnOffsetCommitRequestPartition::default().with_committed_offset(8).with_committed_metadata(None);
        let wanted = TxnOffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
        RequestKind::TxnOffsetCommit(
            TxnOffsetCommitRequest::default()
                .with_transactional_id(tx())
                .with_group_id(group(of))
                .with_producer_id(ProducerId(known.producer.0))
                .with_producer_epoch(known.producer.1)
                .with_generation_id(-1)
                .with_topics(vec![wanted]),
        )
    })
}

/// Offsets in a transaction, by a member of a generation.
fn offsets_by(name: &'static str, generation: i32, member: &'static str, older: i16) -> Step {
    step(name, ApiKey::TxnOffsetCommit, 3, move |known| {
        let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(8);
        let wanted = TxnOffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
        RequestKind::TxnOffsetCommit(
            TxnOffsetCommitRequest::default()
                .with_transactional_id(tx())
                .with_group_id(group("tg"))
                .with_producer_id(ProducerId(known.producer.0))
                .with_producer_epoch(known.producer.1 - older)
                .with_generation_id(generation)
                .with_member_id(text(member))
                .with_topics(vec![wanted]),
        )
    })
}

/// The positions of the log, without the records: their producer ids differ.
pub(super) fn positions(name: &'static str, isolation: i8) -> Step {
    let mut step = fetch(name, 12, Read { of: "old", isolation, ..READ });
    step.ignored = &["throttle_time_ms", "records"];
    step
}

pub(super) fn transactions() -> Vec<Step> {
    vec![
        find_coordinator("coordinator of a transaction", 4, 1, "tx"),
        find_coordinator("coordinator of something else", 4, 7, "tx"),
        init("begin with too long a timeout", i32::MAX),
        init("begin with no timeout", 0),
        step("begin with an epoch of no producer", ApiKey::InitProducerId, 4, |_| {
            let request = InitProducerIdRequest::default().with_transactional_id(Some(tx()));
            let request = request.with_transaction_timeout_ms(60_000).with_producer_id(ProducerId(-1));
            RequestKind::InitProducerId(request.with_producer_epoch(5))
        }),
        step("end of no transactional id", ApiKey::EndTxn, 3, |_| RequestKind::EndTxn(EndTxnRequest::default())),
        init("begin", 60_000),
        write("write without adding", 0, 0, 0),
        end("end nothing", true, 0),
        add("add", "old", &[0], 0),
        add("add what is not there", "old", &[0, 4], 0),
        write("write", 0, 0, 0),
        write("write the next", 0, 1, 0),
        positions("an open transaction", 1),
        positions("an open transaction, uncommitted", 0),
        end("commit", true, 0),
        positions("a committed transaction", 1),
        end("commit again", true, 0),
        end("roll back what is committed", false, 0),
        add("add to the next", "old", &[0], 0),
        write("write in the next", 0, 2, 0),
        end("roll back", false, 0),
        positions("a rolled back transaction", 1),
        offsets_in("offsets without adding the group", "tg"),
        step("add offsets", ApiKey::AddOffsetsToTxn, 3, |known| {
            RequestKind::AddOffsetsToTxn(
                AddOffsetsToTxnRequest::default()
                    .with_transactional_id(tx())
                    .with_producer_id(ProducerId(known.producer.0))
                    .with_producer_epoch(known.producer.1)
                    .with_group_id(group("tg")),
            )
        }),
        offsets_by("offsets of a generation that there is not", 3, "somebody", 0),
        offsets_by("offsets of a producer of before", -1, "", 1),
        offsets_in("offsets", "tg"),
        offsets("offsets while the transaction is open", "tg", Some(&[0])),
        step("stable offsets while the transaction is open", ApiKey::OffsetFetch, 8, |_| {
            let wanted = OffsetFetchRequestTopics::default().with_name(topic("t")).with_partition_indexes(vec![0]);
            let wanted = OffsetFetchRequestGroup::default().with_group_id(group("tg")).with_topics(Some(vec![wanted]));
            RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![wanted]).with_require_stable(true))
        }),
        end("commit offsets", true, 0),
        {
            let mut step = offsets("offsets after the commit", "tg", Some(&[0]));
            step.repeatable = true;
            step
        },
        add("add before somebody else begins", "old", &[0], 0),
        write("write before somebody else begins", 0, 3, 0),
        init("begin again", 60_000),
        add("add with the epoch of before", "old", &[0], 1),
        write("write with the epoch of before", 0, 4, 1),
        end("end with the epoch of before", true, 1),
        positions("a fenced transaction", 1),
        step("describe transactions", ApiKey::DescribeTransactions, 0, |_| {
            let ids = vec![tx(), TransactionalId("unknown".into())];
            RequestKind::DescribeTransactions(DescribeTransactionsRequest::default().with_transactional_ids(ids))
        }),
    ]
}
