//! Converters, transforms, predicates and config providers that Kurier brings along, each behaving as its Java class.
//!
//! They depend on [`kurier_api`] only. Behaviour is checked against recorded answers of Apache Kafka Connect by `cargo xtask golden`.

pub mod bytes;
mod charset;
pub mod converters;
mod date_format;
pub mod json;
pub mod numbers;
pub mod predicates;
pub mod providers;
pub mod simple_header;
pub mod string;
pub mod transforms;
pub mod values;
