//! Rules of the tree that no compiler checks: which crate may know which, and what no file may hold. Every message names the remedy.

#[cfg(test)]
mod edges;
#[cfg(test)]
mod files;
