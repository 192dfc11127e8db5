//! How a plugin declares its settings, and what Java makes of them.
//!
//! A setting is declared once, as a [`Key`] of a [`ConfigDef`]; parsing, validation, REST's answers and the reference pages come from that list.
//! Parsing and texts are those of Java's `ConfigDef`. What is not decided here: which classes there are ([`Classes`]).

mod def;
mod key;
mod parsed;
pub mod properties;
mod setting;
mod suggest;
#[cfg(test)]
mod tests;
mod validator;

pub use def::{ConfigDef, Given};
pub use key::{Importance, Key, Parsed, Recommender, Width};
pub use parsed::ParsedConfig;
pub use setting::{AnyClass, Classes, Password, Setting, Type, invalid, parse_type};
pub use suggest::closest;
pub use validator::{Bound, Check, Validator};

use std::collections::BTreeMap;

/// The settings of a plugin as they were written: key to text.
pub type Props = BTreeMap<String, String>;

/// What validation says of one setting.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigValue {
    /// The key.
    pub name: String,
    /// Its value as REST shows it.
    pub value: Option<String>,
    /// Its value, typed.
    pub setting: Setting,
    /// What a form would offer, as REST shows it.
    pub recommended_values: Vec<String>,
    /// What a form would offer, typed.
    pub recommended: Vec<Setting>,
    /// Every problem, in Java's words.
    pub errors: Vec<String>,
    /// Whether a form shows it.
    pub visible: bool,
}

impl ConfigValue {
    /// Nothing is known of the setting yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: None,
            setting: Setting::Null,
            recommended_values: Vec::new(),
            recommended: Vec::new(),
            errors: Vec::new(),
            visible: true,
        }
    }
}
