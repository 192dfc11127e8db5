//! A transport that notes what goes over it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use kurier_kafka::net::{Broker, NetSettings, Target, TcpTransport, Transport, TransportError};
use parking_lot::Mutex;

/// What was noted so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    /// Bytes of records by the broker that they were fetched from.
    fetched: BTreeMap<i32, usize>,
    /// How often a refusal to take records named who leads.
    named: u64,
    /// Partition and broker that were named last, until records of that partition are sent, or metadata says who leads.
    expected: Option<(i32, i32)>,
    /// How often the partition's next records after such a refusal went to that broker before there was metadata.
    followed: u64,
}

impl Notes {
    pub(crate) fn bytes_from(&self, node: i32) -> usize {
        self.0.lock().fetched.get(&node).copied().unwrap_or_default()
    }

    pub(crate) fn followed(&self) -> u64 {
        self.0.lock().followed
    }
}

pub(crate) struct Watched {
    inner: TcpTransport,
    notes: Notes,
}

impl Watched {
    pub(crate) fn new(settings: NetSettings) -> (Self, Notes) {
        let notes = Notes::default();
        (Self { inner: TcpTransport::new(settings), notes: notes.clone() }, notes)
    }
}

impl Transport for Watched {
    fn send(
        &self,
        to: Target,
        request: Box<RequestKind>,
        highest: Option<i16>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<ResponseKind, TransportError>> {
        let notes = self.notes.clone();
        let node = match to {
            Target::Node(node) => Some(node),
            _ => None,
        };
        if let RequestKind::Produce(produce) = &*request {
            let mut noted = notes.0.lock();
            let mut sent = produce.topic_data.iter().flat_map(|topic| &topic.partition_data);
            if let Some((partition, leader)) = noted.expected
                && sent.any(|data| data.index == partition)
            {
                noted.expected = None;
                noted.followed += u64::from(node == Some(leader));
            }
        }
        let answer = self.inner.send(to, request, highest, timeout);
        Box::pin(async move {
            let response = answer.await;
            let mut noted = notes.0.lock();
            match &response {
                Ok(ResponseKind::Fetch(fetched)) => {
                    let partitions = fetched.responses.iter().flat_map(|topic| &topic.partitions);
                    let bytes: usize =
                        partitions.map(|data| data.records.as_ref().map_or(0, |records| records.len())).sum();
                    *noted.fetched.entry(node.unwrap_or(-1)).or_default() += bytes;
                }
                Ok(ResponseKind::Produce(produced)) => {
                    for answer in produced.responses.iter().flat_map(|topic| &topic.partition_responses) {
                        if answer.error_code != 0 && answer.current_leader.leader_id.0 >= 0 {
                            noted.named += 1;
                            noted.expected = Some((answer.index, answer.current_leader.leader_id.0));
                        }
                    }
                }
                // From now on it is known anyway.
                Ok(ResponseKind::Metadata(_)) => noted.expected = None,
                _ => {}
            }
            drop(noted);
            response
        })
    }

    fn brokers(&self, brokers: &[Broker]) {
        self.inner.brokers(brokers);
    }
}
