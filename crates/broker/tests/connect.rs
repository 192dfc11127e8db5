//! Java Connect on this broker: internal topics, groups of type `connect`, sources and sinks, also exactly once.

mod common;

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
    let folder = folder.keep();
    struct P(std::path::PathBuf);
    impl P {
        fn path(&self) -> &Path {
            &self.0
        }
    }
    let folder = P(folder);
    eprintln!("{:?}", folder.path());
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
    let mut worker =
        JavaConnect::distributed(&java, &folder.path().join("worker"), &properties(&served.address())).unwrap();
    append(&input, "four").unwrap();
    wait_for_lines(&output, &["one", "two", "three", "four"]).unwrap();
    worker.stop().unwrap();
    served.stop().unwrap();
}
