//! What the broker must remember besides records: topics, configs, group offsets, producer ids, transactions.
//!
//! One file of frames, each with its length and checksum, written before the change is answered; what belongs together is in one frame, so that
//! it is there as a whole or not at all. At start the entries are played again; a torn tail is cut. When the file has grown to several times what
//! it says, it is replaced by a fresh one. What an entry says is in `entry`, what it means is the business of those who write it; the order of
//! entries is the order of changes.

mod entry;

use std::io;

use crate::codec::{Reader, Writer};
use crate::store::{Store, StoreFile};

pub(crate) use entry::{
    ClassicMemberEntry, CommittedOffset, ConsumerMemberEntry, Entry, MemberEntry, TransactionEntry,
};

const PATH: &str = "journal";
const FRESH_PATH: &str = "journal.new";
/// Length and checksum before each frame's entries.
const FRAME: usize = 8;
/// A journal is replaced when it is this many times larger than it was when fresh.
const GROWTH: u64 = 4;

/// The file of entries.
pub(crate) struct Journal {
    file: Box<dyn StoreFile>,
    fresh_len: u64,
    unsynced: bool,
}

impl Journal {
    /// Opens the journal and plays its entries.
    pub(crate) fn open(store: &dyn Store, mut play: impl FnMut(Entry)) -> io::Result<Self> {
        store.remove(FRESH_PATH)?;
        let mut file = store.open(PATH)?;
        let len = usize::try_from(file.len()).map_err(io::Error::other)?;
        let bytes = file.read(0, len)?;
        let mut rest = &bytes[..];
        while let Some((content, after)) = next_frame(rest) {
            let mut reader = Reader::new(content);
            while !reader.is_empty() {
                // Its checksum is right, so it is what was written.
                let Ok(entry) = Entry::read(&mut reader) else {
                    let position = file.len() - rest.len() as u64;
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!(
                            "the file `{PATH}` has an unknown entry at byte {position}; it was written by a newer version, use that one"
                        ),
                    ));
                };
                play(entry);
            }
            rest = after;
        }
        if !rest.is_empty() {
            let kept = file.len() - rest.len() as u64;
            if (1..rest.len()).any(|at| next_frame(&rest[at..]).is_some_and(|(content, _)| has_entries(content))) {
                // No crash leaves this. To go on would forget topics, and their records with them.
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "the file `{PATH}` is damaged after byte {kept}, with sound entries behind; bring back a copy of the folder, \
                         or cut the file to {kept} bytes to lose all later changes of topics, offsets and groups"
                    ),
                ));
            }
            tracing::warn!(
                "cut {} bytes after position {kept} of the journal: the last entry is not whole; a crash before an acknowledgement leaves such a tail",
                rest.len()
            );
            file.truncate(kept)?;
        }
        // What a process before wrote may never have been synced.
        Ok(Self { fresh_len: file.len(), unsynced: !file.is_empty(), file })
    }

    /// Writes entries: all of them or none, also if the process dies meanwhile.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut out = Writer::default();
        frame(entries, &mut out);
        self.file.append(&[&out.bytes])?;
        self.unsynced = true;
        Ok(())
    }

    /// Makes the entries survive the loss of power.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.unsynced {
            self.file.sync()?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// True when the journal has grown so much that it should be replaced; one smaller than `small` never has.
    pub(crate) fn is_overgrown(&self, small: u64) -> bool {
        self.file.len() > small.max(self.fresh_len * GROWTH)
    }

    /// Replaces everything said so far by `entries`, which must say the same.
    pub(crate) fn replace(&mut self, store: &dyn Store, entries: &[Entry]) -> io::Result<()> {
        store.remove(FRESH_PATH)?;
        let mut fresh = store.open(FRESH_PATH)?;
        let mut out = Writer::default();
        entries.iter().for_each(|entry| frame(std::slice::from_ref(entry), &mut out));
        fresh.append(&[&out.bytes])?;
        fresh.sync()?;
        let renamed = store.rename(FRESH_PATH, PATH);
        // It may have its name in spite of an error. What is written from now on must not go into a file that has lost its own.
        self.file = store.open(PATH)?;
        self.unsynced |= renamed.is_err();
        renamed?;
        self.fresh_len = self.file.len();
        self.unsynced = false;
        Ok(())
    }
}

fn frame(entries: &[Entry], out: &mut Writer) {
    let start = out.bytes.len();
    out.bytes.extend_from_slice(&[0; FRAME]);
    entries.iter().for_each(|entry| entry.write(out));
    let content = start + FRAME;
    let len = (out.bytes.len() - content) as u32;
    let crc = crc_fast::crc32_iscsi(&out.bytes[content..]);
    out.bytes[start..start + 4].copy_from_slice(&len.to_be_bytes());
    out.bytes[start + 4..content].copy_from_slice(&crc.to_be_bytes());
}

/// The content of the frame that begins `bytes`, if a whole and sound one does.
fn next_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (content, after) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    // Zeros, as a loss of power leaves them, would be a sound frame of nothing.
    (!content.is_empty() && crc_fast::crc32_iscsi(content) == u32::from_be_bytes(*crc)).then_some((content, after))
}

/// Whether these are entries. A torn one may have something within that looks like a frame: four bytes of ones are their own checksum.
fn has_entries(content: &[u8]) -> bool {
    let mut reader = Reader::new(content);
    while !reader.is_empty() {
        if Entry::read(&mut reader).is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use bytes::Bytes;
    use kurier_kafka::security::sasl::scram::ScramCredential;
    use uuid::Uuid;

    use super::entry::{HeldPartitions, PartitionSets};
    use super::*;
    use crate::store::MemoryStore;

    fn consumer_member(classic: Option<ClassicMemberEntry>) -> ConsumerMemberEntry {
        let id = Uuid::from_u128(7);
        ConsumerMemberEntry {
            id: "m-2".into(),
            instance_id: None,
            rack_id: Some("r".into()),
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout_ms: 5,
            server_assignor: Some("range".into()),
            topics: BTreeSet::from(["t".to_owned()]),
            regex: "t.*".into(),
            epoch: 2,
            previous_epoch: 1,
            state: 1,
            assigned: HeldPartitions::from([(id, BTreeMap::from([(0, 1), (2, 2)]))]),
            revoking: HeldPartitions::from([(id, BTreeMap::from([(1, 1)]))]),
            target: PartitionSets::from([(id, BTreeSet::from([1]))]),
            classic,
        }
    }

    fn entries() -> Vec<Entry> {
        let id = Uuid::from_u128(7);
        let offset = CommittedOffset {
            topic: "t".into(),
            partition: 3,
            offset: 99,
            leader_epoch: -1,
            metadata: "m".into(),
            committed_ms: 5,
        };
        let configs = vec![("cleanup.policy".to_owned(), "compact".to_owned())];
        vec![
            Entry::Cluster { id: "c".into() },
            Entry::TopicCreated { id, name: "t".into(), partitions: 4, configs: configs.clone() },
            Entry::PartitionsAdded { id, partitions: 6 },
            Entry::TopicConfigs { id, configs },
            Entry::LogStart { id, partition: 1, offset: 8 },
            Entry::OffsetCommitted { group: "g".into(), offset: offset.clone() },
            Entry::OffsetRemoved { group: "g".into(), topic: "t".into(), partition: 3 },
            Entry::Group { group: "g".into(), generation: 4, protocol_type: Some("consumer".into()), changed_ms: 1 },
            Entry::Members {
                group: "g".into(),
                protocol: "range".into(),
                leader: "m-1".into(),
                members: vec![MemberEntry {
                    id: "m-1".into(),
                    instance_id: Some("i".into()),
                    client_id: "c".into(),
                    client_host: "/h".into(),
                    session_timeout_ms: 1,
                    rebalance_timeout_ms: 2,
                    protocols: vec![("range".into(), Bytes::from_static(b"p"))],
                    assignment: Bytes::from_static(b"a"),
                }],
            },
            Entry::ConsumerGroup { group: "c".into(), epoch: 3, target_epoch: 2, changed_ms: 1 },
            Entry::ConsumerMember { group: "c".into(), member: Box::new(consumer_member(None)) },
            Entry::ConsumerMember {
                group: "c".into(),
                member: Box::new(consumer_member(Some(ClassicMemberEntry {
                    session_timeout_ms: 45_000,
                    protocols: vec![("range".into(), Bytes::from_static(b"said"))],
                }))),
            },
            Entry::ConsumerMemberRemoved { group: "c".into(), member: "m-2".into() },
            Entry::ScramUser {
                name: "ada".into(),
                mechanism: 2,
                credential: Some(ScramCredential {
                    salt: vec![1],
                    stored_key: vec![2; 64],
                    server_key: vec![3; 64],
                    iterations: 4096,
                }),
            },
            Entry::ScramUser { name: "ada".into(), mechanism: 1, credential: None },
            Entry::GroupConfigs {
                group: "c".into(),
                configs: vec![("consumer.session.timeout.ms".into(), "45000".into())],
            },
            Entry::ProducerIds { next: 1000 },
            Entry::Transaction(TransactionEntry {
                id: "x".into(),
                producer_id: 1,
                producer_epoch: 2,
                last_epoch: 1,
                previous_producer_id: 8,
                next_producer_id: -1,
                bumped: true,
                timeout_ms: 3,
                phase: 1,
                started_ms: 4,
                updated_ms: 5,
                partitions: vec![("t".into(), 0)],
                groups: vec!["g".into()],
            }),
            // Its epoch and what follows look like a frame, when it is torn.
            Entry::Transaction(TransactionEntry {
                id: "y".into(),
                producer_id: 0,
                producer_epoch: 4,
                last_epoch: -1,
                previous_producer_id: -1,
                next_producer_id: -1,
                bumped: false,
                timeout_ms: 3,
                phase: 0,
                started_ms: -1,
                updated_ms: 5,
                partitions: Vec::new(),
                groups: Vec::new(),
            }),
            Entry::PendingOffsets { group: "g".into(), producer_id: 1, offsets: vec![offset] },
            Entry::PendingOffsetsEnded { group: "g".into(), producer_id: 1, commit: true },
            Entry::TransactionRemoved { id: "x".into() },
            Entry::GroupRemoved { group: "g".into() },
            Entry::TopicDeleted { id },
        ]
    }

    fn played(store: &MemoryStore) -> Vec<Entry> {
        let mut all = Vec::new();
        Journal::open(store, |entry| all.push(entry)).unwrap();
        all
    }

    #[test]
    fn a_journal_cut_anywhere_is_a_prefix_of_itself() {
        let store = MemoryStore::new();
        let mut journal = Journal::open(&store, |_| panic!("it is empty")).unwrap();
        let entries = entries();
        let mut ends = vec![0];
        // What is written at once is there as a whole or not at all.
        let mut counts = vec![0];
        let mut rest = &entries[..];
        for size in [1, 2, 1, 3].into_iter().cycle() {
            let (together, others) = rest.split_at(size.min(rest.len()));
            journal.append(together).unwrap();
            ends.push(journal.file.len());
            counts.push(entries.len() - others.len());
            rest = others;
            if rest.is_empty() {
                break;
            }
        }
        assert_eq!(played(&store), entries);
        for cut in 0..journal.file.len() {
            let copy = store.duplicate();
            copy.cut(PATH, cut);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!(played(&copy), entries[..counts[whole]], "cut at {cut}");
            assert_eq!(copy.files().first().map_or(0, |file| file.1), ends[whole], "cut at {cut}");
        }
    }

    #[test]
    fn damage_in_the_middle_is_not_taken_for_a_crash() {
        let store = MemoryStore::new();
        let mut journal = Journal::open(&store, |_| {}).unwrap();
        entries().iter().for_each(|entry| journal.append(std::slice::from_ref(entry)).unwrap());
        let len = usize::try_from(journal.file.len()).unwrap();
        let sound = journal.file.read(0, len).unwrap();
        for at in (0..len / 2).step_by(7) {
            let mut bytes = sound.to_vec();
            bytes[at] ^= 0x40;
            let damaged = MemoryStore::new();
            damaged.open(PATH).unwrap().append(&[&bytes]).unwrap();
            let error = Journal::open(&damaged, |_| {}).err().expect("damage is told").to_string();
            assert!(error.contains("damaged after byte"), "{error}");
            assert_eq!(damaged.files()[0].1, len as u64, "nothing is cut");
        }
    }

    #[test]
    fn entries_of_a_newer_version_are_not_thrown_away() {
        let store = MemoryStore::new();
        let mut journal = Journal::open(&store, |_| {}).unwrap();
        journal.append(&entries()[..1]).unwrap();
        let content = [200, 1, 2, 3];
        let mut frame = 4u32.to_be_bytes().to_vec();
        frame.extend(crc_fast::crc32_iscsi(&content).to_be_bytes());
        frame.extend(content);
        journal.file.append(&[&frame]).unwrap();
        let error = Journal::open(&store, |_| {}).err().expect("it is told").to_string();
        assert!(error.contains("newer version"), "{error}");
    }

    #[test]
    fn a_replaced_journal_says_what_it_was_given() {
        let store = MemoryStore::new();
        let mut journal = Journal::open(&store, |_| {}).unwrap();
        journal.append(&entries()).unwrap();
        let fresh = &entries()[..2];
        journal.replace(&store, fresh).unwrap();
        journal.append(&entries()[2..3]).unwrap();
        assert_eq!(played(&store), entries()[..3]);
    }
}
