//! Which connectors and tasks shall run, and what is asked about them.

mod handle;
pub mod request;
mod resolve;

pub use handle::HerderHandle;
pub use request::{HerderError, Request, Response};
pub use resolve::{ConfigResolver, Resolved};
