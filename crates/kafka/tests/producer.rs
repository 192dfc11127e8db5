//! The producer on our own broker, over a network that loses requests and answers.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock and start tasks")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use kurier_broker::{Broker, BrokerConfig, Data, RunningBroker};
use kurier_harness::{ApacheKafka, skip_without_java};
use kurier_kafka::admin::{Admin, AdminConfig};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::core::{Broker as Node, Target};
use kurier_kafka::consumer::{Consumer, ConsumerConfig, TcpTransport, Transport, TransportError};
use kurier_kafka::producer::{Destination, ProduceBatch, Producer, ProducerConfig};
use kurier_kafka::topic_log::NewTopic;

const PATIENCE: Duration = Duration::from_secs(20);

fn run<T>(test: impl AsyncFnOnce(&RunningBroker) -> T) -> T {
    run_with(BrokerConfig::default(), test)
}

fn run_with<T>(config: BrokerConfig, test: impl AsyncFnOnce(&RunningBroker) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { test(&Broker::start(config).await.unwrap()).await })
}

fn properties(broker: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let given = [("bootstrap.servers", broker)];
    given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn config(broker: &str, more: &[(&str, &str)]) -> ProducerConfig {
    ProducerConfig::parse(&properties(broker, more)).unwrap()
}

/// Adds a record whose ticket is also its value.
fn add(batch: &mut ProduceBatch, ticket: u64, topic: &Arc<str>, partition: Option<i32>, key: Option<&str>) {
    let copy = |text: &str| {
        let text = text.to_owned();
        move |bytes: &mut Vec<u8>| {
            bytes.extend_from_slice(text.as_bytes());
            Ok::<_, ()>(true)
        }
    };
    let mut draft = batch.draft();
    if let Some(key) = key {
        draft.key(copy(key)).unwrap();
    }
    draft.value(copy(&ticket.to_string())).unwrap();
    draft.header("h", copy("1")).unwrap();
    draft.header("h", |_| Ok::<_, ()>(false)).unwrap();
    draft.finish(ticket, Destination { topic, partition, timestamp: Some(7) });
}

/// Waits until so many records have been told of; answers where each is, or why not.
async fn delivered(producer: &Producer, count: usize) -> BTreeMap<u64, Result<(i32, i64), String>> {
    let (mut told, start) = (BTreeMap::new(), Instant::now());
    while told.len() < count {
        assert!(start.elapsed() < PATIENCE, "{} of {count} records are told of", told.len());
        for delivery in producer.deliveries(Instant::now() + Duration::from_secs(1)).await {
            for ticket in delivery.tickets.clone() {
                let behind = (ticket - delivery.tickets.start) as i64;
                let place = match &delivery.outcome {
                    Ok((place, base)) => Ok((place.partition, base + behind)),
                    Err(error) => Err(error.to_string()),
                };
                assert!(told.insert(ticket, place).is_none(), "{ticket} is told of twice");
            }
        }
    }
    told
}

/// The values of a topic by partition, in order.
async fn values(broker: &str, topic: &str, count: usize) -> BTreeMap<i32, Vec<u64>> {
    let consumer =
        Consumer::new(ConsumerConfig::parse(&properties(broker, &[("auto.offset.reset", "earliest")])).unwrap());
    let partitions = consumer.partitions_for(topic).await.unwrap();
    consumer.assign(partitions);
    let (mut values, mut read, mut scratch) = (BTreeMap::<i32, Vec<u64>>::new(), 0, Scratch::default());
    let start = Instant::now();
    while read < count || !consumer.caught_up() {
        assert!(start.elapsed() < PATIENCE, "{read} of {count} records are read");
        for batch in &consumer.poll(Instant::now() + Duration::from_millis(200)).await.unwrap().batches {
            for record in &batch.open(&mut scratch).unwrap() {
                let record = record.unwrap();
                assert_eq!((record.timestamp, record.headers.len()), (7, 2));
                let value = std::str::from_utf8(record.value.unwrap()).unwrap().parse().unwrap();
                values.entry(batch.partition().partition).or_default().push(value);
                read += 1;
            }
        }
    }
    values
}

#[test]
fn records_arrive_in_order_where_they_belong() {
    let config_of_broker = BrokerConfig { num_partitions: 3, ..BrokerConfig::default() };
    run_with(config_of_broker, async |broker| each_compression(broker.address(), 3).await);
}

/// Records with and without keys and partitions, in each compression, on topics of so many partitions.
async fn each_compression(broker: &str, partitions: i32) {
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let producer = Producer::new(config(broker, &[("compression.type", compression)]));
        let topic: Arc<str> = format!("t-{compression}").into();
        let mut batch = ProduceBatch::default();
        for ticket in 0..5_000u64 {
            let (partition, key) = match ticket % 3 {
                0 => (Some(partitions - 1), None),
                1 => (None, Some("foobar")),
                _ => (None, None),
            };
            add(&mut batch, ticket, &topic, partition, key);
            if ticket % 700 == 0 {
                producer.send(&mut batch).await.unwrap();
                assert!(batch.is_empty());
            }
        }
        producer.send(&mut batch).await.unwrap();
        let told = delivered(&producer, 5_000).await;
        let values = values(broker, &topic, 5_000).await;
        for (partition, values) in &values {
            assert!(values.is_sorted(), "partition {partition}");
            for (offset, ticket) in values.iter().enumerate() {
                assert_eq!(told[ticket], Ok((*partition, offset as i64)));
            }
        }
        assert_eq!(values.values().map(Vec::len).sum::<usize>(), 5_000);
        let of_key = kurier_kafka::producer::partition_of(b"foobar", partitions);
        assert!((0..5_000).filter(|t| t % 3 == 1).all(|t| told[&t].as_ref().unwrap().0 == of_key));
    }
}

/// Loses every so manieth request before it is sent, and every so manieth answer.
struct Lossy {
    inner: TcpTransport,
    calls: Arc<AtomicU64>,
}

impl Transport for Lossy {
    fn send(
        &self,
        to: Target,
        request: Box<RequestKind>,
        highest: Option<i16>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<ResponseKind, TransportError>> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        // Multiplied by an odd number, the low bits of a count look like chance.
        let dice = call.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
        let sent = self.inner.send(to, request, highest, timeout);
        Box::pin(async move {
            match dice {
                0..2 => Err(TransportError::Unanswered),
                2..5 => sent.await.and(Err(TransportError::Unanswered)),
                _ => sent.await,
            }
        })
    }

    fn brokers(&self, brokers: &[Node]) {
        self.inner.brokers(brokers);
    }
}

#[test]
fn a_lossy_network_neither_loses_nor_doubles_nor_reorders() {
    run_with(BrokerConfig { num_partitions: 2, ..BrokerConfig::default() }, async |broker| {
        over_a_lossy_network(broker.address(), 2).await;
    });
}

/// Many records to each of so many partitions, of which every tenth request and every sixth answer is lost.
async fn over_a_lossy_network(broker: &str, partitions: u64) {
    let config = config(
        broker,
        &[("retry.backoff.ms", "1"), ("retry.backoff.max.ms", "5"), ("batch.size", "500"), ("linger.ms", "0")],
    );
    let lossy = Lossy { inner: TcpTransport::new(config.net), calls: Arc::default() };
    let calls = Arc::clone(&lossy.calls);
    let producer = Producer::with_transport(config.settings, Arc::new(lossy));
    let topic: Arc<str> = "lossy".into();
    let mut batch = ProduceBatch::default();
    for ticket in 0..20_000u64 {
        add(&mut batch, ticket, &topic, Some((ticket % partitions) as i32), None);
        if ticket % 100 == 0 {
            producer.send(&mut batch).await.unwrap();
        }
    }
    producer.send(&mut batch).await.unwrap();
    let told = delivered(&producer, 20_000).await;
    assert!(told.values().all(Result::is_ok));
    assert!(calls.load(Ordering::Relaxed) > 500, "the network was asked often enough to fail");
    let values = values(broker, "lossy", 20_000).await;
    for partition in 0..partitions {
        let expected: Vec<u64> = (0..20_000).filter(|ticket| ticket % partitions == partition).collect();
        let differs = values[&(partition as i32)].iter().zip(&expected).position(|(found, wanted)| found != wanted);
        assert_eq!((differs, values[&(partition as i32)].len()), (None, expected.len()), "partition {partition}");
    }
}

#[test]
fn on_apache_kafka_as_on_our_own_broker() {
    let Some(java) = skip_without_java("on_apache_kafka_as_on_our_own_broker") else { return };
    let broker = ApacheKafka::start(&java).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        each_compression(&broker.address(), 1).await;
        // Those two compressions have framings of Java's own.
        for topic in ["t-snappy", "t-lz4"] {
            let options = ["--formatter-property", "print.headers=true", "--formatter-property", "print.key=true"];
            let lines = broker.console_consume(topic, 5_000, &options).unwrap();
            for (ticket, line) in lines.iter().enumerate() {
                let key = if ticket % 3 == 1 { "foobar" } else { "null" };
                assert_eq!(*line, format!("h:1,h:null\t{key}\t{ticket}"));
            }
        }
        over_a_lossy_network(&broker.address(), 1).await;
        create(&broker.address(), "table", 1, &[("cleanup.policy", "compact")]).await;
        refused_in_company(&broker.address(), "table").await;
        divided(&broker.address(), "The request included a message larger than the max message size").await;
        spread(&broker.address()).await;
        let lines: String = (0..300).map(|key| format!("key-{key}\t{key}\n")).collect();
        broker.create_topic("keyed", 7).unwrap();
        broker.console_produce("keyed", &lines, &["--reader-property", "parse.key=true"]).unwrap();
        let options = ["--formatter-property", "print.partition=true", "--formatter-property", "print.key=true"];
        for line in broker.console_consume("keyed", 300, &options).unwrap() {
            let (partition, record) = line.strip_prefix("Partition:").unwrap().split_once('\t').unwrap();
            let key = record.split_once('\t').unwrap().0.as_bytes();
            assert_eq!(kurier_kafka::producer::partition_of(key, 7).to_string(), partition, "{line}");
        }
    });
}

#[test]
fn records_that_cannot_be_taken_are_told_of_one_by_one() {
    run(async |broker| {
        let more = [("max.request.size", "2000"), ("max.block.ms", "300"), ("batch.size", "100000")];
        let producer = Producer::new(config(broker.address(), &more));
        let (good, bad): (Arc<str>, Arc<str>) = ("good".into(), "not a topic".into());
        let mut batch = ProduceBatch::default();
        let long = "k".repeat(3_000);
        add(&mut batch, 0, &good, None, None);
        add(&mut batch, 1, &good, None, Some(&long));
        add(&mut batch, 2, &bad, None, None);
        add(&mut batch, 3, &good, Some(9), None);
        add(&mut batch, 4, &good, None, None);
        producer.send(&mut batch).await.unwrap();
        let told = delivered(&producer, 5).await;
        assert_eq!((&told[&0], &told[&4]), (&Ok((0, 0)), &Ok((0, 1))));
        let errors: Vec<_> = [1, 2, 3].iter().map(|ticket| told[ticket].clone().unwrap_err()).collect();
        assert!(errors[0].contains("larger than 2000, which is the value of the max.request.size"), "{errors:?}");
        assert_eq!(errors[1], "Invalid topics: [not a topic]");
        assert!(errors[2].starts_with("Partition 9 of topic good with partition count 1 is not present"), "{errors:?}");
    });
}

#[test]
fn a_batch_that_the_broker_finds_too_large_is_divided() {
    run(async |broker| divided(broker.address(), "3081 bytes which exceeds the maximum").await);
}

/// Many records and one that is too large, on a topic that takes small batches only.
async fn divided(broker: &str, refusal: &str) {
    create(broker, "small", 1, &[("max.message.bytes", "1000")]).await;
    let topic: Arc<str> = "small".into();
    for (base, compression) in [(0, "none"), (1_001, "lz4")] {
        let producer = Producer::new(config(broker, &[("linger.ms", "50"), ("compression.type", compression)]));
        let mut batch = ProduceBatch::default();
        (0..1_000).for_each(|ticket| add(&mut batch, ticket, &topic, None, None));
        producer.send(&mut batch).await.unwrap();
        let told = delivered(&producer, 1_000).await;
        let expected = |ticket: u64| Ok((0, (base + ticket) as i64));
        assert!((0..1_000).all(|ticket| told[&ticket] == expected(ticket)), "{compression}");
        if compression != "none" {
            continue;
        }
        let mut batch = ProduceBatch::default();
        let long = "k".repeat(3_000);
        add(&mut batch, 1_000, &topic, None, Some(&long));
        add(&mut batch, 1_001, &topic, None, None);
        producer.send(&mut batch).await.unwrap();
        let told = delivered(&producer, 2).await;
        assert!(told[&1_000].clone().unwrap_err().contains(refusal), "{told:?}");
        assert_eq!(told[&1_001], expected(1_000), "what comes behind a record given up is sent all the same");
    }
}

async fn create(broker: &str, topic: &str, partitions: i32, config: &[(&str, &str)]) {
    let admin = Admin::new(AdminConfig::parse(&properties(broker, &[])).unwrap());
    let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let topic = NewTopic { name: topic.to_owned(), partitions, replication_factor: 1, config };
    admin.create_topic(&topic).await.unwrap();
}

#[test]
fn records_without_a_key_spread_by_the_batch() {
    run(async |broker| spread(broker.address()).await);
}

/// Single records of many producers, and many of one.
async fn spread(broker: &str) {
    create(broker, "spread", 8, &[]).await;
    let topic: Arc<str> = "spread".into();
    let mut beginnings = BTreeSet::new();
    for ticket in 0..20 {
        let producer = Producer::new(config(broker, &[]));
        let mut batch = ProduceBatch::default();
        add(&mut batch, ticket, &topic, None, None);
        producer.send(&mut batch).await.unwrap();
        beginnings.extend(delivered(&producer, 1).await.into_values().map(|place| place.unwrap().0));
    }
    assert!(beginnings.len() > 1, "all producers begin at {beginnings:?}");
    let producer = Producer::new(config(broker, &[("batch.size", "1000"), ("buffer.memory", "100000")]));
    let mut batch = ProduceBatch::default();
    (0..20_000).for_each(|ticket| add(&mut batch, ticket, &topic, None, None));
    producer.send(&mut batch).await.unwrap();
    let told = delivered(&producer, 20_000).await;
    let places: Vec<i32> = told.into_values().map(|place| place.unwrap().0).collect();
    assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), 8);
    let turns = places.chunk_by(|a, b| a == b).count();
    assert!(turns < 20_000 / 20, "{turns} turns");
}

#[test]
fn a_full_buffer_holds_the_sender_up_and_loses_nothing() {
    run(async |broker| {
        let producer = Producer::new(config(broker.address(), &[("buffer.memory", "2000"), ("batch.size", "500")]));
        let topic: Arc<str> = "narrow".into();
        for round in 0..20 {
            let mut batch = ProduceBatch::default();
            (0..500).for_each(|n| add(&mut batch, round * 500 + n, &topic, None, None));
            tokio::time::timeout(PATIENCE, producer.send(&mut batch)).await.unwrap().unwrap();
        }
        let told = delivered(&producer, 10_000).await;
        assert!((0..10_000).all(|ticket| told[&ticket] == Ok((0, ticket as i64))));
        producer.close();
        let mut batch = ProduceBatch::default();
        add(&mut batch, 0, &topic, None, None);
        assert!(producer.send(&mut batch).await.is_err());
    });
}

#[test]
fn a_broker_that_comes_back_has_every_record_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let on_disk = BrokerConfig { data: Data::Dir(folder.path().to_owned()), ..BrokerConfig::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut broker = Broker::start(on_disk.clone()).await.unwrap();
        let (address, port) = (broker.address().to_owned(), broker.local_addr().port());
        let more = [("retry.backoff.ms", "5"), ("batch.size", "500"), ("reconnect.backoff.max.ms", "50")];
        let producer = Arc::new(Producer::new(config(&address, &more)));
        let sending = tokio::spawn({
            let producer = Arc::clone(&producer);
            async move {
                let topic: Arc<str> = "durable".into();
                for round in 0..200u64 {
                    let mut batch = ProduceBatch::default();
                    (0..50).for_each(|n| add(&mut batch, round * 50 + n, &topic, Some(0), None));
                    producer.send(&mut batch).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        });
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            broker.stop().await.unwrap();
            broker = Broker::start(BrokerConfig { port, ..on_disk.clone() }).await.unwrap();
        }
        sending.await.unwrap();
        let told = delivered(&producer, 10_000).await;
        assert!((0..10_000).all(|ticket| told[&ticket] == Ok((0, ticket as i64))));
        let values = values(&address, "durable", 10_000).await;
        assert!(values[&0].iter().copied().eq(0..10_000), "one of each, in order");
    });
}

#[test]
fn a_flush_waits_for_what_was_sent_before_it() {
    run_with(BrokerConfig { num_partitions: 3, ..BrokerConfig::default() }, async |broker| {
        let producer = Producer::new(config(broker.address(), &[("linger.ms", "3600000"), ("batch.size", "1000000")]));
        assert_eq!(producer.partitions_for("flushed").await, Ok(3));
        let error = producer.partitions_for("not a topic").await.unwrap_err();
        assert_eq!(error.class, "org.apache.kafka.common.errors.InvalidTopicException");
        let topic: Arc<str> = "flushed".into();
        let mut batch = ProduceBatch::default();
        (0..100).for_each(|ticket| add(&mut batch, ticket, &topic, Some((ticket % 3) as i32), None));
        producer.send(&mut batch).await.unwrap();
        assert!(producer.take_deliveries().is_empty(), "they linger");
        tokio::time::timeout(PATIENCE, producer.flush()).await.unwrap();
        let told = producer.take_deliveries();
        assert_eq!(told.iter().map(|delivery| delivery.tickets.end - delivery.tickets.start).sum::<u64>(), 100);
        assert!(told.iter().all(|delivery| delivery.outcome.is_ok()));
        add(&mut batch, 100, &topic, Some(0), None);
        producer.send(&mut batch).await.unwrap();
        tokio::time::timeout(PATIENCE, producer.shutdown(PATIENCE)).await.unwrap();
        assert!(producer.take_deliveries()[0].outcome.is_ok());
        add(&mut batch, 101, &topic, Some(0), None);
        assert!(producer.send(&mut batch).await.is_err());
    });
}

#[test]
fn a_shutdown_gives_up_what_nobody_takes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let config_of_broker = BrokerConfig { num_partitions: 1, ..BrokerConfig::default() };
        let broker = Broker::start(config_of_broker).await.unwrap();
        let producer = Producer::new(config(broker.address(), &[("linger.ms", "3600000")]));
        producer.partitions_for("t").await.unwrap();
        broker.stop().await.unwrap();
        let mut batch = ProduceBatch::default();
        add(&mut batch, 7, &"t".into(), None, None);
        producer.send(&mut batch).await.unwrap();
        producer.shutdown(Duration::from_millis(200)).await;
        let told = delivered(&producer, 1).await;
        assert_eq!(told[&7].clone().unwrap_err(), "Producer is closed forcefully.");
    });
}

#[test]
fn records_of_a_batch_that_was_refused_are_told_why() {
    let table = vec![("cleanup.policy".to_owned(), "compact".to_owned())];
    run_with(BrokerConfig { topic_defaults: table, ..BrokerConfig::default() }, async |broker| {
        refused_in_company(broker.address(), "table").await;
    });
}

/// Of three records in one batch, a table does not take the one that has no key.
async fn refused_in_company(broker: &str, table: &str) {
    let producer = Producer::new(config(broker, &[("linger.ms", "3600000")]));
    let (mut batch, table) = (ProduceBatch::default(), Arc::from(table));
    for (ticket, key) in [(0, Some("k")), (1, None), (2, Some("k"))] {
        add(&mut batch, ticket, &table, Some(0), key);
    }
    producer.send(&mut batch).await.unwrap();
    producer.flush().await;
    let told = producer.take_deliveries();
    let told: Vec<_> = told.iter().map(|told| (told.tickets.clone(), told.outcome.clone().unwrap_err())).collect();
    assert_eq!(told.iter().map(|told| told.0.clone()).collect::<Vec<_>>(), [0..1, 1..2, 2..3]);
    assert_eq!(told[1].1.class, "org.apache.kafka.common.InvalidRecordException");
    assert!(told[1].1.message.starts_with("Compacted topic cannot accept message without key"), "{told:?}");
    for company in [0, 2] {
        assert_eq!(told[company].1.class, "org.apache.kafka.common.KafkaException");
        assert!(told[company].1.message.contains("part of a batch"), "{told:?}");
    }
}
