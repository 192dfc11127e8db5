//! Shares that are even and change as little as possible: Java's `StickyAssignor` and `CooperativeStickyAssignor`.
//!
//! Who had what comes from the members themselves, each with the generation in which it had it; of two that claim a partition the one of the later
//! generation had it. When all members want the same topics, shares are filled up to a quota ([`share_alike`]), else partitions are moved until moving
//! does not help any more (`general`). Partitions are numbered through all topics, in the order of names.

use std::collections::{BTreeMap, BTreeSet};

use super::general;
use super::java_map::bucket_order;
use super::racks::Racks;
use super::{Subscriber, TopicLayout};
use crate::consumer::TopicPartition;

/// Generation of a claim without one.
const NO_GENERATION: i32 = -1;

/// What a member says it had.
#[derive(Clone, Debug, Default)]
pub(super) struct Claim {
    /// The partitions.
    pub(super) owned: Vec<TopicPartition>,
    /// The generation in which it had them.
    pub(super) generation: Option<i32>,
}

/// What is to be shared out.
pub(super) struct Problem<'a> {
    /// In the order of Java's map of subscriptions.
    pub(super) members: Vec<&'a Subscriber>,
    pub(super) topics: Vec<(&'a str, &'a TopicLayout)>,
    /// By topic: the number of its first partition.
    pub(super) first: Vec<usize>,
    /// By partition: its topic.
    pub(super) topic_of: Vec<usize>,
    /// By member: the existing partitions that it says it had, with the generation.
    pub(super) claims: Vec<(Vec<usize>, Option<i32>)>,
    /// By member: what it keeps a right to once contradictions are resolved.
    pub(super) owned: Vec<Vec<usize>>,
    /// Partitions that several members claim in the same generation; nobody keeps them.
    contested: BTreeSet<usize>,
    pub(super) max_generation: i32,
    pub(super) racks: Racks<'a>,
}

/// Each member's share, and the partitions that go from one member to another: not before the one has given it up may the other have it.
pub(super) struct Solution {
    pub(super) shares: Vec<Vec<usize>>,
    pub(super) moving: BTreeSet<usize>,
}

/// Shares out. With `cooperative`, partitions that another member still has are left out: their owner learns that it is to give them up, and the
/// next rebalance assigns them.
pub(super) fn assign(
    members: &[Subscriber],
    topics: &[(&str, &TopicLayout)],
    claims: &[Claim],
    cooperative: bool,
) -> Vec<Vec<(usize, usize)>> {
    let order = bucket_order(members.iter().map(|member| member.member_id.as_str()));
    let problem = Problem::new(
        order.iter().map(|index| &members[*index]).collect(),
        topics.to_vec(),
        &order.iter().map(|index| &claims[*index]).collect::<Vec<_>>(),
    );
    let Solution { shares, moving } = if problem.all_want_the_same() {
        share_alike(&problem)
    } else {
        let shares = general::share(&problem);
        let moving = problem.moving(&shares, members, &order);
        Solution { shares, moving }
    };
    let mut by_member = vec![Vec::new(); members.len()];
    for (index, share) in order.into_iter().zip(shares) {
        let stays = share.into_iter().filter(|partition| !cooperative || !moving.contains(partition));
        by_member[index] = stays.map(|partition| problem.place(partition)).collect();
    }
    by_member
}

impl<'a> Problem<'a> {
    fn new(members: Vec<&'a Subscriber>, topics: Vec<(&'a str, &'a TopicLayout)>, claims: &[&Claim]) -> Self {
        let mut first = Vec::with_capacity(topics.len());
        let mut topic_of = Vec::new();
        for (topic, (_, layout)) in topics.iter().enumerate() {
            first.push(topic_of.len());
            topic_of.extend(std::iter::repeat_n(topic, layout.count()));
        }
        let racks = Racks::new(&members, &topics);
        let mut problem = Self {
            owned: vec![Vec::new(); members.len()],
            members,
            topics,
            first,
            topic_of,
            claims: Vec::new(),
            contested: BTreeSet::new(),
            max_generation: NO_GENERATION,
            racks,
        };
        problem.claims = claims.iter().map(|claim| (problem.numbers(&claim.owned), claim.generation)).collect();
        problem.resolve();
        problem
    }

    /// The numbers of those partitions that exist.
    fn numbers(&self, partitions: &[TopicPartition]) -> Vec<usize> {
        let number = |partition: &TopicPartition| {
            let topic = self.topics.binary_search_by(|(name, _)| (*name).cmp(&*partition.topic)).ok()?;
            let at = usize::try_from(partition.partition).ok()?;
            (at < self.topics[topic].1.count()).then(|| self.first[topic] + at)
        };
        partitions.iter().filter_map(number).collect()
    }

    /// Topic and partition of a number.
    pub(super) fn place(&self, partition: usize) -> (usize, usize) {
        let topic = self.topic_of[partition];
        (topic, partition - self.first[topic])
    }

    pub(super) fn total(&self) -> usize {
        self.topic_of.len()
    }

    pub(super) fn wants(&self, member: usize, topic: usize) -> bool {
        self.members[member].topics.contains(self.topics[topic].0)
    }

    fn all_want_the_same(&self) -> bool {
        let mut wanted: Option<&BTreeSet<String>> = None;
        self.members.iter().all(|member| match wanted {
            Some(wanted) if !wanted.is_empty() => *wanted == member.topics,
            _ => {
                wanted = Some(&member.topics);
                true
            }
        })
    }

    /// Decides between members that claim the same partition.
    fn resolve(&mut self) {
        let mut owner: BTreeMap<usize, usize> = BTreeMap::new();
        for member in 0..self.members.len() {
            let (claimed, generation) = self.claims[member].clone();
            let generation = generation.unwrap_or(NO_GENERATION);
            self.max_generation = self.max_generation.max(generation);
            for partition in claimed {
                let Some(other) = owner.get(&partition).copied() else {
                    self.owned[member].push(partition);
                    owner.insert(partition, member);
                    continue;
                };
                // As in Java: the earlier claim counts with the generation of the subscription, not of its user data.
                let others = self.members[other].generation.unwrap_or(NO_GENERATION);
                if generation < others {
                    continue;
                }
                if let Some(at) = self.owned[other].iter().position(|owned| *owned == partition) {
                    self.owned[other].remove(at);
                }
                owner.insert(partition, member);
                if generation == others {
                    self.contested.insert(partition);
                } else {
                    self.owned[member].push(partition);
                }
            }
        }
    }

    /// What some member gets that another member says it has.
    fn moving(&self, shares: &[Vec<usize>], members: &[Subscriber], order: &[usize]) -> BTreeSet<usize> {
        let (mut added, mut revoked) = (BTreeSet::new(), BTreeSet::new());
        for (share, index) in shares.iter().zip(order) {
            let has: BTreeSet<usize> = self.numbers(&members[*index].owned).into_iter().collect();
            let gets: BTreeSet<usize> = share.iter().copied().collect();
            added.extend(gets.difference(&has).copied());
            revoked.extend(has.difference(&gets).copied());
        }
        &added & &revoked
    }
}

/// Members on their way to their quota.
struct Quotas {
    least: usize,
    most: usize,
    /// How many members get `most` where that is more than `least`, and how many have it already.
    over: usize,
    over_now: usize,
    under: Vec<usize>,
    exactly: Vec<usize>,
}

impl Quotas {
    fn one_more_over(&mut self) {
        self.over_now += 1;
        if self.over_now == self.over {
            self.exactly.clear();
        }
    }

    fn may_grow(&self) -> bool {
        self.over_now < self.over
    }
}

struct Sharing<'p, 'a> {
    problem: &'p Problem<'a>,
    quotas: Quotas,
    shares: Vec<Vec<usize>>,
    /// Partitions taken from a member so far.
    taken: BTreeMap<usize, usize>,
    moving: BTreeSet<usize>,
}

/// Everybody wants the same topics, so everybody gets between `total / members` rounded down and rounded up.
fn share_alike(problem: &Problem<'_>) -> Solution {
    let (total, members) = (problem.total(), problem.members.len().max(1));
    let quotas = Quotas {
        least: total / members,
        most: total.div_ceil(members),
        over: total % members,
        over_now: 0,
        under: Vec::new(),
        exactly: Vec::new(),
    };
    let shares = vec![Vec::new(); problem.members.len()];
    let mut sharing = Sharing { problem, quotas, shares, taken: BTreeMap::new(), moving: BTreeSet::new() };
    sharing.keep();
    let kept: BTreeSet<usize> = sharing.shares.iter().flatten().copied().collect();
    let mut open: Vec<usize> = (0..total).filter(|partition| !kept.contains(partition)).collect();
    let by_id = |member: &usize| problem.members[*member].member_id.as_str();
    sharing.quotas.under.sort_by_key(by_id);
    sharing.quotas.exactly.sort_by_key(by_id);
    problem.racks.sort(&mut open);
    if problem.racks.matter() {
        open = sharing.fill_by_rack(open);
    }
    sharing.fill(open);
    Solution { shares: sharing.shares, moving: sharing.moving }
}

impl Sharing<'_, '_> {
    /// Members keep what they have, up to their quota.
    fn keep(&mut self) {
        for member in 0..self.problem.members.len() {
            let mut keeps = Vec::new();
            for partition in self.problem.owned[member].iter().copied() {
                if self.problem.racks.mismatch(member, partition) {
                    self.taken.insert(partition, member);
                } else if !self.problem.contested.contains(&partition) {
                    keeps.push(partition);
                }
            }
            keeps.sort_by_key(|partition| {
                let (topic, at) = self.problem.place(*partition);
                (at, topic)
            });
            let quotas = &mut self.quotas;
            let kept = if keeps.len() < quotas.least {
                quotas.under.push(member);
                keeps.len()
            } else if keeps.len() >= quotas.most && quotas.may_grow() {
                quotas.one_more_over();
                quotas.most
            } else {
                if quotas.may_grow() {
                    quotas.exactly.push(member);
                }
                quotas.least
            };
            self.taken.extend(keeps.drain(kept..).map(|partition| (partition, member)));
            self.shares[member] = keeps;
        }
    }

    /// Gives partitions to members in the rack of a replica; returns those that are left.
    fn fill_by_rack(&mut self, open: Vec<usize>) -> Vec<usize> {
        let mut next = 0;
        let mut left = Vec::new();
        for partition in open {
            let near = |member: &usize| self.problem.racks.shared(*member, partition);
            let quotas = &mut self.quotas;
            let count = quotas.under.len();
            if let Some(at) = (0..count).map(|turn| (next + turn) % count).find(|at| near(&quotas.under[*at])) {
                let member = quotas.under[at];
                let has = self.shares[member].len() + 1;
                next = at + 1;
                if has >= quotas.least {
                    quotas.under.remove(at);
                    next = at;
                    if has < quotas.most && quotas.may_grow() {
                        quotas.exactly.push(member);
                    }
                }
                next = if quotas.under.is_empty() { 0 } else { next % quotas.under.len() };
                self.give(partition, member);
            } else if let Some(at) = quotas.exactly.iter().position(near) {
                let member = quotas.exactly[at];
                if self.shares[member].len() + 1 == quotas.most {
                    quotas.exactly.remove(at);
                    quotas.one_more_over();
                }
                self.give(partition, member);
            } else {
                left.push(partition);
            }
        }
        left
    }

    /// Gives the rest in turn to members below the lower quota, then one each to members at it.
    fn fill(&mut self, open: Vec<usize>) {
        let mut next = 0;
        let mut exactly: std::collections::VecDeque<usize> = std::mem::take(&mut self.quotas.exactly).into();
        for partition in open {
            if next >= self.quotas.under.len() {
                next = 0;
            }
            let member = match self.quotas.under.get(next).copied() {
                Some(member) => {
                    next += 1;
                    member
                }
                // The quotas add up to the number of partitions.
                None => exactly.pop_front().expect("a member below the upper quota is left while partitions are"),
            };
            self.give(partition, member);
            if self.shares[member].len() == self.quotas.least && next > 0 {
                next -= 1;
                self.quotas.under.remove(next);
                exactly.push_back(member);
            }
        }
    }

    fn give(&mut self, partition: usize, member: usize) {
        self.shares[member].push(partition);
        let from_another = self.taken.get(&partition).is_some_and(|from| *from != member);
        if from_another || self.problem.contested.contains(&partition) {
            self.moving.insert(partition);
        }
    }
}
