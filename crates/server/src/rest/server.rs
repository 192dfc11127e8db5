//! Driver of the REST server: ports, connections, the end.
#![expect(clippy::disallowed_methods, reason = "driver: listens on the ports of the REST interface")]

use super::app::{App, Surface};
use super::config::{AdminListeners, Listener, RestConfig};
use super::loggers::Loggers;
use axum::body::Body;
use axum::http::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kurier_runtime::herder::HerderHandle;
use std::convert::Infallible;
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How long [`RestServer::stop`] waits for answers that are under way, as in Java.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may take for the head of a request, and how long an idle connection is kept; Jetty's idle timeout.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections of one port at a time; more wait in the operating system.
const MAX_CONNECTIONS: usize = 1_000;
/// The longest head of a request; also the size of the read buffer. Jetty's limit of 8 KiB would refuse long connector names.
const MAX_HEAD: usize = 64 * 1024;
/// How long a client may take at the end to send the rest of a request's head, or to take an answer.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The pause after a failure to accept, which is usually a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A port could not be taken.
#[derive(Debug)]
pub(crate) struct RestError {
    listener: Listener,
    source: std::io::Error,
}

impl fmt::Display for RestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.listener.host.is_empty() { "*" } else { &self.listener.host };
        write!(f, "cannot listen on {host}:{}: {}; ", self.listener.port, self.source)?;
        f.write_str(match self.source.kind() {
            ErrorKind::AddrInUse => "choose another port in `listeners`, or stop what uses this one",
            ErrorKind::PermissionDenied => "choose a port of 1024 or more in `listeners`",
            ErrorKind::AddrNotAvailable => "name an address of this machine in `listeners`",
            _ => "check `listeners`",
        })
    }
}

impl std::error::Error for RestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl RestError {
    /// Whether somebody else listens there.
    pub(crate) fn is_in_use(&self) -> bool {
        self.source.kind() == ErrorKind::AddrInUse
    }
}

/// Ports that are taken, with nobody answering yet: clients wait.
#[derive(Debug)]
pub(crate) struct Bound {
    config: RestConfig,
    main: Vec<TcpListener>,
    admin: Vec<TcpListener>,
    advertised: (String, u16),
}

/// A running REST server. Dropping it closes its ports and connections at once.
#[derive(Debug)]
pub(crate) struct RestServer {
    addresses: Vec<SocketAddr>,
    admin_addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Takes the ports, so that the worker's address is known before its herder starts.
///
/// # Errors
/// If an address is not ours or taken.
pub(crate) async fn bind(config: RestConfig) -> Result<Bound, RestError> {
    let main = listen(&config.listeners).await?;
    let admin = match &config.admin {
        AdminListeners::Own(listeners) => listen(listeners).await?,
        AdminListeners::Main | AdminListeners::Off => Vec::new(),
    };
    let first = config.listeners.first();
    let host = match (&config.advertised_host, first) {
        (Some(host), _) => host.clone(),
        (None, Some(listener)) if !listener.host.is_empty() => listener.host.clone(),
        _ => own_host(),
    };
    let port = match (config.advertised_port, first) {
        (Some(port), _) => port,
        (None, Some(listener)) if listener.port != 0 => listener.port,
        _ => main.first().and_then(|l| l.local_addr().ok()).map_or(0, |a| a.port()),
    };
    Ok(Bound { config, main, admin, advertised: (host, port) })
}

/// The name of this machine, for workers that listen on every interface.
fn own_host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

async fn listen(listeners: &[Listener]) -> Result<Vec<TcpListener>, RestError> {
    let mut bound = Vec::with_capacity(listeners.len());
    for listener in listeners {
        let failed = |source| RestError { listener: listener.clone(), source };
        let socket = if listener.host.is_empty() {
            match TcpListener::bind(("::", listener.port)).await {
                Ok(socket) => socket,
                // Without IPv6 every interface means every IPv4 one.
                Err(_) => TcpListener::bind(("0.0.0.0", listener.port)).await.map_err(failed)?,
            }
        } else {
            TcpListener::bind((listener.host.as_str(), listener.port)).await.map_err(failed)?
        };
        bound.push(socket);
    }
    Ok(bound)
}

impl Bound {
    /// `host:port` as other workers reach this one; the worker's id.
    pub(crate) fn worker_id(&self) -> String {
        let (host, port) = &self.advertised;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Answers from now on.
    pub(crate) fn serve(self, herder: HerderHandle, loggers: Arc<dyn Loggers>) -> RestServer {
        let (stop, stopped) = watch::channel(false);
        let addresses = self.main.iter().filter_map(|l| l.local_addr().ok()).collect();
        let admin_addresses = self.admin.iter().filter_map(|l| l.local_addr().ok()).collect();
        let app = Arc::new(App::new(self.config, herder, loggers, stopped.clone()));
        let mut tasks = JoinSet::new();
        for listener in self.main {
            tasks.spawn(accept(listener, Surface::Main, Arc::clone(&app), stopped.clone()));
        }
        for listener in self.admin {
            tasks.spawn(accept(listener, Surface::Admin, Arc::clone(&app), stopped.clone()));
        }
        let mut stopped = stopped;
        tasks.spawn(async move {
            tokio::select! {
                () = end(&mut stopped) => {}
                () = app.watch_start() => {}
            }
        });
        RestServer { addresses, admin_addresses, stop, tasks }
    }
}

impl RestServer {
    /// Where it listens.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where its separate admin listeners are.
    pub(crate) fn admin_addresses(&self) -> &[SocketAddr] {
        &self.admin_addresses
    }

    /// Closes the ports and waits, within bounds, for the answers that are under way.
    pub(crate) async fn stop(mut self) {
        // Nobody listens any more only if every task is gone already.
        let _ = self.stop.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIMEOUT, all).await.is_err() {
            tracing::warn!("REST requests were still under way at the end and are dropped");
        }
    }
}

/// An answer under way.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Takes connections of one port until the end, then waits for them.
async fn accept(listener: TcpListener, surface: Surface, app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // Finished connections are forgotten at every turn, so that the set stays as small as what is open.
        while connections.try_join_next().is_some() {}
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        tokio::select! {
            () = end(&mut stopped) => break,
            (slot, accepted) = next => match accepted {
                Ok((socket, _)) => {
                    let connection = connection(socket, surface, Arc::clone(&app), stopped.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not take a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits until the server shall stop, or is gone.
async fn end(stopped: &mut watch::Receiver<bool>) {
    // An error says that the server was dropped, which is an end too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Waits until no answer has been under way for a while.
async fn nothing_to_wait_for(mut is_working: watch::Receiver<bool>) {
    // An error says that the connection is gone.
    while is_working.wait_for(|working| !working).await.is_ok() {
        if !matches!(tokio::time::timeout(LAST_WORDS, is_working.wait_for(|working| *working)).await, Ok(Ok(_))) {
            return;
        }
    }
}

/// Serves one connection. What is no HTTP closes it and nothing else.
async fn connection(socket: TcpStream, surface: Surface, app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    // HTTP/1.1 has one answer under way at a time.
    let (working, is_working) = watch::channel(false);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (app, working) = (Arc::clone(&app), working.clone());
        let answer: Answering = Box::pin(async move {
            working.send_replace(true);
            let answer = app.answer(surface, request.map(Body::new)).await;
            working.send_replace(false);
            Ok(answer)
        });
        answer
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(socket), service)
    );
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = end(&mut stopped) => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                ended = serving.as_mut() => ended,
                () = nothing_to_wait_for(is_working) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
