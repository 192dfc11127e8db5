//! GSSAPI with a real KDC on Apache Kafka: by keytab and by ticket cache, who is not let in and hears why, and sessions and tickets that end while records flow.
//!
//! The Kerberos library finds its configuration and the default ticket cache through the environment, which no test may change in its own process. So
//! this program starts the KDC and Apache Kafka, and then itself once more as the client.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock and start tasks")]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use kurier_harness::{ApacheKafka, BrokerOptions, Kdc, missing_kdc, say_skipped, skip_without_java};
use kurier_kafka::admin::{Admin, AdminConfig, AdminError};

mod flow;

const TEST: &str = "gssapi_with_a_kdc";
const MODULE: &str = "com.sun.security.auth.module.Krb5LoginModule";
/// What the second process is told, each in an environment variable.
const TOLD: [&str; 7] = ["BROKER", "SHORT", "ADA", "CACHE", "EXPIRED", "AWAY", "BRIEF"];

fn main() {
    if std::env::var_os("BROKER").is_some() {
        tokio::runtime::Runtime::new().unwrap().block_on(client());
        return;
    }
    let missing = missing_kdc();
    if !missing.is_empty() {
        let why = format!("{} not found; install krb5-kdc, krb5-admin-server and krb5-user", missing.join(", "));
        say_skipped(TEST, &why);
        return;
    }
    let Some(java) = skip_without_java(TEST) else { return };
    let kdc = Kdc::start().unwrap();
    let broker_keytab = kdc.principal("kafka/localhost", "").unwrap();
    // Known to the KDC, but no broker has its key.
    kdc.principal("stranger/localhost", "").unwrap();
    let ada = kdc.principal("ada", "").unwrap();
    let cache = kdc.ticket_cache("cache", &ada, "ada", &[]).unwrap();
    let expired = kdc.ticket_cache("expired", &ada, "ada", &["-l", "1s"]).unwrap();
    let away = kdc.principal("ada@AWAY.TEST", "").unwrap();
    let brief = kdc.principal("brief", "-maxlife 6seconds").unwrap();
    let jaas = format!(
        "{MODULE} required useKeyTab=true storeKey=true keyTab=\"{}\" principal=\"kafka/localhost@KURIER.TEST\";",
        broker_keytab.display()
    );
    let mut properties = vec![
        "sasl.enabled.mechanisms=GSSAPI".to_owned(),
        "sasl.kerberos.service.name=kafka".to_owned(),
        "listener.name.short.gssapi.connections.max.reauth.ms=3000".to_owned(),
    ];
    properties
        .extend(["sasl", "short"].map(|listener| format!("listener.name.{listener}.gssapi.sasl.jaas.config={jaas}")));
    let listeners = ["SASL", "SHORT"].map(|name| (name.to_owned(), "SASL_PLAINTEXT".to_owned())).to_vec();
    let jvm = vec![format!("-Djava.security.krb5.conf={}", kdc.config().display())];
    let kafka =
        ApacheKafka::start_with(&java, BrokerOptions { jvm, properties, listeners, ..BrokerOptions::default() })
            .unwrap();
    kafka.create_topic("records", 1).unwrap();
    let path = |path: &std::path::Path| path.display().to_string();
    let told = [
        kafka.listener("SASL"),
        kafka.listener("SHORT"),
        path(&ada),
        path(&cache),
        path(&expired),
        path(&away),
        path(&brief),
    ];
    let status = Command::new(std::env::current_exe().unwrap())
        .envs(TOLD.into_iter().zip(told))
        .env("KRB5_CONFIG", kdc.config())
        .env("KRB5CCNAME", format!("FILE:{}", cache.display()))
        .status()
        .unwrap();
    assert!(status.success(), "the client: {status}");
    println!("{TEST} ... ok");
}

fn told(name: &str) -> String {
    std::env::var(name).unwrap()
}

fn properties(broker: &str, jaas: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let given = [
        ("bootstrap.servers", broker),
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "GSSAPI"),
        ("sasl.kerberos.service.name", "kafka"),
        ("sasl.jaas.config", jaas),
    ];
    given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Asks for the topics; answers with what went wrong, as class and words.
async fn topics(broker: &str, jaas: &str, more: &[(&str, &str)]) -> Result<(), String> {
    let config = AdminConfig::parse(&properties(broker, jaas, more)).map_err(|error| error.to_string())?;
    match Admin::new(config).list_topics().await {
        Ok(_) => Ok(()),
        Err(AdminError::Refused { error, .. }) => Err(format!("{}: {error}", error.simple_class())),
        Err(error) => Err(error.to_string()),
    }
}

fn jaas(options: &str) -> String {
    format!("{MODULE} required {options};")
}

fn keytab(path: &str, principal: &str) -> String {
    jaas(&format!("useKeyTab=true storeKey=true keyTab=\"{path}\" principal=\"{principal}\""))
}

async fn client() {
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();
    let (broker, ada) = (told("BROKER"), told("ADA"));
    let cache = |name: &str| jaas(&format!("useTicketCache=true ticketCache=\"{}\"", told(name)));
    let refused = "SaslAuthenticationException: ";
    let soon = [("default.api.timeout.ms", "3000"), ("request.timeout.ms", "2000")];
    let stranger = [("sasl.kerberos.service.name", "stranger")];
    let nobody = [("sasl.kerberos.service.name", "nobody")];
    // How somebody is told from others, further properties, and what the outcome has in it: the beginning and one thing more.
    let cases: Vec<(&str, String, &[(&str, &str)], Result<(), [&str; 2]>)> = vec![
        ("keytab", keytab(&ada, "ada@KURIER.TEST"), &[], Ok(())),
        ("keytab, default realm", keytab(&ada, "ada"), &[], Ok(())),
        ("ticket cache", cache("CACHE"), &[], Ok(())),
        ("ticket cache of the environment", jaas("useTicketCache=true"), &[], Ok(())),
        ("ticket cache of a principal", jaas("useTicketCache=true principal=\"ada@KURIER.TEST\""), &[], Ok(())),
        (
            "keytab where the ticket cache has nothing",
            jaas(&format!(
                "useTicketCache=true ticketCache=\"/nowhere\" useKeyTab=true keyTab=\"{ada}\" principal=\"ada\""
            )),
            &[],
            Ok(()),
        ),
        (
            "ticket cache of another",
            jaas("useTicketCache=true principal=\"bob\""),
            &[],
            Err([refused, "LoginException"]),
        ),
        ("no ticket cache", jaas("useTicketCache=true ticketCache=\"/nowhere\""), &[], Err([refused, "/nowhere"])),
        ("expired", cache("EXPIRED"), &[], Err([refused, "expired"])),
        ("no keytab", keytab("/nowhere", "ada"), &[], Err([refused, "/nowhere"])),
        ("not in the keytab", keytab(&ada, "bob"), &[], Err([refused, "ada.keytab, for bob"])),
        ("unknown service", keytab(&ada, "ada"), &nobody, Err([refused, "The KDC does not know nobody@localhost"])),
        ("service of others", keytab(&ada, "ada"), &stranger, Err([refused, "Authentication failed"])),
        ("no KDC", keytab(&told("AWAY"), "ada@AWAY.TEST"), &soon, Err(["Timed out", ""])),
    ];
    for (what, jaas, more, expected) in cases {
        let began = Instant::now();
        let found = topics(&broker, &jaas, more).await;
        match (&found, expected) {
            (Ok(()), Ok(())) => {}
            (Err(found), Err([class, words])) if found.starts_with(class) && found.contains(words) => {}
            (found, expected) => panic!("{what}: {found:?}, not {expected:?}"),
        }
        assert!(began.elapsed() < Duration::from_secs(15), "{what} took {:?}", began.elapsed());
    }
    // Sessions of three seconds, tickets of six.
    let mut all = properties(&told("SHORT"), &keytab(&told("BRIEF"), "brief"), &[("auto.offset.reset", "earliest")]);
    all.insert("group.id".to_owned(), "readers".to_owned());
    let read = flow::flow(&all, "records", Duration::from_secs(14)).await;
    assert!(read > 20, "only {read} records");
}
