//! Fetch sessions (KIP-227).

use super::*;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::*;

/// What one fetch of a session says: topic, partition and offset of what it reads, and topics that it forgets.
struct Say {
    epoch: i32,
    reads: &'static [(&'static str, i32, i64)],
    forgets: &'static [&'static str],
}

fn fetch(name: &'static str, version: i16, session: Option<i32>, say: Say) -> Step {
    step(name, ApiKey::Fetch, version, move |known| {
        let by_id = version >= 13;
        let id_of = |name: &str| known.topics.get(name).copied().unwrap_or_default();
        let topics = say.reads.iter().map(|(name, partition, offset)| {
            let partition = FetchPartition::default()
                .with_partition(*partition)
                .with_fetch_offset(*offset)
                .with_current_leader_epoch(-1)
                .with_partition_max_bytes(1 << 20);
            let wanted = FetchTopic::default().with_partitions(vec![partition]);
            if by_id { wanted.with_topic_id(id_of(name)) } else { wanted.with_topic(topic(name)) }
        });
        let forgotten = say.forgets.iter().map(|name| {
            let forgotten = ForgottenTopic::default().with_partitions(vec![0]);
            if by_id { forgotten.with_topic_id(id_of(name)) } else { forgotten.with_topic(topic(name)) }
        });
        RequestKind::Fetch(
            FetchRequest::default()
                .with_max_wait_ms(50)
                .with_min_bytes(1)
                .with_max_bytes(1 << 20)
                .with_session_id(session.unwrap_or(known.session))
                .with_session_epoch(say.epoch)
                .with_topics(topics.collect())
                .with_forgotten_topics_data(forgotten.collect()),
        )
    })
}

pub(super) fn sessions() -> Vec<Step> {
    const NOTHING: Say = Say { epoch: 0, reads: &[], forgets: &[] };
    vec![
        fetch(
            "open a session",
            17,
            Some(0),
            Say { reads: &[("t", 0, 0), ("table", 0, 0), ("manual", 0, 0)], ..NOTHING },
        ),
        fetch("go on where records are", 17, None, Say { epoch: 1, ..NOTHING }),
        fetch("move on", 17, None, Say { epoch: 2, reads: &[("t", 0, 4), ("table", 0, 1)], ..NOTHING }),
        fetch("fetch in an old epoch", 17, None, Say { epoch: 2, ..NOTHING }),
        fetch("fetch by name in a session of ids", 12, None, Say { epoch: 3, ..NOTHING }),
        fetch("fetch in an unknown session", 17, Some(7), Say { epoch: 1, ..NOTHING }),
        fetch("forget a topic", 17, None, Say { epoch: 3, forgets: &["t"], ..NOTHING }),
        fetch("beyond the end", 17, None, Say { epoch: 4, reads: &[("table", 0, 999)], ..NOTHING }),
        fetch("still beyond the end", 17, None, Say { epoch: 5, ..NOTHING }),
        fetch("back again", 17, None, Say { epoch: 6, reads: &[("table", 0, 0)], ..NOTHING }),
        fetch("forget everything", 17, None, Say { epoch: 7, forgets: &["table", "manual"], ..NOTHING }),
        fetch("fetch in a session without partitions", 17, None, Say { epoch: 8, ..NOTHING }),
        fetch("open a session by names", 12, Some(0), Say { reads: &[("t", 0, 0)], ..NOTHING }),
        fetch("close it", 12, None, Say { epoch: -1, reads: &[("t", 0, 0)], ..NOTHING }),
        fetch("fetch in a closed session", 12, None, Say { epoch: 1, ..NOTHING }),
        fetch("open a session with nothing", 17, Some(0), NOTHING),
    ]
}
