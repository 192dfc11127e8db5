//! Objects of Java classes that native code never makes, but that a jar may put into schemaless data.

use super::Text;
use super::value::java_string_hash;
use num_bigint::BigInt;

/// An object without a counterpart in [`super::Value`]. It can be passed on, printed and refused, no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Java's `BigInteger`.
    BigInteger(BigInt),
    /// Java's `ByteBuffer`; a value of type BYTES like `byte[]`.
    ByteBuffer(Box<[u8]>),
    /// A Java string with an unpaired surrogate, as UTF-16 units: it has no UTF-8 form.
    MalformedString(Box<[u16]>),
    /// Any other object: its class and its `toString()`.
    Object {
        /// The class name.
        class: Text,
        /// What `toString()` gave.
        text: Text,
    },
}

impl Foreign {
    /// The class name as Java's messages show it.
    pub fn java_class(&self) -> &str {
        match self {
            Self::BigInteger(_) => "java.math.BigInteger",
            Self::ByteBuffer(_) => "java.nio.HeapByteBuffer",
            Self::MalformedString(_) => "java.lang.String",
            Self::Object { class, .. } => class,
        }
    }

    pub(super) fn java_hash(&self) -> i32 {
        match self {
            Self::BigInteger(n) => super::decimal::big_integer_hash(n),
            Self::ByteBuffer(bytes) => {
                bytes.iter().rev().fold(1i32, |h, b| h.wrapping_mul(31).wrapping_add(i32::from(*b as i8)))
            }
            Self::MalformedString(units) => {
                units.iter().fold(0i32, |h, u| h.wrapping_mul(31).wrapping_add(i32::from(*u)))
            }
            Self::Object { text, .. } => java_string_hash(text),
        }
    }
}
