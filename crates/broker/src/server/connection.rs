//! One client: frames in, requests to the broker's thread, answers out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, RequestKind};
use kurier_kafka::wire::{OutFrame, RequestError, decode_request, encode_response_frame};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;

use super::worker::{Advertised, Command, CommandSender, Outgoing};
use crate::broker::{ConnectionId, Request};
use crate::sasl::SaslConfig;

/// Bytes that one permit of [`Limits::pending_bytes`] stands for.
pub(super) const PERMIT_BYTES: usize = 1024;
/// Largest request of a client that has not yet proven who it is: Java's `sasl.server.max.receive.size`.
const MAX_STRANGER: usize = 512 * 1024;
/// Requests of one connection that may be read before the first of them is answered and its answer written.
const MAX_UNANSWERED: usize = 8;
/// Memory that is reserved before it is known how large the next frame is.
const RESERVE: usize = 64 * 1024;
/// Memory reserved for a frame before its bytes have arrived; beyond it, only as much again as has arrived. A producer's batch comes in one
/// piece then, and memory that nothing was written to costs none.
const RESERVE_FRAME: usize = 2 * 1024 * 1024;
/// How long a client may take nothing of an answer that is being written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of an answer a client must take within [`WRITE_TIMEOUT`].
const WRITE_CHUNK: usize = 1024 * 1024;

/// How long a client may take to agree on TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client that is not let in may take to go, and how much it may still say.
const PARTING_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_PARTING: usize = 64 * 1024;

/// What a listener has for its connections.
#[derive(Clone)]
pub(super) struct Entrance {
    pub(super) advertised: Advertised,
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// What clients have to prove before they are served.
    pub(super) sasl: Option<Arc<SaslConfig>>,
}

/// Bounds on what clients may take up.
#[derive(Clone)]
pub(super) struct Limits {
    pub(super) max_request_bytes: usize,
    pub(super) max_idle: Duration,
    /// Room for requests of all connections together.
    pub(super) pending_bytes: Arc<Semaphore>,
    pub(super) max_pending: usize,
}

/// Why a connection ends that its client did not end.
enum Ended {
    /// The client is gone, or the broker stops: nothing to say.
    Quietly,
    /// Worth a line in the log.
    Because(String),
}

/// Serves a client until it goes, or must go.
pub(super) async fn serve(
    id: ConnectionId,
    stream: TcpStream,
    peer: SocketAddr,
    entrance: Entrance,
    limits: Limits,
    commands: CommandSender,
    mut stopping: watch::Receiver<bool>,
) {
    // Answers are written whole: waiting for more to send would only add delay.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, "cannot turn off Nagle's algorithm: {error}");
    }
    let Entrance { advertised, tls, sasl } = entrance;
    let client = Client { id, peer, advertised, sasl, limits, commands, stopping: stopping.clone() };
    let Some(tls) = tls else {
        let (read, write) = stream.into_split();
        return client.serve(read, write).await;
    };
    let accept = TlsAcceptor::from(tls).accept(stream).into_fallible();
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, accept);
    let handshake = tokio::select! {
        handshake = handshake => handshake,
        _ = stopping.wait_for(|stopping| *stopping) => return,
    };
    match handshake {
        Ok(Ok(stream)) => {
            let (read, write) = tokio::io::split(stream);
            client.serve(read, write).await;
        }
        Ok(Err((error, stream))) => {
            match handshake_problem(&error) {
                Some(reason) => tracing::warn!(%peer, "SSL handshake failed: {reason}"),
                None => tracing::debug!(%peer, "a client went during the SSL handshake: {error}"),
            }
            part(stream).await;
        }
        Err(_) => tracing::warn!(%peer, "SSL handshake failed: the client did not end it in time"),
    }
}

/// Ends a connection so that the client hears the alert: what it has sent meanwhile is read, because a socket that is closed with bytes unread resets the
/// connection, which may take away from the client what it has not read yet.
async fn part(mut stream: TcpStream) {
    let parting = async {
        stream.shutdown().await?;
        let (mut bytes, mut left) = ([0; 1024], MAX_PARTING);
        while left > 0 {
            match stream.read(&mut bytes).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        io::Result::Ok(())
    };
    // A client that has gone, or says too much or nothing, has had its chance.
    let _ = tokio::time::timeout(PARTING_TIMEOUT, parting).await;
}

/// What TLS has against a client; nothing if the client just went.
fn handshake_problem(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidMessage(_) => {
            format!("it does not speak TLS ({error}); its `security.protocol` must be SSL or SASL_SSL here")
        }
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(why)) => why.to_string(),
        error => error.to_string(),
    })
}

/// A client that is to be served.
struct Client {
    id: ConnectionId,
    peer: SocketAddr,
    advertised: Advertised,
    sasl: Option<Arc<SaslConfig>>,
    limits: Limits,
    commands: CommandSender,
    stopping: watch::Receiver<bool>,
}

impl Client {
    async fn serve(self, read: impl AsyncRead + Unpin, write: impl AsyncWrite + Unpin) {
        let Self { id, peer, advertised, sasl, limits, commands, mut stopping } = self;
        let admitted = Arc::new(AtomicBool::new(sasl.is_none()));
        let (outgoing, answers) = mpsc::unbounded_channel();
        if !commands.send(Command::Opened { id, advertised, sasl, outgoing }) {
            return;
        }
        let slots = Arc::new(Semaphore::new(MAX_UNANSWERED));
        let mut reader = Reader {
            id,
            host: format!("/{}", peer.ip()),
            stream: read,
            buffer: BytesMut::new(),
            limits,
            commands: commands.clone(),
            slots: slots.clone(),
            admitted: admitted.clone(),
        };
        let mut writer = Writer { stream: write, answers, slots, admitted };
        let ended = {
            let writing = writer.run();
            tokio::pin!(writing);
            let reading = async {
                tokio::select! {
                    ended = reader.run() => ended,
                    _ = stopping.wait_for(|stopping| *stopping) => Ended::Quietly,
                }
            };
            tokio::select! {
                // What was answered before the client stopped sending is not written any more: it is gone, or it broke the protocol.
                ended = reading => ended,
                ended = &mut writing => ended,
            }
        };
        if let Ended::Because(reason) = ended {
            tracing::warn!(%peer, "connection closed: {reason}");
        }
        commands.send(Command::Closed(id));
    }
}

struct Reader<R> {
    id: ConnectionId,
    host: String,
    stream: R,
    buffer: BytesMut,
    limits: Limits,
    commands: CommandSender,
    slots: Arc<Semaphore>,
    /// The client has proven who it is, or does not have to.
    admitted: Arc<AtomicBool>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    async fn run(&mut self) -> Ended {
        loop {
            // One slot for each request, given back when its answer is written.
            match self.slots.acquire().await {
                Ok(slot) => slot.forget(),
                Err(_) => return Ended::Quietly,
            }
            let (frame, room) = match self.frame().await {
                Ok(Some(read)) => read,
                Ok(None) => return Ended::Quietly,
                Err(ended) => return ended,
            };
            let request = match self.decode(frame) {
                Ok(request) => request,
                Err(error) => return Ended::Because(error),
            };
            if !self.commands.send(Command::Request(self.id, Box::new(request), room)) {
                return Ended::Quietly;
            }
        }
    }

    /// Waits for a whole frame and for room to hold it; `None` when the client has gone between two frames.
    async fn frame(&mut self) -> Result<Option<(Bytes, OwnedSemaphorePermit)>, Ended> {
        while self.buffer.len() < 4 {
            if !self.fill(4).await? {
                return Ok(None);
            }
        }
        let announced = self.buffer.get_i32();
        let most = if self.admitted.load(Ordering::Relaxed) { usize::MAX } else { MAX_STRANGER };
        let limit = self.limits.max_request_bytes.min(most);
        let Some(len) = usize::try_from(announced).ok().filter(|len| *len <= limit) else {
            return Err(Ended::Because(format!(
                "it announced a request of {announced} bytes, the limit is {limit}; is it a Kafka client without TLS?"
            )));
        };
        let permits = len.div_ceil(PERMIT_BYTES).clamp(1, self.limits.max_pending);
        let permits = u32::try_from(permits).expect("the number of permits is kept within 32 bits");
        let Ok(room) = self.limits.pending_bytes.clone().acquire_many_owned(permits).await else {
            return Err(Ended::Quietly);
        };
        while self.buffer.len() < len {
            if !self.fill(len).await? {
                return Err(Ended::Because("it ended within a request".to_owned()));
            }
        }
        Ok(Some((self.buffer.split_to(len).freeze(), room)))
    }

    /// Reads some bytes; false at the end of the stream.
    async fn fill(&mut self, wanted: usize) -> Result<bool, Ended> {
        let missing = wanted - self.buffer.len();
        self.buffer.reserve(missing.min(self.buffer.len().max(RESERVE_FRAME)).max(RESERVE));
        match tokio::time::timeout(self.limits.max_idle, self.stream.read_buf(&mut self.buffer)).await {
            Ok(Ok(count)) => Ok(count > 0),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Err(Ended::Quietly),
            // A client that goes without taking leave of TLS has gone all the same; nothing of a request is missing unseen, for its length is known.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Ok(Err(error)) => Err(Ended::Because(error.to_string())),
            Err(_) => {
                tracing::debug!("an idle connection is closed");
                Err(Ended::Quietly)
            }
        }
    }

    fn decode(&self, frame: Bytes) -> Result<Request, String> {
        let decoded = match decode_request(frame) {
            Ok(decoded) => decoded,
            // A client of the future asks for versions in a version of the future, and the broker tells it so.
            Err(RequestError { header: Some(header), .. }) if header.request_api_key == ApiKey::ApiVersions as i16 => {
                return Ok(self.request(header, RequestKind::ApiVersions(Default::default())));
            }
            Err(error) => return Err(format!("it sent what is no request: {error}")),
        };
        Ok(self.request(decoded.header, decoded.body))
    }

    fn request(&self, header: RequestHeader, body: RequestKind) -> Request {
        Request {
            correlation_id: header.correlation_id,
            api_version: header.request_api_version,
            client_id: header.client_id.map(|id| id.to_string()).unwrap_or_default(),
            client_host: self.host.clone(),
            body,
        }
    }
}

struct Writer<W> {
    stream: W,
    answers: mpsc::UnboundedReceiver<Outgoing>,
    slots: Arc<Semaphore>,
    admitted: Arc<AtomicBool>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    async fn run(&mut self) -> Ended {
        while let Some(outgoing) = self.answers.recv().await {
            match outgoing {
                Outgoing::Answer { correlation_id, api_version, response, room } => {
                    let frame = match encode_response_frame(correlation_id, api_version, &response) {
                        Ok(frame) => frame,
                        Err(error) => return Ended::Because(format!("its answer cannot be encoded: {error}")),
                    };
                    drop(response);
                    if let Err(error) = self.write(frame).await {
                        return error;
                    }
                    drop(room);
                }
                Outgoing::Silence { room } => drop(room),
                Outgoing::Admitted => {
                    self.admitted.store(true, Ordering::Relaxed);
                    continue;
                }
                Outgoing::Close { reason } => return Ended::Because(reason),
            }
            self.slots.add_permits(1);
        }
        Ended::Quietly
    }

    async fn write(&mut self, mut frame: OutFrame) -> Result<(), Ended> {
        while frame.has_remaining() {
            let mut chunk = (&mut frame).take(WRITE_CHUNK);
            let writing = async {
                self.stream.write_all_buf(&mut chunk).await?;
                self.stream.flush().await
            };
            match tokio::time::timeout(WRITE_TIMEOUT, writing).await {
                Ok(Ok(())) => {}
                Ok(Err(error))
                    if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
                {
                    return Err(Ended::Quietly);
                }
                Ok(Err(error)) => return Err(Ended::Because(error.to_string())),
                Err(_) => return Err(Ended::Because("it does not take its answers".to_owned())),
            }
        }
        Ok(())
    }
}
