//! What benches measured, as a table in Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Figures by row, which is a case and what was measured in it, and by column.
#[derive(Default)]
pub(crate) struct Table(BTreeMap<(String, String), BTreeMap<String, Vec<f64>>>);

impl Table {
    /// Adds a figure.
    pub(crate) fn note(&mut self, case: &str, what: &str, column: &str, value: f64) {
        let by_column = self.0.entry((case.to_owned(), what.to_owned())).or_default();
        by_column.entry(column.to_owned()).or_default().push(value);
    }

    /// Medians, smallest and largest, and the ratios to the first column; nothing if nothing was measured.
    pub(crate) fn markdown(&self, columns: &[String]) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut text = format!("| case | what | {} |\n|{}\n", columns.join(" | "), " --- |".repeat(columns.len() + 2));
        for ((case, what), by_column) in &self.0 {
            let first =
                columns.first().and_then(|column| by_column.get(column)).map_or(f64::NAN, |values| median(values));
            let _ = write!(text, "| {case} | {what} |");
            for column in columns {
                let values = by_column.get(column).map_or(&[][..], Vec::as_slice);
                let (low, high) = values.iter().fold((f64::MAX, 0.0), |(low, high), v| (v.min(low), v.max(high)));
                let middle = median(values);
                let _ = write!(text, " {middle:.0} ({low:.0}–{high:.0}) ×{:.3} |", middle / first);
            }
            text.push('\n');
        }
        text
    }
}

/// The names of the columns: the second of the same kind is the control.
pub(crate) fn columns(kinds: &[String]) -> Vec<String> {
    let name = |(at, kind): (usize, &String)| {
        if kinds[..at].contains(kind) { format!("{kind} again") } else { kind.clone() }
    };
    kinds.iter().enumerate().map(name).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
