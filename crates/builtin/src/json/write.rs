//! From Connect values to JSON, byte for byte as Java writes it.
//!
//! A schema becomes a [`Plan`] once: what to do with nulls, what stands before every field. A record then is one pass over plan and value into
//! the buffer. Counterpart of `JsonConverter.convertToJson` and Jackson's generator.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kurier_api::ConnectError;
use kurier_api::data::{Decimal, Foreign, Map, Schema, SchemaRef, Struct, Type, Value, java_text, logical};
use std::fmt;

/// Containers inside containers; Jackson's `StreamWriteConstraints`.
const MAX_DEPTH: usize = 1000;

/// How decimals and nulls are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing {
    /// Decimals as numbers rather than as Base64 of their bytes.
    pub decimal_as_number: bool,
    /// The schema's default stands for null, if there is one.
    pub replace_null_with_default: bool,
}

/// What writing one schema's values takes.
#[derive(Debug)]
pub(crate) struct Plan {
    schema: SchemaRef,
    /// What is written for null.
    null: Result<Box<[u8]>, ConnectError>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A type without parts, or a logical type.
    Simple(Simple),
    Array(Option<Box<Plan>>),
    /// Text keys make an object, others an array of pairs.
    Map {
        key: Option<Box<Plan>>,
        value: Option<Box<Plan>>,
    },
    Struct(Box<[FieldPlan]>),
}

#[derive(Clone, Debug)]
enum Simple {
    Plain(Type),
    /// The scale, or what is wrong with it.
    DecimalBytes(Result<i32, ConnectError>),
    DecimalNumber,
    Date,
    Time,
    Timestamp,
}

#[derive(Debug)]
struct FieldPlan {
    /// `,"name":`; the comma is left out before the first field.
    prefix: Box<[u8]>,
    plan: Plan,
}

/// What is said of a document that nests too deep; as for anything that Java's serializer refuses.
fn too_deep() -> ConnectError {
    ConnectError::data("Converting Kafka Connect data to byte[] failed due to serialization error: ")
        .with_cause(ConnectError::serialization("Error serializing JSON message"))
}

fn deeper(depth: usize) -> Result<usize, ConnectError> {
    if depth == MAX_DEPTH { Err(too_deep()) } else { Ok(depth + 1) }
}

fn invalid_type(kind: impl fmt::Display, value: &Value) -> ConnectError {
    ConnectError::data(format!("Invalid type for {kind}: class {}", value.java_class()))
}

impl Plan {
    /// Plans a schema; fails where it nests too deep for JSON.
    pub(crate) fn new(schema: &SchemaRef, writing: Writing, depth: usize) -> Result<Self, ConnectError> {
        let depth = deeper(depth)?;
        let inner = |schema: Option<&SchemaRef>| {
            schema.map(|schema| Self::new(schema, writing, depth).map(Box::new)).transpose()
        };
        let kind = match (schema.name(), schema.kind()) {
            (Some(logical::DECIMAL), _) if writing.decimal_as_number => Kind::Simple(Simple::DecimalNumber),
            (Some(logical::DECIMAL), _) => Kind::Simple(Simple::DecimalBytes(logical::required_scale(schema))),
            (Some(logical::DATE), _) => Kind::Simple(Simple::Date),
            (Some(logical::TIME), _) => Kind::Simple(Simple::Time),
            (Some(logical::TIMESTAMP), _) => Kind::Simple(Simple::Timestamp),
            (_, Type::Array) => Kind::Array(inner(schema.value_schema())?),
            (_, Type::Map) => Kind::Map { key: inner(schema.key_schema())?, value: inner(schema.value_schema())? },
            (_, Type::Struct) => {
                let fields = schema.fields().iter().map(|field| {
                    let mut prefix = vec![b','];
                    write_text(field.name(), &mut prefix);
                    prefix.push(b':');
                    Ok(FieldPlan { prefix: prefix.into(), plan: Self::new(field.schema(), writing, depth)? })
                });
                Kind::Struct(fields.collect::<Result<_, ConnectError>>()?)
            }
            (_, kind) => Kind::Simple(Simple::Plain(kind)),
        };
        let mut plan = Self { schema: schema.clone(), null: Ok(Box::default()), kind };
        plan.null = match schema.default_value() {
            Some(default) if writing.replace_null_with_default => {
                let mut out = Vec::new();
                plan.write_some(default, 0, &mut out).map(|()| out.into())
            }
            _ if schema.is_optional() => Ok((*b"null").into()),
            _ => Err(ConnectError::data(
                "Conversion error: null value for field that is required and has no default value",
            )),
        };
        Ok(plan)
    }

    /// Appends the JSON of a value; `depth` containers are open.
    pub(crate) fn write(&self, value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), ConnectError> {
        if value.is_null() {
            out.extend_from_slice(self.null.as_ref().map_err(Clone::clone)?);
            return Ok(());
        }
        self.write_some(value, depth, out)
    }

    fn write_some(&self, value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), ConnectError> {
        match (&self.kind, value) {
            (Kind::Simple(simple), value) => simple.write(value, out),
            (Kind::Struct(fields), Value::Struct(structure)) => self.write_struct(fields, structure, depth, out),
            (Kind::Array(inner), Value::Array(items)) => {
                let depth = deeper(depth)?;
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    write_with(inner.as_deref(), item, depth, out)?;
                }
                out.push(b']');
                Ok(())
            }
            (Kind::Map { key: Some(key), value }, Value::Map(map)) => {
                if key.schema.kind() == Type::String {
                    write_object(map, Some(key), value.as_deref(), depth, out)
                } else {
                    write_pairs(map, Some(key), value.as_deref(), depth, out)
                }
            }
            (Kind::Map { key: None, .. }, Value::Map(_)) => {
                Err(ConnectError::without_message("java.lang.NullPointerException"))
            }
            (_, value) => Err(invalid_type(self.schema.kind(), value)),
        }
    }

    fn write_struct(
        &self,
        fields: &[FieldPlan],
        structure: &Struct,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ConnectError> {
        if !Schema::same(structure.schema(), &self.schema) {
            return Err(ConnectError::data("Mismatching schema."));
        }
        let depth = deeper(depth)?;
        out.push(b'{');
        for (i, (field, value)) in fields.iter().zip(structure.values()).enumerate() {
            out.extend_from_slice(&field.prefix[usize::from(i == 0)..]);
            field.plan.write(value, depth, out)?;
        }
        out.push(b'}');
        Ok(())
    }
}

/// Appends a schema in its JSON form; `field` is its name within a struct. `depth` containers are open.
pub(crate) fn write_schema(
    schema: &SchemaRef,
    field: Option<&str>,
    writing: Writing,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), ConnectError> {
    let depth = deeper(depth)?;
    let kind = match schema.kind() {
        Type::Float32 => "float",
        Type::Float64 => "double",
        other => other.name(),
    };
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
    let inner = |name: &str, schema: Option<&SchemaRef>, out: &mut Vec<u8>| {
        out.extend_from_slice(name.as_bytes());
        match schema {
            Some(schema) => write_schema(schema, None, writing, depth, out),
            None => {
                out.extend_from_slice(b"null");
                Ok(())
            }
        }
    };
    match schema.kind() {
        Type::Array => inner(",\"items\":", schema.value_schema(), out)?,
        Type::Map => {
            inner(",\"keys\":", schema.key_schema(), out)?;
            inner(",\"values\":", schema.value_schema(), out)?;
        }
        Type::Struct => {
            out.extend_from_slice(b",\"fields\":[");
            let depth = deeper(depth)?;
            for (i, member) in schema.fields().iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_schema(member.schema(), Some(member.name()), writing, depth, out)?;
            }
            out.push(b']');
        }
        _ => {}
    }
    out.extend_from_slice(if schema.is_optional() { b",\"optional\":true" } else { b",\"optional\":false" });
    if let Some(name) = schema.name() {
        out.extend_from_slice(b",\"name\":");
        write_text(name, out);
    }
    if let Some(version) = schema.version() {
        out.extend_from_slice(b",\"version\":");
        write_integer(version.into(), out);
    }
    if let Some(doc) = schema.doc() {
        out.extend_from_slice(b",\"doc\":");
        write_text(doc, out);
    }
    if let Some(parameters) = schema.parameters() {
        deeper(depth)?;
        out.extend_from_slice(b",\"parameters\":{");
        for (i, (name, value)) in parameters.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            write_text(name, out);
            out.push(b':');
            write_text(value, out);
        }
        out.push(b'}');
    }
    if let Some(default) = schema.default_value() {
        out.extend_from_slice(b",\"default\":");
        Plan::new(schema, writing, 0)?.write(default, depth, out)?;
    }
    if let Some(field) = field {
        out.extend_from_slice(b",\"field\":");
        write_text(field, out);
    }
    out.push(b'}');
    Ok(())
}

impl Simple {
    fn write(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), ConnectError> {
        match (self, value) {
            (Self::Plain(Type::String), Value::Text(text)) => write_text(text, out),
            (Self::Plain(Type::Int64), Value::I64(n)) => write_integer(*n, out),
            (Self::Plain(Type::Int32), Value::I32(n)) => write_integer((*n).into(), out),
            (Self::Plain(Type::Int16), Value::I16(n)) => write_integer((*n).into(), out),
            (Self::Plain(Type::Int8), Value::I8(n)) => write_integer((*n).into(), out),
            (Self::Plain(Type::Boolean), Value::Bool(b)) => write_bool(*b, out),
            (Self::Plain(Type::Float64), Value::F64(n)) => write_double(*n, out),
            (Self::Plain(Type::Float32), Value::F32(n)) => write_float(*n, out),
            (Self::Plain(Type::Bytes), Value::Bytes(bytes)) => write_base64(bytes, out),
            (Self::Plain(Type::String), Value::Foreign(foreign)) => match &**foreign {
                Foreign::MalformedString(units) => write_units(units, out),
                Foreign::Object { class, text } if is_char_sequence(class) => write_text(text, out),
                _ => return Err(invalid_type(Type::String, value)),
            },
            (Self::Plain(Type::Bytes), other) => match other {
                Value::Foreign(foreign) if let Foreign::ByteBuffer(bytes) = &**foreign => write_base64(bytes, out),
                other => {
                    return Err(ConnectError::data(format!(
                        "Invalid type for bytes type: class {}",
                        other.java_class()
                    )));
                }
            },
            (Self::Plain(kind), other) => return Err(invalid_type(kind, other)),
            (Self::DecimalNumber, Value::Decimal(decimal)) => write_display(decimal, out),
            (Self::DecimalBytes(scale), Value::Decimal(decimal)) => {
                let scale = scale.as_ref().map_err(Clone::clone)?;
                write_decimal_bytes(*scale, decimal, out)?;
            }
            (Self::DecimalNumber | Self::DecimalBytes(_), other) => {
                return Err(logical_type("Decimal", "BigDecimal", other));
            }
            (Self::Date, Value::Date(ms)) => write_integer(logical::days_of_date(*ms)?.into(), out),
            (Self::Time, Value::Date(ms)) => write_integer(logical::ms_of_time(*ms)?.into(), out),
            (Self::Timestamp, Value::Date(ms)) => write_integer(*ms, out),
            (Self::Date, other) => return Err(logical_type("Date", "Date", other)),
            (Self::Time, other) => return Err(logical_type("Time", "Date", other)),
            (Self::Timestamp, other) => return Err(logical_type("Timestamp", "Date", other)),
        }
        Ok(())
    }
}

fn logical_type(name: &str, class: &str, value: &Value) -> ConnectError {
    ConnectError::data(format!("Invalid type for {name}, expected {class} but was class {}", value.java_class()))
}

fn is_char_sequence(class: &str) -> bool {
    matches!(class, "java.lang.StringBuilder" | "java.lang.StringBuffer" | "java.nio.HeapCharBuffer")
}

fn write_with(plan: Option<&Plan>, value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), ConnectError> {
    match plan {
        Some(plan) => plan.write(value, depth, out),
        None => write_schemaless(value, depth, out),
    }
}

/// Appends the JSON of a value without a schema.
pub(crate) fn write_schemaless(value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), ConnectError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Text(text) => write_text(text, out),
        Value::I64(n) => write_integer(*n, out),
        Value::I32(n) => write_integer((*n).into(), out),
        Value::I16(n) => write_integer((*n).into(), out),
        Value::I8(n) => write_integer((*n).into(), out),
        Value::Bool(b) => write_bool(*b, out),
        Value::F64(n) => write_double(*n, out),
        Value::F32(n) => write_float(*n, out),
        Value::Bytes(bytes) => write_base64(bytes, out),
        Value::Array(items) => {
            let depth = deeper(depth)?;
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_schemaless(item, depth, out)?;
            }
            out.push(b']');
        }
        Value::Map(map) => {
            let texts = map.keys().all(|key| {
                matches!(key, Value::Text(_))
                    || matches!(key, Value::Foreign(f) if matches!(**f, Foreign::MalformedString(_)))
            });
            return if texts {
                write_object(map, None, None, depth, out)
            } else {
                write_pairs(map, None, None, depth, out)
            };
        }
        Value::Struct(_) => return Err(ConnectError::data("Mismatching schema.")),
        Value::Foreign(foreign) => match &**foreign {
            Foreign::MalformedString(units) => write_units(units, out),
            Foreign::ByteBuffer(bytes) => write_base64(bytes, out),
            Foreign::BigInteger(_) | Foreign::Object { .. } => return Err(no_schema_type(value)),
        },
        Value::Decimal(_) | Value::Date(_) => return Err(no_schema_type(value)),
    }
    Ok(())
}

fn no_schema_type(value: &Value) -> ConnectError {
    ConnectError::data(format!("Java class class {} does not have corresponding schema type.", value.java_class()))
}

fn write_object(
    map: &Map,
    key: Option<&Plan>,
    value: Option<&Plan>,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), ConnectError> {
    let depth = deeper(depth)?;
    out.push(b'{');
    let mut first = true;
    for (k, v) in map.iter() {
        if !first {
            out.push(b',');
        }
        first = false;
        match k {
            Value::Text(text) if key.is_none_or(Plan::is_plain) => write_text(text, out),
            other => write_name(key, other, depth, out)?,
        }
        out.push(b':');
        write_with(value, v, depth, out)?;
    }
    out.push(b'}');
    Ok(())
}

impl Plan {
    fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Simple(Simple::Plain(_)))
    }
}

/// A key that is no plain text becomes the text of its JSON, as `JsonNode.asText` gives it.
fn write_name(plan: Option<&Plan>, key: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), ConnectError> {
    let start = out.len();
    write_with(plan, key, depth, out)?;
    if out[start] != b'"' {
        out.insert(start, b'"');
        out.push(b'"');
    }
    Ok(())
}

fn write_pairs(
    map: &Map,
    key: Option<&Plan>,
    value: Option<&Plan>,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), ConnectError> {
    let depth = deeper(deeper(depth)?)?;
    out.push(b'[');
    for (i, (k, v)) in map.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b"[" } else { b",[" });
        write_with(key, k, depth, out)?;
        out.push(b',');
        write_with(value, v, depth, out)?;
        out.push(b']');
    }
    out.push(b']');
    Ok(())
}

fn write_bool(b: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if b { b"true" } else { b"false" });
}

pub(crate) fn write_integer(n: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    let length = base64::encoded_len(bytes.len(), true).expect("the bytes are in memory, so a third more fits");
    out.resize(start + length, 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("the room is as long as asked for");
    out.push(b'"');
}

fn write_decimal_bytes(scale: i32, decimal: &Decimal, out: &mut Vec<u8>) -> Result<(), ConnectError> {
    if decimal.scale != scale {
        return Err(logical::scale_mismatch(scale, decimal.scale));
    }
    write_base64(&decimal.unscaled_bytes(), out);
    Ok(())
}

/// Lets text be formatted into bytes.
struct Utf8<'a>(&'a mut Vec<u8>);

impl fmt::Write for Utf8<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn write_display(value: &impl fmt::Display, out: &mut Vec<u8>) {
    fmt::Write::write_fmt(&mut Utf8(out), format_args!("{value}")).expect("memory takes all");
}

fn write_double(n: f64, out: &mut Vec<u8>) {
    quote_unless(n.is_finite(), out, |out| java_text::write_double(n, out));
}

fn write_float(n: f32, out: &mut Vec<u8>) {
    quote_unless(n.is_finite(), out, |out| java_text::write_float(n, out));
}

/// What is no JSON number is written as text.
fn quote_unless(finite: bool, out: &mut Vec<u8>, write: impl FnOnce(&mut Utf8<'_>) -> fmt::Result) {
    if !finite {
        out.push(b'"');
    }
    write(&mut Utf8(out)).expect("memory takes all");
    if !finite {
        out.push(b'"');
    }
}

/// Whether a byte of UTF-8 cannot be copied: it needs an escape, or begins a character beyond U+FFFF.
static ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = i < 0x20 || i >= 0xf0 || i == b'"' as usize || i == b'\\' as usize;
        i += 1;
    }
    table
};

/// Appends a text in quotes. Characters beyond U+FFFF become two escapes, as in Jackson.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut from = 0;
    while let Some(length) = bytes[from..].iter().position(|b| ESCAPED[usize::from(*b)]) {
        let at = from + length;
        out.extend_from_slice(&bytes[from..at]);
        if bytes[at] >= 0xf0 {
            let c = text[at..].chars().next().expect("a character begins here");
            for unit in c.encode_utf16(&mut [0; 2]) {
                write_unicode_escape(*unit, out);
            }
            from = at + c.len_utf8();
        } else {
            write_escape(bytes[at], out);
            from = at + 1;
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        8 => b'b',
        9 => b't',
        10 => b'n',
        12 => b'f',
        13 => b'r',
        _ => return write_unicode_escape(byte.into(), out),
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn write_unicode_escape(unit: u16, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |shift: u32| HEX[usize::from(unit >> shift & 0xf)];
    out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}

/// Appends a text that has an unpaired surrogate; all surrogates become escapes.
fn write_units(units: &[u16], out: &mut Vec<u8>) {
    out.push(b'"');
    for unit in units {
        match char::from_u32((*unit).into()) {
            None => write_unicode_escape(*unit, out),
            Some(c) if c.is_ascii() && ESCAPED[*unit as usize] => write_escape(*unit as u8, out),
            Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}
