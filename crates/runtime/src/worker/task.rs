//! One life of a task: its pipeline put together from settings, plugins and Kafka clients, and run.

use super::assemble::{converters, flag, list, number, tolerance, transforms};
use super::clients::ClientProps;
use super::guard::{GuardedSink, GuardedSource, caught};
use super::{Reports, WorkerParts, connector_class};
use crate::pipeline::context::{SinkContext, SourceContext};
use crate::pipeline::control::{Control, Order};
use crate::pipeline::decode::Decoder;
use crate::pipeline::encode::Encoder;
use crate::pipeline::errors::{DeadLetters, ErrorReporter};
use crate::pipeline::sink::{LEAVE_TIMEOUT, SinkPipeline, SinkSettings};
use crate::pipeline::source::{SourcePipeline, SourceSettings};
use crate::pipeline::topics::{TopicCreator, TopicGroups, TopicSettings};
use crate::registry::ConnectorPlugin;
use crate::unit::{State, TaskCounters, TaskId};
use kurier_api::ConnectError;
use kurier_api::config::Props;
use kurier_api::plugin::{Sink, Source};
use kurier_api::regex::JavaRegex;
use kurier_kafka::consumer::Subscription;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// `offset.flush.interval.ms` unless set.
const FLUSH_INTERVAL_MS: u64 = 60_000;
/// `offset.flush.timeout.ms` unless set.
const FLUSH_TIMEOUT_MS: u64 = 5_000;
/// `errors.deadletterqueue.topic.replication.factor` unless set.
const DEAD_LETTER_REPLICAS: i16 = 3;

/// Where a life has its place.
pub(super) struct Place {
    pub(super) task: TaskId,
    pub(super) control: Control,
    pub(super) reports: Reports,
    pub(super) counters: Arc<TaskCounters>,
}

/// Runs one life until it is told to end.
///
/// # Errors
/// What fails the task.
pub(super) async fn run(
    parts: &WorkerParts,
    connector: &Props,
    task: &Props,
    place: Place,
) -> Result<(), ConnectError> {
    let plugin = parts.registry.connector(connector_class(connector)?)?;
    place.reports.instantiated(plugin.descriptor().version);
    match plugin {
        ConnectorPlugin::Source(source) => run_source(parts, &*source, connector, task, place).await,
        ConnectorPlugin::Sink(sink) => run_sink(parts, &*sink, connector, task, place).await,
    }
}

/// A task of a paused connector starts when the connector is resumed. False if it shall end instead.
async fn may_start(place: &Place) -> bool {
    if place.control.order() == Order::Pause {
        place.reports.state(State::Paused, None);
        place.control.changed_from(Order::Pause).await;
    }
    !place.control.is_stopping()
}

async fn run_source(
    parts: &WorkerParts,
    source: &dyn Source,
    connector: &Props,
    task: &Props,
    place: Place,
) -> Result<(), ConnectError> {
    let tolerance = tolerance(connector)?;
    let converters = converters(&parts.registry, connector, &parts.props)?;
    let transforms = transforms(&parts.registry, connector)?;
    let settings = source_settings(&parts.props)?;
    let clients = ClientProps { worker: &parts.props, connector };
    let outlet = parts.clients.outlet(&clients.source_producer(&place.task))?;
    let topics = match TopicGroups::parse(connector)? {
        Some(groups) if flag(&parts.props, "topic.creation.enable", true)? => {
            let admin = parts.clients.topic_admin(&clients.task_admin(&place.task))?;
            Some(TopicCreator::new(groups, admin))
        }
        _ => None,
    };
    if !may_start(&place).await {
        return Ok(());
    }
    let Place { task: id, control, reports, counters } = place;
    let context = SourceContext::new(id.clone(), parts.offsets.clone(), control.clone());
    let started = async { source.start_task(task, Arc::new(context)).await };
    let task = Box::new(GuardedSource(caught("starting", started).await?));
    reports.state(State::Running, None);
    let errors = Arc::new(ErrorReporter::new(id.clone(), tolerance.clone(), counters.clone(), None));
    let encoder = Encoder::new(converters, transforms, tolerance);
    let offsets = parts.offsets.clone();
    SourcePipeline { id, task, encoder, topics, outlet, offsets, errors, control, reports, counters, settings }
        .run()
        .await
}

async fn run_sink(
    parts: &WorkerParts,
    sink: &dyn Sink,
    connector: &Props,
    task: &Props,
    place: Place,
) -> Result<(), ConnectError> {
    let tolerance = tolerance(connector)?;
    let decoder = Decoder::new(
        converters(&parts.registry, connector, &parts.props)?,
        transforms(&parts.registry, connector)?,
        tolerance.clone(),
    );
    let SourceSettings { commit_interval, commit_timeout } = source_settings(&parts.props)?;
    let settings = SinkSettings { commit_interval, commit_timeout };
    let subscription = subscription(connector)?;
    if !may_start(&place).await {
        return Ok(());
    }
    let dead_letters = dead_letters(parts, connector, &place.task).await?;
    let Place { task: id, control, reports, counters } = place;
    let errors = Arc::new(ErrorReporter::new(id.clone(), tolerance, counters.clone(), dead_letters));
    let reporter = errors.takes_reports().then(|| errors.clone() as _);
    let context = Arc::new(SinkContext::new(id.clone(), reporter));
    let clients = ClientProps { worker: &parts.props, connector };
    let consumer = Arc::new(parts.clients.consumer(&clients.sink_consumer(&id))?);
    consumer.subscribe(subscription).map_err(|error| ConnectError::connect(error.to_string()))?;
    let weak = Arc::downgrade(&consumer);
    // An abandoned task must not keep its partitions from its successor. The consumer is held until it has left: dropped before, it would send nothing
    // more, and its place in the group would stand until the session ends.
    let name = id.clone();
    let leave = async move {
        let Some(consumer) = weak.upgrade() else { return };
        if let Err(error) = consumer.close(LEAVE_TIMEOUT).await {
            tracing::warn!("{name}: the consumer of the abandoned task could not leave its group: {error}");
        }
    };
    control.on_abandoned(leave).await;
    let started = async { sink.start_task(task, context.clone()).await };
    let task = Box::new(GuardedSink(caught("starting", started).await?));
    reports.state(State::Running, None);
    SinkPipeline { task, context, consumer, decoder, errors, control, reports, counters, settings }.run().await
}

fn source_settings(worker: &Props) -> Result<SourceSettings, ConnectError> {
    Ok(SourceSettings {
        commit_interval: Duration::from_millis(number(worker, "offset.flush.interval.ms", FLUSH_INTERVAL_MS)?),
        commit_timeout: Duration::from_millis(number(worker, "offset.flush.timeout.ms", FLUSH_TIMEOUT_MS)?),
    })
}

/// What the consumer reads: `topics` or `topics.regex`.
fn subscription(connector: &Props) -> Result<Subscription, ConnectError> {
    let topics: BTreeSet<&str> = list(connector.get("topics")).collect();
    let pattern = connector.get("topics.regex").map(|pattern| pattern.trim()).filter(|pattern| !pattern.is_empty());
    match pattern {
        None if topics.is_empty() => Err(ConnectError::config("Must configure one of topics or topics.regex")),
        None => Ok(Subscription::Topics(topics.into_iter().map(str::to_owned).collect())),
        Some(_) if !topics.is_empty() => {
            Err(ConnectError::config("topics and topics.regex are mutually exclusive options, but both are set."))
        }
        Some(pattern) => {
            let regex = JavaRegex::new(pattern).map_err(|error| {
                ConnectError::config(format!(
                    "Invalid value {pattern} for configuration topics.regex: Invalid regex: {error}"
                ))
            })?;
            // A pattern that takes too long to match does not match.
            Ok(Subscription::Matching(Arc::new(move |topic| regex.matches(topic).unwrap_or(false))))
        }
    }
}

/// The dead letter queue of a sink task, if the connector has one; its topic is there afterwards.
async fn dead_letters(
    parts: &WorkerParts,
    connector: &Props,
    task: &TaskId,
) -> Result<Option<DeadLetters>, ConnectError> {
    let Some(topic) =
        connector.get("errors.deadletterqueue.topic.name").map(|topic| topic.trim()).filter(|topic| !topic.is_empty())
    else {
        return Ok(None);
    };
    let clients = ClientProps { worker: &parts.props, connector };
    let failed = || ConnectError::connect(format!("Could not initialize dead letter queue with topic={topic}"));
    let settings = TopicSettings {
        partitions: 1,
        replication_factor: number(connector, "errors.deadletterqueue.topic.replication.factor", DEAD_LETTER_REPLICAS)?,
        configs: BTreeMap::new(),
    };
    let mut admin = parts.clients.topic_admin(&clients.dead_letter_admin(task))?;
    let is_there = admin.ensure(topic, &settings).await.map_err(|error| failed().with_cause(error))?;
    if !is_there {
        return Err(failed());
    }
    let with_context = flag(connector, "errors.deadletterqueue.context.headers.enable", false)?;
    let outlet = parts.clients.outlet(&clients.dead_letter_producer(task))?;
    let converters = converters(&parts.registry, connector, &parts.props)?;
    Ok(Some(DeadLetters::new(topic.into(), with_context, outlet, converters)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_reads_its_topics_or_those_that_match() {
        let props = |pairs: &[(&str, &str)]| -> Props {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let Subscription::Topics(topics) = subscription(&props(&[("topics", " b,a,, b")])).unwrap() else { panic!() };
        assert_eq!(topics, ["a", "b"]);
        let Subscription::Matching(matches) = subscription(&props(&[("topics.regex", "a|b.*")])).unwrap() else {
            panic!()
        };
        assert_eq!(["a", "ab", "b", "bc"].map(|topic| matches(topic)), [true, false, true, true]);
        for (pairs, message) in [
            (&[][..], "Must configure one of topics or topics.regex"),
            (
                &[("topics", "a"), ("topics.regex", "b")],
                "topics and topics.regex are mutually exclusive options, but both are set.",
            ),
        ] {
            assert_eq!(subscription(&props(pairs)).unwrap_err().message(), Some(message));
        }
    }
}
