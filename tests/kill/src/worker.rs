//! Kills the worker: file → source → topic → sink → file.

use crate::{Rng, Tally};
use anyhow::{Context, Result};
use kurier_harness::{Kurier, free_port, wait_for};
use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Lines of a run's file, and of each piece that is appended while the worker runs.
const LINES: u64 = 20_000;
const PIECE: u64 = 2_000;
/// The kill comes at most so long after the start. A worker needs some 20 ms to start and a few hundred for all lines.
const LATEST_KILL_MS: u64 = 900;
/// How long a restarted worker may take for what is left.
const CATCH_UP: Duration = Duration::from_secs(60);

/// A broker that outlives all runs; each has topics of its own.
#[derive(Debug)]
pub struct Bed {
    dir: tempfile::TempDir,
    broker: Kurier,
    address: String,
}

impl Bed {
    /// Starts the broker.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let port = free_port();
        let data = dir.path().join("broker-data").display().to_string();
        let args = ["broker", "--data", &data, "--port", &port.to_string()];
        let broker = Kurier::start(dir.path(), "broker", &args)?;
        let address = format!("127.0.0.1:{port}");
        wait_for("the broker's port", Duration::from_secs(20), || Ok(std::net::TcpStream::connect(&address).is_ok()))?;
        Ok(Self { dir, broker, address })
    }

    /// One run; what it found goes into the tally.
    ///
    /// # Errors
    /// If something other than what is tested goes wrong.
    pub fn run(&mut self, seed: u64, tally: &mut Tally) -> Result<()> {
        anyhow::ensure!(
            self.broker.process().ended()?.is_none(),
            "the broker ended: {}",
            self.broker.process().output()
        );
        let files = Files::new(self.dir.path().join(format!("run-{seed}")), &self.address, seed)?;
        let mut rng = Rng::seeded(seed);
        let mut worker = files.start_worker("first")?;
        let kill_at = rng.below(LATEST_KILL_MS);
        let (mut written, mut elapsed) = (PIECE, 0);
        files.append(0..PIECE)?;
        while elapsed < kill_at {
            let pause = (1 + rng.below(80)).min(kill_at - elapsed);
            std::thread::sleep(Duration::from_millis(pause));
            elapsed += pause;
            if written < LINES {
                files.append(written..written + PIECE)?;
                written += PIECE;
            }
        }
        *tally.phases.entry(files.phase(written)?).or_default() += 1;
        worker.process().kill()?;
        files.append(written..LINES)?;
        let worker = files.start_worker("second")?;
        files.check(seed, tally)?;
        drop(worker);
        fs::remove_dir_all(&files.dir).context("cannot clean up after a run")
    }
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
    fn new(dir: PathBuf, address: &str, seed: u64) -> Result<Self> {
        fs::create_dir_all(&dir)?;
        let (input, output, offsets) = (dir.join("in.txt"), dir.join("out.txt"), dir.join("offsets"));
        let converter = "org.apache.kafka.connect.storage.StringConverter";
        let worker = format!(
            "bootstrap.servers={address}\nkey.converter={converter}\nvalue.converter={converter}\n\
             offset.storage.file.filename={}\noffset.flush.interval.ms=50\nlisteners=http://127.0.0.1:0\n\
             consumer.session.timeout.ms=6000\nconsumer.heartbeat.interval.ms=1000\n",
            offsets.display()
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

    fn start_worker(&self, name: &str) -> Result<Kurier> {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        Kurier::start(&self.dir, name, &args)
    }

    fn append(&self, lines: std::ops::Range<u64>) -> Result<()> {
        let text: String = lines.map(|n| format!("{n:08} {}\n", "x".repeat(91))).collect();
        OpenOptions::new().create(true).append(true).open(&self.input)?.write_all(text.as_bytes())?;
        Ok(())
    }

    /// What the worker is at, as far as its files tell.
    fn phase(&self, written: u64) -> Result<&'static str> {
        let size = fs::metadata(&self.input)?.len();
        let arrived = lines(&self.output)?.len() as u64;
        let committed = committed_position(&self.offsets);
        Ok(match (committed, arrived) {
            (None, 0) => "starting: nothing committed, nothing arrived",
            (None, _) => "records flow, no source offset committed yet",
            (Some(_), 0) => "source offsets are committed, nothing arrived yet",
            (Some(at), _) if at < size => "records flow, some source offsets committed",
            (Some(_), n) if n < written => "the source is done, the sink is not",
            (Some(_), _) if written < LINES => "everything so far has arrived, the file still grows",
            (Some(_), _) => "everything has arrived",
        })
    }

    /// Waits until all lines are there; what is missing then is lost.
    fn check(&self, seed: u64, tally: &mut Tally) -> Result<()> {
        let mut seen = HashSet::new();
        let mut total = 0;
        let complete = wait_for("all lines at the destination", CATCH_UP, || {
            let text = lines(&self.output)?;
            total = text.len() as u64;
            seen = text.iter().filter_map(|line| number(line)).collect();
            Ok(seen.len() as u64 == LINES)
        });
        if complete.is_err() {
            let lost: Vec<u64> = (0..LINES).filter(|n| !seen.contains(n)).collect();
            tally.violations.push(format!("seed {seed}: {} lines lost, the first is {:?}", lost.len(), lost.first()));
        }
        tally.records += seen.len() as u64;
        tally.repeated += total.saturating_sub(seen.len() as u64);
        Ok(())
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
