//! Records through the JSON converter: a flat one of about 100 bytes, the record that the pipeline benchmarks use.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kurier_api::data::{Map, Schema, SchemaBuilder, SchemaRef, Struct, Value};
use kurier_builtin::json::{JsonConverter, JsonConverterConfig};
use std::hint::black_box;

const RECORDS: usize = 500;

fn schema() -> SchemaRef {
    SchemaBuilder::structure()
        .field("id", Schema::int64())
        .field("name", Schema::string())
        .field("temperature", Schema::float64())
        .field("ok", Schema::boolean())
        .field("at", Schema::int64())
        .field("tag", Schema::optional_string())
        .build()
        .unwrap()
}

fn fields(i: usize) -> [(&'static str, Value); 6] {
    [
        ("id", Value::I64(i as i64 * 7919)),
        ("name", Value::text(format!("sensor-{i:06}"))),
        ("temperature", Value::F64(20.0 + i as f64 / 7.0)),
        ("ok", Value::Bool(i.is_multiple_of(3))),
        ("at", Value::I64(1_566_570_894_346 + i as i64)),
        ("tag", Value::text("abcdefghij")),
    ]
}

fn structs(schema: &SchemaRef) -> Vec<Value> {
    (0..RECORDS).map(|i| Struct::from_values(schema.clone(), fields(i).map(|(_, value)| value).into()).into()).collect()
}

fn maps() -> Vec<Value> {
    (0..RECORDS)
        .map(|i| {
            let mut map = Map::hash();
            for (name, value) in fields(i) {
                map.insert(name, value);
            }
            map.into()
        })
        .collect()
}

fn converter(schemas_enable: bool) -> JsonConverter {
    JsonConverter::new(JsonConverterConfig { schemas_enable, ..JsonConverterConfig::default() }).unwrap()
}

fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("json_write");
    group.throughput(Throughput::Elements(RECORDS as u64));
    let schema = schema();
    for (name, values, schema, schemas) in [
        ("struct", structs(&schema), Some(&schema), false),
        ("struct_with_schema", structs(&schema), Some(&schema), true),
        ("map", maps(), None, false),
    ] {
        let (mut converter, mut out) = (converter(schemas), Vec::new());
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                for value in &values {
                    converter.write(schema, black_box(value), &mut out).unwrap();
                }
                out.len()
            });
        });
    }
    group.finish();
}

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("json_read");
    group.throughput(Throughput::Elements(RECORDS as u64));
    let schema = schema();
    for (name, schemas) in [("schemaless", false), ("with_schema", true)] {
        let mut converter = converter(schemas);
        let documents: Vec<Vec<u8>> = structs(&schema)
            .iter()
            .map(|value| {
                let mut out = Vec::new();
                converter.write(Some(&schema), value, &mut out).unwrap();
                out
            })
            .collect();
        group.bench_function(name, |b| {
            b.iter(|| {
                for document in &documents {
                    black_box(converter.read(Some(black_box(document))).unwrap());
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, write, read);
criterion_main!(benches);
