//! `Produce`: batches are checked at the door, judged by their producer's sequence, and appended as they came.
//!
//! Records are walked through, so that what nobody could read is not taken. Compressed ones are not opened, except for compacted topics, where each must
//! have a key, and for topics with a compression of their own (`compression.type`): a broker that inflates every batch costs more than all the rest of it.

use std::io;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, ResponseKind};
use kurier_kafka::batch::{
    Batch, BatchError, BatchHeader, Batches, Compression, Scratch, TimestampType, recompress, validate,
    validate_records,
};
use uuid::Uuid;

use super::transactions::{Membership, PRODUCE_ADDS_VERSION};
use super::{Broker, Outcome, code};
use crate::log::Verdict;
use crate::topic_config::TopicConfig;

/// First version of `Produce` that may carry zstd.
const ZSTD_VERSION: i16 = 7;
/// First version of `Produce` that names topics by id.
const TOPIC_ID_VERSION: i16 = 13;
/// First version whose answer has a text beside an error.
const MESSAGE_VERSION: i16 = 8;
/// "No timestamp of the broker's": the producer's own counts.
const NO_APPEND_TIME: i64 = -1;

/// Why a batch is not taken.
struct Refusal {
    error: ResponseError,
    /// Empty when the error says it all.
    reason: String,
    /// Told only where the log itself refused.
    log_start: i64,
    /// Records, by their place in the batch, that are to blame.
    records: Vec<i32>,
}

impl Refusal {
    fn new(error: ResponseError, reason: impl Into<String>) -> Self {
        Self { error, reason: reason.into(), log_start: -1, records: Vec::new() }
    }

    fn by_log(error: ResponseError, log_start: i64) -> Self {
        Self { log_start, ..Self::new(error, "") }
    }
}

/// Where a batch lies.
struct Appended {
    base_offset: i64,
    append_time: i64,
    log_start: i64,
}

impl Broker {
    pub(super) fn produce(&mut self, version: i16, request: ProduceRequest) -> Outcome {
        let acks = request.acks;
        let transactional_id = request.transactional_id.as_ref().map(|id| id.as_str());
        let mut failed = None;
        let responses = request
            .topic_data
            .into_iter()
            .map(|topic| self.produce_to_topic(version, acks, transactional_id, topic, &mut failed))
            .collect();
        match (acks, failed) {
            (0, None) => Outcome::Silence,
            // The only way to tell a producer that wants no answers.
            (0, Some(error)) => {
                Outcome::Close(format!("it produced without waiting for an answer, and that failed: {error}"))
            }
            _ => Outcome::Answer(ResponseKind::Produce(ProduceResponse::default().with_responses(responses))),
        }
    }

    fn produce_to_topic(
        &mut self,
        version: i16,
        acks: i16,
        transactional_id: Option<&str>,
        data: TopicProduceData,
        failed: &mut Option<ResponseError>,
    ) -> TopicProduceResponse {
        let by_id = version >= TOPIC_ID_VERSION;
        let id = if by_id {
            self.topics.by_id(data.topic_id).map(|topic| topic.id).ok_or(ResponseError::UnknownTopicId)
        } else {
            self.topics.get(&data.name).map(|topic| topic.id).ok_or(ResponseError::UnknownTopicOrPartition)
        };
        let partitions = data
            .partition_data
            .into_iter()
            .map(|partition| {
                let index = partition.index;
                let result = id
                    .map_err(|error| Refusal::new(error, ""))
                    .and_then(|id| self.produce_to_partition(version, acks, transactional_id, id, partition));
                let response = PartitionProduceResponse::default().with_index(index);
                match result {
                    Ok(appended) => response
                        .with_base_offset(appended.base_offset)
                        .with_log_append_time_ms(appended.append_time)
                        .with_log_start_offset(appended.log_start),
                    Err(refusal) => {
                        failed.get_or_insert(refusal.error);
                        let response = response
                            .with_error_code(code(refusal.error))
                            .with_base_offset(-1)
                            .with_log_append_time_ms(NO_APPEND_TIME)
                            .with_log_start_offset(refusal.log_start);
                        if version < MESSAGE_VERSION {
                            return response;
                        }
                        let records = refusal
                            .records
                            .into_iter()
                            .map(|index| {
                                BatchIndexAndErrorMessage::default()
                                    .with_batch_index(index)
                                    .with_batch_index_error_message(Some(refusal.reason.clone().into()))
                            })
                            .collect();
                        let reason = (!refusal.reason.is_empty()).then(|| refusal.reason.into());
                        response.with_record_errors(records).with_error_message(reason)
                    }
                }
            })
            .collect();
        let response = TopicProduceResponse::default().with_partition_responses(partitions);
        if by_id { response.with_topic_id(data.topic_id) } else { response.with_name(data.name) }
    }

    fn produce_to_partition(
        &mut self,
        version: i16,
        acks: i16,
        transactional_id: Option<&str>,
        topic_id: Uuid,
        data: PartitionProduceData,
    ) -> Result<Appended, Refusal> {
        let plain = |error| Refusal::new(error, "");
        if !(-1..=1).contains(&acks) {
            return Err(Refusal::new(
                ResponseError::InvalidRequiredAcks,
                format!("acks can be 0, 1 or -1 (all), not {acks}."),
            ));
        }
        let records = data.records.unwrap_or_default();
        let now_ms = self.now.unix_ms;
        let topic = self.topics.by_id_mut(topic_id).ok_or_else(|| plain(ResponseError::UnknownTopicOrPartition))?;
        let name = topic.name.clone();
        let (log, config) = topic.log(data.index).ok_or_else(|| plain(ResponseError::UnknownTopicOrPartition))?;
        let header = check_batch(&records, config, version, now_ms)?;
        check_records(&header, &records, config, &mut self.scratch, log.start_offset())?;
        let mut adds = false;
        if header.is_transactional() {
            let membership = self.transactions.check_write(version, transactional_id, &header, &name, data.index);
            adds = membership.map_err(refused_transaction)? == Membership::ToBeAdded;
        }
        if adds {
            let added = self.add_written(transactional_id.unwrap_or_default(), &header, &name, data.index);
            added.map_err(|error| match error {
                // Of what a coordinator answers, producers ask again for this.
                ResponseError::NotCoordinator => plain(ResponseError::NotEnoughReplicas),
                error => plain(error),
            })?;
        }
        let topic = self.topics.by_id_mut(topic_id).ok_or_else(|| plain(ResponseError::UnknownTopicOrPartition))?;
        let (log, config) = topic.log(data.index).ok_or_else(|| plain(ResponseError::UnknownTopicOrPartition))?;
        let append_time = if config.log.log_append_time { now_ms } else { NO_APPEND_TIME };
        if header.has_producer() {
            match log.check_producer(&header) {
                // Every transaction of the second version has an epoch of its own: what does not begin it lacks what comes before it.
                Verdict::Append
                    if header.is_transactional()
                        && version >= PRODUCE_ADDS_VERSION
                        && header.base_sequence != 0
                        && !log.knows_producer(header.producer_id) =>
                {
                    return Err(Refusal::by_log(ResponseError::OutOfOrderSequenceNumber, log.start_offset()));
                }
                Verdict::Append => {}
                Verdict::Duplicate { base_offset, timestamp_ms } => {
                    log.flush_if_due(&config.log).map_err(|error| unwritten(&name, data.index, &error))?;
                    return Ok(Appended { base_offset, append_time: timestamp_ms, log_start: log.start_offset() });
                }
                Verdict::OutOfOrder => {
                    return Err(Refusal::by_log(ResponseError::OutOfOrderSequenceNumber, log.start_offset()));
                }
                Verdict::StaleEpoch => {
                    return Err(Refusal::by_log(ResponseError::InvalidProducerEpoch, log.start_offset()));
                }
            }
        }
        let (records, header) = match config.compression {
            Some((wanted, level)) if header.compression().is_ok_and(|found| found != wanted) => {
                let batch = checked_batch(&records)?;
                validate_records(&batch, &mut self.scratch).map_err(refused_batch)?;
                let records = recompress(&batch, &mut self.scratch, wanted, level).map_err(refused_batch)?;
                let header = validate(&records).map_err(refused_batch)?;
                check_size(&header, config)?;
                (records, header)
            }
            _ => (records, header),
        };
        let base_offset = log
            .append(&*self.store, &config.log, now_ms, &records, &header)
            .map_err(|error| unwritten(&name, data.index, &error))?;
        let appended = Appended { base_offset, append_time, log_start: log.start_offset() };
        let flush_ms = config.log.flush_ms;
        self.schedule_flush(flush_ms);
        self.awakened.extend(self.fetches.appended(topic_id, data.index, records.len()));
        Ok(appended)
    }
}

/// A batch could not be written, or not be flushed.
fn unwritten(topic: &str, partition: i32, error: &io::Error) -> Refusal {
    tracing::error!(topic, partition, "cannot append: {error}; producers are told to try again, free some space");
    let reason = format!("The broker cannot write to its data folder: {error}");
    Refusal::new(ResponseError::KafkaStorageError, reason)
}

/// Checks everything about a batch that does not need its records.
fn check_batch(records: &[u8], config: &TopicConfig, version: i16, now_ms: i64) -> Result<BatchHeader, Refusal> {
    let invalid = |reason: &str| Refusal::new(ResponseError::InvalidRecord, reason);
    let header = validate(records).map_err(refused_batch)?;
    if header.size != records.len() {
        return Err(invalid("A produce request must contain exactly one record batch for each partition."));
    }
    if header.is_control() {
        return Err(invalid("Clients are not allowed to write control records."));
    }
    if header.has_delete_horizon() {
        return Err(invalid("Only a broker sets a delete horizon."));
    }
    if header.record_count == 0 || header.last_offset_delta != header.record_count - 1 {
        return Err(invalid("The record count of the batch does not agree with its offsets."));
    }
    if header.has_producer() && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return Err(invalid("A batch with a producer id must have an epoch and a sequence number."));
    }
    if header.is_transactional() && !header.has_producer() {
        return Err(invalid("A transactional batch must have a producer id."));
    }
    if version < ZSTD_VERSION && header.compression().is_ok_and(|compression| compression == Compression::Zstd) {
        let reason = "Produce requests before version 7 may not be compressed by zstd.";
        return Err(Refusal::new(ResponseError::UnsupportedCompressionType, reason));
    }
    check_size(&header, config)?;
    if !config.log.log_append_time {
        let latest = now_ms.saturating_add(config.timestamp_after_max_ms);
        let earliest = now_ms.saturating_sub(config.timestamp_before_max_ms);
        let has_time = header.max_timestamp >= 0;
        if has_time && (header.max_timestamp > latest || header.base_timestamp < earliest) {
            let reason = format!(
                "Timestamps from {} to {} are outside of the range [{earliest}, {latest}] that the topic allows.",
                header.base_timestamp, header.max_timestamp
            );
            return Err(Refusal::new(ResponseError::InvalidTimestamp, reason));
        }
    }
    Ok(header)
}

/// A batch that is stored otherwise than it came has to fit in both forms, as in Apache Kafka.
fn check_size(header: &BatchHeader, config: &TopicConfig) -> Result<(), Refusal> {
    if header.size > config.max_message_bytes {
        let reason = format!(
            "The record batch size is {} bytes which exceeds the maximum configured value of {}.",
            header.size, config.max_message_bytes
        );
        return Err(Refusal::new(ResponseError::MessageTooLarge, reason));
    }
    if header.size as u64 > config.log.segment_bytes {
        let reason = format!(
            "The record batch of {} bytes exceeds the segment size of {}.",
            header.size, config.log.segment_bytes
        );
        return Err(Refusal::new(ResponseError::RecordListTooLarge, reason));
    }
    Ok(())
}

/// What [`check_batch`] has found good.
fn checked_batch(records: &Bytes) -> Result<Batch, Refusal> {
    let batch = Batches::without_crc_check(records.clone()).next();
    batch.expect("one whole batch").map_err(refused_batch)
}

/// Checks the records of a batch, unless they are compressed and nothing is asked of them.
fn check_records(
    header: &BatchHeader,
    records: &Bytes,
    config: &TopicConfig,
    scratch: &mut Scratch,
    log_start: i64,
) -> Result<(), Refusal> {
    // That is the broker's to say.
    if config.log.log_append_time && header.timestamp_type() == TimestampType::LogAppendTime {
        let reason = "Invalid timestamp type in message. Producers must not set it to LogAppendTime.";
        let records = (0..header.record_count).collect();
        return Err(Refusal { log_start, records, ..Refusal::new(ResponseError::InvalidTimestamp, reason) });
    }
    if !config.log.compact && header.compression().is_ok_and(|compression| compression != Compression::None) {
        return Ok(());
    }
    let batch = checked_batch(records)?;
    validate_records(&batch, scratch).map_err(|error| Refusal { log_start, ..refused_batch(error) })?;
    if config.log.compact { check_keys(&batch, scratch, log_start) } else { Ok(()) }
}

/// In a compacted topic a record without a key could never be replaced.
fn check_keys(batch: &Batch, scratch: &mut Scratch, log_start: i64) -> Result<(), Refusal> {
    let mut keyless = Vec::new();
    for (index, record) in (0..).zip(&batch.records(scratch).map_err(refused_batch)?) {
        if record.map_err(refused_batch)?.key.is_none() {
            keyless.push(index);
        }
    }
    if keyless.is_empty() {
        return Ok(());
    }
    let reason = "Compacted topic cannot accept message without key.";
    Err(Refusal { log_start, records: keyless, ..Refusal::new(ResponseError::InvalidRecord, reason) })
}

fn refused_transaction(error: ResponseError) -> Refusal {
    let reason = match error {
        ResponseError::InvalidTxnState => "Partition was not added to the transaction",
        _ => "",
    };
    Refusal::new(error, reason)
}

fn refused_batch(error: BatchError) -> Refusal {
    let kind = match &error {
        BatchError::OldFormat { .. } | BatchError::UnknownFormat { .. } => ResponseError::UnsupportedForMessageFormat,
        BatchError::Checksum { .. } | BatchError::Incomplete { .. } => ResponseError::CorruptMessage,
        _ => ResponseError::InvalidRecord,
    };
    Refusal::new(kind, error.to_string())
}
