//! Makes the recorded calls of the converters of texts, bytes and numbers.

use crate::Answer;
use crate::case::{Case, Suite};
use crate::notation::{bytes_from, bytes_to, schema_and_value_from, schema_and_value_to};
use anyhow::{Result, bail};
use kurier_api::ConnectError;
use kurier_api::data::{SchemaAndValue, Value};
use kurier_api::plugin::{ConverterRole, HeaderConverter, Presence};
use kurier_builtin::bytes::ByteArrayConverter;
use kurier_builtin::numbers::{NumberConverter, NumberKind};
use kurier_builtin::simple_header::SimpleHeaderConverter;
use kurier_builtin::string::StringConverter;
use kurier_builtin::values::Values;
use kurier_builtin::values::time::Zone;
use serde_json::{Value as Json, json};

/// Makes the call of a case; [`Answer::NotThere`] where there is no such class or operation.
///
/// # Errors
/// If the case breaks the notation.
pub fn run(_suite: &Suite, case: &Case) -> Result<Answer> {
    let mut converter = match converter(case) {
        Ok(Some(converter)) => converter,
        Ok(None) => return Ok(Answer::NotThere),
        Err(error) => return Ok(Answer::Error(error)),
    };
    let input = case.input();
    if input["value"]["buffer"] == "" && case.line["output"].as_str().is_some_and(|bytes| !bytes.is_empty()) {
        // The buffer was written down after the call had drained it.
        return Ok(Answer::Unrepeatable);
    }
    Ok(match case.op.as_str() {
        "fromConnectData" | "fromConnectHeader" => write(&mut *converter, &schema_and_value_from(input)?).into(),
        "toConnectData" | "toConnectHeader" => read(&mut *converter, bytes_from(input)?).into(),
        "configure" => {
            let then = input["then"].as_str().map_or(Value::Null, Value::text);
            write(&mut *converter, &SchemaAndValue::schemaless(then))
                .and_then(|bytes| Ok(json!({"bytes": bytes, "back": read(&mut *converter, Some(vec![b'A']))?})))
                .into()
        }
        other => bail!("unknown operation {other}"),
    })
}

/// All of them are header converters too, with the same answers.
fn converter(case: &Case) -> Result<Option<Box<dyn HeaderConverter>>, ConnectError> {
    Ok(match case.simple_class() {
        "StringConverter" => Some(Box::new(StringConverter::parse(&case.props(), ConverterRole::Value)?)),
        "SimpleHeaderConverter" => Some(Box::new(SimpleHeaderConverter::new(Values::new(Zone::Utc)))),
        "ByteArrayConverter" => Some(Box::new(ByteArrayConverter)),
        _ => NumberKind::ALL
            .into_iter()
            .find(|kind| kind.class() == case.class)
            .map(|kind| Box::new(NumberConverter::new(kind)) as Box<dyn HeaderConverter>),
    })
}

fn write(converter: &mut dyn HeaderConverter, input: &SchemaAndValue) -> Result<Json, ConnectError> {
    let mut out = Vec::new();
    let presence = converter.from_connect_header("t", "h", input.schema.as_ref(), &input.value, &mut out)?;
    Ok(bytes_to((presence == Presence::Bytes).then_some(&out)))
}

fn read(converter: &mut dyn HeaderConverter, bytes: Option<Vec<u8>>) -> Result<Json, ConnectError> {
    Ok(schema_and_value_to(&converter.to_connect_header("t", "h", bytes.as_deref())?))
}
