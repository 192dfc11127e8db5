//! Whether a certificate is trusted: Java's PKIX over what the other side shows.
//!
//! Looser than rustls' own: an anchor may be of X.509 version 1 and need not be valid any more, a CA may be used as end entity, and a certificate that is itself
//! in the trust store is believed whatever it says. Certificates may come in any order; the search for a path is bounded. Revocation is not looked at, which is Java's
//! default too.

use std::net::IpAddr;

use super::signature::{self, BadSignature};
use super::x509::{ANY_USAGE, Certificate, GeneralName, SIGNS, SIGNS_CERTIFICATES, Subtree};

/// As many as Java's `jdk.tls.maxCertificateChainLength`.
const LONGEST: usize = 10;
/// Signatures looked at before the search ends.
const SIGNATURES: u32 = 100;

/// Whose certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

impl Role {
    /// Extended key usages that fit; those of servers have two forerunners.
    fn usages(self) -> &'static [&'static str] {
        match self {
            Self::Server => &[ANY_USAGE, "1.3.6.1.5.5.7.3.1", "2.16.840.1.113730.4.1", "1.3.6.1.4.1.311.10.3.3"],
            Self::Client => &[ANY_USAGE, "1.3.6.1.5.5.7.3.2"],
        }
    }
}

/// Who is trusted.
#[derive(Clone)]
pub(crate) struct Anchors {
    pub(crate) certificates: Vec<Certificate>,
    /// They are those of the system: of them it is known that they need no old algorithms.
    pub(crate) are_public: bool,
}

/// Why a certificate is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untrusted {
    #[error("there is no certificate")]
    Nothing,
    #[error("it comes with more than {LONGEST} certificates")]
    TooMany,
    #[error("unable to find valid certification path to requested target: nobody in the trust store has signed it")]
    NoPath,
    #[error("a certificate has expired")]
    Expired,
    #[error("a certificate is not valid yet; is the clock right?")]
    NotYetValid,
    #[error("a signature does not fit")]
    Signature,
    #[error("a signature is by {0}, which is not accepted")]
    Algorithm(String),
    #[error("its issuer is not a CA, or must not sign certificates")]
    NotAuthority,
    #[error("a CA has more certificates below it than it may")]
    PathLength,
    #[error("a CA must not speak for this name")]
    NameConstraints,
    #[error("its key usage does not allow digital signatures")]
    KeyUsage,
    #[error("its extended key usage does not permit this use for TLS")]
    ExtendedKeyUsage,
    #[error("it has the critical extension {0}, which is not known")]
    Extension(String),
}

/// Says why the first of `chain` is not to be trusted at `now`, in seconds since 1970.
pub(crate) fn check(chain: &[Certificate], anchors: &Anchors, role: Role, now: i64) -> Result<(), Untrusted> {
    let first = chain.first().ok_or(Untrusted::Nothing)?;
    if chain.len() > LONGEST {
        return Err(Untrusted::TooMany);
    }
    if anchors.certificates.iter().any(|anchor| anchor.whole == first.whole) {
        return Ok(());
    }
    let mut search = Search { chain, anchors, now, signatures: 0, worst: Untrusted::NoPath };
    if !search.extend(&mut vec![first]) {
        return Err(search.worst);
    }
    if first.key_usage.is_some_and(|usage| usage & SIGNS == 0) {
        return Err(Untrusted::KeyUsage);
    }
    let is_for = |usages: &Vec<String>| usages.iter().any(|usage| role.usages().contains(&usage.as_str()));
    if first.usages.as_ref().is_some_and(|usages| !is_for(usages)) {
        return Err(Untrusted::ExtendedKeyUsage);
    }
    Ok(())
}

struct Search<'a> {
    chain: &'a [Certificate],
    anchors: &'a Anchors,
    now: i64,
    signatures: u32,
    /// What stopped the path that came farthest.
    worst: Untrusted,
}

impl<'a> Search<'a> {
    /// Whether the path, whose last certificate is to be signed next, leads to an anchor.
    fn extend(&mut self, path: &mut Vec<&'a Certificate>) -> bool {
        let Some(last) = path.last().copied() else { return false };
        if let Err(error) = self.check_one(last) {
            self.worst = error;
            return false;
        }
        for anchor in self.anchors.certificates.iter().filter(|anchor| anchor.subject == last.issuer) {
            match self.check_anchor(last, anchor).and_then(|()| check_names(path)) {
                Ok(()) => return true,
                Err(error) => self.worst = error,
            }
        }
        for issuer in self.chain.iter().filter(|issuer| issuer.subject == last.issuer) {
            if path.len() >= LONGEST || path.iter().any(|seen| seen.whole == issuer.whole) {
                continue;
            }
            if let Err(error) = self.check_issuer(issuer, path).and_then(|()| self.check_signature(last, issuer)) {
                self.worst = error;
                continue;
            }
            path.push(issuer);
            if self.extend(path) {
                return true;
            }
            path.pop();
        }
        false
    }

    fn check_one(&self, certificate: &Certificate) -> Result<(), Untrusted> {
        if self.now < *certificate.valid.start() {
            return Err(Untrusted::NotYetValid);
        }
        if self.now > *certificate.valid.end() {
            return Err(Untrusted::Expired);
        }
        certificate.unknown.clone().map_or(Ok(()), |name| Err(Untrusted::Extension(name)))
    }

    /// An anchor's validity, path length and name constraints are not looked at.
    fn check_anchor(&mut self, certificate: &Certificate, anchor: &Certificate) -> Result<(), Untrusted> {
        self.check_signature(certificate, anchor)?;
        let is_old = anchor.version < 3;
        if (is_old || anchor.authority.is_some()) && may_sign_certificates(anchor) {
            return Ok(());
        }
        Err(Untrusted::NotAuthority)
    }

    fn check_issuer(&self, issuer: &Certificate, path: &[&Certificate]) -> Result<(), Untrusted> {
        let below = path.iter().skip(1).filter(|below| below.subject != below.issuer).count() as u64;
        match issuer.authority {
            None => Err(Untrusted::NotAuthority),
            Some(_) if !may_sign_certificates(issuer) => Err(Untrusted::NotAuthority),
            Some(most) if below > most => Err(Untrusted::PathLength),
            Some(_) => Ok(()),
        }
    }

    fn check_signature(&mut self, certificate: &Certificate, issuer: &Certificate) -> Result<(), Untrusted> {
        if self.signatures >= SIGNATURES {
            return Err(Untrusted::NoPath);
        }
        self.signatures += 1;
        signature::check(certificate, issuer, self.anchors.are_public).map_err(|error| match error {
            BadSignature::Wrong => Untrusted::Signature,
            BadSignature::Algorithm(name) => Untrusted::Algorithm(name),
        })
    }
}

fn may_sign_certificates(certificate: &Certificate) -> bool {
    certificate.key_usage.is_none_or(|usage| usage & SIGNS_CERTIFICATES != 0)
}

/// Whether the names of each certificate are such that all CAs above it (but the anchor) may speak for them.
fn check_names(path: &[&Certificate]) -> Result<(), Untrusted> {
    for (at, authority) in path.iter().enumerate().skip(1) {
        if authority.permitted.is_empty() && authority.excluded.is_empty() {
            continue;
        }
        for (below, certificate) in path[..at].iter().enumerate() {
            if below > 0 && certificate.subject == certificate.issuer {
                continue;
            }
            if !names_of(certificate).iter().all(|name| is_allowed(name, authority)) {
                return Err(Untrusted::NameConstraints);
            }
        }
    }
    Ok(())
}

/// All names of a certificate; its common name is one where host names would be looked for there.
fn names_of(certificate: &Certificate) -> Vec<GeneralName> {
    let mut names = certificate.alternatives.clone().unwrap_or_default();
    if !names.iter().any(|name| matches!(name, GeneralName::Dns(_) | GeneralName::Ip(_)))
        && let Some(name) = &certificate.common_name
        && !name.contains(char::is_whitespace)
    {
        names.push(GeneralName::Dns(name.clone()));
    }
    if !certificate.subject.is_empty() {
        names.push(GeneralName::Directory(certificate.subject.clone()));
    }
    names
}

fn is_allowed(name: &GeneralName, authority: &Certificate) -> bool {
    let hits = |trees: &[Subtree]| -> Vec<bool> { trees.iter().filter_map(|tree| is_below(name, tree)).collect() };
    // What cannot be compared is forbidden.
    let is_same_kind =
        |tree: &Subtree| matches!((name, tree), (GeneralName::Other(name), Subtree::Other(tree)) if name == tree);
    if authority.permitted.iter().chain(&authority.excluded).any(is_same_kind) {
        return false;
    }
    let permitted = hits(&authority.permitted);
    (permitted.is_empty() || permitted.contains(&true)) && !hits(&authority.excluded).contains(&true)
}

/// Whether a name lies in a subtree; nothing if they are of different kinds.
fn is_below(name: &GeneralName, tree: &Subtree) -> Option<bool> {
    match (name, tree) {
        (GeneralName::Dns(name), Subtree::Dns(tree)) => Some(is_subdomain(name, tree)),
        (GeneralName::Ip(ip), Subtree::Ip(tree)) => Some(is_in_network(*ip, tree)),
        (GeneralName::Directory(name), Subtree::Directory(tree)) => Some(name.starts_with(tree)),
        (GeneralName::Email(name), Subtree::Email(tree)) => {
            let host = name.rsplit_once('@').map_or("", |(_, host)| host);
            Some(
                name.eq_ignore_ascii_case(tree)
                    || host.eq_ignore_ascii_case(tree)
                    || (tree.starts_with('.') && is_subdomain(host, tree)),
            )
        }
        _ => None,
    }
}

fn is_subdomain(name: &str, tree: &str) -> bool {
    let (name, tree) = (name.to_ascii_lowercase(), tree.to_ascii_lowercase());
    if tree.starts_with('.') {
        return name.ends_with(&tree);
    }
    tree.is_empty() || name == tree || name.strip_suffix(&tree).is_some_and(|above| above.ends_with('.'))
}

fn is_in_network(ip: IpAddr, tree: &[u8]) -> bool {
    let bytes = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (address, mask) = tree.split_at(tree.len() / 2);
    bytes.len() == address.len()
        && bytes.iter().zip(address).zip(mask).all(|((byte, address), mask)| byte & mask == address & mask)
}
