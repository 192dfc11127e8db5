//! SASL within TLS, from end to end: PLAIN and SCRAM, on Apache Kafka and on our broker, producing, consuming and administering.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock and start tasks")]

use std::collections::BTreeMap;
use std::time::Duration;

use kurier_broker::{Broker, BrokerConfig};
use kurier_harness::{ApacheKafka, BrokerOptions, skip_without_java};
use kurier_kafka::admin::{Admin, AdminConfig, ScramChange};
use kurier_kafka::security::sasl::scram::ScramHash;
use kurier_kafka::topic_log::NewTopic;

mod flow;

const STORES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stores");
const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
const PASSWORD: &str = "ada-s-secret";

/// Broker settings of the listener.
fn listener() -> BTreeMap<String, String> {
    let settings = [
        ("ssl.keystore.location", format!("{STORES}/keytool.p12")),
        ("ssl.keystore.password", "storepass".to_owned()),
        ("ssl.keystore.type", "PKCS12".to_owned()),
        ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned()),
        ("plain.sasl.jaas.config", format!("{PLAIN} required user_ada=\"{PASSWORD}\";")),
        ("scram-sha-256.sasl.jaas.config", format!("{SCRAM} required;")),
        ("scram-sha-512.sasl.jaas.config", format!("{SCRAM} required;")),
        // Sessions end while records flow.
        ("plain.connections.max.reauth.ms", "2000".to_owned()),
        ("scram-sha-512.connections.max.reauth.ms", "2000".to_owned()),
    ];
    settings.into_iter().map(|(key, value)| (format!("listener.name.secure.{key}"), value)).collect()
}

fn properties(broker: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let given = [("bootstrap.servers", broker)];
    given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), value.replace("{}", STORES))).collect()
}

/// Every mechanism with every client; `open` is a listener where everybody is let in.
async fn check(open: &str, secure: &str) {
    let admin = Admin::new(AdminConfig::parse(&properties(open, &[])).unwrap());
    let changes = [ScramHash::Sha256, ScramHash::Sha512].map(|hash| ScramChange::Set {
        user: "ada".to_owned(),
        hash,
        iterations: 4096,
        password: PASSWORD.into(),
    });
    for change in changes {
        admin.alter_scram_credentials(&[change]).await.unwrap().into_values().for_each(|changed| changed.unwrap());
    }
    let mut running = Vec::new();
    for (mechanism, module) in [("PLAIN", PLAIN), ("SCRAM-SHA-256", SCRAM), ("SCRAM-SHA-512", SCRAM)] {
        let jaas = format!("{module} required username=\"ada\" password=\"{PASSWORD}\";");
        let all = properties(
            secure,
            &[
                ("security.protocol", "SASL_SSL"),
                ("ssl.truststore.location", "{}/trust.p12"),
                ("ssl.truststore.password", "storepass"),
                ("sasl.mechanism", mechanism),
                ("sasl.jaas.config", &jaas),
                ("auto.offset.reset", "earliest"),
                ("group.id", mechanism),
            ],
        );
        let admin = Admin::new(AdminConfig::parse(&all).unwrap());
        let topic = format!("records-{mechanism}");
        let wanted = NewTopic { name: topic.clone(), partitions: 1, replication_factor: 1, config: BTreeMap::new() };
        admin.create_topic(&wanted).await.unwrap();
        running.push(tokio::spawn(async move {
            let read = flow::flow(&all, &topic, Duration::from_secs(6)).await;
            assert!(read > 20, "{topic}: only {read} records");
        }));
    }
    for running in running {
        running.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apache_kafka_and_this_client_speak_sasl_within_tls() {
    let Some(java) = skip_without_java("apache_kafka_and_this_client_speak_sasl_within_tls") else { return };
    let properties = listener().iter().map(|(key, value)| format!("{key}={value}")).collect();
    let listeners = vec![("SECURE".to_owned(), "SASL_SSL".to_owned())];
    let kafka =
        ApacheKafka::start_with(&java, BrokerOptions { properties, listeners, ..BrokerOptions::default() }).unwrap();
    check(&kafka.address(), &kafka.listener("SECURE")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_broker_and_this_client_speak_sasl_within_tls() {
    let mut properties = listener();
    properties.insert("listeners".to_owned(), "PLAINTEXT://127.0.0.1:0,SECURE://127.0.0.1:0".to_owned());
    let protocols = "PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL";
    properties.insert("listener.security.protocol.map".to_owned(), protocols.to_owned());
    let (config, unused) = BrokerConfig::from_properties(&properties).unwrap();
    assert_eq!(unused, [""; 0]);
    let broker = Broker::start(config).await.unwrap();
    let address = |name: &str| broker.addresses().find(|(other, _)| *other == name).unwrap().1.to_owned();
    check(&address("PLAINTEXT"), &address("SECURE")).await;
    broker.stop().await.unwrap();
}
