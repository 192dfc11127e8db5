//! Kills the worker: file → source → topic → sink → file.

use crate::{Rng, Stop, Tally};
use anyhow::{Context, Result};
use kurier_broker::{Broker, BrokerConfig, RunningBroker};
use kurier_harness::{Guarded, wait_for};
use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Lines of a run's file, and of each piece that is appended while the worker runs.
const LINES: u64 = 20_000;
const PIECE: u64 = 2_000;
/// Pieces come at most so far apart: all at once as far as the worker can tell, or for longer than it lives.
const SLOWEST_PIECES_MS: [u64; 3] = [20, 80, 200];
/// The kill comes at most so long after the start. A worker needs some 20 ms to start and a few hundred for all lines.
const LATEST_KILLS_MS: [u64; 3] = [60, 300, 900];
/// How often a phase is looked for.
const LOOK: Duration = Duration::from_millis(1);
/// How often source offsets are committed: before, while and after records arrive at the sink.
const FLUSH_INTERVALS_MS: [u64; 3] = [5, 50, 300];
/// How long a restarted worker may take for what is left.
const CATCH_UP: Duration = Duration::from_secs(60);
/// After so long without a heartbeat a killed worker's consumer is out of its group, and the next one gets the partition. Most of a run is this wait;
/// a broker refuses less than six seconds unless it is set up to take it.
const SESSION: Duration = Duration::from_millis(1_500);

/// What a kill may hit, in the order of a run.
pub const PHASES: [&str; 8] = [STARTING, NONE_COMMITTED, NONE_ARRIVED, FLOWING, SOURCE_DONE, GROWING, DONE, AGAIN];
const STARTING: &str = "starting: nothing committed, nothing arrived";
const NONE_COMMITTED: &str = "records flow, no source offset committed yet";
const NONE_ARRIVED: &str = "source offsets are committed, nothing arrived yet";
const FLOWING: &str = "records flow, some source offsets committed";
const SOURCE_DONE: &str = "the source is done, the sink is not";
const GROWING: &str = "everything so far has arrived, the file still grows";
const DONE: &str = "everything has arrived";
const AGAIN: &str = "started again, nothing has arrived since the last kill";

/// A broker that outlives all runs; each has topics of its own.
#[derive(Debug)]
pub struct Bed {
    dir: tempfile::TempDir,
    binary: PathBuf,
    stop: Stop,
    broker: RunningBroker,
    /// Runs the broker.
    _runtime: tokio::runtime::Runtime,
}

impl Bed {
    /// Starts the broker, in this process: it is the worker that is killed. Runs end early when `stop` says so.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(binary: PathBuf, stop: Stop) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let config =
            BrokerConfig { group_min_session_timeout: SESSION, ..BrokerConfig::in_dir(dir.path().join("data")) };
        let broker = runtime.block_on(Broker::start(config))?;
        Ok(Self { dir, binary, stop, broker, _runtime: runtime })
    }

    /// One run; what it found goes into the tally.
    ///
    /// # Errors
    /// If something other than what is tested goes wrong, or the run was told to stop.
    pub fn run(&mut self, seed: u64, tally: &mut Tally) -> Result<()> {
        let mut rng = Rng::seeded(seed);
        let dir = self.dir.path().join(format!("run-{seed}"));
        let files = Files::new(dir, self.broker.address(), seed, rng.pick(&FLUSH_INTERVALS_MS))?;
        let outcome = self.live(&files, &mut rng);
        if !matches!(&outcome, Ok((_, End { wrong: None, .. }))) {
            self.stop.check_late()?;
        }
        self.stop.check()?;
        let (phases, end) = outcome?;
        if let Some(wrong) = end.wrong {
            tally.violations.push(format!("seed {seed} (killed while {}): {wrong}", phases.join(", then while ")));
        }
        tally.count(phases);
        tally.records += end.records;
        tally.repeated += end.repeated;
        fs::remove_dir_all(&files.dir).context("cannot clean up after a run")
    }

    fn live(&self, files: &Files, rng: &mut Rng) -> Result<(Vec<&'static str>, End)> {
        let slowest_ms = rng.pick(&SLOWEST_PIECES_MS);
        // Half of the runs kill as soon as they see a phase that passes quickly, if they see it.
        let hoped_for = rng.pick(&[None, None, None, Some(NONE_ARRIVED), Some(SOURCE_DONE), Some(GROWING)]);
        let mut latest_kills_ms = vec![rng.pick(&LATEST_KILLS_MS)];
        if rng.below(4) == 0 {
            latest_kills_ms.push(SESSION.as_millis() as u64);
        }
        let (mut phases, mut written) = (Vec::new(), PIECE);
        files.append(0..PIECE)?;
        for (life, latest_ms) in latest_kills_ms.into_iter().enumerate() {
            let mut worker = files.start_worker(&self.binary, &format!("worker-{life}"))?;
            let arrived_before = files.arrived()?;
            let kill_at = rng.below(latest_ms);
            let mut elapsed = 0;
            while elapsed < kill_at {
                let piece_at = (elapsed + 1 + rng.below(slowest_ms)).min(kill_at);
                if files.watch(hoped_for, written, Duration::from_millis(piece_at - elapsed))? {
                    break;
                }
                elapsed = piece_at;
                if written < LINES && elapsed < kill_at {
                    files.append(written..written + PIECE)?;
                    written += PIECE;
                }
            }
            phases.push(match files.arrived()? {
                now if life > 0 && now == arrived_before => AGAIN,
                _ => files.phase(written)?,
            });
            self.stop.check()?;
            anyhow::ensure!(worker.ended()?.is_none(), "the worker ended by itself: {}", worker.output());
            worker.kill()?;
        }
        files.append(written..LINES)?;
        let mut worker = files.start_worker(&self.binary, "worker-last")?;
        let end = files.check(&mut worker, &self.stop)?;
        Ok((phases, end))
    }
}

/// What has arrived when a run is over.
struct End {
    /// Records, each counted once.
    records: u64,
    /// How many came more than once.
    repeated: u64,
    wrong: Option<String>,
}

/// One run's folder.
struct Files {
    dir: PathBuf,
    input: PathBuf,
    output: PathBuf,
    offsets: PathBuf,
    args: Vec<String>,
}

impl Files {
    fn new(dir: PathBuf, address: &str, seed: u64, flush_ms: u64) -> Result<Self> {
        fs::create_dir_all(&dir)?;
        let (input, output, offsets) = (dir.join("in.txt"), dir.join("out.txt"), dir.join("offsets"));
        let converter = "org.apache.kafka.connect.storage.StringConverter";
        let worker = format!(
            "bootstrap.servers={address}\nkey.converter={converter}\nvalue.converter={converter}\n\
             offset.storage.file.filename={}\noffset.flush.interval.ms={flush_ms}\nlisteners=http://127.0.0.1:0\n\
             consumer.session.timeout.ms={}\nconsumer.heartbeat.interval.ms=300\n",
            offsets.display(),
            SESSION.as_millis()
        );
        let source = format!(
            "name=source-{seed}\nconnector.class=FileStreamSource\ntasks.max=1\nfile={}\ntopic=lines-{seed}\nbatch.size=500\n",
            input.display()
        );
        let sink = format!(
            "name=sink-{seed}\nconnector.class=FileStreamSink\ntasks.max=1\nfile={}\ntopics=lines-{seed}\n",
            output.display()
        );
        let mut args = vec!["standalone".to_owned()];
        for (name, text) in [("worker", worker), ("source", source), ("sink", sink)] {
            let file = dir.join(format!("{name}.properties"));
            fs::write(&file, text)?;
            args.push(file.display().to_string());
        }
        Ok(Self { dir, input, output, offsets, args })
    }

    fn start_worker(&self, binary: &Path, name: &str) -> Result<Guarded> {
        let binary = binary.display().to_string();
        let command: Vec<&str> = std::iter::once(&binary).chain(&self.args).map(String::as_str).collect();
        Guarded::start(&self.dir, name, &command, &[])
    }

    fn append(&self, lines: std::ops::Range<u64>) -> Result<()> {
        let text: String = lines.map(|n| format!("{n:08} {}\n", "x".repeat(91))).collect();
        OpenOptions::new().create(true).append(true).open(&self.input)?.write_all(text.as_bytes())?;
        Ok(())
    }

    /// What the worker is at, as far as its files tell.
    fn phase(&self, written: u64) -> Result<&'static str> {
        let size = fs::metadata(&self.input)?.len();
        let arrived = self.arrived()?;
        let committed = committed_position(&self.offsets);
        Ok(match (committed, arrived) {
            (None, 0) => STARTING,
            (None, _) => NONE_COMMITTED,
            (Some(_), 0) => NONE_ARRIVED,
            (Some(at), _) if at < size => FLOWING,
            (Some(_), n) if n < written => SOURCE_DONE,
            (Some(_), _) if written < LINES => GROWING,
            (Some(_), _) => DONE,
        })
    }

    /// Lets this time pass, and says whether the phase was seen before.
    fn watch(&self, phase: Option<&str>, written: u64, time: Duration) -> Result<bool> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            if phase.is_some() && Some(self.phase(written)?) == phase {
                return Ok(true);
            }
            std::thread::sleep(if phase.is_some() { left.min(LOOK) } else { left });
        }
        Ok(false)
    }

    /// Lines at the destination, repeated ones too.
    fn arrived(&self) -> Result<u64> {
        Ok(lines(&self.output)?.len() as u64)
    }

    /// Waits until all lines are there; says what is missing then.
    fn check(&self, worker: &mut Guarded, stop: &Stop) -> Result<End> {
        let mut seen = HashSet::new();
        let mut total = 0;
        let complete = wait_for("all lines at the destination", CATCH_UP, || {
            stop.check()?;
            anyhow::ensure!(worker.ended()?.is_none(), "the worker ended by itself: {}", worker.output());
            let text = lines(&self.output)?;
            total = text.len() as u64;
            seen = text.iter().filter_map(|line| number(line)).collect();
            Ok(seen.len() as u64 == LINES)
        });
        let records = seen.len() as u64;
        let wrong = complete.err().map(|error| {
            let first = (0..LINES).find(|n| !seen.contains(n));
            format!("{} lines lost, the first is {first:?}: {error:#}", LINES - records)
        });
        Ok(End { records, repeated: total.saturating_sub(records), wrong })
    }
}

/// The line's number, if the line is whole.
fn number(line: &str) -> Option<u64> {
    let (number, rest) = line.split_once(' ')?;
    (rest.len() == 91).then(|| number.parse().ok())?
}

fn lines(file: &Path) -> Result<Vec<String>> {
    match fs::read(file) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// The position in Java's offsets file, whose values are JSON in the midst of serialised bytes.
fn committed_position(offsets: &Path) -> Option<u64> {
    let bytes = fs::read(offsets).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let digits = text.rsplit_once("\"position\":")?.1;
    digits[..digits.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}
