//! Groups in both protocols, on Apache Kafka and on our broker, shared with Java's consumers. Skips, saying so, what needs a JDK or Maven.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock and start tasks")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kurier_broker::{Broker, BrokerConfig};
use kurier_harness::{ApacheKafka, BrokerOptions, Guarded, Java, skip_without_java, workspace_root};
use kurier_kafka::admin::{Admin, AdminConfig};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{Consumer, ConsumerConfig, ConsumerError, RebalanceEvent, Subscription, TopicPartition};
use kurier_kafka::group::GroupError;
use kurier_kafka::producer::{Destination, ProduceBatch, Producer, ProducerConfig};
use kurier_kafka::topic_log::NewTopic;

const PATIENCE: Duration = Duration::from_secs(60);
const COOPERATIVE: (&str, &str) =
    ("partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
const EPOCHS: (&str, &str) = ("group.protocol", "consumer");
const QUICK: (&str, &str) = ("heartbeat.interval.ms", "300");

/// A broker to test on.
struct Place {
    address: String,
    admin: Admin,
}

impl Place {
    fn new(address: &str) -> Self {
        let properties = BTreeMap::from([("bootstrap.servers".to_owned(), address.to_owned())]);
        Self { address: address.to_owned(), admin: Admin::new(AdminConfig::parse(&properties).unwrap()) }
    }

    async fn create_topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic { name: name.into(), partitions, replication_factor: 1, config: BTreeMap::new() };
        self.admin.create_topic(&topic).await.unwrap();
    }

    /// Writes records with these numbers, the first two partitions in turn.
    async fn produce(&self, topic: &str, numbers: Range<u64>) {
        self.produce_to(topic, 2, numbers).await;
    }

    /// Writes records with these numbers, so many partitions in turn.
    async fn produce_to(&self, topic: &str, partitions: u64, numbers: Range<u64>) {
        let properties = BTreeMap::from([("bootstrap.servers".to_owned(), self.address.clone())]);
        let producer = Producer::new(ProducerConfig::parse(&properties).unwrap());
        let (topic, mut batch) = (Arc::from(topic), ProduceBatch::default());
        for number in numbers {
            let value = |bytes: &mut Vec<u8>| {
                bytes.extend_from_slice(format!("value {number}").as_bytes());
                Ok::<_, ()>(true)
            };
            let mut draft = batch.draft();
            draft.value(value).unwrap();
            let partition = Some((number % partitions) as i32);
            draft.finish(number, Destination { topic: &topic, partition, timestamp: None });
        }
        producer.send(&mut batch).await.unwrap();
        producer.flush().await;
    }
}

/// A member of a group, with what happened to it.
struct Crew {
    consumer: Consumer,
    events: Vec<RebalanceEvent>,
    values: Vec<String>,
    errors: Vec<ConsumerError>,
}

impl Crew {
    fn new(broker: &str, group: &str, properties: &[(&str, &str)], subscription: Subscription) -> Self {
        let mut all = BTreeMap::from([
            ("bootstrap.servers".to_owned(), broker.to_owned()),
            ("group.id".to_owned(), group.to_owned()),
            ("auto.offset.reset".to_owned(), "earliest".to_owned()),
            ("metadata.max.age.ms".to_owned(), "500".to_owned()),
        ]);
        all.extend(properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let consumer = Consumer::new(ConsumerConfig::parse(&all).unwrap());
        consumer.subscribe(subscription).unwrap();
        Self { consumer, events: Vec::new(), values: Vec::new(), errors: Vec::new() }
    }

    async fn poll(&mut self) {
        let polled = match self.consumer.poll(Instant::now() + Duration::from_millis(100)).await {
            Ok(polled) => polled,
            Err(error) => return self.errors.push(error),
        };
        let mut scratch = Scratch::default();
        for batch in &polled.batches {
            for record in &batch.open(&mut scratch).unwrap() {
                self.values.push(String::from_utf8(record.unwrap().value.unwrap_or_default().to_vec()).unwrap());
            }
        }
        for event in polled.events {
            if matches!(event, RebalanceEvent::Revoked(_)) {
                match self.consumer.commit_positions().await {
                    // Of a topic that was deleted: as in Java, the commit is tried for the whole of its time.
                    Ok(()) | Err(ConsumerError::Timeout { .. }) => {}
                    Err(error) => self.errors.push(error),
                }
                self.consumer.ack_revoked();
            }
            self.events.push(event);
        }
    }

    fn owns(&self) -> BTreeSet<String> {
        self.consumer.assignment().iter().map(ToString::to_string).collect()
    }

    /// Partitions that were taken away, in order.
    fn revoked(&self) -> Vec<&TopicPartition> {
        let lists = self.events.iter().filter_map(|event| match event {
            RebalanceEvent::Revoked(list) => Some(list),
            _ => None,
        });
        lists.flatten().collect()
    }
}

/// Polls all of them until `ready`.
async fn until(what: &str, crew: &mut [&mut Crew], ready: impl Fn(&[&mut Crew]) -> bool) {
    let start = Instant::now();
    while !ready(crew) {
        assert!(
            start.elapsed() < PATIENCE,
            "{what}: {:?}",
            crew.iter().map(|member| (member.owns(), &member.events, &member.errors)).collect::<Vec<_>>()
        );
        for member in crew.iter_mut() {
            member.poll().await;
        }
    }
}

fn all_of(topic: &str, partitions: i32) -> BTreeSet<String> {
    (0..partitions).map(|partition| format!("{topic}-{partition}")).collect()
}

fn topic(name: &str) -> Subscription {
    Subscription::Topics(vec![name.to_owned()])
}

/// Java's consumer, saying what happens to it.
fn javas(java: &Java, dir: &std::path::Path, name: &str, topic: &str, properties: &[(&str, &str)]) -> Guarded {
    let program = workspace_root().join("tests/java/groups/Crew.java");
    let class_path = java.class_path();
    let mut command: Vec<String> =
        ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", &class_path, program.to_str().unwrap(), "120", topic]
            .map(str::to_owned)
            .to_vec();
    command.extend(properties.iter().map(|(key, value)| format!("{key}={value}")));
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    Guarded::start(dir, name, &command, &[]).unwrap()
}

/// What Java's consumer owns, as it said last.
fn java_owns(process: &Guarded) -> BTreeSet<String> {
    let output = process.output();
    let said = output.lines().rev().find(|line| line.starts_with("crew ") && line.contains(" owns "));
    let owned = said.and_then(|line| line.rsplit_once("owns ")).map_or("", |(_, owned)| owned);
    owned.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn groups_on_apache_kafka() {
    let Some(java) = skip_without_java("groups_on_apache_kafka") else { return };
    let properties = [
        "group.consumer.min.heartbeat.interval.ms=100",
        "group.consumer.heartbeat.interval.ms=300",
        "group.consumer.min.session.timeout.ms=1000",
        "group.consumer.regex.refresh.interval.ms=10000",
    ];
    let options = BrokerOptions { properties: properties.map(str::to_owned).to_vec(), ..BrokerOptions::default() };
    let mut apache = ApacheKafka::start_with(&java, options).unwrap();
    runtime().block_on(async {
        let broker = Place::new(&apache.address());
        on_any_broker(&broker).await;
        beside_java(&broker, &java, "cooperative-java", &[COOPERATIVE, QUICK]).await;
        beside_java(&broker, &java, "default-java", &[QUICK]).await;
        beside_java(&broker, &java, "epochs-java", &[EPOCHS]).await;
        rolled_beside_java(&broker, &java, "rolled-java").await;
        a_restart_is_survived(&broker, &mut apache).await;
    });
}

#[test]
fn groups_on_our_broker() {
    runtime().block_on(async {
        let config =
            BrokerConfig { group_consumer_heartbeat_interval: Duration::from_millis(300), ..BrokerConfig::default() };
        let ours = Broker::start(config).await.unwrap();
        let broker = Place::new(ours.address());
        on_any_broker(&broker).await;
        if let Some(java) = skip_without_java("groups_on_our_broker, the part beside Java") {
            beside_java(&broker, &java, "cooperative-java", &[COOPERATIVE, QUICK]).await;
            beside_java(&broker, &java, "epochs-java", &[EPOCHS]).await;
            rolled_beside_java(&broker, &java, "rolled-java").await;
        }
        ours.stop().await.unwrap();
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn on_any_broker(broker: &Place) {
    only_what_moves_is_given_up(broker, "cooperative", &[COOPERATIVE, QUICK]).await;
    only_what_moves_is_given_up(broker, "epochs", &[EPOCHS]).await;
    static_members_come_back(broker, "static", &[COOPERATIVE, QUICK]).await;
    static_members_come_back(broker, "static-epochs", &[EPOCHS]).await;
    an_instance_id_is_one_members(broker).await;
    topics_by_pattern(broker, "regex", &[QUICK], matching("regex-")).await;
    topics_by_pattern(broker, "regex2", &[EPOCHS], matching("regex2-")).await;
    topics_by_pattern(broker, "regex3", &[EPOCHS], Subscription::Pattern("regex3-.*".to_owned())).await;
    a_group_is_rolled(broker, "rolled", &[QUICK]).await;
    a_group_is_rolled(broker, "rolled-cooperative", &[COOPERATIVE, QUICK]).await;
    a_slow_member_loses_its_share(broker, "slow", &[COOPERATIVE, QUICK, ("max.poll.interval.ms", "1500")]).await;
    a_slow_member_loses_its_share(broker, "slow-epochs", &[EPOCHS, ("max.poll.interval.ms", "1500")]).await;
}

fn matching(prefix: &'static str) -> Subscription {
    Subscription::Matching(Arc::new(move |name: &str| name.starts_with(prefix)))
}

/// Members come and go; whoever stays keeps what does not have to move, and everything is read once.
async fn only_what_moves_is_given_up(broker: &Place, name: &str, properties: &[(&str, &str)]) {
    broker.create_topic(name, 4).await;
    let crew = || Crew::new(&broker.address, name, properties, topic(name));
    broker.produce(name, 0..400).await;
    let mut first = crew();
    until("the first has all", &mut [&mut first], |crew| crew[0].owns() == all_of(name, 4)).await;
    let mut second = crew();
    until("each has two", &mut [&mut first, &mut second], |crew| crew.iter().all(|one| one.owns().len() == 2)).await;
    assert_eq!(first.revoked().len(), 2, "{:?}", first.events);
    assert!(second.revoked().is_empty(), "{:?}", second.events);
    assert!(first.owns().is_disjoint(&second.owns()));
    broker.produce(name, 400..800).await;
    until("all is read", &mut [&mut first, &mut second], |crew| {
        crew.iter().map(|one| one.values.len()).sum::<usize>() >= 800
    })
    .await;
    let mut values: Vec<&String> = first.values.iter().chain(&second.values).collect();
    values.sort();
    values.dedup();
    assert_eq!((values.len(), first.values.len() + second.values.len()), (800, 800));
    first.consumer.commit_positions().await.unwrap();
    first.consumer.close(PATIENCE).await.unwrap();
    until("the second has all", &mut [&mut second], |crew| crew[0].owns() == all_of(name, 4)).await;
    assert!(second.revoked().is_empty(), "{:?}", second.events);
    assert!(second.errors.is_empty() && first.errors.is_empty());
    second.consumer.close(PATIENCE).await.unwrap();
}

/// Two of ours and one of Java's.
async fn beside_java(broker: &Place, java: &Java, name: &str, properties: &[(&str, &str)]) {
    broker.create_topic(name, 6).await;
    let dir = tempfile::tempdir().unwrap();
    let address = broker.address.clone();
    let crew = || Crew::new(&address, name, properties, topic(name));
    let mut first = crew();
    until("the first has all", &mut [&mut first], |crew| crew[0].owns() == all_of(name, 6)).await;
    let mut all = vec![("bootstrap.servers", address.as_str()), ("group.id", name)];
    all.extend(properties);
    let theirs = javas(java, dir.path(), "crew", name, &all);
    until("Java's has half", &mut [&mut first], |crew| java_owns(&theirs).len() == 3 && crew[0].owns().len() == 3)
        .await;
    let mut second = crew();
    until("each has two", &mut [&mut first, &mut second], |crew| {
        java_owns(&theirs).len() == 2 && crew.iter().all(|one| one.owns().len() == 2)
    })
    .await;
    let mut owned = java_owns(&theirs);
    owned.extend(first.owns());
    owned.extend(second.owns());
    assert_eq!(owned, all_of(name, 6));
    // The one that leads goes; Java's leads from now on.
    first.consumer.close(PATIENCE).await.unwrap();
    until("two share", &mut [&mut second], |crew| java_owns(&theirs).len() == 3 && crew[0].owns().len() == 3).await;
    assert!(java_owns(&theirs).is_disjoint(&second.owns()));
    theirs.terminate();
    until("the second has all", &mut [&mut second], |crew| crew[0].owns() == all_of(name, 6)).await;
    assert!(second.errors.is_empty(), "{:?}", second.errors);
    second.consumer.close(PATIENCE).await.unwrap();
}

/// Members are restarted one by one with the other protocol, and back, while records flow: all are read, each partition by one.
async fn a_group_is_rolled(broker: &Place, name: &str, classic: &[(&str, &str)]) {
    broker.create_topic(name, 6).await;
    let crew = |properties: &[(&str, &str)]| Crew::new(&broker.address, name, properties, topic(name));
    let (mut members, mut seen, mut written) = (Vec::new(), BTreeSet::new(), 0);
    for round in 0..4 {
        // All are new; all are moved to the consumer protocol; and back; and once more, where instances take the places of instances.
        for place in 0..3 {
            let instance = format!("{name}-{place}");
            let mut properties = if round % 2 == 0 { classic.to_vec() } else { vec![EPOCHS] };
            if round >= 2 {
                properties.push(("group.instance.id", &instance));
            }
            if round > 0 {
                let gone: Crew = members.remove(0);
                let committed = gone.consumer.commit_positions().await;
                gone.consumer.close(PATIENCE).await.unwrap();
                // Where the group has gone on it cannot commit; what it has read is read again by others.
                let mut errors = gone.errors.iter().chain(committed.as_ref().err());
                assert!(errors.all(came_too_late), "{name}, round {round}: {:?} {committed:?}", gone.errors);
                seen.extend(gone.values);
            }
            members.push(crew(&properties));
            broker.produce_to(name, 6, written..written + 60).await;
            written += 60;
            if round == 0 && place < 2 {
                continue;
            }
            let mut all: Vec<&mut Crew> = members.iter_mut().collect();
            until(&format!("{name}, round {round}: each has two"), &mut all, |crew| {
                let owned: BTreeSet<String> = crew.iter().flat_map(|one| one.owns()).collect();
                crew.iter().all(|one| one.owns().len() == 2) && owned == all_of(name, 6)
            })
            .await;
        }
    }
    let mut all: Vec<&mut Crew> = members.iter_mut().collect();
    let total = usize::try_from(written).unwrap();
    until(&format!("{name}: all is read"), &mut all, |crew| {
        let mut values = seen.clone();
        values.extend(crew.iter().flat_map(|one| one.values.iter().cloned()));
        values.len() == total
    })
    .await;
    for member in members {
        assert!(member.errors.iter().all(came_too_late), "{name}: {:?}", member.errors);
        member.consumer.close(PATIENCE).await.unwrap();
    }
}

/// Whether it says that a commit came when the group had gone on.
fn came_too_late(error: &ConsumerError) -> bool {
    matches!(error, ConsumerError::CommitFailed | ConsumerError::RebalanceInProgress)
}

/// As [`a_group_is_rolled`], one of ours and one of Java's.
async fn rolled_beside_java(broker: &Place, java: &Java, name: &str) {
    broker.create_topic(name, 4).await;
    let address = broker.address.clone();
    let crew = |properties: &[(&str, &str)]| Crew::new(&address, name, properties, topic(name));
    let dir = tempfile::tempdir().unwrap();
    let theirs = |label: &str, protocol: (&'static str, &'static str)| {
        javas(java, dir.path(), label, name, &[("bootstrap.servers", address.as_str()), ("group.id", name), protocol])
    };
    let mut mine = crew(&[QUICK]);
    let mut other = theirs("classic", QUICK);
    let both = |other: &Guarded, crew: &[&mut Crew]| {
        let (left, right) = (java_owns(other), crew[0].owns());
        left.len() == 2 && right.len() == 2 && left.is_disjoint(&right)
    };
    until("both are classic", &mut [&mut mine], |crew| both(&other, crew)).await;
    other.terminate();
    other.wait(PATIENCE).unwrap();
    other = theirs("upgraded", EPOCHS);
    until("Java's is moved", &mut [&mut mine], |crew| both(&other, crew)).await;
    mine.consumer.close(PATIENCE).await.unwrap();
    mine = crew(&[EPOCHS]);
    until("ours is moved", &mut [&mut mine], |crew| both(&other, crew)).await;
    other.terminate();
    other.wait(PATIENCE).unwrap();
    other = theirs("downgraded", QUICK);
    until("Java's is moved back", &mut [&mut mine], |crew| both(&other, crew)).await;
    mine.consumer.close(PATIENCE).await.unwrap();
    mine = crew(&[QUICK]);
    until("ours is moved back", &mut [&mut mine], |crew| both(&other, crew)).await;
    other.terminate();
    other.wait(PATIENCE).unwrap();
    until("ours has all", &mut [&mut mine], |crew| crew[0].owns() == all_of(name, 4)).await;
    assert!(mine.errors.iter().all(came_too_late), "{:?}", mine.errors);
    mine.consumer.close(PATIENCE).await.unwrap();
}

/// A static member that is restarted gets its share again, and the others notice nothing.
async fn static_members_come_back(broker: &Place, name: &str, properties: &[(&str, &str)]) {
    broker.create_topic(name, 4).await;
    let crew = |id: &'static str| {
        let mut all = properties.to_vec();
        all.push(("group.instance.id", id));
        Crew::new(&broker.address, name, &all, topic(name))
    };
    let (mut first, mut second) = (crew("one"), crew("two"));
    let both = |crew: &[&mut Crew]| crew.iter().all(|one| one.owns().len() == 2);
    until("each has two", &mut [&mut first, &mut second], both).await;
    // What has been taken may not have been told yet.
    for _ in 0..10 {
        first.poll().await;
        second.poll().await;
    }
    assert!(both(&[&mut first, &mut second]));
    let (before, events) = (second.owns(), first.events.len());
    second.consumer.close(PATIENCE).await.unwrap();
    let mut again = crew("two");
    until("it is back", &mut [&mut first, &mut again], both).await;
    assert_eq!(again.owns(), before);
    assert_eq!(first.events.len(), events, "{:?}", first.events);
    again.consumer.close(PATIENCE).await.unwrap();
    first.consumer.close(PATIENCE).await.unwrap();
}

/// In a classic group the newer process with an instance id wins, in one of the consumer protocol the older.
async fn an_instance_id_is_one_members(broker: &Place) {
    let fenced = |member: &Crew| {
        member.errors.iter().any(|error| matches!(error, ConsumerError::Group(GroupError::Fenced { .. })))
    };
    for (name, properties, older_wins) in [("twins", QUICK, false), ("twins-epochs", EPOCHS, true)] {
        broker.create_topic(name, 2).await;
        let properties = [properties, ("group.instance.id", "same")];
        let crew = || Crew::new(&broker.address, name, &properties, topic(name));
        let mut older = crew();
        until("the older has all", &mut [&mut older], |crew| crew[0].owns().len() == 2).await;
        let mut newer = crew();
        until("one is fenced", &mut [&mut older, &mut newer], |crew| crew.iter().any(|one| fenced(one))).await;
        let (winner, loser) = if older_wins { (&mut older, &mut newer) } else { (&mut newer, &mut older) };
        assert!(fenced(loser) && !fenced(winner), "{name}: {:?} {:?}", winner.errors, loser.errors);
        until("the other has all", &mut [&mut *winner], |crew| crew[0].owns().len() == 2).await;
        if !older_wins {
            assert!(matches!(loser.events.last(), Some(RebalanceEvent::Lost(lost)) if lost.len() == 2));
        }
        // It does not fight for its place.
        loser.poll().await;
        assert!(fenced(loser) && loser.owns().is_empty());
        winner.consumer.close(PATIENCE).await.unwrap();
    }
}

/// New topics are noticed, and partitions that are added.
async fn topics_by_pattern(broker: &Place, name: &str, properties: &[(&str, &str)], by: Subscription) {
    let (one, two) = (format!("{name}-one"), format!("{name}-two"));
    broker.create_topic(&one, 2).await;
    let mut properties = properties.to_vec();
    properties.push(("default.api.timeout.ms", "2000"));
    let mut member = Crew::new(&broker.address, name, &properties, by);
    let mut expected = all_of(&one, 2);
    until("the first topic", &mut [&mut member], |crew| crew[0].owns() == expected).await;
    broker.create_topic(&two, 1).await;
    expected.extend(all_of(&two, 1));
    until("the second topic", &mut [&mut member], |crew| crew[0].owns() == expected).await;
    broker.admin.create_partitions(&two, 3).await.unwrap();
    expected.extend(all_of(&two, 3));
    until("the new partitions", &mut [&mut member], |crew| crew[0].owns() == expected).await;
    broker.admin.delete_topics(&[&one]).await.unwrap();
    until("the topic is gone", &mut [&mut member], |crew| crew[0].owns() == all_of(&two, 3)).await;
    member.consumer.close(PATIENCE).await.unwrap();
}

/// A member that does not poll loses what it has, and joins again when it does.
async fn a_slow_member_loses_its_share(broker: &Place, name: &str, properties: &[(&str, &str)]) {
    broker.create_topic(name, 2).await;
    let crew = || Crew::new(&broker.address, name, properties, topic(name));
    let mut slow = crew();
    until("it has all", &mut [&mut slow], |crew| crew[0].owns().len() == 2).await;
    let mut quick = crew();
    until("the other has all", &mut [&mut quick], |crew| crew[0].owns().len() == 2).await;
    assert!(matches!(slow.consumer.commit_positions().await, Ok(()) | Err(ConsumerError::CommitFailed)));
    until("both share", &mut [&mut slow, &mut quick], |crew| crew.iter().all(|one| one.owns().len() == 1)).await;
    assert!(matches!(&slow.events[1], RebalanceEvent::Lost(lost) if lost.len() == 2), "{:?}", slow.events);
    slow.consumer.close(PATIENCE).await.unwrap();
    quick.consumer.close(PATIENCE).await.unwrap();
}

/// The broker, and with it the coordinator, is started again: the group goes on.
async fn a_restart_is_survived(broker: &Place, apache: &mut ApacheKafka) {
    let cases: [(&str, &[(&str, &str)]); 2] = [("restart", &[COOPERATIVE, QUICK]), ("restart-epochs", &[EPOCHS])];
    let mut crews = Vec::new();
    for (name, properties) in cases {
        broker.create_topic(name, 2).await;
        let mut member = Crew::new(&broker.address, name, properties, topic(name));
        until("it has all", &mut [&mut member], |crew| crew[0].owns().len() == 2).await;
        crews.push((name, member));
    }
    apache.restart().unwrap();
    for (name, mut member) in crews {
        let mut second =
            Crew::new(&broker.address, name, cases.iter().find(|case| case.0 == name).unwrap().1, topic(name));
        until("two share after the restart", &mut [&mut member, &mut second], |crew| {
            crew.iter().all(|one| one.owns().len() == 1)
        })
        .await;
        broker.produce(name, 0..50).await;
        until("all is read", &mut [&mut member, &mut second], |crew| {
            crew.iter().map(|one| one.values.len()).sum::<usize>() == 50
        })
        .await;
        member.consumer.close(PATIENCE).await.unwrap();
        second.consumer.close(PATIENCE).await.unwrap();
    }
}
