//! Character sets by Java's names, with Java's replacements: U+FFFD for malformed bytes, `?` for what a set cannot write.
//!
//! Unicode, ASCII and ISO-8859-1 are ours, because they count malformed units as Java does; the rest is encoding_rs's.

use encoding_rs::Encoding;
use kurier_api::ConnectError;
use std::borrow::Cow;

/// A character set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    Utf8,
    Ascii,
    Latin1,
    /// Two or four bytes a unit.
    Unicode(Unicode),
    Other(&'static Encoding),
}

/// A form of Unicode with units of several bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unicode {
    /// Four bytes a unit rather than two.
    wide: bool,
    little_endian: bool,
    /// A byte order mark at the beginning decides the order.
    reads_mark: bool,
    writes_mark: bool,
}

const fn utf16(little_endian: bool, marked: bool) -> Charset {
    Charset::Unicode(Unicode { wide: false, little_endian, reads_mark: marked, writes_mark: marked })
}

const fn utf32(little_endian: bool, reads_mark: bool, writes_mark: bool) -> Charset {
    Charset::Unicode(Unicode { wide: true, little_endian, reads_mark, writes_mark })
}

/// Java's names and aliases of the sets that are ours, in lower case.
const NAMES: &[(&[&str], Charset)] = &[
    (&["utf-8", "utf8", "unicode-1-1-utf-8"], Charset::Utf8),
    (
        &[
            "us-ascii",
            "ascii",
            "us",
            "646",
            "iso646-us",
            "iso_646.irv:1991",
            "iso_646.irv:1983",
            "iso-ir-6",
            "ansi_x3.4-1968",
            "ansi_x3.4-1986",
            "default",
            "ascii7",
            "csascii",
            "cp367",
            "ibm367",
            "ibm-367",
        ],
        Charset::Ascii,
    ),
    (
        &[
            "iso-8859-1",
            "iso_8859-1",
            "iso8859_1",
            "iso8859-1",
            "iso_8859_1",
            "iso_8859-1:1987",
            "8859_1",
            "latin1",
            "l1",
            "iso-ir-100",
            "cp819",
            "ibm819",
            "ibm-819",
            "819",
            "csisolatin1",
        ],
        Charset::Latin1,
    ),
    (&["utf-16", "utf16", "utf_16", "unicode", "unicodebig"], utf16(false, true)),
    (&["utf-16be", "utf_16be", "iso-10646-ucs-2", "x-utf-16be", "unicodebigunmarked"], utf16(false, false)),
    (&["utf-16le", "utf_16le", "x-utf-16le", "unicodelittleunmarked"], utf16(true, false)),
    (&["x-utf-16le-bom", "unicodelittle"], utf16(true, true)),
    (&["utf-32", "utf32", "utf_32", "iso-10646-ucs-4"], utf32(false, true, false)),
    (&["utf-32be", "utf_32be", "x-utf-32be"], utf32(false, false, false)),
    (&["utf-32le", "utf_32le", "x-utf-32le"], utf32(true, false, false)),
    (&["x-utf-32be-bom", "utf_32be_bom", "utf-32be-bom"], utf32(false, true, true)),
    (&["x-utf-32le-bom", "utf_32le_bom", "utf-32le-bom"], utf32(true, true, true)),
];

/// Java's short names for sets that encoding_rs knows by another one.
fn canonical(name: &str) -> String {
    if let Some(page) = name.strip_prefix("cp125").or_else(|| name.strip_prefix("windows125")) {
        return format!("windows-125{page}");
    }
    if let Some(part) = name.strip_prefix("iso8859_").or_else(|| name.strip_prefix("iso8859-")) {
        return format!("iso-8859-{part}");
    }
    match name {
        "sjis" | "shift-jis" => "shift_jis",
        "ms932" | "windows932" => "windows-31j",
        "eucjp" | "euc_jp" => "euc-jp",
        "euckr" | "euc_kr" => "euc-kr",
        "cp936" | "ms936" => "gbk",
        "koi8_r" => "koi8-r",
        "koi8_u" => "koi8-u",
        "tis620" => "tis-620",
        other => other,
    }
    .to_owned()
}

impl Charset {
    /// A set by one of Java's names, in any case.
    ///
    /// # Errors
    /// Java's exceptions for names that are malformed or unknown.
    pub(crate) fn for_name(name: &str) -> Result<Self, ConnectError> {
        let legal = name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-+:_.".contains(c));
        if !legal {
            return Err(ConnectError::of_class("java.nio.charset.IllegalCharsetNameException", name));
        }
        let lower = name.to_ascii_lowercase();
        if let Some((_, charset)) = NAMES.iter().find(|(names, _)| names.contains(&lower.as_str())) {
            return Ok(*charset);
        }
        // Labels by which only browsers know a set mean something else in Java, or nothing.
        const BROWSERS_ONLY: [&str; 3] = ["x-user-defined", "replacement", "x-x-big5"];
        Encoding::for_label_no_replacement(canonical(&lower).as_bytes())
            .filter(|_| !BROWSERS_ONLY.contains(&lower.as_str()))
            .map(Self::Other)
            .ok_or_else(|| ConnectError::of_class("java.nio.charset.UnsupportedCharsetException", name))
    }

    /// Whether text can be written as it is.
    pub(crate) fn is_utf8(self) -> bool {
        self == Self::Utf8
    }

    /// Appends a text.
    pub(crate) fn encode(self, text: &str, out: &mut Vec<u8>) {
        match self {
            Self::Utf8 => out.extend_from_slice(text.as_bytes()),
            Self::Ascii => out.extend(text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' })),
            Self::Latin1 => out.extend(text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))),
            Self::Unicode(unicode) => unicode.encode(text.chars(), out),
            Self::Other(encoding) => encode_other(encoding, text, out),
        }
    }

    /// Appends a text that has an unpaired surrogate, which becomes the set's replacement.
    pub(crate) fn encode_units(self, units: &[u16], out: &mut Vec<u8>) {
        let replacement = if let Self::Unicode(_) = self { char::REPLACEMENT_CHARACTER } else { '?' };
        let text: String = char::decode_utf16(units.iter().copied()).map(|c| c.unwrap_or(replacement)).collect();
        self.encode(&text, out);
    }

    /// Reads a text.
    pub(crate) fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Self::Utf8 => decode_utf8(bytes),
            Self::Ascii => match std::str::from_utf8(bytes) {
                Ok(text) if text.is_ascii() => Cow::Borrowed(text),
                _ => bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '\u{fffd}' }).collect(),
            },
            Self::Latin1 => bytes.iter().map(|b| char::from(*b)).collect(),
            Self::Unicode(unicode) => Cow::Owned(unicode.decode(bytes)),
            Self::Other(encoding) => {
                let (text, _) = encoding.decode_without_bom_handling(bytes);
                // Bytes that a Windows page leaves open are malformed in Java, control characters in browsers.
                if encoding.name().starts_with("windows-") && text.contains(|c| ('\u{80}'..'\u{a0}').contains(&c)) {
                    let open = |c| if ('\u{80}'..'\u{a0}').contains(&c) { '\u{fffd}' } else { c };
                    return text.chars().map(open).collect();
                }
                text
            }
        }
    }
}

fn encode_other(encoding: &'static Encoding, text: &str, out: &mut Vec<u8>) {
    use encoding_rs::EncoderResult;
    let mut encoder = encoding.new_encoder();
    let mut rest = text;
    let mut buffer = [0; 1024];
    loop {
        let (result, read, written) = encoder.encode_from_utf8_without_replacement(rest, &mut buffer, true);
        out.extend_from_slice(&buffer[..written]);
        rest = &rest[read..];
        match result {
            EncoderResult::InputEmpty => return,
            EncoderResult::OutputFull => {}
            EncoderResult::Unmappable(_) => out.push(b'?'),
        }
    }
}

impl Unicode {
    fn put(self, unit: u32, out: &mut Vec<u8>) {
        match (self.wide, self.little_endian) {
            (false, false) => out.extend((unit as u16).to_be_bytes()),
            (false, true) => out.extend((unit as u16).to_le_bytes()),
            (true, false) => out.extend(unit.to_be_bytes()),
            (true, true) => out.extend(unit.to_le_bytes()),
        }
    }

    fn encode(self, text: impl Iterator<Item = char>, out: &mut Vec<u8>) {
        let start = out.len();
        for c in text {
            if self.writes_mark && out.len() == start {
                self.put(0xfeff, out);
            }
            if self.wide {
                self.put(c.into(), out);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    self.put((*unit).into(), out);
                }
            }
        }
    }

    fn decode(mut self, mut bytes: &[u8]) -> String {
        let width = if self.wide { 4 } else { 2 };
        if self.reads_mark && bytes.len() >= width {
            let mark = self.unit(&bytes[..width]);
            let swapped = if self.wide { 0xfffe_0000 } else { 0xfffe };
            if mark == 0xfeff || mark == swapped {
                self.little_endian ^= mark == swapped;
                bytes = &bytes[width..];
            }
        }
        if self.wide { self.decode_wide(bytes) } else { self.decode_narrow(bytes) }
    }

    fn unit(self, bytes: &[u8]) -> u32 {
        let fold = |unit: u32, b: &u8| unit << 8 | u32::from(*b);
        if self.little_endian { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) }
    }

    fn decode_wide(self, bytes: &[u8]) -> String {
        let units = bytes.chunks_exact(4);
        let rest = !units.remainder().is_empty();
        let mut text: String =
            units.map(|unit| char::from_u32(self.unit(unit)).unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        if rest {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        text
    }

    /// A high surrogate takes its neighbour with it, whatever that is; a reversed byte order mark is malformed anywhere.
    fn decode_narrow(self, bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len() / 2);
        let mut at = 0;
        while at < bytes.len() {
            let Some(unit) = bytes.get(at..at + 2).map(|pair| self.unit(pair)) else {
                text.push(char::REPLACEMENT_CHARACTER);
                break;
            };
            at += 2;
            if (0xd800..0xdc00).contains(&unit) {
                let Some(low) = bytes.get(at..at + 2).map(|pair| self.unit(pair)) else {
                    text.push(char::REPLACEMENT_CHARACTER);
                    break;
                };
                at += 2;
                let code = 0x1_0000 + ((unit & 0x3ff) << 10) + (low & 0x3ff);
                let paired = (0xdc00..0xe000).contains(&low);
                text.push(char::from_u32(code).filter(|_| paired).unwrap_or(char::REPLACEMENT_CHARACTER));
            } else {
                let c = char::from_u32(unit).filter(|c| *c != '\u{fffe}');
                text.push(c.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        text
    }
}

/// Java's `new String(bytes, UTF_8)`: as Rust's lossy reading, but an encoded surrogate is one replacement, not one for each byte.
pub(crate) fn decode_utf8(bytes: &[u8]) -> Cow<'_, str> {
    let mut chunks = bytes.utf8_chunks();
    let Some(first) = chunks.next() else { return Cow::Borrowed("") };
    if first.invalid().is_empty() {
        return Cow::Borrowed(first.valid());
    }
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(chunk) = rest.utf8_chunks().next() {
        text.push_str(chunk.valid());
        rest = &rest[chunk.valid().len()..];
        if chunk.invalid().is_empty() {
            break;
        }
        text.push(char::REPLACEMENT_CHARACTER);
        let skipped = match *rest {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => 3,
            [0xed, 0xa0..=0xbf, ..] => 2,
            _ => chunk.invalid().len(),
        };
        rest = &rest[skipped..];
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_utf8_is_replaced_as_in_java() {
        let cases: [(&[u8], &str); 8] = [
            (b"a\xc3\xa9", "a\u{e9}"),
            (b"\xed\xa0\x80x", "\u{fffd}x"),
            (b"\xed\xa0", "\u{fffd}"),
            (b"\xed\xa0A", "\u{fffd}A"),
            (b"\xf0\x9f\x98", "\u{fffd}"),
            (b"\xe0\x80\x80", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xc0\x80", "\u{fffd}\u{fffd}"),
            (b"\xf8\x88\x80\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
        ];
        for (bytes, text) in cases {
            assert_eq!(decode_utf8(bytes), text, "{bytes:x?}");
        }
    }

    #[test]
    fn what_a_set_cannot_write_is_a_question_mark() {
        let cases: [(&str, &[u8]); 5] = [
            ("windows-1252", b"\x80?"),
            ("ISO-8859-1", b"??"),
            ("latin1", b"??"),
            ("ascii", b"??"),
            ("Shift_JIS", b"??"),
        ];
        for (name, bytes) in cases {
            let mut out = Vec::new();
            Charset::for_name(name).unwrap().encode("€😀", &mut out);
            assert_eq!(out, bytes, "{name}");
        }
    }
}
