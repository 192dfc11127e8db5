//! All recorded answers of Java Connect; `cargo xtask golden --filter` runs a part of them.

use kurier_golden::{Options, run};
use std::path::Path;

#[test]
fn answers_are_those_of_java() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let report = run(&dir, &Options::default()).unwrap();
    assert!(report.is_success(), "{}", report.text(false));
    assert!(report.passed > 0);
}
