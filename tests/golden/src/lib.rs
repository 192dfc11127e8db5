//! Runs recorded answers of Java Connect against our own classes.
//!
//! A case is a call of a Java class and its answer ([`case`]); [`notation`] and [`records`] turn what it says into our values and back. One file per kind
//! makes the call on our side: [`json`], [`converters`], [`values`], [`data`], [`transforms`], [`configdefs`], [`configparse`] with
//! [`configs`], [`providers`] with [`references`].
//! [`compare`] says whether the answer is Java's. A class that we do not have yet is skipped only if `skipped-classes.txt` lists it.

pub mod case;
pub mod compare;
pub mod configdefs;
pub mod configparse;
pub mod configs;
pub mod converters;
pub mod data;
pub mod installed;
pub mod json;
pub mod notation;
pub mod providers;
pub mod records;
pub mod references;
pub mod report;
pub mod settings;
pub mod transforms;
pub mod values;

use anyhow::Result;
use case::{Case, Expected, Suite};
use kurier_api::ConnectError;
use report::{Failure, Report};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::path::Path;

/// What became of a call on our side.
#[derive(Debug)]
pub enum Answer {
    /// It answered; JSON in the notation.
    Output(Json),
    /// It failed.
    Error(ConnectError),
    /// There is no such class (or operation of it) here yet.
    NotThere,
    /// The recording lost a part of the input, so that nobody can repeat the call.
    Unrepeatable,
}

impl From<Result<Json, ConnectError>> for Answer {
    fn from(result: Result<Json, ConnectError>) -> Self {
        match result {
            Ok(output) => Self::Output(output),
            Err(error) => Self::Error(error),
        }
    }
}

/// The classes that may be missing, one a line as `kind class`; `#` begins a comment.
const SKIPPED_CLASSES: &str = include_str!("../skipped-classes.txt");

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Runs only cases whose id contains this.
    pub filter: Option<String>,
}

type Runner = fn(&Suite, &Case) -> Result<Answer>;

/// Who makes the call, by the case's subject.
fn runner(subject: &str) -> Option<(&'static str, Runner)> {
    Some(match subject.split('.').next()? {
        "json" => ("json", json::run),
        "converter" => ("converters", converters::run),
        "values" => ("values", values::run),
        "data" => ("data", data::run),
        "smt" | "predicate" => ("transforms", transforms::run),
        "configdef" => ("configdefs", configdefs::run),
        "config" => ("configparse", configparse::run),
        "provider" => ("providers", providers::run),
        _ => return None,
    })
}

/// Runs every case of a folder.
///
/// # Errors
/// If the folder cannot be read.
pub fn run(dir: &Path, options: &Options) -> Result<Report> {
    Ok(run_suite(&Suite::read(dir)?, options))
}

/// Runs every case of a suite.
pub fn run_suite(suite: &Suite, options: &Options) -> Report {
    let listed: BTreeSet<&str> = SKIPPED_CLASSES
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .collect();
    let mut report = Report::default();
    let mut there = BTreeSet::new();
    for case in &suite.cases {
        if options.filter.as_ref().is_some_and(|filter| !case.id.contains(filter.as_str())) {
            continue;
        }
        let subject = case.subject();
        let at = report.subjects.iter().position(|(name, ..)| name == subject).unwrap_or_else(|| {
            report.subjects.push((subject.to_owned(), 0, 0));
            report.subjects.len() - 1
        });
        report.subjects[at].1 += 1;
        let (kind, answer) = match runner(subject) {
            Some((kind, runner)) => (kind, call(runner, suite, case)),
            None => ("unknown", Err("no runner for this subject".to_owned())),
        };
        let key = format!("{kind} {}", case.class);
        if matches!(answer, Ok(Answer::NotThere)) {
            if listed.contains(key.as_str()) {
                report.skipped += 1;
                continue;
            }
        } else if matches!(answer, Ok(Answer::Unrepeatable)) {
            report.skipped += 1;
            continue;
        } else if listed.contains(key.as_str()) {
            there.insert(key);
        }
        match judge(case, answer) {
            Ok(()) => report.passed += 1,
            Err(got) => {
                report.subjects[at].2 += 1;
                report.failures.push(Failure {
                    id: case.id.clone(),
                    call: format!("{}.{} {} {}", case.simple_class(), case.op, case.config(), case.input()),
                    expected: case.line.get("error").unwrap_or(&case.line["output"]).to_string(),
                    got,
                });
            }
        }
    }
    report.stale = there
        .into_iter()
        .map(|key| format!("`{key}` is there: remove it from tests/golden/skipped-classes.txt"))
        .collect();
    report
}

/// A panic is a failure of the case, not of the run.
fn call(runner: Runner, suite: &Suite, case: &Case) -> Result<Answer, String> {
    match std::panic::catch_unwind(|| runner(suite, case)) {
        Ok(answer) => answer.map_err(|error| format!("the case cannot be run: {error:#}")),
        Err(_) => Err("a panic".to_owned()),
    }
}

fn judge(case: &Case, answer: Result<Answer, String>) -> Result<(), String> {
    match (&case.expected, answer?) {
        (_, Answer::Unrepeatable) => Ok(()),
        (_, Answer::NotThere) => Err("there is no such class; `skipped-classes.txt` does not list it".to_owned()),
        (Expected::Output(expected), Answer::Output(got)) => {
            if compare::same_output(case, expected, &got) {
                Ok(())
            } else {
                Err(got.to_string())
            }
        }
        (Expected::Error { class, message }, Answer::Error(got)) => {
            let same = class == got.class() && compare::same_message(message.as_deref(), got.message());
            if same || case.is_jvm_text() { Ok(()) } else { Err(got.headline()) }
        }
        (Expected::Output(_), Answer::Error(error)) => Err(format!("error {}", error.trace().trim_end())),
        (Expected::Error { .. }, Answer::Output(got)) => Err(got.to_string()),
    }
}
