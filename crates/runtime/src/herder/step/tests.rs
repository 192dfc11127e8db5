//! A world around the herder: a worker of a few lines that does as it is told, in time or late, well or badly.

use super::*;
use crate::herder::request::{ConnectorOffset, ErrorKind, PutResult};
use proptest::prelude::*;

mod world;
use world::{Mood, World};

fn name(n: u8) -> ConnectorName {
    format!("c{n}").into()
}

fn config(n: u8, tasks: u8) -> RawConfig {
    let pair = |k: &str, v: String| (k.to_owned(), Some(v));
    RawConfig::from_iter([pair("name", format!("c{n}")), pair("tasks", tasks.to_string())])
}

fn create(n: u8, tasks: u8) -> Request {
    Request::CreateConnector { name: name(n), config: config(n, tasks), initial_state: None, replace: false }
}

fn put(n: u8, tasks: u8) -> Request {
    Request::CreateConnector { name: name(n), config: config(n, tasks), initial_state: None, replace: true }
}

fn restart(n: u8, include_tasks: bool, only_failed: bool) -> Request {
    Request::RestartConnector { name: name(n), include_tasks, only_failed }
}

/// Asks, lets the world settle, and says the answer in one line.
fn check_answer(world: &mut World, request: Request, expected: &str) {
    let answer = match world.ask(request) {
        Ok(Response::Put(PutResult { created, info })) => {
            format!("{} {} tasks", if created { "created" } else { "changed" }, info.tasks.len())
        }
        Ok(Response::Restart(Some(plan))) => plan_line(&plan),
        Ok(Response::Status(status)) => plan_line(&status),
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("{} {error}", error.status()),
    };
    assert_eq!(answer, expected);
}

fn plan_line(status: &crate::herder::request::ConnectorStatus) -> String {
    let states: Vec<_> = std::iter::once(&status.connector)
        .chain(status.tasks.iter().map(|task| &task.status))
        .map(|status| status.state.name())
        .collect();
    states.join(" ")
}

fn status(n: u8) -> Request {
    Request::ConnectorStatus { name: name(n) }
}

#[test]
fn a_connector_is_created_and_its_tasks_run() {
    let mut world = World::new();
    check_answer(&mut world, status(1), "404 No status found for connector c1");
    check_answer(&mut world, create(1, 2), "created 2 tasks");
    check_answer(&mut world, status(1), "RUNNING RUNNING RUNNING");
    check_answer(&mut world, create(1, 2), "409 Connector c1 already exists");
    check_answer(&mut world, put(1, 1), "changed 1 tasks");
    check_answer(&mut world, status(1), "RUNNING RUNNING");
    let patch = RawConfig::from([("tasks".to_owned(), Some("3".to_owned())), ("name".to_owned(), None)]);
    check_answer(&mut world, Request::PatchConnector { name: name(1), patch }, "changed 3 tasks");
    let config = world.ask(Request::ConnectorConfig { name: name(1) });
    assert_eq!(config, Ok(Response::Config(RawConfig::from([("tasks".to_owned(), Some("3".to_owned()))]))));
    check_answer(&mut world, Request::DeleteConnector { name: name(1) }, "Done");
    check_answer(&mut world, status(1), "404 No status found for connector c1");
    check_answer(&mut world, Request::DeleteConnector { name: name(1) }, "404 Connector c1 not found");
    check_answer(&mut world, Request::ListConnectors, "Names([])");
}

#[test]
fn target_states_hold_for_connector_and_tasks() {
    let mut world = World::new();
    check_answer(&mut world, create(1, 1), "created 1 tasks");
    check_answer(&mut world, Request::Pause { name: name(1) }, "Done");
    check_answer(&mut world, status(1), "PAUSED PAUSED");
    check_answer(&mut world, restart(1, false, false), "Restart(None)");
    check_answer(&mut world, status(1), "PAUSED PAUSED");
    check_answer(&mut world, restart(1, true, false), "RESTARTING RESTARTING");
    check_answer(&mut world, status(1), "PAUSED PAUSED");
    check_answer(&mut world, Request::Stop { name: name(1) }, "Done");
    check_answer(&mut world, status(1), "STOPPED");
    check_answer(&mut world, restart(1, true, false), "RESTARTING");
    check_answer(&mut world, status(1), "STOPPED");
    check_answer(&mut world, put(1, 2), "changed 0 tasks");
    check_answer(&mut world, Request::Resume { name: name(1) }, "Done");
    check_answer(&mut world, status(1), "RUNNING RUNNING RUNNING");
    for initial in [TargetState::Paused, TargetState::Stopped] {
        let initial_state = Some(initial);
        let request = Request::CreateConnector { name: name(2), config: config(2, 1), initial_state, replace: false };
        check_answer(&mut world, request, "created 0 tasks");
        check_answer(&mut world, status(2), if initial == TargetState::Paused { "PAUSED" } else { "STOPPED" });
        check_answer(&mut world, Request::DeleteConnector { name: name(2) }, "Done");
    }
    // A deleted connector's target state is forgotten.
    check_answer(&mut world, create(2, 1), "created 1 tasks");
}

#[test]
fn unknown_connectors_get_the_answers_of_standalone_java() {
    let mut world = World::new();
    let c = || name(9);
    let cases = [
        (Request::Pause { name: c() }, "404 Unknown connector c9"),
        (Request::Resume { name: c() }, "404 Unknown connector c9"),
        (Request::Stop { name: c() }, "500 No connector `c9` configured"),
        (restart(9, false, false), "500 Connector c9 not found"),
        (restart(9, true, false), "404 Unknown connector: c9"),
        (restart(9, false, true), "404 Unknown connector: c9"),
        (
            Request::RestartTask { name: c(), task: 0 },
            "500 Failed to start task c9-0 since it is not a recognizable type (source or sink)",
        ),
        (Request::TaskStatus { name: c(), task: -1 }, "404 No status found for task c9--1"),
        (Request::TaskConfigs { name: c() }, "404 Connector c9 not found"),
        (Request::ConnectorInfo { name: c() }, "404 Connector c9 not found"),
        (Request::ConnectorConfig { name: c() }, "404 Connector c9 not found"),
        (Request::PatchConnector { name: c(), patch: RawConfig::new() }, "404 Connector c9 not found"),
        (Request::Offsets { name: c() }, "404 Connector c9 not found"),
        (Request::ResetOffsets { name: c() }, "404 Connector c9 not found"),
        (
            Request::AlterOffsets { name: c(), offsets: Vec::new() },
            "400 Partitions / offsets need to be provided for an alter offsets request",
        ),
        (Request::ActiveTopics { name: c() }, "Topics([])"),
        (Request::ResetActiveTopics { name: c() }, "Done"),
    ];
    for (request, expected) in cases {
        check_answer(&mut world, request, expected);
    }
}

#[test]
fn a_connector_that_fails_to_start_stays_and_a_good_config_brings_it_up() {
    let mut world = World::new();
    world.mood = Mood { connectors_fail_on_config: true, ..Mood::default() };
    check_answer(&mut world, create(1, 1), "500 bad config");
    check_answer(&mut world, status(1), "FAILED");
    check_answer(&mut world, Request::Stop { name: name(1) }, "Done");
    check_answer(&mut world, status(1), "FAILED");
    check_answer(&mut world, Request::Resume { name: name(1) }, "Done");
    check_answer(&mut world, restart(1, false, false), "500 bad config");
    world.mood = Mood::default();
    check_answer(&mut world, put(1, 1), "changed 1 tasks");
    // One that was made and then failed can rest.
    world.mood = Mood { connectors_fail: true, ..Mood::default() };
    check_answer(&mut world, put(1, 1), "500 Failed to transition connector c1 to state STARTED");
    check_answer(&mut world, status(1), "FAILED RUNNING");
    world.mood = Mood::default();
    check_answer(&mut world, Request::Stop { name: name(1) }, "Done");
    check_answer(&mut world, status(1), "STOPPED");
}

#[test]
fn restarts_are_planned_by_state() {
    let mut world = World::new();
    world.mood = Mood { tasks_fail: true, ..Mood::default() };
    check_answer(&mut world, create(1, 2), "created 2 tasks");
    check_answer(&mut world, status(1), "RUNNING FAILED FAILED");
    check_answer(&mut world, Request::RestartTask { name: name(1), task: 2 }, "404 Task c1-2 not found");
    check_answer(&mut world, Request::Pause { name: name(1) }, "Done");
    check_answer(&mut world, status(1), "PAUSED FAILED FAILED");
    check_answer(&mut world, Request::Resume { name: name(1) }, "Done");
    world.mood = Mood::default();
    check_answer(&mut world, Request::RestartTask { name: name(1), task: 0 }, "Done");
    check_answer(&mut world, status(1), "RUNNING RUNNING FAILED");
    check_answer(&mut world, restart(1, false, true), "RUNNING RUNNING FAILED");
    check_answer(&mut world, restart(1, true, true), "RUNNING RUNNING RESTARTING");
    check_answer(&mut world, status(1), "RUNNING RUNNING RUNNING");
    world.mood = Mood { tasks_fail_on_config: true, ..Mood::default() };
    check_answer(&mut world, Request::RestartTask { name: name(1), task: 0 }, "500 Failed to start task: c1-0");
}

#[test]
fn offsets_change_only_while_nothing_runs() {
    let mut world = World::new();
    check_answer(&mut world, create(1, 1), "created 1 tasks");
    let refused = "400 Connectors must be in the STOPPED state before their offsets can be modified. This can be done for \
                   the specified connector by issuing a 'PUT' request to the '/connectors/c1/stop' endpoint";
    check_answer(&mut world, Request::ResetOffsets { name: name(1) }, refused);
    check_answer(&mut world, Request::Pause { name: name(1) }, "Done");
    check_answer(&mut world, Request::ResetOffsets { name: name(1) }, refused);
    check_answer(&mut world, Request::Stop { name: name(1) }, "Done");
    let offsets = vec![ConnectorOffset { partition: serde_json::json!({"a": 1}), offset: serde_json::Value::Null }];
    check_answer(&mut world, Request::AlterOffsets { name: name(1), offsets }, "Message(\"changed\")");

    // A change under way keeps tasks from starting, and the next change from beginning.
    world.mood.slow_offsets = true;
    let (first, second) =
        (world.send(Request::ResetOffsets { name: name(1) }), world.send(Request::ResetOffsets { name: name(1) }));
    check_answer(&mut world, Request::Resume { name: name(1) }, "Done");
    check_answer(&mut world, status(1), "RUNNING");
    assert_eq!(world.answer(first), None);
    assert_eq!(world.answer(second).map(|answer| answer.map_err(|e| e.kind())), Some(Err(ErrorKind::BadRequest)));
    world.mood.slow_offsets = false;
    world.settle();
    assert_eq!(world.answer(first), Some(Ok(Response::Message("changed".to_owned()))));
    check_answer(&mut world, status(1), "RUNNING RUNNING");
}

#[test]
fn a_connector_that_cannot_say_what_its_tasks_are_is_asked_again() {
    let mut world = World::new();
    world.mood = Mood { generation_fails: true, ..Mood::default() };
    check_answer(&mut world, create(1, 1), "500 no tasks");
    check_answer(&mut world, status(1), "RUNNING");
    world.mood = Mood::default();
    world.pass(FIRST_RETRY);
    check_answer(&mut world, status(1), "RUNNING RUNNING");
    world.mood = Mood { too_many_tasks: true, ..Mood::default() };
    check_answer(&mut world, put(1, 1), "500 too many");
    check_answer(&mut world, status(1), "FAILED RUNNING");
}

#[test]
fn a_connector_that_asks_while_it_is_asked_is_asked_once_more() {
    let mut world = World::new();
    check_answer(&mut world, create(1, 1), "created 1 tasks");
    assert_eq!(world.questions, 1);
    // The first request asks it, the others come before its answer.
    for _ in 0..3 {
        world.reconfigure(0);
    }
    world.settle();
    assert_eq!(world.questions, 3);
}

#[test]
fn a_request_that_waits_too_long_says_what_the_worker_does() {
    let mut world = World::new();
    world.mood = Mood { frozen: true, ..Mood::default() };
    let id = world.send(create(1, 1));
    world.pass(REQUEST_TIMEOUT);
    let error = world.answer(id).unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "Request timed out. The worker is currently starting the connector, which began at 1970-01-01T00:00:00.000Z."
    );
}

#[test]
fn health_waits_for_the_command_line_and_shutdown_answers_everybody() {
    let mut world = World::new();
    let health = world.send(Request::Health);
    world.settle();
    assert_eq!(world.answer(health), None);
    world.step(Input::Ready);
    assert_eq!(world.answer(health), Some(Ok(Response::Done)));
    check_answer(&mut world, create(1, 1), "created 1 tasks");
    world.mood.frozen = true;
    let waiting = world.send(create(2, 1));
    world.mood.frozen = false;
    world.step(Input::Shutdown);
    assert_eq!(world.answer(waiting).unwrap().unwrap_err().message(), "Worker is shutting down");
    check_answer(&mut world, Request::ListConnectors, "500 Worker is shutting down");
    world.settle();
    assert!(world.ended);
}

#[test]
fn topics_are_remembered_until_they_are_reset() {
    let mut world = World::new();
    check_answer(&mut world, create(1, 1), "created 1 tasks");
    for topic in ["b", "a", "b"] {
        let task = TaskId { connector: name(1), task: 0 };
        world.step(Input::Unit(UnitEvent::TopicActive { task, topic: topic.into() }));
    }
    check_answer(&mut world, Request::ActiveTopics { name: name(1) }, "Topics([\"a\", \"b\"])");
    check_answer(&mut world, Request::DeleteConnector { name: name(1) }, "Done");
    check_answer(&mut world, Request::ActiveTopics { name: name(1) }, "Topics([\"a\", \"b\"])");
    check_answer(&mut world, Request::ResetActiveTopics { name: name(1) }, "Done");
    check_answer(&mut world, Request::ActiveTopics { name: name(1) }, "Topics([])");
    world.herder.settings.topic_tracking_reset = false;
    check_answer(&mut world, Request::ResetActiveTopics { name: name(1) }, "403 Topic tracking reset is disabled.");
    world.herder.settings.topic_tracking = false;
    check_answer(&mut world, Request::ResetActiveTopics { name: name(1) }, "403 Topic tracking is disabled.");
    check_answer(&mut world, Request::ActiveTopics { name: name(1) }, "403 Topic tracking is disabled.");
}

#[test]
fn secrets_that_end_restart_the_connector() {
    let mut world = World::new();
    world.mood.secrets_hold_for = Some(Duration::from_secs(10));
    check_answer(&mut world, create(1, 1), "created 1 tasks");
    let starts = world.starts;
    world.pass(Duration::from_secs(9));
    assert_eq!(world.starts, starts);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.starts, starts + 1);
}

/// What happens to the world in the property test.
#[derive(Clone, Debug)]
enum Happening {
    Ask(u8, u8),
    Work(u8),
    Mood(u16),
    Reconfigure(u8),
    Fail(u8),
    Wait(u16),
}

/// Whether an answer is of the kind that the handle unwraps.
fn is_in_kind(request: &Request, response: &Response) -> bool {
    matches!(
        (request, response),
        (Request::CreateConnector { .. } | Request::PatchConnector { .. }, Response::Put(_))
            | (Request::RestartConnector { include_tasks: false, only_failed: false, .. }, Response::Restart(None))
            | (Request::RestartConnector { .. }, Response::Restart(Some(_)))
            | (Request::ResetOffsets { .. }, Response::Message(_))
            | (Request::Offsets { .. }, Response::Offsets(_))
            | (Request::ConnectorStatus { .. }, Response::Status(_))
            | (Request::ExpandConnectors { .. }, Response::Expanded(_))
            | (
                Request::DeleteConnector { .. }
                    | Request::Pause { .. }
                    | Request::Resume { .. }
                    | Request::Stop { .. }
                    | Request::RestartTask { .. },
                Response::Done
            )
    )
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..18u8, 0..12u8).prop_map(|(what, detail)| Happening::Ask(what, detail)),
        8 => any::<u8>().prop_map(Happening::Work),
        1 => any::<u16>().prop_map(Happening::Mood),
        1 => any::<u8>().prop_map(Happening::Reconfigure),
        1 => any::<u8>().prop_map(Happening::Fail),
        1 => (0..40_000u16).prop_map(Happening::Wait),
    ]
}

fn request(what: u8, detail: u8) -> Request {
    let (n, tasks) = (detail % 3, detail / 3);
    let name = name(n);
    match what {
        0 | 1 => create(n, tasks),
        2 | 3 => put(n, tasks),
        4 => Request::CreateConnector {
            name,
            config: config(n, tasks),
            initial_state: Some([TargetState::Paused, TargetState::Stopped][usize::from(tasks % 2)]),
            replace: tasks > 1,
        },
        5 => Request::PatchConnector { name, patch: config(n, tasks) },
        6 => Request::DeleteConnector { name },
        7 => Request::Pause { name },
        8 | 9 => Request::Resume { name },
        10 | 11 => Request::Stop { name },
        12 => restart(n, tasks % 2 == 0, tasks > 1),
        13 => Request::RestartTask { name, task: i32::from(tasks) - 1 },
        14 => Request::ResetOffsets { name },
        15 => Request::Offsets { name },
        16 => Request::ConnectorStatus { name },
        _ => Request::ExpandConnectors { status: true, info: true },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever is asked, however the worker behaves: a unit has one life at a time (the world checks that), invariants hold (every step checks that),
    /// every request is answered once, and a world left alone comes to rest as configured.
    #[test]
    fn nothing_makes_the_herder_lose_its_way(happenings in prop::collection::vec(happening(), 1..120)) {
        let mut world = World::new();
        let mut asked = Vec::new();
        for happening in happenings {
            match happening {
                Happening::Ask(what, detail) => {
                    let request = request(what, detail);
                    asked.push((world.send(request.clone()), request));
                }
                Happening::Work(which) => world.work(usize::from(which)),
                Happening::Mood(bits) => world.mood = Mood::from_bits(bits),
                Happening::Reconfigure(which) => world.reconfigure(usize::from(which)),
                Happening::Fail(which) => world.fail(usize::from(which)),
                Happening::Wait(millis) => world.wait(Duration::from_millis(millis.into())),
            }
        }
        world.mood = Mood::default();
        world.pass(LONGEST_RETRY);
        world.pass(REQUEST_TIMEOUT);
        for (id, request) in asked {
            match world.answer(id) {
                None => prop_assert!(false, "{request:?} has no answer"),
                Some(Ok(response)) => prop_assert!(is_in_kind(&request, &response), "{request:?} gets {response:?}"),
                Some(Err(_)) => {}
            }
        }
        world.check_at_rest();
        world.step(Input::Shutdown);
        world.settle();
        prop_assert!(world.ended);
    }
}
