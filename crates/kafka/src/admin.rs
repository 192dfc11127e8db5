//! Administration of a cluster: topics, as far as workers need it.
//!
//! Every call is one or two requests and a patience; what can be mended by time is tried again until that is over. Refused so far: partitions, ACLs,
//! group offsets, fencing.
#![expect(clippy::disallowed_methods, reason = "driver: waits between tries")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, DescribeConfigsRequest, MetadataRequest, RequestKind, ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::consumer::core::Target;
use crate::consumer::properties::Keys;
use crate::consumer::{NetSettings, TcpTransport, Transport};
use crate::topic_log::{Creation, NewTopic};

/// The resource type of topics in configs.
const TOPIC_RESOURCE: i8 = 2;

/// Settings of an admin client, parsed. The keys are those of Java's `AdminClientConfig`.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`.
    pub api_timeout: Duration,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// For connections.
    pub net: NetSettings,
}

impl AdminConfig {
    /// Reads Java's property names; others are no matter here, because Connect hands all of a worker's settings to its admin clients.
    pub fn parse(properties: &BTreeMap<String, String>) -> Result<Self, AdminError> {
        let mut keys = Keys::new(properties);
        let request_timeout = keys.millis("request.timeout.ms", Duration::from_secs(30));
        let api_timeout = keys.millis("default.api.timeout.ms", Duration::from_secs(60));
        let retry_backoff = keys.millis("retry.backoff.ms", Duration::from_millis(100));
        let (net, _) = keys.finish(&[]).map_err(AdminError::Config)?;
        Ok(Self { request_timeout, api_timeout, retry_backoff, net })
    }
}

/// Why something was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AdminError {
    /// The settings do not let a client be made.
    #[error("{0}")]
    Config(String),
    /// The broker refused.
    #[error("{what}: {message}")]
    Refused {
        /// What was wanted.
        what: String,
        /// The broker's error.
        error: ResponseError,
        /// What it says.
        message: String,
    },
    /// The cluster did not answer in time; it may do so later.
    #[error("Timed out waiting for {what} after {}ms", .timeout.as_millis())]
    Timeout {
        /// What was wanted.
        what: String,
        /// The time it had.
        timeout: Duration,
    },
}

/// Asks a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    transport: Arc<dyn Transport>,
    request_timeout: Duration,
    api_timeout: Duration,
    retry_backoff: Duration,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// A client over TCP. Nothing is connected before there is something to ask.
    pub fn new(config: AdminConfig) -> Self {
        let AdminConfig { request_timeout, api_timeout, retry_backoff, net } = config;
        Self { transport: Arc::new(TcpTransport::new(net)), request_timeout, api_timeout, retry_backoff }
    }

    /// How many partitions a topic has; none if it does not exist. It is not created by asking.
    pub async fn partitions(&self, topic: &str) -> Result<Option<usize>, AdminError> {
        let what = format!("a description of topic {topic}");
        let asked = MetadataRequestTopic::default().with_name(Some(TopicName(text(topic))));
        let request = MetadataRequest::default().with_topics(Some(vec![asked])).with_allow_auto_topic_creation(false);
        self.until_done(
            &what,
            || RequestKind::Metadata(request.clone()),
            |response| {
                let ResponseKind::Metadata(response) = response else { return Answer::Again };
                let Some(found) = response.topics.first() else { return Answer::Again };
                match ResponseError::try_from_code(found.error_code) {
                    None => Answer::Is(Some(found.partitions.len())),
                    Some(ResponseError::UnknownTopicOrPartition) => Answer::Is(None),
                    Some(error) => refused(&what, error, None),
                }
            },
        )
        .await
    }

    /// Makes a topic unless it exists.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<Creation, AdminError> {
        let what = format!("the creation of topic {}", topic.name);
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
        self.until_done(
            &what,
            || RequestKind::CreateTopics(request.clone()),
            |response| {
                let ResponseKind::CreateTopics(response) = response else { return Answer::Again };
                let Some(made) = response.topics.first() else { return Answer::Again };
                use ResponseError::{
                    ClusterAuthorizationFailed, TopicAlreadyExists, TopicAuthorizationFailed, UnsupportedVersion,
                };
                match ResponseError::try_from_code(made.error_code) {
                    None => Answer::Is(Creation::Created),
                    Some(TopicAlreadyExists) => Answer::Is(Creation::Exists),
                    Some(TopicAuthorizationFailed | ClusterAuthorizationFailed | UnsupportedVersion) => {
                        Answer::Is(Creation::NotAllowed)
                    }
                    Some(error) => refused(&what, error, made.error_message.as_ref()),
                }
            },
        )
        .await
    }

    /// A setting of a topic; none where it cannot be read.
    pub async fn topic_config(&self, topic: &str, key: &str) -> Result<Option<String>, AdminError> {
        let what = format!("the settings of topic {topic}");
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(text(topic))
            .with_configuration_keys(Some(vec![text(key)]));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        self.until_done(
            &what,
            || RequestKind::DescribeConfigs(request.clone()),
            |response| {
                let ResponseKind::DescribeConfigs(response) = response else { return Answer::Again };
                let Some(found) = response.results.first() else { return Answer::Again };
                use ResponseError::{ClusterAuthorizationFailed, TopicAuthorizationFailed, UnsupportedVersion};
                match ResponseError::try_from_code(found.error_code) {
                    None => {
                        let value = found.configs.iter().find(|config| config.name.as_str() == key);
                        Answer::Is(value.and_then(|config| config.value.as_ref()).map(ToString::to_string))
                    }
                    Some(TopicAuthorizationFailed | ClusterAuthorizationFailed | UnsupportedVersion) => {
                        Answer::Is(None)
                    }
                    Some(error) => refused(&what, error, found.error_message.as_ref()),
                }
            },
        )
        .await
    }

    /// Asks until there is an answer that time cannot mend.
    async fn until_done<T>(
        &self,
        what: &str,
        request: impl Fn() -> RequestKind,
        read: impl Fn(ResponseKind) -> Answer<T>,
    ) -> Result<T, AdminError> {
        let deadline = Instant::now() + self.api_timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let sent: BoxFuture<'_, _> =
                self.transport.send(Target::Any, Box::new(request()), left.min(self.request_timeout));
            let refusal = match sent.await.map(&read) {
                Ok(Answer::Is(value)) => return Ok(value),
                Ok(Answer::Refused(error)) => return Err(error),
                Ok(Answer::RefusedForNow(error)) => Some(error),
                Ok(Answer::Again) | Err(_) => None,
            };
            if Instant::now() + self.retry_backoff >= deadline {
                let timeout = self.api_timeout;
                return Err(refusal.unwrap_or_else(|| AdminError::Timeout { what: what.to_owned(), timeout }));
            }
            tokio::time::sleep(self.retry_backoff).await;
        }
    }
}

/// What a response says.
enum Answer<T> {
    Is(T),
    Refused(AdminError),
    /// Time may mend it.
    RefusedForNow(AdminError),
    Again,
}

fn refused<T>(what: &str, error: ResponseError, message: Option<&StrBytes>) -> Answer<T> {
    let message = message.map_or_else(|| error.to_string(), ToString::to_string);
    let retriable = error.is_retriable();
    let error = AdminError::Refused { what: what.to_owned(), error, message };
    if retriable { Answer::RefusedForNow(error) } else { Answer::Refused(error) }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
