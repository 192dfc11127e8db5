//! Apache Kafka on the loopback.

use crate::{Guarded, Java, free_port, wait_for};
use anyhow::{Context, Result};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// One KRaft broker, its own controller.
#[derive(Debug)]
pub struct ApacheKafka {
    java: Java,
    process: Guarded,
    port: u16,
    listeners: Vec<(String, u16)>,
    dir: PathBuf,
    options: BrokerOptions,
    /// Kept for its drop: removes the folder.
    _temporary: Option<tempfile::TempDir>,
}

/// How to start a broker.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// The largest heap in megabytes.
    pub heap_mb: u32,
    /// Further options of the JVM, as `-Dkey=value`.
    pub jvm: Vec<String>,
    /// Further lines of `server.properties`.
    pub properties: Vec<String>,
    /// Features that the storage is formatted with, as `transaction.version=0`; those not named are as new as they come.
    pub features: Vec<String>,
    /// Names and security protocols of further listeners, each on a free port.
    pub listeners: Vec<(String, String)>,
    /// The folder for data, kept; none for a temporary one.
    pub dir: Option<PathBuf>,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            heap_mb: 512,
            jvm: Vec::new(),
            properties: Vec::new(),
            features: Vec::new(),
            listeners: Vec::new(),
            dir: None,
        }
    }
}

impl ApacheKafka {
    /// Starts a broker with a temporary data folder and waits until it answers.
    ///
    /// # Errors
    /// If it does not.
    pub fn start(java: &Java) -> Result<Self> {
        Self::start_with(java, BrokerOptions::default())
    }

    /// Starts a broker and waits until it answers.
    ///
    /// # Errors
    /// If it does not.
    pub fn start_with(java: &Java, options: BrokerOptions) -> Result<Self> {
        let temporary = if options.dir.is_none() { Some(tempfile::tempdir()?) } else { None };
        let dir = match (&options.dir, &temporary) {
            (Some(dir), _) => dir.clone(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => unreachable!("a temporary folder was made above"),
        };
        fs::create_dir_all(&dir)?;
        let (port, controller) = (free_port(), free_port());
        let data = dir.join("data");
        let listeners: Vec<(String, u16)> =
            options.listeners.iter().map(|(name, _)| (name.clone(), free_port())).collect();
        let further: String = listeners.iter().map(|(name, port)| format!(",{name}://127.0.0.1:{port}")).collect();
        let protocols: String =
            options.listeners.iter().map(|(name, protocol)| format!(",{name}:{protocol}")).collect();
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{further}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}{further}\ncontroller.listener.names=CONTROLLER\nlog.dirs={}\n\
             num.partitions=1\noffsets.topic.replication.factor=1\noffsets.topic.num.partitions=5\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=5\n\
             group.initial.rebalance.delay.ms=0\nshare.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n{}\n",
            data.display(),
            options.properties.join("\n")
        );
        fs::write(dir.join("server.properties"), properties)?;
        fs::write(dir.join("log4j2.properties"), log_config(&dir.join("server.log"), "WARN"))?;
        if !data.join("meta.properties").exists() {
            format_storage(java, &dir, &options.features)?;
        }
        let process = Self::launch(java, &dir, port, &options)?;
        Ok(Self { java: java.clone(), process, port, listeners, dir, options, _temporary: temporary })
    }

    fn launch(java: &Java, dir: &Path, port: u16, options: &BrokerOptions) -> Result<Guarded> {
        let properties = dir.join("server.properties").display().to_string();
        let logging = format!("-Dlog4j2.configurationFile={}", dir.join("log4j2.properties").display());
        let class_path = java.class_path();
        let heap = format!("-Xmx{}m", options.heap_mb);
        let mut command = vec!["java", &heap, "-XX:+UseG1GC", "-cp", &class_path, &logging];
        command.extend(options.jvm.iter().map(String::as_str));
        command.extend(["kafka.Kafka", &properties]);
        let mut process = Guarded::start(dir, "kafka", &command, &[])?;
        wait_for("Apache Kafka's port", Duration::from_secs(90), || {
            if let Some(status) = process.ended()? {
                anyhow::bail!("Apache Kafka ended with {status}: {}", process.output());
            }
            Ok(TcpStream::connect(("127.0.0.1", port)).is_ok())
        })
        .with_context(|| fs::read_to_string(dir.join("server.log")).unwrap_or_default())?;
        Ok(process)
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where a further listener is.
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn listener(&self, name: &str) -> String {
        let listener = self.listeners.iter().find(|(known, _)| known == name);
        format!("127.0.0.1:{}", listener.expect("a listener that was asked for").1)
    }

    /// The process, for its CPU time and to kill it.
    pub fn process(&mut self) -> &mut Guarded {
        &mut self.process
    }

    /// Starts the broker again on its port and data, after it was killed.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process = Self::launch(&self.java, &self.dir, self.port, &self.options)?;
        Ok(())
    }

    /// Creates a topic by Kafka's own tool.
    ///
    /// # Errors
    /// If the tool fails.
    pub fn create_topic(&self, topic: &str, partitions: u32) -> Result<()> {
        let (address, partitions) = (self.address(), partitions.to_string());
        let args = ["--bootstrap-server", &address, "--create", "--topic", topic, "--partitions", &partitions];
        self.java.run("org.apache.kafka.tools.TopicCommand", &args, b"").map(drop)
    }

    /// Writes lines with Java's console producer.
    ///
    /// # Errors
    /// If the tool fails.
    pub fn console_produce(&self, topic: &str, lines: &str, options: &[&str]) -> Result<()> {
        console_produce(&self.java, &self.address(), topic, lines, options)
    }

    /// Reads with Java's console consumer from the beginning until `count` records came.
    ///
    /// # Errors
    /// If they do not come.
    pub fn console_consume(&self, topic: &str, count: usize, options: &[&str]) -> Result<Vec<String>> {
        console_consume(&self.java, &self.address(), topic, count, options)
    }
}

/// Prepares the data folder that `server.properties` in `dir` names.
pub(crate) fn format_storage(java: &Java, dir: &Path, features: &[String]) -> Result<()> {
    let properties = dir.join("server.properties").display().to_string();
    let logging = format!("-Dlog4j2.configurationFile={}", dir.join("log4j2.properties").display());
    let mut command = Command::new("java");
    command.args([
        "-Xmx256m",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        &java.class_path(),
        &logging,
        "kafka.tools.StorageTool",
    ]);
    command.args(["format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", &properties]);
    for feature in features {
        command.args(["--feature", feature]);
    }
    let output = command.output()?;
    anyhow::ensure!(output.status.success(), "StorageTool: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Writes lines with Java's console producer to any broker.
///
/// # Errors
/// If the tool fails.
pub fn console_produce(java: &Java, address: &str, topic: &str, lines: &str, options: &[&str]) -> Result<()> {
    let mut args = vec!["--bootstrap-server", address, "--topic", topic];
    args.extend(options);
    java.run("org.apache.kafka.tools.ConsoleProducer", &args, lines.as_bytes()).map(drop)
}

/// Reads with Java's console consumer from any broker.
///
/// # Errors
/// If `count` records do not come within half a minute.
pub fn console_consume(java: &Java, address: &str, topic: &str, count: usize, options: &[&str]) -> Result<Vec<String>> {
    let count = count.to_string();
    let mut args = vec![
        "--bootstrap-server",
        address,
        "--topic",
        topic,
        "--from-beginning",
        "--max-messages",
        &count,
        "--timeout-ms",
        "30000",
    ];
    args.extend(options);
    let text = java.run("org.apache.kafka.tools.consumer.ConsoleConsumer", &args, b"")?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// A log4j2 configuration that writes one file.
pub(crate) fn log_config(file: &Path, level: &str) -> String {
    format!(
        "rootLogger.level={level}\nrootLogger.appenderRef.f.ref=F\nappender.f.type=File\nappender.f.name=F\nappender.f.fileName={}\n\
         appender.f.layout.type=PatternLayout\nappender.f.layout.pattern=%d %p %c{{1}} %m%n\n",
        file.display()
    )
}
