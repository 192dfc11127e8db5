//! Compaction against what a reader of committed records sees: the same before and after, wherever the process dies.

use std::collections::{BTreeMap, BTreeSet};

use kurier_kafka::batch::{Batches, Builder, BuilderOptions, Compression, MarkerKind, Stamp};
use proptest::prelude::*;

use super::*;
use crate::log::Verdict;
use crate::store::MemoryStore;

/// Producers: those before this number write in transactions, the others only with sequences.
const TRANSACTIONAL: usize = 2;
const PRODUCERS: usize = 4;
const START_MS: i64 = 1_700_000_000_000;

#[derive(Debug, Clone)]
enum Action {
    /// Records of these keys; a value of length zero is a tombstone.
    Write {
        producer: usize,
        compression: u8,
        records: Vec<(u8, u8)>,
    },
    End {
        producer: usize,
        commit: bool,
    },
    /// The producer comes again with a new epoch and writes a marker for it, as a coordinator has it done.
    Fence {
        producer: usize,
    },
    Pass(u16),
    /// With a map of few keys, or with all of the log taken for dirty.
    Clean {
        small_map: bool,
        all: bool,
    },
    DeleteBefore(u8),
    Kill,
    /// A kill, and checkpoints that cannot be believed.
    KillWithoutCheckpoints,
}

fn action() -> impl Strategy<Value = Action> {
    let records = prop::collection::vec((0..6u8, 0..30u8), 1..5);
    prop_oneof![
        8 => (0..PRODUCERS, 0..5u8, records).prop_map(|(producer, compression, records)| Action::Write { producer, compression, records }),
        4 => (0..TRANSACTIONAL, any::<bool>()).prop_map(|(producer, commit)| Action::End { producer, commit }),
        1 => (0..TRANSACTIONAL).prop_map(|producer| Action::Fence { producer }),
        2 => (0..1500u16).prop_map(Action::Pass),
        4 => (any::<bool>(), any::<bool>()).prop_map(|(small_map, all)| Action::Clean { small_map, all }),
        1 => (0..60u8).prop_map(Action::DeleteBefore),
        1 => Just(Action::Kill),
        1 => Just(Action::KillWithoutCheckpoints),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
}

#[derive(Debug, Clone, Default)]
struct Writer {
    epoch: i16,
    next_sequence: i32,
    /// Its last batch: base sequence, records, base offset.
    last: Option<(i32, i32, i64)>,
    open: Option<usize>,
}

/// A log, and all that was ever written to it.
struct Rig {
    store: MemoryStore,
    log: PartitionLog,
    config: LogConfig,
    now_ms: i64,
    /// Offset, key, value, and the number of the transaction.
    written: Vec<(i64, u8, Option<String>, Option<usize>)>,
    fates: Vec<Fate>,
    writers: Vec<Writer>,
    start: i64,
}

type View = BTreeMap<u8, String>;

impl Rig {
    fn new() -> Self {
        Self::with_segments(500)
    }

    fn with_segments(segment_bytes: u64) -> Self {
        let config = LogConfig {
            segment_bytes,
            segment_ms: i64::MAX,
            retention_ms: -1,
            retention_bytes: -1,
            delete: false,
            compact: true,
            delete_retention_ms: 1000,
            min_cleanable_ratio: 0.0,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            log_append_time: false,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
        };
        Self {
            store: MemoryStore::new(),
            log: PartitionLog::empty("p".to_owned()),
            config,
            now_ms: START_MS,
            written: Vec::new(),
            fates: Vec::new(),
            writers: vec![Writer::default(); PRODUCERS],
            start: 0,
        }
    }

    fn write(&mut self, producer: usize, compression: u8, records: &[(u8, u8)]) {
        let compression = Compression::from_id(compression).unwrap();
        let mut builder = Builder::new(BuilderOptions { compression, ..BuilderOptions::default() });
        let base_offset = self.log.end_offset();
        let transactional = producer < TRANSACTIONAL;
        let writer = &mut self.writers[producer];
        if transactional && writer.open.is_none() {
            writer.open = Some(self.fates.len());
            self.fates.push(Fate::Open);
        }
        for (offset, (key, len)) in (base_offset..).zip(records) {
            let value = (*len > 0).then(|| format!("{offset}{}", "x".repeat(usize::from(*len))));
            assert!(builder.try_push(self.now_ms, Some(&[*key]), value.as_deref().map(str::as_bytes), &[]));
            self.written.push((offset, *key, value, writer.open));
        }
        let count = i32::try_from(records.len()).unwrap();
        let base_sequence = writer.next_sequence;
        let mut batch = builder.finish().unwrap();
        batch.stamp(Stamp { producer_id: producer as i64, producer_epoch: writer.epoch, base_sequence, transactional });
        writer.next_sequence += count;
        writer.last = Some((base_sequence, count, base_offset));
        let header = batch.header();
        let bytes = batch.seal();
        let appended = self.log.append(&self.store, &self.config, self.now_ms, &bytes, &header).unwrap();
        assert_eq!(appended, base_offset);
    }

    fn mark(&mut self, producer: usize, kind: MarkerKind) {
        let writer = &mut self.writers[producer];
        let (store, config) = (&self.store, &self.config);
        self.log.append_marker(store, config, self.now_ms, producer as i64, writer.epoch, kind).unwrap();
        if let Some(transaction) = writer.open.take() {
            self.fates[transaction] = if kind == MarkerKind::Commit { Fate::Committed } else { Fate::Aborted };
        }
    }

    fn clean(&mut self, limit: usize) -> io::Result<Option<CleanOutcome>> {
        self.log.clean_with(&self.store, &self.config, self.now_ms, limit)
    }

    /// Forgets what is clean.
    fn soil(&mut self) {
        self.log.segments.iter_mut().for_each(|segment| segment.clean_to = 0);
    }

    fn reopen(&mut self, checkpoints: bool) {
        if !checkpoints {
            for (path, _) in self.store.files() {
                if path.ends_with(".state") {
                    self.store.remove(&path).unwrap();
                }
            }
        }
        self.log = PartitionLog::recover(&self.store, "p".to_owned(), self.start).unwrap();
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Write { producer, compression, records } => self.write(*producer, *compression, records),
            Action::End { producer, commit } if self.writers[*producer].open.is_some() => {
                self.mark(*producer, if *commit { MarkerKind::Commit } else { MarkerKind::Abort });
            }
            Action::End { .. } => {}
            Action::Fence { producer } => {
                let writer = &mut self.writers[*producer];
                (writer.epoch, writer.next_sequence, writer.last) = (writer.epoch + 1, 0, None);
                self.mark(*producer, MarkerKind::Abort);
            }
            Action::Pass(ms) => self.now_ms += i64::from(*ms),
            Action::Clean { small_map, all } => {
                if *all {
                    self.soil();
                }
                self.clean(if *small_map { 60 } else { KEY_BYTES_LIMIT }).unwrap();
            }
            Action::DeleteBefore(offset) => {
                let offset = i64::from(*offset).min(self.log.stable_offset());
                self.start = self.start.max(offset);
                self.log.delete_before(&self.store, offset).unwrap();
            }
            Action::Kill => self.reopen(true),
            Action::KillWithoutCheckpoints => self.reopen(false),
        }
    }

    /// What each key's last value should be to a reader of committed records that begins at an offset.
    fn expected(&self, from: i64) -> View {
        let mut view = View::new();
        let open =
            self.written.iter().find(|(.., transaction)| transaction.is_some_and(|t| self.fates[t] == Fate::Open));
        let stable = open.map_or(i64::MAX, |(offset, ..)| *offset);
        for (offset, key, value, transaction) in &self.written {
            let committed = transaction.is_none_or(|transaction| self.fates[transaction] == Fate::Committed);
            if *offset >= from.max(self.start) && *offset < stable && committed {
                match value {
                    Some(value) => view.insert(*key, value.clone()),
                    None => view.remove(key),
                };
            }
        }
        view
    }

    /// What such a reader sees, that goes about it as Java's consumer does.
    fn seen(&mut self, from: i64) -> View {
        let mut view = View::new();
        let mut scratch = Scratch::default();
        let stable = self.log.stable_offset();
        let mut at = from.max(self.log.start_offset());
        loop {
            let slice = self.log.read(at, stable, 2000, true).unwrap();
            if slice.bytes.is_empty() {
                return view;
            }
            assert!(slice.next_offset > at, "a reader at {at} does not get on");
            let mut aborted: Vec<_> = self.log.aborted_between(at, slice.next_offset).copied().collect();
            aborted.sort_by_key(|aborted| std::cmp::Reverse(aborted.first_offset));
            let mut skipped = BTreeSet::new();
            for batch in Batches::new(slice.bytes) {
                let batch = batch.unwrap();
                let header = batch.header();
                while let Some(next) = aborted.pop_if(|next| next.first_offset <= header.last_offset()) {
                    skipped.insert(next.producer_id);
                }
                if header.is_control() {
                    if marker_of(&batch) == Some(MarkerKind::Abort) {
                        skipped.remove(&header.producer_id);
                    }
                    continue;
                }
                if header.is_transactional() && skipped.contains(&header.producer_id) {
                    continue;
                }
                for record in &batch.records(&mut scratch).unwrap() {
                    let record = record.unwrap();
                    if record.offset >= at {
                        let key = record.key.unwrap()[0];
                        match record.value {
                            Some(value) => view.insert(key, String::from_utf8(value.to_vec()).unwrap()),
                            None => view.remove(&key),
                        };
                    }
                }
            }
            at = slice.next_offset;
        }
    }

    fn check(&mut self, when: &str) {
        let end = self.log.end_offset();
        let open = self.writers.iter().filter_map(|writer| writer.open).min();
        let first_open =
            open.and_then(|open| self.written.iter().find(|(.., t)| *t == Some(open))).map(|found| found.0);
        assert_eq!(self.log.stable_offset(), first_open.unwrap_or(end), "{when}: open transactions");
        for from in [self.start, self.start + (end - self.start) / 2, end - 1] {
            assert_eq!(self.seen(from), self.expected(from), "{when}: what a reader from {from} on sees");
        }
        for (producer, writer) in self.writers.iter().enumerate() {
            let Some((base_sequence, count, base_offset)) = writer.last else { continue };
            let header = |base_sequence| {
                let mut builder = Builder::new(BuilderOptions::default());
                (0..count).for_each(|_| assert!(builder.try_push(0, None, None, &[])));
                let mut batch = builder.finish().unwrap();
                let (producer_id, producer_epoch) = (producer as i64, writer.epoch);
                batch.stamp(Stamp { producer_id, producer_epoch, base_sequence, transactional: false });
                batch.header()
            };
            if base_offset < self.start {
                continue; // What was deleted may be forgotten.
            }
            let again = self.log.check_producer(&header(base_sequence));
            let known = matches!(again, Verdict::Duplicate { base_offset: found, .. } if found == base_offset);
            assert!(known, "{when}: producer {producer} repeats its last batch: {again:?}");
            assert_eq!(self.log.check_producer(&header(base_sequence + count)), Verdict::Append, "{when}");
        }
    }

    fn control_batches(&mut self) -> (usize, usize) {
        let (mut markers, mut batches) = (0, 0);
        for segment in &mut self.log.segments {
            segment
                .walk(0, |header, _, _| {
                    markers += usize::from(header.is_control());
                    batches += 1;
                    Ok(true)
                })
                .unwrap();
        }
        (markers, batches)
    }
}

fn marker_of(batch: &Batch) -> Option<MarkerKind> {
    crate::log::segment::marker_in(batch.header(), batch.bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn readers_of_committed_records_see_the_same_values(
        actions in prop::collection::vec(action(), 1..80),
        segment_bytes in 120..600u64,
    ) {
        let mut rig = Rig::with_segments(segment_bytes);
        for (index, action) in actions.iter().enumerate() {
            rig.act(action);
            rig.check(&format!("after action {index}, {action:?}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cleaning_that_dies_at_any_write_loses_nothing(
        actions in prop::collection::vec(action(), 10..60),
        segment_bytes in 120..600u64,
        torn in 0..100u64,
        checkpoints in any::<bool>(),
    ) {
        let mut rig = Rig::with_segments(segment_bytes);
        actions.iter().for_each(|action| rig.act(action));
        rig.soil();
        rig.clean(KEY_BYTES_LIMIT).unwrap();
        rig.now_ms += 5000;
        let whole = rig.store.duplicate();
        for changes in 0.. {
            rig.store = whole.duplicate();
            rig.reopen(true);
            rig.soil();
            rig.store.die_after(changes, torn);
            let result = rig.clean(KEY_BYTES_LIMIT);
            let died = rig.store.revive();
            // A broker goes on after a write that failed.
            rig.check(&format!("with {changes} changes before {result:?}"));
            rig.reopen(checkpoints);
            rig.check(&format!("after a death with {changes} changes"));
            rig.clean(KEY_BYTES_LIMIT).unwrap();
            rig.check(&format!("cleaned after a death with {changes} changes"));
            if !died {
                break;
            }
        }
    }
}

/// A log whose last segment is one that nothing touches.
fn closed(mut rig: Rig) -> Rig {
    for _ in 0..8 {
        rig.write(PRODUCERS - 1, 0, &[(200, 90)]);
    }
    rig
}

#[test]
fn markers_go_once_nothing_of_their_transactions_is_left_and_readers_had_their_time() {
    for commit in [true, false] {
        let mut rig = Rig::new();
        rig.write(0, 0, &[(1, 5), (2, 5)]);
        rig.act(&Action::End { producer: 0, commit });
        // Replaces what was committed; the producer's own last batch is another one then.
        rig.write(0, 0, &[(1, 5), (2, 5)]);
        rig.act(&Action::End { producer: 0, commit: true });
        let mut rig = closed(rig);
        let aborted = usize::from(!commit);
        // Records go first; then the first marker is given its time; then it goes. The second one's transaction lives.
        for (pass, markers, listed) in [(1, 2, aborted), (2, 2, 0), (3, 2, 0)] {
            rig.soil();
            rig.clean(KEY_BYTES_LIMIT).unwrap();
            assert_eq!(rig.control_batches().0, markers, "pass {pass}, commit: {commit}");
            assert_eq!(rig.log.aborted_between(0, 99).count(), listed, "pass {pass}");
            rig.check("between passes");
        }
        rig.now_ms += 1000;
        rig.soil();
        rig.clean(KEY_BYTES_LIMIT).unwrap();
        assert_eq!(rig.control_batches().0, 1, "commit: {commit}");
        for checkpoints in [true, false] {
            rig.reopen(checkpoints);
            assert_eq!(rig.log.aborted_between(0, 99).count(), 0, "nobody is told of a marker that is no more");
            rig.check("at the end");
        }
    }
}

#[test]
fn tombstones_stay_for_their_time() {
    let mut rig = Rig::new();
    rig.write(2, 0, &[(1, 5)]);
    rig.write(2, 0, &[(1, 0)]);
    rig.write(2, 0, &[(3, 5)]);
    let mut rig = closed(rig);
    let tombstone = |rig: &mut Rig| {
        let slice = rig.log.read(1, 99, 1 << 20, true).unwrap();
        let batch = Batches::new(slice.bytes).next().unwrap().unwrap();
        (batch.header().base_offset, batch.header().has_delete_horizon(), batch.header().base_timestamp)
    };
    for late in [0, 999] {
        rig.now_ms = START_MS + late;
        rig.soil();
        rig.clean(KEY_BYTES_LIMIT).unwrap();
        assert_eq!(tombstone(&mut rig), (1, true, START_MS + 1000), "after {late} ms");
    }
    rig.now_ms = START_MS + 1000;
    rig.soil();
    rig.clean(KEY_BYTES_LIMIT).unwrap();
    assert_eq!(tombstone(&mut rig).0, 2);
}

#[test]
fn settings_say_when_a_log_is_cleaned() {
    let case = |ratio: f64, least_lag: i64, most_lag: i64, late: i64| {
        let mut rig = Rig::new();
        rig.write(2, 0, &[(1, 5)]);
        let mut rig = closed(rig);
        // Half of what is closed is clean.
        let closed = rig.log.segments.len() - 1;
        for segment in &mut rig.log.segments[..closed / 2] {
            segment.clean_to = segment.next_offset;
        }
        rig.config.min_cleanable_ratio = ratio;
        rig.config.min_compaction_lag_ms = least_lag;
        rig.config.max_compaction_lag_ms = most_lag;
        rig.now_ms += late;
        rig.clean(KEY_BYTES_LIMIT).unwrap().is_some()
    };
    assert!(case(0.3, 0, i64::MAX, 0));
    assert!(!case(0.9, 0, i64::MAX, 0));
    assert!(!case(0.9, 0, 100, 100), "it is not late yet");
    assert!(case(0.9, 0, 100, 101));
    assert!(!case(0.3, 100, i64::MAX, 99));
    assert!(case(0.3, 100, i64::MAX, 100));
}

#[test]
fn segments_that_were_merged_do_not_come_back() {
    let mut rig = Rig::with_segments(300);
    let mut merged = 0;
    for number in 0..200u8 {
        // Each run of keys is replaced by a later one, and some segments lose everything.
        let key = number / 25;
        rig.write(2 + usize::from(number % 2), 0, &[(key % 6, 5), (6 + number % 2, 5)]);
        if number % 9 != 8 {
            continue;
        }
        let before = rig.store.duplicate();
        rig.clean(KEY_BYTES_LIMIT).unwrap();
        let bases = |rig: &Rig| rig.log.segments.iter().map(|segment| segment.base_offset).collect::<Vec<_>>();
        let expected = bases(&rig);
        let there: BTreeSet<String> = rig.store.files().into_iter().map(|(path, _)| path).collect();
        for (path, len) in
            before.files().into_iter().filter(|(path, _)| path.ends_with(".log") && !there.contains(path))
        {
            // The process died before it had removed them, or written a checkpoint.
            let bytes = before.open(&path).unwrap().read(0, len as usize).unwrap();
            rig.store.open(&path).unwrap().append(&[&bytes]).unwrap();
            merged += 1;
        }
        rig.reopen(false);
        assert_eq!(bases(&rig), expected, "after {number}");
    }
    assert!(merged > 0);
}
