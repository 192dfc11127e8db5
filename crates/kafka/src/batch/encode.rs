//! From records to batches: each record is written in place, once, into one buffer.
//!
//! A finished batch can be stamped with a producer's id, epoch and sequence as often as a retry needs; the checksum is computed when the batch is
//! sealed. Sizes are known before a record is written, so a batch never grows past its target, except for a first record that alone is larger.

use bytes::Bytes;

use super::compression::compress;
use super::header::{
    ATTRIBUTES_AT, BASE_SEQUENCE_AT, PRODUCER_EPOCH_AT, PRODUCER_ID_AT, TRANSACTIONAL_BIT, attributes, write_crc,
};
use super::varint::{MAX_VARINT, MAX_VARLONG, put_varint, put_varlong, varint_size, varlong_size};
use super::{
    Batch, BatchError, BatchHeader, Compression, HEADER_LEN, HeaderRef, Headers, NO_PRODUCER_EPOCH, NO_PRODUCER_ID,
    NO_SEQUENCE, RecordRef, Scratch,
};

/// Most bytes of one batch: its length field is signed, and room is left for the header and for data that grows when compressed.
const MAX_BATCH_BYTES: usize = i32::MAX as usize / 2;
/// Most bytes of a record before its key: length, attributes, two deltas, key length.
const MAX_PREFIX: usize = MAX_VARINT + 1 + MAX_VARLONG + MAX_VARINT + MAX_VARINT;

/// What a batch is built for.
#[derive(Clone, Debug, PartialEq)]
pub struct BuilderOptions {
    /// How records are compressed at the end.
    pub compression: Compression,
    /// Level of the compression; `None` for its default.
    pub level: Option<i32>,
    /// Bytes that the finished batch is to stay within, header included: `batch.size`.
    pub target_bytes: usize,
    /// Compressed size over plain size, as seen so far with such records; a batch takes in more records the smaller it is.
    pub expected_ratio: f32,
}

impl Default for BuilderOptions {
    /// No compression, 16 KiB.
    fn default() -> Self {
        Self { compression: Compression::None, level: None, target_bytes: 16 << 10, expected_ratio: 1.0 }
    }
}

/// Collects the records of one batch.
#[derive(Clone, Debug)]
pub struct Builder {
    buffer: Vec<u8>,
    /// Bytes of plain records, header included, that the target allows.
    room: usize,
    compression: Compression,
    level: Option<i32>,
    attributes: i16,
    base_timestamp: i64,
    max_timestamp: i64,
    count: i32,
}

impl Builder {
    /// An empty batch.
    pub fn new(options: BuilderOptions) -> Self {
        let capacity = options.target_bytes.clamp(HEADER_LEN, 1 << 20);
        Self::with_buffer(options, Vec::with_capacity(capacity))
    }

    /// An empty batch in memory that is used again; what `buffer` holds is forgotten.
    pub fn with_buffer(options: BuilderOptions, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(HEADER_LEN, 0);
        let ratio =
            if options.compression == Compression::None { 1.0 } else { options.expected_ratio.clamp(0.01, 1.0) };
        let payload = options.target_bytes.saturating_sub(HEADER_LEN);
        let room = HEADER_LEN.saturating_add((payload as f64 / f64::from(ratio)) as usize).min(MAX_BATCH_BYTES);
        Self {
            buffer,
            room,
            compression: options.compression,
            level: options.level,
            attributes: attributes(options.compression, false, false),
            base_timestamp: 0,
            max_timestamp: -1,
            count: 0,
        }
    }

    /// Overrides the attribute bits; the compression in them must be the builder's.
    pub(super) fn set_attributes(&mut self, attributes: i16) {
        self.attributes = attributes;
    }

    /// Adds a record, or returns false when the batch is full.
    ///
    /// A first record always fits unless it has more than a gibibyte, which `max.request.size` keeps out.
    #[inline]
    pub fn try_push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) -> bool {
        self.push(timestamp, key, value, headers.len(), headers.iter().copied())
    }

    /// Adds a record read from another batch, or returns false when the batch is full. Its offset is not kept.
    pub fn try_push_record(&mut self, record: &RecordRef<'_>) -> bool {
        let headers: Headers<'_> = record.headers;
        self.push(record.timestamp, record.key, record.value, headers.len(), headers)
    }

    #[inline]
    fn push<'h>(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        header_count: usize,
        headers: impl Iterator<Item = HeaderRef<'h>> + Clone,
    ) -> bool {
        let base_timestamp = if self.count == 0 { timestamp } else { self.base_timestamp };
        let timestamp_delta = timestamp.wrapping_sub(base_timestamp);
        let Some(body) = body_size(timestamp_delta, self.count, key, value, header_count, headers.clone()) else {
            return false;
        };
        let needed = self.buffer.len() + varint_size(body as i32) + body;
        if needed > if self.count == 0 { MAX_BATCH_BYTES } else { self.room } || self.count == i32::MAX {
            return false;
        }
        write_record(&mut self.buffer, body, timestamp_delta, self.count, key, value, header_count, headers);
        debug_assert_eq!(self.buffer.len(), needed, "the size was foretold");
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        } else {
            self.max_timestamp = self.max_timestamp.max(timestamp);
        }
        self.count += 1;
        true
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are no records yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far, header included, before compression.
    pub fn plain_len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether another record, however small, would be refused.
    pub fn is_full(&self) -> bool {
        self.count > 0 && self.buffer.len() + 8 > self.room
    }

    /// Compresses and closes the batch. An empty one has no records and is of no use to a producer.
    pub fn finish(self) -> Result<EncodedBatch, BatchError> {
        if self.compression == Compression::None {
            return Ok(self.finish_plain());
        }
        let mut packed = Vec::with_capacity(self.buffer.len() / 2 + HEADER_LEN);
        packed.resize(HEADER_LEN, 0);
        let records = &self.buffer[HEADER_LEN..];
        compress(self.compression, self.level, records, &mut packed)
            .map_err(|error| BatchError::Compress { compression: self.compression, reason: error.to_string() })?;
        if packed.len() > i32::MAX as usize {
            return Err(BatchError::Compress {
                compression: self.compression,
                reason: "the result is too large".to_owned(),
            });
        }
        Ok(self.close(packed))
    }

    /// Closes a batch that is not compressed, which cannot fail.
    pub(super) fn finish_plain(mut self) -> EncodedBatch {
        debug_assert_eq!(self.compression, Compression::None);
        let buffer = std::mem::take(&mut self.buffer);
        self.close(buffer)
    }

    fn close(&self, mut buffer: Vec<u8>) -> EncodedBatch {
        let header = BatchHeader {
            last_offset_delta: (self.count - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            record_count: self.count,
            ..BatchHeader::blank(self.attributes)
        };
        header.write_unsealed(&mut buffer);
        let plain_len = if self.buffer.is_empty() { buffer.len() } else { self.buffer.len() };
        EncodedBatch { bytes: Bytes::from(buffer), plain_len, record_count: self.count, sealed: false }
    }
}

/// Bytes of a record's body, or `None` when it is larger than any batch.
#[inline]
fn body_size<'h>(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    header_count: usize,
    headers: impl Iterator<Item = HeaderRef<'h>>,
) -> Option<usize> {
    let (key_len, value_len) = (key.map_or(0, <[u8]>::len), value.map_or(0, <[u8]>::len));
    if key_len > MAX_BATCH_BYTES || value_len > MAX_BATCH_BYTES || header_count > MAX_BATCH_BYTES {
        return None;
    }
    let mut size = 1
        + varlong_size(timestamp_delta)
        + varint_size(offset_delta)
        + key.map_or(1, |key| varint_size(key.len() as i32))
        + key_len
        + value.map_or(1, |value| varint_size(value.len() as i32))
        + value_len
        + varint_size(header_count as i32);
    if header_count > 0 {
        for header in headers {
            let value_len = header.value.map_or(0, <[u8]>::len);
            if header.key.len() > MAX_BATCH_BYTES || value_len > MAX_BATCH_BYTES {
                return None;
            }
            size += varint_size(header.key.len() as i32) + header.key.len();
            size += header.value.map_or(1, |value| varint_size(value.len() as i32)) + value_len;
            if size > MAX_BATCH_BYTES {
                return None;
            }
        }
    }
    (size <= MAX_BATCH_BYTES).then_some(size)
}

/// Appends one record. `body` is what [`body_size`] said.
#[inline]
#[expect(clippy::too_many_arguments, reason = "the fields of a record, which a struct would only copy")]
pub(super) fn write_record<'h>(
    buffer: &mut Vec<u8>,
    body: usize,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    header_count: usize,
    headers: impl Iterator<Item = HeaderRef<'h>>,
) {
    buffer.reserve(MAX_VARINT + body);
    let mut prefix = [0; MAX_PREFIX];
    let mut at = put_varint(&mut prefix, body as i32);
    prefix[at] = 0; // Record attributes, unused by the format so far.
    at += 1;
    at += put_varlong(&mut prefix[at..], timestamp_delta);
    at += put_varint(&mut prefix[at..], offset_delta);
    at += put_varint(&mut prefix[at..], key.map_or(-1, |key| key.len() as i32));
    buffer.extend_from_slice(&prefix[..at]);
    buffer.extend_from_slice(key.unwrap_or_default());
    append_varint(buffer, value.map_or(-1, |value| value.len() as i32));
    buffer.extend_from_slice(value.unwrap_or_default());
    append_varint(buffer, header_count as i32);
    if header_count > 0 {
        for header in headers {
            append_varint(buffer, header.key.len() as i32);
            buffer.extend_from_slice(header.key);
            append_varint(buffer, header.value.map_or(-1, |value| value.len() as i32));
            buffer.extend_from_slice(header.value.unwrap_or_default());
        }
    }
}

#[inline]
fn append_varint(buffer: &mut Vec<u8>, value: i32) {
    let mut bytes = [0; MAX_VARINT];
    let len = put_varint(&mut bytes, value);
    buffer.extend_from_slice(&bytes[..len]);
}

/// Appends `record` with its deltas counted from `base_timestamp` and `base_offset`: how compaction writes a record that it keeps.
pub(super) fn append_kept(buffer: &mut Vec<u8>, record: &RecordRef<'_>, base_timestamp: i64, offset_delta: i32) {
    let timestamp_delta = record.timestamp.wrapping_sub(base_timestamp);
    let headers = record.headers;
    // A record that was read fits, but another base timestamp may lengthen it by some bytes; that stays far below the limit.
    let body = body_size(timestamp_delta, offset_delta, record.key, record.value, headers.len(), headers)
        .unwrap_or(MAX_BATCH_BYTES);
    write_record(buffer, body, timestamp_delta, offset_delta, record.key, record.value, headers.len(), headers);
}

/// Most bytes that a batch of this one record has before compression: what is compared with `max.request.size`.
pub fn record_size(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[HeaderRef<'_>]) -> usize {
    let headers: usize =
        headers.iter().map(|header| 2 * MAX_VARINT + header.key.len() + header.value.map_or(0, <[u8]>::len)).sum();
    let (key, value) = (key.map_or(0, <[u8]>::len), value.map_or(0, <[u8]>::len));
    HEADER_LEN + MAX_PREFIX + key + MAX_VARINT + value + MAX_VARINT + headers
}

/// The sequence number `records` after `sequence`; it starts again at 0 after the largest.
pub fn sequence_after(sequence: i32, records: i32) -> i32 {
    match sequence.checked_add(records) {
        Some(next) => next,
        None => records - (i32::MAX - sequence) - 1,
    }
}

/// What a producer puts on a batch before sending it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Producer id, or [`NO_PRODUCER_ID`].
    pub producer_id: i64,
    /// Producer epoch, or [`NO_PRODUCER_EPOCH`].
    pub producer_epoch: i16,
    /// Sequence number of the first record, or [`NO_SEQUENCE`].
    pub base_sequence: i32,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
}

impl Stamp {
    /// The stamp of a producer that is not idempotent.
    pub const NONE: Self = Self {
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        base_sequence: NO_SEQUENCE,
        transactional: false,
    };
}

/// A finished batch, not yet or already sent.
#[derive(Clone, Debug)]
pub struct EncodedBatch {
    bytes: Bytes,
    plain_len: usize,
    record_count: i32,
    /// Whether the checksum in `bytes` is that of its content.
    sealed: bool,
}

impl EncodedBatch {
    /// Takes over a batch as bytes, for example one that was stored.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let batch = Batch::parse(bytes)?;
        Ok(Self {
            plain_len: batch.bytes().len(),
            record_count: batch.header().record_count,
            bytes: batch.bytes().clone(),
            sealed: true,
        })
    }

    /// Puts a producer's id, epoch and sequence on the batch, over what was there.
    ///
    /// Free of copies as long as no handle given out by [`EncodedBatch::seal`] is alive; otherwise the bytes are copied once, because a request
    /// that is still being written must not change.
    pub fn stamp(&mut self, stamp: Stamp) {
        self.edit(|bytes| {
            bytes[PRODUCER_ID_AT..PRODUCER_ID_AT + 8].copy_from_slice(&stamp.producer_id.to_be_bytes());
            bytes[PRODUCER_EPOCH_AT..PRODUCER_EPOCH_AT + 2].copy_from_slice(&stamp.producer_epoch.to_be_bytes());
            bytes[BASE_SEQUENCE_AT..BASE_SEQUENCE_AT + 4].copy_from_slice(&stamp.base_sequence.to_be_bytes());
            let low = &mut bytes[ATTRIBUTES_AT + 1];
            *low = *low & !(TRANSACTIONAL_BIT as u8) | if stamp.transactional { TRANSACTIONAL_BIT as u8 } else { 0 };
        });
        self.sealed = false;
    }

    /// The batch as bytes to send, its checksum right. Cheap to call again.
    pub fn seal(&mut self) -> Bytes {
        if !self.sealed {
            self.edit(write_crc);
            self.sealed = true;
        }
        self.bytes.clone()
    }

    fn edit(&mut self, change: impl FnOnce(&mut [u8])) {
        let mut bytes = match std::mem::take(&mut self.bytes).try_into_mut() {
            Ok(bytes) => bytes,
            Err(shared) => bytes::BytesMut::from(&shared[..]),
        };
        change(&mut bytes);
        self.bytes = bytes.freeze();
    }

    /// Bytes of the batch, header included.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the batch has no records.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Records in the batch.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Bytes of the batch before it was compressed; with [`EncodedBatch::len`] this is the ratio to expect of the next one.
    pub fn plain_len(&self) -> usize {
        self.plain_len
    }

    /// The header as it stands; its checksum field means nothing before [`EncodedBatch::seal`].
    pub fn header(&self) -> BatchHeader {
        BatchHeader::read(&self.bytes).ok().flatten().expect("a batch that was built or parsed has a valid header")
    }

    /// Divides the records over two batches with the same compression: the answer to a broker that finds the batch too large.
    ///
    /// Both keep producer id, epoch and transaction; the second one's sequence goes on where the first one's ends.
    pub fn split(&mut self, level: Option<i32>, scratch: &mut Scratch) -> Result<(Self, Self), BatchError> {
        let header = self.header();
        if self.record_count < 2 {
            return Err(BatchError::Indivisible { records: self.record_count });
        }
        let batch = Batch::parse(self.seal())?;
        let records = batch.records(scratch)?;
        let options = BuilderOptions {
            compression: header.compression()?,
            level,
            target_bytes: MAX_BATCH_BYTES,
            expected_ratio: 1.0,
        };
        let half = self.record_count / 2;
        let (mut first, mut second) = (Builder::new(options.clone()), Builder::new(options));
        for (index, record) in (0..).zip(&records) {
            let part = if index < half { &mut first } else { &mut second };
            if !part.try_push_record(&record?) {
                return Err(BatchError::Malformed { offset: header.base_offset, what: "a record is too large" });
            }
        }
        let (mut first, mut second) = (first.finish()?, second.finish()?);
        let stamp = Stamp {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            transactional: header.is_transactional(),
        };
        first.stamp(stamp);
        let base_sequence =
            if stamp.base_sequence == NO_SEQUENCE { NO_SEQUENCE } else { sequence_after(stamp.base_sequence, half) };
        second.stamp(Stamp { base_sequence, ..stamp });
        Ok((first, second))
    }

    /// Gives the memory back for [`Builder::with_buffer`], if nobody else holds it.
    pub fn into_buffer(self) -> Option<Vec<u8>> {
        self.bytes.try_into_mut().ok().map(Vec::from)
    }
}
