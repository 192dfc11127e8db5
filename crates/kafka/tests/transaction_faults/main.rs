//! Transactions of the producer's core on a cluster that loses, delays, refuses and moves: what is committed is there once and in order, nothing else is seen,
//! and whoever is fenced stays fenced.
//!
//! Cluster, network and clock are simulated in one thread; a seed says all, and half of the seeds speak version 2 of the protocol. What a broken connection
//! carried may arrive later, beside what is sent again. At the end the run tells how often each refusal was met: none of them never.

mod cluster;
#[path = "../simulated/mod.rs"]
mod simulated;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, ID, PARTITIONS, TOPIC, Weather};
use kafka_protocol::messages::{RequestKind, ResponseKind};
use kurier_kafka::consumer::core::Target;
use kurier_kafka::consumer::{OffsetAndMetadata, Offsets, TopicPartition};
use kurier_kafka::error::KafkaError;
use kurier_kafka::group::{GroupMetadata, RequestId};
use kurier_kafka::net::TransportError;
use kurier_kafka::producer::core::{Appended, Effect, Input, Operation, ProducerCore};
use kurier_kafka::producer::{Destination, ProduceBatch, Settings};
use simulated::{Queue, Rng};

/// Far longer than anything takes.
const FOREVER: Duration = Duration::from_secs(100_000);

enum Event {
    Arrives { id: RequestId, node: Option<i32>, request: Box<RequestKind>, highest: Option<i16>, is_answered: bool },
    Answered { id: RequestId, response: Box<Result<ResponseKind, TransportError>> },
}

struct World {
    seed: u64,
    rng: Rng,
    now: Duration,
    core: ProducerCore,
    cluster: Cluster,
    effects: Vec<Effect>,
    queue: Queue<Event>,
    /// When the last request to a broker arrives: connections keep order.
    arrivals: HashMap<Option<i32>, Duration>,
    told: BTreeMap<u64, Result<(), &'static str>>,
}

impl World {
    fn new(seed: u64, is_v2: bool, weather: Weather, settings: Settings) -> Self {
        let mut rng = Rng(seed);
        Self {
            seed,
            now: Duration::from_secs(1),
            core: ProducerCore::new(settings),
            cluster: Cluster::new(&mut rng, is_v2, weather),
            rng,
            effects: Vec::new(),
            queue: Queue::new(),
            arrivals: HashMap::new(),
            told: BTreeMap::new(),
        }
    }

    fn send(&mut self, id: RequestId, to: &Target, request: Box<RequestKind>, highest: Option<i16>) {
        let node = match to {
            Target::Node(node) => Some(*node),
            Target::Coordinator(coordinator) => Some(coordinator.node),
            Target::Any => None,
        };
        let arrival = self.arrivals.entry(node).or_default();
        *arrival = (*arrival).max(self.now + self.rng.millis(10));
        let at = *arrival;
        if !self.rng.chance(self.cluster.weather.breaks) {
            return self.queue.schedule(at, Event::Arrives { id, node, request, highest, is_answered: true });
        }
        // The end of the connection is noticed; what it carried was lost, has been read, or is read long after. Version 1 has nothing against the last where
        // it ends a transaction, or adds to one: that would hit the next one, which has the same epoch. KIP-890 is there for that reason.
        // The first InitProducerId names no epoch in either version: a late one is a new producer.
        let may_be_late = match &*request {
            RequestKind::Produce(_) => true,
            RequestKind::InitProducerId(_) => false,
            _ => self.cluster.is_v2,
        };
        match self.rng.below(if may_be_late { 3 } else { 2 }) {
            0 => {}
            1 => self.queue.schedule(at, Event::Arrives { id, node, request, highest, is_answered: false }),
            _ => {
                let late = at + self.rng.millis(2_000);
                self.queue.schedule(late, Event::Arrives { id, node, request, highest, is_answered: false });
            }
        }
        let noticed = at + self.rng.millis(30);
        self.queue.schedule(noticed, Event::Answered { id, response: Box::new(Err(TransportError::Unanswered)) });
    }

    fn pass_on(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            if let Effect::Send { id, to, request, highest, .. } = effect {
                self.send(id, &to, request, highest);
            }
        }
        for delivery in self.core.take_deliveries() {
            for ticket in delivery.tickets.clone() {
                let outcome = delivery.outcome.as_ref().map(|_| ()).map_err(|error| error.class);
                assert!(self.told.insert(ticket, outcome).is_none(), "seed {}: {ticket} is told of twice", self.seed);
            }
        }
    }

    /// Goes on to the next thing that happens, no further than `until`.
    fn advance(&mut self, until: Duration) {
        let event = self.queue.next_at();
        let deadline = self.core.next_deadline(self.now);
        let next = [event, deadline, Some(until)].into_iter().flatten().min().unwrap();
        self.now = self.now.max(next);
        if event.is_some_and(|at| at <= self.now) {
            match self.queue.pop().expect("nothing is taken out") {
                Event::Arrives { id, node, request, highest, is_answered } => {
                    let response = self.cluster.answer(&mut self.rng, self.now, node, &request, highest);
                    if is_answered {
                        let at = self.now + self.rng.millis(10);
                        self.queue.schedule(at, Event::Answered { id, response: Box::new(Ok(response)) });
                    }
                }
                Event::Answered { id, response } => {
                    self.core.step(self.now, Input::Answer { id, response: *response }, &mut self.effects);
                }
            }
        } else if deadline.is_some_and(|at| at <= self.now) {
            self.core.step(self.now, Input::Tick, &mut self.effects);
        }
        self.cluster.stir(&mut self.rng);
        self.pass_on();
    }

    /// Begins an operation and waits for its outcome.
    fn operate(
        &mut self,
        operation: Operation,
        begin: impl FnOnce(&mut ProducerCore, Duration, &mut Vec<Effect>) -> Result<(), KafkaError>,
    ) -> Result<(), KafkaError> {
        begin(&mut self.core, self.now, &mut self.effects)?;
        self.pass_on();
        let limit = self.now + Duration::from_secs(3_600);
        loop {
            if let Some(outcome) = self.core.take_outcome(operation) {
                return outcome;
            }
            assert!(self.now < limit, "seed {}: {operation:?} does not end: {:?}", self.seed, self.core);
            self.advance(limit);
        }
    }

    fn append(&mut self, tickets: std::ops::Range<u64>) {
        let (mut batch, topic): (_, Arc<str>) = (ProduceBatch::default(), TOPIC.into());
        for ticket in tickets {
            let (mut draft, padding) = (batch.draft(), self.rng.below(60) as usize);
            draft
                .value(|bytes| {
                    bytes.extend_from_slice(&ticket.to_be_bytes());
                    bytes.resize(bytes.len() + padding, b'x');
                    Ok::<_, ()>(true)
                })
                .unwrap();
            let partition = Some(self.rng.below(PARTITIONS as u64) as i32);
            draft.finish(ticket, Destination { topic: &topic, partition, timestamp: Some(1) });
        }
        let mut from = 0;
        while let Appended::UpTo(at, _) = self.core.append(self.now, 0, &batch, from, &mut self.effects) {
            from = at;
            self.pass_on();
            let until = self.now + Duration::from_millis(50);
            self.advance(until);
        }
        self.pass_on();
    }
}

fn offsets(offset: i64) -> (Offsets, GroupMetadata) {
    let place = TopicPartition::new("source", 0);
    (Offsets::from([(place, OffsetAndMetadata::new(offset))]), GroupMetadata::of_group("g"))
}

/// What a run came to.
#[derive(Default)]
struct Tally {
    committed: u64,
    aborted: u64,
    failed: u64,
    told: BTreeMap<i16, u64>,
}

fn check(seed: u64, is_v2: bool, weather: Weather, settings: Settings, transactions: u64, tally: &mut Tally) {
    let mut world = World::new(seed, is_v2, weather, settings);
    world.operate(Operation::InitTransactions, |core, now, effects| core.init_transactions(now, effects)).unwrap();
    let (mut ticket, mut offset) = (0, None);
    let mut committed = BTreeSet::new();
    for round in 0..transactions {
        world.core.begin_transaction().unwrap();
        let begin = ticket;
        for _ in 0..world.rng.below(4) {
            let count = 1 + world.rng.below(40);
            world.append(ticket..ticket + count);
            ticket += count;
            let until = world.now + world.rng.millis(30);
            while world.now < until {
                world.advance(until);
            }
        }
        let mut outcome = Ok(());
        let sends_offsets = world.rng.below(3) == 0;
        if sends_offsets {
            let (offsets, group) = offsets(round as i64);
            outcome = world.operate(Operation::SendOffsets, |core, now, effects| {
                core.send_offsets(now, &offsets, &group, effects)
            });
        }
        let aborts = world.rng.below(5) == 0;
        if outcome.is_ok() && !aborts {
            outcome = world.operate(Operation::Commit, |core, now, effects| core.commit_transaction(now, effects));
        }
        if let Err(error) = &outcome {
            assert!(!error.class.ends_with("ProducerFencedException"), "seed {seed}: nobody fences: {error}");
        }
        if outcome.is_err() || aborts {
            let abort = world.operate(Operation::Abort, |core, now, effects| core.abort_transaction(now, effects));
            abort.unwrap_or_else(|error| panic!("seed {seed}, round {round}: the abort of {outcome:?} fails: {error}"));
            tally.failed += u64::from(outcome.is_err());
            tally.aborted += u64::from(aborts);
        } else {
            tally.committed += 1;
            committed.extend(begin..ticket);
            offset = if sends_offsets { Some(round as i64) } else { offset };
            let unsent = (begin..ticket).find(|ticket| world.told.get(ticket) != Some(&Ok(())));
            assert_eq!(unsent, None, "seed {seed}: committed without an acknowledgement");
        }
        assert_eq!(world.told.len() as u64, ticket, "seed {seed}: all is told of at the end of a transaction");
        assert_eq!(world.core.buffered(), 0, "seed {seed}: room is given back");
    }
    // What was left behind on broken connections arrives.
    while world.queue.next_at().is_some() {
        world.advance(FOREVER);
    }
    let mut seen = BTreeSet::new();
    for log in &world.cluster.logs {
        let ends = &world.cluster.ends;
        let visible: Vec<u64> = log
            .records
            .iter()
            .filter(|(_, number)| ends.get(number) == Some(&true))
            .map(|(ticket, _)| *ticket)
            .collect();
        assert!(visible.is_sorted_by(|a, b| a < b), "seed {seed}: out of order or doubled: {visible:?}");
        let open = log.records.iter().find(|(_, number)| !ends.contains_key(number));
        assert_eq!(open, None, "seed {seed}: a record of a transaction that never ends");
        seen.extend(visible);
    }
    assert_eq!(seen, committed, "seed {seed}: what is seen is what was committed");
    assert_eq!(world.cluster.offset, offset, "seed {seed}: the offset of the last transaction that was committed");
    for (code, count) in world.cluster.told {
        *tally.told.entry(code).or_default() += count;
    }
}

fn settings() -> Settings {
    Settings {
        transactional_id: Some(ID.to_owned()),
        batch_bytes: 400,
        backlog_batch_bytes: 700,
        linger: Duration::from_millis(2),
        buffer_bytes: 20_000,
        retry_backoff: Duration::from_millis(5),
        retry_backoff_max: Duration::from_millis(100),
        delivery_timeout: FOREVER,
        max_block: FOREVER,
        ..Settings::default()
    }
}

/// `KURIER_SEEDS` makes more runs than the few of every test run.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let seeds = std::env::var("KURIER_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    0..seeds.unwrap_or(usual)
}

fn weather(seed: u64) -> Weather {
    let refusals = [0, 30, 150][seed as usize % 3];
    Weather { breaks: [0, 20, 100, 300][seed as usize % 4], refusals, moves: seed % 5 * 4, ..Weather::default() }
}

#[test]
fn what_is_committed_is_seen_once_and_nothing_else() {
    let mut tally = Tally::default();
    for seed in seeds(60) {
        check(seed, seed % 2 == 0, weather(seed / 2), settings(), 20, &mut tally);
    }
    assert_eq!(tally.failed, 0, "nothing entitles a transaction to fail");
    assert!(tally.committed > 0 && tally.aborted > 0);
    for code in [6, 7, 14, 16, 51] {
        assert!(tally.told.contains_key(&code), "error {code} was never met: {:?}", tally.told);
    }
}

#[test]
fn transactions_that_fail_are_aborted_and_harm_no_others() {
    let mut tally = Tally::default();
    for seed in seeds(60) {
        let weather = Weather { invalid: 4, abortable: 10, ..weather(seed / 2) };
        let delivery_timeout = Duration::from_millis([100, 1_000, 10_000][seed as usize % 3]);
        check(seed, seed % 2 == 0, weather, Settings { delivery_timeout, ..settings() }, 20, &mut tally);
    }
    assert!(tally.failed > 0 && tally.committed > 0);
    for code in [45, 87, 120] {
        assert!(tally.told.contains_key(&code), "error {code} was never met: {:?}", tally.told);
    }
}

#[test]
fn who_is_fenced_stays_fenced() {
    for seed in seeds(40) {
        let mut world = World::new(seed, seed % 2 == 0, weather(seed / 2), settings());
        world.operate(Operation::InitTransactions, |core, now, effects| core.init_transactions(now, effects)).unwrap();
        let mut ticket = 0;
        for round in 0.. {
            assert!(round < 3, "seed {seed}: it goes on as if nothing had been");
            if world.core.begin_transaction().is_err() {
                break;
            }
            world.append(ticket..ticket + 20);
            ticket += 20;
            if round == 1 {
                world.cluster.fence();
                world.append(ticket..ticket + 20);
                ticket += 20;
            }
            let commit =
                |core: &mut ProducerCore, now, effects: &mut Vec<Effect>| core.commit_transaction(now, effects);
            let outcome = world.operate(Operation::Commit, commit);
            assert_eq!(outcome.is_ok(), round == 0, "seed {seed}: {outcome:?}");
            if round == 0 {
                continue;
            }
            // A leader's refusal is taken for a transaction that timed out; the coordinator knows better.
            let abort = |core: &mut ProducerCore, now, effects: &mut Vec<Effect>| core.abort_transaction(now, effects);
            for _ in 0..2 {
                let error = world.operate(Operation::Abort, abort).unwrap_err();
                assert_eq!(error.simple_class(), "ProducerFencedException", "seed {seed}: {error}");
            }
            let error = world.core.begin_transaction().unwrap_err().to_string();
            assert!(error.contains("has been fenced by another producer"), "seed {seed}: {error}");
            let before = world.told.len();
            world.append(ticket..ticket + 5);
            let refused: Vec<_> = world.told.values().skip(before).collect();
            let class = "org.apache.kafka.common.errors.ProducerFencedException";
            assert_eq!(refused, vec![&Err(class); 5], "seed {seed}");
        }
        assert_eq!(world.core.buffered(), 0);
        assert!(world.told.len() as u64 >= ticket, "seed {seed}: all is told of");
    }
}
