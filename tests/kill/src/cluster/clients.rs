//! The clients whose records are counted: ours, and librdkafka as the control.

use super::work::{Scenario, Work};
use anyhow::{Result, anyhow};
use kurier_kafka::error::KafkaError;
use kurier_kafka::producer::{Destination, ProduceBatch, Producer, ProducerConfig};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Settings of both, in names that both know.
pub(super) const SETTINGS: [(&str, &str); 5] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("linger.ms", "5"),
    ("batch.size", "16384"),
    // Longer than any run: nothing entitles a client to give up a record.
    ("delivery.timeout.ms", "600000"),
];
/// Room for records on their way, in kilobytes: so little that most of a run is sent while others of it are acknowledged.
pub(super) const BUFFER_KB: u64 = 2_048;
/// How long a coordinator leaves a transaction open.
pub(super) const TRANSACTION_TIMEOUT_MS: &str = "120000";

/// Whose records are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// This project's.
    Kurier,
    /// librdkafka, with the feature of that name.
    Librdkafka,
}

/// Why a transaction was not committed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It can be aborted, and the next one begun.
    Abortable(String),
    /// There will be no next one.
    Final(String),
}

/// A producer, as the work sees it.
pub(super) trait Client {
    /// Takes records, waiting for room.
    fn send(&mut self, work: &Work, numbers: Range<u64>) -> Result<()>;
    /// How many records were acknowledged so far, and why the first was given up that was.
    fn told(&mut self) -> (u64, Option<String>);
    /// Waits a moment for more to be told.
    fn wait(&mut self);
    /// Waits until all that was taken has been told of.
    fn flush(&mut self);
    fn init_transactions(&mut self) -> Result<()>;
    fn begin(&mut self) -> Result<()>;
    fn commit(&mut self) -> Result<(), Failure>;
    fn abort(&mut self) -> Result<()>;
}

/// Ours.
pub(super) struct Ours {
    producer: Producer,
    runtime: tokio::runtime::Handle,
    batch: ProduceBatch,
    acknowledged: u64,
    given_up: Option<String>,
}

impl Ours {
    pub(super) fn new(address: &str, work: &Work, runtime: &tokio::runtime::Handle) -> Result<Self> {
        let mut properties = BTreeMap::from([("bootstrap.servers".to_owned(), address.to_owned())]);
        properties.extend(SETTINGS.map(|(key, value)| (key.to_owned(), value.to_owned())));
        properties.insert("buffer.memory".to_owned(), (BUFFER_KB << 10).to_string());
        if work.scenario == Scenario::Transactional {
            properties.insert("transactional.id".to_owned(), work.topic.clone());
            properties.insert("transaction.timeout.ms".to_owned(), TRANSACTION_TIMEOUT_MS.to_owned());
            properties.insert("max.block.ms".to_owned(), "600000".to_owned());
        }
        let _inside = runtime.enter();
        Ok(Self {
            producer: Producer::new(ProducerConfig::parse(&properties)?),
            runtime: runtime.clone(),
            batch: ProduceBatch::default(),
            acknowledged: 0,
            given_up: None,
        })
    }
}

fn failed(error: KafkaError) -> anyhow::Error {
    anyhow!("{}: {}", error.class, error.message)
}

impl Client for Ours {
    fn send(&mut self, work: &Work, numbers: Range<u64>) -> Result<()> {
        let topic: Arc<str> = work.topic.as_str().into();
        for number in numbers {
            let mut draft = self.batch.draft();
            let written: Result<(), std::convert::Infallible> = draft.value(|bytes| {
                Work::write_value(number, bytes);
                Ok(true)
            });
            let Ok(()) = written;
            let partition = Some(work.partition_of(number));
            draft.finish(number, Destination { topic: &topic, partition, timestamp: None });
        }
        Ok(self.runtime.block_on(self.producer.send(&mut self.batch))?)
    }

    fn told(&mut self) -> (u64, Option<String>) {
        for delivery in self.producer.take_deliveries() {
            match delivery.outcome {
                Ok(_) => self.acknowledged += delivery.tickets.end - delivery.tickets.start,
                Err(error) => {
                    self.given_up.get_or_insert_with(|| error.to_string());
                }
            }
        }
        (self.acknowledged, self.given_up.clone())
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_millis(20);
        for delivery in self.runtime.block_on(self.producer.deliveries(deadline)) {
            match delivery.outcome {
                Ok(_) => self.acknowledged += delivery.tickets.end - delivery.tickets.start,
                Err(error) => {
                    self.given_up.get_or_insert_with(|| error.to_string());
                }
            }
        }
    }

    fn flush(&mut self) {
        self.runtime.block_on(self.producer.flush());
    }

    fn init_transactions(&mut self) -> Result<()> {
        self.runtime.block_on(self.producer.init_transactions()).map_err(failed)
    }

    fn begin(&mut self) -> Result<()> {
        self.producer.begin().map_err(failed)
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.runtime.block_on(self.producer.commit()).map_err(|error| {
            let is_final = error.simple_class() == "ProducerFencedException";
            let reason = failed(error).to_string();
            if is_final { Failure::Final(reason) } else { Failure::Abortable(reason) }
        })
    }

    fn abort(&mut self) -> Result<()> {
        self.runtime.block_on(self.producer.abort()).map_err(failed)
    }
}
