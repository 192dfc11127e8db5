//! Files in a folder of the machine.
//!
//! A lock file keeps two brokers from sharing a folder. An append that fails half-way is cut back, so that a full disk leaves whole
//! batches only. Descriptors of idle files are given back by [`StoreFile::rest`].

#![expect(
    clippy::disallowed_methods,
    reason = "driver: a name that nobody knows stands for a run of the machine without one"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{FlockOperation, flock};
use rustix::io::pread;

use super::{Store, StoreFile};

const LOCK_FILE: &str = "kurier-broker.lock";

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The folder cannot be created, or nothing can be written into it.
    #[error("cannot use `{}` as data folder: {source}; choose a folder that this user may write to", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another broker works in the folder.
    #[error("data folder `{}` is in use by another broker; stop that one, or choose another folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

/// A [`Store`] in a folder.
pub struct DiskStore {
    root: PathBuf,
    /// Held for as long as the store lives; the system lets go of it when the process ends, however it ends.
    _lock: File,
    boot: u128,
}

impl DiskStore {
    /// Opens the folder, creating it when absent, and locks it against other brokers.
    pub fn open(root: &Path) -> Result<Self, DiskError> {
        let unusable = |source| DiskError::Unusable { path: root.to_owned(), source };
        fs::create_dir_all(root).map_err(unusable)?;
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(root.join(LOCK_FILE)).map_err(unusable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: lock, boot: boot_id() }),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => Err(DiskError::InUse { path: root.to_owned() }),
            Err(error) => Err(unusable(error.into())),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

impl Store for DiskStore {
    fn open(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        let path = self.path(path);
        let len = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(Box::new(DiskFile { path, len, file: None, unnamed: false, torn: false }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not UTF-8 is not ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        let removed = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let to = self.path(to);
        // Opened first: without a descriptor for it nothing is renamed.
        let folder = to.parent().map(File::open).transpose()?;
        fs::rename(self.path(from), &to)?;
        folder.map_or(Ok(()), |folder| folder.sync_all())
    }

    fn boot(&self) -> u128 {
        self.boot
    }

    fn location(&self) -> String {
        self.root.display().to_string()
    }
}

/// The system's name for its run since the last start; where there is none, a name that will never be seen again.
fn boot_id() -> u128 {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .and_then(|text| uuid::Uuid::parse_str(text.trim()).ok())
        .unwrap_or_else(uuid::Uuid::new_v4)
        .as_u128()
}

/// The name of a new file survives a loss of power only when its folder is synced.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

struct DiskFile {
    path: PathBuf,
    len: u64,
    file: Option<File>,
    /// The file is new: its name is not yet safe in its folder.
    unnamed: bool,
    /// A failed append could not be cut back at once: the bytes beyond `len` are not ours.
    torn: bool,
}

impl DiskFile {
    fn existing(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().read(true).append(true).open(&self.path)?);
        }
        Ok(self.file.as_mut().expect("opened above"))
    }

    fn created(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            options.read(true).append(true).create(true);
            let file = match options.open(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir_all(self.path.parent().unwrap_or(Path::new(".")))?;
                    options.open(&self.path)?
                }
                opened => opened?,
            };
            self.unnamed |= self.len == 0;
            self.file = Some(file);
        }
        Ok(self.file.as_mut().expect("opened above"))
    }
}

impl StoreFile for DiskFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn append(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let len = self.len;
        let torn = self.torn;
        let file = self.created()?;
        if torn {
            file.set_len(len)?;
        }
        let written = write_all(file, parts);
        // A file opened for appending writes at its end, whatever was cut: the length we keep stays true.
        let cut = if written.is_err() { file.set_len(len) } else { Ok(()) };
        self.torn = cut.is_err();
        self.len += written?;
        Ok(())
    }

    fn read(&mut self, position: u64, len: usize) -> io::Result<Bytes> {
        let wanted = self.len.saturating_sub(position).min(len as u64) as usize;
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        // Memory that the system fills need not be made zero first.
        let mut buffer = Vec::with_capacity(wanted);
        let file = self.existing()?;
        while buffer.len() < wanted {
            let at = position + buffer.len() as u64;
            match pread(&*file, spare_capacity(&mut buffer), at) {
                Ok(0) => break,
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        buffer.truncate(wanted);
        Ok(buffer.into())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        if len < self.len {
            self.existing()?.set_len(len)?;
            self.len = len;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.len == 0 && self.file.is_none() {
            return Ok(()); // Never written: there is no file yet.
        }
        self.existing()?.sync_data()?;
        if std::mem::take(&mut self.unnamed) {
            sync_folder_of(&self.path)?;
        }
        Ok(())
    }

    fn rest(&mut self) {
        self.file = None;
    }
}

fn write_all(file: &mut File, parts: &[&[u8]]) -> io::Result<u64> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut left = &mut slices[..];
    let mut written = 0;
    IoSlice::advance_slices(&mut left, 0); // Drops empty parts at the front.
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                written += count as u64;
                IoSlice::advance_slices(&mut left, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_again_and_the_folder_is_guarded() {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStore::open(folder.path()).unwrap();
        let mut file = store.open("a/b/c.log").unwrap();
        file.append(&[b"", b"one", b"", b"two"]).unwrap();
        file.rest();
        assert_eq!(&file.read(1, 99).unwrap()[..], b"netwo");
        file.truncate(4).unwrap();
        file.append(&[b"X"]).unwrap();
        file.sync().unwrap();
        assert_eq!(store.list("a").unwrap(), ["b"]);
        assert_eq!(store.list("nothing").unwrap(), Vec::<String>::new());
        let error = DiskStore::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("in use by another broker"), "{error}");
        drop(store);

        let store = DiskStore::open(folder.path()).unwrap();
        assert_eq!(&store.open("a/b/c.log").unwrap().read(0, 99).unwrap()[..], b"onetX");
        store.rename("a/b/c.log", "a/b/d.log").unwrap();
        store.remove("a/b/c.log").unwrap();
        assert_eq!(store.list("a/b").unwrap(), ["d.log"]);
        store.remove("a").unwrap();
        assert_eq!(store.list("a/b").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = DiskStore::open(&file).err().unwrap().to_string();
        assert!(error.contains("cannot use `") && error.contains("data folder"), "{error}");
    }
}
