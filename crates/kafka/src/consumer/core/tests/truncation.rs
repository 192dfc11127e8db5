//! Logs that lose their end with a change of leader, as seen by a consumer that had read it.

use super::*;

/// A log of single records, each of the epoch given.
fn log(epochs: &[i32]) -> Log {
    let mut log = Log::default();
    for epoch in epochs {
        log.epoch = *epoch;
        let mut builder = Builder::new(BuilderOptions::default());
        assert!(builder.try_push(7, None, Some(&log.end.to_be_bytes()), &[]));
        let mut bytes = BytesMut::from(&builder.finish().unwrap().seal()[..]);
        set_base_offset(&mut bytes, log.end);
        set_leader_epoch(&mut bytes, *epoch);
        log.batches.push(Batch::parse(bytes.freeze()).unwrap());
        log.end += 1;
    }
    log
}

/// Reads all of a log of epoch 0, then that which the next leader has.
fn read_twice(before: &[i32], after: &[i32], offset_reset: OffsetReset) -> (World, usize) {
    let mut world = World::new(7, &[("t", 1)], false);
    world.cluster.logs.insert(partition(0), log(before));
    let index = world.start(Settings { offset_reset, ..settings() });
    world.with(index, |core, now, effects| core.assign(now, vec![partition(0)], effects));
    world.with(index, |core, now, effects| core.seek(now, &partition(0), 0, effects)).unwrap();
    assert!(world.run(ms(60_000), |world| world.processes[index].core.caught_up()));
    world.cluster.logs.insert(partition(0), log(after));
    world.cluster.elect(&partition(0), 2);
    world.run(ms(120_000), |world| !world.processes[index].errors.is_empty());
    (world, index)
}

#[test]
fn reading_goes_on_where_the_logs_part() {
    let first: Vec<i64> = (0..8).collect();
    let cases: [(&[i32], &[i64]); 5] = [
        // The new leader has all of it, and more.
        (&[0, 0, 0, 0, 0, 0, 0, 0, 1, 1], &[8, 9]),
        // It lacks three, and more was written in their place.
        (&[0, 0, 0, 0, 0, 1, 1, 1, 1], &[5, 6, 7, 8]),
        // Nothing was written in their place.
        (&[0, 0, 0, 0, 0], &[]),
        // It knows nothing of what was read: the offset is reset.
        (&[1, 1, 1], &[0, 1, 2]),
        (&[], &[]),
    ];
    for (after, expected) in cases {
        let (world, index) = read_twice(&[0; 8], after, OffsetReset::Earliest);
        let process = &world.processes[index];
        assert_eq!(process.seen[&partition(0)], [&first, expected].concat(), "then {after:?}");
        assert!(process.errors.is_empty(), "{:?}", process.errors);
        assert_eq!(process.core.position(&partition(0)), Some(after.len() as i64));
    }
}

#[test]
fn without_a_policy_a_truncation_is_an_error() {
    let cases: [(&[i32], &str, i64); 2] = [
        (
            &[0, 0, 0, 0, 0, 1, 1, 1, 1],
            "Truncated partitions detected with divergent offsets {t-0=OffsetAndMetadata{offset=5, leaderEpoch=0, metadata=''}}",
            5,
        ),
        (&[1, 1, 1], "Truncated partitions detected with divergent offsets {}", 0),
    ];
    for (after, message, from) in cases {
        let (mut world, index) = read_twice(&[0; 8], after, OffsetReset::None);
        assert_eq!(world.processes[index].errors[0].to_string(), message);
        assert_eq!(world.processes[index].seen[&partition(0)].len(), 8, "nothing more is handed over");
        world.with(index, |core, now, effects| core.seek(now, &partition(0), from, effects)).unwrap();
        let until = world.now + ms(60_000);
        world.run(until, |world| world.processes[index].core.position(&partition(0)) == Some(after.len() as i64));
        let expected: Vec<i64> = (0..8).chain(from..after.len() as i64).collect();
        assert_eq!(world.processes[index].seen[&partition(0)], expected);
    }
}
