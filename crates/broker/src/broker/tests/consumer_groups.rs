//! Groups of the consumer protocol over time, over restarts and over changes of topics.

use std::collections::BTreeSet;

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, GroupId,
    OffsetCommitRequest, OffsetFetchRequest,
};

use super::*;

const FENCED: i16 = 110;
const UNKNOWN_MEMBER: i16 = 25;

/// A consumer: it follows what its heartbeats are told.
#[derive(Debug, Clone)]
pub(super) struct Consumer {
    id: &'static str,
    pub(super) instance: Option<String>,
    topics: Vec<&'static str>,
    regex: Option<&'static str>,
    epoch: i32,
    pub(super) owned: BTreeSet<(uuid::Uuid, i32)>,
}

impl Consumer {
    pub(super) fn new(id: &'static str, topics: &[&'static str]) -> Self {
        Self { id, instance: None, topics: topics.to_vec(), regex: None, epoch: 0, owned: BTreeSet::new() }
    }

    fn request(&self, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        let owned = self.owned.iter().map(|(topic, partition)| {
            TopicPartitions::default().with_topic_id(*topic).with_partitions(vec![*partition])
        });
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId("g".into()))
            .with_member_id(self.id.into())
            .with_instance_id(self.instance.clone().map(Into::into))
            .with_member_epoch(epoch)
            .with_rebalance_timeout_ms(20_000)
            .with_subscribed_topic_names(Some(self.topics.iter().copied().map(topic_name).collect()))
            .with_subscribed_topic_regex(self.regex.map(Into::into))
            .with_topic_partitions(Some(owned.collect()))
    }

    pub(super) fn begin_anew(&mut self) {
        self.epoch = 0;
        self.owned.clear();
    }

    pub(super) fn send(&self, rig: &mut Rig, epoch: i32) -> ConsumerGroupHeartbeatResponse {
        match rig.ask(1, RequestKind::ConsumerGroupHeartbeat(self.request(epoch))) {
            ResponseKind::ConsumerGroupHeartbeat(response) => response,
            other => panic!("{other:?}"),
        }
    }

    /// Beats, and does what it is told.
    pub(super) fn beat(&mut self, rig: &mut Rig) -> i16 {
        let response = self.send(rig, self.epoch);
        if response.error_code == 0 {
            self.epoch = response.member_epoch;
            if let Some(assignment) = response.assignment {
                let topics = assignment.topic_partitions.iter();
                self.owned = topics
                    .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id, *partition)))
                    .collect();
            }
        }
        response.error_code
    }
}

/// Beats until nobody's partitions change, checking that no partition has two owners on the way.
fn settle(rig: &mut Rig, consumers: &mut [Consumer]) {
    for _ in 0..10 {
        for index in 0..consumers.len() {
            assert_eq!(consumers[index].beat(rig), 0, "{:?}", consumers[index]);
            let total: usize = consumers.iter().map(|consumer| consumer.owned.len()).sum();
            let all: BTreeSet<_> = consumers.iter().flat_map(|consumer| consumer.owned.iter()).collect();
            assert_eq!(all.len(), total, "a partition has two owners");
        }
    }
}

fn counts(consumers: &[Consumer]) -> Vec<usize> {
    consumers.iter().map(|consumer| consumer.owned.len()).collect()
}

fn described(rig: &mut Rig) -> (String, usize) {
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId("g".into())]);
    match rig.ask(1, RequestKind::ConsumerGroupDescribe(request)) {
        ResponseKind::ConsumerGroupDescribe(response) => {
            let group = &response.groups[0];
            (group.group_state.to_string(), group.members.len())
        }
        other => panic!("{other:?}"),
    }
}

fn rig() -> Rig {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 6, &[]);
    rig
}

#[test]
fn partitions_follow_members_that_come_and_fall_silent() {
    let mut rig = rig();
    let mut consumers = vec![Consumer::new("a", &["t"]), Consumer::new("b", &["t"]), Consumer::new("c", &["t"])];
    settle(&mut rig, &mut consumers[..1]);
    assert_eq!(counts(&consumers), [6, 0, 0]);
    settle(&mut rig, &mut consumers);
    assert_eq!(counts(&consumers), [2, 2, 2]);
    assert_eq!(described(&mut rig), ("Stable".to_owned(), 3));
    // `c` says nothing for longer than its session lasts.
    for _ in 0..5 {
        rig.pass(Duration::from_secs(10));
        settle(&mut rig, &mut consumers[..2]);
    }
    assert_eq!(counts(&consumers[..2]), [3, 3]);
    assert_eq!(consumers[2].beat(&mut rig), UNKNOWN_MEMBER);
    // All fall silent.
    rig.pass(Duration::from_secs(46));
    assert_eq!(described(&mut rig), ("Empty".to_owned(), 0));
}

#[test]
fn whoever_does_not_give_up_its_partitions_is_fenced() {
    let mut rig = rig();
    let mut consumers = [Consumer::new("a", &["t"]), Consumer::new("b", &["t"])];
    settle(&mut rig, &mut consumers[..1]);
    let stubborn = consumers[0].clone();
    assert_eq!(consumers[1].beat(&mut rig), 0);
    // `a` goes on reading everything, and beats.
    for _ in 0..4 {
        assert_eq!(stubborn.send(&mut rig, stubborn.epoch).error_code, 0);
        rig.pass(Duration::from_secs(4));
    }
    rig.pass(Duration::from_secs(5));
    assert_eq!(stubborn.send(&mut rig, stubborn.epoch).error_code, UNKNOWN_MEMBER);
    settle(&mut rig, &mut consumers[1..]);
    assert_eq!(counts(&consumers[1..]), [6]);
}

#[test]
fn members_survive_a_restart_with_their_epochs() {
    let mut rig = rig();
    let mut consumers = vec![Consumer::new("a", &["t"]), Consumer::new("b", &["t"])];
    settle(&mut rig, &mut consumers);
    let epochs: Vec<i32> = consumers.iter().map(|consumer| consumer.epoch).collect();
    for how in [Rig::kill, Rig::restart] {
        how(&mut rig);
        assert_eq!(described(&mut rig), ("Stable".to_owned(), 2));
        settle(&mut rig, &mut consumers);
        assert_eq!(consumers.iter().map(|consumer| consumer.epoch).collect::<Vec<_>>(), epochs);
        assert_eq!(consumers[0].send(&mut rig, epochs[0] + 1).error_code, FENCED);
    }
    // In the middle of a rebalance.
    consumers.push(Consumer::new("c", &["t"]));
    assert_eq!(consumers[2].beat(&mut rig), 0);
    assert_eq!(consumers[0].beat(&mut rig), 0);
    rig.kill();
    settle(&mut rig, &mut consumers);
    assert_eq!(counts(&consumers), [2, 2, 2]);
}

#[test]
fn topics_that_come_grow_and_go_are_noticed() {
    let mut rig = rig();
    let mut by_pattern = Consumer { regex: Some("t.*"), ..Consumer::new("a", &[]) };
    let by_name = Consumer::new("b", &["t", "later"]);
    let mut consumers = vec![by_name, by_pattern.clone()];
    settle(&mut rig, &mut consumers);
    assert_eq!(counts(&consumers), [3, 3]);
    rig.create_topic("later", 4, &[]);
    rig.create_topic("t2", 4, &[]);
    settle(&mut rig, &mut consumers);
    assert_eq!(counts(&consumers), [7, 7]);
    let request = kafka_protocol::messages::DeleteTopicsRequest::default().with_topic_names(vec![topic_name("t")]);
    rig.ask(5, RequestKind::DeleteTopics(request));
    settle(&mut rig, &mut consumers);
    assert_eq!(counts(&consumers), [4, 4]);
    by_pattern.id = "c";
    by_pattern.regex = Some("(");
    assert_eq!(by_pattern.beat(&mut rig), 128, "an invalid pattern");
    assert_eq!(described(&mut rig).1, 2);
}

/// Commits an offset; `None` for somebody who keeps no group.
fn commit(rig: &mut Rig, group: &str, by: Option<&Consumer>, topic: &str) -> i16 {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(3);
    let topic = OffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(group.to_owned().into()))
        .with_member_id(by.map_or("", |consumer| consumer.id).into())
        .with_generation_id_or_member_epoch(by.map_or(-1, |consumer| consumer.epoch))
        .with_topics(vec![topic]);
    match rig.ask(9, RequestKind::OffsetCommit(request)) {
        ResponseKind::OffsetCommit(response) => response.topics[0].partitions[0].error_code,
        other => panic!("{other:?}"),
    }
}

fn committed(rig: &mut Rig, group: &str) -> Vec<String> {
    let wanted = OffsetFetchRequestGroup::default().with_group_id(GroupId(group.to_owned().into())).with_topics(None);
    match rig.ask(9, RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![wanted]))) {
        ResponseKind::OffsetFetch(response) => {
            response.groups[0].topics.iter().map(|topic| topic.name.to_string()).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn offsets_are_forgotten_when_nobody_reads_their_topic() {
    let offsets_retention = Duration::from_secs(600);
    let mut rig = Rig::new(BrokerConfig { offsets_retention, ..BrokerConfig::default() });
    rig.create_topic("t", 1, &[]);
    rig.create_topic("u", 1, &[]);
    let mut consumers = vec![Consumer::new("a", &["t", "u"])];
    settle(&mut rig, &mut consumers);
    assert_eq!(
        (commit(&mut rig, "g", Some(&consumers[0]), "t"), commit(&mut rig, "g", Some(&consumers[0]), "u")),
        (0, 0)
    );
    assert_eq!((commit(&mut rig, "alone", None, "t"), commit(&mut rig, "alone", None, "u")), (0, 0));
    consumers[0].topics = vec!["t"];
    for round in 0..20 {
        settle(&mut rig, &mut consumers);
        rig.pass(Duration::from_secs(40));
        if round == 10 {
            assert_eq!(commit(&mut rig, "alone", None, "u"), 0);
        }
    }
    assert_eq!(committed(&mut rig, "g"), ["t"], "a topic that is read keeps its offset");
    assert_eq!(committed(&mut rig, "alone"), ["u"], "what was committed again is kept");
    rig.pass(Duration::from_secs(700));
    assert_eq!(committed(&mut rig, "alone"), Vec::<String>::new());
    assert_eq!(committed(&mut rig, "g"), Vec::<String>::new(), "nobody is left to read anything");
}

/// What the broker and the members know of one another after a restart: nobody is ahead of the group, everybody can go on.
///
/// A member that has missed an answer may be told to begin anew if `misses` says so.
fn check_restart(store: &MemoryStore, consumers: &[Consumer], misses: bool, what: &str) {
    let mut rig = Rig::over(store.duplicate(), BrokerConfig::default());
    if let Some(group) = rig.broker.groups.get("g").and_then(|group| group.consumer.as_ref()) {
        for (id, member) in &group.members {
            assert!(member.epoch <= group.epoch, "{what}: {id} is at {} of {}", member.epoch, group.epoch);
        }
    }
    let mut consumers: Vec<Consumer> = consumers.iter().filter(|consumer| consumer.epoch > 0).cloned().collect();
    for consumer in &mut consumers {
        let error = consumer.beat(&mut rig);
        assert!(error == 0 || misses && [FENCED, UNKNOWN_MEMBER].contains(&error), "{what}: {error} for {consumer:?}");
        if error != 0 {
            consumer.begin_anew();
        }
    }
    settle(&mut rig, &mut consumers);
}

/// Members that come, share and go, until something goes wrong; then each tries again.
fn come_and_go(rig: &mut Rig, mut failed: impl FnMut(&mut Rig, &[Consumer], i16)) {
    let mut consumers = vec![Consumer::new("a", &["t"]), Consumer::new("b", &["t"]), Consumer::new("c", &["t"])];
    for round in 0..12 {
        for index in 0..=round.min(2) {
            loop {
                let error = if (round, index) == (11, 0) {
                    let response = consumers[0].send(rig, -1);
                    consumers[0].epoch = if response.error_code == 0 { 0 } else { consumers[0].epoch };
                    response.error_code
                } else {
                    consumers[index].beat(rig)
                };
                match error {
                    0 => break,
                    // It has left, and has missed the answer.
                    UNKNOWN_MEMBER => break,
                    FENCED => consumers[index].begin_anew(),
                    _ => failed(rig, &consumers, error),
                }
            }
        }
    }
    settle(rig, &mut consumers[1..]);
    assert_eq!(counts(&consumers[1..]), [3, 3]);
    check_restart(&rig.store, &consumers[1..], false, "at the end");
}

#[test]
fn what_a_full_disk_does_not_take_has_not_happened() {
    for room in (0..3_000).step_by(37) {
        let mut rig = rig();
        rig.store.limit_room(Some(room));
        let mut failures = 0;
        come_and_go(&mut rig, |rig, consumers, error| {
            assert_eq!(error, 16, "NOT_COORDINATOR with room for {room} bytes");
            check_restart(&rig.store, consumers, false, &format!("room for {room} bytes"));
            failures += 1;
            if failures == 3 {
                rig.store.limit_room(None);
            }
        });
        assert!(failures > 0 || room > 1_000, "{room} bytes are enough");
    }
}

#[test]
fn a_kill_in_the_middle_of_a_write_leaves_all_of_a_change_or_nothing() {
    for changes in 0..16 {
        for torn in (0..700).step_by(23) {
            let mut rig = rig();
            rig.store.die_after(changes, torn);
            come_and_go(&mut rig, |rig, consumers, _| {
                rig.store.revive();
                check_restart(&rig.store, consumers, true, &format!("{torn} bytes of change {changes}"));
                rig.kill();
            });
        }
    }
}

#[test]
fn a_silent_member_is_given_up_when_that_can_be_written_down() {
    let mut rig = rig();
    let mut consumers = vec![Consumer::new("a", &["t"]), Consumer::new("b", &["t"])];
    settle(&mut rig, &mut consumers);
    rig.store.limit_room(Some(0));
    rig.pass(Duration::from_secs(50));
    assert_eq!(described(&mut rig).1, 2);
    rig.store.limit_room(None);
    rig.pass(Duration::from_secs(1));
    for _ in 0..2 {
        assert_eq!(described(&mut rig), ("Empty".to_owned(), 0));
        rig.kill();
    }
}
