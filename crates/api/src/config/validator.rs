//! What a setting's value must be beside its type. Texts are Java's.

use super::setting::{Setting, invalid};
use crate::error::ConnectError;
use crate::regex::JavaRegex;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A check of our own: name and value in, an error out.
pub type Check = dyn Fn(&str, &Setting) -> Result<(), ConnectError> + Send + Sync;

/// Checks the value of a setting. Java's `ConfigDef.Validator` and its kinds.
#[derive(Clone)]
pub enum Validator {
    /// `ConfigDef.Range`: at least the first, at most the second.
    Range(Option<Bound>, Option<Bound>),
    /// `ConfigDef.ValidString`.
    ValidString(Vec<String>),
    /// `ConfigDef.CaseInsensitiveValidString`, in the order in which Java prints it.
    CaseInsensitiveValidString(Vec<String>),
    /// `ConfigDef.NonEmptyString`.
    NonEmptyString,
    /// `ConfigDef.NonEmptyStringWithoutControlChars`.
    NonEmptyStringWithoutControlChars,
    /// `ConfigDef.NonNullValidator`.
    NonNull,
    /// `ConfigDef.ListSize`.
    ListSize(usize),
    /// `ConfigDef.ValidList`: elements that differ, of these if any are named.
    ValidList {
        /// The allowed elements; none named allows any.
        of: Vec<String>,
        /// Whether the list may be empty.
        empty: bool,
        /// Whether it may be null.
        null: bool,
    },
    /// `NonEmptyListValidator` of the transforms.
    NonEmptyList,
    /// `ConfigDef.CompositeValidator`: all of these.
    All(Vec<Validator>),
    /// A check of its own, and the text that describes it.
    Custom(Arc<str>, Arc<Check>),
}

/// A bound of a range, as Java prints it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Bound {
    Whole(i64),
    Real(f64),
}

impl Bound {
    fn value(self) -> f64 {
        match self {
            Self::Whole(n) => n as f64,
            Self::Real(n) => n,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(n) => write!(f, "{n}"),
            Self::Real(n) => f.write_str(&crate::data::java_text::double(*n)),
        }
    }
}

impl Validator {
    /// `Range.atLeast`.
    pub fn at_least(min: i64) -> Self {
        Self::Range(Some(Bound::Whole(min)), None)
    }

    /// `Range.between`.
    pub fn between(min: i64, max: i64) -> Self {
        Self::Range(Some(Bound::Whole(min)), Some(Bound::Whole(max)))
    }

    /// `Range.between` of real numbers.
    pub fn between_reals(min: f64, max: f64) -> Self {
        Self::Range(Some(Bound::Real(min)), Some(Bound::Real(max)))
    }

    /// `ValidString.in`.
    pub fn one_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::ValidString(texts.into_iter().map(str::to_owned).collect())
    }

    /// `CaseInsensitiveValidString.in`; Java keeps the names in upper case.
    pub fn one_of_ignoring_case<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::CaseInsensitiveValidString(texts.into_iter().map(str::to_uppercase).collect())
    }

    /// A check of its own.
    pub fn custom(
        text: &str,
        check: impl Fn(&str, &Setting) -> Result<(), ConnectError> + Send + Sync + 'static,
    ) -> Self {
        Self::Custom(text.into(), Arc::new(check))
    }

    /// Java's `RegexValidator`. What is wrong is said in words of our own, but for null, which Java does not foresee either.
    pub fn regex() -> Self {
        Self::custom("valid regex", |name, value| {
            let problem = match value {
                Setting::Null => "Cannot invoke \"String.isEmpty()\" because \"this.pattern\" is null".to_owned(),
                _ => match JavaRegex::new(&value.to_string()) {
                    Ok(_) => return Ok(()),
                    Err(problem) => problem,
                },
            };
            Err(invalid(name, value, &format!("Invalid regex: {problem}")))
        })
    }

    /// Checks a value.
    ///
    /// # Errors
    /// Java's `ConfigException`.
    pub fn ensure_valid(&self, name: &str, value: &Setting) -> Result<(), ConnectError> {
        let fail = |message: &str| Err(invalid(name, value, message));
        let text = match value {
            Setting::Text(text) => Some(text.as_str()),
            _ => None,
        };
        match self {
            Self::Range(min, max) => {
                if value.is_null() {
                    return fail("Value must be non-null");
                }
                let Some(number) = value.as_f64() else { return fail("Not a number") };
                if let Some(min) = min.filter(|min| number < min.value()) {
                    return fail(&format!("Value must be at least {min}"));
                }
                if let Some(max) = max.filter(|max| number > max.value()) {
                    return fail(&format!("Value must be no more than {max}"));
                }
                Ok(())
            }
            Self::ValidString(allowed) => {
                if text.is_some_and(|text| allowed.iter().any(|a| a == text)) {
                    return Ok(());
                }
                fail(&format!("String must be one of: {}", allowed.join(", ")))
            }
            Self::CaseInsensitiveValidString(allowed) => {
                if text.is_some_and(|text| allowed.contains(&text.to_uppercase())) {
                    return Ok(());
                }
                fail(&format!("String must be one of (case insensitive): {}", allowed.join(", ")))
            }
            Self::NonEmptyString if text == Some("") => fail("String must be non-empty"),
            Self::NonEmptyString => Ok(()),
            Self::NonEmptyStringWithoutControlChars => match text {
                Some("") => fail("String may not be empty"),
                Some(text) => {
                    let found: Vec<String> =
                        text.chars().filter(|c| c.is_control()).map(|c| (c as u32).to_string()).collect();
                    if found.is_empty() {
                        return Ok(());
                    }
                    fail(&format!(
                        "String may not contain control sequences but had the following ASCII chars: {}",
                        found.join(", ")
                    ))
                }
                None => Ok(()),
            },
            Self::NonNull if value.is_null() => fail("entry must be non null"),
            Self::NonNull => Ok(()),
            Self::ListSize(max) => match value {
                Setting::List(items) if items.len() > *max => fail(&format!("exceeds maximum list size of [{max}].")),
                _ => Ok(()),
            },
            Self::ValidList { of, empty, null } => valid_list(name, value, of, *empty, *null),
            Self::NonEmptyList => match value {
                Setting::List(items) if !items.is_empty() => Ok(()),
                _ => fail("Empty list"),
            },
            Self::All(validators) => validators.iter().try_for_each(|validator| validator.ensure_valid(name, value)),
            Self::Custom(_, check) => check(name, value),
        }
    }
}

fn valid_list(name: &str, value: &Setting, of: &[String], empty: bool, null: bool) -> Result<(), ConnectError> {
    let fail = |what: &str| Err(ConnectError::config(format!("Configuration '{name}' {what}")));
    let items = match value {
        Setting::List(items) => items,
        _ if null => return Ok(()),
        _ => return fail("values must not be null."),
    };
    if items.is_empty() && !empty {
        let allowed = if of.is_empty() { "any non-empty value".to_owned() } else { format!("[{}]", of.join(", ")) };
        return fail(&format!("must not be empty. Valid values include: {allowed}"));
    }
    let mut seen = BTreeSet::new();
    if items.iter().any(|item| !seen.insert(item.to_string())) {
        return fail("values must not be duplicated.");
    }
    for item in items {
        let Setting::Text(text) = item else { continue };
        if text.is_empty() {
            return fail("values must not be empty.");
        }
        if !of.is_empty() {
            Validator::ValidString(of.to_vec()).ensure_valid(name, item)?;
        }
    }
    Ok(())
}

/// What Java's `toString()` says, which reference pages show.
impl fmt::Display for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(Some(min), Some(max)) => write!(f, "[{min},...,{max}]"),
            Self::Range(Some(min), None) => write!(f, "[{min},...]"),
            Self::Range(None, Some(max)) => write!(f, "[...,{max}]"),
            Self::Range(None, None) => f.write_str("[...]"),
            Self::ValidString(allowed) => write!(f, "[{}]", allowed.join(", ")),
            Self::CaseInsensitiveValidString(allowed) => write!(f, "(case insensitive) [{}]", allowed.join(", ")),
            Self::NonEmptyString => f.write_str("non-empty string"),
            Self::NonEmptyStringWithoutControlChars => f.write_str("non-empty string without ISO control characters"),
            Self::NonNull => f.write_str("non-null string"),
            Self::ListSize(max) => write!(f, "List containing maximum of {max} elements"),
            Self::ValidList { of, .. } if of.is_empty() => Ok(()),
            Self::ValidList { of, .. } => write!(f, "[{}]", of.join(", ")),
            Self::NonEmptyList => f.write_str("non-empty list"),
            Self::All(validators) => {
                for (i, validator) in validators.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{validator}")?;
                }
                Ok(())
            }
            Self::Custom(text, _) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Validator({self})")
    }
}
