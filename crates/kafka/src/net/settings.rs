//! Where brokers are found, and how patiently they are asked.

use std::time::Duration;

use super::DnsLookup;
use crate::metrics::MetricsSettings;
use crate::security::Security;

/// Where brokers are found, and how patiently.
#[derive(Clone, Debug)]
pub struct NetSettings {
    /// `bootstrap.servers`, as host and port.
    pub bootstrap: Vec<(String, u16)>,
    /// `client.id`.
    pub client_id: String,
    /// `security.protocol` and what belongs to it.
    pub security: Security,
    /// `socket.connection.setup.timeout.ms`.
    pub setup_timeout: Duration,
    /// `socket.connection.setup.timeout.max.ms`.
    pub setup_timeout_max: Duration,
    /// `reconnect.backoff.ms`.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`.
    pub reconnect_backoff_max: Duration,
    /// `client.dns.lookup`.
    pub dns_lookup: DnsLookup,
    /// `connections.max.idle.ms`; none to keep them.
    pub max_idle: Option<Duration>,
    /// `send.buffer.bytes`; none for the system's.
    pub send_buffer: Option<u32>,
    /// `receive.buffer.bytes`; none for the system's.
    pub receive_buffer: Option<u32>,
    /// `metadata.recovery.strategy` is `rebootstrap`: `bootstrap.servers` are asked again when no known broker answers.
    pub rebootstrap: bool,
    /// `metrics.num.samples` and `metrics.sample.window.ms`.
    pub metrics: MetricsSettings,
}

impl NetSettings {
    /// Java's defaults.
    pub fn new(bootstrap: Vec<(String, u16)>) -> Self {
        Self {
            bootstrap,
            client_id: String::new(),
            security: Security::default(),
            setup_timeout: Duration::from_secs(10),
            setup_timeout_max: Duration::from_secs(30),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            dns_lookup: DnsLookup::default(),
            max_idle: Some(Duration::from_secs(540)),
            send_buffer: None,
            receive_buffer: None,
            rebootstrap: true,
            metrics: MetricsSettings::default(),
        }
    }
}
