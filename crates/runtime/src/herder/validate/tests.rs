use super::*;
use async_trait::async_trait;
use kurier_api::config::Type;
use kurier_api::plugin::{
    ConfigProvider, ConfigProviderType, Connector, ConnectorContext, Descriptor, ProvidedConfig, Sink, SinkTask,
    SinkTaskContext, Source, SourceTask, SourceTaskContext,
};

/// A source and a sink of one setting.
struct Plain(ConfigDef);

fn plain() -> Plain {
    Plain(ConfigDef::new().define(Key::new("table", Type::String)))
}

fn nothing_starts() -> ConnectError {
    ConnectError::connect("these tests start nothing")
}

#[async_trait]
impl Source for Plain {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "test.PlainSourceConnector", version: "2.1" }
    }

    fn config(&self) -> &ConfigDef {
        &self.0
    }

    async fn connect(&self, _: &Props, _: Arc<dyn ConnectorContext>) -> Result<Box<dyn Connector>, ConnectError> {
        Err(nothing_starts())
    }

    async fn start_task(&self, _: &Props, _: Arc<dyn SourceTaskContext>) -> Result<Box<dyn SourceTask>, ConnectError> {
        Err(nothing_starts())
    }
}

#[async_trait]
impl Sink for Plain {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "test.PlainSinkConnector", version: "2.1" }
    }

    fn config(&self) -> &ConfigDef {
        &self.0
    }

    async fn connect(&self, _: &Props, _: Arc<dyn ConnectorContext>) -> Result<Box<dyn Connector>, ConnectError> {
        Err(nothing_starts())
    }

    async fn start_task(&self, _: &Props, _: Arc<dyn SinkTaskContext>) -> Result<Box<dyn SinkTask>, ConnectError> {
        Err(nothing_starts())
    }
}

/// Every key of every path has the value `s3cret`.
struct Vault;

impl ConfigProvider for Vault {
    fn get(&self, _path: &str, keys: Option<&[String]>) -> Result<ProvidedConfig, ConnectError> {
        let data = keys.unwrap_or_default().iter().map(|key| (key.clone(), "s3cret".to_owned())).collect();
        Ok(ProvidedConfig { data, ttl: None })
    }
}

impl ConfigProviderType for Vault {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "test.Vault", version: "1" }
    }

    fn create(&self, _props: &Props) -> Result<Box<dyn ConfigProvider>, ConnectError> {
        Ok(Box::new(Vault))
    }
}

pub(in crate::herder) fn validation(policy: &str) -> Validation {
    let mut registry = Registry::new();
    registry.add_source(Arc::new(plain()));
    registry.add_sink(Arc::new(plain()));
    registry.add_config_provider(Arc::new(Vault));
    let worker: Props = [
        ("config.providers", "vault"),
        ("config.providers.vault.class", "test.Vault"),
        ("connector.client.config.override.policy", policy),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    let resolver = Arc::new(ConfigResolver::new(&registry, &worker).unwrap());
    Validation { registry: Arc::new(registry), resolver, worker }
}

pub(in crate::herder) fn raw(pairs: &[(&str, Option<&str>)]) -> Arc<RawConfig> {
    Arc::new(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect())
}

/// Every error as `key: text`, one a line, of a source or sink config with these additional settings.
async fn check(class: &str, more: &[(&str, Option<&str>)], expected: &[&str]) {
    let mut pairs = vec![("name", Some("c")), ("connector.class", Some(class)), ("table", Some("t"))];
    pairs.retain(|(key, _)| !more.iter().any(|(other, _)| other == key));
    pairs.extend(more);
    let infos = validation("All").validate(&raw(&pairs)).await.unwrap();
    let lines: Vec<_> = infos
        .configs
        .iter()
        .filter_map(|config| config.value.as_ref())
        .flat_map(|value| value.errors.iter().map(|error| format!("{}: {error}", value.name)))
        .collect();
    assert_eq!(lines, expected, "{more:?}");
    assert_eq!(infos.error_count, expected.len());
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let (source, sink) = ("PlainSource", "test.PlainSinkConnector");
    check(source, &[], &[]).await;
    check(
        source,
        &[("tasks.max", Some("x")), ("errors.tolerance", Some("some"))],
        &[
            "tasks.max: Invalid value x for configuration tasks.max: Not a number of type INT",
            "tasks.max: Invalid value null for configuration tasks.max: Value must be non-null",
            "errors.tolerance: Invalid value some for configuration errors.tolerance: String must be one of: none, all",
        ],
    )
    .await;
    check(source, &[("other", None)], &["other: Null value can not be supplied as the configuration value."]).await;
    check(source, &[("table", None)], &[]).await; // What the connector defines it judges itself, and a null is a value.
    check(
        sink,
        &[],
        &[
            "topics: Must configure one of topics or topics.regex",
            "topics.regex: Must configure one of topics or topics.regex",
        ],
    )
    .await;
    check(
        sink,
        &[("topics", Some("a, b")), ("errors.deadletterqueue.topic.name", Some("b"))],
        &["topics: The DLQ topic 'b' may not be included in the list of topics ('topics=[a, b]') consumed by the connector"],
    )
    .await;
    let version = "Plugin test.PlainSourceConnector not found that matches the version range [1.0,2.0), available versions: [2.1]";
    check(
        source,
        &[("connector.plugin.version", Some("[1.0,2.0)")), ("table", None)],
        &[
            "table: Null value can not be supplied as the configuration value.",
            &format!("connector.class: {version}"),
            &format!("connector.plugin.version: {version}"),
        ],
    )
    .await;
    check(
        source,
        &[("key.converter", Some("test.PlainSinkConnector")), ("value.converter", Some("nope"))],
        &[
            "key.converter: Class class test.PlainSinkConnector does not implement the Converter interface",
            "value.converter: Invalid value nope for configuration value.converter: Class nope could not be found.",
        ],
    )
    .await;
}

#[tokio::test]
async fn secrets_are_not_shown() {
    let config = raw(&[
        ("name", Some("c")),
        ("connector.class", Some("PlainSource")),
        ("table", Some("${vault:p:k}")),
        ("tasks.max", Some("${vault:p:k}")),
        ("producer.override.sasl.jaas.config", Some("s3cret")),
    ]);
    let infos = validation("All").validate(&config).await.unwrap();
    assert!(!format!("{infos:?}").contains("s3cret"), "{infos:?}");
    let errors: Vec<_> = infos.errors().collect();
    assert_eq!(errors[0], "Invalid value ${vault:p:k} for configuration tasks.max: Not a number of type INT");
}

#[tokio::test]
async fn policies_say_which_overrides_are_allowed() {
    let config = raw(&[
        ("name", Some("c")),
        ("connector.class", Some("PlainSource")),
        ("table", Some("t")),
        ("producer.override.acks", Some("1")),
        ("producer.override.sasl.mechanism", Some("PLAIN")),
        ("consumer.override.group.id", Some("g")), // A source has no consumer: not listed, not judged.
    ]);
    for (policy, refused) in [
        ("All", 0),
        ("None", 2),
        ("Principal", 1),
        ("org.apache.kafka.connect.connector.policy.NoneConnectorClientConfigOverridePolicy", 2),
    ] {
        let infos = validation(policy).validate(&config).await.unwrap();
        assert_eq!(infos.error_count, refused, "{policy}");
        let text = refusal(&config, &infos).map(|error| error.message().to_owned()).unwrap_or_default();
        assert_eq!(text.contains("does not allow 'acks' to be overridden"), refused > 0, "{policy}: {text}");
    }
}

#[tokio::test]
async fn a_config_without_a_class_that_is_there_is_refused() {
    let cases: [(&[(&str, Option<&str>)], &str); 4] = [
        (
            &[("conector.class", Some("x")), ("db.Password", Some("s3cret"))],
            "Connector config {conector.class=x, db.Password=[hidden]} contains no connector type; did you mean \
             `connector.class` by `conector.class`?",
        ),
        (&[("name", Some("c"))], "Connector config {name=c} contains no connector type"),
        (
            &[("connector.class", None), ("name", Some("c"))],
            "Connector config {connector.class=null, name=c} contains no connector type",
        ),
        (
            &[("connector.class", Some("nope"))],
            "Failed to find any class that implements Connector and which name matches nope",
        ),
    ];
    for (config, expected) in cases {
        let error = validation("All").validate(&raw(config)).await.unwrap_err();
        assert!(error.message().starts_with(expected), "{error}");
        assert_eq!(error.status(), 400);
        let shown = validation("All").show("nope", &raw(config)).await.unwrap_err();
        assert_eq!(shown.status(), 500);
        assert!(shown.message().contains(expected), "{shown}");
    }
    let mismatch =
        validation("All").show("Other", &raw(&[("connector.class", Some("PlainSource"))])).await.unwrap_err();
    assert_eq!(
        mismatch,
        HerderError::bad_request("Included connector type PlainSource does not match request type Other")
    );
}
