//! `HoistField`: wraps key or value into a struct or map with one field.

use super::side::{SchemaCache, Side};
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Key, ParsedConfig, Type};
use kurier_api::data::{Map, SchemaBuilder, Struct, Text, Value};
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;

pub(super) fn config() -> ConfigDef {
    ConfigDef::new().define(
        Key::new("field", Type::String)
            .doc("Name of the field that is made, in the struct or map that is made around it."),
    )
}

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    let field = Text::new(config.get_str("field").unwrap_or_default());
    Ok(Box::new(HoistField { field, side, schemas: SchemaCache::default() }))
}

struct HoistField {
    field: Text,
    side: Side,
    schemas: SchemaCache,
}

impl Transform for HoistField {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        let target = self.side.of(record);
        let value = std::mem::take(&mut target.value);
        match &target.schema {
            None => {
                // Java makes a singleton map, which has one order only.
                let mut map = Map::hash();
                map.insert(Value::Text(self.field.clone()), value);
                target.value = map.into();
            }
            Some(schema) => {
                let made = self
                    .schemas
                    .get(schema, || SchemaBuilder::structure().field(&self.field, schema.clone()).build())?;
                let mut structure = Struct::new(made.clone())?;
                structure.put(&self.field, value)?;
                target.value = structure.into();
                target.schema = Some(made);
            }
        }
        Ok(Verdict::Keep)
    }
}
