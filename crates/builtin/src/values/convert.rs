//! From one type to another: Java's `Values.convertToXxx`.

use super::Values;
use super::parse::{decimal, parse_string};
use super::text::append;
use kurier_api::ConnectError;
use kurier_api::data::{Decimal, Foreign, Schema, SchemaRef, Type, Value, java_number, java_text, logical};
use num_traits::ToPrimitive;

/// A conversion of a value that has, or has not, a schema.
pub(super) struct Conversion<'a> {
    pub values: &'a Values,
    pub from: Option<&'a Schema>,
}

/// What a conversion is told to make of null where there is no null.
fn null_refused() -> ConnectError {
    ConnectError::data("Unable to convert a null value to a schema that requires a value")
}

/// What no conversion can be made of.
fn refused(value: &Value, to: &str) -> ConnectError {
    ConnectError::data(format!("Unable to convert {value} (class {}) to {to}", value.java_class()))
}

impl Conversion<'_> {
    /// A value of the schema's type. The null of an optional schema passes.
    pub(super) fn to_schema(&self, to: &SchemaRef, value: Value) -> Result<Value, ConnectError> {
        if value.is_null() {
            return if to.is_optional() { Ok(value) } else { Err(null_refused()) };
        }
        match to.kind() {
            Type::Bytes if to.name() == Some(logical::DECIMAL) => self.to_decimal(value, to),
            Type::Bytes => match &value {
                Value::Bytes(_) => Ok(value),
                Value::Foreign(foreign) if let Foreign::ByteBuffer(bytes) = &**foreign => {
                    Ok(Value::Bytes(bytes.clone()))
                }
                other => Err(refused(other, &to.to_string())),
            },
            Type::String => self.to_text(value),
            Type::Boolean => self.to_bool(value),
            Type::Int8 => self.to_i8(value),
            Type::Int16 => self.to_i16(value),
            Type::Int32 if to.name() == Some(logical::DATE) => self.to_date(value),
            Type::Int32 if to.name() == Some(logical::TIME) => self.to_time(value),
            Type::Int32 => self.to_i32(value),
            Type::Int64 if to.name() == Some(logical::TIMESTAMP) => self.to_timestamp(value),
            Type::Int64 => self.to_i64(value),
            Type::Float32 => self.to_f32(value),
            Type::Float64 => self.to_f64(value),
            Type::Array => self.to_array(value),
            Type::Map => self.to_map(value),
            Type::Struct => self.to_struct(value),
        }
    }

    pub(super) fn to_text(&self, value: Value) -> Result<Value, ConnectError> {
        match value {
            Value::Null | Value::Text(_) => Ok(value),
            Value::Foreign(ref foreign) if matches!(**foreign, Foreign::MalformedString(_)) => Ok(value),
            other => {
                let mut text = String::new();
                append(self.values, &other, false, &mut text)?;
                Ok(text.into())
            }
        }
    }

    pub(super) fn to_bool(&self, value: Value) -> Result<Value, ConnectError> {
        match &value {
            Value::Null | Value::Bool(_) => return Ok(value),
            Value::Text(text) => match parse_string(self.values, text).value {
                parsed @ Value::Bool(_) => return Ok(parsed),
                Value::Null => return Err(null_parsed(text)),
                _ => {}
            },
            _ => {}
        }
        Ok(Value::Bool(self.as_long(&value)? != 0))
    }

    pub(super) fn to_i8(&self, value: Value) -> Result<Value, ConnectError> {
        if let Value::Null | Value::I8(_) = value { Ok(value) } else { Ok(Value::I8(self.as_long(&value)? as i8)) }
    }

    pub(super) fn to_i16(&self, value: Value) -> Result<Value, ConnectError> {
        if let Value::Null | Value::I16(_) = value { Ok(value) } else { Ok(Value::I16(self.as_long(&value)? as i16)) }
    }

    pub(super) fn to_i32(&self, value: Value) -> Result<Value, ConnectError> {
        if let Value::Null | Value::I32(_) = value { Ok(value) } else { Ok(Value::I32(self.as_long(&value)? as i32)) }
    }

    pub(super) fn to_i64(&self, value: Value) -> Result<Value, ConnectError> {
        if let Value::Null | Value::I64(_) = value { Ok(value) } else { Ok(Value::I64(self.as_long(&value)?)) }
    }

    pub(super) fn to_f32(&self, value: Value) -> Result<Value, ConnectError> {
        if let Value::Null | Value::F32(_) = value { Ok(value) } else { Ok(Value::F32(self.as_double(&value)? as f32)) }
    }

    pub(super) fn to_f64(&self, value: Value) -> Result<Value, ConnectError> {
        if let Value::Null | Value::F64(_) = value { Ok(value) } else { Ok(Value::F64(self.as_double(&value)?)) }
    }

    pub(super) fn to_decimal(&self, value: Value, to: &Schema) -> Result<Value, ConnectError> {
        match &value {
            Value::Null => Err(null_refused()),
            Value::Decimal(_) => Ok(value),
            Value::Bytes(bytes) => logical::decimal_of_bytes(to, bytes).map(Value::from),
            Value::Foreign(foreign) if let Foreign::ByteBuffer(bytes) = &**foreign => {
                logical::decimal_of_bytes(to, bytes).map(Value::from)
            }
            Value::Text(text) => decimal(text)
                .map(Value::from)
                .ok_or_else(|| ConnectError::number_format(format!("`{text}` is not a decimal number"))),
            other => match double_of(other) {
                // Any other number goes by way of its shortest text as a double.
                Some(n) => java_text::double(n)
                    .parse::<Decimal>()
                    .map(Value::from)
                    .map_err(|_| ConnectError::number_format("Infinite or NaN")),
                None => Err(refused(other, &to.to_string())),
            },
        }
    }

    /// The value of a text, where a text is not what is asked for. None if it is no text.
    fn parsed(&self, value: &Value) -> Result<Option<Value>, ConnectError> {
        let Value::Text(text) = value else { return Ok(None) };
        match parse_string(self.values, text).value {
            Value::Null => Err(null_parsed(text)),
            parsed => Ok(Some(parsed)),
        }
    }

    pub(super) fn to_array(&self, value: Value) -> Result<Value, ConnectError> {
        let value = self.parsed(&value)?.unwrap_or(value);
        match value {
            Value::Null => Err(null_refused()),
            Value::Array(_) => Ok(value),
            other => Err(refused(&other, "Schema{ARRAY}")),
        }
    }

    pub(super) fn to_map(&self, value: Value) -> Result<Value, ConnectError> {
        let value = self.parsed(&value)?.unwrap_or(value);
        match value {
            Value::Null => Err(null_refused()),
            Value::Map(_) => Ok(value),
            other => Err(refused(&other, "Schema{MAP}")),
        }
    }

    pub(super) fn to_struct(&self, value: Value) -> Result<Value, ConnectError> {
        match value {
            Value::Null => Err(null_refused()),
            Value::Struct(_) => Ok(value),
            other => Err(refused(&other, "Schema{STRUCT}")),
        }
    }

    pub(super) fn to_date(&self, value: Value) -> Result<Value, ConnectError> {
        if value.is_null() {
            return Err(null_refused());
        }
        let value = self.parsed(&value)?.unwrap_or(value);
        if let Value::Date(ms) = value {
            match self.from.map(Schema::name) {
                None | Some(Some(logical::DATE)) => return Ok(value),
                Some(Some(logical::TIMESTAMP)) => {
                    return Ok(Value::Date(logical::date_of_days((ms / logical::DAY_MS) as i32)));
                }
                Some(_) => {}
            }
        }
        Ok(Value::Date(logical::date_of_days(self.as_long(&value)? as i32)))
    }

    pub(super) fn to_time(&self, value: Value) -> Result<Value, ConnectError> {
        if value.is_null() {
            return Err(null_refused());
        }
        let value = self.parsed(&value)?.unwrap_or(value);
        if let Value::Date(ms) = value {
            match self.from.map(Schema::name) {
                None | Some(Some(logical::TIME)) => return Ok(value),
                Some(Some(logical::TIMESTAMP)) => return Ok(Value::Date(ms.rem_euclid(logical::DAY_MS))),
                Some(_) => {}
            }
        }
        Ok(Value::Date(logical::time_of_ms(self.as_long(&value)? as i32)?))
    }

    pub(super) fn to_timestamp(&self, value: Value) -> Result<Value, ConnectError> {
        if value.is_null() {
            return Err(null_refused());
        }
        let value = self.parsed(&value)?.unwrap_or(value);
        if let Value::Date(ms) = value {
            match self.from.map(Schema::name) {
                None | Some(Some(logical::TIMESTAMP)) => return Ok(value),
                Some(Some(logical::DATE)) => return Ok(Value::Date(logical::date_of_days(logical::days_of_date(ms)?))),
                Some(Some(logical::TIME)) => return Ok(Value::Date(logical::ms_of_time(ms)?.into())),
                Some(_) => {}
            }
        }
        Ok(Value::Date(self.as_long(&value)?))
    }

    fn as_long(&self, value: &Value) -> Result<i64, ConnectError> {
        if let Some(n) = long_of(value) {
            return Ok(n);
        }
        let Some(from) = self.from else { return Err(refused(value, "a number")) };
        if let Value::Date(ms) = value {
            match from.name() {
                Some(logical::DATE) => return Ok(logical::days_of_date(*ms)?.into()),
                Some(logical::TIME) => return Ok(logical::ms_of_time(*ms)?.into()),
                Some(logical::TIMESTAMP) => return Ok(*ms),
                _ => {}
            }
        }
        Err(refused(value, &from.to_string()))
    }

    fn as_double(&self, value: &Value) -> Result<f64, ConnectError> {
        let direct = match value {
            Value::Text(text) => decimal(text).map(|n| n.to_f64()),
            other => double_of(other),
        };
        direct.map_or_else(|| self.as_long(value).map(|n| n as f64), Ok)
    }
}

/// Where Java fails by accident on the text `null`.
fn null_parsed(text: &str) -> ConnectError {
    ConnectError::of_class(
        "java.lang.NullPointerException",
        format!("`{text}` stands for null, which is no value here"),
    )
}

/// Java's `Number.longValue`, also of the number that a text is.
fn long_of(value: &Value) -> Option<i64> {
    Some(match value {
        Value::F32(n) => *n as i64,
        Value::F64(n) => *n as i64,
        Value::Decimal(decimal) => decimal.low_bits(),
        Value::Text(text) => decimal(text)?.low_bits(),
        Value::Foreign(foreign) => match &**foreign {
            Foreign::BigInteger(n) => java_number::low_bits(n),
            _ => return None,
        },
        other => return other.as_integer(),
    })
}

/// Java's `Number.doubleValue`.
fn double_of(value: &Value) -> Option<f64> {
    Some(match value {
        Value::F32(n) => f64::from(*n),
        Value::F64(n) => *n,
        Value::Decimal(decimal) => decimal.to_f64(),
        Value::Foreign(foreign) => match &**foreign {
            Foreign::BigInteger(n) => n.to_f64()?,
            _ => return None,
        },
        other => other.as_integer()? as f64,
    })
}
