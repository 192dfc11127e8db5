//! Java's JSON of what a herder answers: fields in Java's order.

use super::loggers::LoggerState;
use kurier_runtime::herder::request::{
    ConfigInfos, ConfigKeyInfo, ConnectorInfo, ConnectorOffset, ConnectorStatus, ExpandedConnector, PluginInfo,
    RawConfig, ServerInfo, TaskInfo, TaskStatus, UnitStatus,
};
use kurier_runtime::unit::TaskId;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The version of a plugin that does not say its version; Java's name for it, never shown.
const NO_VERSION: &str = "undefined";

pub(crate) fn server(info: &ServerInfo) -> Value {
    json!({ "version": info.version, "commit": info.commit, "kafka_cluster_id": info.kafka_cluster_id })
}

pub(crate) fn config(config: &RawConfig) -> Value {
    config.iter().map(|(key, value)| (key.clone(), json!(value))).collect::<Map<_, _>>().into()
}

fn task_id(id: &TaskId) -> Value {
    json!({ "connector": &*id.connector, "task": id.task })
}

pub(crate) fn connector(info: &ConnectorInfo) -> Value {
    json!({
        "name": &*info.name,
        "config": config(&info.config),
        "tasks": info.tasks.iter().map(task_id).collect::<Vec<_>>(),
        "type": info.kind.name(),
    })
}

pub(crate) fn tasks(tasks: &[TaskInfo]) -> Value {
    tasks.iter().map(|task| json!({ "id": task_id(&task.id), "config": config(&task.config) })).collect()
}

/// Adds the state of a unit to what identifies it. Java leaves empty traces out.
fn unit(map: &mut Map<String, Value>, status: &UnitStatus) {
    map.insert("state".to_owned(), status.state.name().into());
    map.insert("worker_id".to_owned(), (&*status.worker_id).into());
    if let Some(trace) = status.trace.as_ref().filter(|trace| !trace.is_empty()) {
        map.insert("trace".to_owned(), trace.as_str().into());
    }
    map.insert("version".to_owned(), json!(status.version));
}

pub(crate) fn task_status(task: &TaskStatus) -> Value {
    let mut map = Map::new();
    map.insert("id".to_owned(), task.id.into());
    unit(&mut map, &task.status);
    map.into()
}

pub(crate) fn status(status: &ConnectorStatus) -> Value {
    let mut connector = Map::new();
    unit(&mut connector, &status.connector);
    json!({
        "name": &*status.name,
        "connector": connector,
        "tasks": status.tasks.iter().map(task_status).collect::<Vec<_>>(),
        "type": status.kind.name(),
    })
}

/// The map of `GET /connectors?expand=…`: an entry per connector with what was asked for.
pub(crate) fn expanded(all: &[ExpandedConnector], with_status: bool, with_info: bool) -> Value {
    let mut map = Map::new();
    for one in all {
        let mut entry = Map::new();
        if with_status {
            entry.insert("status".to_owned(), one.status.as_ref().map_or(Value::Null, status));
        }
        if with_info {
            entry.insert("info".to_owned(), one.info.as_ref().map_or(Value::Null, connector));
        }
        map.insert(one.name.to_string(), entry.into());
    }
    map.into()
}

pub(crate) fn offsets(offsets: &[ConnectorOffset]) -> Value {
    let list: Value = offsets.iter().map(|o| json!({ "partition": o.partition, "offset": o.offset })).collect();
    json!({ "offsets": list })
}

pub(crate) fn topics(name: &str, topics: &[Arc<str>]) -> Value {
    let topics: Value = topics.iter().map(|topic| &**topic).collect();
    let mut map = Map::new();
    map.insert(name.to_owned(), json!({ "topics": topics }));
    map.into()
}

pub(crate) fn plugin(info: &PluginInfo) -> Value {
    let mut map = Map::new();
    map.insert("class".to_owned(), info.class.as_str().into());
    map.insert("type".to_owned(), info.kind.name().into());
    if info.version != NO_VERSION {
        map.insert("version".to_owned(), info.version.as_str().into());
    }
    map.into()
}

pub(crate) fn key(key: &ConfigKeyInfo) -> Value {
    json!({
        "name": key.name,
        "type": key.kind,
        "required": key.required,
        "default_value": key.default_value,
        "importance": key.importance,
        "documentation": key.documentation,
        "group": key.group,
        "order_in_group": key.order_in_group,
        "width": key.width,
        "display_name": key.display_name,
        "dependents": key.dependents,
    })
}

pub(crate) fn validation(infos: &ConfigInfos) -> Value {
    let configs: Value = infos
        .configs
        .iter()
        .map(|config| {
            let value = config.value.as_ref().map(|value| {
                json!({
                    "name": value.name,
                    "value": value.value,
                    "recommended_values": value.recommended_values,
                    "errors": value.errors,
                    "visible": value.visible,
                })
            });
            json!({ "definition": config.definition.as_ref().map(key), "value": value })
        })
        .collect();
    json!({ "name": infos.name, "error_count": infos.error_count, "groups": infos.groups, "configs": configs })
}

pub(crate) fn logger(state: LoggerState) -> Value {
    json!({ "level": state.level.name(), "last_modified": state.last_modified })
}
