//! A connection's bytes, plain or within TLS, in two halves.
//!
//! Which of both it is, is decided once, when the connection opens; the halves then pass every call on. The plain ones share nothing, so reading and
//! writing never wait for each other; those of TLS share its state under a lock that is held for the time of one call that does not block.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::low_water;
use crate::security::tls::{ClientTls, tls_error};
use crate::wire::FrameStream;

/// What a connection reads from.
#[derive(Debug)]
pub(crate) enum Reader {
    Plain(OwnedReadHalf),
    Tls(tokio::io::ReadHalf<TlsStream<TcpStream>>),
}

/// What a connection writes to. What was written under TLS is only sent for certain once it is flushed.
#[derive(Debug)]
pub(crate) enum Writer {
    Plain(OwnedWriteHalf),
    Tls(tokio::io::WriteHalf<TlsStream<TcpStream>>),
}

/// Sizes of a socket's buffers, `send.buffer.bytes` and `receive.buffer.bytes`; none for those of the system, which grow as needed.
pub(crate) type Buffers = (Option<u32>, Option<u32>);

/// Connects to an address of the name, and shakes hands if there is TLS.
pub(crate) async fn connect(
    host: &str,
    at: SocketAddr,
    buffers: Buffers,
    tls: Option<&ClientTls>,
) -> Result<(Reader, Writer), ConnectError> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Before connecting, because the window that TCP agrees on depends on them.
    if let Some(bytes) = buffers.0 {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = buffers.1 {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(at).await?;
    stream.set_nodelay(true)?;
    // A peer that has gone without a word is noticed by the system in the end, also when nothing is asked. As in Java.
    socket2::SockRef::from(&stream).set_keepalive(true)?;
    let Some(tls) = tls else {
        let (reader, writer) = stream.into_split();
        return Ok((Reader::Plain(reader), Writer::Plain(writer)));
    };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| ConnectError::Handshake(format!("`{host}` is not a host name that TLS can check")))?;
    let stream = TlsConnector::from(tls.config.clone()).connect(name, stream).await.map_err(handshake_error)?;
    let (reader, writer) = tokio::io::split(stream);
    Ok((Reader::Tls(reader), Writer::Tls(writer)))
}

/// What rustls says travels inside an IO error; whatever else there is, is one of the network.
fn handshake_error(error: io::Error) -> ConnectError {
    match tls_error(&error) {
        Some(why) => ConnectError::Handshake(why),
        None if error.kind() == io::ErrorKind::UnexpectedEof => ConnectError::Io(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the broker closed the connection during the SSL handshake; is its listener for SSL?",
        )),
        None => ConnectError::Io(error),
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The network; trying again may help.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Both sides do not agree on TLS or on each other's certificates; that needs somebody to change something.
    #[error("SSL handshake failed: {0}")]
    Handshake(String),
}

impl FrameStream for Reader {
    /// TLS hands out what it has decrypted, so there it is not the socket's bytes that a frame waits for.
    fn wake_at(&self, bytes: usize) -> io::Result<()> {
        match self {
            Self::Plain(half) => half.wake_at(bytes),
            Self::Tls(_) => Ok(()),
        }
    }
}

impl FrameStream for OwnedReadHalf {
    fn wake_at(&self, bytes: usize) -> io::Result<()> {
        low_water::set(self.as_ref(), bytes)
    }
}

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_read(cx, buf),
            Self::Tls(half) => Pin::new(half).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_write(cx, buf),
            Self::Tls(half) => Pin::new(half).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_write_vectored(cx, bufs),
            Self::Tls(half) => Pin::new(half).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(half) => half.is_write_vectored(),
            Self::Tls(half) => half.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_flush(cx),
            Self::Tls(half) => Pin::new(half).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_shutdown(cx),
            Self::Tls(half) => Pin::new(half).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "driver: a peer on the loopback")]

    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::wire::{FrameError, FrameReader};

    fn frame(len: usize) -> Vec<u8> {
        let mut frame = u32::try_from(len).unwrap().to_be_bytes().to_vec();
        frame.extend((0..len).map(|at| (at % 251) as u8));
        frame
    }

    /// However little the socket holds and however the bytes come, no reader sleeps on while they are there.
    #[tokio::test]
    async fn large_frames_come_whole_whatever_the_socket_holds() {
        for receive in [None, Some(1), Some(8 << 10), Some(100 << 10), Some(2 << 20)] {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let at = listener.local_addr().unwrap();
            let lens = [20_usize, 3 << 20, 1_100_000, 5, 70_000, 1 << 20];
            let peer = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let bytes: Vec<u8> = lens.iter().flat_map(|len| frame(*len)).collect();
                for (turn, piece) in bytes.chunks(130_000).enumerate() {
                    stream.write_all(piece).await.unwrap();
                    if turn % 7 == 3 {
                        tokio::time::sleep(Duration::from_millis(3)).await;
                    }
                }
                // The last one is not whole.
                stream.write_all(&frame(1 << 20)[..500_000]).await.unwrap();
            });
            let (reader, _writer) = connect("localhost", at, (None, receive), None).await.unwrap();
            let mut frames = FrameReader::new(reader, 8 << 20);
            for len in lens {
                assert!(frames.next().await.unwrap().unwrap() == frame(len)[4..], "{len} {receive:?}");
            }
            peer.await.unwrap();
            assert!(matches!(frames.next().await, Err(FrameError::Io(_))), "{receive:?}");
        }
    }
}
