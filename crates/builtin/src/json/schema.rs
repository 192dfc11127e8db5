//! From the JSON form of schemas to schemas.

use super::lexer::{Number, Str};
use super::node::Node;
use super::read::Reading;
use kurier_api::ConnectError;
use kurier_api::data::{SchemaBuilder, SchemaRef, Type};

/// A schema from its JSON form; null gives none.
pub(crate) fn schema_from(node: &Node<'_>, reading: Reading) -> Result<Option<SchemaRef>, ConnectError> {
    if *node == Node::Null {
        return Ok(None);
    }
    let Some(kind) = node.get("type").and_then(Node::as_text) else {
        return Err(ConnectError::data("Schema must contain 'type' field"));
    };
    let mut builder = match kind.as_utf8() {
        Some("boolean") => SchemaBuilder::boolean(),
        Some("int8") => SchemaBuilder::int8(),
        Some("int16") => SchemaBuilder::int16(),
        Some("int32") => SchemaBuilder::int32(),
        Some("int64") => SchemaBuilder::int64(),
        Some("float") => SchemaBuilder::float32(),
        Some("double") => SchemaBuilder::float64(),
        Some("bytes") => SchemaBuilder::bytes(),
        Some("string") => SchemaBuilder::string(),
        Some("array") => {
            let items = node.get("items").filter(|items| **items != Node::Null);
            let items = items.ok_or_else(|| ConnectError::data("Array schema did not specify the element type"))?;
            SchemaBuilder::with_inner(Type::Array, None, schema_from(items, reading)?)
        }
        Some("map") => {
            let missing = |what| ConnectError::data(format!("Map schema did not specify the {what} type"));
            let keys = node.get("keys").ok_or_else(|| missing("key"))?;
            let values = node.get("values").ok_or_else(|| missing("value"))?;
            let (keys, values) = (schema_from(keys, reading)?, schema_from(values, reading)?);
            let keys = keys.ok_or_else(|| ConnectError::schema_builder("keySchema cannot be null."))?;
            let values = values.ok_or_else(|| ConnectError::schema_builder("valueSchema cannot be null."))?;
            SchemaBuilder::map(keys, values)
        }
        Some("struct") => structure(node, reading)?,
        _ => return Err(ConnectError::data(format!("Unknown schema type: {}", display(kind)))),
    };
    if node.get("optional") == Some(&Node::Bool(true)) {
        builder = builder.optional();
    }
    if let Some(name) = node.get("name").and_then(Node::as_text) {
        builder = builder.name(display(name));
    }
    if let Some(Node::Number(version @ (Number::Integer(_) | Number::BigInteger(_)))) = node.get("version") {
        builder = builder.version(version.as_i64() as i32);
    }
    if let Some(doc) = node.get("doc").and_then(Node::as_text) {
        builder = builder.doc(display(doc));
    }
    if let Some(Node::Object(parameters)) = node.get("parameters") {
        for (name, value) in parameters {
            let Some(value) = value.as_text() else {
                return Err(ConnectError::data("Schema parameters must have string values."));
            };
            builder = builder.parameter(display(name), display(value));
        }
    }
    if let Some(default) = node.get("default") {
        let so_far = builder.clone().build()?;
        builder = builder.default_value(reading.value(Some(&so_far), Some(default.clone()))?);
    }
    builder.build().map(Some)
}

fn structure(node: &Node<'_>, reading: Reading) -> Result<SchemaBuilder, ConnectError> {
    let Some(Node::Array(fields)) = node.get("fields") else {
        return Err(ConnectError::data("Struct schema's \"fields\" argument is not an array."));
    };
    let mut builder = SchemaBuilder::structure();
    for field in fields {
        let Some(name) = field.get("field").and_then(Node::as_text) else {
            return Err(ConnectError::data("Struct schema's field name not specified properly"));
        };
        let Some(schema) = schema_from(field, reading)? else {
            return Err(ConnectError::data("Schema must contain 'type' field"));
        };
        builder = builder.field(display(name), schema);
        if let Some(error) = builder.error() {
            return Err(error.clone());
        }
    }
    Ok(builder)
}

/// Names have no place for unpaired surrogates.
fn display(text: &Str<'_>) -> String {
    match text {
        Str::Utf8(text) => text.to_string(),
        Str::Utf16(units) => String::from_utf16_lossy(units),
    }
}
