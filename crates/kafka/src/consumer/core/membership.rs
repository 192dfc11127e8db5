//! The consumer as a member of its group: what is given up, asked for and shared out in a rebalance.
//!
//! Eager, as with Java's range and round robin: before it joins again a member gives up everything. The application is told and answers with
//! `ack_revoked`; heartbeats go on meanwhile. Fetches stop, because what they bring may be another's tomorrow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{ConsumerCore, Effect, Mode, Pending, Target};
use crate::consumer::assignor::{Subscriber, decode_assignment, encode_assignment, encode_subscription};
use crate::consumer::{Assignor, ConsumerError, RebalanceEvent, Subscription, TopicPartition};
use crate::group::{
    AssignmentRequest, Effect as MemberEffect, GroupError, GroupMember, Input as MemberInput, Membership, Protocol,
    Target as MemberTarget,
};

/// A place in a group, or the wish for one.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) member: GroupMember,
    /// What this member told the group it wants to read.
    told: BTreeSet<String>,
    /// All that was assigned is to be given up; the application has not answered yet.
    revoking: bool,
    /// Joining waits for the names of all topics.
    preparing: bool,
    /// The leader's task that waits for metadata.
    assigning: Option<AssignmentRequest>,
    /// As leader: the topics of the whole group, and how many partitions each had when they were shared out.
    shared: Option<BTreeMap<String, Option<i32>>>,
    /// This static member was replaced by another process; it must not fight for its place.
    fenced: Option<GroupError>,
}

impl Group {
    pub(super) fn new(member: GroupMember) -> Self {
        Self {
            member,
            told: BTreeSet::new(),
            revoking: false,
            preparing: false,
            assigning: None,
            shared: None,
            fenced: None,
        }
    }

    /// Topics that this member as leader has to know.
    pub(super) fn group_topics(&self) -> impl Iterator<Item = &String> {
        self.shared.iter().flat_map(BTreeMap::keys)
    }

    /// Forgets a round that is under way.
    pub(super) fn forget(&mut self) {
        self.revoking = false;
        self.preparing = false;
        self.assigning = None;
        self.shared = None;
    }
}

impl ConsumerCore {
    /// Whether the application was told to give everything up and has not answered.
    pub fn is_revoking(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.revoking)
    }

    /// What had to be given up is given up: the answer to [`RebalanceEvent::Revoked`]. The member joins again.
    pub fn ack_revoked(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if let Some(group) = &mut self.group
            && std::mem::take(&mut group.revoking)
        {
            self.read(now, BTreeSet::new());
            self.prepared(now, effects);
        }
        self.advance(now, effects);
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
        if !group.member.is_member() {
            return self.member_step(now, MemberInput::Subscribe, effects);
        }
        // The subscription changed.
        if group.member.is_stable() && self.wanted_topics().is_some_and(|topics| Some(&topics) != self.told()) {
            let reason = "the subscription has changed".to_owned();
            self.member_step(now, MemberInput::Rejoin { reason }, effects);
        }
    }

    fn told(&self) -> Option<&BTreeSet<String>> {
        self.group.as_ref().map(|group| &group.told)
    }

    /// The names of the topics that are subscribed to; `None` while a filter has not seen all names.
    fn wanted_topics(&self) -> Option<BTreeSet<String>> {
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
                MemberEffect::Joined(membership) => self.joined(now, &membership, effects),
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

    fn prepare(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let owned = self.assignment();
        if owned.is_empty() {
            return self.prepared(now, effects);
        }
        if let Some(group) = &mut self.group {
            group.revoking = true;
            self.events.push_back(RebalanceEvent::Revoked(owned));
            effects.push(Effect::Wake);
        }
    }

    /// Tells the group what this member wants, as soon as it is known.
    fn prepared(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let topics = self.wanted_topics();
        let Some(group) = &mut self.group else { return };
        group.assigning = None;
        group.preparing = topics.is_none();
        let Some(topics) = topics else {
            return self.cluster.want_now(now);
        };
        // Lengths are those of names that are in memory already, so this fails only beyond two gigabytes of them.
        let metadata = match encode_subscription(&topics) {
            Ok(metadata) => metadata,
            Err(error) => return self.fail(ConsumerError::Config(error.to_string()), effects),
        };
        group.told = topics;
        let protocol = |assignor: &Assignor| Protocol { name: assignor.name().to_owned(), metadata: metadata.clone() };
        let protocols = self.settings.assignors.iter().map(protocol).collect();
        self.member_step(now, MemberInput::Prepared { protocols }, effects);
    }

    /// As leader, shares partitions out; waits until it is known what there is.
    fn assign_shares(&mut self, now: Duration, request: AssignmentRequest, effects: &mut Vec<Effect>) {
        let Some(group) = &mut self.group else { return };
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
        let counts = self.cluster.counts();
        let known = topics.iter().all(|topic| self.cluster.knows(topic));
        group.shared = Some(topics.iter().map(|topic| ((*topic).clone(), counts.get(*topic).copied())).collect());
        if !known {
            group.assigning = Some(request);
            return self.cluster.want_now(now);
        }
        let assignor = Assignor::from_name(&request.protocol).unwrap_or(Assignor::Range);
        let mut assignments = Vec::with_capacity(request.members.len());
        for (member, partitions) in assignor.assign(&members, counts) {
            match encode_assignment(&partitions) {
                Ok(bytes) => assignments.push((member, bytes)),
                Err(error) => tracing::warn!(member, %error, "an assignment cannot be written; the member gets none"),
            }
        }
        self.member_step(now, MemberInput::Assigned { generation: request.generation, assignments }, effects);
    }

    fn joined(&mut self, now: Duration, membership: &Membership, effects: &mut Vec<Effect>) {
        let Some(group) = &mut self.group else { return };
        if membership.leader != membership.member_id {
            group.shared = None;
        }
        let assigned = match decode_assignment(membership.assignment.clone()) {
            Ok(assigned) => assigned,
            Err(_) => {
                let group = group.member.config().group_id.clone();
                let what = "an assignment that cannot be read";
                self.fail(ConsumerError::Group(GroupError::BadAnswer { group, api: "SyncGroup", what }), effects);
                BTreeSet::new()
            }
        };
        let list: Vec<TopicPartition> = assigned.iter().cloned().collect();
        self.read(now, assigned);
        self.events.push_back(RebalanceEvent::Assigned(list));
        effects.push(Effect::Wake);
        if self.partitions.keys().any(|partition| self.cluster.leader(partition).is_none()) {
            self.cluster.want_now(now);
        }
        self.check_topics(now, effects);
    }

    fn lost(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let owned = self.assignment();
        self.read(now, BTreeSet::new());
        let Some(group) = &mut self.group else { return };
        group.shared = None;
        group.assigning = None;
        let was_revoking = std::mem::take(&mut group.revoking);
        if was_revoking {
            // What the application does not know yet it need not do any more.
            self.events.retain(|event| !matches!(event, RebalanceEvent::Revoked(_)));
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
        self.fail_group_calls(&ConsumerError::Group(error.clone()), effects);
        self.fail(ConsumerError::Group(error), effects);
    }

    /// Metadata arrived.
    pub(super) fn metadata_changed(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Some(group) = &mut self.group else { return };
        if group.preparing {
            self.prepared(now, effects);
        }
        if let Some(request) = self.group.as_mut().and_then(|group| group.assigning.take()) {
            self.assign_shares(now, request, effects);
        }
        self.check_topics(now, effects);
    }

    /// Joins again when the topics are not what they were when the partitions were shared out.
    fn check_topics(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Some(group) = &self.group else { return };
        if !group.member.is_stable() {
            return;
        }
        let counts = self.cluster.counts();
        let grown = group
            .shared
            .iter()
            .flatten()
            .any(|(topic, count)| self.cluster.knows(topic) && counts.get(topic).copied() != *count);
        let reason = if grown {
            "the topics of the group have changed since partitions were shared out"
        } else if self.wanted_topics().is_some_and(|topics| topics != group.told) {
            "the subscription has changed"
        } else {
            return;
        };
        self.member_step(now, MemberInput::Rejoin { reason: reason.to_owned() }, effects);
    }
}
