//! What sinks read: Java's `SinkConnectorConfig.validate` and `parseTopicsList`. The settings themselves are declared in [`super::connector`].

use kurier_api::ConnectError;
use kurier_api::config::{AnyClass, ConfigValue, Props, Setting, Type, invalid, parse_type};
use kurier_api::regex::JavaRegex;
use std::collections::BTreeSet;

const TOPICS: &str = "topics";
const REGEX: &str = "topics.regex";
const DEAD_LETTERS: &str = "errors.deadletterqueue.topic.name";

/// The topics that a sink names, each once.
///
/// # Errors
/// Never of a text: every text is a list.
pub fn topics(props: &Props) -> Result<Vec<String>, ConnectError> {
    let Setting::List(items) = parse_type(TOPICS, &given(props, TOPICS), Type::List, &AnyClass)? else {
        return Ok(Vec::new());
    };
    let mut seen = BTreeSet::new();
    let new = |topic: &String| !topic.is_empty() && seen.insert(topic.clone());
    Ok(items.iter().map(Setting::to_string).filter(new).collect())
}

/// What is wrong with the topics of a sink, by setting: only settings with errors, with their values as they were written.
///
/// # Errors
/// A regular expression that cannot be read, where it would have to be matched.
pub fn problems(props: &Props) -> Result<Vec<ConfigValue>, ConnectError> {
    let text = |key: &str| props.get(key).map(String::as_str).filter(|text| !text.trim().is_empty());
    let (list, regex) = (text(TOPICS), text(REGEX));
    let mut values: Vec<ConfigValue> = Vec::new();
    let mut error = |key: &str, message: String| match values.iter_mut().find(|value| value.name == key) {
        Some(value) => value.errors.push(message),
        None => {
            let mut value = ConfigValue::new(key);
            value.setting = given(props, key);
            value.errors.push(message);
            values.push(value);
        }
    };
    let both = match (list, regex) {
        (Some(_), Some(_)) => Some("topics and topics.regex are mutually exclusive options, but both are set."),
        (None, None) => Some("Must configure one of topics or topics.regex"),
        _ => None,
    };
    if let Some(message) = both {
        error(TOPICS, message.to_owned());
        error(REGEX, message.to_owned());
    }
    let Some(dead_letters) = text(DEAD_LETTERS).map(str::trim) else { return Ok(values) };
    let topics = topics(props)?;
    if topics.iter().any(|topic| topic == dead_letters) {
        let message = format!(
            "The DLQ topic '{dead_letters}' may not be included in the list of topics ('topics=[{}]') consumed by the connector",
            topics.join(", ")
        );
        error(TOPICS, message);
    }
    if let Some(regex) = regex {
        let pattern = JavaRegex::new(regex)
            .map_err(|error| ConnectError::of_class("java.util.regex.PatternSyntaxException", error))?;
        // A pattern that takes too long to match does not match.
        if pattern.matches(dead_letters).unwrap_or(false) {
            let message = format!(
                "The DLQ topic '{dead_letters}' may not be matched by the regex for the topics ('topics.regex={regex}') \
                 consumed by the connector"
            );
            error(REGEX, message);
        }
    }
    Ok(values)
}

/// Takes a config whose topics are right.
///
/// # Errors
/// The first of the [`problems`].
pub fn ensure_valid(props: &Props) -> Result<(), ConnectError> {
    match problems(props)?.first() {
        Some(value) => Err(invalid(&value.name, &value.setting, value.errors.first().map_or("", String::as_str))),
        None => Ok(()),
    }
}

fn given(props: &Props, key: &str) -> Setting {
    props.get(key).map_or(Setting::Null, |text| Setting::from(text.as_str()))
}
