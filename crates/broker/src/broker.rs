//! The broker's core: takes requests, keeps those that have to wait, answers.
//!
//! Each connection is served in the order of its requests, one at a time, as Apache Kafka does it: a request that waits (a fetch for data,
//! a join for other members) holds back those behind it on the same connection and nothing else. What waits is a value (`Waiting`) with a
//! deadline; [`Broker::next_deadline`] says when the next call is due even if nothing arrives.
//!
//! Handlers are beside this file, by subject: `alone`, `cluster`, `topics`, `configs`, `produce`, `fetch`, `lookup`, `group_api`, `transactions`.

mod alone;
mod cluster;
mod configs;
mod consumer_group_api;
mod fetch;
mod fetch_sessions;
mod group_api;
mod housekeeping;
mod lookup;
mod produce;
#[cfg(test)]
mod tests;
mod topics;
mod transaction_lists;
mod transactions;
pub(crate) mod users;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use kurier_kafka::batch::Scratch;
use uuid::Uuid;

use crate::config::BrokerConfig;
use crate::groups::{Effects, Groups, Limits};
use crate::journal::{Entry, Journal};
use crate::sasl::{Gate, SaslConfig, Verdict};
use crate::store::Store;
use crate::topic_config::Overrides;
use fetch::FetchWaiters;
use fetch_sessions::FetchSessions;
use topics::Topics;
use transactions::Transactions;
use users::ScramUsers;

/// Requests of one connection that may wait behind one another; a connection that sends more is closed.
const MAX_QUEUED_REQUESTS: usize = 1_000;
/// What Apache Kafka says about a request that asks for what there is not.
const MALFORMED: &str = "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.";
/// Producer ids that are set aside with one entry of the journal.
const PRODUCER_ID_BLOCK: i64 = 1_000;

/// The time, given by whoever drives the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since some fixed moment; never goes back. Deadlines are told on this clock.
    pub elapsed: Duration,
    /// Milliseconds since 1970, as the calendar says; may jump.
    pub unix_ms: i64,
}

/// Fresh unique numbers: for topic ids, member ids and the cluster's id. Must be random, or at least never repeat.
pub type IdSource = Box<dyn FnMut() -> u128 + Send>;

/// A connection, numbered by whoever drives the broker; numbers must not be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One request, decoded.
#[derive(Debug, Clone)]
pub struct Request {
    /// Number that the client gave the request; its answer carries it.
    pub correlation_id: i32,
    /// Version in which the request came and the answer goes.
    pub api_version: i16,
    /// What the client calls itself.
    pub client_id: String,
    /// Where the client is, as `DescribeGroups` shows it (`/127.0.0.1`).
    pub client_host: String,
    /// The request.
    pub body: RequestKind,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The answer to a request.
    Answer {
        /// Where it goes.
        connection: ConnectionId,
        /// The number of the request.
        correlation_id: i32,
        /// Version to encode it in.
        api_version: i16,
        /// The answer.
        response: Box<ResponseKind>,
    },
    /// The request is done and gets no answer (a produce with `acks=0`).
    Silence {
        /// Where it came from.
        connection: ConnectionId,
        /// The number of the request.
        correlation_id: i32,
    },
    /// The connection is to be closed: there is no other way to report an error to it.
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why, for the log.
        reason: String,
    },
    /// The client has proven who it is, where it has to: it may send larger requests now.
    Admitted {
        /// Which.
        connection: ConnectionId,
    },
}

/// Why a broker cannot be opened over a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store failed.
    #[error("cannot open the data in `{location}`: {source}")]
    Store {
        /// Where the data is.
        location: String,
        /// What failed.
        source: io::Error,
    },
    /// A topic default is not a topic config, or its value is not one.
    #[error("bad topic default: {reason}")]
    TopicDefault {
        /// What is wrong with it.
        reason: String,
    },
}

/// Names a request that is being worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(u64);

/// Where the answer to a request goes.
#[derive(Debug, Clone, Copy)]
struct Origin {
    connection: ConnectionId,
    correlation_id: i32,
    api_version: i16,
}

#[derive(Default)]
struct Connection {
    /// On a listener whose clients have to say who they are.
    gate: Option<Gate>,
    /// The request that is being worked on.
    current: Option<Ticket>,
    queue: VecDeque<Request>,
}

/// What a handler makes of a request.
enum Outcome {
    Answer(ResponseKind),
    /// No answer is wanted.
    Silence,
    /// The answer comes later.
    Wait,
    /// An answer, and the end of the connection.
    Refuse(ResponseKind, String),
    Close(String),
}

/// A single-node Kafka broker without sockets.
pub struct Broker {
    config: BrokerConfig,
    defaults: Overrides,
    store: Box<dyn Store>,
    ids: IdSource,
    journal: Journal,
    cluster_id: String,
    /// Host and port that clients are told.
    address: (String, u16),
    topics: Topics,
    groups: Groups,
    transactions: Transactions,
    next_producer_id: i64,
    reserved_producer_ids: i64,
    connections: HashMap<ConnectionId, Connection>,
    open: BTreeMap<Ticket, Origin>,
    next_ticket: u64,
    fetches: FetchWaiters,
    fetch_sessions: FetchSessions,
    /// Fetches whose partitions have new records.
    awakened: BTreeSet<Ticket>,
    next_housekeeping: Duration,
    /// When logs with a `flush.ms` are to be flushed.
    next_flush: Option<Duration>,
    /// For decompression.
    scratch: Scratch,
    scram_users: ScramUsers,
    now: Now,
}

impl Broker {
    /// Opens a broker over what is in `store`.
    ///
    /// `config` gives limits and defaults; what it says about sockets is for the server only.
    pub fn open(config: BrokerConfig, store: Box<dyn Store>, mut ids: IdSource, now: Now) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Store { location: store.location(), source };
        let defaults = Overrides(config.topic_defaults.iter().cloned().collect());
        defaults.check().map_err(|reason| OpenError::TopicDefault { reason })?;
        let mut topics = Topics::default();
        let mut groups = Groups::new(Limits::from(&config));
        let mut transactions = Transactions::default();
        let mut scram_users = ScramUsers::new();
        let mut cluster_id = None;
        let mut next_producer_id = 0;
        let mut journal = Journal::open(&*store, |entry| match entry {
            Entry::Cluster { id } => cluster_id = Some(id),
            Entry::ProducerIds { next } => next_producer_id = next,
            Entry::ScramUser { .. } => users::play(&mut scram_users, entry),
            Entry::Transaction(_) | Entry::TransactionRemoved { .. } => transactions.play(entry),
            Entry::TopicCreated { .. }
            | Entry::TopicDeleted { .. }
            | Entry::PartitionsAdded { .. }
            | Entry::TopicConfigs { .. }
            | Entry::LogStart { .. } => topics.play(entry, &defaults),
            _ => groups.play(entry),
        })
        .map_err(failed)?;
        let cluster_id = match cluster_id {
            Some(id) => id,
            None if topics::are_stored(&*store).map_err(failed)? => {
                // To go on would remove these records as those of topics that are no more.
                let reason = "there are records but no journal that says of which topics; bring the file `journal` back, or choose an empty folder";
                return Err(failed(io::Error::new(io::ErrorKind::InvalidData, reason)));
            }
            None => {
                let id = short_id(ids());
                journal.append(&[Entry::Cluster { id: id.clone() }]).map_err(failed)?;
                id
            }
        };
        groups.resume(now.elapsed);
        topics.open_logs(&*store).map_err(failed)?;
        let address = (config.advertised_host.clone().unwrap_or_else(|| config.host.clone()), config.port);
        let next_housekeeping = now.elapsed + config.housekeeping_interval;
        let mut broker = Self {
            config,
            defaults,
            store,
            ids,
            journal,
            cluster_id,
            address,
            topics,
            groups,
            transactions,
            next_producer_id,
            reserved_producer_ids: next_producer_id,
            connections: HashMap::new(),
            open: BTreeMap::new(),
            next_ticket: 0,
            fetches: FetchWaiters::default(),
            fetch_sessions: FetchSessions::default(),
            awakened: BTreeSet::new(),
            next_housekeeping,
            next_flush: None,
            scratch: Scratch::default(),
            scram_users,
            now,
        };
        broker.resume_transactions();
        Ok(broker)
    }

    /// Sets the address that clients are told to connect to.
    pub fn advertise(&mut self, host: &str, port: u16) {
        self.address = (host.to_owned(), port);
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Sees to it that a new connection is served only after its client has proven who it is.
    pub fn guard(&mut self, connection: ConnectionId, sasl: Arc<SaslConfig>) {
        let guarded = Connection { gate: Some(Gate::new(sasl)), ..Connection::default() };
        self.connections.insert(connection, guarded);
    }

    /// Takes a request; pushes whatever is to be sent now, to this connection or to others.
    pub fn step(&mut self, now: Now, connection: ConnectionId, request: Request, replies: &mut Vec<Reply>) {
        self.now = now;
        let entry = self.connections.entry(connection).or_default();
        if entry.queue.len() >= MAX_QUEUED_REQUESTS {
            let reason = format!("more than {MAX_QUEUED_REQUESTS} requests wait on it");
            replies.push(Reply::Close { connection, reason });
            return;
        }
        entry.queue.push_back(request);
        self.serve(connection, replies);
        self.settle(replies);
    }

    /// Takes note that a connection is gone; what it waited for is forgotten.
    pub fn closed(&mut self, now: Now, connection: ConnectionId, replies: &mut Vec<Reply>) {
        self.now = now;
        if let Some(state) = self.connections.remove(&connection)
            && let Some(ticket) = state.current
        {
            self.open.remove(&ticket);
            self.fetches.remove(ticket);
        }
        self.settle(replies);
    }

    /// Does what time asks for. To be called when [`Self::next_deadline`] has come; earlier does no harm.
    pub fn tick(&mut self, now: Now, replies: &mut Vec<Reply>) {
        self.now = now;
        for group in self.groups.due(now.elapsed) {
            let mut effects = Effects::default();
            self.groups.expire(&group, now.elapsed, now.unix_ms, &self.topics, &mut effects);
            // What cannot be written has been taken back and is tried again.
            let _ = self.apply(effects, replies);
        }
        while let Some(ticket) = self.fetches.next_due(now.elapsed) {
            self.complete_fetch(ticket, replies);
        }
        self.expire_transactions();
        if self.next_housekeeping <= now.elapsed {
            self.next_housekeeping = now.elapsed + self.config.housekeeping_interval;
            self.keep_house();
        }
        if self.next_flush.is_some_and(|next| next <= now.elapsed) {
            self.flush_logs();
        }
        self.settle(replies);
    }

    /// When [`Self::tick`] is due.
    pub fn next_deadline(&self) -> Duration {
        [self.groups.next_deadline(), self.fetches.next_deadline(), self.transactions.next_deadline(), self.next_flush]
            .into_iter()
            .flatten()
            .fold(self.next_housekeeping, Duration::min)
    }

    /// Makes everything durable and writes checkpoints, so that the next start is quick. The last thing to do with a broker.
    pub fn close(&mut self) -> io::Result<()> {
        let logs = self.topics.close_logs(&*self.store);
        let journal = self.journal.sync();
        logs.and(journal)
    }

    /// Serves requests of a connection until one of them waits.
    fn serve(&mut self, connection: ConnectionId, replies: &mut Vec<Reply>) {
        loop {
            let Some(state) = self.connections.get_mut(&connection) else {
                return;
            };
            if state.current.is_some() {
                return;
            }
            let Some(request) = state.queue.pop_front() else {
                return;
            };
            let ticket = Ticket(self.next_ticket);
            self.next_ticket += 1;
            state.current = Some(ticket);
            let origin =
                Origin { connection, correlation_id: request.correlation_id, api_version: request.api_version };
            self.open.insert(ticket, origin);
            let outcome = match self.judge(connection, &request, replies).or_else(|| unserved(&request)) {
                None => self.handle(ticket, request, replies),
                // In the one version that every client reads.
                Some(Outcome::Answer(response @ ResponseKind::ApiVersions(_))) => {
                    self.open.entry(ticket).and_modify(|origin| origin.api_version = 0);
                    Outcome::Answer(response)
                }
                Some(outcome) => outcome,
            };
            match outcome {
                Outcome::Answer(response) => self.answer(ticket, response, replies),
                Outcome::Silence => {
                    self.finish(ticket);
                    replies.push(Reply::Silence { connection, correlation_id: origin.correlation_id });
                }
                Outcome::Wait => {}
                Outcome::Refuse(response, reason) => {
                    self.answer(ticket, response, replies);
                    self.bar(connection);
                    replies.push(Reply::Close { connection, reason });
                }
                Outcome::Close(reason) => {
                    self.finish(ticket);
                    self.bar(connection);
                    replies.push(Reply::Close { connection, reason });
                }
            }
        }
    }

    /// Forgets what a connection still wants. What it sends until it is closed must not get around its gate.
    fn bar(&mut self, connection: ConnectionId) {
        match self.connections.get_mut(&connection) {
            Some(Connection { gate: Some(gate), queue, .. }) => {
                gate.bar();
                queue.clear();
            }
            _ => drop(self.connections.remove(&connection)),
        }
    }

    /// What the connection's gate makes of a request, if it does not let it pass.
    fn judge(&mut self, connection: ConnectionId, request: &Request, replies: &mut Vec<Reply>) -> Option<Outcome> {
        let gate = self.connections.get_mut(&connection)?.gate.as_mut()?;
        let was_open = gate.is_open();
        let ids = &mut self.ids;
        let verdict = gate.step(self.now, request, &self.scram_users, || format!("{:032x}", ids()));
        if gate.is_open() && !was_open {
            replies.push(Reply::Admitted { connection });
        }
        match verdict {
            Verdict::Pass => None,
            Verdict::Answer(response) => Some(Outcome::Answer(response)),
            Verdict::Refuse(response, reason) => Some(Outcome::Refuse(response, reason)),
            Verdict::Close(reason) => Some(Outcome::Close(reason)),
        }
    }

    /// Sends an answer, whoever still waits for it.
    fn answer(&mut self, ticket: Ticket, response: ResponseKind, replies: &mut Vec<Reply>) {
        if let Some(origin) = self.finish(ticket) {
            let response = group_api::fitted(response, origin.api_version);
            replies.push(Reply::Answer {
                connection: origin.connection,
                correlation_id: origin.correlation_id,
                api_version: origin.api_version,
                response: Box::new(response),
            });
        }
    }

    fn finish(&mut self, ticket: Ticket) -> Option<Origin> {
        let origin = self.open.remove(&ticket)?;
        if let Some(state) = self.connections.get_mut(&origin.connection) {
            state.current = None;
        }
        Some(origin)
    }

    /// Answers from effects are sent, and connections whose turn has come go on, until nothing moves any more.
    fn settle(&mut self, replies: &mut Vec<Reply>) {
        let mut seen = 0;
        loop {
            while let Some(ticket) = self.awakened.pop_first() {
                self.reconsider_fetch(ticket, replies);
            }
            // Every reply since the last look may have freed its connection for the next request.
            if seen == replies.len() {
                return;
            }
            let freed: Vec<ConnectionId> = replies[seen..].iter().filter_map(Reply::freed).collect();
            seen = replies.len();
            for connection in freed {
                self.serve(connection, replies);
            }
        }
    }

    /// Puts the effects of a group's change to work. If it cannot be written, it is taken back; the error is what the client is told.
    fn apply(&mut self, mut effects: Effects, replies: &mut Vec<Reply>) -> Result<(), ResponseError> {
        let written = self.record_as_coordinator(&effects.entries);
        if let Err(error) = written {
            self.groups.take_back(self.now.elapsed, self.now.unix_ms, error, &mut effects);
        }
        for (ticket, response) in effects.answers {
            self.answer(ticket, response, replies);
        }
        written
    }

    fn handle(&mut self, ticket: Ticket, request: Request, replies: &mut Vec<Reply>) -> Outcome {
        let version = request.api_version;
        let answer = |response| Outcome::Answer(response);
        match request.body {
            RequestKind::Produce(body) => self.produce(version, body),
            RequestKind::Fetch(body) => self.fetch(ticket, version, body),
            RequestKind::ListOffsets(body) => answer(ResponseKind::ListOffsets(self.list_offsets(version, body))),
            RequestKind::OffsetForLeaderEpoch(body) => {
                answer(ResponseKind::OffsetForLeaderEpoch(self.offset_for_leader_epoch(body)))
            }
            RequestKind::DeleteRecords(body) => answer(ResponseKind::DeleteRecords(self.delete_records(body))),
            RequestKind::DescribeProducers(body) => {
                answer(ResponseKind::DescribeProducers(self.describe_producers(body)))
            }
            RequestKind::DescribeLogDirs(body) => answer(ResponseKind::DescribeLogDirs(self.describe_log_dirs(body))),
            RequestKind::ApiVersions(_) => answer(ResponseKind::ApiVersions(cluster::api_versions())),
            RequestKind::Metadata(body) => answer(ResponseKind::Metadata(self.metadata(version, body))),
            RequestKind::DescribeCluster(body) => {
                answer(ResponseKind::DescribeCluster(self.describe_cluster(version, body)))
            }
            RequestKind::DescribeTopicPartitions(body) => {
                answer(ResponseKind::DescribeTopicPartitions(self.describe_topic_partitions(body)))
            }
            RequestKind::ListPartitionReassignments(_) => {
                // Partitions never move: there is nowhere to move to.
                answer(ResponseKind::ListPartitionReassignments(Default::default()))
            }
            RequestKind::FindCoordinator(body) => {
                answer(ResponseKind::FindCoordinator(self.find_coordinator(version, body)))
            }
            RequestKind::CreateTopics(body) => answer(ResponseKind::CreateTopics(self.create_topics(version, body))),
            RequestKind::DeleteTopics(body) => answer(ResponseKind::DeleteTopics(self.delete_topics(version, body))),
            RequestKind::CreatePartitions(body) => answer(ResponseKind::CreatePartitions(self.create_partitions(body))),
            RequestKind::DescribeConfigs(body) => answer(ResponseKind::DescribeConfigs(self.describe_configs(body))),
            RequestKind::AlterConfigs(body) => answer(ResponseKind::AlterConfigs(self.alter_configs(body))),
            RequestKind::IncrementalAlterConfigs(body) => {
                answer(ResponseKind::IncrementalAlterConfigs(self.incremental_alter_configs(body)))
            }
            RequestKind::JoinGroup(body) => {
                let client = (request.client_id, request.client_host);
                self.join_group(ticket, version, client, body, replies)
            }
            RequestKind::SyncGroup(body) => self.sync_group(ticket, body, replies),
            RequestKind::Heartbeat(body) => answer(ResponseKind::Heartbeat(self.heartbeat(body))),
            RequestKind::LeaveGroup(body) => self.leave_group(version, body, replies),
            RequestKind::OffsetCommit(body) => answer(ResponseKind::OffsetCommit(self.offset_commit(version, body))),
            RequestKind::OffsetFetch(body) => answer(ResponseKind::OffsetFetch(self.offset_fetch(version, body))),
            RequestKind::OffsetDelete(body) => answer(ResponseKind::OffsetDelete(self.offset_delete(body))),
            RequestKind::ListGroups(body) => answer(ResponseKind::ListGroups(self.list_groups(body))),
            RequestKind::DescribeGroups(body) => {
                answer(ResponseKind::DescribeGroups(self.describe_groups(version, body)))
            }
            RequestKind::DeleteGroups(body) => answer(ResponseKind::DeleteGroups(self.delete_groups(body))),
            RequestKind::ConsumerGroupHeartbeat(body) => {
                let client = (request.client_id, request.client_host);
                self.consumer_group_heartbeat(version, client, &body, replies)
            }
            RequestKind::ConsumerGroupDescribe(body) => {
                let described = self.consumer_group_describe(body);
                answer(ResponseKind::ConsumerGroupDescribe(consumer_group_api::with_member_types(version, described)))
            }
            RequestKind::InitProducerId(body) => answer(ResponseKind::InitProducerId(self.init_producer_id(body))),
            RequestKind::AddPartitionsToTxn(body) => {
                answer(ResponseKind::AddPartitionsToTxn(self.add_partitions_to_txn(body)))
            }
            RequestKind::AddOffsetsToTxn(body) => answer(ResponseKind::AddOffsetsToTxn(self.add_offsets_to_txn(body))),
            RequestKind::TxnOffsetCommit(body) => {
                answer(ResponseKind::TxnOffsetCommit(self.txn_offset_commit(version, body)))
            }
            RequestKind::EndTxn(body) => answer(ResponseKind::EndTxn(self.end_txn(version, body))),
            RequestKind::DescribeAcls(_) => answer(ResponseKind::DescribeAcls(alone::describe_acls())),
            RequestKind::CreateAcls(body) => answer(ResponseKind::CreateAcls(alone::create_acls(&body))),
            RequestKind::DeleteAcls(body) => answer(ResponseKind::DeleteAcls(alone::delete_acls(&body))),
            RequestKind::DescribeClientQuotas(_) => {
                answer(ResponseKind::DescribeClientQuotas(alone::describe_client_quotas()))
            }
            RequestKind::ElectLeaders(body) => answer(ResponseKind::ElectLeaders(self.elect_leaders(body))),
            RequestKind::ListConfigResources(body) => {
                answer(ResponseKind::ListConfigResources(self.list_config_resources(version, &body)))
            }
            RequestKind::DescribeTransactions(body) => {
                answer(ResponseKind::DescribeTransactions(self.describe_transactions(body)))
            }
            RequestKind::DescribeUserScramCredentials(body) => {
                answer(ResponseKind::DescribeUserScramCredentials(self.describe_scram_users(body)))
            }
            RequestKind::AlterUserScramCredentials(body) => {
                answer(ResponseKind::AlterUserScramCredentials(self.alter_scram_users(body)))
            }
            RequestKind::SaslHandshake(_) => answer(ResponseKind::SaslHandshake(crate::sasl::late_handshake())),
            RequestKind::SaslAuthenticate(_) => answer(ResponseKind::SaslAuthenticate(crate::sasl::late_proof())),
            RequestKind::ListTransactions(body) => answer(ResponseKind::ListTransactions(self.list_transactions(body))),
            _ => Outcome::Close("it sent a request that this broker does not serve".to_owned()),
        }
    }

    /// Writes a change to the journal; an error is what the client is told.
    fn record(&mut self, entries: &[Entry]) -> Result<(), ResponseError> {
        self.journal.append(entries).map_err(|error| {
            tracing::error!("cannot write to the journal: {error}; free some space and try again");
            ResponseError::KafkaStorageError
        })
    }

    /// Writes a change of a group or transaction to the journal; the error is what Kafka's coordinators answer when their log cannot be
    /// written. Clients take it for "ask again".
    fn record_as_coordinator(&mut self, entries: &[Entry]) -> Result<(), ResponseError> {
        self.record(entries).map_err(|_| ResponseError::NotCoordinator)
    }

    /// Makes the journal survive the loss of power; an error is what the client is told.
    fn sync_journal(&mut self) -> Result<(), ResponseError> {
        self.journal.sync().map_err(|error| {
            tracing::error!("cannot sync the journal: {error}");
            ResponseError::KafkaStorageError
        })
    }

    /// A producer id that was never used before.
    fn fresh_producer_id(&mut self) -> Result<i64, ResponseError> {
        if self.next_producer_id >= self.reserved_producer_ids {
            let next = self.next_producer_id + PRODUCER_ID_BLOCK;
            // An id that is given out twice makes records of one producer look like repeats of the other's; syncs are rare enough to wait for.
            let kept = self.record(&[Entry::ProducerIds { next }]).and_then(|()| self.sync_journal());
            // What Kafka's brokers answer while they have no ids to give.
            kept.map_err(|_| ResponseError::CoordinatorLoadInProgress)?;
            self.reserved_producer_ids = next;
        }
        let id = self.next_producer_id;
        self.next_producer_id += 1;
        Ok(id)
    }

    fn fresh_uuid(&mut self) -> Uuid {
        loop {
            let id = uuid::Builder::from_random_bytes((self.ids)().to_be_bytes()).into_uuid();
            // Clients print ids in base 64, where a leading dash reads as an option.
            if !id.is_nil() && !short_id(id.as_u128()).starts_with('-') {
                return id;
            }
        }
    }
}

impl Reply {
    /// The connection that this reply lets go on.
    fn freed(&self) -> Option<ConnectionId> {
        match self {
            Self::Answer { connection, .. } | Self::Silence { connection, .. } => Some(*connection),
            Self::Close { .. } | Self::Admitted { .. } => None,
        }
    }
}

/// An error's number in the protocol.
pub(crate) fn code(error: ResponseError) -> i16 {
    error.code()
}

/// 16 bytes as Apache Kafka prints ids: base 64 for URLs, without padding.
fn short_id(id: u128) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digit = |bits: u128| char::from(ALPHABET[(bits & 63) as usize]);
    let mut text: String = (0..21).map(|index| digit(id >> (122 - 6 * index))).collect();
    text.push(digit(id << 4));
    text
}

/// What becomes of a request in a version that is not served: `ApiVersions` is answered with those that are, all else ends the connection.
fn unserved(request: &Request) -> Option<Outcome> {
    let api = api_of(&request.body);
    let served = cluster::SERVED.iter().find(|(key, _, _)| Some(*key) == api);
    let version = request.api_version;
    match served {
        Some((_, min, max)) if (*min..=*max).contains(&version) => None,
        Some((ApiKey::ApiVersions, _, _)) => {
            let response = cluster::api_versions().with_error_code(code(ResponseError::UnsupportedVersion));
            Some(Outcome::Answer(ResponseKind::ApiVersions(response)))
        }
        Some((key, min, max)) => {
            let reason = format!("it sent {key:?} in version {version}, this broker serves {min} to {max}");
            Some(Outcome::Close(reason))
        }
        None => Some(Outcome::Close("it sent a request that this broker does not serve".to_owned())),
    }
}

/// Which of the served APIs a request belongs to.
fn api_of(request: &RequestKind) -> Option<ApiKey> {
    Some(match request {
        RequestKind::Produce(_) => ApiKey::Produce,
        RequestKind::Fetch(_) => ApiKey::Fetch,
        RequestKind::ListOffsets(_) => ApiKey::ListOffsets,
        RequestKind::Metadata(_) => ApiKey::Metadata,
        RequestKind::OffsetCommit(_) => ApiKey::OffsetCommit,
        RequestKind::OffsetFetch(_) => ApiKey::OffsetFetch,
        RequestKind::FindCoordinator(_) => ApiKey::FindCoordinator,
        RequestKind::JoinGroup(_) => ApiKey::JoinGroup,
        RequestKind::Heartbeat(_) => ApiKey::Heartbeat,
        RequestKind::LeaveGroup(_) => ApiKey::LeaveGroup,
        RequestKind::SyncGroup(_) => ApiKey::SyncGroup,
        RequestKind::DescribeGroups(_) => ApiKey::DescribeGroups,
        RequestKind::ListGroups(_) => ApiKey::ListGroups,
        RequestKind::ApiVersions(_) => ApiKey::ApiVersions,
        RequestKind::CreateTopics(_) => ApiKey::CreateTopics,
        RequestKind::DeleteTopics(_) => ApiKey::DeleteTopics,
        RequestKind::DeleteRecords(_) => ApiKey::DeleteRecords,
        RequestKind::InitProducerId(_) => ApiKey::InitProducerId,
        RequestKind::OffsetForLeaderEpoch(_) => ApiKey::OffsetForLeaderEpoch,
        RequestKind::AddPartitionsToTxn(_) => ApiKey::AddPartitionsToTxn,
        RequestKind::AddOffsetsToTxn(_) => ApiKey::AddOffsetsToTxn,
        RequestKind::EndTxn(_) => ApiKey::EndTxn,
        RequestKind::TxnOffsetCommit(_) => ApiKey::TxnOffsetCommit,
        RequestKind::DescribeAcls(_) => ApiKey::DescribeAcls,
        RequestKind::CreateAcls(_) => ApiKey::CreateAcls,
        RequestKind::DeleteAcls(_) => ApiKey::DeleteAcls,
        RequestKind::DescribeClientQuotas(_) => ApiKey::DescribeClientQuotas,
        RequestKind::ElectLeaders(_) => ApiKey::ElectLeaders,
        RequestKind::ListConfigResources(_) => ApiKey::ListConfigResources,
        RequestKind::DescribeConfigs(_) => ApiKey::DescribeConfigs,
        RequestKind::AlterConfigs(_) => ApiKey::AlterConfigs,
        RequestKind::DescribeLogDirs(_) => ApiKey::DescribeLogDirs,
        RequestKind::CreatePartitions(_) => ApiKey::CreatePartitions,
        RequestKind::DeleteGroups(_) => ApiKey::DeleteGroups,
        RequestKind::IncrementalAlterConfigs(_) => ApiKey::IncrementalAlterConfigs,
        RequestKind::ListPartitionReassignments(_) => ApiKey::ListPartitionReassignments,
        RequestKind::OffsetDelete(_) => ApiKey::OffsetDelete,
        RequestKind::DescribeCluster(_) => ApiKey::DescribeCluster,
        RequestKind::DescribeProducers(_) => ApiKey::DescribeProducers,
        RequestKind::ConsumerGroupHeartbeat(_) => ApiKey::ConsumerGroupHeartbeat,
        RequestKind::ConsumerGroupDescribe(_) => ApiKey::ConsumerGroupDescribe,
        RequestKind::DescribeTransactions(_) => ApiKey::DescribeTransactions,
        RequestKind::ListTransactions(_) => ApiKey::ListTransactions,
        RequestKind::SaslHandshake(_) => ApiKey::SaslHandshake,
        RequestKind::SaslAuthenticate(_) => ApiKey::SaslAuthenticate,
        RequestKind::DescribeUserScramCredentials(_) => ApiKey::DescribeUserScramCredentials,
        RequestKind::AlterUserScramCredentials(_) => ApiKey::AlterUserScramCredentials,
        RequestKind::DescribeTopicPartitions(_) => ApiKey::DescribeTopicPartitions,
        _ => return None,
    })
}
