//! Clients of others tell what they see of a broker; of ours they see what they see of Apache Kafka.
//!
//! Three families: franz-go (`tests/go/franz`, needs Go), librdkafka by its command line tool kcat, and librdkafka by its binding for Rust (feature
//! `librdkafka` of this crate). Java's tools are in `crates/broker/tests/console.rs`, single requests in `crates/broker/tests/conformance`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use kurier_broker::{Broker, BrokerConfig};
use kurier_harness::{ApacheKafka, BrokerOptions, say_skipped, skip_without_java, workspace_root};

/// Tells a story on both brokers and compares what was told.
fn compare(test: &str, tell: impl Fn(&str) -> Result<String>) {
    let Some(java) = skip_without_java(test) else { return };
    let apache = ApacheKafka::start_with(&java, BrokerOptions { heap_mb: 256, ..BrokerOptions::default() }).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let broker = runtime.block_on(Broker::start(BrokerConfig::default())).unwrap();
    let (ours, theirs) = (broker.address(), apache.address());
    // Only addresses may differ.
    let told = |address: &str| tell(address).unwrap().replace(address, "the broker");
    let (mine, other) = (told(ours), told(&theirs));
    runtime.block_on(broker.stop()).unwrap();
    let differing: Vec<String> = diff(&other, &mine);
    assert!(differing.is_empty(), "`-` is what was seen of Apache Kafka, `+` of our broker:\n{}", differing.join("\n"));
}

fn diff(theirs: &str, ours: &str) -> Vec<String> {
    let (left, right): (Vec<&str>, Vec<&str>) = (theirs.lines().collect(), ours.lines().collect());
    let mut lines = Vec::new();
    for at in 0..left.len().max(right.len()) {
        let pair = (left.get(at), right.get(at));
        if pair.0 != pair.1 {
            lines.extend(pair.0.map(|line| format!("- {line}")));
            lines.extend(pair.1.map(|line| format!("+ {line}")));
        }
    }
    lines
}

fn output(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    child.stdin.take().context("stdin is piped")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?}: {}\n{text}\n{errors}", output.status);
    Ok(text.into_owned())
}

#[test]
fn franz_go_sees_what_it_sees_of_apache_kafka() {
    let test = "franz_go_sees_what_it_sees_of_apache_kafka";
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("franz");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(".").current_dir(workspace_root().join("tests/go/franz"));
    if let Err(error) = output(&mut build, "") {
        return say_skipped(
            test,
            &format!("franz-go cannot be built; install Go and let it fetch modules to run it: {error:#}"),
        );
    }
    compare(test, |address| output(Command::new(&program).arg(address), ""));
}

#[test]
fn kcat_sees_what_it_sees_of_apache_kafka() {
    let test = "kcat_sees_what_it_sees_of_apache_kafka";
    if Command::new("kcat").arg("-V").output().is_err() {
        return say_skipped(test, "kcat not found; install it (Debian's package kcat) to run it");
    }
    compare(test, |address| {
        let kcat =
            |args: &[&str], input: &str| output(Command::new("kcat").args(["-b", address, "-q"]).args(args), input);
        let mut told = String::new();
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let lines: String = (0..20).map(|n| format!("key {n}:{codec} {}\n", "value ".repeat(n))).collect();
            let args = ["-P", "-t", "words", "-z", codec, "-K", ":", "-H", "codec=1", "-H", "codec=2", "-p", "0"];
            told += &kcat(&args, &lines)?;
        }
        let format = "%t %p@%o %k=%s %K %S %h\n";
        told += &kcat(&["-C", "-t", "words", "-o", "beginning", "-e", "-f", format], "")?;
        told += &kcat(&["-C", "-t", "words", "-p", "0", "-o", "-3", "-e", "-f", format], "")?;
        told += &kcat(&["-Q", "-t", "words:0:-1", "-t", "words:0:-2", "-t", "words:0:1000"], "")?;
        told += &kcat(&["-G", "readers", "-X", "auto.offset.reset=earliest", "-e", "-f", format, "words"], "")?;
        told += &kcat(&["-G", "readers", "-e", "-f", format, "words"], "")?;
        // Which of its connections it asked is chance.
        let metadata = kcat(&["-L", "-t", "words"], "")?;
        told.extend(metadata.lines().filter(|line| !line.starts_with("Metadata for")).flat_map(|line| [line, "\n"]));
        Ok(told)
    });
}

#[cfg(feature = "librdkafka")]
#[test]
fn librdkafka_sees_what_it_sees_of_apache_kafka() {
    compare("librdkafka_sees_what_it_sees_of_apache_kafka", |address| {
        output(Command::new(env!("CARGO_BIN_EXE_kurier-clients")).args(["librdkafka", "story", address]), "")
    });
}
