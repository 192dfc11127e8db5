//! Records on their way between a connector and Kafka.

use crate::data::{Map, SchemaAndValue, SchemaRef, Text, Type, Value, logical};
use crate::error::ConnectError;
use std::fmt;
use std::sync::Arc;

/// What source and sink records share and what transforms change. Counterpart of Java's `ConnectRecord`.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The topic it goes to or comes from.
    pub topic: Arc<str>,
    /// The partition; none lets the partitioner choose.
    pub partition: Option<i32>,
    /// The key with its schema.
    pub key: SchemaAndValue,
    /// The value with its schema.
    pub value: SchemaAndValue,
    /// Milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// The headers in order.
    pub headers: Headers,
    /// Its offset in Kafka if it was read from there, for transforms to look at; none on its way to Kafka.
    pub kafka_offset: Option<i64>,
}

impl Record {
    /// A record with a value only.
    pub fn new(topic: Arc<str>, value: SchemaAndValue) -> Self {
        Self {
            topic,
            partition: None,
            key: SchemaAndValue::NULL,
            value,
            timestamp: None,
            headers: Headers::default(),
            kafka_offset: None,
        }
    }
}

/// Java's `ConnectRecord.toString()`.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, key, value, timestamp, headers, .. } = self;
        write!(
            f,
            "ConnectRecord{{topic='{topic}', kafkaPartition={}, key={}, keySchema={}, value={}, valueSchema={}, timestamp={}, \
             headers=ConnectHeaders(headers=",
            or_null(partition.as_ref()),
            key.value,
            or_null(key.schema.as_ref()),
            value.value,
            or_null(value.schema.as_ref()),
            or_null(timestamp.as_ref()),
        )?;
        for (i, Header { key, value }) in headers.iter().enumerate() {
            let separator = if i == 0 { "[" } else { ", " };
            let schema = or_null(value.schema.as_ref());
            write!(f, "{separator}ConnectHeader(key={key}, value={}, schema={schema})", value.value)?;
        }
        f.write_str(if headers.is_empty() { ")}" } else { "])}" })
    }
}

fn or_null<T: fmt::Display>(part: Option<&T>) -> &dyn fmt::Display {
    part.map_or(&"null", |part| part)
}

/// One header.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Its name.
    pub key: Text,
    /// Its value with its schema.
    pub value: SchemaAndValue,
}

/// Headers in order; names may repeat. Counterpart of Java's `ConnectHeaders`. Empty headers take no memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headers(Vec<Header>);

impl Headers {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Header> {
        self.0.iter()
    }

    /// All in order, to be changed in place.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Header> {
        self.0.iter_mut()
    }

    /// Adds a header at the end, unchecked.
    pub fn add(&mut self, key: impl AsRef<str>, value: SchemaAndValue) {
        self.0.push(Header { key: Text::new(key), value });
    }

    /// Adds a header at the end after Java's check of value and schema.
    ///
    /// # Errors
    /// `DataException` if the value's class is not one of the schema's type, or null is not a value.
    pub fn add_checked(&mut self, key: impl AsRef<str>, value: SchemaAndValue) -> Result<(), ConnectError> {
        if let Some(schema) = &value.schema {
            if value.value.is_null() {
                if !schema.is_optional() {
                    return Err(ConnectError::data(format!(
                        "A null value requires an optional schema but was {schema}"
                    )));
                }
            } else if !accepts_header(schema, &value.value) {
                return Err(ConnectError::data(format!(
                    "The value {} is not compatible with the schema {schema}",
                    value.value
                )));
            }
        }
        self.add(key, value);
        Ok(())
    }

    /// Keeps the last header of every name.
    pub fn retain_latest(&mut self) {
        let mut seen = std::collections::HashSet::new();
        let mut keep: Vec<bool> = self.0.iter().rev().map(|h| seen.insert(h.key.clone())).collect();
        self.0.retain(|_| keep.pop().expect("there is a decision for every header"));
    }

    /// Keeps the last header of this name, and all of other names.
    pub fn retain_latest_with_name(&mut self, key: &str) {
        let last = self.0.iter().rposition(|h| h.key == key);
        let mut at = 0;
        self.0.retain(|h| {
            at += 1;
            h.key != key || last == Some(at - 1)
        });
    }

    /// Removes all headers of this name.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|h| h.key != key);
    }

    /// Removes all headers.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The last header of this name.
    pub fn last_with_name(&self, key: &str) -> Option<&Header> {
        self.0.iter().rev().find(|h| h.key == key)
    }

    /// All headers of this name, in order.
    pub fn all_with_name<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Header> {
        self.0.iter().filter(move |h| h.key == key)
    }

    /// Keeps the headers that the predicate accepts.
    pub fn retain(&mut self, keep: impl FnMut(&Header) -> bool) {
        self.0.retain(keep);
    }
}

/// What `ConnectHeaders.checkSchemaMatches` takes; logical names widen the classes of their base type.
fn accepts_header(schema: &SchemaRef, value: &Value) -> bool {
    match (schema.kind(), value) {
        (Type::Bytes, Value::Decimal(_)) => schema.name() == Some(logical::DECIMAL),
        (Type::Int32, Value::Date(_)) => matches!(schema.name(), Some(logical::DATE | logical::TIME)),
        (Type::Int64, Value::Date(_)) => schema.name() == Some(logical::TIMESTAMP),
        (kind, value) => value.schema_type() == Some(kind),
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        Self(headers.into_iter().collect())
    }
}

/// Names one share of an outside system: a file, a table. Shared by all records of the share; compared by structure.
pub type SourcePartition = Arc<Map>;

/// Where reading goes on after a record.
pub type SourceOffset = Arc<Map>;

/// A record that a source task read. Counterpart of Java's `SourceRecord`.
#[derive(Clone, Debug)]
pub struct SourceRecord {
    /// The share of the outside system; none if it tracks no offsets.
    pub source_partition: Option<SourcePartition>,
    /// Where reading goes on once this record is safe in Kafka.
    pub source_offset: Option<SourceOffset>,
    /// The record.
    pub record: Record,
}

/// Who set a record's timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// There is none.
    NoTimestampType,
    /// The producer.
    CreateTime,
    /// The broker.
    LogAppendTime,
}

impl TimestampType {
    /// Java's text: `CreateTime`.
    pub fn java_name(self) -> &'static str {
        match self {
            Self::NoTimestampType => "NoTimestampType",
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        }
    }
}

/// A record on its way to a sink task. Counterpart of Java's `SinkRecord`.
#[derive(Clone, Debug)]
pub struct SinkRecord {
    /// The record as the transforms left it.
    pub record: Record,
    /// Its offset in the partition it was read from.
    pub offset: i64,
    /// Who set its timestamp.
    pub timestamp_type: TimestampType,
    /// Where it was read, whatever transforms did to its topic and partition since.
    pub origin: TopicPartition,
}

/// A partition of a topic. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

impl TopicPartition {
    /// A partition of a topic.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl SourceRecord {
    /// A record without key, headers, partition and timestamp.
    pub fn new(
        partition: SourcePartition,
        offset: SourceOffset,
        topic: Arc<str>,
        schema: Option<SchemaRef>,
        value: Value,
    ) -> Self {
        Self {
            source_partition: Some(partition),
            source_offset: Some(offset),
            record: Record::new(topic, SchemaAndValue { schema, value }),
        }
    }
}
