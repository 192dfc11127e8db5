//! Where partitions begin and end, and what is cut off at their beginning.

use std::collections::BTreeMap;

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, DeleteRecordsRequest, ListOffsetsRequest, TopicName};

use super::{Admin, AdminError, Failure, Open, Outcomes, Patience, ask, text, until_done};
use crate::consumer::{Isolation, OffsetSpec, TopicPartition};
use crate::error::KafkaError;
use crate::net::Target;

/// What a client is that is no replica.
const NO_REPLICA: i32 = -1;

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; −1 if no record is as young as was asked.
    pub offset: i64,
    /// The timestamp of the record that was found by it; −1 for beginnings and ends.
    pub timestamp: i64,
    /// The epoch of the leader that wrote it, if it is known.
    pub leader_epoch: Option<i32>,
}

impl Admin {
    /// Beginnings, ends or places in time of partitions. `OffsetSpec::End` is the last that `isolation` shows.
    pub async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
        isolation: Isolation,
    ) -> Result<Outcomes<TopicPartition, ListedOffset>, AdminError> {
        let mut patience = self.patience("the offsets of partitions");
        let mut open = Open::new(wanted.keys().cloned());
        let end = until_done!(patience, patience.offsets(wanted, isolation, &mut open));
        open.close(end)
    }

    /// Deletes the records before an offset (−1: all there are); the new beginning of each partition comes back.
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Outcomes<TopicPartition, i64>, AdminError> {
        let mut patience = self.patience("the deletion of records");
        let mut open = Open::new(before.keys().cloned());
        let end = until_done!(patience, patience.delete_records(before, &mut open));
        open.close(end)
    }
}

impl Patience<'_> {
    async fn offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
        isolation: Isolation,
        open: &mut Open<TopicPartition, ListedOffset>,
    ) -> Result<(), Failure> {
        let asked = open.left.clone();
        let leaders = self.by_leader(&asked, |partition, error| open.settle(partition, Err(error))).await?;
        for (leader, partitions) in leaders {
            // The log's end is asked with another isolation level than the rest, so in a request of its own.
            for level in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
                let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
                for partition in &partitions {
                    let Some(spec) = wanted.get(partition).filter(|spec| spec.isolation(isolation) == level) else {
                        continue;
                    };
                    topics.entry(&partition.topic).or_default().push(
                        ListOffsetsPartition::default()
                            .with_partition_index(partition.partition)
                            .with_current_leader_epoch(-1)
                            .with_timestamp(spec.code()),
                    );
                }
                if topics.is_empty() {
                    continue;
                }
                let topics = topics.into_iter().map(|(topic, partitions)| {
                    ListOffsetsTopic::default().with_name(TopicName(text(topic))).with_partitions(partitions)
                });
                let request = ListOffsetsRequest::default()
                    .with_replica_id(BrokerId(NO_REPLICA))
                    .with_isolation_level(level.code())
                    .with_topics(topics.collect())
                    .with_timeout_ms(self.admin.timeout_ms());
                let response = ask!(self, Target::Node(leader), ListOffsets(request));
                for topic in &response.topics {
                    for found in &topic.partitions {
                        let place = TopicPartition::new(topic.name.as_str(), found.partition_index);
                        let listed = ListedOffset {
                            offset: found.offset,
                            timestamp: found.timestamp,
                            leader_epoch: (found.leader_epoch >= 0).then_some(found.leader_epoch),
                        };
                        open.settle(&place, KafkaError::from_code(found.error_code).map_or(Ok(listed), Err));
                    }
                }
            }
        }
        open.remaining()
    }

    async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, i64>,
        open: &mut Open<TopicPartition, i64>,
    ) -> Result<(), Failure> {
        let asked = open.left.clone();
        let leaders = self.by_leader(&asked, |partition, error| open.settle(partition, Err(error))).await?;
        for (leader, partitions) in leaders {
            let mut topics: BTreeMap<&str, Vec<DeleteRecordsPartition>> = BTreeMap::new();
            for partition in &partitions {
                let offset = before.get(partition).copied().unwrap_or_default();
                topics.entry(&partition.topic).or_default().push(
                    DeleteRecordsPartition::default().with_partition_index(partition.partition).with_offset(offset),
                );
            }
            let topics = topics.into_iter().map(|(topic, partitions)| {
                DeleteRecordsTopic::default().with_name(TopicName(text(topic))).with_partitions(partitions)
            });
            let request =
                DeleteRecordsRequest::default().with_topics(topics.collect()).with_timeout_ms(self.admin.timeout_ms());
            let response = ask!(self, Target::Node(leader), DeleteRecords(request));
            for topic in &response.topics {
                for done in &topic.partitions {
                    let place = TopicPartition::new(topic.name.as_str(), done.partition_index);
                    open.settle(&place, KafkaError::from_code(done.error_code).map_or(Ok(done.low_watermark), Err));
                }
            }
        }
        open.remaining()
    }
}
