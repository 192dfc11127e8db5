//! `SetSchemaMetadata`: gives the struct schema of key or value another name or version. As in Java, other schemas are refused.

use super::replace_field::null_key;
use super::side::{SchemaCache, Side, require_struct};
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Importance, Key, ParsedConfig, Setting, Type};
use kurier_api::data::{self, Schema, SchemaRef, Struct};
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;

const PURPOSE: &str = "updating schema metadata";

pub(super) fn config() -> ConfigDef {
    let high = |name, kind| Key::new(name, kind).default_null().importance(Importance::High);
    ConfigDef::new()
        .define(high("schema.name", Type::String).doc("Name that the schema gets; without it, it keeps its own."))
        .define(high("schema.version", Type::Int).doc("Version that the schema gets; without it, it keeps its own."))
        .define(null_key())
}

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    let name = config.get_str("schema.name").map(str::to_owned);
    let version = match config.get("schema.version")? {
        Setting::Int(version) => Some(*version),
        _ => None,
    };
    if name.is_none() && version.is_none() {
        return Err(ConnectError::config("Neither schema name nor version configured"));
    }
    Ok(Box::new(SetSchemaMetadata {
        name,
        version,
        replace_null_with_default: config.get_bool("replace.null.with.default"),
        side,
        schemas: SchemaCache::default(),
    }))
}

struct SetSchemaMetadata {
    name: Option<String>,
    version: Option<i32>,
    replace_null_with_default: bool,
    side: Side,
    schemas: SchemaCache,
}

fn renamed(schema: &Schema, name: Option<&str>, version: Option<i32>) -> Result<SchemaRef, ConnectError> {
    let mut builder = schema.to_builder();
    if let Some(name) = name {
        builder = builder.name(name);
    }
    if let Some(version) = version {
        builder = builder.version(version);
    }
    builder.build()
}

impl Transform for SetSchemaMetadata {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        let target = self.side.of(record);
        let Some(schema) = &target.schema else {
            if target.value.is_null() {
                return Ok(Verdict::Keep);
            }
            return Err(ConnectError::data(format!("Schema required for [{PURPOSE}]")));
        };
        if schema.kind() != data::Type::Struct {
            return Err(ConnectError::data("Cannot list fields on non-struct type"));
        }
        let made = self.schemas.get(schema, || renamed(schema, self.name.as_deref(), self.version))?;
        if !target.value.is_null() {
            let structure = require_struct(&mut target.value, PURPOSE)?;
            let mut updated = Struct::new(made.clone())?;
            for field in made.fields() {
                let value = if self.replace_null_with_default {
                    structure.value_or_default(field.index())
                } else {
                    &structure.values()[field.index()]
                };
                updated.put(field.name(), value.clone())?;
            }
            target.value = updated.into();
        }
        target.schema = Some(made);
        Ok(Verdict::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{made, record, structure};
    use super::super::transforms;
    use kurier_api::config::Props;
    use kurier_api::data::{SchemaAndValue, Value};
    use kurier_api::plugin::Verdict;

    const CLASS: &str = "SetSchemaMetadata$Value";

    #[test]
    fn name_and_version_are_set_each_for_itself() {
        let cases = [
            (&[("schema.name", "n")][..], Some("n"), None),
            (&[("schema.version", "3")][..], None, Some(3)),
            (&[("schema.name", "n"), ("schema.version", "3")][..], Some("n"), Some(3)),
        ];
        for (config, name, version) in cases {
            let mut record = record(structure(&[("a", 1.into())]));
            let mut transform = made(CLASS, config);
            assert_eq!(transform.apply(&mut record).unwrap(), Verdict::Keep);
            let schema = record.value.schema.clone().unwrap();
            assert_eq!((schema.name(), schema.version()), (name, version), "{config:?}");
            assert_eq!(record.value.value.to_string(), "Struct{a=1}");
            assert!(record.value.value.as_struct().is_some_and(|of| *of.schema() == schema), "{config:?}");
        }
    }

    #[test]
    fn only_structs_have_a_schema_that_can_be_renamed() {
        let cases = [
            (SchemaAndValue::NULL, None),
            (SchemaAndValue::schemaless(1), Some("Schema required for [updating schema metadata]")),
            (
                SchemaAndValue::new(kurier_api::data::Schema::optional_int32(), Value::Null),
                Some("Cannot list fields on non-struct type"),
            ),
        ];
        for (value, expected) in cases {
            let got = made(CLASS, &[("schema.name", "n")]).apply(&mut record(value.clone()));
            assert_eq!(got.as_ref().err().and_then(|error| error.message()), expected, "{value}");
        }
    }

    #[test]
    fn one_of_both_is_needed() {
        let kind = transforms().find(|kind| kind.descriptor().class.ends_with(CLASS)).unwrap();
        let error = kind.create(&Props::new()).err().unwrap();
        assert_eq!(error.message(), Some("Neither schema name nor version configured"));
    }
}
