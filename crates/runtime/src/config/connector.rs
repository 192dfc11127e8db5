//! The settings that every connector has: Java's `ConnectorConfig`, `SourceConnectorConfig`, `SinkConnectorConfig`.

use super::classes::{Installed, concrete};
use super::enrich::enrich;
use super::versions::VersionRange;
use crate::registry::Registry;
use kurier_api::ConnectError;
use kurier_api::config::{
    ConfigDef, Importance, Key, Parsed, ParsedConfig, Props, Recommender, Setting, Type, Validator, Width, invalid,
};
use kurier_api::plugin::PluginKind;
use std::collections::BTreeSet;

/// What definitions offer beside what they check.
#[derive(Clone, Copy, Debug)]
pub enum Offers {
    /// Nothing: the definition by itself. Java's `configDef()`.
    Nothing,
    /// The installed plugins, and the version of the connector if it is known. Java's `enrichedConfigDef()`.
    Installed(Option<&'static str>),
}

/// Offers these values.
struct Offer(Vec<Setting>);

impl Recommender for Offer {
    fn valid_values(&self, _name: &str, _parsed: &Parsed) -> Result<Vec<Setting>, ConnectError> {
        Ok(self.0.clone())
    }
}

/// Offers the versions of a class that another setting names; shown only beside one.
pub(crate) struct Versions {
    /// The setting that names the class.
    pub(crate) of: String,
    /// The installed versions.
    pub(crate) versions: Vec<&'static str>,
}

impl Recommender for Versions {
    fn valid_values(&self, _name: &str, _parsed: &Parsed) -> Result<Vec<Setting>, ConnectError> {
        Ok(self.versions.iter().map(|version| Setting::from(*version)).collect())
    }

    fn visible(&self, _name: &str, parsed: &Parsed) -> bool {
        parsed.get(&self.of).is_some_and(|class| !class.is_null())
    }
}

/// A list without repeats: aliases of transforms and the like.
fn unique(what: &str) -> Validator {
    let text = format!("unique {what} aliases");
    Validator::All(vec![Validator::NonNull, unique_elements(&text)])
}

fn unique_elements(text: &str) -> Validator {
    Validator::custom(text, |name, value| {
        let Setting::List(items) = value else { return Ok(()) };
        let distinct: BTreeSet<String> = items.iter().map(Setting::to_string).collect();
        if distinct.len() == items.len() { Ok(()) } else { Err(invalid(name, value, "Duplicate alias provided.")) }
    })
}

/// What is installed, as the definitions show it.
struct Shown<'a> {
    registry: &'a Registry,
    offers: Offers,
}

impl Shown<'_> {
    fn classes(&self, kind: PluginKind) -> Offer {
        let classes = match self.offers {
            Offers::Nothing => Vec::new(),
            Offers::Installed(_) => self.registry.classes(kind),
        };
        Offer(classes.into_iter().map(|class| Setting::Class(class.to_owned())).collect())
    }

    fn converter(&self, key: &str, display: &str, order: i32, kind: PluginKind) -> [Key; 2] {
        let class = Key::new(key, Type::Class)
            .default_null()
            .validator(concrete(kind, self.registry))
            .recommender(self.classes(kind))
            .importance(Importance::Low)
            .group("Common", order)
            .width(Width::Short)
            .display_name(format!("{display} class"))
            .doc(format!(
                "{display} class: between Connect's data and the bytes in Kafka. Without it the worker's is used."
            ));
        let version = Key::new(format!("{key}.plugin.version"), Type::String)
            .default_null()
            .validator(plugin_version())
            .recommender(Versions { of: key.to_owned(), versions: Vec::new() })
            .importance(Importance::Low)
            .group("Common", order + 1)
            .width(Width::Short)
            .display_name(format!("{display} version"))
            .doc(format!("Version of the {}.", display.to_lowercase()));
        [class, version]
    }

    fn common(&self) -> ConfigDef {
        let mut version = Key::new("connector.plugin.version", Type::String);
        let known = match self.offers {
            Offers::Installed(known) => known,
            Offers::Nothing => None,
        };
        version = match known {
            Some(known) => version.default(known),
            None => version.default_null(),
        };
        let versions = Versions { of: "connector.class".to_owned(), versions: known.into_iter().collect() };
        let def = ConfigDef::new()
            .define(
                Key::new("name", Type::String)
                    .validator(Validator::NonEmptyStringWithoutControlChars)
                    .importance(Importance::High)
                    .group("Common", 1)
                    .width(Width::Medium)
                    .display_name("Connector name")
                    .doc("Globally unique name to use for this connector."),
            )
            .define(
                Key::new("connector.class", Type::String)
                    .importance(Importance::High)
                    .group("Common", 2)
                    .width(Width::Long)
                    .display_name("Connector class")
                    .doc("Name or alias of the class for this connector."),
            )
            .define(
                version
                    .validator(plugin_version())
                    .recommender(versions)
                    .importance(Importance::Medium)
                    .group("Common", 3)
                    .width(Width::Medium)
                    .display_name("Connector version")
                    .doc("Version of the connector."),
            )
            .define(
                Key::new("tasks.max", Type::Int)
                    .default("1")
                    .validator(Validator::at_least(1))
                    .importance(Importance::High)
                    .group("Common", 4)
                    .width(Width::Short)
                    .display_name("Tasks max")
                    .doc("Maximum number of tasks to use for this connector."),
            )
            .define(
                Key::new("tasks.max.enforce", Type::Boolean)
                    .default("true")
                    .importance(Importance::Low)
                    .group("Common", 5)
                    .width(Width::Short)
                    .display_name("Enforce tasks max")
                    .doc("Whether a connector that makes more tasks than tasks.max fails. Deprecated in Kafka."),
            );
        let key = self.converter("key.converter", "Key converter", 6, PluginKind::Converter);
        let value = self.converter("value.converter", "Value converter", 8, PluginKind::Converter);
        let header = self.converter("header.converter", "Header converter", 10, PluginKind::HeaderConverter);
        let def = key.into_iter().chain(value).chain(header).fold(def, ConfigDef::define);
        def.define(
            Key::new("transforms", Type::List)
                .default("")
                .validator(unique("transformation"))
                .importance(Importance::Low)
                .group("Transforms", 12)
                .width(Width::Long)
                .display_name("Transforms")
                .doc("Aliases for the transformations to be applied to records, in order."),
        )
        .define(
            Key::new("predicates", Type::List)
                .default("")
                .validator(unique("predicate"))
                .importance(Importance::Low)
                .group("Predicates", 13)
                .width(Width::Long)
                .display_name("Predicates")
                .doc("Aliases for the predicates used by transformations."),
        )
        .define(
            Key::new("config.action.reload", Type::String)
                .default("restart")
                .validator(Validator::one_of(["none", "restart"]))
                .importance(Importance::Low)
                .group("Common", 14)
                .width(Width::Medium)
                .display_name("Reload Action")
                .doc("What happens when a value from a config provider ends to hold: the connector restarts, or nothing."),
        )
    }
}

fn error_handling(def: ConfigDef) -> ConfigDef {
    let key = |name: &str, kind, default: &str, order, width, display: &str, doc: &str| {
        Key::new(name, kind)
            .default(default)
            .importance(Importance::Medium)
            .group("Error Handling", order)
            .width(width)
            .display_name(display)
            .doc(doc)
    };
    def.define(key(
        "errors.retry.timeout",
        Type::Long,
        "0",
        1,
        Width::Medium,
        "Retry Timeout for Errors",
        "How long a failed operation is tried again, in milliseconds; -1 for ever.",
    ))
    .define(key(
        "errors.retry.delay.max.ms",
        Type::Long,
        "60000",
        2,
        Width::Medium,
        "Maximum Delay Between Retries for Errors",
        "Longest wait between two tries, in milliseconds.",
    ))
    .define(
        key(
            "errors.tolerance",
            Type::String,
            "none",
            3,
            Width::Short,
            "Error Tolerance",
            "none: a record that fails fails the task. all: it is skipped.",
        )
        .validator(Validator::one_of(["none", "all"])),
    )
    .define(key(
        "errors.log.enable",
        Type::Boolean,
        "false",
        4,
        Width::Short,
        "Log Errors",
        "Whether each failure is logged.",
    ))
    .define(key(
        "errors.log.include.messages",
        Type::Boolean,
        "false",
        5,
        Width::Short,
        "Log Error Details",
        "Whether the log names the record: topic, partition, offset, timestamp.",
    ))
}

fn plugin_version() -> Validator {
    Validator::custom("org.apache.kafka.connect.runtime.ConnectorConfig$PluginVersionValidator", |_, value| match value
    {
        Setting::Text(version) => VersionRange::wanted(Some(version)).map(drop),
        _ => Ok(()),
    })
}

/// Java's `ConnectorConfig`.
pub fn common(registry: &Registry, offers: Offers) -> ConfigDef {
    error_handling(Shown { registry, offers }.common())
}

/// Java's `SourceConnectorConfig`.
pub fn source(registry: &Registry, offers: Offers) -> ConfigDef {
    common(registry, offers)
        .define(topic_creation_groups())
        .define(
            Key::new("exactly.once.support", Type::String)
                .default("requested")
                .validator(Validator::CaseInsensitiveValidString(vec!["REQUIRED".to_owned(), "REQUESTED".to_owned()]))
                .importance(Importance::Medium)
                .group("Exactly Once Support", 2)
                .width(Width::Short)
                .display_name("Exactly once support")
                .doc("requested: exactly once if the worker has it on. required: refused unless connector and worker can."),
        )
        .define(
            Key::new("transaction.boundary", Type::String)
                .default("poll")
                .validator(Validator::CaseInsensitiveValidString(vec![
                    "INTERVAL".to_owned(),
                    "POLL".to_owned(),
                    "CONNECTOR".to_owned(),
                ]))
                .importance(Importance::Medium)
                .group("Exactly Once Support", 3)
                .width(Width::Short)
                .display_name("Transaction Boundary")
                .doc("Where transactions end with exactly once: after each poll, at intervals, or where the connector says."),
        )
        .define(
            Key::new("transaction.boundary.interval.ms", Type::Long)
                .default_null()
                .validator(Validator::custom("[0,...]", |name, value| {
                    if value.is_null() { Ok(()) } else { Validator::at_least(0).ensure_valid(name, value) }
                }))
                .importance(Importance::Low)
                .group("Exactly Once Support", 4)
                .width(Width::Short)
                .display_name("Transaction boundary interval")
                .doc("With transaction.boundary=interval: how long a transaction lasts, in milliseconds."),
        )
        .define(
            Key::new("offsets.storage.topic", Type::String)
                .default_null()
                .validator(Validator::NonEmptyString)
                .importance(Importance::Low)
                .group("offsets.topic", 1)
                .width(Width::Long)
                .display_name("Offsets topic")
                .doc("A topic of its own for this connector's offsets."),
        )
}

/// Java's `SinkConnectorConfig`.
pub fn sink(registry: &Registry, offers: Offers) -> ConfigDef {
    common(registry, offers)
        .define(
            Key::new("topics", Type::List)
                .default("")
                .validator(Validator::ValidList { of: Vec::new(), empty: true, null: false })
                .importance(Importance::High)
                .group("Common", 4)
                .width(Width::Long)
                .display_name("Topics")
                .doc("Topics to read, separated by commas."),
        )
        .define(
            Key::new("topics.regex", Type::String)
                .default("")
                .validator(Validator::regex())
                .importance(Importance::High)
                .group("Common", 4)
                .width(Width::Long)
                .display_name("Topics regex")
                .doc("Regular expression of the topics to read. Either this or topics is given."),
        )
        .define(
            Key::new("errors.deadletterqueue.topic.name", Type::String)
                .default("")
                .importance(Importance::Medium)
                .group("Error Handling", 6)
                .width(Width::Medium)
                .display_name("Dead Letter Queue Topic Name")
                .doc("Topic for records that could not be converted, transformed or written. Empty: none."),
        )
        .define(
            Key::new("errors.deadletterqueue.topic.replication.factor", Type::Short)
                .default("3")
                .importance(Importance::Medium)
                .group("Error Handling", 7)
                .width(Width::Medium)
                .display_name("Dead Letter Queue Topic Replication Factor")
                .doc("Replication factor of that topic when it is made."),
        )
        .define(
            Key::new("errors.deadletterqueue.context.headers.enable", Type::Boolean)
                .default("false")
                .importance(Importance::Medium)
                .group("Error Handling", 8)
                .width(Width::Medium)
                .display_name("Enable Error Context Headers")
                .doc("Whether headers of a dead letter say where it came from and why."),
        )
}

/// `topic.creation.groups`.
pub(super) fn topic_creation_groups() -> Key {
    Key::new("topic.creation.groups", Type::List)
        .default("")
        .validator(Validator::All(vec![Validator::NonNull, unique_elements("unique topic creation groups")]))
        .importance(Importance::Low)
        .group("Topic Creation", 1)
        .width(Width::Long)
        .display_name("Topic Creation Groups")
        .doc("Groups of settings for topics that the connector makes.")
}

/// A config with the settings of its transforms and predicates. Java's `new ConnectorConfig`.
///
/// # Errors
/// Java's `ConfigException`.
pub fn parse(registry: &Registry, def: &ConfigDef, props: &Props) -> Result<ParsedConfig, ConnectError> {
    let classes = Installed(registry);
    def.parse_with(props, &classes)?;
    enrich(registry, def, props, true)?.parse_with(props, &classes)
}
