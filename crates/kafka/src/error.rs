//! What can go wrong, under the names that Java gives it.
