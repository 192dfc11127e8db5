//! The settings that a connector's transforms and predicates bring with them: Java's `ConnectorConfig.enrich`.
//!
//! For each alias `a` of `transforms` come `transforms.a.type`, `transforms.a.plugin.version` and, if that class can be had, its own settings under
//! `transforms.a.`. What is wrong with a class or version is said by the checks of those two keys. Looks things up in the registry, makes nothing.

use super::classes::{Installed, ensure_concrete};
use super::versions::{VERSION_NOT_FOUND, VersionRange, ensure_installed};
use crate::registry::Registry;
use kurier_api::ConnectError;
use kurier_api::config::{
    AnyClass, ConfigDef, Importance, Key, Parsed, Props, Recommender, Setting, Type, Validator, Width, invalid,
    parse_type,
};
use kurier_api::plugin::PluginKind;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A definition with the settings of the transforms and predicates that a config names. With `full`, a class that cannot be had is an error;
/// without, its own settings are left out.
///
/// # Errors
/// Java's `ConfigException`; settings that would be defined twice.
pub fn enrich(registry: &Registry, base: &ConfigDef, props: &Props, full: bool) -> Result<ConfigDef, ConnectError> {
    let mut def = base.clone();
    for (list, group, kind) in
        [("transforms", "Transforms", PluginKind::Transformation), ("predicates", "Predicates", PluginKind::Predicate)]
    {
        for alias in aliases(list, props)? {
            let prefix = format!("{list}.{alias}.");
            let group = format!("{group}: {alias}");
            let asked = Arc::new(Asked::new(registry, kind, &prefix, props));
            def.try_define(asked.type_key(registry, &alias).group(&group, 0))?;
            def.try_define(asked.version_key(registry, &alias).group(&group, 1))?;
            match asked.settings(registry) {
                Ok(own) => def.embed(&prefix, &group, 2, &own)?,
                Err(error) if full => return Err(error),
                Err(_) => {} // The check of the type or the version says it.
            }
        }
    }
    Ok(def)
}

/// The aliases of a list, each once.
fn aliases(list: &str, props: &Props) -> Result<Vec<String>, ConnectError> {
    let given = props.get(list).map_or(Setting::Null, |text| Setting::from(text.as_str()));
    let Setting::List(items) = parse_type(list, &given, Type::List, &AnyClass)? else { return Ok(Vec::new()) };
    let mut seen = BTreeSet::new();
    Ok(items.iter().map(Setting::to_string).filter(|alias| seen.insert(alias.clone())).collect())
}

/// Whether the connector for which a plugin is asked can be had.
enum ForConnector {
    /// It is not named, or its version cannot be read: nothing is looked for, and nothing is wrong.
    Unclear,
    /// The version that it wants is not there.
    Missing(ConnectError),
    /// It can, or nobody knows it.
    Fine,
}

/// A plugin that a config asks for, with what is installed of its kind.
struct Asked {
    kind: PluginKind,
    prefix: String,
    /// The class or alias as it was written.
    name: Option<String>,
    /// The class that it stands for.
    class: Result<String, ConnectError>,
    version: Option<String>,
    /// The newest version that is installed.
    newest: Option<&'static str>,
    /// Every installed class of the kind.
    installed: Vec<&'static str>,
    /// The versions of the class.
    versions: Vec<&'static str>,
    connector: ForConnector,
    /// `negate` without a `predicate`.
    negates_nothing: bool,
}

impl Asked {
    fn new(registry: &Registry, kind: PluginKind, prefix: &str, props: &Props) -> Self {
        let given = |key: &str| props.get(&format!("{prefix}{key}"));
        let name = given("type").cloned();
        let type_key = format!("{prefix}type");
        let setting = name.as_deref().map_or(Setting::Null, Setting::from);
        let class = parse_type(&type_key, &setting, Type::Class, &Installed(registry)).map(|setting| match setting {
            Setting::Class(class) => class,
            _ => String::new(),
        });
        let installed = registry.classes(kind);
        let connector = for_connector(registry, props);
        let versions_of = |class: &str| if installed.contains(&class) { registry.versions(class) } else { Vec::new() };
        let newest = match (&name, &connector) {
            (Some(name), ForConnector::Fine) => versions_of(registry.class_of(name)).first().copied(),
            _ => None,
        };
        Self {
            kind,
            prefix: prefix.to_owned(),
            version: given("plugin.version").cloned(),
            newest,
            versions: class.as_deref().map(versions_of).unwrap_or_default(),
            class,
            installed,
            connector,
            negates_nothing: kind == PluginKind::Transformation
                && given("negate").is_some()
                && given("predicate").is_none(),
            name,
        }
    }

    /// What texts call the kind.
    fn what(&self) -> &'static str {
        if self.kind == PluginKind::Transformation { "Transformation" } else { "Predicate" }
    }

    /// The class of this name and version; none if it is not clear for which connector. Java's `getConfigDefFromPlugin`.
    fn load(&self, name: Option<&str>, version: Option<&str>) -> Result<Option<&str>, ConnectError> {
        let Some(name) = name else { return Ok(None) };
        if matches!(self.connector, ForConnector::Unclear) {
            return Ok(None);
        }
        let range = VersionRange::wanted(version)?;
        let class = self.class.as_deref().map_err(Clone::clone)?;
        ensure_concrete(class, self.kind, &self.installed)?;
        if let ForConnector::Missing(error) = &self.connector {
            return Err(error.clone());
        }
        if name != name.trim() {
            // Java looks for a plugin by the name as it was written.
            let why = format!("Error getting config definition from {}: {name}", self.what());
            return Err(invalid(&format!("{}type", self.prefix), &Setting::from(name), &why));
        }
        ensure_installed(class, &self.versions, range.as_ref())?;
        Ok(Some(class))
    }

    /// The settings of the plugin itself and, of a transform, those that every one has.
    fn settings(&self, registry: &Registry) -> Result<ConfigDef, ConnectError> {
        if self.name.is_none() {
            let why = format!("Not a {}", self.what());
            return Err(invalid(&format!("{}type", self.prefix), &Setting::Null, &why));
        }
        let class = self.load(self.name.as_deref(), self.version.as_deref())?;
        let mut def = ConfigDef::new();
        let own = match self.kind {
            PluginKind::Transformation => {
                def = def
                    .define(
                        Key::new("predicate", Type::String)
                            .default_null()
                            .doc("Alias of the predicate that says to which records this applies."),
                    )
                    .define(
                        Key::new("negate", Type::Boolean)
                            .default("false")
                            .doc("Whether it applies to the records that do not meet the predicate."),
                    );
                class.and_then(|class| registry.transform(class).map(|plugin| plugin.config().clone()))
            }
            _ => class.and_then(|class| registry.predicate(class).map(|plugin| plugin.config().clone())),
        };
        for key in own
            .iter()
            .flat_map(ConfigDef::all_keys)
            .filter(|key| def.key(&key.name).is_none())
            .cloned()
            .collect::<Vec<_>>()
        {
            def.try_define(key)?;
        }
        Ok(def)
    }

    fn type_key(self: &Arc<Self>, registry: &Registry, alias: &str) -> Key {
        let (asked, what) = (self.clone(), self.what());
        let check = move |_: &str, value: &Setting| {
            if asked.negates_nothing {
                let prefix = &asked.prefix;
                return Err(ConnectError::config(format!(
                    "Config '{prefix}negate' was provided but there is no config '{prefix}predicate' defining a predicate \
                     to be negated."
                )));
            }
            let Setting::Class(class) = value else { return Ok(()) };
            asked.load(Some(class), asked.version.as_deref().or(asked.newest)).map(drop)
        };
        let kind = what.to_lowercase();
        Key::new(format!("{}type", self.prefix), Type::Class)
            .validator(Validator::custom(&format!("valid configs for {alias} {kind}"), check))
            .recommender(Offer(
                registry.classes(self.kind).iter().map(|class| Setting::Class((*class).to_owned())).collect(),
            ))
            .importance(Importance::High)
            .width(Width::Long)
            .display_name(format!("{what} type for {alias}"))
            .doc(format!("Class for the '{alias}' {kind}."))
    }

    fn version_key(self: &Arc<Self>, registry: &Registry, alias: &str) -> Key {
        let (asked, what) = (self.clone(), self.what());
        let check = move |_: &str, value: &Setting| {
            let Setting::Text(version) = value else { return Ok(()) };
            match asked.load(asked.name.as_deref(), Some(version)) {
                Err(error) if error.class() == VERSION_NOT_FOUND => Err(error),
                _ => Ok(()), // The check of the type says what else is wrong.
            }
        };
        let key = Key::new(format!("{}plugin.version", self.prefix), Type::String);
        let key = match self.newest {
            Some(version) => key.default(version),
            None => key.default_null(),
        };
        let versions = self.class.as_deref().ok().filter(|class| self.installed.contains(class));
        let versions = versions.map(|class| registry.versions(class)).unwrap_or_default();
        key.validator(Validator::custom(
            "org.apache.kafka.connect.runtime.ConnectorConfig$EnrichablePlugin$$Lambda",
            check,
        ))
        .recommender(Offer(versions.into_iter().map(Setting::from).collect()))
        .importance(Importance::High)
        .width(Width::Long)
        .display_name(format!("{what} version for {alias}"))
        .doc(format!("Version of the '{alias}' {}.", what.to_lowercase()))
    }
}

fn for_connector(registry: &Registry, props: &Props) -> ForConnector {
    let Some(class) = props.get("connector.class") else { return ForConnector::Unclear };
    let Ok(range) = VersionRange::wanted(props.get("connector.plugin.version").map(String::as_str)) else {
        return ForConnector::Unclear;
    };
    let class = registry.class_of(class);
    let versions = registry.versions(class);
    if versions.is_empty() {
        return ForConnector::Fine;
    }
    ensure_installed(class, &versions, range.as_ref()).map_or_else(ForConnector::Missing, |()| ForConnector::Fine)
}

/// Offers these values.
struct Offer(Vec<Setting>);

impl Recommender for Offer {
    fn valid_values(&self, _name: &str, _parsed: &Parsed) -> Result<Vec<Setting>, ConnectError> {
        Ok(self.0.clone())
    }
}
