//! Transactions: what readers of either isolation see, who is shut out, what a crash leaves.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, GroupId, InitProducerIdRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, ProducerId, TxnOffsetCommitRequest,
};

use super::*;

const ID: &str = "tx";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    id: i64,
    epoch: i16,
}

fn transactional_id() -> TransactionalId {
    TransactionalId(ID.into())
}

fn init(rig: &mut Rig) -> Owner {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(transactional_id()))
        .with_transaction_timeout_ms(60_000)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    match rig.ask(4, RequestKind::InitProducerId(request)) {
        ResponseKind::InitProducerId(response) => {
            assert_eq!(response.error_code, 0);
            Owner { id: response.producer_id.0, epoch: response.producer_epoch }
        }
        other => panic!("{other:?}"),
    }
}

fn add_partition(rig: &mut Rig, owner: Owner, topic: &str) -> i16 {
    let topic = AddPartitionsToTxnTopic::default().with_name(topic_name(topic)).with_partitions(vec![0]);
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(transactional_id())
        .with_v3_and_below_producer_id(ProducerId(owner.id))
        .with_v3_and_below_producer_epoch(owner.epoch)
        .with_v3_and_below_topics(vec![topic]);
    match rig.ask(3, RequestKind::AddPartitionsToTxn(request)) {
        ResponseKind::AddPartitionsToTxn(response) => {
            response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
        }
        other => panic!("{other:?}"),
    }
}

fn write(rig: &mut Rig, owner: Owner, sequence_number: i32, value: &str) -> i16 {
    let stamp = Stamp { transactional: true, ..sequence(owner.id, owner.epoch, sequence_number) };
    rig.produce_as(Some(ID), "t", 0, stamped(&[value], stamp)).error_code
}

fn end(rig: &mut Rig, owner: Owner, committed: bool) -> i16 {
    let request = EndTxnRequest::default()
        .with_transactional_id(transactional_id())
        .with_producer_id(ProducerId(owner.id))
        .with_producer_epoch(owner.epoch)
        .with_committed(committed);
    match rig.ask(3, RequestKind::EndTxn(request)) {
        ResponseKind::EndTxn(response) => response.error_code,
        other => panic!("{other:?}"),
    }
}

/// The offset up to which a reader of committed records sees, and the first offsets of aborted transactions before it.
fn committed_view(rig: &mut Rig) -> (i64, Vec<i64>) {
    let data = rig.fetch("t", 0, 0, 1);
    let seen = Batches::new(data.records.unwrap()).last().map_or(0, |batch| batch.unwrap().header().next_offset());
    assert!(seen <= data.last_stable_offset);
    let aborted = data.aborted_transactions.unwrap().iter().map(|aborted| aborted.first_offset).collect();
    (seen, aborted)
}

#[test]
fn readers_of_committed_records_wait_for_the_end() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[]);
    let owner = init(&mut rig);
    assert_eq!(write(&mut rig, owner, 0, "early"), ResponseError::InvalidTxnState.code());
    assert_eq!(add_partition(&mut rig, owner, "t"), 0);
    assert_eq!(write(&mut rig, owner, 0, "a"), 0);
    assert_eq!(committed_view(&mut rig), (0, vec![]));
    assert_eq!(rig.read_all("t", 0).len(), 1);

    // A reader that waits is woken by the marker, not by the open record.
    let request = fetch_request("t", 0, 0).with_isolation_level(1).with_max_wait_ms(60_000);
    let waiting = rig.send(ConnectionId(5), 12, RequestKind::Fetch(request));
    assert_eq!(write(&mut rig, owner, 1, "b"), 0);
    assert!(rig.take(waiting).is_none());
    assert_eq!(end(&mut rig, owner, true), 0);
    assert!(rig.take(waiting).is_some());
    assert_eq!(committed_view(&mut rig), (3, vec![]));
    // So is one that waits for more than the marker has.
    let request = fetch_request("t", 0, 3).with_isolation_level(1).with_max_wait_ms(60_000).with_min_bytes(150);
    let waiting = rig.send(ConnectionId(6), 12, RequestKind::Fetch(request));
    assert_eq!(add_partition(&mut rig, owner, "t"), 0);
    assert_eq!(write(&mut rig, owner, 2, &"c".repeat(500)), 0);
    assert!(rig.take(waiting).is_none());
    assert_eq!(end(&mut rig, owner, true), 0);
    assert!(rig.take(waiting).is_some());
    assert_eq!(end(&mut rig, owner, true), 0, "the answer was lost and the producer asks again");
    assert_eq!(end(&mut rig, owner, false), ResponseError::InvalidTxnState.code());

    assert_eq!(add_partition(&mut rig, owner, "t"), 0);
    assert_eq!(write(&mut rig, owner, 3, "c"), 0);
    assert_eq!(end(&mut rig, owner, false), 0);
    for _ in 0..2 {
        assert_eq!(committed_view(&mut rig), (7, vec![5]));
        rig.kill();
    }
}

#[test]
fn whoever_comes_later_shuts_out_who_was_before() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[]);
    let old = init(&mut rig);
    assert_eq!(add_partition(&mut rig, old, "t"), 0);
    assert_eq!(write(&mut rig, old, 0, "lost"), 0);
    let new = init(&mut rig);
    assert!(new.id == old.id && new.epoch > old.epoch, "{old:?} {new:?}");
    assert_eq!(committed_view(&mut rig), (2, vec![0]));
    assert_eq!(write(&mut rig, old, 1, "zombie"), ResponseError::InvalidProducerEpoch.code());
    assert_eq!(add_partition(&mut rig, old, "t"), ResponseError::ProducerFenced.code());
    assert_eq!(end(&mut rig, old, true), ResponseError::ProducerFenced.code());
    rig.kill();
    assert_eq!(add_partition(&mut rig, new, "t"), 0);
    assert_eq!(write(&mut rig, new, 0, "kept"), 0);
    assert_eq!(end(&mut rig, new, true), 0);
    assert_eq!(committed_view(&mut rig), (4, vec![0]));
}

#[test]
fn a_transaction_that_stays_open_is_rolled_back() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[]);
    let owner = init(&mut rig);
    assert_eq!(add_partition(&mut rig, owner, "t"), 0);
    assert_eq!(write(&mut rig, owner, 0, "a"), 0);
    rig.kill();
    rig.pass(Duration::from_secs(59));
    assert_eq!(committed_view(&mut rig), (0, vec![]));
    rig.pass(Duration::from_secs(2));
    assert_eq!(committed_view(&mut rig), (2, vec![0]));
    assert_eq!(end(&mut rig, owner, true), ResponseError::ProducerFenced.code());
}

#[test]
fn offsets_of_a_transaction_count_when_it_commits() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[]);
    let owner = init(&mut rig);
    for (committed, expected) in [(true, 7), (false, 7)] {
        carry_offset(&mut rig, owner, if committed { 7 } else { 9 });
        rig.kill();
        assert_eq!(group_offset(&mut rig, true), (-1, ResponseError::UnstableOffsetCommit.code()));
        assert_eq!(end(&mut rig, owner, committed), 0);
        assert_eq!(group_offset(&mut rig, true), (expected, 0));
    }
}

/// Commits an offset of group `g` in the owner's transaction.
fn carry_offset(rig: &mut Rig, owner: Owner, offset: i64) {
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(transactional_id())
        .with_producer_id(ProducerId(owner.id))
        .with_producer_epoch(owner.epoch)
        .with_group_id(GroupId("g".into()));
    let ResponseKind::AddOffsetsToTxn(added) = rig.ask(3, RequestKind::AddOffsetsToTxn(request)) else {
        panic!("an answer")
    };
    assert_eq!(added.error_code, 0);
    let partition =
        TxnOffsetCommitRequestPartition::default().with_committed_offset(offset).with_committed_metadata(None);
    let topic = TxnOffsetCommitRequestTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(transactional_id())
        .with_group_id(GroupId("g".into()))
        .with_producer_id(ProducerId(owner.id))
        .with_producer_epoch(owner.epoch)
        .with_generation_id(-1)
        .with_topics(vec![topic]);
    let ResponseKind::TxnOffsetCommit(answer) = rig.ask(3, RequestKind::TxnOffsetCommit(request)) else {
        panic!("an answer")
    };
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
}

#[test]
fn an_offset_that_was_committed_since_does_not_go_back_with_the_end_of_a_transaction() {
    // Whether the offset is removed instead, and whether the broker dies meanwhile, or even replaces its journal before.
    for (removes, dies, replaces) in
        [(false, false, false), (false, true, false), (false, true, true), (true, true, true)]
    {
        let journal_min_bytes = if replaces { 0 } else { 1 << 20 };
        let mut rig = Rig::new(BrokerConfig { journal_min_bytes, ..BrokerConfig::default() });
        rig.create_topic("t", 1, &[]);
        let owner = init(&mut rig);
        carry_offset(&mut rig, owner, 5);
        let group = GroupId("g".into());
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(50);
        let topic = OffsetCommitRequestTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default().with_group_id(group.clone()).with_topics(vec![topic]);
        rig.ask(8, RequestKind::OffsetCommit(request.with_generation_id_or_member_epoch(-1)));
        assert_eq!(group_offset(&mut rig, false), (50, 0));
        if removes {
            let topic = OffsetDeleteRequestTopic::default().with_name(topic_name("t"));
            let topic = topic.with_partitions(vec![OffsetDeleteRequestPartition::default()]);
            let request = OffsetDeleteRequest::default().with_group_id(group).with_topics(vec![topic]);
            rig.ask(0, RequestKind::OffsetDelete(request));
        }
        if replaces {
            let len = |rig: &Rig| rig.store.files().into_iter().find(|(path, _)| path == "journal").unwrap().1;
            let before = len(&rig);
            rig.pass(Duration::from_secs(15));
            assert!(len(&rig) < before, "it has been replaced");
        }
        if dies {
            rig.kill();
        }
        assert_eq!(end(&mut rig, owner, true), 0);
        assert_eq!(group_offset(&mut rig, true), (if removes { -1 } else { 50 }, 0));
        carry_offset(&mut rig, owner, 60);
        assert_eq!(end(&mut rig, owner, true), 0);
        assert_eq!(group_offset(&mut rig, true), (60, 0));
    }
}

fn group_offset(rig: &mut Rig, stable: bool) -> (i64, i16) {
    let topic = OffsetFetchRequestTopics::default().with_name(topic_name("t")).with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default().with_group_id(GroupId("g".into())).with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(stable);
    match rig.ask(8, RequestKind::OffsetFetch(request)) {
        ResponseKind::OffsetFetch(response) => {
            let partition = &response.groups[0].topics[0].partitions[0];
            (partition.committed_offset, partition.error_code)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_decided_transaction_is_completed_wherever_the_process_dies() {
    for committed in [true, false] {
        let mut changes = 0;
        loop {
            let mut rig = Rig::new(BrokerConfig::default());
            rig.create_topic("t", 1, &[]);
            rig.create_topic("u", 1, &[]);
            let owner = init(&mut rig);
            assert_eq!(add_partition(&mut rig, owner, "t"), 0);
            assert_eq!(add_partition(&mut rig, owner, "u"), 0);
            assert_eq!(write(&mut rig, owner, 0, "a"), 0);
            rig.store.die_after(changes, 20);
            let answer = end(&mut rig, owner, committed);
            let died = rig.store.revive();
            rig.kill();
            // The producer asks until it is answered.
            let again = end(&mut rig, owner, committed);
            assert_eq!(again, 0, "after {changes} changes and the answer {answer}");
            let aborted = if committed { vec![] } else { vec![0] };
            assert_eq!(committed_view(&mut rig), (2, aborted), "one marker, after {changes} changes");
            if !died {
                assert!(changes >= 3, "there are decision, marker and completion to die at");
                break;
            }
            changes += 1;
        }
    }
}

/// Writes as KIP-890 has it: nothing was added before.
fn write_at_once(rig: &mut Rig, owner: Owner, value: &str) -> i16 {
    let stamp = Stamp { transactional: true, ..sequence(owner.id, owner.epoch, 0) };
    let request = produce_request(Some(ID), "t", 0, stamped(&[value], stamp));
    match rig.ask(12, RequestKind::Produce(request)) {
        ResponseKind::Produce(response) => response.responses[0].partition_responses[0].error_code,
        other => panic!("{other:?}"),
    }
}

/// Ends a transaction as KIP-890 has it; the owner goes on with what it is told.
fn end_with_bump(rig: &mut Rig, owner: Owner, committed: bool) -> Result<Owner, i16> {
    let request = EndTxnRequest::default()
        .with_transactional_id(transactional_id())
        .with_producer_id(ProducerId(owner.id))
        .with_producer_epoch(owner.epoch)
        .with_committed(committed);
    match rig.ask(5, RequestKind::EndTxn(request)) {
        ResponseKind::EndTxn(response) if response.error_code == 0 => {
            Ok(Owner { id: response.producer_id.0, epoch: response.producer_epoch })
        }
        ResponseKind::EndTxn(response) => Err(response.error_code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_end_brings_a_new_epoch_and_what_is_late_stays_out() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[]);
    let first = init(&mut rig);
    assert_eq!(write_at_once(&mut rig, first, "a"), 0);
    rig.kill();
    let second = end_with_bump(&mut rig, first, true).unwrap();
    assert_eq!(second, Owner { epoch: first.epoch + 1, ..first });
    rig.kill();
    // The answer was lost.
    assert_eq!(end_with_bump(&mut rig, first, true), Ok(second));
    let late = ResponseError::InvalidProducerEpoch.code();
    assert_eq!(write_at_once(&mut rig, first, "late"), late);
    assert_eq!(write_at_once(&mut rig, second, "b"), 0);
    let third = end_with_bump(&mut rig, second, false).unwrap();
    // A transaction that is open for too long is rolled back, and its producer shut out.
    assert_eq!(write_at_once(&mut rig, third, "c"), 0);
    rig.pass(Duration::from_secs(61));
    assert_eq!(end_with_bump(&mut rig, third, true), Err(ResponseError::ProducerFenced.code()));
    assert_eq!(rig.fetch("t", 0, 0, 1).aborted_transactions.map(|list| list.len()), Some(2));
    assert_eq!(rig.list_offset("t", 0, -1), 6);
}

#[test]
fn a_producer_that_has_used_up_its_epochs_goes_on_with_another_id() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[]);
    let mut owner = init(&mut rig);
    let id = owner.id;
    while owner.epoch < i16::MAX - 1 {
        owner = end_with_bump(&mut rig, owner, false).unwrap();
        assert_eq!(owner.id, id);
    }
    assert_eq!(write_at_once(&mut rig, owner, "last"), 0);
    let next = end_with_bump(&mut rig, owner, true).unwrap();
    assert!(next.id != id && next.epoch == 0, "{next:?}");
    assert_eq!(end_with_bump(&mut rig, owner, true), Ok(next), "the answer was lost");
    rig.restart();
    assert_eq!(write_at_once(&mut rig, next, "first"), 0);
    end_with_bump(&mut rig, next, true).unwrap();
    let values: Vec<String> = rig.read_all("t", 0).into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["last", "first"]);
}

#[test]
fn what_cannot_be_written_down_of_a_transaction_is_asked_for_again() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[]);
    let owner = init(&mut rig);
    let not_coordinator = ResponseError::NotCoordinator.code();
    rig.store.limit_room(Some(0));
    assert_eq!(add_partition(&mut rig, owner, "t"), not_coordinator);
    assert_eq!(end(&mut rig, owner, false), ResponseError::InvalidTxnState.code(), "it was not begun");
    // Records that add their partition themselves are sent again for this.
    assert_eq!(write_at_once(&mut rig, owner, "early"), ResponseError::NotEnoughReplicas.code());
    rig.store.limit_room(None);
    assert_eq!(add_partition(&mut rig, owner, "t"), 0);
    assert_eq!(write(&mut rig, owner, 0, "kept"), 0);
    rig.store.limit_room(Some(0));
    assert_eq!(end(&mut rig, owner, true), not_coordinator);
    rig.kill();
    assert_eq!(committed_view(&mut rig), (0, vec![]));
    rig.store.limit_room(None);
    assert_eq!(end(&mut rig, owner, true), 0);
    assert_eq!(committed_view(&mut rig), (2, vec![]));
}

#[test]
fn what_does_not_begin_a_transaction_of_the_second_version_lacks_what_comes_before() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[]);
    let owner = init(&mut rig);
    let mut write = |sequence_number: i32| {
        let stamp = Stamp { transactional: true, ..sequence(owner.id, owner.epoch, sequence_number) };
        let request = produce_request(Some(ID), "t", 0, stamped(&["a"], stamp));
        match rig.ask(12, RequestKind::Produce(request)) {
            ResponseKind::Produce(response) => response.responses[0].partition_responses[0].error_code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(write(1), ResponseError::OutOfOrderSequenceNumber.code());
    assert_eq!((write(0), write(1)), (0, 0));
}

#[test]
fn a_transaction_ends_although_power_fails_where_records_are_flushed() {
    let config = [("flush.messages", "1")];
    for committed in [None, Some(true), Some(false)] {
        let mut rig = Rig::new(BrokerConfig::default());
        rig.create_topic("t", 1, &config);
        let owner = init(&mut rig);
        assert_eq!(add_partition(&mut rig, owner, "t"), 0);
        assert_eq!(write(&mut rig, owner, 0, "a"), 0);
        if let Some(committed) = committed {
            assert_eq!(end(&mut rig, owner, committed), 0);
        }
        rig.store.crash_machine(|_, _| 0);
        rig.kill();
        // Nobody ends it but time.
        rig.pass(Duration::from_secs(61));
        let aborted = if committed == Some(true) { vec![] } else { vec![0] };
        assert_eq!(committed_view(&mut rig), (2, aborted), "{committed:?}");
        assert!(init(&mut rig).epoch > owner.epoch, "no epoch is given out twice");
    }
}
