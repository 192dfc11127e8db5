//! Topics: made, listed, described, widened, deleted.

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, TopicName};
use uuid::Uuid;

use super::{Admin, AdminError, Failure, Open, Outcomes, Patience, ask, text, until_done};
use crate::error::{KafkaError, code};
use crate::topic_log::{Creation, NewTopic};

/// A topic in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicListing {
    /// Its name.
    pub name: String,
    /// Whether it is Kafka's own.
    pub internal: bool,
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
}

impl Admin {
    /// All topics that this principal may see, by name.
    pub async fn list_topics(&self) -> Result<Vec<TopicListing>, AdminError> {
        let mut patience = self.patience("the list of topics");
        let response = until_done!(patience, patience.metadata(None))?;
        let listed = response.topics.into_iter().filter(|topic| topic.error_code == 0);
        let listed = listed.filter_map(|topic| {
            Some(TopicListing { name: topic.name?.as_str().to_owned(), internal: topic.is_internal })
        });
        let mut topics: Vec<_> = listed.collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// Topics by name. One that does not exist is `UnknownTopicOrPartitionException`, at once: it is not created by asking.
    pub async fn describe_topics(&self, names: &[&str]) -> Result<Outcomes<String, TopicDescription>, AdminError> {
        let mut patience = self.patience(match names {
            [name] => format!("a description of topic {name}"),
            names => format!("a description of topics {}", names.join(", ")),
        });
        let mut open = Open::new(names.iter().map(|name| (*name).to_owned()));
        let end = until_done!(patience, patience.describe(&mut open));
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

    /// Deletes topics.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<Outcomes<String, ()>, AdminError> {
        let mut patience = self.patience(format!("the deletion of topics {}", names.join(", ")));
        let mut open = Open::new(names.iter().map(|name| (*name).to_owned()));
        let end = until_done!(patience, patience.delete(&mut open));
        open.close(end)
    }

    /// Widens a topic to so many partitions. Keys then go elsewhere than before.
    pub async fn create_partitions(&self, topic: &str, total: i32) -> Result<(), AdminError> {
        let mut patience = self.patience(format!("more partitions of topic {topic}"));
        until_done!(patience, patience.widen(topic, total))
    }
}

impl Patience<'_> {
    async fn describe(&self, open: &mut Open<String, TopicDescription>) -> Result<(), Failure> {
        let names: Vec<String> = open.left.clone();
        let response = self.metadata(Some(&names.iter().map(String::as_str).collect::<Vec<_>>())).await?;
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
                        })
                        .collect();
                    partitions.sort_by_key(|partition| partition.partition);
                    let (id, internal) = (topic.topic_id, topic.is_internal);
                    Ok(TopicDescription { name: name.clone(), id, internal, partitions })
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

    async fn delete(&self, open: &mut Open<String, ()>) -> Result<(), Failure> {
        let names = open.left.iter().map(|name| TopicName(text(name))).collect();
        let request = DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(self.admin.timeout_ms());
        let response = ask!(self, self.controller().await?, DeleteTopics(request));
        for deleted in &response.responses {
            let Some(name) = &deleted.name else { continue };
            let error = KafkaError::from_answer(deleted.error_code, deleted.error_message.as_deref());
            // A topic that is not there will not be there later to be deleted.
            let error = error.map(|error| match error.is(code::UNKNOWN_TOPIC_OR_PARTITION) {
                true => KafkaError { retriable: false, ..error },
                false => error,
            });
            open.settle(&name.as_str().to_owned(), error.map_or(Ok(()), Err));
        }
        open.remaining()
    }

    async fn widen(&self, topic: &str, total: i32) -> Result<(), Failure> {
        let wanted =
            CreatePartitionsTopic::default().with_name(TopicName(text(topic))).with_count(total).with_assignments(None);
        let request =
            CreatePartitionsRequest::default().with_topics(vec![wanted]).with_timeout_ms(self.admin.timeout_ms());
        let response = ask!(self, self.controller().await?, CreatePartitions(request));
        let made = response.results.first().ok_or(Failure::Unanswered)?;
        Failure::check(made.error_code, made.error_message.as_ref())
    }
}
