//! What a certificate says, as far as trust and host names need it. Of any version, 1 too.

use std::net::IpAddr;

use super::der::{self, Element, Malformed, Reader, context, context_value};
use super::pbe::dotted;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const KEY_USAGE: &str = "2.5.29.15";
const SUBJECT_ALT_NAME: &str = "2.5.29.17";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const NAME_CONSTRAINTS: &str = "2.5.29.30";
const CERTIFICATE_POLICIES: &str = "2.5.29.32";
const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
/// Whoever has the certificate may be what it likes.
pub(crate) const ANY_USAGE: &str = "2.5.29.37.0";
/// `digitalSignature`, as a bit of [`Certificate::key_usage`].
pub(crate) const SIGNS: u8 = 0x80;
/// `keyCertSign`.
pub(crate) const SIGNS_CERTIFICATES: u8 = 0x04;

/// A certificate taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// All of it.
    pub(crate) whole: Vec<u8>,
    /// What is signed.
    pub(crate) signed: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    /// The signature's `AlgorithmIdentifier`.
    pub(crate) algorithm: Vec<u8>,
    /// 1, 2 or 3.
    pub(crate) version: u64,
    /// Names in the form in which Java compares them.
    pub(crate) issuer: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    /// The subject as it is.
    pub(crate) subject_der: Vec<u8>,
    /// The most specific common name of the subject.
    pub(crate) common_name: Option<String>,
    /// Seconds since 1970.
    pub(crate) valid: std::ops::RangeInclusive<i64>,
    /// `SubjectPublicKeyInfo`.
    pub(crate) key: Vec<u8>,
    /// Whether it says that it is a CA, and how many may follow.
    pub(crate) authority: Option<u64>,
    /// The first eight bits of its key usage, if it restricts it.
    pub(crate) key_usage: Option<u8>,
    pub(crate) usages: Option<Vec<String>>,
    pub(crate) alternatives: Option<Vec<GeneralName>>,
    pub(crate) permitted: Vec<Subtree>,
    pub(crate) excluded: Vec<Subtree>,
    /// A critical extension that is not known here.
    pub(crate) unknown: Option<String>,
}

/// A name of some kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GeneralName {
    Dns(String),
    Ip(IpAddr),
    Email(String),
    /// In Java's form for comparing.
    Directory(Vec<u8>),
    Other(u8),
}

/// A part of the names of some kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subtree {
    Dns(String),
    /// Address and mask.
    Ip(Vec<u8>),
    Email(String),
    Directory(Vec<u8>),
    Other(u8),
}

impl Certificate {
    /// Takes a certificate apart; what follows it is ignored.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let whole = Reader::new(bytes).take(der::SEQUENCE)?;
        let mut outer = whole.reader();
        let signed = outer.take(der::SEQUENCE)?;
        let outer_algorithm = outer.take(der::SEQUENCE)?;
        let signature = outer.take(der::BIT_STRING)?.bit_bytes()?;
        let mut inner = signed.reader();
        let version = match inner.optional(context(0))? {
            Some(version) => version.reader().take(der::INTEGER)?.number()? + 1,
            None => 1,
        };
        if !(1..=3).contains(&version) {
            return Err(Malformed);
        }
        inner.take(der::INTEGER)?;
        // The unsigned copy of the algorithm must not say something else.
        if inner.take(der::SEQUENCE)?.whole != outer_algorithm.whole {
            return Err(Malformed);
        }
        let issuer = inner.take(der::SEQUENCE)?;
        let mut validity = inner.sequence()?;
        let valid = seconds(validity.any()?)?..=seconds(validity.any()?)?;
        let subject = inner.take(der::SEQUENCE)?;
        let key = inner.take(der::SEQUENCE)?;
        let mut certificate = Self {
            whole: whole.whole.to_vec(),
            signed: signed.whole.to_vec(),
            signature: signature.to_vec(),
            algorithm: outer_algorithm.whole.to_vec(),
            version,
            issuer: canonical(issuer)?,
            subject: canonical(subject)?,
            subject_der: subject.whole.to_vec(),
            common_name: common_name(subject)?,
            valid,
            key: key.whole.to_vec(),
            authority: None,
            key_usage: None,
            usages: None,
            alternatives: None,
            permitted: Vec::new(),
            excluded: Vec::new(),
            unknown: None,
        };
        inner.optional(context_value(1))?;
        inner.optional(context_value(2))?;
        if let Some(extensions) = inner.optional(context(3))? {
            let mut extensions = extensions.reader().sequence()?;
            while !extensions.is_empty() {
                certificate.extension(extensions.sequence()?)?;
            }
        }
        Ok(certificate)
    }

    fn extension(&mut self, mut extension: Reader<'_>) -> Result<(), Malformed> {
        let name = dotted(extension.take(der::OID)?.content);
        let is_critical = extension.optional(der::BOOLEAN)?.is_some_and(|value| value.content != [0]);
        let value = extension.take(der::OCTET_STRING)?;
        let mut value = Reader::new(value.content);
        match name.as_str() {
            BASIC_CONSTRAINTS => {
                let mut inside = value.sequence()?;
                if inside.optional(der::BOOLEAN)?.is_some_and(|value| value.content != [0]) {
                    let follow = inside.optional(der::INTEGER)?.map(Element::number).transpose()?;
                    self.authority = Some(follow.unwrap_or(u64::MAX));
                }
            }
            KEY_USAGE => {
                let bits = value.take(der::BIT_STRING)?.content;
                self.key_usage = Some(bits.get(1).copied().unwrap_or_default());
            }
            EXTENDED_KEY_USAGE => {
                let (mut inside, mut usages) = (value.sequence()?, Vec::new());
                while !inside.is_empty() {
                    usages.push(dotted(inside.take(der::OID)?.content));
                }
                self.usages = Some(usages);
            }
            SUBJECT_ALT_NAME => {
                let (mut inside, mut names) = (value.sequence()?, Vec::new());
                while !inside.is_empty() {
                    names.push(general_name(inside.any()?)?);
                }
                self.alternatives = Some(names);
            }
            NAME_CONSTRAINTS => {
                let mut inside = value.sequence()?;
                for (n, trees) in [(0, &mut self.permitted), (1, &mut self.excluded)] {
                    let Some(list) = inside.optional(context(n))? else { continue };
                    let mut list = list.reader();
                    while !list.is_empty() {
                        trees.push(subtree(list.sequence()?.any()?)?);
                    }
                }
            }
            // Nobody here demands a policy.
            CERTIFICATE_POLICIES => {}
            _ if is_critical => self.unknown = Some(name),
            _ => {}
        }
        Ok(())
    }

    /// The algorithm of its key, as the inside of an `AlgorithmIdentifier`, and the key.
    pub(crate) fn public_key(&self) -> Result<(&[u8], &[u8]), Malformed> {
        public_key(&mut Reader::new(&self.key))
    }
}

/// Algorithm and key of a `SubjectPublicKeyInfo`.
pub(crate) fn public_key<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], &'a [u8]), Malformed> {
    let mut info = reader.sequence()?;
    Ok((info.take(der::SEQUENCE)?.content, info.take(der::BIT_STRING)?.bit_bytes()?))
}

/// A name in the form of [`Certificate::subject`].
pub(crate) fn name(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    canonical(Reader::new(bytes).take(der::SEQUENCE)?)
}

fn general_name(name: Element<'_>) -> Result<GeneralName, Malformed> {
    Ok(match name.tag & 0x1f {
        1 => GeneralName::Email(latin(name.content)),
        2 => GeneralName::Dns(latin(name.content)),
        4 => GeneralName::Directory(canonical(name.reader().take(der::SEQUENCE)?)?),
        7 => match name.content.len() {
            4 => GeneralName::Ip(IpAddr::from(<[u8; 4]>::try_from(name.content).map_err(|_| Malformed)?)),
            _ => GeneralName::Ip(IpAddr::from(<[u8; 16]>::try_from(name.content).map_err(|_| Malformed)?)),
        },
        kind => GeneralName::Other(kind),
    })
}

fn subtree(name: Element<'_>) -> Result<Subtree, Malformed> {
    Ok(match name.tag & 0x1f {
        1 => Subtree::Email(latin(name.content)),
        2 => Subtree::Dns(latin(name.content)),
        4 => Subtree::Directory(canonical(name.reader().take(der::SEQUENCE)?)?),
        7 if matches!(name.content.len(), 8 | 32) => Subtree::Ip(name.content.to_vec()),
        7 => return Err(Malformed),
        kind => Subtree::Other(kind),
    })
}

fn latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The text of an attribute's value, if it is text.
fn text(value: Element<'_>) -> Option<String> {
    let units = |width: usize| value.content.chunks_exact(width);
    match value.tag {
        0x0c => Some(String::from_utf8_lossy(value.content).into_owned()),
        0x12..=0x16 | 0x1a => Some(latin(value.content)),
        der::BMP_STRING => {
            let units = units(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
            Some(char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect())
        }
        0x1c => {
            let units = units(4).map(|unit| u32::from_be_bytes([unit[0], unit[1], unit[2], unit[3]]));
            Some(units.map(|c| char::from_u32(c).unwrap_or('\u{fffd}')).collect())
        }
        _ => None,
    }
}

/// Goes over the attributes of a name: relative name, type, value.
fn attributes<'a>(name: Element<'a>) -> Result<Vec<Vec<(&'a [u8], Element<'a>)>>, Malformed> {
    let (mut sets, mut all) = (name.reader(), Vec::new());
    while !sets.is_empty() {
        let (mut set, mut relative) = (sets.take(der::SET)?.reader(), Vec::new());
        while !set.is_empty() {
            let mut attribute = set.sequence()?;
            relative.push((attribute.take(der::OID)?.content, attribute.any()?));
        }
        all.push(relative);
    }
    Ok(all)
}

/// A name as Java compares it: case, and how much white space there is, do not matter, nor how text is encoded.
fn canonical(name: Element<'_>) -> Result<Vec<u8>, Malformed> {
    let mut all = Vec::new();
    for relative in attributes(name)? {
        let mut parts: Vec<Vec<u8>> = relative
            .iter()
            .map(|(kind, value)| match text(*value) {
                Some(text) => {
                    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
                    framed(&[kind, &[0], words.join(" ").as_bytes()])
                }
                None => framed(&[kind, &[1], value.whole]),
            })
            .collect();
        parts.sort_unstable();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        all.extend(framed(&parts));
    }
    Ok(all)
}

/// Parts that stay apart, whatever is in them; one list of parts begins another only if its parts come first in it.
fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::new();
    for part in parts {
        all.extend((part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    let mut framed = (all.len() as u64).to_be_bytes().to_vec();
    framed.extend(all);
    framed
}

fn common_name(name: Element<'_>) -> Result<Option<String>, Malformed> {
    let all = attributes(name)?;
    Ok(all.iter().rev().flatten().find(|(kind, _)| *kind == COMMON_NAME).and_then(|(_, value)| text(*value)))
}

/// Seconds since 1970 of `UTCTime` and `GeneralizedTime`.
fn seconds(time: Element<'_>) -> Result<i64, Malformed> {
    let digits = time.content.strip_suffix(b"Z").ok_or(Malformed)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    let two = |at: usize| i64::from(digits[at] - b'0') * 10 + i64::from(digits[at + 1] - b'0');
    let (year, rest) = match (time.tag, digits.len()) {
        (0x17, 12) => (if two(0) < 50 { 2_000 + two(0) } else { 1_900 + two(0) }, 2),
        (0x18, 14) => (two(0) * 100 + two(2), 4),
        _ => return Err(Malformed),
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| two(rest + at));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return Err(Malformed);
    }
    // Years begin in March here, so that the day that leap years have more is their last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day - 1;
    Ok((days - 719_468) * 86_400 + hour * 3_600 + minute * 60 + second)
}
