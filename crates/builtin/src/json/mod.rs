//! The JSON converter: `org.apache.kafka.connect.json.JsonConverter`.
//!
//! Writing is one pass over a plan of the schema into the buffer (`write`); reading is one pass without a schema and goes by a tree with one
//! (`read`). Schemas are known again by their pointer when writing and by their bytes when reading, so that a stream of records shares one
//! schema. JSON is read by our own lexer (`lexer`), because Jackson's leniences and limits are part of the behaviour.

mod config;
mod lexer;
mod node;
mod read;
mod schema;
mod write;

pub use config::JsonConverterConfig;
pub(crate) use config::definition;

use kurier_api::ConnectError;
use kurier_api::data::{SchemaAndValue, SchemaRef, Value};
use kurier_api::plugin::{PlainConverter, Presence};
use lexer::{Lexer, SyntaxError};
use node::Node;
use read::Reading;
use std::collections::HashMap;
use std::sync::Arc;
use write::{Plan, Writing};

/// What is written for one schema.
struct Writer {
    /// Keeps the pointer valid by which it is found.
    schema: SchemaRef,
    plan: Plan,
    /// `{"schema":…,"payload":`, or what is wrong with the schema.
    envelope: Result<Box<[u8]>, ConnectError>,
}

/// Turns values into JSON and back.
pub struct JsonConverter {
    config: JsonConverterConfig,
    writing: Writing,
    reading: Reading,
    content: Option<SchemaRef>,
    writers: HashMap<usize, Writer>,
    /// Schemas that were read, by their JSON.
    schemas: HashMap<Box<[u8]>, Option<SchemaRef>>,
    /// How the last envelope began, up to its payload, and its schema.
    last_envelope: Option<(Box<[u8]>, Option<SchemaRef>)>,
}

const SCHEMALESS_ENVELOPE: &[u8] = b"{\"schema\":null,\"payload\":";

fn unreadable(error: &SyntaxError) -> ConnectError {
    ConnectError::data("Converting byte[] to Kafka Connect data failed due to serialization error: ")
        .with_cause(ConnectError::serialization(error.to_string()))
}

impl JsonConverter {
    /// A converter.
    ///
    /// # Errors
    /// `DataException` and others if `schema_content` is no schema.
    pub fn new(config: JsonConverterConfig) -> Result<Self, ConnectError> {
        let reading = Reading { replace_null_with_default: config.replace_null_with_default };
        let content = match &config.schema_content {
            Some(text) if !text.trim_matches(|c| c <= ' ').is_empty() => {
                let node = lexer::to_utf8(text.as_bytes()).map_err(|error| bad_content(&error))?;
                let node = Node::parse(&node).map_err(|error| bad_content(&error))?;
                schema::schema_from(&node, reading)?
            }
            _ => None,
        };
        Ok(Self {
            writing: Writing {
                decimal_as_number: config.decimal_as_number,
                replace_null_with_default: config.replace_null_with_default,
            },
            reading,
            content,
            config,
            writers: HashMap::new(),
            schemas: HashMap::new(),
            last_envelope: None,
        })
    }

    /// Appends the JSON of a value.
    ///
    /// # Errors
    /// `DataException` if the value does not fit its schema.
    pub fn write(
        &mut self,
        schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        let enveloped = self.config.schemas_enable;
        let Some(schema) = schema else {
            if value.is_null() {
                return Ok(Presence::Null);
            }
            if enveloped {
                out.extend_from_slice(SCHEMALESS_ENVELOPE);
            }
            write::write_schemaless(value, usize::from(enveloped), out)?;
            if enveloped {
                out.push(b'}');
            }
            return Ok(Presence::Bytes);
        };
        let writer = self.writer(schema)?;
        if enveloped {
            out.extend_from_slice(writer.envelope.as_ref().map_err(Clone::clone)?);
        }
        writer.plan.write(value, usize::from(enveloped), out)?;
        if enveloped {
            out.push(b'}');
        }
        Ok(Presence::Bytes)
    }

    fn writer(&mut self, schema: &SchemaRef) -> Result<&Writer, ConnectError> {
        let key = Arc::as_ptr(schema) as usize;
        if !self.writers.contains_key(&key) {
            if self.writers.len() >= self.config.schemas_cache_size.max(1) {
                self.writers.clear();
            }
            let mut envelope = b"{\"schema\":".to_vec();
            let envelope = match write::write_schema(schema, None, self.writing, 1, &mut envelope) {
                Ok(()) => {
                    envelope.extend_from_slice(b",\"payload\":");
                    Ok(envelope.into())
                }
                Err(error) => Err(error),
            };
            let plan = Plan::new(schema, self.writing, 0)?;
            self.writers.insert(key, Writer { schema: schema.clone(), plan, envelope });
        }
        let writer = &self.writers[&key];
        debug_assert!(Arc::ptr_eq(&writer.schema, schema), "the cache keeps its schemas alive");
        Ok(writer)
    }

    /// Reads a document; no bytes are neither schema nor value.
    ///
    /// # Errors
    /// `DataException` if it is no JSON or does not fit its schema.
    pub fn read(&mut self, bytes: Option<&[u8]>) -> Result<SchemaAndValue, ConnectError> {
        let Some(bytes) = bytes else { return Ok(SchemaAndValue::NULL) };
        let text = lexer::to_utf8(bytes).map_err(|error| unreadable(&error))?;
        if !self.config.schemas_enable {
            let value = read::schemaless(&text).map_err(|error| unreadable(&error))?;
            return Ok(SchemaAndValue { schema: None, value });
        }
        if let Some(schema) = &self.content {
            let node = Node::parse(&text).map_err(|error| unreadable(&error))?;
            let value = self.reading.value(Some(schema), Some(node))?;
            return Ok(SchemaAndValue { schema: Some(schema.clone()), value });
        }
        if let Some((prefix, schema)) = &self.last_envelope
            && let Some(rest) = text.strip_prefix(&**prefix)
        {
            let payload = read_payload(rest).map_err(|error| unreadable(&error))?;
            if let Some(payload) = payload {
                let value = self.reading.value(schema.as_ref(), Some(payload))?;
                return Ok(SchemaAndValue { schema: schema.clone(), value });
            }
        }
        self.read_envelope(&text)
    }

    fn read_envelope(&mut self, text: &[u8]) -> Result<SchemaAndValue, ConnectError> {
        let envelope = Envelope::parse(text).map_err(|error| unreadable(&error))?;
        let Some(Envelope { schema, schema_text, payload, payload_at }) = envelope else {
            return Err(ConnectError::data(
                "JsonConverter with schemas.enable requires \"schema\" and \"payload\" fields and may not contain \
                 additional fields. If you are trying to deserialize plain JSON data, set schemas.enable=false in your \
                 converter configuration.",
            ));
        };
        let schema = match self.schemas.get(schema_text) {
            Some(known) => known.clone(),
            None => {
                let schema = schema::schema_from(&schema, self.reading)?;
                if self.schemas.len() >= self.config.schemas_cache_size.max(1) {
                    self.schemas.clear();
                }
                self.schemas.insert(schema_text.into(), schema.clone());
                schema
            }
        };
        if let Some(at) = payload_at {
            self.last_envelope = Some((text[..at].into(), schema.clone()));
        }
        let value = self.reading.value(schema.as_ref(), Some(payload))?;
        Ok(SchemaAndValue { schema, value })
    }
}

fn bad_content(error: &SyntaxError) -> ConnectError {
    ConnectError::data("Failed to parse schema in converter config due to serialization error: ")
        .with_cause(ConnectError::serialization(error.to_string()))
}

impl PlainConverter for JsonConverter {
    fn encode(
        &mut self,
        schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        self.write(schema, value, out)
    }

    fn decode(&mut self, bytes: Option<&[u8]>) -> Result<SchemaAndValue, ConnectError> {
        self.read(bytes)
    }
}

/// Reads the payload after a known beginning of an envelope; none if the envelope does not end after it.
fn read_payload(text: &[u8]) -> Result<Option<Node<'_>>, SyntaxError> {
    let mut lexer = Lexer::new(text);
    let payload = node::read(&mut lexer, 1)?;
    Ok(if lexer.more(b'}')? { None } else { Some(payload) })
}

/// `{"schema": …, "payload": …}`.
struct Envelope<'a> {
    schema: Node<'a>,
    schema_text: &'a [u8],
    payload: Node<'a>,
    /// Where the payload begins, if the schema stands before it and neither is repeated.
    payload_at: Option<usize>,
}

impl<'a> Envelope<'a> {
    /// None if the text is JSON, but no envelope.
    fn parse(text: &'a [u8]) -> Result<Option<Self>, SyntaxError> {
        let mut lexer = Lexer::new(text);
        if lexer.peek() != Some(b'{') {
            Node::parse(text)?;
            return Ok(None);
        }
        lexer.bump();
        let (mut schema, mut payload, mut others) = (None, None, false);
        let mut order = Vec::new();
        if lexer.peek() == Some(b'}') {
            return Ok(None);
        }
        loop {
            let name = lexer.name()?;
            lexer.peek();
            let start = lexer.position();
            let value = node::read(&mut lexer, 1)?;
            match name.as_utf8() {
                Some("schema") => schema = Some((value, &text[start..lexer.position()])),
                Some("payload") => payload = Some(value),
                _ => others = true,
            }
            order.push((name.as_utf8() == Some("schema"), start));
            if !lexer.more(b'}')? {
                break;
            }
        }
        Ok(match (schema, payload) {
            (Some((schema, schema_text)), Some(payload)) if !others => {
                let payload_at = match order[..] {
                    [(true, _), (false, at)] => Some(at),
                    _ => None,
                };
                Some(Self { schema, schema_text, payload, payload_at })
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kurier_api::data::{Map, Schema, SchemaBuilder, Struct};
    use proptest::prelude::*;

    fn converter(schemas_enable: bool) -> JsonConverter {
        JsonConverter::new(JsonConverterConfig { schemas_enable, ..JsonConverterConfig::default() }).unwrap()
    }

    fn written(converter: &mut JsonConverter, schema: Option<&SchemaRef>, value: &Value) -> String {
        let mut out = Vec::new();
        assert_eq!(converter.write(schema, value, &mut out).unwrap(), Presence::Bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_is_written_with_its_schema() {
        let schema = SchemaBuilder::structure()
            .name("r")
            .field("id", Schema::int32())
            .field("note", Schema::optional_string())
            .build()
            .unwrap();
        let value = Struct::from_values(schema.clone(), [Value::I32(7), Value::Null].into()).into();
        let expected = concat!(
            r#"{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"},"#,
            r#"{"type":"string","optional":true,"field":"note"}],"optional":false,"name":"r"},"#,
            r#""payload":{"id":7,"note":null}}"#
        );
        let mut converter = converter(true);
        // The second time goes by the cached plan, the second reading by the known beginning of the envelope.
        for _ in 0..2 {
            assert_eq!(written(&mut converter, Some(&schema), &value), expected);
            let read = converter.read(Some(expected.as_bytes())).unwrap();
            assert_eq!((read.schema.as_ref(), &read.value), (Some(&schema), &value));
        }
    }

    #[test]
    fn a_known_beginning_of_an_envelope_is_not_the_whole_of_it() {
        let mut converter = converter(true);
        let begin = r#"{"schema":{"type":"int32"},"payload":"#;
        assert_eq!(converter.read(Some(format!("{begin}1}}").as_bytes())).unwrap().value, Value::I32(1));
        let cases = [("2}", Some(Value::I32(2))), ("2,\"payload\":3}", Some(Value::I32(3))), ("2,\"x\":3}", None)];
        for (end, value) in cases {
            let read = converter.read(Some(format!("{begin}{end}").as_bytes()));
            assert_eq!(read.ok().map(|read| read.value), value, "{end}");
        }
    }

    #[test]
    fn nesting_is_bounded_both_ways() {
        for (depth, fits) in [(1000, true), (1001, false), (200_000, false)] {
            let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(converter(false).read(Some(text.as_bytes())).is_ok(), fits, "{depth}");
        }
        for (depth, fits) in [(1000, true), (1001, false)] {
            let value = (1..depth).fold(Value::array([]), |inner, _| Value::array([inner]));
            assert_eq!(converter(false).write(None, &value, &mut Vec::new()).is_ok(), fits, "{depth}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::I64),
            any::<f64>().prop_filter("JSON has no such numbers", |n| n.is_finite() && *n != 0.0).prop_map(Value::F64),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::array),
                proptest::collection::vec((any::<String>(), inner), 0..6).prop_map(|pairs| {
                    let mut map = Map::hash();
                    for (key, value) in pairs {
                        map.insert(key, value);
                    }
                    map.into()
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn plain_values_are_read_as_they_were_written(value in any_value()) {
            for schemas in [false, true] {
                let mut converter = converter(schemas);
                let mut out = Vec::new();
                let presence = converter.write(None, &value, &mut out).unwrap();
                prop_assert_eq!(presence == Presence::Null, value.is_null());
                let bytes = (presence == Presence::Bytes).then_some(&out[..]);
                prop_assert_eq!(&converter.read(bytes).unwrap().value, &value);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40), text in "[{}\\[\\]:,\"0-9a-z\\\\]{0,40}") {
            for schemas in [false, true] {
                let mut converter = converter(schemas);
                converter.read(Some(&bytes)).ok();
                converter.read(Some(text.as_bytes())).ok();
                let schema = format!("{{\"schema\":{{\"type\":\"struct\",\"fields\":[]}},\"payload\":{text}}}");
                converter.read(Some(schema.as_bytes())).ok();
            }
        }
    }
}
