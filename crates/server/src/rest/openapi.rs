//! `GET /openapi.json`: the interface as an OpenAPI document, made of one table.

use super::answer::Answer;
use serde_json::{Map, Value, json};

/// Path, verb, status of success, what it does, query parameters, whether there is a body.
type Operation = (&'static str, &'static str, u16, &'static str, &'static [&'static str], bool);

const OPERATIONS: &[Operation] = &[
    ("/", "get", 200, "Version of the worker and id of its Kafka cluster", &[], false),
    ("/health", "get", 200, "Whether the worker has started and answers", &[], false),
    ("/kurier/info", "get", 200, "Name and version of this program", &[], false),
    ("/openapi.json", "get", 200, "This document", &[], false),
    (
        "/connectors",
        "get",
        200,
        "Names of the connectors, or more with expand=status, expand=info or both",
        &["expand"],
        false,
    ),
    ("/connectors", "post", 201, "Create a connector", &[], true),
    ("/connectors/{connector}", "get", 200, "Config and tasks of a connector", &[], false),
    ("/connectors/{connector}", "delete", 204, "Stop and forget a connector; its offsets stay", &[], false),
    ("/connectors/{connector}/config", "get", 200, "Config of a connector", &[], false),
    ("/connectors/{connector}/config", "put", 200, "Create a connector (201) or replace its config", &[], true),
    ("/connectors/{connector}/config", "patch", 200, "Change some settings; null removes one", &[], true),
    ("/connectors/{connector}/status", "get", 200, "Status of a connector and its tasks", &[], false),
    (
        "/connectors/{connector}/restart",
        "post",
        204,
        "Restart the connector; with a parameter also tasks, answered by 202 and the plan",
        &["includeTasks", "onlyFailed"],
        false,
    ),
    ("/connectors/{connector}/pause", "put", 202, "Pause connector and tasks", &[], false),
    ("/connectors/{connector}/resume", "put", 202, "Resume connector and tasks", &[], false),
    ("/connectors/{connector}/stop", "put", 204, "Stop the connector and remove its tasks", &[], false),
    ("/connectors/{connector}/tasks", "get", 200, "Configs of the tasks", &[], false),
    ("/connectors/{connector}/tasks/{task}/status", "get", 200, "Status of a task", &[], false),
    ("/connectors/{connector}/tasks/{task}/restart", "post", 204, "Restart a task", &[], false),
    ("/connectors/{connector}/topics", "get", 200, "Topics that the connector has used", &[], false),
    ("/connectors/{connector}/topics/reset", "put", 202, "Forget those topics", &[], false),
    ("/connectors/{connector}/offsets", "get", 200, "Committed offsets", &[], false),
    ("/connectors/{connector}/offsets", "patch", 200, "Change offsets of a stopped connector", &[], true),
    ("/connectors/{connector}/offsets", "delete", 200, "Forget all offsets of a stopped connector", &[], false),
    ("/connector-plugins", "get", 200, "Plugins of the worker", &["connectorsOnly"], false),
    ("/connector-plugins/{plugin}/config", "get", 200, "Settings of a plugin", &["version"], false),
    ("/connector-plugins/{plugin}/config/validate", "put", 200, "Check a config without using it", &[], true),
    ("/admin/loggers", "get", 200, "Loggers and their levels", &[], false),
    ("/admin/loggers/{logger}", "get", 200, "Level of a logger", &[], false),
    ("/admin/loggers/{logger}", "put", 200, "Set the level of a logger and of those below it", &["scope"], true),
];

/// The document.
pub(crate) fn document() -> Answer {
    let mut paths = Map::new();
    for (path, verb, status, summary, query, body) in OPERATIONS {
        let parameter = |name: &str, place: &str| json!({ "name": name, "in": place, "required": place == "path", "schema": { "type": "string" } });
        let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameters: Value = in_path
            .map(|name| parameter(name, "path"))
            .chain(query.iter().map(|name| parameter(name, "query")))
            .collect();
        let mut success = json!({ "description": "Done" });
        if *status == 200 || *status == 201 {
            success["content"] = json!({ "application/json": {} });
        }
        let mut operation = json!({
            "summary": summary,
            "parameters": parameters,
            "responses": {
                status.to_string(): success,
                "default": {
                    "description": "Why it was not done",
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
                },
            },
        });
        if *body {
            operation["requestBody"] =
                json!({ "required": true, "content": { "application/json": { "schema": { "type": "object" } } } });
        }
        let entry = paths.entry(*path).or_insert_with(|| Value::Object(Map::new()));
        entry[*verb] = operation;
    }
    let error = json!({
        "type": "object",
        "required": ["error_code", "message"],
        "properties": { "error_code": { "type": "integer" }, "message": { "type": ["string", "null"] } },
    });
    Answer::json(
        200,
        json!({
            "openapi": "3.1.0",
            "info": { "title": "Kafka Connect REST API of Kurier", "version": env!("CARGO_PKG_VERSION") },
            "paths": paths,
            "components": { "schemas": { "Error": error } },
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::{path, route};

    #[test]
    fn every_documented_operation_exists() {
        for (template, verb, ..) in OPERATIONS {
            let plain = template.replace("{task}", "0").replace(['{', '}'], "");
            let resource = route::find(&path::segments(&plain).unwrap()).expect(template);
            assert!(resource.methods().iter().any(|m| m.as_str().eq_ignore_ascii_case(verb)), "{verb} {template}");
        }
    }
}
