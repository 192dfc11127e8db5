//! Groups that change their protocol while they have members (KIP-848's online upgrade and downgrade).
//!
//! When the first member of the consumer protocol comes, a classic group of consumers becomes a consumer group: members keep what they read, and go
//! on in the classic protocol until they are restarted. When the last one has gone, those who are left make a classic group again. What one
//! protocol cannot tell the other (user data of assignors) is refused rather than lost. Pure; counterpart of Apache Kafka's `ConsumerGroup.fromClassicGroup` and
//! `ClassicGroup.fromConsumerGroup`. Read on in `classic`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition;
use kafka_protocol::messages::{ConsumerProtocolAssignment, TopicName};
use kafka_protocol::protocol::Message;
use kurier_kafka::wire::{decode_consumer_assignment, decode_consumer_subscription, encode_consumer_assignment};
use uuid::Uuid;

use super::super::member::{Context, join_error, sync_error};
use super::super::{Effects, Group, Limits, Member, State};
use super::{ClassicSide, ConsumerGroup, ConsumerMember, Held, MemberState, Partitions, Refusal, TopicDirectory};

/// The protocol type of classic groups of consumers.
pub(super) const CONSUMER: &str = "consumer";

impl Group {
    /// Makes a consumer group of a classic group and its members.
    ///
    /// Those who wait for the end of a rebalance are told of the next one; what `effects` keeps of the group is the caller's.
    pub(super) fn upgrade(
        &mut self,
        now: Duration,
        name: &str,
        limits: &Limits,
        topics: &dyn TopicDirectory,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let cannot = |why: &str| {
            let reason = format!("Cannot upgrade classic group {name} to consumer group because {why}.");
            (ResponseError::GroupIdNotFound, reason)
        };
        if !limits.migration.upgrades() {
            return Err(cannot("online upgrade is disabled"));
        }
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return Err(cannot("the group does not use the consumer embedded protocol"));
        }
        if self.members.len() > limits.consumer_max_size {
            return Err(cannot("the group size exceeds the consumer group maximum size"));
        }
        let mut consumer =
            ConsumerGroup { epoch: self.generation, target_epoch: self.generation, ..ConsumerGroup::default() };
        for (id, member) in &self.members {
            let converted = convert(member, self.protocol.as_deref(), self.generation, now, topics).map_err(|problem| match problem {
                Problem::Malformed => cannot("the embedded consumer protocol is malformed"),
                Problem::UserData => cannot(
                    "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade",
                ),
            })?;
            consumer.take(id, converted);
        }
        consumer.heed_claims();
        // What a stable group has assigned holds until somebody wants to read something else; otherwise all is assigned anew.
        if self.state == State::Stable {
            consumer.look_at_topics(topics);
        }
        effects.entries.extend(consumer.members.iter().map(|(id, member)| member.entry(name, id)));
        for (id, member) in &mut self.members {
            let error = ResponseError::RebalanceInProgress;
            let joins = member.joining.take().map(|ticket| (ticket, join_error(error, id)));
            let syncs = member.syncing.take().map(|ticket| (ticket, sync_error(error)));
            effects.answers.extend(joins.into_iter().chain(syncs));
        }
        self.forget_members();
        self.pending.clear();
        (self.rebalance_ends, self.gathering_until, self.sync_ends) = (None, None, None);
        self.consumer = Some(consumer);
        tracing::info!(group = name, "the classic group became a consumer group");
        Ok(())
    }

    /// Makes a classic group of a consumer group all of whose members speak the classic protocol; they share out what there is if `rebalances`.
    ///
    /// What `effects` keeps of the group is the caller's.
    pub(super) fn downgrade(&mut self, context: &mut Context<'_>, rebalances: bool, topics: &dyn TopicDirectory) {
        let Some(consumer) = self.consumer.take() else { return };
        self.forget_members();
        self.protocol_type = Some(CONSUMER.to_owned());
        self.generation = consumer.epoch;
        self.changed_ms = context.now_ms;
        self.state = State::Stable;
        let mut held = BTreeMap::new();
        for (id, member) in consumer.members {
            // What it has, not what it was to have: nobody else may get that before it has joined again. (Apache Kafka takes the target.)
            held.insert(id.clone(), member.has());
            let Some(classic) = member.classic else { continue };
            if let Some(instance) = &member.instance_id {
                self.static_members.insert(instance.clone(), id.clone());
            }
            self.leader.get_or_insert_with(|| id.clone());
            let converted = Member {
                instance_id: member.instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                session_timeout: classic.session_timeout,
                rebalance_timeout: member.rebalance_timeout,
                protocols: classic.protocols,
                assignment: Bytes::new(),
                expires: context.now + classic.session_timeout,
                joining: None,
                syncing: None,
                order: self.next_order,
            };
            self.next_order += 1;
            self.members.insert(id, converted);
        }
        self.protocol = self.select_protocol();
        let protocol = self.protocol.clone().unwrap_or_default();
        for (id, member) in &mut self.members {
            member.assignment = in_bytes(held.get(id), &member.metadata(&protocol), topics);
        }
        let leader = if rebalances { String::new() } else { self.leader.clone().unwrap_or_default() };
        context.effects.entries.push(self.entry(context.name));
        context.effects.entries.push(self.members_led_by(context.name, leader));
        if rebalances {
            self.rebalance(context);
        }
        tracing::info!(group = context.name, "the consumer group became a classic group");
    }
}

impl ConsumerGroup {
    /// After a conversion: members that said to have what nobody was assigned have yet to give it up.
    ///
    /// So it is in the midst of a cooperative rebalance. (Apache Kafka takes such partitions for free.)
    fn heed_claims(&mut self) {
        let assigned: BTreeSet<(Uuid, i32)> = self
            .members
            .values()
            .flat_map(|member| &member.target)
            .flat_map(|(topic, list)| list.iter().map(|partition| (*topic, *partition)))
            .collect();
        for member in self.members.values_mut() {
            for (topic, list) in &mut member.revoking {
                list.retain(|partition, _| !assigned.contains(&(*topic, *partition)));
            }
            member.revoking.retain(|_, list| !list.is_empty());
            if !member.revoking.is_empty() {
                member.state = MemberState::Unrevoked;
            }
        }
    }

    /// Whether `left` members, those who do not go, can be a classic group.
    pub(super) fn may_downgrade(&self, name: &str, left: usize, limits: &Limits, goes: impl Fn(&str) -> bool) -> bool {
        if self.members.iter().any(|(id, member)| !goes(id) && !member.is_classic()) {
            return false;
        }
        let reason = if !limits.migration.downgrades() {
            "online downgrade is disabled"
        } else if left > limits.max_size {
            "it has more members than a classic group may have"
        } else {
            return true;
        };
        tracing::info!(group = name, reason, "the consumer group does not become a classic group");
        false
    }
}

/// What keeps a member from being converted.
enum Problem {
    /// What it or its leader said cannot be read.
    Malformed,
    /// Its leader's assignor told it more than its partitions.
    UserData,
}

/// A classic group's member as one of a consumer group; it has what its leader assigned last, and may have to give up what it said to have.
fn convert(
    member: &Member,
    protocol: Option<&str>,
    generation: i32,
    now: Duration,
    topics: &dyn TopicDirectory,
) -> Result<ConsumerMember, Problem> {
    let mut target = Partitions::new();
    if !member.assignment.is_empty() {
        let assignment = decode_consumer_assignment(member.assignment.clone()).map_err(|_| Problem::Malformed)?;
        if assignment.user_data.is_some_and(|data| !data.is_empty()) {
            return Err(Problem::UserData);
        }
        let named =
            assignment.assigned_partitions.iter().map(|topic| (topic.topic.as_str(), topic.partitions.as_slice()));
        target = by_id(named, topics);
    }
    // A group whose first rebalance still runs has not chosen a protocol; members say the same in all of theirs. (Apache Kafka fails here.)
    let metadata = match protocol {
        Some(protocol) => member.metadata(protocol),
        None => member.protocols.first().map(|(_, metadata)| metadata.clone()).unwrap_or_default(),
    };
    let subscription = decode_consumer_subscription(metadata).map_err(|_| Problem::Malformed)?;
    let claimed = subscription.owned_partitions.iter();
    let claimed = by_id(claimed.map(|topic| (topic.topic.as_str(), topic.partitions.as_slice())), topics);
    let since_now = |partitions: &Partitions| -> Held {
        let since = |list: &BTreeSet<i32>| list.iter().map(|partition| (*partition, generation)).collect();
        partitions.iter().map(|(topic, list)| (*topic, since(list))).collect()
    };
    Ok(ConsumerMember {
        instance_id: member.instance_id.clone(),
        rack_id: subscription.rack_id.filter(|rack| !rack.is_empty()).map(|rack| rack.to_string()),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout: member.rebalance_timeout,
        topics: subscription.topics.iter().map(|name| name.to_string()).collect(),
        epoch: generation,
        previous_epoch: generation,
        state: MemberState::Stable,
        assigned: since_now(&target),
        revoking: since_now(&claimed),
        target,
        expires: now + member.session_timeout,
        classic: Some(ClassicSide {
            session_timeout: member.session_timeout,
            protocols: member.protocols.clone(),
            join_ends: None,
            sync_ends: None,
        }),
        ..ConsumerMember::new()
    })
}

/// Partitions by the ids of their topics; those of topics that are not there are left out.
pub(super) fn by_id<'a>(named: impl Iterator<Item = (&'a str, &'a [i32])>, topics: &dyn TopicDirectory) -> Partitions {
    let mut partitions = Partitions::new();
    for (name, list) in named {
        if let Some((id, _)) = topics.find(name) {
            partitions.entry(id).or_default().extend(list);
        }
    }
    partitions
}

/// Partitions in the form in which a leader hands them out, in the version of what the member says of itself in `metadata`.
pub(super) fn in_bytes(partitions: Option<&Partitions>, mut metadata: &[u8], topics: &dyn TopicDirectory) -> Bytes {
    // What cannot be read was not taken, so there is a version.
    let version = metadata.try_get_i16().unwrap_or_default().clamp(0, ConsumerProtocolAssignment::VERSIONS.max);
    let named = partitions.into_iter().flatten().filter_map(|(id, list)| {
        let name = TopicName(topics.name(*id)?.to_owned().into());
        Some(TopicPartition::default().with_topic(name).with_partitions(list.iter().copied().collect()))
    });
    let assignment = ConsumerProtocolAssignment::default().with_assigned_partitions(named.collect());
    encode_consumer_assignment(&assignment, version).expect("every version has topics and partitions")
}

/// The partitions that a member may read.
pub(super) fn read_by(member: &ConsumerMember) -> Partitions {
    member.assigned.iter().map(|(topic, list)| (*topic, list.keys().copied().collect::<BTreeSet<i32>>())).collect()
}
