//! Apache Kafka Connect's recorded answers against `kurier standalone`, and what no recording holds: abuse of the port.
#![allow(clippy::disallowed_methods, reason = "driver: speaks to a worker over sockets")]

use kurier_harness::{Kurier, free_port, wait_for};
use kurier_rest_tests::http;
use kurier_rest_tests::profile::{COMMON, PROFILES};
use kurier_rest_tests::run::Runner;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a process may take to answer.
const START: Duration = Duration::from_secs(60);

/// A case that takes longer is told.
const SLOW: Duration = Duration::from_secs(2);

/// A broker and a worker of one profile.
struct Worker {
    url: String,
    admin_url: Option<String>,
    bootstrap: String,
    worker: Kurier,
    _broker: Kurier,
    dir: TempDir,
}

impl Worker {
    fn start(profile: &str, settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut broker = Kurier::start(dir.path(), "broker", &["broker", "--port", "0"]).unwrap();
        let line = broker.wait_for_output("Broker on ", START).unwrap();
        let bootstrap = line["Broker on ".len()..].split(',').next().unwrap().to_owned();
        let url = format!("http://127.0.0.1:{}", free_port());
        let admin_url = settings.contains("${ADMIN_URL}").then(|| format!("http://127.0.0.1:{}", free_port()));
        let settings = settings.replace("${ADMIN_URL}", admin_url.as_deref().unwrap_or(""));
        let offsets = dir.path().join("offsets").display().to_string();
        let lines = format!(
            "{COMMON}{settings}\nbootstrap.servers={bootstrap}\nlisteners={url}\noffset.storage.file.filename={offsets}\n"
        );
        let file = dir.path().join("worker.properties");
        fs::write(&file, lines).unwrap();
        let mut worker =
            Kurier::start(dir.path(), &format!("worker-{profile}"), &["standalone", &file.display().to_string()])
                .unwrap();
        wait_for("the worker's health", START, || {
            if let Some(status) = worker.process().ended()? {
                anyhow::bail!("the worker ended with {status}: {}", worker.process().output());
            }
            Ok(http::send("GET", &url, "/health", &[], None).is_ok_and(|answer| answer.status == 200))
        })
        .unwrap();
        Self { url, admin_url, bootstrap, worker, _broker: broker, dir }
    }
}

/// Cases that cannot pass yet, with the reason.
fn missing() -> BTreeMap<&'static str, &'static str> {
    let lines = include_str!("../missing.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(": ").expect("id: reason")).collect()
}

fn cases(profile: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "json"));
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let mut theme: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let Value::Array(cases) = theme["cases"].take() else { panic!("{} has cases", file.display()) };
        all.extend(cases.into_iter().filter(|case| case["profile"].as_str().unwrap_or("default") == profile));
    }
    all
}

/// Runs the cases of one profile; `KURIER_REST_ONLY` selects those whose id begins with it.
fn run(profile: &str) {
    let settings = PROFILES.iter().find(|(name, _)| *name == profile).expect("a known profile").1;
    let worker = Worker::start(profile, settings);
    let tmp = worker.dir.path().join("files");
    fs::create_dir(&tmp).unwrap();
    let mut runner = Runner::new(&worker.url, worker.admin_url.as_deref(), &worker.bootstrap, &tmp).unwrap();
    let only = std::env::var("KURIER_REST_ONLY").unwrap_or_default();
    let missing = missing();
    let (mut passed, mut report) = (0, String::new());
    for case in cases(profile).iter().filter(|case| case["id"].as_str().unwrap().starts_with(&only)) {
        let id = case["id"].as_str().unwrap();
        let start = Instant::now();
        let bad = runner.case(case).unwrap_or_else(|error| vec![format!("no answer: {error:#}")]);
        if start.elapsed() > SLOW {
            println!("{id} took {:?}", start.elapsed());
        }
        match (bad.is_empty(), missing.get(id)) {
            (true, None) => passed += 1,
            (true, Some(_)) => report.push_str(&format!("{id} passes: take it out of missing.txt\n")),
            (false, Some(_)) => {}
            (false, None) => report.push_str(&format!("{id}\n    {}\n", bad.join("\n    "))),
        }
    }
    drop(worker);
    assert!(report.is_empty(), "{passed} passed, but:\n{report}");
}

#[test]
fn standalone_answers_like_apache_kafka_connect() {
    run("default");
}

#[test]
fn client_override_policies_are_kept() {
    run("policy-none");
    run("policy-principal");
}

#[test]
fn topics_may_be_protected_from_resets() {
    run("topic-reset-off");
}

#[test]
fn loggers_may_be_elsewhere_or_nowhere() {
    run("admin-off");
    run("admin-separate");
}

#[test]
fn settings_add_headers() {
    run("cors");
    run("response-headers");
}

/// Sends bytes and reads until the other side closes, which it has to do in time.
fn send_raw(url: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(START)).unwrap();
    // The other side may close in the middle of what is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    // A reset is a close too.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn garbage_closes_only_its_own_connection() {
    let mut worker = Worker::start("garbage", "");
    let mut kept = TcpStream::connect(worker.url.strip_prefix("http://").unwrap()).unwrap();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000));
    let deep = "[".repeat(1_000_000);
    let deep = format!(
        "POST /connectors HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{deep}",
        deep.len()
    );
    let large =
        "POST /connectors HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n";
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /connectors/\xff\xfe HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        long.as_bytes(),
        deep.as_bytes(),
        large.as_bytes(),
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        let answer = send_raw(&worker.url, bytes);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.starts_with("HTTP/1.1 2"), "{shown:?}: {answer}");
    }
    kept.write_all(b"GET /connectors HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    kept.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(worker.worker.process().ended().unwrap().is_none());
}
