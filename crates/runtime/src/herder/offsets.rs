//! The committed offsets of connectors as operators see and change them (KIP-875): the worker's part of Java's `Worker.modifyConnectorOffsets`.
//!
//! Those of sources are in the [`OffsetStore`], those of sinks in a consumer group ([`SinkGroups`]). Whether they may be changed has been decided
//! before; here the change is read, shown to the connector's plugin, and made.

use super::pending::OffsetsChange;
use super::request::{ConnectorOffset, HerderError, RawConfig, Response};
use super::resolve::ConfigResolver;
use crate::pipeline::topics::TopicGroups;
use crate::registry::{ConnectorPlugin, Registry};
use crate::store::OffsetStore;
use crate::unit::ConnectorName;
use async_trait::async_trait;
use kurier_api::config::Props;
use kurier_api::data::{Map, Value};
use kurier_api::plugin::{Sink, Source};
use kurier_api::record::{SourceOffset, SourcePartition};
use kurier_api::{ConnectError, TopicPartition};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why the offsets of a consumer group could not be read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// There is no such group.
    #[error("the group does not exist")]
    NotFound,
    /// It still has members, or members that subscribe to the topic.
    #[error("the group is still in use")]
    InUse,
    /// An offset is negative: Java refuses it before it asks the broker.
    #[error("negative offset")]
    NegativeOffset,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// The consumer groups of sinks. `connector` are the connector's resolved settings, for its overrides of the admin client.
#[async_trait]
pub trait SinkGroups: Send + Sync {
    /// The committed offsets of a group; none if there is no such group.
    ///
    /// # Errors
    /// If the brokers cannot say.
    async fn list(&self, connector: &Props, group: &str) -> Result<BTreeMap<TopicPartition, i64>, GroupError>;

    /// Sets offsets.
    ///
    /// # Errors
    /// If one of them could not be set.
    async fn alter(
        &self,
        connector: &Props,
        group: &str,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), GroupError>;

    /// Forgets offsets.
    ///
    /// # Errors
    /// If one of them could not be forgotten.
    async fn forget(&self, connector: &Props, group: &str, partitions: &[TopicPartition]) -> Result<(), GroupError>;

    /// Deletes a group with its offsets.
    ///
    /// # Errors
    /// If it could not be deleted.
    async fn delete(&self, connector: &Props, group: &str) -> Result<(), GroupError>;
}

/// What reads and changes offsets.
pub(crate) struct Offsets {
    pub(crate) registry: Arc<Registry>,
    pub(crate) resolver: Arc<ConfigResolver>,
    pub(crate) sources: Arc<dyn OffsetStore>,
    pub(crate) sinks: Arc<dyn SinkGroups>,
}

/// A connector whose offsets are asked for.
struct Asked<'a> {
    name: &'a ConnectorName,
    props: Props,
    plugin: ConnectorPlugin,
}

impl Offsets {
    /// The committed offsets.
    pub(crate) async fn read(&self, name: &ConnectorName, raw: &Arc<RawConfig>) -> Result<Response, HerderError> {
        let asked = self.asked(name, raw).await?;
        let offsets = match &asked.plugin {
            ConnectorPlugin::Source(_) => {
                let offsets = self.sources.list(name).await.map_err(|error| {
                    failed(format!("Failed to retrieve offsets for source connector {name}"), &error)
                })?;
                offsets
                    .iter()
                    .map(|(partition, offset)| ConnectorOffset {
                        partition: map_json(partition),
                        offset: map_json(offset),
                    })
                    .collect()
            }
            ConnectorPlugin::Sink(_) => {
                let group = group_of(&asked);
                let offsets = self.sinks.list(&asked.props, &group).await.map_err(|error| {
                    failed(format!("Failed to retrieve consumer group offsets for sink connector {name}"), &error)
                })?;
                offsets.iter().map(|(partition, offset)| sink_offset(partition, *offset)).collect()
            }
        };
        Ok(Response::Offsets(offsets))
    }

    /// Changes committed offsets; answers with the sentence for the operator.
    pub(crate) async fn change(
        &self,
        name: &ConnectorName,
        raw: &Arc<RawConfig>,
        change: &OffsetsChange,
    ) -> Result<Response, HerderError> {
        let asked = self.asked(name, raw).await?;
        let external = match &asked.plugin {
            ConnectorPlugin::Source(source) => self.change_source(&asked, source.as_ref(), change).await?,
            ConnectorPlugin::Sink(sink) => self.change_sink(&asked, sink.as_ref(), change).await?,
        };
        let done = match change {
            OffsetsChange::Alter(_) => "altered",
            OffsetsChange::Reset => "reset",
        };
        Ok(Response::Message(if external {
            format!("The offsets for this connector have been {done} successfully")
        } else {
            format!(
                "The Connect framework-managed offsets for this connector have been {done} successfully. However, if this \
                 connector manages offsets externally, they will need to be manually {done} in the system that the \
                 connector uses."
            )
        }))
    }

    async fn asked<'a>(&self, name: &'a ConnectorName, raw: &Arc<RawConfig>) -> Result<Asked<'a>, HerderError> {
        let props = self.resolver.resolved(raw).await?.props()?;
        let plugin = self.registry.connector(props.get("connector.class").map_or("", String::as_str))?;
        if let ConnectorPlugin::Source(_) = plugin {
            TopicGroups::parse(&props)?; // Java reads the whole config of the connector, and stumbles over what is wrong with it.
        }
        Ok(Asked { name, props, plugin })
    }

    async fn change_source(
        &self,
        asked: &Asked<'_>,
        source: &dyn Source,
        change: &OffsetsChange,
    ) -> Result<bool, HerderError> {
        let name = asked.name;
        let wanted: Vec<(SourcePartition, Option<SourceOffset>)> = match change {
            OffsetsChange::Alter(offsets) => source_offsets(offsets)?,
            OffsetsChange::Reset => {
                let known =
                    self.sources.list(name).await.map_err(|error| {
                        failed(format!("Failed to modify offsets for source connector {name}"), &error)
                    })?;
                known.into_iter().map(|(partition, _)| (partition, None)).collect()
            }
        };
        let external = source
            .alter_offsets(&asked.props, &wanted)
            .await
            .map_err(|error| refused(error, &format!("Failed to modify offsets for source connector {name}")))?;
        if !wanted.is_empty() {
            let failed =
                |error: ConnectError| failed(format!("Failed to modify offsets for source connector {name}"), &error);
            self.sources.set(name, &wanted).await.map_err(failed)?;
        }
        Ok(external)
    }

    async fn change_sink(
        &self,
        asked: &Asked<'_>,
        sink: &dyn Sink,
        change: &OffsetsChange,
    ) -> Result<bool, HerderError> {
        let (name, group) = (asked.name, group_of(asked));
        let wanted: BTreeMap<TopicPartition, Option<i64>> = match change {
            OffsetsChange::Alter(offsets) => sink_offsets(offsets)?,
            OffsetsChange::Reset => {
                let known = self.sinks.list(&asked.props, &group).await.map_err(|error| {
                    failed(
                        format!("Failed to list offsets prior to resetting offsets for sink connector {name}"),
                        &error,
                    )
                })?;
                known.into_keys().map(|partition| (partition, None)).collect()
            }
        };
        let shown: Vec<_> = wanted.iter().map(|(partition, offset)| (partition.clone(), *offset)).collect();
        let external = sink
            .alter_offsets(&asked.props, &shown)
            .await
            .map_err(|error| refused(error, &format!("Failed to modify offsets for sink connector {name}")))?;
        match change {
            OffsetsChange::Alter(_) => {
                let mut set = BTreeMap::new();
                let mut forget = Vec::new();
                for (partition, offset) in wanted {
                    match offset {
                        Some(offset) => drop(set.insert(partition, offset)),
                        None => forget.push(partition),
                    }
                }
                if !set.is_empty() {
                    let result = self.sinks.alter(&asked.props, &group, &set).await;
                    result.map_err(|error| group_failed("alter", name, &error))?;
                }
                if !forget.is_empty() {
                    match self.sinks.forget(&asked.props, &group, &forget).await {
                        Ok(()) | Err(GroupError::NotFound) => {}
                        Err(error) => return Err(group_failed("alter", name, &error)),
                    }
                }
            }
            OffsetsChange::Reset => match self.sinks.delete(&asked.props, &group).await {
                Ok(()) | Err(GroupError::NotFound) => {}
                Err(error) => return Err(group_failed("reset", name, &error)),
            },
        }
        Ok(external)
    }
}

/// The consumer group of a sink.
fn group_of(asked: &Asked<'_>) -> String {
    let own = asked.props.get("consumer.override.group.id");
    own.cloned().unwrap_or_else(|| format!("connect-{}", asked.name))
}

/// A failure that is told in one sentence; the cause goes to the log, as in Java.
fn failed(message: String, cause: &dyn std::error::Error) -> HerderError {
    tracing::error!("{message}: {cause}");
    HerderError::internal(message)
}

/// What a connector says against a change is passed on if it says it in Connect's words.
fn refused(error: ConnectError, otherwise: &str) -> HerderError {
    if error.class() == "java.lang.UnsupportedOperationException" {
        let whose = otherwise.rsplit(' ').next().unwrap_or_default();
        return HerderError::internal(format!(
            "Failed to modify offsets for connector {whose} because it doesn't support external modification of offsets"
        ));
    }
    if error.class().starts_with("org.apache.kafka.connect.") {
        error.into()
    } else {
        failed(otherwise.to_owned(), &error)
    }
}

fn group_failed(verb: &str, name: &ConnectorName, error: &GroupError) -> HerderError {
    let message = match error {
        GroupError::InUse => format!(
            "Failed to {verb} consumer group offsets for connector {name} either because its tasks haven't stopped \
             completely yet or the connector was resumed before the request to {verb} its offsets could be successfully \
             completed. If the connector is in a stopped state, this operation can be safely retried. If it doesn't \
             eventually succeed, the Connect cluster may need to be restarted to get rid of the zombie sink tasks."
        ),
        GroupError::NegativeOffset => format!("Failed to modify offsets for sink connector {name}"),
        GroupError::NotFound | GroupError::Other(_) => {
            format!("Failed to {verb} consumer group offsets for connector {name}")
        }
    };
    failed(message, error)
}

fn sink_offset(partition: &TopicPartition, offset: i64) -> ConnectorOffset {
    ConnectorOffset {
        partition: serde_json::json!({"kafka_topic": &*partition.topic, "kafka_partition": partition.partition}),
        offset: serde_json::json!({"kafka_offset": offset}),
    }
}

/// Reads the offsets of a sink as Java's `SinkUtils.parseSinkConnectorOffsets`: everything is turned to text and that parsed. The last word on a
/// partition counts.
fn sink_offsets(offsets: &[ConnectorOffset]) -> Result<BTreeMap<TopicPartition, Option<i64>>, HerderError> {
    let mut wanted = BTreeMap::new();
    for ConnectorOffset { partition, offset } in offsets {
        let bad = |message: &str| Err(HerderError::bad_request(message));
        let Json::Object(partition) = partition else {
            return bad("The partition for a sink connector offset cannot be null or missing");
        };
        let (Some(topic), Some(number)) = (partition.get("kafka_topic"), partition.get("kafka_partition")) else {
            return bad(
                "The partition for a sink connector offset must contain the keys 'kafka_topic' and 'kafka_partition'",
            );
        };
        if topic.is_null() {
            return bad("Kafka topic names must be valid strings and may not be null");
        }
        if number.is_null() {
            return bad("Kafka partitions must be valid numbers and may not be null");
        }
        let number = java_text(number);
        let Ok(number) = number.parse::<i32>() else {
            return bad(&format!(
                "Failed to parse the following Kafka partition value in the provided offsets: '{number}'. Partition values \
                 for sink connectors need to be integers."
            ));
        };
        let offset = match offset {
            Json::Object(offset) => {
                let Some(offset) = offset.get("kafka_offset") else {
                    return bad(
                        "The offset for a sink connector should either be null or contain the key 'kafka_offset'",
                    );
                };
                let text = java_text(offset);
                let Ok(offset) = text.parse::<i64>() else {
                    return bad(&format!(
                        "Failed to parse the following Kafka offset value in the provided offsets: '{text}'. Offset values \
                         for sink connectors need to be integers."
                    ));
                };
                Some(offset)
            }
            _ => None,
        };
        wanted.insert(TopicPartition::new(java_text(topic).as_str(), number), offset);
    }
    Ok(wanted)
}

/// Java's `toString` of a value that Jackson has read.
fn java_text(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        Json::Array(values) => {
            let values: Vec<_> = values.iter().map(java_text).collect();
            format!("[{}]", values.join(", "))
        }
        Json::Object(pairs) => {
            let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{key}={}", java_text(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (None, None, Some(double)) => kurier_api::data::java_text::double(double),
            _ => number.to_string(),
        },
        Json::Null | Json::Bool(_) => json.to_string(),
    }
}

/// Reads the offsets of a source. The last word on a partition counts.
fn source_offsets(offsets: &[ConnectorOffset]) -> Result<Vec<(SourcePartition, Option<SourceOffset>)>, HerderError> {
    let mut wanted: Vec<(SourcePartition, Option<SourceOffset>)> = Vec::new();
    for ConnectorOffset { partition, offset } in offsets {
        // A null partition is legal if the connector lets it pass; nothing is committed under either spelling.
        let partition = Arc::new(json_map(partition)?.unwrap_or_else(Map::hash));
        let offset = json_map(offset)?.map(Arc::new);
        match wanted.iter_mut().find(|(known, _)| *known == partition) {
            Some((_, known)) => *known = offset,
            None => wanted.push((partition, offset)),
        }
    }
    Ok(wanted)
}

/// A partition or offset as the JSON converter reads it: integers have 64 bits, floats are doubles, everything is a primitive.
fn json_map(json: &Json) -> Result<Option<Map>, HerderError> {
    let Json::Object(pairs) = json else { return Ok(None) };
    let mut map = Map::hash();
    for (key, value) in pairs {
        let value = match value {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(integer) => Value::I64(integer),
                None => Value::F64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::text(text),
            Json::Array(_) => return Err(not_primitive(key, "ARRAY")),
            Json::Object(_) => return Err(not_primitive(key, "MAP")),
        };
        map.insert(Value::text(key), value);
    }
    Ok(Some(map))
}

fn not_primitive(key: &str, kind: &str) -> HerderError {
    HerderError::from(ConnectError::data(format!(
        "Offsets may only contain primitive types as values, but field {key} contains {kind}"
    )))
}

fn map_json(map: &Map) -> Json {
    let text = |key: &Value| key.as_text().map_or_else(|| value_json(key).to_string(), str::to_owned);
    Json::Object(map.iter().map(|(key, value)| (text(key), value_json(value))).collect())
}

/// What was read from JSON as JSON.
fn value_json(value: &Value) -> Json {
    match value {
        Value::Bool(value) => Json::Bool(*value),
        Value::Text(text) => Json::String(text.to_string()),
        Value::F32(float) => Json::from(*float),
        Value::F64(double) => Json::from(*double),
        Value::Array(values) => Json::Array(values.iter().map(value_json).collect()),
        Value::Map(map) => map_json(map),
        other => other.as_integer().map_or(Json::Null, Json::from),
    }
}

#[cfg(test)]
mod tests;
