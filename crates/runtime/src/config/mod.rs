//! The settings of workers and of every connector, as Java declares them.

pub mod classes;
pub mod connector;
pub mod enrich;
pub mod policy;
pub mod rest;
pub mod sink;
pub mod source;
pub mod ssl;
pub mod standalone;
mod version_order;
pub mod versions;
pub mod worker;
