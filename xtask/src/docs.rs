//! The pages of `docs/` that the program writes of itself, so that they cannot be wrong for long.

use anyhow::{Context, Result};
use kurier_harness::{kurier_binary, workspace_root};
use std::fs;
use std::process::Command;

/// Command line.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Writes nothing; fails if a page is not what it should be
    #[arg(long)]
    pub(crate) check: bool,
}

/// The pages, each with the hidden subcommand that prints it.
const PAGES: [(&str, &str); 2] = [("docs/commands.md", "command-docs"), ("docs/plugins.md", "plugin-docs")];

/// Writes or checks the pages.
pub(crate) fn run(args: &Args) -> Result<()> {
    for (page, subcommand) in PAGES {
        let output = Command::new(kurier_binary()).arg(subcommand).output().context("cannot run kurier")?;
        anyhow::ensure!(output.status.success(), "{subcommand}: {}", String::from_utf8_lossy(&output.stderr));
        keep(args, page, &output.stdout)?;
    }
    keep(args, "docs/client-properties.md", kurier_kafka::properties::page().as_bytes())
}

fn keep(args: &Args, page: &str, content: &[u8]) -> Result<()> {
    let path = workspace_root().join(page);
    if args.check {
        let there = fs::read(&path).with_context(|| format!("cannot read {page}; run `cargo xtask docs`"))?;
        anyhow::ensure!(there == content, "{page} is out of date; run `cargo xtask docs`");
    } else {
        fs::write(&path, content)?;
        eprintln!("wrote {page}");
    }
    Ok(())
}
