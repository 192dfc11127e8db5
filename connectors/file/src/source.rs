//! `FileStreamSourceConnector`: a file, line by line, into a topic, and what is appended to it later.
//!
//! One task. The offset is `{"position": n}`: where the next line begins, in bytes. Java counts characters and skips bytes, so that its offsets are
//! wrong where a file holds other than ASCII; ours are right, and equal to Java's for ASCII.
#![expect(clippy::disallowed_methods, reason = "driver: a record's timestamp is when its line was read")]

use crate::reader::LineReader;
use crate::settings::{self, SourceSettings};
use async_trait::async_trait;
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Props};
use kurier_api::data::{Map, Schema, SchemaAndValue, SchemaRef, Text, Value};
use kurier_api::plugin::{
    Connector, ConnectorContext, Descriptor, ExactlyOnceSupport, SameTasks, Source, SourceTask, SourceTaskContext,
};
use kurier_api::record::{Headers, Record, SourceOffset, SourcePartition, SourceRecord};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tracing::{info, warn};

/// The key of the source partition.
const FILENAME: &str = "filename";
/// The key of the source offset.
const POSITION: &str = "position";
/// How often a file at its end is looked at again, and a missing one looked for. Java waits a second.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Java's `org.apache.kafka.connect.file.FileStreamSourceConnector`.
#[derive(Debug)]
pub struct FileStreamSource {
    config: ConfigDef,
}

impl Default for FileStreamSource {
    fn default() -> Self {
        Self { config: settings::source() }
    }
}

#[async_trait]
impl Source for FileStreamSource {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "org.apache.kafka.connect.file.FileStreamSourceConnector", version: crate::VERSION }
    }

    fn config(&self) -> &ConfigDef {
        &self.config
    }

    async fn connect(
        &self,
        props: &Props,
        _context: Arc<dyn ConnectorContext>,
    ) -> Result<Box<dyn Connector>, ConnectError> {
        let settings = SourceSettings::parse(&self.config, props)?;
        let from = if settings.file.is_empty() { "stdin" } else { &settings.file };
        info!("Starting file source connector reading from {from}");
        Ok(SameTasks::one(props))
    }

    async fn start_task(
        &self,
        props: &Props,
        context: Arc<dyn SourceTaskContext>,
    ) -> Result<Box<dyn SourceTask>, ConnectError> {
        let settings = SourceSettings::parse(&self.config, props)?;
        let partition = source_partition(&settings.file);
        let position = if settings.file.is_empty() {
            0
        } else {
            let offsets = context.offsets(std::slice::from_ref(&partition)).await?;
            stored_position(offsets.into_iter().next().flatten().as_deref())?
        };
        Ok(Box::new(FileSourceTask {
            reader: LineReader::new(&settings.file, position, settings.max_line),
            topic: settings.topic.as_str().into(),
            schema: Schema::string(),
            partition,
            reported_missing: false,
            context,
            settings,
        }))
    }

    fn exactly_once_support(&self, props: &Props) -> Option<ExactlyOnceSupport> {
        let file = props.get(settings::FILE).is_some_and(|file| !file.is_empty());
        Some(if file { ExactlyOnceSupport::Supported } else { ExactlyOnceSupport::Unsupported })
    }

    async fn alter_offsets(
        &self,
        props: &Props,
        offsets: &[(SourcePartition, Option<SourceOffset>)],
    ) -> Result<bool, ConnectError> {
        if props.get(settings::FILE).is_none_or(String::is_empty) {
            return Err(ConnectError::connect(
                "Offsets cannot be modified if the 'file' configuration is unspecified. This is because stdin is used for input and offsets \
                 are not tracked.",
            ));
        }
        // Partitions of files that were read under an earlier config may be altered too, as in Java.
        for (partition, offset) in offsets {
            let Some(offset) = offset else { continue };
            check_offset(offset)?;
            if partition.get_text(FILENAME).is_none() {
                return Err(ConnectError::connect("Partition objects should contain the key 'filename'"));
            }
        }
        Ok(true)
    }
}

/// Whether a task could go on from this offset, whatever the file holds.
fn check_offset(offset: &Map) -> Result<(), ConnectError> {
    match offset.get_text(POSITION) {
        None => Err(ConnectError::connect("Offset objects should either be null or contain the key 'position'")),
        Some(Value::I64(position)) if *position >= 0 => Ok(()),
        Some(Value::I64(_)) => {
            Err(ConnectError::connect("The value for the 'position' key in the offset should be a non-negative value"))
        }
        Some(_) => {
            Err(ConnectError::connect("The value for the 'position' key in the offset is expected to be a Long value"))
        }
    }
}

/// The position in a committed offset; 0 if there is none.
fn stored_position(offset: Option<&Map>) -> Result<u64, ConnectError> {
    match offset.and_then(|offset| offset.get_text(POSITION)) {
        None | Some(Value::Null) => Ok(0),
        Some(Value::I64(position)) if *position >= 0 => Ok(position.unsigned_abs()),
        Some(_) => Err(ConnectError::connect("Offset position is the incorrect type")),
    }
}

/// `{"filename": f}`, with null for standard input, as Java writes it.
fn source_partition(file: &str) -> SourcePartition {
    let mut partition = Map::hash();
    partition.insert(FILENAME, if file.is_empty() { Value::Null } else { Value::text(file) });
    Arc::new(partition)
}

/// The running task. Reads are of what is there already, so it needs no thread of its own.
struct FileSourceTask {
    settings: SourceSettings,
    reader: LineReader,
    topic: Arc<str>,
    schema: SchemaRef,
    partition: SourcePartition,
    reported_missing: bool,
    context: Arc<dyn SourceTaskContext>,
}

impl FileSourceTask {
    /// The lines that are there, at most `batch.size`.
    fn read(&mut self) -> Result<Vec<SourceRecord>, ConnectError> {
        if !self.reader.open()? {
            if !self.reported_missing {
                warn!(
                    "Couldn't find file {} for FileStreamSourceTask, sleeping to wait for it to be created",
                    self.settings.file
                );
                self.reported_missing = true;
            }
            return Ok(Vec::new());
        }
        let mut records = Vec::new();
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let is_file = !self.settings.file.is_empty();
        let Self { reader, partition, topic, schema, settings, .. } = self;
        reader.read(settings.batch_size, |line, after| {
            let mut offset = Map::hash();
            offset.insert(POSITION, if is_file { Value::I64(after as i64) } else { Value::Null });
            records.push(SourceRecord {
                source_partition: Some(partition.clone()),
                source_offset: Some(Arc::new(offset)),
                record: Record {
                    topic: topic.clone(),
                    partition: None,
                    key: SchemaAndValue::NULL,
                    // Malformed UTF-8 becomes U+FFFD, as in Java.
                    value: SchemaAndValue {
                        schema: Some(schema.clone()),
                        value: Value::Text(Text::from_utf8_lossy(line)),
                    },
                    timestamp: Some(timestamp),
                    headers: Headers::default(),
                    kafka_offset: None,
                },
            });
        })?;
        Ok(records)
    }
}

#[async_trait]
impl SourceTask for FileSourceTask {
    async fn poll(&mut self, deadline: Instant) -> Result<Vec<SourceRecord>, ConnectError> {
        loop {
            let records = self.read()?;
            let now = Instant::now();
            if !records.is_empty() || now >= deadline {
                return Ok(records);
            }
            let look_again = deadline.min(now + LOOK_AGAIN);
            self.context.sleep_until(look_again).await;
            if Instant::now() < look_again {
                return Ok(records); // Woken early: the task is to stop.
            }
        }
    }

    fn is_idle(&self) -> Option<bool> {
        Some(self.reader.at_end())
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        if self.reader.pending() > 0 {
            info!(
                "{} bytes after position {} of {} wait for the end of their line",
                self.reader.pending(),
                self.reader.position(),
                self.settings.file
            );
        }
        Ok(())
    }
}
