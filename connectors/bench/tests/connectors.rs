//! The bench connectors make and count what they are asked to. The suites of `api::testing` do not fit them: nothing can be added to what the
//! generator makes, and the sink counts a record that comes again twice.

use kurier_api::data::Value;
use kurier_api::plugin::{Offsets, Sink, SinkTask, Source, SourceTask};
use kurier_api::record::{Record, SinkRecord, TimestampType, TopicPartition};
use kurier_api::testing::{TestSinkContext, TestSourceContext, block_on, poll_records, props};
use kurier_connector_bench::{GenSource, NullSink};

#[test]
fn the_generator_makes_what_is_asked_for_and_goes_on_where_it_was() {
    let source = GenSource::default();
    let config = props([("topic", "t"), ("records.total", "25"), ("batch.size", "7"), ("task.no", "1")]);
    let mut task: Box<dyn SourceTask> = block_on(source.start_task(&config, TestSourceContext::after(&[]))).unwrap();
    let first = poll_records(task.as_mut(), 14);
    let mut task = block_on(source.start_task(&config, TestSourceContext::after(&first))).unwrap();
    let rest = poll_records(task.as_mut(), 11);
    assert_eq!((first.len(), rest.len(), task.is_idle()), (14, 11, Some(true)));
    let ids =
        first.iter().chain(&rest).map(|r| r.record.value.value.as_map().unwrap().get_text("id").cloned().unwrap());
    assert_eq!(ids.collect::<Vec<_>>(), (0..25).map(Value::I64).collect::<Vec<_>>());
}

#[test]
fn structs_have_the_same_fields_as_maps() {
    let source = GenSource::default();
    let made = ["true", "false"].map(|structs| {
        let config = props([("topic", "t"), ("records.total", "1"), ("struct", structs), ("payload.bytes", "3")]);
        let mut task = block_on(source.start_task(&config, TestSourceContext::after(&[]))).unwrap();
        poll_records(task.as_mut(), 1).remove(0).record.value.value
    });
    for field in ["id", "name", "price", "ok", "task"] {
        let (of_struct, of_map) = (made[0].as_struct().unwrap().get(field), made[1].as_map().unwrap().get_text(field));
        assert_eq!(of_struct, of_map, "{field}");
        assert!(of_map.is_some(), "{field}");
    }
}

#[test]
fn the_null_sink_writes_its_count() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("count");
    let sink = NullSink::default();
    let config = props([("count.file", file.to_str().unwrap()), ("expected", "3")]);
    let mut task: Box<dyn SinkTask> = block_on(sink.start_task(&config, TestSinkContext::new())).unwrap();
    let record = |offset| SinkRecord {
        record: Record::new("t".into(), Default::default()),
        offset,
        timestamp_type: TimestampType::CreateTime,
        origin: TopicPartition::new("t", 0),
    };
    let count = || std::fs::read_to_string(&file).unwrap().split(' ').next().unwrap().to_owned();
    block_on(task.put(&[record(0), record(1), record(2)])).unwrap();
    assert_eq!(count(), "3");
    block_on(task.put(&[record(3)])).unwrap();
    block_on(task.pre_commit(&Offsets::new())).unwrap();
    assert_eq!(count(), "4");
}
