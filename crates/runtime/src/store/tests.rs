//! The file store over a small JSON converter of its own; the real one is tested with the binary.

use super::*;
use kurier_api::config::{ConfigDef, Props};
use kurier_api::data::{Map, SchemaAndValue, SchemaRef, Value};
use kurier_api::plugin::{Converter, ConverterRole, ConverterType, Descriptor, Presence};
use kurier_api::record::Headers;
use serde_json::Value as Json;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Schemaless JSON, enough for offsets.
pub(crate) struct TestJson(ConfigDef);

impl TestJson {
    pub(crate) fn new() -> Self {
        Self(ConfigDef::default())
    }
}

struct TestConverter;

impl ConverterType for TestJson {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "test.JsonConverter", version: "1" }
    }

    fn config(&self) -> &ConfigDef {
        &self.0
    }

    fn create(&self, _: &Props, _: ConverterRole) -> Result<Box<dyn Converter>, ConnectError> {
        Ok(Box::new(TestConverter))
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::F64(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Map(map) => {
            Json::Object(map.iter().map(|(k, v)| (k.as_text().unwrap().to_owned(), to_json(v))).collect())
        }
        other => other.as_integer().unwrap().into(),
    }
}

fn from_json(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(n) => n.as_i64().map_or_else(|| Value::F64(n.as_f64().unwrap()), Value::I64),
        Json::String(text) => Value::text(text),
        Json::Array(items) => Value::array(items.into_iter().map(from_json).collect::<Vec<_>>()),
        Json::Object(fields) => {
            let mut map = Map::hash();
            for (key, value) in fields {
                map.insert(Value::text(key), from_json(value));
            }
            Value::Map(Box::new(map))
        }
    }
}

impl Converter for TestConverter {
    fn from_connect_data(
        &mut self,
        _: &str,
        _: &mut Headers,
        _: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        out.extend_from_slice(to_json(value).to_string().as_bytes());
        Ok(Presence::Bytes)
    }

    fn to_connect_data(&mut self, _: &str, _: &Headers, bytes: Option<&[u8]>) -> Result<SchemaAndValue, ConnectError> {
        let json = serde_json::from_slice(bytes.unwrap()).map_err(|e| ConnectError::data(e.to_string()))?;
        Ok(SchemaAndValue { schema: None, value: from_json(json) })
    }
}

fn map<V: Into<Value>>(pairs: impl IntoIterator<Item = (&'static str, V)>) -> Arc<Map> {
    let mut map = Map::linked();
    for (key, value) in pairs {
        map.insert(key, value);
    }
    Arc::new(map)
}

fn open(path: &Path) -> Result<FileOffsetStore, ConnectError> {
    FileOffsetStore::open(path, &TestJson::new())
}

#[tokio::test]
async fn offsets_are_found_again_by_another_worker() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("offsets");
    let store = open(&path).unwrap();
    assert!(!path.exists(), "a worker that commits nothing leaves nothing");
    let (a, b) = (map([("file", "a")]), map([("file", "b")]));
    store.set("c", &[(a.clone(), Some(map([("position", 1i64)]))), (b.clone(), None)]).await.unwrap();
    store.set("other", &[(a.clone(), Some(map([("position", 9i64)])))]).await.unwrap();
    store.set("c", &[(a.clone(), Some(map([("position", 2i64)])))]).await.unwrap();

    let store = open(&path).unwrap();
    let found = store.get("c", &[b, a.clone(), map([("file", "absent")])]).await.unwrap();
    assert_eq!(found, [None, Some(map([("position", 2i64)])), None]);
    assert_eq!(store.list("c").await.unwrap(), [(a, map([("position", 2i64)]))]);
    assert_eq!(store.list("nobody").await.unwrap(), []);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["offsets"], "no temporary file stays");
}

#[tokio::test]
async fn a_known_partition_keeps_its_key_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("offsets");
    let key = br#"["c",{"b":1,"a":2}]"#;
    let written = java_map::encode(&[(Some(bytes::Bytes::from_static(key)), Some(bytes::Bytes::from_static(b"{}")))]);
    fs::write(&path, &written).unwrap();
    let store = open(&path).unwrap();
    // Another order and another integer type, yet the same partition.
    let mut partition = Map::linked();
    partition.insert("a", 2i32);
    partition.insert("b", 1i32);
    store.set("c", &[(Arc::new(partition), Some(map([("n", 5i64)])))]).await.unwrap();
    let pairs = java_map::decode(&fs::read(&path).unwrap().into()).unwrap();
    assert_eq!(pairs, [(Some(key.as_slice().into()), Some(br#"{"n":5}"#.as_slice().into()))]);
}

#[tokio::test]
async fn strange_entries_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("offsets");
    let strange = [
        (None, Some(bytes::Bytes::from_static(b"1"))),
        (Some(bytes::Bytes::from_static(b"no json")), None),
        (Some(bytes::Bytes::from_static(br#"["c"]"#)), None),
    ];
    fs::write(&path, java_map::encode(&strange)).unwrap();
    let store = open(&path).unwrap();
    store.set("c", &[(map([("f", 1i64)]), None)]).await.unwrap();
    let pairs = java_map::decode(&fs::read(&path).unwrap().into()).unwrap();
    assert_eq!(pairs[..3], strange);
    assert_eq!(pairs.len(), 4);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_and_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("offsets");
    fs::write(&path, b"position=1").unwrap();
    let error = open(&path).unwrap_err().to_string();
    assert!(
        error.contains("offsets is not an offsets file of a standalone worker: not a Java object stream"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"position=1");

    let error = open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("cannot read the offsets file"), "{error}");
}

#[tokio::test]
async fn a_failed_commit_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("offsets");
    let store = open(&path).unwrap();
    let partition = map([("f", 1i64)]);
    let error = store.set("c", &[(partition.clone(), Some(map([("n", 1i64)])))]).await.unwrap_err();
    assert!(error.to_string().contains("cannot write the offsets file"), "{error}");
    assert_eq!(store.get("c", std::slice::from_ref(&partition)).await.unwrap(), [None]);
    fs::create_dir(folder.path().join("missing")).unwrap();
    store.set("c", &[(partition.clone(), Some(map([("n", 2i64)])))]).await.unwrap();
    assert_eq!(store.get("c", &[partition]).await.unwrap(), [Some(map([("n", 2i64)]))]);
}

#[tokio::test]
async fn offsets_hold_primitives_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("offsets")).unwrap();
    let nested = map([("position", Value::Map(Box::new(Map::linked())))]);
    let error = store.set("c", &[(map([("f", 1i64)]), Some(nested))]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Offsets may only contain primitive types as values, but field position contains MAP"
    );
}
