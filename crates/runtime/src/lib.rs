//! kurier-runtime
