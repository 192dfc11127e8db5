//! A value for every field of a struct schema.

use super::{Field, Schema, SchemaRef, Type, Value};
use crate::error::ConnectError;

/// A record of named fields. Counterpart of Java's `Struct`; an unset field is null.
#[derive(Clone, Debug)]
pub struct Struct {
    schema: SchemaRef,
    fields: Box<[Value]>,
}

impl Struct {
    /// A struct with no field set.
    ///
    /// # Errors
    /// `DataException` if the schema is not a struct schema.
    pub fn new(schema: SchemaRef) -> Result<Self, ConnectError> {
        if schema.kind() != Type::Struct {
            return Err(ConnectError::data(format!("Not a struct schema: {schema}")));
        }
        let fields = vec![Value::Null; schema.fields().len()].into();
        Ok(Self { schema, fields })
    }

    /// A struct from all its values in the order of the fields, unchecked: for decoders that have just read them by this schema.
    ///
    /// # Panics
    /// If there are not as many values as fields.
    pub fn from_values(schema: SchemaRef, fields: Box<[Value]>) -> Self {
        assert_eq!(schema.fields().len(), fields.len(), "a value for every field of {schema}");
        Self { schema, fields }
    }

    /// The schema.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// All values in the order of the fields; null where unset, even if the field has a default.
    pub fn values(&self) -> &[Value] {
        &self.fields
    }

    /// All values, to be changed in place; the caller keeps them fitting the schema.
    pub fn values_mut(&mut self) -> &mut [Value] {
        &mut self.fields
    }

    /// The schema and all values.
    pub fn into_parts(self) -> (SchemaRef, Box<[Value]>) {
        (self.schema, self.fields)
    }

    /// Java's `get(Field)`: the value, or the field's default where it is null. None if there is no such field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let field = self.schema.field(name)?;
        Some(self.value_or_default(field.index()))
    }

    /// The value of the field at this index, or its default where it is null.
    pub fn value_or_default(&self, index: usize) -> &Value {
        match (&self.fields[index], self.schema.fields()[index].schema().default_value()) {
            (Value::Null, Some(default)) => default,
            (value, _) => value,
        }
    }

    /// Java's `getWithoutDefault`.
    pub fn get_without_default(&self, name: &str) -> Option<&Value> {
        Some(&self.fields[self.schema.field(name)?.index()])
    }

    /// A field by its name.
    ///
    /// # Errors
    /// `DataException` if there is none.
    pub fn lookup(&self, name: &str) -> Result<&Field, ConnectError> {
        self.schema.field(name).ok_or_else(|| ConnectError::data(format!("{name} is not a valid field name")))
    }

    /// Java's typed getters, such as `getInt32`: the value without its default, where the field has this type.
    ///
    /// # Errors
    /// `DataException` if there is no such field or it has another type; `ClassCastException` for the value of a logical type.
    pub fn get_typed(&self, name: &str, kind: Type) -> Result<&Value, ConnectError> {
        let field = self.lookup(name)?;
        if field.schema().kind() != kind {
            return Err(ConnectError::data(format!("Field '{name}' is not of type {kind}")));
        }
        let value = &self.fields[field.index()];
        if value.is_null() || value.schema_type() == Some(kind) {
            return Ok(value);
        }
        let message = format!("class {} is not the class of type {kind}", value.java_class());
        Err(ConnectError::of_class("java.lang.ClassCastException", message))
    }

    /// Sets a field.
    ///
    /// # Errors
    /// `DataException` if there is no such field or the value does not fit its schema; null is refused for a required field even if it has a
    /// default, as in Java.
    pub fn put(&mut self, name: &str, value: impl Into<Value>) -> Result<&mut Self, ConnectError> {
        let value = value.into();
        let field = self.lookup(name)?;
        field.schema().validate_value(field.name(), &value)?;
        let index = field.index();
        self.fields[index] = value;
        Ok(self)
    }

    /// Checks every field; null passes where the field is optional or has a default.
    ///
    /// # Errors
    /// `DataException` with Java's message.
    pub fn validate(&self) -> Result<(), ConnectError> {
        for (field, value) in self.schema.fields().iter().zip(&self.fields) {
            let schema = field.schema();
            if value.is_null() && (schema.is_optional() || schema.default_value().is_some()) {
                continue;
            }
            schema.validate_value(field.name(), value)?;
        }
        Ok(())
    }

    pub(super) fn java_hash(&self) -> i32 {
        // Java mixes in the schema's hash, which depends on identity hashes of enums and so differs from run to run.
        self.fields.iter().fold(1i32, |hash, v| hash.wrapping_mul(31).wrapping_add(v.java_hash()))
    }
}

impl PartialEq for Struct {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields && Schema::same(&self.schema, &other.schema)
    }
}

impl Eq for Struct {}
