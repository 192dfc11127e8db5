//! Which partition a record goes to: that of its key as Java computes it, or one after the other without a key.
//!
//! Java's murmur2 is part of the protocol between clients that write the same topic: another hash would tear a key apart. Records without a key stay
//! with one partition until about a batch of them is there, as in Java's `BuiltInPartitioner` (which also weighs brokers by their queues; not here).

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

/// Where records without a key go.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sticky {
    partition: i32,
    bytes: usize,
}

impl Sticky {
    /// The partition for a record of so many bytes; moves on once `turn_bytes` have gone there.
    pub(super) fn next(&mut self, partitions: i32, bytes: usize, turn_bytes: usize) -> i32 {
        if self.bytes >= turn_bytes {
            *self = Self { partition: self.partition.wrapping_add(1).max(0), bytes: 0 };
        }
        self.bytes += bytes;
        self.partition % partitions.max(1)
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
    fn records_without_a_key_take_turns_by_the_batch() {
        let mut sticky = Sticky::default();
        let turns: Vec<i32> = (0..8).map(|_| sticky.next(3, 10, 20)).collect();
        assert_eq!(turns, [0, 0, 1, 1, 2, 2, 0, 0]);
        let turns: Vec<i32> = (0..4).map(|_| sticky.next(3, 10, 0)).collect();
        assert_eq!(turns, [1, 2, 0, 1], "one by one");
    }
}
