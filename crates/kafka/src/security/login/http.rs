//! One POST to a token endpoint.
//!
//! As small as it may be: no redirects, no proxy, no kept connections; a bound on every time and size. Only `http` and `https` are spoken.
#![expect(clippy::disallowed_methods, reason = "driver: opens sockets, starts tasks")]

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use hyper::Uri;
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::security::secret::Secret;
use crate::security::tls::{ClientTls, tls_error};

/// Longest answer that is read; the rest of a longer one is left out.
const MAX_ANSWER: usize = 1 << 20;

/// What is posted.
#[derive(Clone, Debug)]
pub(super) struct Post {
    pub(super) url: Uri,
    /// The whole of the header `Authorization`, if there is one.
    pub(super) authorization: Option<Secret>,
    pub(super) body: Secret,
    pub(super) connect_timeout: Duration,
    /// How long each wait for the answer may take.
    pub(super) read_timeout: Duration,
}

/// An address that can be posted to.
pub(super) fn parse_url(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|_| "it is not a URL".to_owned())?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err("only http, https and file URLs are supported".to_owned()),
    }
}

/// Posts, and returns status and body.
pub(super) async fn post(post: &Post, tls: Option<&ClientTls>) -> io::Result<(u16, String)> {
    let host = post.url.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let secure = post.url.scheme_str() == Some("https");
    let port = post.url.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let connect = async {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = tls.filter(|_| secure) else { return Ok(Stream::Plain(stream)) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(tls.config.clone()).connect(name, stream).await;
        let stream = stream.map_err(|error| tls_error(&error).map_or(error, io::Error::other))?;
        Ok::<_, io::Error>(Stream::Tls(Box::new(stream)))
    };
    match within(post.connect_timeout, connect).await? {
        Stream::Plain(stream) => speak(stream, post).await,
        Stream::Tls(stream) => speak(*stream, post).await,
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn within<T>(timeout: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("not done in {} ms", timeout.as_millis()));
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(late()))
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, post: &Post) -> io::Result<(u16, String)> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let connection = Guard(tokio::spawn(connection).abort_handle());
    let host = post.url.authority().map_or("", |authority| authority.as_str());
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let path = post.url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = hyper::Request::post(path)
        .header(HOST, host)
        .header(ACCEPT, "application/json")
        .header(CACHE_CONTROL, "no-cache")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some(authorization) = &post.authorization {
        let mut value = HeaderValue::from_str(authorization.reveal()).map_err(io::Error::other)?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let request = request.body(post.body.reveal().to_owned()).map_err(io::Error::other)?;
    let response = async { sender.send_request(request).await.map_err(io::Error::other) };
    let response = within(post.read_timeout, response).await?;
    let status = response.status().as_u16();
    let body = read(response.into_body(), post.read_timeout).await?;
    drop(connection);
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

async fn read(mut body: Incoming, timeout: Duration) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let frame = async { Ok(poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await) };
        let Some(frame) = within(timeout, frame).await? else { return Ok(bytes) };
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            let room = MAX_ANSWER - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
            if bytes.len() == MAX_ANSWER {
                return Ok(bytes);
            }
        }
    }
}

/// Ends a connection's task with the call that it served.
struct Guard(tokio::task::AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}
