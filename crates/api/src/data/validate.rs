//! Whether a value fits a schema. Counterpart of Java's `ConnectSchema.validateValue`.

use super::{Foreign, Schema, Type, Value, logical};
use crate::error::ConnectError;

impl Schema {
    /// Checks a value against this schema; `name` is what the message calls it: a field's name, or `value` for a whole value.
    ///
    /// # Errors
    /// `DataException` with Java's message.
    pub fn validate_value(&self, name: &str, value: &Value) -> Result<(), ConnectError> {
        self.validate_at(&|| if name == "value" { "value".to_owned() } else { format!("field: \"{name}\"") }, value)
    }

    fn validate_at(&self, location: &dyn Fn() -> String, value: &Value) -> Result<(), ConnectError> {
        if value.is_null() {
            if self.is_optional() {
                return Ok(());
            }
            return Err(ConnectError::data(format!(
                "Invalid value: null used for required {}, schema type: {}",
                location(),
                self.kind()
            )));
        }
        if !self.accepts_class_of(value) {
            let schema_name = self.name().map(|n| format!(" \"{n}\"")).unwrap_or_default();
            return Err(ConnectError::data(format!(
                "Invalid Java object for schema{schema_name} with type {}: class {} for {}",
                self.kind(),
                value.java_class(),
                location()
            )));
        }
        match (self.kind(), value) {
            (Type::Struct, Value::Struct(structure)) => {
                if !(std::ptr::eq(&**structure.schema(), self) || **structure.schema() == *self) {
                    return Err(ConnectError::data("Struct schemas do not match."));
                }
                structure.validate()
            }
            (Type::Array, Value::Array(values)) => {
                if let Some(inner) = self.value_schema() {
                    for value in values {
                        inner.validate_at(&|| format!("element of array {}", location()), value)?;
                    }
                }
                Ok(())
            }
            (Type::Map, Value::Map(map)) => {
                for (key, value) in map.iter() {
                    if let Some(inner) = self.key_schema() {
                        inner.validate_at(&|| format!("key of map {}", location()), key)?;
                    }
                    if let Some(inner) = self.value_schema() {
                        inner.validate_at(&|| format!("value of map {}", location()), value)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A logical name replaces the classes of the base type, whatever that is.
    fn accepts_class_of(&self, value: &Value) -> bool {
        match self.name() {
            Some(logical::DECIMAL) => return matches!(value, Value::Decimal(_)),
            Some(logical::DATE | logical::TIME | logical::TIMESTAMP) => return matches!(value, Value::Date(_)),
            _ => {}
        }
        match (self.kind(), value) {
            (Type::Int8, Value::I8(_))
            | (Type::Int16, Value::I16(_))
            | (Type::Int32, Value::I32(_))
            | (Type::Int64, Value::I64(_))
            | (Type::Float32, Value::F32(_))
            | (Type::Float64, Value::F64(_))
            | (Type::Boolean, Value::Bool(_))
            | (Type::String, Value::Text(_))
            | (Type::Bytes, Value::Bytes(_))
            | (Type::Array, Value::Array(_))
            | (Type::Map, Value::Map(_))
            | (Type::Struct, Value::Struct(_)) => true,
            (Type::String, Value::Foreign(foreign)) => matches!(**foreign, Foreign::MalformedString(_)),
            (Type::Bytes, Value::Foreign(foreign)) => matches!(**foreign, Foreign::ByteBuffer(_)),
            _ => false,
        }
    }
}
