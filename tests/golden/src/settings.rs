//! The notation of parsed settings, from it and back, and the classes that recorded settings may name.

use anyhow::{Context, Result, bail};
use kurier_api::config::{Classes, ConfigValue, Given, Key, Parsed, Password, Setting, Type};
use kurier_api::data::java_text;
use serde_json::{Map, Value as Json, json};

/// A type of settings by its name.
///
/// # Errors
/// If there is no such type.
pub fn type_from(name: &str) -> Result<Type> {
    const ALL: [Type; 9] = [
        Type::Boolean,
        Type::String,
        Type::Int,
        Type::Short,
        Type::Long,
        Type::Double,
        Type::List,
        Type::Class,
        Type::Password,
    ];
    ALL.into_iter().find(|kind| kind.name() == name).with_context(|| format!("unknown type {name}"))
}

/// A setting; a bare text is one as the user wrote it.
///
/// # Errors
/// If it breaks the notation.
pub fn setting_from(json: &Json) -> Result<Setting> {
    let object = match json {
        Json::Null => return Ok(Setting::Null),
        Json::String(text) => return Ok(Setting::from(text.as_str())),
        Json::Object(object) => object,
        other => bail!("not a setting: {other}"),
    };
    let (tag, content) = object.iter().next().context("a setting without a key")?;
    let text = || content.as_str().with_context(|| format!("not a text: {content}"));
    let float = || Ok::<_, anyhow::Error>(text()?.replace("Infinity", "inf"));
    Ok(match tag.as_str() {
        "bool" => Setting::Bool(content.as_bool().context("not a boolean")?),
        "i16" => Setting::Short(content.as_i64().context("not a number")?.try_into()?),
        "i32" => Setting::Int(content.as_i64().context("not a number")?.try_into()?),
        "i64" => Setting::Long(text()?.parse()?),
        "f32" => Setting::Float(float()?.parse()?),
        "f64" => Setting::Double(float()?.parse()?),
        "str" => Setting::from(text()?),
        "class" => Setting::Class(text()?.to_owned()),
        "password" => Setting::Password(Password::new(text()?)),
        "list" | "array" => {
            let items = content.as_array().context("not a list")?;
            Setting::List(items.iter().map(setting_from).collect::<Result<_>>()?)
        }
        "map" | "hmap" if content.as_array().is_some_and(Vec::is_empty) => {
            Setting::Other("java.util.ImmutableCollections$MapN".to_owned(), "{}".to_owned())
        }
        other => bail!("unknown kind of setting {other}"),
    })
}

/// A setting in the notation.
pub fn setting_to(setting: &Setting) -> Json {
    match setting {
        Setting::Null => Json::Null,
        Setting::Bool(b) => json!({"bool": b}),
        Setting::Short(n) => json!({"i16": n}),
        Setting::Int(n) => json!({"i32": n}),
        Setting::Long(n) => json!({"i64": n.to_string()}),
        Setting::Float(n) => json!({"f32": java_text::float(*n)}),
        Setting::Double(n) => json!({"f64": java_text::double(*n)}),
        Setting::Text(text) => json!({"str": text}),
        Setting::List(items) => json!({"list": items.iter().map(setting_to).collect::<Vec<_>>()}),
        Setting::Class(name) => json!({"class": name}),
        Setting::Password(password) => json!({"password": password.reveal()}),
        Setting::Other(class, text) => json!({"java": class, "text": text}),
    }
}

/// Parsed settings in the notation.
pub fn parsed_to(parsed: &Parsed) -> Json {
    Json::Object(parsed.iter().map(|(key, setting)| (key.clone(), setting_to(setting))).collect())
}

/// What validation says of a setting; what goes without saying is left out.
pub fn value_to(value: &ConfigValue) -> Json {
    let mut json = json!({"name": value.name, "value": setting_to(&value.setting)});
    if !value.recommended.is_empty() {
        json["recommended"] = value.recommended.iter().map(setting_to).collect();
    }
    if !value.errors.is_empty() {
        json["errors"] = value.errors.iter().map(String::as_str).collect();
    }
    if !value.visible {
        json["visible"] = false.into();
    }
    json
}

/// A validator without a text of its own is known by its class; the notation marks where Java adds an identity hash code, but for lambdas.
fn with_hash(text: String) -> String {
    let is_class = text.starts_with("org.apache.kafka.") && !text.contains(' ') && !text.ends_with("$$Lambda");
    if is_class { format!("{text}@HASH") } else { text }
}

/// A declared setting in the notation.
pub fn key_to(key: &Key) -> Json {
    json!({
        "name": key.name,
        "type": key.kind.name(),
        "required": key.is_required(),
        "default": setting_to(key.default_setting()),
        "defaultText": key.default_text(),
        "importance": key.importance.name(),
        "group": key.group,
        "orderInGroup": key.order_in_group,
        "width": key.width.name(),
        "displayName": key.display_name,
        "dependents": key.dependents,
        "validator": key.validator.as_ref().map(|validator| with_hash(validator.to_string())),
        "hasRecommender": key.has_recommender(),
        "internal": key.internal,
    })
}

/// Given settings as recorded, nulls included.
#[derive(Debug)]
pub struct Recorded<'a>(pub Option<&'a Map<String, Json>>);

impl Given for Recorded<'_> {
    fn given(&self, key: &str) -> Option<Setting> {
        setting_from(self.0?.get(key)?).ok()
    }
}

/// The classes that the recording JVM had: of those named there, one of Java's own and the plugins.
#[derive(Clone, Copy, Debug)]
pub struct RecordedClasses;

impl Classes for RecordedClasses {
    fn find(&self, name: &str) -> Option<String> {
        let mut known = kurier_builtin::converters::converters().map(|kind| kind.descriptor().class);
        let found = name == "java.lang.String"
            || known.any(|class| class == name)
            || kurier_builtin::transforms::transforms().any(|kind| kind.descriptor().class == name)
            || kurier_builtin::predicates::predicates().any(|kind| kind.descriptor().class == name);
        found.then(|| name.to_owned())
    }
}
