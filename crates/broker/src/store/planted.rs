//! A planted mistake: an append counts as written, yet stays in memory until the next one comes.
//!
//! A broker over this store acknowledges records that a kill destroys. The kill tests are run with the feature `planted-ack-before-write` on to prove
//! that they would notice such a mistake, and the simulation takes it by the feature `planted`; no build that is given to anybody has it.

use std::io;

use bytes::{Bytes, BytesMut};

use super::{Store, StoreFile};

/// A store that says "written" too early.
pub struct PlantedStore(pub Box<dyn Store>);

impl Store for PlantedStore {
    fn open(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        let file = self.0.open(path)?;
        // Records only: that topics vanish as well would hide the mistake behind a louder one.
        if path.ends_with(".log") { Ok(Box::new(PlantedFile { file, held: BytesMut::new() })) } else { Ok(file) }
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

struct PlantedFile {
    file: Box<dyn StoreFile>,
    held: BytesMut,
}

impl PlantedFile {
    fn write_out(&mut self) -> io::Result<()> {
        if !self.held.is_empty() {
            self.file.append(&[&self.held])?;
            self.held.clear();
        }
        Ok(())
    }
}

impl StoreFile for PlantedFile {
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
        let wanted = len - written.len();
        let rest = &self.held[from.min(self.held.len())..];
        let rest = &rest[..rest.len().min(wanted)];
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
