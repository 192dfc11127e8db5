//! A broker, a worker, and a source and a sink to be run on them.

use async_trait::async_trait;
use kurier_api::config::{ConfigDef, Props};
use kurier_api::data::{Map, SchemaAndValue, SchemaRef, Value};
use kurier_api::plugin::{
    Connector, ConnectorContext, Converter, ConverterRole, ConverterType, Descriptor, Offsets, Presence, SameTasks,
    Sink, SinkTask, SinkTaskContext, Source, SourceTask, SourceTaskContext, Transform, TransformType, Verdict,
};
use kurier_api::{ConnectError, Headers, Record, SinkRecord, SourceRecord, TopicPartition};
use kurier_broker::{Broker, BrokerConfig, Data, RunningBroker};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{Consumer, ConsumerConfig};
use kurier_kafka::producer::{Destination, ProduceBatch, Producer, ProducerConfig};
use kurier_runtime::registry::Registry;
use kurier_runtime::store::{FileOffsetStore, OffsetStore};
use kurier_runtime::unit::{Epoch, Start, State, TargetState, TaskId, UnitEvent, UnitId, Worker};
use kurier_runtime::worker::{KafkaClients, LocalWorker, WorkerParts};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(30);

/// Reads the numbers below `end`, one text record each, and remembers what it was told is committed.
#[derive(Clone, Default)]
pub(crate) struct Numbers {
    def: Arc<ConfigDef>,
    pub(crate) end: Arc<AtomicI64>,
    pub(crate) committed: Arc<AtomicI64>,
}

struct NumbersTask {
    source: Numbers,
    context: Arc<dyn SourceTaskContext>,
    topic: Arc<str>,
    next: i64,
}

fn map(key: &str, value: i64) -> Arc<Map> {
    let mut map = Map::hash();
    map.insert(Value::text(key), Value::I64(value));
    Arc::new(map)
}

#[async_trait]
impl Source for Numbers {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "test.NumbersSourceConnector", version: "1" }
    }

    fn config(&self) -> &ConfigDef {
        &self.def
    }

    async fn connect(
        &self,
        props: &Props,
        _context: Arc<dyn ConnectorContext>,
    ) -> Result<Box<dyn Connector>, ConnectError> {
        Ok(SameTasks::as_allowed(props))
    }

    async fn start_task(
        &self,
        props: &Props,
        context: Arc<dyn SourceTaskContext>,
    ) -> Result<Box<dyn SourceTask>, ConnectError> {
        let offset = context.offsets(&[map("numbers", 0)]).await?.pop().flatten();
        let next = offset.and_then(|offset| offset.get_text("next").and_then(Value::as_integer)).unwrap_or(0);
        Ok(Box::new(NumbersTask { source: self.clone(), context, topic: props["topic"].as_str().into(), next }))
    }
}

#[async_trait]
impl SourceTask for NumbersTask {
    async fn poll(&mut self, deadline: Instant) -> Result<Vec<SourceRecord>, ConnectError> {
        let end = self.source.end.load(Ordering::Relaxed);
        if self.next >= end {
            // Not to the deadline: the numbers may go on any moment.
            self.context.sleep_until(deadline.min(Instant::now() + Duration::from_millis(5))).await;
        }
        let batch = self.next..end.min(self.next + 100);
        self.next = self.next.max(batch.end);
        let (partition, topic) = (map("numbers", 0), self.topic.clone());
        let record = |n: i64| {
            SourceRecord::new(partition.clone(), map("next", n + 1), topic.clone(), None, Value::text(n.to_string()))
        };
        Ok(batch.map(record).collect())
    }

    async fn committed(&mut self, offsets: &[(Arc<Map>, Arc<Map>)]) -> Result<(), ConnectError> {
        for (_, offset) in offsets {
            let next = offset.get_text("next").and_then(Value::as_integer).unwrap_or(0);
            self.source.committed.store(next, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_idle(&self) -> Option<bool> {
        Some(self.next >= self.source.end.load(Ordering::Relaxed))
    }
}

/// Takes texts; does what the test wants meanwhile.
#[derive(Clone, Default)]
pub(crate) struct Collect {
    def: Arc<ConfigDef>,
    pub(crate) records: Arc<Mutex<Vec<SinkRecord>>>,
    pub(crate) calls: Arc<Mutex<Vec<String>>>,
    /// Puts of records that fail for now.
    pub(crate) refusals: Arc<AtomicU32>,
    /// Whether `pre_commit` holds everything back.
    pub(crate) holds: Arc<AtomicBool>,
    /// Whether puts of records never return.
    pub(crate) hangs: Arc<AtomicBool>,
    /// Whether `close` fails.
    pub(crate) cannot_close: Arc<AtomicBool>,
    /// Where to go back to, once.
    pub(crate) rewind: Arc<Mutex<Option<(TopicPartition, i64)>>>,
}

struct CollectTask {
    sink: Collect,
    context: Arc<dyn SinkTaskContext>,
}

#[async_trait]
impl Sink for Collect {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "test.CollectSinkConnector", version: "1" }
    }

    fn config(&self) -> &ConfigDef {
        &self.def
    }

    async fn connect(
        &self,
        props: &Props,
        _context: Arc<dyn ConnectorContext>,
    ) -> Result<Box<dyn Connector>, ConnectError> {
        Ok(SameTasks::as_allowed(props))
    }

    async fn start_task(
        &self,
        _props: &Props,
        context: Arc<dyn SinkTaskContext>,
    ) -> Result<Box<dyn SinkTask>, ConnectError> {
        Ok(Box::new(CollectTask { sink: self.clone(), context }))
    }
}

impl CollectTask {
    fn note(&self, call: &str, partitions: &[TopicPartition]) {
        let names: Vec<_> = partitions.iter().map(ToString::to_string).collect();
        self.sink.calls.lock().push(format!("{}: {call} {}", self.context.task(), names.join(",")));
    }
}

#[async_trait]
impl SinkTask for CollectTask {
    async fn open(&mut self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        self.note("open", partitions);
        Ok(())
    }

    async fn put(&mut self, records: &[SinkRecord]) -> Result<(), ConnectError> {
        if !records.is_empty() && self.sink.hangs.load(Ordering::Relaxed) {
            self.note("hang", &[]);
            std::future::pending::<()>().await;
        }
        let less = |left: u32| left.checked_sub(1);
        if !records.is_empty() && self.sink.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            self.context.timeout(Duration::from_millis(5));
            return Err(ConnectError::retriable("not now"));
        }
        for record in records {
            if record.record.value.value.as_text() == Some("errant") {
                let reporter = self.context.reporter().expect("there is a dead letter queue");
                reporter.report(record, ConnectError::data("this one not")).await?;
            }
        }
        let rewind = if records.is_empty() { None } else { self.sink.rewind.lock().take() };
        if let Some((partition, offset)) = rewind {
            self.context.offset(&partition, offset);
        }
        self.sink.records.lock().extend(records.iter().cloned());
        self.context.request_commit();
        Ok(())
    }

    async fn pre_commit(&mut self, offsets: &Offsets) -> Result<Offsets, ConnectError> {
        Ok(if self.sink.holds.load(Ordering::Relaxed) { Offsets::new() } else { offsets.clone() })
    }

    async fn close(&mut self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        self.note("close", partitions);
        if self.sink.cannot_close.load(Ordering::Relaxed) { Err(ConnectError::connect("it is stuck")) } else { Ok(()) }
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        self.note("stop", &[]);
        Ok(())
    }
}

impl Collect {
    /// The texts put so far.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.records.lock().iter().map(|r| r.record.value.value.as_text().unwrap_or("?").to_owned()).collect()
    }
}

/// Takes texts but `panic`; while it `refuses`, it asks for another attempt at the text `later`.
#[derive(Clone, Default)]
pub(crate) struct Later {
    def: Arc<ConfigDef>,
    pub(crate) refuses: Arc<AtomicBool>,
    /// Attempts it refused.
    pub(crate) refused: Arc<AtomicU32>,
}

impl Later {
    fn take(&self, text: Option<&str>) -> Result<(), ConnectError> {
        assert_ne!(text, Some("panic"), "expected by the test");
        if text == Some("later") && self.refuses.load(Ordering::Relaxed) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(ConnectError::retriable("not now"));
        }
        Ok(())
    }
}

impl Transform for Later {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        self.take(record.value.value.as_text()).map(|()| Verdict::Keep)
    }
}

impl TransformType for Later {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "test.LaterTransform", version: "1" }
    }

    fn config(&self) -> &ConfigDef {
        &self.def
    }

    fn create(&self, _props: &Props) -> Result<Box<dyn Transform>, ConnectError> {
        Ok(Box::new(self.clone()))
    }
}

impl Converter for Later {
    fn from_connect_data(
        &mut self,
        _topic: &str,
        _headers: &mut Headers,
        _schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        out.extend_from_slice(value.as_text().unwrap_or_default().as_bytes());
        Ok(Presence::Bytes)
    }

    fn to_connect_data(
        &mut self,
        _topic: &str,
        _headers: &Headers,
        bytes: Option<&[u8]>,
    ) -> Result<SchemaAndValue, ConnectError> {
        let text = String::from_utf8_lossy(bytes.unwrap_or_default());
        self.take(Some(&text))?;
        Ok(SchemaAndValue { schema: None, value: Value::text(&*text) })
    }
}

impl ConverterType for Later {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "test.LaterConverter", version: "1" }
    }

    fn config(&self) -> &ConfigDef {
        &self.def
    }

    fn create(&self, _props: &Props, _role: ConverterRole) -> Result<Box<dyn Converter>, ConnectError> {
        Ok(Box::new(self.clone()))
    }
}

/// All of it.
pub(crate) struct Bench {
    broker: Option<RunningBroker>,
    config: BrokerConfig,
    address: String,
    pub(crate) worker: LocalWorker,
    events: mpsc::UnboundedReceiver<UnitEvent>,
    offsets: Arc<FileOffsetStore>,
    pub(crate) numbers: Numbers,
    pub(crate) collect: Collect,
    pub(crate) later: Later,
    epoch: u64,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// Stops the broker and starts it again on what it has kept.
    pub(crate) async fn restart_broker(&mut self) {
        self.broker.take().expect("it runs").stop().await.unwrap();
        self.broker = Some(Broker::start(self.config.clone()).await.unwrap());
    }

    /// A broker whose topics have so many partitions, and a worker that runs nothing yet.
    pub(crate) async fn start(partitions: i32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::Dir(folder.path().join("broker"));
        let config = BrokerConfig { num_partitions: partitions, data, ..BrokerConfig::default() };
        let broker = Broker::start(config.clone()).await.unwrap();
        let (address, port) = (broker.address().to_owned(), broker.local_addr().port());
        let (broker, config) = (Some(broker), BrokerConfig { port, ..config });
        let (numbers, collect, later) = (Numbers::default(), Collect::default(), Later::default());
        let mut registry = Registry::new();
        registry.add_source(Arc::new(numbers.clone()));
        registry.add_sink(Arc::new(collect.clone()));
        registry.add_transform(Arc::new(later.clone()));
        registry.add_converter(Arc::new(later.clone()));
        kurier_builtin::converters::converters().for_each(|converter| registry.add_converter(converter));
        kurier_builtin::converters::header_converters().for_each(|converter| registry.add_header_converter(converter));
        let json = registry.converter("org.apache.kafka.connect.json.JsonConverter").unwrap().clone();
        let offsets = Arc::new(FileOffsetStore::open(folder.path().join("offsets"), &*json).unwrap());
        let props = [
            ("bootstrap.servers", address.as_str()),
            ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
            ("value.converter", "org.apache.kafka.connect.storage.StringConverter"),
            ("offset.flush.interval.ms", "10"),
            ("task.shutdown.graceful.timeout.ms", "3000"),
        ];
        let props = props.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let (sender, events) = mpsc::unbounded_channel();
        let worker = LocalWorker::new(WorkerParts {
            registry: Arc::new(registry),
            resolver: Arc::default(),
            props,
            offsets: offsets.clone(),
            clients: Arc::new(KafkaClients),
            runtime: tokio::runtime::Handle::current(),
            threads: 2,
            events: sender,
        })
        .unwrap();
        Self { broker, config, address, worker, events, offsets, numbers, collect, later, epoch: 0, _folder: folder }
    }

    /// Starts a task and waits until it runs.
    pub(crate) async fn run(&mut self, task: u32, config: &[(&str, &str)]) -> (UnitId, Epoch) {
        let life = self.begin(task, config);
        self.wait_for("running", |event| matches!(event, UnitEvent::State { state: State::Running, .. })).await;
        life
    }

    /// Starts a task.
    pub(crate) fn begin(&mut self, task: u32, config: &[(&str, &str)]) -> (UnitId, Epoch) {
        self.epoch += 1;
        let (unit, epoch) = (UnitId::Task(TaskId { connector: "c".into(), task }), Epoch(self.epoch));
        let config: Arc<_> = Arc::new(config.iter().map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned()))).collect());
        let (connector, task) = (Arc::clone(&config), Some(config));
        self.worker.start(Start { unit: unit.clone(), epoch, target: TargetState::Started, connector, task });
        (unit, epoch)
    }

    /// Starts the source of numbers.
    pub(crate) async fn source(&mut self) -> (UnitId, Epoch) {
        self.run(0, &[("connector.class", "test.NumbersSourceConnector"), ("topic", "numbers")]).await
    }

    /// Stops a life and waits for its end.
    pub(crate) async fn stop(&mut self, (unit, epoch): (UnitId, Epoch)) {
        self.worker.stop(&unit, epoch);
        self.wait_for("end", |event| matches!(event, UnitEvent::Ended { .. })).await;
    }

    /// Waits for an event; a failure that is not wanted fails the test.
    pub(crate) async fn wait_for(&mut self, what: &str, wanted: impl Fn(&UnitEvent) -> bool) -> UnitEvent {
        let find = async {
            loop {
                let event = self.events.recv().await.expect("the worker lives");
                if wanted(&event) {
                    return event;
                }
                let failed = matches!(&event, UnitEvent::State { state: State::Failed, .. });
                assert!(!failed, "no {what}, but {event:?}");
            }
        };
        tokio::time::timeout(PATIENCE, find).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    fn props(&self, more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let given = [("bootstrap.servers", self.address.as_str())];
        given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// Writes texts to a partition, each with itself as a header.
    pub(crate) async fn write(&self, topic: &str, partition: i32, texts: impl IntoIterator<Item = String>) {
        let producer = Producer::new(ProducerConfig::parse(&self.props(&[])).unwrap());
        let (topic, mut batch, mut count): (Arc<str>, _, _) = (topic.into(), ProduceBatch::default(), 0);
        for text in texts {
            let write = |bytes: &mut Vec<u8>| {
                bytes.extend_from_slice(text.as_bytes());
                Ok::<_, ()>(true)
            };
            let mut draft = batch.draft();
            draft.header("h", write).unwrap();
            draft.value(write).unwrap();
            draft.finish(count, Destination { topic: &topic, partition: Some(partition), timestamp: Some(5) });
            count += 1;
        }
        producer.send(&mut batch).await.unwrap();
        let mut told = 0;
        while told < count {
            for delivery in producer.deliveries(Instant::now() + PATIENCE).await {
                delivery.outcome.unwrap();
                told += delivery.tickets.end - delivery.tickets.start;
            }
        }
    }

    /// All records of a topic: value and headers as texts.
    pub(crate) async fn read(&self, topic: &str, count: usize) -> Vec<(String, Vec<(String, String)>)> {
        let properties = self.props(&[("auto.offset.reset", "earliest")]);
        let consumer = Consumer::new(ConsumerConfig::parse(&properties).unwrap());
        consumer.assign(consumer.partitions_for(topic).await.unwrap());
        let (mut records, mut scratch, begin) = (Vec::new(), Scratch::default(), Instant::now());
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"-")).into_owned();
        while records.len() < count || !consumer.caught_up() {
            assert!(begin.elapsed() < PATIENCE, "{} of {count} records are in {topic}", records.len());
            for batch in &consumer.poll(Instant::now() + Duration::from_millis(100)).await.unwrap().batches {
                for record in &batch.open(&mut scratch).unwrap() {
                    let record = record.unwrap();
                    let headers = record.headers.map(|h| (h.name().into_owned(), text(h.value))).collect();
                    records.push((text(record.value), headers));
                }
            }
        }
        records
    }

    /// What the sink's group has committed for a partition.
    pub(crate) async fn committed(&self, topic: &str, partition: i32) -> Option<i64> {
        let consumer = Consumer::new(ConsumerConfig::parse(&self.props(&[("group.id", "connect-c")])).unwrap());
        let partition = kurier_kafka::consumer::TopicPartition::new(topic, partition);
        consumer.committed([partition.clone()]).await.unwrap().get(&partition).map(|committed| committed.offset)
    }

    /// Where the source goes on.
    pub(crate) async fn stored(&self) -> i64 {
        let offsets = self.offsets.get("c", &[map("numbers", 0)]).await.unwrap();
        offsets[0].as_ref().and_then(|o| o.get_text("next").and_then(Value::as_integer)).unwrap_or(0)
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Numbers as texts.
pub(crate) fn numbers(range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}
