//! Header values as text: `org.apache.kafka.connect.storage.SimpleHeaderConverter`.

use crate::charset::decode_utf8;
use crate::values::Values;
use kurier_api::ConnectError;
use kurier_api::data::{Foreign, SchemaAndValue, SchemaRef, Value};
use kurier_api::plugin::{HeaderConverter, Presence};

/// Writes values as text and reads text as the value that it looks like.
#[derive(Clone, Debug)]
pub struct SimpleHeaderConverter {
    values: Values,
}

impl SimpleHeaderConverter {
    /// A converter that writes and reads times as `values` does.
    pub fn new(values: Values) -> Self {
        Self { values }
    }
}

impl HeaderConverter for SimpleHeaderConverter {
    fn from_connect_header(
        &mut self,
        _topic: &str,
        _name: &str,
        _schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        match value {
            Value::Null => return Ok(Presence::Null),
            Value::Text(text) => out.extend_from_slice(text.as_bytes()),
            Value::Foreign(foreign) if matches!(**foreign, Foreign::MalformedString(_)) => {
                out.extend_from_slice(foreign.to_string().as_bytes());
            }
            other => {
                let mut text = String::new();
                self.values.append(other, &mut text)?;
                out.extend_from_slice(text.as_bytes());
            }
        }
        Ok(Presence::Bytes)
    }

    fn to_connect_header(
        &mut self,
        _topic: &str,
        _name: &str,
        bytes: Option<&[u8]>,
    ) -> Result<SchemaAndValue, ConnectError> {
        Ok(bytes.map_or(SchemaAndValue::NULL, |bytes| self.values.parse_string(&decode_utf8(bytes))))
    }
}
