//! How far a sink has come, and what of it may be committed.
//!
//! Positions are those of the *original* topics and partitions, whatever transforms make of them, and name the next record to read. A position is
//! [`Progress::delivered`] only after `put` took its batch. The task's answer to `pre_commit` can hold a commit back, never push it forward.
//!
//! Pure: the sink pipeline asks the task and the broker. Counterpart of the offset maps in Apache Kafka's `WorkerSinkTask`.

use kurier_api::TopicPartition;
use kurier_api::plugin::Offsets;
use std::collections::BTreeMap;

/// Positions of the partitions that a sink task has.
#[derive(Debug, Default)]
pub struct Progress {
    partitions: BTreeMap<TopicPartition, Position>,
}

/// Both are unknown of a partition whose committed offset has not been looked up yet.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    /// What `put` took: the next record to put.
    delivered: Option<i64>,
    /// What the group holds, or where reading began.
    committed: Option<i64>,
}

/// What to commit after an answer of `pre_commit`, and what was wrong with the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commit {
    /// To be committed; empty if nothing moved.
    pub offsets: Offsets,
    /// What the task answered and must not have, in words for the log.
    pub warnings: Vec<String>,
}

impl Progress {
    /// No partitions.
    pub fn new() -> Self {
        Self::default()
    }

    /// A partition is ours now.
    pub fn assigned(&mut self, partition: TopicPartition) {
        self.partitions.insert(partition, Position::default());
    }

    /// Reading of a partition begins at `offset`; without meaning once that is known.
    pub fn begun(&mut self, partition: &TopicPartition, offset: i64) {
        if let Some(position) = self.partitions.get_mut(partition) {
            position.delivered.get_or_insert(offset);
            position.committed.get_or_insert(offset);
        }
    }

    /// A partition is no longer ours.
    pub fn forget(&mut self, partition: &TopicPartition) {
        self.partitions.remove(partition);
    }

    /// Whether a partition is ours.
    pub fn has(&self, partition: &TopicPartition) -> bool {
        self.partitions.contains_key(partition)
    }

    /// The partitions that are ours.
    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    /// The task took everything of these partitions before these offsets. Partitions that are no longer ours are ignored.
    pub fn delivered(&mut self, positions: &Offsets) {
        for (partition, offset) in positions {
            if let Some(position) = self.partitions.get_mut(partition) {
                position.delivered = Some(*offset);
            }
        }
    }

    /// The task asked to read on at this offset: it counts as delivered and committed up to there, as in Java. False if the partition is not ours.
    pub fn rewind(&mut self, partition: &TopicPartition, offset: i64) -> bool {
        match self.partitions.get_mut(partition) {
            Some(position) => {
                *position = Position { delivered: Some(offset), committed: Some(offset) };
                true
            }
            None => false,
        }
    }

    /// What `pre_commit` is asked about: the positions of those of `partitions` that are ours.
    pub fn offer<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Offsets {
        partitions
            .into_iter()
            .filter_map(|partition| Some((partition.clone(), self.partitions.get(partition)?.delivered?)))
            .collect()
    }

    /// What to commit, given what was offered and what the task answered.
    pub fn answer(&self, offered: &Offsets, answered: &Offsets) -> Commit {
        let mut commit = Commit::default();
        for (partition, &offset) in answered {
            let Some(position) = self.partitions.get(partition) else {
                commit.warnings.push(format!(
                    "the task wants to commit {offset} of {partition}, which is not assigned to it; ignored"
                ));
                continue;
            };
            if !offered.contains_key(partition) {
                continue; // Ours, but not what was asked about: as in Java, left for the next commit.
            }
            let delivered = position.delivered.unwrap_or(0);
            if offset > delivered {
                commit.warnings.push(format!(
                    "the task wants to commit {offset} of {partition}, but has got records up to {delivered} only; ignored"
                ));
            } else if Some(offset) != position.committed {
                commit.offsets.insert(partition.clone(), offset);
            }
        }
        commit
    }

    /// The group holds these offsets now.
    pub fn committed(&mut self, offsets: &Offsets) {
        for (partition, offset) in offsets {
            if let Some(position) = self.partitions.get_mut(partition) {
                position.committed = Some(*offset);
            }
        }
    }

    /// Goes back to what was committed of these partitions, because `pre_commit` failed; answers where to seek.
    pub fn go_back<'a>(&mut self, partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Offsets {
        let mut seeks = Offsets::new();
        for partition in partitions {
            if let Some(position) = self.partitions.get_mut(partition) {
                position.delivered = position.committed;
                if let Some(committed) = position.committed {
                    seeks.insert(partition.clone(), committed);
                }
            }
        }
        seeks
    }

    /// Whether everything delivered is committed.
    pub fn is_committed(&self) -> bool {
        self.partitions.values().all(|position| position.delivered == position.committed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn offsets(pairs: &[(i32, i64)]) -> Offsets {
        pairs.iter().map(|&(p, o)| (tp(p), o)).collect()
    }

    #[test]
    fn an_answer_can_hold_back_and_never_push() {
        let mut progress = Progress::new();
        for p in 0..4 {
            progress.assigned(tp(p));
            progress.begun(&tp(p), 10);
        }
        progress.delivered(&offsets(&[(0, 20), (1, 20), (2, 20), (9, 99)]));
        let offered = progress.offer(&[tp(0), tp(1), tp(3), tp(9)]);
        assert_eq!(offered, offsets(&[(0, 20), (1, 20), (3, 10)]));
        type Pairs = &'static [(i32, i64)];
        let cases: [(Pairs, Pairs, usize); 7] = [
            // answered, committed, warnings
            (&[(0, 20), (1, 20), (3, 10)], &[(0, 20), (1, 20)], 0),
            (&[(0, 15)], &[(0, 15)], 0),
            (&[(0, 21)], &[], 1),
            (&[(2, 20)], &[], 0), // Ours, but not asked about.
            (&[(9, 1)], &[], 1),  // Not ours.
            (&[(0, 10)], &[], 0), // Committed already.
            (&[], &[], 0),
        ];
        for (answered, committed, warnings) in cases {
            let commit = progress.answer(&offered, &offsets(answered));
            assert_eq!(commit.offsets, offsets(committed), "{answered:?}");
            assert_eq!(commit.warnings.len(), warnings, "{answered:?}: {:?}", commit.warnings);
        }
    }

    #[test]
    fn a_failed_pre_commit_goes_back_to_what_the_group_holds() {
        let mut progress = Progress::new();
        progress.assigned(tp(0));
        progress.begun(&tp(0), 5);
        progress.begun(&tp(0), 6);
        progress.delivered(&offsets(&[(0, 8)]));
        progress.committed(&offsets(&[(0, 8)]));
        progress.delivered(&offsets(&[(0, 12)]));
        assert!(!progress.is_committed());
        assert_eq!(progress.go_back(&[tp(0), tp(7)]), offsets(&[(0, 8)]));
        assert_eq!(progress.offer(&[tp(0)]), offsets(&[(0, 8)]));
        assert!(progress.is_committed());
    }

    #[test]
    fn a_rewind_counts_as_read_and_committed_there() {
        let mut progress = Progress::new();
        progress.assigned(tp(0));
        progress.begun(&tp(0), 5);
        progress.begun(&tp(0), 6);
        assert!(progress.rewind(&tp(0), 2));
        assert!(!progress.rewind(&tp(1), 2));
        assert_eq!(progress.answer(&offsets(&[(0, 2)]), &offsets(&[(0, 2)])), Commit::default());
    }

    proptest! {
        #[test]
        fn nothing_is_committed_that_was_not_delivered(
            steps in proptest::collection::vec((0..3i32, 0..50i64, 0..5u8), 1..100)
        ) {
            let mut progress = Progress::new();
            let mut delivered: BTreeMap<i32, i64> = BTreeMap::new();
            for (p, offset, what) in steps {
                match what {
                    0 => {
                        progress.assigned(tp(p));
                        progress.begun(&tp(p), offset);
                        delivered.insert(p, offset);
                    }
                    1 => {
                        progress.forget(&tp(p));
                        delivered.remove(&p);
                    }
                    2 => {
                        progress.delivered(&offsets(&[(p, offset)]));
                        if let Some(known) = delivered.get_mut(&p) {
                            *known = offset;
                        }
                    }
                    _ => {
                        let offered = progress.offer(&[tp(0), tp(1), tp(2)]);
                        let commit = progress.answer(&offered, &offsets(&[(p, offset)]));
                        for (partition, offset) in &commit.offsets {
                            prop_assert!(delivered.get(&partition.partition).is_some_and(|d| offset <= d));
                        }
                        progress.committed(&commit.offsets);
                    }
                }
            }
        }
    }
}
