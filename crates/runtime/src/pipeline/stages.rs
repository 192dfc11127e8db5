//! What stands between a connector and Kafka in one task: its transforms with their predicates, and its converters.
//!
//! Transforms take whole batches; a record that one of them cannot take is judged by the task's [`Tolerance`], and the others go on. Nothing is
//! reported here: failures are handed back with the place of their record in the batch.
#![expect(clippy::disallowed_methods, reason = "driver: retries last as long as the clock says")]

use super::control::Control;
use super::tolerance::{Failure, Judgement, Stage, Tolerance};
use kurier_api::plugin::{Converter, Fate, HeaderConverter, Predicate, Transform};
use kurier_api::{ConnectError, Record};
use std::borrow::Cow;
use std::time::Instant;

/// A configured transform.
pub struct TransformStage {
    /// Its Java class.
    pub class: Cow<'static, str>,
    /// The transform.
    pub transform: Box<dyn Transform>,
    /// What decides whether it applies to a record; none if it always does.
    pub guard: Option<Guard>,
}

/// The predicate of a transform.
pub struct Guard {
    /// The predicate.
    pub predicate: Box<dyn Predicate>,
    /// Whether the transform applies to records that do *not* meet it.
    pub negate: bool,
}

/// The transforms of a task, in order.
#[derive(Default)]
pub struct Transforms {
    stages: Vec<TransformStage>,
    /// Records that the predicate of the transform at work keeps from it.
    spared: Vec<usize>,
}

/// The converters of a task, each with its Java class.
pub struct Converters {
    /// For keys.
    pub key: (Cow<'static, str>, Box<dyn Converter>),
    /// For values.
    pub value: (Cow<'static, str>, Box<dyn Converter>),
    /// For headers.
    pub header: (Cow<'static, str>, Box<dyn HeaderConverter>),
}

/// What stages made of a batch.
#[derive(Debug, Default)]
pub struct Failures {
    /// Records that failed, by their place in the batch, in no particular order. They are to be reported; the record that fails the task is among them,
    /// one that is left to the next life is not.
    pub records: Vec<(usize, Failure)>,
    /// The first record that ends this life of the task, with what fails the task; none if the record is only left to the next life. It and those
    /// after it must not go on; those before it must, as in Java.
    pub last: Option<(usize, Option<ConnectError>)>,
}

impl Failures {
    /// Judges a failure for good. Answers whether the task goes on.
    pub fn add(&mut self, at: usize, failure: Failure, tolerance: &Tolerance, control: &Control) -> bool {
        match tolerance.judge(&failure, control.is_stopping()) {
            Judgement::GiveUp => {
                self.records.push((at, failure));
                true
            }
            Judgement::FailTask(error) => {
                self.records.push((at, failure));
                self.end_at(at, Some(error));
                false
            }
            Judgement::Leave => {
                self.end_at(at, None);
                false
            }
        }
    }

    /// Ends this life of the task at a record; an error fails the task.
    pub fn end_at(&mut self, at: usize, error: Option<ConnectError>) {
        self.records.retain(|(index, _)| *index <= at);
        self.last = Some((at, error));
    }

    /// How many records of a batch of `len` may go on.
    pub fn end(&self, len: usize) -> usize {
        self.last.as_ref().map_or(len, |(at, _)| *at)
    }
}

impl Transforms {
    /// Transforms in order.
    pub fn new(stages: Vec<TransformStage>) -> Self {
        Self { stages, spared: Vec::new() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Applies all transforms to the live records of a batch. Afterwards a fate is `Live` or `Dropped`; failed records are `Dropped` and among
    /// `failures`.
    pub async fn apply(
        &mut self,
        records: &mut [Record],
        fates: &mut [Fate],
        tolerance: &Tolerance,
        control: &Control,
        failures: &mut Failures,
    ) {
        for stage in &mut self.stages {
            let end = failures.end(records.len());
            let (records, fates) = (&mut records[..end], &mut fates[..end]);
            self.spared.clear();
            if let Some(guard) = &mut stage.guard {
                guard.spare(records, fates, &mut self.spared);
            }
            stage.transform.apply_batch(records, fates);
            for &spared in &self.spared {
                fates[spared] = Fate::Live;
            }
            for at in 0..end {
                let Fate::Failed(error) = &mut fates[at] else { continue };
                let error = std::mem::replace(error, ConnectError::connect(""));
                match stage.retry(&mut records[at], error, tolerance, control).await {
                    Ok(fate) => fates[at] = fate,
                    Err(error) => {
                        fates[at] = Fate::Dropped;
                        let failure = Failure { stage: Stage::Transformation, class: stage.class.clone(), error };
                        if !failures.add(at, failure, tolerance, control) {
                            break;
                        }
                    }
                }
            }
        }
    }
}

impl Guard {
    /// Keeps the records that the transform does not apply to from it, for now as dropped ones.
    fn spare(&mut self, records: &[Record], fates: &mut [Fate], spared: &mut Vec<usize>) {
        for (at, (record, fate)) in records.iter().zip(fates).enumerate() {
            if matches!(fate, Fate::Live) {
                match self.predicate.test(record) {
                    Ok(met) if met != self.negate => {}
                    Ok(_) => {
                        *fate = Fate::Dropped;
                        spared.push(at);
                    }
                    Err(error) => *fate = Fate::Failed(error),
                }
            }
        }
    }
}

impl TransformStage {
    /// Applies the transform to one record again for as long as the tolerance allows.
    async fn retry(
        &mut self,
        record: &mut Record,
        error: ConnectError,
        tolerance: &Tolerance,
        control: &Control,
    ) -> Result<Fate, ConnectError> {
        let mut retries = Retries::new(control);
        let mut error = error;
        while retries.again(&error, tolerance).await {
            let mut fates = [Fate::Live];
            let mut spared = Vec::new();
            let records = std::slice::from_mut(record);
            if let Some(guard) = &mut self.guard {
                guard.spare(records, &mut fates, &mut spared);
            }
            if !spared.is_empty() {
                return Ok(Fate::Live);
            }
            self.transform.apply_batch(records, &mut fates);
            let [fate] = fates;
            match fate {
                Fate::Failed(next) => error = next,
                fate => return Ok(fate),
            }
        }
        Err(error)
    }
}

/// The attempts at one call.
pub struct Retries<'a> {
    control: &'a Control,
    attempts: u32,
    started: Instant,
}

impl<'a> Retries<'a> {
    /// At the first failure.
    pub fn new(control: &'a Control) -> Self {
        Self { control, attempts: 0, started: Instant::now() }
    }

    /// Whether to try again after this error; waits until it is time. False once the task is asked to stop.
    pub async fn again(&mut self, error: &ConnectError, tolerance: &Tolerance) -> bool {
        self.attempts = self.attempts.saturating_add(1);
        let elapsed = self.started.elapsed();
        match tolerance.retry_delay(error, self.attempts, elapsed, |bound| self.control.random(bound)) {
            Some(delay) => self.control.wait(delay).await,
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::control::{Order, orders};
    use super::super::tolerance::ToleranceLevel;
    use super::*;
    use kurier_api::data::{SchemaAndValue, Value};
    use kurier_api::plugin::Verdict;
    use std::time::Duration;

    /// Appends its letter to a text; drops, fails or asks for patience where the text holds the matching sign.
    struct Letter(char);

    impl Transform for Letter {
        fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
            let Value::Text(text) = &mut record.value.value else { return Ok(Verdict::Keep) };
            if text.contains(&format!("-{}", self.0)) {
                return Ok(Verdict::Drop);
            }
            if text.contains(&format!("!{}", self.0)) {
                return Err(ConnectError::data(format!("no {}", self.0)));
            }
            if let Some(at) = text.find(&format!("?{}", self.0)) {
                text.replace_range(at..at + 2, "");
                return Err(ConnectError::retriable("not yet"));
            }
            text.push(self.0);
            Ok(Verdict::Keep)
        }
    }

    /// Met by texts with a `p`.
    struct HasP;

    impl Predicate for HasP {
        fn test(&mut self, record: &Record) -> Result<bool, ConnectError> {
            match record.value.value.as_text() {
                Some("brokena") => Err(ConnectError::data("no predicate")),
                text => Ok(text.is_some_and(|text| text.contains('p'))),
            }
        }
    }

    fn transforms() -> Transforms {
        let stage =
            |letter, guard| TransformStage { class: "Letter".into(), transform: Box::new(Letter(letter)), guard };
        let guard = |negate| Some(Guard { predicate: Box::new(HasP), negate });
        Transforms::new(vec![stage('a', None), stage('b', guard(false)), stage('c', guard(true))])
    }

    /// What becomes of texts, and which one ended the task.
    async fn run(texts: &[&str], tolerance: &Tolerance) -> (Vec<String>, Vec<(usize, String)>, Option<usize>) {
        let (_orders, control) = orders(Order::Run, tokio::runtime::Handle::current());
        let mut records: Vec<_> =
            texts.iter().map(|text| Record::new("t".into(), SchemaAndValue::schemaless(*text))).collect();
        let mut fates: Vec<_> = texts.iter().map(|_| Fate::Live).collect();
        let mut failures = Failures::default();
        transforms().apply(&mut records, &mut fates, tolerance, &control, &mut failures).await;
        let end = failures.end(records.len());
        let live = records[..end].iter().zip(&fates).filter(|(_, fate)| matches!(fate, Fate::Live));
        let live = live.map(|(record, _)| record.value.value.as_text().unwrap().to_owned()).collect();
        failures.records.sort_by_key(|(at, _)| *at);
        let failed = failures.records.iter().map(|(at, f)| (*at, f.error.message().unwrap().to_owned())).collect();
        (live, failed, failures.last.map(|(at, _)| at))
    }

    #[tokio::test]
    async fn records_are_kept_dropped_and_given_up_each_for_itself() {
        let all = Tolerance {
            level: ToleranceLevel::All,
            retry_timeout: None,
            retry_delay_max: Duration::ZERO,
            ..Tolerance::default()
        };
        let texts = ["x", "p", "-a", "p-b", "x-b", "!a", "p!b", "?a", "p?b", "broken"];
        let (live, failed, fatal) = run(&texts, &all).await;
        assert_eq!(live, ["xac", "pab", "x-bac", "ac", "pab"]);
        let messages = [(5, "no a"), (6, "no b"), (9, "no predicate")].map(|(at, text)| (at, text.to_owned()));
        assert_eq!((failed, fatal), (messages.to_vec(), None));
    }

    #[tokio::test]
    async fn without_tolerance_the_first_failing_record_ends_the_task() {
        let none = Tolerance::default();
        let (live, failed, fatal) = run(&["x", "p!b", "!a", "x"], &none).await;
        assert_eq!((live, fatal), (vec!["xac".to_owned()], Some(1)));
        assert_eq!(failed, [(1, "no b".to_owned())], "records behind it were never reached");
        let (_, failed, fatal) = run(&["x?a", "x"], &none).await;
        assert_eq!((failed.len(), fatal), (1, Some(0)), "a retriable error whose time is up is one like any other");
    }
}
