//! The settings of the JSON converter.

use crate::converters;
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Importance, Key, Props, Type, Validator, Width};
use kurier_api::plugin::ConverterRole;

/// The settings of a [`super::JsonConverter`].
#[derive(Clone, Debug)]
pub struct JsonConverterConfig {
    /// Whether values stand in an envelope with their schema.
    pub schemas_enable: bool,
    /// How many schemas are known again.
    pub schemas_cache_size: usize,
    /// Decimals as numbers rather than as Base64.
    pub decimal_as_number: bool,
    /// Whether a schema's default stands for null.
    pub replace_null_with_default: bool,
    /// The schema, as JSON, of every message read; none if messages bring their own.
    pub schema_content: Option<String>,
}

impl Default for JsonConverterConfig {
    fn default() -> Self {
        Self {
            schemas_enable: true,
            schemas_cache_size: 1000,
            decimal_as_number: false,
            replace_null_with_default: true,
            schema_content: None,
        }
    }
}

/// What it takes. Java's `JsonConverterConfig`.
pub(crate) fn definition() -> ConfigDef {
    let schemas = |key: Key, order| key.importance(Importance::High).group("Schemas", order).width(Width::Medium);
    let bytes = |key: Key, order| key.importance(Importance::Low).group("Serialization", order).width(Width::Medium);
    let enable = Key::new("schemas.enable", Type::Boolean).default("true").display_name("Enable Schemas");
    let cache = Key::new("schemas.cache.size", Type::Int).default("1000").display_name("Schema Cache Size");
    let content = Key::new("schema.content", Type::String).default_null().display_name("Schema Content");
    let decimal = Key::new("decimal.format", Type::String).default("BASE64").display_name("Decimal Format");
    let decimal = decimal.validator(Validator::one_of_ignoring_case(["NUMERIC", "BASE64"]));
    let replace = Key::new("replace.null.with.default", Type::Boolean).default("true");
    let replace = replace.display_name("Replace null with default");
    converters::common()
        .define(schemas(enable, 0).doc("Whether each value stands in an envelope with its schema."))
        .define(schemas(cache, 1).doc("How many schemas are known again."))
        .define(schemas(content, 2).doc("The schema, as JSON, of all messages; they then bring none of their own."))
        .define(bytes(decimal, 0).doc("How decimals are written: as numbers or as Base64; both are read."))
        .define(bytes(replace, 1).doc("Whether the default of a field stands for its null."))
}

impl JsonConverterConfig {
    /// The settings of a converter.
    ///
    /// # Errors
    /// `ConfigException` for a setting that it cannot take.
    pub fn parse(props: &Props, role: ConverterRole) -> Result<Self, ConnectError> {
        let config = converters::parse(&definition(), props, role)?;
        let decimal = config.get_str("decimal.format").unwrap_or_default();
        Ok(Self {
            schemas_enable: config.get_bool("schemas.enable"),
            schemas_cache_size: usize::try_from(config.get_i32("schemas.cache.size")).unwrap_or(0),
            decimal_as_number: decimal.eq_ignore_ascii_case("NUMERIC"),
            replace_null_with_default: config.get_bool("replace.null.with.default"),
            schema_content: config.get_str("schema.content").map(str::to_owned),
        })
    }
}
