//! Brokers that hang, dawdle, throttle and talk nonsense, over real sockets.
#![expect(clippy::disallowed_methods, reason = "opens sockets, reads the clock, waits")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, MetadataRequest, MetadataResponse, RequestKind, ResponseKind, api_versions_response,
};
use kurier_kafka::consumer::core::Target;
use kurier_kafka::net::{NetSettings, TcpTransport, Transport, TransportError};
use kurier_kafka::wire::{FrameReader, decode_request, encode_response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What a broker does with a Metadata request; to ApiVersions it always answers well.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Well,
    /// Under another number.
    WrongNumber,
    /// Twice: the second answer is to nothing.
    Twice,
    /// A frame of so many bytes is announced.
    Announces(i32),
    /// The body is this.
    Body(&'static [u8]),
    /// Half the answer, then nothing more.
    Half,
    /// A byte at a time.
    Slow,
    /// Well, and wants to be left in peace for so many milliseconds.
    Throttles(i32),
    Silent,
}

/// Serves every connection in this manner; says when a request has come.
async fn serve(listener: TcpListener, manner: Manner, came: mpsc::UnboundedSender<Instant>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, manner, came.clone()));
    }
}

async fn converse(stream: TcpStream, manner: Manner, came: mpsc::UnboundedSender<Instant>) {
    let (reader, mut writer) = stream.into_split();
    let mut frames = FrameReader::new(reader, 1 << 20);
    while let Ok(Some(frame)) = frames.next().await {
        let request = decode_request(frame).unwrap();
        let (number, version) = (request.header.correlation_id, request.header.request_api_version);
        let answer = |number, response: ResponseKind| encode_response(number, version, &response).unwrap().freeze();
        if matches!(request.body, RequestKind::ApiVersions(_)) {
            let range =
                api_versions_response::ApiVersion::default().with_api_key(ApiKey::Metadata as i16).with_max_version(12);
            let response = ApiVersionsResponse::default().with_api_keys(vec![range]);
            writer.write_all(&answer(number, ResponseKind::ApiVersions(response))).await.unwrap();
            continue;
        }
        let _ = came.send(Instant::now());
        let metadata = |ms| ResponseKind::Metadata(MetadataResponse::default().with_throttle_time_ms(ms));
        let well = answer(number, metadata(0));
        let told: std::io::Result<()> = match manner {
            Manner::Well => writer.write_all(&well).await,
            Manner::WrongNumber => writer.write_all(&answer(number + 1, metadata(0))).await,
            Manner::Twice => writer.write_all(&[well.clone(), well].concat()).await,
            Manner::Announces(len) => writer.write_all(&len.to_be_bytes()).await,
            Manner::Body(body) => writer.write_all(&framed(number, body)).await,
            Manner::Half => writer.write_all(&well[..well.len() / 2]).await,
            Manner::Slow => slowly(&mut writer, &well).await,
            Manner::Throttles(ms) => writer.write_all(&answer(number, metadata(ms))).await,
            Manner::Silent => Ok(()),
        };
        if told.is_err() {
            return;
        }
    }
}

async fn slowly(writer: &mut OwnedWriteHalf, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        writer.write_all(&[*byte]).await?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// A response of a flexible version with this body.
fn framed(number: i32, body: &[u8]) -> Bytes {
    let len = i32::try_from(body.len() + 5).unwrap();
    [&len.to_be_bytes()[..], &number.to_be_bytes(), &[0], body].concat().into()
}

struct Broker {
    address: (String, u16),
    came: mpsc::UnboundedReceiver<Instant>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn start(manner: Manner) -> Broker {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = ("127.0.0.1".to_owned(), listener.local_addr().unwrap().port());
    let (sender, came) = mpsc::unbounded_channel();
    Broker { address, came, task: tokio::spawn(serve(listener, manner, sender)) }
}

async fn ask(transport: &TcpTransport, timeout_ms: u64) -> Result<ResponseKind, TransportError> {
    let request = Box::new(RequestKind::Metadata(MetadataRequest::default()));
    transport.send(Target::Any, request, None, Duration::from_millis(timeout_ms)).await
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), test).await }).expect("nothing hangs");
}

/// None of it panics, hangs or takes memory; and a broker that speaks well is found behind the one that does not.
#[test]
fn nonsense_ends_the_connection_and_another_broker_is_asked() {
    let nonsense = [
        Manner::WrongNumber,
        Manner::Announces(i32::MAX),
        Manner::Announces(-1),
        Manner::Announces(0),
        Manner::Half,
        Manner::Silent,
        // A throttle time and then a list of four thousand million brokers.
        Manner::Body(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        // A length that does not end.
        Manner::Body(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        Manner::Body(&[]),
    ];
    for manner in nonsense {
        run(async {
            let (bad, good) = (start(manner).await, start(Manner::Well).await);
            let transport = TcpTransport::new(NetSettings::new(vec![bad.address.clone(), good.address.clone()]));
            assert!(ask(&transport, 300).await.is_err(), "{manner:?}");
            assert!(ask(&transport, 30_000).await.is_ok(), "after {manner:?}");
        });
    }
}

#[test]
fn what_is_slow_or_said_twice_is_still_an_answer() {
    for manner in [Manner::Slow, Manner::Twice] {
        run(async {
            let broker = start(manner).await;
            let transport = TcpTransport::new(NetSettings::new(vec![broker.address.clone()]));
            assert!(ask(&transport, 30_000).await.is_ok(), "{manner:?}");
        });
    }
}

#[test]
fn a_broker_that_throttles_is_left_in_peace() {
    run(async {
        let mut broker = start(Manner::Throttles(400)).await;
        let transport = TcpTransport::new(NetSettings::new(vec![broker.address.clone()]));
        assert!(ask(&transport, 30_000).await.is_ok());
        let first = broker.came.recv().await.unwrap();
        // Longer than its caller can wait: it is not even sent.
        assert!(ask(&transport, 50).await.is_err());
        assert!(ask(&transport, 30_000).await.is_ok());
        let second = broker.came.recv().await.unwrap();
        assert!(second - first >= Duration::from_millis(390), "{:?}", second - first);
    });
}

/// A name whose first broker takes connections and never says a word must not hide the others from callers with little time.
#[test]
fn callers_that_give_up_do_not_begin_at_the_start_again() {
    run(async {
        // Sockets that listen and are never accepted: the connection is made, and no answer ever comes.
        let dead =
            [TcpListener::bind(("127.0.0.1", 0)).await.unwrap(), TcpListener::bind(("127.0.0.1", 0)).await.unwrap()];
        let good = start(Manner::Well).await;
        let mut addresses: Vec<_> =
            dead.iter().map(|listener| ("127.0.0.1".to_owned(), listener.local_addr().unwrap().port())).collect();
        addresses.push(good.address.clone());
        let transport = TcpTransport::new(NetSettings::new(addresses));
        let tries = [
            ask(&transport, 200).await.is_ok(),
            ask(&transport, 200).await.is_ok(),
            ask(&transport, 30_000).await.is_ok(),
        ];
        assert_eq!(tries, [false, false, true]);
    });
}

#[test]
fn an_idle_connection_is_closed_by_this_side() {
    run(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = ("127.0.0.1".to_owned(), listener.local_addr().unwrap().port());
        let settings = NetSettings { max_idle: Some(Duration::from_millis(100)), ..NetSettings::new(vec![address]) };
        let transport = TcpTransport::new(settings);
        // A tap between, to see the end of the connection.
        let inner = start(Manner::Well).await;
        let tap = async {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect((inner.address.0.as_str(), inner.address.1)).await.unwrap();
            let mut served = 0;
            let (mut up, mut down) = ([0; 4_096], [0; 4_096]);
            loop {
                tokio::select! {
                    read = client.read(&mut up) => match read.unwrap_or(0) {
                        0 => break served,
                        read => server.write_all(&up[..read]).await.unwrap(),
                    },
                    read = server.read(&mut down) => {
                        let read = read.unwrap();
                        served += read;
                        client.write_all(&down[..read]).await.unwrap();
                    }
                }
            }
        };
        let (served, answer) = tokio::join!(tap, ask(&transport, 30_000));
        assert!(served > 0 && answer.is_ok());
    });
}
