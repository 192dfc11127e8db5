//! A server's side of the exchanges: who may be asked, and who it turned out to be.

use super::oauthbearer::BearerServer;
use super::oauthbearer::jwt::UnsecuredValidator;
use super::scram::{ScramCredential, ScramServer};
use super::{Mechanism, SaslError, plain, scram};

/// What a server knows of its users.
pub trait Users {
    /// The password of a user, for PLAIN.
    fn password(&self, user: &str) -> Option<&str>;

    /// What is kept of a user for SCRAM.
    fn scram(&self, hash: scram::ScramHash, user: &str) -> Option<ScramCredential>;
}

/// One authentication.
#[derive(Debug)]
pub enum ServerExchange {
    /// PLAIN; the user, once known.
    Plain(Option<String>),
    /// Either SCRAM.
    Scram(scram::ScramHash, ScramServer),
    /// OAUTHBEARER.
    OauthBearer(BearerServer),
}

impl ServerExchange {
    /// Begins; `nonce` is new for every exchange, `validator` says which tokens count.
    pub fn new(mechanism: Mechanism, nonce: String, validator: UnsecuredValidator) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain(None),
            Mechanism::Scram(hash) => Self::Scram(hash, ScramServer::new(hash, nonce)),
            Mechanism::OauthBearer => Self::OauthBearer(BearerServer::new(validator)),
        }
    }

    /// Takes the client's message, gives the answer.
    ///
    /// # Errors
    /// If the client is not let in.
    pub fn evaluate(&mut self, message: &[u8], users: &dyn Users, now_ms: i64) -> Result<Vec<u8>, SaslError> {
        match self {
            Self::Plain(user) => {
                let right = |name: &str, password: &str| {
                    users.password(name).is_some_and(|known| scram::equal(known.as_bytes(), password.as_bytes()))
                };
                *user = Some(plain::evaluate(message, right)?);
                Ok(Vec::new())
            }
            Self::Scram(hash, exchange) => exchange.evaluate(message, |user| users.scram(*hash, user)),
            Self::OauthBearer(exchange) => exchange.evaluate(message, now_ms),
        }
    }

    /// Who it is, once that is proven.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Plain(user) => user.as_deref(),
            Self::Scram(_, exchange) => exchange.user(),
            Self::OauthBearer(exchange) => exchange.token().map(|token| token.principal.as_str()),
        }
    }

    /// When what was proven ends by itself, in milliseconds since 1970.
    pub fn expires_ms(&self) -> Option<i64> {
        match self {
            Self::OauthBearer(exchange) => exchange.token().map(|token| token.expires_ms),
            _ => None,
        }
    }
}
