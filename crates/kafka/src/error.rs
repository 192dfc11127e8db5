//! What can go wrong, under the names that Java gives it.
//!
//! Users of Connect read exceptions in traces and in the answers of the REST API, and some tools match on their class; so an error of Kafka keeps Java's
//! class and Java's text, whichever part of this crate met it. What to do about it is one question: whether the same may work later.

mod codes;

use std::fmt;

/// A class in the package of nearly all of Kafka's exceptions.
macro_rules! class {
    ($name:literal) => {
        concat!("org.apache.kafka.common.errors.", $name)
    };
}

/// Numbers of errors that somebody acts on.
pub mod code {
    /// The topic or partition is not there.
    pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    /// The group has members, and this is not one of them.
    pub const UNKNOWN_MEMBER_ID: i16 = 25;
    /// Not allowed to use the topic.
    pub const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
    /// Not allowed to do this to the cluster.
    pub const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;
    /// The broker does not speak this.
    pub const UNSUPPORTED_VERSION: i16 = 35;
    /// The topic is there already.
    pub const TOPIC_ALREADY_EXISTS: i16 = 36;
    /// There are not as many brokers as replicas are wanted.
    pub const INVALID_REPLICATION_FACTOR: i16 = 38;
    /// Another broker is in charge of the cluster.
    pub const NOT_CONTROLLER: i16 = 41;
    /// A later producer has the id: this one's epoch is over.
    pub const INVALID_PRODUCER_EPOCH: i16 = 47;
    /// The transactional id has another producer id.
    pub const INVALID_PRODUCER_ID_MAPPING: i16 = 49;
    /// Not allowed to use the transactional id.
    pub const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
    /// The group has members.
    pub const NON_EMPTY_GROUP: i16 = 68;
    /// The group is not there.
    pub const GROUP_ID_NOT_FOUND: i16 = 69;
    /// A member of the group reads the topic.
    pub const GROUP_SUBSCRIBED_TO_TOPIC: i16 = 86;
    /// Too many changes of topics in too short a time.
    pub const THROTTLING_QUOTA_EXCEEDED: i16 = 89;
    /// A credential that the broker does not take.
    pub const UNACCEPTABLE_CREDENTIAL: i16 = 93;
    /// Another producer has the transactional id.
    pub const PRODUCER_FENCED: i16 = 90;
}

/// Something that Kafka refused, or that could not be asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaError {
    /// The class of Java's exception.
    pub class: &'static str,
    /// Its message.
    pub message: String,
    /// Whether the same may work later. Java's `RetriableException`.
    pub retriable: bool,
    /// The number that stood for it in an answer; none if it was not a broker that said so.
    pub code: Option<i16>,
}

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for KafkaError {}

impl KafkaError {
    /// What a number in an answer means; none for 0, which is no error.
    pub fn from_code(code: i16) -> Option<Self> {
        if code == 0 {
            return None;
        }
        // A number that this build does not know is what Java makes of it: an unknown error of the broker.
        let (class, retriable, message) = codes::find(code).unwrap_or(codes::UNKNOWN);
        Some(Self { class, message: message.to_owned(), retriable, code: Some(code) })
    }

    /// As [`Self::from_code`], with the broker's own words where it has some.
    pub fn from_answer(code: i16, message: Option<&str>) -> Option<Self> {
        let mut error = Self::from_code(code)?;
        if let Some(message) = message.filter(|message| !message.is_empty()) {
            message.clone_into(&mut error.message);
        }
        Some(error)
    }

    /// `TimeoutException`: asked for long enough.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(class!("TimeoutException"), message, true)
    }

    /// `RecordTooLargeException`.
    pub fn record_too_large(message: impl Into<String>) -> Self {
        Self::new(class!("RecordTooLargeException"), message, false)
    }

    /// `UnsupportedVersionException`: the broker cannot do what is asked.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(class!("UnsupportedVersionException"), message, false)
    }

    /// `SaslAuthenticationException`: the broker does not believe who this is.
    pub fn sasl_authentication(message: impl Into<String>) -> Self {
        Self::new(class!("SaslAuthenticationException"), message, false)
    }

    /// `UnsupportedSaslMechanismException`: the broker does not take this kind of proof.
    pub fn unsupported_sasl_mechanism(message: impl Into<String>) -> Self {
        Self::new(class!("UnsupportedSaslMechanismException"), message, false)
    }

    /// `IllegalSaslStateException`: the two sides do not mean the same protocol.
    pub fn illegal_sasl_state(message: impl Into<String>) -> Self {
        Self::new(class!("IllegalSaslStateException"), message, false)
    }

    /// `SslAuthenticationException`: the two sides do not agree on TLS.
    pub fn ssl_authentication(message: impl Into<String>) -> Self {
        Self::new(class!("SslAuthenticationException"), message, false)
    }

    /// `ConfigException`: settings that no client can be made with.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new("org.apache.kafka.common.config.ConfigException", message, false)
    }

    /// `IllegalStateException`: not the moment for what is asked.
    pub fn illegal_state(message: impl Into<String>) -> Self {
        Self::new("java.lang.IllegalStateException", message, false)
    }

    /// `IllegalArgumentException`: what is asked makes no sense.
    pub fn illegal_argument(message: impl Into<String>) -> Self {
        Self::new("java.lang.IllegalArgumentException", message, false)
    }

    /// `KafkaException`: whatever has no name of its own.
    pub fn other(message: impl Into<String>) -> Self {
        Self::new("org.apache.kafka.common.KafkaException", message, false)
    }

    fn new(class: &'static str, message: impl Into<String>, retriable: bool) -> Self {
        Self { class, message: message.into(), retriable, code: None }
    }

    /// The class without its package.
    pub fn simple_class(&self) -> &'static str {
        self.class.rsplit_once('.').map_or(self.class, |(_, name)| name)
    }

    /// Whether the same may work later.
    pub fn is_retriable(&self) -> bool {
        self.retriable
    }

    /// Whether the broker cannot do this at all, whatever is asked.
    pub fn is_unsupported(&self) -> bool {
        self.class == class!("UnsupportedVersionException")
    }

    /// Whether it is the error with this number.
    pub fn is(&self, code: i16) -> bool {
        self.code == Some(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_javas_class_and_words() {
        let cases = [
            (-1, "UnknownServerException", false),
            (3, "UnknownTopicOrPartitionException", true),
            (7, "TimeoutException", true),
            (10, "RecordTooLargeException", false),
            (36, "TopicExistsException", false),
            (41, "NotControllerException", true),
            (9_999, "UnknownServerException", false),
        ];
        for (code, class, retriable) in cases {
            let error = KafkaError::from_code(code).unwrap();
            assert_eq!((error.simple_class(), error.retriable, error.is(code)), (class, retriable, true));
            assert!(error.class.starts_with("org.apache.kafka.common.errors.") && !error.message.is_empty());
        }
        assert_eq!(KafkaError::from_code(0), None);
        let own = KafkaError::from_answer(36, Some("Topic 't' already exists.")).unwrap();
        assert_eq!(own.to_string(), "Topic 't' already exists.");
        assert_eq!(KafkaError::timeout("late").class, "org.apache.kafka.common.errors.TimeoutException");
    }
}
