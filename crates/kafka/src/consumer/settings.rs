//! What the consumer's decisions depend on, with Java's defaults.

use std::time::Duration;

use super::assignor::Assignor;
use super::{Isolation, OffsetReset};
use crate::group::{EpochConfig, GroupConfig};
use crate::metrics::MetricsSettings;

/// Settings of a consumer, parsed. The keys are those of Java's `ConsumerConfig`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `isolation.level`.
    pub isolation: Isolation,
    /// `auto.offset.reset`.
    pub offset_reset: OffsetReset,
    /// `fetch.min.bytes`.
    pub fetch_min_bytes: i32,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: i32,
    /// `fetch.max.wait.ms`.
    pub fetch_max_wait: Duration,
    /// `max.partition.fetch.bytes`.
    pub max_partition_fetch_bytes: i32,
    /// `check.crcs`.
    pub check_crcs: bool,
    /// `max.poll.records`.
    pub max_poll_records: usize,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`.
    pub api_timeout: Duration,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
    /// `metadata.max.age.ms`.
    pub metadata_max_age: Duration,
    /// `allow.auto.create.topics`.
    pub allow_auto_create_topics: bool,
    /// `exclude.internal.topics`: whether a filter never sees them.
    pub exclude_internal_topics: bool,
    /// `partition.assignment.strategy`, in order of preference.
    pub assignors: Vec<Assignor>,
    /// `client.rack`: a replica in the same one may be read from instead of the leader (KIP-392), and assignors know of it (KIP-881).
    pub client_rack: String,
    /// Milliseconds since 1970 when the core's time was zero, for `auto.offset.reset=by_duration`.
    pub wall_origin_ms: i64,
    /// With `group.protocol=consumer` (KIP-848), what this member is told beside the group's settings.
    pub epochs: Option<EpochConfig>,
    /// How figures are windowed.
    pub metrics: MetricsSettings,
    /// The group, if there is a `group.id`.
    pub group: Option<GroupConfig>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            isolation: Isolation::ReadUncommitted,
            offset_reset: OffsetReset::Latest,
            fetch_min_bytes: 1,
            fetch_max_bytes: 50 << 20,
            fetch_max_wait: Duration::from_millis(500),
            max_partition_fetch_bytes: 1 << 20,
            check_crcs: true,
            max_poll_records: 500,
            request_timeout: Duration::from_secs(30),
            api_timeout: Duration::from_secs(60),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(300),
            allow_auto_create_topics: true,
            exclude_internal_topics: true,
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            client_rack: String::new(),
            wall_origin_ms: 0,
            epochs: None,
            metrics: MetricsSettings::default(),
            group: None,
        }
    }
}
