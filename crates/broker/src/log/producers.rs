//! What a partition remembers of the producers that wrote to it.
//!
//! For each producer id: its epoch, its last five batches (a repeat of one of them is answered with the offset it got the first time), and
//! the first offset of its open transaction. Also the aborted transactions of the partition. Pure; rebuilt by passing every batch of the
//! log through [`Producers::stored`], so that what a broker knows after a restart is what its log says.
//! Counterpart of Apache Kafka's `ProducerStateManager`.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use kurier_kafka::batch::{BatchHeader, MarkerKind};

use crate::codec::{Malformed, Reader, Writer};

/// Batches of one producer that are recognised when they come again: as many as a client may have in flight.
const REMEMBERED_BATCHES: usize = 5;

/// What becomes of a batch that a producer with an id sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next one.
    Append,
    /// It is there already, at this offset and with this append time.
    Duplicate { base_offset: i64, timestamp_ms: i64 },
    /// A batch before it is missing.
    OutOfOrder,
    /// A newer producer has taken over.
    StaleEpoch,
}

/// A transaction that was rolled back, as `Fetch` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// Offset of the marker.
    pub(crate) last_offset: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    timestamp_ms: i64,
}

/// One producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) epoch: i16,
    batches: VecDeque<Seen>,
    pub(crate) transaction_start: Option<i64>,
    /// The largest timestamp in its last batch, as its client has it.
    pub(crate) last_timestamp_ms: i64,
    /// When it was last heard of, by the broker's calendar; not known right after a start.
    heard_ms: Option<i64>,
}

impl Producer {
    pub(crate) fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |batch| batch.last_sequence)
    }

    /// Offset of its last record that is no marker; none when all it wrote in its epoch are markers.
    pub(super) fn last_data_offset(&self) -> Option<i64> {
        let last = self.batches.back()?;
        let records = i64::from(last.last_sequence) - i64::from(last.first_sequence);
        // Sequences start again at zero after the largest.
        let records = if records < 0 { records + i64::from(i32::MAX) + 1 } else { records };
        Some(last.base_offset + records)
    }
}

/// All producers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    known: BTreeMap<i64, Producer>,
    /// In the order of their markers.
    aborted: Vec<Aborted>,
}

impl Producers {
    /// Judges a batch with a producer id before it is appended.
    pub(crate) fn check(&self, header: &BatchHeader) -> Verdict {
        let Some(producer) = self.known.get(&header.producer_id) else {
            // Nothing is known (any more): as in Apache Kafka, the producer is believed.
            return Verdict::Append;
        };
        if header.producer_epoch < producer.epoch {
            return Verdict::StaleEpoch;
        }
        if header.producer_epoch > producer.epoch {
            return if header.base_sequence == 0 { Verdict::Append } else { Verdict::OutOfOrder };
        }
        let last_sequence = header.last_sequence();
        let repeated = producer
            .batches
            .iter()
            .find(|seen| seen.first_sequence == header.base_sequence && seen.last_sequence == last_sequence);
        if let Some(seen) = repeated {
            return Verdict::Duplicate { base_offset: seen.base_offset, timestamp_ms: seen.timestamp_ms };
        }
        match producer.batches.back() {
            // Its epoch came with the end of a transaction: the next one begins.
            None if header.base_sequence == 0 => Verdict::Append,
            None => Verdict::OutOfOrder,
            Some(last) if next_sequence(last.last_sequence) == header.base_sequence => Verdict::Append,
            Some(_) => Verdict::OutOfOrder,
        }
    }

    /// Takes note of a batch of the log; `now_ms` is when it was written, if it was just now.
    pub(crate) fn stored(&mut self, header: &BatchHeader, now_ms: Option<i64>) {
        if !header.has_producer() {
            return;
        }
        let producer = self.known.entry(header.producer_id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            batches: VecDeque::new(),
            transaction_start: None,
            last_timestamp_ms: header.max_timestamp,
            heard_ms: now_ms,
        });
        if header.producer_epoch > producer.epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        producer.last_timestamp_ms = header.max_timestamp;
        producer.heard_ms = now_ms;
        if header.is_control() {
            return; // Markers have no sequence; `ended` follows.
        }
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Seen {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            timestamp_ms: header.max_timestamp,
        });
        if header.is_transactional() && producer.transaction_start.is_none() {
            producer.transaction_start = Some(header.base_offset);
        }
    }

    /// Takes note of a marker at `offset` that ends the transaction of a producer.
    pub(crate) fn ended(&mut self, producer_id: i64, kind: MarkerKind, offset: i64) {
        let Some(producer) = self.known.get_mut(&producer_id) else {
            return;
        };
        if let Some(first_offset) = producer.transaction_start.take()
            && kind == MarkerKind::Abort
        {
            self.aborted.push(Aborted { producer_id, first_offset, last_offset: offset });
        }
    }

    /// First offset that belongs to an open transaction.
    pub(crate) fn first_open_transaction(&self) -> Option<i64> {
        self.known.values().filter_map(|producer| producer.transaction_start).min()
    }

    /// True when something is known of the producer.
    pub(crate) fn knows(&self, producer_id: i64) -> bool {
        self.known.contains_key(&producer_id)
    }

    /// True when the producer has an open transaction here.
    pub(crate) fn has_open_transaction(&self, producer_id: i64) -> bool {
        self.known.get(&producer_id).is_some_and(|producer| producer.transaction_start.is_some())
    }

    /// Aborted transactions that touch the offsets from `from` up to, not including, `to`.
    pub(crate) fn aborted_between(&self, from: i64, to: i64) -> impl Iterator<Item = &Aborted> {
        let first = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        self.aborted[first..].iter().filter(move |aborted| aborted.first_offset < to)
    }

    /// All aborted transactions, in the order of their markers.
    pub(super) fn aborted(&self) -> &[Aborted] {
        &self.aborted
    }

    /// Puts `aborted` in the place of all transactions whose markers lie in `markers`.
    ///
    /// What is listed here makes a reader skip the producer's records until it meets the marker. So an entry goes before its marker does.
    pub(super) fn replace_aborted(&mut self, markers: Range<i64>, aborted: &[Aborted]) {
        let from = self.aborted.partition_point(|entry| entry.last_offset < markers.start);
        let to = self.aborted.partition_point(|entry| entry.last_offset < markers.end);
        self.aborted.splice(from..to, aborted.iter().copied());
    }

    /// Forgets which transactions were open: for a place in the log below which all of them are known to have ended.
    pub(super) fn end_transactions(&mut self) {
        self.known.values_mut().for_each(|producer| producer.transaction_start = None);
    }

    /// Goes on from a checkpoint: its producers are those there are, its aborted transactions come after those known.
    pub(super) fn resume(&mut self, mut checkpoint: Self) {
        self.known = checkpoint.known;
        self.aborted.append(&mut checkpoint.aborted);
    }

    /// Forgets aborted transactions that ended before the log starts.
    pub(crate) fn forget_before(&mut self, log_start: i64) {
        self.aborted.retain(|aborted| aborted.last_offset >= log_start);
    }

    /// Forgets producers without an open transaction that have not been heard of for `idle_ms`; after a start all have this time again.
    ///
    /// Their records' timestamps say nothing of that: old records are written today as well, and their producer's sequence is needed then.
    pub(crate) fn expire(&mut self, now_ms: i64, idle_ms: i64) {
        self.known.retain(|_, producer| {
            let heard_ms = *producer.heard_ms.get_or_insert(now_ms);
            producer.transaction_start.is_some() || heard_ms >= now_ms.saturating_sub(idle_ms)
        });
    }

    /// All producers by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&i64, &Producer)> {
        self.known.iter()
    }

    /// Writes the producers, and of the aborted transactions those whose markers lie in `markers`.
    pub(crate) fn write(&self, markers: Range<i64>, out: &mut Writer) {
        out.count(self.known.len());
        for (id, producer) in &self.known {
            out.i64(*id);
            out.i16(producer.epoch);
            out.i64(producer.transaction_start.unwrap_or(-1));
            out.i64(producer.last_timestamp_ms);
            out.count(producer.batches.len());
            for seen in &producer.batches {
                out.i32(seen.first_sequence);
                out.i32(seen.last_sequence);
                out.i64(seen.base_offset);
                out.i64(seen.timestamp_ms);
            }
        }
        let aborted: Vec<_> = self.aborted.iter().filter(|aborted| markers.contains(&aborted.last_offset)).collect();
        out.count(aborted.len());
        for aborted in aborted {
            out.i64(aborted.producer_id);
            out.i64(aborted.first_offset);
            out.i64(aborted.last_offset);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut producers = Self::default();
        for _ in 0..from.count()? {
            let id = from.i64()?;
            let epoch = from.i16()?;
            let transaction_start = Some(from.i64()?).filter(|offset| *offset >= 0);
            let last_timestamp_ms = from.i64()?;
            let mut batches = VecDeque::new();
            for _ in 0..from.count()? {
                batches.push_back(Seen {
                    first_sequence: from.i32()?,
                    last_sequence: from.i32()?,
                    base_offset: from.i64()?,
                    timestamp_ms: from.i64()?,
                });
            }
            let producer = Producer { epoch, batches, transaction_start, last_timestamp_ms, heard_ms: None };
            producers.known.insert(id, producer);
        }
        for _ in 0..from.count()? {
            producers.aborted.push(Aborted {
                producer_id: from.i64()?,
                first_offset: from.i64()?,
                last_offset: from.i64()?,
            });
        }
        Ok(producers)
    }
}

/// Sequence numbers wrap from the largest number to zero.
fn next_sequence(sequence: i32) -> i32 {
    sequence.checked_add(1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(epoch: i16, base_sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset,
            size: 100,
            leader_epoch: 0,
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 1,
            max_timestamp: 2,
            producer_id: 7,
            producer_epoch: epoch,
            base_sequence,
            record_count: count,
        }
    }

    #[test]
    fn sequences_are_judged_as_apache_kafka_judges_them() {
        let mut producers = Producers::default();
        for (index, sequence) in [0, 10, 20, 30, 40, 50].into_iter().enumerate() {
            let batch = header(3, sequence, 10, index as i64 * 10);
            assert_eq!(producers.check(&batch), Verdict::Append, "{sequence}");
            producers.stored(&batch, None);
        }
        let cases = [
            (3, 50, 10, Verdict::Duplicate { base_offset: 50, timestamp_ms: 2 }),
            (3, 10, 10, Verdict::Duplicate { base_offset: 10, timestamp_ms: 2 }),
            (3, 0, 10, Verdict::OutOfOrder), // Older than the five remembered.
            (3, 50, 5, Verdict::OutOfOrder), // Same start, other batch.
            (3, 70, 1, Verdict::OutOfOrder), // A gap.
            (3, 60, 1, Verdict::Append),
            (2, 60, 1, Verdict::StaleEpoch),
            (4, 60, 1, Verdict::OutOfOrder), // A new epoch starts at zero.
            (4, 0, 1, Verdict::Append),
        ];
        for (epoch, sequence, count, verdict) in cases {
            assert_eq!(producers.check(&header(epoch, sequence, count, 99)), verdict, "{epoch} {sequence} {count}");
        }
        let mut writer = Writer::default();
        producers.write(0..i64::MAX, &mut writer);
        assert_eq!(Producers::read(&mut Reader::new(&writer.bytes)).unwrap(), producers);
    }

    #[test]
    fn sequences_wrap() {
        let mut producers = Producers::default();
        producers.stored(&header(0, i32::MAX - 1, 2, 0), None);
        assert_eq!(producers.check(&header(0, 0, 1, 2)), Verdict::Append);
    }
}
