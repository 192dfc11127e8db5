//! The connectors of a standalone worker's command line.
//!
//! A file is a JSON object of settings, a JSON object like the body of `POST /connectors`, or Java properties; tried in this order, as Java's
//! `ConnectStandalone` does. Connectors are created one after the other through the same request as over REST. The first that fails ends it: Java's
//! worker then stops with exit code 3.
#![expect(clippy::disallowed_methods, reason = "driver: files are read on blocking threads")]

use super::handle::HerderHandle;
use super::request::{HerderError, RawConfig};
use crate::unit::{ConnectorName, TargetState};
use kurier_api::config::properties;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// A connector as a file describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectorFile {
    /// Its name.
    pub name: ConnectorName,
    /// Its config, `name` included.
    pub config: RawConfig,
    /// Running, if none is said.
    pub initial_state: Option<TargetState>,
}

/// Why a connector of the command line was not created.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorFileError {
    /// The file cannot be read.
    #[error("cannot read the connector file {}: {source}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It has no connector's settings in it. Java's texts.
    #[error("{0}")]
    Malformed(String),
    /// The herder refused it, or it failed to start.
    #[error("Failed to create connector for {}: {error}", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What a REST client would have been answered.
        error: HerderError,
    },
}

/// Creates the connectors of these files. They are known to the herder even where this ends with an error.
///
/// # Errors
/// The first that fails.
pub async fn create_connectors(herder: &HerderHandle, files: &[PathBuf]) -> Result<(), ConnectorFileError> {
    for path in files {
        let read = path.clone();
        let file = tokio::task::spawn_blocking(move || ConnectorFile::read(&read)).await;
        let file = file.map_err(|error| ConnectorFileError::Malformed(error.to_string()))??;
        let created = herder.put_connector(file.name, file.config, file.initial_state, false).await;
        let created = created.map_err(|error| ConnectorFileError::Refused { path: path.clone(), error })?;
        tracing::info!("Created connector {}", created.info.name);
    }
    Ok(())
}

/// The body of `POST /connectors`; other keys are ignored here.
#[derive(Deserialize)]
struct CreateBody {
    name: String,
    config: RawConfigBody,
    initial_state: Option<String>,
}

/// Settings whose values may be numbers and booleans, which become text.
#[derive(Deserialize)]
#[serde(transparent)]
struct RawConfigBody(serde_json::Map<String, serde_json::Value>);

impl RawConfigBody {
    /// The settings; none if one of them is an object or a list.
    fn into_config(self) -> Option<RawConfig> {
        let text = |(key, value): (String, serde_json::Value)| {
            let text = match value {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some(text),
                serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Some(value.to_string()),
                serde_json::Value::Array(_) | serde_json::Value::Object(_) => return None,
            };
            Some((key, text))
        };
        self.0.into_iter().map(text).collect()
    }
}

impl ConnectorFile {
    /// Reads a file. Blocks.
    ///
    /// # Errors
    /// If it cannot be read or describes no connector.
    pub fn read(path: &Path) -> Result<Self, ConnectorFileError> {
        let bytes =
            fs::read(path).map_err(|source| ConnectorFileError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &bytes)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ConnectorFileError> {
        let malformed = |text: String| Err(ConnectorFileError::Malformed(text));
        let settings = serde_json::from_slice::<RawConfigBody>(bytes).ok().and_then(RawConfigBody::into_config);
        if let Some(config) = settings {
            return Self::named(path, config);
        }
        if let Ok(body) = serde_json::from_slice::<CreateBody>(bytes)
            && let Some(mut config) = body.config.into_config()
        {
            match config.get("name") {
                Some(name) if name.as_deref() != Some(body.name.as_str()) => {
                    return malformed(format!(
                        "Connector name configuration in 'config' doesn't match the one specified in 'name' at '{}'",
                        path.display()
                    ));
                }
                Some(_) => {}
                None => drop(config.insert("name".to_owned(), Some(body.name.clone()))),
            }
            let initial_state = match body.initial_state.as_deref().map(str::to_uppercase).as_deref() {
                None => None,
                Some("RUNNING") => Some(TargetState::Started),
                Some("PAUSED") => Some(TargetState::Paused),
                Some("STOPPED") => Some(TargetState::Stopped),
                Some(other) => {
                    return malformed(format!(
                        "The initial state `{other}` at '{}' is not one of RUNNING, PAUSED, STOPPED",
                        path.display()
                    ));
                }
            };
            return Ok(Self { name: body.name.into(), config, initial_state });
        }
        let settings = properties::parse_bytes(bytes);
        // Java reads whatever is no JSON as properties in the end, and then misses the name.
        if let Some(problem) = json_problem(path, bytes)
            && !settings.as_ref().is_ok_and(|settings| settings.contains_key("name"))
        {
            return malformed(format!("{}: {problem}", path.display()));
        }
        match settings {
            Ok(settings) => Self::named(path, settings.into_iter().map(|(key, value)| (key, Some(value))).collect()),
            Err(error) => malformed(format!("{}, {error}", path.display())),
        }
    }

    fn named(path: &Path, config: RawConfig) -> Result<Self, ConnectorFileError> {
        match config.get("name") {
            Some(Some(name)) => Ok(Self { name: name.as_str().into(), config, initial_state: None }),
            _ => Err(ConnectorFileError::Malformed(format!(
                "Connector configuration at '{}' is missing the mandatory 'name' configuration",
                path.display()
            ))),
        }
    }
}

/// Why a file that is meant to be JSON describes no connector; none for other files.
fn json_problem(path: &Path, bytes: &[u8]) -> Option<String> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if path.extension().is_none_or(|extension| extension != "json") && !matches!(first, Some(b'{' | b'[')) {
        return None;
    }
    let expected = "expected an object of settings, or {\"name\": …, \"config\": {…}}";
    Some(match serde_json::from_slice(bytes) {
        Err(error) => format!("malformed JSON: {error}"),
        Ok(serde_json::Value::Object(map)) => {
            let inner = map.get("config").and_then(serde_json::Value::as_object);
            let composite = |(_, value): &(&String, &serde_json::Value)| value.is_array() || value.is_object();
            match inner.unwrap_or(&map).iter().find(composite) {
                Some((key, _)) => format!("the setting `{key}` is a list or an object instead of a text; {expected}"),
                None => expected.to_owned(),
            }
        }
        Ok(_) => expected.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_in_javas_forms() {
        let config = |pairs: &[(&str, &str)]| -> RawConfig {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned()))).collect()
        };
        let missing = "Connector configuration at 'f' is missing the mandatory 'name' configuration";
        let cases: [(&str, Result<(&str, RawConfig, Option<TargetState>), &str>); 14] = [
            ("name=c\na = 1\n# x\n", Ok(("c", config(&[("name", "c"), ("a", "1")]), None))),
            (
                r#"{"name": "c", "a": 1, "b": true}"#,
                Ok(("c", config(&[("name", "c"), ("a", "1"), ("b", "true")]), None)),
            ),
            (
                r#"{"name": "c", "config": {"a": "1"}, "initial_state": "stopped", "other": []}"#,
                Ok(("c", config(&[("a", "1"), ("name", "c")]), Some(TargetState::Stopped))),
            ),
            (r#"{"name": "c", "config": {"name": "c"}}"#, Ok(("c", config(&[("name", "c")]), None))),
            (
                r#"{"name": "c", "config": {"name": "d"}}"#,
                Err("Connector name configuration in 'config' doesn't match the one specified in 'name' at 'f'"),
            ),
            (
                r#"{"name": "c", "config": {}, "initial_state": "FAILED"}"#,
                Err("The initial state `FAILED` at 'f' is not one of RUNNING, PAUSED, STOPPED"),
            ),
            (r#"{"a": "1"}"#, Err(missing)),
            ("a=1", Err(missing)),
            ("", Err(missing)),
            ("{\n\"name\": \"c\",\n}", Err("f: malformed JSON: trailing comma at line 3 column 1")),
            ("[1]", Err("f: expected an object of settings, or {\"name\": …, \"config\": {…}}")),
            (
                r#"{"name": "c", "config": {"a": []}}"#,
                Err(
                    "f: the setting `a` is a list or an object instead of a text; expected an object of settings, or {\"name\": …, \"config\": {…}}",
                ),
            ),
            ("{=1\nname=c", Ok(("c", config(&[("{", "1"), ("name", "c")]), None))),
            (
                "a=1\nb=\\u00",
                Err(
                    "f, line 2: Malformed \\uxxxx encoding: `\\u00` has not four hexadecimal digits; write a plain backslash as `\\\\`",
                ),
            ),
        ];
        for (text, expected) in cases {
            let read = ConnectorFile::parse(Path::new("f"), text.as_bytes());
            let read = read.map(|f| (f.name.to_string(), f.config, f.initial_state)).map_err(|e| e.to_string());
            let expected =
                expected.map(|(name, config, state)| (name.to_owned(), config, state)).map_err(str::to_owned);
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = ConnectorFile::read(Path::new("/does/not/exist")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the connector file /does/not/exist: "), "{error}");
    }
}
