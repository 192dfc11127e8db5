//! Cuts a stream of bytes into lines, as Java's file source does: a line ends at `\n`, `\r` or `\r\n`.
//!
//! Pure: bytes come in, lines and positions come out. An unterminated last line waits for its end; so does a lone `\r` at the end, which may be
//! the first half of `\r\n`.

use std::ops::Range;

/// A line grew beyond the limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LineTooLong {
    /// Where the line begins, in bytes from the start of the stream.
    pub(crate) position: u64,
}

/// Bytes read but not yet handed out as lines.
#[derive(Debug)]
pub(crate) struct LineSplitter {
    buffer: Vec<u8>,
    /// Where the next line begins in `buffer`.
    start: usize,
    /// How far `buffer` is known to hold no line end, from `start` on.
    searched: usize,
    /// Position of `buffer[start]` in the stream.
    position: u64,
    max_line: usize,
}

impl LineSplitter {
    /// Begins at a position of the stream; lines may have `max_line` bytes.
    pub(crate) fn new(position: u64, max_line: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, searched: 0, position, max_line }
    }

    /// Where the next line begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes that wait for the end of their line.
    pub(crate) fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Room for `n` bytes to be read into; what was not filled is given back by [`Self::filled`].
    pub(crate) fn room(&mut self, n: usize) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        let len = self.buffer.len();
        self.buffer.resize(len + n, 0);
        &mut self.buffer[len..]
    }

    /// Tells that of the `room` bytes asked for, `read` were filled.
    pub(crate) fn filled(&mut self, room: usize, read: usize) {
        self.buffer.truncate(self.buffer.len() - (room - read));
    }

    /// The next whole line, without its end, and the position after it.
    pub(crate) fn next_line(&mut self) -> Result<Option<(&[u8], u64)>, LineTooLong> {
        let Some((line, after)) = self.find() else {
            if self.pending() > self.max_line {
                return Err(LineTooLong { position: self.position });
            }
            return Ok(None);
        };
        if line.len() > self.max_line {
            return Err(LineTooLong { position: self.position });
        }
        self.position += (after - self.start) as u64;
        self.start = after;
        self.searched = after;
        Ok(Some((&self.buffer[line], self.position)))
    }

    /// The next line's bytes in the buffer and where the one after it begins.
    fn find(&mut self) -> Option<(Range<usize>, usize)> {
        let Some(found) = memchr::memchr2(b'\n', b'\r', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return None;
        };
        let end = self.searched + found;
        if self.buffer[end] == b'\n' {
            return Some((self.start..end, end + 1));
        }
        match self.buffer.get(end + 1) {
            Some(b'\n') => Some((self.start..end, end + 2)),
            Some(_) => Some((self.start..end, end + 1)),
            None => {
                self.searched = end;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(splitter: &mut LineSplitter, bytes: &[u8]) {
        splitter.room(bytes.len()).copy_from_slice(bytes);
        splitter.filled(bytes.len(), bytes.len());
    }

    fn all(splitter: &mut LineSplitter) -> Vec<(String, u64)> {
        let mut lines = Vec::new();
        while let Some((line, position)) = splitter.next_line().unwrap() {
            lines.push((String::from_utf8(line.to_vec()).unwrap(), position));
        }
        lines
    }

    #[test]
    fn however_the_bytes_arrive_the_lines_are_the_same() {
        let text = b"one\ntwo\r\n\rthree\r\n\n\xc3\xa9\nhalf";
        let expected = [("one", 4), ("two", 9), ("", 10), ("three", 17), ("", 18), ("é", 21)];
        for step in 1..text.len() {
            let mut splitter = LineSplitter::new(0, 100);
            let mut lines = Vec::new();
            for piece in text.chunks(step) {
                feed(&mut splitter, piece);
                lines.extend(all(&mut splitter));
            }
            let lines: Vec<(&str, u64)> = lines.iter().map(|(l, p)| (l.as_str(), *p)).collect();
            assert_eq!(lines, expected, "in pieces of {step}");
            assert_eq!(splitter.pending(), 4);
        }
    }

    #[test]
    fn a_lone_carriage_return_waits_for_the_next_byte() {
        let mut splitter = LineSplitter::new(7, 100);
        feed(&mut splitter, b"a\r");
        assert_eq!(all(&mut splitter), []);
        feed(&mut splitter, b"b");
        assert_eq!(all(&mut splitter), [("a".to_owned(), 9)]);
    }

    #[test]
    fn a_line_beyond_the_limit_is_refused_before_it_fills_memory() {
        let mut splitter = LineSplitter::new(0, 3);
        feed(&mut splitter, b"abc\nabcd");
        assert_eq!(splitter.next_line().unwrap().unwrap().1, 4);
        assert_eq!(splitter.next_line(), Err(LineTooLong { position: 4 }));
        feed(&mut splitter, b"\n");
        assert_eq!(splitter.next_line(), Err(LineTooLong { position: 4 }));
    }
}
