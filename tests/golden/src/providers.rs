//! Makes the recorded calls of config providers; [`references`] those of what replaces references to them.

use crate::Answer;
use crate::case::{Case, Expected, Suite};
use crate::references;
use anyhow::{Context, Result, bail};
use kurier_api::ConnectError;
use kurier_api::plugin::ConfigProvider;
use kurier_builtin::providers::{config_providers, environment};
use serde_json::{Value as Json, json};
use std::fs;
use std::path::Path;

/// The environment of the recording, but for what every process has.
const ENVIRONMENT: [(&str, &str); 4] = [("A", "1"), ("AB", "2"), ("EMPTY", ""), ("SP", " x ")];

/// Makes the call of a case; [`Answer::NotThere`] where there is no such class or operation.
///
/// # Errors
/// If the case breaks the notation.
pub fn run(suite: &Suite, case: &Case) -> Result<Answer> {
    match (case.simple_class(), case.op.as_str()) {
        ("ConfigTransformer", "transform") => return references::transform(suite, case),
        ("WorkerConfigTransformer", "transform") => return references::transform_for_connector(suite, case),
        (_, "mapProvider") => return references::table(suite, case),
        (_, "get" | "layout") | ("AbstractConfig", "new") => {}
        _ => return Ok(Answer::NotThere),
    }
    let folder = tempfile::tempdir()?;
    lay_out(suite, folder.path())?;
    let dir = folder.path().to_str().context("a folder without a name")?;
    match case.op.as_str() {
        "layout" => return references::layout(folder.path(), case),
        "new" => return references::abstract_config(dir, case),
        _ => {}
    }
    let mut props = case.props();
    for value in props.values_mut() {
        *value = value.replace("$DIR", dir);
    }
    let provider: Result<Box<dyn ConfigProvider>, ConnectError> = if case.simple_class() == "EnvVarConfigProvider" {
        environment(&props, ENVIRONMENT.iter().map(|(name, value)| (name.into(), value.into())))
    } else {
        match config_providers().find(|kind| kind.descriptor().class == case.class) {
            Some(kind) => kind.create(&props),
            None => return Ok(Answer::NotThere),
        }
    };
    let answer = provider.and_then(|provider| {
        let path = case.input()["path"].as_str().unwrap_or_default().replace("$DIR", dir);
        let keys: Option<Vec<String>> = case.input()["keys"]
            .as_array()
            .map(|keys| keys.iter().filter_map(Json::as_str).map(str::to_owned).collect());
        provider.get(&path, keys.as_deref())
    });
    Ok(match answer {
        Ok(found) => Answer::Output(json!({"data": found.data, "ttl": found.ttl.map(|ttl| ttl.as_millis() as u64)})),
        Err(error) => {
            let message = error.message().unwrap_or_default().replace(dir, "$DIR");
            Answer::Error(ConnectError::of_class(error.class().to_owned(), message))
        }
    })
}

/// Makes the files that the recording had.
fn lay_out(suite: &Suite, folder: &Path) -> Result<()> {
    let layout = suite.cases.iter().find(|case| case.op == "layout").context("the files are not listed")?;
    let Expected::Output(Json::Object(files)) = &layout.expected else { bail!("the files are not listed") };
    for (name, content) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        match content {
            Json::String(text) => fs::write(path, text)?,
            other => match (other["bytes"].as_str(), other["symlink"].as_str()) {
                (Some(hex), _) => fs::write(path, crate::notation::bytes_from(&Json::from(hex))?.unwrap_or_default())?,
                (_, Some(target)) => std::os::unix::fs::symlink(target, path)?,
                _ => bail!("unknown content of {name}"),
            },
        }
    }
    Ok(())
}
