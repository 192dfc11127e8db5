//! One file of a partition's log, and the sparse index that finds offsets and times in it.
//!
//! The index lives in memory. A checkpoint beside the file (`<base>.state`) holds index and producer state as they were at some length of
//! the file; what lies beyond is scanned at start, and cut at the first byte that is no whole, sound batch. A checkpoint is believed if the
//! file was synced before it was written, or if the machine has not been restarted since ([`crate::Store::boot`]): then whatever was
//! written is there. Its producers are those at that length; its aborted transactions are those that end in this segment, so that none is
//! remembered longer than its marker.

use std::io;

use bytes::Bytes;
use kurier_kafka::batch::{Batch, BatchHeader, ControlRecord, Frames, HEADER_LEN, MarkerKind, Scratch, validate};

use super::producers::Producers;
use crate::codec::{Malformed, Reader, Writer};
use crate::store::{Store, StoreFile};

/// Bytes between two entries of the index.
const INDEX_INTERVAL: u64 = 64 * 1024;
/// Bytes read at once when a file is scanned.
const SCAN_CHUNK: usize = 1024 * 1024;
const STATE_VERSION: u8 = 2;

/// Where a batch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct IndexEntry {
    offset: i64,
    position: u64,
    /// Largest timestamp of all batches before this one, in this segment.
    max_timestamp_before: i64,
}

/// One file of the log.
pub(super) struct Segment {
    pub(super) base_offset: i64,
    /// Offset after the last batch.
    pub(super) next_offset: i64,
    pub(super) file: Box<dyn StoreFile>,
    pub(super) path: String,
    index: Vec<IndexEntry>,
    pub(super) max_timestamp: i64,
    /// Base offset of the batch with the largest timestamp.
    max_timestamp_at: i64,
    /// Largest timestamp of the first batch that has one: the age of the segment counts from it.
    pub(super) first_timestamp: Option<i64>,
    /// Compaction knows the keys of all records before this offset.
    pub(super) clean_to: i64,
    /// Used since the last look of the housekeeper.
    pub(super) used: bool,
    /// Holds bytes that a loss of power may take.
    pub(super) unsynced: bool,
}

/// What a scan found at the end of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) kept: u64,
    pub(super) cut: u64,
    pub(super) reason: String,
}

impl Segment {
    pub(super) fn create(store: &dyn Store, folder: &str, base_offset: i64) -> io::Result<Self> {
        let path = log_path(folder, base_offset);
        // A file that we do not know of is left over from a creation that was never acknowledged.
        store.remove(&path)?;
        store.remove(&state_path(folder, base_offset))?;
        Self::over(store, path, base_offset)
    }

    /// Makes the file that is to take the place of segment `base_offset`; [`Self::put_in_place`] does it.
    pub(super) fn create_beside(store: &dyn Store, folder: &str, base_offset: i64) -> io::Result<Self> {
        let path = format!("{}.new", log_path(folder, base_offset));
        store.remove(&path)?;
        Self::over(store, path, base_offset)
    }

    /// Takes the place of the segment with the same base offset.
    pub(super) fn put_in_place(&mut self, store: &dyn Store, folder: &str) -> io::Result<()> {
        let path = log_path(folder, self.base_offset);
        store.rename(&self.path, &path)?;
        self.file = store.open(&path)?;
        self.path = path;
        Ok(())
    }

    /// Removes a segment's files.
    pub(super) fn discard(store: &dyn Store, folder: &str, base_offset: i64) -> io::Result<()> {
        store.remove(&log_path(folder, base_offset))?;
        store.remove(&state_path(folder, base_offset))
    }

    /// The producers as they were at the end of this segment, if its checkpoint says so.
    pub(super) fn saved_producers(&self, store: &dyn Store, folder: &str) -> Option<Producers> {
        let (state, producers) = self.read_state(store, folder)?;
        (state.len == self.len()).then_some(producers)
    }

    fn over(store: &dyn Store, path: String, base_offset: i64) -> io::Result<Self> {
        let file = store.open(&path)?;
        Ok(Self {
            base_offset,
            next_offset: base_offset,
            file,
            path,
            index: Vec::new(),
            max_timestamp: -1,
            max_timestamp_at: -1,
            first_timestamp: None,
            clean_to: base_offset,
            used: true,
            unsynced: false,
        })
    }

    /// Opens an existing segment, bringing `producers` from its state before the segment to that after it.
    pub(super) fn recover(
        store: &dyn Store,
        folder: &str,
        base_offset: i64,
        producers: &mut Producers,
    ) -> io::Result<(Self, Option<Damage>)> {
        let mut segment = Self::over(store, log_path(folder, base_offset), base_offset)?;
        let (trusted, synced) = segment.load_state(store, folder, producers).unwrap_or((0, false));
        let damage = segment.scan(trusted, producers)?;
        segment.unsynced = !synced || segment.len() > trusted;
        Ok((segment, damage))
    }

    pub(super) fn len(&self) -> u64 {
        self.file.len()
    }

    /// True when compaction knows all keys of the segment.
    pub(super) fn is_clean(&self) -> bool {
        self.clean_to >= self.next_offset
    }

    /// Takes note of a batch that now lies at `position`.
    pub(super) fn appended(&mut self, header: &BatchHeader, position: u64) {
        let due = self.index.last().is_none_or(|last| position - last.position >= INDEX_INTERVAL);
        if due {
            self.index.push(IndexEntry {
                offset: header.base_offset,
                position,
                max_timestamp_before: self.max_timestamp,
            });
        }
        // A batch that compaction has emptied has a time and no record that one could find by it.
        if header.max_timestamp > self.max_timestamp && header.record_count > 0 {
            self.max_timestamp = header.max_timestamp;
            self.max_timestamp_at = header.base_offset;
        }
        if header.max_timestamp >= 0 {
            self.first_timestamp.get_or_insert(header.max_timestamp);
        }
        self.next_offset = header.next_offset();
    }

    /// A position at or before the batch that holds `offset`.
    pub(super) fn position_before(&self, offset: i64) -> u64 {
        let after = self.index.partition_point(|entry| entry.offset <= offset);
        after.checked_sub(1).map_or(0, |found| self.index[found].position)
    }

    /// A position at or before the first batch whose largest timestamp reaches `timestamp`.
    pub(super) fn position_before_time(&self, timestamp: i64) -> u64 {
        let after = self.index.partition_point(|entry| entry.max_timestamp_before < timestamp);
        after.checked_sub(1).map_or(0, |found| self.index[found].position)
    }

    /// Base offset of the batch with the largest timestamp.
    pub(super) fn max_timestamp_batch(&self) -> i64 {
        self.max_timestamp_at
    }

    /// Reads the header of the batch at `position`, if a whole one begins there.
    pub(super) fn header_at(&mut self, position: u64) -> io::Result<Option<BatchHeader>> {
        self.used = true;
        let bytes = self.file.read(position, HEADER_LEN)?;
        BatchHeader::read(&bytes).map_err(io::Error::other)
    }

    /// Reads bytes of the file.
    pub(super) fn read(&mut self, position: u64, len: usize) -> io::Result<Bytes> {
        self.used = true;
        self.file.read(position, len)
    }

    /// Calls `visit` with every batch from `position` on, until it says to stop.
    pub(super) fn walk(
        &mut self,
        mut position: u64,
        mut visit: impl FnMut(&BatchHeader, Bytes, u64) -> io::Result<bool>,
    ) -> io::Result<()> {
        let mut wanted = SCAN_CHUNK;
        while position < self.len() {
            let chunk = self.read(position, wanted)?;
            let mut frames = Frames::new(&chunk);
            let mut at = 0;
            while let Some(frame) = frames.next() {
                let (header, _) = frame.map_err(io::Error::other)?;
                let batch = chunk.slice(at..at + header.size);
                if !visit(&header, batch, position + at as u64)? {
                    return Ok(());
                }
                at = frames.position();
            }
            if at > 0 {
                position += at as u64;
                wanted = SCAN_CHUNK;
            } else {
                // The next batch is larger than the chunk; its size is in its header.
                match BatchHeader::read(&chunk).map_err(io::Error::other)? {
                    Some(header) if header.size > wanted => wanted = header.size,
                    _ => return Err(io::Error::other(format!("{} ends within a batch at {position}", self.path))),
                }
            }
        }
        Ok(())
    }

    /// Passes over the file from `position`, checking every batch, and cuts it where the first unsound one begins.
    fn scan(&mut self, mut position: u64, producers: &mut Producers) -> io::Result<Option<Damage>> {
        let mut wanted = SCAN_CHUNK;
        let reason = loop {
            let left = self.len() - position;
            if left == 0 {
                return Ok(None);
            }
            let chunk = self.file.read(position, wanted)?;
            match self.scan_chunk(&chunk, position, producers) {
                (passed, None) if passed > 0 => {
                    position += passed;
                    wanted = SCAN_CHUNK;
                }
                (passed, None) => match BatchHeader::read(&chunk) {
                    Ok(Some(header)) if header.size as u64 <= left && header.size > chunk.len() => wanted = header.size,
                    Ok(_) => {
                        position += passed;
                        break "the last batch is not whole".to_owned();
                    }
                    Err(error) => break error.to_string(),
                },
                (passed, Some(reason)) => {
                    position += passed;
                    break reason;
                }
            }
        };
        let cut = self.len() - position;
        self.file.truncate(position)?;
        Ok(Some(Damage { kept: position, cut, reason }))
    }

    /// Takes note of the sound batches at the front of `chunk`; returns how many bytes they take, and what is wrong with the next one.
    fn scan_chunk(&mut self, chunk: &[u8], position: u64, producers: &mut Producers) -> (u64, Option<String>) {
        let mut frames = Frames::new(chunk);
        let mut passed = 0;
        while let Some(frame) = frames.next() {
            let sound = frame.and_then(|(_, batch)| Ok((validate(batch)?, batch)));
            let (header, batch) = match sound {
                Ok(sound) => sound,
                Err(error) => return (passed, Some(error.to_string())),
            };
            if header.base_offset < self.next_offset {
                let reason = format!("offset {} follows offset {}", header.base_offset, self.next_offset - 1);
                return (passed, Some(reason));
            }
            self.appended(&header, position + passed);
            note(producers, &header, batch, None);
            passed = frames.position() as u64;
        }
        (passed, None)
    }

    /// Writes the checkpoint. `synced` says that the file has been synced up to its length.
    pub(super) fn save_state(
        &self,
        store: &dyn Store,
        folder: &str,
        producers: &Producers,
        synced: bool,
    ) -> io::Result<()> {
        let mut out = Writer::default();
        out.u8(STATE_VERSION);
        out.u128(if synced { 0 } else { store.boot() });
        out.i64(self.len() as i64);
        out.i64(self.next_offset);
        out.i64(self.max_timestamp);
        out.i64(self.max_timestamp_at);
        out.i64(self.first_timestamp.unwrap_or(i64::MIN));
        out.i64(self.clean_to);
        out.count(self.index.len());
        for entry in &self.index {
            out.i64(entry.offset);
            out.i64(entry.position as i64);
            out.i64(entry.max_timestamp_before);
        }
        producers.write(self.base_offset..self.next_offset, &mut out);
        let crc = crc_fast::crc32_iscsi(&out.bytes);
        out.bytes.extend_from_slice(&crc.to_be_bytes());

        let path = state_path(folder, self.base_offset);
        let fresh = format!("{path}.new");
        store.remove(&fresh)?;
        let mut file = store.open(&fresh)?;
        file.append(&[&out.bytes])?;
        if synced {
            file.sync()?;
        }
        store.rename(&fresh, &path)
    }

    /// Loads the checkpoint; returns how many bytes of the file it speaks for and whether those were synced, or nothing when there is none to
    /// believe.
    fn load_state(&mut self, store: &dyn Store, folder: &str, producers: &mut Producers) -> Option<(u64, bool)> {
        let (state, saved_producers) = self.read_state(store, folder)?;
        self.next_offset = state.next_offset;
        self.max_timestamp = state.max_timestamp;
        self.max_timestamp_at = state.max_timestamp_at;
        self.first_timestamp = state.first_timestamp;
        self.clean_to = state.clean_to;
        self.index = state.index;
        producers.resume(saved_producers);
        Some((state.len, state.synced))
    }

    fn read_state(&self, store: &dyn Store, folder: &str) -> Option<(State, Producers)> {
        let mut file = store.open(&state_path(folder, self.base_offset)).ok()?;
        let len = usize::try_from(file.len()).ok()?;
        let bytes = file.read(0, len).ok()?;
        let (content, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        if crc_fast::crc32_iscsi(content).to_be_bytes() != crc {
            return None;
        }
        self.parse_state(&mut Reader::new(content), store.boot()).ok()?
    }

    fn parse_state(&self, from: &mut Reader<'_>, boot: u128) -> Result<Option<(State, Producers)>, Malformed> {
        if from.u8()? != STATE_VERSION {
            return Ok(None);
        }
        let written_in = from.u128()?;
        if written_in != 0 && written_in != boot {
            return Ok(None);
        }
        let len = u64::try_from(from.i64()?).map_err(|_| Malformed)?;
        if len > self.len() {
            return Ok(None);
        }
        let mut state = State {
            len,
            next_offset: from.i64()?,
            max_timestamp: from.i64()?,
            max_timestamp_at: from.i64()?,
            first_timestamp: Some(from.i64()?).filter(|first| *first != i64::MIN),
            clean_to: from.i64()?,
            index: Vec::new(),
            synced: written_in == 0,
        };
        for _ in 0..from.count()? {
            state.index.push(IndexEntry {
                offset: from.i64()?,
                position: u64::try_from(from.i64()?).map_err(|_| Malformed)?,
                max_timestamp_before: from.i64()?,
            });
        }
        Ok(Some((state, Producers::read(from)?)))
    }
}

struct State {
    len: u64,
    next_offset: i64,
    max_timestamp: i64,
    max_timestamp_at: i64,
    first_timestamp: Option<i64>,
    clean_to: i64,
    index: Vec<IndexEntry>,
    synced: bool,
}

/// Brings the producers up to date with a batch that lies in the log, since `now_ms` if that is known.
pub(super) fn note(producers: &mut Producers, header: &BatchHeader, batch: &[u8], now_ms: Option<i64>) {
    producers.stored(header, now_ms);
    if let Some(marker) = marker_in(header, batch) {
        producers.ended(header.producer_id, marker, header.base_offset);
    }
}

/// The transaction marker that a control batch holds.
pub(super) fn marker_in(header: &BatchHeader, batch: &[u8]) -> Option<MarkerKind> {
    if !header.is_control() {
        return None;
    }
    let batch = Batch::parse(Bytes::copy_from_slice(batch)).ok()?;
    let records = batch.records(&mut Scratch::default()).ok()?;
    match ControlRecord::read(&records.iter().next()?.ok()?)? {
        ControlRecord::EndTransaction { kind, .. } => Some(kind),
        ControlRecord::Other(_) => None,
    }
}

pub(super) fn log_path(folder: &str, base_offset: i64) -> String {
    format!("{folder}/{base_offset:020}.log")
}

pub(super) fn state_path(folder: &str, base_offset: i64) -> String {
    format!("{folder}/{base_offset:020}.state")
}
