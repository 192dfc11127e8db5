//! What a password does to bytes in key stores: decrypts them (PBES2, the schemes of PKCS12), or proves that they are whole.
//!
//! RC2, DES and MD5 are here because key stores of ten years ago are still in the field. Rounds are bounded as in Java, so that a file cannot ask for an hour.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, InnerIvInit, KeyInit, KeyIvInit};
use md5::{Digest as _, Md5};
use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use super::der::{self, Malformed, Reader};

/// As many as Java's PKCS12 takes.
const MOST_ROUNDS: u64 = 5_000_000;

/// Why nothing was decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PbeError {
    #[error("it is damaged, or not what its name says")]
    Malformed,
    #[error("it is encrypted or signed by {0}, which Kurier does not know")]
    Unsupported(String),
    #[error("the password is wrong")]
    WrongPassword,
}

impl From<Malformed> for PbeError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// What OpenSSL before version 1.1 encrypted PKCS8 keys by, unless it was told otherwise.
const PBE_MD5_DES: &str = "1.2.840.113549.1.5.3";
const PBES2: &str = "1.2.840.113549.1.5.13";
const PBKDF2: &str = "1.2.840.113549.1.5.12";
const PBMAC1: &str = "1.2.840.113549.1.5.14";

/// `1.2.840…`, of the content of an object identifier.
pub(crate) fn dotted(oid: &[u8]) -> String {
    let (mut text, mut number, mut first) = (String::new(), 0_u64, true);
    for byte in oid {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            // So large a part names nothing that is known here.
            number &= u64::MAX >> 8;
            continue;
        }
        if first {
            let top = (number / 40).min(2);
            text = format!("{top}.{}", number - top * 40);
            first = false;
        } else {
            text.push('.');
            text.push_str(&number.to_string());
        }
        number = 0;
    }
    text
}

/// An algorithm and its parameters.
pub(crate) fn algorithm<'a>(reader: &mut Reader<'a>) -> Result<(String, Reader<'a>), Malformed> {
    let mut inside = reader.sequence()?;
    Ok((dotted(inside.take(der::OID)?.content), inside))
}

fn rounds(reader: &mut Reader<'_>) -> Result<u32, PbeError> {
    let rounds = reader.take(der::INTEGER)?.number()?;
    match u32::try_from(rounds) {
        Ok(few) if (1..=MOST_ROUNDS).contains(&rounds) => Ok(few),
        _ => Err(PbeError::Unsupported(format!("{rounds} rounds of hashing"))),
    }
}

/// Decrypts by the algorithm that `reader` comes to next.
pub(crate) fn decrypt(reader: &mut Reader<'_>, password: &str, data: &[u8]) -> Result<Zeroizing<Vec<u8>>, PbeError> {
    let (name, parameters) = algorithm(reader)?;
    match name.as_str() {
        PBES2 => return pbes2(parameters, password, data),
        PBE_MD5_DES => return pbes1(parameters, password, data),
        _ => {}
    }
    let (cipher, key_len) = match name.as_str() {
        "1.2.840.113549.1.12.1.3" => (Cipher::TripleDes, 24),
        "1.2.840.113549.1.12.1.4" => (Cipher::TripleDes, 16),
        "1.2.840.113549.1.12.1.5" => (Cipher::Rc2, 16),
        "1.2.840.113549.1.12.1.6" => (Cipher::Rc2, 5),
        _ => return Err(PbeError::Unsupported(name)),
    };
    let mut parameters = { parameters }.sequence()?;
    let salt = parameters.take(der::OCTET_STRING)?.content;
    let rounds = rounds(&mut parameters)?;
    let mut last = PbeError::WrongPassword;
    for password in bmp_passwords(password) {
        let key = pkcs12_key(&digest::SHA1_FOR_LEGACY_USE_ONLY, 1, &password, salt, rounds, key_len);
        let iv = pkcs12_key(&digest::SHA1_FOR_LEGACY_USE_ONLY, 2, &password, salt, rounds, 8);
        match cipher.decrypt(&key, &iv, data) {
            Ok(clear) => return Ok(clear),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// RFC 8018, section 6.1: the first half of a hash of hashes is the key, the second the initialisation vector.
fn pbes1(mut parameters: Reader<'_>, password: &str, data: &[u8]) -> Result<Zeroizing<Vec<u8>>, PbeError> {
    let mut parameters = parameters.sequence()?;
    let salt = parameters.take(der::OCTET_STRING)?.content;
    let rounds = rounds(&mut parameters)?;
    let mut derived = Md5::new().chain_update(password).chain_update(salt).finalize();
    for _ in 1..rounds {
        derived = Md5::digest(derived);
    }
    let derived = Zeroizing::new(derived.to_vec());
    let (key, iv) = derived.split_at(8);
    Cipher::Des.decrypt(key, iv, data)
}

fn pbes2(mut parameters: Reader<'_>, password: &str, data: &[u8]) -> Result<Zeroizing<Vec<u8>>, PbeError> {
    let mut parameters = parameters.sequence()?;
    let derivation = Derivation::read(&mut parameters)?;
    let (name, mut cipher_parameters) = algorithm(&mut parameters)?;
    let (cipher, key_len) = match name.as_str() {
        "2.16.840.1.101.3.4.1.2" => (Cipher::Aes, 16),
        "2.16.840.1.101.3.4.1.22" => (Cipher::Aes, 24),
        "2.16.840.1.101.3.4.1.42" => (Cipher::Aes, 32),
        "1.2.840.113549.3.7" => (Cipher::TripleDes, 24),
        _ => return Err(PbeError::Unsupported(name)),
    };
    let iv = cipher_parameters.take(der::OCTET_STRING)?.content;
    cipher.decrypt(&derivation.key(password, key_len), iv, data)
}

/// The parameters of PBKDF2.
struct Derivation<'a> {
    hash: pbkdf2::Algorithm,
    salt: &'a [u8],
    rounds: u32,
    key_len: Option<u64>,
}

impl<'a> Derivation<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, PbeError> {
        let (name, mut inside) = algorithm(reader)?;
        if name != PBKDF2 {
            return Err(PbeError::Unsupported(name));
        }
        let mut inside = inside.sequence()?;
        let salt = inside.take(der::OCTET_STRING)?.content;
        let rounds = rounds(&mut inside)?;
        let key_len = inside.optional(der::INTEGER)?.map(der::Element::number).transpose()?;
        let hash = match inside.is_empty() {
            true => pbkdf2::PBKDF2_HMAC_SHA1,
            false => match algorithm(&mut inside)?.0.as_str() {
                "1.2.840.113549.2.7" => pbkdf2::PBKDF2_HMAC_SHA1,
                "1.2.840.113549.2.9" => pbkdf2::PBKDF2_HMAC_SHA256,
                "1.2.840.113549.2.10" => pbkdf2::PBKDF2_HMAC_SHA384,
                "1.2.840.113549.2.11" => pbkdf2::PBKDF2_HMAC_SHA512,
                name => return Err(PbeError::Unsupported(name.to_owned())),
            },
        };
        Ok(Self { hash, salt, rounds, key_len })
    }

    fn key(&self, password: &str, len: usize) -> Zeroizing<Vec<u8>> {
        let mut key = Zeroizing::new(vec![0; len]);
        let rounds = std::num::NonZeroU32::new(self.rounds).unwrap_or(std::num::NonZeroU32::MIN);
        pbkdf2::derive(self.hash, rounds, self.salt, password.as_bytes(), &mut key);
        key
    }
}

#[derive(Clone, Copy)]
enum Cipher {
    Aes,
    Des,
    TripleDes,
    Rc2,
}

impl Cipher {
    fn decrypt(self, key: &[u8], iv: &[u8], data: &[u8]) -> Result<Zeroizing<Vec<u8>>, PbeError> {
        fn cbc<C: KeyIvInit + BlockModeDecrypt>(key: &[u8], iv: &[u8], data: &[u8]) -> Result<Vec<u8>, PbeError> {
            let cipher = C::new_from_slices(key, iv).map_err(|_| PbeError::Malformed)?;
            // A wrong password is seen by the padding, but for one time in 256, when the rest makes no sense.
            cipher.decrypt_padded_vec::<Pkcs7>(data).map_err(|_| PbeError::WrongPassword)
        }
        let clear = match (self, key.len()) {
            (Self::Aes, 16) => cbc::<cbc::Decryptor<aes::Aes128>>(key, iv, data),
            (Self::Aes, 24) => cbc::<cbc::Decryptor<aes::Aes192>>(key, iv, data),
            (Self::Aes, _) => cbc::<cbc::Decryptor<aes::Aes256>>(key, iv, data),
            (Self::Des, _) => cbc::<cbc::Decryptor<des::Des>>(key, iv, data),
            (Self::TripleDes, 16) => cbc::<cbc::Decryptor<des::TdesEde2>>(key, iv, data),
            (Self::TripleDes, _) => cbc::<cbc::Decryptor<des::TdesEde3>>(key, iv, data),
            (Self::Rc2, _) => {
                let cipher = rc2::Rc2::new_from_slice(key).map_err(|_| PbeError::Malformed)?;
                let cipher = cbc::Decryptor::inner_iv_slice_init(cipher, iv).map_err(|_| PbeError::Malformed)?;
                cipher.decrypt_padded_vec::<Pkcs7>(data).map_err(|_| PbeError::WrongPassword)
            }
        };
        clear.map(Zeroizing::new)
    }
}

/// A password as PKCS12 hashes it. An empty one is two zero bytes for some writers and nothing for others.
fn bmp_passwords(password: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * password.len() + 2));
    bytes.extend(password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes));
    if password.is_empty() { vec![bytes, Zeroizing::new(Vec::new())] } else { vec![bytes] }
}

/// RFC 7292, appendix B.2: `purpose` is 1 for a key, 2 for an initialisation vector, 3 for a MAC.
fn pkcs12_key(
    hash: &'static digest::Algorithm,
    purpose: u8,
    password: &[u8],
    salt: &[u8],
    rounds: u32,
    len: usize,
) -> Zeroizing<Vec<u8>> {
    let block = hash.block_len();
    let fill =
        |bytes: &[u8]| bytes.iter().copied().cycle().take(bytes.len().next_multiple_of(block)).collect::<Vec<u8>>();
    let mut input = Zeroizing::new([fill(salt), fill(password)].concat());
    let mut key = Zeroizing::new(Vec::with_capacity(len + hash.output_len()));
    loop {
        let mut context = digest::Context::new(hash);
        context.update(&vec![purpose; block]);
        context.update(&input);
        let mut round = context.finish();
        for _ in 1..rounds {
            round = digest::digest(hash, round.as_ref());
        }
        key.extend_from_slice(round.as_ref());
        if key.len() >= len {
            key.truncate(len);
            return key;
        }
        // Every block of the input grows by what was made, and by one.
        let made: Vec<u8> = round.as_ref().iter().copied().cycle().take(block).collect();
        for chunk in input.chunks_mut(block) {
            let mut carry = 1;
            for (byte, add) in chunk.iter_mut().zip(&made).rev() {
                let sum = u16::from(*byte) + u16::from(*add) + carry;
                *byte = sum as u8;
                carry = sum >> 8;
            }
        }
    }
}

/// Checks the `MacData` of a PKCS12 file, which `reader` stands in, over its contents.
pub(crate) fn check_mac(mut reader: Reader<'_>, password: &str, data: &[u8]) -> Result<(), PbeError> {
    let mut digest_info = reader.sequence()?;
    let (name, mut parameters) = algorithm(&mut digest_info)?;
    let expected = digest_info.take(der::OCTET_STRING)?.content;
    let verify = |algorithm, key: &[u8]| hmac::verify(&hmac::Key::new(algorithm, key), data, expected).is_ok();
    if name == PBMAC1 {
        let mut parameters = parameters.sequence()?;
        let derivation = Derivation::read(&mut parameters)?;
        let algorithm = match algorithm(&mut parameters)?.0.as_str() {
            "1.2.840.113549.2.9" => hmac::HMAC_SHA256,
            "1.2.840.113549.2.10" => hmac::HMAC_SHA384,
            "1.2.840.113549.2.11" => hmac::HMAC_SHA512,
            name => return Err(PbeError::Unsupported(name.to_owned())),
        };
        let len = match derivation.key_len {
            Some(len @ 20..=128) => len as usize,
            _ => return Err(PbeError::Malformed),
        };
        return verify(algorithm, &derivation.key(password, len)).then_some(()).ok_or(PbeError::WrongPassword);
    }
    let salt = reader.take(der::OCTET_STRING)?.content;
    let rounds = if reader.is_empty() { 1 } else { rounds(&mut reader)? };
    let (hash, algorithm) = match name.as_str() {
        "1.3.14.3.2.26" => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        "2.16.840.1.101.3.4.2.1" => (&digest::SHA256, hmac::HMAC_SHA256),
        "2.16.840.1.101.3.4.2.2" => (&digest::SHA384, hmac::HMAC_SHA384),
        "2.16.840.1.101.3.4.2.3" => (&digest::SHA512, hmac::HMAC_SHA512),
        _ => return Err(PbeError::Unsupported(name)),
    };
    let is_right = bmp_passwords(password)
        .iter()
        .any(|password| verify(algorithm, &pkcs12_key(hash, 3, password, salt, rounds, hash.output_len())));
    is_right.then_some(()).ok_or(PbeError::WrongPassword)
}
