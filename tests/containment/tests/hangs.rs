//! What never comes back in the real worker holds up itself alone: others and REST go on, and its stop ends in time.
#![allow(clippy::disallowed_methods, reason = "driver: a thread for a request that hangs")]
mod common;

use common::{Bed, GRACE, Worker, timed, until};
use serde_json::Value;
use std::time::Duration;

/// What a request may take beyond the time that is waited for a plugin: tests share a busy machine.
const SLACK: Duration = Duration::from_secs(4);
/// How long a connector may take to stop.
const CONNECTOR_GRACE: Duration = Duration::from_secs(5);

/// A source that moves a record every few milliseconds, to show that others go on.
fn witness(worker: &Worker) {
    let settings = [("topic", "witness"), ("messages.per.poll", "1"), ("poll.delay.ms", "20")];
    worker.create("witness", "MonitorableSource", &settings);
    worker.wait_for_states("witness", "RUNNING RUNNING");
}

fn others_go_on(bed: &Bed, worker: &Worker) {
    let before = bed.values("witness").len();
    until("more records of the witness", || Ok(bed.values("witness").len() > before));
    assert_eq!(worker.states("witness"), "RUNNING RUNNING");
}

/// One task that hangs in a call.
struct Hang {
    class: &'static str,
    settings: &'static [(&'static str, &'static str)],
    /// What the status shows meanwhile.
    states: &'static str,
    /// What the fixture says when it hangs; nothing if it does so only when it is stopped.
    says: &'static str,
    /// How the log names the stage.
    stage: &'static str,
}

const fn hang(
    class: &'static str,
    settings: &'static [(&'static str, &'static str)],
    states: &'static str,
    says: &'static str,
    stage: &'static str,
) -> Hang {
    Hang { class, settings, states, says, stage }
}

const TRANSFORM: &[(&str, &str)] = &[
    ("inject", ""),
    ("transforms", "x"),
    ("transforms.x.type", "kurierfixtures.StruckTransform"),
    ("transforms.x.inject", "apply=hang"),
];

const HANGS: &[Hang] = &[
    hang("BlockingSource", &[("block", "Task::start")], "RUNNING", "Blocks in Task::start", "starting"),
    hang("BlockingSource", &[("block", "Task::poll")], "RUNNING RUNNING", "Blocks in Task::poll", "in poll"),
    hang("BlockingSource", &[("block", "Task::stop")], "RUNNING RUNNING", "", "stopping"),
    hang(
        "BlockingSource",
        &[("block", "Task::start"), ("own.thread", "true")],
        "RUNNING",
        "Blocks in Task::start",
        "starting",
    ),
    hang(
        "BlockingSource",
        &[("block", "Task::poll"), ("own.thread", "true")],
        "RUNNING RUNNING",
        "Blocks in Task::poll",
        "in poll",
    ),
    hang("BlockingSource", &[("block", "Task::stop"), ("own.thread", "true")], "RUNNING RUNNING", "", "stopping"),
    hang("MonitorableSource", &[("inject", "poll=await")], "RUNNING RUNNING", "Injected await in poll", "in poll"),
    hang("MonitorableSource", &[("inject", "commit=hang")], "RUNNING RUNNING", "Injected hang in commit", "committing"),
    hang(
        "MonitorableSource",
        &[("inject", "commit=await")],
        "RUNNING RUNNING",
        "Injected await in commit",
        "committing",
    ),
    hang(
        "MonitorableSink",
        &[("inject", "open=hang")],
        "RUNNING RUNNING",
        "Injected hang in open",
        "opening or closing partitions",
    ),
    hang("MonitorableSink", &[("inject", "put=hang")], "RUNNING RUNNING", "Injected hang in put", "in put"),
    hang("MonitorableSink", &[("inject", "put=await")], "RUNNING RUNNING", "Injected await in put", "in put"),
    hang(
        "MonitorableSink",
        &[("inject", "pre.commit=hang")],
        "RUNNING RUNNING",
        "Injected hang in pre.commit",
        "committing",
    ),
    hang("MonitorableSink", &[("inject", "close=hang")], "RUNNING RUNNING", "", "stopping"),
    hang("MonitorableSink", &[("inject", "task.stop=hang")], "RUNNING RUNNING", "", "stopping"),
    hang("MonitorableSource", TRANSFORM, "RUNNING RUNNING", "Injected hang in apply", "in a transform or predicate"),
    hang("MonitorableSink", TRANSFORM, "RUNNING RUNNING", "Injected hang in apply", "in a transform or predicate"),
];

/// Settings that every class of the table takes.
fn settings<'a>(of: &[(&'a str, &'a str)], journal: &'a str) -> Vec<(&'a str, &'a str)> {
    let earliest = ("consumer.override.auto.offset.reset", "earliest");
    let all = [("topic", "t"), ("topics", "witness"), ("journal.file", journal), earliest];
    all.into_iter().chain(of.iter().copied()).collect()
}

/// `topics` would make a source invalid, `topic` is nothing to a sink.
fn create(worker: &Worker, name: &str, class: &str, of: &[(&str, &str)], journal: &str) {
    let mut settings = settings(of, journal);
    settings.retain(|(key, _)| class.ends_with("Sink") || !matches!(*key, "topics" | "journal.file"));
    worker.create(name, class, &settings);
}

fn hangs_alone(which: usize) {
    let Hang { class, settings, states, says, stage } = HANGS[which];
    let bed = Bed::start();
    let worker = bed.kurier();
    witness(&worker);
    until("a record", || Ok(!bed.values("witness").is_empty()));
    let journal = bed.file("journal").display().to_string();
    create(&worker, "c", class, settings, &journal);
    worker.wait_for_states("c", states);
    worker.wait_for_log(says);
    if class == "MonitorableSink" {
        until("partitions", || Ok(bed.read("journal").contains("open")));
    }
    others_go_on(&bed, &worker);
    let (took, answer) = timed(|| worker.call("GET", "/connectors/c/status", None));
    assert!(answer.0 == 200 && took < Duration::from_secs(2), "{took:?}: {answer:?}");

    let (took, answer) = timed(|| worker.call("PUT", "/connectors/c/stop", None));
    assert_eq!(answer, (204, Value::Null));
    assert!((GRACE..GRACE + SLACK).contains(&took), "{took:?}");
    worker.wait_for_log(&format!("Graceful stop of task c-0 failed: it was {stage} for 1.5 s; it is abandoned"));
    worker.wait_for_states("c", "STOPPED");
    others_go_on(&bed, &worker);

    // The next life, which does not hang, runs beside the lost one. It has no transforms.
    let settings: Vec<(&str, &str)> = match class {
        "BlockingSource" => vec![("block", "nothing")],
        _ => vec![("inject", "")],
    };
    create(&worker, "c", class, &settings, &journal);
    assert_eq!(worker.call("PUT", "/connectors/c/resume", None).0, 202);
    worker.wait_for_states("c", "RUNNING RUNNING");
    let took = worker.stop();
    assert!(took < GRACE + SLACK, "the worker took {took:?} to stop");
}

macro_rules! hanging {
    ($($name:ident $which:literal)*) => {
        $(#[test] fn $name() { hangs_alone($which); })*
        /// Each line of the table has its test.
        #[test]
        fn all_hangs_are_tested() {
            assert_eq!([$($which),*].to_vec(), (0..HANGS.len()).collect::<Vec<_>>());
        }
    };
}

hanging! {
    start 0 poll 1 stop 2 start_on_a_thread 3 poll_on_a_thread 4 stop_on_a_thread 5 pending_poll 6 commit 7 pending_commit 8
    open 9 put 10 pending_put 11 pre_commit 12 close 13 sink_stop 14 transform 15 sink_transform 16
}

#[test]
fn more_hanging_tasks_than_threads_do_not_stop_the_others() {
    let bed = Bed::start();
    let worker = bed.kurier();
    witness(&worker);
    let hanging = std::thread::available_parallelism().unwrap().get().max(2) + 1;
    for n in 0..hanging {
        worker.create(&format!("c{n}"), "BlockingSource", &[("block", "Task::poll")]);
    }
    // Whoever comes first takes all threads; the watchdog finds them after ten seconds, says who it was and replaces them.
    worker.wait_for_log("has held its thread for 10 s in poll; a spare thread takes over the other tasks");
    others_go_on(&bed, &worker);
    let took = worker.stop();
    assert!(took < GRACE + SLACK, "the worker took {took:?} to stop");
}

/// A request that hangs as long as the plugin does is nobody else's matter.
fn beside_a_request(
    body: impl FnOnce(&Worker),
    request: impl FnOnce(&Worker) -> (u16, Value) + Send,
    worker: &Worker,
) -> (u16, Value) {
    std::thread::scope(|scope| {
        let request = scope.spawn(|| request(worker));
        body(worker);
        request.join().unwrap()
    })
}

#[test]
fn a_connector_that_hangs_at_start_is_abandoned_when_it_is_deleted() {
    let bed = Bed::start();
    let worker = bed.kurier();
    witness(&worker);
    let while_it_hangs = |worker: &Worker| {
        worker.wait_for_log("Blocks in Connector::start");
        others_go_on(&bed, worker);
        assert_eq!(worker.states("c"), "none");
        let (took, answer) = timed(|| worker.call("DELETE", "/connectors/c", None));
        assert_eq!(answer, (204, Value::Null));
        assert!(took < CONNECTOR_GRACE + SLACK, "{took:?}");
        worker.wait_for_log("Graceful stop of connector c failed: it was starting for 5 s; it is abandoned");
        others_go_on(&bed, worker);
    };
    let put = |worker: &Worker| worker.put("c", "BlockingSource", &[("block", "Connector::start")]);
    let answer = beside_a_request(while_it_hangs, put, &worker);
    assert_eq!(answer.0, 404, "{answer:?}");
    worker.create("c", "BlockingSource", &[("block", "nothing")]);
    worker.wait_for_states("c", "RUNNING RUNNING");
    worker.stop();
}

#[test]
fn a_connector_that_hangs_at_its_end_is_abandoned() {
    let bed = Bed::start();
    let worker = bed.kurier();
    witness(&worker);
    worker.create("c", "BlockingSource", &[("block", "Connector::stop")]);
    worker.wait_for_states("c", "RUNNING RUNNING");
    let (took, answer) = timed(|| worker.call("DELETE", "/connectors/c", None));
    assert_eq!(answer, (204, Value::Null));
    assert!(took < CONNECTOR_GRACE + SLACK, "{took:?}");
    worker.wait_for_log("Graceful stop of connector c failed: it was stopping for 5 s; it is abandoned");
    others_go_on(&bed, &worker);
    worker.stop();
}

#[test]
fn a_validation_that_hangs_holds_up_its_own_request() {
    let bed = Bed::start();
    let worker = bed.kurier();
    witness(&worker);
    let mut answers = Vec::new();
    std::thread::scope(|scope| {
        let worker = &worker;
        let requests: Vec<_> = (0..3)
            .map(|n| {
                scope.spawn(move || {
                    worker.try_put(&format!("c{n}"), "BlockingSource", &[("block", "Connector::validate")])
                })
            })
            .collect();
        worker.wait_for_log("Blocks in Connector::validate");
        others_go_on(&bed, worker);
        let settings = [("topic", "t")];
        worker.create("well", "MonitorableSource", &settings);
        worker.wait_for_states("well", "RUNNING RUNNING");
        let took = worker.stop();
        assert!(took < GRACE + SLACK, "the worker took {took:?} to stop");
        answers.extend(requests.into_iter().map(|request| request.join().unwrap()));
    });
    assert!(answers.iter().all(|answer| answer.as_ref().is_none_or(|(status, _)| *status >= 500)), "{answers:?}");
}
