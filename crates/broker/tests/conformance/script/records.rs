//! Writing, reading, looking up and deleting records; the common questions in every version.

use super::groups::find_coordinator;
use super::*;
use bytes::Bytes;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_producers_request::TopicRequest as DescribeProducersTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use kurier_kafka::batch::{Builder, BuilderOptions, Compression, Stamp};
use uuid::Uuid;

pub(super) fn batch(values: &[(Option<&str>, Option<&str>)], compression: Compression, stamp: Stamp) -> Bytes {
    let mut builder = Builder::new(BuilderOptions { compression, ..BuilderOptions::default() });
    for (delta, (key, value)) in (0..).zip(values) {
        assert!(builder.try_push(TIME + delta, key.map(str::as_bytes), value.map(str::as_bytes), &[]));
    }
    let mut batch = builder.finish().expect("small batches are built");
    batch.stamp(stamp);
    batch.seal()
}

pub(super) fn plain(values: &[&str]) -> Bytes {
    let records: Vec<_> = values.iter().map(|value| (None, Some(*value))).collect();
    batch(&records, Compression::None, Stamp::NONE)
}

pub(super) fn produce(
    name: &'static str,
    version: i16,
    to: &'static str,
    partition: i32,
    acks: i16,
    records: Option<Bytes>,
) -> Step {
    step(name, ApiKey::Produce, version, move |known| {
        let data = PartitionProduceData::default().with_index(partition).with_records(records.clone());
        let data = TopicProduceData::default().with_partition_data(vec![data]);
        let data = if version >= 13 {
            data.with_topic_id(known.topics.get(to).copied().unwrap_or(Uuid::from_u128(99)))
        } else {
            data.with_name(topic(to))
        };
        RequestKind::Produce(
            ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![data]),
        )
    })
}

pub(super) struct Read {
    pub(super) of: &'static str,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) max_bytes: i32,
    pub(super) isolation: i8,
    pub(super) epoch: i32,
}

pub(super) const READ: Read = Read { of: "t", partition: 0, offset: 0, max_bytes: 1 << 20, isolation: 0, epoch: -1 };

pub(super) fn fetch(name: &'static str, version: i16, read: Read) -> Step {
    step(name, ApiKey::Fetch, version, move |known| {
        let partition = FetchPartition::default()
            .with_partition(read.partition)
            .with_fetch_offset(read.offset)
            .with_current_leader_epoch(read.epoch)
            .with_partition_max_bytes(read.max_bytes);
        let wanted = FetchTopic::default().with_partitions(vec![partition]);
        let wanted = if version >= 13 {
            wanted.with_topic_id(known.topics.get(read.of).copied().unwrap_or(Uuid::from_u128(99)))
        } else {
            wanted.with_topic(topic(read.of))
        };
        let request = FetchRequest::default().with_max_wait_ms(100).with_min_bytes(1).with_max_bytes(1 << 20);
        RequestKind::Fetch(
            request.with_isolation_level(read.isolation).with_session_epoch(-1).with_topics(vec![wanted]),
        )
    })
    .repeatable()
}

pub(super) fn list_offsets(name: &'static str, version: i16, of: &'static str, partition: i32, time: i64) -> Step {
    step(name, ApiKey::ListOffsets, version, move |_| {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(time)
            .with_current_leader_epoch(-1);
        let wanted = ListOffsetsTopic::default().with_name(topic(of)).with_partitions(vec![partition]);
        RequestKind::ListOffsets(ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![wanted]))
    })
    .repeatable()
}

pub(super) fn records() -> Vec<Step> {
    let good = plain(&["a", "b"]);
    let mut flipped = good.to_vec();
    let last = flipped.len() - 2;
    flipped[last] ^= 1;
    let mut old = good.to_vec();
    old[16] = 1;
    let patched = |patch: fn(&mut [u8])| {
        let mut bytes = good.to_vec();
        patch(&mut bytes);
        let crc = crc_fast::crc32_iscsi(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        Some(Bytes::from(bytes))
    };
    // As if there were five.
    let miscounted = patched(|bytes| (bytes[26], bytes[60]) = (4, 5));
    let cut_off = patched(|bytes| bytes[61] = 2);
    let stamped = patched(|bytes| bytes[22] |= 8);
    let producer =
        |sequence: i32| Stamp { producer_id: 4000, producer_epoch: 0, base_sequence: sequence, transactional: false };
    let numbered = |sequence: i32| batch(&[(None, Some("x"))], Compression::None, producer(sequence));
    let timed = creatable("timed", 1, &[("message.timestamp.type", Some("LogAppendTime"))]);
    let mut steps = vec![
        create("a topic with the broker's timestamps", 7, vec![timed]),
        produce("produce", 3, "t", 0, -1, Some(good.clone())),
        produce("produce with version 9", 9, "t", 0, 1, Some(good.clone())),
        produce("produce by id", 13, "t", 0, -1, Some(good.clone())),
        produce("produce to an unknown id", 13, "missing", 0, -1, Some(good.clone())),
        produce("produce to a missing topic", 9, "missing", 0, -1, Some(good.clone())),
        produce("produce to a missing partition", 9, "t", 77, -1, Some(good.clone())),
        produce("produce with acks of 5", 9, "t", 0, 5, Some(good.clone())),
        produce("produce a changed byte", 9, "t", 0, -1, Some(flipped.into())),
        produce("produce fewer records than are announced", 9, "t", 0, -1, miscounted),
        produce("produce a record of another length", 9, "t", 0, -1, cut_off),
        produce("produce with the broker's timestamps", 9, "t", 0, -1, stamped.clone()),
        produce("produce with the broker's timestamps to a timed topic", 9, "timed", 0, -1, stamped),
        produce("produce two batches", 9, "t", 0, -1, Some([&good[..], &good[..]].concat().into())),
        produce("produce without a key to a table", 9, "table", 0, -1, Some(good.clone())),
        produce("produce too much", 9, "t", 0, -1, Some(plain(&[&"x".repeat(1_100_000)]))),
        produce("produce with a sequence", 9, "t", 1, -1, Some(numbered(0))),
        produce("produce the next sequence", 9, "t", 1, -1, Some(numbered(1))),
        produce("repeat a sequence", 9, "t", 1, -1, Some(numbered(0))),
        produce("leave a sequence out", 9, "t", 1, -1, Some(numbered(5))),
        produce(
            "produce to a table",
            9,
            "table",
            0,
            -1,
            Some(batch(&[(Some("k"), Some("v")), (Some("k"), None)], Compression::None, Stamp::NONE)),
        ),
        fetch("fetch", 4, READ),
        fetch("fetch with version 12", 12, READ),
        fetch("fetch by id", 13, READ),
        fetch("fetch by id, version 17", 17, READ),
        fetch("fetch an unknown id", 13, Read { of: "missing", ..READ }),
        fetch("fetch a missing topic", 12, Read { of: "missing", ..READ }),
        fetch("fetch a missing partition", 12, Read { partition: 44, ..READ }),
        fetch("fetch from within a batch", 12, Read { offset: 3, ..READ }),
        fetch("fetch one byte", 12, Read { max_bytes: 1, ..READ }),
        fetch("fetch at the end", 12, Read { offset: 6, ..READ }),
        fetch("fetch beyond the end", 12, Read { offset: 7, ..READ }),
        fetch("fetch before the start", 12, Read { offset: -5, ..READ }),
        fetch("fetch committed", 12, Read { isolation: 1, ..READ }),
        fetch("fetch of a newer leader", 12, Read { epoch: 9, ..READ }),
        list_offsets("latest", 1, "t", 0, -1),
        list_offsets("latest, version 7", 7, "t", 0, -1),
        list_offsets("earliest", 7, "t", 0, -2),
        list_offsets("largest time", 7, "t", 0, -3),
        list_offsets("earliest local", 8, "t", 0, -4),
        list_offsets("latest tiered", 9, "t", 0, -5),
        list_offsets("no such time", 7, "t", 0, -9),
        list_offsets("a time before all", 7, "t", 0, 0),
        list_offsets("a time of a record", 7, "t", 0, TIME + 1),
        list_offsets("a time after all", 7, "t", 0, TIME + 2),
        list_offsets("a time in an empty partition", 7, "t", 2, TIME),
        list_offsets("offsets of a missing partition", 7, "t", 9, -1),
        step("offset for an epoch", ApiKey::OffsetForLeaderEpoch, 4, |_| {
            let partition = |current: i32, asked: i32| {
                OffsetForLeaderPartition::default()
                    .with_partition(0)
                    .with_current_leader_epoch(current)
                    .with_leader_epoch(asked)
            };
            let missing = OffsetForLeaderPartition::default().with_partition(50).with_current_leader_epoch(-1);
            let wanted = OffsetForLeaderTopic::default().with_topic(topic("t")).with_partitions(vec![
                partition(-1, 0),
                partition(0, 3),
                partition(4, 0),
                missing,
            ]);
            RequestKind::OffsetForLeaderEpoch(
                OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![wanted]),
            )
        }),
        step("describe producers", ApiKey::DescribeProducers, 0, |_| {
            let wanted = DescribeProducersTopic::default().with_name(topic("t")).with_partition_indexes(vec![1, 0, 60]);
            RequestKind::DescribeProducers(DescribeProducersRequest::default().with_topics(vec![wanted]))
        }),
        delete_records("delete records", "t", 0, 2),
        delete_records("delete records again", "t", 0, 1),
        delete_records("delete records beyond the end", "t", 0, 99),
        delete_records("delete records of a table", "table", 0, 1),
        delete_records("delete records of a missing partition", "t", 70, 1),
        fetch("fetch what is deleted", 12, READ),
        list_offsets("earliest after deleting", 7, "t", 0, -2),
        delete_records("delete all records", "t", 0, -1),
        list_offsets("earliest after deleting all", 7, "t", 0, -2),
    ];
    for compression in Compression::ALL {
        let records = batch(&[(Some("k"), Some("v")), (Some("l"), Some("w"))], compression, Stamp::NONE);
        steps.push(produce("produce compressed", 9, "manual", 0, -1, Some(records)));
    }
    steps.push(fetch("fetch compressed", 12, Read { of: "manual", ..READ }));
    steps.push(list_offsets("a time in compressed records", 7, "manual", 0, TIME + 1));
    steps
}

pub(super) fn delete_records(name: &'static str, of: &'static str, partition: i32, offset: i64) -> Step {
    step(name, ApiKey::DeleteRecords, 2, move |_| {
        let partition = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
        let wanted = DeleteRecordsTopic::default().with_name(topic(of)).with_partitions(vec![partition]);
        RequestKind::DeleteRecords(DeleteRecordsRequest::default().with_topics(vec![wanted]).with_timeout_ms(10_000))
    })
}

/// The common questions in every version that this broker serves.
pub(super) fn versions() -> Vec<Step> {
    let mut steps = Vec::new();
    for version in 0..=13 {
        steps.push(metadata("metadata in every version", version, &["t", "table"]));
    }
    for version in 3..=13 {
        steps.push(produce("produce in every version", version, "old", 0, -1, Some(plain(&["a"]))));
    }
    for version in 4..=17 {
        steps.push(fetch("fetch in every version", version, Read { of: "old", ..READ }));
        steps.push(fetch("fetch beyond the end in every version", version, Read { of: "old", offset: 99, ..READ }));
    }
    for version in 1..=10 {
        for time in [-1, -2, TIME] {
            steps.push(list_offsets("offsets in every version", version, "old", 0, time));
        }
    }
    for version in 0..=6 {
        steps.push(find_coordinator("coordinator in every version", version, 0, "g"));
    }
    for version in 1..=4 {
        steps.push(describe_configs("configs in every version", version, 2, "old", None));
    }
    for version in 2..=4 {
        steps.push(step("offset for an epoch in every version", ApiKey::OffsetForLeaderEpoch, version, |_| {
            let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(-1).with_leader_epoch(0);
            let wanted = OffsetForLeaderTopic::default().with_topic(topic("old")).with_partitions(vec![partition]);
            RequestKind::OffsetForLeaderEpoch(OffsetForLeaderEpochRequest::default().with_topics(vec![wanted]))
        }));
    }
    steps
}
