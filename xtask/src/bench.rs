//! Kurier beside Java Connect on one machine in one run.
//!
//! Starts Apache Kafka and, in turn, each worker (Java, Java again as the control, Kurier) in standalone mode from the same properties. Every case runs twice
//! in a worker and only the second run counts: the JVM is warm by then. Truth is counted at the destination: offsets of the broker, lines of
//! a file, the sink's own count. CPU is that of the worker and its children. A ratio means something only outside the band of Java against Java.

use anyhow::{Context, Result, bail};
use kurier_harness::{
    ApacheKafka, Guarded, Java, JavaConnect, compile_plugin, free_port, rest, wait_for, workspace_root,
};
use kurier_kafka::admin::{Admin, AdminConfig};
use kurier_kafka::consumer::{Isolation, OffsetSpec, TopicPartition};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::build::{build_release, release_folder};
use crate::table::{Table, columns};

/// Command line.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Workers to measure, in turn: java (twice for the control), kurier, or the path of another build of Kurier with feature bench
    #[arg(long, value_delimiter = ',', default_value = "java,java,kurier")]
    workers: Vec<String>,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Records in each case
    #[arg(long, default_value_t = 2_000_000)]
    n: u64,
    /// Cases: gen-json, null-json, file-source-100, file-sink; all if none is named
    cases: Vec<String>,
}

const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";
const CASES: [&str; 4] = ["gen-json", "null-json", "file-source-100", "file-sink"];
/// The topic that sinks read.
const INPUT: &str = "bench-input";
/// How long one run of a case may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs the bench and prints the table as Markdown.
pub(crate) fn run(args: &Args) -> Result<()> {
    let java = Java::fetch("4.3.1").context("the bench needs a JDK and Maven")?;
    build_release()?;
    let folder = tempfile::tempdir()?;
    let plugin = folder.path().join("plugins/bench");
    compile_plugin(
        &java,
        &workspace_root().join("tests/java/bench"),
        &plugin,
        (&["kurierbench.GenSource"], &["kurierbench.NullSink"]),
    )?;
    let kafka = ApacheKafka::start(&java)?;
    let bed = Bed::new(&java, &kafka, folder.path(), args.n)?;
    let cases: Vec<&str> =
        if args.cases.is_empty() { CASES.to_vec() } else { args.cases.iter().map(String::as_str).collect() };
    let (mut table, columns) = (Table::default(), columns(&args.workers));
    for round in 1..=args.rounds {
        for (at, (kind, column)) in args.workers.iter().zip(&columns).enumerate() {
            eprintln!("round {round}: {column}");
            let dir = folder.path().join(format!("{round}-{at}"));
            let mut worker = Worker::start(&bed, kind, &dir)?;
            let mut note = |case: &str, what: &str, value: f64| table.note(case, what, column, value);
            note("start", "ready ms", worker.ready.as_secs_f64() * 1e3);
            std::thread::sleep(Duration::from_secs(3));
            note("start", "idle MB", worker.process().usage()?.resident as f64 / 1e6);
            for case in &cases {
                bed.case(&mut worker, case)?;
                let figures = bed.case(&mut worker, case)?;
                note(case, "rec/s", figures.per_second);
                note(case, "rec/core-s", figures.per_core_second);
                note(case, "peak MB", figures.peak_mb);
                eprintln!("  {case}: {:.0} rec/s, {:.0} rec/core-s", figures.per_second, figures.per_core_second);
            }
            worker.stop()?;
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{cores} cores, {} rounds, {} records; median (smallest–largest), ratio to the first column\n",
        args.rounds, args.n
    );
    println!("{}", table.markdown(&columns));
    Ok(())
}

/// What all workers share: broker, input, output.
struct Bed<'a> {
    java: &'a Java,
    address: String,
    folder: &'a Path,
    lines: PathBuf,
    n: u64,
    admin: Admin,
    runtime: tokio::runtime::Runtime,
}

/// What one run came to.
struct Figures {
    per_second: f64,
    per_core_second: f64,
    peak_mb: f64,
}

impl<'a> Bed<'a> {
    fn new(java: &'a Java, kafka: &ApacheKafka, folder: &'a Path, n: u64) -> Result<Self> {
        let address = kafka.address();
        let settings = BTreeMap::from([("bootstrap.servers".to_owned(), address.clone())]);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let admin = {
            let _inside = runtime.enter();
            Admin::new(AdminConfig::parse(&settings)?)
        };
        let lines = folder.join("lines-100.txt");
        let mut file = BufWriter::new(fs::File::create(&lines)?);
        for i in 0..n {
            writeln!(file, "{i:010} {}", "y".repeat(88))?;
        }
        file.flush()?;
        kafka.create_topic(INPUT, 1)?;
        let mut input = String::new();
        for i in 0..n {
            writeln!(input, r#"{{"id":{i},"name":"{}","price":{:.1},"ok":true}}"#, "x".repeat(60), i as f64 * 0.5)?;
        }
        kafka.console_produce(INPUT, &input, &["--batch-size", "200000", "--timeout", "50"])?;
        Ok(Self { java, address, folder, lines, n, admin, runtime })
    }

    /// Records in a topic.
    fn count(&self, topic: &str) -> Result<u64> {
        let partition = TopicPartition { topic: topic.into(), partition: 0 };
        let wanted = BTreeMap::from([(partition.clone(), OffsetSpec::End)]);
        let mut found = self.runtime.block_on(self.admin.list_offsets(&wanted, Isolation::ReadUncommitted))?;
        match found.remove(&partition) {
            Some(Ok(offset)) => Ok(u64::try_from(offset.offset).unwrap_or(0)),
            // The connector has not made it yet.
            _ => Ok(0),
        }
    }

    /// One run of one case.
    fn case(&self, worker: &mut Worker, case: &str) -> Result<Figures> {
        let number = worker.next_number();
        let topic = format!("bench-out-{}-{number}", worker.port);
        let output = self.folder.join(&topic);
        let n = self.n.to_string();
        let source =
            |class: &str, extra: Json| with(json!({"connector.class": class, "topic": topic, "tasks.max": "1"}), extra);
        let sink = |class: &str, extra: Json| {
            with(json!({"connector.class": class, "topics": INPUT, "tasks.max": "1"}), extra)
        };
        match case {
            "gen-json" => {
                let config = source("kurierbench.GenSource", json!({"records.total": n}));
                worker.measure(self.n, &config, || self.count(&topic))
            }
            "file-source-100" => {
                let file = json!({"file": self.lines, "value.converter": STRING});
                let config = source("org.apache.kafka.connect.file.FileStreamSourceConnector", file);
                worker.measure(self.n, &config, || self.count(&topic))
            }
            "null-json" => {
                let config = sink("kurierbench.NullSink", json!({"count.file": output, "expected": n}));
                let file = PathBuf::from(format!("{}.0", output.display()));
                worker.measure(self.n, &config, || {
                    let text = fs::read_to_string(&file).unwrap_or_default();
                    Ok(text.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0))
                })
            }
            "file-sink" => {
                let file = json!({"file": output, "value.converter": STRING});
                let config = sink("org.apache.kafka.connect.file.FileStreamSinkConnector", file);
                let mut lines = Lines::default();
                let figures = worker.measure(self.n, &config, || lines.count(&output));
                fs::remove_file(&output)?;
                figures
            }
            other => bail!("there is no case `{other}`; there are {}", CASES.join(", ")),
        }
    }
}

fn with(mut config: Json, extra: Json) -> Json {
    let more = extra.as_object().cloned().unwrap_or_else(Map::new);
    config.as_object_mut().into_iter().for_each(|object| object.extend(more.clone()));
    config
}

/// Counts the lines of a file that grows, reading every byte once.
#[derive(Default)]
struct Lines {
    read: u64,
    lines: u64,
}

impl Lines {
    fn count(&mut self, path: &Path) -> Result<u64> {
        use std::io::{Read, Seek, SeekFrom};
        let Ok(mut file) = fs::File::open(path) else { return Ok(0) };
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        self.read += bytes.len() as u64;
        self.lines += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        Ok(self.lines)
    }
}

/// A worker of either kind.
enum Process {
    Java(JavaConnect),
    Kurier(Guarded),
}

struct Worker {
    process: Process,
    url: String,
    port: u16,
    ready: Duration,
    runs: u32,
}

impl Worker {
    fn start(bed: &Bed<'_>, kind: &str, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let properties = format!(
            "bootstrap.servers={}\nplugin.path={}\nkey.converter={JSON}\nvalue.converter={JSON}\nkey.converter.schemas.enable=false\n\
             value.converter.schemas.enable=false\noffset.storage.file.filename={}\n",
            bed.address,
            bed.folder.join("plugins").display(),
            dir.join("offsets").display()
        );
        if kind == "java" {
            let worker = JavaConnect::standalone(bed.java, dir, &properties, &[])?;
            let (url, ready) = (worker.url(), worker.ready);
            let port = url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default();
            return Ok(Self { process: Process::Java(worker), url, port, ready, runs: 0 });
        }
        let binary = match kind {
            "kurier" => release_folder().join("kurier"),
            path if Path::new(path).is_file() => PathBuf::from(path),
            _ => bail!("there is no worker `{kind}`; there are java, kurier and the path of a build of Kurier"),
        };
        let port = free_port();
        let file = dir.join("worker.properties");
        fs::write(&file, format!("{properties}listeners=http://127.0.0.1:{port}\n"))?;
        let binary = binary.display().to_string();
        let start = Instant::now();
        let process = Guarded::start(dir, "kurier", &[&binary, "standalone", &file.display().to_string()], &[])?;
        let url = format!("http://127.0.0.1:{port}");
        wait_for("Kurier's REST", Duration::from_secs(30), || {
            Ok(rest("GET", &format!("{url}/connectors"), None).is_ok_and(|(status, _)| status == 200))
        })
        .with_context(|| process.output())?;
        Ok(Self { process: Process::Kurier(process), url, port, ready: start.elapsed(), runs: 0 })
    }

    fn process(&mut self) -> &mut Guarded {
        match &mut self.process {
            Process::Java(worker) => worker.process(),
            Process::Kurier(process) => process,
        }
    }

    fn next_number(&mut self) -> u32 {
        self.runs += 1;
        self.runs
    }

    /// Runs a connector until the destination has everything.
    fn measure(&mut self, n: u64, config: &Json, mut arrived: impl FnMut() -> Result<u64>) -> Result<Figures> {
        let connector = format!("{}/connectors/bench-{}-{}", self.url, self.port, self.runs);
        let (start, before, mut peak) = (Instant::now(), self.process().usage()?, 0);
        let (status, body) = rest("PUT", &format!("{connector}/config"), Some(config))?;
        anyhow::ensure!(matches!(status, 200 | 201), "the connector is refused: {status} {body}");
        loop {
            let count = arrived()?;
            peak = peak.max(self.process().usage()?.resident);
            if count >= n {
                anyhow::ensure!(count == n, "{count} records arrived, {n} were sent");
                break;
            }
            if start.elapsed() > PATIENCE {
                let (_, status) = rest("GET", &format!("{connector}/status"), None)?;
                bail!("{count} of {n} records after {PATIENCE:?}: {status}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let (wall, cpu) = (start.elapsed(), self.process().usage()?.cpu.saturating_sub(before.cpu));
        rest("DELETE", &connector, None)?;
        std::thread::sleep(Duration::from_secs(1));
        Ok(Figures {
            per_second: n as f64 / wall.as_secs_f64(),
            per_core_second: n as f64 / cpu.as_secs_f64().max(0.01),
            peak_mb: peak as f64 / 1e6,
        })
    }

    fn stop(mut self) -> Result<()> {
        let process = self.process();
        process.terminate();
        process.wait(Duration::from_secs(60)).map(drop)
    }
}
