//! Disks that do not keep what they promise, for planted bugs.

use std::io;

use bytes::{Bytes, BytesMut};
use kurier_broker::{MemoryStore, Store, StoreFile};

/// A disk that says "written" of records too early: they stay in memory until the next append.
pub(crate) struct HeldStore(pub(crate) MemoryStore);

/// A disk that cuts nothing off.
pub(crate) struct UncutStore(pub(crate) MemoryStore);

macro_rules! passed_on {
    ($store:ty, $open:expr) => {
        impl Store for $store {
            fn open(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
                let file = self.0.open(path)?;
                // Records only: that topics vanish as well would hide the mistake behind a louder one.
                if path.ends_with(".log") { Ok($open(file)) } else { Ok(file) }
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
    };
}

passed_on!(HeldStore, |file| Box::new(HeldFile { file, held: BytesMut::new() }) as Box<dyn StoreFile>);
passed_on!(UncutStore, |file| Box::new(UncutFile(file)) as Box<dyn StoreFile>);

struct HeldFile {
    file: Box<dyn StoreFile>,
    held: BytesMut,
}

impl HeldFile {
    fn write_out(&mut self) -> io::Result<()> {
        if !self.held.is_empty() {
            self.file.append(&[&self.held])?;
            self.held.clear();
        }
        Ok(())
    }
}

impl StoreFile for HeldFile {
    fn len(&self) -> u64 {
        self.file.len() + self.held.len() as u64
    }

    fn append(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        self.write_out()?;
        parts.iter().for_each(|part| self.held.extend_from_slice(part));
        Ok(())
    }

    fn read(&mut self, position: u64, len: usize) -> io::Result<Bytes> {
        let written = self.file.read(position, len)?;
        let from = (position + written.len() as u64).saturating_sub(self.file.len()) as usize;
        let rest = &self.held[from.min(self.held.len())..];
        let rest = &rest[..rest.len().min(len - written.len())];
        Ok([&written[..], rest].concat().into())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.write_out()?;
        self.file.truncate(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.file.sync()
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
