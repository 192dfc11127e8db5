//! `kurier standalone`: a worker of its own on a Kafka that is there already.

use super::Failure;
use crate::rest::LogLevel;
use crate::standalone::{self, Standalone};
use crate::{logging, process};
use clap::Args;
use kurier_runtime::config::standalone::StandaloneConfig;
use kurier_runtime::registry::Registry;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  kurier standalone connect-standalone.properties
  kurier standalone connect-standalone.properties connect-file-source.properties connect-file-sink.json

Files are read as Apache Kafka's connect-standalone.sh reads them. Connectors are created one after another; the first that
cannot be created ends the worker with exit code 3.";

/// Files of a worker and its connectors.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct StandaloneArgs {
    /// The worker's settings, a properties file.
    #[arg(value_name = "WORKER.PROPERTIES")]
    worker: PathBuf,
    /// Connectors to begin with: properties, or JSON as POST /connectors takes it.
    #[arg(value_name = "CONNECTOR")]
    connectors: Vec<PathBuf>,
}

/// Runs a worker until it is told to stop.
pub(super) fn run(args: &StandaloneArgs, plugins: Registry) -> Result<(), Failure> {
    logging::init(LogLevel::Info);
    let config = StandaloneConfig::read(&args.worker, &plugins)?;
    process::block_on(async {
        let mut stop = process::StopSignals::listen()?;
        let bound = standalone::bind(&config).await?;
        let started = tokio::select! {
            started = Standalone::start(&config, bound, plugins) => started?,
            () = stop.wait() => return Ok(()),
        };
        let created = tokio::select! {
            created = started.create(&args.connectors) => created.map_err(|error| Failure::connector(error.to_string())),
            () = stop.wait() => Ok(()),
        };
        if created.is_ok() {
            if let Some(address) = started.address() {
                tracing::info!("Kafka Connect started: REST on http://{address}");
            }
            for address in started.admin_addresses() {
                tracing::info!("/admin on http://{address}");
            }
            stop.wait().await;
        }
        tracing::info!("stopping; a second signal ends everything at once");
        stop.end_at_next();
        started.stop().await;
        created
    })
}
