//! Properties of an admin client: Java's `AdminClientConfig`.

use super::table::*;

/// Ascending by name.
pub(super) const KEYS: &[Property] = table! {
    "bootstrap.controllers" List "" High Distinct => Refused "this client asks brokers";
    "bootstrap.servers" List "" High Distinct => Supported "";
    "client.id" Text "" Medium Any => Supported "";
    "connections.max.idle.ms" Long "300000" Medium Any => Supported "";
    "default.api.timeout.ms" Int "60000" Medium AtLeast(0) => Supported "";
    "enable.metrics.push" Boolean "false" Low Any => Ignored "client telemetry (KIP-714) is not sent";
    "metadata.max.age.ms" Long "300000" Low AtLeast(0) => Ignored "what is asked is asked anew";
    "receive.buffer.bytes" Int "65536" Medium AtLeast(-1) => Supported "without it the system sizes the buffer, which then grows as needed";
    "retries" Int "2147483647" Low Between(0, 2_147_483_647) => Ignored "tries end with `default.api.timeout.ms`";
};
