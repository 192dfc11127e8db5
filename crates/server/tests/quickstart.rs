//! The README's first command, on a copy of the quickstart: what comes out, and that a second run does nothing twice.

use kurier_harness::{kurier_binary, workspace_root};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn kurier(dir: &Path, args: &[&str]) -> Output {
    let ran = Command::new(kurier_binary()).args(args).current_dir(dir).output().unwrap();
    assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    ran
}

/// Its files in a folder of their own, so that nothing is written into the repository.
fn copy_quickstart(dir: &Path) {
    let folder = dir.join("examples/quickstart");
    fs::create_dir_all(&folder).unwrap();
    for entry in fs::read_dir(workspace_root().join("examples/quickstart")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "out.jsonl" {
            fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn a_week_of_earthquakes_goes_through_once() {
    let dir = tempfile::tempdir().unwrap();
    copy_quickstart(dir.path());
    let args = ["dev", "examples/quickstart", "--until-idle", "--output", "json"];
    let summary: Value = serde_json::from_slice(&kurier(dir.path(), &args).stdout).unwrap();
    let (source, sink) = (&summary["connectors"][0], &summary["connectors"][1]);
    assert_eq!((source["records"].as_u64(), sink["records"].as_u64()), (Some(1_707), Some(1_704)), "{summary:#}");
    assert_eq!(sink["dead_letters"], 3, "{summary:#}");
    let topics = summary["topics"].as_array().unwrap();
    let topics: Vec<_> = topics.iter().map(|t| (t["name"].as_str().unwrap(), t["records"].as_i64().unwrap())).collect();
    assert_eq!(topics, [("earthquakes", 1_707), ("earthquakes-dead-letters", 3)]);

    let out = dir.path().join("examples/quickstart/out.jsonl");
    let text = fs::read_to_string(&out).unwrap();
    assert_eq!(text.lines().count(), 1_704);
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["source"], "USGS", "{line}");
        assert_eq!(event.as_object().unwrap().len(), 6, "{line}");
    }

    let summary: Value = serde_json::from_slice(&kurier(dir.path(), &args).stdout).unwrap();
    assert_eq!(summary["connectors"][1]["records"], 0, "{summary:#}");
    assert_eq!(fs::read_to_string(&out).unwrap(), text);

    let print = ["topic", "print", "earthquakes-dead-letters", "--headers", "--data", ".kurier"];
    let printed = String::from_utf8_lossy(&kurier(dir.path(), &print).stdout).into_owned();
    assert_eq!(printed.matches("__connect.errors.exception.message").count(), 3, "{printed}");
}
