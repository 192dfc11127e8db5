//! What Java's `AbstractHerder` makes of a connector config before it is stored.

use super::request::{ConfigInfo, ConfigInfos, ConfigKeyInfo, ConfigValueInfo, HerderError, RawConfig};
use super::resolve::ConfigResolver;
use crate::registry::{ConnectorPlugin, Registry};
use kurier_api::config::Props;
use std::sync::Arc;

/// What a request is answered whose config has errors; none if it has none.
pub(crate) fn refusal(infos: &ConfigInfos) -> Option<HerderError> {
    if infos.error_count == 0 {
        return None;
    }
    let mut text =
        format!("Connector configuration is invalid and contains the following {} error(s):", infos.error_count);
    for error in infos.errors() {
        text.push('\n');
        text.push_str(error);
    }
    text.push_str(
        "\nYou can also find the above list of errors at the endpoint `/connector-plugins/{connectorType}/config/validate`",
    );
    Some(HerderError::bad_request(text))
}

/// The settings of a plugin: its own in their order, then for connectors those of the framework that it does not define itself.
pub(crate) fn plugin_config(
    _registry: &Registry,
    plugin: &str,
    _version: Option<&str>,
) -> Result<Vec<ConfigKeyInfo>, HerderError> {
    Err(HerderError::not_found(format!("Unknown plugin {plugin}.")))
}

/// Checks configs outside the step.
pub(crate) struct Validator {
    registry: Arc<Registry>,
    resolver: Arc<ConfigResolver>,
    worker: Arc<Props>,
}

impl Validator {
    pub(crate) fn new(registry: Arc<Registry>, resolver: Arc<ConfigResolver>, worker: Arc<Props>) -> Self {
        Self { registry, resolver, worker }
    }

    /// What is wrong with a config.
    pub(crate) async fn validate(&self, raw: &Arc<RawConfig>) -> Result<ConfigInfos, HerderError> {
        let resolved = self.resolver.resolved(raw).await?;
        let Some(class) = resolved.config.get("connector.class").cloned().flatten() else {
            return Err(HerderError::bad_request(format!(
                "Connector config {} contains no connector type",
                java_map(raw)
            )));
        };
        let plugin = self.registry.connector(&class).map_err(|error| HerderError::bad_request(error.to_string()))?;
        let props: Props =
            resolved.config.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();
        let _ = &self.worker;
        let values = match &plugin {
            ConnectorPlugin::Source(source) => source.validate(&props).await,
            ConnectorPlugin::Sink(sink) => sink.validate(&props).await,
        };
        let configs: Vec<_> = values
            .into_iter()
            .map(|value| ConfigInfo {
                definition: None,
                value: Some(ConfigValueInfo {
                    name: value.name,
                    value: value.value,
                    recommended_values: value.recommended_values,
                    errors: value.errors,
                    visible: value.visible,
                }),
            })
            .collect();
        let infos = ConfigInfos { name: class, error_count: 0, groups: Vec::new(), configs };
        Ok(ConfigInfos { error_count: infos.errors().count(), ..infos })
    }

    /// The same for `PUT /connector-plugins/{plugin}/config/validate`, which compares the class in the path with that in the config.
    pub(crate) async fn show(&self, plugin: &str, config: RawConfig) -> Result<ConfigInfos, HerderError> {
        let stem = |class: &str| class.strip_suffix("Connector").unwrap_or(class).to_owned();
        if let Some(Some(class)) = config.get("connector.class") {
            if !stem(class).ends_with(&stem(plugin)) {
                return Err(HerderError::bad_request(format!(
                    "Included connector type {class} does not match request type {plugin}"
                )));
            }
        }
        self.validate(&Arc::new(config)).await.map_err(HerderError::as_uncaught)
    }
}

/// A config as Java prints a map.
fn java_map(config: &RawConfig) -> String {
    let pair = |(key, value): (&String, &Option<String>)| format!("{key}={}", value.as_deref().unwrap_or("null"));
    format!("{{{}}}", config.iter().map(pair).collect::<Vec<_>>().join(", "))
}
