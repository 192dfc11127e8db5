//! Records on their way to a topic, encoded one behind the other into one buffer.
//!
//! Who converts values writes their bytes straight in here; the producer copies them once, into the batch that is sent.

use std::sync::Arc;

/// A record's number, by which it is acknowledged. The producer's user gives them out.
pub type Ticket = u64;

/// Records on their way to Kafka, encoded: their bytes lie one behind the other in one buffer.
#[derive(Debug, Default)]
pub struct ProduceBatch {
    bytes: Vec<u8>,
    headers: Vec<HeaderParts>,
    records: Vec<RecordParts>,
    /// Each begins a run of records that go to it. Most batches have one, so that a record costs no count of references.
    topics: Vec<Arc<str>>,
}

/// A part of a batch's buffer, or null.
#[derive(Clone, Copy, Debug)]
struct Part {
    begin: usize,
    end: usize,
}

impl Part {
    /// No range ends before it begins, so it takes no more room than one.
    const NULL: Self = Self { begin: usize::MAX, end: 0 };

    #[inline]
    fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        bytes.get(self.begin..self.end)
    }
}

#[derive(Debug)]
struct HeaderParts {
    name: Part,
    value: Part,
}

#[derive(Debug)]
struct RecordParts {
    ticket: Ticket,
    timestamp: Option<i64>,
    key: Part,
    value: Part,
    /// Where the headers end; they begin where those of the record before end.
    headers_end: usize,
    topic: usize,
    partition: Option<i32>,
}

/// A record of a batch, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// What it is acknowledged by.
    pub ticket: Ticket,
    /// Where it goes.
    pub topic: &'a Arc<str>,
    /// The partition; none lets the partitioner choose.
    pub partition: Option<i32>,
    /// Milliseconds since the epoch; none is now.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    batch: &'a ProduceBatch,
    headers: (usize, usize),
}

impl<'a> Outgoing<'a> {
    /// The headers in order.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone + use<'a> {
        let batch = self.batch;
        batch.headers[self.headers.0..self.headers.1]
            .iter()
            .map(move |header| (header.name.of(&batch.bytes).unwrap_or_default(), header.value.of(&batch.bytes)))
    }
}

impl ProduceBatch {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of all keys, values and headers.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets all records and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.headers.clear();
        self.records.clear();
        self.topics.clear();
    }

    /// The records in order.
    pub fn iter(&self) -> impl Iterator<Item = Outgoing<'_>> {
        (0..).map_while(|at| self.get(at))
    }

    /// The record at a place.
    #[inline]
    pub fn get(&self, at: usize) -> Option<Outgoing<'_>> {
        let record = self.records.get(at)?;
        let headers_begin = match at.checked_sub(1) {
            Some(before) => self.records[before].headers_end,
            None => 0,
        };
        Some(Outgoing {
            ticket: record.ticket,
            topic: &self.topics[record.topic],
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key.of(&self.bytes),
            value: record.value.of(&self.bytes),
            batch: self,
            headers: (headers_begin, record.headers_end),
        })
    }

    /// Begins a record; what is written before [`Draft::finish`] is its own, and cut off again if that is never called.
    pub fn draft(&mut self) -> Draft<'_> {
        let (bytes, headers) = (self.bytes.len(), self.headers.len());
        Draft { batch: self, begin: (bytes, headers), key: Part::NULL, value: Part::NULL, finished: false }
    }
}

/// A record that is being written.
pub struct Draft<'a> {
    batch: &'a mut ProduceBatch,
    begin: (usize, usize),
    key: Part,
    value: Part,
    finished: bool,
}

/// Where a record of a batch goes.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The topic.
    pub topic: &'a Arc<str>,
    /// The partition; none lets the partitioner choose.
    pub partition: Option<i32>,
    /// Milliseconds since the epoch; none is now.
    pub timestamp: Option<i64>,
}

impl Draft<'_> {
    /// Adds a header. `write` appends the value's bytes and answers whether there is one.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn header<E>(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>) -> Result<(), E> {
        let begin = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(name.as_bytes());
        let name = Part { begin, end: self.batch.bytes.len() };
        let value = self.part(write)?;
        self.batch.headers.push(HeaderParts { name, value });
        Ok(())
    }

    /// Writes the key, as [`Self::header`] writes a value.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn key<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>) -> Result<(), E> {
        self.key = self.part(write)?;
        Ok(())
    }

    /// Writes the value, as [`Self::header`] does.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn value<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>) -> Result<(), E> {
        self.value = self.part(write)?;
        Ok(())
    }

    /// Makes it a record of the batch.
    #[inline]
    pub fn finish(mut self, ticket: Ticket, to: Destination<'_>) {
        self.finished = true;
        let Destination { topic, partition, timestamp } = to;
        let ProduceBatch { headers, records, topics, .. } = &mut *self.batch;
        if topics.last().is_none_or(|last| !Arc::ptr_eq(last, topic)) {
            topics.push(Arc::clone(topic));
        }
        let (topic, headers_end) = (topics.len() - 1, headers.len());
        let (key, value) = (self.key, self.value);
        records.push(RecordParts { ticket, timestamp, key, value, headers_end, topic, partition });
    }

    #[inline]
    fn part<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>) -> Result<Part, E> {
        let begin = self.batch.bytes.len();
        let is_there = write(&mut self.batch.bytes)?;
        if !is_there {
            self.batch.bytes.truncate(begin);
        }
        Ok(if is_there { Part { begin, end: self.batch.bytes.len() } } else { Part::NULL })
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.batch.bytes.truncate(self.begin.0);
            self.batch.headers.truncate(self.begin.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(text: &str) -> impl FnOnce(&mut Vec<u8>) -> Result<bool, ()> {
        move |bytes| {
            bytes.extend_from_slice(text.as_bytes());
            Ok(true)
        }
    }

    #[test]
    fn records_come_out_as_they_were_written() {
        let mut batch = ProduceBatch::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut draft = batch.draft();
        draft.header("h", write("1")).unwrap();
        draft
            .header("n", |bytes| {
                bytes.push(7);
                Ok::<_, ()>(false)
            })
            .unwrap();
        draft.key(write("key")).unwrap();
        draft.value(write("value")).unwrap();
        draft.finish(5, Destination { topic: &a, partition: Some(1), timestamp: None });
        let mut failed = batch.draft();
        failed.header("h", write("2")).unwrap();
        failed
            .value(|bytes| {
                bytes.push(1);
                Err(())
            })
            .unwrap_err();
        drop(failed);
        let mut draft = batch.draft();
        draft.value(write("")).unwrap();
        draft.finish(6, Destination { topic: &b, partition: Some(1), timestamp: None });
        let shown: Vec<_> =
            batch.iter().map(|r| (r.ticket, &**r.topic, r.key, r.value, r.headers().collect::<Vec<_>>())).collect();
        let headers: Vec<(&[u8], Option<&[u8]>)> = vec![(b"h", Some(b"1")), (b"n", None)];
        assert_eq!(
            shown,
            [(5, "a", Some(&b"key"[..]), Some(&b"value"[..]), headers), (6, "b", None, Some(&b""[..]), vec![])]
        );
        assert_eq!(batch.bytes(), "h1nkeyvalue".len());
        batch.clear();
        assert!(batch.is_empty());
    }
}
