//! From an HTTP request to an HTTP answer: what JAX-RS and the HTTP server do before and after the resources.

use super::answer::{Answer, Content, Failure};
use super::config::{AdminListeners, RestConfig};
use super::extra_headers;
use super::loggers::Loggers;
use super::path::{self, BadPath};
use super::route::{self, Resource};
use super::{admin, connectors, openapi, plugins};
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use futures::FutureExt;
use kurier_runtime::herder::HerderHandle;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// The longest body; far beyond what fits into a record of the config topic.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How the herder begins to say that a request took too long.
const TIMED_OUT: &str = "Request timed out";

/// Which listeners a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    Main,
    /// `admin.listeners` of their own: loggers only, no extra headers.
    Admin,
}

/// Everything that resources need.
pub(crate) struct App {
    pub(crate) herder: HerderHandle,
    pub(crate) loggers: Arc<dyn Loggers>,
    /// Whether the herder has ever been healthy.
    pub(crate) started: AtomicBool,
    config: RestConfig,
    /// True from when the server stops.
    stopped: watch::Receiver<bool>,
}

/// A request that has found its resource.
pub(crate) struct Call<'a> {
    pub(crate) resource: &'a Resource,
    /// HEAD has become GET.
    pub(crate) method: &'a Method,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// `http://host:port` as the client called us.
    pub(crate) base: String,
}

impl Call<'_> {
    /// The first value of a query parameter.
    pub(crate) fn param(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Java's `Boolean.valueOf`; an absent or empty value is the default.
    pub(crate) fn flag(&self, key: &str, default: bool) -> bool {
        match self.param(key) {
            None | Some("") => default,
            Some(text) => text.eq_ignore_ascii_case("true"),
        }
    }
}

impl App {
    pub(crate) fn new(
        config: RestConfig,
        herder: HerderHandle,
        loggers: Arc<dyn Loggers>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self { herder, loggers, started: AtomicBool::new(false), config, stopped }
    }

    /// Waits until the herder is healthy for the first time, which tells a slow start from a later failure.
    pub(crate) async fn watch_start(&self) {
        // The herder itself fails what takes too long; one that is gone fails at once, and then nothing is to be seen any more.
        while let Err(error) = self.herder.health().await {
            if !error.message().starts_with(TIMED_OUT) {
                return;
            }
        }
        self.started.store(true, Ordering::Relaxed);
    }

    /// Answers one request, whatever it is.
    pub(crate) async fn answer(&self, surface: Surface, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let answer = match path::segments(head.uri.path()) {
            Err(BadPath(why)) => Answer::text(400, why),
            Ok(segments) => {
                let resource = route::find(&segments).filter(|resource| self.shows(surface, resource));
                let base = base(&head.uri, &head.headers);
                let found = self.resource(resource, &head.method, &head.uri, &head.headers, base, body);
                let found = AssertUnwindSafe(found).catch_unwind().await.unwrap_or_else(|_| {
                    // The panic itself has been logged; it ends neither the connection nor the server.
                    Err(Failure::plain(StatusCode::INTERNAL_SERVER_ERROR))
                });
                found.unwrap_or_else(Answer::from)
            }
        };
        tracing::info!(
            "\"{} {} {:?}\" {}",
            head.method,
            head.uri.path_and_query().map_or("/", |p| p.as_str()),
            head.version,
            answer.status
        );
        let mut response = answer.into_response();
        if surface == Surface::Main {
            extra_headers::cors(self.config.cors.as_ref(), &head.method, &head.headers, response.headers_mut());
            extra_headers::configured(&self.config.headers, response.headers_mut());
        }
        response
    }

    fn shows(&self, surface: Surface, resource: &Resource) -> bool {
        match (surface, resource.is_admin()) {
            (Surface::Main, true) => self.config.admin == AdminListeners::Main,
            (Surface::Main, false) => true,
            (Surface::Admin, admin) => admin,
        }
    }

    async fn resource(
        &self,
        resource: Option<Resource>,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        base: String,
        body: Body,
    ) -> Result<Answer, Failure> {
        let resource = resource.ok_or_else(|| Failure::plain(StatusCode::NOT_FOUND))?;
        if method == Method::OPTIONS {
            return Ok(options(&resource, headers));
        }
        let method = if method == Method::HEAD { &Method::GET } else { method };
        if !resource.methods().contains(method) {
            return Err(Failure::plain(StatusCode::METHOD_NOT_ALLOWED));
        }
        let body = received(body, self.stopped.clone()).await?;
        if !body.is_empty() && !resource.takes_any_type(method) && !is_json(headers) {
            return Err(Failure::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        if !accepts(headers, "application", "json") {
            return Err(Failure::plain(StatusCode::NOT_ACCEPTABLE));
        }
        let call = Call { resource: &resource, method, query: path::query(uri.query()), body, base };
        match &resource {
            Resource::Root => connectors::root(self).await,
            Resource::Health => connectors::health(self).await,
            Resource::Info => Ok(admin::info()),
            Resource::OpenApi => Ok(openapi::document()),
            Resource::Plugins | Resource::PluginConfig(_) | Resource::Validate(_) => plugins::answer(self, &call).await,
            Resource::Loggers | Resource::Logger(_) => admin::loggers(self, &call),
            _ => connectors::answer(self, &call).await,
        }
    }
}

/// Reads a body unless the server stops before it is complete; nothing has been done for whoever is still sending then.
async fn received(body: Body, mut stopped: watch::Receiver<bool>) -> Result<Bytes, Failure> {
    tokio::select! {
        // A request that is complete is answered even at the end, not by chance.
        biased;
        body = read(body) => body,
        _ = stopped.wait_for(|stop| *stop) => Err(Failure::plain(StatusCode::SERVICE_UNAVAILABLE)),
    }
}

/// Reads a body of bounded length in bounded time.
async fn read(body: Body) -> Result<Bytes, Failure> {
    let too_large = || Failure::plain(StatusCode::PAYLOAD_TOO_LARGE);
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_BODY)).await {
        Ok(read) => read.map_err(|_| too_large()),
        Err(_) => Err(Failure::plain(StatusCode::REQUEST_TIMEOUT)),
    }
}

/// The address by which the client called.
fn base(uri: &Uri, headers: &HeaderMap) -> String {
    let host = uri.authority().map(|a| a.as_str()).or_else(|| headers.get(header::HOST)?.to_str().ok());
    format!("http://{}", host.unwrap_or("localhost"))
}

/// JAX-RS answers OPTIONS by itself, as JSON only to those who ask for it.
fn options(resource: &Resource, headers: &HeaderMap) -> Answer {
    let allow = resource.allow();
    let content = if accepts(headers, "text", "plain") { Content::Text(allow.clone()) } else { Content::EmptyJson };
    Answer { status: 200, content, location: None, allow: Some(allow) }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|value| {
        let kind = value.split(';').next().unwrap_or(value).trim();
        kind.eq_ignore_ascii_case("application/json")
    })
}

/// Whether the client takes this type; one that says nothing takes all.
fn accepts(headers: &HeaderMap, kind: &str, subtype: &str) -> bool {
    let mut said = false;
    for value in headers.get_all(header::ACCEPT) {
        let Ok(value) = value.to_str() else { return false };
        for range in value.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            said = true;
            let mut parts = range.split(';').map(str::trim);
            let (k, s) = parts.next().and_then(|r| r.split_once('/')).unwrap_or(("", ""));
            let refused = parts.any(|p| {
                p.split_once('=')
                    .is_some_and(|(q, v)| q.trim() == "q" && v.trim().parse::<f64>().is_ok_and(|v| v == 0.0))
            });
            let fits = |range: &str, own: &str| range == "*" || range.eq_ignore_ascii_case(own);
            if !refused && fits(k, kind) && fits(s, subtype) {
                return true;
            }
        }
    }
    !said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_headers_are_read() {
        for (accept, json) in [
            ("*/*", true),
            ("application/json", true),
            ("APPLICATION/*;q=0.1", true),
            ("text/html", false),
            ("text/html, application/json", true),
            ("application/json;q=0", false),
            ("", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(accepts(&headers, "application", "json"), json, "{accept}");
        }
        assert!(accepts(&HeaderMap::new(), "application", "json"));
    }

    #[tokio::test]
    async fn a_complete_request_is_answered_at_the_end_and_no_other() {
        let (_stop, stopped) = watch::channel(true);
        // Often, as a choice by chance would be right half of the time.
        for _ in 0..100 {
            let complete = received(Body::from("{}"), stopped.clone()).await;
            assert!(complete.is_ok_and(|body| body == "{}"));
        }
        let unfinished = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let refused = received(unfinished, stopped).await.map_err(Answer::from);
        assert_eq!(refused.err().map(|answer| answer.status), Some(503));
    }
}
