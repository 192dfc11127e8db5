//! Topics: made, listed, described, widened, deleted.

use std::collections::BTreeMap;

use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, TopicName,
};
use uuid::Uuid;

use super::codes::{AclOperation, operations};
use super::{Admin, AdminError, Failure, Open, Outcomes, Patience, ask, text, until_done};
use crate::error::{KafkaError, code};
use crate::topic_log::{Creation, NewTopic};

/// A topic in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicListing {
    /// Its name.
    pub name: String,
    /// Its id; nil at brokers that give none.
    pub id: Uuid,
    /// Whether it is Kafka's own.
    pub internal: bool,
}

/// A topic to be made, with its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicToCreate {
    /// Its name.
    pub name: String,
    /// How wide and where.
    pub layout: TopicLayout,
    /// Settings that differ from the cluster's.
    pub config: BTreeMap<String, String>,
}

/// How wide a new topic is and where its replicas are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicLayout {
    /// So many partitions and replicas of each, where the cluster likes; none for its `num.partitions` and `default.replication.factor`.
    Counted {
        /// How many partitions.
        partitions: Option<i32>,
        /// How many replicas of each.
        replicas: Option<i16>,
    },
    /// The brokers of each partition, the preferred leader first.
    Assigned(BTreeMap<i32, Vec<i32>>),
}

impl Default for TopicLayout {
    fn default() -> Self {
        Self::Counted { partitions: None, replicas: None }
    }
}

/// A topic that was made, or would have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id; nil at brokers that give none.
    pub id: Uuid,
    /// How many partitions it has. None if this principal must not see it, and at brokers before Kafka 2.4.
    pub partitions: Option<i32>,
    /// How many replicas of each, as above.
    pub replicas: Option<i16>,
}

/// How wide a topic is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MorePartitions {
    /// How many partitions it is to have in all.
    pub total: i32,
    /// The brokers of each new one; none where the cluster likes.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id; nil at brokers that give none.
    pub id: Uuid,
    /// Whether it is Kafka's own.
    pub internal: bool,
    /// Its partitions by number.
    pub partitions: Vec<PartitionDescription>,
    /// What this principal may do to it, where it was asked for.
    pub authorized_operations: Option<Vec<AclOperation>>,
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub partition: i32,
    /// The broker that leads it; none if none does.
    pub leader: Option<i32>,
    /// The brokers that have it.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub in_sync: Vec<i32>,
    /// Those of them that are away.
    pub offline: Vec<i32>,
}

impl Admin {
    /// All topics that this principal may see, by name.
    pub async fn list_topics(&self) -> Result<Vec<TopicListing>, AdminError> {
        let mut patience = self.patience("the list of topics");
        let response = until_done!(patience, patience.metadata(None))?;
        let listed = response.topics.into_iter().filter(|topic| topic.error_code == 0);
        let listed = listed.filter_map(|topic| {
            let (id, internal) = (topic.topic_id, topic.is_internal);
            Some(TopicListing { name: topic.name?.as_str().to_owned(), id, internal })
        });
        let mut topics: Vec<_> = listed.collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// Topics by name. One that does not exist is `UnknownTopicOrPartitionException`, at once: it is not created by asking.
    pub async fn describe_topics(&self, names: &[&str]) -> Result<Outcomes<String, TopicDescription>, AdminError> {
        self.describe_topics_with(names, false).await
    }

    /// As [`Self::describe_topics`], with what this principal may do to them where `operations` asks for it.
    pub async fn describe_topics_with(
        &self,
        names: &[&str],
        operations: bool,
    ) -> Result<Outcomes<String, TopicDescription>, AdminError> {
        let mut patience = self.patience(match names {
            [name] => format!("a description of topic {name}"),
            names => format!("a description of topics {}", names.join(", ")),
        });
        let mut open = Open::new(names.iter().map(|name| (*name).to_owned()));
        let end = until_done!(patience, patience.describe(operations, &mut open));
        open.close(end)
    }

    /// How many partitions a topic has; none if it does not exist. It is not created by asking.
    pub async fn partitions(&self, topic: &str) -> Result<Option<usize>, AdminError> {
        match self.describe_topics(&[topic]).await?.remove(topic) {
            Some(Ok(found)) => Ok(Some(found.partitions.len())),
            Some(Err(error)) if !error.is(code::UNKNOWN_TOPIC_OR_PARTITION) => {
                Err(AdminError::Refused { what: format!("a description of topic {topic}"), error })
            }
            Some(Err(_)) | None => Ok(None),
        }
    }

    /// Makes a topic unless it exists.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<Creation, AdminError> {
        let mut patience = self.patience(format!("the creation of topic {}", topic.name));
        until_done!(patience, patience.create(topic))
    }

    /// Makes topics. One that is there already is `TopicExistsException`. `validate_only` makes none and says what would have become of it.
    pub async fn create_topics(
        &self,
        topics: &[TopicToCreate],
        validate_only: bool,
    ) -> Result<Outcomes<String, CreatedTopic>, AdminError> {
        let mut patience = self.patience("the creation of topics");
        let mut open = Open::new(topics.iter().map(|topic| topic.name.clone()));
        let end = until_done!(patience, patience.create_topics(topics, validate_only, &mut open));
        open.close(end)
    }

    /// Deletes topics.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<Outcomes<String, ()>, AdminError> {
        let mut patience = self.patience(format!("the deletion of topics {}", names.join(", ")));
        let mut open = Open::new(names.iter().map(|name| (*name).to_owned()));
        let end = until_done!(patience, patience.delete(&mut open));
        open.close(end)
    }

    /// Widens a topic to so many partitions. Keys then go elsewhere than before.
    pub async fn create_partitions(&self, topic: &str, total: i32) -> Result<(), AdminError> {
        let wanted = BTreeMap::from([(topic.to_owned(), MorePartitions { total, assignments: None })]);
        let outcome = self.widen_topics(&wanted, false).await?.remove(topic);
        outcome
            .expect("what was asked for has an outcome")
            .map_err(|error| AdminError::Refused { what: format!("more partitions of topic {topic}"), error })
    }

    /// As [`Self::create_partitions`], many. `validate_only` changes nothing.
    pub async fn widen_topics(
        &self,
        topics: &BTreeMap<String, MorePartitions>,
        validate_only: bool,
    ) -> Result<Outcomes<String, ()>, AdminError> {
        let mut patience = self.patience("more partitions of topics");
        let mut open = Open::new(topics.keys().cloned());
        let end = until_done!(patience, patience.widen(topics, validate_only, &mut open));
        open.close(end)
    }
}

impl Patience<'_> {
    async fn describe(&self, with_operations: bool, open: &mut Open<String, TopicDescription>) -> Result<(), Failure> {
        let names: Vec<String> = open.left.clone();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let response = self.metadata_with(Some(&names), with_operations).await?;
        for topic in response.topics {
            let Some(name) = topic.name.as_ref().map(|name| name.as_str().to_owned()) else { continue };
            let outcome = match KafkaError::from_code(topic.error_code) {
                // It may appear later, but whoever asks whether it is there wants to know now.
                Some(error) if error.is(code::UNKNOWN_TOPIC_OR_PARTITION) => {
                    Err(KafkaError { retriable: false, ..error })
                }
                Some(error) => Err(error),
                None => {
                    let mut partitions: Vec<_> = topic
                        .partitions
                        .iter()
                        .map(|partition| PartitionDescription {
                            partition: partition.partition_index,
                            leader: (partition.leader_id.0 >= 0).then_some(partition.leader_id.0),
                            replicas: partition.replica_nodes.iter().map(|node| node.0).collect(),
                            in_sync: partition.isr_nodes.iter().map(|node| node.0).collect(),
                            offline: partition.offline_replicas.iter().map(|node| node.0).collect(),
                        })
                        .collect();
                    partitions.sort_by_key(|partition| partition.partition);
                    let (id, internal) = (topic.topic_id, topic.is_internal);
                    let authorized_operations =
                        operations(topic.topic_authorized_operations).filter(|_| with_operations);
                    Ok(TopicDescription { name: name.clone(), id, internal, partitions, authorized_operations })
                }
            };
            open.settle(&name, outcome);
        }
        open.remaining()
    }

    async fn create(&self, topic: &NewTopic) -> Result<Creation, Failure> {
        let config = |(key, value): (&String, &String)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        };
        let wanted = CreatableTopic::default()
            .with_name(TopicName(text(&topic.name)))
            .with_num_partitions(topic.partitions)
            .with_replication_factor(topic.replication_factor)
            .with_configs(topic.config.iter().map(config).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(self.admin.timeout_ms());
        let response = ask!(self, self.controller().await?, CreateTopics(request));
        let made = response.topics.first().ok_or(Failure::Unanswered)?;
        match made.error_code {
            code::TOPIC_ALREADY_EXISTS => Ok(Creation::Exists),
            code::TOPIC_AUTHORIZATION_FAILED | code::CLUSTER_AUTHORIZATION_FAILED | code::UNSUPPORTED_VERSION => {
                Ok(Creation::NotAllowed)
            }
            other => Failure::check(other, made.error_message.as_ref()).map(|()| Creation::Created),
        }
    }

    async fn create_topics(
        &self,
        topics: &[TopicToCreate],
        validate_only: bool,
        open: &mut Open<String, CreatedTopic>,
    ) -> Result<(), Failure> {
        let wanted = topics.iter().filter(|topic| open.left.contains(&topic.name)).map(|topic| {
            let config = |(key, value): (&String, &String)| {
                CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
            };
            let wanted = CreatableTopic::default()
                .with_name(TopicName(text(&topic.name)))
                .with_configs(topic.config.iter().map(config).collect());
            match &topic.layout {
                TopicLayout::Counted { partitions, replicas } => {
                    wanted.with_num_partitions(partitions.unwrap_or(-1)).with_replication_factor(replicas.unwrap_or(-1))
                }
                TopicLayout::Assigned(assignments) => {
                    let assigned = assignments.iter().map(|(partition, brokers)| {
                        CreatableReplicaAssignment::default()
                            .with_partition_index(*partition)
                            .with_broker_ids(brokers.iter().copied().map(BrokerId).collect())
                    });
                    wanted.with_num_partitions(-1).with_replication_factor(-1).with_assignments(assigned.collect())
                }
            }
        });
        let request = CreateTopicsRequest::default()
            .with_topics(wanted.collect())
            .with_timeout_ms(self.admin.timeout_ms())
            .with_validate_only(validate_only);
        let response = ask!(self, self.controller().await?, CreateTopics(request));
        for made in &response.topics {
            let created = CreatedTopic {
                id: made.topic_id,
                partitions: (made.num_partitions >= 0).then_some(made.num_partitions),
                replicas: (made.replication_factor >= 0).then_some(made.replication_factor),
            };
            let error = KafkaError::from_answer(made.error_code, made.error_message.as_deref());
            open.settle_now(&made.name.as_str().to_owned(), error.map_or(Ok(created), Err));
        }
        open.remaining()
    }

    async fn delete(&self, open: &mut Open<String, ()>) -> Result<(), Failure> {
        let names = open.left.iter().map(|name| TopicName(text(name))).collect();
        let request = DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(self.admin.timeout_ms());
        let response = ask!(self, self.controller().await?, DeleteTopics(request));
        for deleted in &response.responses {
            let Some(name) = &deleted.name else { continue };
            let error = KafkaError::from_answer(deleted.error_code, deleted.error_message.as_deref());
            open.settle_now(&name.as_str().to_owned(), error.map_or(Ok(()), Err));
        }
        open.remaining()
    }

    async fn widen(
        &self,
        topics: &BTreeMap<String, MorePartitions>,
        validate_only: bool,
        open: &mut Open<String, ()>,
    ) -> Result<(), Failure> {
        let wanted = topics.iter().filter(|(topic, _)| open.left.contains(topic)).map(|(topic, more)| {
            let assignment = |brokers: &Vec<i32>| {
                CreatePartitionsAssignment::default().with_broker_ids(brokers.iter().copied().map(BrokerId).collect())
            };
            CreatePartitionsTopic::default()
                .with_name(TopicName(text(topic)))
                .with_count(more.total)
                .with_assignments(more.assignments.as_ref().map(|all| all.iter().map(assignment).collect()))
        });
        let request = CreatePartitionsRequest::default()
            .with_topics(wanted.collect())
            .with_timeout_ms(self.admin.timeout_ms())
            .with_validate_only(validate_only);
        let response = ask!(self, self.controller().await?, CreatePartitions(request));
        for done in &response.results {
            let error = KafkaError::from_answer(done.error_code, done.error_message.as_deref());
            open.settle_now(&done.name.as_str().to_owned(), error.map_or(Ok(()), Err));
        }
        open.remaining()
    }
}
