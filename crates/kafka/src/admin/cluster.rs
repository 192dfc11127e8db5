//! Who the brokers are, and which of them is in charge.

use std::collections::HashMap;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    DescribeClusterRequest, FindCoordinatorRequest, MetadataRequest, MetadataResponse, TopicName,
};

use super::codes::{AclOperation, operations};
use super::{Admin, AdminError, Failure, Open, Patience, ask, text, until_done};
use crate::consumer::TopicPartition;
use crate::error::KafkaError;
use crate::group::Coordinator;
use crate::net::{Broker, Target};

/// Kinds of keys in FindCoordinator.
pub(super) const GROUP: i8 = 0;
pub(super) const TRANSACTION: i8 = 1;

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its id; very old brokers have none.
    pub id: Option<String>,
    /// The broker that takes changes of topics, if one is known.
    pub controller: Option<i32>,
    /// The brokers that are up, by id.
    pub nodes: Vec<Node>,
    /// What this principal may do to the cluster, if it was asked for.
    pub authorized_operations: Option<Vec<AclOperation>>,
}

/// What a description of the cluster tells beside the brokers: Java's `DescribeClusterOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterOptions {
    /// What this principal may do.
    pub authorized_operations: bool,
    /// Also brokers that are fenced. Needs Kafka 4.0.
    pub fenced_brokers: bool,
}

/// A broker of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: i32,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: i32,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Whether it is registered and not in service.
    pub fenced: bool,
}

impl Admin {
    /// The brokers and their controller.
    pub async fn describe_cluster(&self) -> Result<Cluster, AdminError> {
        self.describe_cluster_with(ClusterOptions::default()).await
    }

    /// As [`Self::describe_cluster`], with what is asked for beside it.
    pub async fn describe_cluster_with(&self, options: ClusterOptions) -> Result<Cluster, AdminError> {
        let mut patience = self.patience("a description of the cluster");
        until_done!(patience, patience.cluster(options))
    }

    /// The broker that coordinates a group.
    pub async fn find_coordinator(&self, group: &str) -> Result<Coordinator, AdminError> {
        let mut patience = self.patience(format!("the coordinator of group {group}"));
        until_done!(patience, patience.coordinator(group))
    }
}

impl Patience<'_> {
    async fn cluster(&self, options: ClusterOptions) -> Result<Cluster, Failure> {
        // Brokers are remembered from metadata, so that those of them can be asked that are in charge.
        let metadata = self.metadata(Some(&[])).await?;
        let request = DescribeClusterRequest::default()
            .with_include_cluster_authorized_operations(options.authorized_operations)
            .with_include_fenced_brokers(options.fenced_brokers);
        let mut cluster = match self.described(request).await {
            Ok(cluster) => cluster,
            // A broker that cannot describe its cluster, before Kafka 2.8, still has metadata, as in Java.
            Err(Failure::Refused(error)) if error.is_unsupported() && options == ClusterOptions::default() => Cluster {
                controller: (metadata.controller_id.0 >= 0).then_some(metadata.controller_id.0),
                nodes: metadata
                    .brokers
                    .iter()
                    .map(|broker| Node {
                        id: broker.node_id.0,
                        host: broker.host.to_string(),
                        port: broker.port,
                        rack: broker.rack.as_ref().map(ToString::to_string),
                        fenced: false,
                    })
                    .collect(),
                id: metadata.cluster_id.map(|id| id.to_string()),
                authorized_operations: None,
            },
            Err(failure) => return Err(failure),
        };
        cluster.nodes.sort_by_key(|node| node.id);
        Ok(cluster)
    }

    async fn described(&self, request: DescribeClusterRequest) -> Result<Cluster, Failure> {
        let response = ask!(self, Target::Any, DescribeCluster(request));
        Failure::check(response.error_code, response.error_message.as_ref())?;
        let nodes = response.brokers.into_iter().map(|broker| Node {
            id: broker.broker_id.0,
            host: broker.host.to_string(),
            port: broker.port,
            rack: broker.rack.map(|rack| rack.to_string()),
            fenced: broker.is_fenced,
        });
        Ok(Cluster {
            nodes: nodes.collect(),
            id: Some(response.cluster_id.to_string()),
            controller: (response.controller_id.0 >= 0).then_some(response.controller_id.0),
            authorized_operations: operations(response.cluster_authorized_operations),
        })
    }

    /// What brokers know of topics, of all without a list. Asking creates none. Brokers and controller are remembered.
    pub(super) async fn metadata(&self, topics: Option<&[&str]>) -> Result<MetadataResponse, Failure> {
        self.metadata_with(topics, false).await
    }

    /// As [`Self::metadata`], with what this principal may do to the topics.
    pub(super) async fn metadata_with(
        &self,
        topics: Option<&[&str]>,
        operations: bool,
    ) -> Result<MetadataResponse, Failure> {
        let named = |topic: &&str| MetadataRequestTopic::default().with_name(Some(TopicName(text(topic))));
        let topics = topics.map(|topics| topics.iter().map(named).collect());
        let request = MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(false)
            .with_include_topic_authorized_operations(operations);
        let response = ask!(self, Target::Any, Metadata(request));
        let brokers: Vec<Broker> = response
            .brokers
            .iter()
            .filter_map(|broker| {
                let port = u16::try_from(broker.port).ok()?;
                Some(Broker { node: broker.node_id.0, host: broker.host.to_string(), port })
            })
            .collect();
        self.admin.transport.brokers(&brokers);
        let controller = response.controller_id.0;
        *self.admin.controller.lock() = brokers.iter().any(|broker| broker.node == controller).then_some(controller);
        Ok(response)
    }

    /// Who takes changes of topics. Where none is known, any broker will do: since KRaft they pass changes on.
    pub(super) async fn controller(&self) -> Result<Target, Failure> {
        let known = *self.admin.controller.lock();
        if let Some(node) = known {
            return Ok(Target::Node(node));
        }
        self.metadata(Some(&[])).await?;
        let known = *self.admin.controller.lock();
        Ok(known.map_or(Target::Any, Target::Node))
    }

    /// Partitions by leader; `refuse` gets those that have none, with the reason.
    pub(super) async fn by_leader(
        &self,
        partitions: &[TopicPartition],
        mut refuse: impl FnMut(&TopicPartition, KafkaError),
    ) -> Result<HashMap<i32, Vec<TopicPartition>>, Failure> {
        let mut topics: Vec<&str> = partitions.iter().map(|partition| &*partition.topic).collect();
        topics.sort_unstable();
        topics.dedup();
        let response = self.metadata(Some(&topics)).await?;
        let mut leaders: HashMap<i32, Vec<TopicPartition>> = HashMap::new();
        for wanted in partitions {
            let found = response
                .topics
                .iter()
                .find(|topic| topic.name.as_ref().is_some_and(|name| name.as_str() == &*wanted.topic));
            let Some(topic) = found else { return Err(Failure::Unanswered) };
            let place = topic.partitions.iter().find(|partition| partition.partition_index == wanted.partition);
            match (KafkaError::from_code(topic.error_code), place) {
                (Some(error), _) => refuse(wanted, error),
                (None, Some(place)) if place.leader_id.0 >= 0 => {
                    leaders.entry(place.leader_id.0).or_default().push(wanted.clone());
                }
                (None, place) => {
                    // No leader now, or no such partition.
                    let code = place.map_or(3, |place| if place.error_code == 0 { 5 } else { place.error_code });
                    KafkaError::from_code(code).into_iter().for_each(|error| refuse(wanted, error));
                }
            }
        }
        Ok(leaders)
    }

    pub(super) async fn coordinator(&self, group: &str) -> Result<Coordinator, Failure> {
        let found = self.coordinators(GROUP, &[group.to_owned()]).await?.pop();
        found.ok_or(Failure::Unanswered)?.1.map_err(Failure::Refused)
    }

    /// Who coordinates groups or transactions.
    pub(super) async fn coordinators(
        &self,
        kind: i8,
        keys: &[String],
    ) -> Result<Vec<(String, Result<Coordinator, KafkaError>)>, Failure> {
        let request = FindCoordinatorRequest::default()
            .with_key_type(kind)
            .with_coordinator_keys(keys.iter().map(|key| text(key)).collect());
        let response = ask!(self, Target::Any, FindCoordinator(request));
        Failure::check(response.error_code, response.error_message.as_ref())?;
        let found = response.coordinators.into_iter().map(|found| {
            let outcome = match KafkaError::from_answer(found.error_code, found.error_message.as_deref()) {
                Some(error) => Err(error),
                None => {
                    let port = u16::try_from(found.port).map_err(|_| Failure::Unanswered)?;
                    Ok(Coordinator { node: found.node_id.0, host: found.host.to_string(), port })
                }
            };
            Ok((found.key.to_string(), outcome))
        });
        found.collect()
    }

    /// What is still open, by coordinator. What has none is settled.
    pub(super) async fn by_coordinator<T>(
        &self,
        kind: i8,
        open: &mut Open<String, T>,
    ) -> Result<Vec<(Coordinator, Vec<String>)>, Failure> {
        let mut by: Vec<(Coordinator, Vec<String>)> = Vec::new();
        if open.left.is_empty() {
            return Ok(by);
        }
        for (key, found) in self.coordinators(kind, &open.left.clone()).await? {
            match found {
                Err(error) => open.settle(&key, Err(error)),
                Ok(coordinator) => match by.iter_mut().find(|(known, _)| *known == coordinator) {
                    Some((_, keys)) => keys.push(key),
                    None => by.push((coordinator, vec![key])),
                },
            }
        }
        Ok(by)
    }
}
