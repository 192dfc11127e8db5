//! Signatures under certificates, with what Java still accepts of old ones: RSA keys from 1024 bits, and SHA-1 where the CA is one's own.

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

use super::der::{self, Malformed, Reader, context};
use super::pbe::{algorithm, dotted};
use super::x509::Certificate;

const RSA: &str = "1.2.840.113549.1.1.1";
const RSA_PSS: &str = "1.2.840.113549.1.1.10";
pub(crate) const EC: &str = "1.2.840.10045.2.1";
pub(crate) const P256: &str = "1.2.840.10045.3.1.7";
pub(crate) const P384: &str = "1.3.132.0.34";
const ED25519: &str = "1.3.101.112";

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadSignature {
    /// It does not fit the key.
    Wrong,
    /// Nobody should rely on it, or Kurier cannot.
    Algorithm(String),
}

impl From<Malformed> for BadSignature {
    fn from(_: Malformed) -> Self {
        Self::Wrong
    }
}

/// Checks that `issuer`'s key has signed `certificate`. Under `strict`, SHA-1 does not count.
pub(crate) fn check(certificate: &Certificate, issuer: &Certificate, strict: bool) -> Result<(), BadSignature> {
    let (key_algorithm, key) = issuer.public_key()?;
    let mut key_algorithm = Reader::new(key_algorithm);
    let key_name = dotted(key_algorithm.take(der::OID)?.content);
    let curve = key_algorithm.optional(der::OID)?.map(|curve| dotted(curve.content)).unwrap_or_default();
    let (name, parameters) = algorithm(&mut Reader::new(&certificate.algorithm))?;
    let by: &dyn VerificationAlgorithm = match (name.as_str(), key_name.as_str(), curve.as_str()) {
        ("1.2.840.113549.1.1.5", RSA, _) if !strict => &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        ("1.2.840.113549.1.1.11", RSA, _) => &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        ("1.2.840.113549.1.1.12", RSA, _) => &signature::RSA_PKCS1_2048_8192_SHA384,
        ("1.2.840.113549.1.1.13", RSA, _) => &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        (RSA_PSS, RSA | RSA_PSS, _) => match pss_hash(parameters)?.as_str() {
            "2.16.840.1.101.3.4.2.1" => &signature::RSA_PSS_2048_8192_SHA256,
            "2.16.840.1.101.3.4.2.2" => &signature::RSA_PSS_2048_8192_SHA384,
            "2.16.840.1.101.3.4.2.3" => &signature::RSA_PSS_2048_8192_SHA512,
            hash => return Err(BadSignature::Algorithm(format!("RSASSA-PSS with {hash}"))),
        },
        ("1.2.840.10045.4.3.2", EC, P256) => &signature::ECDSA_P256_SHA256_ASN1,
        ("1.2.840.10045.4.3.2", EC, P384) => &signature::ECDSA_P384_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", EC, P256) => &signature::ECDSA_P256_SHA384_ASN1,
        ("1.2.840.10045.4.3.3", EC, P384) => &signature::ECDSA_P384_SHA384_ASN1,
        (ED25519, ED25519, _) => &signature::ED25519,
        _ => return Err(BadSignature::Algorithm(format!("algorithm {name} with a key of {key_name} {curve}"))),
    };
    UnparsedPublicKey::new(by, key).verify(&certificate.signed, &certificate.signature).map_err(|_| BadSignature::Wrong)
}

/// The hash of RSASSA-PSS; SHA-1 if it is left out.
fn pss_hash(mut parameters: Reader<'_>) -> Result<String, Malformed> {
    match parameters.sequence()?.optional(context(0))? {
        Some(hash) => Ok(algorithm(&mut hash.reader())?.0),
        None => Ok("1.3.14.3.2.26".to_owned()),
    }
}
