//! Offsets as bytes: key `["connector",{partition}]`, value `{offset}`, both JSON without schemas.
//!
//! The JSON converter comes in from outside, because this crate knows no concrete plugin. Java's order of keys is the converter's business.

use kurier_api::ConnectError;
use kurier_api::config::Props;
use kurier_api::data::{Map, Value};
use kurier_api::plugin::{Converter, ConverterRole, ConverterType, Presence};
use kurier_api::record::{Headers, SourceOffset, SourcePartition};
use parking_lot::Mutex;
use std::sync::Arc;

/// Writes and reads the offsets of sources. Counterpart of Java's `OffsetUtils` and of the internal converters of its workers.
pub struct OffsetCodec {
    /// An instance may cache, so it wants to be alone.
    converters: Mutex<Converters>,
}

struct Converters {
    key: Box<dyn Converter>,
    value: Box<dyn Converter>,
}

impl std::fmt::Debug for OffsetCodec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OffsetCodec").finish_non_exhaustive()
    }
}

impl OffsetCodec {
    /// A codec over a JSON converter.
    ///
    /// # Errors
    /// If the converter refuses to work without schemas.
    pub fn new(json: &dyn ConverterType) -> Result<Self, ConnectError> {
        let props = Props::from([("schemas.enable".to_owned(), "false".to_owned())]);
        let converters = Converters {
            key: json.create(&props, ConverterRole::Key)?,
            value: json.create(&props, ConverterRole::Value)?,
        };
        Ok(Self { converters: Mutex::new(converters) })
    }

    /// The key of a partition.
    ///
    /// # Errors
    /// If it holds what JSON cannot.
    pub fn encode_key(&self, connector: &str, partition: &Map) -> Result<Vec<u8>, ConnectError> {
        check_primitives(partition)?;
        let key = Value::array([Value::text(connector), Value::Map(Box::new(partition.clone()))]);
        encode(self.converters.lock().key.as_mut(), &key)
    }

    /// The connector and the partition of a key; none if it is no such key.
    pub fn decode_key(&self, key: &[u8]) -> Option<(String, SourcePartition)> {
        let decoded = decode(self.converters.lock().key.as_mut(), key).ok()?;
        let Value::Array(pair) = decoded else { return None };
        let [Value::Text(connector), Value::Map(partition)] = &*pair else { return None };
        Some((connector.to_string(), Arc::new((**partition).clone())))
    }

    /// The value of an offset.
    ///
    /// # Errors
    /// If it holds what JSON cannot.
    pub fn encode_value(&self, offset: &Map) -> Result<Vec<u8>, ConnectError> {
        check_primitives(offset)?;
        encode(self.converters.lock().value.as_mut(), &Value::Map(Box::new(offset.clone())))
    }

    /// An offset from its value.
    ///
    /// # Errors
    /// If it is no JSON object.
    pub fn decode_value(&self, value: &[u8]) -> Result<SourceOffset, ConnectError> {
        match decode(self.converters.lock().value.as_mut(), value)? {
            Value::Map(offset) => Ok(Arc::new(*offset)),
            other => Err(ConnectError::data(format!("Offsets must be specified as a Map, not {}", other.java_class()))),
        }
    }

    /// What becomes of a partition or an offset on its way through the store: integers have 64 bits, floats are doubles.
    ///
    /// # Errors
    /// If it holds what JSON cannot.
    pub fn normalise(&self, map: &Map) -> Result<SourceOffset, ConnectError> {
        self.decode_value(&self.encode_value(map)?)
    }

    /// Reads any JSON text as offsets are read; null for the text `null`.
    ///
    /// # Errors
    /// If it is no JSON.
    pub fn decode_json(&self, json: &[u8]) -> Result<Value, ConnectError> {
        decode(self.converters.lock().value.as_mut(), json)
    }
}

fn encode(converter: &mut dyn Converter, value: &Value) -> Result<Vec<u8>, ConnectError> {
    let mut out = Vec::new();
    match converter.from_connect_data("", &mut Headers::default(), None, value, &mut out)? {
        Presence::Bytes => Ok(out),
        Presence::Null => Err(ConnectError::data("offsets cannot be null")),
    }
}

fn decode(converter: &mut dyn Converter, bytes: &[u8]) -> Result<Value, ConnectError> {
    Ok(converter.to_connect_data("", &Headers::default(), Some(bytes))?.value)
}

/// Java's `OffsetUtils.validateFormat`.
fn check_primitives(map: &Map) -> Result<(), ConnectError> {
    for (key, value) in map.iter() {
        if !matches!(key, Value::Text(_)) {
            return Err(ConnectError::data("Offsets may only use String keys"));
        }
        let not_primitive = match value {
            Value::Array(_) => "ARRAY",
            Value::Map(_) => "MAP",
            Value::Struct(_) => "STRUCT",
            Value::Decimal(_) | Value::Date(_) | Value::Foreign(_) => {
                return Err(ConnectError::data(format!(
                    "Offsets may only contain primitive types as values, but field {} contains {}",
                    key.as_text().unwrap_or_default(),
                    value.java_class()
                )));
            }
            _ => continue,
        };
        return Err(ConnectError::data(format!(
            "Offsets may only contain primitive types as values, but field {} contains {not_primitive}",
            key.as_text().unwrap_or_default()
        )));
    }
    Ok(())
}
