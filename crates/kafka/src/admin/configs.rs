//! Settings of topics, brokers, groups and whatever else has some.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest};

use super::codes::wire_enum;
use super::{Admin, AdminError, Failure, Open, Outcomes, Patience, ask, text, until_done};
use crate::error::{KafkaError, code};
use crate::net::Target;

/// What has settings: Java's `ConfigResource`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    /// A topic.
    Topic(String),
    /// A broker.
    Broker(i32),
    /// What all brokers have that have nothing of their own.
    AllBrokers,
    /// The loggers of a broker.
    BrokerLogger(i32),
    /// What a subscription to clients' metrics asks for (KIP-714).
    ClientMetrics(String),
    /// A group (KIP-848).
    Group(String),
}

impl ConfigResource {
    /// As in requests.
    fn parts(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (2, name.clone()),
            Self::Broker(node) => (4, node.to_string()),
            Self::AllBrokers => (4, String::new()),
            Self::BrokerLogger(node) => (8, node.to_string()),
            Self::ClientMetrics(name) => (16, name.clone()),
            Self::Group(name) => (32, name.clone()),
        }
    }

    /// As in answers; none for what a newer broker has.
    fn from_parts(kind: i8, name: &str) -> Option<Self> {
        Some(match kind {
            2 => Self::Topic(name.to_owned()),
            4 if name.is_empty() => Self::AllBrokers,
            4 => Self::Broker(name.parse().ok()?),
            8 => Self::BrokerLogger(name.parse().ok()?),
            16 => Self::ClientMetrics(name.to_owned()),
            32 => Self::Group(name.to_owned()),
            _ => return None,
        })
    }
}

wire_enum! {
    /// Where a setting comes from: Java's `ConfigSource`.
    ConfigSource {
        /// It was set for the topic.
        Topic = 1 "DYNAMIC_TOPIC_CONFIG",
        /// It was set for the broker.
        Broker = 2 "DYNAMIC_BROKER_CONFIG",
        /// It was set for all brokers.
        AllBrokers = 3 "DYNAMIC_DEFAULT_BROKER_CONFIG",
        /// It stands in the broker's file.
        File = 4 "STATIC_BROKER_CONFIG",
        /// Nobody has set it.
        Default = 5 "DEFAULT_CONFIG",
        /// It was set for the logger.
        BrokerLogger = 6 "DYNAMIC_BROKER_LOGGER_CONFIG",
        /// It was set for the subscription.
        ClientMetrics = 7 "DYNAMIC_CLIENT_METRICS_CONFIG",
        /// It was set for the group.
        Group = 8 "DYNAMIC_GROUP_CONFIG",
    }
}

wire_enum! {
    /// What a setting's value is: Java's `ConfigType`.
    ConfigType {
        /// `true` or `false`.
        Boolean = 1 "BOOLEAN",
        /// A text.
        Text = 2 "STRING",
        /// 32 bits.
        Int = 3 "INT",
        /// 16 bits.
        Short = 4 "SHORT",
        /// 64 bits.
        Long = 5 "LONG",
        /// A fraction.
        Double = 6 "DOUBLE",
        /// With commas between.
        List = 7 "LIST",
        /// A Java class.
        Class = 8 "CLASS",
        /// A secret.
        Password = 9 "PASSWORD",
    }
}

/// What is told of each setting beside its value: Java's `DescribeConfigsOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigOptions {
    /// What else it would be, and where from.
    pub synonyms: bool,
    /// What it is for, in the broker's words.
    pub documentation: bool,
}

/// A value that a setting has, or would have if those before it were not there.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// Under which name.
    pub name: String,
    /// Its value; none if it has none or is secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// A value may be a secret of the entry that it belongs to.
impl std::fmt::Debug for ConfigSynonym {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigSynonym").field("name", &self.name).field("source", &self.source).finish_non_exhaustive()
    }
}

/// A setting.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; none if it has none or is secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Whether it is secret.
    pub sensitive: bool,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// What its value is.
    pub kind: ConfigType,
    /// All values there are for it, that in force first; empty if it was not asked for.
    pub synonyms: Vec<ConfigSynonym>,
    /// What it is for, if it was asked for.
    pub documentation: Option<String>,
}

impl std::fmt::Debug for ConfigEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = if self.sensitive { Some("[hidden]") } else { self.value.as_deref() };
        f.debug_struct("ConfigEntry").field("name", &self.name).field("value", &value).finish_non_exhaustive()
    }
}

/// A change of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// Gives it a value.
    Set(String, String),
    /// Lets it be what it is for all.
    Delete(String),
    /// Adds to a list.
    Append(String, String),
    /// Takes out of a list.
    Subtract(String, String),
}

impl Admin {
    /// All settings of a topic or broker by name; `keys` leaves it at these.
    pub async fn describe_configs(
        &self,
        resource: &ConfigResource,
        keys: Option<&[&str]>,
    ) -> Result<Vec<ConfigEntry>, AdminError> {
        let mut patience = self.patience(format!("the settings of {resource:?}"));
        until_done!(patience, patience.configs(resource, keys))
    }

    /// All settings of many resources by name.
    pub async fn describe_configs_of(
        &self,
        resources: &[ConfigResource],
        options: ConfigOptions,
    ) -> Result<Outcomes<ConfigResource, Vec<ConfigEntry>>, AdminError> {
        let mut patience = self.patience("the settings of resources");
        let mut open = Open::new(resources.iter().cloned());
        let end = until_done!(patience, patience.configs_of(None, options, &mut open));
        open.close(end)
    }

    /// The resources that have settings, of the kinds of `like` (whose names do not matter), or of all kinds. Brokers before Kafka 4.1 only know those of
    /// [`ConfigResource::ClientMetrics`].
    pub async fn list_config_resources(&self, like: &[ConfigResource]) -> Result<Vec<ConfigResource>, AdminError> {
        let mut patience = self.patience("the list of resources that have settings");
        until_done!(patience, patience.config_resources(like))
    }

    /// A setting of a topic; none where it cannot be read.
    pub async fn topic_config(&self, topic: &str, key: &str) -> Result<Option<String>, AdminError> {
        let resource = ConfigResource::Topic(topic.to_owned());
        let mut patience = self.patience(format!("the settings of topic {topic}"));
        match until_done!(patience, patience.configs(&resource, Some(&[key]))) {
            Ok(entries) => Ok(entries.into_iter().find(|entry| entry.name == key).and_then(|entry| entry.value)),
            Err(AdminError::Refused { error, .. })
                if error.is(code::TOPIC_AUTHORIZATION_FAILED)
                    || error.is(code::UNKNOWN_TOPIC_OR_PARTITION)
                    || error.is(code::CLUSTER_AUTHORIZATION_FAILED)
                    || error.class.ends_with(".UnsupportedVersionException") =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Changes settings; those that are not named stay. All of them or none.
    pub async fn alter_configs(&self, resource: &ConfigResource, changes: &[ConfigChange]) -> Result<(), AdminError> {
        let what = format!("a change of the settings of {resource:?}");
        let wanted = BTreeMap::from([(resource.clone(), changes.to_vec())]);
        let outcome = self.incremental_alter_configs(&wanted, false).await?.remove(resource);
        match outcome.expect("what was asked for has an outcome") {
            Ok(()) => Ok(()),
            Err(error) => Err(AdminError::Refused { what, error }),
        }
    }

    /// Changes settings of many resources; for each all of them or none. `validate_only` changes nothing.
    pub async fn incremental_alter_configs(
        &self,
        changes: &BTreeMap<ConfigResource, Vec<ConfigChange>>,
        validate_only: bool,
    ) -> Result<Outcomes<ConfigResource, ()>, AdminError> {
        let mut patience = self.patience("a change of settings");
        let mut open = Open::new(changes.keys().cloned());
        let end = until_done!(patience, patience.alter(changes, validate_only, &mut open));
        open.close(end)
    }
}

impl Patience<'_> {
    /// What is still open, by whom to ask: a broker knows only its own settings.
    async fn in_charge<T>(
        &self,
        open: &Open<ConfigResource, T>,
    ) -> Result<Vec<(Target, Vec<ConfigResource>)>, Failure> {
        let mut by: Vec<(Target, Vec<ConfigResource>)> = Vec::new();
        for resource in &open.left {
            let target = match resource {
                ConfigResource::Broker(node) | ConfigResource::BrokerLogger(node) => Target::Node(*node),
                _ => Target::Any,
            };
            match by.iter_mut().find(|(known, _)| *known == target) {
                Some((_, resources)) => resources.push(resource.clone()),
                None => by.push((target, vec![resource.clone()])),
            }
        }
        if by.iter().any(|(target, _)| *target != Target::Any) {
            self.metadata(Some(&[])).await?;
        }
        Ok(by)
    }

    async fn configs(&self, resource: &ConfigResource, keys: Option<&[&str]>) -> Result<Vec<ConfigEntry>, Failure> {
        let mut open = Open::new([resource.clone()]);
        self.configs_of(keys, ConfigOptions::default(), &mut open).await?;
        open.done.remove(resource).ok_or(Failure::Unanswered)?.map_err(Failure::Refused)
    }

    async fn configs_of(
        &self,
        keys: Option<&[&str]>,
        options: ConfigOptions,
        open: &mut Open<ConfigResource, Vec<ConfigEntry>>,
    ) -> Result<(), Failure> {
        for (target, resources) in self.in_charge(open).await? {
            let asked = resources.iter().map(|resource| {
                let (kind, name) = resource.parts();
                DescribeConfigsResource::default()
                    .with_resource_type(kind)
                    .with_resource_name(text(&name))
                    .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()))
            });
            let request = DescribeConfigsRequest::default()
                .with_resources(asked.collect())
                .with_include_synonyms(options.synonyms)
                .with_include_documentation(options.documentation);
            let response = ask!(self, target, DescribeConfigs(request));
            for found in response.results {
                let Some(resource) = ConfigResource::from_parts(found.resource_type, &found.resource_name) else {
                    continue;
                };
                if let Some(error) = KafkaError::from_answer(found.error_code, found.error_message.as_deref()) {
                    open.settle_now(&resource, Err(error));
                    continue;
                }
                let entries = found.configs.into_iter().map(|config| ConfigEntry {
                    name: config.name.to_string(),
                    value: config.value.map(|value| value.to_string()),
                    source: ConfigSource::from_code(config.config_source),
                    sensitive: config.is_sensitive,
                    read_only: config.read_only,
                    kind: ConfigType::from_code(config.config_type),
                    synonyms: (config.synonyms.into_iter())
                        .map(|synonym| ConfigSynonym {
                            name: synonym.name.to_string(),
                            value: synonym.value.map(|value| value.to_string()),
                            source: ConfigSource::from_code(synonym.source),
                        })
                        .collect(),
                    documentation: config.documentation.map(|text| text.to_string()),
                });
                let mut entries: Vec<_> = entries.collect();
                entries.sort_by(|a, b| a.name.cmp(&b.name));
                open.settle_now(&resource, Ok(entries));
            }
        }
        open.remaining()
    }

    async fn config_resources(&self, like: &[ConfigResource]) -> Result<Vec<ConfigResource>, Failure> {
        let mut kinds: Vec<i8> = like.iter().map(|resource| resource.parts().0).collect();
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.is_empty() {
            kinds = vec![2, 4, 8, 16, 32];
        }
        // Brokers that list nothing else have no place for a choice.
        let only_metrics = kinds == [16];
        let request = ListConfigResourcesRequest::default();
        let request = if only_metrics { request } else { request.with_resource_types(kinds) };
        let response = ask!(self, Target::Any, ListConfigResources(request));
        Failure::check(response.error_code, None)?;
        let mut resources: Vec<_> = (response.config_resources.iter())
            .filter_map(|found| ConfigResource::from_parts(found.resource_type, &found.resource_name))
            .filter(|found| !only_metrics || matches!(found, ConfigResource::ClientMetrics(_)))
            .collect();
        resources.sort();
        Ok(resources)
    }

    async fn alter(
        &self,
        changes: &BTreeMap<ConfigResource, Vec<ConfigChange>>,
        validate_only: bool,
        open: &mut Open<ConfigResource, ()>,
    ) -> Result<(), Failure> {
        for (target, resources) in self.in_charge(open).await? {
            let wanted = resources.iter().map(|resource| {
                let (kind, name) = resource.parts();
                let changes = changes.get(resource).into_iter().flatten().map(|change| {
                    let (operation, key, value) = match change {
                        ConfigChange::Set(key, value) => (0, key, Some(value)),
                        ConfigChange::Delete(key) => (1, key, None),
                        ConfigChange::Append(key, value) => (2, key, Some(value)),
                        ConfigChange::Subtract(key, value) => (3, key, Some(value)),
                    };
                    AlterableConfig::default()
                        .with_name(text(key))
                        .with_config_operation(operation)
                        .with_value(value.map(|value| text(value)))
                });
                AlterConfigsResource::default()
                    .with_resource_type(kind)
                    .with_resource_name(text(&name))
                    .with_configs(changes.collect())
            });
            let request = IncrementalAlterConfigsRequest::default()
                .with_resources(wanted.collect())
                .with_validate_only(validate_only);
            let response = ask!(self, target, IncrementalAlterConfigs(request));
            for done in &response.responses {
                let Some(resource) = ConfigResource::from_parts(done.resource_type, &done.resource_name) else {
                    continue;
                };
                let error = KafkaError::from_answer(done.error_code, done.error_message.as_deref());
                open.settle_now(&resource, error.map_or(Ok(()), Err));
            }
        }
        open.remaining()
    }
}
