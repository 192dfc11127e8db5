//! Runs many seeds, or one, or looks for planted bugs; `--help` says how.
#![expect(clippy::disallowed_methods, reason = "driver: reads the clock, starts threads that share the seeds out")]

use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kurier_sim::{Planted, Scenario, Tally, Violation, run};

const HELP: &str = "Runs clients and a broker under a virtual clock, with faults that follow from a seed.

usage: kurier-sim [--seeds COUNT] [--from SEED] [--threads COUNT]
       kurier-sim --seed SEED [--planted NAME] [--events COUNT]
       kurier-sim --planted NAME|all [--seeds COUNT]
       kurier-sim --help

  --seeds COUNT    how many seeds to run; 1000 if not given
  --from SEED      the first of them; 0 if not given
  --seed SEED      only this one
  --events COUNT   how many events to print before a violation; 60 if not given
  --threads COUNT  threads that share them out; as many as there are cores if not given
  --planted NAME   put this bug in and look for the first seed that finds it; all for one after the other

It ends with 0 if all is well: no violation, no fault and no state that was never met over at least 2000 seeds, every planted bug found.
A violation is printed with its seed and the events before it.

Bugs that can be put in:
";
/// With fewer seeds than this, it says nothing that some state was not met.
const ENOUGH: u64 = 2_000;

struct Arguments {
    seeds: Range<u64>,
    threads: usize,
    events: usize,
    planted: Vec<Planted>,
}

/// What came of some seeds.
#[derive(Default)]
struct Sum {
    runs: u64,
    records: u64,
    virtual_time: Duration,
    tally: Tally,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{HELP}");
        for planted in Planted::ALL {
            println!("  {:<28} {}", planted.name(), planted.about());
        }
        return ExitCode::SUCCESS;
    }
    match parse(&arguments) {
        Ok(arguments) if arguments.planted.is_empty() => storm(&arguments),
        Ok(arguments) => hunt(&arguments),
        Err(what) => {
            eprintln!("{what}; `kurier-sim --help` says what there is");
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: &[String]) -> Result<Arguments, String> {
    let (mut count, mut first, mut events, mut planted) = (None, 0, 60, Vec::new());
    let mut threads = std::thread::available_parallelism().map_or(1, usize::from);
    for pair in arguments.chunks(2) {
        let [key, value] = pair else { return Err(format!("`{}` needs a value", pair[0])) };
        let number = || value.parse::<u64>().map_err(|_| format!("`{value}` is not a number"));
        match key.as_str() {
            "--seeds" => count = Some(number()?),
            "--from" => first = number()?,
            "--seed" => (first, count) = (number()?, Some(1)),
            "--threads" => threads = usize::try_from(number()?).unwrap_or(1).clamp(1, 1_000),
            "--events" => events = usize::try_from(number()?).unwrap_or(usize::MAX),
            "--planted" if value == "all" => planted = Planted::ALL.to_vec(),
            "--planted" => {
                let found = Planted::ALL.iter().find(|planted| planted.name() == value);
                planted = vec![*found.ok_or_else(|| format!("there is no bug `{value}`"))?];
            }
            _ => return Err(format!("`{key}` is unknown")),
        }
    }
    let end = first.checked_add(count.unwrap_or(1_000)).ok_or("seeds end at 2^64")?;
    Ok(Arguments { seeds: first..end, threads, events, planted })
}

/// Runs all seeds.
fn storm(arguments: &Arguments) -> ExitCode {
    let begin = Instant::now();
    let (sum, violation) = run_all(arguments, None);
    if let Some(violation) = violation {
        eprintln!("{violation}");
        return ExitCode::FAILURE;
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{}", sum.tally);
    println!(
        "{} seeds in {seconds:.1} s ({:.0} a second): {} virtual hours, {} records; nothing lost, doubled, out of order or stuck",
        sum.runs,
        sum.runs as f64 / seconds,
        sum.virtual_time.as_secs() / 3_600,
        sum.records,
    );
    let never = sum.tally.never();
    if sum.runs >= ENOUGH && !never.is_empty() {
        eprintln!("never met: {}", never.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Looks for every planted bug.
fn hunt(arguments: &Arguments) -> ExitCode {
    let mut missed = Vec::new();
    for planted in &arguments.planted {
        let (sum, violation) = run_all(arguments, Some(*planted));
        match violation {
            Some(violation) if arguments.planted.len() == 1 => println!("{violation}"),
            Some(Violation { seed, what, .. }) => {
                println!("{:<28} found by seed {seed}, after {} without: {what}", planted.name(), sum.runs);
            }
            None => {
                println!("{:<28} NOT FOUND in {} seeds", planted.name(), sum.runs);
                missed.push(planted.name());
            }
        }
    }
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs seeds until all are done or one fails; of several, the one with the lowest number counts.
fn run_all(arguments: &Arguments, planted: Option<Planted>) -> (Sum, Option<Violation>) {
    let next = AtomicU64::new(arguments.seeds.start);
    let ends = AtomicBool::new(false);
    let found: Mutex<(Sum, Option<Violation>)> = Mutex::default();
    let work = || {
        while !ends.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= arguments.seeds.end {
                return;
            }
            let ended = run(&Scenario { planted, events: arguments.events, ..Scenario::new(seed) });
            let mut found = found.lock().expect("no thread panics while it holds this");
            match ended {
                Ok(outcome) => {
                    found.0.runs += 1;
                    found.0.records += outcome.records;
                    found.0.virtual_time += outcome.lasted;
                    found.0.tally.add(&outcome.tally);
                }
                Err(violation) => {
                    ends.store(true, Ordering::Relaxed);
                    if found.1.as_ref().is_none_or(|other| violation.seed < other.seed) {
                        found.1 = Some(*violation);
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(work);
        }
    });
    found.into_inner().expect("no thread panics while it holds this")
}
