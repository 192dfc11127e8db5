//! SASL: what two sides say to each other until one believes who the other is.
//!
//! Pure: an exchange takes the other side's last message and gives the next one; nonces and times are passed in, and so are tokens. Both sides are
//! here, because the broker of this workspace is a server of the same mechanisms and because the two prove each other in tests. How the messages
//! travel is the business of [`crate::net`] on our side and of the broker's server on the other. Counterparts of Java's `SaslClient` and `SaslServer`
//! implementations.

#[cfg(feature = "gssapi")]
pub mod gssapi;
pub mod oauthbearer;
mod plain;
pub mod scram;
pub mod server;

use std::fmt;

use super::secret::Secret;
use oauthbearer::{BearerClient, Token};
use plain::PlainClient;
use scram::{ScramClient, ScramHash};

/// Longest message of an exchange that is taken: Java's `sasl.server.max.receive.size`.
pub const MAX_MESSAGE: usize = 512 << 10;

/// `sasl.mechanism`, of those that have both sides here; of GSSAPI there is a client only, and not in every build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mechanism {
    /// RFC 4616: name and password as they are.
    Plain,
    /// RFC 5802 and 7677: neither side shows the password.
    Scram(ScramHash),
    /// RFC 7628: a token that somebody else vouches for.
    OauthBearer,
}

impl Mechanism {
    /// Every mechanism that is known, by name.
    pub const ALL: [Self; 4] =
        [Self::Plain, Self::Scram(ScramHash::Sha256), Self::Scram(ScramHash::Sha512), Self::OauthBearer];

    /// The name in the registry of mechanisms.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(ScramHash::Sha256) => "SCRAM-SHA-256",
            Self::Scram(ScramHash::Sha512) => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    /// The mechanism of a name, which Java takes in capitals only.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why an exchange is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// The other side may hear why: Java's `SaslAuthenticationException`.
    #[error("{0}")]
    Denied(String),
    /// For this side's log only, because it may tell whether a user is there: Java's `SaslException`.
    #[error("{0}")]
    Failed(String),
}

impl SaslError {
    fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    fn denied(why: impl Into<String>) -> Self {
        Self::Denied(why.into())
    }
}

/// Name and password of a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Who.
    pub user: String,
    /// And the proof.
    pub password: Secret,
}

/// The client's side of one authentication.
#[derive(Debug)]
pub enum ClientExchange {
    /// PLAIN.
    Plain(PlainClient),
    /// Either SCRAM.
    Scram(ScramClient),
    /// OAUTHBEARER.
    OauthBearer(BearerClient),
    /// GSSAPI.
    #[cfg(feature = "gssapi")]
    Gssapi(gssapi::GssapiClient),
}

impl ClientExchange {
    /// PLAIN with a name and its password.
    pub fn plain(credentials: Credentials) -> Self {
        Self::Plain(PlainClient::new(credentials))
    }

    /// SCRAM; `nonce` is new for every exchange, `token` says that the name is that of a delegation token.
    pub fn scram(hash: ScramHash, credentials: Credentials, token: bool, nonce: String) -> Self {
        Self::Scram(ScramClient::new(hash, credentials, token, nonce))
    }

    /// OAUTHBEARER with a token.
    pub fn bearer(token: &Token) -> Self {
        Self::OauthBearer(BearerClient::new(token))
    }

    /// Takes what the server said, nothing at first; none if there is nothing more to say.
    ///
    /// # Errors
    /// If the server refuses, or is not who it pretends to be.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>, SaslError> {
        match self {
            Self::Plain(exchange) => exchange.respond(challenge),
            Self::Scram(exchange) => exchange.respond(challenge),
            Self::OauthBearer(exchange) => exchange.respond(challenge),
            #[cfg(feature = "gssapi")]
            Self::Gssapi(exchange) => exchange.respond(challenge),
        }
    }

    /// Whether this side is content.
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Plain(exchange) => exchange.is_complete(),
            Self::Scram(exchange) => exchange.is_complete(),
            Self::OauthBearer(exchange) => exchange.is_complete(),
            #[cfg(feature = "gssapi")]
            Self::Gssapi(exchange) => exchange.is_complete(),
        }
    }
}

#[cfg(test)]
mod tests;
