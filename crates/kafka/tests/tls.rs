//! TLS on Apache Kafka and on the broker of this repository, by the same settings: who trusts whom, who does not and hears why, and that records come through.
#![expect(
    clippy::disallowed_methods,
    reason = "driver: tests read the clock, start tasks, open sockets and read and write files"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kurier_broker::{Broker, BrokerConfig};
use kurier_harness::{ApacheKafka, BrokerOptions, console_consume, console_produce, skip_without_java};
use kurier_kafka::admin::{Admin, AdminConfig, AdminError};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{Consumer, ConsumerConfig, TopicPartition};
use kurier_kafka::producer::{Destination, ProduceBatch, Producer, ProducerConfig};

const PATIENCE: Duration = Duration::from_secs(60);
const STORES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stores");
const LISTENERS: [&str; 6] = ["OPEN", "MUTUAL", "ASKING", "OTHER", "EXPIRED", "OLD"];

/// A self-signed certificate with its key, as PEM.
fn self_signed(names: &[&str], until: i32) -> String {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    format!("{}{}", key.serialize_pem(), params.self_signed(&key).unwrap().pem())
}

/// Settings of the listeners, for both brokers.
fn listeners(folder: &Path) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    let mut set = |listener: &str, list: &[(&str, &str)]| {
        for (key, value) in list {
            let value = value.replace("{}", STORES);
            properties.insert(format!("listener.name.{}.{key}", listener.to_lowercase()), value);
        }
    };
    let pkcs12 = [
        ("ssl.keystore.location", "{}/keytool.p12"),
        ("ssl.keystore.password", "storepass"),
        ("ssl.keystore.type", "PKCS12"),
    ];
    let trust = [("ssl.truststore.location", "{}/trust.jks"), ("ssl.truststore.password", "storepass")];
    set("OPEN", &pkcs12);
    set("MUTUAL", &[&pkcs12[..], &trust, &[("ssl.client.auth", "required")]].concat());
    set("ASKING", &[&pkcs12[..], &trust, &[("ssl.client.auth", "requested")]].concat());
    for (listener, names, until) in [("OTHER", "example.org", 2100), ("EXPIRED", "127.0.0.1", 2001)] {
        let path = folder.join(listener);
        std::fs::write(&path, self_signed(&[names], until)).unwrap();
        set(listener, &[("ssl.keystore.type", "PEM"), ("ssl.keystore.location", path.to_str().unwrap())]);
    }
    set(
        "OLD",
        &[
            ("ssl.keystore.location", "{}/key.jks"),
            ("ssl.keystore.password", "storepass"),
            ("ssl.key.password", "keypass"),
            ("ssl.enabled.protocols", "TLSv1.2"),
        ],
    );
    properties
}

fn properties(broker: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let given = [("bootstrap.servers", broker), ("security.protocol", "SSL"), ("request.timeout.ms", "20000")];
    given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), value.replace("{}", STORES))).collect()
}

/// Asks for the cluster; answers with what went wrong, as class and words.
async fn ask(broker: &str, more: &[(&str, &str)]) -> Result<(), String> {
    let admin = Admin::new(AdminConfig::parse(&properties(broker, more)).map_err(|error| error.to_string())?);
    match admin.describe_cluster().await {
        Ok(_) => Ok(()),
        Err(AdminError::Refused { error, .. }) => Err(format!("{}: {error}", error.simple_class())),
        Err(error) => Err(error.to_string()),
    }
}

const TRUST: [(&str, &str); 2] =
    [("ssl.truststore.location", "{}/trust.p12"), ("ssl.truststore.password", "storepass")];
const PEM_TRUST: [(&str, &str); 2] = [("ssl.truststore.location", "{}/ca.pem"), ("ssl.truststore.type", "PEM")];
const JKS: [(&str, &str); 3] =
    [("ssl.keystore.location", "{}/key.jks"), ("ssl.keystore.password", "storepass"), ("ssl.key.password", "keypass")];
const OLD_PKCS12: [(&str, &str); 2] =
    [("ssl.keystore.location", "{}/openssl-legacy.p12"), ("ssl.keystore.password", "storepass")];
const PEM: [(&str, &str); 3] =
    [("ssl.keystore.location", "{}/pbes2-aes.pem"), ("ssl.keystore.type", "PEM"), ("ssl.key.password", "keypass")];

/// Every case on a broker whose listeners are where `at` says.
async fn check(at: impl Fn(&str) -> String, folder: &Path) {
    let inline = std::fs::read_to_string(format!("{STORES}/ca.pem")).unwrap();
    let inline = [("ssl.truststore.certificates", inline.as_str()), ("ssl.truststore.type", "PEM")];
    let other = folder.join("OTHER");
    let other = [("ssl.truststore.location", other.to_str().unwrap()), ("ssl.truststore.type", "PEM")];
    let expired = folder.join("EXPIRED");
    let expired_key = [("ssl.keystore.location", expired.to_str().unwrap()), ("ssl.keystore.type", "PEM")];
    let nameless = [("ssl.endpoint.identification.algorithm", "")];
    let with =
        |first: &[(&'static str, &'static str)], second: &[(&'static str, &'static str)]| [first, second].concat();
    let no_path =
        "the certificate `localhost` is not trusted: unable to find valid certification path to requested target";
    let alert = "Received fatal alert: ";
    let cases: Vec<(&str, Vec<(&str, &str)>, Result<(), &str>)> = vec![
        ("OPEN", TRUST.to_vec(), Ok(())),
        ("OPEN", PEM_TRUST.to_vec(), Ok(())),
        ("OPEN", inline.to_vec(), Ok(())),
        ("OPEN", with(&TRUST, &[("ssl.enabled.protocols", "TLSv1.2")]), Ok(())),
        ("OPEN", with(&TRUST, &[("ssl.cipher.suites", "TLS_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA")]), Ok(())),
        ("OPEN", other.to_vec(), Err(no_path)),
        // Whom the system trusts is not us.
        ("OPEN", Vec::new(), Err(no_path)),
        ("MUTUAL", with(&TRUST, &JKS), Ok(())),
        ("MUTUAL", with(&PEM_TRUST, &OLD_PKCS12), Ok(())),
        ("MUTUAL", with(&TRUST, &PEM), Ok(())),
        ("MUTUAL", with(&with(&TRUST, &PEM), &[("ssl.enabled.protocols", "TLSv1.2")]), Ok(())),
        ("MUTUAL", TRUST.to_vec(), Err(alert)),
        ("MUTUAL", with(&TRUST, &[("ssl.enabled.protocols", "TLSv1.2")]), Err(alert)),
        ("ASKING", TRUST.to_vec(), Ok(())),
        ("ASKING", with(&TRUST, &PEM), Ok(())),
        ("OTHER", other.to_vec(), Err("No subject alternative names matching IP address 127.0.0.1 found")),
        ("OTHER", [&other[..], &nameless].concat(), Ok(())),
        ("EXPIRED", TRUST.to_vec(), Err("a certificate has expired")),
        ("OLD", TRUST.to_vec(), Ok(())),
        ("OLD", with(&TRUST, &[("ssl.enabled.protocols", "TLSv1.3")]), Err(alert)),
    ];
    for (listener, more, expected) in cases {
        let found = ask(&at(listener), &more).await;
        let what = format!("{listener} {more:?}: {found:?}");
        match (&found, expected) {
            (Ok(()), Ok(())) => {}
            (Err(found), Err(expected)) => {
                assert!(found.starts_with("SslAuthenticationException: SSL handshake failed: "), "{what}");
                assert!(found.contains(expected), "{what}");
            }
            _ => panic!("{what}"),
        }
    }
    // A client that shows what the broker does not trust: Java's client manager would show nothing, and so do we.
    let untrusted = ask(&at("MUTUAL"), &[&TRUST[..], &expired_key].concat()).await;
    assert!(untrusted.as_ref().is_err_and(|error| error.contains(alert)), "{untrusted:?}");
    records_come_through(&at("MUTUAL"), &with(&TRUST, &JKS)).await;
}

/// Batches larger than a record of TLS, both ways.
async fn records_come_through(broker: &str, more: &[(&str, &str)]) {
    const COUNT: u64 = 2_000;
    let producer = Producer::new(ProducerConfig::parse(&properties(broker, more)).unwrap());
    let topic: Arc<str> = Arc::from("through-tls");
    let mut batch = ProduceBatch::default();
    for ticket in 0..COUNT {
        let mut draft = batch.draft();
        draft
            .value(|bytes| {
                bytes.extend_from_slice(ticket.to_string().repeat(200).as_bytes());
                Ok::<_, ()>(true)
            })
            .unwrap();
        draft.finish(ticket, Destination { topic: &topic, partition: Some(0), timestamp: None });
    }
    producer.send(&mut batch).await.unwrap();
    let (mut told, end) = (0, Instant::now() + PATIENCE);
    while told < COUNT {
        assert!(Instant::now() < end, "{told} of {COUNT} are told of");
        for delivery in producer.deliveries(end).await {
            assert!(delivery.outcome.is_ok(), "{:?}", delivery.outcome);
            told = delivery.tickets.end;
        }
    }
    let reset = [("auto.offset.reset", "earliest")];
    let config = ConsumerConfig::parse(&properties(broker, &[more, &reset].concat())).unwrap();
    let consumer = Consumer::new(config);
    consumer.assign([TopicPartition::new("through-tls", 0)]);
    let (mut next, mut scratch) = (0, Scratch::default());
    while next < COUNT {
        assert!(Instant::now() < end, "{next} of {COUNT} came");
        let polled = consumer.poll(end).await.unwrap();
        for batch in &polled.batches {
            for record in &batch.open(&mut scratch).unwrap() {
                let record = record.unwrap();
                assert_eq!(record.value.unwrap(), next.to_string().repeat(200).as_bytes());
                next += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apache_kafka_and_this_client_agree_on_tls() {
    let Some(java) = skip_without_java("apache_kafka_and_this_client_agree_on_tls") else { return };
    let folder = tempfile::tempdir().unwrap();
    let properties = listeners(folder.path()).iter().map(|(key, value)| format!("{key}={value}")).collect();
    let listeners = LISTENERS.map(|name| (name.to_owned(), "SSL".to_owned())).to_vec();
    let kafka =
        ApacheKafka::start_with(&java, BrokerOptions { properties, listeners, ..BrokerOptions::default() }).unwrap();
    check(|name| kafka.listener(name), folder.path()).await;
    neither_side_takes_the_other_for_what_it_is_not(&kafka.address(), &kafka.listener("OPEN")).await;
}

/// The broker of this repository with the same listeners.
async fn broker(folder: &Path) -> kurier_broker::RunningBroker {
    let mut properties = listeners(folder);
    let all = LISTENERS.map(|name| format!("{name}://127.0.0.1:0")).join(",");
    let protocols = LISTENERS.map(|name| format!("{name}:SSL")).join(",");
    properties.insert("listeners".to_owned(), format!("PLAINTEXT://127.0.0.1:0,{all}"));
    properties.insert("listener.security.protocol.map".to_owned(), format!("PLAINTEXT:PLAINTEXT,{protocols}"));
    let (config, unused) = BrokerConfig::from_properties(&properties).unwrap();
    assert_eq!(unused, [""; 0]);
    Broker::start(config).await.unwrap()
}

fn address(broker: &kurier_broker::RunningBroker, name: &str) -> String {
    broker.addresses().find(|(other, _)| *other == name).unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_broker_and_this_client_agree_on_tls() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    check(|name| address(&broker, name), folder.path()).await;
    neither_side_takes_the_other_for_what_it_is_not(&address(&broker, "PLAINTEXT"), &address(&broker, "OPEN")).await;
    broker.stop().await.unwrap();
}

/// A client for one protocol at a listener for the other ends its try in time, and is told of a time-out as in Java.
async fn neither_side_takes_the_other_for_what_it_is_not(plain: &str, tls: &str) {
    let soon = [("default.api.timeout.ms", "1500"), ("request.timeout.ms", "1000")];
    let found = ask(plain, &[&TRUST[..], &soon].concat()).await;
    assert!(found.as_ref().is_err_and(|error| error.starts_with("Timed out")), "{found:?}");
    let found = ask(tls, &[&soon[..], &[("security.protocol", "PLAINTEXT")]].concat()).await;
    assert!(found.as_ref().is_err_and(|error| error.starts_with("Timed out")), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn javas_tools_speak_tls_with_this_broker() {
    let Some(java) = skip_without_java("javas_tools_speak_tls_with_this_broker") else { return };
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    let config = folder.path().join("client.properties");
    let lines: Vec<String> = properties("", &[&TRUST[..], &JKS].concat())
        .iter()
        .skip(1)
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    std::fs::write(&config, lines.join("\n")).unwrap();
    let (mutual, config) = (address(&broker, "MUTUAL"), config.to_str().unwrap().to_owned());
    let read = tokio::task::spawn_blocking(move || {
        console_produce(&java, &mutual, "lines", "one\ntwo\nthree\n", &["--command-config", &config])?;
        console_consume(&java, &mutual, "lines", 3, &["--command-config", &config])
    });
    assert_eq!(read.await.unwrap().unwrap(), ["one", "two", "three"]);
    broker.stop().await.unwrap();
}
