//! The consumer's decisions: positions, fetches, look-ups, commits, and the place in a group, without IO.
//!
//! Time and answers come in by [`ConsumerCore::step`], what the application wants by the other methods; requests, and the ends of calls, go
//! out as [`Effect`]s. Every request ends in an [`Input::Answer`], at the latest after its time-out. A driver is a socket and a clock
//! (`consumer::driver`), or a simulator.
//!
//! Fetches go on while the application works, within bounds: one request a broker at a time; a partition is asked for again once less than
//! `max.partition.fetch.bytes` of it is buffered; nothing is asked for while [`PREFETCH_BYTES`] are. A broker is asked only when all partitions
//! that are read from it can be, so that an idle partition does not make the others wait for `fetch.max.wait.ms`.
//!
//! Read on in `partition` for buffers, `session` for what a broker remembers of its fetches, `validation` for logs that were cut, `cluster` and `lookup`
//! for metadata and offsets, `membership` for the group, `commit` for committed offsets.

mod cluster;
mod commit;
mod fetching;
mod lookup;
mod member;
mod membership;
mod partition;
mod reconcile;
mod session;
#[cfg(test)]
mod tests;
mod validation;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::{RequestKind, ResponseKind};

use self::cluster::Cluster;
use self::commit::{CommitCall, CommittedCall};
use self::lookup::Lookups;
use self::member::Member;
use self::membership::Group;
use self::partition::{Partition, Position};
use super::figures::Figures;
use super::{
    ConsumerError, OffsetAndTimestamp, OffsetSpec, Offsets, Polled, RebalanceEvent, Settings, Subscription,
    TopicPartition,
};
use crate::batch::Scratch;
use crate::metrics::Metric;
pub use crate::net::{Broker, Target};

use crate::group::{Input as MemberInput, RequestId};
use crate::net::TransportError;

/// Bytes fetched ahead of the application beyond which no further fetch is sent.
pub const PREFETCH_BYTES: usize = 16 << 20;
/// Errors kept for the application; further ones repeat what these say.
const MAX_ERRORS: usize = 64;

/// Names a call of the application until it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What an application can ask of the cluster.
#[derive(Clone, Debug)]
pub enum Call {
    /// Commit these offsets.
    Commit(Offsets),
    /// The committed offsets of these partitions.
    Committed(Vec<TopicPartition>),
    /// These places.
    Find(BTreeMap<TopicPartition, OffsetSpec>),
    /// The number of partitions of a topic.
    Partitions(Arc<str>),
    /// Stop: leave the group. Nothing is committed.
    Close,
}

/// What a call brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Of [`Call::Commit`] and [`Call::Close`].
    Done,
    /// Of [`Call::Committed`]: without an entry where nothing is committed.
    Committed(Offsets),
    /// Of [`Call::Find`]: `None` where no record is as young as asked.
    Found(BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>),
    /// Of [`Call::Partitions`].
    Partitions(i32),
}

/// What happens to a consumer.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "moved once a request, never stored")]
pub enum Input {
    /// Time passed.
    Tick,
    /// A request ended.
    Answer {
        /// Which.
        id: RequestId,
        /// Its answer.
        response: Result<ResponseKind, TransportError>,
    },
    /// The application asks for something; its end is [`Effect::Done`].
    Call {
        /// Names it.
        id: CallId,
        /// What.
        call: Call,
        /// How long it may take.
        timeout: Duration,
    },
}

/// What a consumer wants done.
#[derive(Debug)]
pub enum Effect {
    /// Send a request; its end comes back as [`Input::Answer`].
    Send {
        /// Names it.
        id: RequestId,
        /// To whom.
        to: Target,
        /// What, in the fields of the highest versions that name topics by name: OffsetFetch 8 or 9, OffsetCommit up to 9. A Fetch names topics by
        /// name and by id; without ids it goes out in version 12 at most.
        request: Box<RequestKind>,
        /// When to give up.
        timeout: Duration,
    },
    /// The brokers of the cluster, all of them.
    Brokers(Vec<Broker>),
    /// [`ConsumerCore::poll`] may have something.
    Wake,
    /// A call ended.
    Done {
        /// Which.
        call: CallId,
        /// How.
        outcome: Result<Outcome, ConsumerError>,
    },
}

/// What an answer belongs to.
#[derive(Debug)]
enum Pending {
    Member(RequestId),
    Metadata { all: bool },
    Fetch { node: i32, asked: Vec<fetching::Fetching> },
    SessionEnd,
    Validation { doubts: Vec<validation::Doubt> },
    ListOffsets { asked: Vec<lookup::Asked> },
    OffsetFetch { node: i32, asked: BTreeSet<TopicPartition> },
    OffsetCommit { node: i32, call: CallId },
}

/// What is read.
#[derive(Debug)]
enum Mode {
    Idle,
    Assigned,
    Subscribed(Subscription),
}

/// A consumer without IO.
#[derive(Debug)]
pub struct ConsumerCore {
    settings: Settings,
    mode: Mode,
    partitions: BTreeMap<TopicPartition, Partition>,
    /// Partitions with data, in order of arrival.
    ready: VecDeque<TopicPartition>,
    buffered: usize,
    scratch: Scratch,

    next_id: u64,
    /// What is under way, and since when.
    pending: BTreeMap<RequestId, (Pending, Duration)>,
    figures: Figures,
    /// The time of the last input, for figures.
    clock: Duration,
    /// By broker: whether a fetch is under way, and not before when the next one goes out.
    fetching: BTreeMap<i32, fetching::Node>,
    /// Where the next fetch's list begins, so that no partition always comes last.
    turn: usize,
    cluster: Cluster,
    lookups: Lookups,
    group: Option<Group>,
    committed: commit::Fetching,
    commits: BTreeMap<CallId, CommitCall>,
    committed_calls: BTreeMap<CallId, CommittedCall>,
    partition_calls: BTreeMap<CallId, (Arc<str>, Duration)>,
    closing: Option<(CallId, Duration)>,
    /// Brokers that are yet to acknowledge the end of a session.
    closing_sessions: usize,
    /// There is no group, or it was left for good.
    left: bool,
    closed: bool,

    events: VecDeque<RebalanceEvent>,
    errors: VecDeque<ConsumerError>,
}

impl ConsumerCore {
    /// Reads nothing yet.
    pub fn new(settings: Settings) -> Self {
        let group = Member::new(&settings).map(Group::new);
        let cluster = Cluster::new(&settings);
        let figures = Figures::new(settings.metrics, settings.epochs.is_none());
        Self {
            settings,
            mode: Mode::Idle,
            partitions: BTreeMap::new(),
            ready: VecDeque::new(),
            buffered: 0,
            scratch: Scratch::default(),
            next_id: 0,
            pending: BTreeMap::new(),
            figures,
            clock: Duration::ZERO,
            fetching: BTreeMap::new(),
            turn: 0,
            cluster,
            lookups: Lookups::default(),
            group,
            committed: commit::Fetching::default(),
            commits: BTreeMap::new(),
            committed_calls: BTreeMap::new(),
            partition_calls: BTreeMap::new(),
            closing: None,
            closing_sessions: 0,
            left: false,
            closed: false,
            events: VecDeque::new(),
            errors: VecDeque::new(),
        }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes one input and appends what is to be done.
    pub fn step(&mut self, now: Duration, input: Input, effects: &mut Vec<Effect>) {
        self.clock = now;
        match input {
            Input::Tick => {}
            Input::Answer { id, response } => self.answered(now, id, response, effects),
            Input::Call { id, call, timeout } => self.call(now, id, call, timeout, effects),
        }
        self.advance(now, effects);
    }

    /// Reads exactly these partitions, outside of any group, each from its position, its committed offset or where `auto.offset.reset` says.
    /// Partitions that were read already go on where they are.
    pub fn assign(&mut self, now: Duration, partitions: Vec<TopicPartition>, effects: &mut Vec<Effect>) {
        self.clock = now;
        if matches!(self.mode, Mode::Subscribed(_)) {
            self.unsubscribe(now, effects);
        }
        self.mode = Mode::Assigned;
        self.read(now, partitions.into_iter().collect());
        self.advance(now, effects);
    }

    /// Becomes a member of the group and reads the share that it gets.
    pub fn subscribe(
        &mut self,
        now: Duration,
        subscription: Subscription,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ConsumerError> {
        let Some(group) = &self.group else { return Err(ConsumerError::NoGroup) };
        if matches!(subscription, Subscription::Pattern(_)) && group.member.is_classic() {
            let problem = "Subscribe to RE2/J regex is not supported when using the CLASSIC protocol defined in config group.protocol";
            return Err(ConsumerError::Config(problem.to_owned()));
        }
        if !matches!(self.mode, Mode::Subscribed(_)) {
            self.read(now, BTreeSet::new());
        }
        self.mode = Mode::Subscribed(subscription);
        self.cluster.want_now(now);
        self.join(now, effects);
        self.advance(now, effects);
        Ok(())
    }

    /// Reads nothing any more, and leaves the group.
    pub fn unsubscribe(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.clock = now;
        self.mode = Mode::Idle;
        self.read(now, BTreeSet::new());
        self.events.clear();
        if let Some(group) = &mut self.group {
            group.forget();
        }
        self.member_step(
            now,
            MemberInput::Leave { reason: "the consumer unsubscribed from all topics".to_owned() },
            effects,
        );
        self.advance(now, effects);
    }

    /// What is read now.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.partitions.keys().cloned().collect()
    }

    /// Reading goes on at `offset`.
    pub fn seek(
        &mut self,
        now: Duration,
        partition: &TopicPartition,
        offset: i64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ConsumerError> {
        self.move_to(partition, Position::At(offset.max(0)))?;
        self.advance(now, effects);
        Ok(())
    }

    /// Reading goes on at a place that has to be asked for first. Nothing is asked for twice.
    pub fn seek_to(
        &mut self,
        now: Duration,
        partition: &TopicPartition,
        place: OffsetSpec,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ConsumerError> {
        self.move_to(partition, Position::Ask(place))?;
        self.advance(now, effects);
        Ok(())
    }

    fn move_to(&mut self, partition: &TopicPartition, position: Position) -> Result<(), ConsumerError> {
        let Some(state) = self.partitions.get_mut(partition) else {
            return Err(ConsumerError::NotAssigned(partition.clone()));
        };
        self.buffered -= state.buffered();
        state.move_to(position);
        self.lookups.forget(partition);
        Ok(())
    }

    /// Hands nothing over from these partitions until they are resumed; what was fetched is kept.
    pub fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), ConsumerError> {
        self.each(partitions, |partition| partition.paused = true)
    }

    /// The opposite of [`Self::pause`].
    pub fn resume(
        &mut self,
        now: Duration,
        partitions: &[TopicPartition],
        effects: &mut Vec<Effect>,
    ) -> Result<(), ConsumerError> {
        self.each(partitions, |partition| partition.paused = false)?;
        for partition in partitions {
            if self.partitions.get(partition).is_some_and(Partition::has_data) {
                self.make_ready(partition.clone());
                effects.push(Effect::Wake);
            }
        }
        self.advance(now, effects);
        Ok(())
    }

    fn each(
        &mut self,
        partitions: &[TopicPartition],
        mut change: impl FnMut(&mut Partition),
    ) -> Result<(), ConsumerError> {
        for partition in partitions {
            let state = self.partitions.get_mut(partition);
            change(state.ok_or_else(|| ConsumerError::NotAssigned(partition.clone()))?);
        }
        Ok(())
    }

    /// What is paused.
    pub fn paused(&self) -> Vec<TopicPartition> {
        self.partitions.iter().filter(|(_, state)| state.paused).map(|(partition, _)| partition.clone()).collect()
    }

    /// The next offset to be handed over; `None` until it is known.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        match self.partitions.get(partition)?.position {
            Position::At(offset) => Some(offset),
            _ => None,
        }
    }

    /// Behind the last record that may be read, as the last fetch of the partition said.
    pub fn known_end(&self, partition: &TopicPartition) -> Option<i64> {
        self.partitions.get(partition)?.end
    }

    /// Offsets between position and known end.
    pub fn lag(&self, partition: &TopicPartition) -> Option<i64> {
        let (position, end) = (self.position(partition)?, self.known_end(partition)?);
        Some((end - position).max(0))
    }

    /// Whether everything has been handed over, as far as the last fetch of each partition knew. False without partitions.
    pub fn caught_up(&self) -> bool {
        !self.partitions.is_empty() && self.partitions.keys().all(|partition| self.lag(partition) == Some(0))
    }

    /// Generation and member id of a member of the group.
    pub fn membership(&self) -> Option<(i32, String)> {
        let (generation, member_id) = self.group.as_ref()?.member.identity();
        (generation >= 0).then(|| (generation, member_id.to_owned()))
    }

    /// What there is to hand over: an error, events, or records; `None` when there is nothing. Counts as a sign of life.
    ///
    /// The caller says with [`Self::working`] that it goes off with what it got.
    pub fn poll(&mut self, now: Duration, effects: &mut Vec<Effect>) -> Result<Option<Polled>, ConsumerError> {
        if self.closed {
            return Err(ConsumerError::Closed);
        }
        self.clock = now;
        self.figures.poll(now);
        self.join(now, effects);
        self.member_step(now, MemberInput::Idle, effects);
        self.advance(now, effects);
        // First, because what follows may be an error that every poll repeats.
        if !self.events.is_empty() {
            let events: Vec<RebalanceEvent> = self.events.drain(..).collect();
            events.iter().for_each(|event| self.figures.told(now, event));
            if let Some(group) = &mut self.group {
                group.events_told();
            }
            return Ok(Some(Polled { events, batches: Vec::new() }));
        }
        while let Some(error) = self.errors.pop_front() {
            if let Some(error) = self.still_true(error) {
                return Err(error);
            }
        }
        let batches = self.take_batches(now)?;
        if batches.is_empty() {
            return Ok(None);
        }
        self.advance(now, effects);
        Ok(Some(Polled { events: Vec::new(), batches }))
    }

    /// What remains of an error now: a seek may have mended it before it was told.
    fn still_true(&self, error: ConsumerError) -> Option<ConsumerError> {
        match error {
            ConsumerError::NoOffset(mut partitions) => {
                partitions.retain(|partition| {
                    self.partitions.get(partition).is_some_and(|state| state.position == Position::Committed)
                });
                (!partitions.is_empty()).then_some(ConsumerError::NoOffset(partitions))
            }
            ConsumerError::OffsetOutOfRange { ref partition, offset } => {
                (self.position(partition) == Some(offset)).then_some(error)
            }
            error => Some(error),
        }
    }

    /// The application went off to work: `max.poll.interval.ms` runs until the next poll.
    pub fn working(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.clock = now;
        self.figures.polled(now);
        self.member_step(now, MemberInput::Busy, effects);
        self.advance(now, effects);
    }

    /// What is counted, under Java's names.
    pub fn metrics(&self, now: Duration, client_id: &str, out: &mut Vec<Metric>) {
        let read_from = |partition: &TopicPartition| self.partitions.get(partition)?.preferred.map(|(node, _)| node);
        self.figures.gather(now, client_id, self.partitions.len(), read_from, out);
    }

    /// When [`Input::Tick`] has something to do though nothing happens.
    pub fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let group = self.group.as_ref().and_then(|group| group.member.next_deadline());
        let calls = self.call_deadlines(now);
        let partitions = self.partitions.values().filter(|state| state.retry_at > now).map(|state| state.retry_at);
        let nodes = self.fetching.values().filter(|node| node.retry_at > now).map(|node| node.retry_at);
        let rest = [
            group,
            self.cluster.next_deadline(now),
            self.lookups.next_deadline(now),
            Some(self.committed.retry_at).filter(|at| *at > now),
        ];
        calls.chain(partitions).chain(nodes).chain(rest.into_iter().flatten()).min()
    }

    fn call_deadlines(&self, now: Duration) -> impl Iterator<Item = Duration> {
        // A commit that is under way, or waits for the coordinator, is not retried by time.
        let retries = self.commits.values().map(|call| call.retry_at).filter(move |at| *at > now);
        let commits = self.commits.values().map(|call| call.deadline).chain(retries);
        let committed = self.committed_calls.values().map(|call| call.deadline);
        let partitions = self.partition_calls.values().map(|(_, deadline)| *deadline);
        let closing = self.closing.map(|(_, deadline)| deadline);
        commits.chain(committed).chain(partitions).chain(closing)
    }

    /// Changes what is read; partitions that stay keep their state.
    fn read(&mut self, now: Duration, wanted: BTreeSet<TopicPartition>) {
        self.partitions.retain(|partition, state| {
            let stays = wanted.contains(partition);
            if !stays {
                self.buffered -= state.buffered();
            }
            stays
        });
        self.lookups.retain(|partition| wanted.contains(partition));
        self.figures.retain(|partition| wanted.contains(partition));
        self.ready.retain(|partition| wanted.contains(partition));
        let start = if self.group.is_some() { Position::Committed } else { self.reset_position(now) };
        for partition in wanted {
            let topic = Arc::clone(&partition.topic);
            self.partitions.entry(partition).or_insert_with(|| Partition::new(&topic, start));
        }
    }

    /// Where a partition without any offset begins. With `none`, look-ups end in an error instead.
    fn reset_position(&self, now: Duration) -> Position {
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let place = self.settings.offset_reset.place(self.settings.wall_origin_ms.saturating_add(now));
        place.map_or(Position::Committed, Position::Ask)
    }

    fn make_ready(&mut self, partition: TopicPartition) {
        if !self.ready.contains(&partition) {
            self.ready.push_back(partition);
        }
    }

    /// Tells the application, with its next poll, of something that the driver found and time will not mend.
    fn report(&mut self, error: ConsumerError, effects: &mut Vec<Effect>) {
        // Every request of a broken connection ends this way; once is enough.
        if self.errors.is_empty() {
            self.fail(error, effects);
        }
    }

    /// Ends everything that the application waits for but the consumer's own end.
    fn fail_calls(&mut self, error: &ConsumerError, effects: &mut Vec<Effect>) {
        self.fail_group_calls(error, effects);
        self.fail_finds(error, effects);
        for call in std::mem::take(&mut self.partition_calls).into_keys() {
            effects.push(Effect::Done { call, outcome: Err(error.clone()) });
        }
    }

    fn fail(&mut self, error: ConsumerError, effects: &mut Vec<Effect>) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push_back(error);
        }
        effects.push(Effect::Wake);
    }

    fn send(
        &mut self,
        to: Target,
        request: RequestKind,
        timeout: Duration,
        pending: Pending,
        effects: &mut Vec<Effect>,
    ) {
        self.next_id += 1;
        let id = RequestId(self.next_id);
        self.figures.sent(self.clock, &request);
        self.pending.insert(id, (pending, self.clock));
        effects.push(Effect::Send { id, to, request: Box::new(request), timeout });
    }

    fn answered(
        &mut self,
        now: Duration,
        id: RequestId,
        response: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) {
        let (pending, sent_at) = self.pending.remove(&id).unzip();
        if let (Some(sent_at), Ok(response)) = (sent_at, &response) {
            self.figures.answered(now, now.saturating_sub(sent_at), response);
        }
        if let Err(TransportError::Refused(error)) = &response {
            let is_authentication = response.as_ref().is_err_and(|error| error.authentication().is_some());
            let error = ConsumerError::Connection(error.clone());
            if is_authentication {
                self.fail_calls(&error, effects);
            }
            // That a broker does not offer something the group says in its own way.
            if is_authentication || !matches!(pending, Some(Pending::Member(_))) {
                self.report(error, effects);
            }
        }
        match pending {
            // A late answer to a question we no longer ask.
            None => {}
            Some(Pending::Member(id)) => self.member_step(now, MemberInput::Answer { id, response }, effects),
            Some(Pending::Metadata { all }) => self.metadata_answered(now, all, response, effects),
            Some(Pending::Fetch { node, asked }) => self.fetch_answered(now, node, asked, response, effects),
            Some(Pending::SessionEnd) => {
                self.closing_sessions = self.closing_sessions.saturating_sub(1);
                self.finish_close(effects);
            }
            Some(Pending::Validation { doubts }) => self.validation_answered(now, doubts, response, effects),
            Some(Pending::ListOffsets { asked }) => self.list_offsets_answered(now, asked, response, effects),
            Some(Pending::OffsetFetch { node, asked }) => {
                self.offset_fetch_answered(now, node, &asked, response, effects);
            }
            Some(Pending::OffsetCommit { node, call }) => self.commit_answered(now, node, call, response, effects),
        }
    }

    fn call(&mut self, now: Duration, id: CallId, call: Call, timeout: Duration, effects: &mut Vec<Effect>) {
        let deadline = now.saturating_add(timeout);
        if self.closed {
            return effects.push(Effect::Done { call: id, outcome: Err(ConsumerError::Closed) });
        }
        match call {
            Call::Commit(offsets) => self.begin_commit(id, offsets, timeout, deadline, effects),
            Call::Committed(partitions) => self.begin_committed(id, partitions, timeout, deadline, effects),
            Call::Find(places) => self.begin_find(id, places, timeout, deadline, effects),
            Call::Partitions(topic) => {
                self.partition_calls.insert(id, (topic, deadline));
                self.cluster.want_now(now);
            }
            Call::Close => {
                self.read(now, BTreeSet::new());
                self.mode = Mode::Idle;
                self.events.clear();
                if let Some(group) = &mut self.group {
                    group.forget();
                }
                if let Some((earlier, _)) = self.closing.replace((id, deadline)) {
                    effects.push(Effect::Done { call: earlier, outcome: Err(ConsumerError::Closed) });
                }
                self.close_sessions(now, deadline, effects);
                self.member_step(
                    now,
                    MemberInput::Leave { reason: "the consumer is being closed".to_owned() },
                    effects,
                );
                if self.group.is_none() {
                    self.group_left(effects);
                }
            }
        }
    }

    fn group_left(&mut self, effects: &mut Vec<Effect>) {
        self.left = true;
        self.finish_close(effects);
    }

    /// Ends once nothing more is to be said to anybody.
    fn finish_close(&mut self, effects: &mut Vec<Effect>) {
        if !self.left || self.closing_sessions > 0 {
            return;
        }
        if let Some((call, _)) = self.closing.take() {
            self.closed = true;
            effects.push(Effect::Done { call, outcome: Ok(Outcome::Done) });
            effects.push(Effect::Wake);
        }
    }

    /// Does everything that is due.
    fn advance(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.group.as_ref().is_some_and(|group| group.member.next_deadline().is_some_and(|at| at <= now)) {
            self.member_step(now, MemberInput::Tick, effects);
        }
        self.expire_calls(now, effects);
        if self.closed {
            return;
        }
        self.send_commits(now, effects);
        self.send_offset_fetch(now, effects);
        self.send_lookups(now, effects);
        self.send_fetches(now, effects);
        self.send_metadata(now, effects);
    }

    fn expire_calls(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.closing.is_some_and(|(_, deadline)| deadline <= now) {
            self.closing_sessions = 0;
            self.group_left(effects);
        }
        self.expire_commits(now, effects);
        self.expire_finds(now, effects);
        let late = self.partition_calls.extract_if(.., |_, (_, deadline)| *deadline <= now);
        for (call, (topic, _)) in late {
            let timeout = self.settings.api_timeout;
            let what = format!("the partitions of topic {topic} were known");
            effects.push(Effect::Done { call, outcome: Err(ConsumerError::Timeout { what, timeout }) });
        }
    }
}
