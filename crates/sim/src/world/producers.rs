//! Producers: each hands over a few records now and then, and takes note of what it is told about them.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::ResponseKind;
use kurier_kafka::batch::Compression;
use kurier_kafka::consumer::TopicPartition;
use kurier_kafka::group::RequestId;
use kurier_kafka::net::TransportError;
use kurier_kafka::producer::core::{Appended, Effect, Input, ProducerCore};
use kurier_kafka::producer::{Delivery, Destination, ProduceBatch, Settings};

use super::transactions::TransactionalApp;
use super::{Body, ProcessId, Wanted, World};
use crate::ledger::Checked;
use crate::plan::{CUT, KEYED, KEYS, MIXED, PLAIN, TOPICS, part};
use crate::planted::Planted;
use crate::tally::State;

/// By how much old records are old: more than brokers remember an idle producer, less than they keep records.
const OLD_MS: i64 = 2 * 24 * 60 * 60 * 1000;

/// A producer's process.
pub(super) struct ProducerApp {
    pub(super) core: ProducerCore,
    /// This life of a producer, among all.
    pub(super) source: u64,
    pub(super) batch: ProduceBatch,
    /// Records of the batch before this one were taken.
    pub(super) taken: usize,
    topics: Vec<Arc<str>>,
    /// Its records are of two days ago.
    writes_old: bool,
    pub(super) transactional: Option<TransactionalApp>,
}

impl World {
    pub(super) fn new_producer(&mut self, transactional: Option<usize>) -> ProducerApp {
        self.sources += 1;
        let rng = &mut self.rng;
        let request_timeout = Duration::from_millis(rng.pick(&[1_500, 4_000, 10_000]));
        let settings = Settings {
            idempotent: true,
            max_in_flight: rng.between(1, 6) as usize,
            batch_bytes: rng.pick(&[120, 400, 16_000]),
            backlog_batch_bytes: rng.pick(&[0, 2_000, 256 << 10]),
            linger: Duration::from_millis(rng.pick(&[0, 5, 50])),
            compression: rng.pick(&[
                Compression::None,
                Compression::None,
                Compression::Gzip,
                Compression::Snappy,
                Compression::Lz4,
                Compression::Zstd,
            ]),
            request_timeout,
            delivery_timeout: request_timeout + Duration::from_millis(rng.pick(&[100, 5_000, 120_000])),
            max_block: Duration::from_secs(30),
            metadata_max_age: Duration::from_secs(60),
            seed: rng.next(),
            ..Settings::default()
        };
        let settings = match self.plan.planted {
            Some(Planted::ReorderedRetry) => Settings { idempotent: false, max_in_flight: 5, ..settings },
            _ => settings,
        };
        let settings = match transactional {
            Some(id) => Settings {
                transactional_id: Some(format!("x{id}")),
                transaction_timeout: Duration::from_millis(self.rng.pick(&[5_000, 20_000, 60_000])),
                ..settings
            },
            None => settings,
        };
        if settings.compression != Compression::None {
            self.tally.state(State::Compressed);
        }
        let writes_old = self.rng.one_in(5);
        if writes_old {
            self.tally.state(State::OldRecords);
        }
        ProducerApp {
            writes_old,
            core: ProducerCore::new(settings),
            source: self.sources,
            batch: ProduceBatch::default(),
            taken: 0,
            topics: TOPICS.iter().map(|topic| topic.name.into()).collect(),
            transactional: transactional.map(TransactionalApp::new),
        }
    }

    pub(super) fn producer(&mut self, process: ProcessId) -> &mut ProducerApp {
        match &mut self.processes[process].body {
            Body::Producer(app) => app,
            _ => unreachable!("whose events these are is looked at before"),
        }
    }

    /// The application hands over what it has, or makes more.
    pub(super) fn produce(&mut self, process: ProcessId) -> Checked {
        if self.is_transactional(process) {
            return self.transactional_turn(process);
        }
        let is_calm = self.is_calm();
        if self.producer(process).batch.is_empty() {
            if is_calm {
                return Ok(());
            }
            self.make_records(process);
        }
        let (now, wall_ms) = (self.now, self.wall_ms(process));
        let mut effects = Vec::new();
        let app = self.producer(process);
        let is_taken = match app.core.append(now, wall_ms, &app.batch, app.taken, &mut effects) {
            Appended::All => true,
            Appended::UpTo(at, _) => {
                app.taken = at;
                false
            }
        };
        if is_taken {
            app.batch.clear();
            app.taken = 0;
        }
        self.producer_effects(process, effects)?;
        // Who waits for room or for metadata is woken by it; time alone ends the wait too.
        let pause = if is_taken { self.plan.pause } else { 1_000 };
        let pause = if is_taken { self.rng.below(pause) } else { pause };
        self.plan_app(process, pause);
        Ok(())
    }

    pub(super) fn make_records(&mut self, process: ProcessId) {
        let transaction = self.producer(process).transactional.as_ref().map(|app| app.open);
        let old = self.wall_ms(process) - OLD_MS;
        let timestamp = self.producer(process).writes_old.then_some(old);
        let many = self.rng.between(1, 9);
        let topic = match transaction {
            Some(_) => MIXED,
            None => self.rng.pick(&[PLAIN, PLAIN, PLAIN, CUT, KEYED, MIXED]),
        };
        for _ in 0..many {
            let key = (topic == KEYED).then(|| self.rng.below(KEYS) as u8);
            let partition = self.rng.below(TOPICS[topic].partitions.unsigned_abs().into());
            let partition = i32::try_from(partition).ok().filter(|_| key.is_none());
            let partition = if self.rng.one_in(3) { None } else { partition };
            let source = self.producer(process).source;
            let id = self.ledger.send(source, topic, key, transaction.flatten());
            let app = self.producer(process);
            let mut draft = app.batch.draft();
            if let Some(key) = key {
                written(draft.key(|bytes| {
                    bytes.push(key);
                    Ok(true)
                }));
            }
            written(draft.value(|bytes| {
                bytes.extend_from_slice(&id.to_be_bytes());
                Ok(true)
            }));
            let topic = &app.topics[topic];
            draft.finish(id, Destination { topic, partition, timestamp });
        }
    }

    pub(super) fn producer_step(
        &mut self,
        process: ProcessId,
        answer: Option<(RequestId, Result<ResponseKind, TransportError>)>,
    ) -> Checked {
        if let Some((_, Ok(ResponseKind::InitProducerId(answer)))) = &answer
            && answer.producer_epoch > 0
        {
            self.tally.state(State::EpochBumped);
        }
        let input = answer.map_or(Input::Tick, |(id, response)| Input::Answer { id, response });
        let now = self.now;
        let mut effects = Vec::new();
        self.producer(process).core.step(now, input, &mut effects);
        self.producer_effects(process, effects)
    }

    pub(super) fn producer_effects(&mut self, process: ProcessId, effects: Vec<Effect>) -> Checked {
        let mut woken = false;
        for effect in effects {
            match effect {
                Effect::Send { id, to, request, highest, timeout } => {
                    self.send(process, Wanted { id, to, request, highest, timeout });
                }
                Effect::Wake => woken = true,
                Effect::Brokers(_) => {}
            }
        }
        for delivery in self.producer(process).core.take_deliveries() {
            self.delivered(process, delivery)?;
        }
        if self.is_transactional(process) {
            self.look_for_outcome(process)?;
            if !matches!(self.processes[process].body, Body::Producer(_)) {
                return Ok(());
            }
        }
        let now = self.now;
        let app = self.producer(process);
        let waits = app.taken > 0 || !app.batch.is_empty();
        let at = app.core.next_deadline(now);
        self.arm(process, at);
        if woken && waits {
            self.plan_app(process, 0);
        }
        Ok(())
    }

    fn delivered(&mut self, process: ProcessId, delivery: Delivery) -> Checked {
        match delivery.outcome {
            Ok((TopicPartition { topic, partition }, offset)) => {
                self.tally.state(State::Acknowledged);
                self.log(|| {
                    format!("process {process}: records {:?} are at {topic}-{partition} {offset}", delivery.tickets)
                });
                let part =
                    part(&topic, partition).ok_or_else(|| format!("an acknowledgement of {topic}-{partition}"))?;
                for (id, offset) in delivery.tickets.zip(offset..) {
                    self.ledger.acknowledged(id, part, offset)?;
                }
            }
            Err(error) => {
                self.tally.state(State::GivenUp);
                self.log(|| format!("process {process}: records {:?} are given up: {error}", delivery.tickets));
                for id in delivery.tickets {
                    self.ledger.given_up(id)?;
                }
            }
        }
        Ok(())
    }
}

fn written(result: Result<(), std::convert::Infallible>) {
    let Ok(()) = result;
}
