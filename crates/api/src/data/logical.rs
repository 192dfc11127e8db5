//! Java's logical types: names, schemas, and the way between what they hold and what stands on the wire.
//!
//! Counterpart of Java's `Decimal`, `Date`, `Time` and `Timestamp` of `org.apache.kafka.connect.data`.

use super::{Decimal, Schema, SchemaBuilder, SchemaRef};
use crate::error::ConnectError;
use std::sync::LazyLock;

/// `BYTES` with the parameter `scale`, holding [`crate::data::Value::Decimal`].
pub const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
/// `INT32`, days since the epoch, holding [`crate::data::Value::Date`].
pub const DATE: &str = "org.apache.kafka.connect.data.Date";
/// `INT32`, milliseconds of the day, holding [`crate::data::Value::Date`].
pub const TIME: &str = "org.apache.kafka.connect.data.Time";
/// `INT64`, milliseconds since the epoch, holding [`crate::data::Value::Date`].
pub const TIMESTAMP: &str = "org.apache.kafka.connect.data.Timestamp";
/// The parameter that holds a decimal's scale.
pub const SCALE: &str = "scale";

fn finish(builder: SchemaBuilder) -> SchemaRef {
    builder.build().expect("a logical schema is well formed")
}

/// A builder for decimals of this scale.
pub fn decimal_builder(scale: i32) -> SchemaBuilder {
    SchemaBuilder::bytes().parameter(SCALE, scale.to_string()).name(DECIMAL).version(1)
}

/// The required schema of decimals of this scale.
pub fn decimal(scale: i32) -> SchemaRef {
    finish(decimal_builder(scale))
}

/// A builder for dates.
pub fn date_builder() -> SchemaBuilder {
    SchemaBuilder::int32().name(DATE).version(1)
}

/// The required schema of dates.
pub fn date() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| finish(date_builder()));
    SCHEMA.clone()
}

/// A builder for times of day.
pub fn time_builder() -> SchemaBuilder {
    SchemaBuilder::int32().name(TIME).version(1)
}

/// The required schema of times of day.
pub fn time() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| finish(time_builder()));
    SCHEMA.clone()
}

/// A builder for timestamps.
pub fn timestamp_builder() -> SchemaBuilder {
    SchemaBuilder::int64().name(TIMESTAMP).version(1)
}

/// The required schema of timestamps.
pub fn timestamp() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| finish(timestamp_builder()));
    SCHEMA.clone()
}

/// The scale that a decimal schema states.
///
/// # Errors
/// `DataException` if there is none or it is no number; without any parameters Java fails by accident.
pub fn required_scale(schema: &Schema) -> Result<i32, ConnectError> {
    let missing = || ConnectError::data("Invalid Decimal schema: scale parameter not found.");
    let text = schema.parameter(SCALE).ok_or_else(missing)?;
    text.parse().map_err(|_| {
        ConnectError::data("Invalid scale parameter found in Decimal schema: ")
            .with_cause(ConnectError::number_format(format!("For input string: \"{text}\"")))
    })
}

/// The scale of a decimal schema, if it has a valid one.
pub fn scale_of(schema: &Schema) -> Option<i32> {
    schema.parameter(SCALE)?.parse().ok()
}

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;

/// Days since the epoch, for an instant of the logical type Date. Days overflow silently to 32 bits, as in Java.
///
/// # Errors
/// `DataException` if the instant is not the beginning of a day.
pub fn days_of_date(ms: i64) -> Result<i32, ConnectError> {
    if ms % DAY_MS != 0 {
        return Err(ConnectError::data(
            "Kafka Connect Date type should not have any time fields set to non-zero values.",
        ));
    }
    Ok((ms / DAY_MS) as i32)
}

/// The instant of the logical type Date of these days since the epoch.
pub fn date_of_days(days: i32) -> i64 {
    i64::from(days) * DAY_MS
}

/// Milliseconds of the day, for an instant of the logical type Time; midnight at its end is allowed, as in Java.
///
/// # Errors
/// `DataException` if the instant is not on the first day of the epoch.
pub fn ms_of_time(ms: i64) -> Result<i32, ConnectError> {
    if !(0..=DAY_MS).contains(&ms) {
        return Err(ConnectError::data(
            "Kafka Connect Time type should not have any date fields set to non-zero values.",
        ));
    }
    Ok(ms as i32)
}

/// The instant of the logical type Time of these milliseconds of the day.
///
/// # Errors
/// `DataException` if they are not within a day.
pub fn time_of_ms(ms: i32) -> Result<i64, ConnectError> {
    let ms = i64::from(ms);
    if !(0..=DAY_MS).contains(&ms) {
        return Err(ConnectError::data(
            "Time values must use number of milliseconds greater than 0 and less than 86400000",
        ));
    }
    Ok(ms)
}

/// The bytes of a decimal under a schema with a scale.
///
/// # Errors
/// `DataException` if the schema has no scale or another one than the value.
pub fn bytes_of_decimal(schema: &Schema, decimal: &Decimal) -> Result<Vec<u8>, ConnectError> {
    let scale = required_scale(schema)?;
    if decimal.scale != scale {
        return Err(scale_mismatch(scale, decimal.scale));
    }
    Ok(decimal.unscaled_bytes())
}

/// What is said of a decimal of another scale than its schema's.
pub fn scale_mismatch(schema: i32, value: i32) -> ConnectError {
    ConnectError::data(format!(
        "Decimal value has mismatching scale for given Decimal schema. Schema has scale {schema}, value has scale {value}."
    ))
}

/// The decimal of these bytes under a schema with a scale.
///
/// # Errors
/// `DataException` if the schema has no scale, `NumberFormatException` if there are no bytes.
pub fn decimal_of_bytes(schema: &Schema, bytes: &[u8]) -> Result<Decimal, ConnectError> {
    let scale = required_scale(schema)?;
    if bytes.is_empty() {
        return Err(ConnectError::number_format("Zero length BigInteger"));
    }
    Ok(Decimal::from_unscaled_bytes(bytes, scale))
}
