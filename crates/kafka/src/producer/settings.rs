//! What a producer's decisions depend on, from Java's property names, with Java's defaults.

use std::time::Duration;

use super::{Outgoing, ProducerError};
use crate::batch::{Compression, HEADER_LEN};
use crate::config::{Given, Keys, Remarks};
use crate::metrics::MetricsSettings;
use crate::net::NetSettings;
use crate::properties::Client;

/// How many batches of a producer a broker recognises.
const MAX_IN_FLIGHT: usize = 5;
/// Java's default of `batch.size`.
const DEFAULT_BATCH_BYTES: usize = 16 << 10;
/// See [`Settings::backlog_batch_bytes`]. A quarter of what a broker takes without being told to take more.
const BACKLOG_BATCH_BYTES: usize = 256 << 10;

/// Settings of a producer, parsed. The keys are those of Java's `ProducerConfig`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How figures are windowed.
    pub metrics: MetricsSettings,
    /// `transactional.id`.
    pub transactional_id: Option<String>,
    /// `transaction.timeout.ms`.
    pub transaction_timeout: Duration,
    /// `acks`: −1 for all replicas in sync, 1 for the leader, 0 to wait for nobody: what has been written to the connection counts as delivered, without an
    /// offset.
    pub acks: i16,
    /// `enable.idempotence`.
    pub idempotent: bool,
    /// `batch.size`.
    pub batch_bytes: usize,
    /// What a batch may grow to while it could not be sent anyway, because as many as may fly do. Not a setting of Java's, which then makes more batches
    /// of `batch.size`; fewer requests are what makes a producer fast. `batch.size` below Java's default switches it off.
    pub backlog_batch_bytes: usize,
    /// `linger.ms`.
    pub linger: Duration,
    /// `buffer.memory`.
    pub buffer_bytes: usize,
    /// `compression.type`.
    pub compression: Compression,
    /// `compression.<type>.level`; none for the default.
    pub compression_level: Option<i32>,
    /// `max.request.size`: of a record, and of all batches of a request together unless one alone is larger.
    pub max_request_bytes: usize,
    /// `max.in.flight.requests.per.connection`, here per partition. At most 5, and 1 without idempotence, so that order is kept.
    pub max_in_flight: usize,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `delivery.timeout.ms`.
    pub delivery_timeout: Duration,
    /// `retries`: how often a batch is sent again before it is given up.
    pub retries: u32,
    /// `max.block.ms`: how long a topic may stay unknown.
    pub max_block: Duration,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
    /// `metadata.max.age.ms`.
    pub metadata_max_age: Duration,
    /// `metadata.max.idle.ms`: a topic without records for so long is asked about no more.
    pub metadata_max_idle: Duration,
    /// `partitioner.ignore.keys`.
    pub ignore_keys: bool,
    /// Whether records go to partitions one by one: Java's `RoundRobinPartitioner`. Otherwise a batch of those without a key goes to one.
    pub round_robin: bool,
    /// `partitioner.adaptive.partitioning.enable`: whether partitions with a shorter queue get more of them.
    pub adaptive: bool,
    /// `partitioner.availability.timeout.ms`: a broker that has not answered for so long gets no records without a key; zero switches it off.
    pub availability_timeout: Duration,
    /// Where chance begins that chooses partitions. [`super::Producer::new`] sets it.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            metrics: MetricsSettings::default(),
            transactional_id: None,
            transaction_timeout: Duration::from_secs(60),
            acks: -1,
            idempotent: true,
            batch_bytes: DEFAULT_BATCH_BYTES,
            backlog_batch_bytes: BACKLOG_BATCH_BYTES,
            linger: Duration::from_millis(5),
            buffer_bytes: 32 << 20,
            compression: Compression::None,
            compression_level: None,
            max_request_bytes: 1 << 20,
            max_in_flight: 5,
            request_timeout: Duration::from_secs(30),
            delivery_timeout: Duration::from_secs(120),
            retries: u32::MAX,
            max_block: Duration::from_secs(60),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(300),
            metadata_max_idle: Duration::from_secs(300),
            ignore_keys: false,
            round_robin: false,
            adaptive: true,
            availability_timeout: Duration::ZERO,
            seed: 0,
        }
    }
}

impl Settings {
    /// Whether the partition of a record is the one whose turn it is: nobody chose one, and its key does not.
    #[inline]
    pub(super) fn takes_turns(&self, record: &Outgoing<'_>) -> bool {
        record.partition.is_none() && (record.key.is_none() || self.ignore_keys)
    }

    /// Bytes after which it is another partition's turn; zero is after each record.
    pub(super) fn turn_bytes(&self) -> usize {
        if self.round_robin { 0 } else { self.batch_bytes.saturating_sub(HEADER_LEN) }
    }
}

/// A producer's configuration, parsed.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// For the core.
    pub settings: Settings,
    /// For connections.
    pub net: NetSettings,
    /// What users should know of what they gave.
    pub remarks: Remarks,
}

impl ProducerConfig {
    /// Reads Java's property names. Every problem is reported at once.
    pub fn parse<'a>(properties: impl Into<Given<'a>>) -> Result<Self, ProducerError> {
        let mut keys = Keys::new(Client::Producer, properties);
        let defaults = Settings::default();
        let bytes = |n: i32| n.unsigned_abs() as usize;
        let acks = keys.choice("acks", -1, &[("all", -1), ("-1", -1), ("1", 1), ("0", 0)]);
        let wants_idempotence = keys.text("enable.idempotence").is_some();
        let retries = keys.number("retries", i32::MAX, 0);
        let max_in_flight = bytes(keys.number("max.in.flight.requests.per.connection", 5, 1));
        // As Java's `postProcessAndValidateIdempotenceConfigs`: two settings switch idempotence off unless it is asked for, the third is refused.
        let idempotent = keys.flag("enable.idempotence", true);
        let may_be_idempotent = acks == -1 && retries > 0;
        if idempotent && wants_idempotence {
            if retries == 0 {
                keys.problem("Must set retries to non-zero when using the idempotent producer.".to_owned());
            }
            if acks != -1 {
                keys.problem("Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence.".to_owned());
            }
        }
        if idempotent && max_in_flight > MAX_IN_FLIGHT {
            keys.problem(format!(
                "To use the idempotent producer, max.in.flight.requests.per.connection must be set to at most {MAX_IN_FLIGHT}. Current \
                 value is {max_in_flight}."
            ));
        }
        let idempotent = idempotent && may_be_idempotent;
        let compression = keys.choice(
            "compression.type",
            Compression::None,
            &[
                ("none", Compression::None),
                ("gzip", Compression::Gzip),
                ("snappy", Compression::Snappy),
                ("lz4", Compression::Lz4),
                ("zstd", Compression::Zstd),
            ],
        );
        let levels = [(Compression::Gzip, "compression.gzip.level"), (Compression::Zstd, "compression.zstd.level")];
        let mut compression_level = None;
        for (of, key) in levels {
            if let Some(text) = keys.text(key).filter(|_| of == compression) {
                match text.parse() {
                    Ok(level) => compression_level = Some(level),
                    Err(_) => keys.refuse(key, text, "Not a number of type INT"),
                }
            }
        }
        let transactional_id = keys.text("transactional.id").map(ToOwned::to_owned);
        if transactional_id.is_some() && !idempotent {
            keys.problem("Cannot set a transactional.id without also enabling idempotence.".to_owned());
        }
        let linger = keys.millis("linger.ms", defaults.linger);
        let request_timeout = keys.millis("request.timeout.ms", defaults.request_timeout);
        let mut delivery_timeout = keys.millis("delivery.timeout.ms", defaults.delivery_timeout);
        if delivery_timeout < linger.saturating_add(request_timeout) {
            if keys.text("delivery.timeout.ms").is_some() {
                let why = "delivery.timeout.ms should be equal to or larger than linger.ms + request.timeout.ms";
                keys.problem(why.to_owned());
            }
            delivery_timeout = linger.saturating_add(request_timeout);
        }
        let batch_bytes = bytes(keys.number("batch.size", defaults.batch_bytes as i32, 0));
        let round_robin = match keys.text("partitioner.class") {
            None => false,
            Some("org.apache.kafka.clients.producer.RoundRobinPartitioner") => true,
            Some(class) => {
                keys.refuse("partitioner.class", class, "only Java's RoundRobinPartitioner is known");
                false
            }
        };
        let mut settings = Settings {
            transactional_id,
            transaction_timeout: keys.millis("transaction.timeout.ms", defaults.transaction_timeout),
            acks,
            idempotent,
            batch_bytes,
            backlog_batch_bytes: if batch_bytes < DEFAULT_BATCH_BYTES { 0 } else { BACKLOG_BATCH_BYTES },
            linger,
            buffer_bytes: usize::try_from(keys.number("buffer.memory", defaults.buffer_bytes as i64, 0))
                .unwrap_or(usize::MAX),
            compression,
            compression_level,
            max_request_bytes: bytes(keys.number("max.request.size", defaults.max_request_bytes as i32, 0)),
            max_in_flight: if idempotent { max_in_flight } else { 1 },
            request_timeout,
            delivery_timeout,
            retries: u32::try_from(retries).unwrap_or_default(),
            max_block: keys.millis("max.block.ms", defaults.max_block),
            retry_backoff: keys.millis("retry.backoff.ms", defaults.retry_backoff),
            retry_backoff_max: keys.millis("retry.backoff.max.ms", defaults.retry_backoff_max),
            metadata_max_age: keys.millis("metadata.max.age.ms", defaults.metadata_max_age),
            metadata_max_idle: keys.millis("metadata.max.idle.ms", defaults.metadata_max_idle),
            ignore_keys: keys.flag("partitioner.ignore.keys", false) || round_robin,
            round_robin,
            adaptive: keys.flag("partitioner.adaptive.partitioning.enable", defaults.adaptive),
            availability_timeout: keys.millis("partitioner.availability.timeout.ms", defaults.availability_timeout),
            seed: defaults.seed,
            metrics: MetricsSettings::default(),
        };
        let (net, remarks) = keys.finish().map_err(ProducerError::Config)?;
        settings.metrics = net.metrics;
        Ok(Self { settings, net, remarks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<ProducerConfig, ProducerError> {
        let with_default = [("bootstrap.servers", "h:1")];
        let all = with_default.iter().chain(pairs);
        ProducerConfig::parse(&all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn javas_names_are_read() {
        let config = parse(&[
            ("acks", "1"),
            ("batch.size", "100"),
            ("max.block.ms", "9223372036854775807"),
            ("compression.type", "zstd"),
            ("compression.zstd.level", "3"),
            ("producer.typo", "x"),
        ])
        .unwrap();
        let settings = config.settings;
        assert_eq!((settings.acks, settings.idempotent, settings.max_in_flight), (1, false, 1));
        assert_eq!((settings.compression, settings.compression_level), (Compression::Zstd, Some(3)));
        assert_eq!(config.remarks.unknown, ["producer.typo"]);
        assert!(parse(&[]).unwrap().settings.idempotent);
    }

    #[test]
    fn settings_that_do_not_go_together_are_told_in_javas_words() {
        // As Apache Kafka 4.3.1 answers.
        let acks =
            "Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence.";
        let retries = "Must set retries to non-zero when using the idempotent producer.";
        let in_flight = "To use the idempotent producer, max.in.flight.requests.per.connection must be set to at most 5. Current value is 6.";
        let transactional = "Cannot set a transactional.id without also enabling idempotence.";
        let delivery = "delivery.timeout.ms should be equal to or larger than linger.ms + request.timeout.ms";
        let of_connection = "max.in.flight.requests.per.connection";
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("acks", "1"), ("enable.idempotence", "true")], acks),
            (&[("acks", "0"), ("transactional.id", "t")], transactional),
            (&[("retries", "0"), ("enable.idempotence", "true")], retries),
            (&[("retries", "0"), ("transactional.id", "t")], transactional),
            (&[("enable.idempotence", "false"), ("transactional.id", "t")], transactional),
            (&[(of_connection, "6")], in_flight),
            (&[(of_connection, "6"), ("enable.idempotence", "true")], in_flight),
            (&[(of_connection, "6"), ("acks", "1")], in_flight),
            (&[("delivery.timeout.ms", "1000")], delivery),
        ];
        for (settings, expected) in cases {
            assert_eq!(parse(settings).unwrap_err().to_string(), *expected, "{settings:?}");
        }
        for settings in [[("retries", "0")], [("acks", "0")], [("enable.idempotence", "false")]] {
            assert!(!parse(&settings).unwrap().settings.idempotent, "{settings:?}");
        }
        let config = parse(&[("transactional.id", "t"), ("transaction.timeout.ms", "7")]).unwrap().settings;
        assert_eq!((config.transactional_id.as_deref(), config.transaction_timeout.as_millis()), (Some("t"), 7));
        assert_eq!(parse(&[("linger.ms", "200000")]).unwrap().settings.delivery_timeout.as_millis(), 230_000);
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let error = parse(&[
            ("acks", "1"),
            ("retries", "0"),
            ("enable.idempotence", "true"),
            ("linger.ms", "x"),
            ("delivery.timeout.ms", "1000"),
            ("transactional.id", "t"),
            ("partitioner.class", "com.example.Mine"),
        ]);
        expect_test::expect![[r#"
            Invalid value x for configuration linger.ms: Not a number of type LONG
            Must set retries to non-zero when using the idempotent producer.
            Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence.
            Cannot set a transactional.id without also enabling idempotence.
            delivery.timeout.ms should be equal to or larger than linger.ms + request.timeout.ms
            Invalid value com.example.Mine for configuration partitioner.class: only Java's RoundRobinPartitioner is known"#]]
        .assert_eq(&error.unwrap_err().to_string());
    }
}
