//! Appends lines to a file, whole batches at a time, so that what is in the file is either a batch or nothing of it.
//!
//! Java writes through a `PrintStream`, which swallows every error: a full disk loses records there without a word. Here it fails the task, and
//! the records come again after a restart.

use kurier_api::ConnectError;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};

/// Where the lines go.
enum Output {
    File(File),
    Stdout(io::Stdout),
}

/// The open end of a file, or standard output.
pub(crate) struct LineWriter {
    path: String,
    output: Output,
    /// Whether writes can be taken back and made durable.
    regular: bool,
}

impl LineWriter {
    /// Opens the file for appending, or makes it; an empty path is standard output.
    ///
    /// # Errors
    /// Java's `Couldn't find or create file …`, with the reason as cause.
    pub(crate) fn open(path: &str) -> Result<Self, ConnectError> {
        if path.is_empty() {
            return Ok(Self { path: String::new(), output: Output::Stdout(io::stdout()), regular: false });
        }
        let refuse = |error: io::Error| {
            ConnectError::connect(format!("Couldn't find or create file '{path}' for FileStreamSinkTask"))
                .with_cause(error)
        };
        // Reading is for the look at the last byte; a pipe or a device may refuse it.
        let opened = OpenOptions::new().read(true).append(true).create(true).open(path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                OpenOptions::new().append(true).open(path).map_err(refuse)?
            }
            Err(error) => return Err(refuse(error)),
        };
        let regular = file.metadata().map_err(refuse)?.is_file();
        if regular && ends_within_a_line(&mut file) {
            // What was written when a worker was killed; its record comes again, on a line of its own.
            file.write_all(b"\n").map_err(refuse)?;
        }
        Ok(Self { path: path.to_owned(), output: Output::File(file), regular })
    }

    /// Appends whole lines, all or none.
    ///
    /// # Errors
    /// If they could not all be written; what was written of them is taken back.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), ConnectError> {
        let written = match &mut self.output {
            Output::Stdout(stdout) => {
                stdout.lock().write_all(lines).and_then(|()| stdout.flush()).map_err(|error| (0, error))
            }
            Output::File(file) => write_counted(file, lines),
        };
        written.map_err(|(written, error)| {
            let taken_back = self.take_back(written);
            ConnectError::connect(format!(
                "cannot write to {}: {error}; nothing is lost: {taken_back}, and the records come again when the task is restarted after \
                 there is room",
                self.name()
            ))
        })
    }

    /// The file, to wait until what was appended is on the disk; none where that means nothing.
    ///
    /// # Errors
    /// If the system gives no further file descriptor.
    pub(crate) fn regular_file(&self) -> Result<Option<File>, ConnectError> {
        match &self.output {
            Output::File(file) if self.regular => Ok(Some(file.try_clone()?)),
            _ => Ok(None),
        }
    }

    /// Cuts off the piece of a batch that was written last, if it still lies at the end: another task may append to the same file.
    fn take_back(&mut self, written: u64) -> &'static str {
        let Output::File(file) = &mut self.output else { return "what was printed stays" };
        let cut = |file: &mut File| -> io::Result<bool> {
            let end = file.stream_position()?;
            let last = self.regular && file.metadata()?.len() == end;
            if last {
                file.set_len(end - written)?;
            }
            Ok(last)
        };
        match cut(file) {
            _ if written == 0 => "nothing of this batch is in the file",
            Ok(true) => "the part of this batch that was written is taken back",
            Ok(false) | Err(_) => "a part of this batch stays in the file",
        }
    }

    fn name(&self) -> String {
        if self.path.is_empty() { "standard output".to_owned() } else { format!("file `{}`", self.path) }
    }
}

/// Whether the file's last byte is not the end of a line. A file that cannot be read is taken as whole.
fn ends_within_a_line(file: &mut File) -> bool {
    let mut last = [0];
    file.seek(SeekFrom::End(-1)).is_ok() && file.read_exact(&mut last).is_ok() && last[0] != b'\n'
}

/// Writes everything, or says how far it came.
fn write_counted(file: &mut File, mut bytes: &[u8]) -> Result<(), (u64, io::Error)> {
    let mut written = 0;
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(n) => {
                written += n as u64;
                bytes = &bytes[n..];
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_ended_and_appending_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        for (before, expected) in [("", "x\n"), ("a\n", "a\nx\n"), ("a\nb", "a\nb\nx\n")] {
            std::fs::write(&path, before).unwrap();
            let mut writer = LineWriter::open(path.to_str().unwrap()).unwrap();
            writer.append(b"x\n").unwrap();
            writer.regular_file().unwrap().unwrap().sync_data().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected, "after {before:?}");
        }
    }

    #[test]
    fn a_full_device_is_an_error() {
        let mut writer = LineWriter::open("/dev/full").unwrap();
        let text = writer.append(b"x\n").unwrap_err().to_string();
        assert!(text.contains("cannot write to file `/dev/full`") && text.contains("nothing is lost"), "{text}");
    }

    #[test]
    fn what_was_written_of_a_failed_batch_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut writer = LineWriter::open(path.to_str().unwrap()).unwrap();
        writer.append(b"whole\n").unwrap();
        writer.append(b"a part").unwrap();
        assert_eq!(writer.take_back(6), "the part of this batch that was written is taken back");
        writer.append(b"next\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nnext\n");
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_named() {
        let error = LineWriter::open("/nowhere/out").err().unwrap();
        assert_eq!(error.to_string(), "Couldn't find or create file '/nowhere/out' for FileStreamSinkTask");
        assert!(error.trace().contains("No such file or directory"), "{}", error.trace());
    }
}
