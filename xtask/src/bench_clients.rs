//! Our client beside librdkafka, and our broker beside Apache Kafka, on one machine in one run.
//!
//! Every measurement is a process of its own (`tests/clients`), so that its CPU time is that of the whole client, and clients take turns; the second
//! column of our own client is the control. A ratio means something only outside the band of the control.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kurier_harness::{ApacheKafka, BrokerOptions, Guarded, Java, free_port, wait_for};
use kurier_kafka::admin::{Admin, AdminConfig};
use serde_json::Value as Json;

use crate::build::{build_release, cargo, release_folder};
use crate::table::{Table, columns};

/// Command line.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Clients to measure, in turn: kurier, librdkafka
    #[arg(long, value_delimiter = ',', default_value = "librdkafka,kurier,kurier")]
    clients: Vec<String>,
    /// Brokers to measure on, one after the other: apache, kurier; the second of a kind is the control of the case `broker`
    #[arg(long, value_delimiter = ',', default_value = "apache,kurier,kurier")]
    brokers: Vec<String>,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Megabytes in each case
    #[arg(long, default_value_t = 400)]
    megabytes: u64,
    /// Clients that wait at the same time in the case `idle`
    #[arg(long, default_value_t = 200)]
    idle: usize,
    /// Cases: 100, 1000 (bytes of a record, not compressed), 100-lz4, 100-zstd, idle, broker; all if none is named
    cases: Vec<String>,
}

const CASES: [&str; 6] = ["100", "1000", "100-lz4", "100-zstd", "idle", "broker"];
/// What both clients are told. A megabyte a batch is librdkafka's own default.
const PRODUCER: [&str; 3] = ["batch.size=1000000", "linger.ms=5", "acks=all"];
/// librdkafka counts records as well, and would send smaller batches than it is told.
const RIVAL_PRODUCER: [&str; 2] = ["batch.num.messages=1000000", "enable.idempotence=true"];
/// How long one run of a client may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs the bench and prints its tables as Markdown.
pub(crate) fn run(args: &Args) -> Result<()> {
    let program = build(args)?;
    let cases: Vec<&str> =
        if args.cases.is_empty() { CASES.to_vec() } else { args.cases.iter().map(String::as_str).collect() };
    if let Some(unknown) = cases.iter().find(|case| !CASES.contains(case)) {
        bail!("there is no case `{unknown}`; there are {}", CASES.join(", "));
    }
    let (mut clients, mut brokers) = (Table::default(), Table::default());
    for round in 1..=args.rounds {
        for (kind, column) in args.brokers.iter().zip(columns(&args.brokers)) {
            if *kind != column && !cases.contains(&"broker") {
                continue;
            }
            let mut bed = Bed::start(kind, &program)?;
            if cases.contains(&"broker") {
                eprintln!("round {round}: the broker {column} at work");
                bed.broker_case(args, &column, &mut brokers)?;
            }
            if *kind != column {
                continue; // Clients have a control of their own.
            }
            for case in cases.iter().filter(|case| **case != "broker") {
                eprintln!("round {round}: {case} on {kind}");
                if *case == "idle" { bed.idle(args, &mut clients)? } else { bed.case(args, case, &mut clients)? }
            }
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{cores} cores, {} rounds, {} MB a run; median (smallest–largest), ratio to the first column\n",
        args.rounds, args.megabytes
    );
    println!("{}", clients.markdown(&columns(&args.clients)));
    println!("{}", brokers.markdown(&columns(&args.brokers)));
    Ok(())
}

/// Builds the clients, and our broker.
fn build(args: &Args) -> Result<PathBuf> {
    let mut build = cargo(&["build", "--release", "--locked", "--quiet", "--package", "kurier-clients"]);
    if args.clients.iter().any(|client| client == "librdkafka") {
        build.args(["--features", "librdkafka"]);
    }
    ensure!(build.status()?.success(), "the release build of the clients failed");
    if args.brokers.iter().any(|broker| broker == "kurier") {
        build_release()?;
    }
    Ok(release_folder().join("kurier-clients"))
}

/// A broker of either kind.
enum Broker {
    Apache(Box<ApacheKafka>),
    Kurier(Guarded),
}

/// What the clients of a round run on.
struct Bed<'a> {
    kind: String,
    program: &'a Path,
    broker: Broker,
    address: String,
    ready: Duration,
    admin: Admin,
    runtime: tokio::runtime::Runtime,
    topics: u32,
    /// Kept for its drop: removes the data.
    _folder: tempfile::TempDir,
}

impl<'a> Bed<'a> {
    fn start(kind: &str, program: &'a Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (broker, address, ready) = match kind {
            "apache" => {
                let java = Java::fetch("4.3.1").context("the bench needs a JDK and Maven")?;
                // What is deleted makes room at once: a run writes gigabytes.
                let properties = vec!["log.segment.delete.delay.ms=1000".to_owned()];
                let dir = Some(folder.path().join("apache"));
                let options = BrokerOptions { heap_mb: 1024, properties, dir, ..BrokerOptions::default() };
                let mut kafka = ApacheKafka::start_with(&java, options)?;
                // The first start formats the folder; an operator waits for the second.
                kafka.process().terminate();
                kafka.process().wait(Duration::from_secs(60))?;
                let start = Instant::now();
                kafka.restart()?;
                let address = kafka.address();
                wait_for("the broker's first answer", Duration::from_secs(30), || Ok(answers(&address)))?;
                (Broker::Apache(Box::new(kafka)), address, start.elapsed())
            }
            "kurier" => {
                let (binary, port) = (release_folder().join("kurier"), free_port());
                let (binary, data) = (binary.display().to_string(), folder.path().join("kurier").display().to_string());
                let command = [binary.as_str(), "broker", "--data", &data, "--port", &port.to_string()];
                let start = Instant::now();
                let mut process = Guarded::start(folder.path(), "broker", &command, &[])?;
                let address = format!("127.0.0.1:{port}");
                // Asked far more often than `wait_for` asks: it is ready before that would ask again.
                while !answers(&address) {
                    if let Some(status) = process.ended()? {
                        bail!("the broker ended with {status}: {}", process.output());
                    }
                    ensure!(start.elapsed() < Duration::from_secs(30), "the broker does not answer");
                    std::thread::sleep(Duration::from_millis(1));
                }
                (Broker::Kurier(process), address, start.elapsed())
            }
            other => bail!("there is no broker `{other}`; there are apache and kurier"),
        };
        let settings = BTreeMap::from([("bootstrap.servers".to_owned(), address.clone())]);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let admin = {
            let _inside = runtime.enter();
            Admin::new(AdminConfig::parse(&settings)?)
        };
        let kind = kind.to_owned();
        Ok(Self { kind, program, broker, address, ready, admin, runtime, topics: 0, _folder: folder })
    }

    fn process(&mut self) -> &mut Guarded {
        match &mut self.broker {
            Broker::Apache(kafka) => kafka.process(),
            Broker::Kurier(process) => process,
        }
    }

    fn new_topic(&mut self) -> String {
        self.topics += 1;
        format!("bench-{}", self.topics)
    }

    fn delete(&self, topic: &str) -> Result<()> {
        let outcomes = self.runtime.block_on(self.admin.delete_topics(&[topic]))?;
        for (_, outcome) in outcomes {
            outcome?;
        }
        Ok(())
    }

    /// Starts a client; its result comes with [`finish`].
    fn client(&self, client: &str, action: &str, topic: &str, more: &[String]) -> Result<std::process::Child> {
        let mut command = Command::new(self.program);
        command.args([client, action, &format!("bootstrap={}", self.address), &format!("topic={topic}")]).args(more);
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {}", self.program.display()))
    }

    fn produce(&self, client: &str, topic: &str, size: u64, records: u64, codec: &str) -> Result<std::process::Child> {
        let mut more = vec![format!("records={records}"), format!("size={size}"), format!("compression.type={codec}")];
        more.extend(PRODUCER.map(str::to_owned));
        if client == "librdkafka" {
            more.extend(RIVAL_PRODUCER.map(str::to_owned));
        }
        self.client(client, "produce", topic, &more)
    }

    /// One case: each client writes a topic of its own, and all read the last one.
    fn case(&mut self, args: &Args, case: &str, table: &mut Table) -> Result<()> {
        let (size, codec) = case.split_once('-').unwrap_or((case, "none"));
        let size: u64 = size.parse()?;
        let records = args.megabytes * 1_000_000 / size;
        let mut last = None;
        for (client, column) in args.clients.iter().zip(columns(&args.clients)) {
            let topic = self.new_topic();
            let figures = finish(self.produce(client, &topic, size, records, codec)?)?;
            let name = format!("produce {case}, {} broker", self.kind);
            note(table, &name, &column, &figures)?;
            if let Some(old) = last.replace(topic) {
                self.delete(&old)?;
            }
        }
        let topic = last.context("there is a client")?;
        for (client, column) in args.clients.iter().zip(columns(&args.clients)) {
            let figures = finish(self.client(client, "consume", &topic, &[format!("records={records}")])?)?;
            ensure!(figures["records"].as_u64() == Some(records), "{client} read {figures}");
            let name = format!("consume {case}, {} broker", self.kind);
            note(table, &name, &column, &figures)?;
        }
        self.delete(&topic)
    }

    /// Many clients that wait.
    fn idle(&mut self, args: &Args, table: &mut Table) -> Result<()> {
        let topic = self.new_topic();
        finish(self.produce("kurier", &topic, 100, 1, "none")?)?;
        for (client, column) in args.clients.iter().zip(columns(&args.clients)) {
            let more = [format!("clients={}", args.idle), "seconds=10".to_owned()];
            let figures = finish(self.client(client, "idle", &topic, &more)?)?;
            let case = format!("{} idle consumers, {} broker", args.idle, self.kind);
            for (what, value) in [
                ("MB", number(&figures, "resident_bytes")? / 1e6),
                ("threads", number(&figures, "threads")?),
                ("ms of CPU a second", number(&figures, "cpu_seconds")? / number(&figures, "seconds")? * 1e3),
            ] {
                table.note(&case, what, &column, value);
            }
        }
        self.delete(&topic)
    }

    /// What the broker itself needs: to start, when idle, and for one producer and one consumer of our own at the same time.
    fn broker_case(&mut self, args: &Args, column: &str, table: &mut Table) -> Result<()> {
        let ready = self.ready.as_secs_f64() * 1e3;
        let mut put = |what: &str, value: f64| table.note("broker", what, column, value);
        put("ms to the first ApiVersions", ready);
        std::thread::sleep(Duration::from_secs(3));
        put("idle MB", self.process().usage()?.resident as f64 / 1e6);
        let records = args.megabytes * 1_000_000 / 100;
        // A first pass warms the JVM up and is not counted.
        for counts in [false, true] {
            let topic = self.new_topic();
            finish(self.produce("kurier", &topic, 100, 1, "none")?)?;
            let (start, before) = (Instant::now(), self.process().usage()?.cpu);
            let reader = self.client("kurier", "consume", &topic, &[format!("records={}", records + 1)])?;
            let writer = self.produce("kurier", &topic, 100, records, "none")?;
            finish(writer)?;
            finish(reader)?;
            let (wall, cpu) = (start.elapsed(), self.process().usage()?.cpu.saturating_sub(before));
            if counts {
                put("rec/s, one producer and one consumer", records as f64 / wall.as_secs_f64());
                put("ms of CPU a million records", cpu.as_secs_f64() * 1e9 / records as f64);
                put("MB afterwards", self.process().usage()?.resident as f64 / 1e6);
            }
            self.delete(&topic)?;
        }
        Ok(())
    }
}

/// Whether a broker answers the question that every client asks first: `ApiVersions`, version 0, from nobody.
fn answers(address: &str) -> bool {
    const QUESTION: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(&QUESTION)?;
        let mut length_and_correlation = [0; 8];
        stream.read_exact(&mut length_and_correlation)?;
        std::io::Result::Ok(length_and_correlation[7] == 1)
    };
    ask().unwrap_or(false)
}

/// Waits for a client and reads its result.
fn finish(mut client: std::process::Child) -> Result<Json> {
    let start = Instant::now();
    while client.try_wait()?.is_none() {
        if start.elapsed() > PATIENCE {
            client.kill()?;
            bail!("a client was not done after {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = client.wait_with_output()?;
    ensure!(output.status.success(), "a client failed with {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    serde_json::from_str(text.lines().last().context("the client says nothing")?).context("the client's result is JSON")
}

fn number(figures: &Json, name: &str) -> Result<f64> {
    figures[name].as_f64().with_context(|| format!("there is no {name} in {figures}"))
}

fn note(table: &mut Table, case: &str, column: &str, figures: &Json) -> Result<()> {
    let (wall, core) = (number(figures, "records_per_second")?, number(figures, "records_per_core_second")?);
    eprintln!("  {case}: {column}: {wall:.0} rec/s, {core:.0} rec/core-s");
    for (what, value) in [("rec/s", wall), ("rec/core-s", core)] {
        table.note(case, what, column, value);
    }
    Ok(())
}
