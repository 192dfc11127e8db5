//! What is left at the destination: every record that was committed, once and in order, and no other.

use super::work::{VALUE_BYTES, Work};
use crate::Stop;
use anyhow::{Context, Result};
use kurier_kafka::admin::Admin;
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{Consumer, ConsumerConfig, Isolation, OffsetSpec, TopicPartition};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long reading everything back may take, and transactions to be completed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Reads what is committed, and says what is not as it should be; also how many records there are.
pub(super) async fn check(work: &Work, admin: &Admin, address: &str, stop: &Stop) -> Result<(Vec<String>, u64)> {
    let ends = completed(work, admin, stop).await?;
    let properties = [
        ("bootstrap.servers", address),
        ("auto.offset.reset", "earliest"),
        ("isolation.level", "read_committed"),
        ("check.crcs", "true"),
    ];
    let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let consumer = Consumer::new(ConsumerConfig::parse(&BTreeMap::from(properties))?);
    consumer.assign(ends.keys().cloned().collect::<Vec<_>>());
    let mut expected = vec![false; usize::try_from(work.records)?];
    for numbers in &work.ends().committed {
        expected[numbers.start as usize..numbers.end as usize].fill(true);
    }
    let mut seen = vec![false; expected.len()];
    let mut last: BTreeMap<i32, u64> = BTreeMap::new();
    let (mut findings, mut count) = (Findings::default(), 0);
    let (mut scratch, mut wanted, deadline) = (Scratch::default(), Vec::new(), Instant::now() + PATIENCE);
    while ends.iter().any(|(partition, end)| consumer.position(partition).is_none_or(|at| at < *end)) {
        stop.check()?;
        anyhow::ensure!(Instant::now() < deadline, "not all could be read back in {PATIENCE:?}; ends are {ends:?}");
        let polled = consumer.poll(Instant::now() + Duration::from_millis(500)).await?;
        for batch in &polled.batches {
            let partition = batch.partition().partition;
            for record in &batch.open(&mut scratch)? {
                let record = record?;
                let value = record.value.context("a value is null")?;
                count += 1;
                let number = value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
                let number = number.filter(|number| *number < work.records && value.len() == VALUE_BYTES);
                let Some(number) = number else {
                    findings.note("damaged", partition, record.offset, None);
                    continue;
                };
                wanted.clear();
                Work::write_value(number, &mut wanted);
                if wanted != value {
                    findings.note("damaged", partition, record.offset, Some(number));
                }
                if work.partition_of(number) != partition {
                    findings.note("in the wrong partition", partition, record.offset, Some(number));
                }
                let at = number as usize;
                if !expected[at] {
                    findings.note("aborted and seen", partition, record.offset, Some(number));
                }
                if std::mem::replace(&mut seen[at], true) {
                    findings.note("doubled", partition, record.offset, Some(number));
                } else if last.insert(partition, number).is_some_and(|last| number < last) {
                    findings.note("out of order", partition, record.offset, Some(number));
                }
            }
        }
    }
    for (number, _) in expected.iter().zip(&seen).enumerate().filter(|(_, (expected, seen))| **expected && !**seen) {
        let number = number as u64;
        findings.note("acknowledged and lost", work.partition_of(number), -1, Some(number));
    }
    Ok((findings.lines(), count))
}

/// The ends of all partitions, once no transaction is open any more.
async fn completed(work: &Work, admin: &Admin, stop: &Stop) -> Result<BTreeMap<TopicPartition, i64>> {
    let wanted: BTreeMap<_, _> = (0..work.partitions)
        .map(|partition| (TopicPartition::new(work.topic.as_str(), partition), OffsetSpec::End))
        .collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        stop.check()?;
        let mut ends = BTreeMap::new();
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let listed = admin.list_offsets(&wanted, isolation).await?;
            let found = listed.into_iter().filter_map(|(place, found)| Some((place, found.ok()?.offset)));
            ends.insert(isolation == Isolation::ReadCommitted, found.collect::<BTreeMap<_, _>>());
        }
        if ends[&true].len() == wanted.len() && ends[&true] == ends[&false] {
            return Ok(ends.remove(&true).unwrap_or_default());
        }
        anyhow::ensure!(Instant::now() < deadline, "a transaction stays open: ends are {ends:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What is wrong, by kind: how often, and where first.
#[derive(Default)]
struct Findings(BTreeMap<&'static str, (u64, String)>);

impl Findings {
    fn note(&mut self, what: &'static str, partition: i32, offset: i64, number: Option<u64>) {
        let first = || format!("record {number:?} of partition {partition}, offset {offset}");
        self.0.entry(what).or_insert_with(|| (0, first())).0 += 1;
    }

    fn lines(self) -> Vec<String> {
        self.0.into_iter().map(|(what, (count, first))| format!("{count} × {what}, the first: {first}")).collect()
    }
}
