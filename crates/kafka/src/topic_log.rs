//! A topic as a log of one's own: read to its end, followed, appended to.
//!
//! What Connect keeps in its internal topics needs no group and no position: every reader starts at the beginning, and what counts is the last value
//! of each key. [`TopicLog::open`] sees to it that the topic exists and is compacted, in Java's words where it is not. Reading is the caller's loop:
//! batches come with [`TopicLog::poll`] and [`TopicLog::read_to_end`], in order within each partition.
//!
//! Refused: what records mean, and how they are encoded. How topics are made and records written is behind [`LogClient`]. Counterpart of Apache
//! Kafka's `KafkaBasedLog` and `TopicAdmin`.
#![expect(clippy::disallowed_methods, reason = "driver: reads the clock, waits between tries")]

mod client;

pub use client::KafkaLogClient;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::consumer::{Consumer, ConsumerError, FetchedBatch, OffsetSpec, TopicPartition};

/// How long partitions of a topic are waited for.
const METADATA_PATIENCE: Duration = Duration::from_secs(30);
/// How long a single wait for records takes at most while the end is waited for.
const TURN: Duration = Duration::from_secs(1);
/// The value that makes a topic a table.
const COMPACT: &str = "compact";

/// A record to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// The key; the partition follows from it.
    pub key: Option<Bytes>,
    /// The value; `None` deletes the key.
    pub value: Option<Bytes>,
}

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Partitions; -1 leaves it to the broker.
    pub partitions: i32,
    /// Replicas; -1 leaves it to the broker.
    pub replication_factor: i16,
    /// Settings beyond the broker's.
    pub config: BTreeMap<String, String>,
}

/// What became of the wish for a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It was made.
    Created,
    /// It was there.
    Exists,
    /// This principal may not make topics, or the broker cannot: it is taken to exist.
    NotAllowed,
}

/// Why a [`LogClient`] could not do something.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct LogClientError {
    /// What happened.
    pub message: String,
    /// Whether the same may work later.
    pub retriable: bool,
}

/// Makes topics and writes records. [`KafkaLogClient`] does it on a cluster; a test or a transactional writer may do it otherwise.
pub trait LogClient: Send + Sync {
    /// Makes a topic unless it exists.
    fn create_topic(&self, topic: NewTopic) -> BoxFuture<'_, Result<Creation, LogClientError>>;

    /// The `cleanup.policy` of a topic; `None` where it cannot be read.
    fn cleanup_policy(&self, topic: &str) -> BoxFuture<'_, Result<Option<String>, LogClientError>>;

    /// Appends records in order; done when all of them are acknowledged by all replicas in sync.
    fn append(&self, topic: &str, records: Vec<LogRecord>) -> BoxFuture<'_, Result<(), LogClientError>>;
}

/// Which topic, and what is expected of it.
#[derive(Clone, Debug)]
pub struct TopicLogConfig {
    /// How the topic is made where it is missing. `cleanup.policy=compact` is added.
    pub topic: NewTopic,
    /// The worker's property that names the topic, for messages: `config.storage.topic`.
    pub property: String,
    /// What is kept in it, for messages: `connector configurations`.
    pub purpose: String,
    /// Whether it must have a single partition.
    pub single_partition: bool,
    /// How long to try to make it: `default.api.timeout.ms`.
    pub create_timeout: Duration,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
}

/// Why a log cannot be opened, read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TopicLogError {
    /// The topic loses records that are still needed.
    #[error(
        "Topic '{topic}' supplied via the '{property}' property is required to have 'cleanup.policy=compact' to guarantee consistency and durability of {purpose}, but found the topic currently has 'cleanup.policy={found}'. Continuing would likely result in eventually losing {purpose} and problems restarting this Connect cluster in the future. Change the '{property}' property in the Connect worker configurations to use a topic with 'cleanup.policy=compact'."
    )]
    NotCompacted {
        /// The topic.
        topic: String,
        /// The property that names it.
        property: String,
        /// What is kept in it.
        purpose: String,
        /// Its policy.
        found: String,
    },
    /// Records of several partitions have no order.
    #[error(
        "Topic '{topic}' supplied via the '{property}' property is required to have a single partition in order to guarantee consistency of {purpose}, but found {found} partitions."
    )]
    Partitions {
        /// The topic.
        topic: String,
        /// The property that names it.
        property: String,
        /// What is kept in it.
        purpose: String,
        /// Its partitions.
        found: usize,
    },
    /// The topic could not be made in time.
    #[error("Timeout expired while trying to create topic(s)")]
    CreateTimeout(#[source] LogClientError),
    /// The topic cannot be made.
    #[error("Error while attempting to create/find topic(s) '{topic}': {error}")]
    Create {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        error: LogClientError,
    },
    /// The topic did not show up in time.
    #[error(
        "Could not look up partition metadata for topic '{topic}' in the allotted period. This could indicate a connectivity issue, unavailable topic partitions, or if this is your first use of the topic it may have taken too long to create."
    )]
    NoMetadata {
        /// The topic.
        topic: String,
    },
    /// Records cannot be written.
    #[error(transparent)]
    Append(#[from] LogClientError),
    /// Records cannot be read.
    #[error(transparent)]
    Read(#[from] ConsumerError),
}

/// A topic that is read from its beginning.
pub struct TopicLog {
    topic: String,
    partitions: Vec<TopicPartition>,
    consumer: Consumer,
    client: Arc<dyn LogClient>,
    retry_backoff: Duration,
}

impl std::fmt::Debug for TopicLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicLog").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl TopicLog {
    /// Makes the topic where it is missing, checks it, and stands at its beginning. `consumer` must read nothing yet; it should have no group.
    pub async fn open(
        config: TopicLogConfig,
        consumer: Consumer,
        client: Arc<dyn LogClient>,
    ) -> Result<Self, TopicLogError> {
        let topic = config.topic.name.clone();
        if create(&config, &*client).await? == Creation::Exists {
            check_policy(&config, &*client).await?;
        }
        let partitions = match tokio::time::timeout(METADATA_PATIENCE, consumer.partitions_for(&topic)).await {
            Ok(Ok(partitions)) => partitions,
            Ok(Err(ConsumerError::Timeout { .. })) | Err(_) => return Err(TopicLogError::NoMetadata { topic }),
            Ok(Err(error)) => return Err(error.into()),
        };
        if config.single_partition && partitions.len() != 1 {
            let (property, purpose) = (config.property, config.purpose);
            return Err(TopicLogError::Partitions { topic, property, purpose, found: partitions.len() });
        }
        consumer.assign(partitions.iter().cloned());
        for partition in &partitions {
            consumer.seek_to(partition, OffsetSpec::Beginning)?;
        }
        Ok(Self { topic, partitions, consumer, client, retry_backoff: config.retry_backoff })
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Number of partitions.
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Waits for further records until `deadline`. Dropping the future loses nothing.
    pub async fn poll(&self, deadline: Instant) -> Result<Vec<FetchedBatch>, TopicLogError> {
        Ok(self.consumer.poll(deadline).await?.batches)
    }

    /// Reads on until everything has been read that was in the topic when this was called, own appends that were acknowledged included, and hands it
    /// to `take` as it comes. Whoever drops the future goes on where it stopped.
    ///
    /// With `isolation.level=read_committed` it waits for transactions that are open, as Java does. Time-outs are tried again until they end; the
    /// caller sets the limit.
    pub async fn read_to_end(&self, mut take: impl FnMut(Vec<FetchedBatch>)) -> Result<(), TopicLogError> {
        let ends = loop {
            match self.consumer.log_end_offsets(self.partitions.iter().cloned()).await {
                Ok(ends) => break ends,
                Err(ConsumerError::Timeout { .. }) => {
                    tracing::debug!(topic = self.topic, "the end of the topic is not known yet; asking again");
                }
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(self.retry_backoff).await;
        };
        loop {
            let read = ends.iter().all(|(partition, end)| {
                *end == 0 || self.consumer.position(partition).is_some_and(|position| position >= *end)
            });
            if read {
                return Ok(());
            }
            let batches = self.consumer.poll(Instant::now() + TURN).await?.batches;
            if !batches.is_empty() {
                take(batches);
            }
        }
    }

    /// Appends records; done when they are durable. They are read back like all others.
    pub async fn append(&self, records: Vec<LogRecord>) -> Result<(), TopicLogError> {
        Ok(self.client.append(&self.topic, records).await?)
    }

    /// Ends reading.
    pub async fn close(self, timeout: Duration) -> Result<(), TopicLogError> {
        Ok(self.consumer.close(timeout).await?)
    }
}

async fn create(config: &TopicLogConfig, client: &dyn LogClient) -> Result<Creation, TopicLogError> {
    let mut topic = config.topic.clone();
    topic.config.insert("cleanup.policy".to_owned(), COMPACT.to_owned());
    let deadline = Instant::now() + config.create_timeout;
    loop {
        match client.create_topic(topic.clone()).await {
            Ok(creation) => {
                if creation == Creation::NotAllowed {
                    tracing::warn!(topic = topic.name, "may not create the topic; it is taken to exist");
                }
                return Ok(creation);
            }
            Err(error) if !error.retriable => return Err(TopicLogError::Create { topic: topic.name, error }),
            Err(error) if Instant::now() + config.retry_backoff >= deadline => {
                return Err(TopicLogError::CreateTimeout(error));
            }
            Err(error) => tracing::debug!(topic = topic.name, %error, "cannot create the topic yet"),
        }
        tokio::time::sleep(config.retry_backoff).await;
    }
}

async fn check_policy(config: &TopicLogConfig, client: &dyn LogClient) -> Result<(), TopicLogError> {
    let topic = config.topic.name.clone();
    let found = match client.cleanup_policy(&topic).await {
        Ok(found) => found,
        Err(error) => {
            tracing::info!(topic, %error, "cannot read the cleanup policy of the topic");
            None
        }
    };
    let Some(found) = found else {
        tracing::info!(topic, "the cleanup policy of the topic is not known; it is taken to be `compact`");
        return Ok(());
    };
    if found == COMPACT {
        return Ok(());
    }
    let (property, purpose) = (config.property.clone(), config.purpose.clone());
    Err(TopicLogError::NotCompacted { topic, property, purpose, found })
}
