//! Kafka clients over TCP, for the tasks of this worker.
#![expect(clippy::disallowed_methods, reason = "driver: waits for acknowledgements by the clock")]

use super::clients::{ClientSettings, Clients};
use crate::pipeline::outlet::{Acknowledgement, Outlet, ProduceBatch};
use crate::pipeline::topics::{TopicAdmin, TopicSettings};
use async_trait::async_trait;
use kurier_api::config::closest;
use kurier_api::{ConnectError, NextStep, TopicPartition};
use kurier_kafka::admin::{Admin, AdminConfig, AdminError};
use kurier_kafka::config::Remarks;
use kurier_kafka::consumer::{Consumer, ConsumerConfig};
use kurier_kafka::producer::{Delivery, Producer, ProducerConfig};
use kurier_kafka::properties::Client;
use kurier_kafka::topic_log::{Creation, NewTopic};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Makes clients that speak to a cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct KafkaClients;

impl Clients for KafkaClients {
    fn outlet(&self, settings: &ClientSettings) -> Result<Box<dyn Outlet>, ConnectError> {
        let config = ProducerConfig::parse(settings).map_err(config_error)?;
        remark(Client::Producer, settings, &config.remarks);
        Ok(Box::new(KafkaOutlet(Producer::new(config))))
    }

    fn topic_admin(&self, settings: &ClientSettings) -> Result<Box<dyn TopicAdmin>, ConnectError> {
        let config = AdminConfig::parse(settings).map_err(config_error)?;
        remark(Client::Admin, settings, &config.remarks);
        Ok(Box::new(KafkaTopics(Admin::new(config))))
    }

    fn consumer(&self, settings: &ClientSettings) -> Result<Consumer, ConnectError> {
        let config = ConsumerConfig::parse(settings).map_err(config_error)?;
        remark(Client::Consumer, settings, &config.remarks);
        Ok(Consumer::new(config))
    }
}

fn config_error(error: impl std::fmt::Display) -> ConnectError {
    ConnectError::config(error.to_string())
}

/// So many remarks are remembered, so that each is made once; whoever has more of them has read enough.
const MOST_REMARKS: usize = 1_000;

/// Remarks that were made already: connectors have many tasks, and tasks start again.
static MADE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// As Java: what a client does not know is worth a warning; and so is what it knows and leaves alone.
fn remark(client: Client, settings: &ClientSettings, remarks: &Remarks) {
    let mut made = MADE.lock();
    for said in sentences(client, settings, remarks) {
        if made.len() < MOST_REMARKS && made.insert(said.clone()) {
            tracing::warn!("{said}");
        }
    }
}

/// What is to be said. Admin clients get all of a worker's settings: there, only those that were written for clients count.
fn sentences(client: Client, settings: &ClientSettings, remarks: &Remarks) -> Vec<String> {
    let unknown = remarks.unknown.iter().filter(|key| client != Client::Admin || settings.written.contains_key(*key));
    let unknown = unknown.map(|key| {
        let known = client.properties().map(|property| property.name);
        let meant = closest(key, known.filter(|name| !settings.props.contains_key(*name)));
        let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        let name = settings.written.get(key).unwrap_or(key);
        format!("`{name}` is not a property of Kafka's {} client{meant}", client.name())
    });
    let ignored = remarks.ignored.iter().filter(|_| client != Client::Admin).cloned();
    unknown.chain(ignored).collect()
}

struct KafkaOutlet(Producer);

#[async_trait]
impl Outlet for KafkaOutlet {
    async fn send(&mut self, batch: &mut ProduceBatch) -> Result<(), ConnectError> {
        let sent = self.0.send(batch).await;
        sent.map_err(|error| ConnectError::of_class("org.apache.kafka.common.KafkaException", error.to_string()))
    }

    async fn acknowledged(&mut self, wait: Duration) -> Vec<Acknowledgement> {
        let deliveries =
            if wait.is_zero() { self.0.take_deliveries() } else { self.0.deliveries(Instant::now() + wait).await };
        deliveries.into_iter().map(acknowledgement).collect()
    }

    async fn close(&mut self) {
        self.0.close();
    }
}

fn acknowledgement(delivery: Delivery) -> Acknowledgement {
    let Delivery { tickets, outcome } = delivery;
    let outcome = match outcome {
        Ok((place, offset)) => Ok((TopicPartition::new(place.topic, place.partition), offset)),
        Err(error) => Err(ConnectError::of_class(error.class, error.message)),
    };
    Acknowledgement { tickets, outcome }
}

struct KafkaTopics(Admin);

#[async_trait]
impl TopicAdmin for KafkaTopics {
    async fn ensure(&mut self, topic: &str, settings: &TopicSettings) -> Result<bool, ConnectError> {
        if self.0.partitions(topic).await.map_err(admin_error)?.is_some() {
            return Ok(true);
        }
        let wanted = NewTopic {
            name: topic.to_owned(),
            partitions: settings.partitions,
            replication_factor: settings.replication_factor,
            config: settings.configs.clone(),
        };
        match self.0.create_topic(&wanted).await.map_err(admin_error)? {
            Creation::Created | Creation::Exists => Ok(true),
            Creation::NotAllowed => Ok(false),
        }
    }
}

fn admin_error(error: AdminError) -> ConnectError {
    let retriable = match &error {
        AdminError::Timeout { .. } => true,
        AdminError::Refused { error, .. } => error.is_retriable(),
        AdminError::Config(_) => false,
    };
    let connect = ConnectError::connect(error.to_string());
    if retriable { connect.with_next_step(NextStep::Retry) } else { connect }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kurier_api::config::Props;

    #[test]
    fn unknown_properties_are_named_as_they_were_written() {
        let props = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Props>()
        };
        let settings = ClientSettings {
            props: props(&[("bootstrap.servers", "h:1"), ("linger.sm", "1"), ("key.converter", "x")]),
            written: props(&[("linger.sm", "producer.override.linger.sm")]),
        };
        let producer = ProducerConfig::parse(&settings).unwrap().remarks;
        assert_eq!(
            sentences(Client::Producer, &settings, &producer),
            [
                "`key.converter` is not a property of Kafka's producer client",
                "`producer.override.linger.sm` is not a property of Kafka's producer client; did you mean `linger.ms`?"
            ]
        );
        let admin = AdminConfig::parse(&settings).unwrap().remarks;
        assert_eq!(
            sentences(Client::Admin, &settings, &admin),
            ["`producer.override.linger.sm` is not a property of Kafka's admin client"]
        );
        let wrong = ClientSettings {
            props: props(&[("bootstrap.servers", "h:1"), ("linger.ms", "x")]),
            written: props(&[("linger.ms", "producer.linger.ms")]),
        };
        let error = ProducerConfig::parse(&wrong).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Invalid value x for configuration producer.linger.ms: Not a number of type LONG"
        );
    }
}
