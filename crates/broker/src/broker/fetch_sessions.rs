//! Fetch sessions (KIP-227): what a consumer reads is remembered, so that it only says and is only told what changed.
//!
//! A full fetch opens a session; each further one names the session and counts on. Sessions are a convenience: one that is lost, by a
//! restart or because others needed its room, is an error that makes the client fetch in full. Bounded in number and in partitions. Pure;
//! counterpart of Apache Kafka's `FetchSessionCache`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{FetchRequest, FetchResponse, TopicName};
use uuid::Uuid;

use super::fetch::{PlannedPartition, PlannedTopic};

/// Most sessions, as in Apache Kafka.
const MAX_SESSIONS: usize = 1_000;
/// Most partitions in all sessions together.
const MAX_PARTITIONS: usize = 200_000;
/// A session may make room for another one when it was not used for this long, as in Apache Kafka.
const EVICTION_AGE: Duration = Duration::from_secs(120);
/// The session's id and epochs that say "none": no session, the first fetch of one, no session wanted.
pub(super) const NO_SESSION: i32 = 0;
const FIRST_EPOCH: i32 = 0;
const NO_EPOCH: i32 = -1;

/// How clients name a topic: by id, or by name.
type TopicKey = (Uuid, TopicName);

/// A partition that is read in a session.
#[derive(Debug)]
struct Followed {
    offset: i64,
    leader_epoch: i32,
    max_bytes: i32,
    /// Partitions are read in this order; one that is told of goes to the end, so that all have their turn.
    order: u64,
    /// High watermark and log start that the client was told last.
    told: Option<(i64, i64)>,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    last_used: Duration,
    topics: BTreeMap<TopicKey, BTreeMap<i32, Followed>>,
    next_order: u64,
}

impl Session {
    fn len(&self) -> usize {
        self.topics.values().map(BTreeMap::len).sum()
    }
}

/// Which partitions a fetch is about.
#[derive(Debug)]
pub(super) struct Scope {
    /// The session of the fetch; [`NO_SESSION`] for none.
    pub(super) session: i32,
    /// Whether only what changed is told.
    pub(super) incremental: bool,
    pub(super) topics: Vec<PlannedTopic>,
}

/// All sessions.
#[derive(Default)]
pub(super) struct FetchSessions {
    by_id: BTreeMap<i32, Session>,
    by_use: BTreeSet<(Duration, i32)>,
    partitions: usize,
    last_id: i32,
}

impl FetchSessions {
    /// Takes a fetch; returns what it is about.
    pub(super) fn begin(&mut self, now: Duration, by_id: bool, request: &FetchRequest) -> Result<Scope, ResponseError> {
        let (id, epoch) = (request.session_id, request.session_epoch);
        if matches!(epoch, FIRST_EPOCH | NO_EPOCH) {
            self.remove(id);
            let topics = planned(by_id, request);
            let session = if epoch == FIRST_EPOCH { self.open(now, by_id, request) } else { NO_SESSION };
            return Ok(Scope { session, incremental: false, topics });
        }
        let session = self.by_id.get_mut(&id).ok_or(ResponseError::FetchSessionIdNotFound)?;
        if session.epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        let before = session.len();
        follow(session, request);
        for topic in &request.forgotten_topics_data {
            let key = key_of(by_id, topic.topic_id, &topic.topic);
            if let Some(followed) = session.topics.get_mut(&key) {
                for partition in &topic.partitions {
                    followed.remove(partition);
                }
                if followed.is_empty() {
                    session.topics.remove(&key);
                }
            }
        }
        let after = session.len();
        self.partitions = self.partitions + after - before;
        if after == 0 || self.partitions > MAX_PARTITIONS {
            // With nothing left, or no room for it, the fetch is the last one of its session.
            let topics = session_topics(session);
            self.remove(id);
            return Ok(Scope { session: NO_SESSION, incremental: false, topics });
        }
        session.epoch = session.epoch.checked_add(1).unwrap_or(1);
        self.by_use.remove(&(session.last_used, id));
        session.last_used = now;
        self.by_use.insert((now, id));
        Ok(Scope { session: id, incremental: true, topics: session_topics(session) })
    }

    /// Leaves out of an answer what its client knows already, and remembers what it is told.
    pub(super) fn end(&mut self, session: i32, incremental: bool, mut response: FetchResponse) -> FetchResponse {
        let Some(known) = self.by_id.get_mut(&session) else { return response };
        response.session_id = session;
        for topic in &mut response.responses {
            let key = key_of(known.by_id, topic.topic_id, &topic.topic);
            let Some(followed) = known.topics.get_mut(&key) else { continue };
            let next_order = &mut known.next_order;
            topic.partitions.retain(|data| {
                let Some(followed) = followed.get_mut(&data.partition_index) else { return true };
                let has_records = data.records.as_ref().is_some_and(|records| !records.is_empty());
                let tells = Some((data.high_watermark, data.log_start_offset));
                let is_new = followed.told != tells;
                // An error is told again until it is gone, and what comes after it is news.
                followed.told = if data.error_code == 0 { tells } else { None };
                let shown = !incremental || is_new || has_records || data.error_code != 0;
                if incremental && shown {
                    followed.order = *next_order;
                    *next_order += 1;
                }
                shown
            });
        }
        response.responses.retain(|topic| !topic.partitions.is_empty());
        response
    }

    /// Opens a session, if there is room for one.
    fn open(&mut self, now: Duration, by_id: bool, request: &FetchRequest) -> i32 {
        let mut session = Session { epoch: 1, by_id, last_used: now, topics: BTreeMap::new(), next_order: 0 };
        follow(&mut session, request);
        let len = session.len();
        while self.by_id.len() >= MAX_SESSIONS || self.partitions + len > MAX_PARTITIONS {
            match self.by_use.first().copied() {
                Some((used, oldest)) if now.saturating_sub(used) > EVICTION_AGE => self.remove(oldest),
                _ => return NO_SESSION,
            }
        }
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        while self.by_id.contains_key(&self.last_id) {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        }
        self.partitions += len;
        self.by_use.insert((now, self.last_id));
        self.by_id.insert(self.last_id, session);
        self.last_id
    }

    fn remove(&mut self, id: i32) {
        if let Some(session) = self.by_id.remove(&id) {
            self.partitions -= session.len();
            self.by_use.remove(&(session.last_used, id));
        }
    }
}

fn key_of(by_id: bool, id: Uuid, name: &TopicName) -> TopicKey {
    if by_id { (id, TopicName::default()) } else { (Uuid::nil(), name.clone()) }
}

/// Adds and changes partitions as a request says.
fn follow(session: &mut Session, request: &FetchRequest) {
    for topic in &request.topics {
        let key = key_of(session.by_id, topic.topic_id, &topic.topic);
        let followed = session.topics.entry(key).or_default();
        for partition in &topic.partitions {
            let known = followed.get(&partition.partition).map(|known| (known.told, known.order));
            let (told, order) = known.unwrap_or_else(|| {
                session.next_order += 1;
                (None, session.next_order - 1)
            });
            let (offset, leader_epoch) = (partition.fetch_offset, partition.current_leader_epoch);
            let max_bytes = partition.partition_max_bytes;
            followed.insert(partition.partition, Followed { offset, leader_epoch, max_bytes, order, told });
        }
    }
    session.topics.retain(|_, followed| !followed.is_empty());
}

fn planned(by_id: bool, request: &FetchRequest) -> Vec<PlannedTopic> {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| PlannedPartition {
            index: partition.partition,
            offset: partition.fetch_offset,
            leader_epoch: partition.current_leader_epoch,
            max_bytes: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
        });
        let (id, name) = key_of(by_id, topic.topic_id, &topic.topic);
        PlannedTopic { id, name, partitions: partitions.collect() }
    });
    topics.collect()
}

/// All partitions of a session, in their order.
fn session_topics(session: &Session) -> Vec<PlannedTopic> {
    let all = session.topics.iter().flat_map(|(key, followed)| followed.iter().map(move |one| (key, one)));
    let mut all: Vec<_> = all.collect();
    all.sort_unstable_by_key(|(_, (_, partition))| partition.order);
    let mut topics: Vec<PlannedTopic> = Vec::new();
    for (key, (index, partition)) in all {
        if !topics.last().is_some_and(|topic| topic.id == key.0 && topic.name == key.1) {
            topics.push(PlannedTopic { id: key.0, name: key.1.clone(), partitions: Vec::new() });
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(PlannedPartition {
                index: *index,
                offset: partition.offset,
                leader_epoch: partition.leader_epoch,
                max_bytes: usize::try_from(partition.max_bytes).unwrap_or(0),
            });
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};

    use super::*;

    fn full(partitions: i32) -> FetchRequest {
        let partitions = (0..partitions).map(|index| FetchPartition::default().with_partition(index)).collect();
        let topic = FetchTopic::default().with_topic(TopicName("t".into())).with_partitions(partitions);
        FetchRequest::default().with_session_epoch(FIRST_EPOCH).with_topics(vec![topic])
    }

    #[test]
    fn sessions_take_up_a_bounded_room_and_idle_ones_make_some() {
        let mut sessions = FetchSessions::default();
        let mut open = |seconds: u64, partitions: i32| {
            sessions.begin(Duration::from_secs(seconds), false, &full(partitions)).unwrap().session
        };
        for number in 0..MAX_SESSIONS {
            assert_eq!(open(0, 1), i32::try_from(number).unwrap() + 1);
        }
        assert_eq!(open(119, 1), NO_SESSION, "all are in use");
        assert_ne!(open(121, 1), NO_SESSION, "one has not been used for long");
        assert_eq!(open(122, i32::try_from(MAX_PARTITIONS).unwrap() + 1), NO_SESSION, "more than there is room for");
        assert_ne!(open(250, i32::try_from(MAX_PARTITIONS).unwrap()), NO_SESSION);
    }
}
