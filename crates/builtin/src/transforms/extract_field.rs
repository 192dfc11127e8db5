//! `ExtractField`: replaces key or value by one of its fields.

use super::field_path::{FieldPath, is_nested, syntax_key};
use super::replace_field::null_key;
use super::side::{Side, require_map, require_struct};
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Key, ParsedConfig, Type};
use kurier_api::data::Value;
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;

const PURPOSE: &str = "field extraction";

pub(super) fn config() -> ConfigDef {
    ConfigDef::new()
        .define(Key::new("field", Type::String).doc("Field to extract."))
        .define(null_key())
        .define(syntax_key())
}

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    let name = config.get_str("field").unwrap_or_default();
    Ok(Box::new(ExtractField {
        path: FieldPath::new(name, is_nested(config))?,
        name: name.to_owned(),
        replace_null_with_default: config.get_bool("replace.null.with.default"),
        side,
    }))
}

struct ExtractField {
    path: FieldPath,
    name: String,
    replace_null_with_default: bool,
    side: Side,
}

impl Transform for ExtractField {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        let target = self.side.of(record);
        match &target.schema {
            None => {
                if !target.value.is_null() {
                    let map = require_map(&mut target.value, PURPOSE)?;
                    let value = match self.path.steps() {
                        // The map is not needed any more: the value is taken out of it.
                        [only] => map.get_mut(&Value::text(only)).map(std::mem::take).unwrap_or_default(),
                        _ => self.path.value_in_map(map)?,
                    };
                    target.value = value;
                }
            }
            Some(schema) => {
                if !target.value.is_null() {
                    require_struct(&mut target.value, PURPOSE)?;
                }
                let unknown = || ConnectError::illegal_argument(format!("Unknown field: {}", self.name));
                let field_schema = self.path.field(schema)?.ok_or_else(unknown)?.schema().clone();
                if let Value::Struct(structure) = &target.value {
                    target.value = self.path.value_in_struct(structure, self.replace_null_with_default)?;
                }
                target.schema = Some(field_schema);
            }
        }
        Ok(Verdict::Keep)
    }
}
