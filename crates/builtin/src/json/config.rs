//! The settings of the JSON converter.

use kurier_api::ConnectError;
use kurier_api::config::Props;
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

fn invalid(key: &str, value: &str, why: &str) -> ConnectError {
    ConnectError::config(format!("Invalid value {value} for configuration {key}: {why}"))
}

fn boolean(props: &Props, key: &str, default: bool) -> Result<bool, ConnectError> {
    let Some(text) = props.get(key) else { return Ok(default) };
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(key, text, "Expected value to be either true or false")),
    }
}

impl JsonConverterConfig {
    /// The settings of a converter.
    ///
    /// # Errors
    /// `ConfigException` for a setting that it cannot take.
    pub fn parse(props: &Props, _role: ConverterRole) -> Result<Self, ConnectError> {
        let schemas_enable = boolean(props, "schemas.enable", true)?;
        let schemas_cache_size = match props.get("schemas.cache.size") {
            Some(text) => text
                .trim()
                .parse::<i32>()
                .map_err(|_| invalid("schemas.cache.size", text, "Not a number of type INT"))?
                .max(0) as usize,
            None => 1000,
        };
        let decimal = props.get("decimal.format").map_or("BASE64", String::as_str);
        if !["NUMERIC", "BASE64"].iter().any(|known| known.eq_ignore_ascii_case(decimal)) {
            let why = "String must be one of (case insensitive): NUMERIC, BASE64";
            return Err(invalid("decimal.format", decimal, why));
        }
        Ok(Self {
            schemas_enable,
            schemas_cache_size,
            decimal_as_number: decimal.eq_ignore_ascii_case("NUMERIC"),
            replace_null_with_default: boolean(props, "replace.null.with.default", true)?,
            schema_content: props.get("schema.content").cloned(),
        })
    }
}
