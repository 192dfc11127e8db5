//! What every source promises.

use super::{TestConnectorContext, TestSourceContext, block_on, check_accepted, check_descriptor, check_refused};
use crate::config::Props;
use crate::data::{Map, Value};
use crate::plugin::{Source, SourceTask};
use crate::record::SourceRecord;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An outside system with a source that reads it. Dropping it cleans up.
pub trait SourceFixture {
    /// The source.
    fn source(&self) -> Arc<dyn Source>;

    /// Settings of a connector with one task that reads this system, without `name` and `connector.class`.
    fn props(&self) -> Props;

    /// Adds records to the outside system, at least so many and each different from all others in key or value.
    /// Called again while a task reads: what comes later has to come after it in the order of offsets too.
    fn add(&mut self, records: usize);

    /// Settings that validation has to refuse, with the key that is wrong.
    fn refused(&self) -> Vec<(Props, &'static str)> {
        Vec::new()
    }

    /// Whether a task can go on where another ended. Without, the suite checks no offsets.
    fn resumes(&self) -> bool {
        true
    }
}

/// How many records the suite reads.
const RECORDS: usize = 25;
/// How much later than its deadline a poll may return: machines that run tests are busy.
const LATE: Duration = Duration::from_secs(5);
/// How long a poll of the suite may take.
const POLL: Duration = Duration::from_millis(100);
/// Polls in a row without records after which the suite gives up.
const EMPTY_POLLS: usize = 30;

/// Checks what every source promises; `make` sets up an outside system of its own for every check.
///
/// # Panics
/// If the source breaks a promise.
pub fn check_source<F: SourceFixture>(make: impl Fn() -> F) {
    settings(&make());
    connector(&make());
    empty_polls_end_in_time(make());
    everything_is_read_once(make());
    if make().resumes() {
        offsets_can_be_stored(make());
        resumed_tasks_neither_lose_nor_double(&make);
    }
}

fn settings(fixture: &impl SourceFixture) {
    let (source, props) = (fixture.source(), fixture.props());
    check_descriptor(&source.descriptor());
    check_accepted(&block_on(source.validate(&props)), &props);
    for (props, key) in fixture.refused() {
        check_refused(&block_on(source.validate(&props)), &props, key);
    }
}

fn connector(fixture: &impl SourceFixture) {
    let mut connector = block_on(fixture.source().connect(&fixture.props(), TestConnectorContext::new()))
        .expect("the connector starts with its settings");
    for max in [1, 3] {
        let configs = block_on(connector.task_configs(max)).expect("the connector knows its tasks");
        assert!(!configs.is_empty(), "a connector with something to read has a task");
        assert!(configs.len() <= max, "at most {max} tasks were asked for, {} came", configs.len());
    }
    block_on(connector.stop()).expect("the connector stops");
}

/// Starts the only task, as a worker would that has these records committed.
fn start(fixture: &impl SourceFixture, committed: &[SourceRecord]) -> Box<dyn SourceTask> {
    let (source, props) = (fixture.source(), fixture.props());
    let mut connector = block_on(source.connect(&props, TestConnectorContext::new())).expect("the connector starts");
    let configs = block_on(connector.task_configs(1)).expect("the connector knows its tasks");
    let config = configs.first().expect("there is a task");
    block_on(source.start_task(config, TestSourceContext::after(committed))).expect("the task starts")
}

/// Polls until there are so many records, or no more come for a while.
///
/// # Panics
/// If a poll fails.
pub fn poll_records(task: &mut dyn SourceTask, wanted: usize) -> Vec<SourceRecord> {
    let mut records = Vec::new();
    let mut empty = 0;
    while records.len() < wanted && empty < EMPTY_POLLS {
        let batch = block_on(task.poll(Instant::now() + POLL)).expect("a poll succeeds");
        empty = if batch.is_empty() { empty + 1 } else { 0 };
        records.extend(batch);
    }
    records
}

fn empty_polls_end_in_time(fixture: impl SourceFixture) {
    let mut task = start(&fixture, &[]);
    for wait in [Duration::ZERO, POLL] {
        let begin = Instant::now();
        block_on(task.poll(begin + wait)).expect("a poll succeeds");
        let late = begin.elapsed().saturating_sub(wait);
        assert!(late < LATE, "a poll came back {late:?} after its deadline");
    }
    block_on(task.stop()).expect("a task stops that has read nothing");
}

fn everything_is_read_once(mut fixture: impl SourceFixture) {
    fixture.add(RECORDS);
    let mut task = start(&fixture, &[]);
    let mut records = poll_records(&mut *task, RECORDS);
    assert!(records.len() >= RECORDS, "{RECORDS} records were there, {} were read", records.len());
    block_on(task.committed(&committed(&records))).expect("the task takes the news of a commit");
    let before = records.len();
    fixture.add(RECORDS);
    records.extend(poll_records(&mut *task, RECORDS));
    assert!(records.len() >= before + RECORDS, "{RECORDS} records came later, {} were read", records.len() - before);
    check_different(&records);
    block_on(task.stop()).expect("the task stops");
}

fn offsets_can_be_stored(mut fixture: impl SourceFixture) {
    fixture.add(RECORDS);
    let mut task = start(&fixture, &[]);
    for record in poll_records(&mut *task, RECORDS) {
        let partition = record.source_partition.expect("a record of a task that resumes has a source partition");
        let offset = record.source_offset.expect("a record of a task that resumes has a source offset");
        for map in [&partition, &offset] {
            check_storable(map);
        }
    }
    block_on(task.stop()).expect("the task stops");
}

/// Java's `OffsetUtils.validateFormat`: text keys, and values of one piece.
fn check_storable(map: &Map) {
    for (key, value) in map.iter() {
        assert!(key.as_text().is_some(), "the key {key:?} of a source partition or offset is no text");
        let in_pieces = matches!(value, Value::Array(_) | Value::Map(_) | Value::Struct(_) | Value::Foreign(_));
        assert!(
            !in_pieces,
            "{key:?} of a source partition or offset holds {value:?}, which is no number, text, boolean or bytes"
        );
    }
}

fn resumed_tasks_neither_lose_nor_double<F: SourceFixture>(make: &impl Fn() -> F) {
    for stop_after in [0, 1, 7, RECORDS - 1, RECORDS] {
        let mut fixture = make();
        fixture.add(RECORDS);
        let mut task = start(&fixture, &[]);
        let mut records = poll_records(&mut *task, RECORDS);
        // The records behind these were read, and lost with the worker.
        records.truncate(stop_after);
        block_on(task.stop()).expect("a task stops in the middle");
        drop(task);
        let mut task = start(&fixture, &records);
        let rest = poll_records(&mut *task, RECORDS - stop_after);
        let expected = RECORDS - stop_after;
        assert!(rest.len() >= expected, "after {stop_after} records {expected} were left, {} were read", rest.len());
        records.extend(rest);
        check_different(&records);
        block_on(task.stop()).expect("the task stops");
    }
}

fn committed(records: &[SourceRecord]) -> Vec<(Arc<Map>, Arc<Map>)> {
    let pairs = records.iter().filter_map(|r| r.source_partition.clone().zip(r.source_offset.clone()));
    let newest: std::collections::HashMap<_, _> = pairs.collect();
    newest.into_iter().collect()
}

fn check_different(records: &[SourceRecord]) {
    for (at, one) in records.iter().enumerate() {
        let again = records[at + 1..].iter().any(|other| {
            (&one.record.key, &one.record.value, &one.source_partition)
                == (&other.record.key, &other.record.value, &other.source_partition)
        });
        assert!(!again, "a record was read twice: {one:?}");
    }
}
