//! Files in memory: for tests, simulation and a broker that need not remember.
//!
//! Clones share the same files, so a simulator keeps one clone, drops the broker that held the other, decides with
//! [`MemoryStore::crash_machine`] what the crash cost, and opens a new broker over what is left. Appended bytes are kept as the pieces in
//! which they came: a read inside one piece shares it instead of copying.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use super::{Store, StoreFile};

/// Pieces smaller than this are joined, so that many tiny appends do not become many tiny allocations.
const SMALL_PIECE: usize = 4 * 1024;

/// A [`Store`] in memory. Clones are handles to the same files.
#[derive(Clone, Default)]
pub struct MemoryStore {
    shared: Arc<Mutex<Files>>,
}

#[derive(Default)]
struct Files {
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    /// Bytes that may still be written before appends fail as on a full disk.
    room: Option<u64>,
    crashes: u128,
    fault: Option<Fault>,
    fails_syncs: bool,
}

/// A process that dies while it writes.
struct Fault {
    /// Changes that still succeed.
    changes: u64,
    /// Bytes of the next append that are still written.
    torn: u64,
    dead: bool,
}

#[derive(Default)]
struct Content {
    pieces: Vec<Piece>,
    len: u64,
    synced: u64,
}

struct Piece {
    start: u64,
    bytes: Bytes,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a loss of power does: every file keeps what was synced and of the rest as many bytes as `keep` says.
    ///
    /// `keep` is asked once for each file with its path and the number of bytes at risk; a number in between leaves a torn tail.
    pub fn crash_machine(&self, mut keep: impl FnMut(&str, u64) -> u64) {
        let mut shared = self.shared.lock();
        shared.crashes += 1;
        for (path, content) in &shared.files {
            let mut content = content.lock();
            let at_risk = content.len - content.synced;
            let len = content.synced + keep(path, at_risk).min(at_risk);
            content.truncate(len);
        }
    }

    /// Lets appends fail once `room` more bytes are written, as a full disk does; `None` takes the limit away.
    pub fn limit_room(&self, room: Option<u64>) {
        self.shared.lock().room = room;
    }

    /// Lets syncs fail, or no longer, as on a disk that takes bytes and cannot keep them.
    pub fn fail_syncs(&self, fails: bool) {
        self.shared.lock().fails_syncs = fails;
    }

    /// Lets the process die at a write: after `changes` more changes (appends, cuts, removals, renames, syncs) the next one fails and so
    /// does every later one. If that is an append, `torn` bytes of it are still written.
    ///
    /// [`MemoryStore::revive`] is the next start of the process.
    pub fn die_after(&self, changes: u64, torn: u64) {
        self.shared.lock().fault = Some(Fault { changes, torn, dead: false });
    }

    /// True once [`MemoryStore::die_after`] has struck.
    pub fn has_died(&self) -> bool {
        self.shared.lock().fault.as_ref().is_some_and(|fault| fault.dead)
    }

    /// Takes back [`MemoryStore::die_after`]; says whether it came to that.
    pub fn revive(&self) -> bool {
        self.shared.lock().fault.take().is_some_and(|fault| fault.dead)
    }

    /// Cuts the file at `path` to `len` bytes, as a torn write would have left it.
    pub fn cut(&self, path: &str, len: u64) {
        if let Some(content) = self.shared.lock().files.get(path) {
            content.lock().truncate(len);
        }
    }

    /// Paths and lengths of all files, in order.
    pub fn files(&self) -> Vec<(String, u64)> {
        self.shared.lock().files.iter().map(|(path, content)| (path.clone(), content.lock().len)).collect()
    }

    /// An independent copy of every file as it is now.
    pub fn duplicate(&self) -> Self {
        let copy = Self::new();
        for (path, content) in &self.shared.lock().files {
            let content = content.lock();
            let pieces =
                content.pieces.iter().map(|piece| Piece { start: piece.start, bytes: piece.bytes.clone() }).collect();
            let twin = Content { pieces, len: content.len, synced: content.synced };
            copy.shared.lock().files.insert(path.clone(), Arc::new(Mutex::new(twin)));
        }
        copy
    }
}

impl Files {
    /// Counts a change; an error when the process is dead, with the bytes that its last append may still write.
    fn change(&mut self) -> Result<(), (io::Error, u64)> {
        let Some(fault) = &mut self.fault else {
            return Ok(());
        };
        if let Some(left) = fault.changes.checked_sub(1) {
            fault.changes = left;
            return Ok(());
        }
        let torn = if std::mem::replace(&mut fault.dead, true) { 0 } else { fault.torn };
        Err((io::Error::other("the process has died"), torn))
    }
}

impl Store for MemoryStore {
    fn open(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        let content = self.shared.lock().files.get(path).cloned();
        Ok(Box::new(MemoryFile { store: self.clone(), path: path.to_owned(), content }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{folder}/");
        let shared = self.shared.lock();
        let mut names: Vec<String> = shared
            .files
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix))
            .map(|rest| rest.split('/').next().unwrap_or(rest).to_owned())
            .collect();
        names.dedup();
        Ok(names)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let inside = format!("{path}/");
        let mut shared = self.shared.lock();
        shared.change().map_err(|(error, _)| error)?;
        shared.files.retain(|name, _| name != path && !name.starts_with(&inside));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.change().map_err(|(error, _)| error)?;
        let content = shared.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        shared.files.insert(to.to_owned(), content);
        Ok(())
    }

    fn boot(&self) -> u128 {
        self.shared.lock().crashes + 1
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }
}

struct MemoryFile {
    store: MemoryStore,
    path: String,
    content: Option<Arc<Mutex<Content>>>,
}

impl StoreFile for MemoryFile {
    fn len(&self) -> u64 {
        self.content.as_ref().map_or(0, |content| content.lock().len)
    }

    fn append(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        let mut shared = self.store.shared.lock();
        if let Some(room) = &mut shared.room {
            let left = room.checked_sub(size as u64);
            *room = left.ok_or(io::ErrorKind::StorageFull)?;
        }
        let changed = shared.change();
        let content = self.content.get_or_insert_with(|| shared.files.entry(self.path.clone()).or_default().clone());
        let mut content = content.lock();
        match changed {
            Ok(()) => {
                content.append(parts, size);
                Ok(())
            }
            Err((error, torn)) => {
                let len = content.len + torn.min(size as u64);
                content.append(parts, size);
                content.truncate(len);
                Err(error)
            }
        }
    }

    fn read(&mut self, position: u64, len: usize) -> io::Result<Bytes> {
        Ok(self.content.as_ref().map_or_else(Bytes::new, |content| content.lock().read(position, len)))
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.store.shared.lock().change().map_err(|(error, _)| error)?;
        if let Some(content) = &self.content {
            content.lock().truncate(len);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut shared = self.store.shared.lock();
        shared.change().map_err(|(error, _)| error)?;
        if shared.fails_syncs {
            return Err(io::Error::other("the disk does not sync"));
        }
        drop(shared);
        if let Some(content) = &self.content {
            let mut content = content.lock();
            content.synced = content.len;
        }
        Ok(())
    }
}

impl Content {
    fn append(&mut self, parts: &[&[u8]], size: usize) {
        if size == 0 {
            return;
        }
        let start = self.len;
        self.len += size as u64;
        // A small tail piece that no reader shares is taken back and grown in place.
        if let Some(last) = self.pieces.last_mut()
            && last.bytes.len() + size <= SMALL_PIECE
        {
            let bytes = std::mem::take(&mut last.bytes);
            let mut grown = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            parts.iter().for_each(|part| grown.extend_from_slice(part));
            last.bytes = grown.freeze();
            return;
        }
        let mut bytes = BytesMut::with_capacity(size);
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        self.pieces.push(Piece { start, bytes: bytes.freeze() });
    }

    fn read(&self, position: u64, len: usize) -> Bytes {
        let end = position.saturating_add(len as u64).min(self.len);
        if position >= end {
            return Bytes::new();
        }
        let first = self.pieces.partition_point(|piece| piece.start <= position) - 1;
        let slice_of = |piece: &Piece| {
            let from = position.max(piece.start) - piece.start;
            let to = (end - piece.start).min(piece.bytes.len() as u64);
            piece.bytes.slice(from as usize..to as usize)
        };
        let head = slice_of(&self.pieces[first]);
        let wanted = (end - position) as usize;
        if head.len() == wanted {
            return head;
        }
        let mut joined = BytesMut::with_capacity(wanted);
        joined.extend_from_slice(&head);
        for piece in &self.pieces[first + 1..] {
            if piece.start >= end {
                break;
            }
            joined.extend_from_slice(&slice_of(piece));
        }
        joined.freeze()
    }

    fn truncate(&mut self, len: u64) {
        while let Some(last) = self.pieces.last_mut() {
            if last.start >= len {
                self.pieces.pop();
            } else {
                last.bytes.truncate((len - last.start) as usize);
                break;
            }
        }
        self.len = self.len.min(len);
        self.synced = self.synced.min(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_equal_what_was_appended_wherever_the_pieces_lie() {
        let store = MemoryStore::new();
        let mut file = store.open("a/b").unwrap();
        let mut expected = Vec::new();
        for (index, size) in [3, 5000, 10, 0, 4096, 1, 70_000].into_iter().enumerate() {
            let part = vec![index as u8; size];
            file.append(&[&part[..size / 2], &part[size / 2..]]).unwrap();
            expected.extend_from_slice(&part);
        }
        for (position, len) in [(0, 3), (0, 100_000), (2, 5003), (5002, 12), (79_000, 10_000), (90_000, 1)] {
            let end = (position + len).min(expected.len());
            let want = &expected[position.min(end)..end];
            assert_eq!(&file.read(position as u64, len).unwrap()[..], want, "{position}+{len}");
        }
        file.truncate(5001).unwrap();
        assert_eq!(file.len(), 5001);
        assert_eq!(&file.read(0, 9999).unwrap()[..], &expected[..5001]);
    }

    #[test]
    fn a_crash_of_the_machine_keeps_what_was_synced() {
        let store = MemoryStore::new();
        let mut file = store.open("x").unwrap();
        file.append(&[b"safe"]).unwrap();
        file.sync().unwrap();
        file.append(&[b"risk"]).unwrap();
        store.crash_machine(|_, at_risk| at_risk / 2);
        assert_eq!(&store.open("x").unwrap().read(0, 99).unwrap()[..], b"saferi");
    }

    #[test]
    fn a_full_store_refuses_the_whole_append() {
        let store = MemoryStore::new();
        let mut file = store.open("x").unwrap();
        store.limit_room(Some(3));
        assert!(file.append(&[b"four"]).is_err());
        assert_eq!(file.len(), 0);
        store.limit_room(None);
        file.append(&[b"four"]).unwrap();
        assert_eq!(store.list("").unwrap(), Vec::<String>::new());
        assert_eq!(store.files(), [("x".to_owned(), 4)]);
    }
}
