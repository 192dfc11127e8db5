//! Bytes to and from a broker.
