//! Java Connect on the loopback, and the REST calls tests make to any worker.

use crate::cluster::log_config;
use crate::{Guarded, Java, free_port, wait_for};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// One Java Connect worker.
#[derive(Debug)]
pub struct JavaConnect {
    process: Guarded,
    port: u16,
    /// From exec to the first 200 of `GET /connectors`.
    pub ready: Duration,
}

impl JavaConnect {
    /// Starts a standalone worker with these lines of properties (listeners are added) and connector files.
    ///
    /// # Errors
    /// If it does not answer within two minutes.
    pub fn standalone(java: &Java, dir: &Path, properties: &str, connectors: &[&Path]) -> Result<Self> {
        Self::start(java, dir, "org.apache.kafka.connect.cli.ConnectStandalone", properties, connectors)
    }

    /// Starts a distributed worker.
    ///
    /// # Errors
    /// If it does not answer within two minutes.
    pub fn distributed(java: &Java, dir: &Path, properties: &str) -> Result<Self> {
        Self::start(java, dir, "org.apache.kafka.connect.cli.ConnectDistributed", properties, &[])
    }

    fn start(java: &Java, dir: &Path, main: &str, properties: &str, connectors: &[&Path]) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let port = free_port();
        let file = dir.join("worker.properties");
        fs::write(&file, format!("{properties}\nlisteners=http://127.0.0.1:{port}\n"))?;
        fs::write(dir.join("log4j2.properties"), log_config(&dir.join("connect.log"), "INFO"))?;
        let logging = format!("-Dlog4j2.configurationFile={}", dir.join("log4j2.properties").display());
        let (class_path, file) = (java.class_path(), file.display().to_string());
        let connectors: Vec<String> = connectors.iter().map(|c| c.display().to_string()).collect();
        let mut command = vec!["java", "-Xms256M", "-Xmx2G", "-XX:+UseG1GC", "-cp", &class_path, &logging, main, &file];
        command.extend(connectors.iter().map(String::as_str));
        let start = Instant::now();
        let mut process = Guarded::start(dir, "connect", &command, &[])?;
        wait_for("Java Connect's REST", Duration::from_secs(120), || {
            if let Some(status) = process.ended()? {
                anyhow::bail!("Java Connect ended with {status}: {}", process.output());
            }
            Ok(rest("GET", &format!("http://127.0.0.1:{port}/connectors"), None).is_ok_and(|(status, _)| status == 200))
        })
        .with_context(|| fs::read_to_string(dir.join("connect.log")).unwrap_or_default())?;
        Ok(Self { process, port, ready: start.elapsed() })
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Guarded {
        &mut self.process
    }

    /// Stops it as an operator would, so that it commits what it holds; kills it if it has not ended after half a minute.
    ///
    /// # Errors
    /// If the system does not say how it ended.
    pub fn stop(&mut self) -> Result<()> {
        self.process.terminate();
        // A worker that is stopped within a second of its start may wait in its own shutdown hooks for ever; its timers go on and commit what there is.
        if self.process.wait(Duration::from_secs(30)).is_err() {
            self.process.kill()?;
        }
        Ok(())
    }
}

/// One REST call: status and body, null where there is none or it is no JSON.
///
/// # Errors
/// If the worker cannot be reached.
pub fn rest(method: &str, url: &str, body: Option<&serde_json::Value>) -> Result<(u16, serde_json::Value)> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(100)))
        .build()
        .into();
    let request = ureq::http::Request::builder().method(method).uri(url);
    let mut response = match body {
        Some(body) => agent.run(request.header("content-type", "application/json").body(body.to_string())?)?,
        None => agent.run(request.body(())?)?,
    };
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string()?;
    Ok((status, serde_json::from_str(&text).unwrap_or(serde_json::Value::Null)))
}
