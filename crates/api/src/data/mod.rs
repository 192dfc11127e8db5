//! The Connect data model: [`Value`], [`Schema`], [`Struct`], [`Map`].
//!
//! Counterpart of Java's `org.apache.kafka.connect.data`. A value carries no schema of its own, except a struct; wherever a record needs both,
//! they travel as [`SchemaAndValue`]. Java's logical types are [`Value::Decimal`] and [`Value::Date`], told apart by the schema's name.

mod decimal;
mod foreign;
pub mod java_number;
pub mod java_text;
pub mod logical;
mod map;
mod projector;
mod schema;
mod structs;
mod validate;
mod value;

pub use compact_str::CompactString as Text;
pub use decimal::Decimal;
pub use foreign::Foreign;
pub use map::{Map, MapBuilder, MapOrder};
pub use projector::project;
pub use schema::{Field, Schema, SchemaBuilder, SchemaRef, Type};
pub use structs::Struct;
pub use value::{SchemaAndValue, Value};
