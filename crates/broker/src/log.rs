//! A partition's log: batches in the order of their offsets, in files called segments.
//!
//! Appends, reads by offset, look-up by time, the two ways old data goes (`retention`, `clean`), and recovery. It knows nothing of
//! topics, requests or replies. What the log promises: an append that returned is whole in the file; one that failed left nothing, or a whole batch that
//! could not be flushed and is known when it comes again;
//! after a crash the log is a prefix of what was appended, and knows of each producer exactly what that prefix says.

mod clean;
mod producers;
mod segment;

use std::io;

use bytes::{Bytes, BytesMut};
use kurier_kafka::batch::{
    Batch, BatchHeader, Frames, HEADER_LEN, MarkerKind, Scratch, TimestampType, encode_marker, set_base_offset,
    set_create_time, set_leader_epoch, set_log_append_time,
};

use producers::Producers;
pub(crate) use producers::{Aborted, Verdict};
use segment::{Segment, note};

use crate::store::Store;

/// The leader epoch of every batch: there is one leader, for ever.
pub(crate) const LEADER_EPOCH: i32 = 0;
/// Ends of reads that are remembered, so that a consumer that reads on need not search.
const REMEMBERED_READS: usize = 8;
/// Bytes before the part of a batch that is stored as received: base offset, length, leader epoch.
const REWRITTEN: usize = 16;

/// How a partition's log is kept; follows from its topic's configs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LogConfig {
    pub(crate) segment_bytes: u64,
    pub(crate) segment_ms: i64,
    /// Negative for no limit.
    pub(crate) retention_ms: i64,
    /// Negative for no limit.
    pub(crate) retention_bytes: i64,
    pub(crate) delete: bool,
    pub(crate) compact: bool,
    pub(crate) delete_retention_ms: i64,
    pub(crate) min_cleanable_ratio: f64,
    pub(crate) min_compaction_lag_ms: i64,
    pub(crate) max_compaction_lag_ms: i64,
    pub(crate) log_append_time: bool,
    pub(crate) flush_messages: i64,
    pub(crate) flush_ms: i64,
}

impl LogConfig {
    /// How long a segment may grow: what is to be compacted in time has to be closed in time.
    fn longest_segment_ms(&self) -> i64 {
        if self.compact { self.segment_ms.min(self.max_compaction_lag_ms) } else { self.segment_ms }
    }
}

/// What a read found.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    /// Whole batches; the first may begin before the offset asked for.
    pub(crate) bytes: Bytes,
    /// Offset after the last batch, or the offset asked for when there is none.
    pub(crate) next_offset: i64,
}

/// A place where a read ended.
#[derive(Debug, Clone, Copy)]
struct ReadEnd {
    offset: i64,
    segment: i64,
    position: u64,
}

/// One partition's log.
pub(crate) struct PartitionLog {
    folder: String,
    /// By base offset; none until the first append.
    segments: Vec<Segment>,
    start_offset: i64,
    next_offset: i64,
    producers: Producers,
    ends: Vec<ReadEnd>,
    next_end: usize,
    unflushed: i64,
}

impl PartitionLog {
    /// A log with nothing in it; files come with the first append.
    pub(crate) fn empty(folder: String) -> Self {
        Self {
            folder,
            segments: Vec::new(),
            start_offset: 0,
            next_offset: 0,
            producers: Producers::default(),
            ends: Vec::new(),
            next_end: 0,
            unflushed: 0,
        }
    }

    /// Opens what is in the folder. `start_offset` is what deletions were acknowledged for.
    pub(crate) fn recover(store: &dyn Store, folder: String, start_offset: i64) -> io::Result<Self> {
        let mut log = Self::empty(folder);
        let mut bases = Vec::new();
        for name in store.list(&log.folder)? {
            match name.strip_suffix(".log").and_then(|base| base.parse::<i64>().ok()) {
                Some(base) => bases.push(base),
                // Half-made files of a checkpoint or a compaction that a crash cut short.
                None if name.ends_with(".new") => store.remove(&format!("{}/{name}", log.folder))?,
                None => {}
            }
        }
        bases.sort_unstable();
        for base in bases {
            if log.segments.last().is_some_and(|before| base < before.next_offset) {
                // Its records were merged into the segment before; the crash came before it was removed.
                Segment::discard(store, &log.folder, base)?;
                continue;
            }
            let (segment, damage) = Segment::recover(store, &log.folder, base, &mut log.producers)?;
            if let Some(damage) = damage {
                tracing::warn!(
                    file = %segment.path,
                    "cut {} bytes after position {}: {}; a crash before an acknowledgement leaves such a tail",
                    damage.cut, damage.kept, damage.reason
                );
            }
            log.segments.push(segment);
        }
        log.start_offset = log.segments.first().map_or(0, |first| first.base_offset).max(start_offset);
        log.next_offset = log.segments.last().map_or(0, |last| last.next_offset).max(log.start_offset);
        log.producers.forget_before(log.start_offset);
        Ok(log)
    }

    /// First offset that may be read.
    pub(crate) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// Offset of the next record to be appended.
    pub(crate) fn end_offset(&self) -> i64 {
        self.next_offset
    }

    /// Offset up to which no open transaction reaches.
    pub(crate) fn stable_offset(&self) -> i64 {
        self.producers.first_open_transaction().unwrap_or(self.next_offset)
    }

    /// Bytes in all segments.
    pub(crate) fn size(&self) -> u64 {
        self.segments.iter().map(Segment::len).sum()
    }

    /// Judges a batch of an idempotent producer.
    pub(crate) fn check_producer(&self, header: &BatchHeader) -> Verdict {
        self.producers.check(header)
    }

    /// True when the producer has written here, and not too long ago.
    pub(crate) fn knows_producer(&self, producer_id: i64) -> bool {
        self.producers.knows(producer_id)
    }

    /// True when the producer has a transaction open in this partition.
    pub(crate) fn has_open_transaction(&self, producer_id: i64) -> bool {
        self.producers.has_open_transaction(producer_id)
    }

    /// The producers that are known.
    pub(crate) fn producers(&self) -> impl Iterator<Item = (&i64, &producers::Producer)> {
        self.producers.iter()
    }

    /// Aborted transactions between two offsets.
    pub(crate) fn aborted_between(&self, from: i64, to: i64) -> impl Iterator<Item = &Aborted> {
        self.producers.aborted_between(from, to)
    }

    /// Appends one validated batch; returns its base offset.
    pub(crate) fn append(
        &mut self,
        store: &dyn Store,
        config: &LogConfig,
        now_ms: i64,
        batch: &[u8],
        header: &BatchHeader,
    ) -> io::Result<i64> {
        debug_assert_eq!(header.size, batch.len(), "a batch is appended whole");
        let base_offset = self.next_offset;
        let mut stored = header.clone();
        stored.base_offset = base_offset;
        stored.leader_epoch = LEADER_EPOCH;
        self.roll_if_due(store, config, now_ms, &stored)?;
        let segment = self.segments.last_mut().expect("a segment was made if there was none");
        let position = segment.len();
        let is_stamped = header.timestamp_type() == TimestampType::LogAppendTime;
        if is_stamped != config.log_append_time && !header.is_control() {
            let mut copy = BytesMut::from(batch);
            set_base_offset(&mut copy, base_offset);
            set_leader_epoch(&mut copy, LEADER_EPOCH);
            if config.log_append_time {
                set_log_append_time(&mut copy, now_ms);
                stored.max_timestamp = now_ms;
            } else {
                set_create_time(&mut copy);
            }
            segment.file.append(&[&copy])?;
        } else {
            let mut front = [0; REWRITTEN];
            front.copy_from_slice(&batch[..REWRITTEN]);
            front[..8].copy_from_slice(&base_offset.to_be_bytes());
            front[12..].copy_from_slice(&LEADER_EPOCH.to_be_bytes());
            segment.file.append(&[&front, &batch[REWRITTEN..]])?;
        }
        segment.appended(&stored, position);
        segment.used = true;
        segment.unsynced = true;
        note(&mut self.producers, &stored, batch, Some(now_ms));
        self.next_offset = stored.next_offset();
        self.unflushed += i64::from(stored.record_count);
        self.flush_if_due(config)?;
        Ok(base_offset)
    }

    /// Flushes when as many records as `flush.messages` allows are not.
    ///
    /// Also to be called before a batch is acknowledged that is there already: the first time its flush may have failed.
    pub(crate) fn flush_if_due(&mut self, config: &LogConfig) -> io::Result<()> {
        if self.unflushed >= config.flush_messages { self.flush() } else { Ok(()) }
    }

    /// Appends the marker that ends a transaction; returns its offset.
    pub(crate) fn append_marker(
        &mut self,
        store: &dyn Store,
        config: &LogConfig,
        now_ms: i64,
        producer_id: i64,
        producer_epoch: i16,
        kind: MarkerKind,
    ) -> io::Result<i64> {
        let batch = encode_marker(producer_id, producer_epoch, kind, 0, now_ms);
        let header = BatchHeader::read(&batch).ok().flatten().expect("a marker that we have just encoded has a header");
        self.append(store, config, now_ms, &batch, &header)
    }

    fn roll_if_due(
        &mut self,
        store: &dyn Store,
        config: &LogConfig,
        now_ms: i64,
        next: &BatchHeader,
    ) -> io::Result<()> {
        let due = match self.segments.last() {
            None => true,
            Some(last) if last.len() == 0 => false,
            Some(last) => {
                let full = last.len() + next.size as u64 > config.segment_bytes;
                // The records' own clock counts, so that old records that are written now do not get a segment each.
                let newest = if config.log_append_time { now_ms } else { next.max_timestamp };
                let segment_ms = config.longest_segment_ms();
                let old = last.first_timestamp.is_some_and(|first| newest.saturating_sub(first) > segment_ms);
                full || old || next.last_offset() - last.base_offset > i64::from(i32::MAX)
            }
        };
        if !due {
            return Ok(());
        }
        let fresh = Segment::create(store, &self.folder, self.next_offset)?;
        if let Some(last) = self.segments.last_mut() {
            last.save_state(store, &self.folder, &self.producers, false)?;
            last.file.rest();
        }
        self.segments.push(fresh);
        Ok(())
    }

    /// Makes everything appended so far survive the loss of power.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        for segment in self.segments.iter_mut().filter(|segment| segment.unsynced) {
            segment.file.sync()?;
            segment.unsynced = false;
        }
        self.unflushed = 0;
        Ok(())
    }

    /// Flushes and writes the checkpoint of the last segment, so that the next start need not read it.
    pub(crate) fn close(&mut self, store: &dyn Store) -> io::Result<()> {
        self.flush()?;
        if let Some(last) = self.segments.last() {
            last.save_state(store, &self.folder, &self.producers, true)?;
        }
        Ok(())
    }

    /// Reads whole batches from the one that holds `offset`, up to `limit_offset`, about `max_bytes` of them.
    ///
    /// With `at_least_one`, a first batch larger than `max_bytes` is given all the same: a consumer must get on.
    pub(crate) fn read(
        &mut self,
        offset: i64,
        limit_offset: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> io::Result<Slice> {
        let nothing = Slice { bytes: Bytes::new(), next_offset: offset };
        if offset >= limit_offset || (max_bytes == 0 && !at_least_one) {
            return Ok(nothing);
        }
        let mut index = self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1);
        while index < self.segments.len() {
            let slice = self.read_segment(index, offset, limit_offset, max_bytes, at_least_one)?;
            match slice {
                Some(slice) => return Ok(slice),
                // Nothing at or after `offset` in this segment (compaction took it): the next one goes on.
                None => index += 1,
            }
        }
        Ok(nothing)
    }

    /// Like [`Self::read`] in one segment; `None` when it ends before `offset`.
    fn read_segment(
        &mut self,
        index: usize,
        offset: i64,
        limit_offset: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> io::Result<Option<Slice>> {
        let segment = &mut self.segments[index];
        if offset >= segment.next_offset {
            return Ok(None);
        }
        let remembered = self.ends.iter().find(|end| end.offset == offset && end.segment == segment.base_offset);
        let mut position = remembered.map_or_else(|| segment.position_before(offset), |end| end.position);
        let wanted = max_bytes.max(HEADER_LEN);
        let mut chunk = segment.read(position, wanted)?;
        // Passes the batches before the one that holds the offset.
        let (mut begin, mut first_size) = (0, None);
        while first_size.is_none() {
            let mut frames = Frames::new(&chunk[begin..]);
            let mut passed = 0;
            while let Some(frame) = frames.next() {
                let (header, _) = frame.map_err(io::Error::other)?;
                if header.last_offset() >= offset {
                    first_size = Some(header.size);
                    break;
                }
                passed = frames.position();
            }
            begin += passed;
            if first_size.is_some() {
                break;
            }
            // The batch is cut off by the end of the chunk: read on from where it begins.
            position += begin as u64;
            begin = 0;
            let Some(header) = segment.header_at(position)? else {
                return Ok(None);
            };
            let needed = if header.last_offset() >= offset && !at_least_one {
                if header.size > max_bytes {
                    return Ok(Some(Slice { bytes: Bytes::new(), next_offset: offset }));
                }
                wanted
            } else {
                wanted.max(header.size)
            };
            chunk = segment.read(position, needed)?;
            if chunk.len() < header.size.min(needed) {
                return Err(io::Error::other(format!("{} ends within a batch at {position}", segment.path)));
            }
        }
        let (end, next_offset) = extent(&chunk[begin..], offset, limit_offset, max_bytes, at_least_one)?;
        let slice = Slice { bytes: chunk.slice(begin..begin + end), next_offset };
        if end > 0 {
            let read_end = ReadEnd {
                offset: next_offset,
                segment: segment.base_offset,
                position: position + (begin + end) as u64,
            };
            if self.ends.len() < REMEMBERED_READS {
                self.ends.push(read_end);
            } else {
                self.ends[self.next_end] = read_end;
                self.next_end = (self.next_end + 1) % REMEMBERED_READS;
            }
        }
        Ok(Some(slice))
    }

    /// Offset and timestamp of the first record with a timestamp of at least `timestamp`.
    pub(crate) fn find_time(&mut self, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        let start_offset = self.start_offset;
        for segment in &mut self.segments {
            if segment.max_timestamp < timestamp || segment.next_offset <= start_offset {
                continue;
            }
            let mut found = None;
            let position = segment.position_before_time(timestamp);
            segment.walk(position, |header, bytes, _| {
                if header.max_timestamp >= timestamp && header.last_offset() >= start_offset && !header.is_control() {
                    found = first_record_at(bytes, |time, offset| time >= timestamp && offset >= start_offset)?;
                }
                Ok(found.is_none())
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Offset and timestamp of the record with the largest timestamp, the first one if there are several.
    pub(crate) fn find_max_time(&mut self) -> io::Result<Option<(i64, i64)>> {
        let best = self
            .segments
            .iter_mut()
            .rev()
            .filter(|segment| segment.max_timestamp >= 0)
            .max_by_key(|segment| segment.max_timestamp);
        let Some(segment) = best else {
            return Ok(None);
        };
        let (timestamp, batch_offset) = (segment.max_timestamp, segment.max_timestamp_batch());
        let mut found = None;
        let position = segment.position_before(batch_offset);
        segment.walk(position, |header, bytes, _| {
            if header.base_offset >= batch_offset {
                found = first_record_at(bytes, |time, _| time >= timestamp)?;
                return Ok(false);
            }
            Ok(true)
        })?;
        Ok(found)
    }

    /// Moves the start of the log up to `offset` and removes segments that lie before it.
    pub(crate) fn delete_before(&mut self, store: &dyn Store, offset: i64) -> io::Result<()> {
        self.start_offset = self.start_offset.max(offset.min(self.next_offset));
        while self.segments.len() > 1 && self.segments[0].next_offset <= self.start_offset {
            let gone = self.segments.remove(0);
            Segment::discard(store, &self.folder, gone.base_offset)?;
        }
        self.producers.forget_before(self.start_offset);
        Ok(())
    }

    /// The offset up to which time and size limits let data go, if that is any.
    pub(crate) fn retention_offset(&self, config: &LogConfig, now_ms: i64) -> Option<i64> {
        if !config.delete {
            return None;
        }
        let mut size = self.size();
        let mut offset = None;
        for segment in &self.segments {
            let too_old = config.retention_ms >= 0
                && segment.len() > 0
                && segment.max_timestamp >= 0
                && segment.max_timestamp < now_ms.saturating_sub(config.retention_ms);
            let too_much =
                config.retention_bytes >= 0 && size.saturating_sub(segment.len()) >= config.retention_bytes as u64;
            // An open transaction must find its first record again.
            let open = self.producers.first_open_transaction().is_some_and(|first| first < segment.next_offset);
            let last = segment.next_offset == self.next_offset;
            if open || !(too_old || (too_much && !last)) {
                break;
            }
            size -= segment.len();
            offset = Some(segment.next_offset);
        }
        offset.filter(|offset| *offset > self.start_offset)
    }

    /// Removes what lies before `offset`, where the last segment may be among it: then a new one begins there.
    pub(crate) fn retire_before(&mut self, store: &dyn Store, offset: i64) -> io::Result<()> {
        if offset >= self.next_offset && self.segments.last().is_some_and(|last| last.len() > 0) {
            let fresh = Segment::create(store, &self.folder, self.next_offset)?;
            self.segments.push(fresh);
        }
        self.delete_before(store, offset)
    }

    /// Forgets idle producers, and lets idle files rest.
    pub(crate) fn keep_house(&mut self, now_ms: i64, producers_idle_ms: i64) {
        self.producers.expire(now_ms, producers_idle_ms);
        for segment in &mut self.segments {
            if !std::mem::take(&mut segment.used) {
                segment.file.rest();
            }
        }
    }
}

/// How far a reply reaches into `bytes`: whole batches, below the limits.
fn extent(
    bytes: &[u8],
    offset: i64,
    limit_offset: i64,
    max_bytes: usize,
    at_least_one: bool,
) -> io::Result<(usize, i64)> {
    let (mut end, mut next_offset) = (0, offset);
    let mut frames = Frames::new(bytes);
    while let Some(frame) = frames.next() {
        let (header, _) = frame.map_err(io::Error::other)?;
        let fits = frames.position() <= max_bytes || (end == 0 && at_least_one);
        if header.base_offset >= limit_offset || !fits {
            break;
        }
        end = frames.position();
        next_offset = header.next_offset();
    }
    Ok((end, next_offset))
}

/// The first record in a batch that `wanted` (timestamp, offset) accepts, as (offset, timestamp).
fn first_record_at(batch: Bytes, wanted: impl Fn(i64, i64) -> bool) -> io::Result<Option<(i64, i64)>> {
    let batch = Batch::parse(batch).map_err(io::Error::other)?;
    let records = batch.records(&mut Scratch::default()).map_err(io::Error::other)?;
    for record in &records {
        let record = record.map_err(io::Error::other)?;
        if wanted(record.timestamp, record.offset) {
            return Ok(Some((record.offset, record.timestamp)));
        }
    }
    Ok(None)
}
