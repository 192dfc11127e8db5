//! How a log's topic is made and written: a few requests of administration, and a producer.
#![expect(clippy::disallowed_methods, reason = "driver: reads the clock")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{CreateTopicsRequest, DescribeConfigsRequest, RequestKind, ResponseKind, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{Creation, LogClient, LogClientError, LogRecord, NewTopic};
use crate::net::{Target, TcpTransport, Transport};
use crate::producer::{Destination, ProduceBatch, Producer, ProducerConfig, ProducerError, Ticket};

/// Kind of resource in DescribeConfigs.
const TOPIC: i8 = 2;
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
    transport: TcpTransport,
    request_timeout: Duration,
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
        Ok(Self {
            transport: TcpTransport::new(config.net.clone()),
            request_timeout: config.settings.request_timeout,
            producer: Producer::new(config),
            next: tokio::sync::Mutex::new(0),
        })
    }

    async fn ask(&self, request: RequestKind) -> Result<ResponseKind, LogClientError> {
        let answer = self.transport.send(Target::Any, Box::new(request), self.request_timeout).await;
        answer.map_err(|error| LogClientError { message: error.to_string(), retriable: true })
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
            draft.finish(first + open, Destination { topic: Arc::clone(&topic), partition: None, timestamp: None });
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

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// An answer of another kind than the request.
fn astray() -> LogClientError {
    LogClientError { message: "the broker answered another request".to_owned(), retriable: false }
}

impl LogClient for KafkaLogClient {
    fn create_topic(&self, topic: NewTopic) -> BoxFuture<'_, Result<Creation, LogClientError>> {
        Box::pin(async move {
            let config = |(key, value): (&String, &String)| {
                CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
            };
            let wanted = CreatableTopic::default()
                .with_name(TopicName(text(&topic.name)))
                .with_num_partitions(topic.partitions)
                .with_replication_factor(topic.replication_factor)
                .with_configs(topic.config.iter().map(config).collect());
            let timeout_ms = i32::try_from(self.request_timeout.as_millis()).unwrap_or(i32::MAX);
            let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(timeout_ms);
            let ResponseKind::CreateTopics(response) = self.ask(RequestKind::CreateTopics(request)).await? else {
                return Err(astray());
            };
            let result = response.topics.into_iter().next().ok_or_else(astray)?;
            let Some(error) = ResponseError::try_from_code(result.error_code) else { return Ok(Creation::Created) };
            match error {
                ResponseError::TopicAlreadyExists => Ok(Creation::Exists),
                ResponseError::TopicAuthorizationFailed
                | ResponseError::ClusterAuthorizationFailed
                | ResponseError::UnsupportedVersion => Ok(Creation::NotAllowed),
                // Java waits for brokers to come; the other passing errors are those of the cluster.
                error => {
                    let retriable = error == ResponseError::InvalidReplicationFactor || error.is_retriable();
                    let message = result.error_message.map_or_else(|| error.to_string(), |message| message.to_string());
                    Err(LogClientError { message, retriable })
                }
            }
        })
    }

    fn cleanup_policy(&self, topic: &str) -> BoxFuture<'_, Result<Option<String>, LogClientError>> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(topic))
            .with_configuration_keys(None);
        Box::pin(async move {
            let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
            let ResponseKind::DescribeConfigs(response) = self.ask(RequestKind::DescribeConfigs(request)).await? else {
                return Err(astray());
            };
            let result = response.results.into_iter().next().ok_or_else(astray)?;
            if let Some(error) = ResponseError::try_from_code(result.error_code) {
                return Err(LogClientError { message: error.to_string(), retriable: error.is_retriable() });
            }
            let policy = result.configs.into_iter().find(|config| config.name.as_str() == "cleanup.policy");
            Ok(policy.and_then(|config| config.value).map(|value| value.to_string()))
        })
    }

    fn append(&self, topic: &str, records: Vec<LogRecord>) -> BoxFuture<'_, Result<(), LogClientError>> {
        Box::pin(self.write(topic.into(), records))
    }
}
