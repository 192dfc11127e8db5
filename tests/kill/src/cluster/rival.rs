//! librdkafka at the same work, through the crate `rdkafka`.

use super::clients::{BUFFER_KB, Client, Failure, SETTINGS, TRANSACTION_TIMEOUT_MS};
use super::work::{Scenario, Work};
use anyhow::Result;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use std::ops::Range;
use std::time::Duration;

/// How long one call may take; what comes to nothing is called again.
const CALL: Duration = Duration::from_secs(30);

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

pub(super) struct Rival {
    producer: BaseProducer<Told>,
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
    fn call(&self, what: impl Fn(&BaseProducer<Told>) -> Result<(), KafkaError>) -> Result<(), KafkaError> {
        loop {
            match what(&self.producer) {
                Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
                outcome => return outcome,
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
                        self.producer.poll(Duration::from_millis(10));
                    }
                    // The transaction has failed; its commit says so.
                    Err((KafkaError::MessageProduction(_), _)) if work.scenario == Scenario::Transactional => break,
                    Err((error, _)) => return Err(error.into()),
                }
            }
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    fn told(&mut self) -> (u64, Option<String>) {
        self.producer.context().0.lock().clone()
    }

    fn wait(&mut self) {
        self.producer.poll(Duration::from_millis(20));
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
