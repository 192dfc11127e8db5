//! Reads lines from a file that may still grow, or from standard input.
//!
//! Never waits: at the end it says so, and whoever called asks again later. It refuses to go on where reading would skip or repeat lines: in a
//! file shorter than the position to go on from, and at a line beyond the limit.

use crate::lines::{LineSplitter, LineTooLong};
use kurier_api::ConnectError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Stdin};

/// Bytes asked of the input at a time.
const READ_BYTES: usize = 256 * 1024;

/// What the lines come from.
enum Input {
    File(File),
    Stdin(Stdin),
}

/// Lines of one input, from a position on.
pub(crate) struct LineReader {
    /// The file's path; empty for standard input.
    path: String,
    input: Option<Input>,
    lines: LineSplitter,
    max_line: usize,
    at_end: bool,
}

impl LineReader {
    /// Goes on at a position of a file (empty path: standard input, from where it is).
    pub(crate) fn new(path: &str, position: u64, max_line: usize) -> Self {
        Self {
            path: path.to_owned(),
            input: None,
            lines: LineSplitter::new(position, max_line),
            max_line,
            at_end: false,
        }
    }

    /// Whether everything up to the end was handed out; an unterminated last line may wait.
    pub(crate) fn at_end(&self) -> bool {
        self.at_end
    }

    /// Where the next line begins.
    pub(crate) fn position(&self) -> u64 {
        self.lines.position()
    }

    /// Bytes of a last line that lacks its end.
    pub(crate) fn pending(&self) -> usize {
        self.lines.pending()
    }

    /// Opens the input if it is not open yet; false while the file does not exist.
    ///
    /// # Errors
    /// If it exists and cannot be read from the position.
    pub(crate) fn open(&mut self) -> Result<bool, ConnectError> {
        if self.input.is_some() {
            return Ok(true);
        }
        if self.path.is_empty() {
            self.input = Some(Input::Stdin(io::stdin()));
            return Ok(true);
        }
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(self.refuse("open", &error)),
        };
        let metadata = file.metadata().map_err(|error| self.refuse("examine", &error))?;
        if metadata.is_dir() {
            return Err(ConnectError::connect(format!("`{}` is a folder; `file` names a file of lines", self.path)));
        }
        if metadata.is_file() {
            self.check_length(metadata.len())?;
            file.seek(SeekFrom::Start(self.position())).map_err(|error| self.refuse("seek in", &error))?;
        }
        self.input = Some(Input::File(file));
        Ok(true)
    }

    /// Hands out at most `max` lines, each with the position after it. Fewer mean that the input has no more for now.
    ///
    /// # Errors
    /// If reading fails, the file has shrunk, or a line is too long; the lines handed out before are good.
    pub(crate) fn read(&mut self, max: usize, mut take: impl FnMut(&[u8], u64)) -> Result<(), ConnectError> {
        let mut taken = 0;
        loop {
            while taken < max {
                match self.lines.next_line() {
                    Ok(Some((line, after))) => take(line, after),
                    Ok(None) => break,
                    // Lines before it leave first; the error comes back with the next call.
                    Err(_) if taken > 0 => return Ok(()),
                    Err(error) => return Err(self.too_long(&error)),
                }
                taken += 1;
            }
            if taken == max {
                self.at_end = false;
                return Ok(());
            }
            if self.fill()? == 0 {
                self.at_end = true;
                return self.check_still_there();
            }
        }
    }

    /// Reads what is there now; 0 at the end.
    fn fill(&mut self) -> Result<usize, ConnectError> {
        let room = self.lines.room(READ_BYTES);
        let read = match &mut self.input {
            None => Ok(0),
            Some(Input::File(file)) => read_some(file, room),
            Some(Input::Stdin(stdin)) => read_if_ready(stdin, room),
        };
        self.lines.filled(READ_BYTES, *read.as_ref().unwrap_or(&0));
        read.map_err(|error| self.refuse("read", &error))
    }

    fn check_still_there(&self) -> Result<(), ConnectError> {
        match &self.input {
            Some(Input::File(file)) => {
                let metadata = file.metadata().map_err(|error| self.refuse("examine", &error))?;
                if metadata.is_file() { self.check_length(metadata.len()) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// A file that has become shorter was cut or replaced: whatever is at the position now, is not what follows the last line.
    fn check_length(&self, length: u64) -> Result<(), ConnectError> {
        if length >= self.position() {
            return Ok(());
        }
        Err(ConnectError::connect(format!(
            "file `{}` has {length} bytes, fewer than the {} already read: it was cut or replaced; to read it from its beginning, stop the \
             connector, reset its offsets (DELETE /connectors/<name>/offsets) and resume it",
            self.path,
            self.position()
        )))
    }

    fn too_long(&self, error: &LineTooLong) -> ConnectError {
        ConnectError::connect(format!(
            "the line at byte {} of {} is longer than `kurier.line.max.bytes` = {}; raise the limit, or mend the file; reading goes on at that \
             line",
            error.position,
            self.name(),
            self.max_line
        ))
    }

    fn refuse(&self, what: &str, error: &io::Error) -> ConnectError {
        ConnectError::connect(format!(
            "cannot {what} {}: {error}; check `file` and the worker's rights to it",
            self.name()
        ))
    }

    fn name(&self) -> String {
        if self.path.is_empty() { "standard input".to_owned() } else { format!("file `{}`", self.path) }
    }
}

fn read_some(input: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(room) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Reads only what is there already, so that a task on a silent terminal or pipe can still be stopped.
fn read_if_ready(stdin: &mut Stdin, room: &mut [u8]) -> io::Result<usize> {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&*stdin, PollFlags::IN)], Some(&at_once))?;
    // Past the standard library's buffer: bytes that lie in it would not show in `poll`.
    if ready == 0 { Ok(0) } else { Ok(rustix::io::read(&*stdin, room)?) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read_all(reader: &mut LineReader, max: usize) -> Result<Vec<String>, ConnectError> {
        let mut lines = Vec::new();
        reader.read(max, |line, after| lines.push(format!("{after}:{}", String::from_utf8_lossy(line))))?;
        Ok(lines)
    }

    fn file_with(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn reader(file: &tempfile::NamedTempFile, position: u64, max_line: usize) -> LineReader {
        LineReader::new(file.path().to_str().unwrap(), position, max_line)
    }

    #[test]
    fn a_growing_file_is_followed_and_a_half_line_waits() {
        let mut file = file_with("a\nbc\nde");
        let mut reader = reader(&file, 0, 100);
        assert!(reader.open().unwrap());
        assert_eq!(read_all(&mut reader, 1).unwrap(), ["2:a"]);
        assert!(!reader.at_end());
        assert_eq!(read_all(&mut reader, 10).unwrap(), ["5:bc"]);
        assert_eq!((reader.at_end(), reader.pending()), (true, 2));
        file.write_all(b"f\n").unwrap();
        assert_eq!(read_all(&mut reader, 10).unwrap(), ["9:def"]);
    }

    #[test]
    fn reading_goes_on_at_the_position() {
        let file = file_with("a\nbc\n");
        let mut reader = reader(&file, 2, 100);
        assert!(reader.open().unwrap());
        assert_eq!(read_all(&mut reader, 10).unwrap(), ["5:bc"]);
    }

    #[test]
    fn a_file_shorter_than_the_position_is_refused_at_once_and_later() {
        let file = file_with("abc\n");
        let text = reader(&file, 5, 100).open().unwrap_err().to_string();
        assert!(text.contains("has 4 bytes, fewer than the 5 already read"), "{text}");

        let mut reader = reader(&file, 0, 100);
        reader.open().unwrap();
        assert_eq!(read_all(&mut reader, 10).unwrap(), ["4:abc"]);
        file.as_file().set_len(1).unwrap();
        assert!(read_all(&mut reader, 10).unwrap_err().to_string().contains("was cut or replaced"));
    }

    #[test]
    fn lines_before_one_that_is_too_long_leave_first() {
        let file = file_with("ab\ncdefgh\nij\n");
        let mut reader = reader(&file, 0, 5);
        reader.open().unwrap();
        assert_eq!(read_all(&mut reader, 10).unwrap(), ["3:ab"]);
        let text = read_all(&mut reader, 10).unwrap_err().to_string();
        assert!(text.contains("the line at byte 3 of file") && text.contains("`kurier.line.max.bytes` = 5"), "{text}");
        assert_eq!(reader.position(), 3);
    }

    #[test]
    fn a_missing_file_is_waited_for_and_a_folder_refused() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        assert!(!LineReader::new(missing.to_str().unwrap(), 0, 9).open().unwrap());
        let text = LineReader::new(dir.path().to_str().unwrap(), 0, 9).open().unwrap_err().to_string();
        assert!(text.contains("is a folder"), "{text}");
    }
}
