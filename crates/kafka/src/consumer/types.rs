//! The consumer's vocabulary: partitions, offsets, events, errors.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;

use crate::batch::BatchError;
use crate::error::KafkaError;
use crate::group::GroupError;

/// A partition of a topic. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition's number in it.
    pub partition: i32,
}

impl TopicPartition {
    /// Names partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// An offset to commit, or one that was committed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OffsetAndMetadata {
    /// The next offset to be read.
    pub offset: i64,
    /// Epoch of the leader that the record before it was read from.
    pub leader_epoch: Option<i32>,
    /// Whatever the committer wants to remember; the broker limits its length.
    pub metadata: String,
}

impl OffsetAndMetadata {
    /// An offset without metadata.
    pub fn new(offset: i64) -> Self {
        Self { offset, leader_epoch: None, metadata: String::new() }
    }
}

/// Offsets by partition, to be committed or as committed.
pub type Offsets = BTreeMap<TopicPartition, OffsetAndMetadata>;

/// The place of a record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAndTimestamp {
    /// Offset of the first record that is not older than asked.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: i64,
}

/// Which topics a member of a group wants to read.
#[derive(Clone)]
pub enum Subscription {
    /// These topics.
    Topics(Vec<String>),
    /// Every topic whose name the predicate takes, also those created later. A predicate and not a text, because the dialect of the regular
    /// expression is the caller's matter (Connect's `topics.regex` is Java's).
    Matching(TopicFilter),
    /// Every topic whose name the coordinator finds to match this regular expression (RE2J), with `group.protocol=consumer` only: Java's
    /// `SubscriptionPattern`.
    Pattern(String),
}

/// Says whether a topic is wanted.
pub type TopicFilter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topics(topics) => f.debug_tuple("Topics").field(topics).finish(),
            Self::Matching(_) => f.write_str("Matching(..)"),
            Self::Pattern(pattern) => f.debug_tuple("Pattern").field(pattern).finish(),
        }
    }
}

impl OffsetSpec {
    /// The isolation level that it is asked with.
    pub(crate) fn isolation(self, usual: Isolation) -> Isolation {
        if self == Self::LogEnd { Isolation::ReadUncommitted } else { usual }
    }
}

/// What happened to the share of a member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RebalanceEvent {
    /// These partitions are this member's from now on, in addition to those it has.
    Assigned(Vec<TopicPartition>),
    /// These partitions are to be given up. They are still this member's: commit, then call `ack_revoked`. The whole group waits for it.
    Revoked(Vec<TopicPartition>),
    /// These partitions may already be another's: commit nothing for them.
    Lost(Vec<TopicPartition>),
}

/// Whose records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Isolation {
    /// All records, also of open and aborted transactions.
    #[default]
    ReadUncommitted,
    /// Only records of committed transactions and those outside of any.
    ReadCommitted,
}

impl Isolation {
    /// As in requests.
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// A place in a partition to ask the broker for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first record's.
    Beginning,
    /// Behind the last record that the isolation level shows.
    End,
    /// Behind the last record of all, also of open transactions.
    LogEnd,
    /// The first record's whose timestamp is not older, in milliseconds since 1970.
    Timestamp(i64),
    /// The record's with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// The first that is still on the broker itself where older ones are in tiered storage (KIP-405).
    EarliestLocal,
    /// The last that is in tiered storage (KIP-1005).
    LatestTiered,
}

impl OffsetSpec {
    /// As in requests.
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Beginning => -2,
            Self::End | Self::LogEnd => -1,
            // Negative ones have other meanings on the wire.
            Self::Timestamp(at) => at.max(0),
            Self::MaxTimestamp => -3,
            Self::EarliestLocal => -4,
            Self::LatestTiered => -5,
        }
    }
}

/// Why a consumer cannot do what it was asked to do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConsumerError {
    /// No committed offset, and `auto.offset.reset=none`.
    #[error("Undefined offset with no reset policy for partitions: {}", list(.0))]
    NoOffset(Vec<TopicPartition>),
    /// The position does not exist, and `auto.offset.reset=none`.
    #[error("Offsets out of range with no configured reset policy for partitions: {{{partition}={offset}}}")]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The position.
        offset: i64,
    },
    /// The log was cut behind the position, and `auto.offset.reset=none` (KIP-320).
    #[error("Truncated partitions detected with divergent offsets {{{}}}", divergence(.partition, .diverging.as_ref()))]
    LogTruncation {
        /// The partition.
        partition: TopicPartition,
        /// The position.
        offset: i64,
        /// Where the log of the leader parts from the one that was read, if it can say so.
        diverging: Option<OffsetAndMetadata>,
    },
    /// The broker does not let us read these.
    #[error("Not authorized to access topics: [{}]", .0.join(", "))]
    TopicAuthorization(Vec<String>),
    /// The broker does not let us use the group.
    #[error("Not authorized to access group: {0}")]
    GroupAuthorization(String),
    /// Fetched bytes are not records.
    #[error("Encountered corrupt message when fetching offset {offset} for topic-partition {partition}: {error}")]
    Corrupt {
        /// The partition.
        partition: TopicPartition,
        /// The position.
        offset: i64,
        /// What is wrong.
        error: BatchError,
    },
    /// The broker sends less than a whole batch.
    #[error(
        "the batch at or after offset {offset} of {partition} does not fit into {limit} bytes; raise `max.partition.fetch.bytes`"
    )]
    BatchTooLarge {
        /// The partition.
        partition: TopicPartition,
        /// The position.
        offset: i64,
        /// The limit it was asked with.
        limit: i32,
    },
    /// The group went on without this member, so its commit was refused.
    #[error(
        "Offset commit cannot be completed since the consumer is not part of an active group for auto partition assignment; it is likely that the consumer was kicked out of the group."
    )]
    CommitFailed,
    /// A rebalance has begun; the commit can be tried again after it.
    #[error(
        "Offset commit cannot be completed since the consumer is undergoing a rebalance for auto partition assignment. You can try completing the rebalance by calling poll() and then retry the operation."
    )]
    RebalanceInProgress,
    /// The group cannot be joined.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The broker refused a request.
    #[error("{what} failed: {error}")]
    Refused {
        /// What was asked.
        what: String,
        /// The broker's error.
        error: ResponseError,
    },
    /// The broker did not answer in time.
    #[error("Timeout of {}ms expired before {what}", .timeout.as_millis())]
    Timeout {
        /// What should have been done.
        what: String,
        /// The time it had.
        timeout: Duration,
    },
    /// A partition was named that this consumer does not have.
    #[error("No current assignment for partition {0}")]
    NotAssigned(TopicPartition),
    /// An operation of a group without a `group.id`.
    #[error(
        "To use the group management or offset commit APIs, you must provide a valid group.id in the consumer configuration."
    )]
    NoGroup,
    /// The settings do not let a consumer be made.
    #[error("{0}")]
    Config(String),
    /// Brokers and this client do not accept each other: certificates, credentials, versions.
    #[error(transparent)]
    Connection(KafkaError),
    /// The consumer was closed.
    #[error("This consumer has already been closed.")]
    Closed,
}

impl ConsumerError {
    /// The class of the exception that Java's consumer throws.
    pub fn class(&self) -> &'static str {
        let of =
            |error: ResponseError| KafkaError::from_code(error.code()).map_or(KAFKA_EXCEPTION, |error| error.class);
        match self {
            Self::NoOffset(_) => "org.apache.kafka.clients.consumer.NoOffsetForPartitionException",
            Self::OffsetOutOfRange { .. } => "org.apache.kafka.clients.consumer.OffsetOutOfRangeException",
            Self::LogTruncation { .. } => "org.apache.kafka.clients.consumer.LogTruncationException",
            Self::TopicAuthorization(_) => "org.apache.kafka.common.errors.TopicAuthorizationException",
            Self::GroupAuthorization(_) => "org.apache.kafka.common.errors.GroupAuthorizationException",
            Self::CommitFailed => "org.apache.kafka.clients.consumer.CommitFailedException",
            Self::RebalanceInProgress => "org.apache.kafka.common.errors.RebalanceInProgressException",
            Self::Group(GroupError::Fenced { .. }) => "org.apache.kafka.common.errors.FencedInstanceIdException",
            Self::Group(GroupError::Refused { error, .. }) | Self::Refused { error, .. } => of(*error),
            Self::Corrupt { .. } | Self::BatchTooLarge { .. } | Self::Group(GroupError::BadAnswer { .. }) => {
                KAFKA_EXCEPTION
            }
            Self::Timeout { .. } => "org.apache.kafka.common.errors.TimeoutException",
            Self::NotAssigned(_) | Self::Closed => "java.lang.IllegalStateException",
            Self::NoGroup => "org.apache.kafka.common.errors.InvalidGroupIdException",
            Self::Config(_) => "org.apache.kafka.common.config.ConfigException",
            Self::Connection(error) => error.class,
        }
    }
}

/// Whatever has no name of its own.
const KAFKA_EXCEPTION: &str = "org.apache.kafka.common.KafkaException";

fn list(partitions: &[TopicPartition]) -> String {
    let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    format!("[{}]", names.join(", "))
}

fn divergence(partition: &TopicPartition, diverging: Option<&OffsetAndMetadata>) -> String {
    diverging.map_or_else(String::new, |at| {
        let epoch = at.leader_epoch.map_or_else(|| "null".to_owned(), |epoch| epoch.to_string());
        format!("{partition}=OffsetAndMetadata{{offset={}, leaderEpoch={epoch}, metadata=''}}", at.offset)
    })
}
