//! Names of brokers and their addresses: `client.dns.lookup`.
//!
//! A name is looked up whenever a connection is made, and each of its addresses is tried in turn, so that one that hangs does not hide the others.
//! Counterpart of Java's `ClientUtils` and `ClusterConnectionStates`.
#![expect(clippy::disallowed_methods, reason = "driver: asks the system's resolver")]

use std::io;
use std::net::SocketAddr;

use super::outage::Address;

/// `client.dns.lookup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DnsLookup {
    /// Every address of a name is tried.
    #[default]
    UseAllDnsIps,
    /// As well; the names of `bootstrap.servers` are replaced by the canonical names of their addresses, for names that stand for many brokers and do
    /// not stand in their certificates.
    ResolveCanonicalBootstrapServersOnly,
}

/// Addresses that are tried of one name; more of them say nothing new.
const MAX_ADDRESSES: usize = 64;

/// All addresses of a name.
pub(super) async fn addresses((host, port): &Address) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host.as_str(), *port)).await?.take(MAX_ADDRESSES).collect())
}

/// The canonical names of all addresses of these names; what has none stays as it is.
pub(super) async fn canonical(bootstrap: &[Address]) -> Vec<Address> {
    let mut names = Vec::new();
    for address in bootstrap {
        let found = addresses(address).await.unwrap_or_default();
        if found.is_empty() {
            names.push(address.clone());
        }
        for ip in found {
            let name = tokio::task::spawn_blocking(move || dns_lookup::lookup_addr(&ip.ip())).await;
            let name = name.ok().and_then(Result::ok).unwrap_or_else(|| ip.ip().to_string());
            let name = (name, address.1);
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}
