//! A process that dies at any write, at any byte of it: what was acknowledged is there afterwards, and a client that asks again doubles
//! nothing.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{DeleteRecordsRequest, GroupId, OffsetCommitRequest, OffsetFetchRequest};

use super::*;
use crate::store::{Store, StoreFile};

/// What a client does, one thing after the other.
#[derive(Debug, Clone, Copy)]
enum Step {
    Create(&'static str, &'static [(&'static str, &'static str)]),
    /// The next batch of the idempotent producer: two records whose values are their numbers.
    Produce,
    /// A record of the compacted topic: key and value.
    Keep(&'static str, u32),
    Commit(i64),
    DeleteBefore(i64),
    House,
}

const STEPS: &[Step] = &[
    Step::Create("log", &[("internal.segment.bytes", "400"), ("flush.messages", "1")]),
    Step::Produce,
    Step::Commit(1),
    Step::Produce,
    Step::Create(
        "table",
        &[("cleanup.policy", "compact"), ("internal.segment.bytes", "250"), ("min.cleanable.dirty.ratio", "0")],
    ),
    Step::Keep("a", 1),
    Step::Keep("b", 2),
    Step::Keep("a", 3),
    Step::Produce,
    Step::Produce,
    Step::Commit(5),
    Step::Keep("c", 4),
    Step::Keep("b", 5),
    Step::Keep("a", 6),
    Step::House,
    Step::Produce,
    Step::DeleteBefore(3),
    Step::Produce,
    Step::Keep("d", 7),
    Step::Keep("c", 8),
    Step::House,
    Step::DeleteBefore(8),
    Step::Produce,
    Step::Commit(9),
    Step::House,
];

/// What was acknowledged so far.
#[derive(Default)]
struct Acknowledged {
    batches: i64,
    table: BTreeMap<&'static str, u32>,
    committed: Option<i64>,
    start: i64,
}

const STORAGE: i16 = 56;
/// What a coordinator says instead.
const NOT_COORDINATOR: i16 = 16;

/// Does one step; false when the broker could not write.
fn perform(rig: &mut Rig, step: Step, done: &mut Acknowledged) -> bool {
    let error = match step {
        Step::Create(name, configs) => {
            // A creation that was written and not acknowledged is no error for a client that tries again.
            Some(rig.create_topic(name, 1, configs))
                .filter(|error| *error != ResponseError::TopicAlreadyExists.code())
                .unwrap_or(0)
        }
        Step::Produce => {
            let first = done.batches * 2;
            let values = [first.to_string(), (first + 1).to_string()];
            let batch = stamped(&[&values[0], &values[1]], sequence(77, 0, i32::try_from(first).unwrap()));
            let response = rig.produce("log", 0, batch);
            if response.error_code == 0 {
                assert_eq!(response.base_offset, first, "a batch is where it was the first time");
                done.batches += 1;
            }
            response.error_code
        }
        Step::Keep(key, value) => {
            let text = value.to_string();
            let error = rig.produce("table", 0, keyed(&[(Some(key), Some(&text))], 1, Stamp::NONE)).error_code;
            if error == 0 {
                done.table.insert(key, value);
            }
            error
        }
        Step::Commit(offset) => {
            let error = Some(commit(rig, offset)).filter(|error| *error != NOT_COORDINATOR).unwrap_or(STORAGE);
            if error == 0 {
                done.committed = Some(offset);
            }
            error
        }
        Step::DeleteBefore(offset) => {
            let error = delete_before(rig, offset);
            if error == 0 {
                done.start = offset;
            }
            error
        }
        Step::House => {
            rig.pass(rig.config.housekeeping_interval);
            0
        }
    };
    assert!(error == 0 || error == STORAGE, "{step:?}: {error}");
    error == 0
}

fn commit(rig: &mut Rig, offset: i64) -> i16 {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset).with_committed_metadata(None);
    let topic = OffsetCommitRequestTopic::default().with_name(topic_name("log")).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId("g".into()))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    match rig.ask(8, RequestKind::OffsetCommit(request)) {
        ResponseKind::OffsetCommit(response) => response.topics[0].partitions[0].error_code,
        other => panic!("{other:?}"),
    }
}

fn committed(rig: &mut Rig) -> i64 {
    let topic = OffsetFetchRequestTopics::default().with_name(topic_name("log")).with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default().with_group_id(GroupId("g".into())).with_topics(Some(vec![topic]));
    match rig.ask(8, RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![group]))) {
        ResponseKind::OffsetFetch(response) => response.groups[0].topics[0].partitions[0].committed_offset,
        other => panic!("{other:?}"),
    }
}

fn delete_before(rig: &mut Rig, offset: i64) -> i16 {
    let partition = DeleteRecordsPartition::default().with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(topic_name("log")).with_partitions(vec![partition]);
    match rig.ask(2, RequestKind::DeleteRecords(DeleteRecordsRequest::default().with_topics(vec![topic]))) {
        ResponseKind::DeleteRecords(response) => response.topics[0].partitions[0].error_code,
        other => panic!("{other:?}"),
    }
}

/// Holds what is there against what was acknowledged. A step more than that may be there as well: `in_doubt` had no answer.
fn check(rig: &mut Rig, done: &Acknowledged, in_doubt: Option<Step>) {
    if done.batches > 0 {
        let records = rig.read_all("log", 0);
        let start = records.first().map_or(0, |(offset, _)| *offset);
        let latest_start = match in_doubt {
            Some(Step::DeleteBefore(offset)) => offset,
            _ => done.start,
        };
        assert!((done.start..=latest_start).contains(&start), "the log starts at {start}");
        let expected: Vec<_> = (start..).take(records.len()).map(|number| (number, number.to_string())).collect();
        assert_eq!(records, expected);
        let end = start + i64::try_from(records.len()).unwrap();
        let extra = if matches!(in_doubt, Some(Step::Produce)) { 2 } else { 0 };
        assert!(
            end == done.batches * 2 || end == done.batches * 2 + extra,
            "the log ends at {end}, {} were acknowledged",
            done.batches
        );
    }
    if let Some(acknowledged) = done.committed {
        let found = committed(rig);
        let doubtful = matches!(in_doubt, Some(Step::Commit(offset)) if offset == found);
        assert!(found == acknowledged || doubtful, "offset {found} is committed, {acknowledged} was acknowledged");
    }
    if !done.table.is_empty() {
        let values: Vec<u32> = rig.read_all("table", 0).iter().map(|(_, value)| value.parse().unwrap()).collect();
        assert!(values.is_sorted(), "{values:?}");
        for (key, value) in &done.table {
            assert!(values.contains(value), "{key}={value} is missing from {values:?}");
        }
    }
}

/// Runs the steps with a death after so many changes; false when there were not so many.
fn run(changes: u64, torn: u64, deaths_at_start: u64) -> bool {
    let mut rig = Rig::new(BrokerConfig::default());
    let mut done = Acknowledged::default();
    rig.store.die_after(changes, torn);
    let mut died = false;
    for step in STEPS {
        let mut performed = perform(&mut rig, *step, &mut done);
        // A death that the step did not notice (the end of a clean-up) is noticed here.
        if !died && (!performed || rig.store.has_died()) {
            died = true;
            rig.store.revive();
            for changes in 0..deaths_at_start {
                rig.store.die_after(changes, torn);
                let _ = try_open(&rig.store, &rig.config, rig.now);
                rig.store.revive();
            }
            rig.kill();
            check(&mut rig, &done, (!performed).then_some(*step));
            performed = performed || perform(&mut rig, *step, &mut done);
        }
        assert!(performed, "{step:?} fails without a fault");
    }
    rig.store.revive();
    rig.kill();
    check(&mut rig, &done, None);
    rig.restart();
    check(&mut rig, &done, None);
    assert_eq!((done.batches, done.committed, done.start), (7, Some(9), 8));
    died
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_doubled_wherever_the_process_dies() {
    for torn in [0, 1, 11, 60, 90] {
        let mut changes = 0;
        while run(changes, torn, changes % 3) {
            changes += 1;
        }
        assert!(changes > 60, "only {changes} changes were made: the steps do not do what they should");
    }
}

#[test]
fn what_was_flushed_survives_the_machine() {
    for kept in [0, 1, 30, 70] {
        let mut rig = Rig::new(BrokerConfig::default());
        let mut done = Acknowledged::default();
        for (index, step) in STEPS.iter().enumerate() {
            assert!(perform(&mut rig, *step, &mut done));
            let store = rig.store.duplicate();
            store.crash_machine(|_, at_risk| at_risk.min(kept));
            let mut after = Rig::over(store, BrokerConfig::default());
            // Topics are synced when they are created and `log` has `flush.messages=1`; the rest may be lost.
            let flushed = Acknowledged { batches: done.batches, start: 0, table: BTreeMap::new(), committed: None };
            if flushed.batches > 0 {
                let records = after.read_all("log", 0);
                let last = records.last().map_or(-1, |(offset, _)| *offset);
                assert_eq!(last, flushed.batches * 2 - 1, "after step {index} with {kept} bytes kept");
            }
        }
    }
}

#[test]
fn a_full_disk_is_told_and_work_goes_on_when_there_is_room() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("log", 1, &[]);
    assert_eq!(rig.produce("log", 0, batch(&["one"])).error_code, 0);
    rig.store.limit_room(Some(10));
    assert_eq!(rig.produce("log", 0, batch(&["two"])).error_code, STORAGE);
    assert_eq!(commit(&mut rig, 1), NOT_COORDINATOR);
    assert_eq!(rig.create_topic("other", 1, &[]), STORAGE);
    assert_eq!(rig.read_all("log", 0), [(0, "one".to_owned())]);
    rig.store.limit_room(None);
    assert_eq!(rig.produce("log", 0, batch(&["two"])).base_offset, 1);
    assert_eq!(rig.create_topic("other", 1, &[]), 0);
    rig.kill();
    assert_eq!(rig.read_all("log", 0), [(0, "one".to_owned()), (1, "two".to_owned())]);
}

#[test]
fn a_flush_reaches_segments_that_rest() {
    for stop_between in [false, true] {
        let mut rig = Rig::new(BrokerConfig::default());
        rig.create_topic(
            "log",
            1,
            &[("internal.segment.bytes", "80"), ("flush.messages", "5"), ("retention.ms", "-1")],
        );
        for number in 0..4 {
            assert_eq!(rig.produce("log", 0, batch(&["x"])).base_offset, number);
        }
        // Long enough for idle files to be closed.
        rig.pass(Duration::from_secs(60));
        if stop_between {
            // A kill leaves what was written, but nobody has synced it.
            rig.kill();
            rig.restart();
        } else {
            assert_eq!(rig.produce("log", 0, batch(&["x"])).base_offset, 4);
        }
        rig.store.crash_machine(|_, _| 0);
        rig.kill();
        assert_eq!(rig.read_all("log", 0).len(), if stop_between { 4 } else { 5 });
    }
}

/// A disk that renames and then says that it failed, as when the new name cannot be made safe.
struct HalfRenaming(MemoryStore);

impl Store for HalfRenaming {
    fn open(&self, path: &str) -> std::io::Result<Box<dyn StoreFile>> {
        self.0.open(path)
    }

    fn list(&self, folder: &str) -> std::io::Result<Vec<String>> {
        self.0.list(folder)
    }

    fn remove(&self, path: &str) -> std::io::Result<()> {
        self.0.remove(path)
    }

    fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        self.0.rename(from, to)?;
        Err(std::io::Error::other("the folder cannot be synced"))
    }

    fn boot(&self) -> u128 {
        self.0.boot()
    }

    fn location(&self) -> String {
        self.0.location()
    }
}

#[test]
fn a_journal_that_was_replaced_in_spite_of_an_error_is_the_one_that_is_written() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("log", 1, &[]);
    let mut next = 0;
    let ids = Box::new(move || {
        next += 1;
        next
    });
    rig.broker = Broker::open(rig.config.clone(), Box::new(HalfRenaming(rig.store.clone())), ids, rig.now).unwrap();
    let commit = |rig: &mut Rig, offset: i64| {
        let partition = OffsetCommitRequestPartition::default()
            .with_committed_offset(offset)
            .with_committed_metadata(Some("x".repeat(4000).into()));
        let topic = OffsetCommitRequestTopic::default().with_name(topic_name("log")).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId("g".into()))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        match rig.ask(8, RequestKind::OffsetCommit(request)) {
            ResponseKind::OffsetCommit(response) => response.topics[0].partitions[0].error_code,
            other => panic!("{other:?}"),
        }
    };
    let len = |rig: &Rig| rig.store.files().into_iter().find(|(path, _)| path == "journal").unwrap().1;
    for offset in 0..400 {
        assert_eq!(commit(&mut rig, offset), 0);
    }
    let before = len(&rig);
    rig.pass(Duration::from_secs(60));
    assert!(len(&rig) < before / 4, "it has been replaced");
    let replaced = rig.store.duplicate();
    assert_eq!(committed(&mut Rig::over(replaced, rig.config.clone())), 399, "what was written before is in it");
    assert_eq!(commit(&mut rig, 1000), 0);
    rig.kill();
    assert_eq!(committed(&mut rig), 1000);
}
