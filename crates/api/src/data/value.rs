//! One value of the Connect data model.

use super::{Decimal, Foreign, Map, Schema, SchemaRef, Struct, Text, Type};
use std::hash::{Hash, Hasher};

/// A value as it travels between connectors, transforms and converters. 24 bytes: short strings lie inside, rare variants are boxed.
///
/// Equality is structural; floats compare as Java's `Double.equals` does (`0.0` differs from `-0.0`, NaN equals NaN), because values are keys of
/// maps and source partitions.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// No value. A record with a null value is a tombstone.
    #[default]
    Null,
    /// Java's `Boolean`.
    Bool(bool),
    /// Java's `Byte`.
    I8(i8),
    /// Java's `Short`.
    I16(i16),
    /// Java's `Integer`.
    I32(i32),
    /// Java's `Long`.
    I64(i64),
    /// Java's `Float`.
    F32(f32),
    /// Java's `Double`.
    F64(f64),
    /// Java's `String`.
    Text(Text),
    /// Java's `byte[]`.
    Bytes(Box<[u8]>),
    /// Java's `List`.
    Array(Box<[Value]>),
    /// Java's `Map`, in the iteration order that Java would have.
    Map(Box<Map>),
    /// Java's `Struct`.
    Struct(Box<Struct>),
    /// Java's `BigDecimal`: what the logical type Decimal holds.
    Decimal(Box<Decimal>),
    /// Java's `java.util.Date`, milliseconds since the epoch: what the logical types Date, Time and Timestamp hold.
    Date(i64),
    /// An object of a Java class that native code never makes.
    Foreign(Box<Foreign>),
}

const _: () = assert!(size_of::<Value>() == 24);

impl Value {
    /// Whether this is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// A text value.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::Text(Text::new(text))
    }

    /// A bytes value.
    pub fn bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// An array value.
    pub fn array(values: impl Into<Box<[Value]>>) -> Self {
        Self::Array(values.into())
    }

    /// The text of a text value.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Any of the four integer types, widened.
    pub fn as_integer(&self) -> Option<i64> {
        match *self {
            Self::I8(n) => Some(n.into()),
            Self::I16(n) => Some(n.into()),
            Self::I32(n) => Some(n.into()),
            Self::I64(n) => Some(n),
            _ => None,
        }
    }

    /// The map of a map value.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The struct of a struct value.
    pub fn as_struct(&self) -> Option<&Struct> {
        match self {
            Self::Struct(structure) => Some(structure),
            _ => None,
        }
    }

    /// The type that Java derives from the value's class: `ConnectSchema.schemaType`. None for decimals, dates and foreign objects.
    pub fn schema_type(&self) -> Option<Type> {
        Some(match self {
            Self::Bool(_) => Type::Boolean,
            Self::I8(_) => Type::Int8,
            Self::I16(_) => Type::Int16,
            Self::I32(_) => Type::Int32,
            Self::I64(_) => Type::Int64,
            Self::F32(_) => Type::Float32,
            Self::F64(_) => Type::Float64,
            Self::Text(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Array(_) => Type::Array,
            Self::Map(_) => Type::Map,
            Self::Struct(_) => Type::Struct,
            Self::Foreign(foreign) => match **foreign {
                Foreign::MalformedString(_) => Type::String,
                Foreign::ByteBuffer(_) => Type::Bytes,
                Foreign::BigInteger(_) | Foreign::Object { .. } => return None,
            },
            Self::Null | Self::Decimal(_) | Self::Date(_) => return None,
        })
    }

    /// Java's `equals` between two objects that are not the same one: as ours, but byte arrays differ, except as direct fields of structs.
    pub fn java_equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bytes(_), Self::Bytes(_)) => false,
            (Self::Array(a), Self::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.java_equals(b)),
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|other| v.java_equals(other)))
            }
            (Self::Struct(a), Self::Struct(b)) => {
                let same = |(a, b): (&Self, &Self)| match (a, b) {
                    (Self::Bytes(a), Self::Bytes(b)) => a == b,
                    (a, b) => a.java_equals(b),
                };
                Schema::same(a.schema(), b.schema()) && a.values().iter().zip(b.values()).all(same)
            }
            (a, b) => a == b,
        }
    }

    /// The name of the Java class that would hold this value, as error messages show it.
    pub fn java_class(&self) -> &str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "java.lang.Boolean",
            Self::I8(_) => "java.lang.Byte",
            Self::I16(_) => "java.lang.Short",
            Self::I32(_) => "java.lang.Integer",
            Self::I64(_) => "java.lang.Long",
            Self::F32(_) => "java.lang.Float",
            Self::F64(_) => "java.lang.Double",
            Self::Text(_) => "java.lang.String",
            Self::Bytes(_) => "[B",
            Self::Array(_) => "java.util.ArrayList",
            Self::Map(map) => map.order().java_class(),
            Self::Struct(_) => "org.apache.kafka.connect.data.Struct",
            Self::Decimal(_) => "java.math.BigDecimal",
            Self::Date(_) => "java.util.Date",
            Self::Foreign(foreign) => foreign.java_class(),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::I8(a), Self::I8(b)) => a == b,
            (Self::I16(a), Self::I16(b)) => a == b,
            (Self::I32(a), Self::I32(b)) => a == b,
            (Self::I64(a), Self::I64(b)) => a == b,
            (Self::F32(a), Self::F32(b)) => float_bits(*a) == float_bits(*b),
            (Self::F64(a), Self::F64(b)) => double_bits(*a) == double_bits(*b),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            (Self::Struct(a), Self::Struct(b)) => a == b,
            (Self::Decimal(a), Self::Decimal(b)) => a == b,
            (Self::Date(a), Self::Date(b)) => a == b,
            (Self::Foreign(a), Self::Foreign(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Java's hash is spread over all types and agrees with the equality above.
        state.write_i32(self.java_hash());
    }
}

impl Value {
    /// What Java's `hashCode` gives, which decides the order in a Java `HashMap`. Byte arrays hash by content here, by identity in Java.
    pub fn java_hash(&self) -> i32 {
        match self {
            Self::Null => 0,
            Self::Bool(value) => {
                if *value {
                    1231
                } else {
                    1237
                }
            }
            Self::I8(n) => i32::from(*n),
            Self::I16(n) => i32::from(*n),
            Self::I32(n) => *n,
            Self::I64(n) | Self::Date(n) => long_hash(*n),
            Self::F32(n) => float_bits(*n) as i32,
            Self::F64(n) => long_hash(double_bits(*n) as i64),
            Self::Text(text) => java_string_hash(text),
            Self::Bytes(bytes) => {
                bytes.iter().fold(1i32, |hash, b| hash.wrapping_mul(31).wrapping_add(i32::from(*b as i8)))
            }
            Self::Array(values) => {
                values.iter().fold(1i32, |hash, v| hash.wrapping_mul(31).wrapping_add(v.java_hash()))
            }
            Self::Map(map) => map.java_hash(),
            Self::Struct(structure) => structure.java_hash(),
            Self::Decimal(decimal) => decimal.java_hash(),
            Self::Foreign(foreign) => foreign.java_hash(),
        }
    }
}

/// Java's `String.hashCode`, over UTF-16 units.
pub(super) fn java_string_hash(text: &str) -> i32 {
    if text.is_ascii() {
        return text.bytes().fold(0i32, |hash, b| hash.wrapping_mul(31).wrapping_add(i32::from(b)));
    }
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

fn long_hash(n: i64) -> i32 {
    (n ^ ((n as u64) >> 32) as i64) as i32
}

/// Java's `Float.floatToIntBits`: one NaN.
fn float_bits(n: f32) -> u32 {
    if n.is_nan() { 0x7fc0_0000 } else { n.to_bits() }
}

/// Java's `Double.doubleToLongBits`: one NaN.
fn double_bits(n: f64) -> u64 {
    if n.is_nan() { 0x7ff8_0000_0000_0000 } else { n.to_bits() }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::I32(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::I64(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::F64(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::text(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value.into())
    }
}

impl From<Map> for Value {
    fn from(value: Map) -> Self {
        Self::Map(Box::new(value))
    }
}

impl From<Struct> for Value {
    fn from(value: Struct) -> Self {
        Self::Struct(Box::new(value))
    }
}

impl From<Decimal> for Value {
    fn from(value: Decimal) -> Self {
        Self::Decimal(Box::new(value))
    }
}

/// A value with its schema, if it has one. Counterpart of Java's `SchemaAndValue`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SchemaAndValue {
    /// The schema; none in schemaless data.
    pub schema: Option<SchemaRef>,
    /// The value.
    pub value: Value,
}

impl SchemaAndValue {
    /// Neither schema nor value.
    pub const NULL: Self = Self { schema: None, value: Value::Null };

    /// A value with a schema.
    pub fn new(schema: SchemaRef, value: impl Into<Value>) -> Self {
        Self { schema: Some(schema), value: value.into() }
    }

    /// A value without a schema.
    pub fn schemaless(value: impl Into<Value>) -> Self {
        Self { schema: None, value: value.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        let cases: [(Value, i32); 9] = [
            (Value::text("hello"), 99_162_322),
            (Value::text("é😀"), 31 * (31 * 233 + 0xd83d) + 0xde00),
            (Value::I64(-1), 0),
            (Value::I64(1 << 32), 1),
            (Value::Bool(true), 1231),
            (Value::F64(1.5), 1_073_217_536),
            (Value::F32(1.5), 0x3fc0_0000),
            (Value::array([Value::I32(1), Value::I32(2)]), 994),
            (Value::Null, 0),
        ];
        for (value, hash) in cases {
            assert_eq!(value.java_hash(), hash, "{value:?}");
        }
    }

    #[test]
    fn floats_are_equal_as_in_java() {
        assert_ne!(Value::F64(0.0), Value::F64(-0.0));
        assert_eq!(Value::F64(f64::NAN), Value::F64(-f64::NAN));
    }
}
