//! The 61 bytes before the records, and what may be changed in them without touching a record.
//!
//! Base offset and leader epoch lie before the checksum's range, so a broker sets them for free; everything else costs a new checksum.

use super::{BatchError, Compression};

/// Bytes of a batch before its first record.
pub const HEADER_LEN: usize = 61;
/// Bytes before the part that the length field counts.
pub(super) const LENGTH_PREFIX: usize = 12;
/// Producer id of a batch without one.
pub const NO_PRODUCER_ID: i64 = -1;
/// Producer epoch of a batch without a producer id.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// Base sequence of a batch without a producer id.
pub const NO_SEQUENCE: i32 = -1;

const MAGIC: i8 = 2;
const LENGTH_AT: usize = 8;
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
pub(super) const CRC_AT: usize = 17;
pub(super) const ATTRIBUTES_AT: usize = 21;
pub(super) const LAST_OFFSET_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
pub(super) const PRODUCER_ID_AT: usize = 43;
pub(super) const PRODUCER_EPOCH_AT: usize = 51;
pub(super) const BASE_SEQUENCE_AT: usize = 53;
pub(super) const COUNT_AT: usize = 57;

pub(super) const COMPRESSION_BITS: i16 = 0x07;
const LOG_APPEND_TIME_BIT: i16 = 0x08;
pub(super) const TRANSACTIONAL_BIT: i16 = 0x10;
pub(super) const CONTROL_BIT: i16 = 0x20;
pub(super) const DELETE_HORIZON_BIT: i16 = 0x40;

/// Whose clock a record's timestamp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// Given by the producer.
    CreateTime,
    /// Set by the broker when it appended the batch; one for all records.
    LogAppendTime,
}

/// A batch's header, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset that the records' deltas count from.
    pub base_offset: i64,
    /// Bytes of the whole batch, header and length field included.
    pub size: usize,
    /// Epoch of the leader that appended the batch, -1 before a broker has.
    pub leader_epoch: i32,
    /// Checksum as stored.
    pub crc: u32,
    /// The attribute bits as stored.
    pub attributes: i16,
    /// Delta of the last offset that the batch covers; compaction may have removed the record itself.
    pub last_offset_delta: i32,
    /// Timestamp that the records' deltas count from. With [`Self::has_delete_horizon`] it is that horizon.
    pub base_timestamp: i64,
    /// Largest timestamp, or the append time.
    pub max_timestamp: i64,
    /// Producer id, or [`NO_PRODUCER_ID`].
    pub producer_id: i64,
    /// Producer epoch, or [`NO_PRODUCER_EPOCH`].
    pub producer_epoch: i16,
    /// Sequence number of the first record, or [`NO_SEQUENCE`].
    pub base_sequence: i32,
    /// Records in the batch.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header of the batch that starts `bytes`, which need not hold the whole batch.
    ///
    /// `Ok(None)` means that even the header is cut off. The checksum is not looked at.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, BatchError> {
        if bytes.len() <= MAGIC_AT {
            return Ok(None);
        }
        let base_offset = i64_at(bytes, 0);
        let magic = bytes[MAGIC_AT] as i8;
        // Formats 0 and 1 have their magic at the same place, and shorter headers.
        match magic {
            0 | 1 => return Err(BatchError::OldFormat { offset: base_offset, magic }),
            MAGIC => {}
            _ => return Err(BatchError::UnknownFormat { offset: base_offset, magic }),
        }
        let length = i32_at(bytes, LENGTH_AT);
        let malformed = |what| BatchError::Malformed { offset: base_offset, what };
        let size = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(LENGTH_PREFIX))
            .filter(|size| *size >= HEADER_LEN)
            .ok_or_else(|| malformed("its length is smaller than a header"))?;
        if bytes.len() < HEADER_LEN {
            return Ok(None);
        }
        let header = Self {
            base_offset,
            size,
            leader_epoch: i32_at(bytes, LEADER_EPOCH_AT),
            crc: i32_at(bytes, CRC_AT) as u32,
            attributes: i16_at(bytes, ATTRIBUTES_AT),
            last_offset_delta: i32_at(bytes, LAST_OFFSET_DELTA_AT),
            base_timestamp: i64_at(bytes, BASE_TIMESTAMP_AT),
            max_timestamp: i64_at(bytes, MAX_TIMESTAMP_AT),
            producer_id: i64_at(bytes, PRODUCER_ID_AT),
            producer_epoch: i16_at(bytes, PRODUCER_EPOCH_AT),
            base_sequence: i32_at(bytes, BASE_SEQUENCE_AT),
            record_count: i32_at(bytes, COUNT_AT),
        };
        if header.base_offset < 0 {
            return Err(malformed("its base offset is negative"));
        }
        if header.last_offset_delta < 0
            || header.base_offset.checked_add(i64::from(header.last_offset_delta) + 1).is_none()
        {
            return Err(malformed("its last offset is out of range"));
        }
        if header.record_count < 0 {
            return Err(malformed("its record count is negative"));
        }
        Ok(Some(header))
    }

    /// Offset of the last record that the batch covers.
    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// Offset after the batch: where a reader goes on.
    pub fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    /// Sequence number of the last record, or [`NO_SEQUENCE`].
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            NO_SEQUENCE
        } else {
            super::sequence_after(self.base_sequence, self.last_offset_delta)
        }
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        let id = (self.attributes & COMPRESSION_BITS) as u8;
        Compression::from_id(id).ok_or(BatchError::UnknownCompression { offset: self.base_offset, id })
    }

    /// Whose clock the timestamps are.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME_BIT != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether the batch holds a control record, which is never shown to a reader.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Whether compaction has put the time at which tombstones may go into [`Self::base_timestamp`].
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON_BIT != 0
    }

    /// Whether a producer id is set.
    pub fn has_producer(&self) -> bool {
        self.producer_id != NO_PRODUCER_ID
    }

    /// Says that [`Self::base_timestamp`] is a delete horizon.
    pub(super) fn set_delete_horizon(&mut self, horizon_ms: i64) {
        self.attributes |= DELETE_HORIZON_BIT;
        self.base_timestamp = horizon_ms;
    }

    /// Writes the header over the first [`HEADER_LEN`] bytes of `batch`, taking the size from it, and sets the checksum.
    pub(super) fn write_over(&self, batch: &mut [u8]) {
        self.write_unsealed(batch);
        write_crc(batch);
    }

    /// Like [`Self::write_over`], but leaves the checksum to be set later.
    pub(super) fn write_unsealed(&self, batch: &mut [u8]) {
        batch[..8].copy_from_slice(&self.base_offset.to_be_bytes());
        let length = (batch.len() - LENGTH_PREFIX) as i32;
        batch[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
        batch[LEADER_EPOCH_AT..LEADER_EPOCH_AT + 4].copy_from_slice(&self.leader_epoch.to_be_bytes());
        batch[MAGIC_AT] = MAGIC as u8;
        batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&self.attributes.to_be_bytes());
        batch[LAST_OFFSET_DELTA_AT..LAST_OFFSET_DELTA_AT + 4].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        batch[BASE_TIMESTAMP_AT..BASE_TIMESTAMP_AT + 8].copy_from_slice(&self.base_timestamp.to_be_bytes());
        batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&self.max_timestamp.to_be_bytes());
        batch[PRODUCER_ID_AT..PRODUCER_ID_AT + 8].copy_from_slice(&self.producer_id.to_be_bytes());
        batch[PRODUCER_EPOCH_AT..PRODUCER_EPOCH_AT + 2].copy_from_slice(&self.producer_epoch.to_be_bytes());
        batch[BASE_SEQUENCE_AT..BASE_SEQUENCE_AT + 4].copy_from_slice(&self.base_sequence.to_be_bytes());
        batch[COUNT_AT..COUNT_AT + 4].copy_from_slice(&self.record_count.to_be_bytes());
    }

    /// A header of nothing, to be filled in.
    pub(super) fn blank(attributes: i16) -> Self {
        Self {
            base_offset: 0,
            size: HEADER_LEN,
            leader_epoch: -1,
            crc: 0,
            attributes,
            last_offset_delta: 0,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            record_count: 0,
        }
    }
}

/// Attribute bits for a new batch.
pub(super) fn attributes(compression: Compression, transactional: bool, control: bool) -> i16 {
    let mut bits = i16::from(compression.id());
    if transactional {
        bits |= TRANSACTIONAL_BIT;
    }
    if control {
        bits |= CONTROL_BIT;
    }
    bits
}

/// Checks the batch that starts `bytes` as far as it can be checked without opening its records: it is complete, of format 2, its
/// checksum is right. Bytes after the batch are not looked at; [`BatchHeader::size`] says where they begin.
pub fn validate(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header =
        BatchHeader::read(bytes)?.ok_or(BatchError::Incomplete { needed: HEADER_LEN, available: bytes.len() })?;
    let batch =
        bytes.get(..header.size).ok_or(BatchError::Incomplete { needed: header.size, available: bytes.len() })?;
    check_crc(&header, batch)?;
    header.compression()?;
    Ok(header)
}

/// Compares the stored checksum with that of `batch`, which must be one whole batch.
pub(super) fn check_crc(header: &BatchHeader, batch: &[u8]) -> Result<(), BatchError> {
    let computed = crc_fast::crc32_iscsi(&batch[ATTRIBUTES_AT..]);
    if computed == header.crc {
        Ok(())
    } else {
        Err(BatchError::Checksum { offset: header.base_offset, stored: header.crc, computed })
    }
}

/// Sets the base offset of a whole batch. The checksum does not cover it.
///
/// # Panics
/// If `batch` is shorter than a header; [`validate`] comes first.
pub fn set_base_offset(batch: &mut [u8], base_offset: i64) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
}

/// Sets the leader epoch of a whole batch. The checksum does not cover it.
///
/// # Panics
/// If `batch` is shorter than a header; [`validate`] comes first.
pub fn set_leader_epoch(batch: &mut [u8], leader_epoch: i32) {
    batch[LEADER_EPOCH_AT..LEADER_EPOCH_AT + 4].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Gives all records of a whole batch the broker's timestamp, and a new checksum. `batch` must end where the batch ends.
///
/// # Panics
/// If `batch` is shorter than a header; [`validate`] comes first.
pub fn set_log_append_time(batch: &mut [u8], timestamp_ms: i64) {
    let attributes = i16_at(batch, ATTRIBUTES_AT) | LOG_APPEND_TIME_BIT;
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
    set_max_timestamp(batch, timestamp_ms);
}

/// Lets the records of a whole batch keep their own timestamps, and gives it a new checksum. `batch` must end where the batch ends.
///
/// # Panics
/// If `batch` is shorter than a header; [`validate`] comes first.
pub fn set_create_time(batch: &mut [u8]) {
    let attributes = i16_at(batch, ATTRIBUTES_AT) & !LOG_APPEND_TIME_BIT;
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
    write_crc(batch);
}

/// Sets the largest timestamp of a whole batch, and a new checksum. `batch` must end where the batch ends.
///
/// # Panics
/// If `batch` is shorter than a header; [`validate`] comes first.
pub fn set_max_timestamp(batch: &mut [u8], timestamp_ms: i64) {
    batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&timestamp_ms.to_be_bytes());
    write_crc(batch);
}

/// Computes and stores the checksum of a whole batch.
pub(super) fn write_crc(batch: &mut [u8]) {
    let crc = crc_fast::crc32_iscsi(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
}

/// The whole batches in borrowed bytes, one after the other, headers only: for a log that looks for a place in a segment.
///
/// A partial batch at the end is not given; [`Frames::position`] then stays before it. Checksums are not checked.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl<'a> Frames<'a> {
    /// Starts at the first byte, where a batch must begin.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, failed: false }
    }

    /// Bytes passed so far: the end of the last batch given.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<(BatchHeader, &'a [u8]), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let rest = &self.bytes[self.position..];
        match BatchHeader::read(rest) {
            Ok(header) => {
                let header = header?;
                let batch = rest.get(..header.size)?;
                self.position += header.size;
                Some(Ok((header, batch)))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(bytes[at..at + 2].try_into().expect("the slice has two bytes"))
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("the slice has four bytes"))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().expect("the slice has eight bytes"))
}
