//! One client: frames in, requests to the broker's thread, answers out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, RequestKind};
use kurier_kafka::wire::{OutFrame, RequestError, decode_request, encode_response_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::worker::{Command, CommandSender, Outgoing};
use crate::broker::{ConnectionId, Request};

/// Bytes that one permit of [`Limits::pending_bytes`] stands for.
pub(super) const PERMIT_BYTES: usize = 1024;
/// Requests of one connection that may be read before the first of them is answered and its answer written.
const MAX_UNANSWERED: usize = 8;
/// Memory reserved before a frame's bytes have arrived; beyond it, only as much again as has arrived.
const RESERVE: usize = 64 * 1024;
/// How long a client may take nothing of an answer that is being written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of an answer a client must take within [`WRITE_TIMEOUT`].
const WRITE_CHUNK: usize = 1024 * 1024;

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
    limits: Limits,
    commands: CommandSender,
    mut stopping: watch::Receiver<bool>,
) {
    // Answers are written whole: waiting for more to send would only add delay.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, "cannot turn off Nagle's algorithm: {error}");
    }
    let (outgoing, answers) = mpsc::unbounded_channel();
    if !commands.send(Command::Opened(id, outgoing)) {
        return;
    }
    let (read, write) = stream.into_split();
    let slots = Arc::new(Semaphore::new(MAX_UNANSWERED));
    let mut reader = Reader {
        id,
        host: format!("/{}", peer.ip()),
        stream: read,
        buffer: BytesMut::new(),
        limits,
        commands: commands.clone(),
        slots: slots.clone(),
    };
    let mut writer = Writer { stream: write, answers, slots };
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

struct Reader {
    id: ConnectionId,
    host: String,
    stream: OwnedReadHalf,
    buffer: BytesMut,
    limits: Limits,
    commands: CommandSender,
    slots: Arc<Semaphore>,
}

impl Reader {
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
        let limit = self.limits.max_request_bytes;
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
        self.buffer.reserve(missing.min(self.buffer.len()).max(RESERVE));
        match tokio::time::timeout(self.limits.max_idle, self.stream.read_buf(&mut self.buffer)).await {
            Ok(Ok(count)) => Ok(count > 0),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Err(Ended::Quietly),
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

struct Writer {
    stream: OwnedWriteHalf,
    answers: mpsc::UnboundedReceiver<Outgoing>,
    slots: Arc<Semaphore>,
}

impl Writer {
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
                Outgoing::Close { reason } => return Ended::Because(reason),
            }
            self.slots.add_permits(1);
        }
        Ended::Quietly
    }

    async fn write(&mut self, mut frame: OutFrame) -> Result<(), Ended> {
        while frame.has_remaining() {
            let mut chunk = (&mut frame).take(WRITE_CHUNK);
            match tokio::time::timeout(WRITE_TIMEOUT, self.stream.write_all_buf(&mut chunk)).await {
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
