//! What one seed does: who takes part, with which settings, and which faults there are.
//!
//! Everything follows from the seed. Each seed leaves out some faults and does others more often, so that rare meetings of two faults come up
//! in some seed instead of being drowned in every one ("swarm testing").

use std::time::Duration;

use crate::planted::Planted;
use crate::rng::Rng;
use crate::tally::Fault;

/// A topic of every run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicPlan {
    pub(crate) name: &'static str,
    pub(crate) partitions: i32,
    pub(crate) configs: &'static [(&'static str, &'static str)],
    /// Records may go away by age or size.
    pub(crate) is_cut: bool,
    /// Records may be replaced by later ones with the same key.
    pub(crate) is_keyed: bool,
}

/// The topics. What is written to the first ones stays.
pub(crate) const TOPICS: [TopicPlan; 4] = [
    TopicPlan {
        name: "plain",
        partitions: 3,
        configs: &[("internal.segment.bytes", "20000")],
        is_cut: false,
        is_keyed: false,
    },
    TopicPlan {
        name: "cut",
        partitions: 1,
        configs: &[("internal.segment.bytes", "2000"), ("retention.bytes", "4000")],
        is_cut: true,
        is_keyed: false,
    },
    TopicPlan {
        name: "keyed",
        partitions: 2,
        configs: &[
            ("cleanup.policy", "compact"),
            ("internal.segment.bytes", "2000"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("delete.retention.ms", "1000"),
        ],
        is_cut: false,
        is_keyed: true,
    },
    TopicPlan {
        name: "mixed",
        partitions: 2,
        configs: &[("internal.segment.bytes", "20000")],
        is_cut: false,
        is_keyed: false,
    },
];
/// Where records for groups are.
pub(crate) const PLAIN: usize = 0;
/// Where retention is at work.
pub(crate) const CUT: usize = 1;
/// Where compaction is at work.
pub(crate) const KEYED: usize = 2;
/// Where transactions are, and records outside of any.
pub(crate) const MIXED: usize = 3;
/// Keys of the compacted topic.
pub(crate) const KEYS: u64 = 8;

/// A partition, as a number from 0 on through all topics.
pub(crate) type Part = usize;

/// How many partitions there are.
pub(crate) fn parts() -> usize {
    TOPICS.iter().map(|topic| topic.partitions.unsigned_abs() as usize).sum()
}

/// The number of a topic's partition; none if there is no such.
pub(crate) fn part(topic: &str, partition: i32) -> Option<Part> {
    let mut first = 0;
    for plan in &TOPICS {
        if plan.name == topic {
            return (0..plan.partitions).contains(&partition).then(|| first + partition.unsigned_abs() as usize);
        }
        first += plan.partitions.unsigned_abs() as usize;
    }
    None
}

/// Topic and partition of a number.
pub(crate) fn place(part: Part) -> (usize, i32) {
    let mut rest = i32::try_from(part).unwrap_or(i32::MAX);
    for (topic, plan) in TOPICS.iter().enumerate() {
        if rest < plan.partitions {
            return (topic, rest);
        }
        rest -= plan.partitions;
    }
    unreachable!("partitions are numbered through")
}

/// A partition's name, for messages.
pub(crate) fn name(part: Part) -> String {
    let (topic, partition) = place(part);
    format!("{}-{partition}", TOPICS[topic].name)
}

/// How long faults go on.
pub(crate) const STORMY: Duration = Duration::from_secs(300);
/// How long everything may take once faults are over.
pub(crate) const CALM: Duration = Duration::from_secs(240);

/// How members of the group share it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    /// Everything is given up before each rebalance.
    Eager,
    /// The same, with shares that change little.
    Sticky,
    /// Only what moves is given up.
    Cooperative,
    /// The coordinator shares out (KIP-848).
    Epochs,
    /// Each is started in either of both protocols: the group is moved from one to the other and back.
    Rolled,
}

/// What one seed does.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) planted: Option<Planted>,
    /// Faults go on until here.
    pub(crate) stormy: Duration,
    /// Requests and answers pass through the wire format.
    pub(crate) is_encoded: bool,
    /// Power may fail: every append is flushed, and the offsets of groups are not promised anything.
    pub(crate) power_fails: bool,
    /// By [`Fault`]: how much of the chance it has; 0 never.
    weights: Vec<u64>,
    /// Most milliseconds between two faults.
    pub(crate) fault_every: u64,
    /// One message in so many is lost; 0 for none.
    pub(crate) loss: u64,
    /// Most milliseconds that a message usually takes.
    pub(crate) latency: u64,
    pub(crate) producers: usize,
    /// Transactional ids.
    pub(crate) transactional: usize,
    pub(crate) members: usize,
    pub(crate) membership: Membership,
    /// What the cluster's feature `transaction.version` is: 1 or 2.
    pub(crate) transaction_version: i16,
    /// Members that are static.
    pub(crate) statics: usize,
    /// Most milliseconds between two appends of a producer.
    pub(crate) pause: u64,
}

impl Plan {
    pub(crate) fn new(seed: u64, stormy: Duration, planted: Option<Planted>) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed_0f5e_ed00_0001);
        let power_fails = planted.is_none() && rng.one_in(6);
        let mut weights: Vec<u64> = Fault::ALL.iter().map(|_| rng.pick(&[0, 1, 1, 2, 4])).collect();
        if !power_fails {
            weights[Fault::PowerLost as usize] = 0;
        }
        if let Some(planted) = planted {
            for fault in planted.needs() {
                weights[*fault as usize] = 6;
            }
        }
        let members = rng.between(if planted.is_some() { 2 } else { 1 }, 5) as usize;
        Self {
            planted,
            stormy,
            is_encoded: rng.one_in(4),
            power_fails,
            weights,
            fault_every: rng.pick(&[2_000, 5_000, 12_000]),
            loss: rng.pick(&[0, 40, 150, 400]),
            latency: rng.pick(&[3, 20, 80, 300]),
            producers: rng.between(1, 4) as usize,
            transactional: match planted {
                Some(_) => 2,
                None => rng.below(3) as usize,
            },
            members,
            membership: match planted {
                Some(Planted::RevocationNotAwaited) => Membership::Cooperative,
                Some(_) => Membership::Eager,
                None => rng.pick(&[
                    Membership::Eager,
                    Membership::Sticky,
                    Membership::Cooperative,
                    Membership::Epochs,
                    Membership::Rolled,
                ]),
            },
            transaction_version: if planted == Some(Planted::LostTransactionalBump) { 1 } else { rng.pick(&[1, 2]) },
            // What stands in for a stale member must not look like a static one.
            statics: match planted {
                Some(Planted::GenerationNotChecked) => 0,
                _ => rng.below(members as u64 + 1) as usize,
            },
            pause: rng.pick(&[1_500, 4_000, 8_000]),
        }
    }

    /// The next fault; none if there are none.
    pub(crate) fn choose(&self, rng: &mut Rng) -> Option<Fault> {
        let total: u64 = self.weights.iter().sum();
        if total == 0 {
            return None;
        }
        let mut at = rng.below(total);
        for (fault, weight) in Fault::ALL.iter().zip(&self.weights) {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return Some(*fault),
            }
        }
        None
    }

    /// Whether a fault is made at all.
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.weights[fault as usize] > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_numbered_through() {
        for number in 0..parts() {
            let (topic, partition) = place(number);
            assert_eq!(part(TOPICS[topic].name, partition), Some(number));
        }
        assert_eq!((part("plain", 3), part("other", 0)), (None, None));
    }
}
