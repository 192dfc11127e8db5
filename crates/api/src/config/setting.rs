//! Values of settings: their types, how they are read from text, and how they print.

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
        (Type::Int, Some(text), _) => match parse_integer(text).and_then(|n| i32::try_from(n).ok()) {
            Some(n) => Setting::Int(n),
            None => return not_a_number(),
        },
        (Type::Int, _, Setting::Int(_)) => value.clone(),
        (Type::Int, ..) => return not_a("32-bit integer"),
        (Type::Short, Some(text), _) => match parse_integer(text).and_then(|n| i16::try_from(n).ok()) {
            Some(n) => Setting::Short(n),
            None => return not_a_number(),
        },
        (Type::Short, _, Setting::Short(_)) => value.clone(),
        (Type::Short, ..) => return not_a("16-bit integer (short)"),
        (Type::Long, Some(text), _) => match parse_integer(text).and_then(|n| i64::try_from(n).ok()) {
            Some(n) => Setting::Long(n),
            None => return not_a_number(),
        },
        (Type::Long, _, Setting::Short(n)) => Setting::Long((*n).into()),
        (Type::Long, _, Setting::Int(n)) => Setting::Long((*n).into()),
        (Type::Long, _, Setting::Long(_)) => value.clone(),
        (Type::Long, ..) => return not_a("64-bit integer (long)"),
        (Type::Double, Some(text), _) => match parse_double(text) {
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

/// Java's `Integer.parseInt` and its kin: digits of any script, with a sign.
fn parse_integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut number: i128 = 0;
    for c in digits.chars() {
        number = number.checked_mul(10)?.checked_add(decimal_digit(c)?.into())?;
    }
    Some(if negative { -number } else { number })
}

/// The value of a decimal digit in the scripts of the Basic Multilingual Plane that Java knows. Each block has its ten digits in a row.
fn decimal_digit(c: char) -> Option<u32> {
    const ZEROS: &[u32] = &[
        0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
        0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620,
        0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
    ];
    let code = c as u32;
    ZEROS.iter().find(|&&zero| (zero..zero + 10).contains(&code)).map(|zero| code - zero)
}

/// Java's `Double.parseDouble` of a trimmed text.
fn parse_double(text: &str) -> Option<f64> {
    let (sign, magnitude) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    match magnitude {
        "NaN" => return Some(f64::NAN),
        "Infinity" => return Some(sign * f64::INFINITY),
        _ => {}
    }
    let number = magnitude.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(magnitude);
    if let Some(hex) = number.strip_prefix("0x").or_else(|| number.strip_prefix("0X")) {
        return parse_hex(hex).map(|n| sign * n);
    }
    let plain = number.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let first = number.bytes().next()?;
    if !plain || !(first.is_ascii_digit() || first == b'.') {
        return None;
    }
    number.parse::<f64>().ok().map(|n| sign * n)
}

/// Hexadecimal floats (`1.8p1`), exact as far as 52 bits of digits go.
fn parse_hex(text: &str) -> Option<f64> {
    let (digits, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut number = 0.0;
    for c in whole.chars().chain(fraction.chars()) {
        number = number * 16.0 + f64::from(c.to_digit(16)?);
    }
    let exponent: i32 = exponent.parse().ok()?;
    let scale = exponent.checked_sub(4 * i32::try_from(fraction.len()).ok()?)?;
    Some(number * 2f64.powi(scale))
}
