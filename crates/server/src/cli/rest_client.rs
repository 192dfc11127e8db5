//! Asks a worker over HTTP. Blocks; for commands that do nothing else.

use super::Failure;
use serde_json::Value;
use std::fmt::Write;
use std::time::Duration;

/// A worker answers every request within 90 seconds.
const TIMEOUT: Duration = Duration::from_secs(100);
/// The longest answer that is read; a worker with thousands of connectors stays below.
const MAX_ANSWER_BYTES: u64 = 256 * 1024 * 1024;

/// The REST interface of a worker.
#[derive(Debug)]
pub(super) struct RestClient {
    agent: ureq::Agent,
    base: String,
}

impl RestClient {
    /// A worker at `http://host:port`; a path before `/connectors` may follow.
    pub(super) fn new(url: &str) -> Result<Self, Failure> {
        if !url.starts_with("http://") {
            return Err(Failure::usage(format!("--url {url}: expected http://HOST:PORT")));
        }
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT));
        Ok(Self { agent: config.build().into(), base: url.trim_end_matches('/').to_owned() })
    }

    /// One request. What the worker refuses is a failure with its own words.
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let cannot = |error: ureq::Error| {
            Failure::new(format!(
                "cannot ask the worker at {}: {error}; does it run there? Set --url or KURIER_URL to another one",
                self.base
            ))
        };
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        let sent = match body {
            Some(body) => self.agent.run(request.header("content-type", "application/json").body(body.to_string())?),
            None => self.agent.run(request.body(())?),
        };
        let mut response = sent.map_err(cannot)?;
        let status = response.status();
        let text = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string().map_err(cannot)?;
        let value = if text.trim().is_empty() { Ok(Value::Null) } else { serde_json::from_str::<Value>(&text) };
        if !status.is_success() {
            let said = value.ok().and_then(|value| Some(value["message"].as_str()?.to_owned()));
            return Err(Failure::new(match said {
                Some(message) => message,
                None => format!("the worker at {} answered {status}", self.base),
            }));
        }
        value.map_err(|error| Failure::new(format!("{} answered with something else than JSON: {error}", self.base)))
    }
}

/// A name as part of a path.
pub(super) fn segment(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02X}").expect("writing into memory does not fail");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_in_paths() {
        for (name, expected) in [("a-b_c.d~1", "a-b_c.d~1"), ("a b/c", "a%20b%2Fc"), ("é%", "%C3%A9%25"), ("", "")] {
            assert_eq!(segment(name), expected);
        }
    }

    #[test]
    fn only_plain_http_is_spoken() {
        for url in ["localhost:8083", "https://h:1", ""] {
            assert!(RestClient::new(url).is_err(), "{url}");
        }
    }
}
