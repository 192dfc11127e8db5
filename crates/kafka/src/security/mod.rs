//! Who a client is and whom it trusts: `security.protocol` and what belongs to it.
//!
//! [`tls`] is the encryption, `ssl.*`; authentication by [`sasl`] comes after it on the same connection. Settings that mean nothing under the chosen
//! protocol are not looked at, as in Java. Nothing in here shows a secret: not in `Debug`, not in an error.

pub mod jaas;
pub mod login;
pub mod sasl;
pub mod secret;
pub mod tls;

use crate::config::Keys;

/// `security.protocol`: Java's `SecurityProtocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Neither encrypted nor authenticated.
    #[default]
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without encryption.
    SaslPlaintext,
    /// SASL within TLS.
    SaslSsl,
}

impl Protocol {
    /// Java's names, in Java's order.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("PLAINTEXT", Self::Plaintext),
        ("SSL", Self::Ssl),
        ("SASL_PLAINTEXT", Self::SaslPlaintext),
        ("SASL_SSL", Self::SaslSsl),
    ];

    /// Java's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// Whether connections are encrypted.
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether connections begin with a SASL exchange.
    pub fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// What a connection does before the first request: Java's `ChannelBuilders`.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// `security.protocol`.
    pub protocol: Protocol,
    /// `ssl.*`, if the protocol asks for TLS.
    pub tls: Option<tls::ClientTls>,
    /// `sasl.*`, if the protocol asks for SASL.
    pub sasl: Option<login::ClientSasl>,
}

impl Security {
    /// Reads `security.protocol` and the settings that it makes matter.
    pub(crate) fn read(keys: &mut Keys<'_>) -> Self {
        let protocol = keys.choice("security.protocol", Protocol::default(), &Protocol::NAMES);
        let given = tls::KEYS.iter().filter_map(|key| Some(((*key).to_owned(), keys.text_or_empty(key)?.to_owned())));
        let given = given.collect();
        let tls = protocol.has_tls().then(|| tls::ClientTls::read(&given, &|key| keys.written(key).to_owned()));
        let tls = tls.transpose().unwrap_or_else(|problems| {
            problems.into_iter().for_each(|problem| keys.problem(problem));
            None
        });
        let sasl = if protocol.has_sasl() { login::ClientSasl::read(keys) } else { None };
        Self { protocol, tls, sasl }
    }
}
