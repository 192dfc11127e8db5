//! Taking back what the journal did not take: a change of a group is there as a whole, in memory and after a restart, or it was never made.
//!
//! Whoever is about to write entries first keeps what they replace ([`Effects::keep`] and its kin). When the write fails, [`Groups::take_back`] puts that
//! back, drops the answers that were to tell of the change, and refuses those that asked for it. A rebalance that was to end ends a little later: joins wait.
//! An assignment that cannot be kept is refused to all who wait for it, and they join again. As Apache Kafka's coordinator, which rolls back
//! its state and answers `NOT_COORDINATOR`, so that clients look for the coordinator and try again.

use std::time::Duration;

use kafka_protocol::ResponseError;

use super::consumer::ConsumerMember;
use super::member::{Context, join_error};
use super::{Effects, Group, Groups};
use crate::broker::Ticket;

/// How long to wait before a change that only time asked for is tried again, as in Apache Kafka.
const RETRY: Duration = Duration::from_millis(500);

/// What a group was before a change.
pub(crate) struct Before {
    group: String,
    was: Was,
    /// Answers that tell nothing of the change yet.
    answers: usize,
}

enum Was {
    Absent,
    /// Without its offsets, which change on their own.
    Group(Box<Group>),
    /// As before a member asked with this request to take the place of another.
    Replaced(Box<Group>, Ticket),
    /// As before its leader handed out assignments with this request.
    Unassigned(Box<Group>, Ticket),
    /// Only this member of a consumer group has changed.
    Member(String, Box<ConsumerMember>),
}

impl Effects {
    fn push(&mut self, group: &str, was: Was) {
        self.before.push(Before { group: group.to_owned(), was, answers: self.answers.len() });
    }

    /// Keeps a group that is about to change.
    pub(super) fn keep(&mut self, name: &str, group: &mut Group) {
        self.push(name, Was::Group(Box::new(group.without_offsets())));
    }

    /// Keeps a group in which somebody is about to take the place of another, with the request `ticket`.
    pub(super) fn keep_replaced(&mut self, name: &str, group: &mut Group, ticket: Ticket) {
        self.push(name, Was::Replaced(Box::new(group.without_offsets()), ticket));
    }

    /// Keeps a group whose leader hands out assignments with the request `ticket`.
    pub(super) fn keep_unassigned(&mut self, name: &str, group: &mut Group, ticket: Ticket) {
        self.push(name, Was::Unassigned(Box::new(group.without_offsets()), ticket));
    }

    /// Takes note of what a member of a consumer group was; nothing else of the group has changed.
    pub(super) fn keep_member(&mut self, name: &str, id: &str, was: ConsumerMember) {
        self.push(name, Was::Member(id.to_owned(), Box::new(was)));
    }
}

impl Group {
    fn without_offsets(&mut self) -> Self {
        let offsets = (std::mem::take(&mut self.offsets), std::mem::take(&mut self.pending_offsets));
        let copy = self.clone();
        (self.offsets, self.pending_offsets) = offsets;
        copy
    }
}

impl Groups {
    /// Keeps a group that is about to change or to be made.
    pub(super) fn keep(&mut self, name: &str, effects: &mut Effects) {
        match self.groups.get_mut(name) {
            Some(group) => effects.keep(name, group),
            None => effects.push(name, Was::Absent),
        }
    }

    /// Takes back a change that could not be written, and answers with `error` instead of what it had to tell.
    pub(crate) fn take_back(&mut self, now: Duration, now_ms: i64, error: ResponseError, effects: &mut Effects) {
        let limits = self.limits.clone();
        effects.entries.clear();
        for Before { group: name, was, answers } in std::mem::take(&mut effects.before).into_iter().rev() {
            effects.answers.truncate(answers);
            match was {
                Was::Absent => drop(self.groups.remove(&name)),
                Was::Group(was) => {
                    self.put_back(&name, *was).retry_at.get_or_insert(now + RETRY);
                }
                Was::Replaced(was, ticket) => {
                    self.put_back(&name, *was);
                    effects.answers.push((ticket, join_error(error, "")));
                }
                Was::Unassigned(was, ticket) => {
                    let mut context = Context { name: &name, now, now_ms, limits: &limits, effects };
                    self.put_back(&name, *was).refuse_assignments(&mut context, ticket, error);
                }
                Was::Member(id, was) => self.put_member_back(&name, id, *was),
            }
        }
        self.reschedule();
    }

    /// Takes back what a refused request has begun to change; what was answered on the way is not.
    pub(super) fn forget_change(&mut self, effects: &mut Effects) {
        effects.entries.clear();
        for Before { group: name, was, answers } in std::mem::take(&mut effects.before).into_iter().rev() {
            effects.answers.truncate(answers);
            match was {
                Was::Absent => drop(self.groups.remove(&name)),
                Was::Group(was) | Was::Replaced(was, _) | Was::Unassigned(was, _) => drop(self.put_back(&name, *was)),
                Was::Member(id, was) => self.put_member_back(&name, id, *was),
            }
        }
    }

    fn put_member_back(&mut self, name: &str, id: String, was: ConsumerMember) {
        if let Some(consumer) = self.groups.get_mut(name).and_then(|group| group.consumer.as_mut()) {
            consumer.members.insert(id, was);
        }
    }

    fn put_back(&mut self, name: &str, was: Group) -> &mut Group {
        let group = self.groups.entry(name.to_owned()).or_insert_with(|| Group::new(was.changed_ms));
        let is = std::mem::replace(group, was);
        (group.offsets, group.pending_offsets) = (is.offsets, is.pending_offsets);
        group
    }
}
