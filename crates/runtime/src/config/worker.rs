//! The settings that workers of either mode have: Java's `WorkerConfig`.
//!
//! A definition, not a config: [`super::standalone`] adds its own keys to it and parses. Its order, types, defaults and texts of errors are Java's.

use super::{rest, ssl};
use kurier_api::config::{ConfigDef, Importance, Key, Type, Validator};

/// The settings in Java's order.
pub fn definition() -> ConfigDef {
    let [high, medium, low] = [Importance::High, Importance::Medium, Importance::Low]
        .map(|importance| move |name: &str, kind, doc: &str| Key::new(name, kind).importance(importance).doc(doc));
    let distinct = |empty, null| Validator::ValidList { of: Vec::new(), empty, null };
    let version = |role: &str| {
        low(&format!("{role}.converter.plugin.version"), Type::String, &format!("Version of the {role} converter."))
            .default_null()
    };
    let flag = |name: &str, doc: &str| low(name, Type::Boolean, doc).default("true");
    let keys = [
        high("bootstrap.servers", Type::List, "Brokers to begin with, host:port.").validator(distinct(false, false)),
        medium("client.dns.lookup", Type::String, "How the names of brokers are looked up.")
            .default("use_all_dns_ips")
            .validator(Validator::one_of(["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"])),
        high("key.converter", Type::Class, "Converter of keys for connectors that name none."),
        version("key"),
        high("value.converter", Type::Class, "Converter of values for connectors that name none."),
        version("value"),
        low("task.shutdown.graceful.timeout.ms", Type::Long, "How long all tasks together may take to stop.")
            .default("5000"),
        low("offset.flush.interval.ms", Type::Long, "How often offsets are committed.").default("60000"),
        low("offset.flush.timeout.ms", Type::Long, "How long a commit of offsets may take.").default("5000"),
        low("plugin.path", Type::List, "Folders with Java plugins; natives need none.")
            .default_null()
            .validator(distinct(false, true)),
        low("plugin.discovery", Type::String, "How Java plugins are found.")
            .default("hybrid_warn")
            .validator(Validator::one_of_ignoring_case(["only_scan", "service_load", "hybrid_warn", "hybrid_fail"])),
        low("metrics.sample.window.ms", Type::Long, "How long a sample of metrics lasts.")
            .default("30000")
            .validator(Validator::at_least(0)),
        low("metrics.num.samples", Type::Int, "How many samples are kept.")
            .default("2")
            .validator(Validator::at_least(1)),
        low("metrics.recording.level", Type::String, "Which metrics are recorded.")
            .default("INFO")
            .validator(Validator::one_of(["INFO", "DEBUG"])),
        low("metric.reporters", Type::List, "Java classes that report metrics; there are none here.")
            .default("org.apache.kafka.common.metrics.JmxReporter")
            .validator(distinct(true, false)),
        low("header.converter", Type::Class, "Converter of headers for connectors that name none.")
            .default("org.apache.kafka.connect.storage.SimpleHeaderConverter"),
        version("header"),
        low("config.providers", Type::List, "Names of config providers.").default("").validator(distinct(true, false)),
        medium("connector.client.config.override.policy", Type::String, "Which client settings connectors override.")
            .default("All"),
        flag("topic.creation.enable", "Whether sources may say how their topics are created."),
    ];
    let def = ssl::define(keys.into_iter().fold(ConfigDef::new(), ConfigDef::define))
        .define(flag("topic.tracking.enable", "Whether the topics of each connector are remembered."))
        .define(flag("topic.tracking.allow.reset", "Whether operators may have them forgotten."));
    rest::define(def)
}
