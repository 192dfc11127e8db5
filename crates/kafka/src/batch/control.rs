//! Control records: the markers that end a transaction, written by the broker and never shown to a reader.

use bytes::Bytes;

use super::header::attributes;
use super::{Builder, BuilderOptions, Compression, RecordRef};

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarkerKind {
    /// Its records count.
    Commit,
    /// Its records are to be skipped.
    Abort,
}

/// What a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRecord {
    /// The producer's transaction ended.
    EndTransaction {
        /// How.
        kind: MarkerKind,
        /// Epoch of the transaction coordinator that wrote the marker.
        coordinator_epoch: i32,
    },
    /// A kind that concerns no reader: KRaft's own records, or one of the future.
    Other(i16),
}

const ABORT: i16 = 0;
const COMMIT: i16 = 1;

impl ControlRecord {
    /// Reads a record of a control batch; `None` when it is malformed.
    pub fn read(record: &RecordRef<'_>) -> Option<Self> {
        let key = record.key?;
        let (_version, rest) = key.split_first_chunk::<2>()?;
        let kind = match i16::from_be_bytes(*rest.first_chunk::<2>()?) {
            ABORT => MarkerKind::Abort,
            COMMIT => MarkerKind::Commit,
            other => return Some(Self::Other(other)),
        };
        let (_version, rest) = record.value?.split_first_chunk::<2>()?;
        let coordinator_epoch = i32::from_be_bytes(*rest.first_chunk::<4>()?);
        Some(Self::EndTransaction { kind, coordinator_epoch })
    }
}

/// A whole control batch that ends the transaction of a producer. Its base offset is 0 until the log sets it.
pub fn encode_marker(
    producer_id: i64,
    producer_epoch: i16,
    kind: MarkerKind,
    coordinator_epoch: i32,
    timestamp_ms: i64,
) -> Bytes {
    let mut key = [0; 4];
    let id = match kind {
        MarkerKind::Abort => ABORT,
        MarkerKind::Commit => COMMIT,
    };
    key[2..].copy_from_slice(&id.to_be_bytes());
    let mut value = [0; 6];
    value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
    let mut builder = Builder::new(BuilderOptions { target_bytes: 0, ..BuilderOptions::default() });
    builder.set_attributes(attributes(Compression::None, true, true));
    let fits = builder.try_push(timestamp_ms, Some(&key), Some(&value), &[]);
    debug_assert!(fits, "the first record always fits");
    let mut batch = builder.finish_plain();
    batch.stamp(super::Stamp { producer_id, producer_epoch, base_sequence: super::NO_SEQUENCE, transactional: true });
    batch.seal()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Scratch};

    #[test]
    fn markers_come_back() {
        for kind in [MarkerKind::Commit, MarkerKind::Abort] {
            let batch = Batch::parse(encode_marker(77, 3, kind, 9, 1_234)).unwrap();
            let header = batch.header().clone();
            assert!(header.is_control() && header.is_transactional());
            assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (77, 3, -1));
            assert_eq!((header.record_count, header.max_timestamp), (1, 1_234));
            let records = batch.records(&mut Scratch::default()).unwrap();
            let record = records.iter().next().unwrap().unwrap();
            assert_eq!(
                ControlRecord::read(&record),
                Some(ControlRecord::EndTransaction { kind, coordinator_epoch: 9 })
            );
        }
    }
}
