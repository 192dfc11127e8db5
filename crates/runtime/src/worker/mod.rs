//! The worker: starts connectors and tasks, holds them apart, and ends them.
//!
//! [`pool`] has the threads on which plugins run.

pub mod assemble;
pub mod clients;
mod limits;
pub mod pool;
mod reports;

pub use limits::raise_open_files;
pub use reports::Reports;
