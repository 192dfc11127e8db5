//! Which connectors and tasks shall run, and what is asked about them.

mod handle;
pub mod request;

pub use handle::HerderHandle;
pub use request::{HerderError, Request, Response};
