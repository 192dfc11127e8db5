//! kurier-sim
