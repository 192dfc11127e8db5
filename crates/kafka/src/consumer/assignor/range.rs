//! Per topic, a run of partitions for each member: Java's `RangeAssignor`.
//!
//! Where members and brokers have racks, partitions that a member can read in its rack are given to it first, within the balance that the runs would
//! have had (KIP-881). Topics with the same readers and as many partitions stay co-partitioned: a partition number goes to one member in all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::racks::is_rack_aware;
use super::{Subscriber, TopicLayout};

/// A topic that is being shared out.
struct Topic<'a> {
    layout: &'a TopicLayout,
    /// Index of the topic among those that exist.
    index: usize,
    /// Indexes of its readers, in Java's order of members.
    readers: Vec<usize>,
    /// Whether any reader has a rack: only then the racks of partitions are looked at.
    has_racks: bool,
    needs_racks: bool,
    open: BTreeSet<usize>,
    given: BTreeMap<usize, usize>,
    share: usize,
    extra: usize,
}

impl Topic<'_> {
    fn racks_match(&self, member: &Subscriber, partition: usize) -> bool {
        member.rack().is_none_or(|rack| self.has_racks && self.layout.racks(partition).contains(rack))
    }

    fn room(&self, reader: usize) -> usize {
        let most = self.share + usize::from(self.extra > 0);
        most.saturating_sub(self.given.get(&reader).copied().unwrap_or(0))
    }

    fn give(&mut self, reader: usize, partitions: &[usize], shares: &mut [Vec<(usize, usize)>]) {
        shares[reader].extend(partitions.iter().map(|partition| (self.index, *partition)));
        let given = self.given.entry(reader).or_insert(0);
        *given += partitions.len();
        if *given > self.share {
            self.extra = self.extra.saturating_sub(1);
        }
        for partition in partitions {
            self.open.remove(partition);
        }
    }

    /// Gives each reader in turn the first open partitions that it may have.
    fn give_runs(&mut self, members: &[&Subscriber], by_rack: bool, shares: &mut [Vec<(usize, usize)>]) {
        for reader in self.readers.clone() {
            let member = members[reader];
            let fits = |partition: &usize| !by_rack || self.racks_match(member, *partition);
            let run: Vec<usize> = self.open.iter().copied().filter(fits).take(self.room(reader)).collect();
            if !run.is_empty() {
                self.give(reader, &run, shares);
            }
        }
    }
}

/// The share of each member, as pairs of topic index and partition. `members` are in Java's order.
pub(super) fn assign(members: &[&Subscriber], topics: &[(&str, &TopicLayout)]) -> Vec<Vec<(usize, usize)>> {
    let mut shares = vec![Vec::new(); members.len()];
    let mut states: Vec<Topic<'_>> = Vec::with_capacity(topics.len());
    for (index, (name, layout)) in topics.iter().enumerate() {
        let readers: Vec<usize> = (0..members.len()).filter(|member| members[*member].topics.contains(*name)).collect();
        let racks: BTreeSet<&str> = readers.iter().filter_map(|reader| members[*reader].rack()).collect();
        let count = layout.count();
        let needs_racks = is_rack_aware(&racks, (0..count).map(|partition| layout.racks(partition)));
        let (share, extra) = if readers.is_empty() { (0, 0) } else { (count / readers.len(), count % readers.len()) };
        let (has_racks, open, given) = (!racks.is_empty(), (0..count).collect(), BTreeMap::new());
        states.push(Topic { layout, index, readers, has_racks, needs_racks, open, given, share, extra });
    }
    if states.iter().any(|topic| topic.needs_racks) {
        give_by_rack(members, &mut states, &mut shares);
    }
    for topic in &mut states {
        topic.give_runs(members, false, &mut shares);
    }
    shares
}

fn give_by_rack(members: &[&Subscriber], states: &mut [Topic<'_>], shares: &mut [Vec<(usize, usize)>]) {
    // Topics with the same readers and, as far as racks matter to them, the same number of partitions.
    let mut alike: BTreeMap<(Vec<usize>, usize), Vec<usize>> = BTreeMap::new();
    for (index, topic) in states.iter().enumerate() {
        let count = if topic.has_racks { topic.layout.count() } else { 0 };
        alike.entry((topic.readers.clone(), count)).or_default().push(index);
    }
    for ((readers, count), group) in alike {
        if let [only] = group[..] {
            if states[only].needs_racks {
                states[only].give_runs(members, true, shares);
            }
            continue;
        }
        let mut hungry = readers;
        for partition in 0..count {
            let fits = |reader: &usize| {
                group.iter().all(|topic| {
                    let topic = &states[*topic];
                    topic.room(*reader) > 0 && topic.racks_match(members[*reader], partition)
                })
            };
            let Some(reader) = hungry.iter().copied().find(|reader| fits(reader)) else { continue };
            for topic in &group {
                states[*topic].give(reader, &[partition], shares);
            }
            if group.iter().all(|topic| states[*topic].room(reader) == 0) {
                hungry.retain(|member| *member != reader);
            }
        }
    }
}
