//! Tokens of JSON text, with the leniences of Jackson as Kafka Connect configures it.
//!
//! Accepted beyond the standard: leading zeros in numbers, overlong UTF-8 and code points beyond U+10FFFF, surrogates without their other
//! half, text after the first value. Text in UTF-16 and UTF-32 is told by its zero bytes or its byte order mark. Bounded as in Jackson:
//! nesting, length of numbers and of names.

use kurier_api::data::{Decimal, Foreign, Text, Value, java_number};
use std::borrow::Cow;

/// Containers inside containers; Jackson's `StreamReadConstraints`.
pub(crate) const MAX_DEPTH: usize = 1000;
/// Digits of a number.
const MAX_NUMBER_LENGTH: usize = 1000;
/// UTF-16 units of a member's name.
const MAX_NAME_LENGTH: usize = 50_000;

/// Why a text is no JSON, for a person: where and what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub(crate) struct SyntaxError {
    what: &'static str,
    at: usize,
}

/// A JSON string: mostly a piece of the text itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Str<'a> {
    Utf8(Cow<'a, str>),
    /// It has an unpaired surrogate.
    Utf16(Box<[u16]>),
}

impl<'a> Str<'a> {
    pub(crate) fn as_utf8(&self) -> Option<&str> {
        match self {
            Self::Utf8(text) => Some(text),
            Self::Utf16(_) => None,
        }
    }

    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Utf8(Cow::Borrowed(text)) => Value::Text(Text::new(text)),
            Self::Utf8(Cow::Owned(text)) => Value::Text(text.into()),
            Self::Utf16(units) => Value::Foreign(Box::new(Foreign::MalformedString(units))),
        }
    }
}

/// A JSON number, as exactly as Jackson reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number<'a> {
    /// Integral, within 64 bits.
    Integer(i64),
    /// Integral, beyond them.
    BigInteger(&'a str),
    /// With a fraction or an exponent.
    Decimal(&'a str),
}

impl Number<'_> {
    /// The low 64 bits of the integral part, as `JsonNode.longValue` gives them.
    pub(crate) fn as_i64(&self) -> i64 {
        match self {
            Self::Integer(n) => *n,
            Self::BigInteger(text) => java_number::low_bits(&text.parse().expect("an integral number is an integer")),
            Self::Decimal(text) => text.parse::<Decimal>().map_or(0, |decimal| decimal.low_bits()),
        }
    }

    /// As `JsonNode.doubleValue`; by way of a decimal, so that there is no negative zero.
    pub(crate) fn as_f64(&self) -> f64 {
        match self {
            Self::Integer(n) => *n as f64,
            Self::BigInteger(text) | Self::Decimal(text) => {
                text.parse::<f64>().expect("a JSON number is a number") + 0.0
            }
        }
    }

    /// As `JsonNode.floatValue`.
    pub(crate) fn as_f32(&self) -> f32 {
        match self {
            Self::Integer(n) => *n as f32,
            Self::BigInteger(text) | Self::Decimal(text) => {
                text.parse::<f32>().expect("a JSON number is a number") + 0.0
            }
        }
    }
}

/// Text in another encoding as UTF-8; mostly the bytes themselves.
pub(crate) fn to_utf8(bytes: &[u8]) -> Result<Cow<'_, [u8]>, SyntaxError> {
    // A plain document begins with a brace or a quote and another ASCII character.
    if let [b' '..=b'~', b' '..=b'~', ..] = bytes {
        return Ok(Cow::Borrowed(bytes));
    }
    let weird = Err(SyntaxError { what: "an unsupported byte order", at: 0 });
    match *bytes {
        [0, 0, 0xfe, 0xff, ref rest @ ..] => utf32(rest, u32::from_be_bytes),
        [0xff, 0xfe, 0, 0, ref rest @ ..] => utf32(rest, u32::from_le_bytes),
        [0, 0, 0xff, 0xfe, ..] | [0xfe, 0xff, 0, 0, ..] => weird,
        [0xfe, 0xff, _, _, ..] => Ok(utf16(&bytes[2..], u16::from_be_bytes)),
        [0xff, 0xfe, _, _, ..] => Ok(utf16(&bytes[2..], u16::from_le_bytes)),
        [0xef, 0xbb, 0xbf, _, ..] => Ok(Cow::Borrowed(&bytes[3..])),
        [0, 0, 0, _, ..] => utf32(bytes, u32::from_be_bytes),
        [_, 0, 0, 0, ..] => utf32(bytes, u32::from_le_bytes),
        [0, _, 0, 0, ..] | [0, 0, _, 0, ..] => weird,
        [0, _, ..] => Ok(utf16(bytes, u16::from_be_bytes)),
        [_, 0, ..] => Ok(utf16(bytes, u16::from_le_bytes)),
        _ => Ok(Cow::Borrowed(bytes)),
    }
}

fn utf16(bytes: &[u8], read: fn([u8; 2]) -> u16) -> Cow<'static, [u8]> {
    let pairs = bytes.chunks_exact(2);
    let odd = !pairs.remainder().is_empty();
    let units = pairs.map(|pair| read([pair[0], pair[1]]));
    let mut text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    if odd {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    Cow::Owned(text.into_bytes())
}

/// Surrogates become escapes: where a string may hold them, that is the same.
fn utf32(bytes: &[u8], read: fn([u8; 4]) -> u32) -> Result<Cow<'static, [u8]>, SyntaxError> {
    let units = bytes.chunks_exact(4);
    if !units.remainder().is_empty() {
        return Err(SyntaxError { what: "the text ends within a UTF-32 unit", at: bytes.len() });
    }
    let mut out = Vec::with_capacity(bytes.len() / 4);
    for unit in units {
        let code = read([unit[0], unit[1], unit[2], unit[3]]);
        match char::from_u32(code) {
            Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None if code <= 0xffff => out.extend_from_slice(format!("\\u{code:04x}").as_bytes()),
            None => return Err(SyntaxError { what: "a code point beyond U+10FFFF", at: 0 }),
        }
    }
    Ok(Cow::Owned(out))
}

/// Whether a byte of a string needs a look: the end, an escape, a control character, or not ASCII.
static SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = i < 0x20 || i >= 0x80 || i == b'"' as usize || i == b'\\' as usize;
        i += 1;
    }
    table
};

/// How many bytes a string goes on without one that needs a look. Eight at a time, as most text is plain.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES * 0x80;
    // The high bit of a byte of the result tells of a zero byte in `x`; bytes above the first such one may be wrong.
    let zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGH;
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk() {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let found =
            (control | word | zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')))) & HIGH;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + bytes[at..].iter().take_while(|b| !SPECIAL[usize::from(**b)]).count()
}

/// Reads tokens one after the other.
pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn error<T>(&self, what: &'static str) -> Result<T, SyntaxError> {
        Err(SyntaxError { what, at: self.at })
    }

    /// Where the next token is read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The next byte that is not white space, not consumed.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Consumes one byte: the one just peeked.
    #[inline]
    pub(crate) fn bump(&mut self) {
        self.at += 1;
    }

    /// Consumes this byte after white space.
    #[inline]
    pub(crate) fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), SyntaxError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        self.error(what)
    }

    /// After a value in a container: whether another one follows.
    #[inline]
    pub(crate) fn more(&mut self, end: u8) -> Result<bool, SyntaxError> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(b) if b == end => {
                self.at += 1;
                Ok(false)
            }
            _ => self.error("a comma or the end of the container is missing"),
        }
    }

    /// `true`, `false` or `null`, which must not run on as a word.
    pub(crate) fn literal(&mut self, word: &str) -> Result<(), SyntaxError> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return self.error("an unknown word");
        }
        self.at += word.len();
        match self.bytes.get(self.at) {
            None => Ok(()),
            Some(b) if *b < b'0' || matches!(b, b']' | b'}') => Ok(()),
            Some(b) if b.is_ascii() => {
                if b.is_ascii_alphanumeric() || matches!(b, b'_' | 0x7f) {
                    return self.error("an unknown word");
                }
                Ok(())
            }
            Some(_) => {
                let rest = &self.bytes[self.at..self.bytes.len().min(self.at + 4)];
                let next = rest.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
                match next {
                    Some(c) if !c.is_alphanumeric() => Ok(()),
                    _ => self.error("an unknown word"),
                }
            }
        }
    }

    /// A member's name with its colon; the quote is not consumed yet.
    pub(crate) fn name(&mut self) -> Result<Str<'a>, SyntaxError> {
        if self.peek() != Some(b'"') {
            return self.error("a name in quotes is missing");
        }
        let start = self.at;
        let name = self.text(true)?;
        if self.at - start > MAX_NAME_LENGTH {
            let units = match &name {
                Str::Utf8(text) => text.encode_utf16().count(),
                Str::Utf16(units) => units.len(),
            };
            if units > MAX_NAME_LENGTH {
                return self.error("a name is longer than 50000 characters");
            }
        }
        self.expect(b':', "a colon is missing")?;
        Ok(name)
    }

    /// A string; the quote is not consumed yet.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<Str<'a>, SyntaxError> {
        self.text(false)
    }

    #[inline]
    fn text(&mut self, name: bool) -> Result<Str<'a>, SyntaxError> {
        self.at += 1;
        let start = self.at;
        self.at += plain_prefix(&self.bytes[start..]);
        if self.bytes.get(self.at) == Some(&b'"') {
            let text = std::str::from_utf8(&self.bytes[start..self.at]).expect("ASCII is UTF-8");
            self.at += 1;
            return Ok(Str::Utf8(Cow::Borrowed(text)));
        }
        self.string_with_specials(start, name)
    }

    /// Valid UTF-8 without escapes is borrowed; the rest goes by UTF-16, as in Java.
    fn string_with_specials(&mut self, start: usize, name: bool) -> Result<Str<'a>, SyntaxError> {
        let mut escaped = false;
        let mut end = self.at;
        loop {
            match self.bytes.get(end) {
                None => return self.error("a string without its end"),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    end += 2;
                }
                Some(b) if *b < 0x20 => return self.error("a control character in a string"),
                Some(_) => end += 1,
            }
        }
        let raw = &self.bytes[start..end];
        let text = std::str::from_utf8(raw);
        let string = match text {
            Ok(text) if !escaped => Str::Utf8(Cow::Borrowed(text)),
            _ => {
                let units = self.units(raw, name)?;
                match String::from_utf16(&units) {
                    Ok(text) => Str::Utf8(Cow::Owned(text)),
                    Err(_) => Str::Utf16(units.into()),
                }
            }
        };
        self.at = end + 1;
        Ok(string)
    }

    fn units(&self, raw: &[u8], name: bool) -> Result<Vec<u16>, SyntaxError> {
        let mut units = Vec::with_capacity(raw.len());
        let mut at = 0;
        while let Some(&first) = raw.get(at) {
            at += 1;
            let mut continuation = |value: u32| match raw.get(at) {
                Some(b) if b & 0xc0 == 0x80 => {
                    at += 1;
                    Ok(value << 6 | u32::from(b & 0x3f))
                }
                _ => self.error("malformed UTF-8"),
            };
            match first {
                b'\\' => {
                    let (unit, length) = self.escape(&raw[at..])?;
                    units.push(unit);
                    at += length;
                    if name && (0xd800..0xe000).contains(&unit) {
                        // Jackson refuses a name with half a surrogate pair, but not a text.
                        let Some(rest) = raw[at..].strip_prefix(b"\\") else {
                            return self.error("half a surrogate pair in a name");
                        };
                        let (low, length) = self.escape(rest)?;
                        if unit >= 0xdc00 || !(0xdc00..0xe000).contains(&low) {
                            return self.error("half a surrogate pair in a name");
                        }
                        units.push(low);
                        at += 1 + length;
                    }
                }
                0..0x80 => units.push(first.into()),
                0xc0..0xe0 => units.push(continuation(u32::from(first & 0x1f))? as u16),
                0xe0..0xf0 => {
                    let value = continuation(u32::from(first & 0x0f))?;
                    let unit = continuation(value)? as u16;
                    if (0xd800..0xe000).contains(&unit) {
                        return self.error("a surrogate in UTF-8");
                    }
                    units.push(unit);
                }
                0xf0..0xf8 => {
                    let value = continuation(u32::from(first & 0x07))?;
                    let value = continuation(value)?;
                    // Jackson's arithmetic, which other code points than U+10000 to U+10FFFF turn into something odd: in names it adds.
                    let value = (continuation(value)? as i32).wrapping_sub(0x1_0000);
                    units.push(if name { 0xd800 + (value >> 10) } else { 0xd800 | value >> 10 } as u16);
                    units.push((0xdc00 | value & 0x3ff) as u16);
                }
                _ => return self.error("malformed UTF-8"),
            }
        }
        Ok(units)
    }

    fn escape(&self, rest: &[u8]) -> Result<(u16, usize), SyntaxError> {
        let unit = match rest.first() {
            Some(b'b') => 8,
            Some(b't') => 9,
            Some(b'n') => 10,
            Some(b'f') => 12,
            Some(b'r') => 13,
            Some(b @ (b'"' | b'/' | b'\\')) => u16::from(*b),
            Some(b'u') => {
                let digits = rest.get(1..5).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
                let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
                let Some(unit) = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()) else {
                    return self.error("an escape without four hex digits");
                };
                return Ok((unit, 5));
            }
            _ => return self.error("an unknown escape"),
        };
        Ok((unit, 1))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }

    /// A number; a digit or the minus has been peeked.
    pub(crate) fn number(&mut self) -> Result<Number<'a>, SyntaxError> {
        let start = self.at;
        let negative = self.bytes[self.at] == b'-';
        self.at += usize::from(negative);
        let digits_at = self.at;
        if self.digits() == 0 {
            return self.error("a number without digits");
        }
        let zeros = self.bytes[digits_at..self.at - 1].iter().take_while(|b| **b == b'0').count();
        let mut length = self.at - digits_at - zeros;
        let (mut decimal, mut exponent_digits) = (false, 0);
        if self.bytes.get(self.at) == Some(&b'.') {
            decimal = true;
            self.at += 1;
            let digits = self.digits();
            if digits == 0 {
                return self.error("a fraction without digits");
            }
            length += digits;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            decimal = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            let digits = self.digits();
            if digits == 0 {
                return self.error("an exponent without digits");
            }
            length += digits;
            exponent_digits = digits;
        }
        if length > MAX_NUMBER_LENGTH {
            return self.error("a number of more than 1000 digits");
        }
        let text = std::str::from_utf8(&self.bytes[start..self.at]).expect("a number is ASCII");
        if !decimal {
            // Up to 18 digits fit without a check.
            if length <= 18 {
                let magnitude = self.bytes[digits_at..self.at].iter().fold(0i64, |n, b| n * 10 + i64::from(b - b'0'));
                return Ok(Number::Integer(if negative { -magnitude } else { magnitude }));
            }
            return Ok(text.parse().map_or(Number::BigInteger(text), Number::Integer));
        }
        if exponent_digits > 8 && text.parse::<kurier_api::data::Decimal>().is_err() {
            return self.error("an exponent beyond 32 bits");
        }
        Ok(Number::Decimal(text))
    }

    /// After a number that is the whole document only white space or the end may follow.
    pub(crate) fn end_of_root_number(&self) -> Result<(), SyntaxError> {
        match self.bytes.get(self.at) {
            None | Some(b' ' | b'\n' | b'\t' | b'\r') => Ok(()),
            Some(_) => self.error("a number that does not end"),
        }
    }

    /// One more level of nesting.
    pub(crate) fn deeper(&self, depth: usize) -> Result<usize, SyntaxError> {
        if depth == MAX_DEPTH {
            return self.error("more than 1000 containers in each other");
        }
        Ok(depth + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every byte at every place of the eight that are looked at together, with mischief behind it.
        #[test]
        fn a_string_is_scanned_to_its_first_special_byte(
            plain in proptest::collection::vec(prop_oneof![0x20u8..0x22, 0x23u8..0x5c, 0x5du8..0x80], 0..24),
            rest in proptest::collection::vec(any::<u8>(), 0..12),
        ) {
            let text = [plain, rest].concat();
            let one_by_one = text.iter().take_while(|byte| !SPECIAL[usize::from(**byte)]).count();
            prop_assert_eq!(plain_prefix(&text), one_by_one);
        }
    }
}
