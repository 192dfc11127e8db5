//! The consumer groups of sinks on a real cluster.

use super::offsets::{GroupError, SinkGroups};
use crate::worker::clients::ClientProps;
use async_trait::async_trait;
use kurier_api::TopicPartition;
use kurier_api::config::Props;
use kurier_kafka::admin::{Admin, AdminConfig, AdminError, Outcomes};
use kurier_kafka::consumer;
use kurier_kafka::error::{KafkaError, code};
use std::collections::{BTreeMap, BTreeSet};

/// Asks the cluster that sinks read, with the admin client that their settings describe. Connections last for one question: they are rare.
#[derive(Clone, Debug)]
pub struct KafkaSinkGroups {
    worker: Props,
}

impl KafkaSinkGroups {
    /// For a worker of these settings.
    pub fn new(worker: Props) -> Self {
        Self { worker }
    }

    fn admin(&self, connector: &Props) -> Result<Admin, GroupError> {
        let name = connector.get("name").map_or("", String::as_str);
        let settings = ClientProps { worker: &self.worker, connector }.offsets_admin(name);
        Ok(Admin::new(AdminConfig::parse(&settings).map_err(failure)?))
    }
}

#[async_trait]
impl SinkGroups for KafkaSinkGroups {
    async fn list(&self, connector: &Props, group: &str) -> Result<BTreeMap<TopicPartition, i64>, GroupError> {
        let offsets = self.admin(connector)?.group_offsets(group).await.map_err(failure)?;
        let ours = |(partition, offset): (consumer::TopicPartition, consumer::OffsetAndMetadata)| {
            (TopicPartition::new(partition.topic, partition.partition), offset.offset)
        };
        Ok(offsets.into_iter().map(ours).collect())
    }

    async fn alter(
        &self,
        connector: &Props,
        group: &str,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), GroupError> {
        if offsets.values().any(|offset| *offset < 0) {
            return Err(GroupError::NegativeOffset);
        }
        let offsets = offsets
            .iter()
            .map(|(partition, offset)| (theirs(partition), consumer::OffsetAndMetadata::new(*offset)))
            .collect();
        all_done(self.admin(connector)?.alter_group_offsets(group, &offsets).await)
    }

    async fn forget(&self, connector: &Props, group: &str, partitions: &[TopicPartition]) -> Result<(), GroupError> {
        let partitions: BTreeSet<_> = partitions.iter().map(theirs).collect();
        all_done(self.admin(connector)?.delete_group_offsets(group, &partitions).await)
    }

    async fn delete(&self, connector: &Props, group: &str) -> Result<(), GroupError> {
        self.admin(connector)?.delete_group(group).await.map_err(failure)
    }
}

fn theirs(partition: &TopicPartition) -> consumer::TopicPartition {
    consumer::TopicPartition::new(partition.topic.clone(), partition.partition)
}

/// The first thing that was refused is the answer.
fn all_done(outcomes: Result<Outcomes<consumer::TopicPartition, ()>, AdminError>) -> Result<(), GroupError> {
    outcomes.map_err(failure)?.into_values().collect::<Result<(), KafkaError>>().map_err(refusal)
}

fn failure(error: AdminError) -> GroupError {
    refusal(error.into_kafka())
}

fn refusal(error: KafkaError) -> GroupError {
    match error.code {
        Some(code::GROUP_ID_NOT_FOUND) => GroupError::NotFound,
        Some(code::UNKNOWN_MEMBER_ID | code::NON_EMPTY_GROUP | code::GROUP_SUBSCRIBED_TO_TOPIC) => GroupError::InUse,
        _ => GroupError::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
