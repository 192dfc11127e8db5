//! The certificates that are shown to the other side, and which of several.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use zeroize::Zeroizing;

use super::der::{self, Malformed, Reader, context};
use super::pbe::{algorithm, dotted};
use super::signature::{EC, P256, P384};
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
            let chain = entry.chain.iter().map(|bytes| Certificate::parse(bytes)).collect::<Result<Vec<_>, _>>()?;
            let own = chain.first().ok_or(StoreError::NoCertificate)?;
            let completed = completed(&entry.key, own)?;
            let der = completed.as_ref().unwrap_or(&entry.key).as_slice();
            let der = PrivateKeyDer::try_from(der).map_err(|_| StoreError::Malformed)?.clone_key();
            let key = provider.key_provider.load_private_key(der).map_err(|error| match &completed {
                Some(_) => StoreError::Mismatch(entry.alias.clone()),
                None => StoreError::Key {
                    alias: entry.alias.clone(),
                    why: format!("{error}; it takes RSA of 2048 to 4096 bits, EC on P-256 and P-384, and Ed25519"),
                },
            })?;
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

/// A key of an elliptic curve with its public half, which ring asks for and the JDK's `keytool` leaves out; the certificate has it. None for any other key.
fn completed(key: &[u8], own: &Certificate) -> Result<Option<Zeroizing<Vec<u8>>>, Malformed> {
    let mut info = Reader::new(key).sequence()?;
    info.take(der::INTEGER)?;
    // Without an algorithm it is no PKCS8.
    let Some(kind) = info.optional(der::SEQUENCE)? else { return Ok(None) };
    let (name, mut curve) = algorithm(&mut Reader::new(kind.whole))?;
    let curve = curve.optional(der::OID)?.map(|curve| dotted(curve.content));
    let len = match (name.as_str(), curve.as_deref()) {
        (EC, Some(P256)) => 32,
        (EC, Some(P384)) => 48,
        _ => return Ok(None),
    };
    let mut private = info.take(der::OCTET_STRING)?.reader().sequence()?;
    private.take(der::INTEGER)?;
    let secret = private.take(der::OCTET_STRING)?.content;
    private.optional(context(0))?;
    if private.optional(context(1))?.is_some() {
        return Ok(None);
    }
    // A number of that many bytes, however many it was written with.
    let begin = secret.iter().position(|byte| *byte != 0).unwrap_or(secret.len());
    let digits = &secret[begin..];
    let mut number = Zeroizing::new(vec![0; len]);
    let at = len.checked_sub(digits.len()).ok_or(Malformed)?;
    number[at..].copy_from_slice(digits);
    let (_, public) = own.public_key()?;
    let public = der::element(der::BIT_STRING, &[&[0], public]);
    let private = der::element(
        der::SEQUENCE,
        &[&[der::INTEGER, 1, 1], &der::element(der::OCTET_STRING, &[&number]), &der::element(context(1), &[&public])],
    );
    let private = der::element(der::OCTET_STRING, &[&private]);
    Ok(Some(der::element(der::SEQUENCE, &[&[der::INTEGER, 1, 0], kind.whole, &private])))
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
