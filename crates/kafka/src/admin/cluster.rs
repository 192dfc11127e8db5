//! Who the brokers are, and which of them is in charge.

use std::collections::HashMap;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{FindCoordinatorRequest, MetadataRequest, MetadataResponse, TopicName};

use super::{Admin, AdminError, Failure, Patience, ask, text, until_done};
use crate::consumer::TopicPartition;
use crate::error::KafkaError;
use crate::group::Coordinator;
use crate::net::{Broker, Target};

/// Kind of key in FindCoordinator.
const GROUP: i8 = 0;

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its id; very old brokers have none.
    pub id: Option<String>,
    /// The broker that takes changes of topics, if one is known.
    pub controller: Option<i32>,
    /// The brokers that are up, by id.
    pub nodes: Vec<Node>,
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
}

impl Admin {
    /// The brokers and their controller.
    pub async fn describe_cluster(&self) -> Result<Cluster, AdminError> {
        let mut patience = self.patience("a description of the cluster");
        let response = until_done!(patience, patience.metadata(Some(&[])))?;
        let mut nodes: Vec<Node> = response
            .brokers
            .iter()
            .map(|broker| Node {
                id: broker.node_id.0,
                host: broker.host.to_string(),
                port: broker.port,
                rack: broker.rack.as_ref().map(ToString::to_string),
            })
            .collect();
        nodes.sort_by_key(|node| node.id);
        let controller = (response.controller_id.0 >= 0).then_some(response.controller_id.0);
        Ok(Cluster { id: response.cluster_id.map(|id| id.to_string()), controller, nodes })
    }

    /// The broker that coordinates a group.
    pub async fn find_coordinator(&self, group: &str) -> Result<Coordinator, AdminError> {
        let mut patience = self.patience(format!("the coordinator of group {group}"));
        until_done!(patience, patience.coordinator(group))
    }
}

impl Patience<'_> {
    /// What brokers know of topics, of all without a list. Asking creates none. Brokers and controller are remembered.
    pub(super) async fn metadata(&self, topics: Option<&[&str]>) -> Result<MetadataResponse, Failure> {
        let named = |topic: &&str| MetadataRequestTopic::default().with_name(Some(TopicName(text(topic))));
        let topics = topics.map(|topics| topics.iter().map(named).collect());
        let request = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false);
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
        let request = FindCoordinatorRequest::default().with_key_type(GROUP).with_coordinator_keys(vec![text(group)]);
        let response = ask!(self, Target::Any, FindCoordinator(request));
        Failure::check(response.error_code, response.error_message.as_ref())?;
        let found = response.coordinators.into_iter().next().ok_or(Failure::Unanswered)?;
        Failure::check(found.error_code, found.error_message.as_ref())?;
        let port = u16::try_from(found.port).map_err(|_| Failure::Unanswered)?;
        Ok(Coordinator { node: found.node_id.0, host: found.host.to_string(), port })
    }
}
