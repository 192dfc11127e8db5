//! From JSON to Connect values, with Java's leniences: a JSON value of the wrong type is the type's zero rather than an error.

use super::lexer::{Lexer, Number, Str, SyntaxError};
use super::node::Node;
use kurier_api::ConnectError;
use kurier_api::data::{Decimal, Map, MapBuilder, MapOrder, Schema, SchemaRef, Struct, Type, Value, logical};

/// How nulls and defaults are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// A null stands for the schema's default, if there is one.
    pub replace_null_with_default: bool,
}

impl Reading {
    /// The value of a node, where the schema may be missing. No node at all stands for a member that is not there.
    pub(crate) fn value(self, schema: Option<&SchemaRef>, node: Option<Node<'_>>) -> Result<Value, ConnectError> {
        match schema {
            Some(schema) => self.typed(schema, node),
            None => node.map_or(Ok(Value::Null), |node| Ok(untyped(node))),
        }
    }

    fn typed(self, schema: &SchemaRef, node: Option<Node<'_>>) -> Result<Value, ConnectError> {
        let Some(node) = node.filter(|node| *node != Node::Null) else {
            return match schema.default_value() {
                Some(default) if self.replace_null_with_default => Ok(default.clone()),
                _ if schema.is_optional() => Ok(Value::Null),
                _ => Err(ConnectError::data(format!("Invalid null value for required {} field", schema.kind()))),
            };
        };
        match schema.name() {
            Some(logical::DECIMAL) => return decimal(schema, &node),
            Some(logical::DATE) => return date(&node),
            Some(logical::TIME) => return time(&node),
            Some(logical::TIMESTAMP) => return timestamp(&node),
            _ => {}
        }
        let number = match &node {
            Node::Number(number) => *number,
            _ => Number::Integer(0),
        };
        Ok(match schema.kind() {
            Type::Int8 => Value::I8(number.as_i64() as i8),
            Type::Int16 => Value::I16(number.as_i64() as i16),
            Type::Int32 => Value::I32(number.as_i64() as i32),
            Type::Int64 => Value::I64(number.as_i64()),
            Type::Float32 => Value::F32(number.as_f32()),
            Type::Float64 => Value::F64(number.as_f64()),
            Type::Boolean => Value::Bool(node == Node::Bool(true)),
            Type::String => match node {
                Node::Text(text) => text.into_value(),
                _ => Value::Null,
            },
            Type::Bytes => match &node {
                Node::Text(text) => Value::bytes(
                    decode_base64(text).map_err(|cause| ConnectError::data("Invalid bytes field").with_cause(cause))?,
                ),
                _ => Value::Null,
            },
            Type::Array => {
                let inner = schema.value_schema();
                let items: Vec<Node<'_>> = match node {
                    Node::Array(items) => items,
                    Node::Object(members) => members.into_iter().map(|(_, value)| value).collect(),
                    _ => Vec::new(),
                };
                Value::array(
                    items.into_iter().map(|item| self.value(inner, Some(item))).collect::<Result<Vec<_>, _>>()?,
                )
            }
            Type::Map => self.map(schema, node)?.into(),
            Type::Struct => self.structure(schema, node)?.into(),
        })
    }

    fn map(self, schema: &Schema, node: Node<'_>) -> Result<Map, ConnectError> {
        let values = schema.value_schema();
        if schema.key_schema().is_none_or(|key| key.kind() == Type::String) {
            let Node::Object(members) = node else {
                return Err(ConnectError::data(format!(
                    "Maps with string fields should be encoded as JSON objects, but found {}",
                    node.kind()
                )));
            };
            let mut map = MapBuilder::new(MapOrder::Hash, members.len());
            for (name, value) in members {
                map.insert(name.into_value(), self.value(values, Some(value))?);
            }
            return Ok(map.build());
        }
        let Node::Array(entries) = node else {
            return Err(ConnectError::data(format!(
                "Maps with non-string fields should be encoded as JSON array of tuples, but found {}",
                node.kind()
            )));
        };
        let mut map = MapBuilder::new(MapOrder::Hash, entries.len());
        for entry in entries {
            let Node::Array(pair) = entry else {
                return Err(ConnectError::data(format!(
                    "Found invalid map entry instead of array tuple: {}",
                    entry.kind()
                )));
            };
            let length = pair.len();
            let Ok([key, value]) = <[Node<'_>; 2]>::try_from(pair) else {
                return Err(ConnectError::data(format!(
                    "Found invalid map entry, expected length 2 but found :{length}"
                )));
            };
            let key = self.value(schema.key_schema(), Some(key))?;
            map.insert(key, self.value(values, Some(value))?);
        }
        Ok(map.build())
    }

    fn structure(self, schema: &SchemaRef, node: Node<'_>) -> Result<Struct, ConnectError> {
        let Node::Object(mut members) = node else {
            return Err(ConnectError::data(format!(
                "Structs should be encoded as JSON objects, but found {}",
                node.kind()
            )));
        };
        let mut values = Vec::with_capacity(schema.fields().len());
        for (i, field) in schema.fields().iter().enumerate() {
            // Members mostly stand in the order of the fields.
            let is_named = |(name, _): &(Str<'_>, Node<'_>)| name.as_utf8() == Some(field.name());
            let at = if members.get(i).is_some_and(is_named) { Some(i) } else { members.iter().position(is_named) };
            let node = at.map(|at| std::mem::replace(&mut members[at].1, Node::Missing));
            let value = self.typed(field.schema(), node)?;
            field.schema().validate_value(field.name(), &value)?;
            values.push(value);
        }
        Ok(Struct::from_values(schema.clone(), values.into()))
    }
}

/// The value of a node without a schema.
pub(crate) fn untyped(node: Node<'_>) -> Value {
    match node {
        Node::Missing | Node::Null => Value::Null,
        Node::Bool(b) => Value::Bool(b),
        Node::Number(number) => untyped_number(number),
        Node::Text(text) => text.into_value(),
        Node::Array(items) => Value::array(items.into_iter().map(untyped).collect::<Vec<_>>()),
        Node::Object(members) => {
            let mut map = MapBuilder::new(MapOrder::Hash, members.len());
            for (name, value) in members {
                map.insert(name.into_value(), untyped(value));
            }
            map.build().into()
        }
    }
}

fn untyped_number(number: Number<'_>) -> Value {
    match number {
        Number::Decimal(_) => Value::F64(number.as_f64()),
        integer => Value::I64(integer.as_i64()),
    }
}

/// Reads a whole document without a schema, in one pass.
pub(crate) fn schemaless(text: &[u8]) -> Result<Value, SyntaxError> {
    let mut lexer = Lexer::new(text);
    match lexer.peek() {
        None => Ok(Value::Null),
        Some(b'-' | b'0'..=b'9') => {
            let number = lexer.number()?;
            lexer.end_of_root_number()?;
            Ok(untyped_number(number))
        }
        Some(_) => schemaless_value(&mut lexer, 0),
    }
}

fn schemaless_value(lexer: &mut Lexer<'_>, depth: usize) -> Result<Value, SyntaxError> {
    Ok(match lexer.peek() {
        Some(b'"') => lexer.string()?.into_value(),
        Some(b'{') => schemaless_object(lexer, depth)?,
        Some(b'[') => schemaless_array(lexer, depth)?,
        Some(b'-' | b'0'..=b'9') => untyped_number(lexer.number()?),
        Some(b't') => lexer.literal("true").map(|()| Value::Bool(true))?,
        Some(b'f') => lexer.literal("false").map(|()| Value::Bool(false))?,
        Some(b'n') => lexer.literal("null").map(|()| Value::Null)?,
        Some(_) => return lexer.error("no value begins so"),
        None => return lexer.error("a value is missing"),
    })
}

fn schemaless_array(lexer: &mut Lexer<'_>, depth: usize) -> Result<Value, SyntaxError> {
    let depth = lexer.deeper(depth)?;
    lexer.bump();
    let mut items = Vec::new();
    if lexer.peek() == Some(b']') {
        lexer.bump();
        return Ok(Value::array(items));
    }
    loop {
        items.push(schemaless_value(lexer, depth)?);
        if !lexer.more(b']')? {
            return Ok(Value::array(items));
        }
    }
}

/// Room for this many members is made at once.
const USUAL_MEMBERS: usize = 8;

fn schemaless_object(lexer: &mut Lexer<'_>, depth: usize) -> Result<Value, SyntaxError> {
    let depth = lexer.deeper(depth)?;
    lexer.bump();
    if lexer.peek() == Some(b'}') {
        lexer.bump();
        return Ok(Map::hash().into());
    }
    let mut map = MapBuilder::new(MapOrder::Hash, USUAL_MEMBERS);
    loop {
        let name = lexer.name()?.into_value();
        map.insert(name, schemaless_value(lexer, depth)?);
        if !lexer.more(b'}')? {
            return Ok(map.build().into());
        }
    }
}

/// Jackson's Base64: padding is required, but may stand in the middle; white space may stand between groups of four; left-over bits are ignored.
fn decode_base64(text: &Str<'_>) -> Result<Vec<u8>, ConnectError> {
    let refuse = || {
        ConnectError::of_class(
            "com.fasterxml.jackson.databind.exc.InvalidFormatException",
            "the text is no Base64; write groups of four characters with padding",
        )
    };
    let text = text.as_utf8().ok_or_else(refuse)?.as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut rest = text;
    loop {
        let blanks = rest.iter().take_while(|b| **b <= b' ').count();
        rest = &rest[blanks..];
        let Some((group, after)) = rest.split_at_checked(4) else {
            return if rest.is_empty() { Ok(bytes) } else { Err(refuse()) };
        };
        let digits = group.iter().take_while(|b| base64_value(**b).is_some()).count();
        let padding = group[digits..].iter().all(|b| *b == b'=');
        if digits < 2 || !padding {
            return Err(refuse());
        }
        let bits = group.iter().fold(0u32, |bits, b| bits << 6 | base64_value(*b).unwrap_or(0));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..digits]);
        rest = after;
    }
}

fn base64_value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

fn decimal(schema: &Schema, node: &Node<'_>) -> Result<Value, ConnectError> {
    match node {
        Node::Number(Number::Integer(n)) => Ok(Decimal::new(*n, 0).into()),
        Node::Number(Number::BigInteger(text) | Number::Decimal(text)) => {
            let decimal: Decimal = text.parse().expect("the lexer has checked the number");
            Ok(decimal.into())
        }
        Node::Text(text) => {
            let wrap = |cause| ConnectError::data("Invalid bytes for Decimal field").with_cause(cause);
            let bytes = decode_base64(text).map_err(wrap)?;
            Ok(logical::decimal_of_bytes(schema, &bytes).map_err(wrap)?.into())
        }
        other => Err(ConnectError::data(format!(
            "Invalid type for Decimal, underlying representation should be numeric or bytes but was {}",
            other.kind()
        ))),
    }
}

fn int32(name: &str, node: &Node<'_>) -> Result<i32, ConnectError> {
    match node {
        Node::Number(Number::Integer(n)) if i32::try_from(*n).is_ok() => Ok(*n as i32),
        other => Err(ConnectError::data(format!(
            "Invalid type for {name}, underlying representation should be integer but was {}",
            other.kind()
        ))),
    }
}

fn date(node: &Node<'_>) -> Result<Value, ConnectError> {
    Ok(Value::Date(logical::date_of_days(int32("Date", node)?)))
}

fn time(node: &Node<'_>) -> Result<Value, ConnectError> {
    Ok(Value::Date(logical::time_of_ms(int32("Time", node)?)?))
}

fn timestamp(node: &Node<'_>) -> Result<Value, ConnectError> {
    match node {
        Node::Number(number @ (Number::Integer(_) | Number::BigInteger(_))) => Ok(Value::Date(number.as_i64())),
        other => Err(ConnectError::data(format!(
            "Invalid type for Timestamp, underlying representation should be integral but was {}",
            other.kind()
        ))),
    }
}
