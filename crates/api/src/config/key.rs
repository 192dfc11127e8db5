//! One setting, declared.

use super::setting::{Setting, Type};
use super::validator::Validator;
use crate::error::ConnectError;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How much a setting matters. Java's `ConfigDef.Importance`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Importance {
    High,
    #[default]
    Medium,
    Low,
}

impl Importance {
    /// The name in REST: `HIGH`.
    pub fn name(self) -> &'static str {
        match self {
            Self::High => "HIGH",
            Self::Medium => "MEDIUM",
            Self::Low => "LOW",
        }
    }
}

/// How wide a form shows a setting. Java's `ConfigDef.Width`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Width {
    #[default]
    None,
    Short,
    Medium,
    Long,
}

impl Width {
    /// The name in REST: `SHORT`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Short => "SHORT",
            Self::Medium => "MEDIUM",
            Self::Long => "LONG",
        }
    }
}

/// Parsed settings by key, as a recommender sees them.
pub type Parsed = BTreeMap<String, Setting>;

/// Proposes values of a setting in the light of the others. Java's `ConfigDef.Recommender`.
pub trait Recommender: Send + Sync {
    /// Values that a form offers.
    ///
    /// # Errors
    /// They become errors of the setting.
    fn valid_values(&self, name: &str, parsed: &Parsed) -> Result<Vec<Setting>, ConnectError>;

    /// Whether a form shows the setting.
    fn visible(&self, _name: &str, _parsed: &Parsed) -> bool {
        true
    }
}

/// What a setting is when it is not given.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum DefaultValue {
    /// It must be given.
    None,
    /// This text, or null; parsed when the key is defined.
    Text(Option<String>),
    /// This value.
    Parsed(Setting),
}

/// One setting. Java's `ConfigDef.ConfigKey`. Required unless it gets a default.
#[derive(Clone)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Type,
    pub(super) default: DefaultValue,
    /// What it is for.
    pub documentation: String,
    /// How much it matters.
    pub importance: Importance,
    /// The group that a form shows it in.
    pub group: Option<String>,
    /// Its place in the group; -1 outside of one.
    pub order_in_group: i32,
    /// How wide a form shows it.
    pub width: Width,
    /// What a form calls it.
    pub display_name: String,
    /// Settings whose proposals depend on this one.
    pub dependents: Vec<String>,
    /// What its value must be.
    pub validator: Option<Validator>,
    pub(super) recommender: Option<Arc<dyn Recommender>>,
    /// A key of ours that Java does not have: REST does not list it, so that answers stay Java's.
    pub hidden: bool,
    /// Java's `internalConfig`: not meant for users.
    pub internal: bool,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Key {
    /// A required setting.
    pub fn new(name: impl Into<String>, kind: Type) -> Self {
        let name = name.into();
        Self {
            kind,
            default: DefaultValue::None,
            documentation: String::new(),
            importance: Importance::default(),
            group: None,
            order_in_group: -1,
            width: Width::default(),
            display_name: name.clone(),
            dependents: Vec::new(),
            validator: None,
            recommender: None,
            hidden: false,
            internal: false,
            name,
        }
    }

    /// What it is when it is not given, as it would be written.
    #[must_use]
    pub fn default(mut self, text: impl Into<String>) -> Self {
        self.default = DefaultValue::Text(Some(text.into()));
        self
    }

    /// It is null when it is not given.
    #[must_use]
    pub fn default_null(mut self) -> Self {
        self.default = DefaultValue::Text(None);
        self
    }

    /// What it is for.
    #[must_use]
    pub fn doc(mut self, text: impl Into<String>) -> Self {
        self.documentation = text.into();
        self
    }

    /// How much it matters.
    #[must_use]
    pub fn importance(mut self, importance: Importance) -> Self {
        self.importance = importance;
        self
    }

    /// Where a form shows it.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>, order: i32) -> Self {
        self.group = Some(group.into());
        self.order_in_group = order;
        self
    }

    /// How wide a form shows it.
    #[must_use]
    pub fn width(mut self, width: Width) -> Self {
        self.width = width;
        self
    }

    /// What a form calls it.
    #[must_use]
    pub fn display_name(mut self, name: impl Into<String>) -> Self {
        self.display_name = name.into();
        self
    }

    /// Settings whose proposals depend on this one.
    #[must_use]
    pub fn dependents<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.dependents = names.into_iter().map(Into::into).collect();
        self
    }

    /// What its value must be.
    #[must_use]
    pub fn validator(mut self, validator: Validator) -> Self {
        self.validator = Some(validator);
        self
    }

    /// Who proposes values.
    #[must_use]
    pub fn recommender(mut self, recommender: impl Recommender + 'static) -> Self {
        self.recommender = Some(Arc::new(recommender));
        self
    }

    /// Keeps it out of what REST lists: for keys that Java does not have.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Marks it as not meant for users. Java's `defineInternal`.
    #[must_use]
    pub fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// The same setting under a prefix. Its checks and proposals go on to see names without it.
    pub(super) fn under(mut self, prefix: &str) -> Self {
        self.name = format!("{prefix}{}", self.name);
        for dependent in &mut self.dependents {
            *dependent = format!("{prefix}{dependent}");
        }
        let bare: Arc<str> = prefix.into();
        if let Some(own) = self.validator.take() {
            let (text, prefix) = (own.to_string(), bare.clone());
            self.validator =
                Some(Validator::custom(&text, move |name, value| own.ensure_valid(without(&prefix, name), value)));
        }
        if let Some(own) = self.recommender.take() {
            self.recommender = Some(Arc::new(Embedded { prefix: bare, own }));
        }
        self
    }

    /// Whether it must be given.
    pub fn is_required(&self) -> bool {
        self.default == DefaultValue::None
    }

    /// Whether it has a recommender.
    pub fn has_recommender(&self) -> bool {
        self.recommender.is_some()
    }

    /// Its default, typed; null if it has none.
    pub fn default_setting(&self) -> &Setting {
        match &self.default {
            DefaultValue::Parsed(setting) => setting,
            _ => &Setting::Null,
        }
    }

    /// Its default as REST shows it.
    pub fn default_text(&self) -> Option<String> {
        self.default_setting().to_text(self.kind)
    }
}

fn without<'n>(prefix: &str, name: &'n str) -> &'n str {
    name.strip_prefix(prefix).unwrap_or(name)
}

/// A recommender that knows the settings by their names without a prefix.
struct Embedded {
    prefix: Arc<str>,
    own: Arc<dyn Recommender>,
}

impl Embedded {
    fn bare(&self, parsed: &Parsed) -> Parsed {
        let inner =
            |(name, value): (&String, &Setting)| Some((name.strip_prefix(&*self.prefix)?.to_owned(), value.clone()));
        parsed.iter().filter_map(inner).collect()
    }
}

impl Recommender for Embedded {
    fn valid_values(&self, name: &str, parsed: &Parsed) -> Result<Vec<Setting>, ConnectError> {
        self.own.valid_values(without(&self.prefix, name), &self.bare(parsed))
    }

    fn visible(&self, name: &str, parsed: &Parsed) -> bool {
        self.own.visible(without(&self.prefix, name), &self.bare(parsed))
    }
}
