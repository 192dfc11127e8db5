//! How requests reach brokers, for every client of this crate.
//!
//! Cores say what to send and to whom ([`Target`]); a [`Transport`] does it. [`TcpTransport`] is the one with sockets; a simulator brings its own.
//! Nothing here knows what a request means.

mod connection;
mod driver;
mod figures;
mod low_water;
mod outage;
mod resolve;
mod sasl;
mod settings;
mod stream;
mod tcp;
mod throttle;
mod versions;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use kafka_protocol::messages::{RequestKind, ResponseKind};

use crate::error::KafkaError;
use crate::group::Coordinator;
use crate::metrics::Metric;

pub(crate) use connection::SOFTWARE;
pub(crate) use driver::{Core, Driver, Outbox};
pub use figures::Groups;
pub use resolve::DnsLookup;
pub use settings::NetSettings;
pub use tcp::TcpTransport;
pub use versions::spoken;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Any broker that answers.
    Any,
    /// The broker with this id.
    Node(i32),
    /// The group's coordinator, over a connection of its own: a JoinGroup blocks it.
    Coordinator(Coordinator),
}

/// A broker's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub node: i32,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
}

/// Whether the broker `node` can be reached, now that a refusal came with the node, host and port of some (KIP-951); its address there is the newest.
pub(crate) fn finds_broker<'a>(
    brokers: &mut BTreeMap<i32, Broker>,
    node: i32,
    mut ends: impl Iterator<Item = (i32, &'a str, i32)>,
) -> bool {
    if node < 0 {
        return false;
    }
    if let Some((_, host, port)) = ends.find(|(id, ..)| *id == node)
        && let Ok(port) = u16::try_from(port)
    {
        brokers.insert(node, Broker { node, host: host.to_owned(), port });
    }
    brokers.contains_key(&node)
}

/// How requests reach brokers.
pub trait Transport: Send + Sync + 'static {
    /// Sends a request and waits for its answer, no longer than `timeout`. Requests to one target may be answered in any order.
    ///
    /// It goes out in the highest version that both sides know, or in `highest` if that is lower: what a version means may be agreed upon elsewhere, as
    /// for transactions by the cluster's feature `transaction.version`.
    ///
    /// A Produce with `acks=0` has no answer: once it is written, an empty one comes back.
    fn send(
        &self,
        to: Target,
        request: Box<RequestKind>,
        highest: Option<i16>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<ResponseKind, TransportError>>;

    /// The brokers of the cluster, as metadata last showed them.
    fn brokers(&self, brokers: &[Broker]);

    /// Adds the figures of the connections, if there are any.
    fn metrics(&self, _client_id: &str, _groups: Groups, _out: &mut Vec<Metric>) {}
}

/// Why a request has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransportError {
    /// Trying again may help.
    #[error("no answer")]
    Unanswered,
    /// Nothing was sent: the connection had ended before. What went over it without waiting for answers may not have arrived, and the broker may have closed it to
    /// say so.
    #[error("the connection has ended")]
    NotSent,
    /// Somebody has to change something: credentials, certificates.
    #[error("{0}")]
    Refused(KafkaError),
}

impl TransportError {
    /// Whether the broker cannot be asked this at all: it does not offer the request, or not in a version that can say it.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Refused(error) if error.is_unsupported())
    }

    /// Why the two sides do not accept each other, if that is it: Java's `AuthenticationException`s. It concerns all that a client asks.
    pub(crate) fn authentication(&self) -> Option<&KafkaError> {
        match self {
            Self::Refused(error) if !error.is_unsupported() => Some(error),
            _ => None,
        }
    }
}
