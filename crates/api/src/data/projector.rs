//! Fitting a value of one schema to another: Java's `SchemaProjector`.
//!
//! Numbers widen, missing optional fields stay unset, missing required fields take their default. Names and parameters must agree; versions
//! and docs need not.

use super::{MapBuilder, MapOrder, Schema, SchemaRef, Struct, Type, Value};
use crate::error::ConnectError;

/// Projects a value from its schema to another one.
///
/// # Errors
/// `SchemaProjectorException` where the schemas do not fit, `DataException` where the value does not fit its schema.
pub fn project(source: &Schema, value: &Value, target: &SchemaRef) -> Result<Value, ConnectError> {
    check_compatible(source, target)?;
    if source.is_optional() && !target.is_optional() {
        let Some(default) = target.default_value() else {
            return Err(ConnectError::schema_projector(
                "Writer schema is optional, however, target schema does not provide a default value.",
            ));
        };
        return if value.is_null() { Ok(default.clone()) } else { project_value(source, value, target) };
    }
    if value.is_null() { Ok(Value::Null) } else { project_value(source, value, target) }
}

fn check_compatible(source: &Schema, target: &Schema) -> Result<(), ConnectError> {
    if source.kind() != target.kind() && !is_widening(source.kind(), target.kind()) {
        return Err(ConnectError::schema_projector(format!(
            "Schema type mismatch. source type: {} and target type: {}",
            source.kind(),
            target.kind()
        )));
    }
    if source.name() != target.name() {
        return Err(ConnectError::schema_projector(format!(
            "Schema name mismatch. source name: {} and target name: {}",
            source.name().unwrap_or("null"),
            target.name().unwrap_or("null")
        )));
    }
    if !source.same_parameters(target) {
        return Err(ConnectError::schema_projector(format!(
            "Schema parameters not equal. source parameters: {} and target parameters: {}",
            parameters(source),
            parameters(target)
        )));
    }
    Ok(())
}

fn parameters(schema: &Schema) -> String {
    match schema.parameters() {
        None => "null".to_owned(),
        Some(parameters) => {
            let pairs: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

fn is_widening(source: Type, target: Type) -> bool {
    source <= target && target <= Type::Float64
}

fn project_value(source: &Schema, value: &Value, target: &SchemaRef) -> Result<Value, ConnectError> {
    let mismatch = || {
        ConnectError::of_class(
            "java.lang.ClassCastException",
            format!("class {} is no value of {source}", value.java_class()),
        )
    };
    match target.kind() {
        Type::Struct => project_struct(source, value, target, mismatch),
        Type::Array => {
            let Value::Array(items) = value else { return Err(mismatch()) };
            let (Some(from), Some(to)) = (source.value_schema(), target.value_schema()) else { return Err(mismatch()) };
            let items = items.iter().map(|item| project(from, item, to)).collect::<Result<Vec<_>, _>>()?;
            Ok(Value::array(items))
        }
        Type::Map => {
            let Value::Map(map) = value else { return Err(mismatch()) };
            let (Some(from_key), Some(to_key)) = (source.key_schema(), target.key_schema()) else {
                return Err(mismatch());
            };
            let (Some(from), Some(to)) = (source.value_schema(), target.value_schema()) else { return Err(mismatch()) };
            let mut projected = MapBuilder::new(MapOrder::Hash, map.len());
            for (key, value) in map.iter() {
                projected.insert(project(from_key, key, to_key)?, project(from, value, to)?);
            }
            Ok(projected.build().into())
        }
        kind => Ok(widen(value, kind)),
    }
}

fn project_struct(
    source: &Schema,
    value: &Value,
    target: &SchemaRef,
    mismatch: impl Fn() -> ConnectError,
) -> Result<Value, ConnectError> {
    let Value::Struct(structure) = value else { return Err(mismatch()) };
    let mut projected = Struct::new(target.clone())?;
    for field in target.fields() {
        if let Some(from) = source.field(field.name()) {
            let value = structure.get(field.name()).ok_or_else(&mismatch)?;
            let value = project(from.schema(), value, field.schema()).map_err(|cause| {
                let is_ours = cause.class() == ConnectError::schema_projector("").class();
                if is_ours {
                    ConnectError::schema_projector(format!("Error projecting {}", field.name())).with_cause(cause)
                } else {
                    cause
                }
            })?;
            projected.put(field.name(), value)?;
        } else if field.schema().is_optional() {
        } else if let Some(default) = field.schema().default_value() {
            projected.put(field.name(), default.clone())?;
        } else {
            return Err(ConnectError::schema_projector(format!(
                "Required field `{}` is missing from source schema: {source}",
                field.name()
            )));
        }
    }
    Ok(projected.into())
}

/// Numbers widen by their own class, as Java's `Number` does; all else is passed on as it is.
fn widen(value: &Value, kind: Type) -> Value {
    if let Some(n) = value.as_integer() {
        return match kind {
            Type::Int8 => Value::I8(n as i8),
            Type::Int16 => Value::I16(n as i16),
            Type::Int32 => Value::I32(n as i32),
            Type::Int64 => Value::I64(n),
            Type::Float32 => Value::F32(n as f32),
            Type::Float64 => Value::F64(n as f64),
            _ => value.clone(),
        };
    }
    match (value, kind) {
        (Value::F32(n), Type::Float64) => Value::F64(f64::from(*n)),
        (value, _) => value.clone(),
    }
}
