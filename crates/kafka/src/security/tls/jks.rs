//! Java's old key stores, JKS: magic, entries, and a digest over all of it and the password.
//!
//! Keys are under a cipher of Sun's own, a stream of SHA-1. It protects next to nothing; it is read because it is there. `JCEKS`, its successor with
//! serialized Java objects, is refused.

use ring::digest;
use zeroize::Zeroizing;

use super::der::{self, Reader};
use super::stores::{KeyEntry, StoreError, Stored};

const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
const JCEKS: [u8; 4] = [0xce, 0xce, 0xce, 0xce];
/// Hashed between password and contents.
const WHITENER: &[u8] = b"Mighty Aphrodite";
const KEY_PROTECTOR: &str = "1.3.6.1.4.1.42.2.17.1.1";
const HASH: usize = 20;

/// Whether a file begins as one of these.
pub(crate) fn is_jks(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC) || bytes.starts_with(&JCEKS)
}

/// Reads what is stored; without a password nothing is checked, and keys stay encrypted.
pub(crate) fn read(bytes: &[u8], password: Option<&str>, key_password: Option<&str>) -> Result<Stored, StoreError> {
    if bytes.starts_with(&JCEKS) {
        return Err(StoreError::Unsupported(
            "it is a JCEKS store; convert it with `keytool -importkeystore -deststoretype PKCS12`".into(),
        ));
    }
    let (contents, expected) = bytes.split_at_checked(bytes.len().saturating_sub(HASH)).ok_or(StoreError::Malformed)?;
    if let Some(password) = password {
        let whole = [&utf16(password)[..], WHITENER, contents];
        if sha1(&whole).as_ref() != expected {
            return Err(StoreError::WrongPassword);
        }
    }
    let mut input = Input(contents.strip_prefix(&MAGIC).ok_or(StoreError::Malformed)?);
    let version = input.number()?;
    if !(1..=2).contains(&version) {
        return Err(StoreError::Malformed);
    }
    let mut stored = Stored::default();
    for _ in 0..input.number()? {
        match input.number()? {
            1 => {
                let alias = input.alias()?;
                let sealed = input.long_bytes()?;
                let mut chain = Vec::new();
                for _ in 0..input.number()? {
                    chain.push(input.certificate(version)?);
                }
                if let Some(password) = key_password {
                    let key = unseal(sealed, password).map_err(|error| error.of_key(&alias))?;
                    stored.keys.push(KeyEntry { alias, key, chain });
                } else {
                    stored.sealed += 1;
                }
            }
            2 => {
                input.alias()?;
                stored.trusted.push(input.certificate(version)?);
            }
            _ => return Err(StoreError::Malformed),
        }
    }
    Ok(stored)
}

/// Takes Sun's key protector off.
fn unseal(sealed: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let mut info = Reader::new(sealed).sequence()?;
    let (name, _) = super::pbe::algorithm(&mut info)?;
    if name != KEY_PROTECTOR {
        return Err(StoreError::Unsupported(format!("a key is encrypted by {name}, which Kurier does not know")));
    }
    let data = info.take(der::OCTET_STRING)?.content;
    let (salt, rest) = data.split_at_checked(HASH).ok_or(StoreError::Malformed)?;
    let (cipher, check) = rest.split_at_checked(rest.len().saturating_sub(HASH)).ok_or(StoreError::Malformed)?;
    let password = utf16(password);
    let mut clear = Zeroizing::new(cipher.to_vec());
    let mut block = sha1(&[&password, salt]);
    for chunk in clear.chunks_mut(HASH) {
        chunk.iter_mut().zip(block.as_ref()).for_each(|(byte, key)| *byte ^= key);
        block = sha1(&[&password, block.as_ref()]);
    }
    if sha1(&[&password, &clear]).as_ref() == check { Ok(clear) } else { Err(StoreError::WrongPassword) }
}

fn utf16(password: &str) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * password.len()));
    bytes.extend(password.encode_utf16().flat_map(u16::to_be_bytes));
    bytes
}

fn sha1(parts: &[&[u8]]) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    context.finish()
}

/// Java's `DataInputStream`.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], StoreError> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(StoreError::Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32, StoreError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(StoreError::Malformed)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    fn long_bytes(&mut self) -> Result<&'a [u8], StoreError> {
        let len = self.number()?;
        self.bytes(usize::try_from(len).map_err(|_| StoreError::Malformed)?)
    }

    fn short_bytes(&mut self) -> Result<&'a [u8], StoreError> {
        let len = self.bytes(2)?;
        self.bytes(usize::from(len[0]) << 8 | usize::from(len[1]))
    }

    /// An entry's name, and over its date.
    fn alias(&mut self) -> Result<String, StoreError> {
        let alias = String::from_utf8_lossy(self.short_bytes()?).into_owned();
        self.bytes(8)?;
        Ok(alias)
    }

    fn certificate(&mut self, version: u32) -> Result<Vec<u8>, StoreError> {
        if version == 2 && self.short_bytes()? != b"X.509" {
            return Err(StoreError::Unsupported("a certificate in it is not an X.509 one".into()));
        }
        Ok(self.long_bytes()?.to_vec())
    }
}
