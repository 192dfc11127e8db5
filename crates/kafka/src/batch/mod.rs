//! Record batches, format 2, as they lie on the wire and on disk.
//!
//! Decoding borrows: a fetched buffer is cut into [`Batches`], a [`Batch`] opens into [`Records`] (decompressed at most once, into a buffer
//! that is reused), and every [`RecordRef`] points into that buffer. Encoding writes each record in place into one buffer ([`Builder`]);
//! an [`EncodedBatch`] can be stamped again for a retry. The broker finds here what it does to batches it received ([`validate`],
//! [`set_base_offset`], [`filter`], [`encode_marker`]).
//!
//! Every length that comes from outside is checked before it is used, decompression stops at [`DECOMPRESSED_LIMIT`], and no input panics.
//!
//! Refused: message formats 0 and 1, which Kafka 4 brokers no longer serve; they end in an error that names the format. Nothing here does IO.
//! Read on in `decode` for the way in, in `encode` for the way out.

mod compression;
mod control;
mod decode;
mod encode;
mod header;
mod rewrite;
mod varint;

#[cfg(test)]
mod tests;

pub use compression::{Compression, DECOMPRESSED_LIMIT, Scratch};
pub use control::{ControlRecord, MarkerKind, encode_marker};
pub use decode::{Batch, Batches, HeaderRef, Headers, RecordIter, RecordRef, Records};
pub use encode::{Builder, BuilderOptions, EncodedBatch, Stamp, record_size, sequence_after};
pub use header::{
    BatchHeader, Frames, HEADER_LEN, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, TimestampType, set_base_offset,
    set_create_time, set_leader_epoch, set_log_append_time, set_max_timestamp, validate,
};
pub use rewrite::{Filtered, empty_like, filter, placeholder_for, recompress, validate_records};

/// Why bytes are not a record batch, or a batch cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Written in message format 0 or 1, before Kafka 0.11.
    #[error("record batch at offset {offset} has message format {magic}; only format 2 (Kafka 0.11 and later) is read")]
    OldFormat {
        /// Base offset that the batch claims.
        offset: i64,
        /// Message format found.
        magic: i8,
    },
    /// A message format that does not exist yet.
    #[error("record batch at offset {offset} has unknown message format {magic}")]
    UnknownFormat {
        /// Base offset that the batch claims.
        offset: i64,
        /// Message format found.
        magic: i8,
    },
    /// The checksum does not match the content.
    #[error(
        "record batch at offset {offset} is corrupt: its checksum is {stored:#010x}, its content has {computed:#010x}"
    )]
    Checksum {
        /// Base offset that the batch claims.
        offset: i64,
        /// Checksum in the header.
        stored: u32,
        /// Checksum of the bytes.
        computed: u32,
    },
    /// The bytes end before the batch does.
    #[error("record batch needs {needed} bytes but only {available} are there")]
    Incomplete {
        /// Bytes the batch needs, header included.
        needed: usize,
        /// Bytes given.
        available: usize,
    },
    /// A length, count or delta contradicts the rest.
    #[error("record batch at offset {offset} is malformed: {what}")]
    Malformed {
        /// Base offset that the batch claims.
        offset: i64,
        /// The contradiction.
        what: &'static str,
    },
    /// Compression attribute 5, 6 or 7.
    #[error("record batch at offset {offset} names unknown compression {id}")]
    UnknownCompression {
        /// Base offset that the batch claims.
        offset: i64,
        /// The number in the attributes.
        id: u8,
    },
    /// The compressed records do not decompress.
    #[error("record batch at offset {offset} does not decompress as {compression}: {reason}")]
    Decompression {
        /// Base offset that the batch claims.
        offset: i64,
        /// Compression that the attributes name.
        compression: Compression,
        /// What the decompressor says.
        reason: String,
    },
    /// The records would decompress to more than the limit.
    #[error("record batch at offset {offset} decompresses to more than {limit} bytes")]
    TooLarge {
        /// Base offset that the batch claims.
        offset: i64,
        /// The limit in force.
        limit: usize,
    },
    /// A batch of one record cannot be split.
    #[error("a record batch of {records} record(s) cannot be split")]
    Indivisible {
        /// Records in the batch.
        records: i32,
    },
    /// The compressor failed.
    #[error("records cannot be compressed as {compression}: {reason}")]
    Compress {
        /// Compression asked for.
        compression: Compression,
        /// What the compressor says.
        reason: String,
    },
}
