//! kurier-connector-file
