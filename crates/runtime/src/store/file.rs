//! The offsets file of a standalone worker. Counterpart of Java's `FileOffsetBackingStore`; either worker goes on from the other's file.
//!
//! Every commit writes a new file beside the old one, makes it durable, and puts it in the old one's place, so that a crash leaves one of the two
//! (Java overwrites in place). Memory follows the disk, never the other way round. Entries that cannot be understood are kept as they are.

#![expect(clippy::disallowed_methods, reason = "driver: files are written on blocking threads")]

use super::java_map::{self, Pair};
use super::{OffsetCodec, OffsetStore};
use async_trait::async_trait;
use bytes::Bytes;
use kurier_api::ConnectError;
use kurier_api::data::Value;
use kurier_api::plugin::ConverterType;
use kurier_api::record::{SourceOffset, SourcePartition};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Offsets in a file.
#[derive(Debug)]
pub struct FileOffsetStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    codec: OffsetCodec,
    /// Held while the file is written: commits are one after the other.
    contents: Mutex<Contents>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    /// All entries in the order of the file.
    pairs: Vec<Pair>,
    /// Where the entry of a partition is. The key bytes found in the file are used again when the partition is written.
    index: HashMap<(String, Value), usize>,
}

fn index_key(connector: &str, partition: &SourcePartition) -> (String, Value) {
    (connector.to_owned(), Value::Map(Box::new((**partition).clone())))
}

impl FileOffsetStore {
    /// Opens a file; one that is not there is empty, and made with the first commit.
    ///
    /// # Errors
    /// If it cannot be read or is no offsets file; it is left as it is.
    pub fn open(path: impl Into<PathBuf>, json: &dyn ConverterType) -> Result<Self, ConnectError> {
        let path = path.into();
        let codec = OffsetCodec::new(json)?;
        let data = match fs::read(&path) {
            Ok(data) => Bytes::from(data),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Bytes::new(),
            Err(error) => {
                return Err(ConnectError::connect(format!(
                    "cannot read the offsets file {}: {error}; check `offset.storage.file.filename` and the permissions \
                     of the file",
                    path.display()
                )));
            }
        };
        let pairs = java_map::decode(&data).map_err(|problem| {
            ConnectError::connect(format!(
                "{} is not an offsets file of a standalone worker: {problem}. It was left as it is; restore it, or name \
                 another file in `offset.storage.file.filename`",
                path.display()
            ))
        })?;
        let mut contents = Contents { pairs, index: HashMap::new() };
        for (at, (key, _)) in contents.pairs.iter().enumerate() {
            match key.as_ref().and_then(|key| codec.decode_key(key)) {
                Some((connector, partition)) => {
                    contents.index.insert(index_key(&connector, &partition), at);
                }
                None => {
                    tracing::warn!(file = %path.display(), entry = at, "an entry of the offsets file has a key that is no source partition; it is kept")
                }
            }
        }
        Ok(Self { shared: Arc::new(Shared { path, codec, contents: Mutex::new(contents) }) })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }
}

impl Shared {
    fn get(&self, connector: &str, partitions: &[SourcePartition]) -> Result<Vec<Option<SourceOffset>>, ConnectError> {
        let keys: Vec<_> = partitions
            .iter()
            .map(|partition| Ok(index_key(connector, &self.codec.normalise(partition)?)))
            .collect::<Result<_, ConnectError>>()?;
        let values: Vec<Option<Bytes>> = {
            let contents = self.contents.lock();
            keys.iter().map(|key| contents.pairs[*contents.index.get(key)?].1.clone()).collect()
        };
        values.into_iter().map(|value| value.map(|value| self.codec.decode_value(&value)).transpose()).collect()
    }

    fn set(&self, connector: &str, offsets: &[(SourcePartition, Option<SourceOffset>)]) -> Result<(), ConnectError> {
        let mut current = self.contents.lock();
        let mut next = current.clone();
        for (partition, offset) in offsets {
            let value = offset.as_ref().map(|offset| self.codec.encode_value(offset)).transpose()?.map(Bytes::from);
            let key = index_key(connector, &self.codec.normalise(partition)?);
            match next.index.get(&key) {
                Some(at) => next.pairs[*at].1 = value,
                None => {
                    let bytes = self.codec.encode_key(connector, partition)?;
                    next.index.insert(key, next.pairs.len());
                    next.pairs.push((Some(bytes.into()), value));
                }
            }
        }
        replace_file(&self.path, &java_map::encode(&next.pairs)).map_err(|error| {
            ConnectError::connect(format!("cannot write the offsets file {}: {error}", self.path.display()))
                .with_cause(error)
        })?;
        *current = next;
        Ok(())
    }

    fn list(&self, connector: &str) -> Result<Vec<(SourcePartition, SourceOffset)>, ConnectError> {
        let pairs = self.contents.lock().pairs.clone();
        let mut found = Vec::new();
        for (key, value) in pairs {
            let (Some(key), Some(value)) = (key, value) else { continue };
            if let Some((name, partition)) = self.codec.decode_key(&key)
                && name == connector
            {
                found.push((partition, self.codec.decode_value(&value)?));
            }
        }
        Ok(found)
    }
}

/// Puts a file in the place of another: after a crash there is the old one or the new one.
fn replace_file(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().map(ToOwned::to_owned).unwrap_or_default();
    name.push(".new");
    let new = path.with_file_name(name);
    let written = (|| {
        let mut file = File::create(&new)?;
        file.write_all(data)?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    if let Err(error) = written {
        // What is left of it helps nobody, and on a full disk its room is needed.
        let _gone_already = fs::remove_file(&new);
        return Err(error);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Runs on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ConnectError> + Send + 'static,
) -> Result<T, ConnectError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ConnectError::connect(format!("the offset store failed: {error}"))),
    }
}

#[async_trait]
impl OffsetStore for FileOffsetStore {
    async fn get(
        &self,
        connector: &str,
        partitions: &[SourcePartition],
    ) -> Result<Vec<Option<SourceOffset>>, ConnectError> {
        let (shared, connector, partitions) = (self.shared.clone(), connector.to_owned(), partitions.to_vec());
        blocking(move || shared.get(&connector, &partitions)).await
    }

    async fn set(
        &self,
        connector: &str,
        offsets: &[(SourcePartition, Option<SourceOffset>)],
    ) -> Result<(), ConnectError> {
        let (shared, connector, offsets) = (self.shared.clone(), connector.to_owned(), offsets.to_vec());
        blocking(move || shared.set(&connector, &offsets)).await
    }

    async fn list(&self, connector: &str) -> Result<Vec<(SourcePartition, SourceOffset)>, ConnectError> {
        let (shared, connector) = (self.shared.clone(), connector.to_owned());
        blocking(move || shared.list(&connector)).await
    }
}
