//! The configs of a topic: names, defaults, checks, and what the log makes of them.
//!
//! Every config that Apache Kafka 4.3 has for a topic is known, so that what a client sets is kept and shown again; those that mean
//! nothing to a single broker (replication, tiered storage) change nothing here.

use std::collections::BTreeMap;

use kurier_kafka::batch::Compression;

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
    Between(i64, i64),
    /// A number from 0 to 1.
    Ratio,
    /// 1 to 9, or -1 for the compressor's own choice.
    GzipLevel,
    Boolean,
    /// Only `false`: there is no tiered storage.
    NoTieredStorage,
    /// `*`, or replicas as `partition:broker`.
    Replicas,
    OneOf(&'static [&'static str]),
    EachOf(&'static [&'static str]),
}

const fn definition(name: &'static str, kind: Kind, default: &'static str, check: Check) -> Definition {
    Definition { name, kind, default, check }
}

/// Segments smaller than `segment.bytes` allows, for tests only, as in Apache Kafka; it is not shown.
const INTERNAL_SEGMENT_BYTES: &str = "internal.segment.bytes";

/// All of them, by name.
static DEFINITIONS: [Definition; 34] = [
    definition("cleanup.policy", Kind::List, "delete", Check::EachOf(&["compact", "delete"])),
    definition("compression.gzip.level", Kind::Int, "-1", Check::GzipLevel),
    definition("compression.lz4.level", Kind::Int, "9", Check::Between(1, 17)),
    definition(
        "compression.type",
        Kind::String,
        "producer",
        Check::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
    ),
    definition("compression.zstd.level", Kind::Int, "3", Check::Between(-131_072, 22)),
    definition("delete.retention.ms", Kind::Long, "86400000", Check::AtLeast(0)),
    definition("file.delete.delay.ms", Kind::Long, "60000", Check::AtLeast(0)),
    definition("flush.messages", Kind::Long, "9223372036854775807", Check::AtLeast(1)),
    definition("flush.ms", Kind::Long, "9223372036854775807", Check::AtLeast(0)),
    definition("follower.replication.throttled.replicas", Kind::List, "", Check::Replicas),
    definition("index.interval.bytes", Kind::Int, "4096", Check::AtLeast(0)),
    definition(INTERNAL_SEGMENT_BYTES, Kind::Int, "0", Check::AtLeast(0)),
    definition("leader.replication.throttled.replicas", Kind::List, "", Check::Replicas),
    definition("local.retention.bytes", Kind::Long, "-2", Check::AtLeast(-2)),
    definition("local.retention.ms", Kind::Long, "-2", Check::AtLeast(-2)),
    definition("max.compaction.lag.ms", Kind::Long, "9223372036854775807", Check::AtLeast(1)),
    definition("max.message.bytes", Kind::Int, "1048588", Check::AtLeast(0)),
    definition("message.timestamp.after.max.ms", Kind::Long, "3600000", Check::AtLeast(0)),
    definition("message.timestamp.before.max.ms", Kind::Long, "9223372036854775807", Check::AtLeast(0)),
    definition("message.timestamp.type", Kind::String, "CreateTime", Check::OneOf(&["CreateTime", "LogAppendTime"])),
    definition("min.cleanable.dirty.ratio", Kind::Double, "0.5", Check::Ratio),
    definition("min.compaction.lag.ms", Kind::Long, "0", Check::AtLeast(0)),
    definition("min.insync.replicas", Kind::Int, "1", Check::AtLeast(1)),
    definition("preallocate", Kind::Boolean, "false", Check::Boolean),
    definition("remote.log.copy.disable", Kind::Boolean, "false", Check::Boolean),
    definition("remote.log.delete.on.disable", Kind::Boolean, "false", Check::Boolean),
    definition("remote.storage.enable", Kind::Boolean, "false", Check::NoTieredStorage),
    definition("retention.bytes", Kind::Long, "-1", Check::Any),
    definition("retention.ms", Kind::Long, "604800000", Check::AtLeast(-1)),
    definition("segment.bytes", Kind::Int, "1073741824", Check::AtLeast(1024 * 1024)),
    definition("segment.index.bytes", Kind::Int, "10485760", Check::AtLeast(4)),
    definition("segment.jitter.ms", Kind::Long, "0", Check::AtLeast(0)),
    definition("segment.ms", Kind::Long, "604800000", Check::AtLeast(1)),
    definition("unclean.leader.election.enable", Kind::Boolean, "false", Check::Boolean),
];

/// What a config of topics is called where it is set for all topics of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BrokerName {
    pub(crate) name: &'static str,
    /// Whether what holds if nothing is set has this name, too; where brokers have several for one thing, it has none.
    pub(crate) has_default: bool,
}

/// What was set for one topic, over the broker's and Apache Kafka's defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overrides(pub(crate) BTreeMap<String, String>);

impl Definition {
    /// Those that clients are shown.
    pub(crate) fn shown() -> impl Iterator<Item = &'static Self> {
        DEFINITIONS.iter().filter(|definition| definition.name != INTERNAL_SEGMENT_BYTES)
    }

    /// A config whose value need only be of its kind.
    pub(crate) const fn free(name: &'static str, kind: Kind, default: &'static str) -> Self {
        definition(name, kind, default, Check::Any)
    }

    /// The config of that name.
    pub(crate) fn of(name: &str) -> Option<&'static Self> {
        DEFINITIONS.iter().find(|definition| definition.name == name)
    }

    /// What brokers call it.
    pub(crate) fn name_for_brokers(&self) -> BrokerName {
        let (name, has_default) = match self.name {
            "cleanup.policy" => ("log.cleanup.policy", true),
            "delete.retention.ms" => ("log.cleaner.delete.retention.ms", true),
            "file.delete.delay.ms" => ("log.segment.delete.delay.ms", true),
            "flush.messages" => ("log.flush.interval.messages", true),
            "flush.ms" => ("log.flush.interval.ms", false),
            "index.interval.bytes" => ("log.index.interval.bytes", true),
            "local.retention.bytes" => ("log.local.retention.bytes", true),
            "local.retention.ms" => ("log.local.retention.ms", true),
            "max.compaction.lag.ms" => ("log.cleaner.max.compaction.lag.ms", true),
            "max.message.bytes" => ("message.max.bytes", true),
            "message.timestamp.after.max.ms" => ("log.message.timestamp.after.max.ms", true),
            "message.timestamp.before.max.ms" => ("log.message.timestamp.before.max.ms", true),
            "message.timestamp.type" => ("log.message.timestamp.type", true),
            "min.cleanable.dirty.ratio" => ("log.cleaner.min.cleanable.ratio", true),
            "min.compaction.lag.ms" => ("log.cleaner.min.compaction.lag.ms", true),
            "preallocate" => ("log.preallocate", true),
            "retention.bytes" => ("log.retention.bytes", true),
            "retention.ms" => ("log.retention.ms", false),
            "segment.bytes" => ("log.segment.bytes", true),
            "segment.index.bytes" => ("log.index.size.max.bytes", true),
            "segment.jitter.ms" => ("log.roll.jitter.ms", false),
            "segment.ms" => ("log.roll.ms", false),
            "follower.replication.throttled.replicas"
            | "leader.replication.throttled.replicas"
            | "remote.log.copy.disable"
            | "remote.log.delete.on.disable"
            | "remote.storage.enable" => (self.name, false),
            name => (name, true),
        };
        BrokerName { name, has_default }
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
        let invalid =
            |value: &str, what: String| Some(format!("Invalid value {value} for configuration {name}: {what}"));
        let number = || value.trim().parse::<i64>().unwrap_or(0);
        match self.check {
            Check::Any => None,
            Check::AtLeast(least) | Check::Between(least, _) if number() < least => {
                invalid(value.trim(), format!("Value must be at least {least}"))
            }
            Check::Between(_, most) if number() > most => {
                invalid(value.trim(), format!("Value must be no more than {most}"))
            }
            Check::AtLeast(_) | Check::Between(_, _) => None,
            Check::Ratio => match value.trim().parse::<f64>() {
                Ok(number) if number < 0.0 => invalid(&format!("{number:?}"), "Value must be at least 0".to_owned()),
                Ok(number) if number > 1.0 => {
                    invalid(&format!("{number:?}"), "Value must be no more than 1".to_owned())
                }
                Ok(number) if number.is_nan() => not_a("DOUBLE"),
                Ok(_) => None,
                Err(_) => not_a("DOUBLE"),
            },
            Check::GzipLevel => {
                let what = "Value must be between 1 and 9 or equal to -1";
                if number() == -1 || (1..=9).contains(&number()) {
                    None
                } else {
                    invalid(value.trim(), what.to_owned())
                }
            }
            Check::Boolean | Check::NoTieredStorage => match value.trim().to_ascii_lowercase().as_str() {
                "false" => None,
                "true" if matches!(self.check, Check::Boolean) => None,
                "true" => {
                    let reason = "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.";
                    Some(reason.to_owned())
                }
                _ => invalid(value, "Expected value to be either true or false".to_owned()),
            },
            Check::Replicas => {
                let is_replica = |text: &str| {
                    let parts = text.split_once(':');
                    parts.is_some_and(|(partition, broker)| {
                        [partition, broker].iter().all(|part| part.trim().parse::<i32>().is_ok())
                    })
                };
                let list: Vec<&str> = value.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
                if list == ["*"] || list.iter().all(|part| is_replica(part)) {
                    return None;
                }
                invalid(
                    &format!("[{}]", list.join(", ")),
                    format!(
                        "{name} must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
                    ),
                )
            }
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
        let lag = |name: &str| {
            let set = self.0.get(name).map(String::as_str).or_else(|| Definition::of(name).map(|known| known.default));
            set.and_then(|value| value.trim().parse::<i64>().ok()).unwrap_or(0)
        };
        let (shortest, longest) = (lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms"));
        if shortest > longest {
            return Err(format!(
                "conflict topic config setting min.compaction.lag.ms ({shortest}) > max.compaction.lag.ms ({longest})"
            ));
        }
        Ok(())
    }

    /// The same values as Apache Kafka would show them: what is read without its blanks is kept without.
    pub(crate) fn normalized(self) -> Self {
        let shown = |name: &str, value: String| match Definition::of(name).map(|definition| definition.kind) {
            Some(Kind::Boolean) => value.trim().to_ascii_lowercase(),
            _ => value.trim().to_owned(),
        };
        Self(self.0.into_iter().map(|(name, value)| (name.clone(), shown(&name, value))).collect())
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
    /// How batches are stored, with the level for those that come otherwise; `None`: as the producer sent them.
    pub(crate) compression: Option<(Compression, Option<i32>)>,
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
                segment_bytes: match long(INTERNAL_SEGMENT_BYTES) {
                    0 => long("segment.bytes").max(0) as u64,
                    internal => internal.max(0) as u64,
                },
                segment_ms: long("segment.ms"),
                retention_ms: long("retention.ms"),
                retention_bytes: long("retention.bytes"),
                delete: has_policy("delete"),
                compact: has_policy("compact"),
                delete_retention_ms: long("delete.retention.ms"),
                min_cleanable_ratio: text("min.cleanable.dirty.ratio").trim().parse().unwrap_or(0.5),
                min_compaction_lag_ms: long("min.compaction.lag.ms"),
                max_compaction_lag_ms: long("max.compaction.lag.ms"),
                log_append_time: text("message.timestamp.type").trim() == "LogAppendTime",
                flush_messages: long("flush.messages"),
                flush_ms: long("flush.ms"),
            },
            max_message_bytes: long("max.message.bytes").max(0) as usize,
            timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
            compression: match text("compression.type").trim() {
                "uncompressed" => Some((Compression::None, None)),
                name => name.parse::<Compression>().ok().map(|compression| {
                    let level = text(&format!("compression.{name}.level")).trim().parse::<i32>().ok();
                    // As Java has it, -1 is gzip's way to leave it to the compressor; to zstd it is a level.
                    (compression, level.filter(|level| compression != Compression::Gzip || *level != -1))
                }),
            },
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
            ("segment.bytes", "13", "at least 1048576"),
            ("cleanup.policy", "compact, purge", "must be one of: compact, delete"),
            ("min.cleanable.dirty.ratio", "1.5", "no more than 1"),
            ("no.such.config", "1", "Unknown topic config name: no.such.config"),
        ];
        for (name, value, expected) in cases {
            let reason = overrides(&[(name, value)]).check().unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
    }

    #[test]
    fn compression_is_the_producers_unless_it_is_said() {
        for (pairs, expected) in [
            (vec![], None),
            (vec![("compression.type", "uncompressed")], Some((Compression::None, None))),
            (vec![("compression.type", "gzip")], Some((Compression::Gzip, None))),
            (vec![("compression.type", "gzip"), ("compression.gzip.level", "7")], Some((Compression::Gzip, Some(7)))),
            (vec![("compression.type", "zstd"), ("compression.zstd.level", "-1")], Some((Compression::Zstd, Some(-1)))),
            (vec![("compression.type", "snappy")], Some((Compression::Snappy, None))),
        ] {
            let config = TopicConfig::new(&overrides(&pairs), &Overrides::default());
            assert_eq!(config.compression, expected, "{pairs:?}");
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
