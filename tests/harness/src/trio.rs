//! Three Apache Kafka brokers on the loopback, each its own controller too: for what one broker cannot show, such as leaders that die.

use crate::cluster::{format_storage, log_config};
use crate::{Guarded, Java, quiet_port, wait_for};
use anyhow::{Context, Result};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many brokers there are; their ids are 1, 2 and 3.
const BROKERS: usize = 3;
/// How long a broker may take to start on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(120);

/// Three brokers with three replicas of everything, two of which have to be in sync. A dead broker is noticed after three seconds.
#[derive(Debug)]
pub struct ApacheTrio {
    java: Java,
    nodes: Vec<Node>,
    /// Kept for its drop: removes the folder.
    _dir: tempfile::TempDir,
}

#[derive(Debug)]
struct Node {
    dir: PathBuf,
    port: u16,
    /// None while it is dead.
    process: Option<Guarded>,
}

impl ApacheTrio {
    /// Starts all three with further lines of `server.properties`, in which `{id}` stands for the broker's own, and waits until they answer.
    ///
    /// # Errors
    /// If they do not.
    pub fn start(java: &Java, properties: &[&str], features: &[String]) -> Result<Self> {
        let temporary = tempfile::tempdir()?;
        let mut ports = Vec::new();
        for _ in 0..BROKERS {
            ports.push((quiet_port()?, quiet_port()?));
        }
        let voters: Vec<String> =
            ports.iter().zip(1..).map(|((_, port), id)| format!("{id}@127.0.0.1:{port}")).collect();
        let mut nodes = Vec::new();
        for ((port, controller), id) in ports.into_iter().zip(1..) {
            let dir = temporary.path().join(format!("broker-{id}"));
            fs::create_dir_all(&dir)?;
            let text = server_properties(id, port, controller, &voters.join(","), &dir, properties);
            fs::write(dir.join("server.properties"), text)?;
            fs::write(dir.join("log4j2.properties"), log_config(&dir.join("server.log"), "WARN"))?;
            format_storage(java, &dir, features)?;
            nodes.push(Node { process: Some(launch(java, &dir)?), dir, port });
        }
        let mut trio = Self { java: java.clone(), nodes, _dir: temporary };
        for id in 1..=BROKERS {
            trio.answers(id)?;
        }
        Ok(trio)
    }

    /// All addresses, as `bootstrap.servers` wants them.
    pub fn addresses(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        addresses.join(",")
    }

    /// kill -9 of the broker with this id.
    ///
    /// # Errors
    /// If there is none, it is dead already, or the system does not say how it ended.
    pub fn kill(&mut self, id: i32) -> Result<()> {
        let node = self.node(id)?;
        node.process.take().context("the broker is dead already")?.kill()
    }

    /// Starts a broker again that was killed, without waiting for it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn restart(&mut self, id: i32) -> Result<()> {
        let java = self.java.clone();
        let node = self.node(id)?;
        node.process = Some(launch(&java, &node.dir)?);
        Ok(())
    }

    /// What a broker has logged, for whoever looks for a cause.
    pub fn log(&self, id: i32) -> String {
        let dir = usize::try_from(id - 1).ok().and_then(|at| self.nodes.get(at)).map(|node| &node.dir);
        dir.and_then(|dir| fs::read_to_string(dir.join("server.log")).ok()).unwrap_or_default()
    }

    fn node(&mut self, id: i32) -> Result<&mut Node> {
        let at = usize::try_from(id - 1).ok();
        at.and_then(|at| self.nodes.get_mut(at)).with_context(|| format!("there is no broker {id}"))
    }

    fn answers(&mut self, id: usize) -> Result<()> {
        let node = &mut self.nodes[id - 1];
        let (port, dir) = (node.port, node.dir.clone());
        wait_for("Apache Kafka's port", PATIENCE, || {
            let process = node.process.as_mut().context("the broker is dead")?;
            if let Some(status) = process.ended()? {
                anyhow::bail!("Apache Kafka ended with {status}: {}", process.output());
            }
            Ok(TcpStream::connect(("127.0.0.1", port)).is_ok())
        })
        .with_context(|| fs::read_to_string(dir.join("server.log")).unwrap_or_default())
    }
}

fn server_properties(id: usize, port: u16, controller: u16, voters: &str, dir: &Path, more: &[&str]) -> String {
    format!(
        "process.roles=broker,controller\nnode.id={id}\ncontroller.quorum.voters={voters}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\nlog.dirs={}\n\
         default.replication.factor=3\nmin.insync.replicas=2\nunclean.leader.election.enable=false\n\
         offsets.topic.replication.factor=3\noffsets.topic.num.partitions=3\n\
         transaction.state.log.replication.factor=3\ntransaction.state.log.min.isr=2\ntransaction.state.log.num.partitions=3\n\
         group.initial.rebalance.delay.ms=0\nshare.coordinator.state.topic.replication.factor=3\n\
         share.coordinator.state.topic.min.isr=2\nbroker.heartbeat.interval.ms=500\nbroker.session.timeout.ms=3000\n\
         controller.quorum.election.timeout.ms=500\ncontroller.quorum.fetch.timeout.ms=1500\nlog.segment.delete.delay.ms=1000\n{}\n",
        dir.join("data").display(),
        more.join("\n").replace("{id}", &id.to_string())
    )
}

fn launch(java: &Java, dir: &Path) -> Result<Guarded> {
    let properties = dir.join("server.properties").display().to_string();
    let logging = format!("-Dlog4j2.configurationFile={}", dir.join("log4j2.properties").display());
    let class_path = java.class_path();
    let command = [
        "java",
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        &class_path,
        &logging,
        "kafka.Kafka",
        &properties,
    ];
    Guarded::start(dir, "kafka", &command, &[])
}
