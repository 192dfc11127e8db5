//! What came of a run, and its text.

use std::fmt::Write;

/// A case that did not give Java's answer.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The case.
    pub id: String,
    /// The operation and settings, for the reader.
    pub call: String,
    /// Java's answer.
    pub expected: String,
    /// Ours.
    pub got: String,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many cases gave Java's answer.
    pub passed: usize,
    /// Those that did not.
    pub failures: Vec<Failure>,
    /// Cases of classes that are listed as not there yet.
    pub skipped: usize,
    /// What is wrong with the list of skipped classes.
    pub stale: Vec<String>,
    /// Cases and failures by subject.
    pub subjects: Vec<(String, usize, usize)>,
}

/// How many failures are shown unless all are asked for.
const SHOWN: usize = 20;
/// How much of a text is shown unless all is asked for.
const SHOWN_CHARS: usize = 400;

fn bounded(text: &str, verbose: bool) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) if !verbose => format!("{}… ({} more bytes)", &text[..end], text.len() - end),
        _ => text.to_owned(),
    }
}

impl Report {
    /// Whether all is as it should be.
    pub fn is_success(&self) -> bool {
        self.failures.is_empty() && self.stale.is_empty()
    }

    /// The text for a person; its last line counts.
    pub fn text(&self, verbose: bool) -> String {
        let mut out = String::new();
        let shown = if verbose { self.failures.len() } else { SHOWN };
        for failure in self.failures.iter().take(shown) {
            writeln!(out, "{}  {}", failure.id, bounded(&failure.call, verbose)).expect("a String takes all");
            writeln!(out, "  expected: {}", bounded(&failure.expected, verbose)).expect("a String takes all");
            writeln!(out, "  got:      {}", bounded(&failure.got, verbose)).expect("a String takes all");
        }
        if self.failures.len() > shown {
            writeln!(out, "… and {} more; `--verbose` shows all", self.failures.len() - shown)
                .expect("a String takes all");
        }
        for (subject, cases, failed) in &self.subjects {
            if *failed > 0 {
                writeln!(out, "{subject}: {failed} of {cases} failed").expect("a String takes all");
            }
        }
        for line in &self.stale {
            writeln!(out, "{line}").expect("a String takes all");
        }
        writeln!(out, "{} passed, {} failed, {} skipped", self.passed, self.failures.len(), self.skipped)
            .expect("a String takes all");
        out
    }
}
