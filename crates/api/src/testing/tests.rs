//! The suites pass good connectors and find out bad ones.

use super::*;
use crate::config::ConfigDef;
use crate::data::{Map, Value};
use crate::error::ConnectError;
use crate::plugin::*;
use crate::record::{SinkRecord, SourceRecord};
use async_trait::async_trait;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How a connector of these tests breaks its promises.
#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    None,
    /// Starts one too early, or commits too much.
    OffByOne,
    /// Starts one too late, or forgets a record.
    Loses,
    /// Takes no notice of offsets.
    Forgets,
}

/// A list of numbers with a source that reads it, and a set with a sink that writes to it.
#[derive(Clone)]
struct Memory {
    numbers: Arc<Mutex<Vec<i64>>>,
    arrived: Arc<Mutex<BTreeSet<String>>>,
    flaw: Flaw,
    def: Arc<ConfigDef>,
}

impl Memory {
    fn new(flaw: Flaw) -> Self {
        Self { numbers: Arc::default(), arrived: Arc::default(), flaw, def: Arc::default() }
    }
}

#[async_trait]
impl Source for Memory {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "test.MemorySource", version: "1" }
    }

    fn config(&self) -> &ConfigDef {
        &self.def
    }

    async fn connect(
        &self,
        props: &Props,
        _context: Arc<dyn ConnectorContext>,
    ) -> Result<Box<dyn Connector>, ConnectError> {
        Ok(SameTasks::one(props))
    }

    async fn start_task(
        &self,
        _props: &Props,
        context: Arc<dyn SourceTaskContext>,
    ) -> Result<Box<dyn SourceTask>, ConnectError> {
        let partition = Arc::new(Map::hash());
        let offset = context.offsets(&[partition]).await?.pop().flatten();
        let next = offset.and_then(|offset| offset.get_text("next").and_then(Value::as_integer)).unwrap_or(0);
        let next = match self.flaw {
            Flaw::OffByOne => next - 1,
            Flaw::Loses if next > 0 => next + 1,
            Flaw::Forgets => 0,
            _ => next,
        };
        Ok(Box::new(MemoryTask { memory: self.clone(), next: next.max(0), context: Some(context) }))
    }
}

#[async_trait]
impl Sink for Memory {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "test.MemorySink", version: "1" }
    }

    fn config(&self) -> &ConfigDef {
        &self.def
    }

    async fn connect(
        &self,
        props: &Props,
        _context: Arc<dyn ConnectorContext>,
    ) -> Result<Box<dyn Connector>, ConnectError> {
        Ok(SameTasks::one(props))
    }

    async fn start_task(
        &self,
        _props: &Props,
        _context: Arc<dyn SinkTaskContext>,
    ) -> Result<Box<dyn SinkTask>, ConnectError> {
        Ok(Box::new(MemoryTask { memory: self.clone(), next: 0, context: None }))
    }
}

struct MemoryTask {
    memory: Memory,
    next: i64,
    context: Option<Arc<dyn SourceTaskContext>>,
}

#[async_trait]
impl SourceTask for MemoryTask {
    async fn poll(&mut self, deadline: Instant) -> Result<Vec<SourceRecord>, ConnectError> {
        let numbers = self.memory.numbers.lock().unwrap().clone();
        if self.next as usize >= numbers.len() {
            self.context.as_ref().unwrap().sleep_until(deadline).await;
        }
        let partition = Arc::new(Map::hash());
        let batch = numbers.iter().skip(self.next as usize).take(10).map(|&n| {
            self.next += 1;
            let mut offset = Map::hash();
            offset.insert(Value::text("next"), Value::I64(self.next));
            SourceRecord::new(partition.clone(), Arc::new(offset), "t".into(), None, Value::I64(n))
        });
        Ok(batch.collect())
    }
}

#[async_trait]
impl SinkTask for MemoryTask {
    async fn put(&mut self, records: &[SinkRecord]) -> Result<(), ConnectError> {
        let keep = if self.memory.flaw == Flaw::Loses { records.len().saturating_sub(1) } else { records.len() };
        let texts = records.iter().take(keep).map(|r| r.record.value.value.as_text().unwrap_or("").to_owned());
        self.memory.arrived.lock().unwrap().extend(texts);
        Ok(())
    }

    async fn pre_commit(&mut self, offsets: &Offsets) -> Result<Offsets, ConnectError> {
        let more = i64::from(self.memory.flaw == Flaw::OffByOne);
        Ok(offsets.iter().map(|(partition, offset)| (partition.clone(), offset + more)).collect())
    }
}

impl SourceFixture for Memory {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.clone())
    }

    fn props(&self) -> Props {
        props([("list", "numbers")])
    }

    fn add(&mut self, records: usize) {
        let mut numbers = self.numbers.lock().unwrap();
        let begin = numbers.len() as i64;
        numbers.extend(begin..begin + records as i64);
    }
}

impl SinkFixture for Memory {
    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(self.clone())
    }

    fn props(&self) -> Props {
        props([("set", "texts")])
    }

    fn arrived(&self) -> usize {
        self.arrived.lock().unwrap().len()
    }
}

#[test]
fn good_connectors_pass() {
    check_source(|| Memory::new(Flaw::None));
    check_sink(|| Memory::new(Flaw::None));
}

fn complaint(check: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(check)).expect_err("the flaw is found");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn flaws_are_found() {
    let cases = [
        (Flaw::OffByOne, "a record was read twice"),
        (Flaw::Loses, "after 1 records 24 were left, 23 were read"),
        (Flaw::Forgets, "a record was read twice"),
    ];
    for (flaw, expected) in cases {
        let found = complaint(|| check_source(|| Memory::new(flaw)));
        assert!(found.starts_with(expected), "{found}");
    }
    let cases = [(Flaw::OffByOne, "1 of suite-0 may not be committed"), (Flaw::Loses, "offsets of 10 records may be")];
    for (flaw, expected) in cases {
        let found = complaint(|| check_sink(|| Memory::new(flaw)));
        assert!(found.starts_with(expected), "{found}");
    }
}
