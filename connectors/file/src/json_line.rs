//! A value as one line of JSON, for `kurier.format=json`.
//!
//! Plain JSON without schemas: bytes become base64, decimals numbers, dates milliseconds since the epoch. What JSON has no number for (NaN, the
//! infinities) becomes null. Connectors may know only `api`, so this is not the JsonConverter.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kurier_api::data::{Foreign, Value};
use serde::ser::{Error, Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// How deep values may nest, as in Java's JsonConverter.
const MAX_DEPTH: u16 = 1000;

/// Adds the value to `line`.
///
/// # Errors
/// If it nests too deeply or a map's key is an array, a map or a struct; `line` then holds a part of it.
pub(crate) fn write(value: &Value, line: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    serde_json::to_writer(line, &Line { value, depth: 0 })
}

/// A value at its depth.
struct Line<'a> {
    value: &'a Value,
    depth: u16,
}

impl Line<'_> {
    fn inner<'v>(&self, value: &'v Value) -> Line<'v> {
        Line { value, depth: self.depth + 1 }
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if self.depth > MAX_DEPTH {
            return Err(S::Error::custom(format_args!("it nests deeper than {MAX_DEPTH}")));
        }
        match self.value {
            Value::Null => out.serialize_unit(),
            Value::Bool(b) => out.serialize_bool(*b),
            Value::I8(n) => out.serialize_i8(*n),
            Value::I16(n) => out.serialize_i16(*n),
            Value::I32(n) => out.serialize_i32(*n),
            Value::I64(n) | Value::Date(n) => out.serialize_i64(*n),
            Value::F32(n) => out.serialize_f32(*n),
            Value::F64(n) => out.serialize_f64(*n),
            Value::Text(text) => out.serialize_str(text),
            Value::Bytes(bytes) => out.serialize_str(&STANDARD.encode(bytes)),
            Value::Decimal(decimal) => number(decimal.to_plain_string(), out),
            Value::Foreign(foreign) => match &**foreign {
                Foreign::BigInteger(n) => number(n.to_string(), out),
                Foreign::ByteBuffer(bytes) => out.serialize_str(&STANDARD.encode(bytes)),
                Foreign::MalformedString(units) => out.serialize_str(&String::from_utf16_lossy(units)),
                Foreign::Object { text, .. } => out.serialize_str(text),
            },
            Value::Array(values) => out.collect_seq(values.iter().map(|value| self.inner(value))),
            Value::Map(map) => {
                let mut object = out.serialize_map(Some(map.len()))?;
                for (key, value) in map.iter() {
                    object.serialize_entry(&self.inner(key), &self.inner(value))?;
                }
                object.end()
            }
            Value::Struct(structure) => {
                let fields = structure.schema().fields();
                let mut object = out.serialize_map(Some(fields.len()))?;
                for field in fields {
                    object.serialize_entry(field.name(), &self.inner(structure.value_or_default(field.index())))?;
                }
                object.end()
            }
        }
    }
}

/// A number of any length, digit by digit.
fn number<S: Serializer>(digits: String, out: S) -> Result<S::Ok, S::Error> {
    RawValue::from_string(digits).map_err(S::Error::custom)?.serialize(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kurier_api::data::{Decimal, Map, Schema, SchemaBuilder, Struct};

    fn json(value: &Value) -> String {
        let mut line = Vec::new();
        write(value, &mut line).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn every_kind_of_value_has_its_json() {
        let mut map = Map::linked();
        map.insert("b", 1i64);
        map.insert(7i32, true);
        let schema = SchemaBuilder::structure()
            .field("x", Schema::int32())
            .field("y", Schema::optional_string())
            .build()
            .unwrap();
        let mut structure = Struct::new(schema).unwrap();
        structure.put("x", 5).unwrap();
        let cases = [
            (Value::Null, "null"),
            (Value::F64(4.5), "4.5"),
            (Value::F64(f64::NAN), "null"),
            (Value::F32(0.1), "0.1"),
            (Value::Date(12), "12"),
            (Value::text("a\"\n\u{1}é"), "\"a\\\"\\n\\u0001é\""),
            (Value::bytes([1, 2, 255]), "\"AQL/\""),
            (Decimal::new(-12_345, 2).into(), "-123.45"),
            (Value::array([Value::Null, Value::I8(1)]), "[null,1]"),
            (map.into(), r#"{"b":1,"7":true}"#),
            (structure.into(), r#"{"x":5,"y":null}"#),
        ];
        for (value, expected) in cases {
            assert_eq!(json(&value), expected);
        }
    }

    #[test]
    fn nesting_beyond_the_limit_is_refused() {
        let mut value = Value::Null;
        for _ in 0..=MAX_DEPTH {
            value = Value::array([value]);
        }
        assert!(write(&value, &mut Vec::new()).unwrap_err().to_string().contains("nests deeper"));
    }
}
