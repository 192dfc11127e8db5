//! The settings of workers and of every connector, as Java declares them.

pub mod connector;
pub mod properties;
pub mod standalone;
