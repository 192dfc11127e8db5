//! Whether clients take and refuse what Java's take and refuse, and whether the fixtures that say so are what Java prints.

use std::collections::BTreeMap;

use kurier_harness::{skip_without_java, workspace_root};
use kurier_kafka::admin::AdminConfig;
use kurier_kafka::consumer::ConsumerConfig;
use kurier_kafka::producer::ProducerConfig;

const REFUSALS: &str = include_str!("fixtures/client-refusals.tsv");

#[test]
fn the_fixtures_are_what_java_prints() {
    let Some(java) = skip_without_java("the_fixtures_are_what_java_prints") else { return };
    let program = |name: &str| workspace_root().join("tests/java/clients").join(name).display().to_string();
    let printed = java.run(&program("ClientProperties.java"), &[], b"").unwrap();
    expect_test::expect_file!["fixtures/client-properties.tsv"].assert_eq(&printed);
    let asked: String = REFUSALS.lines().map(|line| format!("{}\n", line.rsplit_once('\t').unwrap().0)).collect();
    let printed = java.run(&program("ClientRefusals.java"), &[], asked.as_bytes()).unwrap();
    expect_test::expect_file!["fixtures/client-refusals.tsv"].assert_eq(&printed);
}

#[test]
fn what_does_not_go_together_is_refused_in_javas_words() {
    let mut differences = Vec::new();
    for line in REFUSALS.lines() {
        let mut parts: Vec<&str> = line.split('\t').collect();
        let java = parts.pop().unwrap();
        let mut properties = BTreeMap::from([("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned())]);
        properties.extend(parts[1..].iter().map(|pair| {
            let (key, value) = pair.split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        }));
        let said = match parts[0] {
            "producer" => ProducerConfig::parse(&properties).map(drop).map_err(|error| error.to_string()),
            "consumer" => ConsumerConfig::parse(&properties).map(drop).map_err(|error| error.to_string()),
            "admin" => AdminConfig::parse(&properties).map(drop).map_err(|error| error.to_string()),
            other => panic!("no such client: {other}"),
        };
        match java.split_once(": ") {
            None if said == Ok(()) => {}
            // Java tells the first problem, we tell all.
            Some((_, message)) if said.as_ref().is_err_and(|said| said.lines().any(|said| said == message)) => {}
            _ => differences.push(format!("{line}\nhere: {said:?}")),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
