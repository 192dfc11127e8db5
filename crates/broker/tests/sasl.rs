//! Listeners whose clients have to say who they are: Java's tools and Kurier's own client, let in and not.

use std::collections::BTreeMap;
use std::sync::Arc;

use kurier_broker::{Broker, BrokerConfig, Listener, RunningBroker, SaslConfig};
use kurier_harness::{Java, console_consume, console_produce, skip_without_java};
use kurier_kafka::admin::{Admin, AdminConfig, AdminError};

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
const BEARER: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn config(more: &[(&str, &str)]) -> BrokerConfig {
    let jaas = format!("{PLAIN} required user_ada=\"ada secret\" user_bob=\"bob-secret\";");
    let mut properties = map(&[
        ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"),
        ("listener.name.sasl_plaintext.plain.sasl.jaas.config", &jaas),
    ]);
    properties.extend(map(more));
    let sasl = SaslConfig::from_properties("SASL_PLAINTEXT", &properties).unwrap();
    let listener = Listener { sasl: Some(Arc::new(sasl)), ..Listener::plain("SASL_PLAINTEXT", "127.0.0.1", 0) };
    BrokerConfig { listeners: vec![listener], ..BrokerConfig::default() }
}

fn login(module: &str, user: &str, password: &str) -> String {
    format!("{module} required username=\"{user}\" password=\"{password}\";")
}

fn client(mechanism: &str, jaas: &str) -> BTreeMap<String, String> {
    map(&[("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", mechanism), ("sasl.jaas.config", jaas)])
}

/// Asks by Kurier's own client.
async fn topics(broker: &RunningBroker, properties: &BTreeMap<String, String>) -> Result<usize, String> {
    let mut properties = properties.clone();
    properties.insert("bootstrap.servers".to_owned(), broker.address().to_owned());
    properties.insert("default.api.timeout.ms".to_owned(), "3000".to_owned());
    properties.insert("request.timeout.ms".to_owned(), "1000".to_owned());
    match Admin::new(AdminConfig::parse(&properties).unwrap()).list_topics().await {
        Ok(topics) => Ok(topics.len()),
        Err(AdminError::Refused { error, .. }) => Err(format!("{}: {error}", error.simple_class())),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_is_known_is_served() {
    let broker = Broker::start(config(&[])).await.unwrap();
    let bearer = |options: &str| format!("{BEARER} required {options};");
    let refused = |words: &str| Err(format!("SaslAuthenticationException: {words}"));
    let cases = [
        ("PLAIN", login(PLAIN, "ada", "ada secret"), Ok(0)),
        ("PLAIN", login(PLAIN, "bob", "bob-secret"), Ok(0)),
        ("PLAIN", login(PLAIN, "ada", "bob-secret"), refused("Authentication failed: Invalid username or password")),
        (
            "SCRAM-SHA-256",
            login(SCRAM, "ada", "ada secret"),
            refused(
                "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256",
            ),
        ),
        ("OAUTHBEARER", bearer("unsecuredLoginStringClaim_sub=\"ada\""), Ok(0)),
        (
            "OAUTHBEARER",
            bearer("unsecuredLoginStringClaim_sub=\"ada\" unsecuredLoginLifetimeSeconds=\"0\""),
            refused("{\"status\":\"invalid_token\"}"),
        ),
    ];
    for (mechanism, jaas, expected) in cases {
        assert_eq!(topics(&broker, &client(mechanism, &jaas)).await, expected, "{mechanism} {jaas}");
    }
    // Whoever says nothing hears nothing.
    let stranger = topics(&broker, &BTreeMap::new()).await.unwrap_err();
    assert!(stranger.contains("Timed out"), "{stranger}");
    broker.stop().await.unwrap();

    let only = Broker::start(config(&[("sasl.enabled.mechanisms", "PLAIN")])).await.unwrap();
    let found = topics(&only, &client("SCRAM-SHA-512", &login(SCRAM, "ada", "x"))).await;
    let words = "Client SASL mechanism 'SCRAM-SHA-512' not enabled in the server, enabled mechanisms are [PLAIN]";
    assert_eq!(found, Err(format!("UnsupportedSaslMechanismException: {words}")));
    only.stop().await.unwrap();

    let open = Broker::start(BrokerConfig::default()).await.unwrap();
    let found = topics(&open, &client("PLAIN", &login(PLAIN, "ada", "x"))).await;
    let words = "Unexpected handshake request with client mechanism PLAIN, enabled mechanisms are []";
    assert_eq!(found, Err(format!("IllegalSaslStateException: {words}")));
    open.stop().await.unwrap();
}

/// A file of properties for Java's tools.
fn file(dir: &tempfile::TempDir, name: &str, properties: &BTreeMap<String, String>) -> String {
    let text: String = properties.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Java's `kafka-configs.sh` on the users of SCRAM.
fn configs(java: &Java, broker: &str, command: &str, args: &[&str]) -> Result<String, String> {
    let mut all = vec!["--bootstrap-server", broker, "--command-config", command, "--entity-type", "users"];
    all.extend(args);
    java.run("kafka.admin.ConfigCommand", &all, b"").map_err(|error| error.to_string())
}

#[test]
fn javas_tools_make_users_and_log_in() {
    let Some(java) = skip_without_java("javas_tools_make_users_and_log_in") else { return };
    let dir = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = BrokerConfig {
        data: kurier_broker::Data::Dir(data.path().to_owned()),
        ..config(&[("listener.name.sasl_plaintext.scram-sha-512.connections.max.reauth.ms", "1500")])
    };
    let broker = runtime.block_on(Broker::start(config.clone())).unwrap();
    let address = broker.address().to_owned();
    let plain = file(&dir, "plain", &client("PLAIN", &login(PLAIN, "ada", "ada secret")));
    for wanted in ["SCRAM-SHA-256=[password=one-secret]", "SCRAM-SHA-512=[iterations=8192,password=two-secret]"] {
        configs(&java, &address, &plain, &["--alter", "--add-config", wanted, "--entity-name", "carl"]).unwrap();
    }
    // Both at once are one too many for a user, as on Apache Kafka.
    let both = "SCRAM-SHA-256=[password=x],SCRAM-SHA-512=[password=y]";
    let error =
        configs(&java, &address, &plain, &["--alter", "--add-config", both, "--entity-name", "carl"]).unwrap_err();
    assert!(error.contains("A user credential cannot be altered twice in the same request"), "{error}");
    let told = configs(&java, &address, &plain, &["--describe", "--entity-name", "carl"]).unwrap();
    assert!(told.contains("SCRAM-SHA-256=iterations=4096") && told.contains("SCRAM-SHA-512=iterations=8192"), "{told}");
    let few = ["--alter", "--add-config", "SCRAM-SHA-256=[iterations=1,password=x]", "--entity-name", "carl"];
    assert!(configs(&java, &address, &plain, &few).is_err());

    // They are there after a restart as well.
    runtime.block_on(broker.stop()).unwrap();
    let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let mut again = config;
    again.listeners[0].port = port;
    let broker = runtime.block_on(Broker::start(again)).unwrap();
    let scram = |mechanism: &str, password: &str| client(mechanism, &login(SCRAM, "carl", password));
    for (mechanism, password) in [("SCRAM-SHA-256", "one-secret"), ("SCRAM-SHA-512", "two-secret")] {
        let properties = file(&dir, mechanism, &scram(mechanism, password));
        console_produce(&java, &address, mechanism, "a\nb\n", &["--command-config", &properties]).unwrap();
        let read = console_consume(&java, &address, mechanism, 2, &["--command-config", &properties]).unwrap();
        assert_eq!(read, ["a", "b"], "{mechanism}");
    }
    let wrong = file(&dir, "wrong", &scram("SCRAM-SHA-256", "two-secret"));
    let error = java
        .run(
            "org.apache.kafka.tools.TopicCommand",
            &["--bootstrap-server", &address, "--command-config", &wrong, "--list"],
            b"",
        )
        .unwrap_err()
        .to_string();
    let words =
        "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256";
    assert!(error.contains(words), "{error}");

    let gone = ["--alter", "--delete-config", "SCRAM-SHA-256", "--entity-name", "carl"];
    configs(&java, &address, &plain, &gone).unwrap();
    let found = runtime.block_on(topics(&broker, &scram("SCRAM-SHA-256", "one-secret")));
    assert!(found.unwrap_err().contains("invalid credentials"));
    assert_eq!(runtime.block_on(topics(&broker, &scram("SCRAM-SHA-512", "two-secret"))), Ok(2));
    runtime.block_on(broker.stop()).unwrap();
}

#[test]
fn settings_of_a_listener_are_kafkas() {
    let jaas = format!("{PLAIN} required user_ada=\"secret\";");
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[], "Invalid value GSSAPI for configuration sasl.enabled.mechanisms"),
        (&[("sasl.enabled.mechanisms", "PLAIN")], "listener.name.l.plain.sasl.jaas.config is missing"),
        (
            &[("sasl.enabled.mechanisms", "PLAIN"), ("plain.sasl.jaas.config", "x")],
            "Login module control flag not specified",
        ),
        (&[("sasl.enabled.mechanisms", "PLAIN"), ("listener.name.l.plain.sasl.jaas.config", &jaas)], ""),
        (&[("sasl.enabled.mechanisms", "PLAIN"), ("listener.name.l.sasl.enabled.mechanisms", "SCRAM-SHA-256")], ""),
        (
            &[("sasl.enabled.mechanisms", "SCRAM-SHA-256"), ("connections.max.reauth.ms", "x")],
            "Not a number of type LONG",
        ),
    ];
    for (properties, expected) in cases {
        match SaslConfig::from_properties("L", &map(properties)) {
            Ok(config) => assert!(expected.is_empty() && !format!("{config:?}").contains("secret"), "{properties:?}"),
            Err(why) => assert!(!expected.is_empty() && why.contains(expected), "{properties:?}: {why}"),
        }
    }
}
