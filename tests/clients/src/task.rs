//! What a client is told to do, and how what it took is measured.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value as Json, json};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send `records` values of `size` bytes, until all are acknowledged.
    Produce,
    /// Read `records` records of partition 0 from the beginning, and look at each.
    Consume,
    /// Have `clients` consumers that wait at the end of the topic for `seconds`.
    Idle,
}

/// The command line.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) action: Action,
    pub(crate) bootstrap: String,
    pub(crate) topic: String,
    pub(crate) records: u64,
    pub(crate) size: usize,
    pub(crate) clients: usize,
    pub(crate) idle: Duration,
    /// Handed to the client as they are.
    pub(crate) properties: BTreeMap<String, String>,
}

impl Task {
    pub(crate) fn parse(action: &str, pairs: impl Iterator<Item = String>) -> Result<Self> {
        let action = match action {
            "produce" => Action::Produce,
            "consume" => Action::Consume,
            "idle" => Action::Idle,
            other => bail!("there is no action `{other}`; there are produce, consume and idle"),
        };
        let mut properties = BTreeMap::new();
        for pair in pairs {
            let (key, value) = pair.split_once('=').with_context(|| format!("`{pair}` is no key=value"))?;
            properties.insert(key.to_owned(), value.to_owned());
        }
        let mut number = |key: &str, default: u64| match properties.remove(key) {
            Some(text) => text.parse().with_context(|| format!("`{key}={text}` is no number")),
            None => Ok(default),
        };
        let (records, size) = (number("records", 1_000_000)?, number("size", 100)?);
        let (clients, seconds) = (number("clients", 1)?, number("seconds", 5)?);
        Ok(Self {
            action,
            bootstrap: properties.remove("bootstrap").context("bootstrap=HOST:PORT is missing")?,
            topic: properties.remove("topic").context("topic=TOPIC is missing")?,
            records,
            size: usize::try_from(size)?,
            clients: usize::try_from(clients)?,
            idle: Duration::from_secs(seconds),
            properties,
        })
    }

    /// Values as both clients send them, over and over: text that compresses like text, and more of it than a compressor remembers.
    pub(crate) fn values(&self) -> Vec<Vec<u8>> {
        const BYTES: usize = 2 << 20;
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        const WORDS: [&str; 16] = [
            "order",
            "customer",
            "amount",
            "shipped",
            "pending",
            "Berlin",
            "Lisbon",
            "Oslo",
            "42",
            "17.5",
            "2026-11-21",
            "true",
            "false",
            "null",
            "invoice",
            "refund",
        ];
        let value = |mut text: String| {
            text.truncate(self.size);
            text.into_bytes()
        };
        (0..BYTES / self.size.max(1))
            .map(|_| {
                let mut text = String::new();
                while text.len() < self.size {
                    let chance = next();
                    text.push_str(WORDS[(chance % 16) as usize]);
                    text.push_str(&format!(":{:x} ", chance >> 48));
                }
                value(text)
            })
            .collect()
    }
}

/// Time on the clock and on the processor, from one moment on.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    start: Instant,
    cpu: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), cpu: cpu() }
    }

    /// The figures of a run.
    pub(crate) fn stop(self, records: u64, bytes: u64) -> Json {
        let (wall, cpu) = (self.start.elapsed(), cpu().saturating_sub(self.cpu));
        json!({
            "records": records,
            "bytes": bytes,
            "seconds": wall.as_secs_f64(),
            "cpu_seconds": cpu.as_secs_f64(),
            "records_per_second": records as f64 / wall.as_secs_f64(),
            "records_per_core_second": records as f64 / cpu.as_secs_f64().max(1e-6),
        })
    }
}

/// CPU time of this whole process, user and system.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Resident memory in bytes and threads of this process.
pub(crate) fn memory_and_threads() -> Result<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("the system does not say")?;
        Ok(line.split_whitespace().next().context("the line is empty")?.parse()?)
    };
    Ok((field("VmRSS:")? * 1024, field("Threads:")?))
}
