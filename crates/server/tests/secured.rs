//! `kurier standalone` against a Kafka that asks for TLS and SASL, with the settings that Java Connect's files have for it: the worker's own, those with
//! `producer.`, `consumer.` and `admin.` in front, and a connector's overrides. No secret is in a log at its loudest, and a wrong one says what is wrong.
#![allow(clippy::disallowed_methods, reason = "driver: starts processes")]

mod common;

use common::{Dir, Running, SOON, kurier};
use kurier_harness::{ApacheKafka, BrokerOptions, Guarded, Java, free_port, rest, skip_without_java, wait_for};
use std::fs;
use std::io::Write as _;
use std::path::Path;

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
/// Of the worker, of its connectors' clients, and of a connector that brings its own.
const USERS: [(&str, &str); 3] =
    [("worker", "worker-secret-1"), ("clients", "clients-secret-2"), ("own", "own-secret-3")];
const STORE_PASSWORD: &str = "storepass";

/// The certificates that the tests of TLS in `crates/kafka` have.
fn store(name: &str) -> String {
    let stores = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kafka/tests/stores");
    stores.canonicalize().unwrap().join(name).display().to_string()
}

/// Broker settings of the listener.
fn listener() -> Vec<String> {
    let users: String = USERS.iter().map(|(user, password)| format!(" user_{user}=\"{password}\"")).collect();
    [
        ("ssl.keystore.location", store("keytool.p12")),
        ("ssl.keystore.password", STORE_PASSWORD.to_owned()),
        ("ssl.keystore.type", "PKCS12".to_owned()),
        ("sasl.enabled.mechanisms", "PLAIN".to_owned()),
        ("plain.sasl.jaas.config", format!("{PLAIN} required{users};")),
    ]
    .map(|(key, value)| format!("listener.name.secure.{key}={value}"))
    .to_vec()
}

/// Client settings of a user, each key with a prefix.
fn client(prefix: &str, (user, password): (&str, &str)) -> String {
    let jaas = format!("{PLAIN} required username=\"{user}\" password=\"{password}\";");
    let settings = [
        ("security.protocol", "SASL_SSL".to_owned()),
        ("ssl.truststore.location", store("trust.jks")),
        ("ssl.truststore.password", STORE_PASSWORD.to_owned()),
        ("sasl.mechanism", "PLAIN".to_owned()),
        ("sasl.jaas.config", jaas),
    ];
    settings.iter().map(|(key, value)| format!("{prefix}{key}={value}\n")).collect()
}

fn worker(dir: &Dir, name: &str, settings: &str, connectors: &[&str]) -> Running {
    let file = dir.write(&format!("{name}.properties"), settings);
    let binary = env!("CARGO_BIN_EXE_kurier");
    let command = [&[binary, "standalone", &file], connectors].concat();
    Running::of(Guarded::start(dir.path(), name, &command, &[("KURIER_LOG", "trace")]).unwrap())
}

/// A worker with a connector that makes a topic of a file and one that makes a file of the topic, and its URL.
fn file_to_file(dir: &Dir, address: &str) -> (Running, String) {
    dir.write("in.txt", "first\nsecond\n");
    let url = format!("http://127.0.0.1:{}", free_port());
    let common = format!(
        "bootstrap.servers={address}\nkey.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.storage.StringConverter\noffset.storage.file.filename={}\nlisteners={url}\n",
        dir.file("offsets")
    );
    let clients = ["producer.", "consumer.", "admin."].map(|prefix| client(prefix, USERS[1])).concat();
    let settings = format!("{common}{}{clients}", client("", USERS[0]));
    let source = dir.write(
        "source.properties",
        &format!("name=in\nconnector.class=FileStreamSource\nfile={}\ntopic=lines\n", dir.file("in.txt")),
    );
    let own = ["consumer.override.", "admin.override."].map(|prefix| client(prefix, USERS[2])).concat();
    let sink = dir.write(
        "sink.properties",
        &format!("name=out\nconnector.class=FileStreamSink\nfile={}\ntopics=lines\n{own}", dir.file("out.txt")),
    );
    let mut running = worker(dir, "right", &settings, &[&source, &sink]);
    let lines = || fs::read_to_string(dir.file("out.txt")).unwrap_or_default();
    let came = wait_for("the lines", SOON, || Ok(lines() == "first\nsecond\n"));
    assert!(came.is_ok(), "{:?}: {}", lines(), running.process().output());
    (running, url)
}

/// Waits until a connector's task has failed with this in its trace.
fn expect_failure(url: &str, connector: &str, why: &str) {
    let mut shown = String::new();
    let failed = wait_for("the failed task", SOON, || {
        shown = rest("GET", &format!("{url}/connectors/{connector}/status"), None)?.1.to_string();
        Ok(shown.contains("FAILED"))
    });
    assert!(failed.is_ok() && shown.contains(why), "{connector}: {shown}");
}

fn check(address: &str) {
    let dir = Dir::new();
    let (mut running, url) = file_to_file(&dir, address);
    // A connector with a wrong password fails and says why; the others go on.
    let wrong = client("consumer.override.", ("own", "wrong-secret-4"));
    let text = format!("connector.class=FileStreamSink\nfile={}\ntopics=lines\n{wrong}", dir.file("never.txt"));
    let config: serde_json::Map<_, _> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    let (status, answer) = rest("PUT", &format!("{url}/connectors/wrong/config"), Some(&config.into())).unwrap();
    assert_eq!(status, 201, "{answer}");
    let why = "org.apache.kafka.common.errors.SaslAuthenticationException: Authentication failed: Invalid username or password";
    expect_failure(&url, "wrong", why);
    let (_, others) = rest("GET", &format!("{url}/connectors/in/status"), None).unwrap();
    assert!(!others.to_string().contains("FAILED"), "{others}");

    running.process().terminate();
    assert!(running.process().wait(SOON).unwrap().success(), "{}", running.process().output());
    let output = running.process().output();
    assert!(output.contains("Kafka Connect started"), "the log is loud: {output}");
    for secret in USERS.map(|(_, password)| password).into_iter().chain([STORE_PASSWORD, "wrong-secret-4"]) {
        assert!(!output.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn a_worker_uses_tls_and_sasl_on_apache_kafka() {
    let Some(java) = skip_without_java("a_worker_uses_tls_and_sasl_on_apache_kafka") else { return };
    let listeners = vec![("SECURE".to_owned(), "SASL_SSL".to_owned())];
    let options = BrokerOptions { properties: listener(), listeners, ..BrokerOptions::default() };
    let kafka = ApacheKafka::start_with(&java, options).unwrap();
    check(&kafka.listener("SECURE"));
}

#[test]
fn a_worker_uses_tls_and_sasl_on_our_broker() {
    let dir = Dir::new();
    let port = free_port();
    let settings = format!(
        "listeners=SECURE://127.0.0.1:{port}\nlistener.security.protocol.map=SECURE:SASL_SSL\n\
         inter.broker.listener.name=SECURE\nlog.dirs={}\n{}\n",
        dir.file("data"),
        listener().join("\n")
    );
    let file = dir.write("server.properties", &settings);
    let mut broker = kurier(&dir, "broker", &["broker", "--config", &file]);
    broker.wait_for_output("Broker on", SOON).unwrap();
    check(&format!("127.0.0.1:{port}"));
    broker.process().terminate();
    assert!(broker.process().wait(SOON).unwrap().success());
    let output = broker.process().output();
    assert!(USERS.iter().all(|(_, password)| !output.contains(password)), "{output}");
}

/// Adds or takes away ACLs of a user, with Kafka's own tool.
fn acl(java: &Java, kafka: &ApacheKafka, what: &str, user: &str, rights: &[&str]) {
    let (address, principal) = (kafka.address(), format!("User:{user}"));
    let args = ["--bootstrap-server", &address, "--force", what, "--allow-principal", &principal];
    java.run("org.apache.kafka.tools.AclCommand", &[&args, rights].concat(), b"").unwrap();
}

#[test]
fn a_worker_needs_no_more_than_the_rights_of_its_tasks() {
    let Some(java) = skip_without_java("a_worker_needs_no_more_than_the_rights_of_its_tasks") else { return };
    let listeners = vec![("SECURE".to_owned(), "SASL_SSL".to_owned())];
    let mut properties = listener();
    properties.extend([
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
        "super.users=User:ANONYMOUS".to_owned(),
    ]);
    let kafka =
        ApacheKafka::start_with(&java, BrokerOptions { properties, listeners, ..BrokerOptions::default() }).unwrap();
    kafka.create_topic("lines", 1).unwrap();
    let (write, read) = (["--operation", "Write", "--topic", "lines"], ["--operation", "Read", "--topic", "lines"]);
    acl(&java, &kafka, "--add", "clients", &write);
    acl(&java, &kafka, "--add", "own", &read);
    acl(&java, &kafka, "--add", "own", &["--operation", "Read", "--group", "connect-out"]);
    let dir = Dir::new();
    let (mut running, url) = file_to_file(&dir, &kafka.listener("SECURE"));

    let denied = "TopicAuthorizationException: Not authorized to access topics: [lines]";
    acl(&java, &kafka, "--remove", "own", &read);
    // There is something to read before the right to write is gone.
    let mut input = fs::OpenOptions::new().append(true).open(dir.file("in.txt")).unwrap();
    input.write_all(b"third\n").unwrap();
    expect_failure(&url, "out", denied);
    acl(&java, &kafka, "--remove", "clients", &write);
    input.write_all(b"fourth\n").unwrap();
    expect_failure(&url, "in", denied);
    running.process().terminate();
    assert!(running.process().wait(SOON).unwrap().success(), "{}", running.process().output());
}
