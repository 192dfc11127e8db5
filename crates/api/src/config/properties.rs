//! Java's `.properties` files: what `java.util.Properties.load` makes of them.
//!
//! Keys keep the order of their first appearance; the last value of a key counts. Files are read as UTF-8, as Kafka's own tools read them
//! (`Utils.loadProps`); what is not UTF-8 is read as ISO 8859-1, as older files were written. Pure.

use indexmap::IndexMap;
use std::fmt;

/// Keys and values in the order of the file.
pub type Properties = IndexMap<String, String>;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertiesError {
    /// Line number, from 1: where the malformed part begins.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for PropertiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for PropertiesError {}

/// Reads a file's bytes.
///
/// # Errors
/// A `\u` that is not followed by four hexadecimal digits: Java's only error.
pub fn parse_bytes(bytes: &[u8]) -> Result<Properties, PropertiesError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(_) => parse(&bytes.iter().map(|&byte| char::from(byte)).collect::<String>()),
    }
}

/// Reads a file's text.
///
/// # Errors
/// A `\u` that is not followed by four hexadecimal digits: Java's only error.
pub fn parse(text: &str) -> Result<Properties, PropertiesError> {
    let mut properties = Properties::new();
    for line in logical_lines(text) {
        let (key, value) = split(&line.text);
        let key = unescape(key, line.number)?;
        let value = unescape(value, line.number)?;
        properties.insert(key, value);
    }
    Ok(properties)
}

/// Lines that belong together, without comments and empty ones.
struct LogicalLine {
    /// Where it begins.
    number: usize,
    /// Its text; where lines were joined, the backslash, the end of the line and the blanks of the next one are gone.
    text: String,
}

/// Java's blanks: between key and value, and before a key.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn logical_lines(text: &str) -> Vec<LogicalLine> {
    let mut lines: Vec<LogicalLine> = Vec::new();
    let mut open = false;
    for (index, natural) in natural_lines(text).enumerate() {
        let natural = natural.trim_start_matches(is_blank);
        if !open && (natural.is_empty() || natural.starts_with(['#', '!'])) {
            continue;
        }
        let backslashes = natural.bytes().rev().take_while(|&byte| byte == b'\\').count();
        let goes_on = backslashes % 2 == 1;
        let part = if goes_on { &natural[..natural.len() - 1] } else { natural };
        match lines.last_mut().filter(|_| open) {
            Some(line) => line.text.push_str(part),
            None => lines.push(LogicalLine { number: index + 1, text: part.to_owned() }),
        }
        open = goes_on;
    }
    // A line that is nothing but a joint is no entry.
    lines.retain(|line| !line.text.is_empty());
    lines
}

/// Lines that end in `\n`, `\r` or `\r\n`.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match text.find(['\n', '\r']) {
            Some(end) => {
                let after = if text[end..].starts_with("\r\n") { end + 2 } else { end + 1 };
                rest = Some(&text[after..]);
                Some(&text[..end])
            }
            None => {
                rest = None;
                Some(text)
            }
        }
    })
}

/// Key and value: cut at the first `=`, `:` or blank that has no backslash before it; blanks around the one sign belong to neither.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|&(_, c)| {
        let ends = !escaped && (is_blank(c) || c == '=' || c == ':');
        escaped = !escaped && c == '\\';
        ends
    });
    let Some((end, _)) = end else { return (line, "") };
    let value = line[end..].trim_start_matches(is_blank);
    let value = value.strip_prefix(['=', ':']).unwrap_or(value);
    (&line[..end], value.trim_start_matches(is_blank))
}

fn unescape(text: &str, line: usize) -> Result<String, PropertiesError> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let plain = if c == '\\' {
            match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    let digits: String = chars.clone().take(4).collect();
                    let unit = (digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
                        .then(|| u16::from_str_radix(&digits, 16).ok())
                        .flatten();
                    let Some(unit) = unit else {
                        return Err(PropertiesError {
                            line,
                            problem: format!(
                                "Malformed \\uxxxx encoding: `\\u{digits}` has not four hexadecimal digits; write a plain \
                                 backslash as `\\\\`"
                            ),
                        });
                    };
                    units.push(unit);
                    chars.nth(3);
                    continue;
                }
                Some(other) => other,
                // A backslash at the very end of the file.
                None => break,
            }
        } else {
            c
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    // Java keeps half a surrogate pair; text here cannot, and nothing meant by it is lost.
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_java_reads_them() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            ("a=1", &[("a", "1")]),
            ("a = 1 ", &[("a", "1 ")]),
            ("a:1\nb 2\nc\td", &[("a", "1"), ("b", "2"), ("c", "d")]),
            ("# a=1\n  ! b=2\n\n c=3", &[("c", "3")]),
            ("a=b\\\n   c\\\r\n\td", &[("a", "bcd")]),
            ("a=b\\\\\nc=d", &[("a", "b\\"), ("c", "d")]),
            ("a\\=b\\:c\\ d=e", &[("a=b:c d", "e")]),
            ("a==b", &[("a", "=b")]),
            ("a = : b", &[("a", ": b")]),
            ("k=\\u00e9\\ud83d\\ude00\\t\\q", &[("k", "é😀\tq")]),
            ("a", &[("a", "")]),
            ("=v", &[("", "v")]),
            ("a=1\rb=2", &[("a", "1"), ("b", "2")]),
            ("a=1\nb=2\na=3", &[("a", "3"), ("b", "2")]),
            ("a=x\\\n# no comment", &[("a", "x# no comment")]),
            ("a=x\\", &[("a", "x")]),
            ("\\\n a=1", &[("a", "1")]),
        ];
        for (text, expected) in cases {
            let parsed = parse(text).unwrap();
            let parsed: Vec<_> = parsed.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!(parsed, *expected, "{text:?}");
        }
    }

    #[test]
    fn malformed_escapes_name_their_line() {
        for (text, line) in [("a=1\n\nb=\\u12", 3), ("path=C:\\users", 1), ("a=1\nb=x\\\n\\uzzzz", 2)] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}");
            assert!(error.to_string().contains("Malformed \\uxxxx encoding"), "{error}");
        }
    }

    #[test]
    fn what_is_not_utf_8_is_latin_1() {
        let read = |bytes: &[u8]| parse_bytes(bytes).unwrap().into_values().next();
        assert_eq!(read("a=é".as_bytes()).as_deref(), Some("é"));
        assert_eq!(read(b"a=\xe9").as_deref(), Some("é"));
    }
}
