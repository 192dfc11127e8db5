//! The thread that owns the broker: requests come in by a channel, answers go out to the connections.
//!
//! The broker reads and writes files while it decides, so it has a thread of its own and blocks none of the caller's.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::ResponseKind;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::StartError;
use crate::broker::{Broker, ConnectionId, Now, Reply, Request};
use crate::config::{BrokerConfig, Data};
use crate::sasl::SaslConfig;
use crate::store::{DiskStore, MemoryStore, Store};

/// The host and port that clients of a listener are told.
pub(super) type Advertised = Arc<(String, u16)>;

/// What connections tell the thread.
pub(super) enum Command {
    /// A client is there; it is told this address, and answers go to this channel.
    ///
    /// It needs no bound of its own: a connection has a bounded number of requests under way.
    Opened {
        id: ConnectionId,
        advertised: Advertised,
        sasl: Option<Arc<SaslConfig>>,
        outgoing: UnboundedSender<Outgoing>,
    },
    /// A request, with the room that it takes up until it is answered.
    Request(ConnectionId, Box<Request>, OwnedSemaphorePermit),
    /// A client is gone.
    Closed(ConnectionId),
    /// No more connections will come; end when the last one is closed.
    Stop,
}

/// What the thread tells a connection.
pub(super) enum Outgoing {
    /// Write this answer.
    Answer { correlation_id: i32, api_version: i16, response: Box<ResponseKind>, room: Option<OwnedSemaphorePermit> },
    /// A request is done and has no answer.
    Silence { room: Option<OwnedSemaphorePermit> },
    /// The client has proven who it is.
    Admitted,
    /// Close the connection.
    Close { reason: String },
}

/// Sends commands to the thread. When the thread is gone there is nobody to tell, and connections end by their closed channels.
#[derive(Clone)]
pub(super) struct CommandSender(mpsc::Sender<Command>);

impl CommandSender {
    /// False when the thread is gone.
    pub(super) fn send(&self, command: Command) -> bool {
        self.0.send(command).is_ok()
    }
}

/// A thread that runs.
pub(super) struct Worker {
    pub(super) commands: CommandSender,
    pub(super) cluster_id: String,
    pub(super) finished: oneshot::Receiver<io::Result<()>>,
}

impl Worker {
    /// Opens the broker in its thread and returns when it is ready.
    pub(super) async fn start(config: BrokerConfig, address: Advertised) -> Result<Self, StartError> {
        let (commands, inbox) = mpsc::channel();
        let (ready, is_ready) = oneshot::channel();
        let (finish, finished) = oneshot::channel();
        let body = move || match open(config, &address) {
            Ok((broker, clock)) => {
                // If nobody waits any more, nobody will send a command either: the loop ends at once.
                let _ = ready.send(Ok(broker.cluster_id().to_owned()));
                let clients = HashMap::new();
                let result = Loop { broker, clock, clients, advertised: address, stopping: false }.run(&inbox);
                if let Err(error) = &result {
                    tracing::error!(
                        "the broker's files could not be closed as they should: {error}; the next start checks them"
                    );
                }
                let _ = finish.send(result);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        };
        thread::Builder::new().name("kurier-broker".to_owned()).spawn(body).map_err(StartError::Thread)?;
        let opened =
            is_ready.await.map_err(|_| StartError::Thread(io::Error::other("it panicked while opening the data")))?;
        Ok(Self { commands: CommandSender(commands), cluster_id: opened?, finished })
    }
}

fn open(config: BrokerConfig, (host, port): &(String, u16)) -> Result<(Broker, Clock), StartError> {
    let store: Box<dyn Store> = match &config.data {
        Data::Memory => Box::new(MemoryStore::new()),
        Data::Dir(folder) => Box::new(DiskStore::open(folder)?),
    };
    #[cfg(feature = "planted-ack-before-write")]
    let store: Box<dyn Store> = {
        tracing::warn!("this build makes a mistake on purpose: it acknowledges records before it writes them");
        Box::new(crate::store::PlantedStore(store))
    };
    let clock = Clock { start: Instant::now() };
    let ids = Box::new(|| uuid::Uuid::new_v4().as_u128());
    let mut broker = Broker::open(config, store, ids, clock.now())?;
    broker.advertise(host, *port);
    Ok((broker, clock))
}

struct Clock {
    start: Instant,
}

impl Clock {
    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { elapsed: self.start.elapsed(), unix_ms: i64::try_from(unix.as_millis()).unwrap_or(i64::MAX) }
    }
}

struct Client {
    advertised: Advertised,
    outgoing: UnboundedSender<Outgoing>,
    /// Room taken by requests that are not yet answered, in their order.
    rooms: VecDeque<OwnedSemaphorePermit>,
}

struct Loop {
    broker: Broker,
    clock: Clock,
    clients: HashMap<ConnectionId, Client>,
    /// What the broker says now of where it is.
    advertised: Advertised,
    stopping: bool,
}

impl Loop {
    fn run(mut self, inbox: &mpsc::Receiver<Command>) -> io::Result<()> {
        let mut replies = Vec::new();
        while !(self.stopping && self.clients.is_empty()) {
            let wait = self.broker.next_deadline().saturating_sub(self.clock.now().elapsed);
            let command = if wait.is_zero() { Err(RecvTimeoutError::Timeout) } else { inbox.recv_timeout(wait) };
            match command {
                Ok(command) => self.take(command, &mut replies),
                Err(RecvTimeoutError::Timeout) => self.broker.tick(self.clock.now(), &mut replies),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            for reply in replies.drain(..) {
                self.deliver(reply);
            }
        }
        self.broker.close()
    }

    fn take(&mut self, command: Command, replies: &mut Vec<Reply>) {
        match command {
            Command::Opened { id, advertised, sasl, outgoing } => {
                if let Some(sasl) = sasl {
                    self.broker.guard(id, sasl);
                }
                self.clients.insert(id, Client { advertised, outgoing, rooms: VecDeque::new() });
            }
            Command::Request(id, request, room) => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.rooms.push_back(room);
                    // Requests that ask where the broker is are answered at once, so one address at a time is enough for it.
                    if !Arc::ptr_eq(&self.advertised, &client.advertised) {
                        self.advertised = Arc::clone(&client.advertised);
                        self.broker.advertise(&self.advertised.0, self.advertised.1);
                    }
                    self.broker.step(self.clock.now(), id, *request, replies);
                }
            }
            Command::Closed(id) => {
                self.clients.remove(&id);
                self.broker.closed(self.clock.now(), id, replies);
            }
            Command::Stop => self.stopping = true,
        }
    }

    fn deliver(&mut self, reply: Reply) {
        let (connection, outgoing) = match reply {
            Reply::Answer { connection, correlation_id, api_version, response } => {
                let room = self.free_room(connection);
                (connection, Outgoing::Answer { correlation_id, api_version, response, room })
            }
            Reply::Silence { connection, .. } => (connection, Outgoing::Silence { room: self.free_room(connection) }),
            Reply::Admitted { connection } => (connection, Outgoing::Admitted),
            Reply::Close { connection, reason } => (connection, Outgoing::Close { reason }),
        };
        if let Some(client) = self.clients.get(&connection) {
            // A connection that has just ended needs no answer; its `Closed` is on the way.
            let _ = client.outgoing.send(outgoing);
        }
    }

    fn free_room(&mut self, connection: ConnectionId) -> Option<OwnedSemaphorePermit> {
        self.clients.get_mut(&connection)?.rooms.pop_front()
    }
}
