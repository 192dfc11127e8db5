//! Which connectors and tasks shall run, and what is asked about them.
//!
//! `step` decides and does nothing itself; [`request`] is what one may ask. What is configured is in `cluster`, what runs in `units`, who waits for
//! what in `pending`.

mod answers;
mod client_keys;
mod cluster;
mod connector_files;
mod driver;
mod groups;
mod handle;
mod misspelt;
mod offsets;
mod pending;
pub mod request;
mod resolve;
mod restart;
mod step;
mod tasks;
mod units;
mod validate;

pub use connector_files::{ConnectorFile, ConnectorFileError, create_connectors};
pub use driver::{HerderParts, RunningHerder};
pub use groups::KafkaSinkGroups;
pub use handle::HerderHandle;
pub use misspelt::misspelt_settings;
pub use offsets::{GroupError, SinkGroups};
pub use request::{HerderError, Request, Response};
pub use resolve::{ConfigResolver, Resolved};
