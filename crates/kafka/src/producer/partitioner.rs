//! Which partition a record goes to: that of its key as Java computes it, or any without a key.
//!
//! Java's murmur2 is part of the protocol between clients that write the same topic: another hash would tear a key apart. Records without a key stay
//! with one partition until a batch of them is there and then go to another one by chance, rather one of a broker that keeps up, as in Java's
//! `BuiltInPartitioner`. A fixed beginning would send the first records of all tasks of a worker to the same partition. With Java's
//! `RoundRobinPartitioner` they take turns one by one. A broker that does not answer for `partitioner.availability.timeout.ms` gets none of them.

use std::collections::BTreeMap;
use std::time::Duration;

/// Java's `Utils.murmur2`.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        k = k.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition of a key among so many (at least one).
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    // Java's `toPositive`.
    (murmur2(key) & 0x7fff_ffff) as i32 % partitions.max(1)
}

/// Chance that is the same from the same seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A time up to a fifth shorter or longer.
    pub(super) fn spread(&mut self, wait: Duration) -> Duration {
        wait.mul_f64(0.8 + 0.4 * self.below(1 << 10) as f64 / 1_024.0)
    }

    /// A number below `limit`, which is at least one. Splitmix; the bias of so short a range is no matter.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Chooses by chance among partitions with their queues; one whose queue is as much shorter than the longest is as much more likely.
pub(super) fn choose(chance: &mut Chance, queues: impl Iterator<Item = (i32, usize)> + Clone) -> Option<i32> {
    let longest = queues.clone().map(|(_, queue)| queue).max()?;
    let weight = |queue: usize| (longest - queue) as u64 + 1;
    let mut lot = chance.below(queues.clone().map(|(_, queue)| weight(queue)).sum());
    for (partition, queue) in queues {
        match lot.checked_sub(weight(queue)) {
            Some(rest) => lot = rest,
            None => return Some(partition),
        }
    }
    None
}

/// The next in turn behind `last`, of partitions in order.
pub(super) fn next_in_turn(last: Option<i32>, mut partitions: impl Iterator<Item = i32> + Clone) -> Option<i32> {
    let behind = partitions.clone().find(|partition| last.is_none_or(|last| *partition > last));
    behind.or_else(|| partitions.next())
}

/// Since when brokers have not answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaders(BTreeMap<i32, Awaited>);

#[derive(Clone, Copy, Debug, Default)]
struct Awaited {
    requests: u32,
    since: Option<Duration>,
    /// When the last request ended without an answer.
    failed: Option<Duration>,
}

impl Leaders {
    /// A broker was sent a request.
    pub(super) fn asked(&mut self, now: Duration, node: i32) {
        let awaited = self.0.entry(node).or_default();
        awaited.requests += 1;
        awaited.since.get_or_insert(now);
    }

    /// A request to it ended. One without an answer says nothing good: it is away until it answers, or until nobody has tried for a while.
    pub(super) fn answered(&mut self, now: Duration, node: i32, is_answer: bool) {
        let awaited = self.0.entry(node).or_default();
        awaited.requests = awaited.requests.saturating_sub(1);
        if is_answer {
            awaited.since = (awaited.requests > 0).then_some(now);
        } else {
            awaited.failed = Some(now);
        }
    }

    /// Whether it has not answered for longer than `patience`.
    pub(super) fn is_away(&self, now: Duration, node: i32, patience: Duration) -> bool {
        let is_long = |since: Duration| now.saturating_sub(since) > patience;
        self.0.get(&node).is_some_and(|awaited| {
            let is_tried = awaited.requests > 0 || awaited.failed.is_some_and(|failed| !is_long(failed));
            is_tried && awaited.since.is_some_and(is_long)
        })
    }
}

/// Where records without a key go.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sticky {
    partition: Option<i32>,
    bytes: usize,
}

impl Sticky {
    /// The partition that had the last turn.
    pub(super) fn last(&self) -> Option<i32> {
        self.partition
    }

    /// The partition for a record that takes at most so many bytes of a batch; none if it is another one's turn, because `turn_bytes` would be passed.
    #[inline]
    pub(super) fn stays(&self, partitions: i32, bytes: usize, turn_bytes: usize) -> Option<i32> {
        // There may be fewer than there were.
        self.partition.filter(|partition| *partition < partitions && self.bytes.saturating_add(bytes) <= turn_bytes)
    }

    /// Bytes that are left of its turn.
    #[inline]
    pub(super) fn left(&self, turn_bytes: usize) -> usize {
        turn_bytes.saturating_sub(self.bytes)
    }

    /// Another one's turn begins.
    pub(super) fn go_to(&mut self, partition: i32) -> i32 {
        *self = Self { partition: Some(partition), bytes: 0 };
        partition
    }

    /// A record took so many bytes of a batch.
    #[inline]
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        // Of Apache Kafka's own UtilsTest.
        let cases: [(&str, i32); 7] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
            ("", 275_646_681),
        ];
        for (text, hash) in cases {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn records_without_a_key_stay_until_a_batch_is_full() {
        let mut sticky = Sticky::default();
        let mut turns = |turn_bytes: usize, records: usize| -> Vec<i32> {
            let mut turn = || {
                let next = next_in_turn(sticky.last(), 0..3).unwrap();
                let partition = sticky.stays(3, 10, turn_bytes).unwrap_or_else(|| sticky.go_to(next));
                sticky.add(8);
                partition
            };
            (0..records).map(|_| turn()).collect()
        };
        assert_eq!(turns(19, 8), [0, 0, 1, 1, 2, 2, 0, 0]);
        assert_eq!(turns(0, 4), [1, 2, 0, 1], "one by one");
        assert_eq!((sticky.stays(2, 0, 20), sticky.stays(1, 0, 20)), (Some(1), None), "a partition that is gone");
    }

    #[test]
    fn only_partitions_that_are_there_have_a_turn() {
        let cases: [(Option<i32>, &[i32], Option<i32>); 5] = [
            (None, &[1, 3], Some(1)),
            (Some(1), &[1, 3], Some(3)),
            (Some(2), &[1, 3], Some(3)),
            (Some(3), &[1, 3], Some(1)),
            (Some(3), &[], None),
        ];
        for (last, partitions, expected) in cases {
            assert_eq!(next_in_turn(last, partitions.iter().copied()), expected, "{last:?} of {partitions:?}");
        }
    }

    #[test]
    fn a_broker_is_away_until_it_answers() {
        let ms = Duration::from_millis;
        let mut leaders = Leaders::default();
        let is_away = |leaders: &Leaders, now| leaders.is_away(ms(now), 1, ms(50));
        assert!(!is_away(&leaders, 1_000), "never asked");
        leaders.asked(ms(0), 1);
        leaders.asked(ms(40), 1);
        assert!(!is_away(&leaders, 50) && is_away(&leaders, 51));
        leaders.answered(ms(60), 1, true);
        assert!(!is_away(&leaders, 110) && is_away(&leaders, 111), "the other is waited for");
        leaders.answered(ms(120), 1, false);
        assert!(is_away(&leaders, 130), "a connection that ended is no answer");
        assert!(!is_away(&leaders, 171), "nobody has tried for a while");
        leaders.asked(ms(140), 1);
        leaders.answered(ms(150), 1, true);
        assert!(!is_away(&leaders, 1_000), "nothing is asked");
    }

    #[test]
    fn waits_are_spread_by_a_fifth() {
        let (mut chance, wait) = (Chance::new(3), Duration::from_millis(100));
        let waits: Vec<u128> = (0..200).map(|_| chance.spread(wait).as_millis()).collect();
        assert!(waits.iter().all(|wait| (80..120).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait < 85) && waits.iter().any(|wait| *wait > 115), "{waits:?}");
    }

    #[test]
    fn chance_is_even_and_favours_short_queues() {
        // Queues of the partitions, and how many of 1000 choices each gets.
        let cases: [(&[(i32, usize)], &[u32]); 4] = [
            (&[(0, 0), (1, 0)], &[500, 500]),
            (&[(0, 5), (1, 5), (2, 5), (3, 5)], &[250, 250, 250, 250]),
            (&[(1, 0), (4, 8)], &[900, 100]),
            (&[(7, 3)], &[1_000]),
        ];
        for (queues, expected) in cases {
            let mut chance = Chance::new(7);
            let mut found = vec![0_u32; queues.len()];
            for _ in 0..1_000 {
                let chosen = choose(&mut chance, queues.iter().copied()).unwrap();
                found[queues.iter().position(|(partition, _)| *partition == chosen).unwrap()] += 1;
            }
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.abs_diff(*expected) <= 60, "{found} for {expected} of {queues:?}");
            }
        }
        assert_eq!(choose(&mut Chance::new(7), std::iter::empty()), None);
    }
}
