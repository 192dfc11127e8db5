//! Where failures of records are told: the log, the dead letter queue, and the task's own errant record reporter (KIP-610).
//!
//! A report returns when it is safe: only then may offsets be committed. A dead letter that Kafka does not take is logged and the task goes on, as in
//! Java. [`ErrorReporter::exceeded`] ends a task that swallowed the error of a report it should not have survived.
#![expect(clippy::disallowed_methods, reason = "driver: waits for dead letters by the clock")]

use super::dead_letter::context_headers;
use super::decode::{FailedRecord, RawRecord, find_raw};
use super::outlet::{Destination, Outlet, ProduceBatch};
use super::stages::Converters;
use super::tolerance::{Failure, Stage, Tolerance, ToleranceLevel, consumed_details, log_line, tolerance_exceeded};
use crate::unit::{TaskCounters, TaskId};
use async_trait::async_trait;
use kurier_api::data::{Map, Value};
use kurier_api::plugin::{ErrantRecordReporter, Presence};
use kurier_api::record::TimestampType;
use kurier_api::{ConnectError, Headers, SinkRecord, SourceRecord};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::FetchedBatch;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Bytes of fetched batches kept, so that a task may report a record in its consumed form some time after it got it.
const REMEMBERED_BYTES: usize = 8 << 20;
/// How long a dead letter may take to arrive; afterwards it counts as failed.
const DEAD_LETTER_TIMEOUT: Duration = Duration::from_secs(120);
/// The class that a sink task's own reports name.
const SINK_TASK: &str = "org.apache.kafka.connect.sink.SinkTask";

/// Tells failures of one task's records.
pub struct ErrorReporter {
    task: TaskId,
    tolerance: Tolerance,
    counters: Arc<TaskCounters>,
    dead_letters: Option<DeadLetters>,
    exceeded: Mutex<Option<ConnectError>>,
}

/// The dead letter queue of a sink task.
pub struct DeadLetters {
    topic: Arc<str>,
    /// `errors.deadletterqueue.context.headers.enable`.
    with_context: bool,
    out: tokio::sync::Mutex<Out>,
    remembered: Mutex<(VecDeque<FetchedBatch>, Scratch)>,
}

struct Out {
    outlet: Box<dyn Outlet>,
    /// For records that the task made itself, or kept longer than they are remembered.
    converters: Converters,
    batch: ProduceBatch,
    next_ticket: u64,
}

impl DeadLetters {
    /// A queue in `topic`; `converters` are the connector's, for records whose consumed form is gone.
    pub fn new(topic: Arc<str>, with_context: bool, outlet: Box<dyn Outlet>, converters: Converters) -> Self {
        let out = Out { outlet, converters, batch: ProduceBatch::default(), next_ticket: 0 };
        Self { topic, with_context, out: tokio::sync::Mutex::new(out), remembered: Mutex::default() }
    }
}

impl ErrorReporter {
    /// A reporter for one task.
    pub fn new(
        task: TaskId,
        tolerance: Tolerance,
        counters: Arc<TaskCounters>,
        dead_letters: Option<DeadLetters>,
    ) -> Self {
        Self { task, tolerance, counters, dead_letters, exceeded: Mutex::default() }
    }

    /// Whether a sink task gets a reporter of its own.
    pub fn takes_reports(&self) -> bool {
        self.tolerance.has_reporter(self.dead_letters.is_some())
    }

    /// Whether records are shown in the log, so that they have to be kept as they came.
    pub fn logs_messages(&self) -> bool {
        self.tolerance.log && self.tolerance.log_messages
    }

    /// Why the task must end though it went on: it reported a record that `errors.tolerance=none` does not let it give up.
    ///
    /// # Errors
    /// That.
    pub fn exceeded(&self) -> Result<(), ConnectError> {
        match self.exceeded.lock().clone() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Keeps batches for a while, so that records of them can be reported as they were consumed.
    pub fn remember(&self, batches: &[FetchedBatch]) {
        let Some(dead_letters) = &self.dead_letters else { return };
        let mut remembered = dead_letters.remembered.lock();
        let queue = &mut remembered.0;
        queue.extend(batches.iter().cloned());
        let mut bytes: usize = queue.iter().map(FetchedBatch::size_bytes).sum();
        while bytes > REMEMBERED_BYTES && queue.len() > batches.len() {
            bytes -= queue.pop_front().map_or(0, |batch| batch.size_bytes());
        }
    }

    /// Tells failures of consumed records.
    pub async fn report_all(&self, failed: &[FailedRecord]) {
        if failed.is_empty() {
            return;
        }
        self.counters.failed.fetch_add(failed.len() as u64, Relaxed);
        for FailedRecord { raw, failure } in failed {
            self.log(failure, || {
                let timestamp = raw.timestamp.map(|at| (at, raw.timestamp_type.java_name()));
                consumed_details(&raw.origin.topic, raw.origin.partition, raw.offset, timestamp)
            });
        }
        if let Some(dead_letters) = &self.dead_letters {
            let arrived = dead_letters.send(&self.task, failed).await;
            self.counters.dead_letters.fetch_add(arrived, Relaxed);
        }
    }

    /// Tells the failure of a record of a source task.
    pub fn report_source(&self, failure: &Failure, record: impl FnOnce() -> String) {
        self.counters.failed.fetch_add(1, Relaxed);
        self.log(failure, || format!(", where source record is = {}", record()));
    }

    fn log(&self, failure: &Failure, details: impl FnOnce() -> String) {
        if self.tolerance.log {
            let details = if self.tolerance.log_messages { details() } else { String::new() };
            tracing::error!("{} {}", log_line(&self.task, failure, &details), failure.error.trace());
        }
    }
}

#[async_trait]
impl ErrantRecordReporter for ErrorReporter {
    async fn report(&self, record: &SinkRecord, error: ConnectError) -> Result<(), ConnectError> {
        let failure = Failure { stage: Stage::TaskPut, class: SINK_TASK.into(), error };
        let raw = match &self.dead_letters {
            Some(dead_letters) => dead_letters.raw(record).await?,
            None => without_bytes(record),
        };
        self.report_all(&[FailedRecord { raw, failure: failure.clone() }]).await;
        if self.tolerance.level == ToleranceLevel::All {
            return Ok(());
        }
        let error = tolerance_exceeded(&failure.error);
        self.exceeded.lock().get_or_insert_with(|| error.clone());
        Err(error)
    }
}

impl DeadLetters {
    /// Sends failed records and waits until each has arrived or failed to; answers how many have arrived.
    async fn send(&self, task: &TaskId, failed: &[FailedRecord]) -> u64 {
        let mut out = self.out.lock().await;
        let Out { outlet, batch, next_ticket, .. } = &mut *out;
        batch.clear();
        let first = *next_ticket;
        for FailedRecord { raw, failure } in failed {
            write(batch, *next_ticket, &self.topic, raw, self.with_context.then_some((task, failure)));
            *next_ticket += 1;
        }
        if let Err(error) = outlet.send(batch).await {
            tracing::error!(
                "task {task}: {} dead letters could not be sent to {}: {}",
                failed.len(),
                self.topic,
                error.trace()
            );
            return 0;
        }
        let (mut open, mut arrived) = (failed.len() as u64, 0);
        let deadline = Instant::now() + DEAD_LETTER_TIMEOUT;
        while open > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let acknowledged = outlet.acknowledged(left).await;
            if acknowledged.is_empty() {
                tracing::error!("task {task}: {open} dead letters have not arrived in {} in time", self.topic);
                break;
            }
            for one in acknowledged {
                // Those of an earlier call that gave up may still come.
                let records = one.tickets.end.saturating_sub(one.tickets.start.max(first));
                open = open.saturating_sub(records);
                match one.outcome {
                    Ok(_) => arrived += records,
                    Err(error) => {
                        tracing::error!(
                            "task {task}: dead letters could not be written to {}: {}",
                            self.topic,
                            error.trace()
                        );
                    }
                }
            }
        }
        arrived
    }

    /// A record as it was consumed, or else as the converters make it again.
    async fn raw(&self, record: &SinkRecord) -> Result<RawRecord, ConnectError> {
        {
            let mut remembered = self.remembered.lock();
            let (queue, scratch) = &mut *remembered;
            let found = find_raw(queue.make_contiguous(), &record.origin, record.offset, scratch)?;
            if let Some(raw) = found {
                return Ok(raw);
            }
        }
        let mut out = self.out.lock().await;
        let Converters { key, value, header } = &mut out.converters;
        let topic = &record.record.topic;
        let mut raw = without_bytes(record);
        let mut added = Headers::default();
        let written = |presence, bytes| (presence == Presence::Bytes).then_some(bytes);
        let mut bytes = Vec::new();
        let data = &record.record.key;
        let presence = key.1.from_connect_data(topic, &mut added, data.schema.as_ref(), &data.value, &mut bytes)?;
        raw.key = written(presence, std::mem::take(&mut bytes));
        let data = &record.record.value;
        let presence = value.1.from_connect_data(topic, &mut added, data.schema.as_ref(), &data.value, &mut bytes)?;
        raw.value = written(presence, std::mem::take(&mut bytes));
        for one in record.record.headers.iter() {
            let data = &one.value;
            let presence =
                header.1.from_connect_header(topic, &one.key, data.schema.as_ref(), &data.value, &mut bytes)?;
            raw.headers.push((one.key.as_bytes().to_vec(), written(presence, std::mem::take(&mut bytes))));
        }
        Ok(raw)
    }
}

fn without_bytes(record: &SinkRecord) -> RawRecord {
    RawRecord {
        origin: record.origin.clone(),
        offset: record.offset,
        timestamp: record.record.timestamp,
        timestamp_type: if record.record.timestamp.is_some() {
            record.timestamp_type
        } else {
            TimestampType::NoTimestampType
        },
        key: None,
        value: None,
        headers: Vec::new(),
    }
}

fn write(
    batch: &mut ProduceBatch,
    ticket: u64,
    topic: &Arc<str>,
    raw: &RawRecord,
    context: Option<(&TaskId, &Failure)>,
) {
    fn copy(part: Option<&[u8]>) -> impl FnOnce(&mut Vec<u8>) -> Result<bool, std::convert::Infallible> {
        move |bytes| {
            bytes.extend_from_slice(part.unwrap_or_default());
            Ok(part.is_some())
        }
    }
    let mut draft = batch.draft();
    let Ok(()) = draft.key(copy(raw.key.as_deref()));
    let Ok(()) = draft.value(copy(raw.value.as_deref()));
    for (name, value) in &raw.headers {
        let Ok(()) = draft.header(&String::from_utf8_lossy(name), copy(value.as_deref()));
    }
    if let Some((task, failure)) = context {
        for (name, value) in context_headers(task, &raw.origin, raw.offset, failure) {
            let Ok(()) = draft.header(name, copy(value.as_deref()));
        }
    }
    draft.finish(ticket, Destination { topic, partition: None, timestamp: raw.timestamp });
}

/// Java's text of a source record, for the log.
pub fn source_text(record: &SourceRecord) -> String {
    let SourceRecord { source_partition, source_offset, record } = record;
    let map = |map: &Option<Arc<Map>>| match map {
        Some(map) => Value::Map(Box::new((**map).clone())).to_string(),
        None => "null".to_owned(),
    };
    format!("SourceRecord{{sourcePartition={}, sourceOffset={}}} {record}", map(source_partition), map(source_offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kurier_api::data::{Schema, SchemaAndValue};

    #[test]
    fn source_records_are_shown_as_java_shows_them() {
        let map = |key: &str, value: i64| {
            let mut map = Map::hash();
            map.insert(Value::text(key), Value::I64(value));
            Arc::new(map)
        };
        let mut record =
            SourceRecord::new(map("p", 1), map("o", 2), "t".into(), Some(Schema::string()), Value::text("v"));
        record.record.headers.add("h", SchemaAndValue::schemaless(3));
        assert_eq!(
            source_text(&record),
            "SourceRecord{sourcePartition={p=1}, sourceOffset={o=2}} ConnectRecord{topic='t', kafkaPartition=null, key=null, keySchema=null, \
             value=v, valueSchema=Schema{STRING}, timestamp=null, headers=ConnectHeaders(headers=[ConnectHeader(key=h, value=3, schema=null)])}"
        );
    }
}
