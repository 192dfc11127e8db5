//! librdkafka at the same work, through the crate `rdkafka`.

use super::clients::{BUFFER_KB, Client, Failure, SETTINGS, TRANSACTION_TIMEOUT_MS};
use super::work::{Scenario, Work};
use anyhow::Result;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::ops::Range;
use std::time::{Duration, Instant};

/// How long one call may take; what comes to nothing is called again,
const CALL: Duration = Duration::from_secs(30);
/// but not for ever: a run waits no longer either.
const PATIENCE: Duration = Duration::from_secs(240);

/// A while for records to be told of.
const MOMENT: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Told(Mutex<(u64, Option<String>)>);

impl ClientContext for Told {}

impl ProducerContext for Told {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut told = self.0.lock();
        match result {
            Ok(_) => told.0 += 1,
            Err((error, _)) => {
                told.1.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// Its events are taken by a thread of its own. Aborting purges what is on its way and waits until that has been told of: whoever takes the events only
/// between calls waits for ever.
pub(super) struct Rival {
    producer: ThreadedProducer<Told>,
    value: Vec<u8>,
}

impl Rival {
    pub(super) fn new(address: &str, work: &Work) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", address);
        for (key, value) in SETTINGS {
            config.set(key, value);
        }
        config.set("queue.buffering.max.kbytes", BUFFER_KB.to_string());
        if work.scenario == Scenario::Transactional {
            config.set("transactional.id", &work.topic).set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
            // It must not be longer than the transaction's.
            config.set("delivery.timeout.ms", TRANSACTION_TIMEOUT_MS);
        }
        Ok(Self { producer: config.create_with_context(Told::default())?, value: Vec::new() })
    }

    /// Calls again what may be called again.
    fn call(&self, what: impl Fn(&ThreadedProducer<Told>) -> Result<(), KafkaError>) -> Result<(), KafkaError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let outcome = what(&self.producer);
            let again = match &outcome {
                Err(KafkaError::Transaction(error)) => error.is_retriable(),
                Err(KafkaError::Flush(error)) => *error == RDKafkaErrorCode::OperationTimedOut,
                _ => false,
            };
            if !again || Instant::now() > deadline {
                return outcome;
            }
        }
    }
}

impl Client for Rival {
    fn send(&mut self, work: &Work, numbers: Range<u64>) -> Result<()> {
        for number in numbers {
            self.value.clear();
            Work::write_value(number, &mut self.value);
            let mut record =
                BaseRecord::<(), _>::to(&work.topic).partition(work.partition_of(number)).payload(&self.value);
            loop {
                match self.producer.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                        record = back;
                        std::thread::sleep(MOMENT);
                    }
                    // The transaction has failed; its commit says so.
                    Err((KafkaError::MessageProduction(_), _)) if work.scenario == Scenario::Transactional => break,
                    Err((error, _)) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn told(&mut self) -> (u64, Option<String>) {
        self.producer.context().0.lock().clone()
    }

    fn wait(&mut self) {
        std::thread::sleep(MOMENT);
    }

    fn flush(&mut self) {
        // What is not told of by then is aborted anyway.
        let _ = self.producer.flush(CALL);
    }

    fn init_transactions(&mut self) -> Result<()> {
        Ok(self.call(|producer| producer.init_transactions(CALL))?)
    }

    fn begin(&mut self) -> Result<()> {
        Ok(self.producer.begin_transaction()?)
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.call(|producer| producer.commit_transaction(CALL)).map_err(|error| match &error {
            KafkaError::Transaction(told) if told.txn_requires_abort() => Failure::Abortable(error.to_string()),
            _ => Failure::Final(error.to_string()),
        })
    }

    fn abort(&mut self) -> Result<()> {
        Ok(self.call(|producer| producer.abort_transaction(CALL))?)
    }
}
