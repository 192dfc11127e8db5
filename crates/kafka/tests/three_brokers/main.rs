//! Clients on three brokers of Apache Kafka that die and come back: leaders and coordinators move, followers are read from, logs are cut.
//!
//! Starting three brokers takes longer than any of the cases, so these share them. Each kills a broker at a moment that it waits for, and starts it again.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock and start tasks")]

mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kurier_harness::{ApacheTrio, Java, skip_without_java};
use kurier_kafka::admin::{Admin, AdminConfig, TopicLayout, TopicToCreate};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{Consumer, ConsumerConfig, ConsumerError, RebalanceEvent, Subscription, TopicPartition};
use kurier_kafka::producer::{Destination, ProduceBatch, Producer, ProducerConfig};
use watched::{Notes, Watched};

const PATIENCE: Duration = Duration::from_secs(120);
/// How long is polled at a time.
const MOMENT: Duration = Duration::from_millis(100);
/// Replicas of every topic and of the cluster's own.
const BROKERS: [i32; 3] = [1, 2, 3];
/// Partitions of `__consumer_offsets` and `__transaction_state` in the harness's cluster.
const COORDINATING: i32 = 3;

struct Bed {
    trio: ApacheTrio,
    java: Java,
    admin: Admin,
}

impl Bed {
    fn properties(&self, more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let addresses = self.trio.addresses();
        let given = [("bootstrap.servers", &*addresses), ("auto.offset.reset", "earliest")];
        given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn producer(&self, more: &[(&str, &str)]) -> Producer {
        Producer::new(ProducerConfig::parse(&self.properties(more)).unwrap())
    }

    fn consumer(&self, more: &[(&str, &str)]) -> Consumer {
        Consumer::new(ConsumerConfig::parse(&self.properties(more)).unwrap())
    }

    fn watched_producer(&self, more: &[(&str, &str)]) -> (Producer, Notes) {
        let config = ProducerConfig::parse(&self.properties(more)).unwrap();
        let (transport, notes) = Watched::new(config.net);
        (Producer::with_transport(config.settings, Arc::new(transport)), notes)
    }

    fn watched_consumer(&self, more: &[(&str, &str)]) -> (Consumer, Notes) {
        let config = ConsumerConfig::parse(&self.properties(more)).unwrap();
        let (transport, notes) = Watched::new(config.net);
        (Consumer::with_transport(config.settings, Arc::new(transport)), notes)
    }

    async fn create(&self, name: &str, replicas: &[&[i32]], config: &[(&str, &str)]) {
        let replicas = (0..).zip(replicas.iter().map(|replicas| replicas.to_vec())).collect();
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let new = TopicToCreate { name: name.to_owned(), layout: TopicLayout::Assigned(replicas), config };
        for created in self.admin.create_topics(&[new], false).await.unwrap().into_values() {
            created.unwrap();
        }
    }

    /// Leader and replicas in sync of a partition.
    async fn state(&self, topic: &str, partition: i32) -> (Option<i32>, BTreeSet<i32>) {
        let described = self.admin.describe_topics(&[topic]).await.ok().and_then(|mut all| all.remove(topic)?.ok());
        let found = described.and_then(|topic| topic.partitions.into_iter().find(|found| found.partition == partition));
        found.map_or((None, BTreeSet::new()), |found| (found.leader, found.in_sync.into_iter().collect()))
    }

    /// Waits until a partition is led by whom `led` takes and has these replicas in sync.
    async fn settled(&self, topic: &str, partition: i32, led: impl Fn(i32) -> bool, in_sync: &[i32]) -> i32 {
        let (deadline, wanted) = (Instant::now() + PATIENCE, in_sync.iter().copied().collect::<BTreeSet<_>>());
        loop {
            let (leader, in_sync) = self.state(topic, partition).await;
            if let Some(leader) = leader.filter(|leader| led(*leader) && in_sync == wanted) {
                return leader;
            }
            assert!(Instant::now() < deadline, "{topic}-{partition} is led by {leader:?}, in sync are {in_sync:?}");
            tokio::time::sleep(MOMENT).await;
        }
    }
}

/// Adds a record with the number as its value.
fn add(batch: &mut ProduceBatch, topic: &str, partition: i32, number: u64) {
    let topic: Arc<str> = topic.into();
    let mut draft = batch.draft();
    let written: Result<(), std::convert::Infallible> = draft.value(|bytes| {
        bytes.extend_from_slice(&number.to_be_bytes());
        Ok(true)
    });
    let Ok(()) = written;
    draft.finish(number, Destination { topic: &topic, partition: Some(partition), timestamp: None });
}

/// Writes records to the first partition of a topic; all are acknowledged.
async fn write(producer: &Producer, topic: &str, numbers: std::ops::Range<u64>) {
    let mut batch = ProduceBatch::default();
    numbers.for_each(|number| add(&mut batch, topic, 0, number));
    producer.send(&mut batch).await.unwrap();
    producer.flush().await;
    for delivery in producer.take_deliveries() {
        delivery.outcome.unwrap();
    }
}

/// What a poll brought, in order.
fn numbers(batches: &[kurier_kafka::consumer::FetchedBatch]) -> Vec<(i32, u64)> {
    let (mut all, mut scratch) = (Vec::new(), Scratch::default());
    for batch in batches {
        for record in &batch.open(&mut scratch).unwrap() {
            let value = record.unwrap().value.unwrap();
            all.push((batch.partition().partition, u64::from_be_bytes(value.try_into().unwrap())));
        }
    }
    all
}

/// Reads so many records more.
async fn read(consumer: &Consumer, count: usize) -> Vec<u64> {
    let (mut all, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    while all.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records are read", all.len());
        let polled = consumer.poll(Instant::now() + MOMENT).await.unwrap();
        all.extend(numbers(&polled.batches).into_iter().map(|(_, number)| number));
    }
    all
}

/// Java's `String.hashCode`, of a short text without signs beyond ASCII: which partition coordinates it.
fn coordinating(id: &str) -> i32 {
    let hash = id.bytes().fold(0_i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    hash.checked_abs().unwrap_or(0) % COORDINATING
}

/// A name that this partition coordinates.
fn name_for(prefix: &str, partition: i32) -> String {
    (0..).map(|n| format!("{prefix}{n}")).find(|name| coordinating(name) == partition).expect("one of a few")
}

#[test]
fn leaders_and_coordinators_may_die() {
    let Some(java) = skip_without_java("leaders_and_coordinators_may_die") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let properties = [
        "broker.rack=rack-{id}",
        "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector",
        "auto.leader.rebalance.enable=false",
    ];
    let trio = ApacheTrio::start(&java, &properties, &[]).unwrap();
    runtime.block_on(async {
        let addresses = BTreeMap::from([("bootstrap.servers".to_owned(), trio.addresses())]);
        let admin = Admin::new(AdminConfig::parse(&addresses).unwrap());
        let mut bed = Bed { trio, java, admin };
        a_broker_dies_that_leads_and_coordinates(&mut bed).await;
        a_follower_is_read_from_and_a_log_is_cut(&mut bed).await;
    });
}

/// Writes to the three partitions in turn until it is told to stop; answers how many records there are, all acknowledged.
async fn write_on(producer: Arc<Producer>, topic: &'static str, stop: Arc<AtomicBool>) -> u64 {
    let (mut next, mut told) = (0, 0);
    let mut batch = ProduceBatch::default();
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while !stop.load(Ordering::Relaxed) || told < next {
        pace.tick().await;
        if !stop.load(Ordering::Relaxed) {
            (next..next + 9).for_each(|number| add(&mut batch, topic, (number % 3) as i32, number));
            next += 9;
            producer.send(&mut batch).await.unwrap();
        }
        for delivery in producer.take_deliveries() {
            delivery.outcome.unwrap();
            told += delivery.tickets.end - delivery.tickets.start;
        }
    }
    next
}

/// A member of a group: what it read and what happened to its share.
struct Member {
    consumer: Consumer,
    read: Vec<(i32, u64)>,
    owned: BTreeSet<TopicPartition>,
    /// Partitions that were taken from it.
    taken: usize,
}

impl Member {
    fn new(bed: &Bed, more: &[(&str, &str)]) -> Self {
        let consumer = bed.consumer(more);
        consumer.subscribe(Subscription::Topics(vec!["moving".to_owned()])).unwrap();
        Self { consumer, read: Vec::new(), owned: BTreeSet::new(), taken: 0 }
    }

    async fn poll(&mut self) {
        let polled = self.consumer.poll(Instant::now() + MOMENT / 2).await.unwrap();
        for event in polled.events {
            match event {
                RebalanceEvent::Assigned(partitions) => self.owned.extend(partitions),
                RebalanceEvent::Revoked(partitions) => {
                    self.taken += partitions.len();
                    self.owned.retain(|owned| !partitions.contains(owned));
                    self.consumer.ack_revoked();
                }
                RebalanceEvent::Lost(partitions) => {
                    self.taken += partitions.len();
                    self.owned.retain(|owned| !partitions.contains(owned));
                }
            }
        }
        self.read.extend(numbers(&polled.batches));
    }
}

async fn poll_all(members: &mut [Member]) {
    futures::future::join_all(members.iter_mut().map(Member::poll)).await;
}

/// Polls until something holds of the members.
async fn poll_until(members: &mut [Member], what: &str, holds: impl Fn(&[Member]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds(members) {
        assert!(Instant::now() < deadline, "{what} does not come");
        poll_all(members).await;
    }
}

/// kill -9 of a broker that leads a partition, coordinates groups and a transaction: nobody loses a record, a share or a commit. Later it leads again,
/// by election this time, and the producer follows the leader that it is told of.
async fn a_broker_dies_that_leads_and_coordinates(bed: &mut Bed) {
    bed.create("moving", &[&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]], &[]).await;
    // The cluster's own topics are made by whoever needs them first.
    bed.admin.find_coordinator("g").await.unwrap();
    let first = bed.producer(&[("transactional.id", "first")]);
    first.init_transactions().await.unwrap();
    let victim = bed.settled("__consumer_offsets", 0, |_| true, &BROKERS).await;
    let mut transactions = None;
    for partition in 0..COORDINATING {
        let leader = bed.settled("__transaction_state", partition, |_| true, &BROKERS).await;
        transactions = transactions.or_else(|| (leader == victim).then_some(partition));
    }
    let partition = victim - 1;
    bed.settled("moving", partition, |leader| leader == victim, &BROKERS).await;

    let (classic, epochs) = (name_for("classic-", 0), name_for("epochs-", 0));
    let mut members: Vec<Member> = Vec::new();
    for (group, protocol) in
        [(&classic, "classic"), (&classic, "classic"), (&epochs, "consumer"), (&epochs, "consumer")]
    {
        members.push(Member::new(bed, &[("group.id", group), ("group.protocol", protocol)]));
    }
    let shares = |members: &[Member]| {
        let sizes: Vec<usize> = members.iter().map(|member| member.owned.len()).collect();
        sizes.iter().all(|size| *size > 0) && sizes[0] + sizes[1] == 3 && sizes[2] + sizes[3] == 3
    };
    poll_until(&mut members, "a share for everybody", shares).await;
    let (producer, notes) = bed.watched_producer(&[("linger.ms", "0")]);
    let (producer, stop) = (Arc::new(producer), Arc::new(AtomicBool::new(false)));
    let writing = tokio::spawn(write_on(Arc::clone(&producer), "moving", Arc::clone(&stop)));
    poll_until(&mut members, "a record for everybody", |members| members.iter().all(|member| !member.read.is_empty()))
        .await;
    for member in &members {
        member.consumer.commit_positions().await.unwrap();
    }
    let taken: Vec<usize> = members.iter().map(|member| member.taken).collect();

    // A transaction whose coordinator dies in the middle of it.
    bed.create("whole", &[&[1, 2, 3]], &[]).await;
    let id = name_for("t-", transactions.expect("of three partitions, each broker leads one"));
    let transactional = bed.producer(&[("transactional.id", &id)]);
    transactional.init_transactions().await.unwrap();
    transactional.begin().unwrap();
    write(&transactional, "whole", 0..100).await;

    bed.trio.kill(victim).unwrap();
    let committed = async {
        write(&transactional, "whole", 100..200).await;
        transactional.commit().await.unwrap();
    };
    // While everybody polls, everybody can commit again, and owns what it owned.
    let polling = async {
        bed.settled("moving", partition, |leader| leader != victim, &others(victim)).await;
        let before: Vec<usize> = members.iter().map(|member| member.read.len()).collect();
        poll_until(&mut members, "records of the next leader", |members| {
            members.iter().zip(&before).all(|(member, before)| member.read.len() > *before + 100)
        })
        .await;
        for member in &members {
            member.consumer.commit_positions().await.unwrap();
        }
        let now: Vec<usize> = members.iter().map(|member| member.taken).collect();
        assert_eq!(now, taken, "a share was taken away");
    };
    tokio::join!(committed, polling);
    let reader = bed.consumer(&[("isolation.level", "read_committed")]);
    reader.assign([TopicPartition::new("whole", 0)]);
    assert_eq!(read(&reader, 200).await, (0..200).collect::<Vec<_>>());

    // It comes back, and is elected again while records come.
    bed.trio.restart(victim).unwrap();
    bed.settled("moving", partition, |leader| leader != victim, &BROKERS).await;
    let before = notes.followed();
    let number = partition.to_string();
    let addresses = bed.trio.addresses();
    let arguments =
        ["--bootstrap-server", &addresses, "--election-type", "preferred", "--topic", "moving", "--partition", &number];
    bed.java.run("org.apache.kafka.tools.LeaderElectionCommand", &arguments, b"").unwrap();
    bed.settled("moving", partition, |leader| leader == victim, &BROKERS).await;
    let deadline = Instant::now() + PATIENCE;
    while notes.followed() <= before {
        assert!(Instant::now() < deadline, "no leader was named beside a refusal: {notes:?}");
        poll_all(&mut members).await;
    }
    stop.store(true, Ordering::Relaxed);
    let count = writing.await.unwrap() as usize;
    let all_read = |members: &[Member]| {
        members[..2].iter().map(|member| member.read.len()).sum::<usize>() >= count
            && members[2..].iter().map(|member| member.read.len()).sum::<usize>() >= count
    };
    poll_until(&mut members, "the rest", all_read).await;
    for group in members.chunks(2) {
        let mut seen = BTreeSet::new();
        for (partition, number) in group.iter().flat_map(|member| &member.read) {
            assert_eq!(*partition as u64, number % 3);
            assert!(seen.insert(*number), "{number} came twice");
        }
        assert_eq!(seen.len(), count);
        for member in group {
            for partition in 0..3 {
                let of = member.read.iter().filter(|(at, _)| *at == partition);
                assert!(of.is_sorted_by_key(|(_, number)| number), "out of order");
            }
        }
    }
    for member in members {
        member.consumer.close(PATIENCE).await.unwrap();
    }
}

fn others(broker: i32) -> Vec<i32> {
    BROKERS.into_iter().filter(|other| *other != broker).collect()
}

/// A consumer in the rack of a follower reads there, and elsewhere when that dies. Then the follower, which has missed records, is all that is left: it is
/// elected though it lags, the log is cut, and who has read further is told.
async fn a_follower_is_read_from_and_a_log_is_cut(bed: &mut Bed) {
    let (leader, follower) = (1, 2);
    let config = [("min.insync.replicas", "1"), ("unclean.leader.election.enable", "true")];
    bed.create("cut", &[&[leader, follower]], &config).await;
    bed.settled("cut", 0, |led| led == leader, &[leader, follower]).await;
    let place = TopicPartition::new("cut", 0);
    let writer = bed.producer(&[]);
    write(&writer, "cut", 0..10).await;
    let rack = format!("rack-{follower}");
    let (near, notes) = bed.watched_consumer(&[("client.rack", &rack)]);
    near.assign([place.clone()]);
    assert_eq!(read(&near, 10).await, (0..10).collect::<Vec<_>>());
    assert!(notes.bytes_from(follower) > 0 && notes.bytes_from(leader) == 0, "{notes:?}");
    let strict = bed.consumer(&[("auto.offset.reset", "none")]);
    strict.assign([place.clone()]);
    strict.seek(&place, 0).unwrap();
    read(&strict, 10).await;

    bed.trio.kill(follower).unwrap();
    bed.settled("cut", 0, |led| led == leader, &[leader]).await;
    write(&writer, "cut", 10..20).await;
    assert_eq!(read(&near, 10).await, (10..20).collect::<Vec<_>>());
    assert!(notes.bytes_from(leader) > 0, "{notes:?}");
    read(&strict, 10).await;

    // Two controllers out of three have to live, so one comes when the other has gone.
    bed.trio.kill(leader).unwrap();
    bed.trio.restart(follower).unwrap();
    bed.settled("cut", 0, |led| led == follower, &[follower]).await;
    write(&writer, "cut", 100..105).await;
    assert_eq!(read(&near, 5).await, (100..105).collect::<Vec<_>>(), "reading goes on where the logs part");
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < deadline, "nobody tells that the log was cut");
        match strict.poll(Instant::now() + MOMENT).await {
            Err(error) => break error,
            Ok(polled) => assert!(polled.batches.is_empty(), "records of another log"),
        }
    };
    let ConsumerError::LogTruncation { partition, offset, diverging } = error else { panic!("{error}") };
    assert_eq!((partition, offset, diverging.map(|diverging| diverging.offset)), (place, 20, Some(10)));
}
