//! `Cast`: turns a key or value, or fields of it, into another primitive type.

use super::replace_field::null_key;
use super::side::{SchemaCache, Side, copy_basics, copy_basics_to, field_value, require_map, require_struct};
use crate::values::Values;
use kurier_api::ConnectError;
use kurier_api::config::{self, ConfigDef, Importance, Key, ParsedConfig, Setting, Validator, invalid};
use kurier_api::data::{
    Field, Foreign, Map, Schema, SchemaBuilder, SchemaRef, Struct, Text, Type, Value, java_number, logical,
};
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;

const PURPOSE: &str = "cast types";

/// What can be cast to, in Java's order; bytes can be cast from as well.
const TARGETS: [Type; 8] =
    [Type::Int8, Type::Int16, Type::Int32, Type::Int64, Type::Float32, Type::Float64, Type::Boolean, Type::String];

pub(super) fn config() -> ConfigDef {
    ConfigDef::new()
        .define(
            Key::new("spec", config::Type::List)
                .validator(Validator::custom(
                    "list of colon-delimited pairs, e.g. <code>foo:bar,abc:xyz</code>",
                    |_, value| Spec::read(value).map(drop),
                ))
                .importance(Importance::High)
                .doc(
                    "Fields and the types they are cast to, `field:type`; or one type for the whole key or value. Types are int8, int16, int32, \
                     int64, float32, float64, boolean and string.",
                ),
        )
        .define(null_key())
}

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    Ok(Box::new(Cast {
        spec: Spec::read(config.get("spec")?)?,
        replace_null_with_default: config.get_bool("replace.null.with.default"),
        side,
        values: Values::system(),
        schemas: SchemaCache::default(),
    }))
}

/// What is cast to what.
enum Spec {
    Whole(Type),
    /// Fields in the order of Java's hash map.
    Fields(Vec<(Text, Type)>),
}

impl Spec {
    fn read(value: &Setting) -> Result<Self, ConnectError> {
        let Setting::List(items) = value else { return Err(nothing_to_cast()) };
        if items.is_empty() {
            return Err(nothing_to_cast());
        }
        let mut whole = None;
        // The place in the table of types stands for the type, so that the map orders the fields.
        let mut fields = Map::hash();
        for item in items {
            let text = item.to_string();
            let mut parts: Vec<&str> = text.split(':').collect();
            // Java's split drops empty texts at the end.
            while parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
                parts.pop();
            }
            match parts[..] {
                [target] => whole = Some(read_target(target)?),
                [field, target] => {
                    fields.insert(field.trim(), read_target(target)? as i32);
                }
                // The key's name is a slip of Java's.
                _ => return Err(invalid("renames", value, &format!("Invalid rename mapping: {text}"))),
            }
        }
        match whole {
            Some(_) if items.len() > 1 => Err(ConnectError::config(
                "Cast transformations that specify a type to cast the entire value to may only specify a single cast in their spec",
            )),
            Some(target) => Ok(Self::Whole(target)),
            None => {
                let target = |number: &Value| TARGETS.into_iter().find(|kind| Value::I32(*kind as i32) == *number);
                let field = |(name, number): (&Value, &Value)| Some((Text::new(name.as_text()?), target(number)?));
                Ok(Self::Fields(fields.iter().filter_map(field).collect()))
            }
        }
    }
}

fn nothing_to_cast() -> ConnectError {
    ConnectError::config("Must specify at least one field to cast.")
}

fn read_target(text: &str) -> Result<Type, ConnectError> {
    let name = text.trim();
    let upper = name.to_uppercase();
    let others = [Type::Bytes, Type::Array, Type::Map, Type::Struct];
    let Some(kind) = TARGETS.into_iter().chain(others).find(|kind| kind.java_name() == upper) else {
        return Err(ConnectError::config(format!(
            "Invalid value java.lang.IllegalArgumentException: No enum constant org.apache.kafka.connect.data.Schema.Type.{upper} for \
             configuration Invalid type found in casting spec: {name}"
        )));
    };
    if TARGETS.contains(&kind) {
        Ok(kind)
    } else {
        Err(ConnectError::config(format!(
            "Cast transformation does not support casting to {upper}; supported types are [{}]",
            TARGETS.map(Type::java_name).join(", ")
        )))
    }
}

struct Cast {
    spec: Spec,
    replace_null_with_default: bool,
    side: Side,
    values: Values,
    schemas: SchemaCache,
}

/// Casts values, with a zone for the texts of dates.
struct Caster<'a>(&'a Values);

impl Caster<'_> {
    fn cast(&self, schema: Option<&Schema>, value: Value, target: Option<Type>) -> Result<Value, ConnectError> {
        if value.is_null() {
            return Ok(value);
        }
        let Some(kind) = schema.map(Schema::kind).or_else(|| value.schema_type()) else {
            return Err(ConnectError::data(format!(
                "Cast transformation was passed a value of type class {} which is not supported by Connect's data API",
                value.java_class()
            )));
        };
        let target = match target {
            Some(target) if kind == Type::Bytes || TARGETS.contains(&kind) => target,
            _ => {
                return Err(ConnectError::data(format!(
                    "Cast transformation does not support casting from {}; supported types are [{}, BYTES]",
                    kind.java_name(),
                    TARGETS.map(Type::java_name).join(", ")
                )));
            }
        };
        let value = match schema.and_then(Schema::name) {
            Some(name) if target != Type::String => encoded(name, value)?,
            _ => value,
        };
        match target {
            Type::Int8 => Ok(Value::I8(integer(&value, 8)? as i8)),
            Type::Int16 => Ok(Value::I16(integer(&value, 16)? as i16)),
            Type::Int32 => Ok(Value::I32(integer(&value, 32)? as i32)),
            Type::Int64 => Ok(Value::I64(integer(&value, 64)?)),
            Type::Float32 => float(&value, java_number::float, |n| n as f32).map(Value::F32),
            Type::Float64 => float(&value, java_number::double, |n| n).map(Value::F64),
            Type::Boolean => match &value {
                Value::Text(text) => Ok(Value::Bool(text.eq_ignore_ascii_case("true"))),
                Value::Foreign(foreign) if matches!(**foreign, Foreign::MalformedString(_)) => Ok(Value::Bool(false)),
                other => Ok(Value::Bool(integer(other, 64)? != 0)),
            },
            _ => self.text(value),
        }
    }

    /// Java's `toString`, but dates as `Values` writes them and bytes in Base64.
    fn text(&self, value: Value) -> Result<Value, ConnectError> {
        match value {
            Value::Date(_) | Value::Bytes(_) => self.0.convert_to_string(None, &value),
            Value::Foreign(foreign) => match *foreign {
                Foreign::ByteBuffer(bytes) => self.0.convert_to_string(None, &Value::Bytes(bytes)),
                Foreign::MalformedString(_) => Ok(Value::Foreign(foreign)),
                other => Ok(Value::text(Value::Foreign(Box::new(other)).to_string())),
            },
            Value::Text(_) => Ok(value),
            other => Ok(Value::text(other.to_string())),
        }
    }
}

/// Dates as the numbers that stand for them on the wire.
fn encoded(name: &str, value: Value) -> Result<Value, ConnectError> {
    Ok(match (name, value) {
        (logical::DATE, Value::Date(ms)) => Value::I32(logical::days_of_date(ms)?),
        (logical::TIME, Value::Date(ms)) => Value::I32(logical::ms_of_time(ms)?),
        (logical::TIMESTAMP, Value::Date(ms)) => Value::I64(ms),
        (_, value) => value,
    })
}

fn unexpected(value: &Value) -> ConnectError {
    ConnectError::data(format!("Unexpected type in Cast transformation: class {}", value.java_class()))
}

fn out_of_range(value: &Value, why: String) -> ConnectError {
    let message = format!("Value ({value}) was out of range for requested data type");
    ConnectError::data(message).with_cause(ConnectError::number_format(why))
}

/// An integer of so many bits, to be cut off there. Java's `byteValue` and its kin, `parseByte` and its kin.
fn integer(value: &Value, bits: u32) -> Result<i64, ConnectError> {
    // Fractions become an int first where the target is shorter.
    let of_double = |n: f64| if bits == 64 { n as i64 } else { i64::from(n as i32) };
    Ok(match value {
        Value::Bool(truth) => i64::from(*truth),
        Value::F32(n) => of_double(f64::from(*n)),
        Value::F64(n) => of_double(*n),
        Value::Decimal(decimal) => decimal.low_bits(),
        Value::Text(text) => {
            let bad = || out_of_range(value, format!("For input string: \"{text}\""));
            let number = java_number::integer(text).ok_or_else(bad)?;
            let limit = 1i128 << (bits - 1);
            if (-limit..limit).contains(&number) {
                return Ok(number as i64);
            }
            // Bytes and shorts are read as an int, and are too large only after that.
            let is_int = i32::try_from(number).is_ok();
            return Err(if bits < 32 && is_int {
                out_of_range(value, format!("Value out of range. Value:\"{text}\" Radix:10"))
            } else {
                bad()
            });
        }
        other => other.as_integer().ok_or_else(|| not_a_number(other))?,
    })
}

fn not_a_number(value: &Value) -> ConnectError {
    match value {
        Value::Foreign(foreign) if matches!(**foreign, Foreign::MalformedString(_)) => {
            out_of_range(value, format!("For input string: \"{value}\""))
        }
        other => unexpected(other),
    }
}

/// A fraction. Java's `floatValue` and `doubleValue`, `parseFloat` and `parseDouble`.
fn float<F: From<f32>>(value: &Value, read: fn(&str) -> Option<F>, of_double: fn(f64) -> F) -> Result<F, ConnectError> {
    Ok(match value {
        Value::Bool(truth) => of_double(f64::from(u8::from(*truth))),
        Value::F32(n) => F::from(*n),
        Value::F64(n) => of_double(*n),
        // By way of its text, so that it is rounded once.
        Value::I64(n) => read(&n.to_string()).expect("a number's text is a number"),
        Value::Decimal(decimal) => read(&decimal.to_string()).expect("a decimal is a number"),
        Value::Text(text) => {
            let trimmed = text.trim_matches(|c| c <= ' ');
            read(trimmed).ok_or_else(|| {
                let why = if trimmed.is_empty() {
                    "empty String".to_owned()
                } else {
                    format!("For input string: \"{trimmed}\"")
                };
                out_of_range(value, why)
            })?
        }
        other => of_double(other.as_integer().ok_or_else(|| not_a_number(other))? as f64),
    })
}

/// The schema of a cast key or value.
fn cast_schema(schema: &Schema, spec: &Spec, caster: &Caster<'_>) -> Result<SchemaRef, ConnectError> {
    let (mut builder, whole) = match spec {
        Spec::Whole(target) => (copy_basics_to(schema, SchemaBuilder::of(*target)), Some(*target)),
        Spec::Fields(_) if schema.kind() != Type::Struct => {
            return Err(ConnectError::data("Cannot list fields on non-struct type"));
        }
        Spec::Fields(fields) => {
            let mut builder = copy_basics(schema);
            for field in schema.fields() {
                let inner = match target_of(fields, field) {
                    Some(target) => cast_field(field.schema(), target, caster)?,
                    None => field.schema().clone(),
                };
                builder = builder.field(field.name(), inner);
            }
            (builder, None)
        }
    };
    if schema.is_optional() {
        builder = builder.optional();
    }
    if let Some(default) = schema.default_value() {
        builder = builder.default_value(caster.cast(Some(schema), default.clone(), whole)?);
    }
    builder.build()
}

fn cast_field(schema: &Schema, target: Type, caster: &Caster<'_>) -> Result<SchemaRef, ConnectError> {
    let mut builder = SchemaBuilder::of(target);
    if schema.is_optional() {
        builder = builder.optional();
    }
    if let Some(default) = schema.default_value() {
        builder = builder.default_value(caster.cast(Some(schema), default.clone(), Some(target))?);
    }
    builder.build()
}

fn target_of(fields: &[(Text, Type)], field: &Field) -> Option<Type> {
    fields.iter().find(|(name, _)| *name == *field.name()).map(|(_, target)| *target)
}

impl Transform for Cast {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        let target = self.side.of(record);
        if target.value.is_null() {
            return Ok(Verdict::Keep);
        }
        let (spec, caster) = (&self.spec, Caster(&self.values));
        let Some(schema) = &target.schema else {
            match spec {
                Spec::Whole(kind) => {
                    target.value = caster.cast(None, target.value.clone(), Some(*kind))?;
                }
                Spec::Fields(fields) => {
                    let map = require_map(&mut target.value, PURPOSE)?;
                    let mut copy = map.copy_as_hash();
                    for (name, kind) in fields {
                        let value = copy.get_text(name).cloned().unwrap_or_default();
                        copy.insert(Value::Text(name.clone()), caster.cast(None, value, Some(*kind))?);
                    }
                    *map = copy;
                }
            }
            return Ok(Verdict::Keep);
        };
        let made = self.schemas.get(schema, || cast_schema(schema, spec, &caster))?;
        match spec {
            Spec::Whole(kind) => target.value = caster.cast(Some(schema), target.value.clone(), Some(*kind))?,
            Spec::Fields(fields) => {
                let structure = require_struct(&mut target.value, PURPOSE)?;
                let mut updated = Struct::new(made.clone())?;
                for field in schema.fields() {
                    let mut value = field_value(structure, field, self.replace_null_with_default);
                    if let Some(kind) = target_of(fields, field) {
                        value = caster.cast(Some(field.schema()), value, Some(kind))?;
                    }
                    updated.put(field.name(), value)?;
                }
                target.value = updated.into();
            }
        }
        target.schema = Some(made);
        Ok(Verdict::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, made, record, structure};
    use kurier_api::data::{Map, SchemaAndValue, Value};

    const CLASS: &str = "Cast$Value";

    #[test]
    fn whole_values_become_another_type() {
        let cases = [
            ("int8", Value::I32(300), "44"),
            ("int8", Value::F64(5e9), "-1"),
            ("int64", Value::F64(f64::NAN), "0"),
            ("int16", Value::text("-7"), "-7"),
            ("float32", Value::text(" 5f "), "5.0"),
            ("float64", Value::Bool(true), "1.0"),
            ("boolean", Value::text("TRUE"), "true"),
            ("boolean", Value::F64(0.5), "false"),
            ("string", Value::F32(1e10), "1.0E10"),
            ("string", Value::bytes([1, 2]), "AQI="),
            ("INT32", Value::Null, "null"),
        ];
        for (spec, value, expected) in cases {
            let record = record(SchemaAndValue::schemaless(value));
            check(CLASS, &[("spec", spec)], record, &format!("{expected} old=0"));
        }
    }

    #[test]
    fn fields_become_another_type_each() {
        let value = structure(&[("a", 1.into()), ("b", "2".into()), ("c", true.into())]);
        check(CLASS, &[("spec", "a:string, b : float64 ,none:int8")], record(value), "Struct{a=1,b=2.0,c=true} old=0");
        let mut map = Map::linked();
        map.insert("a", 1);
        let map = record(SchemaAndValue::schemaless(map));
        check(CLASS, &[("spec", "a:boolean,none:int8")], map, "{a=true, none=null} old=0");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_says_why() {
        let cases = [
            ("int8", Value::text("300"), "300", "Value out of range. Value:\"300\" Radix:10"),
            ("int32", Value::text("1e2"), "1e2", "For input string: \"1e2\""),
            ("int64", Value::text(""), "", "For input string: \"\""),
            ("float64", Value::text(" x "), " x ", "For input string: \"x\""),
            ("float64", Value::text(" "), " ", "empty String"),
        ];
        for (spec, value, shown, why) in cases {
            let error =
                made(CLASS, &[("spec", spec)]).apply(&mut record(SchemaAndValue::schemaless(value))).unwrap_err();
            let expected = format!("Value ({shown}) was out of range for requested data type");
            assert_eq!(error.message(), Some(expected.as_str()));
            assert_eq!(error.cause().and_then(|cause| cause.message()), Some(why));
        }
    }
}
