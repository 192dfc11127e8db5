//! The command line as a person or a script meets it: help, mistakes, exit codes, signals.
#![allow(clippy::disallowed_methods, reason = "driver: starts processes, takes ports")]

mod common;

use common::{Dir, SOON, kurier, run};
use std::fs;
use std::net::TcpListener;

#[test]
fn every_command_has_help_with_examples() {
    for command in [&[][..], &["dev"], &["standalone"], &["broker"], &["connector"], &["topic"], &["completions"]] {
        let answer = run(&[command, &["--help"]].concat());
        assert_eq!(answer.code, 0, "{command:?}");
        assert!(answer.stdout.contains("Example"), "{command:?}: {}", answer.stdout);
        assert_eq!(answer.stderr, "", "{command:?}");
    }
    assert!(run(&["--help"]).stdout.contains("Exit codes:"));
    assert_eq!(run(&["--version"]).stdout, concat!("kurier ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn completions_come_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let answer = run(&["completions", shell]);
        assert_eq!(answer.code, 0, "{shell}: {}", answer.stderr);
        assert!(answer.stdout.contains("standalone"), "{shell}");
    }
}

#[test]
fn wrong_command_lines_end_with_2_and_a_hint() {
    for (args, hint) in [
        (&["conector", "list"][..], "'connector'"),
        (&["connector", "staus", "x"], "'status'"),
        (&["standalone"], "WORKER.PROPERTIES"),
        (&["dev", "--until-idel"], "'--until-idle'"),
        (&["dev", "--duration", "20"], "a unit"),
        (&["dev", "--until-idle"], "connectors"),
        (&["broker", "--port", "99999"], "99999"),
        (&["broker", "--topic-default", "x"], "KEY=VALUE"),
        (&["connector", "--url", "kafka:9092", "list"], "http://HOST:PORT"),
    ] {
        let answer = run(args);
        assert_eq!(answer.code, 2, "{args:?}: {}", answer.stderr);
        assert!(answer.stderr.contains(hint), "{args:?}: {}", answer.stderr);
        assert_eq!(answer.stdout, "", "{args:?}");
    }
}

#[test]
fn the_page_of_commands_is_what_the_program_says() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/commands.md");
    let shown = run(&["command-docs"]).stdout;
    assert!(fs::read_to_string(page).unwrap() == shown, "docs/commands.md is old: write it anew with cargo xtask docs");
}

/// A worker's settings that are all right except for what a test adds.
fn worker(dir: &Dir, more: &str) -> String {
    let offsets = dir.path().join("offsets");
    let text = format!(
        "bootstrap.servers=127.0.0.1:1\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.storage.StringConverter\n\
         offset.storage.file.filename={}\n\
         listeners=http://127.0.0.1:0\n\
         default.api.timeout.ms=300\n\
         request.timeout.ms=300\n\
         {more}\n",
        offsets.display()
    );
    dir.write("worker.properties", &text)
}

#[test]
fn what_keeps_a_worker_from_starting_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let busy = format!("listeners=http://127.0.0.1:{port}");
    for (more, named) in [
        ("", &["127.0.0.1:1", "bootstrap.servers"][..]),
        (busy.as_str(), &[port.as_str(), "listeners"]),
        ("# comment\n\nx=\\u12", &["worker.properties, line 10", "\\u12"]),
        ("key.converter=org.apache.kafka.connect.storage.StringConvertr", &["key.converter", "StringConvertr"]),
        ("offset.flush.intervall.ms=3", &["offset.flush.intervall.ms", "did you mean `offset.flush.interval.ms`"]),
        ("offset.flush.interval.ms=soon", &["offset.flush.interval.ms", "soon"]),
        ("listeners=https://127.0.0.1:0", &["listeners", "TLS"]),
    ] {
        let dir = Dir::new();
        let answer = run(&["standalone", &worker(&dir, more)]);
        assert_eq!(answer.code, 1, "{more}: {}", answer.stderr);
        for name in named {
            assert!(answer.stderr.contains(name), "{more}: {name} is not named: {}", answer.stderr);
        }
        assert_eq!(answer.stdout, "", "{more}");
    }
    let answer = run(&["standalone", "/no/such/file"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (1, ""));
    assert!(answer.stderr.contains("/no/such/file"), "{}", answer.stderr);
}

#[test]
fn what_keeps_a_broker_from_starting_is_named() {
    let dir = Dir::new();
    let file = dir.write("file", "");
    let inside = format!("{file}/data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (args, named) in [
        (&["broker", "--port", port.as_str()][..], &[port.as_str(), "--port"][..]),
        (&["broker", "--port", "0", "--data", &inside], &["data folder", "file/data"]),
        (&["dev", "--data", &inside], &["data folder", "file/data"]),
        (&["broker", "--port", "0", "--topic-default", "retention.sm=1"], &["retention.sm"]),
    ] {
        let answer = run(args);
        assert_eq!(answer.code, 1, "{args:?}: {}", answer.stderr);
        for name in named {
            assert!(answer.stderr.contains(name), "{args:?}: {name} is not named: {}", answer.stderr);
        }
    }
}

#[test]
fn a_data_folder_belongs_to_one_broker() {
    let dir = Dir::new();
    let data = dir.path().join("data").display().to_string();
    let mut first = kurier(&dir, "first", &["broker", "--port", "0", "--data", &data]);
    first.wait_for_output("Broker on ", SOON).unwrap();
    let second = run(&["broker", "--port", "0", "--data", &data]);
    assert_eq!(second.code, 1, "{}", second.stderr);
    assert!(second.stderr.contains(&data), "{}", second.stderr);
    first.process().interrupt();
    assert!(first.process().wait(SOON).unwrap().success());
}

#[test]
fn clients_say_whom_they_could_not_reach() {
    for (args, named) in [
        (&["connector", "--url", "http://127.0.0.1:1", "list"][..], &["http://127.0.0.1:1", "KURIER_URL"][..]),
        (
            &["topic", "--bootstrap-server", "127.0.0.1:1", "--property", "default.api.timeout.ms=300", "list"],
            &["127.0.0.1:1", "KURIER_BOOTSTRAP_SERVERS"],
        ),
        (&["topic", "list", "--data", "/no/such/folder"], &["/no/such/folder"]),
    ] {
        let answer = run(args);
        assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{args:?}");
        for name in named {
            assert!(answer.stderr.contains(name), "{args:?}: {name} is not named: {}", answer.stderr);
        }
    }
}
