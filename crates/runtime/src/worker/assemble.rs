//! Converters, transforms and error handling of a task, from its connector's settings.
//!
//! A converter is the connector's with the connector's settings, or the worker's with the worker's; the two levels are never mixed. Only what validation
//! lets pass is read here, so messages are those of Java's task start.

use crate::pipeline::stages::{Converters, Guard, TransformStage, Transforms};
use crate::pipeline::tolerance::{Tolerance, ToleranceLevel};
use crate::registry::Registry;
use kurier_api::ConnectError;
use kurier_api::config::Props;
use kurier_api::plugin::{Converter, ConverterRole, HeaderConverter, PredicateType};
use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

const SIMPLE_HEADER_CONVERTER: &str = "org.apache.kafka.connect.storage.SimpleHeaderConverter";

/// The converters of a task.
///
/// # Errors
/// `ConfigException` for a class that is not there; and those of the converters.
pub fn converters(registry: &Registry, connector: &Props, worker: &Props) -> Result<Converters, ConnectError> {
    Ok(Converters {
        key: converter(registry, connector, worker, "key.converter", ConverterRole::Key)?,
        value: converter(registry, connector, worker, "value.converter", ConverterRole::Value)?,
        header: header_converter(registry, connector, worker)?,
    })
}

fn converter(
    registry: &Registry,
    connector: &Props,
    worker: &Props,
    key: &str,
    role: ConverterRole,
) -> Result<(Cow<'static, str>, Box<dyn Converter>), ConnectError> {
    let (level, class) =
        [connector, worker].into_iter().find_map(|level| Some((level, level.get(key)?))).ok_or_else(|| missing(key))?;
    let plugin = registry.converter(class.trim()).ok_or_else(|| no_class(key, class))?;
    Ok((plugin.descriptor().class.into(), plugin.create(&below(level, key), role)?))
}

fn header_converter(
    registry: &Registry,
    connector: &Props,
    worker: &Props,
) -> Result<(Cow<'static, str>, Box<dyn HeaderConverter>), ConnectError> {
    let key = "header.converter";
    let (level, class) = [connector, worker]
        .into_iter()
        .find_map(|level| Some((level, level.get(key)?.as_str())))
        .unwrap_or((worker, SIMPLE_HEADER_CONVERTER));
    let plugin = registry.header_converter(class.trim()).ok_or_else(|| no_class(key, class))?;
    Ok((plugin.descriptor().class.into(), plugin.create(&below(level, key))?))
}

/// The transforms of a connector with their predicates, in the order of `transforms`.
///
/// # Errors
/// `ConfigException` for a class or an alias that is not there; and those of the plugins.
pub fn transforms(registry: &Registry, connector: &Props) -> Result<Transforms, ConnectError> {
    let mut stages = Vec::new();
    for alias in list(connector.get("transforms")) {
        let prefix = format!("transforms.{alias}");
        let type_key = format!("{prefix}.type");
        let class = connector.get(&type_key).ok_or_else(|| missing(&type_key))?;
        let plugin = registry.transform(class.trim()).ok_or_else(|| no_class(&type_key, class))?;
        let mut props = below(connector, &prefix);
        props.remove("type");
        let negate_key = format!("{prefix}.negate");
        let negate = props.remove("negate").map(|text| boolean(&negate_key, &text)).transpose()?;
        let guard = match props.remove("predicate") {
            Some(name) => {
                Some(Guard { predicate: predicate(registry, connector, &name)?, negate: negate.unwrap_or(false) })
            }
            None if negate.is_some() => {
                return Err(ConnectError::config(format!(
                    "Config '{negate_key}' was provided but there is no config '{prefix}.predicate' defining a predicate to be negated."
                )));
            }
            None => None,
        };
        stages.push(TransformStage {
            class: plugin.descriptor().class.into(),
            transform: plugin.create(&props)?,
            guard,
        });
    }
    Ok(Transforms::new(stages))
}

fn predicate(
    registry: &Registry,
    connector: &Props,
    name: &str,
) -> Result<Box<dyn kurier_api::plugin::Predicate>, ConnectError> {
    let prefix = format!("predicates.{}", name.trim());
    let type_key = format!("{prefix}.type");
    let class = connector.get(&type_key).ok_or_else(|| missing(&type_key))?;
    let plugin: &Arc<dyn PredicateType> = registry.predicate(class.trim()).ok_or_else(|| no_class(&type_key, class))?;
    let mut props = below(connector, &prefix);
    props.remove("type");
    plugin.create(&props)
}

/// The settings `errors.*` of a connector.
///
/// # Errors
/// `ConfigException` for a value that cannot be read.
pub fn tolerance(connector: &Props) -> Result<Tolerance, ConnectError> {
    let default = Tolerance::default();
    let level = match connector.get("errors.tolerance").map(|text| text.trim()) {
        None | Some("none") => ToleranceLevel::None,
        Some("all") => ToleranceLevel::All,
        Some(other) => return Err(invalid("errors.tolerance", other, "String must be one of: none, all")),
    };
    let retry_timeout = number(connector, "errors.retry.timeout", 0i64)?;
    let retry_delay_max = number(connector, "errors.retry.delay.max.ms", default.retry_delay_max.as_millis() as i64)?;
    Ok(Tolerance {
        level,
        retry_timeout: u64::try_from(retry_timeout).ok().map(Duration::from_millis),
        retry_delay_max: Duration::from_millis(u64::try_from(retry_delay_max).unwrap_or(0)),
        log: flag(connector, "errors.log.enable", false)?,
        log_messages: flag(connector, "errors.log.include.messages", false)?,
    })
}

/// A number among settings.
///
/// # Errors
/// `ConfigException` if it is none.
pub fn number<N: FromStr>(props: &Props, key: &str, default: N) -> Result<N, ConnectError> {
    match props.get(key) {
        Some(text) => text.trim().parse().map_err(|_| invalid(key, text, "Not a number of its type")),
        None => Ok(default),
    }
}

/// A yes or no among settings.
///
/// # Errors
/// `ConfigException` if it is neither.
pub fn flag(props: &Props, key: &str, default: bool) -> Result<bool, ConnectError> {
    props.get(key).map_or(Ok(default), |text| boolean(key, text))
}

/// The items of a list among settings.
pub fn list(text: Option<&String>) -> impl Iterator<Item = &str> {
    text.map_or("", String::as_str).split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn boolean(key: &str, text: &str) -> Result<bool, ConnectError> {
    match text.trim() {
        yes if yes.eq_ignore_ascii_case("true") => Ok(true),
        no if no.eq_ignore_ascii_case("false") => Ok(false),
        other => Err(invalid(key, other, "Expected value to be either true or false")),
    }
}

/// The settings below `prefix.`, without it.
fn below(props: &Props, prefix: &str) -> Props {
    let prefix = format!("{prefix}.");
    props
        .range(prefix.clone()..)
        .map_while(|(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), value.clone())))
        .collect()
}

fn missing(key: &str) -> ConnectError {
    ConnectError::config(format!("Missing required configuration \"{key}\" which has no default value."))
}

fn no_class(key: &str, class: &str) -> ConnectError {
    invalid(key, class, &format!("Class {class} could not be found."))
}

fn invalid(key: &str, value: &str, why: &str) -> ConnectError {
    ConnectError::config(format!("Invalid value {value} for configuration {key}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn props(pairs: &[(&str, &str)]) -> Props {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn error_handling_is_read_as_java_reads_it() {
        assert_eq!(tolerance(&Props::new()).unwrap(), Tolerance::default());
        let all = tolerance(&props(&[
            ("errors.tolerance", "all"),
            ("errors.retry.timeout", "-1"),
            ("errors.retry.delay.max.ms", "7"),
            ("errors.log.enable", "TRUE"),
        ]))
        .unwrap();
        let expected = Tolerance {
            level: ToleranceLevel::All,
            retry_timeout: None,
            retry_delay_max: Duration::from_millis(7),
            log: true,
            log_messages: false,
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let registry = Registry::new();
        let cases = [
            (
                converters(&registry, &Props::new(), &Props::new()).err(),
                "Missing required configuration \"key.converter\" which has no default value.",
            ),
            (
                converters(&registry, &props(&[("key.converter", "x.Y")]), &Props::new()).err(),
                "Invalid value x.Y for configuration key.converter: Class x.Y could not be found.",
            ),
            (
                transforms(&registry, &props(&[("transforms", "a"), ("transforms.a.type", "x.Y")])).err(),
                "Invalid value x.Y for configuration transforms.a.type: Class x.Y could not be found.",
            ),
            (
                tolerance(&props(&[("errors.tolerance", "some")])).err(),
                "Invalid value some for configuration errors.tolerance: String must be one of: none, all",
            ),
        ];
        for (error, message) in cases {
            assert_eq!(error.as_ref().and_then(ConnectError::message), Some(message));
        }
    }
}
