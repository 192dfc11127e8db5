//! What the transforms share: the side of a record that they work on, Java's checks of what they find there, and schemas made once.

use kurier_api::ConnectError;
use kurier_api::data::{Field, Map, Schema, SchemaAndValue, SchemaBuilder, SchemaRef, Struct, Value};
use kurier_api::record::Record;
use std::sync::Arc;

/// The side of a record that a transform works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Key,
    Value,
}

impl Side {
    /// Schema and value of this side.
    pub(super) fn of(self, record: &mut Record) -> &mut SchemaAndValue {
        match self {
            Self::Key => &mut record.key,
            Self::Value => &mut record.value,
        }
    }
}

/// Java's `Requirements.requireMap`.
pub(super) fn require_map<'a>(value: &'a mut Value, purpose: &str) -> Result<&'a mut Map, ConnectError> {
    match value {
        Value::Map(map) => Ok(map),
        other => Err(ConnectError::data(format!(
            "Only Map objects supported in absence of schema for [{purpose}], found: {}",
            found(other)
        ))),
    }
}

/// Java's `Requirements.requireStruct`.
pub(super) fn require_struct<'a>(value: &'a mut Value, purpose: &str) -> Result<&'a mut Struct, ConnectError> {
    match value {
        Value::Struct(structure) => Ok(structure),
        other => {
            Err(ConnectError::data(format!("Only Struct objects supported for [{purpose}], found: {}", found(other))))
        }
    }
}

/// The class as Java's messages name it here: without `class `.
fn found(value: &Value) -> &str {
    value.java_class()
}

/// A field's value, or its default where it is null and the transform says so.
pub(super) fn field_value(structure: &mut Struct, field: &Field, replace_null_with_default: bool) -> Value {
    let value = std::mem::take(&mut structure.values_mut()[field.index()]);
    match (value, field.schema().default_value()) {
        (Value::Null, Some(default)) if replace_null_with_default => default.clone(),
        (value, _) => value,
    }
}

/// A builder of a struct schema with the name, version, doc and parameters of another. Java's `SchemaUtil.copySchemaBasics`.
pub(super) fn copy_basics(schema: &Schema) -> SchemaBuilder {
    copy_basics_to(schema, SchemaBuilder::structure())
}

/// The same for a schema of any type that has been begun.
pub(super) fn copy_basics_to(schema: &Schema, mut builder: SchemaBuilder) -> SchemaBuilder {
    if let Some(name) = schema.name() {
        builder = builder.name(name);
    }
    if let Some(version) = schema.version() {
        builder = builder.version(version);
    }
    if let Some(doc) = schema.doc() {
        builder = builder.doc(doc);
    }
    for (name, value) in schema.parameters().unwrap_or_default() {
        builder = builder.parameter(name, value);
    }
    builder
}

/// How many schemas a transform remembers, as in Java.
const SCHEMAS: usize = 16;

/// Schemas made of others, found again by identity.
#[derive(Debug, Default)]
pub(super) struct SchemaCache {
    /// Latest used last.
    made: Vec<(SchemaRef, SchemaRef)>,
}

impl SchemaCache {
    /// What was made of a schema, or is made now.
    pub(super) fn get(
        &mut self,
        schema: &SchemaRef,
        make: impl FnOnce() -> Result<SchemaRef, ConnectError>,
    ) -> Result<SchemaRef, ConnectError> {
        if let Some((last, made)) = self.made.last().filter(|(from, _)| Arc::ptr_eq(from, schema)) {
            debug_assert!(Arc::ptr_eq(last, schema));
            return Ok(made.clone());
        }
        if let Some(at) = self.made.iter().position(|(from, _)| Schema::same(from, schema)) {
            let found = self.made.remove(at);
            self.made.push(found);
        } else {
            let made = make()?;
            if self.made.len() == SCHEMAS {
                self.made.remove(0);
            }
            self.made.push((schema.clone(), made));
        }
        Ok(self.made[self.made.len() - 1].1.clone())
    }
}
