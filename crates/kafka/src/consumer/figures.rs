//! What a consumer counts, under the names of Java's consumer.
//!
//! Counterparts: `FetchMetricsManager`, `ConsumerCoordinatorMetrics`, `HeartbeatMetrics`, `KafkaConsumerMetrics`. Recorded once a request, and once a poll for
//! each partition; bytes are those of batches as fetched, where Java counts records unpacked. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::{RequestKind, ResponseKind};

use super::{RebalanceEvent, TopicPartition};
use crate::metrics::{Gather, Metric, MetricsSettings, Stat, millis};

const FETCH: &str = "consumer-fetch-manager-metrics";
const COORDINATOR: &str = "consumer-coordinator-metrics";
const CONSUMER: &str = "consumer-metrics";

/// What came out of one fetch or one poll.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Haul {
    pub(super) bytes: usize,
    pub(super) records: usize,
}

/// How far a partition is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Records up to the end.
    pub(super) lag: Option<i64>,
    /// Records since the beginning of the log.
    pub(super) lead: Option<i64>,
}

/// The figures of a consumer.
#[derive(Debug)]
pub(super) struct Figures {
    settings: MetricsSettings,
    is_classic: bool,
    fetch_latency: Stat,
    throttled: Stat,
    fetched: Fetched,
    topics: BTreeMap<Arc<str>, Fetched>,
    partitions: BTreeMap<TopicPartition, Read>,
    lag: Stat,
    lead: Stat,
    commit: Stat,
    heartbeat: Stat,
    heartbeat_at: Option<Duration>,
    join: Stat,
    sync: Stat,
    rebalance: Stat,
    rebalances: Stat,
    failed_rebalances: Stat,
    rebalance_begun: Option<Duration>,
    rebalanced_at: Option<Duration>,
    revoked: Stat,
    assigned: Stat,
    lost: Stat,
    revoke_begun: Option<Duration>,
    between_polls: Stat,
    idle_ratio: Stat,
    poll_begun: Option<Duration>,
    polling: bool,
    /// Between the last two polls.
    away: Duration,
}

/// What was fetched, and consumed of it.
#[derive(Clone, Debug)]
struct Fetched {
    size: Stat,
    records_per_request: Stat,
    bytes: Stat,
    records: Stat,
}

#[derive(Clone, Debug)]
struct Read {
    lag: Stat,
    lead: Stat,
    last: Progress,
}

impl Fetched {
    fn new(settings: MetricsSettings) -> Self {
        let stat = Stat::new(settings);
        Self { size: stat.clone(), records_per_request: stat.clone(), bytes: stat.clone(), records: stat }
    }

    fn gather(&self, to: &mut Gather<'_>) {
        to.mean(["fetch-size-avg", "fetch-size-max"], &self.size);
        to.value("records-per-request-avg", self.records_per_request.average(to.now));
        to.sum(["bytes-consumed-rate", "bytes-consumed-total"], &self.bytes);
        to.sum(["records-consumed-rate", "records-consumed-total"], &self.records);
    }
}

impl Figures {
    /// Of a member of the classic protocol, or of the other one, which neither joins nor syncs.
    pub(super) fn new(settings: MetricsSettings, is_classic: bool) -> Self {
        let stat = || Stat::new(settings);
        Self {
            settings,
            is_classic,
            fetch_latency: stat(),
            throttled: stat(),
            fetched: Fetched::new(settings),
            topics: BTreeMap::new(),
            partitions: BTreeMap::new(),
            lag: stat(),
            lead: stat(),
            commit: stat(),
            heartbeat: stat(),
            heartbeat_at: None,
            join: stat(),
            sync: stat(),
            rebalance: stat(),
            rebalances: Stat::hourly(),
            failed_rebalances: Stat::hourly(),
            rebalance_begun: None,
            rebalanced_at: None,
            revoked: stat(),
            assigned: stat(),
            lost: stat(),
            revoke_begun: None,
            between_polls: stat(),
            idle_ratio: stat(),
            poll_begun: None,
            polling: false,
            away: Duration::ZERO,
        }
    }

    /// A request goes out.
    pub(super) fn sent(&mut self, now: Duration, request: &RequestKind) {
        match request {
            RequestKind::Heartbeat(_) | RequestKind::ConsumerGroupHeartbeat(_) => self.heartbeat_at = Some(now),
            RequestKind::JoinGroup(_) => {
                self.rebalance_begun.get_or_insert(now);
            }
            _ => {}
        }
    }

    /// A request was answered after so long.
    pub(super) fn answered(&mut self, now: Duration, took: Duration, response: &ResponseKind) {
        let took_ms = millis(took);
        match response {
            ResponseKind::Fetch(response) => {
                self.fetch_latency.record(now, took_ms);
                self.throttled.record(now, f64::from(response.throttle_time_ms.max(0)));
            }
            ResponseKind::OffsetCommit(_) => self.commit.record(now, took_ms),
            ResponseKind::Heartbeat(_) | ResponseKind::ConsumerGroupHeartbeat(_) => {
                self.heartbeat.record(now, took_ms);
            }
            ResponseKind::JoinGroup(response) if response.error_code == 0 => self.join.record(now, took_ms),
            ResponseKind::SyncGroup(response) if response.error_code == 0 => {
                self.sync.record(now, took_ms);
                self.rebalance_begun.get_or_insert(now);
                self.rebalanced(now);
            }
            // Also the refusal that gives a new member its id, as in Java.
            ResponseKind::JoinGroup(_) | ResponseKind::SyncGroup(_) => self.failed_rebalances.record(now, 1.0),
            _ => {}
        }
    }

    /// The coordinator of the consumer protocol assigned something else.
    pub(super) fn reconciling(&mut self, now: Duration) {
        self.rebalance_begun.get_or_insert(now);
    }

    /// A rebalance is over, if one was under way.
    pub(super) fn rebalanced(&mut self, now: Duration) {
        let Some(begun) = self.rebalance_begun.take() else { return };
        let latency = millis(now.saturating_sub(begun));
        self.rebalance.record(now, latency);
        self.rebalances.record(now, latency);
        self.rebalanced_at = Some(now);
    }

    /// What was owned is lost, and with it the rebalance of the consumer protocol that was under way.
    pub(super) fn rebalance_failed(&mut self, now: Duration) {
        if !self.is_classic && self.rebalance_begun.take().is_some() {
            self.failed_rebalances.record(now, 1.0);
        }
    }

    /// One fetch brought this, by topic.
    pub(super) fn fetched(&mut self, now: Duration, topics: &BTreeMap<Arc<str>, Haul>) {
        let mut all = Haul::default();
        for (topic, haul) in topics {
            (all.bytes, all.records) = (all.bytes + haul.bytes, all.records + haul.records);
            let fetched = topic_figures(&mut self.topics, topic, self.settings);
            fetched.size.record(now, haul.bytes as f64);
            fetched.records_per_request.record(now, haul.records as f64);
        }
        self.fetched.size.record(now, all.bytes as f64);
        self.fetched.records_per_request.record(now, all.records as f64);
    }

    /// A poll takes this from a partition, which is then read so far.
    pub(super) fn consumed(&mut self, now: Duration, partition: &TopicPartition, haul: Haul, progress: Progress) {
        let fetched = topic_figures(&mut self.topics, &partition.topic, self.settings);
        for fetched in [fetched, &mut self.fetched] {
            fetched.bytes.record(now, haul.bytes as f64);
            fetched.records.record(now, haul.records as f64);
        }
        if !self.partitions.contains_key(partition) {
            let stat = Stat::new(self.settings);
            self.partitions.insert(partition.clone(), Read { lag: stat.clone(), lead: stat, last: progress });
        }
        let Some(read) = self.partitions.get_mut(partition) else { return };
        read.last = progress;
        if let Some(lag) = progress.lag {
            read.lag.record(now, lag as f64);
            self.lag.record(now, lag as f64);
        }
        if let Some(lead) = progress.lead {
            read.lead.record(now, lead as f64);
            self.lead.record(now, lead as f64);
        }
    }

    /// Only these are read now.
    pub(super) fn retain(&mut self, keep: impl Fn(&TopicPartition) -> bool) {
        self.partitions.retain(|partition, _| keep(partition));
        let partitions = &self.partitions;
        self.topics.retain(|topic, _| partitions.keys().any(|partition| partition.topic == *topic));
    }

    /// The application is told of a change of its share; who gives something up says when it has done so.
    pub(super) fn told(&mut self, now: Duration, event: &RebalanceEvent) {
        match event {
            RebalanceEvent::Assigned(_) => self.assigned.record(now, 0.0),
            RebalanceEvent::Lost(_) => self.lost.record(now, 0.0),
            RebalanceEvent::Revoked(_) => self.revoke_begun = Some(now),
        }
    }

    pub(super) fn gave_up(&mut self, now: Duration) {
        if let Some(begun) = self.revoke_begun.take() {
            self.revoked.record(now, millis(now.saturating_sub(begun)));
        }
    }

    /// A poll begins, or goes on.
    pub(super) fn poll(&mut self, now: Duration) {
        if !std::mem::replace(&mut self.polling, true) {
            self.away = self.poll_begun.map_or(Duration::ZERO, |before| now.saturating_sub(before));
            self.between_polls.record(now, millis(self.away));
            self.poll_begun = Some(now);
        }
    }

    pub(super) fn polled(&mut self, now: Duration) {
        if std::mem::take(&mut self.polling) {
            let inside = now.saturating_sub(self.poll_begun.unwrap_or(now)).as_secs_f64();
            let ratio = inside / (inside + self.away.as_secs_f64());
            self.idle_ratio.record(now, if ratio.is_nan() { 0.0 } else { ratio });
        }
    }

    /// All of them. `read_from` says which replica a partition is read from instead of its leader.
    pub(super) fn gather(
        &self,
        now: Duration,
        client_id: &str,
        assigned: usize,
        read_from: impl Fn(&TopicPartition) -> Option<i32>,
        out: &mut Vec<Metric>,
    ) {
        let client = || vec![("client-id", client_id.to_owned())];
        let mut to = Gather { out, now, group: FETCH, tags: client() };
        to.mean(["fetch-latency-avg", "fetch-latency-max"], &self.fetch_latency);
        to.count(["fetch-rate", "fetch-total"], &self.fetch_latency);
        to.mean(["fetch-throttle-time-avg", "fetch-throttle-time-max"], &self.throttled);
        self.fetched.gather(&mut to);
        to.value("records-lag-max", self.lag.most(now));
        to.value("records-lead-min", self.lead.least(now));
        for (topic, fetched) in &self.topics {
            to.tags = [client(), vec![("topic", topic.to_string())]].concat();
            fetched.gather(&mut to);
        }
        for (partition, read) in &self.partitions {
            let place = vec![("topic", partition.topic.to_string()), ("partition", partition.partition.to_string())];
            to.tags = [client(), place].concat();
            to.value("records-lag", read.last.lag.map_or(f64::NAN, |lag| lag as f64));
            to.mean(["records-lag-avg", "records-lag-max"], &read.lag);
            to.value("records-lead", read.last.lead.map_or(f64::NAN, |lead| lead as f64));
            to.value("records-lead-avg", read.lead.average(now));
            to.value("records-lead-min", read.lead.least(now));
            to.value("preferred-read-replica", f64::from(read_from(partition).unwrap_or(-1)));
        }
        (to.group, to.tags) = (COORDINATOR, client());
        self.gather_group(&mut to, assigned);
        to.group = CONSUMER;
        to.value("last-poll-seconds-ago", ago(now, self.poll_begun));
        to.mean(["time-between-poll-avg", "time-between-poll-max"], &self.between_polls);
        to.value("poll-idle-ratio-avg", self.idle_ratio.average(now));
    }

    fn gather_group(&self, to: &mut Gather<'_>, assigned: usize) {
        let now = to.now;
        to.value("assigned-partitions", assigned as f64);
        to.mean(["commit-latency-avg", "commit-latency-max"], &self.commit);
        to.count(["commit-rate", "commit-total"], &self.commit);
        to.value("heartbeat-response-time-max", self.heartbeat.most(now));
        to.count(["heartbeat-rate", "heartbeat-total"], &self.heartbeat);
        to.value("last-heartbeat-seconds-ago", ago(now, self.heartbeat_at));
        if self.is_classic {
            to.mean(["join-time-avg", "join-time-max"], &self.join);
            to.count(["join-rate", "join-total"], &self.join);
            to.mean(["sync-time-avg", "sync-time-max"], &self.sync);
            to.count(["sync-rate", "sync-total"], &self.sync);
        }
        to.mean(["rebalance-latency-avg", "rebalance-latency-max"], &self.rebalance);
        to.value("rebalance-latency-total", self.rebalance.sum());
        to.value("rebalance-rate-per-hour", self.rebalances.hour_rate(now));
        to.value("rebalance-total", self.rebalances.count());
        to.value("failed-rebalance-rate-per-hour", self.failed_rebalances.hour_rate(now));
        to.value("failed-rebalance-total", self.failed_rebalances.count());
        to.value("last-rebalance-seconds-ago", ago(now, self.rebalanced_at));
        to.mean(["partition-revoked-latency-avg", "partition-revoked-latency-max"], &self.revoked);
        to.mean(["partition-assigned-latency-avg", "partition-assigned-latency-max"], &self.assigned);
        to.mean(["partition-lost-latency-avg", "partition-lost-latency-max"], &self.lost);
    }
}

fn topic_figures<'a>(
    topics: &'a mut BTreeMap<Arc<str>, Fetched>,
    topic: &Arc<str>,
    settings: MetricsSettings,
) -> &'a mut Fetched {
    topics.entry(Arc::clone(topic)).or_insert_with(|| Fetched::new(settings))
}

/// Whole seconds since then; -1 if it never was.
fn ago(now: Duration, then: Option<Duration>) -> f64 {
    then.map_or(-1.0, |then| now.saturating_sub(then).as_secs() as f64)
}
