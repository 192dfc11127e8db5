//! The broker as a TCP server: the rim around [`Broker::step`].
//!
//! One thread owns the broker and its files; connections are tasks of the caller's tokio runtime that decode requests, hand them to that
//! thread and write the answers. What is read is bounded: connections, bytes of a request, bytes of all requests together, requests of one
//! connection that are not yet answered. Bytes that are no request close their own connection and nothing else. No decision about
//! Kafka is made here. Read on in `connection` (one client) and `worker` (the thread).

#![expect(
    clippy::disallowed_methods,
    reason = "driver: sockets, the clock, randomness and the broker's thread live here"
)]

mod connection;
mod listener;
mod worker;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kurier_kafka::security::tls::ServerTls;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::SignalKind;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::broker::{Broker, ConnectionId, OpenError};
use crate::config::BrokerConfig;
use crate::store::DiskError;
use connection::{Entrance, Limits};
pub use listener::Listener;
use worker::{Command, Worker};

/// How long the server waits after the system refused to accept a connection (no descriptors left, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a stopping server waits for its connections to end; only a runtime that is itself stuck takes so long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, not allowed, or not one of this machine.
    #[error("cannot listen on {address}: {source}; choose another port, or stop what uses this one")]
    Listen {
        /// Host and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] DiskError),
    /// The data cannot be opened, or a setting is wrong.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system gives no thread to the broker.
    #[error("cannot start the broker's thread: {0}")]
    Thread(io::Error),
}

/// A broker that serves clients until it is stopped or dropped.
///
/// Dropping it stops it as well, but does not wait for its files to be closed; [`RunningBroker::stop`] does.
#[derive(Debug)]
pub struct RunningBroker {
    places: Vec<Place>,
    cluster_id: String,
    shutdown: watch::Sender<bool>,
    finished: oneshot::Receiver<io::Result<()>>,
    connections: Arc<Semaphore>,
    max_connections: usize,
}

/// A listener that is open.
#[derive(Debug)]
struct Place {
    name: String,
    local: SocketAddr,
    address: String,
}

impl Broker {
    /// Starts a broker that listens for clients. The current tokio runtime serves its connections, a thread of its own does the rest.
    pub async fn start(config: BrokerConfig) -> Result<RunningBroker, StartError> {
        survive_file_size_limit();
        let mut listeners = config.listeners.clone();
        if listeners.is_empty() {
            let mut only = Listener::plain("PLAINTEXT", config.host.clone(), config.port);
            only.advertised = config.advertised_host.clone().map(|host| (host, 0));
            listeners.push(only);
        }
        let (mut places, mut entrances) = (Vec::new(), Vec::new());
        for listener in listeners {
            let socket = listen(&listener).await?;
            let failed = |source| StartError::Listen { address: listener.host.clone(), source };
            let local = socket.local_addr().map_err(failed)?;
            let (host, port) = listener.advertised.unwrap_or_else(|| (reachable(&listener.host, local.ip()), 0));
            let port = if port == 0 { local.port() } else { port };
            let address = SocketText { host: &host, port }.to_string();
            places.push(Place { name: listener.name, local, address });
            let tls = listener.tls.as_ref().map(ServerTls::config);
            entrances.push((socket, Entrance { advertised: Arc::new((host, port)), tls, sasl: listener.sasl }));
        }
        let first = entrances[0].1.advertised.clone();
        let limits = Limits {
            max_request_bytes: config.max_request_bytes,
            max_idle: config.max_idle,
            pending_bytes: Arc::new(Semaphore::new(pending_permits(config.max_pending_bytes))),
            max_pending: pending_permits(config.max_pending_bytes),
        };
        let max_connections = config.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        let connections = Arc::new(Semaphore::new(max_connections));
        let worker = Worker::start(config, first).await?;
        let (shutdown, stopping) = watch::channel(false);
        let running = RunningBroker {
            places,
            cluster_id: worker.cluster_id,
            shutdown,
            finished: worker.finished,
            connections: connections.clone(),
            max_connections,
        };
        for place in &running.places {
            tracing::info!(address = place.address, listener = place.name, "the broker is ready");
        }
        for (listener, entrance) in entrances {
            let (limits, connections) = (limits.clone(), connections.clone());
            let (commands, stopping) = (worker.commands.clone(), stopping.clone());
            tokio::spawn(Acceptor { listener, entrance, limits, connections, commands, stopping }.run());
        }
        Ok(running)
    }
}

impl RunningBroker {
    /// Host and port that clients are told, as they go into `bootstrap.servers`; those of the first listener.
    pub fn address(&self) -> &str {
        &self.places[0].address
    }

    /// Names of the listeners, and the host and port that their clients are told.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places.iter().map(|place| (place.name.as_str(), place.address.as_str()))
    }

    /// The address that the first listener listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.places[0].local
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Stops: connections are closed, requests that were read are finished, files are made durable and closed.
    ///
    /// Clients see their connections end and ask again elsewhere, or here after the next start; an idempotent producer repeats nothing by that.
    pub async fn stop(mut self) -> io::Result<()> {
        self.shutdown.send_replace(true);
        // Every connection gives back its permit when it has ended.
        let all = u32::try_from(self.max_connections).unwrap_or(u32::MAX);
        if tokio::time::timeout(DRAIN_TIMEOUT, self.connections.acquire_many(all)).await.is_err() {
            tracing::warn!("connections did not end in time; the broker stops all the same");
        }
        match (&mut self.finished).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::other("the broker's thread has panicked; its last message is in the log")),
        }
    }
}

impl Drop for RunningBroker {
    fn drop(&mut self) {
        self.shutdown.send_replace(true);
    }
}

/// A file that would exceed the process's limit (`ulimit -f`) is to be an error of the write, as a full disk is, and not the end of the process.
fn survive_file_size_limit() {
    let signal = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    // That somebody listens is what matters; the signal itself says nothing that the write does not say.
    if let Err(error) = tokio::signal::unix::signal(signal) {
        tracing::debug!("cannot listen for SIGXFSZ: {error}");
    }
}

async fn listen(listener: &Listener) -> Result<TcpListener, StartError> {
    let failed = |source| StartError::Listen {
        address: SocketText { host: &listener.host, port: listener.port }.to_string(),
        source,
    };
    TcpListener::bind((listener.host.as_str(), listener.port)).await.map_err(failed)
}

/// A semaphore counts in kilobytes, for its permits are 32 bits wide where they are taken.
fn pending_permits(bytes: usize) -> usize {
    bytes.div_ceil(connection::PERMIT_BYTES).clamp(1, u32::MAX as usize)
}

/// What to tell clients when every interface is listened on: one that surely reaches this machine.
fn reachable(host: &str, local: IpAddr) -> String {
    match local {
        IpAddr::V4(address) if address.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(address) if address.is_unspecified() => "::1".to_owned(),
        _ => host.to_owned(),
    }
}

/// Host and port, with the brackets that an IPv6 address needs.
struct SocketText<'a> {
    host: &'a str,
    port: u16,
}

impl std::fmt::Display for SocketText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Takes connections in until the broker stops.
struct Acceptor {
    listener: TcpListener,
    entrance: Entrance,
    limits: Limits,
    connections: Arc<Semaphore>,
    commands: worker::CommandSender,
    stopping: watch::Receiver<bool>,
}

impl Acceptor {
    async fn run(mut self) {
        static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(0);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = self.stopping.wait_for(|stopping| *stopping) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let id = ConnectionId(NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed));
                    self.serve(id, stream, peer);
                }
                Err(error) => {
                    // Mostly too many open files: whoever is connected goes on, new ones wait.
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        // Connections see the same signal; the thread ends when the last of them has let go of its sender, and this is ours.
        self.commands.send(Command::Stop);
    }

    fn serve(&self, id: ConnectionId, stream: TcpStream, peer: SocketAddr) {
        let Ok(permit) = self.connections.clone().try_acquire_owned() else {
            tracing::warn!(%peer, "connection refused: as many are open as `max.connections` allows");
            return;
        };
        let serving = connection::serve(
            id,
            stream,
            peer,
            self.entrance.clone(),
            self.limits.clone(),
            self.commands.clone(),
            self.stopping.clone(),
        );
        tokio::spawn(async move {
            serving.await;
            drop(permit);
        });
    }
}
