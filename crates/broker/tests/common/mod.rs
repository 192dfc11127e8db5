//! What the tests from outside share.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::path::Path;

use anyhow::Result;
use kurier_broker::{Broker, BrokerConfig, RunningBroker};

/// A broker with a runtime of its own: the tools are processes, and waiting for them blocks.
pub struct Served {
    runtime: tokio::runtime::Runtime,
    broker: RunningBroker,
}

impl Served {
    /// Starts a broker over the folder.
    pub fn start(folder: &Path) -> Result<Self> {
        Self::start_at(folder, 0)
    }

    /// Starts a broker over the folder, at this port.
    pub fn start_at(folder: &Path, port: u16) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let broker = runtime.block_on(Broker::start(BrokerConfig { port, ..BrokerConfig::in_dir(folder) }))?;
        Ok(Self { runtime, broker })
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.broker.address().to_owned()
    }

    /// The port of that address.
    pub fn port(&self) -> u16 {
        self.broker.local_addr().port()
    }

    /// Stops it as it should be stopped.
    pub fn stop(self) -> Result<()> {
        Ok(self.runtime.block_on(self.broker.stop())?)
    }
}
