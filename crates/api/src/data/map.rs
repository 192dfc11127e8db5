//! Maps that iterate as Java's do.
//!
//! Where Java builds a `LinkedHashMap`, pairs keep the order of insertion; where it builds a `HashMap` (decoded JSON, most transforms), they
//! iterate by hash bucket. That order decides the bytes of JSON keys, hence partitions and the look-up of offsets, so it is reproduced: hash,
//! spread, table size doubling at three quarters. Bins turned into trees (eight colliding keys in a table of 64 or more) keep Java's order but
//! for their root, which Java moves to the front; that is not reproduced.

use super::Value;

/// Which of Java's maps this one iterates like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapOrder {
    /// `LinkedHashMap`: the order of insertion.
    Linked,
    /// `HashMap`: the order of hash buckets.
    Hash,
}

impl MapOrder {
    pub(super) fn java_class(self) -> &'static str {
        match self {
            Self::Linked => "java.util.LinkedHashMap",
            Self::Hash => "java.util.HashMap",
        }
    }
}

/// Java's default table size.
const DEFAULT_CAPACITY: u32 = 16;
/// Java's largest table.
const MAX_CAPACITY: u32 = 1 << 30;
/// A bin of this many entries in a table smaller than [`TREE_CAPACITY`] doubles the table.
const TREE_THRESHOLD: usize = 8;
const TREE_CAPACITY: u32 = 64;
/// From this many pairs on, [`MapBuilder`] finds repeated keys by an index.
const INDEX_FROM: usize = 16;

#[derive(Clone, Debug)]
struct Entry {
    /// Java's spread hash of the key.
    hash: u32,
    key: Value,
    value: Value,
}

/// A map of any keys to any values, in Java's iteration order. Entries are kept in that order.
#[derive(Clone, Debug)]
pub struct Map {
    order: MapOrder,
    /// Size of the table that a Java `HashMap` would have; 0 before the first insertion. Unused by [`MapOrder::Linked`].
    capacity: u32,
    /// Table size at the first insertion.
    initial_capacity: u32,
    entries: Vec<Entry>,
}

fn spread(key: &Value) -> u32 {
    let hash = key.java_hash() as u32;
    hash ^ (hash >> 16)
}

fn table_size_for(n: u64) -> u32 {
    u32::try_from(n.max(1).next_power_of_two()).unwrap_or(MAX_CAPACITY).min(MAX_CAPACITY)
}

impl Map {
    /// An empty map of Java's default size.
    pub fn new(order: MapOrder) -> Self {
        Self { order, capacity: 0, initial_capacity: DEFAULT_CAPACITY, entries: Vec::new() }
    }

    /// An empty `HashMap`.
    pub fn hash() -> Self {
        Self::new(MapOrder::Hash)
    }

    /// An empty `LinkedHashMap`.
    pub fn linked() -> Self {
        Self::new(MapOrder::Linked)
    }

    /// Java's `new HashMap<>(n)`: a table for `n` buckets, which changes the order.
    pub fn hash_with_java_capacity(n: u32) -> Self {
        Self { initial_capacity: table_size_for(n.into()), ..Self::hash() }
    }

    /// Java's `new HashMap<>(other)`: copies with the table size that Java computes from the number of pairs.
    pub fn copy_as_hash(&self) -> Self {
        let wanted = (self.len() as f32 / 0.75 + 1.0) as u64;
        let mut copy = Self { initial_capacity: table_size_for(wanted), ..Self::hash() };
        copy.entries = self.entries.clone();
        copy.settle();
        copy
    }

    /// Which of Java's maps this is.
    pub fn order(&self) -> MapOrder {
        self.order
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn bucket(&self, hash: u32) -> u32 {
        hash & self.capacity.wrapping_sub(1)
    }

    /// The run of entries that may hold a key of this hash.
    fn run(&self, hash: u32) -> std::ops::Range<usize> {
        match self.order {
            MapOrder::Linked => 0..self.entries.len(),
            MapOrder::Hash if self.entries.len() <= 8 => 0..self.entries.len(),
            MapOrder::Hash => {
                let bucket = self.bucket(hash);
                let start = self.entries.partition_point(|e| self.bucket(e.hash) < bucket);
                let len = self.entries[start..].partition_point(|e| self.bucket(e.hash) == bucket);
                start..start + len
            }
        }
    }

    fn find(&self, key: &Value) -> Option<usize> {
        let hash = spread(key);
        self.run(hash).find(|&i| self.entries[i].hash == hash && self.entries[i].key == *key)
    }

    /// The value of a key.
    pub fn get(&self, key: &Value) -> Option<&Value> {
        self.find(key).map(|i| &self.entries[i].value)
    }

    /// The value of a text key.
    pub fn get_text(&self, key: &str) -> Option<&Value> {
        let hash = super::value::java_string_hash(key) as u32;
        let hash = hash ^ (hash >> 16);
        self.run(hash)
            .find(|&i| self.entries[i].hash == hash && self.entries[i].key.as_text() == Some(key))
            .map(|i| &self.entries[i].value)
    }

    /// The value of a key, to be changed in place.
    pub fn get_mut(&mut self, key: &Value) -> Option<&mut Value> {
        self.find(key).map(|i| &mut self.entries[i].value)
    }

    /// Whether there is such a key.
    pub fn contains_key(&self, key: &Value) -> bool {
        self.find(key).is_some()
    }

    /// Puts a pair and returns the value that was there before. A known key keeps its place, as in Java.
    pub fn insert(&mut self, key: impl Into<Value>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        let hash = spread(&key);
        if let Some(at) = self.run(hash).find(|&i| self.entries[i].hash == hash && self.entries[i].key == key) {
            return Some(std::mem::replace(&mut self.entries[at].value, value));
        }
        if self.order == MapOrder::Linked {
            self.entries.push(Entry { hash, key, value });
            return None;
        }
        if self.capacity == 0 {
            self.capacity = self.initial_capacity;
        }
        let bucket = self.bucket(hash);
        let at = self.entries.partition_point(|e| self.bucket(e.hash) <= bucket);
        self.entries.insert(at, Entry { hash, key, value });
        if self.capacity < TREE_CAPACITY {
            let in_bin = self.entries[..=at].iter().rev().take_while(|e| self.bucket(e.hash) == bucket).count();
            if in_bin > TREE_THRESHOLD {
                self.double();
            }
        }
        if self.entries.len() as u64 * 4 > u64::from(self.capacity) * 3 {
            self.double();
        }
        None
    }

    fn double(&mut self) {
        if self.capacity < MAX_CAPACITY {
            self.capacity *= 2;
            self.sort();
        }
    }

    /// A stable sort by bucket is what splitting every bin in order comes to.
    fn sort(&mut self) {
        let mask = self.capacity.wrapping_sub(1);
        self.entries.sort_by_key(|e| e.hash & mask);
    }

    /// Grows the table to hold the entries, which stand in insertion order, and sorts them.
    fn settle(&mut self) {
        if self.order == MapOrder::Linked || self.entries.is_empty() {
            return;
        }
        self.capacity = self.initial_capacity;
        while self.entries.len() as u64 * 4 > u64::from(self.capacity) * 3 && self.capacity < MAX_CAPACITY {
            self.capacity *= 2;
        }
        self.sort();
        let mut at = 0;
        while self.capacity < TREE_CAPACITY && at < self.entries.len() {
            let bucket = self.bucket(self.entries[at].hash);
            let in_bin = self.entries[at..].iter().take_while(|e| self.bucket(e.hash) == bucket).count();
            if in_bin > TREE_THRESHOLD {
                self.double();
                at = 0;
            } else {
                at += in_bin;
            }
        }
    }

    /// Removes a pair and returns its value. The table does not shrink, as in Java.
    pub fn remove(&mut self, key: &Value) -> Option<Value> {
        self.find(key).map(|i| self.entries.remove(i).value)
    }

    /// Keeps the pairs that the predicate accepts.
    pub fn retain(&mut self, mut keep: impl FnMut(&Value, &mut Value) -> bool) {
        self.entries.retain_mut(|e| keep(&e.key, &mut e.value));
    }

    /// All pairs in Java's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Value, &Value)> + Clone {
        self.entries.iter().map(|e| (&e.key, &e.value))
    }

    /// All pairs in Java's order, values to be changed in place.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&Value, &mut Value)> {
        self.entries.iter_mut().map(|e| (&e.key, &mut e.value))
    }

    /// All keys in Java's order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Value> + Clone {
        self.entries.iter().map(|e| &e.key)
    }

    /// All pairs in Java's order, taken out.
    pub fn into_pairs(self) -> impl ExactSizeIterator<Item = (Value, Value)> {
        self.entries.into_iter().map(|e| (e.key, e.value))
    }

    pub(super) fn java_hash(&self) -> i32 {
        self.iter().fold(0i32, |hash, (k, v)| hash.wrapping_add(k.java_hash() ^ v.java_hash()))
    }
}

/// Equal pairs, in whatever order, as Java's `AbstractMap.equals`.
impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(k, v)| other.get(k) == Some(v))
    }
}

impl Eq for Map {}

/// Agrees with the equality: the order of pairs does not count.
impl std::hash::Hash for Map {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_i32(self.java_hash());
    }
}

/// Collects pairs as insertions one after the other would, but in linear time: what decoders use.
#[derive(Debug)]
pub struct MapBuilder {
    map: Map,
    index: Option<std::collections::HashMap<Value, usize>>,
}

impl MapBuilder {
    /// A builder with room for `pairs` pairs; `order` as for [`Map::new`].
    pub fn new(order: MapOrder, pairs: usize) -> Self {
        let mut map = Map::new(order);
        map.entries.reserve(pairs);
        Self { map, index: None }
    }

    /// Puts a pair; a repeated key takes the new value and keeps its place.
    pub fn insert(&mut self, key: Value, value: Value) {
        let hash = spread(&key);
        let entries = &mut self.map.entries;
        let found = match &self.index {
            Some(index) => index.get(&key).copied(),
            None => entries.iter().position(|e| e.hash == hash && e.key == key),
        };
        if let Some(at) = found {
            entries[at].value = value;
            return;
        }
        if let Some(index) = &mut self.index {
            index.insert(key.clone(), entries.len());
        }
        entries.push(Entry { hash, key, value });
        if self.index.is_none() && entries.len() > INDEX_FROM {
            self.index = Some(entries.iter().enumerate().map(|(i, e)| (e.key.clone(), i)).collect());
        }
    }

    /// The finished map.
    pub fn build(mut self) -> Map {
        self.map.settle();
        self.map
    }
}

impl<K: Into<Value>, V: Into<Value>> FromIterator<(K, V)> for MapBuilder {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut builder = Self::new(MapOrder::Linked, 0);
        for (key, value) in pairs {
            builder.insert(key.into(), value.into());
        }
        builder
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(map: &Map) -> Vec<&str> {
        map.keys().map(|k| k.as_text().unwrap()).collect()
    }

    #[test]
    fn hash_order_is_javas() {
        // jshell: Map<String,Integer> m = new HashMap<>(); for (s : …) m.put(s, 0); m.keySet()
        let mut map = Map::hash();
        for key in ["id", "name", "price", "ok", "task"] {
            map.insert(key, 0);
        }
        assert_eq!(keys(&map), ["task", "price", "name", "id", "ok"]);
    }

    #[test]
    fn a_known_key_keeps_its_place() {
        let mut map = Map::linked();
        map.insert("b", 1);
        map.insert("a", 2);
        assert_eq!(map.insert("b", 3), Some(Value::I32(1)));
        assert_eq!(keys(&map), ["b", "a"]);
    }

    proptest! {
        #[test]
        fn builder_equals_insertions(names in proptest::collection::vec("[a-f]{0,3}", 0..120)) {
            let (mut map, mut builder) = (Map::hash(), MapBuilder::new(MapOrder::Hash, 0));
            for (i, name) in names.iter().enumerate() {
                map.insert(name.as_str(), i as i64);
                builder.insert(name.as_str().into(), (i as i64).into());
            }
            let built = builder.build();
            prop_assert_eq!(keys(&built), keys(&map));
            prop_assert_eq!(&built, &map);
            for name in &names {
                prop_assert!(map.get_text(name).is_some());
            }
        }
    }
}
