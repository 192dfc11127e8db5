//! `HeaderFrom`: moves or copies fields of key or value into headers.

use super::replace_field::null_key;
use super::side::{SchemaCache, Side, copy_basics, require_map, require_struct};
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Importance, Key, ParsedConfig, Type, Validator};
use kurier_api::data::{Field, Schema, SchemaAndValue, SchemaRef, Struct, Text, Value};
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::{Headers, Record};

pub(super) fn config() -> ConfigDef {
    let high = |name, kind, validator| Key::new(name, kind).validator(validator).importance(Importance::High);
    ConfigDef::new()
        .define(high("fields", Type::List, Validator::NonEmptyList).doc("Fields that become headers."))
        .define(
            high("headers", Type::List, Validator::NonEmptyList)
                .doc("Names of their headers: as many, in the same order."),
        )
        .define(
            high("operation", Type::String, Validator::one_of(["move", "copy"]))
                .doc("Whether the fields leave the key or value (move) or stay (copy)."),
        )
        .define(null_key())
}

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    let (fields, headers) = (config.get_list("fields"), config.get_list("headers"));
    if fields.len() != headers.len() {
        return Err(ConnectError::config("'fields' config must have the same number of elements as 'headers' config."));
    }
    Ok(Box::new(HeaderFrom {
        fields: fields.into_iter().map(Text::new).zip(headers.into_iter().map(Text::new)).collect(),
        moves: config.get_str("operation") == Some("move"),
        replace_null_with_default: config.get_bool("replace.null.with.default"),
        side,
        schemas: SchemaCache::default(),
    }))
}

struct HeaderFrom {
    /// Fields with the names of their headers.
    fields: Vec<(Text, Text)>,
    moves: bool,
    replace_null_with_default: bool,
    side: Side,
    schemas: SchemaCache,
}

/// A schema without the fields that leave.
fn without(schema: &Schema, gone: &[(Text, Text)]) -> Result<SchemaRef, ConnectError> {
    let mut builder = copy_basics(schema);
    for field in schema.fields() {
        if !gone.iter().any(|(name, _)| *name == *field.name()) {
            builder = builder.field(field.name(), field.schema().clone());
        }
    }
    builder.build()
}

impl HeaderFrom {
    fn purpose(&self) -> &'static str {
        if self.moves { "header move" } else { "header copy" }
    }

    fn value(&self, structure: &Struct, field: &Field) -> Value {
        if self.replace_null_with_default {
            structure.value_or_default(field.index()).clone()
        } else {
            structure.values()[field.index()].clone()
        }
    }

    /// The new headers. Nothing is changed before everything is known to go well.
    fn with_schema(&mut self, target: &mut SchemaAndValue) -> Result<Headers, ConnectError> {
        let structure = require_struct(&mut target.value, self.purpose())?;
        let schema = structure.schema().clone();
        let rest = if self.moves {
            let made = self.schemas.get(&schema, || without(&schema, &self.fields))?;
            let mut rest = Struct::new(made.clone())?;
            for field in made.fields() {
                let from = schema.field(field.name()).expect("the schema was made of the other's fields");
                rest.put(field.name(), self.value(structure, from))?;
            }
            Some((made, rest))
        } else {
            None
        };
        let mut headers = Headers::default();
        for (name, header) in &self.fields {
            // Java fails here on a null pointer.
            let field =
                schema.field(name).ok_or_else(|| ConnectError::data(format!("Field does not exist: {name}")))?;
            let value = self.value(structure, field);
            headers.add_checked(header, SchemaAndValue { schema: Some(field.schema().clone()), value })?;
        }
        if let Some((schema, rest)) = rest {
            target.schema = Some(schema);
            target.value = rest.into();
        }
        Ok(headers)
    }

    fn schemaless(&self, target: &mut SchemaAndValue) -> Result<Headers, ConnectError> {
        let map = require_map(&mut target.value, self.purpose())?;
        let mut headers = Headers::default();
        for (name, header) in &self.fields {
            let value = map.get_text(name).cloned().unwrap_or_default();
            headers.add(header, SchemaAndValue { schema: None, value });
        }
        let mut rest = map.copy_as_hash();
        if self.moves {
            for (name, _) in &self.fields {
                rest.remove(&Value::Text(name.clone()));
            }
        }
        target.value = rest.into();
        Ok(headers)
    }
}

impl Transform for HeaderFrom {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        let target = self.side.of(record);
        let headers = if target.schema.is_some() { self.with_schema(target)? } else { self.schemaless(target)? };
        for header in headers.iter() {
            record.headers.add(&header.key, header.value.clone());
        }
        Ok(Verdict::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, made, record, structure};
    use kurier_api::data::{Map, SchemaAndValue, Value};

    const CLASS: &str = "HeaderFrom$Value";

    fn config(operation: &'static str) -> [(&'static str, &'static str); 3] {
        [("fields", "a,b"), ("headers", "h,i"), ("operation", operation)]
    }

    #[test]
    fn fields_become_headers() {
        let value = || structure(&[("a", 1.into()), ("b", "x".into()), ("c", 2.into())]);
        check(CLASS, &config("copy"), record(value()), "Struct{a=1,b=x,c=2} old=0 h=1:INT32 i=x:STRING");
        check(CLASS, &config("move"), record(value()), "Struct{c=2} old=0 h=1:INT32 i=x:STRING");
    }

    #[test]
    fn fields_of_a_map_that_are_not_there_become_null_headers() {
        let mut map = Map::linked();
        map.insert("a", 1);
        map.insert("c", 2);
        let map = record(SchemaAndValue::schemaless(map));
        check(CLASS, &config("move"), map, "{c=2} old=0 h=1 i=null");
    }

    #[test]
    fn a_failure_leaves_the_record_as_it_was() {
        for (value, expected) in [
            (structure(&[("a", 1.into())]), "Field does not exist: b"),
            (
                SchemaAndValue::schemaless(5),
                "Only Map objects supported in absence of schema for [header move], found: java.lang.Integer",
            ),
            (
                SchemaAndValue::schemaless(Value::Null),
                "Only Map objects supported in absence of schema for [header move], found: null",
            ),
        ] {
            let mut changed = record(value);
            let before = changed.clone();
            let error = made(CLASS, &config("move")).apply(&mut changed).unwrap_err();
            assert_eq!(error.message(), Some(expected));
            assert_eq!(changed, before, "{expected}");
        }
    }
}
