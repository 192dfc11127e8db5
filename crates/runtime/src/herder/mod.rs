//! Which connectors and tasks shall run, and what is asked about them.
//!
//! [`step`] decides and does nothing itself; [`request`] is what one may ask. What is configured is in `cluster`, what runs in `units`, who waits for
//! what in `pending`.

mod answers;
mod cluster;
mod driver;
mod handle;
mod offsets;
mod pending;
pub mod request;
mod resolve;
mod restart;
mod step;
mod tasks;
mod units;
mod validate;

pub use driver::{HerderParts, RunningHerder};
pub use handle::HerderHandle;
pub use offsets::{GroupError, SinkGroups};
pub use request::{HerderError, Request, Response};
pub use resolve::{ConfigResolver, Resolved};
