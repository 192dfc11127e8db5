//! The resources about plugins.

use super::answer::{Answer, Failure};
use super::app::{App, Call};
use super::connectors::no_body;
use super::route::Resource;
use super::{body, show};
use serde_json::Value;

pub(crate) async fn answer(app: &App, call: &Call<'_>) -> Result<Answer, Failure> {
    match call.resource {
        Resource::PluginConfig(plugin) => {
            let version = call.param("version").map(str::to_owned);
            let keys: Value = app.herder.plugin_config(plugin.clone(), version).await?.iter().map(show::key).collect();
            Ok(Answer::json(200, keys))
        }
        Resource::Validate(plugin) => validate(app, call, plugin).await,
        _ => {
            let plugins = app.herder.plugins(call.flag("connectorsOnly", true)).await?;
            Ok(Answer::json(200, plugins.iter().map(show::plugin).collect()))
        }
    }
}

/// The path is only compared with the class in the config, never resolved.
async fn validate(app: &App, call: &Call<'_>, plugin: &str) -> Result<Answer, Failure> {
    let config = body::string_map(&call.body)?.ok_or_else(no_body)?;
    let infos = app.herder.validate(plugin.to_owned(), config).await?;
    Ok(Answer::json(200, show::validation(&infos)))
}
