//! Java's properties files: the format of worker and connector files and of secrets that config providers read.
//!
//! As `java.util.Properties.load` reads a stream: ISO 8859-1 letters and `\uXXXX`, continuation lines, `=`, `:` or blanks between key and value, `#` and `!`
//! before comments. A key that comes twice has its last value. Bytes that form UTF-8 are *not* put together: Java does not either.

use super::Props;
use std::fmt;

/// A line that is no property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedLine {
    /// The line's number, from 1.
    pub line: usize,
}

impl fmt::Display for MalformedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: Malformed \\uxxxx encoding.", self.line)
    }
}

impl std::error::Error for MalformedLine {}

/// Reads a file's bytes, one letter a byte, as Java reads a stream.
///
/// # Errors
/// If a `\u` is not followed by four hexadecimal digits.
pub fn parse_latin1(bytes: &[u8]) -> Result<Props, MalformedLine> {
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    parse(&text)
}

/// Reads a text, as Java reads it from a `Reader`.
///
/// # Errors
/// If a `\u` is not followed by four hexadecimal digits.
pub fn parse(text: &str) -> Result<Props, MalformedLine> {
    let mut props = Props::new();
    let mut lines = natural_lines(text).enumerate();
    while let Some((number, line)) = lines.next() {
        let start = line.trim_start_matches(is_blank);
        if start.is_empty() || start.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = start.to_owned();
        while ends_with_odd_backslashes(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start_matches(is_blank)),
                None => break,
            }
        }
        let (key, value) = split(&logical);
        let malformed = || MalformedLine { line: number + 1 };
        props.insert(unescape(key).ok_or_else(malformed)?, unescape(value).ok_or_else(malformed)?);
    }
    Ok(props)
}

/// Lines that end with `\n`, `\r` or `\r\n`.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else {
            rest = None;
            return Some(text);
        };
        let after = if text[end..].starts_with("\r\n") { end + 2 } else { end + 1 };
        rest = Some(&text[after..]);
        Some(&text[..end])
    })
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

fn ends_with_odd_backslashes(line: &str) -> bool {
    line.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1
}

/// Key and value of a logical line, still with their escapes.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let is_end = !escaped && (is_blank(c) || c == '=' || c == ':');
        escaped = c == '\\' && !escaped;
        is_end
    });
    let Some(end) = end else { return (line, "") };
    let rest = line[end..].trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], rest.trim_start_matches(is_blank))
}

/// Resolves escapes; none if a `\u` is malformed. Surrogates that belong together are put together, lone ones become U+FFFD.
fn unescape(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                Some('u') => {
                    let hex: String = chars.by_ref().take(4).collect();
                    if hex.len() != 4 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                        return None;
                    }
                    units.push(u16::from_str_radix(&hex, 16).ok()?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_java_reads_them() {
        let cases = [
            ("k=v", "k", "v"),
            (" sp = x y ", "sp", "x y "),
            ("colon:1", "colon", "1"),
            ("space sep", "space", "sep"),
            ("empty=", "empty", ""),
            ("nokey", "nokey", ""),
            (r"esc=a\tb\n\u00e9\\", "esc", "a\tb\né\\"),
            ("long=a\\\n   b", "long", "ab"),
            ("dup=1\ndup=2", "dup", "2"),
            (r"ke\=y=2", "ke=y", "2"),
            (r"\ lead=1", " lead", "1"),
            ("a=1\r\nb=2\rc=3", "b", "2"),
            (r"pair=\ud83d\ude00", "pair", "😀"),
            ("#c=1\n!d=2\nx=y", "x", "y"),
            ("end=a\\", "end", "a"),
        ];
        for (text, key, value) in cases {
            let props = parse(text).unwrap();
            assert_eq!(props.get(key).map(String::as_str), Some(value), "{text:?} gave {props:?}");
        }
        assert_eq!(parse_latin1(b"uni=\xc3\xa9").unwrap()["uni"], "Ã©");
        assert!(!parse("#c=1\n!d=2").unwrap().contains_key("c"));
    }

    #[test]
    fn a_malformed_escape_names_its_line() {
        assert_eq!(parse("a=1\n\nb=\\u12").unwrap_err().to_string(), "line 3: Malformed \\uxxxx encoding.");
    }
}
