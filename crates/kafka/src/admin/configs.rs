//! Settings of topics and brokers.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use super::{Admin, AdminError, Failure, Patience, ask, text, until_done};
use crate::error::code;
use crate::net::Target;

/// What has settings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    /// A topic.
    Topic(String),
    /// A broker.
    Broker(i32),
}

impl ConfigResource {
    /// As in requests.
    fn parts(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (2, name.clone()),
            Self::Broker(node) => (4, node.to_string()),
        }
    }
}

/// Where a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// It was set for the topic.
    Topic,
    /// It was set for a broker or all of them, in a file or later.
    Broker,
    /// Nobody has set it.
    Default,
    /// The broker does not say.
    Unknown,
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

    /// A setting of a topic; none where it cannot be read.
    pub async fn topic_config(&self, topic: &str, key: &str) -> Result<Option<String>, AdminError> {
        let resource = ConfigResource::Topic(topic.to_owned());
        let mut patience = self.patience(format!("the settings of topic {topic}"));
        match until_done!(patience, patience.configs(&resource, Some(&[key]))) {
            Ok(entries) => Ok(entries.into_iter().find(|entry| entry.name == key).and_then(|entry| entry.value)),
            Err(AdminError::Refused { error, .. })
                if error.is(code::TOPIC_AUTHORIZATION_FAILED)
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
        let mut patience = self.patience(format!("a change of the settings of {resource:?}"));
        until_done!(patience, patience.alter(resource, changes))
    }
}

impl Patience<'_> {
    /// A broker knows only its own settings.
    async fn in_charge(&self, resource: &ConfigResource) -> Result<Target, Failure> {
        match resource {
            ConfigResource::Topic(_) => Ok(Target::Any),
            ConfigResource::Broker(node) => {
                self.metadata(Some(&[])).await?;
                Ok(Target::Node(*node))
            }
        }
    }

    async fn configs(&self, resource: &ConfigResource, keys: Option<&[&str]>) -> Result<Vec<ConfigEntry>, Failure> {
        let (kind, name) = resource.parts();
        let asked = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(&name))
            .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()));
        let request = DescribeConfigsRequest::default().with_resources(vec![asked]);
        let response = ask!(self, self.in_charge(resource).await?, DescribeConfigs(request));
        let found = response.results.into_iter().next().ok_or(Failure::Unanswered)?;
        Failure::check(found.error_code, found.error_message.as_ref())?;
        let entries = found.configs.into_iter().map(|config| ConfigEntry {
            name: config.name.to_string(),
            value: config.value.map(|value| value.to_string()),
            source: match config.config_source {
                1 => ConfigSource::Topic,
                2..=4 => ConfigSource::Broker,
                5 => ConfigSource::Default,
                _ => ConfigSource::Unknown,
            },
            sensitive: config.is_sensitive,
            read_only: config.read_only,
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn alter(&self, resource: &ConfigResource, changes: &[ConfigChange]) -> Result<(), Failure> {
        let (kind, name) = resource.parts();
        let changes = changes.iter().map(|change| {
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
        let wanted = AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(&name))
            .with_configs(changes.collect());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![wanted]);
        let response = ask!(self, self.in_charge(resource).await?, IncrementalAlterConfigs(request));
        let done = response.responses.first().ok_or(Failure::Unanswered)?;
        Failure::check(done.error_code, done.error_message.as_ref())
    }
}
