//! What connectors and tasks are doing at one moment.
#![expect(clippy::disallowed_methods, reason = "driver: rates need the clock")]

use crate::standalone::Standalone;
use kurier_kafka::admin::{Admin, AdminError};
use kurier_kafka::consumer::{Isolation, OffsetSpec, TopicPartition};
use kurier_runtime::herder::HerderError;
use kurier_runtime::herder::request::{ConnectorType, RawConfig};
use kurier_runtime::unit::State;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A connector.
#[derive(Clone, Debug)]
pub(super) struct ConnectorSample {
    pub(super) name: String,
    pub(super) kind: ConnectorType,
    pub(super) config: RawConfig,
    pub(super) state: State,
    pub(super) tasks: Vec<State>,
    /// Why it or a task failed: the first line of the first trace.
    pub(super) error: Option<String>,
    /// Records acknowledged by Kafka, or put by the sink.
    pub(super) records: u64,
    /// Records given up.
    pub(super) failed: u64,
    /// Of them in the dead letter topic.
    pub(super) dead_letters: u64,
    /// Whether every task of a source has nothing to do, or some task of a sink; see [`lag`] for the others.
    pub(super) idle: bool,
    /// Whether some task of a source cannot say that.
    pub(super) mute: bool,
}

impl ConnectorSample {
    /// The state to show: a failed task makes a failed connector.
    pub(super) fn shown_state(&self) -> State {
        let worst = self.tasks.iter().copied().find(|state| *state == State::Failed);
        worst.unwrap_or(self.state)
    }

    /// A setting.
    pub(super) fn setting(&self, key: &str) -> Option<&str> {
        self.config.get(key)?.as_deref()
    }
}

/// All connectors.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) connectors: Vec<ConnectorSample>,
}

impl Sample {
    /// Asks the herder and reads the counters.
    pub(super) async fn take(worker: &Standalone) -> Result<Self, HerderError> {
        let expanded = worker.handle().expand_connectors(true, true).await?;
        let counters = worker.worker().all_counters();
        let mut connectors = Vec::with_capacity(expanded.len());
        for connector in expanded {
            let (Some(status), Some(info)) = (connector.status, connector.info) else { continue };
            let own: Vec<_> = counters.iter().filter(|(task, _)| task.connector == connector.name).collect();
            let sum = |of: fn(&kurier_runtime::unit::TaskCounters) -> &AtomicU64| {
                own.iter().map(|(_, counters)| of(counters).load(Ordering::Relaxed)).sum::<u64>()
            };
            let units = std::iter::once(&status.connector).chain(status.tasks.iter().map(|task| &task.status));
            let error = units.filter_map(|unit| unit.trace.as_deref()).next();
            connectors.push(ConnectorSample {
                name: connector.name.to_string(),
                kind: info.kind,
                state: status.connector.state,
                tasks: status.tasks.iter().map(|task| task.status.state).collect(),
                error: error.map(|trace| trace.lines().next().unwrap_or_default().to_owned()),
                records: sum(|counters| &counters.records_out),
                failed: sum(|counters| &counters.failed),
                dead_letters: sum(|counters| &counters.dead_letters),
                idle: own.len() == status.tasks.len() && {
                    let mut idle = own.iter().map(|(_, counters)| counters.idle.load(Ordering::Relaxed) != 0);
                    match info.kind {
                        // A task without a partition never is; whether the others are done, the group's offsets say.
                        ConnectorType::Sink => idle.any(|idle| idle),
                        _ => !own.is_empty() && idle.all(|idle| idle),
                    }
                },
                mute: own.iter().any(|(_, counters)| counters.idle_unknown.load(Ordering::Relaxed) != 0),
                config: info.config,
            });
        }
        connectors.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        Ok(Self { at: Instant::now(), connectors })
    }

    /// Whether every connector says that it has nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.connectors.iter().all(|connector| connector.idle)
    }

    /// The same of those that can say so.
    pub(super) fn rest_is_idle(&self) -> bool {
        self.connectors.iter().all(|connector| connector.idle || connector.mute)
    }

    /// The names of sources that cannot say whether they have read everything.
    pub(super) fn mute(&self) -> Vec<String> {
        self.connectors.iter().filter(|connector| connector.mute).map(|connector| connector.name.clone()).collect()
    }

    /// Connectors that have failed, or have a task that has.
    pub(super) fn failed(&self) -> impl Iterator<Item = &ConnectorSample> {
        self.connectors.iter().filter(|connector| connector.shown_state() == State::Failed)
    }
}

/// A topic with the number of its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicSample {
    pub(super) name: String,
    pub(super) partitions: usize,
    pub(super) records: i64,
}

/// All topics that are not Kafka's own.
pub(super) async fn topics(admin: &Admin) -> Result<Vec<TopicSample>, AdminError> {
    let names = admin.list_topics().await?;
    let names: Vec<&str> = names.iter().filter(|topic| !topic.internal).map(|topic| topic.name.as_str()).collect();
    let mut topics = Vec::new();
    for (name, described) in admin.describe_topics(&names).await? {
        // A topic that was deleted in between is not there.
        let Ok(described) = described else { continue };
        let partitions: Vec<_> =
            described.partitions.iter().map(|p| TopicPartition::new(name.as_str(), p.partition)).collect();
        let ends = offsets(admin, &partitions, OffsetSpec::End).await?;
        let begins = offsets(admin, &partitions, OffsetSpec::Beginning).await?;
        let records = ends.iter().map(|(partition, end)| end - begins.get(partition).copied().unwrap_or(*end)).sum();
        topics.push(TopicSample { name, partitions: partitions.len(), records });
    }
    Ok(topics)
}

async fn offsets(
    admin: &Admin,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, i64>, AdminError> {
    let wanted = partitions.iter().map(|partition| (partition.clone(), spec)).collect();
    let found = admin.list_offsets(&wanted, Isolation::ReadUncommitted).await?;
    Ok(found.into_iter().filter_map(|(partition, offset)| Some((partition, offset.ok()?.offset))).collect())
}

/// How many records a sink has not yet committed, of the topics that it reads. Topics that are not there hold nothing.
pub(super) async fn lag(admin: &Admin, sink: &ConnectorSample) -> Result<i64, AdminError> {
    let group =
        sink.setting("consumer.override.group.id").map_or_else(|| format!("connect-{}", sink.name), str::to_owned);
    let committed = admin.group_offsets(&group).await?;
    let named = sink.setting("topics").unwrap_or_default();
    let mut topics: Vec<&str> = named.split(',').map(str::trim).filter(|topic| !topic.is_empty()).collect();
    // What a pattern matches is known by what was committed.
    topics.extend(committed.keys().map(|partition| &*partition.topic).filter(|_| named.is_empty()));
    topics.sort_unstable();
    topics.dedup();
    let mut lag = 0;
    for (name, described) in admin.describe_topics(&topics).await? {
        let Ok(described) = described else { continue };
        let partitions: Vec<_> =
            described.partitions.iter().map(|p| TopicPartition::new(name.as_str(), p.partition)).collect();
        let begins = offsets(admin, &partitions, OffsetSpec::Beginning).await?;
        for (partition, end) in offsets(admin, &partitions, OffsetSpec::End).await? {
            let begin = begins.get(&partition).copied().unwrap_or(0);
            let at = committed.get(&partition).map_or(begin, |committed| committed.offset);
            lag += (end - at.max(begin)).max(0);
        }
    }
    Ok(lag)
}
