//! Numbers and booleans as big-endian bytes: `org.apache.kafka.connect.converters.{Short,Integer,Long,Float,Double,Boolean}Converter`.

use kurier_api::ConnectError;
use kurier_api::data::{Schema, SchemaAndValue, SchemaRef, Type, Value};
use kurier_api::plugin::{PlainConverter, Presence};

/// Which numbers a [`NumberConverter`] writes and reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NumberKind {
    Boolean,
    Short,
    Integer,
    Long,
    Float,
    Double,
}

impl NumberKind {
    /// All of them, in the order of their Java names.
    pub const ALL: [Self; 6] = [Self::Boolean, Self::Double, Self::Float, Self::Integer, Self::Long, Self::Short];

    /// The Java class of the converter.
    pub fn class(self) -> &'static str {
        match self {
            Self::Boolean => "org.apache.kafka.connect.converters.BooleanConverter",
            Self::Short => "org.apache.kafka.connect.converters.ShortConverter",
            Self::Integer => "org.apache.kafka.connect.converters.IntegerConverter",
            Self::Long => "org.apache.kafka.connect.converters.LongConverter",
            Self::Float => "org.apache.kafka.connect.converters.FloatConverter",
            Self::Double => "org.apache.kafka.connect.converters.DoubleConverter",
        }
    }

    /// What messages call it.
    fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Short => "short",
            Self::Integer => "integer",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
        }
    }

    fn schema(self) -> SchemaRef {
        match self {
            Self::Boolean => Schema::optional_boolean(),
            Self::Short => Schema::optional_int16(),
            Self::Integer => Schema::optional_int32(),
            Self::Long => Schema::optional_int64(),
            Self::Float => Schema::optional_float32(),
            Self::Double => Schema::optional_float64(),
        }
    }
}

/// Writes and reads values of one kind.
#[derive(Clone, Debug)]
pub struct NumberConverter {
    kind: NumberKind,
    schema: SchemaRef,
}

impl NumberConverter {
    /// A converter of one kind.
    pub fn new(kind: NumberKind) -> Self {
        Self { kind, schema: kind.schema() }
    }

    /// Appends a value's bytes. Only the boolean converter looks at the schema, as in Java.
    ///
    /// # Errors
    /// `DataException` for a value of another type.
    pub fn write(
        &self,
        schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        if self.kind == NumberKind::Boolean
            && let Some(schema) = schema
            && schema.kind() != Type::Boolean
        {
            return Err(ConnectError::data(format!("Invalid schema type for BooleanConverter: {}", schema.kind())));
        }
        match (self.kind, value) {
            (_, Value::Null) => return Ok(Presence::Null),
            (NumberKind::Boolean, Value::Bool(b)) => out.push((*b).into()),
            (NumberKind::Short, Value::I16(n)) => out.extend(n.to_be_bytes()),
            (NumberKind::Integer, Value::I32(n)) => out.extend(n.to_be_bytes()),
            (NumberKind::Long, Value::I64(n)) => out.extend(n.to_be_bytes()),
            // Java writes floats by their raw bits, so that a NaN keeps its own.
            (NumberKind::Float, Value::F32(n)) => out.extend(n.to_bits().to_be_bytes()),
            (NumberKind::Double, Value::F64(n)) => out.extend(n.to_bits().to_be_bytes()),
            (NumberKind::Boolean, other) => {
                return Err(ConnectError::data(format!(
                    "BooleanConverter is not compatible with objects of type class {}",
                    other.java_class()
                )));
            }
            (kind, other) => {
                let class = other.java_class();
                return Err(ConnectError::data(format!(
                    "Failed to serialize to {} (was class {class}): ",
                    kind.name()
                )));
            }
        }
        Ok(Presence::Bytes)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// `DataException` for bytes of another length.
    pub fn read(&self, bytes: Option<&[u8]>) -> Result<SchemaAndValue, ConnectError> {
        let value = match bytes {
            None => Some(Value::Null),
            Some(bytes) => match self.kind {
                NumberKind::Boolean => match bytes {
                    [0] => Some(Value::Bool(false)),
                    [1] => Some(Value::Bool(true)),
                    _ => None,
                },
                NumberKind::Short => bytes.try_into().ok().map(i16::from_be_bytes).map(Value::I16),
                NumberKind::Integer => bytes.try_into().ok().map(i32::from_be_bytes).map(Value::I32),
                NumberKind::Long => bytes.try_into().ok().map(i64::from_be_bytes).map(Value::I64),
                NumberKind::Float => bytes.try_into().ok().map(f32::from_be_bytes).map(Value::F32),
                NumberKind::Double => bytes.try_into().ok().map(f64::from_be_bytes).map(Value::F64),
            },
        };
        let value = value.ok_or_else(|| ConnectError::data(format!("Failed to deserialize {}: ", self.kind.name())))?;
        Ok(SchemaAndValue::new(self.schema.clone(), value))
    }
}

impl PlainConverter for NumberConverter {
    fn encode(
        &mut self,
        schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        self.write(schema, value, out)
    }

    fn decode(&mut self, bytes: Option<&[u8]>) -> Result<SchemaAndValue, ConnectError> {
        self.read(bytes)
    }
}
