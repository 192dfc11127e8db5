//! The predicates of Apache Kafka, by the names of their Java classes.

use crate::converters::VERSION;
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Key, ParsedConfig, Props, Type, Validator};
use kurier_api::plugin::{Descriptor, Predicate, PredicateType};
use kurier_api::record::Record;
use kurier_api::regex::JavaRegex;
use std::sync::Arc;

/// Makes a predicate of settings that were read.
type Make = fn(&ParsedConfig) -> Result<Box<dyn Predicate>, ConnectError>;

/// A kind of predicate that Apache Kafka ships.
struct BuiltinPredicate {
    class: &'static str,
    config: ConfigDef,
    make: Make,
}

impl PredicateType for BuiltinPredicate {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: self.class, version: VERSION }
    }

    fn config(&self) -> &ConfigDef {
        &self.config
    }

    fn create(&self, props: &Props) -> Result<Box<dyn Predicate>, ConnectError> {
        (self.make)(&self.config.parse(props)?)
    }
}

/// All predicates.
pub fn predicates() -> impl Iterator<Item = Arc<dyn PredicateType>> {
    let all = [
        BuiltinPredicate {
            class: "org.apache.kafka.connect.transforms.predicates.HasHeaderKey",
            config: ConfigDef::new()
                .define(Key::new("name", Type::String).validator(Validator::NonEmptyString).doc("Name of the header.")),
            make: |config| Ok(Box::new(HasHeaderKey(config.get_str("name").unwrap_or_default().to_owned()))),
        },
        BuiltinPredicate {
            class: "org.apache.kafka.connect.transforms.predicates.RecordIsTombstone",
            config: ConfigDef::new(),
            make: |_| Ok(Box::new(RecordIsTombstone)),
        },
        BuiltinPredicate {
            class: "org.apache.kafka.connect.transforms.predicates.TopicNameMatches",
            config: ConfigDef::new().define(
                Key::new("pattern", Type::String)
                    .validator(Validator::All(vec![Validator::NonEmptyString, Validator::regex()]))
                    .doc("Regular expression that the whole topic has to match."),
            ),
            make: |config| {
                let regex =
                    JavaRegex::new(config.get_str("pattern").unwrap_or_default()).map_err(ConnectError::config)?;
                Ok(Box::new(TopicNameMatches(regex)))
            },
        },
    ];
    all.into_iter().map(|kind| Arc::new(kind) as Arc<dyn PredicateType>)
}

struct HasHeaderKey(String);

impl Predicate for HasHeaderKey {
    fn test(&mut self, record: &Record) -> Result<bool, ConnectError> {
        Ok(record.headers.iter().any(|header| header.key == self.0))
    }
}

struct RecordIsTombstone;

impl Predicate for RecordIsTombstone {
    fn test(&mut self, record: &Record) -> Result<bool, ConnectError> {
        Ok(record.value.value.is_null())
    }
}

struct TopicNameMatches(JavaRegex);

impl Predicate for TopicNameMatches {
    fn test(&mut self, record: &Record) -> Result<bool, ConnectError> {
        self.0.matches(&record.topic)
    }
}
