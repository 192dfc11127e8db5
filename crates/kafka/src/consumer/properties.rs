//! From Java's property names to [`Settings`].
//!
//! Every problem is reported at once, in Java's words. A key that nobody knows is a warning, as in Java: it is returned, and the caller logs it.

use std::time::Duration;

use super::assignor::Assignor;
use super::{ConsumerError, Isolation, OffsetReset, Settings};
use crate::config::{Given, Keys, Remarks};
use crate::group::{EpochConfig, GroupConfig};
use crate::net::NetSettings;
use crate::properties::Client;

/// The protocol type of consumers' groups.
const PROTOCOL_TYPE: &str = "consumer";
/// Longest static id.
const MAX_INSTANCE_ID: usize = 249;

/// A consumer's configuration, parsed.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// For the core.
    pub settings: Settings,
    /// For connections.
    pub net: NetSettings,
    /// What users should know of what they gave.
    pub remarks: Remarks,
}

impl ConsumerConfig {
    /// Reads Java's property names.
    pub fn parse<'a>(properties: impl Into<Given<'a>>) -> Result<Self, ConsumerError> {
        let mut keys = Keys::new(Client::Consumer, properties);
        let defaults = Settings::default();
        let mut settings = Settings {
            isolation: keys.choice(
                "isolation.level",
                defaults.isolation,
                &[("read_uncommitted", Isolation::ReadUncommitted), ("read_committed", Isolation::ReadCommitted)],
            ),
            offset_reset: offset_reset(&mut keys),
            fetch_min_bytes: keys.number("fetch.min.bytes", defaults.fetch_min_bytes, 0),
            fetch_max_bytes: keys.number("fetch.max.bytes", defaults.fetch_max_bytes, 0),
            fetch_max_wait: keys.millis("fetch.max.wait.ms", defaults.fetch_max_wait),
            max_partition_fetch_bytes: keys.number("max.partition.fetch.bytes", defaults.max_partition_fetch_bytes, 0),
            check_crcs: keys.flag("check.crcs", defaults.check_crcs),
            max_poll_records: keys.number("max.poll.records", defaults.max_poll_records as i32, 1).unsigned_abs()
                as usize,
            request_timeout: keys.millis("request.timeout.ms", defaults.request_timeout),
            api_timeout: keys.millis("default.api.timeout.ms", defaults.api_timeout),
            retry_backoff: keys.millis("retry.backoff.ms", defaults.retry_backoff),
            retry_backoff_max: keys.millis("retry.backoff.max.ms", defaults.retry_backoff_max),
            metadata_max_age: keys.millis("metadata.max.age.ms", defaults.metadata_max_age),
            allow_auto_create_topics: keys.flag("allow.auto.create.topics", defaults.allow_auto_create_topics),
            exclude_internal_topics: keys.flag("exclude.internal.topics", defaults.exclude_internal_topics),
            assignors: assignors(&mut keys),
            client_rack: keys.text("client.rack").unwrap_or_default().to_owned(),
            epochs: None,
            group: None,
            ..defaults
        };
        if keys.text_or_empty("group.id").is_some_and(str::is_empty) {
            keys.problem("The configured group.id should not be an empty string or whitespace.".to_owned());
        }
        let group = GroupConfig {
            group_id: keys.text("group.id").unwrap_or_default().to_owned(),
            instance_id: keys.text("group.instance.id").map(str::to_owned),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            session_timeout: keys.millis("session.timeout.ms", Duration::from_secs(45)),
            rebalance_timeout: keys.millis("max.poll.interval.ms", Duration::from_secs(300)),
            heartbeat_interval: keys.millis("heartbeat.interval.ms", Duration::from_secs(3)),
            request_timeout: settings.request_timeout,
            retry_backoff: settings.retry_backoff,
            retry_backoff_max: settings.retry_backoff_max,
        };
        settings.group = (!group.group_id.is_empty()).then_some(group);
        settings.epochs = epochs(&mut keys, &settings.client_rack);
        if let Some(group) = &settings.group {
            check_group(&mut keys, group, settings.epochs.is_none());
        }
        let (net, remarks) = keys.finish().map_err(ConsumerError::Config)?;
        settings.metrics = net.metrics;
        Ok(Self { settings, net, remarks })
    }
}

fn offset_reset(keys: &mut Keys<'_>) -> OffsetReset {
    let key = "auto.offset.reset";
    let Some(text) = keys.text(key) else { return OffsetReset::default() };
    OffsetReset::parse(text).unwrap_or_else(|why| {
        keys.refuse(key, text, &why);
        OffsetReset::default()
    })
}

/// With `group.protocol=consumer` (KIP-848), what a member is told about itself. Keys of the other protocol are refused, as in Java.
fn epochs(keys: &mut Keys<'_>, rack: &str) -> Option<EpochConfig> {
    let is_classic = keys.choice("group.protocol", true, &[("consumer", false), ("classic", true)]);
    let assignor = keys.text("group.remote.assignor");
    let (protocol, foreign): (_, &[&'static str]) = if is_classic {
        ("CLASSIC", &["group.remote.assignor"])
    } else {
        ("CONSUMER", &["partition.assignment.strategy", "heartbeat.interval.ms", "session.timeout.ms"])
    };
    let given: Vec<&str> = foreign.iter().copied().filter(|key| keys.text(key).is_some()).collect();
    if !given.is_empty() {
        keys.problem(format!("{} cannot be set when group.protocol={protocol}", given.join(", ")));
    }
    (!is_classic).then(|| EpochConfig {
        member_id: String::new(),
        rack: Some(rack.to_owned()).filter(|rack| !rack.is_empty()),
        assignor: assignor.map(str::to_owned),
    })
}

/// What Java refuses when it makes a member.
fn check_group(keys: &mut Keys<'_>, group: &GroupConfig, is_classic: bool) {
    if is_classic && group.heartbeat_interval >= group.session_timeout {
        keys.problem("Heartbeat must be set lower than the session timeout".to_owned());
    }
    let Some(id) = &group.instance_id else { return };
    let problem = if id == "." || id == ".." {
        format!("'{id}' is not allowed")
    } else if id.len() > MAX_INSTANCE_ID {
        format!("the length of '{id}' is longer than the max allowed length {MAX_INSTANCE_ID}")
    } else if !id.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter)) {
        format!("'{id}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
    } else {
        return;
    };
    keys.problem(format!("Group instance id is invalid: {problem}"));
}

fn assignors(keys: &mut Keys<'_>) -> Vec<Assignor> {
    let key = "partition.assignment.strategy";
    let Some(text) = keys.text(key) else { return Settings::default().assignors };
    let mut spoken = Vec::new();
    for class in text.split(',').map(str::trim).filter(|class| !class.is_empty()) {
        match Assignor::from_class(class) {
            Some(assignor) if spoken.contains(&assignor) => {}
            Some(assignor) => spoken.push(assignor),
            None => keys.refuse(
                key,
                class,
                "no such assignor; Range, RoundRobin, Sticky and CooperativeStickyAssignor are known",
            ),
        }
    }
    if spoken.is_empty() && keys.is_sound() {
        keys.refuse(key, text, "name an assignor, or leave the key out");
    }
    spoken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(properties: &[(&str, &str)]) -> Result<ConsumerConfig, ConsumerError> {
        let with_default = [("bootstrap.servers", "h:1")];
        let all = with_default.iter().chain(properties);
        ConsumerConfig::parse(&all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn javas_names_are_read() {
        let config = parse(&[
            ("bootstrap.servers", "a:9092, PLAINTEXT://[::1]:9093"),
            ("group.id", "g"),
            ("max.poll.interval.ms", "1000"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "earliest"),
            ("max.poll.records", "7"),
            ("socket.connection.setup.timeout.max.ms", "15000"),
            ("key.deserializer", "x"),
            ("consumer.typo", "x"),
            (
                "partition.assignment.strategy",
                "org.apache.kafka.clients.consumer.RangeAssignor, org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
            ),
        ])
        .unwrap();
        assert_eq!(config.net.bootstrap, [("a".to_owned(), 9092), ("::1".to_owned(), 9093)]);
        assert_eq!(
            (config.net.setup_timeout, config.net.setup_timeout_max),
            (Duration::from_secs(10), Duration::from_secs(15))
        );
        let settings = config.settings;
        assert_eq!((settings.isolation, settings.offset_reset), (Isolation::ReadCommitted, OffsetReset::Earliest));
        assert_eq!(
            (settings.max_poll_records, settings.assignors),
            (7, vec![Assignor::Range, Assignor::CooperativeSticky])
        );
        let group = settings.group.unwrap();
        assert_eq!((group.group_id.as_str(), group.rebalance_timeout), ("g", Duration::from_secs(1)));
        assert_eq!(config.remarks.unknown, ["consumer.typo"]);
        assert!(parse(&[]).unwrap().settings.group.is_none());
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let error = parse(&[
            ("bootstrap.servers", "nowhere"),
            ("fetch.min.bytes", "-1"),
            ("max.poll.records", "many"),
            ("check.crcs", "perhaps"),
            ("auto.offset.reset", "middle"),
            ("security.protocol", "SSL"),
        ]);
        expect_test::expect![[r#"
            Invalid value middle for configuration auto.offset.reset: Invalid value `middle` for configuration auto.offset.reset. The value must be either 'earliest', 'latest', 'none' or of the format 'by_duration:<PnDTnHnMn.nS.>'.
            Invalid value perhaps for configuration check.crcs: Expected value to be either true or false
            Invalid value -1 for configuration fetch.min.bytes: Value must be at least 0
            Invalid value many for configuration max.poll.records: Not a number of type INT
            Invalid url in bootstrap.servers: nowhere"#]]
        .assert_eq(&error.unwrap_err().to_string());
    }

    #[test]
    fn each_protocol_has_its_own_keys() {
        let consumer = [("group.id", "g"), ("group.protocol", "CONSUMER"), ("group.remote.assignor", "range")];
        let epochs = parse(&consumer).unwrap().settings.epochs.unwrap();
        assert_eq!((epochs.assignor.as_deref(), epochs.rack), (Some("range"), None));
        assert!(parse(&[("group.protocol", "classic")]).unwrap().settings.epochs.is_none());
        let cases: [(&[(&str, &str)], &str); 5] = [
            (
                &[("group.protocol", "consumer"), ("session.timeout.ms", "5"), ("heartbeat.interval.ms", "1")],
                "heartbeat.interval.ms, session.timeout.ms cannot be set when group.protocol=CONSUMER",
            ),
            (
                &[("group.remote.assignor", "uniform")],
                "group.remote.assignor cannot be set when group.protocol=CLASSIC",
            ),
            (
                &[("group.protocol", "x")],
                "Invalid value x for configuration group.protocol: String must be one of (case insensitive): CONSUMER, CLASSIC",
            ),
            (
                &[("group.id", "g"), ("heartbeat.interval.ms", "50000")],
                "Heartbeat must be set lower than the session timeout",
            ),
            (
                &[("group.id", "g"), ("group.instance.id", "a b")],
                "Group instance id is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
            ),
        ];
        for (properties, expected) in cases {
            assert_eq!(parse(properties).unwrap_err().to_string(), expected, "{properties:?}");
        }
    }
}
