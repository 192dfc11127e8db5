//! The view of a cluster that a client keeps.
