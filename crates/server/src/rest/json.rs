//! Reads JSON token by token and complains in Jackson's words.
//!
//! Clients and tests of Kafka Connect match on parts of these texts, so they are kept. A token is judged when it is reached: an unknown field
//! before a missing bracket is reported as an unknown field. Nesting is bounded; nothing here recurses. What tokens mean is said in
//! [`super::body`].

use std::fmt::Write as _;

/// How deep a document may nest, as in Jackson.
pub(crate) const MAX_DEPTH: usize = 1_000;
/// How many digits a number may have, as in Jackson.
const MAX_NUMBER: usize = 1_000;

/// What Jackson says instead of where the text came from.
const SOURCE: &str = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: ";

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    StartObject,
    EndObject,
    StartArray,
    EndArray,
    Field(String),
    Text(String),
    /// An integer as it stands.
    Int(String),
    /// A number with a fraction or an exponent, as it stands.
    Float(String),
    True,
    False,
    Null,
}

impl Token {
    /// Jackson's name of the token.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::StartObject => "START_OBJECT",
            Self::EndObject => "END_OBJECT",
            Self::StartArray => "START_ARRAY",
            Self::EndArray => "END_ARRAY",
            Self::Field(_) => "FIELD_NAME",
            Self::Text(_) => "VALUE_STRING",
            Self::Int(_) => "VALUE_NUMBER_INT",
            Self::Float(_) => "VALUE_NUMBER_FLOAT",
            Self::True => "VALUE_TRUE",
            Self::False => "VALUE_FALSE",
            Self::Null => "VALUE_NULL",
        }
    }

    /// What Jackson calls the value that begins here.
    pub(crate) fn shape(&self) -> &'static str {
        match self {
            Self::StartObject | Self::EndObject | Self::Field(_) => "Object value",
            Self::StartArray | Self::EndArray => "Array value",
            Self::Text(_) => "String value",
            Self::Int(_) => "Integer value",
            Self::Float(_) => "Floating-point value",
            Self::True | Self::False => "Boolean value",
            Self::Null => "Null value",
        }
    }
}

/// A text that is no JSON, or not what was asked for, in Jackson's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonError(pub(crate) String);

/// A place where a bracket was opened.
#[derive(Clone, Copy)]
struct Frame {
    object: bool,
    line: usize,
    column: usize,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    /// A value, at the top or behind a colon.
    Value,
    /// A value or the end of an array that has just begun.
    FirstElement,
    /// A field or the end of an object that has just begun.
    FirstField,
    /// A comma or the closing bracket.
    Separator,
    /// Nothing but blanks; a further value is given out, for the caller to refuse.
    End,
}

/// The tokens of a document.
pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
    line_start: usize,
    open: Vec<Frame>,
    next: Next,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        Self { bytes, at: 0, line: 1, line_start: 0, open: Vec::new(), next: Next::Value }
    }

    /// An error at the current place.
    pub(crate) fn error(&self, text: impl std::fmt::Display) -> JsonError {
        JsonError(format!("{text}\n at {SOURCE}{}, column: {}]", self.line, self.column()))
    }

    /// The next token; none at the end of the document.
    pub(crate) fn next(&mut self) -> Result<Option<Token>, JsonError> {
        self.skip_blanks();
        match self.next {
            Next::Value | Next::End if self.open.is_empty() && self.peek().is_none() => Ok(None),
            Next::Value | Next::End => self.value().map(Some),
            Next::FirstElement => {
                if self.peek() == Some(b']') {
                    return Ok(Some(self.close(b']')?));
                }
                self.value().map(Some)
            }
            Next::FirstField => {
                if self.peek() == Some(b'}') {
                    return Ok(Some(self.close(b'}')?));
                }
                self.field().map(Some)
            }
            Next::Separator => match self.peek() {
                Some(bracket @ (b'}' | b']')) => Ok(Some(self.close(bracket)?)),
                Some(b',') => {
                    self.at += 1;
                    self.skip_blanks();
                    if self.in_object() { self.field().map(Some) } else { self.value().map(Some) }
                }
                Some(_) => {
                    let what = if self.in_object() { "Object" } else { "Array" };
                    Err(self.unexpected(&format!("was expecting comma to separate {what} entries")))
                }
                None => Err(self.end_of_input()),
            },
        }
    }

    fn in_object(&self) -> bool {
        self.open.last().is_some_and(|frame| frame.object)
    }

    fn column(&self) -> usize {
        self.at - self.line_start + 1
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while let Some(blank @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.at += 1;
            if blank == b'\n' {
                self.line += 1;
                self.line_start = self.at;
            }
        }
    }

    fn close(&mut self, bracket: u8) -> Result<Token, JsonError> {
        let object = bracket == b'}';
        match self.open.last() {
            Some(frame) if frame.object == object => {
                self.at += 1;
                self.open.pop();
                self.after_value();
                Ok(if object { Token::EndObject } else { Token::EndArray })
            }
            Some(frame) => {
                let (expected, what) = if frame.object { ('}', "Object") } else { (']', "Array") };
                Err(self.error(format!(
                    "Unexpected close marker '{}': expected '{expected}' (for {what} starting at {SOURCE}{}, column: {}])",
                    char::from(bracket),
                    frame.line,
                    frame.column
                )))
            }
            None => Err(self.unexpected(
                "expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')",
            )),
        }
    }

    fn after_value(&mut self) {
        self.next = if self.open.is_empty() { Next::End } else { Next::Separator };
    }

    fn field(&mut self) -> Result<Token, JsonError> {
        match self.peek() {
            Some(b'"') => {}
            Some(_) => return Err(self.unexpected("was expecting double-quote to start field name")),
            None => return Err(self.end_of_input()),
        }
        let name = self.string(true)?;
        self.skip_blanks();
        match self.peek() {
            Some(b':') => self.at += 1,
            Some(_) => return Err(self.unexpected("was expecting a colon to separate field name and value")),
            None => return Err(self.end_of_input()),
        }
        self.next = Next::Value;
        Ok(Token::Field(name))
    }

    fn value(&mut self) -> Result<Token, JsonError> {
        let Some(byte) = self.peek() else { return Err(self.end_of_input()) };
        let token = match byte {
            b'{' | b'[' => {
                if self.open.len() >= MAX_DEPTH {
                    return Err(self.error(format!(
                        "Document nesting depth ({}) exceeds the maximum allowed ({MAX_DEPTH}, from `StreamReadConstraints.getMaxNestingDepth()`)",
                        MAX_DEPTH + 1
                    )));
                }
                let object = byte == b'{';
                self.open.push(Frame { object, line: self.line, column: self.column() });
                self.at += 1;
                self.next = if object { Next::FirstField } else { Next::FirstElement };
                return Ok(if object { Token::StartObject } else { Token::StartArray });
            }
            b'"' => Token::Text(self.string(false)?),
            b'-' | b'0'..=b'9' => self.number()?,
            b'}' | b']' if !self.open.is_empty() => {
                return Err(self.unexpected(
                    "expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')",
                ));
            }
            b if b.is_ascii_alphabetic() || b == b'_' || b == b'$' => self.word()?,
            _ => {
                return Err(self.unexpected(
                    "expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')",
                ));
            }
        };
        self.after_value();
        Ok(token)
    }

    fn word(&mut self) -> Result<Token, JsonError> {
        let rest = &self.bytes[self.at..];
        let len = rest
            .iter()
            .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$') || *b >= 0x80))
            .unwrap_or(rest.len());
        let token = match &rest[..len] {
            b"true" => Token::True,
            b"false" => Token::False,
            b"null" => Token::Null,
            word => {
                /// How much of a word Jackson quotes.
                const LONGEST_WORD: usize = 256;
                let shown = String::from_utf8_lossy(&word[..len.min(LONGEST_WORD)]).into_owned();
                let dots = if len > LONGEST_WORD { "..." } else { "" };
                return Err(self.error(format!(
                    "Unrecognized token '{shown}{dots}': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
                )));
            }
        };
        self.at += len;
        Ok(token)
    }

    fn number(&mut self) -> Result<Token, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.digits();
        match whole {
            0 => {
                return Err(match self.peek() {
                    None => self.end_of_input(),
                    Some(_) => self.unexpected("expected digit (0-9) to follow minus sign, for valid numeric value"),
                });
            }
            1 => {}
            _ if self.bytes[self.at - whole] == b'0' => {
                return Err(self.error("Invalid numeric value: Leading zeroes not allowed"));
            }
            _ => {}
        }
        let mut float = false;
        if self.peek() == Some(b'.') {
            float = true;
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.unexpected("Decimal point not followed by a digit"));
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            float = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.unexpected("Exponent indicator not followed by a digit"));
            }
        }
        let text = &self.bytes[start..self.at];
        if text.len() > MAX_NUMBER {
            return Err(self.error(format!(
                "Number value length ({}) exceeds the maximum allowed ({MAX_NUMBER}, from `StreamReadConstraints.getMaxNumberLength()`)",
                text.len()
            )));
        }
        if let Some(b) = self.peek()
            && (b.is_ascii_alphabetic() || b == b'_' || b >= 0x80)
        {
            return Err(self.unexpected("Expected space separating root-level values"));
        }
        let text = String::from_utf8_lossy(text).into_owned();
        Ok(if float { Token::Float(text) } else { Token::Int(text) })
    }

    fn digits(&mut self) -> usize {
        let rest = &self.bytes[self.at..];
        let n = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        self.at += n;
        n
    }

    /// A string from its opening quote on.
    fn string(&mut self, field: bool) -> Result<String, JsonError> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let Some(byte) = self.peek() else {
                let what = if field { " in field name" } else { " in VALUE_STRING" };
                return Err(self.error(format!("Unexpected end-of-input{what}")));
            };
            match byte {
                b'"' => {
                    self.at += 1;
                    break;
                }
                b'\\' => self.escape(&mut text)?,
                0..0x20 => {
                    return Err(self.error(format!(
                        "Illegal unquoted character ((CTRL-CHAR, code {byte})): has to be escaped using backslash to be included in {}",
                        if field { "name" } else { "string value" }
                    )));
                }
                0x20..0x80 => {
                    text.push(byte);
                    self.at += 1;
                }
                _ => self.multi_byte(&mut text)?,
            }
        }
        Ok(String::from_utf8(text).expect("only whole characters were put in"))
    }

    /// A character of several bytes.
    fn multi_byte(&mut self, text: &mut Vec<u8>) -> Result<(), JsonError> {
        let rest = &self.bytes[self.at..];
        let len = match rest[0] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            bad => return Err(self.error(format!("Invalid UTF-8 start byte 0x{bad:x}"))),
        };
        match rest.get(..len).map(std::str::from_utf8) {
            Some(Ok(_)) => {
                text.extend_from_slice(&rest[..len]);
                self.at += len;
                Ok(())
            }
            Some(Err(_)) => {
                let bad = rest[1..len].iter().find(|b| !(0x80..0xc0).contains(*b)).unwrap_or(&rest[1]);
                Err(self.error(format!("Invalid UTF-8 middle byte 0x{bad:x}")))
            }
            None => Err(self.error("Unexpected end-of-input in VALUE_STRING")),
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), JsonError> {
        let Some(&kind) = self.bytes.get(self.at + 1) else {
            return Err(self.error("Unexpected end-of-input in character escape sequence"));
        };
        let plain = match kind {
            b'"' | b'\\' | b'/' => kind,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.at += 2;
                let unit = self.hex()?;
                let c = match unit {
                    0xd800..0xdc00 if self.bytes[self.at..].starts_with(b"\\u") => {
                        let before = self.at;
                        self.at += 2;
                        let low = self.hex()?;
                        if (0xdc00..0xe000).contains(&low) {
                            char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
                        } else {
                            self.at = before;
                            None
                        }
                    }
                    _ => char::from_u32(unit),
                };
                // Half a surrogate pair is no character; Java carries it along and prints `?`.
                let c = c.unwrap_or('?');
                text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => {
                self.at += 1;
                let bad = self.quoted_char();
                return Err(self.error(format!("Unrecognized character escape {bad}")));
            }
        };
        text.push(plain);
        self.at += 2;
        Ok(())
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let mut value = 0;
        for _ in 0..4 {
            let Some(byte) = self.peek() else {
                return Err(self.error("Unexpected end-of-input in character escape sequence"));
            };
            let Some(digit) = char::from(byte).to_digit(16) else {
                return Err(self.unexpected("expected a hex-digit for character escape sequence"));
            };
            value = value * 16 + digit;
            self.at += 1;
        }
        Ok(value)
    }

    fn unexpected(&self, why: &str) -> JsonError {
        self.error(format!("Unexpected character ({}): {why}", self.quoted_char()))
    }

    /// The character here as Jackson quotes it: `'x' (code 120)`.
    fn quoted_char(&self) -> String {
        let rest = &self.bytes[self.at..];
        let c = rest
            .utf8_chunks()
            .next()
            .and_then(|chunk| chunk.valid().chars().next())
            .unwrap_or_else(|| char::from(rest.first().copied().unwrap_or(0)));
        let code = u32::from(c);
        let mut text = String::new();
        let written = if c.is_control() {
            write!(text, "(CTRL-CHAR, code {code})")
        } else if code > 255 {
            write!(text, "'{c}' (code {code} / 0x{code:x})")
        } else {
            write!(text, "'{c}' (code {code})")
        };
        written.expect("writing to a string cannot fail");
        text
    }

    fn end_of_input(&self) -> JsonError {
        match self.open.last() {
            Some(frame) => {
                let what = if frame.object { "Object" } else { "Array" };
                self.error(format!(
                    "Unexpected end-of-input: expected close marker for {what} (start marker at {SOURCE}{}, column: {}])",
                    frame.line, frame.column
                ))
            }
            None => self.error("Unexpected end-of-input"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<Token>, String> {
        let mut lexer = Lexer::new(text.as_bytes());
        let mut all = Vec::new();
        loop {
            match lexer.next() {
                Ok(Some(token)) => all.push(token),
                Ok(None) => return Ok(all),
                Err(JsonError(text)) => return Err(text),
            }
        }
    }

    #[test]
    fn tokens_come_in_order() {
        let all = tokens(r#" {"a": [1, -2.5e3, true, false, null, {}], "b\u00e9\ud83d\ude00": "x\n\/"} "#).unwrap();
        let names: Vec<_> = all.iter().map(Token::name).collect();
        assert_eq!(
            names.join(" "),
            "START_OBJECT FIELD_NAME START_ARRAY VALUE_NUMBER_INT VALUE_NUMBER_FLOAT VALUE_TRUE VALUE_FALSE VALUE_NULL \
             START_OBJECT END_OBJECT END_ARRAY FIELD_NAME VALUE_STRING END_OBJECT"
        );
        assert!(all.contains(&Token::Field("bé😀".to_owned())));
        assert!(all.contains(&Token::Text("x\n/".to_owned())));
        assert_eq!(tokens("  "), Ok(vec![]));
    }

    #[test]
    fn errors_are_jacksons() {
        let cases = [
            ("{", "Unexpected end-of-input: expected close marker for Object (start marker at "),
            ("[1", "Unexpected end-of-input: expected close marker for Array (start marker at "),
            (
                "x",
                "Unrecognized token 'x': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')\n at ",
            ),
            ("nul", "Unrecognized token 'nul'"),
            (r#"{"a":"b",}"#, "Unexpected character ('}' (code 125)): was expecting double-quote to start field name"),
            ("{'a':1}", "Unexpected character (''' (code 39)): was expecting double-quote to start field name"),
            (
                r#"{"a" 1}"#,
                "Unexpected character ('1' (code 49)): was expecting a colon to separate field name and value",
            ),
            (
                r#"{"a":1 "b":2}"#,
                "Unexpected character ('\"' (code 34)): was expecting comma to separate Object entries",
            ),
            ("[1 2]", "Unexpected character ('2' (code 50)): was expecting comma to separate Array entries"),
            ("[1}", "Unexpected close marker '}': expected ']' (for Array starting at "),
            ("[01]", "Invalid numeric value: Leading zeroes not allowed"),
            (
                "\"a\tb\"",
                "Illegal unquoted character ((CTRL-CHAR, code 9)): has to be escaped using backslash to be included in string value",
            ),
            ("\"a", "Unexpected end-of-input in VALUE_STRING"),
            (r#""\q""#, "Unrecognized character escape 'q' (code 113)"),
            (r#""\u00g0""#, "Unexpected character ('g' (code 103)): expected a hex-digit"),
            ("€", "Unexpected character ('€' (code 8364 / 0x20ac)): expected a valid value"),
            ("{} x", "Unrecognized token 'x'"),
            ("]", "Unexpected character (']' (code 93)): expected a valid value"),
        ];
        for (text, expected) in cases {
            let error = tokens(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
            assert!(error.contains("at [Source: REDACTED"), "{error}");
        }
        let bad_utf8 = Lexer::new(b"\"\xff\"").next().unwrap_err();
        assert!(bad_utf8.0.starts_with("Invalid UTF-8 start byte 0xff"), "{bad_utf8:?}");
    }

    #[test]
    fn places_are_counted_by_line() {
        let error = tokens("{\n  \"a\": }").unwrap_err();
        assert!(error.ends_with("line: 2, column: 8]"), "{error}");
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let error = tokens(&"[".repeat(100_000)).unwrap_err();
        assert!(error.starts_with("Document nesting depth (1001) exceeds the maximum allowed (1000"), "{error}");
        let error = tokens(&"9".repeat(1_001)).unwrap_err();
        assert!(error.starts_with("Number value length (1001) exceeds"), "{error}");
    }
}
