//! Kills the broker: an idempotent producer goes on whatever happens, everything is read back at the end.
//!
//! Every kill has an `Aim`, so that moments which are short (a start, a topic's creation) are met as often as long ones. What was hit is
//! another matter: the phase is taken when the signal goes out, from what the producer and the broker's own output tell.

use crate::load::{Load, Plan, Progress};
use crate::{Rng, Stop, Tally};
use anyhow::{Context, Result};
use kurier_harness::{Guarded, quiet_port};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the broker may take to start, and the producer to be told of all that is left.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a moment is looked for.
const LOOK: Duration = Duration::from_micros(200);
/// What the broker prints once it can be used.
const READY: &str = "Broker on ";
/// What it warns of when a kill has left half a batch behind.
const CUT: &str = "a crash before an acknowledgement leaves such a tail";
/// How many unacknowledged records are many.
const MANY: u64 = 500;

/// What a kill may hit, in the order of a run.
pub const PHASES: [&str; 8] = [EMPTY_START, NO_TOPIC, FIRST_RECORDS, FEW_OPEN, MANY_OPEN, RECOVERY, READY_AGAIN, DONE];
const EMPTY_START: &str = "starting on an empty folder";
const NO_TOPIC: &str = "ready, the topic does not exist or nobody knows of it";
const FIRST_RECORDS: &str = "the first records are on their way, none acknowledged";
const FEW_OPEN: &str = "producing, fewer than 500 records unacknowledged";
const MANY_OPEN: &str = "producing, 500 and more records unacknowledged";
const RECOVERY: &str = "starting over what the last kill left";
const READY_AGAIN: &str = "ready again, nothing acknowledged since the last kill";
const DONE: &str = "all is acknowledged";

/// Where kills are aimed.
#[derive(Clone, Copy, Debug)]
enum Aim {
    /// While the broker starts, be it for the first time or over what a kill left.
    Start,
    /// Just after it can be used.
    Ready,
    /// Just after the topic was created.
    Topic,
    /// After so many thousandths of all records were acknowledged.
    Middle(u64),
    /// Nothing is left to be done.
    End,
}

/// Runs of one binary.
#[derive(Debug)]
pub struct Bed {
    dir: tempfile::TempDir,
    binary: PathBuf,
    runtime: tokio::runtime::Runtime,
    stop: Stop,
    /// How long the last start took that was not cut short.
    start_time: Duration,
    keeps_findings: bool,
}

impl Bed {
    /// A bed for runs of this binary, which end early when `stop` says so.
    ///
    /// # Errors
    /// If there is no place for temporary files.
    pub fn new(binary: PathBuf, stop: Stop) -> Result<Self> {
        Ok(Self {
            dir: tempfile::tempdir()?,
            binary,
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?,
            stop,
            start_time: Duration::from_millis(20),
            keeps_findings: false,
        })
    }

    /// The folder of a run that finds something stays, for whoever looks for the cause.
    pub fn keep_findings(mut self) -> Self {
        self.keeps_findings = true;
        self
    }

    /// One run; what it found goes into the tally.
    ///
    /// # Errors
    /// If something other than what is tested goes wrong, or the run was told to stop.
    pub fn run(&mut self, seed: u64, tally: &mut Tally) -> Result<()> {
        let mut rng = Rng::seeded(seed);
        let plan = Plan::draw(&mut rng);
        let dir = self.dir.path().join(format!("run-{seed}"));
        let port = quiet_port()?;
        let mut life = Life { bed: self, plan: &plan, dir: &dir, port, number: 0, phases: Vec::new() };
        let outcome = life.live(&mut rng);
        let (phases, lives) = (std::mem::take(&mut life.phases), life.number + 1);
        let logs = (0..lives).filter_map(|number| fs::read_to_string(log_file(&dir, number)).ok());
        let cut_writes = logs.map(|log| log.matches(CUT).count() as u64).sum::<u64>();
        if !matches!(&outcome, Ok(end) if end.wrong.is_empty()) {
            self.stop.check_late()?;
        }
        self.stop.check()?;
        let story = format!("seed {seed} (killed while {})", phases.join(", then while "));
        let mut findings = Vec::new();
        match outcome {
            Ok(End { wrong, progress, records }) => {
                findings.extend(wrong);
                tally.records += records;
                if let Some(reason) = progress.reason {
                    tally.refused.push(format!("{story}: {} given up by the producer: {reason}", progress.given_up));
                }
            }
            // A broker that does not start over its data, or a producer that gets no further, is what is looked for.
            Err(error) => findings.push(format!("{error:#}")),
        }
        tally.count(phases);
        tally.cut_writes += cut_writes;
        let mut rest = String::new();
        if self.keeps_findings && !findings.is_empty() {
            self.dir.disable_cleanup(true);
            rest = format!("; its data and logs are in {}", dir.display());
        } else {
            fs::remove_dir_all(&dir).context("cannot clean up after a run")?;
        }
        tally.violations.extend(findings.iter().map(|finding| format!("{story}: {finding}{rest}")));
        Ok(())
    }
}

/// What is left of a run.
struct End {
    wrong: Vec<String>,
    progress: Progress,
    records: u64,
}

/// One run: a data folder, a port, and one broker after the other.
struct Life<'a> {
    bed: &'a mut Bed,
    plan: &'a Plan,
    dir: &'a Path,
    port: u16,
    /// How many brokers there have been before.
    number: usize,
    phases: Vec<&'static str>,
}

impl Life<'_> {
    fn live(&mut self, rng: &mut Rng) -> Result<End> {
        let address = format!("127.0.0.1:{}", self.port);
        let load = Load::start(self.plan, &address, self.bed.runtime.handle())?;
        let mut broker = self.start()?;
        for aim in aims(rng) {
            let before = load.progress().acknowledged;
            self.approach(aim, rng, &mut broker, &load)?;
            self.phases.push(self.phase(&broker, &load.progress(), before));
            broker.kill()?;
            self.number += 1;
            broker = self.start()?;
        }
        self.ready(&mut broker)?;
        self.wait("the end of all deliveries", &mut broker, || load.progress().is_over(self.plan))?;
        let (wrong, records) = self.bed.runtime.block_on(async {
            tokio::select! {
                checked = load.check(&address) => checked,
                stopped = self.bed.stop.wait() => Err(stopped),
            }
        })?;
        Ok(End { wrong, progress: load.progress(), records })
    }

    /// Starts the broker on the run's folder and port. Each has a log of its own.
    fn start(&self) -> Result<Guarded> {
        let (binary, data) = (self.bed.binary.display().to_string(), self.dir.join("data").display().to_string());
        let (port, partitions) = (self.port.to_string(), self.plan.partitions.to_string());
        let segments = format!("internal.segment.bytes={}", self.plan.segment_bytes);
        let mut command = vec![binary.as_str(), "broker", "--data", &data, "--port", &port];
        command.extend(["--partitions", &partitions, "--topic-default", &segments]);
        Guarded::start(self.dir, &name(self.number), &command, &[])
    }

    /// Waits for the moment that is aimed at, and a little at random.
    fn approach(&mut self, aim: Aim, rng: &mut Rng, broker: &mut Guarded, load: &Load) -> Result<()> {
        let (plan, first) = (self.plan, load.progress().acknowledged);
        let slack_us = match aim {
            Aim::Start => {
                let typical = self.bed.start_time.as_micros() as u64;
                std::thread::sleep(Duration::from_micros(rng.below(typical.max(1))));
                return Ok(());
            }
            Aim::Ready => {
                self.ready(broker)?;
                15_000
            }
            Aim::Topic => {
                self.ready(broker)?;
                self.wait("the topic", broker, || load.progress().topic_is_known)?;
                4_000
            }
            Aim::Middle(thousandths) => {
                self.ready(broker)?;
                let goal = (first + (plan.records - first) * thousandths / 1_000).min(plan.records);
                self.wait("acknowledgements", broker, || {
                    let progress = load.progress();
                    progress.acknowledged >= goal || progress.is_over(plan)
                })?;
                3_000
            }
            Aim::End => {
                self.ready(broker)?;
                self.wait("all acknowledgements", broker, || load.progress().is_over(plan))?;
                3_000
            }
        };
        std::thread::sleep(Duration::from_micros(rng.below(slack_us)));
        Ok(())
    }

    /// What the kill that comes now hits.
    fn phase(&self, broker: &Guarded, progress: &Progress, acknowledged_before: u64) -> &'static str {
        let unacknowledged = progress.taken - progress.acknowledged.min(progress.taken);
        match (self.number, broker.output().contains(READY)) {
            (0, false) => EMPTY_START,
            (_, false) => RECOVERY,
            _ if !progress.topic_is_known => NO_TOPIC,
            _ if progress.is_over(self.plan) => DONE,
            _ if progress.acknowledged == 0 => FIRST_RECORDS,
            _ if self.number > 0 && progress.acknowledged == acknowledged_before => READY_AGAIN,
            _ if unacknowledged < MANY => FEW_OPEN,
            _ => MANY_OPEN,
        }
    }

    /// Waits until the broker can be used.
    fn ready(&mut self, broker: &mut Guarded) -> Result<()> {
        let (begin, log) = (Instant::now(), log_file(self.dir, self.number));
        let is_ready = || fs::read_to_string(&log).is_ok_and(|text| text.contains(READY));
        if !is_ready() {
            self.wait("the broker", broker, is_ready)?;
            self.bed.start_time = begin.elapsed();
        }
        Ok(())
    }

    fn wait(&self, what: &str, broker: &mut Guarded, ready: impl Fn() -> bool) -> Result<()> {
        let begin = Instant::now();
        while !ready() {
            self.bed.stop.check()?;
            if let Some(status) = broker.ended()? {
                anyhow::bail!("the broker ended by itself with {status}: {}", broker.output());
            }
            anyhow::ensure!(begin.elapsed() < PATIENCE, "{what}: not there after {PATIENCE:?}: {}", broker.output());
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// What the broker of this number is called in the run's folder.
fn name(number: usize) -> String {
    format!("broker-{number}")
}

fn log_file(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("{}.log", name(number)))
}

/// One to five kills, in an order in which they can come.
fn aims(rng: &mut Rng) -> Vec<Aim> {
    let mut aims = Vec::new();
    match rng.below(6) {
        0 => aims.push(Aim::Start),
        1 => aims.push(Aim::Ready),
        2 => aims.push(Aim::Topic),
        _ => {}
    }
    for _ in 0..rng.below(3) {
        aims.push(Aim::Middle(rng.below(900)));
        match rng.below(6) {
            0 | 1 => aims.push(Aim::Start),
            2 => aims.push(Aim::Ready),
            _ => {}
        }
    }
    if aims.is_empty() || rng.below(4) == 0 {
        aims.push(Aim::End);
    }
    aims
}
