//! The settings of the workers that the recorded cases speak to.

/// Lines of `worker.properties` that every profile has. Offsets are committed more often than in the recording, because many cases wait for them.
pub const COMMON: &str = "key.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=false
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
offset.flush.interval.ms=100
config.providers=file
config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider
";

/// What a profile adds, by its name.
pub const PROFILES: [(&str, &str); 8] = [
    ("default", ""),
    ("policy-none", "connector.client.config.override.policy=None"),
    ("policy-principal", "connector.client.config.override.policy=Principal"),
    ("topic-reset-off", "topic.tracking.allow.reset=false"),
    ("admin-off", "admin.listeners="),
    ("admin-separate", "admin.listeners=${ADMIN_URL}"),
    ("cors", "access.control.allow.origin=http://bar.com\naccess.control.allow.methods=PUT"),
    (
        "response-headers",
        "response.http.headers.config=add X-XSS-Protection: 1; mode=block, \"add Cache-Control: no-cache, no-store, must-revalidate\"",
    ),
];
