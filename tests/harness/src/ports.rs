//! Free loopback ports for servers that cannot choose their own.

use std::net::TcpListener;

/// A port that was free a moment ago. Java servers want to be told their port; ours take 0 and say what they got.
///
/// # Panics
/// If the machine has no free port.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
    listener.local_addr().expect("a bound socket has an address").port()
}
