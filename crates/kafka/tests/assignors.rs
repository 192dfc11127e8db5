//! Our assignors beside Java's: the same subscriptions, the same shares.
//!
//! A case is a line: the assignor; the topics, each with the racks of every partition's replicas; the members, each with id, static id and subscription
//! as bytes. `tests/java/assignors` prints what Java makes of it. Recorded answers stand in `assignors.txt`, so that a machine without a JDK compares
//! too; with one, many more random cases are asked. `UPDATE_EXPECT=1` records anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_subscription::{
    ConsumerProtocolSubscription, TopicPartition as OwnedTopic,
};
use kafka_protocol::protocol::StrBytes;
use kurier_harness::{Java, skip_without_java, workspace_root};
use kurier_kafka::consumer::{Assignor, Subscriber, TopicLayout};
use kurier_kafka::group::MemberMetadata;
use kurier_kafka::wire::encode_consumer_subscription;

const RECORDED: &str = include_str!("assignors.txt");
const RECORDED_CASES: u64 = 250;
const LIVE_CASES: u64 = 20_000;

/// Xorshift: the cases of a seed are the same everywhere.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }
}

/// What a member says it had, and in which generation.
#[derive(Default)]
struct Had {
    partitions: BTreeMap<&'static str, Vec<i32>>,
    generation: i32,
}

const TOPICS: [&str; 6] = ["orders", "a", "b", "clicks", "users-by-id", "zz"];
const IDS: [&str; 9] = ["c-1", "c-2", "consumer-3-ff", "x", "y7", "rdkafka-0", "a-b-c", "Sarama", "q"];

/// One random case.
fn case(seed: u64) -> String {
    let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let assignor = ["range", "roundrobin", "sticky", "cooperative-sticky"][rng.below(4) as usize];
    let with_racks = rng.one_in(3);
    let mut counts: BTreeMap<&'static str, i32> = BTreeMap::new();
    let mut topics = Vec::new();
    for name in TOPICS.into_iter().take(1 + rng.below(6) as usize) {
        let count = if rng.one_in(3) { 4 } else { 1 + rng.below(9) as i32 };
        counts.insert(name, count);
        let racks: Vec<String> = (0..count)
            .map(|_| match with_racks {
                false => "-".to_owned(),
                true => (0..1 + rng.below(3)).map(|_| ['r', 's', 't', '-'][rng.below(4) as usize]).collect(),
            })
            .collect();
        topics.push(format!("{name}:{}", racks.join(".")));
    }
    let members = 1 + rng.below(8) as usize;
    let had = had(&mut rng, &counts, members);
    let same_topics = rng.one_in(2);
    let first: Vec<&str> = counts.keys().copied().filter(|_| !rng.one_in(4)).collect();
    let start = rng.below(9) as usize;
    let mut lines = Vec::new();
    let newest = had.iter().map(|had| had.generation).max().unwrap_or(-1);
    for (index, mut had) in had.into_iter().enumerate() {
        let mut wanted =
            if same_topics { first.clone() } else { counts.keys().copied().filter(|_| !rng.one_in(3)).collect() };
        if rng.one_in(12) && !same_topics {
            wanted.push("no-such-topic");
        }
        if had.generation < newest {
            // Java may give such a partition back though its topic is not wanted any more; ours does not.
            had.partitions.retain(|topic, _| wanted.contains(topic));
        }
        let rack = (with_racks && !rng.one_in(4)).then(|| ["r", "s", "t", "u"][rng.below(4) as usize]);
        let version = if rng.one_in(8) { rng.below(4) as i16 } else { 3 };
        let instance = if rng.one_in(4) { format!("i{}", 9 - index) } else { "-".to_owned() };
        let id = IDS[(start + index) % IDS.len()];
        let bytes = subscription(assignor, &wanted, &had, rack, version, rng.one_in(20));
        let mut hex = String::new();
        for byte in bytes {
            write!(hex, "{byte:02x}").unwrap();
        }
        lines.push(format!("{id}/{instance}/{hex}"));
    }
    format!("{assignor} {} {}", topics.join(","), lines.join(","))
}

/// What each member had: a share each, now and then of an older generation, now and then with claims on the same partition.
fn had(rng: &mut Rng, counts: &BTreeMap<&'static str, i32>, members: usize) -> Vec<Had> {
    let generation = rng.below(5) as i32;
    let mut all: Vec<Had> = (0..members).map(|_| Had { generation, ..Had::default() }).collect();
    if rng.one_in(5) {
        return all.into_iter().map(|_| Had { generation: -1, ..Had::default() }).collect();
    }
    for had in &mut all {
        if rng.one_in(4) {
            had.generation = rng.below(6) as i32 - 1;
        }
    }
    let (busy, contested) = (1 + rng.below(members as u64), rng.one_in(4));
    for (topic, count) in counts {
        for partition in 0..*count {
            let claims = if contested && rng.one_in(6) { 2 } else { 1 };
            for _ in 0..claims {
                let owner = rng.below(busy + 1) as usize;
                if let Some(had) = all.get_mut(owner) {
                    let list = had.partitions.entry(topic).or_default();
                    if !list.contains(&partition) {
                        list.push(partition);
                    }
                }
            }
        }
    }
    all
}

fn subscription(
    assignor: &str,
    wanted: &[&str],
    had: &Had,
    rack: Option<&str>,
    version: i16,
    bad_user_data: bool,
) -> Bytes {
    let mut user_data = BytesMut::new();
    if bad_user_data {
        user_data.put_slice(&[0, 0]);
    } else if assignor == "sticky" {
        user_data.put_i32(had.partitions.len() as i32);
        for (topic, partitions) in &had.partitions {
            user_data.put_i16(topic.len() as i16);
            user_data.put_slice(topic.as_bytes());
            user_data.put_i32(partitions.len() as i32);
            for partition in partitions {
                user_data.put_i32(*partition);
            }
        }
        if had.generation >= 0 {
            user_data.put_i32(had.generation);
        }
    } else if assignor == "cooperative-sticky" {
        user_data.put_i32(had.generation);
    }
    let owned = had.partitions.iter().filter(|_| assignor == "cooperative-sticky").map(|(topic, partitions)| {
        OwnedTopic::default().with_topic(StrBytes::from_static_str(topic).into()).with_partitions(partitions.clone())
    });
    // Fields that an older version lacks are left at their defaults.
    let mut data = ConsumerProtocolSubscription::default()
        .with_topics(wanted.iter().map(|topic| StrBytes::from_string((*topic).to_owned())).collect())
        .with_user_data((!user_data.is_empty()).then(|| user_data.freeze()));
    if version >= 1 {
        data = data.with_owned_partitions(owned.collect());
    }
    if version >= 2 {
        data = data.with_generation_id(had.generation);
    }
    if version >= 3 {
        data = data.with_rack_id(rack.map(|rack| StrBytes::from_string(rack.to_owned())));
    }
    encode_consumer_subscription(&data, version).unwrap()
}

fn unhex(text: &str) -> Bytes {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// The members of a case.
fn members(case: &str) -> Vec<Subscriber> {
    let words: Vec<&str> = case.split(' ').collect();
    let read = |member: &str| {
        let parts: Vec<&str> = member.split('/').collect();
        let told = MemberMetadata {
            member_id: parts[0].to_owned(),
            instance_id: (parts[1] != "-").then(|| parts[1].to_owned()),
            metadata: unhex(parts[2]),
        };
        Subscriber::read(&told).unwrap()
    };
    words[2].split(',').map(read).collect()
}

/// Our answer to a case, in the form of Java's.
fn ours(case: &str) -> String {
    let words: Vec<&str> = case.split(' ').collect();
    let mut layout = BTreeMap::new();
    for topic in words[1].split(',') {
        let (name, racks) = topic.split_once(':').unwrap();
        let of_replicas =
            |racks: &str| racks.chars().filter(|rack| *rack != '-').map(|rack| rack.to_string().into()).collect();
        let racks: Vec<BTreeSet<_>> = racks.split('.').map(of_replicas).collect();
        layout.insert(name.to_owned(), TopicLayout { partitions: racks.len() as i32, racks });
    }
    let shares = Assignor::from_name(words[0]).unwrap().assign(&members(case), &layout);
    let share = |(member, mut share): (String, Vec<kurier_kafka::consumer::TopicPartition>)| {
        share.sort();
        let names: Vec<String> = share.iter().map(ToString::to_string).collect();
        format!("{member}={}", names.join("+"))
    };
    shares.into_iter().map(share).collect::<Vec<_>>().join(",")
}

fn javas(java: &Java, cases: &[String]) -> Vec<String> {
    let program = workspace_root().join("tests/java/assignors/Assignments.java");
    let input = cases.join("\n") + "\n";
    let answers = java.run(program.to_str().unwrap(), &[], input.as_bytes()).unwrap();
    // The assignors log to standard output too.
    answers.lines().filter_map(|line| line.strip_prefix('#')).map(str::to_owned).collect()
}

#[test]
fn shares_are_those_that_java_gave() {
    let lines: Vec<&str> = RECORDED.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len() as u64, RECORDED_CASES);
    for line in lines {
        let (case, expected) = line.rsplit_once(" -> ").unwrap();
        assert_eq!(ours(case), expected, "{case}");
    }
}

#[test]
fn shares_are_those_that_java_gives() {
    let Some(java) = skip_without_java("shares_are_those_that_java_gives") else { return };
    let cases: Vec<String> = (1..=LIVE_CASES).map(case).collect();
    let expected = javas(&java, &cases);
    assert_eq!(expected.len(), cases.len());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let lines: Vec<String> = cases
            .iter()
            .zip(&expected)
            .filter(|(_, expected)| *expected != "throws")
            .take(RECORDED_CASES as usize)
            .map(|(case, expected)| format!("{case} -> {expected}\n"))
            .collect();
        std::fs::write(workspace_root().join("crates/kafka/tests/assignors.txt"), lines.concat()).unwrap();
    }
    let (mut wrong, mut thrown) = (Vec::new(), 0);
    for (case, expected) in cases.iter().zip(&expected) {
        if expected == "throws" {
            // A null pointer on the way; no member of that group would get anything.
            thrown += 1;
        } else if ours(case) != *expected {
            wrong.push(format!("{case}\n java {expected}\n ours {}", ours(case)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong[..wrong.len().min(5)].join("\n"));
    assert!(thrown * 100 < cases.len(), "Java threw at {thrown} cases");
}
