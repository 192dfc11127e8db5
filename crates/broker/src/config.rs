//! How a broker is set up.

use std::path::PathBuf;
use std::time::Duration;

use crate::server::Listener;

/// Where a broker keeps its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// In memory: gone with the process.
    Memory,
    /// In a folder, which is created when absent and belongs to one broker at a time.
    Dir(PathBuf),
}

/// Whether a group with members may change its protocol: Kafka's `group.consumer.migration.policy` (KIP-848).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Only a group without members may.
    Disabled,
    /// From the classic protocol to the consumer protocol, when the first member of that one joins.
    Upgrade,
    /// From the consumer protocol to the classic one, when the last member of the former has gone.
    Downgrade,
    /// Both ways.
    Bidirectional,
}

impl MigrationPolicy {
    /// All of them, by their Kafka names.
    pub(crate) const NAMES: [(&str, Self); 4] = [
        ("bidirectional", Self::Bidirectional),
        ("upgrade", Self::Upgrade),
        ("downgrade", Self::Downgrade),
        ("disabled", Self::Disabled),
    ];

    pub(crate) fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    pub(crate) fn downgrades(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

/// Everything that can be chosen about a broker. `BrokerConfig::default()` is a broker in memory on a free port of the loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Host that clients are told to connect to; by default the one listened on, or the loopback if that is every interface.
    pub advertised_host: Option<String>,
    /// Kafka's `listeners`; if there are any, they hold instead of the three settings above.
    pub listeners: Vec<Listener>,
    /// Where records are kept.
    pub data: Data,
    /// The broker's number in metadata.
    pub node_id: i32,
    /// Partitions of a topic that is created without a number.
    pub num_partitions: i32,
    /// Whether a producer's or consumer's first request for an unknown topic creates it.
    pub auto_create_topics: bool,
    /// How long the first member of an empty group waits for others before the group forms.
    pub group_initial_rebalance_delay: Duration,
    /// Shortest session timeout that a group member may ask for.
    pub group_min_session_timeout: Duration,
    /// Longest session timeout that a group member may ask for.
    pub group_max_session_timeout: Duration,
    /// Most members a group may have, of the classic protocol.
    pub group_max_size: usize,
    /// Most members that a group of the consumer protocol (KIP-848) may have.
    pub group_consumer_max_size: usize,
    /// How long a member of a group of the consumer protocol (KIP-848) may be silent; `consumer.session.timeout.ms` of a group goes first.
    pub group_consumer_session_timeout: Duration,
    /// How often such a member is told to beat; `consumer.heartbeat.interval.ms` of a group goes first.
    pub group_consumer_heartbeat_interval: Duration,
    /// Whether a group with members may change between the classic and the consumer protocol.
    pub group_consumer_migration_policy: MigrationPolicy,
    /// How long the offsets of a group without members are kept.
    pub offsets_retention: Duration,
    /// Longest transaction that a producer may ask for.
    pub transaction_max_timeout: Duration,
    /// How long an unused transactional id is remembered.
    pub transactional_id_expiration: Duration,
    /// How long an idle producer id is remembered in a partition.
    pub producer_id_expiration: Duration,
    /// How often retention, compaction and expiry are looked after.
    pub housekeeping_interval: Duration,
    /// A journal smaller than this is not replaced by a shorter one that says the same.
    pub journal_min_bytes: u64,
    /// Topic configs that differ from Apache Kafka's defaults, by their Kafka names (`retention.ms`, …), for all topics.
    pub topic_defaults: Vec<(String, String)>,
    /// Largest request that is read, in bytes.
    pub max_request_bytes: usize,
    /// Most connections at a time; further ones are closed at once.
    pub max_connections: usize,
    /// Most bytes of requests held for all connections together; beyond it no further request is read.
    pub max_pending_bytes: usize,
    /// Most bytes of records in one `Fetch` answer.
    pub max_fetch_bytes: usize,
    /// How long a connection may say nothing before it is closed.
    pub max_idle: Duration,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 0,
            advertised_host: None,
            listeners: Vec::new(),
            data: Data::Memory,
            node_id: 1,
            num_partitions: 1,
            auto_create_topics: true,
            group_initial_rebalance_delay: Duration::ZERO,
            group_min_session_timeout: Duration::from_secs(6),
            group_max_session_timeout: Duration::from_secs(30 * 60),
            group_max_size: 10_000,
            group_consumer_max_size: 10_000,
            group_consumer_session_timeout: Duration::from_secs(45),
            group_consumer_heartbeat_interval: Duration::from_secs(5),
            group_consumer_migration_policy: MigrationPolicy::Bidirectional,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            transaction_max_timeout: Duration::from_secs(15 * 60),
            transactional_id_expiration: Duration::from_secs(7 * 24 * 60 * 60),
            producer_id_expiration: Duration::from_secs(24 * 60 * 60),
            housekeeping_interval: Duration::from_secs(15),
            journal_min_bytes: 1024 * 1024,
            topic_defaults: Vec::new(),
            max_request_bytes: 100 * 1024 * 1024,
            max_connections: 2_000,
            max_pending_bytes: 256 * 1024 * 1024,
            max_fetch_bytes: 55 * 1024 * 1024,
            max_idle: Duration::from_secs(10 * 60),
        }
    }
}

impl BrokerConfig {
    /// A broker that keeps its data in `folder`.
    pub fn in_dir(folder: impl Into<PathBuf>) -> Self {
        Self { data: Data::Dir(folder.into()), ..Self::default() }
    }
}
