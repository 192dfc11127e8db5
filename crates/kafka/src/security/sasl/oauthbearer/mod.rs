//! OAUTHBEARER, RFC 7628: a token that somebody else vouches for, in one message.
//!
//! Here are the messages of both sides; [`jwt`] reads tokens and makes those that nobody signed. Where tokens come from is the business of
//! [`crate::security::login`]. Counterparts: Java's `OAuthBearerSaslClient`, `OAuthBearerSaslServer`, `OAuthBearerClientInitialResponse`.

pub mod jwt;

use super::SaslError;
use crate::security::secret::Secret;

/// What separates the parts of a message, and what a client says to an error.
const SEPARATOR: char = '\u{1}';
/// The part that holds the token, and so no extension's name.
const AUTH: &str = "auth";

/// A token with what its holder has to know of it. Java's `OAuthBearerToken`.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// What is sent.
    pub value: Secret,
    /// Whose it is.
    pub principal: String,
    /// Since when it counts, in milliseconds since 1970, if it says so.
    pub start_ms: Option<i64>,
    /// When it ends.
    pub expires_ms: i64,
    /// SASL extensions that go with it.
    pub extensions: Vec<(String, String)>,
}

/// The client's side.
#[derive(Debug)]
pub struct BearerClient {
    state: State,
}

#[derive(Debug)]
enum State {
    Begin(Secret),
    Sent,
    /// The server has said why not, and still has to say that it is over.
    Refused,
    Complete,
}

impl BearerClient {
    pub(super) fn new(token: &Token) -> Self {
        let mut message = format!("n,,{SEPARATOR}{AUTH}=Bearer {}", token.value.reveal());
        for (key, value) in &token.extensions {
            message.push(SEPARATOR);
            message.push_str(key);
            message.push('=');
            message.push_str(value);
        }
        message.extend([SEPARATOR, SEPARATOR]);
        Self { state: State::Begin(Secret::from(message)) }
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    pub(super) fn respond(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>, SaslError> {
        match &self.state {
            State::Begin(message) => {
                let message = message.reveal().as_bytes().to_vec();
                self.state = State::Sent;
                Ok(Some(message))
            }
            State::Sent if challenge.is_empty() => {
                self.state = State::Complete;
                Ok(None)
            }
            State::Sent => {
                self.state = State::Refused;
                Ok(Some(vec![SEPARATOR as u8]))
            }
            State::Refused | State::Complete => {
                Err(SaslError::failed("Unexpected challenge in a Sasl client that has ended"))
            }
        }
    }
}

/// What a client's message says.
#[derive(Debug, PartialEq, Eq)]
pub struct InitialResponse {
    /// Whom the client wants to be, if it says so.
    pub authorization: String,
    /// Its token.
    pub token: Secret,
    /// What goes with it.
    pub extensions: Vec<(String, String)>,
}

impl InitialResponse {
    /// Reads a client's message.
    ///
    /// # Errors
    /// If it is not one.
    pub fn parse(message: &[u8]) -> Result<Self, SaslError> {
        let invalid = |why: &str| SaslError::Failed(format!("Invalid OAUTHBEARER client first message{why}"));
        let message = std::str::from_utf8(message).map_err(|_| invalid(""))?;
        let (header, pairs) = message.split_once(SEPARATOR).ok_or_else(|| invalid(""))?;
        let authorization =
            header.strip_prefix("n,").and_then(|rest| rest.strip_suffix(',')).ok_or_else(|| invalid(""))?;
        let authorization = match authorization.strip_prefix("a=") {
            Some(name) if !name.is_empty() && !name.contains(',') => name,
            None if authorization.is_empty() => "",
            _ => return Err(invalid("")),
        };
        // Each pair ends with a separator, and so does the message.
        let pairs = pairs.strip_suffix(SEPARATOR).filter(|pairs| pairs.is_empty() || pairs.ends_with(SEPARATOR));
        let pairs = pairs.ok_or_else(|| invalid(""))?;
        let (mut auth, mut extensions) = (None, Vec::new());
        for pair in pairs.split_terminator(SEPARATOR) {
            let (key, value) = pair.split_once('=').ok_or_else(|| invalid(""))?;
            check_extension(key, value).map_err(|_| invalid(""))?;
            if key == AUTH {
                auth = Some(value);
            } else {
                extensions.push((key.to_owned(), value.to_owned()));
            }
        }
        let auth = auth.ok_or_else(|| invalid(": 'auth' not specified"))?;
        let (scheme, token) = auth.split_once(' ').ok_or_else(|| invalid(": invalid 'auth' format"))?;
        let token = token.trim_start_matches(' ');
        let body = token.trim_end_matches('=');
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~+/.".contains(&byte);
        if body.is_empty() || !body.bytes().all(is_word) || !scheme.eq_ignore_ascii_case("bearer") {
            return Err(invalid(": invalid 'auth' format"));
        }
        Ok(Self { authorization: authorization.to_owned(), token: Secret::from(token), extensions })
    }
}

/// Whether an extension can be sent.
///
/// # Errors
/// Java's words; they show the value, which is no secret to the server that it goes to, so only its name is said here.
pub fn validate_extensions(extensions: &[(String, String)]) -> Result<(), String> {
    for (key, value) in extensions {
        if key == AUTH {
            return Err(format!("Extension name {AUTH} is invalid"));
        }
        check_extension(key, value)?;
    }
    Ok(())
}

fn check_extension(key: &str, value: &str) -> Result<(), String> {
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(format!("Extension name {key} is invalid"));
    }
    let is_valid = |byte: u8| matches!(byte, 0x21..=0x7e | b' ' | b'\t' | b'\r' | b'\n');
    if value.is_empty() || !value.bytes().all(is_valid) {
        return Err(format!("Extension value for extension {key} is invalid"));
    }
    Ok(())
}

/// The server's side, for tokens that nobody signed.
#[derive(Debug)]
pub struct BearerServer {
    validator: jwt::UnsecuredValidator,
    /// What was said to the client, until it has heard it.
    refused: Option<String>,
    token: Option<Token>,
}

impl BearerServer {
    /// With the options of a `OAuthBearerLoginModule`.
    pub fn new(validator: jwt::UnsecuredValidator) -> Self {
        Self { validator, refused: None, token: None }
    }

    /// The token, once it is accepted.
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Takes the client's message, gives the answer.
    ///
    /// # Errors
    /// If the message is none, or the client has heard that its token is refused.
    pub fn evaluate(&mut self, message: &[u8], now_ms: i64) -> Result<Vec<u8>, SaslError> {
        if let Some(why) = self.refused.take()
            && message == [SEPARATOR as u8]
        {
            return Err(SaslError::Denied(why));
        }
        let said = InitialResponse::parse(message)?;
        let token = match self.validator.validate(&said.token, now_ms) {
            Ok(token) => token,
            Err(refusal) => {
                let json = match refusal.scope {
                    Some(scope) => format!("{{\"status\":\"insufficient_scope\", \"scope\":\"{scope}\"}}"),
                    None => "{\"status\":\"invalid_token\"}".to_owned(),
                };
                tracing::debug!(why = refusal.why, "a token is refused");
                self.refused = Some(json.clone());
                return Ok(json.into_bytes());
            }
        };
        if !said.authorization.is_empty() && said.authorization != token.principal {
            return Err(SaslError::Denied(format!(
                "Authentication failed: Client requested an authorization id ({}) that is different from the token's principal name ({})",
                said.authorization, token.principal
            )));
        }
        self.token = Some(Token { extensions: said.extensions, ..token });
        Ok(Vec::new())
    }
}
