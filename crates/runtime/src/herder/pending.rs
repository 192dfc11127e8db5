//! Requests that are not answered yet, and what each of them waits for.
//!
//! An answer never comes from the place that made something happen: after every step each pending request looks at the state and says whether that
//! is what it waited for. So a request is answered however its wish came true, and a restart that overtakes another satisfies both.

use super::cluster::{ClusterState, Revision};
use super::request::{ConnectorOffset, HerderError, RawConfig, Response};
use super::units::{Generation, Life, Phase, Units};
use crate::unit::{ConnectorName, Epoch, TargetState, TaskId, UnitId};
use kurier_api::ConnectError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Tells one request from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(pub(crate) u64);

/// The time within which every request is answered. Java's `DEFAULT_REST_REQUEST_TIMEOUT_MS`; not a setting there either.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);

/// A request that waits.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) deadline: Duration,
    /// Since when it waits for this.
    pub(crate) since: Duration,
    pub(crate) waits_for: WaitsFor,
}

/// What a request waits for.
#[derive(Clone, Debug)]
pub(crate) enum WaitsFor {
    /// The word on a config that shall be stored.
    Validation { name: ConnectorName, config: Arc<RawConfig>, initial_state: Option<TargetState>, put: Put },
    /// A connector of at least this revision runs (or rests, if that is wanted) and its tasks are configured.
    Connector { name: ConnectorName, revision: Revision, created: bool },
    /// A connector of at least this revision runs or rests.
    ConnectorRestart { name: ConnectorName, revision: Revision },
    /// A task of at least this revision was made.
    TaskRestart { id: TaskId, revision: Revision },
    /// These lives end.
    Ends { lives: Vec<(UnitId, Epoch)> },
    /// Somebody else's change of the offsets of this connector.
    OffsetsTurn { name: ConnectorName, change: OffsetsChange },
    /// Something that the driver finds out: a validation that is shown, offsets.
    Outside { what: Outside },
    /// The connectors of the command line.
    Readiness,
}

/// Which kind of request brought a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// An existing connector is a conflict.
    Create,
    /// An existing connector gets another config.
    Replace,
    /// The connector has to exist.
    Patch,
}

/// What shall become of a connector's offsets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OffsetsChange {
    /// These are set or, where null, forgotten.
    Alter(Vec<ConnectorOffset>),
    /// All are forgotten.
    Reset,
}

/// What the driver finds out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outside {
    Validation,
    ReadOffsets(ConnectorName),
    ChangeOffsets(ConnectorName),
}

impl WaitsFor {
    /// The answer, if what this waits for has come.
    pub(crate) fn answer(
        &self,
        cluster: &ClusterState,
        units: &Units,
        info: impl Fn(&ConnectorName) -> Option<super::request::ConnectorInfo>,
    ) -> Option<Result<Response, HerderError>> {
        match self {
            Self::Connector { name, revision, created } => {
                if cluster.connector(name).is_none() {
                    return Some(Err(connector_not_found(name)));
                }
                let life = units.life(&UnitId::Connector(name.clone())).filter(|life| life.revision >= *revision)?;
                let up = match (&life.phase, &life.generation) {
                    (Phase::Failed(error), _) => Err(not_started(name, life, error)),
                    // Java's standalone worker never answers this; a request that is answered is better, and the connector is asked again.
                    (Phase::Up(_), Generation::Failed { error, .. }) if life.target == TargetState::Started => {
                        Err(error.clone())
                    }
                    (Phase::Up(_), Generation::Done) if life.is_settled() => Ok(()),
                    (Phase::Up(_), _) if life.is_settled() && life.target != TargetState::Started => Ok(()),
                    _ => return None,
                };
                let put = |info| Response::Put(super::request::PutResult { created: *created, info });
                Some(
                    up.map_err(HerderError::from)
                        .and_then(|()| info(name).map(put).ok_or_else(|| connector_not_found(name))),
                )
            }
            Self::ConnectorRestart { name, revision } => {
                if cluster.connector(name).is_none() {
                    return Some(Err(connector_not_found(name)));
                }
                let life = units.life(&UnitId::Connector(name.clone())).filter(|life| life.revision >= *revision)?;
                match &life.phase {
                    Phase::Failed(error) => Some(Err(not_started(name, life, error).into())),
                    Phase::Up(_) => Some(Ok(Response::Restart(None))),
                    Phase::Starting | Phase::Stopping => None,
                }
            }
            Self::TaskRestart { id, revision } => {
                if cluster.task(id).is_none() {
                    return Some(Err(HerderError::not_found(format!("Task {id} not found"))));
                }
                let life = units.life(&UnitId::Task(id.clone())).filter(|life| life.revision >= *revision)?;
                match &life.phase {
                    Phase::Failed(_) if life.version.is_none() => {
                        Some(Err(HerderError::internal(format!("Failed to start task: {id}"))))
                    }
                    Phase::Up(_) | Phase::Failed(_) => Some(Ok(Response::Done)),
                    Phase::Starting if life.version.is_some() => Some(Ok(Response::Done)),
                    Phase::Starting | Phase::Stopping => None,
                }
            }
            Self::Ends { lives } => {
                let alive = |(unit, epoch): &(UnitId, Epoch)| units.life(unit).is_some_and(|life| life.epoch == *epoch);
                (!lives.iter().any(alive)).then_some(Ok(Response::Done))
            }
            // These are answered by an input of their own.
            Self::Validation { .. } | Self::OffsetsTurn { .. } | Self::Outside { .. } | Self::Readiness => None,
        }
    }
}

/// What the worker is doing meanwhile, in Java's words, for the text of a time-out.
impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Validation { .. } | Self::Outside { what: Outside::Validation } => {
                f.write_str("performing multi-property validation for the connector")
            }
            Self::Connector { .. } => f.write_str("starting the connector"),
            Self::ConnectorRestart { name, .. } => write!(f, "stopping restarted connector {name}"),
            Self::TaskRestart { id, .. } => write!(f, "restarting task {id}"),
            Self::Ends { lives } => write!(f, "stopping {} connectors and tasks", lives.len()),
            Self::OffsetsTurn { name, .. } | Self::Outside { what: Outside::ChangeOffsets(name) } => {
                write!(f, "modifying offsets for connector {name}")
            }
            Self::Outside { what: Outside::ReadOffsets(name) } => write!(f, "reading offsets for connector {name}"),
            Self::Readiness => f.write_str("awaiting startup"),
        }
    }
}

impl Pending {
    /// Java's text for a request that was not answered in time.
    pub(crate) fn timed_out(&self) -> HerderError {
        let since = iso_instant(self.since);
        HerderError::internal(format!(
            "Request timed out. The worker is currently {}, which began at {since}.",
            self.waits_for
        ))
    }
}

/// What a request is told of a connector that failed: the plugin's own words are in the status, as in Java; what is wrong before it is called is told here.
fn not_started(name: &ConnectorName, life: &Life, error: &ConnectError) -> ConnectError {
    if life.version.is_some() && life.generation == Generation::Wanted {
        return ConnectError::connect(format!("Failed to transition connector {name} to state STARTED"))
            .with_cause(error.clone());
    }
    error.clone()
}

/// 404 of most requests.
pub(crate) fn connector_not_found(name: &ConnectorName) -> HerderError {
    HerderError::not_found(format!("Connector {name} not found"))
}

/// A time since the epoch as Java prints an `Instant`, to the millisecond.
fn iso_instant(since_epoch: Duration) -> String {
    let (days, seconds) = (since_epoch.as_secs() / 86_400, since_epoch.as_secs() % 86_400);
    // From days to a date in the calendar that starts in March, where leap days come last (Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since_epoch.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_printed_as_java_does() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_868_800_001, "2000-03-01T00:00:00.001Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (4_102_444_799_000, "2099-12-31T23:59:59.000Z"),
        ];
        for (millis, expected) in cases {
            assert_eq!(iso_instant(Duration::from_millis(millis)), expected);
        }
    }
}
