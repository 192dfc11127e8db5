//! Which logger speaks at which level.
#![expect(clippy::disallowed_methods, reason = "driver: REST shows when a level was changed")]

use crate::rest::{LogLevel, LoggerState, Loggers};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

/// The name of the logger above all others.
const ROOT: &str = "root";
/// Most loggers that are remembered; names come from REST too.
const MAX_LOGGERS: usize = 10_000;

/// The levels in effect.
#[derive(Debug)]
pub(super) struct Levels(RwLock<Table>);

#[derive(Debug)]
struct Table {
    root: LoggerState,
    /// Every logger that was heard of; those without a state have that of the one above.
    named: BTreeMap<String, Option<LoggerState>>,
}

impl Table {
    fn effective(&self, name: &str) -> LoggerState {
        let mut at = name;
        loop {
            if let Some(Some(state)) = self.named.get(at) {
                // The date belongs to the logger that was changed, not to those below it.
                let last_modified = state.last_modified.filter(|_| at == name);
                return LoggerState { level: state.level, last_modified };
            }
            match at.rfind('.') {
                Some(dot) => at = &at[..dot],
                None => return LoggerState { level: self.root.level, last_modified: None },
            }
        }
    }

    fn loudest(&self) -> LogLevel {
        let named = self.named.values().flatten().map(|state| state.level);
        named.chain([self.root.level]).max().unwrap_or(LogLevel::Info)
    }
}

/// Our crates, and the Java packages that speak of the same things.
const PACKAGES: [(&str, &str); 7] = [
    ("kurier.rest", "org.apache.kafka.connect.runtime.rest"),
    ("kurier", "org.apache.kafka.connect.cli"),
    ("kurier_runtime", "org.apache.kafka.connect.runtime"),
    ("kurier_builtin", "org.apache.kafka.connect.builtin"),
    ("kurier_connector_file", "org.apache.kafka.connect.file"),
    ("kurier_kafka", "org.apache.kafka.clients"),
    ("kurier_broker", "kafka.server"),
];

/// The logger that a target or a name stands for: Java's package before our module, so that `org.apache.kafka.connect` means what it does in Java.
pub(super) fn logger(target: &str) -> String {
    let name = target.replace("::", ".");
    for (ours, java) in PACKAGES {
        match name.strip_prefix(ours) {
            Some("") => return java.to_owned(),
            Some(rest) if rest.starts_with('.') => return format!("{java}{rest}"),
            _ => {}
        }
    }
    name
}

/// What tracing calls a level. Java's levels between are the next quieter one: there is nothing fatal here that is not an error.
fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Fatal | LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace | LogLevel::All => LevelFilter::TRACE,
    }
}

impl Levels {
    /// One level for all.
    pub(super) fn new(level: LogLevel) -> Self {
        let root = LoggerState { level, last_modified: None };
        Self(RwLock::new(Table { root, named: BTreeMap::new() }))
    }

    /// Takes `level` or `logger=level`; says whether it was one. Nothing is fine too.
    pub(super) fn configure(&self, part: &str) -> bool {
        if part.is_empty() {
            return true;
        }
        let (name, level) = part.split_once('=').unwrap_or((ROOT, part));
        let Ok(level) = LogLevel::parse(level) else { return false };
        let state = LoggerState { level, last_modified: None };
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if name == ROOT {
            table.root = state;
        } else {
            table.named.insert(logger(name.trim()), Some(state));
        }
        true
    }

    /// What keeps the others quiet.
    pub(super) fn filter(self: &Arc<Self>) -> LevelsFilter {
        LevelsFilter(self.clone())
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loggers for Levels {
    fn all(&self) -> Vec<(String, LoggerState)> {
        let table = self.table();
        let mut all: Vec<_> = table.named.keys().map(|name| (name.clone(), table.effective(name))).collect();
        all.push((ROOT.to_owned(), table.root));
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn get(&self, name: &str) -> Option<LoggerState> {
        let table = self.table();
        if name.eq_ignore_ascii_case(ROOT) {
            return Some(table.root);
        }
        let name = logger(name);
        table.named.contains_key(&name).then(|| table.effective(&name))
    }

    fn set(&self, name: &str, level: LogLevel) -> Vec<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let changed = LoggerState { level, last_modified: i64::try_from(now).ok() };
        let mut names = Vec::new();
        let name = &*logger(name);
        {
            let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
            let is_root = name.eq_ignore_ascii_case(ROOT);
            if is_root && table.root.level != level {
                table.root = changed;
                names.push(ROOT.to_owned());
            }
            if !is_root && !table.named.contains_key(name) && table.named.len() < MAX_LOGGERS {
                table.named.insert(name.to_owned(), None);
            }
            // Asked before anything changes, for a logger's level may come from one that is about to change.
            let below: Vec<String> = table.named.keys().filter(|n| is_root || n.starts_with(name)).cloned().collect();
            let before: Vec<LogLevel> = below.iter().map(|n| table.effective(n).level).collect();
            for (logger, before) in below.into_iter().zip(before) {
                if before != level {
                    table.named.insert(logger.clone(), Some(changed));
                    names.push(logger);
                } else if let Some(state) = table.named.get_mut(&logger)
                    && state.is_none()
                {
                    // It keeps its level whatever happens above.
                    *state = Some(LoggerState { level, last_modified: None });
                }
            }
        }
        tracing::callsite::rebuild_interest_cache();
        names.sort();
        names
    }
}

/// Lets through what its logger's level lets through. Asked once for each place in the code, and again after a change.
#[derive(Debug)]
pub(super) struct LevelsFilter(Arc<Levels>);

impl LevelsFilter {
    fn passes(&self, metadata: &Metadata<'_>) -> bool {
        let name = logger(metadata.target());
        *metadata.level() <= filter(self.0.table().effective(&name).level)
    }
}

impl<S: Subscriber> Filter<S> for LevelsFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.passes(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let name = logger(metadata.target());
        let known = self.0.table().named.contains_key(&name);
        if !known {
            let mut table = self.0.0.write().unwrap_or_else(PoisonError::into_inner);
            if table.named.len() < MAX_LOGGERS {
                table.named.entry(name).or_insert(None);
            }
        }
        if self.passes(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(filter(self.0.table().loudest()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_holds_for_what_is_below() {
        let levels = Levels::new(LogLevel::Info);
        assert!(levels.configure("") && levels.configure("warn") && levels.configure("a.b=debug"));
        assert!(!levels.configure("loud") && !levels.configure("a=loud"));
        let table = levels.table();
        for (name, level) in
            [("a", LogLevel::Warn), ("a.b", LogLevel::Debug), ("a.b.c", LogLevel::Debug), ("a.bc", LogLevel::Warn)]
        {
            assert_eq!(table.effective(name).level, level, "{name}");
        }
    }

    #[test]
    fn loggers_have_java_s_names() {
        for (target, expected) in [
            ("kurier_runtime::worker::task", "org.apache.kafka.connect.runtime.worker.task"),
            ("kurier_runtime", "org.apache.kafka.connect.runtime"),
            ("kurier::rest::server", "org.apache.kafka.connect.runtime.rest.server"),
            ("kurier::standalone", "org.apache.kafka.connect.cli.standalone"),
            ("kurier_kafka.producer", "org.apache.kafka.clients.producer"),
            ("kurier_runtimes", "kurier_runtimes"),
            ("hyper::proto", "hyper.proto"),
            ("org.apache.kafka.connect", "org.apache.kafka.connect"),
        ] {
            assert_eq!(logger(target), expected, "{target}");
        }
        let levels = Levels::new(LogLevel::Info);
        levels.set("org.apache.kafka.connect", LogLevel::Debug);
        let table = levels.table();
        assert_eq!(table.effective(&logger("kurier_runtime::worker")).level, LogLevel::Debug);
        assert_eq!(table.effective(&logger("kurier_kafka::net")).level, LogLevel::Info);
    }

    #[test]
    fn only_what_changes_is_named_and_dated() {
        let levels = Levels::new(LogLevel::Info);
        levels.configure("a.b=debug");
        assert_eq!(levels.set("a", LogLevel::Debug), ["a"]);
        assert_eq!(levels.get("a.b"), Some(LoggerState { level: LogLevel::Debug, last_modified: None }));
        assert!(levels.get("a").is_some_and(|state| state.last_modified.is_some()));
        assert_eq!(levels.set("ROOT", LogLevel::Error), ["a", "a.b", "root"]);
        assert_eq!(levels.get("nobody"), None);
        let names: Vec<_> = levels.all().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "a.b", "root"]);
    }
}
