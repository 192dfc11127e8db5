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
    map.insert("version".to_owned(), json!(status.version));
    if let Some(trace) = status.trace.as_ref().filter(|trace| !trace.is_empty()) {
        map.insert("trace".to_owned(), trace.as_str().into());
    }
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

/// What `GET /connectors?expand=…` may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expansion {
    Status,
    Info,
}

/// The map of `GET /connectors?expand=…`: an entry per connector with what was asked for, in that order.
pub(crate) fn expanded(all: &[ExpandedConnector], expansions: &[Expansion]) -> Value {
    let mut map = Map::new();
    for one in all {
        let entry: Map<_, _> = expansions
            .iter()
            .map(|expansion| match expansion {
                Expansion::Status => ("status".to_owned(), one.status.as_ref().map_or(Value::Null, status)),
                Expansion::Info => ("info".to_owned(), one.info.as_ref().map_or(Value::Null, connector)),
            })
            .collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use kurier_runtime::herder::request::ConnectorType;
    use kurier_runtime::unit::State;

    fn unit_status(trace: Option<&str>) -> UnitStatus {
        let trace = trace.map(str::to_owned);
        UnitStatus { state: State::Failed, worker_id: "h:1".into(), version: None, trace }
    }

    fn connector_status() -> ConnectorStatus {
        ConnectorStatus {
            name: "c".into(),
            connector: unit_status(Some("boom")),
            tasks: vec![TaskStatus { id: 0, status: unit_status(Some("")) }],
            kind: ConnectorType::Sink,
        }
    }

    #[test]
    fn a_status_has_javas_order() {
        assert_eq!(
            status(&connector_status()).to_string(),
            r#"{"name":"c","connector":{"state":"FAILED","worker_id":"h:1","version":null,"trace":"boom"},"#.to_owned()
                + r#""tasks":[{"id":0,"state":"FAILED","worker_id":"h:1","version":null}],"type":"sink"}"#
        );
    }

    #[test]
    fn expansions_come_in_the_order_asked_for() {
        let all = [ExpandedConnector { name: "c".into(), status: Some(connector_status()), info: None }];
        assert!(
            expanded(&all, &[Expansion::Info, Expansion::Status])
                .to_string()
                .starts_with(r#"{"c":{"info":null,"status":{"#)
        );
        assert_eq!(expanded(&all, &[]).to_string(), r#"{"c":{}}"#);
    }

    #[test]
    fn an_infos_config_keeps_its_nulls() {
        let config = [("a".to_owned(), Some("b".to_owned())), ("n".to_owned(), None)].into_iter().collect();
        let tasks = vec![TaskId { connector: "c".into(), task: 0 }];
        let info = ConnectorInfo { name: "c".into(), config, tasks, kind: ConnectorType::Source };
        assert_eq!(
            connector(&info).to_string(),
            r#"{"name":"c","config":{"a":"b","n":null},"tasks":[{"connector":"c","task":0}],"type":"source"}"#
        );
    }
}
