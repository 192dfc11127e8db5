//! What a user reads who has written something wrong: where it stands, and what was probably meant.
#![allow(clippy::disallowed_methods, reason = "driver: starts processes")]

mod common;

use common::{Answer, Dir, SOON, kurier, run};
use kurier_harness::rest;
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SOURCE: &str = "name=in\nconnector.class=FileStreamSource\ntasks.max=1\n";

/// `kurier dev` with one connector file, which ends it.
fn dev(dir: &Dir, name: &str, text: &str) -> Answer {
    let file = dir.write(name, text);
    run(&["dev", &file, "--data", &dir.file("data"), "--until-idle"])
}

#[test]
fn connector_files_that_are_wrong_are_told_by_place_and_meaning() {
    let class = "org.apache.kafka.connect.file.FileStreamSourceConector";
    for (name, text, named) in [
        ("cut.json", "{\"name\": \"in\",\n \"config\": {", &["cut.json: malformed JSON: EOF", "line 2"][..]),
        ("comma.json", "{\"name\": \"in\",\n \"file\": \"f\",\n}", &["comma.json: malformed JSON", "line 3 column 1"]),
        ("list.json", "[1]", &["list.json: expected an object of settings"]),
        ("deep.json", "{\"name\": \"in\", \"config\": {\"topics\": [\"a\"]}}", &["deep.json", "`topics` is a list"]),
        ("bad.properties", "name=in\nfile=\\u00\n", &["bad.properties, line 2", "\\u00"]),
        ("no-name.properties", "topic=t\n", &["no-name.properties", "'name'"]),
        ("empty.json", "", &["empty.json: malformed JSON: EOF"]),
        (
            "class.properties",
            &format!("name=in\nconnector.class={class}\n"),
            &["class.properties", "Did you mean org."],
        ),
        (
            "key.properties",
            &format!("{SOURCE}topc=t\nfile=f\n"),
            &["key.properties", "`topc`", "did you mean `topic`?"],
        ),
    ] {
        let dir = Dir::new();
        let answer = dev(&dir, name, text);
        assert_eq!(answer.code, 3, "{name}: {answer:?}");
        for part in named {
            assert!(answer.stderr.contains(part), "{name}: {part} is not there: {answer:?}");
        }
    }
}

#[test]
fn what_is_not_there_is_said_before_anything_starts() {
    let dir = Dir::new();
    let answer = run(&["dev", &dir.file("none"), "--data", &dir.file("data")]);
    assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{answer:?}");
    assert!(answer.stderr.contains(&dir.file("none")), "{answer:?}");
    assert!(!dir.path().join("data").exists());
}

#[test]
fn a_misspelt_setting_that_is_no_error_is_told_too() {
    let dir = Dir::new();
    dir.write("in.txt", "a line\n");
    // Without its `file` the source reads what stands on its input, as Java's does.
    let wrong = dir.write("in.properties", &format!("{SOURCE}topic=lines\nfille={}\n", dir.file("in.txt")));
    let mut worker = kurier(&dir, "dev", &["dev", &wrong, "--data", &dir.file("data")]);
    let line = worker.wait_for_output("Connect on http://", SOON).unwrap();
    worker
        .wait_for_output("connector in: `fille` is not a setting of this connector; did you mean `file`?", SOON)
        .unwrap();
    let url = line.split("Connect on ").nth(1).unwrap().split(',').next().unwrap();

    let validated = run(&["connector", "--url", url, "validate", &wrong]);
    assert_eq!(validated.code, 0, "{validated:?}");
    assert!(
        validated.stdout.contains("did you mean `file`?") && validated.stdout.ends_with("no errors\n"),
        "{validated:?}"
    );
    let config = json!({"name": "b", "connector.class": "FileStreamSource", "topics": "t"});
    let (status, answer) = rest("PUT", &format!("{url}/connectors/b/config"), Some(&config)).unwrap();
    assert_eq!(status, 400, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("`topics` is not a setting of this connector"), "{answer}");
    worker.process().interrupt();
    assert!(worker.process().wait(SOON).unwrap().success(), "{}", worker.process().output());
}

#[test]
fn a_worker_says_from_which_commit_it_is_built() {
    let dir = Dir::new();
    let mut worker = kurier(&dir, "dev", &["dev", "--data", &dir.file("data")]);
    let line = worker.wait_for_output("Connect on http://", SOON).unwrap();
    let url = line.split("Connect on ").nth(1).unwrap().split(',').next().unwrap();
    let (_, root) = rest("GET", &format!("{url}/"), None).unwrap();
    let commit = root["commit"].as_str().unwrap();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.git");
    if fs::exists(root).unwrap() {
        assert!(matches!(commit.len(), 40 | 64) && commit.bytes().all(|b| b.is_ascii_hexdigit()), "{commit}");
    } else {
        assert_eq!(commit, "unknown");
    }
    worker.process().interrupt();
    assert!(worker.process().wait(SOON).unwrap().success());
}

#[test]
fn a_stop_waits_for_no_request_that_is_still_being_sent() {
    /// Shorter than the 30 seconds after which the server gives up an unfinished head or body anyway: it must end because of the stop.
    const AT_ONCE: Duration = Duration::from_secs(15);
    let dir = Dir::new();
    let mut worker = kurier(&dir, "dev", &["dev", "--data", &dir.file("data")]);
    let line = worker.wait_for_output("Connect on http://", SOON).unwrap();
    let address = line.split("http://").nth(1).unwrap().split(',').next().unwrap();
    let connect = |bytes: &[u8]| {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        client.write_all(bytes).unwrap();
        client
    };
    let _half_a_head = connect(b"GET / HT");
    let mut half_a_body =
        connect(b"POST /connectors HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n{");
    // Once it is asked to go on, its request is under way.
    let mut begun = [0; 12];
    half_a_body.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"HTTP/1.1 100");
    worker.process().interrupt();
    let end = Instant::now() + AT_ONCE;
    let mut answer = String::new();
    half_a_body.set_read_timeout(Some(AT_ONCE)).unwrap();
    half_a_body.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 503"), "{answer}");
    assert!(
        worker.process().wait(end.saturating_duration_since(Instant::now())).unwrap().success(),
        "{}",
        worker.process().output()
    );
}

#[test]
fn a_list_that_is_interrupted_is_no_answer() {
    let dir = Dir::new();
    let mut list = kurier(&dir, "list", &["topic", "list", "--bootstrap-server", "127.0.0.1:1"]);
    list.wait_for_output("cannot connect to a broker", SOON).unwrap();
    list.process().interrupt();
    let status = list.process().wait(SOON).unwrap();
    assert_eq!(status.code(), Some(1), "{}", list.process().output());
    assert!(list.process().output().contains("interrupted"), "{}", list.process().output());
}
