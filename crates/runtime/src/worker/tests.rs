//! Lives of connectors and tasks that behave, fail, panic and hang.

#![expect(clippy::disallowed_methods, reason = "tests block a thread on purpose")]

use super::*;
use crate::pipeline::outlet::{Acknowledgement, Outlet, ProduceBatch};
use crate::pipeline::topics::TopicAdmin;
use crate::testing::{NoOffsets, TextBytes};
use crate::unit::UnitEvent;
use kurier_api::SourceRecord;
use kurier_api::config::ConfigDef;
use kurier_api::plugin::{Connector, ConnectorContext, Descriptor, Source, SourceTask, SourceTaskContext};
use kurier_kafka::consumer::Consumer;
use std::time::Instant;
use tokio::sync::mpsc;

/// A source whose `mode` says how it misbehaves.
#[derive(Default)]
struct Moody(ConfigDef);

struct MoodyConnector {
    mode: String,
    context: Arc<dyn ConnectorContext>,
}

struct MoodyTask {
    mode: String,
    context: Arc<dyn SourceTaskContext>,
}

#[async_trait]
impl Source for Moody {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "test.MoodySourceConnector", version: "7" }
    }

    fn config(&self) -> &ConfigDef {
        &self.0
    }

    async fn connect(
        &self,
        props: &Props,
        context: Arc<dyn ConnectorContext>,
    ) -> Result<Box<dyn Connector>, ConnectError> {
        let mode = props.get("mode").cloned().unwrap_or_default();
        if mode == "fail connect" {
            return Err(ConnectError::connect("no such system"));
        }
        if mode == "raise" {
            context.raise_error(ConnectError::connect("lost the system"));
        }
        Ok(Box::new(MoodyConnector { mode, context }))
    }

    async fn start_task(
        &self,
        props: &Props,
        context: Arc<dyn SourceTaskContext>,
    ) -> Result<Box<dyn SourceTask>, ConnectError> {
        let mode = props.get("mode").cloned().unwrap_or_default();
        Ok(Box::new(MoodyTask { mode, context }))
    }
}

#[async_trait]
impl Connector for MoodyConnector {
    async fn task_configs(&mut self, max: usize) -> Result<Vec<Props>, ConnectError> {
        self.context.request_task_reconfiguration();
        self.context.request_task_reconfiguration();
        Ok(vec![Props::from([("mode".to_owned(), self.mode.clone())]); max])
    }
}

#[async_trait]
impl SourceTask for MoodyTask {
    async fn poll(&mut self, deadline: Instant) -> Result<Vec<SourceRecord>, ConnectError> {
        match self.mode.as_str() {
            "fail poll" => return Err(ConnectError::connect("gone")),
            "panic" => panic!("expected by the test"),
            "hang" => std::future::pending().await,
            "block" => std::thread::sleep(Duration::from_millis(300)),
            _ => self.context.sleep_until(deadline).await,
        }
        Ok(Vec::new())
    }
}

/// Nothing is sent in these tests.
struct NoKafka;

#[async_trait]
impl Outlet for NoKafka {
    async fn send(&mut self, _batch: &mut ProduceBatch) -> Result<(), ConnectError> {
        Err(ConnectError::connect("no Kafka here"))
    }

    async fn acknowledged(&mut self, _wait: Duration) -> Vec<Acknowledgement> {
        Vec::new()
    }

    async fn close(&mut self) {}
}

impl clients::Clients for NoKafka {
    fn outlet(&self, _: &clients::ClientSettings) -> Result<Box<dyn Outlet>, ConnectError> {
        Ok(Box::new(NoKafka))
    }

    fn topic_admin(&self, _: &clients::ClientSettings) -> Result<Box<dyn TopicAdmin>, ConnectError> {
        Err(ConnectError::connect("no Kafka here"))
    }

    fn consumer(&self, _: &clients::ClientSettings) -> Result<Consumer, ConnectError> {
        Err(ConnectError::connect("no Kafka here"))
    }
}

/// A worker and what it reports.
struct Bench {
    worker: LocalWorker,
    events: mpsc::UnboundedReceiver<UnitEvent>,
    epoch: u64,
}

impl Bench {
    fn new() -> Self {
        let mut registry = Registry::new();
        registry.add_source(Arc::new(Moody::default()));
        registry.add_converter(Arc::new(TextBytes::default()));
        registry.add_header_converter(Arc::new(TextBytes::default()));
        let props = [
            ("key.converter", TextBytes::CLASS),
            ("value.converter", TextBytes::CLASS),
            ("header.converter", TextBytes::CLASS),
            ("task.shutdown.graceful.timeout.ms", "50"),
        ];
        let (sender, events) = mpsc::unbounded_channel();
        let worker = LocalWorker::new(WorkerParts {
            registry: Arc::new(registry),
            resolver: Arc::default(),
            props: props.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            offsets: Arc::new(NoOffsets),
            clients: Arc::new(NoKafka),
            runtime: Handle::current(),
            threads: 1,
            events: sender,
        })
        .unwrap();
        Self { worker, events, epoch: 0 }
    }

    fn start(&mut self, unit: UnitId, target: TargetState, mode: &str) -> Epoch {
        self.epoch += 1;
        let epoch = Epoch(self.epoch);
        let config = [("connector.class", "test.MoodySourceConnector"), ("mode", mode)];
        let config = config.into_iter().map(|(k, v)| (k.to_owned(), Some(v.to_owned())));
        let connector = Arc::new(config.collect());
        let task = matches!(unit, UnitId::Task(_)).then(|| Arc::clone(&connector));
        self.worker.start(Start { unit, epoch, target, connector, task });
        epoch
    }

    /// The next event, shown.
    async fn next(&mut self) -> String {
        match self.events.recv().await.unwrap() {
            UnitEvent::Instantiated { version, .. } => format!("instantiated {version}"),
            UnitEvent::State { state, error, .. } => match error {
                Some(error) => format!("{}: {error}", state.name()),
                None => state.name().to_owned(),
            },
            UnitEvent::Ended { .. } => "ended".to_owned(),
            UnitEvent::ReconfigurationRequested { .. } => "reconfiguration requested".to_owned(),
            UnitEvent::TopicActive { topic, .. } => format!("topic {topic}"),
        }
    }

    async fn expect(&mut self, events: &[&str]) {
        for expected in events {
            assert_eq!(self.next().await, *expected);
        }
    }
}

fn task() -> UnitId {
    UnitId::Task(TaskId { connector: "c".into(), task: 0 })
}

fn connector() -> UnitId {
    UnitId::Connector("c".into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_task_runs_pauses_resumes_and_ends() {
    let mut bench = Bench::new();
    let epoch = bench.start(task(), TargetState::Paused, "well");
    bench.expect(&["instantiated 7", "PAUSED"]).await;
    for (target, state) in
        [(TargetState::Started, "RUNNING"), (TargetState::Paused, "PAUSED"), (TargetState::Started, "RUNNING")]
    {
        bench.worker.set_target(&task(), epoch, target);
        bench.expect(&[state]).await;
    }
    bench.worker.stop(&task(), Epoch(99)); // Another life's.
    bench.worker.stop(&task(), epoch);
    bench.expect(&["ended"]).await;
    assert!(bench.worker.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn failures_and_panics_fail_one_task() {
    let mut bench = Bench::new();
    for (mode, state) in
        [("fail poll", "FAILED: gone"), ("panic", "FAILED: A plugin panicked (in poll): expected by the test")]
    {
        let epoch = bench.start(task(), TargetState::Started, mode);
        bench.expect(&["instantiated 7", "RUNNING", state]).await;
        bench.worker.stop(&task(), epoch);
        bench.expect(&["ended"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_task_that_hangs_or_blocks_is_abandoned_and_the_next_life_runs() {
    let mut bench = Bench::new();
    for mode in ["hang", "block"] {
        let epoch = bench.start(task(), TargetState::Started, mode);
        bench.expect(&["instantiated 7", "RUNNING"]).await;
        bench.worker.stop(&task(), epoch);
        bench.expect(&["ended"]).await;
    }
    let epoch = bench.start(task(), TargetState::Started, "well");
    bench.expect(&["instantiated 7", "RUNNING"]).await;
    bench.worker.stop(&task(), epoch);
    bench.expect(&["ended"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_connector_answers_for_its_tasks_while_it_runs() {
    let mut bench = Bench::new();
    let name: ConnectorName = "c".into();
    let epoch = bench.start(connector(), TargetState::Started, "well");
    bench.expect(&["instantiated 7", "RUNNING"]).await;
    let configs = bench.worker.task_configs(&name, epoch, 2).await.unwrap();
    assert_eq!(configs.len(), 2);
    bench.expect(&["reconfiguration requested"]).await; // Once, however often it asks.
    for (target, state) in
        [(TargetState::Paused, "PAUSED"), (TargetState::Stopped, "STOPPED"), (TargetState::Started, "RUNNING")]
    {
        bench.worker.set_target(&connector(), epoch, target);
        bench.expect(&[state]).await;
        assert_eq!(bench.worker.task_configs(&name, epoch, 1).await.is_ok(), state == "RUNNING");
    }
    bench.expect(&["reconfiguration requested"]).await;
    bench.worker.stop(&connector(), epoch);
    bench.expect(&["ended"]).await;
    assert!(bench.worker.task_configs(&name, epoch, 1).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_connector_that_fails_says_why() {
    let mut bench = Bench::new();
    for (mode, events) in [
        ("fail connect", &["instantiated 7", "FAILED: no such system"][..]),
        ("raise", &["instantiated 7", "RUNNING", "FAILED: lost the system"]),
    ] {
        let epoch = bench.start(connector(), TargetState::Started, mode);
        bench.expect(events).await;
        bench.worker.stop(&connector(), epoch);
        bench.expect(&["ended"]).await;
    }
}
