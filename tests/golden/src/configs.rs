//! Makes the recorded calls of the configs of workers and connectors.

use crate::Answer;
use crate::case::Case;
use crate::installed::registry;
use crate::settings::{key_to, setting_from, setting_to, value_to};
use anyhow::{Context, Result};
use kurier_api::config::{Classes, ConfigValue, Props};
use kurier_runtime::config::classes::Installed;
use kurier_runtime::config::connector::{self, Offers};
use kurier_runtime::config::enrich::enrich;
use kurier_runtime::config::policy::OverridePolicy;
use kurier_runtime::config::source::SourceConnectorConfig;
use kurier_runtime::config::{sink, standalone};
use serde_json::{Map, Value as Json, json};

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

/// A sink's config. The answer is the values of the changed keys that it declares.
///
/// # Errors
/// If the case breaks the notation.
pub fn sink(case: &Case) -> Result<Answer> {
    let def = connector::sink(registry(), Offers::Nothing);
    let changes = case.config().as_object().context("no changes")?;
    let parsed = connector::parse(registry(), &def, &texts(case.input())?);
    Ok(parsed
        .map(|parsed| {
            let changed = changes.keys().filter(|key| def.key(key).is_some());
            let value = |key: &String| Some((key.clone(), setting_to(parsed.get(key).ok()?)));
            Json::Object(changed.filter_map(value).collect())
        })
        .into())
}

/// What is said of a sink's topics.
///
/// # Errors
/// If the case breaks the notation.
pub fn sink_topics(case: &Case) -> Result<Answer> {
    let props = case.props();
    Ok(match case.op.as_str() {
        "validate" => sink::ensure_valid(&props).map(|()| "ok".into()).into(),
        "validate/values" => {
            sink::problems(&props).map(|values| Json::Array(values.iter().map(value_to).collect())).into()
        }
        "parseTopicsList" => sink::topics(&props).map(Json::from).into(),
        _ => Answer::NotThere,
    })
}

/// A source's config. The answer is the values of the changed keys, and what its methods say.
///
/// # Errors
/// If the case breaks the notation.
pub fn source(case: &Case) -> Result<Answer> {
    let create_topics = case.input()["createTopics"] == true;
    let config = match SourceConnectorConfig::new(registry(), &texts(&case.input()["base"])?, create_topics) {
        Ok(config) => config,
        Err(error) => return Ok(Answer::Error(error)),
    };
    let mut answer = Map::new();
    for key in case.config().as_object().context("no changes")?.keys() {
        let value = config.get(key).map_or_else(|_| "not a known key".into(), setting_to);
        answer.insert(key.clone(), value);
    }
    answer.insert("boundary".to_owned(), config.transaction_boundary().into());
    answer.insert(
        "boundaryInterval".to_owned(),
        json!(config.transaction_boundary_interval_ms().map(|ms| ms.to_string())),
    );
    answer.insert("usesTopicCreation".to_owned(), config.creates_topics().into());
    if config.creates_topics() {
        for name in ["default", "a"] {
            let said = match config.group(name) {
                Ok(group) => json!({
                    "include": group.include,
                    "exclude": group.exclude,
                    "partitions": group.partitions,
                    "replication": group.replication_factor,
                    "other": group.configs,
                }),
                Err(error) => json!({"class": error.class(), "message": error.message()}),
            };
            answer.insert(format!("group {name}"), said);
        }
    }
    Ok(Answer::Output(answer.into()))
}

/// A definition with the settings of transforms and predicates, and what it says of the given keys and of those with errors.
///
/// # Errors
/// If the case breaks the notation.
pub fn enriched(case: &Case) -> Result<Answer> {
    let base = connector::sink(registry(), Offers::Nothing);
    if case.op == "key" {
        let name = case.input().as_str().context("the name of the key is no text")?;
        let def = enrich(registry(), &base, &case.props(), false);
        return Ok(def.map(|def| def.key(name).map_or(Json::Null, key_to)).into());
    }
    let props = texts(case.input())?;
    let def = match enrich(registry(), &base, &props, false) {
        Ok(def) => def,
        Err(error) => return Ok(Answer::Error(error)),
    };
    let mut added: Vec<&str> = def.keys().map(|key| key.name.as_str()).filter(|key| base.key(key).is_none()).collect();
    added.sort_unstable();
    let changes = case.config().as_object().context("no changes")?;
    let is_told = |value: &ConfigValue| changes.contains_key(&value.name) || !value.errors.is_empty();
    let values = def.validate_given(&props, classes()).into_iter().filter(is_told);
    Ok(Answer::Output(json!({"added": added, "values": values.map(|value| value_to(&value)).collect::<Vec<_>>()})))
}

/// Settings that are all texts.
fn texts(json: &Json) -> Result<Props> {
    let object = json.as_object().context("no settings")?;
    let text = |(key, value): (&String, &Json)| {
        Ok((key.clone(), value.as_str().with_context(|| format!("{key} is no text"))?.to_owned()))
    };
    object.iter().map(text).collect()
}

/// The classes that the recorded worker had.
fn classes() -> &'static dyn Classes {
    static CLASSES: std::sync::LazyLock<Installed<'static>> = std::sync::LazyLock::new(|| Installed(registry()));
    &*CLASSES
}
