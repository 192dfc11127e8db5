//! Every mechanism on Apache Kafka: who is let in, who is not and hears why, and sessions that end while records flow.
#![expect(
    clippy::disallowed_methods,
    reason = "driver: tests read the clock, start tasks, open sockets and write files"
)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kurier_harness::{ApacheKafka, BrokerOptions, Java, skip_without_java};
use kurier_kafka::admin::{Admin, AdminConfig, AdminError};
use kurier_kafka::security::tls::ServerTls;

mod flow;

const PASSWORD: &str = "a-secret,=\\\"word";
const SCRAM_PASSWORD: &str = "scram-secret-7391";
const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
const BEARER: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";

/// Everything that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log() -> &'static Log {
    static LOG: LazyLock<Log> = LazyLock::new(|| {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("nobody else logs in this process");
        log
    });
    &LOG
}

/// How often the log says so.
fn said(words: &str) -> usize {
    String::from_utf8_lossy(&log().0.lock().unwrap()).matches(words).count()
}

fn check_nothing_secret_is_said() {
    for secret in [PASSWORD, SCRAM_PASSWORD, &quoted(PASSWORD), "eyJ"] {
        assert_eq!(said(secret), 0, "{secret} is in the log");
    }
}

/// A text as it stands between quotes in a JAAS config.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Apache Kafka with a listener of each kind; the one named SHORT ends sessions after three seconds.
fn kafka(java: &Java) -> ApacheKafka {
    // A properties file eats one more layer of backslashes.
    let password = quoted(PASSWORD).replace('\\', "\\\\");
    let mut properties = vec![
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER".to_owned(),
        "listener.name.short.plain.connections.max.reauth.ms=3000".to_owned(),
        "listener.name.short.scram-sha-256.connections.max.reauth.ms=3000".to_owned(),
        "listener.name.short.oauthbearer.connections.max.reauth.ms=3000".to_owned(),
    ];
    for listener in ["sasl", "short"] {
        let key = |mechanism: &str| format!("listener.name.{listener}.{mechanism}.sasl.jaas.config");
        properties.extend([
            format!("{}={PLAIN} required user_ada=\"{password}\";", key("plain")),
            format!("{}={SCRAM} required;", key("scram-sha-256")),
            format!("{}={SCRAM} required;", key("scram-sha-512")),
            format!("{}={BEARER} required unsecuredLoginStringClaim_sub=\"broker\";", key("oauthbearer")),
        ]);
    }
    properties.push("listener.name.only.sasl.enabled.mechanisms=PLAIN".to_owned());
    properties.push(format!("listener.name.only.plain.sasl.jaas.config={PLAIN} required user_ada=\"{password}\";"));
    let listeners = ["SASL", "SHORT", "ONLY"].map(|name| (name.to_owned(), "SASL_PLAINTEXT".to_owned()));
    let options = BrokerOptions { properties, listeners: listeners.to_vec(), ..BrokerOptions::default() };
    let kafka = ApacheKafka::start_with(java, options).unwrap();
    for config in [
        format!("SCRAM-SHA-256=[password={SCRAM_PASSWORD}]"),
        format!("SCRAM-SHA-512=[iterations=8192,password={SCRAM_PASSWORD}]"),
    ] {
        let args = [
            "--bootstrap-server",
            &kafka.address(),
            "--alter",
            "--entity-type",
            "users",
            "--entity-name",
            "ada",
            "--add-config",
            &config,
        ];
        java.run("kafka.admin.ConfigCommand", &args, b"").unwrap();
    }
    kafka
}

fn properties(broker: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let given = [("bootstrap.servers", broker), ("security.protocol", "SASL_PLAINTEXT")];
    given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn login(module: &str, user: &str, password: &str) -> String {
    format!("{module} required username=\"{}\" password=\"{}\";", quoted(user), quoted(password))
}

/// Asks for the topics; answers with what went wrong, as class and words.
async fn topics(broker: &str, more: &[(&str, &str)]) -> Result<usize, String> {
    let config = AdminConfig::parse(&properties(broker, more)).map_err(|error| error.to_string())?;
    let admin = Admin::new(config);
    match admin.list_topics().await {
        Ok(topics) => Ok(topics.len()),
        Err(AdminError::Refused { error, .. }) => Err(format!("{}: {error}", error.simple_class())),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apache_kafka_lets_in_whom_it_knows() {
    let Some(java) = skip_without_java("apache_kafka_lets_in_whom_it_knows") else { return };
    log();
    let kafka = kafka(&java);
    let (any, only) = (kafka.listener("SASL"), kafka.listener("ONLY"));
    let bearer = |options: &str| format!("{BEARER} required {options};");
    let expected = |class: &str, words: &str| Err(format!("{class}: {words}"));
    let refused = |words: &str| expected("SaslAuthenticationException", words);
    let cases = [
        (&any, "PLAIN", login(PLAIN, "ada", PASSWORD), Ok(0)),
        (&any, "PLAIN", login(SCRAM, "ada", PASSWORD), Ok(0)),
        (&any, "PLAIN", login(PLAIN, "ada", "wrong"), refused("Authentication failed: Invalid username or password")),
        (&any, "SCRAM-SHA-256", login(SCRAM, "ada", SCRAM_PASSWORD), Ok(0)),
        (&any, "SCRAM-SHA-512", login(SCRAM, "ada", SCRAM_PASSWORD), Ok(0)),
        (
            &any,
            "SCRAM-SHA-256",
            login(SCRAM, "ada", "wrong"),
            refused(
                "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256",
            ),
        ),
        (
            &any,
            "SCRAM-SHA-512",
            login(SCRAM, "bob", SCRAM_PASSWORD),
            refused(
                "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512",
            ),
        ),
        (
            &any,
            "OAUTHBEARER",
            bearer("unsecuredLoginStringClaim_sub=\"ada\" unsecuredLoginExtension_trace=\"1 2\""),
            Ok(0),
        ),
        (
            &any,
            "OAUTHBEARER",
            bearer("unsecuredLoginStringClaim_sub=\"ada\" unsecuredLoginLifetimeSeconds=\"0\""),
            refused("{\"status\":\"invalid_token\"}"),
        ),
        (
            &only,
            "SCRAM-SHA-256",
            login(SCRAM, "ada", SCRAM_PASSWORD),
            expected(
                "UnsupportedSaslMechanismException",
                "Client SASL mechanism 'SCRAM-SHA-256' not enabled in the server, enabled mechanisms are [PLAIN]",
            ),
        ),
        (
            &kafka.address(),
            "PLAIN",
            login(PLAIN, "ada", PASSWORD),
            expected(
                "IllegalSaslStateException",
                "Unexpected handshake request with client mechanism PLAIN, enabled mechanisms are []",
            ),
        ),
    ];
    for (broker, mechanism, jaas, expected) in cases {
        let began = Instant::now();
        let found = topics(broker, &[("sasl.mechanism", mechanism), ("sasl.jaas.config", &jaas)]).await;
        assert_eq!(found, expected, "{mechanism} {jaas}");
        assert!(began.elapsed() < Duration::from_secs(10), "{mechanism} {jaas} took {:?}", began.elapsed());
    }
    check_nothing_secret_is_said();
}

/// A stream of bytes, plain or within TLS.
trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// A token endpoint: refuses once for now, then gives tokens that nobody signed to whoever knows the secret; answers what it was asked. Who does not trust it
/// asks nothing.
fn token_endpoint(
    tls: Option<Arc<rustls::ServerConfig>>,
    is_over: Arc<AtomicBool>,
) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}/token", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let mut asked: Vec<String> = Vec::new();
        // Whoever does not trust it may try often.
        'asking: while asked.len() < 2 {
            let status = if asked.is_empty() { "503 Later" } else { "200 OK" };
            let (stream, _) = listener.accept().unwrap();
            let mut stream: Box<dyn Stream> = match &tls {
                None => Box::new(stream),
                Some(tls) => {
                    let tls = rustls::ServerConnection::new(Arc::clone(tls)).unwrap();
                    Box::new(rustls::StreamOwned::new(tls, stream))
                }
            };
            let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
            while !String::from_utf8_lossy(&bytes).ends_with("scope=a+b") {
                match stream.read(&mut part) {
                    Ok(count) if count > 0 => bytes.extend_from_slice(&part[..count]),
                    _ if bytes.is_empty() && tls.is_some() => match is_over.load(Ordering::Relaxed) {
                        true => return asked,
                        false => continue 'asking,
                    },
                    ended => panic!("the request ended early: {ended:?}"),
                }
            }
            asked.push(String::from_utf8(bytes).unwrap());
            // {"alg":"none"} and {"sub":"ada","iat":1,"exp":4000000000}
            let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEiLCJpYXQiOjEsImV4cCI6NDAwMDAwMDAwMH0.";
            let body = format!("{{\"access_token\":\"{token}\"}}");
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
        asked
    });
    (url, serving)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_asked_for_with_the_clients_secret() {
    log();
    let listener = kurier_broker::Listener {
        sasl: Some(Arc::new(
            kurier_broker::SaslConfig::from_properties(
                "L",
                &BTreeMap::from([("sasl.enabled.mechanisms".to_owned(), "OAUTHBEARER".to_owned())]),
            )
            .unwrap(),
        )),
        ..kurier_broker::Listener::plain("L", "127.0.0.1", 0)
    };
    let config = kurier_broker::BrokerConfig { listeners: vec![listener], ..Default::default() };
    let broker = kurier_broker::Broker::start(config).await.unwrap();
    let stores = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stores");
    let identity = [("ssl.keystore.location", "keytool.p12"), ("ssl.keystore.password", "storepass")];
    let identity =
        identity.map(|(key, value)| (key.to_owned(), value.replace("keytool", &format!("{stores}/keytool"))));
    let tls = ServerTls::read(&BTreeMap::from(identity), &|key| key.to_owned()).unwrap().config();
    let trust = format!("ssl.truststore.location=\"{stores}/ca.pem\" ssl.truststore.type=PEM");
    let endpoints = [(None, "", true), (Some(Arc::clone(&tls)), trust.as_str(), true), (Some(tls), "", false)];
    for (tls, options, is_trusted) in endpoints {
        let is_over = Arc::new(AtomicBool::new(false));
        let (url, serving) = token_endpoint(tls, Arc::clone(&is_over));
        let jaas = format!("{BEARER} required {options};");
        let more = [
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.jaas.config", jaas.as_str()),
            (
                "sasl.login.callback.handler.class",
                "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
            ),
            ("sasl.oauthbearer.token.endpoint.url", &url),
            ("sasl.oauthbearer.client.credentials.client.id", "me"),
            ("sasl.oauthbearer.client.credentials.client.secret", SCRAM_PASSWORD),
            ("sasl.oauthbearer.scope", "a b"),
            ("sasl.login.retry.backoff.ms", "1"),
            ("sasl.login.retry.backoff.max.ms", if is_trusted { "10000" } else { "1" }),
        ];
        let found = topics(broker.address(), &more).await;
        if !is_trusted {
            let error = found.unwrap_err();
            let begin = format!("SaslAuthenticationException: cannot get a token from {url}: ");
            assert!(error.starts_with(&begin) && error.contains("unable to find valid certification path"), "{error}");
            is_over.store(true, Ordering::Relaxed);
            let address = url.trim_start_matches("https://").trim_end_matches("/token");
            drop(std::net::TcpStream::connect(address).unwrap());
            assert!(serving.join().unwrap().is_empty());
            continue;
        }
        assert_eq!(found, Ok(0));
        for asked in serving.join().unwrap() {
            // `me:` and the secret.
            assert!(asked.contains("Basic bWU6c2NyYW0tc2VjcmV0LTczOTE="), "{asked}");
            assert!(asked.ends_with("\r\n\r\ngrant_type=client_credentials&scope=a+b"), "{asked}");
        }
    }
    broker.stop().await.unwrap();
    check_nothing_secret_is_said();
}

/// Writes a token that nobody signed and that counts for three seconds, as whoever keeps such a file fresh does: at once or not at all.
fn write_token(file: &Path) {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = format!("{{\"sub\":\"ada\",\"iat\":{now},\"exp\":{}}}", now + 3);
    let token = format!("{}.{}.", URL_SAFE_NO_PAD.encode("{\"alg\":\"none\"}"), URL_SAFE_NO_PAD.encode(claims));
    let next = file.with_extension("next");
    std::fs::write(&next, format!("{token}\n")).unwrap();
    std::fs::rename(next, file).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_flow_on_when_sessions_end() {
    let Some(java) = skip_without_java("records_flow_on_when_sessions_end") else { return };
    log();
    let kafka = kafka(&java);
    let short = kafka.listener("SHORT");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    write_token(&file);
    let url = format!("file://{}", file.display());
    let keeper = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            write_token(&file);
        }
    });
    let mechanisms = [
        ("PLAIN", login(PLAIN, "ada", PASSWORD), vec![]),
        ("SCRAM-SHA-256", login(SCRAM, "ada", SCRAM_PASSWORD), vec![]),
        // The token ends sooner than the broker's own limit.
        (
            "OAUTHBEARER",
            format!("{BEARER} required unsecuredLoginStringClaim_sub=\"ada\" unsecuredLoginLifetimeSeconds=\"2\";"),
            vec![],
        ),
        // A file with a token that another one takes the place of again and again.
        (
            "OAUTHBEARER",
            format!("{BEARER} required;"),
            vec![
                (
                    "sasl.login.callback.handler.class",
                    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
                ),
                ("sasl.oauthbearer.token.endpoint.url", url.as_str()),
            ],
        ),
    ];
    let mut running = Vec::new();
    for (number, (mechanism, jaas, more)) in mechanisms.into_iter().enumerate() {
        let topic = format!("records-{number}-{mechanism}");
        kafka.create_topic(&topic, 1).unwrap();
        let of_all = [
            ("sasl.mechanism", mechanism),
            ("sasl.jaas.config", &jaas),
            ("auto.offset.reset", "earliest"),
            ("group.id", mechanism),
        ];
        let all = properties(&short, &[&of_all[..], &more].concat());
        running.push(tokio::spawn(async move {
            let read = flow::flow(&all, &topic, Duration::from_secs(10)).await;
            assert!(read > 20, "{mechanism}: only {read} records");
        }));
    }
    for running in running {
        running.await.unwrap();
    }
    keeper.abort();
    // Each of the clients renews at least one session of three seconds twice in ten.
    assert!(said("the session of a connection is renewed") >= 16);
    assert_eq!(said("lost the connection"), 0);
    check_nothing_secret_is_said();
}
