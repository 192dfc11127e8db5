//! Makes the recorded calls of the definitions of settings.

use crate::Answer;
use crate::case::{Case, Suite};
use crate::installed::registry;
use crate::settings::key_to;
use anyhow::{Context, Result, bail};
use kurier_api::config::ConfigDef;
use kurier_api::plugin::{Sink, Source};
use kurier_builtin::converters::{converters, header_converters};
use kurier_builtin::predicates::predicates;
use kurier_builtin::transforms::transforms;
use kurier_connector_file::{FileStreamSink, FileStreamSource};
use kurier_runtime::config::connector::{self, Offers};
use kurier_runtime::config::standalone;
use serde_json::{Value as Json, json};

/// Makes the call of a case; [`Answer::NotThere`] where there is no such class or operation.
///
/// # Errors
/// If the case breaks the notation.
pub fn run(_suite: &Suite, case: &Case) -> Result<Answer> {
    let Some(def) = definition(&case.class) else { return Ok(Answer::NotThere) };
    Ok(Answer::Output(match case.op.as_str() {
        "keys" => json!({
            "groups": def.groups(),
            "keys": def.keys().map(|key| key.name.as_str()).collect::<Vec<_>>(),
        }),
        "key" => {
            let name = case.input().as_str().context("the name of the key is no text")?;
            def.key(name).map_or(Json::Null, key_to)
        }
        other => bail!("unknown operation {other}"),
    }))
}

/// What a class declares.
fn definition(class: &str) -> Option<ConfigDef> {
    match class.strip_prefix("org.apache.kafka.connect.runtime.") {
        Some("ConnectorConfig") => return Some(connector::common(registry(), Offers::Nothing)),
        Some("SourceConnectorConfig") => return Some(connector::source(registry(), Offers::Nothing)),
        Some("SinkConnectorConfig") => return Some(connector::sink(registry(), Offers::Nothing)),
        Some("standalone.StandaloneConfig") => return Some(standalone::definition().clone()),
        _ => {}
    }
    let file_source = FileStreamSource::default();
    if file_source.descriptor().class == class {
        return Some(Source::config(&file_source).clone());
    }
    let file_sink = FileStreamSink::default();
    if file_sink.descriptor().class == class {
        return Some(Sink::config(&file_sink).clone());
    }
    let converter = converters().find(|kind| kind.descriptor().class == class).map(|kind| kind.config().clone());
    converter
        .or_else(|| header_converters().find(|kind| kind.descriptor().class == class).map(|kind| kind.config().clone()))
        .or_else(|| transforms().find(|kind| kind.descriptor().class == class).map(|kind| kind.config().clone()))
        .or_else(|| predicates().find(|kind| kind.descriptor().class == class).map(|kind| kind.config().clone()))
}
