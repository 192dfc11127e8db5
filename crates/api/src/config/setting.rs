//! Values of settings: their types, how they are read from text, and how they print.

use crate::data::java_number;
use crate::error::ConnectError;
use std::fmt;

/// The type of a setting. Java's `ConfigDef.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Type {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

impl Type {
    /// The name in REST: `BOOLEAN`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }
}

/// A secret. Prints as `[hidden]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Hides a text.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// The value of a setting. `Display` is Java's `toString()`; a secret stays hidden.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub enum Setting {
    #[default]
    Null,
    Bool(bool),
    Short(i16),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Text(String),
    List(Vec<Setting>),
    /// The name of a class; it prints as Java prints a `Class`.
    Class(String),
    Password(Password),
    /// What is none of these: its Java class and text.
    Other(String, String),
}

impl Setting {
    /// Whether this is [`Setting::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The number, widened, of any numeric type.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Short(n) => Some(n.into()),
            Self::Int(n) => Some(n.into()),
            Self::Long(n) => Some(n as f64),
            Self::Float(n) => Some(n.into()),
            Self::Double(n) => Some(n),
            _ => None,
        }
    }

    /// Java's `ConfigDef.convertToString`: the text that REST shows and that would read back as this value.
    pub fn to_text(&self, kind: Type) -> Option<String> {
        match (kind, self) {
            (_, Self::Null) => None,
            (Type::List, Self::List(items)) => Some(items.iter().map(Self::to_string).collect::<Vec<_>>().join(",")),
            (Type::Class, Self::Class(name)) => Some(name.clone()),
            _ => Some(self.to_string()),
        }
    }

    /// The same, but a value of another kind than a list or class setting holds is refused.
    ///
    /// # Errors
    /// Java's class cast exception, in our words.
    pub fn try_to_text(&self, kind: Type) -> Result<Option<String>, ConnectError> {
        match (kind, self) {
            (_, Self::Null) | (Type::List, Self::List(_)) | (Type::Class, Self::Class(_)) => Ok(self.to_text(kind)),
            (Type::List | Type::Class, _) => Err(ConnectError::config(format!(
                "A setting of type {} cannot be a {}",
                kind.name(),
                self.java_class()
            ))),
            _ => Ok(self.to_text(kind)),
        }
    }

    fn java_class(&self) -> &str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "java.lang.Boolean",
            Self::Short(_) => "java.lang.Short",
            Self::Int(_) => "java.lang.Integer",
            Self::Long(_) => "java.lang.Long",
            Self::Float(_) => "java.lang.Float",
            Self::Double(_) => "java.lang.Double",
            Self::Text(_) => "java.lang.String",
            Self::List(items) if (1..=2).contains(&items.len()) => "java.util.ImmutableCollections$List12",
            Self::List(_) => "java.util.ImmutableCollections$ListN",
            Self::Class(_) => "java.lang.Class",
            Self::Password(_) => "org.apache.kafka.common.config.types.Password",
            Self::Other(class, _) => class,
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Short(n) => write!(f, "{n}"),
            Self::Int(n) => write!(f, "{n}"),
            Self::Long(n) => write!(f, "{n}"),
            Self::Float(n) => f.write_str(&crate::data::java_text::float(*n)),
            Self::Double(n) => f.write_str(&crate::data::java_text::double(*n)),
            Self::Text(text) | Self::Other(_, text) => f.write_str(text),
            Self::Class(name) if is_interface(name) => write!(f, "interface {name}"),
            Self::Class(name) => write!(f, "class {name}"),
            Self::Password(password) => write!(f, "{password}"),
            Self::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_str("]")
            }
        }
    }
}

/// Whether Java prints the class as an interface. Settings name classes; the one interface that is met is this.
fn is_interface(name: &str) -> bool {
    name == "java.util.Map$Entry"
}

impl From<&str> for Setting {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Tells which class names stand for a class. The runtime asks its registry.
pub trait Classes {
    /// The class's full name, if there is such a class.
    fn find(&self, name: &str) -> Option<String>;
}

/// Takes every name that is not blank: for whoever checks classes later, by other means.
#[derive(Clone, Copy, Debug)]
pub struct AnyClass;

impl Classes for AnyClass {
    fn find(&self, name: &str) -> Option<String> {
        (!name.is_empty()).then(|| name.to_owned())
    }
}

/// Java's `new ConfigException(name, value, message)`.
pub fn invalid(name: &str, value: &Setting, message: &str) -> ConnectError {
    let colon = if message.is_empty() { "" } else { ": " };
    ConnectError::config(format!("Invalid value {value} for configuration {name}{colon}{message}"))
}

/// Reads a setting of a type. Java's `ConfigDef.parseType`.
///
/// # Errors
/// Java's `ConfigException`.
pub fn parse_type(name: &str, value: &Setting, kind: Type, classes: &dyn Classes) -> Result<Setting, ConnectError> {
    let fail = |message: &str| Err(invalid(name, value, message));
    let not_a = |what: &str| {
        Err(invalid(name, value, &format!("Expected value to be a {what}, but it was a {}", value.java_class())))
    };
    let not_a_number = || Err(invalid(name, value, &format!("Not a number of type {}", kind.name())));
    let text = match value {
        Setting::Null => return Ok(Setting::Null),
        Setting::Text(text) => Some(java_trim(text)),
        _ => None,
    };
    Ok(match (kind, text, value) {
        (Type::Boolean, Some(text), _) if text.eq_ignore_ascii_case("true") => Setting::Bool(true),
        (Type::Boolean, Some(text), _) if text.eq_ignore_ascii_case("false") => Setting::Bool(false),
        (Type::Boolean, _, Setting::Bool(b)) => Setting::Bool(*b),
        (Type::Boolean, ..) => return fail("Expected value to be either true or false"),
        (Type::Password, Some(text), _) => Setting::Password(Password::new(text)),
        (Type::Password, _, Setting::Password(_)) => value.clone(),
        (Type::Password, ..) => return not_a("string"),
        (Type::String, Some(text), _) => Setting::Text(text.to_owned()),
        (Type::String, ..) => return not_a("string"),
        (Type::Int, Some(text), _) => match java_number::integer(text).and_then(|n| i32::try_from(n).ok()) {
            Some(n) => Setting::Int(n),
            None => return not_a_number(),
        },
        (Type::Int, _, Setting::Int(_)) => value.clone(),
        (Type::Int, ..) => return not_a("32-bit integer"),
        (Type::Short, Some(text), _) => match java_number::integer(text).and_then(|n| i16::try_from(n).ok()) {
            Some(n) => Setting::Short(n),
            None => return not_a_number(),
        },
        (Type::Short, _, Setting::Short(_)) => value.clone(),
        (Type::Short, ..) => return not_a("16-bit integer (short)"),
        (Type::Long, Some(text), _) => match java_number::integer(text).and_then(|n| i64::try_from(n).ok()) {
            Some(n) => Setting::Long(n),
            None => return not_a_number(),
        },
        (Type::Long, _, Setting::Short(n)) => Setting::Long((*n).into()),
        (Type::Long, _, Setting::Int(n)) => Setting::Long((*n).into()),
        (Type::Long, _, Setting::Long(_)) => value.clone(),
        (Type::Long, ..) => return not_a("64-bit integer (long)"),
        (Type::Double, Some(text), _) => match java_number::double(text) {
            Some(n) => Setting::Double(n),
            None => return not_a_number(),
        },
        (Type::Double, _, number) => match number.as_f64() {
            Some(n) => Setting::Double(n),
            None => return not_a("double"),
        },
        (Type::List, Some(text), _) => Setting::List(split_list(text).map(Setting::from).collect()),
        (Type::List, _, Setting::List(_)) => value.clone(),
        (Type::List, ..) => return fail("Expected a comma separated list."),
        (Type::Class, Some(text), _) => match classes.find(text) {
            Some(class) => Setting::Class(class),
            None => return fail(&format!("Class {value} could not be found.")),
        },
        (Type::Class, _, Setting::Class(_)) => value.clone(),
        (Type::Class, ..) => return fail("Expected a Class instance or class name."),
    })
}

/// Java's `String.trim`: everything up to a blank goes, from both ends.
fn java_trim(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ')
}

/// Java's `split("\\s*,\\s*", -1)` of a trimmed text; nothing of an empty one.
fn split_list(text: &str) -> impl Iterator<Item = &str> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r');
    let items = (!text.is_empty()).then(|| text.split(',').map(move |item| item.trim_matches(blank)));
    items.into_iter().flatten()
}
