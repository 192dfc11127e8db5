//! The schema that a value has by its class: Java's `Values.inferSchema`.

use kurier_api::ConnectError;
use kurier_api::data::{Foreign, Schema, SchemaBuilder, SchemaRef, Type, Value};

/// The schema of a value; none where there is no telling, as for empty containers, dates and decimals.
///
/// # Errors
/// `SchemaBuilderException` for containers of nulls only, as in Java.
pub fn infer_schema(value: &Value) -> Result<Option<SchemaRef>, ConnectError> {
    Ok(Some(match value {
        Value::Bool(_) => Schema::boolean(),
        Value::I8(_) => Schema::int8(),
        Value::I16(_) => Schema::int16(),
        Value::I32(_) => Schema::int32(),
        Value::I64(_) => Schema::int64(),
        Value::F32(_) => Schema::float32(),
        Value::F64(_) => Schema::float64(),
        Value::Text(_) => Schema::string(),
        Value::Bytes(_) => Schema::bytes(),
        Value::Foreign(foreign) => match **foreign {
            Foreign::MalformedString(_) => Schema::string(),
            Foreign::ByteBuffer(_) => Schema::bytes(),
            Foreign::BigInteger(_) | Foreign::Object { .. } => return Ok(None),
        },
        Value::Array(items) => {
            let Some(items) = common(items.iter())? else { return Ok(None) };
            SchemaBuilder::array(items).build()?
        }
        Value::Map(map) => {
            let mut keys = Common::default();
            let mut values = Common::default();
            for (key, value) in map.iter() {
                if !keys.fits(key)? || !values.fits(value)? {
                    return Ok(None);
                }
            }
            if map.is_empty() {
                return Ok(None);
            }
            SchemaBuilder::map(keys.schema()?, values.schema()?).build()?
        }
        Value::Struct(structure) => structure.schema().clone(),
        Value::Null | Value::Decimal(_) | Value::Date(_) => return Ok(None),
    }))
}

fn common<'a>(items: impl ExactSizeIterator<Item = &'a Value>) -> Result<Option<SchemaRef>, ConnectError> {
    if items.len() == 0 {
        return Ok(None);
    }
    let mut common = Common::default();
    for item in items {
        if !common.fits(item)? {
            return Ok(None);
        }
    }
    common.schema().map(Some)
}

/// What the elements of a container have in common: only the type, not what is inside.
#[derive(Default)]
struct Common {
    kind: Option<Type>,
    optional: bool,
}

impl Common {
    fn fits(&mut self, value: &Value) -> Result<bool, ConnectError> {
        if value.is_null() {
            self.optional = true;
            return Ok(true);
        }
        let Some(schema) = infer_schema(value)? else { return Ok(false) };
        Ok(*self.kind.get_or_insert(schema.kind()) == schema.kind())
    }

    fn schema(self) -> Result<SchemaRef, ConnectError> {
        let kind = self.kind.ok_or_else(|| ConnectError::schema_builder("type cannot be null"))?;
        let builder = SchemaBuilder::of(kind);
        if self.optional { builder.optional() } else { builder }.build()
    }
}
