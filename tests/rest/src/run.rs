//! Runs one case: sends its requests, puts variables in and takes them out.

use crate::compare::{canonical, differences, pointer, view};
use crate::http::{self, Answer};
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a `wait_for` may take.
const WAIT: Duration = Duration::from_secs(15);
/// How long an `eventually` may take.
const EVENTUALLY: Duration = Duration::from_secs(5);
/// How the difference begins when a `wait_for` was in vain.
const NOT_MET: &str = "wait_for not met";
/// How it begins when a request succeeded or failed otherwise than in the recording.
const OTHER_STATUS: &str = "/status: wanted";
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// A worker and what is known of it.
#[derive(Debug)]
pub struct Runner {
    url: String,
    variables: Vec<(&'static str, String)>,
    version: String,
    commit: String,
    cluster: String,
    cases: u32,
}

impl Runner {
    /// Asks a worker who it is.
    ///
    /// # Errors
    /// If it does not say.
    pub fn new(url: &str, admin_url: Option<&str>, bootstrap: &str, tmp: &Path) -> Result<Self> {
        let root = http::send("GET", url, "/", &[], None)?;
        let root: Value = serde_json::from_str(&root.text).context("GET / answers JSON")?;
        let text = |key: &str| root[key].as_str().unwrap_or_default().to_owned();
        let mut variables = vec![
            ("TMP", tmp.display().to_string()),
            ("RUN", String::new()),
            ("URL", url.to_owned()),
            ("BOOTSTRAP", bootstrap.to_owned()),
            ("VERSION", text("version")),
        ];
        if let Some(admin) = admin_url {
            variables.insert(0, ("ADMIN_URL", admin.to_owned()));
        }
        let (version, commit, cluster) = (text("version"), text("commit"), text("kafka_cluster_id"));
        Ok(Self { url: url.to_owned(), variables, version, commit, cluster, cases: 0 })
    }

    /// Runs a case; answers its differences.
    ///
    /// # Errors
    /// If the worker does not answer or a file cannot be written.
    pub fn case(&mut self, case: &Value) -> Result<Vec<String>> {
        self.clean()?;
        self.cases += 1;
        let run = format!("r{:06x}", (u64::from(self.cases) * 2_654_435_761) & 0xff_ffff);
        self.variables.iter_mut().filter(|(name, _)| *name == "RUN").for_each(|(_, value)| value.clone_from(&run));
        let mut bad = Vec::new();
        for (i, step) in case["steps"].as_array().context("a case has steps")?.iter().enumerate() {
            if let Some(file) = step.get("file") {
                write_file(&self.substitute(file))?;
                continue;
            }
            let place = format!("step {} {} {}", i + 1, step["method"].as_str().unwrap_or(""), step["path"]);
            let end = Instant::now() + EVENTUALLY;
            loop {
                let mut found = self.step(step)?;
                if found.is_empty() {
                    break;
                }
                if !step["eventually"].as_bool().unwrap_or(false) || Instant::now() > end {
                    found.iter_mut().for_each(|text| *text = format!("{place}: {text}"));
                    let vain = found.iter().any(|text| text.contains(NOT_MET) || text.contains(OTHER_STATUS));
                    bad.append(&mut found);
                    if vain {
                        // Whatever follows rests on what has not come, and would be waited for.
                        return Ok(bad);
                    }
                    break;
                }
                std::thread::sleep(PAUSE);
            }
        }
        Ok(bad)
    }

    /// Deletes every connector and waits until none has a status.
    ///
    /// # Errors
    /// If the worker does not answer.
    pub fn clean(&self) -> Result<()> {
        let end = Instant::now() + WAIT;
        loop {
            let list = http::send("GET", &self.url, "/connectors", &[], None)?;
            let names: Vec<String> = serde_json::from_str(&list.text).unwrap_or_default();
            if names.is_empty() || Instant::now() > end {
                return Ok(());
            }
            for name in &names {
                let encoded: String = name.bytes().map(encode).collect();
                http::send("DELETE", &self.url, &format!("/connectors/{encoded}"), &[], None)?;
            }
            // Names that cannot be said in a path stay for good, in Java as here.
            if names.iter().all(|name| name.contains(['/', '\\', '%']) || name.chars().any(char::is_control)) {
                return Ok(());
            }
        }
    }

    fn step(&self, step: &Value) -> Result<Vec<String>> {
        let mut headers = vec![("Accept".to_owned(), "application/json".to_owned())];
        let body = match (step.get("body"), step.get("raw")) {
            (Some(body), _) => Some(self.substitute(body).to_string()),
            (None, Some(raw)) => Some(self.substitute_text(raw.as_str().context("raw is a text")?)),
            (None, None) => None,
        };
        if body.is_some() {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        for (name, value) in step["headers"].as_object().unwrap_or(&Map::new()) {
            headers.retain(|(n, _)| n != name);
            if let Some(value) = value.as_str() {
                headers.push((name.clone(), self.substitute_text(value)));
            }
        }
        let text = |key: &str| step[key].as_str().map(|t| self.substitute_text(t));
        let method = text("method").context("a step has a method")?;
        let path = text("path").context("a step has a path")?;
        let base = text("base").unwrap_or_else(|| self.url.clone());
        let conditions = match step.get("wait_for").map(|c| self.substitute(c)) {
            None => Vec::new(),
            Some(Value::Array(all)) => all,
            Some(one) => vec![one],
        };
        let end = Instant::now() + WAIT;
        loop {
            let answer = http::send(&method, &base, &path, &headers, body.as_deref().map(str::as_bytes))?;
            let parsed = serde_json::from_str(&answer.text).unwrap_or(Value::Null);
            let met = conditions.iter().all(|c| holds(c, answer.status, &parsed));
            if met || Instant::now() > end {
                let mut bad = Vec::new();
                if !met {
                    bad.push(format!("{NOT_MET}, last answer {} {}", answer.status, answer.text));
                }
                self.compare(step, &answer, &mut bad);
                return Ok(bad);
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn compare(&self, step: &Value, answer: &Answer, bad: &mut Vec<String>) {
        let mut body = match serde_json::from_str(&answer.text) {
            _ if answer.text.is_empty() => Value::Null,
            Ok(body) => self.normal(body, ""),
            Err(_) => json!({ "$text": self.normal_text(&answer.text) }),
        };
        canonical(&mut body);
        if let Some(what) = step["view"].as_str() {
            body = view(what, body);
        }
        let texts = |key: &str| step[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        for path in texts("unordered") {
            if let Some(Value::Array(list)) = body.pointer_mut(path) {
                list.sort_by_key(Value::to_string);
            }
        }
        let mut want = step["expect"].clone();
        for path in texts("unordered") {
            if let Some(Value::Array(list)) = want["body"].pointer_mut(path) {
                list.sort_by_key(Value::to_string);
            }
        }
        for path in texts("ignore") {
            if let Some(value) = body.pointer_mut(path) {
                *value = json!({ "$any": true });
            }
        }
        if want["status"] != json!(answer.status) {
            bad.push(format!("{OTHER_STATUS} {}, got {}", want["status"], answer.status));
        }
        for (name, value) in want["headers"].as_object().unwrap_or(&Map::new()) {
            differences(value, &self.header(name, answer), &format!("/headers/{name}"), bad);
        }
        differences(&want["body"], &body, "/body", bad);
    }

    fn header(&self, name: &str, answer: &Answer) -> Value {
        let Some(value) = answer.headers.get(name) else { return Value::Null };
        match name {
            "content-type" => json!(value.split(';').next().unwrap_or(value).trim()),
            "allow" => {
                let mut methods: Vec<_> = value.split(',').map(str::trim).collect();
                methods.sort_unstable();
                json!(methods)
            }
            "location" => json!(self.normal_text(value)),
            _ => json!(value),
        }
    }

    fn substitute_text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.variables {
            text = text.replace(&format!("${{{name}}}"), value);
        }
        text
    }

    fn substitute(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => json!(self.substitute_text(text)),
            Value::Array(list) => list.iter().map(|v| self.substitute(v)).collect(),
            Value::Object(map) => {
                map.iter().map(|(k, v)| (self.substitute_text(k), self.substitute(v))).collect::<Map<_, _>>().into()
            }
            other => other.clone(),
        }
    }

    /// Puts variables for what they stand for.
    fn normal_text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in self.variables.iter().filter(|(name, value)| *name != "VERSION" && !value.is_empty()) {
            text = text.replace(value.as_str(), &format!("${{{name}}}"));
        }
        let host = self.url.strip_prefix("http://").unwrap_or(&self.url);
        text = text.replace(host, "${HOST}");
        if !self.cluster.is_empty() {
            text = text.replace(&self.cluster, "${CLUSTER_ID}");
        }
        replace_word(&text, &self.version, "${VERSION}")
    }

    fn normal(&self, value: Value, key: &str) -> Value {
        match value {
            Value::Object(map) => {
                map.into_iter().map(|(k, v)| (self.normal_text(&k), self.normal(v, &k))).collect::<Map<_, _>>().into()
            }
            Value::Array(list) => list.into_iter().map(|v| self.normal(v, "")).collect(),
            Value::Number(_) if key == "last_modified" => json!("${MILLIS}"),
            Value::String(text) => json!(match key {
                "worker_id" if is_worker_id(&text) => "${WORKER_ID}".to_owned(),
                "commit" if text == self.commit => "${COMMIT}".to_owned(),
                "documentation" if !text.is_empty() => "${DOC}".to_owned(),
                "trace" => self.normal_text(text.lines().next().unwrap_or("")),
                _ => self.normal_text(&text),
            }),
            other => other,
        }
    }
}

/// Escapes all but letters, digits and a few signs; `%2E%2E` would be refused where `..` is a name.
fn encode(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

fn is_worker_id(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Replaces a text where it is not part of a longer word or number.
fn replace_word(text: &str, word: &str, with: &str) -> String {
    if word.is_empty() {
        return text.to_owned();
    }
    let part_of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let before = rest[..at].chars().next_back().or_else(|| out.chars().next_back());
        let after = rest[at + word.len()..].chars().next();
        out.push_str(&rest[..at]);
        let inside = before.is_some_and(part_of_word) || after.is_some_and(part_of_word);
        out.push_str(if inside { word } else { with });
        rest = &rest[at + word.len()..];
    }
    out + rest
}

fn holds(condition: &Value, status: u16, body: &Value) -> bool {
    if condition.get("status").is_some_and(|want| *want != json!(status)) {
        return false;
    }
    let Some(path) = condition["pointer"].as_str() else { return true };
    let found = pointer(body, path);
    if let Some(want) = condition.get("equals") {
        return found == Some(want);
    }
    if let Some(want) = condition["length"].as_u64() {
        let len = match found {
            Some(Value::Array(list)) => list.len(),
            Some(Value::Object(map)) => map.len(),
            _ => return false,
        };
        return u64::try_from(len) == Ok(want);
    }
    found.is_some_and(|v| !v.is_null())
}

fn write_file(file: &Value) -> Result<()> {
    let path = Path::new(file["path"].as_str().context("a file has a path")?);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let append = file["append"].as_bool().unwrap_or(false);
    let mut out = OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(path)?;
    out.write_all(file["text"].as_str().context("a file has a text")?.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_replaced_as_words() {
        assert_eq!(replace_word("4.3.1, 14.3.1 4.3.1x [4.3.1]", "4.3.1", "V"), "V, 14.3.1 4.3.1x [V]");
    }

    #[test]
    fn conditions_hold() {
        let body = json!({"a": [1, 2], "b": "x"});
        assert!(holds(&json!({"pointer": "/a", "length": 2}), 200, &body));
        assert!(holds(&json!({"status": 200, "pointer": "/b", "equals": "x"}), 200, &body));
        assert!(!holds(&json!({"status": 404}), 200, &body));
        assert!(!holds(&json!({"pointer": "/c", "equals": null}), 200, &body));
    }
}
