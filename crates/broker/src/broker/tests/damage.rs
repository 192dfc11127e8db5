//! Files that are cut at any byte, or have any byte changed: the broker starts, or says why not; what it serves was written.

use kurier_kafka::batch::Compression;

use super::*;
use crate::store::Store as _;

const TOPIC: &str = "t";

/// What was written: each batch's values, the offset after it, and the length of the file then.
struct Written {
    rig: Rig,
    path: String,
    batches: Vec<(Vec<String>, i64, u64)>,
}

/// A log of batches of all kinds; the process has died without a checkpoint.
fn written() -> Written {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic(TOPIC, 1, &[]);
    let mut batches = Vec::new();
    let mut sequence_number = 0;
    for (number, compression) in
        [Compression::None, Compression::Lz4, Compression::None, Compression::Gzip].into_iter().enumerate()
    {
        let values: Vec<String> = (0..3).map(|index| format!("{number}.{index}")).collect();
        let mut builder = Builder::new(BuilderOptions { compression, ..BuilderOptions::default() });
        for value in &values {
            assert!(builder.try_push(1_700_000_000_000, None, Some(value.as_bytes()), &[]));
        }
        let mut batch = builder.finish().unwrap();
        if number % 2 == 0 {
            batch.stamp(sequence(7, 0, sequence_number));
            sequence_number += 3;
        }
        assert_eq!(rig.produce(TOPIC, 0, batch.seal()).error_code, 0);
        let (_, len) = log_of(&rig.store);
        batches.push((values, rig.list_offset(TOPIC, 0, -1), len));
    }
    let (path, _) = log_of(&rig.store);
    Written { rig, path, batches }
}

fn log_of(store: &MemoryStore) -> (String, u64) {
    store.files().into_iter().find(|(path, _)| path.ends_with(".log")).expect("something was written")
}

impl Written {
    /// The same files, with the log cut to `len` bytes and `tail` behind it.
    fn damaged(&self, path: &str, len: u64, tail: &[u8]) -> MemoryStore {
        let copy = self.rig.store.duplicate();
        copy.cut(path, len);
        if !tail.is_empty() {
            copy.open(path).unwrap().append(&[tail]).unwrap();
        }
        copy
    }

    fn content(&self, path: &str) -> Bytes {
        let mut file = self.rig.store.open(path).unwrap();
        let len = usize::try_from(file.len()).unwrap();
        file.read(0, len).unwrap()
    }

    fn reopened(&self, store: MemoryStore) -> Rig {
        let now = self.rig.now;
        let config = self.rig.config.clone();
        let broker = open(&store, &config, now);
        Rig { broker, store, config, now, replies: Vec::new(), next_correlation: 0 }
    }
}

fn values(rig: &mut Rig) -> Vec<String> {
    rig.read_all(TOPIC, 0).into_iter().map(|(_, value)| value).collect()
}

#[test]
fn a_log_that_is_cut_anywhere_is_a_prefix_of_whole_batches() {
    let written = written();
    let total = written.batches.last().unwrap().2;
    for cut in 0..=total {
        let mut rig = written.reopened(written.damaged(&written.path, cut, &[]));
        let whole: Vec<_> = written.batches.iter().filter(|(_, _, end)| *end <= cut).collect();
        let expected: Vec<String> = whole.iter().flat_map(|(values, _, _)| values.clone()).collect();
        assert_eq!(values(&mut rig), expected, "cut at {cut}");
        let end = whole.last().map_or(0, |(_, next, _)| *next);
        assert_eq!(rig.list_offset(TOPIC, 0, -1), end, "cut at {cut}");
        // The idempotent producer goes on where the log ends, or is told what is missing.
        let sent = i32::try_from(whole.len().div_ceil(2) * 3).unwrap();
        assert_eq!(rig.produce(TOPIC, 0, stamped(&["next"], sequence(7, 0, sent))).base_offset, end, "cut at {cut}");
        assert_eq!(values(&mut rig).len(), expected.len() + 1, "cut at {cut}");
    }
}

#[test]
fn a_changed_byte_ends_the_log_before_its_batch() {
    let written = written();
    let content = written.content(&written.path);
    let all: Vec<String> = written.batches.iter().flat_map(|(values, _, _)| values.clone()).collect();
    for at in 0..content.len() {
        for bit in [0x01, 0x80] {
            let mut tail = content[at..].to_vec();
            tail[0] ^= bit;
            let mut rig = written.reopened(written.damaged(&written.path, at as u64, &tail));
            let sound = written.batches.iter().filter(|(_, _, end)| *end <= at as u64).count() * 3;
            let found = values(&mut rig);
            // Offsets and epochs before the checksum may have changed; what is served was written, in its order.
            assert!(found.len() >= sound && all.starts_with(&found), "byte {at}, bit {bit:x}: {found:?}");
            assert_eq!(rig.produce(TOPIC, 0, batch(&["next"])).error_code, 0, "byte {at}, bit {bit:x}");
        }
    }
}

#[test]
fn a_changed_journal_is_told_or_is_a_shorter_one() {
    let written = written();
    let content = written.content("journal");
    for at in 0..content.len() {
        let mut tail = content[at..].to_vec();
        tail[0] ^= 0x40;
        let store = written.damaged("journal", at as u64, &tail);
        match try_open(&store, &written.rig.config, written.rig.now) {
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("damaged") || text.contains("no journal") || text.contains("newer"), "{text}");
            }
            Ok(mut broker) => {
                let mut replies = Vec::new();
                broker.tick(written.rig.now, &mut replies);
            }
        }
    }
    for cut in 0..content.len() {
        // The topic's entry is the last but one; without it, its records cannot be told from those of deleted topics.
        let store = written.damaged("journal", cut as u64, &[]);
        let _either = try_open(&store, &written.rig.config, written.rig.now).is_ok();
    }
}
