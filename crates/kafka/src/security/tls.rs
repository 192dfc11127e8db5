//! TLS towards a broker: `ssl.*`.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;

/// What TLS connections of a client have in common: whom it trusts, which certificate it shows.
#[derive(Clone)]
pub struct ClientTls {
    /// For rustls.
    pub(crate) config: Arc<ClientConfig>,
}

impl ClientTls {
    /// Takes rustls' settings as they are.
    pub fn new(config: Arc<ClientConfig>) -> Self {
        Self { config }
    }
}

impl fmt::Debug for ClientTls {
    /// Keys stay unseen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}
