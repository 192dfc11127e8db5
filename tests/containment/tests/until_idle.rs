//! `kurier dev --until-idle` with a source that cannot say when it has read everything.
#![allow(clippy::disallowed_methods, reason = "driver: starts processes")]

use std::fs;
use std::process::Command;

#[test]
fn a_source_that_cannot_say_needs_a_duration() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("in.properties");
    fs::write(&file, "name=in\nconnector.class=BlockingSource\ntasks.max=1\nblock=nothing\n").unwrap();
    for (more, code, said) in [
        (&[][..], 2, "in cannot say whether everything is read, so --until-idle would never end; give --duration too"),
        (&["--duration", "1s"], 0, "in cannot say whether everything is read: --duration ends this run."),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_kurier-fixtures"))
            .args(["dev", "--until-idle", "--data"])
            .args([&dir.path().join("data"), &file])
            .args(more)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(said), "{text}");
    }
}
