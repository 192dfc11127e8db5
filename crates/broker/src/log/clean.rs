//! Compaction: of every key, the last record stays.
//!
//! Works on whole segments, never on the last one, and never beyond the first open transaction. The keys of the segments that are not yet clean
//! are collected with their last offsets; then all segments up to there are written anew without the records that a later one replaces.
//! Tombstones stay for `delete.retention.ms` after the first time compaction meets them, so that a slow reader sees the deletion.
//!
//! Simpler than Apache Kafka's log cleaner: `min.cleanable.dirty.ratio` is the share of bytes in segments that were never cleaned; a
//! tombstone whose time has come goes with the next compaction, which no tombstone starts by itself; transaction markers stay.
//! A crash at any point leaves either the old segments or the new one: see [`super::PartitionLog::recover`].

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use kurier_kafka::batch::{Batch, BatchHeader, Filtered, Scratch, empty_like, filter};

use super::producers::Producers;
use super::segment::{Segment, state_path};
use super::{LogConfig, PartitionLog};
use crate::store::Store;

/// Bytes of keys that one compaction collects; segments beyond wait for the next one.
const KEY_BYTES_LIMIT: usize = 64 * 1024 * 1024;
/// What an entry of the key map costs beside the key.
const KEY_OVERHEAD: usize = 48;

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CleanOutcome {
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
}

type LastOffsets = HashMap<Bytes, i64>;

impl PartitionLog {
    /// Compacts the log if enough of it is dirty.
    pub(crate) fn clean(
        &mut self,
        store: &dyn Store,
        config: &LogConfig,
        now_ms: i64,
    ) -> io::Result<Option<CleanOutcome>> {
        let Some(range) = self.cleanable(config, now_ms) else {
            return Ok(None);
        };
        let mut scratch = Scratch::default();
        let (last_offsets, count) = self.last_offsets(range, &mut scratch)?;
        let bytes_before = self.segments[..count].iter().map(Segment::len).sum();
        let mut from = 0;
        let mut left = count;
        while left > 0 {
            // Segments that fit into one become one.
            let mut size = self.segments[from].len();
            let mut group = 1;
            while group < left && size + self.segments[from + group].len() <= config.segment_bytes {
                size += self.segments[from + group].len();
                group += 1;
            }
            self.rewrite(store, config, now_ms, from, group, &last_offsets, &mut scratch)?;
            from += 1;
            left -= group;
        }
        self.ends.clear();
        self.next_end = 0;
        let bytes_after = self.segments[..from].iter().map(Segment::len).sum();
        Ok(Some(CleanOutcome { bytes_before, bytes_after }))
    }

    /// How many segments from the front are to be cleaned, if it is worth while.
    fn cleanable(&self, config: &LogConfig, now_ms: i64) -> Option<usize> {
        if !config.compact {
            return None;
        }
        let stable = self.stable_offset();
        let lag_limit = now_ms.saturating_sub(config.min_compaction_lag_ms);
        let closed = self.segments.len().saturating_sub(1);
        let count = self.segments[..closed]
            .iter()
            .take_while(|segment| {
                let old_enough = config.min_compaction_lag_ms == 0 || segment.max_timestamp <= lag_limit;
                segment.next_offset <= stable && old_enough
            })
            .count();
        let (mut dirty, mut total) = (0, 0);
        for segment in &self.segments[..count] {
            total += segment.len();
            if !segment.clean {
                dirty += segment.len();
            }
        }
        (dirty > 0 && dirty as f64 >= config.min_cleanable_ratio * total as f64).then_some(count)
    }

    /// The last offset of every key in the dirty ones among the first `count` segments; also how many segments that speaks for.
    fn last_offsets(&mut self, count: usize, scratch: &mut Scratch) -> io::Result<(LastOffsets, usize)> {
        let mut map = LastOffsets::new();
        let mut bytes_used = 0;
        for index in 0..count {
            if self.segments[index].clean {
                continue;
            }
            let producers = &self.producers;
            self.segments[index].walk(0, |header, bytes, _| {
                if header.is_control() || header.record_count == 0 || is_aborted(producers, header) {
                    return Ok(true);
                }
                let batch = Batch::parse(bytes).map_err(io::Error::other)?;
                let records = batch.records(scratch).map_err(io::Error::other)?;
                for record in &records {
                    let record = record.map_err(io::Error::other)?;
                    let Some(key) = record.key else { continue };
                    match map.get_mut(key) {
                        Some(last) => *last = record.offset,
                        None => {
                            bytes_used += key.len() + KEY_OVERHEAD;
                            map.insert(Bytes::copy_from_slice(key), record.offset);
                        }
                    }
                }
                Ok(true)
            })?;
            if bytes_used > KEY_BYTES_LIMIT {
                return Ok((map, index + 1));
            }
        }
        Ok((map, count))
    }

    /// Writes `group` segments from index `from` on anew, as one.
    #[expect(clippy::too_many_arguments, reason = "one call site; a struct would only rename the arguments")]
    fn rewrite(
        &mut self,
        store: &dyn Store,
        config: &LogConfig,
        now_ms: i64,
        from: usize,
        group: usize,
        last_offsets: &LastOffsets,
        scratch: &mut Scratch,
    ) -> io::Result<()> {
        let base_offset = self.segments[from].base_offset;
        let last = from + group - 1;
        let end_offset = self.segments[last].next_offset;
        let final_producers = self.segments[last].saved_producers(store, &self.folder);
        let mut fresh = Segment::create_beside(store, &self.folder, base_offset)?;
        let producers = &self.producers;
        for segment in &mut self.segments[from..=last] {
            segment.walk(0, |header, bytes, _| {
                let is_last = header.next_offset() == end_offset;
                let kept = keep_batch(header, bytes, producers, last_offsets, config, now_ms, scratch)?;
                let kept = match kept {
                    // The end of the segment keeps its offset, so that a reader and a restart know how far it went.
                    None if is_last => Some(empty_like(header)),
                    kept => kept,
                };
                if let Some(batch) = kept {
                    let stored = BatchHeader::read(&batch)
                        .map_err(io::Error::other)?
                        .ok_or_else(|| io::Error::other("a rewritten batch has no header"))?;
                    let position = fresh.len();
                    fresh.file.append(&[&batch])?;
                    fresh.appended(&stored, position);
                }
                Ok(true)
            })?;
            segment.file.rest();
        }
        fresh.next_offset = end_offset;
        fresh.clean = true;
        fresh.file.sync()?;
        store.remove(&state_path(&self.folder, base_offset))?;
        fresh.put_in_place(store, &self.folder)?;
        if let Some(producers) = final_producers {
            fresh.save_state(store, &self.folder, &producers, true)?;
        }
        for gone in &self.segments[from + 1..=last] {
            Segment::discard(store, &self.folder, gone.base_offset)?;
        }
        self.segments.splice(from..=last, [fresh]);
        Ok(())
    }
}

/// What is left of a batch; `None` when nothing is.
fn keep_batch(
    header: &BatchHeader,
    bytes: Bytes,
    producers: &Producers,
    last_offsets: &LastOffsets,
    config: &LogConfig,
    now_ms: i64,
    scratch: &mut Scratch,
) -> io::Result<Option<Bytes>> {
    if header.is_control() {
        return Ok(Some(bytes));
    }
    if header.record_count == 0 || is_aborted(producers, header) {
        return Ok(None);
    }
    let tombstones_expired = header.has_delete_horizon() && header.base_timestamp <= now_ms;
    let keep = |key: Option<&[u8]>, offset: i64, tombstone: bool| {
        // A record without a key cannot be replaced and nothing replaces it; a compacted topic refuses it at the door.
        let current = key.is_none_or(|key| last_offsets.get(key).is_none_or(|last| offset >= *last));
        current && !(tombstone && tombstones_expired)
    };
    let batch = Batch::parse(bytes.clone()).map_err(io::Error::other)?;
    let mut keeps_tombstone = false;
    if !header.has_delete_horizon() {
        for record in &batch.records(scratch).map_err(io::Error::other)? {
            let record = record.map_err(io::Error::other)?;
            keeps_tombstone |= record.value.is_none() && keep(record.key, record.offset, true);
        }
    }
    let horizon = keeps_tombstone.then(|| now_ms.saturating_add(config.delete_retention_ms));
    let filtered = filter(&batch, scratch, horizon, |record| keep(record.key, record.offset, record.value.is_none()));
    Ok(match filtered.map_err(io::Error::other)? {
        Filtered::Unchanged => Some(bytes),
        Filtered::Rewritten(rewritten) => Some(rewritten),
        Filtered::Empty => None,
    })
}

/// True when the batch belongs to a transaction that was rolled back.
fn is_aborted(producers: &Producers, header: &BatchHeader) -> bool {
    header.is_transactional()
        && producers
            .aborted_between(header.base_offset, header.next_offset())
            .any(|aborted| aborted.producer_id == header.producer_id)
}
