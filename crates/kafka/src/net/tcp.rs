//! Requests over TCP, plain or within TLS: one connection a broker, one more to the coordinator.
//!
//! A connection carries many requests at a time; it begins with ApiVersions and what [`Security`] asks for, and every request goes out in the highest version that both sides and
//! the core know. Whatever goes wrong with a connection ends it and all its requests; the next request opens another, not before the back-off is over.
#![expect(clippy::disallowed_methods, reason = "driver: opens sockets, starts tasks, waits")]

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::sync::{OnceCell, oneshot};
use tokio::time::Instant;

use super::figures::{Figures, Groups};
use super::outage::{Address, Outages, Said};
use super::sasl::{Session, Step};
use super::stream::{self, ConnectError};
use super::throttle::throttle_time;
use super::versions::{api_key, versions, waits_for_records};
use super::{Broker, DnsLookup, Target, Transport, TransportError, resolve};
use crate::backoff::backoff;
use crate::error::KafkaError;
use crate::metrics::{Metric, MetricsSettings};
use crate::security::Security;
use crate::security::sasl::ClientExchange;
use crate::wire::{
    FrameError, FrameReader, OutFrame, WireError, correlation_id, decode_response_kind, encode_request_frame,
};

/// Longest answer that is taken. Memory is used as bytes arrive, not as they are announced.
const MAX_RESPONSE: usize = 512 << 20;
/// What this client calls itself.
pub(crate) const SOFTWARE: &str = "kurier";
/// ApiVersions is asked in this version; brokers that do not know it answer in version 0.
const API_VERSIONS: i16 = 3;
const UNSUPPORTED_VERSION: i16 = 35;
/// What an answer's length takes in front of it.
const LENGTH: usize = 4;

/// One for the process, because it has one log.
static OUTAGES: LazyLock<(Instant, Mutex<Outages>)> = LazyLock::new(|| (Instant::now(), Mutex::default()));

/// Where brokers are found, and how patiently.
#[derive(Clone, Debug)]
pub struct NetSettings {
    /// `bootstrap.servers`, as host and port.
    pub bootstrap: Vec<(String, u16)>,
    /// `client.id`.
    pub client_id: String,
    /// `security.protocol` and what belongs to it.
    pub security: Security,
    /// `socket.connection.setup.timeout.ms`.
    pub setup_timeout: Duration,
    /// `socket.connection.setup.timeout.max.ms`.
    pub setup_timeout_max: Duration,
    /// `reconnect.backoff.ms`.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`.
    pub reconnect_backoff_max: Duration,
    /// `client.dns.lookup`.
    pub dns_lookup: DnsLookup,
    /// `connections.max.idle.ms`; none to keep them.
    pub max_idle: Option<Duration>,
    /// `send.buffer.bytes`; none for the system's.
    pub send_buffer: Option<u32>,
    /// `receive.buffer.bytes`; none for the system's.
    pub receive_buffer: Option<u32>,
    /// `metadata.recovery.strategy` is `rebootstrap`: `bootstrap.servers` are asked again when no known broker answers.
    pub rebootstrap: bool,
    /// `metrics.num.samples` and `metrics.sample.window.ms`.
    pub metrics: MetricsSettings,
}

impl NetSettings {
    /// Java's defaults.
    pub fn new(bootstrap: Vec<(String, u16)>) -> Self {
        Self {
            bootstrap,
            client_id: String::new(),
            security: Security::default(),
            setup_timeout: Duration::from_secs(10),
            setup_timeout_max: Duration::from_secs(30),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            dns_lookup: DnsLookup::default(),
            max_idle: Some(Duration::from_secs(540)),
            send_buffer: None,
            receive_buffer: None,
            rebootstrap: true,
            metrics: MetricsSettings::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Slot {
    Any,
    /// Fetches wait at the broker, and a broker answers one request of a connection at a time.
    Fetch(i32),
    Node(i32),
    Coordinator(i32),
}

/// Connections to the brokers of a cluster.
#[derive(Debug)]
pub struct TcpTransport {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: NetSettings,
    brokers: Mutex<BTreeMap<i32, (String, u16)>>,
    /// The bootstrap list under its canonical names.
    canonical: OnceCell<Vec<Address>>,
    slots: Mutex<HashMap<Slot, Arc<tokio::sync::Mutex<Place>>>>,
    counter: Arc<Counter>,
}

/// The figures with their clock.
#[derive(Debug)]
struct Counter {
    origin: Instant,
    figures: Figures,
}

impl Counter {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// Where a connection is, or is to be.
#[derive(Debug, Default)]
struct Place {
    connection: Option<Arc<Connection>>,
    failures: u32,
    /// Which name is tried first: a broker that took the connection and then failed is not the next one.
    turn: usize,
    /// Which of its addresses.
    ip_turn: usize,
    not_before: Option<Instant>,
}

impl TcpTransport {
    /// Opens nothing yet.
    pub fn new(settings: NetSettings) -> Self {
        let counter = Arc::new(Counter { origin: Instant::now(), figures: Figures::new(settings.metrics) });
        let inner =
            Inner { counter, settings, brokers: Mutex::default(), canonical: OnceCell::new(), slots: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }
}

impl Transport for TcpTransport {
    fn send(
        &self,
        to: Target,
        request: Box<RequestKind>,
        highest: Option<i16>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<ResponseKind, TransportError>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let deadline = Instant::now() + timeout;
            let connect = async {
                let (slot, addresses) = inner.addresses(&to, &request).await;
                inner.connection(slot, &addresses).await
            };
            let connection = match tokio::time::timeout_at(deadline, connect).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(error)) => {
                    tracing::debug!(?to, %error, "no connection");
                    return Err(error.as_no_connection());
                }
                Err(_) => return Err(TransportError::Unanswered),
            };
            if let Some(at) = connection.muted_until() {
                if at >= deadline {
                    return Err(TransportError::Unanswered);
                }
                tokio::time::sleep_until(at).await;
            }
            match tokio::time::timeout_at(deadline, connection.call(&inner.settings.client_id, &request, highest)).await
            {
                Ok(Ok(response)) => Ok(response),
                // Nothing was sent, so the connection is as good as before.
                Ok(Err(error @ (CallError::Unsupported(_) | CallError::Unwritable(_)))) => {
                    Err(error.as_no_connection())
                }
                Ok(Err(error)) => {
                    tracing::debug!(?to, %error, "a request failed");
                    connection.close("another request of the connection failed");
                    match error {
                        // The session could not be renewed.
                        CallError::Refused(_) => Err(error.as_no_connection()),
                        // Nobody asked anything of it when it ended: brokers close what is idle.
                        CallError::WasClosed => Err(TransportError::Unanswered),
                        error => {
                            tell_failure(&connection.address, &error, "lost the connection to a broker; trying again");
                            Err(TransportError::Unanswered)
                        }
                    }
                }
                // What comes on this connection now would be late; a broker that hangs is asked on another one.
                Err(_) => {
                    let error = CallError::Lost(format!("no answer in {} ms", timeout.as_millis()));
                    tell_failure(&connection.address, &error, "a broker does not answer; trying again");
                    connection.close("another request of the connection was not answered");
                    Err(TransportError::Unanswered)
                }
            }
        })
    }

    fn brokers(&self, brokers: &[Broker]) {
        if brokers.is_empty() && !self.inner.settings.rebootstrap {
            return;
        }
        *self.inner.brokers.lock() =
            brokers.iter().map(|broker| (broker.node, (broker.host.clone(), broker.port))).collect();
    }

    fn metrics(&self, client_id: &str, groups: Groups, out: &mut Vec<Metric>) {
        let counter = &self.inner.counter;
        counter.figures.gather(counter.now(), client_id, groups, out);
    }
}

impl Inner {
    async fn addresses(&self, to: &Target, request: &RequestKind) -> (Slot, Vec<Address>) {
        let settings = &self.settings;
        let bootstrap = match (to, settings.dns_lookup) {
            (Target::Any, DnsLookup::ResolveCanonicalBootstrapServersOnly) => {
                self.canonical.get_or_init(|| resolve::canonical(&settings.bootstrap)).await
            }
            _ => &settings.bootstrap,
        };
        let brokers = self.brokers.lock();
        match to {
            Target::Node(node) => {
                let slot = if waits_for_records(request) { Slot::Fetch } else { Slot::Node };
                (slot(*node), brokers.get(node).cloned().into_iter().collect())
            }
            Target::Coordinator(coordinator) => {
                (Slot::Coordinator(coordinator.node), vec![(coordinator.host.clone(), coordinator.port)])
            }
            Target::Any => {
                // The bootstrap list stays good when all brokers that were known have gone (KIP-899).
                let mut addresses: Vec<Address> = brokers.values().cloned().collect();
                if addresses.is_empty() || settings.rebootstrap {
                    let new: Vec<_> = bootstrap.iter().filter(|name| !addresses.contains(name)).cloned().collect();
                    addresses.extend(new);
                }
                (Slot::Any, addresses)
            }
        }
    }

    /// What Java calls a connection in its figures: negative numbers are those of bootstrap addresses, very large ones those of coordinators.
    fn node(&self, slot: Slot, address: &Address) -> String {
        let id = match slot {
            Slot::Fetch(node) | Slot::Node(node) => node,
            Slot::Coordinator(node) => i32::MAX.saturating_sub(node),
            Slot::Any => {
                let known = self.brokers.lock().iter().find(|(_, at)| *at == address).map(|(node, _)| *node);
                let place = self.settings.bootstrap.iter().position(|at| at == address).unwrap_or_default();
                known.unwrap_or_else(|| -1_i32.saturating_sub(i32::try_from(place).unwrap_or_default()))
            }
        };
        format!("node-{id}")
    }

    /// The open connection of a slot, or a new one to the first address that answers.
    async fn connection(&self, slot: Slot, addresses: &[(String, u16)]) -> Result<Arc<Connection>, CallError> {
        let place = Arc::clone(self.slots.lock().entry(slot).or_default());
        let mut place = place.lock().await;
        if let Some(connection) = &place.connection
            && connection.is_open()
            && (slot == Slot::Any || addresses.contains(&connection.address))
        {
            return Ok(Arc::clone(connection));
        }
        if place.connection.take().is_some() {
            place.turn = place.turn.wrapping_add(1);
            place.ip_turn = place.ip_turn.wrapping_add(1);
        }
        if let Some(at) = place.not_before {
            tokio::time::sleep_until(at).await;
        }
        let settings = &self.settings;
        let mut last = CallError::Io(io::Error::new(io::ErrorKind::NotFound, "no address is known"));
        // Longer with every failure, as in Java: a broker may be slow to accept.
        let patience = backoff(settings.setup_timeout, settings.setup_timeout_max, place.failures);
        let patience = spread(patience).min(settings.setup_timeout_max);
        // The next in turn is noted before a try: whoever waits may give up while one of them hangs, and the next caller then goes on behind it.
        'names: for _ in 0..addresses.len() {
            let turn = place.turn;
            place.turn = turn.wrapping_add(1);
            let address = &addresses[turn % addresses.len()];
            let ips = match tokio::time::timeout(patience, resolve::addresses(address)).await {
                Ok(Ok(ips)) => ips,
                Ok(Err(error)) => {
                    last = CallError::Io(error);
                    Vec::new()
                }
                Err(_) => {
                    last = CallError::Io(io::ErrorKind::TimedOut.into());
                    Vec::new()
                }
            };
            for tried in 0..ips.len() {
                let ip_turn = place.ip_turn;
                place.ip_turn = ip_turn.wrapping_add(1);
                // It is the name's turn as long as not all of its addresses were tried.
                place.turn = if tried + 1 < ips.len() { turn } else { turn.wrapping_add(1) };
                // A token may have to be got first, which has times of its own.
                let exchange = match &settings.security.sasl {
                    Some(sasl) => sasl.begin().await.map(Some).map_err(CallError::Refused),
                    None => Ok(None),
                };
                let at = ips[ip_turn % ips.len()];
                let node = self.node(slot, address);
                let open = async { Connection::open(address.clone(), at, node, self, exchange?).await };
                match tokio::time::timeout(patience, open).await {
                    Ok(Ok(connection)) => {
                        tell_connected(address);
                        let open = Some(Arc::clone(&connection));
                        *place = Place { connection: open, failures: 0, turn, ip_turn, not_before: None };
                        return Ok(connection);
                    }
                    // Another broker would refuse for the same reason, and the reason is what the user has to see.
                    Ok(Err(error @ CallError::Refused(_))) => {
                        tell_failure(address, &error, "this client and a broker do not accept each other");
                        last = error;
                        break 'names;
                    }
                    Ok(Err(error)) => last = error,
                    Err(_) => last = CallError::Io(io::ErrorKind::TimedOut.into()),
                }
            }
            tell_failure(address, &last, "cannot connect to a broker; trying again");
        }
        let wait = backoff(settings.reconnect_backoff, settings.reconnect_backoff_max, place.failures);
        place.failures = place.failures.saturating_add(1);
        place.not_before = Some(Instant::now() + spread(wait).min(settings.reconnect_backoff_max));
        Err(last)
    }
}

/// Lets the log say what [`Outages`] finds worth saying of a failure.
fn tell_failure(address: &Address, error: &CallError, what: &str) {
    let (origin, outages) = &*OUTAGES;
    let said = outages.lock().failed(origin.elapsed(), address);
    let broker = format_args!("{}:{}", address.0, address.1);
    match said {
        Some(Said::StillAway { since, failures }) => {
            tracing::warn!(%broker, %error, failures, "{what}; it has been away for {} s", since.as_secs());
        }
        Some(_) => tracing::warn!(%broker, %error, "{what}"),
        None => tracing::debug!(%broker, %error, "{what}"),
    }
}

fn tell_connected(address: &Address) {
    let (origin, outages) = &*OUTAGES;
    if let Some(Said::Back { since }) = outages.lock().connected(origin.elapsed(), address) {
        let broker = format_args!("{}:{}", address.0, address.1);
        tracing::info!(%broker, "again connected to a broker after {} s", since.as_secs());
    }
}

/// A time a fifth longer or shorter by chance, so that clients that lost a broker together do not come back together.
fn spread(wait: Duration) -> Duration {
    // A new hasher has keys of its own; that is chance enough.
    let chance = RandomState::new().hash_one(0_u8);
    wait.mul_f64(0.8 + 0.4 * (chance % 1_024) as f64 / 1_024.0)
}

#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Wire(#[from] WireError),
    /// It ended while an answer was waited for.
    #[error("{0}")]
    Lost(String),
    /// It had ended before anything was asked.
    #[error("the connection was closed")]
    WasClosed,
    /// The two do not accept each other: certificates or credentials. Trying again does not help.
    #[error("{0}")]
    Refused(KafkaError),
    /// It says something that the version which both sides know has no place for.
    #[error("the broker does not speak a version that can say this: {0}")]
    Unwritable(WireError),
    #[error("a request of a kind that clients do not send")]
    Unknown,
    #[error("the broker does not speak a version of {0:?} that this client speaks; Kafka 3.0 or later does")]
    Unsupported(ApiKey),
}

impl CallError {
    /// What whoever wanted a connection is told.
    fn as_no_connection(&self) -> TransportError {
        match self {
            Self::Refused(error) => TransportError::Refused(error.clone()),
            Self::Unsupported(_) | Self::Unwritable(_) => {
                TransportError::Refused(KafkaError::unsupported(self.to_string()))
            }
            _ => TransportError::Unanswered,
        }
    }
}

impl From<ConnectError> for CallError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Io(error) => Self::Io(error),
            ConnectError::Handshake(_) => Self::Refused(KafkaError::ssl_authentication(error.to_string())),
        }
    }
}

/// Those who wait for answers, and when a request was last sent or answered.
#[derive(Debug)]
struct Waiting {
    answers: HashMap<i32, oneshot::Sender<Bytes>>,
    used: Instant,
}

/// Who waits for an answer, or why nobody can any more.
type Line = Arc<Mutex<Result<Waiting, Ended>>>;

/// Why a connection ended.
#[derive(Clone, Debug, Default)]
struct Ended {
    why: String,
    /// It was TLS that ended it, by an alert for instance.
    by_tls: bool,
}

impl From<String> for Ended {
    fn from(why: String) -> Self {
        Self { why, by_tls: false }
    }
}

/// One socket.
#[derive(Debug)]
struct Connection {
    address: (String, u16),
    /// Its name in figures.
    node: String,
    counter: Arc<Counter>,
    versions: HashMap<i16, (i16, i16)>,
    next: AtomicI32,
    writer: Arc<tokio::sync::Mutex<Writer>>,
    line: Line,
    /// Nothing is sent before: the broker does not read on before either.
    muted_until: Mutex<Option<Instant>>,
    reader: tokio::task::AbortHandle,
    /// Under SASL.
    session: Option<Session>,
}

#[derive(Debug)]
struct Writer {
    /// None once the connection has ended.
    half: Option<stream::Writer>,
    /// A frame was begun and not ended, because whoever wrote it was dropped or failed.
    torn: bool,
}

impl Writer {
    async fn write(&mut self, mut frame: OutFrame) -> Result<(), CallError> {
        // Behind half a frame, the broker would take another one for its rest.
        let half = self.half.as_mut().filter(|_| !self.torn).ok_or(CallError::WasClosed)?;
        self.torn = true;
        half.write_all_buf(&mut frame).await?;
        half.flush().await?;
        self.torn = false;
        Ok(())
    }
}

impl Connection {
    async fn open(
        address: Address,
        at: SocketAddr,
        node: String,
        inner: &Inner,
        exchange: Option<ClientExchange>,
    ) -> Result<Arc<Self>, CallError> {
        let Inner { settings, counter, .. } = inner;
        let buffers = (settings.send_buffer, settings.receive_buffer);
        let (reader, writer) = stream::connect(&address.0, at, buffers, settings.security.tls.as_ref()).await?;
        let line = Line::new(Mutex::new(Ok(Waiting { answers: HashMap::new(), used: Instant::now() })));
        let frames = FrameReader::new(reader, MAX_RESPONSE);
        let writer = Arc::new(tokio::sync::Mutex::new(Writer { half: Some(writer), torn: false }));
        let task = read(frames, Arc::clone(&line), Arc::clone(&writer), Arc::clone(counter), settings.max_idle);
        let reader = tokio::spawn(task).abort_handle();
        counter.figures.opened(counter.now());
        let mut connection = Self {
            address,
            node,
            counter: Arc::clone(counter),
            versions: HashMap::new(),
            next: AtomicI32::new(0),
            writer,
            line,
            muted_until: Mutex::default(),
            reader,
            session: settings.security.sasl.clone().map(Session::new),
        };
        connection.versions = connection.ask_versions(&settings.client_id).await?;
        if let (Some(session), Some(exchange)) = (&connection.session, exchange) {
            let authenticated = connection.authenticate(&settings.client_id, session, exchange).await;
            counter.figures.authenticated(counter.now(), authenticated.is_ok());
            authenticated?;
        }
        Ok(Arc::new(connection))
    }

    async fn ask_versions(&self, client_id: &str) -> Result<HashMap<i16, (i16, i16)>, CallError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(SOFTWARE))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let request = RequestKind::ApiVersions(request);
        let frame = self.exchange(client_id, ApiKey::ApiVersions, API_VERSIONS, &request).await?;
        // A broker that does not know the version says so in the form of version 0, whose error code is in the same place.
        let code = frame.get(4..6).map_or(0, |code| i16::from_be_bytes([code[0], code[1]]));
        let response = if code == UNSUPPORTED_VERSION {
            let request = RequestKind::ApiVersions(ApiVersionsRequest::default());
            let frame = self.exchange(client_id, ApiKey::ApiVersions, 0, &request).await?;
            decode_response_kind(ApiKey::ApiVersions, frame, 0)?.1
        } else {
            decode_response_kind(ApiKey::ApiVersions, frame, API_VERSIONS)?.1
        };
        match response {
            ResponseKind::ApiVersions(response) if response.error_code == 0 => {
                let ranges = response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
                Ok(ranges.collect())
            }
            _ => Err(CallError::Unsupported(ApiKey::ApiVersions)),
        }
    }

    fn is_open(&self) -> bool {
        self.line.lock().is_ok()
    }

    fn close(&self, why: &str) {
        self.reader.abort();
        end(&self.line, &self.counter, why.to_owned().into());
        hang_up(&self.writer);
    }

    /// Tells the broker who this is, while every other request waits.
    async fn authenticate(
        &self,
        client_id: &str,
        session: &Session,
        exchange: ClientExchange,
    ) -> Result<(), CallError> {
        let mut writer = self.writer.lock().await;
        let (mut handshake, mut answer) = (session.begin(exchange), None);
        loop {
            // It ends without an outcome only with the runtime.
            let step;
            (handshake, step) = handshake.step_aside(answer).await.ok_or(CallError::WasClosed)?;
            match step.map_err(CallError::Refused)? {
                Step::Done(lifetime) => {
                    session.renew_within(lifetime);
                    return Ok(());
                }
                Step::Ask(request) => {
                    let (api, version) = self.version(&request, None)?;
                    let (frame, waiting) = self.prepare(client_id, api, version, &request)?;
                    writer.write(frame).await?;
                    let frame = self.answer(waiting).await?;
                    answer = Some(decode_response_kind(api, frame, version)?.1);
                }
            }
        }
    }

    /// Tells the broker again who this is, once it is time to: KIP-368.
    async fn renew(self: &Arc<Self>, client_id: &str) -> Result<(), CallError> {
        if !self.session.as_ref().is_some_and(Session::is_due) {
            return Ok(());
        }
        let (connection, client_id) = (Arc::clone(self), client_id.to_owned());
        // In a task of its own: whoever stops waiting for its request must not leave half an exchange behind.
        let renewing = tokio::spawn(async move {
            let Some(session) = &connection.session else { return Ok(()) };
            let _renewing = session.renewing.lock().await;
            if !session.is_due() {
                return Ok(());
            }
            let exchange = session.sasl.begin().await.map_err(CallError::Refused)?;
            let (counter, begun) = (&connection.counter, connection.counter.now());
            let renewed = connection.authenticate(&client_id, session, exchange).await;
            let now = counter.now();
            counter.figures.renewed(now, renewed.is_ok(), now.saturating_sub(begun));
            match &renewed {
                Ok(()) => tracing::debug!("the session of a connection is renewed"),
                Err(error) => connection.close(&format!("the session could not be renewed: {error}")),
            }
            renewed
        });
        renewing.await.unwrap_or(Err(CallError::WasClosed))
    }

    async fn call(
        self: &Arc<Self>,
        client_id: &str,
        request: &RequestKind,
        highest: Option<i16>,
    ) -> Result<ResponseKind, CallError> {
        self.renew(client_id).await?;
        let (api, version) = self.version(request, highest)?;
        let frame = self.exchange(client_id, api, version, request).await?;
        let response = decode_response_kind(api, frame, version)?.1;
        let mute = throttle_time(&response);
        if api == ApiKey::Produce {
            self.counter.figures.throttled(self.counter.now(), mute);
        }
        if !mute.is_zero() {
            let until = Instant::now() + mute;
            let mut muted = self.muted_until.lock();
            *muted = Some(muted.map_or(until, |at| at.max(until)));
        }
        Ok(response)
    }

    /// When the broker reads on, if it has said that it does not now.
    fn muted_until(&self) -> Option<Instant> {
        self.muted_until.lock().filter(|at| *at > Instant::now())
    }

    /// The version in which a request goes out.
    fn version(&self, request: &RequestKind, highest: Option<i16>) -> Result<(ApiKey, i16), CallError> {
        let api = api_key(request).ok_or(CallError::Unknown)?;
        let (min, max) = versions(api, request);
        let (broker_min, broker_max) = self.versions.get(&(api as i16)).copied().ok_or(CallError::Unsupported(api))?;
        let version = max.min(broker_max).min(highest.unwrap_or(i16::MAX));
        if version < min.max(broker_min) {
            return Err(CallError::Unsupported(api));
        }
        Ok((api, version))
    }

    async fn exchange(
        &self,
        client_id: &str,
        api: ApiKey,
        version: i16,
        request: &RequestKind,
    ) -> Result<Bytes, CallError> {
        let (frame, waiting) = self.prepare(client_id, api, version, request)?;
        self.writer.lock().await.write(frame).await?;
        self.answer(waiting).await
    }

    /// A request as bytes, and where its answer will come.
    fn prepare(
        &self,
        client_id: &str,
        api: ApiKey,
        version: i16,
        request: &RequestKind,
    ) -> Result<(OutFrame, Awaited), CallError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let client_id = StrBytes::from_string(client_id.to_owned());
        let frame = encode_request_frame(Some(&client_id), id, api, version, request).map_err(CallError::Unwritable)?;
        let (sender, receiver) = oneshot::channel();
        {
            let mut line = self.line.lock();
            let waiting = line.as_mut().map_err(|_| CallError::WasClosed)?;
            waiting.answers.insert(id, sender);
            waiting.used = Instant::now();
        }
        let begun = self.counter.now();
        self.counter.figures.sent(begun, &self.node, frame.remaining());
        Ok((frame, Awaited { answer: receiver, api, begun }))
    }

    async fn answer(&self, awaited: Awaited) -> Result<Bytes, CallError> {
        let answer = awaited.answer.await.map_err(|_| {
            let line = self.line.lock();
            let ended = line.as_ref().err().cloned().unwrap_or_default();
            if ended.by_tls && self.versions.is_empty() {
                // Under TLS 1.3 a broker looks at the client's certificate after the client believes that all is well.
                return ConnectError::Handshake(ended.why).into();
            }
            CallError::Lost(ended.why)
        })?;
        let now = self.counter.now();
        let took = now.saturating_sub(awaited.begun);
        self.counter.figures.received(now, &self.node, answer.len() + LENGTH, awaited.api, took);
        Ok(answer)
    }
}

/// An answer that is to come.
#[derive(Debug)]
struct Awaited {
    answer: oneshot::Receiver<Bytes>,
    api: ApiKey,
    begun: Duration,
}

impl Drop for Connection {
    fn drop(&mut self) {
        end(&self.line, &self.counter, "nobody needs it".to_owned().into());
        self.reader.abort();
    }
}

/// Gives every answer to whom it belongs, until the connection ends.
async fn read(
    mut frames: FrameReader<stream::Reader>,
    line: Line,
    writer: Arc<tokio::sync::Mutex<Writer>>,
    counter: Arc<Counter>,
    max_idle: Option<Duration>,
) {
    let why = loop {
        // The time of an unanswered request is its caller's matter.
        let next = match max_idle {
            None => frames.next().await,
            Some(limit) => match tokio::time::timeout(limit, frames.next()).await {
                Ok(next) => next,
                Err(_) if is_idle(&line, limit) => break "nobody used it".to_owned().into(),
                Err(_) => continue,
            },
        };
        let frame = match next {
            Ok(Some(frame)) => frame,
            Ok(None) => break "the broker closed the connection".to_owned().into(),
            Err(FrameError::Io(error)) if let Some(why) = stream::tls_error(&error) => {
                break Ended { why, by_tls: true };
            }
            Err(error) => break error.to_string().into(),
        };
        let waiter = correlation_id(&frame).ok().and_then(|id| answered(&line, id));
        // Nobody waits any more after a time-out, which closes the connection; an unknown number is not worth more.
        let Some(waiter) = waiter else { break "an answer that nobody waits for".to_owned().into() };
        let _ = waiter.send(frame);
    };
    tracing::debug!(why = why.why, "a connection ended");
    end(&line, &counter, why);
    hang_up(&writer);
}

/// Gives the socket back, not only when somebody wants another one in its place. Whoever is writing does it by ending.
fn hang_up(writer: &tokio::sync::Mutex<Writer>) {
    if let Ok(mut writer) = writer.try_lock() {
        writer.half = None;
    }
}

/// Whether nothing was asked for so long and nothing is waited for. It is closed then, before the broker does it, or a firewall without a word.
fn is_idle(line: &Line, limit: Duration) -> bool {
    let line = line.lock();
    line.as_ref().is_ok_and(|waiting| waiting.answers.is_empty() && waiting.used.elapsed() >= limit)
}

/// Who waits for this answer.
fn answered(line: &Line, id: i32) -> Option<oneshot::Sender<Bytes>> {
    let mut line = line.lock();
    let waiting = line.as_mut().ok()?;
    waiting.used = Instant::now();
    waiting.answers.remove(&id)
}

/// Nobody waits any more. The first reason stays.
fn end(line: &Line, counter: &Counter, why: Ended) {
    let mut line = line.lock();
    if line.is_ok() {
        counter.figures.closed(counter.now());
        *line = Err(why);
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{ApiVersionsResponse, MetadataRequest, MetadataResponse, api_versions_response};
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::wire::{decode_request, encode_response};

    /// A server that does with each connection what it is told.
    async fn check_send<F: Future<Output = ()> + Send>(
        serve: impl Fn(TcpStream) -> F + Send + 'static,
        timeout: Duration,
    ) -> Result<ResponseKind, TransportError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream).await;
            }
        });
        let transport = TcpTransport::new(NetSettings::new(vec![("127.0.0.1".into(), port)]));
        let request = Box::new(RequestKind::Metadata(MetadataRequest::default()));
        let answer = transport.send(Target::Any, request, None, timeout).await;
        server.abort();
        answer
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    /// Answers ApiVersions with a range for Metadata, and Metadata with `node`; version 3 of ApiVersions is refused if `old`.
    async fn broker(stream: TcpStream, old: bool, metadata: (i16, i16)) {
        let (reader, mut writer) = stream.into_split();
        let mut frames = FrameReader::new(reader, 1 << 20);
        while let Ok(Some(frame)) = frames.next().await {
            let request = decode_request(frame).unwrap();
            let (id, version) = (request.header.correlation_id, request.header.request_api_version);
            let answer = match request.body {
                RequestKind::ApiVersions(_) if old && version > 0 => {
                    let refusal = ApiVersionsResponse::default().with_error_code(UNSUPPORTED_VERSION);
                    encode_response(id, 0, &ResponseKind::ApiVersions(refusal))
                }
                RequestKind::ApiVersions(_) => {
                    let range = api_versions_response::ApiVersion::default()
                        .with_api_key(ApiKey::Metadata as i16)
                        .with_min_version(metadata.0)
                        .with_max_version(metadata.1);
                    let answer = ApiVersionsResponse::default().with_api_keys(vec![range]);
                    encode_response(id, version, &ResponseKind::ApiVersions(answer))
                }
                _ => {
                    let answer = MetadataResponse::default().with_controller_id(i32::from(version).into());
                    encode_response(id, version, &ResponseKind::Metadata(answer))
                }
            };
            writer.write_all(&answer.unwrap()).await.unwrap();
        }
    }

    #[test]
    fn the_highest_common_version_is_spoken() {
        for (old, range, spoken) in [(false, (0, 9), 9), (true, (0, 9), 9), (false, (12, 99), 13)] {
            let answer = run(check_send(move |stream| broker(stream, old, range), Duration::from_secs(30))).unwrap();
            let ResponseKind::Metadata(answer) = answer else { panic!("another answer") };
            assert_eq!(answer.controller_id.0, spoken);
        }
        let refused = run(check_send(|stream| broker(stream, false, (98, 99)), Duration::from_secs(30))).unwrap_err();
        assert!(matches!(refused, TransportError::Refused(_)), "{refused}");
    }

    #[test]
    fn garbage_and_silence_are_no_answer() {
        let garbage = |mut stream: TcpStream| async move {
            // Not a frame that fits.
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let hangs_up = |stream: TcpStream| async move { drop(stream) };
        let nonsense = |mut stream: TcpStream| async move {
            stream.write_all(&[0, 0, 0, 6, 0, 0, 0, 0, 0, 77]).await.unwrap();
            let _ = stream.read(&mut [0; 1]).await;
        };
        let unanswered = |result| assert!(matches!(result, Err(TransportError::Unanswered)), "{result:?}");
        unanswered(run(check_send(garbage, Duration::from_secs(30))));
        unanswered(run(check_send(hangs_up, Duration::from_secs(30))));
        unanswered(run(check_send(nonsense, Duration::from_secs(30))));
        // Nobody answers: the caller's time ends the wait.
        let silent = |mut stream: TcpStream| async move {
            let mut sink = Vec::new();
            let _ = stream.read_to_end(&mut sink).await;
        };
        unanswered(run(check_send(silent, Duration::from_millis(50))));
    }

    #[test]
    fn another_broker_is_asked_after_one_that_hangs() {
        run(async {
            let (mut ports, mut servers) = (Vec::new(), Vec::new());
            for hangs in [true, false] {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                ports.push(("127.0.0.1".to_owned(), listener.local_addr().unwrap().port()));
                servers.push(tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        if hangs {
                            tokio::spawn(greets_only(stream));
                        } else {
                            tokio::spawn(broker(stream, false, (0, 9)));
                        }
                    }
                }));
            }
            let transport = TcpTransport::new(NetSettings::new(ports));
            let ask = |timeout| {
                transport.send(
                    Target::Any,
                    Box::new(RequestKind::Metadata(MetadataRequest::default())),
                    None,
                    Duration::from_millis(timeout),
                )
            };
            assert!(ask(100).await.is_err());
            assert!(ask(30_000).await.is_ok());
            servers.iter().for_each(tokio::task::JoinHandle::abort);
        });
    }

    /// Greets and then says nothing until the first request, which ends the connection.
    async fn greets_and_dies(stream: TcpStream) {
        greets(stream, true).await;
    }

    /// Greets and then says nothing.
    async fn greets_only(stream: TcpStream) {
        greets(stream, false).await;
    }

    async fn greets(stream: TcpStream, dies: bool) {
        let (reader, mut writer) = stream.into_split();
        let mut frames = FrameReader::new(reader, 1 << 20);
        while let Ok(Some(frame)) = frames.next().await {
            let request = decode_request(frame).unwrap();
            if let RequestKind::ApiVersions(_) = request.body {
                let range = api_versions_response::ApiVersion::default()
                    .with_api_key(ApiKey::Metadata as i16)
                    .with_max_version(9);
                let answer = ApiVersionsResponse::default().with_api_keys(vec![range]);
                let answer = ResponseKind::ApiVersions(answer);
                let header = &request.header;
                let frame = encode_response(header.correlation_id, header.request_api_version, &answer).unwrap();
                writer.write_all(&frame).await.unwrap();
            } else if dies {
                return;
            }
        }
    }

    #[test]
    fn back_off_is_spread() {
        let waits: std::collections::BTreeSet<_> = (0..50).map(|_| spread(Duration::from_secs(1))).collect();
        assert!(waits.len() > 10);
        assert!(waits.iter().all(|wait| (800..1_200).contains(&wait.as_millis())), "{waits:?}");
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_log_says_once_that_a_broker_is_away_and_once_that_it_is_back() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).without_time().finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        let port = run(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            // It dies at the first request, is away for four tries and comes back.
            let server = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                greets_and_dies(stream).await;
                for _ in 0..4 {
                    drop(listener.accept().await.unwrap());
                }
                let (stream, _) = listener.accept().await.unwrap();
                broker(stream, false, (0, 9)).await;
            });
            let transport = TcpTransport::new(NetSettings::new(vec![("127.0.0.1".into(), port)]));
            for is_well in [false, false, false, false, false, true] {
                let request = Box::new(RequestKind::Metadata(MetadataRequest::default()));
                let answer = transport.send(Target::Any, request, None, Duration::from_secs(30)).await;
                assert_eq!(answer.is_ok(), is_well);
            }
            server.abort();
            port
        });
        let log = String::from_utf8(log.0.lock().clone()).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        let lost = format!(
            "lost the connection to a broker; trying again broker=127.0.0.1:{port} error=the broker closed the connection"
        );
        assert!(lines[0].contains(" WARN ") && lines[0].ends_with(&lost), "{log}");
        // How long it took depends on the machine.
        let (before, after) = lines[1].split_once("again connected to a broker after ").unwrap();
        let seconds = after.strip_suffix(&format!(" s broker=127.0.0.1:{port}")).unwrap();
        assert!(before.contains(" INFO ") && seconds.parse::<u64>().is_ok(), "{log}");
    }
}
