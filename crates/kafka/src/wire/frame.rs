//! Frames in a stream: a length of four bytes, then that many.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What is read at most while a frame's length is not known: most connections carry small frames or none, and a process may have hundreds of them.
const FIRST: usize = 4 << 10;
/// Memory reserved before a frame's bytes have arrived; beyond it, only as much again as has arrived, or as an earlier frame of the stream had. A length
/// alone costs its sender a connection and us no more than this.
const RESERVE: usize = 64 << 10;
/// Most memory that is reserved because an earlier frame needed it: reading a large frame into memory that grows would copy it.
const MOST_TRUSTED: usize = 4 << 20;
/// How many large frames have memory that is used again: one that is read, one that waits, one that is in use, and one more.
const MOST_LENT: usize = 4;

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

/// What frames are read from.
pub trait FrameStream: AsyncRead + Unpin {
    /// Asks to be woken only once so many bytes have come, or the stream ends, or can hold no more. Whoever asks keeps to it that they are still to come, and
    /// a stream may wake earlier.
    fn wake_at(&self, _bytes: usize) -> io::Result<()> {
        Ok(())
    }
}

/// Takes frames from a stream, without copying them once they are in memory.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    limit: usize,
    /// Bytes of the largest frame of late, up to [`MOST_TRUSTED`]; every smaller frame takes an eighth off.
    trusted: usize,
    /// What is left of the memory of large frames, which is whole again when nobody has the frame any more. Memory that is given back and asked for
    /// again with every frame would be cleared every time.
    lent: VecDeque<BytesMut>,
    /// What the stream was asked to wait for.
    wakes_at: usize,
}

impl<R: FrameStream> FrameReader<R> {
    /// Reads frames of at most `limit` bytes from `stream`.
    pub fn new(stream: R, limit: usize) -> Self {
        Self { stream, buffer: BytesMut::new(), limit, trusted: 0, lent: VecDeque::new(), wakes_at: 1 }
    }

    /// Waits for the next frame; `None` once the stream has ended between two frames. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            let read = match self.buffer.first_chunk::<4>() {
                None => {
                    self.buffer.reserve(FIRST);
                    self.stream.read_buf(&mut (&mut self.buffer).limit(FIRST)).await?
                }
                Some(length) => {
                    let announced = i32::from_be_bytes(*length);
                    let len = usize::try_from(announced)
                        .ok()
                        .filter(|len| *len <= self.limit)
                        .ok_or(FrameError::Length { len: announced, limit: self.limit })?;
                    if self.buffer.len() >= 4 + len {
                        return Ok(Some(self.take(len)));
                    }
                    self.make_room(4 + len - self.buffer.len());
                    let read = self.stream.read_buf(&mut self.buffer).await?;
                    self.wait_for((4 + len).saturating_sub(self.buffer.len()))?;
                    read
                }
            };
            if read == 0 {
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

    /// Lets the stream wake us once all bytes are there that are missing, or as many as there is room for, unless they are few.
    fn wait_for(&mut self, missing: usize) -> io::Result<()> {
        let room = self.buffer.capacity() - self.buffer.len();
        let bytes = Some(missing.min(room)).filter(|bytes| *bytes >= RESERVE).unwrap_or(1);
        if bytes != self.wakes_at {
            self.stream.wake_at(bytes)?;
            self.wakes_at = bytes;
        }
        Ok(())
    }

    /// The frame that is complete.
    fn take(&mut self, len: usize) -> Bytes {
        self.buffer.advance(4);
        let frame = self.buffer.split_to(len).freeze();
        self.trusted = (self.trusted - self.trusted / 8).max(len.min(MOST_TRUSTED));
        if self.trusted < RESERVE {
            self.lent.clear();
        } else if len >= RESERVE && self.buffer.is_empty() {
            if self.lent.len() == MOST_LENT {
                self.lent.pop_front();
            }
            self.lent.push_back(std::mem::take(&mut self.buffer));
        }
        frame
    }

    /// Makes room for bytes of a frame whose length is known and of which so many are `missing`.
    fn make_room(&mut self, missing: usize) {
        let more = missing.min(self.buffer.len().max(self.trusted).max(RESERVE));
        if self.buffer.capacity() - self.buffer.len() >= more {
            return;
        }
        let whole = self.buffer.len() + more;
        match self.lent.iter_mut().position(|lent| lent.try_reclaim(whole)).and_then(|at| self.lent.remove(at)) {
            Some(mut lent) => {
                lent.extend_from_slice(&self.buffer);
                self.buffer = lent;
            }
            None => self.buffer.reserve(more),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;

    use super::*;

    impl FrameStream for &[u8] {}
    impl<A: FrameStream, B: FrameStream> FrameStream for tokio::io::Chain<A, B> {}

    /// Bytes that come in pieces of these lengths, and the marks that were set, with how many bytes had not been read then.
    struct Pieces {
        bytes: Vec<u8>,
        at: usize,
        pieces: Box<dyn Iterator<Item = usize>>,
        marks: RefCell<Vec<(usize, usize)>>,
    }

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let len = self.pieces.next().unwrap().min(buf.remaining()).min(self.bytes.len() - self.at);
            buf.put_slice(&self.bytes[self.at..self.at + len]);
            self.at += len;
            Poll::Ready(Ok(()))
        }
    }

    impl FrameStream for Pieces {
        fn wake_at(&self, bytes: usize) -> io::Result<()> {
            self.marks.borrow_mut().push((bytes, self.bytes.len() - self.at));
            Ok(())
        }
    }

    #[test]
    fn the_stream_is_asked_to_wait_for_no_more_than_the_frame_still_needs() {
        for piece in [1_usize, 999, 70_000, 300_000, 2 << 20] {
            let frames = [1_100_000_usize, 900_000, 70_000, 3, 500_000].map(|len| {
                let mut frame = (len as u32).to_be_bytes().to_vec();
                frame.resize(4 + len, 7);
                frame
            });
            let mut left: Vec<usize> = frames.iter().map(Vec::len).collect();
            let pieces = Box::new([20, 4_000, piece].into_iter().cycle());
            let stream = Pieces { bytes: frames.concat(), at: 0, pieces, marks: RefCell::default() };
            let mut reader = FrameReader::new(stream, 2 << 20);
            for _ in frames {
                runtime().block_on(reader.next()).unwrap().unwrap();
                left.remove(0);
                let behind: usize = left.iter().sum();
                for (mark, unread) in reader.stream.marks.take() {
                    assert!(
                        mark == 1 || (RESERVE..=unread - behind).contains(&mark),
                        "{mark} of {unread}, {behind} behind"
                    );
                }
                assert_eq!(reader.wakes_at, 1, "a small frame would be waited for for ever");
            }
        }
    }

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
        assert!(reader.lent.is_empty());
        assert!(reader.buffer.capacity() <= 2 * FIRST, "{} bytes", reader.buffer.capacity());
    }

    #[test]
    fn large_frames_use_the_same_memory_again_once_nobody_has_them() {
        let frame = [&(1_u32 << 20).to_be_bytes()[..], &vec![1; 1 << 20]].concat();
        let stream = frame.repeat(40);
        let mut reader = FrameReader::new(&stream[..], 1 << 20);
        let mut next = || runtime().block_on(reader.next()).unwrap().unwrap();
        let mut places = std::collections::BTreeSet::new();
        let mut held = [next(), next()];
        for at in 0..30 {
            held[at % 2] = next();
            places.insert(held[at % 2].as_ptr() as usize);
            assert!(held.iter().all(|frame| frame.iter().all(|byte| *byte == 1)));
        }
        assert!(places.len() <= 3, "{places:?}");
        // Who keeps all of them has all of them.
        let kept: Vec<_> = (0..8).map(|_| next()).collect();
        assert!(kept.iter().all(|frame| frame.len() == 1 << 20));
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
