//! `kurier broker`: the embedded broker alone.

use super::Failure;
use crate::rest::LogLevel;
use crate::{logging, process};
use clap::Args;
use kurier_broker::{Broker, BrokerConfig, Data};
use kurier_runtime::config::standalone::read_properties;
use kurier_runtime::worker::raise_open_files;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  kurier broker                                    in memory, on localhost:9092
  kurier broker --data kafka-data --port 9093      on disk; found again at the next start
  kurier broker --topic-default retention.ms=3600000
  kurier broker --config server.properties         Kafka's names: listeners, ssl.*, log.dirs, …

It is one node without replication, for development and tests.";

/// Settings of the broker.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct BrokerArgs {
    /// A file with Apache Kafka's broker settings, for several listeners and TLS; instead of the other options.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "host", "port", "advertised_host", "partitions", "no_auto_create", "topic_default"])]
    config: Option<PathBuf>,
    /// Folder for the data; without it everything is kept in memory and gone at the end.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    host: String,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 9092, value_name = "PORT")]
    port: u16,
    /// Host name that clients are told to connect to, where it differs from --host.
    #[arg(long, value_name = "HOST")]
    advertised_host: Option<String>,
    /// Partitions of topics that are created without a number.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Refuse unknown topics instead of creating them.
    #[arg(long)]
    no_auto_create: bool,
    /// A topic config for all topics; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::key_value)]
    topic_default: Vec<(String, String)>,
}

impl BrokerArgs {
    fn config(self) -> Result<BrokerConfig, Failure> {
        if let Some(file) = &self.config {
            return from_file(file);
        }
        Ok(BrokerConfig {
            host: self.host,
            port: self.port,
            advertised_host: self.advertised_host,
            data: self.data.map_or(Data::Memory, Data::Dir),
            num_partitions: self.partitions,
            auto_create_topics: !self.no_auto_create,
            topic_defaults: self.topic_default,
            ..BrokerConfig::default()
        })
    }
}

/// Reads a file with Kafka's names; keys without an effect are a warning.
fn from_file(file: &Path) -> Result<BrokerConfig, Failure> {
    let properties = read_properties(file)?.into_iter().collect();
    let (config, unused) = BrokerConfig::from_properties(&properties)
        .map_err(|problems| Failure::new(format!("{}: {}", file.display(), problems.join("\n"))))?;
    if !unused.is_empty() {
        tracing::warn!("{}: these settings have no effect in this broker: {}", file.display(), unused.join(", "));
    }
    Ok(config)
}

/// Runs a broker until it is told to stop.
pub(super) fn run(args: BrokerArgs) -> Result<(), Failure> {
    logging::init(LogLevel::Info);
    take_small_pages();
    // A connection is an open file, as a partition is that is written to.
    raise_open_files();
    process::block_on(async {
        let mut stop = process::StopSignals::listen()?;
        let config = args.config()?;
        let place = match &config.data {
            Data::Memory => "in memory".to_owned(),
            Data::Dir(folder) => format!("in {}", folder.display()),
        };
        let broker = Broker::start(config).await.map_err(|error| match error {
            kurier_broker::StartError::Listen { .. } => Failure::new(format!("{error} (--port)")),
            error => error.into(),
        })?;
        let addresses: Vec<&str> = broker.addresses().map(|(_, address)| address).collect();
        super::print(&format!("Broker on {}, data {place}; Ctrl-C stops it.\n", addresses.join(" and ")))?;
        stop.wait().await;
        Ok(broker.stop().await?)
    })
}

/// Takes memory in small pages: with huge ones each thread holds two megabytes of which it uses little, and batches come and go no faster.
fn take_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!("cannot do without huge pages: {error}");
    }
}
