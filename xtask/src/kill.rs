//! `cargo xtask kill worker|broker|cluster`: kill -9 at random moments, hundreds of times, and the count of what is left.
//!
//! What a run does is said in `tests/kill`. With `--planted` the binary makes a mistake on purpose (the broker acknowledges before it writes), and the
//! command fails if that is not found: a hunt that never finds anything proves nothing. `cluster` kills leaders of Apache Kafka under our producer, with and
//! without transactions, or under librdkafka as the control (`cargo run -p xtask --features librdkafka -- kill cluster --client librdkafka`).

use anyhow::{Result, bail};
use kurier_harness::{Java, kurier_binary};
use kurier_kill::{Stop, Tally, broker, cluster, worker};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::build::{cargo, target_folder};

/// Command line.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is killed
    what: What,
    /// How many runs
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// Seed of the first run; each further one has the next number
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Builds a broker that acknowledges before it writes, and fails unless that is found out
    #[arg(long)]
    planted: bool,
    /// With `cluster`: how records are sent
    #[arg(long, value_enum, default_value_t = Scenario::Idempotent)]
    scenario: Scenario,
    /// With `cluster`: whose producer is tried
    #[arg(long, value_enum, default_value_t = Client::Kurier)]
    client: Client,
    /// With `cluster`: records a run
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Scenario {
    Idempotent,
    Transactional,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Client {
    Kurier,
    Librdkafka,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    Worker,
    Broker,
    Cluster,
}

/// A line of progress comes after so many runs.
const PROGRESS: u64 = 10;
/// Exit status of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Runs, and prints what came of it. Fails on a violation, or with `--planted` for want of one.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.planted && args.what != What::Broker {
        bail!("the planted mistake is the broker's: run `cargo xtask kill --planted broker`");
    }
    let stop = Stop::default();
    end_on_ctrl_c(stop.clone())?;
    let scenario = match args.scenario {
        Scenario::Idempotent => cluster::Scenario::Idempotent,
        Scenario::Transactional => cluster::Scenario::Transactional,
    };
    match args.what {
        What::Cluster => println!("killing brokers of Apache Kafka, {} runs from seed {}", args.runs, args.seed),
        What::Worker | What::Broker => println!("killing kurier, {} runs from seed {}", args.runs, args.seed),
    }
    let mut tally = Tally::new(match args.what {
        What::Worker => &worker::PHASES,
        What::Broker => &broker::PHASES,
        What::Cluster => cluster::Bed::phases(scenario),
    });
    let mut one: Box<dyn FnMut(u64, &mut Tally) -> Result<()>> = match args.what {
        What::Worker => {
            let mut bed = worker::Bed::start(kurier_binary(), stop.clone())?;
            Box::new(move |seed, tally| bed.run(seed, tally))
        }
        What::Broker => {
            let binary = if args.planted { planted_binary()? } else { kurier_binary() };
            let bed = broker::Bed::new(binary, stop.clone())?;
            let mut bed = if args.planted { bed } else { bed.keep_findings() };
            Box::new(move |seed, tally| bed.run(seed, tally))
        }
        What::Cluster => {
            let which = match args.client {
                Client::Kurier => cluster::Which::Kurier,
                Client::Librdkafka => cluster::Which::Librdkafka,
            };
            let mut bed = cluster::Bed::start(&Java::fetch("4.3.1")?, scenario, which, args.records, stop.clone())?;
            Box::new(move |seed, tally| bed.run(seed, tally))
        }
    };
    let begin = Instant::now();
    for seed in args.seed..args.seed.saturating_add(args.runs) {
        let known = tally.violations.len();
        let outcome = one(seed, &mut tally);
        if stop.is_set() {
            drop(one); // Its processes and folders go now: exit drops nothing.
            println!("{tally}\ninterrupted in the run of seed {seed}");
            std::process::exit(INTERRUPTED);
        }
        outcome?;
        for violation in &tally.violations[known..] {
            println!("VIOLATION {violation}");
        }
        if args.planted && tally.violations.len() > known {
            println!("the planted mistake was found after {} runs", tally.runs);
            return Ok(());
        }
        if tally.runs.is_multiple_of(PROGRESS) {
            println!("{}", progress(&tally, begin.elapsed()));
        }
    }
    println!("{tally}");
    if args.planted {
        bail!("the planted mistake was not found in {} runs: these tests would not notice a real one", tally.runs);
    }
    if !tally.is_sound() {
        let what = match args.what {
            What::Worker => "worker",
            What::Broker => "broker",
            What::Cluster => "cluster",
        };
        bail!("repeat a run with its seed: cargo xtask kill {what} --runs 1 --seed SEED");
    }
    Ok(())
}

fn progress(tally: &Tally, elapsed: Duration) -> String {
    format!(
        "{} runs in {:.0} s, {} kills in {} of {} phases, {} violations",
        tally.runs,
        elapsed.as_secs_f64(),
        tally.kills(),
        tally.phases.iter().filter(|(_, hits)| *hits > 0).count(),
        tally.phases.len(),
        tally.violations.len() + tally.refused.len()
    )
}

/// The first Ctrl-C ends the run and shows the tally; the second ends the program as it is. Children die with it either way.
fn end_on_ctrl_c(stop: Stop) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if stop.is_set() {
                    std::process::exit(INTERRUPTED);
                }
                stop.set();
            }
        });
    });
    Ok(())
}

/// Builds the binary with the planted mistake, in a folder of its own: it can never be taken for the real one.
fn planted_binary() -> Result<PathBuf> {
    let target = target_folder().join("planted");
    let status = cargo(&["build", "--quiet", "--locked", "--package", "kurier", "--bin", "kurier"])
        .args(["--features", "planted-ack-before-write", "--target-dir"])
        .arg(&target)
        .status()?;
    anyhow::ensure!(status.success(), "the build with the planted mistake failed");
    Ok(target.join("debug/kurier"))
}
