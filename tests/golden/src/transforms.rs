//! Makes the recorded calls of transforms, predicates and field paths.

use crate::Answer;
use crate::case::{Case, Suite};
use crate::notation::schema_to;
use crate::records::{AnyRecord, record_from, record_to};
use anyhow::{Context, Result, bail};
use kurier_api::ConnectError;
use kurier_api::data::{Schema, SchemaBuilder, SchemaRef};
use kurier_api::plugin::Verdict;
use kurier_builtin::predicates::predicates;
use kurier_builtin::transforms::field_path::FieldPath;
use kurier_builtin::transforms::transforms;
use serde_json::{Value as Json, json};

/// Makes the call of a case; [`Answer::NotThere`] where there is no such class or operation.
///
/// # Errors
/// If the case breaks the notation.
pub fn run(_suite: &Suite, case: &Case) -> Result<Answer> {
    if case.subject() == "smt.fieldpath" {
        return Ok(path(case)?.into());
    }
    if case.class.contains(".predicates.") {
        return predicate(case);
    }
    let Some(kind) = transforms().find(|kind| kind.descriptor().class == case.class) else {
        return Ok(Answer::NotThere);
    };
    if case.op == "version" {
        return Ok(Answer::Output(kind.descriptor().version.into()));
    }
    let mut transform = match kind.create(&case.props()) {
        Ok(transform) => transform,
        Err(error) => return Ok(Answer::Error(error)),
    };
    Ok(match case.op.as_str() {
        "configure" => Answer::Output("ok".into()),
        "apply" => {
            let Some(mut record) = record_from(case.input())? else { return Ok(Answer::Unrepeatable) };
            match transform.apply(record.record_mut()) {
                Ok(Verdict::Keep) => Answer::Output(record_to(&record)),
                Ok(Verdict::Drop) => Answer::Output(Json::Null),
                Err(error) => Answer::Error(error),
            }
        }
        other => bail!("unknown operation {other}"),
    })
}

fn predicate(case: &Case) -> Result<Answer> {
    let Some(kind) = predicates().find(|kind| kind.descriptor().class == case.class) else {
        return Ok(Answer::NotThere);
    };
    if case.op == "version" {
        return Ok(Answer::Output(kind.descriptor().version.into()));
    }
    let mut predicate = match kind.create(&case.props()) {
        Ok(predicate) => predicate,
        Err(error) => return Ok(Answer::Error(error)),
    };
    if case.op == "configure" {
        return Ok(Answer::Output("ok".into()));
    }
    let negate = case.input()["negate"].as_bool().context("no `negate`")?;
    let Some(record) = record_from(&case.input()["record"])? else { return Ok(Answer::Unrepeatable) };
    let record: &AnyRecord = &record;
    Ok(predicate.test(record.record()).map(|met| json!({"test": met, "transformRuns": met != negate})).into())
}

/// The schema in which recorded paths are looked up.
fn looked_up() -> Result<SchemaRef, ConnectError> {
    let inner = SchemaBuilder::structure().field("c", Schema::int32()).build()?;
    let outer = SchemaBuilder::structure().optional().field("b", inner).field("x.y", Schema::int32()).build()?;
    SchemaBuilder::structure()
        .field("a", outer)
        .field("a.b", Schema::optional_string())
        .field("`q`", Schema::optional_string())
        .build()
}

fn path(case: &Case) -> Result<Result<Json, ConnectError>> {
    let text = case.input().as_str().context("the path is no text")?;
    let path = match FieldPath::new(text, case.setting("field.syntax.version") == Some("V2")) {
        Ok(path) => path,
        Err(error) => return Ok(Err(error)),
    };
    let schema = looked_up()?;
    let mut answer = json!({"steps": path.steps()});
    match path.field(&schema) {
        Ok(field) => answer["field"] = field.map_or(Json::Null, |field| schema_to(Some(field.schema()))),
        Err(error) => answer["fieldError"] = json!({"class": error.class(), "message": error.message()}),
    }
    Ok(Ok(answer))
}
