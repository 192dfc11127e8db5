//! Requests over TCP, plain or within TLS: one connection a broker, one more to the coordinator.
//!
//! Which connection a request takes, where that leads to, and when it is opened: a `connection` that ended is followed by another with the next request, not
//! before the back-off is over.
#![expect(clippy::disallowed_methods, reason = "driver: opens connections, waits")]

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures::future::BoxFuture;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::connection::{CallError, Connection, Counter};
use super::figures::Groups;
use super::outage::{Address, Outages, Said};
use super::settings::NetSettings;
use super::versions::{is_answered, waits_for_records};
use super::{Broker, DnsLookup, Target, Transport, TransportError, resolve};
use crate::backoff::backoff;
use crate::metrics::Metric;

/// One for the process, because it has one log.
static OUTAGES: LazyLock<(Instant, Mutex<Outages>)> = LazyLock::new(|| (Instant::now(), Mutex::default()));

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
        let counter = Arc::new(Counter::new(settings.metrics));
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
                inner.connection(slot, &addresses, is_answered(&request)).await
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
                        CallError::WasClosed => Err(TransportError::NotSent),
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
    async fn connection(
        &self,
        slot: Slot,
        addresses: &[(String, u16)],
        is_answered: bool,
    ) -> Result<Arc<Connection>, CallError> {
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
            // Only by its end can a broker tell whoever wants no answers that it does not lead the partition any more.
            if !is_answered {
                return Err(CallError::WasClosed);
            }
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
                    Some(sasl) => sasl.begin(&address.0).await.map(Some).map_err(CallError::from_login),
                    None => Ok(None),
                };
                let at = ips[ip_turn % ips.len()];
                let node = self.node(slot, address);
                let open =
                    async { Connection::open(address.clone(), at, node, settings, &self.counter, exchange?).await };
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

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{
        ApiKey, ApiVersionsResponse, MetadataRequest, MetadataResponse, api_versions_response,
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::error::code::UNSUPPORTED_VERSION;
    use crate::wire::{FrameReader, decode_request, encode_response};

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
