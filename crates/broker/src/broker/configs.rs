//! Configs of topics, asked and changed; those of the broker, asked only.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResponse;
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, ListConfigResourcesRequest,
    ListConfigResourcesResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::topics::{Refusal, SOURCE_BROKER, SOURCE_DEFAULT, SOURCE_TOPIC, check_name, repeated};
use super::{Broker, MALFORMED, code};
use crate::group_config;
use crate::journal::Entry;
use crate::topic_config::{Definition, Kind, Overrides, value_of};

/// Kinds of resources, by the numbers of the protocol.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
/// Where a group's config comes from when it was set.
const SOURCE_GROUP: i8 = 8;
/// What is said of a config that one request names twice.
const TWICE: &str = "Error due to duplicate config keys";
/// What `IncrementalAlterConfigs` does with a value.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

impl Broker {
    pub(super) fn describe_configs(&self, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
        let results = request
            .resources
            .into_iter()
            .map(|resource| {
                let name = resource.resource_name.to_string();
                let described = match resource.resource_type {
                    TOPIC => self.topic_configs(&name, request.include_synonyms),
                    BROKER => self.broker_configs(&name),
                    GROUP => self.group_configs(&name, request.include_synonyms),
                    other => Err(unknown_kind(other)),
                };
                let result = DescribeConfigsResult::default()
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name);
                match described {
                    Ok(mut configs) => {
                        // An empty list asks for all, as none does.
                        if let Some(keys) = resource.configuration_keys.filter(|keys| !keys.is_empty()) {
                            configs.retain(|config| keys.contains(&config.name));
                        }
                        result.with_error_message(Some(StrBytes::new())).with_configs(configs)
                    }
                    Err((error, reason)) => result.with_error_code(code(error)).with_error_message(Some(reason.into())),
                }
            })
            .collect();
        DescribeConfigsResponse::default().with_results(results)
    }

    fn topic_configs(&self, name: &str, synonyms: bool) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
        check_name(name)?;
        let topic = self.topics.get(name).ok_or((ResponseError::UnknownTopicOrPartition, String::new()))?;
        let described = Definition::shown()
            .map(|definition| {
                let value = value_of(definition.name, &topic.overrides, &self.defaults);
                let result = DescribeConfigsResourceResult::default()
                    .with_name(definition.name.into())
                    .with_value(Some(value.to_owned().into()))
                    .with_config_source(self.source_of(definition.name, &topic.overrides))
                    .with_config_type(definition.kind as i8)
                    .with_documentation(None);
                if synonyms { result.with_synonyms(self.synonyms(definition, &topic.overrides)) } else { result }
            })
            .collect();
        Ok(described)
    }

    /// Every place that says something about a config, the one in force first.
    fn synonyms(&self, definition: &Definition, overrides: &Overrides) -> Vec<DescribeConfigsSynonym> {
        let name = definition.name;
        let brokers = definition.name_for_brokers();
        let places = [
            (name, overrides.0.get(name).map(String::as_str), SOURCE_TOPIC),
            (brokers.name, self.defaults.0.get(name).map(String::as_str), SOURCE_BROKER),
            (brokers.name, Some(definition.default).filter(|_| brokers.has_default), SOURCE_DEFAULT),
        ];
        places
            .into_iter()
            .filter_map(|(name, value, source)| {
                let value: StrBytes = value?.to_owned().into();
                Some(
                    DescribeConfigsSynonym::default()
                        .with_name(name.into())
                        .with_value(Some(value))
                        .with_source(source),
                )
            })
            .collect()
    }

    /// Configs of a group, which need not exist.
    fn group_configs(&self, name: &str, synonyms: bool) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
        if name.is_empty() {
            return Err((ResponseError::InvalidRequest, "Group name must not be empty".to_owned()));
        }
        let none = Overrides::default();
        let own = self.groups.configs_of(name).unwrap_or(&none);
        let described = group_config::definitions().map(|definition| {
            let set = own.0.get(definition.name);
            let default = (definition.default, SOURCE_DEFAULT);
            let (value, source) = set.map_or(default, |value| (value.as_str(), SOURCE_GROUP));
            let text = |value: &str| Some(StrBytes::from(value.to_owned()));
            let result = DescribeConfigsResourceResult::default()
                .with_name(definition.name.into())
                .with_value(text(value))
                .with_config_source(source)
                .with_config_type(definition.kind as i8)
                .with_documentation(None);
            if !synonyms {
                return result;
            }
            let mut places = vec![(format!("group.{}", definition.name), default)];
            if set.is_some() {
                places.insert(0, (definition.name.to_owned(), (value, source)));
            }
            let synonyms = places.into_iter().map(|(name, (value, source))| {
                DescribeConfigsSynonym::default().with_name(name.into()).with_value(text(value)).with_source(source)
            });
            result.with_synonyms(synonyms.collect())
        });
        Ok(described.collect())
    }

    fn broker_configs(&self, name: &str) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
        let node_id = self.config.node_id.to_string();
        // No name asks for what holds for all brokers; nothing was ever set there.
        if name.is_empty() {
            return Ok(Vec::new());
        }
        if name != node_id {
            let reason = format!("Unexpected broker id, expected {node_id} or empty string, but received {name}");
            return Err((ResponseError::InvalidRequest, reason));
        }
        let config = &self.config;
        let values = [
            ("auto.create.topics.enable", config.auto_create_topics.to_string(), Kind::Boolean),
            ("default.replication.factor", "1".to_owned(), Kind::Int),
            (
                "group.initial.rebalance.delay.ms",
                config.group_initial_rebalance_delay.as_millis().to_string(),
                Kind::Int,
            ),
            ("group.max.session.timeout.ms", config.group_max_session_timeout.as_millis().to_string(), Kind::Int),
            ("group.min.session.timeout.ms", config.group_min_session_timeout.as_millis().to_string(), Kind::Int),
            ("log.cleaner.enable", "true".to_owned(), Kind::Boolean),
            ("log.cleanup.policy", value_of("cleanup.policy", &self.defaults, &self.defaults).to_owned(), Kind::List),
            ("log.dirs", self.store.location(), Kind::List),
            ("log.retention.ms", value_of("retention.ms", &self.defaults, &self.defaults).to_owned(), Kind::Long),
            ("message.max.bytes", value_of("max.message.bytes", &self.defaults, &self.defaults).to_owned(), Kind::Int),
            ("node.id", node_id, Kind::Int),
            ("num.partitions", config.num_partitions.to_string(), Kind::Int),
            ("socket.request.max.bytes", config.max_request_bytes.to_string(), Kind::Int),
            ("transaction.max.timeout.ms", config.transaction_max_timeout.as_millis().to_string(), Kind::Int),
        ];
        let described = values
            .into_iter()
            .map(|(name, value, kind)| {
                DescribeConfigsResourceResult::default()
                    .with_name(name.into())
                    .with_value(Some(value.into()))
                    .with_read_only(true)
                    .with_config_source(SOURCE_BROKER)
                    .with_config_type(kind as i8)
                    .with_documentation(None)
            })
            .collect();
        Ok(described)
    }

    /// Names of what has configs.
    pub(super) fn list_config_resources(
        &self,
        version: i16,
        request: &ListConfigResourcesRequest,
    ) -> ListConfigResourcesResponse {
        // Version 0 was for client metrics only.
        let all = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
        let kinds = match (version, request.resource_types.as_slice()) {
            (0, _) => &[CLIENT_METRICS],
            (_, []) => &all[..],
            (_, asked) => asked,
        };
        if kinds.iter().any(|kind| !all.contains(kind)) {
            let error = code(ResponseError::UnsupportedVersion);
            return ListConfigResourcesResponse::default().with_error_code(error);
        }
        let wanted: BTreeSet<i8> = kinds.iter().copied().collect();
        let mut resources = Vec::new();
        for kind in wanted {
            let names: Vec<StrBytes> = match kind {
                TOPIC => self.topics.iter().map(|topic| topic.name.clone().into()).collect(),
                GROUP => self.groups.configured().map(|name| name.clone().into()).collect(),
                BROKER | BROKER_LOGGER => vec![self.config.node_id.to_string().into()],
                _ => Vec::new(),
            };
            resources.extend(
                names
                    .into_iter()
                    .map(|name| ConfigResource::default().with_resource_name(name).with_resource_type(kind)),
            );
        }
        ListConfigResourcesResponse::default().with_config_resources(resources)
    }

    pub(super) fn alter_configs(&mut self, request: AlterConfigsRequest) -> AlterConfigsResponse {
        let resources = request.resources.iter();
        let repeated = repeated(resources.map(|resource| (resource.resource_type, resource.resource_name.clone())));
        let mut responses = Vec::new();
        for resource in request.resources {
            let place = (resource.resource_type, resource.resource_name.clone());
            let once = if repeated.contains(&place) { Err(not_once()) } else { Ok(()) };
            let alterable = || self.check_alterable(resource.resource_type, &resource.resource_name);
            let result = once.and_then(|()| alterable()).and_then(|()| {
                let mut values = BTreeMap::new();
                for config in &resource.configs {
                    let name = config.name.to_string();
                    let value = config.value.as_ref().ok_or_else(|| null_value(&name))?;
                    if values.insert(name, value.to_string()).is_some() {
                        return Err((ResponseError::InvalidRequest, TWICE.to_owned()));
                    }
                }
                self.set_configs(
                    resource.resource_type,
                    &resource.resource_name,
                    Overrides(values),
                    request.validate_only,
                )
            });
            let (error, message) = told(result);
            responses.push(
                AlterConfigsResourceResponse::default()
                    .with_error_code(error)
                    .with_error_message(message)
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name),
            );
        }
        AlterConfigsResponse::default().with_responses(responses)
    }

    pub(super) fn incremental_alter_configs(
        &mut self,
        request: IncrementalAlterConfigsRequest,
    ) -> IncrementalAlterConfigsResponse {
        let resources = request.resources.iter();
        let repeated = repeated(resources.map(|resource| (resource.resource_type, resource.resource_name.clone())));
        let mut responses = Vec::new();
        for resource in request.resources {
            let name = resource.resource_name.to_string();
            let place = (resource.resource_type, resource.resource_name.clone());
            let once = if repeated.contains(&place) { Err(not_once()) } else { Ok(()) };
            let result = once
                .and_then(|()| self.check_alterable(resource.resource_type, &name))
                .and_then(|()| self.changed(resource.resource_type, &name, resource.configs))
                .and_then(|configs| self.set_configs(resource.resource_type, &name, configs, request.validate_only));
            let (error, message) = told(result);
            responses.push(
                IncrementalResponse::default()
                    .with_error_code(error)
                    .with_error_message(message)
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name),
            );
        }
        IncrementalAlterConfigsResponse::default().with_responses(responses)
    }

    fn check_alterable(&self, kind: i8, name: &str) -> Result<(), Refusal> {
        match kind {
            TOPIC if self.topics.get(name).is_some() => Ok(()),
            TOPIC if name.is_empty() => {
                Err((ResponseError::InvalidRequest, "Default topic resources are not allowed.".to_owned()))
            }
            TOPIC => check_name(name).and_then(|()| Err(unknown_topic(name))),
            GROUP if name.is_empty() => {
                Err((ResponseError::InvalidRequest, "Default group resources are not allowed.".to_owned()))
            }
            GROUP => Ok(()),
            BROKER => {
                let reason = "The configs of this broker are given at its start and cannot be changed while it runs.";
                Err((ResponseError::InvalidRequest, reason.to_owned()))
            }
            other => Err(unknown_kind(other)),
        }
    }

    /// What was set for a topic or group.
    fn own_configs(&self, kind: i8, name: &str) -> Result<Overrides, Refusal> {
        match kind {
            GROUP => Ok(self.groups.configs_of(name).cloned().unwrap_or_default()),
            _ => Ok(self.topics.get(name).ok_or_else(|| unknown_topic(name))?.overrides.clone()),
        }
    }

    /// A topic's or group's own configs after the changes.
    fn changed(&self, kind: i8, name: &str, changes: Vec<AlterableConfig>) -> Result<Overrides, Refusal> {
        let mut seen = BTreeMap::new();
        let mut configs = self.own_configs(kind, name)?;
        let definition_of = |config: &str| match kind {
            GROUP => group_config::definitions().find(|definition| definition.name == config),
            _ => Definition::of(config),
        };
        let of = if kind == GROUP { "group" } else { "topic" };
        for change in changes {
            let config = change.name.to_string();
            let invalid = |reason: String| (ResponseError::InvalidConfig, reason);
            if seen.insert(config.clone(), ()).is_some() {
                return Err((ResponseError::InvalidRequest, TWICE.to_owned()));
            }
            let value = change.value.map(|value| value.to_string());
            // What is not there can be removed, even what cannot be there.
            if change.config_operation == DELETE {
                configs.0.remove(&config);
                continue;
            }
            let definition =
                definition_of(&config).ok_or_else(|| invalid(format!("Unknown {of} config name: {config}")))?;
            match (change.config_operation, value) {
                (SET, Some(value)) => {
                    configs.0.insert(config, value);
                }
                (APPEND | SUBTRACT, Some(value)) => {
                    if definition.kind != Kind::List {
                        let what = if change.config_operation == APPEND { "APPEND to" } else { "SUBTRACT from" };
                        return Err(invalid(format!("Can't {what} key {config} because its type is not LIST.")));
                    }
                    let present = value_of(&config, &configs, &self.defaults).to_owned();
                    let parts = |text: &str| -> Vec<String> {
                        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
                    };
                    let mut list = parts(&present);
                    for part in parts(&value) {
                        match change.config_operation {
                            SUBTRACT => list.retain(|old| *old != part),
                            _ if list.contains(&part) => {}
                            _ => list.push(part),
                        }
                    }
                    configs.0.insert(config, list.join(","));
                }
                (SET | APPEND | SUBTRACT, None) => {
                    return Err(null_value(&config));
                }
                (operation, _) => {
                    let reason = format!("Unknown operation type {operation} for: {config}");
                    return Err((ResponseError::InvalidRequest, reason));
                }
            }
        }
        Ok(configs)
    }

    fn set_configs(&mut self, kind: i8, name: &str, configs: Overrides, validate_only: bool) -> Result<(), Refusal> {
        if kind == GROUP {
            group_config::check(&configs).map_err(|reason| (ResponseError::InvalidConfig, reason))?;
            if !validate_only && configs != self.own_configs(kind, name)? {
                let entry = Entry::GroupConfigs { group: name.to_owned(), configs: configs.pairs() };
                self.record(std::slice::from_ref(&entry))
                    .map_err(|error| (error, "The broker cannot write to its data folder.".to_owned()))?;
                self.groups.play(entry);
            }
            return Ok(());
        }
        let topic = self.topics.get(name).ok_or_else(|| unknown_topic(name))?;
        let id = topic.id;
        let configs = configs.normalized();
        configs.check().map_err(|reason| (ResponseError::InvalidConfig, reason))?;
        if validate_only || configs == topic.overrides {
            return Ok(());
        }
        self.record_topic_change(Entry::TopicConfigs { id, configs: configs.pairs() })
    }
}

fn not_once() -> Refusal {
    (ResponseError::InvalidRequest, "Each resource must appear at most once.".to_owned())
}

fn null_value(config: &str) -> Refusal {
    (ResponseError::InvalidRequest, format!("Null value not supported for : {config}"))
}

fn unknown_topic(name: &str) -> Refusal {
    (ResponseError::UnknownTopicOrPartition, format!("The topic '{name}' does not exist."))
}

fn unknown_kind(kind: i8) -> Refusal {
    tracing::debug!("there are no configs of resource type {kind}");
    (ResponseError::InvalidRequest, MALFORMED.to_owned())
}

fn told(result: Result<(), Refusal>) -> (i16, Option<StrBytes>) {
    match result {
        Ok(()) => (0, None),
        Err((error, reason)) => (code(error), Some(reason.into())),
    }
}
