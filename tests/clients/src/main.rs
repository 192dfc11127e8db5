//! One client at work in a process of its own, so that its CPU time and memory are nobody else's: ours, or librdkafka as the rival.
//!
//! `cargo xtask bench-clients` builds it with the feature `librdkafka`, starts brokers, runs both clients in turn on the same topics with the same settings,
//! and makes the table. By hand: `kurier-clients kurier produce bootstrap=127.0.0.1:9092 topic=t records=1000000 size=100 linger.ms=5`. The last
//! line of the output is the result as JSON.
#![allow(clippy::disallowed_methods, reason = "driver: reads clocks")]

mod ours;
#[cfg(feature = "librdkafka")]
mod rival;
#[cfg(feature = "librdkafka")]
mod story;
mod task;

use std::process::ExitCode;

use anyhow::{Result, bail};

use task::Task;

/// The allocator of the program that ships the client; librdkafka brings its own calls to that of the C library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: kurier-clients kurier|librdkafka produce|consume|idle bootstrap=HOST:PORT topic=TOPIC [records=N] [size=BYTES] \
    [clients=N] [seconds=N] [client property=value …]";

fn run() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(client), Some(action)) = (args.next(), args.next()) else { bail!(USAGE) };
    #[cfg(feature = "librdkafka")]
    if (client.as_str(), action.as_str()) == ("librdkafka", "story") {
        let Some(broker) = args.next() else { bail!("usage: kurier-clients librdkafka story HOST:PORT") };
        return story::tell(&broker);
    }
    let task = Task::parse(&action, args)?;
    let figures = match client.as_str() {
        "kurier" => ours::run(&task)?,
        #[cfg(feature = "librdkafka")]
        "librdkafka" => rival::run(&task)?,
        #[cfg(not(feature = "librdkafka"))]
        "librdkafka" => bail!("this build is without librdkafka: build it with --features librdkafka"),
        _ => bail!(USAGE),
    };
    println!("{figures}");
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
