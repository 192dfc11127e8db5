//! What the answer to a batch means.

use kafka_protocol::ResponseError;

use crate::error::KafkaError;
use crate::producer::DeliveryError;

/// What the answer to a batch means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    /// The same batch is sent again.
    Retry {
        /// After asking who leads the partition.
        metadata: bool,
    },
    /// It is sent again under a new producer id: the broker has forgotten the old one.
    Renew,
    /// It is sent again as two.
    Split,
    GiveUp,
}

/// `renews` says whether the producer may take the next epoch by itself, as one without transactions does.
pub(super) fn verdict(error: Option<ResponseError>, alone: bool, records: i32, renews: bool) -> Verdict {
    use ResponseError::*;
    match error {
        None | Some(DuplicateSequenceNumber) => Verdict::Delivered,
        Some(
            NotLeaderOrFollower
            | LeaderNotAvailable
            | UnknownTopicOrPartition
            | FencedLeaderEpoch
            | UnknownLeaderEpoch
            | NetworkException
            | ReplicaNotAvailable
            | KafkaStorageError
            | UnknownTopicId,
        ) => Verdict::Retry { metadata: true },
        Some(
            NotEnoughReplicas
            | NotEnoughReplicasAfterAppend
            | RequestTimedOut
            | CorruptMessage
            | ThrottlingQuotaExceeded
            | CoordinatorLoadInProgress
            | ConcurrentTransactions
            | NotCoordinator
            | CoordinatorNotAvailable,
        ) => Verdict::Retry { metadata: false },
        // One before it has not arrived, or it has overtaken one; they are sent again, in order.
        Some(InvalidProducerEpoch) if !renews => Verdict::GiveUp,
        Some(OutOfOrderSequenceNumber | UnknownProducerId | InvalidProducerEpoch) if !alone => {
            Verdict::Retry { metadata: false }
        }
        Some(OutOfOrderSequenceNumber | UnknownProducerId | InvalidProducerEpoch) if renews => Verdict::Renew,
        Some(MessageTooLarge | RecordListTooLarge) if records > 1 => Verdict::Split,
        Some(_) => Verdict::GiveUp,
    }
}

pub(super) fn delivery_error(error: ResponseError, topic: &str) -> DeliveryError {
    use ResponseError::*;
    let (class, message) = match error {
        TopicAuthorizationFailed => (
            "org.apache.kafka.common.errors.TopicAuthorizationException",
            format!("Not authorized to access topics: [{topic}]"),
        ),
        InvalidTopicException => {
            ("org.apache.kafka.common.errors.InvalidTopicException", format!("Invalid topics: [{topic}]"))
        }
        other => {
            let error = KafkaError::from_code(other.code()).unwrap_or_else(|| KafkaError::other(other.to_string()));
            (error.class, error.message)
        }
    };
    DeliveryError { class, message }
}
