//! Makes the recorded calls of schemas, structs, headers and the projector.

use crate::Answer;
use crate::case::{Case, Suite};
use crate::notation::{
    bytes_from, hex, schema_and_value_from, schema_and_value_to, schema_from, schema_to, text_from, value_from,
    value_to,
};
use anyhow::{Context, Result, bail};
use kurier_api::data::{
    Decimal, Schema, SchemaAndValue, SchemaBuilder, SchemaRef, Struct, Type, Value, logical, project,
};
use kurier_api::plugin::group_partitions;
use kurier_api::{ConnectError, Headers};
use serde_json::{Value as Json, json};

/// Makes the call of a case; [`Answer::NotThere`] where there is no such class or operation.
///
/// # Errors
/// If the case breaks the notation.
pub fn run(_suite: &Suite, case: &Case) -> Result<Answer> {
    match case.subject() {
        "data.project" => run_project(case.input()),
        "data.validate" => run_validate(case),
        "data.builder" => run_builder(case.input()),
        "data.struct" => run_struct(case),
        "data.equals" => run_equals(case),
        "data.headers" => run_headers(case),
        "data.group" => run_group(case.input()),
        "data.logical" => run_logical(case),
        _ => Ok(Answer::NotThere),
    }
}

fn ok_or(result: Result<(), ConnectError>) -> Answer {
    result.map(|()| "ok".into()).into()
}

fn schema(json: &Json) -> Result<SchemaRef> {
    schema_from(json)?.context("a schema is missing")
}

fn run_project(input: &Json) -> Result<Answer> {
    let (source, target) = (schema(&input["source"])?, schema(&input["target"])?);
    let value = value_from(&input["value"], Some(&source))?;
    Ok(project(&source, &value, &target).map(|value| json!({"value": value_to(&value, Some(&target))})).into())
}

fn run_validate(case: &Case) -> Result<Answer> {
    let input = case.input();
    if case.op == "schemaType" {
        let kind = value_from(&input["value"], None)?.schema_type();
        return Ok(Answer::Output(kind.map_or("null", Type::java_name).into()));
    }
    let schema = schema(&input["schema"])?;
    let value = value_from(&input["value"], Some(&schema))?;
    let name = case.config()["name"].as_str();
    Ok(ok_or(match name {
        Some(name) => schema.validate_value(name, &value),
        None => schema.validate_value("value", &value),
    }))
}

fn run_builder(calls: &Json) -> Result<Answer> {
    let mut builder: Option<SchemaBuilder> = None;
    for call in calls.as_array().context("not a list of calls")? {
        let name = text_from(&call[0])?;
        // Our types leave no place for these nulls.
        let is_null = |i: usize| call.get(i).is_some_and(Json::is_null);
        if is_null(1) && matches!(name, "type" | "array" | "map" | "parameter") || is_null(2) {
            return Ok(Answer::Unrepeatable);
        }
        builder = Some(match (builder, name) {
            (None, "type") => SchemaBuilder::of(schema(&json!({"type": call[1]}))?.kind()),
            (None, "array") => SchemaBuilder::array(schema(&call[1])?),
            (None, "map") => SchemaBuilder::map(schema(&call[1])?, schema(&call[2])?),
            (None, _) => bail!("a builder begins with its type"),
            (Some(builder), "fieldLookup") => {
                let built = builder.build();
                let name = value_from(&call[1], None)?.to_string();
                return Ok(built.map(|schema| schema_to(schema.field(&name).map(|field| field.schema()))).into());
            }
            (Some(builder), name) => build(builder, name, call)?,
        });
    }
    let builder = builder.context("no calls")?;
    Ok(builder.build().map(|schema| schema_to(Some(&schema))).into())
}

fn build(builder: SchemaBuilder, name: &str, call: &Json) -> Result<SchemaBuilder> {
    let value = |i: usize| value_from(&call[i], None);
    let text = |i: usize| value(i).map(|value| value.to_string());
    Ok(match name {
        "optional" => builder.optional(),
        "required" => builder.required(),
        "default" => {
            let so_far = builder.clone().build();
            builder.default_value(value_from(&call[1], so_far.ok().as_ref())?)
        }
        "name" | "version" | "doc" if call[1].is_null() => builder,
        "name" => builder.name(text(1)?),
        "doc" => builder.doc(text(1)?),
        "version" => builder.version(value(1)?.as_integer().context("not a version")? as i32),
        "parameter" => builder.parameter(text(1)?, text(2)?),
        "field" => builder.field(if call[1].is_null() { String::new() } else { text(1)? }, schema(&call[2])?),
        other => bail!("unknown call {other}"),
    })
}

fn run_struct(case: &Case) -> Result<Answer> {
    let input = case.input();
    if case.op == "new" {
        return Ok(ok_or(Struct::new(schema(input)?).map(|_| ())));
    }
    if case.op == "put" {
        let schema = schema(&case.config()["schema"])?;
        let name = text_from(&input["field"])?;
        let value = value_from(&input["value"], schema.field(name).map(|field| field.schema()))?;
        let mut structure = Struct::new(schema.clone())?;
        return Ok(structure
            .put(name, value)
            .map(|structure| {
                let text = structure.to_string();
                json!({"struct": value_to(&structure.clone().into(), Some(&schema)), "text": text})
            })
            .into());
    }
    let Value::Struct(structure) = value_from(input, None)? else { bail!("not a struct") };
    if case.op == "validate" {
        return Ok(ok_or(structure.validate()));
    }
    if case.op == "toString" {
        return Ok(Answer::Output(structure.to_string().into()));
    }
    let name = case.setting("field").context("no field is named")?;
    if case.op == "get" {
        let both = structure.lookup(name).map(|field| {
            let context = Some(field.schema());
            let (get, raw) = (structure.value_or_default(field.index()), &structure.values()[field.index()]);
            json!({"get": value_to(get, context), "raw": value_to(raw, context)})
        });
        return Ok(both.into());
    }
    let kind = match case.op.as_str() {
        "getInt8" => Type::Int8,
        "getInt16" => Type::Int16,
        "getInt32" => Type::Int32,
        "getInt64" => Type::Int64,
        "getFloat32" => Type::Float32,
        "getFloat64" => Type::Float64,
        "getBoolean" => Type::Boolean,
        "getString" => Type::String,
        "getBytes" => Type::Bytes,
        "getArray" => Type::Array,
        "getMap" => Type::Map,
        "getStruct" => Type::Struct,
        other => bail!("unknown operation {other}"),
    };
    let context = structure.schema().field(name).map(|field| field.schema());
    Ok(structure.get_typed(name, kind).map(|value| value_to(value, context)).into())
}

fn run_equals(case: &Case) -> Result<Answer> {
    let input = case.input();
    Ok(Answer::Output(
        match case.op.as_str() {
            "equals" => schema(&input[0])? == schema(&input[1])?,
            "structEquals" => {
                let (a, b) = (value_from(input, None)?, value_from(input, None)?);
                a.java_equals(&b)
            }
            "schemaAndValueEquals" => value_from(&input[0], None)?.java_equals(&value_from(&input[1], None)?),
            other => bail!("unknown operation {other}"),
        }
        .into(),
    ))
}

fn headers_to<'a>(headers: impl Iterator<Item = &'a kurier_api::record::Header>) -> Json {
    headers
        .map(|header| {
            let mut json = schema_and_value_to(&header.value);
            json["key"] = header.key.as_str().into();
            json
        })
        .collect()
}

fn run_headers(case: &Case) -> Result<Answer> {
    let mut headers = Headers::default();
    if case.op == "add" {
        let added = headers.add_checked("k", schema_and_value_from(case.input())?);
        return Ok(added.map(|()| headers_to(headers.iter())).into());
    }
    let mut result = Json::Null;
    for (number, step) in case.input().as_array().context("not a script")?.iter().enumerate() {
        let step = text_from(step)?;
        let words: Vec<&str> = step.split(' ').collect();
        match words[..] {
            ["+null" | "-null"] => return Ok(Answer::Unrepeatable),
            ["last", key] => result = headers_to(headers.last_with_name(key).into_iter()),
            ["all", key] => result = headers_to(headers.all_with_name(key)),
            ["latest"] => headers.retain_latest(),
            ["latest", key] => headers.retain_latest_with_name(key),
            ["clear"] => headers.clear(),
            ["rename", key, new] => {
                for header in headers.iter_mut().filter(|header| key == "*" || header.key == key) {
                    header.key = new.into();
                }
            }
            ["drop", key] => headers.remove(key),
            _ => match step.split_at_checked(1) {
                Some(("+", key)) => {
                    headers.add_checked(key, SchemaAndValue::new(Schema::string(), format!("v{number}")))?;
                }
                Some(("-", key)) => headers.remove(key),
                _ => bail!("unknown step {step}"),
            },
        }
    }
    Ok(Answer::Output(json!({"result": result, "headers": headers_to(headers.iter()), "size": headers.len()})))
}

fn run_group(input: &Json) -> Result<Answer> {
    let elements: Vec<u64> = (0..input["elements"].as_u64().context("no elements")?).collect();
    // A negative number is no number of groups here; zero is refused likewise.
    let groups = usize::try_from(input["groups"].as_i64().context("no groups")?).unwrap_or(0);
    Ok(group_partitions(&elements, groups).map(|groups| json!(groups)).into())
}

fn run_logical(case: &Case) -> Result<Answer> {
    let input = case.input();
    let ms = || -> Result<i64> { Ok(text_from(input)?.parse()?) };
    let number = || -> Result<i32> { Ok(i32::try_from(input.as_i64().context("not a number")?)?) };
    let date = |ms: i64| json!({"date": ms.to_string()});
    let scale = || -> Result<SchemaRef> {
        let scale = case.config()["scale"].as_i64().context("no scale")?;
        Ok(logical::decimal(i32::try_from(scale)?))
    };
    Ok(match case.op.as_str() {
        "Date.fromLogical" => logical::days_of_date(ms()?).map(Json::from).into(),
        "Time.fromLogical" => logical::ms_of_time(ms()?).map(Json::from).into(),
        "Timestamp.fromLogical" => Answer::Output(ms()?.to_string().into()),
        "Date.toLogical" => Answer::Output(date(logical::date_of_days(number()?))),
        "Time.toLogical" => logical::time_of_ms(number()?).map(date).into(),
        "Timestamp.toLogical" => Answer::Output(date(ms()?)),
        "Decimal.fromLogical" => {
            let Value::Decimal(decimal) = value_from(input, None)? else { bail!("not a decimal") };
            logical::bytes_of_decimal(&*scale()?, &decimal).map(|bytes| Json::from(hex(&bytes))).into()
        }
        "Decimal.toLogical" => {
            let bytes = bytes_from(input)?.context("no bytes")?;
            logical::decimal_of_bytes(&*scale()?, &bytes).map(|decimal: Decimal| value_to(&decimal.into(), None)).into()
        }
        other => bail!("unknown operation {other}"),
    })
}
