//! The notation in which cases write schemas, values and records: from it and back.
//!
//! A value is null or an object with one key that names its Java class; a struct names its schema only where it differs from the one that the
//! context gives. What is written back follows the same rules, so that answers compare as JSON.

use anyhow::{Context, Result, bail};
use kurier_api::data::{
    Decimal, Foreign, Map, MapOrder, Schema, SchemaAndValue, SchemaBuilder, SchemaRef, Struct, Type, Value, java_text,
};
use num_bigint::BigInt;
use serde_json::{Value as Json, json};

/// Bytes from lower-case hex; null gives none.
///
/// # Errors
/// If it is neither hex nor null.
pub fn bytes_from(json: &Json) -> Result<Option<Vec<u8>>> {
    match json {
        Json::Null => Ok(None),
        Json::String(hex) => unhex(hex).map(Some),
        other => bail!("not hex: {other}"),
    }
}

/// Bytes from hex.
///
/// # Errors
/// If it is not hex.
pub fn unhex(hex: &str) -> Result<Vec<u8>> {
    let digits = hex.as_bytes();
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    if !digits.len().is_multiple_of(2) {
        bail!("an odd number of hex digits");
    }
    digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect::<Option<_>>().context("not hex")
}

/// Hex from bytes.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
        write!(text, "{b:02x}").expect("a String takes all");
        text
    })
}

/// Bytes or none as hex or null.
pub fn bytes_to(bytes: Option<&[u8]>) -> Json {
    bytes.map_or(Json::Null, |b| hex(b).into())
}

fn integer<T: TryFrom<i64>>(json: &Json) -> Result<T> {
    let n = match json {
        Json::String(text) => text.parse()?,
        other => other.as_i64().context("not an integer")?,
    };
    T::try_from(n).map_err(|_| anyhow::anyhow!("{n} is out of range"))
}

/// A text that has a UTF-8 form.
///
/// # Errors
/// If it is no text, or one with an unpaired surrogate.
pub fn text_from(json: &Json) -> Result<&str> {
    json.as_str().with_context(|| format!("not a text with a UTF-8 form: {json}"))
}

fn string_from(json: &Json) -> Result<Value> {
    if let Some(units) = json.get("utf16") {
        let bytes = unhex(text_from(units)?)?;
        let units: Box<[u16]> = bytes.chunks(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect();
        return Ok(Value::Foreign(Box::new(Foreign::MalformedString(units))));
    }
    Ok(Value::text(text_from(json)?))
}

/// A schema; null gives none.
///
/// # Errors
/// If it breaks the notation.
pub fn schema_from(json: &Json) -> Result<Option<SchemaRef>> {
    let Some(object) = json.as_object() else {
        return if json.is_null() { Ok(None) } else { bail!("not a schema: {json}") };
    };
    if let Some(depth) = object.get("deep") {
        let mut schema = schema_from(&object["inner"])?;
        for _ in 0..integer::<u32>(depth)? {
            schema = Some(SchemaBuilder::with_inner(Type::Array, None, schema).build()?);
        }
        return Ok(schema);
    }
    let kind = match text_from(&json["type"])? {
        "int8" => Type::Int8,
        "int16" => Type::Int16,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "float32" => Type::Float32,
        "float64" => Type::Float64,
        "boolean" => Type::Boolean,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "array" => Type::Array,
        "map" => Type::Map,
        "struct" => Type::Struct,
        other => bail!("unknown type {other}"),
    };
    let mut builder = SchemaBuilder::with_inner(kind, schema_from(&json["key"])?, schema_from(&json["value"])?);
    for field in json["fields"].as_array().into_iter().flatten() {
        let schema = schema_from(&field["schema"])?.context("a field without a schema")?;
        builder = builder.field(text_from(&field["name"])?, schema);
    }
    if json["optional"] == true {
        builder = builder.optional();
    }
    if let Some(name) = object.get("name").filter(|n| !n.is_null()) {
        builder = builder.name(text_from(name)?);
    }
    if let Some(version) = object.get("version").filter(|v| !v.is_null()) {
        builder = builder.version(integer(version)?);
    }
    if let Some(doc) = object.get("doc").filter(|d| !d.is_null()) {
        builder = builder.doc(text_from(doc)?);
    }
    if let Some(parameters) = json["params"].as_array() {
        builder = builder.with_parameters();
        for pair in parameters {
            builder = builder.parameter(text_from(&pair[0])?, text_from(&pair[1])?);
        }
    }
    if let Some(default) = object.get("default").filter(|d| !d.is_null()) {
        let context = builder.clone().build()?;
        builder = builder.default_value_unchecked(value_from(default, Some(&context))?);
    }
    Ok(Some(builder.build()?))
}

/// A value, where `context` is the schema that it is said to have.
///
/// # Errors
/// If it breaks the notation.
pub fn value_from(json: &Json, context: Option<&SchemaRef>) -> Result<Value> {
    let Some(object) = json.as_object() else {
        return if json.is_null() { Ok(Value::Null) } else { bail!("not a value: {json}") };
    };
    let tag = object.keys().find(|k| *k != "schema" && *k != "text").context("a value without a key")?.as_str();
    let content = &object[tag];
    let foreign = |f| Value::Foreign(Box::new(f));
    Ok(match tag {
        "bool" => Value::Bool(content.as_bool().context("not a boolean")?),
        "i8" => Value::I8(integer(content)?),
        "i16" => Value::I16(integer(content)?),
        "i32" => Value::I32(integer(content)?),
        "i64" => Value::I64(integer(content)?),
        "bigint" => foreign(Foreign::BigInteger(text_from(content)?.parse()?)),
        "f32" => Value::F32(match text_from(content)?.strip_prefix("NaN:") {
            Some(bits) => f32::from_bits(u32::from_str_radix(bits, 16)?),
            None => parse_float(text_from(content)?)?,
        }),
        "f64" => Value::F64(match text_from(content)?.strip_prefix("NaN:") {
            Some(bits) => f64::from_bits(u64::from_str_radix(bits, 16)?),
            None => parse_float(text_from(content)?)?,
        }),
        "str" => string_from(content)?,
        "bytes" => Value::bytes(unhex(text_from(content)?)?),
        "buffer" => foreign(Foreign::ByteBuffer(unhex(text_from(content)?)?.into())),
        "dec" => Decimal::new(text_from(&content[0])?.parse::<BigInt>()?, integer(&content[1])?).into(),
        "date" => Value::Date(integer(content)?),
        "array" => {
            let inner = context.and_then(|s| s.value_schema());
            let items = content.as_array().context("not a list")?;
            Value::array(items.iter().map(|v| value_from(v, inner)).collect::<Result<Vec<_>>>()?)
        }
        "deep" => {
            let depth: u32 = integer(&content[0])?;
            let mut contexts = vec![context];
            for _ in 0..depth {
                contexts.push(contexts.last().and_then(|c| c.and_then(|s| s.value_schema())));
            }
            let mut value = value_from(&content[1], contexts.last().copied().flatten())?;
            for _ in 0..depth {
                value = Value::array([value]);
            }
            value
        }
        "map" | "hmap" => {
            let (keys, values) = (context.and_then(|s| s.key_schema()), context.and_then(|s| s.value_schema()));
            let pairs = content.as_array().context("not a list of pairs")?;
            let pairs = pairs.iter().map(|pair| Ok((value_from(&pair[0], keys)?, value_from(&pair[1], values)?)));
            let pairs = pairs.collect::<Result<Vec<_>>>()?;
            if tag == "map" { map_of(Map::linked(), &pairs) } else { hash_map_of(&pairs) }.into()
        }
        "struct" => {
            let own = object.get("schema").map(schema_from).transpose()?.flatten();
            let schema = own.as_ref().or(context).context("a struct without a schema")?.clone();
            let mut values = vec![Value::Null; schema.fields().len()];
            for pair in content.as_array().context("not a list of pairs")? {
                let name = text_from(&pair[0])?;
                let field = schema.field(name).with_context(|| format!("no field {name}"))?;
                values[field.index()] = value_from(&pair[1], Some(field.schema()))?;
            }
            Struct::from_values(schema, values.into()).into()
        }
        "java" => foreign(Foreign::Object {
            class: text_from(content)?.into(),
            text: object.get("text").and_then(Json::as_str).unwrap_or_default().into(),
        }),
        other => bail!("unknown key of a value: {other}"),
    })
}

fn map_of(mut map: Map, pairs: &[(Value, Value)]) -> Map {
    for (key, value) in pairs {
        map.insert(key.clone(), value.clone());
    }
    map
}

/// A hash map that iterates as listed: its table may be larger than its pairs need.
fn hash_map_of(pairs: &[(Value, Value)]) -> Map {
    let as_listed = |map: &Map| map.keys().eq(pairs.iter().map(|(key, _)| key));
    let tables = (4..16).map(|bits| map_of(Map::hash_with_java_capacity(1 << bits), pairs));
    tables.into_iter().find(as_listed).unwrap_or_else(|| map_of(Map::linked(), pairs))
}

fn parse_float<T: std::str::FromStr>(text: &str) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    Ok(text.replace("Infinity", "inf").parse()?)
}

/// `{"schema", "value"}`; null gives neither.
///
/// # Errors
/// If it breaks the notation.
pub fn schema_and_value_from(json: &Json) -> Result<SchemaAndValue> {
    let schema = schema_from(&json["schema"])?;
    let value = value_from(&json["value"], schema.as_ref())?;
    Ok(SchemaAndValue { schema, value })
}

fn put(object: &mut Json, key: &str, value: impl Into<Json>) {
    object[key] = value.into();
}

/// A schema in the notation.
pub fn schema_to(schema: Option<&SchemaRef>) -> Json {
    let Some(schema) = schema else { return Json::Null };
    if let Some((depth, inner)) = deep_schema(schema) {
        return json!({"deep": depth, "inner": schema_to(inner)});
    }
    let mut json = json!({"type": schema.kind().name()});
    if schema.is_optional() {
        put(&mut json, "optional", true);
    }
    if let Some(name) = schema.name() {
        put(&mut json, "name", name);
    }
    if let Some(version) = schema.version() {
        put(&mut json, "version", version);
    }
    if let Some(doc) = schema.doc() {
        put(&mut json, "doc", doc);
    }
    if let Some(parameters) = schema.parameters() {
        put(&mut json, "params", parameters.iter().map(|(k, v)| json!([k.as_str(), v.as_str()])).collect::<Vec<_>>());
    }
    if let Some(default) = schema.default_value() {
        put(&mut json, "default", value_to(default, Some(schema)));
    }
    match schema.kind() {
        Type::Array => put(&mut json, "value", schema_to(schema.value_schema())),
        Type::Map => {
            put(&mut json, "key", schema_to(schema.key_schema()));
            put(&mut json, "value", schema_to(schema.value_schema()));
        }
        Type::Struct => {
            let fields = schema.fields().iter();
            let fields = fields.map(|f| json!({"name": f.name(), "schema": schema_to(Some(f.schema()))}));
            put(&mut json, "fields", fields.collect::<Vec<_>>());
        }
        _ => {}
    }
    json
}

/// From this many nested single-element lists on, the notation counts them instead of nesting.
const DEEP: usize = 20;

/// How many plain array schemas stand around which schema, if there are many.
fn deep_schema(schema: &SchemaRef) -> Option<(usize, Option<&SchemaRef>)> {
    let (mut depth, mut next) = (0, Some(schema));
    while let Some(schema) = next
        && schema.kind() == Type::Array
        && **schema == *SchemaBuilder::with_inner(Type::Array, None, schema.value_schema().cloned()).build().ok()?
    {
        depth += 1;
        next = schema.value_schema();
    }
    (depth > DEEP).then_some((depth, next))
}

fn deep_value(value: &Value) -> Option<(usize, &Value)> {
    let (mut depth, mut next) = (0, value);
    while let Value::Array(items) = next
        && let [inner] = &**items
    {
        depth += 1;
        next = inner;
    }
    (depth > DEEP).then_some((depth, next))
}

/// A value in the notation, where `context` is the schema that it is said to have.
pub fn value_to(value: &Value, context: Option<&SchemaRef>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => json!({"bool": b}),
        Value::I8(n) => json!({"i8": n}),
        Value::I16(n) => json!({"i16": n}),
        Value::I32(n) => json!({"i32": n}),
        Value::I64(n) => json!({"i64": n.to_string()}),
        Value::F32(n) if n.is_nan() && n.to_bits() != 0x7fc0_0000 => json!({"f32": format!("NaN:{:x}", n.to_bits())}),
        Value::F32(n) => json!({"f32": java_text::float(*n)}),
        Value::F64(n) if n.is_nan() && n.to_bits() != 0x7ff8_0000_0000_0000 => {
            json!({"f64": format!("NaN:{:x}", n.to_bits())})
        }
        Value::F64(n) => json!({"f64": java_text::double(*n)}),
        Value::Text(text) => json!({"str": text.as_str()}),
        Value::Bytes(bytes) => json!({"bytes": hex(bytes)}),
        Value::Array(items) => {
            if let Some((depth, inner)) = deep_value(value) {
                return json!({"deep": [depth, value_to(inner, None)]});
            }
            let inner = context.and_then(|s| s.value_schema());
            json!({"array": items.iter().map(|v| value_to(v, inner)).collect::<Vec<_>>()})
        }
        Value::Map(map) => {
            let (keys, values) = (context.and_then(|s| s.key_schema()), context.and_then(|s| s.value_schema()));
            let pairs: Vec<_> = map.iter().map(|(k, v)| json!([value_to(k, keys), value_to(v, values)])).collect();
            let linked = map.order() == MapOrder::Linked || pairs.len() <= 1;
            json!({(if linked { "map" } else { "hmap" }): pairs})
        }
        Value::Struct(structure) => {
            let fields = structure.schema().fields().iter().zip(structure.values());
            let pairs: Vec<_> = fields.map(|(f, v)| json!([f.name(), value_to(v, Some(f.schema()))])).collect();
            let mut json = json!({"struct": pairs});
            if !context.is_some_and(|c| Schema::same(c, structure.schema())) {
                put(&mut json, "schema", schema_to(Some(structure.schema())));
            }
            json
        }
        Value::Decimal(decimal) => json!({"dec": [decimal.unscaled.to_string(), decimal.scale]}),
        Value::Date(ms) => json!({"date": ms.to_string()}),
        Value::Foreign(foreign) => match &**foreign {
            Foreign::BigInteger(n) => json!({"bigint": n.to_string()}),
            Foreign::ByteBuffer(bytes) => json!({"buffer": hex(bytes)}),
            Foreign::MalformedString(units) => {
                json!({"str": {"utf16": units.iter().map(|u| format!("{u:04x}")).collect::<String>()}})
            }
            Foreign::Object { class, text } => json!({"java": class.as_str(), "text": text.as_str()}),
        },
    }
}

/// `{"schema", "value"}` in the notation.
pub fn schema_and_value_to(both: &SchemaAndValue) -> Json {
    json!({"schema": schema_to(both.schema.as_ref()), "value": value_to(&both.value, both.schema.as_ref())})
}
