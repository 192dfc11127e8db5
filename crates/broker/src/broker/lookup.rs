//! Questions about partitions (offsets by time, producers, sizes) and deletion of records.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeProducersRequest, DescribeProducersResponse, ListOffsetsRequest, ListOffsetsResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProducerId, TopicName,
};

use super::fetch::check_leader_epoch;
use super::{Broker, code};
use crate::journal::Entry;
use crate::log::LEADER_EPOCH;

/// Times that stand for places in the log.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
/// "There is none", for offsets, timestamps and epochs.
const NONE: i64 = -1;
/// "Up to the end", as an offset to delete to.
const TO_THE_END: i64 = -1;
/// First version of `ListOffsets` with leader epochs.
const LEADER_EPOCH_VERSION: i16 = 4;
/// The isolation level in which open transactions are not seen.
const READ_COMMITTED: i8 = 1;
/// "Not known", for sizes.
const UNKNOWN_SIZE: i64 = -1;

impl Broker {
    pub(super) fn list_offsets(&mut self, version: i16, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let read_committed = request.isolation_level == READ_COMMITTED;
        let mut topics = Vec::new();
        for topic in request.topics {
            let partitions = topic
                .partitions
                .iter()
                .map(|asked| {
                    let found = check_leader_epoch(asked.current_leader_epoch).and_then(|()| {
                        self.offset_at(&topic.name, asked.partition_index, asked.timestamp, read_committed)
                    });
                    let response = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
                    match found {
                        Ok((offset, timestamp)) => {
                            let known = offset != NONE && version >= LEADER_EPOCH_VERSION;
                            let epoch = if known { LEADER_EPOCH } else { -1 };
                            response.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(epoch)
                        }
                        Err(error) => response.with_offset(NONE).with_timestamp(NONE).with_error_code(code(error)),
                    }
                })
                .collect();
            topics.push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
        }
        ListOffsetsResponse::default().with_topics(topics)
    }

    /// The offset that a time stands for, and the timestamp found there.
    fn offset_at(
        &mut self,
        name: &TopicName,
        partition: i32,
        time: i64,
        read_committed: bool,
    ) -> Result<(i64, i64), ResponseError> {
        let (log, _) = self.topics.log(name, partition)?;
        let end = if read_committed { log.stable_offset() } else { log.end_offset() };
        let found = match time {
            LATEST => return Ok((end, NONE)),
            EARLIEST | EARLIEST_LOCAL => return Ok((log.start_offset(), NONE)),
            LATEST_TIERED => return Ok((NONE, NONE)),
            MAX_TIMESTAMP => log.find_max_time(),
            time if time < 0 => return Err(ResponseError::UnsupportedVersion),
            time => log.find_time(time),
        };
        match found {
            Ok(found) => Ok(found.filter(|(offset, _)| *offset < end).unwrap_or((NONE, NONE))),
            Err(error) => {
                tracing::error!(topic = name.as_str(), partition, "cannot read: {error}");
                Err(ResponseError::KafkaStorageError)
            }
        }
    }

    pub(super) fn offset_for_leader_epoch(
        &mut self,
        request: OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let mut topics = Vec::new();
        for topic in request.topics {
            let partitions = topic
                .partitions
                .iter()
                .map(|asked| {
                    let response = EpochEndOffset::default().with_partition(asked.partition);
                    let end = check_leader_epoch(asked.current_leader_epoch).and_then(|()| {
                        let (log, _) = self.topics.log(&topic.topic, asked.partition)?;
                        Ok(log.end_offset())
                    });
                    match end {
                        // There was one leader epoch, and everything is of it.
                        Ok(end) if asked.leader_epoch >= LEADER_EPOCH => {
                            let known = asked.leader_epoch == LEADER_EPOCH;
                            response
                                .with_leader_epoch(if known { LEADER_EPOCH } else { -1 })
                                .with_end_offset(if known { end } else { NONE })
                        }
                        Ok(_) => response.with_leader_epoch(-1).with_end_offset(NONE),
                        Err(error) => response.with_end_offset(NONE).with_error_code(code(error)),
                    }
                })
                .collect();
            topics.push(OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions));
        }
        OffsetForLeaderEpochResponse::default().with_topics(topics)
    }

    pub(super) fn delete_records(&mut self, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
        let mut topics = Vec::new();
        for topic in request.topics {
            let partitions = topic
                .partitions
                .iter()
                .map(|asked| {
                    let response = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
                    match self.delete_before(&topic.name, asked.partition_index, asked.offset) {
                        Ok(start) => response.with_low_watermark(start),
                        Err(error) => response.with_low_watermark(NONE).with_error_code(code(error)),
                    }
                })
                .collect();
            topics.push(DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions));
        }
        DeleteRecordsResponse::default().with_topics(topics)
    }

    fn delete_before(&mut self, name: &TopicName, partition: i32, offset: i64) -> Result<i64, ResponseError> {
        let topic = self.topics.get_mut(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let id = topic.id;
        let (log, config) = topic.log(partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
        if !config.log.delete {
            return Err(ResponseError::PolicyViolation);
        }
        let end = log.end_offset();
        let offset = if offset == TO_THE_END { end } else { offset };
        if offset < 0 || offset > end {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let start = log.start_offset();
        if offset <= start {
            return Ok(start);
        }
        self.move_log_starts(vec![Entry::LogStart { id, partition, offset }])?;
        Ok(offset)
    }

    /// Moves the starts of logs: written down first, for a segment that is gone cannot say where the next one began.
    pub(super) fn move_log_starts(&mut self, entries: Vec<Entry>) -> Result<(), ResponseError> {
        self.record(&entries)?;
        self.sync_journal()?;
        for entry in entries {
            let Entry::LogStart { id, partition, offset } = entry else { continue };
            self.topics.play(entry, &self.defaults);
            if let Some((log, _)) = self.topics.by_id_mut(id).and_then(|topic| topic.log(partition))
                && let Err(error) = log.retire_before(&*self.store, offset)
            {
                // What is left before the start is never read again and goes with the next deletion.
                tracing::warn!(partition, "cannot remove old segments now: {error}");
            }
        }
        Ok(())
    }

    pub(super) fn describe_producers(&mut self, request: DescribeProducersRequest) -> DescribeProducersResponse {
        let mut topics = Vec::new();
        for topic in request.topics {
            let mut partitions = Vec::new();
            for index in topic.partition_indexes {
                let response = PartitionResponse::default().with_partition_index(index);
                partitions.push(match self.topics.log(&topic.name, index) {
                    Err(error) => response.with_error_code(code(error)),
                    Ok((log, _)) => {
                        let producers = log
                            .producers()
                            .map(|(id, producer)| {
                                ProducerState::default()
                                    .with_producer_id(ProducerId(*id))
                                    .with_producer_epoch(i32::from(producer.epoch))
                                    .with_last_sequence(producer.last_sequence())
                                    .with_last_timestamp(producer.last_timestamp_ms)
                                    .with_coordinator_epoch(-1)
                                    .with_current_txn_start_offset(producer.transaction_start.unwrap_or(NONE))
                            })
                            .collect();
                        response.with_active_producers(producers)
                    }
                });
            }
            topics.push(TopicResponse::default().with_name(topic.name).with_partitions(partitions));
        }
        DescribeProducersResponse::default().with_topics(topics)
    }

    pub(super) fn describe_log_dirs(&self, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
        let wanted = |name: &str, partition: i32| {
            request.topics.as_ref().is_none_or(|topics| {
                topics.iter().any(|topic| topic.topic.as_str() == name && topic.partitions.contains(&partition))
            })
        };
        let topics = self
            .topics
            .iter()
            .filter_map(|topic| {
                let partitions: Vec<_> = (0..)
                    .zip(&topic.partitions)
                    .filter(|(index, _)| wanted(&topic.name, *index))
                    .map(|(index, log)| {
                        let size = i64::try_from(log.size()).unwrap_or(i64::MAX);
                        DescribeLogDirsPartition::default().with_partition_index(index).with_partition_size(size)
                    })
                    .collect();
                let described = DescribeLogDirsTopic::default().with_name(topic.wire_name());
                (!partitions.is_empty()).then(|| described.with_partitions(partitions))
            })
            .collect();
        let folder = DescribeLogDirsResult::default()
            .with_log_dir(self.store.location().into())
            .with_topics(topics)
            .with_total_bytes(UNKNOWN_SIZE)
            .with_usable_bytes(UNKNOWN_SIZE);
        DescribeLogDirsResponse::default().with_results(vec![folder])
    }
}
