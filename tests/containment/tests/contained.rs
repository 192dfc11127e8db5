//! What fails or panics in the real worker hurts itself alone, and REST says so truthfully.
mod common;

use common::{Bed, Worker, until};
use serde_json::json;

/// Makes a topic of some records.
fn fill(bed: &Bed, worker: &Worker, topic: &str, count: usize) {
    let count_text = count.to_string();
    worker.create("filler", "MonitorableSource", &[("topic", topic), ("max.messages", &count_text)]);
    until("the records", || Ok(bed.values(topic).len() == count));
    worker.call("DELETE", "/connectors/filler", None);
}

fn numbers(connector: &str, range: std::ops::RangeInclusive<usize>) -> Vec<String> {
    range.map(|n| format!("value-{connector}-0-{n}")).collect()
}

#[test]
fn an_error_or_panic_in_any_call_has_javas_consequences() {
    let bed = Bed::start();
    let worker = bed.kurier();
    fill(&bed, &worker, "input", 20);
    common::cases::strike_everywhere(&bed, &worker, "input", |text, call| {
        let stage = match call {
            "poll" => "in poll",
            "put" => "in put",
            "open" => "in open",
            "apply" => "in a transform or predicate",
            _ => "starting",
        };
        format!("org.apache.kafka.connect.errors.ConnectException: A plugin panicked ({stage}): {text}")
    });
    assert_eq!(worker.call("GET", "/connectors", None), (200, json!([])));
    worker.stop();
}

#[test]
fn a_source_task_that_panics_is_restarted_where_it_was() {
    let bed = Bed::start();
    let worker = bed.kurier();
    let settings = [("topic", "t"), ("inject", "poll=panic"), ("inject.after", "10"), ("max.messages", "50")];
    worker.create("c", "MonitorableSource", &settings);
    for (restart, until_record) in [
        (None, 10),
        (Some("/connectors/c/tasks/0/restart"), 20),
        (Some("/connectors/c/restart?includeTasks=true&onlyFailed=true"), 30),
    ] {
        if let Some(restart) = restart {
            let (status, body) = worker.call("POST", restart, None);
            assert!(status == 204 || status == 202, "{restart}: {status} {body}");
        }
        // Every life moves ten records; none is lost and none comes twice, though every life ends in a panic.
        let saved = json!({"offsets": [{"partition": {"task.id": "c-0"}, "offset": {"saved": until_record}}]});
        until("offsets", || Ok(worker.call("GET", "/connectors/c/offsets", None) == (200, saved.clone())));
        worker.wait_for_states("c", "RUNNING FAILED");
        assert_eq!(bed.values("t"), numbers("c", 1..=until_record));
    }
    worker.create("c", "MonitorableSource", &[("topic", "t"), ("max.messages", "50")]);
    until("the rest", || Ok(bed.values("t").len() == 50));
    worker.wait_for_states("c", "RUNNING RUNNING");
    assert_eq!(bed.values("t"), numbers("c", 1..=50));
    worker.stop();
}

#[test]
fn a_sink_task_that_panics_is_restarted_where_it_was() {
    let bed = Bed::start();
    let worker = bed.kurier();
    fill(&bed, &worker, "t", 50);
    let journal = bed.file("journal").display().to_string();
    let common = [
        ("topics", "t"),
        ("journal.file", journal.as_str()),
        ("consumer.override.auto.offset.reset", "earliest"),
        ("consumer.override.max.poll.records", "10"),
    ];
    let put = || bed.read("journal").lines().filter(|line| line.starts_with("put")).count();
    worker.create("c", "MonitorableSink", &[&common[..], &[("inject", "put=panic"), ("inject.after", "10")]].concat());
    for records in [10, 20, 30] {
        if records > 10 {
            assert_eq!(worker.call("POST", "/connectors/c/tasks/0/restart", None).0, 204);
        }
        until("records", || Ok(put() == records));
        worker.wait_for_states("c", "RUNNING FAILED");
    }
    worker.create("c", "MonitorableSink", &common);
    until("the rest", || Ok(put() >= 50));
    let lines: Vec<String> = bed.read("journal").lines().filter(|l| l.starts_with("put")).map(str::to_owned).collect();
    let expected = |n: usize| format!("put t-0@{n} key-filler-0-{0} value-filler-0-{0}", n + 1);
    assert_eq!(lines, (0..50).map(expected).collect::<Vec<_>>());
    worker.stop();
}

#[test]
fn only_the_task_that_is_struck_fails() {
    let bed = Bed::start();
    let worker = bed.kurier();
    let settings =
        [("topic", "t"), ("num.tasks", "3"), ("inject", "poll=panic"), ("inject.task", "1"), ("tasks.max", "3")];
    worker.create("c", "MonitorableSource", &[&settings[..], &[("max.messages", "10")]].concat());
    worker.wait_for_states("c", "RUNNING RUNNING FAILED RUNNING");
    until("records of the others", || Ok(bed.values("t").len() == 20));
    assert!(bed.values("t").iter().all(|value| !value.contains("-1-")));
    worker.stop();
}

#[test]
fn a_record_that_is_tried_again_when_its_task_stops_is_not_given_up() {
    let bed = Bed::start();
    let worker = bed.kurier();
    let struck = [
        ("topic", "t"),
        ("max.messages", "20"),
        ("errors.retry.timeout", "-1"),
        ("errors.tolerance", "all"),
        ("transforms", "x"),
        ("transforms.x.type", "kurierfixtures.StruckTransform"),
        ("transforms.x.inject", "apply=retriable"),
        ("transforms.x.inject.after", "10"),
    ];
    worker.create("c", "MonitorableSource", &struck);
    let saved = json!({"offsets": [{"partition": {"task.id": "c-0"}, "offset": {"saved": 10}}]});
    let offsets = || worker.call("GET", "/connectors/c/offsets", None);
    until("the records before", || Ok(bed.values("t").len() == 10));
    worker.wait_for_log("Injected retriable in apply");
    assert_eq!(worker.call("PUT", "/connectors/c/stop", None).0, 204);
    worker.wait_for_states("c", "STOPPED");
    let log = worker.output();
    assert!(!log.contains("Graceful stop of task c-0 failed"), "it ends between two attempts: {log}");
    assert!(!log.contains("c-0 has failed"), "an ordinary stop is no failure: {log}");
    assert_eq!(offsets(), (200, saved));
    worker.create("c", "MonitorableSource", &struck[..2]);
    worker.call("PUT", "/connectors/c/resume", None);
    until("the others", || Ok(bed.values("t").len() == 20));
    assert_eq!(bed.values("t"), numbers("c", 1..=20));
    worker.stop();
}
