//! The clock, the network, the broker's process, and what is known of every record.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use kafka_protocol::messages::{RequestKind, ResponseKind};
use kurier_broker::{Broker, BrokerConfig, ConnectionId, MemoryStore, Now, Reply, Request};
use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::core::{ConsumerCore, Effect as ConsumerEffect, Input as ConsumerInput};
use kurier_kafka::consumer::{OffsetReset, Settings as ConsumerSettings, TopicPartition};
use kurier_kafka::group::{RequestId, Unanswered};
use kurier_kafka::producer::core::{Appended, Effect, Input, ProducerCore};
use kurier_kafka::producer::{Destination, ProduceBatch, Settings};

use super::{Mistake, Outcome, Scenario, Violation};
use crate::rng::Rng;

const TOPIC: &str = "t";
/// Where the wall clock begins.
const EPOCH_MS: i64 = 1_700_000_000_000;
/// Faults end here, so that what is left can arrive.
const CALM_AFTER: Duration = Duration::from_secs(20);
/// A run that is not done by then hangs.
const END: Duration = Duration::from_secs(600);
/// Reading goes on for so long after everything is there: something may come twice.
const AFTERMATH: Duration = Duration::from_secs(3);
/// Events kept for a violation.
const TRACE: usize = 60;

/// Whose connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Client {
    Producer,
    Consumer,
}

/// A request under way. Answers to one that is no longer among the open ones are late, and ignored.
struct Open {
    client: Client,
    id: RequestId,
    connection: u64,
}

enum Event {
    /// A request arrives at the broker.
    Arrive { number: i32, connection: u64, body: Box<RequestKind> },
    /// A request ends.
    End { number: i32, response: Option<Box<ResponseKind>> },
    /// The application hands over its next records.
    Produce,
    /// The broker's process is started.
    Start,
    /// The next write kills it.
    Doom,
}

pub(super) struct World {
    scenario: Scenario,
    rng: Rng,
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    counter: u64,
    store: MemoryStore,
    broker: Option<Broker>,
    producer: ProducerCore,
    consumer: ConsumerCore,
    open: BTreeMap<i32, Open>,
    /// Connection of each client, and when its last request arrives: a connection keeps order.
    connections: BTreeMap<Client, (u64, Duration)>,
    sent: u64,
    batch: ProduceBatch,
    acknowledged: BTreeMap<u64, (i32, i64)>,
    given_up: u64,
    read: BTreeMap<u64, (i32, i64)>,
    last_read: BTreeMap<i32, u64>,
    crashes: u32,
    faults: u64,
    trace: VecDeque<String>,
}

type Checked = Result<(), String>;

impl World {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let idempotent = scenario.mistake != Some(Mistake::DoubleRequests);
        let settings = Settings {
            idempotent,
            max_in_flight: if idempotent { 5 } else { 1 },
            request_timeout: Duration::from_secs(2),
            ..Settings::default()
        };
        let reading = ConsumerSettings {
            offset_reset: OffsetReset::Earliest,
            request_timeout: Duration::from_secs(2),
            ..ConsumerSettings::default()
        };
        let mut world = Self {
            scenario: scenario.clone(),
            rng: Rng::new(scenario.seed),
            now: Duration::ZERO,
            events: BTreeMap::new(),
            counter: 0,
            store: MemoryStore::new(),
            broker: None,
            producer: ProducerCore::new(settings),
            consumer: ConsumerCore::new(reading),
            open: BTreeMap::new(),
            connections: BTreeMap::new(),
            sent: 0,
            batch: ProduceBatch::default(),
            acknowledged: BTreeMap::new(),
            given_up: 0,
            read: BTreeMap::new(),
            last_read: BTreeMap::new(),
            crashes: 0,
            faults: 0,
            trace: VecDeque::new(),
        };
        world.at(0, Event::Start);
        world.at(1, Event::Produce);
        for _ in 0..scenario.crashes {
            let when = world.rng.below(6_000);
            world.at(when, Event::Doom);
        }
        world
    }
}

impl World {
    pub(super) fn run(mut self) -> Result<Outcome, Box<Violation>> {
        match self.play() {
            Ok(()) => Ok(Outcome {
                acknowledged: self.acknowledged.len() as u64,
                given_up: self.given_up,
                read: self.read.len() as u64,
                crashes: self.crashes,
                faults: self.faults,
            }),
            Err(what) => {
                Err(Box::new(Violation { seed: self.scenario.seed, what, trace: self.trace.into_iter().collect() }))
            }
        }
    }

    fn play(&mut self) -> Checked {
        let mut effects = Vec::new();
        let all = (0..self.scenario.partitions).map(|partition| TopicPartition::new(TOPIC, partition)).collect();
        self.consumer.assign(self.now, all, &mut effects);
        self.consumer_effects(effects);
        let mut done_at = None;
        loop {
            self.settle()?;
            let missing = self.acknowledged.keys().any(|value| !self.read.contains_key(value));
            let told = self.acknowledged.len() as u64 + self.given_up == self.scenario.records;
            if told && !missing && done_at.is_none() && self.now > CALM_AFTER {
                done_at = Some(self.now);
            }
            if done_at.is_some_and(|at| self.now > at + AFTERMATH) {
                return self.offsets_agree();
            }
            if self.now > END {
                let lost: BTreeSet<_> =
                    self.acknowledged.keys().filter(|value| !self.read.contains_key(*value)).collect();
                return Err(format!(
                    "after {:?} these are acknowledged and not read: {lost:?}; all told of: {told}",
                    self.now
                ));
            }
            self.pass_time();
            while let Some(event) = self.due() {
                self.happen(event)?;
            }
        }
    }

    /// On to whatever comes first; clocks are never further apart than a second, so that nobody's deadline is needed exactly.
    fn pass_time(&mut self) {
        let event = self.events.keys().next().map(|(at, _)| *at);
        let broker = self.broker.as_ref().map(Broker::next_deadline);
        let cores = [self.producer.next_deadline(self.now), self.consumer.next_deadline(self.now)];
        let step = self.now + Duration::from_millis(1);
        let next = [event, broker].into_iter().chain(cores).flatten().min().unwrap_or(END);
        self.now = next.clamp(step, step + Duration::from_secs(1));
    }

    fn due(&mut self) -> Option<Event> {
        let entry = self.events.first_entry().filter(|entry| entry.key().0 <= self.now)?;
        Some(entry.remove())
    }

    fn at(&mut self, in_ms: u64, event: Event) {
        self.counter += 1;
        self.events.insert((self.now + Duration::from_millis(in_ms), self.counter), event);
    }

    fn log(&mut self, line: impl FnOnce() -> String) {
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(format!("{:>8} ms  {}", self.now.as_millis(), line()));
    }

    fn happen(&mut self, event: Event) -> Checked {
        match event {
            Event::Produce => self.hand_over(),
            Event::Start => self.start()?,
            Event::Doom => {
                let (changes, torn) = (self.rng.below(6), self.rng.below(200));
                self.log(|| format!("the broker will die after {changes} more changes, {torn} bytes into the next"));
                self.store.die_after(changes, torn);
            }
            Event::Arrive { number, connection, body } => self.arrive(number, connection, *body),
            Event::End { number, response } => self.end(number, response),
        }
        Ok(())
    }

    fn start(&mut self) -> Checked {
        self.store.revive();
        let config = BrokerConfig {
            num_partitions: self.scenario.partitions,
            auto_create_topics: true,
            ..BrokerConfig::default()
        };
        let mut ids = Rng::new(self.rng.next());
        let ids = Box::new(move || u128::from(ids.next()) << 64 | u128::from(ids.next()));
        match Broker::open(config, Box::new(self.store.clone()), ids, self.wall()) {
            Ok(broker) => {
                self.log(|| "the broker is up".to_owned());
                self.broker = Some(broker);
                Ok(())
            }
            Err(error) => Err(format!("the broker does not start over what a crash left: {error}")),
        }
    }

    fn wall(&self) -> Now {
        let passed = i64::try_from(self.now.as_millis()).unwrap_or(i64::MAX - EPOCH_MS);
        Now { elapsed: self.now, unix_ms: EPOCH_MS + passed }
    }

    /// The application's next records: a few at a time, to partitions as it pleases. The value is the record's number.
    fn hand_over(&mut self) {
        if self.batch.is_empty() {
            let many = 1 + self.rng.below(8);
            for _ in 0..many.min(self.scenario.records - self.sent) {
                let partition = self.rng.below(self.scenario.partitions.unsigned_abs().into());
                let mut draft = self.batch.draft();
                let value = self.sent.to_be_bytes();
                let written: Result<(), std::convert::Infallible> = draft.value(|bytes| {
                    bytes.extend_from_slice(&value);
                    Ok(true)
                });
                let Ok(()) = written;
                let partition = i32::try_from(partition).ok();
                draft.finish(self.sent, Destination { topic: &TOPIC.into(), partition, timestamp: None });
                self.sent += 1;
            }
        }
        let mut effects = Vec::new();
        let unix_ms = self.wall().unix_ms;
        match self.producer.append(self.now, unix_ms, &self.batch, 0, &mut effects) {
            Appended::All => self.batch.clear(),
            // The topic is not known yet. Nothing of a batch goes before that, as all of it is for one topic, and the buffer is never full.
            Appended::UpTo(from) => assert_eq!(from, 0, "one topic, and room for all"),
        }
        self.producer_effects(effects);
        if self.sent < self.scenario.records || !self.batch.is_empty() {
            let pause = self.rng.below(300);
            self.at(pause, Event::Produce);
        }
    }
}

/// The network.
impl World {
    fn producer_effects(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::Send { id, request, timeout, .. } = effect {
                self.send(Client::Producer, id, request, timeout);
            }
        }
    }

    fn consumer_effects(&mut self, effects: Vec<ConsumerEffect>) {
        for effect in effects {
            if let ConsumerEffect::Send { id, request, timeout, .. } = effect {
                self.send(Client::Consumer, id, request, timeout);
            }
        }
    }

    fn calm(&self) -> bool {
        self.now > CALM_AFTER
    }

    fn send(&mut self, client: Client, id: RequestId, body: Box<RequestKind>, timeout: Duration) {
        self.counter += 1;
        let number = i32::try_from(self.counter).expect("a run ends long before two thousand million events");
        let fresh = (self.counter, Duration::ZERO);
        let (connection, last) = *self.connections.entry(client).or_insert(fresh);
        self.open.insert(number, Open { client, id, connection });
        if !self.calm() && self.rng.one_in(40) {
            self.break_connection(connection);
            return;
        }
        let delay = Duration::from_millis(1 + self.rng.below(60));
        let arrival = (self.now + delay).max(last);
        self.connections.insert(client, (connection, arrival));
        if self.scenario.mistake == Some(Mistake::DoubleRequests) && matches!(*body, RequestKind::Produce(_)) {
            self.counter += 1;
            let body = body.clone();
            self.events.insert((arrival, self.counter), Event::Arrive { number, connection, body });
        }
        self.counter += 1;
        self.events.insert((arrival, self.counter), Event::Arrive { number, connection, body });
        self.counter += 1;
        self.events.insert((self.now + timeout, self.counter), Event::End { number, response: None });
    }

    /// Everything open on it ends without an answer; what is under way on it to the broker still arrives or does not.
    fn break_connection(&mut self, connection: u64) {
        self.faults += 1;
        self.log(|| format!("connection {connection} breaks"));
        self.connections.retain(|_, (number, _)| *number != connection);
        let lost: Vec<i32> =
            self.open.iter().filter(|(_, open)| open.connection == connection).map(|(n, _)| *n).collect();
        for number in lost {
            let delay = self.rng.below(20);
            self.at(delay, Event::End { number, response: None });
        }
        if self.rng.one_in(2) {
            self.events.retain(|_, event| !matches!(event, Event::Arrive { connection: of, .. } if *of == connection));
        }
        let now = self.wall();
        let mut replies = Vec::new();
        if let Some(broker) = &mut self.broker {
            broker.closed(now, ConnectionId(connection), &mut replies);
        }
        self.replies(replies);
    }

    fn arrive(&mut self, number: i32, connection: u64, body: RequestKind) {
        let now = self.wall();
        let Some(broker) = &mut self.broker else {
            self.break_connection(connection);
            return;
        };
        let api_version = match body {
            RequestKind::InitProducerId(_) => 4,
            RequestKind::Produce(_) => 9,
            RequestKind::ListOffsets(_) => 7,
            _ => 12,
        };
        let client_id = "sim".to_owned();
        let request = Request { correlation_id: number, api_version, client_id, client_host: "/sim".to_owned(), body };
        let mut replies = Vec::new();
        broker.step(now, ConnectionId(connection), request, &mut replies);
        self.replies(replies);
    }

    fn replies(&mut self, replies: Vec<Reply>) {
        if self.store.has_died() {
            self.crash();
            return;
        }
        for reply in replies {
            match reply {
                Reply::Answer { correlation_id: number, response, .. } => {
                    if !self.calm() && self.rng.one_in(40) {
                        self.faults += 1;
                        self.log(|| format!("the answer to request {number} is lost"));
                        continue;
                    }
                    let delay = 1 + self.rng.below(60);
                    self.at(delay, Event::End { number, response: Some(response) });
                }
                Reply::Close { connection, .. } => self.break_connection(connection.0),
                Reply::Silence { .. } => {}
            }
        }
    }

    /// The process is gone, with all its connections; what it had written is still there.
    fn crash(&mut self) {
        if self.broker.take().is_none() {
            return;
        }
        self.crashes += 1;
        self.log(|| "the broker dies".to_owned());
        if self.scenario.mistake == Some(Mistake::ForgetWrites) {
            self.store.crash_machine(|_, _| 0);
        }
        for connection in self.connections.values().map(|(number, _)| *number).collect::<Vec<_>>() {
            self.break_connection(connection);
        }
        let pause = 10 + self.rng.below(1_500);
        self.at(pause, Event::Start);
    }

    fn end(&mut self, number: i32, response: Option<Box<ResponseKind>>) {
        let Some(Open { client, id, .. }) = self.open.remove(&number) else { return };
        let response = response.map(|response| *response).ok_or(Unanswered);
        match client {
            Client::Producer => {
                let mut effects = Vec::new();
                self.producer.step(self.now, Input::Answer { id, response }, &mut effects);
                self.producer_effects(effects);
            }
            Client::Consumer => {
                let mut effects = Vec::new();
                self.consumer.step(self.now, ConsumerInput::Answer { id, response }, &mut effects);
                self.consumer_effects(effects);
            }
        }
    }
}

/// What is seen of it.
impl World {
    /// Lets everybody do what time alone lets them, and looks at what came of it.
    fn settle(&mut self) -> Checked {
        let now = self.wall();
        let mut replies = Vec::new();
        if let Some(broker) = &mut self.broker {
            broker.tick(now, &mut replies);
        }
        self.replies(replies);
        let mut effects = Vec::new();
        self.producer.step(self.now, Input::Tick, &mut effects);
        self.producer_effects(effects);
        for delivery in self.producer.take_deliveries() {
            self.log(|| format!("told of {delivery:?}"));
            match delivery.outcome {
                Ok((partition, first)) => {
                    for (ticket, offset) in delivery.tickets.zip(first..) {
                        if self.acknowledged.insert(ticket, (partition.partition, offset)).is_some() {
                            return Err(format!("record {ticket} is acknowledged twice"));
                        }
                    }
                }
                Err(_) => self.given_up += delivery.tickets.count() as u64,
            }
        }
        let mut effects = Vec::new();
        self.consumer.step(self.now, ConsumerInput::Tick, &mut effects);
        self.consumer_effects(effects);
        self.poll()
    }

    fn poll(&mut self) -> Checked {
        let mut effects = Vec::new();
        let polled = self.consumer.poll(self.now, &mut effects);
        self.consumer_effects(effects);
        let polled = polled.map_err(|error| format!("the consumer fails: {error}"))?;
        for fetched in polled.into_iter().flat_map(|polled| polled.batches) {
            let partition = fetched.partition().partition;
            let batch = fetched.open(&mut Scratch::default()).map_err(|error| error.to_string())?;
            for record in &batch {
                let record = record.map_err(|error| error.to_string())?;
                let value = record.value.and_then(|value| value.try_into().ok()).map(u64::from_be_bytes);
                let value = value.ok_or_else(|| format!("nobody wrote the record at {partition}/{}", record.offset))?;
                self.log(|| format!("read {value} at {partition}/{}", record.offset));
                if let Some(before) = self.read.insert(value, (partition, record.offset)) {
                    return Err(format!(
                        "record {value} is there twice, at {before:?} and {:?}",
                        (partition, record.offset)
                    ));
                }
                if let Some(before) = self.last_read.insert(partition, value).filter(|before| *before > value) {
                    return Err(format!("partition {partition} has record {before} before {value}"));
                }
            }
        }
        Ok(())
    }

    fn offsets_agree(&self) -> Checked {
        for (value, place) in &self.acknowledged {
            let read = self.read.get(value);
            if read != Some(place) {
                return Err(format!("record {value} was acknowledged at {place:?} and read at {read:?}"));
            }
        }
        Ok(())
    }
}
