//! One socket to a broker: its greeting, requests and answers by their numbers, and its end.
//!
//! A connection carries many requests at a time; it begins with ApiVersions and what [`Security`](crate::security::Security) asks for, and every request
//! goes out in the highest version that both sides and the core know. Whatever goes wrong ends it and all its requests. Which connection a request takes,
//! and when another is opened, is `tcp`'s matter.
#![expect(clippy::disallowed_methods, reason = "driver: uses sockets, starts tasks, waits")]

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ProduceResponse, RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::TransportError;
use super::figures::Figures;
use super::outage::Address;
use super::sasl::{Session, Step};
use super::settings::NetSettings;
use super::stream::{self, ConnectError};
use super::throttle::throttle_time;
use super::versions::{api_key, is_answered, versions};
use crate::error::KafkaError;
use crate::error::code::UNSUPPORTED_VERSION;
use crate::metrics::MetricsSettings;
use crate::security::sasl::ClientExchange;
use crate::security::tls::tls_error;
use crate::wire::{
    FrameError, FrameReader, OutFrame, WireError, correlation_id, decode_response_kind, encode_request_frame,
};

/// Longest answer that is taken. Memory is used as bytes arrive, not as they are announced.
const MAX_RESPONSE: usize = 512 << 20;
/// What this client calls itself.
pub(crate) const SOFTWARE: &str = "kurier";
/// ApiVersions is asked in this version; brokers that do not know it answer in version 0.
const API_VERSIONS: i16 = 3;
/// What an answer's length takes in front of it.
const LENGTH: usize = 4;

/// The figures with their clock.
#[derive(Debug)]
pub(super) struct Counter {
    origin: Instant,
    pub(super) figures: Figures,
}

impl Counter {
    pub(super) fn new(metrics: MetricsSettings) -> Self {
        Self { origin: Instant::now(), figures: Figures::new(metrics) }
    }

    pub(super) fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
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
    /// Why an exchange could not begin.
    pub(super) fn from_login(error: KafkaError) -> Self {
        if error.retriable { Self::Io(io::Error::other(error)) } else { Self::Refused(error) }
    }

    /// What whoever wanted a connection is told.
    pub(super) fn as_no_connection(&self) -> TransportError {
        match self {
            Self::Refused(error) => TransportError::Refused(error.clone()),
            Self::Unsupported(_) | Self::Unwritable(_) => {
                TransportError::Refused(KafkaError::unsupported(self.to_string()))
            }
            Self::WasClosed => TransportError::NotSent,
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
pub(super) struct Connection {
    pub(super) address: (String, u16),
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
    pub(super) async fn open(
        address: Address,
        at: SocketAddr,
        node: String,
        settings: &NetSettings,
        counter: &Arc<Counter>,
        exchange: Option<ClientExchange>,
    ) -> Result<Arc<Self>, CallError> {
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

    pub(super) fn is_open(&self) -> bool {
        self.line.lock().is_ok()
    }

    pub(super) fn close(&self, why: &str) {
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
            let exchange = session.sasl.begin(&connection.address.0).await.map_err(CallError::from_login)?;
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

    pub(super) async fn call(
        self: &Arc<Self>,
        client_id: &str,
        request: &RequestKind,
        highest: Option<i16>,
    ) -> Result<ResponseKind, CallError> {
        self.renew(client_id).await?;
        let (api, version) = self.version(request, highest)?;
        if !is_answered(request) {
            let frame = self.frame(client_id, api, version, request, None)?;
            self.writer.lock().await.write(frame).await?;
            return Ok(ResponseKind::Produce(ProduceResponse::default()));
        }
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
    pub(super) fn muted_until(&self) -> Option<Instant> {
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
        let written = self.writer.lock().await.write(frame).await;
        match (written, self.answer(waiting)) {
            (Ok(()), answer) => answer.await,
            // A broker that refuses this client may be gone before anything is written; what it said last is still to be read, and says why.
            (Err(error), verdict) if self.versions.is_empty() => match verdict.await {
                Err(refused @ CallError::Refused(_)) => Err(refused),
                _ => Err(error),
            },
            (Err(error), _) => Err(error),
        }
    }

    /// A request as bytes, and where its answer will come.
    fn prepare(
        &self,
        client_id: &str,
        api: ApiKey,
        version: i16,
        request: &RequestKind,
    ) -> Result<(OutFrame, Awaited), CallError> {
        let (sender, receiver) = oneshot::channel();
        let frame = self.frame(client_id, api, version, request, Some(sender))?;
        let begun = self.counter.now();
        Ok((frame, Awaited { answer: receiver, api, begun }))
    }

    /// A request as bytes that are about to be written.
    fn frame(
        &self,
        client_id: &str,
        api: ApiKey,
        version: i16,
        request: &RequestKind,
        waiter: Option<oneshot::Sender<Bytes>>,
    ) -> Result<OutFrame, CallError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let client_id = StrBytes::from_string(client_id.to_owned());
        let frame = encode_request_frame(Some(&client_id), id, api, version, request).map_err(CallError::Unwritable)?;
        {
            let mut line = self.line.lock();
            let waiting = line.as_mut().map_err(|ended| self.refusal(ended).unwrap_or(CallError::WasClosed))?;
            if let Some(waiter) = waiter {
                waiting.answers.insert(id, waiter);
            }
            waiting.used = Instant::now();
        }
        self.counter.figures.sent(self.counter.now(), &self.node, frame.remaining());
        Ok(frame)
    }

    /// What a connection's end says that TLS brought about before the broker said anything: under TLS 1.3 it looks at the client's certificate after the
    /// client believes that all is well.
    fn refusal(&self, ended: &Ended) -> Option<CallError> {
        let refused = ended.by_tls && self.versions.is_empty();
        refused.then(|| ConnectError::Handshake(ended.why.clone()).into())
    }

    async fn answer(&self, awaited: Awaited) -> Result<Bytes, CallError> {
        let answer = awaited.answer.await.map_err(|_| {
            let line = self.line.lock();
            let ended = line.as_ref().err().cloned().unwrap_or_default();
            if let Some(refusal) = self.refusal(&ended) {
                return refusal;
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
            Err(FrameError::Io(error)) if let Some(why) = tls_error(&error) => {
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
