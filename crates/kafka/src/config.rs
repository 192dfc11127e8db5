//! Client settings under their Java names.
//!
//! What each client reads is beside it ([`crate::consumer::ConsumerConfig`], [`crate::producer::ProducerConfig`], [`crate::admin::AdminConfig`]); here is
//! how: whatever is given is held against the list in [`crate::properties`] first, so that every problem is reported at once, in Java's words, also of
//! properties that change nothing here; what all clients share is read once; a key that nobody knows is a warning, as in Java. TLS and SASL are in
//! [`crate::security`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use crate::metrics::MetricsSettings;
use crate::net::{DnsLookup, NetSettings};
use crate::properties::{Client, Kind, Property, Status};
use crate::security::Security;

/// Longer times than this mean the same: never. It keeps arithmetic with deadlines in range.
const LONGEST_MS: u64 = 100 * 365 * 24 * 3_600 * 1_000;
/// Java's `connections.max.idle.ms`, and that of its admin client: brokers close idle connections after 10 minutes.
const IDLE_MS: i64 = 540_000;
const ADMIN_IDLE_MS: i64 = 300_000;

/// Ends of names of interceptors that only look at records: to leave them out loses nothing but what they tell.
const OBSERVERS: &[&str] = &[
    "MonitoringProducerInterceptor",
    "MonitoringConsumerInterceptor",
    "TracingProducerInterceptor",
    "TracingConsumerInterceptor",
];

/// The properties that a client is to be made with.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// By their names.
    pub properties: &'a BTreeMap<String, String>,
    /// The names under which a user wrote them, where these are others: `producer.override.acks`. Errors show them.
    pub written: Option<&'a BTreeMap<String, String>>,
}

/// Names only: a value may be a secret.
impl fmt::Debug for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.properties.keys()).finish()
    }
}

impl<'a> From<&'a BTreeMap<String, String>> for Given<'a> {
    fn from(properties: &'a BTreeMap<String, String>) -> Self {
        Self { properties, written: None }
    }
}

/// What a user should know of the properties that a client was made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Keys that no client of Java's knows.
    pub unknown: Vec<String>,
    /// A sentence for each that changes nothing and was given by somebody who may count on it.
    pub ignored: Vec<String>,
}

/// The properties of a client while they are read.
pub(crate) struct Keys<'a> {
    client: Client,
    given: Given<'a>,
    /// Those that Java would not take either.
    invalid: BTreeSet<&'a str>,
    remarks: Remarks,
    problems: Vec<String>,
}

impl<'a> Keys<'a> {
    /// Holds what is given against the list.
    pub(crate) fn new(client: Client, given: impl Into<Given<'a>>) -> Self {
        let given = given.into();
        let (invalid, remarks, problems) = (BTreeSet::new(), Remarks::default(), Vec::new());
        let mut keys = Self { client, given, invalid, remarks, problems };
        for (key, value) in given.properties {
            let Some(property) = client.property(key) else {
                keys.remarks.unknown.push(key.clone());
                continue;
            };
            if let Some(problem) = property.refusal_as(keys.written(key), value) {
                keys.problems.push(problem);
                keys.invalid.insert(key);
            } else if !property.is_default(value) {
                keys.consider(property, value);
            }
        }
        keys
    }

    /// What becomes of a property that says something else than its default.
    fn consider(&mut self, property: &'static Property, value: &str) {
        let watched = matches!(property.kind, Kind::Class | Kind::List)
            || matches!(property.name, "security.providers" | "compression.lz4.level");
        let refused = match (property.name, property.status) {
            ("interceptor.classes", _) => {
                value.split(',').any(|class| !OBSERVERS.iter().any(|observer| class.trim().ends_with(observer)))
            }
            (name, Status::Refused) => !self.is_of_security(name) || !self.is_plaintext(),
            _ => false,
        };
        if refused {
            self.refuse(property.name, value, property.note);
            self.invalid.insert(property.name);
        } else if property.status != Status::Supported && watched && !is_of_bytes(value) {
            self.remarks.ignored.push(format!("`{}` has no effect: {}", self.written(property.name), property.note));
        }
    }

    fn is_of_security(&self, name: &str) -> bool {
        name.starts_with("ssl.") || name.starts_with("sasl.")
    }

    fn is_plaintext(&self) -> bool {
        let protocol = self.given.properties.get("security.protocol");
        protocol.is_none_or(|protocol| protocol.trim().eq_ignore_ascii_case("PLAINTEXT"))
    }

    /// The name under which the user knows a property.
    pub(crate) fn written<'k>(&self, key: &'k str) -> &'k str
    where
        'a: 'k,
    {
        self.given.written.and_then(|written| written.get(key)).map_or(key, String::as_str)
    }

    /// Reads what all clients share; returns it with what there is to remark, or every problem there was.
    pub(crate) fn finish(mut self) -> Result<(NetSettings, Remarks), String> {
        let bootstrap = self.bootstrap();
        let security = Security::read(&mut self);
        let net = NetSettings {
            client_id: self.text("client.id").unwrap_or_default().to_owned(),
            setup_timeout: self.millis("socket.connection.setup.timeout.ms", Duration::from_secs(10)),
            setup_timeout_max: self.millis("socket.connection.setup.timeout.max.ms", Duration::from_secs(30)),
            reconnect_backoff: self.millis("reconnect.backoff.ms", Duration::from_millis(50)),
            reconnect_backoff_max: self.millis("reconnect.backoff.max.ms", Duration::from_secs(1)),
            dns_lookup: self.choice(
                "client.dns.lookup",
                DnsLookup::default(),
                &[
                    ("use_all_dns_ips", DnsLookup::UseAllDnsIps),
                    ("resolve_canonical_bootstrap_servers_only", DnsLookup::ResolveCanonicalBootstrapServersOnly),
                ],
            ),
            max_idle: self.max_idle(),
            send_buffer: self.buffer("send.buffer.bytes"),
            receive_buffer: self.buffer("receive.buffer.bytes"),
            rebootstrap: self.choice("metadata.recovery.strategy", true, &[("rebootstrap", true), ("none", false)]),
            metrics: MetricsSettings {
                samples: self.number("metrics.num.samples", 2, 1),
                window: self.millis("metrics.sample.window.ms", Duration::from_secs(30)),
            },
            bootstrap,
            security,
        };
        if !self.problems.is_empty() {
            return Err(self.problems.join("\n"));
        }
        Ok((net, self.remarks))
    }

    /// `connections.max.idle.ms`: a negative one means that connections are kept.
    fn max_idle(&mut self) -> Option<Duration> {
        let default = if self.client == Client::Admin { ADMIN_IDLE_MS } else { IDLE_MS };
        let ms = u64::try_from(self.number("connections.max.idle.ms", default, i64::MIN)).ok()?;
        Some(Duration::from_millis(ms.min(LONGEST_MS)))
    }

    /// The size of a socket's buffer if one is given: the system's own grow as needed, which Java's defaults keep them from.
    fn buffer(&mut self, key: &'static str) -> Option<u32> {
        u32::try_from(self.number(key, -1, -1)).ok().filter(|bytes| *bytes > 0)
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Option<&'a str> {
        #[cfg(test)]
        recorded::READ.with_borrow_mut(|read| read.insert((self.client, key)));
        debug_assert!(self.client.property(key).is_some(), "{key} is in the list");
        let value = self.given.properties.get(key).filter(|_| !self.invalid.contains(key))?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    /// Everything given under names that begin so.
    pub(crate) fn starting_with(&self, prefix: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let of_prefix = self.given.properties.iter().filter(move |(key, _)| key.starts_with(prefix));
        of_prefix.map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether no problem was found so far.
    pub(crate) fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// A property that means something else when it is given and empty than when it is not given.
    pub(crate) fn text_or_empty(&mut self, key: &'static str) -> Option<&'a str> {
        let text = self.text(key);
        let is_empty = || self.given.properties.get(key).is_some_and(|value| value.trim().is_empty());
        text.or_else(|| is_empty().then_some(""))
    }

    /// Something that is wrong with more than one key.
    pub(crate) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    pub(crate) fn refuse(&mut self, key: &str, value: &str, why: &str) {
        let is_secret = self.client.property(key).is_some_and(|property| property.kind == Kind::Password);
        let value = if is_secret { "[hidden]" } else { value };
        let problem = format!("Invalid value {value} for configuration {}: {why}", self.written(key));
        self.problems.push(problem);
    }

    pub(crate) fn number<T: FromStr + PartialOrd + std::fmt::Display + Copy>(
        &mut self,
        key: &'static str,
        default: T,
        least: T,
    ) -> T {
        #[cfg(test)]
        recorded::default(self.client, key, &default.to_string());
        let Some(text) = self.text(key) else { return default };
        match text.parse() {
            Ok(number) if number >= least => number,
            Ok(_) => {
                self.refuse(key, text, &format!("Value must be at least {least}"));
                default
            }
            Err(_) => {
                self.refuse(key, text, "Not a number of type INT");
                default
            }
        }
    }

    pub(crate) fn millis(&mut self, key: &'static str, default: Duration) -> Duration {
        let default = i64::try_from(default.as_millis()).unwrap_or(i64::MAX);
        Duration::from_millis(self.number(key, default, 0).unsigned_abs().min(LONGEST_MS))
    }

    pub(crate) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        #[cfg(test)]
        recorded::default(self.client, key, &default.to_string());
        match self.text(key) {
            None => default,
            Some(text) if text.eq_ignore_ascii_case("true") => true,
            Some(text) if text.eq_ignore_ascii_case("false") => false,
            Some(text) => {
                self.refuse(key, text, "Expected value to be either true or false");
                default
            }
        }
    }

    pub(crate) fn choice<T: Copy>(&mut self, key: &'static str, default: T, choices: &[(&str, T)]) -> T {
        let Some(text) = self.text(key) else { return default };
        if let Some((_, value)) = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            return *value;
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.refuse(key, text, &format!("String must be one of: {}", names.join(", ")));
        default
    }

    fn bootstrap(&mut self) -> Vec<(String, u16)> {
        let key = "bootstrap.servers";
        let name = self.written(key);
        let Some(text) = self.text(key) else {
            if self.client == Client::Admin {
                self.problem("You must set either bootstrap.servers or bootstrap.controllers".to_owned());
            } else if !self.invalid.contains(key) {
                self.problem(format!("Missing required configuration \"{name}\" which has no default value."));
            }
            return Vec::new();
        };
        let mut addresses = Vec::new();
        for url in text.split(',').map(str::trim).filter(|url| !url.is_empty()) {
            match address(url) {
                Some((host, Ok(port))) => addresses.push((host, port)),
                Some((_, Err(_))) => self.problem(format!("Invalid port in {name}: {url}")),
                None => self.problem(format!("Invalid url in {name}: {url}")),
            }
        }
        if addresses.is_empty() && self.problems.is_empty() {
            self.problem(format!("No resolvable bootstrap urls given in {name}"));
        }
        addresses
    }
}

/// Whether a value names Java's serialisers of bytes, which is what the clients here are made with anyway.
fn is_of_bytes(value: &str) -> bool {
    let name = value.trim().strip_prefix("org.apache.kafka.common.serialization.");
    matches!(name, Some("ByteArraySerializer" | "ByteArrayDeserializer"))
}

/// `host:port`, `[v6]:port`, either with a protocol in front, and whether the number is one of a port. Letters are those that Java takes in a host, so that
/// a list with wrong separators is seen at once.
fn address(url: &str) -> Option<(String, Result<u16, ParseIntError>)> {
    let plain = url.rsplit_once("://").map_or(url, |(_, rest)| rest);
    let (host, port) = plain.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_host = host.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"-%._:".contains(&letter));
    let is_number = !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
    (!host.is_empty() && is_host && is_number).then(|| (host.to_owned(), port.parse()))
}

/// Which properties parsers have asked for: the list's word that a property is supported is held against it.
#[cfg(test)]
mod recorded {
    use super::Client;
    use crate::properties::Default;
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        pub(super) static READ: RefCell<BTreeSet<(Client, &'static str)>> = const { RefCell::new(BTreeSet::new()) };
        pub(super) static OTHER_DEFAULTS: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
    }

    /// Notes a default that a parser has and the list has not.
    pub(super) fn default(client: Client, key: &'static str, default: &str) {
        let listed = client.property(key).map(|property| property.default);
        if !matches!(listed, Some(Default::Value(value)) if value == default) {
            OTHER_DEFAULTS.with_borrow_mut(|all| all.insert(format!("{key}: {default}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::AdminConfig;
    use crate::consumer::ConsumerConfig;
    use crate::producer::ProducerConfig;

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// What makes a parser read more. Whether a client can be made with it is no matter.
    const WORLDS: &[&[(&str, &str)]] = &[
        &[("bootstrap.servers", "h:1")],
        &[("compression.type", "gzip")],
        &[("compression.type", "lz4")],
        &[("compression.type", "zstd")],
        &[("group.id", "g"), ("group.protocol", "consumer")],
        &[("transactional.id", "t")],
        &[("security.protocol", "SSL")],
        &[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "PLAIN")],
        &[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "SCRAM-SHA-256")],
        &[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "OAUTHBEARER")],
        &[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "GSSAPI")],
        &[
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.jaas.config", "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"),
            (
                "sasl.login.callback.handler.class",
                "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
            ),
            ("sasl.oauthbearer.token.endpoint.url", "http://h/token"),
            ("sasl.oauthbearer.client.credentials.client.id", "i"),
            ("sasl.oauthbearer.client.credentials.client.secret", "s"),
        ],
    ];

    /// Defaults that are not Java's: the system sizes a socket's buffers itself, and no login waits for ever.
    const OTHER_DEFAULTS: &[&str] = &[
        "receive.buffer.bytes: -1",
        "sasl.login.connect.timeout.ms: 60000",
        "sasl.login.read.timeout.ms: 60000",
        "send.buffer.bytes: -1",
    ];

    #[test]
    fn what_is_supported_is_read_and_what_is_ignored_is_not() {
        for world in WORLDS {
            let properties = pairs(world);
            let _ = ProducerConfig::parse(&properties);
            let _ = ConsumerConfig::parse(&properties);
            let _ = AdminConfig::parse(&properties);
        }
        let read = recorded::READ.with_borrow(Clone::clone);
        let mut wrong = Vec::new();
        for client in Client::ALL {
            for property in client.properties() {
                match (property.status, read.contains(&(client, property.name))) {
                    (Status::Supported, false) => {
                        wrong.push(format!("{} {} is never read", client.name(), property.name))
                    }
                    (Status::Ignored, true) => wrong.push(format!("{} {} is read", client.name(), property.name)),
                    _ => {}
                }
            }
        }
        let defaults: Vec<_> = recorded::OTHER_DEFAULTS.with_borrow(|all| all.iter().cloned().collect());
        assert_eq!(defaults, OTHER_DEFAULTS);
        assert!(wrong.is_empty(), "mend the status in crates/kafka/src/properties, or WORLDS above: {wrong:#?}");
    }

    #[test]
    fn problems_are_told_at_once_under_the_names_that_users_wrote() {
        let properties = pairs(&[
            ("bootstrap.servers", " "),
            ("acks", "some"),
            ("metrics.num.samples", "0"),
            ("interceptor.classes", "a.MonitoringProducerInterceptor,a.Rewriting"),
            ("linger.ms", "x"),
            ("transaction.two.phase.commit.enable", "true"),
        ]);
        let written = pairs(&[("linger.ms", "producer.override.linger.ms")]);
        let error = ProducerConfig::parse(Given { properties: &properties, written: Some(&written) }).unwrap_err();
        expect_test::expect![[r#"
            Invalid value some for configuration acks: String must be one of: all, -1, 0, 1
            Configuration 'bootstrap.servers' must not be empty. Valid values include: any non-empty value
            Invalid value a.MonitoringProducerInterceptor,a.Rewriting for configuration interceptor.classes: interceptors are Java classes and may change records; those that only observe (names ending in `MonitoringProducerInterceptor`, `MonitoringConsumerInterceptor`, `TracingProducerInterceptor`, `TracingConsumerInterceptor`) are left out with a warning
            Invalid value x for configuration producer.override.linger.ms: Not a number of type LONG
            Invalid value 0 for configuration metrics.num.samples: Value must be at least 1
            Invalid value true for configuration transaction.two.phase.commit.enable: transactions of others (KIP-939) are not taken part in"#]].assert_eq(&error.to_string());
    }

    #[test]
    fn given_values_are_not_shown() {
        let properties = pairs(&[("ssl.key.password", "a-secret")]);
        assert_eq!(format!("{:?}", Given::from(&properties)), r#"{"ssl.key.password"}"#);
    }

    #[test]
    fn what_has_no_effect_is_said_where_somebody_may_count_on_it() {
        let properties = pairs(&[
            ("bootstrap.servers", "h:1"),
            ("interceptor.classes", "io.confluent.monitoring.clients.interceptor.MonitoringProducerInterceptor"),
            ("key.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer"),
            ("value.serializer", "com.example.Mine"),
            ("metrics.num.samples", "3"),
            ("compression.lz4.level", "17"),
            ("metric.reporters", "org.apache.kafka.common.metrics.JmxReporter"),
            ("lingr.ms", "3"),
        ]);
        let remarks = ProducerConfig::parse(&properties).unwrap().remarks;
        assert_eq!(remarks.unknown, ["lingr.ms"]);
        let about: Vec<&str> = remarks.ignored.iter().map(|said| said.split(':').next().unwrap()).collect();
        let expected = ["compression.lz4.level", "interceptor.classes", "value.serializer"];
        assert_eq!(about, expected.map(|key| format!("`{key}` has no effect")));
    }
}
