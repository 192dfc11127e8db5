//! `TimestampConverter`: turns points in time into another form: text, numbers, the logical types Date, Time and Timestamp.

use super::replace_field::null_key;
use super::side::{SchemaCache, Side, copy_basics, require_map, require_struct};
use crate::date_format::SimpleDateFormat;
use kurier_api::ConnectError;
use kurier_api::config::{self, ConfigDef, Importance, Key, ParsedConfig, Validator};
use kurier_api::data::logical::{self, DAY_MS};
use kurier_api::data::{Foreign, Schema, SchemaBuilder, SchemaRef, Struct, Text, Type, Value};
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;
use std::time::{SystemTime, UNIX_EPOCH};

const PURPOSE: &str = "converting timestamp formats";

pub(super) fn config() -> ConfigDef {
    let text = |name| Key::new(name, config::Type::String);
    ConfigDef::new()
        .define(
            text("field")
                .default("")
                .importance(Importance::High)
                .doc("The field that holds the time; nothing if the whole key or value does."),
        )
        .define(
            text("target.type")
                .validator(Validator::one_of(["string", "unix", "Date", "Time", "Timestamp"]))
                .importance(Importance::High)
                .doc("What it becomes: string, unix (a number), Date, Time or Timestamp."),
        )
        .define(
            text("format")
                .default("")
                .doc("How times are written in text, in UTC: a pattern of Java's `SimpleDateFormat`. Texts cannot be read or written without it."),
        )
        .define(
            text("unix.precision")
                .default("milliseconds")
                .validator(Validator::one_of(["nanoseconds", "microseconds", "milliseconds", "seconds"]))
                .importance(Importance::Low)
                .doc("What numbers count since the epoch: seconds, milliseconds, microseconds or nanoseconds."),
        )
        .define(null_key())
}

/// A form that a point in time can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Unix,
    Date,
    Time,
    Timestamp,
}

impl Form {
    fn named(name: &str) -> Self {
        match name {
            "string" => Self::Text,
            "unix" => Self::Unix,
            "Date" => Self::Date,
            "Time" => Self::Time,
            _ => Self::Timestamp,
        }
    }

    fn of_schema(schema: &Schema) -> Result<Self, ConnectError> {
        match (schema.name(), schema.kind()) {
            (Some(logical::TIMESTAMP), _) => Ok(Self::Timestamp),
            (Some(logical::DATE), _) => Ok(Self::Date),
            (Some(logical::TIME), _) => Ok(Self::Time),
            (_, Type::String) => Ok(Self::Text),
            (_, Type::Int64) => Ok(Self::Unix),
            _ => Err(ConnectError::connect(format!(
                "Schema {schema} does not correspond to a known timestamp type format"
            ))),
        }
    }

    /// Java tells the logical types apart by schemas only.
    fn of_value(value: &Value) -> Result<Self, ConnectError> {
        match value {
            Value::Date(_) => Ok(Self::Timestamp),
            Value::I64(_) => Ok(Self::Unix),
            Value::Text(_) => Ok(Self::Text),
            Value::Foreign(foreign) if matches!(**foreign, Foreign::MalformedString(_)) => Ok(Self::Text),
            other => Err(ConnectError::data(format!(
                "TimestampConverter does not support class {} objects as timestamps",
                other.java_class()
            ))),
        }
    }

    fn schema(self, optional: bool) -> SchemaRef {
        let builder = match self {
            Self::Text => SchemaBuilder::string(),
            Self::Unix => SchemaBuilder::int64(),
            Self::Date => logical::date_builder(),
            Self::Time => logical::time_builder(),
            Self::Timestamp => logical::timestamp_builder(),
        };
        let builder = if optional { builder.optional() } else { builder };
        builder.build().expect("it breaks no rule")
    }
}

#[derive(Clone, Copy, Debug)]
enum Precision {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Precision {
    /// What leaves 64 bits stays at their end; fractions are cut off. Java's `TimeUnit`.
    fn to_ms(self, number: i64) -> i64 {
        match self {
            Self::Seconds => number.saturating_mul(1000),
            Self::Milliseconds => number,
            Self::Microseconds => number / 1000,
            Self::Nanoseconds => number / 1_000_000,
        }
    }

    fn of_ms(self, ms: i64) -> i64 {
        match self {
            Self::Seconds => ms / 1000,
            Self::Milliseconds => ms,
            Self::Microseconds => ms.saturating_mul(1000),
            Self::Nanoseconds => ms.saturating_mul(1_000_000),
        }
    }
}

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    let target = Form::named(config.get_str("target.type").unwrap_or_default());
    let pattern = config.get_str("format").unwrap_or_default();
    let blank = pattern.trim_matches(|c| c <= ' ').is_empty();
    if target == Form::Text && blank {
        return Err(ConnectError::config(
            "TimestampConverter requires format option to be specified when using string timestamps",
        ));
    }
    let format = if blank {
        None
    } else {
        Some(SimpleDateFormat::new(pattern, now()).map_err(|error| bad_pattern(pattern, &error))?)
    };
    let precision = match config.get_str("unix.precision") {
        Some("seconds") => Precision::Seconds,
        Some("microseconds") => Precision::Microseconds,
        Some("nanoseconds") => Precision::Nanoseconds,
        _ => Precision::Milliseconds,
    };
    Ok(Box::new(TimestampConverter {
        field: Text::new(config.get_str("field").unwrap_or_default()),
        conversion: Conversion { target, pattern: pattern.to_owned(), format, precision },
        replace_null_with_default: config.get_bool("replace.null.with.default"),
        side,
        schemas: SchemaCache::default(),
    }))
}

/// Java mixes up name and value of its exception.
fn bad_pattern(pattern: &str, error: &str) -> ConnectError {
    ConnectError::config(format!(
        "Invalid value java.lang.IllegalArgumentException: {error} for configuration TimestampConverter requires a \
         SimpleDateFormat-compatible pattern for string timestamps: {pattern}"
    ))
}

/// Years of two digits are read by the time at which the transform was made.
#[expect(clippy::disallowed_methods, reason = "made at the rim: nothing else depends on the clock")]
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

struct TimestampConverter {
    field: Text,
    conversion: Conversion,
    replace_null_with_default: bool,
    side: Side,
    schemas: SchemaCache,
}

struct Conversion {
    target: Form,
    pattern: String,
    format: Option<SimpleDateFormat>,
    precision: Precision,
}

impl Conversion {
    /// Converts a value of this form, or of the one that its class says.
    fn convert(&self, value: Value, form: Option<Form>) -> Result<Value, ConnectError> {
        if value.is_null() {
            return Ok(value);
        }
        let form = form.map_or_else(|| Form::of_value(&value), Ok)?;
        let ms = self.read(&value, form)?;
        Ok(match self.target {
            Form::Text => Value::text(self.format.as_ref().map_or_else(String::new, |format| format.format(ms))),
            Form::Unix => Value::I64(self.precision.of_ms(ms)),
            Form::Date => Value::Date(ms.saturating_sub(ms.rem_euclid(DAY_MS))),
            Form::Time => Value::Date(ms.rem_euclid(DAY_MS)),
            Form::Timestamp => Value::Date(ms),
        })
    }

    /// Milliseconds since the epoch.
    fn read(&self, value: &Value, form: Form) -> Result<i64, ConnectError> {
        match (form, value) {
            (Form::Text, Value::Text(text)) => self.read_text(text),
            (Form::Unix, Value::I64(number)) => Ok(self.precision.to_ms(*number)),
            (Form::Date | Form::Time | Form::Timestamp, Value::Date(ms)) => Ok(*ms),
            (form, other) => {
                let (what, class) = match form {
                    Form::Text => ("string timestamp", "String"),
                    Form::Unix => ("Unix timestamp", "Long"),
                    Form::Date => ("Date", "java.util.Date"),
                    Form::Time => ("Time", "java.util.Date"),
                    Form::Timestamp => ("Timestamp", "java.util.Date"),
                };
                Err(ConnectError::data(format!(
                    "Expected {what} to be a {class}, but found class {}",
                    other.java_class()
                )))
            }
        }
    }

    fn read_text(&self, text: &str) -> Result<i64, ConnectError> {
        let Some(format) = &self.format else {
            // Java's own text for a slip of its own: a source of texts is not checked for.
            let message =
                "Cannot invoke \"java.text.SimpleDateFormat.parse(String)\" because \"config.format\" is null";
            return Err(ConnectError::of_class("java.lang.NullPointerException", message));
        };
        format.parse(text).ok_or_else(|| {
            let message =
                format!("Could not parse timestamp: value ({text}) does not match pattern ({})", self.pattern);
            let cause = ConnectError::of_class("java.text.ParseException", format!("Unparseable date: \"{text}\""));
            ConnectError::data(message).with_cause(cause)
        })
    }
}

impl TimestampConverter {
    /// A struct whose field is converted.
    fn converted(&self, from: &Struct, schema: &SchemaRef) -> Result<Struct, ConnectError> {
        let mut updated = Struct::new(schema.clone())?;
        for field in from.schema().fields() {
            let value = if self.replace_null_with_default {
                from.value_or_default(field.index()).clone()
            } else {
                from.values()[field.index()].clone()
            };
            let value = if *field.name() == *self.field {
                self.conversion.convert(value, Some(Form::of_schema(field.schema())?))?
            } else {
                value
            };
            updated.put(field.name(), value)?;
        }
        Ok(updated)
    }

    fn converted_schema(&self, schema: &Schema) -> Result<SchemaRef, ConnectError> {
        if schema.kind() != Type::Struct {
            return Err(ConnectError::data("Cannot list fields on non-struct type"));
        }
        let mut builder = copy_basics(schema);
        for field in schema.fields() {
            let inner = if *field.name() == *self.field {
                self.conversion.target.schema(field.schema().is_optional())
            } else {
                field.schema().clone()
            };
            builder = builder.field(field.name(), inner);
        }
        if schema.is_optional() {
            builder = builder.optional();
        }
        let made = builder.build()?;
        match schema.default_value() {
            Some(Value::Struct(default)) => {
                let default = self.converted(default, &made)?;
                made.to_builder().default_value_unchecked(default).build()
            }
            _ => Ok(made),
        }
    }
}

impl Transform for TimestampConverter {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        let target = self.side.of(record);
        let Some(schema) = &target.schema else {
            if target.value.is_null() || self.field.is_empty() {
                target.value = self.conversion.convert(target.value.clone(), None)?;
                return Ok(Verdict::Keep);
            }
            let map = require_map(&mut target.value, PURPOSE)?;
            let mut copy = map.copy_as_hash();
            let value = copy.get_text(&self.field).cloned().unwrap_or_default();
            copy.insert(Value::Text(self.field.clone()), self.conversion.convert(value, None)?);
            *map = copy;
            return Ok(Verdict::Keep);
        };
        if self.field.is_empty() {
            let form = Form::of_schema(schema)?;
            target.value = self.conversion.convert(target.value.clone(), Some(form))?;
            target.schema = Some(self.conversion.target.schema(schema.is_optional()));
            return Ok(Verdict::Keep);
        }
        if !target.value.is_null() {
            require_struct(&mut target.value, PURPOSE)?;
        }
        let schema = schema.clone();
        let mut schemas = std::mem::take(&mut self.schemas);
        let made = schemas.get(&schema, || self.converted_schema(&schema));
        self.schemas = schemas;
        let made = made?;
        if let Value::Struct(structure) = &target.value {
            target.value = self.converted(structure, &made)?.into();
        }
        target.schema = Some(made);
        Ok(Verdict::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{made, record};
    use super::*;
    use kurier_api::data::SchemaAndValue;

    const CLASS: &str = "TimestampConverter$Value";
    const MS: i64 = 1_566_570_894_346;

    #[test]
    fn times_change_their_form() {
        let config = |target, precision| {
            [("target.type", target), ("unix.precision", precision), ("format", "yyyy-MM-dd HH:mm:ss")]
        };
        let cases = [
            ("string", "milliseconds", Value::Date(MS), Value::text("2019-08-23 14:34:54")),
            ("unix", "seconds", Value::Date(MS), Value::I64(1_566_570_894)),
            ("unix", "nanoseconds", Value::Date(MS), Value::I64(MS * 1_000_000)),
            ("Timestamp", "microseconds", Value::I64(-1999), Value::Date(-1)),
            ("Timestamp", "seconds", Value::I64(i64::MAX), Value::Date(i64::MAX)),
            ("Date", "milliseconds", Value::Date(-1), Value::Date(-DAY_MS)),
            ("Time", "milliseconds", Value::Date(-1), Value::Date(DAY_MS - 1)),
            ("unix", "milliseconds", Value::text("2019-08-23 14:34:54 tail"), Value::I64(1_566_570_894_000)),
            ("unix", "milliseconds", Value::Null, Value::Null),
        ];
        for (target, precision, value, expected) in cases {
            let mut record = record(SchemaAndValue::schemaless(value));
            made(CLASS, &config(target, precision)).apply(&mut record).unwrap();
            assert_eq!(record.value.value, expected, "{target} {precision}");
        }
    }

    #[test]
    fn schemas_say_what_a_value_is_and_becomes() {
        let mut changed = record(SchemaAndValue::new(Schema::optional_int64(), Value::I64(MS)));
        let mut transform = made(CLASS, &[("target.type", "Timestamp")]);
        transform.apply(&mut changed).unwrap();
        let schema = changed.value.schema.unwrap();
        assert_eq!((schema.name(), schema.is_optional()), (Some(logical::TIMESTAMP), true));
        let error = transform.apply(&mut record(SchemaAndValue::new(Schema::int32(), 5))).unwrap_err();
        assert_eq!(error.message(), Some("Schema Schema{INT32} does not correspond to a known timestamp type format"));
    }

    #[test]
    fn texts_need_a_pattern() {
        let kind = super::super::transforms().find(|kind| kind.descriptor().class.ends_with(CLASS)).unwrap();
        let cases = [
            ("", "TimestampConverter requires format option to be specified when using string timestamps"),
            (
                "bad",
                "Invalid value java.lang.IllegalArgumentException: Illegal pattern character 'b' for configuration TimestampConverter \
                 requires a SimpleDateFormat-compatible pattern for string timestamps: bad",
            ),
        ];
        for (pattern, expected) in cases {
            let props = [("target.type", "string"), ("format", pattern)];
            let props = props.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect();
            assert_eq!(kind.create(&props).err().unwrap().message(), Some(expected));
        }
    }
}
