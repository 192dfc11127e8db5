//! Passing bytes through: `org.apache.kafka.connect.converters.ByteArrayConverter`.

use kurier_api::ConnectError;
use kurier_api::data::{Foreign, Schema, SchemaAndValue, SchemaRef, Type, Value};
use kurier_api::plugin::{PlainConverter, Presence};

/// Writes and reads bytes as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByteArrayConverter;

impl ByteArrayConverter {
    /// Appends a value's bytes.
    ///
    /// # Errors
    /// `DataException` if schema or value are not bytes.
    pub fn write(schema: Option<&SchemaRef>, value: &Value, out: &mut Vec<u8>) -> Result<Presence, ConnectError> {
        if let Some(schema) = schema
            && schema.kind() != Type::Bytes
        {
            return Err(ConnectError::data(format!("Invalid schema type for ByteArrayConverter: {}", schema.kind())));
        }
        match value {
            Value::Null => return Ok(Presence::Null),
            Value::Bytes(bytes) => out.extend_from_slice(bytes),
            Value::Foreign(foreign) if let Foreign::ByteBuffer(bytes) = &**foreign => out.extend_from_slice(bytes),
            other => {
                return Err(ConnectError::data(format!(
                    "ByteArrayConverter is not compatible with objects of type class {}",
                    other.java_class()
                )));
            }
        }
        Ok(Presence::Bytes)
    }

    /// Reads bytes.
    pub fn read(bytes: Option<&[u8]>) -> SchemaAndValue {
        SchemaAndValue::new(Schema::optional_bytes(), bytes.map_or(Value::Null, Value::bytes))
    }
}

impl PlainConverter for ByteArrayConverter {
    fn encode(
        &mut self,
        schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        Self::write(schema, value, out)
    }

    fn decode(&mut self, bytes: Option<&[u8]>) -> Result<SchemaAndValue, ConnectError> {
        Ok(Self::read(bytes))
    }
}
