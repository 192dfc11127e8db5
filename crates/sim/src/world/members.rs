//! Members of the group: each reads its share, does something with it that takes time, and commits how far it came.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ResponseKind;
use kurier_kafka::consumer::core::{Call, CallId, ConsumerCore, Effect, Input, Outcome};
use kurier_kafka::consumer::{
    Assignor, ConsumerError, FetchedBatch, OffsetAndMetadata, Offsets, RebalanceEvent, Settings, Subscription,
    TopicPartition,
};
use kurier_kafka::group::{EpochConfig, GroupConfig, GroupError, RequestId};
use kurier_kafka::net::TransportError;

use super::{Body, Event, ProcessId, Role, Wanted, World, readers};
use crate::ledger::Checked;
use crate::plan::{CUT, Membership, PLAIN, Part, TOPICS, name, part, place};
use crate::tally::{Fault, State};

/// The group's name.
pub(super) const GROUP: &str = "g";
/// How long a poll waits.
const POLL_MS: u64 = 1_000;
/// How long leaving may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A member's process.
pub(super) struct MemberApp {
    core: ConsumerCore,
    pub(super) instance: Option<usize>,
    /// What it believes to own, with the next offset of each once it was handed something.
    owned: BTreeMap<Part, Option<i64>>,
    /// What it committed last of each.
    committed: BTreeMap<Part, i64>,
    commit: Option<(CallId, Vec<(Part, i64)>)>,
    /// What it was asked to give up; it commits first.
    revoking: Option<Vec<Part>>,
    /// It is to leave.
    pub(super) leaves: bool,
    closing: Option<CallId>,
    /// It will work for so long next time.
    pub(super) stalls_ms: u64,
    polls: bool,
    has_subscribed: bool,
    /// It joined a group of KIP-848 in the classic protocol.
    among_epochs: bool,
    /// Which [`Server::era`](super::server::Server) its generation is of.
    pub(super) era: u64,
}

impl World {
    pub(super) fn new_member(&mut self, instance: Option<usize>) -> MemberApp {
        let rng = &mut self.rng;
        let group = GroupConfig {
            group_id: GROUP.to_owned(),
            instance_id: instance.map(|number| format!("i{number}")),
            protocol_type: "consumer".to_owned(),
            session_timeout: Duration::from_millis(rng.pick(&[6_000, 10_000])),
            rebalance_timeout: Duration::from_millis(rng.pick(&[10_000, 20_000])),
            heartbeat_interval: Duration::from_millis(rng.pick(&[1_000, 2_500])),
            request_timeout: Duration::from_millis(rng.pick(&[4_000, 10_000])),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
        };
        // All members of a group must have a protocol in common.
        let (assignors, epochs) = match self.plan.membership {
            Membership::Eager => {
                (self.rng.pick(&[&[Assignor::Range, Assignor::RoundRobin][..], &[Assignor::Range][..]]).to_vec(), None)
            }
            Membership::Sticky => (vec![Assignor::Sticky], None),
            Membership::Cooperative => (vec![Assignor::CooperativeSticky], None),
            Membership::Rolled if self.rng.one_in(2) => (vec![Assignor::Range], None),
            Membership::Epochs | Membership::Rolled => {
                self.tally.state(State::GroupOfEpochs);
                let member_id = format!("m-{:016x}", self.rng.next());
                (Vec::new(), Some(EpochConfig { member_id, ..EpochConfig::default() }))
            }
        };
        let settings = Settings { group: Some(group), assignors, epochs, ..readers::settings(&mut self.rng) };
        MemberApp {
            core: ConsumerCore::new(settings),
            instance,
            owned: BTreeMap::new(),
            committed: BTreeMap::new(),
            commit: None,
            revoking: None,
            leaves: false,
            closing: None,
            stalls_ms: 0,
            polls: false,
            has_subscribed: false,
            among_epochs: false,
            era: 0,
        }
    }

    pub(super) fn member(&mut self, process: ProcessId) -> &mut MemberApp {
        match &mut self.processes[process].body {
            Body::Member(app) => app,
            _ => unreachable!("whose events these are is looked at before"),
        }
    }

    /// Polls, works, commits, and comes back later.
    pub(super) fn member_turn(&mut self, process: ProcessId) -> Checked {
        let now = self.now;
        let mut effects = Vec::new();
        let app = self.member(process);
        if app.closing.is_some() {
            return Ok(());
        }
        // An application does one thing after the other: what it is told meanwhile waits.
        if app.revoking.is_some() {
            self.plan_app(process, POLL_MS);
            return Ok(());
        }
        if app.leaves && app.commit.is_none() {
            return self.close_member(process);
        }
        if !std::mem::replace(&mut app.has_subscribed, true) {
            let topics = [PLAIN, CUT].map(|topic| TOPICS[topic].name.to_owned()).to_vec();
            app.core
                .subscribe(now, Subscription::Topics(topics), &mut effects)
                .map_err(|error| format!("member {process} cannot subscribe: {error}"))?;
        }
        let polled = app.core.poll(now, &mut effects);
        app.polls = matches!(polled, Ok(None));
        app.core.working(now, &mut effects);
        self.member_effects(process, effects)?;
        let polled = match polled {
            Ok(Some(polled)) => polled,
            Ok(None) => {
                self.maybe_commit(process)?;
                self.plan_app(process, POLL_MS);
                return Ok(());
            }
            Err(error) => return self.member_failed(process, &error),
        };
        for event in polled.events {
            self.rebalanced(process, event)?;
        }
        for batch in &polled.batches {
            self.member_reads(process, batch)?;
        }
        self.maybe_commit(process)?;
        if matches!(self.processes[process].body, Body::Member(_)) {
            let stalls = std::mem::take(&mut self.member(process).stalls_ms);
            let works = self.rng.pick(&[0, 5, 100, 400]) + stalls;
            self.plan_app(process, works);
        }
        Ok(())
    }

    fn member_failed(&mut self, process: ProcessId, error: &ConsumerError) -> Checked {
        self.log(|| format!("member {process} is told: {error}"));
        match error {
            // Whether it should be, is looked at where the answer goes out.
            ConsumerError::Group(GroupError::Fenced { .. }) => {
                self.tally.state(State::StaticFenced);
                self.replace_member(process);
                Ok(())
            }
            // What power takes may be the whole group, and one that was given up may come back to a classic group. Java's consumer gives up then as well.
            ConsumerError::Group(GroupError::Refused { error: ResponseError::GroupIdNotFound, .. })
                if self.plan.power_fails || self.plan.membership == Membership::Rolled =>
            {
                self.replace_member(process);
                Ok(())
            }
            error => Err(format!("member {process} cannot go on: {error}")),
        }
    }

    /// A member has given up; another one takes its place unless there is one already.
    fn replace_member(&mut self, process: ProcessId) {
        let instance = self.member(process).instance;
        self.kill(process);
        // One that leaves is no successor.
        if self.living(|body| matches!(body, Body::Member(app) if app.instance == instance && !app.leaves)).is_empty() {
            self.after_ms(1_000, Event::Spawn(Role::Member { instance }));
        }
    }

    fn rebalanced(&mut self, process: ProcessId, event: RebalanceEvent) -> Checked {
        self.log(|| format!("member {process} is told: {event:?}"));
        match event {
            RebalanceEvent::Assigned(partitions) => {
                self.tally.state(State::Assigned);
                let generation = self.member(process).core.membership().map(|(generation, _)| generation);
                for partition in partitions {
                    let part = part(&partition.topic, partition.partition)
                        .ok_or_else(|| format!("member {process} is assigned {partition}"))?;
                    self.check_owner(process, part, generation)?;
                    self.member(process).owned.insert(part, None);
                }
            }
            RebalanceEvent::Revoked(partitions) => {
                self.tally.state(State::Revoked);
                let parts = partitions.iter().filter_map(|partition| part(&partition.topic, partition.partition));
                let parts: Vec<Part> = parts.collect();
                if parts.len() < self.member(process).owned.len() {
                    self.tally.state(State::RevokedInPart);
                }
                self.member(process).revoking = Some(parts);
                self.commit(process)?;
                if self.member(process).commit.is_none() {
                    self.ack_revoked(process)?;
                }
            }
            RebalanceEvent::Lost(partitions) => {
                self.tally.state(State::Lost);
                let app = self.member(process);
                app.revoking = None;
                for partition in partitions {
                    if let Some(part) = part(&partition.topic, partition.partition) {
                        app.owned.remove(&part);
                        app.committed.remove(&part);
                    }
                }
            }
        }
        Ok(())
    }

    /// A partition is a member's now: nobody else of its generation may have it still.
    fn check_owner(&mut self, process: ProcessId, part: Part, generation: Option<i32>) -> Checked {
        let (topic, number) = place(part);
        let partition = TopicPartition::new(TOPICS[topic].name, number);
        // A member that polls late may be told of a share that it has lost meanwhile; the loss is what it is told next.
        if !self.member(process).core.assignment().contains(&partition) {
            return Ok(());
        }
        let (instance, era) = (self.member(process).instance, self.member(process).era);
        let mut others = 0;
        for other in self.living(|body| matches!(body, Body::Member(_))) {
            if other == process {
                continue;
            }
            let app = self.member(other);
            let its = app.core.membership().map(|(generation, _)| generation);
            if its != generation
                || generation.is_none()
                || app.era != era
                || (instance.is_some() && app.instance == instance)
            {
                continue;
            }
            others += 1;
            if app.owned.contains_key(&part) && app.core.assignment().contains(&partition) {
                return Err(format!(
                    "two owners: {} is given to member {process}, and {other} of the same generation {generation:?} has it",
                    name(part)
                ));
            }
        }
        if others > 0 {
            self.tally.state(State::SharedGroup);
        }
        Ok(())
    }

    fn member_reads(&mut self, process: ProcessId, batch: &FetchedBatch) -> Checked {
        let (part, records) = self.open(batch)?;
        let (from, next) = (batch.from_offset(), batch.next_offset());
        let start = self.server.log_starts[part];
        for (offset, id) in records {
            self.ledger.read(id, part, offset)?;
        }
        self.log(|| format!("member {process} is handed {} from {from} to before {next}", name(part)));
        let app = self.member(process);
        let Some(before) = app.owned.get(&part).copied() else {
            return Err(format!("member {process} is handed {}, which it does not own", name(part)));
        };
        match before {
            Some(expected) if from < expected => {
                return Err(format!("member {process} is handed {} {from} after {expected}", name(part)));
            }
            Some(expected) if from > expected.max(start) => {
                return Err(format!("member {process} skips {} from {expected} to {from}", name(part)));
            }
            Some(_) => {}
            None if from > 0 => self.tally.state(State::BeganAtCommitted),
            None => self.tally.state(State::BeganWithout),
        }
        self.member(process).owned.insert(part, Some(next));
        self.ledger.processed(part, from, next, start)
    }

    /// Commits now and then, and at the end always.
    fn maybe_commit(&mut self, process: ProcessId) -> Checked {
        if !matches!(self.processes[process].body, Body::Member(_)) {
            return Ok(());
        }
        if (self.is_calm() || self.rng.one_in(3)) && self.member(process).revoking.is_none() {
            self.commit(process)?;
        }
        Ok(())
    }

    /// Commits what was done since the last commit.
    fn commit(&mut self, process: ProcessId) -> Checked {
        let call = CallId(self.calls + 1);
        let now = self.now;
        let app = self.member(process);
        if app.commit.is_some() {
            return Ok(());
        }
        let fresh = app.owned.iter().filter_map(|(part, next)| {
            let next = (*next)?;
            (app.committed.get(part) != Some(&next)).then_some((*part, next))
        });
        let fresh: Vec<(Part, i64)> = fresh.collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let offsets: Offsets = fresh
            .iter()
            .map(|(part, next)| {
                let (topic, partition) = place(*part);
                (TopicPartition::new(TOPICS[topic].name, partition), OffsetAndMetadata::new(*next))
            })
            .collect();
        app.commit = Some((call, fresh));
        let timeout = app.core.settings().api_timeout;
        let mut effects = Vec::new();
        app.core.step(now, Input::Call { id: call, call: Call::Commit(offsets), timeout }, &mut effects);
        self.calls += 1;
        self.member_effects(process, effects)
    }

    fn commit_ended(&mut self, process: ProcessId, outcome: Result<Outcome, ConsumerError>) -> Checked {
        let Some((_, offsets)) = self.member(process).commit.take() else { return Ok(()) };
        self.log(|| format!("member {process}: its commit of {offsets:?} ends with {outcome:?}"));
        match outcome {
            Ok(_) => {
                for (part, offset) in offsets {
                    self.ledger.commit_acknowledged(part, offset);
                    self.member(process).committed.insert(part, offset);
                }
            }
            Err(ConsumerError::Timeout { .. }) => self.tally.state(State::CommitTimedOut),
            Err(ConsumerError::CommitFailed | ConsumerError::RebalanceInProgress | ConsumerError::Group(_)) => {}
            Err(error) => return Err(format!("member {process} cannot commit: {error}")),
        }
        if self.member(process).revoking.is_some() {
            self.ack_revoked(process)?;
        }
        Ok(())
    }

    fn ack_revoked(&mut self, process: ProcessId) -> Checked {
        let now = self.now;
        let mut effects = Vec::new();
        let app = self.member(process);
        for part in app.revoking.take().unwrap_or_default() {
            app.owned.remove(&part);
            app.committed.remove(&part);
        }
        app.core.ack_revoked(now, &mut effects);
        self.member_effects(process, effects)
    }

    fn close_member(&mut self, process: ProcessId) -> Checked {
        self.calls += 1;
        let call = CallId(self.calls);
        let now = self.now;
        let app = self.member(process);
        app.closing = Some(call);
        app.owned.clear();
        let mut effects = Vec::new();
        app.core.step(now, Input::Call { id: call, call: Call::Close, timeout: CLOSE_TIMEOUT }, &mut effects);
        self.tally.fault(Fault::MemberLeft);
        self.member_effects(process, effects)
    }

    pub(super) fn member_step(
        &mut self,
        process: ProcessId,
        answer: Option<(RequestId, Result<ResponseKind, TransportError>)>,
    ) -> Checked {
        let app = self.member(process);
        if let Some((_, Ok(ResponseKind::JoinGroup(join)))) = &answer
            && app.instance.is_some()
            && join.error_code == 0
            && join.skip_assignment
        {
            self.tally.state(State::StaticReturned);
        }
        if let Some((_, Ok(ResponseKind::JoinGroup(join)))) = &answer
            && join.error_code == 0
        {
            // Groups of KIP-848 have no leader.
            let is_among = join.leader.is_empty();
            let was_among = std::mem::replace(&mut self.member(process).among_epochs, is_among);
            if is_among {
                self.tally.state(State::ClassicAmongEpochs);
            } else if was_among {
                self.tally.state(State::GroupDowngraded);
            }
        }
        let input = answer.map_or(Input::Tick, |(id, response)| Input::Answer { id, response });
        let now = self.now;
        let mut effects = Vec::new();
        self.member(process).core.step(now, input, &mut effects);
        self.member_effects(process, effects)
    }

    fn member_effects(&mut self, process: ProcessId, effects: Vec<Effect>) -> Checked {
        let mut woken = false;
        let mut done = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send { id, to, request, timeout } => {
                    self.send(process, Wanted { id, to, request, highest: None, timeout });
                }
                Effect::Wake => woken = true,
                Effect::Done { call, outcome } => done.push((call, outcome)),
                Effect::Brokers(_) => {}
            }
        }
        for (call, outcome) in done {
            if !matches!(self.processes[process].body, Body::Member(_)) {
                break;
            }
            let app = self.member(process);
            if app.closing == Some(call) {
                self.kill(process);
            } else if app.commit.as_ref().is_some_and(|(id, _)| *id == call) {
                self.commit_ended(process, outcome)?;
            }
        }
        if !matches!(self.processes[process].body, Body::Member(_)) {
            return Ok(());
        }
        let now = self.now;
        let app = self.member(process);
        let (at, polls) = (app.core.next_deadline(now), app.polls);
        self.arm(process, at);
        if woken && polls {
            self.member(process).polls = false;
            self.plan_app(process, 0);
        }
        Ok(())
    }

    /// What the group has not done yet, of logs that end there.
    pub(super) fn group_lags(&self, ends: &BTreeMap<Part, i64>) -> Option<String> {
        for (part, end) in ends.iter().filter(|(part, _)| [PLAIN, CUT].contains(&place(**part).0)) {
            let (done, told) = (self.ledger.processed_to(*part), self.ledger.committed_offset(*part));
            // Where retention has taken everything there is nothing to be handed and committed.
            if done < *end || (told < *end && self.server.log_starts[*part] < *end) {
                return Some(format!(
                    "the group has done {} up to {done} and committed {told}; it ends at {end}",
                    name(*part)
                ));
            }
        }
        None
    }
}
