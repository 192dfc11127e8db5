//! Properties that all clients have alike, but for those of TLS and SASL.

use super::table::*;

/// Ascending by name.
pub(super) const KEYS: &[Property] = table! {
    "client.dns.lookup" Text "use_all_dns_ips" Medium OneOf(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"]) => Supported "";
    "config.providers" List "" Low Distinct => Ignored "references are resolved by the worker before a client sees them";
    "metadata.recovery.rebootstrap.trigger.ms" Long "300000" Low AtLeast(0) => Ignored "addresses of `bootstrap.servers` are tried whenever no known broker answers";
    "metadata.recovery.strategy" Text "rebootstrap" Low OneOfAnyCase(&["REBOOTSTRAP", "NONE"]) => Supported "";
    "metric.reporters" List "org.apache.kafka.common.metrics.JmxReporter" Low Distinct => Ignored "reporters are Java classes, and no Java runs here";
    "metrics.num.samples" Int "2" Low AtLeast(1) => Supported "";
    "metrics.recording.level" Text "INFO" Low OneOf(&["INFO", "DEBUG", "TRACE"]) => Ignored "all figures of clients are of level `INFO`";
    "metrics.sample.window.ms" Long "30000" Low AtLeast(0) => Supported "";
    "reconnect.backoff.max.ms" Long "1000" Low AtLeast(0) => Supported "";
    "reconnect.backoff.ms" Long "50" Low AtLeast(0) => Supported "";
    "request.timeout.ms" Int "30000" Medium AtLeast(0) => Supported "";
    "retry.backoff.max.ms" Long "1000" Low AtLeast(0) => Supported "";
    "retry.backoff.ms" Long "100" Low AtLeast(0) => Supported "";
    "send.buffer.bytes" Int "131072" Medium AtLeast(-1) => Supported "without it the system sizes the buffer, which then grows as needed";
    "socket.connection.setup.timeout.max.ms" Long "30000" Medium Any => Supported "";
    "socket.connection.setup.timeout.ms" Long "10000" Medium Any => Supported "";
};
