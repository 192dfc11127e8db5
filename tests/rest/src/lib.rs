//! Replays recorded REST conversations of Apache Kafka Connect against a worker and tells the differences.
//!
//! The format is described in `cases/README.md`; [`run::Runner`] runs a case, [`compare`] says what counts as equal, `missing.txt` names the cases
//! that cannot pass yet and why.
#![allow(clippy::disallowed_methods, reason = "driver: speaks to a worker and waits for it")]

pub mod compare;
pub mod http;
pub mod profile;
pub mod run;
