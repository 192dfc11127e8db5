//! The consumer as a member of its group: what is given up, asked for and shared out in a rebalance.
//!
//! Eager, when any assignor that it offers is: before it joins again a member gives up everything. Cooperative, when all are (KIP-429): it keeps what it
//! has, and gives up what the new assignment takes away; then it joins once more, so that the others may have that. Either way the application is
//! told and answers with `ack_revoked`; heartbeats go on meanwhile. What is being given up is fetched no more, because it may be another's
//! tomorrow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::member::Member;
use super::{ConsumerCore, Effect, Mode, Pending, Target};
use crate::consumer::assignor::{Subscriber, Told, TopicLayout, decode_assignment, encode_assignment};
use crate::consumer::{Assignor, ConsumerError, RebalanceEvent, Subscription, TopicPartition};
use crate::group::{
    AssignmentRequest, Effect as MemberEffect, GroupError, Input as MemberInput, Membership, OwnedPartitions, Protocol,
    Target as MemberTarget,
};

/// A place in a group, or the wish for one.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) member: Member,
    /// What this member told the group it wants to read.
    told: BTreeSet<String>,
    /// Topics of the assignment that this member did not know of yet: the leader's metadata were younger.
    news: BTreeSet<String>,
    /// What is to be given up; the application has not answered yet.
    pub(super) revoking: Option<Revocation>,
    /// Joining waits for the names of all topics.
    preparing: bool,
    /// The leader's task that waits for metadata.
    assigning: Option<AssignmentRequest>,
    /// As leader: the topics of the whole group, and what there was of each when they were shared out.
    shared: Option<BTreeMap<String, Option<TopicLayout>>>,
    /// What this member was assigned last, and in which generation.
    last: Option<(BTreeSet<TopicPartition>, i32)>,
    /// What the coordinator of the consumer protocol wants this member to own.
    pub(super) target: Option<OwnedPartitions>,
    /// The ids of the topics of what it owns or is about to.
    pub(super) ids: BTreeMap<Arc<str>, Uuid>,
    /// How often what it owned was lost: a commit from before speaks for partitions of others.
    pub(super) losses: u64,
    /// This static member was replaced by another process; it must not fight for its place.
    fenced: Option<GroupError>,
}

/// Partitions that the application is to give up.
#[derive(Debug)]
pub(super) struct Revocation {
    partitions: BTreeSet<TopicPartition>,
    /// Whether the application has been told.
    is_told: bool,
    /// The assignment to take afterwards; without one the member joins again.
    then: Option<BTreeSet<TopicPartition>>,
}

impl Group {
    pub(super) fn new(member: Member) -> Self {
        Self {
            member,
            told: BTreeSet::new(),
            news: BTreeSet::new(),
            revoking: None,
            preparing: false,
            assigning: None,
            shared: None,
            last: None,
            target: None,
            ids: BTreeMap::new(),
            losses: 0,
            fenced: None,
        }
    }

    /// Topics that this member as leader has to know.
    pub(super) fn group_topics(&self) -> impl Iterator<Item = &String> {
        self.shared.iter().flat_map(BTreeMap::keys)
    }

    /// Forgets a round that is under way.
    pub(super) fn forget(&mut self) {
        self.revoking = None;
        self.preparing = false;
        self.assigning = None;
        self.shared = None;
        self.target = None;
        self.ids.clear();
        self.losses += 1;
    }

    /// The application has been given all events.
    pub(super) fn events_told(&mut self) {
        if let Some(revocation) = &mut self.revoking {
            revocation.is_told = true;
        }
    }
}

impl ConsumerCore {
    /// Whether the application was told to give something up and has not answered.
    pub fn is_revoking(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.revoking.is_some())
    }

    /// What had to be given up is given up: the answer to [`RebalanceEvent::Revoked`]. The member takes its new assignment, or joins again.
    pub fn ack_revoked(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.clock = now;
        self.figures.gave_up(now);
        if let Some(group) = &mut self.group
            && let Some(revocation) = group.revoking.take()
        {
            let kept = self.partitions.keys().filter(|partition| !revocation.partitions.contains(partition));
            self.read(now, kept.cloned().collect());
            match revocation.then {
                _ if !self.is_classic() => {
                    self.reconcile(now, effects);
                    self.tell_owned(now, effects);
                }
                None => self.prepared(now, effects),
                Some(assigned) => {
                    self.take_assignment(now, assigned, effects);
                    let reason = "need to revoke partitions and re-join".to_owned();
                    self.member_step(now, MemberInput::Rejoin { reason }, effects);
                    // The group began another rebalance meanwhile.
                    if self.group.as_ref().is_some_and(|group| group.member.is_preparing() && group.revoking.is_none())
                    {
                        self.prepare(now, effects);
                    }
                }
            }
        }
        self.advance(now, effects);
    }

    /// Makes the group rebalance: Java's `enforceRebalance`.
    pub fn enforce_rebalance(&mut self, now: Duration, reason: &str, effects: &mut Vec<Effect>) {
        let reason = if reason.is_empty() { "rebalance enforced by user" } else { reason };
        self.member_step(now, MemberInput::Rejoin { reason: reason.to_owned() }, effects);
        self.advance(now, effects);
    }

    fn is_classic(&self) -> bool {
        self.group.as_ref().is_none_or(|group| group.member.is_classic())
    }

    /// Whether this member keeps what it has while the group rebalances.
    fn is_cooperative(&self) -> bool {
        self.settings.assignors.iter().all(|assignor| assignor.is_cooperative())
    }

    /// Becomes a member if membership is wanted and there is none.
    pub(super) fn join(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if !matches!(self.mode, Mode::Subscribed(_)) {
            return;
        }
        let Some(group) = &mut self.group else { return };
        if let Some(error) = &group.fenced {
            let error = ConsumerError::Group(error.clone());
            if self.errors.is_empty() {
                self.fail(error, effects);
            }
            return;
        }
        let is_member = group.member.is_member();
        if !group.member.is_classic() {
            if self.tell_wanted(now, effects) && !is_member {
                self.member_step(now, MemberInput::Subscribe, effects);
            }
            return;
        }
        if !is_member {
            return self.member_step(now, MemberInput::Subscribe, effects);
        }
        // The subscription changed.
        if group.member.is_stable() && self.wants_something_else() {
            let reason = "subscription has changed".to_owned();
            self.member_step(now, MemberInput::Rejoin { reason }, effects);
        }
    }

    /// Whether the subscription is not what the group was told.
    fn wants_something_else(&self) -> bool {
        let (Some(wanted), Some(group)) = (self.wanted_topics(), &self.group) else { return false };
        let differs = |topic: &&String| !group.news.contains(*topic);
        wanted.symmetric_difference(&group.told).any(|topic| differs(&topic))
    }

    /// Whether the topic is subscribed to, known or not.
    fn wants(&self, topic: &str) -> bool {
        match &self.mode {
            Mode::Subscribed(Subscription::Topics(topics)) => topics.iter().any(|wanted| wanted == topic),
            Mode::Subscribed(Subscription::Matching(filter)) => filter(topic),
            // The coordinator decides.
            Mode::Subscribed(Subscription::Pattern(_)) => true,
            Mode::Idle | Mode::Assigned => false,
        }
    }

    /// The names of the topics that are subscribed to; `None` while a filter has not seen all names.
    pub(super) fn wanted_topics(&self) -> Option<BTreeSet<String>> {
        match &self.mode {
            Mode::Subscribed(Subscription::Topics(topics)) => Some(topics.iter().cloned().collect()),
            Mode::Subscribed(Subscription::Matching(filter)) if self.cluster.knows_all() => {
                let shown = |topic: &&String| {
                    !(self.settings.exclude_internal_topics && self.cluster.is_internal(topic)) && filter(topic)
                };
                Some(self.cluster.counts().keys().filter(shown).cloned().collect())
            }
            _ => None,
        }
    }

    /// Gives the member one input and does what it wants done.
    pub(super) fn member_step(&mut self, now: Duration, input: MemberInput, effects: &mut Vec<Effect>) {
        let Some(group) = &mut self.group else { return };
        let mut wanted = Vec::new();
        group.member.step(now, input, &mut wanted);
        for effect in wanted {
            match effect {
                MemberEffect::Send { id, to, request, timeout } => {
                    let to = match to {
                        MemberTarget::Any => Target::Any,
                        MemberTarget::Coordinator(coordinator) => Target::Coordinator(coordinator),
                    };
                    self.send(to, *request, timeout, Pending::Member(id), effects);
                }
                // Whoever waits for the coordinator looks again in `advance`.
                MemberEffect::Coordinator(_) => {}
                MemberEffect::Prepare => self.prepare(now, effects),
                MemberEffect::Assign(request) => self.assign_shares(now, request, effects),
                MemberEffect::Leading(request) => {
                    self.watch_topics(now, &request);
                }
                MemberEffect::Joined(membership) => self.joined(now, &membership, effects),
                MemberEffect::Target(target) => self.follow(now, target, effects),
                MemberEffect::Refused(error) => {
                    let what = "a heartbeat to the coordinator of the group".to_owned();
                    self.fail(ConsumerError::Refused { what, error }, effects);
                }
                MemberEffect::Lost => self.lost(now, effects),
                MemberEffect::Left => {
                    if self.closing.is_some() {
                        self.group_left(effects);
                    }
                    // Whoever subscribed again meanwhile can join now.
                    effects.push(Effect::Wake);
                }
                MemberEffect::Failed(error) => self.membership_failed(error, effects),
            }
        }
    }

    /// Gives up what has to be given up before the member joins again.
    fn prepare(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let cooperative = self.is_cooperative();
        let Some(group) = &mut self.group else { return };
        if group.revoking.is_some() {
            return; // What the last assignment took away is being given up; `ack_revoked` comes back here.
        }
        let mut leaving: BTreeSet<TopicPartition> = self.partitions.keys().cloned().collect();
        if cooperative && !leaving.is_empty() {
            let Some(wanted) = self.wanted_topics() else { return self.wait_for_topics(now) };
            leaving.retain(|partition| !wanted.contains(&*partition.topic));
        }
        if leaving.is_empty() {
            return self.prepared(now, effects);
        }
        self.revoke(leaving, None, effects);
    }

    pub(super) fn revoke(
        &mut self,
        partitions: BTreeSet<TopicPartition>,
        then: Option<BTreeSet<TopicPartition>>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(group) = &mut self.group else { return };
        for partition in &partitions {
            if let Some(state) = self.partitions.get_mut(partition) {
                state.revoked = true;
            }
        }
        self.events.push_back(RebalanceEvent::Revoked(partitions.iter().cloned().collect()));
        group.revoking = Some(Revocation { partitions, is_told: false, then });
        effects.push(Effect::Wake);
    }

    fn wait_for_topics(&mut self, now: Duration) {
        if let Some(group) = &mut self.group {
            group.preparing = true;
            self.cluster.want_now(now);
        }
    }

    /// Tells the group what this member wants, as soon as it is known.
    fn prepared(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let topics = self.wanted_topics();
        let owned: BTreeSet<TopicPartition> = self.partitions.keys().cloned().collect();
        let Some(group) = &mut self.group else { return };
        group.assigning = None;
        group.shared = None;
        group.preparing = false;
        let Some(topics) = topics else { return self.wait_for_topics(now) };
        let told = Told {
            topics: &topics,
            owned: &owned,
            last: group.last.as_ref().map(|(partitions, generation)| (partitions, *generation)),
            generation: group.member.identity().0,
            rack: Some(self.settings.client_rack.as_str()).filter(|rack| !rack.is_empty()),
        };
        let protocol =
            |assignor: &Assignor| Ok(Protocol { name: assignor.name().to_owned(), metadata: told.encode(*assignor)? });
        // Lengths are those of names that are in memory already, so this fails only beyond two gigabytes of them.
        let protocols: Result<Vec<Protocol>, crate::wire::WireError> =
            self.settings.assignors.iter().map(protocol).collect();
        let protocols = match protocols {
            Ok(protocols) => protocols,
            Err(error) => return self.fail(ConsumerError::Config(error.to_string()), effects),
        };
        group.told = topics;
        group.news.clear();
        self.member_step(now, MemberInput::Prepared { protocols }, effects);
    }

    /// As leader, shares partitions out; waits until it is known what there is.
    fn assign_shares(&mut self, now: Duration, request: AssignmentRequest, effects: &mut Vec<Effect>) {
        let members = self.watch_topics(now, &request);
        let Some(group) = &mut self.group else { return };
        let topics: BTreeSet<&String> = members.iter().flat_map(|member| &member.topics).collect();
        if !topics.iter().all(|topic| self.cluster.knows(topic)) {
            group.assigning = Some(request);
            return self.cluster.want_now(now);
        }
        let layout = topics.into_iter().filter_map(|topic| Some((topic.clone(), self.cluster.layout(topic)?)));
        let assignor = Assignor::from_name(&request.protocol).unwrap_or(Assignor::Range);
        let mut assignments = Vec::with_capacity(request.members.len());
        for (member, partitions) in assignor.assign(&members, &layout.collect()) {
            match encode_assignment(&partitions) {
                Ok(bytes) => assignments.push((member, bytes)),
                Err(error) => tracing::warn!(member, %error, "an assignment cannot be written; the member gets none"),
            }
        }
        self.member_step(now, MemberInput::Assigned { generation: request.generation, assignments }, effects);
    }

    /// As leader, keeps an eye on the topics of all members; returns these.
    fn watch_topics(&mut self, now: Duration, request: &AssignmentRequest) -> Vec<Subscriber> {
        let mut members = Vec::with_capacity(request.members.len());
        for member in &request.members {
            match Subscriber::read(member) {
                Ok(subscriber) => members.push(subscriber),
                Err(error) => tracing::warn!(
                    member = member.member_id,
                    %error,
                    "a member of the group sent a subscription that cannot be read; it gets no partitions"
                ),
            }
        }
        let topics: BTreeSet<&String> = members.iter().flat_map(|member| &member.topics).collect();
        if topics.iter().any(|topic| !self.cluster.knows(topic)) {
            self.cluster.want_now(now);
        }
        let shared = topics.into_iter().map(|topic| (topic.clone(), self.watched(topic))).collect();
        if let Some(group) = &mut self.group {
            group.shared = Some(shared);
        }
        members
    }

    /// What a leader looks at to see that a topic has changed: as in Java, racks only where it has one itself.
    fn watched(&self, topic: &str) -> Option<TopicLayout> {
        let layout = self.cluster.layout(topic)?;
        Some(if !self.settings.client_rack.is_empty() { layout } else { TopicLayout::of(layout.partitions) })
    }

    fn joined(&mut self, now: Duration, membership: &Membership, effects: &mut Vec<Effect>) {
        let Some(group) = &mut self.group else { return };
        if membership.leader != membership.member_id {
            group.shared = None;
        }
        let Ok(assigned) = decode_assignment(membership.assignment.clone()) else {
            let group = group.member.config().group_id.clone();
            let what = "an assignment that cannot be read";
            return self.fail(ConsumerError::Group(GroupError::BadAnswer { group, api: "SyncGroup", what }), effects);
        };
        if assigned.iter().any(|partition| !self.wants(&partition.topic)) {
            let reason = "received assignment does not match the current subscription".to_owned();
            return self.member_step(now, MemberInput::Rejoin { reason }, effects);
        }
        let Some(group) = &mut self.group else { return };
        group.last = Some((assigned.clone(), membership.generation));
        let unheard = assigned.iter().filter(|partition| !group.told.contains(&*partition.topic));
        group.news = unheard.map(|partition| partition.topic.to_string()).collect();
        let revoked: BTreeSet<TopicPartition> =
            self.partitions.keys().filter(|partition| !assigned.contains(partition)).cloned().collect();
        if revoked.is_empty() {
            self.take_assignment(now, assigned, effects);
        } else {
            self.revoke(revoked, Some(assigned), effects);
        }
    }

    pub(super) fn take_assignment(
        &mut self,
        now: Duration,
        assigned: BTreeSet<TopicPartition>,
        effects: &mut Vec<Effect>,
    ) {
        let added = assigned.iter().filter(|partition| !self.partitions.contains_key(partition)).cloned().collect();
        self.read(now, assigned);
        self.events.push_back(RebalanceEvent::Assigned(added));
        effects.push(Effect::Wake);
        if self.partitions.keys().any(|partition| self.cluster.leader(partition).is_none()) {
            self.cluster.want_now(now);
        }
        self.check_topics(now, effects);
    }

    fn lost(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.figures.rebalance_failed(now);
        let mut owned = self.assignment();
        self.read(now, BTreeSet::new());
        let Some(group) = &mut self.group else { return };
        group.shared = None;
        group.assigning = None;
        group.target = None;
        group.ids.clear();
        group.losses += 1;
        let revocation = group.revoking.take();
        let was_revoking = revocation.is_some();
        match revocation {
            // The application is giving these up already; its commit will say that it is too late.
            Some(revocation) if revocation.is_told => owned.retain(|gone| !revocation.partitions.contains(gone)),
            // What it does not know yet it need not do any more.
            Some(_) => self.events.retain(|event| !matches!(event, RebalanceEvent::Revoked(_))),
            None => {}
        }
        if !owned.is_empty() {
            self.events.push_back(RebalanceEvent::Lost(owned));
            effects.push(Effect::Wake);
        }
        if was_revoking && self.group.as_ref().is_some_and(|group| group.member.is_preparing()) {
            self.prepared(now, effects);
        }
    }

    fn membership_failed(&mut self, error: GroupError, effects: &mut Vec<Effect>) {
        let Some(group) = &mut self.group else { return };
        group.forget();
        if matches!(error, GroupError::Fenced { .. }) {
            group.fenced = Some(error.clone());
        }
        let error = match error {
            GroupError::Refused { group, error: ResponseError::GroupAuthorizationFailed, .. } => {
                ConsumerError::GroupAuthorization(group)
            }
            error => ConsumerError::Group(error),
        };
        self.fail_group_calls(&error, effects);
        self.fail(error, effects);
    }

    /// Metadata arrived.
    pub(super) fn metadata_changed(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Some(group) = &mut self.group else { return };
        if !group.member.is_classic() {
            self.join(now, effects);
            return self.reconcile(now, effects);
        }
        let news = std::mem::take(&mut group.news);
        group.told.extend(news);
        if group.preparing {
            group.preparing = false;
            self.prepare(now, effects);
        }
        if let Some(request) = self.group.as_mut().and_then(|group| group.assigning.take()) {
            self.assign_shares(now, request, effects);
        }
        self.check_topics(now, effects);
    }

    /// Joins again when the topics are not what they were when the partitions were shared out.
    fn check_topics(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Some(group) = &self.group else { return };
        if !group.member.is_stable() || !group.member.is_classic() {
            return;
        }
        let changed =
            |(topic, was): (&String, &Option<TopicLayout>)| self.cluster.knows(topic) && self.watched(topic) != *was;
        let reason = if group.shared.iter().flatten().any(changed) {
            "cached metadata has changed"
        } else if self.wants_something_else() {
            "subscription has changed"
        } else {
            return;
        };
        self.member_step(now, MemberInput::Rejoin { reason: reason.to_owned() }, effects);
    }
}
