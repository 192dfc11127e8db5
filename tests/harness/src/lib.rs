//! Starts what tests and benches need beside our own code: Apache Kafka, Java Connect, a Kerberos KDC, and the `kurier` binary, each on free loopback ports.
//!
//! Java parts come from Maven Central into a cache folder (`$KURIER_CACHE`, else `~/.cache/kurier`). Everything started here dies with the
//! process that started it, however that ends: see [`Guarded`].
#![allow(clippy::disallowed_methods, reason = "driver: starts processes, waits for ports")]

mod cluster;
mod connect;
mod guarded;
mod java;
mod kdc;
mod kurier;
mod ports;
mod trio;

pub use cluster::{ApacheKafka, BrokerOptions, console_consume, console_produce};
pub use connect::{JavaConnect, rest};
pub use guarded::{Guarded, Usage};
pub use java::{Java, cache_dir, compile_plugin, missing_java, say_skipped, skip_without_java};
pub use kdc::{Kdc, missing_kdc};
pub use kurier::{Kurier, kurier_binary, workspace_root};
pub use ports::{free_port, quiet_port};
pub use trio::ApacheTrio;

use std::time::{Duration, Instant};

/// Asks until the answer is yes; the reason names what was waited for.
///
/// # Errors
/// If the time-out passes.
pub fn wait_for(what: &str, timeout: Duration, mut ready: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = Instant::now();
    while !ready()? {
        anyhow::ensure!(start.elapsed() < timeout, "{what}: not so after {timeout:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
