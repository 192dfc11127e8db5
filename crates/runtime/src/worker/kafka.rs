//! Kafka clients over TCP, for the tasks of this worker.
#![expect(clippy::disallowed_methods, reason = "driver: waits for acknowledgements by the clock")]

use super::clients::Clients;
use crate::pipeline::outlet::{Acknowledgement, Outlet, ProduceBatch};
use crate::pipeline::topics::{TopicAdmin, TopicSettings};
use async_trait::async_trait;
use kurier_api::config::Props;
use kurier_api::{ConnectError, NextStep, TopicPartition};
use kurier_kafka::admin::{Admin, AdminConfig, AdminError};
use kurier_kafka::consumer::{Consumer, ConsumerConfig};
use kurier_kafka::producer::{Delivery, Producer, ProducerConfig};
use kurier_kafka::topic_log::{Creation, NewTopic};
use std::time::{Duration, Instant};

/// Makes clients that speak to a cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct KafkaClients;

impl Clients for KafkaClients {
    fn outlet(&self, props: &Props) -> Result<Box<dyn Outlet>, ConnectError> {
        let config = ProducerConfig::parse(props).map_err(config_error)?;
        warn_unknown("producer", props, &config.unknown);
        Ok(Box::new(KafkaOutlet(Producer::new(config))))
    }

    fn topic_admin(&self, props: &Props) -> Result<Box<dyn TopicAdmin>, ConnectError> {
        Ok(Box::new(KafkaTopics(Admin::new(AdminConfig::parse(props).map_err(config_error)?))))
    }

    fn consumer(&self, props: &Props) -> Result<Consumer, ConnectError> {
        let config = ConsumerConfig::parse(props).map_err(config_error)?;
        warn_unknown("consumer", props, &config.unknown);
        Ok(Consumer::new(config))
    }
}

fn config_error(error: impl std::fmt::Display) -> ConnectError {
    ConnectError::config(error.to_string())
}

/// As Java: a key that nobody knows is worth a warning.
fn warn_unknown(client: &str, props: &Props, unknown: &[String]) {
    if !unknown.is_empty() {
        let id = props.get("client.id").map_or("", String::as_str);
        tracing::warn!("{client} {id}: these settings are not known: {}", unknown.join(", "));
    }
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
