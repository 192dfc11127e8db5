//! Scenarios of the core.
