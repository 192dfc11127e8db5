//! Whether a certificate is for the host that was asked for: Java's rules for `ssl.endpoint.identification.algorithm`.
//!
//! An address is looked for among the certificate's addresses only. A name is looked for among its DNS names, and in the common name of the subject only if
//! it has no DNS name at all. A wildcard stands for a part of one label; under `https` in any label, under `LDAPS` as the whole first label.

use std::net::IpAddr;

use super::x509::{Certificate, GeneralName};

/// `ssl.endpoint.identification.algorithm`, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identification {
    Https,
    Ldaps,
}

/// Says why a certificate is not for `host`. `is_public` forbids wildcards over whole top-level domains.
pub(crate) fn check(certificate: &Certificate, host: &str, how: Identification, is_public: bool) -> Result<(), String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        let Some(names) = &certificate.alternatives else {
            return Err("No subject alternative names present".to_owned());
        };
        if names.contains(&GeneralName::Ip(address)) {
            return Ok(());
        }
        return Err(format!("No subject alternative names matching IP address {host} found"));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let names = certificate.alternatives.as_deref().unwrap_or_default();
    let mut dns =
        names.iter().filter_map(|name| if let GeneralName::Dns(name) = name { Some(name) } else { None }).peekable();
    if dns.peek().is_some() {
        if dns.any(|name| is_match(host, name, how, is_public)) {
            return Ok(());
        }
        return Err(format!("No subject alternative DNS name matching {host} found."));
    }
    match &certificate.common_name {
        Some(name) if is_match(host, name, how, is_public) => Ok(()),
        _ => Err(format!("No name matching {host} found")),
    }
}

fn is_match(host: &str, pattern: &str, how: Identification, is_public: bool) -> bool {
    let (host, pattern) = (host.to_ascii_lowercase(), pattern.to_ascii_lowercase());
    if let Some((_, after)) = pattern.rsplit_once('*') {
        let Some((_, domain)) = after.split_once('.') else { return false };
        if domain.is_empty() || (is_public && !domain.contains('.')) {
            return false;
        }
    }
    let (hosts, patterns): (Vec<&str>, Vec<&str>) = (host.split('.').collect(), pattern.split('.').collect());
    if hosts.len() != patterns.len() {
        return false;
    }
    let mut labels = hosts.iter().zip(&patterns);
    match how {
        Identification::Https => labels.all(|(host, pattern)| matches_label(host, pattern)),
        Identification::Ldaps => {
            labels.next().is_some_and(|(host, pattern)| *pattern == "*" || host == pattern)
                && labels.all(|(host, pattern)| host == pattern)
        }
    }
}

/// Whether a label is what a pattern with any number of wildcards says.
fn matches_label(label: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return label == pattern };
    let Some(mut label) = label.strip_prefix(start) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return label.ends_with(part);
        }
        let Some((_, after)) = label.split_once(part) else { return false };
        label = after;
    }
    false
}
