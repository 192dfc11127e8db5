//! What the tests of single transforms share: a transform by its class, records, and a record in short.

use super::transforms;
use kurier_api::config::Props;
use kurier_api::data::{Schema, SchemaAndValue, SchemaBuilder, Struct, Type, Value};
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;
use std::fmt::Write;

/// A transform of Apache Kafka by the end of its class name.
pub(super) fn made(class: &str, config: &[(&str, &str)]) -> Box<dyn Transform> {
    let class = format!("org.apache.kafka.connect.transforms.{class}");
    let kind = transforms().find(|kind| kind.descriptor().class == class).unwrap();
    let props: Props = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    kind.create(&props).unwrap()
}

/// A record with a header.
pub(super) fn record(value: SchemaAndValue) -> Record {
    let mut record = Record::new("topic".into(), value);
    record.headers.add("old", SchemaAndValue::schemaless(0));
    record
}

/// A struct whose fields have the types of their values, all required.
pub(super) fn structure(fields: &[(&str, Value)]) -> SchemaAndValue {
    let mut builder = SchemaBuilder::structure();
    for (name, value) in fields {
        builder = builder.field(name, SchemaBuilder::of(value.schema_type().unwrap()).build().unwrap());
    }
    let schema = builder.build().unwrap();
    let mut structure = Struct::new(schema.clone()).unwrap();
    for (name, value) in fields {
        structure.put(name, value.clone()).unwrap();
    }
    SchemaAndValue::new(schema, structure)
}

/// Applies a transform and compares what comes out: key (if any), value, headers with the types of their schemas.
pub(super) fn check(class: &str, config: &[(&str, &str)], mut record: Record, expected: &str) {
    assert_eq!(made(class, config).apply(&mut record).unwrap(), Verdict::Keep);
    let mut text = String::new();
    if record.key != SchemaAndValue::NULL {
        write!(text, "{} -> ", record.key.value).unwrap();
    }
    write!(text, "{}", record.value.value).unwrap();
    for header in record.headers.iter() {
        let kind = header.value.schema.as_deref().map(Schema::kind).map_or("", Type::java_name);
        let colon = if kind.is_empty() { "" } else { ":" };
        write!(text, " {}={}{colon}{kind}", header.key, header.value.value).unwrap();
    }
    assert_eq!(text, expected, "{class} {config:?}");
}
