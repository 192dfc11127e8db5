//! What happens to a record that a stage cannot take: tried again, given up, or the end of the task.
//!
//! Counterpart of Apache Kafka's `RetryWithToleranceOperator` as a decision: the pipeline runs the stage, waits and reports. An error fails the task
//! unless `errors.tolerance=all`, also a *retriable* one whose time is up, which with the default retry time-out of 0 it is at once.

use kurier_api::{ConnectError, NextStep};
use std::borrow::Cow;
use std::time::Duration;

/// The first wait before a retry; doubled with every further one.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(300);

/// Where a record can fail. Java's `Stage`; the names are written into dead letters and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Stage {
    TaskPoll,
    TaskPut,
    Transformation,
    KeyConverter,
    ValueConverter,
    HeaderConverter,
    KafkaProduce,
    KafkaConsume,
}

impl Stage {
    /// Java's name: `VALUE_CONVERTER`.
    pub fn name(self) -> &'static str {
        match self {
            Self::TaskPoll => "TASK_POLL",
            Self::TaskPut => "TASK_PUT",
            Self::Transformation => "TRANSFORMATION",
            Self::KeyConverter => "KEY_CONVERTER",
            Self::ValueConverter => "VALUE_CONVERTER",
            Self::HeaderConverter => "HEADER_CONVERTER",
            Self::KafkaProduce => "KAFKA_PRODUCE",
            Self::KafkaConsume => "KAFKA_CONSUME",
        }
    }

    /// Whether `errors.tolerance=all` covers errors that are not retriable.
    fn tolerates_any_error(self) -> bool {
        matches!(self, Self::Transformation | Self::KeyConverter | Self::ValueConverter | Self::HeaderConverter)
    }
}

/// What `errors.tolerance` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ToleranceLevel {
    /// The first record that fails ends the task.
    #[default]
    None,
    /// Records that fail are given up.
    All,
}

/// The settings `errors.*` of a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// `errors.tolerance`.
    pub level: ToleranceLevel,
    /// `errors.retry.timeout`; none for ever (−1).
    pub retry_timeout: Option<Duration>,
    /// `errors.retry.delay.max.ms`.
    pub retry_delay_max: Duration,
    /// `errors.log.enable`.
    pub log: bool,
    /// `errors.log.include.messages`.
    pub log_messages: bool,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self {
            level: ToleranceLevel::None,
            retry_timeout: Some(Duration::ZERO),
            retry_delay_max: Duration::from_secs(60),
            log: false,
            log_messages: false,
        }
    }
}

/// A record's failure in a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Where.
    pub stage: Stage,
    /// The Java class of the converter, transform or task that failed.
    pub class: Cow<'static, str>,
    /// What it said.
    pub error: ConnectError,
}

/// What to do with a record whose stage has failed for good.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// Give it up: report it and go on.
    GiveUp,
    /// Report it and fail the task with this.
    FailTask(ConnectError),
    /// Leave it to the next life of the task, which meets it anew: nothing has failed, so nothing is reported, and this life ends.
    Leave,
}

impl Tolerance {
    /// How long to wait before a stage that failed with a retriable error is tried again; none if it is not.
    ///
    /// `attempt` counts from 1, `elapsed` is the time since the first attempt began, and `random` gives a number below its argument (never asked
    /// for one below 0): it spreads waits that have reached their bound.
    pub fn retry_delay(
        &self,
        error: &ConnectError,
        attempt: u32,
        elapsed: Duration,
        random: impl FnOnce(Duration) -> Duration,
    ) -> Option<Duration> {
        if error.next_step() != NextStep::Retry {
            return None;
        }
        let left = match self.retry_timeout {
            Some(timeout) => timeout.checked_sub(elapsed).filter(|left| !left.is_zero())?,
            None => Duration::MAX,
        };
        let doubled = FIRST_RETRY_DELAY.saturating_mul(1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
        let delay = match doubled {
            within if within <= self.retry_delay_max => within,
            _ if self.retry_delay_max.is_zero() => Duration::ZERO,
            _ => random(self.retry_delay_max),
        };
        Some(delay.min(left))
    }

    /// What to do about a failure that is not tried again.
    ///
    /// A task that is `stopping` gives nothing up that it might have tried again, whatever it tolerates: its next life meets the record anew.
    pub fn judge(&self, failure: &Failure, stopping: bool) -> Judgement {
        let error = &failure.error;
        let is_retriable = error.next_step() == NextStep::Retry;
        if is_retriable && stopping {
            return Judgement::Leave;
        }
        if !is_retriable && !failure.stage.tolerates_any_error() {
            return Judgement::FailTask(
                ConnectError::connect("Unhandled exception in error handler").with_cause(error.clone()),
            );
        }
        match self.level {
            ToleranceLevel::All => Judgement::GiveUp,
            ToleranceLevel::None => Judgement::FailTask(tolerance_exceeded(error)),
        }
    }

    /// Whether a sink task has somewhere to report records it cannot write.
    pub fn has_reporter(&self, has_dead_letter_queue: bool) -> bool {
        has_dead_letter_queue || self.log
    }
}

/// Why a task fails on its first record that cannot be tolerated.
pub fn tolerance_exceeded(cause: &ConnectError) -> ConnectError {
    ConnectError::connect("Tolerance exceeded in error handler").with_cause(cause.clone())
}

/// Java's line for `errors.log.enable`; `details` come with `errors.log.include.messages`.
pub fn log_line(task: &impl std::fmt::Display, failure: &Failure, details: &str) -> String {
    let Failure { stage, class, error: _ } = failure;
    format!("Error encountered in task {task}. Executing stage '{}' with class '{class}'{details}.", stage.name())
}

/// What the log says of a consumed record.
pub fn consumed_details(topic: &str, partition: i32, offset: i64, timestamp: Option<(i64, &str)>) -> String {
    let timestamp = match timestamp {
        Some((at, kind)) => format!(", timestamp={at}, timestampType={kind}"),
        None => String::new(),
    };
    format!(", where consumed record is {{topic='{topic}', partition={partition}, offset={offset}{timestamp}}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn tolerance(retry_timeout: Option<u64>, retry_delay_max: u64) -> Tolerance {
        Tolerance { retry_timeout: retry_timeout.map(MS), retry_delay_max: MS(retry_delay_max), ..Tolerance::default() }
    }

    #[test]
    fn waits_grow_as_in_java() {
        let cases = [
            // time-out, longest wait, attempt, elapsed, expected
            (Some(0), 60_000, 1, 0, None),
            (Some(1_000), 60_000, 1, 0, Some(300)),
            (Some(1_000), 60_000, 2, 300, Some(600)),
            (Some(1_000), 60_000, 3, 900, Some(100)), // Clipped to what is left.
            (Some(1_000), 60_000, 4, 1_000, None),
            (None, 60_000, 8, 1 << 40, Some(38_400)),
            (None, 60_000, 9, 1 << 40, Some(59_999)), // Beyond the bound: at random below it.
            (None, 60_000, 1_000, 1 << 40, Some(59_999)),
            (None, 0, 1, 0, Some(0)),
        ];
        for (timeout, max, attempt, elapsed, expected) in cases {
            let delay =
                tolerance(timeout, max)
                    .retry_delay(&ConnectError::retriable("later"), attempt, MS(elapsed), |bound| bound - MS(1));
            assert_eq!(delay, expected.map(MS), "{timeout:?} {max} {attempt} {elapsed}");
        }
        let never = tolerance(None, 60_000).retry_delay(&ConnectError::data("bad"), 1, MS(0), |bound| bound);
        assert_eq!(never, None);
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_its_bounds(
            timeout in 0u64..100_000, max in 0u64..100_000, attempt in 0u32..200, elapsed in 0u64..100_000, dice in 0u64..100_000
        ) {
            let delay = tolerance(Some(timeout), max).retry_delay(
                &ConnectError::retriable("later"), attempt, MS(elapsed), |bound| MS(dice).min(bound - MS(1)));
            if let Some(delay) = delay {
                prop_assert!(elapsed < timeout && elapsed + delay.as_millis() as u64 <= timeout);
                prop_assert!(delay <= MS(max));
            } else {
                prop_assert!(elapsed >= timeout);
            }
        }
    }

    #[test]
    fn a_failure_is_given_up_or_ends_the_task() {
        use Stage::*;
        use ToleranceLevel::*;
        let (data, retriable) = (ConnectError::data("bad"), ConnectError::retriable("later"));
        let cases = [
            (None, ValueConverter, &data, Some("Tolerance exceeded in error handler")),
            (All, ValueConverter, &data, Option::None),
            (All, Transformation, &data, Option::None),
            (All, TaskPut, &data, Some("Unhandled exception in error handler")),
            (None, Transformation, &retriable, Some("Tolerance exceeded in error handler")),
            (All, Transformation, &retriable, Option::None),
            (None, TaskPoll, &retriable, Some("Tolerance exceeded in error handler")),
            (All, TaskPoll, &retriable, Option::None),
        ];
        for (level, stage, error, expected) in cases {
            let failure = Failure { stage, class: "c".into(), error: error.clone() };
            let tolerance = Tolerance { level, ..Tolerance::default() };
            let judgement = tolerance.judge(&failure, false);
            // Nothing changes for a task that stops, but that it does not give up what it might have tried again.
            if *error == retriable {
                assert_eq!(tolerance.judge(&failure, true), Judgement::Leave);
            } else {
                assert_eq!(tolerance.judge(&failure, true), judgement);
            }
            match (&judgement, expected) {
                (Judgement::GiveUp, Option::None) => {}
                (Judgement::FailTask(task_error), Some(message)) => {
                    assert_eq!((task_error.message(), task_error.cause()), (Some(message), Some(error)));
                }
                _ => panic!("{level:?} {stage:?}: {judgement:?}"),
            }
        }
    }

    #[test]
    fn the_log_speaks_as_javas() {
        let failure = Failure {
            stage: Stage::ValueConverter,
            class: "org.apache.kafka.connect.json.JsonConverter".into(),
            error: ConnectError::data("bad"),
        };
        let details = consumed_details("t", 1, 2, Some((3, "CreateTime")));
        assert_eq!(
            log_line(&"c-0", &failure, &details),
            "Error encountered in task c-0. Executing stage 'VALUE_CONVERTER' with class \
             'org.apache.kafka.connect.json.JsonConverter', where consumed record is {topic='t', partition=1, offset=2, \
             timestamp=3, timestampType=CreateTime}."
        );
        assert_eq!(consumed_details("t", 1, 2, None), ", where consumed record is {topic='t', partition=1, offset=2}");
    }
}
