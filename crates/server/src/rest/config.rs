//! The settings of the REST server: where it listens, what it adds to answers.
//!
//! Java's keys, defaults and texts. TLS listeners are refused: they are not there yet.

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
