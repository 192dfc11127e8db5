//! What the broker is killed under: numbered records from an idempotent producer, and the count of them read back.

use crate::Rng;
use anyhow::{Context, Result};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{Consumer, ConsumerConfig, TopicPartition};
use kurier_kafka::producer::{Delivery, Destination, ProduceBatch, Producer, ProducerConfig};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The only topic.
const TOPIC: &str = "numbers";
/// So many records in a row go to the same partition.
const RUN_LENGTH: u64 = 16;
/// How long reading everything back may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// What a run sends, from its seed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) partitions: i32,
    pub(crate) records: u64,
    /// Size of a segment, so that kills also meet rolls and checkpoints.
    pub(crate) segment_bytes: u64,
    padding: usize,
    /// Records handed to the producer at a time.
    handful: u64,
    properties: Vec<(&'static str, String)>,
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let batch_bytes = rng.pick(&["500", "2000", "16384", "65536"]);
        let compression = rng.pick(&["none", "none", "lz4", "zstd", "gzip", "snappy"]);
        let buffer_bytes = rng.pick(&["65536", "262144", "4194304"]);
        // Mostly many small records; sometimes large ones, so that a kill may come in the midst of a write.
        let is_large = rng.below(5) == 0;
        let (records, padding, smallest_segment) = match is_large {
            true => (300 + rng.below(700), 30_000, 64 << 10),
            false => (5_000 + rng.below(25_000), 10 + rng.below(400), 16 << 10),
        };
        Self {
            partitions: 1 + rng.below(4) as i32,
            records,
            segment_bytes: rng.pick(&[smallest_segment, 128 << 10, 1 << 30]),
            padding: padding as usize,
            handful: 1 + rng.below(200),
            properties: vec![
                ("batch.size", batch_bytes.to_owned()),
                ("compression.type", compression.to_owned()),
                ("buffer.memory", buffer_bytes.to_owned()),
                ("linger.ms", rng.below(4).to_string()),
                ("acks", "all".to_owned()),
                ("enable.idempotence", "true".to_owned()),
                ("retry.backoff.ms", "10".to_owned()),
                ("retry.backoff.max.ms", "50".to_owned()),
                ("reconnect.backoff.ms", "10".to_owned()),
                ("reconnect.backoff.max.ms", "50".to_owned()),
            ],
        }
    }

    fn partition_of(&self, number: u64) -> i32 {
        (number / RUN_LENGTH % self.partitions as u64) as i32
    }

    /// The whole value follows from the number: a damaged one is seen.
    fn value(&self, number: u64) -> Vec<u8> {
        let mut value = format!("{number} ").into_bytes();
        value.extend(
            (0..self.padding).map(|at| b'a' + ((number as usize).wrapping_mul(31).wrapping_add(at) % 26) as u8),
        );
        value
    }
}

/// How far the producer is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) topic_is_known: bool,
    /// Records that the producer has taken.
    pub(crate) taken: u64,
    pub(crate) acknowledged: u64,
    pub(crate) given_up: u64,
    /// Why the first of them was.
    pub(crate) reason: Option<String>,
}

impl Progress {
    /// Whether every record has been told of.
    pub(crate) fn is_over(&self, plan: &Plan) -> bool {
        self.acknowledged + self.given_up == plan.records
    }
}

/// A producer at work.
pub(crate) struct Load {
    plan: Plan,
    shared: Arc<Mutex<Shared>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    progress: Progress,
    /// Where each acknowledged record was said to be, by its number.
    places: BTreeMap<u64, (i32, i64)>,
}

impl Shared {
    fn note(&mut self, deliveries: Vec<Delivery>) {
        for Delivery { tickets, outcome } in deliveries {
            let count = tickets.end - tickets.start;
            match outcome {
                Ok((place, first)) => {
                    self.progress.acknowledged += count;
                    self.places
                        .extend(tickets.zip(first..).map(|(number, offset)| (number, (place.partition, offset))));
                }
                Err(error) => {
                    self.progress.given_up += count;
                    self.progress.reason.get_or_insert_with(|| error.to_string());
                }
            }
        }
    }
}

impl Load {
    /// Starts to produce; goes on whatever becomes of the broker.
    pub(crate) fn start(plan: &Plan, address: &str, runtime: &tokio::runtime::Handle) -> Result<Self> {
        let mut properties = BTreeMap::from([("bootstrap.servers".to_owned(), address.to_owned())]);
        properties.extend(plan.properties.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        let config = ProducerConfig::parse(&properties)?;
        let _inside = runtime.enter();
        let producer = Arc::new(Producer::new(config));
        let shared = Arc::new(Mutex::new(Shared::default()));
        let tasks = vec![
            tokio::spawn(send_all(plan.clone(), Arc::clone(&producer), Arc::clone(&shared))),
            tokio::spawn(collect(plan.clone(), producer, Arc::clone(&shared))),
        ];
        Ok(Self { plan: plan.clone(), shared, tasks })
    }

    pub(crate) fn progress(&self) -> Progress {
        self.shared.lock().progress.clone()
    }

    /// Reads everything back and says what is not as it was acknowledged; nothing if all is well. Also how many records there are.
    pub(crate) async fn check(&self, address: &str) -> Result<(Vec<String>, u64)> {
        let found = read_back(&self.plan, address).await?;
        let places = &self.shared.lock().places;
        let mut findings = Findings::default();
        let mut seen: BTreeMap<u64, (i32, i64)> = BTreeMap::new();
        for (partition, records) in &found {
            let (mut last, mut next_offset) = (None, 0);
            for (offset, value) in records {
                let place = (*partition, *offset);
                if *offset != next_offset {
                    findings.note("a gap before", None, place);
                }
                next_offset = offset + 1;
                let number = number_of(value).filter(|number| *number < self.plan.records);
                let Some(number) = number.filter(|number| self.plan.value(*number) == *value) else {
                    findings.note("damaged", None, place);
                    continue;
                };
                if self.plan.partition_of(number) != *partition {
                    findings.note("in the wrong partition", Some(number), place);
                }
                if seen.insert(number, place).is_some() {
                    findings.note("doubled", Some(number), place);
                } else if last.is_some_and(|last| number < last) {
                    findings.note("out of order", Some(number), place);
                }
                last = last.max(Some(number));
            }
        }
        for (number, place) in places {
            match seen.get(number) {
                None => findings.note("acknowledged and lost", Some(*number), *place),
                Some(there) if there != place => findings.note("elsewhere than acknowledged", Some(*number), *place),
                Some(_) => {}
            }
        }
        Ok((findings.lines(), seen.len() as u64))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// What is wrong, by kind: how often, and where first.
#[derive(Default)]
struct Findings(BTreeMap<&'static str, (u64, String)>);

impl Findings {
    fn note(&mut self, what: &'static str, number: Option<u64>, (partition, offset): (i32, i64)) {
        let first = || match number {
            Some(number) => format!("record {number} at partition {partition}, offset {offset}"),
            None => format!("partition {partition}, offset {offset}"),
        };
        self.0.entry(what).or_insert_with(|| (0, first())).0 += 1;
    }

    fn lines(self) -> Vec<String> {
        self.0.into_iter().map(|(what, (count, first))| format!("{count} × {what}, the first: {first}")).collect()
    }
}

async fn send_all(plan: Plan, producer: Arc<Producer>, shared: Arc<Mutex<Shared>>) {
    // Asking creates the topic; it is asked again for as long as the run lasts.
    while producer.partitions_for(TOPIC).await.is_err() {}
    shared.lock().progress.topic_is_known = true;
    let topic: Arc<str> = TOPIC.into();
    let (mut batch, mut next) = (ProduceBatch::default(), 0);
    while next < plan.records {
        let end = plan.records.min(next + plan.handful);
        for number in next..end {
            let mut draft = batch.draft();
            let written: Result<(), std::convert::Infallible> = draft.value(|bytes| {
                bytes.extend(plan.value(number));
                Ok(true)
            });
            let Ok(()) = written;
            let partition = Some(plan.partition_of(number));
            draft.finish(number, Destination { topic: &topic, partition, timestamp: None });
        }
        if producer.send(&mut batch).await.is_err() {
            return; // Closed: the run is over.
        }
        shared.lock().progress.taken = end;
        next = end;
    }
}

async fn collect(plan: Plan, producer: Arc<Producer>, shared: Arc<Mutex<Shared>>) {
    loop {
        let deliveries = producer.deliveries(Instant::now() + Duration::from_secs(1)).await;
        let mut shared = shared.lock();
        shared.note(deliveries);
        if shared.progress.is_over(&plan) {
            return;
        }
    }
}

fn number_of(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.split_once(' ')?.0.parse().ok()
}

/// Offsets and values of every partition, in the order in which they are handed over.
type Found = BTreeMap<i32, Vec<(i64, Vec<u8>)>>;

async fn read_back(plan: &Plan, address: &str) -> Result<Found> {
    let properties = [("bootstrap.servers", address), ("auto.offset.reset", "earliest"), ("check.crcs", "true")];
    let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let consumer = Consumer::new(ConsumerConfig::parse(&BTreeMap::from(properties))?);
    let partitions: Vec<_> = (0..plan.partitions).map(|partition| TopicPartition::new(TOPIC, partition)).collect();
    let ends = consumer.end_offsets(partitions.clone()).await?;
    anyhow::ensure!(ends.len() == partitions.len(), "the topic has lost partitions: {ends:?} are left");
    consumer.assign(partitions);
    let deadline = Instant::now() + READ_TIMEOUT;
    let (mut found, mut scratch) = (Found::new(), Scratch::default());
    while ends.iter().any(|(partition, end)| consumer.position(partition).is_none_or(|at| at < *end)) {
        anyhow::ensure!(Instant::now() < deadline, "not all could be read back in {READ_TIMEOUT:?}; ends are {ends:?}");
        let polled = consumer.poll(Instant::now() + Duration::from_millis(500)).await?;
        for batch in &polled.batches {
            let records = found.entry(batch.partition().partition).or_default();
            for record in &batch.open(&mut scratch)? {
                let record = record?;
                records.push((record.offset, record.value.context("a value is null")?.to_vec()));
            }
        }
    }
    Ok(found)
}
