//! The string converter: `org.apache.kafka.connect.storage.StringConverter`.
//!
//! Writes Java's `toString()` of any value in a character set, and reads bytes of any kind: what is malformed becomes U+FFFD.

use crate::charset::Charset;
use crate::converters;
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Importance, Key, Props, Type, Width};
use kurier_api::data::{Foreign, Schema, SchemaAndValue, SchemaRef, Value};
use kurier_api::plugin::{ConverterRole, PlainConverter, Presence};
use std::io::Write;

/// Turns values into text and back.
#[derive(Clone, Debug)]
pub struct StringConverter {
    writes: Charset,
    reads: Charset,
}

impl StringConverter {
    /// A converter that writes and reads in these character sets, by Java's names for them.
    ///
    /// # Errors
    /// `SerializationException` for an unknown name.
    pub fn new(writes: &str, reads: &str) -> Result<Self, ConnectError> {
        let charset = |name: &str| {
            Charset::for_name(name)
                .map_err(|cause| ConnectError::serialization(format!("Unsupported encoding {name}")).with_cause(cause))
        };
        Ok(Self { writes: charset(writes)?, reads: charset(reads)? })
    }

    /// A converter as its settings say. Like Java's, it hands them to Kafka's serializer, which has keys of its own for keys and values.
    ///
    /// # Errors
    /// `SerializationException` for an unknown character set.
    pub fn parse(props: &Props, role: ConverterRole) -> Result<Self, ConnectError> {
        let config = converters::parse(&definition(), props, role)?;
        let common = config.get_str("converter.encoding").unwrap_or("UTF-8");
        let (writes, reads) = match role {
            ConverterRole::Key => ("key.serializer.encoding", "key.deserializer.encoding"),
            ConverterRole::Value | ConverterRole::Header => {
                ("value.serializer.encoding", "value.deserializer.encoding")
            }
        };
        let own = |key: &str| props.get(key).map_or(common, String::as_str);
        Self::new(own(writes), own(reads))
    }

    /// Appends a value's text.
    pub fn write(&self, value: &Value, out: &mut Vec<u8>) -> Presence {
        match value {
            Value::Null => return Presence::Null,
            Value::Text(text) => self.writes.encode(text, out),
            Value::Foreign(foreign) if let Foreign::MalformedString(units) = &**foreign => {
                self.writes.encode_units(units, out);
            }
            other if self.writes.is_utf8() => write!(out, "{other}").expect("memory takes all"),
            other => self.writes.encode(&other.to_string(), out),
        }
        Presence::Bytes
    }

    /// Reads text.
    pub fn read(&self, bytes: Option<&[u8]>) -> SchemaAndValue {
        let value = bytes.map_or(Value::Null, |bytes| Value::text(self.reads.decode(bytes)));
        SchemaAndValue::new(Schema::optional_string(), value)
    }
}

/// What it takes. Java's `StringConverterConfig`.
pub(crate) fn definition() -> ConfigDef {
    converters::common().define(
        Key::new("converter.encoding", Type::String)
            .default("UTF-8")
            .importance(Importance::High)
            .width(Width::Medium)
            .display_name("Encoding")
            .doc("The character set to write and read with."),
    )
}

impl PlainConverter for StringConverter {
    fn encode(
        &mut self,
        _schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        Ok(self.write(value, out))
    }

    fn decode(&mut self, bytes: Option<&[u8]>) -> Result<SchemaAndValue, ConnectError> {
        Ok(self.read(bytes))
    }
}
