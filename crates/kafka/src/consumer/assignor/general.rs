//! The sticky shares of members that want different topics: partitions are given to whoever has least, then moved while that makes shares more even.
//!
//! A partition that has to move goes back to whoever had it before, and of two partitions of a topic none is exchanged for the other. Counterpart of the
//! general case of Java's `AbstractStickyAssignor`; where that would give a partition to a former owner that does not want its topic any more, this does
//! not.

use std::collections::{BTreeMap, BTreeSet};

use super::java_map::PartitionSet;
use super::sticky::Problem;

struct Sharing<'p, 'a> {
    problem: &'p Problem<'a>,
    /// By topic: who wants it.
    readers: Vec<Vec<usize>>,
    /// By member: the topics that it wants.
    wanted: Vec<Vec<usize>>,
    /// By member: how many partitions it could have at most.
    most: Vec<usize>,
    shares: Vec<Vec<usize>>,
    /// By partition: who has it.
    owner: Vec<Option<usize>>,
    /// Members whose shares may still change, smallest share first.
    order: BTreeSet<(usize, &'a str, usize)>,
    /// By partition: who had it before its last owner.
    before: BTreeMap<usize, usize>,
    movements: Movements,
}

/// Partitions that were moved, so that none is moved in the opposite direction.
#[derive(Default)]
struct Movements {
    of: BTreeMap<usize, (usize, usize)>,
    /// By topic and direction.
    by_topic: BTreeMap<usize, BTreeMap<(usize, usize), PartitionSet>>,
}

/// Each member's share.
pub(super) fn share(problem: &Problem<'_>) -> Vec<Vec<usize>> {
    let mut sharing = Sharing::new(problem);
    let mut all: Vec<usize> = (0..problem.total()).collect();
    all.sort_by_key(|partition| sharing.rank(*partition));
    let revoked = sharing.drop_unwanted();
    let mut open = all.clone();
    open.retain(|partition| sharing.owner[*partition].is_none());
    sharing.order = (0..problem.members.len()).map(|member| sharing.key(member)).collect();
    sharing.balance(all, open, revoked);
    sharing.shares
}

impl<'p, 'a> Sharing<'p, 'a> {
    fn new(problem: &'p Problem<'a>) -> Self {
        let members = 0..problem.members.len();
        let topics = 0..problem.topics.len();
        let readers =
            topics.clone().map(|topic| members.clone().filter(|member| problem.wants(*member, topic)).collect());
        let wanted: Vec<Vec<usize>> = members
            .clone()
            .map(|member| topics.clone().filter(|topic| problem.wants(member, *topic)).collect())
            .collect();
        let size = |topics: &Vec<usize>| topics.iter().map(|topic| problem.topics[*topic].1.count()).sum();
        let mut owner = vec![None; problem.total()];
        for (member, owned) in problem.owned.iter().enumerate() {
            for partition in owned {
                owner[*partition] = Some(member);
            }
        }
        Self {
            readers: readers.collect(),
            most: wanted.iter().map(size).collect(),
            wanted,
            shares: problem.owned.clone(),
            owner,
            order: BTreeSet::new(),
            before: former_owners(problem),
            movements: Movements::default(),
            problem,
        }
    }

    /// Partitions of topics that few want come first.
    fn rank(&self, partition: usize) -> (usize, usize) {
        (self.readers[self.problem.topic_of[partition]].len(), partition)
    }

    fn key(&self, member: usize) -> (usize, &'a str, usize) {
        (self.shares[member].len(), &self.problem.members[member].member_id, member)
    }

    /// Takes from members what they do not want any more, or what is in the wrong rack; whether there was anything.
    fn drop_unwanted(&mut self) -> bool {
        let mut revoked = false;
        for (member, share) in self.shares.iter_mut().enumerate() {
            share.retain(|partition| {
                let stays = self.problem.wants(member, self.problem.topic_of[*partition])
                    && !self.problem.racks.mismatch(member, *partition);
                if !stays {
                    self.owner[*partition] = None;
                    revoked = true;
                }
                stays
            });
        }
        revoked
    }

    /// Gives a partition to whoever has least of those that want it.
    fn give(&mut self, partition: usize, by_rack: bool) -> bool {
        let topic = self.problem.topic_of[partition];
        let fits = |(_, _, member): &&(usize, &str, usize)| {
            self.problem.wants(*member, topic) && !(by_rack && self.problem.racks.mismatch(*member, partition))
        };
        let Some(key) = self.order.iter().find(fits).copied() else { return false };
        let member = key.2;
        self.order.remove(&key);
        self.shares[member].push(partition);
        self.owner[partition] = Some(member);
        self.order.insert(self.key(member));
        true
    }

    fn balance(&mut self, mut all: Vec<usize>, mut open: Vec<usize>, revoked: bool) {
        let initial = self.order.last().is_some_and(|(size, _, _)| *size == 0);
        let mut left = open.clone();
        if self.problem.racks.matter() {
            left.retain(|partition| !self.give(*partition, true));
        }
        for partition in left {
            self.give(partition, false);
        }
        // Only what several members want, and only members that could have more or less, take part in what follows.
        let may_move = |partition: &usize| self.readers[self.problem.topic_of[*partition]].len() >= 2;
        all.retain(may_move);
        open.retain(may_move);
        let fixed: Vec<usize> = (0..self.shares.len())
            .filter(|member| {
                self.shares[*member].len() >= self.most[*member] && !self.shares[*member].iter().any(may_move)
            })
            .collect();
        for member in fixed {
            let key = self.key(member);
            self.order.remove(&key);
        }
        let (shares, owner) = (self.shares.clone(), self.owner.clone());
        let score = self.unevenness();
        if !revoked {
            self.rearrange(&open);
        }
        let moved = self.rearrange(&all);
        if !initial && moved && self.unevenness() >= score {
            (self.shares, self.owner) = (shares, owner);
        }
    }

    /// The sum of the differences between all pairs of members that take part.
    fn unevenness(&self) -> usize {
        let sizes: Vec<usize> = self.order.iter().map(|(_, _, member)| self.shares[*member].len()).collect();
        sizes
            .iter()
            .enumerate()
            .map(|(at, size)| sizes[at..].iter().map(|other| size.abs_diff(*other)).sum::<usize>())
            .sum()
    }

    /// Whether no partition can move to somebody who has at least two fewer.
    fn is_balanced(&self) -> bool {
        let (Some(least), Some(most)) = (self.order.first(), self.order.last()) else { return true };
        if least.0 + 1 >= most.0 {
            return true;
        }
        self.order.iter().all(|(size, _, member)| {
            *size == self.most[*member]
                || self.wanted[*member].iter().all(|topic| {
                    let first = self.problem.first[*topic];
                    let partitions = first..first + self.problem.topics[*topic].1.count();
                    self.owner[partitions]
                        .iter()
                        .flatten()
                        .all(|owner| owner == member || size + 1 >= self.shares[*owner].len())
                })
        })
    }

    /// Moves partitions until no move helps; whether any was moved.
    fn rearrange(&mut self, partitions: &[usize]) -> bool {
        let mut moved = false;
        // Every round but the last makes the shares more even, which cannot go on for longer than there are partitions to move.
        for _ in 0..=partitions.len() {
            let mut again = false;
            for partition in partitions.iter().copied() {
                if self.is_balanced() {
                    break;
                }
                if let Some(to) = self.better_owner(partition) {
                    self.move_one(partition, to);
                    again = true;
                }
            }
            moved |= again;
            if !again {
                break;
            }
        }
        moved
    }

    /// Who should have the partition rather than its owner.
    fn better_owner(&self, partition: usize) -> Option<usize> {
        let size = self.shares[self.owner[partition]?].len();
        let topic = self.problem.topic_of[partition];
        if let Some(former) = self.before.get(&partition)
            && self.problem.wants(*former, topic)
            && size > self.shares[*former].len() + 1
        {
            return Some(*former);
        }
        // Whether the one with the smallest share is near is not asked, here or in Java.
        let (_, _, least) = self.order.iter().find(|(_, _, member)| self.problem.wants(*member, topic))?;
        self.readers[topic].iter().any(|reader| size > self.shares[*reader].len() + 1).then_some(*least)
    }

    fn move_one(&mut self, partition: usize, to: usize) {
        let Some(from) = self.owner[partition] else { return };
        let partition = self.movements.instead_of(partition, self.problem, from, to);
        let Some(from) = self.owner[partition] else { return };
        for member in [from, to] {
            let key = self.key(member);
            self.order.remove(&key);
        }
        self.movements.note(partition, self.problem, from, to);
        self.shares[from].retain(|owned| *owned != partition);
        self.shares[to].push(partition);
        self.owner[partition] = Some(to);
        for member in [from, to] {
            self.order.insert(self.key(member));
        }
    }
}

impl Movements {
    /// The partition to move in place of this one: one of the same topic that came the opposite way goes back.
    fn instead_of(&self, partition: usize, problem: &Problem<'_>, from: usize, to: usize) -> usize {
        let Some(pairs) = self.by_topic.get(&problem.topic_of[partition]) else { return partition };
        let from = self.of.get(&partition).map_or(from, |(from, _)| *from);
        pairs.get(&(to, from)).and_then(PartitionSet::first).unwrap_or(partition)
    }

    fn note(&mut self, partition: usize, problem: &Problem<'_>, from: usize, to: usize) {
        let (topic, at) = problem.place(partition);
        let pairs = self.by_topic.entry(topic).or_default();
        let mut from = from;
        if let Some(earlier) = self.of.remove(&partition) {
            if let Some(set) = pairs.get_mut(&earlier) {
                set.remove(partition);
                if set.is_empty() {
                    pairs.remove(&earlier);
                }
            }
            from = earlier.0;
        }
        if from != to {
            pairs.entry((from, to)).or_default().insert(partition, problem.topics[topic].0, at);
            self.of.insert(partition, (from, to));
        }
        if pairs.is_empty() {
            self.by_topic.remove(&topic);
        }
    }
}

/// By partition: who had it last of those whose generation is over.
fn former_owners(problem: &Problem<'_>) -> BTreeMap<usize, usize> {
    let mut former: BTreeMap<usize, (i32, usize)> = BTreeMap::new();
    for (member, (claimed, generation)) in problem.claims.iter().enumerate() {
        let generation = generation.unwrap_or(-1);
        if generation >= problem.max_generation {
            continue;
        }
        for partition in claimed {
            let last = former.entry(*partition).or_insert((generation, member));
            if generation > last.0 {
                *last = (generation, member);
            }
        }
    }
    former.into_iter().map(|(partition, (_, member))| (partition, member)).collect()
}
