//! PKCS12 key stores (RFC 7292), as keytool, OpenSSL and browsers wrote and write them.
//!
//! Meanings are Java's: a certificate is trusted if it bears Java's attribute for it, and otherwise belongs to the chain of a key. Refused: stores that are
//! signed or encrypted by a public key.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::der::{self, Element, Reader, context};
use super::pbe::{self, PbeError, dotted};
use super::stores::{KeyEntry, StoreError, Stored};
use super::x509::Certificate;

const DATA: &str = "1.2.840.113549.1.7.1";
const ENCRYPTED_DATA: &str = "1.2.840.113549.1.7.6";
const KEY_BAG: &str = "1.2.840.113549.1.12.10.1.1";
const SHROUDED_KEY_BAG: &str = "1.2.840.113549.1.12.10.1.2";
const CERT_BAG: &str = "1.2.840.113549.1.12.10.1.3";
const SAFE_CONTENTS_BAG: &str = "1.2.840.113549.1.12.10.1.6";
const X509: &str = "1.2.840.113549.1.9.22.1";
const FRIENDLY_NAME: &str = "1.2.840.113549.1.9.20";
const LOCAL_KEY_ID: &str = "1.2.840.113549.1.9.21";
/// Java's mark of a trusted certificate, which `openssl pkcs12 -jdktrust` writes too.
const TRUSTED_KEY_USAGE: &str = "2.16.840.1.113894.746875.1.1";
/// How deep bags may lie in bags.
const DEPTH: u32 = 4;
/// Longest chain of a key.
const CHAIN: usize = 16;

/// A PKCS12 file is a sequence that begins with its version; JKS begins otherwise, PEM is text.
pub(crate) fn is_pkcs12(bytes: &[u8]) -> bool {
    Reader::new(bytes)
        .sequence()
        .and_then(|mut inside| inside.take(der::INTEGER)?.number())
        .is_ok_and(|version| version == 3)
}

/// Reads what is stored. Without a password nothing is checked, and what is encrypted stays so.
pub(crate) fn read(bytes: &[u8], password: Option<&str>, key_password: Option<&str>) -> Result<Stored, StoreError> {
    let mut pfx = Reader::new(bytes).sequence()?;
    pfx.take(der::INTEGER)?;
    let contents = match content_info(&mut pfx)? {
        (name, Some(content)) if name == DATA => { content }.reader().octets(der::OCTET_STRING)?,
        (name, _) => return Err(StoreError::Unsupported(format!("its contents are of type {name}"))),
    };
    if let (Some(password), Some(mac)) = (password, pfx.optional(der::SEQUENCE)?) {
        pbe::check_mac(mac.reader(), password, &contents)?;
    }
    let mut bags = Bags::default();
    let mut parts = Reader::new(&contents).sequence()?;
    while !parts.is_empty() {
        match content_info(&mut parts)? {
            (name, Some(content)) if name == DATA => {
                bags.read(&{ content }.reader().octets(der::OCTET_STRING)?, key_password, DEPTH)?;
            }
            (name, Some(content)) if name == ENCRYPTED_DATA => match password {
                Some(password) => bags.read(&decrypt(content, password)?, key_password, DEPTH)?,
                None => bags.sealed += 1,
            },
            (name, _) => return Err(StoreError::Unsupported(format!("a part of it is of type {name}"))),
        }
    }
    Ok(bags.stored())
}

/// A type and what is under it.
fn content_info<'a>(reader: &mut Reader<'a>) -> Result<(String, Option<Element<'a>>), StoreError> {
    let (name, mut rest) = pbe::algorithm(reader)?;
    Ok((name, rest.optional(context(0))?))
}

fn decrypt(content: Element<'_>, password: &str) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let mut encrypted = content.reader().sequence()?;
    encrypted.take(der::INTEGER)?;
    let mut info = encrypted.sequence()?;
    info.take(der::OID)?;
    let mut algorithm = Reader::new(info.take(der::SEQUENCE)?.whole);
    let data = info.octets(der::context_value(0))?;
    Ok(pbe::decrypt(&mut algorithm, password, &data)?)
}

#[derive(Default)]
struct Bags {
    keys: Vec<(Attributes, Zeroizing<Vec<u8>>)>,
    certificates: Vec<(Attributes, Vec<u8>)>,
    sealed: usize,
}

#[derive(Default)]
struct Attributes {
    name: Option<String>,
    id: Option<Vec<u8>>,
    is_trusted: bool,
}

impl Attributes {
    fn read(reader: &mut Reader<'_>) -> Result<Self, StoreError> {
        let mut attributes = Self::default();
        let Some(set) = reader.optional(der::SET)? else { return Ok(attributes) };
        let mut set = set.reader();
        while !set.is_empty() {
            let (name, mut rest) = pbe::algorithm(&mut set)?;
            let mut values = rest.take(der::SET)?.reader();
            match name.as_str() {
                FRIENDLY_NAME => {
                    let text = values.take(der::BMP_STRING)?.content;
                    let units = text.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
                    attributes.name = Some(char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect());
                }
                LOCAL_KEY_ID => attributes.id = Some(values.octets(der::OCTET_STRING)?.into_owned()),
                TRUSTED_KEY_USAGE => attributes.is_trusted = true,
                _ => {}
            }
        }
        Ok(attributes)
    }
}

impl Bags {
    fn read(&mut self, contents: &[u8], key_password: Option<&str>, depth: u32) -> Result<(), StoreError> {
        let depth = depth.checked_sub(1).ok_or(StoreError::Malformed)?;
        let mut bags = Reader::new(contents).sequence()?;
        while !bags.is_empty() {
            let mut bag = bags.sequence()?;
            let name = dotted(bag.take(der::OID)?.content);
            let mut value = bag.take(context(0))?.reader();
            let attributes = Attributes::read(&mut bag)?;
            match name.as_str() {
                KEY_BAG => self.keys.push((attributes, Zeroizing::new(value.take(der::SEQUENCE)?.whole.to_vec()))),
                SHROUDED_KEY_BAG => match key_password {
                    Some(password) => {
                        let alias = attributes.name.as_deref().unwrap_or_default();
                        let key = encrypted_key(value.take(der::SEQUENCE)?.whole, password);
                        let key = key.map_err(|error| StoreError::from(error).of_key(alias))?;
                        self.keys.push((attributes, key));
                    }
                    None => self.sealed += 1,
                },
                CERT_BAG => {
                    let mut certificate = value.sequence()?;
                    if dotted(certificate.take(der::OID)?.content) == X509 {
                        let bytes = certificate.take(context(0))?.reader().octets(der::OCTET_STRING)?.into_owned();
                        self.certificates.push((attributes, bytes));
                    }
                }
                SAFE_CONTENTS_BAG => self.read(value.take(der::SEQUENCE)?.whole, key_password, depth)?,
                // Revocation lists and symmetric keys are nothing that TLS uses.
                _ => {}
            }
        }
        Ok(())
    }

    fn stored(self) -> Stored {
        let mut stored = Stored { sealed: self.sealed, ..Stored::default() };
        let named: Vec<(&Attributes, Option<Certificate>)> =
            self.certificates.iter().map(|(attributes, bytes)| (attributes, Certificate::parse(bytes).ok())).collect();
        for (attributes, certificate) in &named {
            let bytes = certificate.as_ref().map(|certificate| certificate.whole.to_vec());
            if let (true, Some(bytes)) = (attributes.is_trusted, bytes) {
                stored.trusted.push(bytes);
            }
        }
        let only = self.keys.len() == 1;
        for (attributes, key) in self.keys {
            let is_own = |other: &Attributes| match (&attributes.id, &other.id) {
                (Some(id), Some(other)) => id == other,
                // Some writers give no identifiers where there is nothing to confuse.
                _ => only && !other.is_trusted,
            };
            let mut chain: Vec<&Certificate> = Vec::new();
            let mut next = named.iter().filter(|(other, _)| is_own(other)).find_map(|(_, found)| found.as_ref());
            while let Some(certificate) = next.take_if(|_| chain.len() < CHAIN) {
                chain.push(certificate);
                if certificate.subject == certificate.issuer {
                    break;
                }
                let issuers = named.iter().filter_map(|(_, found)| found.as_ref());
                let mut issuers = issuers.filter(|other| other.subject == certificate.issuer);
                next = issuers.find(|other| !chain.iter().any(|seen| seen.whole == other.whole));
            }
            stored.keys.push(KeyEntry {
                alias: attributes.name.unwrap_or_default(),
                key,
                chain: chain.iter().map(|certificate| certificate.whole.to_vec()).collect(),
            });
        }
        stored
    }
}

/// `EncryptedPrivateKeyInfo` of PKCS8, which PEM has too.
pub(crate) fn encrypted_key(info: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, PbeError> {
    let mut info = Reader::new(info).sequence()?;
    let mut algorithm = Reader::new(info.take(der::SEQUENCE)?.whole);
    let data: Cow<'_, [u8]> = info.octets(der::OCTET_STRING)?;
    let key = pbe::decrypt(&mut algorithm, password, &data)?;
    // One wrong password in 256 looks right until here.
    Reader::new(&key).sequence().map_err(|_| PbeError::WrongPassword)?;
    Ok(key)
}
