//! JSON as a tree, for what cannot be read in one go: schemas, and data whose schema is known only afterwards.

use super::lexer::{Lexer, Number, Str, SyntaxError};

/// A JSON value. Counterpart of Jackson's `JsonNode`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node<'a> {
    /// There is no text at all.
    Missing,
    Null,
    Bool(bool),
    Number(Number<'a>),
    Text(Str<'a>),
    Array(Vec<Node<'a>>),
    /// Members in order of their first appearance; a repeated name has the last value.
    Object(Vec<(Str<'a>, Node<'a>)>),
}

/// From this many members on, repeated names are found by sorting.
const LARGE_OBJECT: usize = 32;

impl<'a> Node<'a> {
    /// Reads the first value of a text.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, SyntaxError> {
        let mut lexer = Lexer::new(text);
        if lexer.peek().is_none() {
            return Ok(Self::Missing);
        }
        let node = read(&mut lexer, 0)?;
        if let Self::Number(_) = node {
            lexer.end_of_root_number()?;
        }
        Ok(node)
    }

    /// A member of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Node<'a>> {
        match self {
            Self::Object(members) => members.iter().find(|(n, _)| n.as_utf8() == Some(name)).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text of a text.
    pub(crate) fn as_text(&self) -> Option<&Str<'a>> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Java's `JsonNodeType`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "MISSING",
            Self::Null => "NULL",
            Self::Bool(_) => "BOOLEAN",
            Self::Number(_) => "NUMBER",
            Self::Text(_) => "STRING",
            Self::Array(_) => "ARRAY",
            Self::Object(_) => "OBJECT",
        }
    }
}

/// Reads a value that begins with the next byte.
pub(crate) fn read<'a>(lexer: &mut Lexer<'a>, depth: usize) -> Result<Node<'a>, SyntaxError> {
    Ok(match lexer.peek() {
        Some(b'"') => Node::Text(lexer.string()?),
        Some(b'{') => Node::Object(read_object(lexer, depth)?),
        Some(b'[') => Node::Array(read_array(lexer, depth)?),
        Some(b'-' | b'0'..=b'9') => Node::Number(lexer.number()?),
        Some(b't') => lexer.literal("true").map(|()| Node::Bool(true))?,
        Some(b'f') => lexer.literal("false").map(|()| Node::Bool(false))?,
        Some(b'n') => lexer.literal("null").map(|()| Node::Null)?,
        Some(_) => return lexer.error("no value begins so"),
        None => return lexer.error("a value is missing"),
    })
}

fn read_array<'a>(lexer: &mut Lexer<'a>, depth: usize) -> Result<Vec<Node<'a>>, SyntaxError> {
    let depth = lexer.deeper(depth)?;
    lexer.bump();
    let mut items = Vec::new();
    if lexer.peek() == Some(b']') {
        lexer.bump();
        return Ok(items);
    }
    loop {
        items.push(read(lexer, depth)?);
        if !lexer.more(b']')? {
            return Ok(items);
        }
    }
}

fn read_object<'a>(lexer: &mut Lexer<'a>, depth: usize) -> Result<Vec<(Str<'a>, Node<'a>)>, SyntaxError> {
    let depth = lexer.deeper(depth)?;
    lexer.bump();
    let mut members: Vec<(Str<'a>, Node<'a>)> = Vec::new();
    if lexer.peek() == Some(b'}') {
        lexer.bump();
        return Ok(members);
    }
    loop {
        let name = lexer.name()?;
        let value = read(lexer, depth)?;
        let known = if members.len() < LARGE_OBJECT { members.iter_mut().find(|(n, _)| *n == name) } else { None };
        match known {
            Some((_, old)) => *old = value,
            None => members.push((name, value)),
        }
        if !lexer.more(b'}')? {
            break;
        }
    }
    if members.len() > LARGE_OBJECT {
        members = without_repetitions(members);
    }
    Ok(members)
}

/// Keeps the first place and the last value of every name.
fn without_repetitions<'a>(members: Vec<(Str<'a>, Node<'a>)>) -> Vec<(Str<'a>, Node<'a>)> {
    let mut index = std::collections::HashMap::with_capacity(members.len());
    let mut kept: Vec<(Str<'a>, Node<'a>)> = Vec::with_capacity(members.len());
    for (name, value) in members {
        let at = *index.entry(name.clone()).or_insert(kept.len());
        match kept.get_mut(at) {
            Some((_, old)) => *old = value,
            None => kept.push((name, value)),
        }
    }
    kept
}
