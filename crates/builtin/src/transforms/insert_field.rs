//! `InsertField`: adds what is known of a record, or a fixed text, as fields.

use super::replace_field::null_key;
use super::side::{SchemaCache, Side, copy_basics, field_value, require_map, require_struct};
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Key, ParsedConfig, Type};
use kurier_api::data::{Schema, SchemaRef, Struct, Text, Value, logical};
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;
use std::sync::Arc;

const PURPOSE: &str = "field insertion";

pub(super) fn config() -> ConfigDef {
    let field = |name, what: &str| {
        Key::new(name, Type::String).default_null().doc(format!(
            "Field for {what}. `!` after the name makes it a required field, `?` an optional one, which it is without either."
        ))
    };
    ConfigDef::new()
        .define(field("topic.field", "the topic"))
        .define(field("partition.field", "the partition"))
        .define(field("offset.field", "the offset; for sinks only"))
        .define(field("timestamp.field", "the timestamp"))
        .define(field("static.field", "a fixed text"))
        .define(Key::new("static.value", Type::String).default_null().doc("The fixed text, if its field is given."))
        .define(null_key())
}

/// What is inserted.
#[derive(Clone, Debug)]
enum What {
    Topic,
    Partition,
    Offset,
    Timestamp,
    Static(Text),
}

/// A field to insert.
struct Insertion {
    name: Text,
    optional: bool,
    what: What,
}

impl Insertion {
    /// Reads a name with its mark.
    fn named(name: &str, what: What) -> Self {
        let (name, optional) = match (name.strip_suffix('!'), name.strip_suffix('?')) {
            (Some(required), _) => (required, false),
            (_, Some(optional)) => (optional, true),
            _ => (name, true),
        };
        Self { name: Text::new(name), optional, what }
    }

    fn schema(&self) -> SchemaRef {
        match (&self.what, self.optional) {
            (What::Topic | What::Static(_), true) => Schema::optional_string(),
            (What::Topic | What::Static(_), false) => Schema::string(),
            (What::Partition, true) => Schema::optional_int32(),
            (What::Partition, false) => Schema::int32(),
            (What::Offset, true) => Schema::optional_int64(),
            (What::Offset, false) => Schema::int64(),
            (What::Timestamp, false) => logical::timestamp(),
            (What::Timestamp, true) => {
                logical::timestamp_builder().optional().build().expect("a timestamp's schema breaks no rule")
            }
        }
    }
}

/// What a record says of itself.
struct Facts {
    topic: Arc<str>,
    partition: Option<i32>,
    timestamp: Option<i64>,
    offset: Option<i64>,
}

impl Facts {
    /// The value to insert; none where the record has none.
    fn value(&self, what: &What, with_schema: bool) -> Result<Option<Value>, ConnectError> {
        Ok(match what {
            What::Topic => Some(Value::text(&*self.topic)),
            What::Partition => self.partition.map(Value::I32),
            What::Timestamp if with_schema => self.timestamp.map(Value::Date),
            What::Timestamp => self.timestamp.map(Value::I64),
            What::Static(text) => Some(Value::Text(text.clone())),
            What::Offset => match self.offset {
                Some(offset) => Some(Value::I64(offset)),
                None => {
                    return Err(ConnectError::data(format!(
                        "Only SinkRecord supported for [{PURPOSE}], found: org.apache.kafka.connect.source.SourceRecord"
                    )));
                }
            },
        })
    }
}

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    let mut insertions = Vec::new();
    for (key, what) in [
        ("topic.field", What::Topic),
        ("partition.field", What::Partition),
        ("offset.field", What::Offset),
        ("timestamp.field", What::Timestamp),
    ] {
        insertions.extend(config.get_str(key).map(|name| Insertion::named(name, what)));
    }
    if let Some(name) = config.get_str("static.field") {
        let Some(text) = config.get_str("static.value") else {
            return Err(ConnectError::config(
                "Invalid value null for configuration static.value: No value specified for static field: static.field",
            ));
        };
        insertions.push(Insertion::named(name, What::Static(Text::new(text))));
    }
    if insertions.is_empty() {
        return Err(ConnectError::config("No field insertion configured"));
    }
    Ok(Box::new(InsertField {
        insertions,
        replace_null_with_default: config.get_bool("replace.null.with.default"),
        side,
        schemas: SchemaCache::default(),
    }))
}

struct InsertField {
    insertions: Vec<Insertion>,
    replace_null_with_default: bool,
    side: Side,
    schemas: SchemaCache,
}

impl Transform for InsertField {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        let facts = Facts {
            topic: record.topic.clone(),
            partition: record.partition,
            timestamp: record.timestamp,
            offset: record.kafka_offset,
        };
        let target = self.side.of(record);
        if target.value.is_null() {
            return Ok(Verdict::Keep);
        }
        let Some(schema) = &target.schema else {
            let map = require_map(&mut target.value, PURPOSE)?;
            let mut copy = map.copy_as_hash();
            for insertion in &self.insertions {
                if let Some(value) = facts.value(&insertion.what, false)? {
                    copy.insert(Value::Text(insertion.name.clone()), value);
                }
            }
            *map = copy;
            return Ok(Verdict::Keep);
        };
        let structure = require_struct(&mut target.value, PURPOSE)?;
        let insertions = &self.insertions;
        let made = self.schemas.get(schema, || {
            let mut builder = copy_basics(schema);
            for field in schema.fields() {
                builder = builder.field(field.name(), field.schema().clone());
            }
            for insertion in insertions {
                builder = builder.field(&insertion.name, insertion.schema());
            }
            builder.build()
        })?;
        let mut updated = Struct::new(made.clone())?;
        for field in schema.fields() {
            updated.put(field.name(), field_value(structure, field, self.replace_null_with_default))?;
        }
        for insertion in insertions {
            if let Some(value) = facts.value(&insertion.what, true)? {
                updated.put(&insertion.name, value)?;
            }
        }
        target.value = updated.into();
        target.schema = Some(made);
        Ok(Verdict::Keep)
    }
}
