//! What `/admin/loggers` needs of the program's logging.

/// A level as log4j2 names it, from the quietest to the loudest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub(crate) enum LogLevel {
    Off,
    Fatal,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
    All,
}

/// A name that is no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownLevel;

impl LogLevel {
    const ALL: [Self; 8] =
        [Self::Off, Self::Fatal, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace, Self::All];

    /// Its name: `INFO`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::Fatal => "FATAL",
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
            Self::All => "ALL",
        }
    }

    /// Reads a name in any case, with blanks around it.
    pub(crate) fn parse(name: &str) -> Result<Self, UnknownLevel> {
        let name = name.trim();
        Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(name)).ok_or(UnknownLevel)
    }
}

/// A logger as `/admin/loggers` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoggerState {
    /// The level in effect.
    pub(crate) level: LogLevel,
    /// When this interface last changed it, in milliseconds since 1970.
    pub(crate) last_modified: Option<i64>,
}

/// The loggers of this program. The one named `root` is the root.
pub(crate) trait Loggers: Send + Sync {
    /// Every logger that exists, `root` included, sorted by name.
    fn all(&self) -> Vec<(String, LoggerState)>;

    /// One logger, if it exists; `root` in any case.
    fn get(&self, name: &str) -> Option<LoggerState>;

    /// Sets the level of the named logger, which is created if need be, and of every existing one whose name begins with that text; `root` (in any
    /// case) means all of them. Answers the sorted names of those whose level changed; only these get a new `last_modified`.
    fn set(&self, name: &str, level: LogLevel) -> Vec<String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_in_any_case() {
        assert_eq!(LogLevel::parse(" debug "), Ok(LogLevel::Debug));
        assert_eq!(LogLevel::parse("All"), Ok(LogLevel::All));
        for bad in ["WARNING", "", "10"] {
            assert_eq!(LogLevel::parse(bad), Err(UnknownLevel));
        }
    }
}
