//! `kurier dev`: a broker and a worker in one process, with connectors from files, watched until they are done.
//!
//! [`sample`] asks what is going on, [`view`] says it, [`files`] finds the connectors. Everything of a run is kept in one folder: records, committed
//! offsets of sinks (`broker/`) and of sources (`offsets`).
#![expect(clippy::disallowed_methods, reason = "driver: samples by the clock")]

mod files;
mod sample;
mod view;

use crate::cli::{Failure, Output, print};
use crate::process::StopSignals;
use crate::rest::{self, Bound, LogLevel};
use crate::standalone::{self, Standalone};
use crate::{logging, process, screen};
use kurier_api::config::Props;
use kurier_broker::{Broker, BrokerConfig, RunningBroker, StartError};
use kurier_kafka::admin::{Admin, AdminConfig};
use kurier_runtime::config::standalone::StandaloneConfig;
use kurier_runtime::registry::Registry;
use sample::{ConnectorSample, Sample};
use std::collections::BTreeMap;
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use view::{Line, Summary};

/// How often is looked.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// How often the table is redrawn; rates are those of this span.
const DRAW_EVERY: Duration = Duration::from_millis(500);
/// How often plain lines may come.
const LINES_EVERY: Duration = Duration::from_secs(2);
/// Offsets are committed so often, that the end is seen soon.
const FLUSH_INTERVAL_MS: &str = "250";
/// Where the broker's files are in the data folder.
const BROKER_FOLDER: &str = "broker";
/// The usual ports; others are taken where these are in use.
const BROKER_PORT: u16 = 9092;
const REST_PORT: u16 = 8083;
/// Columns of a terminal that does not say how many it has.
const DEFAULT_WIDTH: usize = 100;

/// What `kurier dev` is asked to do.
#[derive(Debug)]
pub(crate) struct DevOptions {
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) data: PathBuf,
    pub(crate) duration: Option<Duration>,
    pub(crate) until_idle: bool,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) output: Output,
}

/// Why the watching ended.
#[derive(Debug)]
enum End {
    Idle,
    /// The time is over; whether everything that can say so was idle.
    Duration {
        idle: bool,
    },
    Stopped,
    /// These sources cannot say whether they have read everything, and no time was given.
    Mute(Vec<String>),
    /// Connectors have failed: their sentences.
    Failed(Vec<String>),
}

/// Runs until it is done or told to stop.
pub(crate) fn run(options: &DevOptions, plugins: Registry) -> Result<(), Failure> {
    logging::init(LogLevel::Warn);
    let connectors = files::connectors(&options.paths)?;
    if connectors.is_empty() && options.until_idle {
        return Err(Failure::usage("--until-idle needs connectors: name their files, or a folder with them"));
    }
    process::block_on(async {
        let mut stop = StopSignals::listen()?;
        let broker = start_broker(&options.data).await?;
        let (config, bound) = worker_config(options, broker.address(), &plugins).await?;
        let worker = Standalone::start(&config, bound, plugins).await?;
        let say = Say { json: options.output == Output::Json };
        let rest = worker.address();
        say.line(&format!(
            "Kafka on {}, Connect on {}, data in {}. Ctrl-C stops.",
            broker.address(),
            rest.map_or_else(String::new, |address| format!("http://{address}")),
            options.data.display()
        ))?;
        let rest_port = rest.filter(|_| !chosen(options)).map(|address| address.port());
        for (usual, port) in [(BROKER_PORT, Some(broker.local_addr().port())), (REST_PORT, rest_port)] {
            if let Some(port) = port.filter(|port| *port != usual) {
                say.line(&format!("Port {usual} is in use; {port} was free."))?;
            }
        }
        let admin = Admin::new(AdminConfig::parse(&Props::from([(
            "bootstrap.servers".to_owned(),
            broker.address().to_owned(),
        )]))?);
        let mut watch = Watch { worker: &worker, admin: &admin, say: &say, busy: BTreeMap::new(), last: None };
        let created = tokio::select! {
            created = worker.create(&connectors) => created.map_err(|error| Failure::connector(error.to_string())),
            () = stop.wait() => Ok(()),
        };
        let ended = match created {
            Ok(()) => watch.run(options, &mut stop).await,
            Err(failure) => Err(failure),
        };
        let summary = watch.summary(options).await;
        stop.end_at_next();
        worker.stop().await;
        broker.stop().await?;
        finish(ended, summary?, options)
    })
}

/// Where the broker's files are in the data folder of `kurier dev` or `kurier broker`. Looking creates none.
pub(crate) fn broker_folder(data: &Path) -> Result<PathBuf, Failure> {
    let inside = data.join(BROKER_FOLDER);
    let folder = if inside.is_dir() { inside } else { data.to_owned() };
    if folder.is_dir() {
        return Ok(folder);
    }
    Err(Failure::new(format!("there is no data folder {}", data.display())))
}

/// The broker on its usual port, or on a free one where that is taken.
async fn start_broker(data: &Path) -> Result<RunningBroker, Failure> {
    let config = BrokerConfig { port: BROKER_PORT, ..BrokerConfig::in_dir(data.join(BROKER_FOLDER)) };
    let started = match Broker::start(config.clone()).await {
        Err(StartError::Listen { source, .. }) if source.kind() == ErrorKind::AddrInUse => {
            Broker::start(BrokerConfig { port: 0, ..config }).await
        }
        other => other,
    };
    Ok(started?)
}

/// Whether the operator says where REST listens.
fn chosen(options: &DevOptions) -> bool {
    options.settings.iter().any(|(key, _)| key == "listeners")
}

/// The worker's settings, and REST's port: the usual one, or a free one where that is taken.
async fn worker_config(
    options: &DevOptions,
    broker: &str,
    plugins: &Registry,
) -> Result<(StandaloneConfig, Bound), Failure> {
    let offsets = options.data.join("offsets").display().to_string();
    let mut props: Props = [
        ("bootstrap.servers", broker),
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("value.converter.schemas.enable", "false"),
        ("offset.storage.file.filename", &offsets),
        ("offset.flush.interval.ms", FLUSH_INTERVAL_MS),
        // A run that was killed leaves its sinks in their groups; the next one waits for them to be given up, which by default takes 45 s.
        ("consumer.session.timeout.ms", "6000"),
        ("consumer.heartbeat.interval.ms", "2000"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    props.extend(options.settings.iter().cloned());
    if chosen(options) {
        let config = StandaloneConfig::parse(props, plugins)?;
        let bound = standalone::bind(&config).await?;
        return Ok((config, bound));
    }
    let on = |port: u16| {
        let mut props = props.clone();
        props.insert("listeners".to_owned(), format!("http://127.0.0.1:{port}"));
        StandaloneConfig::parse(props, plugins)
    };
    let usual = on(REST_PORT)?;
    match rest::bind(standalone::rest_config(&usual)?).await {
        Ok(bound) => return Ok((usual, bound)),
        Err(error) if error.is_in_use() => {}
        Err(error) => return Err(error.into()),
    }
    let free = on(0)?;
    let bound = standalone::bind(&free).await?;
    Ok((free, bound))
}

/// Says things on the way: to stdout, unless that is for the JSON at the end.
struct Say {
    json: bool,
}

impl Say {
    fn line(&self, text: &str) -> Result<(), Failure> {
        self.lines(&format!("{text}\n"))
    }

    fn lines(&self, text: &str) -> Result<(), Failure> {
        if !self.json {
            return print(text);
        }
        use std::io::Write;
        std::io::stderr()
            .write_all(text.as_bytes())
            .map_err(|error| Failure::new(format!("cannot write to stderr: {error}")))
    }

    fn draws(&self) -> bool {
        !self.json && std::io::stdout().is_terminal()
    }
}

/// Watches connectors.
struct Watch<'a> {
    worker: &'a Standalone,
    admin: &'a Admin,
    say: &'a Say,
    /// When each connector's first and last records came.
    busy: BTreeMap<String, (Instant, Instant)>,
    last: Option<Sample>,
}

impl Watch<'_> {
    /// Until idle, failed, over, or stopped.
    async fn run(&mut self, options: &DevOptions, stop: &mut StopSignals) -> Result<End, Failure> {
        let until = options.duration.map(|duration| Instant::now() + duration);
        let draws = self.say.draws();
        let every = if draws { DRAW_EVERY } else { LINES_EVERY };
        let mut shown: Option<Sample> = None;
        let mut quiet: Option<Sample> = None;
        let mut told_mute = false;
        let end = loop {
            let sample = self.look().await?;
            let due = shown.as_ref().is_none_or(|shown| sample.at.duration_since(shown.at) >= every);
            if due {
                self.show(&sample, shown.as_ref(), draws)?;
                shown = Some(sample.clone());
            }
            let rest_is_idle = sample.rest_is_idle();
            if options.until_idle {
                let failed: Vec<String> = sample.failed().map(failure_of).collect();
                if !failed.is_empty() {
                    break End::Failed(failed);
                }
                let mute = sample.mute();
                if !mute.is_empty() {
                    if until.is_none() {
                        break End::Mute(mute);
                    }
                    if !told_mute {
                        told_mute = true;
                        self.say.line(&format!("{}: --duration ends this run.", cannot_say(&mute)))?;
                    }
                }
                // Twice with nothing between: what a source has just written, a sink may not yet know of.
                if sample.is_idle() && quiet.as_ref().is_some_and(|quiet| same_counts(quiet, &sample)) {
                    if self.sinks_are_done(&sample).await? {
                        break End::Idle;
                    }
                    quiet = None;
                } else {
                    quiet = Some(sample).filter(Sample::is_idle);
                }
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                break End::Duration { idle: rest_is_idle };
            }
            tokio::select! {
                () = stop.wait() => break End::Stopped,
                () = tokio::time::sleep(SAMPLE_EVERY) => {}
            }
        };
        let last = self.look().await?;
        self.show(&last, shown.as_ref(), draws)?;
        screen::leave();
        Ok(end)
    }

    async fn look(&mut self) -> Result<Sample, Failure> {
        let sample = Sample::take(self.worker).await?;
        for connector in sample.connectors.iter().filter(|connector| connector.records > 0) {
            let before = self.last.as_ref().and_then(|s| s.connectors.iter().find(|c| c.name == connector.name));
            if before.is_some_and(|before| before.records == connector.records) {
                continue;
            }
            // Work that shows now may have begun right after the last look.
            let began = self.last.as_ref().map_or(sample.at, |last| last.at);
            self.busy.entry(connector.name.clone()).or_insert((began, sample.at)).1 = sample.at;
        }
        self.last = Some(sample.clone());
        Ok(sample)
    }

    fn show(&self, sample: &Sample, before: Option<&Sample>, draws: bool) -> Result<(), Failure> {
        if draws {
            let width = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| usize::from(size.ws_col));
            let width = if width == 0 { DEFAULT_WIDTH } else { width };
            return Ok(screen::draw(&view::live(sample, before, width))?);
        }
        self.say.lines(&view::changes(sample, before))
    }

    /// Whether every sink has committed all that is in its topics.
    async fn sinks_are_done(&self, sample: &Sample) -> Result<bool, Failure> {
        use kurier_runtime::herder::request::ConnectorType::Sink;
        for sink in sample.connectors.iter().filter(|connector| connector.kind == Sink) {
            if sample::lag(self.admin, sink).await? > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn summary(&self, options: &DevOptions) -> Result<Summary, Failure> {
        let samples = self.last.iter().flat_map(|last| &last.connectors);
        let connectors = samples
            .map(|sample| {
                let busy = self.busy.get(&sample.name).map_or(Duration::ZERO, |(from, to)| to.duration_since(*from));
                Line { sample: sample.clone(), busy }
            })
            .collect();
        let topics = sample::topics(self.admin).await?;
        let program = std::env::args().next().unwrap_or_else(|| "kurier".to_owned());
        Ok(Summary {
            connectors,
            topics,
            program: view::quoted(&program),
            data: view::quoted(&options.data.display().to_string()),
        })
    }
}

fn failure_of(connector: &ConnectorSample) -> String {
    let why = connector.error.as_deref().unwrap_or("it did not say why");
    format!("{} has failed: {why}", connector.name)
}

fn cannot_say(names: &[String]) -> String {
    format!("{} cannot say whether everything is read", names.join(", "))
}

fn same_counts(a: &Sample, b: &Sample) -> bool {
    let counts = |sample: &Sample| -> Vec<_> {
        sample.connectors.iter().map(|c| (c.name.clone(), c.records, c.failed, c.tasks.len())).collect()
    };
    counts(a) == counts(b)
}

/// The last screen and the exit code.
fn finish(ended: Result<End, Failure>, summary: Summary, options: &DevOptions) -> Result<(), Failure> {
    let end = ended?;
    match options.output {
        Output::Text => print(&summary.text())?,
        Output::Json => print(&format!("{:#}\n", summary.json()))?,
    }
    match end {
        End::Failed(failures) => Err(Failure::connector(failures.join("\n"))),
        End::Mute(names) => {
            Err(Failure::usage(format!("{}, so --until-idle would never end; give --duration too", cannot_say(&names))))
        }
        End::Duration { idle: false } if options.until_idle => {
            Err(Failure::new("the time given with --duration was over before everything was idle"))
        }
        End::Idle | End::Duration { .. } | End::Stopped => Ok(()),
    }
}
