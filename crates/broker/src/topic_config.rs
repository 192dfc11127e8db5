//! The configs of a topic: names, defaults, checks, and what the log makes of them.
//!
//! Every config that Apache Kafka 4.3 has for a topic is known, so that what a client sets is kept and shown again; those that mean
//! nothing to a single broker (replication, tiered storage) change nothing here.

use std::collections::BTreeMap;

use crate::log::LogConfig;

/// The kind of a config's value, by the numbers of `DescribeConfigs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// One config a topic may have.
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    check: Check,
}

enum Check {
    Any,
    AtLeast(i64),
    Between(f64, f64),
    OneOf(&'static [&'static str]),
    EachOf(&'static [&'static str]),
}

const fn definition(name: &'static str, kind: Kind, default: &'static str, check: Check) -> Definition {
    Definition { name, kind, default, check }
}

/// All of them, by name.
pub(crate) static DEFINITIONS: [Definition; 33] = [
    definition("cleanup.policy", Kind::List, "delete", Check::EachOf(&["delete", "compact"])),
    definition("compression.gzip.level", Kind::Int, "-1", Check::Any),
    definition("compression.lz4.level", Kind::Int, "9", Check::Any),
    definition(
        "compression.type",
        Kind::String,
        "producer",
        Check::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
    ),
    definition("compression.zstd.level", Kind::Int, "3", Check::Any),
    definition("delete.retention.ms", Kind::Long, "86400000", Check::AtLeast(0)),
    definition("file.delete.delay.ms", Kind::Long, "60000", Check::AtLeast(0)),
    definition("flush.messages", Kind::Long, "9223372036854775807", Check::AtLeast(1)),
    definition("flush.ms", Kind::Long, "9223372036854775807", Check::AtLeast(0)),
    definition("follower.replication.throttled.replicas", Kind::List, "", Check::Any),
    definition("index.interval.bytes", Kind::Int, "4096", Check::AtLeast(0)),
    definition("leader.replication.throttled.replicas", Kind::List, "", Check::Any),
    definition("local.retention.bytes", Kind::Long, "-2", Check::AtLeast(-2)),
    definition("local.retention.ms", Kind::Long, "-2", Check::AtLeast(-2)),
    definition("max.compaction.lag.ms", Kind::Long, "9223372036854775807", Check::AtLeast(1)),
    definition("max.message.bytes", Kind::Int, "1048588", Check::AtLeast(0)),
    definition("message.timestamp.after.max.ms", Kind::Long, "3600000", Check::AtLeast(0)),
    definition("message.timestamp.before.max.ms", Kind::Long, "9223372036854775807", Check::AtLeast(0)),
    definition("message.timestamp.type", Kind::String, "CreateTime", Check::OneOf(&["CreateTime", "LogAppendTime"])),
    definition("min.cleanable.dirty.ratio", Kind::Double, "0.5", Check::Between(0.0, 1.0)),
    definition("min.compaction.lag.ms", Kind::Long, "0", Check::AtLeast(0)),
    definition("min.insync.replicas", Kind::Int, "1", Check::AtLeast(1)),
    definition("preallocate", Kind::Boolean, "false", Check::OneOf(&["true", "false"])),
    definition("remote.log.copy.disable", Kind::Boolean, "false", Check::OneOf(&["true", "false"])),
    definition("remote.log.delete.on.disable", Kind::Boolean, "false", Check::OneOf(&["true", "false"])),
    definition("remote.storage.enable", Kind::Boolean, "false", Check::OneOf(&["false"])),
    definition("retention.bytes", Kind::Long, "-1", Check::Any),
    definition("retention.ms", Kind::Long, "604800000", Check::AtLeast(-1)),
    definition("segment.bytes", Kind::Int, "1073741824", Check::AtLeast(14)),
    definition("segment.index.bytes", Kind::Int, "10485760", Check::AtLeast(4)),
    definition("segment.jitter.ms", Kind::Long, "0", Check::AtLeast(0)),
    definition("segment.ms", Kind::Long, "604800000", Check::AtLeast(1)),
    definition("unclean.leader.election.enable", Kind::Boolean, "false", Check::OneOf(&["true", "false"])),
];

/// What was set for one topic, over the broker's and Apache Kafka's defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overrides(pub(crate) BTreeMap<String, String>);

impl Definition {
    /// A config whose value need only be of its kind.
    pub(crate) const fn free(name: &'static str, kind: Kind, default: &'static str) -> Self {
        definition(name, kind, default, Check::Any)
    }

    /// The config of that name.
    pub(crate) fn of(name: &str) -> Option<&'static Self> {
        DEFINITIONS.iter().find(|definition| definition.name == name)
    }

    /// Says why `value` cannot be taken.
    pub(crate) fn refuse(&self, value: &str) -> Option<String> {
        let name = self.name;
        let not_a =
            |what: &str| Some(format!("Invalid value {value} for configuration {name}: Not a number of type {what}"));
        if self.kind == Kind::Int && value.trim().parse::<i32>().is_err() {
            return not_a("INT");
        }
        if self.kind == Kind::Long && value.trim().parse::<i64>().is_err() {
            return not_a("LONG");
        }
        match self.check {
            Check::Any => None,
            Check::AtLeast(least) => value
                .trim()
                .parse::<i64>()
                .is_ok_and(|number| number < least)
                .then(|| format!("Invalid value {value} for configuration {name}: Value must be at least {least}")),
            Check::Between(low, high) => match value.trim().parse::<f64>() {
                Ok(number) if (low..=high).contains(&number) => None,
                Ok(_) => Some(format!(
                    "Invalid value {value} for configuration {name}: Value must be between {low} and {high}"
                )),
                Err(_) => not_a("DOUBLE"),
            },
            Check::OneOf(allowed) => (!allowed.contains(&value.trim())).then(|| {
                format!("Invalid value {value} for configuration {name}: String must be one of: {}", allowed.join(", "))
            }),
            Check::EachOf(allowed) => {
                value.split(',').map(str::trim).find(|part| !part.is_empty() && !allowed.contains(part)).map(|part| {
                    format!(
                        "Invalid value {part} for configuration {name}: String must be one of: {}",
                        allowed.join(", ")
                    )
                })
            }
        }
    }
}

impl Overrides {
    /// Checks every name and value.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (name, value) in &self.0 {
            let definition = Definition::of(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
            if let Some(reason) = definition.refuse(value) {
                return Err(reason);
            }
        }
        Ok(())
    }

    /// As pairs, for the journal.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// The configs in force for one topic.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TopicConfig {
    pub(crate) log: LogConfig,
    pub(crate) max_message_bytes: usize,
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) timestamp_after_max_ms: i64,
}

impl TopicConfig {
    /// What `overrides` over `defaults` amount to. Both have passed [`Overrides::check`].
    pub(crate) fn new(overrides: &Overrides, defaults: &Overrides) -> Self {
        let text = |name: &str| value_of(name, overrides, defaults);
        let long = |name: &str| text(name).trim().parse::<i64>().unwrap_or(i64::MAX);
        let policy = text("cleanup.policy");
        let has_policy = |wanted: &str| policy.split(',').any(|part| part.trim() == wanted);
        Self {
            log: LogConfig {
                segment_bytes: long("segment.bytes").max(0) as u64,
                segment_ms: long("segment.ms"),
                retention_ms: long("retention.ms"),
                retention_bytes: long("retention.bytes"),
                delete: has_policy("delete"),
                compact: has_policy("compact"),
                delete_retention_ms: long("delete.retention.ms"),
                min_cleanable_ratio: text("min.cleanable.dirty.ratio").trim().parse().unwrap_or(0.5),
                min_compaction_lag_ms: long("min.compaction.lag.ms"),
                log_append_time: text("message.timestamp.type").trim() == "LogAppendTime",
                flush_messages: long("flush.messages"),
                flush_ms: long("flush.ms"),
            },
            max_message_bytes: long("max.message.bytes").max(0) as usize,
            timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
        }
    }
}

/// The value of a known config: what the topic says, else the broker, else Apache Kafka.
pub(crate) fn value_of<'a>(name: &str, overrides: &'a Overrides, defaults: &'a Overrides) -> &'a str {
    overrides
        .0
        .get(name)
        .or_else(|| defaults.0.get(name))
        .map(String::as_str)
        .or_else(|| Definition::of(name).map(|definition| definition.default))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        Overrides(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn every_default_passes_its_own_check_and_names_are_sorted() {
        for definition in &DEFINITIONS {
            assert_eq!(definition.refuse(definition.default), None, "{}", definition.name);
        }
        assert!(DEFINITIONS.is_sorted_by_key(|definition| definition.name));
    }

    #[test]
    fn bad_values_are_refused_with_a_reason() {
        let cases = [
            ("retention.ms", "abc", "Not a number of type LONG"),
            ("segment.bytes", "13", "at least 14"),
            ("cleanup.policy", "compact, purge", "must be one of: delete, compact"),
            ("min.cleanable.dirty.ratio", "1.5", "between 0 and 1"),
            ("no.such.config", "1", "Unknown topic config name: no.such.config"),
        ];
        for (name, value, expected) in cases {
            let reason = overrides(&[(name, value)]).check().unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
    }

    #[test]
    fn a_topic_wins_over_the_broker() {
        let config = TopicConfig::new(
            &overrides(&[("cleanup.policy", "compact,delete")]),
            &overrides(&[("cleanup.policy", "delete"), ("retention.ms", "5")]),
        );
        assert!(config.log.compact && config.log.delete);
        assert_eq!(config.log.retention_ms, 5);
        assert_eq!(config.max_message_bytes, 1_048_588);
    }
}
