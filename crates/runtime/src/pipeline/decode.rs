//! From fetched batches to the records that a sink task gets.
//!
//! Order as in Java: key, value, headers, then transforms. A record that a stage cannot take is left out and handed back with its failure; the
//! offsets of a batch are consumed all the same.

use super::control::{Activity, Control};
use super::stages::{Converters, Failures, Retries, Transforms};
use super::tolerance::{Failure, Judgement, Stage, Tolerance};
use kurier_api::data::{SchemaAndValue, Value};
use kurier_api::plugin::{Fate, Offsets};
use kurier_api::record::TimestampType;
use kurier_api::{ConnectError, Headers, Record, SinkRecord, TopicPartition};
use kurier_kafka::batch::{self, RecordRef, Scratch};
use kurier_kafka::consumer::FetchedBatch;

/// Converts and transforms for one sink task.
pub struct Decoder {
    converters: Converters,
    transforms: Transforms,
    tolerance: Tolerance,
    scratch: Scratch,
}

/// What became of the batches of one poll.
#[derive(Debug, Default)]
pub struct Decoded {
    /// For `put`.
    pub records: Vec<SinkRecord>,
    /// The next offset of every partition that the batches were of.
    pub positions: Offsets,
    /// Records given up, to be reported; the one that fails the task is the last.
    pub failed: Vec<FailedRecord>,
    /// How this life ends: then nothing is put.
    pub end: Option<LifeEnd>,
    /// Records read.
    pub read: u64,
    /// Records that transforms dropped.
    pub dropped: u64,
}

/// Why the records of a poll are not put.
#[derive(Clone, Debug, PartialEq)]
pub enum LifeEnd {
    /// The task fails with this.
    Failed(ConnectError),
    /// The task stops while a record was to be tried again. The next life meets the whole poll anew, also what failed in it: nothing is reported.
    Left,
}

/// A consumed record that a stage could not take, as it was consumed.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedRecord {
    /// The record.
    pub raw: RawRecord,
    /// What went wrong.
    pub failure: Failure,
}

/// A record as it lies in Kafka, copied.
#[derive(Clone, Debug, PartialEq)]
pub struct RawRecord {
    /// Where.
    pub origin: TopicPartition,
    /// Its offset there.
    pub offset: i64,
    /// Its timestamp; none if it has none.
    pub timestamp: Option<i64>,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Decoded {
    /// Leaves the whole poll to the next life.
    fn left(self) -> Self {
        Self { read: self.read, end: Some(LifeEnd::Left), ..Self::default() }
    }
}

impl Decoder {
    /// A decoder for one task.
    pub fn new(converters: Converters, transforms: Transforms, tolerance: Tolerance) -> Self {
        Self { converters, transforms, tolerance, scratch: Scratch::default() }
    }

    /// Converts and transforms what a poll brought.
    ///
    /// # Errors
    /// If a batch is corrupt.
    pub async fn decode(&mut self, batches: &[FetchedBatch], control: &Control) -> Result<Decoded, ConnectError> {
        let mut decoded = Decoded::default();
        control.enter(Activity::Converting);
        let room = batches.iter().map(FetchedBatch::max_records).sum();
        let mut taken = Taken::with_room(room, !self.transforms.is_empty());
        for batch in batches {
            let origin = TopicPartition::new(batch.partition().topic.clone(), batch.partition().partition);
            decoded.positions.insert(origin.clone(), batch.next_offset());
            let open = batch.open(&mut self.scratch).map_err(corrupt)?;
            for raw in &open {
                let raw = raw.map_err(corrupt)?;
                decoded.read += 1;
                let timestamp_type = timestamp_type(batch, &raw);
                let place = |origin: &TopicPartition| (raw.offset, timestamp_type, origin.clone());
                let failure = match self.convert(&origin, &raw) {
                    Ok(record) => {
                        taken.push(record, place(&origin));
                        continue;
                    }
                    Err(failure) => failure,
                };
                match self.convert_again(&origin, &raw, failure, control).await {
                    Ok(record) => taken.push(record, place(&origin)),
                    Err(failure) => {
                        let end = match self.tolerance.judge(&failure, control.is_stopping()) {
                            Judgement::GiveUp => None,
                            Judgement::FailTask(error) => Some(LifeEnd::Failed(error)),
                            Judgement::Leave => return Ok(decoded.left()),
                        };
                        let raw = RawRecord::copy(&origin, &raw, timestamp_type);
                        decoded.failed.push(FailedRecord { raw, failure });
                        if end.is_some() {
                            decoded.end = end;
                            return Ok(decoded);
                        }
                    }
                }
            }
        }
        let (mut records, places) = match taken {
            Taken::Done(records) => {
                decoded.records = records;
                return Ok(decoded);
            }
            Taken::ToTransform(records, places) => (records, places),
        };
        control.enter(Activity::Transforming);
        let mut fates: Vec<Fate> = Vec::new();
        fates.resize_with(records.len(), Fate::default);
        let mut failures = Failures::default();
        self.transforms.apply(&mut records, &mut fates, &self.tolerance, control, &mut failures).await;
        decoded.end = match failures.last {
            None => None,
            Some((_, Some(error))) => Some(LifeEnd::Failed(error)),
            Some((_, None)) => return Ok(decoded.left()),
        };
        failures.records.sort_by_key(|(at, _)| *at);
        decoded.dropped = fates.iter().filter(|fate| matches!(fate, Fate::Dropped)).count() as u64;
        decoded.dropped -= failures.records.len() as u64;
        for (at, failure) in failures.records {
            let (offset, timestamp_type, origin) = &places[at];
            let raw = self.find(batches, origin, *offset, *timestamp_type)?;
            decoded.failed.push(FailedRecord { raw, failure });
        }
        let live = records.into_iter().zip(places).zip(fates);
        decoded.records =
            live.filter(|(_, fate)| matches!(fate, Fate::Live)).map(|(pair, _)| sink_record(pair)).collect();
        Ok(decoded)
    }

    /// A consumed record as it lies in Kafka.
    fn find(
        &mut self,
        batches: &[FetchedBatch],
        origin: &TopicPartition,
        offset: i64,
        timestamp_type: TimestampType,
    ) -> Result<RawRecord, ConnectError> {
        find_raw(batches, origin, offset, &mut self.scratch)?.map(|raw| RawRecord { timestamp_type, ..raw }).ok_or_else(
            || ConnectError::connect(format!("the record at offset {offset} of {origin} is not where it was read")),
        )
    }

    fn convert(&mut self, origin: &TopicPartition, raw: &RecordRef<'_>) -> Result<Record, Failure> {
        let Converters { key, value, header } = &mut self.converters;
        let topic = &origin.topic;
        let raw_headers = raw_headers(raw);
        let failed = |stage, class: &std::borrow::Cow<'static, str>| {
            let class = class.clone();
            move |error| Failure { stage, class, error }
        };
        let record_key =
            key.1.to_connect_data(topic, &raw_headers, raw.key).map_err(failed(Stage::KeyConverter, &key.0))?;
        let record_value =
            value.1.to_connect_data(topic, &raw_headers, raw.value).map_err(failed(Stage::ValueConverter, &value.0))?;
        let mut headers = Headers::default();
        for one in raw.headers {
            let name = one.name();
            let value = header
                .1
                .to_connect_header(topic, &name, one.value)
                .map_err(failed(Stage::HeaderConverter, &header.0))?;
            headers.add(name, value);
        }
        Ok(Record {
            topic: topic.clone(),
            partition: Some(origin.partition),
            key: record_key,
            value: record_value,
            timestamp: Some(raw.timestamp).filter(|at| *at >= 0),
            headers,
            kafka_offset: Some(raw.offset),
        })
    }

    async fn convert_again(
        &mut self,
        origin: &TopicPartition,
        raw: &RecordRef<'_>,
        failure: Failure,
        control: &Control,
    ) -> Result<Record, Failure> {
        let mut retries = Retries::new(control);
        let mut failure = failure;
        while retries.again(&failure.error, &self.tolerance).await {
            match self.convert(origin, raw) {
                Ok(record) => return Ok(record),
                Err(next) => failure = next,
            }
        }
        Err(failure)
    }
}

impl RawRecord {
    fn copy(origin: &TopicPartition, raw: &RecordRef<'_>, timestamp_type: TimestampType) -> Self {
        Self {
            origin: origin.clone(),
            offset: raw.offset,
            timestamp: Some(raw.timestamp).filter(|at| *at >= 0),
            timestamp_type,
            key: raw.key.map(<[u8]>::to_vec),
            value: raw.value.map(<[u8]>::to_vec),
            headers: raw.headers.map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec))).collect(),
        }
    }
}

/// The record of this origin and offset in these batches, as it lies in Kafka.
///
/// # Errors
/// If a batch is corrupt.
pub fn find_raw(
    batches: &[FetchedBatch],
    origin: &TopicPartition,
    offset: i64,
    scratch: &mut Scratch,
) -> Result<Option<RawRecord>, ConnectError> {
    for batch in batches {
        let partition = batch.partition();
        let is_of_it = partition.partition == origin.partition && partition.topic == origin.topic;
        if !is_of_it || !(batch.from_offset()..batch.next_offset()).contains(&offset) {
            continue;
        }
        for raw in &batch.open(scratch).map_err(corrupt)? {
            let raw = raw.map_err(corrupt)?;
            if raw.offset == offset {
                return Ok(Some(RawRecord::copy(origin, &raw, timestamp_type(batch, &raw))));
            }
        }
    }
    Ok(None)
}

/// Where a record was read, which transforms cannot change.
type Place = (i64, TimestampType, TopicPartition);

/// The converted records of a poll. A record is big, so that it is moved only where transforms want records side by side.
enum Taken {
    Done(Vec<SinkRecord>),
    ToTransform(Vec<Record>, Vec<Place>),
}

impl Taken {
    fn with_room(room: usize, transforms: bool) -> Self {
        if transforms {
            Self::ToTransform(Vec::with_capacity(room), Vec::with_capacity(room))
        } else {
            Self::Done(Vec::with_capacity(room))
        }
    }

    fn push(&mut self, record: Record, place: Place) {
        match self {
            Self::Done(records) => records.push(sink_record((record, place))),
            Self::ToTransform(records, places) => {
                records.push(record);
                places.push(place);
            }
        }
    }
}

fn sink_record((record, (offset, timestamp_type, origin)): (Record, Place)) -> SinkRecord {
    SinkRecord { record, offset, timestamp_type, origin }
}

/// The headers of a record before they are converted: what a converter of keys and values may look at.
fn raw_headers(raw: &RecordRef<'_>) -> Headers {
    let mut headers = Headers::default();
    for header in raw.headers {
        let value = header.value.map_or(Value::Null, Value::bytes);
        headers.add(header.name(), SchemaAndValue { schema: None, value });
    }
    headers
}

fn timestamp_type(batch: &FetchedBatch, raw: &RecordRef<'_>) -> TimestampType {
    match batch.timestamp_type() {
        _ if raw.timestamp < 0 => TimestampType::NoTimestampType,
        batch::TimestampType::CreateTime => TimestampType::CreateTime,
        batch::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
    }
}

fn corrupt(error: kurier_kafka::consumer::ConsumerError) -> ConnectError {
    ConnectError::of_class("org.apache.kafka.common.KafkaException", error.to_string())
}
