//! The settings of the REST server: where it listens, what it adds to answers.
//!
//! Java's keys, defaults and texts. TLS listeners are refused: they are not there yet.

use kurier_runtime::config::rest::{self, header_rules};
use std::fmt;

/// Where one listens and what answers carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RestConfig {
    /// At least one.
    pub(crate) listeners: Vec<Listener>,
    /// Where `/admin/loggers` is.
    pub(crate) admin: AdminListeners,
    /// `rest.advertised.host.name`.
    pub(crate) advertised_host: Option<String>,
    /// `rest.advertised.port`.
    pub(crate) advertised_port: Option<u16>,
    /// Which pages of other origins may ask; none asks for no headers at all.
    pub(crate) cors: Option<Cors>,
    /// `response.http.headers.config`, for every answer except those of separate admin listeners.
    pub(crate) headers: Vec<HeaderRule>,
}

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Empty means every interface.
    pub(crate) host: String,
    /// 0 means any.
    pub(crate) port: u16,
}

/// Where `/admin/loggers` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdminListeners {
    /// On the main listeners.
    Main,
    /// Nowhere.
    Off,
    /// On listeners of its own.
    Own(Vec<Listener>),
}

/// Which pages of other origins may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cors {
    /// `access.control.allow.origin`: origins, or `*` for any.
    pub(crate) origins: Vec<String>,
    /// `access.control.allow.methods`.
    pub(crate) methods: Vec<String>,
}

/// One rule of `response.http.headers.config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderRule {
    /// Whether the header is added beside others of its name, or replaces them.
    pub(crate) add: bool,
    /// Whether the value is a number of milliseconds since 1970, shown as a date.
    pub(crate) date: bool,
    /// The header.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: String,
}

/// A setting that cannot be used: Java's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RestConfigError(pub(crate) String);

impl fmt::Display for RestConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RestConfigError {}

/// Where one listens if nothing is said: every interface.
const DEFAULT_LISTENERS: &str = "http://:8083";
/// The verbs that pages of other origins may use if none are said.
const DEFAULT_METHODS: &str = "GET,POST,HEAD";

impl RestConfig {
    /// Reads the settings of a worker.
    ///
    /// # Errors
    /// Java's texts; and listeners with TLS are refused.
    pub(crate) fn from_settings<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, RestConfigError> {
        let some = |key: &str| get(key).map(str::trim).filter(|text| !text.is_empty());
        let listeners = listeners("listeners", get("listeners").unwrap_or(DEFAULT_LISTENERS))?;
        if listeners.is_empty() {
            return Err(invalid("listeners", "", "List cannot be empty"));
        }
        let admin = match get("admin.listeners") {
            None => AdminListeners::Main,
            Some(text) if text.trim().is_empty() => AdminListeners::Off,
            Some(text) => AdminListeners::Own(self::listeners("admin.listeners", text)?),
        };
        if let Some(kind) = some("rest.advertised.listener")
            && !kind.eq_ignore_ascii_case("http")
        {
            return Err(no_tls("rest.advertised.listener", kind));
        }
        let advertised_port = match some("rest.advertised.port") {
            None => None,
            Some(text) => {
                let port = text
                    .parse::<u16>()
                    .map_err(|_| invalid("rest.advertised.port", text, "Not a number of type INT"))?;
                Some(port)
            }
        };
        let cors = some("access.control.allow.origin").map(|origins| Cors {
            origins: list(origins),
            methods: list(some("access.control.allow.methods").unwrap_or(DEFAULT_METHODS)),
        });
        let headers = match some("response.http.headers.config") {
            None => Vec::new(),
            Some(text) => headers(text)?,
        };
        let advertised_host = some("rest.advertised.host.name").map(str::to_owned);
        Ok(Self { listeners, admin, advertised_host, advertised_port, cors, headers })
    }
}

fn invalid(key: &str, value: &str, why: &str) -> RestConfigError {
    RestConfigError(format!("Invalid value {value} for configuration {key}: {why}"))
}

fn no_tls(key: &str, value: &str) -> RestConfigError {
    invalid(key, value, "this version of Kurier has no TLS listeners")
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn listeners(key: &str, text: &str) -> Result<Vec<Listener>, RestConfigError> {
    list(text).iter().map(|part| listener(key, part)).collect()
}

/// Reads `protocol://host:port`.
fn listener(key: &str, text: &str) -> Result<Listener, RestConfigError> {
    let wrong = || invalid(key, text, "Listener doesn't have the right format (protocol://hostname:port).");
    let (protocol, rest) = text.split_once("://").ok_or_else(wrong)?;
    let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
    match protocol.to_ascii_lowercase().as_str() {
        "http" => {}
        "https" => return Err(no_tls(key, text)),
        _ => return Err(invalid(key, text, "Listener protocol must be either \"http\" or \"https\".")),
    }
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-%._:".contains(&b)) {
        return Err(wrong());
    }
    let port = port.parse().map_err(|_| wrong())?;
    Ok(Listener { host: host.to_owned(), port })
}

/// Reads the rules that [`header_rules`] lets through.
fn headers(text: &str) -> Result<Vec<HeaderRule>, RestConfigError> {
    let rules = header_rules(text).map_err(|error| RestConfigError(error.message().unwrap_or_default().to_owned()))?;
    let rule = |rule: rest::HeaderRule| HeaderRule {
        add: rule.action.starts_with("add"),
        date: rule.action.ends_with("date"),
        name: rule.name,
        value: rule.value,
    };
    Ok(rules.into_iter().map(rule).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<RestConfig, String> {
        let map: HashMap<_, _> = pairs.iter().copied().collect();
        RestConfig::from_settings(|key| map.get(key).copied()).map_err(|e| e.0)
    }

    #[test]
    fn listeners_are_read() {
        let config = read(&[("listeners", "http://127.0.0.1:0, HTTP://[::1]:9")]).unwrap();
        let hosts: Vec<_> = config.listeners.iter().map(|l| (l.host.as_str(), l.port)).collect();
        assert_eq!(hosts, [("127.0.0.1", 0), ("::1", 9)]);
        assert_eq!(read(&[]).unwrap().listeners, [Listener { host: String::new(), port: 8083 }]);
        for (text, expected) in [
            ("127.0.0.1:80", "right format"),
            ("http://h", "right format"),
            ("http://h:99999", "right format"),
            ("http://a b:1", "right format"),
            ("ftp://h:1", "must be either \"http\" or \"https\""),
            ("https://h:1", "no TLS"),
            ("", "List cannot be empty"),
        ] {
            let error = read(&[("listeners", text)]).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn admin_listeners_may_be_apart_or_off() {
        assert_eq!(read(&[]).unwrap().admin, AdminListeners::Main);
        assert_eq!(read(&[("admin.listeners", "")]).unwrap().admin, AdminListeners::Off);
        assert!(
            matches!(read(&[("admin.listeners", "http://h:1")]).unwrap().admin, AdminListeners::Own(l) if l.len() == 1)
        );
    }

    #[test]
    fn header_rules_are_read() {
        let text = "add X-XSS-Protection: 1; mode=block, \"add Cache-Control: no-cache, no-store\"";
        let headers = read(&[("response.http.headers.config", text)]).unwrap().headers;
        let pairs: Vec<_> = headers.iter().map(|h| (h.name.as_str(), h.value.as_str(), h.add)).collect();
        assert_eq!(pairs, [("X-XSS-Protection", "1; mode=block", true), ("Cache-Control", "no-cache, no-store", true)]);
        for (text, expected) in [
            ("add", "Invalid format of header config 'add'"),
            ("put a:b", "Invalid header config action: 'put'"),
            ("set a b:c", "Invalid header name 'a b'"),
            ("SET a", "Invalid format"),
            ("set a:b:c", "Invalid format"),
        ] {
            let error = read(&[("response.http.headers.config", text)]).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn cors_needs_an_origin() {
        assert_eq!(read(&[("access.control.allow.methods", "PUT")]).unwrap().cors, None);
        let cors = read(&[("access.control.allow.origin", "http://a,http://b")]).unwrap().cors.unwrap();
        assert_eq!(cors.origins, ["http://a", "http://b"]);
        assert_eq!(cors.methods, ["GET", "POST", "HEAD"]);
    }
}
