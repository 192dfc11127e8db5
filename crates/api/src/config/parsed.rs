//! Settings after parsing, by name and type.

use super::Props;
use super::key::Parsed;
use super::setting::{Password, Setting};
use crate::error::ConnectError;
use std::fmt;

/// The settings of a plugin after parsing. Java's `AbstractConfig`.
///
/// A getter of another type than the setting was declared with is a mistake of the plugin; it answers as if the setting were null or zero.
#[derive(Clone)]
pub struct ParsedConfig {
    values: Parsed,
    originals: Props,
}

/// Names only: originals may hold secrets that no declaration marks as such.
impl fmt::Debug for ParsedConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParsedConfig").field("keys", &self.values.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl ParsedConfig {
    pub(super) fn new(values: Parsed, originals: Props) -> Self {
        Self { values, originals }
    }

    /// Any setting.
    ///
    /// # Errors
    /// `Unknown configuration 'x'`.
    pub fn get(&self, key: &str) -> Result<&Setting, ConnectError> {
        self.values.get(key).ok_or_else(|| ConnectError::config(format!("Unknown configuration '{key}'")))
    }

    /// All settings.
    pub fn values(&self) -> &Parsed {
        &self.values
    }

    /// The texts that were given.
    pub fn originals(&self) -> &Props {
        &self.originals
    }

    /// Given texts whose keys begin with a prefix, without it.
    pub fn originals_with_prefix(&self, prefix: &str) -> Props {
        let inner = |(key, value): (&String, &String)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone()));
        self.originals.iter().filter_map(inner).collect()
    }

    /// Given keys that nothing declares.
    pub fn unknown_keys(&self) -> impl Iterator<Item = &str> {
        self.originals.keys().map(String::as_str).filter(|key| !self.values.contains_key(*key))
    }

    /// A text or a class name; none if it is null.
    pub fn get_str(&self, key: &str) -> Option<&str> {
        match self.values.get(key) {
            Some(Setting::Text(text) | Setting::Class(text)) => Some(text),
            _ => None,
        }
    }

    /// A class name; none if it is null.
    pub fn get_class(&self, key: &str) -> Option<&str> {
        self.get_str(key)
    }

    /// A SHORT.
    pub fn get_i16(&self, key: &str) -> i16 {
        if let Some(Setting::Short(n)) = self.values.get(key) { *n } else { 0 }
    }

    /// An INT.
    pub fn get_i32(&self, key: &str) -> i32 {
        if let Some(Setting::Int(n)) = self.values.get(key) { *n } else { 0 }
    }

    /// A LONG.
    pub fn get_i64(&self, key: &str) -> i64 {
        if let Some(Setting::Long(n)) = self.values.get(key) { *n } else { 0 }
    }

    /// A DOUBLE.
    pub fn get_f64(&self, key: &str) -> f64 {
        if let Some(Setting::Double(n)) = self.values.get(key) { *n } else { 0.0 }
    }

    /// A BOOLEAN.
    pub fn get_bool(&self, key: &str) -> bool {
        matches!(self.values.get(key), Some(Setting::Bool(true)))
    }

    /// A LIST; empty if it is null.
    pub fn get_list(&self, key: &str) -> Vec<&str> {
        let Some(Setting::List(items)) = self.values.get(key) else { return Vec::new() };
        items
            .iter()
            .filter_map(|item| if let Setting::Text(text) = item { Some(text.as_str()) } else { None })
            .collect()
    }

    /// A PASSWORD; none if it is null.
    pub fn get_password(&self, key: &str) -> Option<&Password> {
        if let Some(Setting::Password(password)) = self.values.get(key) { Some(password) } else { None }
    }
}
