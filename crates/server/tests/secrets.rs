//! Secrets come from config providers and go to plugins, and nowhere else: not to REST, not to the log at its loudest.
#![allow(clippy::disallowed_methods, reason = "driver: starts processes")]

mod common;

use common::{Dir, Running, SOON};
use kurier_harness::{Guarded, rest, wait_for};

const SECRET: &str = "correct-horse-battery-staple";

#[test]
fn secrets_are_used_and_never_shown() {
    let dir = Dir::new();
    let secrets = dir.write("secrets.properties", &format!("password={SECRET}\n"));
    let reference = format!("${{file:{secrets}:password}}");
    dir.write("in.txt", "a line\n");
    // One that is used by a transform, one that no plugin knows, one in a client's settings, one that is not allowed where it stands.
    let settings = format!(
        "file={}\ntopic=lines\ntransforms=mark\n\
         transforms.mark.type=org.apache.kafka.connect.transforms.HoistField$Value\ntransforms.mark.field={reference}\n\
         my.password={reference}\nproducer.override.ssl.key.password={reference}\n",
        dir.file("in.txt")
    );
    let good = format!("name=good\nconnector.class=FileStreamSource\ntasks.max=1\n{settings}");
    let bad = format!("name=bad\nconnector.class=FileStreamSource\ntasks.max={reference}\n{settings}");
    let file = dir.write("good.properties", &good);
    let data = dir.file("data");
    let provider = "config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider";
    let dev = [env!("CARGO_BIN_EXE_kurier"), "dev", &file, "--data", &data, "--set", "config.providers=file"];
    let command = [&dev[..], &["--set", provider]].concat();
    let mut dev = Running::of(Guarded::start(dir.path(), "dev", &command, &[("KURIER_LOG", "trace")]).unwrap());
    let line = dev.wait_for_output("Connect on http://", SOON).unwrap();
    let url = line.split("Connect on ").nth(1).unwrap().split(',').next().unwrap().to_owned();

    let print =
        || common::run(&["topic", "--bootstrap-server", line.split([' ', ',']).nth(2).unwrap(), "print", "lines"]);
    wait_for("the record", SOON, || Ok(print().stdout.contains(SECRET))).unwrap();

    let body = |text: &str| -> serde_json::Value {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        serde_json::Value::Object(pairs.map(|(key, value)| (key.to_owned(), value.into())).collect())
    };
    for (method, path, sent) in [
        ("GET", "/connectors/good", None),
        ("GET", "/connectors/good/config", None),
        ("GET", "/connectors/good/tasks", None),
        ("GET", "/connectors/good/status", None),
        ("GET", "/connectors?expand=info&expand=status", None),
        ("PUT", "/connector-plugins/FileStreamSource/config/validate", Some(body(&good))),
        ("PUT", "/connector-plugins/FileStreamSource/config/validate", Some(body(&bad))),
        ("PUT", "/connectors/bad/config", Some(body(&bad))),
    ] {
        let (status, answer) = rest(method, &format!("{url}{path}"), sent.as_ref()).unwrap();
        let answer = answer.to_string();
        assert!(status < 500 && !answer.is_empty(), "{method} {path}: {status} {answer}");
        assert!(!answer.contains(SECRET), "{method} {path}: {answer}");
    }
    dev.process().terminate();
    assert!(dev.process().wait(SOON).unwrap().success());
    let output = dev.process().output();
    assert!(output.contains("Created connector good"), "the log is loud: {output}");
    assert!(!output.contains(SECRET), "{output}");
}
