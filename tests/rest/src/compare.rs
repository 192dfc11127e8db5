//! Makes answers comparable: what differs from run to run becomes a variable, what Java lists in hash order is sorted.

use serde_json::{Map, Value, json};

/// Prefixes of keys that Java lists in hash order within the answer of a validation.
const HASHED: [&str; 6] = [
    "producer.override.",
    "consumer.override.",
    "admin.override.",
    "header.converter.",
    "key.converter.",
    "value.converter.",
];

/// The value at a pointer; `/` alone means the whole.
pub fn pointer<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    value.pointer(if pointer == "/" { "" } else { pointer })
}

/// Sorts the keys of one client or converter prefix within `configs`, and `groups`.
pub fn canonical(body: &mut Value) {
    let Some(configs) = body.get_mut("configs").and_then(Value::as_array_mut) else { return };
    let mut start = 0;
    while start < configs.len() {
        let first = prefix(&configs[start]);
        let len = match first {
            None => 1,
            Some(_) => configs[start..].iter().take_while(|c| prefix(c) == first).count(),
        };
        configs[start..start + len].sort_by_key(config_name);
        start += len;
    }
    if let Some(groups) = body.get_mut("groups").and_then(Value::as_array_mut) {
        groups.sort_by_key(Value::to_string);
    }
}

fn config_name(config: &Value) -> String {
    let name = config.as_str().or_else(|| {
        let entry = config.get("definition").filter(|d| !d.is_null()).or_else(|| config.get("value"))?;
        entry.get("name")?.as_str()
    });
    name.unwrap_or_default().to_owned()
}

fn prefix(config: &Value) -> Option<&'static str> {
    let name = config_name(config);
    HASHED.into_iter().find(|p| name.starts_with(p) && !name.ends_with(".plugin.version"))
}

/// The part of a body that a step looks at.
pub fn view(view: &str, body: Value) -> Value {
    match view {
        "errors" | "names" if body.get("configs").is_some() => validation(&body, view == "names"),
        "keys" => match body {
            Value::Object(map) => {
                let mut keys: Vec<_> = map.keys().cloned().collect();
                keys.sort();
                json!(keys)
            }
            other => other,
        },
        path if path.starts_with('/') => pointer(&body, path).cloned().unwrap_or(Value::Null),
        _ => body,
    }
}

fn validation(body: &Value, names: bool) -> Value {
    let configs = body["configs"].as_array().map_or(&[][..], Vec::as_slice);
    let mut errors = Map::new();
    for value in configs.iter().map(|c| &c["value"]) {
        if value["errors"].as_array().is_some_and(|e| !e.is_empty()) {
            let name = value["name"].as_str().unwrap_or_default();
            errors.insert(name.to_owned(), json!({ "value": value["value"], "errors": value["errors"] }));
        }
    }
    let mut out = json!({ "name": body["name"], "error_count": body["error_count"], "errors": errors });
    if names {
        out["groups"] = body["groups"].clone();
        out["configs"] = configs.iter().map(config_name).collect();
    }
    out
}

/// Differences as `pointer: wanted …, got …`.
pub fn differences(want: &Value, got: &Value, at: &str, out: &mut Vec<String>) {
    let here = if at.is_empty() { "/" } else { at };
    if let Value::Object(map) = want
        && map.len() == 1
    {
        if map.contains_key("$any") {
            return;
        }
        if let Some(parts) = map.get("$contains").and_then(Value::as_array) {
            let text = got.get("$text").unwrap_or(got).as_str();
            if !text.is_some_and(|text| parts.iter().filter_map(Value::as_str).all(|part| text.contains(part))) {
                out.push(format!("{here}: wanted a text with {}, got {got}", json!(parts)));
            }
            return;
        }
    }
    match (want, got) {
        (Value::Object(w), Value::Object(g)) => {
            for (key, want) in w {
                let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                match g.get(key) {
                    Some(got) => differences(want, got, &at, out),
                    None => out.push(format!("{at}: wanted {want}, got nothing")),
                }
            }
            for (key, got) in g.iter().filter(|(key, _)| !w.contains_key(*key)) {
                out.push(format!("{at}/{key}: wanted nothing, got {got}"));
            }
        }
        (Value::Array(w), Value::Array(g)) => {
            if w.len() != g.len() {
                out.push(format!("{here}: wanted {} elements, got {}", w.len(), g.len()));
            }
            for (i, (want, got)) in w.iter().zip(g).enumerate() {
                differences(want, got, &format!("{at}/{i}"), out);
            }
        }
        _ if want == got => {}
        _ => out.push(format!("{here}: wanted {want}, got {got}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_with_their_place() {
        let mut out = Vec::new();
        let want = json!({"a": {"$any": true}, "b": {"$contains": ["x", "y"]}, "c": [1, 2], "d": null});
        differences(&want, &json!({"a": 5, "b": "y x", "c": [1, 2], "d": null}), "", &mut out);
        assert!(out.is_empty(), "{out:?}");
        differences(&want, &json!({"a": 5, "b": "y", "c": [1, 3], "e": 1}), "", &mut out);
        assert_eq!(out.len(), 4, "{out:?}");
        assert!(out[1].starts_with("/c/1: wanted 2, got 3"), "{out:?}");
    }

    #[test]
    fn keys_of_one_prefix_are_sorted() {
        let named = |name: &str| json!({"definition": {"name": name}});
        let mut body = json!({"groups": ["b", "a"], "configs": [named("z"), named("key.converter.b"), named("key.converter.a"), named("c")]});
        canonical(&mut body);
        let names: Vec<_> = body["configs"].as_array().unwrap().iter().map(config_name).collect();
        assert_eq!(names, ["z", "key.converter.a", "key.converter.b", "c"]);
        assert_eq!(body["groups"], json!(["a", "b"]));
    }
}
