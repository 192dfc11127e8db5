//! One life of a connector: connects, rests, says what its tasks shall do.
//!
//! While the connector shall run there is an instance; while it shall pause or rest there is none, only its place. It moves no records.

use super::Reports;
use super::guard::{GuardedConnector, caught};
use crate::pipeline::control::{Activity, Control};
use crate::registry::ConnectorPlugin;
use crate::store::OffsetStore;
use crate::unit::{ConnectorName, State, TargetState};
use async_trait::async_trait;
use kurier_api::ConnectError;
use kurier_api::config::Props;
use kurier_api::plugin::{Connector, ConnectorContext};
use kurier_api::record::{SourceOffset, SourcePartition};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot, watch};

/// Questions that wait for a connector; more are refused.
const QUESTIONS: usize = 16;

/// What a connector is told and asked.
pub(super) struct ConnectorHandle {
    targets: watch::Sender<Option<TargetState>>,
    questions: mpsc::Sender<Question>,
    reconfiguration: Arc<AtomicBool>,
}

/// The connector's end of [`ConnectorHandle`].
pub(super) struct ConnectorOrders {
    targets: watch::Receiver<Option<TargetState>>,
    questions: mpsc::Receiver<Question>,
    reconfiguration: Arc<AtomicBool>,
}

/// For at most `max` task configs.
struct Question {
    max: usize,
    answer: oneshot::Sender<Result<Vec<Props>, ConnectError>>,
}

/// Both ends for one life.
pub(super) fn connector_orders(target: TargetState) -> (ConnectorHandle, ConnectorOrders) {
    let (sender, receiver) = watch::channel(Some(target));
    let (ask, questions) = mpsc::channel(QUESTIONS);
    let reconfiguration = Arc::new(AtomicBool::new(false));
    (
        ConnectorHandle { targets: sender, questions: ask, reconfiguration: reconfiguration.clone() },
        ConnectorOrders { targets: receiver, questions, reconfiguration },
    )
}

impl ConnectorHandle {
    pub(super) fn set_target(&self, target: TargetState) {
        self.targets.send_if_modified(|current| {
            let changes = current.is_some() && *current != Some(target);
            if changes {
                *current = Some(target);
            }
            changes
        });
    }

    /// Ends the life; final.
    pub(super) fn stop(&self) {
        self.targets.send_replace(None);
    }

    /// Asks for task configs; the answer may take as long as the connector does.
    pub(super) fn ask(&self, max: usize) -> impl Future<Output = Result<Vec<Props>, ConnectError>> + use<> {
        // From here on the connector may ask to be asked again.
        self.reconfiguration.store(false, Ordering::Release);
        let (answer, answered) = oneshot::channel();
        let asked = self.questions.try_send(Question { max, answer });
        async move {
            let busy =
                || ConnectError::connect("The connector answers no questions: it does not run, or is busy with others");
            asked.map_err(|_| busy())?;
            answered.await.map_err(|_| busy())?
        }
    }
}

/// Runs one life until it is told to end.
///
/// # Errors
/// What fails the connector. Its life is over with it, but for being stopped.
pub(super) async fn run(
    plugin: ConnectorPlugin,
    props: Props,
    store: Arc<dyn OffsetStore>,
    name: ConnectorName,
    mut orders: ConnectorOrders,
    control: Control,
    reports: Reports,
) -> Result<(), ConnectError> {
    let (raise, mut raised) = mpsc::channel(1);
    let is_source = matches!(plugin, ConnectorPlugin::Source(_));
    let context = Arc::new(Context {
        name,
        store: is_source.then_some(store),
        reports: reports.clone(),
        reconfiguration: orders.reconfiguration.clone(),
        raise,
    });
    let mut instance: Option<GuardedConnector> = None;
    let mut reached: Option<State> = None;
    loop {
        let target = *orders.targets.borrow_and_update();
        let wanted = match target {
            Some(TargetState::Started) => State::Running,
            Some(TargetState::Paused) => State::Paused,
            Some(TargetState::Stopped) => State::Stopped,
            None => State::Unassigned,
        };
        if reached != Some(wanted) {
            if wanted == State::Running {
                control.enter(Activity::Starting);
                let connected = async {
                    match &plugin {
                        ConnectorPlugin::Source(source) => source.connect(&props, context.clone()).await,
                        ConnectorPlugin::Sink(sink) => sink.connect(&props, context.clone()).await,
                    }
                };
                instance = Some(GuardedConnector(caught("starting", connected).await?));
            } else if let Some(mut running) = instance.take() {
                control.enter(Activity::Stopping);
                let stopped = running.stop().await;
                match (wanted, stopped) {
                    (_, Ok(())) => {}
                    (State::Stopped, Err(error)) => {
                        tracing::error!(
                            "connector {} failed to stop and counts as stopped: {}",
                            context.name,
                            error.trace()
                        );
                    }
                    (_, Err(error)) => return Err(error),
                }
            }
            if wanted == State::Unassigned {
                return Ok(());
            }
            reached = Some(wanted);
            reports.state(wanted, None);
        }
        control.enter(Activity::Waiting);
        tokio::select! {
            biased;
            changed = orders.targets.changed() => {
                if changed.is_err() {
                    return Ok(()); // The worker is gone.
                }
            }
            Some(error) = raised.recv() => {
                control.enter(Activity::Stopping);
                if let Some(mut failed) = instance.take()
                    && let Err(error) = failed.stop().await
                {
                    tracing::warn!("connector {} failed to stop after it had failed: {}", context.name, error.trace());
                }
                return Err(error);
            }
            Some(Question { max, answer }) = orders.questions.recv() => {
                control.enter(Activity::Configuring);
                let configs = match &mut instance {
                    Some(running) => running.task_configs(max).await,
                    None => Err(ConnectError::illegal_worker_state("The connector does not run")),
                };
                let _ = answer.send(configs); // Whoever asked may have given up.
            }
        }
    }
}

struct Context {
    name: ConnectorName,
    /// None for sinks: their offsets are the consumer group's.
    store: Option<Arc<dyn OffsetStore>>,
    reports: Reports,
    /// Whether a request has been passed on that was not answered yet.
    reconfiguration: Arc<AtomicBool>,
    raise: mpsc::Sender<ConnectError>,
}

#[async_trait]
impl ConnectorContext for Context {
    fn connector(&self) -> &str {
        &self.name
    }

    fn request_task_reconfiguration(&self) {
        if !self.reconfiguration.swap(true, Ordering::AcqRel) {
            self.reports.reconfiguration();
        }
    }

    fn raise_error(&self, error: ConnectError) {
        // One error fails the connector; what comes behind it changes nothing.
        if let Err(mpsc::error::TrySendError::Full(error)) = self.raise.try_send(error) {
            tracing::error!("connector {} has failed again: {}", self.name, error.trace());
        }
    }

    async fn offsets(&self, partitions: &[SourcePartition]) -> Result<Vec<Option<SourceOffset>>, ConnectError> {
        match &self.store {
            Some(store) => store.get(&self.name, partitions).await,
            None => Ok(vec![None; partitions.len()]),
        }
    }
}
