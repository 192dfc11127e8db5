//! Makes the recorded calls of the configs of workers and connectors.

use crate::Answer;
use crate::case::Case;
use crate::installed::registry;
use crate::settings::{setting_from, setting_to, value_to};
use anyhow::{Context, Result};
use kurier_api::config::{Classes, Props};
use kurier_runtime::config::classes::Installed;
use kurier_runtime::config::policy::OverridePolicy;
use kurier_runtime::config::standalone;
use serde_json::{Map, Value as Json};

/// What takes a setting out of the base.
const REMOVED: &str = "(remove)";

/// A standalone worker's config: the recording's base with the changes of a case. The answer is the values of the changed keys.
///
/// # Errors
/// If the case breaks the notation.
pub fn standalone(case: &Case) -> Result<Answer> {
    const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
    let mut props: Props = [
        ("bootstrap.servers", "h:9092"),
        ("key.converter", JSON),
        ("value.converter", JSON),
        ("offset.storage.file.filename", "/tmp/o"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    let changes = case.config().as_object().context("no changes")?;
    for (key, value) in changes {
        match value.as_str() {
            Some(REMOVED) => drop(props.remove(key)),
            Some(value) => drop(props.insert(key.clone(), value.to_owned())),
            None => anyhow::bail!("{key} is no text"),
        }
    }
    let parsed = standalone::definition().parse_given(&props, classes());
    Ok(parsed
        .map(|parsed| {
            let changed = parsed.iter().filter(|(key, _)| changes.contains_key(*key));
            Json::Object(changed.map(|(key, setting)| (key.clone(), setting_to(setting))).collect::<Map<_, _>>())
        })
        .into())
}

/// What a policy says of overrides.
///
/// # Errors
/// If the case breaks the notation.
pub fn policy(case: &Case) -> Result<Answer> {
    let overrides = case.input()["config"].as_object().context("no overrides")?;
    let policy = match OverridePolicy::named(&case.class, &case.props()) {
        Ok(policy) => policy,
        Err(error) => return Ok(Answer::Error(error)),
    };
    let said = overrides.iter().map(|(key, value)| Ok(value_to(&policy.validate(key, setting_from(value)?))));
    Ok(Answer::Output(said.collect::<Result<Vec<_>>>()?.into()))
}

/// The classes that the recorded worker had.
fn classes() -> &'static dyn Classes {
    static CLASSES: std::sync::LazyLock<Installed<'static>> = std::sync::LazyLock::new(|| Installed(registry()));
    &*CLASSES
}
