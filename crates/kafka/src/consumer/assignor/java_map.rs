//! The order in which Java's `HashMap` lists its keys: it decides who keeps one partition more.

/// Buckets of a new map.
const FIRST_BUCKETS: usize = 16;

/// Java's `String.hashCode`.
fn hash(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash: u32, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)))
}

/// Java's `TopicPartition.hashCode`.
fn partition_hash(topic: &str, partition: i32) -> u32 {
    (31 + partition.cast_unsigned()).wrapping_mul(31).wrapping_add(hash(topic))
}

fn buckets(len: usize) -> usize {
    let mut buckets = FIRST_BUCKETS;
    while len > buckets / 4 * 3 {
        buckets *= 2;
    }
    buckets
}

fn bucket(hash: u32, buckets: usize) -> usize {
    (hash ^ (hash >> 16)) as usize & (buckets - 1)
}

/// Indexes of keys that were put in one after the other, in the order in which the map lists them.
pub(super) fn bucket_order<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let hashes: Vec<u32> = keys.map(hash).collect();
    let buckets = buckets(hashes.len());
    let mut order: Vec<usize> = (0..hashes.len()).collect();
    order.sort_by_key(|index| bucket(hashes[*index], buckets));
    order
}

/// A set of partitions that knows which one Java's `HashSet` lists first.
#[derive(Debug, Default)]
pub(super) struct PartitionSet {
    /// With their hashes, in order of arrival.
    members: Vec<(u32, usize)>,
    /// A table never shrinks.
    most: usize,
}

impl PartitionSet {
    pub(super) fn insert(&mut self, partition: usize, topic: &str, at: usize) {
        let at = i32::try_from(at).unwrap_or(i32::MAX);
        self.members.push((partition_hash(topic, at), partition));
        self.most = self.most.max(self.members.len());
    }

    pub(super) fn remove(&mut self, partition: usize) {
        self.members.retain(|(_, member)| *member != partition);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn first(&self) -> Option<usize> {
        let buckets = buckets(self.most);
        self.members.iter().min_by_key(|(hash, _)| bucket(*hash, buckets)).map(|(_, partition)| *partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_as_in_java() {
        // `new HashMap` of these prints {banana, apple, cherry}.
        let keys = ["apple", "banana", "cherry"];
        let order: Vec<&str> = bucket_order(keys.into_iter()).into_iter().map(|index| keys[index]).collect();
        assert_eq!(order, ["banana", "apple", "cherry"]);
    }
}
