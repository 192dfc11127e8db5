//! What is done to the repository: `cargo xtask test`, `ci`, `golden`, `kafka`, `bench`, `bench-clients`, `kill`, `docs`.
//!
//! `cargo xtask ci` is exactly what CI runs. Tools that a fresh machine lacks are fetched into the cache folder by the command that needs them.
#![allow(clippy::disallowed_methods, reason = "driver: runs processes and measures time")]

mod bench;
mod bench_clients;
mod build;
mod ci;
mod docs;
mod golden;
mod kafka;
mod kill;
mod table;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tasks around the source of Kurier.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs all tests; further arguments go to `cargo test`
    #[command(trailing_var_arg = true)]
    Test {
        /// Arguments for `cargo test`, such as a filter
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Runs what CI runs: formatting, clippy, dependency checks, tests
    Ci,
    /// Runs a folder of recorded answers of Java Connect against our converters, transforms and configs
    Golden(golden::Args),
    /// Writes the pages of docs/ that are made from the program itself
    Docs(docs::Args),
    /// Measures Kurier beside Java Connect in standalone mode and prints the table of docs/performance.md
    Bench(bench::Args),
    /// Measures Kurier's Kafka client beside librdkafka, and its broker beside Apache Kafka
    BenchClients(bench_clients::Args),
    /// Fetches Apache Kafka and Java Connect from Maven Central and starts them on free ports until Ctrl-C
    Kafka(kafka::Args),
    /// Kills the worker or the broker with -9 at random moments, many times, and counts what is left
    Kill(kill::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Test { args } => ci::test(&args),
        Task::Ci => ci::ci(),
        Task::Golden(args) => golden::golden(&args),
        Task::Docs(args) => docs::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::BenchClients(args) => bench_clients::run(&args),
        Task::Kafka(args) => kafka::run(&args),
        Task::Kill(args) => kill::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
