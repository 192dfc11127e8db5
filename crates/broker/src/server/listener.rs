//! Where clients come in: Kafka's `listeners`.

use std::sync::Arc;

use kurier_kafka::security::tls::ServerTls;

use crate::sasl::SaslConfig;

/// A place that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in `listeners`: `PLAINTEXT`, `SSL`, or one of the user's.
    pub name: String,
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Host and port that clients of this listener are told, if others; port 0 means the one that is listened on.
    pub advertised: Option<(String, u16)>,
    /// How its connections are encrypted.
    pub tls: Option<ServerTls>,
    /// What clients have to prove before they are served; nothing serves everybody.
    pub sasl: Option<Arc<SaslConfig>>,
}

impl Listener {
    /// A listener without encryption.
    pub fn plain(name: impl Into<String>, host: impl Into<String>, port: u16) -> Self {
        Self { name: name.into(), host: host.into(), port, advertised: None, tls: None, sasl: None }
    }
}
