//! A world of processes, with one clock.
//!
//! Everything happens in events, in the order of their times; nothing happens between two of them. `network` carries messages and loses them,
//! `server` is the broker's process over its disk, `producers`, `members` and `readers` are the clients' processes, `chaos` is what goes wrong, and
//! `audit` is the look at the log itself when all is over, `restart` what a broker must know after a start.

mod audit;
mod chaos;
mod members;
mod network;
mod producers;
mod readers;
mod refuse;
mod restart;
mod server;
mod transactions;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kafka_protocol::messages::{RequestKind, ResponseKind};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::Isolation;
use kurier_kafka::group::RequestId;
use kurier_kafka::net::Target;
use kurier_kafka::net::TransportError;

use self::members::MemberApp;
use self::network::{Network, Payload};
use self::producers::ProducerApp;
use self::readers::ReaderApp;
use self::server::Server;
use crate::ledger::{Checked, Hash, Ledger};
use crate::plan::{CALM, Plan, name};
use crate::rng::Rng;
use crate::tally::{State, Tally};

/// Where the calendar begins.
const EPOCH_MS: i64 = 1_700_000_000_000;
/// A run with more events than this hangs.
const MOST_EVENTS: u64 = 1_000_000;
/// How often it is looked whether all is done, once faults are over.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Reading goes on for so long after everything is there: something may come twice.
const AFTERMATH: Duration = Duration::from_secs(3);

/// A process, by its number. Numbers are not used again: what starts anew is another process.
pub(super) type ProcessId = usize;

/// What happens.
#[derive(Debug)]
enum Event {
    /// A core wants to be told of time.
    Wake { process: ProcessId },
    /// An application does what comes next; only if nothing else was planned since.
    App { process: ProcessId, turn: u64 },
    /// A request ends without an answer.
    Unanswered { process: ProcessId, id: RequestId },
    /// A connection is set up, or refused.
    Opened { connection: u64 },
    /// A request reaches the broker's machine.
    Arrive { connection: u64, number: i32, version: i16, request: Payload<RequestKind> },
    /// An answer reaches the client.
    Answer { connection: u64, number: i32, response: Payload<ResponseKind> },
    /// A request took too long.
    TimeOut { connection: u64, number: i32 },
    /// The client notices that its connection has ended.
    Broken { connection: u64 },
    /// The broker notices that a connection has ended.
    Closed { connection: u64 },
    /// The broker wants to be told of time.
    BrokerWake,
    /// The broker's process is started.
    BrokerStart,
    /// Something goes wrong.
    Fault,
    /// Something that went wrong is over.
    Mend(chaos::Mend),
    /// A process is started.
    Spawn(Role),
}

/// What a process is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Producer,
    Transactional { id: usize },
    Member { instance: Option<usize> },
    Reader,
}

struct Process {
    body: Body,
    /// When its core wants to be told of time.
    armed: Option<Duration>,
    /// It does nothing until then.
    frozen_until: Duration,
    /// What its calendar is off by.
    skew_ms: i64,
    /// Which of the events [`Event::App`] counts.
    turn: u64,
}

enum Body {
    Gone,
    Producer(ProducerApp),
    Member(MemberApp),
    Reader(ReaderApp),
}

pub(super) struct World {
    plan: Plan,
    rng: Rng,
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    next_event: u64,
    network: Network,
    server: Server,
    processes: Vec<Process>,
    ledger: Ledger,
    tally: Tally,
    scratch: Scratch,
    /// Lives of producers so far.
    sources: u64,
    calls: u64,
    hash: Hash,
    /// Kept only when somebody will read it.
    trace: Option<VecDeque<String>>,
    most_lines: usize,
}

/// How a run went.
pub(super) struct Ended {
    pub(super) result: Checked,
    pub(super) tally: Tally,
    pub(super) at: Duration,
    pub(super) hash: u64,
    pub(super) records: u64,
    pub(super) trace: VecDeque<String>,
}

impl World {
    pub(super) fn new(seed: u64, plan: Plan, most_lines: usize) -> Self {
        let ledger = Ledger::new(plan.power_fails);
        let mut rng = Rng::new(seed);
        let server = Server::new(&plan, &mut rng);
        Self {
            plan,
            rng,
            now: Duration::ZERO,
            events: BTreeMap::new(),
            next_event: 0,
            network: Network::default(),
            server,
            processes: Vec::new(),
            ledger,
            tally: Tally::default(),
            scratch: Scratch::default(),
            sources: 0,
            calls: 0,
            hash: Hash::default(),
            trace: (most_lines > 0).then(VecDeque::new),
            most_lines,
        }
    }

    pub(super) fn run(mut self) -> Ended {
        let result = self.play();
        let mut hash = self.hash;
        hash.put(self.ledger.hash.value());
        Ended {
            result,
            tally: self.tally,
            at: self.now,
            hash: hash.value(),
            records: self.ledger.records.len() as u64,
            trace: self.trace.unwrap_or_default(),
        }
    }

    fn play(&mut self) -> Checked {
        if self.plan.is_encoded {
            self.tally.state(State::Encoded);
        }
        self.start_broker()?;
        self.create_topics()?;
        for _ in 0..self.plan.producers {
            self.spawn(Role::Producer);
        }
        for id in 0..self.plan.transactional {
            self.spawn(Role::Transactional { id });
        }
        for number in 0..self.plan.members {
            self.spawn(Role::Member { instance: (number < self.plan.statics).then_some(number) });
        }
        self.spawn(Role::Reader);
        self.at(self.now + Duration::from_secs(2), Event::Fault);
        while self.now < self.plan.stormy {
            self.next()?;
        }
        self.calm_down();
        let deadline = self.plan.stormy + CALM;
        let mut rescue_at = Some(self.plan.stormy + CALM / 2);
        let mut done_at = None;
        let mut look_at = self.now;
        loop {
            self.next()?;
            if self.now < look_at {
                continue;
            }
            look_at = self.now + LOOK_EVERY;
            if rescue_at.is_some_and(|at| self.now >= at) {
                rescue_at = None;
                self.rescue()?;
            }
            match self.undone()? {
                None if done_at.is_some_and(|at| self.now >= at) => return self.audit(),
                None => done_at = done_at.or(Some(self.now + AFTERMATH)),
                Some(what) if self.now >= deadline => {
                    return Err(format!("{} s after the last fault {what}", CALM.as_secs()));
                }
                Some(_) => done_at = None,
            }
        }
    }

    /// Faults are over.
    fn is_calm(&self) -> bool {
        self.now >= self.plan.stormy
    }

    /// What is not done yet though nothing hinders it.
    fn undone(&mut self) -> Result<Option<String>, String> {
        if !self.ledger.all_told() {
            return Ok(Some("there are records whose producer was told nothing".to_owned()));
        }
        if let Some(what) = self.open_transaction() {
            return Ok(Some(what));
        }
        let (all, stable) = (self.log_ends(Isolation::ReadUncommitted)?, self.log_ends(Isolation::ReadCommitted)?);
        let (Some(ends), Some(stable)) = (all, stable) else {
            return Ok(Some("the broker is not there".to_owned()));
        };
        if let Some((part, end)) = stable.iter().find(|(part, end)| ends.get(part) != Some(end)) {
            return Ok(Some(format!("{} has an open transaction at offset {end}", name(*part))));
        }
        if let Some(what) = self.readers_lag(&ends) {
            return Ok(Some(what));
        }
        Ok(self.group_lags(&ends))
    }

    /// Lets the next thing happen.
    fn next(&mut self) -> Checked {
        let Some(((at, number), event)) = self.events.pop_first() else {
            return Err("nothing happens any more".to_owned());
        };
        if number > MOST_EVENTS {
            return Err(format!("{MOST_EVENTS} events: something goes round in circles"));
        }
        self.now = self.now.max(at);
        self.hash.put(self.now.as_nanos() as u64);
        self.hash.put(number);
        self.happen(event)
    }

    fn happen(&mut self, event: Event) -> Checked {
        if let Some(process) = self.process_of(&event)
            && self.processes[process].frozen_until > self.now
        {
            let until = self.processes[process].frozen_until;
            self.at(until, event);
            return Ok(());
        }
        match event {
            Event::Wake { process } => {
                if self.processes[process].armed.is_some_and(|at| at <= self.now) {
                    self.processes[process].armed = None;
                    self.tick(process)?;
                }
                Ok(())
            }
            Event::App { process, turn } => {
                if self.processes[process].turn == turn {
                    self.app(process)
                } else {
                    Ok(())
                }
            }
            Event::Unanswered { process, id } => self.answered(process, id, Err(TransportError::Unanswered)),
            Event::Opened { connection } => self.opened(connection),
            Event::Arrive { connection, number, version, request } => self.arrive(connection, number, version, request),
            Event::Answer { connection, number, response } => self.answer(connection, number, response),
            Event::TimeOut { connection, number } => {
                self.timed_out(connection, number);
                Ok(())
            }
            Event::Broken { connection } => {
                self.close(connection, "it broke");
                Ok(())
            }
            Event::Closed { connection } => self.closed(connection),
            Event::BrokerWake => self.wake_broker(),
            Event::BrokerStart => self.start_broker(),
            Event::Fault => self.fault(),
            Event::Mend(mend) => self.mend(mend),
            Event::Spawn(role) => {
                self.spawn(role);
                Ok(())
            }
        }
    }

    /// Whose event it is.
    fn process_of(&self, event: &Event) -> Option<ProcessId> {
        match event {
            Event::Wake { process } | Event::App { process, .. } | Event::Unanswered { process, .. } => Some(*process),
            Event::Opened { connection }
            | Event::Answer { connection, .. }
            | Event::TimeOut { connection, .. }
            | Event::Broken { connection } => self.network.process_of(*connection),
            _ => None,
        }
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.next_event += 1;
        self.events.insert((at.max(self.now), self.next_event), event);
    }

    fn after_ms(&mut self, ms: u64, event: Event) {
        self.at(self.now + Duration::from_millis(ms), event);
    }

    fn log(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            if trace.len() == self.most_lines {
                trace.pop_front();
            }
            trace.push_back(format!("{:>7} ms  {}", now.as_millis(), line()));
        }
    }

    /// A process's calendar.
    fn wall_ms(&self, process: ProcessId) -> i64 {
        self.unskewed_ms() + self.processes[process].skew_ms
    }

    fn unskewed_ms(&self) -> i64 {
        EPOCH_MS + i64::try_from(self.now.as_millis()).unwrap_or(0)
    }
}

/// Processes.
impl World {
    fn spawn(&mut self, role: Role) {
        let process = self.processes.len();
        self.processes.push(Process {
            body: Body::Gone,
            armed: None,
            frozen_until: Duration::ZERO,
            skew_ms: 0,
            turn: 0,
        });
        self.log(|| format!("process {process} starts: {role:?}"));
        self.processes[process].body = match role {
            Role::Producer => Body::Producer(self.new_producer(None)),
            Role::Transactional { id } => Body::Producer(self.new_producer(Some(id))),
            Role::Member { instance } => Body::Member(self.new_member(instance)),
            Role::Reader => Body::Reader(self.new_reader()),
        };
        self.plan_app(process, 0);
    }

    /// Its application goes on after so many milliseconds, whatever was planned before.
    fn plan_app(&mut self, process: ProcessId, in_ms: u64) {
        let turn = self.processes[process].turn + 1;
        self.processes[process].turn = turn;
        self.after_ms(in_ms, Event::App { process, turn });
    }

    fn app(&mut self, process: ProcessId) -> Checked {
        match self.processes[process].body {
            Body::Gone => Ok(()),
            Body::Producer(_) => self.produce(process),
            Body::Member(_) => self.member_turn(process),
            Body::Reader(_) => self.reader_turn(process),
        }
    }

    fn tick(&mut self, process: ProcessId) -> Checked {
        match self.processes[process].body {
            Body::Gone => Ok(()),
            Body::Producer(_) => self.producer_step(process, None),
            Body::Member(_) => self.member_step(process, None),
            Body::Reader(_) => self.reader_step(process, None),
        }
    }

    fn answered(
        &mut self,
        process: ProcessId,
        id: RequestId,
        response: Result<ResponseKind, TransportError>,
    ) -> Checked {
        let answer = Some((id, response));
        match self.processes[process].body {
            Body::Gone => Ok(()),
            Body::Producer(_) => self.producer_step(process, answer),
            Body::Member(_) => self.member_step(process, answer),
            Body::Reader(_) => self.reader_step(process, answer),
        }
    }

    /// Takes note of when a core wants to be told of time.
    fn arm(&mut self, process: ProcessId, at: Option<Duration>) {
        // A core that names a moment in the past keeps its driver busy.
        let at = at.map(|at| at.max(self.now + Duration::from_millis(1)));
        let armed = &mut self.processes[process].armed;
        if let Some(at) = at
            && armed.is_none_or(|armed| at < armed)
        {
            *armed = Some(at);
            self.at(at, Event::Wake { process });
        }
    }

    /// The process is gone, with its connections. Nobody is told but the broker, by the end of the connections.
    fn kill(&mut self, process: ProcessId) {
        self.log(|| format!("process {process} is killed"));
        self.processes[process].body = Body::Gone;
        for connection in self.network.of_process(process) {
            self.close(connection, "its process was killed");
        }
    }

    /// Processes of a kind that live.
    fn living(&self, wanted: impl Fn(&Body) -> bool) -> Vec<ProcessId> {
        let living = self.processes.iter().enumerate().filter(|(_, process)| wanted(&process.body));
        living.map(|(process, _)| process).collect()
    }
}

/// What a core wants of the network.
struct Wanted {
    id: RequestId,
    to: Target,
    request: Box<RequestKind>,
    /// The highest version that it may go out in.
    highest: Option<i16>,
    timeout: Duration,
}
