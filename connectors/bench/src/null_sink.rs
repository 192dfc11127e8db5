//! `kurierbench.NullSink`: counts records and forgets them.
#![expect(clippy::disallowed_methods, reason = "driver: the file says when the count was taken")]

use crate::VERSION;
use async_trait::async_trait;
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Importance, Key, Props, Type as KeyType};
use kurier_api::plugin::{Connector, ConnectorContext, Descriptor, Offsets, Sink, SinkTask, SinkTaskContext};
use kurier_api::record::SinkRecord;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often the count is written while records come.
const COUNT_EVERY: Duration = Duration::from_millis(100);

/// Writes `count.file` + `.` + task number: the count and the time in milliseconds.
#[derive(Debug)]
pub struct NullSink {
    config: ConfigDef,
}

impl Default for NullSink {
    fn default() -> Self {
        Self {
            config: ConfigDef::new()
                .define(
                    Key::new("count.file", KeyType::String).importance(Importance::High).doc("Where the count goes."),
                )
                .define(
                    Key::new("expected", KeyType::Long)
                        .default("0")
                        .importance(Importance::Low)
                        .doc("Count at which the file is written at once."),
                ),
        }
    }
}

#[async_trait]
impl Sink for NullSink {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "kurierbench.NullSink", version: VERSION }
    }

    fn config(&self) -> &ConfigDef {
        &self.config
    }

    async fn connect(
        &self,
        props: &Props,
        _context: Arc<dyn ConnectorContext>,
    ) -> Result<Box<dyn Connector>, ConnectError> {
        let file = self.config.parse(props)?.get_str("count.file").unwrap_or_default().to_owned();
        Ok(Box::new(Counter { props: props.clone(), file }))
    }

    async fn start_task(
        &self,
        props: &Props,
        _context: Arc<dyn SinkTaskContext>,
    ) -> Result<Box<dyn SinkTask>, ConnectError> {
        let values = self.config.parse(props)?;
        Ok(Box::new(CounterTask {
            file: values.get_str("count.file").unwrap_or_default().to_owned(),
            expected: u64::try_from(values.get_i64("expected")).unwrap_or(0),
            count: 0,
            written: None,
        }))
    }
}

/// The running connector: as many tasks as are allowed, each with a file of its own.
struct Counter {
    props: Props,
    file: String,
}

#[async_trait]
impl Connector for Counter {
    async fn task_configs(&mut self, max: usize) -> Result<Vec<Props>, ConnectError> {
        let numbered = |number: usize| {
            let mut props = self.props.clone();
            props.insert("count.file".to_owned(), format!("{}.{number}", self.file));
            props
        };
        Ok((0..max).map(numbered).collect())
    }
}

/// The running task.
struct CounterTask {
    file: String,
    expected: u64,
    count: u64,
    written: Option<Instant>,
}

impl CounterTask {
    fn write(&self) -> Result<(), ConnectError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        fs::write(&self.file, format!("{} {now}", self.count))
            .map_err(|error| ConnectError::connect(format!("cannot write the count to `{}`: {error}", self.file)))
    }
}

#[async_trait]
impl SinkTask for CounterTask {
    async fn put(&mut self, records: &[SinkRecord]) -> Result<(), ConnectError> {
        self.count += records.len() as u64;
        let due = self.written.is_none_or(|at| at.elapsed() > COUNT_EVERY);
        if due || records.is_empty() || (self.expected > 0 && self.count >= self.expected) {
            self.written = Some(Instant::now());
            self.write()?;
        }
        Ok(())
    }

    async fn pre_commit(&mut self, offsets: &Offsets) -> Result<Offsets, ConnectError> {
        self.write()?;
        Ok(offsets.clone())
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        self.write()
    }
}
