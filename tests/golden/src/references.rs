//! Makes the recorded calls of what replaces `${provider:path:key}` in configs.

use crate::Answer;
use crate::case::{Case, Expected, Suite};
use crate::installed::registry;
use anyhow::{Context, Result, bail};
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Key, Props, Type};
use kurier_api::plugin::{ConfigProvider, ConfigProviderType, Descriptor, ProvidedConfig};
use kurier_runtime::config::classes::Installed;
use kurier_runtime::herder::ConfigResolver;
use kurier_runtime::herder::request::RawConfig;
use kurier_runtime::registry::Registry;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The recording's provider: a table, and two keys that are computed.
struct Table(Props);

impl Table {
    /// What the case that describes it says.
    fn of(suite: &Suite) -> Result<Self> {
        let described = suite.cases.iter().find(|case| case.op == "mapProvider").context("the table is not listed")?;
        let Expected::Output(described) = &described.expected else { bail!("the table is not listed") };
        let data = described["data"].as_object().context("the table is not listed")?;
        Ok(Self(data.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()))
    }
}

impl ConfigProvider for Table {
    fn get(&self, path: &str, keys: Option<&[String]>) -> Result<ProvidedConfig, ConnectError> {
        let keys = keys.unwrap_or_default();
        // A key `ttlN` says how long it holds, and is the only one then.
        for key in keys {
            if let Some(millis) = key.strip_prefix("ttl").and_then(|millis| millis.parse::<i64>().ok()) {
                let ttl = u64::try_from(millis).ok().map(Duration::from_millis);
                return Ok(ProvidedConfig { data: [(key.clone(), key.clone())].into(), ttl });
            }
        }
        let known = |key: &String| match key.as_str() {
            "pathof" => Some((key.clone(), format!("<{path}>"))),
            _ => self.0.get(key).map(|value| (key.clone(), value.clone())),
        };
        Ok(ProvidedConfig { data: keys.iter().filter_map(known).collect(), ttl: None })
    }
}

impl ConfigProviderType for Table {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "Providers$Map2", version: "1" }
    }

    fn create(&self, _props: &Props) -> Result<Box<dyn ConfigProvider>, ConnectError> {
        Ok(Box::new(Self(self.0.clone())))
    }
}

/// What replaces references to the provider `p`.
fn resolver(suite: &Suite) -> Result<ConfigResolver> {
    let table = Table::of(suite)?;
    let mut registry = Registry::new();
    let class = table.descriptor().class;
    registry.add_config_provider(Arc::new(table));
    let worker = [("config.providers", "p"), ("config.providers.p.class", class)];
    Ok(ConfigResolver::new(&registry, &worker.map(|(key, value)| (key.to_owned(), value.to_owned())).into())?)
}

fn raw(json: &Json) -> Result<RawConfig> {
    let object = json.as_object().context("a config is an object")?;
    Ok(object.iter().map(|(key, value)| (key.clone(), value.as_str().map(str::to_owned))).collect())
}

fn raw_to(config: &RawConfig) -> Json {
    config
        .iter()
        .map(|(key, value)| (key.clone(), value.clone().map_or(Json::Null, Json::from)))
        .collect::<Map<_, _>>()
        .into()
}

/// `ConfigTransformer.transform`.
///
/// # Errors
/// If the case breaks the notation.
pub fn transform(suite: &Suite, case: &Case) -> Result<Answer> {
    Ok(match resolver(suite)?.resolve(&raw(case.input())?) {
        Ok(resolved) => {
            let ttls: Map<_, _> =
                resolved.ttls.iter().map(|(path, ttl)| (path.clone(), ttl.as_millis().to_string().into())).collect();
            Answer::Output(json!({"data": raw_to(&resolved.config), "ttls": ttls}))
        }
        Err(error) => Answer::Error(error),
    })
}

/// `WorkerConfigTransformer.transform`, one config after the other. What the recorded herder was asked is what ours does when the same connector
/// generates its tasks again: the time at which it starts again is replaced.
///
/// # Errors
/// If the case breaks the notation.
pub fn transform_for_connector(suite: &Suite, case: &Case) -> Result<Answer> {
    let resolver = resolver(suite)?;
    let (mut configs, mut asked): (Vec<Json>, Vec<Json>) = (Vec::new(), Vec::new());
    let mut restarts: BTreeMap<String, usize> = BTreeMap::new();
    for config in case.input().as_array().context("no configs")? {
        let raw = raw(config)?;
        let resolved = match resolver.resolve(&raw) {
            Ok(resolved) => resolved,
            Err(error) => return Ok(Answer::Error(error)),
        };
        if let Some(connector) = case.setting("connector") {
            let reloads = match resolved.reloads(&raw) {
                Ok(reloads) => reloads,
                Err(error) => return Ok(Answer::Error(error)),
            };
            for (path, ttl) in reloads {
                if let Some(earlier) = restarts.get(path) {
                    asked.push(json!({"call": "request.cancel", "of": earlier}));
                }
                asked.push(json!({"call": "restartConnector", "args": [ttl.as_millis().to_string(), connector]}));
                let number = asked.iter().filter(|call| call["call"] == "restartConnector").count();
                restarts.insert(path.clone(), number);
            }
        }
        configs.push(raw_to(&resolved.config));
    }
    Ok(Answer::Output(json!({"configs": configs, "herder": asked})))
}

/// `new AbstractConfig` with a setting `x`.
///
/// # Errors
/// Never.
pub fn abstract_config(dir: &str, case: &Case) -> Result<Answer> {
    let def = ConfigDef::new().define(Key::new("x", Type::String).default("dflt"));
    let mut props = case.props();
    props.values_mut().for_each(|value| *value = value.replace("$DIR", dir));
    let config = ConfigResolver::resolve_worker(registry(), props)
        .and_then(|props| def.parse_with(&props, &Installed(registry())));
    Ok(match config {
        Ok(config) => {
            let shown = |text: &str| text.replace(dir, "$DIR");
            let originals: BTreeMap<_, _> = config.originals().iter().map(|(k, v)| (k.clone(), shown(v))).collect();
            Answer::Output(json!({"x": config.get_str("x").map(shown), "originals": originals}))
        }
        Err(error) => Answer::Error(error),
    })
}

/// The description of the provider: what our table holds, and the rest as it is described.
///
/// # Errors
/// If the case breaks the notation.
pub fn table(suite: &Suite, case: &Case) -> Result<Answer> {
    let Expected::Output(described) = &case.expected else { bail!("a description is no error") };
    let mut answer = described.clone();
    answer["data"] = json!(Table::of(suite)?.0);
    Ok(Answer::Output(answer))
}

/// The files that were laid out, read again.
///
/// # Errors
/// If one cannot be read.
pub fn layout(folder: &Path, case: &Case) -> Result<Answer> {
    let Expected::Output(Json::Object(listed)) = &case.expected else { bail!("the files are not listed") };
    let mut found = Map::new();
    for name in listed.keys() {
        let path = folder.join(name);
        let content = if path.is_symlink() {
            json!({"symlink": std::fs::read_link(path)?.to_str()})
        } else {
            match String::from_utf8(std::fs::read(path)?) {
                Ok(text) => Json::String(text),
                Err(error) => json!({"bytes": crate::notation::bytes_to(Some(error.as_bytes()))}),
            }
        };
        found.insert(name.clone(), content);
    }
    Ok(Answer::Output(found.into()))
}
