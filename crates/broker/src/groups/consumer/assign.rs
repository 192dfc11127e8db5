//! Who reads which partitions: the two assignors that a broker has, `uniform` and `range`.
//!
//! Pure functions from subscriptions and the assignment before to the next one. `range` gives every topic to its readers in consecutive
//! stretches, by the order of instance and member ids, as Apache Kafka's does. `uniform` gives everybody the same number, give or take
//! one, and leaves in place what can stay; where members read different topics it is as even as a bounded number of moves makes it.
//! Counterpart of Apache Kafka's `RangeAssignor` and `UniformAssignor`.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::Partitions;

/// Names of the assignors, the default first.
pub(crate) const ASSIGNORS: [&str; 2] = ["uniform", "range"];
/// Most rounds in which an uneven assignment is made more even; each moves at least one partition.
const MAX_MOVES: usize = 10_000;

/// A member as an assignor sees it.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) id: String,
    pub(super) instance_id: Option<String>,
    /// Existing topics that it wants to read.
    pub(super) topics: BTreeSet<Uuid>,
    /// What it was to read before.
    pub(super) before: Partitions,
}

/// Assigns all partitions of `topics` (with their number of partitions) that somebody reads.
pub(super) fn assign(assignor: &str, readers: &[Reader], topics: &BTreeMap<Uuid, i32>) -> BTreeMap<String, Partitions> {
    if assignor == "range" { range(readers, topics) } else { uniform(readers, topics) }
}

fn range(readers: &[Reader], topics: &BTreeMap<Uuid, i32>) -> BTreeMap<String, Partitions> {
    let mut order: Vec<&Reader> = readers.iter().collect();
    // Static members come first.
    order.sort_by_key(|reader| (reader.instance_id.is_none(), reader.instance_id.clone(), reader.id.clone()));
    let mut result: BTreeMap<String, Partitions> =
        readers.iter().map(|reader| (reader.id.clone(), Partitions::new())).collect();
    for (topic, count) in topics {
        let of_topic: Vec<&&Reader> = order.iter().filter(|reader| reader.topics.contains(topic)).collect();
        let Ok(among) = i32::try_from(of_topic.len()) else { continue };
        let mut next = 0;
        for (place, reader) in (0..).zip(of_topic) {
            let quota = count / among + i32::from(place < count % among);
            if quota > 0
                && let Some(partitions) = result.get_mut(&reader.id)
            {
                partitions.insert(*topic, (next..next + quota).collect());
            }
            next += quota;
        }
    }
    result
}

/// What members have while `uniform` works.
struct Shares<'a> {
    readers: &'a [Reader],
    held: Vec<BTreeSet<(Uuid, i32)>>,
}

impl Shares<'_> {
    fn readers_of(&self, topic: Uuid) -> impl Iterator<Item = usize> {
        (0..self.readers.len()).filter(move |index| self.readers[*index].topics.contains(&topic))
    }

    /// The reader of a topic that has the least.
    fn neediest(&self, topic: Uuid) -> Option<usize> {
        self.readers_of(topic).min_by_key(|index| (self.held[*index].len(), *index))
    }
}

fn uniform(readers: &[Reader], topics: &BTreeMap<Uuid, i32>) -> BTreeMap<String, Partitions> {
    let mut shares = Shares { readers, held: vec![BTreeSet::new(); readers.len()] };
    let mut free: BTreeSet<(Uuid, i32)> =
        topics.iter().flat_map(|(topic, count)| (0..*count).map(move |partition| (*topic, partition))).collect();
    // What can stay, stays.
    for (index, reader) in readers.iter().enumerate() {
        for (topic, partitions) in reader.before.iter().filter(|(topic, _)| reader.topics.contains(*topic)) {
            for partition in partitions.iter().filter(|partition| free.remove(&(*topic, **partition))) {
                shares.held[index].insert((*topic, *partition));
            }
        }
    }
    let same_topics = readers.windows(2).all(|pair| pair[0].topics == pair[1].topics);
    if same_topics {
        level_equals(&mut shares, &mut free)
    } else {
        level(&mut shares, free)
    }
    let mut result = BTreeMap::new();
    for (reader, held) in readers.iter().zip(shares.held) {
        let mut partitions = Partitions::new();
        for (topic, partition) in held {
            partitions.entry(topic).or_default().insert(partition);
        }
        result.insert(reader.id.clone(), partitions);
    }
    result
}

/// All read the same: everybody's quota is known beforehand, and those who have the most keep one more.
fn level_equals(shares: &mut Shares<'_>, free: &mut BTreeSet<(Uuid, i32)>) {
    let total = free.len() + shares.held.iter().map(BTreeSet::len).sum::<usize>();
    let Some(quota) = total.checked_div(shares.held.len()) else { return };
    let mut order: Vec<usize> = (0..shares.held.len()).collect();
    order.sort_by_key(|index| (std::cmp::Reverse(shares.held[*index].len()), *index));
    let with_one_more = total % shares.held.len();
    let quotas = order.iter().enumerate().map(|(place, index)| (*index, quota + usize::from(place < with_one_more)));
    let quotas: Vec<(usize, usize)> = quotas.collect();
    for (index, quota) in &quotas {
        while shares.held[*index].len() > *quota {
            free.extend(shares.held[*index].pop_last());
        }
    }
    for (index, quota) in quotas {
        while shares.held[index].len() < quota {
            let Some(partition) = free.pop_first() else { return };
            shares.held[index].insert(partition);
        }
    }
}

/// Members read different topics: what is free goes to those with the least, then partitions move while that makes it more even.
fn level(shares: &mut Shares<'_>, free: BTreeSet<(Uuid, i32)>) {
    let mut free: Vec<(Uuid, i32)> = free.into_iter().collect();
    // Topics that few can read first: the others have more to choose from.
    free.sort_by_cached_key(|(topic, partition)| (shares.readers_of(*topic).count(), *topic, *partition));
    for (topic, partition) in free {
        if let Some(index) = shares.neediest(topic) {
            shares.held[index].insert((topic, partition));
        }
    }
    for _ in 0..MAX_MOVES {
        let mut order: Vec<usize> = (0..shares.held.len()).collect();
        order.sort_by_key(|index| (std::cmp::Reverse(shares.held[*index].len()), *index));
        let found = order.into_iter().find_map(|giver| {
            let most = shares.held[giver].len();
            let topics: BTreeSet<Uuid> = shares.held[giver].iter().map(|(topic, _)| *topic).collect();
            let (topic, taker) = topics
                .into_iter()
                .filter_map(|topic| Some((topic, shares.neediest(topic)?)))
                .min_by_key(|(_, taker)| shares.held[*taker].len())?;
            (shares.held[taker].len() + 1 < most).then_some((giver, topic, taker))
        });
        let Some((giver, topic, taker)) = found else { return };
        let moved = shares.held[giver].iter().rev().find(|(of, _)| *of == topic).copied();
        if let Some(moved) = moved {
            shares.held[giver].remove(&moved);
            shares.held[taker].insert(moved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn topic(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn reader(id: &str, topics: &[u128], before: &[(u128, &[i32])]) -> Reader {
        Reader {
            id: id.to_owned(),
            instance_id: None,
            topics: topics.iter().copied().map(topic).collect(),
            before: before.iter().map(|(of, partitions)| (topic(*of), partitions.iter().copied().collect())).collect(),
        }
    }

    fn shown(result: &BTreeMap<String, Partitions>) -> String {
        let mut text = String::new();
        for (id, partitions) in result {
            let held: Vec<String> =
                partitions.iter().map(|(topic, list)| format!("{}:{list:?}", topic.as_u128())).collect();
            text.push_str(&format!("{id} {}\n", held.join(" ")));
        }
        text
    }

    #[test]
    fn ranges_follow_the_order_of_ids() {
        let topics = BTreeMap::from([(topic(1), 5), (topic(2), 2)]);
        let mut readers = vec![reader("b", &[1, 2], &[]), reader("a", &[1], &[]), reader("c", &[1, 2], &[])];
        readers[2].instance_id = Some("i".into());
        expect_test::expect![[r#"
            a 1:{2, 3}
            b 1:{4} 2:{1}
            c 1:{0, 1} 2:{0}
        "#]]
        .assert_eq(&shown(&assign("range", &readers, &topics)));
    }

    #[test]
    fn a_newcomer_takes_no_more_than_its_share() {
        let topics = BTreeMap::from([(topic(1), 6)]);
        let readers =
            [reader("a", &[1], &[(1, &[0, 2, 4])]), reader("b", &[1], &[(1, &[1, 3, 5])]), reader("c", &[1], &[])];
        expect_test::expect![[r#"
            a 1:{0, 2}
            b 1:{1, 3}
            c 1:{4, 5}
        "#]]
        .assert_eq(&shown(&assign("uniform", &readers, &topics)));
    }

    fn readers() -> impl Strategy<Value = Vec<Reader>> {
        let one = (prop::collection::btree_set(1u128..5, 0..4), prop::collection::btree_set((1u128..5, 0..6), 0..8));
        prop::collection::vec(one, 1..7).prop_map(|members| {
            let numbered = members.into_iter().enumerate();
            let readers = numbered.map(|(index, (topics, before))| {
                let mut held = Partitions::new();
                for (of, partition) in before {
                    held.entry(topic(of)).or_default().insert(partition);
                }
                Reader { before: held, ..reader(&format!("m{index}"), &topics.into_iter().collect::<Vec<_>>(), &[]) }
            });
            readers.collect()
        })
    }

    /// Assignors are given the topics that somebody reads.
    fn read_topics(readers: &[Reader], topics: [(u128, i32); 4]) -> BTreeMap<Uuid, i32> {
        let topics = topics.into_iter().map(|(of, count)| (topic(of), count));
        topics.filter(|(topic, _)| readers.iter().any(|reader| reader.topics.contains(topic))).collect()
    }

    proptest! {
        #[test]
        fn every_partition_that_is_read_has_one_reader(readers in readers(), name in 0usize..2) {
            let topics = read_topics(&readers, [(1, 5), (2, 1), (3, 0), (4, 6)]);
            let result = assign(ASSIGNORS[name], &readers, &topics);
            let mut seen = BTreeMap::new();
            for reader in &readers {
                for (topic, partitions) in &result[&reader.id] {
                    prop_assert!(reader.topics.contains(topic));
                    for partition in partitions {
                        prop_assert!(*partition < topics[topic]);
                        prop_assert!(seen.insert((*topic, *partition), &reader.id).is_none());
                    }
                }
            }
            for (topic, count) in &topics {
                let is_read = readers.iter().any(|reader| reader.topics.contains(topic));
                let assigned = seen.keys().filter(|(of, _)| of == topic).count();
                prop_assert_eq!(assigned, if is_read { *count as usize } else { 0 });
            }
        }

        #[test]
        fn uniform_is_even_and_stays_as_it_is(readers in readers()) {
            let topics = read_topics(&readers, [(1, 5), (2, 1), (3, 2), (4, 6)]);
            let result = assign("uniform", &readers, &topics);
            let count = |id: &str| result[id].values().map(BTreeSet::len).sum::<usize>();
            for left in &readers {
                for right in &readers {
                    // Whoever has two more has nothing that the other could read.
                    if count(&left.id) > count(&right.id) + 1 {
                        prop_assert!(result[&left.id].keys().all(|topic| !right.topics.contains(topic)));
                    }
                }
            }
            let again: Vec<Reader> =
                readers.iter().map(|reader| Reader { before: result[&reader.id].clone(), ..reader.clone() }).collect();
            prop_assert_eq!(assign("uniform", &again, &topics), result);
        }
    }
}
