//! From fetched bytes to records, without a copy or an allocation per record.

use std::borrow::Cow;

use bytes::Bytes;

use super::header::check_crc;
use super::varint::Cursor;
use super::{BatchError, BatchHeader, Compression, HEADER_LEN, Scratch, TimestampType};

/// The batches in a fetched buffer, in order.
///
/// A partial batch at the end is no error: brokers cut where the size limit falls. After an error nothing more is given, because the place of
/// the next batch is unknown. The first batch may begin before the offset that was asked for; skipping is the caller's part.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    check_crc: bool,
}

impl Batches {
    /// Cuts `buffer`, which starts with a batch, and checks each checksum.
    pub fn new(buffer: Bytes) -> Self {
        Self { rest: buffer, check_crc: true }
    }

    /// Like [`Batches::new`] without looking at checksums: `check.crcs=false`.
    pub fn without_crc_check(buffer: Bytes) -> Self {
        Self { rest: buffer, check_crc: false }
    }

    /// Bytes not yet given; at the end, those of a partial batch.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let header = match BatchHeader::read(&self.rest) {
            Ok(header) => header?,
            Err(error) => {
                self.rest = Bytes::new();
                return Some(Err(error));
            }
        };
        if header.size > self.rest.len() {
            return None;
        }
        let bytes = self.rest.split_to(header.size);
        if self.check_crc
            && let Err(error) = check_crc(&header, &bytes)
        {
            self.rest = Bytes::new();
            return Some(Err(error));
        }
        Some(Ok(Batch { header, bytes }))
    }
}

/// One whole batch with its header read. Cheap to clone: the bytes are shared.
#[derive(Clone, Debug)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Takes `bytes` as exactly one batch and checks its checksum.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let header = super::validate(&bytes)?;
        if header.size != bytes.len() {
            return Err(BatchError::Malformed { offset: header.base_offset, what: "bytes follow it" });
        }
        Ok(Self { header, bytes })
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The batch as received, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Opens the records: a slice of this batch where they are not compressed, else decompressed into memory from `scratch`.
    pub fn records(&self, scratch: &mut Scratch) -> Result<Records, BatchError> {
        let data = match self.header.compression()? {
            Compression::None => self.bytes.slice(HEADER_LEN..),
            compression => scratch.decompress(self.header.base_offset, compression, &self.bytes[HEADER_LEN..])?,
        };
        Ok(Records { header: self.header.clone(), data })
    }
}

/// The records of one batch, decompressed. Owns its bytes; records borrow from it.
#[derive(Clone, Debug)]
pub struct Records {
    header: BatchHeader,
    data: Bytes,
}

impl Records {
    /// The batch's header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Bytes of all records.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The records in order.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter::new(&self.header, &self.data)
    }

    /// The records from `offset` on: what a fetch that asked for the middle of this batch wants.
    pub fn iter_from(&self, offset: i64) -> RecordIter<'_> {
        let mut iter = self.iter();
        let delta = offset.saturating_sub(self.header.base_offset);
        iter.from_delta = delta.clamp(0, i64::from(i32::MAX)) as i32;
        iter
    }

    /// Takes records off the front: those before offset `from`, and then up to `max` more. What is returned has the header of the whole batch but for
    /// the count; the rest stays here.
    ///
    /// A reader that may hand over only so many records at a time cuts a batch with it, in one walk over all parts together.
    pub fn split_front(&mut self, from: i64, max: usize) -> Result<Self, BatchError> {
        let mut iter = self.iter();
        let (mut walked, mut taken) = (0, 0);
        while taken < max {
            let Some(record) = iter.next() else { break };
            walked += 1;
            if record?.offset >= from {
                taken += 1;
            }
        }
        let len = self.data.len() - iter.cursor.remaining().len();
        let mut front = Self { header: self.header.clone(), data: self.data.split_to(len) };
        front.header.record_count = walked;
        self.header.record_count -= walked;
        Ok(front)
    }

    /// A shared handle of `part`, a key or value of one of these records, without a copy.
    ///
    /// It keeps the whole batch's memory alive.
    ///
    /// # Panics
    /// If `part` does not lie in these records.
    pub fn share(&self, part: &[u8]) -> Bytes {
        self.data.slice_ref(part)
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Result<RecordRef<'a>, BatchError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// A record where it lies.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970, -1 for none.
    pub timestamp: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
}

/// The headers of a record, in order, repeats kept.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    count: usize,
    /// Walked once when the record was read, so iteration cannot fail.
    cursor: Cursor<'a>,
}

impl Headers<'_> {
    /// No headers.
    pub const NONE: Headers<'static> = Headers { count: 0, cursor: Cursor::EMPTY };

    /// Number of headers.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = HeaderRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<HeaderRef<'a>> {
        if self.count == 0 {
            return None;
        }
        self.count -= 1;
        read_header(&mut self.cursor)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// A header of a record: borrowed, for reading and for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    /// The name, UTF-8 by convention. [`HeaderRef::name`] reads it as Java does.
    pub key: &'a [u8],
    /// The value, which may be null.
    pub value: Option<&'a [u8]>,
}

impl<'a> HeaderRef<'a> {
    /// The name as text; bytes that are not UTF-8 become replacement characters, as in Java.
    pub fn name(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key)
    }
}

fn read_header<'a>(cursor: &mut Cursor<'a>) -> Option<HeaderRef<'a>> {
    // A header without a name is refused, as in Java.
    let key = cursor.nullable()??;
    let value = cursor.nullable()?;
    Some(HeaderRef { key, value })
}

/// Reads the records of a batch one after the other. Stops after an error.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    cursor: Cursor<'a>,
    left: i32,
    from_delta: i32,
    base_offset: i64,
    last_delta: i32,
    base_timestamp: i64,
    append_time: Option<i64>,
    ended: bool,
}

impl<'a> RecordIter<'a> {
    fn new(header: &BatchHeader, data: &'a [u8]) -> Self {
        Self {
            cursor: Cursor::new(data),
            left: header.record_count,
            from_delta: 0,
            base_offset: header.base_offset,
            last_delta: header.last_offset_delta,
            base_timestamp: header.base_timestamp,
            append_time: (header.timestamp_type() == TimestampType::LogAppendTime).then_some(header.max_timestamp),
            ended: false,
        }
    }

    #[cold]
    fn fail<T>(&mut self, what: &'static str) -> Option<Result<T, BatchError>> {
        self.left = 0;
        self.ended = true;
        Some(Err(BatchError::Malformed { offset: self.base_offset, what }))
    }

    /// The next record together with its bytes, length field included: for copying records without reading them again.
    pub(super) fn next_raw(&mut self) -> Option<Result<(RecordRef<'a>, &'a [u8]), BatchError>> {
        let before = self.cursor.remaining();
        match self.next()? {
            Ok(record) => {
                let len = before.len() - self.cursor.remaining().len();
                Some(Ok((record, &before[..len])))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Reads a record's fields; `None` when they do not fill its length exactly.
    #[inline]
    fn read(&self, mut body: Cursor<'a>) -> Option<(i32, RecordRef<'a>)> {
        let _attributes = body.u8()?;
        let timestamp_delta = body.varlong()?;
        let offset_delta = body.varint()?;
        let key = body.nullable()?;
        let value = body.nullable()?;
        let count = body.varint()?;
        let headers = if count == 0 { Headers::NONE } else { check_headers(&mut body, count)? };
        if !body.is_empty() {
            return None;
        }
        let record = RecordRef {
            offset: self.base_offset.wrapping_add(i64::from(offset_delta)),
            timestamp: self.append_time.unwrap_or_else(|| self.base_timestamp.wrapping_add(timestamp_delta)),
            key,
            value,
            headers,
        };
        Some((offset_delta, record))
    }
}

#[inline(never)]
fn check_headers<'a>(body: &mut Cursor<'a>, count: i32) -> Option<Headers<'a>> {
    let count = usize::try_from(count).ok()?;
    let headers = Headers { count, cursor: *body };
    for _ in 0..count {
        read_header(body)?;
    }
    Some(headers)
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordRef<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.left == 0 {
                if !self.ended && !self.cursor.is_empty() {
                    return self.fail("bytes follow its last record");
                }
                return None;
            }
            let Some(body) = self.cursor.nullable().flatten() else {
                return self.fail("a record is longer than the batch");
            };
            let Some((delta, record)) = self.read(Cursor::new(body)) else {
                return self.fail("a record's fields do not fill its length");
            };
            if delta < 0 || delta > self.last_delta {
                return self.fail("a record's offset lies outside the batch");
            }
            self.left -= 1;
            if delta >= self.from_delta {
                return Some(Ok(record));
            }
        }
    }
}
