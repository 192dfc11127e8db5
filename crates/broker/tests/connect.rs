//! Java Connect on this broker: internal topics, groups of type `connect`, sources and sinks, also exactly once.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use common::Served;
use kurier_harness::{JavaConnect, rest, skip_without_java, wait_for};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);

fn properties(address: &str) -> String {
    format!(
        "bootstrap.servers={address}\ngroup.id=workers\nkey.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.storage.StringConverter\noffset.storage.topic=offsets\nconfig.storage.topic=configs\n\
         status.storage.topic=statuses\noffset.storage.replication.factor=1\nconfig.storage.replication.factor=1\n\
         status.storage.replication.factor=1\noffset.flush.interval.ms=1000\nexactly.once.source.support=enabled\nscheduled.rebalance.max.delay.ms=0\n"
    )
}

fn put(worker: &JavaConnect, name: &str, config: &serde_json::Value) -> Result<()> {
    let (status, body) = rest("PUT", &format!("{}/connectors/{name}/config", worker.url()), Some(config))?;
    ensure!((200..300).contains(&status), "{name}: {status} {body}");
    Ok(())
}

/// Adds a line as a program that logs would.
fn append(file: &Path, line: &str) -> Result<()> {
    Ok(writeln!(fs::OpenOptions::new().append(true).open(file)?, "{line}")?)
}

fn wait_for_lines(file: &Path, lines: &[&str]) -> Result<()> {
    let what = format!("{lines:?} in {}", file.display());
    wait_for(&what, PATIENCE, || Ok(fs::read_to_string(file).is_ok_and(|text| text.lines().eq(lines.iter().copied()))))
}

#[test]
fn distributed_java_connect_moves_lines_and_goes_on_after_restarts_of_both() {
    let name = "distributed_java_connect_moves_lines_and_goes_on_after_restarts_of_both";
    let Some(java) = skip_without_java(name) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.txt"), folder.path().join("out.txt"));
    fs::write(&input, "one\ntwo\n").unwrap();
    let served = Served::start(&folder.path().join("data")).unwrap();
    let port = served.port();
    let mut worker =
        JavaConnect::distributed(&java, &folder.path().join("worker"), &properties(&served.address())).unwrap();
    let source = json!({
        "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
        "file": input, "topic": "lines", "tasks.max": "1",
    });
    let sink = json!({
        "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
        "file": output, "topics": "lines", "tasks.max": "1", "consumer.override.auto.offset.reset": "earliest",
    });
    put(&worker, "source", &source).unwrap();
    put(&worker, "sink", &sink).unwrap();
    wait_for_lines(&output, &["one", "two"]).unwrap();

    // The broker is restarted under a running worker.
    served.stop().unwrap();
    let served = Served::start_at(&folder.path().join("data"), port).unwrap();
    append(&input, "three").unwrap();
    wait_for_lines(&output, &["one", "two", "three"]).unwrap();

    // The worker is restarted and knows connectors and offsets.
    worker.stop().unwrap();
    let worker =
        JavaConnect::distributed(&java, &folder.path().join("worker"), &properties(&served.address())).unwrap();
    append(&input, "four").unwrap();
    wait_for_lines(&output, &["one", "two", "three", "four"]).unwrap();
    // Killed: a stop can hang where Jetty's shutdown hook and that of Connect meet, and how Java ends is not what is asked here.
    drop(worker);
    served.stop().unwrap();
}

/// The workers on which tasks run, when all of them do.
fn workers_of_tasks(url: &str, names: &[&str]) -> Result<BTreeSet<String>> {
    let mut workers = BTreeSet::new();
    for name in names {
        let (_, status) = rest("GET", &format!("{url}/connectors/{name}/status"), None)?;
        let tasks = status["tasks"].as_array().cloned().unwrap_or_default();
        ensure!(!tasks.is_empty() && tasks.iter().all(|task| task["state"] == "RUNNING"), "{status}");
        workers.extend(tasks.iter().filter_map(|task| task["worker_id"].as_str()).map(str::to_owned));
    }
    Ok(workers)
}

#[test]
fn two_java_workers_share_tasks_and_one_takes_over_from_the_other() {
    let name = "two_java_workers_share_tasks_and_one_takes_over_from_the_other";
    let Some(java) = skip_without_java(name) else { return };
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("data")).unwrap();
    let first = JavaConnect::distributed(&java, &folder.path().join("first"), &properties(&served.address())).unwrap();
    let names = ["one", "two", "three"];
    for name in names {
        let input = folder.path().join(name);
        fs::write(&input, "line\n").unwrap();
        let source = json!({
            "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
            "file": input, "topic": "lines", "tasks.max": "1",
        });
        put(&first, name, &source).unwrap();
    }
    let running_on = |count: usize| {
        let what = format!("tasks on {count} workers");
        wait_for(&what, PATIENCE, || {
            Ok(workers_of_tasks(&first.url(), &names).is_ok_and(|workers| workers.len() == count))
        })
    };
    running_on(1).unwrap();
    let mut second =
        JavaConnect::distributed(&java, &folder.path().join("second"), &properties(&served.address())).unwrap();
    running_on(2).unwrap();
    second.process().kill().unwrap();
    running_on(1).unwrap();
    drop(first);
    served.stop().unwrap();
}

#[test]
fn standalone_java_connect_runs_on_the_broker() {
    let Some(java) = skip_without_java("standalone_java_connect_runs_on_the_broker") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("in.txt"), "uno\ndue\n").unwrap();
    let served = Served::start(&path("data")).unwrap();
    let connector = |class: &str, file: &str, topic: &str| {
        let class = format!("org.apache.kafka.connect.file.{class}");
        format!("name={class}\nconnector.class={class}\ntasks.max=1\nfile={}\n{topic}=righe\n", path(file).display())
    };
    fs::write(path("source.properties"), connector("FileStreamSourceConnector", "in.txt", "topic")).unwrap();
    fs::write(path("sink.properties"), connector("FileStreamSinkConnector", "out.txt", "topics")).unwrap();
    let properties = format!(
        "bootstrap.servers={}\nkey.converter=org.apache.kafka.connect.json.JsonConverter\n\
         value.converter=org.apache.kafka.connect.json.JsonConverter\noffset.storage.file.filename={}\n",
        served.address(),
        path("offsets").display()
    );
    let connectors = [path("source.properties"), path("sink.properties")];
    let connectors: Vec<&Path> = connectors.iter().map(|path| path.as_path()).collect();
    let mut worker = JavaConnect::standalone(&java, &path("worker"), &properties, &connectors).unwrap();
    wait_for_lines(&path("out.txt"), &["uno", "due"]).unwrap();
    worker.stop().unwrap();
    served.stop().unwrap();
}
