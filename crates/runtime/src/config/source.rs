//! The config of a source connector: Java's `SourceConnectorConfig`, with the groups of topics that it creates.
//!
//! `topic.creation.default.*` and, for each group of `topic.creation.groups`, `topic.creation.GROUP.*` are settings only if any key begins with
//! `topic.creation.`. Which group a topic belongs to is decided in `pipeline::topics`.

use super::classes::Installed;
use super::connector::{self, Offers};
use super::enrich::enrich;
use crate::registry::Registry;
use kurier_api::ConnectError;
use kurier_api::config::{
    Classes, ConfigDef, Importance, Key, ParsedConfig, Props, Setting, Type, Validator, Width, invalid,
};
use kurier_api::regex::JavaRegex;
use std::collections::BTreeMap;

const PREFIX: &str = "topic.creation.";
const GROUPS: &str = "topic.creation.groups";
/// The group that is always there, and always last.
pub const DEFAULT_GROUP: &str = "default";
const INCLUDE: &str = "include";
const EXCLUDE: &str = "exclude";
const REPLICATION: &str = "replication.factor";
const PARTITIONS: &str = "partitions";

/// A source connector's settings, checked.
#[derive(Clone, Debug)]
pub struct SourceConnectorConfig {
    config: ParsedConfig,
    creates_topics: bool,
}

/// What a group of topics gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicGroup {
    /// Patterns of the names in it.
    pub include: Vec<String>,
    /// Patterns of names that are not in it all the same.
    pub exclude: Vec<String>,
    /// How many partitions; −1 leaves it to the broker.
    pub partitions: i32,
    /// How many replicas; −1 leaves it to the broker.
    pub replication_factor: i16,
    /// Settings of the topics, as they were written.
    pub configs: BTreeMap<String, String>,
}

impl SourceConnectorConfig {
    /// Checks a config. `create_topics` says whether the worker lets sources create topics their own way.
    ///
    /// # Errors
    /// Java's `ConfigException`.
    pub fn new(registry: &Registry, props: &Props, create_topics: bool) -> Result<Self, ConnectError> {
        let classes = Installed(registry);
        let base = connector::source(registry, Offers::Nothing);
        let config = connector::parse(registry, &base, props)?;
        if !create_topics || !uses_topic_creation(props) {
            return Ok(Self { config, creates_topics: false });
        }
        let def = with_groups(&base, props, &classes)?;
        let config = enrich(registry, &def, props, true)?.parse_with(&without_default_patterns(props), &classes)?;
        Ok(Self { config, creates_topics: true })
    }

    /// The groups of topics alone, in their order and the default one last; none if no setting speaks of them.
    ///
    /// # Errors
    /// Java's `ConfigException`.
    pub fn topic_groups(props: &Props) -> Result<Option<Vec<TopicGroup>>, ConnectError> {
        if !uses_topic_creation(props) {
            return Ok(None);
        }
        let classes = kurier_api::config::AnyClass;
        let def = with_groups(&ConfigDef::new().define(connector::topic_creation_groups()), props, &classes)?;
        let config = def.parse_with(&without_default_patterns(props), &classes)?;
        let names = config.get_list(GROUPS).into_iter().filter(|name| *name != DEFAULT_GROUP).chain([DEFAULT_GROUP]);
        names.map(|name| group(&config, name)).collect::<Result<_, _>>().map(Some)
    }

    /// Any setting.
    ///
    /// # Errors
    /// `Unknown configuration 'x'`.
    pub fn get(&self, key: &str) -> Result<&Setting, ConnectError> {
        self.config.get(key)
    }

    /// Whether topics are created by groups.
    pub fn creates_topics(&self) -> bool {
        self.creates_topics
    }

    /// The group of this name.
    ///
    /// # Errors
    /// `Unknown configuration 'x'`.
    pub fn group(&self, name: &str) -> Result<TopicGroup, ConnectError> {
        group(&self.config, name)
    }

    /// Where transactions end: `poll`, `interval` or `connector`.
    pub fn transaction_boundary(&self) -> String {
        self.config.get_str("transaction.boundary").unwrap_or_default().to_lowercase()
    }

    /// How long a transaction lasts, in milliseconds.
    pub fn transaction_boundary_interval_ms(&self) -> Option<i64> {
        match self.config.get("transaction.boundary.interval.ms") {
            Ok(Setting::Long(millis)) => Some(*millis),
            _ => None,
        }
    }
}

fn uses_topic_creation(props: &Props) -> bool {
    props.keys().any(|key| key.starts_with(PREFIX))
}

/// The default group takes what no other does: patterns of its own do not count.
fn without_default_patterns(props: &Props) -> Props {
    let mut props = props.clone();
    for key in [INCLUDE, EXCLUDE] {
        props.remove(&format!("{PREFIX}{DEFAULT_GROUP}.{key}"));
    }
    props
}

/// A definition with the settings of every group. What a group leaves out is as in the default group.
fn with_groups(base: &ConfigDef, props: &Props, classes: &dyn Classes) -> Result<ConfigDef, ConnectError> {
    let mut def = base.clone();
    let any = || Validator::NonNull;
    let default = group_definition(DEFAULT_GROUP, None, any);
    def.embed(&format!("{PREFIX}{DEFAULT_GROUP}."), DEFAULT_GROUP, 0, &default)?;
    let parsed = def.parse_with(props, classes)?;
    let of_default = |key: &str| format!("{PREFIX}{DEFAULT_GROUP}.{key}");
    let (replication, partitions) = (parsed.get_i16(&of_default(REPLICATION)), parsed.get_i32(&of_default(PARTITIONS)));
    for name in parsed.get_list(GROUPS).into_iter().filter(|name| *name != DEFAULT_GROUP) {
        let group = format!("Topic Creation: {name}");
        let own = group_definition(&group, Some((replication, partitions)), patterns);
        def.embed(&format!("{PREFIX}{name}."), &group, 0, &own)?;
    }
    Ok(def)
}

/// The settings of a group; those of the default group are required.
fn group_definition(group: &str, defaults: Option<(i16, i32)>, patterns: fn() -> Validator) -> ConfigDef {
    let key = |name: &str, kind, order, display: &str, doc: &str| {
        Key::new(name, kind)
            .importance(Importance::Low)
            .group(group, order)
            .width(Width::Long)
            .display_name(format!("{display} {group}"))
            .doc(doc)
    };
    let or = |key: Key, default: Option<String>| match default {
        Some(default) => key.default(default),
        None => key,
    };
    let all = if defaults.is_none() { ".*" } else { "" };
    let include = key(INCLUDE, Type::List, 1, "Inclusion Topic Pattern for", "Patterns of the topics in the group.");
    let exclude = key(EXCLUDE, Type::List, 2, "Exclusion Topic Pattern for", "Patterns of topics that are not in it.");
    let replication =
        key(REPLICATION, Type::Short, 3, "Replication Factor for Topics in", "Replicas; -1 leaves it to the broker.");
    let partitions =
        key(PARTITIONS, Type::Int, 4, "Partition Count for Topics in", "Partitions; -1 leaves it to the broker.");
    ConfigDef::new()
        .define(include.default(all).validator(patterns()))
        .define(exclude.default("").validator(patterns()))
        .define(or(replication, defaults.map(|(replication, _)| replication.to_string())).validator(count(
            "Positive number not larger than the number of brokers in the Kafka cluster, or -1 to use the broker's default",
            "Replication factor must be positive and not larger than the number of brokers in the Kafka cluster, or -1 to use \
             the broker's default",
        )))
        .define(or(partitions, defaults.map(|(_, partitions)| partitions.to_string())).validator(count(
            "Positive number, or -1 to use the broker's default",
            "Number of partitions must be positive, or -1 to use the broker's default",
        )))
}

fn count(text: &str, otherwise: &'static str) -> Validator {
    Validator::custom(text, move |name, value| match value.as_f64() {
        Some(number) if number >= 1.0 || number == -1.0 => Ok(()),
        _ => Err(invalid(name, value, otherwise)),
    })
}

fn patterns() -> Validator {
    // The text is that of another check in Java too.
    Validator::custom("Positive number, or -1 to use the broker's default", |name, value| {
        let Setting::List(items) = value else { return Ok(()) };
        items.iter().try_for_each(|item| match JavaRegex::new(&item.to_string()) {
            Ok(_) => Ok(()),
            Err(problem) => Err(invalid(name, value, &format!("Syntax error in regular expression: {problem}"))),
        })
    })
}

fn group(config: &ParsedConfig, name: &str) -> Result<TopicGroup, ConnectError> {
    let prefix = format!("{PREFIX}{name}.");
    let list = |key: &str| -> Result<Vec<String>, ConnectError> {
        let key = format!("{prefix}{key}");
        config.get(&key)?;
        Ok(config.get_list(&key).into_iter().map(str::to_owned).collect())
    };
    let mut configs = config.originals_with_prefix(&prefix);
    configs.retain(|key, _| ![INCLUDE, EXCLUDE, REPLICATION, PARTITIONS].contains(&key.as_str()));
    Ok(TopicGroup {
        include: list(INCLUDE)?,
        exclude: list(EXCLUDE)?,
        partitions: config.get_i32(&format!("{prefix}{PARTITIONS}")),
        replication_factor: config.get_i16(&format!("{prefix}{REPLICATION}")),
        configs,
    })
}
