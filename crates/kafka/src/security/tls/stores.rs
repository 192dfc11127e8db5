//! Key stores and trust stores, whatever their format.
//!
//! The format is seen in the bytes: Java's `JKS` opens PKCS12 files and its `PKCS12` JKS files, and so does this. `ssl.*store.type` only tells PEM from those
//! two, and names what is refused: hardware tokens, and formats of other security providers.

use zeroize::Zeroizing;

use super::pbe::PbeError;
use super::{jks, pem, pkcs12};

/// A private key and the certificates that go with it, its own first.
pub(crate) struct KeyEntry {
    pub(crate) alias: String,
    /// PKCS8, or from PEM also PKCS1 or SEC1.
    pub(crate) key: Zeroizing<Vec<u8>>,
    pub(crate) chain: Vec<Vec<u8>>,
}

/// What a store holds.
#[derive(Default)]
pub(crate) struct Stored {
    pub(crate) keys: Vec<KeyEntry>,
    pub(crate) trusted: Vec<Vec<u8>>,
    /// Things that a missing password hides.
    pub(crate) sealed: usize,
}

/// What is wrong with a store. It never says what the password was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("it is damaged, or not what its name says")]
    Malformed,
    #[error("its password is wrong, or it was tampered with")]
    WrongPassword,
    #[error(
        "the password of its key `{0}` is wrong; it is in `ssl.key.password`, or that of the store if there is none"
    )]
    WrongKeyPassword(String),
    #[error("its key is encrypted; set `ssl.key.password`")]
    NoKeyPassword,
    #[error("there is no certificate in it")]
    NoCertificate,
    #[error("there is no private key in it")]
    NoKey,
    #[error("what it holds is encrypted; set its password")]
    Sealed,
    #[error(
        "it has no trusted certificate; PKCS12 needs a mark on those, which `keytool -importcert` and `openssl pkcs12 -jdktrust anyExtendedKeyUsage` write"
    )]
    NothingTrusted,
    #[error("its private key `{0}` does not belong to its certificate")]
    Mismatch(String),
    #[error("Kurier cannot use its private key `{alias}`: {why}")]
    Key {
        /// Its name in the store.
        alias: String,
        /// What its limits are.
        why: String,
    },
    #[error("{0}")]
    Unsupported(String),
}

impl From<super::der::Malformed> for StoreError {
    fn from(_: super::der::Malformed) -> Self {
        Self::Malformed
    }
}

impl From<PbeError> for StoreError {
    fn from(error: PbeError) -> Self {
        match error {
            PbeError::Malformed => Self::Malformed,
            PbeError::WrongPassword => Self::WrongPassword,
            PbeError::Unsupported(_) => Self::Unsupported(error.to_string()),
        }
    }
}

impl StoreError {
    /// The same error if it is about a key and not about the whole store.
    pub(crate) fn of_key(self, alias: &str) -> Self {
        if self == Self::WrongPassword { Self::WrongKeyPassword(alias.to_owned()) } else { self }
    }
}

/// `ssl.keystore.type`, `ssl.truststore.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreType {
    Pem,
    /// PKCS12 or JKS.
    Java,
}

/// Reads a store that is no PEM.
pub(crate) fn read(bytes: &[u8], password: Option<&str>, key_password: Option<&str>) -> Result<Stored, StoreError> {
    if jks::is_jks(bytes) {
        jks::read(bytes, password, key_password)
    } else if pkcs12::is_pkcs12(bytes) {
        pkcs12::read(bytes, password, key_password)
    } else if bytes.windows(11).any(|text| text == b"-----BEGIN ") {
        Err(StoreError::Unsupported("it is a PEM file; set its type to `PEM`".into()))
    } else {
        Err(StoreError::Malformed)
    }
}

/// Reads a PEM file with a key and its certificates.
pub(crate) fn read_pem_keys(text: &str, key_password: Option<&str>) -> Result<Stored, StoreError> {
    pem::key_store(text, text, key_password)
}
