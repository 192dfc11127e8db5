//! What the tests of several modules need: converters and stores without a world around them.

use crate::store::OffsetStore;
use async_trait::async_trait;
use kurier_api::config::{ConfigDef, Props};
use kurier_api::data::{SchemaAndValue, SchemaRef, Value};
use kurier_api::plugin::{
    Converter, ConverterRole, ConverterType, Descriptor, HeaderConverter, HeaderConverterType, Presence,
};
use kurier_api::record::{SourceOffset, SourcePartition};
use kurier_api::{ConnectError, Headers};

/// Writes texts as their bytes and anything else as null; cannot take a text that starts with `bad`. Reads nulls.
#[derive(Default)]
pub(crate) struct TextBytes(ConfigDef);

impl TextBytes {
    /// The class under which it is registered.
    pub(crate) const CLASS: &str = "test.TextBytes";
}

impl Converter for TextBytes {
    fn from_connect_data(
        &mut self,
        _topic: &str,
        _headers: &mut Headers,
        _schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        let Some(text) = value.as_text() else { return Ok(Presence::Null) };
        out.extend_from_slice(text.as_bytes());
        if text.starts_with("bad") { Err(ConnectError::data("bad text")) } else { Ok(Presence::Bytes) }
    }

    fn to_connect_data(
        &mut self,
        _topic: &str,
        _headers: &Headers,
        _bytes: Option<&[u8]>,
    ) -> Result<SchemaAndValue, ConnectError> {
        Ok(SchemaAndValue::NULL)
    }
}

impl HeaderConverter for TextBytes {
    fn from_connect_header(
        &mut self,
        topic: &str,
        _name: &str,
        schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        self.from_connect_data(topic, &mut Headers::default(), schema, value, out)
    }

    fn to_connect_header(
        &mut self,
        topic: &str,
        _name: &str,
        bytes: Option<&[u8]>,
    ) -> Result<SchemaAndValue, ConnectError> {
        self.to_connect_data(topic, &Headers::default(), bytes)
    }
}

impl ConverterType for TextBytes {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: Self::CLASS, version: "1" }
    }

    fn config(&self) -> &ConfigDef {
        &self.0
    }

    fn create(&self, _props: &Props, _role: ConverterRole) -> Result<Box<dyn Converter>, ConnectError> {
        Ok(Box::new(Self::default()))
    }
}

impl HeaderConverterType for TextBytes {
    fn descriptor(&self) -> Descriptor {
        ConverterType::descriptor(self)
    }

    fn config(&self) -> &ConfigDef {
        &self.0
    }

    fn create(&self, _props: &Props) -> Result<Box<dyn HeaderConverter>, ConnectError> {
        Ok(Box::new(Self::default()))
    }
}

/// Keeps nothing.
pub(crate) struct NoOffsets;

#[async_trait]
impl OffsetStore for NoOffsets {
    async fn get(&self, _: &str, partitions: &[SourcePartition]) -> Result<Vec<Option<SourceOffset>>, ConnectError> {
        Ok(vec![None; partitions.len()])
    }

    async fn set(&self, _: &str, _: &[(SourcePartition, Option<SourceOffset>)]) -> Result<(), ConnectError> {
        Ok(())
    }

    async fn list(&self, _: &str) -> Result<Vec<(SourcePartition, SourceOffset)>, ConnectError> {
        Ok(Vec::new())
    }
}
