//! Racks of members and partitions, as far as they decide who gets what (KIP-881).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Subscriber, TopicLayout};

/// Whether racks matter: some member shares a rack with a replica, and not every partition is in all racks anyway.
pub(super) fn is_rack_aware<'a>(
    members: &BTreeSet<&str>,
    partitions: impl Iterator<Item = &'a BTreeSet<Arc<str>>> + Clone,
) -> bool {
    if members.is_empty() {
        return false;
    }
    let all: BTreeSet<&str> = partitions.clone().flatten().map(|rack| &**rack).collect();
    if members.is_disjoint(&all) {
        return false;
    }
    // Each is a subset of `all`, so as many means equal.
    !partitions.clone().all(|racks| racks.len() == all.len())
}

/// The racks of a sticky assignment: partitions are numbered through all topics.
pub(super) struct Racks<'a> {
    /// By member; empty where racks do not matter.
    members: Vec<Option<&'a str>>,
    /// By partition; empty where racks do not matter.
    partitions: Vec<&'a BTreeSet<Arc<str>>>,
    /// By partition, how many members are in a rack of a replica; empty where no member has a rack.
    neighbours: Vec<usize>,
}

impl<'a> Racks<'a> {
    pub(super) fn new(members: &[&'a Subscriber], topics: &[(&'a str, &'a TopicLayout)]) -> Self {
        let of_members: Vec<Option<&str>> = members.iter().map(|member| member.rack()).collect();
        let known: BTreeSet<&str> = of_members.iter().copied().flatten().collect();
        if known.is_empty() {
            return Self { members: Vec::new(), partitions: Vec::new(), neighbours: Vec::new() };
        }
        let partitions: Vec<&BTreeSet<Arc<str>>> =
            topics.iter().flat_map(|(_, layout)| (0..layout.count()).map(|at| layout.racks(at))).collect();
        let neighbours = partitions
            .iter()
            .map(|racks| of_members.iter().flatten().filter(|rack| racks.contains(**rack)).count())
            .collect();
        if is_rack_aware(&known, partitions.iter().copied()) {
            Self { members: of_members, partitions, neighbours }
        } else {
            Self { members: Vec::new(), partitions: Vec::new(), neighbours }
        }
    }

    pub(super) fn matter(&self) -> bool {
        !self.members.is_empty()
    }

    /// Whether the member has a rack and no replica of the partition is in it.
    pub(super) fn mismatch(&self, member: usize, partition: usize) -> bool {
        let rack = self.members.get(member).copied().flatten();
        rack.is_some_and(|rack| !self.partitions[partition].contains(rack))
    }

    /// Whether the member has a rack and a replica of the partition is in it.
    pub(super) fn shared(&self, member: usize, partition: usize) -> bool {
        let rack = self.members.get(member).copied().flatten();
        rack.is_some_and(|rack| self.partitions[partition].contains(rack))
    }

    /// Partitions with few members near first.
    pub(super) fn sort(&self, partitions: &mut [usize]) {
        if !self.neighbours.is_empty() {
            partitions.sort_by_key(|partition| self.neighbours[*partition]);
        }
    }
}
