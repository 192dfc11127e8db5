//! Records that a sink reports end in the dead letter topic with their reasons, and the task goes on or fails as its connector says.
mod common;

use common::{Bed, Worker, until};
use serde_json::{Value, json};

const RECORDS: usize = 5;

/// A sink that reports whatever it gets, with these settings.
fn sink(worker: &Worker, name: &str, more: &[(&str, &str)]) {
    let common = [
        ("topics", "t"),
        ("consumer.override.auto.offset.reset", "earliest"),
        ("errors.deadletterqueue.topic.replication.factor", "1"),
        ("errors.deadletterqueue.context.headers.enable", "true"),
    ];
    worker.create(name, "ErrantRecordSink", &[&common[..], more].concat());
}

/// The dead letter of the n-th record, but for its timestamp.
fn dead_letter(connector: &str, n: usize) -> Value {
    let reason = format!("Errant record at offset {n}");
    let class = "org.apache.kafka.connect.errors.ConnectException";
    let headers = [
        (format!("header-{}", n + 1), (n + 1).to_string()),
        ("__connect.errors.topic".to_owned(), "t".to_owned()),
        ("__connect.errors.partition".to_owned(), "0".to_owned()),
        ("__connect.errors.offset".to_owned(), n.to_string()),
        ("__connect.errors.connector.name".to_owned(), connector.to_owned()),
        ("__connect.errors.task.id".to_owned(), "0".to_owned()),
        ("__connect.errors.stage".to_owned(), "TASK_PUT".to_owned()),
        ("__connect.errors.class.name".to_owned(), "org.apache.kafka.connect.sink.SinkTask".to_owned()),
        ("__connect.errors.exception.class.name".to_owned(), class.to_owned()),
        ("__connect.errors.exception.message".to_owned(), reason.clone()),
        ("__connect.errors.exception.stacktrace".to_owned(), format!("{class}: {reason}\n")),
    ];
    json!({
        "partition": 0,
        "offset": n,
        "key": format!("key-source-0-{}", n + 1),
        "value": format!("value-source-0-{}", n + 1),
        "headers": headers.map(|(key, value)| json!({"key": key, "value": value})),
    })
}

fn dead_letters(bed: &Bed, topic: &str) -> Vec<Value> {
    let records = bed.topic(topic).into_iter();
    let without_timestamp = records.map(|mut record| {
        record.as_object_mut().unwrap().remove("timestamp");
        record
    });
    without_timestamp.collect()
}

#[test]
fn reported_records_are_dead_letters() {
    let bed = Bed::start();
    let worker = bed.kurier();
    let count = RECORDS.to_string();
    worker.create("source", "MonitorableSource", &[("topic", "t"), ("max.messages", &count)]);
    until("the records", || Ok(bed.values("t").len() == RECORDS));

    let queue = |topic| ("errors.deadletterqueue.topic.name", topic);
    let all = ("errors.tolerance", "all");
    sink(&worker, "all", &[all, queue("dlq-all")]);
    sink(&worker, "none", &[queue("dlq-none")]);
    sink(&worker, "log", &[("errors.log.enable", "true")]);
    sink(&worker, "nowhere", &[all]);

    // What is reported is done with: its offset is committed, and a second life does not see it again.
    let offset =
        |name: &str| worker.call("GET", &format!("/connectors/{name}/offsets"), None).1["offsets"][0]["offset"].clone();
    until("the offset", || Ok(offset("all") == json!({"kafka_offset": RECORDS})));
    assert_eq!(worker.call("POST", "/connectors/all/tasks/0/restart", None).0, 204);
    worker.wait_for_states("all", "RUNNING RUNNING");
    assert_eq!(dead_letters(&bed, "dlq-all"), (0..RECORDS).map(|n| dead_letter("all", n)).collect::<Vec<_>>());

    // The first report ends a task that tolerates none; nothing is committed, so that the record is not lost.
    for name in ["none", "log"] {
        worker.wait_for_states(name, "RUNNING FAILED");
        let class = "org.apache.kafka.connect.errors.ConnectException";
        let trace = format!(
            "{class}: Exiting WorkerSinkTask due to unrecoverable exception.\nCaused by: {class}: Tolerance exceeded in error handler\n\
             Caused by: {class}: Errant record at offset 0"
        );
        assert_eq!(worker.traces(name), [trace]);
        assert_eq!(offset(name), Value::Null);
    }
    assert_eq!(dead_letters(&bed, "dlq-none"), [dead_letter("none", 0)]);
    worker.wait_for_log("Error encountered in task log-0. Executing stage 'TASK_PUT' with class 'org.apache.kafka.connect.sink.SinkTask'.");

    // Without queue and log there is no reporter to report to.
    worker.wait_for_states("nowhere", "RUNNING FAILED");
    let trace = "org.apache.kafka.connect.errors.ConnectException: There is no errant record reporter";
    assert_eq!(worker.traces("nowhere"), [trace]);
    worker.stop();
}
