//! A broker's settings under Apache Kafka's names: what stands in `server.properties`.
//!
//! Listeners with their TLS, the data folder, limits, and the defaults of topics are read. Settings that mean nothing for a single node are left out, and whoever
//! gives them is told; those that would make it less safe than the user believes are refused: an authorizer.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use kurier_kafka::security::Protocol;
use kurier_kafka::security::tls::ServerTls;

use crate::config::{BrokerConfig, Data, MigrationPolicy};
use crate::sasl::SaslConfig;
use crate::server::Listener;

/// Kafka's names of settings that are a topic's where it has none of its own, and a topic's names for them.
const TOPIC_DEFAULTS: &[(&str, &str)] = &[
    ("compression.gzip.level", "compression.gzip.level"),
    ("compression.lz4.level", "compression.lz4.level"),
    ("compression.type", "compression.type"),
    ("compression.zstd.level", "compression.zstd.level"),
    ("log.cleaner.delete.retention.ms", "delete.retention.ms"),
    ("log.cleaner.max.compaction.lag.ms", "max.compaction.lag.ms"),
    ("log.cleaner.min.cleanable.ratio", "min.cleanable.dirty.ratio"),
    ("log.cleaner.min.compaction.lag.ms", "min.compaction.lag.ms"),
    ("log.cleanup.policy", "cleanup.policy"),
    ("log.flush.interval.messages", "flush.messages"),
    ("log.flush.interval.ms", "flush.ms"),
    ("log.message.timestamp.after.max.ms", "message.timestamp.after.max.ms"),
    ("log.message.timestamp.before.max.ms", "message.timestamp.before.max.ms"),
    ("log.message.timestamp.type", "message.timestamp.type"),
    ("log.retention.bytes", "retention.bytes"),
    ("log.roll.jitter.ms", "segment.jitter.ms"),
    ("log.segment.bytes", "segment.bytes"),
    ("log.segment.delete.delay.ms", "file.delete.delay.ms"),
    ("message.max.bytes", "max.message.bytes"),
];

/// A time under several names: the first that is given counts.
const TOPIC_TIMES: &[(&str, &[(&str, i64)])] = &[
    ("retention.ms", &[("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)]),
    ("segment.ms", &[("log.roll.ms", 1), ("log.roll.hours", 3_600_000)]),
];

/// Settings that would let the broker look safer than it is.
const REFUSED: &[(&str, &str)] = &[
    ("authorizer.class.name", "this broker has no ACLs and lets everybody do everything"),
    ("ssl.principal.mapping.rules", "this broker has no ACLs, so nobody needs a name"),
];

impl BrokerConfig {
    /// Reads Kafka's names; returns the settings with the keys that have no effect here, or everything that is wrong.
    pub fn from_properties(properties: &BTreeMap<String, String>) -> Result<(Self, Vec<String>), Vec<String>> {
        let mut reading = Reading { properties, seen: BTreeSet::new(), problems: Vec::new() };
        let config = reading.config();
        for (key, why) in REFUSED {
            if let Some(value) = reading.text(key) {
                reading.refuse(key, &value, why);
            }
        }
        if !reading.problems.is_empty() {
            return Err(reading.problems);
        }
        let unused = properties.keys().filter(|key| !reading.seen.contains(*key) && !key.contains("ssl.")).cloned();
        Ok((config, unused.collect()))
    }
}

struct Reading<'a> {
    properties: &'a BTreeMap<String, String>,
    seen: BTreeSet<String>,
    problems: Vec<String>,
}

impl Reading<'_> {
    fn text(&mut self, key: &str) -> Option<String> {
        self.seen.insert(key.to_owned());
        self.properties.get(key).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn refuse(&mut self, key: &str, value: &str, why: &str) {
        self.problems.push(format!("Invalid value {value} for configuration {key}: {why}"));
    }

    fn value<T: FromStr>(&mut self, key: &str) -> Option<T> {
        let text = self.text(key)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.refuse(key, &text, "not a value of its type");
        }
        value
    }

    fn millis(&mut self, key: &str, into: &mut Duration) {
        if let Some(millis) = self.value(key) {
            *into = Duration::from_millis(millis);
        }
    }

    fn config(&mut self) -> BrokerConfig {
        let mut config = BrokerConfig::default();
        if let Some(id) = self.value("node.id").or_else(|| self.value("broker.id")) {
            config.node_id = id;
        }
        if let Some(folders) = self.text("log.dirs").or_else(|| self.text("log.dir")) {
            if folders.contains(',') {
                self.refuse("log.dirs", &folders, "this broker has one folder");
            }
            config.data = Data::Dir(folders.into());
        }
        if let Some(partitions) = self.value("num.partitions") {
            config.num_partitions = partitions;
        }
        match self.text("auto.create.topics.enable").map(|text| text.to_ascii_lowercase()).as_deref() {
            None => {}
            Some("true") => config.auto_create_topics = true,
            Some("false") => config.auto_create_topics = false,
            Some(text) => self.refuse("auto.create.topics.enable", text, "Expected value to be either true or false"),
        }
        self.millis("group.initial.rebalance.delay.ms", &mut config.group_initial_rebalance_delay);
        self.millis("group.min.session.timeout.ms", &mut config.group_min_session_timeout);
        self.millis("group.max.session.timeout.ms", &mut config.group_max_session_timeout);
        self.millis("group.consumer.session.timeout.ms", &mut config.group_consumer_session_timeout);
        self.millis("group.consumer.heartbeat.interval.ms", &mut config.group_consumer_heartbeat_interval);
        if let Some(text) = self.text("group.consumer.migration.policy") {
            let named = MigrationPolicy::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text));
            match named {
                Some((_, policy)) => config.group_consumer_migration_policy = *policy,
                None => {
                    let names = MigrationPolicy::NAMES.map(|(name, _)| name).join(", ");
                    let reason = format!("String must be one of (case insensitive): {names}");
                    self.refuse("group.consumer.migration.policy", &text, &reason);
                }
            }
        }
        self.millis("transaction.max.timeout.ms", &mut config.transaction_max_timeout);
        self.millis("transactional.id.expiration.ms", &mut config.transactional_id_expiration);
        self.millis("producer.id.expiration.ms", &mut config.producer_id_expiration);
        self.millis("log.retention.check.interval.ms", &mut config.housekeeping_interval);
        self.millis("connections.max.idle.ms", &mut config.max_idle);
        if let Some(minutes) = self.value::<u64>("offsets.retention.minutes") {
            config.offsets_retention = Duration::from_secs(minutes.saturating_mul(60));
        }
        for (key, into) in [
            ("group.max.size", &mut config.group_max_size),
            ("group.consumer.max.size", &mut config.group_consumer_max_size),
            ("socket.request.max.bytes", &mut config.max_request_bytes),
            ("max.connections", &mut config.max_connections),
            ("fetch.max.bytes", &mut config.max_fetch_bytes),
        ] {
            if let Some(value) = self.value(key) {
                *into = value;
            }
        }
        for (key, topic) in TOPIC_DEFAULTS {
            if let Some(value) = self.text(key) {
                config.topic_defaults.push(((*topic).to_owned(), value));
            }
        }
        for (topic, keys) in TOPIC_TIMES {
            let times: Vec<Option<i64>> =
                keys.iter().map(|(key, unit)| self.value::<i64>(key).map(|time| time.saturating_mul(*unit))).collect();
            if let Some(time) = times.into_iter().flatten().next() {
                config.topic_defaults.push(((*topic).to_owned(), time.max(-1).to_string()));
            }
        }
        config.listeners = self.listeners();
        config
    }

    fn listeners(&mut self) -> Vec<Listener> {
        let protocols = self.protocols();
        let controllers = self.text("controller.listener.names").unwrap_or_default();
        let is_controller = |name: &str| controllers.split(',').any(|other| other.trim().eq_ignore_ascii_case(name));
        let key = "listeners";
        let text = self.text(key).unwrap_or_else(|| "PLAINTEXT://:9092".to_owned());
        let advertised = self.text("advertised.listeners").unwrap_or_default();
        let advertised = self.endpoints("advertised.listeners", &advertised);
        let mut listeners: Vec<Listener> = Vec::new();
        for (name, host, port) in self.endpoints(key, &text) {
            if is_controller(&name) {
                continue;
            }
            if listeners.iter().any(|other| other.name == name) {
                self.refuse(key, &text, "Each listener must have a different name");
            }
            let Some(protocol) = protocols.get(&name).copied() else {
                self.problems.push(format!(
                    "Error creating broker listeners from '{text}': No security protocol defined for listener {name}"
                ));
                continue;
            };
            let sasl = if protocol.has_sasl() { self.sasl(&name) } else { None };
            let tls = if protocol.has_tls() { self.tls(&name) } else { None };
            let told = advertised.iter().find(|(other, ..)| *other == name);
            let told = told.map(|(_, host, port)| (host.clone(), *port));
            let host = if host.is_empty() { "0.0.0.0".to_owned() } else { host };
            listeners.push(Listener { name, host, port, advertised: told, tls, sasl });
        }
        for (name, ..) in advertised {
            if !listeners.iter().any(|listener| listener.name == name) && !is_controller(&name) {
                self.refuse("advertised.listeners", &name, "it is none of `listeners`");
            }
        }
        if listeners.is_empty() && self.problems.is_empty() {
            self.refuse(key, &text, "no listener for clients");
        }
        listeners
    }

    /// What a listener asks of its clients.
    fn sasl(&mut self, listener: &str) -> Option<Arc<SaslConfig>> {
        let of_sasl = |key: &&String| key.contains("sasl.") || key.ends_with("connections.max.reauth.ms");
        self.seen.extend(self.properties.keys().filter(of_sasl).cloned());
        match SaslConfig::from_properties(listener, self.properties) {
            Ok(config) => Some(Arc::new(config)),
            Err(why) => {
                self.problems.push(why);
                None
            }
        }
    }

    /// `listener.security.protocol.map`.
    fn protocols(&mut self) -> BTreeMap<String, Protocol> {
        let key = "listener.security.protocol.map";
        let find = |name: &str| Protocol::NAMES.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        let Some(text) = self.text(key) else {
            return Protocol::NAMES.iter().map(|(name, protocol)| ((*name).to_owned(), *protocol)).collect();
        };
        let mut protocols = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            match entry.split_once(':').and_then(|(name, protocol)| Some((name, find(protocol.trim())?.1))) {
                Some((name, protocol)) => {
                    protocols.insert(name.trim().to_ascii_uppercase(), protocol);
                }
                None => {
                    self.refuse(key, entry, "expected NAME:PROTOCOL, one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL")
                }
            }
        }
        protocols
    }

    /// `NAME://host:port`, as often as there are commas.
    fn endpoints(&mut self, key: &str, text: &str) -> Vec<(String, String, u16)> {
        let mut endpoints = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let parts = entry.split_once("://").and_then(|(name, address)| {
                let (host, port) = address.rsplit_once(':')?;
                let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                Some((name.to_ascii_uppercase(), host.to_owned(), port.parse().ok()?))
            });
            match parts {
                Some(parts) => endpoints.push(parts),
                None => self.refuse(key, entry, "expected NAME://host:port"),
            }
        }
        endpoints
    }

    /// `ssl.*` of a listener, where `listener.name.NAME.ssl.*` goes first.
    fn tls(&mut self, name: &str) -> Option<ServerTls> {
        let prefix = format!("listener.name.{}.", name.to_ascii_lowercase());
        let mut properties: BTreeMap<String, String> = BTreeMap::new();
        let mut written: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in self.properties {
            if key.starts_with("ssl.") {
                properties.entry(key.clone()).or_insert_with(|| value.clone());
            } else if let Some(own) = key.strip_prefix(&prefix) {
                properties.insert(own.to_owned(), value.clone());
                written.insert(own.to_owned(), key.clone());
            }
        }
        let as_written = |key: &str| written.get(key).cloned().unwrap_or_else(|| key.to_owned());
        match ServerTls::read(&properties, &as_written) {
            Ok(tls) => Some(tls),
            Err(problems) => {
                self.problems.extend(problems.into_iter().map(|problem| format!("listener {name}: {problem}")));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(BrokerConfig, Vec<String>), Vec<String>> {
        let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
        let properties = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        BrokerConfig::from_properties(&properties)
    }

    #[test]
    fn a_file_of_kafkas_is_read() {
        let (config, unused) = read(
            "process.roles=broker,controller
             node.id=7
             controller.quorum.voters=7@localhost:9093
             controller.listener.names=CONTROLLER
             listeners=INSIDE://:9092,CONTROLLER://:9093,V6://[::1]:9094
             advertised.listeners=inside://kafka.example.org:19092
             listener.security.protocol.map=INSIDE:PLAINTEXT,V6:PLAINTEXT,CONTROLLER:PLAINTEXT
             log.dirs=/var/kafka
             num.partitions=3
             auto.create.topics.enable=false
             offsets.retention.minutes=60
             transactional.id.expiration.ms=5000
             group.consumer.migration.policy=Upgrade
             log.retention.hours=2
             log.retention.bytes=1000
             log.cleanup.policy=compact",
        )
        .unwrap();
        let outside = ("kafka.example.org".to_owned(), 19_092);
        let inside = Listener { advertised: Some(outside), ..Listener::plain("INSIDE", "0.0.0.0", 9_092) };
        assert_eq!(config.listeners, [inside, Listener::plain("V6", "::1", 9_094)]);
        assert_eq!((config.node_id, config.num_partitions, config.auto_create_topics), (7, 3, false));
        assert_eq!(config.data, Data::Dir("/var/kafka".into()));
        assert_eq!(config.offsets_retention, Duration::from_secs(3_600));
        assert_eq!(config.transactional_id_expiration, Duration::from_secs(5));
        assert_eq!(config.group_consumer_migration_policy, MigrationPolicy::Upgrade);
        let defaults: Vec<String> = config.topic_defaults.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(defaults, ["cleanup.policy=compact", "retention.bytes=1000", "retention.ms=7200000"]);
        assert_eq!(unused, ["controller.quorum.voters", "process.roles"]);
    }

    #[test]
    fn what_cannot_be_is_refused_all_at_once() {
        let problems = read(
            "listeners=SSL://:9092,INSIDE://:9093,SASL_PLAINTEXT://:9094,nonsense
             advertised.listeners=OTHER://a:1
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
             num.partitions=many
             group.consumer.migration.policy=sideways
             ssl.client.auth=perhaps",
        )
        .unwrap_err();
        assert_eq!(
            problems,
            [
                "Invalid value many for configuration num.partitions: not a value of its type",
                "Invalid value sideways for configuration group.consumer.migration.policy: String must be one of (case insensitive): bidirectional, upgrade, \
                 downgrade, disabled",
                "Invalid value nonsense for configuration listeners: expected NAME://host:port",
                "listener SSL: Invalid value perhaps for configuration ssl.client.auth: String must be one of: required, requested, none",
                "Error creating broker listeners from 'SSL://:9092,INSIDE://:9093,SASL_PLAINTEXT://:9094,nonsense': No security protocol defined for \
                 listener INSIDE",
                "Invalid value GSSAPI for configuration sasl.enabled.mechanisms: this broker speaks PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER",
                "Invalid value OTHER for configuration advertised.listeners: it is none of `listeners`",
                "Invalid value org.apache.kafka.metadata.authorizer.StandardAuthorizer for configuration authorizer.class.name: this broker has no ACLs and \
                 lets everybody do everything",
            ]
        );
        let problems = read("listeners=SSL://:9092").unwrap_err();
        assert!(problems[0].starts_with("listener SSL: an SSL listener needs a certificate"), "{problems:?}");
    }
}
