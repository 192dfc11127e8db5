//! The worker: starts connectors and tasks, holds them apart, and ends them.
//!
//! [`pool`] has the threads on which plugins run.

pub mod pool;
