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

#[cfg(test)]
mod tests {
    use super::super::testing::{check, made, record, structure};
    use kurier_api::data::{Map, SchemaAndValue, Value};

    const CLASS: &str = "ValueToKey";

    #[test]
    fn fields_of_the_value_make_the_key() {
        let value = || structure(&[("a", 1.into()), ("b", "x".into()), ("c", 2.into())]);
        let cases = [
            ("b,a", "Struct{b=x,a=1} -> Struct{a=1,b=x,c=2} old=0"),
            ("c", "Struct{c=2} -> Struct{a=1,b=x,c=2} old=0"),
            ("a,a", "Struct{a=1} -> Struct{a=1,b=x,c=2} old=0"),
        ];
        for (fields, expected) in cases {
            check(CLASS, &[("fields", fields)], record(value()), expected);
        }
        let mut map = Map::linked();
        map.insert("a", 1);
        let map = record(SchemaAndValue::schemaless(map));
        check(CLASS, &[("fields", "a,z")], map, "{a=1, z=null} -> {a=1} old=0");
    }

    #[test]
    fn a_failure_leaves_the_record_as_it_was() {
        let cases = [
            (structure(&[("a", 1.into())]), "Field does not exist: z"),
            (
                SchemaAndValue::schemaless(Value::Null),
                "Only Map objects supported in absence of schema for [copying fields from value to key], found: null",
            ),
        ];
        for (value, expected) in cases {
            let mut changed = record(value);
            let before = changed.clone();
            let error = made(CLASS, &[("fields", "a,z")]).apply(&mut changed).unwrap_err();
            assert_eq!(error.message(), Some(expected));
            assert_eq!(changed, before, "{expected}");
        }
    }
}
