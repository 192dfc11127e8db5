//! Where tokens come from, and how they are kept fresh.
//!
//! Clients with the same settings share one [`Tokens`], as in Java, where they share a login. The first connection waits for the first token; from
//! then on a task replaces it in the background, in good time, and connections take what is there. A failure of the background is logged and tried
//! again; whoever finds no token that still counts waits for one, or fails with what the endpoint said.
#![expect(clippy::disallowed_methods, reason = "driver: the clock, files, tasks")]

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::Uri;
use parking_lot::Mutex;
use serde_json::Value;

use super::http::{self, Post};
use super::refresh::{RETRY_MS, Refresh};
use crate::security::jaas::JaasEntry;
use crate::security::sasl::oauthbearer::Token;
use crate::security::sasl::oauthbearer::jwt::{self, ClaimNames};
use crate::security::secret::Secret;
use crate::security::tls::ClientTls;

/// Largest token file that is read.
const MAX_FILE: u64 = 1 << 20;
/// How much of an endpoint's error is repeated.
const MAX_SAID: usize = 1_000;

/// What every client with the same settings shares.
static SHARED: LazyLock<Mutex<HashMap<String, Weak<Tokens>>>> = LazyLock::new(Mutex::default);

/// Who makes the tokens.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Nobody has to vouch for them: the options say what is in them.
    Unsecured(JaasEntry),
    /// Somebody else keeps this file fresh.
    File(PathBuf),
    /// An endpoint gives them for an id and a secret.
    Endpoint(Box<Endpoint>),
}

/// `sasl.oauthbearer.token.endpoint.url` and what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) url: Uri,
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    pub(super) scope: Option<String>,
    /// `sasl.oauthbearer.header.urlencode`.
    pub(super) encode_header: bool,
    pub(super) connect_timeout: Duration,
    pub(super) read_timeout: Duration,
    pub(super) backoff: Duration,
    pub(super) backoff_max: Duration,
    /// For `https`.
    pub(super) tls: Option<ClientTls>,
}

/// How tokens are got.
#[derive(Clone, Debug)]
pub(super) struct BearerSettings {
    pub(super) source: Source,
    pub(super) names: ClaimNames,
    pub(super) extensions: Vec<(String, String)>,
    pub(super) refresh: Refresh,
}

/// The token of all clients with the same settings.
#[derive(Debug)]
pub(crate) struct Tokens {
    settings: BearerSettings,
    current: Mutex<Option<Token>>,
    /// Held by whoever gets a token.
    getting: tokio::sync::Mutex<Option<Failed>>,
    refresher: Mutex<Option<tokio::task::AbortHandle>>,
}

/// What the last try came to, so that those who waited for it do not try again at once.
#[derive(Debug)]
struct Failed {
    at: Instant,
    why: String,
}

impl Tokens {
    /// The tokens of these settings; `key` is the same exactly when the settings are.
    pub(super) fn shared(key: String, settings: BearerSettings) -> Arc<Self> {
        let mut shared = SHARED.lock();
        shared.retain(|_, tokens| tokens.strong_count() > 0);
        if let Some(tokens) = shared.get(&key).and_then(Weak::upgrade) {
            return tokens;
        }
        let tokens = Arc::new(Self {
            settings,
            current: Mutex::default(),
            getting: tokio::sync::Mutex::default(),
            refresher: Mutex::default(),
        });
        shared.insert(key, Arc::downgrade(&tokens));
        tokens
    }

    /// A token that still counts. Whoever stops waiting stops nothing: the token is got for all.
    pub(crate) async fn token(self: &Arc<Self>) -> Result<Token, String> {
        if let Some(token) = self.fresh() {
            self.keep_fresh();
            return Ok(token);
        }
        let began = Instant::now();
        let tokens = Arc::clone(self);
        let getting = tokio::spawn(async move {
            let mut last = tokens.getting.lock().await;
            if let Some(token) = tokens.fresh() {
                return Ok(token);
            }
            if let Some(failed) = &*last
                && failed.at > began
            {
                return Err(failed.why.clone());
            }
            let got = tokens.get().await;
            *last = got.as_ref().err().map(|why| Failed { at: Instant::now(), why: why.clone() });
            got
        });
        let token = getting.await.unwrap_or_else(|error| Err(format!("nobody gets a token: {error}")))?;
        self.keep_fresh();
        Ok(token)
    }

    fn fresh(&self) -> Option<Token> {
        let now = now_ms();
        self.current.lock().clone().filter(|token| token.expires_ms > now)
    }

    /// Gets a token and keeps it.
    async fn get(&self) -> Result<Token, String> {
        let BearerSettings { source, names, extensions, .. } = &self.settings;
        let token = match source {
            Source::Unsecured(entry) => {
                jwt::unsecured(entry, now_ms())?.ok_or("No OAuth Bearer tokens in Subject's private credentials")?
            }
            Source::File(path) => {
                let path = path.clone();
                let text = tokio::task::spawn_blocking(move || read_file(&path)).await;
                let text = text.unwrap_or_else(|error| Err(error.to_string()))?;
                Token { extensions: extensions.clone(), ..jwt::inspect(text, names)? }
            }
            Source::Endpoint(endpoint) => {
                let value = endpoint.retrieve().await?;
                Token { extensions: extensions.clone(), ..jwt::inspect(value, names)? }
            }
        };
        if token.expires_ms <= now_ms() {
            tracing::warn!(
                principal = token.principal,
                "a token that was just got has ended already; are the clocks of this machine and of the token's issuer the same?"
            );
        }
        *self.current.lock() = Some(token.clone());
        Ok(token)
    }

    /// Sees to it that a task replaces the token, also where the runtime of the last one has ended.
    fn keep_fresh(self: &Arc<Self>) {
        let mut refresher = self.refresher.lock();
        if refresher.as_ref().is_some_and(|refresher| !refresher.is_finished()) {
            return;
        }
        let tokens = Arc::downgrade(self);
        *refresher = Some(tokio::spawn(refresh(tokens)).abort_handle());
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        if let Some(refresher) = self.refresher.get_mut().take() {
            refresher.abort();
        }
    }
}

/// Replaces the token of all clients, as long as there is one.
async fn refresh(tokens: Weak<Tokens>) {
    loop {
        let Some(strong) = tokens.upgrade() else { return };
        let now = now_ms();
        let at = match &*strong.current.lock() {
            Some(token) => strong.settings.refresh.at(token, now, chance()),
            None => now + RETRY_MS,
        };
        drop(strong);
        sleep_ms(at - now).await;
        loop {
            let Some(strong) = tokens.upgrade() else { return };
            let got = {
                let _getting = strong.getting.lock().await;
                strong.get().await
            };
            drop(strong);
            let Err(why) = got else { break };
            tracing::warn!(why, "cannot replace a token; trying again in {} s", RETRY_MS / 1_000);
            sleep_ms(RETRY_MS).await;
        }
    }
}

async fn sleep_ms(ms: i64) {
    tokio::time::sleep(Duration::from_millis(ms.max(0).unsigned_abs())).await;
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// From 0 to 1. A new hasher has keys of its own; that is chance enough.
pub(crate) fn chance() -> f64 {
    (std::hash::RandomState::new().hash_one(0_u8) % 1_024) as f64 / 1_024.0
}

fn read_file(path: &PathBuf) -> Result<Secret, String> {
    let read = || {
        let size = std::fs::metadata(path)?.len();
        if size > MAX_FILE {
            return Err(std::io::Error::other(format!("it has {size} bytes, a token has at most {MAX_FILE}")));
        }
        std::fs::read_to_string(path)
    };
    let text = read().map_err(|error| format!("cannot read the token file {}: {error}", path.display()))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(format!("the token file {} is empty", path.display()));
    }
    Ok(Secret::from(text))
}

/// What an endpoint's answer is worth.
enum Answer {
    Token(Secret),
    Again(String),
    Never(String),
}

impl Endpoint {
    async fn retrieve(&self) -> Result<Secret, String> {
        let post = self.post();
        let end = Instant::now() + self.backoff_max;
        let mut wait = self.backoff;
        loop {
            let why = match http::post(&post, self.tls.as_ref()).await {
                Ok((status, body)) => match judge(status, &body) {
                    Answer::Token(token) => return Ok(token),
                    Answer::Never(why) => return Err(why),
                    Answer::Again(why) => why,
                },
                Err(error) => format!("cannot get a token from {}: {error}", shown(&self.url)),
            };
            let left = end.saturating_duration_since(Instant::now());
            let pause = wait.min(left);
            if pause.is_zero() {
                return Err(why);
            }
            tracing::warn!(why, "no token; trying again in {} ms", pause.as_millis());
            tokio::time::sleep(pause).await;
            wait = wait.saturating_mul(2);
        }
    }

    fn post(&self) -> Post {
        let (id, secret) = (self.client_id.trim(), self.client_secret.reveal().trim());
        let pair = if self.encode_header {
            format!("{}:{}", form_encode(id), form_encode(secret))
        } else {
            format!("{id}:{secret}")
        };
        let scope = self.scope.as_deref().map(str::trim).filter(|scope| !scope.is_empty());
        let scope = scope.map_or_else(String::new, |scope| format!("&scope={}", form_encode(scope)));
        Post {
            url: self.url.clone(),
            authorization: Some(Secret::from(format!("Basic {}", BASE64.encode(pair)))),
            body: Secret::from(format!("grant_type=client_credentials{scope}")),
            connect_timeout: self.connect_timeout,
            read_timeout: self.read_timeout,
        }
    }
}

/// An address without what may be secret in it.
fn shown(url: &Uri) -> String {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{}://{host}{}", url.scheme_str().unwrap_or_default(), url.path())
}

fn judge(status: u16, body: &str) -> Answer {
    /// Answers that will not change: Java's `UNRETRYABLE_HTTP_CODES`.
    const NEVER: [u16; 17] = [400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411, 412, 413, 414, 415, 501, 505];
    let said = || {
        let json: Option<Value> = serde_json::from_str(body).ok();
        let field = |name: &str| json.as_ref().and_then(|json| json.get(name));
        let words = |value: Option<&Value>| value.map_or_else(String::new, Value::to_string);
        let text = match (field("error"), field("errorCode")) {
            (Some(error), _) => format!("{{{error} - {}}}", words(field("error_description"))),
            (None, Some(code)) => format!("{{{code} - {}}}", words(field("errorSummary"))),
            // An answer that says nothing of an error may be anything, also a page that repeats what was sent.
            (None, None) => "{}".to_owned(),
        };
        text.chars().take(MAX_SAID).collect::<String>()
    };
    match status {
        200 | 201 if body.is_empty() => {
            Answer::Again(format!("The token endpoint response was unexpectedly empty despite response code {status}"))
        }
        200 | 201 => {
            let json: Option<Value> = serde_json::from_str(body).ok();
            let token = json.as_ref().and_then(|json| json.get("access_token")).and_then(Value::as_str).map(str::trim);
            match token {
                Some("") | None => {
                    Answer::Never("The token endpoint response did not contain an access_token value".to_owned())
                }
                Some(token) => Answer::Token(Secret::from(token)),
            }
        }
        _ if NEVER.contains(&status) => Answer::Never(format!(
            "The response code {status} and error response {} was encountered reading the token endpoint response; will not attempt further retries",
            said()
        )),
        _ => Answer::Again(format!(
            "The unexpected response code {status} and error message {} was encountered reading the token endpoint response",
            said()
        )),
    }
}

/// Java's `URLEncoder`.
fn form_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
