//! Following what the coordinator of the consumer protocol assigns (KIP-848).
//!
//! It names topics by id, so some have to wait until metadata say their names; the rest is taken meanwhile. What is not assigned any more is given up
//! first: the application is told and answers, as in a classic group, and only then does the coordinator hear that this member owns it no more. Read on
//! in `group::epochs` for the heartbeats. Counterpart of the reconciliation in Java's `AbstractMembershipManager`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{ConsumerCore, Effect, Mode};
use crate::consumer::{Subscription, TopicPartition};
use crate::group::{Input as MemberInput, OwnedPartitions, Wanted};

impl ConsumerCore {
    /// What the coordinator is told that this member wants; `None` while a filter has not seen all names.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        match &self.mode {
            Mode::Subscribed(Subscription::Pattern(pattern)) => {
                Some(Wanted { topics: BTreeSet::new(), pattern: Some(pattern.clone()) })
            }
            _ => Some(Wanted { topics: self.wanted_topics()?, pattern: None }),
        }
    }

    /// Tells the coordinator what this member wants. False when it is not known yet.
    pub(super) fn tell_wanted(&mut self, now: Duration, effects: &mut Vec<Effect>) -> bool {
        let Some(wanted) = self.wanted() else {
            self.cluster.want_now(now);
            return false;
        };
        self.member_step(now, MemberInput::Wanted(wanted), effects);
        true
    }

    /// The coordinator assigned something else.
    pub(super) fn follow(&mut self, now: Duration, target: OwnedPartitions, effects: &mut Vec<Effect>) {
        if let Some(group) = &mut self.group
            && group.target.replace(target.clone()).unwrap_or_default() != target
        {
            self.figures.reconciling(now);
        }
        self.reconcile(now, effects);
    }

    /// Takes the next step towards what is assigned.
    pub(super) fn reconcile(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Some(group) = &mut self.group else { return };
        if group.revoking.is_some() {
            return; // `ack_revoked` comes back here.
        }
        let Some(target) = &group.target else { return };
        let names: BTreeMap<_, Arc<str>> =
            self.cluster.topic_ids().map(|(topic, id)| (id, topic.as_str().into())).collect();
        let mut assigned = BTreeSet::new();
        let mut is_known = true;
        for (id, partitions) in target {
            let Some(name) = names.get(id) else {
                is_known = false;
                continue;
            };
            group.ids.insert(Arc::clone(name), *id);
            assigned.extend(partitions.iter().map(|partition| TopicPartition::new(Arc::clone(name), *partition)));
        }
        if !is_known {
            self.cluster.want(now);
        }
        let gone: BTreeSet<TopicPartition> =
            self.partitions.keys().filter(|partition| !assigned.contains(partition)).cloned().collect();
        if !gone.is_empty() {
            self.revoke(gone, Some(assigned), effects);
        } else if assigned.len() != self.partitions.len() {
            self.take_assignment(now, assigned, effects);
            self.tell_owned(now, effects);
        }
        let is_revoking = self.group.as_ref().is_some_and(|group| group.revoking.is_some());
        if is_known && !is_revoking {
            self.figures.rebalanced(now);
        }
    }

    /// Tells the coordinator what this member owns.
    pub(super) fn tell_owned(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Some(group) = &mut self.group else { return };
        let mut owned = OwnedPartitions::new();
        for partition in self.partitions.keys() {
            if let Some(id) = group.ids.get(&partition.topic) {
                owned.entry(*id).or_default().insert(partition.partition);
            }
        }
        group.ids.retain(|topic, _| self.partitions.keys().any(|partition| partition.topic == *topic));
        self.member_step(now, MemberInput::Owned(owned), effects);
    }
}
