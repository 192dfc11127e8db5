//! What the program says about its own work: to stderr, by logger and level, changeable while it runs.
//!
//! Loggers are our modules behind the names of Java's packages (`org.apache.kafka.connect.runtime.worker`); a level holds for a logger and everything
//! below it. `KURIER_LOG` sets levels at start: `debug`, or `info,kurier_kafka=debug`. `/admin/loggers` changes them later through [`loggers`].
//! `KURIER_LOG_FORMAT=json` writes an object a line. No file is written and nothing rotated: that is for who runs the process.

mod json;
mod levels;

use crate::rest::{LogLevel, Loggers};
use crate::screen::Above;
use levels::Levels;
use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The variable that sets levels at start.
const VARIABLE: &str = "KURIER_LOG";
/// The variable that says how lines look: `text` or `json`.
const FORMAT: &str = "KURIER_LOG_FORMAT";

static LEVELS: OnceLock<Arc<Levels>> = OnceLock::new();

/// Starts logging at `default`, or as `KURIER_LOG` says.
pub(crate) fn init(default: LogLevel) {
    let levels = levels(default);
    let text = std::env::var(VARIABLE).unwrap_or_default();
    let unknown: Vec<&str> = text.split(',').map(str::trim).filter(|part| !levels.configure(part)).collect();
    let format = std::env::var(FORMAT).unwrap_or_default();
    let layer = tracing_subscriber::fmt::layer().with_writer(Above::default);
    let lines = match format.as_str() {
        "json" => layer.event_format(json::Json).boxed(),
        _ => layer.with_ansi(std::io::stderr().is_terminal()).boxed(),
    };
    let lines = lines.with_filter(levels.filter());
    // Only tests could have started it before, and then what they started holds.
    let _ = tracing_subscriber::registry().with(lines).try_init();
    if !matches!(format.as_str(), "" | "text" | "json") {
        tracing::warn!("{FORMAT} is `{format}`, which is neither text nor json; text is written");
    }
    for part in unknown {
        tracing::warn!("{VARIABLE} holds `{part}`, which is neither a level nor logger=level; it is ignored");
    }
}

/// The loggers of this program, for REST.
pub(crate) fn loggers() -> Arc<dyn Loggers> {
    levels(LogLevel::Info).clone()
}

fn levels(default: LogLevel) -> &'static Arc<Levels> {
    LEVELS.get_or_init(|| Arc::new(Levels::new(default)))
}
