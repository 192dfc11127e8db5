//! From what a connector says of its tasks to the raw configs that are stored.
//!
//! Adds what the framework adds (`task.class`, the topics of sinks), holds the connector to `tasks.max`, and puts references back where secrets were.

use super::request::RawConfig;
use super::resolve::ConfigResolver;
use super::step::Generated;
use crate::registry::{ConnectorPlugin, Registry};
use crate::unit::{ConnectorName, Epoch, Worker};
use kurier_api::ConnectError;
use kurier_api::config::Props;
use std::sync::Arc;
use std::time::Duration;

/// Asks a running connector for its tasks.
pub(crate) async fn generate(
    registry: &Registry,
    resolver: &Arc<ConfigResolver>,
    worker: &dyn Worker,
    connector: &ConnectorName,
    epoch: Epoch,
    raw: &Arc<RawConfig>,
) -> Generated {
    let asked = async {
        let resolved = resolver.resolved(raw).await?;
        let props = resolved.props()?;
        let max = tasks_max(&props)?;
        let class = props.get("connector.class").map_or("", String::as_str);
        let task_class = match registry.connector(class)? {
            ConnectorPlugin::Source(source) => source.task_class(),
            ConnectorPlugin::Sink(sink) => sink.task_class(),
        };
        let configs = worker.task_configs(connector, epoch, max).await?;
        if let Some(error) = too_many(connector, configs.len(), max) {
            if props.get("tasks.max.enforce").is_none_or(|enforce| !enforce.trim().eq_ignore_ascii_case("false")) {
                return Ok(Generated::TooMany(error));
            }
            tracing::warn!(%connector, "{error}");
        }
        let whole =
            |task: Props| Arc::new(ConfigResolver::hide(raw, &resolved.config, complete(task, &task_class, &props)));
        let configs = configs.into_iter().map(whole).collect();
        Ok(Generated::Configs {
            configs,
            holds_for: resolved.reloads(raw)?.values().min().map(|ttl| SHORTEST_TTL.max(*ttl)),
        })
    };
    asked.await.unwrap_or_else(|error: ConnectError| {
        tracing::error!(%connector, "could not generate task configs, will ask again: {}", error.trace());
        Generated::Failed(error)
    })
}

/// `tasks.max`: validation has seen that it is a number.
fn tasks_max(props: &Props) -> Result<usize, ConnectError> {
    let text = props.get("tasks.max").map_or("1", |text| text.trim());
    text.parse().map_err(|_| {
        ConnectError::config(format!("Invalid value {text} for configuration tasks.max: Not a number of type INT"))
    })
}

fn too_many(connector: &ConnectorName, tasks: usize, max: usize) -> Option<ConnectError> {
    (tasks > max).then(|| {
        ConnectError::of_class(
            "org.apache.kafka.connect.runtime.TooManyTasksException",
            format!(
                "The connector {connector} has generated {tasks} tasks, which is greater than {max}, the maximum number of \
                 tasks it is configured to create. This behaviour should be considered a bug and is disallowed. If \
                 necessary, it can be permitted by reconfiguring the connector with 'tasks.max.enforce' set to false; \
                 however, this option will be removed in a future release of Kafka Connect."
            ),
        )
    })
}

/// What the framework adds to a task's config.
fn complete(mut task: Props, task_class: &str, connector: &Props) -> Props {
    task.insert("task.class".to_owned(), task_class.to_owned());
    for key in ["topics", "topics.regex"] {
        if let Some(value) = connector.get(key) {
            task.insert(key.to_owned(), value.clone());
        }
    }
    task
}

/// A connector is not restarted more often than this, however short its secrets hold.
const SHORTEST_TTL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
