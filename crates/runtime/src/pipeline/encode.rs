//! From the records of a source task to the bytes that go to Kafka.
//!
//! Order as in Java: transforms, then headers, key, value. Records are written one behind the other into one buffer; a record that a converter cannot
//! take is cut out again.

use super::control::{Activity, Control};
use super::ledger::Ticket;
use super::outlet::{Destination, ProduceBatch};
use super::stages::{Converters, Failures, Retries, Transforms};
use super::tolerance::{Failure, Stage, Tolerance};
use kurier_api::data::{SchemaAndValue, Value};
use kurier_api::plugin::{Fate, Presence};
use kurier_api::{ConnectError, Headers, Record};

/// Transforms and converts for one source task.
pub struct Encoder {
    converters: Converters,
    transforms: Transforms,
    tolerance: Tolerance,
    /// Headers that converters of keys and values add.
    added: Headers,
}

impl Encoder {
    /// An encoder for one task.
    pub fn new(converters: Converters, transforms: Transforms, tolerance: Tolerance) -> Self {
        Self { converters, transforms, tolerance, added: Headers::default() }
    }

    /// Applies the transforms. Afterwards a fate is `Live` or `Dropped`.
    pub async fn transform(
        &mut self,
        records: &mut [Record],
        fates: &mut [Fate],
        control: &Control,
        failures: &mut Failures,
    ) {
        if !self.transforms.is_empty() {
            control.enter(Activity::Transforming);
            self.transforms.apply(records, fates, &self.tolerance, control, failures).await;
        }
    }

    /// Writes a record into a batch. A failure is handed back judged for good, the record being out of the batch.
    ///
    /// # Errors
    /// The record's failure.
    pub async fn encode(
        &mut self,
        record: &mut Record,
        ticket: Ticket,
        batch: &mut ProduceBatch,
        control: &Control,
    ) -> Result<(), Failure> {
        let mut failure = match self.write(record, ticket, batch) {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let mut retries = Retries::new(control);
        while retries.again(&failure.error, &self.tolerance).await {
            match self.write(record, ticket, batch) {
                Ok(()) => return Ok(()),
                Err(next) => failure = next,
            }
        }
        Err(failure)
    }

    /// What a failure means under this task's settings.
    pub fn tolerance(&self) -> &Tolerance {
        &self.tolerance
    }

    fn write(&mut self, record: &mut Record, ticket: Ticket, batch: &mut ProduceBatch) -> Result<(), Failure> {
        let Self { converters: Converters { key, value, header }, added, .. } = self;
        let topic = &record.topic;
        let failed = |stage, class: &std::borrow::Cow<'static, str>| {
            let class = class.clone();
            move |error| Failure { stage, class, error }
        };
        let is_there = |presence: Presence| presence == Presence::Bytes;
        let mut draft = batch.draft();
        for one in record.headers.iter() {
            let SchemaAndValue { schema, value } = &one.value;
            draft
                .header(&one.key, |out| {
                    header.1.from_connect_header(topic, &one.key, schema.as_ref(), value, out).map(is_there)
                })
                .map_err(failed(Stage::HeaderConverter, &header.0))?;
        }
        added.clear();
        draft
            .key(|out| {
                let SchemaAndValue { schema, value } = &record.key;
                key.1.from_connect_data(topic, added, schema.as_ref(), value, out).map(is_there)
            })
            .map_err(failed(Stage::KeyConverter, &key.0))?;
        draft
            .value(|out| {
                let SchemaAndValue { schema, value: data } = &record.value;
                value.1.from_connect_data(topic, added, schema.as_ref(), data, out).map(is_there)
            })
            .map_err(failed(Stage::ValueConverter, &value.0))?;
        for one in added.iter() {
            // What a converter adds is bytes already, as in Java.
            let written = draft.header(&one.key, |out| match &one.value.value {
                Value::Bytes(bytes) => {
                    out.extend_from_slice(bytes);
                    Ok(true)
                }
                Value::Null => Ok(false),
                other => Err(ConnectError::data(format!("A converter added a header of {}", other.java_class()))),
            });
            written.map_err(failed(Stage::HeaderConverter, &header.0))?;
        }
        let (partition, timestamp) = (record.partition, record.timestamp.filter(|at| *at >= 0));
        draft.finish(ticket, Destination { topic, partition, timestamp });
        Ok(())
    }
}

/// Refuses a timestamp that Kafka could not hold; −1 stands for none.
///
/// # Errors
/// `Invalid record timestamp`, which ends the task as in Java.
pub fn check_timestamp(record: &Record) -> Result<(), ConnectError> {
    match record.timestamp {
        Some(at) if at < -1 => Err(ConnectError::of_class(
            "org.apache.kafka.common.InvalidRecordException",
            format!("Invalid record timestamp {at}"),
        )),
        _ => Ok(()),
    }
}
