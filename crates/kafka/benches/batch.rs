//! What the format of a batch costs by itself: records packed, and records read back. `cargo bench -p kurier-kafka --bench batch`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kurier_kafka::batch::{Batch, Builder, BuilderOptions, HeaderRef, Scratch};

const RECORDS: u64 = 500;

fn pack(value: &[u8], headers: &[HeaderRef<'_>]) -> Builder {
    let mut builder = Builder::new(BuilderOptions { target_bytes: 1 << 20, ..BuilderOptions::default() });
    for number in 0..RECORDS {
        let key = number.to_be_bytes();
        assert!(builder.try_push(number as i64, Some(&key), Some(value), headers));
    }
    builder
}

fn batch(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch");
    group.throughput(Throughput::Elements(RECORDS));
    let headers = [HeaderRef { key: b"trace", value: Some(b"0123456789abcdef") }];
    let cases: [(&str, usize, &[HeaderRef<'_>]); 3] =
        [("20_bytes", 20, &[]), ("100_bytes", 100, &[]), ("100_bytes_header", 100, &headers)];
    for (name, size, headers) in cases {
        let value = vec![b'x'; size];
        group.bench_function(format!("write/{name}"), |b| b.iter(|| pack(black_box(&value), headers)));
        let bytes = pack(&value, headers).finish().expect("nothing is compressed").seal();
        let (batch, mut scratch) = (Batch::parse(bytes).expect("it was made here"), Scratch::default());
        group.bench_function(format!("read/{name}"), |b| {
            b.iter(|| {
                let records = batch.records(&mut scratch).expect("it was made here");
                records.iter().map(|record| record.expect("it was made here").headers.len()).sum::<usize>()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, batch);
criterion_main!(benches);
