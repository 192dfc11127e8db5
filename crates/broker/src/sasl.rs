//! Who a client is: SASL on a listener.
//!
//! A [`Gate`] stands before a connection of such a listener. It lets nothing through but what authentication needs until the client has proven who it
//! is, and again when the session is over; pure, as the broker is. Counterpart of Java's `SaslServerAuthenticator`, without messages that follow a
//! SaslHandshake of version 0 bare. What users there are is asked of the broker, which keeps those of SCRAM.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind, SaslAuthenticateResponse, SaslHandshakeResponse};
use kafka_protocol::protocol::StrBytes;
use kurier_kafka::security::jaas::JaasEntry;
use kurier_kafka::security::sasl::oauthbearer::jwt::UnsecuredValidator;
use kurier_kafka::security::sasl::scram::{ScramCredential, ScramHash};
use kurier_kafka::security::sasl::server::{ServerExchange, Users};
use kurier_kafka::security::sasl::{MAX_MESSAGE, Mechanism, SaslError};
use kurier_kafka::security::secret::Secret;

use crate::broker::{Now, Request, code};

/// A client may prove itself again after this, not sooner, as in Java.
const REAUTHENTICATION_PAUSE: Duration = Duration::from_secs(1);

/// What a listener asks of its clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SaslConfig {
    mechanisms: Vec<Mechanism>,
    /// Users of PLAIN.
    users: BTreeMap<String, Secret>,
    /// Which tokens count; none is signed.
    validator: UnsecuredValidator,
    /// How long a session lasts.
    max_reauth: BTreeMap<Mechanism, Duration>,
}

impl SaslConfig {
    /// Reads what Apache Kafka's properties say of a listener: `sasl.enabled.mechanisms`, `<mechanism>.sasl.jaas.config` and
    /// `connections.max.reauth.ms`, each also under `listener.name.<listener>.`.
    ///
    /// # Errors
    /// What is wrong, without a secret.
    pub fn from_properties(listener: &str, properties: &BTreeMap<String, String>) -> Result<Self, String> {
        let prefix = format!("listener.name.{}.", listener.to_lowercase());
        let find = |key: &str| {
            properties.get(&format!("{prefix}{key}")).or_else(|| properties.get(key)).map(|value| value.trim())
        };
        let mut config = Self::default();
        let names = find("sasl.enabled.mechanisms").unwrap_or("GSSAPI");
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let mechanism = Mechanism::from_name(name).ok_or_else(|| {
                format!("Invalid value {name} for configuration sasl.enabled.mechanisms: this broker speaks PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER")
            })?;
            let lower = name.to_lowercase();
            let key = format!("{lower}.sasl.jaas.config");
            let entry = find(&key)
                .map(|text| JaasEntry::parse(text).map_err(|why| format!("{prefix}{key}: {why}")))
                .transpose()?;
            match (mechanism, entry) {
                (Mechanism::Plain, Some(entry)) => {
                    let users = entry.options().filter_map(|(key, value)| Some((key.strip_prefix("user_")?, value)));
                    config.users.extend(users.map(|(user, password)| (user.to_owned(), password.clone())));
                }
                (Mechanism::OauthBearer, Some(entry)) => {
                    config.validator =
                        UnsecuredValidator::new(&entry).map_err(|why| format!("{prefix}{key}: {why}"))?;
                }
                (Mechanism::Scram(_), _) | (Mechanism::OauthBearer, None) => {}
                (Mechanism::Plain, None) => {
                    return Err(format!("{prefix}{key} is missing: it names the users, as in user_ada=\"password\""));
                }
            }
            let key = "connections.max.reauth.ms";
            if let Some(text) = find(&format!("{lower}.{key}")).or_else(|| find(key)) {
                let ms: i64 = text
                    .parse()
                    .map_err(|_| format!("Invalid value {text} for configuration {key}: Not a number of type LONG"))?;
                if let Ok(ms @ 1..) = u64::try_from(ms) {
                    config.max_reauth.insert(mechanism, Duration::from_millis(ms));
                }
            }
            if !config.mechanisms.contains(&mechanism) {
                config.mechanisms.push(mechanism);
            }
        }
        if config.mechanisms.is_empty() {
            return Err("sasl.enabled.mechanisms names no mechanism".to_owned());
        }
        Ok(config)
    }
}

/// What a connection hears that begins to say who it is where nobody asks, or too soon after the last time.
pub(crate) fn late_handshake() -> SaslHandshakeResponse {
    SaslHandshakeResponse::default().with_error_code(code(ResponseError::IllegalSaslState))
}

/// What a connection hears that says who it is without having begun to.
pub(crate) fn late_proof() -> SaslAuthenticateResponse {
    let words = StrBytes::from_static_str("SaslAuthenticate request received after successful authentication");
    SaslAuthenticateResponse::default()
        .with_error_code(code(ResponseError::IllegalSaslState))
        .with_error_message(Some(words))
}

/// Users of one listener: of PLAIN by its settings, of SCRAM by the broker.
pub(crate) struct Known<'a> {
    pub(crate) config: &'a SaslConfig,
    pub(crate) scram: &'a BTreeMap<(String, ScramHash), ScramCredential>,
}

impl Users for Known<'_> {
    fn password(&self, user: &str) -> Option<&str> {
        self.config.users.get(user).map(Secret::reveal)
    }

    fn scram(&self, hash: ScramHash, user: &str) -> Option<ScramCredential> {
        self.scram.get(&(user.to_owned(), hash)).cloned()
    }
}

/// What becomes of a request.
pub(crate) enum Verdict {
    /// It is served.
    Pass,
    /// The gate has answered it itself.
    Answer(ResponseKind),
    /// That is the answer, and the end of the connection.
    Refuse(ResponseKind, String),
    /// The end of the connection.
    Close(String),
}

/// Stands before a connection.
#[derive(Debug)]
pub(crate) struct Gate {
    config: Arc<SaslConfig>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The client may ask for versions once, and begin.
    Hello {
        knows_versions: bool,
    },
    /// The two talk; `before` is who it was until now.
    Talk {
        mechanism: Mechanism,
        exchange: Box<ServerExchange>,
        before: Option<Session>,
    },
    In(Session),
    /// The connection is to end.
    Over,
}

#[derive(Debug, Clone)]
struct Session {
    user: String,
    mechanism: Mechanism,
    began: Duration,
    ends: Option<Duration>,
}

impl Gate {
    pub(crate) fn new(config: Arc<SaslConfig>) -> Self {
        Self { config, state: State::Hello { knows_versions: false } }
    }

    /// Whether the client has proven who it is.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::In(_))
    }

    /// Lets nothing through any more.
    pub(crate) fn bar(&mut self) {
        self.state = State::Over;
    }

    /// Looks at a request; `nonce` gives something that was never said before.
    pub(crate) fn step(
        &mut self,
        now: Now,
        request: &Request,
        scram: &BTreeMap<(String, ScramHash), ScramCredential>,
        nonce: impl FnOnce() -> String,
    ) -> Verdict {
        match (&mut self.state, &request.body) {
            (State::Hello { knows_versions }, RequestKind::ApiVersions(_)) if !*knows_versions => {
                // One in a version that is not served is answered with those that are, and asked again.
                *knows_versions = request.api_version <= ApiKey::ApiVersions.valid_versions().max;
                Verdict::Pass
            }
            (State::Hello { .. }, RequestKind::SaslHandshake(asked)) if request.api_version > 0 => {
                self.begin(&asked.mechanism, None, nonce)
            }
            (State::Hello { .. }, _) => Verdict::Close("it sent a request before it said who it is".to_owned()),
            (State::Talk { .. }, RequestKind::SaslAuthenticate(said)) => {
                self.listen(now, request.api_version, &said.auth_bytes, scram)
            }
            (State::Talk { .. }, _) => {
                Verdict::Close("it sent another request while it had to say who it is".to_owned())
            }
            (State::In(session), RequestKind::SaslHandshake(asked))
                if now.elapsed >= session.began + REAUTHENTICATION_PAUSE =>
            {
                let session = session.clone();
                self.begin(&asked.mechanism, Some(session), nonce)
            }
            (State::In(session), _) if session.ends.is_some_and(|ends| ends < now.elapsed) => {
                Verdict::Close("its session is over, and it did not say again who it is".to_owned())
            }
            (State::In(_), _) => Verdict::Pass,
            (State::Over, _) => Verdict::Close("it goes on after it was told to go".to_owned()),
        }
    }

    fn begin(&mut self, name: &StrBytes, before: Option<Session>, nonce: impl FnOnce() -> String) -> Verdict {
        let enabled = self.config.mechanisms.iter().map(|mechanism| StrBytes::from_static_str(mechanism.name()));
        let answer = SaslHandshakeResponse::default().with_mechanisms(enabled.collect());
        let mechanism = Mechanism::from_name(name).filter(|mechanism| self.config.mechanisms.contains(mechanism));
        let Some(mechanism) = mechanism else {
            let answer = answer.with_error_code(code(ResponseError::UnsupportedSaslMechanism));
            let reason = "it asked for a SASL mechanism that is not enabled".to_owned();
            return Verdict::Refuse(ResponseKind::SaslHandshake(answer), reason);
        };
        let exchange = Box::new(ServerExchange::new(mechanism, nonce(), self.config.validator.clone()));
        self.state = State::Talk { mechanism, exchange, before };
        Verdict::Answer(ResponseKind::SaslHandshake(answer))
    }

    fn listen(
        &mut self,
        now: Now,
        version: i16,
        message: &[u8],
        scram: &BTreeMap<(String, ScramHash), ScramCredential>,
    ) -> Verdict {
        let State::Talk { mechanism, exchange, before } = &mut self.state else {
            return Verdict::Close("nothing was asked of it".to_owned());
        };
        let mechanism = *mechanism;
        let again = before.is_some();
        let refuse = |words: String| {
            let answer = SaslAuthenticateResponse::default()
                .with_error_code(code(ResponseError::SaslAuthenticationFailed))
                .with_error_message(Some(StrBytes::from_string(words.clone())));
            Verdict::Refuse(ResponseKind::SaslAuthenticate(answer), words)
        };
        if let Some(before) = before.as_ref().filter(|before| before.mechanism != mechanism) {
            return refuse(format!(
                "SASL mechanism '{mechanism}' requested by client is not supported for re-authentication of mechanism '{}'",
                before.mechanism
            ));
        }
        if message.len() > MAX_MESSAGE {
            return Verdict::Close("its proof of who it is is too long".to_owned());
        }
        let known = Known { config: &self.config, scram };
        let answer = match exchange.evaluate(message, &known, now.unix_ms) {
            Ok(answer) => SaslAuthenticateResponse::default().with_auth_bytes(answer.into()),
            Err(SaslError::Denied(words)) => return refuse(words),
            Err(SaslError::Failed(why)) => {
                // What the client hears does not say whether the user is there.
                tracing::debug!(why, "a client is not let in");
                let what = if again { "re-authentication" } else { "authentication" };
                return refuse(format!(
                    "Authentication failed during {what} due to invalid credentials with SASL mechanism {mechanism}"
                ));
            }
        };
        let Some(user) = exchange.user() else { return Verdict::Answer(ResponseKind::SaslAuthenticate(answer)) };
        if let Some(before) = before.as_ref().filter(|before| before.user != user) {
            return refuse(format!(
                "Cannot change principals during re-authentication from User.{}: User.{user}",
                before.user
            ));
        }
        let left = exchange.expires_ms().map(|at| Duration::from_millis(u64::try_from(at - now.unix_ms).unwrap_or(0)));
        let most = self.config.max_reauth.get(&mechanism).copied();
        let lasts = left.into_iter().chain(most).min();
        let session = Session {
            user: user.to_owned(),
            mechanism,
            began: now.elapsed,
            ends: lasts.map(|lasts| now.elapsed.saturating_add(lasts)),
        };
        let lifetime = lasts.map_or(0, |lasts| i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX));
        // A client of version 0 cannot be told.
        let answer = if version > 0 { answer.with_session_lifetime_ms(lifetime) } else { answer };
        tracing::debug!(user = session.user, %mechanism, "a client said who it is");
        self.state = State::In(session);
        Verdict::Answer(ResponseKind::SaslAuthenticate(answer))
    }
}
