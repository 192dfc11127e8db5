//! One story that both workers are told; what they answer is compared.

use super::{Bed, Worker, until, without_frames};
use serde_json::{Value, json};

/// What a worker answered at each turn, by name.
pub(crate) type Answers = Vec<(String, Value)>;

struct Story<'a> {
    bed: &'a Bed,
    worker: &'a Worker,
    answers: Answers,
}

impl Story<'_> {
    fn note(&mut self, what: &str, answer: Value) {
        self.answers.push((what.to_owned(), answer));
    }

    /// A REST call, with what differs from run to run left out.
    fn call(&mut self, method: &str, path: &str) {
        let (status, body) = self.worker.call(method, path, None);
        self.note(&format!("{method} {path}"), json!([status, comparable(body)]));
    }

    fn put(&mut self, name: &str, class: &str, settings: &[(&str, &str)]) {
        let (status, body) = self.worker.put(name, class, settings);
        self.note(&format!("PUT {name}"), json!([status, comparable(body)]));
    }

    /// Status and offsets of a connector that has come to these states.
    fn look(&mut self, name: &str, states: &str) {
        self.worker.wait_for_states(name, states);
        self.call("GET", &format!("/connectors/{name}/status"));
        self.call("GET", &format!("/connectors/{name}/offsets"));
    }

    /// Waits for offsets to be committed: where the next life goes on.
    fn wait_for_offset(&self, name: &str, offset: &Value) {
        let path = format!("/connectors/{name}/offsets");
        until(&path, || Ok(self.worker.call("GET", &path, None).1["offsets"][0]["offset"] == *offset));
    }

    /// A topic's records but for their timestamps.
    fn topic(&mut self, topic: &str, count: usize) {
        until(topic, || Ok(self.bed.topic(topic).len() >= count));
        let records = self.bed.topic(topic).into_iter().map(|mut record| {
            record.as_object_mut().unwrap().remove("timestamp");
            comparable(record)
        });
        let records = records.collect();
        self.note(&format!("topic {topic}"), records);
    }
}

/// Without addresses, and without the stack frames of Java.
fn comparable(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.shift_remove("worker_id");
            for value in map.values_mut() {
                *value = comparable(value.take());
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| *value = comparable(value.take())),
        Value::String(text) => *text = without_frames(text),
        _ => {}
    }
    value
}

/// Tells the story and returns the answers.
pub(crate) fn tell(bed: &Bed, worker: &Worker) -> Answers {
    let mut story = Story { bed, worker, answers: Vec::new() };
    pipeline(&mut story);
    failing_tasks(&mut story);
    failing_connectors(&mut story);
    what_is_tried_again(&mut story);
    hanging_tasks(&mut story);
    errant_records(&mut story);
    story.answers
}

const EARLIEST: (&str, &str) = ("consumer.override.auto.offset.reset", "earliest");

fn pipeline(story: &mut Story<'_>) {
    let bed = story.bed;
    story.put("source", "MonitorableSource", &[("topic", "lines"), ("max.messages", "25")]);
    story.topic("lines", 25);
    story.wait_for_offset("source", &json!({"saved": 25}));
    story.look("source", "RUNNING RUNNING");
    let journal = bed.file("journal").display().to_string();
    // The path of the journal differs, so its answer is not noted.
    story.worker.create("sink", "MonitorableSink", &[("topics", "lines"), ("journal.file", &journal), EARLIEST]);
    story.wait_for_offset("sink", &json!({"kafka_offset": 25}));
    story.look("sink", "RUNNING RUNNING");
    for (verb, states) in [("pause", "PAUSED PAUSED"), ("resume", "RUNNING RUNNING"), ("stop", "STOPPED")] {
        for name in ["source", "sink"] {
            story.call("PUT", &format!("/connectors/{name}/{verb}"));
            story.look(name, states);
        }
    }
    until("the end of the sink", || Ok(bed.read("journal").ends_with("stop\n")));
    story.note("journal", bed.read("journal").lines().collect());
}

fn failing_tasks(story: &mut Story<'_>) {
    let settings = [("topic", "failing"), ("inject", "poll=connect"), ("inject.after", "10")];
    story.put("failing", "MonitorableSource", &settings);
    story.worker.wait_for_states("failing", "RUNNING FAILED");
    story.topic("failing", 10);
    story.wait_for_offset("failing", &json!({"saved": 10}));
    story.look("failing", "RUNNING FAILED");
    story.call("GET", "/connectors/failing/tasks/0/status");
    story.call("POST", "/connectors/failing/tasks/0/restart");
    story.wait_for_offset("failing", &json!({"saved": 20}));
    story.look("failing", "RUNNING FAILED");
    story.call("PUT", "/connectors/failing/pause");
    story.look("failing", "PAUSED FAILED");
    story.call("PUT", "/connectors/failing/resume");
    story.look("failing", "RUNNING FAILED");
    story.put("failing", "MonitorableSource", &[("topic", "failing"), ("max.messages", "30")]);
    story.wait_for_offset("failing", &json!({"saved": 30}));
    story.look("failing", "RUNNING RUNNING");
    story.topic("failing", 30);
    let struck = [("topic", "struck"), ("num.tasks", "3"), ("tasks.max", "3"), ("max.messages", "5")];
    let some = [("inject", "task.start=runtime"), ("inject.task", "1")];
    story.put("some", "MonitorableSource", &[&struck[..], &some[..]].concat());
    story.look("some", "RUNNING RUNNING FAILED RUNNING");
    story.call("DELETE", "/connectors/some");
    story.call("GET", "/connectors/some/status");
}

fn failing_connectors(story: &mut Story<'_>) {
    let kinds =
        [("start", "connector.start=connect"), ("pause", "connector.stop=connect"), ("stop", "connector.stop=connect")];
    for (what, inject) in kinds {
        story.put(what, "MonitorableSource", &[("topic", what), ("inject", inject), ("max.messages", "5")]);
        if what == "start" {
            story.look(what, "FAILED");
            story.call("POST", "/connectors/start/restart");
            story.look(what, "FAILED");
            continue;
        }
        story.wait_for_offset(what, &json!({"saved": 5}));
        story.look(what, "RUNNING RUNNING");
        story.call("PUT", &format!("/connectors/{what}/{what}"));
        story.look(what, if what == "pause" { "FAILED PAUSED" } else { "STOPPED" });
    }
}

fn what_is_tried_again(story: &mut Story<'_>) {
    let poll = [("topic", "polled"), ("inject", "poll=retriable"), ("inject.times", "2"), ("max.messages", "20")];
    story.put("polls", "MonitorableSource", &poll);
    story.wait_for_offset("polls", &json!({"saved": 20}));
    story.topic("polled", 20);
    story.look("polls", "RUNNING RUNNING");

    let transform = [("transforms", "x"), ("transforms.x.type", "kurierfixtures.StruckTransform")];
    let struck = [("transforms.x.inject", "apply=retriable"), ("transforms.x.inject.after", "5")];
    let all = ("errors.tolerance", "all");
    for (name, times, more) in
        [("patient", "2", &[("errors.retry.timeout", "60000")][..]), ("tolerant", "3", &[all]), ("impatient", "3", &[])]
    {
        let source = [("topic", name), ("max.messages", "20"), ("transforms.x.inject.times", times)];
        story.put(name, "MonitorableSource", &[&transform[..], &struck, &source, more].concat());
        let records = match name {
            "patient" => 20,
            "tolerant" => 17,
            _ => 5,
        };
        story.topic(name, records);
        story.worker.wait_for_states(name, if name == "impatient" { "RUNNING FAILED" } else { "RUNNING RUNNING" });
        story.call("GET", &format!("/connectors/{name}/status"));
        story.wait_for_offset(name, &json!({"saved": if name == "impatient" { 5 } else { 20 }}));
    }

    let bed = story.bed;
    let journal = bed.file("tried").display().to_string();
    let put = [("topics", "polled"), ("journal.file", &journal), EARLIEST];
    let refused = [("inject", "put=retriable"), ("inject.times", "2")];
    story.worker.create("puts", "MonitorableSink", &[&put[..], &refused].concat());
    story.wait_for_offset("puts", &json!({"kafka_offset": 20}));
    story.look("puts", "RUNNING RUNNING");
    story.note("tried", bed.read("tried").lines().collect());
}

fn hanging_tasks(story: &mut Story<'_>) {
    for (name, block, states) in [
        ("hangs-start", "Task::start", "RUNNING"),
        ("hangs-poll", "Task::poll", "RUNNING RUNNING"),
        ("hangs-stop", "Task::stop", "RUNNING RUNNING"),
    ] {
        story.put(name, "BlockingSource", &[("block", block)]);
        story.look(name, states);
        story.call("PUT", &format!("/connectors/{name}/stop"));
        story.look(name, "STOPPED");
        story.call("DELETE", &format!("/connectors/{name}"));
        story.call("GET", &format!("/connectors/{name}/status"));
    }
}

fn errant_records(story: &mut Story<'_>) {
    story.worker.create("errors", "MonitorableSource", &[("topic", "records"), ("max.messages", "3")]);
    story.topic("records", 3);
    let common = [
        ("topics", "records"),
        EARLIEST,
        ("errors.deadletterqueue.topic.replication.factor", "1"),
        ("errors.deadletterqueue.context.headers.enable", "true"),
    ];
    let all = ("errors.tolerance", "all");
    let put = |story: &mut Story<'_>, name: &str, more: &[(&str, &str)]| {
        story.put(name, "ErrantRecordSink", &[&common[..], more].concat());
    };
    put(story, "all", &[all, ("errors.deadletterqueue.topic.name", "dlq-all")]);
    story.wait_for_offset("all", &json!({"kafka_offset": 3}));
    story.look("all", "RUNNING RUNNING");
    story.topic("dlq-all", 3);
    let bare = ("errors.deadletterqueue.context.headers.enable", "false");
    put(story, "bare", &[all, bare, ("errors.deadletterqueue.topic.name", "dlq-bare")]);
    story.topic("dlq-bare", 3);
    put(story, "none", &[("errors.deadletterqueue.topic.name", "dlq-none")]);
    story.look("none", "RUNNING FAILED");
    story.topic("dlq-none", 1);
    put(story, "log", &[("errors.log.enable", "true")]);
    story.look("log", "RUNNING FAILED");
    put(story, "nowhere", &[]);
    story.look("nowhere", "RUNNING FAILED");
    // Neither a log nor a queue, but every error is tolerated.
    put(story, "mute", &[all]);
    story.look("mute", "RUNNING FAILED");
}
