//! Settings of Kafka's clients, as validation shows them: type, default and importance of Java's `ProducerConfig`, `ConsumerConfig` and
//! `AdminClientConfig`. A setting that these do not know is shown without a definition.

use kurier_api::config::{Importance, Key, Type};
use kurier_kafka::properties::{self, Client, Kind};

/// The definition of an override, whose prefix is `producer.override.` or the like; none for a setting that the client does not know.
pub(crate) fn key(prefix: &str, name: &str) -> Option<Key> {
    let client = Client::ALL.into_iter().find(|client| prefix.starts_with(client.name()))?;
    let property = client.property(name)?;
    let kind = match property.kind {
        Kind::Boolean => Type::Boolean,
        Kind::Text => Type::String,
        Kind::Int => Type::Int,
        Kind::Short => Type::Short,
        Kind::Long => Type::Long,
        Kind::Double => Type::Double,
        Kind::List => Type::List,
        Kind::Class => Type::Class,
        Kind::Password => Type::Password,
    };
    let importance = match property.importance {
        properties::Importance::High => Importance::High,
        properties::Importance::Medium => Importance::Medium,
        properties::Importance::Low => Importance::Low,
    };
    let key = Key::new(name, kind).importance(importance).doc(format!("Setting {name} of the Kafka client."));
    let mut declared = kurier_api::config::ConfigDef::new();
    let key = match property.default {
        properties::Default::Value(default) => key.default(default),
        properties::Default::Null => key.default_null(),
        properties::Default::Required => key,
    };
    // Defining a key is what reads its default.
    declared.try_define(key).ok()?;
    declared.key(name).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_can_be_read_and_secrets_are_passwords() {
        for client in Client::ALL {
            for property in client.properties() {
                let prefix = format!("{}.override.", client.name());
                assert!(key(&prefix, property.name).is_some(), "{prefix}{}", property.name);
            }
        }
        for secret in ["sasl.jaas.config", "ssl.key.password", "ssl.keystore.password", "ssl.truststore.password"] {
            assert_eq!(key("consumer.override.", secret).map(|key| key.kind), Some(Type::Password), "{secret}");
        }
        assert!(key("consumer.override.", "acks").is_none());
        assert!(key("producer.override.", "not.a.config").is_none());
    }
}
