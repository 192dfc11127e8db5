//! `ValueToKey`: makes a record's key of fields of its value.

use super::replace_field::null_key;
use super::side::{SchemaCache, Side, require_map, require_struct};
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Importance, Key, ParsedConfig, Type, Validator};
use kurier_api::data::{Field, Map, Schema, SchemaBuilder, SchemaRef, Struct, Text, Value};
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;

const PURPOSE: &str = "copying fields from value to key";

pub(super) fn config() -> ConfigDef {
    ConfigDef::new()
        .define(
            Key::new("fields", Type::List)
                .validator(Validator::ValidList { of: Vec::new(), empty: false, null: false })
                .importance(Importance::High)
                .doc("Fields of the value that make the key, in this order."),
        )
        .define(null_key())
}

pub(super) fn make(config: &ParsedConfig, _side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    let mut fields: Vec<Text> = Vec::new();
    for name in config.get_list("fields") {
        // A field that is named twice makes one field.
        if !fields.iter().any(|field| *field == *name) {
            fields.push(Text::new(name));
        }
    }
    Ok(Box::new(ValueToKey {
        fields,
        replace_null_with_default: config.get_bool("replace.null.with.default"),
        schemas: SchemaCache::default(),
    }))
}

struct ValueToKey {
    fields: Vec<Text>,
    replace_null_with_default: bool,
    schemas: SchemaCache,
}

/// A field that the value's schema must have.
fn field<'a>(schema: &'a Schema, name: &str) -> Result<&'a Field, ConnectError> {
    schema.field(name).ok_or_else(|| ConnectError::data(format!("Field does not exist: {name}")))
}

fn key_schema(schema: &Schema, fields: &[Text]) -> Result<SchemaRef, ConnectError> {
    let mut builder = SchemaBuilder::structure();
    for name in fields {
        builder = builder.field(name, field(schema, name)?.schema().clone());
    }
    builder.build()
}

impl Transform for ValueToKey {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        if record.value.schema.is_none() {
            let map = require_map(&mut record.value.value, PURPOSE)?;
            // Java makes its hash map for so many fields, which decides about their order.
            let capacity = u32::try_from(self.fields.len()).unwrap_or(u32::MAX);
            let mut key = Map::hash_with_java_capacity(capacity);
            for name in &self.fields {
                key.insert(Value::Text(name.clone()), map.get_text(name).cloned().unwrap_or_default());
            }
            record.key.schema = None;
            record.key.value = key.into();
            return Ok(Verdict::Keep);
        }
        let structure = require_struct(&mut record.value.value, PURPOSE)?;
        let schema = structure.schema();
        let made = self.schemas.get(schema, || key_schema(schema, &self.fields))?;
        let mut key = Struct::new(made.clone())?;
        for name in &self.fields {
            let at = field(schema, name)?.index();
            let value =
                if self.replace_null_with_default { structure.value_or_default(at) } else { &structure.values()[at] };
            key.put(name, value.clone())?;
        }
        record.key.schema = Some(made);
        record.key.value = key.into();
        Ok(Verdict::Keep)
    }
}
