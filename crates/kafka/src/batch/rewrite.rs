//! What a log does to batches beyond storing them: full validation on the way in, removal of records when it compacts.

use bytes::Bytes;

use super::compression::compress;
use super::encode::append_kept;
use super::header::{COMPRESSION_BITS, DELETE_HORIZON_BIT};
use super::{
    Batch, BatchError, BatchHeader, Compression, HEADER_LEN, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, RecordRef,
    Scratch, TimestampType,
};

/// What is left of a batch after [`filter`].
#[derive(Clone, Debug)]
pub enum Filtered {
    /// All records were kept: store the batch as it was.
    Unchanged,
    /// Some were: the batch to store instead. It covers the same offsets.
    Rewritten(Bytes),
    /// None was. The log drops the batch, or stores [`empty_like`] where a producer's state hangs on it.
    Empty,
}

/// Checks a batch as a producer may send it, records included, and returns the largest timestamp of its records.
///
/// The batch must be whole and its checksum right ([`super::validate`]); beyond that, its records must be there in the number the header says,
/// readable, and with consecutive offsets from 0.
pub fn validate_records(batch: &Batch, scratch: &mut Scratch) -> Result<i64, BatchError> {
    let header = batch.header();
    let malformed = |what| BatchError::Malformed { offset: header.base_offset, what };
    if header.record_count == 0 {
        return Err(malformed("it has no records"));
    }
    if header.last_offset_delta != header.record_count - 1 {
        return Err(malformed("its last offset does not agree with its record count"));
    }
    let records = batch.records(scratch)?;
    let mut max_timestamp = -1;
    for (index, record) in (0i64..).zip(&records) {
        let record = record?;
        if record.offset - header.base_offset != index {
            return Err(malformed("its records' offsets are not consecutive"));
        }
        max_timestamp = max_timestamp.max(record.timestamp);
    }
    Ok(max_timestamp)
}

/// The same records in another compression: offsets, timestamps, producer and sequence stay. `level` is `None` for the compression's own.
///
/// For a log whose topic says how its records are compressed. Nothing is checked beyond what decompression needs; [`validate_records`] comes
/// first.
pub fn recompress(
    batch: &Batch,
    scratch: &mut Scratch,
    compression: Compression,
    level: Option<i32>,
) -> Result<Bytes, BatchError> {
    let records = batch.records(scratch)?;
    let mut header = batch.header().clone();
    header.attributes = header.attributes & !COMPRESSION_BITS | i16::from(compression.id());
    let mut rewritten = vec![0; HEADER_LEN];
    compress(compression, level, records.data(), &mut rewritten)
        .map_err(|error| BatchError::Compress { compression, reason: error.to_string() })?;
    if rewritten.len() > i32::MAX as usize {
        return Err(BatchError::TooLarge { offset: header.base_offset, limit: i32::MAX as usize });
    }
    header.write_over(&mut rewritten);
    Ok(Bytes::from(rewritten))
}

/// Keeps the records that `keep` says, with their offsets, timestamps and headers; the batch keeps its offsets, producer and compression.
///
/// `delete_horizon_ms` notes in the batch from when on its tombstones may be removed; it is only set where none is yet.
pub fn filter(
    batch: &Batch,
    scratch: &mut Scratch,
    delete_horizon_ms: Option<i64>,
    mut keep: impl FnMut(&RecordRef<'_>) -> bool,
) -> Result<Filtered, BatchError> {
    let mut header = batch.header().clone();
    let compression = header.compression()?;
    let new_base = delete_horizon_ms.filter(|_| !header.has_delete_horizon());
    if let Some(horizon) = new_base {
        header.set_delete_horizon(horizon);
    }
    let append_time = header.timestamp_type() == TimestampType::LogAppendTime;
    let records = batch.records(scratch)?;
    let mut kept = Vec::with_capacity(HEADER_LEN + records.data().len());
    kept.resize(HEADER_LEN, 0);
    let (mut count, mut max_timestamp) = (0, i64::MIN);
    let mut iter = records.iter();
    while let Some(next) = iter.next_raw() {
        let (record, raw) = next?;
        if !keep(&record) {
            continue;
        }
        count += 1;
        max_timestamp = max_timestamp.max(record.timestamp);
        if new_base.is_some() {
            let offset_delta = (record.offset - header.base_offset) as i32;
            append_kept(&mut kept, &record, header.base_timestamp, offset_delta);
        } else {
            kept.extend_from_slice(raw);
        }
    }
    if count == 0 {
        return Ok(Filtered::Empty);
    }
    if count == header.record_count && new_base.is_none() {
        return Ok(Filtered::Unchanged);
    }
    header.record_count = count;
    if !append_time {
        header.max_timestamp = max_timestamp;
    }
    let mut rewritten = kept;
    if compression != Compression::None {
        let plain = rewritten;
        rewritten = vec![0; HEADER_LEN];
        compress(compression, None, &plain[HEADER_LEN..], &mut rewritten)
            .map_err(|error| BatchError::Compress { compression, reason: error.to_string() })?;
    }
    if rewritten.len() > i32::MAX as usize {
        return Err(BatchError::TooLarge { offset: header.base_offset, limit: i32::MAX as usize });
    }
    header.write_over(&mut rewritten);
    Ok(Filtered::Rewritten(Bytes::from(rewritten)))
}

/// The batch without its records: it keeps offsets and the producer's sequence, for a log that must not forget them.
pub fn empty_like(header: &BatchHeader) -> Bytes {
    let mut empty = vec![0; HEADER_LEN];
    let header = BatchHeader {
        record_count: 0,
        // No records, so no compression of them and nothing that could go later.
        attributes: header.attributes & !(COMPRESSION_BITS | DELETE_HORIZON_BIT),
        base_timestamp: header.max_timestamp,
        ..header.clone()
    };
    header.write_over(&mut empty);
    Bytes::from(empty)
}

/// A batch of no records and of no producer over the same offsets: for a log that must not forget how far it went.
pub fn placeholder_for(header: &BatchHeader) -> Bytes {
    empty_like(&BatchHeader {
        attributes: 0,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        base_sequence: NO_SEQUENCE,
        ..header.clone()
    })
}
