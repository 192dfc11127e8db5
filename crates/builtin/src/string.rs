//! The string converter: `org.apache.kafka.connect.storage.StringConverter`.
//!
//! Writes Java's `toString()` of any value in a character set, and reads bytes of any kind: what is malformed becomes U+FFFD.

use crate::charset::Charset;
use kurier_api::ConnectError;
use kurier_api::data::{Foreign, Schema, SchemaAndValue, SchemaRef, Value};
use kurier_api::plugin::{Converter, HeaderConverter, Presence};
use kurier_api::record::Headers;
use std::io::Write;

/// Turns values into text and back.
#[derive(Clone, Debug)]
pub struct StringConverter {
    charset: Charset,
}

impl StringConverter {
    /// A converter for a character set, by one of Java's names for it.
    ///
    /// # Errors
    /// `SerializationException` for an unknown name.
    pub fn new(encoding: &str) -> Result<Self, ConnectError> {
        let charset = Charset::for_name(encoding).map_err(|cause| {
            ConnectError::serialization(format!("Unsupported encoding {encoding}")).with_cause(cause)
        })?;
        Ok(Self { charset })
    }

    /// Appends a value's text.
    pub fn write(&self, value: &Value, out: &mut Vec<u8>) -> Presence {
        match value {
            Value::Null => return Presence::Null,
            Value::Text(text) => self.charset.encode(text, out),
            Value::Foreign(foreign) if let Foreign::MalformedString(units) = &**foreign => {
                self.charset.encode_units(units, out);
            }
            other if self.charset.is_utf8() => write!(out, "{other}").expect("memory takes all"),
            other => self.charset.encode(&other.to_string(), out),
        }
        Presence::Bytes
    }

    /// Reads text.
    pub fn read(&self, bytes: Option<&[u8]>) -> SchemaAndValue {
        let value = bytes.map_or(Value::Null, |bytes| Value::text(self.charset.decode(bytes)));
        SchemaAndValue::new(Schema::optional_string(), value)
    }
}

impl Converter for StringConverter {
    fn from_connect_data(
        &mut self,
        _topic: &str,
        _headers: &mut Headers,
        _schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        Ok(self.write(value, out))
    }

    fn to_connect_data(
        &mut self,
        _topic: &str,
        _headers: &Headers,
        bytes: Option<&[u8]>,
    ) -> Result<SchemaAndValue, ConnectError> {
        Ok(self.read(bytes))
    }
}

impl HeaderConverter for StringConverter {
    fn from_connect_header(
        &mut self,
        _topic: &str,
        _name: &str,
        _schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        Ok(self.write(value, out))
    }

    fn to_connect_header(
        &mut self,
        _topic: &str,
        _name: &str,
        bytes: Option<&[u8]>,
    ) -> Result<SchemaAndValue, ConnectError> {
        Ok(self.read(bytes))
    }
}
