//! Whether a message from outside may be handed to the decoder.
//!
//! The decoders of `kafka-protocol` take an array's length as it comes and reserve memory for it, so four hostile bytes end the process. This
//! module walks the message first, along the layout in `schema.txt`, and refuses one whose lengths exceed its bytes or which would take far
//! more memory decoded than encoded. It decodes nothing, allocates nothing and recurses only as deep as a layout nests.

use std::sync::OnceLock;

use kafka_protocol::messages::ApiKey;

use super::WireError;

const LAYOUTS: &str = include_str!("schema.txt");

/// Memory that any decoded message may take.
const MEMORY_FLOOR: usize = 1 << 20;
/// Memory that a decoded message may take for each of its bytes. Real messages need at most about seven: a struct of one number takes five
/// bytes on the wire and 32 in memory.
const MEMORY_FACTOR: usize = 16;
/// What an entry in a map of unknown tagged fields takes, and what the first one takes: a tree node.
const UNKNOWN_TAG_COST: usize = 64;
const FIRST_UNKNOWN_TAG_COST: usize = 512;
/// API keys the layouts are cached for; a newer key has no layout anyway.
const API_KEYS: usize = 128;

/// Which of an API's two messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From a client to a broker.
    Request,
    /// From a broker to a client.
    Response,
}

/// Checks the body of a message; `bytes` start behind its header. Returns how many of them the message takes.
pub(crate) fn check(api: ApiKey, direction: Direction, version: i16, bytes: &[u8]) -> Result<usize, WireError> {
    let layout = layout_of(api, direction).ok_or(WireError::UnknownApi { api_key: api as i16 })?;
    layout.check(version, bytes)
}

/// Checks a message that is not a request or response, such as a consumer's subscription.
pub(crate) fn check_named(
    layout: &'static OnceLock<Layout>,
    name: &str,
    version: i16,
    bytes: &[u8],
) -> Result<usize, WireError> {
    layout.get_or_init(|| Layout::find(name).expect("schema.txt names the message")).check(version, bytes)
}

fn layout_of(api: ApiKey, direction: Direction) -> Option<&'static Layout> {
    static REQUESTS: [OnceLock<Option<Layout>>; API_KEYS] = [const { OnceLock::new() }; API_KEYS];
    static RESPONSES: [OnceLock<Option<Layout>>; API_KEYS] = [const { OnceLock::new() }; API_KEYS];
    let table = match direction {
        Direction::Request => &REQUESTS,
        Direction::Response => &RESPONSES,
    };
    let slot = table.get(usize::try_from(api as i16).ok()?)?;
    slot.get_or_init(|| Layout::find(&format!("{api:?}{direction:?}"))).as_ref()
}

/// One line of `schema.txt`.
#[derive(Debug)]
pub(crate) struct Layout {
    name: &'static str,
    versions: (i16, i16),
    /// First version with compact lengths and tagged fields; above all versions if there is none.
    flexible: i16,
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    kind: Kind,
    versions: (i16, i16),
    tag: Option<u32>,
}

#[derive(Debug)]
enum Kind {
    Fixed(usize),
    Text,
    Bytes,
    Array(Box<Kind>),
    Struct(Vec<Field>),
    OptionalStruct(Vec<Field>),
}

impl Kind {
    /// Bytes that a value takes in the decoded message, apart from what it points to. An upper estimate.
    fn memory(&self) -> usize {
        match self {
            Self::Fixed(width) => (*width).max(8),
            Self::Text | Self::Bytes => 32,
            Self::Array(_) => 24,
            Self::Struct(fields) | Self::OptionalStruct(fields) => {
                24 + fields.iter().map(|f| f.kind.memory()).sum::<usize>()
            }
        }
    }
}

impl Layout {
    fn find(name: &str) -> Option<Self> {
        LAYOUTS
            .lines()
            .find_map(|line| Parser::layout(line.strip_prefix(name)?.strip_prefix(' ')?, &line[..name.len()]))
    }

    fn check(&self, version: i16, bytes: &[u8]) -> Result<usize, WireError> {
        if version < self.versions.0 || version > self.versions.1 {
            return Err(WireError::UnsupportedVersion {
                message: self.name,
                version,
                min: self.versions.0,
                max: self.versions.1,
            });
        }
        let mut walk = Walk {
            message: self.name,
            version,
            flexible: version >= self.flexible,
            bytes,
            at: 0,
            memory: bytes.len().saturating_mul(MEMORY_FACTOR).saturating_add(MEMORY_FLOOR),
        };
        walk.fields(&self.fields)?;
        Ok(walk.at)
    }
}

/// A position in a message while it is walked.
struct Walk<'a> {
    message: &'static str,
    version: i16,
    flexible: bool,
    bytes: &'a [u8],
    at: usize,
    /// Memory that the decoded message may still take.
    memory: usize,
}

impl Walk<'_> {
    fn malformed(&self, field: &'static str, problem: Problem) -> WireError {
        WireError::Malformed { message: self.message, version: self.version, field, at: self.at, problem }
    }

    fn fields(&mut self, fields: &[Field]) -> Result<(), WireError> {
        for field in fields.iter().filter(|f| f.tag.is_none()) {
            if field.versions.0 <= self.version && self.version <= field.versions.1 {
                self.value(field.name, &field.kind)?;
            }
        }
        if self.flexible { self.tagged(fields) } else { Ok(()) }
    }

    fn tagged(&mut self, fields: &[Field]) -> Result<(), WireError> {
        const NAME: &str = "tagged fields";
        let mut unknown_before = false;
        for _ in 0..self.varint(NAME)? {
            let tag = self.varint(NAME)?;
            let size = self.varint(NAME)?;
            // The decoder reads a tagged field it knows by its type and trusts the size only of the others; so do we.
            if let Some(field) = fields.iter().find(|f| f.tag == Some(tag)) {
                if self.version < field.versions.0 || self.version > field.versions.1 {
                    return Err(self.malformed(field.name, Problem::NotInThisVersion));
                }
                self.value(field.name, &field.kind)?;
            } else {
                self.take_memory(NAME, if unknown_before { UNKNOWN_TAG_COST } else { FIRST_UNKNOWN_TAG_COST })?;
                unknown_before = true;
                self.skip(NAME, size as usize)?;
            }
        }
        Ok(())
    }

    fn value(&mut self, name: &'static str, kind: &Kind) -> Result<(), WireError> {
        match kind {
            Kind::Fixed(width) => self.skip(name, *width),
            Kind::Text => {
                let len = if self.flexible { self.compact_len(name)? } else { self.len_16(name)? };
                self.skip(name, len.unwrap_or(0))
            }
            Kind::Bytes => {
                let len = if self.flexible { self.compact_len(name)? } else { self.len_32(name)? };
                self.skip(name, len.unwrap_or(0))
            }
            Kind::Array(element) => {
                let len = if self.flexible { self.compact_len(name)? } else { self.len_32(name)? };
                let len = len.unwrap_or(0);
                // No element is empty (a test asserts it), so that more elements than bytes is a lie.
                if len > self.bytes.len() - self.at {
                    return Err(self.malformed(name, Problem::TooLong { claimed: len }));
                }
                self.take_memory(name, len.saturating_mul(element.memory()))?;
                if let Kind::Fixed(width) = **element {
                    return self.skip(name, len.saturating_mul(width));
                }
                for _ in 0..len {
                    self.value(name, element)?;
                }
                Ok(())
            }
            Kind::Struct(fields) => self.fields(fields),
            Kind::OptionalStruct(fields) => {
                let present = self.byte(name)?;
                if present == 1 { self.fields(fields) } else { Ok(()) }
            }
        }
    }

    fn take_memory(&mut self, name: &'static str, amount: usize) -> Result<(), WireError> {
        match self.memory.checked_sub(amount) {
            Some(left) => {
                self.memory = left;
                Ok(())
            }
            None => Err(self.malformed(name, Problem::TooMuchMemory)),
        }
    }

    fn skip(&mut self, name: &'static str, len: usize) -> Result<(), WireError> {
        if len > self.bytes.len() - self.at {
            return Err(self.malformed(name, Problem::TooLong { claimed: len }));
        }
        self.at += len;
        Ok(())
    }

    fn take<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N], WireError> {
        match self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => Err(self.malformed(name, Problem::TooLong { claimed: N })),
        }
    }

    fn byte(&mut self, name: &'static str) -> Result<u8, WireError> {
        Ok(self.take::<1>(name)?[0])
    }

    /// An unsigned number of at most five bytes, read exactly as the decoder reads it: what does not fit falls off.
    fn varint(&mut self, name: &'static str) -> Result<u32, WireError> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = u32::from(self.byte(name)?);
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }

    fn compact_len(&mut self, name: &'static str) -> Result<Option<usize>, WireError> {
        Ok(self.varint(name)?.checked_sub(1).map(|len| len as usize))
    }

    fn len_16(&mut self, name: &'static str) -> Result<Option<usize>, WireError> {
        let len = i16::from_be_bytes(self.take(name)?);
        self.known_len(name, i32::from(len))
    }

    fn len_32(&mut self, name: &'static str) -> Result<Option<usize>, WireError> {
        let len = i32::from_be_bytes(self.take(name)?);
        self.known_len(name, len)
    }

    fn known_len(&self, name: &'static str, len: i32) -> Result<Option<usize>, WireError> {
        match len {
            -1 => Ok(None),
            _ => usize::try_from(len).map(Some).map_err(|_| self.malformed(name, Problem::NegativeLength(len))),
        }
    }
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A length exceeds the bytes that are left.
    TooLong {
        /// Bytes or elements that the message says it has here.
        claimed: usize,
    },
    /// A length below -1.
    NegativeLength(i32),
    /// A tagged field that this version must not have.
    NotInThisVersion,
    /// Decoded, the message would take many times the memory of its bytes.
    TooMuchMemory,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong { claimed } => write!(f, "it claims {claimed} bytes or elements, more than are left"),
            Self::NegativeLength(len) => write!(f, "its length is {len}"),
            Self::NotInThisVersion => f.write_str("this version does not have it"),
            Self::TooMuchMemory => f.write_str("it would take far more memory than bytes"),
        }
    }
}

/// Reads one line of `schema.txt`. The file is part of the program, so a mistake in it is a panic that the tests meet.
struct Parser {
    rest: &'static str,
    versions: (i16, i16),
}

impl Parser {
    /// `rest` follows the name.
    fn layout(rest: &'static str, name: &'static str) -> Option<Layout> {
        let (head, fields) = rest.split_once(':')?;
        let mut words = head.split(' ');
        let (min, max) = words.next()?.split_once('-')?;
        let versions = (min.parse().ok()?, max.parse().ok()?);
        let flexible = match (words.next(), words.next()) {
            (Some("flex"), Some(version)) => version.parse().ok()?,
            _ => i16::MAX,
        };
        let mut parser = Self { rest: fields.trim_start(), versions };
        let fields = parser.fields();
        assert!(parser.rest.is_empty(), "{name}: `{}` is left over", parser.rest);
        Some(Layout { name, versions, flexible, fields })
    }

    fn fields(&mut self) -> Vec<Field> {
        let mut fields = Vec::new();
        while !self.rest.is_empty() && !self.rest.starts_with([']', '}']) {
            let tag = self.eat("#").then(|| self.word().parse().expect("a tag is a number"));
            let name = self.word();
            let kind = self.kind();
            let versions = match self.rest.as_bytes().first() {
                Some(b'0'..=b'9') => self.versions(),
                _ => self.versions,
            };
            fields.push(Field { name, kind, versions, tag });
            self.eat(",");
            self.eat(" ");
        }
        fields
    }

    fn kind(&mut self) -> Kind {
        let kind = if self.eat("[") {
            let word_len = self.rest.find([' ', ']']).unwrap_or(0);
            // An array of plain values holds one word, an array of structs holds fields.
            let element =
                if self.rest[word_len..].starts_with(']') { self.plain() } else { Kind::Struct(self.fields()) };
            assert!(self.eat("]"), "an array ends before `{}`", self.rest);
            Kind::Array(Box::new(element))
        } else if self.eat("?{") {
            let fields = self.fields();
            assert!(self.eat("}"), "a struct ends before `{}`", self.rest);
            Kind::OptionalStruct(fields)
        } else if self.eat("{") {
            let fields = self.fields();
            assert!(self.eat("}"), "a struct ends before `{}`", self.rest);
            Kind::Struct(fields)
        } else {
            self.plain()
        };
        self.eat("?");
        self.eat(" ");
        kind
    }

    fn plain(&mut self) -> Kind {
        match self.word() {
            "i8" => Kind::Fixed(1),
            "i16" => Kind::Fixed(2),
            "i32" => Kind::Fixed(4),
            "i64" => Kind::Fixed(8),
            "uuid" => Kind::Fixed(16),
            "string" => Kind::Text,
            "bytes" => Kind::Bytes,
            other => panic!("schema.txt has an unknown type `{other}`"),
        }
    }

    fn versions(&mut self) -> (i16, i16) {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '-' && c != '+').unwrap_or(self.rest.len());
        let text = &self.rest[..end];
        self.rest = &self.rest[end..];
        let number = |text: &str| text.parse().expect("a version is a number");
        match (text.strip_suffix('+'), text.split_once('-')) {
            (Some(min), _) => (number(min), self.versions.1),
            (None, Some((min, max))) => (number(min), number(max)),
            (None, None) => (number(text), number(text)),
        }
    }

    fn word(&mut self) -> &'static str {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        self.rest = &self.rest[end..];
        self.eat(" ");
        word
    }

    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
