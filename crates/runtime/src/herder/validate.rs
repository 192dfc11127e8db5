//! What Java's `AbstractHerder` makes of a connector config before it is stored: every problem of every setting, in Java's order.
//!
//! A plugin's own validation may block or panic; the driver runs this where that hurts nobody. Values that came from a config provider are shown as
//! references, not as the secrets they stand for.

use super::client_keys;
use super::misspelt::misspelt;
use super::request::{ConfigInfo, ConfigInfos, ConfigKeyInfo, ConfigValueInfo, HerderError, RawConfig};
use super::resolve::ConfigResolver;
use crate::config::classes::Installed;
use crate::config::connector::{self as definitions, Offers, Versions};
use crate::config::enrich::enrich;
use crate::config::policy::{OverridePolicy, is_policy};
use crate::config::sink;
use crate::config::versions::{VersionRange, ensure_installed};
use crate::registry::{ConnectorPlugin, Registry};
use kurier_api::ConnectError;
use kurier_api::config::{Classes, ConfigDef, ConfigValue, Key, Props, Setting, closest, parse_type};
use kurier_api::plugin::PluginKind;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a request is answered whose config has errors; none if it has none. Java's text, and which settings may have been meant.
pub(crate) fn refusal(config: &RawConfig, infos: &ConfigInfos) -> Option<HerderError> {
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
    for hint in misspelt(config, infos) {
        text.push('\n');
        text.push_str(&hint);
    }
    Some(HerderError::bad_request(text))
}

/// What is said of a config without a class. Java shows every value; which of them are secrets only a class would say, so names that sound like one do.
fn without_class(raw: &RawConfig) -> String {
    const SECRETS: [&str; 7] = ["password", "passphrase", "secret", "token", "credential", "jaas", "private.key"];
    let shown = raw.iter().map(|(key, value)| {
        let lower = key.to_lowercase();
        let value = value.as_deref().unwrap_or("null");
        let value = if SECRETS.iter().any(|word| lower.contains(word)) { "[hidden]" } else { value };
        format!("{key}={value}")
    });
    let shown: Vec<String> = shown.collect();
    let near = raw.keys().find(|key| *key != "connector.class" && closest(key, ["connector.class"]).is_some());
    let hint = near.map_or_else(String::new, |key| format!("; did you mean `connector.class` by `{key}`?"));
    format!("Connector config {{{}}} contains no connector type{hint}", shown.join(", "))
}

/// The settings of a plugin: its own in their order, then for connectors those of the framework that it does not define itself.
pub(crate) fn plugin_config(
    registry: &Registry,
    plugin: &str,
    version: Option<&str>,
) -> Result<Vec<ConfigKeyInfo>, HerderError> {
    let unknown = || HerderError::not_found(format!("Unknown plugin {plugin}."));
    let (class, own, framework) = if let Ok(connector) = registry.connector(plugin) {
        let descriptor = connector.descriptor();
        let offers = Offers::Installed(Some(descriptor.version));
        let (own, framework) = match &connector {
            ConnectorPlugin::Source(source) => (source.config().clone(), definitions::source(registry, offers)),
            ConnectorPlugin::Sink(sink) => (sink.config().clone(), definitions::sink(registry, offers)),
        };
        (descriptor.class, own, Some(framework))
    } else if let Some((class, own)) = stage_config(registry, plugin) {
        (class, own, None)
    } else if registry.config_provider(plugin).is_some() || is_policy(plugin) {
        return Err(HerderError::bad_request(format!(
            "Invalid plugin class {plugin}. Valid types are sink, source, converter, header_converter, transformation, \
             predicate."
        )));
    } else {
        return Err(unknown());
    };
    VersionRange::wanted(version)
        .and_then(|wanted| ensure_installed(class, &registry.versions(class), wanted.as_ref()))
        .map_err(|error| HerderError::bad_request(error.message().unwrap_or_default()))?;
    let mut keys: Vec<ConfigKeyInfo> = own.keys().map(key_info).collect();
    for key in framework.iter().flat_map(ConfigDef::keys) {
        if own.key(&key.name).is_none() {
            keys.push(key_info(key));
        }
    }
    Ok(keys)
}

/// Class and settings of a converter, transform or predicate.
fn stage_config(registry: &Registry, plugin: &str) -> Option<(&'static str, ConfigDef)> {
    let found = |descriptor: kurier_api::plugin::Descriptor, config: &ConfigDef| (descriptor.class, config.clone());
    None.or_else(|| registry.converter(plugin).map(|p| found(p.descriptor(), p.config())))
        .or_else(|| registry.header_converter(plugin).map(|p| found(p.descriptor(), p.config())))
        .or_else(|| registry.transform(plugin).map(|p| found(p.descriptor(), p.config())))
        .or_else(|| registry.predicate(plugin).map(|p| found(p.descriptor(), p.config())))
}

fn key_info(key: &Key) -> ConfigKeyInfo {
    ConfigKeyInfo {
        name: key.name.clone(),
        kind: key.kind.name(),
        required: key.is_required(),
        default_value: key.default_text(),
        importance: key.importance.name(),
        documentation: key.documentation.clone(),
        group: key.group.clone(),
        order_in_group: key.order_in_group,
        width: key.width.name(),
        display_name: key.display_name.clone(),
        dependents: key.dependents.clone(),
    }
}

fn value_info(value: ConfigValue) -> ConfigValueInfo {
    ConfigValueInfo {
        name: value.name,
        value: value.value,
        recommended_values: value.recommended_values,
        errors: value.errors,
        visible: value.visible,
    }
}

/// Takes a class that may be one: which classes a Java client could load nobody knows here, but every one of them has a package.
struct Qualified;

impl Classes for Qualified {
    fn find(&self, name: &str) -> Option<String> {
        name.contains('.').then(|| name.to_owned())
    }
}

/// Values by key, in the order in which they came up.
#[derive(Default)]
struct Values {
    order: Vec<String>,
    by_name: BTreeMap<String, ConfigValue>,
}

impl Values {
    fn put(&mut self, value: ConfigValue) {
        if !self.by_name.contains_key(&value.name) {
            self.order.push(value.name.clone());
        }
        self.by_name.insert(value.name.clone(), value);
    }

    fn error(&mut self, key: &str, message: impl Into<String>) {
        if !self.by_name.contains_key(key) {
            self.put(ConfigValue::new(key));
        }
        if let Some(value) = self.by_name.get_mut(key) {
            value.errors.push(message.into());
        }
    }

    fn is_fine(&self, key: &str) -> bool {
        self.by_name.get(key).is_none_or(|value| value.errors.is_empty())
    }
}

/// The converters that a connector may name.
const CONVERTERS: [(&str, PluginKind); 3] = [
    ("key.converter", PluginKind::Converter),
    ("value.converter", PluginKind::Converter),
    ("header.converter", PluginKind::HeaderConverter),
];

/// Checks configs.
pub(crate) struct Validation {
    pub(crate) registry: Arc<Registry>,
    pub(crate) resolver: Arc<ConfigResolver>,
    /// The worker's settings: its converters are the defaults of connectors.
    pub(crate) worker: Props,
}

impl Validation {
    /// What `PUT /connector-plugins/{plugin}/config/validate` answers.
    pub(crate) async fn show(&self, plugin: &str, raw: &RawConfig) -> Result<ConfigInfos, HerderError> {
        if let Some(Some(class)) = raw.get("connector.class") {
            let short = |name: &str| name.strip_suffix("Connector").unwrap_or(name).to_owned();
            if !short(class).ends_with(&short(plugin)) {
                return Err(HerderError::bad_request(format!(
                    "Included connector type {class} does not match request type {plugin}"
                )));
            }
        }
        self.validate(&Arc::new(raw.clone())).await.map_err(HerderError::as_uncaught)
    }

    /// Checks a config for good.
    pub(crate) async fn validate(&self, raw: &Arc<RawConfig>) -> Result<ConfigInfos, HerderError> {
        let config = self.resolver.resolved(raw).await?.config;
        let Some(Some(class)) = config.get("connector.class") else {
            return Err(HerderError::bad_request(without_class(raw)));
        };
        let plugin = self
            .registry
            .connector(class.trim())
            .map_err(|error| HerderError::bad_request(error.message().unwrap_or_default()))?;
        let given: BTreeMap<String, Setting> = config
            .iter()
            .map(|(key, value)| (key.clone(), value.as_deref().map_or(Setting::Null, Setting::from)))
            .collect();
        let props: Props = config.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();

        let connector_class = plugin.descriptor().class;
        let wanted = VersionRange::wanted(props.get("connector.plugin.version").map(String::as_str));
        let wanted = wanted.map_err(|error| HerderError::bad_request(error.message().unwrap_or_default()))?;
        let versions = self.registry.versions(connector_class);
        if let Err(error) = ensure_installed(connector_class, &versions, wanted.as_ref()) {
            return Ok(self.without_connector(class, &given, &props, &error));
        }
        let version = Offers::Installed(Some(plugin.descriptor().version));
        let definition = match plugin {
            ConnectorPlugin::Source(_) => definitions::source(&self.registry, version),
            ConnectorPlugin::Sink(_) => definitions::sink(&self.registry, version),
        };
        let definition = enrich(&self.registry, &self.in_use(&definition, &props), &props, false)?;
        let mut values = Values::default();
        for value in definition.validate_given(&given, &Installed(&self.registry)) {
            values.put(value);
        }
        self.check_converters(&props, &mut values);
        if let ConnectorPlugin::Sink(_) = plugin {
            for value in sink::problems(&props)? {
                for error in value.errors {
                    values.error(&value.name, error);
                }
            }
        }
        refuse_nulls(&given, &mut values);

        let (own, checked) = match &plugin {
            ConnectorPlugin::Source(source) => (source.config().clone(), source.validate(&props).await),
            ConnectorPlugin::Sink(sink) => (sink.config().clone(), sink.validate(&props).await),
        };
        for value in checked {
            values.put(value);
        }
        // A null is a value for a connector: one that is required is not missing then.
        let nulls = |value: &ConfigValue| matches!(given.get(&value.name), Some(Setting::Null));
        for value in own.validate_given(&given, &Installed(&self.registry)).into_iter().filter(nulls) {
            values.put(value);
        }

        let mut infos = self.assemble(class, &definition, &own, &mut values);
        for prefix in overridden_clients(&plugin, &props) {
            infos.configs.extend(self.overrides(prefix, &props)?);
        }
        for (key, role) in [("header.converter", "header"), ("key.converter", "key"), ("value.converter", "value")] {
            if let Some(class) = props.get(key).filter(|_| values.is_fine(key)) {
                self.converter(key, role, class, &props, &mut infos);
            }
        }
        infos.error_count = count(&infos);
        hide_resolved(raw, &config, &mut infos);
        Ok(infos)
    }

    /// What is said of a config whose connector is not there in the wanted version: only of what every connector has.
    fn without_connector(
        &self,
        class: &str,
        given: &BTreeMap<String, Setting>,
        props: &Props,
        error: &ConnectError,
    ) -> ConfigInfos {
        let common = definitions::common(&self.registry, Offers::Installed(None));
        let definition = self.in_use(&common, props);
        let mut values = Values::default();
        for value in definition.validate_given(given, &Installed(&self.registry)) {
            values.put(value);
        }
        for key in ["connector.class", "connector.plugin.version"] {
            values.error(key, error.message().unwrap_or_default());
        }
        refuse_nulls(given, &mut values);
        let mut infos = self.assemble(class, &definition, &ConfigDef::new(), &mut values);
        infos.error_count = count(&infos);
        infos
    }

    /// A definition with the worker's converters as defaults and the versions of what is in use.
    fn in_use(&self, bare: &ConfigDef, props: &Props) -> ConfigDef {
        bare.all_keys().fold(ConfigDef::new(), |def, key| {
            let key = key.clone();
            let in_use = |converter: &str| {
                props.get(converter).map(String::as_str).or_else(|| self.default_converter(converter))
            };
            def.define(match key.name.strip_suffix(".plugin.version") {
                Some(converter) if CONVERTERS.iter().any(|(known, _)| *known == converter) => {
                    let class = in_use(converter).map(|class| self.registry.class_of(class.trim()));
                    match class.and_then(|class| self.registry.versions(class).first().copied()) {
                        Some(version) => {
                            let versions = Versions { of: converter.to_owned(), versions: vec![version] };
                            key.default(version).recommender(versions)
                        }
                        None => key,
                    }
                }
                _ => match self.default_converter(&key.name).map(|class| self.registry.class_of(class.trim())) {
                    // A worker refuses to start with another.
                    Some(class) if self.registry.has_class(class) => key.default(class),
                    _ => key,
                },
            })
        })
    }

    /// The worker's converter for connectors that name none.
    fn default_converter(&self, key: &str) -> Option<&str> {
        let worker = self.worker.get(key).map(String::as_str);
        match key {
            "key.converter" | "value.converter" => worker,
            "header.converter" => worker.or(Some("org.apache.kafka.connect.storage.SimpleHeaderConverter")),
            _ => None,
        }
    }

    /// Classes of converters that are none, and versions of them that are not there.
    fn check_converters(&self, props: &Props, values: &mut Values) {
        for (key, kind) in CONVERTERS {
            let Some(given) = props.get(key) else { continue };
            let class = self.registry.class_of(given.trim());
            if !self.registry.classes(kind).contains(&class) {
                continue; // What is wrong with the class is said already.
            }
            let version = format!("{key}.plugin.version");
            // A version that cannot be read is said already.
            if let Ok(wanted) = VersionRange::wanted(props.get(&version).map(String::as_str))
                && let Err(error) = ensure_installed(class, &self.registry.versions(class), wanted.as_ref())
            {
                for key in [key, &version] {
                    values.error(key, error.message().unwrap_or_default());
                }
            }
        }
    }

    /// First values without a definition, then every definition in order: the framework's, then what only the connector defines.
    fn assemble(&self, class: &str, framework: &ConfigDef, own: &ConfigDef, values: &mut Values) -> ConfigInfos {
        let defined = |name: &str| framework.key(name).is_some() || own.key(name).is_some();
        let mut configs = Vec::new();
        for name in values.order.iter().filter(|name| !defined(name)) {
            let value = values.by_name.get(name).cloned().map(value_info);
            configs.push(ConfigInfo { definition: None, value });
        }
        let only_own = own.keys().filter(|key| framework.key(&key.name).is_none());
        for key in framework.keys().chain(only_own) {
            // What the connector says of a setting goes before what the framework says of it.
            let definition = own.key(&key.name).filter(|key| !key.hidden).unwrap_or(key);
            let value = values.by_name.get(&key.name).cloned().map(value_info);
            configs.push(ConfigInfo { definition: Some(key_info(definition)), value });
        }
        let hidden = own.all_keys().filter(|key| key.hidden);
        for key in hidden {
            // A setting that only we have shows up when something is wrong with it.
            if let Some(value) = values.by_name.get(&key.name).filter(|value| !value.errors.is_empty()) {
                configs.push(ConfigInfo { definition: Some(key_info(key)), value: Some(value_info(value.clone())) });
            }
        }
        let mut groups: Vec<String> = framework.groups().to_vec();
        groups.extend(own.groups().iter().filter(|group| !framework.groups().contains(group)).cloned());
        ConfigInfos { name: class.to_owned(), error_count: 0, groups, configs }
    }

    /// The client settings that a connector overrides, with what the worker's policy says of each.
    ///
    /// # Errors
    /// A value that the client could not read: Java's answer is a 500.
    fn overrides(&self, prefix: &str, props: &Props) -> Result<Vec<ConfigInfo>, HerderError> {
        let policy = OverridePolicy::of_worker(&self.worker)?;
        let mut infos = Vec::new();
        for (key, text) in props.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix)) {
            let bare = &key[prefix.len()..];
            let known = client_keys::key(prefix, bare);
            let mut value = ConfigValue::new(key);
            value.value = match &known {
                Some(known) => {
                    let setting = parse_type(bare, &Setting::from(text.as_str()), known.kind, &Qualified)?;
                    setting.to_text(known.kind)
                }
                None => Some(text.clone()),
            };
            if !policy.allows(bare) {
                value.errors.push(policy.refusal(bare));
            }
            let definition = known.map(|known| ConfigKeyInfo { name: key.clone(), ..key_info(&known) });
            infos.push(ConfigInfo { definition, value: Some(value_info(value)) });
        }
        Ok(infos)
    }

    /// The settings of a converter that the connector names.
    fn converter(&self, key: &str, role: &str, class: &str, props: &Props, infos: &mut ConfigInfos) {
        let class = class.trim();
        let definition = match role {
            "header" => self.registry.header_converter(class).map(|p| p.config().clone()),
            _ => self.registry.converter(class).map(|p| p.config().clone()),
        };
        let Some(definition) = definition else { return };
        let prefix = format!("{key}.");
        let mut own: Props = props
            .range(prefix.clone()..)
            .map_while(|(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), value.clone())))
            .collect();
        own.insert("converter.type".to_owned(), role.to_owned());
        for group in definition.groups() {
            if !infos.groups.contains(group) {
                infos.groups.push(group.clone());
            }
        }
        for mut value in definition.validate(&own) {
            let Some(declared) = definition.key(&value.name) else { continue };
            let mut declared = key_info(declared);
            declared.name = format!("{prefix}{}", declared.name);
            value.name = format!("{prefix}{}", value.name);
            infos.configs.push(ConfigInfo { definition: Some(declared), value: Some(value_info(value)) });
        }
    }
}

fn refuse_nulls(given: &BTreeMap<String, Setting>, values: &mut Values) {
    for key in given.iter().filter(|(_, value)| value.is_null()).map(|(key, _)| key) {
        values.error(key, "Null value can not be supplied as the configuration value.");
    }
}

/// The clients whose overrides Java lists for a connector.
fn overridden_clients(plugin: &ConnectorPlugin, props: &Props) -> Vec<&'static str> {
    const PRODUCER: &str = "producer.override.";
    const CONSUMER: &str = "consumer.override.";
    const ADMIN: &str = "admin.override.";
    let dead_letters = props.get("errors.deadletterqueue.topic.name").is_some_and(|topic| !topic.trim().is_empty());
    match plugin {
        ConnectorPlugin::Source(_) if props.keys().any(|key| key.starts_with("topic.creation.")) => {
            vec![PRODUCER, ADMIN]
        }
        ConnectorPlugin::Source(_) => vec![PRODUCER],
        ConnectorPlugin::Sink(_) if dead_letters => vec![PRODUCER, CONSUMER, ADMIN],
        ConnectorPlugin::Sink(_) => vec![CONSUMER],
    }
}

/// Java counts every error of the main list, and in the prefixed lists every entry that has any; no entry there has two.
fn count(infos: &ConfigInfos) -> usize {
    infos.configs.iter().filter_map(|info| info.value.as_ref()).map(|value| value.errors.len()).sum()
}

/// Puts references back where secrets were.
fn hide_resolved(raw: &RawConfig, resolved: &RawConfig, infos: &mut ConfigInfos) {
    for value in infos.configs.iter_mut().filter_map(|info| info.value.as_mut()) {
        if let (Some(Some(before)), Some(Some(after))) = (raw.get(&value.name), resolved.get(&value.name))
            && before != after
        {
            value.value = value.value.as_ref().map(|_| before.clone());
            for error in value.errors.iter_mut().filter(|_| !after.is_empty()) {
                *error = error.replace(after.as_str(), before);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
