//! What outlives connectors: the offsets of sources.
//!
//! [`OffsetStore`] is what pipelines and the herder see; [`FileOffsetStore`] keeps it in the file of a standalone worker, byte for byte as Java
//! does. Statuses, configs and active topics of a standalone worker live in the herder's memory, as in Java.

mod codec;
mod file;
mod java_map;

pub use codec::OffsetCodec;
pub use file::FileOffsetStore;

use async_trait::async_trait;
use kurier_api::ConnectError;
use kurier_api::record::{SourceOffset, SourcePartition};

/// The committed offsets of source connectors. Partitions are compared by structure, after a round through JSON as in Java: `1i32` is `1i64`.
#[async_trait]
pub trait OffsetStore: Send + Sync {
    /// The committed offsets of these partitions of a connector, in the same order; none where nothing is committed.
    ///
    /// # Errors
    /// If the store cannot be read, or a partition cannot be written as JSON.
    async fn get(
        &self,
        connector: &str,
        partitions: &[SourcePartition],
    ) -> Result<Vec<Option<SourceOffset>>, ConnectError>;

    /// Commits offsets, all or none of them; none as an offset forgets. They are durable when this returns.
    ///
    /// # Errors
    /// If they could not be made durable; the store is as before then.
    async fn set(
        &self,
        connector: &str,
        offsets: &[(SourcePartition, Option<SourceOffset>)],
    ) -> Result<(), ConnectError>;

    /// All partitions of a connector with a committed offset, in the order of the store.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn list(&self, connector: &str) -> Result<Vec<(SourcePartition, SourceOffset)>, ConnectError>;
}

#[cfg(test)]
pub(crate) mod tests;
