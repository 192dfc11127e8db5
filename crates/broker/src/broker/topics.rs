//! Topics: which there are, their partitions and configs; creating, growing and deleting them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{Broker, code};
use crate::journal::Entry;
use crate::log::PartitionLog;
use crate::store::Store;
use crate::topic_config::{Definition, Overrides, TopicConfig, value_of};

/// Folder of all topics.
const FOLDER: &str = "topics";
/// Longest topic name, as in Apache Kafka.
const MAX_NAME: usize = 249;
/// How much of a topic's name its folder shows; the id that follows tells topics apart.
const SHOWN_NAME: usize = 200;
/// Most partitions of one topic.
const MAX_PARTITIONS: i32 = 10_000;
/// Where a config's value comes from, by the numbers of the protocol.
pub(super) const SOURCE_TOPIC: i8 = 1;
pub(super) const SOURCE_BROKER: i8 = 4;
pub(super) const SOURCE_DEFAULT: i8 = 5;

/// An error and what there is to say about it.
pub(super) type Refusal = (ResponseError, String);

/// A topic to be created.
pub(super) struct NewTopic {
    pub(super) name: String,
    pub(super) partitions: Option<i32>,
    pub(super) configs: Overrides,
}

/// A topic.
pub(super) struct Topic {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) overrides: Overrides,
    pub(super) config: TopicConfig,
    pub(super) partitions: Vec<PartitionLog>,
    /// Offsets that deletions were acknowledged up to.
    starts: BTreeMap<i32, i64>,
}

impl Topic {
    pub(super) fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).expect("a topic has at most MAX_PARTITIONS partitions")
    }

    pub(super) fn wire_name(&self) -> TopicName {
        TopicName(self.name.clone().into())
    }

    fn folder(&self) -> String {
        format!("{FOLDER}/{}", self.folder_name())
    }

    fn folder_name(&self) -> String {
        let shown = &self.name[..self.name.len().min(SHOWN_NAME)];
        format!("{shown}.{}", self.id.simple())
    }

    fn partition_folder(&self, partition: i32) -> String {
        format!("{}/{partition}", self.folder())
    }

    /// Brings the number of partitions up to `count`.
    fn grow(&mut self, count: i32) {
        for partition in self.partition_count()..count {
            self.partitions.push(PartitionLog::empty(self.partition_folder(partition)));
        }
    }

    /// The log of a partition with the config it is kept by.
    pub(super) fn log(&mut self, partition: i32) -> Option<(&mut PartitionLog, &TopicConfig)> {
        let log = self.partitions.get_mut(usize::try_from(partition).ok()?)?;
        Some((log, &self.config))
    }
}

/// All topics.
#[derive(Default)]
pub(super) struct Topics {
    by_name: BTreeMap<String, Topic>,
    names: HashMap<Uuid, String>,
    /// Grows whenever topics or partitions come or go.
    pub(super) changes: u64,
}

impl Topics {
    pub(super) fn get(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Topic> {
        self.by_name.get_mut(name)
    }

    /// The log of a partition with the config it is kept by.
    pub(super) fn log(
        &mut self,
        name: &str,
        partition: i32,
    ) -> Result<(&mut PartitionLog, &TopicConfig), ResponseError> {
        let topic = self.by_name.get_mut(name);
        topic.and_then(|topic| topic.log(partition)).ok_or(ResponseError::UnknownTopicOrPartition)
    }

    pub(super) fn by_id(&self, id: Uuid) -> Option<&Topic> {
        self.by_name.get(self.names.get(&id)?)
    }

    /// The name of the topic with this id.
    pub(super) fn name_of(&self, id: Uuid) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    pub(super) fn by_id_mut(&mut self, id: Uuid) -> Option<&mut Topic> {
        self.by_name.get_mut(self.names.get(&id)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.by_name.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.by_name.values_mut()
    }

    /// A topic whose name is the same where metrics are named, which have `_` for `.`: clients cannot read both.
    pub(super) fn colliding(&self, name: &str) -> Option<&str> {
        let letter = |byte: u8| if byte == b'.' { b'_' } else { byte };
        let collides = |other: &&String| {
            other.len() == name.len() && *other != name && other.bytes().map(letter).eq(name.bytes().map(letter))
        };
        if name.contains(['.', '_']) { self.by_name.keys().find(collides).map(String::as_str) } else { None }
    }

    fn remove(&mut self, id: Uuid) -> Option<Topic> {
        self.changes += 1;
        self.by_name.remove(&self.names.remove(&id)?)
    }

    /// Plays an entry of the journal.
    pub(super) fn play(&mut self, entry: Entry, defaults: &Overrides) {
        self.changes += u64::from(matches!(
            entry,
            Entry::TopicCreated { .. } | Entry::TopicDeleted { .. } | Entry::PartitionsAdded { .. }
        ));
        match entry {
            Entry::TopicCreated { id, name, partitions, configs } => {
                let overrides = Overrides(configs.into_iter().collect());
                let config = TopicConfig::new(&overrides, defaults);
                let mut topic = Topic {
                    id,
                    name: name.clone(),
                    overrides,
                    config,
                    partitions: Vec::new(),
                    starts: BTreeMap::new(),
                };
                topic.grow(partitions);
                self.names.insert(id, name.clone());
                self.by_name.insert(name, topic);
            }
            Entry::TopicDeleted { id } => {
                self.remove(id);
            }
            Entry::PartitionsAdded { id, partitions } => {
                if let Some(topic) = self.by_id_mut(id) {
                    topic.grow(partitions);
                }
            }
            Entry::TopicConfigs { id, configs } => {
                if let Some(topic) = self.by_id_mut(id) {
                    topic.overrides = Overrides(configs.into_iter().collect());
                    topic.config = TopicConfig::new(&topic.overrides, defaults);
                }
            }
            Entry::LogStart { id, partition, offset } => {
                if let Some(topic) = self.by_id_mut(id) {
                    topic.starts.insert(partition, offset);
                }
            }
            _ => {}
        }
    }

    /// Opens the logs of all topics, and removes folders of topics that are no more.
    pub(super) fn open_logs(&mut self, store: &dyn Store) -> io::Result<()> {
        let known: BTreeSet<String> = self.iter().map(Topic::folder_name).collect();
        for name in store.list(FOLDER)? {
            if !known.contains(&name) {
                store.remove(&format!("{FOLDER}/{name}"))?;
            }
        }
        for topic in self.by_name.values_mut() {
            // A topic that nothing was ever written to has no folder.
            let present = store.list(&topic.folder())?;
            for partition in 0..topic.partition_count() {
                let start = topic.starts.get(&partition).copied().unwrap_or(0);
                if start > 0 || present.contains(&partition.to_string()) {
                    let folder = topic.partition_folder(partition);
                    let mut log = PartitionLog::recover(store, folder, start)?;
                    let config = &topic.config.log;
                    if config.flush_messages < i64::MAX || config.flush_ms < i64::MAX {
                        // The process before may have died between write and flush, and a producer that asks again is told that its batch is there.
                        log.flush()?;
                    }
                    topic.partitions[usize::try_from(partition).expect("counted from zero")] = log;
                }
            }
        }
        Ok(())
    }

    pub(super) fn close_logs(&mut self, store: &dyn Store) -> io::Result<()> {
        let mut first_error = Ok(());
        for log in self.by_name.values_mut().flat_map(|topic| &mut topic.partitions) {
            first_error = first_error.and(log.close(store));
        }
        first_error
    }

    /// Everything worth remembering, as journal entries.
    pub(super) fn snapshot(&self, entries: &mut Vec<Entry>) {
        for topic in self.iter() {
            entries.push(Entry::TopicCreated {
                id: topic.id,
                name: topic.name.clone(),
                partitions: topic.partition_count(),
                configs: topic.overrides.pairs(),
            });
            for (partition, log) in (0..).zip(&topic.partitions) {
                if log.start_offset() > 0 {
                    entries.push(Entry::LogStart { id: topic.id, partition, offset: log.start_offset() });
                }
            }
        }
    }
}

/// Whether there are records in the store, of whatever topic.
pub(super) fn are_stored(store: &dyn Store) -> io::Result<bool> {
    Ok(!store.list(FOLDER)?.is_empty())
}

/// Whether a topic may have this name.
pub(super) fn is_legal_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name != "." && name != ".." && name.len() <= MAX_NAME && name.bytes().all(legal)
}

/// Refuses what no topic may be called.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    if is_legal_name(name) {
        return Ok(());
    }
    let what = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        long if long.len() > MAX_NAME => {
            format!("the length of '{name}' is longer than the max allowed length {MAX_NAME}")
        }
        _ => format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"),
    };
    Err((ResponseError::InvalidTopicException, format!("Topic name is invalid: {what}")))
}

impl Broker {
    /// Checks a topic that is to be created; returns its number of partitions.
    fn check_new_topic(&self, topic: &NewTopic) -> Result<i32, Refusal> {
        let name = &topic.name;
        check_name(name)?;
        if self.topics.get(name).is_some() {
            return Err((ResponseError::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
        }
        let partitions = topic.partitions.unwrap_or(self.config.num_partitions);
        if partitions < 1 {
            return Err((
                ResponseError::InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.".to_owned(),
            ));
        }
        if partitions > MAX_PARTITIONS {
            let reason = format!("This broker keeps at most {MAX_PARTITIONS} partitions of a topic.");
            return Err((ResponseError::InvalidPartitions, reason));
        }
        topic.configs.check().map_err(|reason| (ResponseError::InvalidConfig, reason))?;
        Ok(partitions)
    }

    /// Creates a topic.
    pub(super) fn create_topic(&mut self, topic: NewTopic) -> Result<(), Refusal> {
        let partitions = self.check_new_topic(&topic)?;
        let entry =
            Entry::TopicCreated { id: self.fresh_uuid(), name: topic.name, partitions, configs: topic.configs.pairs() };
        self.record_topic_change(entry)
    }

    /// Writes a change of topics down for good, then makes it.
    pub(super) fn record_topic_change(&mut self, entry: Entry) -> Result<(), Refusal> {
        let written = self.record(std::slice::from_ref(&entry)).and_then(|()| self.sync_journal());
        written.map_err(|error| (error, "The broker cannot write to its data folder.".to_owned()))?;
        self.topics.play(entry, &self.defaults);
        Ok(())
    }

    pub(super) fn create_topics(&mut self, version: i16, request: CreateTopicsRequest) -> CreateTopicsResponse {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for topic in &request.topics {
            *counts.entry(topic.name.to_string()).or_default() += 1;
        }
        // As in Apache Kafka, those of one request may collide with one another.
        let collide =
            |topic: &CreatableTopic| Some((topic.name.clone(), self.topics.colliding(&topic.name)?.to_owned()));
        let colliding: BTreeMap<TopicName, String> = request.topics.iter().filter_map(collide).collect();
        let mut results = Vec::new();
        for topic in request.topics {
            let name = topic.name.clone();
            let repeated = counts.get(name.as_str()).copied().unwrap_or(0) > 1;
            if repeated {
                if results.iter().all(|result: &CreatableTopicResult| result.name != name) {
                    let reason = "Duplicate topic name.".to_owned();
                    results.push(refused_topic(name, (ResponseError::InvalidRequest, reason)));
                }
                continue;
            }
            if let Some(other) = colliding.get(&name).filter(|_| self.topics.get(&name).is_none()) {
                let reason = format!("Topic '{}' collides with existing topic: {other}", name.as_str());
                results.push(refused_topic(name, (ResponseError::InvalidTopicException, reason)));
                continue;
            }
            let result = match self.create_requested(topic, request.validate_only) {
                Ok(partitions) => self.created_topic(version, name, partitions),
                Err(refusal) => refused_topic(name, refusal),
            };
            results.push(result);
        }
        CreateTopicsResponse::default().with_topics(results)
    }

    /// Whether a partition can be where somebody wants it.
    fn check_assigned(&self, brokers: &[BrokerId]) -> Result<(), Refusal> {
        let node = self.config.node_id;
        let reason = match brokers {
            [] => "The manual partition assignment includes an empty replica list.".to_owned(),
            brokers => match brokers.iter().find(|id| id.0 != node) {
                Some(other) => format!(
                    "The manual partition assignment includes broker {}, but no such broker is registered.",
                    other.0
                ),
                None if brokers.len() > 1 => {
                    format!("The manual partition assignment includes the broker {node} more than once.")
                }
                None => return Ok(()),
            },
        };
        Err((ResponseError::InvalidReplicaAssignment, reason))
    }

    fn create_requested(&mut self, asked: CreatableTopic, validate_only: bool) -> Result<(i32, Overrides), Refusal> {
        let mut configs = BTreeMap::new();
        for config in asked.configs {
            match config.value {
                Some(value) => configs.insert(config.name.to_string(), value.to_string()),
                None => {
                    let reason = format!("Null value not supported for topic configs: {}", config.name);
                    return Err((ResponseError::InvalidConfig, reason));
                }
            };
        }
        let partitions = if asked.assignments.is_empty() {
            if asked.replication_factor < -1 || asked.replication_factor == 0 {
                let reason = "Replication factor must be larger than 0, or -1 to use the default value.";
                return Err((ResponseError::InvalidReplicationFactor, reason.to_owned()));
            }
            if asked.replication_factor != -1 && asked.replication_factor != 1 {
                let reason = format!(
                    "Unable to replicate the partition {} time(s): The target replication factor of {} cannot be reached because only 1 broker(s) are registered or some brokers have all their log directories cordoned.",
                    asked.replication_factor, asked.replication_factor
                );
                return Err((ResponseError::InvalidReplicationFactor, reason));
            }
            (asked.num_partitions != -1).then_some(asked.num_partitions)
        } else {
            for (value, name) in
                [(i32::from(asked.replication_factor), "replicationFactor"), (asked.num_partitions, "numPartitions")]
            {
                if value != -1 {
                    let reason = format!("A manual partition assignment was specified, but {name} was not set to -1.");
                    return Err((ResponseError::InvalidRequest, reason));
                }
            }
            let mut indices: Vec<i32> = asked.assignments.iter().map(|one| one.partition_index).collect();
            indices.sort_unstable();
            let invalid = |reason: String| Err((ResponseError::InvalidReplicaAssignment, reason));
            if let Some(twice) = indices.windows(2).find(|pair| pair[0] == pair[1]) {
                return invalid(format!("Found multiple manual partition assignments for partition {}", twice[0]));
            }
            asked.assignments.iter().try_for_each(|one| self.check_assigned(&one.broker_ids))?;
            if !indices.iter().copied().eq(0..i32::try_from(indices.len()).unwrap_or(0)) {
                return invalid("partitions should be a consecutive 0-based integer sequence".to_owned());
            }
            i32::try_from(indices.len()).ok()
        };
        let configs = Overrides(configs).normalized();
        let topic = NewTopic { name: asked.name.to_string(), partitions, configs: configs.clone() };
        let partitions = self.check_new_topic(&topic)?;
        if !validate_only {
            self.create_topic(topic)?;
        }
        Ok((partitions, configs))
    }

    fn created_topic(
        &self,
        version: i16,
        name: TopicName,
        (partitions, overrides): (i32, Overrides),
    ) -> CreatableTopicResult {
        let result = CreatableTopicResult::default().with_name(name.clone()).with_error_message(None);
        if version < 5 {
            return result;
        }
        let configs = Definition::shown()
            .map(|definition| {
                let value = value_of(definition.name, &overrides, &self.defaults).to_owned();
                CreatableTopicConfigs::default()
                    .with_name(StrBytes::from_static_str(definition.name))
                    .with_value(Some(value.into()))
                    .with_config_source(self.source_of(definition.name, &overrides))
            })
            .collect();
        let result = result.with_num_partitions(partitions).with_replication_factor(1).with_configs(Some(configs));
        match self.topics.get(&name) {
            Some(topic) if version >= 7 => result.with_topic_id(topic.id),
            _ => result,
        }
    }

    /// Where the value of a topic's config comes from.
    pub(super) fn source_of(&self, config: &str, overrides: &Overrides) -> i8 {
        if overrides.0.contains_key(config) {
            SOURCE_TOPIC
        } else if self.defaults.0.contains_key(config) {
            SOURCE_BROKER
        } else {
            SOURCE_DEFAULT
        }
    }

    pub(super) fn delete_topics(&mut self, version: i16, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
        let asked: Vec<(Option<TopicName>, Uuid)> = if version < 6 {
            request.topic_names.into_iter().map(|name| (Some(name), Uuid::nil())).collect()
        } else {
            request.topics.into_iter().map(|topic| (topic.name, topic.topic_id)).collect()
        };
        // A topic that is named twice, in whatever way, stays: who asks does not know what they are doing.
        let id_of = |(name, id): &(Option<TopicName>, Uuid)| match name {
            Some(name) => self.topics.get(name).map_or(Uuid::nil(), |topic| topic.id),
            None => *id,
        };
        let ids = repeated(asked.iter().map(id_of).filter(|id| !id.is_nil()));
        let names = repeated(asked.iter().filter_map(|(name, _)| name.clone()));
        let mut responses: Vec<DeletableTopicResult> = Vec::new();
        for (name, id) in asked {
            let refused = |reason: &str| Err((ResponseError::InvalidRequest, reason.to_owned()));
            let (id, name, unknown, refusal) = match name {
                Some(name) if !id.is_nil() => {
                    let refusal = refused("You may not specify both topic name and topic id.");
                    (Some(id), Some(name), ResponseError::UnknownTopicOrPartition, refusal)
                }
                Some(name) if names.contains(&name) => {
                    if responses.iter().any(|told| told.name.as_ref() == Some(&name)) {
                        continue;
                    }
                    let refusal = refused("Duplicate topic name.");
                    (None, Some(name), ResponseError::UnknownTopicOrPartition, refusal)
                }
                Some(name) => {
                    let id = self.topics.get(&name).map(|topic| topic.id);
                    (id, Some(name), ResponseError::UnknownTopicOrPartition, Ok(()))
                }
                None if id.is_nil() => {
                    let refusal = refused("Neither topic name nor id were specified.");
                    (None, None, ResponseError::UnknownTopicId, refusal)
                }
                None => {
                    let name = self.topics.by_id(id).map(Topic::wire_name);
                    (Some(id), name, ResponseError::UnknownTopicId, Ok(()))
                }
            };
            let refusal = match id {
                Some(id) if refusal.is_ok() && ids.contains(&id) => {
                    if responses.iter().any(|told| told.topic_id == id) {
                        continue;
                    }
                    refused("The provided topic name maps to an ID that was already supplied.")
                }
                _ => refusal,
            };
            let result = refusal.and_then(|()| self.delete_topic(id, unknown));
            responses.push(deletion_result(version, name, id, result));
        }
        DeleteTopicsResponse::default().with_responses(responses)
    }

    fn delete_topic(&mut self, id: Option<Uuid>, unknown: ResponseError) -> Result<(), Refusal> {
        let name = id.and_then(|id| self.topics.name_of(id)).map(str::to_owned);
        let (Some(id), Some(name)) = (id, name) else {
            let what = if unknown == ResponseError::UnknownTopicId { "topic ID" } else { "topic-partition" };
            return Err((unknown, format!("This server does not host this {what}.")));
        };
        let mut entries = Vec::new();
        self.groups.forget_topic(&name, &mut entries);
        let refused = |error| (error, "The broker cannot write to its data folder.".to_owned());
        entries.push(Entry::TopicDeleted { id });
        self.record(&entries).map_err(refused)?;
        entries.into_iter().for_each(|entry| self.groups.play(entry));
        let removed = self.topics.remove(id);
        // Were the files gone and the entry lost with the machine, the topic would come back empty and count from zero. Files that stay now
        // are removed at the next start.
        if self.sync_journal().is_ok()
            && let Some(topic) = removed
            && let Err(error) = self.store.remove(&topic.folder())
        {
            tracing::warn!(topic = name, "cannot remove the topic's files now: {error}");
        }
        self.awakened.extend(self.fetches.watching_topic(id));
        Ok(())
    }

    pub(super) fn create_partitions(&mut self, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
        let repeated = repeated(request.topics.iter().map(|topic| topic.name.clone()));
        let mut results: Vec<CreatePartitionsTopicResult> = Vec::new();
        for asked in request.topics {
            let is_repeated = repeated.contains(&asked.name);
            if is_repeated && results.iter().any(|result| result.name == asked.name) {
                continue;
            }
            let assigned = asked.assignments.map(|list| list.into_iter().map(|one| one.broker_ids).collect());
            let result = if is_repeated {
                Err((ResponseError::InvalidRequest, "Duplicate topic name.".to_owned()))
            } else {
                self.add_partitions(&asked.name, asked.count, assigned, request.validate_only)
            };
            let (error, message) = match result {
                Ok(()) => (0, None),
                Err((error, message)) => (code(error), (!message.is_empty()).then(|| message.into())),
            };
            results.push(
                CreatePartitionsTopicResult::default()
                    .with_name(asked.name)
                    .with_error_code(error)
                    .with_error_message(message),
            );
        }
        CreatePartitionsResponse::default().with_results(results)
    }

    fn add_partitions(
        &mut self,
        name: &str,
        count: i32,
        assigned: Option<Vec<Vec<BrokerId>>>,
        validate_only: bool,
    ) -> Result<(), Refusal> {
        let Some(topic) = self.topics.get(name) else {
            return Err((ResponseError::UnknownTopicOrPartition, String::new()));
        };
        let (id, present) = (topic.id, topic.partition_count());
        if count <= present {
            let reason = if count == present {
                format!("Topic already has {present} partition(s).")
            } else {
                format!("The topic {name} currently has {present} partition(s); {count} would not be an increase.")
            };
            return Err((ResponseError::InvalidPartitions, reason));
        }
        if count > MAX_PARTITIONS {
            let reason = format!("This broker keeps at most {MAX_PARTITIONS} partitions of a topic.");
            return Err((ResponseError::InvalidPartitions, reason));
        }
        if let Some(assigned) = assigned {
            let given = assigned.len();
            if i32::try_from(given) != Ok(count - present) {
                let reason = format!(
                    "Attempted to add {} additional partition(s), but only {given} assignment(s) were specified.",
                    count - present
                );
                return Err((ResponseError::InvalidReplicaAssignment, reason));
            }
            assigned.iter().try_for_each(|brokers| self.check_assigned(brokers))?;
        }
        if validate_only {
            return Ok(());
        }
        self.record_topic_change(Entry::PartitionsAdded { id, partitions: count })
    }
}

/// What is named more than once.
pub(super) fn repeated<T: Ord>(names: impl Iterator<Item = T>) -> BTreeSet<T> {
    let (mut seen, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    for name in names {
        match seen.take(&name) {
            None => drop(seen.insert(name)),
            Some(before) => {
                repeated.insert(before);
                seen.insert(name);
            }
        }
    }
    repeated
}

fn refused_topic(name: TopicName, (error, message): Refusal) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(name)
        .with_error_code(code(error))
        .with_error_message(Some(message.into()))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
}

fn deletion_result(
    version: i16,
    name: Option<TopicName>,
    id: Option<Uuid>,
    result: Result<(), Refusal>,
) -> DeletableTopicResult {
    let response = DeletableTopicResult::default().with_name(name).with_topic_id(id.unwrap_or_default());
    match result {
        Ok(()) => response,
        Err((error, message)) => {
            let message = (version >= 5).then(|| message.into());
            response.with_error_code(code(error)).with_error_message(message)
        }
    }
}
