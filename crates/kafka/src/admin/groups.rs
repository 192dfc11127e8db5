//! Groups of consumers: listed, described, deleted; and the offsets that they have committed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, TopicName,
};

use super::cluster::GROUP;
use super::codes::{AclOperation, operations};
use super::{Admin, AdminError, Failure, Open, Outcomes, Patience, ask, coordinator, text, until_done};
use crate::consumer::{OffsetAndMetadata, Offsets, TopicPartition};
use crate::error::{KafkaError, code};
use crate::net::Target;

/// Generation and epoch of whoever is no member.
const NO_GENERATION: i32 = -1;

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupListing {
    /// Its name.
    pub group_id: String,
    /// `consumer`, `connect`, or empty where only offsets are kept.
    pub protocol_type: String,
    /// `Stable`, `Empty` and so on; empty at brokers that do not say.
    pub state: String,
    /// `classic`, `consumer`, `share`, `streams`; empty at brokers that do not say.
    pub group_type: String,
}

/// Which groups are listed. Nothing means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFilter {
    /// In one of these states: `Stable`, `Empty`, …
    pub states: Vec<String>,
    /// Of one of these types: `classic`, `consumer`, …
    pub types: Vec<String>,
    /// With one of these types of protocol: `consumer`, `connect`, or the empty one of a group that only keeps offsets.
    pub protocol_types: Vec<String>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its name.
    pub group_id: String,
    /// `Stable`, `Empty`, `PreparingRebalance`, `CompletingRebalance` or `Dead`, which is what a group is called that is not there.
    pub state: String,
    /// `consumer`, `connect`.
    pub protocol_type: String,
    /// The protocol its members have agreed on.
    pub protocol: String,
    /// Its members.
    pub members: Vec<GroupMember>,
    /// The broker that coordinates it.
    pub coordinator: i32,
    /// What this principal may do to it, where it was asked for.
    pub authorized_operations: Option<Vec<AclOperation>>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// The id the coordinator gave it.
    pub member_id: String,
    /// `group.instance.id`.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Its address as the coordinator sees it.
    pub host: String,
    /// What it joined with, in the protocol's form.
    pub metadata: Bytes,
    /// Its share, in the protocol's form.
    pub assignment: Bytes,
}

impl Admin {
    /// The groups of all brokers that answer, by name.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, AdminError> {
        self.list_groups_with(&GroupFilter::default()).await
    }

    /// As [`Self::list_groups`], those that a filter lets through. A type is not asked of brokers before Kafka 3.8, nor a state before 2.6.
    pub async fn list_groups_with(&self, filter: &GroupFilter) -> Result<Vec<GroupListing>, AdminError> {
        let mut patience = self.patience("the list of groups");
        until_done!(patience, patience.groups(filter))
    }

    /// A group of the classic protocol.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, AdminError> {
        one(group, self.describe_groups(&[group], false).await?, "a description")
    }

    /// Groups of the classic protocol, with what this principal may do to them where `operations` asks for it. Since Kafka 4.0 one that is not there is
    /// `GroupIdNotFoundException`, before that it is `Dead`.
    pub async fn describe_groups(
        &self,
        groups: &[&str],
        operations: bool,
    ) -> Result<Outcomes<String, GroupDescription>, AdminError> {
        let mut patience = self.patience(format!("a description of groups {}", groups.join(", ")));
        let mut open = Open::new(groups.iter().map(|group| (*group).to_owned()));
        let end = until_done!(patience, patience.describe_groups(operations, &mut open));
        open.close(end)
    }

    /// Deletes a group that has no members, and its offsets.
    pub async fn delete_group(&self, group: &str) -> Result<(), AdminError> {
        one(group, self.delete_groups(&[group]).await?, "the deletion")
    }

    /// As [`Self::delete_group`], many.
    pub async fn delete_groups(&self, groups: &[&str]) -> Result<Outcomes<String, ()>, AdminError> {
        let mut patience = self.patience(format!("the deletion of groups {}", groups.join(", ")));
        let mut open = Open::new(groups.iter().map(|group| (*group).to_owned()));
        let end = until_done!(patience, patience.delete_groups(&mut open));
        open.close(end)
    }

    /// All offsets that a group has committed; none for a group that is not there.
    pub async fn group_offsets(&self, group: &str) -> Result<Offsets, AdminError> {
        let mut patience = self.patience(format!("the offsets of group {group}"));
        until_done!(patience, patience.group_offsets(group, None, false))
    }

    /// The offsets that a group has committed for these partitions; those that have none are left out. With `require_stable` it is waited for transactions that
    /// have offsets of the group open.
    pub async fn group_offsets_of(
        &self,
        group: &str,
        partitions: &BTreeSet<TopicPartition>,
        require_stable: bool,
    ) -> Result<Offsets, AdminError> {
        let mut patience = self.patience(format!("the offsets of group {group}"));
        until_done!(patience, patience.group_offsets(group, Some(partitions), require_stable))
    }

    /// Commits offsets for a group. It must have no members (`UnknownMemberIdException` otherwise).
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: &Offsets,
    ) -> Result<Outcomes<TopicPartition, ()>, AdminError> {
        let mut patience = self.patience(format!("a change of the offsets of group {group}"));
        let mut open = Open::new(offsets.keys().cloned());
        let end = until_done!(patience, patience.commit(group, offsets, &mut open));
        open.close(end)
    }

    /// Forgets offsets of a group, for topics that none of its members reads (`GroupSubscribedToTopicException` otherwise).
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<Outcomes<TopicPartition, ()>, AdminError> {
        let mut patience = self.patience(format!("the deletion of offsets of group {group}"));
        let mut open = Open::new(partitions.iter().cloned());
        let end = until_done!(patience, patience.delete_offsets(group, &mut open));
        open.close(end)
    }
}

/// The outcome of a call for one group.
fn one<T>(group: &str, mut outcomes: Outcomes<String, T>, what: &str) -> Result<T, AdminError> {
    let outcome = outcomes.remove(group).expect("what was asked for has an outcome");
    outcome.map_err(|error| AdminError::Refused { what: format!("{what} of group {group}"), error })
}

/// What became of one partition. One that is not there is not waited for, as in Java.
fn outcome(error_code: i16) -> Result<(), KafkaError> {
    match KafkaError::from_code(error_code) {
        None => Ok(()),
        Some(error) if error.is(code::UNKNOWN_TOPIC_OR_PARTITION) => Err(KafkaError { retriable: false, ..error }),
        Some(error) => Err(error),
    }
}

impl Patience<'_> {
    async fn groups(&self, filter: &GroupFilter) -> Result<Vec<GroupListing>, Failure> {
        let brokers = self.metadata(Some(&[])).await?.brokers;
        let request = ListGroupsRequest::default()
            .with_states_filter(filter.states.iter().map(|state| text(state)).collect())
            .with_types_filter(filter.types.iter().map(|kind| text(kind)).collect());
        let mut groups = BTreeSet::new();
        for broker in brokers {
            let response = ask!(self, Target::Node(broker.node_id.0), ListGroups(request.clone()));
            Failure::check(response.error_code, None)?;
            let wanted = |protocol: &str| {
                filter.protocol_types.is_empty() || filter.protocol_types.iter().any(|wanted| wanted == protocol)
            };
            let listed = response.groups.into_iter().filter(|group| wanted(&group.protocol_type));
            groups.extend(listed.map(|group| GroupListing {
                group_id: group.group_id.to_string(),
                protocol_type: group.protocol_type.to_string(),
                state: group.group_state.to_string(),
                group_type: group.group_type.to_string(),
            }));
        }
        Ok(groups.into_iter().collect())
    }

    /// Whom to ask about a group.
    async fn of_group(&self, group: &str) -> Result<Target, Failure> {
        Ok(coordinator(self.coordinator(group).await?))
    }

    async fn describe_groups(
        &self,
        with_operations: bool,
        open: &mut Open<String, GroupDescription>,
    ) -> Result<(), Failure> {
        for (by, groups) in self.by_coordinator(GROUP, open).await? {
            let request = DescribeGroupsRequest::default()
                .with_groups(groups.iter().map(|group| GroupId(text(group))).collect())
                .with_include_authorized_operations(with_operations);
            let node = by.node;
            let response = ask!(self, coordinator(by), DescribeGroups(request));
            for found in response.groups {
                let group_id = found.group_id.to_string();
                if let Some(error) = KafkaError::from_answer(found.error_code, found.error_message.as_deref()) {
                    open.settle(&group_id, Err(error));
                    continue;
                }
                let members = found.members.into_iter().map(|member| GroupMember {
                    member_id: member.member_id.to_string(),
                    instance_id: member.group_instance_id.map(|id| id.to_string()),
                    client_id: member.client_id.to_string(),
                    host: member.client_host.to_string(),
                    metadata: member.member_metadata,
                    assignment: member.member_assignment,
                });
                let described = GroupDescription {
                    group_id: group_id.clone(),
                    state: found.group_state.to_string(),
                    protocol_type: found.protocol_type.to_string(),
                    protocol: found.protocol_data.to_string(),
                    members: members.collect(),
                    coordinator: node,
                    authorized_operations: operations(found.authorized_operations).filter(|_| with_operations),
                };
                open.settle(&group_id, Ok(described));
            }
        }
        open.remaining()
    }

    async fn delete_groups(&self, open: &mut Open<String, ()>) -> Result<(), Failure> {
        for (by, groups) in self.by_coordinator(GROUP, open).await? {
            let names = groups.iter().map(|group| GroupId(text(group))).collect();
            let request = DeleteGroupsRequest::default().with_groups_names(names);
            let response = ask!(self, coordinator(by), DeleteGroups(request));
            for done in &response.results {
                let error = KafkaError::from_code(done.error_code);
                open.settle(&done.group_id.to_string(), error.map_or(Ok(()), Err));
            }
        }
        open.remaining()
    }

    async fn group_offsets(
        &self,
        group: &str,
        partitions: Option<&BTreeSet<TopicPartition>>,
        require_stable: bool,
    ) -> Result<Offsets, Failure> {
        let topics = partitions.map(|partitions| {
            let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for place in partitions {
                topics.entry(&place.topic).or_default().push(place.partition);
            }
            let topics = topics.into_iter().map(|(topic, partitions)| {
                OffsetFetchRequestTopics::default().with_name(TopicName(text(topic))).with_partition_indexes(partitions)
            });
            topics.collect()
        });
        let asked = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text(group)))
            .with_member_epoch(NO_GENERATION)
            .with_topics(topics);
        let request = OffsetFetchRequest::default().with_groups(vec![asked]).with_require_stable(require_stable);
        let response = ask!(self, self.of_group(group).await?, OffsetFetch(request));
        Failure::check(response.error_code, None)?;
        let found = response.groups.into_iter().next().ok_or(Failure::Unanswered)?;
        Failure::check(found.error_code, None)?;
        let mut offsets = Offsets::new();
        for topic in found.topics {
            for partition in topic.partitions {
                Failure::check(partition.error_code, None)?;
                if partition.committed_offset < 0 {
                    continue;
                }
                let committed = OffsetAndMetadata {
                    offset: partition.committed_offset,
                    leader_epoch: (partition.committed_leader_epoch >= 0).then_some(partition.committed_leader_epoch),
                    metadata: partition.metadata.map(|metadata| metadata.to_string()).unwrap_or_default(),
                };
                offsets.insert(TopicPartition::new(topic.name.as_str(), partition.partition_index), committed);
            }
        }
        Ok(offsets)
    }

    async fn commit(&self, group: &str, offsets: &Offsets, open: &mut Open<TopicPartition, ()>) -> Result<(), Failure> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (place, offset) in offsets.iter().filter(|(place, _)| open.left.contains(place)) {
            topics.entry(&place.topic).or_default().push(
                OffsetCommitRequestPartition::default()
                    .with_partition_index(place.partition)
                    .with_committed_offset(offset.offset)
                    .with_committed_leader_epoch(offset.leader_epoch.unwrap_or(-1))
                    .with_committed_metadata(Some(text(&offset.metadata))),
            );
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetCommitRequestTopic::default().with_name(TopicName(text(topic))).with_partitions(partitions)
        });
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_generation_id_or_member_epoch(NO_GENERATION)
            .with_topics(topics.collect());
        let response = ask!(self, self.of_group(group).await?, OffsetCommit(request));
        for topic in &response.topics {
            for done in &topic.partitions {
                let place = TopicPartition::new(topic.name.as_str(), done.partition_index);
                open.settle(&place, outcome(done.error_code));
            }
        }
        open.remaining()
    }

    async fn delete_offsets(&self, group: &str, open: &mut Open<TopicPartition, ()>) -> Result<(), Failure> {
        let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for place in &open.left {
            let partition = OffsetDeleteRequestPartition::default().with_partition_index(place.partition);
            topics.entry(&place.topic).or_default().push(partition);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetDeleteRequestTopic::default().with_name(TopicName(text(topic))).with_partitions(partitions)
        });
        let request = OffsetDeleteRequest::default().with_group_id(GroupId(text(group))).with_topics(topics.collect());
        let response = ask!(self, self.of_group(group).await?, OffsetDelete(request));
        Failure::check(response.error_code, None)?;
        for topic in &response.topics {
            for done in &topic.partitions {
                let place = TopicPartition::new(topic.name.as_str(), done.partition_index);
                open.settle(&place, outcome(done.error_code));
            }
        }
        open.remaining()
    }
}
