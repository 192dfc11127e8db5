//! Compaction: of every key, the last record stays.
//!
//! Works on whole segments, never on the last one, and never beyond the first open transaction. The keys of what is not yet clean are
//! collected with their last offsets; then all segments up to there are written anew without the records that a later one replaces.
//! Records of aborted transactions go at once. Tombstones, and markers of transactions of which nothing is left, first get a time
//! `delete.retention.ms` ahead (KIP-534's delete horizon) and go with the first compaction after it, so that a slow reader sees them. A
//! producer's last batch stays, if only as an empty one: after a crash its sequence is read from there. Counterpart of Apache Kafka's
//! `Cleaner` and `LogCleanerManager`.
//!
//! A crash at any point leaves either the old segments or the new one: see [`super::PartitionLog::recover`]. What a pass knows of
//! transactions is in `transactions`.

mod transactions;

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use kurier_kafka::batch::{Batch, BatchError, BatchHeader, Filtered, Scratch, empty_like, filter, placeholder_for};

use super::producers::{Aborted, Producers};
use super::segment::{Segment, state_path};
use super::{LogConfig, PartitionLog};
use crate::store::Store;
use transactions::CleanedTransactions;

/// Bytes of keys that one compaction collects, give or take a batch; what lies beyond waits for the next one.
const KEY_BYTES_LIMIT: usize = 64 * 1024 * 1024;
/// What an entry of the key map costs beside the key.
const KEY_OVERHEAD: usize = 48;

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CleanOutcome {
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
}

/// The last offsets of keys, as far as they were collected.
struct LastOffsets {
    by_key: HashMap<Bytes, i64>,
    bytes_used: usize,
    limit: usize,
    /// Offset after the last batch whose keys are all in it.
    end: i64,
}

/// What must be kept of a producer that may write again.
#[derive(Debug, Clone, Copy)]
enum LastOfProducer {
    /// The batch that ends at this offset: it has the last sequence.
    Data(i64),
    /// A marker of this epoch: nothing else says it.
    Epoch(i16),
}

/// One pass over a log: what it has learned, and what it does with each batch.
struct Pass<'a> {
    last_offsets: &'a LastOffsets,
    transactions: CleanedTransactions,
    last_of_producers: HashMap<i64, LastOfProducer>,
    now_ms: i64,
    delete_retention_ms: i64,
    scratch: &'a mut Scratch,
    /// Aborted transactions of which something is left, whose markers the segments under the hands of the pass hold.
    still_aborted: Vec<Aborted>,
}

impl PartitionLog {
    /// Compacts the log if enough of it is dirty, or dirty for too long.
    pub(crate) fn clean(
        &mut self,
        store: &dyn Store,
        config: &LogConfig,
        now_ms: i64,
    ) -> io::Result<Option<CleanOutcome>> {
        self.clean_with(store, config, now_ms, KEY_BYTES_LIMIT)
    }

    fn clean_with(
        &mut self,
        store: &dyn Store,
        config: &LogConfig,
        now_ms: i64,
        key_bytes_limit: usize,
    ) -> io::Result<Option<CleanOutcome>> {
        let Some(range) = self.cleanable(config, now_ms) else {
            return Ok(None);
        };
        let mut scratch = Scratch::default();
        let last_offsets = self.last_offsets(range, key_bytes_limit, &mut scratch)?;
        let count = self.segments[..range].partition_point(|segment| segment.base_offset < last_offsets.end);
        let round_end = self.segments[count - 1].next_offset;
        let bytes_before = self.segments[..count].iter().map(Segment::len).sum();
        let mut pass = Pass {
            last_offsets: &last_offsets,
            transactions: CleanedTransactions::new(self.producers.aborted()),
            last_of_producers: last_of_producers(&self.producers),
            now_ms,
            delete_retention_ms: config.delete_retention_ms,
            scratch: &mut scratch,
            still_aborted: Vec::new(),
        };
        // Places in files change with the first segment that is replaced.
        self.ends.clear();
        self.next_end = 0;
        let mut from = 0;
        let mut left = count;
        while left > 0 {
            // Segments that fit into one become one.
            let mut size = self.segments[from].len();
            let mut group = 1;
            while group < left
                && size + self.segments[from + group].len() <= config.segment_bytes
                && self.segments[from + group].next_offset - self.segments[from].base_offset <= i64::from(i32::MAX)
            {
                size += self.segments[from + group].len();
                group += 1;
            }
            from += self.rewrite(store, from, group, round_end, &mut pass)?;
            left -= group;
        }
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
                segment.next_offset <= stable && (segment.is_clean() || old_enough)
            })
            .count();
        let (mut dirty, mut total) = (0, 0);
        for segment in &self.segments[..count] {
            total += segment.len();
            if !segment.is_clean() {
                dirty += segment.len();
            }
        }
        let latest = now_ms.saturating_sub(config.max_compaction_lag_ms);
        let oldest_dirty = self.segments[..closed]
            .iter()
            .filter(|segment| !segment.is_clean())
            .filter_map(|segment| segment.first_timestamp.filter(|first| *first > 0))
            .min();
        let overdue = oldest_dirty.is_some_and(|oldest| oldest < latest);
        let due = overdue || dirty as f64 > config.min_cleanable_ratio * total as f64;
        (dirty > 0 && due).then_some(count)
    }

    /// The last offset of every key in what is dirty of the first `count` segments, until they take up too much room.
    fn last_offsets(&mut self, count: usize, limit: usize, scratch: &mut Scratch) -> io::Result<LastOffsets> {
        let mut found = LastOffsets { by_key: HashMap::new(), bytes_used: 0, limit, end: 0 };
        let mut transactions = CleanedTransactions::new(self.producers.aborted());
        for segment in &mut self.segments[..count] {
            if segment.is_clean() {
                found.end = segment.next_offset;
                continue;
            }
            let clean_to = segment.clean_to;
            segment.walk(0, |header, bytes, _| {
                if header.is_control() {
                    transactions.marker(header, &bytes);
                } else if !transactions.is_aborted(header) && header.next_offset() > clean_to {
                    found.take_in(bytes, scratch)?;
                }
                found.end = header.next_offset();
                Ok(!found.is_full())
            })?;
            if found.is_full() {
                break;
            }
            found.end = segment.next_offset;
        }
        Ok(found)
    }

    /// Writes `group` segments from index `from` on anew, as one. Returns in how many segments they are now.
    fn rewrite(
        &mut self,
        store: &dyn Store,
        from: usize,
        group: usize,
        round_end: i64,
        pass: &mut Pass<'_>,
    ) -> io::Result<usize> {
        let base_offset = self.segments[from].base_offset;
        let last = from + group - 1;
        let end_offset = self.segments[last].next_offset;
        let final_producers = self.segments[last].saved_producers(store, &self.folder);
        pass.still_aborted.clear();
        let mut fresh = Segment::create_beside(store, &self.folder, base_offset)?;
        let mut last_batch = None;
        for segment in &mut self.segments[from..=last] {
            segment.walk(0, |header, bytes, _| {
                let kept = pass.clean_batch(header, bytes).map_err(io::Error::other)?;
                last_batch = kept.is_none().then(|| header.clone());
                kept.map_or(Ok(true), |batch| add(&mut fresh, &batch).map(|()| true))
            })?;
            segment.file.rest();
        }
        if let Some(header) = last_batch
            && (end_offset == round_end || group > 1 || fresh.len() == 0)
        {
            // The end of the round keeps its offset, and no file is empty: a reader and a restart know how far it went. So does a file that
            // takes the place of several: a start that finds those still there knows that they are in it.
            add(&mut fresh, &placeholder_for(&header))?;
        }
        if fresh.len() == 0 {
            return Ok(group); // There was nothing: files that recovery had to cut to nothing.
        }
        fresh.next_offset = end_offset;
        fresh.clean_to = end_offset.min(pass.last_offsets.end);
        fresh.file.sync()?;
        store.remove(&state_path(&self.folder, base_offset))?;
        fresh.put_in_place(store, &self.folder)?;
        // From here on the log is the new one, whatever fails. A marker that is no more must not be waited for.
        self.producers.replace_aborted(base_offset..end_offset, &pass.still_aborted);
        let gone: Vec<_> = self.segments.splice(from..=last, [fresh]).skip(1).map(|gone| gone.base_offset).collect();
        if let Some(mut producers) = final_producers {
            // All of them have ended, or there would be no cleaning here; the markers that say so may be gone after the next one.
            producers.end_transactions();
            producers.replace_aborted(0..i64::MAX, &pass.still_aborted);
            self.segments[from].save_state(store, &self.folder, &producers, true)?;
        }
        for base_offset in gone {
            Segment::discard(store, &self.folder, base_offset)?;
        }
        Ok(1)
    }
}

impl LastOffsets {
    fn take_in(&mut self, batch: Bytes, scratch: &mut Scratch) -> io::Result<()> {
        let batch = Batch::parse(batch).map_err(io::Error::other)?;
        let records = batch.records(scratch).map_err(io::Error::other)?;
        for record in &records {
            let record = record.map_err(io::Error::other)?;
            let Some(key) = record.key else { continue };
            match self.by_key.get_mut(key) {
                Some(last) => *last = record.offset,
                None => {
                    self.bytes_used += key.len() + KEY_OVERHEAD;
                    self.by_key.insert(Bytes::copy_from_slice(key), record.offset);
                }
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.bytes_used > self.limit
    }

    /// True when nothing that was collected comes after the record.
    fn is_last(&self, key: Option<&[u8]>, offset: i64) -> bool {
        match key {
            _ if offset >= self.end => true,
            Some(key) => self.by_key.get(key).is_none_or(|last| offset >= *last),
            // Nothing could ever replace it.
            None => false,
        }
    }
}

impl Pass<'_> {
    /// What is left of a batch; `None` when nothing is.
    fn clean_batch(&mut self, header: &BatchHeader, bytes: Bytes) -> Result<Option<Bytes>, BatchError> {
        let kept =
            if header.is_control() { self.clean_marker(header, bytes)? } else { self.clean_data(header, bytes)? };
        Ok(kept.or_else(|| self.is_last_of_producer(header).then(|| empty_like(header))))
    }

    fn clean_marker(&mut self, header: &BatchHeader, bytes: Bytes) -> Result<Option<Bytes>, BatchError> {
        let fate = self.transactions.marker(header, &bytes);
        self.still_aborted.extend(fate.still_aborted);
        if header.record_count == 0 {
            return Ok(None);
        }
        if !fate.is_needless {
            return Ok(Some(bytes));
        }
        if header.has_delete_horizon() {
            return Ok((header.base_timestamp > self.now_ms).then_some(bytes));
        }
        let batch = Batch::parse(bytes.clone())?;
        let horizon = self.now_ms.saturating_add(self.delete_retention_ms);
        Ok(Some(match filter(&batch, self.scratch, Some(horizon), |_| true)? {
            Filtered::Rewritten(rewritten) => rewritten,
            Filtered::Unchanged | Filtered::Empty => bytes,
        }))
    }

    fn clean_data(&mut self, header: &BatchHeader, bytes: Bytes) -> Result<Option<Bytes>, BatchError> {
        if self.transactions.is_aborted(header) || header.record_count == 0 {
            return Ok(None);
        }
        let last_offsets = self.last_offsets;
        let tombstones_expired = header.has_delete_horizon() && header.base_timestamp <= self.now_ms;
        let keep = |key: Option<&[u8]>, offset: i64, tombstone: bool| {
            let expired = tombstone && tombstones_expired && offset < last_offsets.end;
            last_offsets.is_last(key, offset) && !expired
        };
        let batch = Batch::parse(bytes.clone())?;
        let mut keeps_tombstone = false;
        if !header.has_delete_horizon() {
            for record in &batch.records(self.scratch)? {
                let record = record?;
                keeps_tombstone |= record.value.is_none() && keep(record.key, record.offset, true);
            }
        }
        let horizon = keeps_tombstone.then(|| self.now_ms.saturating_add(self.delete_retention_ms));
        let kept =
            filter(&batch, self.scratch, horizon, |record| keep(record.key, record.offset, record.value.is_none()));
        Ok(match kept? {
            Filtered::Unchanged => Some(bytes),
            Filtered::Rewritten(rewritten) => Some(rewritten),
            Filtered::Empty => None,
        })
    }

    /// True when the batch is the only one that says how far its producer came.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        header.has_producer()
            && match self.last_of_producers.get(&header.producer_id) {
                Some(LastOfProducer::Data(offset)) => header.last_offset() == *offset,
                Some(LastOfProducer::Epoch(epoch)) => header.is_control() && header.producer_epoch == *epoch,
                None => false,
            }
    }
}

/// Writes a batch at the end of a segment that is being made.
fn add(segment: &mut Segment, batch: &[u8]) -> io::Result<()> {
    let header = BatchHeader::read(batch)
        .map_err(io::Error::other)?
        .ok_or_else(|| io::Error::other("a rewritten batch has no header"))?;
    let position = segment.len();
    segment.file.append(&[batch])?;
    segment.appended(&header, position);
    Ok(())
}

fn last_of_producers(producers: &Producers) -> HashMap<i64, LastOfProducer> {
    let last = producers.iter().map(|(id, producer)| {
        (*id, producer.last_data_offset().map_or(LastOfProducer::Epoch(producer.epoch), LastOfProducer::Data))
    });
    last.collect()
}

#[cfg(test)]
mod tests;
