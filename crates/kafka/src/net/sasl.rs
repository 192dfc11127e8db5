//! SASL over Kafka's own requests: SaslHandshake, then SaslAuthenticate until both sides are content.
//!
//! [`Handshake`] is pure: it takes answers and gives requests; [`Session`] keeps the time. Counterpart of the states of Java's `SaslClientAuthenticator`, without those for brokers older than 1.0.

#![expect(clippy::disallowed_methods, reason = "driver: the clock, a thread for what takes long")]

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{RequestKind, ResponseKind, SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::KafkaError;
use crate::security::login::{ClientSasl, bearer::chance};
use crate::security::sasl::{ClientExchange, MAX_MESSAGE, SaslError};

const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
const ILLEGAL_SASL_STATE: i16 = 34;
/// Most messages of one exchange; no mechanism needs more than three.
const MAX_STEPS: u32 = 10;

/// One authentication, also a later one on the same connection.
#[derive(Debug)]
pub(super) struct Handshake {
    mechanism: &'static str,
    exchange: ClientExchange,
    steps: u32,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Step {
    Ask(Box<RequestKind>),
    /// The broker knows who this is; for how long, if it says so.
    Done(Option<Duration>),
}

impl Handshake {
    pub(super) fn new(mechanism: &'static str, exchange: ClientExchange) -> Self {
        Self { mechanism, exchange, steps: 0 }
    }

    /// [`Self::step`], not on this thread if it takes some milliseconds of a processor, as SCRAM does; none if nobody can do it any more.
    pub(super) async fn step_aside(mut self, answer: Option<ResponseKind>) -> Option<(Self, Result<Step, KafkaError>)> {
        let takes_long = matches!(self.exchange, ClientExchange::Scram(_)) && self.steps > 1;
        let stepping = move || {
            let step = self.step(answer);
            (self, step)
        };
        if takes_long { tokio::task::spawn_blocking(stepping).await.ok() } else { Some(stepping()) }
    }

    /// Takes the last request's answer, none at first.
    pub(super) fn step(&mut self, answer: Option<ResponseKind>) -> Result<Step, KafkaError> {
        self.steps += 1;
        let (challenge, lifetime_ms) = match answer {
            None => {
                let mechanism = StrBytes::from_static_str(self.mechanism);
                let request = SaslHandshakeRequest::default().with_mechanism(mechanism);
                return Ok(Step::Ask(Box::new(RequestKind::SaslHandshake(request))));
            }
            Some(ResponseKind::SaslHandshake(answer)) => {
                let enabled: Vec<&str> = answer.mechanisms.iter().map(|mechanism| &**mechanism).collect();
                let enabled = enabled.join(", ");
                let mechanism = self.mechanism;
                match answer.error_code {
                    0 => (Bytes::new(), 0),
                    UNSUPPORTED_SASL_MECHANISM => {
                        return Err(KafkaError::unsupported_sasl_mechanism(format!(
                            "Client SASL mechanism '{mechanism}' not enabled in the server, enabled mechanisms are [{enabled}]"
                        )));
                    }
                    ILLEGAL_SASL_STATE => {
                        return Err(KafkaError::illegal_sasl_state(format!(
                            "Unexpected handshake request with client mechanism {mechanism}, enabled mechanisms are [{enabled}]"
                        )));
                    }
                    code => {
                        return Err(KafkaError::illegal_sasl_state(format!(
                            "Unknown error code {code}, client mechanism is {mechanism}, enabled mechanisms are [{enabled}]"
                        )));
                    }
                }
            }
            Some(ResponseKind::SaslAuthenticate(answer)) => {
                let words = answer.error_message.as_deref();
                if let Some(error) = KafkaError::from_answer(answer.error_code, words) {
                    return Err(error);
                }
                if self.exchange.is_complete() {
                    return Ok(done(answer.session_lifetime_ms));
                }
                (answer.auth_bytes, answer.session_lifetime_ms)
            }
            Some(_) => return Err(KafkaError::illegal_sasl_state("an answer to another request during SASL")),
        };
        if self.steps > MAX_STEPS || challenge.len() > MAX_MESSAGE {
            return Err(failure(&SaslError::Failed("the broker goes on and on".to_owned())));
        }
        match self.exchange.respond(&challenge) {
            Ok(Some(message)) => {
                let request = SaslAuthenticateRequest::default().with_auth_bytes(message.into());
                Ok(Step::Ask(Box::new(RequestKind::SaslAuthenticate(request))))
            }
            Ok(None) => Ok(done(lifetime_ms)),
            Err(error) => Err(failure(&error)),
        }
    }
}

fn done(lifetime_ms: i64) -> Step {
    let lifetime = u64::try_from(lifetime_ms).ok().filter(|lifetime| *lifetime > 0);
    Step::Done(lifetime.map(Duration::from_millis))
}

/// What Java's client says when the broker does not convince it.
fn failure(error: &SaslError) -> KafkaError {
    KafkaError::sasl_authentication(format!(
        "An error: (javax.security.sasl.SaslException: {error}) occurred when evaluating SASL token received from the Kafka Broker. \
         Kafka Client will go to AUTHENTICATION_FAILED state."
    ))
}

/// When a session is renewed: after 85 to 95 percent of it, as in Java; `chance` is from 0 to 1.
pub(super) fn renewal(lifetime: Duration, chance: f64) -> Duration {
    // A session of centuries is as good as one of years.
    lifetime.min(Duration::from_secs(1 << 32)).mul_f64(0.85 + 0.10 * chance)
}

/// How long the broker knows who this is, and how it is told again.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) sasl: ClientSasl,
    due: Mutex<Option<Instant>>,
    /// Held by whoever renews it.
    pub(super) renewing: tokio::sync::Mutex<()>,
}

impl Session {
    pub(super) fn new(sasl: ClientSasl) -> Self {
        Self { sasl, due: Mutex::default(), renewing: tokio::sync::Mutex::default() }
    }

    pub(super) fn begin(&self, exchange: ClientExchange) -> Handshake {
        Handshake::new(self.sasl.mechanism(), exchange)
    }

    /// Whether the broker has to be told now.
    pub(super) fn is_due(&self) -> bool {
        self.due.lock().is_some_and(|due| due <= Instant::now())
    }

    /// The broker has been told, and said for how long.
    pub(super) fn renew_within(&self, lifetime: Option<Duration>) {
        *self.due.lock() = lifetime.map(|lifetime| Instant::now() + renewal(lifetime, chance()));
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{SaslAuthenticateResponse, SaslHandshakeResponse};

    use super::*;
    use crate::security::sasl::Credentials;

    fn plain() -> Handshake {
        let credentials = Credentials { user: "ada".to_owned(), password: "pw".into() };
        Handshake::new("PLAIN", ClientExchange::plain(credentials))
    }

    fn shaken(code: i16) -> ResponseKind {
        let mechanisms = ["PLAIN", "GSSAPI"].map(StrBytes::from_static_str).to_vec();
        let answer = SaslHandshakeResponse::default().with_error_code(code).with_mechanisms(mechanisms);
        ResponseKind::SaslHandshake(answer)
    }

    fn authenticated(code: i16, words: Option<&'static str>, lifetime_ms: i64) -> ResponseKind {
        let words = words.map(StrBytes::from_static_str);
        let answer = SaslAuthenticateResponse::default().with_error_code(code).with_error_message(words);
        ResponseKind::SaslAuthenticate(answer.with_session_lifetime_ms(lifetime_ms))
    }

    #[test]
    fn a_handshake_goes_through() {
        for (lifetime, expected) in [(0, None), (-5, None), (60_000, Some(Duration::from_secs(60)))] {
            let mut handshake = plain();
            let asked = |step: Step| match step {
                Step::Ask(request) => *request,
                Step::Done(_) => panic!("done already"),
            };
            let RequestKind::SaslHandshake(first) = asked(handshake.step(None).unwrap()) else {
                panic!("another request")
            };
            assert_eq!(&*first.mechanism, "PLAIN");
            let second = asked(handshake.step(Some(shaken(0))).unwrap());
            let RequestKind::SaslAuthenticate(second) = second else { panic!("another request") };
            assert_eq!(&*second.auth_bytes, b"\0ada\0pw");
            let Step::Done(found) = handshake.step(Some(authenticated(0, None, lifetime))).unwrap() else {
                panic!("not done")
            };
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn refusals_have_javas_class_and_words() {
        let handshakes = [
            (
                33,
                "UnsupportedSaslMechanismException",
                "Client SASL mechanism 'PLAIN' not enabled in the server, enabled mechanisms are [PLAIN, GSSAPI]",
            ),
            (
                34,
                "IllegalSaslStateException",
                "Unexpected handshake request with client mechanism PLAIN, enabled mechanisms are [PLAIN, GSSAPI]",
            ),
            (
                99,
                "IllegalSaslStateException",
                "Unknown error code 99, client mechanism is PLAIN, enabled mechanisms are [PLAIN, GSSAPI]",
            ),
        ];
        for (code, class, words) in handshakes {
            let mut handshake = plain();
            handshake.step(None).unwrap();
            let error = handshake.step(Some(shaken(code))).unwrap_err();
            assert_eq!((error.simple_class(), error.message.as_str(), error.retriable), (class, words, false));
        }
        let mut handshake = plain();
        handshake.step(None).unwrap();
        handshake.step(Some(shaken(0))).unwrap();
        let error =
            handshake.step(Some(authenticated(58, Some("Authentication failed: Invalid username or password"), 0)));
        let error = error.unwrap_err();
        assert_eq!(error.class, "org.apache.kafka.common.errors.SaslAuthenticationException");
        assert_eq!(error.message, "Authentication failed: Invalid username or password");
        assert!(!error.retriable);
    }

    #[test]
    fn sessions_are_renewed_before_they_end() {
        assert_eq!(renewal(Duration::from_secs(100), 0.0), Duration::from_secs(85));
        assert_eq!(renewal(Duration::from_secs(100), 1.0), Duration::from_secs(95));
        assert!(renewal(Duration::MAX, 1.0) > Duration::from_secs(1 << 30));
    }
}
