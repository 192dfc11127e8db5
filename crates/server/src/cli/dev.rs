//! `kurier dev`: everything in one process.

use super::{Failure, Output};
use crate::dev::{self, DevOptions};
use clap::Args;
use kurier_runtime::registry::Registry;
use std::path::PathBuf;
use std::time::Duration;

const AFTER_HELP: &str = "\
Examples:
  kurier dev examples/quickstart --until-idle        run what is in a folder, end when it is done
  kurier dev source.properties sink.json             until Ctrl-C
  kurier dev pipelines/ --data /tmp/try --duration 20s
  kurier dev --set value.converter=org.apache.kafka.connect.storage.StringConverter pipelines/

Records and offsets are kept in the data folder and found again by the next start; remove the folder to begin anew. Where the
ports 9092 and 8083 are taken, free ones are used, and named. Converters are StringConverter for keys and JsonConverter without
schemas for values, unless a connector or --set names others.";

/// A pipeline for development.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DevArgs {
    /// Connectors: properties or JSON files, or folders with such files.
    #[arg(value_name = "FILE|FOLDER")]
    paths: Vec<PathBuf>,
    /// Folder for records and offsets.
    #[arg(long, value_name = "DIR", default_value = ".kurier")]
    data: PathBuf,
    /// End after this time: 500ms, 20s, 5m, 1h.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// End with 0 when sources have read everything and sinks have caught up, with 3 when a connector fails. A source that cannot say whether it has
    /// read everything needs --duration too.
    #[arg(long)]
    until_idle: bool,
    /// A setting of the worker; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::key_value)]
    set: Vec<(String, String)>,
    /// How the last screen is written; with json it is all that stdout gets.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Runs a broker and a worker.
pub(super) fn run(args: DevArgs, plugins: Registry) -> Result<(), Failure> {
    let DevArgs { paths, data, duration, until_idle, set: settings, output } = args;
    dev::run(&DevOptions { paths, data, duration, until_idle, settings, output }, plugins)
}

/// Reads `500ms`, `20s`, `5m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().map_err(|_| "expected a time like 20s".to_owned())?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err("expected a unit: ms, s, m or h".to_owned()),
    };
    millis.map(Duration::from_millis).ok_or_else(|| "that is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, millis) in [("500ms", 500), ("20s", 20_000), ("5m", 300_000), ("1h", 3_600_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "20", "-1s", "1d", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
