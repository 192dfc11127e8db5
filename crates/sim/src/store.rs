//! A disk that does not do what it is told, for a planted bug; [`PlantedStore`](kurier_broker::PlantedStore) is another.

use std::io;

use bytes::Bytes;
use kurier_broker::{MemoryStore, Store, StoreFile};

/// A disk that cuts nothing off.
pub(crate) struct UncutStore(pub(crate) MemoryStore);

impl Store for UncutStore {
    fn open(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        let file = self.0.open(path)?;
        // Records only: that topics vanish as well would hide the mistake behind a louder one.
        if path.ends_with(".log") { Ok(Box::new(UncutFile(file))) } else { Ok(file) }
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.0.list(folder)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.remove(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn boot(&self) -> u128 {
        self.0.boot()
    }

    fn location(&self) -> String {
        self.0.location()
    }
}

struct UncutFile(Box<dyn StoreFile>);

impl StoreFile for UncutFile {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn append(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        self.0.append(parts)
    }

    fn read(&mut self, position: u64, len: usize) -> io::Result<Bytes> {
        self.0.read(position, len)
    }

    fn truncate(&mut self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
}
