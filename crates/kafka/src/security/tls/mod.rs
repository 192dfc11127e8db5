//! TLS towards brokers and from clients: `ssl.*`, by rustls.
//!
//! [`settings`] reads the properties and [`stores`] the files; [`verifier`] judges the other side as Java does, which is milder than rustls; where, stands in
//! [`path`] and [`hostname`]. Without a trust store, a client trusts whom the operating system trusts, as Java trusts its own list. Refused: engines, providers
//! and random generators of one's own, hardware tokens.

mod der;
mod hostname;
mod identity;
mod jks;
mod path;
#[cfg(test)]
mod path_tests;
mod pbe;
mod pem;
mod pkcs12;
mod settings;
mod signature;
mod stores;
#[cfg(test)]
mod stores_tests;
mod verifier;
mod x509;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::server::NoClientAuth;
use rustls::{ClientConfig, DistinguishedName, ServerConfig};

pub(crate) use settings::KEYS;
use settings::TlsSettings;
use verifier::Verifier;

/// What TLS connections of a client have in common: whom it trusts, which certificate it shows.
#[derive(Clone)]
pub struct ClientTls {
    /// For rustls.
    pub(crate) config: Arc<ClientConfig>,
}

impl ClientTls {
    /// Reads `ssl.*` and the stores that they name, or says everything that is wrong with them.
    ///
    /// `written` tells under which name the user wrote a key.
    pub fn read(properties: &BTreeMap<String, String>, written: &dyn Fn(&str) -> String) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let Some(settings) = TlsSettings::read(properties, written, &mut problems) else { return Err(problems) };
        let anchors = settings.anchors.map_or_else(system_anchors, Ok).map_err(|problem| vec![problem])?;
        let verifier = Verifier {
            anchors,
            identification: settings.identification,
            algorithms: settings.provider.signature_verification_algorithms,
            is_mandatory: false,
            hints: Vec::new(),
        };
        let config = ClientConfig::builder_with_provider(settings.provider)
            .with_protocol_versions(&settings.versions)
            .map_err(|error| vec![error.to_string()])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match settings.identity {
            Some(identity) => config.with_client_cert_resolver(Arc::new(identity)),
            None => config.with_no_client_auth(),
        };
        Ok(Self { config: Arc::new(config) })
    }
}

/// `ssl.client.auth`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Clients are not asked for a certificate.
    #[default]
    None,
    /// They are asked, and need not have one.
    Requested,
    /// They must show one.
    Required,
}

impl ClientAuth {
    /// Java's names.
    pub const NAMES: [(&'static str, Self); 3] =
        [("none", Self::None), ("requested", Self::Requested), ("required", Self::Required)];
}

/// What the TLS connections of a listener have in common: the certificate it shows, and whose it takes.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// Reads `ssl.*` of a listener and the stores that they name, or says everything that is wrong with them.
    ///
    /// `written` tells under which name the user wrote a key.
    pub fn read(properties: &BTreeMap<String, String>, written: &dyn Fn(&str) -> String) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let auth = client_auth(properties, written, &mut problems);
        let settings = TlsSettings::read(properties, written, &mut problems);
        let Some(settings) = settings.filter(|_| problems.is_empty()) else { return Err(problems) };
        let Some(identity) = settings.identity else {
            return Err(vec!["an SSL listener needs a certificate: set `ssl.keystore.location`, or `ssl.keystore.key` and `ssl.keystore.certificate.chain`".to_owned()]);
        };
        let config = ServerConfig::builder_with_provider(Arc::clone(&settings.provider))
            .with_protocol_versions(&settings.versions)
            .map_err(|error| vec![error.to_string()])?;
        let config = if auth == ClientAuth::None {
            config.with_client_cert_verifier(Arc::new(NoClientAuth))
        } else {
            let anchors = settings.anchors.map_or_else(system_anchors, Ok).map_err(|problem| vec![problem])?;
            let hints = anchors.certificates.iter().map(|anchor| DistinguishedName::from(anchor.subject_der.clone()));
            config.with_client_cert_verifier(Arc::new(Verifier {
                hints: hints.collect(),
                anchors,
                identification: None,
                algorithms: settings.provider.signature_verification_algorithms,
                is_mandatory: auth == ClientAuth::Required,
            }))
        };
        Ok(Self { config: Arc::new(config.with_cert_resolver(Arc::new(identity))) })
    }

    /// For rustls.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

fn client_auth(
    properties: &BTreeMap<String, String>,
    written: &dyn Fn(&str) -> String,
    problems: &mut Vec<String>,
) -> ClientAuth {
    let Some(text) = properties.get("ssl.client.auth").map(|text| text.trim()) else { return ClientAuth::None };
    match ClientAuth::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        Some((_, auth)) => *auth,
        None => {
            problems.push(format!(
                "Invalid value {text} for configuration {}: String must be one of: required, requested, none",
                written("ssl.client.auth")
            ));
            ClientAuth::None
        }
    }
}

/// Whom the operating system trusts.
fn system_anchors() -> Result<path::Anchors, String> {
    let found = rustls_native_certs::load_native_certs();
    let certificates: Vec<_> = found.certs.iter().filter_map(|der| x509::Certificate::parse(der).ok()).collect();
    if certificates.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        return Err(format!("this system has no trusted certificates{why}; set `ssl.truststore.location`"));
    }
    Ok(path::Anchors { certificates, are_public: true })
}

/// What TLS itself has against the other side, or the other side against us.
pub(crate) fn tls_error(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(why)) => why.to_string(),
        rustls::Error::InvalidMessage(_) => {
            format!("Unsupported or unrecognized SSL message ({error}); is the other side's port for SSL?")
        }
        rustls::Error::AlertReceived(alert) => format!("Received fatal alert: {alert:?}"),
        error => error.to_string(),
    })
}

impl PartialEq for ServerTls {
    /// Whether it is the same one; another that was read from the same files is another.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }
}

impl Eq for ServerTls {}

impl fmt::Debug for ClientTls {
    /// Keys stay unseen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}

impl fmt::Debug for ServerTls {
    /// Keys stay unseen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}
