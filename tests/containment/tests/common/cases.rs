//! What an error in each call of a connector or task comes to, as Java Connect has it.

use super::{Bed, Worker, until};

/// What `inject` of the fixtures knows that ends by itself.
const KINDS: [&str; 4] = ["retriable", "connect", "runtime", "panic"];

/// Calls of a class, each with what an error in it comes to.
const CALLS: [(&str, &str, Outcome); 16] = [
    ("MonitorableSource", "connector.start", Outcome::NotStarted),
    ("MonitorableSource", "connector.stop", Outcome::Nothing),
    ("MonitorableSource", "task.start", Outcome::TaskFails),
    ("MonitorableSource", "poll", Outcome::TaskFailsUnlessRetriable),
    ("MonitorableSource", "apply", Outcome::TaskFails),
    ("MonitorableSource", "commit", Outcome::Nothing),
    ("MonitorableSource", "task.stop", Outcome::Nothing),
    ("MonitorableSink", "connector.start", Outcome::NotStarted),
    ("MonitorableSink", "connector.stop", Outcome::Nothing),
    ("MonitorableSink", "task.start", Outcome::TaskFails),
    ("MonitorableSink", "open", Outcome::TaskFails),
    ("MonitorableSink", "apply", Outcome::TaskFails),
    ("MonitorableSink", "put", Outcome::TaskFailsUnlessRetriable),
    ("MonitorableSink", "pre.commit", Outcome::Nothing),
    ("MonitorableSink", "close", Outcome::Nothing),
    ("MonitorableSink", "task.stop", Outcome::Nothing),
];

#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    /// The connector fails, and so does the request for it.
    NotStarted,
    TaskFails,
    TaskFailsUnlessRetriable,
    /// It is logged.
    Nothing,
}

struct Case {
    name: String,
    class: &'static str,
    /// Of the connector, its task, or, for `apply`, of a transform.
    call: &'static str,
    kind: &'static str,
    outcome: Outcome,
}

/// Records of a source's topic before its polls fail, and altogether.
const BEFORE: usize = 10;
const ALL: usize = 30;

/// Strikes every call with every kind of error, each in a connector of its own and all at once, and checks what comes of it.
///
/// Sinks read `input`, which holds records. `panic` makes the trace's line of a panic from what the fixture said and the stage it happened in.
pub(crate) fn strike_everywhere(bed: &Bed, worker: &Worker, input: &str, panic: impl Fn(&str, &str) -> String) {
    let cases = CALLS.iter().flat_map(|&(class, call, outcome)| {
        KINDS.map(|kind| Case { name: format!("{}-{class}-{call}-{kind}", worker.name), class, call, kind, outcome })
    });
    let cases: Vec<Case> = cases.collect();
    for case in &cases {
        let Case { name, class, call, kind, outcome } = case;
        let inject = format!("{call}={kind}");
        let journal = bed.file(name).display().to_string();
        let mut settings = vec![("inject", inject.as_str())];
        if *call == "apply" {
            let class = ("transforms.x.type", "kurierfixtures.StruckTransform");
            let after = ("transforms.x.inject.after", "10");
            settings.extend([("transforms", "x"), class, ("transforms.x.inject", &inject), after]);
        }
        if *class == "MonitorableSource" {
            settings.extend([("topic", name.as_str()), ("inject.after", "10"), ("max.messages", "30")]);
        } else {
            let earliest = ("consumer.override.auto.offset.reset", "earliest");
            settings.extend([("topics", input), ("journal.file", &journal), earliest]);
        }
        let (status, body) = worker.put(name, class, &settings);
        if *outcome == Outcome::NotStarted {
            let message = format!("Failed to transition connector {name} to state STARTED");
            assert_eq!((status, body["message"].as_str()), (500, Some(message.as_str())), "{name}");
        } else {
            assert_eq!(status, 201, "{name}: {body}");
        }
    }
    for case in &cases {
        let Case { name, call, kind, outcome, .. } = case;
        let error = match *kind {
            "retriable" => format!("org.apache.kafka.connect.errors.RetriableException: Injected {kind} in {call}"),
            "connect" => format!("org.apache.kafka.connect.errors.ConnectException: Injected {kind} in {call}"),
            "runtime" => format!("java.lang.RuntimeException: Injected {kind} in {call}"),
            _ => panic(&format!("Injected {kind} in {call}"), call),
        };
        let trace = if *call == "apply" && *kind != "panic" {
            let outer = "org.apache.kafka.connect.errors.ConnectException: Tolerance exceeded in error handler";
            format!("{outer}\nCaused by: {error}")
        } else if *call == "put" {
            let outer = "org.apache.kafka.connect.errors.ConnectException: Exiting WorkerSinkTask due to unrecoverable exception.";
            format!("{outer}\nCaused by: {error}")
        } else {
            error
        };
        match outcome {
            Outcome::NotStarted => {
                worker.wait_for_states(name, "FAILED");
                assert_eq!(worker.traces(name), [trace], "{name}");
            }
            Outcome::TaskFails => failed(worker, name, trace),
            Outcome::TaskFailsUnlessRetriable if *kind != "retriable" => failed(worker, name, trace),
            Outcome::TaskFailsUnlessRetriable | Outcome::Nothing => unharmed(bed, worker, case),
        }
        if *call == "poll" || (*call == "apply" && case.class == "MonitorableSource") {
            until(&format!("{name}: records before the error"), || Ok(bed.values(name).len() == BEFORE));
        }
        let (status, body) = worker.call("DELETE", &format!("/connectors/{name}"), None);
        assert_eq!(status, 204, "{name}: {body}");
        if case.class == "MonitorableSink" && !matches!(*call, "connector.start" | "task.start") {
            // Whatever happened, partitions were closed and the task was stopped, once.
            let calls = || bed.read(name).lines().filter(|line| !line.starts_with("put")).map(str::to_owned).collect();
            until(name, || Ok(bed.read(name).ends_with("stop\n")));
            let calls: Vec<String> = calls();
            assert_eq!(calls, [format!("open {input}-0"), format!("close {input}-0"), "stop".to_owned()], "{name}");
        }
    }
}

fn failed(worker: &Worker, name: &str, trace: String) {
    worker.wait_for_states(name, "RUNNING FAILED");
    assert_eq!(worker.traces(name), [trace], "{name}");
}

/// It has come to the call, and still does as it is told.
fn unharmed(bed: &Bed, worker: &Worker, case: &Case) {
    let name = &case.name;
    if case.class == "MonitorableSource" && case.call != "poll" {
        until(name, || Ok(bed.values(name).len() == ALL));
    } else if case.class == "MonitorableSink" {
        let line = if case.call == "put" { "open" } else { "put" };
        until(name, || Ok(bed.read(name).contains(line)));
    }
    // Pausing commits; what resumes afterwards has got over it.
    for (verb, states) in [("pause", "PAUSED PAUSED"), ("resume", "RUNNING RUNNING")] {
        if matches!(case.call, "connector.stop" | "put") {
            break; // Pausing calls the first too; with the second Java says PAUSED for good.
        }
        let (status, body) = worker.call("PUT", &format!("/connectors/{name}/{verb}"), None);
        assert_eq!(status, 202, "{name}: {body}");
        worker.wait_for_states(name, states);
    }
    assert_eq!(worker.states(name), "RUNNING RUNNING", "{name}");
    assert!(worker.traces(name).is_empty(), "{name}");
}
