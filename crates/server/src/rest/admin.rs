//! What the operator asks about the program itself.

use super::answer::{Answer, Failure};
use super::app::{App, Call};
use super::connectors::no_body;
use super::loggers::LogLevel;
use super::route::Resource;
use super::{body, show};
use axum::http::Method;
use serde_json::{Map, Value, json};

/// Our own version; the one that [`super::connectors::root`] shows is that of the Kafka Connect that we answer like.
pub(crate) fn info() -> Answer {
    Answer::json(200, json!({ "name": "kurier", "version": env!("CARGO_PKG_VERSION") }))
}

pub(crate) fn loggers(app: &App, call: &Call<'_>) -> Result<Answer, Failure> {
    match (call.resource, call.method) {
        (Resource::Logger(name), &Method::PUT) => set(app, call, name),
        (Resource::Logger(name), _) => match app.loggers.get(name) {
            Some(state) => Ok(Answer::json(200, show::logger(state))),
            None => Err(Failure::new(404, format!("Logger {name} not found."))),
        },
        _ => {
            let all: Map<String, Value> =
                app.loggers.all().into_iter().map(|(name, state)| (name, show::logger(state))).collect();
            Ok(Answer::json(200, all.into()))
        }
    }
}

fn set(app: &App, call: &Call<'_>, name: &str) -> Result<Answer, Failure> {
    let Some(level) = body::level(&call.body)?.ok_or_else(no_body)? else {
        return Err(Failure::new(400, "Desired 'level' parameter was not specified in request."));
    };
    if level.is_empty() {
        return Err(Failure::new(500, "Illegal null or empty Level name."));
    }
    let level = LogLevel::parse(&level).map_err(|_| Failure::new(404, format!("invalid log level '{level}'.")))?;
    let cluster = match call.param("scope") {
        Some(scope) if scope.eq_ignore_ascii_case("cluster") => true,
        None => false,
        Some(scope) if scope.eq_ignore_ascii_case("worker") => false,
        Some(other) => {
            tracing::warn!("Received invalid scope '{other}' in PUT /admin/loggers; falling back to 'worker'");
            false
        }
    };
    let changed = app.loggers.set(name, level);
    Ok(if cluster { Answer::empty(204) } else { Answer::json(200, json!(changed)) })
}
