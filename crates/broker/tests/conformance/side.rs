//! One of the two brokers under comparison.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestKind, ResponseKind};
use kurier_kafka::batch::{BatchHeader, Batches, Scratch};
use kurier_kafka::wire::{decode_response_kind, encode_request_kind};
use uuid::Uuid;

use crate::script::Step;

/// What a broker has told, for later requests.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) topics: BTreeMap<String, Uuid>,
    pub(crate) member: String,
    pub(crate) producer: (i64, i16),
    pub(crate) session: i32,
}

/// How the text begins that stands for an answer that did not come.
pub(crate) const NO_ANSWER: &str = "no answer";

pub(crate) struct Side {
    stream: TcpStream,
    known: Known,
    /// Texts of this broker, and what stands for them in comparisons.
    names: Vec<(String, String)>,
}

/// Errors that say "not yet": a coordinator that is being elected, a transaction that is being ended (to a producer: too few replicas).
const NOT_READY: [i16; 5] = [14, 15, 16, 19, 51];

impl Side {
    pub(crate) fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let port = address.rsplit(':').next().unwrap_or_default();
        let names = vec![(format!("port: {port}"), "port: PORT".to_owned())];
        Ok(Self { stream, known: Known::default(), names })
    }

    /// Sends the step's request; returns its answer as comparable text.
    pub(crate) fn perform(&mut self, step: &Step) -> String {
        let request = (step.request)(&self.known);
        match self.exchange(step.api, step.version, &request) {
            Ok(mut response) => {
                self.learn(&request, &response);
                put_in_order(&mut response);
                self.text(step, &response)
            }
            Err(error) => format!("{NO_ANSWER}: {error}"),
        }
    }

    /// What the broker says that it serves.
    pub(crate) fn versions(&mut self) -> Result<ApiVersionsResponse> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name("conformance".into())
            .with_client_software_version("1".into());
        match self.exchange(ApiKey::ApiVersions, 4, &RequestKind::ApiVersions(request))? {
            ResponseKind::ApiVersions(response) => Ok(response),
            other => anyhow::bail!("not the answer to ApiVersions: {other:?}"),
        }
    }

    pub(crate) fn is_not_ready(text: &str) -> bool {
        NOT_READY.iter().any(|code| text.contains(&format!("error_code: {code},")))
    }

    fn exchange(&mut self, api: ApiKey, version: i16, request: &RequestKind) -> Result<ResponseKind> {
        self.stream.write_all(&encode_request_kind(Some(&"conformance".into()), 1, api, version, request)?)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame)?;
        Ok(decode_response_kind(api, frame.into(), version)?.1)
    }

    fn learn(&mut self, request: &RequestKind, response: &ResponseKind) {
        match response {
            ResponseKind::Metadata(metadata) => {
                if let Some(id) = &metadata.cluster_id {
                    self.name(id.as_str(), "CLUSTER");
                }
                for topic in &metadata.topics {
                    if let Some(name) = &topic.name
                        && !topic.topic_id.is_nil()
                    {
                        self.known.topics.insert(name.to_string(), topic.topic_id);
                        self.name(&topic.topic_id.to_string(), &format!("ID-OF-{}", name.as_str()));
                    }
                }
            }
            ResponseKind::CreateTopics(created) => {
                for topic in created.topics.iter().filter(|topic| !topic.topic_id.is_nil()) {
                    self.name(&topic.topic_id.to_string(), &format!("ID-OF-{}", topic.name.as_str()));
                }
            }
            ResponseKind::Fetch(fetched) if fetched.session_id != 0 => {
                self.known.session = fetched.session_id;
                self.name(&format!("session_id: {},", fetched.session_id), "session_id: SESSION,");
            }
            ResponseKind::JoinGroup(joined) if !joined.member_id.is_empty() => {
                if matches!(request, RequestKind::JoinGroup(asked) if asked.member_id == joined.member_id) {
                    return; // It was known.
                }
                self.known.member = joined.member_id.to_string();
                self.name(joined.member_id.as_str(), "MEMBER");
            }
            ResponseKind::EndTxn(ended) if ended.error_code == 0 && ended.producer_id.0 > 0 => {
                self.known.producer = (ended.producer_id.0, ended.producer_epoch);
            }
            ResponseKind::InitProducerId(producer) if producer.error_code == 0 => {
                self.known.producer = (producer.producer_id.0, producer.producer_epoch);
                self.name(&format!("ProducerId(\n{}", producer.producer_id.0), "ProducerId(\nPID");
            }
            _ => {}
        }
    }

    fn name(&mut self, text: &str, name: &str) {
        if !self.names.iter().any(|(known, _)| known == text) {
            self.names.push((text.to_owned(), name.to_owned()));
        }
    }

    fn text(&self, step: &Step, response: &ResponseKind) -> String {
        let mut text = String::new();
        let mut within = 0;
        for line in format!("{response:#?}").lines().map(str::trim) {
            let opens = line.ends_with(['(', '[', '{']);
            if within > 0 {
                within += usize::from(opens);
                within -= usize::from(line.starts_with([')', ']', '}']));
                continue;
            }
            let field = line.split(':').next().unwrap_or_default();
            if !step.shown.is_empty() && !step.shown.contains(&field) {
                continue;
            }
            // What is wrong with records is told in more words than Apache Kafka has, and patterns by their own compiler.
            let own_words = step.api == ApiKey::Produce || text.contains("error_code: 128,");
            if step.ignored.contains(&field) || (field == "error_message" && own_words) {
                within = usize::from(opens);
            } else if line != "unknown_tagged_fields: {}," {
                text.push_str(line);
                text.push('\n');
            }
        }
        // A cluster formatted with eligible leader replicas has a default of its own for `min.insync.replicas`.
        text = text.replace("config_source: 3", "config_source: 5");
        for (from, to) in &self.names {
            text = text.replace(from, to);
        }
        text
    }
}

/// Batches as text that does not tell one compressor from another; what cannot be read stays as it is.
fn legible(records: Bytes) -> Bytes {
    let mut text = String::new();
    let mut scratch = Scratch::default();
    for batch in Batches::new(records.clone()) {
        let Ok(batch) = batch else { return records };
        let header = BatchHeader { size: 0, crc: 0, ..batch.header().clone() };
        text.push_str(&format!("{header:?} {:?}", header.compression()));
        let Ok(opened) = batch.records(&mut scratch) else { return records };
        for record in &opened {
            text.push_str(&format!("{record:?}"));
        }
    }
    text.into()
}

/// Lists without an order of their own are sorted, and records made legible.
fn put_in_order(response: &mut ResponseKind) {
    match response {
        ResponseKind::Metadata(metadata) => metadata.topics.sort_by_key(|topic| topic.error_code),
        ResponseKind::DescribeConfigs(described) => {
            for result in &mut described.results {
                result.configs.sort_by(|left, right| left.name.as_str().cmp(right.name.as_str()));
            }
        }
        ResponseKind::ConsumerGroupDescribe(described) => {
            for group in &mut described.groups {
                group.members.sort_by(|left, right| left.member_id.as_str().cmp(right.member_id.as_str()));
                for member in &mut group.members {
                    for assignment in [&mut member.assignment, &mut member.target_assignment] {
                        assignment.topic_partitions.iter_mut().for_each(|topic| topic.partitions.sort_unstable());
                    }
                }
            }
        }
        ResponseKind::ListGroups(listed) => {
            listed.groups.sort_by(|left, right| left.group_id.as_str().cmp(right.group_id.as_str()))
        }
        ResponseKind::DeleteTopics(deleted) => {
            deleted.responses.sort_by_key(|response| response.error_code);
        }
        ResponseKind::ElectLeaders(elected) => {
            elected.replica_election_results.sort_by(|left, right| left.topic.as_str().cmp(right.topic.as_str()));
        }
        ResponseKind::OffsetCommit(committed) => {
            for topic in &mut committed.topics {
                topic.partitions.sort_by_key(|partition| partition.partition_index);
            }
        }
        ResponseKind::OffsetFetch(fetched) => {
            for group in &mut fetched.groups {
                group.topics.sort_by_key(|topic| topic.partitions.iter().map(|partition| partition.error_code).max());
            }
        }
        ResponseKind::Fetch(fetched) => {
            for partition in fetched.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
                partition.records = partition.records.take().map(legible);
            }
        }
        ResponseKind::AddPartitionsToTxn(added) => {
            for topic in &mut added.results_by_topic_v3_and_below {
                topic.results_by_partition.sort_by_key(|partition| partition.partition_index);
            }
        }
        _ => {}
    }
}
