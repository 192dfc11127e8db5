//! Producing, fetching, looking up.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest};
use kurier_kafka::batch::Compression;

use super::*;

fn text(values: &[(i64, &str)]) -> Vec<(i64, String)> {
    values.iter().map(|(offset, value)| (*offset, (*value).to_owned())).collect()
}

#[test]
fn batches_get_offsets_and_are_read_from_any_of_them() {
    let mut rig = Rig::new(BrokerConfig::default());
    assert_eq!(rig.create_topic("t", 2, &[("internal.segment.bytes", "200")]), 0);
    for start in [0, 3, 6, 9] {
        let response = rig.produce("t", 1, batch(&["a", "b", "c"]));
        assert_eq!((response.error_code, response.base_offset, response.log_append_time_ms), (0, start, -1));
    }
    assert_eq!(rig.read_all("t", 0), []);
    for _ in 0..3 {
        assert_eq!(rig.read_all("t", 1).len(), 12);
        for offset in 0..12 {
            let data = rig.fetch("t", 1, offset, 0);
            let first = Batches::new(data.records.unwrap()).next().unwrap().unwrap();
            assert_eq!(first.header().base_offset, offset - offset % 3);
            assert_eq!((data.high_watermark, data.last_stable_offset, data.log_start_offset), (12, 12, 0));
        }
        rig.restart();
    }
    assert_eq!(rig.fetch("t", 1, 12, 0).records.unwrap(), Bytes::new());
    assert_eq!(rig.fetch("t", 1, 13, 0).error_code, ResponseError::OffsetOutOfRange.code());
    assert_eq!(rig.fetch("t", 2, 0, 0).error_code, ResponseError::UnknownTopicOrPartition.code());
}

#[test]
fn batches_that_are_not_sound_are_refused_with_the_right_error() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[("max.message.bytes", "150")]);
    rig.create_topic("table", 1, &[("cleanup.policy", "compact")]);
    let good = batch(&["a"]);
    let flipped = |at: usize| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0x55;
        Bytes::from(bytes)
    };
    let two = Bytes::from([&good[..], &good[..]].concat());
    let cases: Vec<(&str, &str, Bytes, ResponseError)> = vec![
        ("t", "nothing", Bytes::new(), ResponseError::CorruptMessage),
        ("t", "a cut batch", good.slice(..good.len() - 1), ResponseError::CorruptMessage),
        ("t", "a changed byte", flipped(good.len() - 2), ResponseError::CorruptMessage),
        ("t", "another format", flipped(16), ResponseError::UnsupportedForMessageFormat),
        ("t", "two batches", two, ResponseError::InvalidRecord),
        ("t", "too large", batch(&[&"x".repeat(200)]), ResponseError::MessageTooLarge),
        ("t", "no sequence", stamped(&["a"], sequence(5, 0, -1)), ResponseError::InvalidRecord),
        (
            "t",
            "no transaction",
            stamped(&["a"], Stamp { transactional: true, ..sequence(5, 0, 0) }),
            ResponseError::InvalidTxnState,
        ),
        (
            "t",
            "the far future",
            keyed(&[(None, Some("a"))], 1_800_000_000_000, Stamp::NONE),
            ResponseError::InvalidTimestamp,
        ),
        ("table", "no key", batch(&["a"]), ResponseError::InvalidRecord),
        ("none", "no topic", good.clone(), ResponseError::UnknownTopicOrPartition),
    ];
    for (topic, name, bytes, error) in cases {
        let response = rig.produce(topic, 0, bytes);
        assert_eq!(response.error_code, error.code(), "{name}");
        assert_eq!(response.base_offset, -1, "{name}");
    }
    assert_eq!(rig.read_all("t", 0), []);
}

#[test]
fn a_repeated_batch_is_answered_with_its_offset_and_stored_once() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[]);
    for round in 0..3 {
        for number in 0..5 {
            let response = rig.produce("t", 0, stamped(&["a"], sequence(9, 0, number)));
            assert_eq!((response.error_code, response.base_offset), (0, i64::from(number)), "round {round}");
        }
        rig.kill();
    }
    let gap = rig.produce("t", 0, stamped(&["a"], sequence(9, 0, 7)));
    assert_eq!(gap.error_code, ResponseError::OutOfOrderSequenceNumber.code());
    assert_eq!(rig.produce("t", 0, stamped(&["b"], sequence(9, 1, 0))).base_offset, 5);
    let stale = rig.produce("t", 0, stamped(&["a"], sequence(9, 0, 5)));
    assert_eq!(stale.error_code, ResponseError::InvalidProducerEpoch.code());
    assert_eq!(rig.read_all("t", 0).len(), 6);
}

#[test]
fn a_fetch_waits_for_enough_bytes_or_for_its_time() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[]);
    let one = batch(&["one"]);
    let wanted = i32::try_from(one.len() * 2).unwrap();
    let request = fetch_request("t", 0, 0).with_max_wait_ms(500).with_min_bytes(wanted);
    let reader = ConnectionId(2);
    let waiting = rig.send(reader, 12, RequestKind::Fetch(request.clone()));
    let behind = rig.send(reader, 3, RequestKind::ApiVersions(ApiVersionsRequest::default()));
    assert_eq!(rig.produce("t", 0, one.clone()).error_code, 0);
    assert!(rig.take(waiting).is_none() && rig.take(behind).is_none());
    assert_eq!(rig.produce("t", 0, one.clone()).error_code, 0);
    let Some(ResponseKind::Fetch(response)) = rig.take(waiting) else { panic!("there is enough") };
    assert_eq!(response.responses[0].partitions[0].records.as_ref().unwrap().len(), one.len() * 2);
    assert!(rig.take(behind).is_some(), "the next request of the connection has its turn");

    let late = fetch_request("t", 0, 2).with_max_wait_ms(500).with_min_bytes(1);
    let waiting = rig.send(reader, 12, RequestKind::Fetch(late.clone()));
    rig.pass(Duration::from_millis(499));
    assert!(rig.take(waiting).is_none());
    rig.pass(Duration::from_millis(1));
    assert!(rig.take(waiting).is_some());

    // A client that goes away leaves nothing behind that wakes.
    let gone = rig.send(reader, 12, RequestKind::Fetch(late));
    let (now, mut replies) = (rig.now, Vec::new());
    rig.broker.closed(now, reader, &mut replies);
    assert_eq!(rig.produce("t", 0, one).error_code, 0);
    assert!(rig.take(gone).is_none());
}

#[test]
fn a_large_batch_comes_whole_and_limits_hold_beyond_it() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[]);
    let large = batch(&[&"x".repeat(9000)]);
    for _ in 0..3 {
        assert_eq!(rig.produce("t", 0, large.clone()).error_code, 0);
    }
    for (limit, batches) in [(1, 1), (large.len() * 2 - 1, 1), (large.len() * 2, 2), (large.len() * 9, 3)] {
        let mut request = fetch_request("t", 0, 0).with_max_bytes(1 << 20);
        request.topics[0].partitions[0].partition_max_bytes = i32::try_from(limit).unwrap();
        let ResponseKind::Fetch(response) = rig.ask(12, RequestKind::Fetch(request)) else { panic!("a fetch") };
        let bytes = response.responses[0].partitions[0].records.clone().unwrap();
        assert_eq!(bytes.len(), large.len() * batches, "limit {limit}");
    }
}

#[test]
fn a_producer_that_wants_no_answer_gets_none_or_loses_its_connection() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[]);
    for (topic, wanted) in [("t", true), ("none", false)] {
        let request = produce_request(None, topic, 0, batch(&["a"])).with_acks(0);
        rig.send(ConnectionId(7), 9, RequestKind::Produce(request));
        let reply = rig.replies.pop().unwrap();
        assert_eq!(matches!(reply, Reply::Silence { .. }), wanted, "{reply:?}");
        assert_eq!(matches!(reply, Reply::Close { .. }), !wanted, "{reply:?}");
    }
    assert_eq!(rig.read_all("t", 0).len(), 1);
}

#[test]
fn records_without_a_journal_are_not_removed() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[]);
    rig.produce("t", 0, batch(&["a"]));
    let files = rig.store.files();
    rig.store.cut("journal", 0);
    let error = try_open(&rig.store, &rig.config, rig.now).err().expect("it is told").to_string();
    assert!(error.contains("no journal"), "{error}");
    assert_eq!(rig.store.files().len(), files.len());
}

#[test]
fn log_append_time_is_the_brokers() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let response = rig.produce("t", 0, keyed(&[(None, Some("a")), (None, Some("b"))], 5, Stamp::NONE));
    assert_eq!(response.log_append_time_ms, rig.now.unix_ms);
    let data = rig.fetch("t", 0, 0, 0);
    let batch = Batches::new(data.records.unwrap()).next().unwrap().unwrap();
    let records = batch.records(&mut Scratch::default()).unwrap();
    assert!(records.iter().all(|record| record.unwrap().timestamp == rig.now.unix_ms));
}

#[test]
fn a_topic_stores_records_in_its_own_compression() {
    for (own, stored) in
        [("producer", None), ("uncompressed", Some(Compression::None)), ("zstd", Some(Compression::Zstd))]
    {
        let mut rig = Rig::new(BrokerConfig::default());
        rig.create_topic("t", 1, &[("compression.type", own)]);
        for (number, compression) in (0..).zip(Compression::ALL) {
            let mut builder = Builder::new(BuilderOptions { compression, ..BuilderOptions::default() });
            assert!((0..2).all(|value: u8| builder.try_push(1_700_000_000_000, None, Some(&[b'0' + value]), &[])));
            let mut batch = builder.finish().unwrap();
            batch.stamp(sequence(9, 0, number * 2));
            let batch = batch.seal();
            for _ in 0..2 {
                let response = rig.produce("t", 0, batch.clone());
                assert_eq!(
                    (response.error_code, response.base_offset),
                    (0, i64::from(number) * 2),
                    "{own} {compression}"
                );
                rig.kill();
            }
            let bytes = rig.fetch("t", 0, i64::from(number) * 2, 0).records.unwrap();
            let found = Batches::new(bytes).next().unwrap().unwrap();
            assert_eq!(found.header().compression(), Ok(stored.unwrap_or(compression)), "{own} {compression}");
        }
        let values: Vec<_> = rig.read_all("t", 0).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["0", "1"].repeat(5), "{own}");
    }
}

#[test]
fn offsets_are_found_by_time_in_every_compression() {
    for compression in Compression::ALL {
        let mut rig = Rig::new(BrokerConfig::default());
        rig.create_topic("t", 1, &[("internal.segment.bytes", "300")]);
        for base in [10, 20, 30, 25] {
            let mut builder = Builder::new(BuilderOptions { compression, ..BuilderOptions::default() });
            for delta in 0..3 {
                assert!(builder.try_push(base + delta, None, Some(b"value"), &[]));
            }
            assert_eq!(rig.produce("t", 0, builder.finish().unwrap().seal()).error_code, 0);
        }
        for _ in 0..2 {
            for (time, found) in [
                (-1, (12, -1)),
                (-2, (0, -1)),
                (-3, (8, 32)),
                (0, (0, 10)),
                (11, (1, 11)),
                (13, (3, 20)),
                (23, (6, 30)),
                (32, (8, 32)),
                (33, (-1, -1)),
            ] {
                assert_eq!(rig.offset_and_time("t", 0, time), found, "{time} in {compression:?}");
            }
            rig.kill();
        }
    }
}

#[test]
fn old_data_goes_by_time_and_by_size_and_offsets_go_on() {
    for (config, kept) in [("retention.ms", 0), ("retention.bytes", 2)] {
        let mut rig = Rig::new(BrokerConfig::default());
        let one = batch(&["a"]);
        let segment = (one.len() + 1).to_string();
        rig.create_topic("t", 1, &[("internal.segment.bytes", &segment), (config, &segment)]);
        for _ in 0..5 {
            assert_eq!(rig.produce("t", 0, one.clone()).error_code, 0);
        }
        rig.pass(Duration::from_secs(60));
        assert_eq!(rig.read_all("t", 0).len(), kept, "{config}");
        rig.kill();
        assert_eq!(rig.produce("t", 0, one.clone()).base_offset, 5);
        assert_eq!(rig.read_all("t", 0).len(), kept + 1, "{config}");
    }
}

#[test]
fn old_records_and_records_without_time_share_segments() {
    for timestamp in [-1, 5, 1_600_000_000_000] {
        let mut rig = Rig::new(BrokerConfig::default());
        rig.create_topic("t", 1, &[("segment.ms", "1000"), ("retention.ms", "-1")]);
        for _ in 0..10 {
            assert_eq!(rig.produce("t", 0, keyed(&[(None, Some("a"))], timestamp, Stamp::NONE)).error_code, 0);
            rig.pass(Duration::from_secs(60));
        }
        let segments = rig.store.files().iter().filter(|(path, _)| path.ends_with(".log")).count();
        assert_eq!(segments, 1, "timestamp {timestamp}");
    }
}

#[test]
fn compaction_keeps_the_last_value_of_every_key_and_tombstones_for_their_time() {
    let mut rig = Rig::new(BrokerConfig::default());
    let configs = [
        ("cleanup.policy", "compact"),
        ("internal.segment.bytes", "100"),
        ("min.cleanable.dirty.ratio", "0"),
        ("delete.retention.ms", "100000"),
    ];
    rig.create_topic("t", 1, &configs);
    let records =
        [("a", Some("1")), ("b", Some("2")), ("a", Some("3")), ("b", None), ("c", Some("4")), ("end", Some("5"))];
    for (key, value) in records {
        assert_eq!(rig.produce("t", 0, keyed(&[(Some(key), value)], 7, Stamp::NONE)).error_code, 0);
    }
    rig.pass(Duration::from_secs(20));
    let expected = text(&[(2, "3"), (3, "null"), (4, "4"), (5, "5")]);
    assert_eq!(rig.read_all("t", 0), expected);
    rig.kill();
    assert_eq!(rig.read_all("t", 0), expected);
    // The next compaction after its time takes the tombstone.
    rig.pass(Duration::from_secs(200));
    for value in ["6", "7"] {
        assert_eq!(rig.produce("t", 0, keyed(&[(Some("end"), Some(value))], 7, Stamp::NONE)).error_code, 0);
    }
    rig.pass(Duration::from_secs(20));
    assert_eq!(rig.read_all("t", 0), text(&[(2, "3"), (4, "4"), (6, "6"), (7, "7")]));
}

#[test]
fn versions_that_are_not_served_end_the_connection_but_api_versions_is_answered() {
    let mut rig = Rig::new(BrokerConfig::default());
    let ResponseKind::ApiVersions(response) = rig.ask(99, RequestKind::ApiVersions(ApiVersionsRequest::default()))
    else {
        panic!("an answer to ApiVersions")
    };
    assert_eq!(response.error_code, ResponseError::UnsupportedVersion.code());
    assert!(response.api_keys.iter().any(|api| api.api_key == 18 && api.max_version == 4));
    rig.send(CLIENT, 99, RequestKind::Metadata(MetadataRequest::default()));
    assert!(matches!(rig.replies.pop(), Some(Reply::Close { reason, .. }) if reason.contains("version 99")));
}

#[test]
fn a_batch_that_could_not_be_flushed_is_not_acknowledged_when_it_comes_again() {
    let mut rig = Rig::new(BrokerConfig::default());
    rig.create_topic("t", 1, &[("flush.messages", "1")]);
    let storage_error = ResponseError::KafkaStorageError.code();
    rig.store.fail_syncs(true);
    for _ in 0..2 {
        let response = rig.produce("t", 0, stamped(&["a"], sequence(5, 0, 0)));
        assert_eq!((response.error_code, response.base_offset), (storage_error, -1));
    }
    rig.store.fail_syncs(false);
    let response = rig.produce("t", 0, stamped(&["a"], sequence(5, 0, 0)));
    assert_eq!((response.error_code, response.base_offset), (0, 0));
    rig.store.crash_machine(|_, _| 0);
    rig.kill();
    assert_eq!(rig.read_all("t", 0), text(&[(0, "a")]));
}

#[test]
fn whoever_writes_old_records_is_not_forgotten_for_it() {
    let old = |base: i32| keyed(&[(None, Some("a"))], 1_000_000_000_000, sequence(5, 0, base));
    let producer_id_expiration = Duration::from_secs(15 * 60);
    let mut rig = Rig::new(BrokerConfig { producer_id_expiration, ..BrokerConfig::default() });
    rig.create_topic("t", 1, &[("retention.ms", "-1")]);
    assert_eq!(rig.produce("t", 0, old(0)).base_offset, 0);
    for starts_anew in [false, true, false] {
        rig.pass(Duration::from_secs(60));
        assert_eq!(rig.produce("t", 0, old(0)).base_offset, 0, "it is known when it comes again");
        assert_eq!(rig.produce("t", 0, old(2)).error_code, ResponseError::OutOfOrderSequenceNumber.code());
        if starts_anew {
            rig.kill();
        }
    }
    rig.pass(producer_id_expiration + Duration::from_secs(60));
    assert_eq!(rig.produce("t", 0, old(2)).base_offset, 1, "after a long silence anybody is believed");
}
