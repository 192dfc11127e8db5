//! PLAIN, RFC 4616: `[authzid] NUL authcid NUL password` in one message. Counterparts: the JDK's `PlainClient`, Kafka's `PlainSaslServer`.

use super::{Credentials, SaslError};

/// The client's side: one message.
#[derive(Debug)]
pub struct PlainClient {
    credentials: Option<Credentials>,
}

impl PlainClient {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials: Some(credentials) }
    }

    pub(super) fn respond(&mut self, _challenge: &[u8]) -> Result<Option<Vec<u8>>, SaslError> {
        let Some(Credentials { user, password }) = self.credentials.take() else { return Ok(None) };
        Ok(Some(format!("\0{user}\0{}", password.reveal()).into_bytes()))
    }

    pub(super) fn is_complete(&self) -> bool {
        self.credentials.is_none()
    }
}

/// Reads a client's message; whether the password is right is asked of `check`. Returns the user.
pub(super) fn evaluate(message: &[u8], check: impl FnOnce(&str, &str) -> bool) -> Result<String, SaslError> {
    let text = String::from_utf8_lossy(message);
    let parts: Vec<&str> = text.splitn(4, '\0').collect();
    let &[authorization, user, password] = parts.as_slice() else {
        let words = format!("Invalid SASL/PLAIN response: expected 3 tokens, got {}", parts.len());
        return Err(SaslError::Denied(words));
    };
    let why = if user.is_empty() {
        "username not specified"
    } else if password.is_empty() {
        "password not specified"
    } else if !check(user, password) {
        "Invalid username or password"
    } else if !authorization.is_empty() && authorization != user {
        "Client requested an authorization id that is different from username"
    } else {
        return Ok(user.to_owned());
    };
    Err(SaslError::Denied(format!("Authentication failed: {why}")))
}
