//! How connectors run: herder, worker, pipelines, stores, plugin registry.
//!
//! The herder decides ([`herder`]), the worker acts ([`worker`]), pipelines move records ([`pipeline`]). This crate knows no concrete connector,
//! no HTTP and no command line.

pub mod config;
pub mod herder;
pub mod pipeline;
pub mod registry;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;
pub mod unit;
pub mod worker;
