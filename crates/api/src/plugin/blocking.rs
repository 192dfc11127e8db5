//! Blocking twins of the task traits: for clients that block.
