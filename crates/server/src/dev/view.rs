//! The table of a running `kurier dev`, its plain lines, and the last screen. Pure.

use super::sample::{ConnectorSample, Sample, TopicSample};
use kurier_runtime::herder::request::ConnectorType;
use std::fmt::Write;
use std::time::Duration;

/// A number with thin groups: `1 707`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Records a second; none of nothing.
pub(super) fn rate(records: u64, during: Duration) -> u64 {
    let millis = during.as_millis().max(1);
    u64::try_from(u128::from(records) * 1_000 / millis).unwrap_or(u64::MAX)
}

/// `1 706 of 1 707`, with what was given up.
fn given_up(connector: &ConnectorSample) -> String {
    match (connector.failed, connector.dead_letters) {
        (0, _) => String::new(),
        (failed, 0) => format!("{} given up", grouped(failed)),
        (failed, dead) if failed == dead => format!("{} to dead letters", grouped(dead)),
        (failed, dead) => format!("{} given up, {} of them to dead letters", grouped(failed), grouped(dead)),
    }
}

/// A row: name, kind, state, tasks, records, rate, remark.
type Row = [String; 7];

fn row(connector: &ConnectorSample, rate: u64) -> Row {
    let running = connector.tasks.iter().filter(|state| state.name() == "RUNNING").count();
    let mut remark = given_up(connector);
    if let Some(error) = &connector.error {
        remark.clone_from(error);
    } else if connector.idle && remark.is_empty() {
        "idle".clone_into(&mut remark);
    }
    [
        connector.name.clone(),
        connector.kind.name().to_owned(),
        connector.shown_state().name().to_owned(),
        format!("{running}/{}", connector.tasks.len()),
        grouped(connector.records),
        grouped(rate),
        remark,
    ]
}

/// Lays rows out in columns; numbers to the right. Lines are cut at `width`.
fn table(rows: &[Row], width: usize) -> String {
    const RIGHT: [bool; 7] = [false, false, false, true, true, true, false];
    let mut widths = [0; 7];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, &wide), right) in row.iter().zip(&widths).zip(RIGHT) {
            let padded = if right { format!("{cell:>wide$}  ") } else { format!("{cell:<wide$}  ") };
            line.push_str(&padded);
        }
        let line: String = line.trim_end().chars().take(width).collect();
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The live table. Rates are those since the sample before.
pub(super) fn live(now: &Sample, before: Option<&Sample>, width: usize) -> String {
    let head = ["CONNECTOR", "KIND", "STATE", "TASKS", "RECORDS", "PER SECOND", ""].map(str::to_owned);
    let mut rows = vec![head];
    for connector in &now.connectors {
        let earlier = before.and_then(|b| Some((b.at, b.connectors.iter().find(|c| c.name == connector.name)?)));
        let rate = earlier.map_or(0, |(at, earlier)| {
            rate(connector.records.saturating_sub(earlier.records), now.at.duration_since(at))
        });
        rows.push(row(connector, rate));
    }
    table(&rows, width)
}

/// What has changed, a line each, for where nothing can be redrawn.
pub(super) fn changes(now: &Sample, before: Option<&Sample>) -> String {
    let mut text = String::new();
    for connector in &now.connectors {
        let earlier = before.and_then(|b| b.connectors.iter().find(|c| c.name == connector.name));
        let state = connector.shown_state();
        if earlier.is_none_or(|e| e.shown_state() != state || e.tasks.len() != connector.tasks.len()) {
            let tasks = match connector.tasks.len() {
                1 => "1 task".to_owned(),
                n => format!("{n} tasks"),
            };
            let _ = write!(text, "{} ({}): {}, {tasks}", connector.name, connector.kind.name(), state.name());
            if let Some(error) = &connector.error {
                let _ = write!(text, ": {error}");
            }
            text.push('\n');
        } else if earlier.is_some_and(|e| e.records != connector.records || e.failed != connector.failed) {
            let up = given_up(connector);
            let up = if up.is_empty() { up } else { format!(", {up}") };
            let _ = writeln!(text, "{}: {} records{up}", connector.name, grouped(connector.records));
        }
    }
    text
}

/// What the last screen says.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) connectors: Vec<Line>,
    pub(super) topics: Vec<TopicSample>,
    /// How this program was called, and the data folder, as a shell takes them.
    pub(super) program: String,
    pub(super) data: String,
}

/// A connector in the summary.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) sample: ConnectorSample,
    /// From its first record to its last.
    pub(super) busy: Duration,
}

impl Line {
    fn sentence(&self) -> String {
        let Self { sample, busy } = self;
        let records = match sample.records {
            0 => "no new records".to_owned(),
            1 => "1 record".to_owned(),
            n => format!("{} records", grouped(n)),
        };
        let mut text = match sample.kind {
            ConnectorType::Source => format!("{} read {records}", sample.name),
            ConnectorType::Sink => format!("{} wrote {records}", sample.name),
            ConnectorType::Unknown => format!("{}: {records}", sample.name),
        };
        if let Some(file) = sample.setting("file") {
            let _ = write!(text, " {} {file}", if sample.kind == ConnectorType::Source { "from" } else { "to" });
        }
        if sample.records > 0 {
            let _ = write!(text, ", {} a second", grouped(rate(sample.records, *busy)));
        }
        let up = given_up(sample);
        if !up.is_empty() {
            let _ = write!(text, "; {up}");
        }
        if let Some(error) = &sample.error {
            let _ = write!(text, "; {}: {error}", sample.shown_state().name());
        }
        text
    }
}

impl Summary {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("\n");
        for line in &self.connectors {
            let _ = writeln!(text, "  {}", line.sentence());
        }
        if !self.topics.is_empty() {
            text.push_str("\nTopics, kept for the next start:\n");
            let widest = self.topics.iter().map(|topic| topic.name.chars().count()).max().unwrap_or(0);
            for topic in &self.topics {
                let records = grouped(u64::try_from(topic.records).unwrap_or(0));
                let _ = writeln!(text, "  {:<widest$}  {records} records", topic.name);
            }
        }
        let files: Vec<&str> = self.sink_files().collect();
        if !files.is_empty() || !self.topics.is_empty() {
            text.push_str("\nLook at them:\n");
            for file in files {
                let _ = writeln!(text, "  head {}", quoted(file));
            }
            for topic in &self.topics {
                let headers = if topic.is_dead_letters(self) { " --headers" } else { "" };
                let _ = writeln!(
                    text,
                    "  {} topic print {}{headers} --data {}",
                    self.program,
                    quoted(&topic.name),
                    self.data
                );
            }
        }
        text
    }

    fn sink_files(&self) -> impl Iterator<Item = &str> {
        let sinks = self.connectors.iter().filter(|line| line.sample.kind == ConnectorType::Sink);
        sinks.filter_map(|line| line.sample.setting("file"))
    }

    /// For programs.
    pub(super) fn json(&self) -> serde_json::Value {
        let connectors: Vec<_> = self
            .connectors
            .iter()
            .map(|line| {
                let sample = &line.sample;
                serde_json::json!({
                    "name": sample.name,
                    "type": sample.kind.name(),
                    "state": sample.shown_state().name(),
                    "file": sample.setting("file"),
                    "records": sample.records,
                    "records_per_second": if sample.records == 0 { 0 } else { rate(sample.records, line.busy) },
                    "failed": sample.failed,
                    "dead_letters": sample.dead_letters,
                    "idle": sample.idle,
                    "error": sample.error,
                })
            })
            .collect();
        let topics: Vec<_> = self
            .topics
            .iter()
            .map(|topic| serde_json::json!({"name": topic.name, "partitions": topic.partitions, "records": topic.records}))
            .collect();
        serde_json::json!({"data": self.data, "connectors": connectors, "topics": topics})
    }
}

impl TopicSample {
    fn is_dead_letters(&self, summary: &Summary) -> bool {
        let mut sinks = summary.connectors.iter();
        sinks.any(|line| line.sample.setting("errors.deadletterqueue.topic.name") == Some(self.name.as_str()))
    }
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        for (number, text) in [(0, "0"), (999, "999"), (1_707, "1 707"), (1_000_000, "1 000 000")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(rate(500, Duration::from_millis(250)), 2_000);
        assert_eq!(rate(1, Duration::ZERO), 1_000);
    }

    #[test]
    fn shells_take_words_as_they_are() {
        for (word, text) in [("a/b.c", "a/b.c"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("", "''")] {
            assert_eq!(quoted(word), text);
        }
    }

    #[test]
    fn columns_stand_below_each_other_and_end_at_the_edge() {
        let row = |name: &str, records: &str| [name, "sink", "RUNNING", "1/1", records, "0", "idle"].map(str::to_owned);
        let text = table(&[row("a", "10"), row("longer", "1 000")], 40);
        assert_eq!(text, "a       sink  RUNNING  1/1     10  0  id\nlonger  sink  RUNNING  1/1  1 000  0  id\n");
    }
}
