//! Client settings under their Java names.
