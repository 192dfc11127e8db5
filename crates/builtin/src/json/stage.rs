//! The JSON converter as converter and header converter.

use super::JsonConverter;
use kurier_api::ConnectError;
use kurier_api::data::{SchemaAndValue, SchemaRef, Value};
use kurier_api::plugin::{Converter, HeaderConverter, Presence};
use kurier_api::record::Headers;

impl Converter for JsonConverter {
    fn from_connect_data(
        &mut self,
        _topic: &str,
        _headers: &mut Headers,
        schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        self.write(schema, value, out)
    }

    fn to_connect_data(
        &mut self,
        _topic: &str,
        _headers: &Headers,
        bytes: Option<&[u8]>,
    ) -> Result<SchemaAndValue, ConnectError> {
        self.read(bytes)
    }
}

impl HeaderConverter for JsonConverter {
    fn from_connect_header(
        &mut self,
        _topic: &str,
        _name: &str,
        schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        self.write(schema, value, out)
    }

    fn to_connect_header(
        &mut self,
        _topic: &str,
        _name: &str,
        bytes: Option<&[u8]>,
    ) -> Result<SchemaAndValue, ConnectError> {
        self.read(bytes)
    }
}
