//! kurier-builtin
