//! `ssl.*` under Java's names, for clients and for listeners.
//!
//! What names a class or a part of the JVM has a meaning here only if it is Java's default or comes to the same; everything else is refused, because whoever set it
//! wanted something that would not happen.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};
use zeroize::Zeroizing;

use super::hostname::Identification;
use super::identity::Identity;
use super::path::Anchors;
use super::stores::{self, StoreError, StoreType, Stored};
use super::x509::Certificate;

/// Every key of a client.
pub(crate) const KEYS: &[&str] = &[
    "ssl.cipher.suites",
    "ssl.enabled.protocols",
    "ssl.endpoint.identification.algorithm",
    "ssl.engine.factory.class",
    "ssl.key.password",
    "ssl.keymanager.algorithm",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.protocol",
    "ssl.provider",
    "ssl.secure.random.implementation",
    "ssl.trustmanager.algorithm",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// Keys that choose a part of the JVM, and the values that choose nothing.
const HARMLESS: &[(&str, &[&str])] = &[
    ("ssl.engine.factory.class", &["org.apache.kafka.common.security.ssl.DefaultSslEngineFactory"]),
    ("ssl.provider", &["SunJSSE"]),
    ("ssl.keymanager.algorithm", &["SunX509", "NewSunX509", "PKIX"]),
    ("ssl.trustmanager.algorithm", &["PKIX", "SunX509", "SunPKIX", "X509", "X.509"]),
    (
        "ssl.secure.random.implementation",
        &["NativePRNG", "NativePRNGBlocking", "NativePRNGNonBlocking", "SHA1PRNG", "DRBG"],
    ),
    ("ssl.protocol", &["TLS", "TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1", "SSL", "SSLv3", "SSLv2"]),
];

/// Versions that Java's own defaults forbid.
const OLD_VERSIONS: &[&str] = &["SSLv2Hello", "SSLv3", "TLSv1", "TLSv1.1"];
/// The largest store that is read.
const LARGEST: u64 = 16 << 20;

/// What both sides of TLS have in common.
pub(crate) struct TlsSettings {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    pub(crate) identity: Option<Identity>,
    /// The trust store, if one was given.
    pub(crate) anchors: Option<Anchors>,
    pub(crate) identification: Option<Identification>,
}

impl TlsSettings {
    /// Reads them; what is wrong is added to `problems`.
    pub(crate) fn read(
        properties: &BTreeMap<String, String>,
        written: Written<'_>,
        problems: &mut Vec<String>,
    ) -> Option<Self> {
        let before = problems.len();
        let mut reading = Reading { properties, written, problems };
        for (key, values) in HARMLESS {
            reading.check_harmless(key, values);
        }
        let (provider, versions) = reading.versions();
        let identification = reading.identification();
        let provider = Arc::new(provider);
        let identity = reading.identity(&provider).unwrap_or_else(|problem| {
            reading.problems.push(problem);
            None
        });
        let anchors = reading.anchors().unwrap_or_else(|problem| {
            reading.problems.push(problem);
            None
        });
        (problems.len() == before).then_some(Self { provider, versions, identity, anchors, identification })
    }
}

/// The name under which the user wrote a key.
pub(crate) type Written<'a> = &'a dyn Fn(&str) -> String;

struct Reading<'a> {
    properties: &'a BTreeMap<String, String>,
    written: Written<'a>,
    problems: &'a mut Vec<String>,
}

impl<'a> Reading<'a> {
    fn text(&self, key: &str) -> Option<&'a str> {
        self.properties.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn list(&self, key: &str) -> Option<Vec<&'a str>> {
        self.text(key).map(|text| text.split(',').map(str::trim).collect())
    }

    fn refuse(&mut self, key: &str, value: &str, why: &str) {
        let key = (self.written)(key);
        self.problems.push(format!("Invalid value {value} for configuration {key}: {why}"));
    }

    fn check_harmless(&mut self, key: &str, values: &[&str]) {
        let Some(text) = self.text(key) else { return };
        if values.iter().any(|value| value.eq_ignore_ascii_case(text)) {
            return;
        }
        let why = match values {
            [one] => format!("Kurier has its own TLS and knows {one} only"),
            some => format!("Kurier has its own TLS; it knows {}", some.join(", ")),
        };
        self.refuse(key, text, &why);
    }

    /// The versions of TLS, and the provider with the cipher suites that are left.
    fn versions(&mut self) -> (CryptoProvider, Vec<&'static SupportedProtocolVersion>) {
        let mut provider = rustls::crypto::ring::default_provider();
        let key = "ssl.cipher.suites";
        if let Some(names) = self.list(key) {
            if names.contains(&"") {
                self.problems.push(format!("Configuration '{key}' values must not be empty."));
            }
            // Suites that Kurier does not have are left out, as long as any is left; most of them are too old.
            let all = std::mem::take(&mut provider.cipher_suites);
            let of_name = |name: &&str| all.iter().find(|suite| java_name(suite) == **name).copied();
            provider.cipher_suites = names.iter().filter_map(of_name).collect();
            if provider.cipher_suites.is_empty() {
                let known: Vec<String> = all.iter().map(java_name).collect();
                self.refuse(
                    key,
                    &names.join(","),
                    &format!("Kurier has none of these suites; it has {}", known.join(", ")),
                );
            }
        }
        let key = "ssl.enabled.protocols";
        let names = self.list(key).unwrap_or_else(|| vec!["TLSv1.2", "TLSv1.3"]);
        let mut versions = Vec::new();
        for name in &names {
            match *name {
                "TLSv1.2" => versions.push(&TLS12),
                "TLSv1.3" => versions.push(&TLS13),
                old if OLD_VERSIONS.contains(&old) => {}
                name => self.refuse(key, name, "Unsupported protocol; it must be TLSv1.2 or TLSv1.3"),
            }
        }
        if versions.is_empty() {
            self.refuse(key, &names.join(","), "one of TLSv1.2 and TLSv1.3 must be there; older versions are not safe");
        }
        let has_suite = |version: &&SupportedProtocolVersion| {
            provider.cipher_suites.iter().any(|suite| suite.version().version == version.version)
        };
        versions.retain(has_suite);
        if versions.is_empty() && self.problems.is_empty() {
            self.refuse(key, &names.join(","), "no suite of `ssl.cipher.suites` belongs to these versions");
        }
        (provider, versions)
    }

    fn identification(&mut self) -> Option<Identification> {
        let key = "ssl.endpoint.identification.algorithm";
        // Set to nothing, it means that names do not matter; left out, that they do.
        let text = self.properties.get(key).map_or("https", |value| value.trim());
        match text.to_ascii_lowercase().as_str() {
            "" => None,
            "https" => Some(Identification::Https),
            "ldaps" => Some(Identification::Ldaps),
            _ => {
                self.refuse(key, text, "Unknown identification algorithm; it must be https, LDAPS or empty");
                None
            }
        }
    }

    fn store_type(&mut self, key: &str) -> Option<StoreType> {
        let text = self.text(key).unwrap_or("JKS");
        match text.to_ascii_uppercase().as_str() {
            "PEM" => Some(StoreType::Pem),
            "JKS" | "PKCS12" | "P12" | "PFX" => Some(StoreType::Java),
            _ => {
                self.refuse(key, text, "Kurier reads stores of the types JKS, PKCS12 and PEM");
                None
            }
        }
    }

    fn identity(&mut self, provider: &CryptoProvider) -> Result<Option<Identity>, String> {
        let location = self.text("ssl.keystore.location");
        let password = self.text("ssl.keystore.password");
        let key_password = self.text("ssl.key.password");
        let key = self.text("ssl.keystore.key");
        let chain = self.text("ssl.keystore.certificate.chain");
        if location.is_none() && key.is_none() && chain.is_none() && password.is_none() {
            return Ok(None);
        }
        let named = self.text("ssl.keystore.type").unwrap_or("JKS");
        let Some(kind) = self.store_type("ssl.keystore.type") else { return Ok(None) };
        let refused = |why: &str| Err(why.to_owned());
        let failed = |what: String| move |why: StoreError| format!("{what}: {why}");
        let (stored, name) = match (key, chain, location) {
            (Some(_), _, _) if kind != StoreType::Pem => {
                return Err(format!("SSL private key can be specified only for PEM, but key store type is {named}."));
            }
            (Some(_), None, _) => {
                return refused("SSL private key is specified, but certificate chain is not specified.");
            }
            (Some(_), _, Some(_)) => {
                return refused("Both SSL key store location and separate private key are specified.");
            }
            (None, Some(_), _) => {
                return refused("SSL certificate chain is specified, but private key is not specified");
            }
            (None, None, None) => {
                return refused("SSL key store is not specified, but key store password is specified.");
            }
            (_, _, _) if kind == StoreType::Pem && password.is_some() => {
                return refused(
                    "SSL key store password cannot be specified with PEM format, only key password may be specified",
                );
            }
            (Some(key), Some(chain), None) => {
                let name = "Invalid PEM keystore configs".to_owned();
                (super::pem::key_store(key, chain, key_password).map_err(failed(name.clone()))?, name)
            }
            (None, None, Some(path)) if kind == StoreType::Pem => {
                let name = format!("Failed to load PEM SSL keystore {path}");
                let text = text_of(read(path).map_err(|why| format!("{name}: {why}"))?);
                (stores::read_pem_keys(&text, key_password).map_err(failed(name.clone()))?, name)
            }
            (None, None, Some(path)) => {
                let Some(password) = password else {
                    return refused("SSL key store is specified, but key store password is not specified.");
                };
                let name = format!("Failed to load SSL keystore {path} of type {named}");
                let bytes = read(path).map_err(|why| format!("{name}: {why}"))?;
                let key_password = key_password.unwrap_or(password);
                (stores::read(&bytes, Some(password), Some(key_password)).map_err(failed(name.clone()))?, name)
            }
        };
        Identity::new(stored.keys, provider).map(Some).map_err(failed(name))
    }

    fn anchors(&mut self) -> Result<Option<Anchors>, String> {
        let location = self.text("ssl.truststore.location");
        let password = self.text("ssl.truststore.password");
        let inline = self.text("ssl.truststore.certificates");
        if location.is_none() && inline.is_none() && password.is_none() {
            return Ok(None);
        }
        let named = self.text("ssl.truststore.type").unwrap_or("JKS");
        let Some(kind) = self.store_type("ssl.truststore.type") else { return Ok(None) };
        let refused = |why: &str| Err(why.to_owned());
        if inline.is_some() && kind != StoreType::Pem {
            return Err(format!(
                "SSL trust store certs can be specified only for PEM, but trust store type is {named}."
            ));
        }
        if inline.is_some() && location.is_some() {
            return refused("Both SSL trust store location and separate trust certificates are specified.");
        }
        if location.is_none() && inline.is_none() {
            return refused("SSL trust store is not specified, but trust store password is specified.");
        }
        if kind == StoreType::Pem && password.is_some() {
            return refused("SSL trust store password cannot be specified for PEM format.");
        }
        let name = match location {
            None => "Invalid PEM truststore configs".to_owned(),
            Some(path) if kind == StoreType::Pem => format!("Failed to load PEM SSL keystore {path}"),
            Some(path) => format!("Failed to load SSL keystore {path} of type {named}"),
        };
        let bytes = match (inline, location) {
            (Some(text), _) => Zeroizing::new(text.as_bytes().to_vec()),
            (_, path) => read(path.unwrap_or_default()).map_err(|why| format!("{name}: {why}"))?,
        };
        let trusted = match kind {
            StoreType::Pem => super::pem::certificates(&text_of(bytes)),
            StoreType::Java => stores::read(&bytes, password, None).and_then(trusted),
        };
        let certificates = trusted.and_then(|all| {
            all.iter().map(|bytes| Certificate::parse(bytes).map_err(StoreError::from)).collect::<Result<Vec<_>, _>>()
        });
        let certificates = certificates.map_err(|why| format!("{name}: {why}"))?;
        Ok(Some(Anchors { certificates, are_public: false }))
    }
}

/// Java's name of a cipher suite.
fn java_name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

/// Whom a store trusts: its trusted certificates, and those that its keys belong to.
fn trusted(stored: Stored) -> Result<Vec<Vec<u8>>, StoreError> {
    let own = stored.keys.into_iter().filter_map(|entry| entry.chain.into_iter().next());
    let all: Vec<Vec<u8>> = stored.trusted.into_iter().chain(own).collect();
    match (all.is_empty(), stored.sealed) {
        (false, _) => Ok(all),
        (true, 0) => Err(StoreError::NothingTrusted),
        (true, _) => Err(StoreError::Sealed),
    }
}

fn text_of(bytes: Zeroizing<Vec<u8>>) -> Zeroizing<String> {
    Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned())
}

fn read(path: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(|error| format!("cannot open it: {error}"))?;
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot read it: {error}"))?;
    if read as u64 > LARGEST { Err(format!("it is larger than {} MiB", LARGEST >> 20)) } else { Ok(bytes) }
}
