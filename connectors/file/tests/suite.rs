//! The file connectors keep what every source and sink promises.

use kurier_api::config::Props;
use kurier_api::plugin::{Sink, Source};
use kurier_api::testing::{SinkFixture, SourceFixture, check_sink, check_source, props};
use kurier_connector_file::{FileStreamSink, FileStreamSource};
use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;

/// A file in a folder of its own.
struct TestFile {
    dir: tempfile::TempDir,
    lines: usize,
}

impl TestFile {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), lines: 0 }
    }

    fn path(&self) -> String {
        self.dir.path().join("file").to_str().unwrap().to_owned()
    }
}

impl SourceFixture for TestFile {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(FileStreamSource::default())
    }

    fn props(&self) -> Props {
        props([("file", &self.path()), ("topic", "lines"), ("batch.size", "7")])
    }

    fn add(&mut self, records: usize) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path()).unwrap();
        for _ in 0..records {
            self.lines += 1;
            writeln!(file, "line {}", self.lines).unwrap();
        }
    }

    fn refused(&self) -> Vec<(Props, &'static str)> {
        vec![
            (props([("file", "f")]), "topic"),
            (props([("topic", "")]), "topic"),
            (props([("topic", "t"), ("batch.size", "many")]), "batch.size"),
            (props([("topic", "t"), ("kurier.line.max.bytes", "0")]), "kurier.line.max.bytes"),
        ]
    }
}

impl SinkFixture for TestFile {
    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(FileStreamSink::default())
    }

    fn props(&self) -> Props {
        props([("file", &self.path())])
    }

    fn arrived(&self) -> usize {
        std::fs::read_to_string(self.path()).unwrap_or_default().lines().collect::<HashSet<_>>().len()
    }

    fn refused(&self) -> Vec<(Props, &'static str)> {
        vec![(props([("file", "f"), ("kurier.format", "xml")]), "kurier.format")]
    }
}

#[test]
fn the_source_is_a_source() {
    check_source(TestFile::new);
}

#[test]
fn the_sink_is_a_sink() {
    check_sink(TestFile::new);
}
