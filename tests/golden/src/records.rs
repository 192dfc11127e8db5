//! Records in the notation: from it and back.

use crate::notation::{schema_and_value_from, schema_and_value_to, text_from, value_from, value_to};
use anyhow::{Context, Result, bail};
use kurier_api::data::{Map, Value};
use kurier_api::record::{Header, Record, SinkRecord, SourceRecord, TimestampType, TopicPartition};
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// A record of either kind.
#[derive(Clone, Debug)]
pub enum AnyRecord {
    /// What a source task read.
    Source(SourceRecord),
    /// What a sink task gets.
    Sink {
        /// The record.
        record: SinkRecord,
        /// Its offset where it was read.
        original_offset: i64,
    },
}

impl AnyRecord {
    /// What transforms see.
    pub fn record(&self) -> &Record {
        match self {
            Self::Source(source) => &source.record,
            Self::Sink { record, .. } => &record.record,
        }
    }

    /// What transforms change.
    pub fn record_mut(&mut self) -> &mut Record {
        match self {
            Self::Source(source) => &mut source.record,
            Self::Sink { record, .. } => &mut record.record,
        }
    }
}

fn number<T: TryFrom<i64>>(json: &Json) -> Result<Option<T>> {
    let n: i64 = match json {
        Json::Null => return Ok(None),
        Json::String(text) => text.parse()?,
        other => other.as_i64().with_context(|| format!("not a number: {other}"))?,
    };
    Ok(Some(T::try_from(n).map_err(|_| anyhow::anyhow!("{n} is out of range"))?))
}

fn map(json: &Json) -> Result<Option<Arc<Map>>> {
    Ok(match value_from(json, None)? {
        Value::Null => None,
        Value::Map(map) => Some(Arc::new(*map)),
        _ => bail!("not a map: {json}"),
    })
}

/// A record; none if it has no topic, for which our records have no place.
///
/// # Errors
/// If it breaks the notation.
pub fn record_from(json: &Json) -> Result<Option<AnyRecord>> {
    if json["topic"].is_null() {
        return Ok(None);
    }
    let topic: Arc<str> = text_from(&json["topic"])?.into();
    let headers = json["headers"]
        .as_array()
        .context("no headers")?
        .iter()
        .map(|header| Ok(Header { key: text_from(&header["key"])?.into(), value: schema_and_value_from(header)? }));
    let record = Record {
        topic: topic.clone(),
        partition: number(&json["partition"])?,
        key: schema_and_value_from(&json["key"])?,
        value: schema_and_value_from(&json["value"])?,
        timestamp: number(&json["timestamp"])?,
        headers: headers.collect::<Result<_>>()?,
        kafka_offset: number(&json["offset"])?,
    };
    Ok(Some(match text_from(&json["kind"])? {
        "source" => AnyRecord::Source(SourceRecord {
            source_partition: map(&json["sourcePartition"])?,
            source_offset: map(&json["sourceOffset"])?,
            record,
        }),
        "sink" => {
            let offset = number(&json["offset"])?.context("no offset")?;
            let partition = number(&json["originalPartition"])?.or(record.partition).context("no partition")?;
            let origin = match json["originalTopic"].as_str() {
                Some(original) => TopicPartition::new(original, partition),
                None => TopicPartition { topic, partition },
            };
            let timestamp_type = match text_from(&json["timestampType"])? {
                "NO_TIMESTAMP_TYPE" => TimestampType::NoTimestampType,
                "CREATE_TIME" => TimestampType::CreateTime,
                "LOG_APPEND_TIME" => TimestampType::LogAppendTime,
                other => bail!("unknown timestamp type {other}"),
            };
            AnyRecord::Sink {
                record: SinkRecord { record, offset, timestamp_type, origin },
                original_offset: number(&json["originalOffset"])?.unwrap_or(offset),
            }
        }
        other => bail!("unknown kind of record {other}"),
    }))
}

fn optional(map: Option<&Arc<Map>>) -> Json {
    map.map_or(Json::Null, |map| value_to(&Value::Map(Box::new((**map).clone())), None))
}

/// A record in the notation.
pub fn record_to(any: &AnyRecord) -> Json {
    let record = any.record();
    let headers = record.headers.iter().map(|header| {
        let mut json = schema_and_value_to(&header.value);
        json["key"] = header.key.as_str().into();
        json
    });
    let mut json = json!({
        "topic": &*record.topic,
        "partition": record.partition,
        "timestamp": record.timestamp.map(|ms| ms.to_string()),
        "key": schema_and_value_to(&record.key),
        "value": schema_and_value_to(&record.value),
        "headers": headers.collect::<Vec<_>>(),
    });
    match any {
        AnyRecord::Source(source) => {
            json["kind"] = "source".into();
            json["sourcePartition"] = optional(source.source_partition.as_ref());
            json["sourceOffset"] = optional(source.source_offset.as_ref());
        }
        AnyRecord::Sink { record: sink, original_offset } => {
            json["kind"] = "sink".into();
            json["offset"] = sink.offset.to_string().into();
            json["timestampType"] = match sink.timestamp_type {
                TimestampType::NoTimestampType => "NO_TIMESTAMP_TYPE",
                TimestampType::CreateTime => "CREATE_TIME",
                TimestampType::LogAppendTime => "LOG_APPEND_TIME",
            }
            .into();
            if sink.origin.topic != record.topic {
                json["originalTopic"] = (*sink.origin.topic).into();
            }
            if record.partition != Some(sink.origin.partition) {
                json["originalPartition"] = sink.origin.partition.into();
            }
            if *original_offset != sink.offset {
                json["originalOffset"] = original_offset.to_string().into();
            }
        }
    }
    json
}
