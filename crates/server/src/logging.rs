//! What the program says about its own work: to stderr, by logger and level, changeable while it runs.
//!
//! Loggers are tracing's targets with Java's dots (`kurier_runtime.worker`); a level holds for a logger and everything below it. `KURIER_LOG` sets
//! levels at start: `debug`, or `info,kurier_kafka=debug`. `/admin/loggers` changes them later through [`loggers`]. No file is written and nothing rotated:
//! that is for who runs the process.

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

static LEVELS: OnceLock<Arc<Levels>> = OnceLock::new();

/// Starts logging at `default`, or as `KURIER_LOG` says.
pub(crate) fn init(default: LogLevel) {
    let levels = levels(default);
    let text = std::env::var(VARIABLE).unwrap_or_default();
    let unknown: Vec<&str> = text.split(',').map(str::trim).filter(|part| !levels.configure(part)).collect();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(Above::default)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(levels.filter());
    // Only tests could have started it before, and then what they started holds.
    let _ = tracing_subscriber::registry().with(lines).try_init();
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
