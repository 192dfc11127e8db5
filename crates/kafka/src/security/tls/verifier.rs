//! rustls asks, [`path`], [`hostname`] and [`super::signature`] answer.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};

use super::hostname::{self, Identification};
use super::path::{self, Anchors, Role};
use super::x509::Certificate;

/// Judges the certificates of the other side.
pub(crate) struct Verifier {
    pub(crate) anchors: Anchors,
    /// How the name of a server is compared; nothing for not at all.
    pub(crate) identification: Option<Identification>,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
    /// Whether clients must show a certificate.
    pub(crate) is_mandatory: bool,
    pub(crate) hints: Vec<DistinguishedName>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verifier of {} anchors", self.anchors.certificates.len())
    }
}

/// An error whose text is for the user.
pub(crate) fn untrusted(why: String) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Said(why)))))
}

/// What rustls carries for [`untrusted`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

impl Verifier {
    fn check(
        &self,
        first: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
    ) -> Result<Certificate, Error> {
        let parse = |bytes: &CertificateDer<'_>| {
            Certificate::parse(bytes).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
        };
        let mut chain = vec![parse(first)?];
        // What nobody can read helps nobody; the search will do without it.
        chain.extend(others.iter().filter_map(|other| Certificate::parse(other).ok()));
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let first = chain[0].clone();
        let subject = || first.common_name.as_deref().unwrap_or("without a common name");
        path::check(&chain, &self.anchors, role, now).map_err(|error| {
            untrusted(format!("the certificate `{}` is not trusted: {error}", subject().escape_debug()))
        })?;
        Ok(first)
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        most: usize,
    ) -> Result<HandshakeSignatureValid, Error> {
        let bad = || Error::InvalidCertificate(CertificateError::BadSignature);
        let certificate = Certificate::parse(certificate).map_err(|_| bad())?;
        let (name, key) = certificate.public_key().map_err(|_| bad())?;
        let (_, ways) = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme).ok_or_else(bad)?;
        let fits = ways.iter().take(most).filter(|way| way.public_key_alg_id().as_ref() == name);
        for way in fits {
            if way.verify_signature(key, message, signed.signature()).is_ok() {
                return Ok(HandshakeSignatureValid::assertion());
            }
        }
        Err(bad())
    }

    fn check_tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signed, usize::MAX)
    }

    /// From version 1.3 on a scheme names the curve; the first way is that with it.
    fn check_tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let is_old = matches!(
            signed.scheme,
            SignatureScheme::RSA_PKCS1_SHA256 | SignatureScheme::RSA_PKCS1_SHA384 | SignatureScheme::RSA_PKCS1_SHA512
        );
        if is_old {
            return Err(Error::InvalidCertificate(CertificateError::BadSignature));
        }
        self.check_signature(message, certificate, signed, 1)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = self.check(end_entity, intermediates, Role::Server, now)?;
        if let Some(how) = self.identification {
            let host = server_name.to_str();
            hostname::check(&certificate, &host, how, self.anchors.are_public).map_err(untrusted)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates, Role::Client, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
