//! Frames in a stream: a length of four bytes, then that many.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Memory reserved before a frame's bytes have arrived; beyond it, only as much again as has arrived, or as an earlier frame of the stream had. A length
/// alone costs its sender a connection and us no more than this.
const RESERVE: usize = 64 << 10;
/// Memory reserved where no frame was large of late: most connections carry small frames or none, and a process may have hundreds of them.
const LEAST: usize = 4 << 10;
/// Most memory that is reserved because an earlier frame needed it: reading a large frame into memory that grows would copy it.
const MOST_TRUSTED: usize = 4 << 20;

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream failed or ended within a frame.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The other side announced a frame that is too large, or does not speak this protocol at all.
    #[error(
        "the other side announced a frame of {len} bytes, the limit is {limit}; is this a Kafka connection without TLS?"
    )]
    Length {
        /// The announced length.
        len: i32,
        /// The longest that is taken.
        limit: usize,
    },
}

/// Takes frames from a stream, without copying them once they are in memory.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    limit: usize,
    /// Bytes of the largest frame of late, up to [`MOST_TRUSTED`]; every smaller frame takes an eighth off.
    trusted: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads frames of at most `limit` bytes from `stream`.
    pub fn new(stream: R, limit: usize) -> Self {
        Self { stream, buffer: BytesMut::new(), limit, trusted: 0 }
    }

    /// Waits for the next frame; `None` once the stream has ended between two frames. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            let missing = match self.buffer.first_chunk::<4>() {
                None => 4 - self.buffer.len(),
                Some(length) => {
                    let announced = i32::from_be_bytes(*length);
                    let len = usize::try_from(announced)
                        .ok()
                        .filter(|len| *len <= self.limit)
                        .ok_or(FrameError::Length { len: announced, limit: self.limit })?;
                    if self.buffer.len() >= 4 + len {
                        self.buffer.advance(4);
                        self.trusted = (self.trusted - self.trusted / 8).max(len.min(MOST_TRUSTED));
                        return Ok(Some(self.buffer.split_to(len).freeze()));
                    }
                    4 + len - self.buffer.len()
                }
            };
            let least = if self.buffer.len().max(self.trusted) < LEAST { LEAST } else { RESERVE };
            self.buffer.reserve(missing.min(self.buffer.len().max(self.trusted)).max(least));
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                // So does an alert of TLS begin, which is how a listener for SSL answers a client in plain text.
                let is_tls = self.buffer.starts_with(&[0x15, 3]);
                let why = if is_tls {
                    "the other side speaks TLS; set `security.protocol` to SSL or SASL_SSL"
                } else {
                    "the connection ended within a frame"
                };
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn frames_are_found_wherever_the_stream_is_cut() {
        let mut stream = Vec::new();
        for len in [0usize, 1, 5, 200_000, 3] {
            stream.extend_from_slice(&(len as u32).to_be_bytes());
            stream.extend(std::iter::repeat_n(len as u8, len));
        }
        for cut in [1usize, 3, 4, 7, 100_000] {
            let (head, tail) = stream.split_at(cut);
            let mut reader = FrameReader::new(AsyncReadExt::chain(head, tail), 1 << 20);
            let lens = runtime().block_on(async {
                let mut lens = Vec::new();
                while let Some(frame) = reader.next().await.unwrap() {
                    assert!(frame.iter().all(|b| *b == frame.len() as u8));
                    lens.push(frame.len());
                }
                lens
            });
            assert_eq!(lens, [0, 1, 5, 200_000, 3], "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_before_it_is_read() {
        for length in [[0x7f, 0xff, 0xff, 0xff], [0x80, 0, 0, 0], *b"HTTP"] {
            let mut reader = FrameReader::new(&length[..], 1 << 20);
            let error = runtime().block_on(reader.next()).unwrap_err();
            assert!(matches!(error, FrameError::Length { .. }), "{error}");
            assert!(reader.buffer.capacity() <= 2 * RESERVE);
        }
    }

    #[test]
    fn a_connection_with_small_frames_takes_little_memory_again_after_a_large_one() {
        let frame = |len: usize| [&(len as u32).to_be_bytes()[..], &vec![1; len]].concat();
        let stream = [frame(1 << 20), vec![frame(20); 10_000].concat()].concat();
        let mut reader = FrameReader::new(&stream[..], 1 << 20);
        let first = runtime().block_on(reader.next()).unwrap().unwrap();
        assert_eq!((first.len(), reader.trusted), (1 << 20, 1 << 20));
        let mut frames = 0;
        while let Some(frame) = runtime().block_on(reader.next()).unwrap() {
            assert_eq!(frame.len(), 20);
            frames += 1;
        }
        assert_eq!(frames, 10_000);
        assert_eq!(reader.trusted, 20);
        assert!(reader.buffer.capacity() <= 2 * LEAST, "{} bytes", reader.buffer.capacity());
    }

    #[test]
    fn half_a_frame_is_an_error() {
        let mut reader = FrameReader::new(&[0, 0, 0, 9, 1][..], 1 << 20);
        assert!(matches!(runtime().block_on(reader.next()), Err(FrameError::Io(_))));
        let mut reader = FrameReader::new(&[0x15, 3, 3, 0, 2, 2, 40][..], 1 << 30);
        let error = runtime().block_on(reader.next()).unwrap_err().to_string();
        assert!(error.contains("speaks TLS"), "{error}");
    }
}
