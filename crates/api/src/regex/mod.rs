//! Java's regular expressions: their syntax put into ours, their replacements.
//!
//! In Java `\d`, `\w`, `\s`, `\b` and `\p{Alpha}` know ASCII only, `.` and `$` know all of Unicode's line ends, `\Q…\E` quotes. Possessive
//! quantifiers, look-around and back references are the engine's own. A pattern that runs wild is stopped ([`BACKTRACKS`]), where Java would hang.

mod properties;
mod translate;

use crate::ConnectError;
use fancy_regex::{Captures, Regex, RegexBuilder};
use translate::translate;

/// How often the engine may step back for one text.
pub const BACKTRACKS: usize = 1_000_000;

/// A pattern that has to match a whole text.
#[derive(Debug)]
pub struct JavaRegex {
    whole: Regex,
}

impl JavaRegex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it: the message of Java's `PatternSyntaxException`. What Java takes and the engine does not is refused in the engine's words.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let translated = translate(pattern).map_err(|mistake| mistake.message(pattern))?;
        let whole = format!(r"\A(?:{translated})\z");
        Ok(Self { whole: compile(&whole)? })
    }

    /// Whether the pattern matches the whole text.
    ///
    /// # Errors
    /// If matching was given up.
    pub fn matches(&self, text: &str) -> Result<bool, ConnectError> {
        self.whole.is_match(text).map_err(|error| gave_up(text, &error))
    }

    /// The replacement with its references filled in, if the pattern matches the whole text.
    ///
    /// # Errors
    /// If matching was given up, or the replacement refers to what is not there, in Java's words.
    pub fn replace(&self, text: &str, replacement: &str) -> Result<Option<String>, ConnectError> {
        match self.whole.captures(text).map_err(|error| gave_up(text, &error))? {
            Some(groups) => expand(replacement, &groups, &self.whole).map(Some),
            None => Ok(None),
        }
    }
}

fn gave_up(text: &str, error: &fancy_regex::Error) -> ConnectError {
    ConnectError::connect(format!("a regular expression was given up on `{text}`: {error}"))
}

fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).backtrack_limit(BACKTRACKS).build().map_err(|error| error.to_string())
}

/// Java's `Matcher.appendExpandedReplacement`.
fn expand(replacement: &str, groups: &Captures<'_, str>, regex: &Regex) -> Result<String, ConnectError> {
    let group = |n: usize| groups.get(n).map_or("", |found| found.as_str());
    let mut out = String::new();
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(literal) => out.push(literal),
                None => return Err(ConnectError::illegal_argument("character to be escaped is missing")),
            },
            '$' => match chars.next() {
                None => return Err(ConnectError::illegal_argument("Illegal group reference: group index is missing")),
                Some('{') => {
                    let mut name = String::new();
                    while let Some(letter) = chars.next_if(char::is_ascii_alphanumeric) {
                        name.push(letter);
                    }
                    if name.is_empty() {
                        return Err(ConnectError::illegal_argument("named capturing group is missing trailing '}'"));
                    }
                    if chars.next() != Some('}') {
                        return Err(ConnectError::illegal_argument("named capturing group is missing trailing '}'"));
                    }
                    if !regex.capture_names().flatten().any(|known| known == name) {
                        return Err(ConnectError::illegal_argument(format!("No group with name {{{name}}}")));
                    }
                    out.push_str(groups.name(&name).map_or("", |found| found.as_str()));
                }
                Some(digit) if digit.is_ascii_digit() => {
                    let mut number = digit as usize - '0' as usize;
                    if number >= groups.len() {
                        let class = "java.lang.IndexOutOfBoundsException";
                        return Err(ConnectError::of_class(class, format!("No group {number}")));
                    }
                    // Further digits belong to the number as long as there is such a group.
                    while let Some(next) = chars.peek().and_then(|c| c.to_digit(10)) {
                        let longer = number * 10 + next as usize;
                        if longer >= groups.len() {
                            break;
                        }
                        number = longer;
                        chars.next();
                    }
                    out.push_str(group(number));
                }
                Some(_) => return Err(ConnectError::illegal_argument("Illegal group reference")),
            },
            other => out.push(other),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
