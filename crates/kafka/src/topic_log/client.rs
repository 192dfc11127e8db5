//! How a log's topic is made and written: an admin client, and a producer.
#![expect(clippy::disallowed_methods, reason = "driver: reads the clock")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{Creation, LogClient, LogClientError, LogRecord, NewTopic};
use crate::admin::{Admin, AdminConfig, AdminError};
use crate::config::Remarks;
use crate::error::code;
use crate::producer::{Destination, ProduceBatch, Producer, ProducerConfig, ProducerError, Ticket};

/// How long one look at the deliveries waits.
const TURN: Duration = Duration::from_secs(1);
/// What Java's worker sets for the producers of its logs: nothing is given up, and order is kept by one request at a time.
const FORCED: [(&str, &str); 4] = [
    ("acks", "all"),
    ("enable.idempotence", "false"),
    ("max.in.flight.requests.per.connection", "1"),
    ("delivery.timeout.ms", "2147483647"),
];

/// A [`LogClient`] on a cluster. Appends go out one call after the other.
pub struct KafkaLogClient {
    admin: Admin,
    producer: Producer,
    next: tokio::sync::Mutex<Ticket>,
}

impl std::fmt::Debug for KafkaLogClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaLogClient").finish_non_exhaustive()
    }
}

impl KafkaLogClient {
    /// From producer properties under Java's names; what keeps a log whole is set in any case. Its tasks run on the tokio runtime that this is called in.
    pub fn new(properties: &BTreeMap<String, String>) -> Result<Self, ProducerError> {
        let mut properties = properties.clone();
        properties.extend(FORCED.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let config = ProducerConfig::parse(&properties)?;
        let settings = &config.settings;
        let admin = AdminConfig {
            request_timeout: settings.request_timeout,
            // Patience beyond one request is the caller's: it has a limit of its own.
            api_timeout: settings.request_timeout,
            retry_backoff: settings.retry_backoff,
            retry_backoff_max: settings.retry_backoff_max,
            net: config.net.clone(),
            remarks: Remarks::default(),
        };
        Ok(Self { admin: Admin::new(admin), producer: Producer::new(config), next: tokio::sync::Mutex::new(0) })
    }

    async fn write(&self, topic: Arc<str>, records: Vec<LogRecord>) -> Result<(), LogClientError> {
        // Held until all are acknowledged: the deliveries of this call are nobody else's.
        let mut next = self.next.lock().await;
        let first = *next;
        let mut batch = ProduceBatch::default();
        let mut open = 0_u64;
        for record in &records {
            let mut draft = batch.draft();
            let written = draft.key(|bytes| part(bytes, record.key.as_ref()));
            written
                .and_then(|()| draft.value(|bytes| part(bytes, record.value.as_ref())))
                .unwrap_or_else(|never| match never {});
            draft.finish(first + open, Destination { topic: &topic, partition: None, timestamp: None });
            open += 1;
        }
        // Counted before the first wait: whoever drops the future leaves these tickets to nobody.
        *next += open;
        let failed = |message: String| LogClientError { message, retriable: false };
        self.producer.send(&mut batch).await.map_err(|error| failed(error.to_string()))?;
        let mut failure = None;
        while open > 0 {
            let deliveries = self.producer.deliveries(Instant::now() + TURN).await;
            for delivery in deliveries.into_iter().filter(|delivery| delivery.tickets.start >= first) {
                open = open.saturating_sub(delivery.tickets.end - delivery.tickets.start);
                if let Err(error) = delivery.outcome {
                    failure.get_or_insert(failed(error.message));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// Appends a key or value to a draft.
fn part(bytes: &mut Vec<u8>, part: Option<&Bytes>) -> Result<bool, std::convert::Infallible> {
    if let Some(part) = part {
        bytes.extend_from_slice(part);
    }
    Ok(part.is_some())
}

impl From<AdminError> for LogClientError {
    fn from(error: AdminError) -> Self {
        let error = error.into_kafka();
        // Java waits for brokers to come, as it does for all that passes by itself.
        let retriable = error.retriable || error.is(code::INVALID_REPLICATION_FACTOR);
        Self { message: error.message, retriable }
    }
}

impl LogClient for KafkaLogClient {
    fn create_topic(&self, topic: NewTopic) -> BoxFuture<'_, Result<Creation, LogClientError>> {
        Box::pin(async move { Ok(self.admin.create_topic(&topic).await?) })
    }

    fn cleanup_policy(&self, topic: &str) -> BoxFuture<'_, Result<Option<String>, LogClientError>> {
        let topic = topic.to_owned();
        Box::pin(async move { Ok(self.admin.topic_config(&topic, "cleanup.policy").await?) })
    }

    fn append(&self, topic: &str, records: Vec<LogRecord>) -> BoxFuture<'_, Result<(), LogClientError>> {
        Box::pin(self.write(topic.into(), records))
    }
}
