//! Kills brokers of Apache Kafka: three of them, three replicas, and the leader dies under a producer that waits for two of them.
//!
//! The brokers live as long as the bed; each run has a topic of its own, which goes when the run was sound. What dies is the leader of one of its partitions or,
//! under transactions, half the time the broker that coordinates them; it comes back after a while. [`Which`] client does the work makes no other difference, so
//! that librdkafka (feature `librdkafka`) is the control: what it loses as well is the brokers' doing.

mod check;
mod clients;
#[cfg(feature = "librdkafka")]
mod rival;
mod work;

pub use clients::Which;
pub use work::Scenario;

use self::clients::{Client, Ours};
use self::work::{Stage, Work};
use crate::{Rng, Stop, Tally};
use anyhow::{Context, Result};
use kurier_harness::{ApacheTrio, Java};
use kurier_kafka::admin::{Admin, AdminConfig};
use kurier_kafka::topic_log::NewTopic;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Partitions of a run's topic.
const PARTITIONS: i32 = 3;
/// How long a run may take on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often a moment is looked for.
const LOOK: Duration = Duration::from_micros(500);
/// After so long without a new stage it is looked whether the work goes on at all.
const LOOK_FOR_STAGE: Duration = Duration::from_millis(50);
/// How long the moment is looked for that was aimed at, before another one is taken.
const AIMING: Duration = Duration::from_secs(5);
/// Longest that a killed broker stays dead; beyond three seconds the others notice by themselves.
const DEAD_MS: u64 = 6_000;
/// How many unacknowledged records are many.
const MANY: u64 = 1_000;
/// Partitions of `__transaction_state` in the harness's cluster.
const TRANSACTION_PARTITIONS: i32 = 3;

/// What a kill may hit under a producer without transactions.
pub const IDEMPOTENT_PHASES: [&str; 4] = [FIRST, FEW, MANY_OPEN, DONE];
const FIRST: &str = "producing, nothing acknowledged yet";
const FEW: &str = "producing, fewer than 1000 records unacknowledged";
const MANY_OPEN: &str = "producing, 1000 and more records unacknowledged";
const DONE: &str = "all is acknowledged";

/// What a kill may hit under one with transactions.
pub const TRANSACTIONAL_PHASES: [&str; 8] = [
    "sending records of a transaction; the leader dies",
    "committing; the leader dies",
    "aborting; the leader dies",
    "between two transactions; the leader dies",
    "sending records of a transaction; the coordinator dies",
    "committing; the coordinator dies",
    "aborting; the coordinator dies",
    "between two transactions; the coordinator dies",
];

/// Runs against one cluster.
#[derive(Debug)]
pub struct Bed {
    trio: ApacheTrio,
    runtime: tokio::runtime::Runtime,
    scenario: Scenario,
    which: Which,
    records: u64,
    stop: Stop,
}

impl Bed {
    /// Starts the cluster. Each run sends so many records.
    ///
    /// # Errors
    /// If it does not start, or the client is not built in.
    pub fn start(java: &Java, scenario: Scenario, which: Which, records: u64, stop: Stop) -> Result<Self> {
        anyhow::ensure!(
            which == Which::Kurier || cfg!(feature = "librdkafka"),
            "build with the feature `librdkafka` to run the control"
        );
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let trio = ApacheTrio::start(java, &[], &[])?;
        Ok(Self { trio, runtime, scenario, which, records, stop })
    }

    /// The phases of a tally for this scenario.
    pub fn phases(scenario: Scenario) -> &'static [&'static str] {
        match scenario {
            Scenario::Idempotent => &IDEMPOTENT_PHASES,
            Scenario::Transactional => &TRANSACTIONAL_PHASES,
        }
    }

    /// One run with one kill; what it found goes into the tally.
    ///
    /// # Errors
    /// If something other than what is tested goes wrong, or the run was told to stop.
    pub fn run(&mut self, seed: u64, tally: &mut Tally) -> Result<()> {
        let mut rng = Rng::seeded(seed);
        let topic = format!("run-{seed}");
        let work = Work::new(self.scenario, topic.clone(), self.records, PARTITIONS, rng.next_u64());
        let address = self.trio.addresses();
        let properties = BTreeMap::from([("bootstrap.servers".to_owned(), address.clone())]);
        let admin = {
            let _inside = self.runtime.enter();
            Admin::new(AdminConfig::parse(&properties)?)
        };
        self.all_in_sync(&admin, None)?;
        let (name, config) = (topic.clone(), BTreeMap::new());
        let new = NewTopic { name, partitions: PARTITIONS, replication_factor: 3, config };
        self.runtime.block_on(admin.create_topic(&new))?;
        self.all_in_sync(&admin, Some(&topic))?;

        let mut client = self.client(&address, &work)?;
        let worker = {
            let work = Arc::clone(&work);
            std::thread::spawn(move || work.run(&mut *client))
        };
        let killed = self.kill_one(&mut rng, &admin, &work, &worker);
        if killed.is_err() {
            work.stop();
        }
        let deadline = Instant::now() + PATIENCE;
        while !worker.is_finished() {
            if self.stop.is_set() || Instant::now() > deadline {
                work.stop();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let outcome = worker.join().map_err(|_| anyhow::anyhow!("the client panicked"))?;
        let phase = killed?;
        self.stop.check()?;
        let story = format!("seed {seed} (killed while {phase})");
        let ends = work.ends();
        match outcome {
            Ok(()) => {
                let checked = self.runtime.block_on(check::check(&work, &admin, &address, &self.stop));
                match checked {
                    Ok((wrong, records)) => {
                        tally.violations.extend(wrong.iter().map(|wrong| format!("{story}: {wrong}")));
                        tally.records += records;
                        if wrong.is_empty() {
                            self.runtime.block_on(admin.delete_topics(&[&topic]))?;
                        }
                    }
                    Err(error) => {
                        self.stop.check()?;
                        tally.violations.push(format!("{story}: {error:#}"));
                    }
                }
            }
            Err(error) => tally.refused.push(format!(
                "{story}: {error:#} ({} of {} records acknowledged)",
                work.acknowledged(),
                work.records
            )),
        }
        if ends.failed > 0 {
            tally.note_failed(ends.failed, ends.reason.unwrap_or_default());
        }
        tally.count([phase]);
        Ok(())
    }

    fn client(&self, address: &str, work: &Work) -> Result<Box<dyn Client + Send>> {
        match self.which {
            Which::Kurier => Ok(Box::new(Ours::new(address, work, self.runtime.handle())?)),
            #[cfg(feature = "librdkafka")]
            Which::Librdkafka => Ok(Box::new(rival::Rival::new(address, work)?)),
            #[cfg(not(feature = "librdkafka"))]
            Which::Librdkafka => anyhow::bail!("the control is not built in"),
        }
    }

    /// Kills the broker of a moment, and starts it again after a while; answers what was hit.
    fn kill_one(
        &mut self,
        rng: &mut Rng,
        admin: &Admin,
        work: &Work,
        worker: &std::thread::JoinHandle<Result<()>>,
    ) -> Result<&'static str> {
        // The very beginning and the very end are as good moments as any other.
        let goal = match rng.below(8) {
            0 => self.records.saturating_sub(rng.below(2 * MANY)),
            1 => 0,
            _ => self.records * rng.below(1_000) / 1_000,
        };
        let aims = [Stage::Sending, Stage::Committing, Stage::Aborting, Stage::Between];
        let (aim, kills_coordinator) = (rng.pick(&aims), rng.below(2) == 0);
        let partition = rng.below(PARTITIONS as u64) as i32;
        // Looked up before the moment comes, which is over soon.
        let victim = match work.scenario {
            Scenario::Transactional if kills_coordinator => {
                let place = java_hash(&work.topic) % TRANSACTION_PARTITIONS;
                self.leader(admin, "__transaction_state", place)?
            }
            _ => self.leader(admin, &work.topic, partition)?,
        };
        self.wait_until(worker, PATIENCE, || match work.scenario {
            Scenario::Idempotent => work.taken() > 0 && work.acknowledged() >= goal,
            Scenario::Transactional => work.taken() >= goal,
        })?;
        if work.scenario == Scenario::Transactional {
            // Where none comes any more, another moment is as good.
            self.wait_until(worker, AIMING, || work.wait_for(aim, LOOK_FOR_STAGE))?;
        }
        // Most stages are over after some milliseconds, so half of the kills come at once.
        if rng.below(2) == 0 {
            std::thread::sleep(Duration::from_micros(rng.below(3_000)));
        }
        let (taken, acknowledged, stage) = (work.taken(), work.acknowledged(), work.stage());
        self.trio.kill(victim)?;
        let phase = match work.scenario {
            Scenario::Transactional => TRANSACTIONAL_PHASES[place_of(stage) + if kills_coordinator { 4 } else { 0 }],
            Scenario::Idempotent if acknowledged >= work.records => DONE,
            Scenario::Idempotent if acknowledged == 0 => FIRST,
            Scenario::Idempotent if taken - acknowledged.min(taken) < MANY => FEW,
            Scenario::Idempotent => MANY_OPEN,
        };
        std::thread::sleep(Duration::from_millis(rng.below(DEAD_MS)));
        self.trio.restart(victim)?;
        Ok(phase)
    }

    /// Waits for something, for the end of the work, or until the time is over.
    fn wait_until(
        &self,
        worker: &std::thread::JoinHandle<Result<()>>,
        patience: Duration,
        reached: impl Fn() -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !reached() && !worker.is_finished() && Instant::now() < deadline {
            self.stop.check()?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn leader(&self, admin: &Admin, topic: &str, partition: i32) -> Result<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.stop.check()?;
            let described = self.runtime.block_on(admin.describe_topics(&[topic]))?.remove(topic);
            let partitions = described.and_then(Result::ok).map(|topic| topic.partitions).unwrap_or_default();
            let found = partitions.iter().find(|found| found.partition == partition).and_then(|found| found.leader);
            if let Some(leader) = found {
                return Ok(leader);
            }
            anyhow::ensure!(Instant::now() < deadline, "nobody leads {topic}-{partition}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until every replica is in sync, of one topic or of all.
    fn all_in_sync(&self, admin: &Admin, topic: Option<&str>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.stop.check()?;
            if self.runtime.block_on(lagging(admin, topic)).is_ok_and(|lagging| lagging == 0) {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "replicas stay out of sync; broker 1 says {}", self.trio.log(1));
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// How many partitions miss a replica or a leader; brokers that are away count as well.
async fn lagging(admin: &Admin, topic: Option<&str>) -> Result<usize> {
    let cluster = admin.describe_cluster().await?;
    let mut lagging = 3_usize.saturating_sub(cluster.nodes.len());
    let names = match topic {
        Some(topic) => vec![topic.to_owned()],
        None => admin.list_topics().await?.into_iter().map(|topic| topic.name).collect(),
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if names.is_empty() {
        return Ok(lagging);
    }
    for described in admin.describe_topics(&names).await?.into_values() {
        let described = described.context("a topic cannot be described")?;
        let lags = |partition: &&kurier_kafka::admin::PartitionDescription| {
            partition.leader.is_none() || partition.in_sync.len() < 3
        };
        lagging += described.partitions.iter().filter(lags).count();
    }
    Ok(lagging)
}

fn place_of(stage: Stage) -> usize {
    match stage {
        Stage::Sending => 0,
        Stage::Committing => 1,
        Stage::Aborting => 2,
        Stage::Between => 3,
    }
}

/// Java's `String.hashCode`, made positive as `Utils.abs` does: the partition of a transactional id.
fn java_hash(text: &str) -> i32 {
    let hash = text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    if hash == i32::MIN { 0 } else { hash.abs() }
}
