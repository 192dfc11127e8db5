//! The broker's process, over a disk that is slow, full, or loses what was not synced.
//!
//! What goes in and comes out is looked at here, where the order of things is the broker's own.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatResponse, CreateTopicsRequest, RequestKind, ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kurier_broker::{Broker, BrokerConfig, ConnectionId, MemoryStore, Now, Reply, Request, Store};
use kurier_kafka::batch::BatchHeader;

use uuid::Uuid;

use super::network::{Payload, unpack_request};
use super::refuse::{self, Refusal};
use super::{Event, World};
use crate::ledger::Checked;
use crate::plan::{Membership, Part, Plan, TOPICS, name, part, parts};
use crate::planted::Tamper;
use crate::rng::Rng;
use crate::tally::{Fault, State};

/// The connection of the simulation itself, over which nothing gets lost.
const OWN_CONNECTION: ConnectionId = ConnectionId(u64::MAX);
/// The highest number that is told to the first member of a group.
const FIRST: i32 = 2;
/// How the broker is shut down in an orderly manner: no process may be there before.
const RESTART_MS: (u64, u64) = (10, 3_000);

/// Whether a batch was refused because one before it is missing.
fn is_out_of_order(response: &ResponseKind) -> bool {
    let ResponseKind::Produce(produce) = response else { return false };
    let mut partitions = produce.responses.iter().flat_map(|topic| &topic.partition_responses);
    partitions.any(|partition| partition.error_code == ResponseError::OutOfOrderSequenceNumber.code())
}

/// What has to be known of a request when its answer goes out.
#[derive(Debug)]
enum Asked {
    Commit {
        group: String,
        generation: i32,
        member: String,
        offsets: Vec<(Part, i64)>,
    },
    OffsetFetch,
    /// A heartbeat of KIP-848: whose, and in which epoch.
    Beat {
        member: String,
        epoch: i32,
        instance: Option<String>,
    },
    /// A static member of the classic protocol joins, syncs or beats; one that joins anew has no id.
    Static {
        member: String,
        instance: String,
    },
    /// Partition, records, producer id and epoch of each batch.
    Produce(Vec<(Part, i64, i64, i16)>),
    Fetch {
        since: Duration,
    },
    Epoch,
    /// A member of the classic protocol that is not static joins.
    Join,
}

pub(super) struct Server {
    pub(super) store: MemoryStore,
    broker: Option<Broker>,
    tamper: Tamper,
    asked: BTreeMap<i32, (u64, Asked)>,
    /// Nothing is done before.
    pub(super) stalled_until: Duration,
    /// How much longer than usual answers to writes take.
    pub(super) slow_disk: Duration,
    /// Nothing can be written.
    pub(super) is_full: bool,
    /// Numbers of generations mean something within one era only, which ends when power fails, as groups may be lost with it, or with the members of a group that
    /// takes the other protocol then.
    pub(super) era: u64,
    /// The newest epoch that each member of the group was told (KIP-848).
    told_epochs: BTreeMap<String, i32>,
    /// The number that was told last to one who joined a group that is moved between protocols.
    newest: i32,
    /// Who was given each static place last; nobody if that is not known.
    places: BTreeMap<String, String>,
    /// What its calendar is off by.
    pub(super) skew_ms: i64,
    /// What is refused as by a broker that is not the right one.
    pub(super) refusal: Option<(Refusal, Duration)>,
    armed: Option<Duration>,
    /// Behind the last record that was acknowledged, by partition.
    ends: Vec<i64>,
    /// The first offset that there is, by partition, as far as an answer has told it.
    pub(super) log_starts: Vec<i64>,
    /// The epoch below which nothing may be taken any more, by producer id.
    fences: BTreeMap<i64, i16>,
    /// Topics by the ids that the broker gave them.
    ids: BTreeMap<Uuid, &'static str>,
    next_own: i32,
    flushes: bool,
    starts: u64,
}

impl Server {
    pub(super) fn new(plan: &Plan, rng: &mut Rng) -> Self {
        Self {
            store: MemoryStore::new(),
            broker: None,
            tamper: Tamper::new(plan.planted, rng.next()),
            asked: BTreeMap::new(),
            stalled_until: Duration::ZERO,
            slow_disk: Duration::ZERO,
            is_full: false,
            era: 0,
            told_epochs: BTreeMap::new(),
            newest: 0,
            places: BTreeMap::new(),
            skew_ms: 0,
            refusal: None,
            armed: None,
            ends: vec![0; parts()],
            log_starts: vec![0; parts()],
            fences: BTreeMap::new(),
            ids: BTreeMap::new(),
            next_own: 0,
            flushes: plan.power_fails,
            starts: 0,
        }
    }

    /// The number of a partition, of a topic that is told by its name or by its id.
    fn part(&self, topic: &TopicName, id: Uuid, partition: i32) -> Option<Part> {
        let name = self.ids.get(&id).copied().unwrap_or(topic.as_str());
        part(name, partition)
    }

    /// Bytes that the journal has.
    fn journal_len(&self) -> u64 {
        self.store.files().into_iter().find(|(path, _)| path == "journal").map_or(0, |(_, len)| len)
    }

    pub(super) fn is_up(&self) -> bool {
        self.broker.is_some()
    }

    /// What has to be known of a request when its answer goes out, if anything.
    fn asked_of(&self, body: &RequestKind, now: Duration) -> Option<Asked> {
        Some(match body {
            RequestKind::OffsetCommit(commit) => Asked::Commit {
                group: commit.group_id.to_string(),
                generation: commit.generation_id_or_member_epoch,
                member: commit.group_instance_id.as_ref().unwrap_or(&commit.member_id).to_string(),
                offsets: commit
                    .topics
                    .iter()
                    .flat_map(|topic| {
                        let offset = |partition: &kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition| {
                            Some((self.part(&topic.name, topic.topic_id, partition.partition_index)?, partition.committed_offset))
                        };
                        topic.partitions.iter().filter_map(offset)
                    })
                    .collect(),
            },
            RequestKind::OffsetFetch(_) => Asked::OffsetFetch,
            RequestKind::ConsumerGroupHeartbeat(beat) => {
                let instance = beat.instance_id.as_ref().map(ToString::to_string);
                Asked::Beat { member: beat.member_id.to_string(), epoch: beat.member_epoch, instance }
            }
            RequestKind::JoinGroup(join) => match &join.group_instance_id {
                Some(instance) => Asked::Static { member: join.member_id.to_string(), instance: instance.to_string() },
                None => Asked::Join,
            },
            RequestKind::SyncGroup(sync) => {
                let instance = sync.group_instance_id.as_ref()?.to_string();
                Asked::Static { member: sync.member_id.to_string(), instance }
            }
            RequestKind::Heartbeat(beat) => {
                let instance = beat.group_instance_id.as_ref()?.to_string();
                Asked::Static { member: beat.member_id.to_string(), instance }
            }
            RequestKind::InitProducerId(_) | RequestKind::EndTxn(_) => Asked::Epoch,
            RequestKind::Produce(produce) => Asked::Produce(
                produce
                    .topic_data
                    .iter()
                    .flat_map(|topic| {
                        topic.partition_data.iter().filter_map(|data| {
                            let header = BatchHeader::read(data.records.as_ref()?).ok()??;
                            Some((self.part(&topic.name, topic.topic_id, data.index)?, i64::from(header.record_count), header.producer_id, header.producer_epoch))
                        })
                    })
                    .collect(),
            ),
            RequestKind::Fetch(_) => Asked::Fetch { since: now },
            _ => return None,
        })
    }
}

impl World {
    fn broker_now(&self) -> Now {
        Now { elapsed: self.now, unix_ms: self.unskewed_ms() + self.server.skew_ms }
    }

    pub(super) fn start_broker(&mut self) -> Checked {
        if self.server.broker.is_some() {
            return Ok(());
        }
        let torn = self.server.store.revive();
        self.server.stalled_until = Duration::ZERO;
        let config = BrokerConfig {
            auto_create_topics: false,
            advertised_host: Some("broker".to_owned()),
            port: 9092,
            housekeeping_interval: Duration::from_secs(5),
            group_consumer_session_timeout: Duration::from_secs(8),
            group_consumer_heartbeat_interval: Duration::from_millis(1_500),
            group_initial_rebalance_delay: Duration::from_millis(self.rng.pick(&[0, 0, 500, 3_000])),
            // What a journal says after it was replaced must be what it said before.
            journal_min_bytes: 4_000,
            ..BrokerConfig::default()
        };
        let mut ids = Rng::new(self.rng.next());
        let ids = Box::new(move || u128::from(ids.next()) << 64 | u128::from(ids.next()));
        let before: u64 = self.server.store.files().iter().map(|(_, len)| len).sum();
        let store: Box<dyn Store> = self.server.tamper.store(&self.server.store);
        match Broker::open(config, store, ids, self.broker_now()) {
            Ok(broker) => {
                let after: u64 = self.server.store.files().iter().map(|(_, len)| len).sum();
                if torn && after < before {
                    self.tally.state(State::TornTail);
                }
                self.server.starts += 1;
                let starts = self.server.starts;
                self.log(|| format!("the broker is up, for the {starts}. time"));
                self.server.broker = Some(broker);
                self.server.armed = None;
                self.arm_broker();
                Ok(())
            }
            // Nothing can be written at the moment.
            Err(error) if self.server.is_full => {
                self.log(|| format!("the broker does not start: {error}"));
                self.after_ms(500, Event::BrokerStart);
                Ok(())
            }
            Err(error) => Err(format!("the broker does not start over what a crash left: {error}")),
        }
    }

    pub(super) fn create_topics(&mut self) -> Checked {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let config = |(name, value): &(&str, &str)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let flush: &[(&str, &str)] = if self.server.flushes { &[("flush.messages", "1")] } else { &[] };
        let topics = TOPICS.iter().map(|plan| {
            CreatableTopic::default()
                .with_name(TopicName(text(plan.name)))
                .with_num_partitions(plan.partitions)
                .with_replication_factor(1)
                .with_configs(plan.configs.iter().chain(flush).map(config).collect())
        });
        let request = CreateTopicsRequest::default().with_topics(topics.collect()).with_timeout_ms(1_000);
        let answer = self.ask(7, RequestKind::CreateTopics(request))?;
        let Some(ResponseKind::CreateTopics(answer)) = answer else {
            return Err("topics cannot be created".to_owned());
        };
        for topic in &answer.topics {
            let plan = TOPICS.iter().find(|plan| plan.name == topic.name.as_str());
            match plan.filter(|_| topic.error_code == 0) {
                Some(plan) => self.server.ids.insert(topic.topic_id, plan.name),
                None => {
                    return Err(format!("topic {} cannot be created: {:?}", topic.name.as_str(), topic.error_message));
                }
            };
        }
        Ok(())
    }

    /// Asks the broker something on the simulation's own account; none while it is not there.
    pub(super) fn ask(&mut self, api_version: i16, body: RequestKind) -> Result<Option<ResponseKind>, String> {
        self.server.next_own += 1;
        let correlation_id = self.server.next_own;
        let Some(broker) = &mut self.server.broker else { return Ok(None) };
        let request = Request {
            correlation_id,
            api_version,
            client_id: "simulation".to_owned(),
            client_host: "/sim".to_owned(),
            body,
        };
        let now = Now { elapsed: self.now, unix_ms: super::EPOCH_MS };
        let now = Now { unix_ms: now.unix_ms + self.now.as_millis() as i64 + self.server.skew_ms, ..now };
        let mut replies = Vec::new();
        broker.step(now, OWN_CONNECTION, request, &mut replies);
        let mut found = None;
        replies.retain_mut(|reply| match reply {
            Reply::Answer { connection, response, .. } if *connection == OWN_CONNECTION => {
                found = Some((**response).clone());
                false
            }
            _ => true,
        });
        self.replies(replies)?;
        Ok(found)
    }

    /// A request reaches the broker's machine.
    pub(super) fn arrive(
        &mut self,
        connection: u64,
        number: i32,
        version: i16,
        request: Payload<RequestKind>,
    ) -> Checked {
        if self.network.is_over(connection) {
            self.after_ms(1, Event::Broken { connection });
            return Ok(());
        }
        if self.server.stalled_until > self.now {
            let until = self.server.stalled_until;
            self.at(until, Event::Arrive { connection, number, version, request });
            return Ok(());
        }
        if self.server.broker.is_none() {
            self.after_ms(1, Event::Broken { connection });
            return Ok(());
        }
        let mut body = unpack_request(request)?;
        if self.network.is_left(connection) && matches!(body, RequestKind::Produce(_)) {
            self.tally.fault(Fault::RequestLate);
            self.log(|| format!("request {number} arrives late"));
        }
        if let Some((refusal, until)) = self.server.refusal
            && until > self.now
            && let Some(response) = refuse::answer(refusal, &body)
        {
            self.log(|| format!("request {number} is refused: {refusal:?}"));
            return self.carry_answer(connection, number, version, Box::new(response), Duration::ZERO);
        }
        if let Some(response) = self.server.tamper.request(self.now, &mut body) {
            return self.carry_answer(connection, number, version, Box::new(response), Duration::ZERO);
        }
        if let Some(asked) = self.server.asked_of(&body, self.now) {
            self.server.asked.insert(number, (connection, asked));
        }
        let request = Request {
            correlation_id: number,
            api_version: version,
            client_id: "sim".to_owned(),
            client_host: "/sim".to_owned(),
            body,
        };
        let now = self.broker_now();
        let mut replies = Vec::new();
        if let Some(broker) = &mut self.server.broker {
            broker.step(now, ConnectionId(connection), request, &mut replies);
        }
        self.replies(replies)?;
        self.arm_broker();
        Ok(())
    }

    pub(super) fn wake_broker(&mut self) -> Checked {
        if self.server.armed.is_none_or(|at| at > self.now) {
            return Ok(());
        }
        self.server.armed = None;
        if self.server.stalled_until > self.now {
            self.server.armed = Some(self.server.stalled_until);
            self.at(self.server.stalled_until, Event::BrokerWake);
            return Ok(());
        }
        let now = self.broker_now();
        let mut replies = Vec::new();
        let before = self.server.journal_len();
        if let Some(broker) = &mut self.server.broker
            && broker.next_deadline() <= self.now
        {
            broker.tick(now, &mut replies);
        }
        if self.server.journal_len() < before {
            self.tally.state(State::JournalReplaced);
        }
        self.replies(replies)?;
        self.arm_broker();
        Ok(())
    }

    fn arm_broker(&mut self) {
        let Some(broker) = &self.server.broker else { return };
        let at = broker.next_deadline().max(self.now + Duration::from_millis(1));
        if self.server.armed.is_none_or(|armed| at < armed) {
            self.server.armed = Some(at);
            self.at(at, Event::BrokerWake);
        }
    }

    pub(super) fn tell_closed(&mut self, connection: u64) -> Checked {
        self.forget_asked(Some(connection));
        let now = self.broker_now();
        let mut replies = Vec::new();
        if let Some(broker) = &mut self.server.broker {
            broker.closed(now, ConnectionId(connection), &mut replies);
        }
        self.replies(replies)?;
        self.arm_broker();
        Ok(())
    }

    fn replies(&mut self, replies: Vec<Reply>) -> Checked {
        if self.server.store.has_died() {
            self.tally.fault(Fault::BrokerKilledInWrite);
            self.broker_dies("within a write");
            return Ok(());
        }
        for reply in replies {
            match reply {
                Reply::Answer { connection, correlation_id: number, api_version, mut response } => {
                    let asked = self.server.asked.remove(&number).map(|(_, asked)| asked);
                    self.server.tamper.response(&mut response);
                    if let ResponseKind::ApiVersions(versions) = response.as_mut() {
                        let features = versions.finalized_features.iter_mut();
                        for feature in features.filter(|feature| feature.name.as_str() == "transaction.version") {
                            feature.max_version_level = self.plan.transaction_version;
                            feature.min_version_level = feature.min_version_level.min(self.plan.transaction_version);
                        }
                    }
                    let slow = match response.as_ref() {
                        ResponseKind::Produce(_) | ResponseKind::OffsetCommit(_) => self.server.slow_disk,
                        _ => Duration::ZERO,
                    };
                    if let Some(asked) = asked {
                        self.look_at(asked, &response)?;
                    }
                    if is_out_of_order(&response) {
                        self.lose_late_requests(connection.0);
                    }
                    if slow > Duration::ZERO {
                        // One thread does it all: everybody waits for the disk.
                        self.server.stalled_until = self.server.stalled_until.max(self.now + slow);
                    }
                    self.carry_answer(connection.0, number, api_version, response, slow)?;
                }
                Reply::Close { connection, reason } => {
                    return Err(format!("the broker closes connection {}: {reason}", connection.0));
                }
                Reply::Silence { .. } | Reply::Admitted { .. } => {}
            }
        }
        Ok(())
    }

    /// The process is gone, with all its connections; what it had written is still there.
    pub(super) fn broker_dies(&mut self, how: &str) {
        if self.server.broker.take().is_none() {
            return;
        }
        self.log(|| format!("the broker dies {how}"));
        self.lose_broker();
    }

    /// Kills it when all is over, and starts it again.
    pub(super) fn restart_broker(&mut self) -> Checked {
        self.server.broker = None;
        self.start_broker()
    }

    /// Its process ends as it should.
    pub(super) fn stop_broker(&mut self) {
        let Some(mut broker) = self.server.broker.take() else { return };
        let closed = broker.close();
        self.log(|| format!("the broker stops: {closed:?}"));
        drop(broker);
        self.lose_broker();
    }

    fn lose_broker(&mut self) {
        self.forget_asked(None);
        self.server.tamper.broker_gone();
        for connection in self.network.broker_gone() {
            let notice = 1 + self.rng.below(50);
            self.after_ms(notice, Event::Broken { connection });
        }
        let pause = self.rng.between(RESTART_MS.0, RESTART_MS.1);
        self.after_ms(pause, Event::BrokerStart);
    }

    /// Requests get no answer any more, those of a connection or all. What they wanted is done or not.
    fn forget_asked(&mut self, of: Option<u64>) {
        let server = &mut self.server;
        let gone = server.asked.extract_if(.., |_, (connection, _)| of.is_none_or(|of| of == *connection));
        for (_, (_, asked)) in gone {
            match asked {
                Asked::Commit { generation, member, offsets, .. } => {
                    for (part, offset) in offsets {
                        self.ledger.commit_in_doubt(part, offset, generation, &member);
                    }
                }
                Asked::Beat { member, instance, .. } => {
                    server.told_epochs.remove(&member);
                    instance.map(|instance| server.places.remove(&instance));
                }
                Asked::Static { instance, .. } => drop(server.places.remove(&instance)),
                _ => {}
            }
        }
    }

    /// Power has failed, and nothing is promised of groups; or a group has begun anew.
    pub(super) fn end_era(&mut self) {
        self.ledger.forget_generations();
        self.server.told_epochs.clear();
        self.server.places.clear();
        self.server.era += 1;
    }

    /// A static place is taken, or somebody is told that another has it: it must not be the one who was given it last.
    fn look_at_place(&mut self, instance: String, member: &str, error: i16) -> Checked {
        let server = &mut self.server;
        if error == 0 {
            server.places.insert(instance, member.to_owned());
            return Ok(());
        }
        // Somebody who waits to be let in may have the place already.
        let mut asked = server.asked.values();
        let is_claimed = asked.any(
            |(_, asked)| matches!(asked, Asked::Static { instance: of, member } if *of == instance && member.is_empty()),
        );
        if error == ResponseError::FencedInstanceId.code()
            && !is_claimed
            && server.places.get(&instance).is_some_and(|owner| owner == member)
        {
            return Err(format!("{member} is fenced, and nobody else was given its place {instance}"));
        }
        Ok(())
    }

    /// The epoch of a member grows, and whoever has the newest one is not sent away for it.
    fn look_at_beat(&mut self, member: String, epoch: i32, answer: &ConsumerGroupHeartbeatResponse) -> Checked {
        let known = self.server.told_epochs.get(&member).copied();
        if answer.error_code == 0 {
            if let Some(known) = known
                && (0..known).contains(&answer.member_epoch)
            {
                return Err(format!("{member} is told epoch {}, after {known}", answer.member_epoch));
            }
            self.server.told_epochs.insert(member, answer.member_epoch);
        } else if answer.error_code == ResponseError::FencedMemberEpoch.code() && known == Some(epoch) && epoch > 0 {
            return Err(format!("{member} is fenced in epoch {epoch}, which is the last one that it was told"));
        }
        Ok(())
    }

    /// A group without members that takes the other protocol counts from the beginning again: an era ends.
    fn look_for_a_new_count(&mut self, asked: &Asked, response: &ResponseKind) {
        let told = match (asked, response) {
            (Asked::Beat { epoch: 0, .. }, ResponseKind::ConsumerGroupHeartbeat(answer)) if answer.error_code == 0 => {
                answer.member_epoch
            }
            (_, ResponseKind::JoinGroup(answer)) if answer.error_code == 0 && answer.leader == answer.member_id => {
                answer.generation_id
            }
            _ => return,
        };
        if told < self.server.newest || told <= FIRST {
            self.end_era();
            self.network.begin_era(self.server.era);
        }
        self.server.newest = told;
    }

    /// An answer goes out: what does it say of what was promised before?
    fn look_at(&mut self, asked: Asked, response: &ResponseKind) -> Checked {
        if self.plan.membership == Membership::Rolled {
            self.look_for_a_new_count(&asked, response);
        }
        match (asked, response) {
            (Asked::Commit { group, generation, member, offsets }, ResponseKind::OffsetCommit(answer)) => {
                let taken = answer.topics.iter().flat_map(|topic| {
                    let taken = topic.partitions.iter().filter(|partition| partition.error_code == 0);
                    taken.filter_map(|partition| {
                        self.server.part(&topic.name, topic.topic_id, partition.partition_index)
                    })
                });
                for part in taken.collect::<Vec<_>>() {
                    let Some((_, offset)) = offsets.iter().find(|(of, _)| *of == part) else { continue };
                    self.tally.state(State::Committed);
                    self.log(|| {
                        format!("{group}: {member} of generation {generation} has committed {} {offset}", name(part))
                    });
                    if self.ledger.committed(part, *offset, generation, &member)? {
                        self.tally.state(State::OwnerChanged);
                    }
                }
                if answer.topics.iter().flat_map(|topic| &topic.partitions).any(|partition| partition.error_code != 0) {
                    self.tally.state(State::CommitRefused);
                }
            }
            (Asked::Beat { member, epoch, instance }, ResponseKind::ConsumerGroupHeartbeat(answer)) => {
                if let Some(instance) = instance {
                    self.look_at_place(instance, &member, answer.error_code)?;
                }
                self.look_at_beat(member, epoch, answer)?;
            }
            // Whoever waits when the group changes its protocol has to join again, and has its place by then.
            (Asked::Static { instance, member }, ResponseKind::JoinGroup(answer))
                if answer.error_code == 0
                    || (member.is_empty()
                        && !answer.member_id.is_empty()
                        && answer.error_code == ResponseError::RebalanceInProgress.code()) =>
            {
                self.look_at_place(instance, &answer.member_id, 0)?;
            }
            // Its group was moved to the other protocol while it waited: it has its place, and does not know it.
            (Asked::Static { instance, .. }, ResponseKind::JoinGroup(answer))
                if answer.error_code == ResponseError::RebalanceInProgress.code() =>
            {
                self.server.places.remove(&instance);
            }
            (Asked::Static { instance, member }, ResponseKind::JoinGroup(answer)) => {
                self.look_at_place(instance, &member, answer.error_code)?;
            }
            (Asked::Static { instance, member }, ResponseKind::SyncGroup(answer)) => {
                self.look_at_place(instance, &member, answer.error_code)?;
            }
            (Asked::Static { instance, member }, ResponseKind::Heartbeat(answer)) => {
                self.look_at_place(instance, &member, answer.error_code)?;
            }
            (Asked::OffsetFetch, ResponseKind::OffsetFetch(answer)) => {
                for topic in answer.groups.iter().flat_map(|group| &group.topics) {
                    for partition in topic.partitions.iter().filter(|partition| partition.error_code == 0) {
                        let part = self.server.part(&topic.name, topic.topic_id, partition.partition_index);
                        let Some(part) = part else { continue };
                        let offset = partition.committed_offset;
                        self.log(|| format!("the committed offset of {} is told: {offset}", name(part)));
                        self.ledger.offset_told(part, offset)?;
                    }
                }
            }
            (Asked::Produce(batches), ResponseKind::Produce(answer)) => {
                for topic in &answer.responses {
                    for partition in &topic.partition_responses {
                        let part = self.server.part(&topic.name, topic.topic_id, partition.index);
                        let Some(part) = part else { continue };
                        if let Some(batch) = batches.iter().find(|batch| batch.0 == part) {
                            self.look_at_produced(*batch, partition.base_offset, partition.error_code)?;
                        }
                    }
                }
            }
            (Asked::Epoch, ResponseKind::InitProducerId(answer)) if answer.error_code == 0 => {
                self.server.fences.insert(answer.producer_id.0, answer.producer_epoch);
            }
            (Asked::Epoch, ResponseKind::EndTxn(answer)) if answer.error_code == 0 && answer.producer_epoch >= 0 => {
                self.tally.state(State::TransactionsOfVersion2);
                self.server.fences.insert(answer.producer_id.0, answer.producer_epoch);
            }
            (Asked::Epoch, ResponseKind::EndTxn(answer)) if answer.error_code == 0 => {
                self.tally.state(State::TransactionsOfVersion1);
            }
            (Asked::Fetch { since }, ResponseKind::Fetch(answer)) => {
                if since < self.now {
                    self.tally.state(State::FetchWaited);
                }
                for topic in &answer.responses {
                    for partition in &topic.partitions {
                        let part = self.server.part(&topic.topic, topic.topic_id, partition.partition_index);
                        let Some(part) = part else { continue };
                        let start = &mut self.server.log_starts[part];
                        if partition.log_start_offset > *start {
                            *start = partition.log_start_offset;
                            self.tally.state(State::Retired);
                        }
                        if partition.error_code == ResponseError::OffsetOutOfRange.code() {
                            self.tally.state(State::OutOfRange);
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn look_at_produced(
        &mut self,
        (part, records, producer, epoch): (Part, i64, i64, i16),
        offset: i64,
        error: i16,
    ) -> Checked {
        self.log(|| format!("{} takes {records} records at {offset}, error {error}", name(part)));
        match ResponseError::try_from_code(error) {
            None => {
                let end = &mut self.server.ends[part];
                let is_fresh = offset + records > *end;
                *end = (*end).max(offset + records);
                if !is_fresh {
                    self.tally.state(State::DuplicateRecognised);
                } else if self.server.fences.get(&producer).is_some_and(|fence| epoch < *fence) {
                    return Err(format!(
                        "{} takes records at {offset} of epoch {epoch} of producer {producer}, which is fenced",
                        name(part)
                    ));
                }
            }
            Some(ResponseError::OutOfOrderSequenceNumber) => self.tally.state(State::OutOfOrderSequence),
            Some(ResponseError::KafkaStorageError) => self.tally.state(State::StorageError),
            Some(ResponseError::InvalidTimestamp) => self.tally.state(State::TimestampRefused),
            Some(_) => {}
        }
        Ok(())
    }
}

/// A request in a line.
pub(super) fn brief(request: &RequestKind) -> String {
    let RequestKind::Produce(produce) = request else {
        let text = format!("{request:?}");
        return text.chars().take(300).collect();
    };
    let mut line = "Produce".to_owned();
    for topic in &produce.topic_data {
        for data in &topic.partition_data {
            if let Some(Ok(Some(header))) = data.records.as_ref().map(|records| BatchHeader::read(records)) {
                line += &format!(
                    " [{}-{}: {} records of {}/{} from sequence {}]",
                    topic.name.as_str(),
                    data.index,
                    header.record_count,
                    header.producer_id,
                    header.producer_epoch,
                    header.base_sequence
                );
            }
        }
    }
    line
}
