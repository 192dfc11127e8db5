//! Fetch sessions as a broker keeps them: it remembers what is read, and answers only what is new.

use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, LeaderIdAndEpoch, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse};

use ResponseError::{FencedLeaderEpoch, OffsetNotAvailable, OffsetOutOfRange};

use super::*;

/// What is remembered: by partition, the offset to read from with the leader's epoch, and the end that was told.
type Remembered = BTreeMap<TopicPartition, ((i64, i32), Option<i64>)>;

#[derive(Default)]
pub(super) struct Sessions {
    open: BTreeMap<i32, (i32, i32, Remembered)>,
    last: i32,
    /// Fetches that did not name all that is read.
    pub(super) incremental: u32,
    /// Sessions that were forgotten under a client.
    pub(super) lost: u32,
}

impl Sessions {
    /// Takes a fetch; answers its session and what is read in it.
    fn take(&mut self, rng: &mut Rng, node: i32, request: &FetchRequest) -> Result<(i32, Remembered), ResponseError> {
        let named = request.topics.iter().flat_map(|topic| {
            let place = |wanted: &FetchPartition| TopicPartition::new(topic.topic.as_str(), wanted.partition);
            topic
                .partitions
                .iter()
                .map(move |wanted| (place(wanted), (wanted.fetch_offset, wanted.current_leader_epoch)))
        });
        if rng.one_in(50) && self.open.remove(&request.session_id).is_some() {
            self.lost += 1;
        }
        if request.session_epoch <= 0 {
            self.open.remove(&request.session_id);
            let all: Remembered = named.map(|(partition, offset)| (partition, (offset, None))).collect();
            // Now and then there is no place for another one.
            if request.session_epoch < 0 || rng.one_in(10) {
                return Ok((0, all));
            }
            self.last += 1;
            self.open.insert(self.last, (node, 1, all.clone()));
            return Ok((self.last, all));
        }
        let open = self.open.get_mut(&request.session_id).filter(|(of, ..)| *of == node);
        let (_, epoch, remembered) = open.ok_or(ResponseError::FetchSessionIdNotFound)?;
        if *epoch != request.session_epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        *epoch += 1;
        for (partition, offset) in named {
            remembered.entry(partition).or_default().0 = offset;
        }
        for topic in &request.forgotten_topics_data {
            for partition in &topic.partitions {
                let known = remembered.remove(&TopicPartition::new(topic.topic.as_str(), *partition));
                assert!(known.is_some(), "what is forgotten was known");
            }
        }
        self.incremental += 1;
        Ok((request.session_id, remembered.clone()))
    }

    /// Whether there is something to say of a partition; then it is remembered as said.
    fn is_new(&mut self, session: i32, partition: &TopicPartition, data: &PartitionData) -> bool {
        let Some((_, _, remembered)) = self.open.get_mut(&session) else { return true };
        let Some((_, end)) = remembered.get_mut(partition) else { return true };
        let has_records = data.records.as_ref().is_some_and(|records| !records.is_empty());
        let is_new = has_records || data.error_code != 0 || *end != Some(data.high_watermark);
        *end = Some(data.high_watermark);
        is_new
    }
}

impl Cluster {
    pub(super) fn fetch(&mut self, rng: &mut Rng, node: i32, request: FetchRequest) -> FetchResponse {
        let (session, read) = match self.sessions.take(rng, node, &request) {
            Ok(taken) => taken,
            Err(error) => return FetchResponse::default().with_error_code(error.code()),
        };
        let mut responses: Vec<FetchableTopicResponse> = Vec::new();
        let by_id = request.topics.iter().all(|topic| !topic.topic_id.is_nil());
        for (partition, ((offset, fetch_epoch), _)) in read {
            let mut data = PartitionData::default().with_partition_index(partition.partition);
            let (leader, epoch) = (self.leaders[&partition], self.epoch(&partition));
            // A client in the second broker's rack is sent there; what has just been written is not there yet.
            let follows = leader == 1 && request.rack_id.as_str() == "second";
            if follows && node == 1 {
                data.preferred_read_replica = BrokerId(2);
                self.followed.0 += 1;
            }
            let asked = if follows { 1 } else { node };
            let log = match self.log(asked, &partition.topic, partition.partition) {
                Ok(_) if fetch_epoch < epoch => Err(FencedLeaderEpoch),
                log => log,
            };
            match log {
                Err(error) => {
                    data.error_code = error.code();
                    let to = LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader)).with_leader_epoch(epoch);
                    data.current_leader = to;
                }
                Ok(log) if follows && node == 1 && rng.one_in(2) => {
                    (data.high_watermark, data.last_stable_offset) = (log.end, log.end);
                }
                Ok(_) if follows && node == 2 && rng.one_in(20) => {
                    let late = if rng.one_in(2) { OffsetNotAvailable } else { OffsetOutOfRange };
                    data.error_code = late.code();
                }
                Ok(log) if offset < log.start || offset > log.end => {
                    data.error_code = ResponseError::OffsetOutOfRange.code();
                }
                Ok(log) => {
                    let (aborted, bytes) = log.fetch(offset, 1 + rng.below(2_000) as usize);
                    data.high_watermark = log.end;
                    data.last_stable_offset = log.end;
                    data.aborted_transactions = (request.isolation_level == 1).then_some(aborted);
                    data.records = Some(bytes);
                    self.followed.1 += u32::from(follows && node == 2);
                }
            }
            if !self.sessions.is_new(session, &partition, &data) {
                continue;
            }
            let is_last = |topic: &FetchableTopicResponse| match by_id {
                true => topic.topic_id == topic_id(&partition.topic),
                false => topic.topic.as_str() == &*partition.topic,
            };
            if !responses.last().is_some_and(is_last) {
                let topic = match by_id {
                    true => FetchableTopicResponse::default().with_topic_id(topic_id(&partition.topic)),
                    false => FetchableTopicResponse::default()
                        .with_topic(StrBytes::from_string(partition.topic.to_string()).into()),
                };
                responses.push(topic);
            }
            responses.last_mut().unwrap().partitions.push(data);
        }
        FetchResponse::default().with_session_id(session).with_responses(responses)
    }
}
