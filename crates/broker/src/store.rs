//! Where the broker keeps bytes: a small file system, in memory or on disk.
//!
//! The broker's rules (segments, recovery, compaction, journal) sit above this trait and know neither paths of the machine nor
//! system calls, so that the same rules run in a test that cuts a file at every byte. This module decides nothing about content.
//! Read on in [`MemoryStore`] (which can lose what was not synced, as a machine does) and [`DiskStore`].

mod disk;
mod memory;
#[cfg(feature = "planted")]
mod planted;

use std::io;

use bytes::Bytes;

pub use disk::{DiskError, DiskStore};
pub use memory::MemoryStore;
#[cfg(feature = "planted")]
pub use planted::PlantedStore;

/// A folder of files that only grow at their end.
///
/// Paths are relative, `/` between names; the broker makes them from its own numbers and from checked topic names, never from
/// unchecked input. Folders come into being with the first file inside.
pub trait Store: Send {
    /// Opens the file at `path`, which need not exist: it is created by the first append.
    fn open(&self, path: &str) -> io::Result<Box<dyn StoreFile>>;

    /// Names of files and folders directly inside `folder`, sorted; empty when there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Removes the file, or the folder with everything in it; it is no error when it is absent.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Puts the file `from` in the place of `to`, in one step that a crash cannot split.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Names the run of the machine since its last start: while it stays the same, everything ever written to a file is still there.
    ///
    /// Zero is no name; a store that cannot know gives a new one each time it is opened.
    fn boot(&self) -> u128;

    /// What an operator would call this place, for messages and for `DescribeLogDirs`.
    fn location(&self) -> String;
}

/// One file of a [`Store`].
pub trait StoreFile: Send {
    /// Bytes in the file.
    fn len(&self) -> u64;

    /// True when nothing is in the file.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes `parts` one after the other at the end: all of them, or none (the file keeps its length) and an error.
    ///
    /// When this returns, the bytes survive the end of the process; only [`StoreFile::sync`] makes them survive the machine.
    fn append(&mut self, parts: &[&[u8]]) -> io::Result<()>;

    /// Reads up to `len` bytes from `position`; fewer only at the end of the file.
    fn read(&mut self, position: u64, len: usize) -> io::Result<Bytes>;

    /// Cuts the file down to `len` bytes.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Makes everything written so far survive the loss of power.
    fn sync(&mut self) -> io::Result<()>;

    /// Gives back what an idle file need not hold (its descriptor); the next use takes it again.
    fn rest(&mut self) {}
}
