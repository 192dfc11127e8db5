//! The source pipeline against an outlet that acknowledges in any order, and a store in memory.

use super::*;
use crate::pipeline::control::{Orders, orders};
use crate::pipeline::stages::{Converters, TransformStage, Transforms};
use crate::pipeline::tolerance::Tolerance;
use crate::testing::TextBytes;
use crate::unit::{Epoch, UnitEvent, UnitId};
use async_trait::async_trait;
use kurier_api::data::{Map, Value};
use kurier_api::plugin::{Transform, Verdict};
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// Drops texts that start with `drop`. Asks for another attempt at `later`, but the task is told to stop before it comes.
struct DropThem(Orders);

impl Transform for DropThem {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        if record.value.value.as_text() == Some("later") {
            self.0.give(Order::Stop);
            return Err(ConnectError::retriable("not now"));
        }
        let drop = record.value.value.as_text().is_some_and(|text| text.starts_with("drop"));
        Ok(if drop { Verdict::Drop } else { Verdict::Keep })
    }
}

/// What happened, in order: the pipeline's outside.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().push(line.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

/// A task that returns given batches of texts, then stops its life by an order.
struct Texts {
    batches: VecDeque<Vec<&'static str>>,
    next: i64,
    orders: Orders,
    log: Log,
    wants_acks: bool,
    abandoned: bool,
}

fn map(name: &str, value: impl Into<Value>) -> Arc<Map> {
    let mut map = Map::hash();
    map.insert(Value::text(name), value.into());
    Arc::new(map)
}

#[async_trait]
impl SourceTask for Texts {
    async fn poll(&mut self, _deadline: Instant) -> Result<Vec<SourceRecord>, ConnectError> {
        let Some(batch) = self.batches.pop_front() else {
            if self.abandoned {
                self.orders.abandon().await;
            }
            self.orders.give(Order::Stop);
            return Ok(Vec::new());
        };
        let records = batch.into_iter().map(|text| {
            let (partition, text) = text.split_once(':').unwrap_or(("p", text));
            self.next += 1;
            SourceRecord::new(map("p", partition), map("o", self.next), "t".into(), None, Value::text(text))
        });
        Ok(records.collect())
    }

    async fn committed(&mut self, offsets: &[(SourcePartition, SourceOffset)]) -> Result<(), ConnectError> {
        self.log.add(format!("committed {}", shown(offsets.iter().map(|(p, o)| (p, Some(o))))));
        Ok(())
    }

    fn wants_acks(&self) -> bool {
        self.wants_acks
    }

    async fn acked(&mut self, records: &[AckedRecord]) -> Result<(), ConnectError> {
        for AckedRecord { record, delivered } in records {
            let text = record.record.value.value.as_text().unwrap_or_default();
            self.log.add(format!("acked {text} at {:?}", delivered.as_ref().map(|(_, offset)| *offset)));
        }
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        self.log.add("stop");
        Ok(())
    }
}

fn shown<'a>(offsets: impl Iterator<Item = (&'a Arc<Map>, Option<&'a Arc<Map>>)>) -> String {
    let mut shown: Vec<_> = offsets
        .map(|(p, o)| {
            let offset = o.and_then(|o| o.get_text("o")).and_then(Value::as_integer).unwrap_or(-1);
            format!("{}={offset}", p.get_text("p").and_then(Value::as_text).unwrap_or("?"))
        })
        .collect();
    shown.sort();
    shown.join(",")
}

/// A store in memory.
#[derive(Default)]
struct Store {
    log: Log,
    failures: Mutex<u32>,
}

#[async_trait]
impl OffsetStore for Store {
    async fn get(&self, _: &str, partitions: &[SourcePartition]) -> Result<Vec<Option<SourceOffset>>, ConnectError> {
        Ok(vec![None; partitions.len()])
    }

    async fn set(
        &self,
        _connector: &str,
        offsets: &[(SourcePartition, Option<SourceOffset>)],
    ) -> Result<(), ConnectError> {
        let fails = {
            let mut failures = self.failures.lock();
            let fails = *failures > 0;
            *failures -= u32::from(fails);
            fails
        };
        if fails {
            return Err(ConnectError::connect("disk full"));
        }
        self.log.add(format!("stored {}", shown(offsets.iter().map(|(p, o)| (p, o.as_ref())))));
        Ok(())
    }

    async fn list(&self, _: &str) -> Result<Vec<(SourcePartition, SourceOffset)>, ConnectError> {
        Ok(Vec::new())
    }
}

/// Takes everything; acknowledges when asked, the newest first.
struct Backwards {
    log: Log,
    waiting: Vec<(Ticket, String)>,
    /// Texts that Kafka refuses, and texts that are never acknowledged.
    refuses: &'static str,
    forgets: &'static str,
}

#[async_trait]
impl Outlet for Backwards {
    async fn send(&mut self, batch: &mut ProduceBatch) -> Result<(), ConnectError> {
        for record in batch.iter() {
            let text = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
            self.log.add(format!("sent {text}"));
            self.waiting.push((record.ticket, text));
        }
        batch.clear();
        Ok(())
    }

    async fn acknowledged(&mut self, wait: Duration) -> Vec<Acknowledgement> {
        let forgets = self.forgets;
        self.waiting.retain(|(_, text)| text != forgets);
        if self.waiting.is_empty() {
            tokio::time::sleep(wait.min(Duration::from_millis(5))).await;
        }
        let acknowledge = |(ticket, text): (Ticket, String)| Acknowledgement {
            tickets: ticket..ticket + 1,
            outcome: if text == self.refuses {
                Err(ConnectError::connect("refused"))
            } else {
                Ok((TopicPartition::new("t", 0), ticket as i64 + 100))
            },
        };
        // One at a time, so that commits fall between them.
        self.waiting.pop().map(acknowledge).into_iter().collect()
    }

    async fn close(&mut self) {
        self.log.add("closed");
    }
}

struct Setting {
    batches: Vec<Vec<&'static str>>,
    tolerance: ToleranceLevel,
    refuses: &'static str,
    forgets: &'static str,
    wants_acks: bool,
    store_failures: u32,
    abandoned: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            batches: Vec::new(),
            tolerance: ToleranceLevel::None,
            refuses: "-",
            forgets: "-",
            wants_acks: false,
            store_failures: 0,
            abandoned: false,
        }
    }
}

/// Runs a life to its end; answers what happened, how it ended, and what was counted.
async fn run(setting: Setting) -> (Vec<String>, Option<String>, Arc<TaskCounters>) {
    let log = Log::default();
    let (orders, control) = orders(Order::Run, tokio::runtime::Handle::current());
    let (events, _received) = mpsc::unbounded_channel::<UnitEvent>();
    let id = TaskId { connector: "c".into(), task: 0 };
    let counters = Arc::new(TaskCounters::default());
    let tolerance = Tolerance { level: setting.tolerance, retry_timeout: None, ..Tolerance::default() };
    let converters = Converters {
        key: ("K".into(), Box::new(TextBytes::default())),
        value: ("V".into(), Box::new(TextBytes::default())),
        header: ("H".into(), Box::new(TextBytes::default())),
    };
    let drop = TransformStage { class: "D".into(), transform: Box::new(DropThem(orders.clone())), guard: None };
    let texts = Texts {
        batches: setting.batches.into(),
        next: 0,
        orders: orders.clone(),
        log: log.clone(),
        wants_acks: setting.wants_acks,
        abandoned: setting.abandoned,
    };
    let pipeline = SourcePipeline {
        id: id.clone(),
        task: Box::new(texts),
        encoder: Encoder::new(converters, Transforms::new(vec![drop]), tolerance.clone()),
        topics: None,
        outlet: Box::new(Backwards {
            log: log.clone(),
            waiting: Vec::new(),
            refuses: setting.refuses,
            forgets: setting.forgets,
        }),
        offsets: Arc::new(Store { log: log.clone(), failures: Mutex::new(setting.store_failures) }),
        errors: Arc::new(ErrorReporter::new(id.clone(), tolerance, counters.clone(), None)),
        control,
        reports: Reports::new(UnitId::Task(id), Epoch(1), events),
        counters: counters.clone(),
        settings: SourceSettings {
            commit_interval: Duration::from_secs(3_600),
            commit_timeout: Duration::from_millis(100),
        },
    };
    let outcome = pipeline.run().await;
    (log.lines(), outcome.err().map(|error| error.trace()), counters)
}

#[tokio::test]
async fn offsets_are_stored_before_the_task_hears_of_them_and_everything_is_acknowledged_first() {
    let batches = vec![vec!["a", "q:b", "drop"], vec!["c"]];
    let (log, error, counters) = run(Setting { batches, ..Setting::default() }).await;
    assert_eq!(error, None);
    assert_eq!(log, ["sent a", "sent b", "sent c", "stored p=4,q=2", "committed p=4,q=2", "stop", "closed"]);
    let counts = [&counters.records_in, &counters.records_out, &counters.dropped, &counters.failed];
    assert_eq!(counts.map(|n| n.load(Relaxed)), [4, 3, 1, 0]);
}

#[tokio::test]
async fn a_record_that_ends_the_task_is_not_committed_and_those_before_it_are() {
    let batches = vec![vec!["a", "b", "bad", "c"]];
    let (log, error, counters) = run(Setting { batches, ..Setting::default() }).await;
    assert_eq!(log, ["sent a", "sent b", "stored p=2", "committed p=2", "stop", "closed"]);
    let error = error.unwrap();
    assert!(error.contains("Tolerance exceeded in error handler") && error.contains("bad text"), "{error}");
    assert_eq!(counters.failed.load(Relaxed), 1);
}

#[tokio::test]
async fn a_record_that_is_tried_again_at_the_stop_is_left_and_not_reported() {
    for (tolerance, before) in [(ToleranceLevel::All, "bad"), (ToleranceLevel::None, "drop")] {
        let batches = vec![vec!["a", before, "later", "b"]];
        let (log, error, counters) = run(Setting { batches, tolerance, ..Setting::default() }).await;
        assert_eq!(error, None, "it stops as it was told to");
        assert_eq!(log, ["sent a", "stored p=2", "committed p=2", "stop", "closed"]);
        // What is reported is counted and logged in one go.
        assert_eq!(counters.failed.load(Relaxed), u64::from(before == "bad"));
        assert_eq!(counters.dropped.load(Relaxed), u64::from(before == "drop"));
    }
}

#[tokio::test]
async fn tolerated_records_advance_their_offset() {
    let batches = vec![vec!["a", "bad", "no", "bad end"]];
    let tolerance = ToleranceLevel::All;
    let (log, error, counters) = run(Setting { batches, tolerance, refuses: "no", ..Setting::default() }).await;
    assert_eq!(error, None);
    assert_eq!(log, ["sent a", "sent no", "stored p=4", "committed p=4", "stop", "closed"]);
    assert_eq!((counters.failed.load(Relaxed), counters.records_out.load(Relaxed)), (3, 1));
}

#[tokio::test]
async fn nothing_behind_a_record_that_kafka_did_not_take_is_committed() {
    for (refuses, forgets) in [("b", "-"), ("-", "b")] {
        let mut batches = vec![vec!["a", "b", "c", "q:d"]];
        batches.resize(10, Vec::new()); // Turns in which acknowledgements come.
        let (log, error, _) = run(Setting { batches, refuses, forgets, ..Setting::default() }).await;
        assert!(log.contains(&"stored p=1,q=4".to_owned()), "{log:?}");
        assert_eq!(log.iter().filter(|line| line.starts_with("stored")).count(), 1, "{log:?}");
        if refuses == "b" {
            let error = error.unwrap_or_default();
            assert!(error.contains("Unrecoverable exception from producer send callback"), "{error}");
        }
    }
}

#[tokio::test]
async fn the_task_does_not_hear_of_a_commit_that_failed() {
    let (log, _, _) = run(Setting { batches: vec![vec!["a"]], store_failures: 1, ..Setting::default() }).await;
    assert_eq!(log, ["sent a", "stop", "closed"]);
}

#[tokio::test]
async fn a_task_that_wants_to_hear_of_records_hears_of_each() {
    let batches = vec![vec!["a", "drop"], vec!["b"]];
    let (mut log, _, _) = run(Setting { batches, wants_acks: true, ..Setting::default() }).await;
    log.retain(|line| line.starts_with("acked"));
    log.sort();
    assert_eq!(log, ["acked a at Some(100)", "acked b at Some(102)", "acked drop at None"]);
}

#[tokio::test]
async fn an_abandoned_life_commits_nothing() {
    let (log, _, _) = run(Setting { batches: vec![vec!["a"]], abandoned: true, ..Setting::default() }).await;
    assert_eq!(log.first().map(String::as_str), Some("sent a"));
    assert!(!log.iter().any(|line| line.starts_with("stored") || line.starts_with("committed")), "{log:?}");
}
