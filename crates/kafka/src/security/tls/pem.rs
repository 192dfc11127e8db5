//! PEM: certificates and keys as text, in files or in the settings themselves.
//!
//! As in Java, whatever stands between the entries is skipped, line ends may be any white space (so a whole store fits on a line of properties), and headers
//! before the Base64 are ignored. Keys may also be in the older forms of OpenSSL, unencrypted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::stores::{KeyEntry, StoreError, Stored};

/// One `BEGIN … END`.
struct Entry<'a> {
    label: &'a str,
    headers: bool,
    bytes: Zeroizing<Vec<u8>>,
}

fn entries(text: &str) -> Result<Vec<Entry<'_>>, StoreError> {
    let (mut entries, mut rest) = (Vec::new(), text);
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----").ok_or(StoreError::Malformed)?;
        let (body, after) = after.split_once("-----END ").ok_or(StoreError::Malformed)?;
        let is_header = |line: &&str| line.contains(':');
        let base64 = body.lines().filter(|line| !is_header(line)).flat_map(str::split_whitespace);
        let base64 = Zeroizing::new(base64.collect::<String>());
        let bytes = Zeroizing::new(STANDARD.decode(base64.as_bytes()).map_err(|_| StoreError::Malformed)?);
        entries.push(Entry { label, headers: body.lines().any(|line| is_header(&line)), bytes });
        rest = after;
    }
    Ok(entries)
}

/// The certificates in a text; one at least.
pub(crate) fn certificates(text: &str) -> Result<Vec<Vec<u8>>, StoreError> {
    let found: Vec<Vec<u8>> = entries(text)?
        .into_iter()
        .filter(|entry| entry.label.ends_with("CERTIFICATE"))
        .map(|entry| entry.bytes.to_vec())
        .collect();
    if found.is_empty() { Err(StoreError::NoCertificate) } else { Ok(found) }
}

/// The one private key in a text, unencrypted.
fn private_key(text: &str, password: Option<&str>) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let mut keys: Vec<Entry<'_>> =
        entries(text)?.into_iter().filter(|entry| entry.label.ends_with("PRIVATE KEY")).collect();
    if keys.len() > 1 {
        return Err(StoreError::Unsupported(format!("it has {} private keys where one is expected", keys.len())));
    }
    let entry = keys.pop().ok_or(StoreError::NoKey)?;
    match (entry.label, password) {
        ("ENCRYPTED PRIVATE KEY", None) => Err(StoreError::NoKeyPassword),
        ("ENCRYPTED PRIVATE KEY", Some(password)) => {
            super::pkcs12::encrypted_key(&entry.bytes, password).map_err(|error| StoreError::from(error).of_key(""))
        }
        _ if entry.headers => Err(StoreError::Unsupported(
            "its key is encrypted in OpenSSL's old way; convert it with `openssl pkcs8 -topk8`".into(),
        )),
        (_, Some(_)) => Err(StoreError::Unsupported("its key is not encrypted; leave `ssl.key.password` out".into())),
        (_, None) => Ok(entry.bytes),
    }
}

/// A key and its certificates.
pub(crate) fn key_store(key: &str, chain: &str, password: Option<&str>) -> Result<Stored, StoreError> {
    let entry = KeyEntry { alias: "kafka".into(), key: private_key(key, password)?, chain: certificates(chain)? };
    Ok(Stored { keys: vec![entry], ..Stored::default() })
}
