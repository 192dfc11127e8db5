//! What every sink promises.

use super::{TestConnectorContext, TestSinkContext, block_on, check_accepted, check_descriptor, check_refused};
use crate::config::Props;
use crate::data::{Schema, SchemaAndValue, Value};
use crate::plugin::{Offsets, Sink, SinkTask};
use crate::record::{Record, SinkRecord, TimestampType, TopicPartition};
use std::sync::Arc;

/// An outside system with a sink that writes to it. Dropping it cleans up.
pub trait SinkFixture {
    /// The sink.
    fn sink(&self) -> Arc<dyn Sink>;

    /// Settings of a connector with one task that writes to this system, without `name`, `connector.class` and `topics`.
    fn props(&self) -> Props;

    /// A record that the sink takes: number `n` of partition `partition`, different from all others. By default a text without
    /// key; a sink that names what it writes by key brings records of its own. The same number comes again, and counts once in [`Self::arrived`].
    fn record(&self, partition: i32, n: i64) -> SinkRecord {
        text_record(partition, n)
    }

    /// How many different records of [`Self::record`] the outside system holds. Asked after everything was committed, or the task has stopped.
    fn arrived(&self) -> usize;

    /// Settings that validation has to refuse, with the key that is wrong.
    fn refused(&self) -> Vec<(Props, &'static str)> {
        Vec::new()
    }
}

const TOPIC: &str = "suite";

/// A record with a text value.
pub(super) fn text_record(partition: i32, n: i64) -> SinkRecord {
    let value = SchemaAndValue::new(Schema::string(), Value::text(format!("record {partition}/{n}")));
    let mut record = Record::new(TOPIC.into(), value);
    record.partition = Some(partition);
    record.timestamp = Some(1_700_000_000_000 + n);
    let origin = TopicPartition::new(TOPIC, partition);
    SinkRecord { record, offset: n, timestamp_type: TimestampType::CreateTime, origin }
}

/// Checks what every sink promises; `make` sets up an outside system of its own for every check.
///
/// # Panics
/// If the sink breaks a promise.
pub fn check_sink<F: SinkFixture>(make: impl Fn() -> F) {
    settings(&make());
    connector(&make());
    a_task_without_records_stops(&make());
    what_is_committed_has_arrived(&make());
    what_comes_again_is_taken(&make());
    partitions_come_and_go(&make());
}

fn settings(fixture: &impl SinkFixture) {
    let (sink, props) = (fixture.sink(), fixture.props());
    check_descriptor(&sink.descriptor());
    check_accepted(&block_on(sink.validate(&props)), &props);
    for (props, key) in fixture.refused() {
        check_refused(&block_on(sink.validate(&props)), &props, key);
    }
}

fn connector(fixture: &impl SinkFixture) {
    let mut connector = block_on(fixture.sink().connect(&fixture.props(), TestConnectorContext::new()))
        .expect("the connector starts with its settings");
    for max in [1, 3] {
        let configs = block_on(connector.task_configs(max)).expect("the connector knows its tasks");
        assert!((1..=max).contains(&configs.len()), "1 to {max} tasks were asked for, {} came", configs.len());
    }
    block_on(connector.stop()).expect("the connector stops");
}

/// A running task with its context, and how far it has come.
struct Run {
    task: Box<dyn SinkTask>,
    context: Arc<TestSinkContext>,
    offsets: Offsets,
}

impl Run {
    fn start(fixture: &impl SinkFixture) -> Self {
        let (sink, props) = (fixture.sink(), fixture.props());
        let mut connector = block_on(sink.connect(&props, TestConnectorContext::new())).expect("the connector starts");
        let configs = block_on(connector.task_configs(1)).expect("the connector knows its tasks");
        let config = configs.first().expect("there is a task");
        let context = TestSinkContext::new();
        let task = block_on(sink.start_task(config, context.clone())).expect("the task starts");
        Self { task, context, offsets: Offsets::new() }
    }

    fn open(&mut self, partitions: &[i32]) {
        let partitions: Vec<_> = partitions.iter().map(|&p| TopicPartition::new(TOPIC, p)).collect();
        self.offsets.extend(partitions.iter().map(|partition| (partition.clone(), 0)));
        self.context.assign(self.offsets.keys().cloned());
        block_on(self.task.open(&partitions)).expect("the task opens its partitions");
    }

    fn put(&mut self, records: &[SinkRecord]) {
        block_on(self.task.put(records)).expect("the task takes a batch");
        for record in records {
            self.offsets.insert(record.origin.clone(), record.offset + 1);
        }
    }

    /// Commits, and answers what of it the task allows.
    fn pre_commit(&mut self) -> Offsets {
        let allowed = block_on(self.task.pre_commit(&self.offsets)).expect("the task says what may be committed");
        for (partition, offset) in &allowed {
            let offered = self.offsets.get(partition);
            assert!(
                offered.is_some_and(|offered| offset <= offered),
                "{offset} of {partition} may not be committed: {offered:?} was offered"
            );
        }
        allowed
    }

    fn close(&mut self, partitions: &[i32]) {
        let partitions: Vec<_> = partitions.iter().map(|&p| TopicPartition::new(TOPIC, p)).collect();
        block_on(self.task.close(&partitions)).expect("the task closes its partitions");
        self.offsets.retain(|partition, _| !partitions.contains(partition));
        self.context.assign(self.offsets.keys().cloned());
    }

    fn stop(mut self) {
        block_on(self.task.stop()).expect("the task stops");
    }
}

fn batch(fixture: &impl SinkFixture, partitions: &[i32], numbers: std::ops::Range<i64>) -> Vec<SinkRecord> {
    numbers.flat_map(|n| partitions.iter().map(move |&p| (p, n))).map(|(p, n)| fixture.record(p, n)).collect()
}

fn a_task_without_records_stops(fixture: &impl SinkFixture) {
    Run::start(fixture).stop();
    let mut run = Run::start(fixture);
    run.open(&[0]);
    run.put(&[]);
    run.pre_commit();
    run.close(&[0]);
    run.stop();
    assert_eq!(fixture.arrived(), 0, "nothing was put");
}

fn what_is_committed_has_arrived(fixture: &impl SinkFixture) {
    let mut run = Run::start(fixture);
    run.open(&[0, 1]);
    let mut put = 0;
    for numbers in [0..5, 5..6, 6..30] {
        let records = batch(fixture, &[0, 1], numbers);
        run.put(&records);
        put += records.len();
        let allowed: i64 = run.pre_commit().values().sum();
        let arrived = fixture.arrived();
        assert!(arrived as i64 >= allowed, "offsets of {allowed} records may be committed, {arrived} have arrived");
    }
    run.close(&[0, 1]);
    run.stop();
    assert!(fixture.arrived() <= put, "more arrived than was put");
}

fn what_comes_again_is_taken(fixture: &impl SinkFixture) {
    let records = batch(fixture, &[0], 0..10);
    for _ in 0..2 {
        let mut run = Run::start(fixture);
        run.open(&[0]);
        run.put(&records);
        run.put(&records[5..]);
        run.pre_commit();
        run.close(&[0]);
        run.stop();
    }
    assert_eq!(fixture.arrived(), records.len(), "records that come again are the same records");
}

fn partitions_come_and_go(fixture: &impl SinkFixture) {
    let mut run = Run::start(fixture);
    run.open(&[0]);
    run.put(&batch(fixture, &[0], 0..3));
    run.open(&[1]);
    run.put(&batch(fixture, &[0, 1], 3..6));
    run.pre_commit();
    run.close(&[0]);
    run.put(&batch(fixture, &[1], 6..9));
    let allowed = run.pre_commit();
    assert!(
        allowed.keys().all(|partition| partition.partition == 1),
        "offsets of a closed partition may not be committed: {allowed:?}"
    );
    run.close(&[1]);
    run.stop();
}
