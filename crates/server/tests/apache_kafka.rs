//! `kurier standalone` on Apache Kafka, with the settings of Apache Kafka's own Connect quickstart, taking turns with Java Connect.
#![allow(clippy::disallowed_methods, reason = "driver: starts processes")]

mod common;

use common::{Dir, Running, SOON, kurier};
use kurier_harness::{ApacheKafka, Java, JavaConnect, free_port, rest, skip_without_java, wait_for};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

/// What Kafka's `connect-standalone.properties` sets, the place of the offsets file aside.
fn worker_properties(kafka: &ApacheKafka, dir: &Dir) -> String {
    format!(
        "bootstrap.servers={}\n\
         key.converter=org.apache.kafka.connect.json.JsonConverter\n\
         value.converter=org.apache.kafka.connect.json.JsonConverter\n\
         key.converter.schemas.enable=true\n\
         value.converter.schemas.enable=true\n\
         offset.storage.file.filename={}\n\
         offset.flush.interval.ms=10000\n",
        kafka.address(),
        dir.file("connect.offsets")
    )
}

/// A worker of ours with connectors of these files, and its URL.
fn start(dir: &Dir, name: &str, properties: &str, connectors: &[&str]) -> (Running, String) {
    let url = format!("http://127.0.0.1:{}", free_port());
    let file = dir.write(&format!("{name}.properties"), &format!("{properties}listeners={url}\n"));
    let mut worker = kurier(dir, name, &[&["standalone", &file], connectors].concat());
    worker.wait_for_output("Kafka Connect started", SOON).unwrap();
    (worker, url)
}

fn stop(mut worker: Running) {
    worker.process().terminate();
    let status = worker.process().wait(SOON).unwrap();
    assert!(status.success(), "{status}: {}", worker.process().output());
}

fn append(file: &str, text: &str) {
    OpenOptions::new().append(true).create(true).open(file).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Waits until a file has so many lines; checks that they are these.
fn expect_lines(file: &str, expected: &[&str], context: impl FnOnce() -> String) {
    let lines = || fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    let waited = wait_for("the lines", SOON, || Ok(lines().len() >= expected.len()));
    let found = lines();
    assert!(waited.is_ok() && found == expected, "{found:?} instead of {expected:?}: {}", context());
}

#[test]
fn the_quickstart_of_apache_kafka_goes_on_from_worker_to_worker() {
    let Some(java) = skip_without_java("the_quickstart_of_apache_kafka_goes_on_from_worker_to_worker") else { return };
    let kafka = ApacheKafka::start(&java).unwrap();
    quickstart(&java, &kafka);
    every_compression(&kafka);
}

fn quickstart(java: &Java, kafka: &ApacheKafka) {
    let dir = Dir::new();
    let (from, to) = (dir.file("test.txt"), dir.file("test.sink.txt"));
    let source = dir.write(
        "connect-file-source.properties",
        &format!(
            "name=local-file-source\nconnector.class=FileStreamSource\ntasks.max=1\nfile={from}\ntopic=connect-test\n"
        ),
    );
    let sink = dir.write(
        "connect-file-sink.properties",
        &format!("name=local-file-sink\nconnector.class=FileStreamSink\ntasks.max=1\nfile={to}\ntopics=connect-test\n"),
    );
    let properties = worker_properties(kafka, &dir);

    append(&from, "foo\nbar\n");
    let (mut worker, url) = start(&dir, "kurier-1", &properties, &[&source, &sink]);
    expect_lines(&to, &["foo", "bar"], || worker.process().output());
    let first = r#"{"schema":{"type":"string","optional":false},"payload":"foo"}"#;
    assert_eq!(kafka.console_consume("connect-test", 2, &[]).unwrap(), [first, &first.replace("foo", "bar")]);
    append(&from, "Another");
    append(&from, " line\n");
    expect_lines(&to, &["foo", "bar", "Another line"], || worker.process().output());
    let (_, status) = rest("GET", &format!("{url}/connectors/local-file-sink/status"), None).unwrap();
    assert_eq!(status["tasks"][0]["state"], "RUNNING", "{status:#}");
    stop(worker);

    // Java Connect goes on where we ended.
    append(&from, "read by Java\n");
    let files = [Path::new(&source), Path::new(&sink)];
    let mut worker = JavaConnect::standalone(java, &dir.path().join("java"), &properties, &files).unwrap();
    expect_lines(&to, &["foo", "bar", "Another line", "read by Java"], || worker.process().output());
    worker.stop().unwrap();

    // And we where it ended.
    append(&from, "and by us\n");
    let all = ["foo", "bar", "Another line", "read by Java", "and by us"];
    let (mut worker, _) = start(&dir, "kurier-2", &properties, &[&source, &sink]);
    expect_lines(&to, &all, || worker.process().output());
    stop(worker);
    let payloads: Vec<String> = all.iter().map(|line| first.replace("foo", line)).collect();
    assert_eq!(kafka.console_consume("connect-test", all.len(), &[]).unwrap(), payloads);
    let listed = common::run(&["topic", "--bootstrap-server", &kafka.address(), "list", "--output", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let topic = listed.as_array().unwrap().iter().find(|topic| topic["topic"] == "connect-test").unwrap();
    assert_eq!(topic["records"], all.len(), "nothing was read twice");
}

/// What Java's producer writes, our sink reads, however it is compressed.
fn every_compression(kafka: &ApacheKafka) {
    let dir = Dir::new();
    let to = dir.file("out");
    let sink = dir.write(
        "sink.json",
        &serde_json::json!({
            "name": "compressed",
            "config": {
                "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
                "tasks.max": "1",
                "topics": "compressed",
                "file": to,
                "value.converter": "org.apache.kafka.connect.storage.StringConverter",
            },
        })
        .to_string(),
    );
    kafka.create_topic("compressed", 1).unwrap();
    let (mut worker, _) = start(&dir, "kurier-3", &worker_properties(kafka, &dir), &[&sink]);
    let mut expected: Vec<String> = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let lines: Vec<String> = (0..200).map(|n| format!("{codec} {n} {}", "x".repeat(100))).collect();
        kafka
            .console_produce("compressed", &format!("{}\n", lines.join("\n")), &["--compression-codec", codec])
            .unwrap();
        expected.extend(lines);
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        expect_lines(&to, &expected, || worker.process().output());
    }
    stop(worker);
}
