//! Free loopback ports for servers that cannot choose their own.

use anyhow::Result;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::TcpListener;

/// A port that was free a moment ago. Java servers want to be told their port; ours take 0 and say what they got.
///
/// # Panics
/// If the machine has no free port.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// A port that stays free while a server that is killed and started again is down. Those that the system gives out by itself do not: a client's own attempts
/// to connect may be given the very port, and a socket can even connect to itself.
///
/// # Errors
/// If none is found.
pub fn quiet_port() -> Result<u16> {
    const LOWEST: u16 = 15_000;
    const COUNT: u64 = 15_000;
    for attempt in 0..100 {
        // A new hasher has keys of its own; that is chance enough.
        let port = LOWEST + (RandomState::new().hash_one(attempt) % COUNT) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no free port from {LOWEST} on")
}
