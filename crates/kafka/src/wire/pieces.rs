//! A message whose record batches are not copied: an [`OutFrame`] is what was encoded, cut where batches go, and the batches themselves.
//!
//! The encoder of `kafka-protocol` writes into any buffer, and puts a byte field there by one `put_slice`. [`Encoding`] is such a buffer: a large slice that
//! is one of the batches that were announced is noted instead of copied. So no layout of any message is known here.
//!
//! # Unsafe
//! [`BufMut`] is an unsafe trait, because `bytes` trusts what `chunk_mut` and `remaining_mut` say. Every method that it asks for hands the call on to
//! `BytesMut`, which keeps those promises; what is our own, `put_slice`, only calls safe methods. There is no other way to be such a buffer.
#![expect(unsafe_code, reason = "BufMut is an unsafe trait; every call is handed on to BytesMut")]

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{FetchResponse, ProduceRequest};
use kafka_protocol::protocol::buf::ByteBufMut;

/// Smaller batches are copied: that is cheaper than another piece.
const LEAST_PIECE: usize = 4 << 10;

/// A frame on its way out, its length included. As a [`Buf`] it is written by vectors.
#[derive(Clone, Debug, Default)]
pub struct OutFrame {
    pieces: VecDeque<Bytes>,
    left: usize,
}

impl From<BytesMut> for OutFrame {
    /// A frame in one piece.
    fn from(frame: BytesMut) -> Self {
        Self { left: frame.len(), pieces: VecDeque::from([frame.freeze()]) }
    }
}

impl Buf for OutFrame {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.left, "{count} of {} bytes cannot be taken", self.left);
        self.left -= count;
        while count > 0 {
            let Some(front) = self.pieces.front_mut() else { return };
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.pieces.pop_front();
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }
}

/// The batches of a message, in the order in which they are encoded.
pub(super) trait Batches {
    fn batches(&self) -> VecDeque<Bytes>;
}

impl Batches for ProduceRequest {
    fn batches(&self) -> VecDeque<Bytes> {
        let partitions = self.topic_data.iter().flat_map(|topic| &topic.partition_data);
        partitions.filter_map(|partition| partition.records.clone()).collect()
    }
}

impl Batches for FetchResponse {
    fn batches(&self) -> VecDeque<Bytes> {
        let partitions = self.responses.iter().flat_map(|topic| &topic.partitions);
        partitions.filter_map(|partition| partition.records.clone()).collect()
    }
}

/// A message while it is encoded.
#[derive(Debug)]
pub(super) struct Encoding {
    /// All but the batches.
    plain: BytesMut,
    announced: VecDeque<Bytes>,
    /// Each batch, and how many plain bytes are before it.
    noted: Vec<(usize, Bytes)>,
}

impl Encoding {
    pub(super) fn new(message: &impl Batches) -> Self {
        let mut announced = message.batches();
        announced.retain(|batch| batch.len() >= LEAST_PIECE);
        Self { plain: BytesMut::with_capacity(256), announced, noted: Vec::new() }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.plain.len() + self.noted.iter().map(|(_, batch)| batch.len()).sum::<usize>()
    }

    /// The first bytes, to be written over.
    pub(super) fn head(&mut self, len: usize) -> &mut [u8] {
        &mut self.plain[..len]
    }

    pub(super) fn finish(self) -> OutFrame {
        let left = self.len();
        let (mut plain, mut done) = (self.plain.freeze(), 0);
        let mut pieces = VecDeque::with_capacity(2 * self.noted.len() + 1);
        for (at, batch) in self.noted {
            pieces.push_back(plain.split_to(at - done));
            pieces.push_back(batch);
            done = at;
        }
        pieces.push_back(plain);
        pieces.retain(|piece| !piece.is_empty());
        OutFrame { pieces, left }
    }
}

// SAFETY: every method that the trait asks for is that of `BytesMut`; `put_slice` calls only safe ones.
unsafe impl BufMut for Encoding {
    fn remaining_mut(&self) -> usize {
        self.plain.remaining_mut()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller's promise is about `chunk_mut`, which is that of the same buffer.
        unsafe { self.plain.advance_mut(count) }
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        self.plain.chunk_mut()
    }

    fn put_slice(&mut self, bytes: &[u8]) {
        match self.announced.front() {
            Some(batch) if std::ptr::eq(&**batch, bytes) => {
                let at = self.plain.len();
                self.noted.extend(self.announced.pop_front().map(|batch| (at, batch)));
            }
            _ => self.plain.extend_from_slice(bytes),
        }
    }
}

/// The encoder fills gaps that it left before; they lie between plain bytes.
impl ByteBufMut for Encoding {
    fn offset(&self) -> usize {
        self.plain.offset()
    }

    fn seek(&mut self, offset: usize) {
        self.plain.seek(offset);
    }

    fn range(&mut self, range: Range<usize>) -> &mut [u8] {
        self.plain.range(range)
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};

    use super::*;
    use crate::wire::{decode_request, decode_response_kind, encode_request_frame, encode_response_frame};

    fn batches() -> Vec<Option<Bytes>> {
        let sizes = [100, LEAST_PIECE, 70_000, 0, LEAST_PIECE - 1, 9_000];
        let batch = |size: usize| Some(Bytes::from((0..size).map(|n| n as u8).collect::<Vec<_>>()));
        sizes.into_iter().map(batch).chain([None]).collect()
    }

    fn written(mut frame: OutFrame, step: usize) -> Bytes {
        let mut all = Vec::new();
        while frame.has_remaining() {
            let len = frame.chunk().len().min(step);
            all.extend_from_slice(&frame.chunk()[..len]);
            frame.advance(len);
        }
        Bytes::from(all).slice(4..)
    }

    #[test]
    fn a_request_in_pieces_is_the_same_request() {
        let data =
            |(at, records): (i32, Option<Bytes>)| PartitionProduceData::default().with_index(at).with_records(records);
        let topic = |name: &'static str| {
            TopicProduceData::default()
                .with_name(kafka_protocol::protocol::StrBytes::from_static_str(name).into())
                .with_partition_data((0..).zip(batches()).map(data).collect())
        };
        let request = RequestKind::Produce(ProduceRequest::default().with_topic_data(vec![topic("a"), topic("b")]));
        for version in 3..=12 {
            let frame = encode_request_frame(Some(&"me".into()), 7, ApiKey::Produce, version, &request).unwrap();
            assert_eq!(frame.pieces.len(), 13, "six of the batches are pieces");
            for step in [1, 4_095, usize::MAX] {
                let decoded = decode_request(written(frame.clone(), step)).unwrap();
                assert_eq!((decoded.header.correlation_id, &decoded.body), (7, &request), "version {version}");
            }
        }
    }

    #[test]
    fn a_response_in_pieces_is_the_same_response() {
        let data = |(at, records): (i32, Option<Bytes>)| {
            PartitionData::default().with_partition_index(at).with_records(records)
        };
        let topic = FetchableTopicResponse::default().with_partitions((0..).zip(batches()).map(data).collect());
        let response = ResponseKind::Fetch(FetchResponse::default().with_responses(vec![topic]));
        for version in [4, 11, 12] {
            let frame = encode_response_frame(9, version, &response).unwrap();
            let mut slices = [IoSlice::new(&[]); 16];
            assert_eq!(frame.chunks_vectored(&mut slices), 7);
            assert_eq!(slices.iter().map(|slice| slice.len()).sum::<usize>(), frame.remaining());
            let decoded = decode_response_kind(ApiKey::Fetch, written(frame, 1 << 20), version).unwrap();
            let ResponseKind::Fetch(decoded) = decoded.1 else { panic!("it is a fetch") };
            let records: Vec<_> = decoded.responses[0].partitions.iter().map(|p| p.records.clone()).collect();
            assert_eq!(records, batches(), "version {version}");
        }
    }
}
