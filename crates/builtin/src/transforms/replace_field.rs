//! `ReplaceField`: keeps, drops and renames fields.

use super::side::{SchemaCache, Side, copy_basics, field_value, require_map, require_struct};
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Key, ParsedConfig, Setting, Type, Validator, invalid};
use kurier_api::data::{Map, Struct, Text, Value};
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;
use std::collections::HashMap;

const PURPOSE: &str = "field replacement";

/// The setting that most transforms share.
pub(super) fn null_key() -> Key {
    Key::new("replace.null.with.default", Type::Boolean)
        .default("true")
        .doc("Whether a null field with a default is copied as its default (true) or as null (false).")
}

pub(super) fn config() -> ConfigDef {
    let list = |name| {
        Key::new(name, Type::List).default("").validator(Validator::ValidList {
            of: Vec::new(),
            empty: true,
            null: false,
        })
    };
    ConfigDef::new()
        .define(list("exclude").doc("Fields to drop. They go before `include` is asked."))
        .define(list("include").doc("Fields to keep. If there are any, all others go."))
        .define(
            Key::new("renames", Type::List)
                .default("")
                .validator(Validator::custom(
                    "list of colon-delimited pairs, e.g. <code>foo:bar,abc:xyz</code>",
                    |name, value| renames(name, value).map(drop),
                ))
                .doc("New names of fields: `old:new`."),
        )
        .define(null_key())
}

/// Reads `old:new` pairs.
fn renames(name: &str, value: &Setting) -> Result<HashMap<Text, Text>, ConnectError> {
    let Setting::List(items) = value else { return Ok(HashMap::new()) };
    let mut renames = HashMap::new();
    for item in items {
        let text = item.to_string();
        let mut parts: Vec<&str> = text.split(':').collect();
        // Java's split drops empty texts at the end.
        while parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
        match parts[..] {
            [old, new] => renames.insert(Text::new(old), Text::new(new)),
            _ => return Err(invalid(name, value, &format!("Invalid rename mapping: {text}"))),
        };
    }
    Ok(renames)
}

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    let names = |key| config.get_list(key).into_iter().map(Text::new).collect();
    Ok(Box::new(ReplaceField {
        exclude: names("exclude"),
        include: names("include"),
        renames: renames("renames", config.get("renames")?)?,
        replace_null_with_default: config.get_bool("replace.null.with.default"),
        side,
        schemas: SchemaCache::default(),
    }))
}

struct ReplaceField {
    exclude: Vec<Text>,
    include: Vec<Text>,
    renames: HashMap<Text, Text>,
    replace_null_with_default: bool,
    side: Side,
    schemas: SchemaCache,
}

impl ReplaceField {
    fn keeps(&self, field: &str) -> bool {
        !self.exclude.iter().any(|name| name == field)
            && (self.include.is_empty() || self.include.iter().any(|name| name == field))
    }

    fn renamed<'a>(&'a self, field: &'a str) -> &'a str {
        self.renames.get(field).map_or(field, Text::as_str)
    }
}

impl Transform for ReplaceField {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        let target = self.side.of(record);
        if target.value.is_null() {
            return Ok(Verdict::Keep);
        }
        let Some(schema) = &target.schema else {
            let map = require_map(&mut target.value, PURPOSE)?;
            let size = u32::try_from(map.len()).unwrap_or(u32::MAX);
            let fields = std::mem::replace(map, Map::hash_with_java_capacity(size));
            for (key, value) in fields.into_pairs() {
                let new_name = match &key {
                    Value::Text(name) if !self.keeps(name) => continue,
                    Value::Text(name) => self.renames.get(name.as_str()).cloned(),
                    other => {
                        return Err(ConnectError::of_class(
                            "java.lang.ClassCastException",
                            format!("the name of a field is a String, not a {}: {other}", other.java_class()),
                        ));
                    }
                };
                map.insert(new_name.map_or(key, Value::Text), value);
            }
            return Ok(Verdict::Keep);
        };
        let structure = require_struct(&mut target.value, PURPOSE)?;
        let mut schemas = std::mem::take(&mut self.schemas);
        let made = schemas.get(schema, || {
            let kept = schema.fields().iter().filter(|field| self.keeps(field.name()));
            kept.fold(copy_basics(schema), |builder, field| {
                builder.field(self.renamed(field.name()), field.schema().clone())
            })
            .build()
        });
        self.schemas = schemas;
        let made = made?;
        let mut updated = Struct::new(made.clone())?;
        for field in schema.fields().iter().filter(|field| self.keeps(field.name())) {
            updated.put(self.renamed(field.name()), field_value(structure, field, self.replace_null_with_default))?;
        }
        target.value = updated.into();
        target.schema = Some(made);
        Ok(Verdict::Keep)
    }
}
