//! Runs the scenario for many seeds, or for one; the crate's documentation says how.

use std::process::ExitCode;

use kurier_sim::produce::{Scenario, run};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let parsed = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Some(0..1000),
        ["--seeds", n] => n.parse().ok().map(|n| 0..n),
        ["--seed", n] => n.parse().ok().and_then(|n: u64| Some(n..n.checked_add(1)?)),
        _ => None,
    };
    let Some(seeds) = parsed else {
        eprintln!("usage: kurier-sim [--seeds COUNT | --seed SEED]");
        return ExitCode::from(2);
    };
    let (mut crashes, mut runs, mut read) = (0, 0_u64, 0);
    for seed in seeds {
        match run(&Scenario::new(seed)) {
            Ok(outcome) => {
                runs += 1;
                crashes += outcome.crashes;
                read += outcome.read;
            }
            Err(violation) => {
                eprintln!("{violation}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "{runs} runs, {crashes} crashes of the broker, {read} records read: nothing lost, doubled or out of order"
    );
    ExitCode::SUCCESS
}
