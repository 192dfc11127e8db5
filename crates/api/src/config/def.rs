//! All settings of a plugin, and what Java makes of the texts given for them.

use super::key::{DefaultValue, Key, Parsed};
use super::parsed::ParsedConfig;
use super::setting::{AnyClass, Classes, Setting, parse_type};
use super::validator::Validator;
use super::{ConfigValue, Props};
use crate::data::{Map, Value};
use crate::error::ConnectError;
use std::collections::{BTreeMap, BTreeSet};

/// The settings of a plugin, declared once, in order. Java's `ConfigDef`.
#[derive(Clone, Debug, Default)]
pub struct ConfigDef {
    keys: Vec<Key>,
    index: BTreeMap<String, usize>,
    groups: Vec<String>,
}

/// Given texts: a key that is there may be null.
pub trait Given {
    /// The value of a key; none if it is not there.
    fn given(&self, key: &str) -> Option<Setting>;
}

impl Given for Props {
    fn given(&self, key: &str) -> Option<Setting> {
        self.get(key).map(|text| Setting::from(text.as_str()))
    }
}

impl Given for BTreeMap<String, Setting> {
    fn given(&self, key: &str) -> Option<Setting> {
        self.get(key).cloned()
    }
}

impl ConfigDef {
    /// No settings yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a setting.
    ///
    /// # Panics
    /// If the declaration contradicts itself: [`Self::try_define`] says how.
    #[must_use]
    pub fn define(mut self, key: Key) -> Self {
        if let Err(error) = self.try_define(key) {
            panic!("a plugin declares a setting wrongly: {error}");
        }
        self
    }

    /// Adds a setting that is made from what a user wrote.
    ///
    /// # Errors
    /// If it is defined already, or its default is not a value of it.
    pub fn try_define(&mut self, mut key: Key) -> Result<(), ConnectError> {
        if self.index.contains_key(&key.name) {
            return Err(ConnectError::config(format!("Configuration {} is defined twice.", key.name)));
        }
        if let DefaultValue::Text(text) = &key.default {
            let given = text.as_deref().map_or(Setting::Null, Setting::from);
            let parsed = parse_type(&key.name, &given, key.kind, &AnyClass)?;
            if let Some(validator) = &key.validator {
                validator.ensure_valid(&key.name, &parsed)?;
            }
            key.default = DefaultValue::Parsed(parsed);
        }
        if let Some(group) = key.group.as_ref().filter(|group| !self.groups.contains(group)) {
            self.groups.push(group.clone());
        }
        self.index.insert(key.name.clone(), self.keys.len());
        self.keys.push(key);
        Ok(())
    }

    /// Adds the settings of another definition under a prefix, those without a default and the important ones first. Checks and proposals still know
    /// them by their own names. Java's `embed`.
    ///
    /// # Errors
    /// If one of them is defined already.
    pub fn embed(
        &mut self,
        prefix: &str,
        group: &str,
        starting_order: i32,
        child: &ConfigDef,
    ) -> Result<(), ConnectError> {
        for (order, key) in (starting_order..).zip(child.keys_by_weight()) {
            let mut key = key.clone().under(prefix);
            key.order_in_group = order;
            key.group = Some(key.group.map_or_else(|| group.to_owned(), |inner| format!("{group}: {inner}")));
            self.try_define(key)?;
        }
        Ok(())
    }

    /// The settings by group, place in it, whether they are required, importance, name. Java's `sortedConfigs`.
    fn keys_by_weight(&self) -> Vec<&Key> {
        let mut keys: Vec<&Key> = self.keys.iter().collect();
        let group = |key: &Key| key.group.as_ref().and_then(|of| self.groups.iter().position(|group| group == of));
        keys.sort_by_cached_key(|key| {
            (group(key), key.order_in_group, !key.is_required(), key.importance as u8, key.name.clone())
        });
        keys
    }

    /// The settings in the order of their definition, but for those of ours that REST does not list.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(|key| !key.hidden)
    }

    /// All settings in the order of their definition.
    pub fn all_keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// One setting.
    pub fn key(&self, name: &str) -> Option<&Key> {
        self.index.get(name).map(|&i| &self.keys[i])
    }

    /// The groups in the order of their first use.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The setting whose name is nearest to a wrong one, if it is near: for "did you mean".
    pub fn closest_key(&self, wrong: &str) -> Option<&str> {
        super::closest(wrong, self.keys.iter().map(|key| key.name.as_str()))
    }

    /// Reads all settings, or says what is wrong with the first bad one.
    ///
    /// # Errors
    /// Java's `ConfigException`.
    pub fn parse(&self, props: &Props) -> Result<ParsedConfig, ConnectError> {
        self.parse_with(props, &AnyClass)
    }

    /// The same with class names that must be known.
    ///
    /// # Errors
    /// Java's `ConfigException`.
    pub fn parse_with(&self, props: &Props, classes: &dyn Classes) -> Result<ParsedConfig, ConnectError> {
        Ok(ParsedConfig::new(self.parse_given(props, classes)?, props.clone()))
    }

    /// Reads all settings with class names that must be known.
    ///
    /// # Errors
    /// Java's `ConfigException`.
    pub fn parse_given(&self, given: &dyn Given, classes: &dyn Classes) -> Result<Parsed, ConnectError> {
        let undefined = self.undefined_dependents();
        if !undefined.is_empty() {
            return Err(ConnectError::config(format!(
                "Some configurations in are referred in the dependents, but not defined: {}",
                undefined.join(", ")
            )));
        }
        let mut parsed = Parsed::new();
        for key in &self.keys {
            let value = match given.given(&key.name) {
                Some(value) => without_repeats(key, parse_type(&key.name, &value, key.kind, classes)?),
                None if key.is_required() => return Err(ConnectError::config(missing(key))),
                None => key.default_setting().clone(),
            };
            if let Some(validator) = &key.validator {
                validator.ensure_valid(&key.name, &value)?;
            }
            parsed.insert(key.name.clone(), value);
        }
        Ok(parsed)
    }

    /// Checks every setting and says everything that is wrong, in the order in which Java's answers have it.
    pub fn validate(&self, props: &Props) -> Vec<ConfigValue> {
        self.validate_given(props, &AnyClass)
    }

    /// The same with class names that must be known.
    pub fn validate_given(&self, given: &dyn Given, classes: &dyn Classes) -> Vec<ConfigValue> {
        let mut values: BTreeMap<&str, ConfigValue> =
            self.keys.iter().map(|key| (key.name.as_str(), ConfigValue::new(&key.name))).collect();
        let undefined = self.undefined_dependents();
        for &name in &undefined {
            let mut value = ConfigValue::new(name);
            value.errors.push(format!("{name} is referred in the dependents, but not defined."));
            value.visible = false;
            values.insert(name, value);
        }
        let mut parsed = Parsed::new();
        for key in self.keys_in_dependency_order() {
            let value = values.get_mut(key.name.as_str()).expect("every key has an entry");
            let setting = read(key, given, classes, &mut value.errors);
            value.value = setting.to_text(key.kind);
            value.setting = setting.clone();
            parsed.insert(key.name.clone(), setting);
        }
        for key in self.keys_in_dependency_order() {
            let Some(recommender) = &key.recommender else { continue };
            let value = values.get_mut(key.name.as_str()).expect("every key has an entry");
            match recommender.valid_values(&key.name, &parsed) {
                Ok(recommended) => {
                    value.visible = recommender.visible(&key.name, &parsed);
                    value.recommended_values = recommended.iter().filter_map(|r| r.to_text(key.kind)).collect();
                    value.recommended = recommended;
                }
                Err(error) => value.errors.push(error.to_string()),
            }
        }
        let names = self.keys.iter().map(|key| key.name.as_str()).chain(undefined);
        let names: Vec<&str> = names
            .filter(|name| self.key(name).is_none_or(|key| !key.hidden || !values[name].errors.is_empty()))
            .collect();
        in_hash_order(names).iter().filter_map(|name| values.remove(name.as_str())).collect()
    }

    /// Names that settings name as dependents and that are not defined.
    fn undefined_dependents(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for dependent in self.keys.iter().flat_map(|key| &key.dependents) {
            if !self.index.contains_key(dependent) && !names.contains(&dependent.as_str()) {
                names.push(dependent);
            }
        }
        names
    }

    /// Every setting after those it depends on, once.
    fn keys_in_dependency_order(&self) -> Vec<&Key> {
        let dependents: BTreeSet<&str> = self.keys.iter().flat_map(|key| &key.dependents).map(String::as_str).collect();
        let mut order: Vec<&Key> = Vec::new();
        let mut ahead: Vec<&Key> =
            self.keys.iter().rev().filter(|key| !dependents.contains(key.name.as_str())).collect();
        let mut seen = BTreeSet::new();
        while let Some(key) = ahead.pop() {
            if seen.insert(&key.name) {
                order.push(key);
                ahead.extend(key.dependents.iter().rev().filter_map(|name| self.key(name)));
            }
        }
        // Dependents that depend on each other in a circle have no first one; Java leaves them out, which hides their errors.
        order.extend(self.keys.iter().filter(|key| !seen.contains(&key.name)));
        order
    }
}

fn missing(key: &Key) -> String {
    format!("Missing required configuration \"{}\" which has no default value.", key.name)
}

/// Java forgives repeated elements of a list when it uses a config, not when it validates one (KIP-1161).
fn without_repeats(key: &Key, value: Setting) -> Setting {
    match (&key.validator, value) {
        (Some(Validator::ValidList { .. }), Setting::List(items)) => {
            let mut seen = BTreeSet::new();
            let distinct = items.into_iter().filter(|item| seen.insert(item.to_string())).collect();
            Setting::List(distinct)
        }
        (_, value) => value,
    }
}

/// Reads one setting; what is wrong with it joins the errors.
fn read(key: &Key, given: &dyn Given, classes: &dyn Classes, errors: &mut Vec<String>) -> Setting {
    let setting = match given.given(&key.name) {
        Some(value) => parse_type(&key.name, &value, key.kind, classes).unwrap_or_else(|error| {
            errors.push(error.to_string());
            Setting::Null
        }),
        None if key.is_required() => {
            errors.push(missing(key));
            Setting::Null
        }
        None => key.default_setting().clone(),
    };
    if let Some(error) = key.validator.as_ref().and_then(|validator| validator.ensure_valid(&key.name, &setting).err())
    {
        errors.push(error.to_string());
    }
    setting
}

/// The order in which a Java `HashMap` with these keys iterates: that of Java's answers.
fn in_hash_order(names: Vec<&str>) -> Vec<String> {
    let mut map = Map::hash();
    for name in names {
        map.insert(name, Value::Null);
    }
    map.keys().filter_map(Value::as_text).map(str::to_owned).collect()
}
