//! Properties of a consumer: Java's `ConsumerConfig`.

use super::table::*;

/// Ascending by name.
pub(super) const KEYS: &[Property] = table! {
    "allow.auto.create.topics" Boolean "true" Medium Any => Supported "";
    "auto.commit.interval.ms" Int "5000" Low AtLeast(0) => Ignored "the worker commits, every `offset.flush.interval.ms`";
    "auto.offset.reset" Text "latest" Medium OffsetReset => Supported "";
    "bootstrap.servers" List REQUIRED High Filled => Supported "";
    "check.crcs" Boolean "true" Low Any => Supported "";
    "client.id" Text "" Low Any => Supported "";
    "client.rack" Text "" Low Any => Supported "";
    "connections.max.idle.ms" Long "540000" Medium Any => Supported "";
    "default.api.timeout.ms" Int "60000" Medium AtLeast(0) => Supported "";
    "enable.auto.commit" Boolean "true" Medium Any => Ignored "the worker commits, whatever is said here";
    "enable.metrics.push" Boolean "true" Low Any => Ignored "client telemetry (KIP-714) is not sent";
    "exclude.internal.topics" Boolean "true" Medium Any => Supported "";
    "fetch.max.bytes" Int "52428800" Medium AtLeast(0) => Supported "";
    "fetch.max.wait.ms" Int "500" Low AtLeast(0) => Supported "";
    "fetch.min.bytes" Int "1" High AtLeast(0) => Supported "";
    "group.id" Text NULL High Any => Supported "";
    "group.instance.id" Text NULL Medium NonEmpty => Supported "";
    "group.protocol" Text "classic" High OneOfAnyCase(&["CONSUMER", "CLASSIC"]) => Supported "";
    "group.remote.assignor" Text NULL Medium Any => Supported "with `group.protocol=consumer`";
    "heartbeat.interval.ms" Int "3000" High Any => Supported "";
    "interceptor.classes" List "" Low Distinct => Refused "interceptors are Java classes and may change records; those that only observe (names ending in `MonitoringProducerInterceptor`, `MonitoringConsumerInterceptor`, `TracingProducerInterceptor`, `TracingConsumerInterceptor`) are left out with a warning";
    "internal.throw.on.fetch.stable.offset.unsupported" Boolean "false" Low Any => Ignored "internal to Java";
    "isolation.level" Text "read_uncommitted" Medium OneOf(&["read_committed", "read_uncommitted"]) => Supported "";
    "key.deserializer" Class REQUIRED High Any => Ignored "records are bytes here: converters make them, so there is nothing to (de)serialise";
    "max.partition.fetch.bytes" Int "1048576" High AtLeast(0) => Supported "";
    "max.poll.interval.ms" Int "300000" Medium AtLeast(1) => Supported "";
    "max.poll.records" Int "500" Medium AtLeast(1) => Supported "";
    "metadata.max.age.ms" Long "300000" Low AtLeast(0) => Supported "";
    "partition.assignment.strategy" List "org.apache.kafka.clients.consumer.RangeAssignor,org.apache.kafka.clients.consumer.CooperativeStickyAssignor" Medium Distinct => Supported "the four assignors of Apache Kafka; one of your own is a Java class";
    "receive.buffer.bytes" Int "65536" Medium AtLeast(-1) => Supported "without it the system sizes the buffer, which then grows as needed";
    "session.timeout.ms" Int "45000" High Any => Supported "";
    "share.acknowledgement.mode" Text "implicit" Medium Either("implicit", "explicit") => Ignored "of share consumers, which Connect does not use";
    "share.acquire.mode" Text "BATCH_OPTIMIZED" Medium Either("batch_optimized", "record_limit") => Ignored "of share consumers, which Connect does not use";
    "value.deserializer" Class REQUIRED High Any => Ignored "records are bytes here: converters make them, so there is nothing to (de)serialise";
};
