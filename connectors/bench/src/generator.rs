//! `kurierbench.GenSource`: records from memory, as many as asked for.
#![expect(clippy::disallowed_methods, reason = "driver: waits as long as `poll.delay.ms` says")]

use crate::VERSION;
use async_trait::async_trait;
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Importance, Key, Props, Type as KeyType};
use kurier_api::data::{Map, Schema, SchemaAndValue, SchemaBuilder, SchemaRef, Struct, Text, Value};
use kurier_api::plugin::{Connector, ConnectorContext, Descriptor, Source, SourceTask, SourceTaskContext};
use kurier_api::record::{SourcePartition, SourceRecord};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Makes `records.total` records a task: schemaless maps, or structs.
#[derive(Debug)]
pub struct GenSource {
    config: ConfigDef,
}

impl Default for GenSource {
    fn default() -> Self {
        let key =
            |name, kind, default: &str, doc| Key::new(name, kind).default(default).importance(Importance::Low).doc(doc);
        Self {
            config: ConfigDef::new()
                .define(Key::new("topic", KeyType::String).importance(Importance::High).doc("Topic to write to."))
                .define(key("records.total", KeyType::Long, "1000000", "Records a task.").importance(Importance::High))
                .define(key("batch.size", KeyType::Int, "500", "Records a poll."))
                .define(key("payload.bytes", KeyType::Int, "60", "Size of the text field."))
                .define(key("poll.delay.ms", KeyType::Long, "0", "Wait before each batch, in milliseconds."))
                .define(key("struct", KeyType::Boolean, "false", "Structs with a schema instead of maps.")),
        }
    }
}

/// The settings of a task, read from texts that [`ConfigDef`] has checked.
struct Settings {
    topic: Arc<str>,
    total: i64,
    batch: usize,
    payload: usize,
    delay: Duration,
    structs: bool,
    task: i32,
}

#[async_trait]
impl Source for GenSource {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "kurierbench.GenSource", version: VERSION }
    }

    fn config(&self) -> &ConfigDef {
        &self.config
    }

    async fn connect(
        &self,
        props: &Props,
        _context: Arc<dyn ConnectorContext>,
    ) -> Result<Box<dyn Connector>, ConnectError> {
        Ok(Box::new(Generator { props: props.clone() }))
    }

    async fn start_task(
        &self,
        props: &Props,
        context: Arc<dyn SourceTaskContext>,
    ) -> Result<Box<dyn SourceTask>, ConnectError> {
        let values = self.config.parse(props)?;
        let settings = Settings {
            topic: values.get_str("topic").unwrap_or_default().into(),
            total: values.get_i64("records.total"),
            batch: usize::try_from(values.get_i32("batch.size")).unwrap_or(0),
            payload: usize::try_from(values.get_i32("payload.bytes")).unwrap_or(0),
            delay: Duration::from_millis(u64::try_from(values.get_i64("poll.delay.ms")).unwrap_or(0)),
            structs: values.get_bool("struct"),
            task: props.get("task.no").and_then(|number| number.parse().ok()).unwrap_or(0),
        };
        let mut partition = Map::hash();
        partition.insert("task", Value::text(settings.task.to_string()));
        let partition = Arc::new(partition);
        let offsets = context.offsets(std::slice::from_ref(&partition)).await?;
        let next =
            offsets.first().and_then(Option::as_ref).and_then(|offset| offset.get_text("i")?.as_integer()).unwrap_or(0);
        let schema = settings.structs.then(record_schema).transpose()?;
        let text = Text::from("x".repeat(settings.payload));
        Ok(Box::new(GeneratorTask { settings, text, schema, partition, next, context }))
    }
}

fn record_schema() -> Result<SchemaRef, ConnectError> {
    SchemaBuilder::structure()
        .name("Gen")
        .field("id", Schema::int64())
        .field("name", Schema::string())
        .field("price", Schema::float64())
        .field("ok", Schema::boolean())
        .field("task", Schema::int32())
        .build()
}

/// The running connector: as many tasks as are allowed, each with its number.
struct Generator {
    props: Props,
}

#[async_trait]
impl Connector for Generator {
    async fn task_configs(&mut self, max: usize) -> Result<Vec<Props>, ConnectError> {
        let numbered = |number: usize| {
            let mut props = self.props.clone();
            props.insert("task.no".to_owned(), number.to_string());
            props
        };
        Ok((0..max).map(numbered).collect())
    }
}

/// The running task.
struct GeneratorTask {
    settings: Settings,
    text: Text,
    schema: Option<SchemaRef>,
    partition: SourcePartition,
    next: i64,
    context: Arc<dyn SourceTaskContext>,
}

impl GeneratorTask {
    fn record(&self, i: i64) -> Result<SourceRecord, ConnectError> {
        let (price, ok, task) = (i as f64 * 0.5, i & 1 == 0, self.settings.task);
        let value = match &self.schema {
            Some(schema) => {
                let mut value = Struct::new(schema.clone())?;
                value.values_mut().clone_from_slice(&[
                    Value::I64(i),
                    Value::Text(self.text.clone()),
                    Value::F64(price),
                    Value::Bool(ok),
                    Value::I32(task),
                ]);
                Value::from(value)
            }
            None => {
                let mut value = Map::hash();
                value.insert("id", i);
                value.insert("name", Value::Text(self.text.clone()));
                value.insert("price", price);
                value.insert("ok", ok);
                value.insert("task", task);
                Value::from(value)
            }
        };
        let mut offset = Map::hash();
        offset.insert("i", i + 1);
        Ok(SourceRecord {
            source_partition: Some(self.partition.clone()),
            source_offset: Some(Arc::new(offset)),
            record: kurier_api::record::Record::new(
                self.settings.topic.clone(),
                SchemaAndValue { schema: self.schema.clone(), value },
            ),
        })
    }
}

#[async_trait]
impl SourceTask for GeneratorTask {
    async fn poll(&mut self, deadline: Instant) -> Result<Vec<SourceRecord>, ConnectError> {
        if self.next >= self.settings.total {
            self.context.sleep_until(deadline).await;
            return Ok(Vec::new());
        }
        if !self.settings.delay.is_zero() {
            self.context.sleep_until(Instant::now() + self.settings.delay).await;
        }
        let end = self.settings.total.min(self.next + self.settings.batch as i64);
        let records = (self.next..end).map(|i| self.record(i)).collect::<Result<Vec<_>, _>>()?;
        self.next = end;
        Ok(records)
    }

    fn is_idle(&self) -> Option<bool> {
        Some(self.next >= self.settings.total)
    }
}
