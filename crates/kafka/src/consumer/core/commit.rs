//! Committed offsets: writing them, and reading them to know where to begin.
//!
//! Commits go out one after the other, so that a repeated one never overwrites a later one. A commit carries the generation that held when it was
//! asked for: after a rebalance it fails rather than speak for partitions that are another's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{
    GroupId, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, RequestKind,
    ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::partition::Position;
use super::{CallId, ConsumerCore, Effect, Mode, Outcome, Pending, Target};
use crate::consumer::{ConsumerError, Isolation, OffsetAndMetadata, OffsetReset, Offsets, TopicPartition};
use crate::group::{Coordinator, GroupError, Input as MemberInput};
use crate::net::TransportError;

/// A commit that is not done.
#[derive(Debug)]
pub(super) struct CommitCall {
    offsets: Offsets,
    generation: i32,
    member_id: String,
    /// How often this member's partitions had been lost when it was asked for.
    losses: u64,
    in_flight: bool,
    failures: u32,
    pub(super) retry_at: Duration,
    pub(super) deadline: Duration,
    timeout: Duration,
}

/// A call for committed offsets that is not done.
#[derive(Debug)]
pub(super) struct CommittedCall {
    open: BTreeSet<TopicPartition>,
    found: Offsets,
    pub(super) deadline: Duration,
    timeout: Duration,
}

/// The look-up of committed offsets; one at a time.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    in_flight: bool,
    failures: u32,
    pub(super) retry_at: Duration,
}

/// What the coordinator says of one partition.
enum Committed {
    At(OffsetAndMetadata),
    Nothing,
    NotYet,
    Refused(ResponseError),
}

impl ConsumerCore {
    pub(super) fn begin_commit(
        &mut self,
        call: CallId,
        offsets: Offsets,
        timeout: Duration,
        deadline: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let Some(group) = &self.group else {
            return effects.push(Effect::Done { call, outcome: Err(ConsumerError::NoGroup) });
        };
        let (generation, member_id) = group.member.identity();
        let is_subscribed = matches!(self.mode, Mode::Subscribed(_));
        if is_subscribed && group.member.is_joining() {
            return effects.push(Effect::Done { call, outcome: Err(ConsumerError::RebalanceInProgress) });
        }
        if generation < 0 && is_subscribed {
            return effects.push(Effect::Done { call, outcome: Err(ConsumerError::CommitFailed) });
        }
        if offsets.is_empty() {
            return effects.push(Effect::Done { call, outcome: Ok(Outcome::Done) });
        }
        let member_id = if generation < 0 { String::new() } else { member_id.to_owned() };
        let retry_at = Duration::ZERO;
        let losses = group.losses;
        let commit = CommitCall {
            offsets,
            generation,
            member_id,
            losses,
            in_flight: false,
            failures: 0,
            retry_at,
            deadline,
            timeout,
        };
        self.commits.insert(call, commit);
    }

    pub(super) fn expire_commits(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        for (call, commit) in self.commits.extract_if(.., |_, commit| commit.deadline <= now) {
            let what = "successfully committing offsets".to_owned();
            let error = ConsumerError::Timeout { what, timeout: commit.timeout };
            effects.push(Effect::Done { call, outcome: Err(error) });
        }
        for (call, committed) in self.committed_calls.extract_if(.., |_, committed| committed.deadline <= now) {
            let what = "the committed offset could be determined".to_owned();
            let error = ConsumerError::Timeout { what, timeout: committed.timeout };
            effects.push(Effect::Done { call, outcome: Err(error) });
        }
    }

    /// The coordinator, if known; else it is looked for.
    fn coordinator(&mut self, now: Duration, effects: &mut Vec<Effect>) -> Option<Coordinator> {
        let known = self.group.as_ref()?.member.coordinator().cloned();
        if known.is_none() {
            self.member_step(now, MemberInput::NeedCoordinator, effects);
        }
        known
    }

    pub(super) fn send_commits(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Some((call, commit)) = self.commits.first_key_value() else { return };
        if commit.in_flight || commit.retry_at > now {
            return;
        }
        let call = *call;
        let Some(coordinator) = self.coordinator(now, effects) else { return };
        let Some(commit) = self.commits.get_mut(&call) else { return };
        commit.in_flight = true;
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for (partition, offset) in &commit.offsets {
            if topics.last().is_none_or(|topic| topic.name.as_str() != &*partition.topic) {
                topics.push(OffsetCommitRequestTopic::default().with_name(name(&partition.topic)));
            }
            let topic = topics.last_mut().expect("one was pushed");
            topic.partitions.push(
                OffsetCommitRequestPartition::default()
                    .with_partition_index(partition.partition)
                    .with_committed_offset(offset.offset)
                    .with_committed_leader_epoch(offset.leader_epoch.unwrap_or(-1))
                    .with_committed_metadata(Some(StrBytes::from_string(offset.metadata.clone()))),
            );
        }
        let (generation, member_id) = (commit.generation, StrBytes::from_string(commit.member_id.clone()));
        let config = self.group.as_ref().map(|group| group.member.config());
        let instance = config.and_then(|config| config.instance_id.clone()).filter(|_| generation >= 0);
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id_or_member_epoch(generation)
            .with_member_id(member_id)
            .with_group_instance_id(instance.map(StrBytes::from_string))
            .with_topics(topics);
        let pending = Pending::OffsetCommit { node: coordinator.node, call };
        let timeout = self.settings.request_timeout;
        self.send(Target::Coordinator(coordinator), RequestKind::OffsetCommit(request), timeout, pending, effects);
    }

    pub(super) fn commit_answered(
        &mut self,
        now: Duration,
        node: i32,
        call: CallId,
        response: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(commit) = self.commits.get_mut(&call) else { return };
        commit.in_flight = false;
        let generation = commit.generation;
        let error = match response {
            Ok(ResponseKind::OffsetCommit(response)) => worst(&response),
            Err(error) if error.is_unsupported() => Some((ResponseError::UnsupportedVersion, String::new())),
            _ => Some((ResponseError::NetworkException, String::new())),
        };
        let Some((error, place)) = error else {
            self.commits.remove(&call);
            return effects.push(Effect::Done { call, outcome: Ok(Outcome::Done) });
        };
        match error {
            // The epoch has moved on since, and says nothing about who owns the partitions: as long as none was lost, the newer one commits.
            ResponseError::StaleMemberEpoch
                if self.group.as_ref().is_some_and(|group| {
                    group.losses == commit.losses && group.member.identity().0 >= commit.generation
                }) =>
            {
                let epoch = self.group.as_ref().map_or(commit.generation, |group| group.member.identity().0);
                commit.retry_at = now + super::lookup::backoff(&self.settings, commit.failures);
                commit.failures = commit.failures.saturating_add(1);
                commit.generation = epoch;
                return;
            }
            ResponseError::NetworkException
            | ResponseError::NotCoordinator
            | ResponseError::CoordinatorNotAvailable
            | ResponseError::RequestTimedOut
            | ResponseError::CoordinatorLoadInProgress
            | ResponseError::UnknownTopicOrPartition => {
                let wait = super::lookup::backoff(&self.settings, commit.failures);
                commit.failures = commit.failures.saturating_add(1);
                commit.retry_at = now + wait;
                let here =
                    matches!(error, ResponseError::CoordinatorLoadInProgress | ResponseError::UnknownTopicOrPartition);
                if !here {
                    self.member_step(now, MemberInput::CoordinatorLost { node }, effects);
                }
                return;
            }
            _ => {}
        }
        self.commits.remove(&call);
        let outcome = match error {
            ResponseError::RebalanceInProgress => ConsumerError::RebalanceInProgress,
            ResponseError::UnknownMemberId
            | ResponseError::IllegalGeneration
            | ResponseError::StaleMemberEpoch
            | ResponseError::FencedMemberEpoch => ConsumerError::CommitFailed,
            ResponseError::GroupAuthorizationFailed => ConsumerError::GroupAuthorization(self.group_id().to_string()),
            ResponseError::TopicAuthorizationFailed => ConsumerError::TopicAuthorization(vec![place]),
            ResponseError::FencedInstanceId => {
                let group = self.group_id().to_string();
                let config = self.group.as_ref().map(|group| group.member.config());
                let instance = config.and_then(|config| config.instance_id.clone()).unwrap_or_default();
                ConsumerError::Group(GroupError::Fenced { group, instance })
            }
            error => ConsumerError::Refused { what: format!("committing an offset of topic {place}"), error },
        };
        effects.push(Effect::Done { call, outcome: Err(outcome) });
        self.member_step(now, MemberInput::Refused { generation, error }, effects);
    }

    pub(super) fn begin_committed(
        &mut self,
        call: CallId,
        partitions: Vec<TopicPartition>,
        timeout: Duration,
        deadline: Duration,
        effects: &mut Vec<Effect>,
    ) {
        if self.group.is_none() {
            return effects.push(Effect::Done { call, outcome: Err(ConsumerError::NoGroup) });
        }
        let open = partitions.into_iter().collect();
        self.committed_calls.insert(call, CommittedCall { open, found: Offsets::new(), deadline, timeout });
        self.end_committed(effects);
    }

    /// Ends calls that have all their answers.
    fn end_committed(&mut self, effects: &mut Vec<Effect>) {
        for (call, done) in self.committed_calls.extract_if(.., |_, call| call.open.is_empty()) {
            effects.push(Effect::Done { call, outcome: Ok(Outcome::Committed(done.found)) });
        }
    }

    /// Asks for every committed offset that is needed.
    pub(super) fn send_offset_fetch(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let starting = self
            .partitions
            .iter()
            .filter(|(_, state)| state.position == Position::Committed && state.retry_at <= now)
            .map(|(partition, _)| partition.clone());
        if self.group.is_none() {
            let unplaced: Vec<TopicPartition> = starting.collect();
            return self.no_offset(now, unplaced, effects);
        }
        if self.committed.in_flight || self.committed.retry_at > now {
            return;
        }
        let called = self.committed_calls.values().flat_map(|call| &call.open).cloned();
        let asked: BTreeSet<TopicPartition> = starting.chain(called).collect();
        if asked.is_empty() {
            return;
        }
        let Some(coordinator) = self.coordinator(now, effects) else { return };
        let mut topics: Vec<OffsetFetchRequestTopics> = Vec::new();
        for partition in &asked {
            if topics.last().is_none_or(|topic| topic.name.as_str() != &*partition.topic) {
                topics.push(OffsetFetchRequestTopics::default().with_name(name(&partition.topic)));
            }
            topics.last_mut().expect("one was pushed").partition_indexes.push(partition.partition);
        }
        let mut group = OffsetFetchRequestGroup::default().with_group_id(self.group_id()).with_topics(Some(topics));
        if let Some(member) = self.group.as_ref().map(|group| &group.member).filter(|member| !member.is_classic())
            && let (epoch @ 1.., member_id) = member.identity()
        {
            let member_id = StrBytes::from_string(member_id.to_owned());
            group = group.with_member_id(Some(member_id)).with_member_epoch(epoch);
        }
        let request = OffsetFetchRequest::default()
            .with_groups(vec![group])
            .with_require_stable(self.settings.isolation == Isolation::ReadCommitted);
        self.committed.in_flight = true;
        let pending = Pending::OffsetFetch { node: coordinator.node, asked };
        let timeout = self.settings.request_timeout;
        self.send(Target::Coordinator(coordinator), RequestKind::OffsetFetch(request), timeout, pending, effects);
    }

    pub(super) fn offset_fetch_answered(
        &mut self,
        now: Duration,
        node: i32,
        asked: &BTreeSet<TopicPartition>,
        response: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) {
        self.committed.in_flight = false;
        let answers = match response {
            Ok(ResponseKind::OffsetFetch(response)) => read_committed(response),
            Err(error) if error.is_unsupported() => Err(ResponseError::UnsupportedVersion),
            _ => Err(ResponseError::NetworkException),
        };
        let mut answers = match answers {
            Ok(answers) => answers,
            Err(error) => {
                self.committed_again(now);
                match error {
                    // The next heartbeat says more of this member.
                    ResponseError::CoordinatorLoadInProgress
                    | ResponseError::StaleMemberEpoch
                    | ResponseError::UnknownMemberId => {}
                    error if error.is_retriable() => {
                        self.member_step(now, MemberInput::CoordinatorLost { node }, effects);
                    }
                    error => self.fail_committed(error, effects),
                }
                return;
            }
        };
        self.committed.failures = 0;
        let mut again = false;
        let mut unplaced = Vec::new();
        for partition in asked {
            match answers.remove(partition).unwrap_or(Committed::NotYet) {
                Committed::NotYet => again = true,
                Committed::At(offset) => {
                    if let Some(state) = self.partitions.get_mut(partition)
                        && state.position == Position::Committed
                    {
                        state.move_to(Position::At(offset.offset));
                        state.epoch = offset.leader_epoch;
                        effects.push(Effect::Wake);
                    }
                    for call in self.committed_calls.values_mut() {
                        if call.open.remove(partition) {
                            call.found.insert(partition.clone(), offset.clone());
                        }
                    }
                }
                Committed::Nothing => {
                    let reset = self.reset_position(now);
                    if let Some(state) = self.partitions.get_mut(partition)
                        && state.position == Position::Committed
                    {
                        if self.settings.offset_reset == OffsetReset::None {
                            unplaced.push(partition.clone());
                        } else {
                            state.move_to(reset);
                        }
                    }
                    for call in self.committed_calls.values_mut() {
                        call.open.remove(partition);
                    }
                }
                Committed::Refused(error) => {
                    again = true;
                    self.refuse_committed(partition, error, effects);
                }
            }
        }
        self.no_offset(now, unplaced, effects);
        self.end_committed(effects);
        if again {
            self.committed_again(now);
        }
    }

    fn committed_again(&mut self, now: Duration) {
        self.committed.retry_at = now + super::lookup::backoff(&self.settings, self.committed.failures);
        self.committed.failures = self.committed.failures.saturating_add(1);
    }

    /// There is no committed offset, and nowhere to begin instead. Asked for again later: somebody may commit one.
    fn no_offset(&mut self, now: Duration, partitions: Vec<TopicPartition>, effects: &mut Vec<Effect>) {
        if partitions.is_empty() {
            return;
        }
        for partition in &partitions {
            if let Some(state) = self.partitions.get_mut(partition) {
                state.retry_at = now + self.settings.retry_backoff_max;
            }
        }
        self.fail(ConsumerError::NoOffset(partitions), effects);
    }

    fn refuse_committed(&mut self, partition: &TopicPartition, error: ResponseError, effects: &mut Vec<Effect>) {
        let failure = match error {
            ResponseError::TopicAuthorizationFailed => {
                ConsumerError::TopicAuthorization(vec![partition.topic.to_string()])
            }
            error => ConsumerError::Refused { what: format!("reading the committed offset of {partition}"), error },
        };
        for (call, _) in self.committed_calls.extract_if(.., |_, call| call.open.contains(partition)) {
            effects.push(Effect::Done { call, outcome: Err(failure.clone()) });
        }
        if self.partitions.get(partition).is_some_and(|state| state.position == Position::Committed) {
            self.fail(failure, effects);
        }
    }

    /// The coordinator will not say.
    fn fail_committed(&mut self, error: ResponseError, effects: &mut Vec<Effect>) {
        let group = self.group_id().to_string();
        let failure = match error {
            ResponseError::GroupAuthorizationFailed => ConsumerError::GroupAuthorization(group),
            error => ConsumerError::Refused { what: format!("reading the committed offsets of group {group}"), error },
        };
        self.fail_group_calls(&failure, effects);
        if self.partitions.values().any(|state| state.position == Position::Committed) {
            self.fail(failure, effects);
        }
    }

    /// Ends all calls that need the coordinator.
    pub(super) fn fail_group_calls(&mut self, failure: &ConsumerError, effects: &mut Vec<Effect>) {
        let committed = std::mem::take(&mut self.committed_calls).into_keys();
        let commits = std::mem::take(&mut self.commits).into_keys();
        for call in committed.chain(commits) {
            effects.push(Effect::Done { call, outcome: Err(failure.clone()) });
        }
    }

    fn group_id(&self) -> GroupId {
        let id = self.group.as_ref().map(|group| group.member.config().group_id.clone());
        GroupId(StrBytes::from_string(id.unwrap_or_default()))
    }
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// The first error of a commit, with its topic; those that end the commit before those that let it be tried again.
fn worst(response: &OffsetCommitResponse) -> Option<(ResponseError, String)> {
    let partitions =
        response.topics.iter().flat_map(|topic| topic.partitions.iter().map(|partition| (&topic.name, partition)));
    let mut errors = partitions.filter_map(|(topic, partition)| {
        Some((ResponseError::try_from_code(partition.error_code)?, topic.to_string()))
    });
    let first = errors.next()?;
    if !first.0.is_retriable() {
        return Some(first);
    }
    Some(errors.find(|(error, _)| !error.is_retriable()).unwrap_or(first))
}

/// What is committed, by partition.
fn read_committed(response: OffsetFetchResponse) -> Result<BTreeMap<TopicPartition, Committed>, ResponseError> {
    if let Some(error) = ResponseError::try_from_code(response.error_code) {
        return Err(error);
    }
    let mut found = BTreeMap::new();
    for group in response.groups {
        if let Some(error) = ResponseError::try_from_code(group.error_code) {
            return Err(error);
        }
        for topic in group.topics {
            let name: Arc<str> = topic.name.as_str().into();
            for partition in topic.partitions {
                let committed = match ResponseError::try_from_code(partition.error_code) {
                    None if partition.committed_offset < 0 => Committed::Nothing,
                    None => Committed::At(OffsetAndMetadata {
                        offset: partition.committed_offset,
                        leader_epoch: Some(partition.committed_leader_epoch).filter(|epoch| *epoch >= 0),
                        metadata: partition.metadata.map(|text| text.to_string()).unwrap_or_default(),
                    }),
                    Some(ResponseError::UnstableOffsetCommit) => Committed::NotYet,
                    Some(error) => Committed::Refused(error),
                };
                found.insert(TopicPartition::new(Arc::clone(&name), partition.partition_index), committed);
            }
        }
    }
    Ok(found)
}
