//! One partition that is read: its position, and what was fetched ahead of it.
//!
//! A fetched buffer is looked through twice: on arrival by its headers alone, to know where to fetch on; and when the application takes it, batch
//! by batch, with checksums. Batches before the position, control batches and those of aborted transactions are passed over there.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::super::{ConsumerError, FetchedBatch, Isolation, OffsetSpec, TopicPartition};
use crate::batch::{Batch, BatchHeader, Batches, ControlRecord, Frames, MarkerKind, Records, Scratch};

/// Where reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// The group's committed offset is to be looked up.
    Committed,
    /// An offset is to be asked for.
    Ask(OffsetSpec),
    /// At this offset.
    At(i64),
}

/// Before every epoch.
const NEVER: i32 = -1;

/// A transaction that the broker says was aborted, with its first offset.
pub(super) type Aborted = (i64, i64);

/// Tells the batches of aborted transactions from others, within the answer to one fetch.
#[derive(Clone, Debug, Default)]
struct AbortFilter {
    /// By first offset (producer id, first offset), the next one last.
    coming: Vec<Aborted>,
    open: BTreeSet<i64>,
}

impl AbortFilter {
    fn new(mut aborted: Vec<Aborted>) -> Self {
        aborted.sort_by_key(|(_, first)| std::cmp::Reverse(*first));
        Self { coming: aborted, open: BTreeSet::new() }
    }

    /// Whether the application must not see `batch`. Batches come in order.
    fn hides(&mut self, batch: &Batch, scratch: &mut Scratch) -> bool {
        let header = batch.header();
        if !header.has_producer() {
            return false;
        }
        while let Some((producer, _)) = self.coming.pop_if(|(_, first)| *first <= header.last_offset()) {
            self.open.insert(producer);
        }
        if !header.is_transactional() {
            return false;
        }
        if header.is_control() {
            if self.open.contains(&header.producer_id) && ends_in_abort(batch, scratch) {
                self.open.remove(&header.producer_id);
            }
            return true;
        }
        self.open.contains(&header.producer_id)
    }
}

/// Epoch of the leader that appended a batch.
fn epoch(header: &BatchHeader) -> Option<i32> {
    Some(header.leader_epoch).filter(|epoch| *epoch >= 0)
}

fn ends_in_abort(batch: &Batch, scratch: &mut Scratch) -> bool {
    let Ok(records) = batch.records(scratch) else { return false };
    let first = records.iter().next();
    let marker = first.and_then(Result::ok).and_then(|record| ControlRecord::read(&record));
    matches!(marker, Some(ControlRecord::EndTransaction { kind: MarkerKind::Abort, .. }))
}

/// The answer to one fetch.
#[derive(Debug)]
struct Chunk {
    batches: Batches,
    filter: Option<AbortFilter>,
    /// Where the next fetch goes on.
    end: i64,
    /// The rest of a batch that was cut by `max.poll.records`, and its end.
    cut: Option<(Records, i64)>,
    size: usize,
}

/// What arrived with a fetch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Something to take.
    Stored,
    /// Nothing new.
    Nothing,
    /// Not even one whole batch.
    Partial,
}

/// A partition that is read.
#[derive(Debug)]
pub(super) struct Partition {
    /// The topic's name as requests have it.
    pub(super) name: StrBytes,
    pub(super) position: Position,
    pub(super) paused: bool,
    /// It is being given up: nothing more is fetched or handed over.
    pub(super) revoked: bool,
    /// A fetch that includes this partition is under way.
    pub(super) in_flight: bool,
    /// Nothing is asked about this partition before this time.
    pub(super) retry_at: Duration,
    /// Behind the last record that may be read, as the last fetch said.
    pub(super) end: Option<i64>,
    /// The first offset of the log, as the last fetch said.
    pub(super) start: Option<i64>,
    /// How many records the last fetch brought.
    pub(super) arrived: usize,
    /// Epoch of the leader that appended the record before the position, as far as known.
    pub(super) epoch: Option<i32>,
    /// Epoch of the leader in whose log the position was last known to lie.
    pub(super) checked: i32,
    /// A leader is being asked whether it does.
    pub(super) validating: bool,
    /// The replica to read from instead of the leader, until then (KIP-392).
    pub(super) preferred: Option<(i32, Duration)>,
    chunks: VecDeque<Chunk>,
    buffered: usize,
}

impl Partition {
    pub(super) fn new(topic: &str, position: Position) -> Self {
        Self {
            name: StrBytes::from_string(topic.to_owned()),
            position,
            paused: false,
            revoked: false,
            in_flight: false,
            retry_at: Duration::ZERO,
            end: None,
            start: None,
            arrived: 0,
            epoch: None,
            checked: NEVER,
            validating: false,
            preferred: None,
            chunks: VecDeque::new(),
            buffered: 0,
        }
    }

    /// Moves the position; what was fetched ahead is dropped. Of which epoch the record before it is, the caller may know.
    pub(super) fn move_to(&mut self, position: Position) {
        self.position = position;
        (self.epoch, self.checked, self.validating) = (None, NEVER, false);
        self.retry_at = Duration::ZERO;
        self.drop_buffer();
    }

    pub(super) fn drop_buffer(&mut self) {
        self.chunks.clear();
        self.buffered = 0;
    }

    /// Bytes fetched and not yet taken.
    pub(super) fn buffered(&self) -> usize {
        self.buffered
    }

    pub(super) fn has_data(&self) -> bool {
        !self.chunks.is_empty()
    }

    /// Records between the position and the end.
    pub(super) fn lag(&self) -> Option<i64> {
        let Position::At(position) = self.position else { return None };
        Some((self.end? - position).max(0))
    }

    /// Offsets between the beginning of the log and the position: what may still be lost to retention before it is read grows as this shrinks.
    pub(super) fn lead(&self) -> Option<i64> {
        let Position::At(position) = self.position else { return None };
        Some((position - self.start?).max(0))
    }

    /// The offset to ask for next.
    pub(super) fn fetch_offset(&self) -> Option<i64> {
        match self.position {
            Position::At(offset) => Some(self.chunks.back().map_or(offset, |chunk| chunk.end)),
            _ => None,
        }
    }

    /// Whether the leader has to be asked, before it is fetched from, if the position lies in its log.
    pub(super) fn is_doubtful(&mut self, leader_epoch: i32) -> bool {
        let doubtful = self.epoch.is_some() && leader_epoch >= 0 && leader_epoch > self.checked;
        if !doubtful {
            self.checked = self.checked.max(leader_epoch);
        }
        doubtful
    }

    /// Takes what a fetch of `offset` brought, unless the partition has moved meanwhile.
    pub(super) fn store(
        &mut self,
        offset: i64,
        bytes: Bytes,
        aborted: Option<Vec<Aborted>>,
        isolation: Isolation,
        check_crcs: bool,
    ) -> Arrival {
        if bytes.is_empty() || self.fetch_offset() != Some(offset) {
            return Arrival::Nothing;
        }
        let mut end = offset;
        let mut whole = 0;
        self.arrived = 0;
        for frame in Frames::new(&bytes) {
            whole += 1;
            // What is malformed is reported when the application gets there, not before.
            let Ok((header, _)) = frame else { break };
            end = end.max(header.next_offset());
            self.arrived = self.arrived.saturating_add(usize::try_from(header.record_count).unwrap_or(0));
        }
        if whole == 0 {
            return Arrival::Partial;
        }
        let filter = (isolation == Isolation::ReadCommitted).then(|| AbortFilter::new(aborted.unwrap_or_default()));
        let size = bytes.len();
        let batches = if check_crcs { Batches::new(bytes) } else { Batches::without_crc_check(bytes) };
        self.buffered += size;
        self.chunks.push_back(Chunk { batches, filter, end, cut: None, size });
        Arrival::Stored
    }

    /// Moves up to `room` records to `out` and returns how many. A batch that fits into an empty `out` is not cut to fill the last of the room.
    ///
    /// After an error the position stays before what is broken, and nothing is buffered any more.
    pub(super) fn take(
        &mut self,
        partition: &TopicPartition,
        mut room: usize,
        scratch: &mut Scratch,
        out: &mut Vec<FetchedBatch>,
    ) -> Result<(), ConsumerError> {
        let Position::At(mut position) = self.position else { return Ok(()) };
        let result = self.take_from(partition, &mut position, &mut room, scratch, out);
        self.position = Position::At(position);
        if result.is_err() {
            self.drop_buffer();
        }
        result
    }

    fn take_from(
        &mut self,
        partition: &TopicPartition,
        position: &mut i64,
        room: &mut usize,
        scratch: &mut Scratch,
        out: &mut Vec<FetchedBatch>,
    ) -> Result<(), ConsumerError> {
        let corrupt = |offset, error| ConsumerError::Corrupt { partition: partition.clone(), offset, error };
        while *room > 0 {
            let Some(chunk) = self.chunks.front_mut() else { break };
            if let Some((mut rest, end)) = chunk.cut.take() {
                let part = rest.split_front(*position, *room).map_err(|error| corrupt(*position, error))?;
                let done = rest.header().record_count == 0;
                let next = if done {
                    end
                } else {
                    match part.iter().last() {
                        Some(last) => last.map_err(|error| corrupt(*position, error))?.offset + 1,
                        None => end,
                    }
                };
                let count = part.header().record_count.unsigned_abs() as usize;
                *room = room.saturating_sub(count);
                self.epoch = epoch(rest.header());
                out.push(FetchedBatch::part(partition.clone(), *position, next, part));
                *position = next;
                if !done {
                    chunk.cut = Some((rest, end));
                }
                continue;
            }
            // Looked at before it is taken: it may have to wait for the next poll.
            let mut ahead = chunk.batches.clone();
            let Some(batch) = ahead.next() else {
                let chunk = self.chunks.pop_front().expect("it was looked at above");
                self.buffered = self.buffered.saturating_sub(chunk.size);
                *position = (*position).max(chunk.end);
                continue;
            };
            let batch = batch.map_err(|error| corrupt(*position, error))?;
            let header = batch.header();
            let count = usize::try_from(header.record_count).unwrap_or(0);
            let (last, next) = (header.last_offset(), header.next_offset());
            let hidden = match &mut chunk.filter {
                Some(filter) => filter.hides(&batch, scratch),
                None => false,
            };
            let size = batch.bytes().len();
            let of = epoch(header);
            if last < *position || hidden || header.is_control() || count == 0 {
                *position = (*position).max(next);
            } else if count <= *room {
                out.push(FetchedBatch::whole(partition.clone(), *position, batch));
                *room -= count;
                *position = next;
            } else if !out.is_empty() {
                return Ok(());
            } else {
                let records = batch.records(scratch).map_err(|error| corrupt(*position, error))?;
                chunk.cut = Some((records, next));
            }
            self.epoch = of;
            chunk.batches = ahead;
            chunk.size = chunk.size.saturating_sub(size);
            self.buffered = self.buffered.saturating_sub(size);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::{Builder, BuilderOptions, set_base_offset};

    fn batch(base: i64, records: usize) -> Vec<u8> {
        let mut builder = Builder::new(BuilderOptions::default());
        for _ in 0..records {
            assert!(builder.try_push(1, Some(b"key"), Some(b"value"), &[]));
        }
        let mut bytes = builder.finish().unwrap().seal().to_vec();
        set_base_offset(&mut bytes, base);
        bytes
    }

    fn here() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    /// Takes everything, `room` records at a time; the position only grows, and the end is reached or an error is.
    fn check_take(bytes: Vec<u8>, room: usize, check_crcs: bool) -> usize {
        let mut partition = Partition::new("t", Position::At(5));
        let arrival = partition.store(5, bytes.into(), None, Isolation::ReadCommitted, check_crcs);
        let (mut scratch, mut total, mut position) = (Scratch::with_limit(1 << 20), 0, 5);
        while arrival == Arrival::Stored && partition.has_data() {
            let mut out = Vec::new();
            let result = partition.take(&here(), room, &mut scratch, &mut out);
            for batch in &out {
                let opened = batch.open(&mut scratch);
                total += opened.iter().flat_map(|opened| opened.iter().map_while(Result::ok)).count();
            }
            let Position::At(now) = partition.position else { panic!("the position is known") };
            assert!(now >= position);
            position = now;
            if result.is_err() {
                assert!(!partition.has_data() && partition.buffered() == 0);
            }
        }
        assert_eq!(partition.buffered(), 0);
        total
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), room in 1usize..10) {
            check_take(bytes, room, false);
        }

        #[test]
        fn damaged_batches_never_panic(
            at in 0usize..300,
            with in any::<u8>(),
            cut in 0usize..300,
            room in 1usize..10,
            check_crcs in any::<bool>(),
        ) {
            let mut bytes = [batch(3, 6), batch(9, 1), batch(20, 9)].concat();
            let len = bytes.len();
            bytes[at % len] = with;
            bytes.truncate(len - cut % len);
            check_take(bytes, room, check_crcs);
        }
    }

    #[test]
    fn records_before_the_position_are_passed_over() {
        for room in 1..20 {
            assert_eq!(
                check_take([batch(3, 6), batch(9, 1), batch(20, 9)].concat(), room, true),
                14,
                "{room} at a time"
            );
        }
    }

    #[test]
    fn an_answer_about_another_place_is_dropped() {
        let mut partition = Partition::new("t", Position::At(5));
        let mut store =
            |offset, bytes: Vec<u8>| partition.store(offset, bytes.into(), None, Isolation::ReadUncommitted, true);
        assert_eq!(store(4, batch(4, 1)), Arrival::Nothing);
        assert_eq!(store(5, Vec::new()), Arrival::Nothing);
        assert_eq!(store(5, batch(5, 1)[..70].to_vec()), Arrival::Partial);
        assert_eq!(store(5, batch(5, 3)), Arrival::Stored);
        // The next one follows what is buffered.
        assert_eq!(store(5, batch(5, 3)), Arrival::Nothing);
        assert_eq!(store(8, batch(8, 3)), Arrival::Stored);
        assert_eq!(partition.fetch_offset(), Some(11));
    }
}
