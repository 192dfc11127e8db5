//! What goes back to a client, before it is HTTP.

use super::json::JsonError;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use kurier_runtime::herder::HerderError;
use serde_json::{Value, json};

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content: Content,
    /// `Location`.
    pub(crate) location: Option<String>,
    /// `Allow`.
    pub(crate) allow: Option<String>,
}

/// The body of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    None,
    /// No body, but said to be JSON.
    EmptyJson,
    Json(Value),
    Text(String),
}

/// An answer that says why there is no better one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// What JAX-RS says of a status.
    pub(crate) fn plain(status: StatusCode) -> Self {
        let reason = match status.as_u16() {
            413 => "Request Entity Too Large",
            _ => status.canonical_reason().unwrap_or("Error"),
        };
        Self::new(status.as_u16(), format!("HTTP {} {reason}", status.as_u16()))
    }
}

impl From<HerderError> for Failure {
    fn from(error: HerderError) -> Self {
        Self::new(error.status(), error.message())
    }
}

/// Java answers 500 to bodies that it cannot read; clients know these texts.
impl From<JsonError> for Failure {
    fn from(JsonError(text): JsonError) -> Self {
        Self::new(500, text)
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Self::json(failure.status, json!({ "error_code": failure.status, "message": failure.message }))
    }
}

impl Answer {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { status, content: Content::Json(body), location: None, allow: None }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, content: Content::None, location: None, allow: None }
    }

    pub(crate) fn text(status: u16, text: impl Into<String>) -> Self {
        Self { status, content: Content::Text(text.into()), location: None, allow: None }
    }

    /// As HTTP.
    pub(crate) fn into_response(self) -> Response<Body> {
        let (kind, body) = match self.content {
            Content::None => (None, Body::empty()),
            Content::EmptyJson => (Some("application/json"), Body::empty()),
            Content::Json(value) => (Some("application/json"), Body::from(write(&value))),
            Content::Text(text) => (Some("text/plain"), Body::from(text)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if let Some(kind) = kind {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        for (name, value) in [(header::LOCATION, self.location), (header::ALLOW, self.allow)] {
            if let Some(value) = value.and_then(|v| HeaderValue::from_str(&v).ok()) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// JSON as Jackson writes it: characters beyond the basic plane are escaped as surrogate pairs.
fn write(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().all(|c| c <= '\u{ffff}') {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c <= '\u{ffff}' {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04X}"));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_beyond_the_basic_plane_are_escaped() {
        assert_eq!(write(&json!({"n": "é😀"})), "{\"n\":\"é\\uD83D\\uDE00\"}");
    }

    #[test]
    fn jax_rs_texts() {
        for (status, text) in [
            (StatusCode::NOT_FOUND, "HTTP 404 Not Found"),
            (StatusCode::METHOD_NOT_ALLOWED, "HTTP 405 Method Not Allowed"),
            (StatusCode::NOT_ACCEPTABLE, "HTTP 406 Not Acceptable"),
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "HTTP 415 Unsupported Media Type"),
        ] {
            assert_eq!(Failure::plain(status).message, text);
        }
    }
}
