//! `Flatten`: lifts the fields of nested structs and maps to the top, under joined names.

use super::side::{SchemaCache, Side, copy_basics, copy_basics_to, require_map, require_struct};
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Key, ParsedConfig};
use kurier_api::data::{Map, Schema, SchemaBuilder, SchemaRef, Struct, Type, Value};
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;

const PURPOSE: &str = "flattening";

pub(super) fn config() -> ConfigDef {
    ConfigDef::new().define(
        Key::new("delimiter", kurier_api::config::Type::String)
            .default(".")
            .doc("What stands between the names of a field and of the one it is in."),
    )
}

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    Ok(Box::new(Flatten {
        names: Names { delimiter: config.get_str("delimiter").unwrap_or_default().to_owned() },
        side,
        schemas: SchemaCache::default(),
    }))
}

struct Flatten {
    names: Names,
    side: Side,
    schemas: SchemaCache,
}

struct Names {
    delimiter: String,
}

impl Names {
    fn join(&self, prefix: &str, name: &str) -> String {
        if prefix.is_empty() { name.to_owned() } else { [prefix, &self.delimiter, name].concat() }
    }

    /// Adds the fields of a map to the flat one.
    fn flatten_map(&self, from: Map, prefix: &str, flat: &mut Map) -> Result<(), ConnectError> {
        for (key, value) in from.into_pairs() {
            let Value::Text(name) = &key else { return Err(not_text(&key)) };
            let name = self.join(prefix, name);
            let kind = value.schema_type();
            match value {
                Value::Map(inner) => self.flatten_map(*inner, &name, flat)?,
                value if value.is_null() || kind.is_some_and(|kind| kind != Type::Struct) => {
                    flat.insert(Value::text(name), value);
                }
                value if kind.is_none() => {
                    return Err(ConnectError::data(format!(
                        "Flatten transformation was passed a value of type class {} which is not supported by Connect's data API",
                        value.java_class()
                    )));
                }
                value => {
                    return Err(ConnectError::data(format!(
                        "Flatten transformation does not support class {} for record without schemas (for field {name}).",
                        value.java_class()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Adds the fields of a schema to the flat one. What is optional or has a default above is so below.
    fn flatten_schema(
        &self,
        schema: &Schema,
        prefix: &str,
        mut flat: SchemaBuilder,
        optional: bool,
        default: Option<&Struct>,
    ) -> Result<SchemaBuilder, ConnectError> {
        for field in schema.fields() {
            let name = self.join(prefix, field.name());
            let inner = field.schema();
            let optional = optional || inner.is_optional();
            let from_above = || default.and_then(|default| default.get(field.name())).filter(|value| !value.is_null());
            let default = inner.default_value().or_else(from_above);
            flat = match inner.kind() {
                Type::Struct => {
                    self.flatten_schema(inner, &name, flat, optional, default.and_then(Value::as_struct))?
                }
                Type::Map => {
                    return Err(ConnectError::data(format!(
                        "Flatten transformation does not support MAP for record with schemas (for field {name})."
                    )));
                }
                _ => flat.field(name, flat_field(inner, optional, default)?),
            };
        }
        Ok(flat)
    }

    /// Puts the fields of a struct into the flat one. Those of a struct that is not there stay unset.
    fn flatten_struct(&self, from: &Struct, prefix: &str, flat: &mut Struct) -> Result<(), ConnectError> {
        for field in from.schema().fields() {
            let name = self.join(prefix, field.name());
            if field.schema().kind() == Type::Struct {
                if let Value::Struct(inner) = &from.values()[field.index()] {
                    self.flatten_struct(inner, &name, flat)?;
                }
            } else {
                flat.put(&name, from.value_or_default(field.index()).clone())?;
            }
        }
        Ok(())
    }
}

/// Java fails by accident on a key that is no text.
fn not_text(key: &Value) -> ConnectError {
    let class = "java.lang.ClassCastException";
    ConnectError::of_class(class, format!("class {} cannot be cast to class java.lang.String", key.java_class()))
}

/// The schema of a field at the top.
fn flat_field(schema: &Schema, optional: bool, default: Option<&Value>) -> Result<SchemaRef, ConnectError> {
    let inner = schema.value_schema().filter(|_| schema.kind() == Type::Array);
    let mut builder = copy_basics_to(schema, SchemaBuilder::with_inner(schema.kind(), None, inner.cloned()));
    if optional {
        builder = builder.optional();
    }
    if let Some(default) = default {
        builder = builder.default_value(default.clone());
    }
    builder.build()
}

impl Transform for Flatten {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        let target = self.side.of(record);
        if target.value.is_null() {
            return Ok(Verdict::Keep);
        }
        let names = &self.names;
        let Some(schema) = &target.schema else {
            let map = require_map(&mut target.value, PURPOSE)?;
            let mut flat = Map::linked();
            names.flatten_map(map.clone(), "", &mut flat)?;
            *map = flat;
            return Ok(Verdict::Keep);
        };
        let structure = require_struct(&mut target.value, PURPOSE)?;
        let made = self.schemas.get(schema, || {
            let default = schema.default_value().and_then(Value::as_struct);
            names.flatten_schema(schema, "", copy_basics(schema), schema.is_optional(), default)?.build()
        })?;
        let mut flat = Struct::new(made.clone())?;
        names.flatten_struct(structure, "", &mut flat)?;
        target.value = flat.into();
        target.schema = Some(made);
        Ok(Verdict::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, record};
    use super::*;
    use kurier_api::data::SchemaAndValue;

    const CLASS: &str = "Flatten$Value";

    #[test]
    fn nested_maps_come_to_the_top() {
        let mut inner = Map::linked();
        inner.insert("x", 1);
        inner.insert("none", Value::Null);
        let mut middle = Map::linked();
        middle.insert("i", Value::from(inner));
        let mut outer = Map::linked();
        outer.insert("m", Value::from(middle));
        outer.insert("l", Value::array([Value::I32(1)]));
        outer.insert("empty", Value::from(Map::linked()));
        let value = || record(SchemaAndValue::schemaless(outer.clone()));
        check(CLASS, &[], value(), "{m.i.x=1, m.i.none=null, l=[1]} old=0");
        check(CLASS, &[("delimiter", "")], value(), "{mix=1, minone=null, l=[1]} old=0");
    }

    #[test]
    fn fields_inherit_optional_and_default_from_above() {
        let inner = SchemaBuilder::structure().field("x", Schema::int32()).field("y", Schema::int32()).optional();
        let inner = inner.build().unwrap();
        let mut default = Struct::new(inner.clone()).unwrap();
        default.put("x", 7).unwrap().put("y", 8).unwrap();
        let inner = inner.to_builder().default_value_unchecked(default).build().unwrap();
        let outer = SchemaBuilder::structure().field("n", inner.clone()).field("z", Schema::string()).build().unwrap();
        let mut value = Struct::new(outer.clone()).unwrap();
        value.put("z", "end").unwrap();
        let mut record = record(SchemaAndValue::new(outer, value));
        let kind = super::super::transforms().find(|kind| kind.descriptor().class.ends_with(CLASS)).unwrap();
        kind.create(&[].into_iter().collect()).unwrap().apply(&mut record).unwrap();
        let schema = record.value.schema.unwrap();
        let shown: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| (field.name(), field.schema().is_optional(), field.schema().default_value().cloned()))
            .collect();
        let expected = [("n.x", true, Some(Value::I32(7))), ("n.y", true, Some(Value::I32(8))), ("z", false, None)];
        assert_eq!(shown, expected);
        assert_eq!(record.value.value.as_struct().unwrap().values()[0], Value::Null);
    }
}
