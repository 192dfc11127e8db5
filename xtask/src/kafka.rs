//! Apache Kafka, and Java Connect beside it, for trying things by hand.

use anyhow::Result;
use kurier_harness::{ApacheKafka, BrokerOptions, Java, JavaConnect};
use std::path::PathBuf;

/// What to start.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Version of Apache Kafka
    #[arg(long, default_value = "4.3.1")]
    version: String,
    /// Also start a Java Connect worker: `standalone` or `distributed`
    #[arg(long, value_parser = ["standalone", "distributed"])]
    connect: Option<String>,
    /// Folder for the data, kept; a temporary one if not given
    #[arg(long)]
    data: Option<PathBuf>,
    /// Only fetch the jars
    #[arg(long)]
    fetch_only: bool,
}

/// Starts it all and waits for Ctrl-C or the end of standard input.
pub(crate) fn run(args: &Args) -> Result<()> {
    let java = Java::fetch(&args.version)?;
    if args.fetch_only {
        println!("{}", java.class_path());
        return Ok(());
    }
    let kafka = ApacheKafka::start_with(&java, BrokerOptions { dir: args.data.clone(), ..BrokerOptions::default() })?;
    println!("Apache Kafka {} at {}", java.version(), kafka.address());
    let dir = tempfile::tempdir()?;
    let json = "org.apache.kafka.connect.json.JsonConverter";
    let common = format!("bootstrap.servers={}\nkey.converter={json}\nvalue.converter={json}\n", kafka.address());
    let connect = match args.connect.as_deref() {
        Some("standalone") => {
            let properties = format!("{common}offset.storage.file.filename={}\n", dir.path().join("offsets").display());
            Some(JavaConnect::standalone(&java, dir.path(), &properties, &[])?)
        }
        Some(_) => {
            let topics: String = ["config", "offset", "status"]
                .iter()
                .map(|t| format!("{t}.storage.topic=connect-{t}\n{t}.storage.replication.factor=1\n"))
                .collect();
            Some(JavaConnect::distributed(&java, dir.path(), &format!("{common}group.id=connect\n{topics}"))?)
        }
        None => None,
    };
    if let Some(connect) = &connect {
        println!("Java Connect at {}", connect.url());
    }
    println!("Ctrl-C stops everything.");
    // Ctrl-C ends this process, and with it whatever it started; see `kurier_harness::Guarded`.
    loop {
        std::thread::park();
    }
}
