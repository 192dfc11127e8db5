//! The settings of a standalone worker: Java's `StandaloneConfig`.
//!
//! Those of every worker are in [`worker`]. Keys that nothing declares are kept: prefixes (`producer.`, `value.converter.`, `config.providers.`) carry
//! settings of others. Those of REST (`listeners` and so on) are checked here and read by the REST server.

use super::classes::Installed;
use super::policy::OverridePolicy;
use super::worker;
use crate::herder::ConfigResolver;
use crate::registry::Registry;
use kurier_api::ConnectError;
use kurier_api::config::properties::{self, Properties};
use kurier_api::config::{ConfigDef, Importance, Key, ParsedConfig, Props, Type};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

/// The settings of a standalone worker, checked.
#[derive(Clone, Debug)]
pub struct StandaloneConfig {
    props: Props,
    parsed: ParsedConfig,
}

const OFFSETS_FILE: &str = "offset.storage.file.filename";

/// Keys with these beginnings belong to somebody else.
const FOREIGN_PREFIXES: [&str; 14] = [
    "producer.",
    "consumer.",
    "admin.",
    "key.converter.",
    "value.converter.",
    "header.converter.",
    "internal.key.converter",
    "internal.value.converter",
    "config.providers.",
    "metrics.context.",
    "listeners.https.",
    "admin.listeners.https.",
    "sasl.",
    "connector.client.config.override.allowlist",
];

/// All keys that a standalone worker knows: Java's `StandaloneConfig`.
pub fn definition() -> &'static ConfigDef {
    static DEFINITION: LazyLock<ConfigDef> = LazyLock::new(|| {
        let offsets = Key::new(OFFSETS_FILE, Type::String).importance(Importance::High);
        worker::definition().define(offsets.doc("File for the offsets of sources."))
    });
    &DEFINITION
}

/// Reads a properties file. Blocks.
///
/// # Errors
/// A file that cannot be read or is malformed, by name and line.
pub fn read_properties(file: &Path) -> Result<Properties, ConnectError> {
    let bytes = std::fs::read(file)
        .map_err(|error| ConnectError::config(format!("cannot read {}: {error}", file.display())))?;
    properties::parse_bytes(&bytes).map_err(|error| ConnectError::config(format!("{}, {error}", file.display())))
}

impl StandaloneConfig {
    /// Reads and checks a worker's properties file. Blocks.
    ///
    /// # Errors
    /// A file that cannot be read or is malformed; and as [`Self::parse`], with the name of the file.
    pub fn read(file: &Path, registry: &Registry) -> Result<Self, ConnectError> {
        let props = read_properties(file)?.into_iter().collect();
        Self::parse(props, registry).map_err(|error| {
            ConnectError::config(format!("{}: {}", file.display(), error.message().unwrap_or_default()))
        })
    }

    /// Replaces references to config providers and checks settings. Blocks: providers read files.
    ///
    /// # Errors
    /// What a provider says; Java's texts for the first setting that is missing or cannot be read.
    pub fn parse(props: Props, registry: &Registry) -> Result<Self, ConnectError> {
        let props = ConfigResolver::resolve_worker(registry, props)?;
        let parsed = definition().parse_with(&props, &Installed(registry))?;
        // A policy that is misspelt must not become one that allows everything.
        OverridePolicy::of_worker(&props)?;
        Ok(Self { props, parsed })
    }

    /// The settings as they were written, references replaced.
    pub fn props(&self) -> &Props {
        &self.props
    }

    /// The settings, typed.
    pub fn parsed(&self) -> &ParsedConfig {
        &self.parsed
    }

    /// The file for the offsets of sources.
    pub fn offsets_file(&self) -> PathBuf {
        self.parsed.get_str(OFFSETS_FILE).unwrap_or_default().into()
    }

    /// How long tasks may take to stop.
    pub fn stop_timeout(&self) -> Duration {
        let millis = self.parsed.get_i64("task.shutdown.graceful.timeout.ms");
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// Keys that nobody knows, each with the one that was probably meant.
    pub fn unknown_keys(&self) -> Vec<(&str, Option<&str>)> {
        let ours = |key: &&str| !FOREIGN_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) && !is_client_key(key);
        self.parsed.unknown_keys().filter(ours).map(|key| (key, definition().closest_key(key))).collect()
    }
}

/// Settings without a prefix also go to the admin clients of connectors.
fn is_client_key(key: &str) -> bool {
    const KEYS: [&str; 17] = [
        "client.id",
        "connections.max.idle.ms",
        "default.api.timeout.ms",
        "group.id",
        "metadata.max.age.ms",
        "metadata.recovery.rebootstrap.trigger.ms",
        "metadata.recovery.strategy",
        "receive.buffer.bytes",
        "reconnect.backoff.max.ms",
        "reconnect.backoff.ms",
        "request.timeout.ms",
        "retries",
        "retry.backoff.max.ms",
        "retry.backoff.ms",
        "security.protocol",
        "send.buffer.bytes",
        "socket.connection.setup.timeout.ms",
    ];
    KEYS.contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kurier_api::plugin::{ConfigProvider, ConfigProviderType, Descriptor, ProvidedConfig};
    use std::sync::Arc;

    fn props(pairs: &[(&str, &str)]) -> Props {
        let any = "java.lang.String"; // Whether a class is a converter is asked later.
        let required = [
            ("bootstrap.servers", "h:1"),
            ("key.converter", any),
            ("value.converter", any),
            ("header.converter", any),
            (OFFSETS_FILE, "/tmp/o"),
        ];
        required.iter().chain(pairs).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn parse(pairs: &[(&str, &str)]) -> Result<StandaloneConfig, ConnectError> {
        StandaloneConfig::parse(props(pairs), &Registry::new())
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_as_in_java() {
        let missing = StandaloneConfig::parse(Props::new(), &Registry::new()).unwrap_err();
        assert_eq!(
            missing.message().unwrap(),
            "Missing required configuration \"bootstrap.servers\" which has no default value."
        );
        let wrong = parse(&[("offset.flush.interval.ms", "soon")]).unwrap_err();
        assert_eq!(
            wrong.message().unwrap(),
            "Invalid value soon for configuration offset.flush.interval.ms: Not a number of type LONG"
        );
    }

    /// A place for values: every key of every path is there, but for those that begin with `no`.
    struct Vault;

    impl ConfigProviderType for Vault {
        fn descriptor(&self) -> Descriptor {
            Descriptor { class: "test.Vault", version: "1" }
        }

        fn create(&self, _: &Props) -> Result<Box<dyn ConfigProvider>, ConnectError> {
            Ok(Box::new(Self))
        }
    }

    impl ConfigProvider for Vault {
        fn get(&self, path: &str, keys: Option<&[String]>) -> Result<ProvidedConfig, ConnectError> {
            let keys = keys.unwrap_or_default().iter().filter(|key| !key.starts_with("no"));
            Ok(ProvidedConfig {
                data: keys.map(|key| (key.clone(), format!("{path}.{key}:9092"))).collect(),
                ttl: None,
            })
        }
    }

    #[test]
    fn settings_may_come_from_config_providers() {
        let mut registry = Registry::new();
        registry.add_config_provider(Arc::new(Vault));
        let pairs = [
            ("config.providers", "v"),
            ("config.providers.v.class", "Vault"),
            ("bootstrap.servers", "${v:a:b},${v:a:c}"),
            ("offset.flush.interval.ms", "${v:none}"),
        ];
        let error = StandaloneConfig::parse(props(&pairs), &registry).unwrap_err();
        assert_eq!(
            error.message().unwrap(),
            "Invalid value ${v:none} for configuration offset.flush.interval.ms: Not a number of type LONG"
        );
        let config = StandaloneConfig::parse(props(&pairs[..3]), &registry).unwrap();
        assert_eq!(config.parsed().get_list("bootstrap.servers"), ["a.b:9092", "a.c:9092"]);
        assert_eq!(config.props()["bootstrap.servers"], "a.b:9092,a.c:9092");
    }

    #[test]
    fn a_misspelt_key_is_told_from_settings_of_others() {
        let pairs = [
            ("ofset.flush.interval.ms", "1"),
            ("ssl.keystore.lokation", "/k"),
            ("producer.linger.ms", "1"),
            ("request.timeout.ms", "1"),
            ("zz", "1"),
        ];
        let config = parse(&pairs).unwrap();
        assert_eq!(
            config.unknown_keys(),
            [
                ("ofset.flush.interval.ms", Some("offset.flush.interval.ms")),
                ("ssl.keystore.lokation", Some("ssl.keystore.location")),
                ("zz", None)
            ]
        );
        assert_eq!(config.stop_timeout(), Duration::from_secs(5));
    }

    #[test]
    fn a_malformed_file_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("w.properties");
        std::fs::write(&file, "a=1\nb=\\u00").unwrap();
        let error = StandaloneConfig::read(&file, &Registry::new()).unwrap_err();
        assert!(error.message().unwrap().contains("w.properties, line 2: Malformed"), "{}", error.message().unwrap());
        let error = StandaloneConfig::read(&dir.path().join("none"), &Registry::new()).unwrap_err();
        assert!(error.message().unwrap().starts_with("cannot read "), "{}", error.message().unwrap());
    }
}
