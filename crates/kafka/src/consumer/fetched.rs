//! What a poll hands over: whole batches, or parts of one, that share the fetched buffer.

use bytes::Bytes;

use super::{ConsumerError, RebalanceEvent, TopicPartition};
use crate::batch::{Batch, BatchHeader, RecordIter, RecordRef, Records, Scratch, TimestampType};

/// The outcome of a poll.
#[derive(Clone, Debug, Default)]
pub struct Polled {
    /// What happened to this member's share, in order. They come alone: a poll with events has no batches.
    pub events: Vec<RebalanceEvent>,
    /// Records, in order within each partition. At most `max.poll.records` of them.
    pub batches: Vec<FetchedBatch>,
}

impl Polled {
    /// Whether nothing came before the deadline.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.batches.is_empty()
    }
}

#[derive(Clone, Debug)]
enum Body {
    Whole(Batch),
    Part(Records),
}

/// A batch of one partition, or a part of it where `max.poll.records` cut it. Cheap to clone: the bytes are shared.
///
/// It keeps the whole buffer of its fetch alive; who wants to keep records for long copies them.
#[derive(Clone, Debug)]
pub struct FetchedBatch {
    partition: TopicPartition,
    from: i64,
    next: i64,
    body: Body,
}

impl FetchedBatch {
    pub(super) fn whole(partition: TopicPartition, from: i64, batch: Batch) -> Self {
        let next = batch.header().next_offset();
        Self { partition, from, next, body: Body::Whole(batch) }
    }

    pub(super) fn part(partition: TopicPartition, from: i64, next: i64, records: Records) -> Self {
        Self { partition, from, next, body: Body::Part(records) }
    }

    /// Where the records come from.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// No record before this offset is shown.
    pub fn from_offset(&self) -> i64 {
        self.from
    }

    /// The position once these records are done with. It may lie further than one behind the last record, where compaction left a gap.
    pub fn next_offset(&self) -> i64 {
        self.next
    }

    /// No more than this many records are inside. Fewer, if reading began in the middle of the batch.
    pub fn max_records(&self) -> usize {
        usize::try_from(self.header().record_count).unwrap_or(0)
    }

    /// The batch's header. That of a part counts the part's records.
    pub fn header(&self) -> &BatchHeader {
        match &self.body {
            Body::Whole(batch) => batch.header(),
            Body::Part(records) => records.header(),
        }
    }

    /// Whose clock the timestamps are.
    pub fn timestamp_type(&self) -> TimestampType {
        self.header().timestamp_type()
    }

    /// Epoch of the leader that appended the batch.
    pub fn leader_epoch(&self) -> Option<i32> {
        Some(self.header().leader_epoch).filter(|epoch| *epoch >= 0)
    }

    /// Bytes as fetched; of a part, its decompressed share.
    pub fn size_bytes(&self) -> usize {
        match &self.body {
            Body::Whole(batch) => batch.bytes().len(),
            Body::Part(records) => records.data().len(),
        }
    }

    /// Opens the records, decompressing them into memory from `scratch` if they are compressed.
    pub fn open(&self, scratch: &mut Scratch) -> Result<OpenBatch, ConsumerError> {
        let records = match &self.body {
            Body::Part(records) => records.clone(),
            Body::Whole(batch) => batch.records(scratch).map_err(|error| self.corrupt(error))?,
        };
        Ok(OpenBatch { partition: self.partition.clone(), from: self.from, records })
    }

    fn corrupt(&self, error: crate::batch::BatchError) -> ConsumerError {
        ConsumerError::Corrupt { partition: self.partition.clone(), offset: self.from, error }
    }
}

/// The records of a [`FetchedBatch`].
#[derive(Clone, Debug)]
pub struct OpenBatch {
    partition: TopicPartition,
    from: i64,
    records: Records,
}

impl OpenBatch {
    /// The records in order, borrowed. Ends after an error.
    pub fn iter(&self) -> OpenIter<'_> {
        OpenIter { batch: self, records: self.records.iter_from(self.from) }
    }

    /// A shared handle of `part`, a key or value of one of these records, without a copy. It keeps all of them alive.
    ///
    /// # Panics
    /// If `part` does not lie in these records.
    pub fn share(&self, part: &[u8]) -> Bytes {
        self.records.share(part)
    }
}

impl<'a> IntoIterator for &'a OpenBatch {
    type Item = Result<RecordRef<'a>, ConsumerError>;
    type IntoIter = OpenIter<'a>;

    fn into_iter(self) -> OpenIter<'a> {
        self.iter()
    }
}

/// Reads an [`OpenBatch`].
#[derive(Clone, Debug)]
pub struct OpenIter<'a> {
    batch: &'a OpenBatch,
    records: RecordIter<'a>,
}

impl<'a> Iterator for OpenIter<'a> {
    type Item = Result<RecordRef<'a>, ConsumerError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.records.next()? {
            Ok(record) => Some(Ok(record)),
            Err(error) => Some(Err(ConsumerError::Corrupt {
                partition: self.batch.partition.clone(),
                offset: self.batch.from,
                error,
            })),
        }
    }
}
