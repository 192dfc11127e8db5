//! Members of groups: those of groups that the broker assigns (KIP-848) described, and any of them removed.

use std::collections::BTreeSet;

use kafka_protocol::messages::consumer_group_describe_response::Assignment;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{ConsumerGroupDescribeRequest, GroupId, LeaveGroupRequest};

use super::cluster::GROUP;
use super::codes::{AclOperation, operations};
use super::{Admin, AdminError, Failure, Open, Outcomes, Patience, ask, coordinator, text, until_done};
use crate::consumer::TopicPartition;
use crate::error::KafkaError;

/// A group of the consumer protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupDescription {
    /// Its name.
    pub group_id: String,
    /// `Stable`, `Empty`, `Assigning`, `Reconciling` or `Dead`.
    pub state: String,
    /// Counts changes of its members and topics.
    pub epoch: i32,
    /// The epoch that its assignment is of.
    pub assignment_epoch: i32,
    /// What assigns: `uniform`, `range`.
    pub assignor: String,
    /// Its members.
    pub members: Vec<ConsumerGroupMember>,
    /// The broker that coordinates it.
    pub coordinator: i32,
    /// What this principal may do to it, where it was asked for.
    pub authorized_operations: Option<Vec<AclOperation>>,
}

/// A member of such a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupMember {
    /// Its id.
    pub member_id: String,
    /// `group.instance.id`.
    pub instance_id: Option<String>,
    /// `client.rack`.
    pub rack: Option<String>,
    /// The epoch that it has reached.
    pub epoch: i32,
    /// `client.id`.
    pub client_id: String,
    /// Its address as the coordinator sees it.
    pub host: String,
    /// The topics it named.
    pub topics: Vec<String>,
    /// The regular expression it named.
    pub topic_regex: Option<String>,
    /// What it has.
    pub assignment: BTreeSet<TopicPartition>,
    /// What it shall have.
    pub target: BTreeSet<TopicPartition>,
    /// Whether it speaks the classic protocol still; unknown to brokers before Kafka 4.0.
    pub classic: Option<bool>,
}

/// Whom to remove from a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberToRemove {
    /// The member with this `group.instance.id`.
    Instance(String),
    /// The member with this id.
    Member(String),
}

impl Admin {
    /// Groups of the consumer protocol. One that is not there, or of another protocol, is `GroupIdNotFoundException`.
    pub async fn describe_consumer_groups(
        &self,
        groups: &[&str],
        operations: bool,
    ) -> Result<Outcomes<String, ConsumerGroupDescription>, AdminError> {
        let mut patience = self.patience(format!("a description of groups {}", groups.join(", ")));
        let mut open = Open::new(groups.iter().map(|group| (*group).to_owned()));
        let end = until_done!(patience, patience.consumer_groups(operations, &mut open));
        open.close(end)
    }

    /// Removes members from a classic group; the others share what they had. The broker logs the reason.
    pub async fn remove_members(
        &self,
        group: &str,
        members: &[MemberToRemove],
        reason: &str,
    ) -> Result<Outcomes<MemberToRemove, ()>, AdminError> {
        let mut patience = self.patience(format!("the removal of members from group {group}"));
        let mut open = Open::new(members.iter().cloned());
        let end = until_done!(patience, patience.remove(group, reason, &mut open));
        open.close(end)
    }
}

fn partitions(assignment: &Assignment) -> BTreeSet<TopicPartition> {
    let topics = assignment.topic_partitions.iter();
    let partitions = topics.flat_map(|topic| {
        let name = topic.topic_name.as_str();
        topic.partitions.iter().map(move |partition| TopicPartition::new(name, *partition))
    });
    partitions.collect()
}

impl Patience<'_> {
    async fn consumer_groups(
        &self,
        with_operations: bool,
        open: &mut Open<String, ConsumerGroupDescription>,
    ) -> Result<(), Failure> {
        for (by, groups) in self.by_coordinator(GROUP, open).await? {
            let request = ConsumerGroupDescribeRequest::default()
                .with_group_ids(groups.iter().map(|group| GroupId(text(group))).collect())
                .with_include_authorized_operations(with_operations);
            let node = by.node;
            let response = ask!(self, coordinator(by), ConsumerGroupDescribe(request));
            for found in response.groups {
                let group_id = found.group_id.to_string();
                if let Some(error) = KafkaError::from_answer(found.error_code, found.error_message.as_deref()) {
                    open.settle(&group_id, Err(error));
                    continue;
                }
                let members = found.members.into_iter().map(|member| ConsumerGroupMember {
                    assignment: partitions(&member.assignment),
                    target: partitions(&member.target_assignment),
                    member_id: member.member_id.to_string(),
                    instance_id: member.instance_id.map(|id| id.to_string()),
                    rack: member.rack_id.map(|rack| rack.to_string()),
                    epoch: member.member_epoch,
                    client_id: member.client_id.to_string(),
                    host: member.client_host.to_string(),
                    topics: member.subscribed_topic_names.iter().map(|name| name.as_str().to_owned()).collect(),
                    topic_regex: member.subscribed_topic_regex.map(|regex| regex.to_string()),
                    classic: match member.member_type {
                        0 => Some(true),
                        1 => Some(false),
                        _ => None,
                    },
                });
                let described = ConsumerGroupDescription {
                    group_id: group_id.clone(),
                    state: found.group_state.to_string(),
                    epoch: found.group_epoch,
                    assignment_epoch: found.assignment_epoch,
                    assignor: found.assignor_name.to_string(),
                    members: members.collect(),
                    coordinator: node,
                    authorized_operations: operations(found.authorized_operations).filter(|_| with_operations),
                };
                open.settle(&group_id, Ok(described));
            }
        }
        open.remaining()
    }

    async fn remove(&self, group: &str, reason: &str, open: &mut Open<MemberToRemove, ()>) -> Result<(), Failure> {
        let members = open.left.iter().map(|member| {
            let identity = MemberIdentity::default().with_reason(Some(text(reason)));
            match member {
                MemberToRemove::Instance(id) => identity.with_group_instance_id(Some(text(id))),
                MemberToRemove::Member(id) => identity.with_member_id(text(id)),
            }
        });
        let request = LeaveGroupRequest::default().with_group_id(GroupId(text(group))).with_members(members.collect());
        let response = ask!(self, coordinator(self.coordinator(group).await?), LeaveGroup(request));
        Failure::check(response.error_code, None)?;
        for left in &response.members {
            let member = match &left.group_instance_id {
                Some(id) => MemberToRemove::Instance(id.to_string()),
                None => MemberToRemove::Member(left.member_id.to_string()),
            };
            open.settle(&member, KafkaError::from_code(left.error_code).map_or(Ok(()), Err));
        }
        open.remaining()
    }
}
