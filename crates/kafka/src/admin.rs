//! Administration of a cluster: topics, settings, offsets, groups, ACLs, transactions, features.
//!
//! Every call has the patience of `default.api.timeout.ms`: what can be mended by time is asked again until that is over, of the broker that is in
//! charge by then. Where a call names several things, each has its own outcome. Left out, because nothing
//! in Connect asks for it: quotas, reassignments, elections of leaders, delegation tokens, share and streams groups.
//!
//! Start at [`Admin`]; what it can do is in the modules by what it is done to.
#![expect(clippy::disallowed_methods, reason = "driver: waits between tries")]

mod acls;
mod brokers;
mod cluster;
mod codes;
mod configs;
mod groups;
mod members;
mod records;
mod scram;
mod topics;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;

use crate::backoff::Backoff;
use crate::config::{Given, Keys, Remarks};
use crate::error::{KafkaError, code};
use crate::group::Coordinator;
use crate::metrics::Metric;
use crate::net::{Groups, NetSettings, Target, TcpTransport, Transport, TransportError};
use crate::properties::Client;

pub use acls::{Acl, AclFilter, PatternType, Permission, ResourceType};
pub use brokers::{Features, LogDir, Quorum, QuorumReplica, ReplicaInfo, UpgradeType};
pub use cluster::{Cluster, ClusterOptions, Node};
pub use codes::AclOperation;
pub use configs::{ConfigChange, ConfigEntry, ConfigOptions, ConfigResource, ConfigSource, ConfigSynonym, ConfigType};
pub use groups::{GroupDescription, GroupFilter, GroupListing, GroupMember};
pub use members::{ConsumerGroupDescription, ConsumerGroupMember, MemberToRemove};
pub use records::ListedOffset;
pub use scram::{ScramChange, ScramCredentialInfo};
pub use topics::{
    CreatedTopic, MorePartitions, PartitionDescription, TopicDescription, TopicLayout, TopicListing, TopicToCreate,
};
pub use transactions::{
    HangingTransaction, ProducerState, TransactionDescription, TransactionFilter, TransactionListing,
};

/// What became of each of the things that a call named.
pub type Outcomes<K, T> = BTreeMap<K, Result<T, KafkaError>>;

/// Settings of an admin client, parsed. The keys are those of Java's `AdminClientConfig`.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`.
    pub api_timeout: Duration,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
    /// For connections.
    pub net: NetSettings,
    /// What users should know of what they gave.
    pub remarks: Remarks,
}

impl AdminConfig {
    /// Reads Java's property names. That others are unknown says little: Connect hands all of a worker's settings to its admin clients.
    pub fn parse<'a>(properties: impl Into<Given<'a>>) -> Result<Self, AdminError> {
        let mut keys = Keys::new(Client::Admin, properties);
        let request_timeout = keys.millis("request.timeout.ms", Duration::from_secs(30));
        let api_timeout = keys.millis("default.api.timeout.ms", Duration::from_secs(60));
        let retry_backoff = keys.millis("retry.backoff.ms", Duration::from_millis(100));
        let retry_backoff_max = keys.millis("retry.backoff.max.ms", Duration::from_secs(1));
        if request_timeout > api_timeout && keys.text("default.api.timeout.ms").is_some() {
            let why = "The specified value of default.api.timeout.ms must be no smaller than the value of request.timeout.ms.";
            keys.problem(why.to_owned());
        }
        let api_timeout = api_timeout.max(request_timeout);
        let (net, remarks) = keys.finish().map_err(AdminError::Config)?;
        Ok(Self { request_timeout, api_timeout, retry_backoff, retry_backoff_max, net, remarks })
    }
}

/// Why something was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AdminError {
    /// The settings do not let a client be made.
    #[error("{0}")]
    Config(String),
    /// The broker refused.
    #[error("{what}: {error}")]
    Refused {
        /// What was wanted.
        what: String,
        /// The broker's error, with its own words where it has some.
        error: KafkaError,
    },
    /// The cluster did not answer in time; it may do so later.
    #[error("Timed out waiting for {what} after {}ms", .timeout.as_millis())]
    Timeout {
        /// What was wanted.
        what: String,
        /// The time it had.
        timeout: Duration,
    },
}

impl AdminError {
    /// As Java's client would have thrown it.
    pub fn into_kafka(self) -> KafkaError {
        match self {
            Self::Config(message) => KafkaError::config(message),
            Self::Refused { error, .. } => error,
            timeout @ Self::Timeout { .. } => KafkaError::timeout(timeout.to_string()),
        }
    }
}

/// Asks a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    transport: Arc<dyn Transport>,
    config: AdminConfig,
    /// Who takes changes of topics, as far as is known.
    controller: Arc<Mutex<Option<i32>>>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// A client over TCP. Nothing is connected before there is something to ask.
    pub fn new(config: AdminConfig) -> Self {
        let transport = Arc::new(TcpTransport::new(config.net.clone()));
        Self::with_transport(config, transport)
    }

    /// A client over any transport.
    pub fn with_transport(config: AdminConfig, transport: Arc<dyn Transport>) -> Self {
        Self { transport, config, controller: Arc::default() }
    }

    /// What the connections of this client count, under the names of Java's admin client.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut out = Vec::new();
        let groups = Groups { client: "admin-client-metrics", node: "admin-client-node-metrics" };
        self.transport.metrics(&self.config.net.client_id, groups, &mut out);
        out
    }

    /// The time that a call has.
    fn patience(&self, what: impl Into<String>) -> Patience<'_> {
        let deadline = Instant::now() + self.config.api_timeout;
        let backoff = Backoff::new(self.config.retry_backoff, self.config.retry_backoff_max);
        Patience { admin: self, what: what.into(), deadline, backoff }
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.config.request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}

/// What a call has left.
struct Patience<'a> {
    admin: &'a Admin,
    what: String,
    deadline: Instant,
    backoff: Backoff,
}

/// Why one try came to nothing.
#[derive(Debug)]
enum Failure {
    /// No answer, or one that makes no sense.
    Unanswered,
    /// An error of the broker's, which says itself whether time may mend it.
    Refused(KafkaError),
}

impl Failure {
    /// The error of an answer, if it is one.
    fn check(code: i16, message: Option<&StrBytes>) -> Result<(), Self> {
        KafkaError::from_answer(code, message.map(StrBytes::as_str)).map_or(Ok(()), |error| Err(Self::Refused(error)))
    }
}

impl Patience<'_> {
    async fn ask(&self, to: Target, request: RequestKind) -> Result<ResponseKind, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let timeout = left.min(self.admin.config.request_timeout);
        self.admin.transport.send(to, Box::new(request), None, timeout).await.map_err(|error| match error {
            TransportError::Unanswered | TransportError::NotSent => Failure::Unanswered,
            TransportError::Refused(error) => Failure::Refused(error),
        })
    }

    /// Waits for the next try; the error of the call if there is none.
    async fn wait(&mut self, failure: Failure) -> Result<(), AdminError> {
        let config = &self.admin.config;
        let backoff = self.backoff.fail();
        let is_over = Instant::now() + backoff >= self.deadline;
        match failure {
            Failure::Refused(error) if is_over || !error.retriable => {
                return Err(AdminError::Refused { what: self.what.clone(), error });
            }
            Failure::Unanswered if is_over => {
                return Err(AdminError::Timeout { what: self.what.clone(), timeout: config.api_timeout });
            }
            failure => tracing::debug!(what = self.what, ?failure, "asking the cluster again"),
        }
        // Whoever refused for now may not be in charge any more.
        *self.admin.controller.lock() = None;
        tokio::time::sleep(backoff).await;
        Ok(())
    }
}

/// The answer to a request, or `?` with the failure: `ask!(patience, to, CreateTopics(request))`.
macro_rules! ask {
    ($patience:expr, $to:expr, $kind:ident($request:expr)) => {
        match $patience.ask($to, kafka_protocol::messages::RequestKind::$kind($request)).await? {
            kafka_protocol::messages::ResponseKind::$kind(response) => response,
            _ => return Err($crate::admin::Failure::Unanswered),
        }
    };
}
use ask;

/// Repeats a try until it succeeds or the patience is over.
macro_rules! until_done {
    ($patience:ident, $attempt:expr) => {
        loop {
            match $attempt.await {
                Ok(value) => break Ok(value),
                Err(failure) => match $patience.wait(failure).await {
                    Ok(()) => {}
                    Err(error) => break Err(error),
                },
            }
        }
    };
}
use until_done;

/// Things that a call named and that have no outcome yet.
struct Open<K, T> {
    left: Vec<K>,
    /// Why each had to be asked again.
    last: BTreeMap<K, KafkaError>,
    done: Outcomes<K, T>,
}

impl<K: Ord + Clone, T> Open<K, T> {
    /// What is named twice is asked once.
    fn new(all: impl IntoIterator<Item = K>) -> Self {
        let all: BTreeSet<K> = all.into_iter().collect();
        Self { left: all.into_iter().collect(), last: BTreeMap::new(), done: Outcomes::new() }
    }

    /// Takes the outcome of one; that of time's making is asked again.
    fn settle(&mut self, key: &K, outcome: Result<T, KafkaError>) {
        let Some(at) = self.left.iter().position(|left| left == key) else { return };
        match outcome {
            Err(error) if error.retriable => {
                self.last.insert(key.clone(), error);
            }
            outcome => {
                self.done.insert(self.left.swap_remove(at), outcome);
            }
        }
    }

    /// Takes the outcome of one whose errors are final, as in Java's client, whatever time could make of them; only the wrong broker and a quota are no
    /// outcome.
    fn settle_now(&mut self, key: &K, outcome: Result<T, KafkaError>) {
        let outcome = outcome.map_err(|error| {
            let again = error.is(code::NOT_CONTROLLER) || error.is(code::THROTTLING_QUOTA_EXCEEDED);
            KafkaError { retriable: error.retriable && again, ..error }
        });
        self.settle(key, outcome);
    }

    /// Whether there is something left to ask, as the failure of a try.
    fn remaining(&self) -> Result<(), Failure> {
        match self.left.first() {
            None => Ok(()),
            Some(key) => Err(self.last.get(key).map_or(Failure::Unanswered, |error| Failure::Refused(error.clone()))),
        }
    }

    /// All outcomes; what is left failed with its own last error, or with that of the call.
    fn close(mut self, end: Result<(), AdminError>) -> Result<Outcomes<K, T>, AdminError> {
        if let Err(error) = end {
            if self.done.is_empty() && self.last.is_empty() {
                return Err(error);
            }
            let error = error.into_kafka();
            for key in self.left {
                let own = self.last.remove(&key).unwrap_or_else(|| error.clone());
                self.done.insert(key, Err(own));
            }
        }
        Ok(self.done)
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn coordinator(coordinator: Coordinator) -> Target {
    Target::Coordinator(coordinator)
}
