//! Properties of a producer: Java's `ProducerConfig`.

use super::table::*;

/// Ascending by name.
pub(super) const KEYS: &[Property] = table! {
    "acks" Text "all" Low OneOf(&["all", "-1", "0", "1"]) => Supported "";
    "batch.size" Int "16384" Medium AtLeast(0) => Supported "";
    "bootstrap.servers" List REQUIRED High Filled => Supported "";
    "buffer.memory" Long "33554432" High AtLeast(0) => Supported "";
    "client.id" Text "" Medium Any => Supported "";
    "compression.gzip.level" Int "-1" Medium GzipLevel => Supported "";
    "compression.lz4.level" Int "9" Medium Between(1, 17) => Ignored "the encoder of this program has one level, a fast one";
    "compression.type" Text "none" High OneOf(&["none", "gzip", "snappy", "lz4", "zstd"]) => Supported "";
    "compression.zstd.level" Int "3" Medium Between(-131_072, 22) => Supported "";
    "connections.max.idle.ms" Long "540000" Medium Any => Supported "";
    "delivery.timeout.ms" Int "120000" Medium AtLeast(0) => Supported "";
    "enable.idempotence" Boolean "true" Low Any => Supported "";
    "enable.metrics.push" Boolean "true" Low Any => Ignored "client telemetry (KIP-714) is not sent";
    "interceptor.classes" List "" Low Distinct => Refused "interceptors are Java classes and may change records; those that only observe (names ending in `MonitoringProducerInterceptor`, `MonitoringConsumerInterceptor`, `TracingProducerInterceptor`, `TracingConsumerInterceptor`) are left out with a warning";
    "key.serializer" Class REQUIRED High Any => Ignored "records are bytes here: converters make them, so there is nothing to (de)serialise";
    "linger.ms" Long "5" Medium AtLeast(0) => Supported "";
    "max.block.ms" Long "60000" Medium AtLeast(0) => Supported "for what is not known of a topic and for transactions; who finds `buffer.memory` full waits until there is room, as Connect does in Java by trying again";
    "max.in.flight.requests.per.connection" Int "5" Low AtLeast(1) => Supported "per partition; at most 5, and 1 without idempotence, so that order is kept";
    "max.request.size" Int "1048576" Medium AtLeast(0) => Supported "";
    "metadata.max.age.ms" Long "300000" Low AtLeast(0) => Supported "";
    "metadata.max.idle.ms" Long "300000" Low AtLeast(5000) => Supported "";
    "partitioner.adaptive.partitioning.enable" Boolean "true" Low Any => Supported "";
    "partitioner.availability.timeout.ms" Long "0" Low AtLeast(0) => Supported "";
    "partitioner.class" Class NULL Medium Any => Supported "none, or `org.apache.kafka.clients.producer.RoundRobinPartitioner`; classes of your own are refused";
    "partitioner.ignore.keys" Boolean "false" Medium Any => Supported "";
    "receive.buffer.bytes" Int "32768" Medium AtLeast(-1) => Supported "without it the system sizes the buffer, which then grows as needed";
    "retries" Int "2147483647" High Between(0, 2_147_483_647) => Supported "";
    "transaction.timeout.ms" Int "60000" Low Any => Supported "";
    "transaction.two.phase.commit.enable" Boolean "false" Low Any => Refused "transactions of others (KIP-939) are not taken part in";
    "transactional.id" Text NULL Low NonEmpty => Supported "";
    "value.serializer" Class REQUIRED High Any => Ignored "records are bytes here: converters make them, so there is nothing to (de)serialise";
};
