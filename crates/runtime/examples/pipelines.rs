//! How fast records go through a source and a sink task, with our own broker in the same process: `cargo run --release --example pipelines`.
//!
//! Prints records a second, and processor seconds per million records, the broker's included. Compare runs on one machine only.
#![expect(clippy::disallowed_methods, reason = "driver: measures by the clock")]

use async_trait::async_trait;
use kurier_api::config::{ConfigDef, Props};
use kurier_api::data::{Map, Value};
use kurier_api::plugin::{
    Connector, ConnectorContext, Descriptor, Sink, SinkTask, SinkTaskContext, Source, SourceTask, SourceTaskContext,
};
use kurier_api::record::{SourceOffset, SourcePartition};
use kurier_api::{ConnectError, SinkRecord, SourceRecord};
use kurier_broker::{Broker, BrokerConfig};
use kurier_runtime::registry::Registry;
use kurier_runtime::store::OffsetStore;
use kurier_runtime::unit::{Epoch, Start, TargetState, TaskId, UnitEvent, UnitId, Worker};
use kurier_runtime::worker::{KafkaClients, LocalWorker, WorkerParts};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const RECORDS: i64 = 2_000_000;
const BATCH: i64 = 1_000;

#[derive(Default)]
struct Generator(ConfigDef);

struct Nothing;

struct GeneratorTask(i64, Arc<dyn SourceTaskContext>);

#[async_trait]
impl Connector for Nothing {
    async fn task_configs(&mut self, _max: usize) -> Result<Vec<Props>, ConnectError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Source for Generator {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "example.GeneratorSourceConnector", version: "1" }
    }

    fn config(&self) -> &ConfigDef {
        &self.0
    }

    async fn connect(&self, _: &Props, _: Arc<dyn ConnectorContext>) -> Result<Box<dyn Connector>, ConnectError> {
        Ok(Box::new(Nothing))
    }

    async fn start_task(
        &self,
        _: &Props,
        context: Arc<dyn SourceTaskContext>,
    ) -> Result<Box<dyn SourceTask>, ConnectError> {
        Ok(Box::new(GeneratorTask(0, context)))
    }
}

fn map(key: &str, value: i64) -> Map {
    let mut map = Map::hash();
    map.insert(Value::text(key), Value::I64(value));
    map
}

#[async_trait]
impl SourceTask for GeneratorTask {
    async fn poll(&mut self, deadline: Instant) -> Result<Vec<SourceRecord>, ConnectError> {
        if self.0 >= RECORDS {
            self.1.sleep_until(deadline).await;
            return Ok(Vec::new());
        }
        let (partition, topic): (SourcePartition, Arc<str>) = (Arc::new(map("p", 0)), "bench".into());
        let batch = (self.0..self.0 + BATCH).map(|n| {
            let mut value = map("id", n);
            value.insert(Value::text("name"), Value::text("a name of some length"));
            value.insert(Value::text("amount"), Value::F64(n as f64 / 3.0));
            value.insert(Value::text("text"), Value::text("some more text, to fill a hundred"));
            let offset: SourceOffset = Arc::new(map("o", n));
            SourceRecord::new(partition.clone(), offset, topic.clone(), None, value.into())
        });
        let batch = batch.collect();
        self.0 += BATCH;
        Ok(batch)
    }
}

#[derive(Default)]
struct Void(ConfigDef);

#[async_trait]
impl Sink for Void {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "example.VoidSinkConnector", version: "1" }
    }

    fn config(&self) -> &ConfigDef {
        &self.0
    }

    async fn connect(&self, _: &Props, _: Arc<dyn ConnectorContext>) -> Result<Box<dyn Connector>, ConnectError> {
        Ok(Box::new(Nothing))
    }

    async fn start_task(&self, _: &Props, _: Arc<dyn SinkTaskContext>) -> Result<Box<dyn SinkTask>, ConnectError> {
        Ok(Box::new(Nothing))
    }
}

#[async_trait]
impl SinkTask for Nothing {
    async fn put(&mut self, _: &[SinkRecord]) -> Result<(), ConnectError> {
        Ok(())
    }
}

#[async_trait]
impl OffsetStore for Nothing {
    async fn get(&self, _: &str, partitions: &[SourcePartition]) -> Result<Vec<Option<SourceOffset>>, ConnectError> {
        Ok(vec![None; partitions.len()])
    }

    async fn set(&self, _: &str, _: &[(SourcePartition, Option<SourceOffset>)]) -> Result<(), ConnectError> {
        Ok(())
    }

    async fn list(&self, _: &str) -> Result<Vec<(SourcePartition, SourceOffset)>, ConnectError> {
        Ok(Vec::new())
    }
}

/// Processor seconds of this process so far.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[tokio::main]
async fn main() {
    let broker = Broker::start(BrokerConfig::default()).await.expect("the broker starts");
    let mut registry = Registry::new();
    registry.add_source(Arc::new(Generator::default()));
    registry.add_sink(Arc::new(Void::default()));
    kurier_builtin::converters::converters().for_each(|converter| registry.add_converter(converter));
    kurier_builtin::converters::header_converters().for_each(|converter| registry.add_header_converter(converter));
    let json = "org.apache.kafka.connect.json.JsonConverter";
    let props = [
        ("bootstrap.servers", broker.address()),
        ("key.converter", json),
        ("value.converter", json),
        ("value.converter.schemas.enable", "false"),
    ];
    let (events, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let worker = LocalWorker::new(WorkerParts {
        registry: Arc::new(registry),
        resolver: Arc::default(),
        props: props.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        offsets: Arc::new(Nothing),
        clients: Arc::new(KafkaClients),
        runtime: tokio::runtime::Handle::current(),
        threads: 2,
        events,
    })
    .expect("the worker starts");
    for (task, class) in [(0, "example.GeneratorSourceConnector"), (1, "example.VoidSinkConnector")] {
        let config = [("connector.class", class), ("topics", "bench")];
        let config: Arc<_> = Arc::new(config.map(|(k, v)| (k.to_owned(), Some(v.to_owned()))).into_iter().collect());
        let id = TaskId { connector: "c".into(), task };
        let (unit, epoch) = (UnitId::Task(id.clone()), Epoch(task.into()));
        let (begin, cpu_before) = (Instant::now(), cpu());
        let (connector, config) = (Arc::clone(&config), Some(config));
        worker.start(Start { unit: unit.clone(), epoch, target: TargetState::Started, connector, task: config });
        while worker.counters(&id).is_none_or(|counters| counters.records_out.load(Ordering::Relaxed) < RECORDS as u64)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (seconds, processor) = (begin.elapsed().as_secs_f64(), cpu() - cpu_before);
        let millions = RECORDS as f64 / 1e6;
        println!("{class}: {:.2} M records/s, {:.2} cpu-s per million", millions / seconds, processor / millions);
        worker.stop(&unit, epoch);
        while !matches!(reports.recv().await, Some(UnitEvent::Ended { .. }) | None) {}
    }
}
