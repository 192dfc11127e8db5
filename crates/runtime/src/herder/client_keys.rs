//! Settings of Kafka's clients, as far as validation shows them: type, default and importance of Java's `ProducerConfig`, `ConsumerConfig` and
//! `AdminClientConfig`. A setting that is not here is shown without a definition, as Java shows one that its clients do not know.

use kurier_api::config::{Importance, Key, Type};

/// A setting of the clients whose letters are named: producer, consumer, admin.
struct ClientKey(&'static str, &'static str, Type, Option<&'static str>, Importance);

use Importance::{High, Low, Medium};
use Type::{Boolean, Class, Double, Int, List, Long, Password};

/// Java's `STRING`; the name of the variant is taken.
const TEXT: Type = Type::String;

const KEYS: &[ClientKey] = &[
    ClientKey("PCA", "client.id", TEXT, Some(""), Medium),
    ClientKey("PCA", "client.dns.lookup", TEXT, Some("use_all_dns_ips"), Medium),
    ClientKey("PCA", "request.timeout.ms", Int, Some("30000"), Medium),
    ClientKey("PCA", "retry.backoff.ms", Long, Some("100"), Low),
    ClientKey("PCA", "retry.backoff.max.ms", Long, Some("1000"), Low),
    ClientKey("PCA", "reconnect.backoff.ms", Long, Some("50"), Low),
    ClientKey("PCA", "reconnect.backoff.max.ms", Long, Some("1000"), Low),
    ClientKey("PCA", "socket.connection.setup.timeout.ms", Long, Some("10000"), Medium),
    ClientKey("PCA", "socket.connection.setup.timeout.max.ms", Long, Some("30000"), Medium),
    ClientKey("PCA", "connections.max.idle.ms", Long, None, Medium),
    ClientKey("PCA", "metadata.max.age.ms", Long, Some("300000"), Low),
    ClientKey("CA", "default.api.timeout.ms", Int, Some("60000"), Medium),
    ClientKey("PCA", "security.protocol", TEXT, Some("PLAINTEXT"), Medium),
    ClientKey("PCA", "sasl.mechanism", TEXT, Some("GSSAPI"), Medium),
    ClientKey("PCA", "sasl.jaas.config", Password, None, Medium),
    ClientKey("PCA", "sasl.client.callback.handler.class", Class, None, Medium),
    ClientKey("PCA", "sasl.login.callback.handler.class", Class, None, Medium),
    ClientKey("PCA", "sasl.login.class", Class, None, Medium),
    ClientKey("PCA", "sasl.kerberos.service.name", TEXT, None, Medium),
    ClientKey("PCA", "sasl.oauthbearer.token.endpoint.url", TEXT, None, Medium),
    ClientKey("PCA", "sasl.oauthbearer.client.credentials.client.secret", Password, None, Medium),
    ClientKey("PCA", "ssl.protocol", TEXT, Some("TLSv1.3"), Medium),
    ClientKey("PCA", "ssl.enabled.protocols", List, Some("TLSv1.2,TLSv1.3"), Medium),
    ClientKey("PCA", "ssl.cipher.suites", List, None, Low),
    ClientKey("PCA", "ssl.keystore.type", TEXT, Some("JKS"), Medium),
    ClientKey("PCA", "ssl.keystore.location", TEXT, None, High),
    ClientKey("PCA", "ssl.keystore.password", Password, None, High),
    ClientKey("PCA", "ssl.keystore.key", Password, None, High),
    ClientKey("PCA", "ssl.keystore.certificate.chain", Password, None, High),
    ClientKey("PCA", "ssl.key.password", Password, None, High),
    ClientKey("PCA", "ssl.truststore.type", TEXT, Some("JKS"), Medium),
    ClientKey("PCA", "ssl.truststore.location", TEXT, None, High),
    ClientKey("PCA", "ssl.truststore.password", Password, None, High),
    ClientKey("PCA", "ssl.truststore.certificates", Password, None, High),
    ClientKey("PCA", "ssl.endpoint.identification.algorithm", TEXT, Some("https"), Low),
    ClientKey("P", "acks", TEXT, Some("all"), Low),
    ClientKey("P", "batch.size", Int, Some("16384"), Medium),
    ClientKey("P", "buffer.memory", Long, Some("33554432"), High),
    ClientKey("P", "compression.type", TEXT, Some("none"), High),
    ClientKey("P", "delivery.timeout.ms", Int, Some("120000"), Medium),
    ClientKey("P", "enable.idempotence", Boolean, Some("true"), Low),
    ClientKey("P", "linger.ms", Long, Some("5"), Medium),
    ClientKey("P", "max.block.ms", Long, Some("60000"), Medium),
    ClientKey("P", "max.in.flight.requests.per.connection", Int, Some("5"), Low),
    ClientKey("P", "max.request.size", Int, Some("1048576"), Medium),
    ClientKey("PA", "retries", Int, Some("2147483647"), High),
    ClientKey("P", "transaction.timeout.ms", Int, Some("60000"), Low),
    ClientKey("P", "transactional.id", TEXT, None, Low),
    ClientKey("C", "auto.offset.reset", TEXT, Some("latest"), Medium),
    ClientKey("C", "check.crcs", Boolean, Some("true"), Low),
    ClientKey("C", "client.rack", TEXT, Some(""), Low),
    ClientKey("C", "enable.auto.commit", Boolean, Some("true"), Medium),
    ClientKey("C", "fetch.max.bytes", Int, Some("52428800"), Medium),
    ClientKey("C", "fetch.max.wait.ms", Int, Some("500"), Low),
    ClientKey("C", "fetch.min.bytes", Int, Some("1"), High),
    ClientKey("C", "group.id", TEXT, None, High),
    ClientKey("C", "group.instance.id", TEXT, None, Medium),
    ClientKey("C", "heartbeat.interval.ms", Int, Some("3000"), High),
    ClientKey("C", "isolation.level", TEXT, Some("read_uncommitted"), Medium),
    ClientKey("C", "max.partition.fetch.bytes", Int, Some("1048576"), High),
    ClientKey("C", "max.poll.interval.ms", Int, Some("300000"), Medium),
    ClientKey("C", "max.poll.records", Int, Some("500"), Medium),
    ClientKey("C", "session.timeout.ms", Int, Some("45000"), High),
    ClientKey("PCA", "sasl.kerberos.ticket.renew.jitter", Double, Some("0.05"), Low),
];

/// The definition of an override; none for a setting that is not here.
pub(crate) fn key(prefix: &str, name: &str) -> Option<Key> {
    let client = prefix.chars().next()?.to_ascii_uppercase();
    let ClientKey(_, name, kind, default, importance) =
        KEYS.iter().find(|ClientKey(clients, known, ..)| *known == name && clients.contains(client))?;
    // Java's idle time differs by client.
    let default = match (*name, client) {
        ("connections.max.idle.ms", 'A') => Some("300000"),
        ("connections.max.idle.ms", _) => Some("540000"),
        _ => *default,
    };
    let key = Key::new(*name, *kind).importance(*importance).doc(format!("Setting {name} of the Kafka client."));
    let mut declared = kurier_api::config::ConfigDef::new();
    let key = match default {
        Some(default) => key.default(default),
        None => key.default_null(),
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
        for ClientKey(clients, name, ..) in KEYS {
            let prefix = clients[..1].to_lowercase();
            assert!(key(&prefix, name).is_some(), "{name}");
        }
        for secret in ["sasl.jaas.config", "ssl.key.password", "ssl.keystore.password", "ssl.truststore.password"] {
            assert_eq!(key("consumer.override.", secret).map(|key| key.kind), Some(Password), "{secret}");
        }
        assert!(key("consumer.override.", "acks").is_none());
        assert!(key("producer.override.", "not.a.config").is_none());
    }
}
