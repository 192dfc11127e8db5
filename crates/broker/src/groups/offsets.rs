//! Offsets of groups: committing, reading, forgetting; also those inside transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::{Effects, Group, Groups, State};
use crate::journal::{CommittedOffset, Entry};

/// Longest text that may go with an offset, in bytes.
pub(crate) const MAX_OFFSET_METADATA: usize = 4096;

/// First version of `OffsetCommit` that members of the consumer protocol may use.
const MEMBER_EPOCH_VERSION: i16 = 9;

/// Offsets in an open transaction; none where somebody has committed or removed the offset since, so that it will not come back.
pub(crate) type PendingOffsets = BTreeMap<(String, i32), Option<CommittedOffset>>;

/// Who commits.
pub(crate) struct Committer<'a> {
    pub(crate) group: &'a str,
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    pub(crate) generation: i32,
}

impl Committer<'_> {
    fn is_anonymous(&self) -> bool {
        self.generation < 0 && self.member_id.is_empty() && self.instance_id.is_none()
    }
}

impl Group {
    /// Keeps an offset outside of any transaction. What transactions that are open have of it is older.
    pub(super) fn put_offset(&mut self, offset: CommittedOffset) {
        let place = (offset.topic.clone(), offset.partition);
        self.overtake(&place);
        self.offsets.insert(place, offset);
    }

    /// Forgets an offset, also those of it that are in open transactions.
    pub(super) fn remove_offset(&mut self, topic: String, partition: i32) {
        let place = (topic, partition);
        self.overtake(&place);
        self.offsets.remove(&place);
    }

    fn overtake(&mut self, place: &(String, i32)) {
        self.pending_offsets
            .values_mut()
            .filter_map(|pending| pending.get_mut(place))
            .for_each(|offset| *offset = None);
    }

    /// Keeps what an open transaction has in store.
    pub(super) fn put_pending_offsets(&mut self, producer_id: i64, offsets: Vec<CommittedOffset>) {
        let pending = self.pending_offsets.entry(producer_id).or_default();
        pending.extend(offsets.into_iter().map(|offset| ((offset.topic.clone(), offset.partition), Some(offset))));
    }

    /// All offsets as journal entries, in an order in which they say what was overtaken.
    pub(super) fn snapshot_offsets(&self, group: &str, entries: &mut Vec<Entry>) {
        let pending = |producer_id: i64, offsets: Vec<CommittedOffset>| {
            let entry = Entry::PendingOffsets { group: group.to_owned(), producer_id, offsets };
            (!matches!(&entry, Entry::PendingOffsets { offsets, .. } if offsets.is_empty())).then_some(entry)
        };
        for (producer_id, offsets) in &self.pending_offsets {
            let overtaken = || offsets.iter().filter(|(_, offset)| offset.is_none()).map(|(place, _)| place.clone());
            let (leader_epoch, committed_ms) = (-1, 0);
            let any = overtaken().map(|(topic, partition)| CommittedOffset {
                topic,
                partition,
                offset: 0,
                leader_epoch,
                metadata: String::new(),
                committed_ms,
            });
            entries.extend(pending(*producer_id, any.collect()));
            entries.extend(overtaken().map(|(topic, partition)| Entry::OffsetRemoved {
                group: group.to_owned(),
                topic,
                partition,
            }));
        }
        let committed = self.offsets.values().cloned();
        entries.extend(committed.map(|offset| Entry::OffsetCommitted { group: group.to_owned(), offset }));
        for (producer_id, offsets) in &self.pending_offsets {
            entries.extend(pending(*producer_id, offsets.values().flatten().cloned().collect()));
        }
    }
}

impl Groups {
    /// Whether these offsets may be committed.
    pub(crate) fn check_commit(
        &mut self,
        now: Duration,
        committer: &Committer<'_>,
        in_transaction: bool,
        version: i16,
    ) -> Result<(), ResponseError> {
        let Some(group) = self.groups.get_mut(committer.group) else {
            // Without a generation, whoever commits keeps no group but the offsets.
            return if committer.generation < 0 { Ok(()) } else { Err(ResponseError::IllegalGeneration) };
        };
        let anonymous = committer.is_anonymous();
        if let Some(consumer) = &group.consumer {
            if (committer.generation < 0 && consumer.members.is_empty()) || (in_transaction && anonymous) {
                return Ok(());
            }
            let member = consumer.members.get(committer.member_id).ok_or(ResponseError::UnknownMemberId)?;
            // Before, a client would not know what to make of a stale epoch, which `check_commit_for` finds.
            return if in_transaction || version >= MEMBER_EPOCH_VERSION || member.is_classic() {
                Ok(())
            } else {
                Err(ResponseError::UnsupportedVersion)
            };
        }
        // Whoever names no generation need not be a member of a group that has none.
        if committer.generation < 0 && group.state == State::Empty {
            return Ok(());
        }
        if anonymous {
            return if in_transaction { Ok(()) } else { Err(ResponseError::UnknownMemberId) };
        }
        group.check_member(committer.member_id, committer.instance_id, committer.generation)?;
        match group.state {
            State::CompletingRebalance if !in_transaction => Err(ResponseError::RebalanceInProgress),
            State::Empty => Err(ResponseError::UnknownMemberId),
            _ => {
                group.touch(committer.member_id, now);
                Ok(())
            }
        }
    }

    /// Whether the offset of this partition may be committed, by somebody who passed [`Self::check_commit`].
    pub(crate) fn check_commit_for(
        &self,
        committer: &Committer<'_>,
        topic: Uuid,
        partition: i32,
    ) -> Result<(), ResponseError> {
        match self.groups.get(committer.group).and_then(|group| group.consumer.as_ref()) {
            Some(consumer) if !consumer.members.is_empty() && !committer.is_anonymous() => {
                consumer.check_commit(committer.member_id, committer.generation, topic, partition)
            }
            _ => Ok(()),
        }
    }

    /// Takes committed offsets that are in the journal.
    pub(crate) fn commit(&mut self, now_ms: i64, name: &str, offsets: Vec<CommittedOffset>) {
        let group = self.groups.entry(name.to_owned()).or_insert_with(|| Group::new(now_ms));
        group.changed_ms = now_ms;
        offsets.into_iter().for_each(|offset| group.put_offset(offset));
    }

    /// Takes offsets of an open transaction that are in the journal.
    pub(crate) fn add_pending_offsets(
        &mut self,
        now_ms: i64,
        name: &str,
        producer_id: i64,
        offsets: Vec<CommittedOffset>,
    ) {
        let group = self.groups.entry(name.to_owned()).or_insert_with(|| Group::new(now_ms));
        group.put_pending_offsets(producer_id, offsets);
    }

    /// Ends what a transaction had in store for a group.
    pub(crate) fn end_pending_offsets(&mut self, name: &str, producer_id: i64, commit: bool) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(pending) = group.pending_offsets.remove(&producer_id) else {
            return;
        };
        if commit {
            for (place, offset) in pending {
                if let Some(offset) = offset {
                    group.changed_ms = group.changed_ms.max(offset.committed_ms);
                    group.offsets.insert(place, offset);
                }
            }
        }
    }

    /// Removes a group without members.
    pub(crate) fn check_delete(&self, name: &str) -> Result<(), ResponseError> {
        match self.groups.get(name) {
            None => Err(ResponseError::GroupIdNotFound),
            Some(group) if !group.is_empty() || !group.pending_offsets.is_empty() => Err(ResponseError::NonEmptyGroup),
            Some(_) => Ok(()),
        }
    }

    /// Entries that forget all offsets of a topic.
    pub(crate) fn forget_topic(&self, topic: &str, entries: &mut Vec<Entry>) {
        for (name, group) in &self.groups {
            let pending = group.pending_offsets.values().flat_map(BTreeMap::keys);
            let places: BTreeSet<&(String, i32)> = group.offsets.keys().chain(pending).collect();
            for (_, partition) in places.into_iter().filter(|(of, _)| of == topic) {
                entries.push(Entry::OffsetRemoved {
                    group: name.clone(),
                    topic: topic.to_owned(),
                    partition: *partition,
                });
            }
        }
    }

    /// Entries that forget offsets which were kept for long enough, and groups that have nothing any more.
    ///
    /// A group without members keeps its offsets from the time it lost them; one that never had members, and one of the consumer protocol,
    /// keeps each from its commit. Of a group with members, only offsets of topics that they do not read go: `in_use` tells those of the
    /// classic protocol, if they can be told.
    pub(crate) fn expired(
        &self,
        now_ms: i64,
        in_use: impl Fn(&Group) -> Option<BTreeSet<String>>,
        effects: &mut Effects,
    ) {
        let retention_ms = i64::try_from(self.limits.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        let is_old = |since_ms: i64| now_ms.saturating_sub(since_ms) >= retention_ms;
        for (name, group) in &self.groups {
            if !group.pending_offsets.is_empty() {
                continue;
            }
            let by_commit = group.consumer.is_some() || group.protocol_type.is_none() || !group.is_empty();
            if by_commit {
                let read = if group.consumer.is_none() && !group.is_empty() {
                    match in_use(group) {
                        Some(read) if group.state == State::Stable => read,
                        _ => continue,
                    }
                } else {
                    BTreeSet::new()
                };
                let is_read = |topic: &str| {
                    read.contains(topic) || group.consumer.as_ref().is_some_and(|consumer| consumer.reads(topic))
                };
                let old =
                    group.offsets.values().filter(|offset| is_old(offset.committed_ms) && !is_read(&offset.topic));
                let before = effects.entries.len();
                effects.entries.extend(old.map(|offset| Entry::OffsetRemoved {
                    group: name.clone(),
                    topic: offset.topic.clone(),
                    partition: offset.partition,
                }));
                if effects.entries.len() - before < group.offsets.len() {
                    continue; // What is left of them keeps the group.
                }
            }
            let idle = group.is_empty() && group.state == State::Empty && group.pending.is_empty();
            let never_formed = group.offsets.is_empty() && group.generation == 0 && group.consumer.is_none();
            if idle && (is_old(group.changed_ms) || never_formed) {
                effects.entries.push(Entry::GroupRemoved { group: name.clone() });
            }
        }
    }

    /// Offsets of a group; none for an unknown one.
    pub(crate) fn offsets(&self, name: &str) -> Option<&BTreeMap<(String, i32), CommittedOffset>> {
        self.groups.get(name).map(|group| &group.offsets)
    }

    /// True when an open transaction may still change this offset.
    pub(crate) fn is_unstable(&self, name: &str, topic: &str, partition: i32) -> bool {
        self.groups.get(name).is_some_and(|group| {
            group
                .pending_offsets
                .values()
                .any(|offsets| offsets.keys().any(|(of, number)| of == topic && *number == partition))
        })
    }
}
