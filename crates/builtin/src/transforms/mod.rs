//! The transforms of Apache Kafka, by the names of their Java classes.
//!
//! Most come as `$Key` and `$Value`: the same change to either side of a record. Each file has one transform: its settings, and what it does to a
//! value with a schema and to one without. [`kind`] makes plugins of them.

mod cast;
mod drop_headers;
mod extract_field;
pub mod field_path;
mod filter;
mod flatten;
mod header_from;
mod hoist_field;
mod insert_field;
mod insert_header;
mod kind;
mod mask_field;
mod regex_router;
mod replace_field;
mod set_schema_metadata;
mod side;
#[cfg(test)]
mod testing;
mod timestamp_converter;
mod timestamp_router;
mod value_to_key;

pub use kind::{BuiltinTransform, transforms};
