use super::*;
use crate::herder::offsets::GroupError;
use crate::herder::validate::tests::validation;
use crate::unit::{ConnectorName, Epoch, Start, State, TargetState, UnitEvents, UnitId};
use async_trait::async_trait;
use kurier_api::config::{ConfigDef, ConfigValue};
use kurier_api::plugin::{Connector, ConnectorContext, Descriptor, Source, SourceTask, SourceTaskContext};
use kurier_api::record::{SourceOffset, SourcePartition};
use kurier_api::{ConnectError, TopicPartition};
use parking_lot::Mutex;
use std::sync::mpsc as blocking;

/// A worker where every unit is up at once and ends at once, and nothing has offsets.
struct Obedient(UnitEvents);

#[async_trait]
impl Worker for Obedient {
    fn start(&self, start: Start) {
        let (unit, epoch) = (start.unit, start.epoch);
        let _ = self.0.send(UnitEvent::State { unit, epoch, state: State::Running, error: None });
    }

    fn set_target(&self, _: &UnitId, _: Epoch, _: TargetState) {}

    fn stop(&self, unit: &UnitId, epoch: Epoch) {
        let _ = self.0.send(UnitEvent::Ended { unit: unit.clone(), epoch });
    }

    async fn task_configs(&self, _: &ConnectorName, _: Epoch, _: usize) -> Result<Vec<Props>, ConnectError> {
        Ok(vec![Props::new()])
    }
}

/// A store and groups that answer nothing well.
struct Broken;

#[async_trait]
impl OffsetStore for Broken {
    async fn get(&self, _: &str, partitions: &[SourcePartition]) -> Result<Vec<Option<SourceOffset>>, ConnectError> {
        Ok(vec![None; partitions.len()])
    }

    async fn set(&self, _: &str, _: &[(SourcePartition, Option<SourceOffset>)]) -> Result<(), ConnectError> {
        Ok(())
    }

    async fn list(&self, _: &str) -> Result<Vec<(SourcePartition, SourceOffset)>, ConnectError> {
        panic!("the store is broken")
    }
}

#[async_trait]
impl SinkGroups for Broken {
    async fn list(&self, _: &Props, _: &str) -> Result<BTreeMap<TopicPartition, i64>, GroupError> {
        Err(GroupError::NotFound)
    }

    async fn alter(&self, _: &Props, _: &str, _: &BTreeMap<TopicPartition, i64>) -> Result<(), GroupError> {
        Err(GroupError::NotFound)
    }

    async fn forget(&self, _: &Props, _: &str, _: &[TopicPartition]) -> Result<(), GroupError> {
        Err(GroupError::NotFound)
    }

    async fn delete(&self, _: &Props, _: &str) -> Result<(), GroupError> {
        Err(GroupError::NotFound)
    }
}

/// A source whose validation panics, or holds its thread until it is let go.
struct Rude {
    config: ConfigDef,
    asked: blocking::Sender<()>,
    let_go: Mutex<blocking::Receiver<()>>,
}

#[async_trait]
impl Source for Rude {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "test.RudeSourceConnector", version: "1" }
    }

    fn config(&self) -> &ConfigDef {
        &self.config
    }

    async fn validate(&self, props: &Props) -> Vec<ConfigValue> {
        assert!(props.get("mode").is_none_or(|mode| mode != "panic"), "expected by the test");
        self.asked.send(()).unwrap();
        self.let_go.lock().recv().unwrap();
        Vec::new()
    }

    async fn connect(&self, _: &Props, _: Arc<dyn ConnectorContext>) -> Result<Box<dyn Connector>, ConnectError> {
        Err(ConnectError::connect("nothing starts here"))
    }

    async fn start_task(&self, _: &Props, _: Arc<dyn SourceTaskContext>) -> Result<Box<dyn SourceTask>, ConnectError> {
        Err(ConnectError::connect("nothing starts here"))
    }
}

struct Bed {
    herder: RunningHerder,
    asked: blocking::Receiver<()>,
    let_go: blocking::Sender<()>,
}

fn bed() -> Bed {
    let base = validation("All");
    let (asked_sender, asked) = blocking::channel();
    let (let_go, let_go_receiver) = blocking::channel();
    let mut registry = Registry::new();
    let rude = Rude { config: ConfigDef::new(), asked: asked_sender, let_go: Mutex::new(let_go_receiver) };
    registry.add_source(Arc::new(rude));
    let (events, received) = mpsc::unbounded_channel();
    let parts = HerderParts {
        worker_id: "w:1".into(),
        registry: Arc::new(registry),
        resolver: base.resolver,
        server_info: ServerInfo { version: "4.3.1", commit: String::new(), kafka_cluster_id: String::new() },
        props: Props::new(),
        offsets: Arc::new(Broken),
        sink_groups: Arc::new(Broken),
        worker: Arc::new(Obedient(events)),
        events: received,
    };
    Bed { herder: RunningHerder::start(parts, &Handle::current()), asked, let_go }
}

async fn put(handle: &HerderHandle, name: &str, mode: &str) -> Result<bool, HerderError> {
    let pairs = [("name", name), ("connector.class", "RudeSource"), ("mode", mode)];
    let config = pairs.map(|(key, value)| (key.to_owned(), Some(value.to_owned()))).into();
    handle.put_connector(name.into(), config, None, true).await.map(|put| put.created)
}

fn check_panic(error: &HerderError, said: &str) {
    assert_eq!(error.status(), 500);
    assert!(error.message().starts_with("A plugin panicked") && error.message().ends_with(said), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validation_that_holds_its_thread_holds_up_nobody_else() {
    let Bed { herder, asked, let_go } = bed();
    let handle = herder.handle();
    let slow = tokio::spawn({
        let handle = handle.clone();
        async move { put(&handle, "slow", "wait").await }
    });
    tokio::task::spawn_blocking(move || asked.recv().unwrap()).await.unwrap();
    assert_eq!(handle.connectors().await.unwrap(), []);
    assert!(!slow.is_finished());
    let_go.send(()).unwrap();
    assert!(slow.await.unwrap().unwrap());
    assert_eq!(handle.connectors().await.unwrap(), ["slow".into()]);
    herder.shutdown().await;
    assert!(handle.connectors().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_panics_answers_its_request_and_no_other() {
    let Bed { herder, asked: _asked, let_go } = bed();
    let handle = herder.handle();
    let error = put(&handle, "bad", "panic").await.unwrap_err();
    check_panic(&error, "expected by the test");
    let_go.send(()).unwrap();
    assert!(put(&handle, "good", "wait").await.unwrap());
    let error = handle.offsets("good".into()).await.unwrap_err();
    check_panic(&error, "the store is broken");
    assert_eq!(handle.connectors().await.unwrap(), ["good".into()]);
    herder.shutdown().await;
}

#[test]
fn topics_are_tracked_unless_the_worker_says_no() {
    for (text, expected) in [(None, true), (Some("true"), true), (Some(" FALSE "), false), (Some("no"), true)] {
        let props = text.map(|text| ("k".to_owned(), text.to_owned())).into_iter().collect();
        assert_eq!(setting(&props, "k"), expected, "{text:?}");
    }
}
