//! kurier-connector-bench
