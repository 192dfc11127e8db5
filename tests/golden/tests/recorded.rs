//! All recorded answers of Java Connect; `cargo xtask golden --filter` runs a part of them.

use kurier_golden::case::Suite;
use kurier_golden::records::{record_from, record_to};
use kurier_golden::{Options, compare, run};
use std::path::{Path, PathBuf};

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

#[test]
fn answers_are_those_of_java() {
    let report = run(&cases(), &Options::default()).unwrap();
    assert!(report.is_success(), "{}", report.text(false));
    assert!(report.passed > 0);
}

#[test]
fn records_are_written_as_they_were_read() {
    let suite = Suite::read(&cases()).unwrap();
    let mut records = 0;
    for case in &suite.cases {
        for json in [case.input(), &case.input()["record"], &case.line["output"]] {
            if json.get("kind").is_some()
                && let Some(record) = record_from(json).unwrap()
            {
                let written = record_to(&record);
                assert!(compare::same_output(case, json, &written), "{}: {json}\n{written}", case.id);
                records += 1;
            }
        }
    }
    assert!(records > 1000);
}
