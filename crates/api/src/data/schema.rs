//! Schemas and their builder.

use super::{Text, Value};
use crate::error::ConnectError;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A shared schema. Two pointers to the same schema are the same schema, which is how converters find their cached plans.
pub type SchemaRef = Arc<Schema>;

/// The kinds of schemas, in Java's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Type {
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Boolean,
    String,
    Bytes,
    Array,
    Map,
    Struct,
}

impl Type {
    /// The enum constant's name in Java, as messages show it: `INT8`.
    pub fn java_name(self) -> &'static str {
        match self {
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Float32 => "FLOAT32",
            Self::Float64 => "FLOAT64",
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Bytes => "BYTES",
            Self::Array => "ARRAY",
            Self::Map => "MAP",
            Self::Struct => "STRUCT",
        }
    }

    /// The lower-case name: `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Array => "array",
            Self::Map => "map",
            Self::Struct => "struct",
        }
    }

    /// Whether values of this type have no parts.
    pub fn is_primitive(self) -> bool {
        !matches!(self, Self::Array | Self::Map | Self::Struct)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.java_name())
    }
}

/// A named part of a struct schema.
#[derive(Clone, Debug)]
pub struct Field {
    name: Text,
    index: usize,
    schema: SchemaRef,
}

impl Field {
    /// The field's name, never empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its place among the fields, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its schema.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

/// What values look like. Immutable; made by [`SchemaBuilder`]. Counterpart of Java's `ConnectSchema`.
#[derive(Clone, Debug)]
pub struct Schema {
    kind: Type,
    optional: bool,
    default: Option<Value>,
    name: Option<Arc<str>>,
    version: Option<i32>,
    doc: Option<Arc<str>>,
    parameters: Option<Vec<(Text, Text)>>,
    fields: Vec<Field>,
    key: Option<SchemaRef>,
    value: Option<SchemaRef>,
}

macro_rules! primitives {
    ($($required:ident $optional:ident $kind:ident),*) => {$(
        #[doc = concat!("The shared required schema of type ", stringify!($kind), ".")]
        pub fn $required() -> SchemaRef {
            static SCHEMA: OnceLock<SchemaRef> = OnceLock::new();
            SCHEMA.get_or_init(|| Arc::new(Schema::plain(Type::$kind, false))).clone()
        }

        #[doc = concat!("The shared optional schema of type ", stringify!($kind), ".")]
        pub fn $optional() -> SchemaRef {
            static SCHEMA: OnceLock<SchemaRef> = OnceLock::new();
            SCHEMA.get_or_init(|| Arc::new(Schema::plain(Type::$kind, true))).clone()
        }
    )*};
}

impl Schema {
    primitives!(
        int8 optional_int8 Int8,
        int16 optional_int16 Int16,
        int32 optional_int32 Int32,
        int64 optional_int64 Int64,
        float32 optional_float32 Float32,
        float64 optional_float64 Float64,
        boolean optional_boolean Boolean,
        string optional_string String,
        bytes optional_bytes Bytes
    );

    fn plain(kind: Type, optional: bool) -> Self {
        Self {
            kind,
            optional,
            default: None,
            name: None,
            version: None,
            doc: None,
            parameters: None,
            fields: Vec::new(),
            key: None,
            value: None,
        }
    }

    /// The type.
    pub fn kind(&self) -> Type {
        self.kind
    }

    /// Whether null is a value.
    pub fn is_optional(&self) -> bool {
        self.optional
    }

    /// What stands for null; none if there is no default.
    pub fn default_value(&self) -> Option<&Value> {
        self.default.as_ref()
    }

    /// The name; for logical types one of [`super::logical`].
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The version.
    pub fn version(&self) -> Option<i32> {
        self.version
    }

    /// The documentation.
    pub fn doc(&self) -> Option<&str> {
        self.doc.as_deref()
    }

    /// All parameters in order; none at all differs from an empty list.
    pub fn parameters(&self) -> Option<&[(Text, Text)]> {
        self.parameters.as_deref()
    }

    /// One parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.as_ref()?.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// The fields of a struct schema, in order; empty for other types.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// One field of a struct schema.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// The key schema of a map schema.
    pub fn key_schema(&self) -> Option<&SchemaRef> {
        self.key.as_ref()
    }

    /// The value schema of an array or map schema.
    pub fn value_schema(&self) -> Option<&SchemaRef> {
        self.value.as_ref()
    }

    /// Whether two schemas are equal; one comparison of pointers where they are shared.
    pub fn same(a: &SchemaRef, b: &SchemaRef) -> bool {
        Arc::ptr_eq(a, b) || a == b
    }

    /// Whether both have the same parameters, in whatever order.
    pub fn same_parameters(&self, other: &Self) -> bool {
        match (&self.parameters, &other.parameters) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                a.len() == b.len() && a.iter().all(|(k, v)| b.iter().any(|(k2, v2)| k == k2 && v == v2))
            }
            _ => false,
        }
    }

    /// A builder with everything of this schema: for changing a part of it, each property once.
    pub fn to_builder(&self) -> SchemaBuilder {
        SchemaBuilder { schema: self.clone(), error: None, set: Set::default() }
    }
}

/// Parameters compare as maps, all else in order, as Java's `ConnectSchema.equals`.
impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.optional == other.optional
            && self.version == other.version
            && self.name == other.name
            && self.doc == other.doc
            && self.default == other.default
            && self.same_parameters(other)
            && self.fields.len() == other.fields.len()
            && self.fields.iter().zip(&other.fields).all(|(a, b)| a.name == b.name && Self::same(&a.schema, &b.schema))
            && same_inner(&self.key, &other.key)
            && same_inner(&self.value, &other.value)
    }
}

fn same_inner(a: &Option<SchemaRef>, b: &Option<SchemaRef>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => Schema::same(a, b),
        _ => false,
    }
}

impl Eq for Schema {}

/// Java's `Schema{name:TYPE}`.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "Schema{{{name}:{}}}", self.kind),
            None => write!(f, "Schema{{{}}}", self.kind),
        }
    }
}

/// Builds a schema with Java's rules: each property once, defaults that fit, fields named once.
///
/// The first violation is kept and returned by [`Self::build`], so that calls can be chained.
#[derive(Clone, Debug)]
pub struct SchemaBuilder {
    schema: Schema,
    error: Option<ConnectError>,
    set: Set,
}

/// Which properties this builder has set.
#[derive(Clone, Copy, Debug, Default)]
struct Set {
    optional: bool,
    default: bool,
    name: bool,
    version: bool,
    doc: bool,
}

macro_rules! builders {
    ($($name:ident $kind:ident),*) => {$(
        #[doc = concat!("A builder of type ", stringify!($kind), ".")]
        pub fn $name() -> Self {
            Self::of(Type::$kind)
        }
    )*};
}

impl SchemaBuilder {
    builders!(int8 Int8, int16 Int16, int32 Int32, int64 Int64, float32 Float32, float64 Float64, boolean Boolean, string String, bytes Bytes);
    builders!(structure Struct);

    /// A builder of any type.
    pub fn of(kind: Type) -> Self {
        Self { schema: Schema::plain(kind, false), error: None, set: Set::default() }
    }

    /// A builder of an array of these.
    pub fn array(value: SchemaRef) -> Self {
        let mut builder = Self::of(Type::Array);
        builder.schema.value = Some(value);
        builder
    }

    /// A builder of a map.
    pub fn map(key: SchemaRef, value: SchemaRef) -> Self {
        let mut builder = Self::of(Type::Map);
        builder.schema.key = Some(key);
        builder.schema.value = Some(value);
        builder
    }

    /// An array or map whose inner schemas may be missing, as decoded JSON schemas can be.
    pub fn with_inner(kind: Type, key: Option<SchemaRef>, value: Option<SchemaRef>) -> Self {
        let mut builder = Self::of(kind);
        builder.schema.key = key;
        builder.schema.value = value;
        builder
    }

    /// Keeps the first violation.
    fn fail(&mut self, message: impl Into<String>) {
        if self.error.is_none() {
            self.error = Some(ConnectError::schema_builder(message));
        }
    }

    /// The first violation so far.
    pub fn error(&self) -> Option<&ConnectError> {
        self.error.as_ref()
    }

    /// Java refuses a second value, but not the very same object again; `same` says whether it would be.
    fn once(&mut self, property: &str, was_set: bool, same: bool) {
        if was_set && !same {
            self.fail(format!("Invalid SchemaBuilder call: {property} has already been set."));
        }
    }

    fn set_optional(mut self, optional: bool) -> Self {
        self.once("optional", self.set.optional, self.schema.optional == optional);
        self.set.optional = true;
        self.schema.optional = optional;
        self
    }

    /// Makes null a value.
    #[must_use]
    pub fn optional(self) -> Self {
        self.set_optional(true)
    }

    /// Makes null no value.
    #[must_use]
    pub fn required(self) -> Self {
        self.set_optional(false)
    }

    /// Sets the name.
    #[must_use]
    pub fn name(mut self, name: impl AsRef<str>) -> Self {
        self.once("name", self.set.name, false);
        self.set.name = true;
        self.schema.name = Some(name.as_ref().into());
        self
    }

    /// Removes the name.
    #[must_use]
    pub fn without_name(mut self) -> Self {
        self.schema.name = None;
        self
    }

    /// Sets the version.
    #[must_use]
    pub fn version(mut self, version: i32) -> Self {
        let is_cached = i8::try_from(version).is_ok();
        self.once("version", self.set.version, is_cached && self.schema.version == Some(version));
        self.set.version = true;
        self.schema.version = Some(version);
        self
    }

    /// Sets the documentation.
    #[must_use]
    pub fn doc(mut self, doc: impl AsRef<str>) -> Self {
        self.once("doc", self.set.doc, false);
        self.set.doc = true;
        self.schema.doc = Some(doc.as_ref().into());
        self
    }

    /// Sets a parameter; a known one takes the new value.
    #[must_use]
    pub fn parameter(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let parameters = self.schema.parameters.get_or_insert_default();
        match parameters.iter_mut().find(|(k, _)| k == name.as_ref()) {
            Some((_, old)) => *old = Text::new(value),
            None => parameters.push((Text::new(name), Text::new(value))),
        }
        self
    }

    /// Makes sure that there is a list of parameters, if only an empty one.
    #[must_use]
    pub fn with_parameters(mut self) -> Self {
        self.schema.parameters.get_or_insert_default();
        self
    }

    /// Sets the default, which must fit the schema as built so far. A struct never fits, because Java compares its schema with the builder;
    /// see [`Self::default_value_unchecked`].
    #[must_use]
    pub fn default_value(mut self, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.once("default", self.set.default, false);
        self.set.default |= !value.is_null();
        let checked = match &value {
            Value::Struct(_) if self.schema.kind == Type::Struct => {
                Err(ConnectError::data("Struct schemas do not match."))
            }
            value => self.schema.validate_value("value", value),
        };
        match checked {
            Ok(()) => self.schema.default = Some(value).filter(|value| !value.is_null()),
            Err(error) => {
                if self.error.is_none() {
                    self.error = Some(ConnectError::schema_builder("Invalid default value").with_cause(error));
                }
            }
        }
        self
    }

    /// Sets the default without a check: for schemas that were checked elsewhere, and for structs made of this builder's own schema so far.
    #[must_use]
    pub fn default_value_unchecked(mut self, value: impl Into<Value>) -> Self {
        self.schema.default = Some(value.into()).filter(|value| !value.is_null());
        self
    }

    /// Removes the default.
    #[must_use]
    pub fn without_default(mut self) -> Self {
        self.schema.default = None;
        self
    }

    /// Adds a field to a struct schema.
    #[must_use]
    pub fn field(mut self, name: impl AsRef<str>, schema: SchemaRef) -> Self {
        let name = name.as_ref();
        if self.schema.kind != Type::Struct {
            self.fail(format!("Cannot create fields on type {}", self.schema.kind));
        } else if name.is_empty() {
            self.fail("fieldName cannot be null.");
        } else if self.schema.field(name).is_some() {
            self.fail(format!("Cannot create field because of field name duplication {name}"));
        } else {
            let index = self.schema.fields.len();
            self.schema.fields.push(Field { name: Text::new(name), index, schema });
        }
        self
    }

    /// The schema.
    ///
    /// # Errors
    /// `SchemaBuilderException` for the first violation of Java's rules.
    pub fn build(self) -> Result<SchemaRef, ConnectError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Arc::new(self.schema)),
        }
    }
}
