//! Requests about groups: membership is decided in [`crate::groups`], here it meets topics, journal and protocol.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest,
    ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    OffsetFetchRequest, OffsetFetchResponse, ResponseKind, SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kurier_kafka::wire::decode_consumer_subscription;
use uuid::Uuid;

use super::{Broker, Outcome, Reply, Ticket, code};
use crate::groups::{Committer, Effects, Group, JoinerInfo, MAX_OFFSET_METADATA, State, result_code};
use crate::journal::{CommittedOffset, Entry};

/// First version of `OffsetFetch` that asks for many groups at once.
const MANY_GROUPS_VERSION: i16 = 8;
/// First version of `OffsetCommit` and `OffsetFetch` that names topics by id.
const TOPIC_ID_VERSION: i16 = 10;
/// First version of `JoinGroup` whose answer may name no protocol.
const NO_PROTOCOL_VERSION: i16 = 7;
/// First version of `DescribeGroups` that has an error for a group that is not there.
const NOT_FOUND_VERSION: i16 = 6;
/// "Not asked for", where authorized operations would be told: there is no authorization to tell about.
const NO_OPERATIONS: i32 = i32::MIN;
/// Every operation on a group, as bits.
pub(super) const ALL_GROUP_OPERATIONS: i32 = 0b1101_0100_1000;
/// Kinds of groups.
const CLASSIC: &str = "classic";
const MODERN: &str = "consumer";
/// The protocol type whose members say which topics they read.
const CONSUMER: &str = "consumer";
/// No offset was committed.
const NO_OFFSET: i64 = -1;

/// What becomes of one partition's offset.
type CommitResult = (i32, Result<(), ResponseError>);

/// A topic as a client names it, by name or by id.
#[derive(Debug, Clone)]
struct Named {
    name: TopicName,
    /// Nil where it was named by name.
    id: Uuid,
}

impl Broker {
    pub(super) fn join_group(
        &mut self,
        ticket: Ticket,
        version: i16,
        (client_id, client_host): (String, String),
        request: JoinGroupRequest,
        replies: &mut Vec<Reply>,
    ) -> Outcome {
        let fresh_id = self.fresh_uuid().as_u128();
        let info = JoinerInfo { ticket, version, client_id, client_host, fresh_id };
        let mut effects = Effects::default();
        self.groups.join(self.now.elapsed, self.now.unix_ms, info, request, &self.topics, &mut effects);
        // An error is among the answers.
        let _ = self.apply(effects, replies);
        Outcome::Wait
    }

    pub(super) fn sync_group(
        &mut self,
        ticket: Ticket,
        request: SyncGroupRequest,
        replies: &mut Vec<Reply>,
    ) -> Outcome {
        let mut effects = Effects::default();
        self.groups.sync(self.now.elapsed, ticket, request, &self.topics, &mut effects);
        // An error is among the answers.
        let _ = self.apply(effects, replies);
        Outcome::Wait
    }

    pub(super) fn heartbeat(&mut self, request: HeartbeatRequest) -> HeartbeatResponse {
        let result = if request.group_id.is_empty() {
            Err(ResponseError::InvalidGroupId)
        } else {
            self.groups.heartbeat(self.now.elapsed, &request)
        };
        HeartbeatResponse::default().with_error_code(result_code(result))
    }

    pub(super) fn leave_group(
        &mut self,
        version: i16,
        request: LeaveGroupRequest,
        replies: &mut Vec<Reply>,
    ) -> Outcome {
        if request.group_id.is_empty() {
            let refused = LeaveGroupResponse::default().with_error_code(code(ResponseError::InvalidGroupId));
            return Outcome::Answer(ResponseKind::LeaveGroup(refused));
        }
        let mut effects = Effects::default();
        let group = self.groups.get(&request.group_id);
        let is_consumer = group.is_some_and(|group| group.consumer.is_some());
        let (now, now_ms) = (self.now.elapsed, self.now.unix_ms);
        let mut response = self.groups.leave(now, now_ms, version, request, &self.topics, &mut effects);
        // From a classic group the member is gone in any case; a generation that could not be ended is ended later.
        if let Err(error) = self.apply(effects, replies)
            && is_consumer
        {
            response = LeaveGroupResponse::default().with_error_code(code(error));
        }
        Outcome::Answer(ResponseKind::LeaveGroup(response))
    }

    pub(super) fn offset_commit(&mut self, version: i16, request: OffsetCommitRequest) -> OffsetCommitResponse {
        let group = request.group_id.to_string();
        let committer = Committer {
            group: &group,
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            generation: request.generation_id_or_member_epoch,
        };
        let allowed = self.groups.check_commit(self.now.elapsed, &committer, false, version);
        let mut accepted = Vec::new();
        // The errors of all partitions; those without one depend on the journal.
        let mut topics: Vec<(Named, Vec<CommitResult>)> = Vec::new();
        for topic in request.topics {
            let named = Named { name: topic.name, id: topic.topic_id };
            let name = self.name_of(version, &named);
            let partitions = topic
                .partitions
                .into_iter()
                .map(|partition| {
                    let index = partition.partition_index;
                    let (offset, epoch) = (partition.committed_offset, partition.committed_leader_epoch);
                    let metadata = partition.committed_metadata;
                    let checked = name.as_ref().map_err(|error| *error).and_then(|name| {
                        self.checked_offset(&committer, allowed, name, index, (offset, epoch), metadata)
                    });
                    let result = checked.map(|offset| accepted.push(offset));
                    (index, result)
                })
                .collect();
            topics.push((named, partitions));
        }
        let entries: Vec<Entry> = accepted
            .iter()
            .map(|offset| Entry::OffsetCommitted { group: group.clone(), offset: offset.clone() })
            .collect();
        let written = self.record_as_coordinator(&entries);
        if written.is_ok() && !accepted.is_empty() {
            self.groups.commit(self.now.unix_ms, &group, accepted);
        }
        let topics = topics
            .into_iter()
            .map(|(Named { name, id }, partitions)| {
                let partitions = partitions
                    .into_iter()
                    .map(|(index, result)| {
                        OffsetCommitResponsePartition::default()
                            .with_partition_index(index)
                            .with_error_code(result_code(result.and(written)))
                    })
                    .collect();
                OffsetCommitResponseTopic::default().with_name(name).with_topic_id(id).with_partitions(partitions)
            })
            .collect();
        OffsetCommitResponse::default().with_topics(topics)
    }

    /// The name of a topic that a group's offsets are asked for or told of, where it is asked by id.
    fn name_of(&self, version: i16, topic: &Named) -> Result<TopicName, ResponseError> {
        if version < TOPIC_ID_VERSION {
            return Ok(topic.name.clone());
        }
        let found = self.topics.by_id(topic.id).ok_or(ResponseError::UnknownTopicId)?;
        Ok(TopicName(found.name.clone().into()))
    }

    /// What is kept of an offset and leader epoch that shall be committed, if it can be.
    ///
    /// `allowed` says what the group has against it. It comes after what the topics have: so Apache Kafka has it.
    pub(super) fn checked_offset(
        &self,
        committer: &Committer<'_>,
        allowed: Result<(), ResponseError>,
        name: &TopicName,
        partition: i32,
        (offset, leader_epoch): (i64, i32),
        metadata: Option<StrBytes>,
    ) -> Result<CommittedOffset, ResponseError> {
        let topic = self.topics.get(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        if !(0..topic.partition_count()).contains(&partition) {
            return Err(ResponseError::UnknownTopicOrPartition);
        }
        allowed?;
        self.groups.check_commit_for(committer, topic.id, partition)?;
        let metadata = metadata.map(|text| text.to_string()).unwrap_or_default();
        if metadata.len() > MAX_OFFSET_METADATA {
            return Err(ResponseError::OffsetMetadataTooLarge);
        }
        let (topic, committed_ms) = (name.to_string(), self.now.unix_ms);
        Ok(CommittedOffset { topic, partition, offset, leader_epoch, metadata, committed_ms })
    }

    pub(super) fn offset_fetch(&self, version: i16, request: OffsetFetchRequest) -> OffsetFetchResponse {
        let stable = request.require_stable;
        if version >= MANY_GROUPS_VERSION {
            let groups = request.groups.into_iter().map(|asked| {
                let topics = asked.topics.map(|topics| {
                    let named = |topic: OffsetFetchRequestTopics| {
                        (Named { name: topic.name, id: topic.topic_id }, topic.partition_indexes)
                    };
                    topics.into_iter().map(named).collect()
                });
                let response = OffsetFetchResponseGroup::default();
                let consumer = self.groups.get(&asked.group_id).and_then(|group| group.consumer.as_ref());
                let checked = match (consumer, &asked.member_id) {
                    (None, _) => Ok(()),
                    // An administrator asks.
                    (Some(_), None) if asked.member_epoch < 0 => Ok(()),
                    (Some(consumer), id) => consumer.check_epoch(id.as_deref().unwrap_or_default(), asked.member_epoch),
                };
                if let Err(error) = checked {
                    return response.with_group_id(asked.group_id).with_error_code(code(error));
                }
                let topics = self.fetched_offsets(version, &asked.group_id, topics, stable);
                response.with_group_id(asked.group_id).with_topics(topics)
            });
            return OffsetFetchResponse::default().with_groups(groups.collect());
        }
        let topics = request.topics.map(|topics| {
            let named =
                topics.into_iter().map(|topic| (Named { name: topic.name, id: Uuid::nil() }, topic.partition_indexes));
            named.collect()
        });
        let topics = self.fetched_offsets(version, &request.group_id, topics, stable);
        OffsetFetchResponse::default().with_topics(topics.into_iter().map(of_one_group).collect())
    }

    /// Offsets of a group: of the partitions asked for, or of all that there are.
    fn fetched_offsets(
        &self,
        version: i16,
        group: &str,
        asked: Option<Vec<(Named, Vec<i32>)>>,
        stable: bool,
    ) -> Vec<OffsetFetchResponseTopics> {
        let offsets = self.groups.offsets(group);
        let asked = asked.unwrap_or_else(|| {
            let mut all: Vec<(Named, Vec<i32>)> = Vec::new();
            for (topic, partition) in offsets.into_iter().flat_map(|offsets| offsets.keys()) {
                match all.last_mut() {
                    Some((named, partitions)) if named.name.as_str() == topic => partitions.push(*partition),
                    _ => {
                        let name = TopicName(topic.clone().into());
                        let id = self.topics.get(&name).map(|topic| topic.id).unwrap_or_default();
                        all.push((Named { name, id }, vec![*partition]));
                    }
                }
            }
            if version >= TOPIC_ID_VERSION {
                all.retain(|(named, _)| !named.id.is_nil());
            }
            all
        });
        let of = |topic: Result<&str, ResponseError>, partition: i32| {
            let none = OffsetFetchResponsePartitions::default()
                .with_partition_index(partition)
                .with_committed_offset(NO_OFFSET)
                .with_metadata(Some(StrBytes::new()));
            let topic = match topic {
                Ok(topic) => topic,
                Err(error) => return none.with_error_code(code(error)),
            };
            if stable && self.groups.is_unstable(group, topic, partition) {
                return none.with_error_code(code(ResponseError::UnstableOffsetCommit));
            }
            match offsets.and_then(|offsets| offsets.get(&(topic.to_owned(), partition))) {
                Some(found) => none
                    .with_committed_offset(found.offset)
                    .with_committed_leader_epoch(found.leader_epoch)
                    .with_metadata(Some(found.metadata.clone().into())),
                None => none,
            }
        };
        let found = asked.into_iter().map(|(named, partitions)| {
            let name = self.name_of(version, &named);
            let name = name.as_ref().map(|name| name.as_str()).map_err(|error| *error);
            let partitions = partitions.into_iter().map(|partition| of(name, partition)).collect();
            let response = OffsetFetchResponseTopics::default().with_partitions(partitions);
            if version >= TOPIC_ID_VERSION { response.with_topic_id(named.id) } else { response.with_name(named.name) }
        });
        found.collect()
    }

    pub(super) fn offset_delete(&mut self, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
        let name = request.group_id.to_string();
        let Some(group) = self.groups.get(&name) else {
            return OffsetDeleteResponse::default().with_error_code(code(ResponseError::GroupIdNotFound));
        };
        let of_members = group.consumer.as_ref();
        let Some(in_use) = topics_in_use(group) else {
            return OffsetDeleteResponse::default().with_error_code(code(ResponseError::NonEmptyGroup));
        };
        let mut entries = Vec::new();
        let topics: Vec<_> = request
            .topics
            .into_iter()
            .map(|topic| {
                let is_read = of_members.is_some_and(|members| members.reads(topic.name.as_str()));
                let error = if is_read || in_use.contains(topic.name.as_str()) {
                    code(ResponseError::GroupSubscribedToTopic)
                } else {
                    for partition in &topic.partitions {
                        entries.push(Entry::OffsetRemoved {
                            group: name.clone(),
                            topic: topic.name.to_string(),
                            partition: partition.partition_index,
                        });
                    }
                    0
                };
                let partitions = topic
                    .partitions
                    .into_iter()
                    .map(|partition| {
                        OffsetDeleteResponsePartition::default()
                            .with_partition_index(partition.partition_index)
                            .with_error_code(error)
                    })
                    .collect();
                OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions)
            })
            .collect();
        if let Err(error) = self.record_as_coordinator(&entries) {
            return OffsetDeleteResponse::default().with_error_code(code(error));
        }
        entries.into_iter().for_each(|entry| self.groups.play(entry));
        OffsetDeleteResponse::default().with_topics(topics)
    }

    pub(super) fn list_groups(&self, request: ListGroupsRequest) -> ListGroupsResponse {
        let wanted = |filter: &[StrBytes], is: &str| {
            filter.is_empty() || filter.iter().any(|name| name.eq_ignore_ascii_case(is))
        };
        let groups = self
            .groups
            .iter()
            .filter(|(_, group)| {
                wanted(&request.states_filter, group.state_name()) && wanted(&request.types_filter, kind_of(group))
            })
            .map(|(name, group)| {
                ListedGroup::default()
                    .with_group_id(group_id(name))
                    .with_protocol_type(match group.consumer {
                        Some(_) => CONSUMER.into(),
                        None => group.protocol_type.clone().unwrap_or_default().into(),
                    })
                    .with_group_state(group.state_name().into())
                    .with_group_type(kind_of(group).into())
            })
            .collect();
        ListGroupsResponse::default().with_groups(groups)
    }

    pub(super) fn describe_groups(&self, version: i16, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
        let operations = if request.include_authorized_operations { ALL_GROUP_OPERATIONS } else { NO_OPERATIONS };
        let groups = request
            .groups
            .into_iter()
            .map(|id| {
                let described = DescribedGroup::default().with_authorized_operations(operations);
                let found = self.groups.get(&id);
                match found {
                    Some(group) if group.consumer.is_none() => describe(described.with_group_id(id), group),
                    _ if version >= NOT_FOUND_VERSION => {
                        let reason = if found.is_some() { "is not a classic group" } else { "not found" };
                        let reason = format!("Group {} {reason}.", id.as_str());
                        described
                            .with_group_id(id)
                            .with_group_state("Dead".into())
                            .with_error_code(code(ResponseError::GroupIdNotFound))
                            .with_error_message(Some(reason.into()))
                    }
                    _ => described.with_group_id(id).with_group_state("Dead".into()),
                }
            })
            .collect();
        DescribeGroupsResponse::default().with_groups(groups)
    }

    pub(super) fn delete_groups(&mut self, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
        let mut results = Vec::new();
        for id in request.groups_names {
            let entry = Entry::GroupRemoved { group: id.to_string() };
            let result =
                self.groups.check_delete(&id).and_then(|()| self.record_as_coordinator(std::slice::from_ref(&entry)));
            if result.is_ok() {
                self.groups.play(entry);
            }
            results.push(DeletableGroupResult::default().with_group_id(id).with_error_code(result_code(result)));
        }
        DeleteGroupsResponse::default().with_results(results)
    }
}

/// Brings an answer that may have waited into the form of the version it was asked for in.
pub(super) fn fitted(response: ResponseKind, version: i16) -> ResponseKind {
    match response {
        ResponseKind::JoinGroup(joined) if version < NO_PROTOCOL_VERSION && joined.protocol_name.is_none() => {
            ResponseKind::JoinGroup(joined.with_protocol_name(Some(StrBytes::new())))
        }
        other => other,
    }
}

/// The form of versions that ask for one group.
fn of_one_group(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partitions = topic.partitions.into_iter().map(|partition| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(partition.committed_offset)
            .with_committed_leader_epoch(partition.committed_leader_epoch)
            .with_metadata(partition.metadata)
            .with_error_code(partition.error_code)
    });
    OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions.collect())
}

/// Topics whose offsets the members of a group still need; `None` when that cannot be told and so may be any.
pub(super) fn topics_in_use(group: &Group) -> Option<BTreeSet<String>> {
    let mut topics = BTreeSet::new();
    if group.members.is_empty() {
        return Some(topics);
    }
    let protocol = group.protocol.as_deref().filter(|_| group.protocol_type.as_deref() == Some(CONSUMER))?;
    for member in group.members.values() {
        let subscription = decode_consumer_subscription(member.metadata(protocol)).ok()?;
        topics.extend(subscription.topics.iter().map(|topic| topic.to_string()));
    }
    Some(topics)
}

fn kind_of(group: &Group) -> &'static str {
    if group.consumer.is_some() { MODERN } else { CLASSIC }
}

fn describe(described: DescribedGroup, group: &Group) -> DescribedGroup {
    let protocol = match group.state {
        State::Stable => group.protocol.clone().unwrap_or_default(),
        _ => String::new(),
    };
    let members = group
        .members
        .iter()
        .map(|(id, member)| {
            DescribedGroupMember::default()
                .with_member_id(id.clone().into())
                .with_group_instance_id(member.instance_id.clone().map(StrBytes::from))
                .with_client_id(member.client_id.clone().into())
                .with_client_host(member.client_host.clone().into())
                .with_member_metadata(member.metadata(&protocol))
                .with_member_assignment(member.assignment.clone())
        })
        .collect();
    described
        .with_group_state(group.state.name().into())
        .with_protocol_type(group.protocol_type.clone().unwrap_or_default().into())
        .with_protocol_data(protocol.into())
        .with_members(members)
}

fn group_id(name: &str) -> GroupId {
    GroupId(name.to_owned().into())
}
