//! `kurier dev` from files to files, and the commands that look at it while it runs.
#![allow(clippy::disallowed_methods, reason = "driver: starts processes, takes ports")]

mod common;

use common::{Answer, Dir, Running, SOON, kurier, run};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;

const SOURCE: &str = "name=in\nconnector.class=FileStreamSource\ntasks.max=1\ntopic=lines\n\
                      value.converter=org.apache.kafka.connect.storage.StringConverter\n";
const SINK: &str = "name=out\nconnector.class=FileStreamSink\ntasks.max=1\ntopics=lines\nkurier.format=json\n\
                    errors.tolerance=all\nerrors.deadletterqueue.topic.name=broken\n\
                    errors.deadletterqueue.topic.replication.factor=1\n\
                    errors.deadletterqueue.context.headers.enable=true\n";

/// A source and a sink over `in.jsonl` and `out.jsonl`.
fn pipeline(dir: &Dir) -> String {
    let (from, to) = (dir.file("in.jsonl"), dir.file("out.jsonl"));
    dir.write("pipes/1-in.properties", &format!("{SOURCE}file={from}\n"));
    dir.write("pipes/2-out.properties", &format!("{SINK}file={to}\n"));
    dir.file("pipes")
}

fn until_idle(dir: &Dir) -> (Answer, Value) {
    let answer = run(&["dev", &dir.file("pipes"), "--data", &dir.file("data"), "--until-idle", "--output", "json"]);
    let summary = serde_json::from_str(&answer.stdout).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
    (answer, summary)
}

fn counts(summary: &Value, list: &str) -> Vec<(String, u64)> {
    let all = summary[list].as_array().unwrap();
    all.iter().map(|one| (one["name"].as_str().unwrap().to_owned(), one["records"].as_u64().unwrap())).collect()
}

fn named(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn records_go_through_once_and_state_is_found_again() {
    let dir = Dir::new();
    pipeline(&dir);
    let mut lines: String = (0..500).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    lines.push_str("{\"n\":\n");
    dir.write("in.jsonl", &lines);
    let (answer, summary) = until_idle(&dir);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(counts(&summary, "connectors"), named(&[("in", 501), ("out", 500)]), "{summary:#}");
    assert_eq!(counts(&summary, "topics"), named(&[("broken", 1), ("lines", 501)]), "{summary:#}");

    // A second run goes on where the first ended.
    for n in 500..510 {
        lines.push_str(&format!("{{\"n\":{n}}}\n"));
    }
    dir.write("in.jsonl", &lines);
    let (answer, summary) = until_idle(&dir);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(counts(&summary, "connectors"), named(&[("in", 10), ("out", 10)]), "{summary:#}");
    assert_eq!(counts(&summary, "topics"), named(&[("broken", 1), ("lines", 511)]), "{summary:#}");

    let out = fs::read_to_string(dir.file("out.jsonl")).unwrap();
    let numbers: Vec<u64> =
        out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..510).collect::<Vec<_>>());

    // What lies in the folder can be looked at without a broker that runs.
    let data = dir.file("data");
    let listed = run(&["topic", "list", "--data", &data, "--output", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap_or_else(|e| panic!("{e}: {listed:?}"));
    let lines = listed.as_array().unwrap().iter().find(|topic| topic["topic"] == "lines").unwrap();
    assert_eq!(lines["records"], 511);
    let broken = run(&["topic", "print", "broken", "--headers", "--data", &data]);
    assert_eq!(broken.code, 0, "{broken:?}");
    assert!(broken.stdout.starts_with("{\"n\":\n"), "{broken:?}");
    assert!(broken.stdout.contains("__connect.errors.exception.message"), "{broken:?}");
    let missing = run(&["topic", "print", "lins", "--data", &data]);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stderr.contains("did you mean `lines`"), "{missing:?}");
}

#[test]
fn failures_end_with_3_and_their_reason() {
    for (config, reason) in [
        ("name=a\nconnector.class=FileStreamSorce\ntopic=t\n", "Did you mean FileStreamSource"),
        ("name=a\nconnector.class=FileStreamSource\ntasks.max=1\nfile=x\n", "topic"),
        ("name=a\nconnector.class=FileStreamSink\ntopics=t\nfile=/no/such/folder/file\n", "/no/such/folder/file"),
    ] {
        let dir = Dir::new();
        let file = dir.write("a.properties", config);
        let answer = run(&["dev", &file, "--data", &dir.file("data"), "--until-idle"]);
        assert_eq!(answer.code, 3, "{config}: {answer:?}");
        assert!(answer.stderr.contains(reason), "{config}: {answer:?}");
    }
}

/// A `kurier dev` with the pipeline and an empty file, and the URL of its REST.
fn running(dir: &Dir) -> (Running, String) {
    dir.write("in.jsonl", "");
    let pipes = pipeline(dir);
    let mut dev = kurier(dir, "dev", &["dev", &pipes, "--data", &dir.file("data")]);
    let line = dev.wait_for_output("Connect on http://", SOON).unwrap();
    let url = line.split("Connect on ").nth(1).unwrap().split([',', ' ']).next().unwrap().to_owned();
    dev.wait_for_output("out (sink): RUNNING, 1 task", SOON).unwrap();
    (dev, url)
}

#[test]
fn taken_ports_are_replaced_and_ctrl_c_stops_cleanly() {
    // Where these are not free, somebody else has taken them, which is as good.
    let _taken = [TcpListener::bind("127.0.0.1:9092"), TcpListener::bind("127.0.0.1:8083")];
    let dir = Dir::new();
    let (mut dev, url) = running(&dir);
    assert!(!url.ends_with(":8083"), "{url}");
    dev.process().interrupt();
    let status = dev.process().wait(SOON).unwrap();
    let output = dev.process().output();
    assert!(status.success(), "{status}: {output}");
    assert!(output.contains("in read no new records"), "{output}");
    assert!(!output.contains("ERROR"), "{output}");
}

#[test]
fn connectors_are_operated_from_the_command_line() {
    let dir = Dir::new();
    let (mut dev, url) = running(&dir);
    let ask = |args: &[&str]| run(&[&["connector", "--url", &url], args].concat());
    let said = |args: &[&str], expected: &str| {
        let answer = ask(args);
        assert_eq!((answer.code, answer.stdout.as_str()), (0, expected), "{args:?}: {answer:?}");
    };
    let state = |name: &str, state: &str| {
        kurier_harness::wait_for(state, SOON, || Ok(ask(&["status", name]).stdout.contains(state))).unwrap();
    };
    let listed = ask(&["list"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    let row = |name: &str| listed.stdout.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert_eq!(row("in ").split_whitespace().collect::<Vec<_>>(), ["in", "source", "RUNNING", "1", "RUNNING"]);

    said(&["pause", "in", "out"], "in paused\nout paused\n");
    state("in", "PAUSED");
    said(&["resume", "in"], "in resumed\n");
    state("in", "RUNNING");
    said(&["stop", "out"], "out stopped\n");
    state("out", "STOPPED");
    said(&["restart", "in", "--include-tasks"], "in restarted\n");
    said(&["restart", "in", "--task", "0"], "in restarted\n");
    said(&["delete", "out"], "out deleted\n");
    let gone = ask(&["status", "out"]);
    assert_eq!((gone.code, gone.stdout.as_str()), (1, ""), "{gone:?}");
    assert!(gone.stderr.contains("out"), "{gone:?}");

    let sink = dir.file("pipes/2-out.properties");
    said(&["create", &sink], "out created\n");
    let again = ask(&["create", &sink]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("already exists"), "{again:?}");
    said(&["create", "--replace", &sink], "out configured\n");
    said(&["validate", &sink], "no errors\n");
    let wrong = dir.write("wrong.properties", &format!("{SOURCE}tasks.max=none\n").replace("topic=lines\n", ""));
    let wrong = ask(&["validate", &wrong]);
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(wrong.stdout.contains("topic: ") && wrong.stdout.contains("tasks.max: "), "{wrong:?}");
    let json = ask(&["list", "--output", "json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["in"]["status"]["name"], "in");

    let broken = dir.write(
        "b.json",
        r#"{"name":"b","config":{"connector.class":"FileStreamSink","topics":"lines","file":"/no/such/folder/file"}}"#,
    );
    said(&["create", &broken], "b created\n");
    kurier_harness::wait_for("the failed task", SOON, || Ok(ask(&["status", "b"]).code == 3)).unwrap();
    dev.process().terminate();
    assert!(dev.process().wait(SOON).unwrap().success(), "{}", dev.process().output());
}
