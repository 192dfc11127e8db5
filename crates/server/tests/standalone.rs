//! A broker, a worker and the commands that operate it, each a process.

use kurier_harness::{Kurier, free_port, kurier_binary};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn kurier(args: &[&str]) -> Output {
    Command::new(kurier_binary()).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A worker's file that is complete but for what is added.
fn worker_file(dir: &Path, more: &str) -> String {
    let file = dir.join("worker.properties");
    let converter = "org.apache.kafka.connect.storage.StringConverter";
    let offsets = dir.join("offsets").display().to_string();
    let settings = format!(
        "bootstrap.servers=127.0.0.1:1\nkey.converter={converter}\nvalue.converter={converter}\n\
         offset.storage.file.filename={offsets}\nlisteners=http://127.0.0.1:0\n{more}"
    );
    fs::write(&file, settings).unwrap();
    file.display().to_string()
}

#[test]
fn a_running_worker_is_operated() {
    let dir = tempfile::tempdir().unwrap();
    let (broker_port, rest_port) = (free_port(), free_port());
    let mut broker = Kurier::start(dir.path(), "broker", &["broker", "--port", &broker_port.to_string()]).unwrap();
    broker.wait_for_output("Broker on", PATIENCE).unwrap();
    let more = format!("bootstrap.servers=127.0.0.1:{broker_port}\nlisteners=http://127.0.0.1:{rest_port}\n");
    let mut worker = Kurier::start(dir.path(), "worker", &["standalone", &worker_file(dir.path(), &more)]).unwrap();
    worker.wait_for_output("Kafka Connect started", PATIENCE).unwrap();

    let (input, output) = (dir.path().join("in.txt"), dir.path().join("out.txt"));
    fs::write(&input, "first\nsecond\n").unwrap();
    let source = dir.path().join("source.properties");
    fs::write(&source, format!("name=in\nconnector.class=FileStreamSource\nfile={}\ntopic=lines\n", input.display()))
        .unwrap();
    let sink = dir.path().join("sink.json");
    let config =
        serde_json::json!({"name": "out", "connector.class": "FileStreamSink", "file": output, "topics": "lines"});
    fs::write(&sink, config.to_string()).unwrap();

    let url = format!("http://127.0.0.1:{rest_port}");
    let connector = |args: &[&str]| kurier(&[&["connector", "--url", &url], args].concat());
    let created = connector(&["create", &source.display().to_string(), &sink.display().to_string()]);
    assert!(created.status.success(), "{}", text(&created.stderr));
    kurier_harness::wait_for("the lines", PATIENCE, || {
        Ok(fs::read_to_string(&output).unwrap_or_default() == "first\nsecond\n")
    })
    .unwrap();
    let listed = text(&connector(&["list"]).stdout);
    assert!(listed.contains("in") && listed.contains("RUNNING"), "{listed}");
    for (args, code) in [
        (&["pause", "in"][..], 0),
        (&["status", "in"], 0),
        (&["resume", "in"], 0),
        (&["restart", "in"], 0),
        (&["stop", "out"], 0),
        (&["delete", "out"], 0),
        (&["status", "out"], 1),
    ] {
        let ran = connector(args);
        assert_eq!(ran.status.code(), Some(code), "{args:?}: {}", text(&ran.stderr));
    }
    let servers = format!("127.0.0.1:{broker_port}");
    let printed = kurier(&["topic", "print", "lines", "--bootstrap-server", &servers]);
    assert_eq!(text(&printed.stdout), "first\nsecond\n", "{}", text(&printed.stderr));

    worker.process().interrupt();
    assert!(worker.process().wait(PATIENCE).unwrap().success(), "{}", worker.process().output());
    broker.process().terminate();
    assert!(broker.process().wait(PATIENCE).unwrap().success(), "{}", broker.process().output());
}
