//! The certificates that are shown to the other side, and which of several.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::der::Reader;
use super::stores::{KeyEntry, StoreError};
use super::x509::{self, Certificate};

/// All keys of a key store.
pub(crate) struct Identity {
    keys: Vec<(Arc<CertifiedKey>, Vec<Certificate>)>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity of {} keys", self.keys.len())
    }
}

impl Identity {
    /// Makes keys usable; each must belong to its certificate.
    pub(crate) fn new(entries: Vec<KeyEntry>, provider: &CryptoProvider) -> Result<Self, StoreError> {
        let mut keys = Vec::new();
        for entry in entries {
            let der = PrivateKeyDer::try_from(entry.key.as_slice()).map_err(|_| StoreError::Malformed)?.clone_key();
            let key = provider.key_provider.load_private_key(der).map_err(|error| StoreError::Key {
                alias: entry.alias.clone(),
                why: format!("{error}; it takes RSA from 2048 bits, EC on P-256 and P-384, and Ed25519"),
            })?;
            let chain = entry.chain.iter().map(|bytes| Certificate::parse(bytes)).collect::<Result<Vec<_>, _>>()?;
            let own = chain.first().ok_or(StoreError::NoCertificate)?;
            if let Some(public) = key.public_key() {
                let (_, public) = x509::public_key(&mut Reader::new(public.as_ref()))?;
                if public != own.public_key()?.1 {
                    return Err(StoreError::Mismatch(entry.alias));
                }
            }
            let shown = chain.iter().map(|certificate| certificate.whole.clone().into()).collect();
            keys.push((Arc::new(CertifiedKey::new(shown, key)), chain));
        }
        if keys.is_empty() { Err(StoreError::NoKey) } else { Ok(Self { keys }) }
    }
}

impl ResolvesClientCert for Identity {
    /// Java's SunX509: the first key that can sign what the broker understands and comes from somebody whom the broker names, if it names any.
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let hints: Vec<Vec<u8>> = hints.iter().filter_map(|hint| x509::name(hint).ok()).collect();
        let is_known = |chain: &[Certificate]| chain.iter().any(|certificate| hints.contains(&certificate.issuer));
        let mut keys = self.keys.iter().filter(|(key, _)| key.key.choose_scheme(schemes).is_some());
        keys.find(|(_, chain)| hints.is_empty() || is_known(chain)).map(|(key, _)| Arc::clone(key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Identity {
    /// The first that the client understands; names that clients ask for play no part, as in Java.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let key = self.keys.iter().find(|(key, _)| key.key.choose_scheme(schemes).is_some());
        key.map(|(key, _)| Arc::clone(key))
    }
}
