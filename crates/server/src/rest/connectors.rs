//! The resources about connectors, the root and the health check.

use super::answer::{Answer, Failure};
use super::app::{App, Call};
use super::route::Resource;
use super::show::Expansion;
use super::{body, path, show};
use axum::http::{Method, StatusCode};
use kurier_runtime::herder::request::RawConfig;
use kurier_runtime::unit::ConnectorName;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long the health check waits for the herder, as in Java.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) async fn root(app: &App) -> Result<Answer, Failure> {
    Ok(Answer::json(200, show::server(&app.herder.server_info().await?)))
}

/// Says whether the herder answers; until it has created the connectors of the command line it does not.
pub(crate) async fn health(app: &App) -> Result<Answer, Failure> {
    let (status, state, message) = match tokio::time::timeout(HEALTH_TIMEOUT, app.herder.health()).await {
        Ok(Ok(())) => (200, "healthy", "Worker has completed startup and is ready to handle requests."),
        _ if app.started.load(Ordering::Relaxed) => {
            (500, "unhealthy", "Worker was unable to handle this request and may be unable to handle other requests.")
        }
        _ => (503, "starting", "Worker is still starting up."),
    };
    Ok(Answer::json(status, json!({ "status": state, "message": message })))
}

/// Java dereferences null here; the status is the same, the text says what is wrong.
pub(crate) fn no_body() -> Failure {
    Failure::new(500, "The request has no body, or it is null, where an object is needed")
}

pub(crate) async fn answer(app: &App, call: &Call<'_>) -> Result<Answer, Failure> {
    let herder = &app.herder;
    match (call.resource, call.method) {
        (Resource::Connectors, &Method::POST) => create(app, call).await,
        (Resource::Connectors, _) => list(app, call).await,
        (Resource::Connector(c), &Method::DELETE) => {
            herder.delete_connector(c.clone()).await?;
            Ok(Answer::empty(204))
        }
        (Resource::Connector(c), _) => Ok(Answer::json(200, show::connector(&herder.connector_info(c.clone()).await?))),
        (Resource::Config(c), &Method::PUT) => put_config(app, call, c).await,
        (Resource::Config(c), &Method::PATCH) => {
            let patch = body::string_map(&call.body)?.ok_or_else(no_body)?;
            Ok(Answer::json(200, show::connector(&herder.patch_connector(c.clone(), patch).await?)))
        }
        (Resource::Config(c), _) => Ok(Answer::json(200, show::config(&herder.connector_config(c.clone()).await?))),
        (Resource::Status(c), _) => Ok(Answer::json(200, show::status(&herder.connector_status(c.clone()).await?))),
        (Resource::Restart(c), _) => {
            let (tasks, failed) = (call.flag("includeTasks", false), call.flag("onlyFailed", false));
            Ok(match herder.restart_connector(c.clone(), tasks, failed).await? {
                None => Answer::empty(204),
                Some(plan) => Answer::json(202, show::status(&plan)),
            })
        }
        (Resource::Pause(c), _) => {
            herder.pause(c.clone()).await?;
            Ok(Answer::empty(202))
        }
        (Resource::Resume(c), _) => {
            herder.resume(c.clone()).await?;
            Ok(Answer::empty(202))
        }
        (Resource::Stop(c), _) => {
            herder.stop(c.clone()).await?;
            Ok(Answer::empty(204))
        }
        (Resource::Tasks(_), &Method::POST) => {
            body::task_configs(&call.body)?;
            let text = "Kafka Connect in standalone mode does not support externally setting task configurations.";
            Err(Failure::new(500, text))
        }
        (Resource::Tasks(c), _) => Ok(Answer::json(200, show::tasks(&herder.task_configs(c.clone()).await?))),
        (Resource::TaskStatus(c, task), _) => {
            Ok(Answer::json(200, show::task_status(&herder.task_status(c.clone(), *task).await?)))
        }
        (Resource::TaskRestart(c, task), _) => {
            herder.restart_task(c.clone(), *task).await?;
            Ok(Answer::empty(204))
        }
        (Resource::Topics(c), _) => Ok(Answer::json(200, show::topics(c, &herder.active_topics(c.clone()).await?))),
        (Resource::TopicsReset(c), _) => {
            herder.reset_active_topics(c.clone()).await?;
            Ok(Answer::empty(202))
        }
        (Resource::Offsets(c), method) => offsets(app, call, c, method).await,
        (Resource::Fence(_), _) => {
            let text = "Kafka Connect in standalone mode does not support exactly-once source connectors.";
            Err(Failure::new(500, text))
        }
        _ => Err(Failure::plain(StatusCode::NOT_FOUND)),
    }
}

/// What is asked for; none if `expand` does not occur.
fn expansions(call: &Call<'_>) -> Option<Vec<Expansion>> {
    let (mut any, mut found) = (false, Vec::new());
    for (_, expansion) in call.query.iter().filter(|(key, _)| key == "expand") {
        any = true;
        let expansion = match expansion.as_str() {
            "status" => Expansion::Status,
            "info" => Expansion::Info,
            other => {
                tracing::info!("Ignoring unknown expansion type {other}");
                continue;
            }
        };
        if !found.contains(&expansion) {
            found.push(expansion);
        }
    }
    any.then_some(found)
}

async fn list(app: &App, call: &Call<'_>) -> Result<Answer, Failure> {
    let Some(expansions) = expansions(call) else {
        let names: Value = app.herder.connectors().await?.iter().map(|name| &**name).collect();
        return Ok(Answer::json(200, names));
    };
    let (status, info) = (expansions.contains(&Expansion::Status), expansions.contains(&Expansion::Info));
    let all = app.herder.expand_connectors(status, info).await?;
    Ok(Answer::json(200, show::expanded(&all, &expansions)))
}

/// The name of the config has to be that of the request; where there is none it is put in.
fn check_name(config: &mut RawConfig, name: &str) -> Result<(), Failure> {
    match config.get("name") {
        Some(Some(own)) if own != name => Err(Failure::new(
            400,
            format!("Connector name configuration ({own}) doesn't match connector name in the URL ({name})"),
        )),
        Some(Some(_)) => Ok(()),
        _ => {
            config.insert("name".to_owned(), Some(name.to_owned()));
            Ok(())
        }
    }
}

/// Java's `Location`, which takes a name with braces for a template and fails, after the connector has been created.
fn location(call: &Call<'_>, name: &str) -> Result<Option<String>, Failure> {
    if let Some(start) = name.find('{') {
        return Err(Failure::new(
            500,
            match name[start..].find('}') {
                Some(end) => format!("The template variable '{}' has no value", &name[start + 1..start + end]),
                None => template_error(name),
            },
        ));
    }
    if name.contains('}') {
        return Err(Failure::new(500, template_error(name)));
    }
    Ok(Some(format!("{}/connectors/{}", call.base, path::encode_name(name))))
}

fn template_error(name: &str) -> String {
    format!(
        "Invalid syntax in the template \"/connectors/{name}\". Check if a path parameter is terminated with a \"}}\"."
    )
}

async fn create(app: &App, call: &Call<'_>) -> Result<Answer, Failure> {
    let request = body::create_request(&call.body)?.ok_or_else(no_body)?;
    let name: ConnectorName = request.name.as_deref().unwrap_or("").trim_matches(|c: char| c <= ' ').into();
    let mut config = request.config.ok_or_else(no_body)?;
    check_name(&mut config, &name)?;
    let result = app.herder.put_connector(name.clone(), config, request.initial_state, false).await?;
    let location = location(call, &name)?;
    Ok(Answer { location, ..Answer::json(201, show::connector(&result.info)) })
}

async fn put_config(app: &App, call: &Call<'_>, name: &ConnectorName) -> Result<Answer, Failure> {
    let mut config = body::string_map(&call.body)?.ok_or_else(no_body)?;
    check_name(&mut config, name)?;
    let result = app.herder.put_connector(name.clone(), config, None, true).await?;
    let body = show::connector(&result.info);
    if !result.created {
        return Ok(Answer::json(200, body));
    }
    Ok(Answer { location: location(call, name)?, ..Answer::json(201, body) })
}

async fn offsets(app: &App, call: &Call<'_>, name: &ConnectorName, method: &Method) -> Result<Answer, Failure> {
    let message = |text: String| Answer::json(200, json!({ "message": text }));
    match *method {
        Method::GET => Ok(Answer::json(200, show::offsets(&app.herder.offsets(name.clone()).await?))),
        Method::DELETE => Ok(message(app.herder.reset_offsets(name.clone()).await?)),
        _ => {
            let offsets = body::offsets(&call.body)?.ok_or_else(no_body)?.unwrap_or_default();
            if offsets.is_empty() {
                let text = "Partitions / offsets need to be provided for an alter offsets request";
                return Err(Failure::new(400, text));
            }
            let offsets = offsets.into_iter().collect::<Option<Vec<_>>>().ok_or_else(no_body)?;
            Ok(message(app.herder.alter_offsets(name.clone(), offsets).await?))
        }
    }
}
