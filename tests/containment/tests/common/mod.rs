//! A broker of ours, and a worker on it: Kurier with the fixtures, or Java Connect with their twins.
#![allow(dead_code, reason = "each test file uses its share")]
#![allow(clippy::disallowed_methods, reason = "driver: starts processes, measures how long they take")]

pub(crate) mod cases;
pub(crate) mod scenario;

use kurier_harness::{Guarded, Java, JavaConnect, rest, wait_for};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long anything here may take on a busy machine; nothing waits that long for its own sake.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// `task.shutdown.graceful.timeout.ms` of the workers here.
pub(crate) const GRACE: Duration = Duration::from_millis(1_500);

const PROGRAM: &str = env!("CARGO_BIN_EXE_kurier-fixtures");

/// A broker in a folder that is gone at the end.
pub(crate) struct Bed {
    bootstrap: String,
    _broker: Guarded,
    dir: tempfile::TempDir,
}

impl Bed {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Guarded::start(dir.path(), "broker", &[PROGRAM, "broker", "--port", "0"], &[]).unwrap();
        let line = line_with(&broker, "Broker on ");
        let bootstrap = line["Broker on ".len()..].split(',').next().unwrap().to_owned();
        Self { bootstrap, _broker: broker, dir }
    }

    /// A file in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What was written to one of its files; nothing if there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    fn worker_properties(&self, name: &str) -> String {
        let offsets = self.file(name).join("offsets");
        let string = "org.apache.kafka.connect.storage.StringConverter";
        format!(
            "bootstrap.servers={}\nkey.converter={string}\nvalue.converter={string}\n\
             offset.storage.file.filename={}\noffset.flush.interval.ms=200\ntask.shutdown.graceful.timeout.ms={}\n",
            self.bootstrap,
            offsets.display(),
            GRACE.as_millis()
        )
    }

    /// Starts Kurier.
    pub(crate) fn kurier(&self) -> Worker {
        let dir = self.file("kurier");
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("worker.properties");
        fs::write(&file, self.worker_properties("kurier") + "listeners=http://127.0.0.1:0\n").unwrap();
        let command = [PROGRAM, "standalone", &file.display().to_string()];
        let process = Guarded::start(&dir, "worker", &command, &[]).unwrap();
        let line = line_with(&process, "REST on ");
        let url = line.split("REST on ").nth(1).unwrap().trim().to_owned();
        Worker { name: "kurier", url, process: Mutex::new(Process::Kurier(process)) }
    }

    /// Starts Java Connect with the twins in this folder of plugins.
    pub(crate) fn java(&self, java: &Java, plugins: &str) -> Worker {
        let dir = self.file("java");
        let properties = format!("{}plugin.path={plugins}\n", self.worker_properties("java"));
        let process = JavaConnect::standalone(java, &dir, &properties, &[]).unwrap();
        Worker { name: "java", url: process.url(), process: Mutex::new(Process::Java(process)) }
    }

    /// What lies in a topic, in order; nothing if there is no such topic.
    pub(crate) fn topic(&self, topic: &str) -> Vec<Value> {
        let args = ["topic", "--bootstrap-server", &self.bootstrap, "--output", "json", "print", topic];
        let output = Command::new(PROGRAM).args(args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The values of a topic's records.
    pub(crate) fn values(&self, topic: &str) -> Vec<String> {
        self.topic(topic).iter().map(|record| record["value"].as_str().unwrap().to_owned()).collect()
    }
}

fn line_with(process: &Guarded, needle: &str) -> String {
    let mut line = None;
    wait_for(needle, SOON, || {
        line = process.output().lines().find(|line| line.contains(needle)).map(str::to_owned);
        Ok(line.is_some())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", process.output()));
    line.unwrap()
}

enum Process {
    Kurier(Guarded),
    Java(JavaConnect),
}

/// A running worker.
pub(crate) struct Worker {
    pub(crate) name: &'static str,
    url: String,
    process: Mutex<Process>,
}

impl Worker {
    /// One call of REST: status and body.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        rest(method, &format!("{}{path}", self.url), body).unwrap()
    }

    /// `PUT …/config` of a connector with one task and these settings.
    pub(crate) fn put(&self, name: &str, class: &str, settings: &[(&str, &str)]) -> (u16, Value) {
        self.try_put(name, class, settings).unwrap()
    }

    /// The same where the worker may go away.
    pub(crate) fn try_put(&self, name: &str, class: &str, settings: &[(&str, &str)]) -> Option<(u16, Value)> {
        let mut config = Map::new();
        config.insert("connector.class".to_owned(), json!(format!("kurierfixtures.{class}")));
        config.insert("tasks.max".to_owned(), json!("1"));
        config.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), json!(value))));
        rest("PUT", &format!("{}/connectors/{name}/config", self.url), Some(&Value::Object(config))).ok()
    }

    /// The same where it has to work.
    pub(crate) fn create(&self, name: &str, class: &str, settings: &[(&str, &str)]) {
        let (status, body) = self.put(name, class, settings);
        assert!(status == 201 || status == 200, "{name}: {status} {body}");
    }

    /// What the status says in short: the connector's state and those of its tasks.
    pub(crate) fn states(&self, name: &str) -> String {
        let (_, body) = self.call("GET", &format!("/connectors/{name}/status"), None);
        let Some(connector) = body["connector"]["state"].as_str() else { return "none".to_owned() };
        let tasks = body["tasks"].as_array().unwrap().iter().map(|task| task["state"].as_str().unwrap());
        std::iter::once(connector).chain(tasks).collect::<Vec<_>>().join(" ")
    }

    /// Waits until the status says so.
    pub(crate) fn wait_for_states(&self, name: &str, wanted: &str) {
        let reached = wait_for(wanted, SOON, || Ok(self.states(name) == wanted));
        reached.unwrap_or_else(|error| {
            panic!("{name} on {}: {error}; {} {}", self.name, self.states(name), self.output())
        });
    }

    /// The traces that the status shows, the connector's first, without Java's stack frames.
    pub(crate) fn traces(&self, name: &str) -> Vec<String> {
        let (_, body) = self.call("GET", &format!("/connectors/{name}/status"), None);
        let tasks = body["tasks"].as_array().into_iter().flatten();
        let units = std::iter::once(&body["connector"]).chain(tasks);
        units.filter_map(|unit| unit["trace"].as_str()).map(without_frames).collect()
    }

    /// What it logged; Java's goes elsewhere.
    pub(crate) fn output(&self) -> String {
        match &*self.process.lock().unwrap() {
            Process::Kurier(process) => process.output(),
            Process::Java(_) => String::new(),
        }
    }

    /// Waits until the log has a line with this.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_for(text, SOON, || Ok(self.output().contains(text)))
            .unwrap_or_else(|error| panic!("{error}: {}", self.output()));
    }

    /// Stops it as an operator would, and tells how long that took.
    pub(crate) fn stop(&self) -> Duration {
        let begin = Instant::now();
        match &mut *self.process.lock().unwrap() {
            Process::Kurier(process) => {
                process.terminate();
                assert!(process.wait(SOON).unwrap().success(), "{}", process.output());
            }
            Process::Java(process) => process.stop().unwrap(),
        }
        begin.elapsed()
    }
}

/// A trace without what Kurier cannot have.
pub(crate) fn without_frames(trace: &str) -> String {
    let frame = |line: &str| line.starts_with("\tat ") || line.starts_with("\t... ");
    trace.lines().filter(|line| !frame(line)).collect::<Vec<_>>().join("\n")
}

/// Waits until something is so.
pub(crate) fn until(what: &str, ready: impl FnMut() -> anyhow::Result<bool>) {
    wait_for(what, SOON, ready).unwrap();
}

/// How long something takes.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begin = Instant::now();
    let result = work();
    (begin.elapsed(), result)
}
