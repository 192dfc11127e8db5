//! What a producer counts, under the names of Java's producer.
//!
//! Counterparts: `SenderMetricsRegistry`, `KafkaProducerMetrics`, `BufferPool`. Recorded once a batch. Sizes of single records are not kept: the average is over
//! all of a batch, where Java averages the greatest of each. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::metrics::{Gather, Metric, MetricsSettings, Stat, millis};

const PRODUCER: &str = "producer-metrics";
const TOPIC: &str = "producer-topic-metrics";

/// A batch that is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) records: i32,
    pub(super) bytes: usize,
    /// Before compression.
    pub(super) plain: usize,
    /// Since its first record.
    pub(super) waited: Duration,
}

/// What became of records beside being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    /// They are sent again.
    Retry,
    /// They are given up.
    Error,
}

/// The figures of a producer.
#[derive(Debug)]
pub(super) struct Figures {
    settings: MetricsSettings,
    batch_size: Stat,
    record_size: Stat,
    queue_time: Stat,
    compression: Stat,
    per_request: Stat,
    all: Records,
    splits: Stat,
    topics: BTreeMap<Arc<str>, Topic>,
    metadata_at: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Records {
    sent: Stat,
    retried: Stat,
    failed: Stat,
}

#[derive(Clone, Debug)]
struct Topic {
    records: Records,
    bytes: Stat,
    compression: Stat,
}

impl Records {
    fn new(settings: MetricsSettings) -> Self {
        let stat = Stat::new(settings);
        Self { sent: stat.clone(), retried: stat.clone(), failed: stat }
    }

    fn gather(&self, to: &mut Gather<'_>) {
        to.sum(["record-send-rate", "record-send-total"], &self.sent);
        to.sum(["record-retry-rate", "record-retry-total"], &self.retried);
        to.sum(["record-error-rate", "record-error-total"], &self.failed);
    }
}

impl Figures {
    pub(super) fn new(settings: MetricsSettings) -> Self {
        let stat = || Stat::new(settings);
        Self {
            settings,
            batch_size: stat(),
            record_size: stat(),
            queue_time: stat(),
            compression: stat(),
            per_request: stat(),
            all: Records::new(settings),
            splits: stat(),
            topics: BTreeMap::new(),
            metadata_at: None,
        }
    }

    pub(super) fn sent(&mut self, now: Duration, topic: &Arc<str>, sent: Sent) {
        let (records, bytes) = (f64::from(sent.records), sent.bytes as f64);
        let ratio = bytes / sent.plain.max(1) as f64;
        self.batch_size.record(now, bytes);
        self.record_size.record(now, sent.plain as f64 / records.max(1.0));
        self.queue_time.record(now, millis(sent.waited));
        self.compression.record(now, ratio);
        self.all.sent.record(now, records);
        let topic = self.topic(topic);
        topic.records.sent.record(now, records);
        topic.bytes.record(now, bytes);
        topic.compression.record(now, ratio);
    }

    /// A request carries so many records.
    pub(super) fn requested(&mut self, now: Duration, records: i32) {
        self.per_request.record(now, f64::from(records));
    }

    pub(super) fn mishap(&mut self, now: Duration, topic: &Arc<str>, records: i32, mishap: Mishap) {
        let records = f64::from(records);
        let pick = |of: &mut Records| match mishap {
            Mishap::Retry => of.retried.record(now, records),
            Mishap::Error => of.failed.record(now, records),
        };
        pick(&mut self.all);
        pick(&mut self.topic(topic).records);
    }

    pub(super) fn split(&mut self, now: Duration) {
        self.splits.record(now, 1.0);
    }

    pub(super) fn metadata(&mut self, now: Duration) {
        self.metadata_at = Some(now);
    }

    fn topic(&mut self, topic: &Arc<str>) -> &mut Topic {
        let settings = self.settings;
        self.topics.entry(Arc::clone(topic)).or_insert_with(|| {
            let stat = Stat::new(settings);
            Topic { records: Records::new(settings), bytes: stat.clone(), compression: stat }
        })
    }

    /// All of them; of the buffer, its size and what is taken of it.
    pub(super) fn gather(&self, now: Duration, client_id: &str, buffer: (usize, usize), out: &mut Vec<Metric>) {
        let client = || vec![("client-id", client_id.to_owned())];
        let mut to = Gather { out, now, group: PRODUCER, tags: client() };
        to.mean(["batch-size-avg", "batch-size-max"], &self.batch_size);
        to.count(["batch-split-rate", "batch-split-total"], &self.splits);
        to.value("compression-rate-avg", self.compression.average(now));
        to.mean(["record-queue-time-avg", "record-queue-time-max"], &self.queue_time);
        to.mean(["record-size-avg", "record-size-max"], &self.record_size);
        to.value("records-per-request-avg", self.per_request.average(now));
        self.all.gather(&mut to);
        to.value("metadata-age", self.metadata_at.unwrap_or_default().abs_diff(now).as_secs() as f64);
        to.value("buffer-total-bytes", buffer.0 as f64);
        to.value("buffer-available-bytes", buffer.0.saturating_sub(buffer.1) as f64);
        // Whoever sends waits for room as long as it takes; nothing is refused for want of it.
        to.value("buffer-exhausted-rate", 0.0);
        to.value("buffer-exhausted-total", 0.0);
        to.group = TOPIC;
        for (name, topic) in &self.topics {
            to.tags = [client(), vec![("topic", name.to_string())]].concat();
            topic.records.gather(&mut to);
            to.sum(["byte-rate", "byte-total"], &topic.bytes);
            to.value("compression-rate", topic.compression.average(now));
        }
    }
}
