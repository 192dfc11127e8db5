//! Makes the recorded calls of the JSON converter.

use crate::Answer;
use crate::case::{Case, Suite};
use crate::notation::{bytes_from, bytes_to, schema_and_value_from, schema_and_value_to};
use anyhow::{Result, bail};
use kurier_api::ConnectError;
use kurier_api::data::SchemaAndValue;
use kurier_api::plugin::{ConverterRole, Presence};
use kurier_builtin::json::{JsonConverter, JsonConverterConfig};
use serde_json::{Value as Json, json};

/// Makes the call of a case; [`Answer::NotThere`] where there is no such class or operation.
///
/// # Errors
/// If the case breaks the notation.
pub fn run(_suite: &Suite, case: &Case) -> Result<Answer> {
    if case.simple_class() != "JsonConverter" {
        return Ok(Answer::NotThere);
    }
    let converter = JsonConverterConfig::parse(&case.props(), role(case)).and_then(JsonConverter::new);
    let mut converter = match converter {
        Ok(converter) => converter,
        Err(error) => return Ok(Answer::Error(error)),
    };
    let input = case.input();
    Ok(match case.op.as_str() {
        "fromConnectData" | "fromConnectHeader" => write(&mut converter, &schema_and_value_from(input)?).into(),
        "toConnectData" => read(&mut converter, bytes_from(input)?).into(),
        "toConnectHeader" => read(&mut converter, bytes_from(&input["bytes"])?).into(),
        "configure" => write(&mut converter, &schema_and_value_from(&input["then"])?).into(),
        "roundTrip" => round_trip(&mut converter, case, &schema_and_value_from(input)?),
        other => bail!("unknown operation {other}"),
    })
}

fn role(case: &Case) -> ConverterRole {
    if case.input()["isKey"] == true { ConverterRole::Key } else { ConverterRole::Value }
}

fn write(converter: &mut JsonConverter, input: &SchemaAndValue) -> Result<Json, ConnectError> {
    Ok(bytes_to(bytes(converter, input)?.as_deref()))
}

fn bytes(converter: &mut JsonConverter, input: &SchemaAndValue) -> Result<Option<Vec<u8>>, ConnectError> {
    let mut out = Vec::new();
    Ok(match converter.write(input.schema.as_ref(), &input.value, &mut out)? {
        Presence::Null => None,
        Presence::Bytes => Some(out),
    })
}

fn read(converter: &mut JsonConverter, bytes: Option<Vec<u8>>) -> Result<Json, ConnectError> {
    Ok(schema_and_value_to(&converter.read(bytes.as_deref())?))
}

/// Writes, reads what was written and, without a schema, writes what was read.
fn round_trip(converter: &mut JsonConverter, case: &Case, input: &SchemaAndValue) -> Answer {
    let written = match bytes(converter, input) {
        Ok(written) => written,
        Err(error) => return Answer::Error(error),
    };
    let mut output = json!({"bytes": bytes_to(written.as_deref())});
    match converter.read(written.as_deref()) {
        Ok(back) => {
            let mut json = schema_and_value_to(&back);
            if back.schema.is_some() && back.schema == input.schema {
                json["sameSchema"] = true.into();
                json.as_object_mut().expect("it is an object").remove("schema");
            }
            output["back"] = json;
            if case.line["output"].get("again").is_some() {
                output["again"] = match write(converter, &back) {
                    Ok(again) => again,
                    Err(error) => return Answer::Error(error),
                };
            }
        }
        Err(error) => output["backError"] = json!({"class": error.class(), "message": error.message()}),
    }
    Answer::Output(output)
}
