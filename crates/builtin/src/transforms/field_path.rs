//! Paths to nested fields (KIP-821). Java's `SingleFieldPath`.

use kurier_api::ConnectError;
use kurier_api::config::{Importance, Key, ParsedConfig, Type, Validator};
use kurier_api::data::{Field, Schema, SchemaRef, Struct, Value};

/// The key that says which syntax paths have.
pub const FIELD_SYNTAX_VERSION: &str = "field.syntax.version";

/// The setting of that key.
pub fn syntax_key() -> Key {
    Key::new(FIELD_SYNTAX_VERSION, Type::String)
        .default("V1")
        .validator(Validator::one_of_ignoring_case(["V1", "V2"]))
        .importance(Importance::High)
        .doc("V1: a name is a field of the outermost level, dots and all. V2: dots lead into nested fields, backticks quote names that have dots.")
}

/// Which syntax the settings ask for.
pub fn is_nested(config: &ParsedConfig) -> bool {
    config.get_str(FIELD_SYNTAX_VERSION).is_some_and(|version| version.eq_ignore_ascii_case("V2"))
}

/// The way to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    steps: Vec<String>,
}

impl FieldPath {
    /// Reads a path.
    ///
    /// # Errors
    /// `ConfigException` if a backtick is not closed.
    pub fn new(path: &str, nested: bool) -> Result<Self, ConnectError> {
        Ok(Self { steps: if nested { steps(path)? } else { vec![path.to_owned()] } })
    }

    /// The names on the way.
    pub fn steps(&self) -> &[String] {
        &self.steps
    }

    fn last(&self) -> Result<(&str, &[String]), ConnectError> {
        // Java cuts the last step off a list that has none.
        let empty = || ConnectError::illegal_argument("fromIndex(0) > toIndex(-1)");
        self.steps.split_last().map(|(last, before)| (last.as_str(), before)).ok_or_else(empty)
    }

    /// The field that the path leads to; none if there is none.
    ///
    /// # Errors
    /// `DataException` if a step leads into what is no struct; `IllegalArgumentException` for an empty path.
    pub fn field<'a>(&self, schema: &'a SchemaRef) -> Result<Option<&'a Field>, ConnectError> {
        let (last, before) = self.last()?;
        let mut current: &Schema = schema;
        for step in before {
            let Some(field) = lookup(current, step)? else { return Ok(None) };
            current = field.schema();
        }
        lookup(current, last)
    }

    /// The value in a struct; null where the way ends early.
    ///
    /// # Errors
    /// As [`Self::field`].
    pub fn value_in_struct(&self, structure: &Struct, replace_null_with_default: bool) -> Result<Value, ConnectError> {
        let (last, before) = self.last()?;
        let mut current = structure;
        for step in before {
            match current.get(step) {
                Some(Value::Struct(inner)) => current = inner,
                Some(Value::Null) | None => return Ok(Value::Null),
                Some(_) => return Err(not_a_struct()),
            }
        }
        let value = if replace_null_with_default { current.get(last) } else { current.get_without_default(last) };
        Ok(value.cloned().unwrap_or_default())
    }

    /// The value in a map; null where the way ends early.
    ///
    /// # Errors
    /// `DataException` if a step leads into what is no map.
    pub fn value_in_map(&self, map: &kurier_api::data::Map) -> Result<Value, ConnectError> {
        let (last, before) = self.last()?;
        let mut current = map;
        for step in before {
            match current.get_text(step) {
                Some(Value::Map(inner)) => current = inner,
                Some(Value::Null) | None => return Ok(Value::Null),
                Some(other) => {
                    return Err(ConnectError::data(format!(
                        "Only Map objects supported in absence of schema for [nested field access], found: {}",
                        other.java_class()
                    )));
                }
            }
        }
        Ok(current.get_text(last).cloned().unwrap_or_default())
    }
}

fn not_a_struct() -> ConnectError {
    ConnectError::data("Cannot look up fields on non-struct type")
}

fn lookup<'a>(schema: &'a Schema, name: &str) -> Result<Option<&'a Field>, ConnectError> {
    if schema.kind() == kurier_api::data::Type::Struct { Ok(schema.field(name)) } else { Err(not_a_struct()) }
}

/// Splits a nested path. A step in backticks ends at a backtick before a dot or the end; a backslash before that backtick makes it a letter.
fn steps(path: &str) -> Result<Vec<String>, ConnectError> {
    let mut steps = Vec::new();
    if path.is_empty() {
        return Ok(steps);
    }
    let mut at = 0;
    loop {
        let rest = &path[at..];
        let (step, used) = match rest.strip_prefix('`') {
            Some(quoted) => {
                let (step, used) = quoted_step(quoted).ok_or_else(|| {
                    ConnectError::config(format!(
                        "Incomplete backtick pair in path: [{path}], consider adding a backslash before backtick at position {at} to escape it"
                    ))
                })?;
                (step, used + 1)
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest[..end].to_owned(), end)
            }
        };
        steps.push(step);
        at += used;
        if at >= path.len() {
            return Ok(steps);
        }
        at += 1; // The dot.
        if at == path.len() {
            steps.push(String::new());
            return Ok(steps);
        }
    }
}

/// A step after its opening backtick, and how many bytes it takes with the closing one.
fn quoted_step(text: &str) -> Option<(String, usize)> {
    let mut step = String::new();
    for (at, c) in text.char_indices() {
        let next = text[at + c.len_utf8()..].chars().next();
        if c == '`' && matches!(next, None | Some('.')) {
            if next.is_some() && step.ends_with('\\') {
                step.pop();
            } else {
                return Some((step, at + 1));
            }
        }
        step.push(c);
    }
    None
}
