//! Client settings under their Java names.
//!
//! What each client reads is beside it ([`crate::consumer::ConsumerConfig`], [`crate::producer::ProducerConfig`], [`crate::admin::AdminConfig`]); here is
//! how: every problem is reported at once, in Java's words; what all clients share is read once; a key that nobody knows is a warning, as in Java.
//! Refused so far: every `security.protocol` but PLAINTEXT, and so all settings of TLS and SASL.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use crate::net::NetSettings;
use crate::security::Security;

/// Longer times than this mean the same: never. It keeps arithmetic with deadlines in range.
const LONGEST_MS: u64 = 100 * 365 * 24 * 3_600 * 1_000;

/// Settings that mean nothing in plain text, also to Java's clients.
const SECURITY_PREFIXES: &[&str] = &["ssl.", "sasl.", "security.providers"];

/// The properties of a client while they are read.
pub(crate) struct Keys<'a> {
    properties: &'a BTreeMap<String, String>,
    seen: Vec<&'static str>,
    problems: Vec<String>,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(properties: &'a BTreeMap<String, String>) -> Self {
        Self { properties, seen: Vec::new(), problems: Vec::new() }
    }

    /// Reads what all clients share; returns it with the keys that nobody has asked for and that are not `unused` either, or every problem there was.
    pub(crate) fn finish(mut self, unused: &[&str]) -> Result<(NetSettings, Vec<String>), String> {
        let bootstrap = self.bootstrap();
        let security = Security::read(&mut self);
        let net = NetSettings {
            client_id: self.text("client.id").unwrap_or_default().to_owned(),
            setup_timeout: self.millis("socket.connection.setup.timeout.ms", Duration::from_secs(10)),
            setup_timeout_max: self.millis("socket.connection.setup.timeout.max.ms", Duration::from_secs(30)),
            reconnect_backoff: self.millis("reconnect.backoff.ms", Duration::from_millis(50)),
            reconnect_backoff_max: self.millis("reconnect.backoff.max.ms", Duration::from_secs(1)),
            bootstrap,
            security,
        };
        if !self.problems.is_empty() {
            return Err(self.problems.join("\n"));
        }
        let known = |key: &String| {
            let of_security = SECURITY_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
            of_security || self.seen.contains(&key.as_str()) || unused.contains(&key.as_str())
        };
        let unknown = self.properties.keys().filter(|key| !known(key)).cloned().collect();
        Ok((net, unknown))
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Option<&'a str> {
        self.seen.push(key);
        self.properties.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Whether no problem was found so far.
    pub(crate) fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn refuse(&mut self, key: &str, value: &str, why: &str) {
        self.problems.push(format!("Invalid value {value} for configuration {key}: {why}"));
    }

    pub(crate) fn number<T: FromStr + PartialOrd + std::fmt::Display + Copy>(
        &mut self,
        key: &'static str,
        default: T,
        least: T,
    ) -> T {
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
        let Some(text) = self.text(key) else {
            self.problems.push(format!("Missing required configuration \"{key}\" which has no default value."));
            return Vec::new();
        };
        let mut addresses = Vec::new();
        for url in text.split(',').map(str::trim).filter(|url| !url.is_empty()) {
            match address(url) {
                Some(address) => addresses.push(address),
                None => self.refuse(key, url, "expected host:port"),
            }
        }
        if addresses.is_empty() && self.problems.is_empty() {
            self.refuse(key, text, "No resolvable bootstrap urls given in bootstrap.servers");
        }
        addresses
    }
}

/// `host:port`, `[v6]:port`, either with a protocol in front.
fn address(url: &str) -> Option<(String, u16)> {
    let plain = url.rsplit_once("://").map_or(url, |(_, rest)| rest);
    let (host, port) = plain.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return None;
    }
    Some((host.to_owned(), port.parse().ok()?))
}
