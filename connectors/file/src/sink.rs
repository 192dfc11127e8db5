//! `FileStreamSinkConnector`: every record a line at the end of a file.
//!
//! The line is what Java's `toString()` gives of the value, or JSON with `kurier.format=json`. A batch is written whole before its offsets may be
//! committed, and a commit waits for the disk. Tasks of one connector may share the file: every batch is one append.

use crate::json_line;
use crate::settings::{self, Format, SinkSettings};
use crate::writer::LineWriter;
use async_trait::async_trait;
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Props};
use kurier_api::data::Value;
use kurier_api::plugin::{
    Connector, ConnectorContext, Descriptor, Offsets, SameTasks, Sink, SinkTask, SinkTaskContext, blocking,
};
use kurier_api::record::{SinkRecord, TopicPartition};
use std::io::Write as _;
use std::sync::Arc;

/// Java's `org.apache.kafka.connect.file.FileStreamSinkConnector`.
#[derive(Debug)]
pub struct FileStreamSink {
    config: ConfigDef,
}

impl Default for FileStreamSink {
    fn default() -> Self {
        Self { config: settings::sink() }
    }
}

#[async_trait]
impl Sink for FileStreamSink {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "org.apache.kafka.connect.file.FileStreamSinkConnector", version: crate::VERSION }
    }

    fn config(&self) -> &ConfigDef {
        &self.config
    }

    async fn connect(
        &self,
        props: &Props,
        _context: Arc<dyn ConnectorContext>,
    ) -> Result<Box<dyn Connector>, ConnectError> {
        SinkSettings::parse(&self.config, props)?;
        Ok(SameTasks::as_allowed(props))
    }

    async fn start_task(
        &self,
        props: &Props,
        _context: Arc<dyn SinkTaskContext>,
    ) -> Result<Box<dyn SinkTask>, ConnectError> {
        let settings = SinkSettings::parse(&self.config, props)?;
        Ok(Box::new(FileSinkTask {
            writer: LineWriter::open(&settings.file)?,
            format: settings.format,
            lines: Vec::new(),
        }))
    }

    async fn alter_offsets(
        &self,
        _props: &Props,
        _offsets: &[(TopicPartition, Option<i64>)],
    ) -> Result<bool, ConnectError> {
        Ok(true)
    }
}

/// The running task.
struct FileSinkTask {
    writer: LineWriter,
    format: Format,
    /// The lines of a batch; kept for its memory.
    lines: Vec<u8>,
}

#[async_trait]
impl SinkTask for FileSinkTask {
    async fn put(&mut self, records: &[SinkRecord]) -> Result<(), ConnectError> {
        self.lines.clear();
        for record in records {
            match (self.format, &record.record.value.value) {
                (Format::Text, Value::Text(text)) => self.lines.extend_from_slice(text.as_bytes()),
                (Format::Text, value) => write!(self.lines, "{value}")?,
                (Format::Json, value) => json_line::write(value, &mut self.lines).map_err(|error| {
                    ConnectError::data(format!(
                        "the value at offset {} of {} has no JSON: {error}",
                        record.offset, record.origin
                    ))
                })?,
            }
            self.lines.push(b'\n');
        }
        if self.lines.is_empty() { Ok(()) } else { self.writer.append(&self.lines) }
    }

    async fn pre_commit(&mut self, offsets: &Offsets) -> Result<Offsets, ConnectError> {
        // A slow disk must not hold up other tasks.
        if let Some(file) = self.writer.regular_file()? {
            blocking::run("file-sink-sync", move || file.sync_data()).await??;
        }
        Ok(offsets.clone())
    }
}
