//! `MaskField`: replaces values of fields by nothing of their type, or by a given text or number.

use super::replace_field::null_key;
use super::side::{Side, field_value, require_map, require_struct};
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Importance, Key, ParsedConfig, Type, Validator};
use kurier_api::data::{Decimal, Foreign, Map, Struct, Text, Value};
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;
use num_bigint::BigInt;

const PURPOSE: &str = "mask fields";

pub(super) fn config() -> ConfigDef {
    ConfigDef::new()
        .define(
            Key::new("fields", Type::List)
                .validator(Validator::ValidList { of: Vec::new(), empty: false, null: false })
                .importance(Importance::High)
                .doc("Fields to mask."),
        )
        .define(
            Key::new("replacement", Type::String)
                .default_null()
                .validator(Validator::NonEmptyString)
                .importance(Importance::Low)
                .doc("What numbers and texts are replaced by; without it by 0 and the empty text."),
        )
        .define(null_key())
}

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    Ok(Box::new(MaskField {
        fields: config.get_list("fields").into_iter().map(Text::new).collect(),
        replacement: config.get_str("replacement").map(str::to_owned),
        replace_null_with_default: config.get_bool("replace.null.with.default"),
        side,
    }))
}

struct MaskField {
    fields: Vec<Text>,
    replacement: Option<String>,
    replace_null_with_default: bool,
    side: Side,
}

impl MaskField {
    fn mask(&self, value: &Value) -> Result<Value, ConnectError> {
        match (value, &self.replacement) {
            (Value::Null, _) => Ok(Value::Null),
            (value, None) => nothing_like(value),
            (value, Some(replacement)) => replaced(value, replacement),
        }
    }
}

/// Zero, false, the empty text: what is left of a value.
fn nothing_like(value: &Value) -> Result<Value, ConnectError> {
    Ok(match value {
        Value::Bool(_) => Value::Bool(false),
        Value::I8(_) => Value::I8(0),
        Value::I16(_) => Value::I16(0),
        Value::I32(_) => Value::I32(0),
        Value::I64(_) => Value::I64(0),
        Value::F32(_) => Value::F32(0.0),
        Value::F64(_) => Value::F64(0.0),
        Value::Decimal(_) => Decimal::new(0, 0).into(),
        Value::Date(_) => Value::Date(0),
        Value::Text(_) => Value::text(""),
        Value::Array(_) => Value::array([]),
        Value::Map(_) => Map::hash().into(),
        Value::Foreign(foreign) => match &**foreign {
            Foreign::BigInteger(_) => Value::Foreign(Box::new(Foreign::BigInteger(BigInt::ZERO))),
            Foreign::MalformedString(_) => Value::text(""),
            _ => return Err(cannot_mask(value)),
        },
        Value::Null | Value::Bytes(_) | Value::Struct(_) => return Err(cannot_mask(value)),
    })
}

fn cannot_mask(value: &Value) -> ConnectError {
    ConnectError::data(format!("Cannot mask value of type: class {}", value.java_class()))
}

/// The replacement as a value of the same type.
fn replaced(value: &Value, replacement: &str) -> Result<Value, ConnectError> {
    let parsed = match value {
        // Java reads a decimal number and keeps what of it fits into the type.
        Value::I8(_) => decimal(replacement).map(|n| Value::I8(n.low_bits() as i8)),
        Value::I16(_) => decimal(replacement).map(|n| Value::I16(n.low_bits() as i16)),
        Value::I32(_) => decimal(replacement).map(|n| Value::I32(n.low_bits() as i32)),
        Value::I64(_) => decimal(replacement).map(|n| Value::I64(n.low_bits())),
        Value::F32(_) => decimal(replacement).and_then(|_| replacement.parse().ok()).map(Value::F32),
        Value::F64(_) => decimal(replacement).and_then(|_| replacement.parse().ok()).map(Value::F64),
        Value::Text(_) => Some(Value::text(replacement)),
        Value::Decimal(_) => decimal(replacement).map(Value::from),
        Value::Foreign(foreign) => match &**foreign {
            Foreign::BigInteger(_) => {
                big_integer(replacement).map(|n| Value::Foreign(Box::new(Foreign::BigInteger(n))))
            }
            Foreign::MalformedString(_) => Some(Value::text(replacement)),
            _ => return Err(cannot_replace(value)),
        },
        _ => return Err(cannot_replace(value)),
    };
    let a = if matches!(value, Value::Decimal(_) | Value::Foreign(_)) { "" } else { "a " };
    parsed.ok_or_else(|| {
        ConnectError::data(format!("Unable to convert {replacement} (class java.lang.String) to {a}number"))
    })
}

fn cannot_replace(value: &Value) -> ConnectError {
    ConnectError::data(format!("Cannot mask value of type class {} with custom replacement.", value.java_class()))
}

/// Java's `new BigInteger(text)`.
fn big_integer(text: &str) -> Option<BigInt> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Java's `new BigDecimal(text)`.
fn decimal(text: &str) -> Option<Decimal> {
    text.parse().ok()
}

impl Transform for MaskField {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        let side = self.side;
        let target = side.of(record);
        let Some(schema) = &target.schema else {
            let map = require_map(&mut target.value, PURPOSE)?;
            let mut copy = map.copy_as_hash();
            for field in &self.fields {
                let masked = copy.get_text(field).map_or(Ok(Value::Null), |value| self.mask(value))?;
                copy.insert(Value::Text(field.clone()), masked);
            }
            *map = copy;
            return Ok(Verdict::Keep);
        };
        let structure = require_struct(&mut target.value, PURPOSE)?;
        let mut updated = Struct::new(schema.clone())?;
        for field in schema.fields() {
            let value = field_value(structure, field, self.replace_null_with_default);
            let masked = self.fields.iter().any(|name| name == field.name());
            updated.put(field.name(), if masked { self.mask(&value)? } else { value })?;
        }
        target.value = updated.into();
        Ok(Verdict::Keep)
    }
}
