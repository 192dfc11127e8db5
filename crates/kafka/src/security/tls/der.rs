//! Just enough ASN.1 to read certificates and key stores: elements, one after the other, borrowed from the input. One is written: a key that lacks its
//! public half.
//!
//! BER's indefinite lengths are understood, because old exporters of PKCS12 write them; beyond that, what is not DER is an error. Nothing recurses deeper
//! than [`DEPTH`], nothing is allocated by a length that was only announced.

use std::borrow::Cow;

use zeroize::Zeroizing;

/// How deep elements of indefinite length may lie in each other.
const DEPTH: u32 = 32;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const BMP_STRING: u8 = 0x1e;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
const CONSTRUCTED: u8 = 0x20;

/// The tag `[n]` with elements inside.
pub(crate) const fn context(n: u8) -> u8 {
    0xa0 | n
}

/// The tag `[n]` with a value inside.
pub(crate) const fn context_value(n: u8) -> u8 {
    0x80 | n
}

/// The input is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// One tag, length and content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// With tag and length.
    pub(crate) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// What lies inside.
    pub(crate) fn reader(self) -> Reader<'a> {
        Reader { rest: self.content }
    }

    /// The bytes of an octet string, which BER may have cut in pieces.
    pub(crate) fn octets(self) -> Result<Cow<'a, [u8]>, Malformed> {
        if self.tag & CONSTRUCTED == 0 {
            return Ok(Cow::Borrowed(self.content));
        }
        let (mut pieces, mut all) = (self.reader(), Vec::new());
        while !pieces.is_empty() {
            all.extend_from_slice(pieces.take(OCTET_STRING)?.content);
        }
        Ok(Cow::Owned(all))
    }

    /// A number that fits; not a negative one.
    pub(crate) fn number(self) -> Result<u64, Malformed> {
        let digits = match self.content {
            [0, rest @ ..] => rest,
            [first, ..] if *first < 0x80 => self.content,
            _ => return Err(Malformed),
        };
        if digits.len() > 8 {
            return Err(Malformed);
        }
        Ok(digits.iter().fold(0, |number, digit| number << 8 | u64::from(*digit)))
    }

    /// The bytes of a bit string of whole bytes.
    pub(crate) fn bit_bytes(self) -> Result<&'a [u8], Malformed> {
        match self.content {
            [0, bytes @ ..] => Ok(bytes),
            _ => Err(Malformed),
        }
    }
}

/// Takes elements from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever it is.
    pub(crate) fn any(&mut self) -> Result<Element<'a>, Malformed> {
        self.any_within(DEPTH)
    }

    fn any_within(&mut self, depth: u32) -> Result<Element<'a>, Malformed> {
        let start = self.rest;
        let (tag, rest) = start.split_first().ok_or(Malformed)?;
        // Tags above 30 have more bytes; nothing that is read here has them.
        if tag & 0x1f == 0x1f {
            return Err(Malformed);
        }
        let (first, rest) = rest.split_first().ok_or(Malformed)?;
        let (len, rest) = match first {
            0..0x80 => (usize::from(*first), rest),
            0x80 => return self.indefinite(*tag, rest, depth),
            _ => {
                let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f)).ok_or(Malformed)?;
                if len.len() > 4 {
                    return Err(Malformed);
                }
                (len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
            }
        };
        let (content, rest) = rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(Element { tag: *tag, content, whole: &start[..start.len() - rest.len()] })
    }

    fn indefinite(&mut self, tag: u8, start: &'a [u8], depth: u32) -> Result<Element<'a>, Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed)?;
        if tag & CONSTRUCTED == 0 {
            return Err(Malformed);
        }
        let mut inside = Reader { rest: start };
        while !inside.rest.starts_with(&[0, 0]) {
            inside.any_within(depth)?;
        }
        let content = &start[..start.len() - inside.rest.len()];
        let whole = &self.rest[..self.rest.len() - inside.rest.len() + 2];
        self.rest = &inside.rest[2..];
        Ok(Element { tag, content, whole })
    }

    /// The next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, Malformed> {
        if self.rest.first() == Some(&tag) { self.any().map(Some) } else { Ok(None) }
    }

    /// The next element, which must have this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Result<Element<'a>, Malformed> {
        self.optional(tag)?.ok_or(Malformed)
    }

    /// The inside of the next element, which must be a sequence.
    pub(crate) fn sequence(&mut self) -> Result<Reader<'a>, Malformed> {
        Ok(self.take(SEQUENCE)?.reader())
    }

    /// The next element, which must be an octet string, whole or in pieces, under this tag.
    pub(crate) fn octets(&mut self, tag: u8) -> Result<Cow<'a, [u8]>, Malformed> {
        let element = self.any()?;
        if element.tag & !CONSTRUCTED == tag & !CONSTRUCTED { element.octets() } else { Err(Malformed) }
    }
}

/// An element with these parts behind each other in it.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(len + 2 + size_of::<usize>()));
    bytes.push(tag);
    if len < 0x80 {
        bytes.push(len as u8);
    } else {
        let digits = len.to_be_bytes();
        let begin = digits.iter().position(|byte| *byte != 0).unwrap_or_default();
        bytes.push(0x80 | (digits.len() - begin) as u8);
        bytes.extend_from_slice(&digits[begin..]);
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_as_they_were_written() {
        for len in [0, 1, 127, 128, 255, 256, 70_000] {
            let written = element(OCTET_STRING, &[&vec![7; len], b"end"]);
            let read = Reader::new(&written).any().unwrap();
            assert_eq!(
                (read.tag, read.content.len(), read.whole.len()),
                (OCTET_STRING, len + 3, written.len()),
                "{len}"
            );
            assert!(read.content.ends_with(b"end"));
        }
    }

    #[test]
    fn elements_are_found_and_broken_ones_refused() {
        let cases: &[(&[u8], Option<(u8, &[u8], usize)>)] = &[
            (&[2, 1, 5], Some((2, &[5], 3))),
            (&[4, 0x81, 2, 7, 8, 9], Some((4, &[7, 8], 5))),
            // Indefinite, one in the other.
            (&[0x30, 0x80, 0x24, 0x80, 4, 1, 7, 0, 0, 0, 0, 9], Some((0x30, &[0x24, 0x80, 4, 1, 7, 0, 0], 11))),
            (&[0x04, 0x80, 0, 0], None),
            (&[0x30, 0x80, 0], None),
            (&[4, 0x84, 0xff, 0xff, 0xff, 0xff, 1], None),
            (&[4, 0x85, 0, 0, 0, 0, 1, 1], None),
            (&[0x1f, 1, 1], None),
            (&[4], None),
            (&[], None),
        ];
        for (bytes, expected) in cases {
            let element = Reader::new(bytes).any().ok();
            assert_eq!(element.map(|e| (e.tag, e.content, e.whole.len())), *expected, "{bytes:?}");
        }
        let deep = [0x30_u8, 0x80].repeat(10_000);
        assert!(Reader::new(&deep).any().is_err());
        let mut joined = Reader::new(&[0x24, 0x80, 4, 1, 7, 4, 1, 8, 0, 0]);
        assert_eq!(joined.octets(OCTET_STRING).unwrap().as_ref(), [7, 8]);
    }

    #[test]
    fn numbers_are_not_negative_and_fit() {
        for (bytes, expected) in [
            (&[2_u8, 1, 5][..], Some(5)),
            (&[2, 2, 1, 0], Some(256)),
            (&[2, 2, 0, 0x80], Some(128)),
            (&[2, 1, 0x80], None),
            (&[2, 0], None),
            (&[2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0], None),
        ] {
            assert_eq!(Reader::new(bytes).any().unwrap().number().ok(), expected, "{bytes:?}");
        }
    }
}
