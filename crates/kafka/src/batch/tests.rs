//! What must hold for encoder and decoder together, and for any bytes at all.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);
type OwnedRecord = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<OwnedHeader>);

fn bytes_or_null() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200))
}

fn record() -> impl Strategy<Value = OwnedRecord> {
    let header = (proptest::collection::vec(any::<u8>(), 0..10), bytes_or_null());
    let timestamp = prop_oneof![-1i64..3, 1_700_000_000_000i64..1_700_000_100_000, any::<i64>()];
    (timestamp, bytes_or_null(), bytes_or_null(), proptest::collection::vec(header, 0..4))
}

fn compression() -> impl Strategy<Value = Compression> {
    (0u8..5).prop_map(|id| Compression::from_id(id).unwrap())
}

fn options(compression: Compression) -> BuilderOptions {
    BuilderOptions { compression, target_bytes: 1 << 20, ..BuilderOptions::default() }
}

fn encode(records: &[OwnedRecord], compression: Compression) -> EncodedBatch {
    let mut builder = Builder::new(options(compression));
    for (timestamp, key, value, headers) in records {
        let headers: Vec<_> = headers.iter().map(|(key, value)| HeaderRef { key, value: value.as_deref() }).collect();
        let bound = record_size(key.as_deref(), value.as_deref(), &headers);
        let before = builder.plain_len();
        assert!(builder.try_push(*timestamp, key.as_deref(), value.as_deref(), &headers));
        assert!(builder.plain_len() - before + HEADER_LEN <= bound);
    }
    builder.finish().unwrap()
}

fn owned(record: &RecordRef<'_>) -> OwnedRecord {
    (
        record.timestamp,
        record.key.map(<[u8]>::to_vec),
        record.value.map(<[u8]>::to_vec),
        record.headers.map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec))).collect(),
    )
}

fn decode(bytes: &Bytes) -> Result<Vec<(i64, OwnedRecord)>, BatchError> {
    let mut scratch = Scratch::with_limit(1 << 20);
    let mut all = Vec::new();
    for batch in Batches::new(bytes.clone()) {
        for record in &batch?.records(&mut scratch)? {
            let record = record?;
            all.push((record.offset, owned(&record)));
        }
    }
    Ok(all)
}

/// A batch with a base offset of its own, as a log would have it.
fn placed(mut batch: EncodedBatch, base_offset: i64) -> Bytes {
    let mut bytes = batch.seal().to_vec();
    set_base_offset(&mut bytes, base_offset);
    bytes.into()
}

fn with_crc(mut bytes: Vec<u8>) -> Bytes {
    header::write_crc(&mut bytes);
    bytes.into()
}

/// Everything the module does with bytes from outside; the point is that it returns.
fn use_up(bytes: &Bytes) {
    let mut scratch = Scratch::with_limit(1 << 20);
    let _ = validate(bytes);
    let _ = decode(bytes);
    for frame in Frames::new(bytes) {
        let Ok((header, _)) = frame else { break };
        let _ = (header.next_offset(), header.last_sequence());
    }
    for batch in Batches::without_crc_check(bytes.clone()).flatten() {
        let _ = validate_records(&batch, &mut scratch);
        let _ = filter(&batch, &mut scratch, Some(5), |record| record.offset % 2 == 0);
        let _ = filter(&batch, &mut scratch, None, |record| record.offset % 2 == 0);
        let Ok(records) = batch.records(&mut scratch) else { continue };
        for record in records.iter_from(batch.header().base_offset + 1).flatten() {
            let _ = ControlRecord::read(&record);
            let _ = record.value.map(|value| records.share(value));
            record.headers.for_each(|header| drop(header.name()));
        }
        if let Ok(mut encoded) = EncodedBatch::parse(batch.bytes().clone()) {
            let _ = encoded.split(None, &mut scratch);
        }
    }
}

proptest! {
    #[test]
    fn records_come_back(records in proptest::collection::vec(record(), 1..20), compression in compression(), base in 0i64..1 << 40) {
        let bytes = placed(encode(&records, compression), base);
        let header = validate(&bytes).unwrap();
        prop_assert_eq!(header.record_count as usize, records.len());
        prop_assert_eq!(header.max_timestamp, records.iter().map(|record| record.0).max().unwrap());
        let batch = Batch::parse(bytes.clone()).unwrap();
        let max = validate_records(&batch, &mut Scratch::default()).unwrap();
        prop_assert_eq!(max, header.max_timestamp.max(-1));
        let expected: Vec<_> = (base..).zip(records).collect();
        prop_assert_eq!(decode(&bytes).unwrap(), expected);
    }

    #[test]
    fn a_buffer_of_batches_comes_back_up_to_its_cut(
        batches in proptest::collection::vec((proptest::collection::vec(record(), 1..5), compression()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut buffer = Vec::new();
        let mut expected = Vec::new();
        let mut ends = vec![0];
        for (records, compression) in batches {
            let base = expected.len() as i64;
            buffer.extend_from_slice(&placed(encode(&records, compression), base));
            ends.push(buffer.len());
            expected.extend((base..).zip(records));
        }
        let cut = cut.index(buffer.len() + 1);
        let got = decode(&Bytes::from(buffer[..cut].to_vec())).unwrap();
        prop_assert_eq!(&got[..], &expected[..got.len()]);
        let mut frames = Frames::new(&buffer[..cut]);
        let whole = frames.by_ref().map(Result::unwrap).count();
        prop_assert_eq!(frames.position(), ends[whole]);
        prop_assert_eq!(whole, ends[1..].iter().filter(|end| **end <= cut).count());
    }

    #[test]
    fn any_change_is_noticed_and_none_panics(
        records in proptest::collection::vec(record(), 1..6),
        compression in compression(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let good = placed(encode(&records, compression), 7);
        let mut bad = good.to_vec();
        for (index, byte) in &changes {
            bad[index.index(good.len())] = *byte;
        }
        // Base offset and leader epoch are outside the checksum, magic and length are checked by themselves.
        if bad[CHECKSUM_START..] != good[CHECKSUM_START..] && bad[8..17] == good[8..17] {
            let noticed = matches!(validate(&bad), Err(BatchError::Checksum { .. } | BatchError::Malformed { .. }));
            prop_assert!(noticed);
        }
        use_up(&Bytes::from(bad.clone()));
        // The same with a checksum that is right: a hostile peer computes it.
        use_up(&with_crc(bad.clone()));
        bad.truncate(cut.index(good.len()));
        use_up(&Bytes::from(bad));
    }

    #[test]
    fn arbitrary_records_under_a_good_header_never_panic(
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        compression in compression(),
        count in any::<i32>(),
        last in any::<i32>(),
    ) {
        let header = BatchHeader { record_count: count, last_offset_delta: last, ..BatchHeader::blank(compression.id().into()) };
        let mut bytes = vec![0; HEADER_LEN];
        bytes.extend(payload);
        header.write_over(&mut bytes);
        use_up(&bytes.into());
    }

    #[test]
    fn filtering_keeps_offsets_and_times(
        records in proptest::collection::vec(record(), 1..12),
        compression in compression(),
        mask in any::<u16>(),
        horizon in proptest::option::of(0i64..2_000_000_000_000),
    ) {
        let batch = Batch::parse(placed(encode(&records, compression), 100)).unwrap();
        let keep = |offset: i64| mask & (1 << (offset - 100)) != 0;
        let expected: Vec<_> = (100i64..).zip(records).filter(|(offset, _)| keep(*offset)).collect();
        let filtered = filter(&batch, &mut Scratch::default(), horizon, |record| keep(record.offset)).unwrap();
        let rewritten = match filtered {
            Filtered::Unchanged => {
                prop_assert_eq!(expected.len(), batch.header().record_count as usize);
                batch.bytes().clone()
            }
            Filtered::Empty => {
                prop_assert!(expected.is_empty());
                empty_like(batch.header())
            }
            Filtered::Rewritten(bytes) => bytes,
        };
        let header = validate(&rewritten).unwrap();
        prop_assert_eq!((header.base_offset, header.last_offset_delta), (100, batch.header().last_offset_delta));
        prop_assert_eq!(header.has_delete_horizon(), horizon.is_some() && !expected.is_empty());
        prop_assert_eq!(decode(&rewritten).unwrap(), expected);
    }

    #[test]
    fn halves_hold_the_whole(records in proptest::collection::vec(record(), 2..12), compression in compression()) {
        let mut whole = encode(&records, compression);
        whole.stamp(Stamp { producer_id: 5, producer_epoch: 1, base_sequence: i32::MAX - 1, transactional: true });
        let (first, second) = whole.split(None, &mut Scratch::default()).unwrap();
        prop_assert_eq!(first.header().base_sequence, i32::MAX - 1);
        prop_assert_eq!(second.header().base_sequence, sequence_after(first.header().last_sequence(), 1));
        prop_assert!(second.header().is_transactional());
        let mut got = decode(&placed(first.clone(), 0)).unwrap();
        got.extend(decode(&placed(second, i64::from(first.record_count()))).unwrap());
        prop_assert_eq!(got, (0i64..).zip(records).collect::<Vec<_>>());
    }
}

const CHECKSUM_START: usize = header::ATTRIBUTES_AT;

#[test]
fn a_batch_is_these_bytes() {
    let mut builder = Builder::new(BuilderOptions::default());
    let headers = [HeaderRef { key: b"h", value: Some(b"1") }, HeaderRef { key: b"h", value: None }];
    assert!(builder.try_push(1_000, Some(b"key"), Some(b"value"), &headers));
    assert!(builder.try_push(1_002, None, None, &[]));
    let mut batch = builder.finish().unwrap();
    batch.stamp(Stamp { producer_id: 9, producer_epoch: 2, base_sequence: 4, transactional: false });
    let hex: String = batch.seal().iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = concat!(
        "0000000000000000",
        "0000004e",
        "ffffffff",
        "02",
        "00000000",
        "0000",
        "00000001",
        "00000000000003e8",
        "00000000000003ea",
        "0000000000000009",
        "0002",
        "00000004",
        "00000002",
        "2a",
        "00",
        "00",
        "00",
        "066b6579",
        "0a76616c7565",
        "04",
        "0268",
        "0231",
        "0268",
        "01",
        "0c",
        "00",
        "04",
        "02",
        "01",
        "01",
        "00",
    );
    let (crc, rest) = (&hex[34..42], [&hex[..34], &hex[42..]].concat());
    assert_eq!(rest, [&expected[..34], &expected[42..]].concat());
    assert_eq!(crc, format!("{:08x}", validate(&batch.seal()).unwrap().crc));
}

#[test]
fn old_and_future_formats_are_named() {
    let good = encode(&[(0, None, None, vec![])], Compression::None).seal();
    for (magic, expected) in [
        (0, BatchError::OldFormat { offset: 0, magic: 0 }),
        (1, BatchError::OldFormat { offset: 0, magic: 1 }),
        (3, BatchError::UnknownFormat { offset: 0, magic: 3 }),
        (0xff, BatchError::UnknownFormat { offset: 0, magic: -1 }),
    ] {
        let mut bytes = good.to_vec();
        bytes[16] = magic;
        let mut batches = Batches::new(bytes.into());
        assert_eq!(batches.next().unwrap().unwrap_err(), expected);
        assert!(batches.next().is_none(), "nothing follows an error");
    }
}

#[test]
fn a_batch_stays_within_its_target_but_takes_any_first_record() {
    let target_bytes = 1_000;
    let mut builder = Builder::new(BuilderOptions { target_bytes, ..BuilderOptions::default() });
    while builder.try_push(5, None, Some(&[1; 90]), &[]) {
        assert!(!builder.is_full() || builder.plain_len() > target_bytes - 100);
    }
    assert!((900..=target_bytes).contains(&builder.plain_len()));
    let mut builder = Builder::new(BuilderOptions { target_bytes, ..BuilderOptions::default() });
    assert!(builder.try_push(5, None, Some(&[1; 5_000]), &[]));
    assert!(builder.is_full());
    assert!(!builder.try_push(5, None, None, &[]));
}

#[test]
fn the_expected_ratio_lets_more_records_in() {
    let mut sizes = Vec::new();
    for expected_ratio in [1.0, 0.25] {
        let options =
            BuilderOptions { compression: Compression::Lz4, target_bytes: 2_000, level: None, expected_ratio };
        let mut builder = Builder::new(options);
        while builder.try_push(5, None, Some(&[1; 90]), &[]) {}
        sizes.push(builder.len());
    }
    assert!(sizes[1] >= 4 * sizes[0] - 4, "{sizes:?}");
}

#[test]
fn stamping_again_changes_no_bytes_already_handed_out() {
    let mut batch = encode(&[(0, None, Some(b"x".to_vec()), vec![])], Compression::None);
    batch.stamp(Stamp { producer_id: 1, producer_epoch: 0, base_sequence: 0, transactional: true });
    let sent = batch.seal();
    batch.stamp(Stamp { producer_id: 1, producer_epoch: 1, base_sequence: 8, transactional: false });
    let again = batch.seal();
    let (sent, again) = (validate(&sent).unwrap(), validate(&again).unwrap());
    assert_eq!((sent.producer_epoch, sent.base_sequence, sent.is_transactional()), (0, 0, true));
    assert_eq!((again.producer_epoch, again.base_sequence, again.is_transactional()), (1, 8, false));
}

#[test]
fn the_broker_sets_offset_epoch_and_time() {
    let records = [(10, None, Some(b"a".to_vec()), vec![]), (20, None, Some(b"b".to_vec()), vec![])];
    let mut bytes = encode(&records, Compression::None).seal().to_vec();
    set_base_offset(&mut bytes, 55);
    set_leader_epoch(&mut bytes, 3);
    let header = validate(&bytes).unwrap();
    assert_eq!((header.base_offset, header.last_offset(), header.next_offset(), header.leader_epoch), (55, 56, 57, 3));
    set_log_append_time(&mut bytes, 999);
    let header = validate(&bytes).unwrap();
    assert_eq!((header.timestamp_type(), header.max_timestamp), (TimestampType::LogAppendTime, 999));
    let times: Vec<_> = decode(&bytes.into()).unwrap().into_iter().map(|(_, record)| record.0).collect();
    assert_eq!(times, [999, 999]);
}

#[test]
fn reading_starts_in_the_middle_of_a_batch() {
    let records: Vec<OwnedRecord> = (0..5).map(|n| (n, None, None, vec![])).collect();
    let batch = Batch::parse(placed(encode(&records, Compression::Zstd), 100)).unwrap();
    let opened = batch.records(&mut Scratch::default()).unwrap();
    for (from, expected) in [(0, 5), (100, 5), (103, 2), (104, 1), (105, 0), (i64::MAX, 0), (i64::MIN, 5)] {
        assert_eq!(opened.iter_from(from).map(Result::unwrap).count(), expected, "{from}");
    }
}

#[test]
fn sequences_start_again_after_the_largest() {
    for (sequence, records, expected) in [(0, 5, 5), (i32::MAX, 1, 0), (i32::MAX - 1, 3, 1)] {
        assert_eq!(sequence_after(sequence, records), expected);
    }
}

#[test]
fn shared_parts_point_into_the_batch() {
    let batch =
        Batch::parse(encode(&[(0, None, Some(b"payload".to_vec()), vec![])], Compression::None).seal()).unwrap();
    let records = batch.records(&mut Scratch::default()).unwrap();
    let value = records.iter().next().unwrap().unwrap().value.unwrap();
    let shared = records.share(value);
    drop(records.clone());
    assert_eq!(shared.as_ptr(), value.as_ptr());
    assert!(batch.bytes().as_ptr_range().contains(&shared.as_ptr()));
}

/// Whatever the cuts, the parts together are the whole, and each ends where the next begins.
#[test]
fn parts_of_a_batch_are_the_whole() {
    let record = |n: u8| (i64::from(n), None, Some(vec![n; usize::from(n)]), vec![]);
    let records: Vec<OwnedRecord> = (0..20).map(record).collect();
    for from in [0, 7, 19, 20] {
        for max in 1..25 {
            let batch = Batch::parse(encode(&records, Compression::Lz4).seal()).unwrap();
            let mut rest = batch.records(&mut Scratch::default()).unwrap();
            let mut seen = Vec::new();
            while rest.header().record_count > 0 {
                let part = rest.split_front(from, max).unwrap();
                let shown: Vec<i64> = part.iter_from(from).map(|record| record.unwrap().offset).collect();
                assert!(shown.len() <= max && part.header().record_count > 0);
                seen.extend(shown);
            }
            assert_eq!(seen, (from..20).collect::<Vec<i64>>(), "from {from}, {max} at a time");
        }
    }
}
