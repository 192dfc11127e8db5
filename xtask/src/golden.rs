//! `cargo xtask golden DIR`: runs recorded answers of Java Connect against our classes.

use anyhow::Result;
use kurier_golden::{Options, run};
use std::path::PathBuf;

/// What to run and how much to show.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of recorded cases (`*.jsonl`, `*.jsonl.zst`)
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/cases"))]
    dir: PathBuf,
    /// Runs only cases whose id contains this
    #[arg(long)]
    filter: Option<String>,
    /// Shows every failure in full
    #[arg(long, short)]
    verbose: bool,
}

/// Runs the cases and prints what came of them; the process ends with 1 if one failed.
pub(crate) fn golden(args: &Args) -> Result<()> {
    let report = run(&args.dir, &Options { filter: args.filter.clone() })?;
    print!("{}", report.text(args.verbose));
    if !report.is_success() {
        // The count is the last line: no error text follows it.
        std::process::exit(1);
    }
    Ok(())
}
