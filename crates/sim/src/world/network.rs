//! Connections as [`TcpTransport`](kurier_kafka::net::TcpTransport) has them, over a network that loses, delays and breaks.
//!
//! A connection keeps order and doubles nothing, as TCP does. What a request's duplicate is to a broker comes about as it does in life: the request
//! was done, the answer was lost with its connection, and the client asks again. A request that is under way when its connection ends either
//! vanishes or is still done; a produce may even be done after its own retry. Other requests are not let be so late: where Kafka's protocol has no
//! defence against that (a commit of offsets, the end of a transaction before KIP-890, see also `lose_late_requests`), no client could pass.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use kurier_kafka::group::RequestId;
use kurier_kafka::net::{Target, spoken};
use kurier_kafka::wire::{decode_request, decode_response_kind, encode_request_kind, encode_response};

use super::{Body, Event, ProcessId, Wanted, World};
use crate::ledger::Checked;
use crate::tally::Fault;

/// In which version the versions are asked for, as over TCP.
const API_VERSIONS: i16 = 3;
/// The first wait after a refused connection, and the longest.
const RECONNECT: (u64, u64) = (50, 1_000);
/// How long a broker waits at most before it notices that a half-closed connection has ended.
const UNNOTICED_MS: u64 = 20_000;
/// Longest delay of a produce request beyond the end of its connection.
const LATE_MS: u64 = 4_000;

/// A message on its way: as it is, or as bytes.
#[derive(Debug)]
pub(super) enum Payload<T> {
    Plain(Box<T>),
    Frame(Bytes),
}

/// Which of its connections a client uses for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Any,
    Fetch,
    Node,
    Coordinator,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Open {
    id: RequestId,
    api: ApiKey,
    version: i16,
}

/// A request that waits for its connection.
#[derive(Debug)]
struct Waiting {
    number: i32,
    id: RequestId,
    request: Box<RequestKind>,
    highest: Option<i16>,
}

#[derive(Debug)]
pub(super) struct Connection {
    process: ProcessId,
    slot: Slot,
    /// The highest and lowest version of each API; none before the broker has told them.
    versions: Option<BTreeMap<i16, (i16, i16)>>,
    /// The request for them.
    handshake: Option<i32>,
    waiting: Vec<Waiting>,
    open: BTreeMap<i32, Open>,
    /// When the last request and the last answer arrive.
    up_at: Duration,
    down_at: Duration,
    /// What is sent in a direction vanishes.
    up_dead: bool,
    down_dead: bool,
    /// The client has let go of it.
    is_left: bool,
    /// The broker's process that it led to is gone, or has let go of it.
    is_over: bool,
    /// Which [`Server::era`](super::server::Server) it is of.
    era: u64,
}

#[derive(Default)]
pub(super) struct Network {
    connections: BTreeMap<u64, Connection>,
    slots: BTreeMap<(ProcessId, Slot), u64>,
    /// Refused connections in a row, and when the next may be tried.
    failures: BTreeMap<(ProcessId, Slot), (u32, Duration)>,
    next_connection: u64,
    next_number: i32,
    /// Processes whose messages are held up until then.
    cut_until: BTreeMap<ProcessId, Duration>,
}

impl Network {
    pub(super) fn process_of(&self, connection: u64) -> Option<ProcessId> {
        self.connections.get(&connection).map(|connection| connection.process)
    }

    pub(super) fn of_process(&self, process: ProcessId) -> Vec<u64> {
        self.slots.iter().filter(|((of, _), _)| *of == process).map(|(_, connection)| *connection).collect()
    }

    /// What is answered from now on is of this era.
    pub(super) fn begin_era(&mut self, era: u64) {
        self.connections.values_mut().for_each(|connection| connection.era = era);
    }

    /// All that clients use.
    pub(super) fn in_use(&self) -> Vec<u64> {
        self.slots.values().copied().collect()
    }

    pub(super) fn cut(&mut self, process: ProcessId, until: Duration) {
        self.cut_until.insert(process, until);
    }

    /// Connections of the broker's process end with it; their clients have not noticed.
    pub(super) fn broker_gone(&mut self) -> Vec<u64> {
        let lively = self.connections.iter_mut().filter(|(_, connection)| !connection.is_over);
        lively
            .map(|(number, connection)| {
                connection.is_over = true;
                *number
            })
            .collect()
    }

    pub(super) fn kill_direction(&mut self, connection: u64, to_broker: bool) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            if to_broker {
                connection.up_dead = true;
            } else {
                connection.down_dead = true;
            }
        }
    }

    pub(super) fn is_over(&self, connection: u64) -> bool {
        self.connections.get(&connection).is_none_or(|connection| connection.is_over)
    }

    pub(super) fn is_left(&self, connection: u64) -> bool {
        self.connections.get(&connection).is_none_or(|connection| connection.is_left)
    }
}

fn slot_of(to: &Target, request: &RequestKind) -> Slot {
    match to {
        Target::Any => Slot::Any,
        Target::Node(_) if matches!(request, RequestKind::Fetch(_)) => Slot::Fetch,
        Target::Node(_) => Slot::Node,
        Target::Coordinator(_) => Slot::Coordinator,
    }
}

impl World {
    /// Sends a request for a process, over the connection that its transport would use.
    pub(super) fn send(&mut self, process: ProcessId, wanted: Wanted) {
        let slot = slot_of(&wanted.to, &wanted.request);
        self.network.next_number += 1;
        let number = self.network.next_number;
        let connection = match self.network.slots.get(&(process, slot)) {
            Some(connection) => *connection,
            None => self.connect(process, slot),
        };
        let state = self.network.connections.get_mut(&connection).expect("a connection in a slot is known");
        let Wanted { id, request, highest, timeout, .. } = wanted;
        state.waiting.push(Waiting { number, id, request, highest });
        self.at(self.now + timeout, Event::TimeOut { connection, number });
        self.flush(connection);
    }

    fn connect(&mut self, process: ProcessId, slot: Slot) -> u64 {
        self.network.next_connection += 1;
        let connection = self.network.next_connection;
        let state = Connection {
            process,
            slot,
            versions: None,
            handshake: None,
            waiting: Vec::new(),
            open: BTreeMap::new(),
            up_at: Duration::ZERO,
            down_at: Duration::ZERO,
            up_dead: false,
            down_dead: false,
            is_left: false,
            is_over: false,
            era: 0,
        };
        self.network.connections.insert(connection, state);
        self.network.slots.insert((process, slot), connection);
        let not_before = self.network.failures.get(&(process, slot)).map_or(Duration::ZERO, |(_, at)| *at);
        let latency = self.latency();
        let at = self.reachable_at(process, not_before.max(self.now) + latency);
        self.at(at, Event::Opened { connection });
        connection
    }

    fn latency(&mut self) -> Duration {
        let most = self.plan.latency;
        let usual = 1 + self.rng.below(most);
        let ms = if self.network_fails(200) && self.plan.has(Fault::Delay) {
            self.tally.fault(Fault::Delay);
            usual + self.rng.between(1_000, 6_000)
        } else {
            usual
        };
        Duration::from_millis(ms)
    }

    /// Once in so many messages, if messages get lost at all.
    fn network_fails(&mut self, rarely: u64) -> bool {
        !self.is_calm() && self.plan.loss != 0 && self.rng.one_in(rarely)
    }

    /// When a message of a process that would arrive then does arrive.
    fn reachable_at(&self, process: ProcessId, at: Duration) -> Duration {
        match self.network.cut_until.get(&process) {
            Some(until) if *until > self.now => at.max(*until + Duration::from_millis(1)),
            _ => at,
        }
    }

    /// The broker's machine has answered the wish for a connection.
    pub(super) fn opened(&mut self, connection: u64) -> Checked {
        let is_up = self.server.is_up();
        let Some(state) = self.network.connections.get_mut(&connection) else { return Ok(()) };
        if state.is_left {
            return Ok(());
        }
        let place = (state.process, state.slot);
        state.era = self.server.era;
        if !is_up {
            let failures = self.network.failures.entry(place).or_default();
            let wait = (RECONNECT.0 << failures.0.min(10)).min(RECONNECT.1);
            *failures = (failures.0 + 1, self.now + Duration::from_millis(wait));
            state.is_over = true;
            self.close(connection, "it was refused");
            return Ok(());
        }
        self.network.failures.remove(&place);
        self.network.next_number += 1;
        let number = self.network.next_number;
        state.handshake = Some(number);
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("sim"))
            .with_client_software_version(StrBytes::from_static_str("1"));
        self.carry_request(connection, number, API_VERSIONS, Box::new(RequestKind::ApiVersions(request)));
        Ok(())
    }

    /// Sends what waited for the versions.
    fn flush(&mut self, connection: u64) {
        let Some(state) = self.network.connections.get_mut(&connection) else { return };
        let Some(versions) = &state.versions else { return };
        let mut going = Vec::new();
        for Waiting { number, id, request, highest } in std::mem::take(&mut state.waiting) {
            let (api, min, max) = spoken(&request).expect("a core sends what clients send");
            let (broker_min, broker_max) = *versions.get(&(api as i16)).expect("the broker serves what cores send");
            let version = max.min(broker_max).min(highest.unwrap_or(i16::MAX));
            assert!(version >= min.max(broker_min), "{api:?} has a version that both sides speak");
            state.open.insert(number, Open { id, api, version });
            going.push((number, version, request));
        }
        for (number, version, request) in going {
            self.carry_request(connection, number, version, request);
        }
    }

    fn carry_request(&mut self, connection: u64, number: i32, version: i16, request: Box<RequestKind>) {
        let lost = self.network_fails(self.plan.loss) && self.plan.has(Fault::RequestLost);
        let arrival = self.now + self.latency();
        let Some(state) = self.network.connections.get(&connection) else { return };
        let process = state.process;
        if state.up_dead {
            return;
        }
        if lost {
            self.tally.fault(Fault::RequestLost);
            self.log(|| format!("request {number} of process {process} is lost with connection {connection}"));
            self.after_ms(1, Event::Broken { connection });
            return;
        }
        self.log(|| format!("process {process} sends {number}: {}", super::server::brief(&request)));
        let arrival = self.reachable_at(process, arrival);
        let state = self.network.connections.get_mut(&connection).expect("it was there a moment ago");
        let arrival = arrival.max(state.up_at);
        state.up_at = arrival;
        let request = if self.plan.is_encoded {
            let api = spoken(&request).expect("a core sends what clients send").0;
            let name = StrBytes::from_static_str("sim");
            let frame = encode_request_kind(Some(&name), number, api, version, &request);
            Payload::Frame(frame.expect("a core's request can be encoded").freeze().slice(4..))
        } else {
            Payload::Plain(request)
        };
        self.at(arrival, Event::Arrive { connection, number, version, request });
    }

    /// Sends an answer, unless it gets lost.
    pub(super) fn carry_answer(
        &mut self,
        connection: u64,
        number: i32,
        version: i16,
        response: Box<ResponseKind>,
        slow: Duration,
    ) -> Checked {
        let lost = self.network_fails(self.plan.loss) && self.plan.has(Fault::AnswerLost);
        let arrival = self.now + self.latency() + slow;
        let Some(state) = self.network.connections.get(&connection) else { return Ok(()) };
        if state.is_left || state.down_dead {
            return Ok(());
        }
        let process = state.process;
        if lost {
            self.tally.fault(Fault::AnswerLost);
            self.log(|| format!("the answer to request {number} of process {process} is lost"));
            self.after_ms(1, Event::Broken { connection });
            return Ok(());
        }
        let arrival = self.reachable_at(process, arrival);
        let state = self.network.connections.get_mut(&connection).expect("it was there a moment ago");
        let arrival = arrival.max(state.down_at);
        state.down_at = arrival;
        let response = if self.plan.is_encoded {
            let frame = encode_response(number, version, &response)
                .map_err(|error| format!("the broker's answer cannot be encoded: {error}"))?;
            Payload::Frame(frame.freeze().slice(4..))
        } else {
            Payload::Plain(response)
        };
        self.at(arrival, Event::Answer { connection, number, response });
        Ok(())
    }

    /// An answer has arrived at the client.
    pub(super) fn answer(&mut self, connection: u64, number: i32, response: Payload<ResponseKind>) -> Checked {
        let Some(state) = self.network.connections.get_mut(&connection) else { return Ok(()) };
        if state.is_left {
            return Ok(());
        }
        let process = state.process;
        if state.handshake == Some(number) {
            state.handshake = None;
            let unpacked = unpack_response(ApiKey::ApiVersions, API_VERSIONS, response)?;
            let ResponseKind::ApiVersions(answer) = unpacked else {
                return Err("another answer than that to ApiVersions".to_owned());
            };
            let ranges = answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
            state.versions = Some(ranges.collect());
            self.flush(connection);
            return Ok(());
        }
        let Some(open) = state.open.remove(&number) else {
            return Err(format!("an answer to request {number}, which was not open on connection {connection}"));
        };
        let era = state.era;
        let response = unpack_response(open.api, open.version, response)?;
        let error = match &response {
            ResponseKind::SyncGroup(answer) => Some(answer.error_code),
            ResponseKind::ConsumerGroupHeartbeat(answer) => Some(answer.error_code),
            _ => None,
        };
        if let (Some(0), Body::Member(app)) = (error, &mut self.processes[process].body) {
            app.era = era;
        }
        self.log(|| format!("process {process} gets the answer to {number} ({:?})", open.api));
        self.answered(process, open.id, Ok(response))
    }

    pub(super) fn timed_out(&mut self, connection: u64, number: i32) {
        let Some(state) = self.network.connections.get(&connection) else { return };
        let waits = state.open.contains_key(&number) || state.waiting.iter().any(|waiting| waiting.number == number);
        if waits && !state.is_left {
            self.close(connection, "a request was not answered in time");
        }
    }

    /// The client lets go of a connection: all its requests end without an answer.
    pub(super) fn close(&mut self, connection: u64, why: &str) {
        let Some(state) = self.network.connections.get_mut(&connection) else { return };
        if std::mem::replace(&mut state.is_left, true) {
            return;
        }
        let process = state.process;
        let place = (state.process, state.slot);
        let (is_over, up_dead, up_at) = (state.is_over, state.up_dead, state.up_at);
        let waiting = std::mem::take(&mut state.waiting).into_iter().map(|waiting| waiting.id);
        let ended: Vec<RequestId> =
            std::mem::take(&mut state.open).into_values().map(|open| open.id).chain(waiting).collect();
        if self.network.slots.get(&place) == Some(&connection) {
            self.network.slots.remove(&place);
        }
        self.log(|| format!("process {process} closes connection {connection}: {why}"));
        for id in ended {
            self.at(self.now, Event::Unanswered { process, id });
        }
        if is_over {
            self.network.connections.remove(&connection);
            return;
        }
        let last = self.let_go(connection);
        let unnoticed = if up_dead { self.rng.below(UNNOTICED_MS) } else { 1 };
        self.at(last.max(up_at) + Duration::from_millis(unnoticed), Event::Closed { connection });
    }

    /// Decides what becomes of the requests that are under way on a connection that ends. Returns when the last arrives.
    fn let_go(&mut self, connection: u64) -> Duration {
        let fate = self.rng.below(3);
        let shift = Duration::from_millis(if fate == 2 { self.rng.below(LATE_MS) } else { 0 });
        let of_it = |event: &Event| matches!(event, Event::Arrive { connection: of, .. } if *of == connection);
        let going: Vec<(Duration, u64)> =
            self.events.iter().filter(|(_, event)| of_it(event)).map(|(key, _)| *key).collect();
        let mut last = self.now;
        for key in going {
            let Some(event) = self.events.remove(&key) else { continue };
            if fate == 0 {
                continue;
            }
            let at = if is_produce(&event) { key.0 + shift } else { self.now };
            last = last.max(at);
            self.at(at, event);
        }
        last
    }

    /// A producer learns that a batch of its is missing, and goes on in a new epoch: what is still late of it never arrives. Kafka's protocol has no
    /// defence here, as the records that are sent again under the new epoch may be those that are late.
    pub(super) fn lose_late_requests(&mut self, connection: u64) {
        let Some(process) = self.network.process_of(connection) else { return };
        let network = &self.network;
        self.events.retain(|_, event| match event {
            Event::Arrive { connection, .. } => {
                !(network.is_left(*connection) && network.process_of(*connection) == Some(process))
            }
            _ => true,
        });
    }

    /// The broker notices the end of a connection.
    pub(super) fn closed(&mut self, connection: u64) -> Checked {
        let Some(state) = self.network.connections.get_mut(&connection) else { return Ok(()) };
        let was_over = std::mem::replace(&mut state.is_over, true);
        if state.is_left {
            self.network.connections.remove(&connection);
        }
        if was_over { Ok(()) } else { self.tell_closed(connection) }
    }
}

/// Whether the request in an event may be late.
fn is_produce(event: &Event) -> bool {
    match event {
        Event::Arrive { request: Payload::Plain(request), .. } => matches!(**request, RequestKind::Produce(_)),
        // The key of Produce is 0.
        Event::Arrive { request: Payload::Frame(frame), .. } => frame.starts_with(&[0, 0]),
        _ => false,
    }
}

pub(super) fn unpack_request(request: Payload<RequestKind>) -> Result<RequestKind, String> {
    match request {
        Payload::Plain(request) => Ok(*request),
        Payload::Frame(frame) => decode_request(frame)
            .map(|decoded| decoded.body)
            .map_err(|error| format!("a client's request cannot be read: {}", error.error)),
    }
}

fn unpack_response(api: ApiKey, version: i16, response: Payload<ResponseKind>) -> Result<ResponseKind, String> {
    match response {
        Payload::Plain(response) => Ok(*response),
        Payload::Frame(frame) => decode_response_kind(api, frame, version)
            .map(|(_, response)| response)
            .map_err(|error| format!("the broker's answer cannot be read: {error}")),
    }
}
