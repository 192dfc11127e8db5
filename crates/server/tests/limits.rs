//! What happens at the limits: lines that are too long, disks that are full. Clear words, nothing lost.
#![allow(clippy::disallowed_methods, reason = "driver: starts processes")]

mod common;

use common::{Dir, Running, SOON, kurier, run};
use kurier_harness::{Guarded, free_port, rest, wait_for};
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;

const SOURCE: &str = "name=in\nconnector.class=FileStreamSource\ntasks.max=1\ntopic=lines\n\
                      value.converter=org.apache.kafka.connect.storage.StringConverter\n";
const SINK: &str = "name=out\nconnector.class=FileStreamSink\ntasks.max=1\ntopics=lines\n\
                    value.converter=org.apache.kafka.connect.storage.StringConverter\n";

#[test]
fn a_line_beyond_the_limit_stops_the_task_before_it() {
    let dir = Dir::new();
    let (from, to) = (dir.file("in.txt"), dir.file("out.txt"));
    let long = "x".repeat(5_000);
    dir.write("in.txt", &format!("one\ntwo\n{long}\nthree\n"));
    dir.write("pipes/out.properties", &format!("{SINK}file={to}\n"));
    let with_limit = |limit: u32| {
        dir.write("pipes/in.properties", &format!("{SOURCE}file={from}\nkurier.line.max.bytes={limit}\n"));
        run(&["dev", &dir.file("pipes"), "--data", &dir.file("data"), "--until-idle"])
    };
    let answer = with_limit(1_000);
    assert_eq!(answer.code, 3, "{answer:?}");
    for named in [from.as_str(), "byte 8", "`kurier.line.max.bytes` = 1000"] {
        assert!(answer.stderr.contains(named), "{named}: {answer:?}");
    }
    let answer = with_limit(10_000);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(fs::read_to_string(&to).unwrap(), format!("one\ntwo\n{long}\nthree\n"));
}

/// Starts a process that can write no file beyond so many kilobytes.
fn limited(dir: &Dir, name: &str, kilobytes: u32, args: &[&str]) -> Running {
    let script = format!("ulimit -f {}; exec \"$@\"", kilobytes * 2);
    let command = [&["sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_kurier")], args].concat();
    Running::of(Guarded::start(dir.path(), name, &command, &[]).unwrap())
}

/// A worker's file and its URL.
fn worker(dir: &Dir, bootstrap: &str) -> (String, String) {
    let url = format!("http://127.0.0.1:{}", free_port());
    let text = format!(
        "bootstrap.servers={bootstrap}\nlisteners={url}\noffset.storage.file.filename={}\noffset.flush.interval.ms=200\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.storage.StringConverter\n",
        dir.file("offsets")
    );
    (dir.write("worker.properties", &text), url)
}

fn bootstrap(broker: &mut Running) -> String {
    let line = broker.wait_for_output("Broker on ", SOON).unwrap();
    line["Broker on ".len()..].split(',').next().unwrap().to_owned()
}

/// Numbered lines, some hundred kilobytes of them.
fn lines() -> String {
    (0..5_000).map(|n| format!("{n} {}\n", "x".repeat(90))).collect()
}

/// Waits until every line has come out, in whatever repetition.
fn expect_all(to: &str, expected: &str, context: impl FnOnce() -> String) {
    let missing = || {
        let out = fs::read_to_string(to).unwrap_or_default();
        let found: BTreeSet<&str> = out.lines().collect();
        expected.lines().filter(|line| !found.contains(line)).count()
    };
    let waited = wait_for("all lines", SOON, || Ok(missing() == 0));
    assert!(waited.is_ok(), "{} lines are missing: {}", missing(), context());
}

fn stop(mut process: Running) {
    process.process().terminate();
    let status = process.process().wait(SOON).unwrap();
    assert!(status.success(), "{status}: {}", process.process().output());
}

#[test]
fn a_sink_on_a_full_disk_fails_and_goes_on_when_there_is_room() {
    let dir = Dir::new();
    let (from, to) = (dir.file("in.txt"), dir.file("out.txt"));
    let lines = lines();
    dir.write("in.txt", &lines);
    let source = dir.write("in.properties", &format!("{SOURCE}file={from}\n"));
    let sink = dir.write("out.properties", &format!("{SINK}file={to}\n"));
    let mut broker = kurier(&dir, "broker", &["broker", "--port", "0"]);
    let (file, url) = worker(&dir, &bootstrap(&mut broker));
    let mut process = limited(&dir, "limited", 200, &["standalone", &file, &source, &sink]);
    process.wait_for_output("Kafka Connect started", SOON).unwrap();
    let status = format!("{url}/connectors/out/status");
    wait_for("the failure", SOON, || Ok(rest("GET", &status, None)?.1["tasks"][0]["state"] == "FAILED")).unwrap();
    let (_, answer) = rest("GET", &status, None).unwrap();
    let trace = answer["tasks"][0]["trace"].as_str().unwrap();
    assert!(trace.contains(&to), "{trace}");
    let (_, answer) = rest("GET", &format!("{url}/connectors/in/status"), None).unwrap();
    assert_eq!(answer["tasks"][0]["state"], "RUNNING", "{answer:#}");
    stop(process);

    let mut process = kurier(&dir, "unlimited", &["standalone", &file, &source, &sink]);
    expect_all(&to, &lines, || process.process().output());
    stop(process);
}

#[test]
fn a_broker_on_a_full_disk_keeps_what_it_acknowledged() {
    let dir = Dir::new();
    let (from, to, data) = (dir.file("in.txt"), dir.file("out.txt"), dir.file("data"));
    dir.write("in.txt", "first\n");
    let source = dir.write("in.properties", &format!("{SOURCE}file={from}\n"));
    let sink = dir.write("out.properties", &format!("{SINK}file={to}\n"));
    let port = free_port().to_string();
    let on_port = ["broker", "--port", &port, "--data", &data];
    let mut broker = limited(&dir, "limited", 200, &on_port);
    let (file, _) = worker(&dir, &bootstrap(&mut broker));
    let mut process = kurier(&dir, "worker", &["standalone", &file, &source, &sink]);
    expect_all(&to, "first\n", || process.process().output());
    let lines = lines();
    OpenOptions::new().append(true).open(&from).unwrap().write_all(lines.as_bytes()).unwrap();
    broker.wait_for_output("cannot", SOON).unwrap();
    assert!(broker.process().ended().unwrap().is_none(), "a full disk ends no broker");
    broker.process().kill().unwrap();

    let broker = kurier(&dir, "unlimited", &on_port);
    expect_all(&to, &format!("first\n{lines}"), || process.process().output());
    let out = fs::read_to_string(&to).unwrap();
    assert_eq!(out.lines().count(), 5_001, "nothing is there twice");
    stop(process);
    stop(broker);
}
