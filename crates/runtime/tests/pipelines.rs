//! Tasks on a worker against our own broker: what arrives, what is committed, and what happens in between.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock")]

mod bench;

use bench::{Bench, numbers, until};
use kurier_api::TopicPartition;
use kurier_runtime::unit::{State, UnitEvent, UnitId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

const SINK: [(&str, &str); 2] = [("connector.class", "test.CollectSinkConnector"), ("topics", "in")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_goes_on_where_it_stopped_and_its_offsets_never_run_ahead() {
    let mut bench = Bench::start(1).await;
    for end in [1_000, 1_001, 5_000] {
        bench.numbers.end.store(end, Ordering::Relaxed);
        let life = bench.source().await;
        let committed = bench.numbers.committed.clone();
        until("everything is committed", async || committed.load(Ordering::Relaxed) == end).await;
        assert_eq!(bench.stored().await, end);
        let UnitId::Task(task) = &life.0 else { panic!("a task") };
        let counters = bench.worker.counters(task).unwrap();
        until("the task is idle", async || counters.idle.load(Ordering::Relaxed) == 1).await;
        bench.stop(life).await;
        let values: Vec<_> = bench.read("numbers", end as usize).await.into_iter().map(|(value, _)| value).collect();
        assert_eq!(values, numbers(0..end));
    }
    // Stopped in the middle, the final commit says how far it came.
    bench.numbers.end.store(i64::MAX / 2, Ordering::Relaxed);
    let life = bench.source().await;
    let committed = bench.numbers.committed.clone();
    until("it runs", async || committed.load(Ordering::Relaxed) > 6_000).await;
    bench.stop(life).await;
    let stored = bench.stored().await;
    assert_eq!(bench.read("numbers", stored as usize).await.len() as i64, stored, "nothing beyond was sent and left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_gets_every_record_once_and_commits_what_it_put() {
    let mut bench = Bench::start(2).await;
    bench.write("in", 0, numbers(0..1_000)).await;
    bench.write("in", 1, numbers(1_000..1_500)).await;
    bench.collect.refusals.store(3, Ordering::Relaxed);
    let life = bench.run(0, &SINK).await;
    let collect = bench.collect.clone();
    until("everything is put", async || collect.records.lock().len() >= 1_500).await;
    until("everything is committed", async || bench.committed("in", 0).await == Some(1_000)).await;
    until("everything is committed", async || bench.committed("in", 1).await == Some(500)).await;
    bench.stop(life).await;
    let found: BTreeSet<_> = collect.texts().into_iter().collect();
    assert_eq!((found.len(), collect.texts().len()), (1_500, 1_500));
    let first = collect.records.lock()[0].clone();
    assert_eq!((first.record.timestamp, first.record.headers.len()), (Some(5), 1));
    assert_eq!(collect.calls.lock().as_slice(), ["0: open in-0,in-1", "0: close in-0,in-1", "0: stop "]);
    // The next life begins behind it.
    bench.write("in", 0, numbers(0..1)).await;
    let life = bench.run(0, &SINK).await;
    until("the new one is put", async || collect.records.lock().len() == 1_501).await;
    bench.stop(life).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sink_holds_back_comes_again_and_a_rewind_reads_again() {
    let mut bench = Bench::start(1).await;
    bench.write("in", 0, numbers(0..10)).await;
    let collect = bench.collect.clone();
    collect.holds.store(true, Ordering::Relaxed);
    let life = bench.run(0, &SINK).await;
    until("everything is put", async || collect.records.lock().len() == 10).await;
    bench.stop(life).await;
    assert_eq!(bench.committed("in", 0).await, None);
    collect.holds.store(false, Ordering::Relaxed);
    *collect.rewind.lock() = Some((TopicPartition::new("in", 0), 7));
    let life = bench.run(0, &SINK).await;
    until("everything came again, and some once more", async || collect.records.lock().len() == 23).await;
    bench.stop(life).await;
    let expected = [numbers(0..10), numbers(0..10), numbers(7..10)].concat();
    assert_eq!(collect.texts(), expected);
    assert_eq!(bench.committed("in", 0).await, Some(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_and_errant_records_go_to_the_dead_letter_queue_with_their_reasons() {
    let mut bench = Bench::start(1).await;
    let texts = ["\"good\"", "broken", "\"errant\"", "\"last\""].map(str::to_owned);
    bench.write("in", 0, texts).await;
    let mut config = SINK.to_vec();
    config.extend([
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("value.converter.schemas.enable", "false"),
        ("errors.tolerance", "all"),
        ("errors.deadletterqueue.topic.name", "dead"),
        ("errors.deadletterqueue.topic.replication.factor", "1"),
        ("errors.deadletterqueue.context.headers.enable", "true"),
    ]);
    let life = bench.run(0, &config).await;
    let collect = bench.collect.clone();
    until("the last is put", async || collect.texts().contains(&"last".to_owned())).await;
    until("everything is committed", async || bench.committed("in", 0).await == Some(4)).await;
    let UnitId::Task(task) = &life.0 else { panic!("a task") };
    let counters = bench.worker.counters(task).unwrap();
    assert_eq!((counters.failed.load(Ordering::Relaxed), counters.dead_letters.load(Ordering::Relaxed)), (2, 2));
    bench.stop(life).await;
    let dead = bench.read("dead", 2).await;
    let values: Vec<_> = dead.iter().map(|(value, _)| value.as_str()).collect();
    assert_eq!(values, ["broken", "\"errant\""]);
    assert_eq!((dead[0].1[0].1.as_str(), dead[0].1.len()), ("broken", 11), "its own header comes first");
    let headers: BTreeMap<_, _> = dead[0].1.iter().cloned().collect();
    let expected = [
        ("topic", "in"),
        ("partition", "0"),
        ("offset", "1"),
        ("connector.name", "c"),
        ("task.id", "0"),
        ("stage", "VALUE_CONVERTER"),
        ("class.name", "org.apache.kafka.connect.json.JsonConverter"),
        ("exception.class.name", "org.apache.kafka.connect.errors.DataException"),
        ("exception.message", "Converting byte[] to Kafka Connect data failed due to serialization error: "),
    ];
    for (name, value) in expected {
        assert_eq!(headers[&format!("__connect.errors.{name}")], value, "{name}");
    }
    let errant: BTreeMap<_, _> = dead[1].1.iter().cloned().collect();
    assert_eq!(errant["__connect.errors.stage"], "TASK_PUT");
    assert_eq!(errant["__connect.errors.exception.message"], "this one not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_tried_again_when_its_sink_stops_is_no_dead_letter() {
    let converter = [("value.converter", "test.LaterConverter")];
    let transform = [("transforms", "x"), ("transforms.x.type", "test.LaterTransform")];
    for stage in [&converter[..], &transform[..]] {
        let mut bench = Bench::start(1).await;
        let texts = ["first", "later", "last"].map(str::to_owned);
        bench.write("in", 0, texts.clone()).await;
        let mut config = SINK.to_vec();
        config.extend(stage);
        config.extend([
            ("errors.tolerance", "all"),
            ("errors.retry.timeout", "-1"),
            ("errors.deadletterqueue.topic.name", "dead"),
            ("errors.deadletterqueue.topic.replication.factor", "1"),
        ]);
        let (collect, later) = (bench.collect.clone(), bench.later.clone());
        later.refuses.store(true, Ordering::Relaxed);
        let life = bench.run(0, &config).await;
        until("it is refused", async || later.refused.load(Ordering::Relaxed) > 0).await;
        let UnitId::Task(task) = &life.0 else { panic!("a task") };
        let counters = bench.worker.counters(task).unwrap();
        bench.stop(life).await; // Which fails the test if the task fails.
        assert_eq!((counters.failed.load(Ordering::Relaxed), counters.dead_letters.load(Ordering::Relaxed)), (0, 0));
        assert!(collect.texts().is_empty(), "the whole poll is left");
        assert_eq!(bench.committed("in", 0).await, None);
        later.refuses.store(false, Ordering::Relaxed);
        let life = bench.run(0, &config).await;
        until("everything is committed", async || bench.committed("in", 0).await == Some(3)).await;
        bench.stop(life).await;
        assert_eq!(collect.texts(), texts);
        assert!(bench.read("dead", 0).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tolerance_a_broken_record_fails_the_task_and_stays_uncommitted() {
    let mut bench = Bench::start(1).await;
    bench.write("in", 0, ["broken".to_owned()]).await;
    let mut config = SINK.to_vec();
    config.push(("value.converter", "org.apache.kafka.connect.json.JsonConverter"));
    let life = bench.begin(0, &config);
    let failed =
        bench.wait_for("failure", |event| matches!(event, UnitEvent::State { state: State::Failed, .. })).await;
    let UnitEvent::State { error: Some(error), .. } = failed else { panic!("{failed:?}") };
    assert!(error.trace().contains("Tolerance exceeded in error handler"), "{}", error.trace());
    bench.stop(life).await;
    assert_eq!(bench.committed("in", 0).await, None);
    assert!(bench.collect.texts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_told_also_when_the_sink_then_fails_to_close() {
    let mut bench = Bench::start(1).await;
    bench.write("in", 0, ["panic".to_owned()]).await;
    bench.collect.cannot_close.store(true, Ordering::Relaxed);
    let life = bench.begin(0, &[&SINK[..], &[("value.converter", "test.LaterConverter")]].concat());
    let failed =
        bench.wait_for("failure", |event| matches!(event, UnitEvent::State { state: State::Failed, .. })).await;
    let UnitEvent::State { error: Some(error), .. } = failed else { panic!("{failed:?}") };
    assert!(error.trace().contains("A plugin panicked (in a converter)"), "{}", error.trace());
    bench.stop(life).await;
    assert_eq!(bench.collect.calls.lock().as_slice(), ["0: open in-0", "0: close in-0", "0: stop "]);
    assert_eq!(bench.committed("in", 0).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_share_partitions_and_hand_them_over_without_loss() {
    let mut bench = Bench::start(4).await;
    for partition in 0..4 {
        bench.write("in", partition, numbers(0..50)).await;
    }
    let collect = bench.collect.clone();
    let first = bench.run(0, &SINK).await;
    until("one task reads all", async || collect.records.lock().len() == 200).await;
    let second = bench.run(1, &SINK).await;
    until("the second has its share", async || collect.calls.lock().iter().any(|c| c.starts_with("1: open"))).await;
    for partition in 0..4 {
        bench.write("in", partition, numbers(50..100)).await;
    }
    until("both read", async || collect.records.lock().len() >= 400).await;
    bench.stop(first).await;
    for partition in 0..4 {
        bench.write("in", partition, numbers(100..150)).await;
    }
    until("the second reads all", async || collect.records.lock().len() >= 600).await;
    bench.stop(second).await;
    let mut seen: BTreeMap<TopicPartition, Vec<i64>> = BTreeMap::new();
    for record in collect.records.lock().iter() {
        seen.entry(record.origin.clone()).or_default().push(record.offset);
    }
    for (partition, mut offsets) in seen {
        offsets.sort_unstable();
        assert_eq!(offsets, (0..150).collect::<Vec<_>>(), "{partition}: nothing lost, nothing doubled");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_goes_and_comes_back_fails_nobody() {
    let mut bench = Bench::start(1).await;
    bench.write("in", 0, numbers(0..100)).await;
    let sink = bench.run(1, &SINK).await;
    let collect = bench.collect.clone();
    until("everything is put", async || collect.records.lock().len() == 100).await;
    let source = bench.source().await;
    let (end, committed) = (bench.numbers.end.clone(), bench.numbers.committed.clone());
    for round in 1..=3 {
        end.store(round * 2_000, Ordering::Relaxed);
        bench.restart_broker().await;
        bench.write("in", 0, numbers(round * 100..round * 100 + 100)).await;
        until("the source goes on", async || committed.load(Ordering::Relaxed) == round * 2_000).await;
        until("the sink goes on", async || collect.records.lock().len() as i64 >= 100 + round * 100).await;
    }
    bench.stop(source).await;
    bench.stop(sink).await;
    let values: Vec<_> = bench.read("numbers", 6_000).await.into_iter().map(|(value, _)| value).collect();
    assert_eq!(values.len(), 6_000, "nothing lost, nothing doubled");
    assert_eq!(values, numbers(0..6_000));
    let found: BTreeSet<_> = collect.texts().into_iter().collect();
    assert_eq!(found.len(), 400, "nothing lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_sink_leaves_its_partitions_to_its_successor() {
    let mut bench = Bench::start(1).await;
    bench.write("in", 0, numbers(0..10)).await;
    let collect = bench.collect.clone();
    collect.hangs.store(true, Ordering::Relaxed);
    let life = bench.run(0, &SINK).await;
    until("it hangs", async || collect.calls.lock().iter().any(|call| call.contains("hang"))).await;
    bench.stop(life).await;
    collect.hangs.store(false, Ordering::Relaxed);
    let life = bench.run(0, &SINK).await;
    until("its successor puts all", async || collect.records.lock().len() == 10).await;
    bench.stop(life).await;
    assert_eq!(bench.committed("in", 0).await, Some(10));
}
