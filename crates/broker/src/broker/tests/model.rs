//! A partition against a model that is nothing but a list, through any order of writes, restarts, kills and deletions.

use kafka_protocol::messages::DeleteRecordsRequest;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Action {
    /// Records of the key with this number, with values of this length.
    Produce {
        key: u8,
        count: u8,
        len: u16,
    },
    Tombstone {
        key: u8,
    },
    /// Removes this share of the log, in 256ths.
    Delete(u8),
    Restart,
    Kill,
    Pass(u8),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0..5u8, 1..6u8, 0..400u16).prop_map(|(key, count, len)| Action::Produce { key, count, len }),
        1 => (0..5u8).prop_map(|key| Action::Tombstone { key }),
        1 => any::<u8>().prop_map(Action::Delete),
        1 => Just(Action::Restart),
        1 => Just(Action::Kill),
        2 => (0..40u8).prop_map(Action::Pass),
    ]
}

struct Model {
    /// Every record ever written, by offset: key and value.
    written: Vec<(u8, Option<String>)>,
    start: i64,
}

impl Model {
    /// The last record of each key is there; others may be.
    fn check(&self, rig: &mut Rig, compacted: bool) {
        let found = rig.read_all("t", 0);
        assert!(found.is_sorted_by_key(|(offset, _)| *offset));
        for (offset, value) in &found {
            let (_, written) = &self.written[usize::try_from(*offset).unwrap()];
            assert_eq!(written.as_deref().unwrap_or("null"), value, "offset {offset}");
        }
        let offsets: std::collections::BTreeSet<i64> = found.iter().map(|(offset, _)| *offset).collect();
        let mut seen = std::collections::BTreeSet::new();
        for (index, (key, value)) in self.written.iter().enumerate().rev() {
            let offset = i64::try_from(index).unwrap();
            let is_last = seen.insert(*key);
            let must_stay = offset >= self.start && (!compacted || (is_last && value.is_some()));
            assert!(!must_stay || offsets.contains(&offset), "offset {offset} is missing from {offsets:?}");
        }
        assert!(offsets.first().is_none_or(|first| *first >= self.start));
        let end = i64::try_from(self.written.len()).unwrap();
        assert_eq!((rig.list_offset("t", 0, -2), rig.list_offset("t", 0, -1)), (self.start, end));
        // From any offset, a reader comes to the next record that is left.
        for offset in self.start..end {
            let data = rig.fetch("t", 0, offset, 0);
            let next = Batches::new(data.records.unwrap()).map(|batch| batch.unwrap().header().next_offset()).next();
            assert!(next.is_none_or(|next| next > offset), "a reader at {offset} does not get on");
            assert!(next.is_some() || offsets.range(offset..).next().is_none(), "a reader at {offset} gets nothing");
        }
    }
}

fn delete_before(rig: &mut Rig, offset: i64) {
    let partition = DeleteRecordsPartition::default().with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
    match rig.ask(2, RequestKind::DeleteRecords(DeleteRecordsRequest::default().with_topics(vec![topic]))) {
        ResponseKind::DeleteRecords(response) => assert_eq!(response.topics[0].partitions[0].error_code, 0),
        other => panic!("{other:?}"),
    }
}

fn run(actions: &[Action], compacted: bool) {
    let mut rig = Rig::new(BrokerConfig::default());
    let policy = if compacted { "compact,delete" } else { "delete" };
    let configs = [
        ("cleanup.policy", policy),
        ("internal.segment.bytes", "1500"),
        ("min.cleanable.dirty.ratio", "0.1"),
        ("retention.ms", "-1"),
        ("delete.retention.ms", "20000"),
        ("max.message.bytes", "100000"),
    ];
    assert_eq!(rig.create_topic("t", 1, &configs), 0);
    let mut model = Model { written: Vec::new(), start: 0 };
    for action in actions {
        match action {
            Action::Produce { key, count, len } => {
                let value = format!("{}-{}", model.written.len(), "x".repeat(usize::from(*len)));
                let name = key.to_string();
                let records = vec![(Some(name.as_str()), Some(value.as_str())); usize::from(*count)];
                let batch = keyed(&records, 1_700_000_000_000, Stamp::NONE);
                if batch.len() <= 1500 {
                    assert_eq!(rig.produce("t", 0, batch).base_offset, i64::try_from(model.written.len()).unwrap());
                    model.written.extend(records.iter().map(|(_, value)| (*key, value.map(str::to_owned))));
                }
            }
            Action::Tombstone { key } => {
                let name = key.to_string();
                assert_eq!(rig.produce("t", 0, keyed(&[(Some(&name), None)], 1, Stamp::NONE)).error_code, 0);
                model.written.push((*key, None));
            }
            Action::Delete(share) => {
                let end = i64::try_from(model.written.len()).unwrap();
                let offset = model.start + (end - model.start) * i64::from(*share) / 256;
                delete_before(&mut rig, offset);
                model.start = model.start.max(offset);
            }
            Action::Restart => rig.restart(),
            Action::Kill => rig.kill(),
            Action::Pass(seconds) => rig.pass(Duration::from_secs(u64::from(*seconds))),
        }
    }
    model.check(&mut rig, compacted);
    rig.kill();
    model.check(&mut rig, compacted);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_partition_is_a_list(actions in prop::collection::vec(action(), 1..60)) {
        run(&actions, false);
    }

    #[test]
    fn a_compacted_partition_is_a_map(actions in prop::collection::vec(action(), 1..60)) {
        run(&actions, true);
    }
}
