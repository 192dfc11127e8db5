//! The smallest HTTP client that sends what it is told, byte for byte.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body as text.
    pub text: String,
}

/// Longer than any answer may take.
const TIMEOUT: Duration = Duration::from_secs(100);

/// Sends one request on a connection of its own and reads its answer to the end. `base` is `http://host:port`.
///
/// # Errors
/// If there is no complete answer.
pub fn send(method: &str, base: &str, path: &str, headers: &[(String, String)], body: Option<&[u8]>) -> Result<Answer> {
    let host = base.strip_prefix("http://").context("an http URL")?.trim_end_matches('/');
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match body {
        Some(body) => head.push_str(&format!("Content-Length: {}\r\n", body.len())),
        None if matches!(method, "POST" | "PUT" | "PATCH") => head.push_str("Content-Length: 0\r\n"),
        None => {}
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.unwrap_or_default())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").context("the answer has no head")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|l| l.split(' ').nth(1)?.parse().ok()).context("the answer has no status")?;
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = &bytes[end + 4..];
    ensure!(!headers.contains_key("transfer-encoding"), "the worker sends answers as a whole");
    let length = headers.get("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
    ensure!(method == "HEAD" || body.len() == length, "the body has {} bytes instead of {length}", body.len());
    Ok(Answer { status, headers, text: String::from_utf8_lossy(body).into_owned() })
}
