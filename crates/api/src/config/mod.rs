//! How a plugin declares its settings, and what Java makes of them.

use std::collections::BTreeMap;

/// The settings of a plugin as they were written: key to text.
pub type Props = BTreeMap<String, String>;

/// The settings of a plugin, declared once.
#[derive(Debug, Default)]
pub struct ConfigDef {}

impl ConfigDef {
    /// Checks every setting.
    pub fn validate(&self, _props: &Props) -> Vec<ConfigValue> {
        Vec::new()
    }
}

/// What validation says of one setting.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigValue {
    /// The key.
    pub name: String,
    /// Its value as REST shows it.
    pub value: Option<String>,
    /// What a form would offer.
    pub recommended_values: Vec<String>,
    /// Every problem, in Java's words.
    pub errors: Vec<String>,
    /// Whether a form shows it.
    pub visible: bool,
}
