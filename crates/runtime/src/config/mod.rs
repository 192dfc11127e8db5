//! The settings of workers and of every connector, as Java declares them.

pub mod connector;
pub mod standalone;
