//! Requests of the consumer protocol (KIP-848): heartbeats and descriptions. Membership is decided in [`crate::groups`].

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::group_api::ALL_GROUP_OPERATIONS;
use super::topics::Topics;
use super::{Broker, Outcome, Reply, code};
use crate::groups::{Beat, ConsumerMember, Effects, Group, TopicDirectory};

/// "Not asked for", where authorized operations would be told: there is no authorization to tell about.
const NO_OPERATIONS: i32 = i32::MIN;
/// The type of a member that speaks the classic protocol, of one that speaks the consumer protocol, and of one of which it is not told.
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;
const UNTOLD_MEMBER: i8 = -1;

impl TopicDirectory for Topics {
    fn find(&self, name: &str) -> Option<(Uuid, i32)> {
        self.get(name).map(|topic| (topic.id, topic.partition_count()))
    }

    fn name(&self, id: Uuid) -> Option<&str> {
        self.name_of(id)
    }

    fn each_name(&self, visit: &mut dyn FnMut(&str)) {
        self.iter().for_each(|topic| visit(&topic.name));
    }

    fn changes(&self) -> u64 {
        self.changes
    }
}

impl Broker {
    pub(super) fn consumer_group_heartbeat(
        &mut self,
        version: i16,
        (client_id, client_host): (String, String),
        request: &ConsumerGroupHeartbeatRequest,
        replies: &mut Vec<Reply>,
    ) -> Outcome {
        let fresh_id = if request.member_id.is_empty() { self.fresh_uuid().as_u128() } else { 0 };
        let (now, now_ms) = (self.now.elapsed, self.now.unix_ms);
        let beat = Beat { now, now_ms, version, client_id, client_host, fresh_id };
        let mut effects = Effects::default();
        let result = self.groups.consumer_heartbeat(&beat, request, &self.topics, &mut effects);
        let result = result.map_err(|(error, reason)| (error, Some(reason.into())));
        let result = result.and_then(|response| match self.apply(effects, replies) {
            Ok(()) => Ok(response),
            Err(error) => Err((error, None)),
        });
        let response = result.unwrap_or_else(|(error, reason)| {
            ConsumerGroupHeartbeatResponse::default()
                .with_error_code(code(error))
                .with_error_message(reason)
                .with_member_id(None)
                .with_assignment(None)
        });
        Outcome::Answer(ResponseKind::ConsumerGroupHeartbeat(response))
    }

    pub(super) fn consumer_group_describe(
        &self,
        request: ConsumerGroupDescribeRequest,
    ) -> ConsumerGroupDescribeResponse {
        let operations = if request.include_authorized_operations { ALL_GROUP_OPERATIONS } else { NO_OPERATIONS };
        let groups = request.group_ids.into_iter().map(|id| {
            let described = DescribedGroup::default().with_authorized_operations(operations);
            if id.is_empty() {
                return described
                    .with_group_id(id)
                    .with_error_code(code(ResponseError::InvalidGroupId))
                    .with_error_message(None);
            }
            let found = self.groups.get(&id);
            match found.and_then(|group| Some((group, group.consumer.as_ref()?))) {
                Some((group, consumer)) => described
                    .with_group_id(id)
                    .with_error_message(None)
                    .with_group_state(group.state_name().into())
                    .with_group_epoch(consumer.epoch)
                    .with_assignment_epoch(consumer.target_epoch)
                    .with_assignor_name(consumer.assignor().to_owned().into())
                    .with_members(self.described_members(group)),
                None => {
                    let reason = if found.is_some() { "is not a consumer group" } else { "not found" };
                    let reason = format!("Group {} {reason}.", id.as_str());
                    described
                        .with_group_id(id)
                        .with_error_code(code(ResponseError::GroupIdNotFound))
                        .with_error_message(Some(reason.into()))
                }
            }
        });
        ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
    }

    fn described_members(&self, group: &Group) -> Vec<Member> {
        let members = group.consumer.iter().flat_map(|consumer| &consumer.members);
        members.map(|(id, member)| self.described_member(id, member)).collect()
    }

    fn described_member(&self, id: &str, member: &ConsumerMember) -> Member {
        let names = member.topics.iter().map(|name| TopicName(name.clone().into()));
        Member::default()
            .with_member_id(id.to_owned().into())
            .with_instance_id(member.instance_id.clone().map(StrBytes::from))
            .with_rack_id(member.rack_id.clone().map(StrBytes::from))
            .with_member_epoch(member.epoch)
            .with_client_id(member.client_id.clone().into())
            .with_client_host(member.client_host.clone().into())
            .with_subscribed_topic_names(names.collect())
            .with_subscribed_topic_regex(Some(member.regex.clone().into()))
            .with_member_type(if member.is_classic() { CLASSIC_MEMBER } else { CONSUMER_MEMBER })
            .with_assignment(
                self.named(member.has().iter().map(|(topic, list)| (topic, list.iter().copied().collect()))),
            )
            .with_target_assignment(
                self.named(member.target.iter().map(|(topic, list)| (topic, list.iter().copied().collect()))),
            )
    }

    /// Partitions with the names of their topics; those of topics that are gone are left out.
    fn named<'a>(&self, partitions: impl Iterator<Item = (&'a Uuid, Vec<i32>)>) -> Assignment {
        let topics = partitions.filter_map(|(id, list)| {
            let name = self.topics.name_of(*id)?.to_owned();
            let topic = TopicPartitions::default().with_topic_id(*id).with_topic_name(TopicName(name.into()));
            Some(topic.with_partitions(list))
        });
        Assignment::default().with_topic_partitions(topics.collect())
    }
}

/// Brings a description into the form of its version: the type of members came with the second.
pub(super) fn with_member_types(
    version: i16,
    mut response: ConsumerGroupDescribeResponse,
) -> ConsumerGroupDescribeResponse {
    if version < 1 {
        for member in response.groups.iter_mut().flat_map(|group| &mut group.members) {
            member.member_type = UNTOLD_MEMBER;
        }
    }
    response
}
