//! Readers: each reads all partitions from their beginning, outside of any group, and must see what the log has, in its order.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::ResponseKind;
use kurier_kafka::consumer::core::{ConsumerCore, Effect, Input};
use kurier_kafka::consumer::{ConsumerError, FetchedBatch, Isolation, OffsetReset, Polled, Settings, TopicPartition};
use kurier_kafka::group::RequestId;
use kurier_kafka::net::TransportError;

use super::{Body, ProcessId, Wanted, World};
use crate::ledger::Checked;
use crate::plan::{Part, TOPICS, name, part, parts, place};

/// How long a poll waits.
const POLL_MS: u64 = 1_000;

/// A reader's process.
pub(super) struct ReaderApp {
    core: ConsumerCore,
    pub(super) isolation: Isolation,
    /// By partition: offsets of the records that it read, in its order.
    pub(super) read: Vec<Vec<i64>>,
    polls: bool,
}

/// Settings that every consumer has, with chance in them.
pub(super) fn settings(rng: &mut crate::rng::Rng) -> Settings {
    Settings {
        offset_reset: OffsetReset::Earliest,
        fetch_min_bytes: rng.pick(&[1, 1, 200]),
        fetch_max_bytes: rng.pick(&[50 << 20, 3_000]),
        fetch_max_wait: Duration::from_millis(rng.pick(&[500, 2_000])),
        max_partition_fetch_bytes: rng.pick(&[1 << 20, 700]),
        max_poll_records: rng.pick(&[500, 3]),
        request_timeout: Duration::from_millis(rng.pick(&[4_000, 10_000])),
        api_timeout: Duration::from_secs(10),
        metadata_max_age: Duration::from_secs(60),
        allow_auto_create_topics: false,
        ..Settings::default()
    }
}

impl World {
    pub(super) fn new_reader(&mut self) -> ReaderApp {
        let isolation = self.rng.pick(&[Isolation::ReadCommitted, Isolation::ReadUncommitted]);
        let settings = Settings { isolation, ..settings(&mut self.rng) };
        ReaderApp { core: ConsumerCore::new(settings), isolation, read: vec![Vec::new(); parts()], polls: false }
    }

    fn reader(&mut self, process: ProcessId) -> &mut ReaderApp {
        match &mut self.processes[process].body {
            Body::Reader(app) => app,
            _ => unreachable!("whose events these are is looked at before"),
        }
    }

    /// Polls, and polls again later.
    pub(super) fn reader_turn(&mut self, process: ProcessId) -> Checked {
        let now = self.now;
        let mut effects = Vec::new();
        let app = self.reader(process);
        if app.core.assignment().is_empty() {
            let all = (0..parts()).map(|part| {
                let (topic, partition) = place(part);
                TopicPartition::new(TOPICS[topic].name, partition)
            });
            app.core.assign(now, all.collect(), &mut effects);
        }
        let polled = app.core.poll(now, &mut effects);
        app.polls = matches!(polled, Ok(None));
        if !app.polls {
            app.core.working(now, &mut effects);
        }
        self.reader_effects(process, effects)?;
        match polled {
            Ok(None) => self.plan_app(process, POLL_MS),
            Ok(Some(Polled { batches, .. })) => {
                for batch in batches {
                    self.reader_reads(process, &batch)?;
                }
                let pause = self.rng.below(50);
                self.plan_app(process, pause);
            }
            Err(error) => {
                self.reader_failed(process, error)?;
                self.plan_app(process, POLL_MS);
            }
        }
        Ok(())
    }

    fn reader_failed(&mut self, process: ProcessId, error: ConsumerError) -> Checked {
        Err(format!("reader {process} cannot go on: {error}"))
    }

    fn reader_reads(&mut self, process: ProcessId, batch: &FetchedBatch) -> Checked {
        let (part, records) = self.open(batch)?;
        let (from, next) = (batch.from_offset(), batch.next_offset());
        self.log(|| format!("reader {process} is handed {} from {from} to before {next}: {records:?}", name(part)));
        for (offset, id) in records {
            let read = &mut self.reader(process).read[part];
            if let Some(last) = read.last().copied().filter(|last| *last >= offset) {
                return Err(format!("reader {process} is handed {} offset {offset} after {last}", name(part)));
            }
            read.push(offset);
            self.ledger.read(id, part, offset)?;
            if self.reader(process).isolation == Isolation::ReadCommitted {
                self.ledger.read_committed(id)?;
            }
        }
        Ok(())
    }

    /// The records of a batch that was handed over: their offsets and numbers.
    pub(super) fn open(&mut self, batch: &FetchedBatch) -> Result<(Part, Vec<(i64, u64)>), String> {
        let TopicPartition { topic, partition } = batch.partition();
        let part = part(topic, *partition).ok_or_else(|| format!("records of {}", batch.partition()))?;
        let opened = batch.open(&mut self.scratch).map_err(|error| error.to_string())?;
        let mut records = Vec::new();
        for record in &opened {
            let record = record.map_err(|error| error.to_string())?;
            let value = record.value.and_then(|value| <[u8; 8]>::try_from(value).ok());
            let value = value.ok_or_else(|| format!("{} offset {} is no record of ours", name(part), record.offset))?;
            records.push((record.offset, u64::from_be_bytes(value)));
        }
        Ok((part, records))
    }

    pub(super) fn reader_step(
        &mut self,
        process: ProcessId,
        answer: Option<(RequestId, Result<ResponseKind, TransportError>)>,
    ) -> Checked {
        let input = answer.map_or(Input::Tick, |(id, response)| Input::Answer { id, response });
        let now = self.now;
        let mut effects = Vec::new();
        self.reader(process).core.step(now, input, &mut effects);
        self.reader_effects(process, effects)
    }

    fn reader_effects(&mut self, process: ProcessId, effects: Vec<Effect>) -> Checked {
        let mut woken = false;
        for effect in effects {
            match effect {
                Effect::Send { id, to, request, timeout } => {
                    self.send(process, Wanted { id, to, request, highest: None, timeout });
                }
                Effect::Wake => woken = true,
                Effect::Brokers(_) | Effect::Done { .. } => {}
            }
        }
        let now = self.now;
        let app = self.reader(process);
        let (at, polls) = (app.core.next_deadline(now), app.polls);
        self.arm(process, at);
        if woken && polls {
            self.reader(process).polls = false;
            self.plan_app(process, 0);
        }
        Ok(())
    }

    /// What a reader has not read yet, of logs that end there.
    pub(super) fn readers_lag(&mut self, ends: &BTreeMap<Part, i64>) -> Option<String> {
        for process in self.living(|body| matches!(body, Body::Reader(_))) {
            let core = &self.reader(process).core;
            for (part, end) in ends {
                let (topic, partition) = place(*part);
                let position = core.position(&TopicPartition::new(TOPICS[topic].name, partition));
                if position.is_none_or(|position| position < *end) {
                    return Some(format!(
                        "reader {process} is at {position:?} of {}, which ends at {end}",
                        name(*part)
                    ));
                }
            }
        }
        None
    }
}
