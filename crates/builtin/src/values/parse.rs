//! From text to the value that it looks like: Java's `Values.parseString`.
//!
//! What cannot be read as an array, map, time or number is a string; nothing here fails. Java's oddities are kept: nested containers are
//! merged by schema but their values are not converted, a number beside a date becomes a date, a null beside numbers makes all a string.
//! Bounded where Java is not: containers nested deeper than [`MAX_DEPTH`] make the text a string.

use super::Values;
use super::convert::Conversion;
use super::time::Pattern;
use kurier_api::data::{
    Decimal, Map, Schema, SchemaAndValue, SchemaBuilder, SchemaRef, Type, Value, java_number, logical,
};
use num_bigint::BigInt;
use num_traits::ToPrimitive;

/// Containers inside containers that are read as such.
const MAX_DEPTH: usize = 500;

/// Characters of a number; a longer one is a string. Java has no bound, but its time grows with the square of the length.
const MAX_NUMBER_LENGTH: usize = 100_000;

/// The text is no container or no embedded value; who reads the container around it gives up too.
struct NotReadable;

/// Reads a text.
pub(super) fn parse_string(values: &Values, text: &str) -> SchemaAndValue {
    if text.is_empty() {
        return string(text);
    }
    let mut parser = Parser { values, tokens: Tokens { text, at: 0, next: None } };
    parser.value(false, 0).unwrap_or_else(|NotReadable| string(text))
}

fn string(text: &str) -> SchemaAndValue {
    SchemaAndValue::new(Schema::string(), text)
}

/// Java's `trim`.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// Splits a text at delimiters that no backslash escapes, and can go back.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
    /// A token that was looked at and not taken.
    next: Option<&'a str>,
}

impl<'a> Tokens<'a> {
    fn mark(&self) -> usize {
        self.at - self.next.map_or(0, str::len)
    }

    fn rewind(&mut self, at: usize) {
        self.at = at;
        self.next = None;
    }

    fn has_next(&self) -> bool {
        self.next.is_some() || self.at < self.text.len()
    }

    fn read(&mut self) -> &'a str {
        let start = self.at;
        let mut escaped = false;
        for (i, b) in self.text.as_bytes()[start..].iter().enumerate() {
            match b {
                b'\\' => escaped = !escaped,
                b':' | b',' | b'{' | b'}' | b'[' | b']' | b'"' if !escaped => {
                    self.at = start + i.max(1);
                    return &self.text[start..self.at];
                }
                _ => escaped = false,
            }
        }
        self.at = self.text.len();
        &self.text[start..]
    }

    fn take(&mut self) -> &'a str {
        match self.next.take() {
            Some(token) => token,
            None => self.read(),
        }
    }

    /// The text of the next `n` tokens, not taken.
    fn ahead(&mut self, n: usize) -> &'a str {
        let start = self.mark();
        for _ in 0..n {
            if self.has_next() {
                self.take();
            }
        }
        let end = self.at;
        self.rewind(start);
        &self.text[start..end]
    }

    /// Takes the next token that is not blank if it is this one.
    fn consume(&mut self, expected: &str) -> bool {
        if self.next.is_none() && self.at >= self.text.len() {
            return false;
        }
        let mut token = self.take();
        while trim(token).is_empty() && self.at < self.text.len() {
            token = self.read();
        }
        if trim(token) == expected {
            return true;
        }
        self.next = Some(token);
        false
    }
}

struct Parser<'a> {
    values: &'a Values,
    tokens: Tokens<'a>,
}

impl<'a> Parser<'a> {
    /// The next value. An embedded one stands in a container.
    fn value(&mut self, embedded: bool, depth: usize) -> Result<SchemaAndValue, NotReadable> {
        if !self.tokens.has_next() {
            return Ok(SchemaAndValue::NULL);
        }
        let start = self.tokens.mark();
        if embedded && self.tokens.consume("\"") {
            return Ok(self.quoted());
        }
        if self.literal("null", embedded) {
            return Ok(SchemaAndValue::NULL);
        }
        for (word, value) in [("true", true), ("false", false)] {
            if self.literal(word, embedded) {
                return Ok(SchemaAndValue::new(Schema::boolean(), value));
            }
        }
        let container = if depth == MAX_DEPTH {
            None
        } else if self.tokens.consume("[") {
            Some(self.array(depth + 1))
        } else if self.tokens.consume("{") {
            Some(self.map(depth + 1))
        } else {
            None
        };
        match container {
            Some(Ok(container)) => return Ok(container),
            Some(Err(NotReadable)) => self.tokens.rewind(start),
            None => {}
        }
        self.token(embedded)
    }

    /// A word that stands for a value; at the top nothing may follow it.
    fn literal(&mut self, word: &str, embedded: bool) -> bool {
        let start = self.tokens.mark();
        if self.tokens.consume(word) {
            if embedded || !self.tokens.has_next() {
                return true;
            }
            self.tokens.rewind(start);
        }
        false
    }

    /// The text up to the next quote; a time if it looks like one.
    fn quoted(&mut self) -> SchemaAndValue {
        let mut content = String::new();
        while self.tokens.has_next() {
            if self.tokens.consume("\"") {
                break;
            }
            content.push_str(self.tokens.take());
        }
        self.temporal(&content).unwrap_or_else(|| string(&content))
    }

    fn array(&mut self, depth: usize) -> Result<SchemaAndValue, NotReadable> {
        let mut items = Vec::new();
        let mut schema = CommonSchema::default();
        while self.tokens.has_next() {
            if self.tokens.consume("]") {
                return self.finish_array(schema, items);
            }
            if self.tokens.consume(",") {
                return Err(NotReadable);
            }
            let item = self.value(true, depth)?;
            schema.merge(&item);
            items.push(item.value);
            let here = self.tokens.mark();
            if self.tokens.consume("]") {
                self.tokens.rewind(here);
            } else if !self.tokens.consume(",") {
                return Err(NotReadable);
            }
        }
        Err(NotReadable)
    }

    fn finish_array(&self, schema: CommonSchema, items: Vec<Value>) -> Result<SchemaAndValue, NotReadable> {
        let inner = schema.common;
        let items = match &inner {
            Some(inner) => items.into_iter().map(|item| self.align(inner, item)).collect::<Result<_, _>>()?,
            None => items,
        };
        Ok(SchemaAndValue::new(container(Type::Array, None, inner), Value::array(items)))
    }

    fn map(&mut self, depth: usize) -> Result<SchemaAndValue, NotReadable> {
        let mut pairs = Map::linked();
        let (mut keys, mut values) = (CommonSchema::default(), CommonSchema::default());
        while self.tokens.has_next() {
            if self.tokens.consume("}") {
                return self.finish_map(keys, values, pairs);
            }
            if self.tokens.consume(",") {
                return Err(NotReadable);
            }
            let key = self.value(true, depth)?;
            if key.value.is_null() || !self.tokens.consume(":") {
                return Err(NotReadable);
            }
            let value = self.value(true, depth)?;
            self.tokens.consume(",");
            keys.merge(&key);
            values.merge(&value);
            pairs.insert(key.value, value.value);
        }
        Err(NotReadable)
    }

    fn finish_map(&self, keys: CommonSchema, values: CommonSchema, pairs: Map) -> Result<SchemaAndValue, NotReadable> {
        let Some(keys) = keys.common else {
            return Ok(SchemaAndValue::new(container(Type::Map, None, None), pairs));
        };
        let values = values.common;
        let mut aligned = Map::linked();
        for (key, value) in pairs.into_pairs() {
            let value = match &values {
                Some(schema) => self.align(schema, value)?,
                None => value,
            };
            aligned.insert(self.align(&keys, key)?, value);
        }
        Ok(SchemaAndValue::new(container(Type::Map, Some(keys), values), aligned))
    }

    /// Converts an element to the schema that all share.
    fn align(&self, schema: &SchemaRef, value: Value) -> Result<Value, NotReadable> {
        Conversion { values: self.values, from: None }.to_schema(schema, value).map_err(|_| NotReadable)
    }

    /// A value of one token, or the whole text as a string.
    fn token(&mut self, embedded: bool) -> Result<SchemaAndValue, NotReadable> {
        let whole = self.tokens.text;
        let token = self.tokens.take();
        if trim(token).is_empty() {
            return Ok(string(token));
        }
        let token = trim(token);
        let first = token.chars().next().expect("it is not empty");
        let first_is_digit = java_number::digit(first).is_some();
        if first_is_digit {
            // Colons are delimiters, so that a time is five tokens.
            let more = self.tokens.ahead(4);
            let long = [token, more].concat();
            if let Some(temporal) = self.temporal(&long) {
                for _ in 0..4 {
                    if self.tokens.has_next() {
                        self.tokens.take();
                    }
                }
                return Ok(temporal);
            }
            if let Some(temporal) = self.temporal(token) {
                return Ok(temporal);
            }
        }
        if (first_is_digit || first == '+' || first == '-')
            && let Some(number) = number(token)
        {
            return Ok(number);
        }
        if embedded { Err(NotReadable) } else { Ok(string(whole)) }
    }

    /// A date, time or timestamp: the length of the text says which.
    fn temporal(&self, text: &str) -> Option<SchemaAndValue> {
        let unescaped;
        let text = if text.contains("\\:") {
            unescaped = text.replace("\\:", ":");
            &unescaped
        } else {
            text
        };
        // Other lengths are sorted out before they are counted in UTF-16 units.
        if !(10..=72).contains(&text.len()) {
            return None;
        }
        let (pattern, schema) = match text.encode_utf16().count() {
            10 => (Pattern::Date, logical::date()),
            13 => (Pattern::Time, logical::time()),
            24 => (Pattern::Timestamp, logical::timestamp()),
            _ => return None,
        };
        pattern.read(text, self.values.zone()).map(|ms| SchemaAndValue::new(schema, Value::Date(ms)))
    }
}

fn container(kind: Type, key: Option<SchemaRef>, value: Option<SchemaRef>) -> SchemaRef {
    SchemaBuilder::with_inner(kind, key, value).build().expect("nothing is set that could be wrong")
}

/// The schema that all elements share.
#[derive(Default)]
struct CommonSchema {
    common: Option<SchemaRef>,
    incompatible: bool,
}

impl CommonSchema {
    fn merge(&mut self, element: &SchemaAndValue) {
        let Some(latest) = element.schema.as_ref().filter(|_| !self.incompatible) else { return };
        self.common = match &self.common {
            None => Some(latest.clone()),
            Some(common) => {
                let merged = merge_schemas(common, latest);
                self.incompatible = merged.is_none();
                merged
            }
        };
    }
}

/// Numbers widen; of two schemas of one type the later counts, whatever else differs.
fn merge_schemas(a: &SchemaRef, b: &SchemaRef) -> Option<SchemaRef> {
    if a.kind() == b.kind() {
        return Some(b.clone());
    }
    let both_numbers = a.kind() <= Type::Float64 && b.kind() <= Type::Float64;
    both_numbers.then(|| if a.kind() > b.kind() { a.clone() } else { b.clone() })
}

/// Java's `new BigDecimal(text)`, within bounds.
pub(super) fn decimal(text: &str) -> Option<Decimal> {
    if text.len() > MAX_NUMBER_LENGTH { None } else { text.parse().ok() }
}

/// The smallest type that holds a number; fractions are floats even where those lose digits.
fn number(text: &str) -> Option<SchemaAndValue> {
    let decimal = decimal(text)?;
    if let Some(n) = integral(&decimal) {
        let (schema, value) = if let Ok(n) = i8::try_from(n) {
            (Schema::int8(), Value::I8(n))
        } else if let Ok(n) = i16::try_from(n) {
            (Schema::int16(), Value::I16(n))
        } else if let Ok(n) = i32::try_from(n) {
            (Schema::int32(), Value::I32(n))
        } else {
            (Schema::int64(), Value::I64(n))
        };
        return Some(SchemaAndValue::new(schema, value));
    }
    if decimal.scale != 0 {
        let text = decimal.to_string();
        let single: f32 = text.parse().expect("a decimal is a number");
        if single.is_finite() {
            return Some(SchemaAndValue::new(Schema::float32(), Value::F32(single)));
        }
        let double: f64 = text.parse().expect("a decimal is a number");
        if double.is_finite() {
            return Some(SchemaAndValue::new(Schema::float64(), Value::F64(double)));
        }
    }
    Some(SchemaAndValue::new(logical::decimal(decimal.scale), decimal))
}

/// The number if it is integral and fits 64 bits.
fn integral(decimal: &Decimal) -> Option<i64> {
    if decimal.unscaled == BigInt::ZERO {
        return Some(0);
    }
    if decimal.scale <= 0 {
        // 10^19 does not fit, so that large powers need not be computed.
        let power = 10i64.checked_pow(decimal.scale.unsigned_abs())?;
        return decimal.unscaled.to_i64()?.checked_mul(power);
    }
    let digits = decimal.precision();
    if decimal.scale as usize >= digits {
        return None;
    }
    let power = BigInt::from(10).pow(decimal.scale as u32);
    let (whole, rest) = (&decimal.unscaled / &power, &decimal.unscaled % &power);
    if rest == BigInt::ZERO { whole.to_i64() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::time::Zone;
    use proptest::prelude::*;

    #[test]
    fn deep_containers_are_strings() {
        let values = Values::new(Zone::Utc);
        let text = "[".repeat(100_000);
        assert_eq!(values.parse_string(&text), string(&text));
        let text = format!("{}{}", "[".repeat(400), "]".repeat(400));
        assert_eq!(values.parse_string(&text).schema.unwrap().kind(), Type::Array);
    }

    proptest! {
        #[test]
        fn any_text_is_some_value(text in "[\\[\\]{}:,\"\\\\ a0-9eE.+TZ-]{0,40}") {
            let values = Values::new(Zone::Utc);
            let parsed = values.parse_string(&text);
            if let Some(schema) = &parsed.schema {
                prop_assert!(schema.kind() != Type::Struct);
            }
        }

        #[test]
        fn what_is_written_is_read_again(n in any::<i64>(), key in "[a-z]{1,5}", ms in 1i64..4_000_000_000_000) {
            let values = Values::new(Zone::Utc);
            let list = Value::array([Value::text(&key), Value::text("x\"y")]);
            let mut map = Map::linked();
            map.insert(key.as_str(), Value::I64(n));
            for value in [Value::I64(n), list, map.into(), Value::Date(ms)] {
                let mut text = String::new();
                values.append(&value, &mut text).unwrap();
                let mut again = String::new();
                values.append(&values.parse_string(&text).value, &mut again).unwrap();
                // Escapes stay in the text that is read.
                prop_assert_eq!(again.replace('\\', ""), text.replace('\\', ""));
            }
        }
    }
}
