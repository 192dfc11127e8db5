//! Topics that say how their records are compressed.

use kurier_kafka::batch::{Compression, Stamp};

use super::records::{READ, Read, batch, fetch, produce};
use super::*;

pub(super) fn compression() -> Vec<Step> {
    const OWN: [(&str, &str); 6] = [
        ("in-producer", "producer"),
        ("in-uncompressed", "uncompressed"),
        ("in-gzip", "gzip"),
        ("in-snappy", "snappy"),
        ("in-lz4", "lz4"),
        ("in-zstd", "zstd"),
    ];
    const TIMED: &str = "in-gzip-timed";
    const SMALL: &str = "uncompressed-small";
    let mut topics: Vec<_> =
        OWN.iter().map(|(name, own)| creatable(name, 1, &[("compression.type", Some(own))])).collect();
    let timed = [("compression.type", Some("gzip")), ("message.timestamp.type", Some("LogAppendTime"))];
    topics.push(creatable(TIMED, 1, &timed));
    topics.push(creatable(SMALL, 1, &[("compression.type", Some("uncompressed")), ("max.message.bytes", Some("300"))]));
    let levels = [
        ("compression.type", Some("zstd")),
        ("compression.zstd.level", Some("19")),
        ("compression.gzip.level", Some("1")),
        ("compression.lz4.level", Some("17")),
    ];
    topics.push(creatable("in-levels", 1, &levels));
    let mut steps = vec![create("topics with a compression of their own", 7, topics)];
    let mut producer_id = 5000;
    for (name, _) in OWN {
        for compression in Compression::ALL {
            producer_id += 1;
            let stamp = |base_sequence| Stamp { producer_id, producer_epoch: 0, base_sequence, transactional: false };
            let records = |base_sequence| {
                let values = [(Some("k"), Some("value")), (None, None), (Some("k"), Some(""))];
                Some(batch(&values, compression, stamp(base_sequence)))
            };
            steps.push(produce("produce in another compression", 9, name, 0, -1, records(0)).repeatable());
            steps.push(produce("repeat in another compression", 9, name, 0, -1, records(0)));
            steps.push(produce("go on in another compression", 9, name, 0, -1, records(3)));
            steps.push(produce("leave out in another compression", 9, name, 0, -1, records(9)));
        }
        steps.push(fetch("fetch in another compression", 12, Read { of: name, ..READ }));
        steps.push(fetch("fetch with a version that may not know zstd", 9, Read { of: name, ..READ }));
    }
    let long = "x".repeat(400);
    let packed = batch(&[(Some("k"), Some(&long))], Compression::Gzip, Stamp::NONE);
    steps.push(produce("what grows too large for the topic", 9, SMALL, 0, -1, Some(packed.clone())).repeatable());
    steps.push(
        produce("by the broker's clock", 9, TIMED, 0, -1, Some(packed.clone()))
            .only_shows(&["error_code", "base_offset"]),
    );
    steps.push(fetch("no time of the producer's", 12, Read { of: TIMED, ..READ }).only_shows(&["error_code"]));
    steps.push(produce("with levels", 9, "in-levels", 0, -1, Some(packed)));
    steps.push(fetch("what was written with levels", 12, Read { of: "in-levels", ..READ }));
    steps
}
