//! A failed authentication is told at once, by every operation of every client, as Java's clients tell it; and clients go on once it is mended.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock, start tasks and write files")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use kurier_broker::{Broker, BrokerConfig, RunningBroker};
use kurier_harness::{ApacheKafka, BrokerOptions, skip_without_java};
use verdicts::Attempt;

mod verdicts;

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
/// What a client may want.
const OPERATIONS: [&str; 12] = [
    "send",
    "partitions",
    "transaction",
    "subscribe",
    "assign",
    "commit",
    "committed",
    "end",
    "consumer-partitions",
    "list-topics",
    "describe-topic",
    "group-offsets",
];

/// Broker settings of a listener with SASL and one with TLS, each under a name.
fn listeners(folder: &Path) -> Vec<(String, String)> {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let store = folder.join("broker.pem");
    std::fs::write(&store, format!("{}{}", key.serialize_pem(), certificate.pem())).unwrap();
    let store = store.display().to_string();
    let text = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    vec![
        text("listener.name.sasl.sasl.enabled.mechanisms", "PLAIN"),
        text("listener.name.sasl.plain.sasl.jaas.config", &format!("{PLAIN} required user_ada=\"right\";")),
        text("listener.name.tls.ssl.keystore.type", "PEM"),
        text("listener.name.tls.ssl.keystore.location", &store),
    ]
}

fn properties(broker: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let given = [("bootstrap.servers", broker), ("auto.offset.reset", "earliest"), ("max.block.ms", "50000")];
    given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Every operation with a wrong password, one with a mechanism that is not there, and without trust in the broker's certificate.
fn attempts(sasl: &str, tls: &str) -> Vec<Attempt> {
    let login = |module: &str| format!("{module} required username=\"ada\" password=\"wrong\";");
    let (jaas, scram_jaas) = (login(PLAIN), login(SCRAM));
    let wrong = [("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", &jaas)];
    let ssl = [("security.protocol", "SSL")];
    let scram = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.jaas.config", &scram_jaas),
    ];
    let mut attempts = Vec::new();
    for (what, broker, more) in [("wrong", sasl, &wrong[..]), ("ssl", tls, &ssl), ("scram", sasl, &scram)] {
        for operation in OPERATIONS {
            let mut properties = properties(broker, more);
            if operation == "transaction" {
                properties.insert("transactional.id".to_owned(), format!("id-{what}"));
            }
            attempts.push(Attempt {
                operation,
                topic: "t".to_owned(),
                group: format!("{what}-{operation}"),
                properties,
            });
        }
    }
    // A producer that needs no id, and a group of the new protocol.
    let mut plain = attempts[0].clone();
    plain.properties.insert("enable.idempotence".to_owned(), "false".to_owned());
    let mut new = attempts[3].clone();
    new.properties.insert("group.protocol".to_owned(), "consumer".to_owned());
    attempts.extend([plain, new]);
    attempts
}

/// A verdict; one about TLS without the words, which are those of each TLS library.
fn comparable(verdict: &str) -> &str {
    let class = "SslAuthenticationException";
    verdict.find(class).map_or(verdict, |at| &verdict[..at + class.len()])
}

/// Whether every operation of ours says at once what is expected of it, and what Java said.
async fn check(attempts: &[Attempt], java: Option<Vec<String>>) {
    let began = Instant::now();
    let ours = verdicts::ours(attempts).await;
    assert!(began.elapsed() < Duration::from_secs(25), "not at once: {:?}", began.elapsed());
    for (at, (attempt, ours)) in attempts.iter().zip(&ours).enumerate() {
        let step = if attempt.operation == "transaction" { "init: " } else { "" };
        let expected = match attempt.properties.get("sasl.mechanism").map(String::as_str) {
            None => "SslAuthenticationException",
            Some("PLAIN") => "SaslAuthenticationException: Authentication failed: Invalid username or password",
            Some(_) => {
                "UnsupportedSaslMechanismException: Client SASL mechanism 'SCRAM-SHA-256' not enabled in the server, enabled mechanisms are [PLAIN]"
            }
        };
        assert_eq!(comparable(ours), format!("{step}{expected}"), "{attempt:?}");
        if let Some(java) = &java {
            assert_eq!(comparable(ours), comparable(&java[at]), "Java says something else: {attempt:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apache_kafka_refuses_and_every_operation_says_so() {
    let Some(java) = skip_without_java("apache_kafka_refuses_and_every_operation_says_so") else { return };
    let folder = tempfile::tempdir().unwrap();
    let properties = listeners(folder.path()).iter().map(|(key, value)| format!("{key}={value}")).collect();
    let listeners = [("SASL", "SASL_PLAINTEXT"), ("TLS", "SSL")].map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    let options = BrokerOptions { properties, listeners: listeners.to_vec(), ..BrokerOptions::default() };
    let kafka = ApacheKafka::start_with(&java, options).unwrap();
    let attempts = attempts(&kafka.listener("SASL"), &kafka.listener("TLS"));
    let theirs = {
        let (java, attempts) = (java.clone(), attempts.clone());
        tokio::task::spawn_blocking(move || verdicts::java(&java, &attempts)).await.unwrap()
    };
    check(&attempts, Some(theirs)).await;
}

async fn broker(folder: &Path) -> RunningBroker {
    let mut properties: BTreeMap<String, String> = listeners(folder).into_iter().collect();
    properties
        .insert("listeners".to_owned(), "PLAINTEXT://127.0.0.1:0,SASL://127.0.0.1:0,TLS://127.0.0.1:0".to_owned());
    let protocols = "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL";
    properties.insert("listener.security.protocol.map".to_owned(), protocols.to_owned());
    let (config, unused) = BrokerConfig::from_properties(&properties).unwrap();
    assert_eq!(unused, [""; 0]);
    Broker::start(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_broker_refuses_and_every_operation_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    let address = |name: &str| broker.addresses().find(|(other, _)| *other == name).unwrap().1.to_owned();
    check(&attempts(&address("SASL"), &address("TLS")), None).await;
    broker.stop().await.unwrap();
}
